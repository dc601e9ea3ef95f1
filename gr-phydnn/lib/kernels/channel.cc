/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "channel.h"
#include "streams.h"
#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {

using complex = std::complex<float>;

constexpr std::size_t block = 2048; // samples that go through all stages before the next
constexpr double longest_delay_s = 0.01;
constexpr double whole = 1e-6; // samples; nearer to a whole delay counts as whole

void require_range(const char* name, double value, double low, double high)
{
    if (!(value >= low && value <= high)) {
        std::ostringstream text;
        text << name << " must be in the range " << low << " to " << high << "; it is "
             << value;
        throw std::invalid_argument(text.str());
    }
}

void require_gains(const std::vector<complex>& gains, std::size_t paths, bool random)
{
    if (gains.size() != paths)
        throw std::invalid_argument(
            "gains must have one value per delay: " + std::to_string(paths) +
            " are needed, there are " + std::to_string(gains.size()));
    double power = 0;
    for (const complex& gain : gains)
        power += std::norm(std::complex<double>(gain));
    if (!std::isfinite(power))
        throw std::invalid_argument("gains must be finite numbers");
    if (random && power == 0)
        throw std::invalid_argument("gains must not all be 0 where the paths fade");
}

channel_settings validated(channel_settings s)
{
    if (!(s.sample_rate > 0 && std::isfinite(s.sample_rate)))
        throw std::invalid_argument(
            "sample_rate must be a positive number of samples per second");
    if (s.delays_s.empty())
        throw std::invalid_argument("delays_s must have at least one path");
    for (const double delay : s.delays_s) {
        require_range("delays_s", delay, 0, longest_delay_s);
        if (delay * s.sample_rate > 1e6)
            throw std::invalid_argument("delays_s must be within a million samples");
    }
    require_gains(s.gains, s.delays_s.size(), s.fading != fading_kind::fixed);
    if (s.k_factors.empty())
        s.k_factors.assign(s.delays_s.size(), 0);
    if (s.k_factors.size() != s.delays_s.size())
        throw std::invalid_argument("k_factors must have one value per delay, or none");
    for (const double k : s.k_factors)
        require_range("k_factors", k, 0, 1e9);
    require_range("doppler_hz", s.doppler_hz, 0, s.sample_rate * fading::limit_doppler);
    if (s.fading == fading_kind::doppler && s.doppler_hz == 0)
        throw std::invalid_argument(
            "doppler_hz must be above 0 where fading is by Doppler");
    if (!(s.full_scale >= 0 && std::isfinite(s.full_scale)))
        throw std::invalid_argument("full_scale must be above 0, or 0 for no converter");
    if (s.fading != fading_kind::per_frame)
        s.block_length = 0;
    return s;
}

/*! The settings' gains; those of paths that fade, with a mean total power of 1. */
std::vector<complex> scaled_gains(std::vector<complex> gains, fading_kind kind)
{
    if (kind == fading_kind::fixed)
        return gains;
    double power = 0;
    for (const complex& gain : gains)
        power += std::norm(std::complex<double>(gain));
    for (complex& gain : gains)
        gain *= static_cast<float>(1 / std::sqrt(power));
    return gains;
}

std::size_t longest_delay(const channel_settings& s)
{
    const double longest = *std::max_element(s.delays_s.begin(), s.delays_s.end());
    return static_cast<std::size_t>(std::ceil(longest * s.sample_rate));
}

} // namespace

channel::channel(const channel_settings& settings)
    : d_settings(validated(settings)),
      d_ahead(0),
      d_fading(d_settings.fading,
               scaled_gains(d_settings.gains, d_settings.fading),
               d_settings.k_factors,
               d_settings.fading == fading_kind::doppler
                   ? d_settings.doppler_hz / d_settings.sample_rate
                   : 0,
               d_settings.seed,
               d_settings.link),
      d_oscillator(d_settings.seed, d_settings.link),
      d_noise(d_settings.seed, d_settings.link, streams::receiver_noise),
      d_received(longest_delay(d_settings) + interpolator_length),
      d_faded(interpolator_before),
      d_delayed(2 * block),
      d_frames(0),
      d_summed(0),
      d_made(0),
      d_not_finite(0),
      d_clipped(0)
{
    for (const double delay_s : d_settings.delays_s) {
        const double delay = delay_s * d_settings.sample_rate;
        path p{};
        p.fractional = std::abs(delay - std::round(delay)) > whole;
        p.delay =
            static_cast<std::size_t>(p.fractional ? std::ceil(delay) : std::round(delay));
        if (p.fractional) {
            // x(n - delay) lies that fraction after x(n - p.delay)
            interpolator_weights(static_cast<double>(p.delay) - delay, p.weights);
            const std::size_t after = interpolator_length - 1 - interpolator_before;
            d_ahead = std::max(d_ahead, after - std::min(after, p.delay));
        }
        d_paths.push_back(p);
    }
    const double earliest =
        *std::min_element(d_settings.delays_s.begin(), d_settings.delays_s.end());
    d_earliest =
        static_cast<std::uint64_t>(std::llround(earliest * d_settings.sample_rate));
    set_snr_db(d_settings.snr_db);
    set_cfo_hz(d_settings.cfo_hz);
    set_sfo_ppm(d_settings.sfo_ppm);
    set_phase_noise_hz(d_settings.phase_noise_hz);
    set_iq_imbalance(d_settings.iq_amplitude_db, d_settings.iq_phase_deg);
}

