/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "zmq_sink_impl.h"
#include <gnuradio/io_signature.h>
#include <algorithm>

namespace gr {
namespace phydnn {

zmq_sink::sptr zmq_sink::make(const std::string& endpoint)
{
    return gnuradio::make_block_sptr<zmq_sink_impl>(endpoint);
}

zmq_sink_impl::zmq_sink_impl(const std::string& endpoint)
    : gr::sync_block("zmq_sink",
                     gr::io_signature::make(1, 1, sizeof(gr_complex)),
                     gr::io_signature::make(0, 0, 0)),
      d_server(d_context, endpoint)
{
}

int zmq_sink_impl::work(int noutput_items,
                        gr_vector_const_void_star& input_items,
                        gr_vector_void_star&)
{
    using namespace std::chrono_literals;
    size_t wanted = d_server.wanted();
    if (wanted == 0) {
        // Not for long: the scheduler cannot stop a block that waits.
        std::vector<zmq::pollitem_t> items;
        d_server.poll_on(items);
        kernels::wait_on(items, 50ms);
        wanted = d_server.wanted();
    }
    const size_t n = std::min<size_t>(wanted, noutput_items);
    const bool sent =
        n > 0 && d_server.reply(static_cast<const gr_complex*>(input_items[0]), n);
    return sent ? static_cast<int>(n) : 0;
}

} // namespace phydnn
} // namespace gr
