# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Table III of L-DeepSC: sparsity and quantisation together."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, semantic

TITLE = "Table III: compression ratios, real bytes and BLEU, Rician, K = 2, 12 dB"
SOURCE = semantic.SOURCE.format(
    "Table III: sparsity with quantisation; 0.9 and 8 bits lose nothing"
)
VERSION = 1
OPTIONS: dict[str, Any] = semantic.OPTIONS

GRID = ((0.0, 32), (0.6, 32), (0.9, 32), (0.0, 8), (0.6, 8), (0.9, 8), (0.95, 8), (0.9, 4))


def points(settings: Settings) -> list[Point]:
    grid = ((0.0, 32), (0.6, 8)) if settings.quick else GRID
    return [
        semantic.point(
            settings,
            f"{sparsity:g}, {bits} bits" + (", tuned" if tuned else ""),
            12.0,
            sparsity=sparsity,
            weight_bits=bits % 32,
            tuned=tuned,
        )
        for tuned in (False, True)
        for sparsity, bits in grid
        if not tuned
        or ((sparsity, bits) != (0.0, 32) and semantic.can_tune(settings, sparsity, bits % 32))
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    return [semantic.of_text(point, folder)]


def draw(figure: Figure, rows: list[Row]) -> None:
    axis = figure.subplots()
    for tuned, colour in ((False, "#0072B2"), (True, "#D55E00")):
        chosen = [row for row in rows if row["tuned"] == tuned]
        place = [row["bytes"] / 1e6 for row in chosen]
        label = "tuned after it" if tuned else "compressed at once"
        axis.plot(place, [row["bleu"][0] for row in chosen], "o", color=colour, label=label)
        for row, x in zip(chosen, place, strict=True):
            text = f"{row['sparsity']:g}, {row['weight_bits']} bits"
            axis.annotate(text, (x, row["bleu"][0]), (4, 4), textcoords="offset points", fontsize=7)
    axis.set(xscale="log", xlabel="bytes of all weights, coded (MB)", ylabel="BLEU-1")
    axis.set_title(f"Rician, K = 2, refined CSI, 12 dB, {rows[0]['n']:,} sentences")
    axis.legend()
