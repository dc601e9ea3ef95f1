/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_VECTOR_MATH_H
#define INCLUDED_PHYDNN_KERNELS_VECTOR_MATH_H

#include <cstdint>
#include <cstring>

/*!
 * Compiles a function once for each of the vector widths of x86-64; the right one is
 * picked when the library is loaded. A file that uses it is compiled with
 * -ffp-contract=off (see CMakeLists.txt), and its loops treat each element alone, so that
 * every width, and every other machine, computes the same bits.
 */
#if defined(PHYDNN_VECTOR_CLONES) // a build for one machine may define it empty
#elif defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PHYDNN_VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PHYDNN_VECTOR_CLONES
#endif

namespace gr {
namespace phydnn {
namespace kernels {

template <typename To, typename From>
inline To bits_as(From from)
{
    static_assert(sizeof(To) == sizeof(From), "the same bits, read as another type");
    To to;
    std::memcpy(&to, &from, sizeof(to));
    return to;
}

/*!
 * \brief Sine and cosine of an angle in units of 2^-32 turns, to 1e-7.
 *
 * The reduction to an eighth of a turn is exact integer arithmetic; then come the minimax
 * polynomials of Cephes (S. Moshier, sinf and cosf).
 */
inline void sincos_turns(std::uint32_t angle, float& sine, float& cosine)
{
    const std::uint32_t quadrant = (angle + 0x20000000u) >> 30;
    const auto rest = static_cast<std::int32_t>(angle - (quadrant << 30));
    const float x = static_cast<float>(rest) * 1.46291807927e-9f; // 2 pi / 2^32
    const float z = x * x;
    const float s =
        ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * x + x;
    const float c = ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z +
                     4.166664568298827e-2f) *
                        z * z -
                    0.5f * z + 1.0f;
    const std::uint32_t sine_bits = bits_as<std::uint32_t>((quadrant & 1) ? c : s);
    const std::uint32_t cosine_bits = bits_as<std::uint32_t>((quadrant & 1) ? s : c);
    sine = bits_as<float>(sine_bits ^ ((quadrant & 2) << 30));
    cosine = bits_as<float>(cosine_bits ^ (((quadrant + 1) & 2) << 30));
}

/*! \brief Natural logarithm of a normal positive number, to 1e-7 of the result (Cephes
 * logf). */
inline float log_normal(float x)
{
    // x = m 2^e with m in [sqrt(1/2), sqrt(2))
    const std::uint32_t bits = bits_as<std::uint32_t>(x) - 0x3f3504f3u;
    const auto e = static_cast<float>(static_cast<std::int32_t>(bits) >> 23);
    const float f = bits_as<float>((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    const float z = f * f;
    float p = 7.0376836292e-2f;
    p = p * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    p = p * f * z;
    p += -2.12194440e-4f * e;
    p += -0.5f * z;
    return (f + p) + 0.693359375f * e;
}

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_VECTOR_MATH_H */
