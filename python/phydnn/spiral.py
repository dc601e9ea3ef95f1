# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Weights as analog symbols: Archimedes' spirals and repetition, and how they are decoded; NumPy.

A normalised weight w crosses as a point of a pair of interleaved Archimedes' spirals, one for each
sign (Jankowski, Gündüz, Mikolajczyk, "AirNet", eq. (2)-(3))::

    s(w) = sgn(w) r (cos(gamma r) + j sin(gamma r)),    r = c |w|^alpha

Neighbouring arms lie Delta = pi / gamma apart. The paper has alpha = 1, for which c = 1 gives
weights of unit variance unit power: once the power is set, Delta and gamma are one choice.
alpha < 1 pulls the many small weights apart, which the paper's law leaves as near to each other as
repetition does, and is worth 3 dB at 15 dB: our addition, after Hu, Garcia-Frias and Lamarca,
"Analog Joint Source-Channel Coding Using Non-Linear Curves and MMSE Decoding" (2011).

**Channel uses.** One complex use carries two real symbols, of average power 1/2 each; the papers
leave this open. A weight that is sent plainly takes one of them, half a use; on a spiral a use of
its own, as repetition 1:2; on nested spirals, 1:2^n, it takes 2^(n-1) uses. Repetition multiplies
all of them. N0 is the noise variance of a use, N0/2 per real symbol.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Reals = NDArray[np.floating[Any]]
Symbols = NDArray[np.complexfloating[Any, Any]]
Rule = Literal["mmse", "nearest"]
RULES: tuple[Rule, ...] = ("mmse", "nearest")

MAX_GAMMA = 32.0
MAX_EXPANSION = 4
MAX_REPEATS = 64

DESIGN = np.array([
    # Es/N0 in dB, gamma, alpha
    (-2.5, 0.0, 1.0), (0.0, 0.35, 1.0), (2.5, 0.73, 0.893), (5.0, 1.08, 0.796),
    (7.5, 1.467, 0.72), (10.0, 1.907, 0.668), (12.5, 2.451, 0.633), (15.0, 3.116, 0.611),
    (17.5, 3.963, 0.594), (20.0, 5.035, 0.583), (22.5, 6.394, 0.575), (25.0, 8.147, 0.568),
    (27.5, 10.42, 0.558), (30.0, 13.37, 0.556),
])  # fmt: skip
"""The spiral of least mean squared error at each Es/N0, for Gaussian weights and MMSE decoding."""

COLUMNS = 64
"""Steps of a decoding table from one arm to the next."""
ROWS_PER_ARM = 8
MAX_ROWS = 4096
REACH = 12.0
"""The largest weight that a table knows, in standard deviations; larger ones are extrapolated."""
LEVELS_DB = (-80, 30)
"""Decoding tables are made for whole decibels of N0 in this range, as they are needed."""
TRIALS = 1 << 16


