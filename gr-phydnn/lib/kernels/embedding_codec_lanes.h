/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

/* The inner loops of embedding_codec.cc, which includes this file once for each
 * instruction set, inside a namespace and under the compiler's target pragma, having
 * defined
 *
 *   PHYDNN_LANES      single precision numbers in a register: 4, 8 or 16
 *   PHYDNN_BLOCKS     registers' worth of slices that encode() takes at a time
 *   PHYDNN_FMA(a,b,c) a * b + c, rounded once
 *
 * Each lane of a register works on a slice or a symbol of its own, or on its own place in
 * the slices, so that neither the number of lanes nor the blocks show in the results.
 */

constexpr int L = PHYDNN_LANES;
typedef float f32 __attribute__((vector_size(4 * L)));
typedef int32_t i32 __attribute__((vector_size(4 * L)));
typedef uint32_t u32 __attribute__((vector_size(4 * L)));
constexpr auto lanes = std::make_index_sequence<L>();

PHYDNN_INLINE f32 load(const float* from)
{
    f32 to;
    std::memcpy(&to, from, sizeof(to));
    return to;
}

//! The first count values, then zeros
PHYDNN_INLINE f32 load_first(const float* from, size_t count)
{
    f32 to = {};
    std::memcpy(&to, from, count * sizeof(float));
    return to;
}

PHYDNN_INLINE void store(float* to, f32 from) { std::memcpy(to, &from, sizeof(from)); }

PHYDNN_INLINE f32 all(float value) { return value - f32{}; }

PHYDNN_INLINE u32 bits_of(f32 x)
{
    u32 bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return bits;
}

PHYDNN_INLINE f32 from_bits(u32 bits)
{
    f32 x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}

//! Swaps the off-diagonal blocks of two rows, S wide.
template <int S, size_t... l>
PHYDNN_INLINE void swap_blocks(f32& upper, f32& lower, std::index_sequence<l...>)
{
    const f32 u = __builtin_shufflevector(upper, lower, int(l & S ? L + l - S : l)...);
    const f32 v = __builtin_shufflevector(upper, lower, int(l & S ? L + l : l + S)...);
    upper = u;
    lower = v;
}

template <int S = L / 2>
PHYDNN_INLINE void transpose(f32 (&rows)[L])
{
    if constexpr (S > 0) {
#pragma GCC unroll 16
        for (int l = 0; l < L; ++l)
            if (!(l & S))
                swap_blocks<S>(rows[l], rows[l + S], lanes);
        transpose<S / 2>(rows);
    }
}

//! Interleaved complex numbers to real and imaginary parts
template <size_t... l>
PHYDNN_INLINE void
deinterleave(f32& re, f32& im, const float* from, std::index_sequence<l...>)
{
    const f32 a = load(from), b = load(from + L);
    re = __builtin_shufflevector(a, b, int(2 * l)...);
    im = __builtin_shufflevector(a, b, int(2 * l + 1)...);
}

//! The next L symbols, with zeros past the last
PHYDNN_INLINE void
load_symbols(f32& re, f32& im, const std::complex<float>* symbols, size_t count)
{
    float padded[2 * L] = {};
    const float* from = reinterpret_cast<const float*>(symbols);
    if (count < L)
        from = static_cast<float*>(std::memcpy(padded, from, count * sizeof(*symbols)));
    deinterleave(re, im, from, lanes);
}

/*! 2^x for x <= 0, and exactly 0 below -125, before numbers become subnormal.
 * x = n + r with |r| <= 1/2; 2^r is its Taylor series to r^7, which leaves out less than
 * 6e-9, and n is added to the exponent. */
PHYDNN_INLINE f32 power_of_two(f32 x)
{
    constexpr float rounder = 12582912.f; // 1.5 * 2^23: leaves an integer in the low bits
    const f32 shifted = x + rounder;
    const f32 r = x - (shifted - rounder);
    f32 y = all(1.52527338e-5f); // (ln 2)^k / k! for k = 7 ... 0
    y = PHYDNN_FMA(y, r, all(1.54035304e-4f));
    y = PHYDNN_FMA(y, r, all(1.33335581e-3f));
    y = PHYDNN_FMA(y, r, all(9.61812911e-3f));
    y = PHYDNN_FMA(y, r, all(5.55041087e-2f));
    y = PHYDNN_FMA(y, r, all(2.40226507e-1f));
    y = PHYDNN_FMA(y, r, all(6.93147181e-1f));
    y = PHYDNN_FMA(y, r, all(1.f));
    y = from_bits(bits_of(y) + (bits_of(shifted) << 23));
    return x > -125.f ? y : f32{};
}

