# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn airtime``: how long a payload over TCP and 802.11a takes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from phydnn.errors import InputError, RunError

MOST_LOST = 0.999
"""Where more frames are lost, a rate is of no use."""


def airtime(
    payload: Annotated[int, typer.Argument(help="Bytes that TCP delivers.")],
    rate: Annotated[
        list[int] | None,
        typer.Option(help="Mb/s, 6 to 54; may be repeated; else all that get through."),
    ] = None,
    snr: Annotated[
        float | None,
        typer.Option(help="Es/N0 in dB; frames are lost by NIST's model. Else none is."),
    ] = None,
    mtu: Annotated[int, typer.Option(help="Bytes of an IP packet at most.")] = 1500,
    handshake: Annotated[
        bool, typer.Option("--handshake", help="Open the TCP connection first.")
    ] = False,
    ns3: Annotated[
        bool, typer.Option("--ns3", help="Simulate it in ns-3 as well, and compare.")
    ] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Transfers in ns-3.")] = 20,
    seed: Annotated[int, typer.Option(min=1, help="Of ns-3's random numbers.")] = 1,
    json: Annotated[Path | None, typer.Option(help="Write the results there.")] = None,
) -> None:
    """Say how long a payload over TCP and 802.11a takes, and account for each byte of it.

    A closed-form model of DCF and TCP on a free channel; with --ns3, ns-3's packet-by-packet
    simulation beside it, which needs Debian's libns3-dev.
    """
    from functools import partial

    from rich.console import Console
    from rich.table import Table

    from phydnn import ns3 as simulator
    from phydnn.results import provenance, write_json
    from phydnn.wifi import RATES, Wifi, packet_error_rate

    if ns3 and handshake:
        raise InputError("--ns3 measures over an open connection: leave out --handshake")
    if ns3 and (reason := simulator.missing()):
        raise RunError(reason)
    rows: list[dict[str, Any]] = []
    for each in rate or RATES:
        loss: Any = 0.0
        if snr is not None:
            loss = partial(packet_error_rate, snr, each)
            if loss(min(payload, mtu)) > MOST_LOST:
                if rate:
                    raise InputError(
                        f"at {snr:g} dB next to every frame of {each} Mb/s is lost: raise --snr, "
                        "or lower --rate"
                    )
                continue
        sent = Wifi(each, mtu=mtu, handshake=handshake, packet_error_rate=loss).transfer(payload)
        row: dict[str, Any] = {
            "rate_mbps": each,
            "payload": payload,
            "snr_db": snr,
            "seconds": sent.seconds,
            "delivered_s": sent.delivered,
            "goodput_mbps": 1e-6 * sent.throughput,
            "bytes_on_air": sent.bytes_on_air,
            "frames": sent.frames,
            "seconds_by_part": sent.seconds_by_part,
            "bytes_by_part": sent.bytes_by_part,
        }
        if ns3:
            runs = simulator.deliver(payload, each, 100 if snr is None else snr, repeats, seed, mtu)
            mean = sum(run.seconds for run in runs) / len(runs)
            row["ns3"] = {
                "delivered_s": mean,
                "bytes_on_air": sum(run.bytes_on_air for run in runs) / len(runs),
                "transfers": len(runs),
                "seed": seed,
                "model_over_ns3": sent.delivered / mean,
            }
        rows.append(row)
    if not rows:
        raise InputError(f"at {snr:g} dB next to every frame is lost at any rate: raise --snr")
    if json is not None:
        write_json(json, {"rows": rows, **provenance()})
    title = f"{payload:,} bytes over TCP and 802.11a"
    table = Table(title=title + (f", {snr:g} dB" if snr is not None else ", no frame lost"))
    headings = ["Mb/s", "there in ms", "medium taken, ms", "goodput", "bytes on air"]
    for heading in headings + (["ns-3, ms", "ratio"] if ns3 else []):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = [
            str(row["rate_mbps"]),
            f"{1e3 * row['delivered_s']:.3f}",
            f"{1e3 * row['seconds']:.3f}",
            f"{row['goodput_mbps']:.2f}",
            f"{row['bytes_on_air']:,.0f}",
        ]
        if ns3:
            found = row["ns3"]
            cells += [f"{1e3 * found['delivered_s']:.3f}", f"{found['model_over_ns3']:.3f}"]
        table.add_row(*cells)
    console = Console()
    console.print(table)
    if len(rows) == 1:
        parts = Table(title="By part")
        for heading in ("part", "ms", "bytes"):
            parts.add_column(heading, justify="left" if heading == "part" else "right")
        for name, seconds in rows[0]["seconds_by_part"].items():
            size = rows[0]["bytes_by_part"].get(name)
            count = "" if size is None else f"{size:,.0f}"
            parts.add_row(name.replace("_", " "), f"{1e3 * seconds:.4f}", count)
        console.print(parts)
