# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Radios: what a USRP is set to, as a profile on disk, and what a link of two can carry."""

from __future__ import annotations

import math
import os
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

LONGEST_PROFILE = 64 << 10
"""Bytes of a profile that are read."""
WIRE_FORMATS = ("sc16", "sc12", "sc8")
CLOCK_SOURCES = ("internal", "external", "mimo", "gpsdo")
TIME_SOURCES = (*CLOCK_SOURCES, "none")
BOLTZMANN_DBM_HZ = -173.975
"""Thermal noise at 290 K, dBm/Hz."""
LIGHT_M_S = 299_792_458.0


@dataclass(frozen=True)
class Radio:
    """A USRP's settings. Rates and frequencies are in Hz, gains in dB.

    Attributes:
        name: of the profile.
        args: UHD's device address, as ``uhd_find_devices`` shows it.
        sample_rate: samples per second, a whole fraction of ``master_clock_rate``.
        master_clock_rate: of the converters' clock.
        wire_format: samples between host and device: "sc16", "sc12" or "sc8".
        num_send_frames, num_recv_frames: transfers in flight; 0 leaves them to UHD.
        frequency: of the carrier.
        lo_offset: of the local oscillator from it.
        bandwidth: of the analog filters; 0 leaves it to UHD.
        tx_gain, rx_gain: overall, as UHD counts them.
        tx_antenna, rx_antenna: names of the ports.
        amplitude: of the used subcarriers, full scale being 1.
        clock_source, time_source: where the reference and the pulse per second come from.
        pace: samples that are taken from it in a second of the host's, at most; 0 for all as they
            come. Only a simulator waits for its host.
    """

    name: str
    args: str
    sample_rate: float
    master_clock_rate: float
    wire_format: str
    num_send_frames: int
    num_recv_frames: int
    frequency: float
    lo_offset: float
    bandwidth: float
    tx_gain: float
    rx_gain: float
    tx_antenna: str
    rx_antenna: str
    amplitude: float
    clock_source: str
    time_source: str
    pace: float

    def device_args(self) -> str:
        """The device address with the master clock and the transfers in it."""
        parts = {
            "master_clock_rate": f"{self.master_clock_rate:.0f}",
            "num_send_frames": self.num_send_frames,
            "num_recv_frames": self.num_recv_frames,
        }
        given = [part for part in self.args.split(",") if part]
        names = {part.partition("=")[0].strip() for part in given}
        more = [f"{key}={value}" for key, value in parts.items() if value and key not in names]
        return ",".join(given + more)


_KEYS = {field.name: field.type for field in fields(Radio) if field.name != "name"}
_LIMITS = ("clock_rate", "frequency", "tx_gain", "rx_gain")


def find(path_or_name: str | os.PathLike[str]) -> Path:
    """The file of a profile: a path, or the name of one that ships.

    Raises:
        InputError: there is none.
    """
    path = Path(path_or_name)
    file = f"{path_or_name}.toml"
    ships = Path(__file__).resolve().parents[2] / "testbed" / "radios"
    places = [
        path,
        Path("testbed/radios") / file,
        ships / file,
        Path(sys.prefix) / "share" / "phydnn" / "radios" / file,
    ]
    try:
        for place in places:
            if place.is_file():
                return place
    except (OSError, ValueError) as error:
        raise InputError(f"there is no radio '{path_or_name}' ({error})") from error
    names = ", ".join(sorted(profile.stem for profile in ships.glob("*.toml"))) or "none"
    raise InputError(
        f"there is no radio '{path_or_name}': give a profile's path, or one of {names}"
    )


def load(path_or_name: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Radio:
    """Reads a profile.

    Args:
        path_or_name: as :func:`find` takes it.
        overrides: "key=value", a value as TOML has it; a string needs no quotes.

    Raises:
        InputError: it cannot be read, has an unknown key, lacks one, or a value is impossible.
    """
    path = find(path_or_name)
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_PROFILE + 1)
        if len(text) > LONGEST_PROFILE:
            raise InputError(f"{path} is longer than the {LONGEST_PROFILE >> 10} KiB of a profile")
        tree = tomllib.loads(text.decode())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no TOML: {error}".replace("\n", " ")) from error
    return parse(path.stem, str(path), tree, overrides)


