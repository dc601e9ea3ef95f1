# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Unequal error protection: how much each layer minds noise, and what it is given against it.

A layer's sensitivity is the rise of the loss for noise as strong as its own weights. By the loss
itself it is measured (AirNet, eq. (5)); to second order it is half the trace of the layer's part
of the Hessian times the weights' mean square, and the paper's largest eigenvalue stands for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from phydnn import airnet, pruning
from phydnn.datasets import Images
from phydnn.errors import InputError

MEASURES = ("loss", "eigenvalue", "trace")


def sensitivities(
    network: nn.Module,
    images: Images,
    measure: str = "loss",
    n0: float = 0.1,
    draws: int = 4,
    seed: int = 1,
) -> dict[str, float]:
    """How much the loss rises for noise on each layer's weights, over the noise's relative power.

    Args:
        network: trained; batch normalisation goes by the batch, as in training with noise.
        images: labelled, as the training showed them (:func:`phydnn.train.shown`); the first of
            them are used, as many as fit.
        measure: "loss" (AirNet's eq. (5), at ``n0``), "eigenvalue" (the largest of the layer's
            Hessian, by von Mises' iteration, its Algorithm 1) or "trace" (Hutchinson's estimate).
        n0: relative power of the noise that "loss" tries.
        draws: of the noise or of the probing vectors; iterations of von Mises.
        seed: of the draws.

    Returns:
        a positive number a layer; of "loss" and "trace", the rise itself to first order.

    Raises:
        InputError: no such measure, or a network that nothing can be told of.
    """
    if measure not in MEASURES:
        raise InputError(f"there is no sensitivity '{measure}': choose {', '.join(MEASURES)}")
    assert images.y is not None
    pruning.check_weights(network)
    count = min(len(images), 4 * airnet.CALIBRATION_BATCH if measure == "loss" else 256)
    x, y = torch.from_numpy(images.x[:count]), torch.from_numpy(images.y[:count])
    x = x.contiguous(memory_format=torch.channels_last)  # A third faster on a CPU, or more.
    generator = torch.Generator().manual_seed(seed)
    learning = network.training
    network.train()
    try:
        with airnet.by_the_batch(network):
            find = {"loss": _rise, "eigenvalue": _eigenvalue, "trace": _trace}[measure]
            found = find(network, x, y, n0, draws, generator)
    finally:
        network.train(learning)
    least = 1e-3 * max(found.values())
    if not least > 0:
        raise InputError("the loss does not rise with noise on any layer: train the network first")
    # A layer that seems not to mind still gets something, for an estimate is not exact.
    return {name: max(value, least) for name, value in found.items()}


