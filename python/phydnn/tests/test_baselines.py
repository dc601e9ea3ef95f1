# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The baselines: what they send, how they train, and what the comparison counts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from phydnn import baselines, complexity, datasets, networks, train, waveform
from phydnn.bundle import Bundle
from phydnn.cli import main
from phydnn.errors import InputError
from phydnn.experiments import Settings
from phydnn.experiments import baselines as compared
from phydnn.train.baselines import BottlefitConfig, load_bottlefit, train_bottlefit, train_dtjscc

RESULTS = Path(__file__).parents[3] / "testbed" / "results"
SHAPES = npst.array_shapes(min_dims=2, max_dims=4, max_side=6)
FLOATS = st.floats(-1e6, 1e6, width=32)


@given(npst.arrays(np.float32, SHAPES, elements=FLOATS))
def test_raw_values_come_back_and_cost_four_bytes(values: NDArray[np.float32]) -> None:
    data = baselines.raw_bytes(values)
    assert len(data) == 4 * values.size
    np.testing.assert_array_equal(baselines.raw_values(data, values.shape), values)


@given(npst.arrays(np.float32, SHAPES, elements=FLOATS))
def test_8_bit_values_are_half_a_step_off_and_cost_a_byte(values: NDArray[np.float32]) -> None:
    data = baselines.affine_bytes(values)
    assert len(data) == values.size + 8 * len(values)
    found = baselines.affine_values(data, values.shape)
    flat = values.reshape(len(values), -1).astype(np.float64)
    step = (flat.max(1) - flat.min(1)) / 255
    error = np.abs(found.reshape(flat.shape) - flat)
    # Beside half a step, what float32 itself cannot tell apart.
    assert (error <= 0.5 * step[:, None] * 1.001 + 1e-6 * np.abs(flat).max() + 1e-37).all()
    # What training and validation see is what crosses the air.
    seen = baselines.rounded(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(seen, found, rtol=1e-5, atol=1e-6 * np.abs(values).max())


@given(st.integers(2, 300), st.data())
def test_labels_come_back_in_as_few_bits_as_they_need(size: int, data: st.DataObject) -> None:
    shape = data.draw(npst.array_shapes(min_dims=1, max_dims=3, max_side=9))
    labels = data.draw(npst.arrays(np.int32, shape, elements=st.integers(0, size - 1)))
    packed = baselines.label_bytes(labels, size)
    assert len(packed) == -(-labels.size * (size - 1).bit_length() // 8)
    np.testing.assert_array_equal(baselines.label_values(packed, shape, size), labels)


@pytest.mark.parametrize("data", [b"", b"123", b"1" * 17])
def test_another_number_of_bytes_is_refused(data: bytes) -> None:
    for read in (
        lambda: baselines.raw_values(data, (1, 4)),
        lambda: baselines.affine_values(data, (1, 4)),
        lambda: baselines.label_values(data, (1, 4), 16),
    ):
        with pytest.raises(InputError, match="bytes are not"):
            read()
    with pytest.raises(InputError, match="label 3 is none of 3"):
        baselines.label_values(b"\xff", (4,), 3)


def test_bottlefits_map_on_cifar10_has_the_published_geometry() -> None:
    network = networks.build("resnet20", 10, [128.0] * 3, [64.0] * 3)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    second = baselines.stages(network.eval(), images)[0]  # type: ignore[arg-type]
    for kernels in (1, 2):
        bottlefit = baselines.BottleFit(network, kernels, 64).eval()
        values = bottlefit.encoder(images)
        assert values.shape == (2, kernels, 17, 17)
        assert bottlefit.edge.decoder(values).shape == second.shape == (2, 32, 16, 16)
        assert bottlefit(images).shape == (2, 10)
        assert len(baselines.affine_bytes(values.detach().numpy())) == 2 * (8 + 289 * kernels)
    with pytest.raises(InputError, match="resnet20, resnet56 and resnet110 only"):
        baselines.BottleFit(torch.nn.Linear(2, 2), 1, 64)
    with pytest.raises(InputError, match="kernels 0"):
        baselines.BottleFit(network, 0, 64)


def test_dtjscc_on_cifar10_has_the_published_latent() -> None:
    network = baselines.dtjscc_cifar10().eval()
    x = torch.zeros(1, 3, 32, 32)
    assert network.encoder(x).shape == (1, 512, 4, 4)
    assert network(x).shape == (1, 10)
    # Convolutions by hand: 3 to 64 to 128 at 32x32, two of 128 at 16x16, and so on.
    by_hand = 9 * (1024 * (3 * 64 + 64 * 128) + 256 * (2 * 128**2 + 128 * 256))
    by_hand += 9 * (64 * 256 * 512 + 16 * 2 * 512**2)
    assert complexity.macs(network.encoder, x) == by_hand


def test_bottlefit_trains_in_two_stages_and_resumes(tiny_run: Path, tmp_path: Path) -> None:
    weights = tiny_run / "backbone" / "best.safetensors"
    tiny = ["matching_epochs=2", "epochs=2", "limit=256", "threads=1"]
    config = train.read_config(BottlefitConfig, "bottlefit", "digits", tiny)
    best = train_bottlefit(config, weights, tmp_path)
    assert best == tmp_path / "finetuning" / "best.safetensors"
    backbone = train.load_backbone(weights)
    first = load_bottlefit(tmp_path / "matching" / "best.safetensors", backbone)
    second = load_bottlefit(best, backbone)

    def same(name: str) -> bool:
        a, b = (part.get_submodule(name).state_dict() for part in (first, second))
        return all(torch.equal(a[key], b[key]) for key in a)

    # The second stage leaves the encoder as it is, the first what stands after the decoder.
    assert same("encoder") and not same("edge.decoder") and not same("edge.fc")
    assert torch.equal(first.edge.state_dict()["fc.weight"], backbone.state_dict()["fc.weight"])

    before = best.read_bytes()
    assert train_bottlefit(config, weights, tmp_path) == best
    assert best.read_bytes() == before
    with pytest.raises(InputError, match=r"is no BottleFit's checkpoint"):
        load_bottlefit(weights, backbone)


def test_dtjscc_trains_from_nothing_and_becomes_a_bundle(tmp_path: Path) -> None:
    from phydnn.export import export

    tiny = ["epochs=1", "limit=96", "threads=1"]
    config = train.read_config(train.PhydnnConfig, "dtjscc", "digits", tiny)
    assert (config.quantizer, config.decision, config.lookup, config.constellation) == (
        "gumbel", "hard", "inner_product", "psk",
    )  # fmt: skip
    assert config.distillation == config.binding == 0
    train_dtjscc(config, "phydnn.baselines:dtjscc_digits", tmp_path)
    bundle = export(tmp_path, tmp_path / "jscc")
    assert (bundle.uses, bundle.dim, len(bundle.points)) == (16, 64, 16)
    np.testing.assert_allclose(np.abs(bundle.points), 1, rtol=1e-5)


def test_the_commands_that_train_them(tmp_path: Path, tiny_run: Path) -> None:
    weights = tiny_run / "backbone" / "best.safetensors"
    tiny = ["--set", "epochs=1", "--set", "limit=64", "--set", "threads=1"]
    command = ["train", "bottlefit", "--weights", str(weights), "--kernels", "2", *tiny]
    assert main([*command, "--set", "matching_epochs=1", "--out", str(tmp_path / "bf")]) == 0
    found = load_bottlefit(
        tmp_path / "bf" / "finetuning" / "best.safetensors", train.load_backbone(weights)
    )
    assert found.encoder(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)).shape == (1, 2, 5, 5)
    assert main(["train", "dtjscc", *tiny, "--out", str(tmp_path / "jscc")]) == 0
    assert (tmp_path / "jscc" / "phydnn" / "best.safetensors").is_file()


def test_frames_are_counted_as_they_were_sent() -> None:
    sent = json.loads((RESULTS / "run_cifar10_1024x4_12db.json").read_text())
    full, rest = divmod(sent["n"], sent["batch"])
    uses = sent["channel_uses"] // sent["n"]
    counted = full * waveform.frame_samples(sent["batch"] * uses)
    assert counted + waveform.frame_samples(rest * uses) == sent["samples_on_air"]
    assert waveform.carry_symbols(sent["batch"] * uses).uses == 65536
    two = waveform.carry_symbols(65537)
    assert two.samples == waveform.frame_samples(65536) + waveform.frame_samples(1)
    with pytest.raises(InputError, match="1 or more channel uses"):
        waveform.frame_samples(0)


def test_bits_take_the_best_modulation_that_gets_through() -> None:
    def through(snr_db: float) -> waveform.Carried:
        loss = waveform.mean_loss(np.ones((1, 1), np.complex64), snr_db)
        return waveform.carry_bytes(65536, loss)

    clear = through(40)
    assert clear.scheme == "64-QAM, rate 3/4, K = 7"
    # 44 blocks: 43 of 1,504 bytes, one of 1,040; 6 tail bits each; 4.5 bits a use.
    assert clear.uses == 43 * np.ceil(12038 / 4.5) + np.ceil(8326 / 4.5)
    assert through(5).scheme == "BPSK, rate 1/2, K = 7"
    times = [through(snr_db).seconds for snr_db in (5, 10, 15, 20, 25, 30)]
    assert times == sorted(times, reverse=True)
    with pytest.raises(InputError, match="raise Es/N0"):
        through(-10)


def test_fading_loses_more_than_its_mean() -> None:
    flat = waveform.mean_loss(np.ones((1, 1), np.complex64), 15.0)
    fading = waveform.mean_loss(compared.response("rayleigh", 1), 15.0)
    for rate in (6, 24):
        assert flat(1536, rate) < fading(1536, rate) < 1
    # The code of rate 1/2 bridges one subcarrier in eight that is gone, that of rate 3/4 cannot.
    comb = np.ones((1, 448), np.complex64)
    comb[:, ::8] = 0
    assert waveform.mean_loss(comb, 30.0)(1536, 6) < 1e-3
    assert waveform.mean_loss(comb, 30.0)(1536, 9) > 0.2


def test_wifi_takes_the_rate_that_delivers_soonest() -> None:
    link, sent = compared.over_wifi(65536, None)
    assert link.rate == 54 and sent.frames["retries"] == 0
    at_12_db = waveform.mean_loss(np.ones((1, 1), np.complex64), 12.0)
    link, sent = compared.over_wifi(65536, at_12_db)
    assert link.rate == 18
    hopeless = waveform.mean_loss(np.ones((1, 1), np.complex64), -10.0)
    with pytest.raises(InputError, match=r"no rate of 802.11a gets through"):
        compared.over_wifi(65536, hopeless)


def test_scenarios_as_channels() -> None:
    near, far = (compared.of_scenario(f"urban_{loss}db") for loss in (40, 80))
    assert near["snr_db"] - far["snr_db"] == pytest.approx(40)
    drawn = compared.response(near["channel"], 1)
    assert drawn.shape == (compared.DRAWS, 448)
    # What reaches the band is what the scenario says: its taps' powers alone are not.
    band_db = 10 * np.log10(np.mean(np.abs(drawn[0]) ** 2))
    assert near["reference_db"] + band_db == pytest.approx(near["snr_db"])
    # Static: every draw is the same.
    np.testing.assert_array_equal(drawn[0], drawn[-1])
    assert compared.response(compared.NLOS, 1).std(0).min() > 0.1


def test_bytes_go_through_this_machines_own_stack() -> None:
    data = np.random.default_rng(1).bytes(3_000_000)
    with compared.Loopback() as loopback:
        assert loopback.carry(data) == data
        assert loopback.carry(b"x") == b"x"


def test_a_bundle_as_bits_gives_what_the_lookup_gives(digits_bundle: Bundle) -> None:
    images = datasets.load("digits")
    scheme = compared._of_bundle(digits_bundle, "PhyDNN 64x16", images)
    assert (scheme.system, scheme.payload) == ("phydnn", 32)
    golden = digits_bundle.golden()
    received = scheme.unpack(scheme.pack(golden["slices"]), 4)
    np.testing.assert_array_equal(received, golden["received"])
    taken = compared.time_bits([scheme], images.x[:4], 2)["PhyDNN 64x16"]
    assert list(taken) == ["head", "map", "stack", "receive", "tail"]
    assert all(value > 0 for value in taken.values())


def ask(tmp_path: Path, **options: Any) -> Settings:
    return Settings(data="digits", folder=tmp_path / "x", options=options)


def test_points_name_what_they_are_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    point = compared.point(ask(tmp_path))
    assert list(point["bundles"]) == ["phydnn-resnet20-digits"]
    assert "left out: nothing is given for bf1" in caplog.text
    weights = tmp_path / "weights"
    weights.write_bytes(b"1")
    first = compared.point(ask(tmp_path, weights=str(weights)))
    weights.write_bytes(b"2")
    assert compared.point(ask(tmp_path, weights=str(weights))) != first
    with pytest.raises(InputError, match="bf1 and bf2 need the backbone"):
        compared.point(ask(tmp_path, bf1=str(weights)))
    with pytest.raises(InputError, match=r"cannot read .*nowhere for bf2"):
        compared.point(ask(tmp_path, bf2=str(tmp_path / "nowhere")))
    with pytest.raises(InputError, match="no bundle of 'cifar100' ships"):
        compared.point(Settings(data="cifar100:x", folder=tmp_path, options={}))
