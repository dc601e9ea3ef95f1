/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_RESAMPLER_H
#define INCLUDED_PHYDNN_KERNELS_RESAMPLER_H

#include <gnuradio/phydnn/api.h>
#include <complex>
#include <cstddef>
#include <cstdint>

namespace gr {
namespace phydnn {
namespace kernels {

/*!
 * \brief Band-limited interpolation: a Kaiser-windowed sinc over 40 samples.
 *
 * The value between samples is right to -57 dB at the worst frequency of the middle 90%
 * of the band, and to -68 dB rms over it.
 */
constexpr std::size_t interpolator_length = 40;
/*! \brief Samples of the 40 that come before the one at or below the wanted instant. */
constexpr std::size_t interpolator_before = interpolator_length / 2 - 1;

/*!
 * \brief Weights w: x(n + fraction) = sum over j of w[j] x[n - interpolator_before + j].
 * \param fraction Part of a sample, 0 to 1.
 * \param weights Room for interpolator_length values.
 */
PHYDNN_API void interpolator_weights(double fraction, float* weights);

/*! \brief out[i] = sum over j of weights[j] in[i + j], for i < n; not in place. */
PHYDNN_API void interpolate(const std::complex<float>* in,
                            const float* weights,
                            std::complex<float>* out,
                            std::size_t n);

/*!
 * \brief out[i] += sum over j < taps of weights[j] in[i + j], for i < n; not in place.
 * \param taps A multiple of 8.
 */
PHYDNN_API void filter_add(const std::complex<float>* in,
                           const float* weights,
                           std::size_t taps,
                           std::complex<float>* out,
                           std::size_t n);

/*! \brief Phases of the filter bank: fractions of a sample that it knows. */
constexpr std::int64_t bank_phases = 2048;

/*!
 * \brief Samples at moving instants: output i is taken time + i * step after in[0].
 *
 * Each instant is taken to the nearest bank_phases-th of a sample.
 * \param in Input; interpolator_before samples before the first instant, and 20 after the
 *   last, can be read.
 * \param time, step In units of 2^-48 samples; the step may be of either sign.
 */
PHYDNN_API void interpolate_moving(const std::complex<float>* in,
                                   std::int64_t time,
                                   std::int64_t step,
                                   std::complex<float>* out,
                                   std::size_t n);

/*!
 * \brief The receiver's sample clock: output n is the input at time n (1 + 1e-6 ppm).
 *
 * The offset is (T' - T)/T, T' being the receiver's sample period and T the transmitter's
 * (M. Speth et al., "Optimum Receiver Design for Wireless Broad-Band Systems Using OFDM",
 * 1999). Time is a whole number of 2^-48 samples, so it never drifts. The 2048-phase
 * filter bank adds less than -63 dB of timing granularity. While no offset was ever set,
 * samples pass unchanged and nothing is held back.
 */
class PHYDNN_API sample_clock
{
public:
    sample_clock();

    /*! \brief Sets the offset from the next output on. */
    void set_ppm(double ppm);

    /*! \brief Inputs (from the one at input 0 of run()) that \p n outputs need. */
    std::size_t inputs_for(std::size_t n) const;

    /*! \brief Outputs from the next one to the first not before input \p input. */
    std::int64_t outputs_until(std::int64_t input) const;

    /*!
     * \brief Makes up to \p n outputs.
     * \param in Input; in[-interpolator_before] … in[available - 1] can be read.
     * \param available Number of inputs from in[0] on.
     * \param out Output.
     * \param n Most outputs to make.
     * \param used Set to the number of inputs that in[0] has to move on by.
     * \return Number of outputs made.
     */
    std::size_t run(const std::complex<float>* in,
                    std::size_t available,
                    std::complex<float>* out,
                    std::size_t n,
                    std::size_t& used);

    /*! \brief Largest offset, in ppm. */
    static constexpr double limit_ppm = 1000;

private:
    bool interpolating() const { return d_drift != 0 || d_fraction != 0; }

    const float* d_bank;
    std::int64_t d_drift; // 2^-48 samples by which an output step exceeds an input step
    std::int64_t d_fraction; // 2^-48 samples from in[0] to the next output
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_RESAMPLER_H */
