#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The waveform: kernels against their NumPy reference and theory, and the blocks round them."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pmt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import special, stats

from gnuradio import blocks, gr, gr_unittest, phydnn
from gnuradio.phydnn import kernels, pdus
from gnuradio.phydnn.bench.sync import chopped_source
from gnuradio.phydnn.reference import waveform as reference

Samples = NDArray[np.complex64]

PRESETS = ("wide", "long", "short")
RATE = 20e6
QUEUE = 64  # PDUs that may wait at a block

HEADERS = st.builds(
    reference.Header,
    uses=st.integers(1, (1 << 24) - 1),
    frame_number=st.integers(0, (1 << 32) - 1),
    bundle_id=st.integers(0, (1 << 32) - 1),
    kind=st.integers(0, 15),
    precoded=st.booleans(),
)


def psk(count: int, seed: int = 0) -> Samples:
    """Random 8-PSK symbols."""
    labels = np.random.default_rng(seed).integers(0, 8, count)
    return np.exp(2j * np.pi / 8 * labels).astype(np.complex64)


def noise(count: int, snr_db: float, seed: int = 0) -> Samples:
    """Circular Gaussian noise of variance 10^(-snr_db/10)."""
    parts = np.random.default_rng(seed).normal(scale=math.sqrt(0.5), size=2 * count)
    return (10 ** (-snr_db / 20) * parts).astype(np.float32).view(np.complex64)


def silence(count: int) -> Samples:
    return np.zeros(count, np.complex64)


def frame(payload: Samples, number: int = 0, preset: str = "wide", **fields: Any) -> Samples:
    """The samples of a frame."""
    n = phydnn.numerology(preset)
    return kernels.transmitter(n).frame(
        kernels.frame_header(len(payload), number, **fields), payload
    )


def as_kernel(header: reference.Header) -> Any:
    """A reference header as the kernels take it."""
    return kernels.frame_header(
        header.uses, header.frame_number, header.bundle_id, header.kind, header.precoded
    )


def as_reference(header: Any) -> reference.Header | None:
    """A kernel's header, or None, as the reference has it."""
    if header is None:
        return None
    return reference.Header(
        header.uses, header.frame_number, header.bundle_id, header.kind, header.precoded
    )


def decibels(ratio: float) -> float:
    return 10 * math.log10(ratio)


def mean_power(x: Samples) -> float:
    return float(np.mean(np.abs(x.astype(np.complex128)) ** 2))


