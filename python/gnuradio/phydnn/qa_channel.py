#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The channel against its NumPy reference, closed forms and theory, and the block round it."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray
from scipy import special, stats

from gnuradio import blocks, gr, gr_unittest, phydnn
from gnuradio.phydnn import kernels
from gnuradio.phydnn.reference import channel as reference

Samples = NDArray[np.complex64]

RATE = 20e6
FIVE_PATHS: dict[str, Any] = {
    "delays": [0, 130e-9, 310e-9, 500e-9, 777e-9],
    "gains": [0.8, 0.4 + 0.2j, 0.1 + 0.3j, 0.2j, 0.1],
}


def gaussian(count: int, seed: int = 0) -> Samples:
    """Circular Gaussian samples of unit power, by NumPy's generator."""
    parts = np.random.default_rng(seed).normal(scale=math.sqrt(0.5), size=2 * count)
    return parts.astype(np.float32).view(np.complex64)


def tone(cycles_per_sample: float, count: int) -> Samples:
    """exp(2 pi j f n), accurate for any n."""
    turns = np.mod(cycles_per_sample * np.arange(count), 1.0)
    return np.exp(2j * np.pi * turns).astype(np.complex64)


def run_kernel(x: Samples, fading: str = "fixed", **settings: Any) -> Samples:
    """All that the kernel makes of x."""
    line = kernels.channel(fading=getattr(kernels.fading_kind, fading), **settings)
    return line.work(x, 2 * len(x) + 64)[0]


def run_block(
    x: Samples, tags: list[gr.tag_t] | None = None, longest: int = 100_000, **arguments: Any
) -> tuple[Samples, list[gr.tag_t]]:
    """What the block makes of x in a flowgraph that hands out at most ``longest`` samples."""
    graph = gr.top_block()
    source = blocks.vector_source_c(x.tolist(), False, 1, tags or [])
    sink = blocks.vector_sink_c()
    graph.connect(source, phydnn.channel(**arguments), sink)
    graph.run(longest)
    return np.array(sink.data(), dtype=np.complex64), list(sink.tags())


def tag(offset: int, key: str, value: Any) -> gr.tag_t:
    """A stream tag."""
    made = gr.tag_t()
    made.offset, made.key, made.value = offset, pmt.intern(key), pmt.to_pmt(value)
    return made


