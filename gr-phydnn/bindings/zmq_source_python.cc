/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(zmq_source.h)
 * BINDTOOL_HEADER_FILE_HASH(468c0b8f7459f526d31e2402a2c2e9dc)
 */
#include <gnuradio/phydnn/zmq_source.h>
#include <pybind11/pybind11.h>

namespace py = pybind11;

void bind_zmq_source(py::module& m)
{
    using gr::phydnn::zmq_source;

    py::class_<zmq_source,
               gr::sync_block,
               gr::block,
               gr::basic_block,
               std::shared_ptr<zmq_source>>(
        m,
        "zmq_source",
        R"(The receiving end of a sample stream over ZeroMQ, in srsRAN's protocol.

Stream out: complex samples. Connects, sends requests of one byte, and takes replies of headerless
complex float samples of any length up to a bound; two requests are under way at a time. A peer that
restarts is connected to anew, for as long as that takes.)")
        .def(py::init(&zmq_source::make),
             py::arg("endpoint") = "tcp://127.0.0.1:5551",
             py::arg("largest") = 2097152,
             R"(Connect to the endpoint.

endpoint: like tcp://127.0.0.1:5551.
largest: bound of a reply, in samples; a larger one ends the connection.
Raises ValueError for an endpoint that cannot be understood, or a bound of 0.)")
        .def_property_readonly("samples", &zmq_source::samples, "Samples received.")
        .def_property_readonly(
            "requests", &zmq_source::requests, "Requests answered with samples.")
        .def_property_readonly("connections",
                               &zmq_source::connections,
                               "Connections that came about: 1 and the peer's restarts.")
        .def_property_readonly(
            "refused",
            &zmq_source::refused,
            "Replies that were dropped because they were not of the protocol.");
}
