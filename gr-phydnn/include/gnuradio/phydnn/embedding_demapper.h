/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_EMBEDDING_DEMAPPER_H
#define INCLUDED_PHYDNN_EMBEDDING_DEMAPPER_H

#include <gnuradio/block.h>
#include <gnuradio/phydnn/api.h>
#include <string>
#include <vector>

namespace gr {
namespace phydnn {

/*!
 * \brief Received symbols back to slices of a latent.
 * \ingroup phydnn
 *
 * A hard decision gives the embedding of the nearest point (the lowest label's on a tie),
 * a soft one the mean of all embeddings under p(j|y) ~ exp(-|y - p_j|^2 / N0), their
 * minimum mean squared error estimate for equally likely labels (Abdi et al., "PhyDNNs",
 * have the hard one).
 *
 * Message input `symbols`: PDUs with a c32vector of n symbols; soft decisions read the
 * noise variance N0 (N0/2 per real dimension) from metadata `n0`, a number or an
 * f32vector of n.
 *
 * Message output `slices`: PDUs with an f32vector of n x D values, slice by slice, and
 * the metadata of the input. Erased PDUs (metadata `erased`) pass untouched. A PDU that
 * is no c32vector, holds infinity or NaN, or lacks a sound `n0` for a soft decision
 * leaves as an erasure with reason `payload`; more than 64 waiting PDUs with reason
 * `overrun`. So each PDU that comes in sends one out.
 */
class PHYDNN_API embedding_demapper : virtual public gr::block
{
public:
    typedef std::shared_ptr<embedding_demapper> sptr;

    /*!
     * \param embeddings dictionary of M x D finite values, embedding by embedding
     * \param dim D, values in a slice: 1 to 4096
     * \param points M complex points, 2 to 4096; point j carries embedding j
     * \param decision "hard" or "soft"
     * \throws std::invalid_argument if sizes disagree or are out of range, a value is not
     * finite, or the decision has another name
     */
    static sptr make(const std::vector<float>& embeddings,
                     size_t dim,
                     const std::vector<gr_complex>& points,
                     const std::string& decision = "hard");

    /*!
     * Changes the decision from the next PDU on; may be called while running.
     * \throws std::invalid_argument for any other name than "hard" or "soft"
     */
    virtual void set_decision(const std::string& decision) = 0;

    //! "hard" or "soft"
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

#endif /* INCLUDED_PHYDNN_EMBEDDING_DEMAPPER_H */
