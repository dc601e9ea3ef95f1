# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Channel estimates: the simulated frames, the estimators against theory, networks and bundle."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from phydnn import csi, denoisers, train
from phydnn.bundle import BundleError, find, open_session
from phydnn.channels import ChannelSpec
from phydnn.cli import main
from phydnn.errors import InputError
from phydnn.export_csi import export_csi
from phydnn.train.csi import CsiConfig, load_denoiser, tensors, train_csi

USES = 9000
TDL_C = csi.Paths.of(csi.tdl("tdl-c", 1e-7))
FLAT = csi.Paths.of(ChannelSpec("rayleigh"))


def frames(
    paths: csi.Paths, snr_db: float = 10.0, count: int = 60, uses: int = USES, seed: int = 1
) -> csi.Frames:
    rng = np.random.default_rng(seed)
    return csi.simulate([paths] * count, np.full(count, snr_db), uses, rng)


def db(estimate: NDArray[np.complex64], found: csi.Frames) -> float:
    return float(10 * np.log10(csi.mse(estimate, found.truth).mean()))


@pytest.mark.parametrize("name", sorted(csi.TDL))
def test_delay_lines_have_the_spread_that_they_are_scaled_to(name: str) -> None:
    spec = csi.tdl(name, 1e-7)
    delays, powers = np.array(spec.delays), np.abs(np.array(spec.gains)) ** 2
    mean = (delays * powers).sum()
    spread = np.sqrt((powers * (delays - mean) ** 2).sum())
    # The tables' delays have four digits.
    assert powers.sum() == pytest.approx(1) and spread == pytest.approx(1e-7, rel=1e-3)


@pytest.mark.parametrize("doppler_hz", [0.0, 200.0])
def test_frames_have_the_power_the_noise_and_the_doppler_that_they_should(
    doppler_hz: float,
) -> None:
    from scipy.special import j0

    paths = csi.Paths(np.zeros(1), np.ones(1), np.zeros(1), doppler_hz)
    found = frames(paths, 10.0, 3000, 20_000)
    assert (np.abs(found.truth) ** 2).mean() == pytest.approx(1, abs=0.06)
    noise = (np.abs(found.ls - found.truth) ** 2).mean()
    assert noise == pytest.approx(0.1, rel=0.01)
    assert found.n0_estimate.mean() == pytest.approx(0.1, rel=0.02)
    times = found.rows * csi.SYMBOL_S
    turned = found.truth * np.exp(-2j * np.pi * np.outer(found.turn_hz, times))[:, :, None]
    correlation = (turned[:, 0] * turned[:, 1].conj()).mean()
    expected = j0(2 * np.pi * doppler_hz * (times[1] - times[0]))
    assert abs(correlation - expected) < 0.06


def test_line_of_sight() -> None:
    steady = csi.Paths(np.zeros(1), np.ones(1), np.array([1e9]))
    found = frames(steady, 10.0, 20)
    np.testing.assert_allclose(np.abs(found.truth), 1, atol=1e-3)


@pytest.mark.parametrize("n0_db", [0.0, 10.0])
def test_lmmse_has_the_error_of_theory(n0_db: float) -> None:
    """tr(R - R (R + N0)^-1 R) over the subcarriers, for one DMRS and for all."""
    found = frames(TDL_C, n0_db, 200)
    n0 = 10 ** (-n0_db / 10)
    f = csi.steering(TDL_C.delays) * np.sqrt(TDL_C.powers)
    power = np.linalg.svd(f, compute_uv=False) ** 2
    for rows, looks in ((None, 1), (found.rows, len(found.rows))):
        turn = None if rows is None else found.turn_hz
        estimate = csi.lmmse(found.ls, TDL_C, found.n0, found.delay, rows, turn)
        # The fades stand still in a frame: all DMRS are looks at the same channel.
        expected = (power * n0 / (looks * power + n0)).sum() / 448
        assert csi.mse(estimate, found.truth).mean() == pytest.approx(expected, rel=0.1)


def test_window_keeps_its_share_of_the_noise() -> None:
    found = frames(FLAT, 0.0)
    assert db(csi.window(found.ls), found) == pytest.approx(10 * np.log10(56 / 448), abs=0.4)


