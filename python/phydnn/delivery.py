# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Delivery of a network over the air: its bundle, what crosses, and what a client makes of it.

A server sends side information, protected, and weights, as analog symbols. The side information is
a stream of bytes: the graph without its weights, all other numbers of it as float16 (batch
normalisation, biases), and of each layer its weights' root mean square, spirals, repetition and
amplitude, and the noise that those numbers are for. It crosses as QPSK with the convolutional code
of rate 1/2 and constraint length 7, a CRC for each block, and as many copies as the Es/N0 asks for,
and is counted in bytes and in channel uses. A client needs nothing else but the delivery's
:class:`Ticket`. Neither torch nor the onnx package is needed here.
"""

from __future__ import annotations

import json
import math
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import onnxruntime
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import save as save_safetensors

from phydnn.bundle import (
    GOLDEN_BATCH,
    TOLERANCE,
    BaseBundle,
    BundleError,
    Graph,
    Spec,
    open_session,
    protobuf_fields,
    read_arrays,
    read_opset,
    sha256,
)
from phydnn.errors import InputError, RunError
from phydnn.results import write_bytes, write_json
from phydnn.spiral import LayerCode, Rule, Spiral, code_for

Tensors = dict[str, NDArray[np.float32]]

MAX_WEIGHTS = 1 << 27
MAX_SIDE_BYTES = 1 << 26
MAX_FRAMES = 1 << 20
FRAME_USES = 16384
"""Channel uses in a frame of weights, unless told otherwise."""

FLOAT = 1
"""ONNX's number of float32."""


class Codec(Protocol):
    """A layer's code: :class:`phydnn.spiral.LayerCode`, or its kernel."""

    def encode(self, weights: Any) -> Any:
        """Symbols of weights."""

    def decode(self, symbols: Any, n0: Any, count: int, rule: Any) -> Any:
        """Weights of symbols."""


MakeCodec = Callable[[LayerCode], Codec]


# Protobuf, as far as a graph's tensors need it: ModelProto.graph is field 7, GraphProto.initializer
# field 5; of a TensorProto, dims are field 1, data_type 2, name 8, raw_data 9, data_location 14.


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _packed(fields: Sequence[tuple[int, int | bytes]]) -> bytes:
    """A protobuf message of integers and bytes."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [_varint(number << 3), _varint(value)]
        else:
            parts += [_varint(number << 3 | 2), _varint(len(value)), value]
    return b"".join(parts)


@dataclass
class _Tensor:
    """An initializer of float32."""

    name: str
    shape: tuple[int, ...]
    data: bytes | None
    fields: list[tuple[int, int | bytes]]

    @classmethod
    def of(cls, message: bytes) -> _Tensor | None:
        """None for a tensor of another type. Raises InputError."""
        fields = protobuf_fields(message)
        dims: list[int] = []
        for number, value in fields:
            if number == 1:  # an integer, or several of them packed
                dims += [value] if isinstance(value, int) else _varints(value)
        scalars = {number: value for number, value in fields if number != 1}
        name = scalars.get(8, b"")
        if scalars.get(14) == 1:
            raise InputError("the graph keeps tensors in other files: export it whole")
        if scalars.get(2) != FLOAT or not isinstance(name, bytes):
            return None
        data = scalars.get(9)
        if 4 in scalars:
            raise InputError(f"the tensor {name!r} is not stored as raw data: export it so")
        if math.prod(dims) > MAX_WEIGHTS:
            raise InputError(f"the tensor {name!r} has more than {MAX_WEIGHTS} values")
        raw = data if isinstance(data, bytes) else None
        return cls(name.decode("utf-8", "replace"), tuple(dims), raw, fields)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def packed(self, data: bytes | None) -> bytes:
        """The initializer with other data."""
        kept = [field for field in self.fields if field[0] != 9]
        return _packed(kept if data is None else [*kept, (9, data)])


def _varints(data: bytes) -> list[int]:
    values, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            values.append(value)
            value = shift = 0
    return values


def _edit(model: bytes, replace: Callable[[_Tensor], bytes | None]) -> bytes:
    """The model with each float32 tensor's data replaced; names and notes that nothing needs go.

    Raises:
        InputError: it is no graph.
    """
    dropped = {"model": {2, 3, 4, 6, 14}, "graph": {10, 13, 16}, "node": {3, 6, 9}}

    def edited(number: int, value: int | bytes) -> int | bytes:
        if number == 5 and isinstance(value, bytes):
            tensor = _Tensor.of(value)
            return value if tensor is None else tensor.packed(replace(tensor))
        if number == 1 and isinstance(value, bytes):
            return _packed([f for f in protobuf_fields(value) if f[0] not in dropped["node"]])
        return value

    try:
        fields = [f for f in protobuf_fields(model) if f[0] not in dropped["model"]]
        return _packed(
            [
                (number, _packed([(n, edited(n, v)) for n, v in protobuf_fields(value)
                                  if n not in dropped["graph"]]))
                if number == 7 and isinstance(value, bytes)
                else (number, value)
                for number, value in fields
            ]
        )  # fmt: skip
    except (IndexError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("the network is no ONNX graph") from error


def strip(model: bytes) -> tuple[bytes, Tensors]:
    """A graph without its float32 tensors' values, and these by name.

    Args:
        model: a serialised ONNX model, its tensors stored as raw data.

    Raises:
        InputError: it is none.
    """
    tensors: Tensors = {}

    def take(tensor: _Tensor) -> None:
        if tensor.data is None or len(tensor.data) != 4 * tensor.size:
            raise InputError(f"the tensor '{tensor.name}' lacks values")
        values = np.frombuffer(tensor.data, np.float32)
        tensors[tensor.name] = values.reshape(tensor.shape).copy()

    return _edit(model, take), tensors


def fill(skeleton: bytes, tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The graph of :func:`strip` with these values.

    Raises:
        InputError: one is missing, or has another size.
    """

    def put(tensor: _Tensor) -> bytes:
        values = tensors.get(tensor.name)
        if values is None or values.size != tensor.size:
            raise InputError(f"the graph's tensor '{tensor.name}' has no values of its size")
        return np.ascontiguousarray(values, np.float32).tobytes()

    return _edit(skeleton, put)


