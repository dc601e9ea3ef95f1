/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_BLOCKS_PDU_H
#define INCLUDED_PHYDNN_BLOCKS_PDU_H

#include <gnuradio/gr_complex.h>
#include <pmt/pmt.h>
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

//! The complex vector of a PDU, or an empty one if \p message has none.
inline pmt::pmt_t complex_data(const pmt::pmt_t& message)
{
    const bool good = pmt::is_pair(message) && pmt::is_c32vector(pmt::cdr(message));
    return good ? pmt::cdr(message) : pmt::make_c32vector(0, gr_complex());
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

//! \p message as an erasure: its metadata, marked, and an empty vector.
inline pmt::pmt_t erase(const pmt::pmt_t& metadata, const std::string& reason)
{
    auto marked = set(metadata, "erased", pmt::PMT_T);
    marked = set(marked, "reason", pmt::intern(reason));
    return pmt::cons(marked, pmt::make_c32vector(0, gr_complex()));
}

} // namespace pdu
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_BLOCKS_PDU_H */
