/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_ZMQ_SOURCE_H
#define INCLUDED_PHYDNN_ZMQ_SOURCE_H

#include <gnuradio/phydnn/api.h>
#include <gnuradio/sync_block.h>
#include <cstdint>
#include <memory>
#include <string>

namespace gr {
namespace phydnn {

/*!
 * \brief The receiving end of a sample stream over ZeroMQ, in srsRAN's protocol.
 * \ingroup phydnn
 *
 * Connects, sends requests of one byte, and takes replies of headerless complex float
 * samples of any length up to a bound. Two requests are under way at a time, so that
 * neither side waits for the other's answer.
 *
 * A peer that restarts is connected to anew, for as long as that takes. A reply that is
 * not a whole number of samples is dropped and counted; one above the bound ends the
 * connection before any memory is taken for it.
 */
class PHYDNN_API zmq_source : virtual public gr::sync_block
{
public:
    typedef std::shared_ptr<zmq_source> sptr;

    /*!
     * \param endpoint to connect to
     * \param largest bound of a reply, in samples
     * \throws std::invalid_argument for an endpoint that cannot be understood, or a bound
     *   of 0
     */
    static sptr make(const std::string& endpoint = "tcp://127.0.0.1:5551",
                     size_t largest = 2097152);

    //! Samples received.
    virtual uint64_t samples() const = 0;
    //! Requests answered with samples.
    virtual uint64_t requests() const = 0;
    //! Connections that came about: 1 and the peer's restarts.
    virtual uint64_t connections() const = 0;
    //! Replies that were dropped because they were not of the protocol.
    virtual uint64_t refused() const = 0;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_ZMQ_SOURCE_H */
