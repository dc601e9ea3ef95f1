# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The accounts of a link: what became of every frame, at one end or at both."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from gnuradio import gr
from phydnn.channels import ChannelSpec

from . import pdus
from .jobs import Job

HELD_BACK = 64
"""Samples that the channel's filters may keep at the end of a stream; less than the gap."""
MAPPED = frozenset({"mapped"})
SENT = frozenset({"sent"})
RECEIVED = frozenset({"raw", "csi", "symbols", "demapped", "results"})
"""The ports of the ends: of a job's source, of the transmitter, of the receiver and the sink."""
_UNKNOWN, _ERASED, _DONE = range(3)


@dataclass
class Snapshot:
    """The first frame that arrived, for a picture.

    Attributes:
        raw: the resource grid before the equalizer, complex64 [symbols, subcarriers].
        symbols: the payload after it, complex64 [uses].
        ls, refined: its channel estimates, complex64 [DMRS, subcarriers].
    """

    raw: NDArray[np.complex64] | None = None
    symbols: NDArray[np.complex64] | None = None
    ls: NDArray[np.complex64] | None = None
    refined: NDArray[np.complex64] | None = None


def subcarriers_of(waveform: Any) -> NDArray[np.int64]:
    """Indices of the used subcarriers, from the lowest frequency; 0, the carrier, is not used."""
    half = waveform.used // 2
    return np.concatenate([np.arange(-half, 0), np.arange(1, half + 1)])


def response_of(
    spec: ChannelSpec, waveform: Any, sample_rate: float
) -> NDArray[np.complex128] | None:
    """The channel at the used subcarriers, where it is the same for all frames."""
    k = subcarriers_of(waveform)
    if spec.model == "awgn":
        return np.ones(len(k), np.complex128)
    if spec.fading != "static":
        return None
    cycles = np.outer(k * (sample_rate / waveform.fft_size), spec.delays)
    return np.exp(-2j * np.pi * cycles) @ np.asarray(spec.gains)


def csi_error(
    estimate: NDArray[np.complexfloating[Any, Any]],
    truth: NDArray[np.complexfloating[Any, Any]],
    subcarriers: NDArray[np.integer[Any]],
) -> float:
    """Mean squared error of channel estimates, relative to the channel's mean power.

    Each estimate may differ from the truth by a common phase and delay, which timing and carrier
    offset choose and the equalizer takes back: both are fitted.

    Args:
        estimate: [rows, subcarriers].
        truth: [subcarriers].
        subcarriers: their indices; neighbours differ by 1 but across the carrier.
    """
    truth = truth.astype(np.complex128)
    weights = np.abs(truth) ** 2
    adjacent = np.diff(subcarriers) == 1
    errors = []
    for row in estimate.astype(np.complex128):
        # The delay in two steps: from neighbours without ambiguity, then from the whole band.
        ratio = row * truth.conj()
        turn = np.angle(np.sum((ratio[1:] * ratio[:-1].conj())[adjacent]))
        ratio = ratio * np.exp(-1j * turn * subcarriers)
        phase = np.angle(ratio.sum())
        rest = np.angle(ratio * np.exp(-1j * phase))
        turn += np.sum(weights * subcarriers * rest) / np.sum(weights * subcarriers**2)
        aligned = row * np.exp(-1j * turn * subcarriers)
        phase = np.angle(np.vdot(truth, aligned))
        errors.append(np.mean(np.abs(aligned * np.exp(-1j * phase) - truth) ** 2))
    return float(np.mean(errors) / weights.mean())


@dataclass
class _Frame:
    """What is known of a frame that is under way."""

    number: int
    items: int
    seen: set[str] = field(default_factory=set)
    complete: bool = False
    reason: str = ""
    payload: NDArray[np.complex64] | None = None
    symbols: NDArray[np.complex64] | None = None
    refined: NDArray[np.complex64] | None = None
    stamps: dict[str, float] = field(default_factory=dict)


_MEASURED = ("error", "power", "snr_db", "csi_error", "head", "map", "receive", "tail")
_SETTLED = np.dtype(
    [("state", "u1"), ("reason", "u1"), ("start", "i8"), ("samples", "i8")]
    + [(name, "f8") for name in _MEASURED]
)
"""What is kept of each frame to the end."""


