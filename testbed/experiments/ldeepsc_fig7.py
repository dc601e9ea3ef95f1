# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 7 of the L-DeepSC paper: mean squared error of channel estimates over Es/N0."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.errors import InputError
from phydnn.experiments import Point, Row, Settings, csi, plots

TITLE = "Fig. 7: error of the channel estimates, and what it costs"
SOURCE = (
    "H. Xie, Z. Qin, A Lite Distributed Semantic Communication System for Internet of Things, "
    "IEEE JSAC 2021, Fig. 7, where LS, MMSE and the network's estimates of flat fades are set "
    "side by side; its numbers were not at hand. The channels here are those of our waveform; the "
    "accuracies are of a PhyDNN over them"
)
VERSION = 1
OPTIONS: dict[str, Any] = {
    "bundle": "csi-adnet",
    "classifier": "",
    "frames": 200,
    "images": 0,
    "seed": 1,
}
SNR_DB = (0.0, 5.0, 10.0, 20.0)
USES = (65536, 28672, 1024)
QUICK_CHANNELS = ("flat Rayleigh", "TDL-C 100 ns")
DATA = {"digits": "phydnn-resnet20-digits", "cifar10": "phydnn-resnet20-cifar10-1024x16"}
LIMIT = 128
"""Images of the quick form."""


def points(settings: Settings) -> list[Point]:
    options = OPTIONS | settings.options
    from phydnn.csi import CsiBundle

    bundle = CsiBundle.load(options["bundle"])
    named = {"bundle": bundle.name, "id": bundle.id, "seed": int(options["seed"])}
    found: list[Point] = [
        {
            "channel": channel,
            "snr_db": snr_db,
            "uses": uses,
            "frames": 10 if settings.quick else int(options["frames"]),
            **named,
        }
        for channel in (QUICK_CHANNELS if settings.quick else csi.CHANNELS)
        for snr_db in ((0.0, 10.0) if settings.quick else SNR_DB)
        for uses in (USES[:1] if settings.quick else USES)
    ]
    data = settings.data or "digits"
    kind = data.partition(":")[0]
    classifier = options["classifier"] or DATA.get(kind)
    if classifier is None:
        raise InputError(f"no bundle for '{kind}': name one with --set classifier=BUNDLE")
    found.append(
        {
            "data": data,
            "classifier": classifier,
            "channel": "TDL-C 100 ns",
            "snr_db": 8.0,
            "limit": LIMIT if settings.quick else int(options["images"]),
            **named,
        }
    )
    return found


def measure(point: Point, folder: Path) -> list[Row]:
    return csi.accuracies(point) if "data" in point else csi.errors(point)


def draw(figure: Figure, rows: list[Row]) -> None:
    simulated = [row for row in rows if "mse_db" in row and row["channel_uses"] == USES[0]]
    channels = plots.group(simulated, "channel")
    columns = min(3, len(channels))
    lines = -(-len(channels) // columns)
    figure.set_size_inches(3.2 * columns, 2.7 * lines + 0.9)
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, (channel, mine) in zip(axes, channels.items(), strict=False):
        for i, (scheme, line) in enumerate(plots.group(mine, "scheme").items()):
            ours = scheme.startswith("refined")
            axis.plot(
                [row["snr_db"] for row in line],
                [row["mse_db"] for row in line],
                color=plots.COLOURS[i],
                marker=plots.MARKERS[i],
                ls="-" if ours else "--",
                label=scheme,
            )
        axis.set_title(channel)
    for axis in axes[len(channels) :]:
        axis.set_visible(False)
    pilots = simulated[0]["pilots"]
    figure.supxlabel(plots.ES_N0, fontsize=9)
    figure.supylabel(f"mean squared error (dB), frames of {pilots} DMRS", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
