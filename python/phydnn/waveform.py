# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""How many samples a payload takes in our waveform, counted without GNU Radio.

The waveform's default dimensions (``wide``): docs/waveform.md describes them, and the blocks' QA
holds these numbers against the transmitter's. Analog symbols go as they are; bits go coded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phydnn.errors import InputError
from phydnn.wifi import MODULATIONS

FFT, PREFIX, USED, PILOT_SPACING, HEADER_SYMBOLS = 512, 40, 448, 14, 2
PREAMBLE = PREFIX + 4 * FFT // 2
GAP = 128
SAMPLE_RATE = 20e6
MAX_USES = 65536
"""Of a frame here: what 64 CIFAR-10 images of 1,024 uses take."""
BLOCK, CRC = 1500, 4
"""Bytes of a block of bits, and of the check that says whether it came through."""
CODE_RATES = {"1/2": 1 / 2, "2/3": 2 / 3, "3/4": 3 / 4}


@dataclass(frozen=True)
class Carried:
    """A payload in our waveform; expected values where blocks are sent again.

    Attributes:
        uses: channel uses of payload.
        samples: on air, with preambles, prefixes, pilots, headers and gaps.
        scheme: how bits were modulated and coded; empty for analog symbols.
    """

    uses: float
    samples: float
    scheme: str = ""

    @property
    def seconds(self) -> float:
        """On air."""
        return self.samples / SAMPLE_RATE


def frame_samples(uses: int) -> int:
    """Samples of a frame of so many channel uses, 1 or more, with its gap.

    Raises:
        InputError: no uses.
    """
    if uses < 1:
        raise InputError(f"a frame has 1 or more channel uses: got {uses}")
    data = -(-uses // USED)
    pilots = 1 - (-data // PILOT_SPACING)
    return PREAMBLE + (data + pilots + HEADER_SYMBOLS) * (FFT + PREFIX) + GAP


def carry_symbols(uses: int) -> Carried:
    """Analog symbols, or points of a dictionary, in frames of at most MAX_USES."""
    full, rest = divmod(uses, MAX_USES)
    samples = full * frame_samples(MAX_USES) + (frame_samples(rest) if rest else 0)
    return Carried(uses, samples)


def carry_bytes(payload: int, loss: Callable[[int, int], float]) -> Carried:
    """Bits, by the best of 802.11a's eight modulations with its convolutional code.

    Blocks of BLOCK bytes with a CRC each; a block that is lost is sent again in another frame
    until it is there. The answers that this takes are not counted, in the bits' favour.

    Args:
        payload: bytes, 1 or more.
        loss: the chance that a block of so many bytes is lost at a rate of
            :data:`phydnn.wifi.RATES`, as :func:`phydnn.wifi.packet_error_rate` gives it.

    Raises:
        InputError: no payload, or nothing gets through.
    """
    if payload < 1:
        raise InputError(f"a payload has 1 or more bytes: got {payload}")
    blocks, rest = divmod(payload, BLOCK)
    sizes = [(blocks, BLOCK + CRC), (int(rest > 0), rest + CRC)]
    best: Carried | None = None
    for rate, (bits, code) in MODULATIONS.items():
        name = {1: "BPSK", 2: "QPSK", 4: "16-QAM", 6: "64-QAM"}[bits]
        uses = 0.0
        for count, size in sizes:
            if count:
                chance = loss(size, rate)
                # The code is ended with 6 zeros, as the header's is.
                each = np.ceil((8 * size + 6) / (bits * CODE_RATES[code]))
                uses += count * each / (1 - chance) if chance < 0.999 else np.inf
        if not np.isfinite(uses):
            continue
        whole = carry_symbols(int(np.ceil(uses)))
        if best is None or whole.samples < best.samples:
            best = Carried(uses, whole.samples, f"{name}, rate {code}, K = 7")
    if best is None:
        raise InputError("no modulation gets a block through: raise Es/N0")
    return best


def mean_loss(response: NDArray[np.complex64], snr_db: float) -> Callable[[int, int], float]:
    """Chance of losing a block (bytes, rate) over many draws of a channel.

    Args:
        response: the channel's, complex64 [draws, subcarriers or 1]; each block meets one draw.
        snr_db: mean Es/N0.
    """
    from functools import cache

    from phydnn.wifi import packet_error_rate

    with np.errstate(divide="ignore"):
        levels = snr_db + 20 * np.log10(np.abs(response))

    @cache
    def loss(size: int, rate: int) -> float:
        return float(packet_error_rate(levels, rate, size).mean())

    return loss
