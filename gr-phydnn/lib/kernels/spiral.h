/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_SPIRAL_H
#define INCLUDED_PHYDNN_KERNELS_SPIRAL_H

#include <gnuradio/phydnn/api.h>
#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gr {
namespace phydnn {
namespace kernels {

//! How a received point becomes a weight: by its posterior mean, or the nearest point's.
enum class spiral_rule { mmse, nearest };

//! "mmse" or "nearest" \throws std::invalid_argument for any other name
PHYDNN_API spiral_rule spiral_rule_from(const std::string& name);

/*!
 * \brief A pair of interleaved Archimedes' spirals for weights of zero mean and unit
 * variance.
 *
 * A weight w becomes the point sgn(w) r exp(j gamma r) with r = c |w|^alpha, and c such
 * that Gaussian weights have unit power (Jankowski, Gündüz, Mikolajczyk, "AirNet", eq.
 * (2)-(3), where alpha is 1; the same as `phydnn.spiral.Spiral` in Python, which says
 * more). Neighbouring arms lie pi / gamma apart.
 *
 * The nearest point (eq. (4)) is found on the two arms that enclose the symbol, by
 * Newton's method. The posterior mean under a Gaussian prior comes from a table for N0 to
 * the nearest decibel, over the radius and the angle behind an arm; tables are made when
 * they are first needed, so that one object serves one thread.
 */
class PHYDNN_API spiral
{
public:
    static constexpr float max_gamma = 32;

    /*!
     * \param gamma radians that the spiral turns in a unit of radius, 0 to 32
     * \param alpha exponent of the radius, 0.5 to 1
     * \throws std::invalid_argument if one is out of range
     */
    explicit spiral(float gamma, float alpha = 1);

    float gamma() const { return d_gamma; }
    float alpha() const { return d_alpha; }

    //! Points of \p count weights
    void encode(const float* weights, size_t count, std::complex<float>* symbols) const;

    //! Weights of the points nearest to \p count symbols
    void nearest(const std::complex<float>* symbols, size_t count, float* weights) const;

    /*!
     * Posterior means of \p count weights.
     * \param symbols finite
     * \param n0 \p count noise variances, N0/2 per real dimension; infinite where nothing
     * came, and the mean is 0
     * \param left if not null: where to write the mean squared errors that the decoder
     * leaves at each N0 for Gaussian weights; 1 where nothing came
     */
    void mmse(const std::complex<float>* symbols,
              const float* n0,
              size_t count,
              float* weights,
              float* left = nullptr);

private:
    struct level {
        int32_t offset = -1; //!< of its table in d_means, in values
        float rows = 0;      //!< steps of radius
        float n0 = 0;        //!< that it was made for
        float distortion = 1;
    };

    void prepare(int decibels);
    bool straight() const { return d_gamma == 0 && d_alpha == 1; }

    static constexpr int lowest = -80, highest = 30; // dB

    float d_gamma;
    float d_alpha;
    double d_scale;
    double d_step; // of radius, in the tables
    std::array<level, highest - lowest + 1> d_levels;
    level d_nothing;            // of what never came: the prior's mean, 0
    std::vector<float> d_means; // all tables, one after the other
};

/*! Spirals of so many \p gammas and \p alphas.
 * \throws std::invalid_argument if their numbers differ, or a value is out of range */
PHYDNN_API std::vector<spiral> spirals(const std::vector<float>& gammas,
                                       const std::vector<float>& alphas);

/*!
 * \brief How the weights of a layer cross: nested spirals, repetition, and power.
 *
 * The same as `phydnn.spiral.LayerCode` in Python. The real symbols, copy after copy and
 * in each weight after weight, fill the channel uses, real part first.
 */
class PHYDNN_API layer_code
{
public:
    static constexpr size_t max_expansion = 4;
    static constexpr size_t max_repeats = 64;
    static constexpr size_t max_weights = size_t(1) << 24;

    /*!
     * \param spirals nested ones, the first on the weights and each next on both parts of
     * the one before; none for plain symbols, at most 4
     * \param repeats copies of all of it, 1 to 64
     * \param amplitude of the symbols, 0.001 to 1000
     * \throws std::invalid_argument if one is out of range
     */
    layer_code(std::vector<spiral> spirals, size_t repeats, float amplitude);

    //! Channel uses that \p count weights take
    size_t uses(size_t count) const { return (count * reals() + 1) / 2; }

    //! The most weights that fit into \p uses channel uses
    size_t capacity(size_t uses) const { return 2 * uses / reals(); }

    //! Real symbols a weight
    size_t reals() const { return d_repeats << d_spirals.size(); }

    /*!
     * \param weights of unit variance
     * \param count of them
     * \param symbols room for uses(count)
     * \throws std::invalid_argument if a weight is not finite
     */
    void encode(const float* weights, size_t count, std::complex<float>* symbols) const;

    /*!
     * Weights from what was received of them; copies are averaged by the noise that each
     * had. \param symbols uses(count) of them, finite where \p n0 is
     * \param n0 uses(count) noise variances, or one
     * \param one_n0 whether it is one
     * \param count of the weights
     * \param rule "mmse" shrinks towards 0, the prior's mean, "nearest" does not
     * \param weights room for \p count; 0 where nothing came
     * \throws std::invalid_argument if a symbol is not finite where \p n0 is, or an n0 is
     * negative or NaN
     */
    void decode(const std::complex<float>* symbols,
                const float* n0,
                bool one_n0,
                size_t count,
                spiral_rule rule,
                float* weights);

private:
    std::vector<spiral> d_spirals;
    size_t d_repeats;
    float d_amplitude;
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_SPIRAL_H */
