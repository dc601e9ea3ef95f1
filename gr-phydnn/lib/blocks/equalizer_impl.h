/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_EQUALIZER_IMPL_H
#define INCLUDED_PHYDNN_EQUALIZER_IMPL_H

#include "pdu.h"
#include <gnuradio/phydnn/equalizer.h>
#include <kernels/equalizer.h>

namespace gr {
namespace phydnn {

class equalizer_impl : public pdu::converter<equalizer>
{
public:
    explicit equalizer_impl(const numerology& dimensions);


private:
    pmt::pmt_t convert(const pmt::pmt_t& metadata, const pmt::pmt_t& grid) override;

    const numerology d_dimensions;
    kernels::equalizer d_kernel;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_EQUALIZER_IMPL_H */
