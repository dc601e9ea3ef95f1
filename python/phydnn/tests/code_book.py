# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""A text bundle without a neural network: each token is a word of a random code.

Its graphs have the interface of a trained bundle, and the receiver takes the nearest word: what
arrives is known exactly, so tests see what frames and blocks do to a text, not what a network does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from phydnn.bundle import open_session, sha256
from phydnn.finite import FiniteConstellation
from phydnn.text import Vocabulary
from phydnn.text_bundle import TextBundle

USES, HEADS, WIDTH, POSITIONS, OPSET = 8, 2, 8, 32, 18
LINES = [
    "the committee has approved the report on the common transport policy",
    "I would like to thank the rapporteur for his excellent work",
    "we shall vote on the amendments tomorrow at noon",
    "the debate is closed",
    "Madam President, this is a point of order",
] * 40  # fmt: skip


def graph(path: Path, inputs: dict[str, Any], outputs: dict[str, Any], *rest: Any) -> None:
    """Writes a graph: inputs and outputs are (element type, shape), then nodes and constants."""
    nodes = [item for item in rest if isinstance(item, onnx.NodeProto)]
    constants = [item for item in rest if isinstance(item, onnx.TensorProto)]
    taken, given = (
        [helper.make_tensor_value_info(name, *info) for name, info in side.items()]
        for side in (inputs, outputs)
    )
    made = helper.make_graph(nodes, path.stem, taken, given, constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def make(folder: Path, bits: int = 8, decision: str = "soft", seed: int = 1) -> TextBundle:
    """Writes the bundle into a new folder, and loads it."""
    folder.mkdir(parents=True)
    vocabulary = Vocabulary.train(LINES, 400)
    (folder / "vocabulary.model").write_bytes(vocabulary.model)
    rng = np.random.default_rng(seed)
    code = rng.standard_normal((len(vocabulary), 2 * USES)).astype(np.float32)
    # Each word of mean power 1, so that N0 is what it says.
    code *= np.sqrt(USES) / np.linalg.norm(code, axis=1, keepdims=True)
    real, whole = TensorProto.FLOAT, TensorProto.INT64
    constant = numpy_helper.from_array
    tokens = {"tokens": (whole, ["batch", "words"])}
    values = {"values": (real, ["batch", "words", 2 * USES])}
    memory = {
        "aligned": (real, ["batch", "words", HEADS * WIDTH]),
        "received": (real, ["batch", 1, 2, HEADS, "words", WIDTH]),
    }
    graph(
        folder / "semantic_encoder.onnx",
        tokens,
        values,
        helper.make_node("Gather", ["code", "tokens"], ["values"], axis=0),
        constant(code, "code"),
    )
    graph(
        folder / "semantic_memory.onnx",
        {**values, "n0": (real, ["batch", "words", USES])},
        memory,
        helper.make_node("Identity", ["values"], ["aligned"]),
        helper.make_node("Reshape", ["values", "split"], ["heads"]),
        helper.make_node("Transpose", ["heads"], ["turned"], perm=[0, 2, 1, 3]),
        helper.make_node("Unsqueeze", ["turned", "axes"], ["keys"]),
        helper.make_node("Concat", ["keys", "keys"], ["received"], axis=2),
        constant(np.array([0, 0, HEADS, WIDTH], np.int64), "split"),
        constant(np.array([1, 2], np.int64), "axes"),
    )
    cache = (real, ["batch", 1, 2, HEADS, "written", WIDTH])
    graph(
        folder / "semantic_step.onnx",
        {"token": (whole, ["batch", "steps"]), **memory, "cache": cache},
        {
            "logits": (real, ["batch", "steps", len(vocabulary)]),
            "cache_next": (real, ["batch", 1, 2, HEADS, "more", WIDTH]),
        },
        helper.make_node("Shape", ["cache"], ["first"], start=4, end=5),
        helper.make_node("Shape", ["token"], ["steps"], start=1, end=2),
        helper.make_node("Add", ["first", "steps"], ["last"]),
        helper.make_node("Slice", ["aligned", "first", "last", "one"], ["here"]),
        helper.make_node("MatMul", ["here", "turned"], ["products"]),
        helper.make_node("Add", ["products", "offsets"], ["logits"]),
        helper.make_node("Slice", ["received", "first", "last", "four"], ["own"]),
        helper.make_node("Concat", ["cache", "own"], ["cache_next"], axis=4),
        constant(np.ascontiguousarray(code.T), "turned"),
        constant((-0.5 * (code**2).sum(1)).astype(np.float32), "offsets"),
        constant(np.array([1], np.int64), "one"),
        constant(np.array([4], np.int64), "four"),
    )
    write_golden(folder, len(vocabulary), rng)
    priors = None
    if bits:
        grid = FiniteConstellation(-2.0, 2.0, bits, 1.0)
        priors = np.bincount(grid.labels(code).ravel(), minlength=grid.size).astype(np.float32)
    meta = {
        "schema": 1,
        "name": folder.name,
        "version": "1",
        "system": "ldeepsc",
        "task": "text",
        "dataset": {"name": "a few lines", "provenance": "made up"},
        "training": {
            "channel": "awgn", "snr_db": [12.0], "seed": seed, "command": "none", "git": "none",
            "mode": "corrected",
        },
        "opset": OPSET,
        "files": {
            path.name: sha256(path) for path in sorted(folder.iterdir())
        },
        "metrics": {},
        "vocabulary": {"size": len(vocabulary)},
        "shape": {
            "layers": 1, "heads": HEADS, "width": HEADS * WIDTH, "uses": USES,
            "positions": POSITIONS, "mode": "corrected",
        },
        "constellation": FiniteConstellation(-2.0, 2.0, bits, 1.0, priors).written(),
        "decision": decision,
        "precoding": False,
    }  # fmt: skip
    (folder / "bundle.json").write_text(json.dumps(meta))
    return TextBundle.load(folder)


def write_golden(folder: Path, size: int, rng: np.random.Generator) -> None:
    """golden.npz, by the graphs themselves."""

    def run(name: str, **feed: Any) -> dict[str, Any]:
        session = open_session(folder / f"semantic_{name}.onnx", 1)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, feed), strict=True))

    golden: dict[str, Any] = {"tokens": rng.integers(0, size, (4, 6))}
    golden |= run("encoder", tokens=golden["tokens"])
    noise = rng.standard_normal(golden["values"].shape).astype(np.float32)
    golden["received_values"] = golden["values"] + 0.1 * noise
    golden["n0"] = np.full((4, 6, USES), 0.02, np.float32)
    golden |= run("memory", values=golden["received_values"], n0=golden["n0"])
    golden["token"] = golden["tokens"][:, 2:4]
    golden["cache"] = np.ascontiguousarray(golden["received"][:, :, :, :, :3])
    golden |= run(
        "step", **{name: golden[name] for name in ("token", "aligned", "received", "cache")}
    )
    np.savez(folder / "golden.npz", **golden)
