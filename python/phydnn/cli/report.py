# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn report``: every experiment's results beside the papers', in one HTML page."""

import logging
from pathlib import Path
from typing import Annotated

import typer


def report(
    out: Annotated[Path, typer.Option(help="The folder of index.html and the pictures.")] = Path(
        "out/report"
    ),
    results: Annotated[
        Path | None, typer.Option(help="The folder of the JSON files (default: testbed/results).")
    ] = None,
) -> None:
    """Draw all measured experiments beside the papers' numbers: one page with nothing to fetch."""
    from phydnn import experiments
    from phydnn.experiments.report import build

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    page, count = build(results or experiments.RESULTS, out)
    print(f"{page}: {count} experiment{'s' if count != 1 else ''}")