@dataclass(frozen=True)
class Spiral:
    """A pair of spirals for weights of zero mean and unit variance.

    Attributes:
        gamma: radians that the spiral turns in a unit of radius, 0 to 32; 0 for a straight line.
        alpha: exponent of the radius, 0.5 to 1.

    Raises:
        ValueError: either is out of range.
    """

    gamma: float
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= MAX_GAMMA:
            raise ValueError(f"gamma must be 0 to {MAX_GAMMA:g}, not {self.gamma}")
        if not 0.5 <= self.alpha <= 1:
            raise ValueError(f"alpha must be 0.5 to 1, not {self.alpha}")

    @property
    def delta(self) -> float:
        """The distance between neighbouring arms."""
        return math.pi / self.gamma if self.gamma else math.inf

    @property
    def scale(self) -> float:
        """c, which gives Gaussian weights of unit variance an average power of 1."""
        moment = 2**self.alpha * math.gamma(self.alpha + 0.5) / math.sqrt(math.pi)
        return float(1 / math.sqrt(moment))

    @property
    def straight(self) -> bool:
        """Whether the symbols are the weights themselves."""
        return self.gamma == 0 and self.alpha == 1

    def encode(self, weights: Reals) -> Symbols:
        """The weights' [N] points, complex [N], of twice their precision."""
        radius = self.scale * np.abs(weights) ** self.alpha
        return np.copysign(radius, weights) * np.exp(1j * self.gamma * radius)

    def nearest(self, symbols: Symbols) -> Reals:
        """The weights whose points are nearest to the symbols [N] (eq. (4))."""
        rho, theta = np.abs(symbols), np.angle(symbols)
        if self.gamma == 0:
            radius, sign = np.abs(symbols.real), np.sign(symbols.real)
        else:
            radius, sign = self._project(rho, theta)
        return sign * (radius / self.scale) ** (1 / self.alpha)

    def _project(self, rho: Reals, theta: Reals) -> tuple[Reals, Reals]:
        """The radius of the nearest point, and the sign of its arm.

        Of the arms that cross the symbol's direction, the last one inside of the symbol and the
        first one outside are tried, each by Newton's method on the squared distance.
        """
        g = self.gamma
        inner = np.floor((g * rho - theta) / np.pi)
        best = np.full_like(rho, np.inf)
        radius, sign = np.zeros_like(rho), np.ones_like(rho)
        for arm in (inner, inner + 1):
            direction = theta + np.pi * arm
            t = np.clip(direction / g, 0, None)
            for _ in range(6):
                turn = g * t - direction
                sine, cosine = g * rho * np.sin(turn), rho * np.cos(turn)
                slope = t - cosine + t * sine
                bend = 1 + 2 * sine + g * g * t * cosine
                t = np.clip(t - slope / np.maximum(bend, 0.5), 0, None)
            distance = t * t - 2 * rho * t * np.cos(g * t - direction)
            nearer = distance < best
            best = np.where(nearer, distance, best)
            radius = np.where(nearer, t, radius)
            sign = np.where(nearer, 1 - 2 * np.mod(arm, 2), sign)
        return radius, sign

    def mmse(self, symbols: Symbols, n0: ArrayLike) -> Reals:
        """The means of Gaussian weights given what was received: E[w | s(w) + noise].

        They are looked up, with linear interpolation, in a table for N0 to the nearest decibel.

        Args:
            symbols: complex [N].
            n0: noise variance, a number or real [N], 0 or more; infinite where nothing came.
        """
        variances = np.broadcast_to(np.asarray(n0, float), symbols.shape)
        if self.straight:
            return symbols.real / (1 + variances / 2)
        levels, found = _levels(variances), np.zeros(symbols.shape)
        for level in np.unique(levels[np.isfinite(variances)]):
            at = (levels == level) & np.isfinite(variances)
            found[at] = _table(self, int(level)).look_up(symbols[at])
        return found

    def distortion(self, n0: ArrayLike) -> Reals:
        """Mean squared error of :meth:`mmse` for Gaussian weights, as ``n0``; 1 where nothing came.

        Args:
            n0: noise variance, a number or an array.
        """
        variances = np.asarray(n0, float)
        if self.straight:
            with np.errstate(divide="ignore"):
                return np.asarray(1 / (1 + 2 / variances))
        lost = np.where(np.isfinite(variances), 0.0, 1.0)
        levels = _levels(variances)
        for level in np.unique(levels[np.isfinite(variances)]):
            at = (levels == level) & np.isfinite(variances)
            table = _table(self, int(level))
            # Below the table's own noise, only what moves along an arm is left.
            lost[at] = table.distortion * np.minimum(1, variances[at] / table.n0)
        return lost


def spiral_for(snr_db: float, alpha: float | None = None) -> Spiral:
    """The spiral for an Es/N0 in dB: below -2.5 dB a straight line, above 30 dB that of 30 dB.

    Args:
        snr_db: Es/N0.
        alpha: 1 for the paper's law, with the gamma that is best for it; None for the best alpha.
    """
    if alpha == 1:
        return Spiral(float(np.interp(snr_db, PAPER_DESIGN[:, 0], PAPER_DESIGN[:, 1])))
    gamma, alpha = (float(np.interp(snr_db, DESIGN[:, 0], DESIGN[:, i])) for i in (1, 2))
    return Spiral(gamma, alpha)


PAPER_DESIGN = np.array([
    (-2.5, 0.0), (0.0, 0.35), (5.0, 0.95), (10.0, 1.75), (15.0, 2.9), (20.0, 4.8), (25.0, 8.0),
    (30.0, 13.3),
])  # fmt: skip
"""As :data:`DESIGN`, with alpha = 1."""