def shapes_of(skeleton: bytes) -> dict[str, tuple[int, ...]]:
    """The float32 tensors of a graph. Raises InputError where it is none."""
    shapes = {}

    def note(tensor: _Tensor) -> None:
        shapes[tensor.name] = tensor.shape

    _edit(skeleton, note)
    return shapes


@dataclass(frozen=True, repr=False)
class AirBundle(BaseBundle):
    """A network to be delivered, for an Es/N0 or a range of it.

    Between the ends of the range the weights are interpolated, and the protected tensors between
    knots, linearly in dB.

    Attributes:
        skeleton: the graph without its float32 tensors, ``images`` uint8 [B,C,H,W] to ``logits``
            float32 [B,K].
        ends: the tensors that cross as symbols, of the network for the low end and of that for the
            high end; one where they are the same.
        sides: all other tensors, of each knot.
    """

    skeleton: bytes
    ends: tuple[Tensors, ...]
    sides: tuple[Tensors, ...]

    SYSTEM = "airnet"
    COMPUTES = ("network.onnx", "arrays.safetensors")

    @classmethod
    def _open(cls, path: Path, meta: dict[str, Any]) -> Self:
        skeleton = (path / "network.onnx").read_bytes()
        try:
            shapes = shapes_of(skeleton)
        except InputError as error:
            raise BundleError(f"network.onnx: {error}") from error
        weights, knots = meta["delivery"]["weights"], meta["delivery"]["knots"]
        if sorted(set(knots)) != knots:
            raise BundleError("bundle.json: delivery.knots: the Es/N0 do not rise")
        for name in weights:
            if name not in shapes:
                raise BundleError(f"network.onnx: it has no tensor '{name}' of bundle.json")
        ends, count = range(meta["delivery"]["ends"]), len(weights)
        spec: dict[str, Any] = {
            f"weights/{end}/{name}": (shapes[name], np.float16) for end in ends for name in weights
        }
        spec |= {f"scales/{end}": ((count,), np.float32) for end in ends}
        others = [name for name in shapes if name not in weights]
        spec |= {
            f"side/{knot}/{name}": (shapes[name], np.float32)
            for knot in range(len(knots))
            for name in others
        }
        arrays = read_arrays(path / "arrays.safetensors", spec)
        networks = tuple(
            {name: _kept(arrays, end, i, name) for i, name in enumerate(weights)} for end in ends
        )
        for name in weights:
            if not all(network[name].any() for network in networks):
                raise BundleError(f"arrays.safetensors: the weights '{name}' are all zero")
        sides = tuple({n: arrays[f"side/{k}/{n}"] for n in others} for k in range(len(knots)))
        for allocation in meta["delivery"]["allocations"]:
            if len(allocation["layers"]) != len(weights):
                raise BundleError(
                    f"bundle.json: delivery.allocations: {len(allocation['layers'])} layers are "
                    f"coded, but {len(weights)} cross"
                )
        return cls(path, meta, skeleton, networks, sides)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names."""
        return tuple(self.meta["classes"])

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        c, h, w = map(int, self.meta["input"]["shape"])
        return c, h, w

    @property
    def weights(self) -> tuple[str, ...]:
        """The tensors that cross as symbols, in that order."""
        return tuple(self.meta["delivery"]["weights"])

    @property
    def knots(self) -> tuple[float, ...]:
        """The Es/N0 in dB, rising, that the protected tensors are for."""
        return tuple(map(float, self.meta["delivery"]["knots"]))

    def tensors(self, snr_db: float) -> Tensors:
        """The network for an Es/N0; beyond the ends of its range, that of the end."""
        knots = self.knots
        place = float(np.interp(snr_db, knots, np.arange(len(knots))))
        low = min(int(place), len(knots) - 1)
        high = min(low + 1, len(knots) - 1)
        share = (min(max(snr_db, knots[0]), knots[-1]) - knots[0]) / max(knots[-1] - knots[0], 1e-9)
        weights = _between(self.ends[0], self.ends[-1], share)
        return weights | _between(self.sides[low], self.sides[high], place - low)

    def allocation(self, snr_db: float) -> list[dict[str, Any]]:
        """How each of :attr:`weights` is protected: the allocation nearest to the Es/N0."""
        found = self.meta["delivery"]["allocations"]
        nearest = min(found, key=lambda one: abs(one["snr_db"] - snr_db))
        return list(nearest["layers"])

    def graphs(self) -> list[Graph]:
        """None is whole by itself."""
        return []

    def golden_spec(self) -> Spec:
        """``images`` uint8 [4,C,H,W] and ``logits`` float32 [4,K] of the low end."""
        return {
            "images": ((GOLDEN_BATCH, *self.input_shape), np.uint8),
            "logits": ((GOLDEN_BATCH, len(self.classes)), np.float32),
        }

    def _check_graphs(self) -> None:
        golden = self.golden()
        answer = Network(fill(self.skeleton, self.tensors(self.knots[0]))).logits(golden["images"])
        if answer.shape != golden["logits"].shape:
            raise BundleError(f"network.onnx: its logits have shape {answer.shape}")
        difference = float(np.abs(answer - golden["logits"]).max())
        if not difference <= TOLERANCE * max(1.0, float(np.abs(golden["logits"]).max())):
            raise BundleError(
                f"network.onnx: its logits differ from golden.npz by {difference:.3g}"
            )


def _kept(arrays: Mapping[str, NDArray[Any]], end: int, place: int, name: str) -> NDArray[Any]:
    """Weights of a bundle's file, the ``place``-th that cross, at their own scale."""
    half = arrays[f"weights/{end}/{name}"].astype(np.float32)
    return np.asarray(arrays[f"scales/{end}"][place] * half)


