/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_FINITE_DEMAPPER_H
#define INCLUDED_PHYDNN_FINITE_DEMAPPER_H

#include <gnuradio/block.h>
#include <gnuradio/phydnn/api.h>
#include <string>
#include <vector>

namespace gr {
namespace phydnn {

/*!
 * \brief Received symbols of a finite-bits constellation back to real values.
 * \ingroup phydnn
 *
 * A hard decision gives the value of the nearest amplitude, a soft one the mean of all
 * values under p(k|y) ~ p(k) exp(-(y - a_k)^2 / N0), their minimum mean squared error
 * estimate; with none, as in the paper (Xie and Qin, "A Lite Distributed Semantic
 * Communication System for Internet of Things"), the amplitude is read as it came.
 *
 * Message input `symbols`: PDUs with a c32vector of n symbols; soft decisions read the
 * noise variance N0 (N0/2 per real dimension) from metadata `n0`, a number or an
 * f32vector of n.
 *
 * Message output `values`: PDUs with an f32vector of 2n values, and the metadata of the
 * input. Erased PDUs (metadata `erased`) pass untouched. A PDU that is no c32vector,
 * holds infinity or NaN, or lacks a sound `n0` for a soft decision leaves as an erasure
 * with reason `payload`; more than 64 waiting PDUs with reason `overrun`. So each PDU
 * that comes in sends one out.
 */
class PHYDNN_API finite_demapper : virtual public gr::block
{
public:
    typedef std::shared_ptr<finite_demapper> sptr;

    /*!
     * \param low, high, bits, gain as of the finite_mapper
     * \param decision "none", "hard" or "soft"
     * \param priors how often each of the 2^m numbers is sent, in weights of any sum;
     * none for equally often
     * \throws std::invalid_argument if a parameter is not finite or out of range, or the
     * decision has another name
     */
    static sptr make(float low,
                     float high,
                     int bits,
                     float gain,
                     const std::string& decision = "soft",
                     const std::vector<float>& priors = {});

    /*!
     * Changes the decision from the next PDU on; may be called while running.
     * \throws std::invalid_argument for any other name than "none", "hard" or "soft"
     */
    virtual void set_decision(const std::string& decision) = 0;

    //! "none", "hard" or "soft"
    virtual std::string decision() const = 0;

    //! PDUs that came in.
    virtual uint64_t received() const = 0;

    //! PDUs that came in as erasures.
    virtual uint64_t erased() const = 0;

    //! PDUs that left as erasures for want of time or of sound data.
    virtual uint64_t dropped() const = 0;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_FINITE_DEMAPPER_H */
