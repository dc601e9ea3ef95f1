/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "samples.h"
#include <kernels/spiral.h>

using namespace gr::phydnn::kernels;

namespace {

double mean_squared_error(const std::vector<float>& a, const std::vector<float>& b)
{
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i)
        sum += std::pow(double(a[i]) - b[i], 2);
    return sum / a.size();
}

struct shape {
    float gamma, alpha, snr_db;
    float rms; // the least error there is, as the square root of the mean
};

std::ostream& operator<<(std::ostream& out, const shape& s)
{
    return out << "gamma " << s.gamma << ", alpha " << s.alpha;
}

// Errors of the optimum at these ratios, by integration in double precision.
const std::vector<shape> shapes = { { 0.35f, 1, 0, 0.5752f },
                                    { 1.08f, 0.796f, 5, 0.3358f },
                                    { 2.9f, 1, 15, 0.0814f },
                                    { 3.116f, 0.611f, 15, 0.0588f } };

} // namespace

BOOST_DATA_TEST_CASE(points_lie_on_the_spirals, data::make(shapes), s)
{
    const spiral made(s.gamma, s.alpha);
    auto weights = gaussian(20000, 1);
    weights[0] = 0;
    std::vector<complex> symbols(weights.size());
    made.encode(weights.data(), weights.size(), symbols.data());
    double power = 0;
    for (const auto& symbol : symbols)
        power += std::norm(symbol) / symbols.size();
    BOOST_CHECK_CLOSE(power, 1.0, 3.0);
    BOOST_CHECK_SMALL(std::abs(symbols[0]), 1e-8f);
    const double moment =
        std::pow(2, s.alpha) * std::tgamma(s.alpha + 0.5) / std::sqrt(M_PI);
    for (size_t i = 1; i < 100; ++i) {
        const double r =
            std::pow(std::fabs(weights[i]), double(s.alpha)) / std::sqrt(moment);
        const auto expected = std::polar(std::copysign(1.0, weights[i]) * r, 0.0) *
                              std::polar(1.0, s.gamma * r);
        BOOST_CHECK_SMALL(std::abs(std::complex<double>(symbols[i]) - expected), 3e-6);
    }
}

BOOST_DATA_TEST_CASE(decoders_reach_the_optimum, data::make(shapes), s)
{
    spiral made(s.gamma, s.alpha);
    const auto weights = gaussian(40000, 2);
    const float n0 = std::pow(10.0f, -s.snr_db / 10);
    std::vector<complex> symbols(weights.size());
    made.encode(weights.data(), weights.size(), symbols.data());
    std::vector<float> found(weights.size()), left(weights.size());
    made.nearest(symbols.data(), weights.size(), found.data());
    BOOST_CHECK_SMALL(mean_squared_error(found, weights), 1e-9);

    symbols = noisy(symbols, n0, 3);
    const std::vector<float> variances(weights.size(), n0);
    made.mmse(
        symbols.data(), variances.data(), weights.size(), found.data(), left.data());
    const double error = std::sqrt(mean_squared_error(found, weights));
    BOOST_CHECK_CLOSE(error, s.rms, 4.0);
    BOOST_CHECK_CLOSE(std::sqrt(left[0]), s.rms, 2.0);

    // No point of a fine grid is nearer than the one that is found.
    made.nearest(symbols.data(), weights.size(), found.data());
    std::vector<float> grid(12001);
    for (size_t i = 0; i < grid.size(); ++i)
        grid[i] = 0.001f * i - 6;
    std::vector<complex> on_grid(grid.size()), chosen(weights.size());
    made.encode(grid.data(), grid.size(), on_grid.data());
    made.encode(found.data(), found.size(), chosen.data());
    for (size_t i = 0; i < 200; ++i) {
        float best = infinity;
        for (const auto& point : on_grid)
            best = std::min(best, std::abs(symbols[i] - point));
        BOOST_CHECK_LE(std::abs(symbols[i] - chosen[i]), best + 2e-3f);
    }
}

