# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 11 of L-DeepSC: how many bits a weight and an activation need."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, semantic

TITLE = "Fig. 11: BLEU over the bits of weights and activations, Rician, K = 2"
SOURCE = semantic.SOURCE.format("Fig. 11: BLEU over quantisation at several Es/N0")
VERSION = 1
OPTIONS: dict[str, Any] = semantic.OPTIONS

BITS = (4, 5, 6, 8, 12, 16, 32)


def points(settings: Settings) -> list[Point]:
    widths = (4, 8) if settings.quick else BITS
    ways = {"calibrated": False, "trained": True}
    return [
        semantic.point(settings, f"{way}, {snr_db:g} dB", snr_db, weight_bits=bits, tuned=tuned)
        for way, tuned in ways.items()
        for snr_db in ((12.0,) if settings.quick else (6.0, 12.0, 18.0))
        for bits in widths
        if not tuned or (bits <= 8 and semantic.can_tune(settings, 0.0, bits))
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    return [semantic.of_text(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    semantic.draw(figure, rows, "Rician, K = 2, refined CSI", "weight_bits")
