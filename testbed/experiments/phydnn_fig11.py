# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 11 of the PhyDNN paper: what each scheme has the device compute, beside Table III."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, baselines, plots

TITLE = "Fig. 11: what each scheme has the device compute, all of an image"
SOURCE = (
    "M. Abdi et al., PhyDNNs: Bringing Deep Neural Networks to the Physical Layer, Fig. 11. What "
    "it shows was not at hand: measured under its name are each scheme's MACs, parameters and head "
    "time; phydnn_table3 has those of other networks and splits"
)
VERSION = 1
OPTIONS: dict[str, Any] = baselines.OPTIONS

BATCHES = (1, 64)


def points(settings: Settings) -> list[Point]:
    """One point, so that all that is timed is timed in one run."""
    options = baselines.OPTIONS | settings.options
    return [baselines.point(settings) | {"frames": 5 if settings.quick else int(options["frames"])}]


def measure(point: Point, folder: Path) -> list[Row]:
    from phydnn import datasets
    from phydnn.bundle import open_session

    schemes = baselines.prepare(point, folder)
    first = next(s.bundle for s in schemes if s.system == "phydnn")
    assert first is not None
    images = datasets.load(point["data"], "test")
    sessions = [open_session(scheme.head, threads=1) for scheme in schemes]
    taken: dict[int, list[list[float]]] = {}
    for batch in BATCHES:
        x, taken[batch] = baselines.repeated(images, batch).x, [[] for _ in schemes]
        for turn in range(point["frames"] + 1):
            for session, times in zip(sessions, taken[batch], strict=True):
                begun = time.perf_counter()
                session.run(None, {"images": x})
                if turn:  # the first warms up
                    times.append(time.perf_counter() - begun)
    return [
        baselines.about(scheme, point, first)
        | {
            "macs": scheme.macs,
            "params": scheme.params,
            **{
                f"head_ms_{batch}": 1e3 * float(np.median(taken[batch][i])) / batch
                for batch in BATCHES
            },
            "paper": None,
        }
        for i, scheme in enumerate(schemes)
    ]


def draw(figure: Figure, rows: list[Row]) -> None:
    names = [row["scheme"] for row in rows]
    figure.set_size_inches(8.0, 3.4)
    left, middle, right = figure.subplots(1, 3, sharey=True)
    baselines.bars(left, rows, names, [("macs", plots.COLOURS[0], "")])
    baselines.bars(middle, rows, names, [("params", plots.COLOURS[2], "")])
    times = [
        ("head_ms_1", plots.COLOURS[1], "one by one"),
        ("head_ms_64", plots.COLOURS[4], "64 at a time"),
    ]
    baselines.bars(right, rows, names, times)
    for axis in (left, middle, right):
        axis.set(xscale="linear", xlim=(0, 1.25 * max(bar.get_width() for bar in axis.patches)))
    for axis, key, label in (
        (left, "macs", "MACs an image (millions)"),
        (middle, "params", "parameters (thousands)"),
    ):
        scale = 1e6 if key == "macs" else 1e3
        texts = {i: (row[key], f"{row[key] / scale:.3g}") for i, row in enumerate(rows) if row[key]}
        baselines.note(axis, texts, 1)
        axis.xaxis.set_major_formatter(lambda value, _, scale=scale: f"{value / scale:g}")
        axis.set_xlabel(label)
    right.set_xlabel("head, ms an image, one thread")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    figure.suptitle(f"On the device, {rows[0]['dataset']}", fontsize=10)
