# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Networks, ours and others', with their weights; and their cut into a head and a tail."""

import copy
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from phydnn import checkpoint, complexity, datasets, networks, train
from phydnn.bundle import Bundle
from phydnn.cli import main
from phydnn.errors import InputError

STRANGERS = '''
import torch
from torch import nn

class Convolutions(nn.Module):
    """A small network with depthwise layers, and a classifier over pooled features."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1), nn.ReLU(inplace=True))
        self.depthwise = nn.Conv2d(16, 16, 3, 2, 1, groups=16)
        self.pointwise = nn.Conv2d(16, 32, 1)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(128, 10)

    def forward(self, x):
        x = self.pointwise(torch.relu(self.depthwise(self.stem(x))))
        return self.head(torch.relu(self.pool(x).flatten(1)))

class Tokens(nn.Module):
    """A small vision transformer with a class token."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(1, 24, 2, 2)
        self.token = nn.Parameter(0.1 * torch.randn(1, 1, 24))
        self.position = nn.Parameter(0.1 * torch.randn(1, 17, 24))
        layer = nn.TransformerEncoderLayer(24, 2, 48, 0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(24))
        self.classify = nn.Linear(24, 10)

    def forward(self, x):
        batch, _, height, width = x.shape
        assert height == 8 and width == 8, f"this takes 8x8, not {height}x{width}"
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(batch, -1, -1), x], 1) + self.position
        return self.classify(self.encoder(x)[:, 0])

def thousand():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1000))

def colour():
    return nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 10))

def maps():
    return nn.Conv2d(1, 10, 3)

def wants(size):
    return nn.Linear(size, 10)

def number():
    return 3

NOTHING = None
'''


@pytest.fixture
def strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module in the working directory with networks that nobody here has seen."""
    name = f"strangers_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(STRANGERS)
    monkeypatch.chdir(tmp_path)
    yield name


def trained(network: nn.Module, steps: int = 200) -> nn.Module:
    """As its owner would have trained it: on normalised digits, by his own script."""
    images = datasets.load("digits", "train")
    mean, std = networks.pixel_statistics(images)
    x = (torch.from_numpy(images.x).float() - mean[0]) / std[0]
    assert images.y is not None
    y = torch.from_numpy(images.y)
    # Threads cost more than they bring on layers so small.
    torch.set_num_threads(1)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        batch = torch.randint(len(x), (64,), generator=generator)
        loss = nn.functional.cross_entropy(network(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@pytest.mark.parametrize("name,layers", [("resnet20", 20), ("resnet56", 56), ("resnet110", 110)])
def test_depths_and_shapes(name: str, layers: int) -> None:
    network = networks.build(name, 10, [125.0] * 3, [60.0] * 3).eval()
    weighted = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weighted) == layers
    assert network(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape == (2, 10)
    if name == "resnet20":
        # He et al. 2016, table 6: 0.27 M parameters.
        assert round(complexity.parameters(network) / 1e6, 2) == 0.27


def test_the_teacher_begins_as_whitened_patches() -> None:
    torch.manual_seed(3)
    network = networks.build("cifarnet", 10, [125.0, 120.0, 90.0], [60.0, 50.0, 70.0]).eval()
    assert isinstance(network, networks.CifarNet)
    # Jordan 2024: 1.97 million parameters.
    assert round(complexity.parameters(network) / 1e6, 2) == 1.97
    grey = torch.randint(0, 256, (256, 1, 9, 9)) + torch.randint(-40, 40, (256, 3, 9, 9))
    x = grey.clamp(0, 255).to(torch.uint8)
    network.whiten(x)
    with torch.no_grad():
        axes = network.conv1(network.normalize(x)).transpose(0, 1).flatten(1)
        np.testing.assert_allclose(np.cov(axes[:12].numpy()), np.eye(12), atol=5e-3)
        torch.testing.assert_close(axes[12:], -axes[:12])
        # The identity as far as the channels go; a new convolution adds others.
        first = network.layers[1](axes.unflatten(1, (256, 8, 8)).transpose(0, 1))
    torch.testing.assert_close(first[:, :24].transpose(0, 1).flatten(1), axes)
    assert first[:, 24:].std() > 0.1
    for side in (8, 24, 32):
        assert network(torch.zeros(2, 3, side, side, dtype=torch.uint8)).shape == (2, 10)


@pytest.mark.parametrize("stride", [1, 2])
def test_strided_depthwise_filters_stay_in_float32(stride: int) -> None:
    torch.manual_seed(4)
    layer, x = networks.Depthwise(8, stride), torch.randn(2, 8, 6, 6)
    plain = nn.functional.conv2d(x, layer.weight, None, stride, 1, groups=8)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x.bfloat16())
    assert found.dtype == (torch.float32 if stride > 1 else torch.bfloat16)
    torch.testing.assert_close(found.float(), plain, rtol=2e-2, atol=2e-2)
    assert torch.equal(layer(x), plain)


@pytest.mark.parametrize("point", ["layer1", "layer2.0", "bn1", "layer3", "fc"])
def test_split_is_exact(point: str) -> None:
    torch.manual_seed(1)
    network = networks.build("resnet20", 10, [100.0], [50.0]).eval()
    x = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    head, tail = networks.split(network, point, x)
    torch.testing.assert_close(tail(head(x)), network(x), rtol=0, atol=0)
    shared = {id(p) for p in network.parameters()}
    assert {id(p) for part in (head, tail) for p in part.parameters()} == shared
    # The parts' names are the network's, so that a checkpoint of them can be read anew.
    names = {name for part in (head, tail) for name, _ in part.named_parameters()}
    assert names == {name for name, _ in network.named_parameters()}


class Odd(nn.Module):
    """Submodules that cannot be split at, each for a reason of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)
        self.aside = nn.Linear(4, 4)
        self.pair = Pair()
        self.recurrent = nn.GRU(4, 4, batch_first=True)
        self.branches = Branches()
        self.turned = nn.Flatten(0, 0)
        self.last = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        y = self.branches(self.twice(self.twice(self.aside(x) + x)))
        one, two = self.pair(y)
        y, _ = self.recurrent((one + two)[:, None])
        y = self.turned(y[:, 0].transpose(0, 1).contiguous()).transpose(0, 1)
        return self.last(y)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, 2 * x


