# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Split inference over a link, both ends in one flowgraph, measured frame by frame."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from gnuradio import gr
from phydnn.bundle import Bundle
from phydnn.channels import ChannelSpec, parse_channel
from phydnn.datasets import Images
from phydnn.errors import InputError, RunError
from phydnn.recording import Made, Recording, fingerprint, paths
from phydnn.recording import load as load_recording
from phydnn.results import wilson_interval

from . import pdus
from .ends import device, edge
from .networks import head, loaded
from .phydnn_python import channel as channel_block
from .phydnn_python import embedding_mapper, numerology
from .recording import player, recorder
from .sources import image_source

LINKS = ("loopback", "zmq", "usrp", "file")
IN_FLIGHT = 4
"""Frames under way at once: enough to keep every block busy, few enough to keep memory flat."""
POLL_S = 0.005
SILENCE_S = 120.0
HELD_BACK = 64
"""Samples that the channel's filters may keep at the end of a stream; less than the gap."""


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


@dataclass(frozen=True)
class LinkResult:
    """What :func:`run_link` measured.

    Attributes:
        record: the keys of the project's JSON results.
        predictions: int32 [n], the class of each image in the bundle's order; -1 where its frame
            never arrived.
        seconds: host time from the first image to the last class.
        snapshot: of the first frame that arrived.
    """

    record: dict[str, Any]
    predictions: NDArray[np.int32]
    seconds: float
    snapshot: Snapshot


