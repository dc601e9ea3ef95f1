/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "sk_decoder_impl.h"
#include <gnuradio/io_signature.h>
#include <algorithm>

namespace gr {
namespace phydnn {

sk_decoder::sptr sk_decoder::make(const std::vector<float>& gammas,
                                  const std::vector<float>& alphas,
                                  size_t repeats,
                                  float amplitude,
                                  size_t weights,
                                  const std::string& rule)
{
    return gnuradio::make_block_sptr<sk_decoder_impl>(
        kernels::layer_code(kernels::spirals(gammas, alphas), repeats, amplitude),
        weights,
        rule);
}

sk_decoder_impl::sk_decoder_impl(kernels::layer_code code,
                                 size_t weights,
                                 const std::string& rule)
    : gr::block(
          "sk_decoder", gr::io_signature::make(0, 0, 0), gr::io_signature::make(0, 0, 0)),
      pdu::converter<sk_decoder>(
          "symbols", "weights", "symbols come faster than they can be decoded"),
      d_code(std::move(code)),
      d_weights(weights)
{
    if (weights > kernels::layer_code::max_weights)
        throw std::invalid_argument("weights must be at most 2^24, not " +
                                    std::to_string(weights));
    set_rule(rule);
}

void sk_decoder_impl::set_rule(const std::string& rule)
{
    d_nearest = kernels::spiral_rule_from(rule) == kernels::spiral_rule::nearest;
}

pmt::pmt_t sk_decoder_impl::convert(const pmt::pmt_t& metadata, const pmt::pmt_t& symbols)
{
    if (!pmt::is_c32vector(symbols))
        throw std::invalid_argument("symbols must be a c32vector");
    size_t uses = 0, size = 0;
    const auto n0 = pdu::get(metadata, "n0");
    const gr_complex* received = pmt::c32vector_elements(symbols, uses);
    size_t count = d_code.capacity(uses);
    if (d_weights)
        count = std::min(count, d_weights);
    if (d_code.uses(count) != uses)
        throw std::invalid_argument("the symbols are not those of whole weights");
    float one = 0;
    const float* variances = &one;
    const bool each = pmt::is_f32vector(n0) && pmt::length(n0) == uses;
    if (each)
        variances = pmt::f32vector_elements(n0, size);
    else if (pmt::is_real(n0) || pmt::is_integer(n0))
        one = float(pmt::to_double(n0));
    else
        throw std::invalid_argument("n0 must be in the metadata, a number or an "
                                    "f32vector as long as the symbols");
    const auto weights = pmt::make_f32vector(count, 0.0f);
    d_code.decode(received,
                  variances,
                  !each,
                  count,
                  d_nearest ? kernels::spiral_rule::nearest : kernels::spiral_rule::mmse,
                  pmt::f32vector_writable_elements(weights, size));
    return pmt::cons(metadata, weights);
}

} // namespace phydnn
} // namespace gr