def _between(one: Tensors, other: Tensors, share: float) -> Tensors:
    part = np.float32(share)
    return {name: one[name] + part * (other[name] - one[name]) for name in one}


def write_bundle(
    folder: Path,
    meta: Mapping[str, Any],
    networks: Sequence[bytes],
    weights: Sequence[str],
    knots: Sequence[float],
    allocations: Sequence[Mapping[str, Any]],
    images: NDArray[np.uint8],
    card: str,
) -> AirBundle:
    """Writes a bundle of networks of one structure, and validates it.

    Weights are kept over their root mean square as float16, 66 dB or more above what that rounds
    off, which no noise on air is; of the ends of the range only.

    Args:
        folder: of the bundle, which must not be there; its name becomes the bundle's.
        meta: bundle.json's fields but name, system, files, opset and delivery.
        networks: serialised ONNX models, ``images`` uint8 [B,C,H,W] to ``logits`` float32 [B,K],
            whose weights are interpolations of the first's and the last's.
        weights: the initializers that cross as symbols, in order; no other may be made from them.
        knots: Es/N0 in dB that each network is for, rising.
        allocations: of each Es/N0 ``snr_db``, of each of ``weights`` in ``layers``: ``expansion``,
            ``repeats``, ``amplitude``, and of a layer that is normalised ``ratio``; see
            :class:`Layer`.
        images: uint8 [4,C,H,W], for golden.npz.
        card: README.md.

    Raises:
        InputError: the networks differ in structure, or hold no sound weights.
    """
    stripped = [strip(model) for model in networks]
    if not stripped or len(stripped) != len(knots):
        raise InputError("each network needs the Es/N0 that it is for, and there must be one")
    skeleton, first = stripped[0]
    last = stripped[-1][1]
    for (_, tensors), snr_db in zip(stripped, knots, strict=True):
        if {n: t.shape for n, t in tensors.items()} != {n: t.shape for n, t in first.items()}:
            raise InputError("the networks of a bundle must have one structure: these differ")
        share = (snr_db - knots[0]) / ((knots[-1] - knots[0]) or 1)
        for name in weights:
            if name not in tensors:
                raise InputError(f"the network has no weights '{name}'")
            check_weights(name, tensors[name])
            between = first[name] + np.float32(share) * (last[name] - first[name])
            if not np.allclose(tensors[name], between, rtol=0, atol=1e-4 * _rms(between)):
                raise InputError(
                    f"the weights '{name}' for {snr_db:g} dB are no interpolation of the ends'"
                )
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        raise InputError(f"{folder} exists: move it away, or choose another name")
    ends = [first, last] if any((first[name] != last[name]).any() for name in weights) else [first]
    arrays: dict[str, NDArray[Any]] = {}
    for end, tensors in enumerate(ends):
        scales = [_rms(tensors[name]) for name in weights]
        arrays[f"scales/{end}"] = np.array(scales, np.float32)
        for name, scale in zip(weights, scales, strict=True):
            arrays[f"weights/{end}/{name}"] = (tensors[name] / scale).astype(np.float16)
    for knot, (_, tensors) in enumerate(stripped):
        arrays |= {f"side/{knot}/{n}": t for n, t in tensors.items() if n not in weights}
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        part = Path(scratch) / folder.name
        part.mkdir()
        (part / "network.onnx").write_bytes(skeleton)
        (part / "arrays.safetensors").write_bytes(save_safetensors(arrays))
        kept = {n: _kept(arrays, 0, i, n) for i, n in enumerate(weights)}
        logits = Network(fill(skeleton, first | kept)).logits(images)
        np.savez_compressed(part / "golden.npz", images=images, logits=logits)
        delivery = {
            "weights": list(weights),
            "ends": len(ends),
            "knots": list(knots),
            "allocations": [dict(allocation) for allocation in allocations],
        }
        opset = read_opset(part / "network.onnx")
        files = {path.name: sha256(path) for path in sorted(part.iterdir())}
        own = {"schema": 1, "name": folder.name, "system": AirBundle.SYSTEM, "opset": opset}
        write_json(part / "bundle.json", {**meta, **own, "delivery": delivery, "files": files})
        (part / "README.md").write_text(card, encoding="utf-8")
        AirBundle.load(part)
        os.replace(part, folder)
    folder.chmod(0o755)
    return AirBundle.load(folder)


