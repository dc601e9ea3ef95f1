/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "spiral.h"
#include "vector_math.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {

constexpr size_t chunk = 256; // what one pass holds in the first-level cache
constexpr float turns_of_radians = 0.15915494309f;
constexpr double reach = 12; // largest weight in a table, in standard deviations
constexpr int columns = 64;  // steps of a table from one arm to the next
constexpr double rows_per_arm = 8, coarsest_step = 0.08;
constexpr int max_rows = 4096;
constexpr int newton_steps = 6;

//! No sound weight or symbol is larger; angles stay within what an int holds.
inline float clamped(float x) { return std::min(std::max(x, -1e4f), 1e4f); }

//! Turns, of any size that fits an int, as 2^-32 turns
inline uint32_t wrapped(float turns)
{
    const float rest = turns - std::floor(turns + 0.5f); // -1/2 to 1/2
    return static_cast<uint32_t>(static_cast<int32_t>(rest * 0x1.fffffep31f));
}

//! 2^x for |x| below 126: Taylor's series of 2^r for |r| <= 1/2, and an exponent
inline float power_of_two(float x)
{
    const float shifted = x + 12582912.f; // 1.5 * 2^23: leaves an integer in the low bits
    const float r = x - (shifted - 12582912.f);
    float y = 1.52527338e-5f;
    y = y * r + 1.54035304e-4f;
    y = y * r + 1.33335581e-3f;
    y = y * r + 9.61812911e-3f;
    y = y * r + 5.55041087e-2f;
    y = y * r + 2.40226507e-1f;
    y = y * r + 6.93147181e-1f;
    y = y * r + 1.f;
    return bits_as<float>(bits_as<uint32_t>(y) + (bits_as<uint32_t>(shifted) << 23));
}

//! factor |x|^exponent for exponents of 0.5 to 2
inline float scaled_power(float x, float exponent, float factor)
{
    const float size = std::max(std::fabs(x), 1e-18f);
    return factor * power_of_two(exponent * 1.44269504f * log_normal(size));
}

/*! Angle of a point in turns, -1/2 to 1/2, to 3e-7. The arc tangent of a ratio up to 1 is
 * Abramowitz and Stegun's 4.4.49 (|error| <= 2e-8 rad). */
inline float turns_of(float re, float im)
{
    const float x = std::fabs(re), y = std::fabs(im);
    const float ratio = std::min(x, y) / std::max(std::max(x, y), 1e-30f);
    const float z = ratio * ratio;
    float p = 0.0028662257f;
    p = p * z - 0.0161657367f;
    p = p * z + 0.0429096138f;
    p = p * z - 0.0752896400f;
    p = p * z + 0.1065626393f;
    p = p * z - 0.1420889944f;
    p = p * z + 0.1999355085f;
    p = p * z - 0.3333314528f;
    p = p * z + 1.f;
    float turns = p * ratio * turns_of_radians;
    turns = y > x ? 0.25f - turns : turns;
    turns = re < 0 ? 0.5f - turns : turns;
    return im < 0 ? -turns : turns;
}

//! c |w|^alpha; a spiral of alpha = 1 has c = 1
PHYDNN_VECTOR_CLONES
void radii(const float* weights, size_t count, float alpha, float scale, float* radius)
{
    if (alpha == 1) {
        for (size_t i = 0; i < count; ++i)
            radius[i] = scale * std::fabs(clamped(weights[i]));
        return;
    }
    for (size_t i = 0; i < count; ++i)
        radius[i] = scaled_power(clamped(weights[i]), alpha, scale);
}

PHYDNN_VECTOR_CLONES
void points(
    const float* weights, const float* radius, size_t count, float gamma, float* symbols)
{
    const float turns = gamma * turns_of_radians;
    for (size_t i = 0; i < count; ++i) {
        float sine, cosine;
        sincos_turns(wrapped(turns * radius[i]), sine, cosine);
        const float r = weights[i] < 0 ? -radius[i] : radius[i];
        symbols[2 * i] = r * cosine;
        symbols[2 * i + 1] = r * sine;
    }
}

