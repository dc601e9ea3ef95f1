# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Fig. 9 of the PhyDNN paper: what a batch costs the device in energy, computing and radio."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn import waveform
from phydnn.experiments import Point, Row, Settings, baselines, plots

TITLE = "Fig. 9: the device's energy, computing and radio"
SOURCE = (
    "M. Abdi et al., PhyDNNs: Bringing Deep Neural Networks to the Physical Layer, Fig. 9, on a "
    "Jetson Orin Nano: up to 13 times less power. Here computing is measured where this machine "
    "has a meter, and modelled elsewhere; the radio is always modelled, from its time on air"
)
VERSION = 1
OPTIONS: dict[str, Any] = baselines.OPTIONS | {"meter": "auto", "seconds": 5.0, "idle_s": 5.0}

BATCH = 64
PAPER = {"SC": {"energy_ratio": 13.0}}
RECEIVED = ("mac_acks", "tcp_acks")
WAITED = ("difs", "backoff", "sifs")


def points(settings: Settings) -> list[Point]:
    """One point: what is measured is measured in one run."""
    options = OPTIONS | settings.options
    quick: dict[str, Any] = {"meter": "model"} if settings.quick else {}
    chosen = {name: options[name] for name in ("meter", "seconds", "idle_s")} | quick
    return [
        baselines.point(settings)
        | {"condition": "LoS", "channel": baselines.LOS, "snr_db": float(options["snr_db"])}
        | chosen
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    from phydnn import datasets, energy
    from phydnn.bundle import open_session

    schemes = baselines.prepare(point, folder)
    first = next(s.bundle for s in schemes if s.system == "phydnn")
    assert first is not None
    loss = waveform.mean_loss(baselines.response(point["channel"], point["seed"]), point["snr_db"])
    images = datasets.load(point["data"], "test")
    x = baselines.repeated(images, BATCH).x
    meter, model = energy.open(point["meter"]), energy.Model()
    if meter.method == "measured":
        meter.measure_idle(point["idle_s"])
    rows: list[Row] = []
    for scheme in schemes:
        radio, carrier = _radio(scheme, loss)
        with model:
            model.account("radio", tx_s=radio[0], rx_s=radio[1], idle_s=radio[2])
        radio_j = model.energy.joules
        head, batches = open_session(scheme.head, threads=1), 1
        with meter:
            if meter.method == "measured":
                batches = _repeat(head, x, point["seconds"])
            else:
                meter.account("head", macs=BATCH * (scheme.macs or schemes[0].macs or 0))
        found = meter.energy
        above = found.joules if found.above_idle is None else found.above_idle
        row = baselines.about(scheme, point, first) | {
            "carrier": carrier,
            "batch": BATCH,
            **{name: point[name] for name in ("condition", "channel", "snr_db")},
            "compute_mj": 1e3 * above / batches,
            "compute": f"{found.method}, {found.scope}"
            + ("" if found.idle_watts is None else f", above {found.idle_watts:.2f} W idle"),
            "radio_mj": 1e3 * radio_j,
            "radio": "modelled, watts times seconds of transmitting, receiving and waiting",
            "air_ms": 1e3 * sum(radio),
            **found.record(),
            "paper": PAPER.get(scheme.name) if images.name.startswith("cifar10") else None,
        }
        rows.append(row | {"total_mj": row["compute_mj"] + row["radio_mj"]})
    base = next(row for row in rows if row["system"] == "phydnn")
    for row in rows:
        row["energy_ratio"] = row["total_mj"] / base["total_mj"]
    return rows


def _radio(scheme: baselines.Scheme, loss: Any) -> tuple[tuple[float, float, float], str]:
    """Seconds that the device's radio transmits, receives and waits."""
    if scheme.bundle is not None:
        carried = waveform.carry_symbols(BATCH * scheme.bundle.uses)
        return (carried.seconds, 0.0, 0.0), "waveform"
    link, sent = baselines.over_wifi(round(BATCH * scheme.payload), loss)
    parts = sent.seconds_by_part
    received, waited = (sum(parts[name] for name in names) for names in (RECEIVED, WAITED))
    transmitted = sent.seconds - received - waited
    return (transmitted, received, waited), f"802.11a, {link.rate} Mb/s"


def _repeat(session: Any, x: Any, seconds: float) -> int:
    """Runs the head for so long, and says how often."""
    import time

    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        session.run(None, {"images": x})
        count += 1
    return count


def draw(figure: Figure, rows: list[Row]) -> None:
    axis = figure.subplots()
    names = [row["scheme"] for row in rows]
    compute = "measured" if rows[0]["compute"].startswith("measured") else "modelled"
    series = [
        ("compute_mj", plots.COLOURS[0], f"head's computing, {compute}"),
        ("radio_mj", plots.COLOURS[1], "radio, modelled"),
    ]
    baselines.bars(axis, rows, names, series)
    texts = {
        i: (
            max(row["compute_mj"], row["radio_mj"]),
            f"{baselines.short(row['total_mj'])} mJ, {baselines.short(row['energy_ratio'])}x"
            + (f" (paper: power, up to {row['paper']['energy_ratio']:g}x)" if row["paper"] else ""),
        )
        for i, row in enumerate(rows)
    }
    baselines.note(axis, texts, 10)
    axis.set(xlabel=f"mJ a batch of {BATCH}, on the device")
    axis.set_title(f"{rows[0]['dataset']}, office with line of sight, {rows[0]['snr_db']:g} dB")
    figure.legend(loc="outside lower center", ncols=2)