class TestHeader(gr_unittest.TestCase):
    """The header's codec under any input."""

    @settings(max_examples=200, deadline=None)
    @given(HEADERS)
    def test_survives(self, header: reference.Header) -> None:
        codec = kernels.header_codec()
        coded = codec.encode(as_kernel(header))
        np.testing.assert_array_equal(coded, header.coded())
        self.assertEqual(as_reference(codec.decode(2.0 * np.array(coded) - 1)), header)
        self.assertEqual(as_reference(kernels.header_codec.parse(list(header.packed()))), header)

    @settings(max_examples=300, deadline=None)
    @given(st.binary(min_size=16, max_size=16))
    def test_parse_takes_any_bytes(self, packed: bytes) -> None:
        found = as_reference(kernels.header_codec.parse(list(packed)))
        self.assertEqual(found, reference.parse_header(packed))

    @settings(max_examples=300, deadline=None)
    @given(st.binary(min_size=13, max_size=13))
    def test_parse_takes_any_bytes_with_a_good_crc(self, body: bytes) -> None:
        packed = body + reference.crc24a(body).to_bytes(3, "big")
        found = as_reference(kernels.header_codec.parse(list(packed)))
        self.assertEqual(found, reference.parse_header(packed))
        good = body[0] >> 4 == 1 and body[1] <= 1 and any(body[10:13])
        self.assertEqual(found is not None, good)

    @settings(max_examples=200, deadline=None)
    @given(HEADERS, st.sets(st.integers(0, 127), min_size=1, max_size=3))
    def test_parse_refuses_up_to_three_wrong_bits(
        self, header: reference.Header, wrong: set[int]
    ) -> None:
        # CRC-24A has distance 4 at this length.
        packed = bytearray(header.packed())
        for bit in wrong:
            packed[bit // 8] ^= 0x80 >> bit % 8
        self.assertIsNone(kernels.header_codec.parse(list(packed)))

    @settings(max_examples=200, deadline=None)
    @given(hnp.arrays(np.float32, 268, elements=st.floats(width=32), fill=st.floats(width=32)))
    def test_decode_takes_any_floats(self, soft: NDArray[np.float32]) -> None:
        header = kernels.header_codec().decode(soft)
        self.assertTrue(header is None or 1 <= header.uses < 1 << 24)

    @settings(max_examples=50, deadline=None)
    @given(HEADERS, st.integers(0, 1 << 30))
    def test_decodes_as_the_likeliest_code_word(self, header: reference.Header, seed: int) -> None:
        rng = np.random.default_rng(seed)
        soft = 2.0 * header.coded() - 1 + 0.5 * rng.standard_normal(268)
        self.assertEqual(reference.decode_header(soft), header)
        self.assertEqual(as_reference(kernels.header_codec().decode(soft)), header)

    def test_refuses_what_does_not_fit(self) -> None:
        codec = kernels.header_codec()
        for header in (kernels.frame_header(0), kernels.frame_header(1 << 24)):
            with self.assertRaisesRegex(ValueError, "1 to 16777215 channel uses"):
                codec.encode(header)
        with self.assertRaisesRegex(ValueError, "kind must be from 0 to 15"):
            codec.encode(kernels.frame_header(1, kind=16))
        for count in (0, 267, 269):
            with self.assertRaisesRegex(ValueError, "soft must hold 268 values"):
                codec.decode(np.zeros(count, np.float32))


class TestKernels(gr_unittest.TestCase):
    """Kernels beside their references on the same data, and beside theory."""

    def test_transmitter(self) -> None:
        for preset, uses, precoded in itertools.product(PRESETS, (1, 449, 9000), (False, True)):
            with self.subTest(preset=preset, uses=uses, precoded=precoded):
                n = phydnn.numerology(preset)
                header = reference.Header(uses, 7, 0xDEADBEEF, 3, precoded)
                payload = psk(uses)
                made = kernels.transmitter(n).frame(as_kernel(header), payload, 2.0)
                expected = reference.Waveform(n).frame(header, payload, 2.0)
                self.assertEqual(len(made), n.frame_samples(uses))
                np.testing.assert_allclose(made, expected, atol=5e-6)

    def test_a_used_subcarrier_has_unit_power(self) -> None:
        for preset, precoded in itertools.product(PRESETS, (False, True)):
            n = phydnn.numerology(preset)
            samples = frame(psk(30 * n.used), preset=preset, precoded=precoded)
            # Some more in the prefixes than in the symbols, or less: chance.
            self.assertAlmostEqual(mean_power(samples) * n.fft_size / n.used, 1, delta=0.02)

    def test_precoding_lowers_the_peaks(self) -> None:
        n = phydnn.numerology("wide")
        peaks = {}
        for precoded in (False, True):
            data = frame(psk(28 * n.used), precoded=precoded)[5 * n.symbol_samples :]
            powers = np.sort(np.abs(data) ** 2 / mean_power(data))
            peaks[precoded] = decibels(float(powers[int(0.999 * len(powers))]))
        # Gaussian samples exceed ln(1000), 8.4 dB, once in a thousand.
        self.assertAlmostEqual(peaks[False], decibels(math.log(1000)), delta=0.5)
        self.assertLess(peaks[True], peaks[False] - 1.5)

    def test_statistic(self) -> None:
        for preset in PRESETS:
            with self.subTest(preset):
                n = phydnn.numerology(preset)
                x = np.concatenate([silence(777), frame(psk(900), preset=preset), silence(3000)])
                x = x * np.exp(2e-3j * np.arange(len(x))) + noise(len(x), 0)
                made = kernels.synchronizer(n, false_alarm_rate=1e-6).statistic(x)
                expected = reference.Waveform(n).statistic(x, 1e-6)
                self.assertEqual(len(made), len(expected))
                np.testing.assert_allclose(made, expected, rtol=1e-3, atol=1e-5 * expected.max())
                self.assertEqual(int(made.argmax()), 777 + n.cp_length)

    def test_statistic_of_noise_is_gamma_distributed(self) -> None:
        n = phydnn.numerology("wide")
        rate = 1e-3
        synchronizer = kernels.synchronizer(n, false_alarm_rate=rate)
        x = noise(2_000_000, 0)
        made = synchronizer.statistic(x) * special.gammainccinv(4, rate)
        # Neighbours are alike: every 300th value is nearly independent of the last.
        self.assertGreater(stats.kstest(made[::300], stats.gamma(4).cdf).pvalue, 1e-3)
        exceeded = float(np.mean(made > special.gammainccinv(4, rate)))
        self.assertLess(exceeded, 1.3 * rate)
        self.assertGreater(exceeded, 0.5 * rate)

    def test_carrier_offset_and_grid(self) -> None:
        for preset, precoded in itertools.product(PRESETS, (False, True)):
            with self.subTest(preset=preset, precoded=precoded):
                n = phydnn.numerology(preset)
                waveform = reference.Waveform(n)
                x = np.concatenate(
                    [
                        silence(1234),
                        frame(psk(3000), preset=preset, precoded=precoded),
                        silence(6000),
                    ]
                )
                x = x * np.exp(2e-3j * np.arange(len(x))) + noise(len(x), 20)
                (received,) = kernels.synchronizer(n).process(x)
                self.assertEqual((received.reason, received.sample_index), ("", 1234))
                rows = len(waveform.rows(3000))
                # The window may begin anywhere in the prefix.
                for early in range(n.cp_length + 1):
                    first = 1234 + n.cp_length - early
                    after = first + 4 * waveform.length
                    grid = waveform.demodulate(x[after:], rows, received.cfo)
                    if np.allclose(grid.ravel(), received.grid, atol=1e-3):
                        break
                else:
                    self.fail("the grid is that of no window inside the prefix")
                offset = waveform.carrier_offset(x[first:after])
                self.assertAlmostEqual(received.cfo, offset, delta=1e-8)
                self.assertAlmostEqual(received.cfo, 2e-3, delta=2e-5)

    def test_estimate_and_equalizer(self) -> None:
        taps = np.zeros(12, np.complex64)
        taps[[0, 3, 11]] = 0.8, 0.4j, -0.3
        for preset, uses, precoded in itertools.product(PRESETS, (1, 449, 9000), (False, True)):
            with self.subTest(preset=preset, uses=uses, precoded=precoded):
                n = phydnn.numerology(preset)
                waveform = reference.Waveform(n)
                sent = frame(psk(uses), preset=preset, precoded=precoded)
                grid = waveform.demodulate(
                    np.convolve(sent, taps)[n.preamble_samples - 3 :][: len(sent)]
                    * np.exp(1e-5j * np.arange(len(sent) - n.preamble_samples + 14)),
                    n.grid_symbols(uses),
                    0.0,
                )
                grid = (grid + noise(grid.size, 15).reshape(grid.shape)).astype(np.complex64)
                for smoothing in ("none", "window"):
                    made = kernels.csi_estimator(n).estimate(grid, uses, smoothing)
                    expected = waveform.estimate(grid, uses, smoothing)
                    np.testing.assert_allclose(made[0], expected[0], atol=1e-5)
                    np.testing.assert_allclose(made[1], expected[1], atol=2e-3)
                    np.testing.assert_allclose(made[2:], expected[2:], rtol=2e-3, atol=1e-2)
                    csi, n0 = made[1:3]
                    symbols, variances = kernels.equalizer(n).equalize(
                        grid, csi, n0, uses, precoded
                    )
                    ideal, expected_n0 = waveform.equalize(grid, csi, n0, uses, precoded)
                    scale = float(np.abs(ideal).max())
                    np.testing.assert_allclose(symbols, ideal, atol=1e-4 * scale)
                    np.testing.assert_allclose(variances, expected_n0, rtol=2e-3)

    def test_a_perfect_channel_gives_the_payload_back(self) -> None:
        n = phydnn.numerology("wide")
        payload = psk(7000)
        for precoded in (False, True):
            sent = frame(payload, precoded=precoded)
            grid = reference.Waveform(n).demodulate(
                sent[n.preamble_samples :], n.grid_symbols(7000), 0.0
            )
            csi = np.ones((n.pilot_symbols(7000), n.used))
            symbols, variances = kernels.equalizer(n).equalize(grid, csi, 0.01, 7000, precoded)
            np.testing.assert_allclose(symbols, payload, atol=1e-5)
            np.testing.assert_allclose(variances, 0.01, rtol=2e-3)

    def test_noise_variances_are_those_of_the_errors(self) -> None:
        n = phydnn.numerology("wide")
        payload = psk(60 * n.used)
        taps = np.zeros(33, np.complex64)
        taps[[0, 32]] = 0.9, 0.4
        for precoded in (False, True):
            sent = np.convolve(frame(payload, precoded=precoded), taps).astype(np.complex64)
            x = np.concatenate([silence(500), sent, silence(3000)])
            x += noise(len(x), 12)
            (received,) = kernels.synchronizer(n).process(x)
            uses = len(payload)
            _, csi, n0, snr_db = kernels.csi_estimator(n).estimate(received.grid, uses)
            symbols, variances = kernels.equalizer(n).equalize(
                received.grid, csi, n0, uses, precoded
            )
            self.assertAlmostEqual(decibels(n0), -12, delta=0.2)
            self.assertAlmostEqual(snr_db, 12 + decibels(0.9**2 + 0.4**2), delta=0.2)
            # What is left over is the error of the channel estimate.
            ratio = float(np.mean(np.abs(symbols - payload) ** 2 / variances))
            self.assertLess(decibels(ratio), 0.6)
            self.assertGreater(decibels(ratio), -0.1)

    def test_wrong_sizes_are_refused(self) -> None:
        n = phydnn.numerology("wide")
        grid = np.zeros(n.grid_symbols(900) * n.used)
        csi = np.zeros(n.pilot_symbols(900) * n.used)
        with self.assertRaisesRegex(ValueError, "grid must hold"):
            kernels.csi_estimator(n).estimate(grid[1:], 900)
        with self.assertRaisesRegex(ValueError, "grid must hold"):
            kernels.equalizer(n).equalize(grid[1:], csi, 0.1, 900)
        with self.assertRaisesRegex(ValueError, "csi must hold"):
            kernels.equalizer(n).equalize(grid, csi[1:], 0.1, 900)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 1 << 30), st.sampled_from(PRESETS))
    def test_any_frame_on_any_fair_channel_arrives(self, seed: int, preset: str) -> None:
        rng = np.random.default_rng(seed)
        n = phydnn.numerology(preset)
        payload = psk(int(rng.integers(1, 5000)), seed)
        precoded = bool(rng.integers(2))
        number = int(rng.integers(1 << 32))
        sent = frame(payload, number, preset, precoded=precoded, bundle_id=5)
        taps = np.zeros(int(rng.integers(1, n.cp_length - 8)), np.complex64)
        taps[-1] = rng.random()
        taps[0] += 1
        start = int(rng.integers(0, 5000))
        gain = np.float32(10 ** rng.uniform(-2, 2))
        x = np.concatenate([silence(start), np.convolve(sent, taps), silence(6000)])
        x = x * np.exp(1j * rng.uniform(-3e-3, 3e-3) * np.arange(len(x)))
        x = gain * (x + noise(len(x), 25, seed)).astype(np.complex64)
        (received,) = kernels.synchronizer(n, bundle_id=5).process(x)
        self.assertEqual((received.reason, received.header.frame_number), ("", number))
        self.assertLessEqual(abs(received.sample_index - start), len(taps))
        uses = len(payload)
        _, csi, n0, _ = kernels.csi_estimator(n).estimate(received.grid, uses)
        symbols, variances = kernels.equalizer(n).equalize(received.grid, csi, n0, uses, precoded)
        ratio = float(np.mean(np.abs(symbols - payload) ** 2 / variances))
        self.assertLess(ratio, 3)