/*! Labels of count slices, G labels scored side by side.
 * A label's score is <x, e_j>, less |e_j|^2 / 2 by distance: |x|^2 is the same for all.
 * \return false if a value is not finite */
template <int G>
PHYDNN_INLINE bool encode_groups(
    const tables& t, const float* slices, size_t count, int32_t* labels, float* scratch)
{
    constexpr size_t blocks = PHYDNN_BLOCKS, width = blocks * L;
    const size_t dim = t.dim;
    float* const turned = scratch;                        // [d][slice]
    float* const padded = turned + (dim + L - 1) * width; // the last slices, then zeros
    f32 poison = {}; // 0 times a value: 0, or NaN if that is not finite

    for (size_t first = 0; first < count; first += width) {
        const size_t here = std::min(width, count - first);
        const float* block = slices + first * dim;
        if (here < width) {
            std::memset(padded, 0, width * dim * sizeof(float));
            std::memcpy(padded, block, here * dim * sizeof(float));
            block = padded;
        }
        for (size_t b = 0; b < blocks; ++b) {
            for (size_t d = 0; d < dim; d += L) {
                f32 rows[L];
                const float* from = block + b * L * dim + d;
#pragma GCC unroll 16
                for (int l = 0; l < L; ++l)
                    rows[l] = d + L <= dim ? load(from + l * dim)
                                           : load_first(from + l * dim, dim - d);
#pragma GCC unroll 16
                for (int l = 0; l < L; ++l)
                    poison = PHYDNN_FMA(rows[l], f32{}, poison);
                transpose(rows);
#pragma GCC unroll 16
                for (int l = 0; l < L; ++l)
                    store(turned + (d + l) * width + b * L, rows[l]);
            }
        }

        f32 best[blocks];
        i32 winner[blocks] = {};
        for (size_t b = 0; b < blocks; ++b)
            best[b] = all(-std::numeric_limits<float>::infinity());
        const float* e = t.scorers.data();
        for (size_t j = 0; j < t.size; j += G) {
            f32 score[G][blocks];
#pragma GCC unroll 8
            for (int g = 0; g < G; ++g)
                for (size_t b = 0; b < blocks; ++b)
                    score[g][b] = all(t.offsets[j + g]);
            for (size_t d = 0; d < dim; ++d, e += G) {
                f32 x[blocks];
                for (size_t b = 0; b < blocks; ++b)
                    x[b] = load(turned + d * width + b * L);
#pragma GCC unroll 8
                for (int g = 0; g < G; ++g)
                    for (size_t b = 0; b < blocks; ++b)
                        score[g][b] = PHYDNN_FMA(x[b], all(e[g]), score[g][b]);
            }
#pragma GCC unroll 8
            for (int g = 0; g < G; ++g)
                for (size_t b = 0; b < blocks; ++b) {
                    const i32 better = score[g][b] > best[b];
                    best[b] = better ? score[g][b] : best[b];
                    winner[b] = better ? i32{} + int32_t(j + g) : winner[b];
                }
        }
        std::memcpy(labels + first, winner, here * sizeof(int32_t));
    }
    float sum = 0;
    for (int l = 0; l < L; ++l)
        sum += poison[l];
    return sum == 0;
}

static bool encode(
    const tables& t, const float* slices, size_t count, int32_t* labels, float* scratch)
{
    return t.group == 4 ? encode_groups<4>(t, slices, count, labels, scratch)
                        : encode_groups<8>(t, slices, count, labels, scratch);
}

/*! The nearest point, that is the largest Re(y p*) - |p|^2 / 2, which, unlike |y - p|^2,
 * keeps its precision when y is far away. */
PHYDNN_INLINE i32 nearest_point(const tables& t, f32 re, f32 im)
{
    f32 best = all(-std::numeric_limits<float>::infinity());
    i32 winner = {};
    for (size_t j = 0; j < t.size; ++j) {
        const f32 score = PHYDNN_FMA(
            re, all(t.re[j]), PHYDNN_FMA(im, all(t.im[j]), all(-t.half_power[j])));
        const i32 better = score > best;
        best = better ? score : best;
        winner = better ? i32{} + int32_t(j) : winner;
    }
    return winner;
}

