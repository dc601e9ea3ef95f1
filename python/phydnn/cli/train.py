# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn train``: trains a backbone, or adapts one to the physical layer."""

import logging
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Train a backbone or a PhyDNN; resumes by itself.")

Recipe = Annotated[str, typer.Option("--config", help="A TOML file, or digits or cifar10.")]
Overrides = Annotated[list[str], typer.Option("--set", help="key=value; may be repeated.")]
Data = Annotated[str, typer.Option(help="The data set, in place of the recipe's.")]
Out = Annotated[Path | None, typer.Option(help="The run's folder [default: runs/RECIPE].")]


@app.command()
def backbone(
    config: Recipe = "digits",
    set_: Overrides = [],  # noqa: B006
    data: Data = "",
    out: Out = None,
) -> None:
    """Train an uncompressed network into OUT/backbone."""
    from phydnn import train

    _show_log()
    settings = [*set_, *([f"data={data}"] if data else [])]
    chosen = train.read_config(train.BackboneConfig, "backbone", config, settings)
    print(train.train_backbone(chosen, _folder(out, config) / "backbone"))


@app.command()
def phydnn(
    config: Recipe = "digits",
    set_: Overrides = [],  # noqa: B006
    data: Data = "",
    out: Out = None,
) -> None:
    """Adapt a backbone into OUT/phydnn; one is trained into OUT/backbone first if there is none."""
    from phydnn import train

    _show_log()
    place = [f"data={data}"] if data else []
    chosen = train.read_config(train.PhydnnConfig, "phydnn", config, [*set_, *place])
    weights = Path(chosen.weights or _folder(out, config) / "backbone" / "best.safetensors")
    if not chosen.weights:
        threads = f"threads={chosen.threads}"
        base = train.read_config(train.BackboneConfig, "backbone", config, [*place, threads])
        weights = train.train_backbone(base, _folder(out, config) / "backbone")
    print(train.train_phydnn(chosen, weights, _folder(out, config) / "phydnn"))


def _folder(out: Path | None, config: str) -> Path:
    return out or Path("runs") / Path(config).stem


def _show_log() -> None:
    from rich.logging import RichHandler

    logging.basicConfig(
        level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)]
    )
