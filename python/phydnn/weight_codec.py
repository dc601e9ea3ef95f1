# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Weights as bytes: quantised and entropy-coded, or by successive pruning (SuRP).

What is counted is the length of a stream that is really written and read back; the shapes of the
layers, which the receiver has as side information in either case, are not in it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from phydnn.errors import InputError

Arrays = dict[str, NDArray[np.float32]]
Reals = NDArray[np.float64]
Shapes = Mapping[str, tuple[int, ...]]

DEADZONE = 0.62
"""From what part of a step a level counts as the next one: less often than half, for zeros cost
few bits (as rate-distortion optimised quantisation finds)."""
TOTAL = 1 << 12
"""Frequencies are out of this many."""
LAYER = struct.Struct("<fhH")
"""The step, or the first threshold; the least level; how many levels, or sweeps."""
RATIO = 0.75
"""Of successive pruning: a sweep's threshold over the one before."""


def quantise(weights: Arrays, steps: Mapping[str, float]) -> bytes:
    """Each weight to about the nearest multiple of its layer's step, through an ANS coder.

    Args:
        weights: by name, of any shape; none may be empty.
        steps: of each layer, positive.

    Returns:
        a stream for :func:`dequantise`.

    Raises:
        InputError: weights that are no numbers, or a step so fine that it has too many levels.
    """
    stream = bytearray()
    for name, weight in weights.items():
        scaled = _numbers(name, weight) / steps[name]
        levels = np.sign(scaled) * np.floor(np.abs(scaled) + 1 - DEADZONE)
        low, count = int(levels.min()), int(np.ptp(levels)) + 1
        if count > TOTAL // 2:
            raise InputError(
                f"the step {steps[name]:g} gives {name} {count} levels: make it larger"
            )
        stream += LAYER.pack(steps[name], low, count)
        stream += _encode((levels - low).astype(np.int32), count)
    return bytes(stream)


def dequantise(stream: bytes, shapes: Shapes) -> Arrays:
    """What :func:`quantise` wrote, as float32.

    Raises:
        InputError: the stream is damaged or of other layers.
    """

    def layer(reader: _Reader, size: int) -> Reals:
        step, low, count = reader.take(LAYER)
        return (reader.decode(size, count) + low) * step

    return _read(stream, shapes, layer)


def prune_successively(weights: Arrays, thresholds: Mapping[str, float]) -> bytes:
    """SuRP (Isik, Weissman and No 2022): the largest weights first, refined sweep by sweep.

    A sweep says of each weight whether what is left of it exceeds a threshold and on which side,
    and takes the threshold off; the next threshold is lower by RATIO. For Laplacian weights each
    sweep's remainder is Laplacian again. (The paper sends the indices one by one.)

    Args:
        weights: by name.
        thresholds: each layer's last one.

    Returns:
        a stream for :func:`restore_pruned`.
    """
    stream = bytearray()
    for name, weight in weights.items():
        rest = _numbers(name, weight).copy()
        first = float(np.float32(np.abs(rest).max() * RATIO))
        sweeps = 0
        if first > 0:
            sweeps = max(0, 1 + math.floor(math.log(thresholds[name] / first) / math.log(RATIO)))
        stream += LAYER.pack(first, 0, sweeps)
        for sweep in range(sweeps):
            threshold = first * RATIO**sweep
            side = np.sign(rest) * (np.abs(rest) >= threshold)
            rest -= threshold * side
            stream += _encode((side + 1).astype(np.int32), 3)
    return bytes(stream)


def restore_pruned(stream: bytes, shapes: Shapes) -> Arrays:
    """What :func:`prune_successively` wrote, as float32.

    Raises:
        InputError: the stream is damaged or of other layers.
    """

    def layer(reader: _Reader, size: int) -> Reals:
        first, _, sweeps = reader.take(LAYER)
        if sweeps > 256:
            raise InputError(f"the stream of weights has {sweeps} sweeps in a layer: it is damaged")
        total = np.zeros(size)
        for sweep in range(sweeps):
            total += first * RATIO**sweep * (reader.decode(size, 3) - 1)
        return total

    return _read(stream, shapes, layer)


