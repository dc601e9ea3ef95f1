# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""A network's delivery over a link: the job, and the kernel that codes its weights."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pmt
from numpy.typing import NDArray

from gnuradio import gr
from phydnn.delivery import Client, Shipment
from phydnn.errors import InputError
from phydnn.spiral import LayerCode

from . import pdus
from .jobs import Job
from .phydnn_python import kernels, to_vector

WEIGHTS = 1
"""The kind of payload in the frames' headers."""


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
            cast(Any, ticket),  # all that is asked of a bundle here is its name and id
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
