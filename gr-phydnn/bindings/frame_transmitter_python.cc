/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(frame_transmitter.h)
 * BINDTOOL_HEADER_FILE_HASH(ec234d9431d383c674565f8ad1b0734d)
 */
#include <gnuradio/phydnn/frame_transmitter.h>
#include <pybind11/pybind11.h>

namespace py = pybind11;

void bind_frame_transmitter(py::module& m)
{
    using gr::phydnn::frame_transmitter;

    py::class_<frame_transmitter,
               gr::sync_block,
               gr::block,
               gr::basic_block,
               std::shared_ptr<frame_transmitter>>(
        m, "frame_transmitter", R"(Payload symbols in, the samples of frames out.

Message input `symbols`: PDUs with a c32vector of channel uses (unit average power) and, in their
metadata, `frame_number`; without it frames are counted from 0. `gap` overrides the zeros after this
frame; `tx_time`, a tuple of whole seconds (uint64) and a fraction (real), says when it is to leave.
Stream output: a burst a PDU, then `gap` zeros; tags `packet_len`, `frame_number` and, where the PDU
had one, `tx_time` on its first sample. Nothing is put out while no PDU waits.
Message output `sent`: {frame_number, samples}, or {frame_number, samples: 0, erased: True} for a
PDU that cannot be sent.)")
        .def(py::init(&frame_transmitter::make),
             py::arg("dimensions") = gr::phydnn::numerology::preset("wide"),
             py::arg("bundle_id") = 0,
             py::arg("kind") = 0,
             py::arg("precoded") = false,
             py::arg("amplitude") = 1.0f,
             py::arg("gap") = 128,
             R"(Make a transmitter.

dimensions: a numerology or the name of a preset.
bundle_id: 32 bits that name the bundle; the receiver compares them.
kind: of payload: 0 split inference, 1 weights, 2 text.
precoded: DFT-s-OFDM, for the low peak power of PSK.
amplitude: factor on every sample; 1 gives used subcarriers unit power.
gap: zeros after each frame.
Raises ValueError for a parameter out of range.)")
        .def("set_amplitude",
             &frame_transmitter::set_amplitude,
             py::arg("amplitude"),
             "May be called while running.")
        .def("amplitude", &frame_transmitter::amplitude)
        .def("set_precoded",
             &frame_transmitter::set_precoded,
             py::arg("precoded"),
             "May be called while running.")
        .def("frames", &frame_transmitter::frames, "Bursts put out whole.")
        .def("dropped", &frame_transmitter::dropped, "PDUs that could not be sent.");
}
