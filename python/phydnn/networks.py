# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Backbone networks, those of others with their weights, and the cut into a head and a tail."""

from __future__ import annotations

import contextlib
import dis
import functools
import importlib
import itertools
import logging
import operator
import os
import pickle
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, fx, nn
from torch.nn import functional

from phydnn.datasets import Images
from phydnn.errors import InputError

logger = logging.getLogger(__name__)

BLOCKS = {"resnet20": 3, "resnet56": 9, "resnet110": 18}
"""Residual blocks n in each of three stages, depth 6n + 2 (He et al. 2016, section 4.2)."""


class Normalize(nn.Module):
    """Pixels 0..255 [B,C,H,W] to float32 of about zero mean and unit variance a channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x.float() - self.mean) / self.std


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut of option A: subsample, pad with zero channels."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.padding = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.padding:
            x = functional.pad(x, (0, 0, 0, 0, self.padding, self.padding))
        return functional.relu(x + y)


class ResNet(nn.Module):
    """The CIFAR residual network of He et al. 2016: 16, 32 and 64 channels, option-A shortcuts.

    Takes pixels 0..255 [B,C,H,W] (H and W multiples of 4; 32x32 and 8x8 are used here) and gives
    logits float32 [B,classes]; the normalisation is inside, so that an exported head takes bytes.

    Args:
        blocks: residual blocks in each stage (see BLOCKS).
        classes: number of classes K.
        mean, std: of each channel's pixels, on the scale 0..255; their length is C.
    """

    def __init__(
        self, blocks: int, classes: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.conv1 = nn.Conv2d(len(mean), 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, 1)
        self.layer2 = self._stage(16, 32, blocks, 2)
        self.layer3 = self._stage(32, 64, blocks, 2)
        self.fc = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    @staticmethod
    def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
        first = BasicBlock(inputs, outputs, stride)
        return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(self.normalize(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


class SmallVGG(nn.Module):
    """VGG-16 for small images (Liu and Deng 2015): 13 convolutions, each normalised, and a head.

    Args:
        classes, mean, std: as of :class:`ResNet`.
        width: of all layers over the published 64 to 512 channels and 512 hidden neurons.
        head: fully connected layers: 2 in AirNet's conference version, 3 in its journal's.
    """

    PLAN = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))

    def __init__(
        self,
        classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        width: float = 1.0,
        head: int = 2,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        layers: list[nn.Module] = []
        inputs = len(mean)
        for channels, count in self.PLAN:
            outputs = _scaled(channels, width)
            for _ in range(count):
                layers += [nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)]
                layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs = outputs
            # Rounded up, so that an image smaller than 32x32 is not pooled away.
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        hidden: list[nn.Module] = []
        for _ in range(head - 1):
            outputs = _scaled(512, width)
            hidden += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]
            inputs = outputs
        self.hidden = nn.Sequential(*hidden)
        self.fc = nn.Linear(inputs, classes)
        _start(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(self.normalize(x)).mean((2, 3))
        return self.fc(self.hidden(x))


class ProjectionBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut of option B: a 1x1 convolution where shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet34(nn.Module):
    """ResNet-34 (He et al. 2016) with a 3x3 first layer, for images of 64x64 or smaller.

    Args:
        classes, mean, std, width: as of :class:`SmallVGG`.
    """

    PLAN = ((64, 3), (128, 4), (256, 6), (512, 3))

    def __init__(
        self, classes: int, mean: Sequence[float], std: Sequence[float], width: float = 1.0
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        inputs = _scaled(64, width)
        self.conv1 = nn.Conv2d(len(mean), inputs, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        blocks: list[nn.Module] = []
        for stage, (channels, count) in enumerate(self.PLAN):
            for i in range(count):
                outputs = _scaled(channels, width)
                blocks.append(ProjectionBlock(inputs, outputs, 2 if stage and not i else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(inputs, classes)
        _start(self)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(self.normalize(x))))
        return self.fc(self.blocks(x).mean((2, 3)))


class Depthwise(nn.Conv2d):
    """A 3x3 filter for each channel; with a stride it is computed in float32 on a CPU.

    There PyTorch 2 has no fast bfloat16 gradient of strided ones: three of them took half of
    MobileNetV2's training step.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels, channels, 3, stride, 1, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == (1, 1) or not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen by 1x1, filter each channel by 3x3, narrow by 1x1."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()]
        layers += [Depthwise(hidden, stride), nn.BatchNorm2d(hidden), nn.ReLU6()]
        layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.shortcut else y