void channel::set_snr_db(double snr_db)
{
    if (!(snr_db >= -100))
        throw std::invalid_argument(
            "snr_db must be -100 or more, or infinite for no noise");
    d_amplitude = static_cast<float>(std::pow(10.0, -snr_db / 20));
}

void channel::set_cfo_hz(double cfo_hz)
{
    if (!(std::abs(cfo_hz) < d_settings.sample_rate / 2))
        throw std::invalid_argument("cfo_hz must be less than half of the sample rate");
    d_oscillator.set_frequency(cfo_hz / d_settings.sample_rate);
}

void channel::set_sfo_ppm(double sfo_ppm)
{
    require_range("sfo_ppm", sfo_ppm, -sample_clock::limit_ppm, sample_clock::limit_ppm);
    d_clock.set_ppm(sfo_ppm);
}

void channel::set_phase_noise_hz(double phase_noise_hz)
{
    require_range("phase_noise_hz", phase_noise_hz, 0, d_settings.sample_rate / 100);
    d_oscillator.set_linewidth(phase_noise_hz / d_settings.sample_rate);
}

void channel::set_iq_imbalance(double amplitude_db, double phase_deg)
{
    require_range("iq_amplitude_db", amplitude_db, -20, 20);
    require_range("iq_phase_deg", phase_deg, -90, 90);
    d_iq.set(amplitude_db, phase_deg);
}

void channel::set_gains(const std::vector<complex>& gains)
{
    require_gains(gains, d_paths.size(), d_settings.fading != fading_kind::fixed);
    d_fading.set_gains(scaled_gains(gains, d_settings.fading));
}

void channel::new_frame(std::uint64_t sample)
{
    if (d_settings.fading == fading_kind::per_frame && d_settings.block_length == 0)
        d_starts.push_back(sample);
}

std::uint64_t channel::output_of(std::uint64_t sample) const
{
    const std::uint64_t next =
        d_summed - d_faded.size(); // that the sample clock has not passed
    return d_made + static_cast<std::uint64_t>(d_clock.outputs_until(
                        static_cast<std::int64_t>(sample + d_earliest - next)));
}

std::size_t channel::inputs_for(std::size_t n_out) const
{
    const std::size_t summed = d_clock.inputs_for(n_out);
    const std::size_t held = d_received.size() + d_faded.size();
    return summed > d_faded.size() && summed + d_ahead > held ? summed + d_ahead - held
                                                              : 0;
}

void channel::run_paths(std::size_t n)
{
    complex* sum = d_faded.room(n);
    std::fill_n(sum, n, complex(0));
    // The frames that these samples belong to: the same for every path.
    const std::uint64_t end = d_summed + n;
    const std::uint64_t length = d_settings.block_length;
    for (std::uint64_t first = d_summed; first < end;) {
        std::uint64_t frame = 0;
        std::uint64_t last = end;
        if (length > 0) {
            frame = first / length;
            last = std::min(end, (frame + 1) * length);
        } else {
            while (!d_starts.empty() && d_starts.front() <= first) {
                d_starts.pop_front();
                d_frames++;
            }
            frame = d_frames - std::min<std::uint64_t>(d_frames, 1);
            if (!d_starts.empty())
                last = std::min(end, d_starts.front());
        }
        const std::size_t offset = first - d_summed;
        const std::size_t count = last - first;
        for (std::size_t k = 0; k < d_paths.size(); k++) {
            const path& p = d_paths[k];
            const complex* in = d_received.next() + offset - p.delay;
            if (p.fractional) {
                interpolate(in - interpolator_before, p.weights, d_delayed.data(), count);
                in = d_delayed.data();
            }
            d_fading.apply(k, frame, first, in, sum + offset, count);
        }
        first = last;
    }
    d_faded.put(n);
    d_received.drop(n);
    d_summed = end;
}

std::size_t channel::work(const complex* in,
                          std::size_t n_in,
                          complex* out,
                          std::size_t n_out,
                          std::size_t& consumed)
{
    consumed = 0;
    std::size_t produced = 0;
    while (produced < n_out) {
        const std::size_t wanted = std::min(n_out - produced, block);

        const std::size_t take = std::min(inputs_for(wanted), n_in - consumed);
        complex* room = d_received.room(take);
        d_not_finite += copy_finite(in + consumed, room, take);
        d_received.put(take);
        consumed += take;

        const std::size_t sums = d_clock.inputs_for(wanted);
        run_paths(std::min(sums - std::min(sums, d_faded.size()),
                           d_received.size() - std::min(d_received.size(), d_ahead)));

        std::size_t used = 0;
        complex* y = out + produced;
        const std::size_t n =
            d_clock.run(d_faded.next(), d_faded.size(), y, wanted, used);
        d_faded.drop(used);
        d_oscillator.rotate(d_made, y, n);
        d_iq.apply(y, n);
        if (d_amplitude > 0)
            d_noise.add(d_made, d_amplitude, y, n);
        if (d_settings.full_scale > 0)
            d_clipped += quantise_sc16(static_cast<float>(d_settings.full_scale), y, n);
        produced += n;
        d_made += n;
        if (n < wanted)
            break;
    }
    return produced;
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
