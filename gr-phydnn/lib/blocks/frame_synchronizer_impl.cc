/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "frame_synchronizer_impl.h"
#include "pdu.h"
#include <gnuradio/io_signature.h>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <thread>

namespace gr {
namespace phydnn {

namespace {
const pmt::pmt_t grid_port = pmt::intern("grid");
const pmt::pmt_t done_port = pmt::intern("done");
// A block that takes nothing is called again at once: it sleeps between two looks.
constexpr auto idle_sleep = std::chrono::microseconds(200);

const char* name_of(kernels::erasure reason)
{
    switch (reason) {
    case kernels::erasure::lost:
        return "lost";
    case kernels::erasure::bundle:
        return "bundle";
    case kernels::erasure::cut:
        return "cut";
    default:
        return "none";
    }
}
} // namespace

frame_synchronizer::sptr frame_synchronizer::make(const numerology& dimensions,
                                                  double sample_rate,
                                                  uint32_t bundle_id,
                                                  double false_alarm_rate,
                                                  size_t max_uses,
                                                  size_t in_flight)
{
    return gnuradio::make_block_sptr<frame_synchronizer_impl>(
        dimensions, sample_rate, bundle_id, false_alarm_rate, max_uses, in_flight);
}

frame_synchronizer_impl::frame_synchronizer_impl(const numerology& dimensions,
                                                 double sample_rate,
                                                 uint32_t bundle_id,
                                                 double false_alarm_rate,
                                                 size_t max_uses,
                                                 size_t in_flight)
    : gr::sync_block("frame_synchronizer",
                     gr::io_signature::make(1, 1, sizeof(gr_complex)),
                     gr::io_signature::make(0, 0, 0)),
      d_sample_rate(sample_rate),
      d_in_flight(in_flight),
      d_kernel(dimensions, false_alarm_rate, max_uses, bundle_id)
{
    if (!(sample_rate > 0) || !std::isfinite(sample_rate))
        throw std::invalid_argument("sample_rate must be positive and finite");
    message_port_register_out(grid_port);
    message_port_register_in(done_port);
    // Handlers run in the thread of work().
    set_msg_handler(done_port,
                    [this](const pmt::pmt_t&) { d_under_way -= d_under_way > 0; });
}

std::map<std::string, uint64_t> frame_synchronizer_impl::counts() const
{
    std::scoped_lock lock(d_mutex);
    return d_counts.named();
}

int frame_synchronizer_impl::work(int noutput_items,
                                  gr_vector_const_void_star& input_items,
                                  gr_vector_void_star&)
{
    if (d_in_flight > 0 && d_under_way >= d_in_flight) {
        std::this_thread::sleep_for(idle_sleep);
        return 0;
    }
    const bool clean = d_kernel.counts().bad_samples == 0;
    d_kernel.process(static_cast<const gr_complex*>(input_items[0]),
                     size_t(noutput_items),
                     [this](kernels::reception&& frame) { publish(std::move(frame)); });
    if (clean && d_kernel.counts().bad_samples > 0)
        d_logger->warn(
            "the input holds NaN, infinite or absurdly large samples: they count as 0.");
    std::scoped_lock lock(d_mutex);
    d_counts = d_kernel.counts();
    return noutput_items;
}

void frame_synchronizer_impl::publish(kernels::reception&& frame)
{
    d_under_way++;
    const auto& header = frame.header;
    auto meta = pmt::make_dict();
    meta = pdu::set(meta, "frame_number", pmt::from_long(header.frame_number));
    meta = pdu::set(meta, "sample_index", pmt::from_uint64(frame.sample_index));
    if (frame.reason == kernels::erasure::bundle)
        d_logger->warn(
            "frame {} was made by bundle {:08x}, which is not the one loaded here: load "
            "the same bundle at both ends.",
            header.frame_number,
            header.bundle_id);
    if (frame.reason != kernels::erasure::none) {
        message_port_pub(grid_port, pdu::erase(meta, name_of(frame.reason)));
        return;
    }
    meta = pdu::set(meta, "uses", pmt::from_long(header.uses));
    meta = pdu::set(meta, "kind", pmt::from_long(header.kind));
    meta = pdu::set(meta, "precoded", pmt::from_bool(header.precoded));
    meta = pdu::set(meta, "bundle_id", pmt::from_uint64(header.bundle_id));
    meta =
        pdu::set(meta, "cfo", pmt::from_double(frame.cfo * d_sample_rate / (2 * M_PI)));
    message_port_pub(
        grid_port,
        pmt::cons(meta, pmt::init_c32vector(frame.grid.size(), frame.grid.data())));
}

} // namespace phydnn
} // namespace gr
