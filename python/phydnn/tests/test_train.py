# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Networks and their cut, the embedding layer, training that survives a kill, and the export."""

import copy
import dataclasses
import json
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from phydnn import channel, checkpoint, constellation, datasets, networks, train
from phydnn.bottleneck import Bottleneck, as_map
from phydnn.bundle import Bundle
from phydnn.cli import main
from phydnn.embedding import Embedding, PhyDNN, from_slices, kmeans, to_slices
from phydnn.embedding import grid as embedding_grid
from phydnn.errors import InputError, RunError
from phydnn.evaluate import sweep
from phydnn.export import export
from phydnn.train.csi import CsiConfig
from phydnn.train.distillation import losses, soften
from phydnn.train.engine import blend, decay_groups
from phydnn.train.muon import Muon, orthogonalise
from phydnn.train.phydnn import PhydnnTask, make_phydnn, start_dictionary


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


@pytest.mark.parametrize(("padding", "mode"), [("zeros", "constant"), ("reflect", "reflect")])
def test_augmentation_shifts_and_mirrors(
    padding: str, mode: Literal["constant", "reflect"]
) -> None:
    x = torch.randint(1, 256, (64, 1, 6, 6), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(5)
    still = train.BackboneConfig(data="digits", crop=0, flip=False, padding=padding)
    torch.testing.assert_close(train.augment(x, still, generator), x)
    moving = dataclasses.replace(still, crop=2, flip=True)
    padded = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode))
    seen = set()
    for image, whole in zip(train.augment(x, moving, generator), padded, strict=True):
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
    if padding == "reflect":
        with pytest.raises(InputError, match="6x6 pixels can be reflected by 5 at most"):
            train.augment(x, dataclasses.replace(moving, crop=6), generator)


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


DIES = """
import os, signal, sys
from phydnn import checkpoint
from phydnn.cli import main
save = checkpoint.save
def save_and_die(path, state):
    save(path, state)
    if path.name.startswith("last"):
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save = save_and_die
main(sys.argv[1:])
"""
"""The commands, killed with the first checkpoint that they go on from."""


