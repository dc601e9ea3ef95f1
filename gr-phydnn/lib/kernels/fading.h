/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_FADING_H
#define INCLUDED_PHYDNN_KERNELS_FADING_H

#include "noise.h"
#include <gnuradio/phydnn/api.h>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gr {
namespace phydnn {
namespace kernels {

/*! \brief How the gains of the paths change. */
enum class fading_kind {
    fixed,     //!< they are the gains given, always
    per_frame, //!< drawn anew for each frame, constant over it
    doppler,   //!< they evolve with the sample count
};

/*!
 * \brief The gains of a channel's paths, as functions of the frame's or the sample's
 * number.
 *
 * A random path has mean power p, of which K/(K+1) is a constant line-of-sight part of
 * phase zero and 1/(K+1) is scattered: per frame, a circular Gaussian value; with
 * Doppler, the sum of 32 equal waves of random phase whose angles of arrival are drawn
 * one in each 32nd of the circle (Clarke's model: the autocorrelation over draws is J0(2
 * pi f tau) exactly). The sum is evaluated every interval() samples, 64 or more times per
 * Doppler cycle, and interpolated linearly between, to -58 dB or better.
 */
class PHYDNN_API fading
{
public:
    /*!
     * \param kind How the gains change.
     * \param gains One per path: the gain (fixed), or one whose squared magnitude is the
     *   path's mean power (random; the phase is not used).
     * \param k_factors One per path: line-of-sight over scattered power, 0 or more.
     * \param doppler Largest Doppler shift, in cycles per sample.
     * \param seed, link Key of the random numbers.
     * \throws std::invalid_argument for k_factors of another size than gains.
     */
    fading(fading_kind kind,
           const std::vector<std::complex<float>>& gains,
           const std::vector<double>& k_factors,
           double doppler,
           std::uint64_t seed,
           std::uint32_t link);

    /*! \brief Replaces gains, from the next apply() on. */
    void set_gains(const std::vector<std::complex<float>>& gains);

    /*!
     * \brief Gain of \p path: in frame \p index (per frame) or at sample \p index
     * (Doppler).
     */
    std::complex<float> gain(std::size_t path, std::uint64_t index) const;

    /*!
     * \brief out[i] += gain of \p path times in[i], for n samples of one frame.
     * \param path Index of the path.
     * \param frame Number of the frame.
     * \param first Sample count of in[0].
     */
    void apply(std::size_t path,
               std::uint64_t frame,
               std::uint64_t first,
               const std::complex<float>* in,
               std::complex<float>* out,
               std::size_t n) const;

    /*! \brief Samples from one evaluation of the Doppler process to the next. */
    std::size_t interval() const { return d_interval; }

    /*! \brief Largest Doppler shift, in cycles per sample. */
    static constexpr double limit_doppler = 1.0 / 1024;

private:
    static constexpr std::size_t wave_count = 32; // the angles of arrival count on it
    struct path {
        std::complex<float> constant; // a fixed gain, or a random one's line of sight
        float scattered;              // root-mean-square amplitude of the rest
        double line_of_sight;         // its share of the power
        noise draws;
        std::uint64_t phase[wave_count]; // 2^-64 turns
        std::uint64_t step[wave_count];  // 2^-64 turns per sample
    };

    fading_kind d_kind;
    std::size_t d_interval;
    std::vector<path> d_paths;
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_FADING_H */
