/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "kernels/finite_codec.h"
#include "kernels/vector_math.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace gr::phydnn::kernels {

namespace {

constexpr size_t block = 32;          // amplitudes side by side
constexpr float rounder = 12582912.f; // 1.5 * 2^23: adding it leaves a whole number
constexpr float rarest = -120.f;      // log2 of the least prior
constexpr float steepest = 1e30f;     // so that no product of finite numbers is NaN

//! The number, 0 to top, that a value is nearest to.
inline float number_of(float x, float low, float scale, float top)
{
    const float place = (x - low) * scale;
    const float within = place > 0.f ? (place < top ? place : top) : 0.f;
    return (within + rounder) - rounder;
}

/*! 2^x for x <= 0, and exactly 0 below -125, before numbers become subnormal: x = n + r
 * with |r| <= 1/2; 2^r by its Taylor series to r^7, n added to the exponent. */
inline float power_of_two(float x)
{
    const float kept = x > -125.f ? x : -125.f;
    const float shifted = kept + rounder;
    const float r = kept - (shifted - rounder);
    float y = 1.52527338e-5f; // (ln 2)^k / k! for k = 7 ... 0
    y = y * r + 1.54035304e-4f;
    y = y * r + 1.33335581e-3f;
    y = y * r + 9.61812911e-3f;
    y = y * r + 5.55041087e-2f;
    y = y * r + 2.40226507e-1f;
    y = y * r + 6.93147181e-1f;
    y = y * r + 1.f;
    y = bits_as<float>(bits_as<uint32_t>(y) + (bits_as<uint32_t>(shifted) << 23));
    return x > -125.f ? y : 0.f;
}

//! Numbers of values, as floats. \return false if a value is not finite
PHYDNN_VECTOR_CLONES bool numbers_of(
    const float* values, size_t count, float low, float scale, float top, float* numbers)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < count; ++i) {
        bad |= (bits_as<uint32_t>(values[i]) & 0x7f800000u) == 0x7f800000u;
        numbers[i] = number_of(values[i], low, scale, top);
    }
    return !bad;
}

