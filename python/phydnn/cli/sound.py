# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn sound``: the channel sounder."""

from __future__ import annotations

import dataclasses
import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phydnn.errors import InputError, RunError

if TYPE_CHECKING:
    from phydnn.scenario import Scenario
    from phydnn.sounder import Sounding


class Link(StrEnum):
    """Where the link is."""

    loopback = "loopback"
    zmq = "zmq"


def sound(
    scenario: Annotated[
        str, typer.Argument(help="The scenario that is emulated; empty: an unknown link.")
    ] = "",
    link: Annotated[
        Link, typer.Option(help="loopback: an emulator in this process; zmq: through sockets.")
    ] = Link.loopback,
    transmitter: Annotated[
        str, typer.Option(help="The node to send as (default: first of a link).")
    ] = "",
    receiver: Annotated[str, typer.Option(help="The node to receive as.")] = "",
    all_links: Annotated[
        bool, typer.Option("--all", help="With loopback, all links of the scenario in turn.")
    ] = False,
    transmits: Annotated[
        str, typer.Option(help="Endpoint to send at (default: the scenario's).")
    ] = "",
    receives: Annotated[
        str, typer.Option(help="Endpoint to receive from (default: the scenario's).")
    ] = "",
    first_port: Annotated[
        int, typer.Option(help="First of the ports dealt to nodes that name none.")
    ] = 5550,
    sample_rate: Annotated[
        float, typer.Option(help="Samples per second of an unknown link.")
    ] = 20e6,
    snr: Annotated[
        float | None, typer.Option(help="With loopback, each link's Es/N0 in dB.")
    ] = None,
    mchem: Annotated[
        bool | None, typer.Option(help="With loopback, hold taps to what MCHEM can do.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="With loopback, of noise and fading.")] = 0,
    length: Annotated[int, typer.Option(help="Samples of the sequence.")] = 1024,
    periods: Annotated[int, typer.Option(help="Periods to average over.")] = 256,
    amplitude: Annotated[
        float, typer.Option(min=1e-6, max=1e3, help="To send with, 1: 0 dBFS.")
    ] = 1.0,
    taps: Annotated[int, typer.Option(min=1, max=16, help="Most taps to find.")] = 8,
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds without a sample.")] = 10.0,
    out: Annotated[
        Path | None, typer.Option(help="Write the link as a scenario, .json, .h5 or .mat.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write the taps and their errors there.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the response and the taps, PNG.")] = None,
) -> None:
    """Measure a link's taps: delays in ns, gains in dB, phases.

    A Zadoff-Chu sequence is sent over and over; delays are resolved much finer than a sample. With
    a scenario, its exact taps stand beside what was found. The link must hold still meanwhile.
    """
    from rich.console import Console

    from phydnn import scenario as scenarios
    from phydnn import sounder
    from phydnn.results import provenance, write_bytes, write_json

    known = scenarios.load(scenario) if scenario else None
    if known is not None and mchem is not None:
        known = dataclasses.replace(known, mchem=mchem)
    wanted = sounder.samples_needed(length, periods)
    if link is Link.zmq and all_links:
        raise InputError("--all needs --link loopback: over sockets there is one link")
    if known is None:
        if link is Link.loopback:
            raise InputError("--link loopback needs a scenario to emulate")
        links = [(0, 1)]
    else:
        sample_rate = known.sample_rate_hz
        links = known.links() if all_links else [_ends(known, transmitter, receiver)]
        if not links:
            raise InputError(f"scenario {known.name} has no link to sound: it has no taps")

    records = []
    console = Console()
    for ends in links:
        if link is Link.loopback:
            assert known is not None
            noisy = known if snr is None else known.with_snr(snr, ends)
            received = _loopback(noisy, ends, wanted, length, amplitude, seed)
        else:
            if known is not None:
                dealt = known.endpoints(first_port)
                transmits = transmits or dealt[ends[0]][0]
                receives = receives or dealt[ends[1]][1]
            if not transmits or not receives:
                raise InputError(
                    "--link zmq needs --transmits and --receives, or a scenario with them"
                )
            received = sounder.exchange(
                transmits,
                receives,
                wanted,
                length=length,
                amplitude=amplitude,
                timeout_s=timeout,
            )
        found = sounder.estimate(received, sample_rate, length, amplitude, taps)
        exact = _exact(known, ends)
        name = _name(known, ends)
        record = {
            "name": name,
            "taps": _rows(found, exact),
            "taps_exact": None if exact is None else len(exact[0]),
            "resolvable": exact is not None and _apart(exact[0] * 1e-9 * sample_rate),
            "snr_db": found.snr_db,
            "noise": found.noise,
            "cfo_hz": found.cfo_hz,
            "sfo_ppm": found.sfo_ppm,
            "residual_db": found.residual_db,
        }
        records.append(record)
        if not all_links:
            console.print(_table(record))
            if out is not None:
                scenarios.save(_scenario(found, known, ends, sample_rate), out)
            if plot is not None:
                from phydnn.channel_plots import draw_sounding

                write_bytes(plot, draw_sounding(found, name, exact))
    settings = {"link": link.value, "samples": wanted, "seed": seed}
    summary = _summary(records) if all_links else records[0]
    if all_links:
        console.print(_table_of_links(summary))
    if json is not None:
        write_json(json, settings | summary | provenance())


def _exact(known: Scenario | None, ends: tuple[int, int]) -> Any:
    """Delays (ns) and gains, from sample to sample, that a known link has at time 0; or None."""
    if known is None:
        return None
    used = known.gains[0][ends] != 0
    scale = 10 ** (known.link_db()[ends] / 20)
    return known.delays_ns[0][ends][used], known.gains[0][ends][used] * scale


def _apart(samples: Any) -> bool:
    """Whether delays in samples lie far enough apart to be told apart."""
    import numpy as np

    from phydnn.sounder import RESOLUTION

    return bool((np.diff(np.sort(samples)) >= RESOLUTION).all())


def _summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """All links, and the largest errors of those whose taps lie far enough apart."""
    apart = [record for record in records if record["resolvable"]]

    def worst(key: str) -> float | None:
        return max((abs(tap[key]) for record in apart for tap in record["taps"]), default=None)

    return {
        "links": records,
        "links_resolvable": len(apart),
        "taps_missed": sum(abs(len(one["taps"]) - one["taps_exact"]) for one in apart),
        "delay_error_ns": worst("delay_error_ns"),
        "gain_error_db": worst("gain_error_db"),
        "phase_error_deg": worst("phase_error_deg"),
    }


def _table_of_links(summary: dict[str, Any]) -> Any:
    from rich.table import Table

    apart, missed = summary["links_resolvable"], summary["taps_missed"]
    table = Table(
        title=f"{apart} of {len(summary['links'])} links have taps far enough apart:\n{missed} "
        f"missed or too many, errors up to {summary['delay_error_ns'] or 0:.3f} ns and "
        f"{summary['gain_error_db'] or 0:.3f} dB"
    )
    table.add_column("link")
    for column in ("taps", "found", "SNR\ndB", "delay error\nns", "gain error\ndB"):
        table.add_column(column, justify="right")
    for record in summary["links"]:
        errors = [
            f"{max(abs(tap[key]) for tap in record['taps']):.3f}" if record["resolvable"] else "-"
            for key in ("delay_error_ns", "gain_error_db")
        ]
        counts = (str(record["taps_exact"]), str(len(record["taps"])))
        name = record["name"].split(": ")[-1]
        table.add_row(name, *counts, f"{record['snr_db']:.1f}", *errors)
    return table


def _ends(scenario: Scenario, transmitter: str, receiver: str) -> tuple[int, int]:
    """The link to sound: as named, or the first that fits what is named."""
    wanted = [scenario.index(name) if name else None for name in (transmitter, receiver)]
    if wanted[0] is not None and wanted[1] is not None:
        return wanted[0], wanted[1]
    for ends in scenario.links():
        if all(one in (None, end) for one, end in zip(wanted, ends, strict=True)):
            return ends
    raise InputError(f"scenario {scenario.name} has no link to sound between these nodes")


def _loopback(
    scenario: Scenario, ends: tuple[int, int], wanted: int, length: int, amplitude: float, seed: int
) -> Any:
    """What the receiver gets of the sequence, emulated in this process: complex64 [wanted]."""
    import numpy as np

    from phydnn import sounder
    from phydnn.cli.emulate import build

    # All nodes take part, the others silently; no socket is opened.
    nodes = tuple(
        dataclasses.replace(node, transmits=None, receives=None) for node in scenario.nodes
    )
    engine = build(dataclasses.replace(scenario, nodes=nodes), seed=seed)
    more = wanted + 4 * length  # what interpolators look ahead
    sent: list[Any] = [None] * len(nodes)
    sent[ends[0]] = np.resize(sounder.sequence(length) * np.float32(amplitude), more)
    received = engine.run(sent)[ends[1]]
    if len(received) < wanted:
        raise RunError(f"the emulator made {len(received)} samples of {wanted}")
    return np.asarray(received[:wanted])


def _rows(found: Sounding, exact: Any) -> list[dict[str, Any]]:
    """A row a tap, with the scenario's nearest one and the errors where there is one."""
    import numpy as np

    rows = []
    for delay, gain in zip(found.delays_ns, found.gains, strict=True):
        row = {
            "delay_ns": float(delay),
            "gain_db": float(20 * np.log10(abs(gain))),
            "phase_deg": float(np.rad2deg(np.angle(gain))),
        }
        if exact is not None and len(exact[0]):
            nearest = int(np.abs(exact[0] - delay).argmin())
            ratio = gain / exact[1][nearest]
            row |= {
                "exact_delay_ns": float(exact[0][nearest]),
                "exact_gain_db": float(20 * np.log10(abs(exact[1][nearest]))),
                "delay_error_ns": float(delay - exact[0][nearest]),
                "gain_error_db": float(20 * np.log10(abs(ratio))),
                "phase_error_deg": float(np.rad2deg(np.angle(ratio))),
            }
        rows.append(row)
    return rows


def _name(scenario: Scenario | None, ends: tuple[int, int]) -> str:
    if scenario is None:
        return "link"
    names = " \N{RIGHTWARDS ARROW} ".join(scenario.nodes[end].name for end in ends)
    return f"{scenario.name}: {names}"


def _table(record: dict[str, Any]) -> Any:
    from rich.table import Table

    rows = record["taps"]
    noise = f"{10 * math.log10(record['noise']):.1f} dBFS" if record["noise"] > 1e-30 else "none"
    table = Table(
        title=f"{record['name']}\nSNR {record['snr_db']:.1f} dB, noise {noise}, "
        f"CFO {record['cfo_hz']:.2f} Hz, SFO {record['sfo_ppm']:.3f} ppm, "
        f"left over {record['residual_db']:.1f} dB"
    )
    columns = {"delay_ns": "delay\nns", "gain_db": "gain\ndB", "phase_deg": "phase\ndegrees"}
    if "exact_delay_ns" in rows[0]:
        columns |= {
            "exact_delay_ns": "exact\nns",
            "exact_gain_db": "exact\ndB",
            "delay_error_ns": "error\nns",
            "gain_error_db": "error\ndB",
            "phase_error_deg": "error\ndegrees",
        }
    for title in columns.values():
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(*(f"{round(row[key], 3) + 0.0:.3f}" for key in columns))
    return table


def _scenario(
    found: Sounding, known: Scenario | None, ends: tuple[int, int], sample_rate: float
) -> Scenario:
    """The link as a scenario of two nodes, at the known one's levels, or at 0 dBm everywhere."""
    import numpy as np

    from phydnn.scenario import Node, Scenario

    if known is None:
        base = Scenario(
            "sounded",
            (Node("transmitter"), Node("receiver")),
            np.zeros((1, 2, 2, 1)),
            np.zeros((1, 2, 2, 1), np.complex128),
            sample_rate_hz=sample_rate,
        )
        nodes = base.nodes
    else:
        base = known
        nodes = tuple(known.nodes[end] for end in ends)
        if nodes[0] == nodes[1]:
            nodes = (nodes[0], dataclasses.replace(nodes[0], name="itself"))
    level = float(base.link_db()[ends if known is not None else (0, 1)])
    gains = np.zeros((1, 2, 2, len(found.gains)), np.complex128)
    gains[0, 0, 1] = found.gains * 10 ** (-level / 20)
    # A strongest tap above 0 dB is no passive path: what is more goes into the boost.
    boost = max(0.0, 20 * math.log10(float(np.abs(gains).max())))
    delays = np.zeros(gains.shape)
    delays[0, 0, 1] = np.maximum(found.delays_ns, 0)
    density = 10 * math.log10(max(found.noise, 1e-30) / sample_rate) + nodes[1].full_scale_dbm
    return Scenario(
        name=f"{base.name}-sounded"[:100] if known is not None else "sounded",
        nodes=tuple(
            dataclasses.replace(node, cfo_hz=cfo, sfo_ppm=sfo, phase_noise_hz=0.0)
            for node, cfo, sfo in zip(nodes, (0.0, found.cfo_hz), (0.0, found.sfo_ppm), strict=True)
        ),
        delays_ns=delays,
        gains=gains * 10 ** (-boost / 20),
        sample_rate_hz=sample_rate,
        centre_frequency_hz=base.centre_frequency_hz,
        base_loss_db=base.base_loss_db,
        boost_db=base.boost_db + boost,
        noise_density_dbm_hz=max(-300.0, density - nodes[1].noise_figure_db),
        line_ns=max(base.line_ns, float(delays.max())),
        description="A link as the channel sounder found it, with the receiver's offsets.",
    )
