# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 10 of the PhyDNN paper: one network over a range of Es/N0."""

import logging
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, inference, plots

logger = logging.getLogger(__name__)

TITLE = "Fig. 10: error over Es/N0, one network for the whole range"
SOURCE = (
    "M. Abdi et al., PhyDNNs: Bringing Deep Neural Networks to the Physical Layer, Fig. 10: "
    "the error changes by less than 3 points for ResNet-20 and 5 for ResNet-110"
)
VERSION = 1
OPTIONS: dict[str, Any] = {"bundle": ""} | inference.BUNDLES

CHANGE = {"resnet20": 0.03, "resnet110": 0.05}


def points(settings: Settings) -> list[Point]:
    data = "digits" if settings.quick else inference.need_data(settings)
    step = 4 if settings.quick else 2
    name = settings.options["bundle"]
    chosen = [
        meta
        for meta in inference.bundles(settings)
        # The paper's has 4 points: its smallest rate, at 1,024 channel uses.
        if (meta["name"] == name if name else settings.quick or meta["dictionary"]["size"] == 4)
    ]
    if not chosen:
        logger.info("no bundle %s of this data set ships", name or "of 4 points")
    return [
        inference.bundle_point(meta, data, float(snr_db))
        for meta in chosen
        for snr_db in range(4, 21, step)
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    row = inference.of_bundle(point)
    if row["model"] in CHANGE and row["dataset"] == "cifar10":
        row["paper"] = {"change_of_error_below": CHANGE[row["model"]]}
    return [row]


def draw(figure: Figure, rows: list[Row]) -> None:
    axis = figure.subplots()
    rows = sorted(rows, key=lambda row: (row.get("params", 0), -row["channel_uses"]))
    lines = plots.group(rows, "bundle")
    models = list(plots.group(rows, "model"))
    for (_, line), marker in zip(lines.items(), plots.MARKERS, strict=False):
        first, (value, reach) = line[0], plots.percent(line)
        network = first["model"].replace("resnet", "ResNet-")
        label = f"{network}, {first['points']} points, {first['channel_uses']:,} uses"
        colour = plots.COLOURS[models.index(first["model"])]
        snr = [row["snr_db"] for row in line]
        axis.errorbar(
            snr, 100 - value, reach[::-1], color=colour, marker=marker, label=label,
            ls="-" if first["channel_uses"] >= 1024 else ":",
        )  # fmt: skip
        if first["a0"] is not None:
            axis.axhline(100 * (1 - first["a0"]), color=colour, lw=1, ls="--")
    axis.plot([], [], color=plots.GREY, lw=1, ls="--", label="uncompressed")
    axis.set_ylim(bottom=0)
    axis.set(xlabel=plots.ES_N0, ylabel="error (%)")
    axis.set_title(f"AWGN, {rows[0]['n']:,} test images, {rows[0]['dataset']}")
    axis.legend()