def _rms(values: NDArray[Any]) -> float:
    return float(np.float32(np.sqrt(np.mean(np.square(values, dtype=float)))))


def check_weights(name: str, values: NDArray[Any]) -> None:
    """Refuses weights that cannot be normalised.

    Raises:
        InputError: they hold NaN or infinity, or are all zero.
    """
    if not np.isfinite(values).all():
        raise InputError(f"the weights '{name}' hold NaN or infinity: the network is broken")
    if not values.any():
        raise InputError(f"the weights '{name}' are all zero: prune the layer away instead")


class Network:
    """A network that runs.

    Args:
        model: serialised ONNX.
        threads: of ONNX Runtime; 0 for one a core.

    Raises:
        BundleError: ONNX Runtime cannot run it, or it takes and gives something else.
    """

    def __init__(self, model: bytes, threads: int = 0) -> None:
        self._session = open_session(model, threads)
        given, made = self._session.get_inputs(), self._session.get_outputs()
        if [node.name for node in (*given, *made)] != ["images", "logits"]:
            raise BundleError("the network must take 'images' and give 'logits'")

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits, float32 [B,K], of images, uint8 [B,C,H,W].

        Raises:
            InputError: the images do not fit.
        """
        try:
            answer = self._session.run(["logits"], {"images": images})[0]
        except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument as error:
            raise InputError(f"images of {images.shape[1:]} do not fit the network") from error
        return np.asarray(answer)

    def classes(self, images: NDArray[np.uint8], batch: int = 256) -> NDArray[np.int32]:
        """The class of each image, int32 [N]."""
        parts = [
            self.logits(images[start : start + batch]).argmax(1)
            for start in range(0, len(images), batch)
        ]
        return np.concatenate(parts).astype(np.int32)


# ---- side information: blocks of bytes as coded QPSK

BLOCK_BYTES = 124
"""Of side information in a block; four of its CRC-32 follow."""
BLOCK_BITS = 8 * (BLOCK_BYTES + 4)
BLOCK_USES = BLOCK_BITS + 6
"""A block, its tail, at rate 1/2, two coded bits a use."""
BLOCKS_PER_FRAME = 8
SIDE_SNR_DB = 6.0
"""Es/N0 that all copies of a block reach together: a block in a million is lost there."""
GENERATORS = (0o171, 0o133)
MAX_COPIES = 64


def copies_for(snr_db: float) -> int:
    """Copies of the side information for an Es/N0."""
    return max(1, min(MAX_COPIES, math.ceil(10 ** ((SIDE_SNR_DB - snr_db) / 10))))


def _outputs() -> NDArray[np.float64]:
    """What the encoder in each of 64 states sends for a 0 and a 1: +1 or -1, [64, 2, 2]."""
    register = np.arange(64)[:, None] | np.arange(2) << 6
    bits = [np.array([int(r & g).bit_count() & 1 for r in register.ravel()]) for g in GENERATORS]
    return 1.0 - 2 * np.stack(bits, -1).reshape(64, 2, 2)


OUTPUTS = _outputs()
SCRAMBLE = 2 * math.pi * np.random.RandomState(7).randint(0, 4, BLOCK_USES) / 4
"""A turn for each use of a block: equal bytes, of which skeletons have many, raise no peaks."""


def protect(data: bytes) -> NDArray[np.complex64]:
    """Coded QPSK of bytes, of power 1, complex64 [blocks, BLOCK_USES]; zeros fill the last."""
    blocks = -(-len(data) // BLOCK_BYTES)
    padded = data.ljust(blocks * BLOCK_BYTES, b"\0")
    rows = [padded[i : i + BLOCK_BYTES] for i in range(0, len(padded), BLOCK_BYTES)]
    framed = b"".join(row + zlib.crc32(row).to_bytes(4, "big") for row in rows)
    bits = np.unpackbits(np.frombuffer(framed, np.uint8)).reshape(blocks, BLOCK_BITS)
    bits = np.pad(bits, ((0, 0), (0, 6)))
    state = np.zeros(blocks, np.int64)
    symbols = np.empty((blocks, BLOCK_USES), np.complex64)
    for step in range(BLOCK_USES):
        sent = OUTPUTS[state, bits[:, step]]
        symbols[:, step] = (sent[:, 0] + 1j * sent[:, 1]) / math.sqrt(2)
        state = (state | bits[:, step].astype(np.int64) << 6) >> 1
    return (symbols * np.exp(1j * SCRAMBLE)).astype(np.complex64)


def unprotect(
    symbols: NDArray[np.complexfloating[Any, Any]], n0: NDArray[np.floating[Any]]
) -> list[bytes | None]:
    """Blocks of bytes from what was received of all copies; None where the CRC is wrong.

    Args:
        symbols: complex [copies, blocks, BLOCK_USES].
        n0: noise variance of each, infinite where nothing came.
    """
    weight = 1 / np.maximum(n0, 1e-9)
    soft = np.where(weight > 0, symbols, 0) * weight
    total = soft.sum(0) * np.exp(-1j * SCRAMBLE)
    blocks = len(total)
    # Viterbi's algorithm, all blocks at once. The state after a bit is its last six, newest first.
    old = np.arange(64)[:, None] << 1 & 63 | np.arange(2)  # the two that lead to each state
    newest = np.arange(64) >> 5
    sent = OUTPUTS[old, newest[:, None]]
    metric = np.full((blocks, 64), -1e30)
    metric[:, 0] = 0
    choices = np.empty((BLOCK_USES, blocks, 64), bool)
    for step in range(BLOCK_USES):
        y = total[:, step]
        gain = sent[..., 0] * y.real[:, None, None] + sent[..., 1] * y.imag[:, None, None]
        both = metric[:, old] + gain
        choices[step] = both[..., 1] > both[..., 0]
        metric = both.max(-1)
        metric -= metric.max(1, keepdims=True)
    state = np.zeros(blocks, np.int64)
    bits = np.empty((blocks, BLOCK_USES), np.uint8)
    for step in reversed(range(BLOCK_USES)):
        bits[:, step] = state >> 5
        state = (state << 1 & 63) | choices[step, np.arange(blocks), state]
    rows = np.packbits(bits[:, :BLOCK_BITS], axis=1)
    found: list[bytes | None] = []
    for row in rows:
        data, check = row[:BLOCK_BYTES].tobytes(), int.from_bytes(row[BLOCK_BYTES:], "big")
        found.append(data if zlib.crc32(data) == check else None)
    return found


# ---- what the side information says

MAGIC = b"AIR1"
LEAST_SHARE = 0.1
"""Of the variance that is left of a layer's output without noise; estimates may say less."""
LAYER = struct.Struct("<HBBffff")
SPIRAL = struct.Struct("<ff")


