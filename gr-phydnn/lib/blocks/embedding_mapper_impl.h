/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_EMBEDDING_MAPPER_IMPL_H
#define INCLUDED_PHYDNN_EMBEDDING_MAPPER_IMPL_H

#include <gnuradio/phydnn/embedding_mapper.h>
#include <kernels/embedding_codec.h>
#include <atomic>

namespace gr {
namespace phydnn {

class embedding_mapper_impl : public embedding_mapper
{
public:
    embedding_mapper_impl(const std::vector<float>& embeddings,
                          size_t dim,
                          const std::vector<gr_complex>& points,
                          const std::string& lookup);

    float average_power() const override { return d_kernel.average_power(); }
    uint64_t received() const override { return d_received; }
    uint64_t erased() const override { return d_erased; }
    uint64_t dropped() const override { return d_dropped; }

private:
    void handle(const pmt::pmt_t& message);
    pmt::pmt_t map(const pmt::pmt_t& slices) const;

    const kernels::embedding_codec d_kernel;
    std::atomic<uint64_t> d_received{ 0 };
    std::atomic<uint64_t> d_erased{ 0 };
    std::atomic<uint64_t> d_dropped{ 0 };
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_EMBEDDING_MAPPER_IMPL_H */
