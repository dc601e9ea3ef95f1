/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_FRAME_TRANSMITTER_IMPL_H
#define INCLUDED_PHYDNN_FRAME_TRANSMITTER_IMPL_H

#include <gnuradio/phydnn/frame_transmitter.h>
#include <kernels/transmitter.h>
#include <atomic>
#include <deque>

namespace gr {
namespace phydnn {

class frame_transmitter_impl : public frame_transmitter
{
public:
    frame_transmitter_impl(const numerology& dimensions,
                           uint32_t bundle_id,
                           int kind,
                           bool precoded,
                           float amplitude,
                           int gap);

    void set_amplitude(float amplitude) override;
    float amplitude() const override { return d_amplitude; }
    void set_precoded(bool precoded) override { d_precoded = precoded; }
    uint64_t frames() const override { return d_frames; }
    uint64_t dropped() const override { return d_dropped; }

    int work(int noutput_items,
             gr_vector_const_void_star& input_items,
             gr_vector_void_star& output_items) override;

private:
    // What waits for its turn: a payload, or in its place what was wrong with it.
    struct entry {
        long frame_number;
        pmt::pmt_t payload;
        const char* fault;
        long gap;
        pmt::pmt_t time;
    };

    void enqueue(const pmt::pmt_t& message);
    void prepare();
    void announce(size_t samples);

    const numerology d_dimensions;
    kernels::transmitter d_kernel;
    const uint32_t d_bundle_id;
    const int d_kind;
    const int d_gap;
    std::atomic<bool> d_precoded;
    std::atomic<float> d_amplitude;
    std::atomic<uint64_t> d_frames{ 0 }, d_dropped{ 0 };

    std::deque<entry> d_waiting;
    size_t d_payloads = 0; // in d_waiting
    std::vector<gr_complex> d_burst;
    size_t d_done = 0;      // samples of d_burst that have been put out
    bool d_sending = false; // whether d_burst holds more
    long d_frame_number = 0;
    pmt::pmt_t d_time = pmt::PMT_NIL; // when d_burst is to leave
    long d_next_number = 0;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_FRAME_TRANSMITTER_IMPL_H */
