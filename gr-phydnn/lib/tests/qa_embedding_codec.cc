/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "samples.h"
#include <kernels/embedding_codec.h>
#include <algorithm>

using namespace gr::phydnn::kernels;

namespace {

std::vector<complex> psk(size_t size)
{
    std::vector<complex> points(size);
    for (size_t j = 0; j < size; ++j)
        points[j] = std::polar(1.0, 2 * M_PI * j / size);
    return points;
}

std::vector<complex>
scattered(const std::vector<complex>& points, size_t count, unsigned seed)
{
    std::vector<complex> symbols(count);
    for (size_t n = 0; n < count; ++n)
        symbols[n] = points[n % points.size()];
    return noisy(symbols, 0.08f, seed);
}

std::vector<instruction_set> available()
{
    std::vector<instruction_set> sets = { instruction_set::generic };
    for (auto set : { instruction_set::avx2, instruction_set::avx512 })
        if (best_instruction_set() >= set)
            sets.push_back(set);
    return sets;
}

//! Everything that a codec answers, to be compared bit for bit
struct answers {
    std::vector<int32_t> sent, received;
    std::vector<complex> symbols;
    std::vector<float> hard, soft, soft_each;

    answers(const embedding_codec& codec,
            const std::vector<float>& slices,
            const std::vector<complex>& noisy,
            const std::vector<float>& n0)
        : sent(noisy.size()),
          received(noisy.size()),
          symbols(noisy.size()),
          hard(slices.size()),
          soft(slices.size()),
          soft_each(slices.size())
    {
        const size_t count = noisy.size();
        codec.encode(slices.data(), count, sent.data(), symbols.data());
        codec.decode_hard(noisy.data(), count, received.data(), hard.data());
        codec.decode_soft(noisy.data(), count, 0.1f, soft.data());
        codec.decode_soft(noisy.data(), count, n0.data(), soft_each.data());
    }

    bool operator==(const answers& other) const
    {
        return sent == other.sent && received == other.received &&
               symbols == other.symbols && hard == other.hard && soft == other.soft &&
               soft_each == other.soft_each;
    }
};

const size_t sizes[] = { 2, 3, 4, 5, 16, 37, 256 };
const size_t dims[] = { 1, 3, 16, 21, 64 };

} // namespace

BOOST_DATA_TEST_CASE(lookup_follows_the_definition,
                     data::make(sizes) * data::make(dims) *
                         data::make({ "inner_product", "distance" }),
                     size,
                     dim,
                     lookup)
{
    const size_t count = 101;
    const auto rule = lookup_rule_from(lookup);
    const auto embeddings = gaussian(size * dim, 1);
    const auto slices = gaussian(count * dim, 2);
    const embedding_codec codec(embeddings, dim, psk(size), rule);
    std::vector<int32_t> labels(count);
    std::vector<complex> symbols(count);
    codec.encode(slices.data(), count, labels.data(), symbols.data());

    for (size_t n = 0; n < count; ++n) {
        std::vector<double> score(size, 0.0);
        for (size_t j = 0; j < size; ++j)
            for (size_t d = 0; d < dim; ++d) {
                const double x = slices[n * dim + d], e = embeddings[j * dim + d];
                score[j] += rule == lookup_rule::distance ? -(x - e) * (x - e) : x * e;
            }
        const double best = *std::max_element(score.begin(), score.end());
        // A label may differ from the exact one only where rounding decides.
        BOOST_REQUIRE_GE(labels[n], 0);
        BOOST_REQUIRE_LT(size_t(labels[n]), size);
        BOOST_TEST(best - score[labels[n]] <= 2e-6 * dim);
        BOOST_TEST(symbols[n] == codec.points()[labels[n]]);
    }
}

BOOST_DATA_TEST_CASE(soft_decisions_are_posterior_means,
                     data::make(sizes) * data::make({ 0.01f, 0.1f, 1.0f, 30.0f }),
                     size,
                     n0)
{
    const size_t count = 101, dim = 21;
    const auto embeddings = gaussian(size * dim, 1);
    const auto points = psk(size);
    const auto symbols = scattered(points, count, 3);
    const embedding_codec codec(embeddings, dim, points);
    std::vector<float> slices(count * dim);
    codec.decode_soft(symbols.data(), count, n0, slices.data());

    for (size_t n = 0; n < count; ++n) {
        std::vector<double> weights(size), mean(dim, 0.0);
        double total = 0;
        for (size_t j = 0; j < size; ++j) {
            const auto difference =
                std::complex<double>(symbols[n]) - std::complex<double>(points[j]);
            total += weights[j] = std::exp(-std::norm(difference) / n0);
        }
        for (size_t d = 0; d < dim; ++d) {
            for (size_t j = 0; j < size; ++j)
                mean[d] += weights[j] / total * embeddings[j * dim + d];
            BOOST_TEST(std::abs(slices[n * dim + d] - mean[d]) < 1e-5);
        }
    }
}

