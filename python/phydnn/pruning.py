# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Structured pruning: whole filters and neurons of least l1 norm, until the weights fit a budget.

A *space* is a set of channels that only go together: what one convolution gives, or several whose
outputs a shortcut adds up. A channel is removed from every layer that makes or takes it, so the
pruned network is a smaller one of the same kind, and runs as it is.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from phydnn.errors import InputError
from phydnn.networks import Normalize

KEEPS = (
    nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU, nn.GELU, nn.Identity, nn.Dropout, nn.Dropout2d,
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
"""Layers that leave each channel where it is, and have no weights."""
FUNCTIONS = {functional.relu, functional.relu6, torch.relu, functional.dropout}
ADDITIONS = {operator.add, operator.iadd, torch.add}


@dataclass(frozen=True)
class Slot:
    """Where a space's channels lie: an axis of a layer, ``repeats`` features to a channel."""

    module: str
    makes: bool
    repeats: int = 1


@dataclass
class Space:
    """Channels that are pruned together.

    Attributes:
        size: how many there are.
        slots: where they lie; a slot that ``makes`` them is a convolution's or linear layer's
            output, or a normalisation; the others are a layer's input.
        fixed: the images' own channels, or the classes, which stay.
    """

    size: int
    slots: list[Slot] = field(default_factory=list)
    fixed: bool = False


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        whole = isinstance(m, (Normalize, nn.Conv2d))
        return whole or super().is_leaf_module(m, module_qualified_name)


def spaces(network: nn.Module, image: Tensor) -> list[Space]:
    """Finds the spaces of a network by following an image through it.

    Args:
        network: of convolutions, linear layers, batch normalisation, pooling, activations, sums
            and flattening, in evaluation mode.
        image: uint8 [1,C,H,W], any.

    Raises:
        InputError: it cannot be traced, or has a layer that the pruner does not know.
    """
    return _Follower(network, trace(network), image).follow()


def trace(network: nn.Module) -> fx.Graph:
    """A network's graph, down to torch's own layers.

    Raises:
        InputError: torch.fx cannot trace it.
    """
    try:
        return _Tracer().trace(network)
    except Exception as error:  # Python that meets a proxy in place of a number may raise any.
        raise InputError(f"torch.fx cannot trace the network: {error}") from error


class _Follower(fx.Interpreter):
    """Runs a traced network once, and notes which space each result's channels belong to."""

    def __init__(self, network: nn.Module, graph: fx.Graph, image: Tensor) -> None:
        super().__init__(fx.GraphModule(network, graph))
        self._network, self._graph, self._image = network, graph, image
        self._space: dict[fx.Node, tuple[Space, int]] = {}
        self._merged: dict[int, Space] = {}
        self._found: list[Space] = []

    def follow(self) -> list[Space]:
        with torch.no_grad():
            self.run(self._image)
        whole = [self._root(space) for space in self._found]
        unique = list({id(space): space for space in whole}.values())
        return [space for space in unique if space.slots]

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self._note(n, result)
        return result

    def _root(self, space: Space) -> Space:
        while id(space) in self._merged:
            space = self._merged[id(space)]
        return space

    def _new(self, size: int, fixed: bool = False) -> Space:
        space = Space(size, fixed=fixed)
        self._found.append(space)
        return space

    def _of(self, node: Any) -> tuple[Space, int]:
        space, repeats = self._space[node]
        return self._root(space), repeats

    def _note(self, node: fx.Node, result: Any) -> None:
        if node.op == "placeholder":
            self._space[node] = self._new(result.shape[1], fixed=True), 1
            return
        made = [n for n in node.all_input_nodes if n in self._space]
        if node.op == "output":
            for source in made:
                self._of(source)[0].fixed = True
            return
        if not made:  # A constant, or a shape.
            return
        if node.op == "call_module":
            module = self._network.get_submodule(str(node.target))
            self._space[node] = self._module(str(node.target), module, *self._of(made[0]))
        elif node.target in ADDITIONS and len(made) == 2:
            self._space[node] = self._join(*(self._of(source) for source in made))
        elif node.target in FUNCTIONS or node.target in ("relu", "contiguous"):
            self._space[node] = self._of(made[0])
        elif node.target in ("flatten", torch.flatten, "mean", torch.mean):
            source = made[0]
            before = self.env[source]
            if not isinstance(before, Tensor) or result.ndim != 2 or before.ndim != 4:
                raise self._unknown(str(node.target))
            space, repeats = self._of(source)
            self._space[node] = space, repeats * result.shape[1] // before.shape[1]
        elif isinstance(result, Tensor):
            raise self._unknown(getattr(node.target, "__name__", str(node.target)))

    @staticmethod
    def _unknown(what: str) -> InputError:
        return InputError(
            f"the pruner does not know what '{what}' does to channels: use convolutions, linear "
            "layers, batch normalisation, pooling, activations, sums and flattening"
        )

    def _join(self, one: tuple[Space, int], other: tuple[Space, int]) -> tuple[Space, int]:
        (space, repeats), (gone, others) = one, other
        if repeats != others or space.size != gone.size:
            raise self._unknown("add")
        if space is not gone:
            space.slots += gone.slots
            space.fixed |= gone.fixed
            self._merged[id(gone)] = space
        return space, repeats

    def _module(
        self, name: str, module: nn.Module, space: Space, repeats: int
    ) -> tuple[Space, int]:
        if isinstance(module, (*KEEPS, Normalize)):
            return space, repeats
        if isinstance(module, nn.Flatten):
            # By the features that the next layer takes, which the layer itself says.
            raise self._unknown(f"{name} (Flatten)")
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            space.slots.append(Slot(name, True, repeats))
            return space, repeats
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            if module.out_channels != module.in_channels:
                raise self._unknown(f"{name} (a convolution of many filters a channel)")
            space.slots.append(Slot(name, True))
            return space, 1
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1):
            space.slots.append(Slot(name, False, repeats))
            after = self._new(module.weight.shape[0])
            after.slots.append(Slot(name, True))
            return after, 1
        raise self._unknown(f"{name} ({type(module).__name__})")