class ledger(gr.basic_block):
    """Keeps account of every frame, at the ends that it listens to.

    Message inputs: ``mapped``, the symbols of the job's source; ``sent`` of the transmitter;
    ``raw``, ``csi`` and ``symbols`` of the receiver; ``demapped`` and ``results`` of the job's
    sink. Message output ``done``: lets a frame out.

    The messages about a frame come from several threads, in any order. A frame is settled when
    the last of them is there, and what is measured is summed by frame number in the end: so no
    result depends on the scheduler. The handlers only note what came and when; the thread that
    calls :meth:`settle` does the sums. What is kept of a settled frame is a row of numbers: memory
    stays flat however long the link runs.

    Args:
        job: what the frames hold; it takes in their results.
        waveform: its dimensions.
        ports: those that are listened to: MAPPED, SENT and RECEIVED, or some of them.
        passes: how often all items are sent.
        response: the channel at the used subcarriers, complex [subcarriers], where it is known.
        window: frames that may be under way at once, the next one leaving when one is settled; 0
            where it leaves when one has been sent, whatever becomes of that.
        flush: samples of the last frame that only push the others out.

    Attributes:
        results: frames that came out of the receiver, whatever became of them.
        snapshot: of the first frame that arrived.
        changed: set when there is something to settle.
        job: whose frames they are.
        items_done, items_lost: of the frames that are settled.
        samples: that were let out.
        repeated, unknown: frames that came though they had arrived, or that are none of these.
    """

    def __init__(
        self,
        job: Job,
        waveform: Any,
        ports: frozenset[str],
        *,
        passes: int = 1,
        response: NDArray[np.complex128] | None = None,
        window: int = 0,
        flush: int = 0,
    ) -> None:
        gr.basic_block.__init__(self, name="ledger", in_sig=None, out_sig=None)
        self.snapshot = Snapshot()
        self.changed = threading.Event()
        self.items_done = self.items_lost = self.samples = 0
        self.repeated = self.unknown = self.results = 0
        self.job = job
        self._waveform, self._response, self._ports = waveform, response, ports
        self._flush = flush
        self._subcarriers = subcarriers_of(waveform)
        # Written to at once: a long run takes at its start the memory that it will need.
        self._settled = np.empty(passes * job.frames, _SETTLED)
        self._settled[...] = np.zeros((), _SETTLED)
        self._reasons = [""]
        self._paced = window > 0
        self._under_way: dict[int, _Frame] = {}
        self._issued = 0
        for _ in range(window):
            self._issue()
        self._complete: list[_Frame] = []
        self._lock = threading.Lock()
        self.message_port_register_out(pmt.intern("done"))
        for port in sorted(MAPPED | SENT | RECEIVED):
            self.message_port_register_in(pmt.intern(port))
            self.set_msg_handler(pmt.intern(port), self._listener(port))

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self._settled)

    @property
    def items(self) -> int:
        """How many there are in all frames."""
        return self.frames // self.job.frames * self.job.count

    def open(self, frames: int) -> None:
        """Lets frames out: the first ones, and then one for each that is done."""
        for _ in range(frames):
            self.message_port_pub(pmt.intern("done"), pmt.PMT_T)

    def _issue(self) -> None:
        """The next frame of a paced link may be heard of."""
        if self._issued < self.frames:
            self._begin(self._issued)
            self._issued += 1

    def _begin(self, number: int) -> _Frame:
        items = self.job.items(number)
        frame = _Frame(number, items.stop - items.start)
        self._under_way[number] = frame
        return frame

    def _frame(self, number: int, port: str, erased: bool) -> _Frame | None:
        """The frame that a message is about, unless it is over."""
        frame = self._under_way.get(number)
        if frame is None and not self._paced:
            if not 0 <= number < self.frames:
                self.unknown += port == "results"
                return None
            state = self._settled["state"][number]
            if state == _UNKNOWN:
                frame = self._begin(number)
            elif state == _ERASED and not erased:
                # A sender that began anew makes good what was lost.
                frame = self._begin(number)
                self._settled["state"][number] = _UNKNOWN
                self.items_done -= frame.items
                self.items_lost -= frame.items
            else:
                self.repeated += port == "results"
        return None if frame is None or frame.complete else frame

    def _listener(self, port: str) -> Callable[[Any], None]:
        handler: Callable[[_Frame, Any, Any], None] = getattr(self, f"_on_{port}")

        def listen(message: Any) -> None:
            # `sent` and `csi` are dicts without a vector; a dict is a pair, too.
            if pmt.is_pair(message) and pmt.is_dict(pmt.car(message)):
                metadata, values = pdus.parts(message)
            else:
                metadata, values = message, None
            with self._lock:
                self.results += port == "results"
                number = pdus.get(metadata, "frame_number", -1)
                frame = self._frame(number, port, pdus.erased(metadata))
                if frame is None:
                    return
                handler(frame, metadata, values)
                frame.seen.add(port)
                if self._is_complete(frame):
                    frame.complete = True
                    self._complete.append(frame)
                    self.changed.set()

        # GNU Radio finds handlers by name.
        listen.__name__ = f"_hear_{port}"
        setattr(self, listen.__name__, listen)
        return listen

    def _is_complete(self, frame: _Frame) -> bool:
        # An erasure has no channel estimate.
        expected = self._ports - {"csi"} if frame.reason else self._ports
        return expected <= frame.seen

    def _on_mapped(self, frame: _Frame, metadata: Any, values: Any) -> None:
        row = self._settled[frame.number]
        row["head"] = pdus.get(metadata, "head_s", math.nan)
        row["map"] = time.perf_counter() - pdus.get(metadata, "head_end", math.nan)
        if self._ports >= RECEIVED:
            frame.payload = values

    def _on_sent(self, frame: _Frame, metadata: Any, _values: Any) -> None:
        samples = pdus.get(metadata, "samples", 0)
        self._settled["samples"][frame.number] = samples
        self.samples += pdus.get(metadata, "released", samples)
        if not self._paced:
            self.open(1)

    def _on_raw(self, frame: _Frame, metadata: Any, values: Any) -> None:
        frame.stamps["raw"] = time.perf_counter()
        self._settled["start"][frame.number] = pdus.get(metadata, "sample_index", 0)
        if self.snapshot.raw is None and not pdus.erased(metadata):
            self.snapshot.raw = values.reshape(-1, self._waveform.used)

    def _on_csi(self, frame: _Frame, metadata: Any, _values: Any) -> None:
        shape = (pdus.get(metadata, "pilots"), pdus.get(metadata, "subcarriers"))
        frame.refined = pdus.get(metadata, "refined").reshape(shape)
        self._settled["snr_db"][frame.number] = pdus.get(metadata, "snr_db")
        if self.snapshot.refined is None:
            self.snapshot.ls = pdus.get(metadata, "ls").reshape(shape)
            self.snapshot.refined = frame.refined

    def _on_symbols(self, frame: _Frame, metadata: Any, values: Any) -> None:
        frame.symbols = values
        if self.snapshot.symbols is None and not pdus.erased(metadata):
            self.snapshot.symbols = values

    def _on_demapped(self, frame: _Frame, _metadata: Any, _values: Any) -> None:
        frame.stamps["demapped"] = time.perf_counter()

    def _on_results(self, frame: _Frame, metadata: Any, values: Any) -> None:
        self._settled["tail"][frame.number] = pdus.get(metadata, "tail_s", math.nan)
        if pdus.erased(metadata):
            frame.reason = pdus.get(metadata, "reason", "lost")
        elif not self.job.take(frame.number, values):
            frame.reason = "payload"
        else:
            self._settled["reason"][frame.number] = 0

    def settle(self) -> None:
        """Settles the frames of which all is known."""
        self.changed.clear()
        with self._lock:
            complete, self._complete = self._complete, []
        for frame in complete:
            self._settle(frame)

    def _settle(self, frame: _Frame) -> None:
        """Measures a frame and lets the next one out."""
        row = self._settled[frame.number]
        if frame.reason:
            if frame.reason not in self._reasons:
                self._reasons.append(frame.reason)
            row["reason"] = self._reasons.index(frame.reason)
        elif self._ports >= RECEIVED:
            row["receive"] = frame.stamps["demapped"] - frame.stamps["raw"]
            assert frame.refined is not None
            if frame.payload is not None:
                assert frame.symbols is not None
                error, payload = frame.symbols - frame.payload, frame.payload
                row["error"] = np.vdot(error, error).real
                row["power"] = np.vdot(payload, payload).real
            if self._response is not None:
                row["csi_error"] = csi_error(frame.refined, self._response, self._subcarriers)
        with self._lock:
            row["state"] = _ERASED if frame.reason else _DONE
            del self._under_way[frame.number]
            if self._paced:
                self._issue()
            self.items_done += frame.items
            self.items_lost += frame.items if frame.reason else 0
        if self._paced:
            self.open(1)

    def give_up_lost(self, synchronizer: Any, sfo_ppm: float) -> None:
        """Settles the frames of a paced link that can come no more.

        That is known without a clock: all frames that were let out are on air, the synchronizer has
        seen the last of their samples, and whatever it made of them has reached the ledger.
        """
        with self._lock:
            sending = self._ports - RECEIVED
            if not all(frame.seen >= sending for frame in self._under_way.values()):
                return
            counts = synchronizer.counts()
            seen = counts["samples"] >= self.samples / (1 + 1e-6 * sfo_ppm) - HELD_BACK
            made = sum(counts[name] for name in ("frames", "lost", "bundle_mismatches", "cut"))
            if not seen or made != self.results:
                return
            lost = [frame for frame in self._under_way.values() if "results" not in frame.seen]
        for frame in lost:
            frame.reason = "lost"
            self._settle(frame)

    def give_up(self) -> None:
        """Settles all frames that are not there yet as lost: the link has ended."""
        self.settle()
        with self._lock:
            rest = [
                self._under_way.get(number) or self._begin(number)
                for number in np.flatnonzero(self._settled["state"] == _UNKNOWN).tolist()
            ]
            for frame in rest:
                frame.complete = True
        for frame in rest:
            frame.reason = "lost"
            self._settle(frame)

    def bursts(self) -> dict[int, tuple[int, int]]:
        """Samples of each frame, without and with its gap, by number.

        Of those that were sent; where nobody listens to the sender, of those that arrived, and
        without a gap.
        """
        bursts = {}
        for number, row in enumerate(self._settled):
            burst = self._waveform.frame_samples(self._uses_of(number))
            if row["samples"]:
                bursts[number] = (burst, int(row["samples"]))
            elif row["state"] == _DONE and not self._ports >= SENT:
                bursts[number] = (burst, burst)
        return bursts

    def starts(self) -> dict[int, int]:
        """Where the frames that arrived begin in the receiver's samples, by number."""
        arrived = np.flatnonzero(self._settled["state"] == _DONE)
        return {n: int(self._settled["start"][n]) for n in arrived.tolist()}

    def _uses_of(self, number: int) -> int:
        return int(self.job.uses[number % self.job.frames])

    def record(self, sample_rate: float) -> dict[str, Any]:
        """The keys of the results that come from counting, by frame number.

        Those of the ports that were listened to: with ``sent`` the samples on air and the like,
        with the receiver's the frames lost, and those of both ends with both.
        """
        record: dict[str, Any] = {}
        stages: dict[str, NDArray[np.float64]] = {}
        rows = np.ones(self.frames, bool)
        if self._ports >= SENT:
            sent = self._settled["samples"] > 0
            uses = [self._uses_of(number) for number in np.flatnonzero(sent).tolist()]
            side = sum(
                self._waveform.header_symbols + self._waveform.pilot_symbols(n) for n in uses
            )
            record = {
                "channel_uses": sum(uses),
                "samples_on_air": int(self._settled["samples"].sum()),
                "bytes_on_air": -(-side * self._waveform.used // 8),
                "frames_sent": int(sent.sum()),
            }
            rows &= sent
        if self._ports >= RECEIVED:
            received = self._settled["state"] == _DONE
            reasons = Counter(self._reasons[i] for i in self._settled["reason"][~received].tolist())
            record["frames_lost"] = int((~received).sum())
            record["erasures"] = dict(sorted(reasons.items()))
            if not self._paced:
                record["frames_repeated"] = self.repeated
                record["frames_unknown"] = self.unknown
            rows = received
        if not rows.any():
            return record
        column = {name: self._settled[name][rows] for name in _SETTLED.names or ()}
        total = {name: sum(values.tolist()) for name, values in column.items()}
        if self._ports >= MAPPED:
            stages |= {"head": column["head"], "map": column["map"]}
        if self._ports >= SENT:
            stages["air"] = column["samples"] / sample_rate
            if rows[-1]:
                stages["air"][-1] -= self._flush / sample_rate
        if self._ports >= RECEIVED:
            stages |= {"receive": column["receive"], "tail": column["tail"]}
            if total["power"]:
                # Not below the rounding of complex64, where a noiseless link ends.
                error = total["error"] / total["power"]
                record["evm_db"] = 10 * math.log10(max(error, 1e-14))
            if self._response is not None:
                record["csi_mse"] = total["csi_error"] / len(column["csi_error"])
            record["snr_db_estimated"] = total["snr_db"] / len(column["snr_db"])
        # The stamps are taken when the ledger reads a message, which may be late.
        times = {stage: np.maximum(seconds, 0) for stage, seconds in stages.items()}
        times["total"] = np.sum(list(times.values()), axis=0)
        record["latency_ms"] = {
            stage: {f"p{p}": float(np.percentile(1e3 * seconds, p)) for p in (50, 95)}
            for stage, seconds in times.items()
        }
        return record
