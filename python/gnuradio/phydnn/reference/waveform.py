# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The waveform in NumPy, from its definitions and in double precision.

Sequences and CRC: 3GPP TS 36.211 (5.5.1.1, 7.2) and TS 36.212 (5.1.1). Header code: the rate 1/2
convolutional code of constraint length 7 with generators 171 and 133 (octal), terminated.
Carrier offset: M. Morelli, U. Mengali, IEEE Communications Letters 3 (1999).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal, special

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

REPEATS = 4  # of the Zadoff-Chu symbol in the preamble
SCRAMBLER_PERIOD = 16  # data symbols
GRANULE = 16  # samples over which the detector sums energy
VERSION = 1
INFO_BITS = 128
CODED_BITS = 2 * (INFO_BITS + 6)
BIT_STEP = 101  # from the coded bit of one channel use to that of the next
GENERATORS = (0o171, 0o133)  # most significant bit: the newest of 7 bits


def zadoff_chu(root: int, length: int) -> Complex:
    """exp(-j pi root m (m + 1) / N), N the largest prime up to length, continued cyclically."""
    primes = (n for n in range(length, 1, -1) if all(n % d for d in range(2, math.isqrt(n) + 1)))
    period = next(primes)
    m = np.arange(length) % period
    return np.exp(-1j * np.pi * (root * m * (m + 1) % (2 * period)) / period)


def gold(c_init: int, length: int) -> NDArray[np.int64]:
    """The Gold sequence of TS 36.211, 7.2: ``length`` bits."""
    x1 = [1] + [0] * 30
    x2 = [c_init >> i & 1 for i in range(31)]
    for n in range(1600 + length - 31):
        x1.append(x1[n + 3] ^ x1[n])
        x2.append(x2[n + 3] ^ x2[n + 2] ^ x2[n + 1] ^ x2[n])
    return np.array(x1[1600:]) ^ np.array(x2[1600:])


def crc24a(data: bytes) -> int:
    """The remainder of data(D) D^24 by g_CRC24A(D)."""
    exponents = (24, 23, 18, 17, 14, 11, 10, 7, 6, 5, 4, 3, 1, 0)
    generator = sum(1 << e for e in exponents)
    remainder = int.from_bytes(data, "big") << 24
    while remainder >> 24:
        remainder ^= generator << (remainder.bit_length() - 25)
    return remainder


@dataclass(frozen=True)
class Header:
    """What a frame says of itself."""

    uses: int
    frame_number: int = 0
    bundle_id: int = 0
    kind: int = 0
    precoded: bool = False

    def packed(self) -> bytes:
        """16 bytes, the last three of them the CRC."""
        fields = (
            (VERSION << 4 | self.kind, 1),
            (int(self.precoded), 1),
            (self.frame_number, 4),
            (self.bundle_id, 4),
            (self.uses, 3),
        )
        body = b"".join(value.to_bytes(size, "big") for value, size in fields)
        return body + crc24a(body).to_bytes(3, "big")

    def coded(self) -> NDArray[np.int64]:
        """The header's 268 coded bits."""
        info = np.unpackbits(np.frombuffer(self.packed(), np.uint8)).astype(np.int64)
        padded = np.concatenate([np.zeros(6, np.int64), info, np.zeros(6, np.int64)])
        newest_first = np.lib.stride_tricks.sliding_window_view(padded, 7)[:, ::-1]
        taps = np.array([[g >> (6 - i) & 1 for i in range(7)] for g in GENERATORS])
        return (newest_first @ taps.T % 2).ravel()


def parse_header(packed: bytes) -> Header | None:
    """The header in 16 bytes, or None if its CRC, version or a reserved bit is wrong."""
    if crc24a(packed) != 0 or packed[0] >> 4 != VERSION or packed[1] > 1:
        return None
    fields = (packed[10:13], packed[2:6], packed[6:10])
    uses, frame_number, bundle_id = (int.from_bytes(field, "big") for field in fields)
    if uses == 0:
        return None
    return Header(uses, frame_number, bundle_id, packed[0] & 15, bool(packed[1]))


def parity(words: NDArray[np.int64]) -> NDArray[np.int64]:
    """1 where a word of 7 bits has an odd number of ones."""
    return np.sum([words >> i & 1 for i in range(7)], axis=0) % 2


