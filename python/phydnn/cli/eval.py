# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn eval``: a bundle's accuracy over Es/N0, simulated symbol by symbol."""

from pathlib import Path
from typing import Annotated

import typer

from phydnn.errors import InputError

Workers = Annotated[int, typer.Option(min=1, help="Processes of one thread each.")]
Cluster = Annotated[
    str, typer.Option(metavar="ADDRESS", help="A Dask scheduler, such as tcp://host:8786.")
]

KEYS = ("accuracy", "accuracy_ci95", "snr_db")
"""What differs between the points of a sweep: single values for one point, lists for more."""


def eval(
    bundle: Annotated[
        str,
        typer.Option(
            help="A bundle's folder, or the name of one that ships; or a backbone's checkpoint, "
            "FILE.safetensors, which is scored uncompressed."
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="digits, cifar10:DIR, cifar100:DIR, images:DIR, text:FILE, europarl:DIR."
        ),
    ],
    snr: Annotated[list[float], typer.Option(help="Es/N0 in dB; more may follow it.")] = [12.0],  # noqa: B006
    more: Annotated[list[float] | None, typer.Argument(metavar="[SNR]...", hidden=True)] = None,
    channel: Annotated[str, typer.Option(help="awgn, rayleigh, rician:K or tdl:FILE.")] = "awgn",
    decision: Annotated[
        str, typer.Option(help="hard or soft lookup (default: the bundle's).")
    ] = "",
    csi: Annotated[str, typer.Option(help="Of text: perfect, refined, ls or none.")] = "perfect",
    beam: Annotated[int, typer.Option(min=1, help="Of text: width of the decoder's beam.")] = 1,
    limit: Annotated[
        int, typer.Option(min=0, help="Only the first so many images or lines; 0: all.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the fades and the noise.")] = 1,
    workers: Workers = 1,
    cluster: Cluster = "",
    json: Annotated[Path | None, typer.Option(help="Write the results there.")] = None,
) -> None:
    """Simulate a bundle over Es/N0 with ideal synchronisation, without GNU Radio."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from phydnn import datasets
    from phydnn.bundle import PhydnnBundle, load
    from phydnn.evaluate import sweep
    from phydnn.results import provenance, write_json

    points = [*snr, *(more or [])]
    if not all(-100 <= point <= 100 for point in points):
        raise InputError(f"--snr {' '.join(map(str, points))}: give Es/N0 between -100 and 100 dB")
    if bundle.endswith(".safetensors"):
        _eval_backbone(Path(bundle), data, limit, json)
        return
    loaded = load(bundle)
    if loaded.SYSTEM == "ldeepsc":
        _eval_text(bundle, data, points, channel, csi, beam, limit, seed, workers, cluster, json)
        return
    if not isinstance(loaded, PhydnnBundle):
        raise InputError(f"{loaded.name} is a bundle of {loaded.SYSTEM}, which eval does not score")
    images = datasets.load(data, "test", loaded.input_shape)
    backbone = loaded.meta["metrics"].get("backbone", {})
    same_kind = data.partition(":")[0] == loaded.meta["dataset"]["name"]
    comparable = same_kind and not limit and len(images) == backbone.get("n")
    if limit:
        images = images.take(slice(limit))
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(loaded.name, total=len(points))
        rows = sweep(
            loaded,
            images,
            points,
            channel,
            seed,
            decision or None,
            workers,
            cluster,
            lambda: bars.advance(bar),
        )

    table = Table(title=f"{loaded.name}, {len(images)} images, {channel}, simulated")
    for column in ("Es/N0", "accuracy", "95 % interval"):
        table.add_column(column, justify="right")
    for row in rows:
        low, high = row["accuracy_ci95"]
        table.add_row(f"{row['snr_db']:g} dB", f"{row['accuracy']:.4f}", f"{low:.4f} to {high:.4f}")
    if comparable:
        low, high = backbone["accuracy_ci95"]
        table.add_row("uncompressed", f"{backbone['accuracy']:.4f}", f"{low:.4f} to {high:.4f}")
    Console().print(table)
    if json is not None:
        result = dict(rows[0])
        if len(rows) > 1:
            result |= {key: [row[key] for row in rows] for key in KEYS}
        result |= {"bundle": loaded.name, "bundle_id": loaded.id, "data": data}
        if comparable:
            result["backbone_accuracy"] = backbone["accuracy"]
        write_json(json, result | provenance())


def _eval_backbone(path: Path, data: str, limit: int, json: Path | None) -> None:
    from phydnn import datasets, evaluate, train
    from phydnn.results import provenance, write_json

    network = train.load_backbone(path)
    images = datasets.load(data, "test")
    found = evaluate.backbone(network, images.take(slice(limit)) if limit else images)
    low, high = found["accuracy_ci95"]
    print(
        f"{path.stem}, uncompressed, {found['n']} images: "
        f"accuracy {found['accuracy']:.4f} ({low:.4f} to {high:.4f})"
    )
    if json is not None:
        write_json(json, found | {"backbone": path.stem, "data": data} | provenance())


def _eval_text(
    bundle: str,
    data: str,
    points: list[float],
    channel: str,
    csi: str,
    beam: int,
    limit: int,
    seed: int,
    workers: int,
    cluster: str,
    json: Path | None,
) -> None:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from phydnn import text
    from phydnn.evaluate_text import sweep
    from phydnn.results import provenance, write_json
    from phydnn.text_bundle import TextBundle

    loaded = TextBundle.load(bundle)
    lines = text.load(data)
    lines = lines[:limit] if limit else lines
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(loaded.name, total=len(points))
        rows = sweep(
            loaded,
            lines,
            points,
            channel,
            seed,
            csi,
            beam,
            workers,
            cluster,
            lambda: bars.advance(bar),
        )
    table = Table(title=f"{loaded.name}, {len(lines)} lines, {channel}, {csi} CSI, simulated")
    for column in ("Es/N0", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "sacreBLEU-4"):
        table.add_column(column, justify="right")
    for row in rows:
        scores = [f"{score:.4f}" for score in (*row["bleu"], row["bleu_sacre"][3])]
        table.add_row(f"{row['snr_db']:g} dB", *scores)
    Console().print(table)
    if json is not None:
        result = dict(rows[0])
        if len(rows) > 1:
            differ = ("bleu", "bleu_ci95", "bleu_sacre", "snr_db")
            result |= {key: [row[key] for row in rows] for key in differ}
        result |= {"bundle": loaded.name, "bundle_id": loaded.id, "data": data}
        write_json(json, result | provenance())
