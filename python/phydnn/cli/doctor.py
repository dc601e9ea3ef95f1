# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn doctor``."""

from pathlib import Path
from typing import Annotated

import typer

import phydnn.doctor


def doctor(
    json: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Also write the report as JSON.")
    ] = None,
) -> None:
    """Say what is installed, what is wrong, and the command that mends it.

    Looks and changes nothing. Exit status 1 where something that is needed is wrong; what is only
    needed for training, testing or a radio is marked with a dash.
    """
    raise typer.Exit(phydnn.doctor.run(json))
