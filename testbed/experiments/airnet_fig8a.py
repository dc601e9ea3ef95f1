# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 8a of AirNet's journal version: what each part of the training is worth."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, airnet, plots

TITLE = "Fig. 8a: ablation of the training"
SOURCE = airnet.SOURCE.format("Fig. 8a: what is left out of the training")
VERSION = 2
OPTIONS: dict[str, Any] = airnet.OPTIONS | {"snr_db": 5.0, "epochs": 4, "limit": 24_000}

CHANGES: dict[str, dict[str, Any]] = {
    "all": {},
    "no noise in training": {"noise": False},
    "no distillation": {"distillation": 0.0},
    "pruned before, not between": {"prune": "separate"},
    "uniform power": {"power": "uniform"},
}
"""Each row's settings by its name. The last is ours, and not among the paper's."""


def points(settings: Settings) -> list[Point]:
    options = OPTIONS | settings.options
    snr = float(options["snr_db"])
    base: dict[str, Any] = {"snr_low": snr, "snr_high": snr, "boundaries": False, "sandwich": False}
    if not settings.quick:
        base |= {"epochs": options["epochs"], "limit": options["limit"], "small_share": 1.0}
    names = list(CHANGES)[:2] if settings.quick else list(CHANGES)
    return [airnet.point(settings, name, snr, airnet=base | CHANGES[name]) for name in names]


def measure(point: Point, folder: Path) -> list[Row]:
    return [airnet.of_delivery(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    axis = figure.subplots()
    value, reach = plots.percent(rows)
    axis.errorbar(
        value, range(len(rows)), xerr=reach, fmt="o", color=plots.COLOURS[0], elinewidth=1.5
    )
    axis.set_yticks(range(len(rows)), [row["scheme"] for row in rows])
    axis.invert_yaxis()
    axis.axvline(100 * rows[0]["a0"], color=plots.GREY, ls=":", label="unpruned, noiseless")
    axis.set(xlabel=f"accuracy at {rows[0]['snr_db']:g} dB (%)", title=rows[0]["model"])
    axis.margins(y=0.15)
    figure.legend(loc="outside lower center")
