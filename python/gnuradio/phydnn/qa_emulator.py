#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The emulator against its NumPy reference, and its sockets against every kind of peer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray
from qa_zmq import LIMIT, bind, wait_for  # type: ignore[import-not-found]

from gnuradio import blocks, gr, gr_unittest, phydnn, zeromq
from gnuradio.phydnn.reference import emulator as reference
from phydnn.ports import free_ports

Samples = NDArray[np.complex64]

RATE = 20e6
NODES: list[dict[str, Any]] = [{"name": "device"}, {"name": "edge"}]

PEER = """
# A radio of ten lines: sends its own sample numbers, or notes what it receives.
import sys, zmq, array
role, endpoint, length = sys.argv[1], sys.argv[2], int(sys.argv[3])
with zmq.Context() as context, context.socket(zmq.REP if role == "send" else zmq.REQ) as s:
    if role == "send":
        s.bind(endpoint)
        while s.recv():
            s.send(array.array("f", [0.5, 0.25]) * length)
    s.connect(endpoint)
    while s.send(b"\\xff") is None:
        print(len(s.recv()) // 8, flush=True)
"""


def gaussian(count: int, seed: int = 0) -> Samples:
    """Circular Gaussian samples of unit power, by NumPy's generator."""
    parts = np.random.default_rng(seed).normal(scale=0.5**0.5, size=2 * count)
    return parts.astype(np.float32).view(np.complex64)


def taps(
    forward: Sequence[tuple[float, complex]], back: Sequence[tuple[float, complex]] = ()
) -> tuple[NDArray[np.float64], NDArray[np.complex64]]:
    """Delays (given in samples) and gains of two nodes' links, which do not change."""
    delays = np.zeros((1, 2, 2, 4))
    gains = np.zeros((1, 2, 2, 4), np.complex64)
    for (i, j), link in (((0, 1), forward), ((1, 0), back)):
        for k, (delay, gain) in enumerate(link):
            delays[0, i, j, k], gains[0, i, j, k] = delay / RATE, gain
    return delays, gains


FOUR = [(0, 0.5), (3, 0.25j), (10, -0.125), (57, 0.0625)]


def make(
    delays: NDArray[Any],
    gains: NDArray[Any],
    nodes: Sequence[dict[str, Any]] = NODES,
    times: Sequence[float] = (0.0,),
    **options: Any,
) -> phydnn.emulator:
    made = [phydnn.emulator_node(**node) for node in nodes]
    return phydnn.emulator(RATE, made, times, delays, gains, **options)


def same(a: Sequence[Samples], b: Sequence[Samples]) -> bool:
    """Whether all are equal, bit for bit."""
    return all(
        np.array_equal(x.view(np.uint32), y.view(np.uint32)) for x, y in zip(a, b, strict=True)
    )


@contextmanager
def running(emulator: phydnn.emulator) -> Iterator[phydnn.emulator]:
    emulator.start()
    try:
        yield emulator
    finally:
        emulator.stop()


def moving_case(seed: int) -> tuple[list[float], NDArray[np.float64], NDArray[np.complex128]]:
    """Taps that move, fade in and out, and jump, at uneven times."""
    rng = np.random.default_rng(seed)
    delays = np.zeros((4, 2, 2, 4))
    gains = np.zeros((4, 2, 2, 4), complex)
    delays[:, 0, 1] = rng.uniform(0, 3e-6, (4, 4))
    gains[:, 0, 1] = rng.normal(size=(4, 4, 2)) @ [1, 1j] / 4
    gains[1:3, 0, 1, 2] = 0
    drift = np.array([0, 0.5e-10, 1e-10, 0.5e-10])[:, None]  # a walk, not a jump
    delays[:, 1, 0] = rng.uniform(0, 3e-6, (1, 4)) + drift
    gains[:, 1, 0] = rng.normal(size=(1, 4, 2)) @ [1, 1j] / 4
    return [0.0001, 0.0004, 0.0006, 0.0011], delays, gains


