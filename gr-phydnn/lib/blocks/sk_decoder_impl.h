/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_SK_DECODER_IMPL_H
#define INCLUDED_PHYDNN_SK_DECODER_IMPL_H

#include "pdu.h"
#include <gnuradio/phydnn/sk_decoder.h>
#include <kernels/spiral.h>
#include <atomic>

namespace gr {
namespace phydnn {

class sk_decoder_impl : public pdu::converter<sk_decoder>
{
public:
    sk_decoder_impl(kernels::layer_code code, size_t weights, const std::string& rule);

    void set_rule(const std::string& rule) override;
    std::string rule() const override { return d_nearest ? "nearest" : "mmse"; }
    uint64_t filled() const override { return d_weights * (erased() + dropped()); }

private:
    pmt::pmt_t convert(const pmt::pmt_t& metadata, const pmt::pmt_t& symbols) override;
    pmt::pmt_t pass(const pmt::pmt_t& erasure) const override
    {
        return pmt::cons(pdu::meta(erasure), nothing());
    }
    pmt::pmt_t nothing() const override { return pmt::make_f32vector(d_weights, 0.0f); }

    kernels::layer_code d_code;
    const size_t d_weights;
    std::atomic<bool> d_nearest{ false };
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_SK_DECODER_IMPL_H */
