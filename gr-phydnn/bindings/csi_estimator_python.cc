/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(csi_estimator.h)
 * BINDTOOL_HEADER_FILE_HASH(cd809078304356634d3defcf363887b8)
 */
#include <gnuradio/phydnn/csi_estimator.h>
#include <pybind11/pybind11.h>

namespace py = pybind11;

void bind_csi_estimator(py::module& m)
{
    using gr::phydnn::csi_estimator;

    py::class_<csi_estimator, gr::block, gr::basic_block, std::shared_ptr<csi_estimator>>(
        m, "csi_estimator", R"(Least-squares channel estimation at the DMRS of each frame.

Message input `grid`: the PDUs of frame_synchronizer.
Message output `grid`: the same with csi (c32vector, DMRS × used, refined), csi_n0 and snr_db.
Message output `csi`: a dict a frame with frame_number, sample_index, cfo (Hz), snr_db, csi_n0, ls and
refined (c32vectors), pilots and subcarriers.)")
        .def(py::init(&csi_estimator::make),
             py::arg("dimensions") = gr::phydnn::numerology::preset("wide"),
             py::arg("smoothing") = "window",
             R"(Make an estimator.

dimensions: a numerology or the name of a preset.
smoothing: 'none' (least squares as it is) or 'window' (projected on the delays that the
cyclic prefix admits).
Raises ValueError for a parameter out of range.)")
        .def("set_smoothing",
             &csi_estimator::set_smoothing,
             py::arg("smoothing"),
             "May be called while running.")
        .def("dropped", &csi_estimator::dropped, "PDUs that left as erasures.");
}
