/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "samples.h"
#include <kernels/finite_codec.h>

using namespace gr::phydnn::kernels;

namespace {

std::vector<float> falling(size_t size)
{
    std::vector<float> priors(size);
    for (size_t k = 0; k < size; ++k)
        priors[k] = 1.f / (1 + k);
    return priors;
}

std::vector<complex> sent(const finite_codec& codec, const std::vector<float>& values)
{
    std::vector<complex> symbols(values.size() / 2);
    codec.encode(values.data(), symbols.size(), symbols.data());
    return symbols;
}

std::vector<float> read(const finite_codec& codec,
                        const std::vector<complex>& symbols,
                        float n0,
                        finite_decision decision = finite_decision::soft)
{
    std::vector<float> values(2 * symbols.size());
    codec.decode(symbols.data(), symbols.size(), &n0, 0, decision, values.data());
    return values;
}

} // namespace

BOOST_DATA_TEST_CASE(numbers_follow_the_definition, data::make({ 1, 3, 4, 8 }), bits)
{
    const auto values = gaussian(1002, 1);
    const finite_codec codec(-1.5f, 2.f, bits, 0.4f);
    const auto symbols = sent(codec, values);
    const int top = (1 << bits) - 1;
    for (size_t i = 0; i < values.size(); ++i) {
        const double place =
            std::min<double>(std::max((values[i] + 1.5) * top / 3.5, 0.), top);
        const double amplitude = i % 2 ? symbols[i / 2].imag() : symbols[i / 2].real();
        const double number = (amplitude / 0.4 + 1.5) * top / 3.5;
        BOOST_TEST(std::abs(number - std::round(number)) < 1e-4);
        BOOST_TEST(std::abs(number - place) < 0.5 + 1e-4);
    }
}

BOOST_DATA_TEST_CASE(soft_decisions_follow_bayes,
                     data::make({ 1, 4, 8 }) * data::make({ 0.001, 0.1, 1., 100. }) *
                         data::make({ false, true }),
                     bits,
                     n0,
                     weighted)
{
    const size_t size = size_t(1) << bits;
    const auto priors = weighted ? falling(size) : std::vector<float>();
    const finite_codec codec(-2.f, 2.5f, bits, 0.7f, priors);
    const auto symbols = noisy(sent(codec, gaussian(202, 3)), n0, 2);
    const auto values = read(codec, symbols, n0);
    for (size_t i = 0; i < values.size(); ++i) {
        const double y = i % 2 ? symbols[i / 2].imag() : symbols[i / 2].real();
        double nearest = infinity, total = 0, mean = 0;
        for (const float a : codec.amplitudes())
            nearest = std::min(nearest, (y - a) * (y - a));
        for (size_t k = 0; k < size; ++k) {
            const double distance = std::pow(y - codec.amplitudes()[k], 2) - nearest;
            const double weight = (weighted ? priors[k] : 1) * std::exp(-distance / n0);
            total += weight;
            mean += weight * codec.values()[k];
        }
        BOOST_TEST(std::abs(values[i] - mean / total) < 2e-5);
    }
}

BOOST_AUTO_TEST_CASE(hard_and_no_decisions)
{
    const finite_codec codec(-2.f, 2.f, 4, 0.5f);
    auto symbols = sent(codec, gaussian(100, 1));
    const auto clean = read(codec, symbols, 0, finite_decision::hard);
    for (auto& s : symbols)
        s += complex(0.06f, -0.06f); // less than half a step of 2/15
    const auto hard = read(codec, symbols, not_a_number, finite_decision::hard);
    BOOST_TEST(hard == clean, boost::test_tools::per_element());
    const auto none = read(codec, symbols, not_a_number, finite_decision::none);
    for (size_t i = 0; i < none.size(); ++i)
        BOOST_TEST(none[i] == clean[i] + (i % 2 ? -0.12f : 0.12f),
                   boost::test_tools::tolerance(1e-4f));
    // Without noise a soft decision is a hard one, far outside, too.
    symbols[0] = { 3e38f, -3e38f };
    const auto sure = read(codec, symbols, 0);
    BOOST_TEST(sure[0] == 2.f);
    BOOST_TEST(sure[1] == -2.f);
    for (size_t i = 2; i < sure.size(); ++i)
        BOOST_TEST(sure[i] == clean[i]);
}

