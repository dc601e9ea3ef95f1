#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The SK encoder and decoder, and their kernel against the reference and the library's twin."""

import itertools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pmt
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qa_pdus import QUEUE, gaussian, meta_of, noisy, pdu, through  # type: ignore[import-not-found]

from gnuradio import gr_unittest, phydnn
from gnuradio.phydnn.reference import spiral as reference
from phydnn.spiral import RULES, LayerCode, Spiral, code_for

CASES = [(0.35, 1.0, 0), (1.08, 0.796, 5), (2.9, 1.0, 15), (3.116, 0.611, 15), (8.1, 0.57, 25)]


def kernel_of(code: LayerCode) -> Any:
    gammas = [spiral.gamma for spiral in code.spirals]
    alphas = [spiral.alpha for spiral in code.spirals]
    return phydnn.kernels.layer_code(gammas, alphas, code.repeats, code.amplitude)


class QaLayerCode(gr_unittest.TestCase):
    """The kernel, as ``gnuradio.phydnn.kernels.layer_code``."""

    def test_points_are_the_references(self) -> None:
        weights = gaussian(5000)
        for gamma, alpha, _ in CASES:
            symbols = phydnn.kernels.layer_code([gamma], [alpha]).encode(weights)
            self.assertEqual(symbols.dtype, np.complex64)
            np.testing.assert_allclose(symbols, reference.encode(weights, gamma, alpha), atol=2e-5)

    def test_nearest_points_are_the_references(self) -> None:
        for gamma, alpha, snr_db in CASES:
            sent = reference.encode(gaussian(200), gamma, alpha)
            symbols = noisy(sent, 10 ** (-snr_db / 10))
            code = phydnn.kernels.layer_code([gamma], [alpha])
            found = code.decode(symbols, 0.1, len(symbols), "nearest")
            best = reference.nearest(symbols, gamma, alpha)
            farther = np.abs(symbols - reference.encode(found, gamma, alpha)) - np.abs(
                symbols - reference.encode(best, gamma, alpha)
            )
            self.assertLess(farther.max(), 2e-3)

    def test_means_are_the_references(self) -> None:
        """The table's interpolation costs 0.05 dB of the error at most, with each N0 its own."""
        for gamma, alpha, snr_db in CASES:
            rng = np.random.default_rng(3)
            n0 = 10 ** (-(snr_db + rng.uniform(-3, 3, 600)) / 10)
            weights = gaussian(len(n0))
            symbols = noisy(reference.encode(weights, gamma, alpha), n0)
            found = phydnn.kernels.layer_code([gamma], [alpha]).decode(symbols, n0, len(n0))
            exact = reference.mmse(symbols.astype(complex), n0, gamma, alpha)
            least = np.mean((exact - weights) ** 2)
            self.assertLess(np.mean((found - exact) ** 2), 0.012 * least)

    def test_copies_are_averaged_by_their_noise(self) -> None:
        rng, gamma, alpha = np.random.default_rng(4), 2.0, 0.7
        weights = gaussian(600)
        n0 = 10 ** (-rng.uniform(5, 15, 3 * len(weights)) / 10)
        symbols = noisy(np.tile(reference.encode(weights, gamma, alpha), 3), n0)
        found = phydnn.kernels.layer_code([gamma], [alpha], 3).decode(symbols, n0, len(weights))
        exact = reference.mmse(*reference.combine(symbols.astype(complex), n0, 3), gamma, alpha)
        least = np.mean((exact - weights) ** 2)
        self.assertLess(np.mean((found - exact) ** 2), 0.012 * least)

    def test_the_library_is_its_twin(self) -> None:
        """The same symbols and, rounding at the arms' borders aside, the same weights."""
        for expansion, repeats, rule in itertools.product(range(4), (1, 2), RULES):
            twin = LayerCode(code_for(12, expansion, repeats).spirals, repeats, 1.3)
            kernel, weights = kernel_of(twin), gaussian(999)
            symbols = twin.encode(weights)
            np.testing.assert_allclose(kernel.encode(weights), symbols, atol=3e-4)
            n0 = np.full(len(symbols), 0.06, np.float32)
            n0[::7] = np.inf
            symbols = noisy(symbols, 0.06)
            symbols[::7] = np.nan
            expected = twin.decode(symbols, n0, len(weights), rule)
            found = kernel.decode(symbols, n0, len(weights), rule)
            self.assertLess(np.mean(np.abs(found - expected) > 2e-3), 0.02)

    def test_deterministic(self) -> None:
        """Neither the place in a call nor its length shows in a result."""
        code = phydnn.kernels.layer_code([3.1], [0.61])
        symbols = noisy(code.encode(gaussian(1000)), 0.03)
        for rule in ("mmse", "nearest"):
            whole = code.decode(symbols, 0.03, 1000, rule)
            parts = [code.decode(symbols[i : i + 37], 0.03, len(symbols[i : i + 37]), rule)
                     for i in range(0, 1000, 37)]  # fmt: skip
            np.testing.assert_array_equal(whole, np.concatenate(parts))

    @settings(max_examples=50, deadline=None)
    @given(
        gammas=st.lists(st.floats(0, 32), max_size=2),
        repeats=st.integers(1, 3),
        amplitude=st.floats(0.01, 100),
        n0=st.floats(0, 1e6, width=32),
        values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=9),
    )
    @example(gammas=[32.0, 32.0], repeats=1, amplitude=1.0, n0=0.01, values=[3.0])
    def test_any_weight_gives_finite_ones(
        self,
        gammas: list[float],
        repeats: int,
        amplitude: float,
        n0: float,
        values: list[float],
    ) -> None:
        code = phydnn.kernels.layer_code(gammas, [0.8] * len(gammas), repeats, amplitude)
        weights = np.array(values, np.float32)
        symbols = code.encode(np.clip(weights, -1e30, 1e30))
        for rule in ("mmse", "nearest"):
            self.assertTrue(np.isfinite(code.decode(symbols, n0, len(weights), rule)).all())

    def test_bad_arguments(self) -> None:
        code = phydnn.kernels.layer_code([1.0], [1.0])
        one = np.zeros(1, np.complex64)
        calls: tuple[tuple[Callable[[], Any], str], ...] = (
            (lambda: phydnn.kernels.layer_code([33.0], [1.0]), "gamma must be 0 to 32"),
            (lambda: phydnn.kernels.layer_code([1.0], [0.2]), "alpha must be 0.5 to 1"),
            (lambda: phydnn.kernels.layer_code([1.0], []), "must be as many"),
            (lambda: phydnn.kernels.layer_code(repeats=0), "repeats must be"),
            (lambda: code.encode([math.nan]), "weights must be finite"),
            (lambda: code.decode(one, 1.0, 2), "2 weights do not take 1 channel uses"),
            (lambda: code.decode(one, 1.0, 1 << 62), "do not take"),
            (lambda: code.decode(one, [1.0, 1.0], 1), "one value for each symbol"),
            (lambda: code.decode(one, -1.0, 1), "n0 must be"),
            (lambda: code.decode(one * math.nan, 1.0, 1), "symbols must be finite"),
            (lambda: code.decode(one, 1.0, 1, "ml"), 'rule must be "mmse" or "nearest"'),
        )
        for call, message in calls:
            with self.assertRaisesRegex(ValueError, message):
                call()


