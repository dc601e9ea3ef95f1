# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The finite-bits constellation: real values on a square grid of 2^m x 2^m points, and back.

After Xie and Qin, "A Lite Distributed Semantic Communication System for Internet of Things",
eq. (18)-(24): a channel encoder's values are quantised to m bits within a range that training has
followed, and the 2^m numbers back to amplitudes; two amplitudes are one channel use. NumPy only;
:mod:`phydnn.train.finite` has the twin in torch, which learns the range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phydnn.errors import InputError

MAX_BITS = 8
"""Of a real dimension."""
DECISIONS = ("none", "hard", "soft")


@dataclass(frozen=True)
class FiniteConstellation:
    """What both ends know of the constellation.

    Value x becomes number k = round((x - low) (2^m - 1) / (high - low)), kept within 0 and
    2^m - 1, and leaves as amplitude ``gain`` (low + k (high - low) / (2^m - 1)). Values 2n and
    2n + 1 are the real and the imaginary part of use n.

    Args:
        low, high: the range; of no account at full resolution.
        bits: m of each real dimension, 1 to 8; 0 for full resolution, where a value leaves as it
            is, times ``gain``.
        gain: amplitude of the value 1, so that the mean power of a use is 1.
        priors: how often each number is sent, [2^m]; equally often if None. A soft decision needs
            it, as most values lie in the middle of the range.

    Raises:
        InputError: a parameter is out of range or no finite number.
    """

    low: float
    high: float
    bits: int
    gain: float
    priors: NDArray[np.float32] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.bits <= MAX_BITS:
            raise InputError(
                f"a finite constellation has 1 to {MAX_BITS} bits in each real dimension, or 0 for "
                f"full resolution, not {self.bits}"
            )
        for name in ("low", "high", "gain"):
            # Single precision is what both ends compute in.
            with np.errstate(over="ignore"):
                object.__setattr__(self, name, float(np.float32(getattr(self, name))))
        width = np.float32(self.high) - np.float32(self.low)
        if not (np.isfinite(width) and width > 0 and math.isfinite(self.gain) and self.gain > 0):
            raise InputError(
                "a finite constellation needs finite low < high and a gain above 0, not "
                f"{self.low}, {self.high} and {self.gain}"
            )
        if self.priors is None or not self.bits:
            return
        priors = np.asarray(self.priors, np.float32)
        if priors.shape != (self.size,) or not (np.isfinite(priors) & (priors >= 0)).all():
            raise InputError(f"the priors of {self.bits} bits must be {self.size} numbers >= 0")
        if not priors.sum() > 0:
            raise InputError("the priors must not all be 0")

    @classmethod
    def read(cls, meta: Mapping[str, Any]) -> FiniteConstellation:
        """What :meth:`written` wrote. Raises InputError for anything else."""
        try:
            priors = meta.get("priors")
            return cls(
                float(meta["low"]),
                float(meta["high"]),
                int(meta["bits"]),
                float(meta["gain"]),
                None if priors is None else np.asarray(priors, np.float32),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"this is no finite constellation: {error}") from None

    def written(self) -> dict[str, Any]:
        """As JSON has it, for a bundle."""
        priors = None if self.priors is None else [float(p) for p in self.priors]
        return {
            "bits": self.bits,
            "low": self.low,
            "high": self.high,
            "gain": self.gain,
            "priors": priors,
        }

    @property
    def size(self) -> int:
        """Amplitudes in each real dimension; 0 at full resolution."""
        return 2**self.bits if self.bits else 0

    @property
    def values(self) -> NDArray[np.float32]:
        """The value that each number stands for, float32 [2^m]."""
        steps = np.arange(self.size) * (self.high - self.low) / max(self.size - 1, 1)
        return (self.low + steps).astype(np.float32)

    @property
    def amplitudes(self) -> NDArray[np.float32]:
        """What is sent for each number, float32 [2^m]."""
        return (self.gain * self.values.astype(np.float64)).astype(np.float32)

    def labels(self, values: ArrayLike) -> NDArray[np.int32]:
        """The numbers of values [...], int32 [...]; the same bits as the C++ block's.

        Raises:
            InputError: a value is no finite number, or the resolution is full.
        """
        values = np.asarray(values, np.float32)
        if not self.bits:
            raise InputError("a constellation of full resolution has no labels")
        if not np.isfinite(values).all():
            raise InputError("values must be finite: one of them is infinite or NaN")
        low, top = np.float32(self.low), np.float32(self.size - 1)
        with np.errstate(over="ignore"):
            steps = np.rint((values - low) * (top / (np.float32(self.high) - low)))
        return np.clip(steps, np.float32(0), top).astype(np.int32)

    def map(self, values: ArrayLike) -> NDArray[np.complex64]:
        """Values [...,2U] to channel uses, complex64 [...,U].

        Raises:
            InputError: a value is no finite number.
        """
        values = np.asarray(values, np.float32)
        if self.bits:
            sent = self.amplitudes[self.labels(values)]
        elif np.isfinite(values).all():
            sent = values * np.float32(self.gain)
        else:
            raise InputError("values must be finite: one of them is infinite or NaN")
        return np.ascontiguousarray(sent).view(np.complex64)

    def demap(
        self, symbols: ArrayLike, n0: ArrayLike, decision: str = "soft"
    ) -> NDArray[np.float32]:
        """Equalised uses to values, float32 [...,2U].

        Args:
            symbols: complex [...,U].
            n0: noise variance of each use (N0/2 per real dimension), a number or [...,U].
            decision: "none" reads the amplitudes as they are received, "hard" the nearest one of
                the constellation, "soft" the posterior mean given N0 and the priors (at full
                resolution that of Gaussian values of mean power 1).

        Raises:
            InputError: no such decision.
        """
        if decision not in DECISIONS:
            raise InputError(f"there is no decision '{decision}': choose {', '.join(DECISIONS)}")
        received = np.ascontiguousarray(symbols, np.complex64).view(np.float32)
        if decision == "none" or (decision == "hard" and not self.bits):
            return received / np.float32(self.gain)
        if decision == "hard":
            return self.values[np.abs(received[..., None] - self.amplitudes).argmin(-1)]
        noise = np.repeat(np.broadcast_to(n0, np.shape(symbols)), 2, -1).astype(np.float64)
        if not self.bits:
            return (received / (self.gain * (1 + noise))).astype(np.float32)
        amplitudes = self.amplitudes.astype(np.float64)
        distances = (received[..., None].astype(np.float64) - amplitudes) ** 2
        priors = np.ones(self.size) if self.priors is None else self.priors.astype(np.float64)
        # A number that is never sent counts as 2^-120: it might yet be.
        priors = np.maximum(priors / priors.sum(), 2.0**-120)
        exponents = np.log(priors) - distances / np.maximum(noise, 1e-30)[..., None]
        weights = np.exp(exponents - exponents.max(-1, keepdims=True))
        means = (weights @ self.values.astype(np.float64)) / weights.sum(-1)
        return means.astype(np.float32)