@dataclass(frozen=True)
class Layer:
    """A tensor that crosses as symbols.

    Attributes:
        name: of the graph's initializer.
        shape: its shape.
        scale: root mean square of its values.
        code: of its normalised values.
        tau: noise on these, by :meth:`phydnn.spiral.LayerCode.noise_met`, that the rest of the
            network is for.
        ratio: how much of what the layer gives is the noise's for each unit of that; 0 of one that
            no normalisation follows, or a network that does not mind.
    """

    name: str
    shape: tuple[int, ...]
    scale: float
    code: LayerCode
    tau: float = 0.0
    ratio: float = 0.0

    @property
    def count(self) -> int:
        """Weights."""
        return math.prod(self.shape)

    @property
    def uses(self) -> int:
        """Channel uses."""
        return self.code.uses(self.count)

    def gain(self, n0: ArrayLike, rule: Rule = "mmse") -> float:
        """By what to multiply decoded weights that have met this noise; see :func:`gain`.

        Args:
            n0: noise variance, a number or real [uses]; infinite where nothing came.
            rule: of the decoder; "nearest" shrinks nothing.
        """
        met = self.code.noise_met(n0, self.count) if self.ratio else math.inf
        if not math.isfinite(met):
            return 1.0
        return gain(met, self.tau, self.ratio) / (1 if rule == "mmse" else 1 + met)


def gain(met: float, expected: float, ratio: float) -> float:
    """By what to multiply a layer's weights so that what it gives keeps its variance.

    Side information stands for the noise that the server expected. Of weights that met other noise,
    and were not shrunk, the layer's output has (1 + (met - expected) ratio) times the variance; the
    error would add up over layers.

    Args:
        met: noise variance on weights of unit variance; they come shrunk by 1 / (1 + met).
        expected: what it was when the side information was taken.
        ratio: how much of the output's variance was the noise's for each unit of ``expected``.
    """
    share = max(LEAST_SHARE, 1 + (met - expected) * ratio)
    return (1 + met) / (1 + expected) / math.sqrt(share)


