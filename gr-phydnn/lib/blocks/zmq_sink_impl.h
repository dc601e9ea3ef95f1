/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_ZMQ_SINK_IMPL_H
#define INCLUDED_PHYDNN_ZMQ_SINK_IMPL_H

#include <gnuradio/phydnn/zmq_sink.h>
#include <kernels/sample_ports.h>

namespace gr {
namespace phydnn {

class zmq_sink_impl : public zmq_sink
{
public:
    explicit zmq_sink_impl(const std::string& endpoint);

    std::string endpoint() const override { return d_server.endpoint(); }
    uint64_t samples() const override { return d_server.counts().samples; }
    uint64_t requests() const override { return d_server.counts().requests; }
    uint64_t connections() const override { return d_server.counts().connections; }
    uint64_t refused() const override { return d_server.counts().refused; }

    int work(int noutput_items,
             gr_vector_const_void_star& input_items,
             gr_vector_void_star& output_items) override;

private:
    zmq::context_t d_context;
    kernels::sample_server d_server;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_ZMQ_SINK_IMPL_H */
