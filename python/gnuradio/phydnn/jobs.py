# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""What a link carries: each job makes the frames at one end and takes them in at the other."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gnuradio import gr
from phydnn.bundle import Bundle
from phydnn.bundle import load as load_bundle
from phydnn.datasets import Images
from phydnn.datasets import load as load_images
from phydnn.errors import InputError
from phydnn.picture import draw
from phydnn.recording import Made, fingerprint
from phydnn.results import wilson_interval
from phydnn.text import load as load_text
from phydnn.text_bundle import TextBundle

from .networks import head, loaded, tail
from .phydnn_python import embedding_demapper, embedding_mapper
from .sources import image_source

LONGEST_PAYLOAD = (1 << 24) - 1
"""Channel uses, as a frame's header counts them."""


def load(bundle: str, data: str, limit: int = 0, batch: int = 64, decision: str = "") -> Job:
    """The job of carrying a data set with a bundle.

    Args:
        bundle: a bundle's folder or name.
        data: what the bundle's system takes: for phydnn see :func:`phydnn.datasets.load`, for
            ldeepsc :func:`phydnn.text.load`.
        limit: only the first so many items; 0 for all.
        batch: items in a frame.
        decision: of the demapper, "hard" or "soft"; empty for the bundle's own.

    Raises:
        InputError: one of them is no good.
    """
    loaded = load_bundle(bundle)
    if isinstance(loaded, TextBundle):
        # Imported here, as it needs this module.
        from .semantic import Reading

        lines = load_text(data)
        return Reading(loaded, lines[:limit] if limit else lines, data, batch, decision)
    if not isinstance(loaded, Bundle):
        raise InputError(
            f"bundle {loaded.name} is of system {loaded.SYSTEM}, which this command cannot run"
            + (": phydnn deliver does" if loaded.SYSTEM == "airnet" else "")
        )
    images = load_images(data, "test", loaded.input_shape)
    return Classification(loaded, images.take(slice(limit)) if limit else images, batch, decision)


class Named(Protocol):
    """What a link asks of a job's bundle."""

    @property
    def name(self) -> str:
        """For the results."""

    @property
    def id(self) -> int:
        """32 bits for the frames' headers."""


