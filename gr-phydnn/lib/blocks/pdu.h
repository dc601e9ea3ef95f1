/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_BLOCKS_PDU_H
#define INCLUDED_PHYDNN_BLOCKS_PDU_H

#include <gnuradio/block.h>
#include <gnuradio/gr_complex.h>
#include <pmt/pmt.h>
#include <atomic>
#include <stdexcept>
#include <string>

namespace gr {
namespace phydnn {
namespace pdu {

//! PDUs that may wait at a message port with a handler; the scheduler itself sets no
//! bound.
constexpr size_t longest_queue = 64;

//! The metadata of a PDU, or an empty dict if \p message is none.
inline pmt::pmt_t meta(const pmt::pmt_t& message)
{
    const bool good = pmt::is_pair(message) && pmt::is_dict(pmt::car(message));
    return good ? pmt::car(message) : pmt::make_dict();
}

//! The data of a PDU, or nil if \p message is none.
inline pmt::pmt_t data(const pmt::pmt_t& message)
{
    return pmt::is_pair(message) ? pmt::cdr(message) : pmt::PMT_NIL;
}

//! \p value if it is a complex vector, or an empty one.
inline pmt::pmt_t complex_vector(const pmt::pmt_t& value)
{
    return pmt::is_c32vector(value) ? value : pmt::make_c32vector(0, gr_complex());
}

inline pmt::pmt_t get(const pmt::pmt_t& dict, const char* key)
{
    return pmt::dict_ref(dict, pmt::intern(key), pmt::PMT_NIL);
}

inline pmt::pmt_t set(const pmt::pmt_t& dict, const char* key, const pmt::pmt_t& value)
{
    return pmt::dict_add(dict, pmt::intern(key), value);
}

inline long get_long(const pmt::pmt_t& dict, const char* key, long otherwise)
{
    const auto value = get(dict, key);
    return pmt::is_integer(value) ? pmt::to_long(value) : otherwise;
}

inline bool is_true(const pmt::pmt_t& dict, const char* key)
{
    return pmt::is_true(pmt::dict_ref(dict, pmt::intern(key), pmt::PMT_F));
}

//! An erasure: the metadata of what it was, marked, and most often an empty vector.
inline pmt::pmt_t erase(const pmt::pmt_t& metadata,
                        const std::string& reason,
                        const pmt::pmt_t& held = pmt::make_c32vector(0, gr_complex()))
{
    auto marked = set(metadata, "erased", pmt::PMT_T);
    marked = set(marked, "reason", pmt::intern(reason));
    return pmt::cons(marked, held);
}

/*!
 * \brief A block that answers each PDU at one message port with one at another.
 *
 * An erasure passes. A PDU that too many wait behind, or that convert() refuses, becomes
 * one, and the log says why.
 */
template <typename Interface>
class converter : public Interface
{
public:
    // They override those of them that the interface has.
    uint64_t received() const { return d_received; }
    uint64_t erased() const { return d_erased; }
    uint64_t dropped() const { return d_dropped; }

protected:
    //! \p overrun is what the log says of PDUs that come too fast.
    converter(const char* from, const char* to, const char* overrun)
        : d_from(pmt::intern(from)), d_to(pmt::intern(to)), d_overrun(overrun)
    {
        this->message_port_register_in(d_from);
        this->message_port_register_out(d_to);
        this->set_msg_handler(d_from, [this](const pmt::pmt_t& m) { handle(m); });
    }

    /*! The PDU to send for one of \p metadata and \p values.
     * \throws std::invalid_argument if they are unsound */
    virtual pmt::pmt_t convert(const pmt::pmt_t& metadata, const pmt::pmt_t& values) = 0;

    //! What to send for an erasure that comes in.
    virtual pmt::pmt_t pass(const pmt::pmt_t& erasure) const { return erasure; }

    //! What a PDU holds that becomes an erasure here.
    virtual pmt::pmt_t nothing() const { return pmt::make_c32vector(0, gr_complex()); }

private:
    void handle(const pmt::pmt_t& message)
    {
        d_received++;
        const auto metadata = meta(message);
        if (is_true(metadata, "erased")) {
            d_erased++;
            this->message_port_pub(d_to, pass(message));
            return;
        }
        const char* reason = "payload";
        try {
            if (this->nmsgs(d_from) > longest_queue) {
                reason = "overrun";
                throw std::invalid_argument(d_overrun);
            }
            this->message_port_pub(d_to, convert(metadata, data(message)));
        } catch (const std::invalid_argument& fault) {
            d_dropped++;
            this->d_logger->warn("frame {} is erased: {}.",
                                 get_long(metadata, "frame_number", -1),
                                 fault.what());
            this->message_port_pub(d_to, erase(metadata, reason, nothing()));
        }
    }

    const pmt::pmt_t d_from;
    const pmt::pmt_t d_to;
    const char* const d_overrun;
    std::atomic<uint64_t> d_received{ 0 };
    std::atomic<uint64_t> d_erased{ 0 };
    std::atomic<uint64_t> d_dropped{ 0 };
};

} // namespace pdu
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_BLOCKS_PDU_H */
