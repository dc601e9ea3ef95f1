/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "zmq_source_impl.h"
#include <gnuradio/io_signature.h>
#include <algorithm>
#include <cstring>

namespace gr {
namespace phydnn {

zmq_source::sptr zmq_source::make(const std::string& endpoint, size_t largest)
{
    return gnuradio::make_block_sptr<zmq_source_impl>(endpoint, largest);
}

zmq_source_impl::zmq_source_impl(const std::string& endpoint, size_t largest)
    : gr::sync_block("zmq_source",
                     gr::io_signature::make(0, 0, 0),
                     gr::io_signature::make(1, 1, sizeof(gr_complex))),
      d_client(d_context, endpoint, largest)
{
}

int zmq_source_impl::work(int noutput_items,
                          gr_vector_const_void_star&,
                          gr_vector_void_star& output_items)
{
    using namespace std::chrono_literals;
    const auto room = static_cast<size_t>(noutput_items);
    auto* out = static_cast<gr_complex*>(output_items[0]);
    size_t made = 0;
    while (made < room) {
        if (d_used * sizeof(gr_complex) == d_reply.size()) {
            d_used = 0;
            d_reply.rebuild();
            d_client.ask();
            if (!d_client.receive(d_reply)) {
                if (made > 0)
                    break;
                // Not for long: the scheduler cannot stop a block that waits.
                std::vector<zmq::pollitem_t> items;
                kernels::wait_on(
                    items,
                    std::min<std::chrono::milliseconds>(d_client.poll_on(items), 50ms));
                d_client.ask();
                if (!d_client.receive(d_reply))
                    break;
            }
            d_client.ask(); // for the next, before this one is used
        }
        const size_t n =
            std::min(room - made, d_reply.size() / sizeof(gr_complex) - d_used);
        std::memcpy(
            out + made, d_reply.data<gr_complex>() + d_used, n * sizeof(gr_complex));
        made += n;
        d_used += n;
    }
    return static_cast<int>(made);
}

} // namespace phydnn
} // namespace gr
