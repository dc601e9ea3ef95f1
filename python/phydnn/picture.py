# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The picture of a run: what came out, constellations and the channel estimate."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phydnn.datasets import Images
from phydnn.results import write_bytes

SHOWN = 24
LINES, LINE_WIDTH = 5, 130
"""Of a text's picture: its lines, and characters of each."""
INK, RIGHT, WRONG, SIGNAL, FAINT = "#1b1f24", "#1a7f37", "#cf222e", "#0969da", "#8c959f"


def draw(
    path: Path,
    title: str,
    images: Images,
    predictions: NDArray[np.int32],
    points: NDArray[np.complex64],
    raw: NDArray[np.complex64] | None,
    symbols: NDArray[np.complex64] | None,
    ls: NDArray[np.complex64] | None,
    refined: NDArray[np.complex64] | None,
) -> None:
    """Draws a run and writes it as PNG, whole or not at all.

    Args:
        path: of the picture; its folder must be there or can be made.
        title: one line.
        images: what was sent; its first 24 are shown, or fewer.
        predictions: int32 [N], indices into ``images.classes``; -1 for what never arrived.
        points: complex64 [M], the constellation.
        raw, symbols, ls, refined: of one frame, as of ``gnuradio.phydnn.link.Snapshot``; None
            where no frame arrived.

    Raises:
        InputError: the path cannot be written.
    """
    _page(
        path,
        title,
        lambda figure: _pictures(figure, images, predictions),
        points,
        raw,
        symbols,
        ls,
        refined,
    )


def draw_text(
    path: Path,
    title: str,
    sent: Sequence[str],
    received: Sequence[str],
    points: NDArray[np.complex64],
    raw: NDArray[np.complex64] | None,
    symbols: NDArray[np.complex64] | None,
    ls: NDArray[np.complex64] | None,
    refined: NDArray[np.complex64] | None,
) -> None:
    """As :func:`draw`, of lines of text as they were sent and as they arrived.

    Raises:
        InputError: the path cannot be written.
    """
    _page(
        path,
        title,
        lambda figure: _lines(figure, sent, received),
        points,
        raw,
        symbols,
        ls,
        refined,
    )


def _page(
    path: Path,
    title: str,
    panel: Callable[[Any], None],
    points: NDArray[np.complex64],
    raw: NDArray[np.complex64] | None,
    symbols: NDArray[np.complex64] | None,
    ls: NDArray[np.complex64] | None,
    refined: NDArray[np.complex64] | None,
) -> None:
    """The page of all runs; ``panel`` draws what came out on the figure that it is given."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.4), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=14, color=INK, fontweight="bold")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(0.9, 1)).ravel()
    panel(above)
    before, after, csi = below.subplots(1, 3, width_ratios=(1, 1, 1.5))
    _constellation(before, "Before the equalizer: one frame's subcarriers", raw)
    _constellation(after, "After it: payload and constellation", symbols)
    few = len(points) <= 64  # of many, larger marks would hide what was received
    size, width = (9, 1.5) if few else (3, 0.5)
    after.plot(points.real, points.imag, "+", color=WRONG, markersize=size, markeredgewidth=width)
    _estimate(csi, ls, refined)
    png = io.BytesIO()
    with warnings.catch_warnings():
        # A text may hold what the font has no picture of; it draws a box.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(png, format="png")
    write_bytes(path, png.getvalue())


def _pictures(figure: Any, images: Images, predictions: NDArray[np.int32]) -> None:
    shown = min(SHOWN, len(images))
    columns = min(12, shown)
    axes = figure.subplots(-(-shown // columns), columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for i, axis in zip(range(shown), axes, strict=False):
        pixels = images.x[i].transpose(1, 2, 0)
        axis.imshow(pixels.squeeze(), cmap="gray" if pixels.shape[2] == 1 else None)
        label = images.classes[predictions[i]] if predictions[i] >= 0 else "lost"
        colour = INK
        if images.y is not None:
            right = int(predictions[i]) == int(images.y[i])
            colour = RIGHT if right else WRONG
            if not right:
                label += f" ({images.classes[images.y[i]]})"
        axis.set_title(label, fontsize=11, color=colour, pad=3)
    text = "Classified at the edge"
    if images.y is not None:
        text += "; where that is wrong, the true class in brackets"
    figure.suptitle(text, fontsize=11, color=INK)


def _lines(figure: Any, sent: Sequence[str], received: Sequence[str]) -> None:
    figure.suptitle("Sent (grey), and read at the other end", fontsize=11, color=INK)
    axis = figure.subplots()
    axis.axis("off")
    for i, (line, came) in enumerate(zip(sent[:LINES], received[:LINES], strict=True)):
        colour = RIGHT if line == came else WRONG
        for step, content, ink in ((0.0, line, FAINT), (0.08, came, colour)):
            # A dollar sign would begin a formula.
            shown = content[:LINE_WIDTH].replace("$", r"\$")
            axis.text(0.01, 0.95 - i / LINES - step, shown, fontsize=10, color=ink, va="top")


def _constellation(axis: Any, title: str, values: NDArray[np.complex64] | None) -> None:
    axis.set_title(title, fontsize=11, color=INK)
    axis.set_aspect("equal")
    axis.grid(color=FAINT, alpha=0.3)
    axis.set_xlabel("in phase")
    axis.set_ylabel("quadrature")
    if values is None:
        axis.text(0.5, 0.5, "no frame arrived", ha="center", transform=axis.transAxes)
        return
    flat = values.ravel()[:: max(1, values.size // 4096)]
    axis.plot(flat.real, flat.imag, ".", color=SIGNAL, markersize=2.5, alpha=0.35)
    reach = float(np.percentile(np.abs(flat), 99.5)) * 1.15
    axis.set_xlim(-reach, reach)
    axis.set_ylim(-reach, reach)


def _estimate(
    axis: Any, ls: NDArray[np.complex64] | None, refined: NDArray[np.complex64] | None
) -> None:
    axis.set_title("Channel estimate (CSI) of the first pilot symbol", fontsize=11, color=INK)
    axis.set_xlabel("subcarrier")
    axis.set_ylabel("magnitude / dB")
    axis.grid(color=FAINT, alpha=0.3)
    if ls is None or refined is None:
        axis.text(0.5, 0.5, "no frame arrived", ha="center", transform=axis.transAxes)
        return
    half = ls.shape[1] // 2
    k = np.concatenate([np.arange(-half, 0), np.arange(1, half + 1)])

    def decibels(values: NDArray[np.complex64]) -> NDArray[np.float64]:
        return 20 * np.log10(np.maximum(np.abs(values.astype(np.complex128)), 1e-9))

    axis.plot(k, decibels(ls[0]), ".", color=FAINT, markersize=4, label="least squares")
    axis.plot(k, decibels(refined[0]), "-", color=SIGNAL, linewidth=2, label="refined")
    axis.legend(loc="lower right", fontsize=9)
