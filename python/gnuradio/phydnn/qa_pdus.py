# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""What tests of blocks share that answer PDUs with PDUs."""

import time
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from gnuradio import blocks, gr
from gnuradio.phydnn import pdus

QUEUE = pdus.LONGEST_QUEUE


def gaussian(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


def noisy(symbols: NDArray[Any], n0: Any, seed: int = 1) -> NDArray[np.complex64]:
    """Symbols with complex noise of variance ``n0``, one or one each."""
    noise = np.random.default_rng(seed).standard_normal((len(symbols), 2)).view(complex)[:, 0]
    return (symbols + np.sqrt(np.asarray(n0) / 2) * noise).astype(np.complex64)


def pdu(held: Any, **meta: Any) -> Any:
    """A PDU of an array, a string or a PMT."""
    vector = held if isinstance(held, pmt.pmt_base) else pmt.to_pmt(held)
    return pmt.cons(pdus.put(pmt.make_dict(), **meta), vector)


def meta_of(message: Any) -> dict[str, Any]:
    return dict(pmt.to_python(pmt.car(message)) or {})


def answers(block: Any, port_in: str, ports: tuple[str, ...], *messages: Any) -> list[list[Any]]:
    """What a block that does not run yet sends at each port, which should be as many messages."""
    sinks = [blocks.message_debug() for _ in ports]
    top = gr.top_block()
    for port, sink in zip(ports, sinks, strict=True):
        top.msg_connect(block, port, sink, "store")
    for message in messages:
        block._post(pmt.intern(port_in), message)
    top.start()
    deadline = time.monotonic() + 60
    while any(s.num_messages() < len(messages) for s in sinks) and time.monotonic() < deadline:
        time.sleep(0.002)
    top.stop()
    top.wait()
    return [[sink.get_message(i) for i in range(sink.num_messages())] for sink in sinks]


def through(block: Any, port_in: str, port_out: str, *messages: Any) -> list[Any]:
    return answers(block, port_in, (port_out,), *messages)[0]