def test_killed_run_ends_where_it_would_have_ended(tmp_path: Path) -> None:
    whole = checkpoint.load(train.train_backbone(config(), tmp_path / "whole"))
    command = [sys.executable, "-c", DIES, "train", "backbone", "--config", "digits"]
    for name, value in dataclasses.asdict(config()).items():
        command += ["--set", f"{name}={str(value).lower() if value in (True, False) else value}"]
    last = tmp_path / "cut" / "backbone" / "last.safetensors"
    killed = subprocess.run([*command, "--out", str(tmp_path / "cut")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(checkpoint.load(last)["history"]) == 1
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
        (["precision=double"], "precision is 'double' but must be auto or float32 or bfloat16"),
    ):
        with pytest.raises(InputError, match=message):
            train.read_config(train.BackboneConfig, "backbone", "digits", overrides)
    with pytest.raises(InputError, match=r"no recipe 'nix': give a TOML file or .*cifar10.*digits"):
        train.read_config(train.BackboneConfig, "backbone", "nix", [])
    (tmp_path / "bad.toml").write_text("= 3")
    with pytest.raises(InputError, match=r"bad\.toml is not TOML"):
        train.read_config(train.BackboneConfig, "backbone", str(tmp_path / "bad.toml"), [])
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(InputError, match="the setting data is missing"):
        train.read_config(train.BackboneConfig, "backbone", str(tmp_path / "empty.toml"), [])
    for overrides, message in (
        (["final_size=1"], "a dictionary of 16 embeddings that shrinks to 1 carries nothing"),
        (["size=1"], "a dictionary of 1 embeddings"),
        (["mode=x"], "mode is 'x' but must be corrected or as-published"),
        (["snr_low=30"], "snr_low 30 is above snr_high"),
        (["distilled=2"], "are shares from 0 to 1"),
        (["mixup=0.6"], "mixup is 0.6 but must be from 0 to 0.5"),
        (["teachers=a", "distillation=0"], "teachers are named but distillation"),
        (["softness=0"], "softness is 0 but must be above 0"),
        (["quantizer=fsq", "final_size=4"], "a grid that cannot shrink"),
    ):
        with pytest.raises(InputError, match=message):
            train.read_config(train.PhydnnConfig, "phydnn", "digits", overrides)
    for overrides, message in (
        (["muon=-1"], "learning rates of 0 or more"),
        (["bias_scale=-1"], "learning rates of 0 or more"),
        (["muon=0.1", "lr=0"], "muon needs an lr above 0"),
    ):
        with pytest.raises(InputError, match=message):
            train.read_config(train.BackboneConfig, "backbone", "digits", overrides)
    # A mode asked for by hand beats the recipe, and is beaten by what else is asked for by hand.
    chosen = train.read_config(
        train.PhydnnConfig, "phydnn", "digits", ["mode=as-published", "frozen_epochs=3"]
    )
    assert (chosen.quantizer, chosen.lookup, chosen.frozen_epochs) == ("gumbel", "inner_product", 3)
    read = train.read_config(train.BackboneConfig, "backbone", "digits", ["lr=1", "model=resnet56"])
    assert read.lr == 1.0 and isinstance(read.lr, float) and read.model == "resnet56"


@pytest.mark.parametrize("recipe", sorted(p.stem for p in train.RECIPES.glob("*.toml")))
def test_recipes_are_valid(recipe: str) -> None:
    tables = tomllib.loads((train.RECIPES / f"{recipe}.toml").read_text())
    kinds: dict[str, type[train.FitConfig]] = {
        "backbone": train.BackboneConfig,
        "phydnn": train.PhydnnConfig,
        "csi": CsiConfig,
    }
    for table, kind in kinds.items():
        if table in tables:
            assert train.read_config(kind, table, recipe, []).epochs
    assert tables


def test_adaptation_learns(tiny_run: Path) -> None:
    history = checkpoint.load(tiny_run / "phydnn" / "last.safetensors")["history"]
    assert len(history) == 2
    assert history[1]["distillation"] < history[0]["distillation"]
    assert max(h["val_accuracy"] for h in history) > 0.3


@pytest.mark.parametrize(
    "shape,uses,dim,side",
    [
        ((1, 16, 8, 8), 16, 4, 4),
        ((1, 3, 4, 12), 12, 2, 4),
        ((1, 6, 10), 3, 4, 8),
        ((1, 9), 4, 2, 8),
    ],
)
def test_bottleneck_keeps_what_it_sends(
    shape: tuple[int, ...], uses: int, dim: int, side: int
) -> None:
    torch.manual_seed(6)
    code = Bottleneck(torch.Size(shape), uses, dim, side)
    # A latent whose positions agree is one coefficient a channel and block: it passes whole.
    latent = torch.randn(64, 1, *[1] * (len(shape) - 2)) * torch.ones(shape[1:])
    code.start(latent)
    slices = code.encode(latent).detach()
    assert slices.shape == (64, uses, dim)
    torch.testing.assert_close(code.decode(slices), latent, rtol=1e-4, atol=1e-4)
    noise = torch.randn(64, *shape[1:])
    code.start(noise)
    kept = uses * dim / np.prod(shape[1:])
    with torch.no_grad():
        lost = float(((code.decode(code.encode(noise)) - noise) ** 2).mean())
    assert lost < 1.0 - 0.9 * kept if kept < 1 else lost < 1e-6
    assert float(code.encode(noise).var()) == pytest.approx(1.0, rel=0.05)
    # Both ends against the same transform, axis by axis.
    for parameter in code.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    with torch.no_grad():
        slices = code.encode(noise)
        blocks = code._blocks(as_map(noise))
        bases = code.mix, code.row_basis, code.column_basis
        wanted = torch.einsum("nbcrs,dc,ur,vs->nbduv", blocks, *bases).flatten(2)
        wanted = wanted[..., code.order] * code.gain + code.bias
        torch.testing.assert_close(slices.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(code.eval().encode(noise), slices, rtol=1e-4, atol=1e-4)
        whole = torch.zeros(*wanted.shape[:2], code.mean.numel())
        whole[..., code.order] = wanted * code.ungain
        whole = whole.unflatten(2, code.mean.shape)
        bases = code.unmix, code.row_inverse, code.column_inverse
        wanted = torch.einsum("nbcuv,cd,ur,vs->nbdrs", whole, *bases) + code.mean
        received = code._blocks(as_map(code.decode(slices)))
        torch.testing.assert_close(received, wanted, rtol=1e-4, atol=1e-4)


def test_bottleneck_that_keeps_all_is_exact() -> None:
    torch.manual_seed(6)
    latent = torch.randn(40, 3, 8, 8)
    code = Bottleneck(latent.shape, 96, 2, 4, refine=1)
    code.start(latent)
    code.start(latent)
    torch.testing.assert_close(code.decode(code.encode(latent)), latent)
    for bad in ((96, 2, 3), (95, 2, 4), (97, 2, 4), (1000, 2, 4)):
        with pytest.raises(InputError, match=r"change uses, dim or block|choose a divisor"):
            Bottleneck(latent.shape, *bad)


def test_spread_weighs_the_values_of_a_slice() -> None:
    torch.manual_seed(6)
    latent = torch.randn(400, 6, 8, 8) * torch.arange(1, 7)[:, None, None]
    code = Bottleneck(latent.shape, 48, 2, 8)
    code.start(latent, 2.0)
    with torch.no_grad():
        slices = code.encode(latent)
        deviation = slices.std((0, 1))
        assert float(deviation[0] / deviation[1]) == pytest.approx(2, rel=0.05)
        assert float((slices**2).mean()) == pytest.approx(1, rel=0.05)
        # The strong half comes first, and what is sent is the same as without.
        strength = code.ungain.view(-1, 2) * deviation
        assert float(strength[:, 0].min()) > 0.9 * float(strength[:, 1].max())
        plain = Bottleneck(latent.shape, 48, 2, 8)
        plain.start(latent)
        received = plain.decode(plain.encode(latent))
    torch.testing.assert_close(code.decode(slices), received, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="slices of 2 do not divide a block's 3 "):
        Bottleneck(latent.shape, 6, 2, 4).start(latent, 2.0)


def test_dictionary_as_its_own_constellation() -> None:
    torch.manual_seed(6)
    centres = torch.randn(16, 2) + 3
    layer = Embedding(centres, constellation.qam(16), own_points=True)
    layer.relabel(1)
    points = layer.constellation()
    assert float(points.abs().square().mean()) == pytest.approx(1)
    assert abs(complex(points.mean())) < 1e-6
    # Its distances are the dictionary's, all by the same factor.
    on_air = torch.view_as_real(points)
    apart = torch.cdist(centres, centres) / torch.cdist(on_air, on_air)
    apart = apart[~torch.eye(16, dtype=torch.bool)]
    torch.testing.assert_close(apart, apart[:1].expand_as(apart), rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="set dim=2"):
        Embedding(torch.randn(16, 3), constellation.qam(16), own_points=True)


def test_rows_are_what_the_public_code_slices() -> None:
    latent = torch.arange(2.0 * 4 * 3 * 8).reshape(2, 4, 3, 8)
    slices = to_slices(latent, "row")
    torch.testing.assert_close(slices[1, 3], latent[1, 0, 1, 4:8])
    torch.testing.assert_close(from_slices(slices, latent.shape, "row"), latent)


def test_finite_scalar_quantisation_is_a_grid() -> None:
    grid = embedding_grid(16, 2)
    assert len({tuple(row) for row in grid.tolist()}) == 16
    torch.testing.assert_close(grid.mean(0), torch.zeros(2))
    layer = Embedding(torch.zeros(16, 2), constellation.qam(16), quantizer="fsq")
    torch.testing.assert_close(layer.embeddings.data, grid)
    bounded = layer.bound(torch.tensor([[-1e3, 1e3]]))
    assert bounded.abs().max() < 2 and layer.labels(bounded[None]).unique().numel() == 1
    with pytest.raises(InputError, match="does not fill 2 dimensions"):
        embedding_grid(8, 2)


@pytest.mark.parametrize("quantizer", ["straight-through", "ema", "fsq"])
def test_slices_stay_near_the_dictionary(quantizer: str) -> None:
    points = constellation.qam(16)
    layer = Embedding(embedding_grid(16, 2), points, quantizer=quantizer)
    far = torch.tensor([[[50.0, -50.0], [0.1, 0.2]]], requires_grad=True)
    bounded = layer.bound(far)
    assert bounded.abs().max() < 1.5 * layer.embeddings.max()
    bounded.sum().backward()
    assert far.grad is not None and far.grad[0, 0].abs().max() < 1e-6 < far.grad[0, 1].min()
    torch.testing.assert_close(layer.labels(bounded), layer.labels(far))


def test_ema_dictionary_follows_its_slices() -> None:
    layer = embedding(quantizer="ema").train()
    assert not layer.embeddings.requires_grad
    target = torch.full((1, 64, 5), 3.0)
    n0, generator = channel.n0_of(torch.full((1, 1), 20.0)), torch.Generator().manual_seed(1)
    label = int(layer.labels(target[:, :1]))
    for _ in range(600):
        layer(target, n0, channel.named("awgn"), generator)
    torch.testing.assert_close(layer.embeddings[label], target[0, 0], rtol=1e-2, atol=1e-2)


def test_learned_points_keep_unit_power() -> None:
    layer = embedding(learned_points=True, decision="soft").train()
    slices = torch.randn(4, 6, 5, requires_grad=True)
    n0, generator = channel.n0_of(torch.full((4, 1), 5.0)), torch.Generator().manual_seed(3)
    received, *_ = layer(slices, n0, channel.named("rayleigh"), generator)
    (received**2).sum().backward()
    assert isinstance(layer.points, nn.Parameter) and layer.points.grad is not None
    layer.points.data += 0.3 * layer.points.grad / layer.points.grad.abs().max()
    assert float(layer.constellation().detach().abs().square().mean()) == pytest.approx(1.0)


PHYDNN = {"data": "digits", "epochs": 4, "batch": 64, "crop": 0, "flip": False, "threads": 1} | {
    "limit": 256,
    "lr": 0.01,
}


def adapted(tiny_run: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """The last checkpoint of a short adaptation."""
    chosen = train.make_config(train.PhydnnConfig, PHYDNN | changes)
    train.train_phydnn(chosen, tiny_run / "backbone" / "best.safetensors", out)
    return checkpoint.load(out / "last.safetensors")


def test_dictionary_shrinks_with_the_optimiser(tiny_run: Path, tmp_path: Path) -> None:
    state = adapted(tiny_run, tmp_path / "kept", size=8, final_size=4, frozen_epochs=0)
    assert [len(entry["usage"]) for entry in state["history"]] == [7, 5, 4, 4]
    momentum = [entry["momentum_buffer"] for entry in state["optimizer"]["state"].values()]
    assert momentum[0].shape == state["model"]["phydnn.embedding.embeddings"].shape == (4, 16)
    best = checkpoint.load(tmp_path / "kept" / "best.safetensors")
    assert len(best["model"]["usage"]) == 4
    rows = (tmp_path / "kept" / "dictionary.jsonl").read_text().splitlines()
    assert [len(json.loads(row)["points"]) for row in rows] == [7, 5, 4, 4]
    # Cut off after two epochs and resumed, it ends in the same place.
    options: dict[str, Any] = {"size": 8, "final_size": 4, "frozen_epochs": 0}
    chosen = train.make_config(train.PhydnnConfig, PHYDNN | options)

    class CutError(Exception):
        pass

    calls: list[str] = []

    def cut(path: Path, tree: dict[str, Any]) -> None:
        save(path, tree)
        calls.append(path.name)
        if calls.count("last.safetensors") == 2:
            raise CutError

    save = checkpoint.save
    weights = tiny_run / "backbone" / "best.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", cut)
        with pytest.raises(CutError):
            train.train_phydnn(chosen, weights, tmp_path / "cut")
    train.train_phydnn(chosen, weights, tmp_path / "cut")
    resumed = checkpoint.load(tmp_path / "cut" / "last.safetensors")
    for name, tensor in state["model"].items():
        torch.testing.assert_close(resumed["model"][name], tensor)
    # What the authors' public code does: the dictionary stands still once it has been rebuilt.
    rebuilt = adapted(tiny_run, tmp_path / "rebuilt", pruning="rebuilt", **options)
    still = [json.loads(row) for row in (tmp_path / "rebuilt" / "dictionary.jsonl").open()]
    assert still[2]["embeddings"] == still[3]["embeddings"]
    assert len(rebuilt["history"]) == 4


def test_entropy_term_carries_a_gradient_unless_told_otherwise(
    tiny_run: Path, tmp_path: Path
) -> None:
    options = {"beta": 0.5, "epochs": 1, "frozen_epochs": 0, "distillation": 0.0}
    with_gradient = adapted(tiny_run, tmp_path / "a", **options)
    without = adapted(tiny_run, tmp_path / "b", entropy_gradient=False, **options)
    none = adapted(tiny_run, tmp_path / "c", **options | {"beta": 0.0})
    name = "phydnn.embedding.embeddings"
    torch.testing.assert_close(without["model"][name], none["model"][name])
    assert not torch.allclose(with_gradient["model"][name], none["model"][name])
    assert with_gradient["history"][0]["rate"] > 0


def test_softened_answers_and_what_following_them_costs() -> None:
    generator = torch.Generator().manual_seed(1)
    given = torch.randn(3, 2, 4, generator=generator)  # of three teachers, for two images
    logits, labels = torch.randn(2 * 5, 4, generator=generator), torch.tensor([0, 1, 2, 3, 0])
    target = soften(list(given), 2.0)
    each = np.exp(given.numpy() / 2)
    mean = (each / each.sum(-1, keepdims=True)).mean(0)
    np.testing.assert_allclose(target.exp(), mean, rtol=1e-5)
    hard, soft = 0.0, 0.0
    for draw in logits.numpy().reshape(2, 5, 4):
        for k, answer in enumerate(draw):
            log = answer - np.log(np.exp(answer).sum())
            hard -= (0.3 if k < 2 else 1.0) * log[labels[k]] / 10
            if k < 2:
                log = answer / 2 - np.log(np.exp(answer / 2).sum())
                soft += 0.7 * 4 * (mean[k] * (np.log(mean[k]) - log)).sum() / 10
    found = losses(logits, labels, target, 0.7, 2.0)
    assert found["cross-entropy"].item() == pytest.approx(hard, rel=1e-5)
    assert found["distillation"].item() == pytest.approx(soft, rel=1e-5)
    alone = losses(logits[:5], labels, None, 0.7, 2.0)
    expected = nn.functional.cross_entropy(logits[:5], labels)
    assert alone.keys() == {"cross-entropy"}
    torch.testing.assert_close(alone["cross-entropy"], expected)
    itself = losses(given[0], labels[:2], soften([given[0]], 2.0), 1.0, 2.0)
    assert abs(itself["distillation"].item()) < 1e-6


def test_blended_images_hold_up_to_half_of_their_neighbour(tiny_run: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (64, 3, 8, 8), generator=generator, dtype=torch.uint8)
    x = x.contiguous(memory_format=torch.channels_last)
    mixed = blend(x, 0.5, generator)
    assert mixed.dtype == torch.uint8 and mixed.is_contiguous(memory_format=torch.channels_last)
    other = np.roll(x.numpy(), 1, 0).astype(float) - x.numpy()
    change = mixed.numpy() - x.numpy().astype(float)
    share = (change * other).sum((1, 2, 3)) / (other**2).sum((1, 2, 3))
    assert 0 <= share.min() < 0.05 and 0.45 < share.max() < 0.501
    np.testing.assert_allclose(change, share[:, None, None, None] * other, atol=0.6)
    plain, blended = (
        adapted(tiny_run, tmp_path / str(mixup), epochs=1, mixup=mixup)["history"][0]
        for mixup in (0.0, 0.5)
    )
    assert plain["distillation"] != blended["distillation"]


def test_a_backbone_follows_its_teachers(tiny_run: Path, tmp_path: Path) -> None:
    teacher = str(tiny_run / "backbone" / "best.safetensors")
    options = PHYDNN | {"seed": 7, "epochs": 2, "distillation": 1.0, "precision": "float32"}
    runs = {}
    for name, teachers in (("alone", ""), ("one", teacher), ("two", f"{teacher}, {teacher}")):
        config = train.make_config(train.BackboneConfig, options | {"teachers": teachers})
        state = checkpoint.load(train.train_backbone(config, tmp_path / name))
        assert all(key.startswith("network.") for key in state["model"])
        runs[name] = state
    history = runs["one"]["history"]
    assert history[1]["distillation"] < history[0]["distillation"]
    assert history[1]["cross-entropy"] == 0
    assert "distillation" not in runs["alone"]["history"][0]
    for key, value in runs["one"]["model"].items():
        torch.testing.assert_close(runs["two"]["model"][key], value, rtol=1e-3, atol=1e-4)


def test_a_teacher_learns_and_its_first_layer_stays(tmp_path: Path) -> None:
    options = PHYDNN | {"model": "cifarnet@0.125", "epochs": 8, "lr": 0.1, "limit": 0}
    config = train.make_config(train.BackboneConfig, options | {"bias_scale": 16.0})
    task = train.BackboneTask(networks.build(config.model, 10, [4.9], [6.0]), config)
    weights, biases = task.groups()
    assert (weights["scale"], biases["scale"]) == (1.0, 16.0)
    assert {p.ndim for p in biases["params"]} == {1} and biases["weight_decay"] == 0
    state = checkpoint.load(train.train_backbone(config, tmp_path))
    assert state["history"][-1]["val_accuracy"] > 0.8
    images = datasets.load("digits", "train")
    first = networks.CifarNet(10, *networks.pixel_statistics(images), 0.125)
    first.whiten(torch.from_numpy(images.x))
    torch.testing.assert_close(state["model"]["network.conv1.weight"], first.conv1.weight)
    again = train.load_backbone(tmp_path / "best.safetensors")
    assert again(torch.from_numpy(images.x[:2])).shape == (2, 10)


def test_orthogonal_steps_against_singular_vectors() -> None:
    generator = torch.Generator().manual_seed(1)
    for shape in ((16, 144), (144, 16), (64, 64)):
        matrix = torch.randn(shape, generator=generator)
        u, _, v = np.linalg.svd(matrix.numpy(), full_matrices=False)
        found = orthogonalise(matrix).numpy()
        # The same singular vectors, with values that the five steps bring near 1.
        values = np.diag(u.T @ found @ v.T)
        np.testing.assert_allclose(u @ np.diag(values) @ v, found, atol=1e-4)
        assert values.min() > 0.5 and values.max() < 1.25
        torch.testing.assert_close(orthogonalise(1e-3 * matrix), torch.from_numpy(found))
    assert not orthogonalise(torch.zeros(16, 144)).any()


def test_muon_turns_wide_filters_and_is_sgd_for_the_rest() -> None:
    torch.manual_seed(1)
    network = networks.build("resnet20", 10, [125.0] * 3, [60.0] * 3)
    twin = copy.deepcopy(network)
    settings: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
    ours = Muon(decay_groups(network), muon=0.02, **settings)
    sgd = torch.optim.SGD(decay_groups(twin), nesterov=True, **settings)
    assert [g["scale"] for g in ours.param_groups] == pytest.approx([1.0, 0.2, 1.0])
    assert len(ours.param_groups[1]["params"]) == 18
    for group in ours.param_groups:
        group["lr"] = 0.1 * group["scale"]
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        for p, q in zip(network.parameters(), twin.parameters(), strict=True):
            p.grad = q.grad = torch.randn(p.shape, generator=generator)
        ours.step()
        sgd.step()
    for (name, p), q in zip(network.named_parameters(), twin.parameters(), strict=True):
        if p.ndim < 4 or name == "conv1.weight":
            torch.testing.assert_close(p, q)
            continue
        was = before[name]
        torch.testing.assert_close(p.norm(), was.norm())
        angle = torch.acos((p * was).sum() / was.norm() ** 2).item()
        assert 0.02 < angle < 0.06  # Three steps of 0.02, no more than that in a row.


def test_a_run_with_muon_that_is_cut_off_ends_where_it_would_have(tmp_path: Path) -> None:
    options = PHYDNN | {"model": "resnet20", "muon": 0.02, "precision": "float32"}
    whole, cut = (
        train.make_config(train.BackboneConfig, options | {"epochs": epochs}) for epochs in (2, 1)
    )
    for name, configs in (("a", [whole]), ("b", [cut, whole])):
        for config in configs:
            with pytest.MonkeyPatch.context() as patch:
                # A rate that does not know how long the run is.
                patch.setattr(train.BackboneTask, "rate", lambda *_: 1.0)
                train.train_backbone(config, tmp_path / name)
    first, second = (checkpoint.load(tmp_path / name / "last.safetensors") for name in "ab")
    for key, value in first["model"].items():
        torch.testing.assert_close(second["model"][key], value)


def test_a_run_from_before_there_was_a_setting_goes_on(tiny_run: Path, tmp_path: Path) -> None:
    adapted(tiny_run, tmp_path, epochs=1)
    last = tmp_path / "last.safetensors"
    state = checkpoint.load(last)
    del state["config"]["mixup"]
    checkpoint.save(last, state)
    with pytest.raises(InputError, match=r"trained with mixup=0\.0, not 0\.5"):
        adapted(tiny_run, tmp_path, epochs=2, mixup=0.5)
    assert len(adapted(tiny_run, tmp_path, epochs=2)["history"]) == 2


def test_an_adaptation_follows_more_teachers(tiny_run: Path, tmp_path: Path) -> None:
    teacher = str(tiny_run / "backbone" / "best.safetensors")
    options = {"epochs": 1, "frozen_epochs": 0, "precision": "float32"}
    found = [
        adapted(tiny_run, tmp_path / str(k), **options, teachers=teachers)["model"]
        for k, teachers in enumerate(("", teacher))
    ]
    # The network itself once more answers as itself.
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="nix"):
        adapted(tiny_run, tmp_path / "nix", **options, teachers=str(tmp_path / "nix"))


def test_frozen_head_stays_and_serves_the_teacher(tiny_run: Path, tmp_path: Path) -> None:
    teacher = train.load_backbone(tiny_run / "backbone" / "best.safetensors")
    options = {"frozen_head": True, "quantizer": "ema", "uses": 16, "block": 4, "epochs": 2}
    state = adapted(tiny_run, tmp_path / "run", frozen_epochs=0, **options)
    images = torch.randint(0, 17, (8, 1, 8, 8), dtype=torch.uint8)
    losses = []
    for frozen in (True, False):
        config = train.make_config(train.PhydnnConfig, PHYDNN | options | {"frozen_head": frozen})
        phydnn = make_phydnn(teacher, config, images[:1].numpy())
        for name, value in phydnn.head.state_dict().items():
            assert torch.equal(state["model"][f"phydnn.head.{name}"], value), name
        start_dictionary(phydnn, images.numpy(), config)
        task = PhydnnTask(phydnn, networks.split(teacher, "layer1", images[:1]), config).eval()
        losses.append(task(images, torch.arange(8), torch.Generator().manual_seed(1)))
    assert losses[0]["distillation"] > 0
    for name, value in losses[0].items():
        torch.testing.assert_close(losses[1][name], value)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "as-published", "draws": 2},
        {"quantizer": "fsq", "uses": 16, "block": 4, "constellation": "qam"},
        {"quantizer": "ema", "slicing": "row", "channel": "rayleigh"},
        {"uses": 32, "dim": 1, "size": 4, "constellation": "learned", "refine": 1},
        {"uses": 32, "spread": 1.5, "constellation": "dictionary", "final_size": 12},
    ],
)
def test_every_way_trains_and_exports(
    options: dict[str, Any], tiny_run: Path, tmp_path: Path
) -> None:
    state = adapted(tiny_run, tmp_path / "phydnn", **options | {"epochs": 2})
    assert state["config"]["mode"] == options.get("mode", "corrected")
    bundle = export(
        tmp_path, tmp_path / "bundle", weights=tiny_run / "backbone" / "best.safetensors"
    )
    assert bundle.meta["split"]["head_macs"] >= bundle.meta["split"]["split_macs"] > 0
    assert bundle.uses == options.get("uses", 64)
    assert bundle.meta["metrics"]["simulated"][2]["accuracy"] > 0.3