BOOST_DATA_TEST_CASE(every_instruction_set_gives_the_same_bits,
                     data::make(sizes) * data::make(dims) *
                         data::make({ 1, 16, 31, 200 }),
                     size,
                     dim,
                     count)
{
    const auto embeddings = gaussian(size * dim, 1);
    const auto slices = gaussian(count * dim, 2);
    const auto points = psk(size);
    const auto symbols = scattered(points, count, 3);
    std::vector<float> n0(count);
    for (int n = 0; n < count; ++n)
        n0[n] = std::pow(10.0f, 1.0f - 0.05f * n);

    const embedding_codec generic(
        embeddings, dim, points, lookup_rule::distance, instruction_set::generic);
    const answers expected(generic, slices, symbols, n0);
    for (auto set : available()) {
        const embedding_codec codec(embeddings, dim, points, lookup_rule::distance, set);
        BOOST_TEST((answers(codec, slices, symbols, n0) == expected));
    }
}

BOOST_AUTO_TEST_CASE(ties_go_to_the_lowest_label)
{
    const std::vector<float> embeddings = { 1, 0, 0, 1, 0, 1, 1, 0 };
    const std::vector<complex> points = { { 1, 0 }, { -1, 0 }, { -1, 0 }, { 1, 0 } };
    for (auto set : available()) {
        const embedding_codec codec(
            embeddings, 2, points, lookup_rule::inner_product, set);
        const std::vector<float> slices = { 0, 3, 2, 0, 1, 1 };
        std::vector<int32_t> labels(3);
        std::vector<complex> symbols(3);
        codec.encode(slices.data(), 3, labels.data(), symbols.data());
        BOOST_TEST(labels == (std::vector<int32_t>{ 1, 0, 0 }),
                   boost::test_tools::per_element());

        std::vector<float> decoded(6);
        const std::vector<complex> received = { { -2, 1 }, { 0.5, 0 }, { 0, 7 } };
        codec.decode_hard(received.data(), 3, labels.data(), decoded.data());
        BOOST_TEST(labels == (std::vector<int32_t>{ 1, 0, 0 }),
                   boost::test_tools::per_element());
    }
}

BOOST_AUTO_TEST_CASE(limits_of_the_noise_variance)
{
    const size_t dim = 5, size = 16;
    const auto embeddings = gaussian(size * dim, 1);
    const auto points = psk(size);
    auto symbols = scattered(points, 50, 3);
    symbols.push_back({ 1e6f, 2e6f });
    symbols.push_back({ -1e30f, 1e29f });
    const embedding_codec codec(embeddings, dim, points);
    std::vector<int32_t> labels(symbols.size());
    std::vector<float> hard(symbols.size() * dim), soft(hard.size());
    codec.decode_hard(symbols.data(), symbols.size(), labels.data(), hard.data());

    for (float n0 : { 0.0f, 1e-40f, 1e-30f, 1e-8f }) {
        codec.decode_soft(symbols.data(), symbols.size(), n0, soft.data());
        BOOST_TEST(soft == hard, boost::test_tools::per_element());
    }
    for (float n0 : { 1e20f, infinity }) {
        codec.decode_soft(symbols.data(), 50, n0, soft.data());
        for (size_t d = 0; d < dim; ++d) {
            float mean = 0;
            for (size_t j = 0; j < size; ++j)
                mean += embeddings[j * dim + d] / size;
            for (size_t n = 0; n < 50; ++n)
                BOOST_TEST(std::abs(soft[n * dim + d] - mean) < 1e-6f);
        }
    }
}

BOOST_AUTO_TEST_CASE(largest_dictionary)
{
    const size_t size = embedding_codec::max_size, dim = 16, count = 100;
    const auto embeddings = gaussian(size * dim, 1);
    const auto scatter = gaussian(2 * size, 2);
    std::vector<complex> points(size);
    for (size_t j = 0; j < size; ++j)
        points[j] = complex(scatter[2 * j], scatter[2 * j + 1]) * 0.70710678f;
    const embedding_codec codec(embeddings, dim, points);
    BOOST_TEST(std::abs(codec.average_power() - 1) < 0.1f);

    // Each embedding is nearest to itself, and so is each point.
    std::vector<int32_t> labels(size), expected(size);
    std::vector<complex> symbols(size);
    std::vector<float> slices(size * dim);
    for (size_t j = 0; j < size; ++j)
        expected[j] = j;
    codec.encode(embeddings.data(), size, labels.data(), symbols.data());
    BOOST_TEST(labels == expected, boost::test_tools::per_element());
    codec.decode_hard(points.data(), count, labels.data(), slices.data());
    BOOST_TEST(
        std::equal(slices.begin(), slices.begin() + count * dim, embeddings.begin()));
    codec.decode_soft(points.data(), count, 0.0f, slices.data());
    BOOST_TEST(
        std::equal(slices.begin(), slices.begin() + count * dim, embeddings.begin()));
}

