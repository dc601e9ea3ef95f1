# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn advise``: where a network can be split, and what each point costs."""

from pathlib import Path
from typing import Annotated

import typer

from phydnn.errors import InputError


def advise(
    model: Annotated[
        str, typer.Option(help="resnet20, resnet56, resnet110 or package.module:builder.")
    ] = "",
    weights: Annotated[
        Path | None,
        typer.Option(help="The model's weights; without --model, a checkpoint or a run's folder."),
    ] = None,
    data: Annotated[str, typer.Option(help="The data set, for its images' shape.")] = "",
    shape: Annotated[str, typer.Option(help="The images' shape C,H,W, in place of --data.")] = "",
    batch: Annotated[int, typer.Option(min=1, help="Images a batch, for the latencies.")] = 1,
    efficiency: Annotated[float, typer.Option(help="Channel uses a sample on air.")] = 0.7277,
    rate: Annotated[float, typer.Option(help="Samples per second.")] = 20e6,
    device_gmacs: Annotated[
        float, typer.Option(help="The device's 1e9 MACs per second (default: measured here).")
    ] = 0.0,
    edge_gmacs: Annotated[
        float, typer.Option(help="The edge's 1e9 MACs per second (default: measured here).")
    ] = 0.0,
    json: Annotated[Path | None, typer.Option(help="Write the points there.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw latent size against head MACs there, as PNG.")
    ] = None,
) -> None:
    """List every point at which a network can be split: MACs, latent size, channel uses, latency.

    A star marks a point where no other with as small a latent has a cheaper head. What a split
    does to accuracy only training tells: later points lose less, at a price to the device.
    """
    import dataclasses
    import math

    from rich.console import Console
    from rich.table import Table

    from phydnn import advise, datasets
    from phydnn.results import provenance, write_bytes, write_json

    size = _shape(shape) if shape else None
    if data:
        _, *sides = datasets.load(data, "test", size).x.shape
        size = (sides[0], sides[1], sides[2])
    network, name = advise.load(model, weights, size)
    if size is None:
        raise InputError("give --data, or the images' --shape C,H,W")
    points = advise.survey(
        network,
        size,
        batch=batch,
        efficiency=efficiency,
        sample_rate=rate,
        device_gmacs=device_gmacs,
        edge_gmacs=edge_gmacs,
    )
    console = Console()
    console.print(f"Points to split {name} at, for images of {'x'.join(map(str, size))}:")
    # As narrow as it can be, for a terminal of 80 columns.
    table = Table(box=None, pad_edge=False)
    table.add_column("split", min_width=12, overflow="fold")
    table.add_column("latent", no_wrap=True)
    for column in ("values", "uses", "MMACs", "%", "k par.", "head", "air", "tail", "ms"):
        table.add_column(column, justify="right", no_wrap=True)
    for p in points:
        table.add_row(
            f"{p.point} *" if p.suggested else p.point,
            "x".join(map(str, p.latent)),
            str(p.values),
            str(p.uses),
            f"{p.macs / 1e6:.3g}",
            f"{100 * p.macs_share:.0f}",
            f"{p.parameters / 1e3:.1f}",
            *(
                f"{ms:.2f}" if ms < 100 else f"{ms:.0f}"
                for ms in (p.head_ms, p.air_ms, p.tail_ms, p.total_ms)
            ),
            style="bold" if p.suggested else "",
        )
    console.print(table)
    how = [
        f"{side} at {gmacs:g} GMAC/s" if gmacs else f"{side} as measured here with torch"
        for side, gmacs in (("head", device_gmacs), ("tail", edge_gmacs))
    ]
    console.print(
        "MACs, their share and parameters are the head's, uses are for an image without a "
        f"bottleneck. Latency in ms of a batch of {batch}: {', '.join(how)}, air at "
        f"{rate / 1e6:g} MS/s and {efficiency:g} uses a sample. * no point with so small a latent "
        "has a cheaper head."
    )
    rows = [
        {"model": name, "image_values": math.prod(size), **dataclasses.asdict(p)} for p in points
    ]
    if json is not None:
        settings = {
            "model": name,
            "shape": size,
            "batch": batch,
            "efficiency": efficiency,
            "sample_rate": rate,
            "device_gmacs": device_gmacs or None,
            "edge_gmacs": edge_gmacs or None,
        }
        write_json(json, settings | {"points": rows} | provenance())
    if plot is not None:
        from phydnn.experiments import plots

        write_bytes(plot, plots.picture(advise.draw, rows))


def _shape(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) for part in parts):
        raise InputError(f"--shape {text}: write C,H,W, such as 3,32,32")
    channels, height, width = map(int, parts)
    return channels, height, width