def weights(network: nn.Module) -> dict[str, Tensor]:
    """What goes over the air as analog symbols: the weights of convolutions and linear layers.

    Biases and normalisation are side information.
    """
    return {
        f"{name}.weight": module.weight
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }


def check_weights(network: nn.Module) -> None:
    """Refuses a network with weights that are no numbers, or a layer of nothing but zeros.

    Raises:
        InputError: it has; the sentence names the layer.
    """
    for name, weight in weights(network).items():
        if not bool(torch.isfinite(weight).all()):
            raise InputError(f"{name} holds weights that are no numbers: train the network anew")
        if not bool(weight.any()):
            raise InputError(f"all weights of {name} are zero: train the network first")


def count(network: nn.Module) -> int:
    """How many weights :func:`weights` are."""
    return sum(weight.numel() for weight in weights(network).values())


def prune(
    network: nn.Module,
    image: Tensor,
    budget: int,
    share: float = 0.1,
    optimizer: torch.optim.Optimizer | None = None,
) -> bool:
    """One step of pruning, in place: removes up to a share of all filters and neurons.

    They go in the order of their l1 norm, over the mean of their layer's and over how many weights
    go with them, least first, and no further than the budget asks; a layer loses no more than
    twice the share, and keeps two. (The norm alone, of layers whose weights differ in number
    and size, would compare what cannot be compared.)

    Args:
        network: as :func:`spaces` takes it, in any mode.
        image: uint8 [1,C,H,W], any.
        budget: how many weights may stay.
        share: of the filters and neurons in this step.
        optimizer: whose state of the parameters is pruned with them.

    Returns:
        whether the budget is reached.

    Raises:
        InputError: an unknown layer, weights of zero or no numbers, or a budget that no network
            of this kind fits.
    """
    check_weights(network)
    learning = network.training
    free = [space for space in spaces(network.eval(), image) if not space.fixed]
    network.train(learning)
    layers = _layers(network, free)
    floor = _count(layers, [2] * len(free))
    if budget < floor:
        raise InputError(
            f"a budget of {budget} weights is too small for this network, whose smallest form "
            f"has {floor}: give it more bandwidth"
        )
    sizes = [space.size for space in free]
    lowest = [max(2, int(size * (1 - 2 * share))) for size in sizes]
    left, most = _count(layers, sizes), max(1, int(share * sum(sizes)))
    order = []
    for i, space in enumerate(free):
        without = [size - (j == i) for j, size in enumerate(sizes)]
        saved = left - _count(layers, without)
        scores = _scores(network, space) / saved
        order += [(score, i, channel) for channel, score in enumerate(scores.tolist())]
    removed: list[list[int]] = [[] for _ in free]
    for _, i, channel in sorted(order):
        if left <= budget or most == 0:
            break
        if sizes[i] <= lowest[i]:
            continue
        sizes[i] -= 1
        most -= 1
        removed[i].append(channel)
        left = _count(layers, sizes)
    for space, channels in zip(free, removed, strict=True):
        if channels:
            _remove(network, space, set(channels), optimizer)
    return left <= budget


