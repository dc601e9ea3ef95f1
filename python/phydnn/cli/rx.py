# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn rx``: the receiving end of a link, in a process of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from phydnn.cli.run import (
    CONNECT,
    AuthorOption,
    BatchOption,
    BundleOption,
    CsiOption,
    DataOption,
    DecisionOption,
    JsonOption,
    LimitOption,
    PassesOption,
    PictureOption,
    RadioOption,
    RadioSetOption,
    RateOption,
    RecordOption,
    ReplayOption,
    SilenceOption,
    WaveformOption,
    load,
    profile,
    refuse_unused,
    send,
    stopped_by_signals,
)
from phydnn.errors import InputError


def rx(
    context: typer.Context,
    bundle: BundleOption,
    data: DataOption,
    link: Annotated[str, typer.Option(help="zmq, usrp or file.")] = "zmq",
    sample_rate: RateOption = 20e6,
    waveform: WaveformOption = "wide",
    decision: DecisionOption = "",
    csi: CsiOption = "window",
    batch: BatchOption = 64,
    limit: LimitOption = 0,
    frames: Annotated[
        int, typer.Option(min=0, help="Only the first so many frames, instead of --limit; 0: all.")
    ] = 0,
    passes: PassesOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the trial, for the record.")] = 1,
    connect: Annotated[
        str, typer.Option(help="Where to ask over zmq: the emulator, or the sender itself.")
    ] = CONNECT,
    radio: RadioOption = "b210",
    radio_set: RadioSetOption = None,
    silence: SilenceOption = 10.0,
    json: JsonOption = None,
    picture: PictureOption = None,
    record: RecordOption = None,
    author: AuthorOption = "",
    replay: ReplayOption = None,
) -> None:
    """Receive a data set and classify it with the tail of a bundle: the edge end.

    It knows the images that are sent, by the same --data, --limit, --batch and --passes, and so
    measures accuracy and counts every frame. It ends when all have come, after a silence, or at the
    first SIGINT or SIGTERM; what has not come by then is lost.
    """
    refuse_unused(context, link, receives=True)
    if frames and limit:
        raise InputError("--frames and --limit say the same: give one of them")
    job = load(bundle, data, limit or frames * batch, batch, decision)
    with stopped_by_signals() as stop:
        send(
            job,
            json,
            picture,
            ends=("rx",),
            link=link,
            sample_rate=sample_rate,
            dimensions=waveform,
            csi=csi,
            passes=passes,
            seed=seed,
            connect=connect,
            radio=profile(link, radio, radio_set),
            silence_s=silence if link != "file" else None,
            record=record,
            author=author,
            replay=replay,
            stop=stop,
        )