class QaSkBlocks(gr_unittest.TestCase):
    def code(self) -> tuple[list[float], list[float]]:
        return [3.116], [0.611]

    def test_weights_cross(self) -> None:
        """At 15 dB, with a N0 for each symbol or one for all, in order and with their metadata."""
        weights = [gaussian(count, seed) for seed, count in enumerate((1, 300, 20000))]
        sent = through(
            phydnn.sk_encoder(*self.code()),
            "weights",
            "symbols",
            *(pdu(vector, frame_number=i) for i, vector in enumerate(weights)),
        )
        n0, received = 10**-1.5, []
        for i, message in enumerate(sent):
            symbols = noisy(phydnn.to_array(pmt.cdr(message)), n0)
            given = n0 if i % 2 else np.full(len(symbols), n0, np.float32)
            received.append(pdu(symbols, frame_number=i, n0=given))
        decoder = phydnn.sk_decoder(*self.code())
        answers = through(decoder, "symbols", "weights", *received)
        for i, (message, expected) in enumerate(zip(answers, weights, strict=True)):
            self.assertEqual(meta_of(message)["frame_number"], i)
            found = phydnn.to_array(pmt.cdr(message))
            self.assertEqual(found.dtype, np.float32)
            self.assertEqual(len(found), len(expected))
        error = np.mean((found - expected) ** 2)
        self.assertAlmostEqual(-10 * math.log10(error), 24.6, delta=0.7)
        self.assertEqual((decoder.received(), decoder.erased(), decoder.dropped()), (3, 0, 0))

    def test_rule_may_change(self) -> None:
        decoder = phydnn.sk_decoder(rule="nearest")
        self.assertEqual(decoder.rule(), "nearest")
        # Plain symbols: the nearest ones are as received, and the mean lies nearer to 0.
        symbols = np.full(1, (1 + 1j) / math.sqrt(2), np.complex64)
        (message,) = through(decoder, "symbols", "weights", pdu(symbols, n0=1.0))
        np.testing.assert_allclose(phydnn.to_array(pmt.cdr(message)), 1, rtol=1e-6)
        decoder = phydnn.sk_decoder(rule="nearest")
        decoder.set_rule("mmse")
        (message,) = through(decoder, "symbols", "weights", pdu(symbols, n0=1.0))
        np.testing.assert_allclose(phydnn.to_array(pmt.cdr(message)), 0.5, rtol=1e-6)
        with self.assertRaisesRegex(ValueError, "rule must be"):
            decoder.set_rule("soft")

    def test_erasures_are_the_priors_mean_and_counted(self) -> None:
        lost = pdu(np.zeros(0, np.complex64), erased=True, reason="lost", frame_number=3)
        decoder = phydnn.sk_decoder(*self.code(), weights=5)
        good = pdu(phydnn.kernels.layer_code(*self.code()).encode(gaussian(4)), n0=0.01)
        answers = through(decoder, "symbols", "weights", lost, good)
        self.assertEqual(meta_of(answers[0])["reason"], "lost")
        self.assertTrue(meta_of(answers[0])["erased"])
        np.testing.assert_array_equal(phydnn.to_array(pmt.cdr(answers[0])), np.zeros(5))
        self.assertEqual(len(phydnn.to_array(pmt.cdr(answers[1]))), 4)  # the last, a short frame
        self.assertEqual((decoder.erased(), decoder.filled()), (1, 5))
        encoder = phydnn.sk_encoder(*self.code())
        (passed,) = through(encoder, "weights", "symbols", lost)
        self.assertTrue(pmt.equal(passed, lost))
        self.assertEqual(encoder.erased(), 1)

    def test_unsound_pdus_become_erasures(self) -> None:
        ones = np.ones(2, np.complex64)
        bad = [
            pdu(gaussian(2), n0=0.1),
            pdu(ones),
            pdu(ones, n0=-1.0),
            pdu(ones, n0=np.ones(3, np.float32)),
            pdu(ones * np.nan, n0=0.1),
            pmt.PMT_NIL,
        ]
        decoder = phydnn.sk_decoder(*self.code(), weights=2)
        answers = through(decoder, "symbols", "weights", *bad)
        self.assertEqual([meta_of(answer).get("reason") for answer in answers], ["payload"] * 6)
        self.assertEqual((decoder.dropped(), decoder.filled()), (6, 12))
        bad = [pdu(ones), pdu(np.array([1, np.inf], np.float32)), pmt.intern("weights")]
        encoder = phydnn.sk_encoder(*self.code())
        answers = through(encoder, "weights", "symbols", *bad)
        self.assertEqual([meta_of(answer).get("reason") for answer in answers], ["payload"] * 3)
        self.assertEqual(encoder.dropped(), 3)

    def test_queues_are_bounded(self) -> None:
        for block, ports, vector in (
            (phydnn.sk_encoder(), ("weights", "symbols"), gaussian(2)),
            (phydnn.sk_decoder(), ("symbols", "weights"), np.ones(1, np.complex64)),
        ):
            messages = [pdu(vector, n0=0.1, frame_number=i) for i in range(QUEUE + 10)]
            answers = through(block, *ports, *messages)
            self.assertEqual(len(answers), len(messages))
            reasons = [meta_of(answer).get("reason") for answer in answers]
            self.assertEqual(reasons.count("overrun"), block.dropped())
            self.assertGreater(block.dropped(), 0)
            self.assertLessEqual(block.dropped(), 10)

    def test_bad_parameters(self) -> None:
        for make in (phydnn.sk_encoder, phydnn.sk_decoder):
            bad: list[tuple[Any, ...]] = [([40.0], [1.0]), ([1.0], [1.0, 1.0]), ([], [], 0)]
            for arguments in (*bad, ([], [], 1, -1.0)):
                with self.assertRaises(ValueError):
                    make(*arguments)
        with self.assertRaisesRegex(ValueError, "rule must be"):
            phydnn.sk_decoder(rule="ml")
        with self.assertRaisesRegex(ValueError, "weights must be at most"):
            phydnn.sk_decoder(weights=1 << 25)


class QaTwin(gr_unittest.TestCase):
    def test_one_spiral_is_the_librarys(self) -> None:
        """The twin against the reference, so that all three agree."""
        for gamma, alpha, snr_db in CASES:
            twin, n0 = Spiral(gamma, alpha), 10 ** (-snr_db / 10)
            weights = gaussian(300)
            np.testing.assert_allclose(
                twin.encode(weights), reference.encode(weights, gamma, alpha), atol=1e-5
            )
            symbols = noisy(twin.encode(weights), n0).astype(complex)
            exact = reference.mmse(symbols, n0, gamma, alpha)
            least = float(twin.distortion(n0))
            self.assertLess(np.mean((twin.mmse(symbols, n0) - exact) ** 2), 0.01 * least)


if __name__ == "__main__":
    gr_unittest.run(sys.modules[__name__])
