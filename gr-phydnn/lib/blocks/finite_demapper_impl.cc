/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "finite_demapper_impl.h"
#include <gnuradio/io_signature.h>

namespace gr {
namespace phydnn {

finite_demapper::sptr finite_demapper::make(float low,
                                            float high,
                                            int bits,
                                            float gain,
                                            const std::string& decision,
                                            const std::vector<float>& priors)
{
    return gnuradio::make_block_sptr<finite_demapper_impl>(
        low, high, bits, gain, decision, priors);
}

finite_demapper_impl::finite_demapper_impl(float low,
                                           float high,
                                           int bits,
                                           float gain,
                                           const std::string& decision,
                                           const std::vector<float>& priors)
    : gr::block("finite_demapper",
                gr::io_signature::make(0, 0, 0),
                gr::io_signature::make(0, 0, 0)),
      pdu::converter<finite_demapper>(
          "symbols", "values", "symbols come faster than they can be demapped"),
      d_kernel(low, high, bits, gain, priors),
      d_decision(kernels::finite_decision_from(decision))
{
}

void finite_demapper_impl::set_decision(const std::string& decision)
{
    d_decision = kernels::finite_decision_from(decision);
}

std::string finite_demapper_impl::decision() const
{
    switch (d_decision) {
    case kernels::finite_decision::none:
        return "none";
    case kernels::finite_decision::hard:
        return "hard";
    default:
        return "soft";
    }
}

pmt::pmt_t finite_demapper_impl::convert(const pmt::pmt_t& metadata,
                                         const pmt::pmt_t& symbols)
{
    if (!pmt::is_c32vector(symbols))
        throw std::invalid_argument("symbols must be a c32vector");
    size_t uses = 0, size = 0;
    const auto n0 = pdu::get(metadata, "n0");
    const gr_complex* received = pmt::c32vector_elements(symbols, uses);
    const auto values = pmt::make_f32vector(2 * uses, 0.0f);
    float* to = pmt::f32vector_writable_elements(values, size);

    const kernels::finite_decision decision = d_decision;
    const float* noise = nullptr;
    float one = 0;
    size_t stride = 0;
    if (decision == kernels::finite_decision::soft) {
        if (pmt::is_f32vector(n0) && pmt::length(n0) == uses) {
            noise = pmt::f32vector_elements(n0, size);
            stride = 1;
        } else if (pmt::is_real(n0) || pmt::is_integer(n0)) {
            one = float(pmt::to_double(n0));
            noise = &one;
        } else {
            throw std::invalid_argument(
                "soft decisions need n0 in the metadata, a number or an "
                "f32vector as long as the symbols; else set hard ones");
        }
    }
    d_kernel.decode(received, uses, noise, stride, decision, to);
    return pmt::cons(metadata, values);
}

} // namespace phydnn
} // namespace gr
