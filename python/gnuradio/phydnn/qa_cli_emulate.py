#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn emulate`` and ``sound``: the real processes, killed and restarted, and their counts."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gnuradio import gr_unittest
from phydnn import scenario as scenarios
from phydnn.cli import main
from phydnn.cli.emulate import build
from phydnn.emulation import Control
from phydnn.errors import InputError
from phydnn.ports import free_ports
from phydnn.scenario import Node, Scenario

KILLS = 10
SENDER = """
import sys, numpy as np, zmq
socket = zmq.Context().socket(zmq.REP)
socket.bind(sys.argv[1])
block, life = 4096, complex(0, int(sys.argv[2]))
count = 0
while True:
    socket.recv()
    socket.send((np.arange(count, count + block) % 2**24 + life).astype(np.complex64).tobytes())
    count += block
"""
"""A node that sends the number of each sample, and in the imaginary part which life it is in."""
RECEIVER = """
import sys, numpy as np, zmq
context = zmq.Context()
with open(sys.argv[2], "ab", buffering=0) as file:
    while True:
        socket = context.socket(zmq.REQ)
        socket.linger, socket.rcvtimeo = 0, int(sys.argv[3])
        socket.connect(sys.argv[1])
        try:
            while True:
                socket.send(b"\\xff")
                samples = np.frombuffer(socket.recv(), np.complex64)
                numbers, lives = samples.real.astype(np.int64), samples.imag.astype(np.int64)
                follows = (np.diff(numbers) % 2**24 == (lives[1:] > 0)) & (np.diff(lives) == 0)
                cuts = np.concatenate([[0], np.nonzero(~follows)[0] + 1, [len(samples)]])
                runs = np.stack([lives[cuts[:-1]], numbers[cuts[:-1]], np.diff(cuts)], axis=1)
                file.write(runs.tobytes())
        except zmq.Again:
            socket.close()
            file.write(np.array([-1, 0, 0]).tobytes())
"""
"""A node that appends to a file the life, first number and length of each run that it receives,
and asks anew when nothing comes for so many milliseconds, which it notes as a life of -1. Zeros,
which stand for a dead sender, are runs of life 0."""


def wire() -> Scenario:
    """Device to edge, without delay, loss or noise: what arrives is what was sent."""
    gains = np.zeros((1, 2, 2, 1), np.complex128)
    gains[0, 0, 1] = 1
    both = (Node("device", receives=""), Node("edge", transmits=""))
    return Scenario("wire", both, np.zeros(gains.shape), gains)


