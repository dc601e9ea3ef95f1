/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_EMBEDDING_MAPPER_IMPL_H
#define INCLUDED_PHYDNN_EMBEDDING_MAPPER_IMPL_H

#include "pdu.h"
#include <gnuradio/phydnn/embedding_mapper.h>
#include <kernels/embedding_codec.h>

namespace gr {
namespace phydnn {

class embedding_mapper_impl : public pdu::converter<embedding_mapper>
{
public:
    embedding_mapper_impl(const std::vector<float>& embeddings,
                          size_t dim,
                          const std::vector<gr_complex>& points,
                          const std::string& lookup);

    float average_power() const override { return d_kernel.average_power(); }

private:
    pmt::pmt_t convert(const pmt::pmt_t& metadata, const pmt::pmt_t& slices) override;

    const kernels::embedding_codec d_kernel;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_EMBEDDING_MAPPER_IMPL_H */
