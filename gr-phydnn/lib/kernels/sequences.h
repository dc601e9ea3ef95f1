/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_SEQUENCES_H
#define INCLUDED_PHYDNN_KERNELS_SEQUENCES_H

#include <gnuradio/gr_complex.h>
#include <gnuradio/phydnn/numerology.h>
#include <volk/volk_alloc.hh>
#include <cstdint>
#include <vector>

namespace gr {
namespace phydnn {
namespace kernels {

//! Data symbols after which the scrambling sequence repeats.
constexpr unsigned scrambler_period = 16;

/*!
 * \brief A Zadoff–Chu sequence of the largest prime length that fits, extended
 * cyclically. \param root of the sequence, from 1 to length / 2 \param length of the
 * result, at least 3 \return \p length values of modulus 1 (3GPP TS 36.211,
 * section 5.5.1.1)
 */
PHYDNN_API volk::vector<gr_complex> zadoff_chu(unsigned root, unsigned length);

/*!
 * \brief The Gold sequence of 3GPP TS 36.211, section 7.2.
 * \param c_init initial state of the second register
 * \param length bits to return, each 0 or 1
 */
PHYDNN_API std::vector<uint8_t> gold(uint32_t c_init, size_t length);

//! The DMRS: `used` values of modulus 1, from the lowest subcarrier to the highest.
PHYDNN_API volk::vector<gr_complex> pilots(const numerology& n);

//! The spectrum of one repetition of the preamble: preamble_length() FFT bins, 0 or
//! modulus 1.
PHYDNN_API volk::vector<gr_complex> preamble_spectrum(const numerology& n);

//! Rotations by multiples of 90° that whiten the payload: scrambler_period × used values.
//! Quarter turns keep a PSK alphabet, and with it the peak power of a precoded symbol.
PHYDNN_API volk::vector<gr_complex> scrambler(const numerology& n);

//! Signs that whiten the header: header_symbols × used values, each 1 or −1.
PHYDNN_API std::vector<float> header_signs(const numerology& n);

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_SEQUENCES_H */