def parse(name: str, where: str, tree: Mapping[str, Any], overrides: Iterable[str] = ()) -> Radio:
    """A profile from its tree, checked.

    Args:
        name: of the profile.
        where: what errors call it.
        tree: as TOML gives it.
        overrides: as of :func:`load`.

    Raises:
        InputError: as of :func:`load`.
    """
    values = {key: value for key, value in tree.items() if key != "limits"}
    limits = _limits(where, tree.get("limits", {}))
    _refuse_unknown(where, values, _KEYS)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise InputError(f"--radio-set {override!r:.60}: give it as KEY=VALUE")
        _refuse_unknown("--radio-set", [key.strip()], _KEYS)
        values[key.strip()] = _value(value.strip())
    if missing := [key for key in _KEYS if key not in values]:
        raise InputError(f"{where} lacks {missing[0]}: {', '.join(_KEYS)} must be there")
    radio = Radio(name, **{key: _typed(where, key, values[key]) for key in _KEYS})
    _check(where, radio, limits)
    return radio


def _refuse_unknown(where: str, keys: Iterable[str], known: Iterable[str]) -> None:
    if unknown := [key for key in keys if key not in known]:
        raise InputError(f"{where}: there is no {unknown[0]!r:.60}; choose of {', '.join(known)}")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except ValueError:
        return text


def _typed(where: str, key: str, value: Any) -> Any:
    kind = _KEYS[key]
    if kind == "str":
        if not isinstance(value, str) or not value.isprintable() or len(value) > 500:
            raise InputError(f"{where}: {key} must be a string, not {value!r:.80}")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: {key} must be a number, not {value!r:.80}")
    if not abs(value) < 1e15 or (kind == "int" and value != int(value)):
        whole = "a whole number" if kind == "int" else "a finite number"
        raise InputError(f"{where}: {key} must be {whole}, not {value:g}")
    return int(value) if kind == "int" else float(value)


def _limits(where: str, tree: Any) -> dict[str, tuple[float, float]]:
    if not isinstance(tree, Mapping):
        raise InputError(f"{where}: limits must be a table")
    _refuse_unknown(f"{where}, limits", tree, _LIMITS)
    limits = {}
    for key, value in tree.items():
        good = isinstance(value, list) and len(value) == 2
        if not good or not all(_is_number(bound) for bound in value) or value[0] > value[1]:
            raise InputError(f"{where}: limits.{key} must be a lowest and a highest number")
        limits[key] = (float(value[0]), float(value[1]))
    return limits


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _check(where: str, radio: Radio, limits: Mapping[str, tuple[float, float]]) -> None:
    for key, choices in (
        ("wire_format", WIRE_FORMATS),
        ("clock_source", CLOCK_SOURCES),
        ("time_source", TIME_SOURCES),
    ):
        if getattr(radio, key) not in choices:
            raise InputError(
                f"{where}: there is no {key} '{getattr(radio, key)}': choose {', '.join(choices)}"
            )
    for key in ("sample_rate", "master_clock_rate", "frequency"):
        if getattr(radio, key) <= 0:
            raise InputError(f"{where}: {key} must be above 0, not {getattr(radio, key):g}")
    for key in ("num_send_frames", "num_recv_frames"):
        if not 0 <= getattr(radio, key) <= 8192:
            raise InputError(f"{where}: {key} must be from 0 to 8192, not {getattr(radio, key)}")
    if not 0 < radio.amplitude <= 1:
        raise InputError(f"{where}: amplitude must be above 0 and at most 1, full scale")
    for key in ("bandwidth", "pace"):
        if getattr(radio, key) < 0:
            raise InputError(f"{where}: {key} must be 0 or more, not {getattr(radio, key):g}")
    if abs(radio.lo_offset) > radio.master_clock_rate / 2:
        raise InputError(
            f"{where}: lo_offset {radio.lo_offset:g} Hz is beyond half the master clock"
        )
    for key, (low, high) in limits.items():
        name = "master_clock_rate" if key == "clock_rate" else key
        if not low <= getattr(radio, name) <= high:
            raise InputError(
                f"{where}: {name} {getattr(radio, name):g} is out of this radio's range, "
                f"{low:g} to {high:g}"
            )
    ratio = radio.master_clock_rate / radio.sample_rate
    if not 1 <= round(ratio) <= 1024 or abs(ratio - round(ratio)) > 1e-9 * ratio:
        raise InputError(
            f"{where}: sample_rate {radio.sample_rate:g} is impossible: it must be "
            f"master_clock_rate {radio.master_clock_rate:g} over a whole number from 1 to 1024"
        )


