# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 4c of AirNet's journal version: ResNet-34 for Tiny ImageNet over AWGN."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, airnet

TITLE = "Fig. 4c: ResNet-34 delivered over AWGN, analog and digital"
SOURCE = airnet.SOURCE.format("Fig. 4c: ResNet-34 on Tiny ImageNet over AWGN")
VERSION = 2
OPTIONS: dict[str, Any] = airnet.OPTIONS

SCHEMES = ("AirNet", "uniform power", "AirNet's network, quantised, capacity")
MODEL, QUICK_MODEL = "resnet34", "resnet34@0.0625"


def points(settings: Settings) -> list[Point]:
    snrs = (10.0,) if settings.quick else airnet.SNRS
    model = QUICK_MODEL if settings.quick else MODEL
    return [
        airnet.point(settings, scheme, snr, model=model)
        for scheme, snr in airnet.grid(SCHEMES, snrs)
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    if "," in point["scheme"]:
        return airnet.of_digital(point, folder)
    return [airnet.of_delivery(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    airnet.draw(figure, rows, f"{rows[0]['model']}, {rows[0]['channel_uses']:,} channel uses, AWGN")
