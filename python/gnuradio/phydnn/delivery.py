# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""A network's delivery over a link: its blocks, the job, and the kernel that codes its weights."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from gnuradio import gr
from phydnn.datasets import load as load_images
from phydnn.delivery import FRAME_USES, AirBundle, Client, Network, Shipment, Ticket
from phydnn.errors import InputError, RunError
from phydnn.spiral import RULES, LayerCode

from . import pdus
from .jobs import Job, in_the_order_of
from .phydnn_python import kernels, to_vector

WEIGHTS = 1
"""The kind of payload in the frames' headers."""
ENDLESS = 1 << 31
"""Deliveries: more than a link carries."""


def kernel_of(code: LayerCode) -> Any:
    """The C++ kernel of a layer's code, which encodes and decodes as it does."""
    return kernels.layer_code(
        [spiral.gamma for spiral in code.spirals],
        [spiral.alpha for spiral in code.spirals],
        code.repeats,
        code.amplitude,
    )


class _frame_source(gr.basic_block):
    """Payloads that are there already, one for each message at ``done``."""

    def __init__(self, frames: Sequence[NDArray[np.complex64]], passes: int, flush: int) -> None:
        gr.basic_block.__init__(self, name="frame_source", in_sig=None, out_sig=None)
        self._frames, self._last, self._flush = frames, passes * len(frames) - 1, flush
        self._next = 0
        self.message_port_register_in(pmt.intern("done"))
        self.message_port_register_out(pmt.intern("symbols"))
        self.set_msg_handler(pmt.intern("done"), self._on_done)

    def _on_done(self, _message: Any) -> None:
        if self._next > self._last:
            return
        number, self._next = self._next, self._next + 1
        metadata = pdus.put(
            pmt.make_dict(), frame_number=number, head_s=0.0, head_end=time.perf_counter()
        )
        if number == self._last and self._flush:
            metadata = pdus.put(metadata, gap=self._flush)
        symbols = to_vector(self._frames[number % len(self._frames)])
        self.message_port_pub(pmt.intern("symbols"), pmt.cons(metadata, symbols))


class network_source(_frame_source):
    """A network's delivery, frame by frame, over and over.

    Message output ``symbols``: PDUs with a c32vector, the payload of a frame, and its
    ``frame_number``, which counts on from one delivery to the next. Message output ``ticket``: once
    at the start, a PDU with a u8vector of JSON, what a :class:`network_sink` has to know. Message
    input ``done``: any message lets a frame out. Connect ``sent`` of the transmitter.

    Args:
        bundle: a :class:`phydnn.delivery.AirBundle`, or the path or name of one.
        snr_db: Es/N0 that the delivery is made for.
        frame_uses: channel uses in a frame of weights.
        law: of the spirals, "best" or "paper".
        passes: deliveries; 0 for no end.
        in_flight: frames that leave before the first ``done``.

    Raises:
        InputError: the bundle is broken, or a parameter out of range.
    """

    def __init__(
        self,
        bundle: AirBundle | str | os.PathLike[str],
        snr_db: float = 15.0,
        frame_uses: int = FRAME_USES,
        law: str = "best",
        passes: int = 0,
        in_flight: int = 4,
    ) -> None:
        if law not in ("best", "paper"):
            raise InputError(f"there is no law '{law}' of spirals: choose best or paper")
        if passes < 0 or in_flight < 1:
            raise InputError("passes must be 0 or more, and in_flight 1 or more")
        loaded = bundle if isinstance(bundle, AirBundle) else AirBundle.load(bundle)
        alpha = 1.0 if law == "paper" else None
        shipment = Shipment(loaded, snr_db, frame_uses, alpha, kernel_of)
        super().__init__(shipment.frames, passes or ENDLESS, 0)
        self.shipment, self._in_flight = shipment, in_flight
        self.message_port_register_out(pmt.intern("ticket"))

    def start(self) -> bool:
        """Called by the scheduler."""
        ticket = to_vector(np.frombuffer(self.shipment.ticket.json().encode(), np.uint8).copy())
        self.message_port_pub(pmt.intern("ticket"), pmt.cons(pmt.make_dict(), ticket))
        for _ in range(self._in_flight):
            self._on_done(None)
        return True


