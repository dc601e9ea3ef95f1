/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "csi_estimator_impl.h"
#include <gnuradio/io_signature.h>

namespace gr {
namespace phydnn {

namespace {
const pmt::pmt_t csi_port = pmt::intern("csi");
} // namespace

csi_estimator::sptr csi_estimator::make(const numerology& dimensions,
                                        const std::string& smoothing)
{
    return gnuradio::make_block_sptr<csi_estimator_impl>(dimensions, smoothing);
}

csi_estimator_impl::csi_estimator_impl(const numerology& dimensions,
                                       const std::string& smoothing)
    : gr::block("csi_estimator",
                gr::io_signature::make(0, 0, 0),
                gr::io_signature::make(0, 0, 0)),
      pdu::converter<csi_estimator>(
          "grid", "grid", "the receiver is slower than the samples"),
      d_dimensions(dimensions),
      d_kernel(dimensions)
{
    set_smoothing(smoothing);
    message_port_register_out(csi_port);
}

void csi_estimator_impl::set_smoothing(const std::string& smoothing)
{
    d_smoothing = kernels::smoothing_from_name(smoothing);
}

pmt::pmt_t csi_estimator_impl::convert(const pmt::pmt_t& metadata, const pmt::pmt_t& grid)
{
    size_t size = 0;
    const auto data = pdu::complex_vector(grid);
    const gr_complex* cells = pmt::c32vector_elements(data, size);
    const long uses = pdu::get_long(metadata, "uses", 0);
    if (uses < 1 || size != d_dimensions.grid_symbols(size_t(uses)) * d_dimensions.used)
        throw std::invalid_argument(
            "the size of its grid does not follow from its channel uses");

    const auto e = d_kernel.estimate(cells, size_t(uses), d_smoothing);
    const auto refined = pmt::init_c32vector(e.refined.size(), e.refined.data());
    const auto n0 = pmt::from_double(e.n0);
    const auto snr_db = pmt::from_double(e.snr_db);

    auto csi = pmt::make_dict();
    for (const char* key : { "frame_number", "sample_index", "cfo" })
        csi = pdu::set(csi, key, pdu::get(metadata, key));
    csi = pdu::set(csi, "snr_db", snr_db);
    csi = pdu::set(csi, "csi_n0", n0);
    csi = pdu::set(csi, "ls", pmt::init_c32vector(e.ls.size(), e.ls.data()));
    csi = pdu::set(csi, "refined", refined);
    csi = pdu::set(
        csi, "pilots", pmt::from_long(long(d_dimensions.pilot_symbols(size_t(uses)))));
    csi = pdu::set(csi, "subcarriers", pmt::from_long(d_dimensions.used));
    message_port_pub(csi_port, csi);

    auto meta = pdu::set(metadata, "csi", refined);
    meta = pdu::set(meta, "csi_n0", n0);
    meta = pdu::set(meta, "snr_db", snr_db);
    return pmt::cons(meta, data);
}

} // namespace phydnn
} // namespace gr
