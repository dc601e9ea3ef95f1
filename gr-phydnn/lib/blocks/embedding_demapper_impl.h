/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_EMBEDDING_DEMAPPER_IMPL_H
#define INCLUDED_PHYDNN_EMBEDDING_DEMAPPER_IMPL_H

#include "pdu.h"
#include <gnuradio/phydnn/embedding_demapper.h>
#include <kernels/embedding_codec.h>
#include <atomic>

namespace gr {
namespace phydnn {

class embedding_demapper_impl : public pdu::converter<embedding_demapper>
{
public:
    embedding_demapper_impl(const std::vector<float>& embeddings,
                            size_t dim,
                            const std::vector<gr_complex>& points,
                            const std::string& decision);

    void set_decision(const std::string& decision) override;
    std::string decision() const override { return d_soft ? "soft" : "hard"; }

private:
    pmt::pmt_t convert(const pmt::pmt_t& metadata, const pmt::pmt_t& symbols) override;
    pmt::pmt_t nothing() const override { return pmt::make_f32vector(0, 0.0f); }

    const kernels::embedding_codec d_kernel;
    std::atomic<bool> d_soft{ false };
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_EMBEDDING_DEMAPPER_IMPL_H */
