/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(zmq_sink.h)
 * BINDTOOL_HEADER_FILE_HASH(da5fc84eb35f1d5de84ea679cb38229f)
 */
#include <gnuradio/phydnn/zmq_sink.h>
#include <pybind11/pybind11.h>

namespace py = pybind11;

void bind_zmq_sink(py::module& m)
{
    using gr::phydnn::zmq_sink;

    py::class_<zmq_sink,
               gr::sync_block,
               gr::block,
               gr::basic_block,
               std::shared_ptr<zmq_sink>>(
        m,
        "zmq_sink",
        R"(The transmitting end of a sample stream over ZeroMQ, in srsRAN's protocol.

Stream in: complex samples. Binds, and answers each request of one byte with a reply of headerless
complex float samples: what there is. A request of four bytes (GNU Radio's req_source) is the largest
number of samples wanted. Any other request is answered with an empty reply.

One client is served at a time; another waits until the first has disconnected. The stream stands
still while nobody asks.)")
        .def(py::init(&zmq_sink::make),
             py::arg("endpoint") = "tcp://127.0.0.1:5550",
             R"(Bind the endpoint.

endpoint: like tcp://127.0.0.1:5550; port * takes a free one. An address other than loopback lets
other machines in, and nothing asks them who they are.
Raises ValueError for an endpoint that cannot be understood, RuntimeError for one that cannot be bound.)")
        .def_property_readonly(
            "endpoint", &zmq_sink::endpoint, "The endpoint bound, its port filled in.")
        .def_property_readonly("samples", &zmq_sink::samples, "Samples sent.")
        .def_property_readonly(
            "requests", &zmq_sink::requests, "Requests answered with samples.")
        .def_property_readonly("connections",
                               &zmq_sink::connections,
                               "Clients served so far, each connection for itself.")
        .def_property_readonly("refused",
                               &zmq_sink::refused,
                               "Requests that were not of the protocol, or of a client "
                               "whose turn it was not.");
}
