/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "finite_demapper_impl.h"
#include "pdu.h"
#include <gnuradio/io_signature.h>

namespace gr {
namespace phydnn {

namespace {
const pmt::pmt_t symbols_port = pmt::intern("symbols");
const pmt::pmt_t values_port = pmt::intern("values");
} // namespace

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
      d_kernel(low, high, bits, gain, priors),
      d_decision(kernels::finite_decision_from(decision))
{
    message_port_register_in(symbols_port);
    message_port_register_out(values_port);
    set_msg_handler(symbols_port, [this](const pmt::pmt_t& message) { handle(message); });
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

pmt::pmt_t finite_demapper_impl::demap(const pmt::pmt_t& symbols,
                                       const pmt::pmt_t& n0) const
{
    if (!pmt::is_c32vector(symbols))
        throw std::invalid_argument("symbols must be a c32vector");
    size_t uses = 0, size = 0;
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
    return values;
}

void finite_demapper_impl::handle(const pmt::pmt_t& message)
{
    d_received++;
    const auto meta = pdu::meta(message);
    if (pdu::is_true(meta, "erased")) {
        d_erased++;
        message_port_pub(values_port, message);
        return;
    }
    const char* reason = "payload";
    try {
        if (nmsgs(symbols_port) > pdu::longest_queue) {
            reason = "overrun";
            throw std::invalid_argument("symbols come faster than they can be demapped");
        }
        const auto symbols = pmt::is_pair(message) ? pmt::cdr(message) : pmt::PMT_NIL;
        message_port_pub(values_port,
                         pmt::cons(meta, demap(symbols, pdu::get(meta, "n0"))));
    } catch (const std::invalid_argument& fault) {
        d_dropped++;
        d_logger->warn("frame {} is erased: {}.",
                       pdu::get_long(meta, "frame_number", -1),
                       fault.what());
        const auto erasure = pdu::erase(meta, reason);
        message_port_pub(values_port,
                         pmt::cons(pmt::car(erasure), pmt::make_f32vector(0, 0.0f)));
    }
}

} // namespace phydnn
} // namespace gr
