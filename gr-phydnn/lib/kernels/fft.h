/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_FFT_H
#define INCLUDED_PHYDNN_KERNELS_FFT_H

#include <fftw3.h>
#include <gnuradio/fft/fft.h>
#include <gnuradio/gr_complex.h>
#include <volk/volk_alloc.hh>
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
    fft(unsigned size, bool forward) : in(size), out(size)
    {
        std::scoped_lock lock(gr::fft::planner::mutex()); // FFTW plans one at a time
        d_plan = fftwf_plan_dft_1d(size,
                                   reinterpret_cast<fftwf_complex*>(in.data()),
                                   reinterpret_cast<fftwf_complex*>(out.data()),
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

    volk::vector<gr_complex> in;
    volk::vector<gr_complex> out;

private:
    fftwf_plan d_plan;
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_FFT_H */
