# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 8 of L-DeepSC: Rician fading, by what the receiver knows of the channel."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, digital_text, semantic

TITLE = "Fig. 8: BLEU over Es/N0, Rician fading, K = 2, by CSI"
SOURCE = semantic.SOURCE.format(
    "Fig. 8: BLEU over Rician fading, K = 2 with perfect, refined, rough and no CSI"
)
VERSION = 1
OPTIONS: dict[str, Any] = semantic.OPTIONS

CHANNEL = "rician:2"
SCHEMES = {
    "perfect CSI": "perfect",
    "refined CSI": "refined",
    "LS CSI": "ls",
    "no CSI": "none",
}


def points(settings: Settings) -> list[Point]:
    blind = settings.quick or settings.train or bool(settings.options["blind"])
    return [
        semantic.point(settings, scheme, snr_db, CHANNEL, csi, blind=csi == "none")
        for scheme, csi in SCHEMES.items()
        if csi != "none" or blind
        for snr_db in semantic.snrs(settings)
    ] + digital_text.points(settings, CHANNEL)


def measure(point: Point, folder: Path) -> list[Row]:
    if "code" in point:
        return [digital_text.of_digital(point, folder)]
    return [semantic.of_text(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    semantic.draw(figure, rows, "Rician K = 2")