@dataclass(frozen=True)
class Budget:
    """What a link in free space carries, powers in dBm and ratios in dB.

    Attributes:
        path_loss_db: of free space, with what is added.
        received_dbm: at the receiver's input.
        noise_dbm: there, in the sampled bandwidth.
        snr_db: Es/N0 of the used subcarriers.
        safe: whether the receiver's input survives, and ``linear`` whether it stays linear.
    """

    path_loss_db: float
    received_dbm: float
    noise_dbm: float
    snr_db: float
    safe: bool
    linear: bool


def budget(
    *,
    tx_dbm: float,
    distance_m: float,
    frequency: float,
    bandwidth: float,
    tx_antenna_dbi: float = 0.0,
    rx_antenna_dbi: float = 0.0,
    extra_loss_db: float = 0.0,
    noise_figure_db: float = 8.0,
    damage_dbm: float = -15.0,
    compression_dbm: float = -25.0,
) -> Budget:
    """Friis' equation: received power, thermal noise and Es/N0.

    H. T. Friis, "A note on a simple transmission formula", Proc. IRE 34 (1946). ``distance_m`` 0 is
    a cable, with its attenuators in ``extra_loss_db``.

    Args:
        tx_dbm: mean power at the transmitter's port.
        distance_m: between the antennas; 0 for a cable.
        frequency: of the carrier, Hz.
        bandwidth: that the used subcarriers fill, Hz.
        tx_antenna_dbi, rx_antenna_dbi: their gains.
        extra_loss_db: of walls, cables and attenuators.
        noise_figure_db: of the receiver.
        damage_dbm: what the receiver's input survives.
        compression_dbm: from where on it is not linear, at low gain.

    Raises:
        InputError: a value is out of range.
    """
    for name, value, low, high in (
        ("tx_dbm", tx_dbm, -150, 60),
        ("distance_m", distance_m, 0, 1e9),
        ("frequency", frequency, 1e3, 1e12),
        ("bandwidth", bandwidth, 1, 1e12),
        ("tx_antenna_dbi", tx_antenna_dbi, -50, 80),
        ("rx_antenna_dbi", rx_antenna_dbi, -50, 80),
        ("extra_loss_db", extra_loss_db, 0, 300),
        ("noise_figure_db", noise_figure_db, 0, 60),
    ):
        if not low <= value <= high:
            raise InputError(f"{name} is {value:g}: give {low:g} to {high:g}")
    loss = extra_loss_db
    if distance_m:
        # Nearer than this the antennas' near fields meet, and the equation would promise a gain.
        loss += max(0.0, 20 * math.log10(4 * math.pi * distance_m * frequency / LIGHT_M_S))
        loss -= tx_antenna_dbi + rx_antenna_dbi
    received = tx_dbm - loss
    noise = BOLTZMANN_DBM_HZ + 10 * math.log10(bandwidth) + noise_figure_db
    return Budget(
        path_loss_db=loss,
        received_dbm=received,
        noise_dbm=noise,
        snr_db=received - noise,
        safe=received < damage_dbm,
        linear=received < compression_dbm,
    )


@dataclass(frozen=True)
class Tone:
    """A tone in a stretch of samples, full scale being 0 dBFS.

    Attributes:
        frequency: Hz.
        power_dbfs: its power.
        noise_dbfs_hz: density of the noise beside it.
        clipped: share of the samples at full scale.
    """

    frequency: float
    power_dbfs: float
    noise_dbfs_hz: float
    clipped: float

    def snr_db(self, bandwidth: float) -> float:
        """Its power over that of the noise in a bandwidth, Hz."""
        return self.power_dbfs - self.noise_dbfs_hz - 10 * math.log10(bandwidth)


