/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "resampler.h"
#include "vector_math.h"
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {

constexpr int phase_bits = 11;
static_assert(bank_phases == 1 << phase_bits, "");
constexpr int time_bits = 48;
constexpr std::size_t row_floats = 2 * interpolator_length;
using complex = std::complex<float>;

// Sixteen floats, whatever the machine's registers: the order of every sum is fixed by
// the source.
typedef float lanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef float half_lanes __attribute__((vector_size(32)));
typedef float quarter_lanes __attribute__((vector_size(16)));
constexpr std::size_t lane_count = 16;
static_assert(row_floats % lane_count == 0, "a row is a whole number of vectors");

double bessel_i0(double x)
{
    double sum = 1;
    double term = 1;
    for (int k = 1; term > 1e-17 * sum; k++) {
        term *= x * x / (4.0 * k * k);
        sum += term;
    }
    return sum;
}

/*! Weights of each phase, every one twice: once for the real and once for the imaginary
 * part. */
const float* filter_bank()
{
    static const std::vector<float> bank = [] {
        constexpr std::size_t phases = std::size_t{ 1 } << phase_bits;
        std::vector<float> rows((phases + 1) * row_floats);
        float weights[interpolator_length];
        for (std::size_t phase = 0; phase <= phases; phase++) {
            interpolator_weights(static_cast<double>(phase) / phases, weights);
            for (std::size_t j = 0; j < row_floats; j++)
                rows[phase * row_floats + j] = weights[j / 2];
        }
        return rows;
    }();
    return bank.data();
}

/*! Eight taps a pass: as many as leave their weights and the sum in registers. */
PHYDNN_VECTOR_CLONES
void filter(const float* in,
            const float* weights,
            std::size_t taps,
            float* out,
            std::size_t floats)
{
    for (std::size_t j = 0; j < taps; j += 8) {
        const float* w = weights + j;
        const float* x = in + 2 * j;
        for (std::size_t i = 0; i < floats; i++)
            out[i] += w[0] * x[i] + w[1] * x[i + 2] + w[2] * x[i + 4] + w[3] * x[i + 6] +
                      w[4] * x[i + 8] + w[5] * x[i + 10] + w[6] * x[i + 12] +
                      w[7] * x[i + 14];
    }
}

/*! Output i is taken time + i step after in[0], in units of 2^-48 samples. */
PHYDNN_VECTOR_CLONES
void resample(const complex* in,
              const float* bank,
              std::int64_t time,
              std::int64_t step,
              complex* out,
              std::size_t n)
{
    constexpr std::int64_t one = std::int64_t{ 1 } << time_bits;
    constexpr std::int64_t half_phase = std::int64_t{ 1 } << (time_bits - phase_bits - 1);
    for (std::size_t i = 0; i < n; i++, time += step) {
        const std::int64_t phase =
            ((time & (one - 1)) + half_phase) >> (time_bits - phase_bits);
        const float* x = reinterpret_cast<const float*>(
            in + (time >> time_bits) - static_cast<std::int64_t>(interpolator_before));
        const float* row = bank + phase * static_cast<std::int64_t>(row_floats);
        lanes sum = {};
        for (std::size_t j = 0; j < row_floats; j += lane_count)
            sum += *reinterpret_cast<const lanes*>(row + j) *
                   *reinterpret_cast<const lanes*>(x + j);
        const half_lanes half =
            __builtin_shufflevector(sum, sum, 0, 1, 2, 3, 4, 5, 6, 7) +
            __builtin_shufflevector(sum, sum, 8, 9, 10, 11, 12, 13, 14, 15);
        const quarter_lanes quarter = __builtin_shufflevector(half, half, 0, 1, 2, 3) +
                                      __builtin_shufflevector(half, half, 4, 5, 6, 7);
        out[i] = { quarter[0] + quarter[2], quarter[1] + quarter[3] };
    }
}

} // namespace

void interpolator_weights(double fraction, float* weights)
{
    constexpr double beta = 6.25; // smallest worst error over the middle 90% of the band
    constexpr double half = interpolator_length / 2;
    for (std::size_t j = 0; j < interpolator_length; j++) {
        const double t =
            static_cast<double>(j) - static_cast<double>(interpolator_before) - fraction;
        const double sinc = t == 0 ? 1 : std::sin(M_PI * t) / (M_PI * t);
        const double rest = std::max(0.0, 1 - t * t / (half * half));
        weights[j] = static_cast<float>(sinc * bessel_i0(beta * std::sqrt(rest)) /
                                        bessel_i0(beta));
    }
}

