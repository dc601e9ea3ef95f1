# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""What the whole waveform costs: in decibels, in samples on air, and in processor time."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from gnuradio import blocks, gr, phydnn
from gnuradio.phydnn import kernels, pdus
from gnuradio.phydnn.bench import (
    BATCH_USES,
    CFO_HZ,
    RATE,
    Figure,
    Noise,
    Report,
    Samples,
    Track,
    psk,
)
from phydnn.errors import RunError

SFO_PPM = 4.0  # largest sample clock offset of the requirements
GAP = 128  # zeros between frames, the transmitter's default
WORST_DB = 0.5  # loss that the requirements allow


def measure(quick: bool, track: Track) -> Report:
    """Losses, efficiency and throughput; the full form averages over more frames."""
    report = Report()
    report.add(long_payload(1 if quick else 4, track))
    report.add(multipath(2 if quick else 16, track))
    report.add(error_vectors(1 if quick else 4, track))
    report.add(efficiency())
    report.add(throughput(2 if quick else 8, 0.5 if quick else 1.0, track))
    return report


def link(
    payload: Samples, precoded: bool, seed: int, **channel: Any
) -> tuple[Samples, NDArray[np.float32]]:
    """One frame through transmitter, channel and receiver, all of the default numerology.

    Args:
        payload: complex64 [uses].
        precoded: whether it goes through the DFT.
        seed: of the channel.
        channel: parameters of ``kernels.channel``.

    Returns:
        The received payload, complex64 [uses], and the noise variance that the receiver gives
        each symbol, float32 [uses].

    Raises:
        RunError: the frame did not arrive.
    """
    uses = len(payload)
    header = kernels.frame_header(uses, precoded=precoded)
    frame = kernels.transmitter().frame(header, payload)
    x = np.concatenate([np.zeros(2000, np.complex64), frame, np.zeros(4000, np.complex64)])
    y, _ = kernels.channel(sample_rate=RATE, seed=seed, **channel).work(x, len(x))
    frames = kernels.synchronizer().process(y)
    if len(frames) != 1 or frames[0].reason:
        raise RunError(f"a frame was lost on a channel that it should pass: {channel}")
    grid = frames[0].grid
    _, csi, n0, _ = kernels.csi_estimator().estimate(grid, uses)
    symbols, symbol_n0 = kernels.equalizer().equalize(grid, csi, n0, uses, precoded)
    return symbols, symbol_n0


def error_power(symbols: Samples, payload: Samples) -> float:
    """Mean of |received - sent|^2."""
    return float(np.mean(np.abs(symbols.astype(np.complex128) - payload) ** 2))


def decibels(ratio: float) -> float:
    return 10 * math.log10(ratio)


def long_payload(frames: int, track: Track) -> Report:
    """Loss over 65,536 uses at 12 dB, at the corners of carrier and sample clock offset.

    The loss is the mean of |received - sent|^2, in dB over N0: with perfect synchronisation and
    channel knowledge it is 0 dB. The figure is the worst of the corners, with and without
    precoding; their mean goes beside it.
    """
    snr_db = 12.0
    cases = list(itertools.product((False, True), (-CFO_HZ, CFO_HZ), (-SFO_PPM, SFO_PPM)))
    losses = []
    for case, (precoded, cfo, sfo) in enumerate(track(cases, "long payload")):
        powers = []
        for run in range(frames):
            seed = 100 * case + run
            payload = psk(BATCH_USES, np.random.default_rng(seed))
            symbols, _ = link(payload, precoded, seed, snr_db=snr_db, cfo_hz=cfo, sfo_ppm=sfo)
            powers.append(error_power(symbols, payload))
        losses.append(decibels(float(np.mean(powers))) + snr_db)
    note = f"worst of {len(cases)} corners of 10 kHz, 4 ppm, precoding; {frames} frames each"
    mean = float(np.mean(losses))
    return Report(
        [
            Figure("long_payload_loss_db", max(losses), "dB", WORST_DB, True, note=note),
            Figure("long_payload_mean_loss_db", mean, "dB", WORST_DB, True, note="their mean"),
        ]
    )


