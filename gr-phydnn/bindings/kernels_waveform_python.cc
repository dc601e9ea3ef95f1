/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* BINDTOOL_HEADER_FILE(None) */
#include <kernels/csi.h>
#include <kernels/equalizer.h>
#include <kernels/synchronizer.h>
#include <kernels/transmitter.h>
#include <pybind11/complex.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

namespace py = pybind11;
using namespace gr::phydnn;
using namespace gr::phydnn::kernels;

namespace {
using samples = py::array_t<gr_complex, py::array::c_style | py::array::forcecast>;

template <class V>
samples to_array(const V& values, size_t rows, size_t columns)
{
    samples result({ rows, columns });
    std::copy(values.begin(), values.end(), result.mutable_data());
    return result;
}

void require_size(const samples& array, size_t size, const char* what)
{
    if (size_t(array.size()) != size)
        throw std::invalid_argument(std::string(what) + " must hold " +
                                    std::to_string(size) + " values");
}

const char* name_of(erasure reason)
{
    const char* names[] = { "", "lost", "bundle", "cut" };
    return names[int(reason)];
}
} // namespace

void bind_kernels_waveform(py::module& m)
{
    py::class_<frame_header>(m, "frame_header", "What a frame says of itself.")
        .def(py::init([](uint32_t uses,
                         uint32_t frame_number,
                         uint32_t bundle_id,
                         uint8_t kind,
                         bool precoded) {
                 return frame_header{ kind, precoded, frame_number, bundle_id, uses };
             }),
             py::arg("uses"),
             py::arg("frame_number") = 0,
             py::arg("bundle_id") = 0,
             py::arg("kind") = 0,
             py::arg("precoded") = false)
        .def_readonly("uses", &frame_header::uses)
        .def_readonly("frame_number", &frame_header::frame_number)
        .def_readonly("bundle_id", &frame_header::bundle_id)
        .def_readonly("kind", &frame_header::kind)
        .def_readonly("precoded", &frame_header::precoded);

    py::class_<header_codec>(
        m, "header_codec", "Packs a header into 268 coded bits, and finds it again.")
        .def(py::init<>())
        .def("encode", &header_codec::encode, py::arg("header"), "268 bits, each 0 or 1.")
        .def(
            "decode",
            [](header_codec& self,
               py::array_t<float, py::array::c_style | py::array::forcecast> soft) {
                if (soft.size() != header_codec::coded_bits)
                    throw std::invalid_argument("soft must hold 268 values");
                return self.decode(soft.data());
            },
            py::arg("soft"),
            "The header in 268 soft values, positive for a 1, or None if its CRC is "
            "wrong.")
        .def_static(
            "parse",
            [](const std::array<uint8_t, header_codec::bytes>& packed) {
                return header_codec::parse(packed);
            },
            py::arg("packed"),
            "The header in 16 bytes, or None if its CRC, version or a reserved bit is "
            "wrong.");

    py::class_<transmitter>(
        m, "transmitter", "Makes the samples of a frame from header and payload.")
        .def(py::init<const numerology&>(),
             py::arg("dimensions") = numerology::preset("wide"))
        .def(
            "frame",
            [](transmitter& self, frame_header header, samples payload, float amplitude) {
                header.uses = uint32_t(payload.size());
                samples out(self.dimensions().frame_samples(header.uses));
                self.frame(header, payload.data(), amplitude, out.mutable_data());
                return out;
            },
            py::arg("header"),
            py::arg("payload"),
            py::arg("amplitude") = 1.0f,
            "Samples (complex64) of a frame; header.uses is taken from the payload.");

    py::class_<reception>(
        m, "reception", "A frame that arrived, or one known not to have.")
        .def_property_readonly(
            "reason",
            [](const reception& r) { return name_of(r.reason); },
            "'' for a whole frame, else 'lost', 'bundle' or 'cut'.")
        .def_readonly("header", &reception::header)
        .def_readonly(
            "sample_index", &reception::sample_index, "First sample of the preamble.")
        .def_readonly("cfo", &reception::cfo, "Carrier offset, radians per sample.")
        .def_property_readonly(
            "grid",
            [](const reception& r) {
                return to_array(r.grid, 1, r.grid.size()).squeeze();
            },
            "The resource grid, flat: symbols × used subcarriers (complex64).");

    py::class_<synchronizer>(
        m, "synchronizer", "Finds frames in samples and cuts them into grids.")
        .def(py::init<const numerology&, double, size_t, uint32_t>(),
             py::arg("dimensions") = numerology::preset("wide"),
             py::arg("false_alarm_rate") = 1e-8,
             py::arg("max_uses") = 262144,
             py::arg("bundle_id") = 0)
        .def(
            "process",
            [](synchronizer& self, samples in) {
                std::vector<reception> frames;
                self.process(in.data(), size_t(in.size()), [&](reception&& frame) {
                    frames.push_back(std::move(frame));
                });
                return frames;
            },
            py::arg("samples"),
            "Takes in samples (complex64); the frames that they complete.")
        .def(
            "statistic",
            [](synchronizer& self, samples in) {
                const auto values = self.statistic(in.data(), size_t(in.size()));
                return py::array_t<float>(values.size(), values.data());
            },
            py::arg("samples"),
            "Detection statistic over its threshold at each sample (float32).")
        .def_property_readonly(
            "counts", [](const synchronizer& self) { return self.counts().named(); });

    py::class_<csi_estimator>(
        m, "csi_estimator", "Least-squares channel estimation at the DMRS.")
        .def(py::init<const numerology&>(),
             py::arg("dimensions") = numerology::preset("wide"))
        .def(
            "estimate",
            [](csi_estimator& self,
               samples grid,
               size_t uses,
               const std::string& smoothing) {
                const auto& n = self.dimensions();
                require_size(grid, n.grid_symbols(uses) * n.used, "grid");
                const auto e =
                    self.estimate(grid.data(), uses, smoothing_from_name(smoothing));
                const size_t rows = n.pilot_symbols(uses);
                return py::make_tuple(to_array(e.ls, rows, n.used),
                                      to_array(e.refined, rows, n.used),
                                      e.n0,
                                      e.snr_db);
            },
            py::arg("grid"),
            py::arg("uses"),
            py::arg("smoothing") = "window",
            "(ls, refined, n0, snr_db): estimates are DMRS × used subcarriers "
            "(complex64).");

    py::class_<equalizer>(
        m, "equalizer", "Unbiased MMSE equalisation back to payload symbols.")
        .def(py::init<const numerology&>(),
             py::arg("dimensions") = numerology::preset("wide"))
        .def(
            "equalize",
            [](equalizer& self,
               samples grid,
               samples csi,
               float n0,
               size_t uses,
               bool precoded) {
                const auto& n = self.dimensions();
                require_size(grid, n.grid_symbols(uses) * n.used, "grid");
                require_size(csi, n.pilot_symbols(uses) * n.used, "csi");
                samples symbols(uses);
                py::array_t<float> symbol_n0(uses);
                self.equalize(grid.data(),
                              csi.data(),
                              n0,
                              uses,
                              precoded,
                              symbols.mutable_data(),
                              symbol_n0.mutable_data());
                return py::make_tuple(symbols, symbol_n0);
            },
            py::arg("grid"),
            py::arg("csi"),
            py::arg("n0"),
            py::arg("uses"),
            py::arg("precoded") = false,
            "(symbols, n0): complex64 and float32, one value a channel use.");
}
