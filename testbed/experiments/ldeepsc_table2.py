# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Table II of L-DeepSC: what a sentence costs: parameters, bytes, milliseconds."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from phydnn.decoding import TextCodec
from phydnn.experiments import Point, Row, Settings, plots, semantic
from phydnn.text_bundle import TextBundle

TITLE = "Table II: size, and time of a sentence on one core"
SOURCE = semantic.SOURCE.format("Table II: size and run time; 18 to 20 ms a sentence on an i7")
VERSION = 1
OPTIONS: dict[str, Any] = semantic.OPTIONS

PAPER_MS = (18, 20)
COMPRESSION = ("psi", "bytes", "bytes_uncompressed")
REPEATS = 5


def points(settings: Settings) -> list[Point]:
    grid = ((0.0, 0), (0.6, 8)) if settings.quick else ((0.0, 0), (0.0, 8), (0.9, 8))
    # What is not trained on says little that is right, and guesses ahead in vain.
    tuned = [
        any(kind) and not settings.quick and semantic.can_tune(settings, *kind) for kind in grid
    ]
    return [
        semantic.point(
            settings,
            f"{sparsity:g}, {bits or 32} bits" + (", tuned" if trained else ""),
            12.0,
            sparsity=sparsity,
            weight_bits=bits,
            tuned=trained,
        )
        for (sparsity, bits), trained in zip(grid, tuned, strict=True)
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    from phydnn import text
    from phydnn.export_text import export_task
    from phydnn.results import provenance

    task, vocabulary, data = semantic.prepare(point, folder)
    lines = text.load(data)[: 100 if point["data"] else 10]
    dataset = {"name": "text", "provenance": data}
    made = {"note": "", **provenance()}
    bundle = export_task(task, vocabulary, folder / "bundle", lines, dataset, made)
    shared = {
        "system": "ldeepsc",
        "sparsity": point["sparsity"],
        "weight_bits": point["weight_bits"] or 32,
        "params": sum(parameter.numel() for parameter in task.net.parameters()),
        **{name: bundle.meta["compression"][name] for name in COMPRESSION},
        "channel": "awgn",
        "snr_db": point["snr_db"],
        "n": len(lines),
        "seed": point["seed"],
        "paper": {"ms_a_sentence": "18 to 20"},
    }
    eight = folder / "int8"
    _quantise(bundle, eight)
    return [
        shared
        | {"scheme": f"{point['scheme']}, run in {execution}"}
        | _time(TextCodec(bundle, 1, graphs), lines, point)
        for execution, graphs in (("float32", bundle.path), ("int8", eight))
    ]


def _quantise(bundle: TextBundle, folder: Path) -> None:
    """The bundle's graphs, their matrices in int8 and their activations quantised as they run."""
    import logging

    import onnx
    from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder.mkdir(parents=True, exist_ok=True)
    for path in (bundle.encoder_path, bundle.memory_path, bundle.step_path):
        whole = folder / f"{path.stem}_float.onnx"
        options = SessionOptions()
        # Multiplies out what is stored as integers: the quantiser looks for matrices.
        options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(whole)
        InferenceSession(path, options, providers=["CPUExecutionProvider"])
        model = onnx.load(whole)
        # Folding has left shapes there of what was transposed.
        del model.graph.value_info[:]
        # It tells the root logger of every tensor that it leaves as it is.
        logging.disable(logging.WARNING)
        try:
            quantize_dynamic(
                model,
                folder / path.name,
                op_types_to_quantize=["MatMul", "Gemm"],
                per_channel=True,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.disable(logging.NOTSET)


def _time(codec: TextCodec, lines: Sequence[str], point: Point) -> Row:
    """Latency of each end, and how many tokens arrive."""
    import torch

    from phydnn import channel
    from phydnn.text_bundle import one_frame

    generator = torch.Generator().manual_seed(point["seed"])
    n0 = float(channel.n0_of(point["snr_db"]))
    encode, decode, right, count = [], [], 0, 0
    for line in lines:
        tokens = one_frame(codec.bundle, line).tokens
        symbols = codec.encode(tokens)
        noise = channel.complex_normal(symbols.shape, generator).numpy()
        received = symbols + np.float32(n0**0.5) * noise
        found = codec.greedy(received, n0)
        right, count = right + int((found == tokens).sum()), count + tokens.size
        encode += _timed(functools.partial(codec.encode, tokens))
        decode += _timed(functools.partial(codec.greedy, received, n0))
    return {
        **_summary("encode", encode),
        **_summary("decode", decode),
        "token_accuracy": right / count,
    }


def _timed(work: Callable[[], object]) -> list[float]:
    """Milliseconds of each of some repetitions."""
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        taken.append(1e3 * (time.perf_counter() - begun))
    return taken


def _summary(end: str, taken: list[float]) -> Row:
    low, high = np.percentile(taken, (50, 95))
    return {f"{end}_ms_p50": float(low), f"{end}_ms_p95": float(high)}


def draw(figure: Figure, rows: list[Row]) -> None:
    axis = figure.subplots()
    places = np.arange(len(rows))
    for shift, stage in ((-0.2, "encode"), (0.2, "decode")):
        middle = [row[f"{stage}_ms_p50"] for row in rows]
        reach = [row[f"{stage}_ms_p95"] - row[f"{stage}_ms_p50"] for row in rows]
        colour = plots.COLOURS[0 if stage == "encode" else 1]
        axis.barh(places + shift, middle, 0.35, color=colour, label=f"{stage}, p50 to p95")
        axis.errorbar(
            middle,
            places + shift,
            xerr=np.array([np.zeros(len(rows)), reach]),
            fmt="none",
            ecolor="k",
        )
    axis.axvspan(*PAPER_MS, color=plots.GREY, alpha=0.3, label="the paper, an i7")
    axis.set_yticks(places, [row["scheme"] for row in rows])
    axis.set(xlabel="ms a sentence, one core")
    axis.legend()
