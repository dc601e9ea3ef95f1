/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_FRAME_SYNCHRONIZER_H
#define INCLUDED_PHYDNN_FRAME_SYNCHRONIZER_H

#include <gnuradio/phydnn/api.h>
#include <gnuradio/phydnn/numerology.h>
#include <gnuradio/sync_block.h>
#include <map>

namespace gr {
namespace phydnn {

/*!
 * \brief Finds frames in a stream of samples and cuts them into resource grids.
 * \ingroup phydnn
 *
 * Message output `grid`: one PDU a frame with a c32vector of symbols × used subcarriers,
 * corrected for the carrier offset, and the metadata `frame_number` (long), `uses`
 * (long), `kind` (long), `precoded` (bool), `bundle_id` (uint64), `cfo` (real, Hz),
 * `sample_index` (uint64, first sample of the preamble). A frame that is known not to
 * have arrived is a PDU with an empty vector and `frame_number`, `erased` (#t) and
 * `reason`: `lost` (its number was skipped), `bundle` (made by another bundle: reported,
 * never decoded) or `cut` (its signal ended early). Frames leave in the order in which
 * they came.
 *
 * Message input `done`: any message says that a frame has been dealt with; with a limit
 * to those under way, the stream stands still meanwhile. A radio does not wait: give none
 * there.
 *
 * Non-finite samples count as zeros. The same samples give the same PDUs, bit for bit,
 * however the scheduler cuts the stream. The estimators are described with their sources
 * at kernels::synchronizer.
 */
class PHYDNN_API frame_synchronizer : virtual public gr::sync_block
{
public:
    typedef std::shared_ptr<frame_synchronizer> sptr;

    /*!
     * \param dimensions of the waveform
     * \param sample_rate Hz; scales the reported carrier offset
     * \param bundle_id of the frames to accept; 0 accepts any
     * \param false_alarm_rate of the detector, per sample of noise, from 1e-15 to 1e-2
     * \param max_uses longest payload to accept, in channel uses: bounds the memory that
     * a header can claim
     * \param in_flight frames that may leave before `done` comes for the first; 0 for any
     * \throws std::invalid_argument for a parameter out of range
     */
    static sptr make(const numerology& dimensions = numerology::preset("wide"),
                     double sample_rate = 20e6,
                     uint32_t bundle_id = 0,
                     double false_alarm_rate = 1e-8,
                     size_t max_uses = 262144,
                     size_t in_flight = 0);

    /*!
     * Counts since the start: `samples`, `detections`, `frames` (delivered whole),
     * `header_errors`, `lost`, `bundle_mismatches`, `cut`, `bad_samples`, `restarts`.
     */
    virtual std::map<std::string, uint64_t> counts() const = 0;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_FRAME_SYNCHRONIZER_H */
