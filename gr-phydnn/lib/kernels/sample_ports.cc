/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "sample_ports.h"
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {

using namespace std::chrono_literals;
using sample = std::complex<float>;

constexpr std::size_t largest_request = 256; // bytes; REQ sockets may add an envelope
constexpr std::size_t longest_envelope = 4;  // frames
constexpr std::size_t most_waiting = 16;     // requests, of all other clients together
constexpr unsigned most_asked = 2;           // requests under way
constexpr int most_unread = 4;               // replies: a peer may send what none asked
using std::chrono::milliseconds;
constexpr milliseconds handshake = 2000ms; // for a peer that accepts and says nothing
constexpr milliseconds between_attempts = 20ms; // to connect
constexpr milliseconds after_empty_reply = 1ms; // by a peer with nothing to send

zmq::message_t byte_message(unsigned char byte) { return { &byte, 1 }; }

/*! Settings of both ends. */
void configure(zmq::socket_t& socket, std::size_t largest_message)
{
    socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(largest_message));
    socket.set(zmq::sockopt::handshake_ivl, static_cast<int>(handshake.count()));
    // A machine that vanished is found out by TCP; a process that was stopped is not
    // gone.
    socket.set(zmq::sockopt::tcp_keepalive, 1);
    socket.set(zmq::sockopt::tcp_keepalive_idle, 5);
    socket.set(zmq::sockopt::tcp_keepalive_intvl, 5);
    socket.set(zmq::sockopt::tcp_keepalive_cnt, 3);
}

/*! A socket that tells of connections that come and go. */
zmq::socket_t monitor(zmq::context_t& context, zmq::socket_t& socket)
{
    static std::atomic<std::uint64_t> count{ 0 };
    const std::string name = "inproc://phydnn-monitor-" + std::to_string(count++);
    if (zmq_socket_monitor(socket.handle(), name.c_str(), ZMQ_EVENT_ALL) != 0)
        throw zmq::error_t();
    zmq::socket_t events(context, zmq::socket_type::pair);
    events.set(zmq::sockopt::linger, 0);
    events.connect(name);
    return events;
}

/*! Before it is closed: libzmq 4.3.4 never frees a socket that has its monitor on. */
void unmonitor(zmq::socket_t& socket)
{
    if (socket)
        zmq_socket_monitor(socket.handle(), nullptr, 0);
}

struct event {
    std::uint16_t kind;
    std::int32_t value;
};

/*! The next event, if there is one: a frame of kind and value, and one of the address. */
bool next_event(zmq::socket_t& events, event& e)
{
    zmq::message_t frame;
    if (!events.recv(frame, zmq::recv_flags::dontwait))
        return false;
    std::memcpy(&e.kind, frame.data(), sizeof(e.kind));
    std::memcpy(&e.value,
                static_cast<const char*>(frame.data()) + sizeof(e.kind),
                sizeof(e.value));
    (void)events.recv(frame, zmq::recv_flags::dontwait);
    return true;
}

/*! Whether somebody listens at an endpoint of ipc, whose file libzmq takes away unasked.
 */
bool is_taken(const std::string& endpoint)
{
    const std::string scheme = "ipc://";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (endpoint.compare(0, scheme.size(), scheme) != 0 ||
        endpoint.size() - scheme.size() >= sizeof(address.sun_path))
        return false;
    endpoint.copy(address.sun_path, std::string::npos, scheme.size());
    const int descriptor =
        ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0)
        return false;
    // A queue that is full is somebody's, too.
    const bool taken = ::connect(descriptor,
                                 reinterpret_cast<const sockaddr*>(&address),
                                 sizeof(address)) == 0 ||
                       errno == EAGAIN;
    ::close(descriptor);
    return taken;
}

/*! Reads and drops the rest of a message of several frames. */
void drop_rest(zmq::socket_t& socket, zmq::message_t& frame)
{
    while (frame.more())
        if (!socket.recv(frame, zmq::recv_flags::dontwait))
            return;
}

} // namespace

void wait_on(std::vector<zmq::pollitem_t>& items, std::chrono::milliseconds timeout)
{
    if (zmq_poll(items.data(), static_cast<int>(items.size()), timeout.count()) < 0 &&
        zmq_errno() != EINTR)
        throw zmq::error_t();
}

sample_server::sample_server(zmq::context_t& context, const std::string& endpoint)
    : d_socket(context, zmq::socket_type::router)
{
    configure(d_socket, largest_request);
    d_socket.set(zmq::sockopt::router_mandatory, 1); // a client that has gone is an error
    d_socket.set(zmq::sockopt::linger, 1000);        // the last reply gets there
    d_socket.set(zmq::sockopt::rcvhwm, static_cast<int>(most_waiting));
    d_events = monitor(context, d_socket);
    const std::runtime_error in_use("cannot serve samples at " + endpoint +
                                    ": the port is in use; choose another, or stop the "
                                    "program that has it");
    if (is_taken(endpoint))
        throw in_use;
    try {
        d_socket.bind(endpoint);
    } catch (const zmq::error_t& error) {
        if (error.num() == EADDRINUSE)
            throw in_use;
        if (error.num() == EADDRNOTAVAIL || error.num() == ENODEV ||
            error.num() == EACCES)
            throw std::runtime_error("cannot serve samples at " + endpoint + ": " +
                                     error.what() +
                                     "; name an address and a port of this machine");
        throw std::invalid_argument(
            "cannot serve samples at '" + endpoint + "': " + error.what() +
            "; an endpoint is like tcp://127.0.0.1:5550 or ipc:///tmp/name");
    }
    d_endpoint = d_socket.get(zmq::sockopt::last_endpoint);
}