class Job(ABC):
    """The base of all jobs: which frames there are, and the blocks at the two ends.

    A frame holds so many items: images, sentences or weights.

    Args:
        bundle: whose name and id go into frames and results.
        kind: of the payload, as the frames' header says it: 0 split inference, 1 weights, 2 text.
        precoded: whether the transmitter precodes the symbols (DFT-s-OFDM).
        data: the data set's name.
        unit: what the items are called, in the plural.
        batch: items in a frame, at most.
        counts: items in each frame of a pass, int64 [frames].
        uses: channel uses of each, int64 [frames].

    Attributes: the arguments, and ``count``, the items of a pass.

    Raises:
        InputError: there are no items, or a frame cannot hold so many.
    """

    def __init__(
        self,
        bundle: Named,
        *,
        kind: int,
        precoded: bool,
        data: str,
        unit: str,
        batch: int,
        counts: NDArray[np.int64],
        uses: NDArray[np.int64],
    ) -> None:
        self.bundle, self.kind, self.precoded = bundle, kind, precoded
        self.data, self.unit, self.batch, self.counts, self.uses = data, unit, batch, counts, uses
        self.count = int(counts.sum())
        self._starts = np.cumsum(counts) - counts
        if not self.count:
            raise InputError(f"'{data}' holds no {unit}")
        if uses.max() > LONGEST_PAYLOAD:
            raise InputError(
                f"a frame of {uses.max()} channel uses is too long: choose a smaller batch"
            )

    @property
    def frames(self) -> int:
        """Frames of a pass."""
        return len(self.uses)

    def items(self, number: int) -> slice:
        """The places of a frame's items among those of all passes."""
        a_pass, within = divmod(number, self.frames)
        start = a_pass * self.count + int(self._starts[within])
        return slice(start, start + int(self.counts[within]))

    @abstractmethod
    def begin(self, passes: int) -> None:
        """Forgets what was taken in, before all items are sent so many times."""

    @abstractmethod
    def source(self, passes: int, flush: int) -> Any:
        """The sending end's block.

        Message input ``done`` lets a frame out; message output ``symbols`` gives the payloads, PDUs
        with a c32vector and ``frame_number`` (from 0), ``head_s`` (seconds that its graph took) and
        ``head_end`` (when that ended, by ``time.perf_counter``); those of the last frame of all
        have ``gap`` = ``flush`` if that is not 0.
        """

    @abstractmethod
    def sink(self) -> Any:
        """The receiving end's block.

        Message input ``symbols``: payloads as the equalizer gives them, with ``n0``. Message
        outputs, for each of them one PDU with its ``frame_number``, erased ones too: ``demapped``,
        what the symbols stand for, and ``results``, what its graph made of that, with ``tail_s``,
        the seconds that this took.
        """

    @abstractmethod
    def take(self, number: int, values: Any) -> bool:
        """Takes in the result of a frame, a vector; False where that is no good."""

    @abstractmethod
    def outcome(self) -> Any:
        """What came out, of all passes."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """The keys of the results that measure what came out."""

    @abstractmethod
    def draw(self, path: Path, title: str, snapshot: Any) -> None:
        """Writes a picture of what came out, and of a :class:`phydnn.ledger.Snapshot`."""

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of the items, in hexadecimal."""

    def recorded(self, made: Made) -> Job:
        """The job whose frames a recording holds: by its batch, and with no more items.

        Raises:
            InputError: the recording is of another bundle or of other items.
        """
        if made.bundle_id != self.bundle.id:
            raise InputError(
                f"the recording is of bundle {made.bundle} ({made.bundle_id:08x}), which is not "
                f"the one given: {self.bundle.name} ({self.bundle.id:08x})"
            )
        if self.count < made.items:
            raise InputError(
                f"the recording is of {made.items} {self.unit} of '{made.data}', but '{self.data}' "
                f"has only {self.count}"
            )
        job = self.cut(made.items, made.batch)
        if job.fingerprint() != made.data_sha256:
            raise InputError(
                f"the recording is of {self.unit} of '{made.data}': those of '{self.data}' are "
                "others"
            )
        return job

    @abstractmethod
    def cut(self, count: int, batch: int) -> Job:
        """The same job with its first items only, so many in a frame."""


class to_symbols(gr.hier_block2):
    """A job's sending end: a source of frames, what encodes them, and a mapper.

    Args:
        source, encoder, mapper: the blocks inside.
        ports: of the messages into the encoder, and from there into the mapper.
    """

    def __init__(self, source: Any, encoder: Any, mapper: Any, ports: tuple[str, str]) -> None:
        gr.hier_block2.__init__(
            self, "to symbols", gr.io_signature(0, 0, 0), gr.io_signature(0, 0, 0)
        )
        self.inside = source, encoder, mapper  # GNU Radio does not keep what Python made
        self.message_port_register_hier_in("done")
        self.message_port_register_hier_out("symbols")
        self.msg_connect(self, "done", source, "done")
        self.msg_connect(source, ports[0], encoder, ports[0])
        self.msg_connect(encoder, ports[1], mapper, ports[1])
        self.msg_connect(mapper, "symbols", self, "symbols")


class from_symbols(gr.hier_block2):
    """A job's receiving end: a demapper, and what decodes its values.

    Args:
        demapper, decoder: the blocks inside.
        ports: of the messages into the decoder, and from there on.
    """

    def __init__(self, demapper: Any, decoder: Any, ports: tuple[str, str]) -> None:
        gr.hier_block2.__init__(
            self, "from symbols", gr.io_signature(0, 0, 0), gr.io_signature(0, 0, 0)
        )
        self.inside = demapper, decoder
        self.message_port_register_hier_in("symbols")
        for port in ("demapped", "results"):
            self.message_port_register_hier_out(port)
        self.msg_connect(self, "symbols", demapper, "symbols")
        self.msg_connect(demapper, ports[0], decoder, ports[0])
        self.msg_connect(demapper, ports[0], self, "demapped")
        self.msg_connect(decoder, ports[1], self, "results")


