/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_SYNCHRONIZER_H
#define INCLUDED_PHYDNN_KERNELS_SYNCHRONIZER_H

#include <gnuradio/phydnn/numerology.h>
#include <kernels/csi.h>
#include <kernels/fft.h>
#include <kernels/header.h>
#include <functional>
#include <map>
#include <optional>
#include <string>

namespace gr {
namespace phydnn {
namespace kernels {

//! Why a frame did not arrive whole.
enum class erasure {
    none,   //!< it did
    lost,   //!< its number was skipped
    bundle, //!< its payload was made by another bundle
    cut     //!< its signal ended before its last symbol
};

//! A frame that arrived, or one known not to have.
struct reception {
    erasure reason = erasure::none;
    frame_header header;       //!< only the frame number means something if lost
    uint64_t sample_index = 0; //!< of the first sample of the preamble
    double cfo = 0;            //!< estimated carrier offset, radians per sample
    volk::vector<gr_complex>
        grid; //!< grid_symbols(uses) × used subcarriers; empty if erased
};

//! What the synchronizer has counted.
struct PHYDNN_API synchronizer_counts {
    uint64_t samples = 0;       //!< taken in
    uint64_t detections = 0;    //!< preambles
    uint64_t frames = 0;        //!< delivered whole
    uint64_t header_errors = 0; //!< detections whose header failed its CRC or its bounds
    uint64_t lost = 0;          //!< frame numbers skipped
    uint64_t bundle_mismatches = 0; //!< frames of another bundle
    uint64_t cut = 0;               //!< frames that ended early
    uint64_t bad_samples = 0;       //!< NaN, infinite or absurdly large; taken as 0
    uint64_t restarts = 0; //!< frame numbers that went back, or leapt: a new transmitter

    //! The counts by their names here.
    std::map<std::string, uint64_t> named() const;
};

/*!
 * \brief Finds frames in a stream of samples and cuts them into resource grids.
 *
 * Timing: a matched filter for one repetition of the preamble; the powers at its four
 * repetitions add up, over the energy of the samples they cover. For noise alone the sum
 * is Gamma(4) distributed, which sets the threshold for a false-alarm rate. The window of
 * one cyclic prefix with most energy in the impulse response then places the FFT.
 *
 * Carrier offset: the best linear unbiased estimator on repetitions of M. Morelli,
 * U. Mengali, "An Improved Frequency Offset Estimator for OFDM Applications", IEEE
 * Communications Letters 3 (1999), eq. (13) to (16), over ±fs / fft_size.
 *
 * All decisions are taken at sample positions that follow from the samples alone: however
 * the input is cut, the same samples give the same frames, bit for bit.
 */
class PHYDNN_API synchronizer
{
public:
    /*!
     * \param dimensions of the waveform
     * \param false_alarm_rate per sample of noise, from 1e-15 to 1e-2
     * \param max_uses longest payload to accept: bounds what a header can make us store
     * \param bundle_id of the frames to accept; 0 accepts any
     * \throws std::invalid_argument for a parameter out of range
     */
    synchronizer(const numerology& dimensions,
                 double false_alarm_rate,
                 size_t max_uses,
                 uint32_t bundle_id);

    //! Called for each frame, in the order of frame numbers within a transmission.
    using sink = std::function<void(reception&&)>;

    //! \brief Takes in \p size samples.
    void process(const gr_complex* samples, size_t size, const sink& deliver);

    const synchronizer_counts& counts() const { return d_counts; }

    //! Detection statistic over its threshold for each of \p size samples: used to
    //! measure detection and false alarms. \p size must be at least the preamble plus one
    //! FFT.
    std::vector<float> statistic(const gr_complex* samples, size_t size);

private:
    struct acquisition {
        uint64_t start; //!< of the FFT window of the first repetition
        double cfo;
    };

    void take_in(const gr_complex* samples, size_t size);
    void drop_before(uint64_t index);
    const gr_complex* at(uint64_t index) const { return &d_samples[index - d_first]; }
    bool have(uint64_t index) const { return index <= d_first + d_samples.size(); }

    void filter(const gr_complex* samples, size_t size, float* power);
    void
    statistic(const float* power, const gr_complex* samples, size_t size, float* out);

    bool search();
    bool acquire();
    bool track(const sink& deliver);
    void finish(const sink& deliver);
    void announce_gap(const sink& deliver);

    double estimate_cfo(const gr_complex* samples);
    void demodulate(uint64_t index, gr_complex* row);
    std::optional<frame_header> read_header();
    bool pilot_present(const gr_complex* row);

    enum class state { searching, acquiring, tracking };

    numerology d_dimensions;
    double d_threshold;
    size_t d_max_uses;
    uint32_t d_bundle_id;
    synchronizer_counts d_counts;

    volk::vector<gr_complex> d_samples; // what has come in and may still be needed
    uint64_t d_first = 0;               // stream index of d_samples[0]
    uint64_t d_position = 0; // stream index from which the present state works on
    state d_state = state::searching;

    fft d_filter_forward, d_filter_backward;
    volk::vector<gr_complex> d_filter_spectrum;
    volk::vector<gr_complex> d_scratch;
    std::vector<float> d_power; // of the matched filter from d_position on
    std::vector<float> d_statistic;
    std::vector<double> d_energy;

    fft d_preamble_forward, d_preamble_backward;
    volk::vector<gr_complex> d_preamble_spectrum;

    fft d_demodulator;
    volk::vector<gr_complex> d_rotated;
    header_codec d_codec;
    delay_window d_window;
    volk::vector<gr_complex> d_pilots, d_ls, d_taps, d_channel;
    std::vector<float> d_header_signs;

    acquisition d_acquired{};
    reception d_frame;
    size_t d_row = 0;        // next row of the grid to demodulate
    size_t d_next_pilot = 0; // index of the next DMRS to check
    size_t d_good_row = 0;   // row after the last DMRS that was there
    bool d_pilot_missed = false;
    std::optional<uint32_t> d_expected; // next frame number, once one has been seen
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_SYNCHRONIZER_H */
