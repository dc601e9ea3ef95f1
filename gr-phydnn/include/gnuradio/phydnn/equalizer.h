/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_EQUALIZER_H
#define INCLUDED_PHYDNN_EQUALIZER_H

#include <gnuradio/block.h>
#include <gnuradio/phydnn/api.h>
#include <gnuradio/phydnn/numerology.h>

namespace gr {
namespace phydnn {

/*!
 * \brief Unbiased MMSE equalisation of a frame, back to payload symbols.
 * \ingroup phydnn
 *
 * Message input `grid`: the PDUs of csi_estimator (or of a denoiser behind it), whose
 * metadata hold `csi` and `csi_n0`.
 *
 * Message output `symbols`: PDUs with a c32vector of payload symbols and the metadata of
 * the input but `csi`, and `n0` (f32vector: noise variance of each symbol). Erased PDUs
 * pass untouched; a PDU whose grid or CSI does not fit leaves as an erasure with reason
 * `payload`, more than 64 waiting PDUs with reason `overrun`.
 */
class PHYDNN_API equalizer : virtual public gr::block
{
public:
    typedef std::shared_ptr<equalizer> sptr;

    /*!
     * \param dimensions of the waveform
     * \throws std::invalid_argument if they make no waveform
     */
    static sptr make(const numerology& dimensions = numerology::preset("wide"));

    //! PDUs that left as erasures for want of time or of sound data.
    virtual uint64_t dropped() const = 0;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_EQUALIZER_H */
