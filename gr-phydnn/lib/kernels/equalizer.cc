/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include <kernels/equalizer.h>
#include <kernels/sequences.h>
#include <volk/volk.h>
#include <algorithm>
#include <cmath>

namespace gr {
namespace phydnn {
namespace kernels {

equalizer::equalizer(const numerology& dimensions)
    : d_dimensions((dimensions.validate(), dimensions)),
      d_deprecoder(dimensions.used, false),
      d_scrambler(scrambler(dimensions)),
      d_turned(dimensions.used),
      d_channel(dimensions.used),
      d_equalized(dimensions.used),
      d_noise(dimensions.used)
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
    double row0 = 0, span = 1;

    for (size_t i = 0; i < data_symbols; i++) {
        if (i / n.pilot_spacing != interval) {
            interval = i / n.pilot_spacing;
            h0 = csi + interval * used;
            const gr_complex* h1 = h0 + used;
            volk_32fc_x2_conjugate_dot_prod_32fc(&turn, h1, h0, used);
            turn /= std::max(std::abs(turn), 1e-20f);
            volk_32fc_s32fc_multiply_32fc(d_turned.data(), h1, std::conj(turn), used);
            row0 = double(n.pilot_row(interval, uses));
            span = double(n.pilot_row(interval + 1, uses)) - row0;
        }
        const float x = float((double(n.data_row(i)) - row0) / span);
        const gr_complex rotation = std::polar(1.0f, x * std::arg(turn));
        const gr_complex* y = grid + n.data_row(i) * used;
        const gr_complex* rotations = &d_scrambler[(i % scrambler_period) * used];

        float beta = 0;
        for (unsigned k = 0; k < used; k++) {
            const gr_complex h = rotation * ((1 - x) * h0[k] + x * d_turned[k]);
            const float gain = h.real() * h.real() + h.imag() * h.imag();
            d_noise[k] = precoded ? 1 / (gain + n0) : 1 / std::max(gain, 1e-12f);
            d_channel[k] = h;
            beta += gain * d_noise[k];
        }
        gr_complex* equalized = precoded ? d_deprecoder.in : d_equalized.data();
        for (unsigned k = 0; k < used; k++)
            equalized[k] = std::conj(d_channel[k]) * y[k] * d_noise[k];

        const size_t first = i * used;
        const unsigned count = unsigned(std::min<size_t>(used, uses - first));
        if (precoded) {
            beta = std::max(beta / float(used), 1e-12f);
            d_deprecoder.execute();
            const float scale = precoding_scale / beta;
            for (unsigned k = 0; k < count; k++)
                symbols[first + k] =
                    scale * d_deprecoder.out[k] * std::conj(rotations[k]);
            std::fill_n(symbol_n0 + first, count, std::max(1 - beta, 1e-12f) / beta);
        } else {
            for (unsigned k = 0; k < count; k++)
                symbols[first + k] = equalized[k] * std::conj(rotations[k]);
            for (unsigned k = 0; k < count; k++)
                symbol_n0[first + k] = n0 * d_noise[k];
        }
    }
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
