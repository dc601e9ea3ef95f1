/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "frame_transmitter_impl.h"
#include "pdu.h"
#include <gnuradio/io_signature.h>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <thread>

namespace gr {
namespace phydnn {

namespace {
const pmt::pmt_t symbols_port = pmt::intern("symbols");
const pmt::pmt_t sent_port = pmt::intern("sent");
// A source that puts nothing out is called again at once: between two looks for a PDU it
// sleeps, short enough not to show in a latency and long enough not to show in a load.
constexpr auto idle_sleep = std::chrono::microseconds(200);
constexpr long longest_gap = 1 << 20;

// Seconds as gr-uhd takes them: whole ones (uint64) and the fraction (real).
bool is_time(const pmt::pmt_t& value)
{
    return pmt::is_tuple(value) && pmt::length(value) == 2 &&
           pmt::is_uint64(pmt::tuple_ref(value, 0)) &&
           pmt::is_real(pmt::tuple_ref(value, 1));
}

bool is_finite(const gr_complex* values, size_t size)
{
    // Without a way out of the loop, compilers vectorise it.
    const auto parts = reinterpret_cast<const float*>(values);
    unsigned bad = 0;
    for (size_t i = 0; i < 2 * size; i++)
        bad += !(std::abs(parts[i]) <= std::numeric_limits<float>::max());
    return bad == 0;
}
} // namespace

frame_transmitter::sptr frame_transmitter::make(const numerology& dimensions,
                                                uint32_t bundle_id,
                                                int kind,
                                                bool precoded,
                                                float amplitude,
                                                int gap)
{
    return gnuradio::make_block_sptr<frame_transmitter_impl>(
        dimensions, bundle_id, kind, precoded, amplitude, gap);
}

frame_transmitter_impl::frame_transmitter_impl(const numerology& dimensions,
                                               uint32_t bundle_id,
                                               int kind,
                                               bool precoded,
                                               float amplitude,
                                               int gap)
    : gr::sync_block("frame_transmitter",
                     gr::io_signature::make(0, 0, 0),
                     gr::io_signature::make(1, 1, sizeof(gr_complex))),
      d_dimensions(dimensions),
      d_kernel(dimensions),
      d_bundle_id(bundle_id),
      d_kind(kind),
      d_gap(gap),
      d_precoded(precoded)
{
    if (kind < 0 || kind > 15)
        throw std::invalid_argument("kind must be from 0 to 15");
    if (gap < 0 || gap > longest_gap)
        throw std::invalid_argument("gap must be from 0 to 1048576 samples");
    set_amplitude(amplitude);
    message_port_register_in(symbols_port);
    message_port_register_out(sent_port);
    set_msg_handler(symbols_port,
                    [this](const pmt::pmt_t& message) { enqueue(message); });
}

void frame_transmitter_impl::set_amplitude(float amplitude)
{
    if (!(amplitude > 0) || !std::isfinite(amplitude))
        throw std::invalid_argument("amplitude must be positive and finite");
    d_amplitude = amplitude;
}

void frame_transmitter_impl::enqueue(const pmt::pmt_t& message)
{
    const auto meta = pdu::meta(message);
    size_t uses = 0;
    const auto data = pdu::complex_vector(pdu::data(message));
    const gr_complex* payload = pmt::c32vector_elements(data, uses);
    const long number = pdu::get_long(meta, "frame_number", d_next_number);
    d_next_number = number + 1;
    const long gap = pdu::get_long(meta, "gap", d_gap);
    const auto time = pdu::get(meta, "tx_time");

    const char* fault = nullptr;
    if (d_payloads >= pdu::longest_queue)
        fault = "too many wait before it; let the source follow the port 'sent'";
    else if (pdu::is_true(meta, "erased"))
        fault = "it was erased before it came here";
    else if (uses == 0 || uses >= 1u << 24)
        fault = "its payload must be a c32vector of 1 to 16777215 channel uses";
    else if (number < 0 || number > long(UINT32_MAX))
        fault = "its frame number must fit 32 bits";
    else if (!is_finite(payload, uses))
        fault = "its payload holds NaN or infinity";
    else if (gap < 0 || gap > longest_gap)
        fault = "its gap must be from 0 to 1048576 samples";
    else if (!pmt::is_null(time) && !is_time(time))
        fault = "its tx_time must be a tuple of whole seconds and a fraction";
    d_payloads += fault == nullptr;
    d_waiting.push_back({ number, fault ? pmt::PMT_NIL : data, fault, gap, time });
}

void frame_transmitter_impl::announce(size_t samples)
{
    auto sent =
        pdu::set(pmt::make_dict(), "frame_number", pmt::from_long(d_frame_number));
    sent = pdu::set(sent, "samples", pmt::from_long(long(samples)));
    if (samples == 0)
        sent = pdu::set(sent, "erased", pmt::PMT_T);
    message_port_pub(sent_port, sent);
}

// Makes the burst of the next payload, if one waits.
void frame_transmitter_impl::prepare()
{
    while (!d_sending && !d_waiting.empty()) {
        const entry next = d_waiting.front();
        d_waiting.pop_front();
        d_frame_number = next.frame_number;
        if (next.fault) {
            d_dropped++;
            d_logger->warn("frame {} is not sent: {}.", d_frame_number, next.fault);
            announce(0);
            continue;
        }
        d_payloads--;
        size_t uses = 0;
        const gr_complex* payload = pmt::c32vector_elements(next.payload, uses);
        kernels::frame_header header;
        header.kind = uint8_t(d_kind);
        header.precoded = d_precoded;
        header.frame_number = uint32_t(d_frame_number);
        header.bundle_id = d_bundle_id;
        header.uses = uint32_t(uses);
        const size_t samples = d_dimensions.frame_samples(uses);
        // Frames of one length in a row: nothing to clear.
        d_burst.resize(samples + next.gap);
        d_kernel.frame(header, payload, d_amplitude, d_burst.data());
        std::fill(d_burst.begin() + samples, d_burst.end(), gr_complex());
        d_time = next.time;
        d_done = 0;
        d_sending = true;
    }
}

int frame_transmitter_impl::work(int noutput_items,
                                 gr_vector_const_void_star&,
                                 gr_vector_void_star& output_items)
{
    prepare();
    if (!d_sending) {
        std::this_thread::sleep_for(idle_sleep);
        return 0;
    }
    if (d_done == 0) {
        const auto here = nitems_written(0);
        add_item_tag(
            0, here, pmt::intern("packet_len"), pmt::from_long(long(d_burst.size())));
        add_item_tag(
            0, here, pmt::intern("frame_number"), pmt::from_long(d_frame_number));
        if (!pmt::is_null(d_time))
            add_item_tag(0, here, pmt::intern("tx_time"), d_time);
    }
    auto out = static_cast<gr_complex*>(output_items[0]);
    const size_t count = std::min<size_t>(noutput_items, d_burst.size() - d_done);
    std::copy_n(d_burst.begin() + d_done, count, out);
    d_done += count;
    if (d_done == d_burst.size()) {
        announce(d_burst.size());
        d_sending = false;
        d_frames++;
    }
    return int(count);
}

} // namespace phydnn
} // namespace gr
