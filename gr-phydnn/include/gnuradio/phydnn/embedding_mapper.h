/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_EMBEDDING_MAPPER_H
#define INCLUDED_PHYDNN_EMBEDDING_MAPPER_H

#include <gnuradio/block.h>
#include <gnuradio/phydnn/api.h>
#include <string>
#include <vector>

namespace gr {
namespace phydnn {

/*!
 * \brief Slices of a latent to constellation points, by lookup in a dictionary of
 * embeddings. \ingroup phydnn
 *
 * Each slice x of D values becomes the label j of its embedding, argmax <x, e_j> or
 * argmin |x - e_j|, and leaves as point p_j (Abdi et al., "PhyDNNs"). Ties go to the
 * lowest label.
 *
 * Message input `slices`: PDUs with an f32vector of n x D values, slice by slice.
 *
 * Message output `symbols`: PDUs with a c32vector of n points and the metadata of the
 * input. Erased PDUs (metadata `erased`) pass untouched. A PDU that is no f32vector,
 * whose length D does not divide, or that holds infinity or NaN leaves as an erasure with
 * reason `payload`; more than 64 waiting PDUs with reason `overrun`. So each PDU that
 * comes in sends one out.
 */
class PHYDNN_API embedding_mapper : virtual public gr::block
{
public:
    typedef std::shared_ptr<embedding_mapper> sptr;

    /*!
     * \param embeddings dictionary of M x D finite values, embedding by embedding
     * \param dim D, values in a slice: 1 to 4096
     * \param points M complex points, 2 to 4096, of unit average power if the samples are
     * to have the Es/N0 that they are labelled with; point j carries embedding j \param
     * lookup "distance" or "inner_product" \throws std::invalid_argument if sizes
     * disagree or are out of range, a value is not finite, or the lookup has another name
     */
    static sptr make(const std::vector<float>& embeddings,
                     size_t dim,
                     const std::vector<gr_complex>& points,
                     const std::string& lookup = "distance");

    //! Mean of |p_j|^2
    virtual float average_power() const = 0;

    //! PDUs that came in.
    virtual uint64_t received() const = 0;

    //! PDUs that came in as erasures.
    virtual uint64_t erased() const = 0;

    //! PDUs that left as erasures for want of time or of sound data.
    virtual uint64_t dropped() const = 0;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_EMBEDDING_MAPPER_H */
