/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */

// The kernels once more, without vector clones and in a namespace of their own: what
// every machine can run, to hold against what this one does run.
#define PHYDNN_VECTOR_CLONES
#define kernels generic
#include <kernels/crew.cc>
#include <kernels/emulator.cc>
#include <kernels/fading.cc>
#include <kernels/impairments.cc>
#include <kernels/noise.cc>
#include <kernels/resampler.cc>
#undef kernels

#undef INCLUDED_PHYDNN_KERNELS_CREW_H
#undef INCLUDED_PHYDNN_KERNELS_EMULATOR_H
#undef INCLUDED_PHYDNN_KERNELS_FADING_H
#undef INCLUDED_PHYDNN_KERNELS_IMPAIRMENTS_H
#undef INCLUDED_PHYDNN_KERNELS_NOISE_H
#undef INCLUDED_PHYDNN_KERNELS_PHILOX_H
#undef INCLUDED_PHYDNN_KERNELS_RESAMPLER_H
#undef INCLUDED_PHYDNN_KERNELS_WINDOW_H
#include <kernels/emulator.h>

#include <boost/test/unit_test.hpp>
#include <atomic>
#include <random>

namespace generic = gr::phydnn::generic;
using namespace gr::phydnn::kernels;

namespace {

using complex = std::complex<float>;
using signal = std::vector<complex>;

constexpr double rate = 20e6;

signal random_signal(size_t count, unsigned seed)
{
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal(0, std::sqrt(0.5f));
    signal x(count);
    for (auto& s : x)
        s = { normal(engine), normal(engine) };
    return x;
}

/*! Two nodes, taps of every kind at three times, all impairments. */
template <typename Settings>
Settings everything(bool mchem)
{
    Settings s;
    s.nodes.resize(2);
    s.nodes[0] = { "a", 3e3, 20, 10, 0.1, 0, true, true };
    s.nodes[1] = { "b", -8e3, 0, 0, 0.01, 2, true, true };
    s.times = { 0, 0.4e-3, 1.1e-3 };
    std::mt19937 engine(7);
    std::uniform_real_distribution<double> uniform(0, 1);
    const size_t taps = 5;
    for (size_t t = 0; t < s.times.size(); t++)
        for (size_t link = 0; link < 4; link++)
            for (size_t k = 0; k < taps; k++) {
                // whole and fractional ones that stay, slow and fast ones that move
                const double still = 3.0 * k + (k == 1 ? 0.25 : 0);
                const double moving = k == 3   ? 1e-3 * t
                                      : k == 4 ? 20 * uniform(engine)
                                               : 0;
                s.delays.push_back((still + moving) / rate);
                s.gains.push_back(link == 3 ? complex(0)
                                            : complex(0.3f * float(uniform(engine)),
                                                      k == 0 ? 0.2f : 0.1f * float(t)));
            }
    s.doppler_hz = { 0, 500, 0, 0 };
    s.seed = 0x123456789abcdef0;
    s.mchem = mchem;
    return s;
}

/*! Runs both nodes, cut into steps of \p longest samples at most. */
template <typename Emulator, typename Settings>
std::vector<signal> run(const Settings& settings,
                        const std::vector<signal>& sent,
                        size_t longest,
                        size_t most)
{
    Emulator emulator(settings);
    std::mt19937 engine(1);
    std::vector<size_t> used(sent.size(), 0);
    std::vector<signal> received(sent.size());
    while (used[0] < sent[0].size() || used[1] < sent[1].size()) {
        for (size_t i = 0; i < sent.size(); i++) {
            const size_t n =
                std::min<size_t>(engine() % longest, sent[i].size() - used[i]);
            emulator.put(i, sent[i].data() + used[i], n);
            used[i] += n;
        }
        while (emulator.step(most) > 0) {
        }
        for (size_t j = 0; j < sent.size(); j++) {
            const size_t n = emulator.ready(j);
            received[j].insert(received[j].end(), emulator.made(j), emulator.made(j) + n);
            emulator.take(j, n);
        }
    }
    return received;
}

} // namespace

