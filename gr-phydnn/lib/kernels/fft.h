/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_FFT_H
#define INCLUDED_PHYDNN_KERNELS_FFT_H

#include <gnuradio/fft/fft.h>
#include <gnuradio/gr_complex.h>
#include <fftw3.h>
#include <volk/volk_alloc.hh>
#include <algorithm>
#include <mutex>

namespace gr {
namespace phydnn {
namespace kernels {

/*!
 * \brief A complex FFT between two aligned buffers of its own; not normalised.
 *
 * gr-fft's own class plans by measuring, so two processes may round differently. This one
 * takes FFTW's estimated plan, which depends on the size alone: same samples, same bits.
 */
class fft
{
public:
    fft(unsigned size, bool forward)
        : d_in(size), d_out(size), in(d_in.data()), out(d_out.data()), size(size)
    {
        std::fill_n(in, size, gr_complex());
        std::scoped_lock lock(gr::fft::planner::mutex()); // FFTW plans one at a time
        d_plan = fftwf_plan_dft_1d(size,
                                   reinterpret_cast<fftwf_complex*>(in),
                                   reinterpret_cast<fftwf_complex*>(out),
                                   forward ? FFTW_FORWARD : FFTW_BACKWARD,
                                   FFTW_ESTIMATE);
    }
    ~fft()
    {
        std::scoped_lock lock(gr::fft::planner::mutex());
        fftwf_destroy_plan(d_plan);
    }
    fft(const fft&) = delete;
    fft& operator=(const fft&) = delete;

    void execute() { fftwf_execute(d_plan); }

private:
    volk::vector<gr_complex> d_in, d_out;
    fftwf_plan d_plan;

public:
    gr_complex* const in;
    gr_complex* const out;
    const unsigned size;
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_FFT_H */
