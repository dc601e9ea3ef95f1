# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""What lies between a sender's samples and a receiver's: a channel, a file, sockets or radios."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from phydnn.errors import InputError
from phydnn.radios import Radio

from . import usrp
from .ledger import HELD_BACK
from .phydnn_python import zmq_sink, zmq_source
from .recording import player, recorder

FLUSH = 16384
"""Zeros after the last frame over sockets: more than an emulator's longest delay and filters."""
DEVICE_LOSS_S = 5.0
"""A radio whose samples have stood still for so long is gone."""
SETTLED_S = 0.25
"""What a receiver takes before the first burst: its gains settle, and its stream gets going."""
ACKNOWLEDGED_S = 2.0
"""How long a radio may take to acknowledge its last burst."""


class Way:
    """What the ways have in common, and what they do unless they say otherwise.

    Attributes:
        paced: whether the receiver's samples are the sender's, in this process: the next frame
            leaves when one has been settled, and counts tell which can come no more.
        lag: ppm of the samples that do not arrive, since the receiver's clock is slower.
        flush: zeros that the last frame needs after it.
        drains: whether the receiver's samples end with the sender's.
    """

    paced = False
    drains = False
    lag = 0.0
    flush = 0

    def connect(self, top: Any, sender: Any, receiver: Any) -> Any:
        """Wires it between the ends, one of which may be None; returns what feeds the receiver."""
        raise NotImplementedError

    def connect_symbols(self, top: Any, source: Any, sender: Any) -> None:
        """Wires the payloads to the transmitter."""
        top.msg_connect(source, "symbols", sender, "symbols")

    def watched(self) -> contextlib.AbstractContextManager[Any]:
        """What is entered while it runs."""
        return contextlib.nullcontext()

    def ready(self) -> bool:
        """Whether the first frame may leave."""
        return True

    def taken(self) -> int:
        """Samples that have left the sender for good."""
        return 0

    def surely(self, samples: int) -> int:
        """How many of the samples that were let out come through, whatever the scheduler does."""
        return samples

    def finish(self, frames: int) -> None:
        """Waits for what is still on its way from the sender, which sent so many frames."""

    def fault(self, _let_out: int) -> str:
        """What went wrong for good, if anything did, the sender having let out so many samples."""
        return ""

    def record(self) -> dict[str, Any]:
        """The keys that it adds to the results."""
        return {}


class Loopback(Way):
    """The channel block, between both ends.

    Args:
        air: the block.
        sfo_ppm: its sample clock offset.
    """

    paced = True

    def __init__(self, air: Any, sfo_ppm: float) -> None:
        self._air, self.lag = air, sfo_ppm

    def connect(self, top: Any, sender: Any, receiver: Any) -> Any:
        top.connect(sender, self._air, receiver)
        return self._air

    def surely(self, samples: int) -> int:
        return max(0, int(samples / (1 + 1e-6 * self.lag)) - HELD_BACK)


class Played(Way):
    """A recording, which has the receiver's clock already."""

    paced = True

    def __init__(self, source: player) -> None:
        self._source = source

    def connect(self, top: Any, sender: Any, receiver: Any) -> Any:
        top.connect(self._source, receiver)
        return self._source

    def fault(self, _let_out: int) -> str:
        return self._source.fault


class Written(Way):
    """A recording that is being made of what is sent."""

    def __init__(self, sink: recorder) -> None:
        self._sink = sink

    def connect(self, top: Any, sender: Any, receiver: Any) -> Any:
        return None

    def taken(self) -> int:
        return self._sink.samples()


class Sockets(Way):
    """ZeroMQ in srsRAN's protocol: the sender answers, the receiver asks.

    Args:
        bind: where the sender answers; None without one.
        connect: where the receiver asks, empty for where the sender answers; None without one.
        air: a channel block before the sender's socket, or None.
        sfo_ppm: of that block.

    Raises:
        InputError: an endpoint is none, or cannot be bound.
    """

    drains = True
    flush = FLUSH

    def __init__(
        self, bind: str | None, connect: str | None, air: Any = None, sfo_ppm: float = 0.0
    ) -> None:
        self._sink = self._source = None
        self._inside = None if air is None else Loopback(air, sfo_ppm)
        self._air = air
        try:
            if bind is not None:
                self._sink = zmq_sink(bind)
            if connect is not None:
                self._source = zmq_source(connect or (self._sink and self._sink.endpoint))
        except (RuntimeError, ValueError) as error:
            raise InputError(str(error)) from error

    def connect(self, top: Any, sender: Any, receiver: Any) -> Any:
        if sender is not None:
            top.connect(sender, *([self._air] if self._air else []), self._sink)
        if receiver is not None:
            top.connect(self._source, receiver)
        return self._source

    def taken(self) -> int:
        return self._sink.samples if self._sink else 0

    def surely(self, samples: int) -> int:
        return self._inside.surely(samples) if self._inside else samples

    def record(self) -> dict[str, Any]:
        record = {}
        for verb, port in (("served", self._sink), ("received", self._source)):
            if port is not None:
                record[f"samples_{verb}"] = port.samples
                record[f"connections_{verb}"] = port.connections
                record[f"messages_refused_{verb}"] = port.refused
        return record