def profiles() -> dict[str, tuple[list[float], list[complex]]]:
    """Delays in s and gains, of unit power: the hardest that a prefix of 2 us must pass."""
    half = math.sqrt(0.5)
    delays = [8 * i / RATE for i in range(5)]
    falling = np.array([1, 0.7j, -0.5, 0.4 - 0.1j, 0.3])
    rising = falling[::-1]
    scale = float(np.linalg.norm(falling))
    return {
        "two equal, 1.6 us apart": ([0, 1.6e-6], [half, 1j * half]),
        "five falling over 1.6 us": (delays, list(falling / scale)),
        "five rising over 1.6 us": (delays, list(rising / scale)),
    }


def multipath(frames: int, track: Track) -> Report:
    """Loss over delay spreads of 1.6 us, against a receiver that knows the channel.

    The quantity is the mean squared error of the linear estimate of the symbols that the
    receiver's output and its own noise variances give, s / (1 + N0), against that of the genie's,
    mean of N0 / (|H|^2 + N0) over the subcarriers: a symbol in a fade counts as little as it
    tells. At 30 dB anything that a longer prefix would mend shows as a floor.
    """
    n = phydnn.numerology("wide")
    uses = 20 * n.used
    half = n.used // 2
    bins = np.concatenate([np.arange(-half, 0), np.arange(1, half + 1)])
    report = Report()
    cases = list(itertools.product((12, 30), profiles().items()))
    losses: dict[int, list[float]] = {12: [], 30: []}
    for case, (snr_db, (_, (delays, gains))) in enumerate(track(cases, "multipath")):
        turns = np.outer(bins / n.fft_size, np.array(delays) * RATE)
        gain = np.abs(np.exp(-2j * np.pi * turns) @ np.array(gains)) ** 2
        n0 = 10 ** (-snr_db / 10)
        genie = float(np.mean(n0 / (gain + n0)))
        errors = []
        for run in range(frames):
            rng = np.random.default_rng([case, run])
            payload = psk(uses, rng)
            symbols, symbol_n0 = link(
                payload,
                False,
                100 * case + run,
                delays=delays,
                gains=gains,
                snr_db=snr_db,
                cfo_hz=rng.uniform(-CFO_HZ, CFO_HZ),
            )
            errors.append(error_power(symbols / (1 + symbol_n0), payload))
        losses[snr_db].append(decibels(float(np.mean(errors)) / genie))
    for snr_db, worst in losses.items():
        note = f"worst of {len(worst)} profiles of 1.6 us, against a genie; {frames} frames each"
        name = f"multipath_loss_{snr_db}db_db"
        report.figures.append(Figure(name, max(worst), "dB", 1.0, True, note=note))
    return report


def error_vectors(frames: int, track: Track) -> Report:
    """EVM over Es/N0, alone and with impairments, beside theory: EVM = -Es/N0."""
    uses = 15 * 448
    es_n0_db = list(range(0, 41, 4))
    impaired = {"cfo_hz": 8e3, "sfo_ppm": 3.0}
    channels: dict[str, dict[str, Any]] = {"AWGN": {}, "CFO 8 kHz, SFO 3 ppm": impaired}
    curves: dict[str, list[float]] = {name: [] for name in channels}
    for snr in track(es_n0_db, "error vectors"):
        for name, channel in channels.items():
            powers = []
            for run in range(frames):
                payload = psk(uses, np.random.default_rng(run))
                symbols, _ = link(payload, False, run, snr_db=snr, **channel)
                powers.append(error_power(symbols, payload))
            curves[name].append(decibels(float(np.mean(powers))))
    return Report(curves={"evm": {"es_n0_db": es_n0_db, "evm_db": curves}})