def _scores(network: nn.Module, space: Space) -> Tensor:
    """The l1 norm of what makes each channel, over the layer's mean, and the mean of that."""
    norms = []
    for slot in space.slots:
        module = network.get_submodule(slot.module)
        if slot.makes and not isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            weight = module.get_parameter("weight").detach()
            norm = weight.abs().flatten(1).sum(1)
            norms.append(norm / norm.mean().clamp_min(1e-12))
    return torch.stack(norms).mean(0)


Layer = tuple[int, int, int, int, int]
"""Of a layer's weights: which space they make and how often, which they take and how often (-1 and
the size itself where that is fixed), and what else multiplies."""


def _layers(network: nn.Module, free: list[Space]) -> list[Layer]:
    made: dict[str, tuple[int, int]] = {}
    taken: dict[str, tuple[int, int]] = {}
    for i, space in enumerate(free):
        for slot in space.slots:
            (made if slot.makes else taken)[slot.module] = (i, slot.repeats)
    found = []
    for name, weight in weights(network).items():
        layer = name.removesuffix(".weight")
        outputs, inputs, *kernel = weight.shape
        given, needed = made.get(layer, (-1, outputs)), taken.get(layer, (-1, inputs))
        found.append((*given, *needed, math.prod(kernel)))
    return found


def _count(layers: list[Layer], sizes: list[int]) -> int:
    """:func:`count` for spaces of these sizes."""
    sizes = [*sizes, 1]  # What index -1 finds.
    return sum(
        sizes[made] * outputs * sizes[taken] * inputs * kernel
        for made, outputs, taken, inputs, kernel in layers
    )


def _remove(
    network: nn.Module,
    space: Space,
    channels: set[int],
    optimizer: torch.optim.Optimizer | None,
) -> None:
    kept = torch.tensor([c for c in range(space.size) if c not in channels])
    for slot in space.slots:
        module = network.get_submodule(slot.module)
        index = (kept[:, None] * slot.repeats + torch.arange(slot.repeats)).flatten()
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for name, tensor in tensors.items():
            if tensor.ndim == 0 or (not slot.makes and name != "weight"):
                continue
            _select(tensor, index.to(tensor.device), 0 if slot.makes else 1, optimizer)
    space.size = len(kept)
    conform(network)


def _select(
    tensor: Tensor, index: Tensor, axis: int, optimizer: torch.optim.Optimizer | None
) -> None:
    state = optimizer.state.get(tensor, {}) if optimizer is not None else {}
    for name, value in state.items():
        if isinstance(value, Tensor) and value.shape == tensor.shape:
            state[name] = value.index_select(axis, index)
    tensor.data = tensor.data.index_select(axis, index)
    if tensor.ndim == 4:
        tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    tensor.grad = None


def conform(network: nn.Module) -> None:
    """Makes each layer's own account of its shape that of its weights."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            outputs, inputs = module.weight.shape[:2]
            if module.groups > 1:
                module.groups = outputs
            module.out_channels, module.in_channels = outputs, inputs * module.groups
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.num_features = len(module.weight)


def reshape(network: nn.Module, state: Mapping[str, Tensor], prefix: str = "") -> None:
    """Gives a network the shapes of a pruned one of its kind; its values are then to be loaded.

    Args:
        network: unpruned.
        state: the pruned one's state dict, its names behind ``prefix``.

    Raises:
        InputError: a tensor is missing, of another rank, or larger than in the network.
    """
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for name, tensor in tensors.items():
        there = state.get(prefix + name)
        if there is None or there.ndim != tensor.ndim or there.numel() > tensor.numel():
            raise InputError(f"the pruned network does not fit: it has another {name}")
        if there.shape != tensor.shape:
            tensor.data = tensor.data.new_zeros(there.shape)
            if tensor.ndim == 4:
                tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    conform(network)


def structure(network: nn.Module) -> dict[str, list[int]]:
    """The shape of each layer's weights by its name: all that tells a pruned network's form."""
    return {name: list(weight.shape) for name, weight in weights(network).items()}
