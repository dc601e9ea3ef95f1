/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_FRAME_SYNCHRONIZER_IMPL_H
#define INCLUDED_PHYDNN_FRAME_SYNCHRONIZER_IMPL_H

#include <gnuradio/phydnn/frame_synchronizer.h>
#include <kernels/synchronizer.h>
#include <mutex>

namespace gr {
namespace phydnn {

class frame_synchronizer_impl : public frame_synchronizer
{
public:
    frame_synchronizer_impl(const numerology& dimensions,
                            double sample_rate,
                            uint32_t bundle_id,
                            double false_alarm_rate,
                            size_t max_uses,
                            size_t in_flight);

    std::map<std::string, uint64_t> counts() const override;

    int work(int noutput_items,
             gr_vector_const_void_star& input_items,
             gr_vector_void_star& output_items) override;

private:
    void publish(kernels::reception&& frame);

    const double d_sample_rate;
    const size_t d_in_flight;
    size_t d_under_way = 0; // frames that left, less those that are done
    kernels::synchronizer d_kernel;
    mutable std::mutex d_mutex;
    kernels::synchronizer_counts d_counts; // a copy that other threads may read
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_FRAME_SYNCHRONIZER_IMPL_H */