def store(graph: Any, block: Any, port: str) -> Any:
    """A block that keeps the messages of a port."""
    sink = blocks.message_debug()
    graph.msg_connect(block, port, sink, "store")
    return sink


def stored(sink: Any) -> list[Any]:
    return [sink.get_message(i) for i in range(sink.num_messages())]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the flowgraph did not do it in {seconds} s")
        time.sleep(0.005)


def post(block: Any, port: str, *messages: Any) -> None:
    for message in messages:
        block.to_basic_block()._post(pmt.intern(port), message)


def pdu(vector: Any, **fields: Any) -> Any:
    """A PDU of an array, or of a PMT."""
    if isinstance(vector, np.ndarray):
        vector = phydnn.to_vector(vector)
    return pmt.cons(pdus.put(pmt.make_dict(), **fields), vector)


def fields(message: Any) -> tuple[Any, ...]:
    """Frame number and reason of a PDU, None where it arrived."""
    metadata, values = pdus.parts(message)
    reason = pdus.get(metadata, "reason") if pdus.erased(metadata) else None
    assert (len(values) == 0) == (reason is not None)
    return pdus.get(metadata, "frame_number"), reason


def receive(samples: Samples, longest: int = 8191, source: Any = None, **arguments: Any) -> Any:
    """PDUs that leave a frame_synchronizer, and its counts."""
    graph = gr.top_block()
    block = phydnn.frame_synchronizer(**arguments)
    sink = store(graph, block, "grid")
    graph.connect(source or blocks.vector_source_c(samples.tolist()), block)
    graph.run(longest)
    return stored(sink), block.counts()


