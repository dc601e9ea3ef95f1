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
    transmitter: Annotated[str, typer.Option(help="The node to send as [first of a link].")] = "",
    receiver: Annotated[str, typer.Option(help="The node to receive as.")] = "",
    transmits: Annotated[
        str, typer.Option(help="Endpoint to send at [the transmitter's in the scenario].")
    ] = "",
    receives: Annotated[
        str, typer.Option(help="Endpoint to receive from [the receiver's in the scenario].")
    ] = "",
    first_port: Annotated[
        int, typer.Option(help="First of the ports dealt to nodes that name none.")
    ] = 5550,
    sample_rate: Annotated[
        float, typer.Option(help="Samples per second of an unknown link.")
    ] = 20e6,
    snr: Annotated[
        float | None, typer.Option(help="With loopback, the link's Es/N0 in dB.")
    ] = None,
    mchem: Annotated[
        bool | None, typer.Option(help="With loopback, hold taps to what MCHEM can do.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="With loopback, of noise and fading.")] = 0,
    length: Annotated[int, typer.Option(help="Samples of the sequence.")] = 1024,
    periods: Annotated[int, typer.Option(help="Periods to average over.")] = 64,
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
    ends = (0, 0)
    if known is not None:
        ends = _ends(known, transmitter, receiver)
        sample_rate = known.sample_rate_hz
        if snr is not None:
            known = known.with_snr(snr, ends)
    if link is Link.loopback:
        if known is None:
            raise InputError("--link loopback needs a scenario to emulate")
        received = _loopback(known, ends, wanted, length, amplitude, seed)
    else:
        if known is not None:
            dealt = known.endpoints(first_port)
            transmits = transmits or dealt[ends[0]][0]
            receives = receives or dealt[ends[1]][1]
        if not transmits or not receives:
            raise InputError("--link zmq needs --transmits and --receives, or a scenario with them")
        received = sounder.exchange(
            transmits,
            receives,
            wanted,
            length=length,
            amplitude=amplitude,
            timeout_s=timeout,
        )
    found = sounder.estimate(received, sample_rate, length, amplitude, taps)
    exact = None
    if known is not None:
        used = known.gains[0][ends] != 0
        scale = 10 ** (known.link_db()[ends] / 20)
        exact = known.delays_ns[0][ends][used], known.gains[0][ends][used] * scale
    rows = _rows(found, exact)
    name = _name(known, ends)
    Console().print(_table(found, rows, name))
    if out is not None:
        scenarios.save(_scenario(found, known, ends, sample_rate), out)
    if json is not None:
        record = {
            "link": link.value,
            "name": name,
            "taps": rows,
            "snr_db": found.snr_db,
            "noise": found.noise,
            "cfo_hz": found.cfo_hz,
            "sfo_ppm": found.sfo_ppm,
            "residual_db": found.residual_db,
            "samples": wanted,
            "seed": seed,
        }
        write_json(json, record | provenance())
    if plot is not None:
        from phydnn.channel_plots import draw_sounding

        write_bytes(plot, draw_sounding(found, name, exact))


def _ends(scenario: Scenario, transmitter: str, receiver: str) -> tuple[int, int]:
    """The link to sound: as named, or the first that fits what is named."""
    wanted = [scenario.index(name) if name else None for name in (transmitter, receiver)]
    if wanted[0] is not None and wanted[1] is not None:
        return wanted[0], wanted[1]
    for ends in scenario.links():
        if all(one in (None, end) for one, end in zip(wanted, ends, strict=True)):
            return ends
    raise InputError(f"scenario {scenario.name} has no link to sound: it has no taps")


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
    sent = np.zeros((len(nodes), more), np.complex64)
    period = sounder.sequence(length) * np.float32(amplitude)
    sent[ends[0]] = np.resize(period, more)
    received = engine.run(list(sent))[ends[1]]
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


def _table(found: Sounding, rows: list[dict[str, Any]], name: str) -> Any:
    from rich.table import Table

    table = Table(
        title=f"{name}\nSNR {found.snr_db:.1f} dB, N0 {10 * math.log10(found.noise):.1f} dBFS, "
        f"CFO {found.cfo_hz:.2f} Hz, SFO {found.sfo_ppm:.3f} ppm, "
        f"left over {found.residual_db:.1f} dB"
    )
    columns = {"delay_ns": "delay\nns", "gain_db": "gain\ndB", "phase_deg": "phase\ndegrees"}
    if "exact_delay_ns" in rows[0]:
        columns |= {
            "exact_delay_ns": "exact delay\nns",
            "exact_gain_db": "exact gain\ndB",
            "delay_error_ns": "delay error\nns",
            "gain_error_db": "gain error\ndB",
            "phase_error_deg": "phase error\ndegrees",
        }
    for title in columns.values():
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(*(f"{row[key] + 0.0:.3f}" for key in columns))
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
