/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_TRANSMITTER_H
#define INCLUDED_PHYDNN_KERNELS_TRANSMITTER_H

#include <gnuradio/phydnn/numerology.h>
#include <kernels/fft.h>
#include <kernels/header.h>

namespace gr {
namespace phydnn {
namespace kernels {

//! \brief Makes the samples of a frame from its header and payload.
class PHYDNN_API transmitter
{
public:
    //! \throws std::invalid_argument if the dimensions make no waveform
    explicit transmitter(const numerology& dimensions);

    /*!
     * \param header what the frame says of itself; header.uses is the length of \p
     * payload \param payload header.uses channel uses, any finite complex values of unit
     * average power \param amplitude factor on every sample \param out room for
     * numerology::frame_samples(header.uses) samples \throws std::invalid_argument if a
     * header field is out of range
     */
    void frame(const frame_header& header,
               const gr_complex* payload,
               float amplitude,
               gr_complex* out);

    const numerology& dimensions() const { return d_dimensions; }

private:
    void symbol(const gr_complex* subcarriers, float amplitude, gr_complex* out);

    numerology d_dimensions;
    header_codec d_codec;
    fft d_precoder;
    fft d_modulator;
    volk::vector<gr_complex> d_preamble;
    volk::vector<gr_complex> d_pilots;
    volk::vector<gr_complex> d_scrambler;
    std::vector<float> d_header_signs;
    volk::vector<gr_complex> d_symbol;
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_TRANSMITTER_H */
