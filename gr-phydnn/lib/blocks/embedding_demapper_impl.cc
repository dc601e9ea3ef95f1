/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "embedding_demapper_impl.h"
#include "pdu.h"
#include <gnuradio/io_signature.h>

namespace gr {
namespace phydnn {

namespace {
const pmt::pmt_t symbols_port = pmt::intern("symbols");
const pmt::pmt_t slices_port = pmt::intern("slices");
} // namespace

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
      d_kernel(embeddings, dim, points)
{
    set_decision(decision);
    message_port_register_in(symbols_port);
    message_port_register_out(slices_port);
    set_msg_handler(symbols_port, [this](const pmt::pmt_t& message) { handle(message); });
}

void embedding_demapper_impl::set_decision(const std::string& decision)
{
    if (decision != "hard" && decision != "soft")
        throw std::invalid_argument("decision must be \"hard\" or \"soft\", not \"" +
                                    decision + "\"");
    d_soft = decision == "soft";
}

pmt::pmt_t embedding_demapper_impl::demap(const pmt::pmt_t& symbols,
                                          const pmt::pmt_t& n0) const
{
    if (!pmt::is_c32vector(symbols))
        throw std::invalid_argument("symbols must be a c32vector");
    size_t count = 0, size = 0;
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
    return slices;
}

void embedding_demapper_impl::handle(const pmt::pmt_t& message)
{
    d_received++;
    const auto meta = pdu::meta(message);
    if (pdu::is_true(meta, "erased")) {
        d_erased++;
        message_port_pub(slices_port, message);
        return;
    }
    const char* reason = "payload";
    try {
        if (nmsgs(symbols_port) > pdu::longest_queue) {
            reason = "overrun";
            throw std::invalid_argument("symbols come faster than they can be demapped");
        }
        const auto symbols = pmt::is_pair(message) ? pmt::cdr(message) : pmt::PMT_NIL;
        message_port_pub(slices_port,
                         pmt::cons(meta, demap(symbols, pdu::get(meta, "n0"))));
    } catch (const std::invalid_argument& fault) {
        d_dropped++;
        d_logger->warn("frame {} is erased: {}.",
                       pdu::get_long(meta, "frame_number", -1),
                       fault.what());
        const auto erasure = pdu::erase(meta, reason);
        message_port_pub(slices_port,
                         pmt::cons(pmt::car(erasure), pmt::make_f32vector(0, 0.0f)));
    }
}

} // namespace phydnn
} // namespace gr