class Branches(nn.Module):
    """Its Python depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        return x if float(x.detach().sum()) > 0 else -x


class Wrapped(nn.Module):
    """In place of images of pixels: what Odd takes."""

    def __init__(self) -> None:
        super().__init__()
        self.only = Branches()

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            x = -x
        return self.only(x)


@pytest.mark.parametrize(
    "network,point,message",
    [
        (None, "layer9", "has no submodule 'layer9' to split at, but normalize, conv1, bn1, "),
        (None, "", "has no submodule ''"),
        (None, "layer1.0.conv1", r"a shortcut goes round 'layer1\.0\.conv1'"),
        (Odd(), "aside", "a shortcut goes round 'aside'"),
        (Odd(), "twice", "runs 'twice' 2 times"),
        (Odd(), "unused", "runs 'unused' 0 times"),
        (Odd(), "pair", "'pair' gives tuple, not a tensor"),
        (Odd(), "recurrent", "'recurrent' gives tuple, not a tensor"),
        (Odd(), "branches.inner", r"split at 'branches\.inner', for torch.fx keeps 'branches'"),
        (Odd(), "turned", r"'turned' gives \[4, 6\] for 6 images: split where it is maps"),
        (Wrapped(), "only", "torch.fx cannot trace the network: TraceError: symbolically traced"),
    ],
)
def test_bad_splits(network: nn.Module | None, point: str, message: str) -> None:
    x = torch.randint(0, 256, (3, 4), dtype=torch.uint8)
    if network is None:
        network = networks.build("resnet20", 10, [100.0], [50.0])
        x = x.view(3, 1, 2, 2)
    with pytest.raises(InputError, match=message):
        networks.split(network.eval(), point, x)


def test_what_fx_cannot_follow_stays_whole() -> None:
    torch.manual_seed(1)
    network = Odd().eval()
    x = torch.randn(5, 4)
    _, cuts = networks.cuts(network)
    assert list(cuts) == ["branches", "recurrent", "turned", "last"]
    for point in ("branches", "last"):
        head, tail = networks.split(network, point)
        torch.testing.assert_close(tail(head(x)), network(x), rtol=0, atol=0)


class Views(nn.Module):
    """Reads a size off the image [B,1,2,2], and uses it after its layers."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.token = nn.Parameter(torch.ones(1, 4))
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, image: Tensor) -> Tensor:
        count, _, _, width = image.shape
        token = self.token.expand(image.size(0), -1)
        x = self.b(self.a(image.flatten(1)))
        if self.how == "late":
            count = image.size(0)
        x = x.view(-1, 2 * width) if self.how == "width" else x.view(count, 4) + token
        return self.c(x)


