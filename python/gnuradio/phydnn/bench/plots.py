# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The curves of a report as one picture, one panel each."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from gnuradio.phydnn.bench import Report

BLUE, ORANGE, GREEN, GREY = "#0b5fa5", "#d1641b", "#2f7d4f", "#6b6b6b"
ES_N0 = r"$E_s/N_0$ (dB)"


def draw(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the report's curves as a picture, in the format that the name ends with.

    Raises:
        OSError: the file cannot be written.
        ValueError: no picture format has that name.
    """
    panels = [(PANELS[name], curve) for name, curve in report.curves.items() if name in PANELS]
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    canvas = Canvas(figsize=(4.6 * columns, 3.3 * rows), dpi=200, layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.subplots(rows, columns, squeeze=False).ravel()
    for axis, (panel, curve) in zip(axes, panels, strict=False):
        panel(axis, curve)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    canvas.savefig(path)


def _detection(axis: Axes, curve: dict[str, Any]) -> None:
    p = np.array(curve["probability"])
    low, high = np.array(curve["interval95"]).T
    snr = np.array(curve["es_n0_db"])
    axis.fill_between(snr, low, high, color=BLUE, alpha=0.2, linewidth=0, label="95 % interval")
    axis.plot(snr, p, "o-", color=BLUE, markersize=3.5, label="measured")
    axis.axhline(0.99, color=GREY, linewidth=0.8, linestyle="--")
    axis.plot([-6], [0.99], "v", color=ORANGE, markersize=6, label="required at $-6$ dB")
    axis.set(xlabel=ES_N0, ylabel="probability of detection", ylim=(0, 1.03))
    axis.set_title("Detection, CFO within ±10 kHz at 20 MS/s", fontsize=10)
    _finish(axis)


def _cfo(axis: Axes, curve: dict[str, Any]) -> None:
    snr, bound = np.array(curve["es_n0_db"]), np.array(curve["bound_hz"])
    axis.semilogy(snr, curve["rms_hz"], "o-", color=BLUE, markersize=3.5, label="measured")
    axis.semilogy(snr, bound, color=GREY, label="Cramér-Rao bound of a tone")
    axis.semilogy(
        snr[snr >= 10], 1.2 * bound[snr >= 10], "--", color=ORANGE, label="1.2 times the bound"
    )
    axis.set(xlabel=ES_N0, ylabel="rms error of the CFO (Hz)")
    axis.set_title("Carrier offset from one preamble", fontsize=10)
    _finish(axis)


def _evm(axis: Axes, curve: dict[str, Any]) -> None:
    snr = np.array(curve["es_n0_db"])
    axis.plot(snr, -snr, color=GREY, label=r"theory, $-E_s/N_0$")
    for (name, values), color, marker in zip(
        curve["evm_db"].items(), (BLUE, ORANGE), ("o", "x"), strict=False
    ):
        axis.plot(snr, values, marker, color=color, markersize=4, label=name)
    axis.set(xlabel=ES_N0, ylabel="EVM (dB)")
    axis.set_title("Error vectors after the equaliser", fontsize=10)
    _finish(axis)


def _throughput(axis: Axes, curve: dict[str, dict[str, float]]) -> None:
    labels = [f"{half},\n{kind}" for half, rates in curve.items() for kind in rates]
    rates = [rate for rates in curve.values() for rate in rates.values()]
    colors = [BLUE if label.startswith("transmitter") else GREEN for label in labels]
    bars = axis.barh(labels, rates, color=colors, height=0.6)
    axis.bar_label(bars, fmt="%.0f", padding=3)
    for bar, label in zip(bars, labels, strict=True):
        required = 60 if label.startswith("transmitter") else 20
        axis.plot([required] * 2, [bar.get_y(), bar.get_y() + 0.6], color=ORANGE)
    axis.plot([], [], color=ORANGE, label="required")
    axis.invert_yaxis()
    axis.set(xlabel="million samples per second of processor time")
    axis.set_title("Throughput of one core", fontsize=10)
    axis.legend(frameon=False, fontsize=8)


def _kernels(axis: Axes, curve: dict[str, float]) -> None:
    ratios = sorted(curve.items(), key=lambda item: item[1])
    names = [name.replace("_", " ") for name, _ in ratios]
    bars = axis.barh(names, [ratio for _, ratio in ratios], color=BLUE, height=0.6)
    axis.bar_label(bars, fmt="%.0f", padding=3, fontsize=7)
    axis.axvline(10, color=ORANGE, label="required")
    axis.set_xscale("log")
    axis.set_xlim(1, 2 * max(curve.values()))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("")
    axis.tick_params(axis="y", labelsize=7)
    axis.set(xlabel="times as fast as its NumPy reference")
    axis.set_title("Kernels", fontsize=10)
    axis.legend(frameon=False, fontsize=8)


def _link(axis: Axes, curve: dict[str, float]) -> None:
    bars = axis.barh(list(curve), list(curve.values()), color=[GREEN, BLUE], height=0.5)
    axis.bar_label(bars, fmt="%.0f", padding=3)
    axis.set(xlabel="images per second, batch 64")
    axis.set_title("Split inference in one process", fontsize=10)


def _finish(axis: Axes) -> None:
    axis.grid(alpha=0.25, linewidth=0.5)
    axis.legend(frameon=False, fontsize=8)


PANELS: dict[str, Callable[[Axes, Any], None]] = {
    "detection": _detection,
    "cfo": _cfo,
    "evm": _evm,
    "throughput": _throughput,
    "kernels": _kernels,
    "link": _link,
}
