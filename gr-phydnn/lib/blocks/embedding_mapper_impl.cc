/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "embedding_mapper_impl.h"
#include "pdu.h"
#include <gnuradio/io_signature.h>

namespace gr {
namespace phydnn {

namespace {
const pmt::pmt_t slices_port = pmt::intern("slices");
const pmt::pmt_t symbols_port = pmt::intern("symbols");
} // namespace

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
      d_kernel(embeddings, dim, points, kernels::lookup_rule_from(lookup))
{
    message_port_register_in(slices_port);
    message_port_register_out(symbols_port);
    set_msg_handler(slices_port, [this](const pmt::pmt_t& message) { handle(message); });
}

pmt::pmt_t embedding_mapper_impl::map(const pmt::pmt_t& slices) const
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
    return symbols;
}

void embedding_mapper_impl::handle(const pmt::pmt_t& message)
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
        if (nmsgs(slices_port) > pdu::longest_queue) {
            reason = "overrun";
            throw std::invalid_argument("slices come faster than they can be mapped");
        }
        const auto slices = pmt::is_pair(message) ? pmt::cdr(message) : pmt::PMT_NIL;
        message_port_pub(symbols_port, pmt::cons(meta, map(slices)));
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