@pytest.mark.parametrize("how,points", [("batch", "abc"), ("width", "c"), ("late", "c")])
def test_only_the_batch_size_may_go_round_a_split(how: str, points: str) -> None:
    torch.manual_seed(1)
    network = networks.Preprocessed(Views(how), [100.0], [50.0]).eval()
    x = torch.randint(0, 256, (3, 1, 2, 2), dtype=torch.uint8)
    assert "".join(networks.cuts(network)[1]) == points
    for point in "abc":
        if point in points:
            head, tail = networks.split(network, point, x)
            for batch in (x, x[:1]):
                torch.testing.assert_close(tail(head(batch)), network(batch), rtol=0, atol=0)
        else:
            with pytest.raises(InputError, match=f"a shortcut goes round '{point}'"):
                networks.split(network, point, x)


@pytest.mark.parametrize(
    "builder,latents",
    [
        (
            "Convolutions",
            {
                "stem.0": (16, 8, 8),
                "stem.1": (16, 8, 8),
                "stem": (16, 8, 8),
                "depthwise": (16, 4, 4),
                "pointwise": (32, 4, 4),
                "pool": (32, 2, 2),
                "head": (10,),
            },
        ),
        (
            "Tokens",
            {
                "patch": (24, 4, 4),
                "encoder.layers.0": (17, 24),
                "encoder.layers.1": (17, 24),
                "encoder": (17, 24),
                "classify": (10,),
            },
        ),
    ],
)
def test_unseen_network_by_its_own_names(
    strangers: str, builder: str, latents: dict[str, Any]
) -> None:
    torch.manual_seed(1)
    network = networks.build(f"{strangers}:{builder}", 10, [80.0], [60.0]).eval()
    assert isinstance(network, networks.Preprocessed)
    x = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    expected = network.network((x.float() - 80) / 60)
    torch.testing.assert_close(network(x), expected, rtol=0, atol=0)
    _, cuts = networks.cuts(network)
    assert list(cuts) == [point for point in latents if point != "stem.1"]
    for point, shape in latents.items():
        head, tail = networks.split(copy.deepcopy(network), point, x)
        assert head(x).shape[1:] == shape
        torch.testing.assert_close(tail(head(x).clone()), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    "name,message",
    [
        ("vgg", "no network 'vgg': choose one of resnet20, .* or package.module:builder"),
        ("nowhere.at.all:net", "cannot import 'nowhere.at.all': ModuleNotFoundError: No module"),
        ("{}:nothing", "has no function or class 'nothing'"),
        ("{}:NOTHING", "has no function or class 'NOTHING'"),
        ("{}:", "has no function or class ''"),
        (":net", "cannot import '': ValueError"),
        ("{}:wants", r"wants\(\) fails: TypeError: wants\(\) missing 1 required"),
        ("{}:number", r"number\(\) gives int, not a torch.nn.Module"),
    ],
)
def test_bad_builders(strangers: str, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        networks.build(name.format(strangers), 10, [0.0], [1.0])


def test_a_module_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_network.py").write_text("import torch\n1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="'broken_network': ZeroDivisionError: division by zero"):
        networks.build("broken_network:net", 10, [0.0], [1.0])


