# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn deliver``: a network over a link, rebuilt and run at the other end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phydnn.cli.run import (
    BIND,
    OF_CHANNEL,
    AmplitudeOption,
    AuthorOption,
    BindOption,
    CsiOption,
    DataOption,
    JsonOption,
    LimitOption,
    PassesOption,
    PeriodOption,
    RadioOption,
    RadioSetOption,
    RateOption,
    RecordOption,
    RecordSentOption,
    ReplayOption,
    SilenceOption,
    WaveformOption,
    profile,
    refuse,
    refuse_unused,
    stopped_by_signals,
)
from phydnn.errors import InputError, RunError

if TYPE_CHECKING:
    from phydnn.datasets import Images
    from phydnn.delivery import AirBundle, Client, Shipment

ROUNDS = 4
"""How often what is missing of the side information is asked for again."""
GAP = 128


def deliver(
    context: typer.Context,
    bundle: Annotated[
        str, typer.Option("--bundle", help="An airnet bundle; not needed at --end rx.")
    ] = "",
    data: DataOption = "",
    end: Annotated[str, typer.Option(help="both, tx (the server) or rx (the client).")] = "both",
    link: Annotated[str, typer.Option(help="loopback, zmq, usrp or file.")] = "loopback",
    channel: Annotated[str, typer.Option(help="awgn, rayleigh, rician:K or tdl:FILE.")] = "awgn",
    snr: Annotated[float, typer.Option(help="Es/N0 in dB, -100 to 100.")] = 15.0,
    design: Annotated[
        float | None, typer.Option(help="Es/N0 that it is made for (default: --snr).")
    ] = None,
    cfo: Annotated[float, typer.Option(help="Carrier frequency offset in Hz.")] = 0.0,
    sfo: Annotated[float, typer.Option(help="Sample clock offset in ppm.")] = 0.0,
    phase_noise: Annotated[float, typer.Option(help="Linewidth of the oscillators in Hz.")] = 0.0,
    rule: Annotated[str, typer.Option(help="mmse or nearest decoding.")] = "mmse",
    csi: CsiOption = "window",
    law: Annotated[str, typer.Option(help="Of the spirals: best, or the paper's.")] = "best",
    frame_uses: Annotated[
        int, typer.Option("--frame-uses", min=1, help="Channel uses in a frame of weights.")
    ] = 16384,
    frames: Annotated[
        int, typer.Option(min=0, help="Send only so many frames now, then stop; 0: all.")
    ] = 0,
    state: Annotated[
        Path | None, typer.Option(help="Keep there what came, and go on from it.")
    ] = None,
    ticket: Annotated[
        Path | None, typer.Option(help="What the client is told: tx writes it, rx reads it.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the network that came, as ONNX.")] = None,
    limit: LimitOption = 0,
    passes: PassesOption = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the fades and the noise.")] = 1,
    sample_rate: RateOption = 20e6,
    waveform: WaveformOption = "wide",
    amplitude: AmplitudeOption = 1.0,
    bind: BindOption = BIND,
    connect: Annotated[
        str, typer.Option(help="Where the client asks over zmq (default: the server's).")
    ] = "",
    radio: RadioOption = "b210",
    radio_set: RadioSetOption = None,
    period: PeriodOption = 0.0,
    silence: SilenceOption = 10.0,
    json: JsonOption = None,
    record: RecordOption = None,
    record_sent: RecordSentOption = None,
    author: AuthorOption = "",
    replay: ReplayOption = None,
) -> None:
    """Send a network's weights over a link, rebuild it, and run what came on a data set.

    Frames of weights that are lost are filled with the best estimate there is and counted; of the
    side information, which the client cannot do without, what did not come through is sent again
    where both ends are here. A delivery that was cut off goes on with --state.
    """
    if end not in ("both", "tx", "rx"):
        raise InputError(f"--end {end}: choose both, tx or rx")
    if rule not in ("mmse", "nearest"):
        raise InputError(f"--rule {rule}: choose mmse or nearest")
    if law not in ("best", "paper"):
        raise InputError(f"--law {law}: choose best or paper")
    refuse_unused(context, link, receives=end != "tx")
    if link == "usrp" or connect or end != "both":
        refuse(context, OF_CHANNEL[:1] + OF_CHANNEL[2:], "a channel outside this process")
    if end == "tx":
        refuse(context, ("csi",), "--end tx: the client estimates the channel")
    if end != "both" and link == "loopback":
        raise InputError("--link loopback has both ends here: choose zmq, usrp or file")
    if end != "both" and ticket is None:
        raise InputError(f"--end {end} needs --ticket FILE, which tells the client what will come")
    if (end == "rx") == bool(bundle):
        raise InputError("the client has no --bundle, it gets one; the server needs it")
    if end != "tx" and not data:
        raise InputError("the network that comes is run on --data: say which")

    try:
        from gnuradio import gr
        from gnuradio.phydnn.delivery import kernel_of
    except ImportError as error:
        raise RunError(
            f"the GNU Radio blocks cannot be imported ({error}): run ./phydnn doctor"
        ) from error
    from phydnn.delivery import AirBundle, Client, Shipment, Ticket

    gr.logging().set_default_level(gr.log_levels.warn)
    shipment = source = None
    if end != "rx":
        source = AirBundle.load(bundle)
        alpha = 1.0 if law == "paper" else None
        shipment = Shipment(source, snr if design is None else design, frame_uses, alpha, kernel_of)
        if ticket is not None:
            shipment.ticket.write(ticket)
        client = Client(shipment.ticket)
    else:
        assert ticket is not None
        client = Client(Ticket.read(ticket))
    images = _images(client, data, limit) if end != "tx" else None
    if state is not None and state.exists():
        client.resume(state)
    options = {
        "ends": ("tx", "rx") if end == "both" else (end,),
        "link": link,
        "channel": channel,
        "snr_db": snr,
        "cfo_hz": cfo,
        "sfo_ppm": sfo,
        "phase_noise_hz": phase_noise,
        "sample_rate": sample_rate,
        "dimensions": waveform,
        "csi": csi,
        "passes": passes,
        "seed": seed,
        "amplitude": amplitude,
        "bind": bind,
        "connect": connect if connect or end != "rx" else bind,
        "radio": profile(link, radio, radio_set),
        "period_s": period,
        "silence_s": None if link in ("loopback", "file") else silence,
        "record": record,
        "record_sent": record_sent,
        "author": author,
        "replay": replay,
    }
    results = _carry(client, shipment, frames, state, options)
    if images is not None:
        results |= _run(client, source, shipment, images, rule, out, waveform, results)
    _show(results, json)