def pack_side(skeleton: bytes, layers: Sequence[Layer], protected: Tensors) -> bytes:
    """The side information, compressed."""
    names = list(shapes_of(skeleton))

    def half(tensor: _Tensor) -> bytes | None:
        if tensor.name not in protected:
            return None
        values = protected[tensor.name]
        short = values.astype(np.float16)
        return (short if np.isfinite(short).all() else values).tobytes()

    parts = [MAGIC, struct.pack("<H", len(layers))]
    for layer in layers:
        code = layer.code
        parts.append(
            LAYER.pack(
                names.index(layer.name), len(code.spirals), code.repeats, code.amplitude,
                layer.scale, layer.tau, layer.ratio,
            )
        )  # fmt: skip
        parts += [SPIRAL.pack(spiral.gamma, spiral.alpha) for spiral in code.spirals]
    return zlib.compress(b"".join([*parts, _edit(skeleton, half)]), 9)


def unpack_side(data: bytes) -> tuple[bytes, list[Layer], Tensors]:
    """Skeleton, layers, and the tensors that were protected.

    Raises:
        InputError: it is no side information.
    """
    try:
        engine = zlib.decompressobj()
        plain = engine.decompress(data, MAX_SIDE_BYTES)
        if not engine.eof or plain[:4] != MAGIC:
            raise InputError("this is no side information of a delivery")
        (count,), at = struct.unpack_from("<H", plain, 4), 6
        rows = []
        for _ in range(count):
            index, expansion, repeats, amplitude, *numbers = LAYER.unpack_from(plain, at)
            at += LAYER.size
            ends = range(at, at + expansion * SPIRAL.size, SPIRAL.size)
            spirals = tuple(Spiral(*SPIRAL.unpack_from(plain, end)) for end in ends)
            at += expansion * SPIRAL.size
            rows.append((index, LayerCode(spirals, repeats, amplitude), numbers))
        found: list[_Tensor] = []
        skeleton = _edit(plain[at:], found.append)
        layers = [
            Layer(found[i].name, found[i].shape, scale, code, tau, ratio)
            for i, code, (scale, tau, ratio) in rows
        ]
        protected: Tensors = {}
        for tensor in found:
            if tensor.data is not None:
                kind = np.float32 if len(tensor.data) == 4 * tensor.size else np.float16
                values = np.frombuffer(tensor.data, kind).astype(np.float32)
                protected[tensor.name] = values.reshape(tensor.shape)
        if not 1 <= sum(layer.count for layer in layers) <= MAX_WEIGHTS:
            raise InputError(f"the network has not 1 to {MAX_WEIGHTS} weights")
        if not all(0 < layer.scale < math.inf for layer in layers):
            raise InputError("a layer's scale is no positive number")
        if not all(0 <= n < math.inf for layer in layers for n in (layer.tau, layer.ratio)):
            raise InputError("a layer's noise is no number that noise can be")
    except InputError:
        raise
    except (ValueError, IndexError, struct.error, zlib.error, OverflowError) as error:
        raise InputError(f"the side information is damaged: {error}") from error
    return skeleton, layers, protected


# ---- the two ends


