# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The second tier of 802.11a and TCP: ns-3, by a small program that is compiled when first needed.

testbed/ns3/wifi_tcp.cc has two stations with ns-3's DCF, TCP (NewReno, every second segment
acknowledged) and error model. Debian's package is ``libns3-dev`` (3.37).

:data:`TOLERANCE` is how far :mod:`phydnn.wifi` and the mean of ns-3 may be apart: what the model
leaves out (its documentation lists it) stays below that for payloads from 1 byte to megabytes, at
all rates, while at most a tenth of the frames are lost. The tests hold both to it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from phydnn.errors import InputError, RunError
from phydnn.wifi import RATES

SOURCE = Path(__file__).resolve().parents[2] / "testbed" / "ns3" / "wifi_tcp.cc"
HEADERS = Path("/usr/include/ns3")
LIBRARIES = ("core", "network", "internet", "mobility", "propagation", "wifi", "traffic-control")
INSTALL = "apt-get install libns3-dev"
TOLERANCE = 0.05
TIMEOUT_S = 600
MAX_REPEATS = 10_000


@dataclass(frozen=True)
class Delivery:
    """A payload that arrived.

    Attributes:
        seconds: from the application's write until the other one has the last byte.
        frames: on air, of both stations, ACK frames and repeated ones too.
        bytes_on_air: of their PSDUs.
    """

    seconds: float
    frames: int
    bytes_on_air: int


def missing() -> str:
    """Why ns-3 cannot be used here, with the command that mends it; empty where it can."""
    if not SOURCE.is_file():
        return "ns-3 needs a checkout: its program testbed/ns3/wifi_tcp.cc is not there"
    if not (HEADERS / "wifi-net-device.h").is_file():
        return f"ns-3 is not installed: {INSTALL}"
    if shutil.which("g++") is None:
        return f"ns-3's program needs a C++ compiler: {INSTALL}"
    return ""


def program() -> Path:
    """The compiled program, from the cache where this source was compiled before.

    Raises:
        RunError: ns-3 is missing, or does not compile.
    """
    if reason := missing():
        raise RunError(reason)
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "phydnn" / f"wifi_tcp-{digest}"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        part = Path(scratch) / path.name
        libraries = [f"-lns3-{name}" for name in LIBRARIES]
        command = ["g++", "-std=c++17", "-O2", str(SOURCE), "-o", str(part), *libraries]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            errors = [line for line in made.stderr.splitlines() if "error" in line]
            raise RunError(f"ns-3's program does not compile: {(errors or ['g++ failed'])[0]}")
        os.replace(part, path)
    return path


def deliver(
    payload: int,
    rate: int = 54,
    snr_db: float = 100.0,
    repeats: int = 10,
    seed: int = 1,
    mtu: int = 1500,
    model: str = "nist",
) -> list[Delivery]:
    """Sends a payload some times over one open TCP connection, in simulated time.

    Args:
        payload: bytes, 1 to 2**30.
        rate: of frames other than ACK frames, in Mb/s; one of :data:`phydnn.wifi.RATES`.
        snr_db: signal over noise in the channel's 20 MHz, -20 to 200; 100 loses nothing.
        repeats: how many times, 1 to 10,000.
        seed: of the backoffs and the errors, from 1.
        mtu: bytes of an IP packet at most, 200 to 2296.
        model: ns-3's error model, "nist" or "yans".

    Raises:
        InputError: an argument is out of range.
        RunError: ns-3 is missing, fails, or is given up: at this SNR nothing arrives.
    """
    if rate not in RATES:
        raise InputError(f"802.11a has no rate of {rate} Mb/s: choose {', '.join(map(str, RATES))}")
    for name, value, low, high in (
        ("payload", payload, 1, 1 << 30),
        ("snr_db", snr_db, -20, 200),
        ("repeats", repeats, 1, MAX_REPEATS),
        ("seed", seed, 1, (1 << 32) - 1),
        ("mtu", mtu, 200, 2296),
    ):
        if not low <= value <= high or math.isnan(value):
            raise InputError(f"{name} must be {low} to {high}: got {value}")
    if model not in ("nist", "yans"):
        raise InputError(f"there is no error model '{model}': choose nist or yans")
    options = {
        "payload": payload,
        "rate": rate,
        "snr": snr_db,
        "repeats": repeats,
        "seed": seed,
        "mtu": mtu,
        "model": model,
    }
    lines = _run([f"--{name}={value}" for name, value in options.items()])
    return [Delivery(**json.loads(line)) for line in lines]


def error_rates(mpdu: int, rate: int, model: str = "nist") -> list[tuple[float, float]]:
    """SNR in dB and chance of losing an MPDU of so many bytes, as ns-3's own error model has it.

    Raises:
        RunError: ns-3 is missing or fails.
    """
    lines = _run([f"--table={mpdu}", f"--rate={rate}", f"--model={model}"])
    entries = [json.loads(line) for line in lines]
    return [(entry["snr_db"], entry["per"]) for entry in entries]


def _run(arguments: list[str]) -> list[str]:
    try:
        done = subprocess.run(
            [str(program()), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(
            f"ns-3 did not end within {TIMEOUT_S} s: send less, or fewer times"
        ) from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise RunError(f"ns-3 failed: {reason}")
    return done.stdout.splitlines()
