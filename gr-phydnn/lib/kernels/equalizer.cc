/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include <kernels/equalizer.h>
#include <kernels/sequences.h>
#include <kernels/vector_math.h>
#include <volk/volk.h>
#include <algorithm>
#include <cmath>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {
// With h = a h0 + b h1: weights = 1 / (max(|h|², floor) + n0) and out = conj(h) y
// weights. Complex values interleave real and imaginary parts.
PHYDNN_VECTOR_CLONES
void weigh(const float* __restrict h0,
           const float* __restrict h1,
           const float* __restrict y,
           gr_complex a,
           gr_complex b,
           float floor,
           float n0,
           size_t size,
           float* __restrict weights,
           float* __restrict out)
{
    const float ar = a.real(), ai = a.imag(), br = b.real(), bi = b.imag();
    for (size_t k = 0; k < size; k++) {
        const float hr =
            (ar * h0[2 * k] - ai * h0[2 * k + 1]) + (br * h1[2 * k] - bi * h1[2 * k + 1]);
        const float hi =
            (ar * h0[2 * k + 1] + ai * h0[2 * k]) + (br * h1[2 * k + 1] + bi * h1[2 * k]);
        const float gain = hr * hr + hi * hi;
        const float weight = 1.0f / ((gain > floor ? gain : floor) + n0);
        weights[k] = weight;
        out[2 * k] = (hr * y[2 * k] + hi * y[2 * k + 1]) * weight;
        out[2 * k + 1] = (hr * y[2 * k + 1] - hi * y[2 * k]) * weight;
    }
}

// out = scale conj(rotations) in
PHYDNN_VECTOR_CLONES
void turn_back(const float* __restrict in,
               const float* __restrict rotations,
               float scale,
               size_t size,
               float* __restrict out)
{
    for (size_t k = 0; k < size; k++) {
        const float re = scale * rotations[2 * k], im = scale * rotations[2 * k + 1];
        out[2 * k] = re * in[2 * k] + im * in[2 * k + 1];
        out[2 * k + 1] = re * in[2 * k + 1] - im * in[2 * k];
    }
}

PHYDNN_VECTOR_CLONES
void scale(const float* __restrict in, float factor, size_t size, float* __restrict out)
{
    for (size_t k = 0; k < size; k++)
        out[k] = factor * in[k];
}

// Four partial sums: one alone would wait for each of its additions. The size is a
// multiple of 4, as numerology::used is.
double sum(const volk::vector<float>& values)
{
    double partial[4] = {};
    for (size_t k = 0; k < values.size(); k += 4)
        for (size_t lane = 0; lane < 4; lane++)
            partial[lane] += values[k + lane];
    return (partial[0] + partial[1]) + (partial[2] + partial[3]);
}

const float* parts(const gr_complex* values)
{
    return reinterpret_cast<const float*>(values);
}
float* parts(gr_complex* values) { return reinterpret_cast<float*>(values); }
} // namespace

equalizer::equalizer(const numerology& dimensions)
    : d_dimensions((dimensions.validate(), dimensions)),
      d_deprecoder(dimensions.used, false),
      d_scrambler(scrambler(dimensions)),
      d_equalized(dimensions.used),
      d_weights(dimensions.used)
{
}

void equalizer::equalize(const gr_complex* grid,
                         const gr_complex* csi,
                         float n0,
                         size_t uses,
                         bool precoded,
                         gr_complex* symbols,
                         float* symbol_n0)
{
    const auto& n = d_dimensions;
    const unsigned used = n.used;
    const size_t data_symbols = n.data_symbols(uses);
    const float precoding_scale = 1.0f / std::sqrt(float(used));
    size_t interval = size_t(-1);
    gr_complex turn;
    const gr_complex* h0 = nullptr;
    const gr_complex* h1 = nullptr;
    double row0 = 0, span = 1;

    for (size_t i = 0; i < data_symbols; i++) {
        if (i / n.pilot_spacing != interval) {
            interval = i / n.pilot_spacing;
            h0 = csi + interval * used;
            h1 = h0 + used;
            // The phase that takes h0 to h1: what the carrier offset left over.
            volk_32fc_x2_conjugate_dot_prod_32fc(&turn, h1, h0, used);
            turn /= std::max(std::abs(turn), 1e-20f);
            row0 = double(n.pilot_row(interval, uses));
            span = double(n.pilot_row(interval + 1, uses)) - row0;
        }
        const float x = float((double(n.data_row(i)) - row0) / span);
        const gr_complex rotation = std::polar(1.0f, x * std::arg(turn));
        gr_complex* equalized = precoded ? d_deprecoder.in : d_equalized.data();
        weigh(parts(h0),
              parts(h1),
              parts(grid + n.data_row(i) * used),
              (1 - x) * rotation,
              x * rotation * std::conj(turn),
              precoded ? 0.0f : 1e-12f,
              precoded ? n0 : 0.0f,
              used,
              d_weights.data(),
              parts(equalized));

        const size_t first = i * used;
        const unsigned count = unsigned(std::min<size_t>(used, uses - first));
        const float* rotations = parts(&d_scrambler[(i % scrambler_period) * used]);
        if (precoded) {
            // 1 − β is the mean of N0 weights: no difference of near-equal numbers.
            const double lost = std::min(n0 * sum(d_weights) / used, 1 - 1e-12);
            const double beta = 1 - lost;
            d_deprecoder.execute();
            turn_back(parts(d_deprecoder.out),
                      rotations,
                      float(precoding_scale / beta),
                      count,
                      parts(symbols + first));
            std::fill_n(symbol_n0 + first, count, float(lost / beta));
        } else {
            turn_back(parts(equalized), rotations, 1.0f, count, parts(symbols + first));
            scale(d_weights.data(), n0, count, symbol_n0 + first);
        }
    }
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