def measure_tone(samples: NDArray[np.complexfloating[Any, Any]], sample_rate: float) -> Tone:
    """Finds the strongest tone, and the noise beside it.

    The frequency is the periodogram's peak, refined on the phase between the halves (S. Kay, "A
    fast and accurate single frequency estimator", IEEE Trans. ASSP 37 (1989), in the spirit of):
    good to a thousandth of a bin at 40 dB. The noise is the periodogram's median without the tone,
    which a spur does not move; direct current is left out.

    Args:
        samples: complex [n], 1024 or more.
        sample_rate: per second.

    Raises:
        InputError: there are too few samples, or some are not finite.
    """
    n = len(samples) // 2 * 2
    if n < 1024 or not np.isfinite(samples).all():
        raise InputError("a tone is measured in 1024 or more finite samples")
    x = samples[:n].astype(np.complex128)
    window = np.blackman(n)
    spectrum = np.abs(np.fft.fft(x * window)) ** 2 / np.sum(window**2)
    away = np.minimum(np.arange(n), n - np.arange(n))
    spectrum[away < 4] = 0
    peak = int(np.argmax(spectrum))
    cycles = peak / n if peak < n / 2 else peak / n - 1
    time = np.arange(n)
    for _ in range(3):  # each step takes off what the last one left
        level = x * window * np.exp(-2j * np.pi * cycles * time)
        halves = level[: n // 2].sum(), level[n // 2 :].sum()
        # The window puts the halves' centres of mass this far apart.
        apart = (
            2 * np.sum(window[n // 2 :] * (time[n // 2 :] - (n - 1) / 2)) / np.sum(window[n // 2 :])
        )
        cycles += np.angle(halves[1] * np.conj(halves[0])) / (2 * np.pi * apart)
    amplitude = np.sum(x * window * np.exp(-2j * np.pi * cycles * time)) / window.sum()
    far = np.abs((np.arange(n) - peak + n // 2) % n - n // 2)
    noise = spectrum[(far > 8) & (away >= 4)]
    # The median of an exponential distribution is ln 2 of its mean.
    density = float(np.median(noise)) / math.log(2) / sample_rate
    parts = np.maximum(np.abs(samples.real), np.abs(samples.imag))
    return Tone(
        frequency=cycles * sample_rate,
        power_dbfs=_db(abs(amplitude) ** 2),
        noise_dbfs_hz=_db(density),
        clipped=float(np.mean(parts >= 0.999)),
    )


def _db(power: float) -> float:
    return 10 * math.log10(max(float(power), 1e-30))


def highest_linear_gain(gains: Sequence[float], tones: Sequence[Tone]) -> float:
    """The highest of a transmitter's gains at which nothing is compressed.

    At it and below, the tone's power follows the gain within 1 dB of the lowest gain's at which
    it stands 10 dB out of the noise, and no sample is clipped.

    Args:
        gains: dB, rising.
        tones: what was received with each.

    Raises:
        InputError: no gain is good.
    """
    reference: tuple[float, float] | None = None
    best = None
    for gain, tone in zip(gains, tones, strict=True):
        if tone.snr_db(1e4) < 10:
            continue
        reference = reference or (gain, tone.power_dbfs)
        expected = reference[1] + gain - reference[0]
        if abs(tone.power_dbfs - expected) > 1 or tone.clipped:
            break
        best = gain
    if best is None:
        raise InputError(
            "no tone came through without clipping: check the cable or antennas, the frequency and "
            "the attenuation"
        )
    return best


def lowest_useful_gain(gains: Sequence[float], tones: Sequence[Tone]) -> float:
    """The lowest of a receiver's gains at which its own noise is what counts.

    There the noise is 3 dB above that of the lowest gain, which is the converter's: more gain only
    brings clipping nearer. Where it never rises so far, the highest that does not clip.

    Args:
        gains: dB, rising.
        tones: what was received with each.

    Raises:
        InputError: the receiver clips at each of them.
    """
    sound = [(gain, tone) for gain, tone in zip(gains, tones, strict=True) if not tone.clipped]
    if not sound:
        raise InputError("the receiver clips at each gain: add attenuation")
    floor = sound[0][1].noise_dbfs_hz
    for gain, tone in sound:
        if tone.noise_dbfs_hz >= floor + 3:
            return gain
    return sound[-1][0]
