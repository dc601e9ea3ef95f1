# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Text over a link: the blocks of the semantic transceiver, and its job."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from phydnn import text
from phydnn.decoding import TextCodec
from phydnn.errors import InputError
from phydnn.picture import draw_text
from phydnn.recording import fingerprint
from phydnn.text_bundle import TextBundle, TextFrame, frames_of, one_frame, payload_uses, shape_of

from . import pdus
from .ends import reader, receiver, sender
from .jobs import Job, from_symbols, to_symbols
from .networks import _network
from .phydnn_python import finite_demapper, finite_mapper, frame_transmitter, to_vector
from .sources import paced_source

LONGEST_TEXT = 1 << 16
"""Bytes of a line that may be typed in."""
TEXT = 2
"""The kind of payload, as a frame's header says it."""
KEPT_LINES = 100
"""Of a record."""


def loaded_text(bundle: TextBundle | str | os.PathLike[str]) -> TextBundle:
    """The bundle itself, or the one of that path or name, validated."""
    return bundle if isinstance(bundle, TextBundle) else TextBundle.load(bundle)


def utf8(written: str) -> Any:
    """Text as a u8vector of UTF-8."""
    return to_vector(np.frombuffer(written.encode(), np.uint8))


def mapper_of(bundle: TextBundle) -> Any:
    """The bundle's :class:`finite_mapper`."""
    c = bundle.constellation
    return finite_mapper(c.low, c.high, c.bits, c.gain)


def demapper_of(bundle: TextBundle, decision: str = "") -> Any:
    """The bundle's :class:`finite_demapper`; ``decision`` empty for the bundle's own."""
    c = bundle.constellation
    priors: Any = [] if c.priors is None else c.priors
    return finite_demapper(c.low, c.high, c.bits, c.gain, decision or bundle.decision, priors)