class TestSynchronizerBlock(gr_unittest.TestCase):
    """Samples in, PDUs out, whatever the samples."""

    def test_pdus_are_those_of_the_kernel(self) -> None:
        x = np.concatenate(
            [
                silence(1000),
                frame(psk(3000), 41, kind=2, precoded=True, bundle_id=0xFFFFFFFF),
                silence(300),
                frame(psk(200), 42),
                silence(4000),
            ]
        )
        x += noise(len(x), 20)
        expected = kernels.synchronizer().process(x)
        got, counts = receive(x, sample_rate=1e6)
        self.assertEqual(len(got), 2)
        for message, frame_ in zip(got, expected, strict=True):
            metadata, grid = pdus.parts(message)
            np.testing.assert_array_equal(grid, frame_.grid)
            header = frame_.header
            self.assertEqual(pmt.to_python(metadata), {
                "frame_number": header.frame_number,
                "sample_index": frame_.sample_index,
                "uses": header.uses,
                "kind": header.kind,
                "precoded": header.precoded,
                "bundle_id": header.bundle_id,
                "cfo": frame_.cfo * 1e6 / (2 * math.pi),
            })  # fmt: skip
        self.assertEqual(expected[0].header.bundle_id, 0xFFFFFFFF)
        self.assertEqual((counts["frames"], counts["samples"]), (2, len(x)))

    def test_chunks_change_nothing(self) -> None:
        pieces = [silence(2000)]
        for number in (0, 1, 2, 5):
            pieces += [frame(psk(4000, number), number), silence(700)]
        x = np.concatenate([*pieces, silence(4000)])
        x = x * np.exp(2e-3j * np.arange(len(x))) + noise(len(x), 3)
        x = x.astype(np.complex64)
        x[30_000:30_004] = np.nan
        serialised = []
        for longest in (64, 1000, 8191):
            got, _ = receive(x, longest)
            serialised.append([pmt.serialize_str(message) for message in got])
        for seed in range(5):
            got, _ = receive(x, source=chopped_source(x, seed))
            serialised.append([pmt.serialize_str(message) for message in got])
        self.assertEqual([fields(message)[0] for message in got], [0, 1, 2, 3, 4, 5])
        for other in serialised[1:]:
            self.assertEqual(other, serialised[0])

    def test_noise_alone_gives_nothing(self) -> None:
        got, counts = receive(noise(500_000, 0))
        self.assertEqual((len(got), counts["detections"]), (0, 0))
        self.assertEqual(len(receive(silence(100_000))[0]), 0)

    def test_samples_that_are_not_finite(self) -> None:
        x = np.concatenate([silence(100), *(frame(psk(2000, i), i) for i in range(3))])
        x = np.concatenate([x, silence(4000)])
        x += noise(len(x), 20)
        second = 100 + len(frame(psk(2000)))
        x[50], x[second + 6000], x[second + 6001] = complex("nan"), complex("inf"), 1e30
        got, counts = receive(x)
        self.assertEqual([fields(message) for message in got], [(0, None), (1, None), (2, None)])
        self.assertEqual(counts["bad_samples"], 3)
        for message in got:
            self.assertTrue(np.isfinite(pdus.parts(message)[1]).all())
        got, counts = receive(np.full(50_000, complex("nan"), np.complex64))
        self.assertEqual((len(got), counts["bad_samples"]), (0, 50_000))

    def test_a_cut_frame_is_erased_and_the_next_arrives(self) -> None:
        x = np.concatenate([silence(500), frame(psk(60_000), 0)[:30_000], silence(5000)])
        x = np.concatenate([x, frame(psk(3000), 1), silence(70_000)])
        x += noise(len(x), 12)
        got, counts = receive(x)
        self.assertEqual([fields(message) for message in got], [(0, "cut"), (1, None)])
        self.assertEqual(counts["cut"], 1)

    def test_a_stream_that_ends_in_a_frame(self) -> None:
        x = np.concatenate([silence(500), frame(psk(3000), 0), frame(psk(60_000), 1)[:30_000]])
        got, _ = receive(x + noise(len(x), 12))
        self.assertEqual([fields(message) for message in got], [(0, None)])

    def test_a_start_in_mid_frame(self) -> None:
        x = np.concatenate([frame(psk(20_000), 5)[9000:], frame(psk(3000), 6), silence(4000)])
        got, _ = receive(x + noise(len(x), 12))
        self.assertEqual([fields(message) for message in got], [(6, None)])

    def test_another_bundle_is_reported_and_not_decoded(self) -> None:
        x = np.concatenate(
            [silence(500), *(frame(psk(900), i, bundle_id=40 + i) for i in range(3))]
        )
        x = np.concatenate([x, silence(4000)])
        got, counts = receive(x + noise(len(x), 12), bundle_id=41)
        self.assertEqual(
            [fields(message) for message in got], [(0, "bundle"), (1, None), (2, "bundle")]
        )
        self.assertEqual(counts["bundle_mismatches"], 2)

    def test_a_header_with_a_bad_crc(self) -> None:
        n = phydnn.numerology("wide")
        frames = [frame(psk(2000, i), i) for i in range(3)]
        header = n.preamble_samples + n.symbol_samples
        frames[1][header : header + 2 * n.symbol_samples] = noise(2 * n.symbol_samples, 0.6)
        x = np.concatenate([silence(500), *frames, silence(4000)])
        got, counts = receive(x + noise(len(x), 20))
        self.assertEqual([fields(message) for message in got], [(0, None), (1, "lost"), (2, None)])
        self.assertEqual((counts["header_errors"], counts["lost"]), (1, 1))

    def test_two_frames_collide(self) -> None:
        first, second = frame(psk(10_000, 1), 0), frame(psk(10_000, 2), 1)
        x = np.concatenate([silence(1000), first, silence(9000)])
        x[6000 : 6000 + len(second)] += second
        x = np.concatenate([x, frame(psk(3000, 3), 2), silence(4000)])
        got, _ = receive(x + noise(len(x), 20))
        self.assertEqual([fields(message) for message in got], [(0, None), (1, "lost"), (2, None)])

    def test_two_frames_start_together(self) -> None:
        # Neither can be read; the one that follows can.
        first, second = frame(psk(3000, 1), 0), frame(psk(3000, 2), 1)
        x = np.concatenate([silence(1000), first + second, frame(psk(3000, 3), 2), silence(4000)])
        got, _ = receive(x + noise(len(x), 20))
        self.assertEqual(fields(got[-1]), (2, None))

    def test_a_payload_beyond_the_bound(self) -> None:
        x = np.concatenate([silence(500), frame(psk(5000), 0), frame(psk(900), 1), silence(4000)])
        got, counts = receive(x + noise(len(x), 12), max_uses=1000)
        self.assertEqual([fields(message) for message in got], [(1, None)])
        self.assertEqual(counts["header_errors"], 1)

    def test_parameters_out_of_range(self) -> None:
        cases: list[tuple[str, dict[str, Any]]] = [
            ("sample_rate", {"sample_rate": 0}),
            ("sample_rate", {"sample_rate": math.nan}),
            ("false_alarm_rate", {"false_alarm_rate": 0.5}),
            ("max_uses", {"max_uses": 0}),
            ("max_uses", {"max_uses": 1 << 24}),
        ]
        for name, arguments in cases:
            with self.subTest(arguments), self.assertRaisesRegex(ValueError, name):
                phydnn.frame_synchronizer(**arguments)
        with self.assertRaisesRegex(ValueError, "numerology 'narrow': choose wide, long or short"):
            phydnn.numerology("narrow")
        for dimensions in [(500, 40, 448), (512, 4, 448), (512, 40, 446), (512, 40, 512)]:
            with self.subTest(dimensions), self.assertRaises(ValueError):
                phydnn.numerology(*dimensions)


