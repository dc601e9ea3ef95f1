/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include <kernels/sequences.h>
#include <kernels/synchronizer.h>
#include <volk/volk.h>
#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {
constexpr unsigned repeats = numerology::preamble_repeats;
// Energies are summed over granules on the search grid: exact enough for a normalisation.
constexpr unsigned granule = 16;
// Samples beyond this power are no signal. Neither are NaN and infinity.
constexpr float absurd_power = 1e12f;
// A longer leap in frame numbers is another transmitter, not a loss.
constexpr uint32_t longest_gap = 4096;

// P(X > x) for X ~ Gamma(repeats, 1), the statistic under noise.
double tail(double x)
{
    double term = 1, sum = 1;
    for (unsigned k = 1; k < repeats; k++)
        sum += term *= x / k;
    return std::exp(-x) * sum;
}

double threshold_for(double rate)
{
    double low = 0, high = 100;
    for (int i = 0; i < 100; i++) {
        const double middle = (low + high) / 2;
        (tail(middle) > rate ? low : high) = middle;
    }
    return high;
}

numerology checked(const numerology& n, double rate, size_t max_uses)
{
    n.validate();
    if (!(rate >= 1e-15 && rate <= 1e-2))
        throw std::invalid_argument(
            "false_alarm_rate must be from 1e-15 to 1e-2 per sample");
    if (max_uses < 1 || max_uses >= 1u << 24)
        throw std::invalid_argument("max_uses must be from 1 to 16777215 channel uses");
    return n;
}
} // namespace

std::map<std::string, uint64_t> synchronizer_counts::named() const
{
    return { { "samples", samples },  { "detections", detections },
             { "frames", frames },    { "header_errors", header_errors },
             { "lost", lost },        { "bundle_mismatches", bundle_mismatches },
             { "cut", cut },          { "bad_samples", bad_samples },
             { "restarts", restarts } };
}

synchronizer::synchronizer(const numerology& dimensions,
                           double false_alarm_rate,
                           size_t max_uses,
                           uint32_t bundle_id)
    : d_dimensions(checked(dimensions, false_alarm_rate, max_uses)),
      d_threshold(threshold_for(false_alarm_rate)),
      d_max_uses(max_uses),
      d_bundle_id(bundle_id),
      d_filter_forward(repeats * dimensions.preamble_length(), true),
      d_filter_backward(repeats * dimensions.preamble_length(), false),
      d_filter_spectrum(repeats * dimensions.preamble_length()),
      d_scratch(repeats * dimensions.preamble_length()),
      d_preamble_forward(dimensions.preamble_length(), true),
      d_preamble_backward(dimensions.preamble_length(), false),
      d_preamble_spectrum(preamble_spectrum(dimensions)),
      d_demodulator(dimensions.fft_size, true),
      d_rotated(dimensions.fft_size),
      d_window(dimensions),
      d_pilots(pilots(dimensions)),
      d_ls(dimensions.used),
      d_taps(d_window.taps()),
      d_channel(dimensions.used),
      d_header_signs(header_signs(dimensions))
{
    // The matched filter, scaled so that unit noise gives unit mean power.
    const unsigned length = dimensions.preamble_length(), size = repeats * length;
    std::copy(
        d_preamble_spectrum.begin(), d_preamble_spectrum.end(), d_preamble_backward.in);
    d_preamble_backward.execute();
    double energy = 0;
    for (unsigned i = 0; i < length; i++) {
        d_filter_forward.in[i] = d_preamble_backward.out[i];
        energy += std::norm(d_preamble_backward.out[i]);
    }
    d_filter_forward.execute();
    const float scale = float(1 / (size * std::sqrt(energy)));
    for (unsigned i = 0; i < size; i++)
        d_filter_spectrum[i] = scale * std::conj(d_filter_forward.out[i]);
}

void synchronizer::process(const gr_complex* samples, size_t size, const sink& deliver)
{
    take_in(samples, size);
    bool progress = true;
    while (progress) {
        switch (d_state) {
        case state::searching:
            progress = search();
            break;
        case state::acquiring:
            progress = acquire();
            break;
        case state::tracking:
            progress = track(deliver);
            break;
        }
    }
    // Room for the timing to move back, and for a frame that turns out to have been cut.
    const uint64_t kept =
        d_state == state::tracking
            ? d_acquired.start + d_good_row * d_dimensions.symbol_samples()
            : d_position;
    drop_before(kept > d_dimensions.cp_length ? kept - d_dimensions.cp_length : 0);
}