BOOST_DATA_TEST_CASE(codes_give_the_weights_back,
                     data::make({ 0, 1, 2, 3 }) * data::make({ 1, 3 }) *
                         data::make({ 0, 1, 257 }),
                     expansion,
                     repeats,
                     count)
{
    layer_code code(std::vector<spiral>(expansion, spiral(3.2f, 0.7f)), repeats, 1.7f);
    const auto weights = gaussian(count, 4);
    const size_t reals = repeats * (size_t(1) << expansion);
    BOOST_CHECK_EQUAL(code.reals(), reals);
    BOOST_REQUIRE_EQUAL(code.uses(count), (count * reals + 1) / 2);
    std::vector<complex> symbols(code.uses(count));
    code.encode(weights.data(), count, symbols.data());
    std::vector<float> found(count, 7.0f);
    const float n0 = 0;
    code.decode(symbols.data(), &n0, true, count, spiral_rule::nearest, found.data());
    for (int i = 0; i < count; ++i)
        BOOST_CHECK_SMALL(found[i] - weights[i], 2e-3f);
    code.decode(symbols.data(), &infinity, true, count, spiral_rule::mmse, found.data());
    for (const float value : found)
        BOOST_CHECK_EQUAL(value, 0);
}

BOOST_AUTO_TEST_CASE(a_lost_copy_leaves_the_other)
{
    layer_code code({}, 2, 1);
    const auto weights = gaussian(1000, 5);
    std::vector<complex> symbols(code.uses(weights.size()));
    code.encode(weights.data(), weights.size(), symbols.data());
    std::vector<float> n0(symbols.size(), 0.25f), found(weights.size());
    for (size_t i = 0; i < symbols.size() / 2; ++i) {
        n0[i] = infinity;
        symbols[i] = not_a_number;
    }
    code.decode(symbols.data(),
                n0.data(),
                false,
                weights.size(),
                spiral_rule::mmse,
                found.data());
    for (size_t i = 0; i < weights.size(); ++i)
        BOOST_CHECK_CLOSE(found[i], weights[i] / 1.25f, 1e-3);
}

BOOST_AUTO_TEST_CASE(absurd_symbols_stay_finite)
{
    const std::vector<complex> symbols = { { 3e38f, -3e38f }, { -3e38f, 0 } };
    layer_code code({ spiral(32), spiral(32) }, 1, 1e-3f);
    for (const float n0 : { 0.0f, 1e-30f, 1.0f, 3e38f })
        for (const auto rule : { spiral_rule::mmse, spiral_rule::nearest }) {
            float found = not_a_number;
            code.decode(symbols.data(), &n0, true, 1, rule, &found);
            BOOST_CHECK(std::isfinite(found));
        }
}

BOOST_AUTO_TEST_CASE(bad_arguments_are_refused)
{
    BOOST_CHECK_THROW(spiral(-1), std::invalid_argument);
    BOOST_CHECK_THROW(spiral(33), std::invalid_argument);
    BOOST_CHECK_THROW(spiral{ not_a_number }, std::invalid_argument);
    BOOST_CHECK_THROW(spiral(1, 0.4f), std::invalid_argument);
    BOOST_CHECK_THROW(spirals({ 1 }, {}), std::invalid_argument);
    BOOST_CHECK_THROW(layer_code({}, 0, 1), std::invalid_argument);
    BOOST_CHECK_THROW(layer_code({}, 65, 1), std::invalid_argument);
    BOOST_CHECK_THROW(layer_code({}, 1, 0), std::invalid_argument);
    BOOST_CHECK_THROW(layer_code(std::vector<spiral>(5, spiral(1)), 1, 1),
                      std::invalid_argument);
    BOOST_CHECK_THROW(spiral_rule_from("ml"), std::invalid_argument);
    layer_code code({ spiral(1) }, 1, 1);
    complex symbol(not_a_number, 0);
    float weight = not_a_number, n0 = 1;
    BOOST_CHECK_THROW(code.encode(&weight, 1, &symbol), std::invalid_argument);
    BOOST_CHECK_THROW(code.decode(&symbol, &n0, true, 1, spiral_rule::mmse, &weight),
                      std::invalid_argument);
    symbol = 0;
    n0 = -1;
    BOOST_CHECK_THROW(code.decode(&symbol, &n0, true, 1, spiral_rule::mmse, &weight),
                      std::invalid_argument);
}