@dataclass(frozen=True)
class _Table:
    """Posterior means on a grid of radius, from 0, and angle behind an arm, over half a turn.

    Along the arms and across them the mean is smooth in these coordinates, and half a turn on it
    is the same with the other sign.
    """

    spiral: Spiral
    n0: float
    step: float
    means: NDArray[np.float64]
    distortion: float

    def look_up(self, symbols: Symbols) -> NDArray[np.float64]:
        rows, columns = np.subtract(self.means.shape, 1)
        rho = np.abs(symbols)
        turns = (np.angle(symbols) - self.spiral.gamma * rho) / np.pi
        half = np.floor(turns)
        across = (turns - half) * columns
        j = np.minimum(across.astype(np.int64), columns - 1)
        across -= j
        along = np.minimum(rho / self.step, rows)
        i = np.minimum(along.astype(np.int64), rows - 1)
        along -= i
        m = self.means
        low = m[i, j] + across * (m[i, j + 1] - m[i, j])
        high = m[i + 1, j] + across * (m[i + 1, j + 1] - m[i + 1, j])
        mean = low + along * (high - low)
        beyond = np.maximum(1, rho / (self.step * rows))
        return (1 - 2 * np.mod(half, 2)) * mean * beyond


def _levels(n0: Reals) -> NDArray[np.int64]:
    with np.errstate(divide="ignore"):
        decibels = 10 * np.log10(n0)
    return np.rint(np.clip(decibels, *LEVELS_DB)).astype(np.int64)


@functools.lru_cache(maxsize=256)
def _table(spiral: Spiral, level: int) -> _Table:
    n0, g, c, alpha = 10 ** (level / 10), spiral.gamma, spiral.scale, spiral.alpha
    # Where arms are never confused, less noise would change nothing but the quadrature's cost.
    n0 = max(n0, 2 * (min(spiral.delta, 1.0) / 24) ** 2)
    sigma = math.sqrt(n0 / 2)
    reach, top = c * REACH**alpha + 3 * sigma, c * (REACH + 2) ** alpha
    rows = min(math.ceil(reach / min(spiral.delta / ROWS_PER_ARM, 0.08)), MAX_ROWS)
    step = reach / rows
    angles = np.linspace(0, np.pi, COLUMNS + 1)
    means = np.zeros((rows + 1, COLUMNS + 1))
    ring = np.full(COLUMNS + 1, np.pi / COLUMNS)
    ring[[0, -1]] /= 2
    distortion = 0.0
    for i in range(rows + 1):
        rho = i * step
        # The midpoint rule over the arms' radii: exact, at 0.8 of a standard deviation, to 1e-6.
        low, high = max(0.0, rho - 6 * sigma), min(rho + 6 * sigma, top)
        low = min(low, top - 6 * sigma) if top > 6 * sigma else 0.0
        speed = math.hypot(1, g * high)
        count = max(32, math.ceil((high - low) * speed / (0.8 * min(sigma, 0.5))))
        width = (high - low) / count
        t = low + (np.arange(count) + 0.5) * width
        w = (t / c) ** (1 / alpha)
        prior = -w * w / 2 + np.log(w / (alpha * t) * width / math.sqrt(2 * math.pi))
        common = prior - (rho * rho + t * t) / n0
        apart = (2 * rho * t / n0) * np.cos(angles[:, None] + g * (rho - t))
        largest = (common + np.abs(apart)).max(1, keepdims=True)
        plus, minus = np.exp(common + apart - largest), np.exp(common - apart - largest)
        total = (plus + minus).sum(1)
        means[i] = (plus - minus) @ w / total
        spread = (plus + minus) @ (w * w) / total - means[i] ** 2
        density = total * np.exp(largest[:, 0]) / (math.pi * n0)
        distortion += 2 * step * rho * float(ring @ (density * spread))
    return _Table(spiral, n0, step, means, distortion)


