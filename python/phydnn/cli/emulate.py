# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn emulate``: the channel emulator."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from phydnn.errors import InputError, RunError


class DeadPeer(StrEnum):
    """What to do when a node sends or takes no samples."""

    stall = "stall"
    zero = "zero"
    fail = "fail"


def emulate(
    scenario: Annotated[
        str, typer.Argument(help="A file, CaST's folder, or a name that --list shows.")
    ] = "",
    list_: Annotated[bool, typer.Option("--list", help="List the scenarios that ship.")] = False,
    describe: Annotated[
        bool, typer.Option("--describe", help="Show the scenario's links, and end.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw taps and gains there, as PNG, and end.")
    ] = None,
    convert: Annotated[
        Path | None,
        typer.Option(help="Write the scenario there, .json, .h5, .mat or CaST's folder, and end."),
    ] = None,
    link: Annotated[
        str, typer.Option(help="For CaST's folder, the link TRANSMITTER:RECEIVER.")
    ] = "",
    snr: Annotated[
        float | None, typer.Option(help="Set the noise for this Es/N0 of the best link, in dB.")
    ] = None,
    mchem: Annotated[
        bool | None,
        typer.Option(help="Hold taps to what Colosseum's MCHEM can do (default: the scenario's)."),
    ] = None,
    duration: Annotated[
        float, typer.Option(min=0, help="Seconds of samples to emulate, at least; 0: no end.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of noise and fading.")] = 0,
    dead_peer: Annotated[
        DeadPeer, typer.Option(help="When a node falls silent: wait, send zeros on, or fail.")
    ] = DeadPeer.stall,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds of silence before zero or fail.")
    ] = 5.0,
    first_port: Annotated[
        int, typer.Option(help="First of the ports dealt to nodes that name none.")
    ] = 5550,
    transmits: Annotated[
        list[str] | None,
        typer.Option(help="NODE=ENDPOINT at which it answers with its samples; none: it is mute."),
    ] = None,
    receives: Annotated[
        list[str] | None,
        typer.Option(help="NODE=ENDPOINT at which to serve it; none: it is deaf."),
    ] = None,
    control: Annotated[
        str, typer.Option(help="Endpoint for live control, such as tcp://127.0.0.1:5549.")
    ] = "",
    replay: Annotated[
        Path | None, typer.Option(help="Make the changes of an earlier run's --json again.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write counts and changes there at the end.")
    ] = None,
) -> None:
    """Emulate the channels between nodes that speak srsRAN's ZeroMQ protocol.

    Each node answers requests for its samples at an endpoint, and asks for the channel's output at
    another; --describe shows them. Sample count is the only clock: the slowest node sets the pace.
    Ctrl-C or SIGTERM ends it, with the counts.
    """
    from rich.console import Console

    from phydnn import scenario as scenarios

    console = Console()
    if list_:
        console.print(_table_of_shipped())
        return
    if not scenario:
        raise InputError("give a scenario, or --list")
    emulated = scenarios.load(scenario)
    if snr is not None:
        emulated = emulated.with_snr(snr)
    if mchem is not None:
        emulated = dataclasses.replace(emulated, mchem=mchem)
    emulated = _with_endpoints(emulated, transmits or [], receives or [])
    if describe or picture is not None or convert is not None:
        if describe:
            _describe(console, emulated, first_port)
        if picture is not None:
            from phydnn.channel_plots import draw_scenario
            from phydnn.results import write_bytes

            write_bytes(picture, draw_scenario(emulated))
        if convert is not None:
            ends = link.split(":")
            if link and len(ends) != 2:
                raise InputError(f"--link {link}: write TRANSMITTER:RECEIVER")
            scenarios.save(emulated, convert, (ends[0], ends[1]) if link else None)
        return
    if json is not None and json.is_dir():
        raise InputError(f"cannot write {json}: it is a folder")
    options = {"seed": seed, "dead_peer": dead_peer.value, "timeout_s": timeout}
    with _signals() as told:
        engine = build(emulated, first_port, **options)
        counts, failure = _run(console, engine, emulated, control, replay, duration, told)
    console.print(_table_of_counts(counts))
    if json is not None:
        from phydnn.results import provenance, write_json

        settings = {"scenario": emulated.name, "seed": seed, "dead_peer": dead_peer.value}
        write_json(json, settings | counts | provenance())
    if failure:
        raise RunError(failure)


