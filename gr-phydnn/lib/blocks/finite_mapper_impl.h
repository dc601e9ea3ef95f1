/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_FINITE_MAPPER_IMPL_H
#define INCLUDED_PHYDNN_FINITE_MAPPER_IMPL_H

#include "pdu.h"
#include <gnuradio/phydnn/finite_mapper.h>
#include <kernels/finite_codec.h>

namespace gr {
namespace phydnn {

class finite_mapper_impl : public pdu::converter<finite_mapper>
{
public:
    finite_mapper_impl(float low, float high, int bits, float gain);


private:
    pmt::pmt_t convert(const pmt::pmt_t& metadata, const pmt::pmt_t& values) override;

    const kernels::finite_codec d_kernel;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_FINITE_MAPPER_IMPL_H */
