# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Where the images come from."""

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


class image_source(gr.basic_block):
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
        gr.basic_block.__init__(self, name="image_source", in_sig=None, out_sig=None)
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("in_flight", in_flight, 0),
            ("passes", passes, 0),
            ("flush", flush, 0),
        ):
            if value < least:
                raise ValueError(f"image_source: {name} must be {least} or more, not {value}")
        if not 0 <= interval_s <= threading.TIMEOUT_MAX:
            raise ValueError(f"image_source: interval_s must be 0 or more, not {interval_s}")
        bundle = loaded(bundle)
        self._images = load(data, "test", bundle.input_shape) if isinstance(data, str) else data
        if self._images.x.shape[1:] != bundle.input_shape or not len(self._images):
            raise ValueError(
                f"image_source: images of {self._images.x.shape} do not fit bundle {bundle.name}, "
                f"which takes {bundle.input_shape}"
            )
        self._batch_size, self._in_flight = batch_size, in_flight
        self._interval_s, self._passes, self._flush = interval_s, passes, flush
        self._frames = 0
        self._credits = threading.Semaphore(in_flight)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.message_port_register_out(pmt.intern("images"))
        self.message_port_register_in(pmt.intern("done"))
        self.set_msg_handler(pmt.intern("done"), self._on_done)

    def frames(self) -> int:
        """Frames that have left."""
        return self._frames

    def start(self) -> bool:
        """Called by the scheduler."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._serve, name="image_source", daemon=True)
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

    def _serve(self) -> None:
        starts = range(0, len(self._images), self._batch_size)
        for a_pass in range(self._passes) if self._passes else itertools.count():
            for start in starts:
                self._credits.acquire()
                if self._stopping.wait(self._interval_s if self._frames else 0):
                    return
                last = a_pass == self._passes - 1 and start == starts[-1]
                self._publish(slice(start, start + self._batch_size), last)

    def _publish(self, part: slice, last: bool) -> None:
        x, y = self._images.x[part], self._images.y
        metadata: Any = pdus.put(pmt.make_dict(), frame_number=self._frames, images=len(x))
        if last and self._flush:
            metadata = pdus.put(metadata, gap=self._flush)
        if y is not None:
            metadata = pdus.put(metadata, labels=to_vector(y[part].astype(np.int32)))
        self._frames += 1
        pixels = to_vector(np.ascontiguousarray(x))
        self.message_port_pub(pmt.intern("images"), pmt.cons(metadata, pixels))
