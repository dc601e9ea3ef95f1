/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "emulator.h"
#include "streams.h"
#include "vector_math.h"
#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {

using complex = std::complex<float>;
using precise = std::complex<double>;

constexpr std::size_t block = 2048; // samples that go through all stages before the next
constexpr std::uint64_t grid =
    1024; // samples from one evaluation of moving taps to the next
constexpr std::uint64_t forever = std::numeric_limits<std::uint64_t>::max();
constexpr double whole = 1e-6;       // samples; nearer to a whole delay counts as whole
constexpr std::size_t farthest = 21; // samples ahead that an interpolator may see
constexpr std::size_t filter_granule = 8;    // taps that filter_add() takes at a time
constexpr std::size_t rest_of_path = 10;     // its work beside filters, in filter taps
constexpr double one_time = 281474976710656; // 2^48, the unit of interpolate_moving()

constexpr double mchem_grid = 10e-9;  // s
constexpr double mchem_period = 1e-3; // s
constexpr long mchem_line = 512;      // steps of the grid: 5.12 us
constexpr std::size_t mchem_taps = 4;
constexpr double mchem_weakest = 0.0070794578438413795; // -43 dB
constexpr double mchem_steps = 32767;

// Sixteen floats, whatever the machine's registers; see resampler.cc.
typedef float lanes __attribute__((vector_size(64), aligned(4), may_alias));
constexpr std::size_t pairs = 8; // complex samples in them

const lanes& lanes_at(const float* x) { return *reinterpret_cast<const lanes*>(x); }
lanes& lanes_at(float* x) { return *reinterpret_cast<lanes*>(x); }

/*! Real and imaginary parts change places. */
#define PHYDNN_SWAPPED(x) \
    __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)

// One for each real, one for each imaginary part.
const float signs[16] = { -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1 };
const float ramp[16] = { 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7 };

/*! out[i] += gain in[i] */
PHYDNN_VECTOR_CLONES
void add_scaled(const float* in, complex gain, float* out, std::size_t n)
{
    const float re = gain.real();
    const float im = gain.imag();
    const lanes crossed = im * lanes_at(signs);
    std::size_t i = 0;
    for (; i + pairs <= n; i += pairs) {
        const lanes x = lanes_at(in + 2 * i);
        lanes_at(out + 2 * i) += re * x + crossed * PHYDNN_SWAPPED(x);
    }
    for (; i < n; i++) {
        out[2 * i] += re * in[2 * i] + -im * in[2 * i + 1];
        out[2 * i + 1] += re * in[2 * i + 1] + im * in[2 * i];
    }
}

/*! As add_scaled with gain + slope (offset + i) for sample i. */
PHYDNN_VECTOR_CLONES
void add_ramped(
    const float* in, complex gain, complex slope, float offset, float* out, std::size_t n)
{
    const lanes crossed = gain.imag() * lanes_at(signs);
    const lanes crossed_slope = slope.imag() * lanes_at(signs);
    lanes t = offset + lanes_at(ramp);
    std::size_t i = 0;
    for (; i + pairs <= n; i += pairs, t += static_cast<float>(pairs)) {
        const lanes x = lanes_at(in + 2 * i);
        lanes_at(out + 2 * i) += (gain.real() + slope.real() * t) * x +
                                 (crossed + crossed_slope * t) * PHYDNN_SWAPPED(x);
    }
    for (; i < n; i++) {
        const float at = offset + static_cast<float>(i);
        const float re = gain.real() + slope.real() * at;
        const float im = gain.imag() + slope.imag() * at;
        out[2 * i] += re * in[2 * i] + -im * in[2 * i + 1];
        out[2 * i + 1] += re * in[2 * i + 1] + im * in[2 * i];
    }
}

#undef PHYDNN_SWAPPED

const float* floats(const complex* x) { return reinterpret_cast<const float*>(x); }
float* floats(complex* x) { return reinterpret_cast<float*>(x); }