class TestLinks(gr_unittest.TestCase):
    """What links and receivers make of samples."""

    def test_whole_delays_and_gains_are_exact(self) -> None:
        x = gaussian(70_000)
        _, y = make(*taps(FOUR)).run([x, None])
        expected = np.zeros(len(x), np.complex64)
        for delay, gain in FOUR:  # products with these gains, and the sums' order, are exact
            expected[int(delay) :] += np.complex64(gain) * x[: len(x) - int(delay)]
        np.testing.assert_array_equal(y, expected)

    def test_an_impulse_arrives_when_and_as_it_should(self) -> None:
        x = np.zeros(5000, np.complex64)
        x[1000] = 1
        silent, y = make(*taps(FOUR)).run([x, np.zeros_like(x)])
        self.assertEqual(
            [(int(n) - 1000, complex(y[n])) for n in np.flatnonzero(y)],
            [(delay, complex(gain)) for delay, gain in FOUR],
        )
        self.assertFalse(silent.any())

    def test_reference(self) -> None:
        n = 26_000
        x = [gaussian(n, 1), gaussian(n, 2)]
        fractional = taps([(0.3, 0.5), (3.7, 0.2j), (90.1, 0.1)], [(d + 0.4, g) for d, g in FOUR])
        times, delays, gains = moving_case(3)
        faded = np.array([[0, 300.0], [20.0, 0]])
        front_end = [
            {"name": "a", "cfo_hz": 3e3, "sfo_ppm": 20, "phase_noise_hz": 10, "noise": 0.1},
            {"name": "b", "cfo_hz": -8e3, "sfo_ppm": -40, "noise": 1e-3},
        ]
        still = {"times": [0.0]}
        # Float32's rounding; then a phase of the filter bank on the other side of a tie; then a
        # product of lines for the product of curves.
        close, phase, line = 3e-6, 2e-3, 4e-3
        cases: list[tuple[str, Any, dict[str, Any], float]] = [
            ("whole", taps(FOUR, FOUR[1:]), still, close),
            ("fractional", fractional, still, close),
            ("fading", fractional, {**still, "doppler_hz": faded}, close),
            ("front ends", fractional, {**still, "nodes": front_end}, 2e-4),
            ("scale", fractional, {**still, "scale": np.array([[1, 0.1], [3, 1]])}, close),
            ("moving", (delays, gains), {"times": times}, phase),
            ("moving and fading", (delays, gains), {"times": times, "doppler_hz": faded}, line),
            ("mchem", (delays, gains), {"times": times, "mchem": True}, close),
            (
                "mchem and fading",
                (delays, gains),
                {"times": times, "mchem": True, "doppler_hz": faded},
                close,
            ),
        ]
        for name, (d, g), options, tolerance in cases:
            with self.subTest(name):
                options = {"nodes": NODES, "seed": (7 << 32) + 5, **options}
                got = make(d, g, **options).run(x)
                expected = reference.Emulator(RATE, delays=d, gains=g, **options)(x)
                for y, z in zip(got, expected, strict=True):
                    self.assertGreater(len(y), n - 60)
                    error = float(np.abs(y - z[: len(y)]).max())
                    self.assertLess(error, tolerance * float(np.abs(z).max()))

    def test_converter(self) -> None:
        x = gaussian(10_000)
        node = {"name": "edge", "full_scale": 0.5}
        emulator = make(*taps([(0, 1)]), nodes=[NODES[0], node])
        _, y = emulator.run([x, None])
        parts = np.clip(x.view(np.float32) / 0.5, -1, 1)
        np.testing.assert_allclose(y.view(np.float32), np.round(parts * 32767) / 65534, atol=2e-5)
        clipped = int((np.abs(x.view(np.float32)) > 0.5).sum())
        self.assertEqual(emulator.status()["nodes"][1]["clipped"], clipped)

    def test_noise_has_the_density_asked_for(self) -> None:
        node = {"name": "edge", "noise": 0.04}
        _, y = make(*taps([]), nodes=[NODES[0], node]).run([np.zeros(200_000, np.complex64), None])
        self.assertAlmostEqual(float(np.mean(np.abs(y) ** 2)), 0.04, delta=0.04 * 0.02)

    def test_not_finite_samples_are_zeros(self) -> None:
        x = np.ones(1000, np.complex64)
        x[[10, 20]] = np.nan, np.inf
        emulator = make(*taps([(5.5, 1)]))
        _, y = emulator.run([x, None])
        self.assertTrue(np.isfinite(y).all())
        self.assertEqual(emulator.status()["nodes"][0]["not_finite"], 2)

    def test_mchem_holds_taps_to_what_it_can_do(self) -> None:
        step = RATE * 10e-9  # samples
        cases: dict[str, tuple[Any, Any]] = {
            "held at 0 dB": ([(0, 4)], [1]),
            "below -43 dB": ([(0, 0.5), (2, 0.007)], [0.5, 0, 0]),
            "above -43 dB": ([(0, 0.5), (2, 0.0072)], [0.5, 0, round(0.0072 * 32767) / 32767]),
            "beyond the line": ([(0, 0.5), (512 * step, 0.5)], [0.5] + [0] * 150),
            "those that meet": ([(0, 0.25), (0.4 * step, 0.25)], [0.5]),
        }
        for name, (link, impulse) in cases.items():
            with self.subTest(name):
                x = np.zeros(400, np.complex64)
                x[0] = 1
                _, y = make(*taps(link), mchem=True).run([x, None])
                np.testing.assert_allclose(y[: len(impulse)], impulse, atol=2e-5)
        delays, gains = np.zeros((1, 2, 2, 6)), np.zeros((1, 2, 2, 6))
        delays[0, 0, 1] = np.arange(6) / RATE
        gains[0, 0, 1] = [0.1, 0.5, 0.2, 0.4, 0.3, 0.05]
        _, y = make(delays, gains, mchem=True).run([x, None])
        self.assertEqual(np.flatnonzero(np.abs(y) > 1e-6).tolist(), [1, 2, 3, 4])


