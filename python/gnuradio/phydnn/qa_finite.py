#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The finite mapper and demapper, and their kernel against its NumPy reference and its twin."""

import itertools
import sys
from typing import Any

import numpy as np
import pmt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from qa_pdus import QUEUE, gaussian, meta_of, noisy, pdu, through  # type: ignore[import-not-found]

from gnuradio import gr_unittest, phydnn
from gnuradio.phydnn.reference import finite as reference
from phydnn.finite import FiniteConstellation

GRID = (-2.514, 2.514, 4, 0.7)
DECISIONS = ("none", "hard", "soft")


def bell(bits: int) -> NDArray[np.float32]:
    """Priors of values that lie about the middle."""
    return np.exp(-(np.linspace(-2, 2, 2**bits) ** 2)).astype(np.float32)


def mapped(mapper: Any, *messages: Any) -> list[Any]:
    return through(mapper, "values", "symbols", *messages)


def demapped(demapper: Any, *messages: Any) -> list[Any]:
    return through(demapper, "symbols", "values", *messages)


class QaFiniteCodec(gr_unittest.TestCase):
    """The kernel, as ``gnuradio.phydnn.kernels.finite_codec``."""

    def test_symbols_are_the_references(self) -> None:
        for bits in (1, 2, 4, 8):
            grid = (-2.0, 2.5, bits, 0.7)
            values = gaussian(2000, 3)
            symbols = phydnn.kernels.finite_codec(*grid).encode(values)
            self.assertEqual(symbols.dtype, np.complex64)
            # Rounding may decide between two levels that are as near.
            steps = (values.astype(np.float64) + 2) * (2**bits - 1) / 4.5
            clear = np.abs(steps % 1 - 0.5) > 1e-4
            clear = clear.reshape(-1, 2).all(1)
            self.assertGreater(clear.mean(), 0.98)
            exact = reference.encode(values, *grid)
            np.testing.assert_allclose(symbols[clear], exact[clear], rtol=0, atol=1e-6)

    def test_decisions_are_the_references(self) -> None:
        for bits, snr_db, priors in itertools.product((1, 4, 8), (-10, 0, 12, 30), (False, True)):
            grid, n0 = (-2.0, 2.5, bits, 0.7), 10 ** (-snr_db / 10)
            weights = bell(bits) if priors else None
            codec = phydnn.kernels.finite_codec(*grid, *((weights,) if priors else ()))
            symbols = noisy(codec.encode(gaussian(1002, 3)), n0)
            each = (n0 * np.random.default_rng(2).uniform(0.5, 2, 501)).astype(np.float32)
            for noise in (np.float32(n0), each):
                exact = reference.decode_soft(
                    symbols.astype(np.complex128), noise.astype(np.float64), *grid, weights
                )
                soft = codec.decode(symbols, noise)
                self.assertEqual(soft.dtype, np.float32)
                np.testing.assert_allclose(soft, exact, rtol=0, atol=2e-5)
            hard = codec.decode(symbols, n0, "hard")
            exact = reference.decode_hard(symbols, *grid)
            self.assertGreater(np.mean(np.abs(hard - exact) < 1e-6), 0.998)
            np.testing.assert_allclose(
                codec.decode(symbols, n0, "none"), symbols.view(np.float32) / 0.7, rtol=1e-6
            )

    def test_the_librarys_twin(self) -> None:
        """To the bit where numbers are decided, so that a simulation and the air agree."""
        for bits, priors in itertools.product((0, 1, 4, 8), (False, True)):
            weights = bell(bits) if priors and bits else None
            code = FiniteConstellation(-2.0, 2.5, bits, 0.7, weights)
            codec = phydnn.kernels.finite_codec(
                code.low, code.high, bits, code.gain, [] if weights is None else weights
            )
            values = gaussian(3000, 5)
            # Halfway between two levels, too.
            values[:100] = (code.low + np.arange(100) * 0.015).astype(np.float32)
            symbols = codec.encode(values)
            np.testing.assert_array_equal(symbols, code.map(values))
            np.testing.assert_array_equal(codec.values, code.values)
            np.testing.assert_array_equal(codec.amplitudes, code.amplitudes)
            for decision in DECISIONS:
                received = noisy(symbols, 0.1)
                np.testing.assert_allclose(
                    codec.decode(received, 0.1, decision),
                    code.demap(received, 0.1, decision),
                    rtol=1e-6,
                    atol=2e-5,
                )

    @settings(deadline=None)
    @given(
        st.integers(0, 8),
        hnp.arrays(np.float32, st.integers(0, 20).map(lambda n: 2 * n)),
        hnp.arrays(np.complex64, st.integers(0, 20)),
        st.floats(width=32),
    )
    def test_any_numbers_at_all(
        self, bits: int, values: NDArray[np.float32], symbols: NDArray[np.complex64], n0: float
    ) -> None:
        """Finite numbers give finite ones; others a ValueError."""
        codec = phydnn.kernels.finite_codec(-1, 1, bits, 1)
        if np.isfinite(values).all():
            self.assertTrue(np.isfinite(codec.encode(values)).all())
        else:
            with self.assertRaisesRegex(ValueError, "values must be finite"):
                codec.encode(values)
        for decision in DECISIONS:
            if not np.isfinite(symbols).all():
                with self.assertRaisesRegex(ValueError, "symbols must be finite|n0 must be"):
                    codec.decode(symbols, n0, decision)
            elif n0 >= 0 or decision != "soft" or not len(symbols):
                decoded = codec.decode(symbols, n0, decision)
                self.assertTrue(np.isfinite(decoded).all())
                if bits and decision != "none":
                    self.assertTrue((np.abs(decoded) <= 1 + 1e-6).all())
            else:
                with self.assertRaisesRegex(ValueError, "n0 must be a noise variance"):
                    codec.decode(symbols, n0, decision)

    @settings(deadline=None)
    @given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 8))
    def test_a_cut_changes_nothing(self, first: int, second: int, bits: int) -> None:
        codec = phydnn.kernels.finite_codec(-2, 2, bits, 0.7)
        values = gaussian(2 * (first + second), 3)
        symbols = codec.encode(values)
        parts = [codec.encode(part) for part in (values[: 2 * first], values[2 * first :])]
        np.testing.assert_array_equal(symbols, np.concatenate(parts))
        received = noisy(symbols, 0.2)
        soft = [codec.decode(part, 0.2) for part in (received[:first], received[first:])]
        np.testing.assert_array_equal(codec.decode(received, 0.2), np.concatenate(soft))

    def test_bad_arguments(self) -> None:
        make = phydnn.kernels.finite_codec
        codec = make(*GRID)
        for function, arguments, message in (
            (make, (0, 1, 9, 1), "bits must be 1 to 8"),
            (make, (1, 0, 4, 1), "low below high"),
            (make, (0, 1, 4, 0), "gain must be"),
            (make, (0, 1, 4, 1, [1, 2]), "none or 16 weights"),
            (codec.encode, (np.zeros(3),), "in pairs, but there are 3"),
            (codec.encode, (np.zeros((2, 2)),), "values must have 1 dimensions"),
            (codec.decode, (np.zeros(2), np.ones(3)), "one value for each symbol"),
            (codec.decode, (np.zeros(2), 1, "firm"), 'decision must be "none"'),
        ):
            with self.assertRaisesRegex(ValueError, message):
                function(*arguments)


