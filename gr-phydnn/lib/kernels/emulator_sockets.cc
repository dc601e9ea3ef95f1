/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "emulator.h"
#include "sample_ports.h"
#include <gnuradio/phydnn/emulator.h>
#include <condition_variable>
#include <algorithm>
#include <cmath>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace gr {
namespace phydnn {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using sample = std::complex<float>;

// Of the loop, which has to look for stop().
constexpr std::chrono::milliseconds longest_wait = 20ms;
constexpr std::size_t queue_blocks = 2;
constexpr std::size_t most_changes = 4096; // that status() names

enum class policy { stall, zero, fail };

policy policy_of(const std::string& name)
{
    if (name == "stall")
        return policy::stall;
    if (name == "zero")
        return policy::zero;
    if (name == "fail")
        return policy::fail;
    throw std::invalid_argument("dead_peer must be 'stall', 'zero' or 'fail'; it is '" +
                                name + "'");
}

kernels::emulator_settings settings_of(const emulator_options& o)
{
    kernels::emulator_settings s;
    s.sample_rate = o.sample_rate;
    for (const emulator_node& node : o.nodes)
        s.nodes.push_back({ node.name,
                            node.cfo_hz,
                            node.sfo_ppm,
                            node.phase_noise_hz,
                            node.noise,
                            node.full_scale,
                            !node.transmits.empty(),
                            !node.receives.empty() });
    s.times = o.times;
    s.delays = o.delays;
    s.gains = o.gains;
    s.scale = o.scale;
    s.doppler_hz = o.doppler_hz;
    s.line = o.line;
    s.seed = o.seed;
    s.mchem = o.mchem;
    s.threads =
        o.threads > 0 ? o.threads : std::max(1u, std::thread::hardware_concurrency());
    return s;
}

/*! One end of a node's two: what it has done, and whether it still does. */
struct end {
    bool dead = false;
    bool stalled = false; // has held the others up, and that was counted
    clock::time_point since;

    void alive(clock::time_point now)
    {
        dead = stalled = false;
        since = now;
    }
};

struct attached {
    std::unique_ptr<kernels::sample_client> client; // asks the node
    std::unique_ptr<kernels::sample_server> server; // answers it
    end transmitter;
    end receiver;
    std::size_t wanted = 0;
    std::uint64_t zero_filled = 0;
    std::uint64_t lost = 0;
    std::uint64_t stalls = 0;
};

} // namespace

struct emulator::implementation {
    explicit implementation(const emulator_options& o)
        : options(o),
          dead_peer(policy_of(o.dead_peer)),
          kernel(settings_of(o)),
          queue(queue_blocks * o.block)
    {
        if (!(o.timeout_s > 0 && o.timeout_s <= 1e6))
            throw std::invalid_argument("timeout_s must be above 0, and 1e6 at most");
        if (o.block < 1 || o.block > (1u << 20))
            throw std::invalid_argument("block must be 1 to 1048576 samples");
        options.delays = {}; // the kernel has its own copy
        options.gains = {};
    }

    void loop();
    bool exchange(clock::time_point now);
    bool emulate(clock::time_point now);
    void fill_in(std::size_t room);
    void look_for_dead(clock::time_point now);
    bool holds_up(std::size_t i, bool transmitter) const;
    bool all_have_come() const;
    void sleep(std::unique_lock<std::mutex>& lock);
    std::vector<emulator_node_status> look() const;
    std::uint64_t note(emulator_change&& change);
    void end_with(const std::string& reason);

    emulator_options options; // without its taps
    const policy dead_peer;
    kernels::emulator kernel;
    const std::size_t queue; // samples that may wait at either side of the kernel

    mutable std::mutex mutex; // of all that follows
    mutable std::atomic<int> visitors{ 0 };
    std::condition_variable ended;
    std::string state = "idle";
    std::string error;
    std::deque<emulator_change> changes; // the last ones
    std::uint64_t changes_made = 0;
    std::vector<emulator_node_status> last; // what nodes had seen when it ended

    std::vector<bool> silent; // in run(); empty before
    zmq::context_t context;
    std::vector<attached> nodes;
    clock::time_point started;
    clock::time_point moved; // when samples were last emulated
    double wall_s = 0;
    std::atomic<bool> stopping{ false };
    std::mutex joining;
    std::thread thread;
};