class TestReplay(gr_unittest.TestCase):
    """What is random or moves depends on the sample count, and on nothing else."""

    def everything(self, **options: Any) -> phydnn.emulator:
        times, delays, gains = moving_case(5)
        nodes = [
            {"name": "a", "cfo_hz": 3e3, "sfo_ppm": 20, "phase_noise_hz": 9, "noise": 0.1},
            {"name": "b", "sfo_ppm": -40, "noise": 1e-3, "full_scale": 2},
        ]
        doppler = np.array([[0, 300.0], [20.0, 0]])
        options = {"seed": 1, "doppler_hz": doppler, **options}
        return make(delays, gains, nodes, times, **options)

    def test_the_same_however_it_is_cut(self) -> None:
        x = [gaussian(40_000, 1), gaussian(40_000, 2)]
        for mchem in (False, True):
            whole = self.everything(mchem=mchem, threads=2).run(x)
            for block, longest, threads in ((16384, 5000, 1), (1000, 3000, 2), (37, 700, 1)):
                with self.subTest(mchem=mchem, block=block):
                    rng = np.random.default_rng(block)
                    emulator = self.everything(mchem=mchem, block=block, threads=threads)
                    sent = [0, 0]
                    received: list[list[Samples]] = [[], []]
                    while min(sent) < 40_000:
                        cuts = [int(rng.integers(longest + 1)) for _ in sent]
                        parts = [x[i][sent[i] : sent[i] + cuts[i]] for i in range(2)]
                        sent = [min(40_000, sent[i] + cuts[i]) for i in range(2)]
                        for j, y in enumerate(emulator.run(parts)):
                            received[j].append(y)
                    self.assertTrue(same([np.concatenate(y) for y in received], whole))

    def test_seeds(self) -> None:
        x = [gaussian(5000, 1), gaussian(5000, 2)]
        first = self.everything().run(x)
        self.assertTrue(same(first, self.everything().run(x)))
        for j, other in enumerate(self.everything(seed=2).run(x)):
            self.assertFalse(np.array_equal(other, first[j]))

    def test_changes(self) -> None:
        x = gaussian(30_000)
        link = [(2, 0.25), (7, 0.5j)]
        emulator = make(*taps(FOUR))
        self.assertEqual(emulator.set_gain(0, 1, 20 * np.log10(0.5), at=10_000), 10_000)
        new_delays, new_gains = zip(*link, strict=True)
        emulator.set_taps(0, 1, np.array(new_delays) / RATE, new_gains, at=20_001)
        self.assertEqual(emulator.set_taps(1, 0, [0.0], [1.0], at=25_000), 25_000)
        _, first = emulator.run([x[:12_345], x[:12_345]])
        self.assertEqual(emulator.set_gain(1, 0, 0.0), 12_345)
        back, second = emulator.run([x[12_345:], x[12_345:]])
        got = np.concatenate([first, second])
        sums = np.zeros((2, len(x)), np.complex64)
        for line, some in zip(sums, (FOUR, link), strict=True):
            for delay, gain in some:
                line[int(delay) :] += np.complex64(gain) * x[: len(x) - int(delay)]
        np.testing.assert_array_equal(got[:10_000], sums[0, :10_000])
        np.testing.assert_allclose(got[10_000:20_001], sums[0, 10_000:20_001] / 2, atol=1e-6)
        np.testing.assert_allclose(got[20_001:], sums[1, 20_001:] / 2, atol=1e-6)
        np.testing.assert_array_equal(back[25_000 - 12_345 :], x[25_000:])
        self.assertFalse(back[: 25_000 - 12_345].any())
        changes = json.loads(json.dumps(emulator.status()))["changes"]
        self.assertEqual([change["at"] for change in changes], [10_000, 20_001, 25_000, 12_345])
        self.assertEqual(changes[1]["gains"], [[0.25, 0.0], [0.0, 0.5]])
        with self.assertRaisesRegex(ValueError, "comes too late: the emulator is at sample 30000"):
            emulator.set_gain(0, 1, 0.0, at=29_999)


