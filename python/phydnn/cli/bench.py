# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn bench``: the waveform's figures and the throughput, each beside its requirement."""

import importlib
import os
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from phydnn.errors import InputError

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Section(StrEnum):
    """What can be measured."""

    sync = "sync"
    waveform = "waveform"
    kernels = "kernels"
    link = "link"
    emulator = "emulator"
    training = "training"
    all = "all"


RADIO = (Section.sync, Section.waveform, Section.kernels, Section.link, Section.emulator)
"""What needs no torch."""


def bench(
    section: Annotated[Section, typer.Argument(help="What to measure.")] = Section.all,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer trials: all sections in less than a minute.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures and curves there.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the curves there: a .png, .pdf or .svg.")
    ] = None,
) -> None:
    """Measure, and print each figure beside the requirement that it has to meet.

    sync: detection, false alarms, carrier offset, header loss, determinism. waveform: losses on
    long payloads and in multipath, efficiency, samples per second of processor time. kernels: each
    C++ kernel against its NumPy reference, on one thread. link: images per second with both ends
    in one process. emulator: samples per second through its sockets, peers included. training: a
    step of an adaptation over one of the uncompressed network; it needs torch, so it runs only when
    named.

    A requirement that is missed is shown as missed; the exit status is 0 all the same. Seeds are
    fixed; times depend on the machine and on what else it does.
    """
    for name in THREADS:  # before NumPy starts: one thread for both sides of each comparison
        os.environ[name] = "1"
    from rich.console import Console

    from phydnn.results import provenance, write_json

    if picture is not None and picture.suffix not in (".png", ".pdf", ".svg"):
        raise InputError(f"--picture {picture}: end the name in .png, .pdf or .svg")
    if picture is not None and not picture.resolve().parent.is_dir():
        raise InputError(f"--picture {picture}: the folder is missing, make it first")
    try:
        from gnuradio.phydnn.bench import Report
    except ImportError as error:
        raise InputError(
            f"bench needs the GNU Radio blocks, run ./phydnn doctor: {error}"
        ) from error

    console = Console()
    report = Report()
    if section is Section.training:
        report.add(_training(quick))
    for name in RADIO:
        if section in (name, Section.all):
            module = importlib.import_module(f"gnuradio.phydnn.bench.{name.value}")
            report.add(module.measure(quick, _track))
    console.print(_table(report, quick))
    if json is not None:
        figures = [figure.as_dict() for figure in report.figures]
        write_json(json, {"figures": figures, "curves": report.curves} | provenance())
    if picture is not None:
        from gnuradio.phydnn.bench.plots import draw

        draw(report, picture)


def _training(quick: bool) -> Any:
    from gnuradio.phydnn.bench import Figure, Report
    from phydnn.train.bench import step_seconds

    own, adapted, batch = step_seconds(quick, _track)
    note = f"resnet20, batch {batch}: {1e3 * adapted:.0f} ms over {1e3 * own:.0f} ms"
    ratio = Figure("training_step_over_backbone", adapted / own, "", 1.25, at_most=True, note=note)
    return Report([ratio], {})


def _track(steps: Sequence[Any], name: str) -> Iterable[Any]:
    """Progress on stderr where that is a terminal, gone when done."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(steps, name, console=console, transient=True, disable=not console.is_terminal)


def _table(report: Any, quick: bool) -> Any:
    from rich.table import Table

    table = Table(title="bench, quick form" if quick else "bench")
    table.add_column("figure", overflow="fold")
    for column in ("value", "bar", "met"):
        table.add_column(column, justify="right", no_wrap=True)
    for figure in report.figures:
        sense = "≤" if figure.at_most else "≥"
        table.add_row(
            f"{figure.name}\n[dim]{figure.note}[/]" if figure.note else figure.name,
            f"{figure.value:.4g} {figure.unit}",
            "" if figure.bar is None else f"{sense} {figure.bar:g}",
            {True: "[green]yes[/]", False: "[red]NO[/]", None: ""}[figure.met],
        )
    return table
