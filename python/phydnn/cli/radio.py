# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn radio``: find and calibrate radios, and compute a link's budget."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from phydnn.cli.run import RadioOption, RadioSetOption, stopped_by_signals
from phydnn.errors import InputError, RunError

app = typer.Typer(add_completion=False, no_args_is_help=True)
PEAK = 4.0
"""OFDM's peaks over the amplitude of its subcarriers: 12 dB, which one sample in 10^6 exceeds."""


def _usrp() -> Any:
    try:
        from gnuradio import gr
        from gnuradio.phydnn import usrp
    except ImportError as error:
        raise RunError(
            f"the GNU Radio blocks cannot be imported ({error}): run ./phydnn doctor"
        ) from error
    gr.logging().set_default_level(gr.log_levels.warn)
    return usrp


@app.command()
def find(
    args: Annotated[str, typer.Option(help="Narrow the search, like type=b200.")] = "",
) -> None:
    """List the radios that UHD finds."""
    found = _usrp().devices(args)
    for address in found:
        print(address)
    if not found:
        raise RunError("UHD finds no radio: is it plugged in, and are its FPGA images installed?")


@app.command()
def calibrate(
    radio: RadioOption = "b210",
    radio_set: RadioSetOption = None,
    only: Annotated[
        str, typer.Option(help="tx or rx where the other radio is elsewhere (default: both).")
    ] = "",
    offset: Annotated[float, typer.Option(help="Of the tone from the carrier, Hz.")] = 0.0,
    tx_low: Annotated[float, typer.Option(help="Lowest gain of the transmitter to try, dB.")] = 0.0,
    tx_high: Annotated[
        float | None, typer.Option(help="And the highest (default: the profile's).")
    ] = None,
    rx_high: Annotated[
        float | None, typer.Option(help="Highest gain of the receiver (default: the profile's).")
    ] = None,
    step: Annotated[float, typer.Option(min=0.5, help="Between two gains, dB.")] = 5.0,
    json: Annotated[Path | None, typer.Option(help="Write what was measured there.")] = None,
) -> None:
    """Send a tone, sweep the gains, and suggest some.

    Prints the noise floor and the tone's power at each gain, this pair's carrier frequency offset,
    and the gains to use: the receiver's lowest at which its own noise is what counts, and the
    transmitter's highest at which OFDM's peaks are neither compressed nor clipped. Nothing goes
    beyond the profile's gains unless you say so. With --only tx it sends until it is stopped; with
    --only rx it sweeps the receiver's gain alone. Use a cable with 30 dB or more of attenuation
    first.
    """
    from rich.console import Console
    from rich.table import Table

    from phydnn import radios
    from phydnn.results import provenance, write_json

    if only not in ("", "tx", "rx"):
        raise InputError(f"--only {only}: choose tx or rx")
    profile = radios.load(radio, radio_set or ())
    offset = offset or profile.sample_rate / 16
    if abs(offset) >= profile.sample_rate / 2:
        raise InputError(f"--offset {offset:g} is outside the band of {profile.sample_rate:g} Hz")
    usrp = _usrp()
    sends, receives = only != "rx", only != "tx"
    first = replace(profile, tx_gain=tx_low, rx_gain=0.0) if receives else profile
    loudness = min(1.0, PEAK * profile.amplitude)
    console = Console()
    with usrp.calibration(first, sends, receives, offset, loudness) as tone:
        if not receives:
            console.print(f"sending a tone {offset:g} Hz above the carrier; Ctrl-C ends it")
            with stopped_by_signals() as stop:
                while not stop.is_set():
                    time.sleep(0.1)
            return
        rx_gains = _steps(0.0, profile.rx_gain if rx_high is None else rx_high, step)
        rx_sweep = [tone.measure(rx_gain=gain) for gain in rx_gains]
        rx_gain = radios.lowest_useful_gain(rx_gains, rx_sweep)
        tx_gains, tx_sweep, tx_gain = [], [], None
        last = rx_sweep[rx_gains.index(rx_gain)]
        if sends:
            tx_gains = _steps(tx_low, profile.tx_gain if tx_high is None else tx_high, step)
            tx_sweep = [tone.measure(tx_gain=gain, rx_gain=rx_gain) for gain in tx_gains]
            tx_gain = radios.highest_linear_gain(tx_gains, tx_sweep)
            last = tx_sweep[tx_gains.index(tx_gain)]
    cfo = last.frequency - offset
    if last.snr_db(1e4) < 10:
        raise RunError("no tone was heard: is the other radio sending, on this frequency?")
    view = Table(title=f"{profile.name} at {profile.frequency / 1e6:g} MHz")
    for heading in ("gain, dB", "tone, dBFS", "noise floor, dBFS/Hz", "clipped"):
        view.add_column(heading, justify="right")
    for name, gains, sweep in (("rx", rx_gains, rx_sweep), ("tx", tx_gains, tx_sweep)):
        for gain, found in zip(gains, sweep, strict=True):
            view.add_row(
                f"{name} {gain:g}",
                f"{found.power_dbfs:.1f}",
                f"{found.noise_dbfs_hz:.1f}",
                f"{found.clipped:.1%}",
            )
    console.print(view)
    ppm = cfo / profile.frequency * 1e6
    console.print(f"carrier frequency offset of this pair: {cfo:.0f} Hz ({ppm:.2f} ppm)")
    chosen = [f"--radio-set rx_gain={rx_gain:g}"]
    if tx_gain is not None:
        chosen.insert(0, f"--radio-set tx_gain={tx_gain:g}")
    console.print(f"suggested: {' '.join(chosen)}", highlight=False)
    if json is not None:
        record = {
            "radio": asdict(profile),
            "tone_hz": offset,
            "cfo_hz": cfo,
            "tx_gain_db": tx_gain,
            "rx_gain_db": rx_gain,
            "tx_sweep": _rows(tx_gains, tx_sweep),
            "rx_sweep": _rows(rx_gains, rx_sweep),
        }
        write_json(json, record | provenance())


