/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(channel.h)
 * BINDTOOL_HEADER_FILE_HASH(28f1f8631c1df149abd2470b1e0bd875)
 */
#include <gnuradio/phydnn/channel.h>
#include <pybind11/complex.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace py = pybind11;

void bind_channel(py::module& m)
{
    using gr::phydnn::channel;

    py::class_<channel, gr::block, gr::basic_block, std::shared_ptr<channel>>(
        m,
        "channel",
        R"(A radio channel and the receiver's front end, seeded and replayable.

Stream in and out: complex samples. In order: paths with fractional delays, whose gains are static,
drawn per frame, or follow a Doppler process; sample clock offset; carrier frequency offset and
phase noise; I/Q imbalance; white Gaussian noise; a 16-bit converter.

The noise has total variance N0 = 10^(-snr_db/10) per complex sample, N0/2 per real dimension,
whatever the signal's power: snr_db is Es/N0 where a channel use has energy 1.
The output does not depend on how the scheduler cuts the stream; the same parameters, seed and link
give the same samples, bit for bit.)")
        .def(py::init(&channel::make),
             py::arg("sample_rate") = 20e6,
             py::arg("snr_db") = std::numeric_limits<double>::infinity(),
             py::arg("model") = "awgn",
             py::arg("fading") = "frame",
             py::arg("k_factors") = std::vector<double>(),
             py::arg("delays") = std::vector<double>(),
             py::arg("gains") = std::vector<gr_complex>(),
             py::arg("doppler_hz") = 0.0,
             py::arg("block_length") = 0,
             py::arg("cfo_hz") = 0.0,
             py::arg("sfo_ppm") = 0.0,
             py::arg("phase_noise_hz") = 0.0,
             py::arg("iq_amplitude_db") = 0.0,
             py::arg("iq_phase_deg") = 0.0,
             py::arg("full_scale") = 0.0,
             py::arg("seed") = 0,
             py::arg("link") = 0,
             R"(Make a channel.

sample_rate: samples per second.
snr_db: Es/N0 in dB, -100 or more; inf: no noise.
model: 'awgn' (one path that never changes), 'rayleigh' or 'rician' (one path that fades) or 'tdl'
(a tapped delay line).
fading: what the paths of 'rayleigh', 'rician' and 'tdl' do: 'frame' (drawn anew at each packet_len
tag, or each block_length samples), 'doppler' (evolving with the sample count, Clarke's model) or,
for 'tdl' alone, 'static'.
k_factors: line-of-sight over scattered power, not in dB: one for 'rician'; one per path or none
(all Rayleigh) for 'tdl'.
delays: of the paths of 'tdl', in seconds, 0 to 10 ms.
gains: one per path, complex: the gain where it is static; otherwise its squared magnitude is the
path's share of the mean power, which is scaled to 1. May be empty where there is one path.
doppler_hz: largest Doppler shift, up to 1/1024 of the sample rate.
block_length: samples of a frame for fading 'frame'; 0: packet_len tags start frames.
cfo_hz: carrier frequency offset, less than half of the sample rate.
sfo_ppm: sample clock offset (T' - T)/T, -1000 to 1000.
phase_noise_hz: linewidth of Wiener phase noise, up to 1/100 of the sample rate.
iq_amplitude_db, iq_phase_deg: gain (-20 to 20) and lag (-90 to 90) of the quadrature branch.
full_scale: amplitude at which the 16-bit converter clips; 0: no converter.
seed, link: key of all random numbers; links of one seed are independent.
Raises ValueError for a parameter out of range.)")
        .def("set_snr_db",
             &channel::set_snr_db,
             py::arg("snr_db"),
             "Es/N0 in dB. May be called while running.")
        .def("set_cfo_hz",
             &channel::set_cfo_hz,
             py::arg("cfo_hz"),
             "Carrier frequency offset; the phase goes on. May be called while running.")
        .def("set_sfo_ppm",
             &channel::set_sfo_ppm,
             py::arg("sfo_ppm"),
             "Sample clock offset; the time goes on. May be called while running.")
        .def("set_phase_noise_hz",
             &channel::set_phase_noise_hz,
             py::arg("phase_noise_hz"),
             "Linewidth of the phase noise. May be called while running.")
        .def("set_iq_imbalance",
             &channel::set_iq_imbalance,
             py::arg("iq_amplitude_db"),
             py::arg("iq_phase_deg"),
             "Gain and lag of the quadrature branch. May be called while running.")
        .def("set_gains",
             &channel::set_gains,
             py::arg("gains"),
             "Gains of the paths, as many as there are; [] where there is one: 1. May be "
             "called while running.")
        .def("not_finite", &channel::not_finite, "Inputs that were not finite numbers.")
        .def("clipped",
             &channel::clipped,
             "Real or imaginary parts that the converter clipped.");
}
