/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "channel_impl.h"
#include <gnuradio/io_signature.h>
#include <stdexcept>

namespace gr {
namespace phydnn {

namespace {

const pmt::pmt_t packet_len = pmt::intern("packet_len");

/*! Sets the paths of a named model. \throws std::invalid_argument naming the parameter */
void set_paths(kernels::channel_settings& s,
               const std::string& model,
               const std::string& fading,
               const std::vector<double>& k_factors,
               const std::vector<double>& delays,
               const std::vector<gr_complex>& gains)
{
    const bool tdl = model == "tdl";
    if (!tdl && model != "awgn" && model != "rayleigh" && model != "rician")
        throw std::invalid_argument(
            "model must be 'awgn', 'rayleigh', 'rician' or 'tdl'; it is '" + model + "'");
    if (!tdl && !delays.empty())
        throw std::invalid_argument("delays must be empty for model '" + model +
                                    "', which has one path; 'tdl' has several");
    if (model == "rician" ? k_factors.size() != 1 : !tdl && !k_factors.empty())
        throw std::invalid_argument(
            "k_factors must have " +
            std::string(model == "rician" ? "one value" : "no value") + " for model '" +
            model + "'");
    if (fading == "frame")
        s.fading = kernels::fading_kind::per_frame;
    else if (fading == "doppler")
        s.fading = kernels::fading_kind::doppler;
    else if (fading != "static")
        throw std::invalid_argument(
            "fading must be 'frame', 'doppler' or 'static'; it is '" + fading + "'");
    else if (model == "rayleigh" || model == "rician")
        throw std::invalid_argument("fading must be 'frame' or 'doppler' for model '" +
                                    model + "'");
    if (model == "awgn")
        s.fading = kernels::fading_kind::fixed;
    s.k_factors = k_factors;
    if (tdl)
        s.delays_s = delays;
    if (tdl || !gains.empty())
        s.gains = gains;
}

} // namespace

channel::sptr channel::make(double sample_rate,
                            double snr_db,
                            const std::string& model,
                            const std::string& fading,
                            const std::vector<double>& k_factors,
                            const std::vector<double>& delays,
                            const std::vector<gr_complex>& gains,
                            double doppler_hz,
                            uint64_t block_length,
                            double cfo_hz,
                            double sfo_ppm,
                            double phase_noise_hz,
                            double iq_amplitude_db,
                            double iq_phase_deg,
                            double full_scale,
                            uint64_t seed,
                            uint32_t link)
{
    kernels::channel_settings s;
    set_paths(s, model, fading, k_factors, delays, gains);
    s.sample_rate = sample_rate;
    s.snr_db = snr_db;
    s.doppler_hz = doppler_hz;
    s.block_length = block_length;
    s.cfo_hz = cfo_hz;
    s.sfo_ppm = sfo_ppm;
    s.phase_noise_hz = phase_noise_hz;
    s.iq_amplitude_db = iq_amplitude_db;
    s.iq_phase_deg = iq_phase_deg;
    s.full_scale = full_scale;
    s.seed = seed;
    s.link = link;
    return gnuradio::make_block_sptr<channel_impl>(s);
}

channel_impl::channel_impl(const kernels::channel_settings& settings)
    : gr::block("channel",
                gr::io_signature::make(1, 1, sizeof(gr_complex)),
                gr::io_signature::make(1, 1, sizeof(gr_complex))),
      d_kernel(settings)
{
    set_tag_propagation_policy(TPP_DONT); // general_work() moves them by the delay
}

void channel_impl::set_snr_db(double snr_db)
{
    gr::thread::scoped_lock lock(d_mutex);
    d_kernel.set_snr_db(snr_db);
}

void channel_impl::set_cfo_hz(double cfo_hz)
{
    gr::thread::scoped_lock lock(d_mutex);
    d_kernel.set_cfo_hz(cfo_hz);
}

void channel_impl::set_sfo_ppm(double sfo_ppm)
{
    gr::thread::scoped_lock lock(d_mutex);
    d_kernel.set_sfo_ppm(sfo_ppm);
}

void channel_impl::set_phase_noise_hz(double phase_noise_hz)
{
    gr::thread::scoped_lock lock(d_mutex);
    d_kernel.set_phase_noise_hz(phase_noise_hz);
}

void channel_impl::set_iq_imbalance(double iq_amplitude_db, double iq_phase_deg)
{
    gr::thread::scoped_lock lock(d_mutex);
    d_kernel.set_iq_imbalance(iq_amplitude_db, iq_phase_deg);
}

void channel_impl::set_gains(const std::vector<gr_complex>& gains)
{
    gr::thread::scoped_lock lock(d_mutex);
    d_kernel.set_gains(gains.empty() ? std::vector<gr_complex>{ 1 } : gains); // as make()
}

uint64_t channel_impl::not_finite() const
{
    gr::thread::scoped_lock lock(d_mutex);
    return d_kernel.not_finite();
}

uint64_t channel_impl::clipped() const
{
    gr::thread::scoped_lock lock(d_mutex);
    return d_kernel.clipped();
}

void channel_impl::forecast(int noutput_items, gr_vector_int& ninput_items_required)
{
    gr::thread::scoped_lock lock(d_mutex);
    ninput_items_required[0] = static_cast<int>(d_kernel.inputs_for(noutput_items));
}

int channel_impl::general_work(int noutput_items,
                               gr_vector_int& ninput_items,
                               gr_vector_const_void_star& input_items,
                               gr_vector_void_star& output_items)
{
    gr::thread::scoped_lock lock(d_mutex);
    const uint64_t first = nitems_read(0);
    std::vector<gr::tag_t> tags;
    get_tags_in_range(
        tags, 0, std::max(first, d_searched), first + ninput_items[0], packet_len);
    d_searched = first + ninput_items[0];
    for (const auto& tag : tags)
        d_kernel.new_frame(tag.offset);

    const uint64_t odd = d_kernel.not_finite();
    size_t consumed = 0;
    const size_t made = d_kernel.work(static_cast<const gr_complex*>(input_items[0]),
                                      ninput_items[0],
                                      static_cast<gr_complex*>(output_items[0]),
                                      noutput_items,
                                      consumed);
    if (odd == 0 && d_kernel.not_finite() > 0)
        d_logger->warn(
            "the input holds samples that are not finite numbers; they are taken as 0");

    get_tags_in_range(tags, 0, first, first + consumed);
    for (auto& tag : tags) {
        tag.offset = d_kernel.output_of(tag.offset);
        add_item_tag(0, tag);
    }
    consume_each(static_cast<int>(consumed));
    return static_cast<int>(made);
}

} // namespace phydnn
} // namespace gr