class TestTransmitterBlock(gr_unittest.TestCase):
    """PDUs in, samples and tags out."""

    def send(self, messages: list[Any], **arguments: Any) -> tuple[Samples, Any, list[Any], Any]:
        """Samples, tags, `sent` messages and the block, once it has done with the messages."""
        graph = gr.top_block()
        block, sink = phydnn.frame_transmitter(**arguments), blocks.vector_sink_c()
        sent = store(graph, block, "sent")
        graph.connect(block, sink)
        post(block, "symbols", *messages)
        graph.start()
        wait_for(lambda: sent.num_messages() == len(messages))
        total = sum(pdus.get(message, "samples") for message in stored(sent))
        wait_for(lambda: len(sink.data()) >= total)
        graph.stop()
        graph.wait()
        samples = np.array(sink.data(), np.complex64)
        self.assertEqual(len(samples), total)
        return samples, sink.tags(), stored(sent), block

    def test_samples_and_tags(self) -> None:
        for preset, precoded in itertools.product(PRESETS, (False, True)):
            with self.subTest(preset=preset, precoded=precoded):
                payloads = {17: psk(2000, 1), 18: psk(1, 2), 3: psk(500, 3)}
                samples, tags, sent, block = self.send(
                    [pdu(payload, frame_number=n) for n, payload in payloads.items()],
                    dimensions=preset, bundle_id=0xFFFFFFFF, kind=1, precoded=precoded, gap=77,
                )  # fmt: skip
                header = {"bundle_id": 0xFFFFFFFF, "kind": 1, "precoded": precoded}
                frames = [frame(p, n, preset, **header) for n, p in payloads.items()]
                expected = np.concatenate([np.append(f, silence(77)) for f in frames])
                np.testing.assert_array_equal(samples, expected)
                lengths = [len(f) + 77 for f in frames]
                starts = np.cumsum([0, *lengths[:-1]]).tolist()
                found = {(t.offset, pmt.to_python(t.key)): pmt.to_python(t.value) for t in tags}
                wanted = {}
                for start, length, number in zip(starts, lengths, payloads, strict=True):
                    wanted[start, "packet_len"] = length
                    wanted[start, "frame_number"] = number
                self.assertEqual(found, wanted)
                self.assertEqual(
                    [pmt.to_python(message) for message in sent],
                    [
                        {"frame_number": number, "samples": length}
                        for number, length in zip(payloads, lengths, strict=True)
                    ],
                )
                self.assertEqual((block.frames(), block.dropped()), (3, 0))

    def test_frames_without_a_number_are_counted(self) -> None:
        messages = [pdu(psk(10)), pdu(psk(10)), pdu(psk(10), frame_number=9), pdu(psk(10))]
        sent = self.send(messages)[2]
        self.assertEqual([pdus.get(message, "frame_number") for message in sent], [0, 1, 9, 10])

    def test_amplitude(self) -> None:
        samples, *_ = self.send([pdu(psk(1000))], amplitude=0.25, gap=0)
        np.testing.assert_allclose(samples, 0.25 * frame(psk(1000)), atol=1e-6)

    def test_what_cannot_be_sent_is_dropped_and_told(self) -> None:
        bad = psk(100)
        bad[50] = complex("nan")
        worse = psk(100)
        worse[99] = complex(0, -math.inf)
        messages = [
            pdu(psk(100), frame_number=0),
            pdu(bad, frame_number=1),
            pdu(worse, frame_number=2),
            pdu(silence(0), frame_number=3),
            pdu(silence(0), frame_number=4, erased=True, reason="payload"),
            pdu(np.zeros(8, np.float32), frame_number=5),
            pdu(pmt.make_c32vector(1 << 24, 0j), frame_number=6),
            pdu(psk(100), frame_number=1 << 32),
            pdu(psk(100), frame_number=-1),
            pmt.intern("no PDU at all"),
            pdu(psk(100), frame_number=10),
        ]
        samples, _, sent, block = self.send(messages)
        np.testing.assert_array_equal(samples[: len(samples) // 2 - 128], frame(psk(100), 0))
        np.testing.assert_array_equal(samples[len(samples) // 2 : -128], frame(psk(100), 10))
        self.assertEqual((block.frames(), block.dropped()), (2, len(messages) - 2))
        self.assertEqual(len(sent), len(messages))
        for message in sent:
            self.assertEqual(pdus.erased(message), pdus.get(message, "samples") == 0)

    def test_gap_and_time_of_a_frame(self) -> None:
        when = pmt.make_tuple(pmt.from_uint64(3), pmt.from_double(0.25))
        samples, tags, sent, block = self.send(
            [
                pdu(psk(100), tx_time=when),
                pdu(psk(100), gap=1000),
                pdu(psk(100), gap=-1),
                pdu(psk(100), gap=(1 << 20) + 1),
                pdu(psk(100), tx_time=0.25),
                pdu(psk(100)),
            ],
            gap=7,
        )
        length = len(frame(psk(100), 0))
        self.assertEqual(
            [pdus.get(message, "samples") for message in sent],
            [length + 7, length + 1000, 0, 0, 0, length + 7],
        )
        np.testing.assert_array_equal(samples[2 * length + 7 :][:1000], silence(1000))
        times = {t.offset: t.value for t in tags if pmt.to_python(t.key) == "tx_time"}
        self.assertEqual([*times], [0])
        self.assertTrue(pmt.equal(times[0], when))
        self.assertEqual(block.dropped(), 3)

    def test_a_flood_is_bounded(self) -> None:
        numbers = list(range(300))  # more than GNU Radio keeps at a port without a handler
        _, _, sent, block = self.send([pdu(psk(10), frame_number=number) for number in numbers])
        self.assertEqual([pdus.get(message, "frame_number") for message in sent], numbers)
        dropped = [pdus.erased(message) for message in sent].count(True)
        self.assertEqual((block.dropped(), block.frames()), (dropped, len(numbers) - dropped))
        self.assertGreaterEqual(dropped, len(numbers) - QUEUE - 1)

    def test_parameters_out_of_range(self) -> None:
        cases: list[tuple[str, dict[str, Any]]] = [
            ("kind", {"kind": 16}),
            ("kind", {"kind": -1}),
            ("gap", {"gap": -1}),
            ("amplitude", {"amplitude": 0.0}),
            ("amplitude", {"amplitude": math.inf}),
        ]
        for name, arguments in cases:
            with self.subTest(arguments), self.assertRaisesRegex(ValueError, name):
                phydnn.frame_transmitter(**arguments)
        block = phydnn.frame_transmitter()
        with self.assertRaisesRegex(ValueError, "amplitude"):
            block.set_amplitude(-1)
        block.set_amplitude(2)
        self.assertEqual(block.amplitude(), 2)


class TestReceiverBlocks(gr_unittest.TestCase):
    """csi_estimator and equalizer round their kernels."""

    def through(
        self, block: Any, port: str, out: str, messages: list[Any], count: int | None = None
    ) -> list[Any]:
        """What leaves a message block for these messages."""
        graph = gr.top_block()
        sink = store(graph, block, out)
        post(block, port, *messages)
        graph.start()
        wait_for(lambda: sink.num_messages() >= (len(messages) if count is None else count))
        graph.stop()
        graph.wait()
        return stored(sink)

    def grid(self, uses: int = 900) -> Samples:
        n = phydnn.numerology("wide")
        sent = frame(psk(uses))[n.preamble_samples :]
        grid = reference.Waveform(n).demodulate(sent, n.grid_symbols(uses), 0.0)
        return (grid.ravel() + noise(grid.size, 15)).astype(np.complex64)

    def test_estimator(self) -> None:
        for smoothing in ("none", "window"):
            expected = kernels.csi_estimator().estimate(self.grid(), 900, smoothing)
            message = pdu(self.grid(), uses=900, frame_number=3, images=2, sample_index=7, cfo=1.5)
            (got,) = self.through(
                phydnn.csi_estimator(smoothing=smoothing), "grid", "grid", [message]
            )
            metadata, values = pdus.parts(got)
            np.testing.assert_array_equal(values, self.grid())
            np.testing.assert_array_equal(pdus.get(metadata, "csi"), expected[1].ravel())
            self.assertAlmostEqual(pdus.get(metadata, "csi_n0"), expected[2], places=6)
            self.assertAlmostEqual(pdus.get(metadata, "snr_db"), expected[3], places=4)
            self.assertEqual((pdus.get(metadata, "images"), pdus.get(metadata, "uses")), (2, 900))
            (csi,) = self.through(
                phydnn.csi_estimator(smoothing=smoothing), "grid", "csi", [message]
            )
            np.testing.assert_array_equal(pdus.get(csi, "ls"), expected[0].ravel())
            np.testing.assert_array_equal(pdus.get(csi, "refined"), expected[1].ravel())
            told = {key: pdus.get(csi, key) for key in ("frame_number", "sample_index", "cfo")}
            self.assertEqual(told, {"frame_number": 3, "sample_index": 7, "cfo": 1.5})
            self.assertEqual((pdus.get(csi, "pilots"), pdus.get(csi, "subcarriers")), (2, 448))

    def test_equalizer(self) -> None:
        _, csi, n0, _ = kernels.csi_estimator().estimate(self.grid(), 900)
        for precoded in (False, True):
            expected = kernels.equalizer().equalize(self.grid(), csi, n0, 900, precoded)
            message = pdu(
                self.grid(), uses=900, frame_number=3, images=2, precoded=precoded,
                csi=phydnn.to_vector(csi), csi_n0=n0,
            )  # fmt: skip
            (got,) = self.through(phydnn.equalizer(), "grid", "symbols", [message])
            metadata, symbols = pdus.parts(got)
            np.testing.assert_array_equal(symbols, expected[0])
            np.testing.assert_array_equal(pdus.get(metadata, "n0"), expected[1])
            self.assertIsNone(pdus.get(metadata, "csi"))
            self.assertEqual((pdus.get(metadata, "images"), fields(got)), (2, (3, None)))

    def test_erasures_pass_untouched(self) -> None:
        message = pdu(silence(0), erased=True, reason="cut", frame_number=4, anything=5)
        for block, out in ((phydnn.csi_estimator(), "grid"), (phydnn.equalizer(), "symbols")):
            (got,) = self.through(block, "grid", out, [message])
            self.assertTrue(pmt.equal(got, message))
            self.assertEqual(block.dropped(), 0)

    def test_what_does_not_fit_becomes_an_erasure(self) -> None:
        good = {"uses": 900, "frame_number": 1}
        csi = {"csi": phydnn.to_vector(np.ones(2 * 448, np.complex64)), "csi_n0": 0.1}
        bad = [
            pdu(self.grid()[1:], **good, **csi),
            pdu(silence(0), **good, **csi),
            pdu(np.zeros(8, np.float32), **good, **csi),
            pdu(self.grid(), frame_number=1, **csi),
            pdu(self.grid(), **{**good, "uses": 0}, **csi),
            pdu(self.grid(), **{**good, "uses": -(1 << 62)}, **csi),
            pdu(self.grid(), **{**good, "uses": (1 << 62) + 900}, **csi),
            pdu(self.grid(), **{**good, "uses": "many"}, **csi),
        ]
        bad_csi = [
            pdu(self.grid(), **good),
            pdu(self.grid(), **good, csi=csi["csi"]),
            pdu(self.grid(), **good, csi=csi["csi"], csi_n0=0.0),
            pdu(self.grid(), **good, csi=csi["csi"], csi_n0=math.nan),
            pdu(self.grid(), **good, csi=phydnn.to_vector(silence(5)), csi_n0=0.1),
            pdu(self.grid(), **good, csi=5, csi_n0=0.1),
        ]
        for block, out, messages in (
            (phydnn.csi_estimator(), "grid", bad),
            (phydnn.equalizer(), "symbols", bad + bad_csi),
        ):
            got = self.through(block, "grid", out, messages)
            self.assertEqual([fields(message) for message in got], [(1, "payload")] * len(messages))
            self.assertEqual(block.dropped(), len(messages))
        for block, out in ((phydnn.csi_estimator(), "grid"), (phydnn.equalizer(), "symbols")):
            (got,) = self.through(block, "grid", out, [pmt.intern("no PDU at all")])
            self.assertEqual(fields(got), (None, "payload"))

    def test_a_flood_becomes_erasures_in_order(self) -> None:
        grid = phydnn.to_vector(self.grid())
        csi = phydnn.to_vector(np.ones(2 * 448, np.complex64))
        messages = [
            pdu(grid, uses=900, frame_number=i, csi=csi, csi_n0=0.1) for i in range(3 * QUEUE)
        ]
        for block, out in ((phydnn.csi_estimator(), "grid"), (phydnn.equalizer(), "symbols")):
            got = [fields(message) for message in self.through(block, "grid", out, messages)]
            self.assertEqual([number for number, _ in got], list(range(3 * QUEUE)))
            overrun = [reason for _, reason in got].count("overrun")
            self.assertGreaterEqual(overrun, 2 * QUEUE - 1)
            self.assertEqual(block.dropped(), overrun)
            self.assertEqual(got[-1][1], None)

    def test_smoothing(self) -> None:
        with self.assertRaisesRegex(ValueError, "smoothing 'cubic'"):
            phydnn.csi_estimator(smoothing="cubic")
        block = phydnn.csi_estimator()
        with self.assertRaisesRegex(ValueError, "smoothing 'cubic'"):
            block.set_smoothing("cubic")
        block.set_smoothing("none")


class TestWholeWaveform(gr_unittest.TestCase):
    """Transmitter, channel and receiver in one flowgraph."""

    def run_link(self, payloads: list[Samples], preset: str, **arguments: Any) -> list[Any]:
        precoded = arguments.pop("precoded", False)
        graph = gr.top_block()
        transmitter = phydnn.frame_transmitter(preset, bundle_id=9, precoded=precoded)
        channel = phydnn.channel(sample_rate=RATE, seed=1, **arguments)
        synchronizer = phydnn.frame_synchronizer(preset, RATE, bundle_id=9)
        estimator, equalizer = phydnn.csi_estimator(preset), phydnn.equalizer(preset)
        graph.connect(transmitter, channel, synchronizer)
        graph.msg_connect(synchronizer, "grid", estimator, "grid")
        graph.msg_connect(estimator, "grid", equalizer, "grid")
        sink = store(graph, equalizer, "symbols")
        for payload in payloads:
            post(transmitter, "symbols", pdu(payload))
        graph.start()
        wait_for(lambda: sink.num_messages() == len(payloads))
        graph.stop()
        graph.wait()
        return stored(sink)

    def test_payloads_arrive(self) -> None:
        clean: dict[str, Any] = {"snr_db": 20.0}
        offsets: dict[str, Any] = {"snr_db": 20.0, "cfo_hz": 8e3, "sfo_ppm": 3.0}
        delay_line: dict[str, Any] = {
            **offsets, "model": "tdl", "fading": "static",
            "delays": [0, 130e-9, 310e-9, 500e-9, 777e-9],
            "gains": [0.8, 0.4 + 0.2j, 0.2 + 0.2j, 0.2j, 0.1 + 0.1j],
        }  # fmt: skip
        cases = itertools.product(PRESETS, (False, True), (clean, offsets, delay_line))
        for preset, precoded, channel in cases:
            with self.subTest(preset=preset, precoded=precoded, channel=channel):
                payloads = [psk(count, count) for count in (1, 3000, 20_000)]
                got = self.run_link(payloads, preset, precoded=precoded, **channel)
                for number, (message, payload) in enumerate(zip(got, payloads, strict=True)):
                    metadata, symbols = pdus.parts(message)
                    self.assertEqual(fields(message), (number, None))
                    self.assertEqual(len(symbols), len(payload))
                    cfo = channel.get("cfo_hz", 0.0)
                    self.assertAlmostEqual(pdus.get(metadata, "cfo"), cfo, delta=500)
                    n0 = pdus.get(metadata, "n0")
                    ratio = float(np.mean(np.abs(symbols - payload) ** 2 / n0))
                    self.assertLess(ratio, 12 if len(payload) == 1 else 1.3)


if __name__ == "__main__":
    gr_unittest.run(TestHeader)
    gr_unittest.run(TestKernels)
    gr_unittest.run(TestSynchronizerBlock)
    gr_unittest.run(TestTransmitterBlock)
    gr_unittest.run(TestReceiverBlocks)
    gr_unittest.run(TestWholeWaveform)
