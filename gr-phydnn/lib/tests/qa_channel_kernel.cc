/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include <kernels/channel.h>
#include <kernels/vector_math.h>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

using namespace gr::phydnn::kernels;
namespace data = boost::unit_test::data;

namespace {

using complex = std::complex<float>;
using signal = std::vector<complex>;

signal random_signal(size_t count)
{
    std::mt19937 engine(1);
    std::normal_distribution<float> normal(0, std::sqrt(0.5f));
    signal x(count);
    for (auto& s : x)
        s = { normal(engine), normal(engine) };
    return x;
}

/*! Runs x, cut into inputs and room of at most \p longest samples by a generator of that
 * seed. */
signal run(channel& line, const signal& x, size_t longest, unsigned seed = 0)
{
    std::mt19937 engine(seed);
    signal y;
    signal out(longest);
    size_t taken = 0;
    for (int idle = 0; idle < 20;) {
        const size_t n_in =
            std::min<size_t>(seed ? engine() % (longest + 1) : longest, x.size() - taken);
        const size_t n_out = seed ? engine() % (longest + 1) : longest;
        size_t consumed = 0;
        const size_t made =
            line.work(x.data() + taken, n_in, out.data(), n_out, consumed);
        BOOST_REQUIRE(made <= n_out && consumed <= n_in);
        y.insert(y.end(), out.begin(), out.begin() + made);
        taken += consumed;
        idle = taken == x.size() && made == 0 ? idle + 1 : 0;
    }
    return y;
}

channel_settings five_paths()
{
    channel_settings s;
    s.delays_s = { 0, 130e-9, 310e-9, 500e-9, 777e-9 };
    s.gains = { { 0.8f, 0 }, { 0.4f, 0.2f }, { 0.1f, 0.3f }, { 0, 0.2f }, { 0.1f, 0 } };
    return s;
}

channel_settings everything(fading_kind fading)
{
    channel_settings s = five_paths();
    s.fading = fading;
    s.doppler_hz = 2000;
    s.snr_db = 12;
    s.cfo_hz = -8000;
    s.sfo_ppm = 37;
    s.phase_noise_hz = 100;
    s.iq_amplitude_db = 0.5;
    s.iq_phase_deg = 2;
    s.full_scale = 4;
    s.seed = 0x123456789abcdef0;
    s.link = 7;
    return s;
}

} // namespace

BOOST_TEST_DONT_PRINT_LOG_VALUE(gr::phydnn::kernels::fading_kind)

