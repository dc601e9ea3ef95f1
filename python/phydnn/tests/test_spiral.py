# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Spirals and repetition: geometry, optimality, and the bars of weights over AWGN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from phydnn.spiral import DESIGN, PAPER_DESIGN, LayerCode, Spiral, code_for, spiral_for

RNG = np.random.default_rng(5)
WEIGHTS = RNG.standard_normal(1 << 15)


def noisy(symbols: NDArray[Any], snr_db: float) -> NDArray[Any]:
    noise = RNG.standard_normal((len(symbols), 2)).view(complex)[:, 0]
    return symbols + noise * math.sqrt(10 ** (-snr_db / 10) / 2)


def sdr_db(code: LayerCode, snr_db: float, rule: Any = "mmse") -> float:
    return -10 * math.log10(code.distortion(snr_db, rule))


SPIRALS = (Spiral(0.0), Spiral(0.35), Spiral(1.08, 0.8), Spiral(3.1, 0.61), Spiral(8.0, 0.57))


@pytest.mark.parametrize("spiral", SPIRALS, ids=str)
def test_spiral_is_the_papers_pair_of_unit_power(spiral: Spiral) -> None:
    """Two arms, one a half turn from the other, Delta apart; average power 1."""
    symbols = spiral.encode(WEIGHTS)
    assert np.mean(np.abs(symbols) ** 2) == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(spiral.encode(-WEIGHTS), -symbols)
    if spiral.gamma:
        radius = 1.3
        weight = (radius / spiral.scale) ** (1 / spiral.alpha)
        beyond = ((radius + spiral.delta) / spiral.scale) ** (1 / spiral.alpha)
        apart = abs(spiral.encode(np.array([weight])) - spiral.encode(np.array([-beyond])))
        assert apart[0] == pytest.approx(spiral.delta)


@pytest.mark.parametrize("spiral", SPIRALS, ids=str)
def test_nearest_is_the_nearest_point(spiral: Spiral) -> None:
    """No point of a dense grid is nearer than the one that is found, but by a hair."""
    symbols = noisy(spiral.encode(WEIGHTS[:400]), 8)
    grid = spiral.encode(np.linspace(-8, 8, 20001))
    found = np.abs(symbols - spiral.encode(spiral.nearest(symbols)))
    best = np.array([np.abs(symbol - grid).min() for symbol in symbols])
    assert (found - best).max() < 2e-3


@pytest.mark.parametrize("spiral", SPIRALS, ids=str)
@pytest.mark.parametrize("snr_db", [0, 9, 17])
def test_mmse_is_the_posterior_mean(spiral: Spiral, snr_db: float) -> None:
    """Against the integral itself, on a grid of weights."""
    n0 = 10 ** (-snr_db / 10)
    symbols = noisy(spiral.encode(WEIGHTS[:300]), snr_db)
    grid = np.linspace(-6, 6, 24001)
    exponent = -(np.abs(symbols[:, None] - spiral.encode(grid)) ** 2) / n0 - grid**2 / 2
    posterior = np.exp(exponent - exponent.max(1, keepdims=True))
    exact = posterior @ grid / posterior.sum(1)
    error = spiral.mmse(symbols, n0) - exact
    assert np.mean(error**2) < 0.01 * float(spiral.distortion(n0))


def test_decoders_know_the_limits() -> None:
    """Without noise all comes back; what never came is the prior's mean."""
    for spiral in SPIRALS:
        symbols = spiral.encode(WEIGHTS)
        np.testing.assert_allclose(spiral.nearest(symbols), WEIGHTS, atol=1e-6)
        assert np.abs(spiral.mmse(symbols, 0.0) - WEIGHTS).max() < 0.02
        assert not spiral.mmse(symbols, np.full(len(symbols), np.inf)).any()
        assert spiral.distortion(np.inf) == 1


@pytest.mark.parametrize("snr_db", range(-3, 26, 2))
def test_spiral_is_never_worse_than_repetition(snr_db: float) -> None:
    """Equal bandwidth, MMSE, gamma for the SNR; 2 dB better at 15 dB, as the paper has it, too."""
    repetition = sdr_db(code_for(snr_db, repeats=2), snr_db)
    best = sdr_db(code_for(snr_db, 1), snr_db)
    paper = sdr_db(code_for(snr_db, 1, alpha=1), snr_db)
    assert repetition == pytest.approx(10 * math.log10(1 + 2 * 10 ** (snr_db / 10)), abs=1e-9)
    assert min(best, paper) > repetition - 0.05  # what 65536 trials leave open
    if snr_db == 15:
        assert best > repetition + 6
        assert paper > repetition + 3


def test_nearest_loses_to_repetition_at_low_snr() -> None:
    """The known weakness of eq. (4), and why there is an MMSE decoder."""
    assert sdr_db(code_for(3, 1), 3, "nearest") < sdr_db(code_for(3, repeats=2), 3)
    assert sdr_db(code_for(15, 1), 15, "nearest") > sdr_db(code_for(15, repeats=2), 15) + 5


