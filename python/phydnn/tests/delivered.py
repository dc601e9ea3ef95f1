# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""A small network of the digits as a bundle to deliver, made in a second.

``python -m phydnn.tests.delivered FOLDER`` makes the one that ships, models/airnet-digits.
"""

from __future__ import annotations

import functools
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from phydnn.datasets import load
from phydnn.delivery import AirBundle, write_bundle
from phydnn.results import provenance

TRAINING = {
    "channel": "none",
    "snr_db": [100.0],
    "seed": 1,
    "mode": "corrected",
    "command": "python -m phydnn.tests.delivered models/airnet-digits",
    "git": "",
}
META = {
    "version": "1",
    "task": "classification",
    "dataset": {
        "name": "digits",
        "provenance": "scikit-learn (UCI, Alpaydin and Kaynak 1998), 360 of 1797 images for test",
    },
    "classes": list("0123456789"),
    "input": {"shape": [1, 8, 8], "dtype": "uint8"},
    "training": TRAINING,
    "metrics": {},
}  # fmt: skip
WEIGHTS = ["hidden.weight", "out.weight"]
CARD = """# airnet-digits

A network to try `phydnn deliver` with: a perceptron of 64, 96 and 10 neurons for scikit-learn's
digits, trained in a second and without noise. Its 7,104 weights cross as analog symbols; biases and
structure, some 550 bytes, are side information.

Made by `python -m phydnn.tests.delivered models/airnet-digits`. Try
`phydnn deliver --bundle airnet-digits --data digits --snr 5`.
"""


@functools.cache
def trained(seed: int = 1) -> dict[str, NDArray[np.float32]]:
    """Weights and biases of a multilayer perceptron."""
    data = load("digits", "train")
    mlp = MLPClassifier((96,), max_iter=25, random_state=seed, alpha=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mlp.fit(data.x.reshape(len(data.x), -1) / 255.0, data.y)
    (a, b), (c, d) = mlp.coefs_, mlp.intercepts_
    arrays = {"hidden.weight": a, "out.weight": b, "hidden.bias": c, "out.bias": d}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def model(tensors: dict[str, NDArray[np.float32]]) -> bytes:
    """The network as ONNX, its tensors as initializers."""
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("Mul", ["flat", "normalise"], ["given"]),
        helper.make_node("Gemm", ["given", "hidden.weight", "hidden.bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "out.weight", "out.bias"], ["logits"]),
    ]
    tensors = {**tensors, "normalise": np.array(1 / 255, np.float32)}
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(made.SerializeToString())


def bundle(folder: Path, seeds: tuple[int, ...] = (1,), **options: Any) -> AirBundle:
    """A bundle of one network for each seed, for 0, 20, ... dB."""
    plain = {"expansion": 0, "repeats": 1, "amplitude": 1.0}
    spiral = {"expansion": 1, "repeats": 1, "amplitude": 1.0}
    given = {
        "meta": META,
        "networks": [model(trained(seed)) for seed in seeds],
        "weights": WEIGHTS,
        "knots": [20.0 * i for i in range(len(seeds))],
        "allocations": [
            {"snr_db": 0.0, "layers": [{**spiral, "repeats": 2}, {**spiral, "amplitude": 2.0}]},
            {"snr_db": 10.0, "layers": [plain, spiral]},
        ],
        "images": load("digits", "test").x[:4],
        "card": CARD,
    } | options
    return write_bundle(folder, **given)


if __name__ == "__main__":
    made_by = {**TRAINING, "git": provenance()["git"]}
    bundle(Path(sys.argv[1]), meta={**META, "training": made_by})
