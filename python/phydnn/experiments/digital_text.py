# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Text by what the receiver knows of the channel: L-DeepSC, and bits of the same channel uses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phydnn.experiments import Point, Row, Settings, semantic

if TYPE_CHECKING:
    from phydnn.text_baselines import DigitalText

BY_CSI = {
    "perfect CSI": "perfect",
    "refined CSI": "refined",
    "LS CSI": "ls",
    "no CSI": "none",
}
DIGITAL = {
    "Huffman + RS, 64-QAM": ("bytes", "rs"),
    "Huffman + LDPC, 64-QAM": ("bytes", "ldpc"),
    "Huffman of tokens + LDPC, 64-QAM": ("tokens", "ldpc"),
}
"""What the Huffman code is of, and the channel code."""
COUNTED = 50_000
"""Lines of the training text that the Huffman code is made for."""
BATCH = 64


def points(settings: Settings, channel: str) -> list[Point]:
    """A point for each Es/N0, of L-DeepSC by its CSI and of bits with the refined one."""
    blind = settings.quick or settings.train or bool(settings.options["blind"])
    return [
        semantic.point(settings, scheme, snr_db, channel, csi, blind=csi == "none")
        for scheme, csi in BY_CSI.items()
        if csi != "none" or blind
        for snr_db in semantic.snrs(settings)
    ] + [
        semantic.point(settings, scheme, snr_db, channel) | {"symbols": symbols, "code": code}
        for scheme, (symbols, code) in DIGITAL.items()
        for snr_db in semantic.snrs(settings)
    ]


def measure(point: Point, folder: Path) -> list[Row]:
    """The row of a point of :func:`points`."""
    return [(_of_digital if "code" in point else semantic.of_text)(point, folder)]


def _of_digital(point: Point, folder: Path) -> Row:
    """The row of a digital system.

    A sentence has the channel uses that the transceiver spends on it, whose vocabulary says how
    many tokens it is.
    """
    from phydnn import text
    from phydnn.semantic import Shape
    from phydnn.text_baselines import DigitalText, Huffman
    from phydnn.text_bundle import frames_of
    from phydnn.train.deepsc import load_deepsc

    source, data = semantic.checkpoint_of(point, folder)
    task, vocabulary = load_deepsc(source)
    lines = text.load(data)[: point["sentences"]]
    shape: Shape = task.net.shape
    codec = semantic.NetCodec(task, vocabulary)
    uses = np.zeros(len(lines), np.int64)
    for frame in frames_of(codec, lines, BATCH):  # type: ignore[arg-type]
        np.add.at(uses, frame.lines, frame.tokens.shape[1] * shape.uses)
    counted = text.load(task.config.data, "train")[:COUNTED]
    of_tokens = point["symbols"] == "tokens"
    link = DigitalText(Huffman(counted, vocabulary if of_tokens else None), point["code"])
    found = _simulate(link, lines, uses, shape.uses, point)
    quick = not point["data"]
    return {
        "system": "digital",
        "scheme": point["scheme"],
        "model": None,
        "dataset": "made-up sentences" if quick else data.partition(":")[0],
        "provenance": "" if quick else point["provenance"],
        "channel": point["channel"],
        "csi": point["csi"],
        "snr_db": point["snr_db"],
        "channel_uses": int(uses.sum()),
        "uses_a_sentence": round(float(uses.mean()), 2),
        "points": link.order,
        "source_bits_a_sentence": round(
            float(np.mean([8 * len(link.source.encode(line)) for line in lines])), 1
        ),
        "bleu": found["bleu"],
        "ci95": found["bleu_ci95"][0],
        "bleu_sacre": found["bleu_sacre"],
        "n": found["n"],
        "seed": point["seed"],
        "paper": None,
    }


def _simulate(
    link: DigitalText, lines: Sequence[str], uses: Any, of_token: int, point: Point
) -> dict[str, Any]:
    """BLEU of lines that are sent once, each through a fade of its own.

    Args:
        link: both ends.
        lines: the text.
        uses: channel uses of each line, int64 [N], multiples of ``of_token``.
        of_token: uses of a token.
        point: has ``channel``, ``csi``, ``snr_db`` and ``seed``.
    """
    import torch

    from phydnn import channel, text
    from phydnn.evaluate_text import CSI
    from phydnn.semantic import convey

    fading = channel.named(point["channel"])
    generator = torch.Generator().manual_seed(point["seed"])
    received = [""] * len(lines)
    for wide in np.unique(uses):
        alike = np.flatnonzero(uses == wide)
        for at in range(0, len(alike), BATCH):
            chosen = alike[at : at + BATCH]
            sent, sizes = link.send([lines[i] for i in chosen], int(wide))
            symbols = torch.from_numpy(sent).unflatten(1, (-1, of_token))
            n0 = channel.n0_of(point["snr_db"]).expand(len(chosen), 1)
            error = torch.full_like(n0, CSI[point["csi"]])
            symbols, noise = convey(symbols, n0, error, fading, generator)
            read = link.receive(symbols.flatten(1).numpy(), noise.flatten(1).numpy(), sizes)
            for index, line in zip(chosen, read, strict=True):
                received[index] = line
    return text.bleu(lines, received)
