# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Bundles: what ``phydnn export`` writes and the blocks load, validated before anything runs.

A bundle is a folder of ``bundle.json``, ONNX graphs, arrays in safetensors, ``golden.npz`` (an
input, and what each graph must answer) and a model card, ``README.md``. Each system has a subclass
of :class:`BaseBundle` that says which; PhyDNN's is here. Neither torch nor the onnx package is
needed.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.resources
import json
import os
import sys
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import jsonschema
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from phydnn.errors import InputError

MEBIBYTE = 1 << 20
MAX_BYTES = {
    ".json": MEBIBYTE,
    ".onnx": 512 * MEBIBYTE,
    ".safetensors": 64 * MEBIBYTE,
    ".npz": 64 * MEBIBYTE,
    ".model": 16 * MEBIBYTE,
}
"""Of a bundle's files, by suffix."""
GOLDEN_BATCH = 4
TOLERANCE = 1e-3
"""Between a graph's answer and golden.npz, over the largest value there: machines' sums differ."""
SYSTEMS = {
    "phydnn": "phydnn.bundle:PhydnnBundle",
    "csi": "phydnn.csi:CsiBundle",
    "ldeepsc": "phydnn.text_bundle:TextBundle",
    "airnet": "phydnn.delivery:AirBundle",
}
"""The class that loads a system's bundles, as module:class."""
ONNX_TYPES: dict[type[Any], str] = {
    np.float32: "float",
    np.uint8: "uint8",
    np.int8: "int8",
    np.int32: "int32",
    np.int64: "int64",
    np.bool_: "bool",
}
Spec = Mapping[str, tuple[tuple[int | None, ...], type[Any]]]
"""Shape and dtype of arrays by name; None is an axis of any size."""


class BundleError(InputError):
    """A bundle that is missing, damaged or not what it says; names the file and the field."""


