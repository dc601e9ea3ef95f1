/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The following lines are read by the build, which stops when the header has changed.
 * BINDTOOL_GEN_AUTOMATIC(0)
 * BINDTOOL_USE_PYGCCXML(0)
 * BINDTOOL_HEADER_FILE(equalizer.h)
 * BINDTOOL_HEADER_FILE_HASH(7a4065d3f676bf441ffae3d960fd4b76)
 */
#include <gnuradio/phydnn/equalizer.h>
#include <pybind11/pybind11.h>

namespace py = pybind11;

void bind_equalizer(py::module& m)
{
    using gr::phydnn::equalizer;

    py::class_<equalizer, gr::block, gr::basic_block, std::shared_ptr<equalizer>>(
        m, "equalizer", R"(Unbiased MMSE equalisation of a frame, back to payload symbols.

Message input `grid`: PDUs with csi and csi_n0 in their metadata (csi_estimator, or a denoiser behind it).
Message output `symbols`: PDUs with a c32vector of payload symbols and, in their metadata, n0 (f32vector,
noise variance of each symbol).)")
        .def(py::init(&equalizer::make),
             py::arg("dimensions") = gr::phydnn::numerology::preset("wide"),
             R"(Make an equalizer.

dimensions: a numerology or the name of a preset.
Raises ValueError if it makes no waveform.)")
        .def("dropped", &equalizer::dropped, "PDUs that left as erasures.");
}
