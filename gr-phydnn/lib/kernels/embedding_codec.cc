/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "kernels/embedding_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

// The instruction sets' own code needs GCC's target pragma.
#if defined(__x86_64__) && !defined(__clang__)
#define PHYDNN_X86 1
#include <immintrin.h>
#endif

namespace gr::phydnn::kernels {

namespace {

using tables = embedding_codec::tables;

constexpr size_t widest = 32; // slices side by side in any of the routines
constexpr size_t tile = 16;   // places in a slice side by side in any of them

#define PHYDNN_INLINE [[gnu::always_inline]] static inline

namespace generic {
#define PHYDNN_LANES 4
#define PHYDNN_BLOCKS 1
constexpr auto fma_each = [](auto a, auto b, auto c) {
    return decltype(a){ std::fma(a[0], b[0], c[0]),
                        std::fma(a[1], b[1], c[1]),
                        std::fma(a[2], b[2], c[2]),
                        std::fma(a[3], b[3], c[3]) };
};
#define PHYDNN_FMA(a, b, c) fma_each(a, b, c)
#include "kernels/embedding_codec_lanes.h"
} // namespace generic

#if PHYDNN_X86

#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#define PHYDNN_LANES 8
#define PHYDNN_BLOCKS 1
#define PHYDNN_FMA(a, b, c) f32(_mm256_fmadd_ps(a, b, c))
#include "kernels/embedding_codec_lanes.h"
} // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f")
namespace avx512 {
#define PHYDNN_LANES 16
#define PHYDNN_BLOCKS 2
#define PHYDNN_FMA(a, b, c) f32(_mm512_fmadd_ps(a, b, c))
#include "kernels/embedding_codec_lanes.h"
} // namespace avx512
#pragma GCC pop_options

#endif

//! Reads as a plain loop, which the compiler vectorises
bool all_finite(const float* values, size_t count)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < count; ++i) {
        uint32_t bits;
        std::memcpy(&bits, values + i, sizeof(bits));
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

} // namespace

struct embedding_codec::routines {
    bool (*encode)(const tables&, const float*, size_t, int32_t*, float*);
    void (*decode_hard)(
        const tables&, const std::complex<float>*, size_t, int32_t*, float*);
    void (*decode_soft)(const tables&,
                        const std::complex<float>*,
                        size_t,
                        const float*,
                        size_t,
                        float*,
                        float*);
};

