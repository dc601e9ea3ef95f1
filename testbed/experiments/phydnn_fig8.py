# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 8 of the PhyDNN paper: urban channels of 40 and 80 dB loss."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, baselines, plots

TITLE = "Fig. 8: urban channels of 40 and 80 dB"
SOURCE = (
    "M. Abdi et al., PhyDNNs: Bringing Deep Neural Networks to the Physical Layer, Fig. 8, on "
    "Colosseum. No published scenario is the paper's 'urban, 40/80 dB': these are the two of "
    "testbed/scenarios, whose make-up is stated there. Accuracy is through the emulator; what is "
    "timed ran through the channel block with the same taps and Es/N0"
)
VERSION = 1
OPTIONS: dict[str, Any] = baselines.OPTIONS

BATCH = 64


def points(settings: Settings) -> list[Point]:
    """One point, so that all that is timed is timed in one run."""
    options = baselines.OPTIONS | settings.options
    conditions = {f"{loss} dB": {"scenario": f"urban_{loss}db"} for loss in (40, 80)}
    return [
        baselines.point(settings)
        | {
            "conditions": conditions,
            "batches": [BATCH],
            "frames": 3 if settings.quick else int(options["frames"]),
        }
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    return baselines.compare(point, folder)


def draw(figure: Figure, rows: list[Row]) -> None:
    conditions = plots.group(rows, "condition")
    names = list(plots.group(rows, "scheme"))
    figure.set_size_inches(8.4, 3.6)
    *axes, last = figure.subplots(1, len(conditions) + 1, sharey=True)
    for axis, (condition, mine) in zip(axes, conditions.items(), strict=True):
        baselines.latencies(axis, mine, names)
        axis.set(xlabel=f"ms a batch of {BATCH}")
        axis.set_title(f"urban, {condition}: {mine[0]['snr_db']:.1f} dB Es/N0", fontsize=9)
    height = 0.8 / len(conditions)
    for i, (condition, mine) in enumerate(conditions.items()):
        value, reach = plots.percent(mine)
        place = [
            names.index(row["scheme"]) + (i - (len(conditions) - 1) / 2) * height for row in mine
        ]
        last.barh(place, value, 0.9 * height, color=plots.COLOURS[2 + i], label=condition)
        last.errorbar(value, place, xerr=reach, fmt="none", ecolor="black", elinewidth=0.8)
    last.set(xlabel="accuracy (%)", xlim=(0, 100))
    last.grid(axis="y", visible=False)
    for axis in (axes[0], last):
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    figure.suptitle(
        f"{rows[0]['model'].replace('resnet', 'ResNet-')}, {rows[0]['dataset']}; ratios over "
        f"{next(row['scheme'] for row in rows if row['system'] == 'phydnn')}",
        fontsize=10,
    )