def sha256(path: Path) -> str:
    """A file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(path_or_name: str | os.PathLike[str]) -> Path:
    """The folder of a bundle: a path, or the name of one that ships.

    Raises:
        BundleError: there is none.
    """
    path = Path(path_or_name)
    places = [
        path,
        Path("models") / path,
        Path(__file__).resolve().parents[2] / "models" / path,
        Path(sys.prefix) / "share" / "phydnn" / "models" / path,
    ]
    for place in places:
        if (place / "bundle.json").is_file():
            return place
    raise BundleError(
        f"there is no bundle '{path}': neither it nor models/{path} holds a bundle.json"
    )


def open_session(model: Path | bytes, threads: int = 0) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU.

    Args:
        model: the graph's file, or the graph itself.
        threads: within an operator; 0 for one a core.

    Raises:
        BundleError: the file is no graph that ONNX Runtime can run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A thread that waits must not burn the core that the radio needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            model, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this.
        name = model.name if isinstance(model, Path) else "the network"
        raise BundleError(f"{name}: ONNX Runtime cannot run it: {error}") from error


@dataclass(frozen=True)
class Graph:
    """What an ONNX graph takes and gives. Each tensor has a free first axis, the batch.

    Attributes:
        file: its name in the bundle.
        inputs, outputs: shape (without the batch) and dtype of each, in order.
        golden: names in golden.npz of inputs and outputs that are called otherwise there.
    """

    file: str
    inputs: Spec
    outputs: Spec
    golden: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class BaseBundle(ABC):
    """A validated bundle of any system.

    Attributes:
        path: its folder.
        meta: bundle.json.
        SYSTEM: bundle.json's ``system``, by which the schema knows what else it must hold.
        COMPUTES: the files that :attr:`id` is made from, in that order.
    """

    path: Path
    meta: dict[str, Any]

    SYSTEM: ClassVar[str]
    COMPUTES: ClassVar[tuple[str, ...]]

    @classmethod
    def load(cls, path_or_name: str | os.PathLike[str]) -> Self:
        """Loads and validates a bundle: hashes, shapes, dtypes, opset, finiteness, golden answers.

        Raises:
            BundleError: something is missing or wrong; the message names the file and the field.
        """
        path = find(path_or_name)
        meta = _read_meta(path / "bundle.json", cls.SYSTEM)
        for name, digest in meta["files"].items():
            _check_size(path / name)
            if (found := sha256(path / name)) != digest:
                raise BundleError(f"{name}: its sha256 is {found}, not {digest} of bundle.json")
            if name.endswith(".onnx") and (opset := read_opset(path / name)) != meta["opset"]:
                raise BundleError(f"{name}: its opset is {opset}, not {meta['opset']}")
        bundle = cls._open(path, meta)
        bundle._check_graphs()
        return bundle

    @classmethod
    def _open(cls, path: Path, meta: dict[str, Any]) -> Self:
        """Makes the object; subclasses read their arrays here."""
        return cls(path, meta)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @abstractmethod
    def graphs(self) -> list[Graph]:
        """The graphs; they are held against the golden answers when the bundle is loaded."""

    @abstractmethod
    def golden_spec(self) -> Spec:
        """What golden.npz holds."""

    def golden(self) -> dict[str, NDArray[Any]]:
        """What each stage must answer, as :meth:`golden_spec` names it.

        Raises:
            BundleError: golden.npz lacks one of them, or it has another shape or dtype.
        """
        path, expected = self.path / "golden.npz", self.golden_spec()
        try:
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(item.file_size for item in archive.infolist())
            if unpacked > MAX_BYTES[path.suffix]:
                raise BundleError(f"{path.name}: it unpacks to {unpacked} bytes, too many")
            with np.load(path, allow_pickle=False) as arrays:
                if missing := expected.keys() - set(arrays.files):
                    raise BundleError(f"{path.name}: the array {min(missing)} is missing")
                golden = {name: arrays[name] for name in expected}
        except BundleError:
            raise
        except Exception as error:  # zipfile and NumPy raise many kinds on damaged archives.
            raise BundleError(f"{path.name}: it cannot be read: {error}") from error
        _check_arrays(path.name, golden, expected)
        return golden

    @property
    def id(self) -> int:
        """32 bits that name what the bundle computes, from the hashes of its graphs and arrays."""
        files = self.meta["files"]
        named = "\n".join(f"{name}:{files[name]}" for name in self.COMPUTES)
        return int.from_bytes(hashlib.sha256(named.encode()).digest()[:4], "big")

    @property
    def name(self) -> str:
        """The bundle's name."""
        return str(self.meta["name"])

    def _check_graphs(self) -> None:
        """Each graph's interface, and its answers to the golden inputs."""
        golden = self.golden()
        for graph in self.graphs():
            session = open_session(self.path / graph.file, threads=1)
            _check_tensors(graph.file, "input", session.get_inputs(), graph.inputs)
            _check_tensors(graph.file, "output", session.get_outputs(), graph.outputs)
            feed = {name: golden[graph.golden.get(name, name)] for name in graph.inputs}
            try:
                answers = session.run(list(graph.outputs), feed)
            except Exception as error:
                raise BundleError(f"{graph.file}: it fails on the golden input: {error}") from error
            for name, answer in zip(graph.outputs, answers, strict=True):
                expected = golden[graph.golden.get(name, name)]
                if answer.shape != expected.shape:
                    raise BundleError(
                        f"{graph.file}: its {name} have shape {answer.shape}, not "
                        f"{expected.shape} of golden.npz"
                    )
                difference = float(np.abs(answer - expected).max())
                # Written so that NaN fails too.
                if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
                    raise BundleError(
                        f"{graph.file}: its {name} differ from golden.npz by {difference:.3g}"
                    )


