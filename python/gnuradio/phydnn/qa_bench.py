#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The benchmarks themselves: what they count, what they refuse, what they draw."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import image

from gnuradio import gr_unittest
from gnuradio.phydnn.bench import Figure, Report, emulator, kernels, plots, psk, sync, waveform
from phydnn.errors import RunError


def silent(steps: Sequence[Any], name: str) -> Iterable[Any]:
    """A progress bar that shows nothing."""
    return steps


class TestFigures(gr_unittest.TestCase):
    """A number and its bar."""

    def test_bars(self) -> None:
        for value, at_most, met in ((1, False, False), (2, False, True), (3, True, False)):
            figure = Figure("name", value, "dB", 2, at_most)
            self.assertEqual((figure.met, figure.as_dict()["met"]), (met, met))
        self.assertFalse(Figure("name", float("nan"), "dB", 2).met)
        self.assertIsNone(Figure("name", 1, "dB").met)
        keys = {"name", "value", "unit", "bar", "met"}
        self.assertEqual(set(Figure("name", 1, "dB").as_dict()), keys)

    def test_reports_add_up(self) -> None:
        report = Report([Figure("a", 1, "")], {"x": 1})
        report.add(Report([Figure("b", 1, "")], {"y": 2}))
        self.assertEqual([figure.name for figure in report.figures], ["a", "b"])
        self.assertEqual(report.curves, {"x": 1, "y": 2})


class TestMeasurements(gr_unittest.TestCase):
    """Each measurement where the answer is known."""

    def test_detection(self) -> None:
        self.assertEqual(sync.detected(5, range(10)), 10)
        self.assertEqual(sync.detected(-30, range(10)), 0)

    def test_false_alarms(self) -> None:
        (figure,) = sync.false_alarms(1 << 20, silent).figures
        # Of no event in n trials the bound is -ln(0.05) / n.
        self.assertAlmostEqual(figure.value * (1 << 20), -np.log(0.05), places=6)
        self.assertFalse(figure.met)

    def test_long_payload(self) -> None:
        payload = psk(5000, np.random.default_rng(0))
        symbols, symbol_n0 = waveform.link(payload, True, 1, snr_db=30.0, cfo_hz=-5e3)
        error = waveform.decibels(waveform.error_power(symbols, payload))
        self.assertAlmostEqual(error, -30, delta=1)
        self.assertAlmostEqual(waveform.decibels(float(symbol_n0.mean())), -30, delta=1)
        with self.assertRaisesRegex(RunError, "a frame was lost"):
            waveform.link(payload, False, 1, snr_db=-30.0)

    def test_efficiency(self) -> None:
        (figure,) = waveform.efficiency().figures
        # Preamble; 147 data symbols, 12 DMRS, 2 header symbols; gap.
        samples = 40 + 4 * 256 + (147 + 12 + 2) * (512 + 40) + 128
        self.assertEqual(figure.value, 65536 / samples)

    def test_a_kernel_that_errs_is_told(self) -> None:
        right, wrong = np.ones(5), np.array([1, 1, 1.1, 1, 1])
        kernels.agree(kernels.Race("equal", lambda: (right, 1.0), lambda: (right, 1.0)))
        with self.assertRaisesRegex(RunError, "the kernel other and its reference differ"):
            kernels.agree(kernels.Race("other", lambda: wrong, lambda: right))

    def test_every_kernel_agrees_with_its_reference(self) -> None:
        for race in kernels.races():
            with self.subTest(race.name):
                kernels.agree(race)

    def test_emulator(self) -> None:
        # How fast is the machine's matter; but in MS/s, not in samples.
        for rate in (emulator.through_sockets(2, 0.3, 0.05), emulator.channel_model(0.2)):
            self.assertTrue(1e-3 < rate < 1e3, rate)


class TestPictures(gr_unittest.TestCase):
    """Every curve has a panel."""

    def test_draw(self) -> None:
        snr = [0, 10, 20]
        curves: dict[str, Any] = {
            "detection": {
                "es_n0_db": snr,
                "probability": [0, 0.5, 1],
                "interval95": [(0, 0.1), (0.4, 0.6), (0.9, 1)],
            },
            "cfo": {"es_n0_db": snr, "rms_hz": [3, 2, 1], "bound_hz": [2, 1, 0.5]},
            "evm": {"es_n0_db": snr, "evm_db": {"AWGN": [0, -10, -20]}},
            "throughput": {"transmitter": {"plain": 60.0}, "receiver": {"plain": 20.0}},
            "kernels": {"fast": 100.0, "slow": 2.0},
            "link": {"alone": 10.0, "whole": 7.0},
        }
        self.assertEqual(set(curves), set(plots.PANELS))
        with tempfile.TemporaryDirectory() as folder:
            for names in (list(curves), ["cfo"], ["cfo", "evm", "link"]):
                path = Path(folder) / "picture.png"
                plots.draw(Report(curves={name: curves[name] for name in names}), path)
                pixels = image.imread(path)
                self.assertGreater(pixels.shape[1], 900)
                self.assertGreater(float(pixels.std()), 0.05)


if __name__ == "__main__":
    gr_unittest.run(TestFigures)
    gr_unittest.run(TestMeasurements)
    gr_unittest.run(TestPictures)