def decode_header(soft: ArrayLike) -> Header | None:
    """The header of the likeliest code word: Viterbi over 268 soft values, positive for a 1."""
    values = np.asarray(soft, dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(values).all() or not values.any():
        return None
    # State: the six last bits, the newest of them most significant.
    state = np.arange(64)
    bit = state >> 5
    previous = (state << 1 & 63) + np.array([[0], [1]])  # its two predecessors
    register = bit << 6 | previous
    signs = [2 * (parity(register & g)) - 1 for g in GENERATORS]
    metric = np.where(state == 0, 0.0, -np.inf)
    choices = np.empty((len(values), 64), np.int64)
    for step, (first, second) in enumerate(values):
        candidates = metric[previous] + first * signs[0] + second * signs[1]
        choices[step] = candidates.argmax(axis=0)
        metric = candidates.max(axis=0)
    at = 0
    bits = []
    for step in range(len(values) - 1, -1, -1):
        bits.append(at >> 5)
        at = int(previous[choices[step, at], at])
    return parse_header(np.packbits(bits[::-1][:INFO_BITS]).tobytes())


class Dimensions(Protocol):
    """The five numbers of a waveform: ``gnuradio.phydnn.numerology`` has them."""

    @property
    def fft_size(self) -> int: ...
    @property
    def cp_length(self) -> int: ...
    @property
    def used(self) -> int: ...
    @property
    def pilot_spacing(self) -> int: ...
    @property
    def header_symbols(self) -> int: ...


class Waveform:
    """Both ends of a link.

    A frame's resource grid is complex128 [symbols, used], rows in the order of time, subcarriers
    from the lowest frequency to the highest.
    """

    def __init__(self, n: Dimensions) -> None:
        self.fft_size, self.cp_length, self.used = n.fft_size, n.cp_length, n.used
        self.pilot_spacing, self.header_symbols = n.pilot_spacing, n.header_symbols
        self.length = self.fft_size // 2  # of one repetition in the preamble
        half = self.used // 2
        self.bins = np.concatenate([np.arange(-half, 0), np.arange(1, half + 1)])
        self.pilots = zadoff_chu(25, self.used)
        spectrum = np.zeros(self.length, complex)
        preamble_bins = np.concatenate([np.arange(-half // 2, 0), np.arange(1, half // 2 + 1)])
        spectrum[preamble_bins] = zadoff_chu(25, half)
        self.repetition = np.fft.ifft(spectrum, norm="ortho")
        whole = np.tile(self.repetition, 1 + REPEATS)
        self.preamble = whole[self.length - self.cp_length :]
        turns = gold(1, 2 * SCRAMBLER_PERIOD * self.used).reshape(SCRAMBLER_PERIOD, self.used, 2)
        self.scrambler = 1j ** (2 * turns[..., 0] + turns[..., 1])
        self.header_signs = 1 - 2 * gold(2, self.header_symbols * self.used)
        # Taps at delays of -margin to cp_length + margin, a multiple of 8 of them.
        margin = max(2, self.cp_length // 5)
        taps = -(-(self.cp_length + 2 * margin) // 8) * 8
        delays = np.arange(taps) - margin
        self.delay_matrix = np.exp(-2j * np.pi * np.outer(self.bins, delays) / self.fft_size)
        gram = self.delay_matrix.conj().T @ self.delay_matrix
        self.window_inverse = np.linalg.inv(gram + 1e-4 * self.used * np.eye(taps))

    def rows(self, uses: int) -> NDArray[np.str_]:
        """What each row of the grid holds: "pilot", "header" or "data"."""
        data = -(-uses // self.used)
        kinds = ["pilot"] + ["header"] * self.header_symbols
        for first in range(0, data, self.pilot_spacing):
            kinds += ["data"] * min(self.pilot_spacing, data - first) + ["pilot"]
        return np.array(kinds)

    def modulate(self, grid: Complex) -> Complex:
        """OFDM symbols [n, used] to samples, each with its prefix."""
        spectrum = np.zeros((len(grid), self.fft_size), complex)
        spectrum[:, self.bins] = grid
        samples = np.fft.ifft(spectrum, axis=1, norm="ortho")
        return np.concatenate([samples[:, -self.cp_length :], samples], axis=1).ravel()

    def frame(self, header: Header, payload: ArrayLike, amplitude: float = 1.0) -> Complex:
        """The samples of a frame; ``header.uses`` is the length of the payload, complex [uses]."""
        kinds = self.rows(header.uses)
        grid = np.zeros((len(kinds), self.used), complex)
        grid[kinds == "pilot"] = self.pilots
        bit = np.arange(self.header_signs.size) * BIT_STEP % CODED_BITS
        header_uses = (2 * header.coded()[bit] - 1) * self.header_signs
        grid[kinds == "header"] = header_uses.reshape(-1, self.used)
        data = np.zeros((np.count_nonzero(kinds == "data"), self.used), complex)
        data.ravel()[: header.uses] = payload
        data *= self.scrambler[np.arange(len(data)) % SCRAMBLER_PERIOD]
        grid[kinds == "data"] = np.fft.fft(data, axis=1, norm="ortho") if header.precoded else data
        return amplitude * np.concatenate([self.preamble, self.modulate(grid)])

    def statistic(self, samples: ArrayLike, false_alarm_rate: float) -> Real:
        """Detection statistic over its threshold at each sample at which it is defined.

        The powers of the matched filter at the four repetitions, summed, over the mean power of
        the samples that they cover, which is taken at multiples of 16 samples. In white noise the
        sum is Gamma(4) distributed.
        """
        x = np.asarray(samples, dtype=np.complex128)
        covered = REPEATS * self.length
        positions = (len(x) - covered) // GRANULE * GRANULE
        matched = self.repetition.conj()[::-1] / np.linalg.norm(self.repetition)
        power = np.abs(signal.oaconvolve(x, matched, mode="valid")) ** 2
        total = sum(power[r * self.length :][:positions] for r in range(REPEATS))
        energy = np.concatenate([[0], np.cumsum(np.abs(x) ** 2)])
        start = np.arange(positions) // GRANULE * GRANULE
        mean_power = (energy[start + covered] - energy[start]) / covered
        return total / mean_power / special.gammainccinv(REPEATS, false_alarm_rate)

    def carrier_offset(self, repetitions: ArrayLike) -> float:
        """Radians per sample, from the samples of the four repetitions: eq. (13) to (16)."""
        x = np.asarray(repetitions, dtype=np.complex128)
        M, H = REPEATS, 2
        lags = [np.vdot(x[: -m * self.length], x[m * self.length :]) for m in range(1, H + 1)]
        phases = np.angle([lags[0], lags[1] / lags[0]])
        m = np.arange(1, H + 1)
        numerators = 3 * ((M - m) * (M - m + 1) - H * (M - H))
        weights = numerators / (H * (4 * H**2 - 6 * M * H + 3 * M**2 - 1))
        return float(weights @ phases) / self.length

    def demodulate(self, samples: ArrayLike, rows: int, carrier_offset: float) -> Complex:
        """The grid of the symbols whose samples these are, from the first prefix on."""
        x = np.asarray(samples, dtype=np.complex128)[: rows * (self.fft_size + self.cp_length)]
        x = x * np.exp(-1j * carrier_offset * np.arange(len(x)))
        symbols = x.reshape(rows, -1)[:, self.cp_length :]
        return np.fft.fft(symbols, axis=1, norm="ortho")[:, self.bins]

    def estimate(
        self, grid: ArrayLike, uses: int, smoothing: str = "window"
    ) -> tuple[Complex, Complex, float, float]:
        """Channel estimation at the pilots.

        Args:
            grid: complex, of [symbols, used] values.
            uses: channel uses of the frame.
            smoothing: "none" or "window" (least-squares fit of the taps that the prefix admits).

        Returns:
            The least-squares estimate and the refined one, complex128 [pilots, used]; the noise
            variance per subcarrier; Es/N0 in dB.
        """
        F, taps = self.delay_matrix, self.delay_matrix.shape[1]
        kinds = self.rows(uses)
        received = np.asarray(grid, dtype=np.complex128).reshape(len(kinds), self.used)
        ls = received[kinds == "pilot"] * self.pilots.conj()
        refined = ls @ F.conj() @ self.window_inverse.T @ F.T
        total = np.vdot(ls, ls).real
        left_over = total - np.vdot(ls, refined).real
        n0 = max(left_over / (len(ls) * (self.used - taps)), 1e-12)
        snr_db = 10 * math.log10(max(total / ls.size - n0, 1e-12) / n0)
        return ls, ls if smoothing == "none" else refined, n0, snr_db

    def equalize(
        self, grid: ArrayLike, csi: ArrayLike, n0: float, uses: int, precoded: bool = False
    ) -> tuple[Complex, Real]:
        """Payload symbols, complex128 [uses], and the noise variance of each, float64 [uses]."""
        kinds = self.rows(uses)
        received = np.asarray(grid, dtype=np.complex128).reshape(len(kinds), self.used)
        estimates = np.asarray(csi, dtype=np.complex128).reshape(-1, self.used)
        rows, pilots = np.flatnonzero(kinds == "data"), np.flatnonzero(kinds == "pilot")
        interval = np.searchsorted(pilots, rows) - 1
        before, after = estimates[interval], estimates[interval + 1]
        x = ((rows - pilots[interval]) / (pilots[interval + 1] - pilots[interval]))[:, None]
        turn = np.angle(np.sum(after * before.conj(), axis=1, keepdims=True))
        h = np.exp(1j * x * turn) * ((1 - x) * before + x * after * np.exp(-1j * turn))
        gain = np.abs(h) ** 2
        y = received[rows] * h.conj()
        if precoded:
            beta = np.mean(gain / (gain + n0), axis=1, keepdims=True)
            symbols = np.fft.ifft(y / (gain + n0), axis=1, norm="ortho") / beta
            variance = np.broadcast_to((1 - beta) / beta, gain.shape)
        else:
            gain = np.maximum(gain, 1e-12)
            symbols, variance = y / gain, n0 / gain
        symbols = symbols * self.scrambler[np.arange(len(rows)) % SCRAMBLER_PERIOD].conj()
        return symbols.ravel()[:uses], variance.ravel()[:uses]
