# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""AirNet (Jankowski, Gündüz, Mikolajczyk): a network's weights as analog symbols, torch's side.

Each layer's weights are sent as real symbols of one power, their root mean square being side
information; one complex channel use carries two, so noise of variance N0 a use leaves noise of N0
times the layer's mean square on each weight.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn import functional

from phydnn import pruning
from phydnn.datasets import Images
from phydnn.delivery import gain
from phydnn.errors import InputError
from phydnn.spiral import LayerCode, Rule

Weights = dict[str, Tensor]
Send = Callable[[Weights], Weights]
"""What a delivery makes of the weights: those that the client has, from those that were sent."""

Figures = dict[str, Any]

CALIBRATION_BATCH = 256
KNOT_DB = 2.5
"""At most so far apart is the Es/N0 of side information, between which it is interpolated: the
weights could be over any distance, what goes with them not. Halfway between knots that are 5 dB
apart, at 2.5 dB, VGG-16 on CIFAR-10 gets a point less right than with side information of its own.
"""


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


def boundary(low: nn.Module, high: nn.Module, alpha: float) -> nn.Module:
    """:func:`interpolate` as a network of its own."""
    network = copy.deepcopy(low)
    with torch.no_grad():
        for name, value in interpolate(low, high, alpha).items():
            network.get_parameter(name).copy_(value)
    return network


@dataclass(frozen=True)
class Plain:
    """A delivery over AWGN without a code: half a channel use a weight, or ``repeats`` times it.

    Attributes:
        n0: noise variance of a channel use; of a faded one, over the fade's power.
        generator: of the noise.
        power: of a layer's noise over N0; see :func:`inject`.
        shrink: the client takes the posterior mean of Gaussian weights (Wiener's shrinkage).
    """

    n0: float
    generator: torch.Generator
    power: Mapping[str, float] = field(default_factory=dict)
    shrink: bool = True

    def tau(self, name: str) -> float:
        """The noise's power on a layer's weights over theirs."""
        return self.n0 * self.power.get(name, 1.0)

    def __call__(self, weights: Weights) -> Weights:
        received = inject(weights, self.n0, self.generator, self.power)
        if not self.shrink:
            return received
        return {name: weight / (1 + self.tau(name)) for name, weight in received.items()}


@dataclass(frozen=True)
class Coded:
    """A delivery over AWGN with a code a layer, symbol by symbol as on air.

    Attributes:
        codes: of each layer.
        n0: noise variance of a channel use.
        generator: of the noise.
        rule: of the decoder.
    """

    codes: Mapping[str, LayerCode]
    n0: float
    generator: np.random.Generator
    rule: Rule = "mmse"

    def __call__(self, weights: Weights) -> Weights:
        received = {}
        for name, weight in weights.items():
            code, scale = self.codes[name], float(rms(weight))
            values = weight.detach().flatten().numpy() / scale
            symbols = code.encode(values)
            noise = self.generator.normal(size=(len(symbols), 2)) @ np.array([1, 1j])
            symbols = symbols + math.sqrt(self.n0 / 2) * noise
            decoded = code.decode(symbols, self.n0, len(values), self.rule)
            received[name] = torch.from_numpy(decoded * np.float32(scale)).view_as(weight)
        return received


class Delivered(nn.Module):
    """A layer as the client runs it: its noisy weights, and side information that makes up for it.

    Batch normalisation stands for the average over draws of the noise; a draw shifts what a filter
    gives, for its inputs are not zero on average. The client takes that shift back, since it has
    the inputs' means::

        y = scale (W * x - W . means) + shift

    so noise acts on what varies in the input only.

    Args:
        layer: a convolution or linear layer.
        cover: the share of positions at which each tap of the kernel meets the map and not its
            border of zeros, float32 [kernel]; of a linear layer, 1.

    Attributes:
        means: of the inputs, float32 [inputs]; ``scale``, ``shift``: float32 [outputs].
        normalised: whether ``scale`` stands for a normalisation; it is 1 otherwise.
        tau: noise power over the weights' that ``scale`` is for; ``ratio``: how much of what the
            layer gives, unshrunk, is the noise's for each unit of that.
    """

    cover: Tensor
    means: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear, cover: Tensor) -> None:
        super().__init__()
        self.normalised = False
        self.tau, self.ratio = 0.0, 0.0
        self.layer = copy.deepcopy(layer)
        self.layer.bias = None
        inputs = layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features
        self.register_buffer("cover", cover, persistent=False)
        self.register_buffer("means", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(len(layer.weight)))
        self.register_buffer("shift", torch.zeros(len(layer.weight)))

    def factor(self, tau: float) -> float:
        """By what to multiply weights that have met other noise than ``scale`` is for.

        They come shrunk by 1 / (1 + tau), and what the layer gives of them has another variance;
        over many layers either would add up.
        """
        return gain(tau, self.tau, self.ratio) if self.normalised else 1.0

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return self.scale * (layer(x) - layer(self.means)) + self.shift
        usual = self.means[None, :, None, None] * self.cover
        off = functional.conv2d(usual, layer.weight, groups=layer.groups)
        y = layer(x) - off
        return self.scale[:, None, None] * y + self.shift[:, None, None]