class TestArguments(gr_unittest.TestCase):
    """What is refused, and how."""

    def test_constructor(self) -> None:
        delays, gains = taps(FOUR)
        far, nan, loud = delays.copy(), delays.copy(), gains.copy()
        far[0, 0, 1, 3], nan[0, 0, 1, 3], loud[0, 0, 1, 3] = 1, np.nan, np.inf
        node = NODES[0]
        cases: list[tuple[str, dict[str, Any]]] = [
            ("delays must be within the line", {"delays": far}),
            ("delays must be within the line", {"delays": nan}),
            ("delays must be within the line, 0 to 1e-06 s", {"line": 1e-6}),
            ("gains must be finite", {"gains": loud}),
            ("gains must have the shape", {"gains": gains[..., :2]}),
            ("delays must have the shape", {"delays": delays[0]}),
            ("delays must have the shape", {"times": [0, 1]}),
            ("times must be 0 or more and rise", {"times": [-1]}),
            ("scale must have the shape", {"scale": np.ones(2)}),
            ("doppler_hz must be in the range", {"doppler_hz": np.full((2, 2), 1e6)}),
            ("cfo_hz must be less", {"nodes": [node, {"name": "b", "cfo_hz": 1e7}]}),
            ("sfo_ppm must be", {"nodes": [node, {"name": "b", "sfo_ppm": 1001}]}),
            ("phase_noise_hz must", {"nodes": [node, {"name": "b", "phase_noise_hz": -1}]}),
            ("noise must be", {"nodes": [node, {"name": "b", "noise": -1}]}),
            ("full_scale must be", {"nodes": [node, {"name": "b", "full_scale": -1}]}),
            ("dead_peer must be 'stall', 'zero' or 'fail'", {"dead_peer": "wait"}),
            ("timeout_s must be", {"timeout_s": 0}),
            ("block must be", {"block": 0}),
        ]
        for message, changed in cases:
            with self.subTest(message), self.assertRaisesRegex(ValueError, message):
                make(**{"delays": delays, "gains": gains, **changed})
        with self.assertRaisesRegex(ValueError, "one node at least"):
            phydnn.emulator(RATE, [], [0], np.zeros((1, 0, 0, 1)), np.zeros((1, 0, 0, 1)))
        with self.assertRaisesRegex(ValueError, "sample_rate"):
            phydnn.emulator(0, [phydnn.emulator_node("a")], [], *np.zeros((2, 1, 1, 1, 1)))

    def test_changes(self) -> None:
        emulator = make(*taps(FOUR))
        calls: list[tuple[str, Callable[[], Any]]] = [
            ("there are 2 nodes", lambda: emulator.set_gain(0, 2, 0)),
            ("there are 2 nodes", lambda: emulator.set_taps(2, 0, [0], [1])),
            ("-300 to 120 dB", lambda: emulator.set_gain(0, 1, np.nan)),
            ("within the line", lambda: emulator.set_taps(0, 1, [6e-6], [1])),
            ("one value per tap", lambda: emulator.set_taps(0, 1, [0], [1, 2])),
        ]
        for message, call in calls:
            with self.assertRaisesRegex(ValueError, message):
                call()

    def test_run(self) -> None:
        x = gaussian(100)
        with self.assertRaisesRegex(ValueError, "each of the 2 nodes"):
            make(*taps(FOUR)).run([x])
        with self.assertRaisesRegex(ValueError, "one node at least"):
            make(*taps(FOUR)).run([None, None])
        emulator = make(*taps(FOUR))
        emulator.run([x, None])
        with self.assertRaisesRegex(RuntimeError, "silent in all calls"):
            emulator.run([x, x])
        with self.assertRaisesRegex(RuntimeError, "starts once"):
            emulator.start()


