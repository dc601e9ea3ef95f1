# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""USRPs by gr-uhd: set as a profile says, and watched, so that a trial that does not count says so.

A trial is void where UHD's terminal shows one of these letters, here counted by their source: U
(underrun), L (late command) and S (sequence error) come as asynchronous messages of the sink, O
(overrun) and D (dropped packets) as gaps in the time of the source's samples.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import sys
import threading
from typing import Any

import pmt

from gnuradio import blocks, gr
from phydnn.errors import InputError, RunError
from phydnn.radios import Radio

from . import pdus

LEAD_S = 0.5
"""From the first frame's images to its burst: the head and the way to the device take a while."""
EVENTS = {
    "underflow": "underruns",
    "underflow_in_packet": "underruns",
    "seq_error": "sequence_errors",
    "seq_error_in_burst": "sequence_errors",
    "time_error": "late_commands",
}
"""What UHD's asynchronous messages count as."""
LETTERS = {"U": "underruns", "S": "sequence_errors", "L": "late_commands", "O": "overruns"}
"""What the letters on the terminal count as; D is one of the overruns of :class:`gaps`."""


def _uhd() -> Any:
    try:
        from gnuradio import uhd
    except ImportError as error:
        raise RunError(
            f"link usrp needs gr-uhd, which cannot be imported ({error}): install GNU Radio with it"
        ) from error
    return uhd


def devices(args: str = "") -> list[str]:
    """What ``uhd_find_devices`` shows, an address a device.

    Args:
        args: narrows the search, as in a profile.

    Raises:
        RunError: gr-uhd is not installed.
    """
    uhd = _uhd()
    try:
        return [address.to_string() for address in uhd.find(uhd.device_addr(args))]
    except RuntimeError:
        return []


def _opened(radio: Radio, make: Any) -> Any:
    """A source or a sink of a radio, or one sentence why there is none."""
    try:
        return make()
    except RuntimeError as error:
        there = devices()
        shown = f"it shows {'; '.join(there)}" if there else "it shows no device"
        why = " ".join(str(error).split())
        raise RunError(
            f"radio {radio.name} cannot be opened with '{radio.device_args()}' ({why:.200}): look "
            f"with uhd_find_devices ({shown})"
        ) from error


def _set(block: Any, radio: Radio, gain: float, antenna: str) -> None:
    """Sets one direction of a radio and makes sure that it took the rate."""
    uhd = _uhd()
    for name, choices in (
        ("antenna", list(block.get_antennas(0))),
        ("clock source", list(block.get_clock_sources(0))),
        ("time source", list(block.get_time_sources(0))),
    ):
        wanted = {"antenna": antenna, "clock source": radio.clock_source}.get(
            name, radio.time_source
        )
        if wanted not in choices:
            raise InputError(
                f"radio {radio.name} has no {name} '{wanted}': choose {', '.join(choices)}"
            )
    try:
        # Where there is no choice, some devices take no order either.
        if len(block.get_clock_sources(0)) > 1:
            block.set_clock_source(radio.clock_source, 0)
        if len(block.get_time_sources(0)) > 1:
            block.set_time_source(radio.time_source, 0)
        block.set_samp_rate(radio.sample_rate)
        block.set_center_freq(uhd.tune_request(radio.frequency, radio.lo_offset), 0)
        block.set_gain(gain, 0)
        block.set_antenna(antenna, 0)
        if radio.bandwidth:
            block.set_bandwidth(radio.bandwidth, 0)
        rate = block.get_samp_rate()
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise RunError(f"radio {radio.name} cannot be set as its profile says: {why}") from error
    if not math.isclose(rate, radio.sample_rate, rel_tol=1e-9):
        raise InputError(
            f"radio {radio.name} samples at {rate:g}, not at {radio.sample_rate:g}: set "
            "sample_rate and master_clock_rate to what it can do"
        )


def sink(radio: Radio) -> Any:
    """A ``usrp_sink`` that ends each burst at the sample that its tag ``packet_len`` says.

    Raises:
        InputError: the device cannot be what the profile says.
        RunError: there is no device, or it cannot be set.
    """
    uhd = _uhd()
    stream = uhd.stream_args("fc32", radio.wire_format, uhd.device_addr(""), [0])
    block = _opened(radio, lambda: uhd.usrp_sink(radio.device_args(), stream, "packet_len"))
    _set(block, radio, radio.tx_gain, radio.tx_antenna)
    return block


def source(radio: Radio) -> Any:
    """A ``usrp_source``.

    Raises:
        InputError: the device cannot be what the profile says.
        RunError: there is no device, or it cannot be set.
    """
    uhd = _uhd()
    stream = uhd.stream_args("fc32", radio.wire_format, uhd.device_addr(""), [0])
    block = _opened(radio, lambda: uhd.usrp_source(radio.device_args(), stream))
    _set(block, radio, radio.rx_gain, radio.rx_antenna)
    return block