//! Symbols, at most a chunk of them, in polar form
PHYDNN_VECTOR_CLONES
void polar(const float* symbols, size_t count, float* rho, float* turns)
{
    for (size_t i = 0; i < count; ++i) {
        const float re = clamped(symbols[2 * i]), im = clamped(symbols[2 * i + 1]);
        rho[i] = std::sqrt(re * re + im * im);
        turns[i] = turns_of(re, im);
    }
}

/*! Signed radii of the points nearest to at most a chunk of symbols. Of the arms that
 * cross a symbol's direction, the last one inside of the symbol and the first one outside
 * are tried, step by step of Newton's method for all symbols. */
PHYDNN_VECTOR_CLONES
void project(
    const float* rho, const float* theta, size_t count, float gamma, float* radius)
{
    const float turns = gamma * turns_of_radians, per_turn = 1 / turns;
    float t[chunk], direction[chunk], sign[chunk], best[chunk];
    for (float outer : { 0.f, 1.f }) {
        for (size_t i = 0; i < count; ++i) {
            const float arm = std::floor(2 * (turns * rho[i] - theta[i])) + outer;
            direction[i] = theta[i] + 0.5f * arm;
            sign[i] = static_cast<int32_t>(arm) & 1 ? -1.f : 1.f;
            t[i] = std::max(direction[i] * per_turn, 0.f);
        }
        for (int step = 0; step < newton_steps; ++step)
            for (size_t i = 0; i < count; ++i) {
                float sine, cosine;
                sincos_turns(wrapped(turns * t[i] - direction[i]), sine, cosine);
                const float along = gamma * rho[i] * sine, across = rho[i] * cosine;
                const float slope = t[i] - across + t[i] * along;
                const float bend = 1 + 2 * along + gamma * gamma * t[i] * across;
                t[i] = std::max(t[i] - slope / std::max(bend, 0.5f), 0.f);
            }
        for (size_t i = 0; i < count; ++i) {
            float sine, cosine;
            sincos_turns(wrapped(turns * t[i] - direction[i]), sine, cosine);
            const float distance = t[i] * t[i] - 2 * rho[i] * t[i] * cosine;
            const bool nearer = outer == 0 || distance < best[i];
            best[i] = nearer ? distance : best[i];
            radius[i] = nearer ? sign[i] * t[i] : radius[i];
        }
    }
}

//! Weights of signed radii
PHYDNN_VECTOR_CLONES
void weights_of(
    const float* radius, size_t count, float alpha, float scale, float* weights)
{
    if (alpha == 1) {
        for (size_t i = 0; i < count; ++i)
            weights[i] = radius[i] / scale;
        return;
    }
    const float exponent = 1 / alpha, factor = std::pow(scale, -exponent);
    for (size_t i = 0; i < count; ++i) {
        const float size = scaled_power(radius[i], exponent, factor);
        weights[i] = radius[i] < 0 ? -size : size;
    }
}

//! Decibels of N0 to the nearest, within limits
PHYDNN_VECTOR_CLONES
void decibels(const float* n0, size_t count, float low, float high, int32_t* levels)
{
    for (size_t i = 0; i < count; ++i) {
        const float sound = std::min(std::max(n0[i], 1e-20f), 1e20f);
        const float db = std::min(std::max(4.34294482f * log_normal(sound), low), high);
        levels[i] =
            static_cast<int32_t>(std::floor(db + 0.5f)) - static_cast<int32_t>(low);
    }
}

/*! Linear interpolation between the means of a table, which holds columns + 1 values for
 * each of rows + 1 radii. */