sample_server::~sample_server() { unmonitor(d_socket); }

void sample_server::take_events()
{
    event e{};
    while (next_event(d_events, e)) {
        if (e.kind == ZMQ_EVENT_ACCEPTED)
            d_open.insert(e.value);
        else if (e.kind == ZMQ_EVENT_DISCONNECTED)
            drop_connection(e.value);
    }
    d_counts.connected = !d_owner.empty();
}

void sample_server::drop_connection(int descriptor)
{
    d_open.erase(descriptor);
    const auto gone = [&](const request& r) { return r.descriptor == descriptor; };
    if (descriptor != d_owner_descriptor) {
        d_others.erase(std::remove_if(d_others.begin(), d_others.end(), gone),
                       d_others.end());
        return;
    }
    // The next client's turn: the one that has waited longest, with all that it asked.
    d_requests.clear();
    d_owner.clear();
    d_owner_descriptor = -1;
    std::deque<request> others;
    std::swap(others, d_others);
    for (request& r : others) {
        if (d_owner.empty()) {
            d_owner = r.envelope.front().to_string();
            d_owner_descriptor = r.descriptor;
            d_counts.connections++;
        }
        (from_owner(r) ? d_requests : d_others).push_back(std::move(r));
    }
}

bool sample_server::from_owner(const request& r) const
{
    return r.envelope.front().to_string_view() == d_owner;
}

bool sample_server::receive(request& r, std::size_t& body_size)
{
    zmq::message_t frame;
    if (!d_socket.recv(frame, zmq::recv_flags::dontwait))
        return false;
    // The connection's descriptor is what the monitor names it by. (Its successor, the
    // metadata "Peer-Address", is not unique for local sockets.)
    r.descriptor = zmq_msg_get(frame.handle(), ZMQ_SRCFD);
    while (frame.more() && (r.envelope.empty() || frame.size() > 0) &&
           r.envelope.size() < longest_envelope) {
        r.envelope.push_back(std::move(frame));
        frame.rebuild();
        if (!d_socket.recv(frame, zmq::recv_flags::dontwait))
            break;
        r.descriptor = zmq_msg_get(frame.handle(), ZMQ_SRCFD);
    }
    body_size = 0;
    if (frame.size() > 0 || !frame.more() || r.envelope.empty()) { // no empty delimiter
        drop_rest(d_socket, frame);
        r.envelope.resize(std::min<std::size_t>(r.envelope.size(), 1));
        return true;
    }
    (void)d_socket.recv(frame, zmq::recv_flags::dontwait);
    if (frame.more())
        drop_rest(d_socket, frame);
    else
        body_size = frame.size();
    r.limit = largest_reply;
    if (body_size == 4) {
        std::uint32_t count = 0;
        std::memcpy(&count, frame.data(), sizeof(count));
        r.limit = std::min<std::size_t>(std::max<std::uint32_t>(count, 1), largest_reply);
    }
    return true;
}

std::size_t sample_server::wanted()
{
    take_events();
    while (d_requests.size() < most_asked) {
        request r{};
        std::size_t body_size = 0;
        if (!receive(r, body_size))
            break;
        // What happened before this request arrived has to be known before it is judged:
        // descriptors are used again.
        take_events();
        if (d_open.count(r.descriptor) == 0)
            continue; // its client has gone since
        if (body_size != 1 && body_size != 4) {
            d_counts.refused++;
            if (!r.envelope.empty())
                send(r, nullptr, 0);
            continue;
        }
        if (d_owner.empty()) {
            d_owner = r.envelope.front().to_string();
            d_owner_descriptor = r.descriptor;
            d_counts.connections++;
            d_counts.connected = true;
        }
        if (from_owner(r)) {
            d_requests.push_back(std::move(r));
        } else {
            d_counts.refused++;
            if (d_others.size() < most_waiting)
                d_others.push_back(std::move(r));
        }
    }
    return d_requests.empty() ? 0 : d_requests.front().limit;
}

bool sample_server::send(request& r, const void* data, std::size_t size)
{
    try {
        for (zmq::message_t& frame : r.envelope)
            if (!d_socket.send(frame,
                               zmq::send_flags::sndmore | zmq::send_flags::dontwait))
                return false;
        d_socket.send(zmq::message_t(),
                      zmq::send_flags::sndmore | zmq::send_flags::dontwait);
        d_socket.send(zmq::message_t(data, size), zmq::send_flags::dontwait);
    } catch (const zmq::error_t& error) {
        if (error.num() != EHOSTUNREACH)
            throw;
        return false;
    }
    return true;
}