def _images(client: Client, data: str, limit: int) -> Images:
    from gnuradio.phydnn.jobs import in_the_order_of
    from phydnn.datasets import load

    images = load(data, "test", client.ticket.input_shape)
    images = in_the_order_of(client.ticket, images)
    if images.y is None:
        raise InputError(f"'{data}' has no labels to measure an accuracy with")
    return images.take(slice(limit)) if limit else images


def _carry(
    client: Client,
    shipment: Shipment | None,
    frames: int,
    state: Path | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Sends, or waits for, what is missing; returns the link's record, summed over rounds.

    Raises:
        RunError: it was cut off.
    """
    from rich.console import Console
    from rich.progress import Progress

    from gnuradio.phydnn.delivery import Delivering
    from gnuradio.phydnn.link import run_job

    ticket = client.ticket
    both, total = len(options["ends"]) == 2, len(ticket.uses)
    results: dict[str, Any] = {}
    # Only where the ends are in one process does the server know what is missing.
    numbers = client.missing if both else list(range(total))
    with stopped_by_signals() as stop, Progress(console=Console()) as bar:
        task = bar.add_task(f"{ticket.name} over {options['link']}", total=sum(ticket.uses))
        for a_round in range(ROUNDS):
            if not numbers:
                break
            sent = numbers[:frames] if frames else numbers
            done = sum(ticket.uses) - sum(ticket.uses[n] for n in numbers)
            again = {**options, "seed": options["seed"] + a_round}

            def show(now: int, _lost: int, done: int = done) -> None:
                bar.update(task, completed=done + now)

            job = Delivering(client, shipment, sent)
            found = run_job(job, stop=stop, progress=show, **again)
            results = _summed(results, found.record)
            if state is not None and "rx" in options["ends"]:
                client.save(state)
            if stop.is_set() or len(sent) < len(numbers):
                how = (
                    f"the same command goes on from {state}"
                    if state
                    else "give --state FILE to go on from what came"
                )
                raise RunError(
                    f"the delivery was cut off, {len(client.missing)} of {total} frames are "
                    f"missing: {how}"
                )
            if not both or (repeat := _repeat(client)) is None:
                break
            numbers = repeat
    return results | {"rounds": a_round + 1, "bundle": ticket.name}


def _repeat(client: Client) -> list[int] | None:
    """The frames of side information to be sent again; None where it is complete."""
    try:
        client.side()
    except RunError:
        side = range(client.ticket.side_frames)
        return [number for number in client.missing if number in side] or list(side)
    return None


def _summed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The record of all rounds: what was sent adds up, and the rest is the first round's."""
    if not before:
        return now
    counts = ("channel_uses", "samples_on_air", "bytes_on_air", "frames_sent", "frames_lost")
    return before | {key: before[key] + now[key] for key in counts if key in before}


def _run(
    client: Client,
    source: AirBundle | None,
    shipment: Shipment | None,
    images: Images,
    rule: Any,
    out: Path | None,
    waveform: str,
    results: dict[str, Any],
) -> dict[str, Any]:
    """Rebuilds the network and runs it: the keys of the results that come of that."""
    import numpy as np

    from gnuradio.phydnn import numerology
    from gnuradio.phydnn.delivery import kernel_of
    from phydnn.delivery import Network, fill, strip
    from phydnn.results import wilson_interval, write_bytes

    assert images.y is not None
    ticket, begun = client.ticket, time.perf_counter()
    model, counts = client.network(rule, kernel_of)
    network = Network(model)
    rebuilt = time.perf_counter()
    network.logits(images.x[:1])
    first = time.perf_counter()
    right = int((network.classes(images.x) == images.y).sum())
    if out is not None:
        write_bytes(out, model)
    shape = numerology(waveform)
    samples = results.get("samples_on_air") or sum(
        shape.frame_samples(uses) + GAP for uses in ticket.uses
    )
    side_uses = sum(ticket.uses[: ticket.side_frames])
    air_s = samples / results.get("sample_rate", 20e6)
    found = {
        "accuracy": right / len(images),
        "accuracy_ci95": list(wilson_interval(right, len(images))),
        "n": len(images),
        "data": images.name,
        "rule": rule,
        **counts,
        "side_bytes": ticket.side_bytes,
        "side_uses": side_uses,
        "side_copies": ticket.copies,
        "bytes_on_air": results.get("bytes_on_air", 0) + ticket.side_bytes,
        "time_on_air_s": air_s,
        "rebuild_s": rebuilt - begun,
        "first_inference_s": first - rebuilt,
        "time_to_first_inference_s": air_s + first - begun,
    }
    if source is not None and shipment is not None:
        sent = source.tensors(shipment.snr_db)
        _, came = strip(model)
        error, power, gains = 0.0, 0.0, client.gains(shipment.layers, rule)
        for layer in shipment.layers:
            off = (came[layer.name] / gains[layer.name] - sent[layer.name]) / layer.scale
            error += float(np.sum(np.square(off, dtype=float)))
            power += layer.count
        clean = {
            layer.name: np.float32(layer.gain(0.0)) * sent[layer.name] for layer in shipment.layers
        }
        noiseless = Network(fill(source.skeleton, sent | clean)).classes(images.x)
        found["a0"] = float(np.mean(noiseless == images.y))
        found["sdr_db"] = float(10 * np.log10(power / max(error, 1e-12 * power)))
    return found


def _show(results: dict[str, Any], json: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from phydnn.results import provenance, write_json

    view = Table(title=f"{results['bundle']} delivered", show_header=False)
    view.add_column(style="bold")
    view.add_column(justify="right")
    rows = (
        ("accuracy", "accuracy", "{:.4f}"), ("without noise", "a0", "{:.4f}"),
        ("weights", "weights", "{}"), ("weights filled in", "weights_filled", "{}"),
        ("their SDR", "sdr_db", "{:.2f} dB"), ("frames sent", "frames_sent", "{}"),
        ("frames lost", "frames_lost", "{}"), ("channel uses of weights", "weight_uses", "{}"),
        ("side information", "side_bytes", "{} bytes"),
        ("its channel uses", "side_uses", "{}"),
        ("Es/N0, estimated", "snr_db_estimated", "{:.2f} dB"),
        ("time on air", "time_on_air_s", "{:.3f} s"), ("to rebuild it", "rebuild_s", "{:.3f} s"),
        ("to the first inference", "time_to_first_inference_s", "{:.3f} s"),
    )  # fmt: skip
    for name, key, form in rows:
        if key in results:
            view.add_row(name, form.format(results[key]))
    Console().print(view)
    if json is not None:
        write_json(json, results | provenance())
    if results.get("void"):
        raise RunError("the trial is void: samples were lost on the way, its figures do not count")
