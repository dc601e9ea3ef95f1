#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The loopback link: accuracy, accounts and determinism."""

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gnuradio import gr_unittest
from gnuradio.phydnn import numerology
from gnuradio.phydnn.link import LinkResult, csi_error, run_link
from phydnn.bundle import Bundle
from phydnn.datasets import load
from phydnn.errors import InputError

BUNDLE = Bundle.load("phydnn-resnet20-digits")
DIGITS = load("digits", "test", BUNDLE.input_shape)
TAPS = {
    "delays_s": [0, 1.25e-7, 3.5e-7, 8e-7, 1.6e-6],
    "gains": [[0.8, 0.0], [0.25, 0.33], [-0.22, 0.18], [0.05, -0.21], [-0.1, -0.08]],
}


def comparable(result: LinkResult) -> str:
    """All of a result that must not depend on the machine's mood."""
    record = {key: value for key, value in result.record.items() if key != "latency_ms"}
    return json.dumps([record, result.outcome.tolist()])


class qa_link(gr_unittest.TestCase):
    def test_all_digits(self) -> None:
        done: list[tuple[int, int]] = []
        result = run_link(BUNDLE, DIGITS, progress=lambda *counts: done.append(counts))
        record = result.record
        self.assertGreaterEqual(record["accuracy"], 0.97)
        low, high = record["accuracy_ci95"]
        self.assertTrue(low < record["accuracy"] < high)
        self.assertEqual((record["n"], record["frames_sent"], record["frames_lost"]), (360, 6, 0))
        self.assertEqual(record["channel_uses"], 360 * BUNDLE.uses)
        waveform = numerology("wide")
        uses = [64 * BUNDLE.uses] * 5 + [40 * BUNDLE.uses]
        samples = sum(waveform.frame_samples(n) + 128 for n in uses)
        self.assertEqual(record["samples_on_air"], samples)
        side = sum(waveform.header_symbols + waveform.pilot_symbols(n) for n in uses)
        self.assertEqual(record["bytes_on_air"], side * waveform.used // 8)
        # What the channel adds, and what the estimates may lose.
        self.assertAlmostEqual(record["snr_db_estimated"], 12, delta=0.3)
        self.assertAlmostEqual(record["evm_db"], -12, delta=0.4)
        self.assertLess(record["csi_mse"], 10**-1.2)
        self.assertEqual(done[-1], (360, 0))
        latency = record["latency_ms"]
        self.assertEqual([*latency], ["head", "map", "air", "receive", "tail", "total"])
        for times in latency.values():
            self.assertTrue(0 <= times["p50"] <= times["p95"] < math.inf)
        self.assertAlmostEqual(
            latency["air"]["p50"], 1e3 * (waveform.frame_samples(uses[0]) + 128) / 20e6
        )

    def test_multipath_and_offsets(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            taps = Path(folder) / "taps.json"
            taps.write_text(json.dumps(TAPS))
            result = run_link(BUNDLE, DIGITS, channel=f"tdl:{taps}", cfo_hz=8e3, sfo_ppm=3)
        awgn = run_link(BUNDLE, DIGITS)
        self.assertGreaterEqual(result.record["accuracy"], awgn.record["accuracy"] - 0.01)
        self.assertEqual(result.record["frames_lost"], 0)
        self.assertLess(result.record["csi_mse"], 10**-1.2)

    def test_deterministic(self) -> None:
        """Also where frames are lost."""
        images = DIGITS.take(slice(120))
        cases: list[dict[str, Any]] = [
            {"snr_db": 12},
            {"snr_db": -4, "batch": 3},
            {"snr_db": 2, "batch": 5, "channel": "rayleigh", "cfo_hz": 5e3, "sfo_ppm": -20},
        ]
        for options in cases:
            results = [run_link(BUNDLE, images, **options) for _ in range(2)]
            self.assertEqual(*map(comparable, results))
            other = run_link(BUNDLE, images, seed=2, **options)
            self.assertNotEqual(comparable(results[0]), comparable(other))
            if options["snr_db"] < 12:
                self.assertGreater(results[0].record["frames_lost"], 0)
                self.assertLess(results[0].record["frames_lost"], results[0].record["frames_sent"])

    def test_lost_frames_are_accounted_for(self) -> None:
        result = run_link(BUNDLE, DIGITS, snr_db=-30, batch=50)
        self.assertEqual(result.record["frames_sent"], 8)
        self.assertEqual(result.record["frames_lost"], 8)
        self.assertEqual(result.record["erasures"], {"lost": 8})
        self.assertEqual(result.record["accuracy"], 0)
        self.assertNotIn("evm_db", result.record)
        np.testing.assert_array_equal(result.outcome, -1)

    def test_batch_of_one(self) -> None:
        few = DIGITS.take(slice(3))
        result = run_link(BUNDLE, few, batch=1, snr_db=30)
        self.assertEqual(result.record["frames_sent"], 3)
        np.testing.assert_array_equal(result.outcome, run_link(BUNDLE, few, snr_db=30).outcome)

    def test_labels_by_name(self) -> None:
        """Labels that count other classes, or the same in another order, meet by name."""
        names = ("7", "3")
        assert DIGITS.y is not None
        chosen = DIGITS.take(np.isin(DIGITS.y, (7, 3)))
        assert chosen.y is not None
        swapped = replace(chosen, y=np.where(chosen.y == 7, 0, 1), classes=names)
        result = run_link(BUNDLE, swapped)
        self.assertEqual(result.record["accuracy"], run_link(BUNDLE, chosen).record["accuracy"])
        unlabelled = run_link(BUNDLE, replace(chosen, y=None))
        self.assertNotIn("accuracy", unlabelled.record)
        np.testing.assert_array_equal(unlabelled.outcome, result.outcome)

    def test_bad_arguments(self) -> None:
        cases: list[tuple[dict[str, Any], str]] = [
            ({"link": "usrp"}, "needs a radio"),
            ({"link": "pigeon"}, "there is no link"),
            ({"snr_db": math.nan}, "Es/N0"),
            ({"snr_db": 101}, "Es/N0"),
            ({"batch": 0}, "batch"),
            ({"batch": 1 << 24}, "batch"),
            ({"seed": -1}, "seed"),
            ({"decision": "firm"}, "decision"),
            ({"channel": "rician"}, "rician:K"),
            ({"channel": "tdl:nowhere.json"}, "cannot be read"),
            ({"cfo_hz": 11e6}, "cfo_hz"),
            ({"cfo_hz": math.nan}, "cfo_hz"),
            ({"sfo_ppm": 2000}, "sfo_ppm"),
            ({"phase_noise_hz": -1}, "phase_noise_hz"),
            ({"sample_rate": 0}, "sample_rate"),
            ({"dimensions": "huge"}, "wide"),
            ({"bundle": "nowhere"}, "there is no bundle"),
        ]
        for options, sentence in cases:
            with self.subTest(options), self.assertRaisesRegex(InputError, sentence):
                run_link(**{"bundle": BUNDLE, "images": DIGITS, **options})
        for images in (
            DIGITS.take(slice(0)),
            replace(DIGITS, x=DIGITS.x[:, :, :4]),
            replace(DIGITS, classes=tuple("abcdefghij")),
        ):
            with self.assertRaises(InputError):
                run_link(BUNDLE, images)

    def test_csi_error(self) -> None:
        """Phase and delay do not count; noise does, with its power."""
        rng = np.random.default_rng(1)
        k = np.concatenate([np.arange(-224, 0), np.arange(1, 225)])
        truth = 1 + 0.5 * np.exp(-0.2j * k)
        rows = [truth * np.exp(1j * (phase - delay * k)) for phase, delay in ((1, 0.15), (-3, -1))]
        self.assertLess(csi_error(np.array(rows), truth, k), 1e-6)
        noise = rng.normal(size=(2, k.size, 2)) @ (1, 1j) * math.sqrt(0.01 / 2)
        error = csi_error(np.array(rows) + noise, truth, k)
        self.assertAlmostEqual(error, 0.01 / 1.25, delta=0.0008)


if __name__ == "__main__":
    gr_unittest.run(qa_link)
