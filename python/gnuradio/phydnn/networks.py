# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The blocks that run a bundle's graphs with ONNX Runtime."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from gnuradio import gr
from phydnn.bundle import Bundle, open_session

from . import pdus
from .phydnn_python import to_vector


def loaded(bundle: Bundle | str | os.PathLike[str]) -> Bundle:
    """The bundle itself, or the one of that path or name, validated."""
    return bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)


class _network(gr.basic_block):
    """A graph between two message ports.

    The port's handler only queues, in a bounded queue; a thread of the block's own runs the
    graph, so that neither the scheduler's unbounded queue nor a long batch is ever waited on.

    Args:
        name: of the block.
        path: of the graph.
        ports: the input's name and the output's.
        empty: vector of an erased PDU.
        threads: of ONNX Runtime; 0 for half of the cores: head and tail share a machine with
            each other and with the radio.
    """

    _unit = "images"

    def __init__(
        self, name: str, path: Path, ports: tuple[str, str], empty: Any, threads: int
    ) -> None:
        gr.basic_block.__init__(self, name=name, in_sig=None, out_sig=None)
        if threads < 0:
            raise ValueError(f"{name}: threads must be 0 or more, not {threads}")
        self._log = gr.logger(name)
        self._threads = threads or max(1, (os.cpu_count() or 1) // 2)
        self._graph = open_session(path, self._threads)
        self._answer = self._graph.get_outputs()[0].name
        self._question = self._graph.get_inputs()[0].name
        self._in, self._out = map(pmt.intern, ports)
        self._empty = empty
        # A PDU, and whether it counts: an overrun leaves a small erasure in its place.
        self._queue: deque[tuple[Any, bool]] = deque()
        self._waiting = 0
        self._overrun = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._frames = self._items = self._dropped = 0
        self.message_port_register_in(self._in)
        self.message_port_register_out(self._out)
        self.set_msg_handler(self._in, self._enqueue)

    def frames(self) -> int:
        """Batches that the graph has run."""
        return self._frames

    def images(self) -> int:
        """Images in them."""
        return self._items

    def dropped(self) -> int:
        """PDUs that became erasures here, for want of time or of sound data."""
        return self._dropped

    def start(self) -> bool:
        """Called by the scheduler."""
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name=self.name(), daemon=True)
        self._thread.start()
        return True

    def stop(self) -> bool:
        """Called by the scheduler, also when a stream ends: what waits is finished first."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._frames:
            self._log.info(
                f"{self._items} {self._unit} in {self._frames} batches, "
                f"{self._items / self._frames:.1f} {self._unit} a batch; "
                f"{self._dropped} PDUs erased."
            )
        return True

    def _enqueue(self, message: Any) -> None:
        with self._changed:
            fits = self._waiting < pdus.LONGEST_QUEUE
            if not fits:
                metadata, _ = pdus.parts(message)
                self._dropped += 1
                if not self._overrun:
                    self._log.warn("frames come faster than the graph can run: some are erased.")
                message = pmt.cons(pdus.erase(metadata, "overrun"), self._empty)
            self._queue.append((message, fits))
            self._waiting += fits
            self._overrun = not fits  # said once for all frames of an overrun
            self._changed.notify()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not (self._queue or self._stopping):
                    wait = self._patience()
                    if wait is not None and wait <= 0:
                        break
                    self._changed.wait(wait)
                if self._stopping and not self._queue:
                    break
                message, counts = self._queue.popleft() if self._queue else (None, False)
                self._waiting -= counts
            if message is None:
                self._flush()
            else:
                self._take(*pdus.parts(message))
        self._flush()

    def _patience(self) -> float | None:
        """Seconds until :meth:`_flush` is due; None for never."""
        return None

    def _flush(self) -> None:
        """Called when patience has run out."""

    def _take(self, metadata: Any, values: Any) -> None:
        """Handles a PDU."""
        raise NotImplementedError

    def _run(self, values: NDArray[Any]) -> tuple[NDArray[Any], float]:
        """The graph's answer to a batch, and the seconds that it took."""
        started = time.perf_counter()
        answer = self._graph.run([self._answer], {self._question: values})[0]
        self._tally(len(values))
        return answer, time.perf_counter() - started

    def _tally(self, items: int) -> None:
        self._frames += 1
        self._items += items

    def _drop(self, metadata: Any, fault: str) -> None:
        self._dropped += 1
        number = pdus.get(metadata, "frame_number", "without number")
        self._log.warn(f"frame {number} is erased: {fault}.")

    def _publish(self, metadata: Any, vector: Any) -> None:
        self.message_port_pub(self._out, pmt.cons(metadata, vector))


