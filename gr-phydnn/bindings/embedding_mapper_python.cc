/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(embedding_mapper.h)
 * BINDTOOL_HEADER_FILE_HASH(e24ebf3ca8f1855676d05edd66d1e0c9)
 */
#include "dictionary_arrays.h"
#include <gnuradio/phydnn/embedding_mapper.h>

void bind_embedding_mapper(py::module& m)
{
    using gr::phydnn::embedding_mapper;

    py::class_<embedding_mapper,
               gr::block,
               gr::basic_block,
               std::shared_ptr<embedding_mapper>>(
        m,
        "embedding_mapper",
        R"(Slices of a latent to constellation points, by lookup in a dictionary of embeddings.

Message input `slices`: PDUs with an f32vector of n x D values, slice by slice.
Message output `symbols`: PDUs with a c32vector of n points and the metadata of the input. Erased PDUs
pass untouched; a PDU of another type or length, or with infinity or NaN in it, leaves as an erasure
with reason `payload`, more than 64 waiting ones with reason `overrun`.)")
        .def(py::init([](const reals& embeddings,
                         const complexes& points,
                         const std::string& lookup) {
                 return embedding_mapper::make(
                     to_vector(require(embeddings, 2, "embeddings")),
                     require(embeddings, 2, "embeddings").shape(1),
                     to_vector(require(points, 1, "points")),
                     lookup);
             }),
             py::arg("embeddings"),
             py::arg("points"),
             py::arg("lookup") = "distance",
             R"(Make an embedding_mapper.

embeddings: dictionary, float32 [M, D], finite.
points: complex64 [M], 2 to 4096 points of unit average power; point j carries embedding j.
lookup: "distance" (the nearest embedding) or "inner_product" (the largest); ties go to the lowest label.
Raises ValueError if shapes disagree, a value is not finite, or the lookup has another name.)")
        .def("average_power", &embedding_mapper::average_power, "Mean of |points|^2.")
        .def("received", &embedding_mapper::received, "PDUs that came in.")
        .def("erased", &embedding_mapper::erased, "PDUs that came in as erasures.")
        .def("dropped",
             &embedding_mapper::dropped,
             "PDUs that left as erasures for want of time or of sound data.");
}
