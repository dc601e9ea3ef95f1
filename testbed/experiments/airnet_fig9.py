# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 9 of AirNet's journal version: one training for a range of Es/N0."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, airnet

TITLE = "Fig. 9: two boundary networks and their interpolations"
SOURCE = airnet.SOURCE.format("Fig. 9: SNR-robust AirNet: the sandwich rule and interpolation")
VERSION = 2
OPTIONS: dict[str, Any] = airnet.OPTIONS | {"images": 4000}

SCHEMES = ("interpolated", "low end only", "high end only")


def points(settings: Settings) -> list[Point]:
    snrs = (0.0, 15.0) if settings.quick else airnet.SNRS
    made = [airnet.point(settings, scheme, snr) for scheme, snr in airnet.grid(SCHEMES, snrs)]
    if settings.train:
        one = {"boundaries": False}
        made += [airnet.point(settings, "one for all", snr, airnet=one) for snr in snrs]
        made += [
            airnet.point(
                settings, "one for each", snr, airnet=one | {"snr_low": snr, "snr_high": snr}
            )
            for snr in snrs
        ]
    return made


def measure(point: Point, folder: Path) -> list[Row]:
    return [airnet.of_delivery(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    airnet.draw(figure, rows, f"{rows[0]['model']}, {rows[0]['channel_uses']:,} channel uses, AWGN")