@dataclass(frozen=True, repr=False)
class PhydnnBundle(BaseBundle):
    """A PhyDNN.

    Attributes:
        embeddings: the dictionary, float32 [M,D].
        points: complex64 [M] of unit average power; ``points[j]`` carries embedding j.
    """

    embeddings: NDArray[np.float32]
    points: NDArray[np.complex64]

    SYSTEM = "phydnn"
    COMPUTES = ("head.onnx", "tail.onnx", "arrays.safetensors")

    @classmethod
    def _open(cls, path: Path, meta: dict[str, Any]) -> Self:
        size, dim = int(meta["dictionary"]["size"]), int(meta["slices"]["dim"])
        file = path / "arrays.safetensors"
        spec = {"embeddings": ((size, dim), np.float32), "points": ((size, 2), np.float32)}
        arrays = read_arrays(file, spec)
        points = arrays["points"].astype(np.float64)
        power = float((points**2).sum(1).mean())
        if abs(power - 1) > 1e-3:
            raise BundleError(f"{file.name}: points have an average power of {power:.4g}, not 1")
        return cls(
            path,
            meta,
            arrays["embeddings"],
            (points[:, 0] + 1j * points[:, 1]).astype(np.complex64),
        )

    @property
    def uses(self) -> int:
        """Channel uses an image, S."""
        return int(self.meta["slices"]["count"])

    @property
    def dim(self) -> int:
        """Width of a slice, D."""
        return int(self.meta["slices"]["dim"])

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        c, h, w = map(int, self.meta["input"]["shape"])
        return c, h, w

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names."""
        return tuple(self.meta["classes"])

    @property
    def lookup(self) -> str:
        """How a slice picks its embedding: "distance" or "inner_product"."""
        return str(self.meta["dictionary"]["lookup"])

    @property
    def decision(self) -> str:
        """How the receiver looks a symbol up unless told otherwise: "hard" or "soft"."""
        return str(self.meta["dictionary"]["decision"])

    @property
    def precoding(self) -> bool:
        """Whether the transmitter precodes the symbols (DFT-s-OFDM)."""
        return bool(self.meta["precoding"])

    @property
    def head_path(self) -> Path:
        """The head: ``images`` uint8 [B,C,H,W] to ``slices`` float32 [B,S,D]."""
        return self.path / "head.onnx"

    @property
    def tail_path(self) -> Path:
        """The tail: ``slices`` float32 [B,S,D] to ``logits`` float32 [B,K]."""
        return self.path / "tail.onnx"

    def golden_spec(self) -> Spec:
        """Four images, and what each stage answers.

        ``images`` uint8 [4,C,H,W], ``slices`` float32 [4,S,D], ``labels`` int32 [4,S], ``symbols``
        complex64 [4,S], ``received`` float32 [4,S,D] (looked up without noise), ``logits``
        float32 [4,K] of the received slices.
        """
        slices = (GOLDEN_BATCH, self.uses, self.dim)
        return {
            "images": ((GOLDEN_BATCH, *self.input_shape), np.uint8),
            "slices": (slices, np.float32),
            "labels": (slices[:2], np.int32),
            "symbols": (slices[:2], np.complex64),
            "received": (slices, np.float32),
            "logits": ((GOLDEN_BATCH, len(self.classes)), np.float32),
        }

    def graphs(self) -> list[Graph]:
        """The head, and the tail."""
        slices: Spec = {"slices": ((self.uses, self.dim), np.float32)}
        return [
            Graph("head.onnx", {"images": (self.input_shape, np.uint8)}, slices),
            Graph(
                "tail.onnx",
                slices,
                {"logits": ((len(self.classes),), np.float32)},
                {"slices": "received"},
            ),
        ]

    def labels(self, slices: NDArray[np.float32]) -> NDArray[np.int32]:
        """The embedding that each slice [...,D] picks, int32 [...]; the first of equals."""
        scores = slices @ self.embeddings.T
        if self.lookup == "distance":
            scores = scores - 0.5 * (self.embeddings**2).sum(1)
        return scores.argmax(-1).astype(np.int32)


Bundle = PhydnnBundle


def load(path_or_name: str | os.PathLike[str]) -> BaseBundle:
    """Loads and validates a bundle of any system.

    Raises:
        BundleError: as :meth:`BaseBundle.load`, or its system is none that we know.
    """
    system = _read_meta(find(path_or_name) / "bundle.json")["system"]
    module, _, name = SYSTEMS[system].partition(":")
    kind: type[BaseBundle] = getattr(importlib.import_module(module), name)
    return kind.load(path_or_name)


def _check_size(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BundleError(f"{path.name}: it cannot be read from {path.parent}") from error
    if not path.is_file():
        raise BundleError(f"{path.name}: it is not a file")
    if size > (limit := MAX_BYTES[path.suffix]):
        raise BundleError(f"{path.name}: it has {size} bytes, more than {limit}")


def _read_meta(path: Path, system: str = "") -> dict[str, Any]:
    """bundle.json, held against the schema; ``system`` is the one wanted, empty for any."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON number")

    _check_size(path)
    try:
        meta = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError, OSError) as error:
        raise BundleError(f"bundle.json: it is not JSON: {error}") from error
    # Before the schema, which would name what another system's bundle lacks.
    found = meta.get("system") if isinstance(meta, dict) else None
    if system and isinstance(found, str) and found != system:
        raise BundleError(f"bundle.json: system: it is '{found[:100]}', but '{system}' is wanted")
    schema = json.loads(
        importlib.resources.files("phydnn").joinpath("bundle_schema.json").read_text("utf-8")
    )
    validator = jsonschema.Draft202012Validator(schema)
    if (worst := jsonschema.exceptions.best_match(validator.iter_errors(meta))) is not None:
        field = ".".join(map(str, worst.absolute_path)) or "its top"
        raise BundleError(f"bundle.json: {field}: {worst.message[:300]}")
    checked: dict[str, Any] = meta
    return checked


