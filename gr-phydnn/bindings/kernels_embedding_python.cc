/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* BINDTOOL_HEADER_FILE(None) */
#include "dictionary_arrays.h"
#include <kernels/embedding_codec.h>

using gr::phydnn::kernels::embedding_codec;
using gr::phydnn::kernels::lookup_rule;
using gr::phydnn::kernels::lookup_rule_from;

void bind_kernels_embedding(py::module& m)
{
    py::class_<embedding_codec>(
        m,
        "embedding_codec",
        R"(Dictionary lookup at both ends: slices to constellation points, and back.

M embeddings of D values ride on M points; point j carries embedding j, so that the order is the
labelling. Ties go to the lowest label.)")
        .def(
            py::init([](const reals& embeddings,
                        const complexes& points,
                        const std::string& lookup) {
                return embedding_codec(to_vector(require(embeddings, 2, "embeddings")),
                                       require(embeddings, 2, "embeddings").shape(1),
                                       to_vector(require(points, 1, "points")),
                                       lookup_rule_from(lookup));
            }),
            py::arg("embeddings"),
            py::arg("points"),
            py::arg("lookup") = "distance",
            R"(embeddings: float32 [M, D]; points: complex64 [M], M = 2 to 4096, D = 1 to 4096.

lookup: "distance" or "inner_product".
Raises ValueError if shapes disagree, a value is not finite, or the lookup has another name.)")
        .def_property_readonly(
            "size", &embedding_codec::size, "M, embeddings in the dictionary.")
        .def_property_readonly("dim", &embedding_codec::dim, "D, values in a slice.")
        .def_property_readonly(
            "average_power", &embedding_codec::average_power, "Mean of |points|^2.")
        .def_property_readonly(
            "lookup",
            [](const embedding_codec& self) {
                return self.lookup() == lookup_rule::distance ? "distance"
                                                              : "inner_product";
            },
            R"("distance" or "inner_product".)")
        .def(
            "encode",
            [](const embedding_codec& self, const reals& slices) {
                require(slices, 2, "slices");
                if (size_t(slices.shape(1)) != self.dim())
                    throw std::invalid_argument(
                        "slices must have " + std::to_string(self.dim()) +
                        " columns, not " + std::to_string(slices.shape(1)));
                py::array_t<int32_t> labels(slices.shape(0));
                complexes symbols(slices.shape(0));
                const float* from = slices.data();
                int32_t* to_labels = labels.mutable_data();
                gr_complex* to_symbols = symbols.mutable_data();
                const size_t count = slices.shape(0);
                {
                    py::gil_scoped_release release;
                    self.encode(from, count, to_labels, to_symbols);
                }
                return py::make_tuple(labels, symbols);
            },
            py::arg("slices"),
            R"(Slices, float32 [N, D], to labels, int32 [N], and symbols, complex64 [N].

Raises ValueError if a value is not finite.)")
        .def(
            "decode_hard",
            [](const embedding_codec& self, const complexes& symbols) {
                const size_t count = require(symbols, 1, "symbols").size();
                py::array_t<int32_t> labels(count);
                reals slices({ count, self.dim() });
                const gr_complex* from = symbols.data();
                int32_t* to_labels = labels.mutable_data();
                float* to_slices = slices.mutable_data();
                {
                    py::gil_scoped_release release;
                    self.decode_hard(from, count, to_labels, to_slices);
                }
                return py::make_tuple(labels, slices);
            },
            py::arg("symbols"),
            R"(Symbols, complex64 [N], to the nearest points' labels, int32 [N], and embeddings, float32 [N, D].

Raises ValueError if a symbol is not finite.)")
        .def(
            "decode_soft",
            [](const embedding_codec& self, const complexes& symbols, const reals& n0) {
                const size_t count = require(symbols, 1, "symbols").size();
                if (n0.ndim() != 0 && (n0.ndim() != 1 || size_t(n0.size()) != count))
                    throw std::invalid_argument(
                        "n0 must be a number or have one value for each symbol");
                reals slices({ count, self.dim() });
                const gr_complex* from = symbols.data();
                const float* variances = n0.data();
                const bool one = n0.ndim() == 0;
                float* to = slices.mutable_data();
                {
                    py::gil_scoped_release release;
                    if (one)
                        self.decode_soft(from, count, *variances, to);
                    else
                        self.decode_soft(from, count, variances, to);
                }
                return slices;
            },
            py::arg("symbols"),
            py::arg("n0"),
            R"(Symbols, complex64 [N], to posterior means of the embeddings, float32 [N, D].

n0: noise variance (n0/2 per real dimension), a number or float32 [N]: 0 gives the nearest point's
embedding, infinity the mean of all.
Raises ValueError if a symbol is not finite, or an n0 negative or NaN.)");
}
