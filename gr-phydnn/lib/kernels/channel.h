/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_CHANNEL_H
#define INCLUDED_PHYDNN_KERNELS_CHANNEL_H

#include "fading.h"
#include "impairments.h"
#include "noise.h"
#include "resampler.h"
#include "window.h"
#include <gnuradio/phydnn/api.h>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <vector>

namespace gr {
namespace phydnn {
namespace kernels {

/*! \brief What a channel is made of; the defaults are a wire. */
struct PHYDNN_API channel_settings {
    double sample_rate = 20e6; //!< Hz
    fading_kind fading = fading_kind::fixed;
    std::vector<double> delays_s = { 0 };               //!< one per path, 0 to 10 ms
    std::vector<std::complex<float>> gains = { { 1 } }; //!< one per path; see fading
    std::vector<double> k_factors = {};                 //!< one per path, or none (all 0)
    double doppler_hz = 0;                              //!< largest Doppler shift
    std::uint64_t block_length = 0; //!< samples of a frame; 0: new_frame() starts each
    //! Es/N0; infinite: no noise
    double snr_db = std::numeric_limits<double>::infinity();
    double cfo_hz = 0;
    double sfo_ppm = 0;         //!< see sample_clock
    double phase_noise_hz = 0;  //!< linewidth, full width at half maximum
    double iq_amplitude_db = 0; //!< see iq_imbalance
    double iq_phase_deg = 0;
    double full_scale = 0; //!< of the sc16 converter; 0: samples stay floating point
    std::uint64_t seed = 0;
    std::uint32_t link = 0; //!< links of the same seed are independent
};

/*!
 * \brief A radio channel and its receiver's front end, at complex baseband.
 *
 * In order: paths with fractional delays and gains that are fixed, drawn per frame or
 * follow a Doppler process; the receiver's sample clock offset; its carrier frequency
 * offset and phase noise; I/Q imbalance; white Gaussian noise; a 16-bit converter.
 *
 * The noise has total variance N0 = 10^(-snr_db/10) per complex sample (N0/2 per real
 * dimension). Es/N0 is thus snr_db where the energy per channel use Es is 1: a signal of
 * unit power on each subcarrier that it uses, seen through unitary FFTs. It does not
 * depend on the gains. Random gains are scaled to a mean total power of 1; fixed ones are
 * used as they are.
 *
 * The samples made depend on the samples given, the settings and the seed, and not on how
 * the stream is cut into calls: all that is random or moves is a function of the sample
 * count. A sample that is not finite is taken as 0 and counted; the filters are
 * transversal, so nothing else remembers it.
 */
class PHYDNN_API channel
{
public:
    /*! \throws std::invalid_argument for a setting out of range; names it. */
    explicit channel(const channel_settings& settings);

    /*!
     * \brief Runs the channel until the input or the room for output is used up.
     *
     * Takes no more input than the outputs need. Where delays are not whole samples, or
     * the clock is off, output runs up to 20 samples (each) behind the input; the first
     * input is at time 0 of the output all the same.
     * \param in Input of \p n_in samples.
     * \param out Room for \p n_out samples.
     * \param consumed Set to the number of inputs taken.
     * \return Number of outputs made.
     */
    std::size_t work(const std::complex<float>* in,
                     std::size_t n_in,
                     std::complex<float>* out,
                     std::size_t n_out,
                     std::size_t& consumed);

    /*! \brief Number of inputs that work() needs for \p n_out outputs. */
    std::size_t inputs_for(std::size_t n_out) const;

    /*!
     * \brief A frame starts at input \p sample (counted from the first, 0): paths that
     * fade per frame are drawn anew from there on. Frames start in order, none before an
     * input taken.
     */
    void new_frame(std::uint64_t sample);

    /*!
     * \brief Output at or next after which the input \p sample appears by the earliest
     * path, at the present clock offset.
     */
    std::uint64_t output_of(std::uint64_t sample) const;

    //! \name Settings that may change between calls; each from the next sample on.
    //! \throws std::invalid_argument for a value out of range.
    //! \{
    void set_snr_db(double snr_db);
    void set_cfo_hz(double cfo_hz);
    void set_sfo_ppm(double sfo_ppm);
    void set_phase_noise_hz(double phase_noise_hz);
    void set_iq_imbalance(double amplitude_db, double phase_deg);
    void set_gains(const std::vector<std::complex<float>>& gains);
    //! \}

    /*! \brief Inputs that were not finite numbers. */
    std::uint64_t not_finite() const { return d_not_finite; }
    /*! \brief Real or imaginary parts that the converter clipped. */
    std::uint64_t clipped() const { return d_clipped; }

private:
    struct path {
        std::size_t delay; // whole samples
        bool fractional;
        float weights[interpolator_length];
    };
    void run_paths(std::size_t n);

    channel_settings d_settings;
    std::vector<path> d_paths;
    std::uint64_t d_earliest; // delay of the first path, to the nearest sample
    std::size_t d_ahead; // inputs beyond the current one that the paths' filters want
    fading d_fading;
    sample_clock d_clock;
    oscillator d_oscillator;
    iq_imbalance d_iq;
    noise d_noise;
    float d_amplitude; // of the noise

    window d_received; // inputs, at the paths' entry
    window d_faded;    // the paths' sum, at the sample clock's entry
    std::vector<std::complex<float>> d_delayed;
    std::deque<std::uint64_t> d_starts; // of frames ahead
    std::uint64_t d_frames;             // started so far
    std::uint64_t d_summed;             // samples that left the paths
    std::uint64_t d_made;               // samples that left the channel
    std::uint64_t d_not_finite;
    std::uint64_t d_clipped;
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_CHANNEL_H */