void require_range(const char* name, double value, double low, double high)
{
    if (!(value >= low && value <= high)) {
        std::ostringstream text;
        text << name << " must be in the range " << low << " to " << high << "; it is "
             << value;
        throw std::invalid_argument(text.str());
    }
}

void require_taps(const double* delays,
                  const complex* gains,
                  std::size_t count,
                  double line)
{
    for (std::size_t i = 0; i < count; i++) {
        if (!(delays[i] >= 0 && delays[i] <= line * (1 + 1e-9))) {
            std::ostringstream text;
            text << "delays must be within the line, 0 to " << line << " s; one is "
                 << delays[i];
            throw std::invalid_argument(text.str());
        }
        if (!std::isfinite(gains[i].real()) || !std::isfinite(gains[i].imag()))
            throw std::invalid_argument("gains must be finite numbers");
    }
}

emulator_settings validated(emulator_settings s)
{
    if (!(s.sample_rate > 0 && std::isfinite(s.sample_rate)))
        throw std::invalid_argument(
            "sample_rate must be a positive number of samples per second");
    const std::size_t n = s.nodes.size();
    if (n == 0)
        throw std::invalid_argument("nodes must have one node at least");
    if (s.times.empty())
        s.times = { 0 };
    for (std::size_t t = 0; t < s.times.size(); t++)
        if (!std::isfinite(s.times[t]) || s.times[t] < 0 ||
            (t > 0 && s.times[t] <= s.times[t - 1]))
            throw std::invalid_argument(
                "times must be 0 or more and rise from one to the next");
    const std::size_t links = s.times.size() * n * n;
    if (s.delays.size() != s.gains.size() || s.delays.size() % links != 0)
        throw std::invalid_argument("delays and gains must have one value per time, "
                                    "transmitter, receiver and tap");
    for (auto* matrix : { &s.scale, &s.doppler_hz })
        if (!matrix->empty() && matrix->size() != n * n)
            throw std::invalid_argument(
                "scale and doppler_hz must have one value per transmitter and receiver");
    s.scale.resize(n * n, 1);
    s.doppler_hz.resize(n * n, 0);
    for (const double scale : s.scale)
        require_range("scale", scale, 0, 1e6);
    for (const double doppler : s.doppler_hz)
        require_range("doppler_hz", doppler, 0, s.sample_rate * fading::limit_doppler);
    const double limit = emulator::limit_delay / s.sample_rate;
    require_range("line", s.line, 0, limit);
    require_taps(
        s.delays.data(), s.gains.data(), s.delays.size(), s.line > 0 ? s.line : limit);
    if (s.line == 0) {
        s.line = mchem_grid * mchem_line;
        for (const double delay : s.delays)
            s.line = std::max(s.line, delay);
    }
    for (const emulated_node& node : s.nodes) {
        if (!(std::abs(node.cfo_hz) < s.sample_rate / 2))
            throw std::invalid_argument(
                "cfo_hz must be less than half of the sample rate");
        require_range(
            "sfo_ppm", node.sfo_ppm, -sample_clock::limit_ppm, sample_clock::limit_ppm);
        require_range("phase_noise_hz", node.phase_noise_hz, 0, s.sample_rate / 100);
        require_range("noise", node.noise, 0, 1e12);
        require_range("full_scale", node.full_scale, 0, 1e12);
    }
    return s;
}

/*! A tap over a piece of a link, its gain on a line. */
struct tap {
    precise gain;       // at the piece's first sample
    precise gain_slope; // per sample
    double delay;       // samples, there
    double delay_slope;
};

} // namespace

/*! Weights of the interpolators that links use: few fractions, over and over. */
class emulator::weights_memory
{
public:
    using weights = std::array<float, interpolator_length>;
    const weights& operator()(double fraction)
    {
        const auto found = d_known.find(fraction);
        if (found != d_known.end())
            return found->second;
        if (d_known.size() >= 4096)
            d_known.clear();
        weights& made = d_known[fraction];
        interpolator_weights(fraction, made.data());
        return made;
    }

private:
    std::unordered_map<double, weights> d_known;
};

