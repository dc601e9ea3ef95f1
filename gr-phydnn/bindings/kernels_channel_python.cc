/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* BINDTOOL_HEADER_FILE(None) */
#include <kernels/channel.h>
#include <pybind11/complex.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

namespace py = pybind11;
using namespace gr::phydnn::kernels;

namespace {
using samples =
    py::array_t<std::complex<float>, py::array::c_style | py::array::forcecast>;
} // namespace

void bind_kernels_channel(py::module& m)
{
    m.def("philox4x32",
          &philox4x32,
          py::arg("counter"),
          py::arg("key"),
          "The four random words of Philox4x32-10 for a counter (4 words) and a key (2 "
          "words).");

    py::class_<noise>(
        m, "noise", "White circular Gaussian noise, a function of the sample index.")
        .def(py::init<uint64_t, uint32_t, uint32_t>(),
             py::arg("seed") = 0,
             py::arg("link") = 0,
             py::arg("stream") = 0)
        .def(
            "generate",
            [](const noise& self, uint64_t first, size_t count) {
                samples out(count);
                self.generate(first, out.mutable_data(), count);
                return out;
            },
            py::arg("first"),
            py::arg("count"),
            "Samples first … first + count - 1, complex64 [count], of total variance 1.");

    py::enum_<fading_kind>(m, "fading_kind", "How the gains of a channel's paths change.")
        .value("fixed", fading_kind::fixed)
        .value("per_frame", fading_kind::per_frame)
        .value("doppler", fading_kind::doppler);

    py::class_<fading>(m, "fading", "The gains of a channel's paths.")
        .def(py::init<fading_kind,
                      const std::vector<std::complex<float>>&,
                      const std::vector<double>&,
                      double,
                      uint64_t,
                      uint32_t>(),
             py::arg("kind"),
             py::arg("gains"),
             py::arg("k_factors"),
             py::arg("doppler") = 0.0,
             py::arg("seed") = 0,
             py::arg("link") = 0,
             "gains and k_factors: one per path; doppler: cycles per sample.")
        .def(
            "gain",
            [](const fading& self,
               size_t path,
               uint64_t first,
               uint64_t step,
               size_t count) {
                samples out(count);
                for (size_t i = 0; i < count; i++)
                    out.mutable_data()[i] = self.gain(path, first + i * step);
                return out;
            },
            py::arg("path"),
            py::arg("first"),
            py::arg("step"),
            py::arg("count"),
            "Gains at frames (per_frame) or samples (doppler) first, first + step, …, "
            "complex64.");

    py::class_<channel>(m, "channel", R"(A radio channel and its receiver's front end.

The same signal processing as the block gnuradio.phydnn.channel, whose documentation holds here.)")
        .def(py::init([](double sample_rate,
                         fading_kind kind,
                         const std::vector<double>& delays,
                         const std::vector<std::complex<float>>& gains,
                         const std::vector<double>& k_factors,
                         double doppler_hz,
                         uint64_t block_length,
                         double snr_db,
                         double cfo_hz,
                         double sfo_ppm,
                         double phase_noise_hz,
                         double iq_amplitude_db,
                         double iq_phase_deg,
                         double full_scale,
                         uint64_t seed,
                         uint32_t link) {
                 return channel({ sample_rate,
                                  kind,
                                  delays,
                                  gains,
                                  k_factors,
                                  doppler_hz,
                                  block_length,
                                  snr_db,
                                  cfo_hz,
                                  sfo_ppm,
                                  phase_noise_hz,
                                  iq_amplitude_db,
                                  iq_phase_deg,
                                  full_scale,
                                  seed,
                                  link });
             }),
             py::arg("sample_rate") = 20e6,
             py::arg("fading") = fading_kind::fixed,
             py::arg("delays") = std::vector<double>{ 0 },
             py::arg("gains") = std::vector<std::complex<float>>{ { 1 } },
             py::arg("k_factors") = std::vector<double>(),
             py::arg("doppler_hz") = 0.0,
             py::arg("block_length") = 0,
             py::arg("snr_db") = std::numeric_limits<double>::infinity(),
             py::arg("cfo_hz") = 0.0,
             py::arg("sfo_ppm") = 0.0,
             py::arg("phase_noise_hz") = 0.0,
             py::arg("iq_amplitude_db") = 0.0,
             py::arg("iq_phase_deg") = 0.0,
             py::arg("full_scale") = 0.0,
             py::arg("seed") = 0,
             py::arg("link") = 0)
        .def(
            "work",
            [](channel& self, const samples& in, size_t room) {
                samples out(room);
                size_t consumed = 0;
                const size_t made =
                    self.work(in.data(), in.size(), out.mutable_data(), room, consumed);
                out.resize({ made });
                return py::make_tuple(out, consumed);
            },
            py::arg("samples"),
            py::arg("room"),
            "Runs complex64 samples [n]; returns (output complex64 [at most room], "
            "inputs taken).")
        .def("inputs_for",
             &channel::inputs_for,
             py::arg("count"),
             "Inputs that count outputs need.")
        .def("output_of",
             &channel::output_of,
             py::arg("sample"),
             "Output at which the earliest path delivers an input.")
        .def("new_frame",
             &channel::new_frame,
             py::arg("sample"),
             "A frame starts at that input: paths that fade per frame are drawn anew.")
        .def("set_snr_db", &channel::set_snr_db, py::arg("snr_db"))
        .def("set_cfo_hz", &channel::set_cfo_hz, py::arg("cfo_hz"))
        .def("set_sfo_ppm", &channel::set_sfo_ppm, py::arg("sfo_ppm"))
        .def(
            "set_phase_noise_hz", &channel::set_phase_noise_hz, py::arg("phase_noise_hz"))
        .def("set_iq_imbalance",
             &channel::set_iq_imbalance,
             py::arg("amplitude_db"),
             py::arg("phase_deg"))
        .def("set_gains", &channel::set_gains, py::arg("gains"))
        .def_property_readonly("not_finite", &channel::not_finite)
        .def_property_readonly("clipped", &channel::clipped);
}