def test_deeper_network_starts_as_the_shallow_one(tiny_run: Path) -> None:
    small = train.load_backbone(tiny_run / "backbone" / "best.safetensors")
    deep = networks.build("resnet56", 10, [0.0], [1.0]).eval()
    train.grow(small, deep)
    x = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(deep(x), small(x))
    with pytest.raises(InputError, match="does not fit the new"):
        train.grow(deep, networks.build("resnet20", 10, [0.0], [1.0]))


def test_two_processes_train_as_one(tiny_run: Path, tmp_path: Path) -> None:
    """The same steps, but for the order of sums and the statistics of each half batch."""
    two, one = tmp_path / "two", tmp_path / "one"
    settings = ["epochs=2", "limit=512", "threads=1", "lr=0.02"]
    options = ["--config", "digits", *(word for s in settings for word in ("--set", s))]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    for launch, out in (([*torchrun, "--nproc-per-node", "2"], two), ([sys.executable], one)):
        command = [*launch, "-m", "phydnn", "train", "backbone", *options, "--out", str(out)]
        subprocess.run(command, check=True, capture_output=True)
    states = [checkpoint.load(out / "backbone" / "last.safetensors") for out in (two, one)]
    losses = [[entry["cross-entropy"] for entry in state["history"]] for state in states]
    assert losses[0] == pytest.approx(losses[1], rel=0.2)
    # An adaptation whose dictionary is frozen in with the network first, and follows means.
    options += ["--set", "quantizer=ema", "--set", "frozen_epochs=1", "--set", "final_size=8"]
    weights = ["--weights", str(tiny_run / "backbone" / "best.safetensors")]
    command = [*torchrun, "--nproc-per-node", "2", "-m", "phydnn", "train", "phydnn", *options]
    subprocess.run([*command, *weights, "--out", str(two)], check=True, capture_output=True)
    usage = [e["usage"] for e in checkpoint.load(two / "phydnn" / "last.safetensors")["history"]]
    # All slices are counted once the processes' own counts have been put together.
    assert [len(counts) for counts in usage] == [16, 8]
    assert sum(usage[0]) == 512 * 64
    assert states[0]["model"]["network.fc.weight"].isfinite().all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", "3")
        with pytest.raises(InputError, match="a batch of 32 does not divide among 3 processes"):
            train.train_backbone(config(batch=32), tmp_path / "three")


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


