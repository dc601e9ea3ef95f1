# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 4d of AirNet's journal version: ResNet-34 for Tiny ImageNet, slow Rayleigh fading."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, airnet

TITLE = "Fig. 4d: ResNet-34 delivered over slow Rayleigh fading"
SOURCE = airnet.SOURCE.format("Fig. 4d: ResNet-34 on Tiny ImageNet over slow fading")
VERSION = 2
OPTIONS: dict[str, Any] = airnet.OPTIONS | {"deliveries": 100}

SCHEMES = ("AirNet, CSI at the receiver", "CSI at both ends")
DIGITAL = (
    "AirNet's network, quantised, CSI at the receiver",
    "AirNet's network, quantised, CSI at both ends",
)
SNRS = (5.0, 10.0, 15.0, 20.0, 25.0)
MODEL, QUICK_MODEL = "resnet34", "resnet34@0.0625"


def points(settings: Settings) -> list[Point]:
    snrs = (20.0,) if settings.quick else SNRS
    model = QUICK_MODEL if settings.quick else MODEL
    analog = [
        airnet.point(settings, scheme, snr, "rayleigh", model=model)
        for scheme, snr in airnet.grid(SCHEMES, snrs)
    ]
    digital = [
        airnet.point(settings, scheme, snrs[0], "rayleigh", model=model) | {"snrs_db": list(snrs)}
        for scheme in (DIGITAL[:1] if settings.quick else DIGITAL)
    ]
    return analog + digital


def measure(point: Point, folder: Path) -> list[Row]:
    if "snrs_db" in point:
        return airnet.of_faded_digital(point, folder)
    return [airnet.of_delivery(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    uses = rows[0]["channel_uses"]
    airnet.draw(figure, rows, f"{rows[0]['model']}, {uses:,} channel uses, slow Rayleigh fading")
