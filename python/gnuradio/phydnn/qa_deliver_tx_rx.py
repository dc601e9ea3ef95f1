#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn deliver``: a network over a link, both ends here or each in its own process."""

import contextlib
import io
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pmt

from gnuradio import blocks, gr, gr_unittest, phydnn
from gnuradio.phydnn import pdus
from gnuradio.phydnn.delivery import kernel_of
from phydnn.cli import main
from phydnn.datasets import load
from phydnn.delivery import AirBundle, Client, Network, Shipment, Ticket, strip
from phydnn.errors import InputError
from phydnn.tests.delivered import bundle

DIGITS = load("digits", "test")


class _Loses(gr.basic_block):
    """A link without noise that erases some frames."""

    def __init__(self, numbers: set[int]) -> None:
        gr.basic_block.__init__(self, name="loses", in_sig=None, out_sig=None)
        self._numbers = numbers
        self.message_port_register_in(pmt.intern("symbols"))
        self.message_port_register_out(pmt.intern("symbols"))
        self.set_msg_handler(pmt.intern("symbols"), self._pass_on)

    def _pass_on(self, message: Any) -> None:
        metadata, vector = pmt.car(message), pmt.cdr(message)
        metadata = pdus.put(metadata, n0=0.0)
        if pdus.get(metadata, "frame_number") in self._numbers:
            metadata, vector = pdus.erase(metadata, "lost"), pmt.make_c32vector(0, 0)
        self.message_port_pub(pmt.intern("symbols"), pmt.cons(metadata, vector))


