# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Backbone networks, and the cut of any traceable network into a head and a tail."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from phydnn.errors import InputError

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


def build(name: str, classes: int, mean: Sequence[float], std: Sequence[float]) -> ResNet:
    """The named backbone (a key of BLOCKS) with fresh weights.

    Raises:
        InputError: no such network.
    """
    if name not in BLOCKS:
        raise InputError(f"there is no network '{name}': choose one of {', '.join(BLOCKS)}")
    return ResNet(BLOCKS[name], classes, mean, std)


class _CutTracer(fx.Tracer):
    """Traces a network down to torch's own layers, but keeps the module at the cut whole."""

    def __init__(self, point: str) -> None:
        super().__init__()
        self.point = point

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name == self.point or super().is_leaf_module(
            m, module_qualified_name
        )


def split(network: nn.Module, point: str) -> tuple[nn.Module, nn.Module]:
    """Cuts a network after one of its submodules.

    Args:
        network: a network of one input that torch.fx can trace.
        point: the submodule's dotted name, such as "layer1" or "layer2.0".

    Returns:
        head and tail with tail(head(x)) == network(x); they share the network's parameters.

    Raises:
        InputError: there is no such submodule, the network runs it never or more than once, or
            something goes round it, so that its output alone does not carry what the rest needs.
    """
    names = [name for name, _ in network.named_modules() if name]
    if point not in names:
        raise InputError(f"the network has no submodule '{point}' to split at: {', '.join(names)}")
    graph = _CutTracer(point).trace(network)
    cuts = [n for n in graph.nodes if n.op == "call_module" and n.target == point]
    if len(cuts) != 1:
        raise InputError(f"the network runs '{point}' {len(cuts)} times: split where it runs once")

    head_graph = fx.Graph()
    nodes: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        nodes[node] = head_graph.node_copy(node, nodes.__getitem__)
        if node is cuts[0]:
            break
    head_graph.output(nodes[cuts[0]])

    with graph.inserting_before(cuts[0]):
        latent = graph.placeholder("latent")
    cuts[0].replace_all_uses_with(latent)
    head, tail = fx.GraphModule(network, head_graph, "Head"), fx.GraphModule(network, graph, "Tail")
    for part in (head, tail):
        part.graph.eliminate_dead_code()
    for node in tail.graph.find_nodes(op="placeholder"):
        if node.target != "latent":
            if node.users:
                raise InputError(f"a shortcut goes round '{point}': split where it does not")
            tail.graph.erase_node(node)
    for part in (head, tail):
        part.delete_all_unused_submodules()
        part.recompile()
    return head, tail