def _numbers(name: str, weight: NDArray[np.float32]) -> Reals:
    values: Reals = weight.ravel().astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{name} holds weights that are no numbers: they cannot be coded")
    return values


def _encode(symbols: NDArray[np.int32], count: int) -> bytes:
    """How often each of ``count`` symbols occurs, how many words follow, and those."""
    found = np.bincount(symbols, minlength=count)
    shares = 1 + np.floor(found / found.sum() * (TOTAL - count)).astype(np.int64)
    shares[shares.argmax()] += TOTAL - shares.sum()
    coder = constriction.stream.stack.AnsCoder()
    if count > 1:
        coder.encode_reverse(symbols, _model(shares))
    words = coder.get_compressed()
    head = shares.astype("<u2").tobytes() + struct.pack("<I", len(words))
    return head + words.astype("<u4").tobytes()


def _model(shares: NDArray[Any]) -> Any:
    probabilities = shares.astype(np.float64) / TOTAL
    return constriction.stream.model.Categorical(probabilities, perfect=False)


class _Reader:
    """A stream, read from its beginning."""

    def __init__(self, stream: bytes) -> None:
        self._stream, self._at = stream, 0

    def take(self, form: struct.Struct) -> tuple[Any, ...]:
        try:
            values = form.unpack_from(self._stream, self._at)
        except struct.error as error:
            raise InputError("the stream of weights is cut off") from error
        self._at += form.size
        return values

    def _array(self, kind: str, count: int) -> NDArray[Any]:
        try:
            values = np.frombuffer(self._stream, kind, count, self._at)
        except ValueError as error:
            raise InputError("the stream of weights is cut off") from error
        self._at += values.nbytes
        return values

    def decode(self, size: int, count: int) -> NDArray[np.int32]:
        shares = self._array("<u2", count)
        (length,) = self.take(struct.Struct("<I"))
        words = self._array("<u4", length)
        if not count or shares.sum() != TOTAL or not shares.all():
            raise InputError("the stream of weights is damaged: its frequencies do not add up")
        if count == 1:
            return np.zeros(size, np.int32)
        coder = constriction.stream.stack.AnsCoder(words.astype(np.uint32))
        symbols: NDArray[np.int32] = coder.decode(_model(shares), size)
        return symbols

    def end(self) -> None:
        if self._at != len(self._stream):
            raise InputError("the stream of weights is longer than its layers")


def _read(stream: bytes, shapes: Shapes, layer: Callable[[_Reader, int], Reals]) -> Arrays:
    reader = _Reader(stream)
    weights = {
        name: layer(reader, math.prod(shape)).astype(np.float32).reshape(shape)
        for name, shape in shapes.items()
    }
    reader.end()
    return weights


def fit(
    weights: Arrays,
    coarseness: Mapping[str, float],
    budget: int,
    code: Callable[[Arrays, Mapping[str, float]], bytes] = quantise,
) -> bytes:
    """The finest coding that fits a number of bytes, to a tenth of a decibel of the step.

    Args:
        weights: by name.
        coarseness: of each layer, the step over the layer's root mean square, but for a factor.
        budget: bytes.
        code: :func:`quantise` or :func:`prune_successively`.

    Raises:
        InputError: even the coarsest does not fit.
    """
    scale = {
        name: coarseness[name] * max(1e-12, float(np.sqrt(np.mean(np.square(weight)))))
        for name, weight in weights.items()
    }

    def at(factor: float) -> bytes:
        return code(weights, {name: factor * value for name, value in scale.items()})

    low, high = math.log(0.05), math.log(64.0)
    best = at(math.exp(high))
    if len(best) > budget:
        raise InputError(
            f"{budget} bytes are too few for any network of {len(weights)} layers: the coarsest "
            f"takes {len(best)}"
        )
    while high - low > 0.012:
        middle = (low + high) / 2
        stream = at(math.exp(middle))
        if len(stream) <= budget:
            best, high = stream, middle
        else:
            low = middle
    return best
