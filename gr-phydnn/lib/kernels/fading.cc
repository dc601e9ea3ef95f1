/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "fading.h"
#include "streams.h"
#include "vector_math.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {

using complex = std::complex<float>;

/*! Sum of exp(j (phase + step * index)) over \p n waves, a power of two and 32 at most.
 */
PHYDNN_VECTOR_CLONES
complex sum_of_waves(const std::uint64_t* phase,
                     const std::uint64_t* step,
                     std::uint64_t index,
                     std::size_t n)
{
    float re[32];
    float im[32];
    for (std::size_t i = 0; i < n; i++)
        sincos_turns(
            static_cast<std::uint32_t>((phase[i] + step[i] * index) >> 32), im[i], re[i]);
    for (n /= 2; n > 0;
         n /= 2) { // a tree, so that the order of the sum is the same everywhere
        for (std::size_t i = 0; i < n; i++) {
            re[i] += re[i + n];
            im[i] += im[i + n];
        }
    }
    return { re[0], im[0] };
}

PHYDNN_VECTOR_CLONES
void multiply_add(const float* in, complex gain, float* out, std::size_t n)
{
    const float re = gain.real();
    const float im = gain.imag();
    for (std::size_t i = 0; i < n; i++) {
        out[2 * i] += re * in[2 * i] - im * in[2 * i + 1];
        out[2 * i + 1] += re * in[2 * i + 1] + im * in[2 * i];
    }
}

/*! As multiply_add, with gain + slope (offset + i) for sample i. */
PHYDNN_VECTOR_CLONES
void multiply_add_ramp(const float* in,
                       complex gain,
                       complex slope,
                       std::int32_t offset,
                       float* out,
                       std::int32_t n)
{
    const float gain_re = gain.real();
    const float gain_im = gain.imag();
    const float slope_re = slope.real();
    const float slope_im = slope.imag();
    for (std::int32_t i = 0; i < n; i++) {
        const auto t = static_cast<float>(offset + i);
        const float re = gain_re + slope_re * t;
        const float im = gain_im + slope_im * t;
        out[2 * i] += re * in[2 * i] - im * in[2 * i + 1];
        out[2 * i + 1] += re * in[2 * i + 1] + im * in[2 * i];
    }
}

} // namespace

fading::fading(fading_kind kind,
               const std::vector<complex>& gains,
               const std::vector<double>& k_factors,
               double doppler,
               std::uint64_t seed,
               std::uint32_t link)
    : d_kind(kind), d_interval(16)
{
    if (k_factors.size() != gains.size())
        throw std::invalid_argument("k_factors must have one value per path");
    while (d_interval < 1024 && 64 * doppler * 2 * d_interval <= 1)
        d_interval *= 2;
    for (std::size_t k = 0; k < gains.size(); k++) {
        const auto index = static_cast<std::uint32_t>(k);
        path p{ {},
                0,
                k_factors[k] / (k_factors[k] + 1),
                { seed, link, streams::fading + index },
                {},
                {} };
        const noise waves(seed, link, streams::waves + index);
        for (std::size_t m = 0; m < wave_count; m++) {
            const auto words = waves.words(m);
            // a draw in the m-th of 32 parts of the circle
            const std::uint32_t angle =
                (static_cast<std::uint32_t>(m) << 27) + (words[1] >> 5);
            float sine;
            float cosine;
            sincos_turns(angle, sine, cosine);
            p.phase[m] = std::uint64_t{ words[0] } << 32;
            p.step[m] = static_cast<std::uint64_t>(
                std::llround(std::ldexp(doppler * cosine, 64)));
        }
        d_paths.push_back(p);
    }
    set_gains(gains);
}

void fading::set_gains(const std::vector<complex>& gains)
{
    for (std::size_t k = 0; k < d_paths.size(); k++) {
        path& p = d_paths[k];
        p.constant = gains[k];
        if (d_kind != fading_kind::fixed) {
            const double power = std::norm(std::complex<double>(gains[k]));
            p.constant = static_cast<float>(std::sqrt(power * p.line_of_sight));
            p.scattered = static_cast<float>(std::sqrt(power * (1 - p.line_of_sight)));
        }
    }
}

complex fading::gain(std::size_t path_index, std::uint64_t index) const
{
    const path& p = d_paths.at(path_index);
    complex scattered = 0;
    if (d_kind == fading_kind::per_frame)
        p.draws.generate(index, &scattered, 1);
    else if (d_kind == fading_kind::doppler)
        scattered = sum_of_waves(p.phase, p.step, index, wave_count) *
                    static_cast<float>(std::sqrt(1.0 / wave_count));
    return p.constant + p.scattered * scattered;
}

void fading::apply(std::size_t path,
                   std::uint64_t frame,
                   std::uint64_t first,
                   const complex* in,
                   complex* out,
                   std::size_t n) const
{
    const auto* x = reinterpret_cast<const float*>(in);
    auto* y = reinterpret_cast<float*>(out);
    if (d_kind != fading_kind::doppler) {
        multiply_add(x, gain(path, frame), y, n);
        return;
    }
    std::uint64_t knot = first - first % d_interval;
    complex from = gain(path, knot);
    while (n > 0) {
        const complex to = gain(path, knot + d_interval);
        const std::size_t offset = first - knot;
        const std::size_t count = std::min(n, d_interval - offset);
        const complex slope = (to - from) * (1.0f / static_cast<float>(d_interval));
        multiply_add_ramp(x,
                          from,
                          slope,
                          static_cast<std::int32_t>(offset),
                          y,
                          static_cast<std::int32_t>(count));
        x += 2 * count;
        y += 2 * count;
        first += count;
        n -= count;
        knot += d_interval;
        from = to;
    }
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
