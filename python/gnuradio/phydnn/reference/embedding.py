# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Dictionary lookup at both ends, in NumPy, in the precision of its arguments.

Give float64 and complex128 for exact answers, float32 and complex64 for a fair race against
``gnuradio.phydnn.kernels.embedding_codec``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Reals = NDArray[np.floating[Any]]
Complexes = NDArray[np.complexfloating[Any, Any]]


def scores(slices: Reals, embeddings: Reals, lookup: str = "distance") -> Reals:
    """What the lookup maximises, real [N, M].

    ``lookup`` "inner_product": <x, e_j>. "distance": <x, e_j> - |e_j|^2 / 2, which orders the
    labels as -|x - e_j|^2 does.

    Args:
        slices: real [N, D].
        embeddings: real [M, D].
    """
    products = slices @ embeddings.T
    if lookup == "distance":
        products -= np.einsum("md,md->m", embeddings, embeddings) / 2
    return products


def encode(
    slices: Reals, embeddings: Reals, points: Complexes, lookup: str = "distance"
) -> tuple[NDArray[np.int32], Complexes]:
    """Labels, int32 [N], and symbols, complex [N], of the slices; ties go to the lowest label.

    Args:
        slices: real [N, D].
        embeddings: real [M, D].
        points: complex [M]; point j carries embedding j.
        lookup: "distance" or "inner_product".
    """
    labels = scores(slices, embeddings, lookup).argmax(1).astype(np.int32)
    return labels, points.take(labels)


def squared_distances(symbols: Complexes, points: Complexes) -> Reals:
    """|y_n - p_j|^2, real [N, M]."""
    return (symbols.real[:, None] - points.real) ** 2 + (symbols.imag[:, None] - points.imag) ** 2


def decode_hard(
    symbols: Complexes, embeddings: Reals, points: Complexes
) -> tuple[NDArray[np.int32], Reals]:
    """The nearest points' labels, int32 [N], and embeddings, real [N, D].

    Args:
        symbols: complex [N].
        embeddings: real [M, D].
        points: complex [M].
    """
    labels = squared_distances(symbols, points).argmin(1).astype(np.int32)
    return labels, embeddings.take(labels, 0)


def decode_soft(symbols: Complexes, embeddings: Reals, points: Complexes, n0: ArrayLike) -> Reals:
    """Means of the embeddings under p(j|y) ~ exp(-|y - p_j|^2 / n0), real [N, D].

    Args:
        symbols: complex [N].
        embeddings: real [M, D].
        points: complex [M].
        n0: noise variance (n0/2 per real dimension), a number or real [N], 0 or more.
    """
    distances = squared_distances(symbols, points)
    distances -= distances.min(1, keepdims=True)
    variances = np.asarray(n0, distances.dtype).reshape(-1, 1)
    with np.errstate(over="ignore"):
        weights = np.exp(-distances / np.maximum(variances, np.finfo(distances.dtype).tiny))
    weights /= weights.sum(1, keepdims=True)
    return weights @ embeddings
