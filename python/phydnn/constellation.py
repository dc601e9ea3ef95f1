# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Constellations of unit average power, their labelling by embedding distance, and decisions.

NumPy only; :mod:`phydnn.channel` has the twins in torch. Noise is complex Gaussian of variance
N0 (N0/2 per real dimension), and Es/N0 in dB is -10 log10(N0), since the average power is 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import quadratic_assignment

from phydnn.errors import InputError

SQUARES = (4, 16, 64, 256)
"""Sizes of square QAM."""
LABELLING_SNR_DB = 10.0
"""Es/N0 at which :func:`label_by_distance` weighs confusions; the order hardly moves with it."""


def psk(order: int) -> NDArray[np.complex64]:
    """Phase-shift keying: ``order`` points exp(2 pi i k / order), complex64 [order]."""
    if not 2 <= order <= 256:
        raise InputError(f"PSK has 2 to 256 points, not {order}")
    return np.exp(2j * np.pi * np.arange(order) / order).astype(np.complex64)


def qam(order: int) -> NDArray[np.complex64]:
    """Square quadrature amplitude modulation: 4, 16, 64 or 256 points by row, complex64 [order]."""
    side = math.isqrt(max(order, 0))
    if order not in SQUARES:
        raise InputError(f"square QAM has 4, 16, 64 or 256 points, not {order}")
    levels = 2.0 * np.arange(side) - (side - 1)
    return unit_power((levels[None, :] + 1j * levels[:, None]).ravel())


def unit_power(points: ArrayLike) -> NDArray[np.complex64]:
    """Any points scaled to an average power of 1, complex64 [M].

    Raises:
        InputError: fewer than 2 points, NaN or infinity, or all points zero.
    """
    points = np.asarray(points, np.complex128)
    power = np.mean(np.abs(points) ** 2) if points.size else 0.0
    if points.ndim != 1 or points.size < 2 or not np.isfinite(power) or power == 0:
        raise InputError("a constellation needs 2 or more finite points that are not all zero")
    return (points / math.sqrt(power)).astype(np.complex64)


def named(name: str, order: int) -> NDArray[np.complex64]:
    """``order`` points of "psk" or "qam"; "learned" and "dictionary" start as one of them."""
    if name in ("learned", "dictionary"):
        name = "qam" if order in SQUARES else "psk"
    if name == "psk":
        return psk(order)
    if name == "qam":
        return qam(order)
    raise InputError(f"there is no constellation '{name}': choose psk, qam, learned or dictionary")


def gray(order: int) -> NDArray[np.int64]:
    """The binary-reflected Gray code: neighbours differ in one bit, int64 [order]."""
    index = np.arange(order)
    return index ^ (index >> 1)


def label_by_distance(embeddings: ArrayLike, points: ArrayLike, seed: int = 0) -> NDArray[np.int64]:
    """Puts near embeddings on near points, so that a likely confusion costs little.

    Minimises sum_ij P(points i and j confused) |e_i - e_j|^2 over assignments, with the pairwise
    bound exp(-|x_i - x_j|^2 / (4 N0)) for the probability: a quadratic assignment problem,
    solved by the FAQ relaxation (Vogelstein et al. 2015) and then by exchanges in pairs, from
    several starts.

    Args:
        embeddings: real [M,D].
        points: complex [M].
        seed: of the random starts.

    Returns:
        int64 [M]: ``points[result[j]]`` carries embedding j.
    """
    embeddings = np.asarray(embeddings, np.float64)
    points = np.asarray(points, np.complex128)
    if len(embeddings) != len(points):
        raise InputError(f"{len(embeddings)} embeddings do not fit {len(points)} points")
    cost = ((embeddings[:, None] - embeddings[None]) ** 2).sum(-1)
    n0 = 10 ** (-LABELLING_SNR_DB / 10)
    confusion = np.exp(-(np.abs(points[:, None] - points[None]) ** 2) / (4 * n0))
    random = np.random.default_rng(seed)
    best, best_value = np.arange(len(points)), np.inf
    for start in range(8):
        options = {"rng": random, "P0": "barycenter" if start == 0 else "randomized"}
        relaxed = quadratic_assignment(cost, confusion, options=options).col_ind
        pairs = np.stack([np.arange(len(points)), relaxed], 1)
        options = {"rng": random, "partial_guess": pairs}
        found = quadratic_assignment(cost, confusion, method="2opt", options=options)
        if found.fun < best_value:
            best, best_value = found.col_ind, found.fun
    return best.astype(np.int64)


def distances(symbols: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """Squared distances of received symbols [...] to the points [M]: float64 [...,M]."""
    difference = np.asarray(symbols, np.complex128)[..., None] - np.asarray(points, np.complex128)
    return difference.real**2 + difference.imag**2


def hard_labels(symbols: ArrayLike, points: ArrayLike) -> NDArray[np.int32]:
    """The nearest point's index of each received symbol, int32 [...]."""
    return distances(symbols, points).argmin(-1).astype(np.int32)


def posteriors(symbols: ArrayLike, points: ArrayLike, n0: ArrayLike) -> NDArray[np.float64]:
    """p(label | symbol) for equally likely labels in complex Gaussian noise: float64 [...,M].

    Args:
        symbols: complex [...]. points: complex [M].
        n0: noise variance of each symbol, a scalar or [...], positive.
    """
    exponent = -distances(symbols, points) / np.asarray(n0, np.float64)[..., None]
    exponent -= exponent.max(-1, keepdims=True)
    weights = np.exp(exponent)
    return weights / weights.sum(-1, keepdims=True)
