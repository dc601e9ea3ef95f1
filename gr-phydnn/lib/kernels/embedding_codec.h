/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_EMBEDDING_CODEC_H
#define INCLUDED_PHYDNN_KERNELS_EMBEDDING_CODEC_H

#include <gnuradio/phydnn/api.h>
#include <volk/volk_alloc.hh>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gr::phydnn::kernels {

//! How a slice finds its embedding: the largest inner product, or the smallest distance.
enum class lookup_rule { inner_product, distance };

//! "inner_product" or "distance" \throws std::invalid_argument for any other name
PHYDNN_API lookup_rule lookup_rule_from(const std::string& name);

//! Instruction sets that the kernel is compiled for; all of them give the same bits.
enum class instruction_set { generic, avx2, avx512 };

//! The widest one that this machine runs
PHYDNN_API instruction_set best_instruction_set();

/*!
 * \brief Dictionary lookup at both ends: slices to constellation points, and back.
 *
 * A dictionary of M embeddings e_j in R^D rides on a constellation of M points p_j: label
 * j stands for both (Abdi et al., "PhyDNNs", embedding layer and its inverse). The
 * transmitter replaces each slice x by the label argmax <x, e_j> or argmin |x - e_j|, and
 * sends p_j. The receiver takes the nearest point's embedding (hard), or, knowing the
 * noise variance N0, the mean of all embeddings under the posterior p(j|y) ~ exp(-|y -
 * p_j|^2 / N0) (soft): the minimum mean squared error estimate of the embedding for
 * equally likely labels.
 *
 * Ties go to the lowest label. Single precision, with the same bits whatever the
 * instruction set: sums run over d, or over j, in ascending order and every product that
 * is summed is a fused multiply-add. The methods are const and share nothing that
 * changes: threads may call them at once.
 */
class PHYDNN_API embedding_codec
{
public:
    static constexpr size_t max_size = 4096; //!< largest M
    static constexpr size_t max_dim = 4096;  //!< largest D

    /*!
     * \param embeddings M x D, row by row; finite
     * \param dim D, the length of a slice: 1 to 4096
     * \param points M complex points, 2 to 4096; point j carries embedding j, so that the
     *        order is the labelling. Finite, not all zero; the waveform expects unit
     * average power (see average_power()) \param lookup rule of encode() \param
     * instructions the code path to take \throws std::invalid_argument if sizes disagree
     * or are out of range, a value is not finite, or this machine lacks the instruction
     * set
     */
    embedding_codec(const std::vector<float>& embeddings,
                    size_t dim,
                    const std::vector<std::complex<float>>& points,
                    lookup_rule lookup = lookup_rule::distance,
                    instruction_set instructions = best_instruction_set());

    size_t size() const { return d_size; } //!< M, embeddings in the dictionary
    size_t dim() const { return d_dim; }   //!< D, values in a slice
    lookup_rule lookup() const { return d_lookup; }
    const std::vector<std::complex<float>>& points() const { return d_points; }
    float average_power() const { return d_average_power; } //!< mean of |p_j|^2

    /*!
     * Slices to labels and symbols.
     * \param slices count x D values, row by row
     * \param count slices, 0 allowed
     * \param labels [out] count labels, 0 to M - 1
     * \param symbols [out] count points, symbols[n] = points()[labels[n]]
     * \throws std::invalid_argument if a value is not finite; the outputs are then
     * undefined
     */
    void encode(const float* slices,
                size_t count,
                int32_t* labels,
                std::complex<float>* symbols) const;

    /*!
     * Symbols to the labels of the nearest points, and to their embeddings.
     * \param symbols count received symbols
     * \param count symbols, 0 allowed
     * \param labels [out] count labels
     * \param slices [out] count x D values, row by row
     * \throws std::invalid_argument if a symbol is not finite
     */
    void decode_hard(const std::complex<float>* symbols,
                     size_t count,
                     int32_t* labels,
                     float* slices) const;

    /*!
     * Symbols to posterior means of the embeddings.
     * \param symbols count received symbols
     * \param count symbols, 0 allowed
     * \param n0 noise variance N0 (N0/2 per real dimension) of each symbol: 0 gives the
     *        nearest point's embedding (the mean of several at the same distance),
     * infinity the mean of the dictionary \param slices [out] count x D values, row by
     * row \throws std::invalid_argument if a symbol is not finite, or an n0 negative or
     * NaN
     */
    void decode_soft(const std::complex<float>* symbols,
                     size_t count,
                     const float* n0,
                     float* slices) const;

    //! The same with one n0 for all symbols
    void decode_soft(const std::complex<float>* symbols,
                     size_t count,
                     float n0,
                     float* slices) const;

    //! The dictionary as the inner loops read it
    struct tables {
        size_t size, dim;
        size_t group; //!< labels scored side by side
        volk::vector<float>
            scorers; //!< embeddings as [group of labels][d][label in group]
        volk::vector<float>
            offsets;               //!< what a label's score starts from; -inf on padding
        volk::vector<float> rows;  //!< embeddings as [label][d]
        volk::vector<float> tiles; //!< embeddings as [d / 16][label][d % 16], zero-padded
        volk::vector<float> re, im;     //!< the points
        volk::vector<float> half_power; //!< |p_j|^2 / 2
    };
    struct routines;

private:
    size_t d_size;
    size_t d_dim;
    lookup_rule d_lookup;
    std::vector<std::complex<float>> d_points;
    float d_average_power;
    tables d_tables;
    const routines* d_routines;
};

} // namespace gr::phydnn::kernels

#endif /* INCLUDED_PHYDNN_KERNELS_EMBEDDING_CODEC_H */