@dataclass(frozen=True)
class Ticket:
    """What a client is told of a delivery, before it begins: which frames to wait for.

    Attributes:
        name, id: of the bundle; frames of others are refused.
        classes: the class names.
        input_shape: (C, H, W) of an image.
        side_bytes: of side information.
        copies: of it.
        uses: channel uses of each frame; those of side information come first.
    """

    name: str
    id: int
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    side_bytes: int
    copies: int
    uses: tuple[int, ...]

    @property
    def blocks(self) -> int:
        """Blocks of side information."""
        return -(-self.side_bytes // BLOCK_BYTES)

    @property
    def side_frames(self) -> int:
        """Frames of side information."""
        return -(-self.blocks * self.copies // BLOCKS_PER_FRAME)

    def json(self) -> str:
        """As :meth:`parse` reads it."""
        return json.dumps(asdict(self))

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Ticket:
        """Reads it.

        Raises:
            InputError: the file is missing, or no ticket.
        """
        try:
            with path.open("rb") as file:
                data = file.read(1 << 24)
        except OSError as error:
            raise InputError(f"cannot read the ticket {path}: {error.strerror}") from error
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: bytes, name: str) -> Ticket:
        """The ticket in JSON of that name.

        Raises:
            InputError: it is none.
        """
        try:
            found = json.loads(data)
            ticket = cls(
                str(found["name"])[:100],
                int(found["id"]),
                tuple(str(one)[:200] for one in found["classes"]),
                _three(found["input_shape"]),
                int(found["side_bytes"]),
                int(found["copies"]),
                tuple(int(uses) for uses in found["uses"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            raise InputError(f"{name} is no ticket of a delivery") from error
        sound = (
            0 <= ticket.id < 1 << 32
            and ticket.classes
            and all(0 < size <= 16384 for size in ticket.input_shape)
            and 0 < ticket.side_bytes <= MAX_SIDE_BYTES
            and 1 <= ticket.copies <= MAX_COPIES
            and ticket.side_frames < len(ticket.uses) <= MAX_FRAMES
            and all(0 < uses < 1 << 24 for uses in ticket.uses)
            and sum(ticket.uses) < 1 << 31
            and sum(ticket.uses[: ticket.side_frames]) == ticket.blocks * ticket.copies * BLOCK_USES
        )
        if not sound:
            raise InputError(f"{name} is no ticket of a delivery: its numbers do not fit")
        return ticket


def _three(sizes: Any) -> tuple[int, int, int]:
    channels, height, width = map(int, sizes)
    return channels, height, width


class Shipment:
    """A network made ready to be sent.

    Args:
        bundle: the network's.
        snr_db: Es/N0 that it is made for: chooses the network, the codes and the protection.
        frame_uses: channel uses in a frame of weights.
        alpha: of the spirals; None for the best, 1 for the paper's.
        make: makes the codes.

    Attributes:
        ticket: what the client has to know.
        frames: complex64 [uses] of each; weights have a mean power of 1 over all.
        layers: as the client will know them.
        side: the side information.
        snr_db: what it was made for.

    Raises:
        InputError: a number is out of range, or the network has NaN or only zeros somewhere.
    """

    def __init__(
        self,
        bundle: AirBundle,
        snr_db: float,
        frame_uses: int = FRAME_USES,
        alpha: float | None = None,
        make: MakeCodec = lambda code: code,
    ) -> None:
        if not 1 <= frame_uses < 1 << 24:
            raise InputError(f"a frame has 1 to {(1 << 24) - 1} channel uses, not {frame_uses}")
        if not -20 <= snr_db <= 60:
            raise InputError(f"a delivery is made for an Es/N0 of -20 to 60 dB, not {snr_db:g}")
        self.snr_db = snr_db
        tensors, allocation = bundle.tensors(snr_db), bundle.allocation(snr_db)
        # Side information is for the Es/N0 that it was made for, and not for any beyond.
        known = 10 ** (-min(max(snr_db, bundle.knots[0]), bundle.knots[-1]) / 10)
        sizes = [
            given["repeats"] * 2 ** given["expansion"] * tensors[name].size
            for name, given in zip(bundle.weights, allocation, strict=True)
        ]
        powers = [given["amplitude"] ** 2 for given in allocation]
        level = sum(sizes) / float(np.dot(sizes, powers))  # brings the mean power to 1
        self.layers: list[Layer] = []
        streams = []
        for name, given, power in zip(bundle.weights, allocation, powers, strict=True):
            values = tensors[name]
            check_weights(name, values)
            scale = _rms(values)
            # More power, of the same uses, bears a denser spiral.
            strength = snr_db + 10 * math.log10(level * power)
            code = code_for(strength, given["expansion"], given["repeats"], alpha)
            stream = make(code).encode(values.ravel() / scale)
            # A spiral's power depends on how the weights lie, which are not quite Gaussian.
            own = float(np.mean(np.square(np.abs(stream), dtype=float)))
            amplitude = float(np.float32(min(max(math.sqrt(level * power / own), 1e-3), 1e3)))
            code = LayerCode(code.spirals, code.repeats, amplitude)
            ratio = float(np.float32(given.get("ratio", 0.0)))
            tau = float(np.float32(code.noise_met(known, 1))) if ratio else 0.0
            self.layers.append(Layer(name, values.shape, scale, code, tau, ratio))
            streams.append((amplitude * stream).astype(np.complex64))
        protected = {n: t for n, t in tensors.items() if n not in bundle.weights}
        self.side = pack_side(bundle.skeleton, self.layers, protected)
        coded = np.tile(protect(self.side), (copies_for(snr_db), 1))
        per_frame = BLOCKS_PER_FRAME
        symbols = np.concatenate(streams)
        self.frames = [coded[i : i + per_frame].ravel() for i in range(0, len(coded), per_frame)]
        self.frames += [symbols[i : i + frame_uses] for i in range(0, len(symbols), frame_uses)]
        if len(self.frames) > MAX_FRAMES:
            raise InputError(f"{frame_uses} uses a frame make too many frames: choose more")
        self.ticket = Ticket(
            bundle.name,
            bundle.id,
            bundle.classes,
            bundle.input_shape,
            len(self.side),
            copies_for(snr_db),
            tuple(map(len, self.frames)),
        )


class Client:
    """Collects a delivery's frames, and makes the network of them.

    Args:
        ticket: what to wait for.

    Attributes:
        missing: numbers of the frames that have not come.
    """

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self._ends = np.cumsum(ticket.uses)
        self._symbols = np.zeros(sum(ticket.uses), np.complex64)
        self._n0 = np.full(len(self._symbols), np.inf, np.float32)

    def _place(self, number: int) -> slice:
        end = int(self._ends[number])
        return slice(end - self.ticket.uses[number], end)

    @property
    def missing(self) -> list[int]:
        """Numbers of the frames that have not come."""
        starts = self._ends - np.array(self.ticket.uses)
        return np.flatnonzero(np.isinf(self._n0[starts])).tolist()

    def take(
        self, number: int, symbols: NDArray[np.complexfloating[Any, Any]], n0: ArrayLike
    ) -> bool:
        """Takes in a frame; False where it is no good. Copies are averaged by their noise.

        Args:
            number: of the frame.
            symbols: complex [uses].
            n0: noise variance, a number or real [uses].
        """
        if not 0 <= number < len(self.ticket.uses):
            return False
        place, noise = self._place(number), np.asarray(n0, np.float32)
        if len(symbols) != self.ticket.uses[number] or noise.shape not in ((), symbols.shape):
            return False
        if not (np.isfinite(symbols).all() and np.isfinite(noise).all() and (noise >= 0).all()):
            return False
        before, now = (1 / np.maximum(n0, np.float32(1e-12)) for n0 in (self._n0[place], noise))
        total = before + now
        self._symbols[place] = (before * self._symbols[place] + now * symbols) / total
        self._n0[place] = 1 / total
        return True

    def save(self, path: Path) -> None:
        """Writes what has come, to go on from there."""
        with tempfile.TemporaryFile() as file:
            about = json.dumps(asdict(self.ticket))
            np.savez(file, ticket=np.array(about), symbols=self._symbols, n0=self._n0)
            file.seek(0)
            write_bytes(path, file.read())

    def resume(self, path: Path) -> None:
        """Takes in what another client has saved of the same delivery.

        Raises:
            InputError: the file is broken, or of another delivery.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(item.file_size for item in archive.infolist()) > 1 << 32:
                    raise InputError(f"{path} is too large for a cut delivery")
            with np.load(path, allow_pickle=False) as arrays:
                ticket = json.loads(str(arrays["ticket"]))
                symbols, n0 = arrays["symbols"], arrays["n0"]
        except InputError:
            raise
        except Exception as error:  # zipfile and NumPy raise many kinds on damaged archives.
            raise InputError(f"{path} holds no delivery that was cut off: {error}") from error
        if ticket != json.loads(json.dumps(asdict(self.ticket))):
            raise InputError(
                f"{path} is of another delivery: give the bundle and the Es/N0 that it began with, "
                "or delete it"
            )
        if (symbols.shape, n0.shape) != (self._symbols.shape, self._n0.shape):
            raise InputError(f"{path} is damaged: its frames do not fit its ticket")
        for number in range(len(self.ticket.uses)):
            place = self._place(number)
            self.take(number, symbols[place], n0[place])

    @property
    def side_complete(self) -> bool:
        """Whether all frames of side information are there."""
        return not any(number < self.ticket.side_frames for number in self.missing)

    def side(self) -> tuple[bytes, list[Layer], Tensors]:
        """The side information.

        Raises:
            RunError: some of it has not come through; the client has to ask for it again.
            InputError: it is not what it should be.
        """
        ticket = self.ticket
        shape = (ticket.copies, ticket.blocks, BLOCK_USES)
        size = math.prod(shape)
        blocks = unprotect(self._symbols[:size].reshape(shape), self._n0[:size].reshape(shape))
        if bad := sum(block is None for block in blocks):
            raise RunError(
                f"{bad} of {len(blocks)} blocks of side information did not come through: "
                "without it there is no network"
            )
        joined = b"".join(block for block in blocks if block is not None)
        return unpack_side(joined[: ticket.side_bytes])

    def gains(self, layers: Sequence[Layer], rule: Rule = "mmse") -> dict[str, float]:
        """What :meth:`network` multiplies each layer's weights with; see :meth:`Layer.gain`."""
        at = sum(self.ticket.uses[: self.ticket.side_frames])
        found = {}
        for layer in layers:
            found[layer.name] = layer.gain(self._n0[at : at + layer.uses], rule)
            at += layer.uses
        return found

    def network(
        self, rule: Rule = "mmse", make: MakeCodec = lambda code: code
    ) -> tuple[bytes, dict[str, Any]]:
        """The network as ONNX, and what became of its weights.

        Args:
            rule: "mmse" takes each weight's posterior mean given N0, "nearest" what was received.
            make: makes the codes.

        Returns:
            the model, and ``weights``, ``weights_filled`` (of which nothing came: the prior's mean
            stands there), ``weight_uses``.

        Raises:
            RunError: the side information has not come through.
            InputError: the network has another structure than its frames.
        """
        skeleton, layers, tensors = self.side()
        at = sum(self.ticket.uses[: self.ticket.side_frames])
        total = sum(layer.uses for layer in layers)
        if at + total != len(self._symbols):
            raise InputError(
                f"the network that was announced has {len(self._symbols) - at} channel uses of "
                f"weights, the one that came {total}: they have another structure"
            )
        filled, gains = 0, self.gains(layers, rule)
        for layer in layers:
            place = slice(at, at + layer.uses)
            decoded = make(layer.code).decode(
                self._symbols[place], self._n0[place], layer.count, rule
            )
            filled += int(np.sum(decoded == 0)) if np.isinf(self._n0[place]).any() else 0
            scale = np.float32(layer.scale * gains[layer.name])
            tensors[layer.name] = (scale * decoded).reshape(layer.shape)
            at += layer.uses
        counts = {
            "weights": sum(layer.count for layer in layers),
            "weights_filled": filled,
            "weight_uses": total,
        }
        return fill(skeleton, tensors), counts
