/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_SAMPLE_PORTS_H
#define INCLUDED_PHYDNN_KERNELS_SAMPLE_PORTS_H

#include <gnuradio/phydnn/api.h>
#include <zmq.hpp>
#include <atomic>
#include <chrono>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <vector>

namespace gr {
namespace phydnn {
namespace kernels {

/*! \brief What one end of a stream of samples over ZeroMQ has seen; any thread may read
 * it. */
struct port_counts {
    std::atomic<std::uint64_t> samples{ 0 };     //!< sent or received
    std::atomic<std::uint64_t> requests{ 0 };    //!< answered
    std::atomic<std::uint64_t> connections{ 0 }; //!< that came about, the first included
    std::atomic<std::uint64_t> refused{ 0 }; //!< messages that were not of the protocol
    std::atomic<bool> connected{ false };    //!< whether there is a peer now
};

/*! \brief Largest reply that is taken, in samples, unless another bound is given. */
constexpr std::size_t largest_reply = std::size_t{ 1 } << 21;

/*!
 * \brief The transmitting end of a stream of samples: answers requests.
 *
 * The protocol is srsRAN's: a client sends a request of one byte, and gets a reply of
 * headerless complex float samples, as many as there are. A request of four bytes, which
 * GNU Radio's req_source sends, is the largest number of samples wanted (little endian).
 * Any other request is answered with an empty reply, and counted as refused.
 *
 * One client is served at a time; requests of another wait until the first has
 * disconnected. A reply that finds its client gone was not sent, and its samples can go
 * to the next one. Clients may have more than one request under way.
 *
 * Not for several threads at once.
 */
class PHYDNN_API sample_server
{
public:
    /*!
     * \param context Of the socket; it has to outlive this.
     * \param endpoint To bind; `tcp://127.0.0.1:*` takes a free port.
     * \throws std::invalid_argument for an endpoint that cannot be understood
     * \throws std::runtime_error for one that cannot be bound; both name it
     */
    sample_server(zmq::context_t& context, const std::string& endpoint);
    ~sample_server();

    /*! \brief Samples that may be sent now: 0 while no request is waiting. */
    std::size_t wanted();

    /*!
     * \brief Answers the oldest request with \p n samples, at most wanted().
     * \return Whether its client was still there; if not, nothing was sent.
     */
    bool reply(const std::complex<float>* samples, std::size_t n);

    /*! \brief Adds the sockets on which wanted() may change. */
    void poll_on(std::vector<zmq::pollitem_t>& items);

    /*! \brief The endpoint bound, its port filled in. */
    const std::string& endpoint() const { return d_endpoint; }
    const port_counts& counts() const { return d_counts; }

private:
    struct request {
        std::vector<zmq::message_t> envelope; // the client's address, and what it added
        int descriptor;                       // of the client's connection
        std::size_t limit;                    // samples
    };
    bool receive(request& r, std::size_t& body_size);
    void take_events();
    void drop_connection(int descriptor);
    bool send(request& r, const void* data, std::size_t size);
    bool from_owner(const request& r) const;

    zmq::socket_t d_socket;
    zmq::socket_t d_events;
    std::string d_endpoint;
    std::deque<request> d_requests; // of the client that is served
    std::deque<request> d_others;   // of clients that wait for their turn
    std::string d_owner;            // address of the client that is served; "": none
    int d_owner_descriptor = -1;
    std::set<int> d_open; // connections, by their descriptors
    port_counts d_counts;
};

/*!
 * \brief The receiving end of a stream of samples: asks for them.
 *
 * Speaks to a sample_server, to srsRAN's transmitters and to GNU Radio's rep_sink. Keeps
 * two requests under way, so that the next reply is on its way while the last is used;
 * but one with a peer that has nothing to say to a second, as GNU Radio's. A
 * connection that ends is made anew, for as long as it takes, and its unanswered requests
 * are sent again: no reply is asked for twice.
 *
 * A reply that is not a whole number of samples is dropped and counted as refused; one
 * that is larger than the bound ends the connection before any memory is taken for it.
 *
 * Not for several threads at once.
 */
class PHYDNN_API sample_client
{
public:
    /*!
     * \param context Of the sockets; it has to outlive this.
     * \param endpoint To connect to.
     * \param largest Bound of a reply, in samples.
     * \throws std::invalid_argument for an endpoint that cannot be understood
     */
    sample_client(zmq::context_t& context,
                  const std::string& endpoint,
                  std::size_t largest = largest_reply);
    ~sample_client();

    /*!
     * \brief Takes the next reply that has arrived, if there is one.
     * \param samples Set to the reply, one sample at least.
     * \return Whether there was one.
     */
    bool receive(zmq::message_t& samples);

    /*! \brief Opens and closes connections, and sends the requests that are due. */
    void ask();

    /*!
     * \brief Adds the sockets on which ask() or receive() may get on.
     * \return How long to wait for them at most: no socket tells when a pause is over.
     */
    std::chrono::milliseconds poll_on(std::vector<zmq::pollitem_t>& items);

    const port_counts& counts() const { return d_counts; }

private:
    using clock = std::chrono::steady_clock;
    void open();
    void close(std::chrono::milliseconds pause);
    void take_events();

    zmq::context_t& d_context;
    std::string d_endpoint;
    std::size_t d_largest;
    // A socket serves for one connection: what was asked on it is lost with it, for sure.
    zmq::socket_t d_socket;
    zmq::socket_t d_events;
    bool d_ready = false;    // the handshake is done
    bool d_ended = false;    // the connection is closed; replies may be left to read
    bool d_blocked = false;  // a request waits for the socket
    unsigned d_may_ask = 1;  // requests under way, at most
    unsigned d_asked = 0;    // requests without an answer
    clock::time_point d_due; // next attempt; or, while connecting, when to give it up
    clock::time_point d_ask_from; // no request before: the last reply was empty
    port_counts d_counts;
};

/*! \brief Waits until one of \p items is ready, at most \p timeout. */
PHYDNN_API void wait_on(std::vector<zmq::pollitem_t>& items,
                        std::chrono::milliseconds timeout);

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_SAMPLE_PORTS_H */
