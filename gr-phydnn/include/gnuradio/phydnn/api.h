/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_API_H
#define INCLUDED_PHYDNN_API_H

#include <gnuradio/attributes.h>

#ifdef gnuradio_phydnn_EXPORTS
#define PHYDNN_API __GR_ATTR_EXPORT
#else
#define PHYDNN_API __GR_ATTR_IMPORT
#endif

#endif /* INCLUDED_PHYDNN_API_H */
