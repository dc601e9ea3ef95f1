# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Points and rows of text as bits, beside L-DeepSC: the same channel uses, fades and estimates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phydnn.experiments import Point, Row, Settings, semantic

if TYPE_CHECKING:
    from phydnn.text_baselines import DigitalText

SCHEMES = {
    "Huffman + RS, 64-QAM": ("bytes", "rs"),
    "Huffman + LDPC, 64-QAM": ("bytes", "ldpc"),
    "Huffman of tokens + LDPC, 64-QAM": ("tokens", "ldpc"),
}
"""What the Huffman code is of, and the channel code."""
COUNTED = 50_000
"""Lines of the training text that the Huffman code is made for."""
BATCH = 64


def points(settings: Settings, channel: str, csi: str = "refined") -> list[Point]:
    """A point for each scheme and Es/N0."""
    return [
        semantic.point(settings, scheme, snr_db, channel, csi) | {"symbols": symbols, "code": code}
        for scheme, (symbols, code) in SCHEMES.items()
        for snr_db in semantic.snrs(settings)
    ]


def of_digital(point: Point, folder: Path) -> Row:
    """The row of a point of :func:`points`.

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
    found = simulate(link, lines, uses, shape.uses, point)
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


def simulate(
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