@dataclass(frozen=True)
class LayerCode:
    """How the weights of one layer cross.

    The layer's real symbols, copy after copy and in each weight after weight, fill channel uses of
    its own, real part first; an odd one out leaves the last imaginary part 0.

    Attributes:
        spirals: the nested ones, the first on the weights and each next on both parts of the one
            before: an expansion of 1:2^n for n of them, none for plain symbols.
        repeats: how often all of it is sent, 1 to 64.
        amplitude: of the symbols, 0.001 to 1000; their average power is its square.

    Raises:
        ValueError: one of them is out of range.
    """

    spirals: tuple[Spiral, ...] = ()
    repeats: int = 1
    amplitude: float = 1.0

    def __post_init__(self) -> None:
        if len(self.spirals) > MAX_EXPANSION:
            raise ValueError(f"at most {MAX_EXPANSION} spirals nest, not {len(self.spirals)}")
        if not 1 <= self.repeats <= MAX_REPEATS:
            raise ValueError(f"repeats must be 1 to {MAX_REPEATS}, not {self.repeats}")
        if not 1e-3 <= self.amplitude <= 1e3:
            raise ValueError(f"amplitude must be 0.001 to 1000, not {self.amplitude}")

    @property
    def reals(self) -> int:
        """Real symbols a weight."""
        return self.repeats << len(self.spirals)

    def uses(self, count: int) -> int:
        """Channel uses that ``count`` weights take."""
        return -(-count * self.reals // 2)

    def encode(self, weights: Reals) -> NDArray[np.complex64]:
        """Symbols of weights of unit variance.

        Args:
            weights: real [N].

        Returns:
            complex64 [uses(N)].
        """
        values = np.asarray(weights, float).reshape(-1, 1) / math.sqrt(2)
        for spiral in self.spirals:
            points = spiral.encode(math.sqrt(2) * values)
            values = np.stack([points.real, points.imag], -1).reshape(
                len(values), 2 * values.shape[1]
            )
        values = np.tile(self.amplitude * values.ravel(), self.repeats)
        return np.append(values, np.zeros(len(values) % 2)).view(complex).astype(np.complex64)

    def decode(
        self, symbols: Symbols, n0: ArrayLike, count: int, rule: Rule = "mmse"
    ) -> NDArray[np.float32]:
        """The weights, of unit variance, from what was received of them.

        Copies are averaged by the noise that each had (maximum ratio combining; a plain average
        where it was the same). A nested spiral's estimate, less the prior in it, counts as a noisy
        reception for the one before.

        Args:
            symbols: complex [uses(count)].
            n0: noise variance, a number or real [uses(count)]; infinite where nothing came, in
                which case the symbol does not matter.
            count: of the weights.
            rule: "mmse" for the posterior mean under a Gaussian prior of unit variance, "nearest"
                for the nearest point (eq. (4)), which shrinks nothing.

        Returns:
            float32 [count]; 0, the prior's mean, where nothing came.

        Raises:
            ValueError: the sizes disagree, or there is no such rule.
        """
        if rule not in RULES:
            raise ValueError(f"rule must be mmse or nearest, not {rule!r}")
        if len(symbols) != self.uses(count):
            raise ValueError(f"{count} weights take {self.uses(count)} uses, not {len(symbols)}")
        weight, variances = self._copies(n0, count)
        values = np.asarray(symbols, complex).view(float)[: weight.size].reshape(weight.shape)
        values = np.where(weight > 0, values, 0) * weight
        heard, total = np.isfinite(variances), weight.sum(0)
        values = np.divide(values.sum(0), total, out=np.zeros(total.shape), where=heard)
        values *= math.sqrt(2) / self.amplitude
        # Now each value is one of unit variance, and noise of the variance beside it.
        for level, spiral in enumerate(reversed(self.spirals)):
            points = (values[:, 0::2] + 1j * values[:, 1::2]) / math.sqrt(2)
            noise = (variances[:, 0::2] + variances[:, 1::2]) / 2
            if rule == "nearest":
                values = np.where(np.isfinite(noise), spiral.nearest(points), 0)
                variances = noise
                continue
            values, left = spiral.mmse(points, noise), spiral.distortion(noise)
            if level == len(self.spirals) - 1:
                return values[:, 0].astype(np.float32)
            known = np.maximum(1 - left, 1e-9)
            values = values / known
            variances = np.where(left < 1, left / known, np.inf)
        if rule == "mmse":
            values = values / (1 + variances)
        return values[:, 0].astype(np.float32)

    def _copies(self, n0: ArrayLike, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The weight of each copy [repeats, count, reals], and the variance of their average."""
        shape = (self.repeats, count, self.reals // self.repeats)
        variances = np.broadcast_to(np.asarray(n0, float), self.uses(count)) / self.amplitude**2
        variances = np.repeat(variances, 2)[: math.prod(shape)].reshape(shape)
        # Without noise one copy is as good as all: the smallest variance keeps the sums finite.
        weight = 1 / np.maximum(variances, 1e-12)
        total = weight.sum(0)
        left = np.divide(1, total, out=np.full(total.shape, np.inf), where=total > 0)
        return weight, left

    def noise_met(self, n0: ArrayLike, count: int) -> float:
        """:meth:`noise_variance` of weights that were received with such noise, all together.

        It is what the decoder reckons with. Nested spirals, whose errors are no Gaussian noise, can
        leave half as much again.

        Args:
            n0: noise variance, a number or real [uses(count)]; infinite where nothing came.
            count: of the weights.

        Returns:
            the variance; infinite where nothing came of any weight.
        """
        if np.ndim(n0) == 0:
            count = 1
        _, variances = self._copies(n0, count)
        for spiral in reversed(self.spirals):
            left = spiral.distortion((variances[:, 0::2] + variances[:, 1::2]) / 2)
            variances = np.where(left < 1, left / np.maximum(1 - left, 1e-9), np.inf)
        kept = float(np.mean(1 / (1 + variances)))
        return 1 / kept - 1 if kept > 0 else math.inf

    def distortion(self, snr_db: float, rule: Rule = "mmse") -> float:
        """Mean squared error of Gaussian weights over AWGN, 1 / SDR; theirs is a variance of 1.

        Args:
            snr_db: Es/N0 of symbols of power 1.
            rule: of the decoder.
        """
        return _distortion(self, float(snr_db), rule)

    def noise_variance(self, snr_db: float) -> float:
        """The white noise on a weight of unit variance that does as much harm as the channel.

        A training that adds noise of this variance to its normalised weights w, and shrinks the sum
        by 1 / (1 + variance) as the MMSE decoder does, has the errors that the channel leaves.
        """
        lost = self.distortion(snr_db)
        return lost / (1 - lost)


@functools.lru_cache(maxsize=4096)
def _distortion(code: LayerCode, snr_db: float, rule: Rule) -> float:
    if not code.spirals and rule == "mmse":
        return 1 / (1 + code.repeats * code.amplitude**2 * 10 ** (snr_db / 10))
    rng = np.random.default_rng(0)
    weights, n0 = rng.standard_normal(TRIALS), 10 ** (-snr_db / 10)
    symbols = code.encode(weights)
    noise = rng.standard_normal((len(symbols), 2)).view(complex)[:, 0] * math.sqrt(n0 / 2)
    found = code.decode(symbols + noise, n0, TRIALS, rule)
    return float(np.mean((found - weights) ** 2))


def code_for(
    snr_db: float, expansion: int = 0, repeats: int = 1, alpha: float | None = None
) -> LayerCode:
    """The code of unit amplitude for an Es/N0, with spirals chosen for it.

    Of nested spirals the later ones, whose errors the earlier ones cannot tell, are chosen for 3 dB
    less, and the earlier ones for the noise that these leave.

    Args:
        snr_db: Es/N0 in dB.
        expansion: n of 1:2^n, 0 for plain symbols, at most 4.
        repeats: copies, 1 to 64.
        alpha: 1 for the paper's law; None for the best.

    Raises:
        ValueError: a number is out of range.
    """
    if not 0 <= expansion <= MAX_EXPANSION:
        raise ValueError(f"expansion must be 0 to {MAX_EXPANSION}, not {expansion}")
    n0 = 10 ** (-snr_db / 10) / repeats
    spirals: tuple[Spiral, ...] = ()
    for level in range(expansion, 0, -1):
        effective = -10 * math.log10(n0) - (0 if level == 1 else 3)
        spirals = (spiral_for(effective, alpha), *spirals)
        left = float(spirals[0].distortion(n0))
        n0 = left / (1 - left)
    return LayerCode(spirals, repeats)
