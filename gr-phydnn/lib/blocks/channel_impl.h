/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_CHANNEL_IMPL_H
#define INCLUDED_PHYDNN_CHANNEL_IMPL_H

#include <gnuradio/phydnn/channel.h>
#include <kernels/channel.h>

namespace gr {
namespace phydnn {

class channel_impl : public channel
{
public:
    explicit channel_impl(const kernels::channel_settings& settings);

    void set_snr_db(double snr_db) override;
    void set_cfo_hz(double cfo_hz) override;
    void set_sfo_ppm(double sfo_ppm) override;
    void set_phase_noise_hz(double phase_noise_hz) override;
    void set_iq_imbalance(double iq_amplitude_db, double iq_phase_deg) override;
    void set_gains(const std::vector<gr_complex>& gains) override;
    uint64_t not_finite() const override;
    uint64_t clipped() const override;

    void forecast(int noutput_items, gr_vector_int& ninput_items_required) override;
    int general_work(int noutput_items,
                     gr_vector_int& ninput_items,
                     gr_vector_const_void_star& input_items,
                     gr_vector_void_star& output_items) override;

private:
    mutable gr::thread::mutex d_mutex; // setters come from other threads
    kernels::channel d_kernel;
    uint64_t d_searched = 0; // inputs in which frames have been looked for
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_CHANNEL_IMPL_H */