class Radios(Way):
    """USRPs, or one with both of its ports.

    Args:
        radio: the profile.
        sends, receives: which of its ways are used.
        period_s: from one burst to the next, each at its sample; 0 for bursts that leave as they
            come.

    Raises:
        InputError: the device cannot be what the profile says.
        RunError: there is no device, or it cannot be set.
    """

    def __init__(self, radio: Radio, sends: bool, receives: bool, period_s: float) -> None:
        self._radio, self._period_s = radio, period_s
        self._sink = usrp.sink(radio) if sends else None
        self._source = usrp.source(radio) if receives else None
        if self._sink is not None:
            usrp.set_up(self._sink)
        self._events, self._gaps = usrp.events(), usrp.gaps(radio.sample_rate)
        self._letters = usrp.letters()
        self._moved, self._since = (-1, -1), 0.0

    def connect(self, top: Any, sender: Any, receiver: Any) -> Any:
        if sender is not None:
            top.connect(sender, self._sink)
            top.msg_connect(self._sink, "async_msgs", self._events, "events")
        if receiver is not None:
            top.connect(self._source, *usrp.paced(self._radio), receiver)
            top.connect(self._source, self._gaps)
        return self._source

    def connect_symbols(self, top: Any, source: Any, sender: Any) -> None:
        if not self._period_s:
            super().connect_symbols(top, source, sender)
            return
        # GNU Radio does not keep a block's Python half alive.
        self._timer = usrp.timer(self._now, self._radio.sample_rate, self._period_s)
        top.msg_connect(source, "symbols", self._timer, "symbols")
        top.msg_connect(self._timer, "symbols", sender, "symbols")

    def watched(self) -> contextlib.AbstractContextManager[Any]:
        return self._letters

    def _now(self) -> float:
        now = self._sink.get_time_now().get_real_secs() if self._sink else 0.0
        # A simulator's clock may stand still while its samples count on.
        return max(now, self._received() / self._radio.sample_rate)

    def _received(self) -> int:
        return self._source.nitems_written(0) if self._source else 0

    def ready(self) -> bool:
        settled = SETTLED_S * self._radio.sample_rate
        return self._source is None or self._received() > settled

    def taken(self) -> int:
        return self._sink.nitems_read(0) if self._sink else 0

    def finish(self, frames: int) -> None:
        deadline = time.monotonic() + ACKNOWLEDGED_S + usrp.LEAD_S + self._period_s
        while self._events.counts["bursts_acknowledged"] < frames and time.monotonic() < deadline:
            time.sleep(0.01)

    def fault(self, let_out: int) -> str:
        moved = (self.taken(), self._received())
        waits = self._source is not None or let_out > moved[0]
        now = time.monotonic()
        if moved != self._moved or not waits:
            self._moved, self._since = moved, now
        elif now - self._since > DEVICE_LOSS_S + self._period_s:
            return (
                f"radio {self._radio.name} has stood still for {DEVICE_LOSS_S:.0f} s: is it still "
                "connected?"
            )
        return ""

    def record(self) -> dict[str, Any]:
        faults = self._gaps.counts() | self._events.counts
        bursts = faults.pop("bursts_acknowledged")
        record: dict[str, Any] = {"radio": self._radio.name}
        if self._sink is not None:
            record |= {"samples_served": self.taken(), "bursts_acknowledged": bursts}
        if self._source is not None:
            record["samples_received"] = self._received()
        return record | {
            "faults": faults,
            "letters": self._letters.counts,
            "void": any(faults.values()) or any(self._letters.counts.values()),
        }
