# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""AirNet (Jankowski, Gündüz, Mikolajczyk): a network's weights as analog symbols, torch's side.

Each layer's weights are sent as real symbols of one power, their root mean square being side
information; one complex channel use carries two, so noise of variance N0 a use leaves noise of N0
times the layer's mean square on each weight.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from phydnn import pruning

Weights = dict[str, Tensor]


def rms(weight: Tensor) -> Tensor:
    """Root mean square of a layer's weights: what they are divided by on air."""
    return weight.square().mean().sqrt()


def inject(
    weights: Mapping[str, Tensor],
    n0: float,
    generator: torch.Generator,
    power: Mapping[str, float] | None = None,
) -> Weights:
    """The weights as the channel leaves them; gradients flow through to what was sent.

    Args:
        weights: by name.
        n0: noise variance of a channel use.
        generator: on the CPU, whatever the weights' device.
        power: of each layer's noise over that, such as 1/2 where it is sent twice; 1 for those
            not named.
    """
    power = power or {}
    received = {}
    for name, weight in weights.items():
        noise = torch.empty_like(weight, device="cpu").normal_(generator=generator)
        deviation = (n0 * power.get(name, 1.0)) ** 0.5
        received[name] = weight + (deviation * rms(weight)) * noise.to(weight.device)
    return received


def interpolate(low: nn.Module, high: nn.Module, alpha: float) -> Weights:
    """All parameters of the network at ``alpha`` of the way from one boundary to the other."""
    return {
        name: torch.lerp(one, other, alpha)
        for (name, one), other in zip(low.named_parameters(), high.parameters(), strict=True)
    }


def uses(network: nn.Module, expansion: int = 1) -> int:
    """Channel uses of one delivery: two real symbols each."""
    return -(-pruning.count(network) * expansion // 2)
