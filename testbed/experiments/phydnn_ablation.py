# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""What each departure of the authors' public code costs, and each choice of our own brings."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, inference, plots

TITLE = "Ablation: as published, the public code's departures, corrected, and quantisers"
SOURCE = (
    "M. Abdi et al., PhyDNNs: Bringing Deep Neural Networks to the Physical Layer, Algorithm 1, "
    "and the authors' public code; every row is trained here from the same backbone"
)
VERSION = 1
OPTIONS: dict[str, Any] = inference.OPTIONS | {"seeds": 3, "epochs": 0, "limit": 0}
"""Epochs of each row and images to train on: 0 for the recipe's, and for all."""

PUBLISHED = {"size": 16, "final_size": 8}
"""The dictionary is pruned, so that what the code does after pruning has an effect."""
DEPARTURES: dict[str, dict[str, Any]] = {
    "entropy without gradient": {"entropy_gradient": False},
    "slices along rows": {"slicing": "row"},
    "dictionary rebuilt after pruning": {"pruning": "rebuilt"},
    "no freeze": {"frozen_epochs": 0},
    "no labelling by distance": {"labelling": "none"},
    "best test epoch": {"select": "test"},
}
QUANTIZERS = ("straight-through", "gumbel", "ema", "fsq")


def schemes(uses: int) -> dict[str, dict[str, Any]]:
    """Each row's settings by its name, in place of the recipe's.

    The quantisers are compared behind a bottleneck of ``uses``, which all of them can serve.
    """
    from phydnn.train.config import MODES

    published = MODES["as-published"] | {"mode": "as-published"} | PUBLISHED
    everything = {name: value for change in DEPARTURES.values() for name, value in change.items()}
    corrected = {
        "mode": "corrected",
        "size": PUBLISHED["final_size"],
        "dim": 1,
        "constellation": "psk",
    }
    narrow = {"mode": "corrected", "uses": uses, "dim": 2, "size": 16}
    square: dict[str, Any] = {"constellation": "qam", "spread": 1.0}
    return {
        "as published": published,
        **{f"as published, {name}": published | change for name, change in DEPARTURES.items()},
        "as published, all of these": published | everything,
        "corrected": corrected,
        **{f"{uses} uses, {name}": narrow | square | {"quantizer": name} for name in QUANTIZERS},
        f"{uses} uses, ema, dictionary on air": narrow
        | {"quantizer": "ema", "constellation": "dictionary", "spread": 1.5},
    }


def points(settings: Settings) -> list[Point]:
    seeds = 1 if settings.quick else settings.options["seeds"]
    short = {name: settings.options[name] for name in ("epochs", "limit") if settings.options[name]}
    return [
        inference.train_point(settings, scheme, values | short, seed=seed)
        for seed in range(1, seeds + 1)
        for scheme, values in schemes(16 if settings.quick else 256).items()
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    return inference.of_training(point, folder)


def draw(figure: Figure, rows: list[Row]) -> None:
    figure.set_size_inches(6.8, 4.6)
    axis = figure.subplots()
    groups = plots.group(rows, "scheme")
    for i, (scheme, runs) in enumerate(groups.items()):
        value, reach = plots.percent(runs)
        colour = plots.COLOURS[1 if scheme.startswith("as published") else 0]
        offsets = i + 0.12 * (np.arange(len(runs)) - (len(runs) - 1) / 2)
        axis.errorbar(value, offsets, xerr=reach, fmt="o", ms=3.5, color=colour, elinewidth=1)
        axis.plot([value.mean()] * 2, [i - 0.3, i + 0.3], color=colour, lw=2)
    names = [scheme.replace("as published, ", "+ ") for scheme in groups]
    axis.set_yticks(range(len(groups)), names)
    axis.invert_yaxis()
    axis.axvline(100 * rows[0]["a0"], color=plots.GREY, lw=1, ls="--", label="uncompressed")
    axis.plot([], [], "o-", ms=3.5, color=plots.COLOURS[1], label="as published + departures")
    axis.plot([], [], "o-", ms=3.5, color=plots.COLOURS[0], label="corrected, and its quantisers")
    axis.set_xlabel(f"accuracy at {rows[0]['snr_db']:g} dB (%): a dot a seed, a bar their mean")
    axis.set_title(rows[0]["provenance"].partition(":")[0])
    figure.legend(loc="outside lower center", ncols=3)
