/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include <gnuradio/fec/cc_decoder.h>
#include <gnuradio/fec/cc_encoder.h>
#include <kernels/header.h>
#include <boost/crc.hpp>
#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {
constexpr uint8_t version = 1;
const std::vector<int> polynomials = {
    79, 109
}; // the CCSDS / 802.11 code, in gr-fec's order

uint32_t crc24(const uint8_t* data, size_t size)
{
    boost::crc_optimal<24, 0x864CFB> crc;
    crc.process_bytes(data, size);
    return crc.checksum();
}

void put(uint8_t* out, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        out[i] = uint8_t(value >> (8 * (bytes - 1 - i)));
}

uint32_t get(const uint8_t* in, unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | in[i];
    return value;
}
} // namespace

header_codec::header_codec()
    : d_encoder(fec::code::cc_encoder::make(
          info_bits, 7, 2, polynomials, 0, CC_TERMINATED, false)),
      d_decoder(fec::code::cc_decoder::make(
          info_bits, 7, 2, polynomials, 0, -1, CC_TERMINATED, false))
{
}

std::vector<uint8_t> header_codec::encode(const frame_header& header)
{
    if (header.kind > 15)
        throw std::invalid_argument("kind must be from 0 to 15");
    if (header.uses == 0 || header.uses >= 1u << 24)
        throw std::invalid_argument("a frame carries from 1 to 16777215 channel uses");
    std::array<uint8_t, bytes> packed;
    packed[0] = uint8_t(version << 4 | header.kind);
    packed[1] = header.precoded ? 1 : 0;
    put(&packed[2], header.frame_number, 4);
    put(&packed[6], header.bundle_id, 4);
    put(&packed[10], header.uses, 3);
    put(&packed[13], crc24(packed.data(), 13), 3);

    std::array<uint8_t, info_bits> info;
    for (unsigned i = 0; i < info_bits; i++)
        info[i] = packed[i / 8] >> (7 - i % 8) & 1;
    std::vector<uint8_t> coded(coded_bits);
    d_encoder->generic_work(info.data(), coded.data());
    return coded;
}

std::optional<frame_header> header_codec::decode(const float* soft)
{
    double mean = 0;
    for (unsigned i = 0; i < coded_bits; i++)
        mean += std::abs(soft[i]);
    mean /= coded_bits;
    if (!(mean > 0) || !std::isfinite(mean))
        return std::nullopt;

    // The decoder takes bytes around 128; the mean magnitude at 50 leaves the peaks
    // unclipped.
    std::array<uint8_t, coded_bits> quantised;
    for (unsigned i = 0; i < coded_bits; i++)
        quantised[i] = uint8_t(std::clamp(128.0 + 50.0 * soft[i] / mean, 0.0, 255.0));
    std::array<uint8_t, info_bits> info;
    d_decoder->generic_work(quantised.data(), info.data());

    std::array<uint8_t, bytes> packed{};
    for (unsigned i = 0; i < info_bits; i++)
        packed[i / 8] |= uint8_t(info[i] << (7 - i % 8));
    return parse(packed);
}

std::optional<frame_header> header_codec::parse(const std::array<uint8_t, bytes>& packed)
{
    if (get(&packed[13], 3) != crc24(packed.data(), 13) || packed[0] >> 4 != version ||
        packed[1] > 1)
        return std::nullopt;
    frame_header header;
    header.kind = packed[0] & 15;
    header.precoded = packed[1] & 1;
    header.frame_number = get(&packed[2], 4);
    header.bundle_id = get(&packed[6], 4);
    header.uses = get(&packed[10], 3);
    if (header.uses == 0)
        return std::nullopt;
    return header;
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
