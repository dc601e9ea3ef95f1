/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "noise.h"
#include "vector_math.h"
#include <algorithm>
#include <cmath>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {

constexpr std::size_t chunk_draws = 256; // what one pass holds in the first-level cache

/*! Complex samples 2 first … 2 (first + draws) - 1 of one stream, interleaved; draws <=
 * 256. */
PHYDNN_VECTOR_CLONES
void draw(std::uint64_t first,
          std::uint32_t stream,
          std::uint32_t seed_high,
          philox_key key,
          float* out,
          std::size_t draws)
{
    std::uint32_t words[4][chunk_draws];
    const auto low = static_cast<std::uint32_t>(first);
    const auto high = static_cast<std::uint32_t>(first >> 32);
    for (std::size_t i = 0; i < draws; i++) {
        const std::uint32_t index = low + static_cast<std::uint32_t>(i);
        const std::uint32_t carry = index < low;
        const auto w = philox4x32({ index, high + carry, stream, seed_high }, key);
        words[0][i] = w[0];
        words[1][i] = w[1];
        words[2][i] = w[2];
        words[3][i] = w[3];
    }
    // Both samples of a draw in one pass: its four stores are then one to the compiler.
    for (std::size_t i = 0; i < draws; i++) {
        float radius[2];
        float sine[2];
        float cosine[2];
        for (int half = 0; half < 2; half++) {
            const float uniform =
                (static_cast<float>(words[2 * half][i]) + 0.5f) * 0x1p-32f;
            radius[half] = std::sqrt(-log_normal(uniform));
            sincos_turns(words[2 * half + 1][i], sine[half], cosine[half]);
        }
        out[4 * i] = radius[0] * cosine[0];
        out[4 * i + 1] = radius[0] * sine[0];
        out[4 * i + 2] = radius[1] * cosine[1];
        out[4 * i + 3] = radius[1] * sine[1];
    }
}

PHYDNN_VECTOR_CLONES
void scale_add(const float* in, float amplitude, float* out, std::size_t n)
{
    for (std::size_t i = 0; i < n; i++)
        out[i] += amplitude * in[i];
}

} // namespace

noise::noise(std::uint64_t seed, std::uint32_t link, std::uint32_t stream)
    : d_key{ static_cast<std::uint32_t>(seed), link },
      d_stream(stream),
      d_seed_high(static_cast<std::uint32_t>(seed >> 32))
{
}

philox_counter noise::words(std::uint64_t index) const
{
    return philox4x32({ static_cast<std::uint32_t>(index),
                        static_cast<std::uint32_t>(index >> 32),
                        d_stream,
                        d_seed_high },
                      d_key);
}

void noise::generate(std::uint64_t first, std::complex<float>* out, std::size_t n) const
{
    std::fill_n(out, n, std::complex<float>(0));
    add(first, 1.0f, out, n);
}

void noise::add(std::uint64_t first,
                float amplitude,
                std::complex<float>* samples,
                std::size_t n) const
{
    alignas(64) float drawn[4 * chunk_draws];
    while (n > 0) {
        const std::size_t skip =
            first % 2; // a draw makes two samples; the first may be another's
        const std::size_t count = std::min(n, 2 * chunk_draws - skip);
        draw(first / 2, d_stream, d_seed_high, d_key, drawn, (skip + count + 1) / 2);
        scale_add(
            drawn + 2 * skip, amplitude, reinterpret_cast<float*>(samples), 2 * count);
        samples += count;
        first += count;
        n -= count;
    }
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
