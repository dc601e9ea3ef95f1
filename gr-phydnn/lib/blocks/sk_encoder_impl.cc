/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "sk_encoder_impl.h"
#include <gnuradio/io_signature.h>

namespace gr {
namespace phydnn {

sk_encoder::sptr sk_encoder::make(const std::vector<float>& gammas,
                                  const std::vector<float>& alphas,
                                  size_t repeats,
                                  float amplitude)
{
    return gnuradio::make_block_sptr<sk_encoder_impl>(
        kernels::layer_code(kernels::spirals(gammas, alphas), repeats, amplitude));
}

sk_encoder_impl::sk_encoder_impl(kernels::layer_code code)
    : gr::block(
          "sk_encoder", gr::io_signature::make(0, 0, 0), gr::io_signature::make(0, 0, 0)),
      pdu::converter<sk_encoder>(
          "weights", "symbols", "weights come faster than they can be encoded"),
      d_code(std::move(code))
{
}

pmt::pmt_t sk_encoder_impl::convert(const pmt::pmt_t& metadata, const pmt::pmt_t& weights)
{
    if (!pmt::is_f32vector(weights))
        throw std::invalid_argument("weights must be an f32vector");
    size_t count = 0, size = 0;
    const float* values = pmt::f32vector_elements(weights, count);
    const auto symbols = pmt::make_c32vector(d_code.uses(count), gr_complex());
    d_code.encode(values, count, pmt::c32vector_writable_elements(symbols, size));
    return pmt::cons(metadata, symbols);
}

} // namespace phydnn
} // namespace gr
