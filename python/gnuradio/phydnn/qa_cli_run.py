#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn run`` and ``phydnn demo``: what they write, and what they refuse."""

import contextlib
import io
import json
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image

from gnuradio import gr_unittest
from phydnn.bundle import Bundle
from phydnn.cli import main
from phydnn.datasets import load

NAME = "phydnn-resnet20-digits"
BUNDLE = Bundle.load(NAME)
CONTRACT = [
    "accuracy", "accuracy_ci95", "n", "seed", "snr_db", "channel", "channel_uses",
    "samples_on_air", "bytes_on_air", "frames_sent", "frames_lost", "evm_db", "csi_mse",
    "snr_db_estimated", "latency_ms", "command", "git",
]  # fmt: skip


class qa_cli_run(gr_unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def call(self, *arguments: object) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([str(argument) for argument in arguments])
        return status, out.getvalue(), err.getvalue()

    def run_(
        self, *arguments: object, bundle: object = NAME, data: str = "digits"
    ) -> tuple[int, str]:
        status, _, err = self.call("run", "--bundle", bundle, "--data", data, *arguments)
        return status, err

    def refuses(self, status_and_error: tuple[int, str], sentence: str) -> None:
        """Exit status 2 and one sentence, without a traceback."""
        status, error = status_and_error
        self.assertEqual(status, 2, error)
        self.assertIn(sentence, error)
        self.assertNotIn("Traceback", error)
        self.assertEqual(error.count("\n"), 1, error)

    def pictures(self) -> Path:
        """A folder of digits as pictures: grey and RGB, of several sizes, one folder a class."""
        digits = load("digits", "test", BUNDLE.input_shape)
        assert digits.y is not None
        for i in range(20):
            folder = self.folder / "pictures" / str(digits.y[i])
            folder.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(digits.x[i, 0]).resize((8 + 8 * (i % 3),) * 2)
            picture.convert("RGB" if i % 2 else "L").save(folder / f"{i}.png")
        return self.folder / "pictures"

    def test_run(self) -> None:
        out, picture = self.folder / "out" / "run.json", self.folder / "run.png"
        status, error = self.run_("--limit", 70, "--json", out, "--picture", picture)
        self.assertEqual((status, error), (0, ""))
        record = json.loads(out.read_text())
        for key in CONTRACT:
            self.assertIn(key, record)
        self.assertEqual((record["n"], record["frames_sent"]), (70, 2))
        with Image.open(picture) as drawn:
            self.assertEqual(drawn.format, "PNG")

    def test_demo(self) -> None:
        started = time.process_time()
        out, picture = self.folder / "demo.json", self.folder / "demo.png"
        status, shown, _ = self.call("demo", "--json", out, "--picture", picture)
        self.assertEqual(status, 0)
        # Work, not time: how long a busy machine takes for it says nothing of the demo.
        self.assertLess(time.process_time() - started, 20)
        record = json.loads(out.read_text())
        self.assertGreaterEqual(record["accuracy"], 0.97)
        self.assertEqual((record["n"], record["frames_lost"]), (360, 0))
        self.assertIn(str(picture), shown)
        with Image.open(picture) as drawn:
            self.assertGreater(min(drawn.size), 500)

    def test_nothing_arrives(self) -> None:
        """That is a result, and has a picture."""
        out, picture = self.folder / "run.json", self.folder / "run.png"
        status, _ = self.run_("--snr", -30, "--limit", 5, "--json", out, "--picture", picture)
        self.assertEqual(status, 0)
        self.assertEqual(json.loads(out.read_text())["frames_lost"], 1)
        self.assertTrue(picture.exists())

    def test_pictures(self) -> None:
        """Grey pictures, and those of another size, are made to fit."""
        out = self.folder / "run.json"
        data, few = f"images:{self.pictures()}", ("--batch", 1, "--json", out)
        status, error = self.run_(*few, data=data)
        self.assertEqual((status, error), (0, ""))
        record = json.loads(out.read_text())
        self.assertEqual(record["frames_sent"], 20)
        self.assertGreater(record["accuracy"], 0.5)

    def test_pictures_without_labels(self) -> None:
        flat = self.folder / "flat"
        flat.mkdir()
        Image.fromarray(load("digits").x[0, 0]).save(flat / "a.png")
        out = self.folder / "run.json"
        status, error = self.run_(
            "--json", out, "--picture", self.folder / "a.png", data=f"images:{flat}"
        )
        self.assertEqual((status, error), (0, ""))
        record = json.loads(out.read_text())
        self.assertNotIn("accuracy", record)
        self.assertEqual(len(record["predictions"]), 1)
        self.assertIn(record["predictions"][0], BUNDLE.classes)

    def test_bad_pictures(self) -> None:
        pictures = self.pictures()
        broken = sorted(pictures.rglob("*.png"))[3]
        whole = broken.read_bytes()
        broken.write_bytes(whole[: len(whole) // 2])
        self.refuses(self.run_(data=f"images:{pictures}"), broken.name)
        broken.write_bytes(b"")
        self.refuses(self.run_(data=f"images:{pictures}"), broken.name)
        broken.write_bytes(whole)
        (pictures / "1").rename(pictures / "one")
        self.refuses(self.run_(data=f"images:{pictures}"), "'one'")
        (self.folder / "empty").mkdir()
        self.refuses(self.run_(data=f"images:{self.folder / 'empty'}"), "no pictures")

    def test_bad_bundles(self) -> None:
        self.refuses(self.run_(bundle="nowhere"), "there is no bundle 'nowhere'")
        for name in ("head.onnx", "tail.onnx", "arrays.safetensors", "golden.npz"):
            with self.subTest(name):
                copy = Path(shutil.copytree(BUNDLE.path, self.folder / name))
                data = bytearray((copy / name).read_bytes())
                data[len(data) // 2] ^= 1
                (copy / name).write_bytes(data)
                self.refuses(self.run_(bundle=copy), name)
                (copy / name).unlink()
                self.refuses(self.run_(bundle=copy), name)

    def test_bad_options(self) -> None:
        cases = [
            ("--snr", "nan", "Es/N0"),
            ("--snr", "inf", "Es/N0"),
            ("--snr", "loud", "--snr"),
            ("--batch", "0", "--batch"),
            ("--batch", "99999999", "batch"),
            ("--limit", "-1", "--limit"),
            ("--seed", "-1", "--seed"),
            ("--cfo", "nan", "cfo_hz"),
            ("--sfo", "1e6", "sfo_ppm"),
            ("--phase-noise", "-1", "phase_noise_hz"),
            ("--sample-rate", "0", "sample_rate"),
            ("--waveform", "huge", "huge"),
            ("--decision", "firm", "decision"),
            ("--channel", "vacuum", "vacuum"),
            ("--channel", "rician:-1", "rician:K"),
            ("--channel", "tdl:nowhere.json", "nowhere.json"),
            ("--radio", "b210", "--radio does not go"),
            ("--link", "pigeon", "pigeon"),
            ("--json", str(self.folder), "folder"),
        ]
        for option, value, sentence in cases:
            with self.subTest(option=option, value=value):
                self.refuses(self.run_(option, value), sentence)
        self.refuses(self.run_(data="letters"), "letters")
        self.refuses(self.run_(data=f"cifar10:{self.folder}"), str(self.folder))
        self.assertEqual([*self.folder.iterdir()], [])


if __name__ == "__main__":
    gr_unittest.run(qa_cli_run)
