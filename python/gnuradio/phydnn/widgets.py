# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Qt widgets for flowgraphs with a window: pictures with their classes, text, channel estimates.

Not imported with ``gnuradio.phydnn``, which must do without a screen.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray
from PyQt5 import QtCore, QtGui, QtWidgets

from gnuradio import gr
from phydnn.bundle import Bundle

from . import pdus
from .networks import loaded

RIGHT, WRONG, INK, PAPER, SIGNAL, FAINT = (
    "#1a7f37", "#cf222e", "#1b1f24", "#ffffff", "#0969da", "#8c959f",
)  # fmt: skip
REMEMBERED = 64
"""Frames whose images wait for their classes; the oldest make room."""


class _Bridge(QtCore.QObject):
    """Carries what a block received over to the thread that may draw."""

    arrived = QtCore.pyqtSignal(object)


@dataclass(frozen=True)
class _Shown:
    """Classified images: pixels [N,C,H,W], labels (or None) and classes (-1 where lost)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32] | None
    classes: NDArray[np.int32]


class _Pictures(QtWidgets.QWidget):
    """A grid of pictures, each with its class below, and the score so far."""

    CAPTION, MARGIN = 20, 6

    def __init__(self, names: tuple[str, ...], columns: int, rows: int) -> None:
        super().__init__()
        self._names, self._columns, self._rows = names, columns, rows
        self._shown: _Shown | None = None
        self._right = self._scored = self._lost = 0
        self.setMinimumSize(columns * 56, rows * (56 + self.CAPTION) + 2 * self.CAPTION)

    def show_frame(self, shown: _Shown) -> None:
        self._shown = shown
        self._lost += int((shown.classes < 0).sum())
        if shown.labels is not None:
            self._right += int((shown.classes == shown.labels).sum())
            self._scored += len(shown.labels)
        self.update()

    def paintEvent(self, _event: Any) -> None:  # noqa: N802 (Qt's name)
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect(), QtGui.QColor(PAPER))
        painter.setPen(QtGui.QColor(INK))
        line = QtCore.QRect(self.MARGIN, 4, self.width(), self.CAPTION)
        painter.drawText(line, QtCore.Qt.AlignVCenter, self._headline())
        if self._shown is None:
            return
        left, top = self.MARGIN, self.CAPTION + self.MARGIN
        cell_width = (self.width() - 2 * left) // self._columns
        cell_height = (self.height() - top - self.MARGIN) // self._rows
        side = max(8, min(cell_width - self.MARGIN, cell_height - self.CAPTION))
        for i in range(min(self._columns * self._rows, len(self._shown.pixels))):
            x = left + (i % self._columns) * cell_width + (cell_width - side) // 2
            y = top + (i // self._columns) * cell_height
            target = QtCore.QRect(x, y, side, side)
            painter.drawImage(target, _image(self._shown.pixels[i]))
            caption, colour = self._caption(i)
            painter.setPen(QtGui.QColor(colour))
            below = QtCore.QRect(x - self.MARGIN, y + side, side + 2 * self.MARGIN, self.CAPTION)
            painter.drawText(below, QtCore.Qt.AlignCenter, caption)

    def _headline(self) -> str:
        if not self._scored:
            return f"predicted class; {self._lost} images lost"
        return (
            f"predicted (true) class; {self._right / self._scored:.1%} of {self._scored} images "
            f"right, {self._lost} lost"
        )

    def _caption(self, i: int) -> tuple[str, str]:
        assert self._shown is not None
        predicted = int(self._shown.classes[i])
        text = self._names[predicted] if predicted >= 0 else "lost"
        if self._shown.labels is None:
            return text, INK
        true = int(self._shown.labels[i])
        return f"{text} ({self._names[true]})", RIGHT if predicted == true else WRONG


def _image(pixels: NDArray[np.uint8]) -> QtGui.QImage:
    """A picture [C,H,W] in grey or RGB."""
    channels, height, width = pixels.shape
    form = QtGui.QImage.Format_Grayscale8 if channels == 1 else QtGui.QImage.Format_RGB888
    data = np.ascontiguousarray(pixels.transpose(1, 2, 0)).tobytes()
    return QtGui.QImage(data, width, height, width * channels, form).copy()


class picture_sink(gr.basic_block):
    """Shows the images of a frame with their predicted and true classes.

    Message inputs: ``images``, the frames as :class:`image_source` sends them, and ``classes``,
    what the tail makes of them; the two meet by ``frame_number``.

    Args:
        bundle: a :class:`phydnn.bundle.Bundle`, or the path or name of one; names the classes.
        columns, rows: of the grid of pictures.

    Attributes:
        widget: the QWidget.
    """

    def __init__(
        self, bundle: Bundle | str | os.PathLike[str], columns: int = 8, rows: int = 2
    ) -> None:
        gr.basic_block.__init__(self, name="picture_sink", in_sig=None, out_sig=None)
        if columns < 1 or rows < 1:
            raise ValueError(f"picture_sink: {columns} x {rows} pictures are none")
        bundle = loaded(bundle)
        if bundle.input_shape[0] not in (1, 3):
            raise ValueError(f"picture_sink: {bundle.name} takes neither grey nor RGB images")
        self._shape = bundle.input_shape
        self._frames: dict[int, tuple[NDArray[np.uint8], NDArray[np.int32] | None]] = {}
        self.widget = _Pictures(bundle.classes, columns, rows)
        self._bridge = _Bridge()
        self._bridge.arrived.connect(self.widget.show_frame)
        for port in ("images", "classes"):
            self.message_port_register_in(pmt.intern(port))
            self.set_msg_handler(pmt.intern(port), getattr(self, f"_on_{port}"))

    def _on_images(self, message: Any) -> None:
        metadata, values = pdus.parts(message)
        number = pdus.get(metadata, "frame_number")
        if number is None or values is None:
            return
        while len(self._frames) >= REMEMBERED:
            del self._frames[next(iter(self._frames))]
        self._frames[number] = values.reshape(-1, *self._shape), pdus.get(metadata, "labels")

    def _on_classes(self, message: Any) -> None:
        metadata, classes = pdus.parts(message)
        frame = self._frames.pop(pdus.get(metadata, "frame_number"), None)
        if frame is None:
            return
        pixels, labels = frame
        if pdus.erased(metadata) or classes is None or len(classes) != len(pixels):
            classes = np.full(len(pixels), -1, np.int32)
        self._bridge.arrived.emit(_Shown(pixels, labels, classes))


class _Lines(QtWidgets.QTextEdit):
    """Lines of text, each in its colour; the oldest make room."""

    KEPT = 500

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.document().setMaximumBlockCount(self.KEPT)
        self.setMinimumSize(320, 120)

    def show_line(self, line: tuple[str, str]) -> None:
        written, colour = line
        self.setTextColor(QtGui.QColor(colour))
        # As plain text: what came over the air is no markup.
        for part in written.split("\n"):
            self.append("")
            self.insertPlainText(part)


class text_sink(gr.basic_block):
    """Shows lines of text as they arrive, and those that were sent.

    Message inputs: ``text``, PDUs of UTF-8 as :class:`semantic_decoder` gives them, shown in black,
    a gap in red; ``sent``, symbols or such PDUs, shown in grey.

    Attributes:
        widget: the QWidget.
    """

    def __init__(self) -> None:
        gr.basic_block.__init__(self, name="text_sink", in_sig=None, out_sig=None)
        self.widget = _Lines()
        self._bridge = _Bridge()
        self._bridge.arrived.connect(self.widget.show_line)
        for port in ("text", "sent"):
            self.message_port_register_in(pmt.intern(port))
            self.set_msg_handler(pmt.intern(port), getattr(self, f"_on_{port}"))

    def _on_text(self, message: Any) -> None:
        metadata, values = pdus.parts(message)
        if values is not None:
            colour = WRONG if pdus.erased(metadata) else INK
            self._bridge.arrived.emit((values.tobytes().decode(errors="replace"), colour))

    def _on_sent(self, message: Any) -> None:
        if pmt.is_symbol(message):
            self._bridge.arrived.emit((pmt.symbol_to_string(message), FAINT))
            return
        _, values = pdus.parts(message)
        if values is not None and values.dtype == np.uint8:
            self._bridge.arrived.emit((values.tobytes().decode(errors="replace"), FAINT))


class _Estimate(QtWidgets.QWidget):
    """A chart of a channel estimate over the subcarriers, in dB."""

    LOW, HIGH, STEP = -20, 10, 5
    LEFT, TOP, RIGHT, BOTTOM = 56, 28, 12, 44

    def __init__(self) -> None:
        super().__init__()
        self._ls = self._refined = np.empty(0)
        self._title = "CSI: no frame yet"
        self.setMinimumSize(320, 220)

    def show_frame(self, csi: Any) -> None:
        count = pdus.get(csi, "subcarriers", 0)
        self._ls, self._refined = (
            20 * np.log10(np.maximum(np.abs(pdus.get(csi, key)[:count]), 1e-6))
            for key in ("ls", "refined")
        )
        self._title = (
            f"CSI: Es/N0 {pdus.get(csi, 'snr_db'):.1f} dB, "
            f"carrier offset {pdus.get(csi, 'cfo') / 1e3:.2f} kHz"
        )
        self.update()

    def paintEvent(self, _event: Any) -> None:  # noqa: N802 (Qt's name)
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.Antialiasing)
        painter.fillRect(self.rect(), QtGui.QColor(PAPER))
        area = self.rect().adjusted(self.LEFT, self.TOP, -self.RIGHT, -self.BOTTOM)
        half = max(1, self._ls.size // 2)

        def x_of(k: float) -> float:
            return area.left() + (k + half) / (2 * half) * area.width()

        def y_of(decibels: float) -> float:
            return area.top() + (self.HIGH - decibels) / (self.HIGH - self.LOW) * area.height()

        self._draw_axes(painter, area, half, x_of, y_of)
        painter.setClipRect(area)
        k = np.concatenate([np.arange(-half, 0), np.arange(1, half + 1)])
        painter.setPen(QtGui.QPen(QtGui.QColor(FAINT), 3, cap=QtCore.Qt.RoundCap))
        for at, value in zip(k, self._ls, strict=False):
            painter.drawPoint(QtCore.QPointF(x_of(at), y_of(value)))
        painter.setPen(QtGui.QPen(QtGui.QColor(SIGNAL), 2))
        line = zip(k, self._refined, strict=False)
        painter.drawPolyline(
            QtGui.QPolygonF([QtCore.QPointF(x_of(at), y_of(value)) for at, value in line])
        )

    def _draw_axes(self, painter: Any, area: Any, half: int, x_of: Any, y_of: Any) -> None:
        centre, grid = QtCore.Qt.AlignCenter, QtGui.QPen(QtGui.QColor("#d8dee4"), 1)
        ink = QtGui.QColor(INK)
        for decibels in range(self.LOW, self.HIGH + 1, self.STEP):
            y = round(y_of(decibels))
            painter.setPen(grid)
            painter.drawLine(area.left(), y, area.right(), y)
            painter.setPen(ink)
            box = QtCore.QRect(area.left() - 36, y - 10, 32, 20)
            painter.drawText(box, QtCore.Qt.AlignRight | QtCore.Qt.AlignVCenter, str(decibels))
        for k in range(-half // 100 * 100, half + 1, 100):
            if abs(k) > half:
                continue
            x = round(x_of(k))
            painter.setPen(grid)
            painter.drawLine(x, area.top(), x, area.bottom())
            painter.setPen(ink)
            painter.drawText(QtCore.QRect(x - 30, area.bottom() + 3, 60, 18), centre, str(k))
        painter.drawRect(area)
        painter.drawText(
            QtCore.QRect(area.left(), area.bottom() + 20, area.width(), 20), centre, "subcarrier"
        )
        painter.drawText(QtCore.QRect(area.left(), 2, area.width(), 24), centre, self._title)
        painter.save()
        painter.rotate(-90)
        side = QtCore.QRect(-area.bottom(), 0, area.height(), 18)
        painter.drawText(side, centre, "|H| / dB: least squares (grey), refined (blue)")
        painter.restore()


class csi_sink(gr.basic_block):
    """Shows the channel estimate of each frame: magnitude over the subcarriers.

    Message input ``csi``: the dicts of ``csi_estimator``. Drawn is the first pilot symbol, as least
    squares has it and refined.

    Attributes:
        widget: the QWidget.
    """

    def __init__(self) -> None:
        gr.basic_block.__init__(self, name="csi_sink", in_sig=None, out_sig=None)
        self.widget = _Estimate()
        self._bridge = _Bridge()
        self._bridge.arrived.connect(self.widget.show_frame)
        self.message_port_register_in(pmt.intern("csi"))
        self.set_msg_handler(pmt.intern("csi"), self._on_csi)

    def _on_csi(self, message: Any) -> None:
        if pmt.is_dict(message):
            self._bridge.arrived.emit(message)
