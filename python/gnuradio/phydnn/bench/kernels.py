# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Each C++ kernel against its NumPy reference: same data, same results, on one thread.

The references are written for clarity, but in whole arrays, with NumPy's FFTs and products, in
double precision. A time is the shortest of several; the ratio is the reference's over the kernel's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnuradio import phydnn
from gnuradio.phydnn import kernels
from gnuradio.phydnn.bench import BATCH_USES, Figure, Noise, Report, Track, psk, rotate
from gnuradio.phydnn.bench.waveform import dictionary
from gnuradio.phydnn.reference import channel as channel_reference
from gnuradio.phydnn.reference import embedding as embedding_reference
from gnuradio.phydnn.reference import finite as finite_reference
from gnuradio.phydnn.reference import waveform as waveform_reference
from phydnn.errors import RunError
from phydnn.spiral import code_for

BAR = 10.0
WEIGHTS_PER_US = {"spiral_encode": 50.0, "spiral_nearest": 10.0, "spiral_mmse": 10.0}
"""Millions of weights a second that the codes of weights have to reach."""


@dataclass(frozen=True)
class Race:
    """A kernel and its reference.

    Attributes:
        name: of the kernel.
        fast: runs the kernel.
        reference: runs the reference; both return arrays, or a tuple of them.
        tolerance: largest error, relative to the largest value of the reference.
    """

    name: str
    fast: Callable[[], Any]
    reference: Callable[[], Any]
    tolerance: float = 1e-4


def measure(quick: bool, track: Track) -> Report:
    """The speed of every kernel, and the slowest ratio of all."""
    ratios = {}
    for race in track(races(), "kernels"):
        agree(race)
        fast, slow = shortest(race.fast, quick), shortest(race.reference, quick)
        ratios[race.name] = (slow / fast, fast, slow)
    figures = [
        Figure(
            f"kernel_speedup_{name}",
            ratio,
            "times",
            BAR,
            note=f"{1e3 * fast:.3g} ms against {1e3 * slow:.3g} ms",
        )
        for name, (ratio, fast, slow) in ratios.items()
    ]
    for name, bar in WEIGHTS_PER_US.items():
        rate = BATCH_USES / ratios[name][1] / 1e6
        figures.append(Figure(f"{name}_mweights_per_s", rate, "M/s", bar, note="on one core"))
    return Report(figures, {"kernels": {name: row[0] for name, row in ratios.items()}})


def shortest(run: Callable[[], Any], quick: bool) -> float:
    """The shortest time of a call, in seconds, of 3 or of as many as fit into the limit."""
    times: list[float] = []
    limit = time.perf_counter() + (0.1 if quick else 1.0)
    while len(times) < 3 or (time.perf_counter() < limit and len(times) < 1000):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def agree(race: Race) -> None:
    """Compare the results of both.

    Raises:
        RunError: they differ.
    """
    pairs = zip(as_arrays(race.fast()), as_arrays(race.reference()), strict=True)
    for fast, reference in pairs:
        worst = float(np.max(np.abs(fast - reference)))
        if fast.shape != reference.shape or worst > race.tolerance * np.max(np.abs(reference)):
            raise RunError(f"the kernel {race.name} and its reference differ by {worst:.3g}")


def as_arrays(result: Any) -> list[NDArray[Any]]:
    return [np.asarray(part) for part in (result if isinstance(result, tuple) else (result,))]


