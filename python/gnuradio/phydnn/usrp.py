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
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from gnuradio import analog, blocks, gr
from phydnn.errors import InputError, RunError
from phydnn.radios import Radio, Tone, measure_tone

from . import pdus

LEAD_S = 0.5
"""From the first frame's symbols to its burst: the way to the device takes a while."""
PATIENCE_S = 60.0
"""How long a calibration waits for a radio to take or give samples."""
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
    # UHD reads this when it is loaded; its greetings are no errors.
    os.environ.setdefault("UHD_LOG_CONSOLE_LEVEL", "warning")
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
        if not (there := devices(radio.args)):
            others = "; ".join(devices()) or "none at all"
            raise RunError(
                f"radio {radio.name} is not there: uhd_find_devices shows no device for "
                f"'{radio.args}' ({others})"
            ) from error
        raise RunError(
            f"radio {radio.name} cannot be opened though uhd_find_devices shows it "
            f"({'; '.join(there)}): {' '.join(str(error).split()):.200}"
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


def sink(radio: Radio, length_tag: str = "packet_len") -> Any:
    """A ``usrp_sink``.

    Args:
        radio: the profile.
        length_tag: by which each burst ends at its sample; empty for a stream without end.

    Raises:
        InputError: the device cannot be what the profile says.
        RunError: there is no device, or it cannot be set.
    """
    uhd = _uhd()
    stream = uhd.stream_args("fc32", radio.wire_format, uhd.device_addr(""), [0])
    block = _opened(radio, lambda: uhd.usrp_sink(radio.device_args(), stream, length_tag))
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


def set_up(sink: Any) -> None:
    """Sets a sink's stream up, before a source streams: UHD gives a busy device no time for it.

    Raises:
        RunError: the device does not answer.
    """
    try:
        sink.start()
    except RuntimeError as error:
        raise RunError(f"the radio cannot be set up to send: {error}") from error


def paced(radio: Radio) -> list[Any]:
    """The blocks between a radio's source and what takes its samples: none, but for its pace."""
    return [blocks.throttle(gr.sizeof_gr_complex, radio.pace)] if radio.pace else []


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

    Message input ``symbols``, output ``symbols``: PDUs, to which ``tx_time`` is added: ``period_s``
    after the last one's, the first :data:`LEAD_S` after now.

    Args:
        clock: says what time it is in the radio, in seconds.
        sample_rate: of the sink; each time is that of a sample.
        period_s: from one burst to the next, rounded to whole samples.
    """

    def __init__(self, clock: Callable[[], float], sample_rate: float, period_s: float) -> None:
        gr.basic_block.__init__(self, name="timer", in_sig=None, out_sig=None)
        self._clock, self._rate = clock, sample_rate
        self._period = round(period_s * sample_rate)
        self._next: int | None = None
        self.message_port_register_in(pmt.intern("symbols"))
        self.message_port_register_out(pmt.intern("symbols"))
        self.set_msg_handler(pmt.intern("symbols"), self._on_symbols)

    def _on_symbols(self, message: Any) -> None:
        if self._next is None:
            self._next = math.ceil((self._clock() + LEAD_S) * self._rate)
        whole = int(self._next // self._rate)
        when = pmt.make_tuple(
            pmt.from_uint64(whole), pmt.from_double(self._next / self._rate - whole)
        )
        self._next += self._period
        metadata = pdus.put(pmt.car(message), tx_time=when)
        self.message_port_pub(pmt.intern("symbols"), pmt.cons(metadata, pmt.cdr(message)))


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


class capture(gr.sync_block):
    """Keeps stretches of a stream, and drops the rest.

    Stream input: complex samples.
    """

    def __init__(self) -> None:
        gr.sync_block.__init__(self, name="capture", in_sig=["complex64"], out_sig=None)
        self._wanted = np.zeros(0, np.complex64)
        self._skip = 0
        self._filled = 0
        self._full = threading.Event()

    def take(self, count: int, skip: int, patience_s: float) -> NDArray[np.complex64]:
        """The next ``count`` samples but ``skip``.

        Raises:
            RunError: they did not come in so many seconds.
        """
        self._full.clear()
        self._filled = 0
        self._skip = skip
        self._wanted = np.zeros(count, np.complex64)
        if not self._full.wait(patience_s):
            raise RunError(f"the radio gave no {count} samples in {patience_s:.0f} s")
        return self._wanted

    def work(self, input_items: Any, _output_items: Any) -> int:
        """Called by the scheduler."""
        samples = input_items[0]
        if not self._full.is_set():
            skipped = min(self._skip, len(samples))
            self._skip -= skipped
            part = samples[skipped : skipped + len(self._wanted) - self._filled]
            self._wanted[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            if self._filled == len(self._wanted):
                self._full.set()
        return len(samples)


class calibration:
    """A tone from a radio, to a radio, or both: what was received with each gain.

    A context: the radios run while it is entered.

    Args:
        radio: the profile.
        sends, receives: which of its ways are used.
        offset_hz: of the tone from the carrier.
        amplitude: of the tone, full scale being 1.
    """

    def __init__(
        self, radio: Radio, sends: bool, receives: bool, offset_hz: float, amplitude: float
    ) -> None:
        self._radio, self._top = radio, gr.top_block("calibration")
        self._sink = self._source = None
        self._capture = capture()
        if sends:
            self._sink = sink(radio, "")
            tone = analog.sig_source_c(
                radio.sample_rate, analog.GR_COS_WAVE, offset_hz, amplitude, 0
            )
            self._top.connect(tone, self._sink)
        if receives:
            self._source = source(radio)
            self._top.connect(self._source, *paced(radio), self._capture)
        if self._sink is not None:
            set_up(self._sink)

    def __enter__(self) -> calibration:
        start(self._top)
        deadline = time.monotonic() + PATIENCE_S
        while self._sink is not None and not self._sink.nitems_read(0):
            if time.monotonic() > deadline:
                self.__exit__()
                raise RunError(f"radio {self._radio.name} took no sample in {PATIENCE_S:.0f} s")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._top.stop()
        self._top.wait()

    def measure(self, tx_gain: float | None = None, rx_gain: float | None = None) -> Tone:
        """The tone, after its gains have settled; None leaves a gain as it is.

        Raises:
            RunError: the radio gives no samples.
        """
        if tx_gain is not None and self._sink is not None:
            self._sink.set_gain(tx_gain, 0)
        if rx_gain is not None and self._source is not None:
            self._source.set_gain(rx_gain, 0)
        # A tenth of a second for gains and buffers, however long it takes the device.
        samples = self._capture.take(1 << 16, int(0.1 * self._radio.sample_rate), PATIENCE_S)
        return measure_tone(samples, self._radio.sample_rate)


def start(top: Any, patience_s: float = 30.0) -> None:
    """Starts a flowgraph, unless a device refuses.

    GNU Radio waits for ever where one block of several cannot be started.

    Raises:
        RunError: it has not begun after so many seconds.
    """
    starter = threading.Thread(target=top.start, name="start", daemon=True)
    starter.start()
    starter.join(patience_s)
    if starter.is_alive():
        raise RunError(
            f"the flowgraph could not be started within {patience_s:g} s: GNU Radio's log says "
            "which device refused"
        )
