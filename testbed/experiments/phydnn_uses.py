# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Accuracy against channel uses, beside what others have published."""

import logging
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, inference, plots

logger = logging.getLogger(__name__)

TITLE = "Accuracy against channel uses, 12 dB"
SOURCE = (
    "Beside Y. Bo, Y. Duan, S. Shao, M. Tao, Joint Coding-Modulation for Digital Semantic "
    "Communications via Variational Autoencoder, IEEE Trans. Communications 2024 (JCM), trained "
    "and tested on lossless CIFAR-10"
)
VERSION = 1
OPTIONS: dict[str, Any] = inference.OPTIONS | inference.BUNDLES

USES = (1024, 512, 256, 128, 64, 32, 16)
QUICK_USES = (64, 16, 4)
JCM: Row = {
    "system": "JCM",
    "scheme": "as published",
    "model": None,
    "dataset": "cifar10",
    "provenance": "CIFAR-10, lossless",
    "channel": "awgn",
    "snr_db": 12.0,
    "channel_uses": 128,
    "accuracy": None,
    "ci95": None,
    "a0": None,
    "paper": {"accuracy": 0.8765},
}


def points(settings: Settings) -> list[Point]:
    if settings.quick or settings.train:
        uses = QUICK_USES if settings.quick else USES
        # The most are what the latent has anyway; fewer take a bottleneck.
        ours = [
            inference.train_point(settings, "corrected", {"uses": 0 if n == uses[0] else n})
            for n in uses
        ]
    else:
        data = inference.need_data(settings)
        ours = [inference.bundle_point(meta, data, 12.0) for meta in inference.bundles(settings)]
    if not ours:
        logger.info("no bundle of this data set ships")
        return []
    return ours if settings.quick else [*ours, {"published": "JCM"}]


def measure(point: Point, folder: Path) -> list[Row]:
    if "published" in point:
        return [JCM]
    if "bundle" in point:
        return [inference.of_bundle(point)]
    return inference.of_training(point, folder)


def draw(figure: Figure, rows: list[Row]) -> None:
    axis = figure.subplots()
    ours = [row for row in rows if row["accuracy"] is not None]
    ours.sort(key=lambda row: row.get("params", 0))
    models = plots.group(ours, "model")
    for i, ((model, line), colour, marker) in enumerate(
        zip(models.items(), plots.COLOURS, plots.MARKERS, strict=False)
    ):
        value, reach = plots.percent(line)
        # Side by side, or the networks' bars would lie on each other.
        aside = 2 ** (0.22 * (i - (len(models) - 1) / 2))
        uses = [row["channel_uses"] * aside for row in line]
        name = model.replace("resnet", "ResNet-")
        axis.errorbar(uses, value, reach, color=colour, marker=marker, ls="", label=f"{name}, ours")
        for row, place, height in zip(line, uses, value, strict=True):
            axis.annotate(
                f"{row['points']}", (place, height), (4, 4),
                textcoords="offset points", fontsize=7, color=colour,
            )  # fmt: skip
        if line[0]["a0"] is not None:
            axis.axhline(100 * line[0]["a0"], color=colour, lw=1, ls="--")
    axis.plot([], [], color=plots.GREY, lw=1, ls="--", label="uncompressed, same images")
    for row in rows:
        if row["accuracy"] is None:
            theirs = 100 * row["paper"]["accuracy"]
            axis.plot(
                row["channel_uses"], theirs, "k*", ms=9, label=f"{row['system']}, lossless images"
            )
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.set(xlabel="channel uses an image", ylabel="accuracy (%)")
    axis.set_title(f"{ours[0]['provenance'].partition(':')[0]}\nAWGN, 12 dB; small figures: points")
    axis.legend(loc="best")
