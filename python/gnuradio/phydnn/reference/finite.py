# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The finite-bits constellation, in NumPy, level by level, in double precision.

After Xie and Qin, "A Lite Distributed Semantic Communication System for Internet of Things",
eq. (18)-(24).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Reals = NDArray[np.floating[Any]]
Complexes = NDArray[np.complexfloating[Any, Any]]


def levels(low: float, high: float, bits: int) -> NDArray[np.float64]:
    """The 2^m values that can be sent, evenly from low to high."""
    return np.linspace(low, high, 2**bits)


def encode(values: Reals, low: float, high: float, bits: int, gain: float) -> Complexes:
    """Values, real [2N], to the nearest levels, and those in pairs to symbols, complex [N]."""
    all_levels = levels(low, high, bits)
    nearest = np.abs(np.asarray(values, np.float64)[:, None] - all_levels).argmin(1)
    sent = gain * all_levels[nearest]
    return sent[::2] + 1j * sent[1::2]


def received_amplitudes(symbols: Complexes) -> NDArray[np.float64]:
    """Real and imaginary parts in turn, real [2N]."""
    return np.stack([symbols.real, symbols.imag], 1).ravel().astype(np.float64)


def decode_hard(symbols: Complexes, low: float, high: float, bits: int, gain: float) -> Reals:
    """The value of each nearest amplitude, real [2N]."""
    all_levels = levels(low, high, bits)
    distances = np.abs(received_amplitudes(symbols)[:, None] - gain * all_levels)
    return all_levels[distances.argmin(1)]


def decode_soft(
    symbols: Complexes,
    n0: ArrayLike,
    low: float,
    high: float,
    bits: int,
    gain: float,
    priors: ArrayLike | None = None,
) -> Reals:
    """Means of the values under p(k|y) ~ p(k) exp(-(y - a_k)^2 / n0), real [2N].

    Args:
        symbols: complex [N].
        n0: noise variance (n0/2 per real dimension), a number or real [N], above 0.
        low, high, bits, gain: of the constellation.
        priors: weights of the 2^m numbers; equal ones if None.
    """
    all_levels = levels(low, high, bits)
    noise = np.repeat(np.broadcast_to(n0, symbols.shape), 2).astype(np.float64)
    squares = (received_amplitudes(symbols)[:, None] - gain * all_levels) ** 2
    squares -= squares.min(1, keepdims=True)
    likelihoods = np.exp(-squares / noise[:, None])
    weights = likelihoods * (1.0 if priors is None else np.asarray(priors, np.float64))
    return (weights @ all_levels) / weights.sum(1)