def deploy(network: nn.Module, images: Images, send: Send, draws: int = 16) -> nn.Module:
    """The network that a client runs, its side information averaged over deliveries.

    Args:
        network: of convolutions, linear layers and batch normalisation, as it was trained.
        images: to average over, as the training showed them (:func:`phydnn.train.shown`);
            ``draws`` batches of CALIBRATION_BATCH.
        send: one delivery, drawn anew at each call.

    Returns:
        a copy with a :class:`Delivered` in the place of each layer, and no normalisation; its
        weights are those that are sent.

    Raises:
        InputError: it cannot be traced.
    """
    followed = _normalisations(network)
    network = copy.deepcopy(network).train()
    sums: dict[str, list[Tensor]] = {}
    covers: dict[str, Tensor] = {}
    order = np.random.RandomState(len(images)).permutation(len(images))
    with torch.no_grad(), by_the_batch(network):
        sent = {name: weight.detach() for name, weight in pruning.weights(network).items()}
        for draw in range(draws):
            start = draw * CALIBRATION_BATCH % len(images)
            x = torch.from_numpy(images.x[order[start : start + CALIBRATION_BATCH]])
            received = send(sent)
            for name, (before, after) in _seen(network, received, x).items():
                layer = network.get_submodule(name)
                if name not in covers:
                    covers[name] = _cover(layer, before)
                axes = [0, *range(2, before.ndim)]
                means = before.mean(axes)
                off = _off(layer, received[f"{name}.weight"], means, covers[name])
                given = after.mean(axes)
                spread = (before.var(axes, unbiased=False)[:, None] * covers[name].flatten()).sum()
                spread = spread / _groups(layer)
                found = [means, given, given - off, after.var(axes, unbiased=False), spread]
                if name in sums:
                    found = [total + part for total, part in zip(sums[name], found, strict=True)]
                sums[name] = found
    client = network.eval()
    with torch.no_grad():
        for name, totals in sums.items():
            means, given, rest, variance, spread = (total / draws for total in totals)
            layer = client.get_submodule(name)
            assert isinstance(layer, (nn.Conv2d, nn.Linear))
            delivered = Delivered(layer, covers[name])
            delivered.means.copy_(means)
            delivered.shift.copy_(given)
            if name in followed:
                normalisation = client.get_submodule(followed[name])
                assert isinstance(normalisation, (nn.BatchNorm1d, nn.BatchNorm2d))
                scale = normalisation.weight / (variance + normalisation.eps).sqrt()
                delivered.scale.copy_(scale)
                delivered.normalised = True
                delivered.tau = _tau(send, f"{name}.weight")
                noise = float(rms(layer.weight).square() * spread)
                # As the normalisation does: a layer whose weights came as zeros gives nothing.
                power = float(variance.mean()) + normalisation.eps
                delivered.ratio = noise / power / (1 + delivered.tau) ** 2
                delivered.shift.copy_(normalisation.bias - scale * rest)
                client.set_submodule(followed[name], nn.Identity())
            client.set_submodule(name, delivered)
    return client.requires_grad_(False)


def _normalisations(network: nn.Module) -> dict[str, str]:
    """Which batch normalisation takes each layer's output, by name."""
    graph = pruning.trace(network)
    names = dict(network.named_modules())
    followed = {}
    for node in graph.nodes:
        if node.op != "call_module":
            continue
        if isinstance(names[str(node.target)], (nn.BatchNorm1d, nn.BatchNorm2d)):
            source = node.args[0]
            assert isinstance(source, fx.Node)
            layer = names.get(str(source.target))
            if not isinstance(layer, (nn.Conv2d, nn.Linear)) or len(source.users) > 1:
                raise InputError(
                    f"'{node.target}' normalises what no layer gives it alone: a client could not "
                    "make up for the noise there"
                )
            followed[str(source.target)] = str(node.target)
    return followed


