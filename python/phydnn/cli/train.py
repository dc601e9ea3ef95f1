# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn train``: trains a backbone, adapts one to the physical layer, or trains a baseline."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from phydnn.train.config import Config

app = typer.Typer(
    no_args_is_help=True, help="Train a backbone, a PhyDNN or a baseline; resumes by itself."
)

Recipe = Annotated[str, typer.Option("--config", help="A TOML file, or digits or cifar10.")]
Overrides = Annotated[list[str], typer.Option("--set", help="key=value; may be repeated.")]
Data = Annotated[str, typer.Option(help="The data set, in place of the recipe's.")]
Out = Annotated[Path | None, typer.Option(help="The run's folder (default: runs/RECIPE).")]


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
    chosen = _recipe(train.BackboneConfig, "backbone", config, set_, data=data)
    print(train.train_backbone(chosen, _folder(out, config) / "backbone"))


@app.command()
def phydnn(
    config: Recipe = "digits",
    set_: Overrides = [],  # noqa: B006
    data: Data = "",
    out: Out = None,
    model: Annotated[
        str, typer.Option(help="Your own network, package.module:builder, with --weights.")
    ] = "",
    weights: Annotated[
        Path | None,
        typer.Option(help="Its weights (safetensors or torch), or a checkpoint of train backbone."),
    ] = None,
    mean: Annotated[
        list[float] | None,
        typer.Option(help="Your network's pixel mean, 0 to 1, once a channel (default: data's)."),
    ] = None,
    std: Annotated[
        list[float] | None,
        typer.Option(help="Its standard deviation, likewise (default: the data's)."),
    ] = None,
    split: Annotated[str, typer.Option(help="The submodule to cut after; see advise.")] = "",
    uses: Annotated[
        int, typer.Option(min=0, help="Channel uses an image, through a bottleneck; 0: recipe's.")
    ] = 0,
) -> None:
    """Adapt a backbone into OUT/phydnn; one is trained into OUT/backbone first if there is none."""
    from phydnn import train
    from phydnn.errors import InputError

    _show_log()
    chosen = _recipe(train.PhydnnConfig, "phydnn", config, set_, data=data, split=split, uses=uses)
    folder = _folder(out, config)
    if model:
        if weights is None:
            raise InputError(f"--model {model} comes without --weights: give its checkpoint")
        base = train.import_backbone(
            model, weights, chosen.data, folder / "backbone", mean or [], std or []
        )
    else:
        base = _backbone(weights, chosen, config, data, folder)
    print(train.train_phydnn(chosen, base, folder / "phydnn"))


@app.command()
def bottlefit(
    config: Recipe = "digits",
    set_: Overrides = [],  # noqa: B006
    data: Data = "",
    out: Out = None,
    weights: Annotated[
        Path | None, typer.Option(help="The backbone's checkpoint (default: the run's own).")
    ] = None,
    kernels: Annotated[int, typer.Option(min=0, help="Of the bottleneck; 0: recipe's.")] = 0,
) -> None:
    """Train BottleFit around a backbone, in two stages, into OUT/matching and OUT/finetuning."""
    from phydnn.train import baselines

    _show_log()
    kind = baselines.BottlefitConfig
    chosen = _recipe(kind, "bottlefit", config, set_, data=data, kernels=kernels)
    folder = _folder(out, config)
    base = _backbone(weights, chosen, config, data, folder)
    print(baselines.train_bottlefit(chosen, base, folder))


@app.command()
def dtjscc(
    config: Recipe = "digits",
    set_: Overrides = [],  # noqa: B006
    data: Data = "",
    out: Out = None,
    model: Annotated[
        str, typer.Option(help="package.module:builder (default: the data's own).")
    ] = "",
) -> None:
    """Train DT-JSCC from nothing into OUT/phydnn; `phydnn export --run OUT` makes a bundle."""
    from phydnn import train
    from phydnn.train import baselines

    _show_log()
    chosen = _recipe(train.PhydnnConfig, "dtjscc", config, set_, data=data)
    small = chosen.data.partition(":")[0] == "digits"
    builder = model or f"phydnn.baselines:dtjscc_{'digits' if small else 'cifar10'}"
    print(baselines.train_dtjscc(chosen, builder, _folder(out, config)))


@app.command()
def airnet(
    config: Recipe = "airnet",
    set_: Overrides = [],  # noqa: B006
    data: Data = "",
    out: Out = None,
    weights: Annotated[
        Path | None, typer.Option(help="The unpruned network (default: the run's own).")
    ] = None,
    bandwidth: Annotated[
        int, typer.Option(min=0, help="Channel uses of one delivery; 0: recipe's.")
    ] = 0,
) -> None:
    """Prune a network to a bandwidth and train it for delivery over the air, into OUT/airnet."""
    from phydnn.train import airnet as airnets

    _show_log()
    chosen = _recipe(airnets.AirnetConfig, "airnet", config, set_, data=data, bandwidth=bandwidth)
    folder = _folder(out, config)
    base = _backbone(weights, chosen, config, data, folder)
    print(airnets.train_airnet(chosen, base, folder / "airnet"))


@app.command()
def deepsc(
    config: Recipe = "europarl",
    set_: Overrides = [],  # noqa: B006
    data: Data = "",
    out: Out = None,
) -> None:
    """Train a semantic transceiver for sentences into OUT/deepsc."""
    from phydnn.train.deepsc import DeepscConfig, train_deepsc

    _show_log()
    chosen = _recipe(DeepscConfig, "deepsc", config, set_, data=data)
    print(train_deepsc(chosen, _folder(out, config) / "deepsc"))


@app.command()
def csi(config: Recipe = "csi", set_: Overrides = [], out: Out = None) -> None:  # noqa: B006
    """Train a channel state denoiser on simulated frames, into OUT/wiener or OUT/adnet."""
    from phydnn.train.csi import CsiConfig, train_csi

    _show_log()
    chosen = _recipe(CsiConfig, "csi", config, set_)
    print(train_csi(chosen, _folder(out, config) / chosen.network))


def _recipe(
    kind: type[Config], table: str, config: str, set_: list[str], **options: str | int
) -> Config:
    """A recipe's table with the command's options, those that were given, in place of its own."""
    from phydnn import train

    given = [f"{name}={value}" for name, value in options.items() if value]
    return train.read_config(kind, table, config, [*set_, *given])


def _backbone(weights: Path | None, chosen: Any, config: str, data: str, folder: Path) -> Path:
    """The backbone's checkpoint that was named, or the run's own, trained first if need be."""
    from phydnn import train

    if weights is not None or chosen.weights:
        return weights or Path(chosen.weights)
    threads = [f"threads={chosen.threads}"]
    settings = _recipe(train.BackboneConfig, "backbone", config, threads, data=data)
    return train.train_backbone(settings, folder / "backbone")


def _folder(out: Path | None, config: str) -> Path:
    return out or Path("runs") / Path(config).stem


def _show_log() -> None:
    from rich.logging import RichHandler

    logging.basicConfig(
        level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)]
    )
