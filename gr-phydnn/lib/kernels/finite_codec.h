/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_FINITE_CODEC_H
#define INCLUDED_PHYDNN_KERNELS_FINITE_CODEC_H

#include <gnuradio/phydnn/api.h>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gr::phydnn::kernels {

//! How the receiver reads an amplitude: as it came, as the nearest one, or as the
//! posterior mean.
enum class finite_decision { none, hard, soft };

//! "none", "hard" or "soft" \throws std::invalid_argument for any other name
PHYDNN_API finite_decision finite_decision_from(const std::string& name);

/*!
 * \brief The finite-bits constellation at both ends: real values to channel uses, and
 * back.
 *
 * After Xie and Qin, "A Lite Distributed Semantic Communication System for Internet of
 * Things", eq. (18)-(24). Value x becomes number k = round((x - low) (2^m - 1) / (high -
 * low)), ties to even, kept within 0 and 2^m - 1, and leaves as amplitude gain (low + k
 * (high - low) / (2^m - 1)); values 2n and 2n + 1 are the real and the imaginary part of
 * use n. The receiver, knowing the noise variance N0, takes the mean of the values under
 * p(k|y) ~ p(k) exp(-(y - a_k)^2 / N0): the minimum mean squared error estimate.
 *
 * With 0 bits, full resolution, a value leaves as it is times the gain, and the soft
 * decision is that for Gaussian values of mean power 1: y / (gain (1 + N0)).
 *
 * Single precision, with the same bits on every machine. The methods are const and share
 * nothing that changes: threads may call them at once.
 */
class PHYDNN_API finite_codec
{
public:
    static constexpr int max_bits = 8;              //!< of a real dimension
    static constexpr float largest_amplitude = 1e3; //!< the mean power is meant to be 1

    /*!
     * \param low least value of the constellation
     * \param high largest value
     * \param bits m of each real dimension, 1 to 8; 0 for full resolution
     * \param gain amplitude of the value 1; the waveform expects a mean power of 1
     * \param priors how often each number is sent, 2^m weights of any sum; none for
     *        equally often. A number that is never sent counts as 2^-120
     * \throws std::invalid_argument if a parameter is not finite or out of range
     */
    finite_codec(float low,
                 float high,
                 int bits,
                 float gain,
                 const std::vector<float>& priors = {});

    int bits() const { return d_bits; }
    size_t size() const { return d_values.size(); } //!< 2^m; 0 at full resolution
    const std::vector<float>& values() const { return d_values; }
    const std::vector<float>& amplitudes() const { return d_amplitudes; }

    /*!
     * Values to channel uses.
     * \param values 2 x uses values
     * \param uses 0 allowed
     * \param symbols [out] uses symbols
     * \throws std::invalid_argument if a value is not finite, or at full resolution its
     * amplitude is beyond single precision; the output is then undefined
     */
    void encode(const float* values, size_t uses, std::complex<float>* symbols) const;

    /*!
     * Channel uses to values.
     * \param symbols received and equalised
     * \param uses 0 allowed
     * \param n0 noise variance N0 (N0/2 per real dimension): infinity gives the values'
     *        mean, 0 the nearest one; not read unless the decision is soft
     * \param n0_stride 1 where each use has its own n0, 0 for one for all
     * \param decision what is made of them
     * \param values [out] 2 x uses values
     * \throws std::invalid_argument if a symbol is not finite, or an n0 that is read
     * negative or NaN
     */
    void decode(const std::complex<float>* symbols,
                size_t uses,
                const float* n0,
                size_t n0_stride,
                finite_decision decision,
                float* values) const;

private:
    float d_low, d_scale;   //!< of the values: numbers in a unit
    float d_first, d_steps; //!< the same of the amplitudes
    float d_top;            //!< the last number
    float d_gain;
    int d_bits;
    std::vector<float> d_values, d_amplitudes;
    std::vector<float> d_log2_priors;
};

} // namespace gr::phydnn::kernels

#endif /* INCLUDED_PHYDNN_KERNELS_FINITE_CODEC_H */
