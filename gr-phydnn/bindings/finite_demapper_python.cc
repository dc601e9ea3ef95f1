/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(finite_demapper.h)
 * BINDTOOL_HEADER_FILE_HASH(3c55b815f62b6edc4fd49008872cf1c2)
 */
#include "dictionary_arrays.h"
#include <gnuradio/phydnn/finite_demapper.h>

void bind_finite_demapper(py::module& m)
{
    using gr::phydnn::finite_demapper;

    py::class_<finite_demapper,
               gr::block,
               gr::basic_block,
               std::shared_ptr<finite_demapper>>(
        m,
        "finite_demapper",
        R"(Received symbols of a finite-bits constellation back to real values.

Message input `symbols`: PDUs with a c32vector of n symbols; soft decisions read metadata n0, the noise
variance (n0/2 per real dimension), a number or an f32vector of n.
Message output `values`: PDUs with an f32vector of 2n values and the metadata of the input. Erased PDUs
pass untouched; a PDU of another type, with infinity or NaN in it, or without the n0 that a soft decision
needs leaves as an erasure with reason `payload`, more than 64 waiting ones with reason `overrun`.)")
        .def(py::init(&finite_demapper::make),
             py::arg("low"),
             py::arg("high"),
             py::arg("bits"),
             py::arg("gain"),
             py::arg("decision") = "soft",
             py::arg("priors") = std::vector<float>(),
             R"(Make a finite_demapper.

low, high, bits, gain: as of the finite_mapper.
decision: "none" (the amplitude as it came), "hard" (the nearest one) or "soft" (the posterior mean).
priors: how often each of the 2^m numbers is sent, weights of any sum; empty for equally often.
Raises ValueError if a parameter is not finite or out of range, or the decision has another name.)")
        .def(
            "set_decision",
            &finite_demapper::set_decision,
            py::arg("decision"),
            R"("none", "hard" or "soft", from the next PDU on; may be called while running.

Raises ValueError for any other name.)")
        .def("decision", &finite_demapper::decision, R"("none", "hard" or "soft".)")
        .def("received", &finite_demapper::received, "PDUs that came in.")
        .def("erased", &finite_demapper::erased, "PDUs that came in as erasures.")
        .def("dropped",
             &finite_demapper::dropped,
             "PDUs that left as erasures for want of time or of sound data.");
}
