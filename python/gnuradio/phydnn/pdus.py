# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""PDUs, a metadata dict and a uniform vector, for the blocks that are written in Python."""

from __future__ import annotations

from typing import Any

import pmt

from .phydnn_python import to_array

LONGEST_QUEUE = 64
"""PDUs that may wait in a block; the scheduler itself sets no bound."""


def parts(message: Any) -> tuple[Any, Any]:
    """A PDU's metadata (a PMT dict) and its vector (a read-only array).

    What is no PDU has an empty dict; what holds no vector that :func:`to_array` knows has None.
    """
    if not (pmt.is_pair(message) and pmt.is_dict(pmt.car(message))):
        return pmt.make_dict(), None
    return pmt.car(message), to_array(pmt.cdr(message))


def get(metadata: Any, key: str, otherwise: Any = None) -> Any:
    """The number, bool or string under ``key`` of a PMT dict, as Python has it.

    A vector comes as an array; what is missing as ``otherwise``.
    """
    value = pmt.dict_ref(metadata, pmt.intern(key), pmt.PMT_NIL)
    if pmt.is_null(value):
        return otherwise
    array = to_array(value)
    return pmt.to_python(value) if array is None else array


def put(metadata: Any, **fields: Any) -> Any:
    """A PMT dict with these fields set; a value is a PMT, an int, a float, a bool or a string."""
    for key, value in fields.items():
        packed = value if isinstance(value, pmt.pmt_base) else pmt.to_pmt(value)
        metadata = pmt.dict_add(metadata, pmt.intern(key), packed)
    return metadata


def erased(metadata: Any) -> bool:
    """Whether a PDU with this metadata stands for a frame that never arrived."""
    return get(metadata, "erased", False) is True


def erase(metadata: Any, reason: str) -> Any:
    """The metadata of an erasure."""
    return put(metadata, erased=True, reason=reason)
