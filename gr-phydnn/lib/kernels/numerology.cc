/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include <gnuradio/phydnn/numerology.h>
#include <map>
#include <stdexcept>

namespace gr {
namespace phydnn {

namespace {
const std::map<std::string, numerology> known = {
    { "wide", { 512, 40, 448, 14, 2 } },
    { "long", { 1024, 96, 896, 10, 1 } },
    { "short", { 128, 32, 112, 14, 8 } },
};
} // namespace

numerology numerology::preset(const std::string& name)
{
    const auto found = known.find(name);
    if (found == known.end())
        throw std::invalid_argument("there is no numerology '" + name +
                                    "': choose wide, long or short");
    return found->second;
}

std::vector<std::string> numerology::presets()
{
    std::vector<std::string> names;
    for (const auto& item : known)
        names.push_back(item.first);
    return names;
}

void numerology::validate() const
{
    const auto require = [](bool good, const char* sentence) {
        if (!good)
            throw std::invalid_argument(sentence);
    };
    require(fft_size >= 64 && fft_size <= 4096 && (fft_size & (fft_size - 1)) == 0,
            "fft_size must be a power of two from 64 to 4096");
    require(cp_length >= 8 && cp_length <= fft_size / 4,
            "cp_length must be from 8 to a quarter of fft_size");
    require(used >= fft_size / 4 && used < fft_size && used % 4 == 0,
            "used must be a multiple of 4, at least a quarter of fft_size and below it");
    require(pilot_spacing >= 1 && pilot_spacing <= 64,
            "pilot_spacing must be from 1 to 64");
    require(header_symbols >= 1 && header_symbols <= 64 && header_symbols * used >= 268,
            "header_symbols times used must hold the 268 coded bits of the header");
}

} // namespace phydnn
} // namespace gr