void filter_add(const complex* in,
                const float* weights,
                std::size_t taps,
                complex* out,
                std::size_t n)
{
    filter(reinterpret_cast<const float*>(in),
           weights,
           taps,
           reinterpret_cast<float*>(out),
           2 * n);
}

void interpolate(const complex* in, const float* weights, complex* out, std::size_t n)
{
    static_assert(interpolator_length % 8 == 0, "a whole number of passes");
    std::fill_n(out, n, complex(0));
    filter_add(in, weights, interpolator_length, out, n);
}

void interpolate_moving(
    const complex* in, std::int64_t time, std::int64_t step, complex* out, std::size_t n)
{
    constexpr std::int64_t one = std::int64_t{ 1 } << time_bits;
    constexpr std::int64_t phase = one / bank_phases;
    constexpr std::int64_t shortest_run =
        64; // on average, to be worth a filter of its own
    const std::int64_t drift = step - one;
    if (std::abs(drift) > phase / shortest_run) {
        resample(in, filter_bank(), time, step, out, n);
        return;
    }
    float weights[interpolator_length];
    while (n > 0) {
        // Outputs whose instants lie in the same phase after their samples.
        const std::int64_t beyond = time + phase / 2; // rounds to the nearest phase
        const std::int64_t index = beyond >> (time_bits - phase_bits);
        const std::int64_t inside = beyond - index * phase;
        std::size_t run = n;
        if (drift > 0)
            run = std::min(n, static_cast<std::size_t>((phase - 1 - inside) / drift + 1));
        else if (drift < 0)
            run = std::min(n, static_cast<std::size_t>(inside / -drift + 1));
        const float* row =
            filter_bank() + (index & (bank_phases - 1)) * static_cast<int>(row_floats);
        for (std::size_t j = 0; j < interpolator_length; j++)
            weights[j] = row[2 * j];
        interpolate(in + (index >> phase_bits) -
                        static_cast<std::int64_t>(interpolator_before),
                    weights,
                    out,
                    run);
        in += run;
        out += run;
        n -= run;
        time += static_cast<std::int64_t>(run) * drift;
    }
}

sample_clock::sample_clock() : d_bank(filter_bank()), d_drift(0), d_fraction(0) {}

void sample_clock::set_ppm(double ppm)
{
    d_drift = std::llround(std::ldexp(ppm * 1e-6, time_bits));
}

std::size_t sample_clock::inputs_for(std::size_t n) const
{
    if (n == 0)
        return 0;
    const auto steps = static_cast<std::int64_t>(n - 1);
    const std::int64_t last = steps + ((d_fraction + steps * d_drift) >> time_bits);
    const auto after = interpolating() ? interpolator_length - interpolator_before : 1;
    return static_cast<std::size_t>(last) + after;
}

std::int64_t sample_clock::outputs_until(std::int64_t input) const
{
    __extension__ typedef __int128 wide;
    const wide step = (wide{ 1 } << time_bits) + d_drift;
    const wide time = (wide{ input } << time_bits) - d_fraction;
    return static_cast<std::int64_t>(time > 0 ? (time + step - 1) / step : time / step);
}

std::size_t sample_clock::run(const complex* in,
                              std::size_t available,
                              complex* out,
                              std::size_t n,
                              std::size_t& used)
{
    // An input too many is asked for where the outputs' last step would need it: fewer
    // outputs, then, never a read beyond the end.
    n = std::min(n, available);
    while (n > 0 && inputs_for(n) > available)
        n -= std::min(n, inputs_for(n) - available);
    used = n;
    if (!interpolating()) {
        std::copy_n(in, n, out);
        return n;
    }
    resample(in, d_bank, d_fraction, (std::int64_t{ 1 } << time_bits) + d_drift, out, n);
    const std::int64_t time = d_fraction + static_cast<std::int64_t>(n) * d_drift;
    used = static_cast<std::size_t>(static_cast<std::int64_t>(n) + (time >> time_bits));
    d_fraction = time & ((std::int64_t{ 1 } << time_bits) - 1);
    return n;
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
