/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_EQUALIZER_IMPL_H
#define INCLUDED_PHYDNN_EQUALIZER_IMPL_H

#include <gnuradio/phydnn/equalizer.h>
#include <kernels/equalizer.h>
#include <atomic>

namespace gr {
namespace phydnn {

class equalizer_impl : public equalizer
{
public:
    explicit equalizer_impl(const numerology& dimensions);

    uint64_t dropped() const override { return d_dropped; }

private:
    void handle(const pmt::pmt_t& message);

    const numerology d_dimensions;
    kernels::equalizer d_kernel;
    std::atomic<uint64_t> d_dropped{ 0 };
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_EQUALIZER_IMPL_H */
