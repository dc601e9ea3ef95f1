/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include <kernels/csi.h>
#include <kernels/equalizer.h>
#include <kernels/sequences.h>
#include <kernels/synchronizer.h>
#include <kernels/transmitter.h>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <complex>
#include <random>

using namespace gr::phydnn;
using namespace gr::phydnn::kernels;
namespace data = boost::unit_test::data;

namespace {

using signal = std::vector<gr_complex>;

signal qpsk(size_t count, unsigned seed)
{
    std::mt19937 engine(seed);
    signal symbols(count);
    for (auto& s : symbols)
        s = gr_complex(engine() & 1 ? 0.70710678f : -0.70710678f,
                       engine() & 1 ? 0.70710678f : -0.70710678f);
    return symbols;
}

void add_noise(signal& x, double snr_db, unsigned seed)
{
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal(0,
                                           std::sqrt(std::pow(10.0, -snr_db / 10) / 2));
    for (auto& s : x)
        s += gr_complex(normal(engine), normal(engine));
}

void append_frame(signal& out,
                  const numerology& n,
                  const signal& payload,
                  uint32_t number,
                  bool precoded = false,
                  uint32_t bundle = 0)
{
    transmitter tx(n);
    frame_header header;
    header.uses = uint32_t(payload.size());
    header.frame_number = number;
    header.precoded = precoded;
    header.bundle_id = bundle;
    const size_t before = out.size();
    out.resize(before + n.frame_samples(payload.size()));
    tx.frame(header, payload.data(), 1.0f, &out[before]);
}

std::vector<reception>
receive(synchronizer& rx, const signal& x, size_t chunk = size_t(-1))
{
    std::vector<reception> frames;
    for (size_t i = 0; i < x.size(); i += std::min(chunk, x.size() - i))
        rx.process(&x[i], std::min(chunk, x.size() - i), [&](reception&& frame) {
            frames.push_back(std::move(frame));
        });
    return frames;
}

double error_power(const numerology& n, const reception& frame, const signal& payload)
{
    csi_estimator estimator(n);
    equalizer eq(n);
    const auto e =
        estimator.estimate(frame.grid.data(), payload.size(), smoothing::window);
    signal symbols(payload.size());
    std::vector<float> n0(payload.size());
    eq.equalize(frame.grid.data(),
                e.refined.data(),
                e.n0,
                payload.size(),
                frame.header.precoded,
                symbols.data(),
                n0.data());
    double power = 0;
    for (size_t i = 0; i < payload.size(); i++)
        power += std::norm(symbols[i] - payload[i]);
    return power / double(payload.size());
}

} // namespace

BOOST_AUTO_TEST_CASE(gold_sequence_starts_as_in_the_standard)
{
    // x1 of TS 36.211 alone (c_init = 0): x1(1600 … 1615), computed from its recurrence
    // by hand.
    const auto c = gold(0, 64);
    std::vector<uint8_t> x1(1664 + 31);
    x1[0] = 1;
    for (size_t i = 0; i + 31 < x1.size(); i++)
        x1[i + 31] = x1[i + 3] ^ x1[i];
    for (size_t i = 0; i < 64; i++)
        BOOST_TEST(c[i] == x1[1600 + i]);
}

BOOST_AUTO_TEST_CASE(zadoff_chu_has_unit_modulus_and_no_autocorrelation)
{
    const unsigned length = 223; // a prime: no extension
    const auto z = zadoff_chu(25, length);
    for (unsigned lag = 0; lag < length; lag++) {
        std::complex<double> sum;
        for (unsigned k = 0; k < length; k++)
            sum += std::complex<double>(z[k]) *
                   std::conj(std::complex<double>(z[(k + lag) % length]));
        BOOST_TEST(std::abs(sum - (lag ? 0.0 : double(length))) < 1e-3);
    }
}