void synchronizer::take_in(const gr_complex* samples, size_t size)
{
    d_counts.samples += size;
    const size_t before = d_samples.size();
    d_samples.insert(d_samples.end(), samples, samples + size);
    gr_complex* added = d_samples.data() + before;
    unsigned bad = 0;
    for (size_t i = 0; i < size; i++) {
        const float re = added[i].real(), im = added[i].imag();
        bad += !(re * re + im * im <= absurd_power);
    }
    if (bad) {
        d_counts.bad_samples += bad;
        for (size_t i = 0; i < size; i++)
            if (!(std::norm(added[i]) <= absurd_power))
                added[i] = gr_complex();
    }
}

void synchronizer::drop_before(uint64_t index)
{
    // Moving what remains costs: wait until it is the smaller part.
    const uint64_t end = d_first + d_samples.size();
    index = std::min(index, end);
    if (index <= d_first || index - d_first < end - index)
        return;
    d_samples.erase(d_samples.begin(), d_samples.begin() + (index - d_first));
    d_first = index;
}

// Power of the matched filter at `size` positions; takes size + length − 1 samples.
// `size` is a multiple of the hop but for the last call of a one-off, so block edges stay
// on the grid.
void synchronizer::filter(const gr_complex* samples, size_t size, float* power)
{
    const unsigned fft_size = d_filter_forward.size;
    const unsigned hop = fft_size - d_dimensions.preamble_length();
    for (size_t done = 0; done < size; done += hop) {
        const size_t count = std::min<size_t>(hop, size - done);
        const size_t taken =
            std::min<size_t>(count + d_dimensions.preamble_length() - 1, fft_size);
        std::copy_n(samples + done, taken, d_filter_forward.in);
        std::fill_n(d_filter_forward.in + taken, fft_size - taken, gr_complex());
        d_filter_forward.execute();
        volk_32fc_x2_multiply_32fc(d_filter_backward.in,
                                   d_filter_forward.out,
                                   d_filter_spectrum.data(),
                                   fft_size);
        d_filter_backward.execute();
        for (size_t i = 0; i < count; i++) {
            const gr_complex c = d_filter_backward.out[i];
            power[done + i] = c.real() * c.real() + c.imag() * c.imag();
        }
    }
}

// The statistic over its threshold at `size` positions (a multiple of the granule), from
// size + 3 · length filter powers and size + 4 · length samples.
void synchronizer::statistic(const float* power,
                             const gr_complex* samples,
                             size_t size,
                             float* out)
{
    const unsigned length = d_dimensions.preamble_length(), covered = repeats * length;
    const size_t granules = (size + covered) / granule, window = covered / granule;
    d_energy.assign(granules + 1, 0);
    for (size_t g = 0; g < granules; g++) {
        float sum = 0;
        for (unsigned i = 0; i < granule; i++)
            sum += std::norm(samples[g * granule + i]);
        d_energy[g + 1] = d_energy[g] + sum;
    }
    for (size_t g = 0; g < size / granule; g++) {
        const double energy = d_energy[g + window] - d_energy[g];
        const float scale = energy > 0 ? float(covered / (energy * d_threshold)) : 0.0f;
        for (size_t i = g * granule; i < (g + 1) * granule; i++)
            out[i] = scale * (power[i] + power[i + length] + power[i + 2 * length] +
                              power[i + 3 * length]);
    }
}

std::vector<float> synchronizer::statistic(const gr_complex* samples, size_t size)
{
    const size_t covered = repeats * d_dimensions.preamble_length();
    if (size < covered + granule)
        return {};
    const size_t positions = (size - covered) / granule * granule;
    std::vector<float> power(positions + covered - d_dimensions.preamble_length()),
        out(positions);
    filter(samples, power.size(), power.data());
    statistic(power.data(), samples, positions, out.data());
    return out;
}

bool synchronizer::search()
{
    const unsigned length = d_dimensions.preamble_length();
    const unsigned hop = (repeats - 1) * length;
    if (!have(d_position + 2 * hop + length))
        return false;
    for (size_t done = d_power.size(); done < 2 * hop; done += hop) {
        d_power.resize(done + hop);
        filter(at(d_position + done), hop, &d_power[done]);
    }
    d_statistic.resize(hop);
    statistic(d_power.data(), at(d_position), hop, d_statistic.data());
    const auto crossing = std::find_if(
        d_statistic.begin(), d_statistic.end(), [](float s) { return s >= 1; });
    if (crossing == d_statistic.end()) {
        d_position += hop;
        d_power.erase(d_power.begin(), d_power.begin() + hop);
    } else {
        d_position += uint64_t(crossing - d_statistic.begin());
        d_power.clear();
        d_state = state::acquiring;
    }
    return true;
}