class events(gr.basic_block):
    """Counts what the sink's port ``async_msgs`` says.

    Message input ``events``.

    Attributes:
        counts: by the names of EVENTS, and ``bursts_acknowledged``.
    """

    def __init__(self) -> None:
        gr.basic_block.__init__(self, name="events", in_sig=None, out_sig=None)
        self.counts = dict.fromkeys(EVENTS.values(), 0) | {"bursts_acknowledged": 0}
        self.message_port_register_in(pmt.intern("events"))
        self.set_msg_handler(pmt.intern("events"), self._on_event)

    def _on_event(self, message: Any) -> None:
        if not (pmt.is_pair(message) and pmt.is_dict(pmt.cdr(message))):
            return
        codes = pmt.dict_ref(pmt.cdr(message), pmt.intern("event_code"), pmt.PMT_NIL)
        while pmt.is_pair(codes):
            name = pmt.to_python(pmt.car(codes))
            codes = pmt.cdr(codes)
            if name == "burst_ack":
                self.counts["bursts_acknowledged"] += 1
            elif name in EVENTS:
                self.counts[EVENTS[name]] += 1


class gaps(gr.hier_block2):
    """Counts the samples that a source lost.

    Stream input: its samples, whose tags ``rx_time`` say when the first one was taken, and the
    first one after each loss.

    Args:
        sample_rate: per second.
    """

    def __init__(self, sample_rate: float) -> None:
        gr.hier_block2.__init__(
            self, "gaps", gr.io_signature(1, 1, gr.sizeof_gr_complex), gr.io_signature(0, 0, 0)
        )
        self._rate = sample_rate
        self._tags = blocks.tag_debug(gr.sizeof_gr_complex, "gaps", "rx_time")
        self._tags.set_display(False)
        self._tags.set_save_all(True)
        self.connect(self, self._tags)

    def counts(self) -> dict[str, int]:
        """``overruns`` and ``samples_lost`` in them."""
        times = sorted(
            (tag.offset, pmt.to_uint64(pmt.tuple_ref(tag.value, 0)),
             pmt.to_double(pmt.tuple_ref(tag.value, 1)))
            for tag in self._tags.current_tags()
        )  # fmt: skip
        lost = 0
        for (offset, whole, part), (after, whole_after, part_after) in itertools.pairwise(times):
            # Whole seconds apart, for the sake of a sample's time after days of them.
            passed = (whole_after - whole + part_after - part) * self._rate
            lost += max(0, round(passed) - (after - offset))
        return {"overruns": max(0, len(times) - 1), "samples_lost": lost}


class timer(gr.basic_block):
    """Gives each frame the time at which its burst is to leave.

    Message input ``images``, output ``images``: PDUs, to which ``tx_time`` is added: ``period_s``
    after the last one's, the first :data:`LEAD_S` after now.

    Args:
        clock: a ``usrp_sink``, whose time it is.
        sample_rate: of the sink; each time is that of a sample.
        period_s: from one burst to the next, rounded to whole samples.
    """

    def __init__(self, clock: Any, sample_rate: float, period_s: float) -> None:
        gr.basic_block.__init__(self, name="timer", in_sig=None, out_sig=None)
        self._clock, self._rate = clock, sample_rate
        self._period = round(period_s * sample_rate)
        self._next: int | None = None
        self.message_port_register_in(pmt.intern("images"))
        self.message_port_register_out(pmt.intern("images"))
        self.set_msg_handler(pmt.intern("images"), self._on_images)

    def _on_images(self, message: Any) -> None:
        if self._next is None:
            now = self._clock.get_time_now().get_real_secs()
            self._next = math.ceil((now + LEAD_S) * self._rate)
        whole = int(self._next // self._rate)
        when = pmt.make_tuple(
            pmt.from_uint64(whole), pmt.from_double(self._next / self._rate - whole)
        )
        self._next += self._period
        metadata = pdus.put(pmt.car(message), tx_time=when)
        self.message_port_pub(pmt.intern("images"), pmt.cons(metadata, pmt.cdr(message)))


class letters:
    """Counts the letters that UHD writes to the terminal, while it is entered as a context.

    What is written to stderr passes through a pipe, and on.

    Attributes:
        counts: how many of each of UOLDS there were.
    """

    _RUN = re.compile(rb"[UOLDS]+")

    def __init__(self) -> None:
        self.counts = dict.fromkeys("UOLDS", 0)

    def __enter__(self) -> letters:
        sys.stderr.flush()
        self._terminal = os.dup(2)
        reading, writing = os.pipe()
        os.dup2(writing, 2)
        os.close(writing)
        self._thread = threading.Thread(target=self._pass_on, args=(reading,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        sys.stderr.flush()
        os.dup2(self._terminal, 2)  # closes the pipe's end, which ends the thread
        self._thread.join()
        os.close(self._terminal)

    def _pass_on(self, reading: int) -> None:
        # UHD writes each letter by itself; a run of them is what came between two reads.
        while written := os.read(reading, 4096):
            for line in written.split(b"\n"):
                if self._RUN.fullmatch(line):
                    for letter in line.decode():
                        self.counts[letter] += 1
            os.write(self._terminal, written)
        os.close(reading)
