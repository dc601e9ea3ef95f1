/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_CSI_H
#define INCLUDED_PHYDNN_KERNELS_CSI_H

#include <gnuradio/phydnn/numerology.h>
#include <kernels/fft.h>
#include <string>
#include <vector>

namespace gr {
namespace phydnn {
namespace kernels {

//! How the least-squares estimate is refined.
enum class smoothing {
    none,  //!< the least-squares estimate as it is
    window //!< projected on the delays that the cyclic prefix admits
};

//! \throws std::invalid_argument for a name other than none or window
PHYDNN_API smoothing smoothing_from_name(const std::string& name);

/*!
 * \brief Projects channel estimates on the delays that the cyclic prefix admits.
 *
 * The channel at the used subcarriers is H = F a, with taps a at delays of −margin to
 * cp_length + margin samples. The least-squares fit of a to an estimate keeps the share
 * taps() / used of its noise. The subcarriers do not fill the band, so FᴴF is no multiple
 * of the identity: its regularised inverse is made once.
 */
class PHYDNN_API delay_window
{
public:
    explicit delay_window(const numerology& dimensions);

    //! Number of taps.
    unsigned taps() const { return d_taps; }

    /*!
     * \brief Fits the taps to an estimate.
     * \param ls `used` values of an estimate, from the lowest subcarrier
     * \param taps room for taps() values
     */
    void fit(const gr_complex* ls, gr_complex* taps);

    //! \brief The channel at the used subcarriers of taps: H = F a.
    void response(const gr_complex* taps, gr_complex* h);

private:
    numerology d_dimensions;
    unsigned d_margin;
    unsigned d_taps;
    fft d_to_delay;
    fft d_to_frequency;
    volk::vector<float> d_weights; // each twice, for real and imaginary parts
    volk::vector<gr_complex> d_correlation;
};

//! The channel estimate of one frame.
struct channel_estimate {
    volk::vector<gr_complex> ls;      //!< least squares: pilot symbols × used
    volk::vector<gr_complex> refined; //!< after smoothing: pilot symbols × used
    float n0 = 0;                     //!< noise variance per subcarrier
    float snr_db = 0; //!< mean channel gain over n0 (Es/N0 at the receiver)
};

/*!
 * \brief Least-squares channel estimation at the DMRS of a frame.
 *
 * The noise variance is what the delay window leaves over of the least-squares estimates.
 */
class PHYDNN_API csi_estimator
{
public:
    //! \throws std::invalid_argument if the dimensions make no waveform
    explicit csi_estimator(const numerology& dimensions);

    /*!
     * \param grid numerology::grid_symbols(uses) × used received subcarriers
     * \param uses channel uses of the frame
     * \param method how to refine
     */
    channel_estimate estimate(const gr_complex* grid, size_t uses, smoothing method);

    const numerology& dimensions() const { return d_dimensions; }

private:
    numerology d_dimensions;
    delay_window d_window;
    volk::vector<gr_complex> d_pilots;
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_CSI_H */