def races() -> list[Race]:
    """All kernels, on a batch of 64 CIFAR images where that is their unit of work."""
    n = phydnn.numerology("wide")
    reference = waveform_reference.Waveform(n)
    rng = np.random.default_rng(0)
    noise = Noise(link=3)

    payload = psk(BATCH_USES, rng)
    made = waveform_reference.Header(BATCH_USES, 5, 0xDEADBEEF, 0, True)
    header = kernels.frame_header(BATCH_USES, 5, 0xDEADBEEF, 0, True)
    transmitter, codec = kernels.transmitter(n), kernels.header_codec()

    frame = transmitter.frame(header, payload)
    air = np.concatenate([np.zeros(1000, np.complex64), frame, np.zeros(4000, np.complex64)])
    air = rotate(air, 3e3) + noise(len(air), 12)
    searched = noise(1 << 18, 0)
    synchronizer = kernels.synchronizer(n)
    grid = synchronizer.process(air)[0].grid
    estimator, equalizer = kernels.csi_estimator(n), kernels.equalizer(n)
    _, csi, n0, _ = estimator.estimate(grid, BATCH_USES)

    embeddings, points = dictionary()
    lookup = kernels.embedding_codec(embeddings, points)
    slices = rng.standard_normal((BATCH_USES, embeddings.shape[1])).astype(np.float32)
    symbols = payload + noise(BATCH_USES, 12)
    variances = np.full(BATCH_USES, 10**-1.2, np.float32)
    cells = -2.514, 2.514, 4, 2**-0.5  # a bell of mean power 1 in 4 bits
    finite = kernels.finite_codec(*cells)
    features = rng.standard_normal(2 * BATCH_USES).astype(np.float32)

    def decoded(answer: Any) -> NDArray[np.int64]:
        fields = (answer.uses, answer.frame_number, answer.bundle_id, answer.kind, answer.precoded)
        return np.array(fields, np.int64)

    return [
        Race(
            "transmitter",
            lambda: transmitter.frame(header, payload),
            lambda: reference.frame(made, payload),
        ),
        Race(
            "header_codec",
            lambda: decoded(codec.decode(2.0 * np.array(codec.encode(header)) - 1)),
            lambda: decoded(waveform_reference.decode_header(2.0 * made.coded() - 1)),
        ),
        Race(
            "synchronizer_search",
            lambda: synchronizer.statistic(searched),
            lambda: reference.statistic(searched, 1e-8),
        ),
        Race(
            "csi_estimator",
            lambda: estimator.estimate(grid, BATCH_USES),
            lambda: reference.estimate(grid, BATCH_USES),
            1e-3,
        ),
        Race(
            "equalizer",
            lambda: equalizer.equalize(grid, csi, n0, BATCH_USES, False),
            lambda: reference.equalize(grid, csi, n0, BATCH_USES, False),
        ),
        Race(
            "equalizer_precoded",
            lambda: equalizer.equalize(grid, csi, n0, BATCH_USES, True),
            lambda: reference.equalize(grid, csi, n0, BATCH_USES, True),
        ),
        Race(
            "embedding_mapper",
            lambda: lookup.encode(slices),
            lambda: embedding_reference.encode(slices, embeddings, points),
        ),
        Race(
            "embedding_demapper_hard",
            lambda: lookup.decode_hard(symbols),
            lambda: embedding_reference.decode_hard(symbols, embeddings, points),
        ),
        Race(
            "embedding_demapper_soft",
            lambda: lookup.decode_soft(symbols, variances),
            lambda: embedding_reference.decode_soft(symbols, embeddings, points, variances),
        ),
        Race(
            "finite_mapper",
            lambda: finite.encode(features),
            lambda: finite_reference.encode(features, *cells),
        ),
        Race(
            "finite_demapper_hard",
            lambda: finite.decode(symbols, 0.0, "hard"),
            lambda: finite_reference.decode_hard(symbols, *cells),
        ),
        Race(
            "finite_demapper_soft",
            lambda: finite.decode(symbols, variances),
            lambda: finite_reference.decode_soft(symbols, variances, *cells),
        ),
        Race(
            "noise",
            lambda: kernels.noise(1, 2, 0).generate(0, 1 << 16),
            lambda: channel_reference.noise(1, 2, 0, 0, 1 << 16),
        ),
        *spiral_races(rng.standard_normal(BATCH_USES).astype(np.float32), noise(BATCH_USES, 20)),
        *channel_races(frame[: 1 << 16]),
    ]


def spiral_races(weights: NDArray[np.float32], noise: NDArray[np.complex64]) -> list[Race]:
    """A spiral for 15 dB against the library's, whole arrays with the same table."""
    twin = code_for(15, 1)
    (spiral,) = twin.spirals
    code = kernels.layer_code([spiral.gamma], [spiral.alpha])
    # At 20 dB no symbol lies so near to the middle of two arms that rounding decides.
    symbols, count = twin.encode(weights) + noise, len(weights)
    return [
        Race("spiral_encode", lambda: code.encode(weights), lambda: twin.encode(weights)),
        Race(
            "spiral_nearest",
            lambda: code.decode(symbols, 0.01, count, "nearest"),
            lambda: twin.decode(symbols, 0.01, count, "nearest"),
            1e-3,
        ),
        Race(
            "spiral_mmse",
            lambda: code.decode(symbols, 0.01, count, "mmse"),
            lambda: twin.decode(symbols, 0.01, count, "mmse"),
            1e-3,
        ),
    ]


def channel_races(samples: NDArray[np.complex64]) -> list[Race]:
    """The channel's models, each with noise at 12 dB."""
    five = {
        "delays": [0, 130e-9, 310e-9, 500e-9, 777e-9],
        "gains": [0.8, 0.4 + 0.2j, 0.2 + 0.2j, 0.2j, 0.1 + 0.1j],
    }
    cases: dict[str, dict[str, Any]] = {
        "awgn": {},
        "offsets": {"cfo_hz": 8e3, "sfo_ppm": 3.0},
        "five_taps": five,
        "doppler": {**five, "fading": "doppler", "doppler_hz": 100.0},
    }
    count = len(samples) - 64  # interpolation holds the last ones back

    def fast(settings: dict[str, Any]) -> Callable[[], Any]:
        kind = getattr(kernels.fading_kind, settings.get("fading", "fixed"))
        settings = {**settings, "fading": kind, "snr_db": 12.0}
        return lambda: kernels.channel(**settings).work(samples, count)[0]

    def reference(settings: dict[str, Any]) -> Callable[[], Any]:
        made = channel_reference.Channel(**settings, snr_db=12.0)
        return lambda: made(samples, count)

    return [
        Race(f"channel_{name}", fast(settings), reference(settings), 2e-3)
        for name, settings in cases.items()
    ]
