/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "impairments.h"
#include "streams.h"
#include "vector_math.h"
#include <algorithm>
#include <cmath>
#include <limits>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {

constexpr std::size_t chunk = 512;
using complex = std::complex<float>;

PHYDNN_VECTOR_CLONES
void rotate_by(const std::uint32_t* angles, float* samples, std::size_t n)
{
    for (std::size_t i = 0; i < n; i++) {
        float sine;
        float cosine;
        sincos_turns(angles[i], sine, cosine);
        const float re = samples[2 * i];
        const float im = samples[2 * i + 1];
        samples[2 * i] = re * cosine - im * sine;
        samples[2 * i + 1] = re * sine + im * cosine;
    }
}

PHYDNN_VECTOR_CLONES
void mix(float in_phase, float direct, float crossed, float* samples, std::size_t n)
{
    for (std::size_t i = 0; i < n; i++) {
        const float re = samples[2 * i];
        const float im = samples[2 * i + 1];
        samples[2 * i] = in_phase * re;
        samples[2 * i + 1] = direct * im + crossed * re;
    }
}

PHYDNN_VECTOR_CLONES
std::size_t quantise(float steps, float step, float* parts, std::size_t n)
{
    constexpr float limit = 32767;
    // Adding this leaves no bits for a fraction, so the sum is rounded to a whole number.
    constexpr float rounder = 12582912; // 1.5 * 2^23
    std::uint32_t held = 0;
    for (std::size_t i = 0; i < n; i++) {
        const float value = parts[i] * steps;
        float level = value > -limit ? value : -limit; // a NaN goes to -limit
        level = level < limit ? level : limit;
        held += level != value;
        parts[i] = ((level + rounder) - rounder) * step;
    }
    return held;
}

PHYDNN_VECTOR_CLONES
std::size_t copy_or_zero(const float* in, float* out, std::size_t n)
{
    constexpr float largest = std::numeric_limits<float>::max();
    std::uint32_t zeroed = 0;
    for (std::size_t i = 0; i < n; i++) {
        const float re = in[2 * i];
        const float im = in[2 * i + 1];
        const bool finite = (std::fabs(re) <= largest) & (std::fabs(im) <= largest);
        out[2 * i] = finite ? re : 0.0f;
        out[2 * i + 1] = finite ? im : 0.0f;
        zeroed += !finite;
    }
    return zeroed;
}

} // namespace

oscillator::oscillator(std::uint64_t seed, std::uint32_t link)
    : d_noise(seed, link, streams::phase_noise), d_phase(0), d_step(0), d_deviation(0)
{
}

void oscillator::set_frequency(double frequency)
{
    d_step = static_cast<std::uint64_t>(std::llround(std::ldexp(frequency, 64)));
}

void oscillator::set_linewidth(double linewidth)
{
    d_deviation = std::ldexp(std::sqrt(linewidth / (2 * M_PI)), 64);
}

void oscillator::rotate(std::uint64_t first, complex* samples, std::size_t n)
{
    if (d_phase == 0 && d_step == 0 && d_deviation == 0)
        return;
    std::uint32_t angles[chunk];
    complex steps[chunk / 2];
    while (n > 0) {
        // One complex draw, of variance 1/2 per part, serves two samples.
        const std::size_t count = std::min(n, chunk - first % 2 - 1);
        if (d_deviation > 0)
            d_noise.generate(first / 2, steps, (first % 2 + count + 1) / 2);
        for (std::size_t i = 0; i < count; i++) {
            angles[i] = static_cast<std::uint32_t>(d_phase >> 32);
            d_phase += d_step;
            if (d_deviation > 0) {
                const std::size_t part = first % 2 + i;
                const float normal = reinterpret_cast<const float*>(steps)[part];
                d_phase += static_cast<std::uint64_t>(
                    static_cast<std::int64_t>(M_SQRT2 * d_deviation * normal));
            }
        }
        rotate_by(angles, reinterpret_cast<float*>(samples), count);
        samples += count;
        first += count;
        n -= count;
    }
}

void iq_imbalance::set(double amplitude_db, double phase_deg)
{
    const double gain = std::pow(10.0, amplitude_db / 20);
    const double phase = phase_deg * M_PI / 180;
    const double scale = std::sqrt(2 / (1 + gain * gain));
    d_balanced = amplitude_db == 0 && phase_deg == 0;
    d_in_phase = static_cast<float>(scale);
    d_direct = static_cast<float>(scale * gain * std::cos(phase));
    d_crossed = static_cast<float>(-scale * gain * std::sin(phase));
}

void iq_imbalance::apply(complex* samples, std::size_t n) const
{
    if (!d_balanced)
        mix(d_in_phase, d_direct, d_crossed, reinterpret_cast<float*>(samples), n);
}

std::size_t quantise_sc16(float full_scale, complex* samples, std::size_t n)
{
    const float steps = 32767 / full_scale;
    return quantise(steps, full_scale / 32767, reinterpret_cast<float*>(samples), 2 * n);
}

std::size_t copy_finite(const complex* in, complex* out, std::size_t n)
{
    return copy_or_zero(
        reinterpret_cast<const float*>(in), reinterpret_cast<float*>(out), n);
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
