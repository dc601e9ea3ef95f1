# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Training of uncompressed networks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from phydnn import checkpoint, networks
from phydnn.errors import InputError
from phydnn.networks import pixel_statistics
from phydnn.train.config import BackboneConfig
from phydnn.train.engine import Task, decay_groups, fit, load_splits

logger = logging.getLogger(__name__)


class BackboneTask(Task):
    """Cross-entropy training of an uncompressed network."""

    def __init__(self, network: nn.Module, config: BackboneConfig) -> None:
        super().__init__()
        self.network = network
        self._smoothing = config.label_smoothing
        if config.compile:
            network.compile()

    def groups(self) -> list[dict[str, Any]]:
        return decay_groups(self.network)

    def forward(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        logits = self.network(x).float()
        return {
            "cross-entropy": functional.cross_entropy(logits, y, label_smoothing=self._smoothing)
        }

    def logits(self, x: Tensor, generator: torch.Generator) -> Tensor:
        logits: Tensor = self.network(x).float()
        return logits


def train_backbone(config: BackboneConfig, out: Path) -> Path:
    """Trains an uncompressed network and returns its best checkpoint."""
    train, val = load_splits(config)
    torch.manual_seed(config.seed)
    network = networks.build(config.model, len(train.classes), *pixel_statistics(train))
    networks.check_logits(network.eval(), torch.from_numpy(train.x[:2]), len(train.classes))
    if config.start and not (out / "last.safetensors").is_file():
        grow(load_backbone(Path(config.start)), network)
    return fit(BackboneTask(network, config), config, train, val, out)


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
        path: what :func:`train_backbone` or :func:`phydnn.networks.import_backbone` wrote.

    Raises:
        InputError: no checkpoint, or its weights do not fit its network.
    """
    state = checkpoint.load(path)
    try:
        return networks.from_checkpoint(state)
    except (KeyError, InputError) as error:
        raise InputError(f"{path} is no backbone's checkpoint: {error}") from error
