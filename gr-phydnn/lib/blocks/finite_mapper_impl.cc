/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "finite_mapper_impl.h"
#include <gnuradio/io_signature.h>

namespace gr {
namespace phydnn {

finite_mapper::sptr finite_mapper::make(float low, float high, int bits, float gain)
{
    return gnuradio::make_block_sptr<finite_mapper_impl>(low, high, bits, gain);
}

finite_mapper_impl::finite_mapper_impl(float low, float high, int bits, float gain)
    : gr::block("finite_mapper",
                gr::io_signature::make(0, 0, 0),
                gr::io_signature::make(0, 0, 0)),
      pdu::converter<finite_mapper>(
          "values", "symbols", "values come faster than they can be mapped"),
      d_kernel(low, high, bits, gain)
{
}

pmt::pmt_t finite_mapper_impl::convert(const pmt::pmt_t& metadata,
                                       const pmt::pmt_t& values)
{
    if (!pmt::is_f32vector(values))
        throw std::invalid_argument("values must be an f32vector");
    size_t size = 0;
    const float* from = pmt::f32vector_elements(values, size);
    if (size % 2 != 0)
        throw std::invalid_argument("values must come in pairs, but there are " +
                                    std::to_string(size));
    const auto symbols = pmt::make_c32vector(size / 2, gr_complex());
    size_t uses = 0;
    gr_complex* to = pmt::c32vector_writable_elements(symbols, uses);
    d_kernel.encode(from, uses, to);
    return pmt::cons(metadata, symbols);
}

} // namespace phydnn
} // namespace gr
