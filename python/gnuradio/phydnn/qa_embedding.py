#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The embedding mapper and demapper, and their kernel against its NumPy reference."""

import itertools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from qa_pdus import QUEUE, meta_of, noisy, pdu, through  # type: ignore[import-not-found]

from gnuradio import blocks, gr, gr_unittest, phydnn
from gnuradio.phydnn.reference import embedding as reference
from phydnn import constellation
from phydnn.bundle import Bundle, load

MODELS = Path(__file__).resolve().parents[3] / "models"
SEEDS = st.integers(0, 2**32 - 1)


def dictionary(size: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((size, dim)).astype(np.float32)


def heard(points: NDArray[np.complex64], count: int, n0: float) -> Any:
    """Points, drawn and with noise."""
    return noisy(points[np.random.default_rng(2).integers(0, len(points), count)], n0)


def mapped(mapper: Any, *messages: Any) -> list[Any]:
    return through(mapper, "slices", "symbols", *messages)


def demapped(demapper: Any, *messages: Any) -> list[Any]:
    return through(demapper, "symbols", "slices", *messages)


class QaEmbeddingCodec(gr_unittest.TestCase):
    """The kernel, as ``gnuradio.phydnn.kernels.embedding_codec``."""

    def test_labels_are_the_references(self) -> None:
        for size, dim, lookup in itertools.product(
            (2, 4, 16, 64, 256), (2, 8, 16, 100), ("distance", "inner_product")
        ):
            embeddings, points = dictionary(size, dim), constellation.psk(size)
            slices = dictionary(500, dim, seed=7)
            codec = phydnn.kernels.embedding_codec(embeddings, points, lookup)
            labels, symbols = codec.encode(slices)
            exact = slices.astype(np.float64), embeddings.astype(np.float64)
            expected, _ = reference.encode(*exact, points, lookup)
            # Rounding may decide between labels whose scores are closer than single precision.
            scores = reference.scores(*exact, lookup)
            best = np.sort(scores, axis=1)
            clear = best[:, -1] - best[:, -2] > 1e-5
            self.assertGreater(clear.mean(), 0.98)
            self.assertLess(np.max(best[:, -1] - scores[np.arange(500), labels]), 1e-5)
            np.testing.assert_array_equal(labels[clear], expected[clear])
            np.testing.assert_array_equal(symbols, points[labels])
            self.assertEqual((labels.dtype, symbols.dtype), (np.int32, np.complex64))

    def test_hard_decisions_are_the_references(self) -> None:
        for points in map(constellation.psk, (2, 4, 8, 16, 256)):
            self.compare_hard(points)
        for points in map(constellation.qam, (4, 16, 64, 256)):
            self.compare_hard(points)
        scatter = dictionary(1000, 2, seed=5)
        self.compare_hard(constellation.unit_power(scatter[:, 0] + 1j * scatter[:, 1]))

    def compare_hard(self, points: NDArray[np.complex64]) -> None:
        embeddings, symbols = dictionary(len(points), 5), heard(points, 3000, 0.05)
        labels, slices = phydnn.kernels.embedding_codec(embeddings, points).decode_hard(symbols)
        exact = symbols.astype(np.complex128), points.astype(np.complex128)
        nearest = np.sort(reference.squared_distances(*exact), axis=1)
        clear = nearest[:, 1] - nearest[:, 0] > 1e-6
        expected, _ = reference.decode_hard(exact[0], embeddings, exact[1])
        self.assertGreater(clear.mean(), 0.98)
        np.testing.assert_array_equal(labels[clear], expected[clear])
        np.testing.assert_array_equal(slices, embeddings[labels])

    def test_soft_decisions_are_the_references(self) -> None:
        for points, dim, snr_db in itertools.product(
            (constellation.psk(2), constellation.psk(16), constellation.qam(64)),
            (1, 16, 37),
            (-20, 0, 12, 20),
        ):
            embeddings, n0 = dictionary(len(points), dim), 10 ** (-snr_db / 10)
            symbols = heard(points, 1001, n0)
            codec = phydnn.kernels.embedding_codec(embeddings, points)
            each = (n0 * np.random.default_rng(2).uniform(0.5, 2, len(symbols))).astype(np.float32)
            for variances in (np.float32(n0), each):
                exact = reference.decode_soft(
                    symbols.astype(np.complex128),
                    embeddings.astype(np.float64),
                    points.astype(np.complex128),
                    variances.astype(np.float64),
                )
                soft = codec.decode_soft(symbols, variances)
                self.assertEqual(soft.dtype, np.float32)
                np.testing.assert_allclose(soft, exact, rtol=0, atol=1e-5)

    def test_soft_decisions_beat_hard_ones(self) -> None:
        """The posterior mean is the estimate of least mean squared error."""
        embeddings, points, n0 = dictionary(16, 16), constellation.psk(16), 0.1
        codec = phydnn.kernels.embedding_codec(embeddings, points)
        sent = np.arange(20000) % 16
        rng = np.random.default_rng(3)
        noise = rng.standard_normal(sent.size) + 1j * rng.standard_normal(sent.size)
        received = points[sent] + np.sqrt(n0 / 2) * noise
        hard = np.mean((codec.decode_hard(received)[1] - embeddings[sent]) ** 2)
        soft = np.mean((codec.decode_soft(received, n0) - embeddings[sent]) ** 2)
        self.assertLess(soft, 0.75 * hard)

    def test_golden_outputs_of_the_bundles(self) -> None:
        loaded = [load(file.parent) for file in MODELS.glob("*/bundle.json")]
        bundles = [bundle for bundle in loaded if isinstance(bundle, Bundle)]
        self.assertTrue(bundles)
        for bundle in bundles:
            golden = bundle.golden()
            codec = phydnn.kernels.embedding_codec(bundle.embeddings, bundle.points, bundle.lookup)
            self.assertAlmostEqual(codec.average_power, 1, places=5)
            labels, symbols = codec.encode(golden["slices"].reshape(-1, bundle.dim))
            np.testing.assert_array_equal(labels, golden["labels"].ravel())
            np.testing.assert_array_equal(symbols, golden["symbols"].ravel())
            decoded, slices = codec.decode_hard(symbols)
            np.testing.assert_array_equal(decoded, labels)
            np.testing.assert_array_equal(slices, bundle.embeddings[labels])

    @settings(deadline=None)
    @given(SEEDS, st.integers(2, 300), st.integers(1, 40))
    def test_an_embedding_finds_itself(self, seed: int, size: int, dim: int) -> None:
        embeddings = dictionary(size, dim, seed).round(1)
        codec = phydnn.kernels.embedding_codec(embeddings, np.exp(1j * np.arange(size)))
        labels, _ = codec.encode(embeddings)
        np.testing.assert_array_equal(embeddings[labels], embeddings)

    @settings(deadline=None)
    @given(SEEDS, st.integers(1, 7), st.floats(0.0078125, 1e6))
    def test_psk_decisions_do_not_see_amplitude(self, seed: int, bits: int, scale: float) -> None:
        points = constellation.psk(2**bits)
        angles = np.random.default_rng(seed).integers(0, 2**bits, 50) + 0.4
        symbols = np.exp(2j * np.pi * angles / 2**bits)
        codec = phydnn.kernels.embedding_codec(dictionary(2**bits, 3), points)
        np.testing.assert_array_equal(
            codec.decode_hard(scale * symbols)[0], codec.decode_hard(symbols)[0]
        )

    @settings(deadline=None)
    @given(SEEDS, st.integers(2, 40), st.integers(1, 20), st.floats(0, 100, width=32))
    def test_soft_decisions_stay_among_the_embeddings(
        self, seed: int, size: int, dim: int, n0: float
    ) -> None:
        embeddings = dictionary(size, dim, seed)
        points = np.exp(2j * np.pi * np.arange(size) / size)
        symbols = dictionary(20, 2, seed + 1)
        codec = phydnn.kernels.embedding_codec(embeddings, points)
        slices = codec.decode_soft(symbols[:, 0] + 1j * symbols[:, 1], n0)
        slack = 1e-5 * np.abs(embeddings).max()
        self.assertTrue((slices >= embeddings.min(0) - slack).all())
        self.assertTrue((slices <= embeddings.max(0) + slack).all())

    @settings(deadline=None)
    @given(SEEDS, st.integers(0, 100), st.integers(0, 100), st.sampled_from((1, 5, 16, 33)))
    def test_a_cut_changes_nothing(self, seed: int, first: int, second: int, dim: int) -> None:
        codec = phydnn.kernels.embedding_codec(dictionary(16, dim, seed), constellation.psk(16))
        slices = dictionary(first + second, dim, seed + 1)
        labels, symbols = codec.encode(slices)
        parts = [codec.encode(part) for part in (slices[:first], slices[first:])]
        np.testing.assert_array_equal(labels, np.concatenate([part[0] for part in parts]))
        received = symbols + 0.3
        soft = [codec.decode_soft(part, 0.2) for part in (received[:first], received[first:])]
        np.testing.assert_array_equal(codec.decode_soft(received, 0.2), np.concatenate(soft))

    @settings(deadline=None)
    @given(
        hnp.arrays(np.float32, st.tuples(st.integers(0, 40), st.just(3))),
        hnp.arrays(np.complex64, st.integers(0, 40)),
        st.floats(width=32),
    )
    def test_any_numbers_at_all(
        self, slices: NDArray[np.float32], symbols: NDArray[np.complex64], n0: float
    ) -> None:
        """Finite numbers give labels and finite slices; others a ValueError."""
        embeddings = dictionary(5, 3)
        codec = phydnn.kernels.embedding_codec(embeddings, constellation.psk(5))
        if np.isfinite(slices).all():
            labels, _ = codec.encode(slices)
            self.assertTrue(((labels >= 0) & (labels < 5)).all())
        else:
            with self.assertRaisesRegex(ValueError, "slices must be finite"):
                codec.encode(slices)
        if not np.isfinite(symbols).all():
            with self.assertRaisesRegex(ValueError, "symbols must be finite"):
                codec.decode_hard(symbols)
        elif n0 >= 0:
            self.assertTrue(np.isfinite(codec.decode_soft(symbols, n0)).all())
            np.testing.assert_array_equal(
                codec.decode_hard(symbols)[1], embeddings[codec.decode_hard(symbols)[0]]
            )
        else:
            with self.assertRaisesRegex(ValueError, "n0 must be a noise variance"):
                codec.decode_soft(symbols, n0)

    def test_arguments_of_other_shapes(self) -> None:
        make = phydnn.kernels.embedding_codec
        square, points = dictionary(4, 4), constellation.psk(4)
        for arguments, message in (
            ((square[0], points), "embeddings must have 2 dimensions, not 1"),
            ((square, points[:, None]), "points must have 1 dimensions, not 2"),
            ((square, points[:3]), "one row of 4 values for each of the 3 points"),
            ((square[:1], points[:1]), "points must have 2 to 4096 elements, not 1"),
            ((square * np.nan, points), "embeddings must be finite"),
            ((square, points * np.nan), "points must be finite"),
            ((square, points * 0), "average power above 0"),
            ((square, points, "nearest"), 'lookup must be "inner_product" or "distance"'),
        ):
            with self.assertRaisesRegex(ValueError, message):
                make(*arguments)
        codec = make(square, points)
        with self.assertRaisesRegex(ValueError, "slices must have 4 columns, not 3"):
            codec.encode(square[:, :3])
        with self.assertRaisesRegex(ValueError, "one value for each symbol"):
            codec.decode_soft(points, np.ones(3))


class QaEmbeddingBlocks(gr_unittest.TestCase):
    """The blocks: PDUs in, as many PDUs out."""

    def setUp(self) -> None:
        self.embeddings = dictionary(16, 8)
        self.points = constellation.psk(16)
        self.codec = phydnn.kernels.embedding_codec(self.embeddings, self.points)
        self.slices = dictionary(300, 8, seed=4)
        self.symbols = heard(self.points, 300, 0.1)

    def assert_erased(self, message: Any, reason: str, **meta: Any) -> None:
        self.assertEqual(meta_of(message), {**meta, "erased": True, "reason": reason})
        self.assertEqual(pmt.length(pmt.cdr(message)), 0)

    def test_map(self) -> None:
        for lookup in ("distance", "inner_product"):
            mapper = phydnn.embedding_mapper(self.embeddings, self.points, lookup)
            codec = phydnn.kernels.embedding_codec(self.embeddings, self.points, lookup)
            out = mapped(
                mapper,
                pdu(self.slices.ravel(), frame_number=7, images=2),
                pdu(self.slices[:5].ravel(), frame_number=8),
            )
            self.assertEqual([meta_of(m)["frame_number"] for m in out], [7, 8])
            self.assertEqual(meta_of(out[0])["images"], 2)
            symbols = pmt.to_python(pmt.cdr(out[0]))
            self.assertEqual(symbols.dtype, np.complex64)
            np.testing.assert_array_equal(symbols, codec.encode(self.slices)[1])
            self.assertEqual((mapper.received(), mapper.erased(), mapper.dropped()), (2, 0, 0))
            self.assertAlmostEqual(mapper.average_power(), 1, places=6)

    def test_demap(self) -> None:
        each = np.linspace(0.01, 1, 300, dtype=np.float32)
        demapper = phydnn.embedding_demapper(self.embeddings, self.points)
        (hard,) = demapped(demapper, pdu(self.symbols, frame_number=3))
        self.assertEqual(meta_of(hard), {"frame_number": 3})
        np.testing.assert_array_equal(
            pmt.to_python(pmt.cdr(hard)), self.codec.decode_hard(self.symbols)[1].ravel()
        )
        demapper = phydnn.embedding_demapper(self.embeddings, self.points, decision="soft")
        out = demapped(
            demapper, pdu(self.symbols, n0=0.1), pdu(self.symbols, n0=each), pdu(self.symbols, n0=1)
        )
        for message, n0 in zip(out, (0.1, each, 1), strict=True):
            slices = pmt.to_python(pmt.cdr(message))
            self.assertEqual(slices.dtype, np.float32)
            np.testing.assert_array_equal(slices, self.codec.decode_soft(self.symbols, n0).ravel())
        self.assertEqual((demapper.received(), demapper.erased(), demapper.dropped()), (3, 0, 0))

    def test_decision_while_running(self) -> None:
        demapper = phydnn.embedding_demapper(self.embeddings, self.points)
        sink = blocks.message_debug()
        top = gr.top_block()
        top.msg_connect(demapper, "slices", sink, "store")
        top.start()
        decisions = ["hard", "soft", "hard", "soft"]
        for number, decision in enumerate(decisions):
            demapper.set_decision(decision)
            self.assertEqual(demapper.decision(), decision)
            demapper._post(pmt.intern("symbols"), pdu(self.symbols, n0=0.1))
            deadline = time.monotonic() + 60
            while sink.num_messages() <= number and time.monotonic() < deadline:
                time.sleep(0.002)
        with self.assertRaisesRegex(ValueError, 'decision must be "hard" or "soft"'):
            demapper.set_decision("firm")
        top.stop()
        top.wait()
        hard = self.codec.decode_hard(self.symbols)[1].ravel()
        soft = self.codec.decode_soft(self.symbols, 0.1).ravel()
        for number, decision in enumerate(decisions):
            np.testing.assert_array_equal(
                pmt.to_python(pmt.cdr(sink.get_message(number))),
                hard if decision == "hard" else soft,
            )

    def test_erasures_pass_untouched(self) -> None:
        erasure = pmt.cons(
            pmt.to_pmt({"erased": True, "reason": "lost", "frame_number": 5}),
            pmt.make_c32vector(0, 0),
        )
        mapper = phydnn.embedding_mapper(self.embeddings, self.points)
        demapper = phydnn.embedding_demapper(self.embeddings, self.points)
        (sent,), (received,) = mapped(mapper, erasure), demapped(demapper, erasure)
        self.assertTrue(pmt.equal(sent, erasure))
        self.assertTrue(pmt.equal(received, erasure))
        self.assertEqual((mapper.received(), mapper.erased(), mapper.dropped()), (1, 1, 0))
        self.assertEqual((demapper.received(), demapper.erased(), demapper.dropped()), (1, 1, 0))

    def test_bad_slices_become_erasures(self) -> None:
        poisoned = self.slices.ravel().copy()
        poisoned[100] = np.nan
        infinite = self.slices.ravel().copy()
        infinite[-1] = -np.inf
        bad = [
            pdu(poisoned, frame_number=1),
            pdu(infinite, frame_number=1),
            pdu(self.slices.ravel()[:-1], frame_number=1),
            pdu(self.symbols, frame_number=1),
            pdu("text", frame_number=1),
        ]
        mapper = phydnn.embedding_mapper(self.embeddings, self.points)
        good = pdu(self.slices.ravel())
        out = mapped(mapper, *bad, pmt.intern("no PDU"), good)
        for message in out[:5]:
            self.assert_erased(message, "payload", frame_number=1)
        self.assert_erased(out[5], "payload")
        self.assertEqual(pmt.length(pmt.cdr(out[6])), 300)
        self.assertEqual((mapper.received(), mapper.erased(), mapper.dropped()), (7, 0, 6))

    def test_bad_symbols_become_erasures(self) -> None:
        poisoned = self.symbols.copy()
        poisoned[299] = complex(0, np.nan)
        bad = [
            pdu(poisoned, frame_number=1, n0=0.1),
            pdu(self.slices.ravel(), frame_number=1, n0=0.1),
            pdu(self.symbols, frame_number=1, n0=-0.1),
            pdu(self.symbols, frame_number=1, n0=float("nan")),
            pdu(self.symbols, frame_number=1, n0="loud"),
            pdu(self.symbols, frame_number=1, n0=1j),
            pdu(self.symbols, frame_number=1),
            pdu(self.symbols, frame_number=1, n0=np.ones(299, np.float32)),
        ]
        demapper = phydnn.embedding_demapper(self.embeddings, self.points, "soft")
        good = pdu(self.symbols, n0=0.1)
        out = demapped(demapper, *bad, pmt.PMT_NIL, good)
        for message in out[:8]:
            self.assertTrue(meta_of(message)["erased"])
            self.assertEqual(meta_of(message)["reason"], "payload")
            self.assertEqual(meta_of(message)["frame_number"], 1)
            self.assertTrue(pmt.is_f32vector(pmt.cdr(message)))
            self.assertEqual(pmt.length(pmt.cdr(message)), 0)
        self.assert_erased(out[8], "payload")
        self.assertEqual(pmt.length(pmt.cdr(out[9])), 300 * 8)
        self.assertEqual((demapper.received(), demapper.erased(), demapper.dropped()), (10, 0, 9))

    def test_empty_pdus(self) -> None:
        mapper = phydnn.embedding_mapper(self.embeddings, self.points)
        demapper = phydnn.embedding_demapper(self.embeddings, self.points)
        (sent,) = mapped(mapper, pdu(np.zeros(0, np.float32), frame_number=1))
        (received,) = demapped(demapper, pdu(np.zeros(0, np.complex64), frame_number=1))
        for message in (sent, received):
            self.assertEqual(meta_of(message), {"frame_number": 1})
            self.assertEqual(pmt.length(pmt.cdr(message)), 0)

    def test_queues_are_bounded(self) -> None:
        """What waits too long leaves as an erasure, in its place."""
        count = 3 * QUEUE
        mapper = phydnn.embedding_mapper(self.embeddings, self.points)
        demapper = phydnn.embedding_demapper(self.embeddings, self.points)
        runs = (
            mapped(mapper, *(pdu(self.slices.ravel(), frame_number=n) for n in range(count))),
            demapped(demapper, *(pdu(self.symbols, frame_number=n) for n in range(count))),
        )
        for block, out in zip((mapper, demapper), runs, strict=True):
            self.assertEqual([meta_of(m)["frame_number"] for m in out], list(range(count)))
            overrun = [meta_of(m).get("reason") == "overrun" for m in out]
            self.assertEqual(sum(overrun), block.dropped())
            self.assertTrue(all(overrun[:QUEUE]))
            self.assertFalse(any(overrun[-QUEUE:]))

    def test_bad_parameters(self) -> None:
        for make in (phydnn.embedding_mapper, phydnn.embedding_demapper):
            for arguments, message in (
                ((self.embeddings[0], self.points), "embeddings must have 2 dimensions"),
                ((self.embeddings, self.points[:8]), "for each of the 8 points"),
                ((self.embeddings * np.nan, self.points), "embeddings must be finite"),
                ((self.embeddings, self.points * np.nan), "points must be finite"),
                ((self.embeddings, self.points, "other"), 'must be "'),
            ):
                with self.assertRaisesRegex(ValueError, message):
                    make(*arguments)


if __name__ == "__main__":
    gr_unittest.run(sys.modules[__name__])
