# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The emulator's live control: gains and taps are changed over a ZeroMQ socket.

The emulator binds a REP socket; a client sends a JSON object and gets one back. Requests:

- ``{"do": "status"}``: the emulator's counts;
- ``{"do": "set_gain", "transmitter": "device", "receiver": "edge", "gain_db": -3}``: multiplies
  what the scenario has for that link by so much, 0 dB or less, in place of an earlier gain;
- ``{"do": "set_taps", "transmitter": "device", "receiver": "edge", "delays_ns": [0, 250],
  "gains_db": [0, -6], "phases_deg": [0, 90]}``: replaces the link's taps, in the words of a
  scenario file;
- ``{"do": "stop"}``: ends the emulation as Ctrl-C does.

A change may name the ``sample`` from which on it is to hold, else it holds from the next one to be
emulated. The answer is ``{"ok": true, ...}`` or ``{"ok": false, "error": "a sentence"}``; that to a
change has the ``sample``. The same changes at the same samples make the same output.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from phydnn.errors import InputError
from phydnn.scenario import Scenario

MAX_MESSAGE = 1 << 16
MAX_RECORD = 1 << 26
MIN_GAIN_DB = -300.0
TROUBLES = (
    "zero_filled", "lost", "stalls", "reconnects", "refused", "clipped", "not_finite",
)  # fmt: skip
"""Counts of a node that are 0 where all goes well."""
CLIENT_SECONDS = 1.0
"""How long an answer may take to leave: a client that does not read must not hold the rest up."""


class Engine(Protocol):
    """What is controlled: the block ``gnuradio.phydnn.emulator``."""

    def status(self) -> dict[str, Any]:
        """Counts, as JSON has them."""

    def set_gain(self, transmitter: int, receiver: int, db: float, at: int) -> int:
        """Sets a link's gain from a sample on; -1: the next. Returns the sample."""

    def set_taps(
        self,
        transmitter: int,
        receiver: int,
        delays: NDArray[np.float64],
        gains: NDArray[np.complex64],
        at: int,
    ) -> int:
        """Sets a link's taps from a sample on; -1: the next. Returns the sample."""


class Control:
    """The control socket of a running emulator.

    Attributes:
        endpoint: as bound, its port filled in; empty: none.
        changes: what was changed so far: the requests, each with its ``sample``.
        stopped: whether a client asked to stop.
    """

    def __init__(self, endpoint: str, engine: Engine, scenario: Scenario) -> None:
        """Binds the socket; without an endpoint there is none, and :meth:`replay` alone is of use.

        Raises:
            InputError: the endpoint is wrong or taken.
        """
        import zmq

        self.changes: list[dict[str, Any]] = []
        self.stopped = False
        self.endpoint = ""
        self._engine, self._scenario = engine, scenario
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REP)
        self._socket.linger = int(1000 * CLIENT_SECONDS)  # the answer to `stop` gets there
        self._socket.maxmsgsize = MAX_MESSAGE  # a client that sends more is disconnected
        self._socket.sndtimeo = int(1000 * CLIENT_SECONDS)
        if not endpoint:
            return
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise InputError(f"the control endpoint {endpoint} cannot be used: {error}") from error
        self.endpoint = self._socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def close(self) -> None:
        """Unbinds the socket, once its last answer has left."""
        self._context.destroy()

    def serve(self, seconds: float) -> None:
        """Answers a request, if one comes within that time."""
        import zmq

        if not self._socket.poll(int(1000 * seconds)):
            return
        request = self._socket.recv_multipart()
        try:
            reply = {"ok": True} | self.do(b"".join(request))
        except InputError as error:
            reply = {"ok": False, "error": str(error)}
        try:
            self._socket.send(json.dumps(reply, allow_nan=False).encode())
        except zmq.Again:
            return  # the client is gone, or does not read

    def replay(self, path: Path) -> None:
        """Schedules the changes of an earlier run, from the JSON that its ``--json`` wrote.

        Raises:
            InputError: the file cannot be read, or holds something else.
        """
        try:
            with path.open("rb") as file:
                record = json.loads(file.read(MAX_RECORD))
            changes = record["changes"]
            for change in changes:
                self.do(json.dumps(change).encode())
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        except InputError as error:
            raise InputError(f"{path}: changes: {error}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path} holds no 'changes' of an emulation") from error

    def do(self, request: bytes) -> dict[str, Any]:
        """Does what a request asks for; the fields of the answer.

        Raises:
            InputError: it asks for nothing that can be done.
        """
        try:
            fields = json.loads(request[:MAX_MESSAGE])
        except (ValueError, RecursionError) as error:
            raise InputError("the request is not JSON") from error
        link = {"transmitter", "receiver", "sample"}
        wanted: dict[str, set[str]] = {
            "status": set(),
            "set_gain": link | {"gain_db"},
            "set_taps": link | {"delays_ns", "gains_db", "phases_deg", "gains"},
            "stop": set(),
        }
        do = fields.get("do") if isinstance(fields, dict) else None
        if not isinstance(do, str) or do not in wanted:
            raise InputError(f"the request must be an object with 'do', one of {', '.join(wanted)}")
        if unknown := sorted(set(fields) - wanted[do] - {"do"}):
            raise InputError(f"'{unknown[0]}' is unknown to '{do}'")
        if do == "status":
            return {"status": self._engine.status()}
        if do == "stop":
            self.stopped = True
            return {}
        transmitter, receiver = self._node(fields, "transmitter"), self._node(fields, "receiver")
        at = fields.get("sample", -1)
        if isinstance(at, bool) or not isinstance(at, int) or not -1 <= at < 1 << 63:
            raise InputError("'sample' must be a sample count")
        try:
            if do == "set_gain":
                gain = fields.get("gain_db")
                if isinstance(gain, bool) or not isinstance(gain, (int, float)):
                    raise InputError("'gain_db' must be a number")
                if not MIN_GAIN_DB <= gain <= 0:
                    raise InputError(f"'gain_db' must be {MIN_GAIN_DB:g} to 0")
                sample = self._engine.set_gain(transmitter, receiver, float(gain), at)
            else:
                delays, gains = self._scenario.link_taps(fields)
                taps = gains.astype(np.complex64)
                sample = self._engine.set_taps(transmitter, receiver, delays, taps, at)
        except ValueError as error:
            raise InputError(str(error)) from error
        self.changes.append(fields | {"sample": sample})
        return {"sample": sample}

    def _node(self, fields: dict[str, Any], end: str) -> int:
        name = fields.get(end)
        if not isinstance(name, str):
            raise InputError(f"'{end}' must name a node")
        return self._scenario.index(name)


def status_line(status: dict[str, Any]) -> str:
    """A line for a terminal: how far it is, how fast, and what went wrong at which node."""
    seconds = status["wall_s"]
    rate = status["samples"] / seconds / 1e6 if seconds else 0.0
    parts = [f"{status['state']}: {status['seconds']:.3f} s emulated, {rate:.2f} MS/s"]
    for node in status["nodes"]:
        ends = ("transmitter", "receiver")
        counts = [f"{end} {node[end]}" for end in ends if node[end] in ("absent", "dead")]
        counts += [f"{node[key]} {key.replace('_', ' ')}" for key in TROUBLES if node[key]]
        if counts:
            parts.append(f"{node['name']}: {', '.join(counts)}")
    return "; ".join(parts)
