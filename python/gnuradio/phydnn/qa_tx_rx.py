#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The ends of a link in processes of their own: what each counts, and what happens to it."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from gnuradio import gr_unittest
from gnuradio.phydnn import link, networks, numerology
from gnuradio.phydnn.link import LinkResult, run_link
from gnuradio.phydnn.ways import FLUSH
from phydnn.bundle import Bundle
from phydnn.cli import main
from phydnn.datasets import load
from phydnn.errors import InputError, RunError

NAME = "phydnn-resnet20-digits"
BUNDLE = Bundle.load(NAME)
DIGITS = load("digits", "test", BUNDLE.input_shape)
FREE = "tcp://127.0.0.1:*"


def comparable(result: LinkResult) -> str:
    """What a socket must not change."""
    outside = ("latency_ms", "link", "samples_on_air", "ends", "ended", "seconds")
    kept = {
        key: value
        for key, value in result.record.items()
        if key not in outside
        and not key.startswith(("frames_re", "frames_un", "samples_", "connections", "messages"))
    }
    return json.dumps([kept, result.outcome.tolist()])


class qa_tx_rx(gr_unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        # Short: a path of a socket has room for 107 bytes.
        self.bind = f"ipc://{self.folder}/s"

    def start(self, command: str, *arguments: object) -> subprocess.Popen[str]:
        """One end as a process of its own."""
        where = ("--bind" if command == "tx" else "--connect", self.bind)
        words = ("--bundle", NAME, "--data", "digits", *where, *arguments)
        process = subprocess.Popen(
            [sys.executable, "-m", "phydnn", command, *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process: subprocess.Popen[str]) -> None:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()

    def ended_well(self, *processes: subprocess.Popen[str]) -> None:
        for process in processes:
            _, error = process.communicate(timeout=300)
            self.assertEqual((process.returncode, error), (0, ""))

    def read(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name).read_text())

    @contextlib.contextmanager
    def meanwhile(self, **options: Any) -> Iterator[threading.Event]:
        """A sender in this process's background."""
        stop = threading.Event()
        failures: list[BaseException] = []

        def send() -> None:
            try:
                run_link(BUNDLE, ends=("tx",), link="zmq", bind=self.bind, stop=stop, **options)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield stop
        finally:
            stop.set()
            thread.join()
        self.assertEqual(failures, [])

    def test_a_socket_changes_nothing(self) -> None:
        images = DIGITS.take(slice(120))
        cases: list[dict[str, Any]] = [
            {},
            {"snr_db": -4.0, "batch": 3},
            {"snr_db": 6.0, "batch": 7, "channel": "rayleigh", "cfo_hz": 5e3, "sfo_ppm": -20.0},
        ]
        for options in cases:
            with self.subTest(options):
                over = run_link(BUNDLE, images, link="zmq", bind=FREE, **options)
                inside = run_link(BUNDLE, images, **options)
                self.assertEqual(comparable(over), comparable(inside))
                record = over.record
                self.assertEqual(record["samples_served"], record["samples_received"])
                self.assertEqual(
                    record["samples_on_air"], inside.record["samples_on_air"] + FLUSH - 128
                )

    def test_two_processes(self) -> None:
        """Every frame and every sample is accounted for by the two files together."""
        common = ("--batch", 50, "--limit", 330)
        receiver = self.start("rx", *common, "--json", self.folder / "rx.json")
        sender = self.start("tx", *common, "--json", self.folder / "tx.json")
        self.ended_well(sender, receiver)
        sent, received = self.read("tx.json"), self.read("rx.json")
        waveform = numerology("wide")
        bursts = [waveform.frame_samples(n * BUNDLE.uses) for n in [50] * 6 + [30]]
        self.assertEqual(sent["samples_on_air"], sum(bursts) + 6 * 128 + FLUSH)
        self.assertEqual(sent["samples_served"], sent["samples_on_air"])
        self.assertEqual(received["samples_received"], sent["samples_served"])
        self.assertEqual((sent["frames_sent"], received["frames_lost"]), (7, 0))
        self.assertEqual((received["frames_repeated"], received["frames_unknown"]), (0, 0))
        self.assertEqual((sent["ended"], received["ended"]), ("complete", "complete"))
        noiseless = run_link(BUNDLE, DIGITS.take(slice(330)), snr_db=100, batch=50)
        self.assertEqual(received["accuracy"], noiseless.record["accuracy"])
        self.assertEqual([*sent["latency_ms"]], ["head", "map", "air", "total"])
        self.assertEqual([*received["latency_ms"]], ["receive", "tail", "total"])
        air = 1e3 * (bursts[0] + 128) / 20e6
        self.assertAlmostEqual(sent["latency_ms"]["air"]["p50"], air)
        for key in ("accuracy", "frames_lost", "samples_received", "channel"):
            self.assertNotIn(key, sent)
        for key in ("frames_sent", "samples_served", "evm_db", "csi_mse", "channel"):
            self.assertNotIn(key, received)

    def test_a_sender_that_is_killed_and_begins_anew(self) -> None:
        options = ("--batch", 4, "--passes", 100)
        # The silence while the next sender loads is not the end.
        patient = ("--silence", 240, "--json", self.folder / "rx.json")
        receiver = self.start("rx", *options, *patient)
        for pause in (1.5, 2.0, 2.5):
            sender = self.start("tx", *options)
            time.sleep(pause)
            self.end(sender)
        self.ended_well(self.start("tx", *options), receiver)
        received = self.read("rx.json")
        self.assertEqual((received["n"], received["frames_lost"]), (360 * 100, 0))
        self.assertGreaterEqual(received["accuracy"], 0.97)

    def test_stopped_by_a_signal(self) -> None:
        receiver = self.start("rx", "--passes", 10**5, "--json", self.folder / "rx.json")
        sender = self.start("tx", "--passes", 10**5, "--json", self.folder / "tx.json")
        for process in (receiver, sender):
            self.wait_until_it_listens(process)
        time.sleep(3)
        receiver.send_signal(signal.SIGTERM)
        self.ended_well(receiver)
        sender.send_signal(signal.SIGINT)
        self.ended_well(sender)
        sent, received = self.read("tx.json"), self.read("rx.json")
        self.assertEqual((sent["ended"], received["ended"]), ("stopped", "stopped"))
        arrived = 6 * 10**5 - received["frames_lost"]
        self.assertTrue(0 <= arrived <= sent["frames_sent"] < 6 * 10**5)
        self.assertLessEqual(received["samples_received"], sent["samples_served"])

    def wait_until_it_listens(self, process: subprocess.Popen[str]) -> None:
        """Until it has a handler for signals, which it sets once its imports are done."""
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            status = Path(f"/proc/{process.pid}/status").read_text()
            caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
            if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
                return
            time.sleep(0.05)
        self.fail("it never listens to signals")

    def test_what_never_comes_is_lost(self) -> None:
        with self.meanwhile(images=DIGITS.take(slice(100)), batch=20):
            result = run_link(
                BUNDLE, DIGITS.take(slice(150)), ends=("rx",), link="zmq", connect=self.bind,
                batch=20, silence_s=5.0,
            )  # fmt: skip
        record = result.record
        self.assertEqual((record["ended"], record["frames_lost"]), ("silence", 3))
        self.assertEqual(record["erasures"], {"lost": 3})
        self.assertEqual(record["accuracy_received"], record["accuracy"] * 1.5)
        self.assertTrue((result.outcome[:100] >= 0).all())
        np.testing.assert_array_equal(result.outcome[100:], -1)

    def test_a_slow_tail_holds_the_samples_up(self) -> None:
        """A sender that is faster than the receiver's network waits, and nothing is lost."""
        run = networks.tail._run

        def slowly(self: Any, values: Any) -> Any:
            time.sleep(0.005)
            return run(self, values)

        with mock.patch.object(networks.tail, "_run", slowly):
            result = run_link(BUNDLE, DIGITS, link="zmq", bind=FREE, batch=1, snr_db=30)
        self.assertEqual((result.record["frames_sent"], result.record["frames_lost"]), (360, 0))

    def test_frames_that_are_not_expected(self) -> None:
        with (
            self.meanwhile(images=DIGITS, batch=20),
            mock.patch.object(link, "DRAINED_S", 5.0),  # a sender may be slow
        ):
            result = run_link(
                BUNDLE, DIGITS.take(slice(40)), ends=("rx",), link="zmq", connect=self.bind,
                batch=20,
            )  # fmt: skip
        # As many of the other 16 as came before the receiver had looked for an end.
        self.assertIn(result.record["frames_unknown"], range(1, 17))
        self.assertEqual(result.record["frames_lost"], 0)

    def test_passes(self) -> None:
        images = DIGITS.take(slice(25))
        once = run_link(BUNDLE, images, batch=10)
        thrice = run_link(BUNDLE, images, batch=10, passes=3)
        self.assertEqual(thrice.record["frames_sent"], 9)
        self.assertEqual(thrice.record["n"], 75)
        self.assertEqual(thrice.outcome[:25].tolist(), once.outcome.tolist())
        self.assertEqual(thrice.record["accuracy"], 1)

    def test_files(self) -> None:
        """What a sender alone records, a receiver alone plays; and what one received over zmq."""
        images = DIGITS.take(slice(60))
        sent, received = self.folder / "sent", self.folder / "received"
        tx = run_link(BUNDLE, images, ends=("tx",), link="file", batch=16, record_sent=sent)
        self.assertEqual(tx.record["ended"], "complete")
        with self.meanwhile(images=images, batch=16):
            live = run_link(
                BUNDLE, images, ends=("rx",), link="zmq", connect=self.bind, batch=16,
                record=received,
            )  # fmt: skip
        for file in (sent, received):
            played = run_link(BUNDLE, images, ends=("rx",), link="file", replay=file)
            self.assertEqual(played.outcome.tolist(), live.outcome.tolist())
            self.assertNotIn("evm_db", played.record)
            self.assertEqual(played.record["frames_lost"], 0)
        samples = sent.with_suffix(".sigmf-data").stat().st_size // 8
        self.assertEqual(samples, tx.record["samples_on_air"])

    def test_nobody_there(self) -> None:
        with mock.patch.object(link, "PEER_S", 0.3):
            with self.assertRaisesRegex(RunError, "nobody took a sample"):
                run_link(BUNDLE, DIGITS, ends=("tx",), link="zmq", bind=self.bind)
            with self.assertRaisesRegex(RunError, "fell silent after 0 of 360"):
                run_link(BUNDLE, DIGITS, ends=("rx",), link="zmq", connect=self.bind)

    def test_bad_arguments(self) -> None:
        cases: list[tuple[dict[str, Any], str]] = [
            ({"ends": ("tx",)}, "both ends in one process"),
            ({"ends": ()}, "the ends tx and rx"),
            ({"ends": ("qx",)}, "the ends tx and rx"),
            ({"ends": ("rx",), "link": "file"}, "say which with replay"),
            ({"ends": ("tx",), "link": "file"}, "say which with record_sent"),
            ({"ends": ("tx",), "link": "zmq", "bind": "pigeon://x"}, "pigeon"),
            ({"ends": ("rx",), "link": "zmq", "connect": "nowhere"}, "nowhere"),
            ({"ends": ("tx",), "link": "zmq", "record": "x"}, "what a receiver gets"),
            ({"ends": ("rx",), "link": "zmq", "record_sent": "x"}, "what a sender puts out"),
            ({"link": "usrp"}, "needs a radio"),
            ({"passes": 0}, "passes"),
            ({"passes": 1 << 30}, "passes"),
            ({"passes": 2, "record": "x"}, "one pass"),
            ({"link": "zmq", "period_s": 1.0}, "period_s"),
        ]
        for options, sentence in cases:
            with self.subTest(options), self.assertRaisesRegex(InputError, sentence) as caught:
                run_link(BUNDLE, DIGITS, **options)
            self.assertNotIn("\n", str(caught.exception))
        with (
            self.meanwhile(images=DIGITS),
            self.assertRaisesRegex(InputError, "in use"),
        ):
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not (self.folder / "s").exists():
                time.sleep(0.01)
            # A port, since a file's name can be bound twice.
            run_link(BUNDLE, DIGITS, link="zmq", bind=self.taken_port())

    def taken_port(self) -> str:
        import socket

        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        return f"tcp://127.0.0.1:{taken.getsockname()[1]}"

    def test_bad_options(self) -> None:
        cases: list[tuple[tuple[object, ...], str]] = [
            (("tx", "--link", "loopback"), "both ends"),
            (("tx", "--link", "file"), "--record-sent FILE"),
            (("tx", "--radio", "b210"), "--radio does not go with --link zmq"),
            (("tx", "--link", "usrp", "--bind", FREE), "--bind does not go with --link usrp"),
            (("tx", "--link", "usrp", "--sample-rate", 1e6), "use --radio-set"),
            (("tx", "--link", "usrp", "--radio", "x310"), "there is no radio 'x310'"),
            (("tx", "--link", "usrp", "--radio-set", "gain=3"), "there is no 'gain'"),
            (("rx", "--link", "file"), "--replay FILE"),
            (("rx", "--frames", 3, "--limit", 4), "say the same"),
            (("run", "--link", "zmq", "--connect", FREE, "--snr", 3), "lies outside"),
            (("run", "--link", "usrp", "--snr", 3), "--snr does not go with"),
            (("run", "--connect", FREE), "--connect does not go with --link loopback"),
        ]
        for (command, *options), sentence in cases:
            with self.subTest(options):
                error = io.StringIO()
                words = [command, "--bundle", NAME, "--data", "digits", *options]
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
                    status = main([str(word) for word in words])
                self.assertEqual((status, error.getvalue().count("\n")), (2, 1), error.getvalue())
                self.assertIn(sentence, error.getvalue())


if __name__ == "__main__":
    gr_unittest.run(qa_tx_rx)
