/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "pdu.h"
#include "sk_encoder_impl.h"
#include <gnuradio/io_signature.h>

namespace gr {
namespace phydnn {

namespace {
const pmt::pmt_t weights_port = pmt::intern("weights");
const pmt::pmt_t symbols_port = pmt::intern("symbols");
} // namespace

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
      d_code(std::move(code))
{
    message_port_register_in(weights_port);
    message_port_register_out(symbols_port);
    set_msg_handler(weights_port, [this](const pmt::pmt_t& message) { handle(message); });
}

pmt::pmt_t sk_encoder_impl::encode(const pmt::pmt_t& weights) const
{
    if (!pmt::is_f32vector(weights))
        throw std::invalid_argument("weights must be an f32vector");
    size_t count = 0, size = 0;
    const float* values = pmt::f32vector_elements(weights, count);
    const auto symbols = pmt::make_c32vector(d_code.uses(count), gr_complex());
    d_code.encode(values, count, pmt::c32vector_writable_elements(symbols, size));
    return symbols;
}

void sk_encoder_impl::handle(const pmt::pmt_t& message)
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
        if (nmsgs(weights_port) > pdu::longest_queue) {
            reason = "overrun";
            throw std::invalid_argument("weights come faster than they can be encoded");
        }
        const auto weights = pmt::is_pair(message) ? pmt::cdr(message) : pmt::PMT_NIL;
        message_port_pub(symbols_port, pmt::cons(meta, encode(weights)));
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
