/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(emulator.h)
 * BINDTOOL_HEADER_FILE_HASH(40dd83e6acec8fec1e65cee24adb9cbf)
 */
#include <gnuradio/phydnn/emulator.h>
#include <pybind11/complex.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <optional>

namespace py = pybind11;
using namespace gr::phydnn;

namespace {

template <typename T>
using array = py::array_t<T, py::array::c_style | py::array::forcecast>;
using sample = std::complex<float>;

template <typename T>
std::vector<T> values(const array<T>& a)
{
    return { a.data(), a.data() + a.size() };
}

/*! \throws std::invalid_argument for another shape; names the argument */
template <typename T>
std::vector<T>
shaped(const array<T>& a, const char* name, const std::vector<py::ssize_t>& shape)
{
    if (std::vector<py::ssize_t>(a.shape(), a.shape() + a.ndim()) != shape) {
        std::string text = std::string(name) + " must have the shape [";
        for (std::size_t i = 0; i < shape.size(); i++)
            text += (i ? ", " : "") + std::to_string(shape[i]);
        throw std::invalid_argument(text + "]");
    }
    return values(a);
}

py::dict as_dict(const emulator_node_status& n)
{
    py::dict d;
    d["name"] = n.name;
    d["transmits"] = n.transmits;
    d["receives"] = n.receives;
    d["transmitter"] = n.transmitter;
    d["receiver"] = n.receiver;
    d["samples_in"] = n.samples_in;
    d["samples_out"] = n.samples_out;
    d["zero_filled"] = n.zero_filled;
    d["lost"] = n.lost;
    d["stalls"] = n.stalls;
    d["reconnects"] = n.reconnects;
    d["refused"] = n.refused;
    d["clipped"] = n.clipped;
    d["not_finite"] = n.not_finite;
    d["queued_in"] = n.queued_in;
    d["queued_out"] = n.queued_out;
    return d;
}

py::dict as_dict(const emulator_change& c)
{
    py::dict d;
    d["at"] = c.at;
    d["transmitter"] = c.transmitter;
    d["receiver"] = c.receiver;
    if (c.taps) {
        py::list gains; // JSON has no complex numbers
        for (const sample& gain : c.gains)
            gains.append(py::make_tuple(gain.real(), gain.imag()));
        d["delays"] = c.delays;
        d["gains"] = gains;
    } else {
        d["gain_db"] = c.gain_db;
    }
    return d;
}

py::dict as_dict(const emulator_status& s)
{
    py::dict d;
    d["state"] = s.state;
    d["error"] = s.error;
    d["sample_rate"] = s.sample_rate;
    d["samples"] = s.samples;
    d["seconds"] = static_cast<double>(s.samples) / s.sample_rate;
    d["wall_s"] = s.wall_s;
    py::list nodes;
    for (const emulator_node_status& node : s.nodes)
        nodes.append(as_dict(node));
    d["nodes"] = nodes;
    py::list changes;
    for (const emulator_change& change : s.changes)
        changes.append(as_dict(change));
    d["changes_made"] = s.changes_made;
    d["changes"] = changes;
    return d;
}

py::list run(emulator& self, const std::vector<std::optional<array<sample>>>& samples)
{
    std::vector<const sample*> pointers;
    std::vector<std::size_t> lengths;
    for (const auto& node : samples) {
        if (node && node->ndim() != 1)
            throw std::invalid_argument("the samples of a node must be an array [n]");
        pointers.push_back(node ? node->data() : nullptr);
        lengths.push_back(node ? static_cast<std::size_t>(node->size()) : 0);
    }
    std::vector<std::vector<sample>> received;
    {
        py::gil_scoped_release release;
        received = self.run(pointers, lengths);
    }
    py::list made;
    for (const auto& node : received)
        made.append(array<sample>(static_cast<py::ssize_t>(node.size()), node.data()));
    return made;
}

} // namespace