def _check_tensors(file: str, what: str, found: Any, wanted: Spec) -> None:
    """A graph's inputs or outputs, as ONNX Runtime names them, against what they should be."""
    if [node.name for node in found] != list(wanted):
        names = ", ".join(f"'{name}'" for name in wanted)
        raise BundleError(
            f"{file}: its {what}s must be {names}"
            if len(wanted) > 1
            else f"{file}: its only {what} must be {names}"
        )
    for node, (name, (shape, dtype)) in zip(found, wanted.items(), strict=True):
        if node.type != f"tensor({ONNX_TYPES[dtype]})":
            raise BundleError(f"{file}: {name} is {node.type}, not {ONNX_TYPES[dtype]}")
        batch, *axes = node.shape or [1]
        sizes = tuple(axis if isinstance(axis, int) else None for axis in axes)
        if isinstance(batch, int) or sizes != tuple(shape):
            raise BundleError(
                f"{file}: {name} has shape {node.shape}, not a free batch axis and {shape}"
            )


def _check_arrays(file: str, arrays: Mapping[str, NDArray[Any]], expected: Spec) -> None:
    for name, (shape, dtype) in expected.items():
        array = arrays[name]
        if array.dtype != dtype:
            raise BundleError(f"{file}: {name} is {array.dtype}, not {np.dtype(dtype)}")
        fits = len(shape) == array.ndim and all(
            size in (None, has) for size, has in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise BundleError(f"{file}: {name} has shape {array.shape}, not {shape}")
        if not np.isfinite(array).all():
            raise BundleError(f"{file}: {name} holds NaN or infinity")


def read_arrays(path: Path, expected: Spec) -> dict[str, NDArray[Any]]:
    """Arrays of a safetensors file.

    Raises:
        BundleError: one is missing, of another shape or dtype, or not finite.
    """
    try:
        arrays = load_safetensors(path.read_bytes())
    except (OSError, SafetensorError, ValueError) as error:
        raise BundleError(f"{path.name}: it cannot be read: {error}") from error
    for name in expected:
        if name not in arrays:
            raise BundleError(f"{path.name}: the array {name} is missing")
    _check_arrays(path.name, arrays, expected)
    return {name: arrays[name] for name in expected}


def read_opset(path: Path) -> int:
    """The opset of ONNX's own operators that a graph asks for.

    Walks the file's top protobuf fields, so that the onnx package is not needed: field 8 of a
    ModelProto is an OperatorSetIdProto of domain (1) and version (2).

    Raises:
        BundleError: the file is no ONNX graph.
    """
    try:
        for number, value in protobuf_fields(path.read_bytes()):
            if number == 8 and isinstance(value, bytes):
                entry = dict(protobuf_fields(value))
                if entry.get(1, b"") in (b"", b"ai.onnx") and isinstance(entry.get(2), int):
                    return int(entry[2])
    except (OSError, IndexError, ValueError) as error:
        raise BundleError(f"{path.name}: it is no ONNX graph") from error
    raise BundleError(f"{path.name}: it names no opset")


def protobuf_fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """A protobuf message's fields in order: number, and an integer or the bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    fields: list[tuple[int, int | bytes]] = []
    while at < len(data):
        key = varint()
        number, wire = key >> 3, key & 7
        if wire == 0:
            fields.append((number, varint()))
            continue
        size = {1: 8, 5: 4}.get(wire) or (varint() if wire == 2 else -1)
        if size < 0 or at + size > len(data):
            raise ValueError("a field runs past the end")
        fields.append((number, data[at : at + size]))
        at += size
    return fields
