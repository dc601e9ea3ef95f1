/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_SK_ENCODER_IMPL_H
#define INCLUDED_PHYDNN_SK_ENCODER_IMPL_H

#include <gnuradio/phydnn/sk_encoder.h>
#include <kernels/spiral.h>
#include <atomic>

namespace gr {
namespace phydnn {

class sk_encoder_impl : public sk_encoder
{
public:
    explicit sk_encoder_impl(kernels::layer_code code);

    uint64_t received() const override { return d_received; }
    uint64_t erased() const override { return d_erased; }
    uint64_t dropped() const override { return d_dropped; }

private:
    void handle(const pmt::pmt_t& message);
    pmt::pmt_t encode(const pmt::pmt_t& weights) const;

    const kernels::layer_code d_code;
    std::atomic<uint64_t> d_received{ 0 };
    std::atomic<uint64_t> d_erased{ 0 };
    std::atomic<uint64_t> d_dropped{ 0 };
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_SK_ENCODER_IMPL_H */