class qa_deliver_tx_rx(gr_unittest.TestCase):
    bundle: AirBundle

    @classmethod
    def setUpClass(cls) -> None:
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.bundle = bundle(Path(scratch.name) / "airnet-digits")

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def call(self, *arguments: object) -> tuple[int, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(["deliver", *map(str, arguments)])
        return status, err.getvalue()

    def deliver(self, *arguments: object) -> dict[str, Any]:
        out = self.folder / "out.json"
        given = ("--bundle", self.bundle.path, "--data", "digits", "--json", out)
        status, error = self.call(*given, *arguments)
        self.assertEqual((status, error), (0, ""))
        record: dict[str, Any] = json.loads(out.read_text())
        return record

    def simulated(self, snr_db: float, source: AirBundle | None = None) -> tuple[float, float]:
        """Accuracy and SDR in dB over AWGN without a waveform."""
        source = source or self.bundle
        shipment = Shipment(source, snr_db, make=kernel_of)
        client, rng = Client(shipment.ticket), np.random.default_rng(1)
        n0 = 10 ** (-snr_db / 10)
        for number, frame in enumerate(shipment.frames):
            noise = rng.standard_normal((len(frame), 2)).view(complex)[:, 0]
            client.take(number, frame + math.sqrt(n0 / 2) * noise, n0)
        model, _ = client.network(make=kernel_of)
        sent, (_, came) = source.tensors(snr_db), strip(model)
        gains = client.gains(shipment.layers)
        error = sum(
            float(np.sum(((came[n] / gains[n] - sent[n]) / layer.scale) ** 2))
            for n, layer in ((layer.name, layer) for layer in shipment.layers)
        )
        count = sum(layer.count for layer in shipment.layers)
        right = Network(model).classes(DIGITS.x) == DIGITS.y
        return float(np.mean(right)), 10 * math.log10(count / error)

    def test_delivered_as_simulated(self) -> None:
        """Synchronisation, LS and equaliser included, and all that is counted."""
        for snr_db in (5, 15):
            record = self.deliver("--snr", snr_db, "--out", self.folder / "came.onnx")
            accuracy, sdr_db = self.simulated(snr_db)
            self.assertAlmostEqual(record["sdr_db"], sdr_db, delta=0.5)
            self.assertAlmostEqual(record["accuracy"], accuracy, delta=0.02)
            self.assertEqual(record["frames_lost"], 0)
            self.assertEqual(record["weights"], 96 * 74)
            uses = record["side_uses"] + record["weight_uses"]
            self.assertEqual(record["channel_uses"], uses)
            self.assertGreater(record["time_to_first_inference_s"], record["time_on_air_s"])
            self.assertAlmostEqual(record["time_on_air_s"], record["samples_on_air"] / 20e6)
            came = Network((self.folder / "came.onnx").read_bytes()).classes(DIGITS.x)
            self.assertEqual(float(np.mean(came == DIGITS.y)), record["accuracy"])

    def test_a_deep_network_minds_the_channel_estimate(self) -> None:
        """Layers with most power meet little noise, so what the estimate is off by counts there."""
        source = AirBundle.load("airnet-vgg16-digits")
        given = ("--bundle", source.path, "--snr", 5)
        accuracy, sdr_db = self.simulated(5.0, source)
        refined = self.deliver(*given, "--csi", "csi-adnet")
        self.assertAlmostEqual(refined["sdr_db"], sdr_db, delta=0.1)
        self.assertGreater(refined["accuracy"], accuracy - 0.08)
        # Without noise it is as good as with as little as it was trained for.
        self.assertGreater(refined["a0"], 0.85)
        self.assertLess(self.deliver(*given, "--csi", "ls")["sdr_db"], sdr_db - 0.5)

    def test_cut_and_resumed(self) -> None:
        given = ("--bundle", self.bundle.path, "--data", "digits", "--frame-uses", 1500)
        state = ("--state", self.folder / "state.npz")
        status, error = self.call(*given, *state, "--frames", 2)
        self.assertEqual(status, 1)
        self.assertRegex(error, "^phydnn: the delivery was cut off, 2 of 4 frames are missing: .*")
        record = self.deliver("--frame-uses", 1500, *state)
        self.assertEqual((record["frames_sent"], record["weights_filled"]), (2, 0))
        self.assertGreater(record["accuracy"], 0.9)
        status, error = self.call(*given, *state, "--snr", 3)
        self.assertEqual(status, 2)
        self.assertIn("is of another delivery", error)

    def test_side_information_is_sent_again(self) -> None:
        """Made for 15 dB but sent at 1 dB: what its one copy lost is asked for again."""
        record = self.deliver("--snr", 1, "--design", 15, "--seed", 3)
        self.assertGreater(record["rounds"], 1)
        self.assertGreater(record["frames_sent"], 2)

    def test_both_ends_over_sockets(self) -> None:
        record = self.deliver("--link", "zmq", "--bind", "tcp://127.0.0.1:0", "--snr", 15)
        self.assertGreater(record["accuracy"], 0.9)
        self.assertEqual(record["samples_served"], record["samples_received"])

    def test_each_end_in_its_own_process(self) -> None:
        """The client has the ticket and nothing else of the bundle."""
        ticket, out = self.folder / "ticket.json", self.folder / "rx.json"
        where = f"ipc://{self.folder}/samples"
        Shipment(self.bundle, 20.0, make=kernel_of).ticket.write(ticket)
        command: list[str | Path] = [sys.executable, "-m", "phydnn", "deliver", "--link", "zmq"]
        command += ["--ticket", ticket]
        server = subprocess.Popen(
            [*command, "--end", "tx", "--bundle", self.bundle.path, "--design", "20",
             "--bind", where],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        client = subprocess.run(
            [*command, "--end", "rx", "--data", "digits", "--connect", where, "--json", out],
            stdout=subprocess.DEVNULL,
            check=False,
            timeout=300,
        )
        self.assertEqual((client.returncode, server.wait(300)), (0, 0))
        record = json.loads(out.read_text())
        self.assertGreater(record["accuracy"], 0.9)
        self.assertNotIn("a0", record)

    def test_a_client_of_another_structure(self) -> None:
        """A ticket of another bundle: its frames are none of these, and nothing comes of it."""
        recording, ticket = self.folder / "sent", self.folder / "ticket.json"
        status, error = self.call(
            "--bundle", self.bundle.path, "--end", "tx", "--link", "file", "--ticket", ticket,
            "--record-sent", recording, "--author", "a <a@b.c>",
        )  # fmt: skip
        self.assertEqual((status, error), (0, ""))
        found = json.loads(ticket.read_text())
        ticket.write_text(json.dumps({**found, "id": found["id"] ^ 1}))
        Ticket.read(ticket)
        status, error = self.call(
            "--end", "rx", "--link", "file", "--ticket", ticket, "--data", "digits",
            "--replay", recording,
        )  # fmt: skip
        self.assertEqual(status, 2)
        self.assertIn("which is not the one given", error)
        self.assertEqual(error.count("\n"), 1, error)

    def test_blocks(self) -> None:
        """Two deliveries from a network source to a network sink, the second with a lost frame."""
        source = phydnn.network_source(self.bundle, 15.0, frame_uses=2000, passes=2, in_flight=20)
        sink, log = phydnn.network_sink("digits"), blocks.message_debug()
        frames = len(source.shipment.frames)
        shorten = _Loses({2 * frames - 1})
        top = gr.top_block()
        top.msg_connect(source, "ticket", sink, "ticket")
        top.msg_connect(source, "symbols", shorten, "symbols")
        top.msg_connect(shorten, "symbols", sink, "symbols")
        top.msg_connect(sink, "text", log, "store")
        top.start()
        deadline = time.monotonic() + 60
        while log.num_messages() < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        top.stop()
        top.wait()
        self.assertEqual(log.num_messages(), 2)
        whole, less = (pmt.to_python(pmt.car(log.get_message(i))) for i in range(2))
        self.assertEqual((whole["weights_filled"], whole["frames_missing"]), (0, 0))
        self.assertGreater(whole["accuracy"], 0.9)
        self.assertEqual(less["frames_missing"], 1)
        self.assertGreater(less["weights_filled"], 0)
        line = phydnn.to_array(pmt.cdr(log.get_message(0))).tobytes().decode()
        self.assertRegex(line, r"^delivery 0: 9\d\.\d% of 256 images are right, 0 of 7104 weights")

    def test_bad_blocks(self) -> None:
        bad: list[dict[str, Any]] = [{"snr_db": 99.0}, {"law": "mine"}, {"passes": -1}]
        for options in bad:
            with self.assertRaises(InputError):
                phydnn.network_source(self.bundle, **options)
        with self.assertRaises(InputError):
            phydnn.network_sink(rule="ml")

    def test_run_names_deliver(self) -> None:
        error = io.StringIO()
        with contextlib.redirect_stderr(error):
            status = main(["run", "--bundle", str(self.bundle.path), "--data", "digits"])
        self.assertEqual(status, 2)
        self.assertIn("which this command cannot run: phydnn deliver does", error.getvalue())

    def test_bad_arguments(self) -> None:
        given = ("--bundle", self.bundle.path, "--data", "digits")
        for arguments, sentence in (
            ((*given, "--end", "both", "--rule", "ml"), "choose mmse or nearest"),
            ((*given, "--law", "mine"), "choose best or paper"),
            ((*given, "--end", "up"), "choose both, tx or rx"),
            ((*given, "--end", "tx"), "has both ends here"),
            ((*given, "--end", "tx", "--link", "zmq"), "needs --ticket FILE"),
            ((*given, "--end", "rx", "--link", "zmq", "--ticket", "t"), "the client has no"),
            (("--data", "digits"), "the server needs it"),
            (("--bundle", self.bundle.path), "is run on --data"),
            (("--bundle", "none", "--data", "digits"), "there is no bundle 'none'"),
            (("--bundle", "phydnn-resnet20-digits", "--data", "digits"), "'airnet' is wanted"),
            ((*given, "--design", "99"), "-20 to 60 dB"),
            (("--end", "rx", "--link", "zmq", "--ticket", "t", "--data", "digits"),
             "cannot read the ticket t"),
        ):  # fmt: skip
            status, error = self.call(*arguments)
            self.assertEqual(status, 2, error)
            self.assertIn(sentence, error)
            self.assertEqual(error.count("\n"), 1, error)


if __name__ == "__main__":
    gr_unittest.run(qa_deliver_tx_rx)