BOOST_AUTO_TEST_CASE(header_survives_one_in_twelve_bits_wrong)
{
    header_codec codec;
    frame_header header;
    header.kind = 9;
    header.precoded = true;
    header.frame_number = 0xdeadbeef;
    header.bundle_id = 0x12345678;
    header.uses = 0xabcdef;
    auto bits = codec.encode(header);
    BOOST_TEST(bits.size() == header_codec::coded_bits);
    std::vector<float> soft(bits.size());
    for (size_t i = 0; i < bits.size(); i++)
        soft[i] = (bits[i] ? 1.0f : -1.0f) * (i % 12 == 5 ? -1.0f : 1.0f);
    const auto found = codec.decode(soft.data());
    BOOST_REQUIRE(found.has_value());
    BOOST_TEST(found->kind == header.kind);
    BOOST_TEST(found->precoded == header.precoded);
    BOOST_TEST(found->frame_number == header.frame_number);
    BOOST_TEST(found->bundle_id == header.bundle_id);
    BOOST_TEST(found->uses == header.uses);
}

BOOST_AUTO_TEST_CASE(header_refuses_what_does_not_fit)
{
    header_codec codec;
    frame_header header;
    header.uses = 0;
    BOOST_CHECK_THROW(codec.encode(header), std::invalid_argument);
    header.uses = 1u << 24;
    BOOST_CHECK_THROW(codec.encode(header), std::invalid_argument);
    header.uses = 1;
    header.kind = 16;
    BOOST_CHECK_THROW(codec.encode(header), std::invalid_argument);
    std::vector<float> nothing(header_codec::coded_bits, 0.0f);
    BOOST_TEST(!codec.decode(nothing.data()).has_value());
    nothing[3] = NAN;
    BOOST_TEST(!codec.decode(nothing.data()).has_value());
}

BOOST_AUTO_TEST_CASE(parse_refuses_random_bytes)
{
    std::mt19937 engine(1);
    unsigned accepted = 0;
    for (int trial = 0; trial < 200000; trial++) {
        std::array<uint8_t, header_codec::bytes> packed;
        for (auto& byte : packed)
            byte = uint8_t(engine());
        accepted += header_codec::parse(packed).has_value();
    }
    BOOST_TEST(accepted == 0u); // a CRC of 24 bits lets one in 16.8 million pass
}

BOOST_DATA_TEST_CASE(every_preset_carries_every_length,
                     data::make({ "wide", "long", "short" }) *
                         data::make({ 1, 100, 448, 7000 }) * data::make({ false, true }),
                     preset,
                     uses,
                     precoded)
{
    const auto n = numerology::preset(preset);
    const auto payload = qpsk(size_t(uses), 3);
    signal x(777);
    append_frame(x, n, payload, 0, precoded);
    x.resize(x.size() + 128);
    add_noise(x, 60, 5);
    synchronizer rx(n, 1e-8, 1 << 18, 0);
    const auto frames = receive(rx, x);
    BOOST_REQUIRE(frames.size() == 1u);
    BOOST_TEST(frames[0].sample_index == 777u);
    BOOST_TEST(10 * std::log10(error_power(n, frames[0], payload)) < -45);
}

BOOST_DATA_TEST_CASE(same_frames_however_the_samples_are_cut,
                     data::make({ 1, 7, 1000, 8191, 100000 }),
                     chunk)
{
    const auto n = numerology::preset("wide");
    signal x(3000);
    for (uint32_t i = 0; i < 3; i++) {
        append_frame(x, n, qpsk(5000, i), i);
        x.resize(x.size() + 500);
    }
    add_noise(x, 3, 9);
    synchronizer whole(n, 1e-8, 1 << 18, 0), cut(n, 1e-8, 1 << 18, 0);
    const auto expected = receive(whole, x), frames = receive(cut, x, size_t(chunk));
    BOOST_REQUIRE(expected.size() == 3u);
    BOOST_REQUIRE(frames.size() == 3u);
    for (size_t i = 0; i < 3; i++) {
        BOOST_TEST(frames[i].cfo == expected[i].cfo);
        BOOST_TEST(frames[i].sample_index == expected[i].sample_index);
        BOOST_TEST((frames[i].grid == expected[i].grid));
    }
}