/*!
 * One link: taps over time, and what they make of the samples.
 *
 * Time is cut into pieces that depend on the sample count alone. Over a piece, gains and
 * delays are lines; most often they are constant.
 */
class emulator::link
{
public:
    link(const emulator_settings& settings, std::size_t transmitter, std::size_t receiver)
        : transmitter(transmitter),
          d_rate(settings.sample_rate),
          d_mchem(settings.mchem),
          d_scale(settings.scale[transmitter * settings.nodes.size() + receiver]),
          d_count(
              settings.delays.size() /
              (settings.times.size() * settings.nodes.size() * settings.nodes.size())),
          d_doppler(settings.doppler_hz[transmitter * settings.nodes.size() + receiver] /
                    settings.sample_rate),
          d_seed(settings.seed),
          d_number(
              static_cast<std::uint32_t>(transmitter * settings.nodes.size() + receiver))
    {
        const std::size_t stride =
            settings.nodes.size() * settings.nodes.size() * d_count;
        for (std::size_t t = 0; t < settings.times.size(); t++) {
            const std::size_t first = t * stride + d_number * d_count;
            d_positions.push_back(settings.times[t] * d_rate);
            for (std::size_t k = first; k < first + d_count; k++) {
                d_delays.push_back(settings.delays[k]);
                d_gains.push_back(settings.gains[k]);
            }
        }
        prepare();
    }

    /*! Whether it never lets anything through. */
    bool null() const
    {
        return std::all_of(d_gains.begin(), d_gains.end(), [](const complex& g) {
            return g == complex(0);
        });
    }

    void set_gain(double gain, std::uint64_t from)
    {
        d_gain = gain;
        d_from = from;
        d_end = 0; // the present piece ends here
    }

    void set_taps(const std::vector<double>& delays,
                  const std::vector<complex>& gains,
                  std::uint64_t from)
    {
        d_positions = { 0 };
        d_delays = delays;
        d_gains = gains;
        d_count = delays.size();
        d_from = from;
        d_end = 0;
        prepare();
    }

    /*! Samples of the future that its interpolators may see. */
    std::size_t ahead() const
    {
        std::size_t most = 0;
        const std::size_t times = d_positions.size();
        for (std::size_t t = 0; t < times; t++)
            for (std::size_t k = 0; k < d_count; k++) {
                const std::size_t i = t * d_count + k;
                const double delay = d_delays[i] * d_rate;
                const double grid_error = d_mchem ? d_rate * mchem_grid / 2 : 0;
                const auto held =
                    static_cast<std::size_t>(std::max(0.0, delay - grid_error));
                const bool moves =
                    (t > 0 && d_delays[i - d_count] != d_delays[i]) ||
                    (t + 1 < times && d_delays[i + d_count] != d_delays[i]);
                const bool fractional = std::abs(delay - std::round(delay)) > whole;
                const bool off_grid = d_mchem && std::fmod(d_rate * mchem_grid, 1) != 0;
                if (d_gains[i] != complex(0) && (moves || fractional || off_grid))
                    most = std::max(most, farthest - std::min(farthest, held));
            }
        return most;
    }

    /*!
     * Adds to sum what the link makes of samples first … first + n - 1; x is at the first
     * of them. n is at most a block.
     */
    void add(std::uint64_t first,
             const complex* x,
             complex* sum,
             std::size_t n,
             complex* scratch,
             weights_memory& weights)
    {
        while (n > 0) {
            if (first >= d_end)
                start_piece(first, weights);
            const std::size_t count = std::min<std::uint64_t>(n, d_end - first);
            run(first - d_begin, x, sum, count, scratch);
            first += count;
            x += count;
            sum += count;
            n -= count;
        }
    }

    std::size_t transmitter;

private:
    struct path {
        std::size_t delay; // whole samples
        complex gain;
        complex slope;
        enum { direct, interpolated, moving } kind;
        weights_memory::weights weights; // of an interpolated one

