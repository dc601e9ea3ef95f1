# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Table I of the PhyDNN paper: what each scheme sends, over either carrier, byte by byte."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from phydnn import ns3, waveform
from phydnn.experiments import Point, Row, Settings, baselines, plots

logger = logging.getLogger(__name__)

TITLE = "Table I: what each scheme sends, all of an image: over our waveform, and 802.11a with TCP"
SOURCE = (
    "M. Abdi et al., PhyDNNs: Bringing Deep Neural Networks to the Physical Layer, Table I. Its "
    "content was not at hand: counted under its name is what each scheme puts on air"
)
VERSION = 1
OPTIONS: dict[str, Any] = baselines.OPTIONS

BATCH = 64
TRANSFERS = 10
"""In ns-3."""


def points(settings: Settings) -> list[Point]:
    options = baselines.OPTIONS | settings.options
    if reason := ns3.missing():
        logger.warning("left out, the second tier of Wi-Fi: %s", reason)
    place = {"channel": "awgn", "snr_db": float(options["snr_db"]), "ns3": not reason}
    return [baselines.point(settings) | place]


def measure(point: Point, folder: Path) -> list[Row]:
    from phydnn import baselines as codecs
    from phydnn import datasets
    from phydnn.bundle import open_session

    schemes = baselines.prepare(point, folder)
    first = next(s.bundle for s in schemes if s.system == "phydnn")
    assert first is not None
    images = baselines.repeated(datasets.load(point["data"], "test"), BATCH)
    loss = waveform.mean_loss(np.ones((1, 1), np.complex64), point["snr_db"])
    rows: list[Row] = []
    for scheme in schemes:
        (values,) = open_session(scheme.head, threads=1).run(None, {"images": images.x})
        data = scheme.pack(values)
        common = baselines.about(scheme, point, first) | {
            "channel": point["channel"],
            "snr_db": point["snr_db"],
            "bytes_deflated": codecs.coded(data) / BATCH,
        }
        score = {
            "accuracy": scheme.score["accuracy"],
            "ci95": scheme.score["accuracy_ci95"],
            "n": scheme.score["n"],
            "macs": scheme.macs,
            "params": scheme.params,
            "paper": None,
        }
        if scheme.bundle is None:
            carried = waveform.carry_bytes(len(data), loss)
        else:
            carried = waveform.carry_symbols(BATCH * scheme.bundle.uses)
        link, sent = baselines.over_wifi(len(data), loss)
        rows += [
            common
            | {
                "carrier": "waveform",
                "how": carried.scheme or "points of the dictionary",
                "uses_on_air": carried.uses / BATCH,
                "samples": carried.samples / BATCH,
                "air_ms": 1e3 * carried.seconds / BATCH,
            }
            | score,
            common
            | {
                "carrier": "802.11a and TCP",
                "how": f"{link.rate} Mb/s",
                "bytes_on_air": sent.bytes_on_air / BATCH,
                "air_ms": 1e3 * sent.delivered / BATCH,
                **(_simulated(len(data), link.rate, point) if point["ns3"] else {}),
            }
            | score,
        ]
    return rows


def _simulated(payload: int, rate: int, point: Point) -> Row:
    """The same transfer in ns-3."""
    runs = ns3.deliver(payload, rate, point["snr_db"], TRANSFERS, point["seed"])
    return {
        "air_ms_ns3": 1e3 * float(np.mean([run.seconds for run in runs])) / BATCH,
        "bytes_on_air_ns3": float(np.mean([run.bytes_on_air for run in runs])) / BATCH,
    }


def draw(figure: Figure, rows: list[Row]) -> None:
    carriers = plots.group(rows, "carrier")
    names = list(plots.group(rows, "scheme"))
    left, right = figure.subplots(1, 2, sharey=True)
    first = carriers["waveform"]
    series = [
        ("bytes", plots.COLOURS[0], "as they are"),
        ("bytes_deflated", plots.COLOURS[5], "after DEFLATE"),
    ]
    baselines.bars(left, first, names, series)
    baselines.note(
        left, {i: (row["bytes"], f"{row['bytes']:,g}") for i, row in enumerate(first)}, 12
    )
    left.set(xlabel="payload, bytes an image")
    merged = [
        {"scheme": name}
        | {row["carrier"]: row["air_ms"] for row in mine}
        | {"ns-3": next((row["air_ms_ns3"] for row in mine if "air_ms_ns3" in row), None)}
        for name, mine in plots.group(rows, "scheme").items()
    ]
    air = [
        ("waveform", plots.COLOURS[1], "our waveform"),
        ("802.11a and TCP", plots.COLOURS[2], "802.11a and TCP, model"),
        ("ns-3", plots.COLOURS[3], "802.11a and TCP, ns-3"),
    ]
    baselines.bars(right, merged, names, air)
    right.set(xlabel=f"air, ms an image of a batch of {BATCH}")
    for axis in (left, right):
        axis.legend(loc="lower right")
    figure.suptitle(
        f"{rows[0]['dataset']}, AWGN, {rows[0]['snr_db']:g} dB: the payload, and its time",
        fontsize=10,
    )