class text_source(paced_source):
    """Frames of sentences from a text, no faster than the link takes them.

    Sentences of like length share a frame, so lines leave in the order of their lengths.

    Message output ``text``: PDUs with an s32vector of sentences x T tokens and the metadata
    ``frame_number`` (from 0), ``sentences`` and ``lines`` (s32vector: which line each is).

    Message input ``done``: any message says that a frame has left the link, and lets the next one
    out. Connect ``sent`` of the transmitter, or ``text`` of the decoder.

    Args:
        bundle: a :class:`phydnn.text_bundle.TextBundle`, or the path or name of one.
        data: what :func:`phydnn.text.load` takes (its test split), lines themselves, or frames.
        batch_size: sentences in a frame, at most.
        in_flight, interval_s, passes, flush: as of :class:`image_source`.

    Raises:
        InputError: the bundle or the text is broken.
        ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        bundle: TextBundle | str | os.PathLike[str],
        data: str | Sequence[str] | Sequence[TextFrame],
        batch_size: int = 16,
        in_flight: int = 4,
        interval_s: float = 0.0,
        passes: int = 1,
        flush: int = 0,
    ) -> None:
        super().__init__("text_source", "text", in_flight, interval_s, passes, flush)
        lines = text.load(data) if isinstance(data, str) else data
        whole = [item for item in lines if isinstance(item, TextFrame)]
        typed = [item for item in lines if isinstance(item, str)]
        self._all = whole or frames_of(loaded_text(bundle), typed, batch_size)
        if not self._all:
            raise InputError("text_source: there are no lines to send")

    def _count(self) -> int:
        return len(self._all)

    def _frame(self, index: int) -> tuple[Any, Any]:
        frame = self._all[index]
        metadata = pdus.put(
            pmt.make_dict(),
            sentences=len(frame.tokens),
            lines=to_vector(frame.lines.astype(np.int32)),
        )
        return metadata, to_vector(frame.tokens.astype(np.int32))


class semantic_encoder(_network):
    """Sentences in, the values that a finite constellation carries out.

    Message input ``text``: PDUs with an s32vector of tokens as :class:`text_source` gives them; or
    a line of text, one frame, as a PDU with a u8vector of UTF-8 or as a symbol, which is what
    QT GUI Message Edit Box sends. Frames without ``frame_number`` are numbered from 0, or on from
    the last that had one.

    A line of more tokens than the bundle's longest sentence is sent as several.

    Message output ``values``: a PDU a frame with an f32vector of sentences x T x 2U values and a
    few zeros, by which the payload's length says T, and the metadata ``frame_number``,
    ``sentences``, ``head_s`` (seconds that the graph took) and ``head_end``
    (``time.perf_counter()`` after it). A PDU that is neither, or that more than 64 wait before,
    leaves as an erased frame.

    Args:
        bundle: a :class:`phydnn.text_bundle.TextBundle`, or the path or name of one.
        threads: of ONNX Runtime; 0 for half of the cores.

    Raises:
        BundleError: the bundle is missing, damaged or not what it says.
        ValueError: a parameter is out of range.
    """

    _unit = "sentences"

    def __init__(self, bundle: TextBundle | str | os.PathLike[str], threads: int = 0) -> None:
        self._bundle = loaded_text(bundle)
        empty = pmt.make_f32vector(0, 0.0)
        path = self._bundle.encoder_path
        super().__init__("semantic_encoder", path, ("text", "values"), empty, threads)
        self._next_number = 0

    def _enqueue(self, message: Any) -> None:
        if pmt.is_symbol(message):
            message = pmt.cons(pmt.make_dict(), utf8(pmt.symbol_to_string(message)))
        super()._enqueue(message)

    def _take(self, metadata: Any, values: Any) -> None:
        number = pdus.get(metadata, "frame_number")
        if not isinstance(number, int):
            number = self._next_number
        self._next_number = number + 1
        metadata = pdus.put(metadata, frame_number=number)
        fault, reason = "", "payload"
        if pdus.erased(metadata):
            reason = pdus.get(metadata, "reason", "lost")
        else:
            try:
                tokens = self._tokens(metadata, values)
            except (InputError, UnicodeDecodeError) as error:
                fault = str(error)
                self._drop(metadata, fault)
        if fault or pdus.erased(metadata):
            self._publish(pdus.erase(metadata, reason), self._empty)
            return
        answer, seconds = self._run(tokens)
        sentences, length = tokens.shape
        uses = payload_uses(self._bundle, sentences, length)
        padded = np.zeros(2 * uses, np.float32)
        padded[: answer.size] = answer.ravel()
        metadata = pdus.put(
            metadata, sentences=sentences, head_s=seconds, head_end=time.perf_counter()
        )
        self._publish(metadata, to_vector(padded))

    def _tokens(self, metadata: Any, values: Any) -> NDArray[np.int64]:
        """The sentences of a PDU, int64 [B,T]. Raises InputError or UnicodeDecodeError."""
        if values is not None and values.dtype == np.uint8:
            if values.size > LONGEST_TEXT:
                raise InputError(f"its line has more than {LONGEST_TEXT} bytes")
            return one_frame(self._bundle, values.tobytes().decode()).tokens
        sentences = pdus.get(metadata, "sentences", 0)
        if values is None or values.dtype != np.int32 or not isinstance(sentences, int):
            raise InputError("it must hold a line in UTF-8, or tokens and how many sentences")
        if sentences < 1 or values.size % sentences or not values.size:
            raise InputError(f"its {values.size} tokens are not {sentences} sentences")
        tokens = values.reshape(sentences, -1).astype(np.int64)
        if shape_of(self._bundle, payload_uses(self._bundle, *tokens.shape)) != tokens.shape:
            raise InputError(f"sentences of {tokens.shape[1]} tokens cannot be told apart")
        if tokens.min() < 0 or tokens.max() >= len(self._bundle.vocabulary):
            raise InputError(
                f"one of its tokens is none of a vocabulary of {len(self._bundle.vocabulary)}"
            )
        return tokens


class semantic_decoder(_network):
    """Received values in, sentences out.

    Message input ``values``: PDUs with an f32vector as :class:`finite_demapper` gives it, and the
    noise variance of each channel use in the metadata ``n0``, a number or an f32vector.

    Message outputs, a PDU a frame each, in order: ``tokens``, an s32vector of sentences x T tokens,
    with ``sentences`` and ``tail_s`` (seconds that the graphs took); and ``text``, a u8vector of
    UTF-8, the sentences apart by line feeds. A frame that was erased, one of no whole
    sentences (a truncated one, say), or that holds NaN or infinity has an empty vector at
    ``tokens``, and at ``text`` the mark of a gap, U+FFFD; so have frames that more than 64 wait
    before.

    Args:
        bundle: a :class:`phydnn.text_bundle.TextBundle`, or the path or name of one.
        threads: of ONNX Runtime; 0 for half of the cores.

    Raises:
        BundleError: the bundle is missing, damaged or not what it says.
        ValueError: a parameter is out of range.
    """

    _unit = "sentences"

    def __init__(self, bundle: TextBundle | str | os.PathLike[str], threads: int = 0) -> None:
        self._bundle = loaded_text(bundle)
        empty = pmt.make_s32vector(0, 0)
        path = self._bundle.memory_path
        super().__init__("semantic_decoder", path, ("values", "tokens"), empty, threads)
        self._codec = TextCodec(self._bundle, self._threads)
        self._text = pmt.intern("text")
        self.message_port_register_out(self._text)

    def _take(self, metadata: Any, values: Any) -> None:
        if pdus.erased(metadata):
            self._gap(metadata)
            return
        try:
            received, n0 = self._received(metadata, values)
        except InputError as error:
            self._drop(metadata, str(error))
            self._gap(pdus.erase(metadata, "payload"))
            return
        started = time.perf_counter()
        tokens = self._codec.read(received, n0)
        self._tally(len(tokens))
        metadata = pdus.put(metadata, sentences=len(tokens), tail_s=time.perf_counter() - started)
        self._publish(metadata, to_vector(tokens.astype(np.int32)))
        written = map(self._bundle.vocabulary.decode, tokens)
        self.message_port_pub(self._text, pmt.cons(metadata, utf8("\n".join(written))))

    def _gap(self, metadata: Any) -> None:
        self._publish(metadata, self._empty)
        self.message_port_pub(self._text, pmt.cons(metadata, utf8(text.GAP_TEXT)))

    def _received(
        self, metadata: Any, values: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Values [B,T,2U] and noise variances [B,T,U] of a PDU. Raises InputError."""
        if values is None or values.dtype != np.float32 or values.size % 2:
            raise InputError("it must hold an f32vector of values in pairs")
        uses = values.size // 2
        sentences, length = shape_of(self._bundle, uses)
        n0 = pdus.get(metadata, "n0")
        if not isinstance(n0, (int, float, np.ndarray)) or np.size(n0) not in (1, uses):
            raise InputError("it must have n0 in its metadata, one or one a channel use")
        noise = np.broadcast_to(np.asarray(n0, np.float32).ravel(), uses)
        if not (np.isfinite(values).all() and np.isfinite(noise).all() and (noise >= 0).all()):
            raise InputError("its values or noise variances hold NaN or infinity")
        kept = sentences * length * self._bundle.uses
        return (
            values[: 2 * kept].reshape(sentences, length, -1),
            noise[:kept].reshape(sentences, length, -1),
        )


