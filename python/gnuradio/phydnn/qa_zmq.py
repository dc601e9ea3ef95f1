#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Sample streams over ZeroMQ: every peer that speaks the protocol, and those that do not."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import zmq
from numpy.typing import NDArray

from gnuradio import blocks, gr, gr_unittest, phydnn, zeromq
from phydnn.ports import free_ports

Samples = NDArray[np.complex64]

LIMIT = 60.0  # seconds that anything may take


def ramp(count: int) -> Samples:
    """Samples that name their own position."""
    n = np.arange(count, dtype=np.float32)
    return (n + 1j * (n + 0.5)).astype(np.complex64)


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until it holds.

    Raises:
        TimeoutError: it never did.
    """
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("waited in vain")
        time.sleep(0.005)


def bind(server: zmq.Socket[bytes], endpoint: str) -> None:
    """Bind where another socket may have been a moment ago: they close in the background."""
    end = time.monotonic() + LIMIT
    while True:
        try:
            server.bind(endpoint)
            return
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE or time.monotonic() > end:
                raise
            time.sleep(0.01)


@contextmanager
def running(*chains: tuple[gr.basic_block, ...]) -> Iterator[gr.top_block]:
    """A flowgraph of these chains, while it runs."""
    graph = gr.top_block()
    for chain in chains:
        graph.connect(*chain)
    graph.start()
    try:
        yield graph
    finally:
        graph.stop()
        graph.wait()


@contextmanager
def peer(kind: int, endpoint: str, bind: bool = False) -> Iterator[zmq.Socket[bytes]]:
    """A plain socket of pyzmq that gives up in time, in a context of its own."""
    with zmq.Context() as context, context.socket(kind) as made:
        made.setsockopt(zmq.LINGER, 0)
        made.setsockopt(zmq.RCVTIMEO, int(LIMIT * 1000))
        (made.bind if bind else made.connect)(endpoint)
        yield made


def as_samples(message: bytes) -> Samples:
    return np.frombuffer(message, np.complex64)


class TestSink(gr_unittest.TestCase):
    """The end that answers."""

    def test_a_plain_client(self) -> None:
        x = ramp(100_000)
        sink = phydnn.zmq_sink("tcp://127.0.0.1:*")
        with (
            running((blocks.vector_source_c(x), sink)),
            peer(zmq.REQ, sink.endpoint) as client,
        ):
            got: list[Samples] = []
            while sum(map(len, got)) < len(x):
                client.send(b"\xff")
                got.append(as_samples(client.recv()))
        np.testing.assert_array_equal(np.concatenate(got), x)
        self.assertEqual((sink.samples, sink.requests), (len(x), len(got)))
        self.assertEqual((sink.connections, sink.refused), (1, 0))

    def test_gnuradios_own_source(self) -> None:
        x = ramp(100_000)
        sink = phydnn.zmq_sink("tcp://127.0.0.1:*")
        source = zeromq.req_source(gr.sizeof_gr_complex, 1, sink.endpoint, 100)
        kept = blocks.vector_sink_c()
        with running((blocks.vector_source_c(x), sink), (source, kept)):
            wait_for(lambda: len(kept.data()) == len(x))
        np.testing.assert_array_equal(kept.data(), x)
        self.assertEqual(sink.refused, 0)

    def test_a_request_may_bound_its_reply(self) -> None:
        sink = phydnn.zmq_sink("tcp://127.0.0.1:*")
        with (
            running((blocks.vector_source_c(ramp(1000)), sink)),
            peer(zmq.REQ, sink.endpoint) as client,
        ):
            for count in (7, 1):
                client.send(int(count).to_bytes(4, "little"))
                self.assertEqual(len(as_samples(client.recv())), count)

    def test_garbage_is_refused(self) -> None:
        x = ramp(50_000)
        sink = phydnn.zmq_sink("tcp://127.0.0.1:*")
        with running((blocks.vector_source_c(x), sink)):
            with peer(zmq.REQ, sink.endpoint) as client:
                for request in (b"", b"xx", b"too long to be one", bytes(200)):
                    client.send(request)
                    self.assertEqual(client.recv(), b"")
            with peer(zmq.DEALER, sink.endpoint) as client:
                client.send_multipart([b"no delimiter", b"\xff"])
                client.recv_multipart()
                client.send_multipart([b"", b"\xff", b"and more"])
                client.recv_multipart()
            self.assertEqual(sink.refused, 6)
            with peer(zmq.REQ, sink.endpoint) as client:  # too large to be looked at
                client.send(bytes(1 << 20))
                client.setsockopt(zmq.RCVTIMEO, 200)
                self.assertRaises(zmq.Again, client.recv)
            host, port = sink.endpoint[len("tcp://") :].split(":")
            with socket.create_connection((host, int(port))) as raw:  # not even ZeroMQ
                raw.sendall(b"GET / HTTP/1.1\r\n\r\n" * 50)
            self.assertEqual((sink.samples, sink.connections), (0, 0))
            with peer(zmq.REQ, sink.endpoint) as client:
                client.send(b"\xff")
                first = as_samples(client.recv())
        np.testing.assert_array_equal(first, x[: len(first)])

    def test_no_message_upsets_it(self) -> None:
        x = ramp(10_000)
        rng = np.random.default_rng(0)
        sink = phydnn.zmq_sink("tcp://127.0.0.1:*")
        with running((blocks.vector_source_c(x), sink)):
            with peer(zmq.DEALER, sink.endpoint) as client:
                sent = 0
                for _ in range(500):
                    sizes = rng.choice([0, 0, 1, 2, 3, 4, 5, 200], rng.integers(1, 8))
                    frames = [rng.bytes(int(size)) for size in sizes]
                    # Up to four frames, an empty one, and a request of 1 or 4 bytes are sound.
                    empty = int(np.argmin(sizes)) if 0 in sizes else len(sizes)
                    if empty < 4 and len(sizes) == empty + 2 and sizes[-1] in (1, 4):
                        continue
                    client.send_multipart(frames)
                    sent += 1
                wait_for(lambda: sink.refused == sent)
            self.assertGreater(sent, 300)
            self.assertEqual(sink.samples, 0)
            with peer(zmq.REQ, sink.endpoint) as client:
                client.send(b"\xff")
                first = as_samples(client.recv())
        np.testing.assert_array_equal(first, x[: len(first)])

    def test_a_second_client_waits_for_its_turn(self) -> None:
        x = ramp(100_000)
        sink = phydnn.zmq_sink("tcp://127.0.0.1:*")
        with (
            running((blocks.vector_source_c(x), sink)),
            peer(zmq.REQ, sink.endpoint) as second,
        ):
            with peer(zmq.REQ, sink.endpoint) as first:
                first.send(b"\xff")
                got = as_samples(first.recv())
                second.send(b"\xff")
                wait_for(lambda: sink.refused == 1)
                for _ in range(3):
                    first.send(b"\xff")
                    got = np.concatenate([got, as_samples(first.recv())])
                self.assertFalse(second.poll(50))
            got = np.concatenate([got, as_samples(second.recv())])
            self.assertEqual(sink.connections, 2)
        np.testing.assert_array_equal(got, x[: len(got)])

    def test_a_client_that_restarts_goes_on(self) -> None:
        x = ramp(400_000)
        sink = phydnn.zmq_sink("tcp://127.0.0.1:*")
        got: list[Samples] = []
        with running((blocks.vector_source_c(x), sink)):
            for turn in range(10):
                with peer(zmq.REQ, sink.endpoint) as client:
                    for _ in range(3):
                        client.send(b"\xff")
                        got.append(as_samples(client.recv()))
                    wait_for(lambda turn=turn: sink.connections == turn + 1)  # type: ignore[misc]
        np.testing.assert_array_equal(np.concatenate(got), x[: sum(map(len, got))])

    def test_what_cannot_be_bound(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        for free in ("tcp://127.0.0.1:*", f"ipc://{folder}/a"):
            sink = phydnn.zmq_sink(free)
            with self.assertRaisesRegex(RuntimeError, f"{sink.endpoint}: the port is in use"):
                phydnn.zmq_sink(sink.endpoint)
            del sink
            phydnn.zmq_sink(free)
        with self.assertRaisesRegex(RuntimeError, "of this machine"):
            phydnn.zmq_sink("tcp://192.0.2.1:5550")
        for endpoint in (
            "",
            "5550",
            "tcp://127.0.0.1",
            "udp://127.0.0.1:5550",
            "tcp://127.0.0.1:x",
        ):
            with self.assertRaisesRegex(ValueError, "an endpoint is like"):
                phydnn.zmq_sink(endpoint)


class TestSource(gr_unittest.TestCase):
    """The end that asks."""

    def test_a_ten_line_peer(self) -> None:
        x = ramp(300_000)
        (endpoint,) = free_ports(1)
        arrived = threading.Event()
        lengths = [1, 2, 1000, 77_777, 8192, 100_000]

        def serve() -> None:
            sent = 0
            with peer(zmq.REP, endpoint, bind=True) as server:
                while sent < len(x):
                    self.assertEqual(server.recv(), b"\xff")
                    count = lengths[sent % len(lengths)]
                    server.send(x[sent : sent + count].tobytes())
                    sent += min(count, len(x) - sent)
                arrived.wait(LIMIT)  # a socket that closes takes what is on its way along

        source, kept = phydnn.zmq_source(endpoint), blocks.vector_sink_c()
        thread = threading.Thread(target=serve)
        thread.start()
        with running((source, kept)):
            wait_for(lambda: len(kept.data()) == len(x))
            arrived.set()
            thread.join()
        np.testing.assert_array_equal(kept.data(), x)
        self.assertEqual((source.samples, source.connections, source.refused), (len(x), 1, 0))

    def test_gnuradios_own_sink(self) -> None:
        x = ramp(100_000)
        (endpoint,) = free_ports(1)
        sink = zeromq.rep_sink(gr.sizeof_gr_complex, 1, endpoint, 100)
        source, kept = phydnn.zmq_source(endpoint), blocks.vector_sink_c()
        with running((blocks.vector_source_c(x), sink), (source, kept)):
            wait_for(lambda: len(kept.data()) == len(x))
        np.testing.assert_array_equal(kept.data(), x)

    def test_one_to_the_other(self) -> None:
        x = ramp(2_000_000)
        sink = phydnn.zmq_sink("tcp://127.0.0.1:*")
        source, head = phydnn.zmq_source(sink.endpoint), blocks.head(8, len(x))
        kept = blocks.vector_sink_c()
        with running((blocks.vector_source_c(x), sink), (source, head, kept)):
            wait_for(lambda: len(kept.data()) == len(x))
        np.testing.assert_array_equal(kept.data(), x)
        self.assertEqual((source.samples, sink.samples), (len(x), len(x)))

    def test_a_peer_that_restarts(self) -> None:
        x = ramp(100_000)
        (endpoint,) = free_ports(1)
        source, kept = phydnn.zmq_source(endpoint), blocks.vector_sink_c()
        sent = 0
        with running((source, kept)):
            for turn in range(10):
                with peer(zmq.REP, endpoint, bind=True) as server:
                    for _ in range(5):
                        server.recv()
                        server.send(x[sent : sent + 1000].tobytes())
                        sent += 1000
                    wait_for(lambda sent=sent: source.samples == sent)  # type: ignore[misc]
                    if turn % 2:  # dies with a request in its hands
                        server.recv()
            wait_for(lambda: len(kept.data()) == sent)
        np.testing.assert_array_equal(kept.data(), x[:sent])
        self.assertEqual(source.connections, 10)

    def test_garbage_is_refused(self) -> None:
        x = ramp(1000)
        (endpoint,) = free_ports(1)
        source, kept = phydnn.zmq_source(endpoint, 1000), blocks.vector_sink_c()
        with running((source, kept)):
            with peer(zmq.REP, endpoint, bind=True) as server:
                for reply in ([b"odd"], [bytes(8), bytes(8)], [b""], [x[:400].tobytes()]):
                    server.recv()
                    server.send_multipart(reply)
                server.recv()
                server.send(bytes(8001))  # above the bound: the connection ends
                wait_for(lambda: source.connections == 2)
            with peer(zmq.REP, endpoint, bind=True) as server:
                server.recv()
                server.send(x[400:].tobytes())
                wait_for(lambda: source.samples == 1000)
            wait_for(lambda: len(kept.data()) == len(x))
        np.testing.assert_array_equal(kept.data(), x)
        self.assertEqual(source.refused, 2)

    def test_a_half_open_peer(self) -> None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            endpoint = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
            source, kept = phydnn.zmq_source(endpoint), blocks.vector_sink_c()
            silent.settimeout(LIMIT)
            with running((source, kept)):
                first, _ = silent.accept()  # it says nothing: is given up, and tried again
                with first, silent.accept()[0]:
                    self.assertEqual(source.connections, 0)
            self.assertEqual((source.connections, source.samples), (0, 0))

    def test_what_cannot_be_asked(self) -> None:
        for endpoint in ("", "5551", "tcp://127.0.0.1", "ftp://127.0.0.1:5551"):
            with self.assertRaisesRegex(ValueError, "an endpoint is like"):
                phydnn.zmq_source(endpoint)
        with self.assertRaisesRegex(ValueError, "one sample at least"):
            phydnn.zmq_source("tcp://127.0.0.1:5551", 0)


if __name__ == "__main__":
    gr_unittest.run(TestSink)
    gr_unittest.run(TestSource)
