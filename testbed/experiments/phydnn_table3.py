# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Table III of the PhyDNN paper: what the head costs the device, counted by torch."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, plots

TITLE = "Table III: the head's multiply-accumulates and parameters"
SOURCE = (
    "M. Abdi et al., PhyDNNs: Bringing Deep Neural Networks to the Physical Layer, Table III: "
    "its 291.65 M MACs for ResNet-56's head are 6.8 times what torch counts in conv1 and layer1"
)
VERSION = 1
OPTIONS: dict[str, Any] = {}

PAPER = {"resnet56": {"macs": 291.65e6, "params": 42.5e3}}
POINTS = ("layer1", "layer2")


def points(settings: Settings) -> list[Point]:
    models = ("resnet20", "resnet56", "resnet110")
    return [{"model": model, "split": split} for model in models for split in POINTS]


def measure(point: Point, folder: Path) -> list[Row]:
    import torch

    from phydnn import complexity, networks

    network = networks.build(point["model"], 10, [128.0] * 3, [64.0] * 3).eval()
    head, _ = networks.split(network, point["split"])
    example = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    latent, macs = head(example), complexity.macs(head, example)
    return [
        {
            "system": "phydnn",
            "scheme": f"head to {point['split']}",
            "model": point["model"],
            "dataset": "any of 3x32x32",
            "latent": "x".join(map(str, latent.shape[1:])),
            "channel_uses": latent[0, 0].numel(),
            "macs": macs,
            "params": complexity.parameters(head),
            "share_of_macs": round(macs / complexity.macs(network, example), 3),
            "paper": PAPER.get(point["model"]) if point["split"] == "layer1" else None,
        }
    ]


def draw(figure: Figure, rows: list[Row]) -> None:
    names = [f"{row['model'].replace('resnet', 'ResNet-')}, {row['scheme'][8:]}" for row in rows]
    left, right = figure.subplots(1, 2, sharey=True)
    for axis, name, unit, scale in (
        (left, "macs", "MACs an image (millions)", 1e6),
        (right, "params", "parameters (thousands)", 1e3),
    ):
        bars = axis.barh(names, [row[name] / scale for row in rows], color=plots.COLOURS[0])
        axis.bar_label(bars, fmt="%.1f", padding=8, fontsize=8)
        for i, row in enumerate(rows):
            if row["paper"]:
                theirs = row["paper"][name] / scale
                axis.plot(theirs, i, "D", color=plots.COLOURS[1], label="the paper")
        axis.margins(x=0.25)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel(unit)
    left.invert_yaxis()
    left.legend(loc="upper right")
    figure.suptitle("The head on the device", fontsize=10)