        std::int64_t time; // of the first output's instant; see interpolate_moving()
        std::int64_t step;
    };

    void prepare()
    {
        d_segment = 0;
        d_fading.clear();
        if (d_doppler > 0 && d_count > 0)
            d_fading.emplace_back(fading_kind::doppler,
                                  std::vector<complex>(d_count, 1),
                                  std::vector<double>(d_count, 0),
                                  d_doppler,
                                  d_seed,
                                  d_number);
    }

    static std::uint64_t sample_at(double position)
    {
        return static_cast<std::uint64_t>(std::ceil(position));
    }

    /*! Taps of the segment of time that holds sample n, as they are on its line at n. */
    void line_at(std::uint64_t n, std::vector<tap>& taps) const
    {
        const double position = static_cast<double>(n);
        const std::size_t now = d_segment * d_count;
        const bool moves =
            d_segment + 1 < d_positions.size() && position >= d_positions[d_segment];
        const std::size_t next = moves ? now + d_count : now;
        const double length =
            moves ? d_positions[d_segment + 1] - d_positions[d_segment] : 1;
        const double part = moves ? (position - d_positions[d_segment]) / length : 0;
        taps.resize(d_count);
        for (std::size_t k = 0; k < d_count; k++) {
            const precise from = d_gains[now + k];
            const precise to = d_gains[next + k];
            double delay = d_delays[now + k];
            double then = d_delays[next + k];
            if (from == 0.0)
                delay = then;
            if (to == 0.0)
                then = delay;
            taps[k].gain = from + (to - from) * part;
            taps[k].gain_slope = (to - from) / length;
            taps[k].delay = (delay + (then - delay) * part) * d_rate;
            taps[k].delay_slope = (then - delay) * d_rate / length;
        }
    }

    void fade(std::uint64_t n, std::vector<tap>& taps) const
    {
        if (!d_fading.empty())
            for (std::size_t k = 0; k < taps.size(); k++)
                taps[k].gain *= precise(d_fading.front().gain(k, n));
    }