@pytest.mark.parametrize("nest", ["", "state_dict", "model", "model_state_dict", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_weights_as_others_save_them(tmp_path: Path, nest: str, prefix: str) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(8, 3))
    state = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    path = tmp_path / "weights"
    torch.save({nest: state, "epoch": 3, "best": [0.1]} if nest else state, path)
    read = networks.read_weights(path)
    assert list(read) == list(network.state_dict())
    other = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(8, 3))
    networks.load_weights(other, read)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor)
    if not nest:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
        assert networks.read_weights(path).keys() == network.state_dict().keys()


def test_a_prefix_that_the_network_lacks_is_passed_over() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    state = {f"model.{name}": tensor + 1 for name, tensor in network.state_dict().items()}
    del state["model.1.num_batches_tracked"]
    networks.load_weights(network, state)
    torch.testing.assert_close(network.state_dict()["0.bias"], state["model.0.bias"])


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_that_would_run_code_are_not_read(tmp_path: Path, zipped: bool) -> None:
    path, crater = tmp_path / "bomb.pt", tmp_path / "crater"
    torch.save(
        {"state_dict": {"weight": torch.ones(2)}, "extra": Bomb(crater)},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(InputError, match=r"more than tensors \(posix\.mkdir\), which is not read"):
        networks.read_weights(path)
    assert not crater.exists()
    # The file is what it seems to be.
    torch.load(path, weights_only=False)
    assert crater.exists()
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(InputError, match=r"\(torch\.nn\.modules\.linear\.Linear\)"):
        networks.read_weights(path)


def test_files_without_weights(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content, message in (
        ({"epoch": 3}, r"no state dict of tensors \('epoch' is int\)"),
        ({"state_dict": {"a": torch.ones(1), "b": "c"}}, r"\('b' is str\)"),
        ({}, "holds no state dict: save"),
        ([torch.ones(2)], "holds no state dict: save"),
        (torch.ones(2), "holds no state dict: save"),
    ):
        torch.save(content, path)
        with pytest.raises(InputError, match=message):
            networks.read_weights(path)
    torch.save({"state_dict": {"a": torch.ones(1000)}}, path)
    whole = path.read_bytes()
    for damaged in (b"", b"hello", whole[: len(whole) // 2], b"\x10\0\0\0\0\0\0\0{hello} "):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"holds no weights that torch can read|more than"):
            networks.read_weights(path)
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match=f"cannot read {missing}: "):
            networks.read_weights(missing)


def test_weights_that_do_not_fit() -> None:
    network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(3)))
    before = copy.deepcopy(network.state_dict())
    state = {name: tensor + 1 for name, tensor in before.items()}
    wrong = {**state, "0.weight": torch.zeros(3, 2), "9.bias": torch.zeros(1)}
    del wrong["2.bias"]
    with pytest.raises(InputError) as caught:
        networks.load_weights(network, wrong)
    assert str(caught.value) == (
        "the weights do not fit: the network misses 2.bias; it has no place for 9.bias; "
        "it has another shape of 0.weight [2, 2], not [3, 2]"
    )
    with pytest.raises(InputError, match=r"misses 0\.weight, 0\.bias, 1\.weight and 3 more$"):
        networks.load_weights(network, {})
    for name, tensor in before.items():
        torch.testing.assert_close(network.state_dict()[name], tensor)


@pytest.mark.parametrize("builder,point", [("Convolutions", "depthwise"), ("Tokens", "encoder")])
def test_import_of_an_unseen_network(
    strangers: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    builder: str,
    point: str,
) -> None:
    torch.manual_seed(1)
    name = f"{strangers}:{builder}"
    network = networks.build(name, 10, [0.0], [1.0])
    assert isinstance(network, networks.Preprocessed)
    owner = trained(network.network)
    state = {f"module.{name}": tensor for name, tensor in owner.state_dict().items()}
    weights = tmp_path / "his.pt"
    torch.save({"epoch": 1, "state_dict": state}, weights)
    caplog.set_level(logging.INFO)
    path = train.import_backbone(name, weights, "digits", tmp_path / "run")
    assert path == tmp_path / "run" / "best.safetensors"
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    stored = checkpoint.load(path)
    assert stored["config"]["epochs"] == 0 and stored["config"]["classes"] == 10
    assert stored["imported"]["file"] == "his.pt" and stored["imported"]["val_accuracy"] > 0.8

    loaded = networks.from_checkpoint(stored)
    assert not any(module.training for module in loaded.modules())
    images = datasets.load("digits", "test")
    mean, std = networks.pixel_statistics(datasets.load("digits", "train"))
    x = torch.from_numpy(images.x)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), owner((x.float() - mean[0]) / std[0]))
        head, tail = networks.split(loaded, point, x[:1])
        torch.testing.assert_close(tail(head(x)), loaded(x), rtol=0, atol=0)
        assert (tail(head(x)).argmax(1).numpy() == images.y).mean() > 0.8

    # As if it had been trained here, when nothing says how many classes there are.
    del stored["config"]["classes"]
    torch.testing.assert_close(networks.from_checkpoint(stored)(x[:5]), loaded(x[:5]))

    # The normalisation that its owner had, on the scale that he quotes.
    centre, spread = [mean[0] / 255], [std[0] / 255]
    again = train.import_backbone(name, weights, "digits", tmp_path / "r2", centre, spread)
    assert checkpoint.load(again)["imported"] == stored["imported"]
    # Classes in another order.
    caplog.clear()
    last = {"Convolutions": "module.head", "Tokens": "module.classify"}[builder]
    turned = {f"{last}.{part}": state[f"{last}.{part}"].roll(1, 0) for part in ("weight", "bias")}
    torch.save(state | turned, weights)
    train.import_backbone(name, weights, "digits", tmp_path / "r3")
    assert "no better than chance" in caplog.text


