# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The constellation and its labels as they train."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from phydnn.errors import InputError
from phydnn.experiments import Point, Row, Settings, inference, plots

TITLE = "The constellation and its labels as they train"
SOURCE = (
    "M. Abdi et al., PhyDNNs: Bringing Deep Neural Networks to the Physical Layer, Algorithm 1: "
    "labels are assigned so that embeddings near each other sit on points near each other"
)
VERSION = 1
OPTIONS: dict[str, Any] = inference.OPTIONS | {"run": "", "size": 16, "constellation": "learned"}

SHOWN = 6


def points(settings: Settings) -> list[Point]:
    if run := settings.options["run"]:
        path = Path(run) / "dictionary.jsonl"
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        return [{"run": str(path.resolve()), "sha256": digest}]
    values = {name: settings.options[name] for name in ("size", "constellation")}
    return [inference.train_point(settings, "corrected", values)]


def measure(point: Point, folder: Path) -> list[Row]:
    path = Path(point["run"]) if "run" in point else folder / "dictionary.jsonl"
    if "run" not in point:
        inference.adapt(point, folder)
    return [_row(entry, point) for entry in inference.read_dictionary(path)]


def _row(entry: dict[str, Any], point: Point) -> Row:
    embeddings = np.asarray(entry["embeddings"])
    positions = np.asarray(entry["points"])
    usage = np.asarray(entry["usage"]) / max(1e-12, np.sum(entry["usage"]))
    entropy = float(-np.sum(usage * np.log2(np.maximum(usage, 1e-12))))
    return {
        "system": "phydnn",
        "scheme": point.get("scheme", "training run"),
        "dataset": point.get("data", ""),
        "points": len(usage),
        "epoch": entry["epoch"],
        "neighbour_distance": neighbour_distance(embeddings, positions),
        "usage_entropy_bits": entropy,
        "usage": usage.tolist(),
        "positions": positions.tolist(),
        "shade": shade(embeddings).tolist(),
        "seed": point.get("seed"),
        "paper": None,
    }


def neighbour_distance(embeddings: NDArray[Any], positions: NDArray[Any]) -> float:
    """Mean distance of the embeddings on neighbouring points, over that of any two embeddings.

    1 for labels without order; the less, the less a likely symbol error harms.
    """
    apart = np.linalg.norm(embeddings[:, None] - embeddings, axis=-1)
    gaps = np.linalg.norm(positions[:, None] - positions, axis=-1)
    size = len(gaps)
    np.fill_diagonal(gaps, np.inf)
    mean = apart.sum() / (size * (size - 1))
    return float(apart[np.arange(size), gaps.argmin(1)].mean() / mean) if mean > 0 else 1.0


def shade(embeddings: NDArray[Any]) -> NDArray[np.float64]:
    """Each embedding's place on the line that tells most of them apart, 0 to 1, float64 [M]."""
    centred = embeddings - embeddings.mean(0)
    place = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    spread = float(np.ptp(place))
    return (place - place.min()) / spread if spread > 0 else np.zeros(len(place))


def draw(figure: Figure, rows: list[Row]) -> None:
    figure.set_size_inches(7.2, 4.4)
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).round().astype(int))
    reach = 1.15 * max(np.abs(row["positions"]).max() for row in rows)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.05), squeeze=False).ravel()
    for axis, row in zip(
        above.subplots(1, len(chosen), squeeze=False).ravel(),
        [rows[i] for i in chosen],
        strict=True,
    ):
        x, y = np.asarray(row["positions"]).T
        sizes = 15 + 900 * np.asarray(row["usage"]) / len(chosen)
        axis.scatter(x, y, sizes, row["shade"], cmap="cividis", edgecolors="black", linewidths=0.5)
        axis.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
        axis.set_title(f"epoch {row['epoch']}")
        axis.tick_params(labelsize=6)
    above.suptitle("colour: the embedding; area: how often it is sent", fontsize=9)
    left, right = below.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    left.plot(epochs, [row["neighbour_distance"] for row in rows], "o-", color=plots.COLOURS[0])
    left.axhline(1, color=plots.GREY, lw=1, ls="--")
    left.set(xlabel="epoch", ylabel="neighbours' distance", ylim=(0, None))
    left.set_title("embeddings on neighbouring points, over any two", fontsize=8)
    right.plot(
        epochs, [row["usage_entropy_bits"] for row in rows], "s-", color=plots.COLOURS[1],
        label="entropy of the labels",
    )  # fmt: skip
    right.plot(epochs, [np.log2(row["points"]) for row in rows], color=plots.GREY, lw=1, ls="--",
               label="all used alike")  # fmt: skip
    right.set(xlabel="epoch", ylabel="bits a channel use", ylim=(0, None))
    right.legend()
    for axis in (left, right):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
