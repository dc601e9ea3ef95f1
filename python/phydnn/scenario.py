# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Scenarios: what the emulator emulates, and the files that hold it.

A scenario names its nodes and gives, for every ordered pair of them, the taps of a delay line at
one or more times. Levels are separate, named numbers, and meet in :meth:`Scenario.link_db` and
:meth:`Scenario.noise`: 0 dBFS is a complex signal of mean power 1, which leaves a transmitter with
``transmit_power_dbm``; a signal of ``full_scale_dbm`` at a receiver's antenna reads 0 dBFS there.

Four forms are read (:func:`load`) and written (:func:`save`), told apart by their names:

- ``NAME.json``, the form for reading and writing by hand, checked by ``scenario_schema.json``;
- ``NAME.h5``, the same with the numbers in HDF5 data sets, for long and large ones;
- ``NAME.mat``, Colosseum's: ``chMatrix``, ``time`` and ``coordinates`` in a MATLAB file up to
  version 7 (Colosseum's user documentation, "New Scenario File Format Requirements");
- a folder with CaST's ``all_pdps.csv`` and ``various.csv``: power delay profiles of one link
  (D. Villa et al., "CaST: A Toolchain for Creating and Characterizing Realistic Wireless Network
  Emulation Scenarios", ACM WiNTECH 2022, and its published code).

``docs/emulator.md`` describes all fields.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.resources
import io
import json
import math
import os
import resource
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
from numpy.typing import NDArray

from phydnn.errors import InputError
from phydnn.results import write_bytes

MEBIBYTE = 1 << 20
MAX_JSON = 16 * MEBIBYTE
MAX_BINARY = 128 * MEBIBYTE
MAX_NODES, MAX_TAPS, MAX_TIMES = 64, 64, 100_000
MAX_VALUES = 1 << 22
"""Most taps of all links at all times: each takes 24 bytes here, and the emulator's as much."""

ARRAYS = ("times_s", "delays_ns", "gains", "doppler_hz", "coordinates_m")
READ_SECONDS, READ_CPU_SECONDS, READ_MEMORY = 120.0, 10, 4 << 30

MCHEM_TAPS, MCHEM_LINE_NS = 4, 5120.0
PORT = 5550
CAST_RATE_HZ = 10e6
"""``SAMPLE_RATE`` of CaST's ``constants.py``: its files do not say at which rate they were made."""
CAST_PERIOD = 255
CAST_FLOOR_DB = -200.0

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


@dataclass(frozen=True)
class Node:
    """A radio of the scenario.

    Attributes:
        name: as links call it.
        transmit_power_dbm: what a signal of 0 dBFS has when it leaves the antenna.
        full_scale_dbm: what a signal must have at the antenna to read 0 dBFS.
        noise_figure_db: of its receiver, over the scenario's noise density.
        quantise: whether its receiver clips and rounds to 16 bits (sc16) at full scale.
        cfo_hz: its receiver's carrier frequency offset.
        sfo_ppm: its receiver's sample clock offset, in parts per million.
        phase_noise_hz: linewidth of its receiver's oscillator.
        transmits: the endpoint at which the node answers with its samples; empty: it is silent;
            None: as :meth:`Scenario.endpoints` deals them out.
        receives: the endpoint at which the emulator serves the node; empty: it does not listen;
            None: dealt out.
    """

    name: str
    transmit_power_dbm: float = 0.0
    full_scale_dbm: float = 0.0
    noise_figure_db: float = 0.0
    quantise: bool = False
    cfo_hz: float = 0.0
    sfo_ppm: float = 0.0
    phase_noise_hz: float = 0.0
    transmits: str | None = None
    receives: str | None = None


@dataclass(frozen=True, eq=False)
class Scenario:
    """Nodes, the taps between them over time, and the levels. N nodes, T times, L taps a link.

    Attributes:
        name: of the scenario.
        nodes: N of them, N being 1 to 64.
        delays_ns: float64 [T,N,N,L], from transmitter (first) to receiver, 0 to ``line_ns``.
        gains: complex128 [T,N,N,L], amplitude ratios of magnitude 1 or less; 0: no tap.
        times_s: float64 [T], the first 0, rising. Between them delays and gains are interpolated
            against the sample count; after the last they stay.
        sample_rate_hz: of all nodes.
        centre_frequency_hz: of the carrier; the emulator itself does not use it.
        base_loss_db: of every link, before the taps.
        boost_db: given back to every link after the taps.
        noise_density_dbm_hz: at every antenna; None: no noise anywhere.
        line_ns: the delay line's length.
        mchem: whether taps are held to what Colosseum's MCHEM can do, see the emulator.
        doppler_hz: float64 [N,N], largest Doppler shift of Clarke's fading on a link; 0: none.
        coordinates_m: float64 [T,N,3] or None; kept, not used.
        description: for people.

    Raises:
        InputError: sizes do not fit together, or a number is out of range.
    """

    name: str
    nodes: tuple[Node, ...]
    delays_ns: FloatArray
    gains: ComplexArray
    times_s: FloatArray = dataclasses.field(default_factory=lambda: np.zeros(1))
    sample_rate_hz: float = 20e6
    centre_frequency_hz: float = 2.4e9
    base_loss_db: float = 0.0
    boost_db: float = 0.0
    noise_density_dbm_hz: float | None = None
    line_ns: float = MCHEM_LINE_NS
    mchem: bool = False
    doppler_hz: FloatArray | None = None
    coordinates_m: FloatArray | None = None
    description: str = ""

    def __post_init__(self) -> None:
        _check_names([node.name for node in self.nodes])
        times, count = len(self.times_s), len(self.nodes)
        taps = self.gains.shape[3] if self.gains.ndim == 4 else 0
        _check_size(times, count, taps)
        for name, array in (("delays_ns", self.delays_ns), ("gains", self.gains)):
            if array.shape != (times, count, count, taps):
                raise InputError(
                    f"'{name}' has shape {array.shape}, but {times} times, {count} nodes and "
                    f"{taps} taps need {(times, count, count, taps)}"
                )
        if self.doppler_hz is None:
            object.__setattr__(self, "doppler_hz", np.zeros((count, count)))
        assert self.doppler_hz is not None
        if self.doppler_hz.shape != (count, count):
            raise InputError(f"'doppler_hz' has shape {self.doppler_hz.shape}, not {count, count}")
        if self.coordinates_m is not None and self.coordinates_m.shape != (times, count, 3):
            raise InputError(
                f"'coordinates_m' has shape {self.coordinates_m.shape}, not {(times, count, 3)}"
            )
        for name in ARRAYS:
            array = getattr(self, name)
            if array is not None and not np.isfinite(array).all():
                raise InputError(f"'{name}' holds a value that is not a finite number")
        if self.times_s[0] != 0 or (np.diff(self.times_s) <= 0).any():
            raise InputError("'times_s' must start at 0 and rise from one to the next")
        if (self.doppler_hz < 0).any():
            raise InputError("'doppler_hz' must be 0 or more")
        self._check_taps()
        header = json.loads(json.dumps(self._header()))
        _validate(header)

    def _check_taps(self) -> None:
        def name(where: NDArray[np.bool_]) -> str:
            _, i, j, k = (int(axis[0]) for axis in np.nonzero(where))
            return f"tap {k + 1} from '{self.nodes[i].name}' to '{self.nodes[j].name}'"

        if (bad := np.abs(self.gains) > 1 + 1e-9).any():
            raise InputError(f"{name(bad)} has a gain above 0 dB: put what amplifies in 'boost_db'")
        if (bad := (self.delays_ns < 0) | (self.delays_ns > self.line_ns)).any():
            raise InputError(
                f"{name(bad)} is outside of the delay line, which is {self.line_ns:g} ns long"
            )
        if self.mchem and self.line_ns > MCHEM_LINE_NS:
            raise InputError(f"'mchem' needs 'line_ns' of {MCHEM_LINE_NS:g} or less")
        if self.mchem and (self.gains != 0).sum(axis=3).max() > MCHEM_TAPS:
            raise InputError(f"'mchem' allows {MCHEM_TAPS} taps a link, but a link has more")

    def _header(self) -> dict[str, Any]:
        """Everything but the links, as the JSON form has it."""
        header: dict[str, Any] = {
            "schema": 1,
            "name": self.name,
            "description": self.description,
            "sample_rate_hz": self.sample_rate_hz,
            "centre_frequency_hz": self.centre_frequency_hz,
            "base_loss_db": self.base_loss_db,
            "boost_db": self.boost_db,
            "noise_density_dbm_hz": self.noise_density_dbm_hz,
            "line_ns": self.line_ns,
            "mchem": self.mchem,
        }
        defaults = Node("")
        required = ("name", "transmit_power_dbm", "full_scale_dbm", "noise_figure_db")
        header["nodes"] = [
            {
                key: value
                for key, value in dataclasses.asdict(node).items()
                if key in required or value != getattr(defaults, key)
            }
            for node in self.nodes
        ]
        return header

    def index(self, node: str) -> int:
        """Index of a node.

        Raises:
            InputError: there is no node of that name.
        """
        for i, candidate in enumerate(self.nodes):
            if candidate.name == node:
                return i
        names = ", ".join(node.name for node in self.nodes)
        raise InputError(f"there is no node '{node}': the nodes are {names}")

    def links(self) -> list[tuple[int, int]]:
        """Transmitter and receiver of each link that has a tap at some time."""
        there = (self.gains != 0).any(axis=(0, 3))
        return [(int(i), int(j)) for i, j in np.argwhere(there)]

    def link_db(self) -> FloatArray:
        """Float64 [N,N]: dBFS at the receiver less dBFS at the transmitter, of a tap of 0 dB."""
        power = np.array([node.transmit_power_dbm for node in self.nodes])
        full_scale = np.array([node.full_scale_dbm for node in self.nodes])
        return power[:, None] - self.base_loss_db + self.boost_db - full_scale[None, :]

    def noise(self) -> FloatArray:
        """Float64 [N]: N0 of each receiver, the total variance of a sample's noise, 1 at 0 dBFS."""
        if self.noise_density_dbm_hz is None:
            return np.zeros(len(self.nodes))
        band = 10 * math.log10(self.sample_rate_hz)
        db = [
            self.noise_density_dbm_hz + band + node.noise_figure_db - node.full_scale_dbm
            for node in self.nodes
        ]
        return 10 ** (np.array(db) / 10)

    def powers(self, times: slice = slice(None)) -> FloatArray:
        """Float64 [T,N,N]: what the taps make of the power of a signal that fills the band.

        Taps closer than a sample add up by their phases, those far apart by their powers: the mean
        of the squared response over the whole sample rate.
        """
        gains = self.gains[times]
        samples = self.delays_ns[times] * 1e-9 * self.sample_rate_hz
        power = np.zeros(gains.shape[:3])
        for k, m in np.ndindex(gains.shape[3], gains.shape[3]):
            product = (gains[..., k].conj() * gains[..., m]).real
            power += product * np.sinc(samples[..., k] - samples[..., m])
        return np.maximum(power, 0.0)

    def snr_db(self) -> FloatArray:
        """Float64 [N,N]: Es/N0 at time 0 of symbols of energy 1 over the whole band; inf: no noise.

        -inf: no link.
        """
        power = self.powers(slice(1))[0] * 10 ** (self.link_db() / 10)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(power > 0, 10 * np.log10(power / self.noise()), -np.inf)

    def with_snr(self, snr_db: float, link: tuple[int, int] | None = None) -> Scenario:
        """This scenario with the noise density at which a link has that Es/N0 at time 0.

        Args:
            snr_db: Es/N0 in dB.
            link: transmitter and receiver; None: the link with the best.

        Raises:
            InputError: there is no such link at time 0, or the density is out of range.
        """
        if not math.isfinite(snr_db):
            raise InputError(f"Es/N0 must be a finite number of dB, not {snr_db:g}")
        density = -174.0 if self.noise_density_dbm_hz is None else self.noise_density_dbm_hz
        now = dataclasses.replace(self, noise_density_dbm_hz=density).snr_db()
        present = float(now.max() if link is None else now[link])
        if not math.isfinite(present):
            raise InputError(f"'{self.name}' has no such link at time 0 that could have an Es/N0")
        return dataclasses.replace(self, noise_density_dbm_hz=density + present - snr_db)

    def endpoints(self, first_port: int = PORT) -> list[tuple[str, str]]:
        """Where each node transmits and receives: its own, or two loopback ports a node in turn.

        Node i, counted from 0, transmits on port ``first_port`` + 2 i and receives on the next.

        Raises:
            InputError: two of them are the same, or ports run out.
        """
        if not 1 <= first_port <= 65536 - 2 * len(self.nodes):
            raise InputError(f"ports from {first_port} on do not suffice for {len(self.nodes)}")
        both = []
        for i, node in enumerate(self.nodes):
            ports = (first_port + 2 * i, first_port + 2 * i + 1)
            own = (node.transmits, node.receives)
            both.append(
                tuple(
                    f"tcp://127.0.0.1:{port}" if endpoint is None else endpoint
                    for endpoint, port in zip(own, ports, strict=True)
                )
            )
        used = [endpoint for pair in both for endpoint in pair if endpoint]
        if len(set(used)) < len(used):
            twice = next(endpoint for endpoint in used if used.count(endpoint) > 1)
            raise InputError(f"the endpoint {twice} is used twice")
        return [(transmits, receives) for transmits, receives in both]

    def link_taps(self, fields: dict[str, Any]) -> tuple[FloatArray, ComplexArray]:
        """Taps of a link, given in the JSON form's words, as the emulator takes them.

        Args:
            fields: ``delays_ns``, and ``gains`` or ``gains_db`` with ``phases_deg`` if any.

        Returns:
            Delays in seconds, float64 [L], and gains, complex128 [L].

        Raises:
            InputError: they do not fit together, or could not be of this scenario.
        """
        if "delays_ns" not in fields or ("gains" in fields) == ("gains_db" in fields):
            raise InputError("the taps need 'delays_ns', and either 'gains_db' or 'gains'")
        delays, gains = _taps(fields, "taps")
        if len(delays) != 1:
            raise InputError("the taps must be of one time")
        one = np.zeros((1, 2, 2, delays.shape[1]))
        gains_of_two = one.astype(np.complex128)
        one[0, 0, 1], gains_of_two[0, 0, 1] = delays[0], gains[0]
        nodes = (Node("transmitter"), Node("receiver"))
        # A scenario of one link, to be checked as any other
        Scenario("link", nodes, one, gains_of_two, line_ns=self.line_ns, mchem=self.mchem)
        return delays[0] * 1e-9, gains[0]

    def emulator_arguments(self, first_port: int = PORT) -> dict[str, Any]:
        """Arguments for the block ``gnuradio.phydnn.emulator``.

        ``nodes`` are keyword arguments of ``emulator_node``; ``scale``, [N,N], is what all levels
        multiply the taps' gains by.
        """
        noise = self.noise()
        nodes = [
            {
                "name": node.name,
                "transmits": transmits,
                "receives": receives,
                "cfo_hz": node.cfo_hz,
                "sfo_ppm": node.sfo_ppm,
                "phase_noise_hz": node.phase_noise_hz,
                "noise": float(noise[i]),
                "full_scale": 1.0 if node.quantise else 0.0,
            }
            for i, (node, (transmits, receives)) in enumerate(
                zip(self.nodes, self.endpoints(first_port), strict=True)
            )
        ]
        return {
            "sample_rate": self.sample_rate_hz,
            "nodes": nodes,
            "times": self.times_s,
            "delays": self.delays_ns * 1e-9,
            "gains": self.gains.astype(np.complex64),
            "scale": 10 ** (self.link_db() / 20),
            "doppler_hz": self.doppler_hz,
            "line": self.line_ns * 1e-9,
            "mchem": self.mchem,
        }


def _check_names(names: list[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two nodes are called '{twice}'")


def _check_size(times: int, nodes: int, taps: int) -> None:
    for what, number, most in (
        ("times", times, MAX_TIMES),
        ("nodes", nodes, MAX_NODES),
        ("taps a link", taps, MAX_TAPS),
    ):
        if not 1 <= number <= most:
            raise InputError(f"it has {number} {what}, but 1 to {most} are allowed")
    if (values := times * nodes * nodes * taps) > MAX_VALUES:
        raise InputError(
            f"{times} times, {nodes} nodes and {taps} taps make {values} values, but {MAX_VALUES} "
            "are allowed: use fewer times"
        )


# Files


def places() -> list[Path]:
    """Folders in which scenarios are looked for by name."""
    return [
        Path("testbed/scenarios"),
        Path(__file__).resolve().parents[2] / "testbed" / "scenarios",
        Path(sys.prefix) / "share" / "phydnn" / "scenarios",
    ]


def shipped() -> list[Path]:
    """The scenarios that ship with this library, by name."""
    files: dict[str, Path] = {}
    for folder in places()[1:]:
        for path in sorted(folder.glob("*.json")) + sorted(folder.glob("*.h5")):
            # The folder also holds channels of `--channel tdl:FILE`, which name no nodes.
            if path.suffix == ".h5" or b'"nodes"' in path.read_bytes():
                files.setdefault(path.stem, path)
    return [files[name] for name in sorted(files)]


def find(path_or_name: str) -> Path:
    """A scenario's file: a path, or the name of one that ships.

    Raises:
        InputError: there is none.
    """
    path = Path(path_or_name)
    candidates = [path]
    if len(path.parts) == 1:
        candidates += [
            folder / f"{path_or_name}{suffix}"
            for folder in places()
            for suffix in ("", ".json", ".h5")
        ]
    for candidate in candidates:
        if candidate.is_file() or (candidate == path and (path / "all_pdps.csv").is_file()):
            return candidate
    raise InputError(
        f"there is no scenario '{path_or_name}': give a file, or a name that "
        "`phydnn emulate --list` shows"
    )


def load(path_or_name: str) -> Scenario:
    """Reads a scenario in any of the forms; the module's documentation lists them.

    Raises:
        InputError: there is none, or the file is wrong; the message names the file.
    """
    path = find(path_or_name)
    readers = {".json": _read_json, ".h5": _isolated, ".hdf5": _isolated, ".mat": _isolated}
    reader = _read_cast if path.is_dir() else readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"scenario {path}: the name must end in .json, .h5 or .mat, or be a folder with "
            "CaST's all_pdps.csv"
        )
    try:
        return reader(path)
    except InputError as error:
        raise InputError(f"scenario {path}: {error}") from None
    except OSError as error:
        raise InputError(f"scenario {path} cannot be read: {error.strerror or error}") from error


def save(scenario: Scenario, path: Path, link: tuple[str, str] | None = None) -> None:
    """Writes a scenario, whole or not at all, in the form that the name asks for.

    ``.mat`` and CaST's folder (a name without a suffix) hold taps, times and, the former,
    coordinates; levels and the rest are not part of these forms.

    Args:
        scenario: to write.
        path: its suffix is ``.json``, ``.h5``, ``.mat``, or none for CaST's folder.
        link: transmitter and receiver for CaST's form, which holds one link; None: the first.

    Raises:
        InputError: the path cannot be written, or the form cannot hold the scenario.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        write_bytes(path, _to_json(scenario))
    elif suffix in (".h5", ".hdf5"):
        write_bytes(path, _to_hdf5(scenario))
    elif suffix == ".mat":
        write_bytes(path, _to_mat(scenario))
    elif not suffix:
        _write_cast(scenario, path, link)
    else:
        raise InputError(
            f"cannot write {path}: the name must end in .json, .h5 or .mat, or have no suffix for "
            "CaST's folder"
        )


def _read_bytes(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise InputError(f"it is larger than {most} bytes")
    return data


@functools.cache
def _validator() -> Any:
    text = importlib.resources.files("phydnn").joinpath("scenario_schema.json").read_text("utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))


def _validate(fields: Any) -> None:
    # The first that is found: to look for what is worst would take minutes on a large file.
    if (error := next(_validator().iter_errors(fields), None)) is None:
        return
    field = "/".join(map(str, error.absolute_path)) or "its top"
    sentences = {
        "oneOf": "it must hold either 'gains_db' or 'gains'",
        "maxItems": f"it is too long: {error.validator_value} are allowed",
        "maxLength": f"it is too long: {error.validator_value} characters are allowed",
        "pattern": "it must be letters, digits, '.', '_' and '-', 100 at most",
    }
    raise InputError(f"{field}: {sentences.get(error.validator, error.message[:200])}")


# JSON


def _read_json(path: Path) -> Scenario:
    return parse(_read_bytes(path, MAX_JSON))


def _parse_json(text: bytes | str) -> Any:
    def refuse(word: str) -> None:
        raise InputError(f"it holds {word}, which is not a number")

    try:
        return json.loads(text, parse_constant=refuse)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is not JSON: {error}") from error


def parse(text: bytes | str) -> Scenario:
    """A scenario from its JSON form.

    Raises:
        InputError: it is not of that form.
    """
    fields = _parse_json(text)
    _validate(fields)
    if "links" not in fields:
        raise InputError("its top: 'links' is a required property")
    times = _numbers(fields.get("times_s", [0]), "times_s", 1)
    names = {node["name"]: i for i, node in enumerate(fields["nodes"])}
    _check_names([node["name"] for node in fields["nodes"]])
    links: list[tuple[int, int, FloatArray, ComplexArray, float]] = []
    seen: dict[tuple[int, int], str] = {}
    for number, link in enumerate(fields["links"]):
        where = f"links/{number}"
        for end in ("transmitter", "receiver"):
            if link[end] not in names:
                raise InputError(f"{where}/{end}: there is no node '{link[end]}'")
        delays, gains = _taps(link, where)
        if len(delays) not in (1, len(times)):
            raise InputError(f"{where}: it has taps at {len(delays)} times, not {len(times)}")
        i, j = names[link["transmitter"]], names[link["receiver"]]
        for pair in {(i, j), (j, i)} if link.get("reciprocal") else {(i, j)}:
            if pair in seen:
                raise InputError(f"{where}: {seen[pair]} already is from and to these nodes")
            seen[pair] = where
            links.append((*pair, delays, gains, link.get("doppler_hz", 0.0)))
    taps = max((delays.shape[1] for _, _, delays, _, _ in links), default=1)
    count = len(names)
    _check_size(len(times), len(fields["nodes"]), taps)
    all_delays = np.zeros((len(times), count, count, taps))
    all_gains = np.zeros(all_delays.shape, np.complex128)
    doppler = np.zeros((count, count))
    for i, j, delays, gains, doppler_hz in links:
        all_delays[:, i, j, : delays.shape[1]] = delays
        all_gains[:, i, j, : gains.shape[1]] = gains
        doppler[i, j] = doppler_hz
    return _build(fields, times, all_delays, all_gains, doppler, _coordinates(fields, len(times)))


def _build(
    fields: dict[str, Any],
    times: FloatArray,
    delays: FloatArray,
    gains: ComplexArray,
    doppler: FloatArray,
    coordinates: FloatArray | None,
) -> Scenario:
    """A scenario from a checked header and its arrays."""
    rest = ("schema", "nodes", "links", "times_s")
    nodes = tuple(
        Node(**{key: value for key, value in node.items() if key != "coordinates_m"})
        for node in fields["nodes"]
    )
    return Scenario(
        nodes=nodes,
        delays_ns=delays,
        gains=gains,
        times_s=times,
        doppler_hz=doppler,
        coordinates_m=coordinates,
        **{key: value for key, value in fields.items() if key not in rest},
    )


def _numbers(values: Any, where: str, dimensions: int) -> FloatArray:
    """A list of numbers (of lists, ...) as an array of so many dimensions, or one less."""
    try:
        array = np.array(values)
    except ValueError:
        array = np.array(["ragged"])
    if array.dtype.kind not in "iuf" or array.ndim not in (max(1, dimensions - 1), dimensions):
        lists = "numbers, or of such lists, all as long," if dimensions > 1 else "numbers"
        raise InputError(f"{where}: it must be a list of {lists}")
    if not np.isfinite(array := array.astype(np.float64)).all():
        raise InputError(f"{where}: it holds a value that is not a finite number")
    return array.reshape((1,) * (dimensions - array.ndim) + array.shape)


def _taps(link: dict[str, Any], where: str) -> tuple[FloatArray, ComplexArray]:
    """A link's delays and gains, each [1 or T, L]."""
    delays = _numbers(link["delays_ns"], f"{where}/delays_ns", 2)
    if "gains" in link:
        if "phases_deg" in link:
            raise InputError(f"{where}: 'phases_deg' goes with 'gains_db', not with 'gains'")
        parts = _numbers(link["gains"], f"{where}/gains", 3)
        if parts.shape[2] != 2:
            raise InputError(f"{where}/gains: each must be a pair [real, imaginary]")
        gains = parts[..., 0] + 1j * parts[..., 1]
    else:
        decibels = _numbers(link["gains_db"], f"{where}/gains_db", 2)
        if (decibels > 0).any():
            raise InputError(
                f"{where}/gains_db: a gain is above 0 dB: put what amplifies in 'boost_db'"
            )
        phases = _numbers(link.get("phases_deg", [0.0] * decibels.shape[1]), where, 2)
        if phases.shape[1] != decibels.shape[1] or len(phases) not in (1, len(decibels)):
            raise InputError(f"{where}: 'phases_deg' must be of the size of 'gains_db'")
        gains = 10 ** (decibels / 20) * np.exp(1j * np.deg2rad(phases))
    if delays.shape[1] != gains.shape[1]:
        raise InputError(f"{where}: it has {delays.shape[1]} delays but {gains.shape[1]} gains")
    if 1 < len(delays) != len(gains) > 1:
        raise InputError(f"{where}: delays are at {len(delays)} times, gains at {len(gains)}")
    shape = np.broadcast_shapes(delays.shape, gains.shape)
    return np.broadcast_to(delays, shape), np.broadcast_to(gains, shape)


def _coordinates(fields: dict[str, Any], times: int) -> FloatArray | None:
    given = [node.get("coordinates_m") for node in fields["nodes"]]
    if all(coordinates is None for coordinates in given):
        return None
    all_of_them = np.zeros((times, len(given), 3))
    for i, coordinates in enumerate(given):
        where = f"nodes/{i}/coordinates_m"
        if coordinates is None:
            raise InputError(f"{where}: it is missing, but other nodes have theirs")
        array = _numbers(coordinates, where, 2)
        if array.shape not in ((1, 3), (times, 3)):
            raise InputError(f"{where}: it must be [x, y, z], or one such for each of the times")
        all_of_them[:, i] = array
    return all_of_them


def _constant(array: NDArray[Any]) -> Any:
    """``array[0]`` where nothing changes along axis 0, else all of it, as lists."""
    return (array[0] if (array == array[0]).all() else array).tolist()


def _to_json(scenario: Scenario) -> bytes:
    fields = scenario._header()
    fields["times_s"] = scenario.times_s.tolist()
    if scenario.coordinates_m is not None:
        for i, node in enumerate(fields["nodes"]):
            node["coordinates_m"] = _constant(scenario.coordinates_m[:, i])
    fields["links"] = []
    assert scenario.doppler_hz is not None
    for i, j in scenario.links():
        used = (scenario.gains[:, i, j] != 0).any(axis=0)
        gains = scenario.gains[:, i, j][:, used]
        link = {
            "transmitter": scenario.nodes[i].name,
            "receiver": scenario.nodes[j].name,
            "delays_ns": _constant(scenario.delays_ns[:, i, j][:, used]),
            "gains": _constant(np.stack([gains.real, gains.imag], axis=-1)),
        }
        if scenario.doppler_hz[i, j]:
            link["doppler_hz"] = float(scenario.doppler_hz[i, j])
        fields["links"].append(link)
    # A node and a link a line: for people to read, and for diff.
    lines = []
    for key, value in fields.items():
        if key in ("nodes", "links"):
            items = ",\n".join("    " + json.dumps(item, allow_nan=False) for item in value)
            lines.append(f'  "{key}": [\n{items}\n  ]' if value else f'  "{key}": []')
        else:
            lines.append(f'  "{key}": {json.dumps(value, ensure_ascii=False, allow_nan=False)}')
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


# HDF5 and MATLAB files are read in a process of their own: a damaged file makes the libraries for
# them crash (loadmat of scipy 1.17) or loop for ever (libhdf5 1.14).


def _isolated(path: Path) -> Scenario:
    package = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, "-c", "from phydnn.scenario import _child; _child()", str(path)]
    paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryFile() as answer:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=subprocess.PIPE,
                timeout=READ_SECONDS,
                env=os.environ | {"PYTHONPATH": paths},
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(f"it is damaged: reading it took over {READ_SECONDS:g} s") from error
        if done.returncode == 2:
            raise InputError(done.stderr.decode(errors="replace").strip())
        if done.returncode:
            raise InputError("it is damaged: what reads it crashed, or found no end")
        answer.seek(0)
        arrays = dict(np.load(answer, allow_pickle=False))
    fields = _parse_json(str(arrays.pop("scenario")))
    _validate(fields)
    doppler, coordinates = arrays["doppler_hz"], arrays.get("coordinates_m")
    return _build(
        fields, arrays["times_s"], arrays["delays_ns"], arrays["gains"], doppler, coordinates
    )


def _child() -> None:
    """Reads the file that the command line names; the scenario goes to standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (READ_MEMORY, READ_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (READ_MEMORY, READ_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (READ_CPU_SECONDS, READ_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path = Path(sys.argv[1])
    try:
        read = _read_mat(path) if path.suffix.lower() == ".mat" else _read_hdf5(path)
    except (InputError, OSError, MemoryError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        print(reason or "it takes more memory than is allowed", file=sys.stderr)
        sys.exit(2)
    arrays = {name: getattr(read, name) for name in ARRAYS if getattr(read, name) is not None}
    np.savez(sys.stdout.buffer, scenario=np.array(json.dumps(read._header())), **arrays)


def _read_hdf5(path: Path) -> Scenario:
    import h5py

    data = _read_bytes(path, MAX_BINARY)
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            text = file.attrs.get("scenario")
            if not isinstance(text, str):
                raise InputError("it has no attribute 'scenario' that is a text")
            fields = _parse_json(text)
            _validate(fields)
            if "links" in fields or "times_s" in fields:
                raise InputError("its attribute 'scenario' must not hold 'links' or 'times_s'")
            times = _dataset(file, "times_s", 1)
            gains = _dataset(file, "gains", 4, "c")
            delays = _dataset(file, "delays_ns", 4)
            doppler = _dataset(file, "doppler_hz", 2)
            coordinates = _dataset(file, "coordinates_m", 3) if "coordinates_m" in file else None
    except InputError:
        raise
    # h5py raises what libhdf5 finds as any of these.
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise InputError(f"it is not a sound HDF5 file: {str(error)[:200]}") from error
    return _build(fields, times, delays, gains, doppler, coordinates)


def _dataset(file: Any, name: str, dimensions: int, kind: str = "f") -> NDArray[Any]:
    """A data set that lies in this very file, its size known before memory is taken."""
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise InputError(f"it has no data set '{name}'")
    data = file[name]
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        raise InputError(f"'{name}' is not a data set in this file")
    if data.dtype.kind != kind or data.ndim != dimensions:
        raise InputError(f"'{name}' must be of {dimensions} dimensions and of kind '{kind}'")
    if dimensions == 4:
        _check_size(data.shape[0], data.shape[1], data.shape[3])
    for size in (data.shape, data.chunks or (1,)):
        if math.prod(size) > MAX_VALUES:
            raise InputError(f"'{name}' is too large, with the shape {data.shape}")
    array: NDArray[Any] = data[()]
    return array.astype(np.complex128 if kind == "c" else np.float64)


def _to_hdf5(scenario: Scenario) -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["scenario"] = json.dumps(scenario._header(), allow_nan=False)
        for name in ARRAYS:
            if (array := getattr(scenario, name)) is not None:
                file.create_dataset(name, data=array, compression="gzip", shuffle=True)
    return buffer.getvalue()


# Colosseum's MATLAB form

_COMPRESSED = 15  # the element type miCOMPRESSED of MATLAB's Level 5 MAT-files


def _read_mat(path: Path) -> Scenario:
    from scipy.io import loadmat

    data = _inflated(_read_bytes(path, MAX_BINARY))
    wanted = ["chMatrix", "time", "coordinates"]
    try:
        found = loadmat(io.BytesIO(data), variable_names=wanted, chars_as_strings=False)
    except MemoryError as error:
        raise InputError("it claims sizes beyond this machine's memory") from error
    except Exception as error:
        # A damaged file leaves scipy's reader by any door: index, key, type, struct, overflow.
        raise InputError(f"it is not a sound MATLAB file: {str(error)[:200]}") from error
    if "chMatrix" not in found:
        raise InputError("it holds no 'chMatrix'")
    matrix = found["chMatrix"]
    if matrix.dtype.kind in "fiu":
        delays, gains = _static_matrix(matrix)
    else:
        delays, gains = _cell_matrix(matrix)
    times, nodes = gains.shape[:2]
    if "time" in found:
        time = found["time"]
        if time.dtype.kind not in "fiu" or time.size != times:
            raise InputError(f"'time' must be {times} numbers, as 'chMatrix' has so many times")
        seconds = time.astype(np.float64).reshape(-1) / 1e3
    elif times == 1:
        seconds = np.zeros(1)
    else:
        raise InputError(f"'chMatrix' has {times} times, but there is no 'time'")
    # Colosseum repeats the last values at a whole second; nothing changes after the last time.
    coordinates = found.get("coordinates")
    if coordinates is not None:
        if coordinates.dtype.kind not in "fiu" or coordinates.ndim not in (2, 3):
            raise InputError("'coordinates' must be numbers of 2 or 3 dimensions")
        coordinates = coordinates.reshape(*coordinates.shape[:2], -1)
        if coordinates.shape not in ((nodes, 3, times), (nodes, 3, 1)):
            raise InputError(
                f"'coordinates' has shape {coordinates.shape}, not {(nodes, 3, times)}"
            )
        moved = coordinates.astype(np.float64).transpose(2, 0, 1)
        coordinates = np.array(np.broadcast_to(moved, (times, nodes, 3)))
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in path.stem)
    return Scenario(
        name=f"x{stem}"[:100] if not stem[:1].isalnum() else stem[:100],
        nodes=tuple(Node(f"node{i + 1}") for i in range(nodes)),
        delays_ns=delays,
        gains=gains,
        times_s=seconds,
        coordinates_m=coordinates,
        description=f"Imported from Colosseum's {path.name}; levels are 0 dBm at 0 dBFS.",
    )


def _inflated(data: bytes) -> bytes:
    """A MAT-file with its compressed elements inflated, so that no small file becomes a huge one.

    Raises:
        InputError: it is of another version, or larger than is allowed.
    """
    if data[:4] == b"\x89HDF" or b"MATLAB 7.3" in data[:128] or data[512:516] == b"\x89HDF":
        raise InputError("it is of MATLAB's version 7.3: save it with -v7")
    if len(data) < 128 or data[126:128] not in (b"IM", b"MI"):
        raise InputError("it is not a MATLAB file of version 5 to 7")
    order = "<" if data[126:128] == b"IM" else ">"
    parts, at, total = [data[:128]], 128, 128
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        element = data[at : at + 8 + size]
        at += 8 + size
        if kind == _COMPRESSED:
            try:
                element = zlib.decompressobj().decompress(element[8:], MAX_BINARY)
            except zlib.error as error:
                raise InputError(f"it is damaged: {error}") from error
        total += len(element)
        if total >= MAX_BINARY:
            raise InputError(f"it is larger than {MAX_BINARY} bytes when inflated")
        parts.append(element)
    return b"".join(parts)


def _static_matrix(matrix: NDArray[Any]) -> tuple[FloatArray, ComplexArray]:
    """Colosseum's simplified form: a path gain in dB for each pair, at a delay of 1 ns."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"'chMatrix' has shape {matrix.shape}: it must be square")
    _check_size(1, len(matrix), 1)
    decibels = matrix.astype(np.float64)[None, :, :, None]
    if np.isnan(decibels).any():
        raise InputError("'chMatrix' holds NaN")
    if (decibels > 0).any():
        raise InputError("'chMatrix' holds a gain above 0 dB")
    return np.ones(decibels.shape), (10 ** (decibels / 20)).astype(np.complex128)


def _cell_matrix(matrix: NDArray[Any]) -> tuple[FloatArray, ComplexArray]:
    """Colosseum's full form: a cell for each pair and time, with ``delay`` (s) and ``iq``."""
    if matrix.ndim not in (2, 3) or matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"'chMatrix' has shape {matrix.shape}: it must be square, by times")
    cells = matrix.reshape(*matrix.shape[:2], -1)
    nodes, _, times = cells.shape
    _check_size(times, nodes, MCHEM_TAPS)
    taps: dict[tuple[int, int, int], tuple[FloatArray, ComplexArray]] = {}
    most = 1
    for i, j, t in np.ndindex(nodes, nodes, times):
        pair = _cell(cells[i, j, t])
        if pair is None:
            names = f"chMatrix({i + 1},{j + 1},{t + 1})"
            raise InputError(f"{names} must hold as many numbers 'delay' as 'iq'")
        taps[t, i, j] = pair
        most = max(most, len(pair[0]))
    _check_size(times, nodes, most)
    delays = np.zeros((times, nodes, nodes, most))
    gains = np.zeros(delays.shape, np.complex128)
    for key, (delay, iq) in taps.items():
        delays[key][: len(delay)] = delay * 1e9
        gains[key][: len(iq)] = iq
    return delays, gains


def _cell(cell: Any) -> tuple[FloatArray, ComplexArray] | None:
    """Delays and gains of a cell: a structure, a cell of two, or a matrix; or None."""
    with contextlib.suppress(ValueError, IndexError, TypeError):
        if isinstance(cell, np.ndarray) and cell.size == 0:
            return np.zeros(1), np.zeros(1, np.complex128)
        while isinstance(cell, np.ndarray) and cell.dtype.kind == "O" and cell.size == 1:
            cell = cell.item()
        if getattr(cell, "dtype", np.dtype(float)).names is not None:
            element = cell.reshape(-1)[0] if isinstance(cell, np.ndarray) else cell
            delay, iq = element["delay"], element["iq"]
        elif isinstance(cell, np.ndarray) and cell.dtype.kind == "O" and cell.size == 2:
            delay, iq = cell.reshape(-1)
        elif isinstance(cell, np.ndarray) and cell.ndim == 2 and 2 in cell.shape:
            delay, iq = cell if cell.shape[1] != 2 else cell.T
            delay = delay.real
        else:
            return None
        numbers = delay.dtype.kind in "fiu" and iq.dtype.kind in "fiuc"
        if numbers and 1 <= delay.size == iq.size <= MAX_TAPS:
            return delay.astype(np.float64).reshape(-1), iq.astype(complex).reshape(-1)
    return None


def _to_mat(scenario: Scenario) -> bytes:
    from scipy.io import savemat

    times, nodes, _, taps = scenario.gains.shape
    if taps > MCHEM_TAPS:
        raise InputError(f"a .mat of Colosseum holds {MCHEM_TAPS} taps a link, not {taps}")
    cells = np.empty((nodes, nodes, times), object)
    pad = (0, MCHEM_TAPS - taps)
    for i, j, t in np.ndindex(nodes, nodes, times):
        cells[i, j, t] = {
            "delay": np.pad(scenario.delays_ns[t, i, j] * 1e-9, pad),
            "iq": np.pad(scenario.gains[t, i, j], pad),
        }
    variables = {"chMatrix": cells, "time": scenario.times_s[None, :] * 1e3}
    if scenario.coordinates_m is not None:
        variables["coordinates"] = scenario.coordinates_m.transpose(1, 2, 0)
    buffer = io.BytesIO()
    savemat(buffer, variables, do_compression=True, oned_as="row")
    return buffer.getvalue()


# CaST's CSV form: a row of all_pdps.csv is the cross-correlation of the code sequence (of a period
# that various.csv tells) with four periods of what was received, less one sample, in dB. As the
# sequence comes first in it, a later echo is further to the left.


def _read_cast(path: Path) -> Scenario:
    rows = _csv(path / "all_pdps.csv", 0)
    various = path / "various.csv"
    period, step = CAST_PERIOD, 1
    if various.is_file():
        # 'Start frame', 'Period', 'Resolution save', or without the first in later versions
        numbers = _csv(various, 1)[0]
        if len(numbers) < 2:
            raise InputError("various.csv must tell the period and the resolution")
        period, step = (int(number) for number in numbers[-2:])
    if not 1 < period <= rows.shape[1] or step < 1:
        raise InputError(f"various.csv: a period of {period} does not fit {rows.shape[1]} columns")
    _check_size(len(rows), 2, MCHEM_TAPS)
    strongest = int(rows.max(axis=0).argmax())
    # Echoes up to half a period behind the strongest path, and a little before it
    ahead = min(period // 8, rows.shape[1] - 1 - strongest)
    behind = min(period // 2, strongest)
    window = rows[:, strongest - behind : strongest + ahead + 1][:, ::-1]
    delays = np.zeros((len(rows), 2, 2, MCHEM_TAPS))
    gains = np.zeros(delays.shape, np.complex128)
    for t, row in enumerate(window):
        peaks = _peaks(row)
        delays[t, 0, 1, : len(peaks)] = peaks
        gains[t, 0, 1, : len(peaks)] = 10 ** (row[peaks] / 20)
    there = gains != 0
    if not there.any():
        raise InputError("all_pdps.csv shows no path")
    boost = max(0.0, float(20 * np.log10(np.abs(gains).max())))
    first = delays[there].min()
    delays = np.where(there, delays - first, 0) * 1e9 / CAST_RATE_HZ
    return Scenario(
        name="cast",
        nodes=(Node("transmitter"), Node("receiver")),
        delays_ns=delays,
        gains=gains * 10 ** (-boost / 20),
        times_s=np.arange(len(rows)) * step * period / CAST_RATE_HZ,
        sample_rate_hz=CAST_RATE_HZ,
        boost_db=boost,
        line_ns=max(MCHEM_LINE_NS, float(delays.max())),
        description="Imported from CaST's all_pdps.csv, which has no phases: all are 0. Delays "
        "are from the first path on, at CaST's 10 MS/s; levels are 0 dBm at 0 dBFS.",
    )


def _peaks(row: FloatArray) -> NDArray[np.intp]:
    """Where the four highest peaks of a profile in dB are, 30 dB below the first at most."""
    padded = np.concatenate([[-np.inf], row, [-np.inf]])
    is_peak = (row > padded[:-2]) & (row >= padded[2:])
    is_peak &= row > max(row.max() - 30, CAST_FLOOR_DB)
    peaks = np.nonzero(is_peak)[0]
    return np.sort(peaks[np.argsort(row[peaks], kind="stable")[::-1][:MCHEM_TAPS]])


def _csv(path: Path, skip: int) -> FloatArray:
    """The numbers of a CSV file; -inf stands, NaN does not."""
    try:
        text = _read_bytes(path, MAX_JSON).decode("ascii")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not plain text") from error
    lines = text.splitlines()[skip:]
    try:
        # numpy's own reader takes what it cannot read for missing, or warns; float() says it.
        rows = [[float(word) for word in line.split(",")] for line in lines if line.strip()]
        array = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path.name} must be rows of as many numbers each") from error
    if array.ndim != 2 or not array.size or np.isnan(array).any() or (array == np.inf).any():
        raise InputError(f"{path.name} must be rows of as many finite numbers each")
    return np.maximum(array, CAST_FLOOR_DB)


def _write_cast(scenario: Scenario, path: Path, link: tuple[str, str] | None) -> None:
    links = scenario.links()
    if link is not None:
        chosen = (scenario.index(link[0]), scenario.index(link[1]))
    elif links:
        chosen = links[0]
    else:
        raise InputError("the scenario has no link")
    samples = np.rint(scenario.delays_ns[:, chosen[0], chosen[1]] * 1e-9 * CAST_RATE_HZ)
    gains = np.abs(scenario.gains[:, chosen[0], chosen[1]])
    period = CAST_PERIOD
    if samples.max() > period // 2:
        raise InputError(f"CaST's form at 10 MS/s holds delays up to {period // 2 * 100} ns")
    step = 1
    if len(scenario.times_s) > 1:
        steps = np.diff(scenario.times_s) * CAST_RATE_HZ / period
        step = max(1, round(steps[0]))
        if not np.allclose(steps, steps[0], rtol=1e-6):
            raise InputError("CaST's form needs times that are equally far apart")
    rows = np.zeros((len(samples), 5 * period - 2))
    row = np.arange(len(rows))[:, None]
    for start in range(period, 5 * period - 2, period):
        rows[row, start - samples.astype(np.intp)] = gains
    with np.errstate(divide="ignore"):
        decibels = np.maximum(20 * np.log10(rows) + scenario.boost_db, CAST_FLOOR_DB)
    text = "\n".join(",".join(f"{value:.18e}" for value in line) for line in decibels)
    write_bytes(path / "all_pdps.csv", f"{text}\n".encode())
    header = "Start frame,Period,Resolution save"
    write_bytes(path / "various.csv", f"{header}\r\n0,{period},{step}\r\n".encode())


def rows(scenario: Scenario) -> Iterator[dict[str, Any]]:
    """Each link at time 0, for tables and JSON: taps, level at the receiver, and Es/N0.

    ``received_dbm`` and ``received_dbfs`` are of a transmitter at 0 dBFS that fills the band.
    """
    level, snr, powers = scenario.link_db(), scenario.snr_db(), scenario.powers(slice(1))[0]
    for i, j in scenario.links():
        gains = scenario.gains[0, i, j]
        used = gains != 0
        power = float(powers[i, j])
        received = 10 * math.log10(power) + float(level[i, j]) if power else -math.inf
        yield {
            "transmitter": scenario.nodes[i].name,
            "receiver": scenario.nodes[j].name,
            "delays_ns": scenario.delays_ns[0, i, j][used].tolist(),
            "gains_db": (20 * np.log10(np.abs(gains[used]))).tolist(),
            "phases_deg": np.rad2deg(np.angle(gains[used])).tolist(),
            "received_dbm": received + scenario.nodes[j].full_scale_dbm,
            "received_dbfs": received,
            "snr_db": float(snr[i, j]),
        }