class Classification(Job):
    """Split inference: images at one end, their classes at the other.

    Its outcome is int32 [passes x count], the class of each image in the bundle's order; -1 where
    its frame never arrived. Where the images have labels its record has ``accuracy`` and its 95%
    Wilson interval ``accuracy_ci95`` over all images, one that never arrived counting as wrong, and
    ``accuracy_received`` over those that did.

    Args:
        bundle: a bundle, or the path or name of one.
        images: what to classify; labels are matched with the bundle's classes by name.
        batch: images in a frame.
        decision: "hard" or "soft" lookup; empty for the bundle's own.

    Raises:
        InputError: the bundle, the images or a parameter are no good.
    """

    bundle: Bundle

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        images: Images,
        batch: int = 64,
        decision: str = "",
    ) -> None:
        bundle = loaded(bundle)
        if decision not in ("", "hard", "soft"):
            raise InputError(f"there is no decision '{decision}': choose hard or soft")
        self.decision = decision or bundle.decision
        self.images = in_the_order_of(bundle, images)
        if not 1 <= batch * bundle.uses <= LONGEST_PAYLOAD:
            raise InputError(
                f"batch is {batch}: a frame of bundle {bundle.name} holds 1 to "
                f"{LONGEST_PAYLOAD // bundle.uses} images"
            )
        counts = np.diff([*range(0, len(images), batch), len(images)])
        super().__init__(
            bundle,
            kind=0,
            precoded=bundle.precoding,
            data=images.name,
            unit="images",
            batch=batch,
            counts=counts,
            uses=counts * bundle.uses,
        )
        self.begin(1)

    def begin(self, passes: int) -> None:
        self._predictions = np.full(passes * self.count, -1, np.int32)

    def source(self, passes: int, flush: int) -> Any:
        bundle = self.bundle
        return to_symbols(
            image_source(bundle, self.images, self.batch, 0, passes=passes, flush=flush),
            head(bundle, self.batch),
            embedding_mapper(bundle.embeddings, bundle.points, bundle.lookup),
            ("images", "slices"),
        )

    def sink(self) -> Any:
        bundle = self.bundle
        return from_symbols(
            embedding_demapper(bundle.embeddings, bundle.points, self.decision),
            tail(bundle),
            ("slices", "classes"),
        )

    def take(self, number: int, values: Any) -> bool:
        places = self.items(number)
        if values is None or len(values) != places.stop - places.start:
            return False
        self._predictions[places] = values
        return True

    def outcome(self) -> NDArray[np.int32]:
        return self._predictions

    def record(self) -> dict[str, Any]:
        decided = {"decision": self.decision}
        if self.images.y is None:
            names = [*self.bundle.classes, None]  # -1 is the last
            return {**decided, "predictions": [names[i] for i in self._predictions]}
        predictions = self._predictions
        right = int((predictions.reshape(-1, self.count) == self.images.y).sum())
        received = int((predictions >= 0).sum())
        return {
            "accuracy": right / predictions.size,
            "accuracy_ci95": list(wilson_interval(right, predictions.size)),
            **({"accuracy_received": right / received} if received else {}),
            **decided,
        }

    def draw(self, path: Path, title: str, snapshot: Any) -> None:
        record = self.record()
        if "accuracy" in record:
            right = f"{record['accuracy']:.1%} of {len(self._predictions)} images are right"
            title = f"{title}: {right}"
        images = replace(self.images, classes=self.bundle.classes)
        draw(path, title, images, self._predictions, self.bundle.points, **asdict(snapshot))

    def fingerprint(self) -> str:
        return fingerprint(self.images.x)

    def cut(self, count: int, batch: int) -> Classification:
        return Classification(self.bundle, self.images.take(slice(count)), batch, self.decision)


def in_the_order_of(bundle: Any, images: Images) -> Images:
    """The images with labels that count a bundle's classes, or those of a delivery's ticket."""
    if not len(images):
        raise InputError(f"'{images.name}' holds no images")
    if images.x.shape[1:] != bundle.input_shape:
        raise InputError(
            f"the images of '{images.name}' are {images.x.shape[1:]} "
            f"but bundle {bundle.name} takes {bundle.input_shape}"
        )
    if images.y is None or images.classes == bundle.classes:
        return images
    if missing := [name for name in images.classes if name not in bundle.classes]:
        raise InputError(
            f"'{images.name}' has a class '{missing[0]}' that bundle {bundle.name} does not know: "
            f"its classes are {', '.join(bundle.classes[:20])}"
        )
    order = np.array([bundle.classes.index(name) for name in images.classes], np.int64)
    return replace(images, y=order[images.y], classes=bundle.classes)