@pytest.mark.parametrize(("design", "alpha"), [(DESIGN, None), (PAPER_DESIGN, 1.0)])
@pytest.mark.parametrize("snr_db", [5.0, 10.0, 15.0])
def test_the_table_holds_the_best_spirals(design: float, alpha: float, snr_db: float) -> None:
    """A quarter more or less gamma, or another alpha, is worse, or better by a hair only."""
    n0, made = 10 ** (-snr_db / 10), spiral_for(snr_db, alpha)
    best = float(made.distortion(n0))
    for gamma in (0.75, 1.25):
        assert Spiral(made.gamma * gamma, made.alpha).distortion(n0) > best
    if alpha is None:
        for exponent in (made.alpha - 0.07, made.alpha + 0.07):
            assert Spiral(made.gamma, exponent).distortion(n0) > best


@pytest.mark.parametrize("snr_db", [0, 10, 15])
def test_nesting_beats_a_repeated_spiral(snr_db: float) -> None:
    """1:4 in the same uses: nested, repeated, and plain copies."""
    nested = sdr_db(code_for(snr_db, 2), snr_db)
    assert nested > sdr_db(code_for(snr_db, 1, repeats=2), snr_db) - 0.1
    assert nested > sdr_db(code_for(snr_db, repeats=4), snr_db)
    if snr_db == 15:
        assert nested > 34


@settings(max_examples=40, deadline=None)
@given(
    expansion=st.integers(0, 3),
    repeats=st.integers(1, 5),
    count=st.integers(0, 33),
    amplitude=st.floats(0.25, 4),
)
def test_layers_come_back(expansion: int, repeats: int, count: int, amplitude: float) -> None:
    """Any layer, any code: its uses are as counted, and no noise gives back the weights."""
    code = LayerCode(code_for(18, expansion, repeats).spirals, repeats, amplitude)
    weights = WEIGHTS[:count]
    symbols = code.encode(weights)
    assert symbols.dtype == np.complex64
    assert len(symbols) == code.uses(count) == math.ceil(count * repeats * 2**expansion / 2)
    found = code.decode(symbols, 0.0, count, "nearest")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, weights, atol=2e-3)
    assert not code.decode(symbols, np.inf, count).any()


def test_a_lost_copy_leaves_the_other() -> None:
    """A frame that never came has infinite noise: what else was sent still counts."""
    code = code_for(20, 1, repeats=2)
    symbols, n0 = noisy(code.encode(WEIGHTS), 20), np.full(code.uses(len(WEIGHTS)), 0.01)
    lost = n0.copy()
    lost[: len(n0) // 2] = np.inf
    symbols[: len(n0) // 2] = np.nan
    found = code.decode(symbols, lost, len(WEIGHTS))
    single = LayerCode(code.spirals).distortion(20)
    assert np.mean((found - WEIGHTS) ** 2) == pytest.approx(single, rel=0.2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Spiral(-1), "gamma must be 0 to 32"),
        (lambda: Spiral(math.nan), "gamma must be 0 to 32"),
        (lambda: Spiral(1, 0.3), "alpha must be 0.5 to 1"),
        (lambda: LayerCode(repeats=0), "repeats must be 1 to 64"),
        (lambda: LayerCode(amplitude=0), "amplitude must be 0.001 to 1000"),
        (lambda: LayerCode((Spiral(1),) * 5), "at most 4 spirals"),
        (lambda: code_for(0, 5), "expansion must be 0 to 4"),
        (lambda: LayerCode().decode(np.zeros(3, complex), 1.0, 8), "8 weights take 4 uses, not 3"),
        (lambda: LayerCode().decode(np.zeros(4, complex), 1.0, 8, cast(Any, "ml")), "rule must be"),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("code", "near"), [(code_for(8, 0, 3), 1e-9), (code_for(8, 1, 2), 0.05), (code_for(8, 2), 0.5)]
)
def test_noise_met_is_that_of_the_decoders_errors(code: LayerCode, near: float) -> None:
    """Of weights with as much noise everywhere, and of weights some of which did not come."""
    n0 = 10**-0.8
    assert code.noise_met(n0, 1) == pytest.approx(code.noise_variance(8), rel=near)
    count = 1 << 12
    each = np.full(code.uses(count), n0)
    assert code.noise_met(each, count) == pytest.approx(code.noise_met(n0, 1))
    # All copies of a quarter of the weights: 1 / (1 + t) is what is left of a mean of those.
    each.reshape(code.repeats, -1)[:, : code.uses(count) // code.repeats // 4] = np.inf
    left = 0.75 / (1 + code.noise_met(n0, 1))
    assert code.noise_met(each, count) == pytest.approx(1 / left - 1)
    assert code.noise_met(np.inf, 1) == math.inf
