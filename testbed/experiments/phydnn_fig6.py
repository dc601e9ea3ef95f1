# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 6 of the PhyDNN paper: latency, split into host and air, and bytes, beside the baselines."""

from pathlib import Path
from typing import Any

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
TITLES = {
    "LoS": "office, line of sight",
    "NLoS": "office, no line of sight",
    "ideal": "nothing lost",
}


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
    names = list(plots.group(shown, "scheme"))
    figure.set_size_inches(9.6, 3.8)
    *axes, last = figure.subplots(1, len(conditions) + 1, sharey=True)
    for axis, (condition, mine) in zip(axes, conditions.items(), strict=True):
        baselines.latencies(axis, mine, names)
        axis.set(xlabel="ms a batch", title=TITLES[condition])
    data = conditions[next(iter(conditions))]
    baselines.bars(last, data, names, [("bytes_on_air", plots.COLOURS[2], "bytes")])
    texts = {
        names.index(row["scheme"]): (
            row["bytes_on_air"],
            f"{row['bytes_on_air']:,.0f}\n{baselines.ratio(row, 'bytes_ratio')}",
        )
        for row in data
    }
    baselines.note(last, texts)
    last.set(xlabel="bytes an image", title=f"on air, all counted ({next(iter(conditions))})")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    first = shown[0]
    paper = "; in brackets: the paper's" if first["paper"] else ""
    figure.suptitle(
        f"{first['model'].replace('resnet', 'ResNet-')}, {first['dataset']}, {first['batch']} a "
        f"batch, {first['snr_db']:g} dB in the office; ratios over {_base(shown)}{paper}",
        fontsize=10,
    )  # fmt: skip


def _base(rows: list[Row]) -> str:
    return str(next(row["scheme"] for row in rows if row["system"] == "phydnn"))
