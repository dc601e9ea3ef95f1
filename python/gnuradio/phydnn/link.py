# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""A job over a link, both ends in one flowgraph or each in its own, frame by frame.

A run is made of a sending half (a job's source and the transmitter), a receiving half (the receiver
and the job's sink), and the *way* between them: the channel block, a recording, sockets, or radios.
One half alone, with a way that leads out of the process, is what ``phydnn tx`` and ``phydnn rx``
run.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from gnuradio import gr
from phydnn.bundle import Bundle
from phydnn.channels import parse_channel
from phydnn.datasets import Images
from phydnn.errors import InputError, RunError
from phydnn.radios import Radio
from phydnn.recording import Made, paths
from phydnn.recording import load as load_recording

from .ends import receiver as receiver_block
from .jobs import Classification, Job
from .ledger import MAPPED, RECEIVED, SENT, Snapshot, csi_error, ledger, response_of
from .phydnn_python import channel as channel_block
from .phydnn_python import frame_transmitter, numerology
from .recording import player, recorder
from .usrp import start
from .ways import Loopback, Played, Radios, Sockets, Way, Written

__all__ = ["ENDS", "LINKS", "LinkResult", "Snapshot", "csi_error", "run_job", "run_link"]

LINKS = ("loopback", "zmq", "usrp", "file")
ENDS = ("tx", "rx")
BIND = "tcp://127.0.0.1:5550"
"""Where a sender over zmq answers; the emulator, or a receiver, asks there."""
IN_FLIGHT = 4
"""Frames under way at once: enough to keep every block busy, few enough to keep memory flat."""
POLL_S = 0.005
SILENCE_S = 120.0
"""A link in one process that has been silent for so long is broken."""
ENDED_S = 10.0
"""A sender outside that has been silent for so long has ended."""
PEER_S = 120.0
"""How long the other end may take to begin, or to go on taking samples."""
DRAINED_S = 1.0
"""A socket that gave nothing for so long after the last frame is empty."""
LONGEST_RUN = 1 << 24
"""Frames."""


@dataclass(frozen=True)
class LinkResult:
    """What :func:`run_job` measured.

    Attributes:
        record: the keys of the project's JSON results.
        job: what was carried; of a recording, what that holds.
        outcome: what came out, as the job says; None without a receiver.
        seconds: host time from the first item to the last.
        snapshot: of the first frame that arrived.
    """

    record: dict[str, Any]
    job: Job
    outcome: Any
    seconds: float
    snapshot: Snapshot


def run_link(
    bundle: Bundle | str | os.PathLike[str],
    images: Images,
    *,
    batch: int = 64,
    decision: str = "",
    **options: Any,
) -> LinkResult:
    """Classifies images with the head at one end of a link and the tail at the other.

    Args:
        bundle, images, batch, decision: see :class:`phydnn.jobs.Classification`.
        options: of :func:`run_job`.

    Raises:
        InputError: an argument, the bundle, the images or the recording are no good.
        RunError: the link fell silent before anything came, a radio is missing or was lost.
    """
    return run_job(Classification(bundle, images, batch, decision), **options)


def run_job(
    job: Job,
    *,
    ends: Collection[str] = ENDS,
    link: str = "loopback",
    channel: str = "awgn",
    snr_db: float = 12.0,
    cfo_hz: float = 0.0,
    sfo_ppm: float = 0.0,
    phase_noise_hz: float = 0.0,
    passes: int = 1,
    seed: int = 1,
    sample_rate: float = 20e6,
    dimensions: str = "wide",
    csi: str = "window",
    bind: str = BIND,
    connect: str = "",
    amplitude: float = 1.0,
    radio: Radio | None = None,
    period_s: float = 0.0,
    record: str | os.PathLike[str] | None = None,
    record_sent: str | os.PathLike[str] | None = None,
    replay: str | os.PathLike[str] | None = None,
    author: str = "",
    silence_s: float | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LinkResult:
    """Carries a job's items from one end of a link to the other.

    Every item is accounted for, those whose frames never arrived, too. For one seed the record is
    the same on every run but for ``latency_ms``.

    The record's keys: the job's own, over all ``n`` items; ``channel_uses`` of payload in all;
    ``samples_on_air`` with preambles, prefixes and gaps; ``bytes_on_air``, what header and pilots
    would carry as the BPSK that they are (one bit a subcarrier), the payload being no bits;
    ``frames_sent``, ``frames_lost`` and, by reason, ``erasures``; ``evm_db`` against the symbols
    that were sent, known since both ends are in one process; ``csi_mse`` of the refined estimate
    against the channel's response, where that is known (``awgn`` and static delay lines), relative
    to its mean power and up to a common phase and delay, which are timing's; ``snr_db_estimated``,
    the mean of the frames' estimates in dB; ``latency_ms`` of a frame: ``head`` and ``tail`` (the
    graphs), ``map`` (from the head's end to the symbols), ``air`` (samples over sample rate),
    ``receive`` (from the resource grid to what the symbols stand for) and ``total``, their sum,
    without the time that frames wait for each other.

    One end alone gives those of them that it can see. Links zmq and usrp add ``ended`` ("complete",
    "silence" or "stopped"), ``frames_repeated`` and ``frames_unknown``, which count for nothing
    else; zmq adds ``samples_served`` and ``samples_received``, the same number where no sample was
    lost; usrp adds ``faults``, by kind, and ``void``: whether they spoil the trial.

    Link "file" plays a recording into the receiver. It says itself what it holds: channel, snr_db,
    the offsets, the job's batch and number of items, seed, sample_rate and dimensions are its own,
    and the arguments of these names do not count. The job's source makes the same symbols again, so
    that ``evm_db`` has something to compare with; ``csi_mse`` is there where the channel was
    ``awgn``. A sender alone writes ``record_sent`` instead.

    Args:
        job: what to carry. A receiver alone has to know its items, too: it measures what became of
            them.
        ends: "tx", "rx" or both.
        link: "loopback" (both ends), "zmq", "usrp" or "file".
        channel: as :func:`phydnn.channels.parse_channel` takes it. Link zmq has it where both ends
            are here and ``connect`` is empty; otherwise the channel lies outside.
        snr_db: Es/N0 in dB, -100 to 100.
        cfo_hz: carrier frequency offset.
        sfo_ppm: sample clock offset.
        phase_noise_hz: linewidth of the oscillators.
        passes: how often all items are sent.
        seed: of the fades, the phase noise and the noise.
        sample_rate: samples per second; link usrp takes the radio's.
        dimensions: name of a preset of the waveform.
        csi: how the receiver's channel estimates are refined: "ls" (not), "window", or the path or
            name of a bundle of CSI denoisers, with ":adnet" behind it for the slow one.
        bind: where a sender over zmq answers.
        connect: where a receiver over zmq asks; empty for where the sender answers.
        amplitude: of the used subcarriers; link usrp takes the radio's.
        radio: of link usrp.
        period_s: seconds from one burst to the next, each sent at its sample; 0 for bursts that
            leave as they come. Link usrp.
        record: where to record the receiver's input, as SigMF.
        record_sent: where to record the transmitter's output.
        replay: the recording that link "file" plays, of either.
        author: of the recordings, "name <address>".
        silence_s: seconds without a frame after which a link in this process has failed, and a
            receiver over zmq or usrp, once one has come, counts the others as lost; None for
            SILENCE_S and ENDED_S. What never begins fails after PEER_S.
        stop: once set, the run ends as it does after a silence.
        progress: called now and then with the items that are done and those that were lost.

    Raises:
        InputError: an argument or the recording is no good.
        RunError: the link fell silent before anything came, a radio is missing or was lost.
    """
    stop = stop or threading.Event()
    sends, receives = _halves(link, ends)
    if link == "usrp":
        if radio is None:
            raise InputError("link 'usrp' needs a radio: say which with radio")
        sample_rate, amplitude = radio.sample_rate, radio.amplitude
    recording = None
    if link == "file" and receives:
        if replay is None:
            raise InputError("link 'file' plays a recording: say which with replay")
        if record is not None or record_sent is not None:
            raise InputError("link 'file' plays a recording: it makes none")
        recording = load_recording(replay)
        made, sample_rate = recording.made, recording.sample_rate
        channel, snr_db, dimensions, seed = made.channel, made.snr_db, made.waveform, made.seed
        cfo_hz, sfo_ppm, phase_noise_hz = made.cfo_hz, made.sfo_ppm, made.phase_noise_hz
        job, passes = job.recorded(made), 1
    elif replay is not None:
        raise InputError(f"link '{link}' plays no recording: choose file")
    elif link == "file" and record_sent is None:
        raise InputError("link 'file' writes a recording: say which with record_sent")
    if (record is not None and not receives) or (record_sent is not None and not sends):
        raise InputError("record is what a receiver gets, record_sent what a sender puts out")
    if not -100 <= snr_db <= 100:
        raise InputError(f"snr_db is {snr_db}: give Es/N0 between -100 and 100 dB")
    if not 0 <= seed < 1 << 64:
        raise InputError(f"seed is {seed}: give one from 0 to 2^64 - 1")
    if not 1 <= passes * job.frames <= LONGEST_RUN:
        raise InputError(f"passes is {passes}: a run has 1 to {LONGEST_RUN} frames")
    if not 0 <= period_s <= 3600 or (period_s and (link != "usrp" or not sends)):
        raise InputError(
            f"period_s is {period_s}: a sender over usrp takes 0 to 3600 s from burst to burst"
        )
    if passes > 1 and (record is not None or record_sent is not None):
        raise InputError(f"passes is {passes}: a recording holds one pass")
    if record is not None and record_sent is not None and paths(record) == paths(record_sent):
        raise InputError(f"cannot record both what is sent and what is received as {record}")
    job.begin(passes)
    # Where the channel is this process's, the results say which it was.
    inside = recording is not None or (sends and receives and link != "usrp" and not connect)

    top = gr.top_block("phydnn link")
    recorders: dict[str, recorder] = {}
    with ExitStack() as leftovers:
        try:
            waveform = numerology(dimensions)
            receiver = sender = air = response = None
            if receives:
                receiver = receiver_block(
                    job.bundle.id,
                    waveform,
                    sample_rate,
                    "none" if csi == "ls" else csi,
                    max_uses=max(262144, int(job.uses.max())),
                    in_flight=0 if link == "usrp" else 2 * IN_FLIGHT,
                )
            if sends and recording is None:
                sender = frame_transmitter(
                    waveform,
                    bundle_id=job.bundle.id,
                    kind=job.kind,
                    precoded=job.precoded,
                    amplitude=amplitude,
                )
            if recording is None and inside:
                spec = parse_channel(channel)
                response = response_of(spec, waveform, sample_rate)
                air = channel_block(
                    sample_rate=sample_rate,
                    snr_db=snr_db,
                    cfo_hz=cfo_hz,
                    sfo_ppm=sfo_ppm,
                    phase_noise_hz=phase_noise_hz,
                    seed=seed,
                    **spec.arguments(),
                )
            elif channel == "awgn" and inside:
                # Of a recording's channels, only this one's name tells the whole.
                response = response_of(parse_channel(channel), waveform, sample_rate)
            for point, name in (("sent", record_sent), ("received", record)):
                if name is not None:
                    recorders[point] = recorder(name)
                    leftovers.callback(recorders[point].discard)
            played = None if recording is None else player(recording, 0)
            way: Way
            if played is not None:
                way = Played(played)
            elif link == "loopback":
                way = Loopback(air, sfo_ppm)
            elif link == "file":
                way = Written(recorders["sent"])
            elif link == "zmq":
                way = Sockets(bind if sends else None, connect if receives else None, air, sfo_ppm)
            else:
                assert radio is not None
                way = Radios(radio, sends, receives, period_s)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(str(error)) from error

        books = ledger(
            job,
            waveform,
            (MAPPED if sends else frozenset())
            | (SENT if sends or recording else frozenset())
            | (RECEIVED if receives else frozenset()),
            passes=passes,
            response=response,
            window=IN_FLIGHT if way.paced else 0,
            flush=way.flush,
        )
        feed = way.connect(top, sender, receiver)
        if played is not None:
            top.msg_connect(books, "done", played, "done")
            top.msg_connect(played, "sent", books, "sent")
        if sends:
            source = job.source(passes, way.flush)
            top.msg_connect(books, "done", source, "done")
            top.msg_connect(source, "symbols", books, "mapped")
            if sender is not None:
                way.connect_symbols(top, source, sender)
                top.msg_connect(sender, "sent", books, "sent")
        if receiver is not None:
            sink = job.sink()
            top.msg_connect(receiver, "symbols", sink, "symbols")
            top.msg_connect(sink, "results", receiver, "done")
            for port in ("raw", "csi", "symbols"):
                top.msg_connect(receiver, port, books, port)
            for port in ("demapped", "results"):
                top.msg_connect(sink, port, books, port)
        for point, end in (("sent", sender), ("received", feed)):
            if point in recorders:
                top.connect(end, recorders[point])

        if silence_s is None:
            silence_s = SILENCE_S if way.paced else ENDED_S
        synchronizer = None if receiver is None else receiver.synchronizer
        leftovers.enter_context(way.watched())
        started = time.monotonic()
        start(top)
        try:
            ended = _carry(books, way, synchronizer, silence_s, stop, progress)
            seconds = time.monotonic() - started
            lengths = {"sent": books.samples, "received": way.surely(books.samples)}
            if not way.paced:
                _drain(books, way, synchronizer, sends, stop)
                if synchronizer is not None:
                    lengths["received"] = synchronizer.counts()["samples"]
            deadline = time.monotonic() + silence_s
            while any(recorders[point].samples() < lengths[point] for point in recorders):
                if time.monotonic() > deadline:
                    raise RunError("the recording cannot be written: is the disk full?")
                time.sleep(POLL_S)
        finally:
            top.stop()
            top.wait()
        if receives:
            books.give_up()
        counted = books.record(sample_rate)
        if inside:
            of_channel: dict[str, Any] = {
                "channel": channel,
                "snr_db": snr_db,
                "cfo_hz": cfo_hz,
                "sfo_ppm": sfo_ppm,
                "phase_noise_hz": phase_noise_hz,
            }
        else:
            # What lies outside is known by what was measured of it, if that.
            of_channel = {"channel": link, "snr_db": counted.get("snr_db_estimated", 0.0)}
        for point, made_here in recorders.items():
            made_here.finish(
                lengths[point],
                books.bursts(),
                sample_rate,
                Made(
                    point=point,
                    bundle=job.bundle.name,
                    bundle_id=job.bundle.id,
                    waveform=dimensions,
                    batch=job.batch,
                    items=job.count,
                    frames=job.frames,
                    data=job.data,
                    data_sha256=job.fingerprint(),
                    link=link,
                    channel=of_channel["channel"],
                    snr_db=float(of_channel["snr_db"]),
                    cfo_hz=float(of_channel.get("cfo_hz", 0)),
                    sfo_ppm=float(of_channel.get("sfo_ppm", 0)),
                    phase_noise_hz=float(of_channel.get("phase_noise_hz", 0)),
                    seed=int(seed),
                ),
                author,
                None if way.paced or point == "sent" else books.starts(),
            )

    results: dict[str, Any] = {
        **(job.record() if receives else {}),
        "n": job.count * passes,
        "seed": seed,
        "bundle": job.bundle.name,
        "bundle_id": job.bundle.id,
        "data": job.data,
        "link": link,
        **(of_channel if inside else {}),
        "sample_rate": sample_rate,
        **({"csi": csi} if receives else {}),
        "batch": job.batch,
        **counted,
        **({} if way.paced else {"ends": [*ends], "ended": ended, "seconds": seconds}),
        **way.record(),
    }
    return LinkResult(results, job, job.outcome() if receives else None, seconds, books.snapshot)


def _halves(link: str, ends: Collection[str]) -> tuple[bool, bool]:
    """Whether there is a sender, and a receiver."""
    if link not in LINKS:
        raise InputError(f"there is no link '{link}': choose {', '.join(LINKS)}")
    if not ends or not set(ends) <= set(ENDS):
        raise InputError(f"a link has the ends {' and '.join(ENDS)}, not '{', '.join(ends)}'")
    if link == "loopback" and len(ends) < 2:
        raise InputError("link 'loopback' has both ends in one process: choose zmq, usrp or file")
    return "tx" in ends, "rx" in ends


def _carry(
    books: ledger,
    way: Way,
    synchronizer: Any,
    silence_s: float,
    stop: threading.Event,
    progress: Callable[[int, int], None] | None,
) -> str:
    """Keeps the accounts until all frames are settled; returns how that ended.

    Raises:
        RunError: something broke, or nothing came at all.
    """
    opened, sign, heard = False, (0, 0, 0), time.monotonic()
    total = books.items
    while books.items_done < total:
        books.settle()
        if not opened and way.ready():
            books.open(IN_FLIGHT)
            opened = True
        if way.paced:
            books.give_up_lost(synchronizer, way.lag)
        if fault := way.fault(books.samples):
            raise RunError(fault)
        if stop.is_set():
            return "stopped"
        before, sign = sign, (books.items_done, books.results, way.taken())
        if sign != before:
            heard = time.monotonic()
            if progress is not None:
                progress(books.items_done, books.items_lost)
        elif time.monotonic() - heard > (silence_s if way.paced or books.results else PEER_S):
            if synchronizer is not None and synchronizer.counts()["samples"] and not way.paced:
                return "silence"
            raise RunError(
                f"the link fell silent after {books.items_done} of {total} {books.job.unit}: "
                f"no frame came for {time.monotonic() - heard:.0f} s"
                if synchronizer is not None
                else f"nobody took a sample for {PEER_S:.0f} s: is the other end running?"
            )
        books.changed.wait(POLL_S)
    return "complete"


def _drain(books: ledger, way: Way, synchronizer: Any, sends: bool, stop: threading.Event) -> None:
    """Waits until the last samples have left the sender, and have come to the receiver.

    Raises:
        RunError: nobody takes them.
    """

    def stands_still(count: Callable[[], int], end: float, patience: float) -> bool:
        """Waits until ``count`` is ``end``, or for the stop; whether it stood still instead."""
        last, since = -1, time.monotonic()
        while (now := count()) < end and not stop.is_set():
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > patience:
                return True
            time.sleep(POLL_S)
        return False

    if sends:
        if stands_still(way.taken, way.surely(books.samples), PEER_S):
            raise RunError(f"nobody took the last samples for {PEER_S:.0f} s")
        way.finish(books.frames)
    if synchronizer is not None and way.drains:

        def received() -> int:
            return synchronizer.counts()["samples"]

        # First what surely follows the last frame, and then until no more comes; an emulator that
        # fills up with zeros never stops: all that it can hold is enough.
        bursts = books.bursts()
        last = max((start + bursts[n][0] for n, start in books.starts().items()), default=0)
        stands_still(received, last + way.flush * 15 // 16, ENDED_S)
        stands_still(received, received() + 4 * way.flush, DRAINED_S)
