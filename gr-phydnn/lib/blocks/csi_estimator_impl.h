/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_CSI_ESTIMATOR_IMPL_H
#define INCLUDED_PHYDNN_CSI_ESTIMATOR_IMPL_H

#include "pdu.h"
#include <gnuradio/phydnn/csi_estimator.h>
#include <kernels/csi.h>
#include <atomic>

namespace gr {
namespace phydnn {

class csi_estimator_impl : public pdu::converter<csi_estimator>
{
public:
    csi_estimator_impl(const numerology& dimensions, const std::string& smoothing);

    void set_smoothing(const std::string& smoothing) override;

private:
    pmt::pmt_t convert(const pmt::pmt_t& metadata, const pmt::pmt_t& grid) override;

    const numerology d_dimensions;
    kernels::csi_estimator d_kernel;
    std::atomic<kernels::smoothing> d_smoothing;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_CSI_ESTIMATOR_IMPL_H */