// The known-answer vectors that come with Random123.
BOOST_AUTO_TEST_CASE(philox_known_answers)
{
    constexpr uint32_t ones = 0xffffffff;
    BOOST_TEST((philox4x32({ 0, 0, 0, 0 }, { 0, 0 }) ==
                philox_counter{ 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 }));
    BOOST_TEST((philox4x32({ ones, ones, ones, ones }, { ones, ones }) ==
                philox_counter{ 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd }));
    BOOST_TEST((philox4x32({ 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
                           { 0xa4093822, 0x299f31d0 }) ==
                philox_counter{ 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 }));
}

// Also across the carry of the counter's low word.
BOOST_DATA_TEST_CASE(
    noise_is_a_function_of_the_index,
    data::make({ uint64_t{ 0 }, uint64_t{ 13 }, (uint64_t{ 1 } << 33) - 700 }),
    first)
{
    const noise source(5, 6, 7);
    signal whole(3000);
    source.generate(first, whole.data(), whole.size());
    std::mt19937 engine(3);
    for (int trial = 0; trial < 200; trial++) {
        const size_t begin = engine() % whole.size();
        const size_t count = engine() % (whole.size() - begin);
        signal part(count);
        source.generate(first + begin, part.data(), count);
        BOOST_REQUIRE(std::equal(part.begin(), part.end(), whole.begin() + begin));
    }
    // by the definition, in double precision
    for (size_t i = 0; i < whole.size(); i++) {
        const auto words = source.words((first + i) / 2);
        const size_t half = 2 * ((first + i) % 2);
        const float u = (float(words[half]) + 0.5f) * 0x1p-32f;
        const double angle = 2 * M_PI * words[half + 1] * 0x1p-32;
        const auto expected = std::polar(std::sqrt(-std::log(double(u))), angle);
        BOOST_REQUIRE_SMALL(std::abs(std::complex<double>(whole[i]) - expected), 1e-6);
    }
}

BOOST_DATA_TEST_CASE(
    output_does_not_depend_on_the_cuts,
    data::make({ fading_kind::fixed, fading_kind::per_frame, fading_kind::doppler }) *
        data::make({ 3, 60, 5000 }),
    kind,
    longest)
{
    const auto settings = everything(kind);
    const signal x = random_signal(20000);
    const auto with_frames = [&] {
        channel line(settings);
        for (uint64_t start = 100; start < x.size(); start += 3001)
            line.new_frame(start);
        return line;
    };
    channel whole = with_frames();
    channel parts = with_frames();
    const signal expected = run(whole, x, x.size());
    BOOST_TEST(expected.size() > x.size() - 45);
    BOOST_TEST((run(parts, x, size_t(longest), 99) == expected));
    BOOST_TEST(parts.clipped() == whole.clipped());
}

// The same bits on every machine: SSE2, AVX2 and AVX-512 gave this hash (FNV-1a).
BOOST_AUTO_TEST_CASE(output_is_the_same_everywhere)
{
    signal x(20000);
    noise(1, 2, 3).generate(0, x.data(), x.size());
    uint64_t hash = 0xcbf29ce484222325;
    for (const auto kind :
         { fading_kind::fixed, fading_kind::per_frame, fading_kind::doppler }) {
        auto settings = everything(kind);
        settings.block_length = 3000;
        channel line(settings);
        for (const complex& sample : run(line, x, 4096))
            for (const float part : { sample.real(), sample.imag() })
                hash = (hash ^ bits_as<uint32_t>(part)) * 0x100000001b3;
    }
    BOOST_TEST(hash == 0xab25f0d097740ddc);
}

BOOST_AUTO_TEST_CASE(a_wire_passes_everything)
{
    channel wire{ channel_settings() };
    const signal x = random_signal(10000);
    BOOST_TEST((run(wire, x, 4096) == x));
}

// A frame's gains start at its first sample, to the sample.
BOOST_AUTO_TEST_CASE(fades_start_with_frames)
{
    channel_settings s;
    s.fading = fading_kind::per_frame;
    channel line(s);
    const std::vector<uint64_t> starts = { 10, 500, 501, 2900 };
    for (const auto start : starts)
        line.new_frame(start);
    const signal y = run(line, signal(5000, complex(1)), 700);
    const fading gains(s.fading, s.gains, { 0 }, 0, s.seed, s.link);
    BOOST_REQUIRE_EQUAL(y.size(), 5000);
    for (size_t i = 0; i < y.size(); i++) {
        const auto begun =
            std::upper_bound(starts.begin(), starts.end(), i) - starts.begin();
        BOOST_REQUIRE_EQUAL(y[i],
                            gains.gain(0, uint64_t(std::max<ptrdiff_t>(begun, 1) - 1)));
    }
}

// NaN and infinity touch the one sample that they replace by 0; the filters forget it.
BOOST_AUTO_TEST_CASE(samples_that_are_not_finite)
{
    signal x = random_signal(3000);
    signal zeroed = x;
    x[1000] = { std::numeric_limits<float>::quiet_NaN(), 0 };
    x[1001] = { 1, -std::numeric_limits<float>::infinity() };
    zeroed[1000] = zeroed[1001] = 0;
    for (const auto kind : { fading_kind::fixed, fading_kind::doppler }) {
        channel line(everything(kind));
        channel reference(everything(kind));
        BOOST_TEST((run(line, x, 512) == run(reference, zeroed, 512)));
        BOOST_TEST(line.not_finite() == 2);
        BOOST_TEST(reference.not_finite() == 0);
    }
}

// Overflow inside the channel leaves no trace either.
BOOST_AUTO_TEST_CASE(overflow_passes)
{
    signal x = random_signal(3000);
    channel reference(five_paths());
    const signal expected = run(reference, x, 512);
    channel line(five_paths());
    x[1000] = { 3e38f, -3e38f };
    const signal y = run(line, x, 512);
    BOOST_TEST(std::equal(y.begin(), y.begin() + 900, expected.begin()));
    BOOST_TEST(std::equal(y.begin() + 1100, y.end(), expected.begin() + 1100));
}

BOOST_AUTO_TEST_CASE(samples_wanted_are_samples_needed)
{
    for (const double ppm : { -1000.0, 0.0, 3.0, 1000.0 }) {
        channel_settings s = five_paths();
        s.sfo_ppm = ppm;
        channel line(s);
        const signal x(40000, complex(1));
        signal out(9000);
        for (const size_t n : { 1, 17, 2048, 2049, 9000, 3 }) {
            const size_t needed = line.inputs_for(n);
            size_t consumed = 0;
            channel starved = line;
            if (needed > 0)
                BOOST_TEST(starved.work(x.data(), needed - 1, out.data(), n, consumed) ==
                           n - 1);
            BOOST_TEST(line.work(x.data(), x.size(), out.data(), n, consumed) == n);
            BOOST_TEST(consumed == needed);
        }
    }
}

BOOST_AUTO_TEST_CASE(settings_out_of_range)
{
    const auto rejects = [](const std::string& name, auto change) {
        channel_settings s = everything(fading_kind::doppler);
        change(s);
        BOOST_CHECK_EXCEPTION(
            channel{ s }, std::invalid_argument, [&](const auto& error) {
                return std::string(error.what()).find(name) == 0;
            });
    };
    const double nan = std::nan("");
    for (const double bad : { 0.0, -1.0, nan, HUGE_VAL })
        rejects("sample_rate", [&](auto& s) { s.sample_rate = bad; });
    for (const double bad : { -101.0, nan, -HUGE_VAL })
        rejects("snr_db", [&](auto& s) { s.snr_db = bad; });
    for (const double bad : { 10e6, -10e6, nan })
        rejects("cfo_hz", [&](auto& s) { s.cfo_hz = bad; });
    for (const double bad : { 1001.0, -1001.0, nan })
        rejects("sfo_ppm", [&](auto& s) { s.sfo_ppm = bad; });
    for (const double bad : { -1.0, 1e6, nan })
        rejects("phase_noise_hz", [&](auto& s) { s.phase_noise_hz = bad; });
    for (const double bad : { 21.0, nan })
        rejects("iq_amplitude_db", [&](auto& s) { s.iq_amplitude_db = bad; });
    for (const double bad : { -91.0, nan })
        rejects("iq_phase_deg", [&](auto& s) { s.iq_phase_deg = bad; });
    for (const double bad : { -1.0, nan, HUGE_VAL })
        rejects("full_scale", [&](auto& s) { s.full_scale = bad; });
    for (const double bad : { -1.0, 0.0, 1e6, nan })
        rejects("doppler_hz", [&](auto& s) { s.doppler_hz = bad; });
    for (const double bad : { -1e-9, 0.02, nan })
        rejects("delays_s", [&](auto& s) { s.delays_s[1] = bad; });
    rejects("delays_s", [](auto& s) { s.delays_s.clear(); });
    rejects("gains", [](auto& s) { s.gains.pop_back(); });
    rejects("gains", [&](auto& s) { s.gains[0] = { float(nan), 0 }; });
    rejects("gains", [](auto& s) { s.gains.assign(5, { 0 }); });
    rejects("k_factors", [](auto& s) { s.k_factors = { 1 }; });
    rejects("k_factors", [](auto& s) { s.k_factors.assign(5, -1); });
}
