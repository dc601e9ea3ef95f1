/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_STREAMS_H
#define INCLUDED_PHYDNN_KERNELS_STREAMS_H

#include <cstdint>

namespace gr {
namespace phydnn {
namespace kernels {

/*! \brief Stream numbers of the channel's random quantities; path k of a fan adds k. */
namespace streams {
constexpr std::uint32_t receiver_noise = 0; //!< index: output sample
constexpr std::uint32_t phase_noise = 1;    //!< index: output sample
constexpr std::uint32_t fading = 0x10000;   //!< one per path; index: frame
constexpr std::uint32_t waves =
    0x20000; //!< one per path; index: wave of the Doppler process
} // namespace streams

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_STREAMS_H */
