# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 11 of AirNet's journal version: AirNet beside Air-MobileNet."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, airnet

TITLE = "Fig. 11: a pruned network beside one that is small by design"
SOURCE = airnet.SOURCE.format("Fig. 11: AirNet beside Air-MobileNet at the same bandwidth")
VERSION = 2
OPTIONS: dict[str, Any] = {
    **{name: value for name, value in airnet.OPTIONS.items() if name != "run"},
    "backbone_epochs": 20,
    "epochs": 12,
    "prune_share": 0.1,
    "limit": 0,
}
"""Both networks are trained alike: for ``backbone_epochs``, then pruned and for the channel for
``epochs``; of each the last quarter at full size. ``limit`` as in a recipe."""

MODELS = {"AirNet": "", "Air-MobileNet": "mobilenetv2"}
QUICK_MODELS = {"AirNet": "", "Air-MobileNet": "mobilenetv2@0.25"}


def points(settings: Settings) -> list[Point]:
    snrs = (15.0,) if settings.quick else (0.0, 5.0, 10.0, 15.0)
    models = QUICK_MODELS if settings.quick else MODELS
    if settings.quick:
        # Sensitivities of so many layers are no matter of seconds.
        base, tuned = {}, {"power": "uniform"}
    else:
        options = OPTIONS | settings.options
        shared = {"limit": options["limit"], "small_share": 0.75}
        base = shared | {"epochs": options["backbone_epochs"]}
        tuned = shared | {"epochs": options["epochs"], "prune_share": options["prune_share"]}
    return [
        airnet.point(settings, scheme, snr, airnet=tuned, model=models[scheme], backbone=base)
        for scheme, snr in airnet.grid(tuple(models), snrs)
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    return [airnet.of_delivery(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    airnet.draw(figure, rows, "networks delivered over AWGN")
