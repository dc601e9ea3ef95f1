/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(embedding_demapper.h)
 * BINDTOOL_HEADER_FILE_HASH(abb48c8d092c8d6022c01c9aec4ce836)
 */
#include "dictionary_arrays.h"
#include <gnuradio/phydnn/embedding_demapper.h>

void bind_embedding_demapper(py::module& m)
{
    using gr::phydnn::embedding_demapper;

    py::class_<embedding_demapper,
               gr::block,
               gr::basic_block,
               std::shared_ptr<embedding_demapper>>(
        m,
        "embedding_demapper",
        R"(Received symbols back to slices of a latent.

Message input `symbols`: PDUs with a c32vector of n symbols; soft decisions read metadata n0, the noise
variance (n0/2 per real dimension), a number or an f32vector of n.
Message output `slices`: PDUs with an f32vector of n x D values, slice by slice, and the metadata of the
input. Erased PDUs pass untouched; a PDU of another type, with infinity or NaN in it, or without the n0
that a soft decision needs leaves as an erasure with reason `payload`, more than 64 waiting ones with
reason `overrun`.)")
        .def(py::init([](const reals& embeddings,
                         const complexes& points,
                         const std::string& decision) {
                 return embedding_demapper::make(
                     to_vector(require(embeddings, 2, "embeddings")),
                     require(embeddings, 2, "embeddings").shape(1),
                     to_vector(require(points, 1, "points")),
                     decision);
             }),
             py::arg("embeddings"),
             py::arg("points"),
             py::arg("decision") = "hard",
             R"(Make an embedding_demapper.

embeddings: dictionary, float32 [M, D], finite.
points: complex64 [M], 2 to 4096 points; point j carries embedding j.
decision: "hard" (the nearest point's embedding) or "soft" (the posterior mean of the embeddings).
Raises ValueError if shapes disagree, a value is not finite, or the decision has another name.)")
        .def("set_decision",
             &embedding_demapper::set_decision,
             py::arg("decision"),
             R"("hard" or "soft", from the next PDU on; may be called while running.

Raises ValueError for any other name.)")
        .def("decision", &embedding_demapper::decision, R"("hard" or "soft".)")
        .def("received", &embedding_demapper::received, "PDUs that came in.")
        .def("erased", &embedding_demapper::erased, "PDUs that came in as erasures.")
        .def("dropped",
             &embedding_demapper::dropped,
             "PDUs that left as erasures for want of time or of sound data.");
}
