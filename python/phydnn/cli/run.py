# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn run``: a bundle over a link, both ends in one process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phydnn.errors import InputError, RunError

if TYPE_CHECKING:
    from phydnn.datasets import Images

RECORDED = (
    "channel", "snr", "cfo", "sfo", "phase_noise", "sample_rate", "waveform", "batch", "limit",
    "seed", "record", "record_sent", "author",
)  # fmt: skip
"""The options that a recording answers itself, or that would make another."""


def run(
    context: typer.Context,
    bundle: Annotated[str, typer.Option(help="A bundle's folder, or the name of one that ships.")],
    data: Annotated[str, typer.Option(help="digits, cifar10:DIR, cifar100:DIR or images:DIR.")],
    link: Annotated[str, typer.Option(help="loopback or file; others are to come.")] = "loopback",
    channel: Annotated[str, typer.Option(help="awgn, rayleigh, rician:K or tdl:FILE.")] = "awgn",
    snr: Annotated[float, typer.Option(help="Es/N0 in dB, -100 to 100.")] = 12.0,
    cfo: Annotated[float, typer.Option(help="Carrier frequency offset in Hz.")] = 0.0,
    sfo: Annotated[float, typer.Option(help="Sample clock offset in ppm.")] = 0.0,
    phase_noise: Annotated[float, typer.Option(help="Linewidth of the oscillators in Hz.")] = 0.0,
    sample_rate: Annotated[float, typer.Option(help="Samples per second.")] = 20e6,
    waveform: Annotated[str, typer.Option(help="Its dimensions: wide, long or short.")] = "wide",
    decision: Annotated[
        str, typer.Option(help="hard or soft lookup [default: the bundle's].")
    ] = "",
    batch: Annotated[int, typer.Option(min=1, help="Images in a frame.")] = 64,
    limit: Annotated[int, typer.Option(min=0, help="Only the first so many images; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the fades and the noise.")] = 1,
    json: Annotated[Path | None, typer.Option(help="Write the results there.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write a picture (PNG) there.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="Record what is received there, as SigMF.")
    ] = None,
    record_sent: Annotated[
        Path | None, typer.Option(help="Record what is sent there, as SigMF.")
    ] = None,
    author: Annotated[str, typer.Option(help="Of the recordings: 'name <address>'.")] = "",
    replay: Annotated[Path | None, typer.Option(help="The recording that link file plays.")] = None,
) -> None:
    """Run a bundle over a link, both ends in one process, and measure it."""
    if link == "file":
        if replay is None:
            raise InputError("--link file plays a recording: say which with --replay FILE")
        for option in RECORDED:
            source = context.get_parameter_source(option)
            if source is not None and source.name == "COMMANDLINE":
                raise InputError(
                    f"--{option.replace('_', '-')} does not go with --replay: the recording says "
                    "what it holds"
                )
    from phydnn import datasets
    from phydnn.bundle import Bundle

    loaded = Bundle.load(bundle)
    images = datasets.load(data, "test", loaded.input_shape)
    if limit:
        images = images.take(slice(limit))
    send(
        loaded,
        images,
        json,
        picture,
        link=link,
        channel=channel,
        snr_db=snr,
        cfo_hz=cfo,
        sfo_ppm=sfo,
        phase_noise_hz=phase_noise,
        sample_rate=sample_rate,
        dimensions=waveform,
        decision=decision,
        batch=batch,
        seed=seed,
        record=record,
        record_sent=record_sent,
        author=author,
        replay=replay,
    )


def send(
    bundle: Any, images: Images, json: Path | None, picture: Path | None, **options: Any
) -> None:
    """Runs a link with a progress bar, then shows a table and writes what is asked for.

    Args:
        bundle: a :class:`phydnn.bundle.Bundle`.
        images: what to send.
        json: where to write the results, if anywhere.
        picture: where to write the picture, if anywhere.
        options: of ``gnuradio.phydnn.link.run_link``.

    Raises:
        InputError: an argument or an input is no good.
        RunError: the link fell silent, or the blocks are not installed.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from phydnn.results import provenance, write_json

    try:
        from gnuradio import gr
        from gnuradio.phydnn.link import run_link
    except ImportError as error:
        raise RunError(
            f"the GNU Radio blocks cannot be imported ({error}): run ./phydnn doctor"
        ) from error
    for path in (json, picture):
        if path is not None and path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder")
    gr.logging().set_default_level(gr.log_levels.warn)
    console = Console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(f"{images.name} over {options['link']}", total=len(images))
        result = run_link(
            bundle, images, progress=lambda done, _: bar.update(task, completed=done), **options
        )
        images = images.take(slice(len(result.predictions)))  # a recording may hold fewer
        bar.update(task, total=len(images))
    record = result.record
    if images.y is None:
        names = (*images.classes, *bundle.classes)[-len(bundle.classes) :]
        record["predictions"] = [names[i] if i >= 0 else None for i in result.predictions]
    console.print(table(record, result.seconds))
    if json is not None:
        write_json(json, record | provenance())
    if picture is not None:
        _draw(picture, bundle, images, result)
        console.print(f"The picture is in {picture}", highlight=False, soft_wrap=True)


def table(record: dict[str, Any], seconds: float) -> Any:
    """A run's results for the terminal."""
    from rich.table import Table

    view = Table(
        title=f"{record['bundle']} over {record['link']}, {record['channel']}, "
        f"Es/N0 {record['snr_db']:g} dB",
        show_header=False,
    )
    view.add_column(style="bold")
    view.add_column(justify="right")
    if "accuracy" in record:
        low, high = record["accuracy_ci95"]
        view.add_row("accuracy", f"{record['accuracy']:.4f}  (95 %: {low:.4f} to {high:.4f})")
    sent, lost = record["frames_sent"], record["frames_lost"]
    view.add_row("images", f"{record['n']}  ({record['n'] / seconds:.0f}/s)")
    view.add_row("frames", f"{sent} sent, {lost} lost")
    view.add_row(
        "on air", f"{record['channel_uses']} channel uses, {record['samples_on_air']} samples"
    )
    for key, name, unit in (
        ("snr_db_estimated", "Es/N0, estimated", "dB"),
        ("evm_db", "EVM", "dB"),
    ):
        if key in record:
            view.add_row(name, f"{record[key]:.2f} {unit}")
    if "csi_mse" in record:
        view.add_row("CSI error", f"{record['csi_mse']:.2e}")
    for stage, times in record.get("latency_ms", {}).items():
        view.add_row(
            f"latency of a frame: {stage}",
            f"{times['p50']:.2f} ms  (95 %: {times['p95']:.2f} ms)",
        )
    return view


def _draw(path: Path, bundle: Any, images: Images, result: Any) -> None:
    from dataclasses import asdict, replace

    import numpy as np

    from phydnn.picture import draw

    record = result.record
    title = f"{bundle.name} over {record['link']}, {record['channel']}, {record['snr_db']:g} dB"
    labels = images.y
    if "accuracy" in record:
        title += f": {record['accuracy']:.1%} of {record['n']} images are right"
        order = [bundle.classes.index(name) for name in images.classes]
        labels = np.array(order)[images.y]
    shown = replace(images, y=labels, classes=bundle.classes)
    draw(path, title, shown, result.predictions, bundle.points, **asdict(result.snapshot))
