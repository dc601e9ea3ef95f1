# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""TCP ports of this machine, for links that live for one measurement."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[str]:
    """ZMQ endpoints on the loopback interface that nobody has, like ``tcp://127.0.0.1:12345``.

    They lie below the ports that the system gives to connections: one of those could otherwise
    take a port that is let go for a moment, and a client that asks again and again for a listener
    could even meet itself there.

    Raises:
        OSError: the loopback interface has none left.
    """
    endpoints: list[str] = []
    with ExitStack() as stack:
        for port in random.SystemRandom().sample(range(10_000, 30_000), 20_000):
            if len(endpoints) == count:
                return endpoints
            probe = stack.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            endpoints.append(f"tcp://127.0.0.1:{port}")
    raise OSError("no port is free on the loopback interface")