BOOST_AUTO_TEST_CASE(full_resolution)
{
    const finite_codec codec(-1.f, 1.f, 0, 0.5f);
    const auto symbols = sent(codec, { 3.f, -40.f });
    BOOST_TEST(symbols[0] == complex(1.5f, -20.f));
    BOOST_TEST(read(codec, symbols, 1, finite_decision::hard)[1] == -40.f);
    BOOST_TEST(read(codec, symbols, 1)[0] == 1.5f);
    BOOST_TEST(read(codec, symbols, infinity)[0] == 0.f);
}

BOOST_AUTO_TEST_CASE(extremes_stay_finite)
{
    for (const auto& priors :
         { std::vector<float>(), std::vector<float>{ 0, 0, 0, 1 } }) {
        const finite_codec codec(-1.f, 1.f, 2, 1.f, priors);
        const std::vector<complex> symbols = {
            { 3e38f, -3e38f }, { 0, 1e-38f }, { 1 / 3.f, -1 / 3.f }, { 1e30f, 1 }
        };
        for (const float n0 : { 0.f, 1e-38f, 1e-3f, 1.f, 1e38f, infinity })
            for (const float v : read(codec, symbols, n0))
                BOOST_TEST((v >= -1 && v <= 1));
    }
    const finite_codec skewed(-1.f, 1.f, 1, 1.f, { 1, 3 });
    BOOST_TEST(read(skewed, { { 0.2f, 0 } }, infinity)[0] == 0.5f,
               boost::test_tools::tolerance(1e-6f));
}

BOOST_AUTO_TEST_CASE(each_use_has_its_own_noise)
{
    const finite_codec codec(-2.f, 2.f, 4, 0.5f);
    const std::vector<complex> symbols(67, { 0.31f, -0.2f });
    std::vector<float> n0(67), all(134);
    for (size_t n = 0; n < 67; ++n)
        n0[n] = 0.01f * (n + 1);
    codec.decode(symbols.data(), 67, n0.data(), 1, finite_decision::soft, all.data());
    for (size_t n = 0; n < 67; ++n) {
        const auto one = read(codec, { symbols[n] }, n0[n]);
        BOOST_TEST(all[2 * n] == one[0]);
        BOOST_TEST(all[2 * n + 1] == one[1]);
    }
}

BOOST_AUTO_TEST_CASE(bad_arguments)
{
    const auto wrong = [](float low,
                          float high,
                          int bits,
                          float gain,
                          const std::vector<float>& priors = {}) {
        BOOST_CHECK_THROW(finite_codec(low, high, bits, gain, priors),
                          std::invalid_argument);
    };
    wrong(-1, 1, -1, 1);
    wrong(-1, 1, 9, 1);
    wrong(1, 1, 4, 1);
    wrong(-infinity, 1, 4, 1);
    wrong(-3e38f, 3e38f, 4, 1);
    wrong(-1, not_a_number, 4, 1);
    wrong(-1, 1, 4, 0);
    wrong(-1, 1, 4, infinity);
    wrong(-1, 1, 4, 1e4f);
    wrong(-1, 1, 1, 1, { 1 });
    wrong(-1, 1, 1, 1, { 0, 0 });
    wrong(-1, 1, 1, 1, { -1, 2 });
    wrong(-1, 1, 1, 1, { not_a_number, 2 });
    const finite_codec codec(-1.f, 1.f, 4, 1.f);
    for (const float bad : { infinity, -infinity, not_a_number }) {
        BOOST_CHECK_THROW(sent(codec, { 0, bad }), std::invalid_argument);
        for (auto decision :
             { finite_decision::none, finite_decision::hard, finite_decision::soft })
            BOOST_CHECK_THROW(read(codec, { { bad, 0 } }, 0.1f, decision),
                              std::invalid_argument);
    }
    BOOST_CHECK_THROW(read(codec, { { 0, 0 } }, -1), std::invalid_argument);
    BOOST_CHECK_THROW(read(codec, { { 0, 0 } }, not_a_number), std::invalid_argument);
    BOOST_CHECK_THROW(finite_decision_from("softly"), std::invalid_argument);
    BOOST_TEST(sent(codec, {}).empty());
    BOOST_TEST(read(codec, {}, 1).empty());
}
