# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Channel state: what a frame's pilots see of a channel, and the estimators without a network.

A frame's channel state is complex [DMRS, subcarriers], at the rows of its resource grid that hold
pilots, from the lowest used subcarrier to the highest. Least squares (LS) gives it with noise of
variance N0 on each value. Here are the channels to try estimators on, simulated on the grid, and
the estimators to compare a denoiser with; the networks are in :mod:`phydnn.denoisers`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phydnn.bundle import GOLDEN_BATCH, BaseBundle, BundleError, Graph, Spec
from phydnn.channels import ChannelSpec
from phydnn.errors import InputError
from phydnn.waveform import FFT, HEADER_SYMBOLS, PILOT_SPACING, PREFIX, SAMPLE_RATE, USED

SYMBOL_S = (FFT + PREFIX) / SAMPLE_RATE
"""Seconds of an OFDM symbol with its prefix."""
MARGIN = 12
TAPS = 88
"""The delays that a denoiser looks at: ``-MARGIN`` to ``TAPS - MARGIN - 1`` samples, which is more
than the prefix, since a little energy may come later than the prefix protects."""
FINE = 4
"""Points a sample on the grid of delays on which a frame's statistics are read."""
SHIFTS = 128
"""Points on its grid of Doppler shifts, which spans what DMRS at their spacing can tell apart."""
LONGEST_FRAME = 12
"""DMRS of the longest frames that the networks are trained on."""
SINUSOIDS = 16
"""Of each path with Doppler."""
CFO_HZ_0DB = 240.0
"""What the synchronizer's carrier offset estimate leaves over at 0 dB (rms; docs/waveform.md)."""

# 3GPP TR 38.901, tables 7.7.2-1 and 7.7.2-3: delays over the rms delay spread, and powers in dB.
TDL: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "tdl-a": (
        (0, 0.3819, 0.4025, 0.5868, 0.4610, 0.5375, 0.6708, 0.5750, 0.7618, 1.5375, 1.8978, 2.2242,
         2.1718, 2.4942, 2.5119, 3.0582, 4.0810, 4.4579, 4.5695, 4.7966, 5.0066, 5.3043, 9.6586),
        (-13.4, 0, -2.2, -4, -6, -8.2, -9.9, -10.5, -7.5, -15.9, -6.6, -16.7, -12.4, -15.2, -10.8,
         -11.3, -12.7, -16.2, -18.3, -18.9, -16.6, -19.9, -29.7),
    ),
    "tdl-c": (
        (0, 0.2099, 0.2219, 0.2329, 0.2176, 0.6366, 0.6448, 0.6560, 0.6584, 0.7935, 0.8213, 0.9336,
         1.2285, 1.3083, 2.1704, 2.7105, 4.2589, 4.6003, 5.4902, 5.6077, 6.3065, 6.6374, 7.0427,
         8.6523),
        (-4.4, -1.2, -3.5, -5.2, -2.5, 0, -2.2, -3.9, -7.4, -7.1, -10.7, -11.1, -5.1, -6.8, -8.7,
         -13.2, -13.9, -13.9, -15.8, -17.1, -16, -15.7, -21.6, -22.8),
    ),
}  # fmt: skip


def tdl(name: str, spread_s: float, doppler_hz: float = 0.0) -> ChannelSpec:
    """A 3GPP tapped delay line (TR 38.901) scaled to an rms delay spread.

    Args:
        name: "tdl-a" or "tdl-c".
        spread_s: rms delay spread in seconds.
        doppler_hz: largest Doppler shift; 0 for fades that stand still in a frame.
    """
    delays, powers = TDL[name]
    amplitudes = 10 ** (np.array(powers) / 20)
    amplitudes /= math.sqrt(float((amplitudes**2).sum()))
    return ChannelSpec(
        "tdl",
        "doppler" if doppler_hz else "frame",
        delays=tuple(float(delay * spread_s) for delay in delays),
        gains=tuple(complex(amplitude) for amplitude in amplitudes),
        doppler_hz=doppler_hz,
    )


