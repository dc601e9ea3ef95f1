/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "finite_mapper_impl.h"
#include "pdu.h"
#include <gnuradio/io_signature.h>

namespace gr {
namespace phydnn {

namespace {
const pmt::pmt_t values_port = pmt::intern("values");
const pmt::pmt_t symbols_port = pmt::intern("symbols");
} // namespace

finite_mapper::sptr finite_mapper::make(float low, float high, int bits, float gain)
{
    return gnuradio::make_block_sptr<finite_mapper_impl>(low, high, bits, gain);
}

finite_mapper_impl::finite_mapper_impl(float low, float high, int bits, float gain)
    : gr::block("finite_mapper",
                gr::io_signature::make(0, 0, 0),
                gr::io_signature::make(0, 0, 0)),
      d_kernel(low, high, bits, gain)
{
    message_port_register_in(values_port);
    message_port_register_out(symbols_port);
    set_msg_handler(values_port, [this](const pmt::pmt_t& message) { handle(message); });
}

pmt::pmt_t finite_mapper_impl::map(const pmt::pmt_t& values) const
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
    return symbols;
}

void finite_mapper_impl::handle(const pmt::pmt_t& message)
{
    d_received++;
    const auto meta = pdu::meta(message);
    if (pdu::is_true(meta, "erased")) {
        d_erased++;
        message_port_pub(symbols_port, message);
        return;
    }
    const char* reason = "payload";
    try {
        if (nmsgs(values_port) > pdu::longest_queue) {
            reason = "overrun";
            throw std::invalid_argument("values come faster than they can be mapped");
        }
        const auto values = pmt::is_pair(message) ? pmt::cdr(message) : pmt::PMT_NIL;
        message_port_pub(symbols_port, pmt::cons(meta, map(values)));
    } catch (const std::invalid_argument& fault) {
        d_dropped++;
        d_logger->warn("frame {} is erased: {}.",
                       pdu::get_long(meta, "frame_number", -1),
                       fault.what());
        message_port_pub(symbols_port, pdu::erase(meta, reason));
    }
}

} // namespace phydnn
} // namespace gr
