/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* BINDTOOL_HEADER_FILE(None) */
#include "dictionary_arrays.h"
#include <kernels/finite_codec.h>

using gr::phydnn::kernels::finite_codec;
using gr::phydnn::kernels::finite_decision_from;

void bind_kernels_finite(py::module& m)
{
    py::class_<finite_codec>(
        m,
        "finite_codec",
        R"(The finite-bits constellation at both ends: real values to channel uses, and back.

Value x becomes number round((x - low) (2^m - 1) / (high - low)) and an amplitude; values 2n and 2n + 1
are the real and the imaginary part of use n.)")
        .def(
            py::init<float, float, int, float, const std::vector<float>&>(),
            py::arg("low"),
            py::arg("high"),
            py::arg("bits"),
            py::arg("gain"),
            py::arg("priors") = std::vector<float>(),
            R"(low, high: least and largest value; bits: m of each real dimension, 1 to 8, or 0 for full resolution.

gain: amplitude of the value 1. priors: weights of the 2^m numbers; empty for equal ones.
Raises ValueError if a parameter is not finite or out of range.)")
        .def_property_readonly("bits", &finite_codec::bits, "m; 0 for full resolution.")
        .def_property_readonly(
            "values",
            [](const finite_codec& self) {
                return reals(self.values().size(), self.values().data());
            },
            "What each number stands for, float32 [2^m].")
        .def_property_readonly(
            "amplitudes",
            [](const finite_codec& self) {
                return reals(self.amplitudes().size(), self.amplitudes().data());
            },
            "What is sent for each number, float32 [2^m].")
        .def(
            "encode",
            [](const finite_codec& self, const reals& values) {
                if (require(values, 1, "values").size() % 2 != 0)
                    throw std::invalid_argument("values must come in pairs, but there "
                                                "are " +
                                                std::to_string(values.size()));
                const size_t uses = values.size() / 2;
                complexes symbols(uses);
                const float* from = values.data();
                gr_complex* to = symbols.mutable_data();
                {
                    py::gil_scoped_release release;
                    self.encode(from, uses, to);
                }
                return symbols;
            },
            py::arg("values"),
            R"(Values, float32 [2N], to channel uses, complex64 [N].

Raises ValueError if a value is not finite.)")
        .def(
            "decode",
            [](const finite_codec& self,
               const complexes& symbols,
               const reals& n0,
               const std::string& decision) {
                const size_t uses = require(symbols, 1, "symbols").size();
                if (n0.ndim() != 0 && (n0.ndim() != 1 || size_t(n0.size()) != uses))
                    throw std::invalid_argument(
                        "n0 must be a number or have one value for each symbol");
                reals values(2 * uses);
                const gr_complex* from = symbols.data();
                const float* noise = n0.data();
                const size_t stride = n0.ndim();
                const auto rule = finite_decision_from(decision);
                float* to = values.mutable_data();
                {
                    py::gil_scoped_release release;
                    self.decode(from, uses, noise, stride, rule, to);
                }
                return values;
            },
            py::arg("symbols"),
            py::arg("n0"),
            py::arg("decision") = "soft",
            R"(Channel uses, complex64 [N], to values, float32 [2N].

n0: noise variance (n0/2 per real dimension), a number or float32 [N]; read by soft decisions only.
decision: "none" (the amplitude as it came), "hard" (the nearest one) or "soft" (the posterior mean).
Raises ValueError if a symbol is not finite, an n0 that is read negative or NaN.)");
}