    /*! What MCHEM makes of taps whose delays are in samples. */
    void hold_to_mchem(std::vector<tap>& taps) const
    {
        std::vector<precise> line(mchem_line, 0);
        for (const tap& t : taps) {
            const long step = std::lround(t.delay / (d_rate * mchem_grid));
            if (step < mchem_line)
                line[static_cast<std::size_t>(step)] += t.gain;
        }
        std::vector<std::size_t> order;
        for (std::size_t step = 0; step < line.size(); step++)
            if (std::abs(line[step]) >= mchem_weakest)
                order.push_back(step);
        std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
            return std::abs(line[a]) > std::abs(line[b]);
        });
        order.resize(std::min(order.size(), mchem_taps));
        taps.clear();
        for (const std::size_t step : order) {
            const precise gain = line[step] / std::max(1.0, std::abs(line[step]));
            const precise rounded(std::nearbyint(gain.real() * mchem_steps) / mchem_steps,
                                  std::nearbyint(gain.imag() * mchem_steps) /
                                      mchem_steps);
            taps.push_back(
                { rounded, 0, static_cast<double>(step) * mchem_grid * d_rate, 0 });
        }
    }

    /*! The millisecond of MCHEM's that holds sample first. */
    void start_period(std::uint64_t first, weights_memory& weights)
    {
        const double period = d_rate * mchem_period;
        auto turn = static_cast<std::uint64_t>(static_cast<double>(first) / period);
        while (sample_at(static_cast<double>(turn + 1) * period) <= first)
            turn++;
        while (sample_at(static_cast<double>(turn) * period) > first)
            turn--;
        d_begin = sample_at(static_cast<double>(turn) * period);
        d_end = sample_at(static_cast<double>(turn + 1) * period);
        std::vector<tap> taps;
        find_segment(d_begin);
        line_at(d_begin, taps);
        fade(d_begin, taps);
        hold_to_mchem(taps);
        build(taps, weights);
    }

    /*! The last time at or before sample n; the first where there is none. */
    void find_segment(std::uint64_t n)
    {
        const auto position = static_cast<double>(n);
        while (d_segment > 0 && position < d_positions[d_segment])
            d_segment--;
        while (d_segment + 1 < d_positions.size() &&
               position >= d_positions[d_segment + 1])
            d_segment++;
    }

    void start_piece(std::uint64_t first, weights_memory& weights)
    {
        if (d_mchem) {
            start_period(first, weights);
            return;
        }
        find_segment(first);
        const bool before = static_cast<double>(first) < d_positions[d_segment];
        const bool last = d_segment + 1 == d_positions.size();
        const std::uint64_t segment_begin =
            before ? 0 : sample_at(d_positions[d_segment]);
        const std::uint64_t segment_end = before ? sample_at(d_positions[d_segment])
                                          : last ? forever
                                                 : sample_at(d_positions[d_segment + 1]);
        std::vector<tap> taps;
        line_at(first, taps);
        const bool steady =
            d_fading.empty() && std::all_of(taps.begin(), taps.end(), [](const tap& t) {
                return t.gain_slope == 0.0 && t.delay_slope == 0;
            });
        d_begin = std::max(segment_begin, d_from);
        d_end = segment_end;
        if (!steady) {
            // A product of two lines is none: closer knots where gains fade and move.
            const bool both = std::any_of(taps.begin(), taps.end(), [&](const tap& t) {
                return !d_fading.empty() && t.gain_slope != 0.0;
            });
            const std::uint64_t interval = d_fading.empty() ? grid
                                           : both ? d_fading.front().interval() / 8
                                                  : d_fading.front().interval();
            const std::uint64_t corner = first - first % interval;
            d_begin = std::max(d_begin, corner);
            d_end = std::min(d_end, corner + interval);
            line_at(d_begin, taps);
            if (!d_fading.empty()) {
                std::vector<tap> ends;
                line_at(d_end, ends);
                fade(d_end, ends);
                fade(d_begin, taps);
                for (std::size_t k = 0; k < taps.size(); k++)
                    taps[k].gain_slope = (ends[k].gain - taps[k].gain) /
                                         static_cast<double>(d_end - d_begin);
            }
        }
        build(taps, weights);
    }

    /*! Plans how the piece is computed. */
    void build(const std::vector<tap>& taps, weights_memory& weights)
    {
        d_paths.clear();
        const double scale = d_scale * d_gain;
        for (const tap& t : taps) {
            if (t.gain == 0.0 && t.gain_slope == 0.0)
                continue;
            path p{};
            p.gain = complex(t.gain * scale);
            p.slope = complex(t.gain_slope * scale);
            const double nearest = std::round(t.delay);
            const bool moves = t.delay_slope != 0;
            const bool fractional = moves || std::abs(t.delay - nearest) > whole;
            p.delay = static_cast<std::size_t>(fractional ? std::ceil(t.delay) : nearest);
            const double after = static_cast<double>(p.delay) - t.delay;
            p.kind = moves        ? path::moving
                     : fractional ? path::interpolated
                                  : path::direct;
            if (moves) {
                p.time = std::llround(after * one_time);
                p.step = std::llround((1 - t.delay_slope) * one_time);
            } else if (fractional) {
                p.weights = weights(after);
            }
            d_paths.push_back(p);
        }
        merge();
    }

    /*!
     * Makes one filter of the constant taps with fractional delays, where that is less
     * work: complex weights cost two real filters, but their taps overlap.
     */
    void merge()
    {
        d_merged_taps = 0;
        std::size_t count = 0;
        std::size_t nearest = 0;
        std::size_t farthest_path = 0;
        const auto fits = [](const path& p) {
            return p.kind == path::interpolated && p.slope == complex(0);
        };
        for (const path& p : d_paths)
            if (fits(p)) {
                nearest = count ? std::min(nearest, p.delay) : p.delay;
                farthest_path = std::max(farthest_path, p.delay);
                count++;
            }
        const std::size_t span = farthest_path - nearest + interpolator_length;
        const std::size_t taps =
            (span + filter_granule - 1) / filter_granule * filter_granule;
        if (count < 2 ||
            2 * taps + rest_of_path > count * (interpolator_length + rest_of_path))
            return;
        d_merged_taps = taps;
        d_merged_delay = nearest + taps - interpolator_length;
        d_merged_re.assign(taps, 0);
        d_merged_im.assign(taps, 0);
        for (const path& p : d_paths)
            if (fits(p))
                for (std::size_t j = 0; j < interpolator_length; j++) {
                    const std::size_t to = d_merged_delay - p.delay + j;
                    d_merged_re[to] += p.gain.real() * p.weights[j];
                    d_merged_im[to] += p.gain.imag() * p.weights[j];
                }
        d_paths.erase(std::remove_if(d_paths.begin(), d_paths.end(), fits),
                      d_paths.end());
    }

    /*! n samples from the piece's sample number offset on. */
    void run(std::uint64_t offset,
             const complex* x,
             complex* sum,
             std::size_t n,
             complex* scratch) const
    {
        for (const path& p : d_paths) {
            const complex* in = x - p.delay;
            if (p.kind == path::moving) {
                const std::int64_t drift = p.step - static_cast<std::int64_t>(one_time);
                interpolate_moving(in,
                                   p.time + static_cast<std::int64_t>(offset) * drift,
                                   p.step,
                                   scratch,
                                   n);
                in = scratch;
            } else if (p.kind == path::interpolated) {
                interpolate(in - interpolator_before, p.weights.data(), scratch, n);
                in = scratch;
            }
            if (p.slope == complex(0))
                add_scaled(floats(in), p.gain, floats(sum), n);
            else
                add_ramped(floats(in),
                           p.gain,
                           p.slope,
                           static_cast<float>(offset),
                           floats(sum),
                           n);
        }
        if (d_merged_taps > 0) {
            const complex* in = x - d_merged_delay - interpolator_before;
            filter_add(in, d_merged_re.data(), d_merged_taps, sum, n);
            std::fill_n(scratch, n, complex(0));
            filter_add(in, d_merged_im.data(), d_merged_taps, scratch, n);
            add_scaled(floats(scratch), { 0, 1 }, floats(sum), n);
        }
    }

    double d_rate;
    bool d_mchem;
    double d_scale;
    double d_gain = 1;   // of set_gain()
    std::size_t d_count; // taps
    double d_doppler;    // cycles per sample
    std::uint64_t d_seed;
    std::uint32_t d_number;
    std::vector<double> d_positions; // of the times, in samples
    std::vector<double> d_delays;    // [time][tap], s
    std::vector<complex> d_gains;
    std::vector<fading> d_fading; // one, or none
    std::size_t d_segment = 0;    // time at or before the present piece
    std::uint64_t d_from = 0;     // sample of the last change

    std::uint64_t d_begin = 0; // of the piece
    std::uint64_t d_end = 0;
    std::vector<path> d_paths;
    std::size_t d_merged_taps = 0; // 0: no such filter
    std::size_t d_merged_delay = 0;
    std::vector<float> d_merged_re;
    std::vector<float> d_merged_im;
};