def test_a_backbone_for_others_to_start_from(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, report = tmp_path / "models" / "tiny.safetensors", tmp_path / "report.json"
    assert main(["export", "--run", str(tiny_run), "--out", str(file), "--note", "A test."]) == 0
    whole = tiny_run / "backbone" / "best.safetensors"
    assert file.stat().st_size < 0.6 * whole.stat().st_size
    assert checkpoint.load(file)["note"] == "A test."
    original, rounded = train.load_backbone(whole), train.load_backbone(file)
    for name, tensor in original.state_dict().items():
        exact = 0.0 if tensor.ndim < 2 or "normalize" in name else 2**-11
        torch.testing.assert_close(rounded.state_dict()[name], tensor, rtol=exact, atol=2**-24)
    # It scores as it says, and an adaptation starts from it.
    score = ["eval", "--data", "digits", "--json", str(report), "--bundle"]
    assert main([*score, str(file)]) == 0
    found = json.loads(report.read_text())
    stored = checkpoint.load(file)["metrics"]
    assert {key: found[key] for key in stored} == stored and found["n"] == 360
    assert f"{found['accuracy']:.4f}" in capsys.readouterr().out
    small = ["--set", "epochs=1", "--set", "limit=32", "--out", str(tmp_path / "run")]
    assert main(["train", "phydnn", "--weights", str(file), *small]) == 0
    # What is none is told in one sentence.
    for none in (tmp_path / "none.safetensors", tiny_run / "phydnn" / "best.safetensors"):
        capsys.readouterr()
        assert main([*score, str(none)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_export_of_nothing(tmp_path: Path, tiny_run: Path) -> None:
    with pytest.raises(InputError, match=r"best\.safetensors is missing: train it first"):
        export(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="is no backbone's checkpoint"):
        train.load_backbone(tiny_run / "phydnn" / "best.safetensors")
    backbone = train.load_backbone(tiny_run / "backbone" / "best.safetensors")
    with pytest.raises(InputError, match="there is no setting 'bias_scale'"):
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


def test_folder_that_cannot_be_written_is_one_sentence(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "dictionary.jsonl").mkdir()
    with pytest.raises(RunError, match=r"cannot write to .*: Is a directory"):
        adapted(tiny_run, tmp_path, epochs=1)
    assert not (tmp_path / "last.safetensors").exists()


def test_labels_must_fit_the_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = datasets.load("digits", "val")
    assert images.y is not None
    wrong = dataclasses.replace(images, y=images.y + 5)
    monkeypatch.setattr(datasets, "load", lambda spec, split: wrong)
    with pytest.raises(InputError, match="'digits' has labels from 5 to 14, but 10 classes"):
        train.train_backbone(config(), tmp_path)


def test_phydnn_needs_a_tensor_at_the_cut() -> None:
    backbone = networks.build("resnet20", 10, [100.0], [50.0])
    chosen = train.make_config(train.PhydnnConfig, {"data": "digits", "split": "layer2"})
    made = train.make_phydnn(backbone, chosen, np.zeros((1, 1, 8, 8), np.uint8))
    assert isinstance(made, PhyDNN) and made.embedding.embeddings.shape == (16, 32)
