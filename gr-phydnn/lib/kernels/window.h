/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_WINDOW_H
#define INCLUDED_PHYDNN_KERNELS_WINDOW_H

#include <algorithm>
#include <complex>
#include <cstddef>
#include <vector>

namespace gr {
namespace phydnn {
namespace kernels {

/*!
 * \brief Samples that wait between two stages, and those before them that a filter still
 * needs: a window that slides along a vector.
 */
class window
{
public:
    /*! \param history Samples before the next one that stay readable; 0 at the start. */
    explicit window(std::size_t history)
        : d_history(history), d_begin(history), d_end(history), d_samples(history)
    {
    }

    /*! \brief The next sample; `history` samples before it can be read. */
    const std::complex<float>* next() const { return d_samples.data() + d_begin; }

    /*! \brief Samples that wait. */
    std::size_t size() const { return d_end - d_begin; }

    /*! \brief Room to write \p n samples after the last; invalidates next(). */
    std::complex<float>* room(std::size_t n)
    {
        if (d_end + n > d_samples.size()) {
            const std::size_t passed = d_begin - d_history;
            std::copy(
                d_samples.data() + passed, d_samples.data() + d_end, d_samples.data());
            d_begin -= passed;
            d_end -= passed;
            // Room for more than the history, so that samples are moved once each, not at
            // each call.
            const std::size_t size = 2 * (d_end + spare) + n;
            d_samples.resize(std::max(d_samples.size(), size));
        }
        return d_samples.data() + d_end;
    }

    /*! \brief \p n samples have been written where room() said. */
    void put(std::size_t n) { d_end += n; }

    /*! \brief The first \p n have been used. */
    void drop(std::size_t n) { d_begin += n; }

private:
    static constexpr std::size_t spare = 2048;

    std::size_t d_history;
    std::size_t d_begin;
    std::size_t d_end;
    std::vector<std::complex<float>> d_samples;
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_WINDOW_H */
