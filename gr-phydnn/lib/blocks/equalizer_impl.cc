/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "equalizer_impl.h"
#include <gnuradio/io_signature.h>

namespace gr {
namespace phydnn {

equalizer::sptr equalizer::make(const numerology& dimensions)
{
    return gnuradio::make_block_sptr<equalizer_impl>(dimensions);
}

equalizer_impl::equalizer_impl(const numerology& dimensions)
    : gr::block(
          "equalizer", gr::io_signature::make(0, 0, 0), gr::io_signature::make(0, 0, 0)),
      pdu::converter<equalizer>(
          "grid", "symbols", "the receiver is slower than the samples"),
      d_dimensions(dimensions),
      d_kernel(dimensions)
{
}

pmt::pmt_t equalizer_impl::convert(const pmt::pmt_t& metadata, const pmt::pmt_t& grid)
{
    size_t size = 0, csi_size = 0;
    const auto data = pdu::complex_vector(grid);
    const gr_complex* cells = pmt::c32vector_elements(data, size);
    const long uses = pdu::get_long(metadata, "uses", 0);
    const auto csi = pdu::complex_vector(pdu::get(metadata, "csi"));
    const gr_complex* estimates = pmt::c32vector_elements(csi, csi_size);
    const auto csi_n0 = pdu::get(metadata, "csi_n0");
    const double n0 = pmt::is_real(csi_n0) ? pmt::to_double(csi_n0) : 0;
    if (uses < 1 || size != d_dimensions.grid_symbols(size_t(uses)) * d_dimensions.used ||
        csi_size != d_dimensions.pilot_symbols(size_t(uses)) * d_dimensions.used ||
        !(n0 > 0))
        throw std::invalid_argument(
            "its grid, csi or csi_n0 does not follow from its channel uses");

    const auto symbols = pmt::make_c32vector(size_t(uses), gr_complex());
    const auto symbol_n0 = pmt::make_f32vector(size_t(uses), 0.0f);
    size_t length = 0;
    d_kernel.equalize(cells,
                      estimates,
                      float(n0),
                      size_t(uses),
                      pdu::is_true(metadata, "precoded"),
                      pmt::c32vector_writable_elements(symbols, length),
                      pmt::f32vector_writable_elements(symbol_n0, length));
    auto meta = pmt::dict_delete(metadata, pmt::intern("csi"));
    meta = pdu::set(meta, "n0", symbol_n0);
    return pmt::cons(meta, symbols);
}

} // namespace phydnn
} // namespace gr