@contextlib.contextmanager
def by_the_batch(network: nn.Module) -> Iterator[None]:
    """Leaves the running averages of batch normalisation alone, in training mode as well."""
    found = [m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    momenta = [module.momentum for module in found]
    for module in found:
        module.momentum = 0.0
    try:
        yield
    finally:
        for module, momentum in zip(found, momenta, strict=True):
            module.momentum = momentum


def _seen(network: nn.Module, received: Weights, x: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """What goes into and comes out of each layer, by name."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    hooks = []
    for full in received:
        name = full.removesuffix(".weight")

        def note(_: nn.Module, given: tuple[Tensor], made: Tensor, name: str = name) -> None:
            seen[name] = given[0], made

        hooks.append(network.get_submodule(name).register_forward_hook(note))
    try:
        functional_call(network, received, (x,))
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _cover(layer: nn.Module, x: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return torch.ones(())
    assert isinstance(layer, nn.Conv2d) and not isinstance(layer.padding, str)
    there = torch.ones(1, 1, *x.shape[2:])
    taps = functional.unfold(there, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    return taps.mean((0, 2)).view(layer.kernel_size)


def _off(layer: nn.Module, weight: Tensor, means: Tensor, cover: Tensor) -> Tensor:
    """What a layer gives on average for inputs of these means, without its bias."""
    if isinstance(layer, nn.Linear):
        return weight @ means
    assert isinstance(layer, nn.Conv2d)
    usual = means[None, :, None, None] * cover
    return functional.conv2d(usual, weight, groups=layer.groups).flatten()


def receive(client: nn.Module, send: Send) -> nn.Module:
    """A deployed network after one delivery: a copy with the weights that arrived."""
    arrived = copy.deepcopy(client)
    layers = layers_of(arrived)
    with torch.no_grad():
        for name, weight in send(weights_of(client)).items():
            factor = layers[name].factor(_tau(send, name, layers[name].tau))
            layers[name].layer.weight.copy_(weight * factor)
    return arrived


def _tau(send: Send, name: str, usual: float = 0.0) -> float:
    """The noise's power on a layer in the last delivery, of deliveries that tell it."""
    found: Callable[[str], float] | None = getattr(send, "tau", None)
    return usual if found is None else found(name)


def _groups(layer: nn.Module) -> int:
    return layer.groups if isinstance(layer, nn.Conv2d) else 1


def layers_of(client: nn.Module) -> dict[str, Delivered]:
    """A deployed network's layers, by the names that their weights had in training."""
    return {
        f"{name}.weight": module
        for name, module in client.named_modules()
        if isinstance(module, Delivered)
    }


def weights_of(client: nn.Module) -> Weights:
    """What is sent of a deployed network, by the same names."""
    return {name: module.layer.weight.detach() for name, module in layers_of(client).items()}


@dataclass(frozen=True, eq=False)
class Served:
    """What a server has ready for a range of Es/N0: networks with side information at knots.

    Attributes:
        knots: Es/N0 in dB, rising.
        clients: of :func:`deploy`, one for each.
        noise: power of each layer's noise over N0; see :func:`inject`.
    """

    knots: tuple[float, ...]
    clients: tuple[nn.Module, ...]
    noise: Mapping[str, float]

    def at(self, snr_db: float) -> nn.Module:
        """The client for an Es/N0: all tensors are interpolated; beyond the ends, the end's."""
        held = min(max(snr_db, self.knots[0]), self.knots[-1])
        place = float(np.interp(held, self.knots, np.arange(len(self.knots))))
        low = min(int(place), len(self.knots) - 1)
        high = min(low + 1, len(self.knots) - 1)
        network = copy.deepcopy(self.clients[low])
        other, ratios = self.clients[high].state_dict(), layers_of(self.clients[high])
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                tensor.lerp_(other[name], place - low)
        for name, layer in layers_of(network).items():
            layer.tau = 10 ** (-held / 10) * self.noise.get(name, 1.0)
            layer.ratio += (place - low) * (ratios[name].ratio - layer.ratio)
        return network


def serve(
    low: nn.Module,
    high: nn.Module,
    ends: tuple[float, float],
    images: Images,
    noise: Mapping[str, float],
    generator: torch.Generator,
    draws: int = 16,
) -> Served:
    """Side information for a range of Es/N0, at knots at most KNOT_DB apart.

    Args:
        low, high: the networks for the ends, or twice the same.
        ends: their Es/N0 in dB.
        images, draws: as of :func:`deploy`.
        noise: as of :func:`inject`.
        generator: of the noise.
    """
    reach = ends[1] - ends[0]
    parts = math.ceil(reach / KNOT_DB)
    shares = [i / parts for i in range(parts + 1)] if parts else [0.0]
    knots = tuple(ends[0] + share * reach for share in shares)
    clients = [
        deploy(
            boundary(low, high, share), images, Plain(10 ** (-snr_db / 10), generator, noise), draws
        )
        for share, snr_db in zip(shares, knots, strict=True)
    ]
    return Served(knots, tuple(clients), noise)


def measure(
    client: nn.Module,
    images: Images,
    send: Send,
    deliveries: int = 20,
    reference: NDArray[np.bool_] | None = None,
) -> Figures:
    """Accuracy over deliveries, each of which classifies a share of the images of its own.

    Args:
        client: from :func:`deploy`.
        images: labelled; every one is classified once.
        send: one delivery, drawn anew at each call.
        deliveries: 2 or more.
        reference: which of the images another network gets right.

    Returns:
        those of :func:`over_deliveries`, and ``sdr_db``, the weights' mean square over that of
        their error.
    """
    sent, shares, errors, powers = weights_of(client), [], 0.0, 0.0
    for part in range(deliveries):
        arrived = receive(client, send)
        for name, layer in layers_of(arrived).items():
            weight = layer.layer.weight / layer.factor(_tau(send, name, layer.tau))
            original = sent[name]
            errors += float((weight - original).square().sum() / original.square().mean())
            powers += weight.numel()
        shares.append(right(arrived, images.take(slice(part, None, deliveries))))
    sdr_db = 10 * math.log10(powers / errors) if errors else None
    return over_deliveries(shares, reference) | {"sdr_db": sdr_db}


def over_deliveries(
    shares: Sequence[NDArray[np.bool_]], reference: NDArray[np.bool_] | None = None
) -> Figures:
    """Accuracy over deliveries.

    Args:
        shares: which images each delivery got right: of N, every N-th from its own number on.
        reference: which of all images another network gets right.

    Returns:
        ``accuracy``; ``ci95``, Student's interval of its mean over deliveries, which holds what
        differs between images and between draws of the noise; ``n`` images; ``deliveries``; and
        with a reference ``loss_points``, by how many points less are right than with it, and
        ``loss_points_ci95``, of the differences on the same images.
    """
    count = len(shares)
    mean, reach = _student([float(share.mean()) for share in shares])
    found: Figures = {
        "accuracy": mean,
        "ci95": [max(0.0, mean - reach), min(1.0, mean + reach)],
        "n": sum(map(len, shares)),
        "deliveries": count,
    }
    if reference is not None:
        lost = [
            100 * float(reference[part::count].mean() - share.mean())
            for part, share in enumerate(shares)
        ]
        loss, reach = _student(lost)
        found |= {"loss_points": loss, "loss_points_ci95": [loss - reach, loss + reach]}
    return found


def _student(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and how far its 95% interval reaches."""
    count = len(values)
    reach = float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1)) / math.sqrt(count)
    return float(np.mean(values)), reach


def side_bytes(client: nn.Module) -> int:
    """The protected side information of a deployed network: structure and :class:`Delivered`.

    Numbers are float16; a layer's shape takes two 16-bit numbers, its weights' root mean square,
    ``tau`` and ``ratio`` one each.
    """
    layers = layers_of(client).values()
    numbers = [5 + len(m.means) + len(m.shift) + len(m.scale) * m.normalised for m in layers]
    return 2 * sum(numbers)


def accuracy(network: nn.Module, images: Images) -> float:
    """The share of labelled images that a network in evaluation mode gets right."""
    return float(right(network, images).mean())


def right(network: nn.Module, images: Images) -> NDArray[np.bool_]:
    """Which of labelled images a network in evaluation mode gets right, bool [N]."""
    assert images.y is not None
    found = []
    with torch.no_grad():
        for start in range(0, len(images), CALIBRATION_BATCH):
            x = torch.from_numpy(images.x[start : start + CALIBRATION_BATCH])
            found.append(network(x).argmax(1).numpy())
    return np.asarray(np.concatenate(found) == images.y)