double synchronizer::estimate_cfo(const gr_complex* samples)
{
    const unsigned length = d_dimensions.preamble_length();
    std::copy_n(
        samples, repeats * length, d_scratch.begin()); // aligned: VOLK rounds the same
    gr_complex lag1, lag2;
    volk_32fc_x2_conjugate_dot_prod_32fc(
        &lag1, &d_scratch[length], &d_scratch[0], (repeats - 1) * length);
    volk_32fc_x2_conjugate_dot_prod_32fc(
        &lag2, &d_scratch[2 * length], &d_scratch[0], (repeats - 2) * length);
    // The weights of eq. (16) for four repetitions and lags up to two.
    return (0.8 * std::arg(lag1) + 0.2 * std::arg(lag2 * std::conj(lag1))) / length;
}

bool synchronizer::acquire()
{
    const unsigned length = d_dimensions.preamble_length(), covered = repeats * length;
    const int prefix = int(d_dimensions.cp_length);
    // The earliest crossing is one repetition before the first, where the prefix matches.
    const unsigned candidates = covered + length;
    if (!have(d_position + candidates + covered))
        return false;
    d_counts.detections++;

    // The first crossing may be an early repetition: take the peak, without the division
    // by the energy, which after silence makes one repetition look as good as four.
    d_power.resize(candidates + covered - length);
    filter(at(d_position), d_power.size(), d_power.data());
    uint64_t peak = 0;
    float highest_power = -1;
    for (unsigned i = 0; i < candidates; i++) {
        const float power = d_power[i] + d_power[i + length] + d_power[i + 2 * length] +
                            d_power[i + 3 * length];
        if (power > highest_power) {
            highest_power = power;
            peak = d_position + i;
        }
    }
    d_power.clear();

    // Impulse response around the peak from the mean of the repetitions.
    const double coarse = estimate_cfo(at(peak));
    std::fill_n(d_preamble_forward.in, length, gr_complex());
    std::copy_n(at(peak), covered, d_scratch.begin());
    gr_complex phase(1, 0);
    volk_32fc_s32fc_x2_rotator_32fc(d_scratch.data(),
                                    d_scratch.data(),
                                    gr_complex(std::polar(1.0, -coarse)),
                                    &phase,
                                    covered);
    for (unsigned r = 0; r < repeats; r++)
        for (unsigned i = 0; i < length; i++)
            d_preamble_forward.in[i] += d_scratch[r * length + i];
    d_preamble_forward.execute();
    volk_32fc_x2_multiply_conjugate_32fc(d_preamble_backward.in,
                                         d_preamble_forward.out,
                                         d_preamble_spectrum.data(),
                                         length);
    d_preamble_backward.execute();
    const auto tap_power = [&](int delay) {
        return double(
            std::norm(d_preamble_backward.out[(delay + int(length)) % int(length)]));
    };

    // Of the windows of one prefix that hold nearly all the energy, the middle one.
    std::vector<double> energy(prefix);
    for (int first = 1 - prefix; first <= 0; first++)
        for (int delay = first; delay < first + prefix; delay++)
            energy[first + prefix - 1] += tap_power(delay);
    const double enough = 0.97 * *std::max_element(energy.begin(), energy.end());
    int lowest = prefix, highest = -1;
    for (int i = 0; i < prefix; i++) {
        if (energy[i] >= enough) {
            lowest = std::min(lowest, i);
            highest = i;
        }
    }
    const int back = prefix - 1 - (lowest + highest) / 2;
    const uint64_t start = peak - std::min<uint64_t>(uint64_t(back), peak - d_first);

    d_acquired = { start, estimate_cfo(at(start)) };
    d_frame = reception();
    d_frame.sample_index = peak - std::min<uint64_t>(uint64_t(prefix), peak);
    d_frame.cfo = d_acquired.cfo;
    d_frame.grid.resize(size_t(1 + d_dimensions.header_symbols) * d_dimensions.used);
    // From here on `start` counts from the first symbol after the preamble.
    d_acquired.start += covered;
    d_row = 0;
    d_good_row = 0;
    d_next_pilot = 1;
    d_pilot_missed = false;
    d_state = state::tracking;
    return true;
}

// One symbol from its samples (without prefix) to the used subcarriers.
void synchronizer::demodulate(uint64_t index, gr_complex* row)
{
    const unsigned size = d_dimensions.fft_size, half = d_dimensions.used / 2;
    std::copy_n(at(index), size, d_rotated.begin());
    // The phase is taken from the distance in samples: nothing accumulates along the
    // frame.
    const double angle = -d_acquired.cfo * double(index - d_acquired.start);
    gr_complex phase(std::polar(1.0, std::remainder(angle, 2 * M_PI)));
    volk_32fc_s32fc_x2_rotator_32fc(d_demodulator.in,
                                    d_rotated.data(),
                                    gr_complex(std::polar(1.0, -d_acquired.cfo)),
                                    &phase,
                                    size);
    d_demodulator.execute();
    const float scale = 1.0f / std::sqrt(float(size));
    for (unsigned k = 0; k < half; k++)
        row[k] = scale * d_demodulator.out[size - half + k];
    for (unsigned k = 0; k < half; k++)
        row[half + k] = scale * d_demodulator.out[1 + k];
}

