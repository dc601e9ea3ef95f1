# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""What ``phydnn bench`` measures: one module a section, each with a function ``measure``.

Es/N0 is that of the whole project: used subcarriers have power 1 through unitary FFTs, and noise
has the variance N0 = 10^(-EsN0/10) per complex sample. Seeds are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnuradio.phydnn import kernels as _kernels

Samples = NDArray[np.complex64]

RATE = 20e6  # samples per second
CFO_HZ = 10e3  # largest carrier offset of the requirements
BATCH_USES = 65536  # channel uses of 64 CIFAR images

Track = Callable[[Sequence[Any], str], Iterable[Any]]
"""Yields from a sequence, and shows a progress bar of that name."""


@dataclass(frozen=True)
class Figure:
    """A measured number and the bar it has to meet.

    Attributes:
        name: as in the JSON.
        value: what was measured.
        unit: of value and bar.
        bar: the requirement, or None where there is none.
        at_most: whether the bar is an upper one.
        interval: 95 % confidence interval of the value, where it is a count.
        note: under what conditions, in a few words.
    """

    name: str
    value: float
    unit: str
    bar: float | None = None
    at_most: bool = False
    interval: tuple[float, float] | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.bar is None:
            return None
        return self.value <= self.bar if self.at_most else self.value >= self.bar

    def as_dict(self) -> dict[str, Any]:
        """The figure as the JSON has it."""
        result: dict[str, Any] = {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "bar": self.bar,
            "met": self.met,
        }
        if self.bar is not None:
            result["sense"] = "at most" if self.at_most else "at least"
        if self.interval is not None:
            result["interval95"] = list(self.interval)
        if self.note:
            result["note"] = self.note
        return result


@dataclass
class Report:
    """What a section measured: figures, and the curves that ``plots`` draws."""

    figures: list[Figure] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)

    def add(self, other: Report) -> None:
        """Take over what another section measured."""
        self.figures += other.figures
        self.curves |= other.curves


def psk(count: int, rng: np.random.Generator, order: int = 16) -> Samples:
    """Random PSK symbols, complex64 [count]."""
    return np.exp(2j * np.pi / order * rng.integers(0, order, count)).astype(np.complex64)


def rotate(samples: Samples, cfo_hz: float) -> Samples:
    """Samples with a carrier offset, phase 0 at the first."""
    phase = 2j * np.pi * cfo_hz / RATE * np.arange(len(samples))
    return samples * np.exp(phase).astype(np.complex64)


class Noise:
    """Fresh receiver noise, one stream a link of the channel's generator."""

    def __init__(self, link: int, seed: int = 1) -> None:
        self._source = _kernels.noise(seed, link)
        self._used = 0

    def __call__(self, count: int, es_n0_db: float) -> Samples:
        """The next ``count`` samples, of variance 10^(-es_n0_db/10)."""
        made = self._source.generate(self._used, count)
        self._used += count
        made *= np.float32(math.sqrt(10 ** (-es_n0_db / 10)))
        return made
