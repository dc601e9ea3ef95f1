/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_FINITE_DEMAPPER_IMPL_H
#define INCLUDED_PHYDNN_FINITE_DEMAPPER_IMPL_H

#include <gnuradio/phydnn/finite_demapper.h>
#include <kernels/finite_codec.h>
#include <atomic>

namespace gr {
namespace phydnn {

class finite_demapper_impl : public finite_demapper
{
public:
    finite_demapper_impl(float low,
                         float high,
                         int bits,
                         float gain,
                         const std::string& decision,
                         const std::vector<float>& priors);

    void set_decision(const std::string& decision) override;
    std::string decision() const override;
    uint64_t received() const override { return d_received; }
    uint64_t erased() const override { return d_erased; }
    uint64_t dropped() const override { return d_dropped; }

private:
    void handle(const pmt::pmt_t& message);
    pmt::pmt_t demap(const pmt::pmt_t& symbols, const pmt::pmt_t& n0) const;

    const kernels::finite_codec d_kernel;
    std::atomic<kernels::finite_decision> d_decision;
    std::atomic<uint64_t> d_received{ 0 };
    std::atomic<uint64_t> d_erased{ 0 };
    std::atomic<uint64_t> d_dropped{ 0 };
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_FINITE_DEMAPPER_IMPL_H */