@dataclass(frozen=True)
class Paths:
    """A channel's statistics, as an LMMSE estimator would have to know them.

    Attributes:
        delays: of the paths in samples, float [L].
        powers: mean powers, float [L], 1 in sum.
        k_factors: line-of-sight over scattered power of each path, float [L].
        doppler_hz: largest Doppler shift; 0 for fades that stand still in a frame.
    """

    delays: NDArray[np.float64]
    powers: NDArray[np.float64]
    k_factors: NDArray[np.float64]
    doppler_hz: float = 0.0

    @classmethod
    def of(cls, spec: ChannelSpec) -> Paths:
        """The statistics of a channel that fades or stands still, its power scaled to 1."""
        delays = np.array(spec.delays or (0.0,)) * SAMPLE_RATE
        powers = np.abs(np.array(spec.gains or (1.0,))) ** 2
        fades = spec.model != "awgn" and spec.fading != "static"
        k = np.array(spec.k_factors or (0.0,) * len(delays)) if fades else np.full(len(delays), 1e9)
        return cls(delays, powers / powers.sum(), k, spec.doppler_hz)

    def spread(self) -> float:
        """Samples from the first path to where 97% of the power has come."""
        order = np.argsort(self.delays)
        total = np.cumsum(self.powers[order])
        at = order[min(int(np.searchsorted(total, 0.97)), len(order) - 1)]
        return float(self.delays[at] - self.delays.min())


def subcarriers() -> NDArray[np.float64]:
    """Indices of the used subcarriers, from the lowest frequency; the carrier, 0, is not used."""
    half = USED // 2
    return np.concatenate([np.arange(-half, 0), np.arange(1, half + 1)]).astype(np.float64)