BOOST_AUTO_TEST_CASE(a_cut_frame_is_erased_and_the_next_one_arrives)
{
    const auto n = numerology::preset("wide");
    signal x(1000);
    append_frame(x, n, qpsk(60000, 1), 0);
    x.resize(30000); // in mid-frame
    x.resize(35000);
    append_frame(x, n, qpsk(4000, 2), 1);
    x.resize(x.size() + 60000);
    add_noise(x, 12, 3);
    synchronizer rx(n, 1e-8, 1 << 18, 0);
    const auto frames = receive(rx, x);
    BOOST_REQUIRE(frames.size() == 2u);
    BOOST_TEST(int(frames[0].reason) == int(erasure::cut));
    BOOST_TEST(frames[0].header.frame_number == 0u);
    BOOST_TEST(frames[0].grid.empty());
    BOOST_TEST(int(frames[1].reason) == int(erasure::none));
    BOOST_TEST(frames[1].header.frame_number == 1u);
    BOOST_TEST(10 * std::log10(error_power(n, frames[1], qpsk(4000, 2))) < -11.5);
}

BOOST_AUTO_TEST_CASE(skipped_numbers_are_erasures_in_their_place)
{
    const auto n = numerology::preset("wide");
    signal x(100);
    for (uint32_t number : { 4u, 5u, 8u })
        append_frame(x, n, qpsk(100, number), number);
    append_frame(x, n, qpsk(100, 0), 0); // a transmitter that starts anew
    x.resize(x.size() + 8000);
    add_noise(x, 20, 3);
    synchronizer rx(n, 1e-8, 1 << 18, 0);
    const auto frames = receive(rx, x);
    std::vector<std::pair<uint32_t, int>> got;
    for (const auto& f : frames)
        got.emplace_back(f.header.frame_number, int(f.reason));
    const std::vector<std::pair<uint32_t, int>> expected = {
        { 4, 0 }, { 5, 0 }, { 6, 1 }, { 7, 1 }, { 8, 0 }, { 0, 0 }
    };
    BOOST_TEST((got == expected));
    BOOST_TEST(rx.counts().lost == 2u);
    BOOST_TEST(rx.counts().restarts == 1u);
}

BOOST_AUTO_TEST_CASE(another_bundle_is_reported_and_not_decoded)
{
    const auto n = numerology::preset("wide");
    signal x(100);
    append_frame(x, n, qpsk(1000, 1), 0, false, 77);
    append_frame(x, n, qpsk(1000, 2), 1, false, 42);
    x.resize(x.size() + 1000);
    add_noise(x, 20, 3);
    synchronizer rx(n, 1e-8, 1 << 18, 42);
    const auto frames = receive(rx, x);
    BOOST_REQUIRE(frames.size() == 2u);
    BOOST_TEST(int(frames[0].reason) == int(erasure::bundle));
    BOOST_TEST(frames[0].grid.empty());
    BOOST_TEST(int(frames[1].reason) == int(erasure::none));
    BOOST_TEST(rx.counts().bundle_mismatches == 1u);
}

BOOST_AUTO_TEST_CASE(a_payload_beyond_the_bound_takes_no_memory)
{
    const auto n = numerology::preset("wide");
    signal x(100);
    append_frame(x, n, qpsk(5000, 1), 0);
    append_frame(x, n, qpsk(900, 2), 1);
    x.resize(x.size() + 8000);
    add_noise(x, 20, 3);
    synchronizer rx(n, 1e-8, 1000, 0);
    const auto frames = receive(rx, x);
    BOOST_REQUIRE(frames.size() == 1u);
    BOOST_TEST(frames[0].header.frame_number == 1u);
    BOOST_TEST(rx.counts().header_errors == 1u);
}