class Feed:
    """A peer in a thread that sends samples, in replies of uneven lengths, and then zeros."""

    def __init__(self, samples: Samples, endpoint: str, lengths: Sequence[int]) -> None:
        self.samples, self.endpoint, self.lengths = samples, endpoint, lengths
        self.stopping = False
        self.thread = threading.Thread(target=self.serve)

    def serve(self) -> None:
        sent = turn = 0
        with zmq.Context() as context, context.socket(zmq.REP) as server:
            server.setsockopt(zmq.LINGER, 0)
            bind(server, self.endpoint)
            while not self.stopping:
                if not server.poll(20):
                    continue
                assert server.recv() == b"\xff"
                count = self.lengths[turn % len(self.lengths)]
                part = self.samples[sent : sent + count]
                server.send(part.tobytes() if len(part) else bytes(8 * count))
                sent, turn = sent + count, turn + 1

    def __enter__(self) -> Feed:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping = True
        self.thread.join()


def collect(endpoint: str, count: int) -> Samples:
    """The first samples that a plain client is given."""
    got: list[Samples] = []
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.setsockopt(zmq.LINGER, 0)
        client.setsockopt(zmq.RCVTIMEO, int(LIMIT * 1000))
        client.connect(endpoint)
        while sum(map(len, got)) < count:
            client.send(b"\xff")
            got.append(np.frombuffer(client.recv(), np.complex64))
    return np.concatenate(got)[:count]


