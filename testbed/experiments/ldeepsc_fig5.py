# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 5 of L-DeepSC: what its constellations look like."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from phydnn.experiments import Point, Row, Settings, plots, semantic

TITLE = "Fig. 5: constellations of full resolution, 8 and 4 bits"
SOURCE = semantic.SOURCE.format("Fig. 5: the constellation before and after quantisation")
VERSION = 1
OPTIONS: dict[str, Any] = semantic.OPTIONS

SCHEMES = {"full resolution": 0, "8 bits": 8, "4 bits": 4}
SHOWN = 4000
"""Channel uses of a row."""


def points(settings: Settings) -> list[Point]:
    return [
        semantic.point(settings, scheme, 12.0, "awgn", "perfect", bits=bits)
        for scheme, bits in SCHEMES.items()
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    from phydnn import text
    from phydnn.text_bundle import frames_of

    task, vocabulary, data = semantic.prepare(point, folder)
    codec: Any = semantic.NetCodec(task, vocabulary)
    lines = text.load(data)[: point["sentences"]]
    sent = np.concatenate([codec.encode(f.tokens).ravel() for f in frames_of(codec, lines, 64)])
    shown = np.random.RandomState(point["seed"]).permutation(sent)[:SHOWN]
    power = np.abs(sent) ** 2
    row = {
        "system": "ldeepsc",
        "scheme": point["scheme"],
        "constellation_bits": point["bits"],
        "points": len(np.unique(sent)) if point["bits"] else None,
        "power": float(power.mean()),
        "peak_to_average_db": float(10 * np.log10(power.max() / power.mean())),
        "symbols": np.round(np.stack([shown.real, shown.imag], 1), 4).tolist(),
        "n": len(lines),
        "seed": point["seed"],
        "paper": None,
    }
    return [row]


def draw(figure: Figure, rows: list[Row]) -> None:
    figure.set_size_inches(2.4 * len(rows), 2.8)
    reach = 1.1 * max(np.abs(row["symbols"]).max() for row in rows)
    for axis, row in zip(figure.subplots(1, len(rows), sharey=True), rows, strict=True):
        real, imaginary = np.array(row["symbols"]).T
        axis.plot(real, imaginary, ".", ms=1.5, alpha=0.4, color=plots.COLOURS[0])
        axis.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
        axis.set_title(row["scheme"])
