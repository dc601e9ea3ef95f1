# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Samples per second of the emulator, through its sockets, peers included."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from gnuradio import blocks, channels, gr, phydnn
from gnuradio.phydnn.bench import RATE, Figure, Report, Track
from phydnn.errors import RunError
from phydnn.ports import free_ports

BAR = 20.0
DELAYS = np.array([0, 3, 10, 55])  # samples
GAINS = np.array([0.8, 0.3j, 0.2 - 0.1j, 0.1])
N0 = 0.01
REPLY = 65536  # samples that a peer sends at a time
LIMIT = 60.0  # seconds that peers may take to come, or to go on

SENDERS = """
import array, sys, zmq
reply = memoryview(array.array("f", [0.5, -0.25] * int(sys.argv[1])))
context, poller = zmq.Context(), zmq.Poller()
for endpoint in sys.argv[2:]:
    server = context.socket(zmq.REP)
    server.bind(endpoint)
    poller.register(server, zmq.POLLIN)
while True:
    for server, _ in poller.poll():
        server.recv()
        server.send(reply, copy=False)
"""

RECEIVERS = """
import sys, zmq
context, poller = zmq.Context(), zmq.Poller()
for endpoint in sys.argv[2:]:
    client = context.socket(zmq.REQ)
    client.connect(endpoint)
    poller.register(client, zmq.POLLIN)
    client.send(b"\\xff")
while True:
    for client, _ in poller.poll():
        client.recv(copy=False)
        client.send(b"\\xff")
"""
"""Peers that cost as little as can be: all nodes' senders in one process, receivers in another."""


def measure(quick: bool, track: Track) -> Report:
    """Both directions at once, whole and fractional delays; and many links, against GNU Radio's.

    Every receiver has noise. The machine's cores are shared by the emulator and its peers.

    Raises:
        RunError: the peers or the emulator stopped.
    """
    seconds = 0.2 if quick else 2.0
    runs = [
        ("emulator_msps_each_way", 2, 0.0, "4 taps each way, whole delays"),
        ("emulator_msps_each_way_fractional", 2, 0.3, "4 taps each way, fractional delays"),
        ("emulator_msps_each_way_10_nodes", 10, 0.0, "90 links of 4 taps, whole delays"),
    ]
    report = Report()
    rates = {}
    for name, nodes, fraction, note in track(runs, "emulator"):
        rates[name] = through_sockets(nodes, fraction, seconds)
        bar = BAR if name == "emulator_msps_each_way" else None
        note = f"{nodes} nodes, {note}, noise, TCP on loopback, median of 5"
        report.figures.append(Figure(name, rates[name], "MS/s", bar, note=note))
    own = 90 * rates["emulator_msps_each_way_10_nodes"]
    others = channel_model(seconds)
    note = f"90 links: {own:.0f} MS/s of a link, sockets included; channel_model: {others:.1f} MS/s"
    report.figures.append(Figure("emulator_link_over_channel_model", own / others, "", note=note))
    return report


def through_sockets(nodes: int, fraction: float, seconds: float) -> float:
    """Samples per second, in millions, that every node sends and receives at the same time."""
    endpoints = free_ports(2 * nodes)
    senders, receivers = endpoints[:nodes], endpoints[nodes:]
    pairs = enumerate(zip(senders, receivers, strict=True))
    delays, gains = np.zeros((1, nodes, nodes, 4)), np.zeros((1, nodes, nodes, 4), np.complex64)
    delays[:] = (DELAYS + fraction * (1 + 0.1 * np.arange(4))) / RATE
    gains[0, ~np.eye(nodes, dtype=bool)] = GAINS
    emulator = phydnn.emulator(
        RATE,
        [phydnn.emulator_node(str(i), sends, gets, noise=N0) for i, (sends, gets) in pairs],
        [0.0],
        delays,
        gains,
    )
    with process(SENDERS, senders), process(RECEIVERS, receivers):
        emulator.start()
        try:
            wait_until_running(emulator)
            time.sleep(seconds / 2)
            return statistics.median(rate(emulator, seconds) for _ in range(5))
        finally:
            emulator.stop()


def rate(emulator: phydnn.emulator, seconds: float) -> float:
    """Millions of samples per second over that time, or until there are some.

    Raises:
        RunError: the emulation stood still.
    """
    before = emulator.status()
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        time.sleep(seconds)
        after = emulator.status()
        if count := after["samples"] - before["samples"]:
            return float(count / (after["wall_s"] - before["wall_s"]) / 1e6)
    raise RunError(f"the emulator stood still, its state is '{after['state']}'")


def wait_until_running(emulator: phydnn.emulator) -> None:
    """Until all peers have come.

    Raises:
        RunError: some did not.
    """
    end = time.monotonic() + LIMIT
    while emulator.status()["state"] == "waiting":
        if time.monotonic() > end:
            raise RunError("the peers of bench emulator did not come: is pyzmq installed?")
        time.sleep(0.01)


@contextmanager
def process(script: str, endpoints: Sequence[str]) -> Iterator[None]:
    """A peer of that script, which takes the size of a reply in samples, and endpoints."""
    peer = subprocess.Popen([sys.executable, "-c", script, str(REPLY), *endpoints])
    try:
        yield
    finally:
        peer.kill()
        peer.wait()


def channel_model(seconds: float) -> float:
    """Millions of samples per second of GNU Radio's own channel with the same taps and noise."""
    taps = np.zeros(DELAYS[-1] + 1, complex)
    taps[DELAYS] = GAINS
    graph = gr.top_block()
    sink = blocks.null_sink(gr.sizeof_gr_complex)
    graph.connect(
        blocks.null_source(gr.sizeof_gr_complex),
        channels.channel_model(N0**0.5, 0.0, 1.0, taps.tolist(), 0),
        sink,
    )
    graph.start()
    time.sleep(seconds / 2)
    rates = []
    for _ in range(5):
        first, started = sink.nitems_read(0), time.perf_counter()
        time.sleep(seconds)
        rates.append((sink.nitems_read(0) - first) / (time.perf_counter() - started) / 1e6)
    graph.stop()
    graph.wait()
    return statistics.median(rates)
