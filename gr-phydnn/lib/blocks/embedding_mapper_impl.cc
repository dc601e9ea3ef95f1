/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "embedding_mapper_impl.h"
#include <gnuradio/io_signature.h>

namespace gr {
namespace phydnn {

embedding_mapper::sptr embedding_mapper::make(const std::vector<float>& embeddings,
                                              size_t dim,
                                              const std::vector<gr_complex>& points,
                                              const std::string& lookup)
{
    return gnuradio::make_block_sptr<embedding_mapper_impl>(
        embeddings, dim, points, lookup);
}

embedding_mapper_impl::embedding_mapper_impl(const std::vector<float>& embeddings,
                                             size_t dim,
                                             const std::vector<gr_complex>& points,
                                             const std::string& lookup)
    : gr::block("embedding_mapper",
                gr::io_signature::make(0, 0, 0),
                gr::io_signature::make(0, 0, 0)),
      pdu::converter<embedding_mapper>(
          "slices", "symbols", "slices come faster than they can be mapped"),
      d_kernel(embeddings, dim, points, kernels::lookup_rule_from(lookup))
{
}

pmt::pmt_t embedding_mapper_impl::convert(const pmt::pmt_t& metadata,
                                          const pmt::pmt_t& slices)
{
    if (!pmt::is_f32vector(slices))
        throw std::invalid_argument("slices must be an f32vector");
    size_t size = 0;
    const float* values = pmt::f32vector_elements(slices, size);
    if (size % d_kernel.dim() != 0)
        throw std::invalid_argument("slices must hold a multiple of " +
                                    std::to_string(d_kernel.dim()) + " values, not " +
                                    std::to_string(size));
    const size_t count = size / d_kernel.dim();
    const auto symbols = pmt::make_c32vector(count, gr_complex());
    std::vector<int32_t> labels(count);
    d_kernel.encode(
        values, count, labels.data(), pmt::c32vector_writable_elements(symbols, size));
    return pmt::cons(metadata, symbols);
}

} // namespace phydnn
} // namespace gr
