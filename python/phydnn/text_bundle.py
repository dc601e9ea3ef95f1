# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The bundle of a semantic transceiver for text, and how its sentences share frames.

Shapes: B sentences of T tokens each, U channel uses a token, V tokens in the vocabulary, L decoder
layers of so many heads, t tokens written so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from phydnn import text
from phydnn.bundle import GOLDEN_BATCH, BaseBundle, BundleError, Graph, Spec
from phydnn.errors import InputError
from phydnn.finite import FiniteConstellation
from phydnn.text import Vocabulary

BUCKET = 4
"""Sentences are filled up to a multiple of so many tokens."""
WRITTEN = 3
"""Tokens written so far in golden.npz's cache."""


@dataclass(frozen=True, repr=False)
class TextBundle(BaseBundle):
    """An L-DeepSC transceiver.

    Attributes:
        vocabulary: text to tokens and back.
        constellation: what the encoder's values are sent on.
    """

    vocabulary: Vocabulary
    constellation: FiniteConstellation

    SYSTEM = "ldeepsc"
    COMPUTES = (
        "semantic_encoder.onnx",
        "semantic_memory.onnx",
        "semantic_step.onnx",
        "vocabulary.model",
    )

    @classmethod
    def _open(cls, path: Path, meta: dict[str, Any]) -> Self:
        try:
            vocabulary = Vocabulary.load(path / "vocabulary.model")
        except InputError as error:
            raise BundleError(f"vocabulary.model: {error}") from error
        if len(vocabulary) != meta["vocabulary"]["size"]:
            raise BundleError(
                f"vocabulary.model: it has {len(vocabulary)} tokens, not "
                f"{meta['vocabulary']['size']} of bundle.json"
            )
        try:
            constellation = FiniteConstellation.read(meta["constellation"])
        except InputError as error:
            raise BundleError(f"bundle.json: constellation: {error}") from error
        shape = meta["shape"]
        if shape["width"] % shape["heads"]:
            raise BundleError("bundle.json: shape: its heads do not divide its width")
        if shape["positions"] > BUCKET * BUCKET * shape["uses"]:
            raise BundleError(
                f"bundle.json: shape: with {shape['uses']} uses a token a frame can tell lengths "
                f"up to {BUCKET * BUCKET * shape['uses']} tokens apart, not {shape['positions']}"
            )
        return cls(path, meta, vocabulary, constellation)

    @property
    def uses(self) -> int:
        """Channel uses a token, U."""
        return int(self.meta["shape"]["uses"])

    @property
    def positions(self) -> int:
        """Tokens of the longest sentence; what is longer goes in parts. A multiple of BUCKET."""
        return int(self.meta["shape"]["positions"]) // BUCKET * BUCKET

    @property
    def decision(self) -> str:
        """How the receiver reads an amplitude unless told otherwise: "none", "hard" or "soft"."""
        return str(self.meta["decision"])

    @property
    def precoding(self) -> bool:
        """Whether the transmitter precodes the symbols (DFT-s-OFDM)."""
        return bool(self.meta["precoding"])

    @property
    def encoder_path(self) -> Path:
        """Semantic and channel encoder: ``tokens`` int64 [B,T] to ``values`` float32 [B,T,2U]."""
        return self.path / "semantic_encoder.onnx"

    @property
    def memory_path(self) -> Path:
        """Channel decoder: received ``values`` and ``n0`` float32 [B,T,U] to what a step needs."""
        return self.path / "semantic_memory.onnx"

    @property
    def step_path(self) -> Path:
        """Semantic decoder: ``token`` int64 [B,S] after the ``cache`` to the logits of the next."""
        return self.path / "semantic_step.onnx"

    @property
    def cache_shape(self) -> tuple[int, int, int, int]:
        """(L, 2, heads, width of a head), the decoder's own keys and values of a token."""
        shape = self.meta["shape"]
        heads = int(shape["heads"])
        return int(shape["layers"]), 2, heads, int(shape["width"]) // heads

    def golden_spec(self) -> Spec:
        """Four sentences, and what each stage answers.

        ``tokens`` int64 [4,T], ``values`` float32 [4,T,2U], ``received_values`` alike with noise of
        ``n0`` float32 [4,T,U], ``aligned`` float32 [4,T,width], ``received`` float32
        [4,L,2,heads,T,width/heads]; and a step after three tokens: ``token`` int64 [4,S], ``cache``
        float32 [4,L,2,heads,3,width/heads], ``logits`` float32 [4,S,V], ``cache_next``.
        """
        spec: dict[str, tuple[tuple[int | None, ...], type[Any]]] = {}
        for graph in self.graphs():
            for name, (shape, dtype) in {**graph.inputs, **graph.outputs}.items():
                spec[graph.golden.get(name, name)] = ((GOLDEN_BATCH, *shape), dtype)
        return spec

    def graphs(self) -> list[Graph]:
        """Encoder, memory and step."""
        layers, two, heads, width = self.cache_shape
        values: Spec = {"values": ((None, 2 * self.uses), np.float32)}
        memory: Spec = {
            "aligned": ((None, heads * width), np.float32),
            "received": ((layers, two, heads, None, width), np.float32),
        }
        cache = ((layers, two, heads, None, width), np.float32)
        return [
            Graph(self.encoder_path.name, {"tokens": ((None,), np.int64)}, values),
            Graph(
                self.memory_path.name,
                {**values, "n0": ((None, self.uses), np.float32)},
                memory,
                {"values": "received_values"},
            ),
            Graph(
                self.step_path.name,
                {"token": ((None,), np.int64), **memory, "cache": cache},
                {"logits": ((None, len(self.vocabulary)), np.float32), "cache_next": cache},
            ),
        ]


