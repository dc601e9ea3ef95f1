/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_CSI_ESTIMATOR_H
#define INCLUDED_PHYDNN_CSI_ESTIMATOR_H

#include <gnuradio/block.h>
#include <gnuradio/phydnn/api.h>
#include <gnuradio/phydnn/numerology.h>

namespace gr {
namespace phydnn {

/*!
 * \brief Least-squares channel estimation at the DMRS of each frame.
 * \ingroup phydnn
 *
 * Message input `grid`: the PDUs of frame_synchronizer.
 *
 * Message output `grid`: the same PDUs with the metadata `csi` (c32vector, DMRS × used
 * subcarriers, refined), `csi_n0` (real, noise variance per subcarrier) and `snr_db`
 * (real, estimated Es/N0). Erased PDUs pass untouched.
 *
 * Message output `csi`: a dict a frame, for receivers of one's own: `frame_number`,
 * `sample_index`, `cfo`, `snr_db`, `csi_n0`, `ls` and `refined` (c32vectors), `pilots`
 * (DMRS in the frame) and `subcarriers` (values of each).
 *
 * A PDU whose grid does not fit its metadata leaves as an erasure with reason `payload`;
 * more than 64 waiting PDUs leave as erasures with reason `overrun`, so that a slow
 * receiver neither fills the memory nor falls silent.
 */
class PHYDNN_API csi_estimator : virtual public gr::block
{
public:
    typedef std::shared_ptr<csi_estimator> sptr;

    /*!
     * \param dimensions of the waveform
     * \param smoothing `none` (least squares as it is) or `window` (projected on the
     * delays that the cyclic prefix admits) \throws std::invalid_argument for a parameter
     * out of range
     */
    static sptr make(const numerology& dimensions = numerology::preset("wide"),
                     const std::string& smoothing = "window");

    //! May be called while running. \throws std::invalid_argument for an unknown name
    virtual void set_smoothing(const std::string& smoothing) = 0;
    //! PDUs that left as erasures for want of time or of a sound grid.
    virtual uint64_t dropped() const = 0;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_CSI_ESTIMATOR_H */
