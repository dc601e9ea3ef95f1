# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Networks and their cut, the embedding layer, training that survives a kill, and the export."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from phydnn import channel, checkpoint, constellation, datasets, networks, train
from phydnn.bundle import Bundle
from phydnn.cli import main
from phydnn.embedding import Embedding, PhyDNN, from_slices, kmeans, to_slices
from phydnn.errors import InputError, RunError
from phydnn.evaluate import sweep
from phydnn.export import export


@pytest.mark.parametrize("name,layers", [("resnet20", 20), ("resnet56", 56), ("resnet110", 110)])
def test_depths_and_shapes(name: str, layers: int) -> None:
    network = networks.build(name, 10, [125.0] * 3, [60.0] * 3).eval()
    weighted = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weighted) == layers
    assert network(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape == (2, 10)
    if name == "resnet20":
        # He et al. 2016, table 6: 0.27 M parameters.
        assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == 0.27


@pytest.mark.parametrize("point", ["layer1", "layer2.0", "bn1", "layer3", "fc"])
def test_split_is_exact(point: str) -> None:
    torch.manual_seed(1)
    network = networks.build("resnet20", 10, [100.0], [50.0]).eval()
    x = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    head, tail = networks.split(network, point)
    torch.testing.assert_close(tail(head(x)), network(x), rtol=0, atol=0)
    shared = {id(p) for p in network.parameters()}
    assert {id(p) for part in (head, tail) for p in part.parameters()} == shared


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)
        self.last = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.layer(self.layer(x)) + x)
        return y


def test_bad_splits() -> None:
    resnet = networks.build("resnet20", 10, [100.0], [50.0])
    for network, point, message in (
        (resnet, "layer9", "no submodule 'layer9'"),
        (resnet, "layer1.0.conv1", "a shortcut goes round"),
        (Twice(), "layer", "runs 'layer' 2 times"),
        (Twice(), "unused", "runs 'unused' 0 times"),
    ):
        with pytest.raises(InputError, match=message):
            networks.split(network, point)
    with pytest.raises(InputError, match="no network 'vgg'"):
        networks.build("vgg", 10, [0.0], [1.0])


