/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_SK_ENCODER_IMPL_H
#define INCLUDED_PHYDNN_SK_ENCODER_IMPL_H

#include "pdu.h"
#include <gnuradio/phydnn/sk_encoder.h>
#include <kernels/spiral.h>

namespace gr {
namespace phydnn {

class sk_encoder_impl : public pdu::converter<sk_encoder>
{
public:
    explicit sk_encoder_impl(kernels::layer_code code);


private:
    pmt::pmt_t convert(const pmt::pmt_t& metadata, const pmt::pmt_t& weights) override;

    const kernels::layer_code d_code;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_SK_ENCODER_IMPL_H */
