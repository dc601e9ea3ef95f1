/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_TESTS_SAMPLES_H
#define INCLUDED_PHYDNN_TESTS_SAMPLES_H

// What the tests of the codecs share.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <complex>
#include <limits>
#include <random>
#include <vector>

namespace data = boost::unit_test::data;
using complex = std::complex<float>;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

inline std::vector<float> gaussian(size_t count, unsigned seed)
{
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (auto& v : values)
        v = normal(engine);
    return values;
}

//! \p symbols with complex noise of variance \p n0
inline std::vector<complex> noisy(std::vector<complex> symbols, float n0, unsigned seed)
{
    const auto noise = gaussian(2 * symbols.size(), seed);
    for (size_t i = 0; i < symbols.size(); ++i)
        symbols[i] += std::sqrt(n0 / 2) * complex(noise[2 * i], noise[2 * i + 1]);
    return symbols;
}

#endif /* INCLUDED_PHYDNN_TESTS_SAMPLES_H */
