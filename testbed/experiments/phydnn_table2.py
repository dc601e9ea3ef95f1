# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Table II of the PhyDNN paper: what 16, 8 and 4 points on the same channel uses cost."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, inference, plots

logger = logging.getLogger(__name__)

TITLE = "Table II: accuracy against the size of the constellation, 12 dB"
SOURCE = "M. Abdi et al., PhyDNNs: Bringing Deep Neural Networks to the Physical Layer, Table II"
VERSION = 1
OPTIONS: dict[str, Any] = inference.OPTIONS | inference.BUNDLES

A0 = {"resnet20": 0.8752, "resnet56": 0.906, "resnet110": 0.9226}
LOSS = {
    16: {"resnet20": 0.046, "resnet56": 0.020, "resnet110": 0.030},
    4: {"resnet20": 0.075, "resnet56": 0.047, "resnet110": 0.045},
}
SIZES = (16, 8, 4)
USES = 1024


def points(settings: Settings) -> list[Point]:
    if settings.quick:
        return [inference.train_point(settings, "corrected", {"size": size}) for size in SIZES]
    data = inference.need_data(settings)
    wanted = [(model, size) for size in SIZES for model in A0]
    if settings.train:
        return [
            inference.train_point(settings, "corrected", {"size": size}, model)
            for model, size in wanted
        ]
    found: list[Point] = []
    bundles = inference.bundles(settings)
    for model, size in wanted:
        matching = [
            meta
            for meta in bundles
            if (meta["split"]["model"], meta["dictionary"]["size"]) == (model, size)
            and meta["slices"]["count"] == USES
        ]
        if not matching:
            logger.info("left out: no bundle of %s with %d points ships", model, size)
        found += [inference.bundle_point(meta, data, 12.0) for meta in matching]
    return found


def measure(point: Point, folder: Path) -> list[Row]:
    if "bundle" in point:
        row = inference.of_bundle(point)
    else:
        (row,) = inference.of_training(point, folder)
    if row["dataset"] == "cifar10":
        a0 = A0[row["model"]]
        loss = LOSS.get(row["points"], {}).get(row["model"])
        row["paper"] = {"a0": a0} if loss is None else {"a0": a0, "accuracy": a0 - loss}
    return [row]


def draw(figure: Figure, rows: list[Row]) -> None:
    axis = figure.subplots()
    models = plots.group(rows, "model")
    places = {size: i for i, size in enumerate(sorted({row["points"] for row in rows})[::-1])}
    width = 0.8 / len(models)
    for (model, mine), colour, i in zip(models.items(), plots.COLOURS, range(9), strict=False):
        known = [row for row in mine if row["a0"] is not None]
        at = np.array(
            [places[row["points"]] + (i - (len(models) - 1) / 2) * width for row in known]
        )
        value, reach = plots.percent(known)
        loss = 100 * np.array([row["a0"] for row in known]) - value
        name = model.replace("resnet", "ResNet-")
        axis.bar(at, loss, 0.9 * width, color=colour, alpha=0.85, label=name)
        axis.errorbar(at, loss, reach[::-1], fmt="none", ecolor="black", elinewidth=1)
        for x, row in zip(at, known, strict=True):
            if "accuracy" in (row["paper"] or {}):
                theirs = 100 * (row["paper"]["a0"] - row["paper"]["accuracy"])
                axis.plot([x - 0.45 * width, x + 0.45 * width], [theirs] * 2, color="black", lw=2)
    if any(row["paper"] for row in rows):
        axis.plot([], [], color="black", lw=2, label="the paper")
    axis.set_xticks(
        list(places.values()),
        [f"{size} points\n{_kilobytes(rows, size):g} KB a batch of 64" for size in places],
    )
    axis.grid(axis="x", visible=False)
    axis.axhline(0, color="black", lw=0.8)
    axis.set_ylabel("accuracy lost to the uncompressed network (points)")
    axis.set_title(f"{rows[0]['channel_uses']:,} channel uses an image, AWGN, 12 dB")
    axis.legend()


def _kilobytes(rows: list[Row], size: int) -> float:
    return next(row["bytes"] for row in rows if row["points"] == size) * 64 / 1024
