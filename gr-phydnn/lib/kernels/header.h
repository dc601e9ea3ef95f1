/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_HEADER_H
#define INCLUDED_PHYDNN_KERNELS_HEADER_H

#include <gnuradio/fec/generic_decoder.h>
#include <gnuradio/fec/generic_encoder.h>
#include <gnuradio/phydnn/api.h>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace gr {
namespace phydnn {
namespace kernels {

//! What a frame says of itself.
struct frame_header {
    uint8_t kind = 0; //!< of payload: 0 split inference, 1 weights, 2 text; at most 15
    bool precoded = false;     //!< payload went through the DFT (DFT-s-OFDM)
    uint32_t frame_number = 0; //!< counts up from the start of a transmission
    uint32_t bundle_id = 0;    //!< of the bundle that made the payload
    uint32_t uses = 0;         //!< channel uses of payload, 1 to 2^24 − 1
};

/*!
 * \brief Packs a header into coded bits, and finds it again in soft ones.
 *
 * 16 bytes, most significant bit first: version (4 bits, 1), kind (4), flags (8, bit 0:
 * precoded), frame number (32), bundle id (32), channel uses (24), CRC-24A of 3GPP
 * TS 36.212 (24). Then the terminated convolutional code of rate 1/2 and constraint
 * length 7 (gr-fec).
 */
class PHYDNN_API header_codec
{
public:
    static constexpr unsigned bytes = 16;
    static constexpr unsigned info_bits = 8 * bytes;
    static constexpr unsigned coded_bits = 2 * (info_bits + 6);

    header_codec();

    /*!
     * \return coded_bits bits, each 0 or 1
     * \throws std::invalid_argument if kind or uses does not fit its field
     */
    std::vector<uint8_t> encode(const frame_header& header);

    /*!
     * \param soft coded_bits soft values, positive for a 1; only their ratios matter
     * \return the header, or nothing if the CRC, the version or a reserved bit is wrong
     */
    std::optional<frame_header> decode(const float* soft);

    //! The header in \p packed, or nothing if the CRC, the version or a reserved bit is
    //! wrong.
    static std::optional<frame_header> parse(const std::array<uint8_t, bytes>& packed);

    //! The coded bit that the \p use-th channel use of the header symbols carries. The
    //! step is coprime to coded_bits: neighbours on the grid carry distant bits, and all
    //! bits repeat.
    static unsigned bit_of_use(unsigned use) { return use * 101u % coded_bits; }

private:
    gr::fec::generic_encoder::sptr d_encoder;
    gr::fec::generic_decoder::sptr d_decoder;
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_HEADER_H */
