# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Torch twins of the link, symbol by symbol: fading, noise, ideal equalisation and decisions.

Symbols are complex64 tensors [F,U]: F frames of U channel uses. What leaves a channel is
equalised with the channel known, so each symbol carries noise of its own variance N0 / |h|^2.
Es/N0 is that of the average received symbol before equalisation, E|h|^2 being 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from phydnn.errors import InputError

Fading = Callable[[int, int, torch.Generator], Tensor]
"""(frames, uses, generator) -> the channel's coefficients h, complex64 [frames, uses or 1]."""


def n0_of(snr_db: Tensor | float) -> Tensor:
    """Noise variance N0 of Es/N0 in dB, for symbols of unit average power."""
    return 10 ** (-torch.as_tensor(snr_db, dtype=torch.float32) / 10)


def complex_normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Circular complex Gaussian numbers of variance 1, complex64."""
    return torch.randn(shape, generator=generator, dtype=torch.complex64)


def awgn(frames: int, uses: int, generator: torch.Generator) -> Tensor:
    """No fading: h = 1."""
    return torch.ones(frames, 1, dtype=torch.complex64)


def rayleigh(frames: int, uses: int, generator: torch.Generator) -> Tensor:
    """Flat Rayleigh fading: one h ~ CN(0, 1) a frame."""
    return complex_normal((frames, 1), generator)


def rician(k: float) -> Fading:
    """Flat Rician fading, one h a frame; ``k`` is the line of sight's power over the rest's."""
    if not (math.isfinite(k) and k >= 0):
        raise InputError(f"the Rician factor is {k} but must be 0 or more")

    def fading(frames: int, uses: int, generator: torch.Generator) -> Tensor:
        phase = 2 * math.pi * torch.rand(frames, 1, generator=generator)
        sight = torch.polar(torch.ones_like(phase), phase)
        return math.sqrt(k / (k + 1)) * sight + math.sqrt(1 / (k + 1)) * complex_normal(
            (frames, 1), generator
        )

    return fading


def tapped(powers: Tensor, delays: Tensor, subcarriers: int, spacing: float) -> Fading:
    """A tap-delay line seen by OFDM: Rayleigh taps drawn per frame, one h a subcarrier.

    Use u rides on subcarrier u modulo ``subcarriers``.

    Args:
        powers: average power of each tap, float [T]; scaled to a sum of 1.
        delays: delay of each tap in seconds, float [T].
        subcarriers: how many there are.
        spacing: between subcarriers in Hz.
    """
    amplitude = (powers / powers.sum()).sqrt().to(torch.complex64)
    frequency = torch.arange(subcarriers) * spacing
    phase = -2 * math.pi * delays.double()[:, None] * frequency.double()
    response = amplitude[:, None] * torch.polar(torch.ones_like(phase), phase).to(torch.complex64)

    def fading(frames: int, uses: int, generator: torch.Generator) -> Tensor:
        h = complex_normal((frames, len(powers)), generator) @ response
        return h[:, torch.arange(uses) % subcarriers]

    return fading


def named(spec: str) -> Fading:
    """The fading of an option such as ``awgn``, ``rayleigh`` or ``rician:10`` (K = 10).

    Raises:
        InputError: no such channel.
    """
    kind, _, argument = spec.partition(":")
    if spec == "awgn":
        return awgn
    if spec == "rayleigh":
        return rayleigh
    if kind == "rician":
        try:
            return rician(float(argument))
        except ValueError as error:
            raise InputError(f"'{spec}' has no Rician factor: write rician:K, K >= 0") from error
    raise InputError(f"there is no simulated channel '{spec}': choose awgn, rayleigh or rician:K")


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
    difference = symbols[..., None] - points
    distances = difference.real**2 + difference.imag**2
    return torch.softmax(-distances / n0[..., None], -1)


def hard_labels(symbols: Tensor, points: Tensor) -> Tensor:
    """Twin of :func:`phydnn.constellation.hard_labels`: int64 [...]."""
    difference = symbols[..., None] - points
    return (difference.real**2 + difference.imag**2).argmin(-1)
