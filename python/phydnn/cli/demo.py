# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn demo``: the main job on data that everyone has."""

from pathlib import Path
from typing import Annotated

import typer

BUNDLE = "phydnn-resnet20-digits"


def demo(
    json: Annotated[Path | None, typer.Option(help="Write the results there.")] = None,
    picture: Annotated[Path, typer.Option(help="Write a picture (PNG) there.")] = Path("demo.png"),
) -> None:
    """Classify scikit-learn's handwritten digits over a simulated radio link at 12 dB.

    The first layers of a network turn each of 360 held-out images into 64 constellation points;
    an OFDM waveform carries them over a noisy channel; the last layers classify what arrives.
    """
    from phydnn.cli.run import load, send

    job = load(BUNDLE, "digits", limit=0, batch=64)
    send(job, json, picture, link="loopback", channel="awgn", snr_db=12.0)
