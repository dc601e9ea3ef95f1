/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_PHILOX_H
#define INCLUDED_PHYDNN_KERNELS_PHILOX_H

#include <array>
#include <cstdint>

namespace gr {
namespace phydnn {
namespace kernels {

/*! The four words that name one draw. */
using philox_counter = std::array<std::uint32_t, 4>;
/*! The two words that name one sequence of draws. */
using philox_key = std::array<std::uint32_t, 2>;

/*!
 * \brief Philox4x32-10: four random words that depend on nothing but the counter and the
 * key.
 *
 * Being stateless, any sample's randomness can be had in any order, by any number of
 * lanes: this is what makes a channel replay bit for bit however its stream is cut.
 *
 * J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3",
 * SC'11.
 */
inline philox_counter philox4x32(philox_counter counter, philox_key key)
{
    auto [c0, c1, c2, c3] = counter;
    auto [k0, k1] = key;
    for (int round = 0; round < 10; round++) {
        const std::uint64_t product0 = std::uint64_t{ 0xD2511F53u } * c0;
        const std::uint64_t product1 = std::uint64_t{ 0xCD9E8D57u } * c2;
        c0 = static_cast<std::uint32_t>(product1 >> 32) ^ c1 ^ k0;
        c1 = static_cast<std::uint32_t>(product1);
        c2 = static_cast<std::uint32_t>(product0 >> 32) ^ c3 ^ k1;
        c3 = static_cast<std::uint32_t>(product0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return { c0, c1, c2, c3 };
}

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_PHILOX_H */
