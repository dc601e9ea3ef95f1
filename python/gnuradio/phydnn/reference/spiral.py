# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Spirals from their definitions, by dense grids of weights, in double precision.

Independent of ``phydnn.spiral`` and of the kernel, both of which it checks: nothing here knows of
Newton's method or of tables.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Reals = NDArray[np.floating[Any]]
Complexes = NDArray[np.complexfloating[Any, Any]]

GRID = np.linspace(-7, 7, 7001)
CHUNK = 256


def encode(weights: ArrayLike, gamma: float, alpha: float) -> Complexes:
    """Points of the weights: sgn(w) r exp(j gamma r), r = c |w|^alpha, complex128 as ``weights``.

    c gives Gaussian weights of unit variance unit power; E|w|^(2 alpha) is by quadrature.
    """
    half_line = (np.arange(120000) + 0.5) * 1e-4
    density = 2e-4 * np.exp(-(half_line**2) / 2) / math.sqrt(2 * math.pi)
    scale = np.sum(density * half_line ** (2 * alpha)) ** -0.5
    w = np.asarray(weights, float)
    radius = scale * np.abs(w) ** alpha
    return np.sign(w) * radius * np.exp(1j * gamma * radius)


def nearest(symbols: Complexes, gamma: float, alpha: float) -> Reals:
    """The grid's weights whose points are nearest to the symbols [N]."""
    points = encode(GRID, gamma, alpha)
    parts = [symbols[i : i + CHUNK] for i in range(0, len(symbols), CHUNK)]
    return np.concatenate([GRID[np.abs(part[:, None] - points).argmin(1)] for part in parts])


def mmse(symbols: Complexes, n0: ArrayLike, gamma: float, alpha: float) -> Reals:
    """E[w | symbol] of Gaussian weights, [N]: sums over the grid.

    Args:
        symbols: complex [N].
        n0: noise variance (n0/2 per real dimension), a number or [N], above 0.
    """
    points = encode(GRID, gamma, alpha)
    variances = np.broadcast_to(np.asarray(n0, float), np.shape(symbols))
    means = []
    for i in range(0, len(symbols), CHUNK):
        distances = np.abs(symbols[i : i + CHUNK, None] - points) ** 2
        exponent = -distances / variances[i : i + CHUNK, None] - GRID**2 / 2
        posterior = np.exp(exponent - exponent.max(1, keepdims=True))
        means.append(posterior @ GRID / posterior.sum(1))
    return np.concatenate(means)


def combine(symbols: Complexes, n0: Reals, repeats: int) -> tuple[Complexes, Reals]:
    """Copies [repeats, N], one after the other, averaged by their noise, and what is left of it."""
    weights = 1 / n0.reshape(repeats, -1)
    total = weights.sum(0)
    return (weights * symbols.reshape(repeats, -1)).sum(0) / total, 1 / total