BOOST_AUTO_TEST_CASE(bad_samples_touch_only_their_own_frame)
{
    const auto n = numerology::preset("wide");
    signal x(100);
    for (uint32_t i = 0; i < 3; i++) {
        append_frame(x, n, qpsk(2000, i), i);
        x.resize(x.size() + 300);
    }
    x.resize(x.size() + 4000);
    add_noise(x, 20, 3);
    const size_t frame = n.frame_samples(2000) + 300;
    x[50] = gr_complex(NAN, 0);
    x[100 + frame + 5000] = gr_complex(INFINITY, -INFINITY);
    x[100 + frame + 5001] = gr_complex(1e30f, 1e30f);
    synchronizer rx(n, 1e-8, 1 << 18, 0);
    const auto frames = receive(rx, x);
    BOOST_REQUIRE(frames.size() == 3u);
    BOOST_TEST(rx.counts().bad_samples == 3u);
    for (uint32_t i = 0; i < 3; i++) {
        BOOST_TEST(frames[i].header.frame_number == i);
        BOOST_TEST(10 * std::log10(error_power(n, frames[i], qpsk(2000, i))) <
                   (i == 1 ? -15 : -19.5));
    }
}

BOOST_AUTO_TEST_CASE(starting_in_mid_frame_finds_the_next)
{
    const auto n = numerology::preset("wide");
    signal x;
    append_frame(x, n, qpsk(20000, 1), 5);
    append_frame(x, n, qpsk(2000, 2), 6);
    x.resize(x.size() + 4000);
    add_noise(x, 12, 3);
    x.erase(x.begin(), x.begin() + 9000);
    synchronizer rx(n, 1e-8, 1 << 18, 0);
    const auto frames = receive(rx, x);
    BOOST_REQUIRE(frames.size() == 1u);
    BOOST_TEST(frames[0].header.frame_number == 6u);
}

BOOST_AUTO_TEST_CASE(of_two_colliding_frames_at_most_one_is_decoded)
{
    const auto n = numerology::preset("wide");
    signal first(1000), second(9000);
    append_frame(first, n, qpsk(10000, 1), 0);
    append_frame(second, n, qpsk(10000, 2), 1);
    const size_t end = std::max(first.size(), second.size());
    first.resize(end);
    second.resize(end);
    signal x(end);
    for (size_t i = 0; i < end; i++)
        x[i] = first[i] + second[i];
    append_frame(x, n, qpsk(1000, 3), 2);
    x.resize(x.size() + 4000);
    add_noise(x, 20, 3);
    synchronizer rx(n, 1e-8, 1 << 18, 0);
    const auto frames = receive(rx, x);
    // Frame 0 was there first; frame 1 is missed, which the number of frame 2 tells.
    BOOST_REQUIRE(frames.size() == 3u);
    BOOST_TEST(frames[0].header.frame_number == 0u);
    BOOST_TEST(frames[1].header.frame_number == 1u);
    BOOST_TEST(int(frames[1].reason) == int(erasure::lost));
    BOOST_TEST(frames[2].header.frame_number == 2u);
    BOOST_TEST(10 * std::log10(error_power(n, frames[2], qpsk(1000, 3))) < -19);
}

BOOST_AUTO_TEST_CASE(parameters_out_of_range_are_refused)
{
    const auto n = numerology::preset("wide");
    BOOST_CHECK_THROW(numerology::preset("narrow"), std::invalid_argument);
    BOOST_CHECK_THROW(synchronizer(n, 0.5, 1000, 0), std::invalid_argument);
    BOOST_CHECK_THROW(synchronizer(n, NAN, 1000, 0), std::invalid_argument);
    BOOST_CHECK_THROW(synchronizer(n, 1e-8, 0, 0), std::invalid_argument);
    BOOST_CHECK_THROW(smoothing_from_name("cubic"), std::invalid_argument);
    numerology odd = n;
    odd.fft_size = 500;
    BOOST_CHECK_THROW(transmitter{ odd }, std::invalid_argument);
    odd = n;
    odd.used = 446;
    BOOST_CHECK_THROW(equalizer{ odd }, std::invalid_argument);
}
