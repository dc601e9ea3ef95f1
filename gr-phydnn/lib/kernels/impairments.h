/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_IMPAIRMENTS_H
#define INCLUDED_PHYDNN_KERNELS_IMPAIRMENTS_H

#include "noise.h"
#include <gnuradio/phydnn/api.h>
#include <complex>
#include <cstddef>
#include <cstdint>

namespace gr {
namespace phydnn {
namespace kernels {

/*!
 * \brief A receiver's local oscillator: frequency offset and Wiener phase noise.
 *
 * Sample n is multiplied by exp(2 pi j phase(n)). The phase is a whole number of 2^-64
 * turns, so the sum of its steps is exact: it does not drift, nor depend on how the
 * samples are cut.
 */
class PHYDNN_API oscillator
{
public:
    oscillator(std::uint64_t seed, std::uint32_t link);

    /*! \brief Offset in cycles per sample, from the next sample on; the phase goes on. */
    void set_frequency(double frequency);

    /*!
     * \brief Linewidth in cycles per sample: the phase's random steps have a variance of
     * 2 pi linewidth rad^2.
     */
    void set_linewidth(double linewidth);

    /*! \brief Rotates samples first … first + n - 1, which follow the last call's. */
    void rotate(std::uint64_t first, std::complex<float>* samples, std::size_t n);

private:
    noise d_noise;
    std::uint64_t d_phase; // 2^-64 turns
    std::uint64_t d_step;
    double d_deviation; // standard deviation of a random step, 2^-64 turns
};

/*!
 * \brief A direct-conversion receiver's I/Q imbalance: y = K1 x + K2 conj(x).
 *
 * K1 = (1 + g exp(-j phi)) / c and K2 = (1 - g exp(j phi)) / c: the quadrature branch has
 * gain g and lags by phi. c = sqrt(2 + 2 g^2) keeps the power of a circular signal.
 */
class PHYDNN_API iq_imbalance
{
public:
    /*! \brief Sets g (dB) and phi (degrees); 0 and 0: no imbalance. */
    void set(double amplitude_db, double phase_deg);

    /*! \brief Applies the imbalance in place. */
    void apply(std::complex<float>* samples, std::size_t n) const;

private:
    bool d_balanced = true;
    float d_in_phase = 1; // re(y) = in_phase re(x)
    float d_direct = 1;   // im(y) = direct im(x) + crossed re(x)
    float d_crossed = 0;
};

/*!
 * \brief Rounds samples to what a 16-bit converter (sc16) delivers, in place.
 *
 * One step is full_scale/32767; each part is rounded to the nearest step, ties to even,
 * and held within ±full_scale.
 * \return The number of parts (real or imaginary) that had to be held.
 */
PHYDNN_API std::size_t
quantise_sc16(float full_scale, std::complex<float>* samples, std::size_t n);

/*!
 * \brief Copies samples; those with a part that is not a finite number become 0.
 * \return How many were not finite.
 */
PHYDNN_API std::size_t
copy_finite(const std::complex<float>* in, std::complex<float>* out, std::size_t n);

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_IMPAIRMENTS_H */