def test_wiener_filter_with_the_true_statistics_is_the_lmmse() -> None:
    """Paths on the grid of delays, no Doppler: both are the same linear filter."""
    paths = csi.Paths(np.array([0.0, 3.0, 7.25]), np.array([0.5, 0.3, 0.2]), np.zeros(3))
    found = frames(paths, 10.0, 4)
    grid = csi.delay_grid(csi.FINE)
    for i in range(4):
        offset = -found.delay[i] % (1 / csi.FINE)
        profile = np.zeros(len(grid), np.float32)
        for delay, power in zip(paths.delays, paths.powers, strict=True):
            nearest = np.abs(grid - (delay + found.delay[i] + offset)).argmin()
            profile[nearest] = power * 448 / found.n0[i]
        spectrum = np.zeros(csi.SHIFTS, np.float32)
        spectrum[csi.SHIFTS // 2] = 1
        # An offset to the right of the grid: the response is turned forth by it.
        turn = 2 * np.pi * found.turn_hz[i] * csi.SYMBOL_S
        got = csi.wiener(
            found.ls[i], float(found.n0[i]), found.rows, -offset, turn, profile, spectrum
        )
        at = slice(i, i + 1)
        expected = csi.lmmse(
            found.ls[at], paths, found.n0[at], found.delay[at], found.rows, found.turn_hz[at]
        )
        # The basis leaves out a thousandth of what lies at the edges of its delays.
        np.testing.assert_allclose(got, expected[0], atol=1e-2)


def test_gradients_of_the_filter() -> None:
    torch.manual_seed(0)
    t, d = torch.randn(1, 3, 3, dtype=torch.complex128), torch.randn(1, 5, 5, dtype=torch.float64)
    y = torch.randn(1, 3, 5, dtype=torch.complex128)
    for tensor in (t, d, y):
        tensor.requires_grad_()

    def noise(y: torch.Tensor, t: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = denoisers._Noise.apply(y, t @ t.mH, d @ d.mT)  # type: ignore[no-untyped-call]
        return made

    assert torch.autograd.gradcheck(noise, (y, t, d))
    over_rows, over_delay = t @ t.mH, (d @ d.mT).to(torch.complex128)
    z = noise(y, t, d)
    torch.testing.assert_close(z + over_rows @ z @ over_delay, y)


def test_networks_take_any_number_of_pilots_and_no_signal() -> None:
    torch.manual_seed(1)
    for name, make in denoisers.NETWORKS.items():
        network = make().eval()
        for uses in (1, 20_000):
            ls, n0, rows, _ = tensors(frames(TDL_C, count=2, uses=uses))
            with torch.no_grad():
                refined = network(ls, n0, rows)
                assert refined.shape == ls.shape and refined.isfinite().all(), name
                silence = network(torch.zeros_like(ls), n0, rows)
                assert silence.square().mean() < n0.mean(), name
                # A gain in front of the receiver changes nothing but the scale.
                again = network(3 * ls, 9 * n0, rows)
                torch.testing.assert_close(again, 3 * refined, rtol=1e-2, atol=1e-2)


def test_longer_frames_are_taken_in_parts() -> None:
    session = open_session(csi.CsiBundle.load("csi-adnet").graph_path("wiener"), threads=1)
    found = frames(TDL_C, 10.0, 2, 150_000)
    rows = found.rows
    assert len(rows) == 25
    for ls, n0 in zip(found.ls, found.n0_estimate, strict=True):
        whole = csi.refine(session, ls, float(n0), rows)
        last = csi.refine(session, ls[17:], float(n0), rows[17:])
        np.testing.assert_allclose(whole[17:], last, atol=1e-5)


@pytest.fixture(scope="module")
def tiny_csi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of both networks after a few steps each."""
    out = tmp_path_factory.mktemp("csi")
    for recipe, network in (("csi", "wiener"), ("csi-adnet", "adnet")):
        given = ["epochs=2", "steps=2", "batch=4", "threads=1"]
        train_csi(train.read_config(CsiConfig, "csi", recipe, given), out / network)
    return out


def test_training_goes_on_where_it_was_cut_off(tiny_csi: Path, tmp_path: Path) -> None:
    given = ["steps=2", "batch=4", "threads=1", "epochs="]
    for epochs in (1, 2):
        chosen = train.read_config(CsiConfig, "csi", "csi", [*given[:3], f"epochs={epochs}"])
        # The rate falls with the share of all epochs: the same number of them from the start.
        train_csi(chosen, tmp_path)
    _, state = load_denoiser(tmp_path / "last.safetensors")
    assert len(state["history"]) == 2 and "val_db_flat" in state["history"][0]
    _, whole = load_denoiser(tiny_csi / "wiener" / "last.safetensors")
    assert whole["config"] == state["config"]


def test_export(tiny_csi: Path, tmp_path: Path) -> None:
    bundle = export_csi(tiny_csi, tmp_path / "mine")
    golden = bundle.golden()
    for i in range(4):
        ls = golden["ls"][i].view(np.complex64)[..., 0]
        for network, key in (("wiener", "wiener"), ("adnet", "refined")):
            session = open_session(bundle.graph_path(network), threads=1)
            got = csi.refine(session, ls, float(golden["n0"][i]), golden["rows"][i])
            np.testing.assert_allclose(csi.as_parts(got), golden[key][i], atol=2e-3)
    rows = bundle.meta["metrics"]["simulated"]
    assert {row["pilots"] for row in rows} == {2, 6} and (bundle.path / "README.md").is_file()
    (tiny_csi / "adnet").rename(tiny_csi / "away")
    try:
        with pytest.raises(InputError, match=r"adnet.best\.safetensors is missing: train it"):
            export_csi(tiny_csi, tmp_path / "other")
    finally:
        (tiny_csi / "away").rename(tiny_csi / "adnet")


def test_bad_settings(tmp_path: Path) -> None:
    for given, message in (
        ("network=unet", "no network 'unet': choose adnet, adnet-grid, wiener"),
        ("snr_low=30", "snr_low 30 is above snr_high 25"),
        ("steps=0", "steps is 0 but must be 1 or more"),
    ):
        with pytest.raises(InputError, match=message):
            train_csi(train.read_config(CsiConfig, "csi", "csi", [given]), tmp_path)
    with pytest.raises(InputError, match="loss is 'best' but must be log or squared"):
        train.read_config(CsiConfig, "csi", "csi", ["loss=best"])
    assert main(["train", "csi", "--set", "network=unet", "--out", str(tmp_path)]) == 2


def test_shipped_bundle_is_never_worse_than_least_squares_and_near_the_best() -> None:
    bundle = csi.CsiBundle.load("csi-adnet")
    session = open_session(bundle.graph_path("wiener"), threads=1)
    slow = open_session(bundle.graph_path("adnet"), threads=1)
    for paths in (FLAT, TDL_C, csi.Paths.of(csi.tdl("tdl-a", 3e-7, 100.0))):
        for snr_db in (0.0, 10.0, 25.0):
            found = frames(paths, snr_db, 20, 32_768)
            refined, other = (
                np.stack(
                    [
                        csi.refine(graph, ls, float(n0), found.rows)
                        for ls, n0 in zip(found.ls, found.n0_estimate, strict=True)
                    ]
                )
                for graph in (session, slow)
            )
            best = db(csi.lmmse(found.ls, paths, found.n0, found.delay), found)
            if snr_db <= 10:
                # Below the window by 5 dB, or by what the true statistics themselves give.
                assert db(refined, found) < best + 1
                assert db(refined, found) < max(best, db(csi.window(found.ls), found) - 5)
            assert db(refined, found) < db(csi.window(found.ls), found) - 3
            assert db(other, found) < db(found.ls, found)


def test_bundle_of_another_system(digits_folder: Path) -> None:
    with pytest.raises(BundleError, match="system: it is 'phydnn', but 'csi' is wanted"):
        csi.CsiBundle.load(digits_folder)
    meta = json.loads((find("csi-adnet") / "bundle.json").read_text())
    assert meta["waveform"] == csi.WAVEFORM
    bundle = csi.CsiBundle.load("csi-adnet")
    with pytest.raises(BundleError, match="use the waveform 'wide'"):
        bundle.check_waveform(128, 32, 112, 14)