namespace {

/*! Holds the lock against the loop, which otherwise takes it again at once. */
class visit
{
public:
    visit(std::mutex& mutex, std::atomic<int>& visitors)
        : d_visitors(visitors), d_lock(mutex, std::defer_lock)
    {
        d_visitors++;
        d_lock.lock();
    }
    ~visit() { d_visitors--; }
    std::unique_lock<std::mutex>& lock() { return d_lock; }

private:
    std::atomic<int>& d_visitors;
    std::unique_lock<std::mutex> d_lock;
};

} // namespace

bool emulator::implementation::all_have_come() const
{
    for (const attached& node : nodes)
        if ((node.client && node.client->counts().connections == 0) ||
            (node.server && node.server->counts().connections == 0))
            return false;
    return true;
}

std::vector<emulator_node_status> emulator::implementation::look() const
{
    std::vector<emulator_node_status> seen;
    for (std::size_t i = 0; i < options.nodes.size(); i++) {
        const emulator_node& node = options.nodes[i];
        emulator_node_status n;
        n.name = node.name;
        n.transmits = node.transmits;
        n.receives = node.receives;
        n.clipped = kernel.clipped(i);
        n.not_finite = kernel.not_finite(i);
        n.queued_in = kernel.waiting(i);
        n.queued_out = kernel.ready(i);
        n.transmitter = node.transmits.empty() ? "none" : "absent";
        n.receiver = node.receives.empty() ? "none" : "absent";
        if (!nodes.empty()) {
            const attached& a = nodes[i];
            n.zero_filled = a.zero_filled;
            n.lost = a.lost;
            n.stalls = a.stalls;
            const auto looked = [&](const kernels::port_counts& counts, const end& e) {
                const std::uint64_t connections = counts.connections;
                n.reconnects += connections - (connections > 0);
                n.refused += counts.refused;
                return e.dead ? "dead" : counts.connected ? "connected" : "absent";
            };
            if (a.client) {
                n.transmitter = looked(a.client->counts(), a.transmitter);
                n.samples_in = a.client->counts().samples;
            }
            if (a.server) {
                n.receives = a.server->endpoint();
                n.receiver = looked(a.server->counts(), a.receiver);
                n.samples_out = a.server->counts().samples;
            }
        }
        seen.push_back(std::move(n));
    }
    return seen;
}

std::uint64_t emulator::implementation::note(emulator_change&& change)
{
    const std::uint64_t at = change.at;
    changes.push_back(std::move(change));
    changes_made++;
    if (changes.size() > most_changes)
        changes.pop_front();
    return at;
}

void emulator::implementation::end_with(const std::string& reason)
{
    error = reason;
    state = reason.empty() ? "stopped" : "failed";
    if (started != clock::time_point())
        wall_s = std::chrono::duration<double>(clock::now() - started).count();
    last = look();
    nodes.clear();
    ended.notify_all();
}

/*! Takes in what has come, and sends what is there. */
bool emulator::implementation::exchange(clock::time_point now)
{
    bool progress = false;
    zmq::message_t message;
    for (std::size_t i = 0; i < nodes.size(); i++) {
        attached& node = nodes[i];
        if (node.client) {
            node.client->ask();
            while (kernel.waiting(i) < queue && node.client->receive(message)) {
                kernel.put(i, message.data<sample>(), message.size() / sizeof(sample));
                node.client->ask();
                node.transmitter.alive(now);
                progress = true;
            }
        }
        if (node.server) {
            node.wanted = node.server->wanted();
            if (node.wanted > 0 && node.receiver.dead)
                node.receiver.alive(now);
            while (node.wanted > 0 && kernel.ready(i) > 0) {
                const std::size_t n = std::min(node.wanted, kernel.ready(i));
                if (node.server->reply(kernel.made(i), n)) {
                    kernel.take(i, n);
                    node.receiver.alive(now);
                    progress = true;
                }
                node.wanted = node.server->wanted();
            }
        }
    }
    return progress;
}

/*! Zeros for the transmitters that are dead, as far as the living have use for them. */
void emulator::implementation::fill_in(std::size_t room)
{
    bool living = false;
    bool needed = false;
    std::size_t most = room + kernel.ahead();
    for (std::size_t i = 0; i < nodes.size(); i++) {
        const attached& node = nodes[i];
        if (node.client && !node.transmitter.dead) {
            living = true;
            most = std::min(most, kernel.waiting(i));
        }
        needed = needed || (node.server && !node.receiver.dead && node.wanted > 0 &&
                            kernel.ready(i) == 0);
    }
    if (!living && !needed)
        return;
    for (std::size_t i = 0; i < nodes.size(); i++) {
        attached& node = nodes[i];
        if (node.client && node.transmitter.dead && kernel.waiting(i) < most) {
            node.zero_filled += most - kernel.waiting(i);
            kernel.put_zeros(i, most - kernel.waiting(i));
        }
    }
}