class TestSockets(gr_unittest.TestCase):
    """Peers that speak the protocol, each in its own way."""

    def ends(self, kind: str = "tcp") -> tuple[list[dict[str, Any]], list[str]]:
        """Two nodes that both send and receive, and their four endpoints."""
        if kind == "tcp":
            ports = free_ports(4)
        else:
            folder = tempfile.mkdtemp()
            ports = [f"ipc://{folder}/{name}" for name in "abcd"]
        nodes = [
            {**NODES[0], "transmits": ports[0], "receives": ports[1], "noise": 0.01},
            {**NODES[1], "transmits": ports[2], "receives": ports[3], "sfo_ppm": 5},
        ]
        return nodes, ports

    def test_the_same_as_without_sockets(self) -> None:
        n = 150_000
        x = [gaussian(n, 1), gaussian(n, 2)]
        times, delays, gains = moving_case(5)
        for kind in ("tcp", "ipc"):
            nodes, ports = self.ends(kind)
            expected = make(delays, gains, nodes, times, seed=3).run(x)
            # No peer is late, however busy the machine.
            emulator = make(delays, gains, nodes, times, seed=3, timeout_s=LIMIT)
            got: dict[int, Samples] = {}

            def client(j: int, got: dict[int, Samples] = got, ports: list[str] = ports) -> None:
                got[j] = collect(ports[2 * j + 1], n - 60)

            clients = [threading.Thread(target=client, args=(j,)) for j in range(2)]
            with (
                running(emulator),
                Feed(x[0], ports[0], [1, 777, 30_000, 8192]),
                Feed(x[1], ports[2], [65_536, 3]),
            ):
                for thread in clients:
                    thread.start()
                for thread in clients:
                    thread.join()
                self.assertEqual(emulator.status()["state"], "running")
            self.assertTrue(same([got[0], got[1]], [y[: n - 60] for y in expected]))
            status = emulator.status()
            self.assertEqual(status["state"], "stopped")
            self.assertGreaterEqual(status["samples"], n - 60)
            for node in status["nodes"]:
                quiet = ("zero_filled", "lost", "stalls", "reconnects", "refused")
                self.assertEqual([node[key] for key in quiet], [0] * len(quiet))
                self.assertGreaterEqual(node["samples_out"], n - 60)
                self.assertGreaterEqual(node["samples_in"], status["samples"])

    def attach(self, sink: Any, source: Any, nodes: list[dict[str, Any]]) -> None:
        x = gaussian(60_000)
        kept = blocks.vector_sink_c()
        graph = gr.top_block()
        graph.connect(blocks.vector_source_c(x), sink)
        graph.connect(source, kept)
        with running(make(*taps(FOUR), nodes=nodes)):
            graph.start()
            wait_for(lambda: len(kept.data()) == len(x))
            graph.stop()
            graph.wait()
        _, expected = make(*taps(FOUR)).run([x, None])
        self.assertTrue(same([np.array(kept.data(), np.complex64)], [expected]))

    def one_way(self) -> tuple[list[dict[str, Any]], list[str]]:
        ports = free_ports(2)
        return [{**NODES[0], "transmits": ports[0]}, {**NODES[1], "receives": ports[1]}], ports

    def test_gnuradios_own_blocks(self) -> None:
        nodes, ports = self.one_way()
        sink = zeromq.rep_sink(gr.sizeof_gr_complex, 1, ports[0], 100)
        source = zeromq.req_source(gr.sizeof_gr_complex, 1, ports[1], 100)
        self.attach(sink, source, nodes)

    def test_our_blocks(self) -> None:
        nodes, ports = self.one_way()
        self.attach(phydnn.zmq_sink(ports[0]), phydnn.zmq_source(ports[1]), nodes)

    def test_live_changes_replay(self) -> None:
        n = 2_000_000
        x = gaussian(n)
        nodes, ports = self.one_way()
        emulator = make(*taps(FOUR), nodes=nodes)
        got: list[Samples] = []
        thread = threading.Thread(target=lambda: got.append(collect(ports[1], n)))
        with running(emulator), Feed(x, ports[0], [20_000]):
            thread.start()
            for k in range(5):
                wait_for(lambda k=k: emulator.status()["samples"] > 200_000 * (k + 1))
                emulator.set_gain(0, 1, -k)
            thread.join()
        changes = emulator.status()["changes"]
        self.assertEqual(len(changes), 5)
        again = make(*taps(FOUR))
        for change in changes:
            again.set_gain(0, 1, change["gain_db"], change["at"])
        self.assertTrue(same(got, again.run([x, None])[1:]))

    def test_ports_that_cannot_be_had(self) -> None:
        nodes, ports = self.one_way()
        with running(make(*taps(FOUR), nodes=nodes)):
            second = make(*taps(FOUR), nodes=[NODES[0], nodes[1]])
            with self.assertRaisesRegex(RuntimeError, f"{ports[1]}: the port is in use"):
                second.start()
        with self.assertRaisesRegex(ValueError, "an endpoint is like"):
            make(*taps(FOUR), nodes=[{"name": "a", "transmits": "5550"}, NODES[1]]).start()

    def test_garbage_is_refused(self) -> None:
        nodes, ports = self.one_way()
        x = gaussian(1000)
        emulator = make(*taps([(0, 1)]), nodes=nodes)
        with running(emulator), zmq.Context() as context:
            with context.socket(zmq.REQ) as client:
                client.connect(ports[1])
                client.send(b"garbage")
                self.assertEqual(client.recv(), b"")
            with context.socket(zmq.REP) as server:
                bind(server, ports[0])
                for reply in (b"odd", b"", bytes((1 << 24) + 8)):
                    server.recv()
                    server.send(reply)  # the last is above the bound
                wait_for(lambda: emulator.status()["nodes"][0]["reconnects"] == 1)
            with Feed(x, ports[0], [1000]):
                np.testing.assert_array_equal(collect(ports[1], 1000), x)
            seen = emulator.status()["nodes"]
        self.assertEqual([node["refused"] for node in seen], [1, 1])
        self.assertEqual(seen[0]["samples_in"] % 1000, 0)

    def test_a_client_that_connects_twice(self) -> None:
        nodes, ports = self.one_way()
        x = gaussian(200_000)
        emulator = make(*taps([(0, 1)]), nodes=nodes, block=10_000)
        with (
            running(emulator),
            Feed(x, ports[0], [5000]),
            zmq.Context() as context,
            context.socket(zmq.REQ) as first,
            context.socket(zmq.REQ) as second,
        ):
            first.connect(ports[1])
            first.send(b"\xff")
            got = [np.frombuffer(first.recv(), np.complex64)]
            second.connect(ports[1])
            second.send(b"\xff")
            wait_for(lambda: emulator.status()["nodes"][1]["refused"] == 1)
            for _ in range(3):
                first.send(b"\xff")
                got.append(np.frombuffer(first.recv(), np.complex64))
            self.assertFalse(second.poll(50))
            first.close(0)
            got.append(np.frombuffer(second.recv(), np.complex64))
        whole = np.concatenate(got)
        np.testing.assert_array_equal(whole, x[: len(whole)])