PHYDNN_VECTOR_CLONES
void look_up(const float* rho,
             const float* theta,
             const float* rows,
             const int32_t* offsets,
             size_t count,
             const float* means,
             float gamma,
             float step,
             float* weights)
{
    const float turns = gamma * turns_of_radians, per_step = 1 / step;
    for (size_t i = 0; i < count; ++i) {
        const float half_turns = 2 * (theta[i] - turns * rho[i]);
        const float half = std::floor(half_turns);
        float across = (half_turns - half) * columns;
        const float column = std::min(std::floor(across), columns - 1.f);
        across -= column;
        const float position = rho[i] * per_step, within = std::min(position, rows[i]);
        const float row = std::min(std::floor(within), rows[i] - 1);
        const float along = within - row;
        const int32_t at = offsets[i] + static_cast<int32_t>(row) * (columns + 1) +
                           static_cast<int32_t>(column);
        const float a = means[at], b = means[at + 1];
        const float c = means[at + columns + 1], d = means[at + columns + 2];
        const float low = a + across * (b - a), high = c + across * (d - c);
        const float mean = low + along * (high - low);
        const float beyond = std::max(1.f, position / rows[i]);
        const float sign = static_cast<int32_t>(half) & 1 ? -beyond : beyond;
        weights[i] = sign * mean;
    }
}

//! The arms' points about one radius: where they lie, and what weighs on them
struct arms {
    std::vector<float> common, push, half_cosine, half_sine, w, w2, plus, minus;

    void resize(size_t count)
    {
        for (auto* values :
             { &common, &push, &half_cosine, &half_sine, &w, &w2, &plus, &minus })
            values->assign(count, 0);
    }
};

constexpr size_t lanes = 16;

struct moments {
    double largest, total, first, second;
};

/*! Sums over both arms at half the angle whose sine and cosine are given; the exponents
 * are of 2. A squared distance is (rho - t)^2 + 4 rho t sin^2(half), which loses nothing
 * in single precision. */
PHYDNN_VECTOR_CLONES
moments weigh(arms& a, float sine, float cosine)
{
    const size_t count = a.common.size();
    float largest[lanes];
    std::fill_n(largest, lanes, -1e30f);
    for (size_t i = 0; i < count; i += lanes)
        for (size_t l = 0; l < lanes; ++l) {
            const size_t at = i + l;
            const float s = sine * a.half_cosine[at] - cosine * a.half_sine[at];
            const float c = cosine * a.half_cosine[at] + sine * a.half_sine[at];
            a.plus[at] = a.common[at] - a.push[at] * s * s;
            a.minus[at] = a.common[at] - a.push[at] * c * c;
            largest[l] = std::max(largest[l], std::max(a.plus[at], a.minus[at]));
        }
    const float top = *std::max_element(largest, largest + lanes);
    float total[lanes] = {}, first[lanes] = {}, second[lanes] = {};
    for (size_t i = 0; i < count; i += lanes)
        for (size_t l = 0; l < lanes; ++l) {
            const size_t at = i + l;
            const float plus = power_of_two(std::max(a.plus[at] - top, -100.f));
            const float minus = power_of_two(std::max(a.minus[at] - top, -100.f));
            total[l] += plus + minus;
            first[l] += (plus - minus) * a.w[at];
            second[l] += (plus + minus) * a.w2[at];
        }
    moments sums{ top, 0, 0, 0 };
    for (size_t l = 0; l < lanes; ++l) {
        sums.total += total[l];
        sums.first += first[l];
        sums.second += second[l];
    }
    return sums;
}

bool all_finite(const float* values, size_t count)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < count; ++i)
        bad |= (bits_as<uint32_t>(values[i]) & 0x7f800000u) == 0x7f800000u;
    return !bad;
}

} // namespace

spiral_rule spiral_rule_from(const std::string& name)
{
    if (name == "mmse")
        return spiral_rule::mmse;
    if (name == "nearest")
        return spiral_rule::nearest;
    throw std::invalid_argument("rule must be \"mmse\" or \"nearest\", not \"" + name +
                                "\"");
}