bool emulator::implementation::emulate(clock::time_point now)
{
    std::size_t room = options.block;
    bool filling = false;
    for (std::size_t i = 0; i < nodes.size(); i++) {
        if (nodes[i].server && !nodes[i].receiver.dead)
            room = std::min(room, queue - std::min(queue, kernel.ready(i)));
        filling = filling || nodes[i].transmitter.dead;
    }
    if (room == 0)
        return false;
    if (filling)
        fill_in(room);
    const bool progress = kernel.step(room) > 0;
    for (std::size_t i = 0; i < nodes.size(); i++)
        if (nodes[i].receiver.dead) {
            nodes[i].lost += kernel.ready(i);
            kernel.take(i, kernel.ready(i));
        }
    if (progress)
        moved = now;
    return progress;
}

/*! Whether nothing can be emulated because of that end of node i. */
bool emulator::implementation::holds_up(std::size_t i, bool transmitter) const
{
    const attached& node = nodes[i];
    if (transmitter)
        return node.client && !node.transmitter.dead &&
               kernel.waiting(i) <= kernel.ahead();
    return node.server && !node.receiver.dead && kernel.ready(i) >= queue;
}

void emulator::implementation::look_for_dead(clock::time_point now)
{
    // Those that have disconnected come first: the others may be waiting for them.
    bool stalled = false;
    for (const bool gone : { true, false }) {
        for (std::size_t i = 0; i < nodes.size(); i++)
            for (const bool transmitter : { true, false }) {
                attached& node = nodes[i];
                end& e = transmitter ? node.transmitter : node.receiver;
                if (!holds_up(i, transmitter))
                    continue;
                const bool connected = transmitter ? node.client->counts().connected
                                                   : node.server->counts().connected;
                const double idle =
                    std::chrono::duration<double>(now - std::max(e.since, moved)).count();
                if (connected == gone || idle < options.timeout_s)
                    continue;
                if (dead_peer == policy::fail)
                    throw std::runtime_error(
                        "node '" + options.nodes[i].name + "' has not " +
                        (transmitter ? "sent" : "asked for") + " samples for " +
                        std::to_string(static_cast<int>(std::ceil(idle))) +
                        " s: start it again, or choose what happens by dead_peer");
                node.stalls += !e.stalled;
                e.stalled = true;
                e.dead = dead_peer == policy::zero;
                stalled = true;
            }
        if (stalled)
            break;
    }
    state = stalled && dead_peer == policy::stall ? "stalled" : "running";
}

void emulator::implementation::sleep(std::unique_lock<std::mutex>& lock)
{
    std::vector<zmq::pollitem_t> items;
    std::chrono::milliseconds longest = longest_wait;
    for (std::size_t i = 0; i < nodes.size(); i++) {
        if (nodes[i].client && kernel.waiting(i) < queue)
            longest = std::min(longest, nodes[i].client->poll_on(items));
        if (nodes[i].server)
            nodes[i].server->poll_on(items);
    }
    lock.unlock();
    kernels::wait_on(items, longest);
    lock.lock();
}

void emulator::implementation::loop()
{
    std::unique_lock<std::mutex> lock(mutex);
    std::string reason;
    try {
        bool begun = false;
        while (!stopping) {
            if (visitors > 0) {
                lock.unlock();
                std::this_thread::sleep_for(50us);
                lock.lock();
            }
            const auto now = clock::now();
            bool progress = exchange(now);
            if (!begun && all_have_come()) {
                begun = true;
                state = "running";
                started = moved = now;
            }
            progress = (begun && emulate(now)) || progress;
            if (progress) {
                state = begun ? "running" : state;
                continue;
            }
            if (begun)
                look_for_dead(now);
            sleep(lock);
        }
    } catch (const std::exception& e) {
        reason = e.what();
    }
    end_with(reason);
}

emulator::emulator(const emulator_options& options)
    : d_self(std::make_unique<implementation>(options))
{
}

emulator::~emulator() { stop(); }

void emulator::start()
{
    implementation& self = *d_self;
    visit here(self.mutex, self.visitors);
    if (self.state != "idle" || self.kernel.count() > 0)
        throw std::runtime_error("an emulator starts once: make another");
    std::vector<attached> nodes;
    for (const emulator_node& node : self.options.nodes) {
        attached made;
        if (!node.transmits.empty())
            made.client =
                std::make_unique<kernels::sample_client>(self.context, node.transmits);
        if (!node.receives.empty())
            made.server =
                std::make_unique<kernels::sample_server>(self.context, node.receives);
        nodes.push_back(std::move(made));
    }
    self.nodes = std::move(nodes);
    self.state = "waiting";
    self.thread = std::thread([&self] { self.loop(); });
}