@dataclass(frozen=True)
class TextFrame:
    """The sentences of a frame, all filled up to one length.

    Attributes:
        tokens: int64 [B,T], T a multiple of BUCKET.
        lines: which line each sentence is, or is a part of, int64 [B].
        parts: which of its line's parts it is, from 0, int64 [B]. They may be in several frames;
            the tokens of all, in order, are what :meth:`Vocabulary.decode` takes.
    """

    tokens: NDArray[np.int64]
    lines: NDArray[np.int64]
    parts: NDArray[np.int64]


def frames_of(bundle: TextBundle, lines: Sequence[str], batch: int) -> list[TextFrame]:
    """Lines of text as frames of at most ``batch`` sentences, those of like length together.

    A line of more than ``bundle.positions`` tokens is several sentences, its parts. Frames come by
    length, the shortest first, and what has one length in its order.

    Raises:
        InputError: ``batch`` is below 1, or a line is no text.
    """
    if batch < 1:
        raise InputError(f"a frame holds 1 or more sentences, not {batch}")
    starts = bundle.vocabulary.starts_word()
    lengths: dict[int, list[tuple[int, int, list[int]]]] = {}
    for line, sentence in enumerate(lines):
        cut = text.pieces(bundle.vocabulary.encode(sentence), bundle.positions, starts)
        for part, tokens in enumerate(cut):
            lengths.setdefault(-(-len(tokens) // BUCKET), []).append((line, part, tokens))
    return [
        TextFrame(
            text.fill([tokens for _, _, tokens in group[at : at + batch]], BUCKET * blocks),
            np.array([line for line, _, _ in group[at : at + batch]], np.int64),
            np.array([part for _, part, _ in group[at : at + batch]], np.int64),
        )
        for blocks, group in sorted(lengths.items())
        for at in range(0, len(group), batch)
    ]


def one_frame(bundle: TextBundle, line: str) -> TextFrame:
    """A line of text as one frame, its parts filled up to one length.

    Raises:
        InputError: it is no text.
    """
    tokens = bundle.vocabulary.encode(line)
    parts = text.pieces(tokens, bundle.positions, bundle.vocabulary.starts_word())
    longest = -(-max(map(len, parts)) // BUCKET) * BUCKET
    order = np.arange(len(parts))
    return TextFrame(text.fill(parts, longest), np.zeros_like(order), order)


def payload_uses(bundle: TextBundle, sentences: int, tokens: int) -> int:
    """Channel uses of a frame of so many sentences of so many tokens.

    The last T/BUCKET - 1 of them are there only to be counted: the rest is a multiple of
    BUCKET U, so that the payload's length, which the frame's header has, says both numbers.
    """
    return sentences * tokens * bundle.uses + tokens // BUCKET - 1


def shape_of(bundle: TextBundle, uses: int) -> tuple[int, int]:
    """(sentences, tokens) of a payload of so many channel uses.

    Raises:
        InputError: no frame of this bundle is so long.
    """
    whole, blocks = divmod(uses, BUCKET * bundle.uses)
    tokens = BUCKET * (blocks + 1)
    sentences, rest = divmod(whole * BUCKET, tokens)
    if not sentences or rest or tokens > bundle.positions:
        raise InputError(f"a payload of {uses} channel uses holds no whole sentences")
    return sentences, tokens
