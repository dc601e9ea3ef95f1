# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Constellations and their torch twins, against the closed forms."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from phydnn import channel, constellation
from phydnn.errors import InputError
from phydnn.results import wilson_interval

COUNT = 200_000


def psk_error(order: int, snr: float) -> float:
    """Symbol error rate of M-PSK (Proakis and Salehi, eq. 8.2-22 by Craig's integral)."""
    s = math.sin(math.pi / order) ** 2
    end = math.pi * (order - 1) / order
    return float(quad(lambda t: math.exp(-snr * s / math.sin(t) ** 2), 0, end)[0] / math.pi)


def qam_error(order: int, snr: float) -> float:
    """Symbol error rate of square M-QAM (Proakis and Salehi, eq. 4.3-30)."""
    rail = 2 * (1 - 1 / math.sqrt(order)) * norm.sf(math.sqrt(3 * snr / (order - 1)))
    return float(1 - (1 - rail) ** 2)


def simulated_errors(points: np.ndarray[Any, Any], snr_db: float, spec: str, seed: int) -> int:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, len(points), (COUNT, 1), generator=generator)
    table = torch.from_numpy(points)
    symbols, _ = channel.transmit(
        table[labels], channel.n0_of(snr_db), channel.named(spec), generator
    )
    return int((channel.hard_labels(symbols, table) != labels).sum())


def test_closed_forms_are_the_known_ones() -> None:
    assert psk_error(16, 10**1.2) == pytest.approx(0.272, abs=5e-4)
    assert psk_error(4, 10**0.4) == pytest.approx(0.109, abs=1e-3)
    assert qam_error(4, 10**0.4) == pytest.approx(psk_error(4, 10**0.4), rel=1e-6)


@pytest.mark.parametrize("snr_db", [0.0, 4.0, 8.0, 12.0, 16.0])
@pytest.mark.parametrize(
    "name,order", [("psk", 2), ("psk", 4), ("psk", 16), ("qam", 16), ("qam", 64)]
)
def test_symbol_error_rate(name: str, order: int, snr_db: float) -> None:
    exact = (psk_error if name == "psk" else qam_error)(order, 10 ** (snr_db / 10))
    errors = simulated_errors(constellation.named(name, order), snr_db, "awgn", 10 * order + 1)
    # 99.9 %: two dozen rates are tested.
    low, high = wilson_interval(errors, COUNT, 3.29)
    assert low <= exact <= high


def test_rayleigh_symbol_error_rate() -> None:
    """BPSK in flat Rayleigh fading: (1 - sqrt(g / (1 + g))) / 2 (Proakis and Salehi, 13.3-7)."""
    g = 10.0
    errors = simulated_errors(constellation.psk(2), 10.0, "rayleigh", 3)
    low, high = wilson_interval(errors, COUNT, 3.29)
    assert low <= (1 - math.sqrt(g / (1 + g))) / 2 <= high


def test_fading_power(tmp_path: Path) -> None:
    line = tmp_path / "line.json"
    line.write_text('{"delays_s": [0, 2e-7], "powers_db": [0, -6], "k_factors": [2, 0]}')
    for spec in ("rayleigh", "rician:3", "rician:0", f"tdl:{line}"):
        h = channel.named(spec)(20_000, 448, torch.Generator().manual_seed(1))
        assert float((h.abs() ** 2).mean()) == pytest.approx(1, abs=0.04)
    h = channel.named("rician:1e6")(100, 1, torch.Generator().manual_seed(1))
    torch.testing.assert_close(h.abs(), torch.ones(100, 1), atol=0.01, rtol=0)


