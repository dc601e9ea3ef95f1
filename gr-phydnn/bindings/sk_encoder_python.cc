/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(sk_encoder.h)
 * BINDTOOL_HEADER_FILE_HASH(e9dec2830915ba47e2cf0517e9256f2a)
 */
#include <gnuradio/phydnn/sk_encoder.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace py = pybind11;

void bind_sk_encoder(py::module& m)
{
    using gr::phydnn::sk_encoder;

    py::class_<sk_encoder, gr::block, gr::basic_block, std::shared_ptr<sk_encoder>>(
        m,
        "sk_encoder",
        R"(Weights to analog symbols: Shannon-Kotelnikov spirals, repetition, or both.

Message input `weights`: PDUs with an f32vector of n finite weights of unit variance.
Message output `symbols`: PDUs with a c32vector of ceil(n 2^spirals repeats / 2) symbols and the metadata
of the input. Erased PDUs pass untouched; a PDU of another type, or with infinity or NaN in it, leaves as
an erasure with reason `payload`, more than 64 waiting ones with reason `overrun`.)")
        .def(py::init(&sk_encoder::make),
             py::arg("gammas") = std::vector<float>(),
             py::arg("alphas") = std::vector<float>(),
             py::arg("repeats") = 1,
             py::arg("amplitude") = 1.0f,
             R"(Make an sk_encoder.

gammas: radians that each nested spiral turns in a unit of radius, 0 to 32; at most 4 of them, none for
plain symbols, two weights a channel use.
alphas: the exponents of their radii, 0.5 to 1, as many; see phydnn.spiral.code_for for good ones.
repeats: copies, 1 to 64.
amplitude: of the symbols, 0.001 to 1000.
Raises ValueError if one of them is out of range.)")
        .def("received", &sk_encoder::received, "PDUs that came in.")
        .def("erased", &sk_encoder::erased, "PDUs that came in as erasures.")
        .def("dropped",
             &sk_encoder::dropped,
             "PDUs that left as erasures for want of time or of sound data.");
}
