# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 8b of AirNet's journal version: unequal error protection by each sensitivity."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, airnet

TITLE = "Fig. 8b: unequal error protection by loss, eigenvalue and trace, and by power"
SOURCE = airnet.SOURCE.format("Fig. 8b: unequal error protection by the loss and by the Hessian")
VERSION = 3
OPTIONS: dict[str, Any] = airnet.OPTIONS | {"epochs": 4, "limit": 24_000, "images": 4000}

SCHEMES = (
    "repetition by loss",
    "repetition by eigenvalue",
    "repetition by trace",
    "repetition and power",
)
SPARE = (1.05, 1.25, 1.5, 2.0)
ALONE = ("uniform, trained without", "power, trained without")
"""On a network that was trained with the same power for all layers: what allocation alone does."""


def points(settings: Settings) -> list[Point]:
    options = OPTIONS | settings.options
    snrs = (0.0,) if settings.quick else (0.0, 5.0)
    plain: dict[str, Any] = {"boundaries": False, "sandwich": False, "power": "uniform"}
    if not settings.quick:
        plain |= {"epochs": options["epochs"], "limit": options["limit"], "small_share": 1.0}
    alone = [
        airnet.point(settings, scheme, snr, airnet=plain | {"snr_low": snr, "snr_high": snr})
        | {"spare": 1.0}
        for scheme, snr in airnet.grid(ALONE, snrs[:1])
    ]
    bare = [
        airnet.point(settings, scheme, snr) | {"spare": 1.0}
        for scheme, snr in airnet.grid(("uniform", "power"), snrs)
    ]
    more = [
        airnet.point(settings, scheme, snr) | {"spare": spare}
        for scheme, snr in airnet.grid(SCHEMES[:1] if settings.quick else SCHEMES, snrs[:1])
        for spare in (SPARE[:1] if settings.quick else SPARE)
    ]
    return bare + alone + more


def measure(point: Point, folder: Path) -> list[Row]:
    return [airnet.of_protection(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    low = min(row["snr_db"] for row in rows)
    airnet.draw(
        figure,
        [row for row in rows if row["snr_db"] == low],
        f"{rows[0]['model']} at {low:g} dB",
        "channel_uses",
    )
    figure.axes[0].set_xlabel("channel uses (millions)")
    figure.axes[0].xaxis.set_major_formatter(lambda uses, _: f"{uses / 1e6:g}")
