/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(finite_mapper.h)
 * BINDTOOL_HEADER_FILE_HASH(ebb75d0d225aff926e9822d5d866555f)
 */
#include "dictionary_arrays.h"
#include <gnuradio/phydnn/finite_mapper.h>

void bind_finite_mapper(py::module& m)
{
    using gr::phydnn::finite_mapper;

    py::class_<finite_mapper, gr::block, gr::basic_block, std::shared_ptr<finite_mapper>>(
        m,
        "finite_mapper",
        R"(Real values to a finite-bits constellation of 2^m x 2^m points.

Message input `values`: PDUs with an f32vector of 2n values, real and imaginary parts in turn.
Message output `symbols`: PDUs with a c32vector of n channel uses and the metadata of the input. Erased
PDUs pass untouched; a PDU of another type, of an odd length, or with infinity or NaN in it, leaves as
an erasure with reason `payload`, more than 64 waiting ones with reason `overrun`.)")
        .def(py::init(&finite_mapper::make),
             py::arg("low"),
             py::arg("high"),
             py::arg("bits"),
             py::arg("gain"),
             R"(Make a finite_mapper.

low, high: least and largest value of the constellation.
bits: m of each real dimension, 1 to 8; 0 for full resolution.
gain: amplitude of the value 1, such that the mean power of the symbols is 1.
Raises ValueError if a parameter is not finite or out of range.)")
        .def("received", &finite_mapper::received, "PDUs that came in.")
        .def("erased", &finite_mapper::erased, "PDUs that came in as erasures.")
        .def("dropped",
             &finite_mapper::dropped,
             "PDUs that left as erasures for want of time or of sound data.");
}