def pilot_rows(uses: int) -> NDArray[np.int64]:
    """Rows of the resource grid that hold pilots, in a frame of so many channel uses."""
    data = -(-uses // USED)
    inner = np.arange(1, -(-data // PILOT_SPACING))
    last = data + len(inner) + 2 + HEADER_SYMBOLS - 1
    return np.concatenate([[0], HEADER_SYMBOLS + inner * (PILOT_SPACING + 1), [last]])


def steering(delays: NDArray[Any]) -> NDArray[np.complex128]:
    """The response of paths of unit gain at delays in samples: [subcarriers, delays]."""
    return np.exp(-2j * np.pi / FFT * np.outer(subcarriers(), delays))


@dataclass(frozen=True)
class Frames:
    """Simulated frames of equal length.

    Attributes:
        truth, ls: the channel and its least-squares estimate, complex64 [B, DMRS, subcarriers].
        n0: noise variance per subcarrier, float32 [B].
        n0_estimate: what the receiver makes of it, float32 [B].
        rows: of the DMRS in the resource grid, float32 [DMRS].
        delay: of the first path after the FFT's window was placed, in samples, float64 [B].
        turn_hz: leftover carrier offset, float64 [B].
    """

    truth: NDArray[np.complex64]
    ls: NDArray[np.complex64]
    n0: NDArray[np.float32]
    n0_estimate: NDArray[np.float32]
    rows: NDArray[np.float32]
    delay: NDArray[np.float64]
    turn_hz: NDArray[np.float64]


def simulate(
    channels: Sequence[Paths],
    snr_db: NDArray[np.float64],
    uses: int,
    rng: np.random.Generator,
    *,
    synchronised: bool = True,
) -> Frames:
    """A frame of each channel, as the receiver's estimator sees it.

    The FFT's window stands where the synchronizer would put it, the channel's span in the middle of
    the prefix, up to 4 samples off and at a random fraction of a sample; the carrier offset is what
    the synchronizer leaves over, and the phase is random. Interference between symbols by paths
    that come later than the prefix protects is left out.

    Args:
        channels: of each frame, [B].
        snr_db: mean Es/N0 of each frame, [B].
        uses: channel uses of a frame, which say how many DMRS there are.
        rng: all that is random.
        synchronised: false puts the window anywhere that the prefix covers instead.
    """
    rows = pilot_rows(uses)
    count, most = len(channels), max(len(paths.delays) for paths in channels)
    delays, powers, k = np.zeros((3, count, most))
    for i, paths in enumerate(channels):
        size = len(paths.delays)
        delays[i, :size], powers[i, :size] = paths.delays - paths.delays.min(), paths.powers
        k[i, :size] = paths.k_factors
    doppler = np.array([paths.doppler_hz for paths in channels])
    room = np.array([max(0.0, PREFIX - paths.spread()) for paths in channels])
    place = 0.5 if synchronised else rng.random(count)
    delay = place * room + rng.uniform(-4, 4, count)
    n0 = 10 ** (-snr_db / 10)
    turn_hz = rng.normal(0, CFO_HZ_0DB, count) * np.sqrt(n0)

    gains = _scattered(doppler, rows * SYMBOL_S, most, rng)
    gains = (np.sqrt(k)[:, None] + gains) * np.sqrt(powers / (k + 1))[:, None]
    common = np.exp(2j * np.pi * (np.outer(turn_hz, rows * SYMBOL_S) + rng.random((count, 1))))
    angle = (-2 * np.pi / FFT) * (delays + delay[:, None])
    response = np.exp(1j * angle[:, :, None] * subcarriers()).astype(np.complex64)
    truth = (gains * common[:, :, None]).astype(np.complex64) @ response
    noise = rng.standard_normal((*truth.shape, 2), np.float32).view(np.complex64)[..., 0]
    ls = truth + noise * np.sqrt(n0 / 2).astype(np.float32)[:, None, None]
    return Frames(
        truth,
        ls,
        n0.astype(np.float32),
        estimate_n0(ls),
        rows.astype(np.float32),
        delay,
        turn_hz,
    )


def _scattered(
    doppler: NDArray[np.float64],
    times: NDArray[np.float64],
    paths: int,
    rng: np.random.Generator,
) -> NDArray[np.complex128]:
    """Gains of unit power [B, times, paths] with Jakes' spectrum; constant where it is 0 Hz."""
    shape = (len(doppler), paths, SINUSOIDS)
    shifts = 2 * np.pi * doppler[:, None, None] * np.cos(rng.uniform(0, 2 * np.pi, shape))
    weights = rng.standard_normal((*shape, 2)).view(np.complex128)[..., 0]
    weights /= math.sqrt(2 * SINUSOIDS)
    waves: NDArray[np.complex128] = np.exp(1j * shifts[:, None] * times[:, None, None])
    return np.einsum("btps,bps->btp", waves, weights)


@functools.cache
def _window() -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """The delay window of the block csi_estimator: from LS to taps, and from taps to H."""
    margin = max(2, PREFIX // 5)
    taps = (PREFIX + 2 * margin + 7) // 8 * 8
    f = steering(np.arange(taps) - margin)
    gram = f.conj().T @ f + 1e-4 * USED * np.eye(taps)
    return np.linalg.solve(gram, f.conj().T).T.astype(np.complex64), f.T.astype(np.complex64)


def window(ls: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """DFT denoising: what of an LS estimate lies in the delays that the prefix admits.

    Twin of the kernel ``delay_window``; complex64 [..., subcarriers].
    """
    to_taps, to_response = _window()
    return ls @ to_taps @ to_response


def estimate_n0(ls: NDArray[np.complex64]) -> NDArray[np.float32]:
    """The noise variance that the receiver estimates: what :func:`window` leaves over.

    Twin of the kernel ``csi_estimator``; float32 [B] of [B, DMRS, subcarriers].
    """
    rest = (ls.conj() * (ls - window(ls))).real.sum((1, 2))
    taps = _window()[0].shape[1]
    return np.maximum(rest / (ls.shape[1] * (USED - taps)), 1e-12).astype(np.float32)


def lmmse(
    ls: NDArray[np.complex64],
    paths: Paths,
    n0: NDArray[np.float32],
    delay: NDArray[np.float64] | None = None,
    rows: NDArray[np.float32] | None = None,
    turn_hz: NDArray[np.float64] | None = None,
) -> NDArray[np.complex64]:
    """The linear estimate of least error for a channel's statistics (Edfors et al. 1998).

    Without ``rows`` each DMRS is estimated from its own subcarriers. With them all DMRS of the
    frame are, by the paths' time correlation too: Jakes' J0 of the Doppler shift, after the
    carrier offset ``turn_hz`` is taken back. A line of sight counts as scattered power.

    Args:
        ls: complex64 [B, DMRS, subcarriers].
        paths: statistics, of which the delays count from the first path.
        n0: noise variance, [B].
        delay: of the first path in samples, [B]; None for 0.
        rows: of the DMRS in the resource grid, [DMRS].
        turn_hz: carrier offset in Hz, [B]; None for 0.
    """
    from scipy.special import j0

    delay = np.zeros(len(ls)) if delay is None else delay
    turn_hz = np.zeros(len(ls)) if turn_hz is None else turn_hz
    f = steering(paths.delays - paths.delays.min()) * np.sqrt(paths.powers)
    # The covariance F F^H by its own directions: at most as many as there are paths.
    u, s, _ = np.linalg.svd(f, full_matrices=False)
    times = np.zeros(ls.shape[1]) if rows is None else rows.astype(np.float64) * SYMBOL_S
    waves = np.outer(turn_hz, times)[:, :, None] - np.outer(delay, subcarriers() / FFT)[:, None]
    turned = np.exp(2j * np.pi * waves)
    seen = (ls * turned.conj()) @ u.conj()
    if rows is None:
        power = s**2 / (s**2 + n0[:, None, None])
        return ((seen * power) @ u.T * turned).astype(np.complex64)
    correlation = j0(2 * np.pi * paths.doppler_hz * (times[:, None] - times))
    strength, modes = np.linalg.eigh(correlation)
    power = np.maximum(strength, 0)[:, None] * s**2
    weighed = (modes.T @ seen) * (power / (power + n0[:, None, None]))
    return (modes @ weighed @ u.T * turned).astype(np.complex64)


def delay_grid(fine: int) -> NDArray[np.float64]:
    """Delays in samples, so many points a sample."""
    return np.arange(fine * TAPS) / fine - MARGIN


def shift_grid() -> NDArray[np.float32]:
    """Doppler shifts in radians a symbol, [SHIFTS]."""
    points = np.arange(SHIFTS) / SHIFTS - 0.5
    return (2 * np.pi / (PILOT_SPACING + 1) * points).astype(np.float32)


def subcarrier_phases() -> NDArray[np.float32]:
    """Radians by which a delay of one sample turns each subcarrier back, [subcarriers]."""
    return (2 * np.pi / FFT * subcarriers()).astype(np.float32)


@functools.cache
def basis() -> tuple[NDArray[np.complex128], NDArray[np.float32], NDArray[np.float32]]:
    """An orthonormal basis of the responses with delays on :func:`delay_grid`, [subcarriers, D].

    And its products with the grid's steering vectors of unit length, [D, FINE x TAPS], which are
    real, since the subcarriers lie symmetrically about the carrier: as they are, and tapered by a
    Hann window, through which a strong path hides no weak one.
    """
    f0, f = steering(delay_grid(1)), steering(delay_grid(FINE))
    strength, directions = np.linalg.eigh((f0.conj().T @ f0).real)
    kept = strength > 1e-3 * strength.max()
    q = f0 @ (directions[:, kept] / np.sqrt(strength[kept]))
    taper = np.cos(np.pi * subcarriers() / (USED + 2)) ** 2
    taper /= np.linalg.norm(taper)
    plain, tapered = (q.conj().T @ f).real, (q.conj().T @ (taper[:, None] * f)).real
    return q, (plain / math.sqrt(USED)).astype(np.float32), tapered.astype(np.float32)


def wiener(
    ls: NDArray[np.complex64],
    n0: float,
    rows: NDArray[np.float32],
    offset: float,
    turn: float,
    profile: NDArray[np.float32],
    spectrum: NDArray[np.float32],
) -> NDArray[np.complex64]:
    """The linear estimate of least error for statistics on the grids.

    The covariance is that of the DMRS, ``spectrum``'s Fourier transform, times that of the
    subcarriers, ``profile``'s: along each eigenvector of the first, one filter over the second.

    Args:
        ls: one frame's, complex64 [DMRS, subcarriers].
        n0: noise variance.
        rows: of the DMRS in the resource grid, [DMRS].
        offset: by which the delays lie beside the grid, in samples.
        turn: by which the shifts do, in radians a symbol.
        profile: power of each of :func:`delay_grid` over the noise, [FINE x TAPS].
        spectrum: share of each of :func:`shift_grid`, [SHIFTS].
    """
    q, grid = _basis_32()
    angle = (offset * subcarrier_phases())[None] - (turn * rows)[:, None]
    turned = np.exp(1j * angle.astype(np.float32))
    seen = (ls * turned / math.sqrt(n0)) @ q.conj()
    over_delay = ((grid * profile) @ grid.T).astype(np.float64)
    waves = np.exp(1j * np.outer(rows, shift_grid()))
    strength, modes = np.linalg.eigh((waves * spectrum) @ waves.conj().T)
    # Along each mode over the DMRS the signal is y - z, where (strength D + 1) z = y.
    kept = strength > 1e-7 * strength[-1]
    y = modes[:, kept].conj().T @ seen
    noisy = strength[kept, None, None] * over_delay + np.eye(len(over_delay))
    z = np.linalg.solve(noisy, np.stack([y.real, y.imag], 2))
    refined = modes[:, kept] @ (y - (z[..., 0] + 1j * z[..., 1]))
    back = refined.astype(np.complex64) @ q.T * turned.conj()
    return (back * math.sqrt(n0)).astype(np.complex64)


@functools.cache
def _basis_32() -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    q, grid, _ = basis()
    return q.astype(np.complex64), grid


def uniform_profile() -> Paths:
    """The statistics of a receiver that knows none: any delay of the prefix, equally likely."""
    size = 4 * PREFIX
    return Paths(np.linspace(0, PREFIX, size), np.full(size, 1 / size), np.zeros(size))


def mse(estimate: NDArray[np.complex64], truth: NDArray[np.complex64]) -> NDArray[np.float64]:
    """Mean squared error of each frame, [B]; the channels' mean power is 1."""
    error = np.abs(estimate.astype(np.complex128) - truth) ** 2
    mean: NDArray[np.float64] = error.mean((1, 2))
    return mean


WAVEFORM = {"fft": FFT, "prefix": PREFIX, "used": USED, "pilot_spacing": PILOT_SPACING}
"""The dimensions of ``wide``, the only ones that denoisers are made for so far."""
GRAPHS = {"wiener": "statistics.onnx", "adnet": "adnet.onnx"}
"""The graph of each network in a bundle."""


class CsiBundle(BaseBundle):
    """Channel state denoisers: the fast one's statistics, and ADNet."""

    SYSTEM = "csi"
    COMPUTES = tuple(GRAPHS.values())

    @property
    def bypass_db(self) -> float:
        """Estimated Es/N0 above which the network is not asked, unless told otherwise."""
        return float(self.meta["bypass_db"])

    def graph_path(self, network: str) -> Path:
        """The graph of "wiener" or "adnet".

        Raises:
            InputError: there is no such network.
        """
        if network not in GRAPHS:
            raise InputError(f"there is no network '{network}': choose {' or '.join(GRAPHS)}")
        return self.path / GRAPHS[network]

    def check_waveform(self, fft: int, prefix: int, used: int, pilot_spacing: int) -> None:
        """Holds a waveform's dimensions against the bundle's.

        Raises:
            BundleError: the denoisers are made for others.
        """
        given = {"fft": fft, "prefix": prefix, "used": used, "pilot_spacing": pilot_spacing}
        if given != self.meta["waveform"]:
            raise BundleError(
                f"bundle {self.name} is for the waveform {self.meta['waveform']}, not {given}: "
                "use the waveform 'wide', or no denoiser"
            )

    def graphs(self) -> list[Graph]:
        """The statistics, and ADNet."""
        grid: Spec = {"ls": ((None, USED, 2), np.float32), "n0": ((), np.float32)}
        return [
            Graph(
                "statistics.onnx",
                {**grid, "rows": ((None,), np.float32)},
                {
                    "offset": ((), np.float32),
                    "turn": ((), np.float32),
                    "profile": ((FINE * TAPS,), np.float32),
                    "spectrum": ((SHIFTS,), np.float32),
                },
            ),
            Graph("adnet.onnx", grid, {"refined": ((None, USED, 2), np.float32)}),
        ]

    def golden_spec(self) -> Spec:
        """Four frames, what the graphs answer, and ``wiener``, what the statistics make of ``ls``.

        ``ls``, ``refined`` and ``wiener`` float32 [4,DMRS,448,2], ``n0``, ``offset`` and ``turn``
        float32 [4], ``rows`` float32 [4,DMRS], ``profile`` float32 [4,FINE x TAPS], ``spectrum``
        float32 [4,SHIFTS].
        """
        shapes: dict[str, tuple[tuple[int | None, ...], type[Any]]] = {}
        for graph in self.graphs():
            shapes.update(graph.inputs)
            shapes.update(graph.outputs)
        shapes["wiener"] = shapes["refined"]
        return {name: ((GOLDEN_BATCH, *shape), dtype) for name, (shape, dtype) in shapes.items()}


def as_parts(values: NDArray[np.complexfloating[Any, Any]]) -> NDArray[np.float32]:
    """Complex [...] as real and imaginary parts, float32 [..., 2]."""
    pairs = np.ascontiguousarray(values, np.complex64).view(np.float32)
    return pairs.reshape(*values.shape, 2)


def refine(
    session: Any, ls: NDArray[np.complex64], n0: float, rows: NDArray[np.float32]
) -> NDArray[np.complex64]:
    """One frame's estimates, refined by a graph of a bundle: complex64 [DMRS, subcarriers].

    A frame of more DMRS than the networks were trained on is taken in parts.

    Args:
        session: of ONNX Runtime, of one of :data:`GRAPHS`.
        ls: least-squares estimates, complex64 [DMRS, subcarriers].
        n0: noise variance.
        rows: of the DMRS in the resource grid, float32 [DMRS].
    """
    if len(rows) > LONGEST_FRAME:
        parts = np.array_split(np.arange(len(rows)), -(-len(rows) // LONGEST_FRAME))
        return np.concatenate([refine(session, ls[part], n0, rows[part]) for part in parts])
    rows = rows - rows[0]
    feed = {"ls": as_parts(ls)[None], "n0": np.array([n0], np.float32), "rows": rows[None]}
    answers = session.run(None, {node.name: feed[node.name] for node in session.get_inputs()})
    if len(answers) > 1:
        offset, turn, profile, spectrum = (answer[0] for answer in answers)
        return wiener(ls, n0, rows, float(offset), float(turn), profile, spectrum)
    refined: NDArray[np.complex64] = np.ascontiguousarray(answers[0][0]).view(np.complex64)[..., 0]
    return refined
