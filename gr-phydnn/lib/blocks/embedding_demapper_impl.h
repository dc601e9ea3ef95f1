/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_EMBEDDING_DEMAPPER_IMPL_H
#define INCLUDED_PHYDNN_EMBEDDING_DEMAPPER_IMPL_H

#include <gnuradio/phydnn/embedding_demapper.h>
#include <kernels/embedding_codec.h>
#include <atomic>

namespace gr {
namespace phydnn {

class embedding_demapper_impl : public embedding_demapper
{
public:
    embedding_demapper_impl(const std::vector<float>& embeddings,
                            size_t dim,
                            const std::vector<gr_complex>& points,
                            const std::string& decision);

    void set_decision(const std::string& decision) override;
    std::string decision() const override { return d_soft ? "soft" : "hard"; }
    uint64_t received() const override { return d_received; }
    uint64_t erased() const override { return d_erased; }
    uint64_t dropped() const override { return d_dropped; }

private:
    void handle(const pmt::pmt_t& message);
    pmt::pmt_t demap(const pmt::pmt_t& symbols, const pmt::pmt_t& n0) const;

    const kernels::embedding_codec d_kernel;
    std::atomic<bool> d_soft{ false };
    std::atomic<uint64_t> d_received{ 0 };
    std::atomic<uint64_t> d_erased{ 0 };
    std::atomic<uint64_t> d_dropped{ 0 };
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_EMBEDDING_DEMAPPER_IMPL_H */