class TestReference(gr_unittest.TestCase):
    """Kernels beside their references, on the same data."""

    def test_philox(self) -> None:
        ones = 0xFFFFFFFF
        pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
        known = [
            ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
            ([ones] * 4, [ones] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
            (pi, [0xA4093822, 0x299F31D0], "d16cfe09 94fdcceb 5001e420 24126ea1"),
        ]
        for counter, key, answer in known:
            for function in (kernels.philox4x32, reference.philox4x32):
                self.assertEqual(" ".join(f"{int(w):08x}" for w in function(counter, key)), answer)

    def test_channel(self) -> None:
        x = gaussian(30_000)
        random_paths = {**FIVE_PATHS, "k_factors": [3, 0, 0, 1, 0]}
        cases: dict[str, dict[str, Any]] = {
            "noise": {},
            "paths": FIVE_PATHS,
            "far path": {"delays": [0, 9.99e-3 / 20], "gains": [0.5, 0.5j]},
            "per frame": {**random_paths, "fading": "per_frame", "block_length": 1234},
            "doppler": {**random_paths, "fading": "doppler", "doppler_hz": 3000},
            "slow doppler": {**random_paths, "fading": "doppler", "doppler_hz": 5},
            "cfo": {"cfo_hz": -8000},
            "clock fast": {"sfo_ppm": 300},
            "clock slow": {"sfo_ppm": -300},
            "phase noise": {"phase_noise_hz": 1000},
            "iq": {"iq_amplitude_db": 1, "iq_phase_deg": -5},
            "all": {
                **random_paths,
                "fading": "doppler",
                "doppler_hz": 100,
                "sfo_ppm": 3,
                "cfo_hz": 8000,
                "phase_noise_hz": 10,
                "iq_amplitude_db": -1,
            },
        }
        for name, case in cases.items():
            with self.subTest(name):
                settings = {"snr_db": 10.0, "seed": (5 << 32) + 9, "link": 3, **case}
                y = run_kernel(x, **settings)
                self.assertGreater(len(y), len(x) - 60)
                expected = reference.Channel(**settings)(x, len(y))
                np.testing.assert_allclose(y, expected, rtol=0, atol=5e-6)

    def test_converter(self) -> None:
        x = gaussian(30_000)
        y = run_kernel(x, full_scale=1.5)
        expected = reference.Channel(full_scale=1.5)(x, len(x))
        # float32 may fall on the other side of a tie, a step away
        error = np.abs((y - expected).view(np.float64)) / (1.5 / 32767)
        self.assertLess(error.max(), 1.01)
        self.assertLess(np.mean(error > 0.01), 1e-3)
        line = kernels.channel(full_scale=1.5)
        line.work(x, len(x))
        self.assertEqual(line.clipped, np.count_nonzero(np.abs(x.view(np.float32)) > 1.5))


class TestNoise(gr_unittest.TestCase):
    """Its distribution."""

    def test_moments_and_tails(self) -> None:
        count, chunk = 20_000_000, 1_000_000
        sums = np.zeros(4)
        limits = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
        beyond = np.zeros(len(limits))
        source = kernels.noise(seed=2026)
        for first in range(0, count, chunk):
            parts = source.generate(first, chunk).view(np.float32) * np.float32(math.sqrt(2))
            sums += [np.sum(parts**k, dtype=np.float64) for k in (1, 2, 3, 4)]
            beyond += [np.count_nonzero(np.abs(parts) > limit) for limit in limits]
        n = 2 * count
        for moment, mean, variance in zip(sums / n, (0, 1, 0, 3), (1, 2, 15, 96), strict=True):
            self.assertLess(abs(moment - mean), 4 * math.sqrt(variance / n))
        expected = n * special.erfc(limits / math.sqrt(2))
        self.assertTrue(np.all(np.abs(beyond - expected) < 4 * np.sqrt(expected)), beyond)

    def test_white_and_circular(self) -> None:
        count = 1_000_000
        z = kernels.noise(seed=1).generate(0, count)
        bound = 5 / math.sqrt(count)
        self.assertLess(abs(np.mean(z * z)), bound)
        for lag in range(1, 40):
            self.assertLess(abs(np.vdot(z[:-lag], z[lag:])) / count, bound)
        phase = stats.kstest(np.angle(z[:100_000]), "uniform", (-np.pi, 2 * np.pi))
        self.assertGreater(phase.pvalue, 1e-3)

    def test_keys_are_independent(self) -> None:
        count = 100_000
        keys = [(0, 0, 0), (1, 0, 0), (1 << 32, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]
        z = np.stack([kernels.noise(*key).generate(0, count) for key in keys])
        correlation = np.abs(z @ z.conj().T) / count - np.eye(len(keys))
        self.assertLess(correlation.max(), 5 / math.sqrt(count))

    def test_snr_is_energy_over_n0(self) -> None:
        for snr_db in (-6.0, 0.0, 12.0):
            noise = run_kernel(np.zeros(200_000, np.complex64), snr_db=snr_db, seed=7)
            n0 = np.mean(np.abs(noise) ** 2)
            self.assertAlmostEqual(-10 * math.log10(n0), snr_db, delta=0.05)
            self.assertAlmostEqual(np.mean(noise.real**2) / n0, 0.5, delta=0.005)


class TestFading(gr_unittest.TestCase):
    """Gains against the distributions they are drawn from."""

    def test_per_frame_distributions(self) -> None:
        for k in (0.0, 1.0, 10.0):
            gains = kernels.fading(kernels.fading_kind.per_frame, [2.0], [k], seed=3)
            g = gains.gain(0, 0, 1, 40_000) / 2
            scale = math.sqrt(1 / (2 * (k + 1)))
            rice = stats.rice(math.sqrt(2 * k), scale=scale)
            self.assertGreater(stats.kstest(np.abs(g), rice.cdf).pvalue, 1e-3)
            self.assertAlmostEqual(np.mean(np.abs(g) ** 2), 1, delta=0.03)

    def test_doppler_autocorrelation_is_j0(self) -> None:
        doppler, lags, links = 1e-4, np.arange(0, 20_001, 500), 4000
        g = np.stack(
            [
                kernels.fading(
                    kernels.fading_kind.doppler, [1.0], [0.0], doppler, seed=11, link=link
                ).gain(0, 12_345, 500, len(lags))
                for link in range(links)
            ]
        )
        correlation = np.mean(g * g[:, :1].conj(), axis=0)
        expected = special.j0(2 * np.pi * doppler * lags)
        self.assertLess(np.abs(correlation - expected).max(), 5 / math.sqrt(links))
        rayleigh = stats.rayleigh(scale=math.sqrt(0.5))
        self.assertGreater(stats.kstest(np.abs(g[:, 7]), rayleigh.cdf).pvalue, 1e-3)

    def test_doppler_spectrum_stays_in_band(self) -> None:
        doppler, step, count = 1e-4, 100, 1 << 16
        gains = kernels.fading(kernels.fading_kind.doppler, [1.0], [0.0], doppler, seed=2)
        g = gains.gain(0, 0, step, count) * np.blackman(count)
        power = np.abs(np.fft.fft(g)) ** 2
        outside = np.abs(np.fft.fftfreq(count) / step) > 1.01 * doppler
        self.assertLess(power[outside].sum() / power.sum(), 1e-6)

    def test_mean_power_of_random_paths_is_one(self) -> None:
        ones = np.ones(2_000_000, np.complex64)
        y = run_kernel(
            ones,
            fading="per_frame",
            block_length=20,
            delays=[0, 0, 0],
            gains=[3, 1j, 0.5],
            k_factors=[2, 0, 0],
        )
        # with all paths at one delay, one constant meets the sum of all scattered parts
        power = np.abs(y[10::20]) ** 2
        self.assertAlmostEqual(power.mean(), 1, delta=5 * power.std() / math.sqrt(len(power)))


class TestClosedForms(gr_unittest.TestCase):
    """Tones in, the right tones out."""

    def test_frequency_response_of_paths(self) -> None:
        for frequency in np.linspace(-0.45, 0.45, 19):
            x = tone(frequency, 1000)
            phase = np.exp(-2j * np.pi * frequency * RATE * np.array(FIVE_PATHS["delays"]))
            response = np.dot(FIVE_PATHS["gains"], phase)
            y = run_kernel(x, **FIVE_PATHS)[100:]
            error = np.abs(y - response * x[100 : 100 + len(y)]).max()
            self.assertLess(20 * math.log10(error), -53)

    def test_whole_delays_are_exact(self) -> None:
        x = gaussian(5000)
        y = run_kernel(x, delays=[0, 3 / RATE, 100 / RATE], gains=[1, 0, 0.5])
        expected = x.copy()
        expected[100:] += np.float32(0.5) * x[:-100]
        np.testing.assert_array_equal(y, expected)

    def test_cfo_is_exact_for_long(self) -> None:
        line = kernels.channel(cfo_hz=7654.321)
        count, chunk = 20_000_000, 1_000_000
        ones = np.ones(chunk, np.complex64)
        for first in range(0, count, chunk):
            y, _ = line.work(ones, chunk)
            n = first + np.array([0, 1, chunk // 2, chunk - 1])
            turns = np.mod(n * 7654.321 / RATE, 1.0)
            np.testing.assert_allclose(y[n - first], np.exp(2j * np.pi * turns), atol=1e-6)

    def test_cfo_changes_without_a_jump(self) -> None:
        line = kernels.channel(cfo_hz=1000)
        ones = np.ones(5000, np.complex64)
        first, _ = line.work(ones, 5000)
        line.set_cfo_hz(-3000)
        second, _ = line.work(ones, 5000)
        steps = np.angle(np.concatenate([first, second])[1:] / np.concatenate([first, second])[:-1])
        expected = 2 * np.pi / RATE * np.r_[np.full(5000, 1000), np.full(4999, -3000)]
        np.testing.assert_allclose(steps, expected, atol=2e-6)

    def test_sample_clock_moves_tones(self) -> None:
        count = 400_000
        for ppm in (-1000.0, -3.0, 4.0, 100.0):
            for frequency in (-0.45, -0.2, 0.01, 0.33, 0.45):
                y = run_kernel(tone(frequency, count), sfo_ppm=ppm)
                self.assertAlmostEqual(len(y), count / (1 + 1e-6 * ppm) - 20, delta=2)
                error = np.abs(y - tone(frequency * (1 + 1e-6 * ppm), len(y)))[40:]
                self.assertLess(20 * math.log10(error.max()), -52, (ppm, frequency))

    def test_image_rejection(self) -> None:
        gain, lag = 10 ** (0.7 / 20), math.radians(3)
        expected = (1 + 2 * gain * math.cos(lag) + gain**2) / (
            1 - 2 * gain * math.cos(lag) + gain**2
        )
        y = run_kernel(tone(0.125, 4096), iq_amplitude_db=0.7, iq_phase_deg=3)
        spectrum = np.abs(np.fft.fft(y) / len(y)) ** 2
        self.assertAlmostEqual(spectrum[512] / spectrum[-512] / expected, 1, places=4)
        self.assertAlmostEqual(spectrum.sum(), 1, places=5)

    def test_phase_noise_coherence(self) -> None:
        linewidth, count = 2000.0, 4_000_000
        y = run_kernel(np.ones(count, np.complex64), phase_noise_hz=linewidth, seed=5)
        np.testing.assert_allclose(np.abs(y), 1, atol=1e-6)
        for lag in (1, 10, 100, 1000):
            steps = np.angle(y[lag::lag] * y[:-lag:lag].conj())
            variance = 2 * np.pi * linewidth * lag / RATE
            spread = math.sqrt(2 / len(steps))
            self.assertAlmostEqual(np.var(steps) / variance, 1, delta=5 * spread)


class TestBlock(gr_unittest.TestCase):
    """The block in flowgraphs."""

    def test_is_the_kernel_however_it_is_cut(self) -> None:
        x = gaussian(50_000)
        impairments: dict[str, Any] = {
            "snr_db": 12,
            "cfo_hz": 8000,
            "sfo_ppm": 3,
            "phase_noise_hz": 50,
            "iq_phase_deg": 1,
            "full_scale": 4,
            "seed": 1 << 63,
            "link": 0xFFFFFFFF,
        }
        expected = run_kernel(x, fading="doppler", doppler_hz=50, **FIVE_PATHS, **impairments)
        for longest in (7, 1000, 100_000):
            y, _ = run_block(
                x,
                longest=longest,
                model="tdl",
                fading="doppler",
                doppler_hz=50,
                **FIVE_PATHS,
                **impairments,
            )
            np.testing.assert_array_equal(y, expected)

    def test_defaults_are_a_wire(self) -> None:
        x = gaussian(20_000)
        np.testing.assert_array_equal(run_block(x)[0], x)

    def test_frames_are_drawn_at_their_tags(self) -> None:
        starts = [100, 4096, 4097, 30_000]
        tags = [tag(start, "packet_len", 10) for start in starts] + [tag(50, "other", 1)]
        gains = kernels.fading(kernels.fading_kind.per_frame, [1.0], [0.0], seed=9)
        frame = np.maximum(np.searchsorted(starts, np.arange(40_000), side="right") - 1, 0)
        expected = gains.gain(0, 0, 1, len(starts))[frame]
        for longest in (50, 8192):
            y, moved = run_block(
                np.ones(40_000, np.complex64), tags, longest, model="rayleigh", seed=9
            )
            np.testing.assert_array_equal(y, expected)
            self.assertEqual(sorted(t.offset for t in moved), sorted([50, *starts]))

    def test_tags_move_with_the_samples(self) -> None:
        # a pulse where each tag is: tag and pulse stay together
        starts = np.arange(0, 90_000, 9_973)
        x = np.zeros(100_000, np.complex64)
        x[starts] = 1
        tags = [tag(int(start), "frame_number", n) for n, start in enumerate(starts)]
        for ppm in (-900.0, 0.0, 700.0):
            for longest in (300, 8192):
                y, moved = run_block(
                    x, tags, longest, model="tdl", fading="static", sfo_ppm=ppm,
                    delays=[55.5 / RATE], gains=[1],
                )  # fmt: skip
                expected = (starts + 55.5) / (1 + 1e-6 * ppm)
                self.assertEqual([pmt.to_python(t.value) for t in moved], list(range(len(starts))))
                offsets = np.array([t.offset for t in moved])
                self.assertLess(np.abs(offsets - expected).max(), 1.6)
                self.assertGreater(np.abs(y[offsets - 1]).min() + np.abs(y[offsets]).min(), 0.5)

    def test_block_length_starts_frames(self) -> None:
        y, _ = run_block(
            np.ones(5000, np.complex64), model="rician", k_factors=[2], block_length=700
        )
        self.assertEqual(np.flatnonzero(np.diff(y)).tolist(), list(range(699, 5000, 700)))

    def test_samples_that_are_not_finite(self) -> None:
        x = gaussian(10_000)
        x[5000], x[7000] = complex("nan"), complex("inf")
        block = phydnn.channel(model="tdl", fading="static", sfo_ppm=20, **FIVE_PATHS)
        graph = gr.top_block()
        sink = blocks.vector_sink_c()
        graph.connect(blocks.vector_source_c(x.tolist()), block, sink)
        graph.run()
        self.assertEqual(block.not_finite(), 2)
        self.assertTrue(np.all(np.isfinite(np.array(sink.data()))))

    def test_set_while_running(self) -> None:
        block = phydnn.channel(snr_db=60, seed=1)
        graph = gr.top_block()
        probe = blocks.probe_signal_c()
        graph.connect(blocks.vector_source_c([1], True), block, probe)
        graph.start()
        for n in range(200, 0, -1):
            block.set_snr_db(n)
            block.set_cfo_hz(n)
            block.set_sfo_ppm(100 - n)
            block.set_phase_noise_hz(n)
            block.set_iq_imbalance(n / 100, -n / 100)
            block.set_gains([n])
        block.set_snr_db(math.inf)
        block.set_iq_imbalance(0, 0)
        block.set_gains([3j])
        level = 0.0
        deadline = time.monotonic() + 60
        while abs(level - 3) > 0.005 and time.monotonic() < deadline:
            time.sleep(0.01)
            level = abs(probe.level())
        graph.stop()
        graph.wait()
        self.assertAlmostEqual(level, 3, delta=0.005)  # sfo_ppm is not 0

    def test_arguments_out_of_range(self) -> None:
        bad: list[tuple[str, dict[str, Any]]] = [
            ("sample_rate", {"sample_rate": 0}),
            ("snr_db", {"snr_db": math.nan}),
            ("model", {"model": "awgnn"}),
            ("fading", {"model": "rayleigh", "fading": "static"}),
            ("fading", {"fading": "fast"}),
            ("k_factors", {"model": "rician"}),
            ("k_factors", {"model": "rayleigh", "k_factors": [1]}),
            ("k_factors", {"model": "rician", "k_factors": [-1]}),
            ("delays", {"delays": [0]}),
            ("delays", {"model": "tdl"}),
            ("delays", {"model": "tdl", "delays": [-1e-9], "gains": [1]}),
            ("gains", {"model": "tdl", "delays": [0, 0], "gains": [1]}),
            ("gains", {"gains": [complex("inf")]}),
            ("doppler_hz", {"model": "rayleigh", "fading": "doppler"}),
            ("doppler_hz", {"doppler_hz": 1e6}),
            ("cfo_hz", {"cfo_hz": 1e7}),
            ("sfo_ppm", {"sfo_ppm": 1e4}),
            ("phase_noise_hz", {"phase_noise_hz": -1}),
            ("iq_amplitude_db", {"iq_amplitude_db": 50}),
            ("iq_phase_deg", {"iq_phase_deg": 100}),
            ("full_scale", {"full_scale": -1}),
        ]
        for name, arguments in bad:
            with self.subTest(arguments), self.assertRaisesRegex(ValueError, f"^{name}"):
                phydnn.channel(**arguments)
        block = phydnn.channel()
        for setter, values in [
            (block.set_snr_db, (-101,)),
            (block.set_cfo_hz, (math.nan,)),
            (block.set_sfo_ppm, (2000,)),
            (block.set_phase_noise_hz, (1e9,)),
            (block.set_iq_imbalance, (0, 91)),
            (block.set_gains, ([1, 1],)),
        ]:
            with self.assertRaises(ValueError):
                setter(*values)


if __name__ == "__main__":
    gr_unittest.run(None)
