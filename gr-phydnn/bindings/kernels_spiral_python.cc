/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* BINDTOOL_HEADER_FILE(None) */
#include "dictionary_arrays.h"
#include <kernels/spiral.h>

using gr::phydnn::kernels::layer_code;
using gr::phydnn::kernels::spiral_rule_from;
using gr::phydnn::kernels::spirals;

void bind_kernels_spiral(py::module& m)
{
    py::class_<layer_code>(
        m,
        "layer_code",
        R"(How the weights of a layer cross: nested spirals, repetition and power.

The same as phydnn.spiral.LayerCode, in single precision.)")
        .def(
            py::init([](const std::vector<float>& gammas,
                        const std::vector<float>& alphas,
                        size_t repeats,
                        float amplitude) {
                return layer_code(spirals(gammas, alphas), repeats, amplitude);
            }),
            py::arg("gammas") = std::vector<float>(),
            py::arg("alphas") = std::vector<float>(),
            py::arg("repeats") = 1,
            py::arg("amplitude") = 1.0f,
            R"(gammas, alphas: of the nested spirals, 0 to 32 and 0.5 to 1; at most 4, none for plain symbols.

repeats: copies, 1 to 64; amplitude: 0.001 to 1000.
Raises ValueError if one of them is out of range.)")
        .def("uses",
             &layer_code::uses,
             py::arg("count"),
             "Channel uses that so many weights take.")
        .def(
            "encode",
            [](const layer_code& self, const reals& weights) {
                const size_t count = require(weights, 1, "weights").size();
                complexes symbols(self.uses(count));
                const float* from = weights.data();
                gr_complex* to = symbols.mutable_data();
                {
                    py::gil_scoped_release release;
                    self.encode(from, count, to);
                }
                return symbols;
            },
            py::arg("weights"),
            R"(Weights of unit variance, float32 [N], to symbols, complex64 [uses(N)].

Raises ValueError if a weight is not finite.)")
        .def(
            "decode",
            [](layer_code& self,
               const complexes& symbols,
               const reals& n0,
               size_t count,
               const std::string& rule) {
                const size_t uses = require(symbols, 1, "symbols").size();
                if (count > 2 * uses || self.uses(count) != uses)
                    throw std::invalid_argument(
                        std::to_string(count) + " weights do not take " +
                        std::to_string(uses) + " channel uses with this code");
                if (n0.ndim() != 0 && (n0.ndim() != 1 || size_t(n0.size()) != uses))
                    throw std::invalid_argument(
                        "n0 must be a number or have one value for each symbol");
                reals weights(count);
                const gr_complex* from = symbols.data();
                const float* variances = n0.data();
                const bool one = n0.ndim() == 0;
                const auto decided = spiral_rule_from(rule);
                float* to = weights.mutable_data();
                {
                    py::gil_scoped_release release;
                    self.decode(from, variances, one, count, decided, to);
                }
                return weights;
            },
            py::arg("symbols"),
            py::arg("n0"),
            py::arg("count"),
            py::arg("rule") = "mmse",
            R"(Symbols, complex64 [uses(count)], to weights, float32 [count].

n0: noise variance (n0/2 per real dimension), a number or float32 [uses(count)]; infinite where nothing
came, and the symbol does not matter. A weight of which nothing came is 0.
rule: "mmse" (posterior mean) or "nearest" (nearest point).
Raises ValueError if sizes disagree, a symbol with a finite n0 is not finite, an n0 is negative or NaN, or
the rule has another name.)");
}
