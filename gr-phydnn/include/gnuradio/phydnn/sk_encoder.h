/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_SK_ENCODER_H
#define INCLUDED_PHYDNN_SK_ENCODER_H

#include <gnuradio/block.h>
#include <gnuradio/phydnn/api.h>
#include <vector>

namespace gr {
namespace phydnn {

/*!
 * \brief Weights to analog symbols: Shannon-Kotelnikov spirals, repetition, or both.
 * \ingroup phydnn
 *
 * A weight w of unit variance leaves as the point sgn(w) r exp(j gamma r), r = c
 * |w|^alpha, of Archimedes' spirals (Jankowski, Gündüz, Mikolajczyk, "AirNet", eq.
 * (2)-(3), where alpha is 1), which takes one channel use of unit average power. Each
 * further spiral codes both parts of the points before it: n of them expand 1:2^n.
 * Without one, two weights share a use. All of it is sent so many times. What each
 * parameter does is said with its kernel, kernels::layer_code.
 *
 * Message input `weights`: PDUs with an f32vector of n finite weights.
 *
 * Message output `symbols`: PDUs with a c32vector of ceil(n 2^spirals repeats / 2)
 * symbols and the metadata of the input. Erased PDUs (metadata `erased`) pass untouched.
 * A PDU that is no f32vector, or that holds infinity or NaN, leaves as an erasure with
 * reason `payload`; more than 64 waiting PDUs with reason `overrun`. So each PDU that
 * comes in sends one out.
 */
class PHYDNN_API sk_encoder : virtual public gr::block
{
public:
    typedef std::shared_ptr<sk_encoder> sptr;

    /*!
     * \param gammas of the spirals, radians in a unit of radius, 0 to 32; at most 4
     * \param alphas their radii's exponents, 0.5 to 1, as many
     * \param repeats copies, 1 to 64
     * \param amplitude of the symbols, 0.001 to 1000
     * \throws std::invalid_argument if one of them is out of range
     */
    static sptr make(const std::vector<float>& gammas,
                     const std::vector<float>& alphas,
                     size_t repeats = 1,
                     float amplitude = 1.0f);

    //! PDUs that came in.
    virtual uint64_t received() const = 0;

    //! PDUs that came in as erasures.
    virtual uint64_t erased() const = 0;

    //! PDUs that left as erasures for want of time or of sound data.
    virtual uint64_t dropped() const = 0;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_SK_ENCODER_H */
