# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""What a bundle should be trained for: one Es/N0 or a range of them, AWGN or fading."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.experiments import ROOT, Point, Row, Settings, inference, plots

TITLE = "One bundle for a range of Es/N0 against one for each; trained for AWGN against for fading"
SOURCE = (
    "Beside M. Abdi et al., PhyDNNs: Bringing Deep Neural Networks to the Physical Layer, which "
    "trains one network for each Es/N0, over AWGN; every row is trained here from the same backbone"
)
VERSION = 1
OPTIONS: dict[str, Any] = inference.OPTIONS | {"seeds": 1, "epochs": 0, "limit": 0}
"""Epochs of each network and images to train on: 0 for the recipe's, and for all."""

RANGE = (4.0, 20.0)
SNRS_DB = (4.0, 8.0, 12.0, 16.0, 20.0)
OFFICE = ROOT / "testbed" / "scenarios" / "office_nlos_taps.json"
CHANNELS = {
    "AWGN": "awgn",
    "flat Rayleigh fading": "rayleigh",
    "office, no line of sight": f"tdl:{OFFICE}",
}


def points(settings: Settings) -> list[Point]:
    seeds = 1 if settings.quick else settings.options["seeds"]
    snrs_db = SNRS_DB[::2] if settings.quick else SNRS_DB
    short = {name: settings.options[name] for name in ("epochs", "limit") if settings.options[name]}
    everywhere = [[name, snr_db] for name in CHANNELS for snr_db in snrs_db]
    awgn = [["AWGN", snr_db] for snr_db in snrs_db]
    return [
        inference.train_point(
            settings,
            f"{name}, {low:g} dB" if low == high else f"{name}, {low:g} to {high:g} dB",
            {"channel": CHANNELS[name], "snr_low": low, "snr_high": high} | short,
            seed=seed,
        )
        | {"conditions": everywhere if low < high else awgn}
        for seed in range(1, seeds + 1)
        for name, low, high in [
            *((name, *RANGE) for name in CHANNELS),
            *(("AWGN", snr_db, snr_db) for snr_db in snrs_db),
        ]
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    conditions = [(CHANNELS[name], snr_db) for name, snr_db in point["conditions"]]
    rows = inference.of_training(point | {"conditions": conditions}, folder)
    # A file's path means nothing to those who read the result.
    names = {spec: name for name, spec in CHANNELS.items()}
    return [row | {"channel": names[row["channel"]]} for row in rows]


def draw(figure: Figure, rows: list[Row]) -> None:
    figure.set_size_inches(8.4, 3.8)
    colours = dict(zip(plots.group(rows, "scheme"), 2 * plots.COLOURS, strict=False))
    channels = plots.group(rows, "channel")
    axes = figure.subplots(1, len(channels), sharey=True)
    for axis, (name, here) in zip(axes, channels.items(), strict=True):
        for scheme, line in plots.group(here, "scheme").items():
            seeds = [plots.percent(runs) for runs in plots.group(line, "snr_db").values()]
            snrs_db = list(plots.group(line, "snr_db"))
            value = [accuracy.mean() for accuracy, _ in seeds]
            reach = [[ends[i].mean() for _, ends in seeds] for i in (0, 1)]
            axis.errorbar(
                snrs_db, value, reach, color=colours[scheme], elinewidth=1, ms=4,
                marker="o" if " to " in scheme else "x", ls="-" if " to " in scheme else ":",
                label=scheme if axis is axes[0] else None,
            )  # fmt: skip
        axis.axhline(100 * here[0]["a0"], color=plots.GREY, lw=1, ls="--")
        axis.set(title=f"over {name}", xlabel=plots.ES_N0, xticks=snrs_db)
    axes[0].set_ylabel("accuracy (%)")
    axes[0].plot([], [], color=plots.GREY, lw=1, ls="--", label="uncompressed")
    figure.legend(loc="outside lower center", ncols=3, title="trained for")
