/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include <kernels/sequences.h>
#include <cmath>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {
unsigned largest_prime(unsigned limit)
{
    for (unsigned p = limit; p > 2; p--) {
        bool prime = true;
        for (unsigned d = 2; d * d <= p && prime; d++)
            prime = p % d != 0;
        if (prime)
            return p;
    }
    return 2;
}
} // namespace

volk::vector<gr_complex> zadoff_chu(unsigned root, unsigned length)
{
    const uint64_t period = largest_prime(length);
    volk::vector<gr_complex> sequence(length);
    for (uint64_t k = 0; k < length; k++) {
        const uint64_t m = k % period;
        // The phase −π·root·m(m+1)/period, reduced exactly before it becomes a float.
        const uint64_t turns = (root * m * (m + 1) / 2) % period;
        sequence[k] =
            gr_complex(std::polar(1.0, -2 * M_PI * double(turns) / double(period)));
    }
    return sequence;
}

std::vector<uint8_t> gold(uint32_t c_init, size_t length)
{
    constexpr size_t skipped = 1600;
    std::vector<uint8_t> x1(skipped + length + 31), x2(skipped + length + 31), c(length);
    x1[0] = 1;
    for (unsigned i = 0; i < 31; i++)
        x2[i] = (c_init >> i) & 1;
    for (size_t i = 0; i < skipped + length; i++) {
        x1[i + 31] = x1[i + 3] ^ x1[i];
        x2[i + 31] = x2[i + 3] ^ x2[i + 2] ^ x2[i + 1] ^ x2[i];
    }
    for (size_t i = 0; i < length; i++)
        c[i] = x1[skipped + i] ^ x2[skipped + i];
    return c;
}

volk::vector<gr_complex> pilots(const numerology& n) { return zadoff_chu(25, n.used); }

volk::vector<gr_complex> preamble_spectrum(const numerology& n)
{
    const unsigned size = n.preamble_length(), used = n.used / 2;
    const auto sequence = zadoff_chu(25, used);
    volk::vector<gr_complex> spectrum(size);
    std::fill(spectrum.begin(), spectrum.end(), gr_complex());
    for (unsigned k = 0; k < used; k++)
        spectrum[k < used / 2 ? size - used / 2 + k : k - used / 2 + 1] = sequence[k];
    return spectrum;
}

volk::vector<gr_complex> scrambler(const numerology& n)
{
    const gr_complex quarter_turns[4] = { { 1, 0 }, { 0, 1 }, { -1, 0 }, { 0, -1 } };
    const size_t size = size_t(scrambler_period) * n.used;
    const auto bits = gold(1, 2 * size);
    volk::vector<gr_complex> rotations(size);
    for (size_t i = 0; i < size; i++)
        rotations[i] = quarter_turns[2 * bits[2 * i] + bits[2 * i + 1]];
    return rotations;
}

std::vector<float> header_signs(const numerology& n)
{
    const auto bits = gold(2, size_t(n.header_symbols) * n.used);
    std::vector<float> signs(bits.size());
    for (size_t i = 0; i < bits.size(); i++)
        signs[i] = bits[i] ? -1.0f : 1.0f;
    return signs;
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
