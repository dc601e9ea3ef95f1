# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn run``: a bundle over a link, both ends in one process; what ``tx`` and ``rx`` share."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phydnn.errors import InputError, RunError

if TYPE_CHECKING:
    from gnuradio.phydnn.jobs import Job

OF_CHANNEL = ("channel", "snr", "cfo", "sfo", "phase_noise")
RECORDED = (
    *OF_CHANNEL, "sample_rate", "waveform", "batch", "limit", "passes", "seed", "amplitude",
    "record", "record_sent", "author",
)  # fmt: skip
"""The options that a recording answers itself, or that would make another."""
OF_ZMQ = ("bind", "connect")
OF_USRP = ("radio", "radio_set", "period")

# What run, tx and rx have in common.
BundleOption = Annotated[
    str, typer.Option("--bundle", help="A bundle's folder, or the name of one that ships.")
]
DataOption = Annotated[
    str, typer.Option("--data", help="digits, cifar10:DIR, cifar100:DIR, images:DIR or text:FILE.")
]
BatchOption = Annotated[int, typer.Option("--batch", min=1, help="Images in a frame.")]
LimitOption = Annotated[
    int, typer.Option("--limit", min=0, help="Only the first so many images; 0: all.")
]
PassesOption = Annotated[
    int, typer.Option("--passes", min=1, help="How often all images are sent.")
]
RateOption = Annotated[float, typer.Option("--sample-rate", help="Samples per second.")]
WaveformOption = Annotated[
    str, typer.Option("--waveform", help="Its dimensions: wide, long or short.")
]
DecisionOption = Annotated[
    str, typer.Option("--decision", help="hard or soft lookup (default: the bundle's).")
]
CsiOption = Annotated[
    str,
    typer.Option(
        "--csi",
        help="Channel estimates: ls, window, or a bundle of denoisers such as csi-adnet; "
        "csi-adnet:adnet asks its slow one.",
    ),
]
AmplitudeOption = Annotated[
    float, typer.Option("--amplitude", help="Of the used subcarriers; a radio has its own.")
]
BindOption = Annotated[
    str,
    typer.Option(
        "--bind",
        help="Where the sender answers over zmq; 0.0.0.0 instead of 127.0.0.1 lets anyone ask.",
    ),
]
RadioOption = Annotated[
    str, typer.Option("--radio", help="Profile of the USRP: of testbed/radios, or a path.")
]
RadioSetOption = Annotated[
    list[str] | None,
    typer.Option("--radio-set", metavar="KEY=VALUE", help="Override a value of the profile."),
]
PeriodOption = Annotated[
    float,
    typer.Option("--period", min=0, help="Seconds from burst to burst, each timed; 0: at once."),
]
SilenceOption = Annotated[
    float, typer.Option("--silence", min=0, help="Seconds without a frame that end a reception.")
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the results there.")]
PictureOption = Annotated[
    Path | None, typer.Option("--picture", help="Write a picture (PNG) there.")
]
RecordOption = Annotated[
    Path | None, typer.Option("--record", help="Record what is received there, as SigMF.")
]
RecordSentOption = Annotated[
    Path | None, typer.Option("--record-sent", help="Record what is sent there, as SigMF.")
]
AuthorOption = Annotated[str, typer.Option("--author", help="Of the recordings: 'name <address>'.")]
ReplayOption = Annotated[
    Path | None, typer.Option("--replay", help="The recording that link file plays.")
]
BIND = "tcp://127.0.0.1:5550"
CONNECT = "tcp://127.0.0.1:5551"


def run(
    context: typer.Context,
    bundle: BundleOption,
    data: DataOption,
    link: Annotated[str, typer.Option(help="loopback, zmq, usrp or file.")] = "loopback",
    channel: Annotated[str, typer.Option(help="awgn, rayleigh, rician:K or tdl:FILE.")] = "awgn",
    snr: Annotated[float, typer.Option(help="Es/N0 in dB, -100 to 100.")] = 12.0,
    cfo: Annotated[float, typer.Option(help="Carrier frequency offset in Hz.")] = 0.0,
    sfo: Annotated[float, typer.Option(help="Sample clock offset in ppm.")] = 0.0,
    phase_noise: Annotated[float, typer.Option(help="Linewidth of the oscillators in Hz.")] = 0.0,
    sample_rate: RateOption = 20e6,
    waveform: WaveformOption = "wide",
    decision: DecisionOption = "",
    csi: CsiOption = "window",
    batch: BatchOption = 64,
    limit: LimitOption = 0,
    passes: PassesOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the fades and the noise.")] = 1,
    amplitude: AmplitudeOption = 1.0,
    bind: BindOption = BIND,
    connect: Annotated[
        str,
        typer.Option(
            help="Where the receiver asks over zmq, an emulator's port (default: the sender's); "
            "the channel is then the emulator's."
        ),
    ] = "",
    radio: RadioOption = "b210",
    radio_set: RadioSetOption = None,
    period: PeriodOption = 0.0,
    silence: SilenceOption = 10.0,
    json: JsonOption = None,
    picture: PictureOption = None,
    record: RecordOption = None,
    record_sent: RecordSentOption = None,
    author: AuthorOption = "",
    replay: ReplayOption = None,
) -> None:
    """Run a bundle over a link, both ends in one process, and measure it.

    Over zmq the samples go through a socket: through the channel first, as over loopback, or with
    --connect through an emulator. Over usrp one radio sends with one port and receives with the
    other.
    """
    refuse_unused(context, link, receives=True)
    if link == "usrp" or connect:
        refuse(context, OF_CHANNEL, "the channel lies outside this process")
    send(
        load(bundle, data, limit, batch, decision),
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
        csi=csi,
        passes=passes,
        seed=seed,
        amplitude=amplitude,
        bind=bind,
        connect=connect,
        radio=profile(link, radio, radio_set),
        period_s=period,
        silence_s=None if link == "loopback" else silence,
        record=record,
        record_sent=record_sent,
        author=author,
        replay=replay,
    )


def refuse(context: typer.Context, options: Sequence[str], why: str) -> None:
    """Refuses options that were given and would not count.

    Raises:
        InputError: one of them was given.
    """
    for option in options:
        source = context.get_parameter_source(option)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(f"--{option.replace('_', '-')} does not go with {why}")


def refuse_unused(context: typer.Context, link: str, receives: bool) -> None:
    """Refuses the options of other links.

    Raises:
        InputError: one of them was given.
    """
    if link == "file" and receives:
        if context.params.get("replay") is None:
            raise InputError("--link file plays a recording: say which with --replay FILE")
        refuse(context, RECORDED, "--replay: the recording says what it holds")
    if link != "zmq":
        refuse(context, OF_ZMQ, f"--link {link}")
    if link == "usrp":
        refuse(context, ("sample_rate", "amplitude"), "--link usrp: use --radio-set")
    else:
        refuse(context, OF_USRP, f"--link {link}")


def load(bundle: str, data: str, limit: int, batch: int, decision: str = "") -> Job:
    """The job of carrying a data set with a bundle.

    Raises:
        InputError: one of them is no good.
        RunError: the blocks are not installed.
    """
    try:
        from gnuradio.phydnn import jobs
    except ImportError as error:
        raise RunError(
            f"the GNU Radio blocks cannot be imported ({error}): run ./phydnn doctor"
        ) from error
    return jobs.load(bundle, data, limit, batch, decision)


def profile(link: str, radio: str, radio_set: list[str] | None) -> Any:
    """The radio of link usrp; None for the others."""
    from phydnn import radios

    return radios.load(radio, radio_set or ()) if link == "usrp" else None


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the next one does what it always does."""
    stop = threading.Event()
    names = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.getsignal(name) for name in names}

    def set_once(*_: object) -> None:
        stop.set()
        for name, handler in before.items():
            signal.signal(name, handler)

    for name in names:
        signal.signal(name, set_once)
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def send(job: Job, json: Path | None, picture: Path | None, **options: Any) -> None:
    """Runs a link with a progress bar, then shows a table and writes what is asked for.

    Args:
        job: what to carry.
        json: where to write the results, if anywhere.
        picture: where to write the picture, if anywhere.
        options: of ``gnuradio.phydnn.link.run_job``.

    Raises:
        InputError: an argument or an input is no good.
        RunError: the link fell silent.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from gnuradio import gr
    from gnuradio.phydnn.link import run_job
    from phydnn.results import provenance, write_json

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
        total = job.count * options.get("passes", 1)
        task = bar.add_task(f"{job.data} over {options['link']}", total=total)
        result = run_job(job, progress=lambda done, _: bar.update(task, completed=done), **options)
        bar.update(task, total=result.record["n"])  # a recording may hold fewer
    record = result.record
    console.print(table(record, result.seconds, job.unit))
    if json is not None:
        write_json(json, record | provenance())
    if picture is not None:
        title = f"{record['bundle']} over {record['link']}"
        if "channel" in record:
            title += f", {record['channel']}, {record['snr_db']:g} dB"
        result.job.draw(picture, title, result.snapshot)
        console.print(f"The picture is in {picture}", highlight=False, soft_wrap=True)
    if record.get("void"):
        faults = record["faults"] | {f"'{k}' in UHD's log": v for k, v in record["letters"].items()}
        what = ", ".join(
            f"{count} {name.replace('_', ' ')}" for name, count in faults.items() if count
        )
        raise RunError(f"the trial is void: {what}; its figures do not count")


def table(record: dict[str, Any], seconds: float, unit: str) -> Any:
    """A run's results for the terminal; ``unit`` is what its items are called."""
    from rich.table import Table

    where = f", {record['channel']}, Es/N0 {record['snr_db']:g} dB" if "channel" in record else ""
    view = Table(
        title=f"{record['bundle']} over {record['link']}{where}",
        show_header=False,
    )
    view.add_column(style="bold")
    view.add_column(justify="right")
    if record.get("void"):
        view.add_row("VOID", "this trial does not count")
    if "accuracy" in record:
        low, high = record["accuracy_ci95"]
        view.add_row("accuracy", f"{record['accuracy']:.4f}  (95 %: {low:.4f} to {high:.4f})")
    if "bleu" in record:
        view.add_row("BLEU-1 to 4", "  ".join(f"{score:.3f}" for score in record["bleu"]))
        view.add_row("lines to the letter", f"{record['exact']:.1%} of {record['lines']}")
    view.add_row(unit, f"{record['n']}  ({record['n'] / seconds:.0f}/s)")
    frames = [
        f"{record[key]} {name}"
        for key, name in (("frames_sent", "sent"), ("frames_lost", "lost"))
        if key in record
    ]
    view.add_row("frames", ", ".join(frames))
    if "samples_on_air" in record:
        on_air = f"{record['channel_uses']} channel uses, {record['samples_on_air']} samples"
        view.add_row("on air", on_air)
    for key, name in (("samples_served", "served"), ("samples_received", "received")):
        if key in record:
            view.add_row(f"samples {name}", str(record[key]))
    for key, name, unit in (
        ("snr_db_estimated", "Es/N0, estimated", "dB"),
        ("evm_db", "EVM", "dB"),
    ):
        if key in record:
            view.add_row(name, f"{record[key]:.2f} {unit}")
    if "csi" in record:
        view.add_row("channel estimates", record["csi"])
    if "csi_mse" in record:
        view.add_row("CSI error", f"{record['csi_mse']:.2e}")
    for stage, times in record.get("latency_ms", {}).items():
        view.add_row(
            f"latency of a frame: {stage}",
            f"{times['p50']:.2f} ms  (95 %: {times['p95']:.2f} ms)",
        )
    return view
