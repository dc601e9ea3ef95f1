# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn experiment``: reproduces a figure or a table of a paper."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from phydnn.cli.eval import Cluster, Workers
from phydnn.errors import InputError


def experiment(
    name: Annotated[str, typer.Argument(help="Which one; a name of --list, or a .py file.")] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="The short form, on the embedded digits.")
    ] = False,
    data: Annotated[str, typer.Option(help="The full form's data set: cifar10:DIR.")] = "",
    train: Annotated[
        bool, typer.Option("--train", help="Train anew what is otherwise a bundle that ships.")
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of the experiment's options.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where finished points and training are kept.")] = Path(
        "runs/experiments"
    ),
    workers: Workers = 1,
    cluster: Cluster = "",
    json: Annotated[
        Path | None,
        typer.Option(
            help="The result, its picture beside it (default: testbed/results/NAME.json, or "
            "RUNS/NAME_quick.json)."
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the experiments.")] = False,
) -> None:
    """Measure an experiment's points, write its rows as JSON and draw them.

    A point that is finished is never measured again, so a run that was killed goes on where it
    was. The numbers do not depend on the number of workers.
    """
    from rich.console import Console
    from rich.logging import RichHandler
    from rich.progress import Progress, TimeElapsedColumn
    from rich.table import Table

    from phydnn import experiments
    from phydnn.experiments.report import table

    console = Console(stderr=True)
    if list_:
        known = [experiments.load(known) for known in experiments.available()]
        width = max((len(each.name) for each in known), default=0)
        for each in known:
            print(f"{each.name:<{width}}  {each.title}")
            for option, default in each.options.items():
                print(f"{'':<{width}}    --set {option}={default}")
        return
    if not name:
        raise InputError("name an experiment: phydnn experiment --list shows them")
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_path=False)],
    )
    if quick:
        logging.getLogger("phydnn.train").setLevel(logging.WARNING)
    chosen = experiments.load(name)
    settings = experiments.Settings(
        quick=quick,
        data=data,
        train=train,
        folder=runs / chosen.name,
        options=experiments.read_options(chosen, set_ or []),
    )
    committed = experiments.RESULTS / f"{chosen.name}.json"
    out = json or (runs / f"{chosen.name}_quick.json" if quick else committed)
    if quick and data:
        raise InputError(f"--quick is on the embedded digits: leave out --data {data}")
    if quick and out.resolve() == committed.resolve():
        raise InputError(f"{out} holds the full form's results: give --json another file")
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        bar = bars.add_task(chosen.name, total=None)
        result = experiments.run(
            chosen,
            settings,
            out,
            workers,
            cluster,
            lambda done, total: bars.update(bar, completed=done, total=total),
        )
    common, headings, lines = table(result["rows"])
    shown = Table(title=chosen.title + (", quick form" if quick else ""))
    for heading in headings:
        shown.add_column(heading, overflow="fold")
    for line in lines:
        shown.add_row(*line)
    # A table that is cut to nothing tells nothing: let it run over the edge.
    needed = Console(width=1000).measure(shown).maximum
    Console(width=max(Console().width, needed)).print(shown)
    print("; ".join(f"{heading}: {value}" for heading, value in common.items()))
    print(f"{out} and {out.with_suffix('.png')}")