struct emulator::receiver {
    receiver(const emulator_settings& settings, std::size_t index)
        : node(settings.nodes[index]),
          received(interpolator_before),
          made(0),
          lo(settings.seed,
             static_cast<std::uint32_t>(index * (settings.nodes.size() + 1))),
          thermal(settings.seed,
                  static_cast<std::uint32_t>(index * (settings.nodes.size() + 1)),
                  streams::receiver_noise),
          amplitude(static_cast<float>(std::sqrt(node.noise))),
          scratch(block)
    {
        clock.set_ppm(node.sfo_ppm);
        lo.set_frequency(node.cfo_hz / settings.sample_rate);
        lo.set_linewidth(node.phase_noise_hz / settings.sample_rate);
    }

    emulated_node node;
    std::vector<link> links; // to it
    window received;         // at the sample clock's entry
    window made;
    sample_clock clock;
    oscillator lo;
    noise thermal;
    float amplitude;
    std::uint64_t out = 0; // samples made so far
    std::uint64_t clipped = 0;
    weights_memory weights;
    std::vector<complex> scratch;
};

emulator::emulator(const emulator_settings& settings)
    : d_settings(validated(settings)),
      d_line(
          static_cast<std::size_t>(std::ceil(d_settings.line * d_settings.sample_rate))),
      d_not_finite(d_settings.nodes.size(), 0),
      d_crew(std::max(1u, d_settings.threads))
{
    const std::size_t nodes = d_settings.nodes.size();
    // The line, what an interpolator sees of the past, and the padding of merged filters.
    const std::size_t history = d_line + interpolator_length + 2 * filter_granule;
    d_sent.assign(nodes, window(history));
    for (std::size_t j = 0; j < nodes; j++) {
        d_receivers.push_back(std::make_unique<receiver>(d_settings, j));
        for (std::size_t i = 0; i < nodes; i++) {
            link made(d_settings, i, j);
            if (!made.null())
                d_receivers[j]->links.push_back(std::move(made));
        }
    }
    find_ahead();
    d_settings.times = { 0 }; // links have their own copies
    d_settings.delays = {};
    d_settings.gains = {};
}