BOOST_AUTO_TEST_CASE(widest_slices)
{
    const size_t size = 16, dim = embedding_codec::max_dim;
    const auto embeddings = gaussian(size * dim, 1);
    const embedding_codec codec(embeddings, dim, psk(size));
    std::vector<int32_t> labels(size);
    std::vector<complex> symbols(size);
    std::vector<float> slices(size * dim);
    codec.encode(embeddings.data(), size, labels.data(), symbols.data());
    codec.decode_soft(symbols.data(), size, 1e-3f, slices.data());
    BOOST_TEST(slices == embeddings, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(no_slices_are_no_error)
{
    const embedding_codec codec({ 1, 2 }, 1, psk(2));
    codec.encode(nullptr, 0, nullptr, nullptr);
    codec.decode_hard(nullptr, 0, nullptr, nullptr);
    codec.decode_soft(nullptr, 0, 1.0f, nullptr);
    BOOST_TEST(codec.size() == 2u);
    BOOST_TEST(codec.dim() == 1u);
}

BOOST_DATA_TEST_CASE(values_that_are_not_finite,
                     data::make({ infinity, -infinity, not_a_number }),
                     bad)
{
    for (auto set : available()) {
        const embedding_codec codec(
            { 1, 2, 3, 4, 5, 6 }, 3, psk(2), lookup_rule::inner_product, set);
        for (size_t place = 0; place < 120; ++place) {
            std::vector<float> slices(120, 0.5f);
            slices[place] = bad;
            std::vector<int32_t> labels(40);
            std::vector<complex> symbols(40);
            BOOST_CHECK_THROW(
                codec.encode(slices.data(), 40, labels.data(), symbols.data()),
                std::invalid_argument);
        }
        for (complex symbol : { complex(bad, 0), complex(0, bad) }) {
            int32_t label;
            float slice[3];
            BOOST_CHECK_THROW(codec.decode_hard(&symbol, 1, &label, slice),
                              std::invalid_argument);
            BOOST_CHECK_THROW(codec.decode_soft(&symbol, 1, 1.0f, slice),
                              std::invalid_argument);
        }
    }
}

BOOST_AUTO_TEST_CASE(arguments_out_of_range)
{
    const auto make = [](size_t values, size_t dim, size_t size) {
        return embedding_codec(
            std::vector<float>(values, 1), dim, std::vector<complex>(size, 1));
    };
    BOOST_CHECK_THROW(make(1, 1, 1), std::invalid_argument);
    BOOST_CHECK_THROW(make(0, 0, 4), std::invalid_argument);
    BOOST_CHECK_THROW(make(7, 2, 4), std::invalid_argument);
    BOOST_CHECK_THROW(make(4097, 1, 4097), std::invalid_argument);
    BOOST_CHECK_THROW(make(2 * 4097, 4097, 2), std::invalid_argument);
    BOOST_CHECK_THROW(embedding_codec({ not_a_number, 1 }, 1, psk(2)),
                      std::invalid_argument);
    BOOST_CHECK_THROW(embedding_codec({ 0, 1e20f }, 1, psk(2)), std::invalid_argument);
    BOOST_CHECK_THROW(embedding_codec({ 0, 1 }, 1, { 1, infinity }),
                      std::invalid_argument);
    BOOST_CHECK_THROW(embedding_codec({ 0, 1 }, 1, { 0, 0 }), std::invalid_argument);
    BOOST_CHECK_THROW(embedding_codec({ 0, 1 }, 1, { 1, 1e25f }), std::invalid_argument);
    BOOST_CHECK_THROW(lookup_rule_from("nearest"), std::invalid_argument);

    const embedding_codec codec({ 0, 1 }, 1, psk(2));
    const complex symbol = 1;
    float slice;
    BOOST_CHECK_THROW(codec.decode_soft(&symbol, 1, -1.0f, &slice),
                      std::invalid_argument);
    BOOST_CHECK_THROW(codec.decode_soft(&symbol, 1, not_a_number, &slice),
                      std::invalid_argument);
}