class MobileNetV2(nn.Module):
    """MobileNetV2 (Sandler et al. 2018, table 2), its first two strides 1 for 32x32 images.

    Args:
        classes, mean, std, width: as of :class:`SmallVGG`.
    """

    PLAN = (
        (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    )  # fmt: skip
    """Expansion, channels, blocks and stride of each stage."""

    def __init__(
        self, classes: int, mean: Sequence[float], std: Sequence[float], width: float = 1.0
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        inputs = _scaled(32, width)
        layers: list[nn.Module] = [nn.Conv2d(len(mean), inputs, 3, 1, 1, bias=False)]
        layers += [nn.BatchNorm2d(inputs), nn.ReLU6()]
        for expansion, channels, count, stride in self.PLAN:
            for i in range(count):
                outputs = _scaled(channels, width)
                layers.append(InvertedResidual(inputs, outputs, 1 if i else stride, expansion))
                inputs = outputs
        last = _scaled(1280, width)
        layers += [nn.Conv2d(inputs, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU6()]
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(last, classes)
        _start(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layers(self.normalize(x)).mean((2, 3)))


class CifarNet(nn.Module):
    """The network that learns CIFAR-10 in the fewest steps (Jordan 2024, "94% on CIFAR-10 in 3.29
    seconds on a single GPU", section 3): a teacher for the others.

    Pairs of 3x3 convolutions that begin as the identity, behind a 2x2 one that whitens patches and
    does not learn; :meth:`whiten` sets it.

    Args:
        classes, mean, std: as of :class:`ResNet`.
        width: of all learnt layers over the published 64, 256 and 256 channels.
    """

    PLAN = (64, 256, 256)

    def __init__(
        self, classes: int, mean: Sequence[float], std: Sequence[float], width: float = 1.0
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        inputs = 8 * len(mean)
        self.conv1 = nn.Conv2d(len(mean), inputs, 2)
        self.conv1.weight.requires_grad_(False)
        layers: list[nn.Module] = [nn.GELU()]
        for channels in self.PLAN:
            outputs = _scaled(channels, width)
            for pool in ([nn.MaxPool2d(2, ceil_mode=True)], []):
                layers += [nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), *pool]
                layers += [nn.BatchNorm2d(outputs), nn.GELU()]
                inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(inputs, classes, bias=False)
        for module in self.layers:
            if isinstance(module, nn.Conv2d):
                same = min(module.out_channels, module.in_channels)
                nn.init.dirac_(module.weight.data[:same])
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.requires_grad_(False)

    @torch.no_grad()
    def whiten(self, x: Tensor) -> None:
        """Makes the first layer the principal axes, either way, of 2x2 patches of unit variance.

        Args:
            x: uint8 [B,C,H,W], some thousands of the images to learn.
        """
        patches = functional.unfold(self.normalize(x), 2).transpose(1, 2).flatten(0, 1)
        values, axes = torch.linalg.eigh(torch.cov(patches.T))
        filters = (axes / (values + 5e-4).sqrt()).T.unflatten(1, self.conv1.weight.shape[1:])
        self.conv1.weight.copy_(torch.cat([filters, -filters]))
        assert self.conv1.bias is not None
        self.conv1.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(self.conv1(self.normalize(x)))
        return self.fc(x.amax((2, 3))) / 9


def _scaled(channels: int, width: float) -> int:
    return max(2, round(channels * width))


def _start(network: nn.Module) -> None:
    """He's random weights for all layers."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")


SCALABLE: dict[str, Callable[..., nn.Module]] = {
    "vgg16": SmallVGG,
    "vgg16-3": functools.partial(SmallVGG, head=3),
    "resnet34": ResNet34,
    "mobilenetv2": MobileNetV2,
    "cifarnet": CifarNet,
}
"""AirNet's networks and a teacher, by name; a name may end in @WIDTH, such as vgg16@0.5."""


class Preprocessed(nn.Module):
    """Someone's network behind the normalisation: pixels 0..255 [B,C,H,W] in, its output out."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.normalize(x))


def build(name: str, classes: int, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """A network with fresh weights that takes pixels 0..255 [B,C,H,W].

    Args:
        name: a key of BLOCKS or of SCALABLE, or ``package.module:builder``. The module is
            imported (from the working directory too) and its builder, a function or a class,
            called without arguments; what it gives is a torch module from normalised float32
            [B,C,H,W] to logits, and comes back as a :class:`Preprocessed`.
        classes: number of classes K of the networks that ship; a builder knows its own.
        mean, std: of each channel's pixels, on the scale 0..255; their length is C.

    Raises:
        InputError: no such network, or its builder fails.
    """
    if name in BLOCKS:
        return ResNet(BLOCKS[name], classes, mean, std)
    base, at, text = name.partition("@")
    if base in SCALABLE:
        try:
            width = float(text) if at else 1.0
        except ValueError:
            width = 0.0
        if not 0 < width <= 8:
            raise InputError(f"'{name}' has no width from 0 to 8 after the @, such as {base}@0.5")
        return SCALABLE[base](classes, mean, std, width)
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise InputError(
            f"there is no network '{name}': choose one of {', '.join([*BLOCKS, *SCALABLE])}, or "
            "package.module:builder for your own"
        )
    with _working_directory_on_path():
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # Someone else's code may raise anything.
            raise InputError(f"cannot import '{module_name}': {_short(error)}") from error
        builder = getattr(module, attribute, None)
        if not callable(builder):
            raise InputError(f"the module '{module_name}' has no function or class '{attribute}'")
        try:
            network = builder()
        except Exception as error:
            raise InputError(f"{name}() fails: {_short(error)}") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"{name}() gives {type(network).__name__}, not a torch.nn.Module")
    return Preprocessed(network, mean, std)


@contextlib.contextmanager
def _working_directory_on_path() -> Iterator[None]:
    """As ``python -m`` has it, so that a module beside the user's data is found."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _short(error: Exception) -> str:
    """An exception of any kind in part of a sentence."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def check_logits(network: nn.Module, images: Tensor, classes: int = 0) -> None:
    """Runs a network once and holds its output against the data set.

    Args:
        network: in evaluation mode.
        images: uint8 [B,C,H,W], any.
        classes: of the data set; 0 for any number.

    Raises:
        InputError: it does not take the images, or does not give logits [B,classes].
    """
    for module in network.modules():
        # Torch would spread one channel over all of them.
        if isinstance(module, Normalize) and module.mean.shape[1] != images.shape[1]:
            raise InputError(
                f"the network takes images of {module.mean.shape[1]} channels, "
                f"not {images.shape[1]}"
            )
    try:
        with torch.no_grad():
            logits = network(images)
    except Exception as error:  # Whatever a module raises on images that it was not made for.
        shape = "x".join(map(str, images.shape[1:]))
        raise InputError(f"the network fails on images of {shape}: {_short(error)}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        found = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(
            f"the network gives {found} for {len(images)} images, not logits [{len(images)},K]"
        )
    if classes and logits.shape[1] != classes:
        raise InputError(
            f"the network tells {logits.shape[1]} classes apart but the data set has {classes}: "
            "its labels would not fit"
        )


NESTS = ("state_dict", "model_state_dict", "model", "net")
"""Where training scripts keep the weights among what else they save."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads a network's weights as others save them, and nothing that could run code.

    Safetensors, or what ``torch.save`` wrote; the state dict itself or nested under one of NESTS.
    The prefixes ``module.`` (of DataParallel) and ``_orig_mod.`` (of torch.compile) are removed.

    Returns:
        tensors by name, on the processor.

    Raises:
        InputError: the file cannot be read, needs more than tensors to be unpickled, or holds
            something else.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            # A safetensors file is the length of its header in 8 bytes, then a JSON object.
            if file.read(9)[8:] == b"{":
                content: Any = load_file(path)
            else:
                content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        raise InputError(
            f"{path} holds more than tensors{f' ({wanted[1]})' if wanted else ''}, which is not "
            "read, for it could run code: save network.state_dict() alone"
        ) from error
    except Exception as error:  # A damaged file can make the readers raise anything.
        raise InputError(f"{path} holds no weights that torch can read: {_short(error)}") from error
    while isinstance(content, Mapping):
        inner = [content[key] for key in NESTS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path} holds no state dict: save network.state_dict()")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(
                f"{path} holds no state dict of tensors ('{name}' is {type(value).__name__}): "
                "save network.state_dict()"
            )
    weights = {name.replace("_orig_mod.", ""): value for name, value in content.items()}
    while all(name.startswith("module.") for name in weights):
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return weights


def load_weights(
    network: nn.Module, weights: Mapping[str, Tensor], spared: Sequence[str] = ()
) -> None:
    """Loads all of a network's weights in place, and no others.

    A prefix that all names share and the network lacks ("model." of a Lightning module, say) is
    passed over.

    Args:
        network: what to load into.
        weights: by name.
        spared: names that may be missing, whose tensors then stay.

    Raises:
        InputError: some are missing, left over or of another shape; the network is untouched.
    """
    wanted = network.state_dict()
    prefix, dot, _ = next(iter(weights), "").partition(".")
    prefix += dot
    shared = dot and all(name.startswith(prefix) for name in weights)
    if shared and not any(name.startswith(prefix) for name in wanted):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    # Counters, which no network of old had, do nothing for one that is trained.
    needed = [
        name for name in wanted if name not in spared and not name.endswith("num_batches_tracked")
    ]
    problems = []
    for what, names in (
        ("misses", [name for name in needed if name not in weights]),
        ("has no place for", [name for name in weights if name not in wanted]),
        (
            "has another shape of",
            [
                f"{name} {list(wanted[name].shape)}, not {list(value.shape)}"
                for name, value in weights.items()
                if name in wanted and wanted[name].shape != value.shape
            ],
        ),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            problems.append(f"{what} {', '.join(names[:3])}{more}")
    if problems:
        raise InputError(f"the weights do not fit: the network {'; it '.join(problems)}")
    network.load_state_dict(dict(weights), strict=False)


def load_foreign(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """:func:`load_weights` of a network of :func:`build` but for the normalisation, which stays."""
    if isinstance(network, Preprocessed):
        load_weights(network.network, weights)
    else:
        load_weights(network, weights, ("normalize.mean", "normalize.std"))


def pixel_statistics(images: Images) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel's pixels, on the scale 0..255."""
    x = images.x.transpose(1, 0, 2, 3).reshape(images.x.shape[1], -1).astype(np.float64)
    return x.mean(1).tolist(), np.maximum(x.std(1), 1.0).tolist()


def from_checkpoint(state: Mapping[str, Any]) -> nn.Module:
    """The network of a backbone's checkpoint, trained here or imported, in evaluation mode.

    A checkpoint of someone's own network names its builder, which is imported and called.

    Args:
        state: as :func:`phydnn.checkpoint.load` gives it.

    Raises:
        KeyError: it is no backbone's.
        InputError: its network cannot be built again, or its weights do not fit it.
    """
    config = state["config"]
    weights = {
        name.removeprefix("network."): tensor
        for name, tensor in state["model"].items()
        if name.startswith("network.")
    }
    mean, std = weights["normalize.mean"].flatten(), weights["normalize.std"].flatten()
    # Which only a network of ours must be told.
    classes = config.get("classes", len(weights.get("fc.weight", ())))
    network = build(config["model"], classes, mean.tolist(), std.tolist())
    load_weights(network, weights)
    return network.eval()


class _Tracer(fx.Tracer):
    """Traces a network down to torch's own layers, and notes what each submodule gives.

    Attributes:
        given: what came out of each submodule, for each time it ran, by name.
        whole: submodules that stay one node each, with the reason: layers of torch's own, and
            those that torch.fx cannot follow, for their Python depends on the data.
    """

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, list[Any]] = {}
        self.whole: dict[str, str] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        encoder = isinstance(m, nn.TransformerEncoder)
        return super().is_leaf_module(m, module_qualified_name) and not encoder

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        # The cache would outlive nodes that are taken back below.
        return super().getattr(attr, attr_val, {})

    def to_bool(self, obj: fx.Proxy) -> bool:
        # Assertions (of an image's size, say) are taken to hold; torch's own way to see one in the
        # caller's bytecode ends with Python 3.10.
        frame = sys._getframe(1)
        while frame.f_back and frame.f_globals["__name__"].startswith("torch.fx"):
            frame = frame.f_back
        code = list(dis.get_instructions(frame.f_code))
        at = next(i for i, step in enumerate(code) if step.offset == frame.f_lasti)
        failures = {step.offset for step in code if step.opname == "LOAD_ASSERTION_ERROR"}
        for jump, after in itertools.pairwise(code[at : at + 3]):
            if "_IF_" in jump.opname and failures & {jump.argval, after.offset}:
                return ("IF_TRUE" in jump.opname) != (jump.argval in failures)
        return super().to_bool(obj)

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        name, last, depth = self.path_of_module(m), self._last(), len(self.module_stack)
        masks = [*args[1:], *kwargs.values()]
        if isinstance(m, nn.TransformerEncoder) and all(mask is None for mask in masks):
            # Its own forward looks at masks in ways that cannot be traced; without any, it is this.
            forward = nn.Sequential(*m.layers, *([m.norm] if m.norm is not None else [])).forward
            args, kwargs = args[:1], {}
        if self.is_leaf_module(m, name):
            self.whole[name] = "it is a layer of torch's own"
        try:
            given = super().call_module(m, forward, args, kwargs)
        except Exception as error:  # Python that meets a proxy in place of a number may raise any.
            while self._last() is not last:
                self.graph.erase_node(self._last())
            while len(self.module_stack) > depth:
                self.module_stack.popitem()
            self.whole[name] = _short(error)
            given = self.create_proxy("call_module", name, args, kwargs)
        self.given.setdefault(name, []).append(given)
        return given

    def _last(self) -> fx.Node:
        return next(iter(reversed(self.graph.nodes)))


def _trace(network: nn.Module) -> _Tracer:
    """A tracer that has run; names are as the network has them."""
    tracer = _Tracer()
    try:
        tracer.trace(network)
    except Exception as error:
        raise InputError(f"torch.fx cannot trace the network: {_short(error)}") from error
    return tracer


def _batch_sizes(network: nn.Module, tracer: _Tracer) -> list[fx.Node]:
    """Where the network reads how many images there are, which a latent tells as well."""
    images = [node for node in tracer.graph.nodes if node.op == "placeholder"]
    for name, module in network.named_modules():
        if isinstance(module, Normalize):
            images += [given.node for given in tracer.given.get(name, [])]
    sizes = []
    for user in [user for image in images for user in image.users]:
        if user.target == "size" and user.args[1:] == (0,):
            sizes.append(user)
        elif user.target == "size" or (user.target is getattr and user.args[1] == "shape"):
            sizes += [n for n in user.users if n.target is operator.getitem and n.args[1] == 0]
    return sizes


def _own(network: nn.Module) -> str:
    """What stands before the names that the user knows."""
    return "network." if isinstance(network, Preprocessed) else ""


def split(
    network: nn.Module, point: str, images: Tensor | None = None
) -> tuple[nn.Module, nn.Module]:
    """Cuts a network after one of its submodules.

    Args:
        network: a network of one input that torch.fx can trace, in evaluation mode. Submodules
            that it cannot follow stay whole, and so cannot be cut inside.
        point: the submodule's dotted name, such as "layer1" or "layer2.0"; of a
            :class:`Preprocessed`, the name within the user's own network.
        images: uint8 [B,C,H,W]; if given, the parts are tried on them.

    Returns:
        head and tail with tail(head(x)) == network(x); they share the network's parameters.

    Raises:
        InputError: there is no such submodule, the network runs it never or more than once, its
            output is no map, tokens or vector of the batch, or something goes round it, so that
            its output alone does not carry what the rest needs.
    """
    own = _own(network)
    name = own + point
    if not point or name not in dict(network.named_modules()):
        inner = network.get_submodule(own.removesuffix("."))
        children = ", ".join(child for child, _ in inner.named_children())
        raise InputError(
            f"the network has no submodule '{point}' to split at, but {children}: "
            "phydnn advise lists all that do"
        )
    tracer = _trace(network)
    for whole, reason in tracer.whole.items():
        if name.startswith(f"{whole}."):
            place = "it" if f"{whole}." == own else f"'{whole.removeprefix(own)}'"
            raise InputError(
                f"the network cannot be split at '{point}', for torch.fx keeps {place} whole: "
                f"{reason}"
            )
    found = tracer.given.get(name, [])
    if len(found) != 1:
        raise InputError(f"the network runs '{point}' {len(found)} times: split where it runs once")
    if not isinstance(found[0], fx.Proxy):
        raise InputError(f"'{point}' gives {type(found[0]).__name__}, not a tensor")
    cut = found[0].node

    head_graph, graph = fx.Graph(), tracer.graph
    sizes = _batch_sizes(network, tracer)
    nodes: dict[fx.Node, fx.Node] = {}
    before: list[fx.Node] = []
    for node in graph.nodes:
        nodes[node] = head_graph.node_copy(node, nodes.__getitem__)
        before.append(node)
        if node is cut:
            break
    head_graph.output(nodes[cut])

    with graph.inserting_before(before[0]):
        latent = graph.placeholder("latent")
        batch = graph.call_method("size", (latent, 0))
    cut.replace_all_uses_with(latent)
    for size in sizes:
        size.replace_all_uses_with(batch)
    # Not by torch's own removal of dead code, which spares assertions about what is gone.
    for node in reversed([batch, *before]):
        if not node.users:
            graph.erase_node(node)
        elif node.op == "placeholder":
            raise InputError(f"a shortcut goes round '{point}': split where it does not")
    head, tail = fx.GraphModule(network, head_graph, "Head"), fx.GraphModule(network, graph, "Tail")
    if images is not None:
        _try(network, head, tail, point, images)
    return head, tail


def _try(network: nn.Module, head: nn.Module, tail: nn.Module, point: str, images: Tensor) -> None:
    """Holds a cut against the network on images, whose batch is made one that is not 1."""
    images = torch.cat([images, images])
    with torch.no_grad():
        latent = head(images)
        if not isinstance(latent, Tensor):
            raise InputError(f"'{point}' gives {type(latent).__name__}, not a tensor")
        if latent.ndim not in (2, 3, 4) or len(latent) != len(images):
            raise InputError(
                f"'{point}' gives {list(latent.shape)} for {len(images)} images: split where it "
                "is maps [B,D,H,W], tokens [B,S,D] or vectors [B,D]"
            )
        # A copy, for the tail may begin with an operation in place.
        answer, expected = tail(latent.clone()), network(images)
    if not torch.allclose(answer, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        raise InputError(f"the network split at '{point}' answers otherwise than in one piece")


def cuts(network: nn.Module) -> tuple[fx.GraphModule, dict[str, fx.Node]]:
    """Every point at which :func:`split` can cut a network, found in one trace.

    Of several submodules that end at the same place, the one of the shortest name is listed. What
    a point gives shows only when it runs: a recurrent layer gives a tuple, say.

    Returns:
        the traced network, and for each point its node, in the order that they run.

    Raises:
        InputError: torch.fx cannot trace the network.
    """
    tracer = _trace(network)
    order = {node: i for i, node in enumerate(tracer.graph.nodes)}
    # A node is a cut where nothing that an earlier one made of the input is used after it.
    sizes, made = set(_batch_sizes(network, tracer)), set()
    reach, clear = -1, set()
    for node, i in order.items():
        if node in sizes:
            continue
        if node.op == "placeholder" or any(part in made for part in node.all_input_nodes):
            made.add(node)
            if reach <= i:
                clear.add(node)
            reach = max([reach, *(order[user] for user in node.users)])
    own = _own(network)
    points: dict[fx.Node, str] = {}
    for name, given in tracer.given.items():
        if len(given) != 1 or not isinstance(given[0], fx.Proxy) or given[0].node not in clear:
            continue
        if name.startswith(own):
            point = name.removeprefix(own)
            points[given[0].node] = min(points.get(given[0].node, point), point, key=len)
    named = {points[node]: node for node in order if node in points}
    return fx.GraphModule(network, tracer.graph), named
