/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include <pybind11/pybind11.h>

namespace py = pybind11;

void bind_numerology(py::module& m);
void bind_frame_transmitter(py::module& m);
void bind_frame_synchronizer(py::module& m);
void bind_csi_estimator(py::module& m);
void bind_equalizer(py::module& m);
void bind_embedding_mapper(py::module& m);
void bind_embedding_demapper(py::module& m);
void bind_finite_mapper(py::module& m);
void bind_finite_demapper(py::module& m);
void bind_sk_encoder(py::module& m);
void bind_sk_decoder(py::module& m);
void bind_channel(py::module& m);
void bind_zmq_sink(py::module& m);
void bind_zmq_source(py::module& m);
void bind_emulator(py::module& m);
void bind_vectors(py::module& m);
void bind_kernels_channel(py::module& kernels);
void bind_kernels_embedding(py::module& kernels);
void bind_kernels_finite(py::module& kernels);
void bind_kernels_spiral(py::module& kernels);
void bind_kernels_waveform(py::module& kernels);

PYBIND11_MODULE(phydnn_python, m)
{
    py::module::import("gnuradio.gr"); // the base classes of the blocks

    bind_numerology(m);
    bind_frame_transmitter(m);
    bind_frame_synchronizer(m);
    bind_csi_estimator(m);
    bind_equalizer(m);
    bind_embedding_mapper(m);
    bind_embedding_demapper(m);
    bind_finite_mapper(m);
    bind_finite_demapper(m);
    bind_sk_encoder(m);
    bind_sk_decoder(m);
    bind_channel(m);
    bind_zmq_sink(m);
    bind_zmq_source(m);
    bind_emulator(m);
    bind_vectors(m);

    auto kernels = m.def_submodule(
        "kernels", "The signal processing without the scheduler: arrays in, arrays out.");
    bind_kernels_channel(kernels);
    bind_kernels_embedding(kernels);
    bind_kernels_finite(kernels);
    bind_kernels_spiral(kernels);
    bind_kernels_waveform(kernels);
}