class network_sink(gr.basic_block):
    """Collects deliveries, rebuilds the networks, and runs each on a data set.

    Message inputs: ``ticket`` of the :class:`network_source`; ``symbols``, the equalizer's PDUs
    with ``n0``. A delivery ends with its last frame, whether that arrives or is known to be lost.
    Message output ``text``: a PDU a delivery with a u8vector, a line that says how it went, and the
    metadata ``accuracy``, ``weights``, ``weights_filled``, ``frames_missing``, or ``erased`` where
    nothing came of it. Message output ``network``: a PDU with a u8vector, the network as ONNX.

    Args:
        data: labelled images to run it on, as :func:`phydnn.datasets.load` takes them, of the size
            that the network takes.
        rule: of the decoder, "mmse" or "nearest".
        limit: only the first so many images; 0 for all.

    Raises:
        InputError: there is no such rule, or the data set is broken or has no labels.
    """

    def __init__(self, data: str = "digits", rule: str = "mmse", limit: int = 256) -> None:
        gr.basic_block.__init__(self, name="network_sink", in_sig=None, out_sig=None)
        if rule not in RULES:
            raise InputError(f"rule must be mmse or nearest, not '{rule}'")
        # Now, since frames would pile up while a handler reads files.
        self._given = load_images(data, "test").take(slice(limit or None))
        if self._given.y is None:
            raise InputError(f"'{data}' has no labels to measure an accuracy with")
        self._rule = rule
        self._client: Client | None = None
        self._images = self._given
        self._pass = 0
        for port in ("ticket", "symbols"):
            self.message_port_register_in(pmt.intern(port))
            self.set_msg_handler(pmt.intern(port), getattr(self, f"_on_{port}"))
        for port in ("text", "network"):
            self.message_port_register_out(pmt.intern(port))

    def _on_ticket(self, message: Any) -> None:
        _, values = pdus.parts(message)
        try:
            if values is None or values.dtype != np.uint8:
                raise InputError("a ticket comes as a u8vector")
            ticket = Ticket.parse(values.tobytes(), "what came at port ticket")
            self._images = in_the_order_of(ticket, self._given)
            self._client = Client(ticket)
        except InputError as error:
            gr.logger(self.name()).error(f"no delivery: {error}.")

    def _on_symbols(self, message: Any) -> None:
        metadata, symbols = pdus.parts(message)
        number = pdus.get(metadata, "frame_number")
        if self._client is None or not isinstance(number, int) or number < 0:
            return
        frames = len(self._client.ticket.uses)
        a_pass, place = divmod(number, frames)
        if a_pass > self._pass:
            self._finish()
            self._pass = a_pass
        n0 = pdus.get(metadata, "n0")
        if not pdus.erased(metadata) and symbols is not None and n0 is not None:
            self._client.take(place, symbols, n0)
        if place == frames - 1:
            self._finish()
            self._pass = a_pass + 1

    def _finish(self) -> None:
        """Ends a delivery, and begins the next."""
        client, images = self._client, self._images
        assert client is not None and images.y is not None
        self._client = Client(client.ticket)
        missing = len(client.missing)
        if missing == len(client.ticket.uses):
            return
        metadata = pdus.put(pmt.make_dict(), delivery=self._pass, frames_missing=missing)
        try:
            model, counts = client.network(self._rule, kernel_of)
            accuracy = float(np.mean(Network(model).classes(images.x) == images.y))
        except (InputError, RunError) as error:
            metadata = pdus.erase(metadata, "payload")
            line = f"delivery {self._pass}: {error}"
        else:
            metadata = pdus.put(metadata, accuracy=accuracy, **counts)
            line = (
                f"delivery {self._pass}: {accuracy:.1%} of {len(images)} images are right, "
                f"{counts['weights_filled']} of {counts['weights']} weights filled in"
            )
            vector = to_vector(np.frombuffer(model, np.uint8).copy())
            self.message_port_pub(pmt.intern("network"), pmt.cons(metadata, vector))
        vector = to_vector(np.frombuffer(line.encode(), np.uint8).copy())
        self.message_port_pub(pmt.intern("text"), pmt.cons(metadata, vector))