def _rows(gains: list[float], sweep: list[Any]) -> list[dict[str, Any]]:
    return [{"gain_db": gain} | asdict(tone) for gain, tone in zip(gains, sweep, strict=True)]


def _steps(low: float, high: float, step: float) -> list[float]:
    """Gains from ``low`` to ``high``, both included."""
    if not 0 <= low <= high <= 120:
        raise InputError(f"a sweep from {low:g} to {high:g} dB is none: give 0 to 120, rising")
    count = int((high - low) / step)
    gains = [low + step * i for i in range(count + 1)]
    return gains if gains[-1] == high else [*gains, high]


@app.command()
def budget(
    distance: Annotated[float, typer.Option(help="Between the antennas in m; 0 for a cable.")],
    tx_dbm: Annotated[float, typer.Option(help="Mean power at the transmitter's port, dBm.")] = 0.0,
    frequency: Annotated[float, typer.Option(help="Of the carrier, Hz.")] = 2.45e9,
    sample_rate: Annotated[float, typer.Option(help="Samples per second.")] = 20e6,
    tx_antenna: Annotated[float, typer.Option(help="Its gain, dBi.")] = 0.0,
    rx_antenna: Annotated[float, typer.Option(help="Its gain, dBi.")] = 0.0,
    extra_loss: Annotated[float, typer.Option(help="Walls, cables, attenuators, dB.")] = 0.0,
    noise_figure: Annotated[float, typer.Option(help="Of the receiver, dB.")] = 8.0,
    json: Annotated[Path | None, typer.Option(help="Write it there.")] = None,
) -> None:
    """Say what a link in free space, or by cable, carries: power, noise, Es/N0.

    The noise is counted in the band of the used subcarriers, 448 of 512. Walls and people are not
    in it: what is measured may be 20 dB below.
    """
    from rich.console import Console
    from rich.table import Table

    from phydnn import radios
    from phydnn.results import provenance, write_json

    link = radios.budget(
        tx_dbm=tx_dbm,
        distance_m=distance,
        frequency=frequency,
        bandwidth=sample_rate * 448 / 512,
        tx_antenna_dbi=tx_antenna,
        rx_antenna_dbi=rx_antenna,
        extra_loss_db=extra_loss,
        noise_figure_db=noise_figure,
    )
    view = Table(title=f"{distance:g} m at {frequency / 1e6:g} MHz", show_header=False)
    view.add_column(style="bold")
    view.add_column(justify="right")
    for name, value, unit in (
        ("sent", tx_dbm, "dBm"),
        ("path loss, with the antennas", link.path_loss_db, "dB"),
        ("received", link.received_dbm, "dBm"),
        ("noise", link.noise_dbm, "dBm"),
        ("Es/N0", link.snr_db, "dB"),
    ):
        view.add_row(name, f"{value:.1f} {unit}")
    console = Console()
    console.print(view)
    if not link.safe:
        console.print("a B210's input is damaged by this: add attenuation", style="bold red")
    elif not link.linear:
        console.print("this may saturate the receiver: lower its gain, or add attenuation")
    if json is not None:
        write_json(json, asdict(link) | provenance())