class QaFiniteBlocks(gr_unittest.TestCase):
    """The blocks: PDUs in, as many PDUs out."""

    def setUp(self) -> None:
        self.codec = phydnn.kernels.finite_codec(*GRID)
        self.values = gaussian(600, 4)
        self.symbols = noisy(self.codec.encode(self.values), 0.1)

    def test_map(self) -> None:
        mapper = phydnn.finite_mapper(*GRID)
        out = mapped(
            mapper,
            pdu(self.values, frame_number=7, sentences=2),
            pdu(self.values[:10], frame_number=8),
        )
        self.assertEqual(meta_of(out[0]), {"frame_number": 7, "sentences": 2})
        self.assertEqual(meta_of(out[1]), {"frame_number": 8})
        symbols = pmt.to_python(pmt.cdr(out[0]))
        self.assertEqual(symbols.dtype, np.complex64)
        np.testing.assert_array_equal(symbols, self.codec.encode(self.values))
        self.assertEqual((mapper.received(), mapper.erased(), mapper.dropped()), (2, 0, 0))

    def test_demap(self) -> None:
        each = np.linspace(0.01, 1, 300, dtype=np.float32)
        for decision in DECISIONS:
            demapper = phydnn.finite_demapper(*GRID, decision, bell(4))
            codec = phydnn.kernels.finite_codec(*GRID, bell(4))
            noises = (0.1, each, 1)
            out = demapped(demapper, *(pdu(self.symbols, n0=n0, frame_number=3) for n0 in noises))
            for message, n0 in zip(out, noises, strict=True):
                values = pmt.to_python(pmt.cdr(message))
                self.assertEqual(values.dtype, np.float32)
                self.assertEqual(meta_of(message)["frame_number"], 3)
                np.testing.assert_array_equal(values, codec.decode(self.symbols, n0, decision))
            counts = (demapper.received(), demapper.erased(), demapper.dropped())
            self.assertEqual(counts, (3, 0, 0))

    def test_decision_while_running(self) -> None:
        demapper = phydnn.finite_demapper(*GRID)
        self.assertEqual(demapper.decision(), "soft")
        with self.assertRaisesRegex(ValueError, 'decision must be "none", "hard" or "soft"'):
            demapper.set_decision("firm")
        for decision in DECISIONS:
            demapper.set_decision(decision)
            self.assertEqual(demapper.decision(), decision)
        demapper.set_decision("hard")
        (out,) = demapped(demapper, pdu(self.symbols))
        np.testing.assert_array_equal(
            pmt.to_python(pmt.cdr(out)), self.codec.decode(self.symbols, 1, "hard")
        )

    def test_erasures_pass_untouched(self) -> None:
        erasure = pmt.cons(
            pmt.to_pmt({"erased": True, "reason": "cut", "frame_number": 5}),
            pmt.make_c32vector(0, 0),
        )
        mapper, demapper = phydnn.finite_mapper(*GRID), phydnn.finite_demapper(*GRID)
        (sent,), (received,) = mapped(mapper, erasure), demapped(demapper, erasure)
        self.assertTrue(pmt.equal(sent, erasure))
        self.assertTrue(pmt.equal(received, erasure))
        for block in (mapper, demapper):
            self.assertEqual((block.received(), block.erased(), block.dropped()), (1, 1, 0))

    def assert_erased(self, message: Any, empty: Any, **meta: Any) -> None:
        found = {key: value for key, value in meta_of(message).items() if key != "n0"}
        self.assertEqual(found, {**meta, "erased": True, "reason": "payload"})
        self.assertTrue(empty(pmt.cdr(message)))
        self.assertEqual(pmt.length(pmt.cdr(message)), 0)

    def test_bad_values_become_erasures(self) -> None:
        poisoned, infinite = self.values.copy(), self.values.copy()
        poisoned[100], infinite[-1] = np.nan, -np.inf
        bad = [
            pdu(poisoned, frame_number=1),
            pdu(infinite, frame_number=1),
            pdu(self.values[:-1], frame_number=1),
            pdu(self.symbols, frame_number=1),
            pdu("text", frame_number=1),
        ]
        mapper = phydnn.finite_mapper(*GRID)
        out = mapped(mapper, *bad, pmt.intern("no PDU"), pdu(self.values))
        for message in out[:5]:
            self.assert_erased(message, pmt.is_c32vector, frame_number=1)
        self.assert_erased(out[5], pmt.is_c32vector)
        self.assertEqual(pmt.length(pmt.cdr(out[6])), 300)
        self.assertEqual((mapper.received(), mapper.erased(), mapper.dropped()), (7, 0, 6))

    def test_bad_symbols_become_erasures(self) -> None:
        poisoned = self.symbols.copy()
        poisoned[299] = complex(0, np.nan)
        bad = [
            pdu(poisoned, frame_number=1, n0=0.1),
            pdu(self.values, frame_number=1, n0=0.1),
            *(pdu(self.symbols, frame_number=1, n0=n0) for n0 in (-0.1, float("nan"), "loud", 1j)),
            pdu(self.symbols, frame_number=1),
            pdu(self.symbols, frame_number=1, n0=np.ones(299, np.float32)),
        ]
        demapper = phydnn.finite_demapper(*GRID)
        out = demapped(demapper, *bad, pmt.PMT_NIL, pdu(self.symbols, n0=0.1))
        for message in out[:8]:
            self.assert_erased(message, pmt.is_f32vector, frame_number=1)
        self.assert_erased(out[8], pmt.is_f32vector)
        self.assertEqual(pmt.length(pmt.cdr(out[9])), 600)
        self.assertEqual((demapper.received(), demapper.erased(), demapper.dropped()), (10, 0, 9))

    def test_empty_pdus(self) -> None:
        (sent,) = mapped(phydnn.finite_mapper(*GRID), pdu(np.zeros(0, np.float32)))
        (received,) = demapped(phydnn.finite_demapper(*GRID), pdu(np.zeros(0, np.complex64), n0=1))
        self.assertTrue(pmt.is_c32vector(pmt.cdr(sent)) and pmt.is_f32vector(pmt.cdr(received)))
        for message in (sent, received):
            self.assertNotIn("erased", meta_of(message))
            self.assertEqual(pmt.length(pmt.cdr(message)), 0)

    def test_queues_are_bounded(self) -> None:
        """What waits too long leaves as an erasure, in its place."""
        count = 3 * QUEUE
        mapper, demapper = phydnn.finite_mapper(*GRID), phydnn.finite_demapper(*GRID, "hard")
        runs = (
            mapped(mapper, *(pdu(self.values, frame_number=n) for n in range(count))),
            demapped(demapper, *(pdu(self.symbols, frame_number=n) for n in range(count))),
        )
        for block, out in zip((mapper, demapper), runs, strict=True):
            self.assertEqual([meta_of(m)["frame_number"] for m in out], list(range(count)))
            overrun = [meta_of(m).get("reason") == "overrun" for m in out]
            self.assertEqual(sum(overrun), block.dropped())
            self.assertTrue(all(overrun[:QUEUE]))
            self.assertFalse(any(overrun[-QUEUE:]))

    def test_bad_parameters(self) -> None:
        for make in (phydnn.finite_mapper, phydnn.finite_demapper):
            for arguments, message in (
                ((-1, 1, 9, 1), "bits must be 1 to 8"),
                ((1, -1, 4, 1), "low below high"),
                ((-1, float("nan"), 4, 1), "low and high must be finite"),
                ((-1, 1, 4, -1), "gain must be"),
                ((-1, 1, 4, 1e6), "amplitudes within"),
            ):
                with self.assertRaisesRegex(ValueError, message):
                    make(*arguments)
        with self.assertRaisesRegex(ValueError, 'decision must be "none", "hard" or "soft"'):
            phydnn.finite_demapper(*GRID, "other")
        with self.assertRaisesRegex(ValueError, "priors must"):
            phydnn.finite_demapper(*GRID, "soft", [-1] * 16)


if __name__ == "__main__":
    gr_unittest.run(sys.modules[__name__])
