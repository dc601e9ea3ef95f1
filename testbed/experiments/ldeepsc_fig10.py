# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 10 of L-DeepSC: how many weights can go."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, semantic

TITLE = "Fig. 10: BLEU over the share of weights removed, Rician, K = 2"
SOURCE = semantic.SOURCE.format("Fig. 10: BLEU over sparsity at several Es/N0")
VERSION = 1
OPTIONS: dict[str, Any] = semantic.OPTIONS

SPARSITIES = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.99)


def points(settings: Settings) -> list[Point]:
    sparsities = (0.0, 0.6) if settings.quick else SPARSITIES
    ways = {"removed": False, "removed, then tuned": True}
    return [
        semantic.point(settings, f"{way}, {snr_db:g} dB", snr_db, sparsity=sparsity, tuned=tuned)
        for way, tuned in ways.items()
        for snr_db in ((12.0,) if settings.quick else (6.0, 12.0, 18.0))
        for sparsity in sparsities
        if not tuned or (sparsity and semantic.can_tune(settings, sparsity, 0))
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    return [semantic.of_text(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    semantic.draw(figure, rows, "Rician, K = 2, refined CSI", "sparsity")