spiral::spiral(float gamma, float alpha)
    : d_gamma(gamma), d_alpha(alpha), d_nothing{ 0, 1, 1, 1 }, d_means(2 * (columns + 1))
{
    if (!(gamma >= 0 && gamma <= max_gamma))
        throw std::invalid_argument("gamma must be 0 to 32, not " +
                                    std::to_string(gamma));
    if (!(alpha >= 0.5f && alpha <= 1))
        throw std::invalid_argument("alpha must be 0.5 to 1, not " +
                                    std::to_string(alpha));
    // E|w|^(2 alpha) of a Gaussian w
    d_scale =
        1 / std::sqrt(std::pow(2.0, alpha) * std::tgamma(alpha + 0.5) / std::sqrt(M_PI));
    d_step =
        gamma > 0 ? std::min(M_PI / gamma / rows_per_arm, coarsest_step) : coarsest_step;
}

void spiral::encode(const float* weights,
                    size_t count,
                    std::complex<float>* symbols) const
{
    float radius[chunk];
    for (size_t at = 0; at < count; at += chunk) {
        const size_t part = std::min(chunk, count - at);
        radii(weights + at, part, d_alpha, float(d_scale), radius);
        points(
            weights + at, radius, part, d_gamma, reinterpret_cast<float*>(symbols + at));
    }
}

void spiral::nearest(const std::complex<float>* symbols,
                     size_t count,
                     float* weights) const
{
    float rho[chunk], theta[chunk], radius[chunk];
    for (size_t at = 0; at < count; at += chunk) {
        const size_t part = std::min(chunk, count - at);
        if (d_gamma > 0) {
            polar(reinterpret_cast<const float*>(symbols + at), part, rho, theta);
            project(rho, theta, part, d_gamma, radius);
        } else
            for (size_t i = 0; i < part; ++i)
                radius[i] = clamped(symbols[at + i].real());
        weights_of(radius, part, d_alpha, float(d_scale), weights + at);
    }
}

void spiral::mmse(const std::complex<float>* symbols,
                  const float* n0,
                  size_t count,
                  float* weights,
                  float* left)
{
    if (straight()) {
        for (size_t i = 0; i < count; ++i) {
            const bool came = n0[i] <= std::numeric_limits<float>::max();
            weights[i] = came ? symbols[i].real() / (1 + n0[i] / 2) : 0;
            if (left)
                left[i] = came ? n0[i] / (2 + n0[i]) : 1;
        }
        return;
    }
    int32_t levels[chunk], offsets[chunk];
    float rho[chunk], theta[chunk], rows[chunk];
    for (size_t at = 0; at < count; at += chunk) {
        const size_t part = std::min(chunk, count - at);
        decibels(n0 + at, part, lowest, highest, levels);
        for (size_t i = 0; i < part; ++i) {
            const bool came = n0[at + i] <= std::numeric_limits<float>::max();
            if (came && d_levels[levels[i]].offset < 0)
                prepare(levels[i]);
            const level& known = came ? d_levels[levels[i]] : d_nothing;
            offsets[i] = known.offset;
            rows[i] = known.rows;
            // Below the table's own noise, only what moves along an arm is left.
            if (left)
                left[at + i] = known.distortion * std::min(1.f, n0[at + i] / known.n0);
        }
        polar(reinterpret_cast<const float*>(symbols + at), part, rho, theta);
        look_up(rho,
                theta,
                rows,
                offsets,
                part,
                d_means.data(),
                d_gamma,
                float(d_step),
                weights + at);
    }
}

/*! The midpoint rule over the arms' radii, as many standard deviations of the noise about
 * the symbol as can count; half a turn on, the mean is the same with the other sign. */