void emulator::stop()
{
    d_self->stopping = true;
    std::lock_guard<std::mutex> lock(d_self->joining);
    if (d_self->thread.joinable())
        d_self->thread.join();
}

bool emulator::wait(double timeout_s)
{
    implementation& self = *d_self;
    visit here(self.mutex, self.visitors);
    const auto over = [&] { return self.state == "stopped" || self.state == "failed"; };
    self.visitors--; // a wait is no hurry
    const bool ended = self.ended.wait_for(
        here.lock(), std::chrono::duration<double>(std::min(timeout_s, 1e8)), over);
    self.visitors++;
    if (self.state == "failed")
        throw std::runtime_error(self.error);
    return ended;
}

emulator_status emulator::status() const
{
    const implementation& self = *d_self;
    visit here(self.mutex, self.visitors);
    emulator_status s;
    s.state = self.state;
    s.error = self.error;
    s.sample_rate = self.options.sample_rate;
    s.samples = self.kernel.count();
    s.wall_s = self.wall_s;
    const bool going = self.state == "running" || self.state == "stalled";
    if (going)
        s.wall_s = std::chrono::duration<double>(clock::now() - self.started).count();
    s.changes_made = self.changes_made;
    s.changes.assign(self.changes.begin(), self.changes.end());
    s.nodes = self.last.empty() ? self.look() : self.last;
    return s;
}

std::vector<std::vector<sample>> emulator::run(const std::vector<const sample*>& samples,
                                               const std::vector<std::size_t>& lengths)
{
    implementation& self = *d_self;
    visit here(self.mutex, self.visitors);
    const std::size_t count = self.options.nodes.size();
    if (samples.size() != count || lengths.size() != count)
        throw std::invalid_argument("run needs the samples of each of the " +
                                    std::to_string(count) + " nodes");
    if (self.state != "idle")
        throw std::runtime_error(
            "an emulator with sockets does not run offline: make another");
    std::vector<bool> silent;
    for (const sample* node : samples)
        silent.push_back(node == nullptr);
    if (!self.silent.empty() && self.silent != silent)
        throw std::runtime_error("the same nodes must be silent in all calls of run");
    if (self.silent.empty())
        for (std::size_t i = 0; i < count; i++)
            self.kernel.set_role(i, !silent[i], true);
    self.silent = silent;
    if (std::find(silent.begin(), silent.end(), false) == silent.end())
        throw std::invalid_argument("run needs the samples of one node at least");
    for (std::size_t i = 0; i < count; i++)
        if (!silent[i])
            self.kernel.put(i, samples[i], lengths[i]);
    std::vector<std::vector<sample>> received(count);
    while (self.kernel.step(self.options.block) > 0)
        for (std::size_t i = 0; i < count; i++) {
            const sample* made = self.kernel.made(i);
            received[i].insert(received[i].end(), made, made + self.kernel.ready(i));
            self.kernel.take(i, self.kernel.ready(i));
        }
    return received;
}

std::uint64_t emulator::set_gain(std::size_t transmitter,
                                 std::size_t receiver,
                                 double db,
                                 std::int64_t at)
{
    implementation& self = *d_self;
    visit here(self.mutex, self.visitors);
    if (!(db >= -300 && db <= 120)) // and not a NaN
        throw std::invalid_argument("a gain must be in the range -300 to 120 dB");
    const std::uint64_t from =
        at < 0 ? self.kernel.count() : static_cast<std::uint64_t>(at);
    self.kernel.set_gain(transmitter, receiver, std::pow(10.0, db / 20), from);
    return self.note({ from, transmitter, receiver, false, db, {}, {} });
}

std::uint64_t emulator::set_taps(std::size_t transmitter,
                                 std::size_t receiver,
                                 const std::vector<double>& delays,
                                 const std::vector<sample>& gains,
                                 std::int64_t at)
{
    implementation& self = *d_self;
    visit here(self.mutex, self.visitors);
    const std::uint64_t from =
        at < 0 ? self.kernel.count() : static_cast<std::uint64_t>(at);
    self.kernel.set_taps(transmitter, receiver, delays, gains, from);
    return self.note({ from, transmitter, receiver, true, 0, delays, gains });
}

} // namespace phydnn
} // namespace gr
