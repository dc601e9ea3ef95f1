# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Uncompressed networks: trained, or brought along."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from phydnn import checkpoint, datasets, evaluate, networks
from phydnn.datasets import Images
from phydnn.errors import InputError
from phydnn.networks import pixel_statistics
from phydnn.results import provenance
from phydnn.train.config import BackboneConfig, FitConfig
from phydnn.train.distillation import losses, teach
from phydnn.train.engine import Task, decay_groups, fit, load_splits
from phydnn.train.muon import Muon

logger = logging.getLogger(__name__)


class BackboneTask(Task):
    """Training of an uncompressed network, by its labels and what teachers answer."""

    def __init__(
        self, network: nn.Module, config: BackboneConfig, teachers: Sequence[nn.Module] = ()
    ) -> None:
        super().__init__()
        self.network = network
        self.look_at(*teachers)
        self._config = config
        if config.compile:
            for part in (network, *teachers):
                part.compile()

    def groups(self) -> list[dict[str, Any]]:
        return decay_groups(self.network, bias_scale=self._config.bias_scale)

    def optimizer(self, config: FitConfig) -> torch.optim.Optimizer:
        muon = self._config.muon
        if not muon:
            return super().optimizer(config)
        return Muon(self.groups(), config.lr, muon, config.momentum, config.weight_decay)

    def forward(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        config = self._config
        taught = teach(self.teachers, x[: config.taught(len(x))], config.softness)
        return losses(
            self.network(x).float(),
            y,
            taught,
            config.distillation,
            config.softness,
            config.label_smoothing,
        )

    def logits(self, x: Tensor, generator: torch.Generator) -> Tensor:
        logits: Tensor = self.network(x).float()
        return logits


def train_backbone(config: BackboneConfig, out: Path) -> Path:
    """Trains an uncompressed network and returns its best checkpoint."""
    train, val = load_splits(config)
    torch.manual_seed(config.seed)
    network = networks.build(config.model, len(train.classes), *pixel_statistics(train))
    networks.check_logits(network.eval(), torch.from_numpy(train.x[:2]), len(train.classes))
    if isinstance(network, networks.CifarNet):
        network.whiten(torch.from_numpy(train.x[:5000]))
    if config.start and not (out / "last.safetensors").is_file():
        grow(load_backbone(Path(config.start)), network)
    teachers = load_teachers(config.teachers, train)
    return fit(BackboneTask(network, config, teachers), config, train, val, out)


def import_backbone(
    model: str,
    weights: Path,
    data: str,
    out: Path,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> Path:
    """Makes a backbone of someone's trained network, as if :func:`train_backbone` had made it.

    It is scored on the validation split, with a warning in the log where it does no better than
    chance, as a network does whose normalisation is not the one that it was trained with.

    Args:
        model: as :func:`phydnn.networks.build` takes it.
        weights: as :func:`phydnn.networks.read_weights` takes it.
        data: the data set, as :func:`phydnn.datasets.load` takes it.
        out: the folder that best.safetensors is written to.
        mean, std: of each channel, or one for all, for pixels on the scale 0..1, as they are
            commonly quoted; those of the training split where they are empty.

    Returns:
        the checkpoint.

    Raises:
        InputError: the network cannot be built, its weights or its classes do not fit, or ``out``
            holds a backbone that was trained there.
    """
    if (out / "last.safetensors").exists():
        raise InputError(f"{out} holds a backbone that was trained there: give another --out")
    train, val = datasets.load(data, "train"), datasets.load(data, "val")
    if val.y is None:
        raise InputError(f"'{data}' has no labels to train on")
    statistics = pixel_statistics(train)
    centre = _on_bytes("mean", mean, len(statistics[0]), 0.0) or statistics[0]
    spread = _on_bytes("std", std, len(statistics[0]), 1e-6) or statistics[1]
    network = networks.build(model, len(train.classes), centre, spread)
    networks.load_foreign(network, networks.read_weights(weights))
    network.eval()
    found = evaluate.backbone(network, val)
    logger.info("%s has validation accuracy %.4f with %s", model, found["accuracy"], weights)
    if found["accuracy_ci95"][0] <= 1 / len(train.classes):
        logger.warning(
            "%s is no better than chance on the validation split: look whether --mean and --std "
            "are those that it was trained with, and its classes in this order",
            model,
        )
    state = {
        "config": {
            "model": model,
            "data": data,
            "classes": len(train.classes),
            "mean": list(centre),
            "std": list(spread),
            "epochs": 0,
        },
        "provenance": provenance(),
        "imported": {
            "file": weights.name,
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "val_accuracy": found["accuracy"],
        },
        "model": {f"network.{name}": tensor for name, tensor in network.state_dict().items()},
        "history": [],
    }
    checkpoint.save(out / "best.safetensors", state)
    return out / "best.safetensors"


def _on_bytes(name: str, values: Sequence[float], channels: int, low: float) -> list[float]:
    """Statistics of pixels 0..1 for pixels 0..255, one a channel; empty if there are none."""
    if len(values) not in (0, 1, channels):
        raise InputError(f"--{name} has {len(values)} values but the images {channels} channels")
    for value in values:
        if not low <= value <= 1:
            raise InputError(f"--{name} {value:g} is not of pixels on the scale 0 to 1")
    return [255 * value for value in values] * (channels if len(values) == 1 else 1)


def grow(small: nn.Module, network: nn.Module) -> None:
    """Starts a network from a shallower one of its family, so that it answers the same.

    Residual blocks that the small one lacks begin as the identity: the scale of their last
    normalisation is zero (Goyal et al. 2017, section 5.1).

    Raises:
        InputError: the small network's weights do not fit.
    """
    state, started = network.state_dict(), small.state_dict()
    for name, tensor in started.items():
        if name not in state or state[name].shape != tensor.shape:
            raise InputError(f"the network to start from has '{name}', which does not fit the new")
    network.load_state_dict(state | started)
    present = dict(small.named_modules())
    for name, module in network.named_modules():
        if isinstance(module, networks.BasicBlock) and name not in present:
            nn.init.zeros_(module.bn2.weight)


def load_backbone(path: Path) -> nn.Module:
    """The network of a checkpoint, in evaluation mode.

    Args:
        path: what :func:`train_backbone` or :func:`import_backbone` wrote.

    Raises:
        InputError: no checkpoint, or its weights do not fit its network.
    """
    state = checkpoint.load(path)
    try:
        return networks.from_checkpoint(state)
    except (KeyError, InputError) as error:
        raise InputError(f"{path} is no backbone's checkpoint: {error}") from error


def load_teachers(paths: str, train: Images) -> list[nn.Module]:
    """The networks of checkpoints, in evaluation mode.

    Args:
        paths: as :attr:`phydnn.train.config.FollowConfig.teachers`.
        train: the images that the teachers must take, and whose classes they must answer with.

    Raises:
        InputError: no checkpoint, or a network of other images or classes.
    """
    teachers = [load_backbone(Path(path.strip())) for path in paths.split(",") if path.strip()]
    for teacher in teachers:
        networks.check_logits(teacher, torch.from_numpy(train.x[:2]), len(train.classes))
    return teachers
