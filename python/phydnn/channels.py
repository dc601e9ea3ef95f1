# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Channel specifications: what ``--channel`` means.

``awgn``, ``rayleigh``, ``rician:K`` (K: line-of-sight over scattered power, not in dB) and
``tdl:FILE``, a tapped delay line in a JSON file::

    {
      "description": "an office at 2.4 GHz",
      "delays_s": [0, 1.0e-7, 2.5e-7],
      "powers_db": [0, -6, -12],
      "fading": "frame"
    }

``delays_s``: of each path, in seconds, 0 to 10 ms. ``powers_db``: mean power of each path in dB, or
``gains``: complex gains as ``[real, imaginary]``. ``normalise`` (default true): scales them to a
total power of 1. ``fading``: "static" (default with ``gains``; with ``powers_db``, phases are 0),
"frame" (default with ``powers_db``: drawn anew for each frame) or "doppler", which needs
``doppler_hz``. ``k_factors``: line-of-sight over scattered power of each path (default 0, which is
Rayleigh fading).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phydnn.errors import InputError

MAX_PATHS = 256
MAX_BYTES = 1 << 20
MAX_DELAY_S = 0.01
KEYS = {
    "description",
    "delays_s",
    "powers_db",
    "gains",
    "normalise",
    "fading",
    "k_factors",
    "doppler_hz",
}
FADINGS = ("static", "frame", "doppler")


@dataclass(frozen=True)
class ChannelSpec:
    """A channel model; the fields are arguments of the block ``gnuradio.phydnn.channel``.

    Attributes:
        model: "awgn", "rayleigh", "rician" or "tdl".
        fading: "static", "frame" or "doppler".
        k_factors: line-of-sight over scattered power of each path; may be empty.
        delays: of the paths in seconds; empty unless ``model`` is "tdl".
        gains: of the paths; where they fade, their squared magnitudes are mean powers.
        doppler_hz: largest Doppler shift.
    """

    model: str
    fading: str = "frame"
    k_factors: tuple[float, ...] = ()
    delays: tuple[float, ...] = ()
    gains: tuple[complex, ...] = ()
    doppler_hz: float = 0.0

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for the block, as types that its bindings take."""
        return {
            "model": self.model,
            "fading": self.fading,
            "k_factors": list(self.k_factors),
            "delays": list(self.delays),
            "gains": list(self.gains),
            "doppler_hz": self.doppler_hz,
        }


def parse_channel(spec: str) -> ChannelSpec:
    """Reads a channel specification such as ``rician:4`` or ``tdl:office.json``.

    Raises:
        InputError: the specification or its file is wrong.
    """
    model, colon, argument = spec.partition(":")
    if model in ("awgn", "rayleigh"):
        if colon:
            raise InputError(f"channel {model!r} takes no argument, but {spec!r} has one")
        return ChannelSpec(model)
    if model == "rician":
        try:
            k = float(argument)
        except ValueError:
            k = math.nan
        if not 0 <= k <= 1e9:
            raise InputError(f"channel 'rician:K' needs K from 0 to 1e9, but {spec!r} is given")
        return ChannelSpec(model, k_factors=(k,))
    if model == "tdl" and argument:
        return load_tdl(Path(argument))
    raise InputError(
        f"channel must be 'awgn', 'rayleigh', 'rician:K' or 'tdl:FILE', but {spec!r} is given"
    )


def load_tdl(path: Path) -> ChannelSpec:
    """Reads a tapped delay line; the module's documentation describes the file.

    Raises:
        InputError: the file cannot be read, or a field is missing, unknown or out of range.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"channel file {path} cannot be read: {error.strerror}") from error
    if len(text) > MAX_BYTES:
        raise InputError(f"channel file {path} is larger than {MAX_BYTES} bytes")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"channel file {path} is not JSON: {error}") from error
    try:
        return _tdl(fields)
    except InputError as error:
        raise InputError(f"channel file {path}: {error}") from None


def _tdl(fields: Any) -> ChannelSpec:
    if not isinstance(fields, dict):
        raise InputError("it must hold one object")
    unknown = sorted(set(fields) - KEYS)
    if unknown:
        raise InputError(f"'{unknown[0]}' is unknown; the fields are {', '.join(sorted(KEYS))}")
    delays = _numbers(fields, "delays_s", 0, MAX_DELAY_S)
    if not 1 <= len(delays) <= MAX_PATHS:
        raise InputError(f"'delays_s' must hold 1 to {MAX_PATHS} paths")
    if ("powers_db" in fields) == ("gains" in fields):
        raise InputError("it must hold either 'powers_db' or 'gains'")
    if "powers_db" in fields:
        powers_db = _numbers(fields, "powers_db", -200, 100)
        gains = [complex(10 ** (power / 20)) for power in powers_db]
    else:
        gains = _gains(fields["gains"])
    if len(gains) != len(delays):
        raise InputError(f"there are {len(delays)} 'delays_s' but {len(gains)} gains or powers")
    power = sum(abs(gain) ** 2 for gain in gains)
    if power == 0:
        raise InputError("'gains' must not all be 0")
    normalise = fields.get("normalise", True)
    if not isinstance(normalise, bool):
        raise InputError("'normalise' must be true or false")
    if normalise:
        gains = [gain / math.sqrt(power) for gain in gains]
    fading = fields.get("fading", "frame" if "powers_db" in fields else "static")
    if fading not in FADINGS:
        raise InputError(f"'fading' must be one of {', '.join(FADINGS)}")
    k_factors = _numbers(fields, "k_factors", 0, 1e9) if "k_factors" in fields else []
    if k_factors and len(k_factors) != len(delays):
        raise InputError("'k_factors' must have one value per delay")
    doppler_hz = fields.get("doppler_hz", 0.0)
    if not _is_number(doppler_hz) or doppler_hz < 0:
        raise InputError("'doppler_hz' must be a number, 0 or more")
    if (fading == "doppler") != (doppler_hz > 0):
        raise InputError("'doppler_hz' must be above 0 with fading 'doppler', and only there")
    return ChannelSpec("tdl", fading, tuple(k_factors), tuple(delays), tuple(gains), doppler_hz)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _numbers(fields: dict[str, Any], key: str, low: float, high: float) -> list[float]:
    values = fields.get(key)
    if not isinstance(values, list) or not all(_is_number(v) and low <= v <= high for v in values):
        raise InputError(f"'{key}' must be a list of numbers from {low} to {high}")
    return [float(value) for value in values]


def _gains(values: Any) -> list[complex]:
    if not isinstance(values, list) or not all(
        isinstance(pair, list)
        and len(pair) == 2
        and all(_is_number(part) and abs(part) <= 1e6 for part in pair)
        for pair in values
    ):
        raise InputError("'gains' must be a list of pairs [real, imaginary] of numbers up to 1e6")
    return [complex(*pair) for pair in values]
