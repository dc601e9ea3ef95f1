# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Where the frames come from."""

from __future__ import annotations

import itertools
import os
import threading
from typing import Any

import numpy as np
import pmt

from gnuradio import gr
from phydnn.bundle import Bundle
from phydnn.datasets import Images, load

from . import pdus
from .networks import loaded
from .phydnn_python import to_vector


class paced_source(gr.basic_block):
    """The base of sources: frames by a thread of its own, no faster than the link takes them.

    Message input ``done``: any message says that a frame has left the link, and lets the next one
    out.

    Args:
        name: of the block.
        port: the message output's name.
        in_flight: frames that may be under way at once; 0 where the first ones wait for ``done``,
            too.
        interval_s: seconds from one frame to the next, at least.
        passes: how often all frames are sent; 0 for no end.
        flush: zeros after the last frame of all, in place of the transmitter's gap; 0 for none.

    Raises:
        ValueError: a parameter is out of range.
    """

    def __init__(
        self, name: str, port: str, in_flight: int, interval_s: float, passes: int, flush: int
    ) -> None:
        gr.basic_block.__init__(self, name=name, in_sig=None, out_sig=None)
        for argument, value in (("in_flight", in_flight), ("passes", passes), ("flush", flush)):
            if value < 0:
                raise ValueError(f"{name}: {argument} must be 0 or more, not {value}")
        if not 0 <= interval_s <= threading.TIMEOUT_MAX:
            raise ValueError(f"{name}: interval_s must be 0 or more, not {interval_s}")
        self._interval_s, self._passes, self._flush = interval_s, passes, flush
        self._frames = 0
        self._credits = threading.Semaphore(in_flight)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._port = pmt.intern(port)
        self.message_port_register_out(self._port)
        self.message_port_register_in(pmt.intern("done"))
        self.set_msg_handler(pmt.intern("done"), self._on_done)

    def frames(self) -> int:
        """Frames that have left."""
        return self._frames

    def start(self) -> bool:
        """Called by the scheduler."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._serve, name=self.name(), daemon=True)
        self._thread.start()
        return True

    def stop(self) -> bool:
        """Called by the scheduler."""
        self._stopping.set()
        self._credits.release()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return True

    def _on_done(self, _message: Any) -> None:
        self._credits.release()

    def _count(self) -> int:
        """Frames of a pass."""
        raise NotImplementedError

    def _frame(self, index: int) -> tuple[Any, Any]:
        """The metadata and the vector of a pass's frame."""
        raise NotImplementedError

    def _serve(self) -> None:
        count = self._count()
        for a_pass in range(self._passes) if self._passes else itertools.count():
            for index in range(count):
                self._credits.acquire()
                if self._stopping.wait(self._interval_s if self._frames else 0):
                    return
                metadata, vector = self._frame(index)
                metadata = pdus.put(metadata, frame_number=self._frames)
                if self._flush and a_pass == self._passes - 1 and index == count - 1:
                    metadata = pdus.put(metadata, gap=self._flush)
                self._frames += 1
                self.message_port_pub(self._port, pmt.cons(metadata, vector))


class image_source(paced_source):
    """Frames of images from a data set, no faster than the link takes them.

    Message output ``images``: PDUs with a u8vector of images x C x H x W pixels and the metadata
    ``frame_number`` (from 0), ``images`` and, where the images have labels, ``labels`` (s32vector).

    Message input ``done``: any message says that a frame has left the link, and lets the next one
    out. Connect ``sent`` of the transmitter, or ``classes`` of the tail.

    Args:
        bundle: a :class:`phydnn.bundle.Bundle`, or the path or name of one; gives the shape.
        data: what :func:`phydnn.datasets.load` takes (its test split), or images themselves.
        batch_size: images in a frame.
        in_flight: frames that may be under way at once; 0 where the first ones wait for ``done``,
            too.
        interval_s: seconds from one frame to the next, at least.
        passes: how often all images are sent, the last frame of each pass holding what is left; 0
            for no end.
        flush: zeros after the last frame of all, in place of the transmitter's gap; they push it
            through whatever delays the link; 0 for none.

    Raises:
        InputError: the bundle or the data set is broken, or its images have another shape.
        ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        data: Images | str = "digits",
        batch_size: int = 64,
        in_flight: int = 4,
        interval_s: float = 0.0,
        passes: int = 1,
        flush: int = 0,
    ) -> None:
        super().__init__("image_source", "images", in_flight, interval_s, passes, flush)
        if batch_size < 1:
            raise ValueError(f"image_source: batch_size must be 1 or more, not {batch_size}")
        bundle = loaded(bundle)
        self._images = load(data, "test", bundle.input_shape) if isinstance(data, str) else data
        if self._images.x.shape[1:] != bundle.input_shape or not len(self._images):
            raise ValueError(
                f"image_source: images of {self._images.x.shape} do not fit bundle {bundle.name}, "
                f"which takes {bundle.input_shape}"
            )
        self._batch_size = batch_size

    def _count(self) -> int:
        return -(-len(self._images) // self._batch_size)

    def _frame(self, index: int) -> tuple[Any, Any]:
        part = slice(index * self._batch_size, (index + 1) * self._batch_size)
        x, y = self._images.x[part], self._images.y
        metadata: Any = pdus.put(pmt.make_dict(), images=len(x))
        if y is not None:
            metadata = pdus.put(metadata, labels=to_vector(y[part].astype(np.int32)))
        return metadata, to_vector(np.ascontiguousarray(x))
