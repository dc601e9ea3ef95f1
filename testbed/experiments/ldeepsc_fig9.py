# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 9 of L-DeepSC: Rayleigh fading, by what the receiver knows of the channel."""

from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, digital_text, semantic

TITLE = "Fig. 9: BLEU over Es/N0, Rayleigh fading, by CSI"
SOURCE = semantic.SOURCE.format(
    "Fig. 9: BLEU over Rayleigh fading with perfect, refined, rough and no CSI"
)
VERSION = 1
OPTIONS: dict[str, Any] = semantic.OPTIONS


def points(settings: Settings) -> list[Point]:
    return digital_text.points(settings, "rayleigh")


measure = digital_text.measure


def draw(figure: Figure, rows: list[Row]) -> None:
    semantic.draw(figure, rows, "Rayleigh fading")
