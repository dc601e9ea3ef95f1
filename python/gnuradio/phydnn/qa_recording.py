#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Recordings: a run is recorded, and replayed to the same results."""

import contextlib
import io
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from gnuradio import gr_unittest
from gnuradio.phydnn import link, numerology
from gnuradio.phydnn.link import LinkResult, run_link
from gnuradio.phydnn.recording import player, recorder
from phydnn import recording
from phydnn.bundle import Bundle
from phydnn.cli import main
from phydnn.datasets import load
from phydnn.errors import InputError, RunError

BUNDLE = Bundle.load("phydnn-resnet20-digits")
DIGITS = load("digits", "test", BUNDLE.input_shape)
FEW = DIGITS.take(slice(20))
LABELS = [1, 4, 1, 5, 6, 5, 9, 9, 8, 0, 2, 1, 3, 3, 5, 7, 2, 6, 9, 7]
GAP = 128


def comparable(result: LinkResult) -> str:
    """All of a result that a replay must give again."""
    record = {k: v for k, v in result.record.items() if k not in ("latency_ms", "link")}
    return json.dumps([record, result.outcome.tolist()])


class slow_player(player):
    """Puts out a few samples at a time, an odd number of them."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.set_max_noutput_items(997)


class shrinking_player(player):
    """Finds its file cut in the middle of a sample."""

    def __init__(self, played: recording.Recording, *arguments: Any) -> None:
        super().__init__(played, *arguments)
        os.truncate(played.data, 8001)


class qa_recording(gr_unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def test_exact_labels(self) -> None:
        """A short recording, found on disk as it should be, is decoded."""
        file = self.folder / "made" / "short"
        run_link(BUNDLE, FEW, batch=6, record=file, author="A <a@b.c>")
        self.assertEqual(
            {path.name for path in file.parent.iterdir()}, {"short.sigmf-meta", "short.sigmf-data"}
        )
        self.assertLess(file.with_suffix(".sigmf-data").stat().st_size, 2_000_000)
        read = recording.load(file)
        waveform = numerology("wide")
        bursts = [waveform.frame_samples(n * BUNDLE.uses) for n in (6, 6, 6, 2)]
        starts = [sum(bursts[:i]) + i * GAP for i in range(4)]
        self.assertEqual([frame.number for frame in read.frames], [0, 1, 2, 3])
        self.assertEqual([frame.start for frame in read.frames], starts)
        self.assertEqual([frame.count for frame in read.frames], bursts)
        self.assertEqual([f.samples_on_air for f in read.frames], [n + GAP for n in bursts])
        self.assertEqual(read.made.bundle_id, BUNDLE.id)
        result = run_link(BUNDLE, FEW, link="file", replay=file)
        self.assertEqual(result.outcome.tolist(), LABELS)
        self.assertEqual(result.record["accuracy"], 1)
        self.assertEqual((result.record["frames_sent"], result.record["frames_lost"]), (4, 0))

    def test_the_same_results(self) -> None:
        """Also where frames are lost, and with offsets; and the same samples on every run."""
        images = DIGITS.take(slice(120))
        cases: list[dict[str, Any]] = [
            {"snr_db": -4.0, "batch": 3},
            {"snr_db": 2.0, "batch": 5, "channel": "rayleigh", "cfo_hz": 5e3, "sfo_ppm": -20.0},
            {"snr_db": 8.0, "batch": 7, "sfo_ppm": 30.0, "dimensions": "short", "sample_rate": 5e6},
        ]
        for options in cases:
            with self.subTest(options):
                files = [self.folder / name for name in "ab"]
                live = [run_link(BUNDLE, images, record=file, **options) for file in files]
                datas = [file.with_suffix(".sigmf-data").read_bytes() for file in files]
                self.assertEqual(*datas)
                played = run_link(BUNDLE, images, link="file", replay=files[0])
                self.assertEqual(comparable(played), comparable(live[0]))
                if options["snr_db"] < 8:
                    self.assertGreater(played.record["frames_lost"], 0)

    def test_however_it_is_cut(self) -> None:
        file = self.folder / "a"
        run_link(BUNDLE, DIGITS.take(slice(60)), snr_db=-2.0, batch=4, record=file)
        images = DIGITS  # of which the recording takes the first 60
        whole = comparable(run_link(BUNDLE, images, link="file", replay=file))
        with mock.patch.object(link, "player", slow_player):
            self.assertEqual(comparable(run_link(BUNDLE, images, link="file", replay=file)), whole)
        with mock.patch.object(link, "IN_FLIGHT", 1):
            self.assertEqual(comparable(run_link(BUNDLE, images, link="file", replay=file)), whole)

    def test_what_is_sent(self) -> None:
        """It is free of the channel, and the channel turns it into what is received."""
        sent, received = self.folder / "sent", self.folder / "received"
        run_link(BUNDLE, FEW, batch=8, snr_db=3.0, record_sent=sent, record=received)
        self.assertEqual(recording.load(sent).made.point, "sent")
        self.assertEqual(recording.load(sent).frames, recording.load(received).frames)
        clean, noisy = (
            np.fromfile(file.with_suffix(".sigmf-data"), np.complex64) for file in (sent, received)
        )
        noise = noisy - clean[: len(noisy)]
        self.assertAlmostEqual(10 * np.log10(np.mean(np.abs(noise) ** 2)), -3, delta=0.2)
        result = run_link(BUNDLE, FEW, link="file", replay=sent)
        self.assertLess(result.record["evm_db"], -60)
        self.assertEqual(result.outcome.tolist(), LABELS)

    def test_a_frame_without_annotation(self) -> None:
        """It was not recorded: an erasure, and no other image is shifted by it."""
        file = self.folder / "a"
        run_link(BUNDLE, FEW, batch=5, record=file)
        meta = file.with_suffix(".sigmf-meta")
        data = file.with_suffix(".sigmf-data")
        tree = json.loads(meta.read_text())
        second, third = (tree["annotations"][i]["core:sample_start"] for i in (1, 2))
        samples = np.fromfile(data, np.complex64)
        np.concatenate([samples[:second], samples[third:]]).tofile(data)
        del tree["annotations"][1]
        for annotation in tree["annotations"][1:]:
            annotation["core:sample_start"] -= third - second
        tree["global"]["core:sha512"] = recording._sha512(data)
        meta.write_text(json.dumps(tree))
        result = run_link(BUNDLE, FEW, link="file", replay=file)
        expected = [*LABELS[:5], *[-1] * 5, *LABELS[10:]]
        self.assertEqual(result.outcome.tolist(), expected)
        self.assertEqual((result.record["frames_sent"], result.record["frames_lost"]), (3, 1))
        self.assertEqual(result.record["accuracy"], 0.75)

    def test_data_that_shrink_while_played(self) -> None:
        file = self.folder / "a"
        run_link(BUNDLE, FEW, batch=5, record=file)
        with (
            mock.patch.object(link, "player", shrinking_player),
            self.assertRaisesRegex(RunError, "became shorter while it was played"),
        ):
            run_link(BUNDLE, FEW, link="file", replay=file)

    def test_a_failed_run_leaves_nothing(self) -> None:
        with self.assertRaises(InputError):
            run_link(BUNDLE, FEW, record=self.folder / "a", cfo_hz=1e9)
        with (
            mock.patch.object(link, "SILENCE_S", -1.0),
            self.assertRaisesRegex(RuntimeError, "fell silent"),
        ):
            run_link(BUNDLE, DIGITS, record=self.folder / "a")
        with (
            mock.patch.object(recorder, "finish", side_effect=InputError("no")),
            self.assertRaisesRegex(InputError, "no"),
        ):
            run_link(BUNDLE, FEW, record=self.folder / "a", record_sent=self.folder / "b")
        self.assertEqual([*self.folder.iterdir()], [])

    def test_bad_arguments(self) -> None:
        file = self.folder / "a"
        run_link(BUNDLE, FEW, record=file)
        (self.folder / "b.sigmf-data").mkdir()
        other = Bundle.load("phydnn-resnet20-cifar10-64x16")
        large = replace(FEW, x=np.zeros((20, 3, 32, 32), np.uint8), y=None)
        negative = replace(FEW, x=np.invert(FEW.x))
        cases: list[tuple[dict[str, Any], str]] = [
            ({"link": "file"}, "say which with replay"),
            ({"link": "file", "replay": file, "record": "b"}, "it makes none"),
            ({"replay": file}, "plays no recording"),
            ({"link": "file", "replay": self.folder / "c"}, "cannot be read"),
            ({"link": "file", "replay": file, "images": FEW.take(slice(9))}, "has only 9"),
            ({"link": "file", "replay": file, "images": negative}, "are others"),
            (
                {"link": "file", "replay": file, "bundle": other, "images": large},
                "not the one given",
            ),
            ({"record": file, "record_sent": f"{file}.sigmf-data"}, "cannot record both"),
            ({"record": self.folder / "b"}, "is a folder"),
            ({"record": file.with_suffix(".sigmf-data") / "x"}, "cannot write"),
            ({"record": ""}, "names no recording"),
        ]
        for options, sentence in cases:
            with self.subTest(sentence), self.assertRaisesRegex(InputError, sentence):
                run_link(**{"bundle": BUNDLE, "images": FEW, **options})
        meta = file.with_suffix(".sigmf-meta")
        tree = json.loads(meta.read_text())
        for key, value, sentence in (
            ("waveform", "huge", "wide"),
            ("batch", (1 << 24) - 1, "batch"),
            ("snr_db", 1e9, "Es/N0"),
        ):
            changed = {**tree, "global": {**tree["global"], f"phydnn:{key}": value}}
            meta.write_text(json.dumps(changed))
            with self.subTest(key), self.assertRaisesRegex(InputError, sentence):
                run_link(BUNDLE, FEW, link="file", replay=file)

    def call(self, *arguments: object) -> tuple[int, str]:
        err = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            status = main(
                ["run", "--bundle", BUNDLE.name, "--data", "digits", *map(str, arguments)]
            )
        return status, err.getvalue()

    def test_command(self) -> None:
        file, outs = self.folder / "a", [self.folder / f"{i}.json" for i in range(2)]
        picture = self.folder / "a.png"
        made = self.call("--limit", 20, "--batch", 8, "--record", file, "--json", outs[0])
        self.assertEqual(made, (0, ""))
        replay = ("--link", "file", "--replay", f"{file}.sigmf-meta")
        self.assertEqual(self.call(*replay, "--json", outs[1], "--picture", picture), (0, ""))
        records = [json.loads(out.read_text()) for out in outs]
        self.assertEqual([record["link"] for record in records], ["loopback", "file"])
        for record in records:
            for key in ("latency_ms", "link", "command"):
                del record[key]
        self.assertEqual(*records)
        self.assertTrue(picture.exists())
        for arguments, sentence in (
            (("--link", "file"), "--replay FILE"),
            ((*replay, "--snr", "12"), "--snr does not go with --replay"),
            ((*replay, "--record-sent", "b"), "--record-sent does not go with --replay"),
            (("--replay", file), "plays no recording"),
        ):
            status, error = self.call(*arguments)
            self.assertEqual((status, error.count("\n")), (2, 1), error)
            self.assertIn(sentence, error)


if __name__ == "__main__":
    gr_unittest.run(qa_recording)