def efficiency() -> Report:
    """Payload uses per sample that the transmitter block puts out for a batch, gap and all."""
    graph = gr.top_block()
    transmitter, sink = phydnn.frame_transmitter(), blocks.null_sink(gr.sizeof_gr_complex)
    sent = blocks.message_debug()
    graph.connect(transmitter, sink)
    graph.msg_connect(transmitter, "sent", sent, "store")
    payload = psk(BATCH_USES, np.random.default_rng(0))
    post(transmitter, "symbols", phydnn.to_vector(payload), 0)
    graph.start()
    wait_for(lambda: sent.num_messages() > 0, "the transmitter")
    graph.stop()
    graph.wait()
    samples = transmitter.nitems_written(0)
    note = f"{BATCH_USES} uses in {samples} samples, preamble to gap"
    return Report([Figure("efficiency", BATCH_USES / samples, "uses/sample", 0.72, note=note)])


def post(block: Any, port: str, vector: Any, frame_number: int) -> None:
    """Hand a PDU to a block's message port."""
    metadata = pdus.put(pmt.make_dict(), frame_number=frame_number)
    block.to_basic_block()._post(pmt.intern(port), pmt.cons(metadata, vector))


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Poll until the condition holds.

    Raises:
        RunError: it does not for so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RunError(f"{what} did nothing for {seconds:.0f} s")
        time.sleep(0.002)


def dictionary() -> tuple[NDArray[np.float32], Samples]:
    """One of the size that the shipped bundles have: 16 embeddings of 16 values on 16-PSK."""
    embeddings = np.random.default_rng(0).standard_normal((16, 16)).astype(np.float32)
    return embeddings, np.exp(2j * np.pi * np.arange(16) / 16).astype(np.complex64)


def cpu_rate(
    graph: gr.top_block, samples: Callable[[], int], enough: Callable[[float], bool]
) -> float:
    """Samples per second of processor time, of all threads of the process, in MS/s.

    The graph runs until ``enough`` holds, which is asked with the processor seconds so far; the
    first tenth of a second warms up and is not counted.
    """
    graph.start()
    time.sleep(0.1)
    first, started = samples(), time.process_time()
    deadline = time.monotonic() + 300
    while not enough(time.process_time() - started):
        if time.monotonic() > deadline:
            graph.stop()
            raise RunError("the flowgraph does not keep running")
        time.sleep(0.01)
    last, ended = samples(), time.process_time()
    graph.stop()
    graph.wait()
    return (last - first) / (ended - started) / 1e6


def transmitter_rate(cpu_s: float, precoded: bool) -> float:
    """MS/s per core of embedding mapper and frame transmitter, slices to samples, back to back.

    Batches of 65,536 slices of 16 values wait at the mapper; nothing else takes time in the
    process but the handing over of the next one.
    """
    embeddings, points = dictionary()
    graph = gr.top_block()
    mapper = phydnn.embedding_mapper(embeddings, points)
    transmitter = phydnn.frame_transmitter(precoded=precoded, gap=GAP)
    graph.connect(transmitter, blocks.null_sink(gr.sizeof_gr_complex))
    graph.msg_connect(mapper, "symbols", transmitter, "symbols")
    slices = (
        np.random.default_rng(1)
        .standard_normal(BATCH_USES * embeddings.shape[1])
        .astype(np.float32)
    )
    vector = phydnn.to_vector(slices)
    posted = 0

    def enough(seconds: float) -> bool:
        nonlocal posted
        while posted < transmitter.frames() + 40:
            post(mapper, "slices", vector, posted)
            posted += 1
        return seconds > cpu_s

    enough(0.0)
    rate = cpu_rate(graph, lambda: transmitter.nitems_written(0), enough)
    if mapper.dropped() or transmitter.dropped():
        raise RunError("the transmitter dropped frames: its rate means nothing")
    return rate


