# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Samples to disk and back: recordings of a link, as SigMF."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pmt

from gnuradio import blocks, gr
from phydnn.errors import InputError, RunError
from phydnn.recording import SAMPLE_BYTES, Frame, Made, Recording, paths, store

from . import pdus

IDLE_S = 0.0002
"""A source that puts nothing out is called again at once: it sleeps between two looks."""


class recorder(gr.hier_block2):
    """Writes a stream to disk and notes where its frames begin.

    Stream input: complex samples, whose tags ``frame_number`` mark the first sample of a frame.

    The samples go to a file beside the recording, which :meth:`finish` makes of it; without that
    call, call :meth:`discard`.

    Args:
        name: of the recording, with or without a suffix; what has this name is replaced.

    Raises:
        InputError: it cannot be written there.
    """

    def __init__(self, name: str | os.PathLike[str]) -> None:
        gr.hier_block2.__init__(
            self, "recorder", gr.io_signature(1, 1, gr.sizeof_gr_complex), gr.io_signature(0, 0, 0)
        )
        self._name = name
        files = paths(name)
        for path in files:
            if path.is_dir():
                raise InputError(f"cannot write {path}: it is a folder")
        data = files[1]
        try:
            data.parent.mkdir(parents=True, exist_ok=True)
            descriptor, part = tempfile.mkstemp(prefix=f".{data.name}.", dir=data.parent)
            os.fchmod(descriptor, 0o644)
            os.close(descriptor)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot write {data}: {error}") from error
        self._part = Path(part)
        self._sink = blocks.file_sink(gr.sizeof_gr_complex, part)
        self._tags = blocks.tag_debug(gr.sizeof_gr_complex, "recorder", "frame_number")
        self._tags.set_display(False)
        self._tags.set_save_all(True)
        self.connect(self, self._sink)
        self.connect(self, self._tags)

    def samples(self) -> int:
        """Samples that were taken so far."""
        return min(self._sink.nitems_read(0), self._tags.nitems_read(0))

    def finish(
        self,
        length: int,
        frames: dict[int, tuple[int, int]],
        sample_rate: float,
        made: Made,
        author: str = "",
        starts: Mapping[int, int] | None = None,
    ) -> None:
        """Makes the recording, once the flowgraph has stopped.

        Args:
            length: samples to keep.
            frames: samples of the burst without and with its gap, by frame number; of these, the
                ones with a tag that lie in the recording are annotated.
            sample_rate: per second.
            made: what made it.
            author: "name <address>".
            starts: where the frames begin, by number, for a stream that came without tags.

        Raises:
            InputError: it cannot be written.
            RunError: the disk did not take all samples.
        """
        self._sink.close()
        if self._part.stat().st_size < length * SAMPLE_BYTES:
            raise RunError(f"{self._name} could not be recorded: the disk took only a part of it")
        os.truncate(self._part, length * SAMPLE_BYTES)
        if starts is None:
            tags = sorted(self._tags.current_tags(), key=lambda tag: tag.offset)
            starts = {pmt.to_long(tag.value): tag.offset for tag in tags}
        annotated = tuple(
            Frame(number, starts[number], *frames[number])
            for number in sorted(starts.keys() & frames.keys())
            if starts[number] + frames[number][0] <= length
        )
        store(
            self._part,
            self._name,
            Recording(self._part, length, sample_rate, made, annotated),
            author,
        )

    def discard(self) -> None:
        """Removes the samples of a recording that was not finished."""
        self._sink.close()
        self._part.unlink(missing_ok=True)


class player(gr.sync_block):
    """Plays a recording, no faster than the link takes its frames.

    Message input ``done``: any message says that a frame has left the link, and lets the samples up
    to the next one but ``in_flight`` out. Message output ``sent``: for each frame {frame_number,
    samples (on air, when it was recorded), released (samples that were let out with it)}. A frame
    that has no annotation has samples and released 0. Stream output: complex samples.

    Args:
        recording: as :func:`phydnn.recording.load` read it.
        in_flight: frames that may be under way at once.

    Attributes:
        fault: what went wrong with the file, if anything did.

    Raises:
        InputError: the file of samples cannot be opened.
    """

    def __init__(self, recording: Recording, in_flight: int = 4) -> None:
        gr.sync_block.__init__(self, name="player", in_sig=None, out_sig=["complex64"])
        self.fault = ""
        try:
            self._file = recording.data.open("rb", buffering=0)
        except OSError as error:
            raise InputError(f"{recording.data} cannot be read ({error.strerror})") from error
        self._recording = recording
        self._frames = {frame.number: frame for frame in recording.frames}
        starts = [frame.start for frame in recording.frames[1:]]
        # The samples from one frame's start to the next's go out together; the first takes those
        # before it along.
        self._ends = dict(zip(self._frames, [*starts, recording.samples], strict=True))
        self._count = recording.made.frames
        self._next = self._position = self._limit = 0
        self._credits = in_flight
        self.message_port_register_out(pmt.intern("sent"))
        self.message_port_register_in(pmt.intern("done"))
        self.set_msg_handler(pmt.intern("done"), self._on_done)

    def stop(self) -> bool:
        """Called by the scheduler."""
        self._file.close()
        return True

    def _on_done(self, _message: Any) -> None:
        self._credits += 1

    def _release(self) -> None:
        frame = self._frames.get(self._next)
        released = 0
        if frame is not None:
            released = self._ends[self._next] - self._limit
            self._limit += released
        sent = pdus.put(
            pmt.make_dict(),
            frame_number=self._next,
            samples=frame.samples_on_air if frame else 0,
            released=released,
        )
        self.message_port_pub(pmt.intern("sent"), sent)
        self._next += 1
        self._credits -= 1

    def work(self, _input_items: Any, output_items: Any) -> int:
        """Called by the scheduler."""
        while self._credits and self._next < self._count:
            self._release()
        out = output_items[0][: self._limit - self._position]
        if not len(out) or self.fault:
            time.sleep(IDLE_S)
            return 0
        read = (self._file.readinto(out.view("u1")) or 0) // SAMPLE_BYTES
        if not read:
            self.fault = f"{self._recording.data} became shorter while it was played"
        self._position += read
        return read
