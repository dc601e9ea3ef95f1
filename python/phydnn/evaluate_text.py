# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Monte-Carlo simulation of a text bundle, symbol by symbol, without GNU Radio."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from phydnn import channel, parallel, text
from phydnn.decoding import TextCodec
from phydnn.errors import InputError
from phydnn.semantic import convey
from phydnn.text_bundle import TextBundle, frames_of

BATCH = 64


class Codec(Protocol):
    """What is simulated: a :class:`phydnn.decoding.TextCodec`, or its like in torch."""

    @property
    def bundle(self) -> Any:
        """What has the ``vocabulary``, and ``positions``, the tokens of the longest sentence."""

    def encode(self, tokens: NDArray[np.int64]) -> NDArray[np.complex64]:
        """Tokens [B,T] to channel uses [B,T,U]."""

    def greedy(self, symbols: NDArray[np.complex64], n0: NDArray[np.float32]) -> NDArray[np.int64]:
        """Equalised channel uses and their noise variance [B,T,U] to tokens [B,T]."""

    def beam(
        self, symbols: NDArray[np.complex64], n0: NDArray[np.float32], width: int
    ) -> NDArray[np.int64]:
        """As :meth:`greedy`, by a beam."""


CSI = {"perfect": 0.0, "refined": 0.1, "ls": 1.0}
"""Variance of the channel estimate's error over N0."""


def simulate(
    codec: Codec,
    lines: Sequence[str],
    spec: str,
    seed: int,
    csi: str,
    beam: int,
    snr_db: float,
) -> dict[str, Any]:
    """Sends all lines once, each sentence through a fade of its own.

    Args:
        codec: the bundle, at work.
        lines: text.
        spec: the channel, as :func:`phydnn.channel.named` takes it.
        seed: of fades, noise and estimates.
        csi: "perfect", "refined", "ls", or "none".
        beam: width of the decoder's beam; 1 for greedy decoding.
        snr_db: Es/N0 in dB.

    Returns:
        the keys of :func:`phydnn.text.bleu`, and seed, snr_db, channel, csi, channel_uses (of all
        sentences) and tokens.

    Raises:
        InputError: no such channel or CSI, or there are no lines.
    """
    if csi not in (*CSI, "none"):
        raise InputError(f"there is no CSI '{csi}': choose {', '.join(CSI)} or none")
    fading = channel.named(spec)
    generator = torch.Generator().manual_seed(seed)
    received: list[dict[int, list[int]]] = [{} for _ in lines]
    uses = tokens = 0
    for frame in frames_of(codec.bundle, lines, BATCH):
        symbols = torch.from_numpy(codec.encode(frame.tokens))
        n0 = channel.n0_of(snr_db).expand(len(symbols), 1)
        error = None if csi == "none" else torch.full_like(n0, CSI[csi])
        symbols, noise = convey(symbols, n0, error, fading, generator)
        if beam > 1:
            found = codec.beam(symbols.numpy(), noise.numpy(), beam)
        else:
            found = codec.greedy(symbols.numpy(), noise.numpy())
        for line, part, sentence in zip(frame.lines, frame.parts, found, strict=True):
            received[line][int(part)] = sentence.tolist()
        uses, tokens = uses + symbols.numel(), tokens + frame.tokens.size
    decode = codec.bundle.vocabulary.decode
    whole = [decode(token for part in sorted(line) for token in line[part]) for line in received]
    return {
        **text.bleu(lines, whole),
        "seed": seed,
        "snr_db": snr_db,
        "channel": spec,
        "csi": csi,
        "channel_uses": uses,
        "tokens": tokens,
    }


def sweep(
    bundle: TextBundle,
    lines: Sequence[str],
    snr_db: Sequence[float],
    spec: str,
    seed: int = 1,
    csi: str = "perfect",
    beam: int = 1,
    workers: int = 1,
    cluster: str = "",
    advance: Callable[[], object] = lambda: None,
) -> list[dict[str, Any]]:
    """:func:`simulate` at each Es/N0; ``advance`` is called as each is done.

    Raises:
        InputError: as of :func:`simulate`, or of the first point that fails.
        RunError: a worker fails.
    """
    work = functools.partial(simulate, TextCodec(bundle), list(lines), spec, seed, csi, beam)
    rows: list[dict[str, Any]] = [{} for _ in snr_db]
    for index, outcome in parallel.each(work, [float(snr) for snr in snr_db], workers, cluster):
        if isinstance(outcome, parallel.Failure):
            raise outcome.error
        rows[index] = outcome
        advance()
    return rows
