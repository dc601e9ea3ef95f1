# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Torch twins of the link, symbol by symbol: fading, noise, ideal equalisation and decisions.

Symbols are complex64 tensors [F,U]: F frames of U channel uses. What leaves a channel is
equalised with the channel known, so each symbol carries noise of its own variance N0 / |h|^2.
Es/N0 is that of the average received symbol before equalisation, E|h|^2 being 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from phydnn.channels import parse_channel
from phydnn.errors import InputError

SUBCARRIERS = 448
SPACING_HZ = 20e6 / 512
"""Of the waveform's default numerology."""

Fading = Callable[[int, int, torch.Generator], Tensor]
"""(frames, uses, generator) -> the channel's coefficients h, complex64 [frames, uses or 1]."""


def n0_of(snr_db: Tensor | float) -> Tensor:
    """Noise variance N0 of Es/N0 in dB, for symbols of unit average power."""
    return 10 ** (-torch.as_tensor(snr_db, dtype=torch.float32) / 10)


def complex_normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Circular complex Gaussian numbers of variance 1, complex64."""
    return torch.randn(tuple(shape), generator=generator, dtype=torch.complex64)


def paths(gains: Tensor, delays: Tensor, k_factors: Tensor, drawn: bool) -> Fading:
    """A tap-delay line as OFDM sees it: one h a subcarrier, or one for all if the line is flat.

    Use u rides on used subcarrier u modulo SUBCARRIERS, without precoding.

    Args:
        gains: of each path, complex64 [T]; where they are drawn, their squares are mean powers.
        delays: of each path in seconds, float32 [T].
        k_factors: line of sight's power over the scattered power of each path, float32 [T].
        drawn: whether each frame draws its own paths (Rayleigh, or Rician where K > 0).
    """
    half = SUBCARRIERS // 2
    index = torch.cat([torch.arange(-half, 0), torch.arange(1, half + 1)]).double()
    phase = -2 * math.pi * SPACING_HZ * delays.double()[:, None] * index
    response = torch.polar(torch.ones_like(phase), phase).to(torch.complex64)
    if not delays.any():
        response = response[:, :1]
    sight, scattered = (k_factors / (k_factors + 1)).sqrt(), (1 / (k_factors + 1)).sqrt()

    def fading(frames: int, uses: int, generator: torch.Generator) -> Tensor:
        line = gains.expand(frames, -1)
        if drawn:
            angle = 2 * math.pi * torch.rand(line.shape, generator=generator)
            direct = torch.polar(torch.ones_like(angle), angle)
            line = line * (sight * direct + scattered * complex_normal(line.shape, generator))
        h = line @ response
        return h if h.shape[1] == 1 else h[:, torch.arange(uses) % SUBCARRIERS]

    return fading


def named(spec: str) -> Fading:
    """The fading of a ``--channel`` option, as :mod:`phydnn.channels` describes it.

    Raises:
        InputError: no such channel, or one that changes within a frame.
    """
    parsed = parse_channel(spec)
    if parsed.fading == "doppler":
        raise InputError(f"the simulation of '{spec}' has no Doppler: set its fading to frame")
    count = len(parsed.gains) or 1
    return paths(
        torch.tensor(parsed.gains or [1], dtype=torch.complex64),
        torch.tensor(parsed.delays or [0.0]),
        torch.tensor(parsed.k_factors or [0.0] * count),
        drawn=parsed.model != "awgn" and parsed.fading == "frame",
    )


def transmit(
    symbols: Tensor, n0: Tensor, fading: Fading, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Sends symbols through fading and noise, and equalises them with the channel known.

    Args:
        symbols: complex64 [F,U].
        n0: noise variance, a scalar or [F,1].
        fading: the channel.
        generator: of the fades and the noise, on the CPU whatever the symbols' device.

    Returns:
        the equalised symbols, complex64 [F,U], and their noise variance, float32 [F,U].
    """
    frames, uses = symbols.shape
    h = fading(frames, uses, generator).to(symbols.device)
    noise = complex_normal((frames, uses), generator).to(symbols.device)
    received = h * symbols + n0.sqrt() * noise
    return received / h, (n0 / h.abs() ** 2).expand(frames, uses)


def posteriors(symbols: Tensor, points: Tensor, n0: Tensor) -> Tensor:
    """Twin of :func:`phydnn.constellation.posteriors`: float32 [...,M], differentiable."""
    # Of -|r - x|^2 / N0, |r|^2 is the same for all points; the rest is one matrix product.
    values = torch.view_as_real(symbols) * (2 / n0[..., None])
    values = torch.cat([values, -1 / n0[..., None]], -1)
    weights = torch.cat([torch.view_as_real(points), points.abs()[:, None] ** 2], 1)
    return torch.softmax(values @ weights.T, -1)


def hard_labels(symbols: Tensor, points: Tensor) -> Tensor:
    """Twin of :func:`phydnn.constellation.hard_labels`: int64 [...]."""
    values, weights = torch.view_as_real(symbols), torch.view_as_real(points)
    return functional.linear(values, weights, -0.5 * points.abs() ** 2).argmax(-1)
