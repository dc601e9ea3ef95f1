/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_CHANNEL_H
#define INCLUDED_PHYDNN_CHANNEL_H

#include <gnuradio/block.h>
#include <gnuradio/phydnn/api.h>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace gr {
namespace phydnn {

/*!
 * \brief A radio channel and the receiver's front end, seeded and replayable.
 * \ingroup phydnn
 *
 * In order: paths with fractional delays, whose gains are static, drawn per frame, or
 * follow a Doppler process; sample clock offset; carrier frequency offset and phase
 * noise; I/Q imbalance; white Gaussian noise; a 16-bit converter.
 *
 * Es/N0: the noise has total variance N0 = 10^(-snr_db/10) per complex sample, N0/2 per
 * real dimension, whatever the signal's power. snr_db is therefore Es/N0 where a channel
 * use has energy 1: for frame_transmitter's samples, whose used subcarriers have power 1
 * through unitary FFTs. Paths that fade have a mean total power of 1; static gains are
 * used as they are.
 *
 * The output depends on the input, the parameters, `seed` and `link`, and not on how the
 * scheduler cuts the stream: the same run gives the same samples, bit for bit, whatever
 * the width of the machine's vectors. Links of one seed are independent of each other.
 *
 * Where a delay is not a whole number of samples, or sfo_ppm is not 0, interpolation (40
 * samples, -57 dB worst error over the middle 90% of the band) holds up to 20 samples of
 * input back for each; the last ones stay in the block when the stream ends. Output 0 is
 * input 0 all the same.
 *
 * Stream tags: `packet_len` on an input starts a frame: with fading `frame` and
 * block_length 0, the gains are drawn anew from there on. Draw n belongs to the n-th
 * frame, from 0; samples before the first tag share draw 0. All tags leave on the sample
 * at which the earliest path delivers the one they came with.
 *
 * An input that is not a finite number is taken as 0 and counted, never remembered.
 */
class PHYDNN_API channel : virtual public gr::block
{
public:
    typedef std::shared_ptr<channel> sptr;

    /*!
     * \param sample_rate in samples per second
     * \param snr_db Es/N0 in dB, -100 or more; infinite: no noise
     * \param model `awgn` (one path that never changes), `rayleigh` or `rician` (one
     *   path that fades), or `tdl` (a tapped delay line)
     * \param fading what the paths of `rayleigh`, `rician` and `tdl` do: `frame` (drawn
     *   anew for each frame), `doppler` (they evolve with the sample count, by Clarke's
     *   model), or, for `tdl` alone, `static`
     * \param k_factors line-of-sight over scattered power (not in dB): one value for
     *   `rician`; one per path, or none (all Rayleigh), for `tdl`
     * \param delays of the paths of `tdl`, in seconds, 0 to 10 ms
     * \param gains one per path: the gain where it is static; otherwise its squared
     *   magnitude is the path's share of the mean power; empty where there is one path: 1
     * \param doppler_hz largest Doppler shift, up to 1/1024 of the sample rate
     * \param block_length samples of a frame for fading `frame`; 0: `packet_len` tags
     *   start frames
     * \param cfo_hz carrier frequency offset, less than half of the sample rate
     * \param sfo_ppm sample clock offset (T' - T)/T, -1000 to 1000: output n is the input
     *   at time n T (1 + 1e-6 sfo_ppm)
     * \param phase_noise_hz linewidth of the oscillators (full width at half maximum of
     *   the Lorentzian line), up to 1/100 of the sample rate; the density at an offset f
     *   above the linewidth is phase_noise_hz/(2 pi f^2) per Hz
     * \param iq_amplitude_db gain of the quadrature branch over the other, -20 to 20
     * \param iq_phase_deg lag of the quadrature branch, -90 to 90
     * \param full_scale amplitude at which the 16-bit converter clips; 0: no converter
     * \param seed of all random numbers
     * \param link which of the seed's independent links this is
     * \throws std::invalid_argument for a parameter out of range
     */
    static sptr make(double sample_rate = 20e6,
                     double snr_db = std::numeric_limits<double>::infinity(),
                     const std::string& model = "awgn",
                     const std::string& fading = "frame",
                     const std::vector<double>& k_factors = {},
                     const std::vector<double>& delays = {},
                     const std::vector<gr_complex>& gains = {},
                     double doppler_hz = 0,
                     uint64_t block_length = 0,
                     double cfo_hz = 0,
                     double sfo_ppm = 0,
                     double phase_noise_hz = 0,
                     double iq_amplitude_db = 0,
                     double iq_phase_deg = 0,
                     double full_scale = 0,
                     uint64_t seed = 0,
                     uint32_t link = 0);

    //! \name May be called while running; each throws as make() does.
    //! \{
    virtual void set_snr_db(double snr_db) = 0;
    virtual void set_cfo_hz(double cfo_hz) = 0;
    virtual void set_sfo_ppm(double sfo_ppm) = 0;
    virtual void set_phase_noise_hz(double phase_noise_hz) = 0;
    virtual void set_iq_imbalance(double iq_amplitude_db, double iq_phase_deg) = 0;
    //! As many as there are paths; empty where there is one: 1.
    virtual void set_gains(const std::vector<gr_complex>& gains) = 0;
    //! \}

    //! Inputs that were not finite numbers.
    virtual uint64_t not_finite() const = 0;
    //! Real or imaginary parts that the converter clipped.
    virtual uint64_t clipped() const = 0;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_CHANNEL_H */
