# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""NumPy reference of the channel kernels, from their definitions: clear, and in double precision.

Random numbers: J. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC'11), Philox4x32
with 10 rounds; key (low word of seed, link), counter (index low, index high, stream, high word of
seed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Complex = NDArray[np.complex128]

RECEIVER_NOISE, PHASE_NOISE, FADING, WAVES = 0, 1, 0x10000, 0x20000
WORD = np.uint64(0xFFFFFFFF)
BITS = np.uint64(32)


def philox4x32(counter: Sequence[Words | int], key: Sequence[int]) -> list[Words]:
    """Philox4x32-10.

    Args:
        counter: four words, each a number or an array [n].
        key: two words.

    Returns:
        Four arrays [n] of words, as uint64.
    """
    c = [np.asarray(word, dtype=np.uint64) for word in counter]
    k = [np.uint64(word) for word in key]
    for _ in range(10):
        first = np.uint64(0xD2511F53) * c[0]
        second = np.uint64(0xCD9E8D57) * c[2]
        c = [
            (second >> BITS) ^ c[1] ^ k[0],
            second & WORD,
            (first >> BITS) ^ c[3] ^ k[1],
            first & WORD,
        ]
        k = [(k[0] + np.uint64(0x9E3779B9)) & WORD, (k[1] + np.uint64(0xBB67AE85)) & WORD]
    return c


def draws(seed: int, link: int, stream: int, indices: Words) -> list[Words]:
    """The words of the draws of those indices: four arrays like ``indices``."""
    counter: list[Words | int] = [indices & WORD, indices >> BITS, stream, seed >> 32]
    return philox4x32(counter, [seed & 0xFFFFFFFF, link])


def noise(seed: int, link: int, stream: int, first: int, count: int) -> Complex:
    """Circular Gaussian samples first … first + count - 1 of total variance 1, complex128."""
    index = np.arange(first, first + count, dtype=np.uint64)
    words = draws(seed, link, stream, index // np.uint64(2))
    odd = index % np.uint64(2) == 1
    u = np.where(odd, words[2], words[0]).astype(np.float32)
    v = np.where(odd, words[3], words[1])
    uniform = ((u + np.float32(0.5)) * np.float32(2.0**-32)).astype(np.float64)
    return np.sqrt(-np.log(uniform)) * np.exp(2j * np.pi * 2.0**-32 * v)


def interpolator_weights(fraction: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Weights [..., 40] of samples n - 19 … n + 20 for the value at n + fraction."""
    t = np.arange(40) - 19 - np.asarray(fraction)[..., None]
    window = np.i0(6.25 * np.sqrt(np.maximum(0, 1 - (t / 20) ** 2))) / np.i0(6.25)
    return np.sinc(t) * window


def at_times(x: Complex, whole: NDArray[np.int64], fraction: NDArray[np.float64]) -> Complex:
    """Values of x (0 outside) at whole + fraction; fractions are taken to the nearest 1/2048."""
    pad = 64
    padded = np.concatenate([np.zeros(pad), x, np.zeros(pad)])
    phases, rows = np.unique(np.round(fraction * 2048), return_inverse=True)
    weights = interpolator_weights(phases / 2048)[rows]
    window = np.lib.stride_tricks.sliding_window_view(padded, 40)
    return np.einsum("nj,nj->n", window[whole - 19 + pad], weights)


@dataclass
class Channel:
    """Parameters of a channel, as those of the block ``gnuradio.phydnn.channel``.

    ``fading`` is "fixed", "per_frame" or "doppler"; ``frames`` are the first samples of frames.
    """

    sample_rate: float = 20e6
    fading: str = "fixed"
    delays: Sequence[float] = (0.0,)
    gains: Sequence[complex] = (1.0,)
    k_factors: Sequence[float] = ()
    doppler_hz: float = 0.0
    block_length: int = 0
    frames: Sequence[int] = field(default_factory=list)
    snr_db: float = np.inf
    cfo_hz: float = 0.0
    sfo_ppm: float = 0.0
    phase_noise_hz: float = 0.0
    iq_amplitude_db: float = 0.0
    iq_phase_deg: float = 0.0
    full_scale: float = 0.0
    seed: int = 0
    link: int = 0

    def wave_gains(self, path: int, samples: NDArray[np.float64]) -> Complex:
        """Scattered part of a path's gain at sample counts [n]: 32 plane waves, mean power 1."""
        m = np.arange(32, dtype=np.uint64)
        words = draws(self.seed, self.link, WAVES + path, m)
        angle = 2 * np.pi * (m + (words[1] >> np.uint64(5)) * 2.0**-27) / 32
        cycles = np.outer(samples, self.doppler_hz / self.sample_rate * np.cos(angle))
        return np.exp(2j * np.pi * (cycles + words[0] * 2.0**-32)).sum(axis=1) / np.sqrt(32)

    def path_gains(self, path: int, count: int) -> Complex:
        """A path's gain at samples 0 … count - 1."""
        if self.fading == "fixed":
            return np.full(count, self.gains[path], dtype=np.complex128)
        n = np.arange(count)
        if self.fading == "per_frame":
            if self.block_length:
                frame = n // self.block_length
            else:
                frame = np.maximum(np.searchsorted(self.frames, n, side="right") - 1, 0)
            scattered = noise(self.seed, self.link, FADING + path, 0, int(frame[-1]) + 1)[frame]
        else:
            spacing = 16
            while spacing < 1024 and 128 * spacing * self.doppler_hz <= self.sample_rate:
                spacing *= 2
            knots = np.arange(0, count + spacing, spacing, dtype=np.float64)
            scattered = np.interp(n, knots, self.wave_gains(path, knots))
        power = abs(self.gains[path]) ** 2 / sum(abs(g) ** 2 for g in self.gains)
        k = self.k_factors[path] if len(self.k_factors) else 0.0
        return np.sqrt(power * k / (k + 1)) + np.sqrt(power / (k + 1)) * scattered

    def paths(self, x: Complex) -> Complex:
        """Sum of the delayed paths, [n] to [n]."""
        total = np.zeros(len(x), dtype=np.complex128)
        for path, delay_s in enumerate(self.delays):
            delay = delay_s * self.sample_rate
            whole = int(np.ceil(delay - 1e-6))
            fraction = whole - delay
            if abs(fraction) <= 1e-6:
                delayed = np.concatenate([np.zeros(whole), x])[: len(x)]
            else:
                weights = interpolator_weights(fraction)
                padded = np.concatenate([np.zeros(whole + 19), x, np.zeros(20)])
                delayed = np.convolve(padded, weights[::-1], "valid")[: len(x)]
            total += self.path_gains(path, len(x)) * delayed
        return total

    def phase(self, count: int) -> NDArray[np.float64]:
        """The oscillator's phase at samples 0 … count - 1, in turns."""
        n = np.arange(count)
        steps = noise(self.seed, self.link, PHASE_NOISE, 0, count // 2 + 1).view(np.float64)
        walk = np.sqrt(2) * np.concatenate([[0], np.cumsum(steps)])[:count]
        return (
            self.cfo_hz / self.sample_rate * n
            + np.sqrt(self.phase_noise_hz / self.sample_rate / (2 * np.pi)) * walk
        )

    def __call__(self, x: NDArray[np.complex64] | Complex, count: int) -> Complex:
        """The first ``count`` outputs, complex128, for the input x; inputs beyond it are 0."""
        y = self.paths(np.where(np.isfinite(x), x, 0).astype(np.complex128))
        if self.sfo_ppm:
            time = np.arange(count) * (self.sfo_ppm * 1e-6)
            whole = np.floor(time)
            y = at_times(y, np.arange(count) + whole.astype(np.int64), time - whole)
        y = y[:count] * np.exp(2j * np.pi * self.phase(count))
        gain, lag = 10 ** (self.iq_amplitude_db / 20), np.deg2rad(self.iq_phase_deg)
        direct, image = 1 + gain * np.exp(-1j * lag), 1 - gain * np.exp(1j * lag)
        y = (direct * y + image * y.conj()) / np.sqrt(2 + 2 * gain**2)
        y += 10 ** (-self.snr_db / 20) * noise(self.seed, self.link, RECEIVER_NOISE, 0, count)
        if self.full_scale:
            parts = np.clip(y.view(np.float64) / self.full_scale, -1, 1)
            y = (np.round(parts * 32767) / 32767 * self.full_scale).view(np.complex128)
        return y