void bind_emulator(py::module& m)
{
    py::class_<emulator_node>(
        m, "emulator_node", "A radio that is attached to the emulator.")
        .def(py::init([](const std::string& name,
                         const std::string& transmits,
                         const std::string& receives,
                         double cfo_hz,
                         double sfo_ppm,
                         double phase_noise_hz,
                         double noise,
                         double full_scale) {
                 return emulator_node{ name,    transmits,      receives, cfo_hz,
                                       sfo_ppm, phase_noise_hz, noise,    full_scale };
             }),
             py::arg("name"),
             py::arg("transmits") = "",
             py::arg("receives") = "",
             py::arg("cfo_hz") = 0.0,
             py::arg("sfo_ppm") = 0.0,
             py::arg("phase_noise_hz") = 0.0,
             py::arg("noise") = 0.0,
             py::arg("full_scale") = 0.0,
             R"(Describe a node.

transmits: endpoint at which the node answers with the samples it sends; empty: it sends none.
receives: endpoint at which the emulator answers the node; empty: it receives nothing.
cfo_hz, sfo_ppm, phase_noise_hz: carrier frequency offset, sample clock offset (-1000 to 1000) and
oscillator linewidth of its receiver, as those of phydnn.channel.
noise: N0 of its receiver, the total variance of the noise per complex sample.
full_scale: amplitude at which its 16-bit converter clips; 0: no converter.)")
        .def_readonly("name", &emulator_node::name)
        .def_readonly("transmits", &emulator_node::transmits)
        .def_readonly("receives", &emulator_node::receives)
        .def_readonly("cfo_hz", &emulator_node::cfo_hz)
        .def_readonly("sfo_ppm", &emulator_node::sfo_ppm)
        .def_readonly("phase_noise_hz", &emulator_node::phase_noise_hz)
        .def_readonly("noise", &emulator_node::noise)
        .def_readonly("full_scale", &emulator_node::full_scale);

    py::class_<emulator>(
        m,
        "emulator",
        R"(Channel emulator: N x N links between processes that exchange samples.

Node j receives the sum over all nodes i of what i sends through the taps of the link i to j; then
come its receiver's sample clock offset, carrier offset and phase noise, noise and converter. Sample
count is the only clock: all streams start at sample 0, what came before is 0, and taps are
interpolated linearly against the sample count. The same samples, settings and changes give the same
samples, bit for bit, however streams are cut, with sockets or without (run).

Samples cross ZeroMQ sockets in srsRAN's protocol: who sends binds REP, a request is one byte, the
reply headerless complex64 samples of any length up to 2 Mi. The emulator asks every node that
transmits, and answers every node that receives. Nothing is emulated before each has come once.)")
        .def(py::init([](double sample_rate,
                         const std::vector<emulator_node>& nodes,
                         const array<double>& times,
                         const array<double>& delays,
                         const array<sample>& gains,
                         uint64_t seed,
                         bool mchem,
                         const std::optional<array<double>>& doppler_hz,
                         const std::optional<array<double>>& scale,
                         double line,
                         const std::string& dead_peer,
                         double timeout_s,
                         size_t block,
                         unsigned threads) {
                 emulator_options o;
                 const auto n = static_cast<py::ssize_t>(nodes.size());
                 const py::ssize_t taps = delays.ndim() == 4 ? delays.shape(3) : 1;
                 o.sample_rate = sample_rate;
                 o.nodes = nodes;
                 o.times = shaped(times, "times", { times.size() });
                 const py::ssize_t count = std::max<py::ssize_t>(times.size(), 1);
                 o.delays = shaped(delays, "delays", { count, n, n, taps });
                 o.gains = shaped(gains, "gains", { count, n, n, taps });
                 if (scale)
                     o.scale = shaped(*scale, "scale", { n, n });
                 if (doppler_hz)
                     o.doppler_hz = shaped(*doppler_hz, "doppler_hz", { n, n });
                 o.line = line;
                 o.seed = seed;
                 o.mchem = mchem;
                 o.dead_peer = dead_peer;
                 o.timeout_s = timeout_s;
                 o.block = block;
                 o.threads = threads;
                 return std::make_unique<emulator>(o);
             }),
             py::arg("sample_rate"),
             py::arg("nodes"),
             py::arg("times"),
             py::arg("delays"),
             py::arg("gains"),
             py::kw_only(),
             py::arg("seed") = 0,
             py::arg("mchem") = false,
             py::arg("doppler_hz") = py::none(),
             py::arg("scale") = py::none(),
             py::arg("line") = 0.0,
             py::arg("dead_peer") = "stall",
             py::arg("timeout_s") = 5.0,
             py::arg("block") = 32768,
             py::arg("threads") = 0,
             R"(Make an emulator of N nodes.

sample_rate: samples per second, of all nodes.
nodes: N emulator_node.
times: float64 [T], seconds, rising; [0] where nothing moves.
delays: float64 [T, N, N, L], seconds; the first index of a link is its transmitter.
gains: complex64 [T, N, N, L], sample amplitude to sample amplitude; 0: no tap. Between times, delays
and gains lie on lines; after the last they stay. A tap that is 0 at one time keeps the delay that it
has at the other.
seed: of all random numbers.
mchem: hold each link to what Colosseum's MCHEM can do: each ms its 4 strongest taps, on a grid of
10 ns within 5.12 us, none below -43 dB nor above 0 dB, rounded to 16 bits, before scale.
doppler_hz: float64 [N, N], largest Doppler shift of Clarke's fading of a link's taps, up to 1/1024
of the sample rate; 0: none.
scale: float64 [N, N], multiplies the gains of a link; none: 1.
line: longest delay that may be set later, in seconds; 0: that of delays, and 5.12 us at least.
dead_peer: what happens when a node has held the others up for timeout_s seconds: 'stall' (they wait,
which is counted), 'zero' (it sends zeros, and what is for it is dropped, until it is back; both are
counted) or 'fail' (the emulation ends).
block: samples emulated at a time, at most.
threads: that emulate; 0: one per processor.
Whole delays are exact; fractional ones are interpolated over 40 samples (-57 dB worst error over the
middle 90% of the band), which holds output back by up to 21 samples.
Raises ValueError for an argument out of range.)")
        .def("start",
             &emulator::start,
             py::call_guard<py::gil_scoped_release>(),
             "Open the sockets and emulate. Raises ValueError for an endpoint that "
             "cannot be "
             "understood, RuntimeError for one that cannot be bound.")
        .def("stop",
             &emulator::stop,
             py::call_guard<py::gil_scoped_release>(),
             "End the emulation and close the sockets.")
        .def("wait",
             &emulator::wait,
             py::arg("timeout_s") = 1e8,
             py::call_guard<py::gil_scoped_release>(),
             "Wait until it ends, at most timeout_s seconds; returns whether it has. "
             "Raises "
             "RuntimeError where it failed.")
        .def(
            "status",
            [](const emulator& self) {
                emulator_status s;
                {
                    py::gil_scoped_release release;
                    s = self.status();
                }
                return as_dict(s);
            },
            R"(Where the emulation stands, as a dict that JSON can hold.

state: idle, waiting (for nodes to come), running, stalled, stopped or failed; error: why it failed.
samples, seconds: sample count of the emulation; wall_s: time since all nodes had come.
nodes: per node, its endpoints; transmitter and receiver (none, absent, connected or dead);
samples_in and samples_out; zero_filled and lost while it was dead; stalls; reconnects; refused
messages; clipped and not_finite parts; queued_in and queued_out.
changes: the last 4096 of changes_made, with the sample counts from which they hold.)")
        .def("run",
             &run,
             py::arg("samples"),
             R"(The same emulation without sockets, as far as the shortest stream goes.

samples: per node complex64 [n], or None: it is silent, in all calls. What is left of the longer ones
is used first in the next call, which goes on where this one ended.
Returns per node what it receives, complex64 [m].)")
        .def("set_gain",
             &emulator::set_gain,
             py::arg("transmitter"),
             py::arg("receiver"),
             py::arg("db"),
             py::arg("at") = -1,
             py::call_guard<py::gil_scoped_release>(),
             "Further gain of a link, dB, in place of what was set before, from sample "
             "at on "
             "(-1: the next); returns that sample count. Nodes are indices. Raises "
             "ValueError "
             "for a value out of range or a sample that is past.")
        .def("set_taps",
             &emulator::set_taps,
             py::arg("transmitter"),
             py::arg("receiver"),
             py::arg("delays"),
             py::arg("gains"),
             py::arg("at") = -1,
             py::call_guard<py::gil_scoped_release>(),
             "Replace a link's taps: delays in seconds within the line, gains complex, "
             "before "
             "scale; from sample at on (-1: the next); returns that sample count.");
}