def test_unseen_network_to_a_bundle_by_the_command_line(strangers: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    name = f"{strangers}:Tokens"
    network = networks.build(name, 10, [0.0], [1.0])
    assert isinstance(network, networks.Preprocessed)
    state = trained(network.network).state_dict()
    torch.save({"state_dict": {f"module.{key}": x for key, x in state.items()}}, "his.pt")
    given = ["--model", name, "--weights", "his.pt", "--data", "digits", "--out", "run"]
    train = ["train", "phydnn", *given, "--set", "threads=1", "--set", "epochs=4"]
    assert main([*train, "--split", "encoder.layers.9"]) == 2
    assert main([*train, "--split", "encoder.layers.0", "--set", "frozen_epochs=1"]) == 0
    assert main(["export", "--run", "run", "--out", "phydnn-tokens"]) == 0
    bundle = Bundle.load(tmp_path / "phydnn-tokens")
    # A class token and 16 patches, so 17 channel uses an image.
    assert bundle.uses == 17 and bundle.dim == 24
    assert bundle.meta["split"]["model"] == name
    assert bundle.meta["split"]["point"] == "encoder.layers.0"
    assert bundle.meta["metrics"]["backbone"]["accuracy"] > 0.8
    assert bundle.meta["metrics"]["simulated"][-1]["accuracy"] > 0.3


def test_import_of_our_kind_of_network(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = networks.build("resnet20", 10, [0.0], [1.0])
    state = network.state_dict()
    bare = {name: x for name, x in state.items() if not name.startswith("normalize.")}
    torch.save({f"net.{name}": tensor for name, tensor in bare.items()}, tmp_path / "w.pt")
    path = train.import_backbone("resnet20", tmp_path / "w.pt", "digits", tmp_path, [0.5], [0.2])
    loaded = networks.from_checkpoint(checkpoint.load(path)).state_dict()
    assert loaded["normalize.mean"].item() == 127.5 and loaded["normalize.std"].item() == 51
    for name, tensor in bare.items():
        torch.testing.assert_close(loaded[name], tensor)
    # A checkpoint without a class count, of before there were imports.
    old = checkpoint.load(path)
    old["config"] = {"model": "resnet20", "epochs": 3}
    assert networks.from_checkpoint(old).state_dict().keys() == state.keys()
    with pytest.raises(KeyError, match="config"):
        networks.from_checkpoint({})


def test_bad_imports(strangers: str, tmp_path: Path) -> None:
    weights = tmp_path / "w.pt"
    for builder, options, message in (
        ("thousand", {}, "tells 1000 classes apart but the data set has 10"),
        ("colour", {}, "the network fails on images of 1x8x8: RuntimeError: "),
        ("maps", {}, r"gives \[2, 10, 6, 6\] for 2 images, not logits \[2,K\]"),
        ("Tokens", {"mean": [0.1, 0.2]}, "--mean has 2 values but the images 1 channels"),
        ("Tokens", {"mean": [33.3]}, r"--mean 33\.3 is not of pixels on the scale 0 to 1"),
        ("Tokens", {"std": [0.0]}, "--std 0 is not of pixels on the scale 0 to 1"),
        ("Tokens", {"std": [float("nan")]}, "--std nan is not"),
    ):
        name = f"{strangers}:{builder}"
        network = networks.build(name, 10, [0.0], [1.0])
        assert isinstance(network, networks.Preprocessed)
        torch.save(network.network.state_dict(), weights)
        with pytest.raises(InputError, match=message):
            train.import_backbone(name, weights, "digits", tmp_path / "run", **options)
    colour = networks.build("resnet20", 10, [0.0] * 3, [1.0] * 3).eval()
    with pytest.raises(InputError, match="takes images of 3 channels, not 1"):
        networks.check_logits(colour, torch.zeros(2, 1, 8, 8, dtype=torch.uint8), 10)
    with pytest.raises(InputError, match="the weights do not fit: the network misses stem"):
        train.import_backbone(f"{strangers}:Convolutions", weights, "digits", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "last.safetensors").touch()
    with pytest.raises(InputError, match="holds a backbone that was trained there"):
        train.import_backbone(f"{strangers}:Tokens", weights, "digits", tmp_path)


def test_macs_and_parameters_of_the_paper_s_head() -> None:
    """ResNet-56's conv1 and layer1: 42.9 M multiply-accumulates, 42.5 k parameters."""
    network = networks.build("resnet56", 10, [125.0] * 3, [60.0] * 3)
    head, tail = networks.split(network, "layer1")
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    closed = 1024 * 9 * (3 * 16 + 18 * 16 * 16)
    assert complexity.macs(head, image) == closed and round(closed / 1e6, 1) == 42.9
    assert complexity.parameters(head) == 9 * (3 * 16 + 18 * 16 * 16) + 19 * 2 * 16 == 42512
    assert complexity.parameters(head) + complexity.parameters(tail) == complexity.parameters(
        network
    )
    # A batch costs so many times as much, and the count leaves no trace.
    before = copy.deepcopy(head.state_dict())
    head.train()
    assert complexity.macs(head, image.expand(3, -1, -1, -1)) == 3 * closed
    assert head.training and all(m.training for m in head.modules() if isinstance(m, nn.Conv2d))
    for name, tensor in head.state_dict().items():
        torch.testing.assert_close(tensor, before[name])


def test_macs_of_attention() -> None:
    """Projections, scores and mixing, and two layers; nothing hides in a fused kernel."""
    tokens, width, hidden = 17, 24, 48
    layer = nn.TransformerEncoderLayer(width, 2, hidden, batch_first=True)
    closed = tokens * width * (4 * width + 2 * tokens + 2 * hidden)
    assert complexity.macs(layer.eval(), torch.zeros(1, tokens, width)) == closed
    depthwise = nn.Conv2d(8, 8, 3, 1, 1, groups=8)
    assert complexity.macs(depthwise, torch.zeros(1, 8, 5, 5)) == 25 * 8 * 9
