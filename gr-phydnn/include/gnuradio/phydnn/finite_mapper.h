/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_FINITE_MAPPER_H
#define INCLUDED_PHYDNN_FINITE_MAPPER_H

#include <gnuradio/block.h>
#include <gnuradio/phydnn/api.h>
#include <vector>

namespace gr {
namespace phydnn {

/*!
 * \brief Real values to a finite-bits constellation of 2^m x 2^m points.
 * \ingroup phydnn
 *
 * Value x becomes number k = round((x - low) (2^m - 1) / (high - low)), kept within 0 and
 * 2^m - 1, and amplitude gain (low + k (high - low) / (2^m - 1)); values 2n and 2n + 1
 * are the real and the imaginary part of channel use n (Xie and Qin, "A Lite Distributed
 * Semantic Communication System for Internet of Things", eq. 18-24).
 *
 * Message input `values`: PDUs with an f32vector of 2n values.
 *
 * Message output `symbols`: PDUs with a c32vector of n channel uses and the metadata of
 * the input. Erased PDUs (metadata `erased`) pass untouched. A PDU that is no f32vector,
 * of an odd length, or that holds infinity or NaN leaves as an erasure with reason
 * `payload`; more than 64 waiting PDUs with reason `overrun`. So each PDU that comes in
 * sends one out.
 */
class PHYDNN_API finite_mapper : virtual public gr::block
{
public:
    typedef std::shared_ptr<finite_mapper> sptr;

    /*!
     * \param low least value of the constellation
     * \param high largest value
     * \param bits m of each real dimension, 1 to 8; 0 for full resolution: values leave
     * as they are, times the gain
     * \param gain amplitude of the value 1, such that the mean power of the symbols is 1
     * \throws std::invalid_argument if a parameter is not finite or out of range
     */
    static sptr make(float low, float high, int bits, float gain);

    //! PDUs that came in.
    virtual uint64_t received() const = 0;

    //! PDUs that came in as erasures.
    virtual uint64_t erased() const = 0;

    //! PDUs that left as erasures for want of time or of sound data.
    virtual uint64_t dropped() const = 0;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_FINITE_MAPPER_H */
