# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The look of the experiments' pictures: for print, in colours that the colour-blind tell apart."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8b5a2b")
"""Okabe and Ito's, those that stand out on white first, and a brown for an eighth line."""
MARKERS = "osD^vP*X"
GREY = "#6b6b6b"
ES_N0 = "$E_s/N_0$ (dB)"
STYLE: dict[Any, Any] = {
    "figure.dpi": 200,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.markersize": 5,
    "errorbar.capsize": 2.5,
}


def picture(
    draw: Callable[[Figure, list[dict[str, Any]]], None], rows: list[dict[str, Any]]
) -> bytes:
    """What ``draw`` makes of the rows, as a PNG."""
    png = io.BytesIO()
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        draw(figure, rows)
        figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def percent(rows: Sequence[dict[str, Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracies in percent [N], and how far their 95% intervals reach down and up [2,N]."""
    value: NDArray[np.float64] = np.array([row["accuracy"] for row in rows])
    low, high = np.array([row["ci95"] for row in rows]).reshape(-1, 2).T
    reach = np.maximum(np.stack([value - low, high - value]), 0.0)
    return 100 * value, 100 * reach


def group(rows: Sequence[dict[str, Any]], *names: str) -> dict[Any, list[dict[str, Any]]]:
    """Rows by the values of some keys, in the order of their first appearance."""
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        values = tuple(row.get(name) for name in names)
        groups.setdefault(values[0] if len(names) == 1 else values, []).append(row)
    return groups