def _loss(network: nn.Module, weights: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(functional_call(network, dict(weights), (x,)), y)


def _rise(
    network: nn.Module, x: Tensor, y: Tensor, n0: float, draws: int, generator: torch.Generator
) -> dict[str, float]:
    found = {}
    with torch.no_grad():
        weights = {name: weight.detach() for name, weight in pruning.weights(network).items()}
        parts = list(zip(x.split(256), y.split(256), strict=True))
        clean = [float(_loss(network, {}, images, labels)) for images, labels in parts]
        for name, weight in weights.items():
            rise = 0.0
            for draw in range(draws):
                images, labels = parts[draw % len(parts)]
                noisy = airnet.inject({name: weight}, n0, generator)
                rise += float(_loss(network, noisy, images, labels)) - clean[draw % len(parts)]
            found[name] = rise / draws / n0
    return found


def _product(
    network: nn.Module, x: Tensor, y: Tensor
) -> tuple[dict[str, Tensor], Callable[[str, Tensor], Tensor]]:
    """The layers' weights over their root mean square, and the Hessian's product in these units."""
    scales = {name: airnet.rms(w).detach() for name, w in pruning.weights(network).items()}
    units = {
        name: (weight.detach() / scales[name]).requires_grad_()
        for name, weight in pruning.weights(network).items()
    }
    loss = _loss(network, {name: unit * scales[name] for name, unit in units.items()}, x, y)
    gradients = dict(
        zip(units, torch.autograd.grad(loss, list(units.values()), create_graph=True), strict=True)
    )

    def product(name: str, vector: Tensor) -> Tensor:
        slope = (gradients[name] * vector).sum()
        return torch.autograd.grad(slope, units[name], retain_graph=True)[0].detach()

    return units, product


def _eigenvalue(
    network: nn.Module, x: Tensor, y: Tensor, n0: float, draws: int, generator: torch.Generator
) -> dict[str, float]:
    units, product = _product(network, x, y)
    found = {}
    for name, unit in units.items():
        vector = torch.randn(unit.shape, generator=generator)
        value = 0.0
        for _ in range(draws):
            vector = vector / vector.norm()
            image = product(name, vector)
            value = float((vector * image).sum())
            vector = image
        found[name] = value
    return found


def _trace(
    network: nn.Module, x: Tensor, y: Tensor, n0: float, draws: int, generator: torch.Generator
) -> dict[str, float]:
    units, product = _product(network, x, y)
    found = {}
    for name, unit in units.items():
        total = 0.0
        for _ in range(draws):
            sign = torch.randint(0, 2, unit.shape, generator=generator).float() * 2 - 1
            total += float((sign * product(name, sign)).sum())
        found[name] = total / draws / 2
    return found


def allocate_power(
    sensitivity: Mapping[str, float],
    counts: Mapping[str, int],
    limit: float = 64.0,
    copies: Mapping[str, int] | None = None,
) -> dict[str, float]:
    """Power a layer for the least rise of the loss at the same mean power and bandwidth.

    Noise of power N0 / (c g^2) on a layer of v weights, each sent c times, raises the loss by
    h N0 / (c g^2); under a mean of g^2 of 1 over all symbols the sum is least for g^2 proportional
    to sqrt(h / v) / c. This is not in the papers.

    Args:
        sensitivity: h of each layer.
        counts: v, the weights of each layer.
        limit: the largest g^2.
        copies: c of each layer; 1 where there are none.

    Returns:
        g^2 of each layer; their mean over all symbols is 1.
    """
    copies = copies or dict.fromkeys(counts, 1)
    symbols = {name: counts[name] * copies[name] for name in counts}
    wanted = {name: math.sqrt(sensitivity[name] / counts[name]) / copies[name] for name in counts}
    low, high = 0.0, limit / min(wanted.values())
    for _ in range(100):
        factor = (low + high) / 2
        power = {name: min(limit, factor * value) for name, value in wanted.items()}
        total = sum(power[name] * symbols[name] for name in counts)
        low, high = (factor, high) if total < sum(symbols.values()) else (low, factor)
    return power


def expand(
    sensitivity: Mapping[str, float],
    counts: Mapping[str, int],
    budget: int,
    costs: Sequence[int],
    noise: Sequence[float],
) -> dict[str, int]:
    """Which layers are sent with more symbols a weight: AirNet's Algorithm 2.

    The step up that takes most of the loss for a symbol goes first, while any fits the budget.

    Args:
        sensitivity: h of each layer.
        counts: the weights of each layer.
        budget: real symbols, two a channel use.
        costs: symbols a weight at each level of expansion, rising: 1, 2, 3 ... of repetition, 1, 2,
            4 ... of the spirals.
        noise: relative power of the noise that each level leaves, falling.

    Returns:
        each layer's level.

    Raises:
        InputError: the layers do not fit even at the first level.
    """
    left = budget - sum(costs[0] * count for count in counts.values())
    if left < 0:
        raise InputError(
            f"{sum(counts.values())} weights do not fit {budget // 2} channel uses: prune further"
        )
    level = dict.fromkeys(counts, 0)
    while True:
        steps = [
            (
                sensitivity[name]
                * (noise[at] - noise[at + 1])
                / ((costs[at + 1] - costs[at]) * counts[name]),
                name,
            )
            for name, at in level.items()
            if at + 1 < len(costs) and (costs[at + 1] - costs[at]) * counts[name] <= left
        ]
        if not steps:
            return level
        _, name = max(steps)
        left -= (costs[level[name] + 1] - costs[level[name]]) * counts[name]
        level[name] += 1


def rank_agreement(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Spearman's correlation of two measures' orders of the layers."""
    names = list(one)
    first, second = (np.argsort(np.argsort([m[n] for n in names])) for m in (one, other))
    return float(np.corrcoef(first, second)[0, 1])
