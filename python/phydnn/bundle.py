# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Bundles: what ``phydnn export`` writes and the blocks load, validated before anything runs.

A bundle is a folder of ``bundle.json``, ``head.onnx``, ``tail.onnx``, ``arrays.safetensors``,
``golden.npz`` and a model card, ``README.md``. Neither torch nor the onnx package is needed here.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import os
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from phydnn.errors import InputError

MEBIBYTE = 1 << 20
MAX_BYTES = {
    "bundle.json": MEBIBYTE,
    "head.onnx": 512 * MEBIBYTE,
    "tail.onnx": 512 * MEBIBYTE,
    "arrays.safetensors": 64 * MEBIBYTE,
    "golden.npz": 64 * MEBIBYTE,
}
GOLDEN_BATCH = 4
TOLERANCE = 1e-3
"""Between a graph's answer and golden.npz, over the largest value there: machines' sums differ."""


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


def open_session(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU.

    Args:
        path: the graph.
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
            path, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this.
        raise BundleError(f"{path.name}: ONNX Runtime cannot run it: {error}") from error


@dataclass(frozen=True, repr=False)
class Bundle:
    """A validated bundle.

    Attributes:
        path: its folder.
        meta: bundle.json.
        embeddings: the dictionary, float32 [M,D].
        points: complex64 [M] of unit average power; ``points[j]`` carries embedding j.
    """

    path: Path
    meta: dict[str, Any]
    embeddings: NDArray[np.float32]
    points: NDArray[np.complex64]

    @classmethod
    def load(cls, path_or_name: str | os.PathLike[str]) -> Bundle:
        """Loads and validates a bundle: hashes, shapes, dtypes, opset, finiteness, golden answers.

        Raises:
            BundleError: something is missing or wrong; the message names the file and the field.
        """
        path = find(path_or_name)
        meta = _read_meta(path / "bundle.json")
        for name, digest in meta["files"].items():
            _check_size(path / name)
            if (found := sha256(path / name)) != digest:
                raise BundleError(f"{name}: its sha256 is {found}, not {digest} of bundle.json")
        for name in ("head.onnx", "tail.onnx"):
            if (opset := read_opset(path / name)) != meta["opset"]:
                raise BundleError(f"{name}: its opset is {opset}, not {meta['opset']}")
        bundle = cls(path, meta, *_read_arrays(path / "arrays.safetensors", meta))
        bundle._check_graphs()
        return bundle

    def __repr__(self) -> str:
        return f"Bundle({self.name!r})"

    @property
    def id(self) -> int:
        """32 bits that name what the bundle computes, from the hashes of its graphs and arrays."""
        files = self.meta["files"]
        named = [f"{n}:{files[n]}" for n in ("head.onnx", "tail.onnx", "arrays.safetensors")]
        return int.from_bytes(hashlib.sha256("\n".join(named).encode()).digest()[:4], "big")

    @property
    def name(self) -> str:
        """The bundle's name."""
        return str(self.meta["name"])

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

    def golden(self) -> dict[str, NDArray[Any]]:
        """What each stage must answer for four images.

        ``images`` uint8 [4,C,H,W], ``slices`` float32 [4,S,D], ``labels`` int32 [4,S], ``symbols``
        complex64 [4,S], ``received`` float32 [4,S,D] (looked up without noise), ``logits``
        float32 [4,K] of the received slices.

        Raises:
            BundleError: golden.npz lacks one of them, or it has another shape or dtype.
        """
        path, slices = self.path / "golden.npz", (GOLDEN_BATCH, self.uses, self.dim)
        expected: dict[str, tuple[tuple[int, ...], type]] = {
            "images": ((GOLDEN_BATCH, *self.input_shape), np.uint8),
            "slices": (slices, np.float32),
            "labels": (slices[:2], np.int32),
            "symbols": (slices[:2], np.complex64),
            "received": (slices, np.float32),
            "logits": ((GOLDEN_BATCH, len(self.classes)), np.float32),
        }
        try:
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(item.file_size for item in archive.infolist())
            if unpacked > MAX_BYTES[path.name]:
                raise BundleError(f"{path.name}: it unpacks to {unpacked} bytes, too many")
            with np.load(path, allow_pickle=False) as arrays:
                if missing := expected.keys() - set(arrays.files):
                    raise BundleError(f"{path.name}: the array {min(missing)} is missing")
                golden = {name: arrays[name] for name in expected}
        except BundleError:
            raise
        except Exception as error:  # zipfile and NumPy raise many kinds on damaged archives.
            raise BundleError(f"{path.name}: it cannot be read: {error}") from error
        for name, (shape, dtype) in expected.items():
            _check_array(path.name, name, golden[name], shape, dtype)
        return golden

    def labels(self, slices: NDArray[np.float32]) -> NDArray[np.int32]:
        """The embedding that each slice [...,D] picks, int32 [...]; the first of equals."""
        scores = slices @ self.embeddings.T
        if self.lookup == "distance":
            scores = scores - 0.5 * (self.embeddings**2).sum(1)
        return scores.argmax(-1).astype(np.int32)

    def _check_graphs(self) -> None:
        """Both graphs' interfaces, and their answers to the golden images."""
        slices = (self.uses, self.dim)
        graphs = [
            (self.head_path, ("images", "uint8", self.input_shape), ("slices", "float", slices)),
            (
                self.tail_path,
                ("slices", "float", slices),
                ("logits", "float", (len(self.classes),)),
            ),
        ]
        golden = self.golden()
        for path, given, wanted in graphs:
            session = open_session(path, threads=1)
            for what, found, (name, kind, shape) in (
                ("input", session.get_inputs(), given),
                ("output", session.get_outputs(), wanted),
            ):
                if [node.name for node in found] != [name]:
                    raise BundleError(f"{path.name}: its only {what} must be '{name}'")
                if found[0].type != f"tensor({kind})":
                    raise BundleError(f"{path.name}: {name} is {found[0].type}, not {kind}")
                axes = found[0].shape
                if isinstance(axes[0], int) or tuple(axes[1:]) != tuple(shape):
                    raise BundleError(
                        f"{path.name}: {name} has shape {axes}, not a free batch axis and {shape}"
                    )
            feed = golden["images"] if given[0] == "images" else golden["received"]
            try:
                answer = session.run([wanted[0]], {given[0]: feed})[0]
            except Exception as error:
                raise BundleError(f"{path.name}: it fails on the golden input: {error}") from error
            expected = golden[wanted[0]]
            difference = float(np.abs(answer - expected).max())
            # Written so that NaN fails too.
            if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
                raise BundleError(
                    f"{path.name}: its {wanted[0]} differ from golden.npz by {difference:.3g}"
                )


def _check_size(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BundleError(f"{path.name}: it cannot be read from {path.parent}") from error
    if not path.is_file():
        raise BundleError(f"{path.name}: it is not a file")
    if size > MAX_BYTES[path.name]:
        raise BundleError(f"{path.name}: it has {size} bytes, more than {MAX_BYTES[path.name]}")


def _read_meta(path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON number")

    _check_size(path)
    try:
        meta = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError, OSError) as error:
        raise BundleError(f"bundle.json: it is not JSON: {error}") from error
    schema = json.loads(
        importlib.resources.files("phydnn").joinpath("bundle_schema.json").read_text("utf-8")
    )
    validator = jsonschema.Draft202012Validator(schema)
    if (worst := jsonschema.exceptions.best_match(validator.iter_errors(meta))) is not None:
        field = ".".join(map(str, worst.absolute_path)) or "its top"
        raise BundleError(f"bundle.json: {field}: {worst.message[:300]}")
    checked: dict[str, Any] = meta
    return checked


def _check_array(
    file: str, name: str, array: NDArray[Any], shape: tuple[int, ...], dtype: type
) -> None:
    if array.dtype != dtype:
        raise BundleError(f"{file}: {name} is {array.dtype}, not {np.dtype(dtype)}")
    if array.shape != shape:
        raise BundleError(f"{file}: {name} has shape {array.shape}, not {shape}")
    if not np.isfinite(array).all():
        raise BundleError(f"{file}: {name} holds NaN or infinity")


def _read_arrays(
    path: Path, meta: dict[str, Any]
) -> tuple[NDArray[np.float32], NDArray[np.complex64]]:
    try:
        arrays = load_safetensors(path.read_bytes())
    except (OSError, SafetensorError, ValueError) as error:
        raise BundleError(f"{path.name}: it cannot be read: {error}") from error
    size, dim = int(meta["dictionary"]["size"]), int(meta["slices"]["dim"])
    for name, shape in (("embeddings", (size, dim)), ("points", (size, 2))):
        if name not in arrays:
            raise BundleError(f"{path.name}: the array {name} is missing")
        _check_array(path.name, name, arrays[name], shape, np.float32)
    points = arrays["points"].astype(np.float64)
    power = float((points**2).sum(1).mean())
    if abs(power - 1) > 1e-3:
        raise BundleError(f"{path.name}: points have an average power of {power:.4g}, not 1")
    return arrays["embeddings"], (points[:, 0] + 1j * points[:, 1]).astype(np.complex64)


def read_opset(path: Path) -> int:
    """The opset of ONNX's own operators that a graph asks for.

    Walks the file's top protobuf fields, so that the onnx package is not needed: field 8 of a
    ModelProto is an OperatorSetIdProto of domain (1) and version (2).

    Raises:
        BundleError: the file is no ONNX graph.
    """
    try:
        for number, value in _protobuf_fields(path.read_bytes()):
            if number == 8 and isinstance(value, bytes):
                entry = dict(_protobuf_fields(value))
                if entry.get(1, b"") in (b"", b"ai.onnx") and isinstance(entry.get(2), int):
                    return int(entry[2])
    except (OSError, IndexError, ValueError) as error:
        raise BundleError(f"{path.name}: it is no ONNX graph") from error
    raise BundleError(f"{path.name}: it names no opset")


def _protobuf_fields(data: bytes) -> list[tuple[int, int | bytes]]:
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