emulator::~emulator() = default;

void emulator::find_ahead()
{
    d_ahead = 0;
    for (const auto& r : d_receivers)
        for (const link& l : r->links)
            if (d_settings.nodes[l.transmitter].transmits && r->node.receives)
                d_ahead = std::max(d_ahead, l.ahead());
}

void emulator::set_role(std::size_t i, bool transmits, bool receives)
{
    if (d_count > 0)
        throw std::logic_error("a node's part is settled once the emulation has begun");
    d_settings.nodes.at(i).transmits = transmits;
    d_settings.nodes[i].receives = d_receivers[i]->node.receives = receives;
    find_ahead();
}

void emulator::put(std::size_t i, const complex* samples, std::size_t n)
{
    complex* room = d_sent.at(i).room(n);
    d_not_finite[i] += copy_finite(samples, room, n);
    d_sent[i].put(n);
}

void emulator::put_zeros(std::size_t i, std::size_t n)
{
    std::fill_n(d_sent.at(i).room(n), n, complex(0));
    d_sent[i].put(n);
}

std::size_t emulator::waiting(std::size_t i) const { return d_sent.at(i).size(); }

std::size_t emulator::step(std::size_t most)
{
    while (!d_changes.empty() && d_changes.front().at == d_count) {
        apply(d_changes.front());
        d_changes.erase(d_changes.begin());
    }
    std::size_t n = most;
    if (!d_changes.empty())
        n = std::min<std::uint64_t>(n, d_changes.front().at - d_count);
    for (std::size_t i = 0; i < d_sent.size(); i++)
        if (d_settings.nodes[i].transmits)
            n = std::min(n, d_sent[i].size() - std::min(d_sent[i].size(), d_ahead));
    if (n == 0)
        return 0;
    std::vector<receiver*> receivers;
    for (const auto& r : d_receivers)
        if (r->node.receives)
            receivers.push_back(r.get());
    d_crew.run(receivers.size(), [&](std::size_t k) { receive(*receivers[k], n); });
    for (std::size_t i = 0; i < d_sent.size(); i++)
        if (d_settings.nodes[i].transmits)
            d_sent[i].drop(n);
    d_count += n;
    return n;
}