BOOST_AUTO_TEST_CASE(every_machine_makes_the_same_bits)
{
    const std::vector<signal> x = { random_signal(30000, 1), random_signal(30000, 2) };
    for (const bool mchem : { false, true }) {
        const auto own =
            run<emulator>(everything<emulator_settings>(mchem), x, 9000, 32768);
        const auto plain = run<generic::emulator>(
            everything<generic::emulator_settings>(mchem), x, 700, 333);
        for (size_t j = 0; j < 2; j++) {
            BOOST_REQUIRE_GT(own[j].size(), 29900);
            BOOST_TEST((own[j] == plain[j]));
        }
    }
}

BOOST_AUTO_TEST_CASE(the_number_of_threads_does_not_matter)
{
    const std::vector<signal> x = { random_signal(20000, 1), random_signal(20000, 2) };
    emulator_settings s = everything<emulator_settings>(false);
    const auto one = run<emulator>(s, x, 9000, 32768);
    for (const unsigned threads : { 2u, 5u }) {
        s.threads = threads;
        BOOST_TEST((run<emulator>(s, x, 9000, 32768) == one));
    }
}

BOOST_AUTO_TEST_CASE(a_crew_makes_each_pass_once)
{
    for (const unsigned threads : { 1u, 2u, 4u }) {
        crew workers(threads);
        for (size_t count = 0; count < 200; count++) {
            std::vector<std::atomic<int>> passes(count);
            workers.run(count, [&](size_t i) { passes[i]++; });
            for (const auto& times : passes)
                BOOST_REQUIRE_EQUAL(times, 1);
        }
    }
}

BOOST_AUTO_TEST_CASE(moving_instants_do_not_depend_on_how_they_are_cut)
{
    const signal x = random_signal(6000, 3);
    constexpr std::int64_t one = std::int64_t{ 1 } << 48;
    // standing still, crawling either way, a sample each thousand, half and double speed
    for (const std::int64_t drift : { std::int64_t{ 0 },
                                      one >> 30,
                                      -(one >> 30),
                                      one >> 18,
                                      -(one >> 10),
                                      -one / 2 }) {
        constexpr size_t count = 3000;
        const std::int64_t time = one / 3;
        signal whole(count);
        interpolate_moving(x.data() + 100, time, one + drift, whole.data(), count);
        signal parts(count);
        for (size_t i = 0; i < count;) {
            const size_t n = std::min<size_t>(1 + i % 97, count - i);
            interpolate_moving(x.data() + 100 + i,
                               time + std::int64_t(i) * drift,
                               one + drift,
                               parts.data() + i,
                               n);
            i += n;
        }
        BOOST_TEST((whole == parts));
        for (size_t i = 0; i < count; i += 61) {
            const std::int64_t at = time + std::int64_t(i) * (one + drift);
            const std::int64_t phase = (at + one / 4096) >> 37;
            float weights[interpolator_length];
            interpolator_weights((phase & 2047) / 2048.0, weights);
            std::complex<double> sum = 0;
            for (size_t j = 0; j < interpolator_length; j++)
                sum += std::complex<double>(x[100 + (phase >> 11) + j - 19]) *
                       double(weights[j]);
            BOOST_REQUIRE_SMALL(std::abs(sum - std::complex<double>(whole[i])), 1e-5);
        }
    }
}

BOOST_AUTO_TEST_CASE(nothing_is_made_before_all_have_sent)
{
    emulator_settings s;
    s.nodes.resize(2);
    s.delays.assign(4, 0);
    s.gains.assign(4, 1);
    emulator e(s);
    const signal x = random_signal(100, 1);
    e.put(0, x.data(), 100);
    BOOST_TEST(e.step(1000) == 0u);
    e.put_zeros(1, 60);
    BOOST_TEST(e.step(1000) == 60u);
    BOOST_TEST(e.waiting(0) == 40u);
    BOOST_TEST(e.ready(1) == 60u);
    BOOST_TEST(std::equal(x.begin(), x.begin() + 60, e.made(1)));
    BOOST_CHECK_THROW(e.set_role(0, false, true), std::logic_error);

    emulator alone(s);
    alone.set_role(1, false, true); // a silent node is not waited for
    alone.set_role(0, true, false); // and one that is deaf gets nothing
    alone.put(0, x.data(), 100);
    BOOST_TEST(alone.step(1000) == 100u);
    BOOST_TEST(alone.ready(0) == 0u);
    BOOST_TEST(alone.ready(1) == 100u);
}