def build(scenario: Any, first_port: int = 5550, **options: Any) -> Any:
    """The emulator block of a scenario.

    Args:
        scenario: a :class:`phydnn.scenario.Scenario`.
        first_port: of those dealt to nodes.
        options: of ``gnuradio.phydnn.emulator``.

    Raises:
        RunError: the blocks are not installed.
        InputError: an endpoint is wrong or taken.
    """
    try:
        from gnuradio import gr, phydnn
    except ImportError as error:
        raise RunError(
            f"the GNU Radio blocks cannot be imported ({error}): run ./phydnn doctor"
        ) from error
    gr.logging().set_default_level(gr.log_levels.warn)
    arguments = scenario.emulator_arguments(first_port)
    nodes = [phydnn.emulator_node(**node) for node in arguments.pop("nodes")]
    try:
        return phydnn.emulator(nodes=nodes, **arguments, **options)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"scenario {scenario.name}: {error}") from error


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM, as they come; from before the slow imports, which they would break."""
    told: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: told.append(number)) for number in numbers]
    try:
        yield told
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _run(
    console: Any,
    engine: Any,
    scenario: Any,
    control: str,
    replay: Path | None,
    duration: float,
    told: list[int],
) -> tuple[dict[str, Any], str]:
    """Runs the engine until it is told to stop; the counts, and why it failed, if it did."""
    from rich.live import Live
    from rich.text import Text

    from phydnn.emulation import Control, status_line

    server = Control(control, engine, scenario)
    failure = ""
    try:
        if replay is not None:
            server.replay(replay)
        try:
            engine.start()
        except (ValueError, RuntimeError) as error:
            raise InputError(f"scenario {scenario.name}: {error}") from error
        try:
            with Live(console=console, refresh_per_second=4, transient=True) as live:
                while not (told or server.stopped or engine.wait(0 if control else 0.1)):
                    if control:
                        server.serve(0.1)
                    status = engine.status()
                    live.update(Text(status_line(status)))
                    if duration and status["seconds"] >= duration:
                        break
        except RuntimeError as error:
            failure = str(error)
        engine.stop()
    finally:
        server.close()
    return engine.status() | {"changes": server.changes}, failure


def _with_endpoints(scenario: Any, transmits: list[str], receives: list[str]) -> Any:
    """The scenario with the nodes' endpoints as the options NODE=ENDPOINT have them."""
    nodes = list(scenario.nodes)
    for field, options in (("transmits", transmits), ("receives", receives)):
        for option in options:
            name, equals, endpoint = option.partition("=")
            if not equals:
                raise InputError(f"--{field} {option}: write NODE=ENDPOINT")
            i = scenario.index(name)
            nodes[i] = dataclasses.replace(nodes[i], **{field: endpoint})
    return dataclasses.replace(scenario, nodes=tuple(nodes))


def _table_of_shipped() -> Any:
    from rich.table import Table

    from phydnn import scenario as scenarios

    table = Table(title="scenarios that ship")
    table.add_column("name", no_wrap=True)
    for column in ("nodes", "links", "taps", "s"):
        table.add_column(column, justify="right")
    table.add_column("what it is", overflow="fold")
    for path in scenarios.shipped():
        shipped = scenarios.load(str(path))
        table.add_row(
            path.stem,
            str(len(shipped.nodes)),
            str(len(shipped.links())),
            str(int((shipped.gains != 0).sum(axis=3).max())),
            f"{shipped.times_s[-1]:g}",
            shipped.description.split(". ")[0].rstrip("."),
        )
    return table


def _describe(console: Any, scenario: Any, first_port: int) -> None:
    from rich.table import Table

    from phydnn import scenario as scenarios

    console.print(f"{scenario.name}: {scenario.description}", highlight=False, markup=False)
    density = scenario.noise_density_dbm_hz
    console.print(
        f"{scenario.sample_rate_hz / 1e6:g} MS/s at {scenario.centre_frequency_hz / 1e9:g} GHz; "
        f"base loss {scenario.base_loss_db:g} dB, boost {scenario.boost_db:g} dB, "
        + ("no noise" if density is None else f"noise {density:.2f} dBm/Hz")
        + f"; {len(scenario.times_s)} times to {scenario.times_s[-1]:g} s"
        + ("; MCHEM" if scenario.mchem else ""),
        highlight=False,
    )
    nodes = Table(title="nodes: transmit power at 0 dBFS, full scale, noise figure", box=None)
    for column in ("node", "transmits", "receives"):
        nodes.add_column(column, no_wrap=True)
    for column in ("power\ndBm", "full\ndBm", "NF\ndB"):
        nodes.add_column(column, justify="right", no_wrap=True)
    for node, (transmits, receives) in zip(
        scenario.nodes, scenario.endpoints(first_port), strict=True
    ):
        levels = (node.transmit_power_dbm, node.full_scale_dbm, node.noise_figure_db)
        nodes.add_row(
            node.name, transmits or "-", receives or "-", *(f"{level:g}" for level in levels)
        )
    console.print(nodes)
    links = Table(title="links at time 0, of a transmitter at 0 dBFS")
    links.add_column("link", overflow="fold")
    for column in ("delays\nns", "gains\ndB", "phases\ndegrees"):
        links.add_column(column, justify="right")
    for column in ("received\ndBm", "received\ndBFS", "Es/N0\ndB"):
        links.add_column(column, justify="right", no_wrap=True)
    for row in scenarios.rows(scenario):
        links.add_row(
            f"{row['transmitter']} \N{RIGHTWARDS ARROW} {row['receiver']}",
            "\n".join(f"{value:.1f}" for value in row["delays_ns"]),
            "\n".join(f"{value:.2f}" for value in row["gains_db"]),
            "\n".join(f"{value:.1f}" for value in row["phases_deg"]),
            *(f"{row[key]:.1f}" for key in ("received_dbm", "received_dbfs", "snr_db")),
        )
    console.print(links)


def _table_of_counts(counts: dict[str, Any]) -> Any:
    from rich.table import Table

    from phydnn.emulation import TROUBLES

    table = Table(
        title=f"{counts['state']}: {counts['seconds']:.6g} s emulated, {counts['samples']} samples "
        f"in {counts['wall_s']:.1f} s"
    )
    table.add_column("node")
    nodes = counts["nodes"]
    troubles = [key for key in TROUBLES if any(node[key] for node in nodes)]
    keys = ["samples_in", "samples_out", *troubles]
    for key in keys:
        table.add_column(key.replace("_", " "), justify="right")
    for node in nodes:
        table.add_row(node["name"], *(str(node[key]) for key in keys))
    return table