class head(_network):
    """The first part of a split network: images in, slices of the latent out.

    Message input ``images``: PDUs with a u8vector of one or more images, each C x H x W. Images
    of PDUs without ``frame_number`` are gathered into frames of ``batch_size``, numbered from 0,
    and leave at the latest ``timeout_s`` after the first of them came. A PDU with
    ``frame_number`` is a frame of its own and keeps its metadata; gathered frames count on
    from it.

    Message output ``slices``: a PDU a frame with an f32vector of images x S x D values and the
    metadata ``frame_number``, ``images``, ``head_s`` (seconds that the graph took) and ``head_end``
    (``time.perf_counter()`` after it). A PDU that holds no whole images, or that more than 64
    wait before, leaves as an erased frame.

    Args:
        bundle: a :class:`phydnn.bundle.Bundle`, or the path or name of one.
        batch_size: images in a frame.
        timeout_s: seconds for which an image may wait for others.
        threads: of ONNX Runtime; 0 for half of the cores.

    Raises:
        BundleError: the bundle is missing, damaged or not what it says.
        ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        batch_size: int = 64,
        timeout_s: float = 0.05,
        threads: int = 0,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"head: batch_size must be 1 or more, not {batch_size}")
        if not 0 <= timeout_s <= threading.TIMEOUT_MAX:
            raise ValueError(f"head: timeout_s must be 0 or more seconds, not {timeout_s}")
        bundle = loaded(bundle)
        empty = pmt.make_f32vector(0, 0.0)
        super().__init__("head", bundle.head_path, ("images", "slices"), empty, threads)
        self._shape = bundle.input_shape
        self._batch_size, self._timeout_s = batch_size, timeout_s
        self._next_number = 0
        self._gathered: list[NDArray[np.uint8]] = []
        self._deadline = 0.0

    def _patience(self) -> float | None:
        return self._deadline - time.monotonic() if self._gathered else None

    def _flush(self) -> None:
        """Sends the gathered images, whole batches and the rest."""
        if not self._gathered:
            return
        images, self._gathered = np.concatenate(self._gathered), []
        for start in range(0, len(images), self._batch_size):
            self._send(pmt.make_dict(), images[start : start + self._batch_size])

    def _take(self, metadata: Any, values: Any) -> None:
        size = int(np.prod(self._shape))
        numbered = isinstance(pdus.get(metadata, "frame_number"), int)
        fault = ""
        if pdus.erased(metadata):
            fault = pdus.get(metadata, "reason", "lost")
        elif values is None or values.dtype != np.uint8 or not values.size or values.size % size:
            fault = "payload"
            shape = " x ".join(map(str, self._shape))
            self._drop(metadata, f"it must hold a u8vector of whole images of {shape} pixels")
        if fault:
            self._flush()
            metadata = pdus.erase(self._numbered(metadata), fault)
            self._publish(metadata, self._empty)
            return
        images = values.reshape(-1, *self._shape)
        if numbered:
            self._flush()
            self._send(metadata, images)
            return
        if not self._gathered:
            self._deadline = time.monotonic() + self._timeout_s
        self._gathered.append(images)
        waiting = sum(map(len, self._gathered))
        if waiting >= self._batch_size:
            images = np.concatenate(self._gathered)
            whole = waiting - waiting % self._batch_size
            self._gathered = [images[:whole]]
            self._flush()
            if whole < waiting:
                self._gathered = [images[whole:]]
                self._deadline = time.monotonic() + self._timeout_s

    def _numbered(self, metadata: Any) -> Any:
        """Metadata with its own frame number, or the next."""
        number = pdus.get(metadata, "frame_number")
        if not isinstance(number, int):
            number = self._next_number
        self._next_number = number + 1
        return pdus.put(metadata, frame_number=number)

    def _send(self, metadata: Any, images: NDArray[np.uint8]) -> None:
        slices, seconds = self._run(images)
        metadata = pdus.put(
            self._numbered(metadata),
            images=len(images),
            head_s=seconds,
            head_end=time.perf_counter(),
        )
        self._publish(metadata, to_vector(slices))


class tail(_network):
    """The last part of a split network: received slices in, classes out.

    Message input ``slices``: PDUs with an f32vector of images x S x D finite values.

    Message output ``classes``: PDUs with an s32vector, the class of each image, and the metadata of
    the input with ``images``, ``logits`` (f32vector, images x classes) and ``tail_s`` (seconds that
    the graph took). Erased PDUs pass with an empty vector. A PDU that holds no whole images, or
    NaN or infinity, leaves as an erasure with reason ``payload``, more than 64 waiting PDUs with
    reason ``overrun``: each PDU that comes in sends one out, in order.

    Args:
        bundle: a :class:`phydnn.bundle.Bundle`, or the path or name of one.
        threads: of ONNX Runtime; 0 for half of the cores.

    Raises:
        BundleError: the bundle is missing, damaged or not what it says.
        ValueError: a parameter is out of range.
    """

    def __init__(self, bundle: Bundle | str | os.PathLike[str], threads: int = 0) -> None:
        bundle = loaded(bundle)
        empty = pmt.make_s32vector(0, 0)
        super().__init__("tail", bundle.tail_path, ("slices", "classes"), empty, threads)
        self._shape = (bundle.uses, bundle.dim)

    def _take(self, metadata: Any, values: Any) -> None:
        if pdus.erased(metadata):
            self._publish(metadata, self._empty)
            return
        fault = ""
        if (
            values is None
            or values.dtype != np.float32
            or not values.size
            or values.size % (self._shape[0] * self._shape[1])
        ):
            fault = "it must hold an f32vector of whole images of {} slices x {}".format(
                *self._shape
            )
        elif not np.isfinite(values).all():
            fault = "its slices hold NaN or infinity"
        if fault:
            self._drop(metadata, fault)
            self._publish(pdus.erase(metadata, "payload"), self._empty)
            return
        logits, seconds = self._run(values.reshape(-1, *self._shape))
        classes = logits.argmax(1).astype(np.int32)
        metadata = pdus.put(metadata, images=len(classes), logits=to_vector(logits), tail_s=seconds)
        self._publish(metadata, to_vector(classes))
