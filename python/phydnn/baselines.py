# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""What PhyDNN is compared with: Split Computing, BottleFit and DT-JSCC; their networks and bytes.

- **Split Computing** sends the head's latent as it is: float32, :func:`raw_bytes`.
- **BottleFit** (Y. Matsubara et al., "BottleFit: Learning Compressed Representations in Deep
  Neural Networks for Effective and Efficient Split Computing", WoWMoM 2022, arXiv:2201.02693)
  sends a map of few kernels, in 8 bits a value: :class:`BottleFit`, :func:`affine_bytes`.
- **DT-JSCC** (S. Xie et al., "Robust Information Bottleneck for Task-Oriented Communication with
  Digital Modulation", IEEE JSAC 41 (8), 2023, arXiv:2209.10382) sends labels of a codebook on
  PSK points: :class:`DtJscc`. Between encoder and decoder it is what
  :class:`phydnn.embedding.Embedding` is, so it trains, exports and runs as a PhyDNN does.

:mod:`phydnn.train.baselines` trains the last two.
"""

from __future__ import annotations

import copy
import math
import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from phydnn.errors import InputError
from phydnn.networks import ResNet

LEVELS = 255
"""Steps of BottleFit's 8-bit values."""


def _conv(inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Edge(nn.Module):
    """BottleFit's half on the edge: a decoder in place of the second stage, then the rest."""

    def __init__(self, decoder: nn.Module, layer3: nn.Module, fc: nn.Module) -> None:
        super().__init__()
        self.decoder, self.layer3, self.fc = decoder, layer3, fc

    def stages(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What was sent as the maps of the second and the third stage, and logits [B,K]."""
        second = self.decoder(values)
        third = self.layer3(second)
        return second, third, self.fc(third.mean((2, 3)))

    def forward(self, values: Tensor) -> Tensor:
        return self.stages(values)[2]


class BottleFit(nn.Module):
    """A ResNet whose second stage gives way to a bottleneck of few kernels.

    As published for ResNet-152, a stage earlier: a 2x2 convolution of stride 2 squeezes the head's
    map to ``kernels``; on the edge four 2x2 convolutions and a 2x2 mean take the place of the next
    stage, whose output they are trained to give. On 16x32x32 that is kernels x 17 x 17.

    Attributes:
        encoder: uint8 [B,C,H,W] to what is sent, float32 [B,kernels,H/2+1,W/2+1], 0 or more.
        edge: what was sent to logits.

    Args:
        network: a trained one of ours; its weights are copied.
        kernels: channels of what is sent, 1 or more.
        width: channels between the edge's convolutions.

    Raises:
        InputError: another network, or no kernels.
    """

    def __init__(self, network: nn.Module, kernels: int, width: int) -> None:
        super().__init__()
        if not isinstance(network, ResNet):
            raise InputError("BottleFit is there for resnet20, resnet56 and resnet110 only")
        if kernels < 1 or width < 1:
            raise InputError(f"kernels {kernels} and width {width} must be 1 or more")
        network = copy.deepcopy(network).requires_grad_(True)
        channels, target = 16, 32  # of the first and the second stage
        self.encoder = nn.Sequential(
            network.normalize,
            network.conv1,
            network.bn1,
            nn.ReLU(),
            network.layer1,
            _conv(channels, kernels, 2, 2, 1),
        )
        decoder = nn.Sequential(
            _conv(kernels, width, 2, 1, 1),
            _conv(width, width, 2, 1, 1),
            _conv(width, width, 2),
            nn.Conv2d(width, target, 2, bias=False),
            nn.AvgPool2d(2, 1),
            nn.ReLU(),
        )
        self.edge = Edge(decoder, network.layer3, network.fc)

    def forward(self, images: Tensor) -> Tensor:
        """Logits through the 8 bits."""
        logits: Tensor = self.edge(rounded(self.encoder(images).float()))
        return logits


def stages(network: ResNet, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the second and the third stage of a ResNet give, and its logits."""
    x = functional.relu(network.bn1(network.conv1(network.normalize(images))))
    second = network.layer2(network.layer1(x))
    third = network.layer3(second)
    return second, third, network.fc(third.mean((2, 3)))


def rounded(values: Tensor) -> Tensor:
    """What :func:`affine_values` makes of :func:`affine_bytes`, for each image of [B,...]."""
    flat = values.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    step = ((high - low) / LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
    return (low + step * torch.round((flat - low) / step)).view_as(values)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels, channels, 3, 1, 1), _conv(channels, channels, 3, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class DtJscc(nn.Module):
    """DT-JSCC's encoder and decoder for small images; a codebook and a channel go between.

    Four 3x3 convolutions of width/8 to width channels, of which the last ``pools`` halve the map;
    residual blocks after the second and the last; then, on the edge, one more, the maximum over
    the map, and a linear layer. For CIFAR-10: 512 channels, and 32x32 pixels become 4x4 codewords.

    Args:
        channels: of the images.
        classes: number of classes.
        width: channels of the latent, a multiple of 8.
        pools: how often the map is halved, 1 to 3.
    """

    def __init__(self, channels: int, classes: int, width: int, pools: int) -> None:
        super().__init__()
        parts: list[nn.Module] = [_conv(channels, width // 8, 3, 1, 1)]
        for i, share in enumerate((4, 2, 1)):
            parts.append(_conv(width // share // 2, width // share, 3, 1, 1))
            if i >= 3 - pools:
                parts.append(nn.MaxPool2d(2))
            if share != 2:
                parts.append(_Residual(width // share))
        self.encoder = nn.Sequential(*parts)
        self.decoder = _Residual(width)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.decoder(self.encoder(x)).amax((2, 3)))
        return logits


def dtjscc_cifar10() -> DtJscc:
    """As published for CIFAR-10: 16 codewords of 512 values an image."""
    return DtJscc(3, 10, 512, 3)


def dtjscc_digits() -> DtJscc:
    """A small one for 8x8 digits, with as many codewords: for the quick forms and the tests."""
    return DtJscc(1, 10, 64, 1)


def raw_bytes(values: NDArray[np.float32]) -> bytes:
    """A latent as it is, float32 in little-endian order: 4 bytes a value."""
    return values.astype("<f4").tobytes()


def raw_values(data: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The inverse of :func:`raw_bytes`.

    Raises:
        InputError: another number of bytes than the shape needs.
    """
    if len(data) != 4 * math.prod(shape):
        raise InputError(f"{len(data)} bytes are not {shape} values of 4 bytes")
    return np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)


def affine_bytes(values: NDArray[np.float32]) -> bytes:
    """Values [B,...] in 8 bits each, after the least and the greatest of each image in float32.

    The affine quantisation of B. Jacob et al. (CVPR 2018), as BottleFit has it: a byte a value
    and 8 an image.
    """
    flat = values.reshape(len(values), -1).astype(np.float32)
    low, high = flat.min(1, keepdims=True), flat.max(1, keepdims=True)
    step = np.maximum((high - low) / np.float32(LEVELS), np.finfo(np.float32).tiny)
    codes = np.round((flat - low) / step).astype(np.uint8)
    return np.concatenate([low, high], 1).astype("<f4").tobytes() + codes.tobytes()


def affine_values(data: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The inverse of :func:`affine_bytes`, up to half a step.

    Raises:
        InputError: another number of bytes than the shape needs.
    """
    count, size = shape[0], math.prod(shape[1:])
    if len(data) != count * (8 + size):
        raise InputError(f"{len(data)} bytes are not {shape} values of 8 bits")
    low, high = np.frombuffer(data, "<f4", 2 * count).reshape(count, 2, 1).swapaxes(0, 1)
    codes = np.frombuffer(data, np.uint8, offset=8 * count).reshape(count, size)
    step = np.maximum((high - low) / np.float32(LEVELS), np.finfo(np.float32).tiny)
    return (low + step * codes).reshape(shape).astype(np.float32)


def label_bytes(labels: NDArray[np.int32], size: int) -> bytes:
    """Labels of a dictionary of ``size``, packed: ceil(log2(size)) bits each."""
    width = max(1, (size - 1).bit_length())
    bits = labels.reshape(-1, 1) >> np.arange(width)[::-1] & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def label_values(data: bytes, shape: tuple[int, ...], size: int) -> NDArray[np.int32]:
    """The inverse of :func:`label_bytes`.

    Raises:
        InputError: another number of bytes than the shape needs, or a label that is none.
    """
    width, count = max(1, (size - 1).bit_length()), math.prod(shape)
    if len(data) != -(-count * width // 8):
        raise InputError(f"{len(data)} bytes are not {shape} labels of {width} bits")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count * width).reshape(count, width)
    labels = (bits.astype(np.int32) << np.arange(width)[::-1]).sum(1)
    if labels.max(initial=0) >= size:
        raise InputError(f"label {labels.max()} is none of {size}")
    return labels.reshape(shape).astype(np.int32)


def coded(data: bytes) -> int:
    """Bytes of a payload after DEFLATE (RFC 1951) at its best: what a coder off the shelf gains."""
    return len(zlib.compress(data, 9))
