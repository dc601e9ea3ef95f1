/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(numerology.h)
 * BINDTOOL_HEADER_FILE_HASH(cc4b83326b116b2bfb68251ab39fed96)
 */
#include <gnuradio/phydnn/numerology.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace py = pybind11;

void bind_numerology(py::module& m)
{
    using gr::phydnn::numerology;

    py::class_<numerology>(
        m, "numerology", R"(The dimensions of the waveform, shared by both ends of a link.

Wherever a numerology is asked for, the name of a preset will do: 'wide' (512/40/448), 'long'
(1024/96/896: delay spreads up to 4.4 µs at 20 MS/s) or 'short' (128/32/112: small packets).)")
        .def(
            py::init(&numerology::preset), py::arg("name"), R"(A tested set of dimensions.

Raises ValueError for an unknown name.)")
        .def(py::init([](unsigned fft_size,
                         unsigned cp_length,
                         unsigned used,
                         unsigned pilot_spacing,
                         unsigned header_symbols) {
                 numerology n{ fft_size, cp_length, used, pilot_spacing, header_symbols };
                 n.validate();
                 return n;
             }),
             py::arg("fft_size"),
             py::arg("cp_length"),
             py::arg("used"),
             py::arg("pilot_spacing") = 14,
             py::arg("header_symbols") = 2,
             R"(Dimensions of one's own, in samples, subcarriers and symbols.

Raises ValueError, with one sentence, if they make no waveform.)")
        .def_static("presets", &numerology::presets, "The names of the presets.")
        .def_readonly(
            "fft_size", &numerology::fft_size, "Samples of a symbol without prefix.")
        .def_readonly(
            "cp_length", &numerology::cp_length, "Samples of the cyclic prefix.")
        .def_readonly("used", &numerology::used, "Used subcarriers.")
        .def_readonly(
            "pilot_spacing", &numerology::pilot_spacing, "Data symbols between two DMRS.")
        .def_readonly(
            "header_symbols", &numerology::header_symbols, "Symbols of the header.")
        .def_property_readonly(
            "preamble_length", &numerology::preamble_length, "Samples of one repetition.")
        .def_property_readonly("preamble_samples",
                               &numerology::preamble_samples,
                               "Samples of the whole preamble.")
        .def_property_readonly("symbol_samples",
                               &numerology::symbol_samples,
                               "Samples of a symbol with prefix.")
        .def("data_symbols",
             &numerology::data_symbols,
             py::arg("uses"),
             "Data symbols that `uses` channel uses fill.")
        .def("pilot_symbols",
             &numerology::pilot_symbols,
             py::arg("uses"),
             "DMRS of a frame with `uses` channel uses.")
        .def("grid_symbols",
             &numerology::grid_symbols,
             py::arg("uses"),
             "Rows of the resource grid of a frame with `uses` channel uses.")
        .def("frame_samples",
             &numerology::frame_samples,
             py::arg("uses"),
             "Samples of a frame with `uses` channel uses.")
        .def("data_row",
             &numerology::data_row,
             py::arg("index"),
             "Grid row of a data symbol.")
        .def("pilot_row",
             &numerology::pilot_row,
             py::arg("index"),
             py::arg("uses"),
             "Grid row of a DMRS in a frame with `uses` channel uses.")
        .def("__repr__", [](const numerology& n) {
            return "numerology(" + std::to_string(n.fft_size) + ", " +
                   std::to_string(n.cp_length) + ", " + std::to_string(n.used) + ", " +
                   std::to_string(n.pilot_spacing) + ", " +
                   std::to_string(n.header_symbols) + ")";
        });
    py::implicitly_convertible<std::string, numerology>();
}