class _frame_collector(gr.basic_block):
    """Payloads with the noise on them: real parts, imaginary parts and N0 as one vector."""

    def __init__(self) -> None:
        gr.basic_block.__init__(self, name="frame_collector", in_sig=None, out_sig=None)
        self.message_port_register_in(pmt.intern("symbols"))
        for port in ("demapped", "results"):
            self.message_port_register_out(pmt.intern(port))
        self.set_msg_handler(pmt.intern("symbols"), self._on_symbols)

    def _on_symbols(self, message: Any) -> None:
        metadata, symbols = pdus.parts(message)
        vector = np.zeros(0, np.float32)
        n0 = pdus.get(metadata, "n0")
        if not pdus.erased(metadata):
            sound = isinstance(symbols, np.ndarray) and symbols.dtype == np.complex64
            if sound and n0 is not None and np.size(n0) in (1, len(symbols)):
                noise = np.broadcast_to(np.asarray(n0, np.float32), symbols.shape)
                vector = np.concatenate([symbols.real, symbols.imag, noise])
            else:
                metadata = pdus.erase(metadata, "payload")
        result = pmt.cons(pdus.put(metadata, tail_s=0.0), to_vector(vector))
        for port in ("demapped", "results"):
            self.message_port_pub(pmt.intern(port), result)


class Delivering(Job):
    """A network at one end, what came of it at the other.

    Its items are channel uses; its outcome is the client.

    Args:
        client: that takes the frames in; its ticket says which there are.
        shipment: what is sent; None at a receiver alone.
        numbers: the frames of the ticket that are sent, in order; None for all.

    Raises:
        InputError: there are none.
    """

    def __init__(
        self,
        client: Client,
        shipment: Shipment | None = None,
        numbers: Sequence[int] | None = None,
    ) -> None:
        ticket = client.ticket
        self.client, self.shipment = client, shipment
        self.numbers = list(range(len(ticket.uses)) if numbers is None else numbers)
        if not self.numbers:
            raise InputError("all frames of the delivery are there already")
        uses = np.array([ticket.uses[number] for number in self.numbers], np.int64)
        super().__init__(
            ticket,
            kind=WEIGHTS,
            precoded=False,
            data=ticket.name,
            unit="channel uses",
            batch=int(uses.max()),
            counts=uses,
            uses=uses,
        )

    def begin(self, passes: int) -> None:
        """What came before counts: a delivery goes on where it was cut off."""

    def source(self, passes: int, flush: int) -> Any:
        assert self.shipment is not None
        frames = [self.shipment.frames[number] for number in self.numbers]
        return _frame_source(frames, passes, flush)

    def sink(self) -> Any:
        return _frame_collector()

    def take(self, number: int, values: Any) -> bool:
        if values is None or len(values) % 3:
            return False
        real, imaginary, n0 = np.reshape(values, (3, -1))
        return self.client.take(self.numbers[number % self.frames], real + 1j * imaginary, n0)

    def outcome(self) -> Client:
        return self.client

    def record(self) -> dict[str, Any]:
        return {"frames_missing": len(self.client.missing)}

    def draw(self, path: Path, title: str, snapshot: Any) -> None:
        raise InputError("a delivery has no picture")

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self.client.ticket)).encode()).hexdigest()

    def cut(self, count: int, batch: int) -> Delivering:
        if (count, batch) != (self.count, self.batch):
            raise InputError("the recording is of another delivery than the ticket")
        return self
