/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_SK_DECODER_H
#define INCLUDED_PHYDNN_SK_DECODER_H

#include <gnuradio/block.h>
#include <gnuradio/phydnn/api.h>
#include <string>
#include <vector>

namespace gr {
namespace phydnn {

/*!
 * \brief Received symbols back to the weights that an sk_encoder sent.
 * \ingroup phydnn
 *
 * The copies of a weight are averaged by the noise that each had. Rule "mmse" gives the
 * posterior mean of a Gaussian weight of unit variance, rule "nearest" the weight of the
 * nearest point (Jankowski, Gündüz, Mikolajczyk, "AirNet", eq. (4)), which loses to
 * repetition below about 5 dB.
 *
 * Message input `symbols`: PDUs with a c32vector of finite symbols; the noise variance N0
 * (N0/2 per real dimension) comes in metadata `n0`, a number or an f32vector as long.
 *
 * Message output `weights`: PDUs with an f32vector and the metadata of the input. An
 * erased PDU leaves erased, but with the best estimate there is of what it held: the
 * prior's mean, 0, of all its weights, if their number is known. A PDU that is no
 * c32vector, holds infinity or NaN, or lacks a sound `n0` becomes such an erasure with
 * reason `payload`; more than 64 waiting PDUs with reason `overrun`. So each PDU that
 * comes in sends one out.
 */
class PHYDNN_API sk_decoder : virtual public gr::block
{
public:
    typedef std::shared_ptr<sk_decoder> sptr;

    /*!
     * \param gammas, alphas, repeats, amplitude as of the sk_encoder
     * \param weights in a frame, at most; 0 for as many as fit into its symbols, in which
     * case an erased frame stays empty
     * \param rule "mmse" or "nearest"
     * \throws std::invalid_argument if one of them is out of range, or the rule has
     * another name
     */
    static sptr make(const std::vector<float>& gammas,
                     const std::vector<float>& alphas,
                     size_t repeats = 1,
                     float amplitude = 1.0f,
                     size_t weights = 0,
                     const std::string& rule = "mmse");

    /*!
     * Changes the rule from the next PDU on; may be called while running.
     * \throws std::invalid_argument for any other name than "mmse" or "nearest"
     */
    virtual void set_rule(const std::string& rule) = 0;

    //! "mmse" or "nearest"
    virtual std::string rule() const = 0;

    //! PDUs that came in.
    virtual uint64_t received() const = 0;

    //! PDUs that came in as erasures.
    virtual uint64_t erased() const = 0;

    //! PDUs that became erasures for want of time or of sound data.
    virtual uint64_t dropped() const = 0;

    //! Weights of erased PDUs that left as the prior's mean.
    virtual uint64_t filled() const = 0;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_SK_DECODER_H */
