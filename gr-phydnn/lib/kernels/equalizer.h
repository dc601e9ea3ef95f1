/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_EQUALIZER_H
#define INCLUDED_PHYDNN_KERNELS_EQUALIZER_H

#include <gnuradio/phydnn/numerology.h>
#include <kernels/fft.h>

namespace gr {
namespace phydnn {
namespace kernels {

/*!
 * \brief Unbiased MMSE equaliser, interpolating the channel in time between the DMRS.
 *
 * Two neighbouring estimates are first turned on one another, so that a residual carrier
 * offset is interpolated as a rotation, and then linearly combined. Without precoding the
 * unbiased MMSE estimate is y / h with noise variance N0 / |h|²; with precoding it is the
 * inverse DFT of conj(h) y / (|h|² + N0) over its gain β, with noise variance (1 − β) /
 * β.
 */
class PHYDNN_API equalizer
{
public:
    //! \throws std::invalid_argument if the dimensions make no waveform
    explicit equalizer(const numerology& dimensions);

    /*!
     * \param grid numerology::grid_symbols(uses) × used received subcarriers
     * \param csi numerology::pilot_symbols(uses) × used channel estimates
     * \param n0 noise variance per subcarrier, positive
     * \param uses channel uses of the frame
     * \param precoded whether the payload went through the DFT
     * \param symbols room for \p uses payload symbols
     * \param symbol_n0 room for \p uses noise variances N0, one for each symbol
     */
    void equalize(const gr_complex* grid,
                  const gr_complex* csi,
                  float n0,
                  size_t uses,
                  bool precoded,
                  gr_complex* symbols,
                  float* symbol_n0);

    const numerology& dimensions() const { return d_dimensions; }

private:
    numerology d_dimensions;
    fft d_deprecoder;
    volk::vector<gr_complex> d_scrambler;
    volk::vector<gr_complex> d_equalized;
    volk::vector<float> d_weights;
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_EQUALIZER_H */