namespace {

constexpr embedding_codec::routines generic_routines = { generic::encode,
                                                         generic::decode_hard,
                                                         generic::decode_soft };
#if PHYDNN_X86
constexpr embedding_codec::routines avx2_routines = { avx2::encode,
                                                      avx2::decode_hard,
                                                      avx2::decode_soft };
constexpr embedding_codec::routines avx512_routines = { avx512::encode,
                                                        avx512::decode_hard,
                                                        avx512::decode_soft };
#endif

const embedding_codec::routines& routines_for(instruction_set instructions)
{
#if PHYDNN_X86
    if (instructions == instruction_set::avx512 && __builtin_cpu_supports("avx512f"))
        return avx512_routines;
    if (instructions == instruction_set::avx2 && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma"))
        return avx2_routines;
#endif
    if (instructions == instruction_set::generic)
        return generic_routines;
    throw std::invalid_argument(
        "this machine lacks the instruction set: leave it out to get the best one");
}

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

} // namespace

instruction_set best_instruction_set()
{
#if PHYDNN_X86
    if (__builtin_cpu_supports("avx512f"))
        return instruction_set::avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return instruction_set::avx2;
#endif
    return instruction_set::generic;
}

lookup_rule lookup_rule_from(const std::string& name)
{
    if (name == "inner_product")
        return lookup_rule::inner_product;
    if (name == "distance")
        return lookup_rule::distance;
    throw std::invalid_argument(
        "lookup must be \"inner_product\" or \"distance\", not \"" + name + "\"");
}

embedding_codec::embedding_codec(const std::vector<float>& embeddings,
                                 size_t dim,
                                 const std::vector<std::complex<float>>& points,
                                 lookup_rule lookup,
                                 instruction_set instructions)
    : d_size(points.size()),
      d_dim(dim),
      d_lookup(lookup),
      d_points(points),
      d_average_power(0),
      d_routines(&routines_for(instructions))
{
    if (d_size < 2 || d_size > max_size)
        throw std::invalid_argument("points must have 2 to " + std::to_string(max_size) +
                                    " elements, not " + std::to_string(d_size));
    if (dim < 1 || dim > max_dim)
        throw std::invalid_argument("dim must be 1 to " + std::to_string(max_dim) +
                                    ", not " + std::to_string(dim));
    if (embeddings.size() != d_size * dim)
        throw std::invalid_argument("embeddings must have one row of " +
                                    std::to_string(dim) + " values for each of the " +
                                    std::to_string(d_size) + " points, " +
                                    std::to_string(d_size * dim) + " in all, not " +
                                    std::to_string(embeddings.size()));
    if (!all_finite(embeddings.data(), embeddings.size()))
        throw std::invalid_argument(
            "embeddings must be finite: one of them is infinite or NaN");
    if (!all_finite(reinterpret_cast<const float*>(points.data()), 2 * d_size))
        throw std::invalid_argument(
            "points must be finite: one of them is infinite or NaN");

    double power = 0;
    for (const auto& p : points)
        power += std::norm(std::complex<double>(p)) / d_size;
    d_average_power = static_cast<float>(power);
    if (!(d_average_power > 0 && std::isfinite(d_average_power)))
        throw std::invalid_argument(
            "points must have an average power above 0 and within "
            "single precision: scale them to 1");

    tables& t = d_tables;
    t.size = d_size;
    t.dim = dim;
    t.group = d_size <= 4 ? 4 : 8;
    t.rows.assign(embeddings.begin(), embeddings.end());
    t.scorers.assign(round_up(d_size, t.group) * dim, 0.f);
    t.offsets.assign(round_up(d_size, t.group), -std::numeric_limits<float>::infinity());
    t.tiles.assign(round_up(dim, tile) * d_size, 0.f);
    for (size_t j = 0; j < d_size; ++j) {
        double energy = 0;
        for (size_t d = 0; d < dim; ++d) {
            const float e = embeddings[j * dim + d];
            t.scorers[(j / t.group * dim + d) * t.group + j % t.group] = e;
            t.tiles[(d / tile * d_size + j) * tile + d % tile] = e;
            energy += static_cast<double>(e) * e;
        }
        t.offsets[j] =
            lookup == lookup_rule::distance ? static_cast<float>(-energy / 2) : 0.f;
        if (!std::isfinite(t.offsets[j]))
            throw std::invalid_argument("embeddings must have squared norms within "
                                        "single precision: scale them down");
        t.re.push_back(points[j].real());
        t.im.push_back(points[j].imag());
        t.half_power.push_back(std::norm(points[j]) / 2);
    }
}

void embedding_codec::encode(const float* slices,
                             size_t count,
                             int32_t* labels,
                             std::complex<float>* symbols) const
{
    volk::vector<float> scratch((2 * d_dim + tile) * widest);
    if (!d_routines->encode(d_tables, slices, count, labels, scratch.data()))
        throw std::invalid_argument(
            "slices must be finite: one of them is infinite or NaN");
    for (size_t n = 0; n < count;
         ++n) // in one piece: a complex assignment moves two halves
        std::memcpy(symbols + n, &d_points[labels[n]], sizeof(*symbols));
}

static void check_symbols(const std::complex<float>* symbols, size_t count)
{
    if (!all_finite(reinterpret_cast<const float*>(symbols), 2 * count))
        throw std::invalid_argument(
            "symbols must be finite: one of them is infinite or NaN");
}

static void check_n0(const float* n0, size_t count)
{
    if (!std::all_of(n0, n0 + count, [](float n) { return n >= 0; }))
        throw std::invalid_argument(
            "n0 must be a noise variance, 0 or more: one value is "
            "negative or NaN");
}

void embedding_codec::decode_hard(const std::complex<float>* symbols,
                                  size_t count,
                                  int32_t* labels,
                                  float* slices) const
{
    check_symbols(symbols, count);
    d_routines->decode_hard(d_tables, symbols, count, labels, slices);
}

void embedding_codec::decode_soft(const std::complex<float>* symbols,
                                  size_t count,
                                  const float* n0,
                                  float* slices) const
{
    check_symbols(symbols, count);
    check_n0(n0, count);
    volk::vector<float> weights(d_size * tile);
    d_routines->decode_soft(d_tables, symbols, count, n0, 1, slices, weights.data());
}

void embedding_codec::decode_soft(const std::complex<float>* symbols,
                                  size_t count,
                                  float n0,
                                  float* slices) const
{
    check_symbols(symbols, count);
    check_n0(&n0, 1);
    volk::vector<float> weights(d_size * tile);
    d_routines->decode_soft(d_tables, symbols, count, &n0, 0, slices, weights.data());
}

} // namespace gr::phydnn::kernels