std::optional<frame_header> synchronizer::read_header()
{
    const unsigned used = d_dimensions.used;
    volk_32fc_x2_multiply_conjugate_32fc(
        d_ls.data(), d_frame.grid.data(), d_pilots.data(), used);
    d_window.fit(d_ls.data(), d_taps.data());
    d_window.response(d_taps.data(), d_channel.data());
    std::array<float, header_codec::coded_bits> soft{};
    for (unsigned i = 0; i < d_dimensions.header_symbols * used; i++) {
        const gr_complex y = d_frame.grid[used + i], h = d_channel[i % used];
        soft[header_codec::bit_of_use(i)] +=
            d_header_signs[i] * (y.real() * h.real() + y.imag() * h.imag());
    }
    return d_codec.decode(soft.data());
}

// Whether a DMRS is more than noise: the share of its energy at delays inside the prefix.
bool synchronizer::pilot_present(const gr_complex* row)
{
    const unsigned used = d_dimensions.used;
    std::copy_n(row, used, d_channel.begin());
    volk_32fc_x2_multiply_conjugate_32fc(
        d_ls.data(), d_channel.data(), d_pilots.data(), used);
    d_window.fit(d_ls.data(), d_taps.data());
    d_window.response(d_taps.data(), d_channel.data());
    gr_complex total, inside;
    volk_32fc_x2_conjugate_dot_prod_32fc(&total, d_ls.data(), d_ls.data(), used);
    volk_32fc_x2_conjugate_dot_prod_32fc(&inside, d_ls.data(), d_channel.data(), used);
    // Noise alone leaves `share`, with a deviation of √(share (1 − share) / used).
    const float share = float(d_window.taps()) / float(used);
    const float deviation = std::sqrt(share * (1 - share) / float(used));
    return inside.real() > (share + 5 * deviation) * total.real();
}

bool synchronizer::track(const sink& deliver)
{
    const unsigned used = d_dimensions.used,
                   header_rows = 1 + d_dimensions.header_symbols;
    const uint64_t symbol = d_dimensions.symbol_samples();
    const uint64_t index = d_acquired.start + d_row * symbol + d_dimensions.cp_length;
    if (!have(index + d_dimensions.fft_size))
        return false;
    gr_complex* row = &d_frame.grid[d_row * used];
    demodulate(index, row);
    d_row++;

    if (d_row < header_rows)
        return true;
    if (d_row == header_rows) {
        const auto header = read_header();
        if (!header || header->uses > d_max_uses) {
            d_counts.header_errors++;
            d_position = d_acquired.start;
            d_state = state::searching;
            return true;
        }
        d_frame.header = *header;
        d_frame.grid.resize(d_dimensions.grid_symbols(header->uses) * used);
        d_good_row = header_rows;
        announce_gap(deliver);
        return true;
    }

    const size_t uses = d_frame.header.uses, rows = d_dimensions.grid_symbols(uses);
    if (d_row - 1 == d_dimensions.pilot_row(d_next_pilot, uses)) {
        d_next_pilot++;
        if (pilot_present(row)) {
            d_good_row = d_row;
            d_pilot_missed = false;
        } else if (d_pilot_missed || d_row == rows) {
            d_counts.cut++;
            d_frame.reason = erasure::cut;
            d_row = d_good_row;
            finish(deliver);
            return true;
        } else {
            d_pilot_missed = true;
        }
    }
    if (d_row == rows) {
        if (d_bundle_id && d_frame.header.bundle_id != d_bundle_id) {
            d_counts.bundle_mismatches++;
            d_frame.reason = erasure::bundle;
        } else {
            d_counts.frames++;
        }
        finish(deliver);
    }
    return true;
}

// Delivers the frame and goes on searching from the row after it.
void synchronizer::finish(const sink& deliver)
{
    if (d_frame.reason != erasure::none)
        d_frame.grid.clear();
    d_position = d_acquired.start + d_row * d_dimensions.symbol_samples();
    d_state = state::searching;
    deliver(std::move(d_frame));
}

void synchronizer::announce_gap(const sink& deliver)
{
    const uint32_t number = d_frame.header.frame_number;
    if (d_expected && number != *d_expected) {
        const uint32_t gap = number - *d_expected;
        if (gap <= longest_gap) {
            d_counts.lost += gap;
            for (uint32_t i = 0; i < gap; i++) {
                reception lost;
                lost.reason = erasure::lost;
                lost.header.frame_number = *d_expected + i;
                lost.sample_index = d_frame.sample_index;
                deliver(std::move(lost));
            }
        } else {
            d_counts.restarts++;
        }
    }
    d_expected = number + 1;
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
