/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_ZMQ_SINK_H
#define INCLUDED_PHYDNN_ZMQ_SINK_H

#include <gnuradio/phydnn/api.h>
#include <gnuradio/sync_block.h>
#include <cstdint>
#include <memory>
#include <string>

namespace gr {
namespace phydnn {

/*!
 * \brief The transmitting end of a sample stream over ZeroMQ, in srsRAN's protocol.
 * \ingroup phydnn
 *
 * Binds, and answers each request of one byte with a reply of headerless complex float
 * samples: what there is. A request of four bytes (GNU Radio's req_source) is the largest
 * number of samples wanted. Any other request is answered with an empty reply.
 *
 * One client is served at a time; another waits until the first has disconnected. A
 * client that restarts goes on where the stream is; what had been sent to it and not read
 * is lost with it. The stream stands still while nobody asks.
 */
class PHYDNN_API zmq_sink : virtual public gr::sync_block
{
public:
    typedef std::shared_ptr<zmq_sink> sptr;

    /*!
     * \param endpoint to bind; an address other than loopback lets other machines in, and
     *   nothing asks them who they are; `tcp://127.0.0.1:*` takes a free port
     * \throws std::invalid_argument for an endpoint that cannot be understood
     * \throws std::runtime_error for one that cannot be bound: a port in use, say
     */
    static sptr make(const std::string& endpoint = "tcp://127.0.0.1:5550");

    //! The endpoint bound, its port filled in.
    virtual std::string endpoint() const = 0;
    //! Samples sent.
    virtual uint64_t samples() const = 0;
    //! Requests answered with samples.
    virtual uint64_t requests() const = 0;
    //! Clients served so far, each connection for itself.
    virtual uint64_t connections() const = 0;
    //! Requests that were not of the protocol, or of a client whose turn it was not.
    virtual uint64_t refused() const = 0;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_ZMQ_SINK_H */