class text_transmitter(sender):
    """The sending end of text: lines in, samples out.

    Semantic encoder, finite mapper and frame transmitter; their documentation says more.

    Message input ``text``: as of :class:`semantic_encoder`. Message outputs: ``sent`` of the
    transmitter, and ``symbols``, the payload of each frame. Stream output: complex samples.

    Args:
        bundle: a :class:`phydnn.text_bundle.TextBundle`, or the path or name of one.
        dimensions, amplitude, gap, threads: as of :class:`device`.

    Attributes:
        encoder, mapper, transmitter: the blocks inside.

    Raises:
        BundleError: the bundle is missing, damaged or not what it says.
        ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        bundle: TextBundle | str | os.PathLike[str],
        dimensions: Any = "wide",
        amplitude: float = 1.0,
        gap: int = 128,
        threads: int = 0,
    ) -> None:
        bundle = loaded_text(bundle)
        self.encoder = semantic_encoder(bundle, threads)
        super().__init__(
            self.encoder,
            mapper_of(bundle),
            frame_transmitter(
                dimensions,
                bundle_id=bundle.id,
                kind=TEXT,
                precoded=bundle.precoding,
                amplitude=amplitude,
                gap=gap,
            ),
            ("text", "values"),
        )


class text_receiver(reader):
    """The receiving end of text: samples in, lines out.

    A :class:`receiver`, finite demapper and semantic decoder; their documentation says more.

    Stream input: complex samples. Message outputs: ``text`` and ``tokens`` of the decoder; ``csi``,
    the channel estimates of each frame; ``symbols``, the payload after the equalizer.

    Args:
        bundle: a :class:`phydnn.text_bundle.TextBundle`, or the path or name of one; frames of
            other bundles are reported as erasures.
        decision: "none", "hard" or "soft"; empty for the bundle's own.
        dimensions, sample_rate, smoothing, max_uses, threads, in_flight: as of :class:`edge`.

    Attributes:
        receiver, demapper, decoder: the blocks inside.

    Raises:
        BundleError: the bundle is missing, damaged or not what it says.
        ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        bundle: TextBundle | str | os.PathLike[str],
        dimensions: Any = "wide",
        sample_rate: float = 20e6,
        decision: str = "",
        smoothing: str = "window",
        max_uses: int = 262144,
        threads: int = 0,
        in_flight: int = 0,
    ) -> None:
        bundle = loaded_text(bundle)
        self.decoder = semantic_decoder(bundle, threads)
        super().__init__(
            receiver(bundle.id, dimensions, sample_rate, smoothing, max_uses, in_flight),
            demapper_of(bundle, decision),
            self.decoder,
            ("values", "tokens"),
        )
        self.message_port_register_hier_out("text")
        self.msg_connect(self.decoder, "text", self, "text")


