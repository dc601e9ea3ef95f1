# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn tx``: the sending end of a link, in a process of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from phydnn.cli.run import (
    BIND,
    AmplitudeOption,
    AuthorOption,
    BatchOption,
    BindOption,
    BundleOption,
    DataOption,
    JsonOption,
    LimitOption,
    PassesOption,
    PeriodOption,
    RadioOption,
    RadioSetOption,
    RateOption,
    RecordSentOption,
    WaveformOption,
    load,
    profile,
    refuse_unused,
    send,
    stopped_by_signals,
)
from phydnn.errors import InputError


def tx(
    context: typer.Context,
    bundle: BundleOption,
    data: DataOption,
    link: Annotated[str, typer.Option(help="zmq, usrp or file.")] = "zmq",
    sample_rate: RateOption = 20e6,
    waveform: WaveformOption = "wide",
    batch: BatchOption = 64,
    limit: LimitOption = 0,
    passes: PassesOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the trial, for the record.")] = 1,
    amplitude: AmplitudeOption = 1.0,
    bind: BindOption = BIND,
    radio: RadioOption = "b210",
    radio_set: RadioSetOption = None,
    period: PeriodOption = 0.0,
    json: JsonOption = None,
    record_sent: RecordSentOption = None,
    author: AuthorOption = "",
) -> None:
    """Send a data set through the head of a bundle: the device end of split inference.

    Over zmq it answers whoever asks for samples, an emulator or a receiver; over usrp it bursts,
    timed with --period; over file it writes what --record-sent names. It ends when all is sent, or
    at the first SIGINT or SIGTERM, and writes what it has sent.
    """
    refuse_unused(context, link, receives=False)
    if link == "file" and record_sent is None:
        raise InputError("--link file writes a recording: say which with --record-sent FILE")
    job = load(bundle, data, limit, batch)
    with stopped_by_signals() as stop:
        send(
            job,
            json,
            None,
            ends=("tx",),
            link=link,
            sample_rate=sample_rate,
            dimensions=waveform,
            passes=passes,
            seed=seed,
            amplitude=amplitude,
            bind=bind,
            radio=profile(link, radio, radio_set),
            period_s=period,
            record_sent=record_sent,
            author=author,
            stop=stop,
        )
