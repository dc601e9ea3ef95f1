# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 10 of AirNet's journal version: the channel is not what the server took it for."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, airnet

TITLE = "Fig. 10: Es/N0 other than the server's estimate: graceful against a cliff"
SOURCE = airnet.SOURCE.format("Fig. 10: mismatch between the expected and the actual Es/N0")
VERSION = 2
OPTIONS: dict[str, Any] = airnet.OPTIONS

EXPECTED = 10.0


def points(settings: Settings) -> list[Point]:
    snrs = (5.0, 15.0) if settings.quick else airnet.SNRS
    return [
        airnet.point(settings, scheme, snr) | {"expected_db": EXPECTED}
        for scheme, snr in airnet.grid(("AirNet", "quantised, capacity"), snrs)
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    return [airnet.of_mismatch(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    airnet.draw(figure, rows, f"{rows[0]['model']}, sent for {rows[0]['expected_db']:g} dB")
    for line in figure.axes[0].get_lines():
        if line.get_linestyle() == "--":
            line.set_drawstyle("steps-post")  # A stream arrives whole or not at all.
