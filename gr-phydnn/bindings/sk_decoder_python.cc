/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(sk_decoder.h)
 * BINDTOOL_HEADER_FILE_HASH(c66b45fc292bda2f4ee6aefe5a4690bf)
 */
#include <gnuradio/phydnn/sk_decoder.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace py = pybind11;

void bind_sk_decoder(py::module& m)
{
    using gr::phydnn::sk_decoder;

    py::class_<sk_decoder, gr::block, gr::basic_block, std::shared_ptr<sk_decoder>>(
        m,
        "sk_decoder",
        R"(Received symbols back to the weights that an sk_encoder sent.

Message input `symbols`: PDUs with a c32vector; metadata n0 holds the noise variance (n0/2 per real
dimension), a number or an f32vector as long.
Message output `weights`: PDUs with an f32vector and the metadata of the input. An erased PDU leaves erased,
but with the prior's mean, 0, of all its weights, if their number is known. A PDU of another type, with
infinity or NaN in it, or without a sound n0 becomes such an erasure with reason `payload`, more than 64
waiting ones with reason `overrun`.)")
        .def(py::init(&sk_decoder::make),
             py::arg("gammas") = std::vector<float>(),
             py::arg("alphas") = std::vector<float>(),
             py::arg("repeats") = 1,
             py::arg("amplitude") = 1.0f,
             py::arg("weights") = 0,
             py::arg("rule") = "mmse",
             R"(Make an sk_decoder.

gammas, alphas, repeats, amplitude: as of the sk_encoder.
weights: in a frame, at most; 0 for as many as fit into its symbols, and erased frames stay empty.
rule: "mmse" (the posterior mean of a Gaussian weight) or "nearest" (the nearest point's).
Raises ValueError if one of them is out of range, or the rule has another name.)")
        .def("set_rule",
             &sk_decoder::set_rule,
             py::arg("rule"),
             R"("mmse" or "nearest", from the next PDU on; may be called while running.

Raises ValueError for any other name.)")
        .def("rule", &sk_decoder::rule, R"("mmse" or "nearest".)")
        .def("received", &sk_decoder::received, "PDUs that came in.")
        .def("erased", &sk_decoder::erased, "PDUs that came in as erasures.")
        .def("dropped",
             &sk_decoder::dropped,
             "PDUs that became erasures for want of time or of sound data.")
        .def("filled",
             &sk_decoder::filled,
             "Weights of erased PDUs that left as the prior's mean.");
}