@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (2, 6, 5), (2, 5)])
def test_slices_run_across_channels(shape: tuple[int, ...]) -> None:
    latent = torch.arange(float(np.prod(shape))).reshape(shape)
    slices = to_slices(latent)
    assert slices.shape == (2, int(np.prod(shape)) // 10, 5)
    torch.testing.assert_close(from_slices(slices, latent.shape), latent)
    if len(shape) == 4:
        torch.testing.assert_close(slices[1, 7], latent[1, :, 1, 3])


def embedding(**options: Any) -> Embedding:
    torch.manual_seed(2)
    return Embedding(torch.randn(8, 5), constellation.psk(8), **options)


@pytest.mark.parametrize("lookup", ["distance", "inner_product"])
def test_labels_follow_the_definition(lookup: str) -> None:
    layer = embedding(lookup=lookup)
    slices = torch.randn(3, 7, 5)
    if lookup == "distance":
        expected = torch.cdist(slices, layer.embeddings.expand(3, -1, -1)).argmin(-1)
    else:
        expected = (slices[:, :, None] * layer.embeddings).sum(-1).argmax(-1)
    torch.testing.assert_close(layer.labels(slices), expected)


@pytest.mark.parametrize("decision", ["hard", "soft"])
def test_without_noise_the_embedding_arrives(decision: str) -> None:
    layer = embedding(decision=decision)
    labels = torch.arange(8)[None]
    received = layer.receive(layer.constellation()[labels], torch.full((1, 8), 1e-4))
    torch.testing.assert_close(received[0], layer.embeddings)


@pytest.mark.parametrize("quantizer,draws", [("straight-through", 1), ("gumbel", 3)])
def test_gradients_reach_the_head_and_the_dictionary(quantizer: str, draws: int) -> None:
    layer = embedding(quantizer=quantizer, draws=draws).train()
    slices = torch.randn(4, 6, 5, requires_grad=True)
    n0, generator = channel.n0_of(torch.full((4, 1), 10.0)), torch.Generator().manual_seed(3)
    received, binding, usage = layer(slices, n0, channel.named("awgn"), generator)
    assert received.shape == (4 * draws, 6, 5)
    (received**2).sum().backward()
    assert slices.grad is not None and slices.grad.abs().max() > 0
    assert layer.embeddings.grad is not None and layer.embeddings.grad.abs().max() > 0
    # The rate lies between that of a certain pick and of a coin for each bit, and has a gradient.
    slices.grad = None
    rate = layer.rate(slices)
    assert 0 <= rate <= np.log(8)
    rate.backward()
    assert slices.grad is not None and slices.grad.abs().max() > 0
    picked = layer.embeddings[layer.labels(slices)]
    assert usage.tolist() == [int((layer.labels(slices) == j).sum()) for j in range(8)]
    torch.testing.assert_close(binding, ((slices - picked) ** 2).mean())


def test_bad_embedding_options() -> None:
    for name in ("lookup", "decision", "quantizer"):
        with pytest.raises(InputError, match="'x' is unknown: choose"):
            embedding(**{name: "x"})
    for name, value in (("temperature", 0.0), ("temperature", float("nan")), ("draws", 0)):
        with pytest.raises(InputError, match="must be above 0"):
            embedding(**{name: value})
    with pytest.raises(InputError, match="5 axes"):
        to_slices(torch.zeros(1, 1, 1, 1, 1))


def test_kmeans_and_relabelling() -> None:
    circle = constellation.psk(16)[np.random.RandomState(4).permutation(16)]
    slices = np.stack([circle.real, circle.imag], 1).astype(np.float32).repeat(20, 0)
    centres = kmeans(slices, 16, 1)
    layer = Embedding(torch.from_numpy(centres), constellation.psk(16))
    layer.relabel(1)
    points = layer.constellation().numpy()
    assert sorted(np.angle(points)) == pytest.approx(sorted(np.angle(constellation.psk(16))))
    turn = np.angle((centres[:, 0] + 1j * centres[:, 1]) / points)
    mirror = np.angle((centres[:, 0] - 1j * centres[:, 1]) / points)
    spread = min(np.abs(np.exp(1j * t) - np.exp(1j * t[0])).max() for t in (turn, mirror))
    assert spread < 1e-3
    with pytest.raises(InputError, match="fewer than 17 values"):
        kmeans(slices, 17, 1)


def test_augmentation_shifts_and_mirrors() -> None:
    x = torch.randint(1, 256, (64, 1, 6, 6), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(5)
    torch.testing.assert_close(train.augment(x, 0, False, generator), x)
    padded = nn.functional.pad(x, (2, 2, 2, 2))
    seen = set()
    for image, whole in zip(train.augment(x, 2, True, generator), padded, strict=True):
        matches = [
            (row, column, mirrored)
            for row in range(5)
            for column in range(5)
            for mirrored in (False, True)
            if torch.equal(
                image,
                (whole.flip(2) if mirrored else whole)[:, row : row + 6, column : column + 6],
            )
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) > 30


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    state = {"a": torch.arange(3), "list": [1, None, {"b": torch.ones(2, 2).T}], "text": "x"}
    checkpoint.save(tmp_path / "sub" / "c.safetensors", state)
    loaded = checkpoint.load(tmp_path / "sub" / "c.safetensors")
    torch.testing.assert_close(loaded["list"][2]["b"], torch.ones(2, 2))
    assert loaded["text"] == "x" and loaded["list"][:2] == [1, None]
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    for path in (bad, tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="is no checkpoint of phydnn"):
            checkpoint.load(path)
    with pytest.raises(InputError, match="cannot write the checkpoint"):
        checkpoint.save(bad / "c.safetensors", state)


def test_full_disk_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    """A small file-size limit stands for a full disk; the signal for it is off, as in a service."""
    path = tmp_path / "c.safetensors"
    code = f"""
import pathlib, resource, signal, torch
from phydnn import checkpoint
from phydnn.errors import InputError
path = pathlib.Path({str(path)!r})
checkpoint.save(path, {{"a": torch.ones(4)}})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
try:
    checkpoint.save(path, {{"a": torch.ones(1 << 18)}})
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot write the checkpoint" in done.stdout
    torch.testing.assert_close(checkpoint.load(path)["a"], torch.ones(4))
    assert list(tmp_path.iterdir()) == [path]


def config(**changes: Any) -> train.BackboneConfig:
    values = {"data": "digits", "epochs": 3, "batch": 64, "lr": 0.1, "crop": 1, "threads": 1}
    return train.make_config(train.BackboneConfig, values | changes)


def test_killed_run_ends_where_it_would_have_ended(tmp_path: Path) -> None:
    whole = checkpoint.load(train.train_backbone(config(), tmp_path / "whole"))
    command = [sys.executable, "-m", "phydnn", "train", "backbone", "--config", "digits"]
    for name, value in dataclasses.asdict(config()).items():
        command += ["--set", f"{name}={str(value).lower() if value in (True, False) else value}"]
    last = tmp_path / "cut" / "backbone" / "last.safetensors"
    with subprocess.Popen([*command, "--out", str(tmp_path / "cut")]) as process:
        deadline = time.monotonic() + 120
        while not last.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert len(checkpoint.load(last)["history"]) < 3
    best = train.train_backbone(config(), last.parent)
    resumed = checkpoint.load(best)
    curves = [
        [entry["cross-entropy"] for entry in checkpoint.load(path)["history"]]
        for path in (last, tmp_path / "whole" / "last.safetensors")
    ]
    assert len(curves[0]) == 3 and curves[0] == pytest.approx(curves[1])
    for name, tensor in whole["model"].items():
        torch.testing.assert_close(resumed["model"][name], tensor)
    with pytest.raises(InputError, match=r"was trained with lr=0\.1, not 0\.2"):
        train.train_backbone(config(lr=0.2), last.parent)


def test_loss_that_is_no_number_stops(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the cross-entropy loss became (nan|inf) in epoch 1"):
        train.train_backbone(config(lr=1e30), tmp_path)
    assert not (tmp_path / "last.safetensors").exists()


def test_config_errors(tmp_path: Path) -> None:
    for overrides, message in (
        (["colour=3"], "there is no setting 'colour'"),
        (["epochs=many"], "epochs is 'many' but must be of type int"),
        (["epochs=0"], "epochs is 0 but must be 1 or more"),
        (["epochs"], "--set epochs is not key=value"),
        (["flip=1"], "flip is 1 but must be of type bool"),
    ):
        with pytest.raises(InputError, match=message):
            train.read_config(train.BackboneConfig, "backbone", "digits", overrides)
    with pytest.raises(InputError, match="no recipe 'nix': give a TOML file or cifar10, digits"):
        train.read_config(train.BackboneConfig, "backbone", "nix", [])
    (tmp_path / "bad.toml").write_text("= 3")
    with pytest.raises(InputError, match=r"bad\.toml is not TOML"):
        train.read_config(train.BackboneConfig, "backbone", str(tmp_path / "bad.toml"), [])
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(InputError, match="the setting data is missing"):
        train.read_config(train.BackboneConfig, "backbone", str(tmp_path / "empty.toml"), [])
    read = train.read_config(train.BackboneConfig, "backbone", "digits", ["lr=1", "model=resnet56"])
    assert read.lr == 1.0 and isinstance(read.lr, float) and read.model == "resnet56"


@pytest.mark.parametrize("recipe", sorted(p.stem for p in train.RECIPES.glob("*.toml")))
def test_recipes_are_valid(recipe: str) -> None:
    assert train.read_config(train.BackboneConfig, "backbone", recipe, []).epochs
    assert train.read_config(train.PhydnnConfig, "phydnn", recipe, []).epochs


def test_adaptation_learns(tiny_run: Path) -> None:
    history = checkpoint.load(tiny_run / "phydnn" / "last.safetensors")["history"]
    assert len(history) == 2
    assert history[1]["distillation"] < history[0]["distillation"]
    assert max(h["val_accuracy"] for h in history) > 0.3


def test_export(tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "phydnn-tiny"
    assert main(["export", "--run", str(tiny_run), "--out", str(out), "--note", "A test."]) == 0
    bundle = Bundle.load(out)
    assert bundle.name == "phydnn-tiny" and bundle.input_shape == (1, 8, 8) and bundle.uses == 64
    assert [m["snr_db"] for m in bundle.meta["metrics"]["simulated"]] == [4, 8, 12, 16, 20]
    card = (out / "README.md").read_text()
    assert "| uncompressed network |" in card and "A test." in card
    # A second export replaces the first, and leaves nothing beside it.
    assert export(tiny_run, out).id == bundle.id
    assert list(tmp_path.iterdir()) == [out]
    # The bundle simulates as the torch network that it came from: over ten draws of the noise.
    images = datasets.load("digits", "test")
    images = images.take(np.tile(np.arange(len(images)), 10))
    assert images.y is not None
    backbone = train.load_backbone(tiny_run / "backbone" / "best.safetensors")
    phydnn, _ = train.load_phydnn(tiny_run / "phydnn" / "best.safetensors", backbone, images.x[:1])
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        n0 = channel.n0_of(12.0).expand(len(images), 1)
        logits = phydnn(torch.from_numpy(images.x), n0, channel.named("awgn"), generator)
    right = float((logits.argmax(1).numpy() == images.y).mean())
    assert sweep(bundle, images, [12.0])[0]["accuracy"] == pytest.approx(right, abs=0.03)


def test_export_of_nothing(tmp_path: Path, tiny_run: Path) -> None:
    with pytest.raises(InputError, match=r"best\.safetensors is missing: train it first"):
        export(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="is no backbone's checkpoint"):
        train.load_backbone(tiny_run / "phydnn" / "best.safetensors")
    backbone = train.load_backbone(tiny_run / "backbone" / "best.safetensors")
    with pytest.raises(InputError, match=r"there is no setting 'label_smoothing'|'model'"):
        train.load_phydnn(
            tiny_run / "backbone" / "best.safetensors", backbone, np.zeros((1, 1, 8, 8), np.uint8)
        )


def test_simulation(digits_bundle: Bundle) -> None:
    images = datasets.load("digits", "test")
    rows = sweep(digits_bundle, images, [-10.0, 12.0], seed=3)
    assert rows == sweep(digits_bundle, images, [-10.0, 12.0], seed=3)
    assert rows[0]["accuracy"] < 0.8 and rows[1]["accuracy"] >= 0.97
    assert rows[1]["channel_uses"] == 360 * 64 and rows[1]["n"] == 360
    low, high = rows[1]["accuracy_ci95"]
    assert low < rows[1]["accuracy"] < high
    hard = sweep(digits_bundle, images, [12.0], decision="hard")[0]
    assert hard["decision"] == "hard" and hard["accuracy"] > 0.9
    assert sweep(digits_bundle, images, [12.0], "rayleigh")[0]["accuracy"] > 0.5
    stored = digits_bundle.meta["metrics"]["simulated"]
    assert stored == sweep(digits_bundle, images, [m["snr_db"] for m in stored])


def test_eval_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One point gives single values, more give lists; a seed gives the same file twice."""
    command = ["eval", "--bundle", "phydnn-resnet20-digits", "--data", "digits", "--json"]
    for name, options in (("one", ["--snr", "12"]), ("two", ["--snr", "4", "12", "--seed", "1"])):
        assert main([*command, str(tmp_path / name), *options]) == 0
    assert "uncompressed" in capsys.readouterr().out
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one", "two"))
    assert one["snr_db"] == 12 and two["snr_db"] == [4, 12]
    assert two["accuracy"][1] == one["accuracy"] and two["accuracy_ci95"][1] == one["accuracy_ci95"]
    assert one["n"] == 360 and one["channel_uses"] == 360 * 64 and one["channel"] == "awgn"
    assert one["backbone_accuracy"] > 0.97 and {"command", "git", "seed"} <= set(one)
    assert main([*command, str(tmp_path / "few"), "--limit", "10"]) == 0
    few = json.loads((tmp_path / "few").read_text())
    assert few["n"] == 10 and "backbone_accuracy" not in few
    for bad in (["--snr", "500"], ["--snr", "x"], ["--channel", "fog"], ["--decision", "guess"]):
        assert main([*command, str(tmp_path / "bad"), *bad]) == 2
    assert main(["eval", "--bundle", "none", "--data", "digits"]) == 2
    assert not (tmp_path / "bad").exists()


def test_bad_simulations(digits_bundle: Bundle) -> None:
    images = datasets.load("digits", "test")
    for bad, message in (
        (datasets.Images(images.x, None, images.classes, "d"), "no labelled images"),
        (images.take(slice(0)), "no labelled images"),
        (datasets.Images(images.x[:, :, :7], images.y, images.classes, "d"), "images of"),
        (datasets.Images(images.x, images.y, ("a", "b"), "d"), "2 classes"),
    ):
        with pytest.raises(InputError, match=message):
            sweep(digits_bundle, bad, [12.0])
    with pytest.raises(InputError, match="no decision 'guess'"):
        sweep(digits_bundle, images, [12.0], decision="guess")
    with pytest.raises(InputError, match="but 'fog' is given"):
        sweep(digits_bundle, images, [12.0], "fog")


def test_training_needs_labels(tmp_path: Path) -> None:
    images = datasets.load("digits", "test")
    network = networks.build("resnet20", 10, [100.0], [50.0])
    task = train.BackboneTask(network, config())
    unlabelled = datasets.Images(images.x, None, (), "images:x")
    with pytest.raises(InputError, match="'images:x' has no labels to train on"):
        train.fit(task, config(), unlabelled, images, tmp_path)


def test_phydnn_needs_a_tensor_at_the_cut() -> None:
    backbone = networks.build("resnet20", 10, [100.0], [50.0])
    chosen = train.make_config(train.PhydnnConfig, {"data": "digits", "split": "layer2"})
    made = train.make_phydnn(backbone, chosen, np.zeros((1, 1, 8, 8), np.uint8))
    assert isinstance(made, PhyDNN) and made.embedding.embeddings.shape == (16, 32)
