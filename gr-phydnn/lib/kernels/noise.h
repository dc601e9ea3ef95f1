/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_NOISE_H
#define INCLUDED_PHYDNN_KERNELS_NOISE_H

#include "philox.h"
#include <gnuradio/phydnn/api.h>
#include <complex>
#include <cstddef>
#include <cstdint>

namespace gr {
namespace phydnn {
namespace kernels {

/*!
 * \brief White circular Gaussian noise, a function of (seed, link, stream, index).
 *
 * Sample n comes from half a Philox4x32-10 draw with key (low word of seed, link) and
 * counter (n/2 as two words, stream, high word of seed): words 0 and 1 of the draw for an
 * even n, 2 and 3 for an odd one. By Box and Muller, it is sqrt(-ln u) exp(2 pi j v),
 * where u is the first word plus one half over 2^32, in single precision, and v the
 * second word over 2^32. Total variance is 1 (1/2 per real dimension); the largest
 * magnitude is sqrt(33 ln 2) = 4.78, which is 6.76 standard deviations of one dimension.
 */
class PHYDNN_API noise
{
public:
    noise(std::uint64_t seed, std::uint32_t link, std::uint32_t stream);

    /*! \brief The four words of draw number \p index. */
    philox_counter words(std::uint64_t index) const;

    /*! \brief Writes samples first … first + n - 1, of unit variance. */
    void generate(std::uint64_t first, std::complex<float>* out, std::size_t n) const;

    /*! \brief Adds samples first … first + n - 1, times \p amplitude, to \p samples. */
    void add(std::uint64_t first,
             float amplitude,
             std::complex<float>* samples,
             std::size_t n) const;

private:
    philox_key d_key;
    std::uint32_t d_stream;
    std::uint32_t d_seed_high;
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_NOISE_H */
