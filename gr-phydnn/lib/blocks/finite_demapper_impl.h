/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_FINITE_DEMAPPER_IMPL_H
#define INCLUDED_PHYDNN_FINITE_DEMAPPER_IMPL_H

#include "pdu.h"
#include <gnuradio/phydnn/finite_demapper.h>
#include <kernels/finite_codec.h>
#include <atomic>

namespace gr {
namespace phydnn {

class finite_demapper_impl : public pdu::converter<finite_demapper>
{
public:
    finite_demapper_impl(float low,
                         float high,
                         int bits,
                         float gain,
                         const std::string& decision,
                         const std::vector<float>& priors);

    void set_decision(const std::string& decision) override;
    std::string decision() const override;

private:
    pmt::pmt_t convert(const pmt::pmt_t& metadata, const pmt::pmt_t& symbols) override;
    pmt::pmt_t nothing() const override { return pmt::make_f32vector(0, 0.0f); }

    const kernels::finite_codec d_kernel;
    std::atomic<kernels::finite_decision> d_decision;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_FINITE_DEMAPPER_IMPL_H */