def test_tapped_response_is_the_taps_transform(tmp_path: Path) -> None:
    """Two static paths, whole samples apart: the response is their DFT on the used subcarriers."""
    line = tmp_path / "line.json"
    line.write_text('{"delays_s": [0, 1.5e-7], "gains": [[0.8, 0], [0, 0.6]]}')
    h = channel.named(f"tdl:{line}")(2, 1000, torch.Generator())
    impulse = np.zeros(512, complex)
    impulse[[0, 3]] = 0.8, 0.6j
    used = np.fft.fft(impulse)[np.r_[-224:0, 1:225]]
    np.testing.assert_allclose(h, [used[np.arange(1000) % 448]] * 2, atol=1e-4)
    line.write_text('{"delays_s": [0], "powers_db": [0], "fading": "doppler", "doppler_hz": 5}')
    with pytest.raises(InputError, match="has no Doppler"):
        channel.named(f"tdl:{line}")


def test_equalised_noise_is_what_it_says() -> None:
    generator = torch.Generator().manual_seed(4)
    sent = torch.ones(400, 500, dtype=torch.complex64)
    received, n0 = channel.transmit(sent, channel.n0_of(10.0), channel.named("rician:5"), generator)
    ratio = ((received - sent).abs() ** 2 / n0).mean()
    assert float(ratio) == pytest.approx(1, abs=0.02)


def test_twins_agree_with_numpy() -> None:
    random = np.random.RandomState(6)
    points = constellation.unit_power(random.randn(12) + 1j * random.randn(12))
    symbols = (random.randn(50, 7) + 1j * random.randn(50, 7)).astype(np.complex64)
    n0 = random.uniform(0.01, 2, (50, 7)).astype(np.float32)
    args = torch.from_numpy(symbols), torch.from_numpy(points)
    np.testing.assert_array_equal(
        constellation.hard_labels(symbols, points), channel.hard_labels(*args).numpy()
    )
    p = constellation.posteriors(symbols, points, n0)
    np.testing.assert_allclose(p.sum(-1), 1)
    np.testing.assert_allclose(p, channel.posteriors(*args, torch.from_numpy(n0)), atol=1e-5)
    np.testing.assert_array_equal(p.argmax(-1), constellation.hard_labels(symbols, points))


@pytest.mark.parametrize("order", [2, 4, 8, 16, 64, 256])
def test_points_have_unit_power(order: int) -> None:
    points = constellation.psk(order)
    np.testing.assert_allclose(np.abs(points), 1, rtol=1e-6)
    if order in (4, 16, 64, 256):
        points = constellation.qam(order)
        assert np.mean(np.abs(points) ** 2) == pytest.approx(1, rel=1e-6)
        assert len(np.unique(points)) == order


def test_gray_neighbours_differ_in_one_bit() -> None:
    codes = constellation.gray(16)
    assert sorted(codes) == list(range(16))
    assert all(bin(a ^ b).count("1") == 1 for a, b in zip(codes, np.roll(codes, 1), strict=True))


def test_labelling_finds_a_circle() -> None:
    """Embeddings on a circle, shuffled: the best labelling puts them round the PSK in order."""
    order = np.random.RandomState(7).permutation(16)
    circle = constellation.psk(16)[order]
    embeddings = np.stack([circle.real, circle.imag], 1)
    labels = constellation.label_by_distance(embeddings, constellation.psk(16))
    assert sorted(labels) == list(range(16))
    steps = np.diff(labels[np.argsort(order)], append=labels[np.argsort(order)][0]) % 16
    assert set(steps) in ({1}, {15})


def test_bad_constellations() -> None:
    for make in (
        lambda: constellation.psk(1),
        lambda: constellation.psk(257),
        lambda: constellation.qam(8),
        lambda: constellation.named("ask", 4),
        lambda: constellation.unit_power([0, 0]),
        lambda: constellation.unit_power([1, np.nan]),
        lambda: constellation.unit_power([]),
        lambda: constellation.label_by_distance(np.zeros((3, 2)), constellation.psk(4)),
        lambda: channel.named("rician:x"),
        lambda: channel.named("rician:-1"),
        lambda: channel.named("fog"),
    ):
        with pytest.raises(InputError):
            make()