void emulator::receive(receiver& r, std::size_t n)
{
    for (std::size_t offset = 0; offset < n;) {
        const std::size_t count = std::min(n - offset, block);
        // Where clocks agree, what arrives is what leaves.
        const bool resampled = r.node.sfo_ppm != 0;
        complex* sum = (resampled ? r.received : r.made).room(count);
        std::fill_n(sum, count, complex(0));
        for (link& l : r.links)
            if (d_settings.nodes[l.transmitter].transmits)
                l.add(d_count + offset,
                      d_sent[l.transmitter].next() + offset,
                      sum,
                      count,
                      r.scratch.data(),
                      r.weights);
        offset += count;

        complex* y = sum;
        std::size_t made = count;
        if (resampled) {
            r.received.put(count);
            const std::size_t most = r.received.size();
            y = r.made.room(most);
            std::size_t used = 0;
            made = r.clock.run(r.received.next(), r.received.size(), y, most, used);
            r.received.drop(used);
        }
        r.lo.rotate(r.out, y, made);
        if (r.amplitude > 0)
            r.thermal.add(r.out, r.amplitude, y, made);
        if (r.node.full_scale > 0)
            r.clipped += quantise_sc16(static_cast<float>(r.node.full_scale), y, made);
        r.made.put(made);
        r.out += made;
    }
}

std::size_t emulator::ready(std::size_t j) const
{
    return d_receivers.at(j)->made.size();
}

const complex* emulator::made(std::size_t j) const
{
    return d_receivers.at(j)->made.next();
}

void emulator::take(std::size_t j, std::size_t n)
{
    d_receivers.at(j)->made.drop(std::min(n, ready(j)));
}

emulator::link& emulator::link_of(std::size_t transmitter, std::size_t receiver)
{
    std::vector<link>& links = d_receivers[receiver]->links;
    const auto found = std::find_if(links.begin(), links.end(), [&](const link& l) {
        return l.transmitter >= transmitter;
    });
    if (found != links.end() && found->transmitter == transmitter)
        return *found;
    // In their order, so that sums are the same however a link came about.
    return *links.emplace(found, d_settings, transmitter, receiver);
}

void emulator::apply(const change& c)
{
    link& l = link_of(c.transmitter, c.receiver);
    if (c.taps)
        l.set_taps(c.delays, c.gains, c.at);
    else
        l.set_gain(c.gain, c.at);
    find_ahead();
}

void emulator::schedule(change&& c)
{
    const std::size_t nodes = d_settings.nodes.size();
    if (c.transmitter >= nodes || c.receiver >= nodes)
        throw std::invalid_argument("there are " + std::to_string(nodes) +
                                    " nodes, counted from 0; a link names another");
    if (c.at < d_count)
        throw std::invalid_argument("a change at sample " + std::to_string(c.at) +
                                    " comes too late: the emulator is at sample " +
                                    std::to_string(d_count));
    const auto place = std::upper_bound(
        d_changes.begin(),
        d_changes.end(),
        c.at,
        [](std::uint64_t at, const change& other) { return at < other.at; });
    d_changes.insert(place, std::move(c));
}

void emulator::set_gain(std::size_t transmitter,
                        std::size_t receiver,
                        double gain,
                        std::uint64_t at)
{
    require_range("gain", gain, 0, 1e6);
    schedule({ at, transmitter, receiver, false, gain, {}, {} });
}

void emulator::set_taps(std::size_t transmitter,
                        std::size_t receiver,
                        const std::vector<double>& delays,
                        const std::vector<complex>& gains,
                        std::uint64_t at)
{
    if (delays.size() != gains.size() || delays.size() > 4096)
        throw std::invalid_argument(
            "delays and gains must have one value per tap, and 4096 taps at most");
    require_taps(delays.data(), gains.data(), delays.size(), d_settings.line);
    schedule({ at, transmitter, receiver, true, 1, delays, gains });
}

std::uint64_t emulator::clipped(std::size_t j) const
{
    return d_receivers.at(j)->clipped;
}

std::uint64_t emulator::not_finite(std::size_t i) const { return d_not_finite.at(i); }

} // namespace kernels
} // namespace phydnn
} // namespace gr