def batch_on_air(precoded: bool, frames: int = 2) -> Samples:
    """Frames of a batch each, back to back but for the gap, at 12 dB and 8 kHz."""
    transmitter = kernels.transmitter()
    pieces = []
    for number in range(frames):
        payload = psk(BATCH_USES, np.random.default_rng(number))
        header = kernels.frame_header(BATCH_USES, number, precoded=precoded)
        pieces += [transmitter.frame(header, payload), np.zeros(GAP, np.complex64)]
    x = np.concatenate(pieces)
    y, _ = kernels.channel(cfo_hz=8e3).work(x, len(x))
    return y + Noise(link=2)(len(y), 12)


def receiver_rate(cpu_s: float, precoded: bool) -> tuple[float, float]:
    """MS/s per core of the whole receiver, and of the source that feeds it.

    From samples to slices: synchronizer, channel estimate, equalizer and soft embedding
    demapper. The source puts out 40 frames from memory, as fast as they are taken; its cost is
    part of the receiver's rate. A run ends when the last frame has left the demapper, and counts
    only if all of them have.
    """
    x = batch_on_air(precoded)
    frames = 40
    source = blocks.vector_source_c(np.tile(x, frames // 2).tolist())
    embeddings, points = dictionary()
    samples, seconds = 0, 0.0
    while seconds < cpu_s:
        source.rewind()
        graph = gr.top_block()
        synchronizer, estimator = phydnn.frame_synchronizer(), phydnn.csi_estimator()
        equalizer = phydnn.equalizer()
        demapper = phydnn.embedding_demapper(embeddings, points, "soft")
        graph.connect(source, synchronizer)
        graph.msg_connect(synchronizer, "grid", estimator, "grid")
        graph.msg_connect(estimator, "grid", equalizer, "grid")
        graph.msg_connect(equalizer, "symbols", demapper, "symbols")
        started = time.process_time()
        graph.start()
        wait_for(lambda: demapper.received() == frames, "the receiver")  # noqa: B023
        seconds += time.process_time() - started
        graph.stop()
        graph.wait()
        samples += frames * len(x) // 2
        if demapper.erased() or demapper.dropped():
            raise RunError("the receiver dropped frames: its rate means nothing")

    alone = gr.top_block()
    source = blocks.vector_source_c(x.tolist(), True)
    alone.connect(source, blocks.null_sink(gr.sizeof_gr_complex))
    feed = cpu_rate(alone, lambda: source.nitems_written(0), lambda seconds: seconds > 0.2)
    return samples / seconds / 1e6, feed


def throughput(runs: int, cpu_s: float, track: Track) -> Report:
    """Samples per second of processor time at full duty, each half in flowgraphs of its own.

    Of several runs the best counts, as what else the machine does can only slow one down; with
    and without precoding, the slower counts.
    """
    rates: dict[str, dict[str, list[float]]] = {"transmitter": {}, "receiver": {}}
    feed = 0.0
    for precoded, _ in track(list(itertools.product((False, True), range(runs))), "throughput"):
        label = "precoded" if precoded else "plain"
        sent = transmitter_rate(cpu_s, precoded)
        received, feed = receiver_rate(cpu_s, precoded)
        rates["transmitter"].setdefault(label, []).append(sent)
        rates["receiver"].setdefault(label, []).append(received)
    best = {half: {k: max(v) for k, v in rates[half].items()} for half in rates}
    report = Report(curves={"throughput": best})
    for half, bar in (("transmitter", 60.0), ("receiver", 20.0)):
        ranges = (f"{k} {min(v):.0f} to {max(v):.0f}" for k, v in rates[half].items())
        note = f"best of {runs}: {', '.join(ranges)}"
        if half == "receiver":
            note += f"; source alone {feed:.0f}"
        value = min(best[half].values())
        report.figures.append(Figure(f"{half}_msps_per_core", value, "MS/s", bar, note=note))
    return report
