/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_FINITE_MAPPER_IMPL_H
#define INCLUDED_PHYDNN_FINITE_MAPPER_IMPL_H

#include <gnuradio/phydnn/finite_mapper.h>
#include <kernels/finite_codec.h>
#include <atomic>

namespace gr {
namespace phydnn {

class finite_mapper_impl : public finite_mapper
{
public:
    finite_mapper_impl(float low, float high, int bits, float gain);

    uint64_t received() const override { return d_received; }
    uint64_t erased() const override { return d_erased; }
    uint64_t dropped() const override { return d_dropped; }

private:
    void handle(const pmt::pmt_t& message);
    pmt::pmt_t map(const pmt::pmt_t& values) const;

    const kernels::finite_codec d_kernel;
    std::atomic<uint64_t> d_received{ 0 };
    std::atomic<uint64_t> d_erased{ 0 };
    std::atomic<uint64_t> d_dropped{ 0 };
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_FINITE_MAPPER_IMPL_H */