static void decode_hard(const tables& t,
                        const std::complex<float>* symbols,
                        size_t count,
                        int32_t* labels,
                        float* slices)
{
    const size_t dim = t.dim;
    for (size_t first = 0; first < count; first += L) {
        const size_t here = std::min<size_t>(L, count - first);
        f32 re, im;
        load_symbols(re, im, symbols + first, here);
        const i32 winner = nearest_point(t, re, im);
        std::memcpy(labels + first, &winner, here * sizeof(int32_t));
        for (size_t n = first; n < first + here; ++n) {
            const float* from = &t.rows[labels[n] * dim];
            float* to = slices + n * dim;
            size_t d = 0;
            for (; d + L <= dim; d += L)
                store(to + d, load(from + d));
            for (; d < dim; ++d)
                to[d] = from[d];
        }
    }
}

/*! Posterior means of L symbols at a time: first weights[j][symbol], relative to that of
 * the nearest point k, then the weighted sums, for L places in all L slices at a time. */
static void decode_soft(const tables& t,
                        const std::complex<float>* symbols,
                        size_t count,
                        const float* n0,
                        size_t n0_stride,
                        float* slices,
                        float* weights)
{
    const size_t dim = t.dim;
    for (size_t first = 0; first < count; first += L) {
        const size_t here = std::min<size_t>(L, count - first);
        f32 re, im;
        load_symbols(re, im, symbols + first, here);
        float variance[L] = {};
        for (size_t l = 0; l < here; ++l)
            variance[l] = n0[(first + l) * n0_stride];
        // N0 = 0 becomes a slope that leaves 0 at 0 and takes all else to certainty.
        const f32 least = all(std::numeric_limits<float>::min());
        const f32 known = load(variance);
        constexpr float log2_e = 1.44269504f;
        const f32 slope = (2.f * log2_e) / (known > least ? known : least);

        const i32 nearest = nearest_point(t, re, im);
        float nearest_re[L], nearest_im[L];
        for (int l = 0; l < L; ++l) {
            nearest_re[l] = t.re[nearest[l]];
            nearest_im[l] = t.im[nearest[l]];
        }
        const f32 k_re = load(nearest_re), k_im = load(nearest_im);
        // With z = y - p_k and u = p_j - p_k: |y - p_k|^2 - |y - p_j|^2 = 2 <u, z - u/2>,
        // free of the cancellation between two large squares.
        const f32 z_re = re - k_re, z_im = im - k_im;
        f32 total = {};
        for (size_t j = 0; j < t.size; ++j) {
            const f32 u_re = t.re[j] - k_re, u_im = t.im[j] - k_im;
            const f32 v_re = PHYDNN_FMA(u_re, all(-0.5f), z_re);
            const f32 v_im = PHYDNN_FMA(u_im, all(-0.5f), z_im);
            const f32 x = slope * PHYDNN_FMA(u_re, v_re, u_im * v_im);
            // Rounding may put another point a hair before k.
            const f32 weight = power_of_two(f32{} < x ? f32{} : x);
            total += weight;
            store(weights + j * L, weight);
        }
        float scale[L];
        store(scale, 1.f / total);

        for (size_t d = 0; d < dim; d += L) {
            const float* e = t.tiles.data() + d / tile * tile * t.size + d % tile;
            f32 sum[L] = {};
            for (size_t j = 0; j < t.size; ++j) {
                const f32 x = load(e + j * tile);
#pragma GCC unroll 16
                for (int l = 0; l < L; ++l)
                    sum[l] = PHYDNN_FMA(x, all(weights[j * L + l]), sum[l]);
            }
            float* to = slices + first * dim + d;
            if (here == L && d + L <= dim) {
#pragma GCC unroll 16
                for (int l = 0; l < L; ++l)
                    store(to + l * dim, sum[l] * scale[l]);
            } else {
                const size_t bytes = std::min<size_t>(L, dim - d) * sizeof(float);
                for (size_t l = 0; l < here; ++l) {
                    const f32 mean = sum[l] * scale[l];
                    std::memcpy(to + l * dim, &mean, bytes);
                }
            }
        }
    }
}

#undef PHYDNN_LANES
#undef PHYDNN_BLOCKS
#undef PHYDNN_FMA
