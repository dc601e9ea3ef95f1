# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Channel estimates: their errors on simulated frames, and what they cost a bundle's accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phydnn import csi
from phydnn.channels import ChannelSpec
from phydnn.errors import RunError
from phydnn.experiments import Point, Row
from phydnn.waveform import FFT, GAP, PREAMBLE, PREFIX, USED

NETWORKS = {"wiener": "refined, fast", "adnet": "refined, ADNet"}
CHANNELS: dict[str, ChannelSpec] = {
    "flat Rayleigh": ChannelSpec("rayleigh"),
    "flat Rician, K = 2": ChannelSpec("rician", k_factors=(2.0,)),
    "TDL-A 30 ns": csi.tdl("tdl-a", 30e-9),
    "TDL-A 300 ns": csi.tdl("tdl-a", 300e-9),
    "TDL-C 30 ns": csi.tdl("tdl-c", 30e-9),
    "TDL-C 100 ns": csi.tdl("tdl-c", 100e-9),
    "TDL-C 300 ns": csi.tdl("tdl-c", 300e-9),
    "TDL-C 100 ns, 100 Hz": csi.tdl("tdl-c", 100e-9, 100.0),
    "TDL-A 300 ns, 100 Hz": csi.tdl("tdl-a", 300e-9, 100.0),
}
BATCH = 25


def errors(point: Point) -> list[Row]:
    """Mean squared errors of all estimators on the same frames of one channel.

    Args:
        point: ``channel`` of CHANNELS, ``snr_db``, ``uses`` of a frame, ``frames``, ``seed`` and
            ``bundle`` of denoisers.
    """
    from phydnn.bundle import open_session

    bundle = csi.CsiBundle.load(point["bundle"])
    sessions = {name: open_session(bundle.graph_path(name), threads=1) for name in NETWORKS}
    paths = csi.Paths.of(CHANNELS[point["channel"]])
    snr_db, count = float(point["snr_db"]), int(point["frames"])
    rng = np.random.default_rng([int(point["seed"]), int(snr_db * 10) % 1000, point["uses"]])
    found: dict[str, list[NDArray[np.float64]]] = {}
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        frames = csi.simulate([paths] * size, np.full(size, snr_db), point["uses"], rng)
        ls, known = frames.ls, (frames.n0, frames.delay)
        estimates = {
            "LS": ls,
            "DFT window": csi.window(ls),
            "LMMSE, mismatched": csi.lmmse(ls, csi.uniform_profile(), frames.n0_estimate),
            "LMMSE, true statistics": csi.lmmse(ls, paths, *known),
            "LMMSE over all DMRS, true statistics": csi.lmmse(
                ls, paths, *known, frames.rows, frames.turn_hz
            ),
        }
        for name, session in sessions.items():
            estimates[NETWORKS[name]] = np.stack(
                [
                    csi.refine(session, one, float(n0), frames.rows)
                    for one, n0 in zip(ls, frames.n0_estimate, strict=True)
                ]
            )
        for scheme, values in estimates.items():
            found.setdefault(scheme, []).append(csi.mse(values, frames.truth))
    rows = []
    for scheme, parts in found.items():
        each = np.concatenate(parts)
        mean, reach = each.mean(), 1.96 * each.std() / np.sqrt(len(each))
        rows.append(
            {
                "system": "ldeepsc",
                "scheme": scheme,
                "model": bundle.name,
                "dataset": "simulated",
                "channel": point["channel"],
                "snr_db": snr_db,
                "channel_uses": point["uses"],
                "pilots": len(csi.pilot_rows(point["uses"])),
                "mse": float(mean),
                "mse_db": float(10 * np.log10(mean)),
                "ci95": [float(max(mean - reach, 0)), float(mean + reach)],
                "n": count,
                "seed": point["seed"],
                "paper": None,
            }
        )
    return rows


