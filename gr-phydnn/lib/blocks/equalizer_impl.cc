/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "equalizer_impl.h"
#include "pdu.h"
#include <gnuradio/io_signature.h>

namespace gr {
namespace phydnn {

namespace {
const pmt::pmt_t grid_port = pmt::intern("grid");
const pmt::pmt_t symbols_port = pmt::intern("symbols");
} // namespace

equalizer::sptr equalizer::make(const numerology& dimensions)
{
    return gnuradio::make_block_sptr<equalizer_impl>(dimensions);
}

equalizer_impl::equalizer_impl(const numerology& dimensions)
    : gr::block(
          "equalizer", gr::io_signature::make(0, 0, 0), gr::io_signature::make(0, 0, 0)),
      d_dimensions(dimensions),
      d_kernel(dimensions)
{
    message_port_register_in(grid_port);
    message_port_register_out(symbols_port);
    set_msg_handler(grid_port, [this](const pmt::pmt_t& message) { handle(message); });
}

void equalizer_impl::handle(const pmt::pmt_t& message)
{
    auto meta = pdu::meta(message);
    if (pdu::is_true(meta, "erased")) {
        message_port_pub(symbols_port, message);
        return;
    }
    size_t size = 0, csi_size = 0;
    const auto data = pdu::complex_data(message);
    const gr_complex* grid = pmt::c32vector_elements(data, size);
    const long uses = pdu::get_long(meta, "uses", 0);
    const auto csi = pdu::complex_data(pmt::cons(meta, pdu::get(meta, "csi")));
    const gr_complex* estimates = pmt::c32vector_elements(csi, csi_size);
    const auto csi_n0 = pdu::get(meta, "csi_n0");
    const double n0 = pmt::is_real(csi_n0) ? pmt::to_double(csi_n0) : 0;

    const char* fault = nullptr;
    if (nmsgs(grid_port) > pdu::longest_queue)
        fault = "overrun";
    else if (uses < 1 ||
             size != d_dimensions.grid_symbols(size_t(uses)) * d_dimensions.used ||
             csi_size != d_dimensions.pilot_symbols(size_t(uses)) * d_dimensions.used ||
             !(n0 > 0))
        fault = "payload";
    if (fault) {
        d_dropped++;
        d_logger->warn(
            "frame {} is erased: {}.",
            pdu::get_long(meta, "frame_number", -1),
            std::string(fault) == "overrun"
                ? "the receiver is slower than the samples"
                : "its grid, csi or csi_n0 does not follow from its channel uses");
        message_port_pub(symbols_port, pdu::erase(meta, fault));
        return;
    }

    const auto symbols = pmt::make_c32vector(size_t(uses), gr_complex());
    const auto symbol_n0 = pmt::make_f32vector(size_t(uses), 0.0f);
    size_t length = 0;
    d_kernel.equalize(grid,
                      estimates,
                      float(n0),
                      size_t(uses),
                      pdu::is_true(meta, "precoded"),
                      pmt::c32vector_writable_elements(symbols, length),
                      pmt::f32vector_writable_elements(symbol_n0, length));
    meta = pmt::dict_delete(meta, pmt::intern("csi"));
    meta = pdu::set(meta, "n0", symbol_n0);
    message_port_pub(symbols_port, pmt::cons(meta, symbols));
}

} // namespace phydnn
} // namespace gr
