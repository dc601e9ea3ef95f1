# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 7 of the PhyDNN paper: the office over Es/N0, accuracy and air time of every scheme."""

import functools
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn import waveform
from phydnn.errors import InputError
from phydnn.experiments import Point, Row, Settings, baselines, plots

TITLE = "Fig. 7: accuracy and air time in the office over Es/N0"
SOURCE = (
    "M. Abdi et al., PhyDNNs: Bringing Deep Neural Networks to the Physical Layer, Fig. 7. What it "
    "shows was not at hand: measured under its name is each scheme's accuracy, and the air time "
    "that it takes, in the channel models of the office"
)
VERSION = 1
OPTIONS: dict[str, Any] = baselines.OPTIONS | {"limit": 2000}

BATCH = 64
TITLES = {"LoS": "office, line of sight", "NLoS": "office, no line of sight"}


def points(settings: Settings) -> list[Point]:
    common = baselines.point(settings)
    limit = 0 if settings.quick else int((OPTIONS | settings.options)["limit"])
    return [
        common | {"condition": name, "channel": spec, "snr_db": float(snr), "limit": limit}
        for name, spec in (("LoS", baselines.LOS), ("NLoS", baselines.NLOS))
        for snr in range(4, 21, 8 if settings.quick else 4)
    ]


@functools.lru_cache(maxsize=8)
def _simulation(path: Path, data: str, limit: int) -> Any:
    from phydnn import datasets
    from phydnn.bundle import Bundle
    from phydnn.evaluate import Simulation

    bundle = Bundle.load(path)
    images = datasets.load(data, "test", bundle.input_shape)
    return Simulation(bundle, images.take(slice(limit)) if limit else images, threads=1)


def measure(point: Point, folder: Path) -> list[Row]:
    schemes = baselines.prepare(point, folder)
    first = next(s.bundle for s in schemes if s.system == "phydnn")
    assert first is not None
    loss = waveform.mean_loss(baselines.response(point["channel"], point["seed"]), point["snr_db"])
    rows: list[Row] = []
    for scheme in schemes:
        row = baselines.about(scheme, point, first) | {
            name: point[name] for name in ("condition", "channel", "snr_db")
        }
        if scheme.bundle is None:
            row |= _bits(scheme, loss)
        else:
            simulation = _simulation(scheme.bundle.path, point["data"], point["limit"])
            with baselines.channel_file(point["channel"]) as spec:
                found = simulation.run(point["snr_db"], spec, point["seed"])
            carried = waveform.carry_symbols(BATCH * scheme.bundle.uses)
            row |= {
                "carrier": "waveform",
                "air_ms": 1e3 * carried.seconds,
                "accuracy": found["accuracy"],
                "ci95": found["accuracy_ci95"],
                "n": found["n"],
            }
        rows.append(row | {"paper": None})
    return rows


def _bits(scheme: baselines.Scheme, loss: Any) -> Row:
    """TCP delivers every byte, if some rate gets through at all."""
    score = scheme.score
    row: Row = {
        "carrier": "802.11a and TCP",
        "accuracy": score["accuracy"],
        "ci95": score["accuracy_ci95"],
        "n": score["n"],
    }
    try:
        link, sent = baselines.over_wifi(round(BATCH * scheme.payload), loss)
    except InputError:
        return row | {"air_ms": None, "accuracy": None, "ci95": None}
    return row | {"rate_mbps": link.rate, "air_ms": 1e3 * sent.delivered}


def draw(figure: Figure, rows: list[Row]) -> None:
    figure.set_size_inches(7.6, 5.2)
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    for column, (condition, mine) in enumerate(plots.group(rows, "condition").items()):
        above, below = axes[0][column], axes[1][column]
        for (name, line), colour, marker in zip(
            plots.group(mine, "scheme").items(), plots.COLOURS, plots.MARKERS, strict=False
        ):
            there = [row for row in line if row["accuracy"] is not None]
            snr = [row["snr_db"] for row in there]
            value, reach = plots.percent(there)
            wifi = there and there[0]["carrier"] != "waveform"
            style: dict[str, Any] = {
                "color": colour, "marker": marker, "ls": "--" if wifi else "-", "ms": 4
            }  # fmt: skip
            above.errorbar(snr, value, reach, label=name, **style)
            below.plot(snr, [row["air_ms"] for row in there], label=name, **style)
        above.set_title(TITLES[condition], fontsize=9)
        below.set(yscale="log", xlabel=plots.ES_N0, xticks=sorted({row["snr_db"] for row in mine}))
    axes[0][0].set_ylabel("accuracy (%)")
    axes[1][0].set_ylabel(f"air, ms a batch of {BATCH}")
    handles, labels = axes[1][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6)
    figure.suptitle(
        f"{rows[0]['dataset']}; solid: our waveform, no retransmission; dashed: 802.11a and TCP",
        fontsize=10,
    )