void spiral::prepare(int index)
{
    const double g = d_gamma, c = d_scale, alpha = d_alpha;
    const double delta = g > 0 ? M_PI / g : 1.0;
    // Where arms are never confused, less noise would only cost time.
    const double n0 = std::max(std::pow(10.0, 0.1 * (index + lowest)),
                               2 * std::pow(std::min(delta, 1.0) / 24, 2));
    const double sigma = std::sqrt(n0 / 2);
    const double top = c * std::pow(reach + 2, alpha);
    const double far = c * std::pow(reach, alpha) + 3 * sigma;
    const int rows = std::min(static_cast<int>(std::ceil(far / d_step)), max_rows);
    const size_t offset = d_means.size();
    d_means.resize(offset + (rows + 1) * (columns + 1));

    arms about;
    double distortion = 0;
    for (int row = 0; row <= rows; ++row) {
        const double rho = row * d_step;
        double low = std::max(0.0, rho - 6 * sigma);
        const double high = std::min(rho + 6 * sigma, top);
        low = top > 6 * sigma ? std::min(low, top - 6 * sigma) : 0.0;
        const double speed = std::hypot(1.0, g * high);
        const double wanted =
            std::max(32.0, (high - low) * speed / (0.8 * std::min(sigma, 0.5)));
        const size_t count = static_cast<size_t>(std::ceil(wanted / lanes)) * lanes;
        const double width = (high - low) / count;
        about.resize(count);
        for (size_t i = 0; i < count; ++i) {
            const double t = low + (i + 0.5) * width, w = std::pow(t / c, 1 / alpha);
            const double density = w / (alpha * t) * width / std::sqrt(2 * M_PI);
            const double exponent =
                std::log(density) - w * w / 2 - (rho - t) * (rho - t) / n0;
            about.common[i] = static_cast<float>(exponent / M_LN2);
            about.push[i] = static_cast<float>(4 * rho * t / n0 / M_LN2);
            about.half_cosine[i] = static_cast<float>(std::cos(g * t / 2));
            about.half_sine[i] = static_cast<float>(std::sin(g * t / 2));
            about.w[i] = static_cast<float>(w);
            about.w2[i] = static_cast<float>(w * w);
        }
        for (int column = 0; column <= columns; ++column) {
            const double half = (M_PI * column / columns + g * rho) / 2;
            const auto sums = weigh(about, float(std::sin(half)), float(std::cos(half)));
            const double mean = sums.first / sums.total;
            d_means[offset + row * (columns + 1) + column] = static_cast<float>(mean);
            const double density = sums.total * std::exp2(sums.largest) / (M_PI * n0);
            const double ring = M_PI / columns * (column % columns ? 1 : 0.5);
            distortion += 2 * d_step * rho * ring * density *
                          (sums.second / sums.total - mean * mean);
        }
    }
    level& made = d_levels[index];
    made.offset = static_cast<int32_t>(offset);
    made.rows = static_cast<float>(rows);
    made.n0 = static_cast<float>(n0);
    made.distortion = static_cast<float>(distortion);
}

std::vector<spiral> spirals(const std::vector<float>& gammas,
                            const std::vector<float>& alphas)
{
    if (gammas.size() != alphas.size())
        throw std::invalid_argument("gammas and alphas must be as many, not " +
                                    std::to_string(gammas.size()) + " and " +
                                    std::to_string(alphas.size()));
    std::vector<spiral> made;
    for (size_t i = 0; i < gammas.size(); ++i)
        made.emplace_back(gammas[i], alphas[i]);
    return made;
}

layer_code::layer_code(std::vector<spiral> spirals, size_t repeats, float amplitude)
    : d_spirals(std::move(spirals)), d_repeats(repeats), d_amplitude(amplitude)
{
    if (d_spirals.size() > max_expansion)
        throw std::invalid_argument("at most 4 spirals nest, not " +
                                    std::to_string(d_spirals.size()));
    if (repeats < 1 || repeats > max_repeats)
        throw std::invalid_argument("repeats must be 1 to 64, not " +
                                    std::to_string(repeats));
    if (!(amplitude >= 1e-3f && amplitude <= 1e3f))
        throw std::invalid_argument("amplitude must be 0.001 to 1000, not " +
                                    std::to_string(amplitude));
}

