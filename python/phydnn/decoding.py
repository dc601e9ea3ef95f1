# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""A text bundle at work in ONNX Runtime: sentences to channel uses, and what arrives to sentences.

Neither torch nor GNU Radio is needed. Shapes as in :mod:`phydnn.text_bundle`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phydnn.bundle import open_session
from phydnn.errors import InputError
from phydnn.text import END
from phydnn.text_bundle import TextBundle

MAX_BEAM = 64
GUESSED = 32
"""Tokens that a step predicts for all sentences together, if it can."""
MAX_NOISE = 1e6


class TextCodec:
    """Both ends of a bundle. It can be pickled; the graphs are then opened anew.

    Args:
        bundle: what runs.
        threads: of ONNX Runtime.
        graphs: a folder with other versions of its three graphs, such as in int8, to be run
            in their place; None for the bundle's own.
    """

    def __init__(self, bundle: TextBundle, threads: int = 1, graphs: Path | None = None) -> None:
        self.bundle, self._made = bundle, (bundle, threads, graphs)
        self._encoder, self._memory, self._step = (
            open_session((graphs or bundle.path) / path.name, threads)
            for path in (bundle.encoder_path, bundle.memory_path, bundle.step_path)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return TextCodec, self._made

    def encode(self, tokens: NDArray[np.int64]) -> NDArray[np.complex64]:
        """Tokens int64 [B,T] to channel uses of mean power 1, complex64 [B,T,U].

        Raises:
            InputError: the sentences are longer than the bundle's longest, or there are none.
        """
        if tokens.ndim != 2 or not tokens.size or tokens.shape[1] > self.bundle.positions:
            raise InputError(
                f"tokens have shape {tokens.shape}, but must be sentences of at most "
                f"{self.bundle.positions} tokens"
            )
        values = self._encoder.run(["values"], {"tokens": tokens})[0]
        return self.bundle.constellation.map(values)

    def greedy(self, symbols: ArrayLike, n0: ArrayLike) -> NDArray[np.int64]:
        """The likeliest token at each place, given those written before: int64 [B,T].

        Args:
            symbols: equalised channel uses, complex [B,T,U].
            n0: noise variance of each, a number or [B,T,U].
        """
        return self.read(*self._demap(symbols, n0))

    def read(self, values: NDArray[np.float32], n0: NDArray[np.float32]) -> NDArray[np.int64]:
        """As :meth:`greedy`, of values float32 [B,T,2U] that are demapped already.

        A step predicts several tokens at once after a guess of those before them, which at first
        is END. What follows a right guess is what greedy decoding writes, and is kept; the rest is
        the next guess. Most tokens do not hang on those before, so few steps do for a sentence.
        Steps for many sentences are large enough already: they guess less, or nothing.
        """
        memory = self._listen(values, n0)
        count, length = values.shape[:2]
        written = np.full((count, length + 1), END, np.int64)
        cache = self._empty(count)
        done, ahead = 0, max(1, GUESSED // count)
        while done < length:
            stop = min(length, done + ahead)
            logits, longer = self._write(written[:, done:stop], memory, cache)
            found = logits.argmax(2)
            right = (found[:, :-1] == written[:, done + 1 : stop]).all(0)
            new = 1 + int(np.logical_and.accumulate(right).sum())
            written[:, done + 1 : stop + 1] = found
            done += new
            cache = longer[..., :done, :]
        return written[:, 1:]

    def beam(self, symbols: ArrayLike, n0: ArrayLike, width: int = 4) -> NDArray[np.int64]:
        """The likeliest sentence that a beam of ``width`` finds: int64 [B,T].

        Raises:
            InputError: the width is not from 1 to 64.
        """
        if not 1 <= width <= MAX_BEAM:
            raise InputError(f"a beam is 1 to {MAX_BEAM} wide, not {width}")
        values, noise = self._demap(symbols, n0)
        memory = self._listen(values, noise)
        count, length = values.shape[:2]
        memory = {name: np.repeat(array, width, 0) for name, array in memory.items()}
        cache = self._empty(count * width)
        written = np.full((count * width, 1), END, np.int64)
        # At first all of a beam are alike: the first of them counts.
        scores = np.full((count, width), -np.inf)
        scores[:, 0] = 0
        first = np.arange(count)[:, None] * width
        for _ in range(length):
            logits, cache = self._write(written[:, -1:], memory, cache)
            size = logits.shape[2]
            total = scores[:, :, None] + _log_softmax(logits).reshape(count, width, size)
            flat = total.reshape(count, -1)
            best = np.argpartition(-flat, width - 1, 1)[:, :width]
            scores = np.take_along_axis(flat, best, 1)
            parents = (first + best // size).ravel()
            cache = cache[parents]
            written = np.column_stack([written[parents], (best % size).ravel()])
        chosen = first[:, 0] + scores.argmax(1)
        return written[chosen, 1:]

    def _demap(
        self, symbols: ArrayLike, n0: ArrayLike
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        received = np.asarray(symbols, np.complex64)
        shape = received.shape
        if len(shape) != 3 or shape[2] != self.bundle.uses or shape[1] > self.bundle.positions:
            raise InputError(
                f"what was received has shape {shape}, not sentences of at most "
                f"{self.bundle.positions} tokens of {self.bundle.uses} channel uses"
            )
        noise = np.broadcast_to(np.asarray(n0, np.float32), shape)
        values = self.bundle.constellation.demap(received, noise, self.bundle.decision)
        return values, np.ascontiguousarray(noise)

    def _listen(
        self, values: NDArray[np.float32], n0: NDArray[np.float32]
    ) -> dict[str, NDArray[np.float32]]:
        # What a fade has left nothing of is noise without end.
        lost = ~np.isfinite(values).reshape(*n0.shape, 2).all(-1) | ~(n0 < MAX_NOISE)
        values = np.where(np.repeat(lost, 2, -1), np.float32(0), values)
        n0 = np.where(lost, np.float32(MAX_NOISE), n0)
        names = ["aligned", "received"]
        answers = self._memory.run(names, {"values": values, "n0": n0})
        return dict(zip(names, answers, strict=True))

    def _empty(self, count: int) -> NDArray[np.float32]:
        layers, two, heads, width = self.bundle.cache_shape
        return np.zeros((count, layers, two, heads, 0, width), np.float32)

    def _write(
        self,
        token: NDArray[np.int64],
        memory: dict[str, NDArray[np.float32]],
        cache: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        feed = {"token": token, "cache": cache, **memory}
        logits, cache = self._step.run(["logits", "cache_next"], feed)
        return logits, cache


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = (logits - logits.max(-1, keepdims=True)).astype(np.float64)
    answer: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return answer
