# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 7 of AirNet's journal version: the spirals against repetition at equal bandwidth."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, airnet, plots

TITLE = "Fig. 7: spirals against repetition at equal bandwidth: weight SDR and accuracy"
SOURCE = airnet.SOURCE.format("Fig. 7: bandwidth expansion by Shannon-Kotelnikov mapping")
VERSION = 2
OPTIONS: dict[str, Any] = airnet.OPTIONS | {"deliveries": 10, "images": 4000}

SCHEMES = (
    "repetition 1:2",
    "spiral 1:2",
    "spiral 1:2, nearest",
    "repetition 1:4",
    "spiral 1:4",
)
SNRS = (-3.0, 0.0, 5.0, 10.0, 15.0, 20.0, 25.0)


def points(settings: Settings) -> list[Point]:
    schemes, snrs = (SCHEMES[:3], (0.0, 15.0)) if settings.quick else (SCHEMES, SNRS)
    return [airnet.point(settings, scheme, snr) for scheme, snr in airnet.grid(schemes, snrs)]


def measure(point: Point, folder: Path) -> list[Row]:
    return [airnet.of_code(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    figure.set_size_inches(9.6, 4.0)
    left, right = figure.subplots(1, 2)
    for i, (scheme, mine) in enumerate(plots.group(rows, "scheme").items()):
        look = {"marker": plots.MARKERS[i], "color": plots.COLOURS[i], "label": scheme}
        value, reach = plots.percent(mine)
        snrs = [row["snr_db"] for row in mine]
        left.plot(snrs, [row["sdr_db"] for row in mine], **look)
        right.errorbar(snrs, value, yerr=reach, **look)
    right.axhline(100 * rows[0]["a0"], color=plots.GREY, lw=1, ls=":")
    left.set(xlabel=plots.ES_N0, ylabel="SDR of the weights (dB)")
    right.set(xlabel=plots.ES_N0, ylabel="accuracy (%)")
    left.legend()