def run_link(
    bundle: Bundle | str | os.PathLike[str],
    images: Images,
    *,
    link: str = "loopback",
    channel: str = "awgn",
    snr_db: float = 12.0,
    cfo_hz: float = 0.0,
    sfo_ppm: float = 0.0,
    phase_noise_hz: float = 0.0,
    batch: int = 64,
    seed: int = 1,
    sample_rate: float = 20e6,
    decision: str = "",
    dimensions: str = "wide",
    record: str | os.PathLike[str] | None = None,
    record_sent: str | os.PathLike[str] | None = None,
    replay: str | os.PathLike[str] | None = None,
    author: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> LinkResult:
    """Classifies images with the head at one end of a link and the tail at the other.

    Every image is accounted for: one whose frame never arrived counts as wrong. For one seed the
    record is the same on every run but for ``latency_ms``.

    The record's keys: ``accuracy`` and its 95% Wilson interval ``accuracy_ci95`` over all ``n``
    images, and ``accuracy_received`` over those whose frames arrived (for labelled images);
    ``channel_uses`` of payload in all; ``samples_on_air`` with preambles, prefixes and gaps;
    ``bytes_on_air``, what header and pilots would carry as the BPSK that they are (one bit a
    subcarrier), the payload being no bits; ``frames_sent``, ``frames_lost`` and, by reason,
    ``erasures``; ``evm_db`` against the symbols that were sent, known since both ends are in one
    process; ``csi_mse`` of the refined estimate against the channel's response, where that is
    known (``awgn`` and static delay lines), relative to its mean power and up to a common phase and
    delay, which are timing's; ``snr_db_estimated``, the mean of the frames' estimates in dB;
    ``latency_ms`` of a frame: ``head`` and ``tail`` (the graphs), ``map`` (embedding mapper),
    ``air`` (samples over sample rate), ``receive`` (from the resource grid to the slices)
    and ``total``, their sum, without the time that frames wait for each other.

    Link "file" plays a recording into the receiver. It says itself what it holds: channel, snr_db,
    the offsets, batch, seed, sample_rate, dimensions and the number of images are its own, and the
    arguments of these names do not count. The head maps the same images again, so that ``evm_db``
    has something to compare with; ``csi_mse`` is there where the channel was ``awgn``.

    Args:
        bundle: a bundle, or the path or name of one.
        images: what to classify; labels are matched with the bundle's classes by name.
        link: "loopback" or "file"; the other links of the contract are not there yet.
        channel: as :func:`phydnn.channels.parse_channel` takes it.
        snr_db: Es/N0 in dB, -100 to 100.
        cfo_hz: carrier frequency offset.
        sfo_ppm: sample clock offset.
        phase_noise_hz: linewidth of the oscillators.
        batch: images in a frame.
        seed: of the fades, the phase noise and the noise.
        sample_rate: samples per second.
        decision: "hard" or "soft" lookup; empty for the bundle's own.
        dimensions: name of a preset of the waveform.
        record: where to record the receiver's input, as SigMF; link "loopback".
        record_sent: where to record the transmitter's output; link "loopback".
        replay: the recording that link "file" plays, of either.
        author: of the recordings, "name <address>".
        progress: called now and then with the images that are done and those that were lost.

    Raises:
        InputError: an argument, the bundle, the images or the recording are no good.
        RunError: the link fell silent.
    """
    bundle = loaded(bundle)
    if link not in LINKS:
        raise InputError(f"there is no link '{link}': choose {', '.join(LINKS)}")
    if link not in ("loopback", "file"):
        raise InputError(f"link '{link}' is not there yet: choose loopback or file")
    recording = None
    if link == "file":
        if replay is None:
            raise InputError("link 'file' plays a recording: say which with replay")
        if record is not None or record_sent is not None:
            raise InputError("link 'file' plays a recording: it makes none")
        recording = load_recording(replay)
        made, sample_rate = recording.made, recording.sample_rate
        channel, snr_db, dimensions, seed = made.channel, made.snr_db, made.waveform, made.seed
        cfo_hz, sfo_ppm, phase_noise_hz = made.cfo_hz, made.sfo_ppm, made.phase_noise_hz
        batch = made.batch
        images = _those_recorded(made, bundle, images)
    elif replay is not None:
        raise InputError(f"link '{link}' plays no recording: choose file")
    if not -100 <= snr_db <= 100:
        raise InputError(f"snr_db is {snr_db}: give Es/N0 between -100 and 100 dB")
    if decision not in ("", "hard", "soft"):
        raise InputError(f"there is no decision '{decision}': choose hard or soft")
    if not 0 <= seed < 1 << 64:
        raise InputError(f"seed is {seed}: give one from 0 to 2^64 - 1")
    if not 1 <= batch * bundle.uses < 1 << 24:
        raise InputError(
            f"batch is {batch}: a frame of bundle {bundle.name} holds 1 to "
            f"{((1 << 24) - 1) // bundle.uses} images"
        )
    images = _in_the_order_of(bundle, images)
    if record is not None and record_sent is not None and paths(record) == paths(record_sent):
        raise InputError(f"cannot record both what is sent and what is received as {record}")
    made = Made(
        point="received",
        bundle=bundle.name,
        bundle_id=bundle.id,
        waveform=dimensions,
        batch=int(batch),
        images=len(images),
        data=images.name,
        images_sha256=fingerprint(images) if record or record_sent else "",
        link=link,
        channel=channel,
        snr_db=float(snr_db),
        cfo_hz=float(cfo_hz),
        sfo_ppm=float(sfo_ppm),
        phase_noise_hz=float(phase_noise_hz),
        seed=int(seed),
    )
    top = gr.top_block("phydnn link")
    source = image_source(bundle, images, batch, IN_FLIGHT)
    recorders: dict[str, recorder] = {}
    with ExitStack() as leftovers:
        try:
            waveform = numerology(dimensions)
            receiver = edge(
                bundle,
                waveform,
                sample_rate,
                decision,
                max_uses=max(262144, batch * bundle.uses),
            )
            if recording is not None:
                response = _known_response(recording, waveform)
                sender, network = player(recording, IN_FLIGHT), head(bundle, batch)
                mapper = embedding_mapper(bundle.embeddings, bundle.points, bundle.lookup)
                top.connect(sender, receiver)
                top.msg_connect(source, "images", network, "images")
                top.msg_connect(network, "slices", mapper, "slices")
                lag = 0.0  # what is played has the receiver's clock
            else:
                spec = parse_channel(channel)
                response = _response(spec, waveform, sample_rate)
                sender = mapper = device(bundle, waveform, batch)
                air = channel_block(
                    sample_rate=sample_rate,
                    snr_db=snr_db,
                    cfo_hz=cfo_hz,
                    sfo_ppm=sfo_ppm,
                    phase_noise_hz=phase_noise_hz,
                    seed=seed,
                    **spec.arguments(),
                )
                top.connect(sender, air, receiver)
                top.msg_connect(source, "images", sender, "images")
                lag = sfo_ppm
                for point, name, end in (("sent", record_sent, sender), ("received", record, air)):
                    if name is not None:
                        recorders[point] = recorder(name)
                        leftovers.callback(recorders[point].discard)
                        top.connect(end, recorders[point])
        except InputError:
            raise
        except ValueError as error:
            raise InputError(str(error)) from error

        ledger = _ledger(bundle, len(images), batch, waveform, response)
        top.msg_connect(ledger, "done", source, "done")
        if recording is not None:
            top.msg_connect(ledger, "done", sender, "done")
        top.msg_connect(mapper, "symbols", ledger, "mapped")
        top.msg_connect(sender, "sent", ledger, "sent")
        top.msg_connect(receiver, "raw", ledger, "raw")
        top.msg_connect(receiver, "csi", ledger, "csi")
        top.msg_connect(receiver, "symbols", ledger, "symbols")
        top.msg_connect(receiver.demapper, "slices", ledger, "slices")
        top.msg_connect(receiver, "classes", ledger, "classes")

        started = heard = time.monotonic()
        done = 0
        top.start()
        try:
            while ledger.images_done < len(images):
                ledger.settle()
                ledger.give_up_lost(receiver.synchronizer, lag)
                if ledger.images_done != done:
                    done, heard = ledger.images_done, time.monotonic()
                    if progress is not None:
                        progress(done, ledger.images_lost)
                elif recording is not None and sender.fault:
                    raise RunError(sender.fault)
                elif time.monotonic() - heard > SILENCE_S:
                    raise RunError(
                        f"the link fell silent after {done} of {len(images)} images: no frame came "
                        f"for {SILENCE_S:.0f} s"
                    )
                ledger.changed.wait(POLL_S)
            seconds = time.monotonic() - started
            # The same samples on every run: those that the channel surely lets go.
            surely = max(0, int(ledger.samples / (1 + 1e-6 * lag)) - HELD_BACK)
            lengths = {"sent": ledger.samples, "received": surely}
            while any(recorders[point].samples() < lengths[point] for point in recorders):
                if time.monotonic() - heard > SILENCE_S:
                    raise RunError("the recording cannot be written: is the disk full?")
                time.sleep(POLL_S)
        finally:
            top.stop()
            top.wait()
        for point, made_here in recorders.items():
            made_here.finish(
                lengths[point], ledger.bursts(), sample_rate, replace(made, point=point), author
            )

    results: dict[str, Any] = {
        **_accuracy(ledger.predictions, images.y),
        "n": len(images),
        "seed": seed,
        "bundle": bundle.name,
        "bundle_id": bundle.id,
        "data": images.name,
        "link": link,
        "channel": channel,
        "snr_db": snr_db,
        "cfo_hz": cfo_hz,
        "sfo_ppm": sfo_ppm,
        "phase_noise_hz": phase_noise_hz,
        "sample_rate": sample_rate,
        "batch": batch,
        "decision": decision or bundle.decision,
        **ledger.record(sample_rate),
    }
    return LinkResult(results, ledger.predictions, seconds, ledger.snapshot)


def _those_recorded(made: Made, bundle: Bundle, images: Images) -> Images:
    """The images that a recording was made of."""
    if made.bundle_id != bundle.id:
        raise InputError(
            f"the recording is of bundle {made.bundle} ({made.bundle_id:08x}), which is not the "
            f"one given: {bundle.name} ({bundle.id:08x})"
        )
    if len(images) < made.images:
        raise InputError(
            f"the recording is of {made.images} images of '{made.data}', but '{images.name}' has "
            f"only {len(images)}"
        )
    images = images.take(slice(made.images))
    if fingerprint(images) != made.images_sha256:
        raise InputError(
            f"the recording is of images of '{made.data}': those of '{images.name}' are others"
        )
    return images


def _known_response(recording: Recording, waveform: Any) -> NDArray[np.complex128] | None:
    """The channel that a recording went through, where its name alone tells it."""
    if recording.made.channel != "awgn":
        return None
    return _response(parse_channel("awgn"), waveform, recording.sample_rate)


def _in_the_order_of(bundle: Bundle, images: Images) -> Images:
    """The images with labels that count the bundle's classes."""
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


def _accuracy(predictions: NDArray[np.int32], labels: NDArray[np.int64] | None) -> dict[str, Any]:
    if labels is None:
        return {}
    right, received = int((predictions == labels).sum()), int((predictions >= 0).sum())
    return {
        "accuracy": right / len(labels),
        "accuracy_ci95": list(wilson_interval(right, len(labels))),
        **({"accuracy_received": right / received} if received else {}),
    }


def _subcarriers(waveform: Any) -> NDArray[np.int64]:
    """Indices of the used subcarriers, from the lowest frequency; 0, the carrier, is not used."""
    half = waveform.used // 2
    return np.concatenate([np.arange(-half, 0), np.arange(1, half + 1)])


def _response(
    spec: ChannelSpec, waveform: Any, sample_rate: float
) -> NDArray[np.complex128] | None:
    """The channel at the used subcarriers, where it is the same for all frames."""
    k = _subcarriers(waveform)
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
    """What is known of a frame."""

    number: int
    images: int
    seen: set[str] = field(default_factory=set)
    complete: bool = False
    reason: str = ""
    payload: NDArray[np.complex64] | None = None
    symbols: NDArray[np.complex64] | None = None
    refined: NDArray[np.complex64] | None = None
    stamps: dict[str, float] = field(default_factory=dict)
    samples: int = 0
    error: float = 0.0
    power: float = 0.0
    snr_db: float = math.nan
    csi_error: float = math.nan
    head_s: float = math.nan
    tail_s: float = math.nan


class _ledger(gr.basic_block):
    """Keeps account of every frame: listens to both ends, and lets the next frame out.

    The messages about a frame come from several threads, in any order. A frame is settled when
    the last of them is there, and what is measured is summed by frame number in the end: so no
    result depends on the scheduler.

    The handlers only note what came and when; the thread of :func:`run_link` does the sums.
    """

    SENT = frozenset({"mapped", "sent"})
    RECEIVED = SENT | {"raw", "csi", "symbols", "slices"}

    def __init__(
        self,
        bundle: Bundle,
        count: int,
        batch: int,
        waveform: Any,
        response: NDArray[np.complex128] | None,
    ) -> None:
        gr.basic_block.__init__(self, name="ledger", in_sig=None, out_sig=None)
        self.predictions = np.full(count, -1, np.int32)
        self.snapshot = Snapshot()
        self.changed = threading.Event()
        self.images_done = self.images_lost = 0
        self._uses = bundle.uses
        self._batch, self._waveform, self._response = batch, waveform, response
        self._subcarriers = _subcarriers(waveform)
        self._frames = [
            _Frame(number, min(batch, count - start))
            for number, start in enumerate(range(0, count, batch))
        ]
        self._under_way = {frame.number: frame for frame in self._frames[:IN_FLIGHT]}
        self._issued = len(self._under_way)
        self._complete: list[_Frame] = []
        self.samples = 0
        self._results = 0
        self._lock = threading.Lock()
        self.message_port_register_out(pmt.intern("done"))
        for port in sorted(self.RECEIVED | {"classes"}):
            self.message_port_register_in(pmt.intern(port))
            self.set_msg_handler(pmt.intern(port), self._listener(port))

    def _listener(self, port: str) -> Callable[[Any], None]:
        handler: Callable[[_Frame, Any, Any], None] = getattr(self, f"_on_{port}")

        def listen(message: Any) -> None:
            # `sent` and `csi` are dicts without a vector; a dict is a pair, too.
            if pmt.is_pair(message) and pmt.is_dict(pmt.car(message)):
                metadata, values = pdus.parts(message)
            else:
                metadata, values = message, None
            with self._lock:
                self._results += port == "classes"
                frame = self._under_way.get(pdus.get(metadata, "frame_number", -1))
                if frame is None or frame.complete:
                    return
                handler(frame, metadata, values)
                frame.seen.add(port)
                expected = self.SENT if frame.reason else self.RECEIVED
                if "classes" in frame.seen and expected <= frame.seen:
                    frame.complete = True
                    self._complete.append(frame)
                    self.changed.set()

        # GNU Radio finds handlers by name.
        listen.__name__ = f"_hear_{port}"
        setattr(self, listen.__name__, listen)
        return listen

    def _on_mapped(self, frame: _Frame, metadata: Any, values: Any) -> None:
        frame.stamps["mapped"] = time.perf_counter()
        frame.stamps["head"] = pdus.get(metadata, "head_end", math.nan)
        frame.head_s = pdus.get(metadata, "head_s", math.nan)
        frame.payload = values

    def _on_sent(self, frame: _Frame, metadata: Any, _values: Any) -> None:
        frame.samples = pdus.get(metadata, "samples", 0)
        self.samples += pdus.get(metadata, "released", frame.samples)

    def _on_raw(self, frame: _Frame, metadata: Any, values: Any) -> None:
        frame.stamps["raw"] = time.perf_counter()
        if self.snapshot.raw is None and not pdus.erased(metadata):
            self.snapshot.raw = values.reshape(-1, self._waveform.used)

    def _on_csi(self, frame: _Frame, metadata: Any, _values: Any) -> None:
        shape = (pdus.get(metadata, "pilots"), pdus.get(metadata, "subcarriers"))
        frame.refined = pdus.get(metadata, "refined").reshape(shape)
        frame.snr_db = pdus.get(metadata, "snr_db")
        if self.snapshot.refined is None:
            self.snapshot.ls = pdus.get(metadata, "ls").reshape(shape)
            self.snapshot.refined = frame.refined

    def _on_symbols(self, frame: _Frame, _metadata: Any, values: Any) -> None:
        frame.symbols = values
        if self.snapshot.symbols is None:
            self.snapshot.symbols = values

    def _on_slices(self, frame: _Frame, _metadata: Any, _values: Any) -> None:
        frame.stamps["slices"] = time.perf_counter()

    def _on_classes(self, frame: _Frame, metadata: Any, values: Any) -> None:
        frame.tail_s = pdus.get(metadata, "tail_s", math.nan)
        if pdus.erased(metadata):
            frame.reason = pdus.get(metadata, "reason", "lost")
        elif values is None or len(values) != frame.images:
            frame.reason = "payload"
        else:
            start = frame.number * self._batch
            self.predictions[start : start + frame.images] = values

    def settle(self) -> None:
        """Settles the frames of which all is known."""
        self.changed.clear()
        with self._lock:
            complete, self._complete = self._complete, []
        for frame in complete:
            self._settle(frame)

    def _settle(self, frame: _Frame) -> None:
        """Measures a frame and lets the next one out."""
        if not frame.reason:
            assert frame.symbols is not None
            assert frame.payload is not None
            assert frame.refined is not None
            error, payload = frame.symbols - frame.payload, frame.payload
            frame.error = float(np.vdot(error, error).real)
            frame.power = float(np.vdot(payload, payload).real)
            if self._response is not None:
                frame.csi_error = csi_error(frame.refined, self._response, self._subcarriers)
        frame.payload = frame.symbols = frame.refined = None
        self.images_done += frame.images
        self.images_lost += frame.images if frame.reason else 0
        with self._lock:
            del self._under_way[frame.number]
            if self._issued < len(self._frames):
                self._under_way[self._issued] = self._frames[self._issued]
                self._issued += 1
        self.message_port_pub(pmt.intern("done"), pmt.from_long(frame.number))

    def give_up_lost(self, synchronizer: Any, sfo_ppm: float) -> None:
        """Settles the frames that can come no more.

        That is known without a clock: all frames that were let out are on air, the synchronizer has
        seen the last of their samples, and whatever it made of them has reached the ledger.
        """
        with self._lock:
            if not all(frame.seen >= self.SENT for frame in self._under_way.values()):
                return
            counts = synchronizer.counts()
            seen = counts["samples"] >= self.samples / (1 + 1e-6 * sfo_ppm) - HELD_BACK
            made = sum(counts[name] for name in ("frames", "lost", "bundle_mismatches", "cut"))
            if not seen or made != self._results:
                return
            lost = [frame for frame in self._under_way.values() if "classes" not in frame.seen]
        for frame in lost:
            frame.reason = "lost"
            self._settle(frame)

    def bursts(self) -> dict[int, tuple[int, int]]:
        """Samples of each frame that was sent, without and with its gap, by number."""
        return {
            frame.number: (
                self._waveform.frame_samples(frame.images * self._uses),
                frame.samples,
            )
            for frame in self._frames
            if frame.samples
        }

    def record(self, sample_rate: float) -> dict[str, Any]:
        """The keys of the results that come from counting, by frame number."""
        sent = [frame for frame in self._frames if frame.samples]
        received = [frame for frame in self._frames if not frame.reason]
        side = sum(
            self._waveform.header_symbols + self._waveform.pilot_symbols(frame.images * self._uses)
            for frame in sent
        )
        record: dict[str, Any] = {
            "channel_uses": sum(frame.images for frame in sent) * self._uses,
            "samples_on_air": sum(frame.samples for frame in sent),
            "bytes_on_air": -(-side * self._waveform.used // 8),
            "frames_sent": len(sent),
            "frames_lost": len(self._frames) - len(received),
            "erasures": dict(sorted(Counter(f.reason for f in self._frames if f.reason).items())),
        }
        if not received:
            return record
        error = sum(frame.error for frame in received) / sum(frame.power for frame in received)
        # Not below the rounding of complex64, where a noiseless link ends.
        record["evm_db"] = 10 * math.log10(max(error, 1e-14))
        if self._response is not None:
            record["csi_mse"] = sum(frame.csi_error for frame in received) / len(received)
        record["snr_db_estimated"] = sum(frame.snr_db for frame in received) / len(received)
        stages = {
            "head": [frame.head_s for frame in received],
            "map": [frame.stamps["mapped"] - frame.stamps["head"] for frame in received],
            "air": [frame.samples / sample_rate for frame in received],
            "receive": [frame.stamps["slices"] - frame.stamps["raw"] for frame in received],
            "tail": [frame.tail_s for frame in received],
        }
        # The stamps are taken when the ledger reads a message, which may be late.
        times = {stage: np.maximum(np.array(seconds), 0) for stage, seconds in stages.items()}
        times["total"] = np.sum(list(times.values()), axis=0)
        record["latency_ms"] = {
            stage: {f"p{p}": float(np.percentile(1e3 * seconds, p)) for p in (50, 95)}
            for stage, seconds in times.items()
        }
        return record
