# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 4a of AirNet's journal version: accuracy over AWGN, beside digital delivery."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, airnet

TITLE = "Fig. 4a: a network delivered over AWGN, analog and digital"
SOURCE = airnet.SOURCE.format("Fig. 4a: Small-VGG16 on CIFAR-10 over AWGN")
VERSION = 2
OPTIONS: dict[str, Any] = airnet.OPTIONS

SCHEMES = ("AirNet", "uniform power")
DIGITAL = (
    "AirNet's network, quantised, capacity",
    "AirNet's network, quantised, LDPC",
    "AirNet's network, SuRP, capacity",
    "unpruned, quantised, capacity",
)


def points(settings: Settings) -> list[Point]:
    snrs = (0.0, 15.0) if settings.quick else airnet.SNRS
    digital = DIGITAL[:2] if settings.quick else DIGITAL
    # Beyond the best code that was measured, an LDPC code would be held below what it can.
    last = max(code["snr_db"] for code in airnet.codes())
    return [
        *(airnet.point(settings, scheme, snr) for scheme, snr in airnet.grid(SCHEMES, snrs)),
        *(
            airnet.few(settings, scheme, snr)
            for scheme, snr in airnet.grid(digital, snrs)
            if not scheme.endswith("LDPC") or snr <= last
        ),
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    if "," in point["scheme"]:
        return airnet.of_digital(point, folder)
    return [airnet.of_delivery(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    airnet.draw(figure, rows, f"{rows[0]['model']}, {rows[0]['channel_uses']:,} channel uses, AWGN")