class qa_cli_emulate(gr_unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        self.processes: list[subprocess.Popen[str]] = []
        self.addCleanup(self.end_all)
        self.device, self.edge, self.control = free_ports(3)

    def end_all(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def start(self, *command: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        self.processes.append(process)
        return process

    def send(self, life: int) -> subprocess.Popen[str]:
        return self.start("-c", SENDER, self.device, life)

    def receive(self, patience_ms: int = -1) -> subprocess.Popen[str]:
        return self.start("-c", RECEIVER, self.edge, self.folder / "received", patience_ms)

    def emulate(self, scenario: object, *options: object) -> subprocess.Popen[str]:
        return self.start(
            "-m", "phydnn", "emulate", scenario, "--control", self.control,
            "--transmits", f"device={self.device}", "--receives", f"edge={self.edge}",
            "--json", self.folder / "counts.json", *options,
        )  # fmt: skip

    def wire(self) -> Path:
        path = self.folder / "wire.json"
        scenarios.save(wire(), path)
        return path

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 240) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                ended = [
                    process.communicate()
                    for process in self.processes
                    if process.poll() is not None
                ]
                self.fail(f"{what} did not come about; what ended said {ended}")
            time.sleep(0.02)

    def notes(self) -> NDArray[np.int64]:
        """Int64 [n,3]: what the receivers have noted."""
        path = self.folder / "received"
        raw = path.read_bytes() if path.exists() else b""
        return np.frombuffer(raw[: len(raw) // 24 * 24], np.int64).reshape(-1, 3)

    def runs(self) -> NDArray[np.int64]:
        """Int64 [n,3]: life, first number and length of each run that was received."""
        notes = self.notes()
        return notes[notes[:, 0] >= 0]

    def more(self, what: str, samples: int = 100_000) -> None:
        """Waits until that much more has been received."""
        before = self.runs()[:, 2].sum()
        self.until(lambda: self.runs()[:, 2].sum() > before + samples, what)

    def hears(self, life: int) -> bool:
        """Whether the last samples received are of that life of the sender; 0: zeros."""
        return life in self.runs()[-1:, 0]

    def asked(self) -> int:
        """Samples that the emulator has got of the device."""
        return int(self.ask(do="status")["status"]["nodes"][0]["samples_in"])

    def is_beyond(self, samples: int) -> bool:
        return self.asked() > samples

    def ask(self, **request: Any) -> Any:
        with zmq.Context() as context, context.socket(zmq.REQ) as client:
            client.linger, client.rcvtimeo = 0, 60_000
            client.connect(self.control)
            client.send_json(request)
            return client.recv_json()

    def stop(self, process: subprocess.Popen[str], number: int = signal.SIGTERM) -> Any:
        """Ends an emulator as a user does; its counts, which add up."""
        process.send_signal(number)
        out, error = process.communicate(timeout=120)
        self.assertEqual((process.returncode, error), (0, ""))
        self.assertIn("samples in", out)
        counts = json.loads((self.folder / "counts.json").read_text())
        self.add_up(counts)
        return counts

    def add_up(self, counts: Any) -> None:
        device, edge = counts["nodes"]
        sent = device["samples_in"] + device["zero_filled"] - device["queued_in"]
        self.assertEqual(sent, counts["samples"])
        taken = edge["samples_out"] + edge["lost"] + edge["queued_out"]
        self.assertEqual(taken, counts["samples"])

    def call(self, *arguments: object) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([str(argument) for argument in arguments])
        return status, out.getvalue(), err.getvalue()

    def refuses(self, sentence: str, *arguments: object) -> None:
        """Exit status 2 and one sentence, without a traceback."""
        status, _, error = self.call(*arguments)
        self.assertEqual(status, 2, error)
        self.assertIn(sentence, error)
        self.assertEqual(error.count("\n"), 1, error)

    # Killing and restarting under load

    def once(self) -> None:
        """Sockets do not know of SIMD: what takes long runs in one of the two variants."""
        if "VOLK_GENERIC" in os.environ:
            self.skipTest("runs with SIMD")

    def kill_senders(self, policy: str) -> Any:
        """The counts, after each life's samples came in order and from the first on."""
        self.once()
        emulator = self.emulate(self.wire(), "--dead-peer", policy, "--timeout", 0.1)
        self.receive()
        lives = range(1, KILLS + 2)
        for life in lives:
            sender = self.send(life)
            self.until(partial(self.hears, life), f"life {life}")
            if life <= KILLS:
                sender.kill()
                sender.wait()
                if policy == "zero":
                    self.until(partial(self.hears, 0), "zeros")
        counts = self.stop(emulator)
        runs = self.runs()
        for life in lives:
            _, starts, lengths = runs[runs[:, 0] == life].T
            np.testing.assert_array_equal(starts, (np.cumsum(lengths) - lengths) % 2**24)
        self.assertTrue((np.diff(runs[runs[:, 0] > 0, 0]) >= 0).all())
        self.assertGreaterEqual(counts["nodes"][0]["reconnects"], KILLS)
        return counts

    def test_sender_killed_ten_times_zero(self) -> None:
        """All that arrives is one of its lives in order, or a zero that was counted."""
        counts = self.kill_senders("zero")
        zeros = self.runs()[self.runs()[:, 0] == 0, 2].sum()
        self.assertGreater(zeros, 0)
        self.assertLessEqual(zeros, counts["nodes"][0]["zero_filled"])

    def test_sender_killed_ten_times_stall(self) -> None:
        counts = self.kill_senders("stall")
        self.assertNotIn(0, self.runs()[:, 0])
        self.assertEqual(counts["nodes"][0]["zero_filled"], 0)

    def test_receiver_killed_ten_times(self) -> None:
        """The sender is asked on, what nobody took is counted, the next life gets what is new."""
        self.once()
        emulator = self.emulate(self.wire(), "--dead-peer", "zero", "--timeout", 0.1)
        self.send(1)
        for _ in range(KILLS):
            receiver = self.receive()
            self.more("samples")
            receiver.kill()
            receiver.wait()
            wanted = self.asked() + 200_000  # more than the queues hold
            self.until(partial(self.is_beyond, wanted), "emulation without a receiver")
        self.receive()
        self.more("samples")
        counts = self.stop(emulator)
        self.assertGreater(counts["nodes"][1]["lost"], 0)
        self.assertGreaterEqual(counts["nodes"][1]["reconnects"], KILLS)
        self.assertEqual(counts["nodes"][0]["reconnects"], 0)

    def test_emulator_killed_ten_times(self) -> None:
        """The nodes go on with the next one; samples stay in order, some lost with the killed."""
        self.once()
        path = self.wire()
        sender, receiver = self.send(1), self.receive(1000)
        for _ in range(KILLS):
            emulator = self.emulate(path)
            self.more("samples")
            emulator.kill()
            emulator.wait()
        emulator = self.emulate(path)
        self.more("samples")
        self.stop(emulator, signal.SIGINT)
        self.assertIsNone(sender.poll())
        self.assertIsNone(receiver.poll())
        _, starts, lengths = self.runs().T
        steps = (starts[1:] - starts[:-1] - lengths[:-1]) % 2**24
        self.assertLess(steps.max(), 2**23)
        # A reply on its way to a receiver that has just lost its patience is lost, too.
        impatient = int((self.notes()[:, 0] < 0).sum())
        self.assertTrue(KILLS <= (steps != 0).sum() <= KILLS + impatient)

    def test_fail(self) -> None:
        emulator = self.emulate(self.wire(), "--dead-peer", "fail", "--timeout", 3)
        sender = self.send(1)
        self.receive()
        self.more("samples")
        sender.kill()
        _, error = emulator.communicate(timeout=120)
        self.assertEqual(emulator.returncode, 1, error)
        self.assertIn("device", error)
        self.assertEqual(error.count("\n"), 1, error)
        self.add_up(json.loads((self.folder / "counts.json").read_text()))

    # The same again

    def through(self, count: int, pieces: int, *options: object) -> NDArray[np.complex64]:
        """What the edge gets of a known signal that the device sends in pieces of that size."""
        rng = np.random.default_rng(1)
        sent = rng.normal(size=(count + 8192, 2)).astype(np.float32).view(np.complex64)[:, 0] / 4
        emulator = self.emulate("urban_40db", *options)
        received, at = bytearray(), 0
        context = zmq.Context()
        server, client = context.socket(zmq.REP), context.socket(zmq.REQ)
        try:
            server.bind(self.device)
            client.connect(self.edge)
            client.send(b"\xff")
            while len(received) < 8 * count:
                if server.poll(1):
                    server.recv()
                    server.send(sent[at : at + pieces].tobytes())
                    at += pieces
                if client.poll(1):
                    received += client.recv()
                    client.send(b"\xff")
                self.assertIsNone(emulator.poll())
        finally:
            context.destroy(linger=0)
        self.stop(emulator)
        return np.frombuffer(received, np.complex64)[:count]

    def test_same_seed_is_bit_identical(self) -> None:
        first = self.through(200_000, 1000, "--seed", 5)
        again = self.through(200_000, 4099, "--seed", 5)
        other = self.through(200_000, 1000, "--seed", 6)
        np.testing.assert_array_equal(first.view(np.uint64), again.view(np.uint64))
        self.assertFalse(np.array_equal(first, other))
        self.assertGreater(float(np.abs(first).std()), 0)

    def test_changes_are_replayed(self) -> None:
        changes = [
            {"do": "set_gain", "transmitter": "device", "receiver": "edge", "gain_db": -20,
             "sample": 50_000},
            {"do": "set_taps", "transmitter": "device", "receiver": "edge", "delays_ns": [0, 75],
             "gains_db": [-10, -20], "sample": 120_001},
        ]  # fmt: skip
        path = self.folder / "changes.json"
        path.write_text(json.dumps({"changes": changes}))
        first = self.through(200_000, 4096, "--replay", path)
        written = self.folder / "counts.json"
        self.assertEqual(json.loads(written.read_text())["changes"], changes)
        written.rename(path)
        again = self.through(200_000, 1024, "--replay", path)
        np.testing.assert_array_equal(first.view(np.uint64), again.view(np.uint64))
        plain = self.through(200_000, 4096)
        np.testing.assert_array_equal(first[:50_000], plain[:50_000])
        power = [
            np.mean(np.abs(part) ** 2) for part in (first[50_000:120_000], plain[50_000:120_000])
        ]
        self.assertAlmostEqual(10 * np.log10(power[0] / power[1]), -20, delta=0.5)

    # Live control

    def test_control(self) -> None:
        emulator = self.emulate(self.wire())
        self.send(2)
        self.receive()
        self.more("samples")
        gain = {"do": "set_gain", "transmitter": "device", "receiver": "edge", "gain_db": -6.0206}
        reply = self.ask(**gain)
        self.assertTrue(reply["ok"], reply)
        # At half the gain, life 2 is read as life 1, and each number comes twice.
        self.more("samples")
        lives, _, lengths = self.runs().T
        self.assertEqual(lengths[lives == 2].sum(), reply["sample"])
        for request, sentence in (
            ({"do": "dance"}, "one of status, set_gain, set_taps, stop"),
            ({}, "an object with 'do'"),
            (gain | {"gain_db": 1}, "'gain_db' must be -300 to 0"),
            (gain | {"gain_db": "loud"}, "'gain_db' must be a number"),
            (gain | {"colour": 1}, "'colour' is unknown"),
            (gain | {"receiver": "nobody"}, "there is no node 'nobody'"),
            (gain | {"receiver": 5}, "'receiver' must name a node"),
            (gain | {"sample": 5}, "comes too late"),
            (gain | {"sample": -2}, "'sample' must be a sample count"),
            (gain | {"do": "set_taps"}, "'gain_db' is unknown to 'set_taps'"),
        ):
            reply = self.ask(**request)
            self.assertFalse(reply["ok"], request)
            self.assertIn(sentence, reply["error"])
        self.abuse()
        status = self.ask(do="status")["status"]
        self.assertEqual([node["name"] for node in status["nodes"]], ["device", "edge"])
        self.assertEqual(self.ask(do="stop"), {"ok": True})
        _, error = emulator.communicate(timeout=120)
        self.assertEqual((emulator.returncode, error), (0, ""))

    def abuse(self) -> None:
        """Garbage, a giant message, a client that leaves, one that never reads, two at once."""
        address = self.control.removeprefix("tcp://127.0.0.1:")
        with socket.create_connection(("127.0.0.1", int(address))) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        with zmq.Context() as context:
            sockets = [context.socket(zmq.DEALER) for _ in range(4)]
            for client, parts in zip(
                sockets,
                (
                    [b"", b"\xff\xfe not JSON"],
                    [b"", b"[" * 60_000],
                    [b"", b"x" * (1 << 17)],
                    [b"", b"{}", b"{}"],
                ),
                strict=True,
            ):
                client.linger = 500
                client.connect(self.control)
                client.send_multipart(parts)
            reply = json.loads(sockets[0].recv_multipart()[-1])
            self.assertEqual(reply, {"ok": False, "error": "the request is not JSON"})
            for client in sockets:
                client.close()

    def test_fuzz_control(self) -> None:
        """Whatever a request holds, the engine takes it or it is refused in a sentence."""
        emulated = wire()
        server = Control("", build(emulated), emulated)
        self.addCleanup(server.close)
        value = st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
            | st.sampled_from(["device", "edge"]),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=6,
        )  # fmt: skip
        sound = {
            "transmitter": st.just("device"),
            "receiver": st.just("edge"),
            "sample": st.integers(0, 1 << 40),
            "gain_db": st.floats(-99, 0),
            "delays_ns": st.just([0.0, 75.0]),
            "gains_db": st.just([0.0, -3.0]),
            "gains": st.just([[0.5, 0.5], [0.0, 0.1]]),
        }
        ends = ("transmitter", "receiver", "sample")
        kinds = {"set_gain": ("gain_db",), "set_taps": ("delays_ns", "gains_db")}
        good = [
            st.fixed_dictionaries(
                {"do": st.just(do)} | {name: sound[name] for name in ends + fields}
            )
            for do, fields in kinds.items()
        ]
        wrong = st.dictionaries(st.sampled_from(["do", *sound]), value, max_size=2)
        request = st.tuples(st.one_of(good), wrong).map(lambda both: both[0] | both[1])
        taken = 0

        @settings(max_examples=300, deadline=None, derandomize=True)
        @given(request)
        def attempt(fields: Any) -> None:
            nonlocal taken
            try:
                taken += "sample" in server.do(json.dumps(fields).encode())
            except InputError as error:
                self.assertNotIn("\n", str(error))

        attempt()
        self.assertEqual(len(server.changes), taken)
        self.assertGreater(taken, 0)

    # What the command refuses, and what needs no engine

    def test_wrong_options(self) -> None:
        self.refuses("give a scenario", "emulate")
        self.refuses("there is no scenario 'nowhere'", "emulate", "nowhere")
        self.refuses("write NODE=ENDPOINT", "emulate", "two_nodes", "--transmits", "x")
        self.refuses("there is no node 'x'", "emulate", "two_nodes", "--transmits", "x=y")
        self.refuses("do not suffice", "emulate", "ten_nodes", "--first-port", 65530)
        self.refuses("write TRANSMITTER:RECEIVER", "emulate", "two_nodes", "--link", "a",
                     "--convert", self.folder / "x.json")  # fmt: skip
        self.refuses("cannot be used", "emulate", "two_nodes", "--control", "nowhere")
        self.refuses("cannot be read", "emulate", "two_nodes", "--replay", self.folder / "x")
        (self.folder / "x").write_text('{"changes": [{"do": "set_gain"}]}')
        self.refuses("must name a node", "emulate", "two_nodes", "--replay", self.folder / "x")
        self.refuses("holds no 'changes'", "emulate", "two_nodes", "--replay", self.wire())
        with socket.create_server(("127.0.0.1", 0)) as taken:
            endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
            self.refuses(endpoint, "emulate", "two_nodes", "--receives", f"edge={endpoint}")
        self.refuses("needs a scenario", "sound")
        self.refuses("needs --transmits", "sound", "--link", "zmq")
        self.refuses("must be even", "sound", "two_nodes", "--length", 63)
        self.refuses("the periods must be", "sound", "two_nodes", "--periods", 1)

    def test_describe_and_convert(self) -> None:
        picture, other = self.folder / "a.png", self.folder / "a.mat"
        status, out, error = self.call(
            "emulate", "urban_80db", "--describe", "--picture", picture, "--convert", other
        )
        self.assertEqual((status, error), (0, ""))
        self.assertIn("18.5", out)
        self.assertTrue(picture.read_bytes().startswith(b"\x89PNG"))
        urban = scenarios.load("urban_80db")
        np.testing.assert_allclose(scenarios.load(str(other)).gains, urban.gains)
        status, out, _ = self.call("emulate", "--list")
        for path in scenarios.shipped():
            self.assertIn(path.stem, out)

    # The sounder, on the real engine

    def test_sound_at_30_db(self) -> None:
        """Exact taps, by the aim of 1 ns and 0.1 dB; and back through a scenario file."""
        out, again, plot = (self.folder / name for name in ("a.json", "b.json", "a.png"))
        measured = self.folder / "measured.json"
        link = ("--transmitter", "node4", "--receiver", "node5", "--snr", 30)
        status, _, error = self.call(
            "sound", "colosseum_90001", *link, "--json", out, "--out", measured, "--plot", plot
        )
        self.assertEqual((status, error), (0, ""))
        record = json.loads(out.read_text())
        self.assertEqual(len(record["taps"]), 4)
        for tap in record["taps"]:
            self.assertLess(abs(tap["delay_error_ns"]), 1)
            self.assertLess(abs(tap["gain_error_db"]), 0.1)
        self.assertAlmostEqual(record["snr_db"], 30, delta=0.5)
        self.assertTrue(plot.read_bytes().startswith(b"\x89PNG"))
        status, _, error = self.call("sound", measured, "--json", again, "--seed", 1)
        self.assertEqual((status, error), (0, ""))
        for tap in json.loads(again.read_text())["taps"]:
            self.assertLess(abs(tap["delay_error_ns"]), 1)
            self.assertLess(abs(tap["gain_error_db"]), 0.1)

    def test_sound_through_sockets(self) -> None:
        """The scenario's offsets are found, too."""
        gains = np.zeros((1, 2, 2, 2), np.complex128)
        gains[0, 0, 1] = [0.5, -0.25j]
        delays = np.zeros(gains.shape)
        delays[0, 0, 1] = [120, 333]
        nodes = (Node("device", receives=""), Node("edge", 0, -10, cfo_hz=700, transmits=""))
        scenarios.save(
            Scenario("two", nodes, delays, gains, noise_density_dbm_hz=-120),
            self.folder / "two.json",
        )
        emulator = self.emulate(self.folder / "two.json")
        out = self.folder / "sound.json"
        status, _, error = self.call(
            "sound", self.folder / "two.json", "--link", "zmq", "--transmits", self.device,
            "--receives", self.edge, "--timeout", 60, "--json", out,
        )  # fmt: skip
        self.assertEqual((status, error), (0, ""))
        emulator.terminate()
        record = json.loads(out.read_text())
        self.assertEqual([round(tap["exact_delay_ns"]) for tap in record["taps"]], [120, 333])
        for tap in record["taps"]:
            self.assertLess(abs(tap["delay_error_ns"]), 1)
            self.assertLess(abs(tap["gain_error_db"]), 0.1)
        self.assertAlmostEqual(record["cfo_hz"], 700, delta=1)


if __name__ == "__main__":
    gr_unittest.run(qa_cli_emulate)
