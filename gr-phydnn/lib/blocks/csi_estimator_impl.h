/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_CSI_ESTIMATOR_IMPL_H
#define INCLUDED_PHYDNN_CSI_ESTIMATOR_IMPL_H

#include <gnuradio/phydnn/csi_estimator.h>
#include <kernels/csi.h>
#include <atomic>

namespace gr {
namespace phydnn {

class csi_estimator_impl : public csi_estimator
{
public:
    csi_estimator_impl(const numerology& dimensions, const std::string& smoothing);

    void set_smoothing(const std::string& smoothing) override;
    uint64_t dropped() const override { return d_dropped; }

private:
    void handle(const pmt::pmt_t& message);

    const numerology d_dimensions;
    kernels::csi_estimator d_kernel;
    std::atomic<kernels::smoothing> d_smoothing;
    std::atomic<uint64_t> d_dropped{ 0 };
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_CSI_ESTIMATOR_IMPL_H */
