/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "embedding_demapper_impl.h"
#include <gnuradio/io_signature.h>

namespace gr {
namespace phydnn {

embedding_demapper::sptr embedding_demapper::make(const std::vector<float>& embeddings,
                                                  size_t dim,
                                                  const std::vector<gr_complex>& points,
                                                  const std::string& decision)
{
    return gnuradio::make_block_sptr<embedding_demapper_impl>(
        embeddings, dim, points, decision);
}

embedding_demapper_impl::embedding_demapper_impl(const std::vector<float>& embeddings,
                                                 size_t dim,
                                                 const std::vector<gr_complex>& points,
                                                 const std::string& decision)
    : gr::block("embedding_demapper",
                gr::io_signature::make(0, 0, 0),
                gr::io_signature::make(0, 0, 0)),
      pdu::converter<embedding_demapper>(
          "symbols", "slices", "symbols come faster than they can be demapped"),
      d_kernel(embeddings, dim, points)
{
    set_decision(decision);
}

void embedding_demapper_impl::set_decision(const std::string& decision)
{
    if (decision != "hard" && decision != "soft")
        throw std::invalid_argument("decision must be \"hard\" or \"soft\", not \"" +
                                    decision + "\"");
    d_soft = decision == "soft";
}

pmt::pmt_t embedding_demapper_impl::convert(const pmt::pmt_t& metadata,
                                            const pmt::pmt_t& symbols)
{
    if (!pmt::is_c32vector(symbols))
        throw std::invalid_argument("symbols must be a c32vector");
    size_t count = 0, size = 0;
    const auto n0 = pdu::get(metadata, "n0");
    const gr_complex* received = pmt::c32vector_elements(symbols, count);
    const auto slices = pmt::make_f32vector(count * d_kernel.dim(), 0.0f);
    float* values = pmt::f32vector_writable_elements(slices, size);

    if (!d_soft) {
        std::vector<int32_t> labels(count);
        d_kernel.decode_hard(received, count, labels.data(), values);
    } else if (pmt::is_f32vector(n0) && pmt::length(n0) == count) {
        d_kernel.decode_soft(received, count, pmt::f32vector_elements(n0, size), values);
    } else if (pmt::is_real(n0) || pmt::is_integer(n0)) {
        d_kernel.decode_soft(received, count, float(pmt::to_double(n0)), values);
    } else {
        throw std::invalid_argument(
            "soft decisions need n0 in the metadata, a number or an "
            "f32vector as long as the symbols; else set hard ones");
    }
    return pmt::cons(metadata, slices);
}

} // namespace phydnn
} // namespace gr
