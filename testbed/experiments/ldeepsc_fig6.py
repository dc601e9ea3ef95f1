# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 6 of L-DeepSC: constellations of finite bits over AWGN."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, semantic

TITLE = "Fig. 6: BLEU over Es/N0, AWGN, by the bits of the constellation"
SOURCE = semantic.SOURCE.format("Fig. 6: BLEU of full resolution, 8 and 4 bits over AWGN")
VERSION = 1
OPTIONS: dict[str, Any] = semantic.OPTIONS

SCHEMES = {"full resolution": 0, "8 bits": 8, "4 bits": 4, "2 bits": 2}


def points(settings: Settings) -> list[Point]:
    schemes = {"full resolution": 0, "4 bits": 4} if settings.quick else SCHEMES
    return [
        semantic.point(settings, scheme, snr_db, "awgn", "perfect", bits=bits)
        for scheme, bits in schemes.items()
        for snr_db in semantic.snrs(settings)
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    return [semantic.of_text(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    semantic.draw(figure, rows, "AWGN")