class Reading(Job):
    """Semantic text: lines at one end, read at the other.

    Its items are sentences: lines, or parts of lines that are too long for one. Its outcome is the
    list of lines as they were read, of all passes; a part whose frame never arrived is U+FFFD.

    Its record has, over all lines, ``bleu``, ``bleu_ci95`` and ``bleu_sacre`` as of
    :func:`phydnn.text.bleu`, lines that never arrived counting as what is left of them; ``exact``,
    the share of lines that arrived to the letter; ``lines``; and ``received``, the first hundred.

    Args:
        bundle: a :class:`phydnn.text_bundle.TextBundle`, or the path or name of one.
        lines: the text.
        name: of the text.
        batch: sentences in a frame, at most.
        decision: of the demapper, "none", "hard" or "soft"; empty for the bundle's own.

    Raises:
        InputError: the bundle, the text or a parameter are no good.
    """

    bundle: TextBundle

    def __init__(
        self,
        bundle: TextBundle | str | os.PathLike[str],
        lines: Sequence[str],
        name: str = "text",
        batch: int = 64,
        decision: str = "",
    ) -> None:
        bundle = loaded_text(bundle)
        if decision not in ("", "none", "hard", "soft"):
            raise InputError(f"there is no decision '{decision}': choose none, hard or soft")
        self.decision = decision or bundle.decision
        self.lines = list(lines)
        self._all = frames_of(bundle, self.lines, batch)
        if not self._all:
            raise InputError(f"'{name}' holds no lines")
        shapes = [frame.tokens.shape for frame in self._all]
        super().__init__(
            bundle,
            kind=TEXT,
            precoded=bundle.precoding,
            data=name,
            unit="sentences",
            batch=batch,
            counts=np.array([sentences for sentences, _ in shapes], np.int64),
            uses=np.array([payload_uses(bundle, *shape) for shape in shapes], np.int64),
        )
        # The items in the order of the text.
        lines_of_items = np.concatenate([frame.lines for frame in self._all])
        parts = np.concatenate([frame.parts for frame in self._all])
        self._order = np.lexsort((parts, lines_of_items))
        self._line_of = lines_of_items[self._order]
        self.begin(1)

    def begin(self, passes: int) -> None:
        self._read: list[list[int] | None] = [None] * (passes * self.count)

    def source(self, passes: int, flush: int) -> Any:
        return to_symbols(
            text_source(self.bundle, self._all, in_flight=0, passes=passes, flush=flush),
            semantic_encoder(self.bundle),
            mapper_of(self.bundle),
            ("text", "values"),
        )

    def sink(self) -> Any:
        return from_symbols(
            demapper_of(self.bundle, self.decision),
            semantic_decoder(self.bundle),
            ("values", "tokens"),
        )

    def take(self, number: int, values: Any) -> bool:
        places = self.items(number)
        shape = self._all[number % self.frames].tokens.shape
        if values is None or values.size != shape[0] * shape[1]:
            return False
        self._read[places] = values.reshape(shape).tolist()
        return True

    def outcome(self) -> list[str]:
        lines: list[str] = []
        for start in range(0, len(self._read), self.count):
            tokens: list[list[int]] = [[] for _ in self.lines]
            for place, line in zip(self._order, self._line_of, strict=True):
                tokens[line] += self._read[start + place] or [text.GAP]
            lines += map(self.bundle.vocabulary.decode, tokens)
        return lines

    def record(self) -> dict[str, Any]:
        received = self.outcome()
        sent = self.lines * (len(received) // len(self.lines))
        scores = text.bleu(sent, received)
        right = sum(a == b for a, b in zip(sent, received, strict=True))
        return {
            **{key: scores[key] for key in ("bleu", "bleu_ci95", "bleu_sacre")},
            "exact": right / len(sent),
            "lines": len(sent),
            "received": received[:KEPT_LINES],
            "decision": self.decision,
        }

    def draw(self, path: Path, title: str, snapshot: Any) -> None:
        points = np.empty(0, np.complex64)
        if 0 < self.bundle.constellation.bits <= 5:
            levels = self.bundle.constellation.amplitudes
            points = (levels[:, None] + 1j * levels).ravel().astype(np.complex64)
        title = f"{title}: BLEU-1 {self.record()['bleu'][0]:.3f}"
        draw_text(path, title, self.lines, self.outcome(), points, **asdict(snapshot))

    def fingerprint(self) -> str:
        return fingerprint(np.frombuffer("\n".join(self.lines).encode(), np.uint8))

    def cut(self, count: int, batch: int) -> Reading:
        parts = np.bincount(self._line_of, minlength=len(self.lines))
        kept = int(np.searchsorted(np.cumsum(parts), count)) + 1
        return Reading(self.bundle, self.lines[:kept], self.data, batch, self.decision)