//! \return false if an input or an output is not finite
PHYDNN_VECTOR_CLONES bool
scaled(const float* from, size_t count, const float* divisors, float factor, float* to)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < count; ++i) {
        to[i] = from[i] * factor / divisors[i];
        bad |= (bits_as<uint32_t>(to[i]) & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

/*! Posterior means of a block of amplitudes.
 * With the nearest amplitude a_n, z = y - a_n and u = a_k - a_n: (y - a_n)^2 - (y -
 * a_k)^2 = 2 u (z - u/2), free of the cancellation between two large squares. */
PHYDNN_VECTOR_CLONES void posterior_means(const float* received,
                                          const float* n0,
                                          const float* numbers,
                                          const float* amplitudes,
                                          const float* log2_priors,
                                          const float* values,
                                          size_t size,
                                          float* exponents,
                                          float* means)
{
    constexpr float two_log2_e = 2.88539008f;
    float nearest[block], z[block], slope[block], best[block];
    for (size_t l = 0; l < block; ++l) {
        nearest[l] = amplitudes[static_cast<int32_t>(numbers[l])];
        best[l] = 2.f * rarest;
    }
    for (size_t l = 0; l < block; ++l) {
        const float steep = two_log2_e / n0[l];
        slope[l] = steep < steepest ? steep : steepest; // N0 = 0, too
        z[l] = received[l] - nearest[l];
    }
    for (size_t k = 0; k < size; ++k)
        for (size_t l = 0; l < block; ++l) {
            const float u = amplitudes[k] - nearest[l];
            const float x = (slope[l] * u) * (z[l] - 0.5f * u);
            // Rounding may put another amplitude a hair before the nearest.
            const float sum = (x < 0.f ? x : 0.f) + log2_priors[k];
            exponents[k * block + l] = sum;
            best[l] = best[l] > sum ? best[l] : sum;
        }
    float total[block] = {}, mean[block] = {};
    for (size_t k = 0; k < size; ++k)
        for (size_t l = 0; l < block; ++l) {
            const float weight = power_of_two(exponents[k * block + l] - best[l]);
            total[l] += weight;
            mean[l] += weight * values[k];
        }
    for (size_t l = 0; l < block; ++l)
        means[l] = mean[l] / total[l];
}

} // namespace

finite_decision finite_decision_from(const std::string& name)
{
    if (name == "none")
        return finite_decision::none;
    if (name == "hard")
        return finite_decision::hard;
    if (name == "soft")
        return finite_decision::soft;
    throw std::invalid_argument(
        "decision must be \"none\", \"hard\" or \"soft\", not \"" + name + "\"");
}

finite_codec::finite_codec(
    float low, float high, int bits, float gain, const std::vector<float>& priors)
    : d_low(low), d_gain(gain), d_bits(bits)
{
    if (bits < 0 || bits > max_bits)
        throw std::invalid_argument("bits must be 1 to " + std::to_string(max_bits) +
                                    ", or 0 for full resolution, not " +
                                    std::to_string(bits));
    if (!(high > low && std::isfinite(high - low)))
        throw std::invalid_argument("low and high must be finite, and low below high");
    if (!(gain > 0 && std::isfinite(gain)))
        throw std::invalid_argument("gain must be finite and above 0");
    const size_t size = bits ? size_t(1) << bits : 0;
    d_top = size ? size - 1 : 0;
    d_scale = d_top / (high - low);
    for (size_t k = 0; k < size; ++k) {
        const double value = low + k * (double(high) - low) / d_top;
        d_values.push_back(static_cast<float>(value));
        d_amplitudes.push_back(static_cast<float>(double(gain) * d_values[k]));
    }
    d_first = size ? d_amplitudes.front() : 0;
    d_steps = size ? d_top / (d_amplitudes.back() - d_first) : 0;
    if (size && !(std::isfinite(d_scale) && std::isfinite(d_steps) &&
                  std::abs(d_first) <= largest_amplitude &&
                  std::abs(d_amplitudes.back()) <= largest_amplitude))
        throw std::invalid_argument("low, high and gain must give amplitudes within -" +
                                    std::to_string(int(largest_amplitude)) + " and " +
                                    std::to_string(int(largest_amplitude)) +
                                    " that single precision tells apart");

    if (!priors.empty() && priors.size() != size)
        throw std::invalid_argument("priors must be none or " + std::to_string(size) +
                                    " weights, not " + std::to_string(priors.size()));
    double sum = 0;
    for (const float p : priors) {
        if (!(p >= 0 && std::isfinite(p)))
            throw std::invalid_argument("priors must be finite, 0 or more");
        sum += p;
    }
    if (!priors.empty() && !(sum > 0))
        throw std::invalid_argument("priors must not all be 0");
    for (size_t k = 0; k < size; ++k) {
        const double p = priors.empty() ? 1.0 / size : priors[k] / sum;
        d_log2_priors.push_back(std::max(rarest, static_cast<float>(std::log2(p))));
    }
}

void finite_codec::encode(const float* values,
                          size_t uses,
                          std::complex<float>* symbols) const
{
    float* const sent = reinterpret_cast<float*>(symbols);
    bool good = true;
    const std::vector<float> one(block, 1.f);
    for (size_t first = 0; first < 2 * uses; first += block) {
        const size_t here = std::min(block, 2 * uses - first);
        if (!d_bits) {
            good &= scaled(values + first, here, one.data(), d_gain, sent + first);
            continue;
        }
        float numbers[block];
        good &= numbers_of(values + first, here, d_low, d_scale, d_top, numbers);
        if (good)
            for (size_t i = 0; i < here; ++i)
                sent[first + i] = d_amplitudes[static_cast<size_t>(numbers[i])];
    }
    if (!good)
        throw std::invalid_argument(
            "values must be finite: one of them is infinite or NaN");
}

void finite_codec::decode(const std::complex<float>* symbols,
                          size_t uses,
                          const float* n0,
                          size_t n0_stride,
                          finite_decision decision,
                          float* values) const
{
    const bool soft = decision == finite_decision::soft;
    const float* const received = reinterpret_cast<const float*>(symbols);
    if (soft)
        for (size_t n = 0; n < (n0_stride ? uses : std::min<size_t>(uses, 1)); ++n)
            if (!(n0[n] >= 0))
                throw std::invalid_argument(
                    "n0 must be a noise variance, 0 or more: one value is not");
    std::vector<float> exponents(soft ? size() * block : 0);
    for (size_t first = 0; first < 2 * uses; first += block) {
        const size_t here = std::min(block, 2 * uses - first);
        float padded[block] = {}, variances[block], numbers[block] = {}, means[block];
        std::copy_n(received + first, here, padded);
        if (!numbers_of(padded, here, d_first, d_steps, d_top, numbers))
            throw std::invalid_argument(
                "symbols must be finite: one of them is infinite or NaN");
        for (size_t i = 0; i < block; ++i)
            variances[i] = soft && i < here ? n0[(first + i) / 2 * n0_stride] : 0.f;
        if (d_bits && soft) {
            posterior_means(padded,
                            variances,
                            numbers,
                            d_amplitudes.data(),
                            d_log2_priors.data(),
                            d_values.data(),
                            size(),
                            exponents.data(),
                            means);
        } else if (d_bits && decision == finite_decision::hard) {
            for (size_t i = 0; i < here; ++i)
                means[i] = d_values[static_cast<size_t>(numbers[i])];
        } else {
            for (float& v : variances)
                v = d_gain * (1.f + v);
            if (!scaled(padded, block, variances, 1.f, means))
                throw std::invalid_argument(
                    "symbols must stay finite when divided by the gain");
        }
        std::copy_n(means, here, values + first);
    }
}

} // namespace gr::phydnn::kernels
