# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 6 of the PhyDNN paper: latency, split into host and air, and bytes, beside the baselines."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, baselines, plots

TITLE = "Fig. 6: latency and bytes, beside Split Computing, BottleFit and DT-JSCC"
SOURCE = (
    "M. Abdi et al., PhyDNNs: Bringing Deep Neural Networks to the Physical Layer, Fig. 6. The "
    "paper's ratios are its headline: latency 48 times and data 1,385 times less at best, 2.3 and "
    "3.8 times BottleFit's latency with 1 and 2 kernels, 4.3 times DT-JSCC's. Its absolute numbers "
    "were not at hand. docs/baselines.md explains each difference"
)
VERSION = 1
OPTIONS: dict[str, Any] = baselines.OPTIONS

PAPER = {
    "SC": {"latency_ratio": 48.0, "bytes_ratio": 1385.0},
    "BF-2": {"latency_ratio": 3.8},
    "BF-1": {"latency_ratio": 2.3},
    "DT-JSCC": {"latency_ratio": 4.3},
}
BATCHES = (64, 1)
TITLES = {"LoS": "office, line of sight", "NLoS": "office, none", "ideal": "nothing lost"}


def points(settings: Settings) -> list[Point]:
    """One point, so that all that is timed is timed in one run."""
    options = baselines.OPTIONS | settings.options
    snr_db = float(options["snr_db"])
    conditions = {
        "LoS": {"channel": baselines.LOS, "snr_db": snr_db, "ideal": False},
        "NLoS": {"channel": baselines.NLOS, "snr_db": snr_db, "ideal": False},
        "ideal": {"channel": "awgn", "snr_db": 30.0, "ideal": True},
    }
    return [
        baselines.point(settings)
        | {
            "conditions": conditions,
            "batches": list(BATCHES),
            "frames": 3 if settings.quick else int(options["frames"]),
        }
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    rows = baselines.compare(point, folder)
    for row in rows:
        if row["dataset"] == "cifar10" and row["batch"] == 64:
            row["paper"] = PAPER.get(row["scheme"])
    return rows


def draw(figure: Figure, rows: list[Row]) -> None:
    shown = [row for row in rows if row["batch"] == max(BATCHES)]
    conditions = plots.group(shown, "condition")
    names = list(plots.group(shown, "scheme"))[::-1]
    figure.set_size_inches(9.6, 3.6)
    axes = figure.subplots(1, len(conditions) + 1, sharey=True)
    place = np.arange(len(names))
    for axis, (condition, mine) in zip(axes, conditions.items(), strict=False):
        line = {row["scheme"]: row for row in mine}
        for offset, key, colour, label in (
            (0.2, "host_ms", plots.COLOURS[0], "host, measured"),
            (-0.2, "air_ms", plots.COLOURS[1], "air, counted"),
        ):
            values = [line[name][key] for name in names]
            axis.barh(place + offset, values, 0.36, color=colour, label=label)
        for i, name in enumerate(names):
            row = line[name]
            axis.annotate(
                f"{row['total_ms']:,.3g} ms, {row['latency_ratio']:.3g}x",
                (max(row["host_ms"], row["air_ms"]), i), (3, 0),
                textcoords="offset points", va="center", fontsize=6.5,
            )  # fmt: skip
        axis.set(xscale="log", xlabel="ms a batch")
        axis.set_title(TITLES[condition], fontsize=9)
        low, high = axis.get_xlim()
        axis.set_xlim(low, high * 60)
    data = conditions[next(iter(conditions))]
    line = {row["scheme"]: row for row in data}
    last = axes[-1]
    last.barh(place, [line[name]["bytes_on_air"] for name in names], 0.5, color=plots.COLOURS[2])
    for i, name in enumerate(names):
        last.annotate(
            f"{line[name]['bytes_on_air']:,.0f}, {line[name]['bytes_ratio']:.3g}x",
            (line[name]["bytes_on_air"], i), (3, 0), textcoords="offset points", va="center",
            fontsize=6.5,
        )  # fmt: skip
    last.set(xscale="log", xlabel="bytes an image")
    last.set_title("on air, all counted (LoS)", fontsize=9)
    low, high = last.get_xlim()
    last.set_xlim(low, high * 60)
    axes[0].set_yticks(place, names)
    for axis in axes:
        axis.grid(axis="y", visible=False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    first = shown[0]
    figure.suptitle(
        f"{first['model'].replace('resnet', 'ResNet-')}, {first['dataset']}, "
        f"{first['batch']} images a batch, mean {first['snr_db']:g} dB",
        fontsize=10,
    )