void layer_code::encode(const float* weights,
                        size_t count,
                        std::complex<float>* symbols) const
{
    if (!all_finite(weights, count))
        throw std::invalid_argument(
            "weights must be finite: one of them is infinite or NaN");
    float* reals = reinterpret_cast<float*>(symbols);
    const size_t copy = (count << d_spirals.size());
    const float root = std::sqrt(0.5f);
    if (d_spirals.empty()) {
        for (size_t i = 0; i < count; ++i)
            reals[i] = root * d_amplitude * weights[i];
    } else {
        d_spirals.front().encode(weights, count, symbols);
        std::vector<float> parts;
        for (size_t level = 1; level < d_spirals.size(); ++level) {
            parts.assign(reals, reals + (count << level));
            for (auto& part : parts)
                part /= root;
            d_spirals[level].encode(parts.data(), parts.size(), symbols);
        }
        for (size_t i = 0; i < copy; ++i)
            reals[i] *= d_amplitude;
    }
    for (size_t repeat = 1; repeat < d_repeats; ++repeat)
        std::copy(reals, reals + copy, reals + repeat * copy);
    if (copy * d_repeats % 2)
        reals[copy * d_repeats] = 0;
}

void layer_code::decode(const std::complex<float>* symbols,
                        const float* n0,
                        bool one_n0,
                        size_t count,
                        spiral_rule rule,
                        float* weights)
{
    constexpr float infinity = std::numeric_limits<float>::infinity();
    const float* reals = reinterpret_cast<const float*>(symbols);
    const size_t copy = count << d_spirals.size(), total = uses(count);
    for (size_t use = 0; use < total; ++use) {
        const float variance = n0[one_n0 ? 0 : use];
        if (!(variance >= 0))
            throw std::invalid_argument(
                "n0 must be a noise variance, 0 or more: one value "
                "is negative or NaN");
        if (variance < infinity && !all_finite(reals + 2 * use, 2))
            throw std::invalid_argument(
                "symbols must be finite: one of them is infinite or NaN");
    }

    // Each copy by the noise that it had; then each value is one of unit variance.
    std::vector<float> values(copy), noise(copy);
    const float gain = std::sqrt(2.f) / d_amplitude,
                per_power = 1 / (d_amplitude * d_amplitude);
    for (size_t i = 0; i < copy; ++i) {
        float sum = 0, weight = 0;
        for (size_t repeat = 0; repeat < d_repeats; ++repeat) {
            const size_t at = repeat * copy + i;
            const float variance = n0[one_n0 ? 0 : at / 2] * per_power;
            if (variance < infinity) {
                // Without noise one copy is as good as all.
                const float part = 1 / std::max(variance, 1e-12f);
                weight += part;
                sum += part * std::min(std::max(reals[at], -1e9f), 1e9f);
            }
        }
        values[i] = weight > 0 ? gain * sum / weight : 0;
        noise[i] = weight > 0 ? 1 / weight : infinity;
    }

    std::vector<std::complex<float>> pairs;
    std::vector<float> pair_noise, left;
    for (size_t level = d_spirals.size(); level > 0; --level) {
        const size_t size = count << (level - 1);
        pairs.resize(size);
        pair_noise.resize(size);
        for (size_t i = 0; i < size; ++i) {
            pairs[i] =
                std::sqrt(0.5f) * std::complex<float>(values[2 * i], values[2 * i + 1]);
            pair_noise[i] = (noise[2 * i] + noise[2 * i + 1]) / 2;
        }
        spiral& one = d_spirals[level - 1];
        if (rule == spiral_rule::nearest) {
            one.nearest(pairs.data(), size, values.data());
            for (size_t i = 0; i < size; ++i)
                values[i] = pair_noise[i] < infinity ? values[i] : 0;
            noise.assign(pair_noise.begin(), pair_noise.end());
            continue;
        }
        left.resize(size);
        one.mmse(pairs.data(), pair_noise.data(), size, values.data(), left.data());
        if (level == 1)
            break;
        // The estimate less the prior in it counts as a noisy reception for the one
        // before.
        for (size_t i = 0; i < size; ++i) {
            const float known = std::max(1 - left[i], 1e-9f);
            values[i] /= known;
            noise[i] = left[i] < 1 ? left[i] / known : infinity;
        }
    }
    if (d_spirals.empty() && rule == spiral_rule::mmse)
        for (size_t i = 0; i < count; ++i)
            values[i] /= 1 + noise[i];
    std::copy(values.begin(), values.begin() + count, weights);
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