bool sample_server::reply(const sample* samples, std::size_t n)
{
    request r = std::move(d_requests.front());
    d_requests.pop_front();
    if (!send(r, samples, n * sizeof(sample))) {
        if (r.descriptor == d_owner_descriptor)
            drop_connection(r.descriptor);
        d_counts.connected = !d_owner.empty();
        return false;
    }
    d_counts.samples += n;
    d_counts.requests++;
    return true;
}

void sample_server::poll_on(std::vector<zmq::pollitem_t>& items)
{
    if (d_requests.size() < most_asked)
        items.push_back({ d_socket.handle(), 0, ZMQ_POLLIN, 0 });
    items.push_back({ d_events.handle(), 0, ZMQ_POLLIN, 0 });
}

sample_client::sample_client(zmq::context_t& context,
                             const std::string& endpoint,
                             std::size_t largest)
    : d_context(context), d_endpoint(endpoint), d_largest(largest)
{
    if (largest == 0)
        throw std::invalid_argument("the largest reply must be one sample at least");
    open();
}

sample_client::~sample_client() { unmonitor(d_socket); }

void sample_client::open()
{
    zmq::socket_t socket(d_context, zmq::socket_type::dealer);
    configure(socket, d_largest * sizeof(sample));
    socket.set(zmq::sockopt::linger, 0);
    socket.set(zmq::sockopt::rcvhwm, most_unread);
    socket.set(zmq::sockopt::immediate, 1); // requests go to a connection, or nowhere
    socket.set(zmq::sockopt::reconnect_ivl, -1); // open() makes the next one
    zmq::socket_t events = monitor(d_context, socket);
    try {
        socket.connect(d_endpoint);
    } catch (const zmq::error_t& error) {
        throw std::invalid_argument(
            "cannot ask for samples at '" + d_endpoint + "': " + error.what() +
            "; an endpoint is like tcp://127.0.0.1:5550 or ipc:///tmp/name");
    }
    d_socket = std::move(socket);
    d_events = std::move(events);
    d_ready = d_ended = d_blocked = false;
    d_may_ask = most_asked;
    d_asked = 0;
    d_due = clock::now() + handshake;
}

void sample_client::close(std::chrono::milliseconds pause)
{
    unmonitor(d_socket);
    d_socket.close();
    d_events.close();
    d_counts.connected = false;
    d_due = clock::now() + pause;
}

void sample_client::take_events()
{
    event e{};
    while (next_event(d_events, e)) {
        switch (e.kind) {
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
            d_ready = true;
            d_counts.connections++;
            d_counts.connected = true;
            break;
        case ZMQ_EVENT_CLOSED: // could not connect
        case ZMQ_EVENT_DISCONNECTED:
        case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
            d_ended = true;
            break;
        default:
            break;
        }
    }
}

bool sample_client::receive(zmq::message_t& samples)
{
    while (d_socket && d_ready) {
        // Asked before the last look for replies: what a closed connection has brought
        // is read first.
        take_events();
        if (!d_socket.recv(samples, zmq::recv_flags::dontwait)) {
            if (d_ended)
                close(between_attempts);
            return false;
        }
        // The empty delimiter, then the samples.
        bool sound = samples.size() == 0 && samples.more();
        if (sound) {
            samples.rebuild();
            sound = d_socket.recv(samples, zmq::recv_flags::dontwait).has_value() &&
                    !samples.more() && samples.size() % sizeof(sample) == 0;
        }
        drop_rest(d_socket, samples);
        d_asked -= d_asked > 0;
        if (!sound) {
            d_counts.refused++;
        } else if (samples.size() == 0) {
            if (d_may_ask == 1)
                d_ask_from = clock::now() + after_empty_reply;
            d_may_ask = 1;
        } else {
            d_counts.samples += samples.size() / sizeof(sample);
            d_counts.requests++;
            return true;
        }
    }
    return false;
}

void sample_client::ask()
{
    if (!d_socket) {
        if (clock::now() < d_due)
            return;
        open();
    }
    take_events();
    if (!d_ready) {
        if (d_ended || clock::now() > d_due)
            close(between_attempts);
        return;
    }
    if (d_ended || (d_asked == 0 && clock::now() < d_ask_from))
        return;
    while (d_asked < d_may_ask) {
        d_blocked = !d_socket.send(zmq::message_t(),
                                   zmq::send_flags::sndmore | zmq::send_flags::dontwait);
        if (d_blocked)
            return;
        (void)d_socket.send(byte_message(0xff), zmq::send_flags::dontwait);
        d_asked++;
    }
}

milliseconds sample_client::poll_on(std::vector<zmq::pollitem_t>& items)
{
    if (!d_socket)
        return between_attempts;
    const short wanted = d_blocked ? ZMQ_POLLIN | ZMQ_POLLOUT : ZMQ_POLLIN;
    items.push_back({ d_socket.handle(), 0, wanted, 0 });
    items.push_back({ d_events.handle(), 0, ZMQ_POLLIN, 0 });
    return clock::now() < d_ask_from ? after_empty_reply : handshake;
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