def accuracies(point: Point) -> list[Row]:
    """A bundle's accuracy by the receiver's channel estimates, all on the same samples.

    Frames go through the kernels of the whole waveform: transmitter, channel, synchronizer,
    estimator, equalizer. "genie" is the channel that the frame met, at its own DMRS: the least-
    squares estimate of the same samples without noise.

    Args:
        point: ``data``, ``classifier`` (a PhyDNN bundle), ``bundle`` (of denoisers), ``channel`` of
            CHANNELS, ``snr_db``, ``limit`` (images; 0 for all), ``seed``.

    Raises:
        RunError: the blocks are not installed.
    """
    try:
        from gnuradio.phydnn import kernels
    except ImportError as error:
        raise RunError(
            f"the GNU Radio blocks cannot be imported ({error}): run ./phydnn doctor"
        ) from error
    from phydnn import constellation, datasets
    from phydnn.bundle import Bundle, open_session
    from phydnn.evaluate import batches, score

    denoisers = csi.CsiBundle.load(point["bundle"])
    sessions = {name: open_session(denoisers.graph_path(name), threads=1) for name in NETWORKS}
    bundle = Bundle.load(point["classifier"])
    images = datasets.load(point["data"], "test", bundle.input_shape)
    images = images.take(slice(point["limit"])) if point["limit"] else images
    assert images.y is not None
    head, tail = open_session(bundle.head_path, 1), open_session(bundle.tail_path, 1)
    spec, n0 = CHANNELS[point["channel"]], 10 ** (-point["snr_db"] / 10)
    transmitter, estimator, equalizer = (
        kernels.transmitter(),
        kernels.csi_estimator(),
        kernels.equalizer(),
    )
    kind = kernels.fading_kind.doppler if spec.doppler_hz else kernels.fading_kind.per_frame
    right: dict[str, int] = {}
    apart: dict[str, list[float]] = {}
    lost = 0
    for number, part in enumerate(batches(len(images))):
        labels = bundle.labels(head.run(None, {"images": images.x[part]})[0])
        symbols = bundle.points[labels].ravel()
        header = kernels.frame_header(symbols.size, 0, bundle.id, 0, bundle.precoding)
        sent = transmitter.frame(header, symbols)
        quiet = np.zeros(2 * GAP + PREAMBLE, np.complex64)
        channel = kernels.channel(
            fading=kind,
            delays=list(spec.delays or (0.0,)),
            gains=list(spec.gains or (1.0,)),
            k_factors=list(spec.k_factors or (0.0,) * max(1, len(spec.gains))),
            doppler_hz=spec.doppler_hz,
            seed=point["seed"] * 100_000 + number,
        )
        given = np.concatenate([quiet, sent, quiet])
        clean, _ = channel.work(given, len(given))
        noise = kernels.noise(point["seed"] * 100_000 + number, 1).generate(0, len(clean))
        noisy = clean + np.float32(np.sqrt(n0)) * noise
        frames = [f for f in kernels.synchronizer().process(noisy) if not f.reason]
        if len(frames) != 1 or frames[0].header.uses != symbols.size:
            lost += 1
            continue
        grid = frames[0].grid
        ls, window, n0_found, snr_found = estimator.estimate(grid, symbols.size)
        rows = csi.pilot_rows(symbols.size)
        genie = estimator.estimate(
            _demodulated(clean, noisy, frames[0], len(grid) // USED), symbols.size
        )[0]
        estimates = {"LS": ls, "DFT window": window}
        for name, session in sessions.items():
            refined = ls
            if snr_found <= denoisers.bypass_db:
                refined = csi.refine(session, ls, n0_found, rows.astype(np.float32))
            estimates[NETWORKS[name]] = refined
        estimates["genie"] = genie
        for scheme, estimate in estimates.items():
            equalised, symbol_n0 = equalizer.equalize(
                grid, estimate, n0_found, symbols.size, bundle.precoding
            )
            if bundle.decision == "hard":
                slices = bundle.embeddings[constellation.hard_labels(equalised, bundle.points)]
            else:
                weights = constellation.posteriors(equalised, bundle.points, symbol_n0)
                slices = (weights @ bundle.embeddings).astype(np.float32)
            logits = tail.run(None, {"slices": slices.reshape(*labels.shape, bundle.dim)})[0]
            got = int((logits.argmax(1) == images.y[part]).sum())
            right[scheme] = right.get(scheme, 0) + got
            apart.setdefault(scheme, []).append(float(np.mean(np.abs(estimate - genie) ** 2)))
    return [
        {
            "system": "phydnn",
            "scheme": f"CSI: {scheme}",
            "model": bundle.name,
            "dataset": bundle.meta["dataset"]["name"],
            "channel": point["channel"],
            "snr_db": point["snr_db"],
            "channel_uses": bundle.uses,
            "points": len(bundle.points),
            "accuracy": found["accuracy"],
            "ci95": found["accuracy_ci95"],
            "n": found["n"],
            "frames": len(apart[scheme]) + lost,
            "frames_lost": lost,
            "mse": float(np.mean(apart[scheme])),
            "seed": point["seed"],
            "paper": None,
        }
        for scheme, found in ((name, score(count, len(images))) for name, count in right.items())
    ]


def _demodulated(clean: Any, noisy: Any, frame: Any, symbols: int) -> NDArray[np.complex64]:
    """The resource grid of ``clean``, cut and turned as the synchronizer did with ``noisy``.

    Where it placed the FFT it does not say: that is where the noisy samples give its own grid.
    """
    n = np.arange(FFT)
    half = USED // 2

    def row(samples: Any, start: int, index: int) -> Any:
        at = start + index * (FFT + PREFIX) + PREFIX
        turned = samples[at : at + FFT] * np.exp(-1j * frame.cfo * (at - start + n))
        bins = np.fft.fft(turned) / np.sqrt(FFT)
        return np.concatenate([bins[-half:], bins[1 : half + 1]])

    first = frame.grid[:USED]
    begins = range(frame.sample_index + PREAMBLE - PREFIX, frame.sample_index + PREAMBLE + PREFIX)
    misfit = [np.abs(row(noisy, begin, 0) - first).max() for begin in begins]
    start = begins[int(np.argmin(misfit))]
    if min(misfit) > 1e-3:
        raise RunError("the synchronizer's grid cannot be made again from its samples")
    return np.concatenate([row(clean, start, i) for i in range(symbols)]).astype(np.complex64)