class TestDeadPeers(gr_unittest.TestCase):
    """Processes that are killed and started again."""

    def setUp(self) -> None:
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.script = self.folder / "peer.py"
        self.script.write_text(PEER)
        ports = free_ports(4)
        self.nodes = [
            {**NODES[0], "transmits": ports[0], "receives": ports[1]},
            {**NODES[1], "transmits": ports[2], "receives": ports[3]},
        ]
        self.ports = ports
        self.peers: dict[int, subprocess.Popen[bytes]] = {}
        self.received = [0, 0]  # of each node, by all its processes

    def tearDown(self) -> None:
        for peer in self.peers.values():
            peer.kill()
        for number in list(self.peers):
            self.reap(number)
        self.stack.close()

    def spawn(self, number: int) -> None:
        """Process ``number``: 0 and 2 send for the nodes, 1 and 3 receive."""
        role = "receive" if number % 2 else "send"
        arguments = [sys.executable, str(self.script), role, self.ports[number], "4096"]
        # Their output is read when they have ended: a file never makes them wait.
        with (self.folder / str(number)).open("wb") as out:
            self.peers[number] = subprocess.Popen(arguments, stdout=out)

    def reap(self, number: int) -> None:
        self.peers.pop(number).wait(LIMIT)
        lines = (self.folder / str(number)).read_text().split("\n")[:-1]  # the last may be cut
        self.received[number // 2] += sum(map(int, lines))

    def kill(self, number: int) -> None:
        self.peers[number].kill()
        self.reap(number)

    def flows(self, emulator: phydnn.emulator, samples: int = 50_000) -> None:
        """Waits until it has got on by so many samples."""
        start = emulator.status()["samples"]
        wait_for(lambda: emulator.status()["samples"] >= start + samples)

    def stands(self, emulator: phydnn.emulator, number: int) -> bool:
        """Whether it has stood still for 0.2 s, and knows that this process is gone."""
        before = emulator.status()
        time.sleep(0.2)
        after = emulator.status()
        end = after["nodes"][number // 2]["receiver" if number % 2 else "transmitter"]
        still = before["samples"] == after["samples"] and after["state"] == "stalled"
        return still and end == "absent"

    def test_stall(self) -> None:
        with running(make(*taps(FOUR, FOUR), nodes=self.nodes, timeout_s=0.1)) as emulator:
            for number in range(4):
                self.spawn(number)
            self.flows(emulator)
            for turn in range(4):
                self.kill(turn)
                wait_for(lambda n=turn: self.stands(emulator, n))
                self.spawn(turn)
                self.flows(emulator)
            # A peer that the machine makes wait for 0.1 s is a stall, too.
            wait_for(lambda: emulator.status()["state"] == "running")
            seen = emulator.status()
        for node in seen["nodes"]:
            self.assertEqual((node["zero_filled"], node["lost"], node["refused"]), (0, 0, 0))
            self.assertEqual(node["reconnects"], 2)
            self.assertGreaterEqual(node["stalls"], 2)
            self.assertEqual(node["samples_in"], seen["samples"] + node["queued_in"])

    def test_zero(self) -> None:
        options: dict[str, Any] = {"nodes": self.nodes, "dead_peer": "zero", "timeout_s": 0.1}
        with running(make(*taps(FOUR, FOUR), **options)) as emulator:
            for number in range(4):
                self.spawn(number)
            self.flows(emulator)
            for turn in range(10):
                number = turn % 4
                self.kill(number)
                self.flows(emulator, 200_000)  # the others go on
                self.spawn(number)
                end = "receiver" if number % 2 else "transmitter"
                node = number // 2
                wait_for(lambda n=node, e=end: emulator.status()["nodes"][n][e] == "connected")
                self.flows(emulator)
            for peer in self.peers.values():
                peer.send_signal(signal.SIGTERM)
            for number in list(self.peers):
                self.reap(number)
            emulator.stop()
            seen = emulator.status()
        self.assertEqual(sum(node["reconnects"] for node in seen["nodes"]), 10)
        for j, node in enumerate(seen["nodes"]):
            self.assertEqual(
                node["samples_in"] + node["zero_filled"], seen["samples"] + node["queued_in"]
            )
            self.assertEqual(
                node["samples_out"] + node["lost"] + node["queued_out"], seen["samples"]
            )
            self.assertGreater(node["zero_filled"], 0)
            self.assertGreater(node["lost"], 0)
            # A process that is killed takes at most what it had asked for, and one note, along.
            self.assertLessEqual(self.received[j], node["samples_out"])

    def test_a_stopped_process_is_no_end(self) -> None:
        options: dict[str, Any] = {"nodes": self.nodes, "timeout_s": 0.1}
        with running(make(*taps(FOUR, FOUR), **options)) as emulator:
            for number in range(4):
                self.spawn(number)
            self.flows(emulator)
            os.kill(self.peers[0].pid, signal.SIGSTOP)
            wait_for(lambda: emulator.status()["state"] == "stalled")
            os.kill(self.peers[0].pid, signal.SIGCONT)
            self.flows(emulator)
            self.assertEqual([node["reconnects"] for node in emulator.status()["nodes"]], [0, 0])

    def test_fail(self) -> None:
        options: dict[str, Any] = {"nodes": self.nodes, "dead_peer": "fail", "timeout_s": 2}
        with running(make(*taps(FOUR, FOUR), **options)) as emulator:
            self.assertFalse(emulator.wait(0.4))  # nobody has come yet: nobody has failed
            self.assertEqual(emulator.status()["state"], "waiting")
            for number in range(4):
                self.spawn(number)
            self.flows(emulator)
            self.assertFalse(emulator.wait(0))
            self.kill(2)
            with self.assertRaisesRegex(
                RuntimeError, r"node 'edge' has not sent samples for \d+ s"
            ):
                emulator.wait(LIMIT)
            self.assertEqual(emulator.status()["state"], "failed")
        self.assertIn("edge", emulator.status()["error"])


if __name__ == "__main__":
    gr_unittest.run(TestLinks)
    gr_unittest.run(TestReplay)
    gr_unittest.run(TestArguments)
    gr_unittest.run(TestSockets)
    gr_unittest.run(TestDeadPeers)
