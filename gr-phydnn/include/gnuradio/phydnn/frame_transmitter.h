/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_FRAME_TRANSMITTER_H
#define INCLUDED_PHYDNN_FRAME_TRANSMITTER_H

#include <gnuradio/phydnn/api.h>
#include <gnuradio/phydnn/numerology.h>
#include <gnuradio/sync_block.h>

namespace gr {
namespace phydnn {

/*!
 * \brief Payload symbols in, the samples of frames out.
 * \ingroup phydnn
 *
 * Message input `symbols`: a PDU with a c32vector of channel uses (unit average power).
 * Of its metadata, `frame_number` numbers the frame; without it frames are counted from
 * 0. `gap` (long) overrides the zeros after this frame, and `tx_time`, a tuple of whole
 * seconds (uint64) and a fraction (real), says when the burst is to leave.
 *
 * Stream output: one burst a PDU, then \p gap zeros. The first sample carries the tags
 * `packet_len` (long, samples of the burst with its gap, as gr-uhd's sink wants it),
 * `frame_number` (long) and, where the PDU had one, `tx_time`. While no PDU waits,
 * nothing is put out.
 *
 * Message output `sent`: {frame_number, samples} once the last sample of a burst has been
 * put out, or {frame_number, samples: 0, erased: #t} for a PDU that cannot be sent: a
 * source that waits for it never floods the transmitter.
 *
 * A PDU that is erased, empty, too long or not finite is dropped, logged and counted, and
 * so is one that 64 others wait before.
 */
class PHYDNN_API frame_transmitter : virtual public gr::sync_block
{
public:
    typedef std::shared_ptr<frame_transmitter> sptr;

    /*!
     * \param dimensions of the waveform
     * \param bundle_id what the header says made the payload; the receiver compares it
     * \param kind of payload: 0 split inference, 1 weights, 2 text
     * \param precoded DFT-s-OFDM: low peak power for PSK
     * \param amplitude factor on every sample; 1 gives used subcarriers unit power
     * \param gap zeros after each frame, at least 0: they carry the last samples through
     * filters \throws std::invalid_argument for a parameter out of range
     */
    static sptr make(const numerology& dimensions = numerology::preset("wide"),
                     uint32_t bundle_id = 0,
                     int kind = 0,
                     bool precoded = false,
                     float amplitude = 1.0f,
                     int gap = 128);

    virtual void set_amplitude(float amplitude) = 0;
    virtual float amplitude() const = 0;
    virtual void set_precoded(bool precoded) = 0;
    //! Bursts put out whole.
    virtual uint64_t frames() const = 0;
    //! PDUs that could not be sent.
    virtual uint64_t dropped() const = 0;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_FRAME_TRANSMITTER_H */
