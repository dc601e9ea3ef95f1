/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_NUMEROLOGY_H
#define INCLUDED_PHYDNN_NUMEROLOGY_H

#include <gnuradio/phydnn/api.h>
#include <cstddef>
#include <string>
#include <vector>

namespace gr {
namespace phydnn {

/*!
 * \brief The dimensions of the waveform, shared by both ends of a link.
 *
 * A frame is, in samples:
 *
 *     | preamble | DMRS | header ... | data × pilot_spacing | DMRS | data ... | DMRS |
 *
 * The preamble is a cyclic prefix and four repetitions of a Zadoff–Chu symbol of fft_size
 * / 2 samples; every later symbol is a cyclic prefix and fft_size samples. A DMRS
 * (demodulation reference symbol) stands before the header, after each pilot_spacing data
 * symbols, and last.
 *
 * FFTs are unitary and a used subcarrier has unit average power, so Es/N0 at the FFT
 * output is one over the noise variance per complex sample.
 */
struct PHYDNN_API numerology {
    unsigned fft_size;       //!< samples of a symbol without its prefix; a power of two
    unsigned cp_length;      //!< samples of the cyclic prefix
    unsigned used;           //!< used subcarriers, half on each side of the empty DC
    unsigned pilot_spacing;  //!< data symbols between two DMRS
    unsigned header_symbols; //!< symbols that carry the header

    static constexpr unsigned preamble_repeats = 4;

    /*!
     * \brief A tested set of dimensions.
     * \param name `wide` (512/40/448, the default of all blocks), `long` (1024/96/896:
     * delay spreads up to 4.4 µs at 20 MS/s) or `short` (128/32/112: small packets)
     * \throws std::invalid_argument for another name
     */
    static numerology preset(const std::string& name);
    //! The names that preset() knows.
    static std::vector<std::string> presets();

    //! \throws std::invalid_argument with one sentence, if the dimensions make no
    //! waveform
    void validate() const;

    //! Samples of one repetition in the preamble.
    unsigned preamble_length() const { return fft_size / 2; }
    //! Samples of the whole preamble.
    unsigned preamble_samples() const
    {
        return cp_length + preamble_repeats * preamble_length();
    }
    //! Samples of a symbol with its prefix.
    unsigned symbol_samples() const { return fft_size + cp_length; }
    //! Data symbols that \p uses channel uses fill.
    size_t data_symbols(size_t uses) const { return (uses + used - 1) / used; }
    //! DMRS of a frame with \p uses channel uses.
    size_t pilot_symbols(size_t uses) const
    {
        return 1 + (data_symbols(uses) + pilot_spacing - 1) / pilot_spacing;
    }
    //! Symbols (rows of the resource grid) of a frame: DMRS, header and data.
    size_t grid_symbols(size_t uses) const
    {
        return data_symbols(uses) + pilot_symbols(uses) + header_symbols;
    }
    //! Samples of a frame from the first of the preamble to the last.
    size_t frame_samples(size_t uses) const
    {
        return preamble_samples() + grid_symbols(uses) * symbol_samples();
    }
    //! Row of the \p index-th data symbol in the resource grid.
    size_t data_row(size_t index) const
    {
        return 1 + header_symbols + index + index / pilot_spacing;
    }
    //! Row of the \p index-th DMRS in the resource grid of a frame with \p uses channel
    //! uses.
    size_t pilot_row(size_t index, size_t uses) const
    {
        if (index == 0)
            return 0;
        if (index + 1 == pilot_symbols(uses))
            return grid_symbols(uses) - 1;
        return header_symbols + index * (pilot_spacing + 1);
    }
    //! FFT bin of the \p k-th used subcarrier, from the lowest frequency to the highest.
    unsigned bin(unsigned k) const
    {
        return k < used / 2 ? fft_size - used / 2 + k : k - used / 2 + 1;
    }
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_NUMEROLOGY_H */
