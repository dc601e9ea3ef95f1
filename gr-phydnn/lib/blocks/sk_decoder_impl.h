/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_SK_DECODER_IMPL_H
#define INCLUDED_PHYDNN_SK_DECODER_IMPL_H

#include <gnuradio/phydnn/sk_decoder.h>
#include <kernels/spiral.h>
#include <atomic>

namespace gr {
namespace phydnn {

class sk_decoder_impl : public sk_decoder
{
public:
    sk_decoder_impl(kernels::layer_code code, size_t weights, const std::string& rule);

    void set_rule(const std::string& rule) override;
    std::string rule() const override { return d_nearest ? "nearest" : "mmse"; }
    uint64_t received() const override { return d_received; }
    uint64_t erased() const override { return d_erased; }
    uint64_t dropped() const override { return d_dropped; }
    uint64_t filled() const override { return d_filled; }

private:
    void handle(const pmt::pmt_t& message);
    pmt::pmt_t decode(const pmt::pmt_t& symbols, const pmt::pmt_t& n0);
    void fill(const pmt::pmt_t& metadata);

    kernels::layer_code d_code;
    const size_t d_weights;
    std::atomic<bool> d_nearest{ false };
    std::atomic<uint64_t> d_received{ 0 };
    std::atomic<uint64_t> d_erased{ 0 };
    std::atomic<uint64_t> d_dropped{ 0 };
    std::atomic<uint64_t> d_filled{ 0 };
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_SK_DECODER_IMPL_H */
