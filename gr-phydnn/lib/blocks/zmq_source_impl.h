/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_ZMQ_SOURCE_IMPL_H
#define INCLUDED_PHYDNN_ZMQ_SOURCE_IMPL_H

#include <gnuradio/phydnn/zmq_source.h>
#include <kernels/sample_ports.h>

namespace gr {
namespace phydnn {

class zmq_source_impl : public zmq_source
{
public:
    zmq_source_impl(const std::string& endpoint, size_t largest);

    uint64_t samples() const override { return d_client.counts().samples; }
    uint64_t requests() const override { return d_client.counts().requests; }
    uint64_t connections() const override { return d_client.counts().connections; }
    uint64_t refused() const override { return d_client.counts().refused; }

    int work(int noutput_items,
             gr_vector_const_void_star& input_items,
             gr_vector_void_star& output_items) override;

private:
    zmq::context_t d_context;
    kernels::sample_client d_client;
    zmq::message_t d_reply;
    size_t d_used = 0; // samples of the reply that have left
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_ZMQ_SOURCE_IMPL_H */
