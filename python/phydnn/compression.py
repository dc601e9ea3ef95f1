# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Compression of a network's weights after L-DeepSC's Algorithms 1 and 2, and their file.

Weights are quantised symmetrically, one scale a matrix: w = k s, k an integer of m bits other than
the least. So zero is a number, which the paper's range from least to largest weight does not grant,
and the weights that sparsification removed stay removed.

The file (``write``) has everything that the network needs: which weights are zero, and the others.
Both are entropy-coded with the frequencies of the matrix at hand, which are in the file as well.
The paper's ratio psi counts the other weights' m bits alone.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from phydnn.errors import InputError
from phydnn.results import write_bytes

BITS = 4, 32
"""Least and most of a weight; 32 keeps float32 as it is."""
CODED_BITS = 12
"""Up to how many bits weights are entropy-coded; frequencies of more would outweigh them."""
MAGIC = b"PHYDNNW1"
MAX_FILE_BYTES = 256 << 20
MAX_WEIGHTS = 64 << 20


def largest(weights: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """Which weights stay when the share ``sparsity`` of all is removed: bool, as the weights.

    One threshold on the magnitude holds for the whole network (the paper's eq. 12).

    Raises:
        InputError: the share is not from 0 to below 1.
    """
    if not 0 <= sparsity < 1:
        raise InputError(f"a sparsity of {sparsity} leaves nothing or is none: choose 0 to below 1")
    sizes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    removed = round(sparsity * len(sizes))
    if not removed:
        return [torch.ones_like(weight, dtype=torch.bool) for weight in weights]
    threshold = sizes.kthvalue(removed).values
    return [weight.detach().abs() > threshold for weight in weights]


def scale_of(weight: Tensor, bits: int) -> float:
    """The step s that takes the largest weight to the largest number of ``bits`` bits."""
    top = 2 ** (bits - 1) - 1
    largest_one = float(weight.detach().abs().max()) if weight.numel() else 0.0
    return largest_one / top or 1.0


def _numbers(weight: Tensor, scale: float) -> Tensor:
    """The nearest k of each weight, in float64: in float32 a tie could fall to the other side."""
    return (weight.double() / scale).round()


def quantised(weight: Tensor, bits: int) -> Tensor:
    """Weights rounded to ``bits`` bits: the nearest k s.

    Raises:
        InputError: ``bits`` is not from 4 to 32.
    """
    if not BITS[0] <= bits <= BITS[1]:
        raise InputError(f"weights take {BITS[0]} to {BITS[1]} bits, not {bits}")
    if bits == 32:
        return weight
    scale = scale_of(weight, bits)
    return (_numbers(weight, scale) * scale).to(weight.dtype)


class Quantiser(nn.Module):
    """Activations rounded to ``bits`` bits within a range that training follows (eq. 15-17).

    The gradient passes the rounding straight through, and not what lies outside of the range. The
    first batch sets the range; a module that has seen none leaves activations as they are.
    """

    low: Tensor
    high: Tensor

    def __init__(self, bits: int, momentum: float = 0.99) -> None:
        super().__init__()
        self.bits, self.momentum = bits, momentum
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """Activations [...] to activations [...]."""
        if self.bits >= 24:
            # float32 resolves no more.
            return x
        if self.training:
            low, high = x.detach().float().aminmax()
            weight = 1 - self.momentum if bool(self.high > self.low) else 1.0
            self.low.lerp_(low, weight)
            self.high.lerp_(high, weight)
        if not bool(self.high > self.low):
            return x
        step = (self.high - self.low) / (2**self.bits - 1)
        within = x.clamp(self.low, self.high)
        rounded = ((within - self.low) / step).round() * step + self.low
        return within + (rounded - within).detach()

    def hook(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        """As a forward hook of the module whose activations are rounded."""
        answer: Tensor = self(output)
        return answer


def psi(weights: Sequence[Tensor], bits: int) -> float:
    """The paper's compression ratio: float32 bits over the remaining weights' m bits (eq. 34)."""
    whole = sum(weight.numel() for weight in weights)
    left = sum(int((weight != 0).sum()) for weight in weights)
    return 32 * whole / max(1, left * bits)


def write(path: Path, weights: Mapping[str, NDArray[np.float32]], bits: int) -> int:
    """Writes matrices, quantised to ``bits`` bits, and other arrays as float32; returns the bytes.

    Arrays of fewer than two axes (biases, scales) are kept as they are.

    Raises:
        InputError: ``bits`` is not from 4 to 32, or the file cannot be written.
    """
    if not BITS[0] <= bits <= BITS[1]:
        raise InputError(f"weights take {BITS[0]} to {BITS[1]} bits, not {bits}")
    entries: list[dict[str, Any]] = []
    body = []
    for name, array in weights.items():
        flat = np.ascontiguousarray(array, np.float32).ravel()
        if array.ndim < 2 or bits == 32:
            parts, scale = _pack_float(flat), 0.0
        else:
            weight = torch.from_numpy(flat)
            scale = scale_of(weight, bits)
            parts = _pack_numbers(_numbers(weight, scale).long().numpy(), bits)
        entries.append(
            {
                "name": name,
                "shape": list(array.shape),
                "scale": scale,
                "bytes": [len(part) for part in parts],
            }
        )
        body += parts
    head = json.dumps({"bits": bits, "entries": entries}, separators=(",", ":")).encode()
    data = b"".join([MAGIC, struct.pack("<I", len(head)), head, *body])
    write_bytes(path, data)
    return len(data)


def read(path: Path) -> dict[str, NDArray[np.float32]]:
    """What :func:`write` wrote, as the network computes with it.

    Raises:
        InputError: the file is missing, damaged, or no such file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    try:
        return _unpacked(data)
    except (AssertionError, KeyError, OverflowError, TypeError, ValueError, struct.error) as error:
        raise InputError(f"{path} holds no weights of ours: {error}") from error


def _unpacked(data: bytes) -> dict[str, NDArray[np.float32]]:
    if not data.startswith(MAGIC) or len(data) > MAX_FILE_BYTES:
        raise ValueError("it does not begin as one, or is too long")
    (size,) = struct.unpack_from("<I", data, len(MAGIC))
    at = len(MAGIC) + 4
    head = json.loads(data[at : at + size])
    at += size
    bits = int(head["bits"])
    if not BITS[0] <= bits <= BITS[1]:
        raise ValueError(f"its weights have {bits} bits")
    total, weights = 0, {}
    for entry in head["entries"]:
        shape = [int(length) for length in entry["shape"]]
        count = math.prod(shape)
        total += count
        if min(shape, default=1) < 0 or not 0 <= total <= MAX_WEIGHTS or len(shape) > 8:
            raise ValueError(f"{entry['name']} has shape {shape}")
        parts = []
        for length in entry["bytes"]:
            if not 0 <= length <= len(data) - at:
                raise ValueError("it is cut off")
            parts.append(data[at : at + length])
            at += length
        if len(shape) < 2 or bits == 32:
            flat = _unpack_float(parts, count)
        else:
            flat = (_unpack_numbers(parts, count, bits) * float(entry["scale"])).astype(np.float32)
        weights[str(entry["name"])] = flat.reshape(shape)
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes are left over")
    return weights


def _pack_float(flat: NDArray[np.float32]) -> list[bytes]:
    kept = flat != 0
    return [*_pack_symbols(kept.astype(np.int32), 2), flat[kept].astype("<f4").tobytes()]


def _unpack_float(parts: list[bytes], count: int) -> NDArray[np.float32]:
    *mask, values = parts
    flat = np.zeros(count, np.float32)
    kept = _unpack_symbols(mask, count, 2).astype(bool)
    flat[kept] = np.frombuffer(values, "<f4")
    return flat


def _pack_numbers(numbers: NDArray[np.int64], bits: int) -> list[bytes]:
    top = 2 ** (bits - 1) - 1
    if bits <= CODED_BITS:
        # Zero is one number of many: coding them all codes the mask as well.
        return _pack_symbols((numbers + top).astype(np.int32), 2 * top + 1)
    kept = numbers != 0
    rest = (numbers[kept] + top).astype(">u4")
    raw = np.unpackbits(rest.view(np.uint8).reshape(-1, 4), axis=1)[:, 32 - bits :]
    return [*_pack_symbols(kept.astype(np.int32), 2), np.packbits(raw).tobytes()]


def _unpack_numbers(parts: list[bytes], count: int, bits: int) -> NDArray[np.int64]:
    top = 2 ** (bits - 1) - 1
    if bits <= CODED_BITS:
        return _unpack_symbols(parts, count, 2 * top + 1).astype(np.int64) - top
    *mask, values = parts
    kept = _unpack_symbols(mask, count, 2).astype(bool)
    left = int(kept.sum())
    raw = np.unpackbits(np.frombuffer(values, np.uint8), count=left * bits).reshape(left, bits)
    wide = np.zeros((left, 32), np.uint8)
    wide[:, 32 - bits :] = raw
    numbers = np.zeros(count, np.int64)
    numbers[kept] = np.packbits(wide, axis=1).view(">u4").ravel().astype(np.int64) - top
    return numbers


def _model(counts: NDArray[np.uint32]) -> Any:
    import constriction

    shares = np.maximum(counts, 1e-9) / max(1, int(counts.sum()))
    return constriction.stream.model.Categorical(shares.astype(np.float32), perfect=False)


def _pack_symbols(symbols: NDArray[np.int32], size: int) -> list[bytes]:
    """Symbols 0 to ``size`` - 1 as their counts and a range coder's words."""
    import constriction

    counts = np.bincount(symbols, minlength=size).astype("<u4")
    encoder = constriction.stream.queue.RangeEncoder()
    # A matrix of one value needs no words at all.
    if np.count_nonzero(counts) > 1:
        encoder.encode(symbols, _model(counts))
    words = encoder.get_compressed().astype("<u4")
    return [counts.tobytes(), words.tobytes()]


def _unpack_symbols(parts: list[bytes], count: int, size: int) -> NDArray[np.int32]:
    import constriction

    counts, words = (np.frombuffer(part, "<u4") for part in parts)
    if len(counts) != size or int(counts.sum(dtype=np.int64)) != count:
        raise ValueError("a table of frequencies does not fit")
    if np.count_nonzero(counts) <= 1:
        return np.full(count, counts.argmax(), np.int32)
    decoder = constriction.stream.queue.RangeDecoder(words.astype(np.uint32))
    symbols: NDArray[np.int32] = np.asarray(decoder.decode(_model(counts), count), np.int32)
    if (np.bincount(symbols, minlength=size) != counts).any():
        raise ValueError("its numbers do not add up to their frequencies")
    return symbols
