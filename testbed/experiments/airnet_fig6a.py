# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 6a of AirNet's journal version: accuracy against bandwidth."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, airnet

TITLE = "Fig. 6a: accuracy against channel uses"
SOURCE = airnet.SOURCE.format("Fig. 6a: accuracy against the bandwidth b")
VERSION = 2
OPTIONS: dict[str, Any] = airnet.OPTIONS | {"epochs": 8, "limit": 24_000, "prune_share": 0.25}

SNRS = (0.0, 5.0, 15.0)
BANDWIDTHS = (150_000, 300_000, 600_000, 1_200_000, 1_800_000)
QUICK_BANDWIDTHS = (20_000, 40_000)


def points(settings: Settings) -> list[Point]:
    options = OPTIONS | settings.options
    bandwidths = QUICK_BANDWIDTHS if settings.quick else BANDWIDTHS
    base: dict[str, Any] = {}
    if not settings.quick:
        base = {name: options[name] for name in ("epochs", "limit", "prune_share")}
        base["small_share"] = 1.0
    return [
        airnet.point(settings, f"{snr:g} dB", snr, airnet=base | {"bandwidth": bandwidth})
        for bandwidth in bandwidths
        for snr in (SNRS[-1:] if settings.quick else SNRS)
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    return [airnet.of_delivery(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    airnet.draw(figure, rows, f"{rows[0]['model']} over AWGN", "channel_uses")
    axis, uses = figure.axes[0], sorted({row["channel_uses"] for row in rows})
    axis.set(xscale="log", xlabel="channel uses (millions)")
    axis.set_xticks(uses, [f"{count / 1e6:.2g}" for count in uses])
    axis.set_xticks([], minor=True)
