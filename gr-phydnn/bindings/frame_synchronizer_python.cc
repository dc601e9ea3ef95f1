/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(frame_synchronizer.h)
 * BINDTOOL_HEADER_FILE_HASH(ddf1a916beeedd25241e8e77c06cb798)
 */
#include <gnuradio/phydnn/frame_synchronizer.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace py = pybind11;

void bind_frame_synchronizer(py::module& m)
{
    using gr::phydnn::frame_synchronizer;

    py::class_<frame_synchronizer,
               gr::sync_block,
               gr::block,
               gr::basic_block,
               std::shared_ptr<frame_synchronizer>>(
        m,
        "frame_synchronizer",
        R"(Finds frames in a stream of samples and cuts them into resource grids.

Message output `grid`: a PDU a frame with a c32vector of symbols × used subcarriers and the metadata
frame_number, uses, kind, precoded, bundle_id, cfo (Hz) and sample_index. A frame that is known not to
have arrived is a PDU with an empty vector, frame_number, erased and reason ('lost', 'bundle' or 'cut').
Message input `done`: says that a frame has been dealt with; with a limit to those under way the
stream stands still meanwhile.
The same samples give the same PDUs, bit for bit, however the scheduler cuts the stream.)")
        .def(py::init(&frame_synchronizer::make),
             py::arg("dimensions") = gr::phydnn::numerology::preset("wide"),
             py::arg("sample_rate") = 20e6,
             py::arg("bundle_id") = 0,
             py::arg("false_alarm_rate") = 1e-8,
             py::arg("max_uses") = 262144,
             py::arg("in_flight") = 0,
             R"(Make a synchronizer.

dimensions: a numerology or the name of a preset.
sample_rate: Hz; scales the reported carrier offset.
bundle_id: of the frames to accept; 0 accepts any.
false_alarm_rate: of the detector, per sample of noise, from 1e-15 to 1e-2.
max_uses: longest payload to accept, in channel uses.
in_flight: frames that may leave before a message to `done` comes for the first; 0 for any.
Raises ValueError for a parameter out of range.)")
        .def("counts",
             &frame_synchronizer::counts,
             "Counts since the start: samples, detections, frames, header_errors, lost, "
             "bundle_mismatches, cut, bad_samples and restarts.");
}
