# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""NumPy reference of the emulator, from its definition: clear, and in double precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnuradio.phydnn.reference import channel

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

MCHEM_GRID, MCHEM_LINE, MCHEM_TAPS, MCHEM_FLOOR_DB = 10e-9, 512, 4, -43.0


def at_instants(x: Complex, whole: NDArray[np.int64], fraction: Real) -> Complex:
    """Values of x at whole + fraction, 0 <= fraction < 1; x is 0 outside."""
    fractions, rows = np.unique(fraction, return_inverse=True)
    weights = channel.interpolator_weights(fractions)[rows]
    index = whole[:, None] + np.arange(-19, 21)
    inside = (index >= 0) & (index < len(x))
    return np.einsum("nj,nj->n", np.where(inside, x[np.clip(index, 0, len(x) - 1)], 0), weights)


def mchem(delays: Real, gains: Complex) -> tuple[Real, Complex]:
    """What Colosseum's MCHEM makes of a link's taps: delays [L] in seconds, gains [L]."""
    line = np.zeros(MCHEM_LINE, np.complex128)
    for delay, gain in zip(delays, gains, strict=True):
        step = int(np.floor(delay / MCHEM_GRID + 0.5))
        if step < MCHEM_LINE:
            line[step] += gain
    line[np.abs(line) < 10 ** (MCHEM_FLOOR_DB / 20)] = 0
    line /= np.maximum(np.abs(line), 1)
    strongest = np.argsort(-np.abs(line), kind="stable")[:MCHEM_TAPS]
    rounded = np.round(line[strongest].view(np.float64) * 32767) / 32767
    return strongest * MCHEM_GRID, rounded.view(np.complex128)


@dataclass
class Emulator:
    """Arguments as those of ``gnuradio.phydnn.emulator``; nodes are its keyword arguments."""

    sample_rate: float
    nodes: Sequence[Mapping[str, Any]]
    times: Real
    delays: Real
    gains: Complex
    seed: int = 0
    mchem: bool = False
    doppler_hz: Real | None = None
    scale: Real | None = None
    changes: list[tuple[int, int, int, float]] = field(default_factory=list)
    """Changes of gain: sample, transmitter, receiver, amplitude; in order."""

    def tap(self, i: int, j: int, k: int, n: Real) -> tuple[Real, Complex]:
        """Delay in samples and gain of tap k at sample counts n."""
        delays = self.delays[:, i, j, k] * self.sample_rate
        gains = self.gains[:, i, j, k].astype(np.complex128)
        positions = np.asarray(self.times) * self.sample_rate
        gain = np.interp(n, positions, gains.real) + 1j * np.interp(n, positions, gains.imag)
        before = np.clip(np.searchsorted(positions, n, side="right") - 1, 0, len(positions) - 1)
        after = np.minimum(before + 1, len(positions) - 1)
        # A tap that is silent at one end has the delay of the other.
        start = np.where(gains[before] == 0, delays[after], delays[before])
        end = np.where(gains[after] == 0, start, delays[after])
        length = np.where(after > before, positions[after] - positions[before], 1)
        part = np.clip((n - positions[before]) / length, 0, 1)
        return start + (end - start) * part, gain

    def process(self, i: int, j: int, k: int, n: Real) -> Complex:
        """Clarke's process of tap k at sample counts n."""
        doppler = 0.0 if self.doppler_hz is None else float(self.doppler_hz[i, j])
        if doppler == 0:
            return np.ones(len(n), np.complex128)
        number = i * len(self.nodes) + j
        waves = channel.Channel(
            sample_rate=self.sample_rate, doppler_hz=doppler, seed=self.seed, link=number
        )
        return waves.wave_gains(k, n)

    def fading(self, i: int, j: int, k: int, n: Real) -> Complex:
        """The process on lines between knots, 64 or more a cycle."""
        doppler = 0.0 if self.doppler_hz is None else float(self.doppler_hz[i, j])
        spacing = 16
        while spacing < 1024 and 128 * spacing * doppler <= self.sample_rate:
            spacing *= 2
        knots = np.arange(0, n[-1] + spacing + 1, spacing, dtype=np.float64)
        values = self.process(i, j, k, knots)
        return np.interp(n, knots, values.real) + 1j * np.interp(n, knots, values.imag)

    def link(self, i: int, j: int, x: Complex) -> Complex:
        """What the link makes of x, without its scale."""
        n = np.arange(len(x), dtype=np.float64)
        total = np.zeros(len(x), np.complex128)
        taps = range(self.delays.shape[3])
        if self.mchem:
            period = self.sample_rate * 1e-3
            for turn in range(int(np.ceil(len(x) / period))):
                first, end = (int(np.ceil((turn + part) * period)) for part in (0, 1))
                at = np.array([first], dtype=np.float64)
                lines = [self.tap(i, j, k, at) for k in taps]
                faded = [lines[k][1][0] * self.process(i, j, k, at)[0] for k in taps]
                delays = np.array([line[0][0] / self.sample_rate for line in lines])
                for delay, gain in zip(*mchem(delays, np.array(faded)), strict=True):
                    total[first:end] += gain * self.delayed(x, delay * self.sample_rate)[first:end]
            return total
        for k in taps:
            delay, gain = self.tap(i, j, k, n)
            gain = gain * self.fading(i, j, k, n)
            moves = bool(np.ptp(delay) > 0)
            total += gain * (self.moved(x, delay) if moves else self.delayed(x, float(delay[0])))
        return total

    @staticmethod
    def delayed(x: Complex, delay: float) -> Complex:
        """X later by a number of samples, whole or not."""
        if abs(delay - round(delay)) < 1e-6:
            return np.concatenate([np.zeros(round(delay)), x])[: len(x)]
        whole = np.arange(len(x)) - int(np.ceil(delay))
        return at_instants(x, whole, np.full(len(x), np.ceil(delay) - delay))

    @staticmethod
    def moved(x: Complex, delay: Real) -> Complex:
        """X later by a delay of each sample's own, to the nearest 1/2048 sample."""
        steps = np.floor(-delay * 2048 + 0.5).astype(np.int64)
        return at_instants(x, np.arange(len(x)) + (steps >> 11), (steps & 2047) / 2048)

    def __call__(self, samples: Sequence[NDArray[np.complex64] | None]) -> list[Complex]:
        """What each node receives; the streams are 0 after their end."""
        count = len(self.nodes)
        length = max(len(x) for x in samples if x is not None)
        received = []
        for j in range(count):
            total = np.zeros(length, np.complex128)
            for i, x in enumerate(samples):
                if x is None:
                    continue
                made = self.link(i, j, x.astype(np.complex128))
                if self.scale is not None:
                    made = made * self.scale[i, j]
                for at, transmitter, receiver, gain in self.changes[::-1]:
                    if (transmitter, receiver) == (i, j):
                        made[at:] *= gain
                        break
                total += made
            node = dict(self.nodes[j])
            noise = node.get("noise", 0.0)
            front_end = channel.Channel(
                sample_rate=self.sample_rate,
                snr_db=-10 * np.log10(noise) if noise else np.inf,
                cfo_hz=node.get("cfo_hz", 0.0),
                sfo_ppm=node.get("sfo_ppm", 0.0),
                phase_noise_hz=node.get("phase_noise_hz", 0.0),
                full_scale=node.get("full_scale", 0.0),
                seed=self.seed,
                link=j * count + j,
            )
            received.append(front_end(total, length))
        return received
