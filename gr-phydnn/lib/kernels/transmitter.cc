/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include <kernels/sequences.h>
#include <kernels/transmitter.h>
#include <volk/volk.h>
#include <algorithm>
#include <cmath>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {
numerology validated(const numerology& n)
{
    n.validate();
    return n;
}
} // namespace

transmitter::transmitter(const numerology& dimensions)
    : d_dimensions(validated(dimensions)),
      d_precoder(dimensions.used, true),
      d_modulator(dimensions.fft_size, false),
      d_preamble(dimensions.preamble_length()),
      d_pilots(pilots(dimensions)),
      d_scrambler(scrambler(dimensions)),
      d_header_signs(header_signs(dimensions)),
      d_symbol(dimensions.used)
{
    fft inverse(dimensions.preamble_length(), false);
    const auto spectrum = preamble_spectrum(dimensions);
    std::copy(spectrum.begin(), spectrum.end(), inverse.in);
    inverse.execute();
    const float scale = 1.0f / std::sqrt(float(dimensions.preamble_length()));
    for (unsigned i = 0; i < dimensions.preamble_length(); i++)
        d_preamble[i] = inverse.out[i] * scale;
}

void transmitter::symbol(const gr_complex* subcarriers, float amplitude, gr_complex* out)
{
    const unsigned size = d_dimensions.fft_size, half = d_dimensions.used / 2,
                   prefix = d_dimensions.cp_length;
    std::copy_n(subcarriers, half, &d_modulator.in[size - half]);
    std::copy_n(subcarriers + half, half, &d_modulator.in[1]);
    d_modulator.execute();
    volk_32f_s32f_multiply_32f(reinterpret_cast<float*>(out + prefix),
                               reinterpret_cast<const float*>(d_modulator.out),
                               amplitude / std::sqrt(float(size)),
                               2 * size);
    std::copy_n(out + size, prefix, out);
}

void transmitter::frame(const frame_header& header,
                        const gr_complex* payload,
                        float amplitude,
                        gr_complex* out)
{
    const auto& n = d_dimensions;
    const auto coded = d_codec.encode(header);

    for (unsigned i = 0; i < n.preamble_samples(); i++) {
        const unsigned phase =
            i + n.preamble_length() - n.cp_length % n.preamble_length();
        out[i] = amplitude * d_preamble[phase % n.preamble_length()];
    }
    out += n.preamble_samples();

    symbol(d_pilots.data(), amplitude, out);
    out += n.symbol_samples();

    for (unsigned i = 0, use = 0; i < n.header_symbols; i++) {
        for (unsigned k = 0; k < n.used; k++, use++)
            d_symbol[k] = (coded[header_codec::bit_of_use(use)] ? 1.0f : -1.0f) *
                          d_header_signs[use];
        symbol(d_symbol.data(), amplitude, out);
        out += n.symbol_samples();
    }

    const size_t symbols = n.data_symbols(header.uses);
    const float precoding_scale = 1.0f / std::sqrt(float(n.used));
    for (size_t i = 0; i < symbols; i++) {
        const size_t first = i * n.used;
        const unsigned count = unsigned(std::min<size_t>(n.used, header.uses - first));
        const gr_complex* rotations = &d_scrambler[(i % scrambler_period) * n.used];
        gr_complex* target = header.precoded ? d_precoder.in : d_symbol.data();
        volk_32fc_x2_multiply_32fc(target, payload + first, rotations, count);
        std::fill_n(target + count, n.used - count, gr_complex());
        if (header.precoded) {
            d_precoder.execute();
            symbol(d_precoder.out, amplitude * precoding_scale, out);
        } else {
            symbol(d_symbol.data(), amplitude, out);
        }
        out += n.symbol_samples();
        if ((i + 1) % n.pilot_spacing == 0 || i + 1 == symbols) {
            symbol(d_pilots.data(), amplitude, out);
            out += n.symbol_samples();
        }
    }
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
