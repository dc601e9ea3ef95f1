# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Recordings of a link as SigMF: what they say of themselves, written and checked.

A recording is a pair of files: ``NAME.sigmf-data``, complex64 samples, and ``NAME.sigmf-meta``,
JSON after the Signal Metadata Format (https://sigmf.org, 1.x). What SigMF has no word for stands
in the namespace ``phydnn``: the fields of :class:`Made` in the global object, and ``frame_number``
and ``samples_on_air`` of :class:`Frame` in each annotation.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import warnings
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import sigmf
from jsonschema.exceptions import ValidationError
from numpy.typing import NDArray
from sigmf.validate import validate

from . import __version__
from .errors import InputError
from .results import provenance, write_bytes

DATATYPE = "cf32_le"
SAMPLE_BYTES = 8
LONGEST_META = 256 << 20
"""Bytes of metadata that are read: a million frames' annotations."""
POINTS = ("sent", "received")
_META, _DATA = ".sigmf-meta", ".sigmf-data"
_EXTENSION = {"name": "phydnn", "version": "1.0.0", "optional": True}


@dataclass(frozen=True)
class Frame:
    """One frame of a recording, an annotation.

    Attributes:
        number: as the header counts it, from 0.
        start: index of its first sample in the recording.
        count: samples of its burst, without the gap.
        samples_on_air: samples that the transmitter put out for it, with the gap.
    """

    number: int
    start: int
    count: int
    samples_on_air: int


@dataclass(frozen=True)
class Made:
    """What made a recording: with the same bundle and data it can be measured again.

    Attributes:
        point: "sent", the transmitter's output, or "received", the receiver's input.
        bundle: its name.
        bundle_id: what the frames' headers say.
        waveform: the name of the preset.
        batch: items in a frame, at most: images, sentences or weights.
        items, frames: how many there were.
        data: the data set's name.
        data_sha256: of the items, by :func:`fingerprint` where they are images.
        link, channel, snr_db, cfo_hz, sfo_ppm, phase_noise_hz, seed: as of ``run_link``.
    """

    point: str
    bundle: str
    bundle_id: int
    waveform: str
    batch: int
    items: int
    frames: int
    data: str
    data_sha256: str
    link: str
    channel: str
    snr_db: float
    cfo_hz: float
    sfo_ppm: float
    phase_noise_hz: float
    seed: int


@dataclass(frozen=True)
class Recording:
    """A recording on disk; its samples stay there.

    Attributes:
        data: the file of samples.
        samples: how many it holds.
        sample_rate: per second.
        made: what made it.
        frames: by number, which is the order of their samples.
    """

    data: Path
    samples: int
    sample_rate: float
    made: Made
    frames: tuple[Frame, ...]


def paths(name: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The metadata's and the data's file of a recording, named with or without its suffix."""
    path = Path(name)
    if path.suffix in (_META, _DATA):
        path = path.with_suffix("")
    if not path.name:
        raise InputError(f"'{name}' names no recording: give a file's name, without its suffix")
    return path.with_name(path.name + _META), path.with_name(path.name + _DATA)


def fingerprint(values: NDArray[Any]) -> str:
    """SHA-256 of an array's values, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def store(part: Path, name: str | os.PathLike[str], recording: Recording, author: str = "") -> None:
    """Makes a recording of a file of samples: moves it to its place and writes its metadata.

    Args:
        part: the samples, in the folder where the recording is to be.
        name: of the recording.
        recording: what to say of it; its ``data`` does not count.
        author: "name <address>"; left out where empty.

    Raises:
        InputError: a file cannot be written.
    """
    meta, data = paths(name)
    made = recording.made
    simulated = made.link == "loopback"
    where = "the receiver's input" if made.point == "received" else "the transmitter's output"
    information = {
        "core:version": sigmf.__specification__,
        "core:datatype": DATATYPE,
        "core:sample_rate": recording.sample_rate,
        "core:sha512": _sha512(part),
        "core:hw": "none: the channel is simulated" if simulated else made.link,
        "core:description": f"{len(recording.frames)} frames of bundle {made.bundle} at {where}, "
        f"link {made.link}, channel {made.channel}, Es/N0 {made.snr_db:g} dB; "
        f"made by: {provenance()['command']}",
        "core:recorder": f"gr-phydnn {__version__}",
        "core:extensions": [_EXTENSION],
        **({"core:author": author} if author else {}),
        **{f"phydnn:{key}": value for key, value in asdict(made).items()},
    }
    annotations = [
        {
            "core:sample_start": frame.start,
            "core:sample_count": frame.count,
            "core:label": f"frame {frame.number}",
            "core:comment": f"bundle {made.bundle_id:08x}",
            "phydnn:frame_number": frame.number,
            "phydnn:samples_on_air": frame.samples_on_air,
        }
        for frame in recording.frames
    ]
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    captures = [{"core:sample_start": 0, "core:datetime": now}]
    file = sigmf.SigMFFile(
        {"global": information, "captures": captures, "annotations": annotations}
    )
    try:
        os.replace(part, data)
    except OSError as error:
        raise InputError(f"cannot write {data}: {error.strerror or error}") from error
    write_bytes(meta, (file.dumps() + "\n").encode())


def load(name: str | os.PathLike[str]) -> Recording:
    """Reads a recording's metadata and holds its data against them.

    Raises:
        InputError: a file is missing, the metadata are not what SigMF and this module want, or the
            data have another length or hash.
    """
    meta, data = paths(name)
    text = _read(meta)
    try:
        # What JSON does not know, NaN and infinity, is refused like any other error.
        tree = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{meta} is not JSON ({error}): record it again") from error
    fields_of = _checked(meta, tree)
    made, rate = _made(meta, fields_of), fields_of["core:sample_rate"]
    samples = _data_length(data)
    frames = tuple(_frames(meta, tree["annotations"], samples, made))
    if "core:sha512" not in fields_of:
        raise InputError(f"{meta} has no core:sha512: the samples cannot be checked against it")
    if _sha512(data) != fields_of["core:sha512"].lower():
        raise InputError(f"{data} is damaged: its hash is not the one that {meta.name} gives")
    return Recording(data, samples, float(rate), made, frames)


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON's")


def _read(meta: Path) -> str:
    try:
        status = meta.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{meta} cannot be read: it is no file")
        if status.st_size > LONGEST_META:
            raise InputError(f"{meta} is longer than the {LONGEST_META >> 20} MiB that are read")
        return meta.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{meta} is not JSON: it is no text in UTF-8") from error
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{meta} cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from error


def _checked(meta: Path, tree: Any) -> dict[str, Any]:
    """The global object of metadata that follow SigMF and can be played."""
    parts = tree if isinstance(tree, dict) else {}
    if not isinstance(parts.get("annotations"), list):
        raise InputError(f"{meta} is no SigMF: 'annotations' must be a list")
    try:
        # The annotations are checked one by one below, at once and with a sentence for each.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            validate({**parts, "annotations": []})
    except ValidationError as error:
        where = "/".join(map(str, error.absolute_path)) or "it"
        raise InputError(
            f"{meta} is no SigMF: {where} is wrong: {error.message[:200]}".replace("\n", " ")
        ) from error
    except Exception as error:
        # The validator looks into extensions before it knows that they are there.
        raise InputError(f"{meta} is no SigMF: its extensions cannot be read") from error
    information: dict[str, Any] = parts["global"]
    if (datatype := information["core:datatype"]) != DATATYPE:
        raise InputError(f"{meta} is of datatype {datatype}: only {DATATYPE} can be replayed")
    if information.get("core:num_channels", 1) != 1:
        raise InputError(f"{meta} has several channels: a recording with one can be replayed")
    if {"core:dataset", "core:trailing_bytes"} & information.keys():
        raise InputError(f"{meta} has its samples in another format: only .sigmf-data is replayed")
    captures = parts["captures"]
    if len(captures) != 1 or captures[0]["core:sample_start"] != 0:
        raise InputError(f"{meta} must have one capture, from sample 0: others cannot be replayed")
    if "core:header_bytes" in captures[0]:
        raise InputError(f"{meta} has bytes before its samples: such data cannot be replayed")
    if not _is(information.get("core:sample_rate"), float) or information["core:sample_rate"] <= 0:
        raise InputError(f"{meta}: core:sample_rate must be a number above 0")
    return information


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        # An integer that a double cannot hold is no number here.
        if isinstance(value, float):
            return math.isfinite(value)
        return _is(value, int) and abs(value) < 1 << 53
    return isinstance(value, kind) and not isinstance(value, bool)


def _made(meta: Path, information: dict[str, Any]) -> Made:
    kinds = get_type_hints(Made)
    values = {}
    for field in fields(Made):
        key = f"phydnn:{field.name}"
        if key not in information:
            raise InputError(f"{meta} has no {key}: only recordings made with --record replay")
        if not _is(information[key], kinds[field.name]):
            raise InputError(f"{meta}: {key} must be of type {kinds[field.name].__name__}")
        values[field.name] = information[key]
    made = Made(**values)
    for key, low, high in (
        ("bundle_id", 0, 1 << 32),
        ("batch", 1, 1 << 24),
        ("items", 1, 1 << 40),
        ("frames", 1, 1 << 25),
        ("seed", 0, 1 << 64),
    ):
        if not low <= values[key] < high:
            raise InputError(f"{meta}: phydnn:{key} is out of range")
    if made.point not in POINTS:
        raise InputError(f"{meta}: phydnn:point must be {' or '.join(POINTS)}")
    return made


def _frames(meta: Path, annotations: list[Any], samples: int, made: Made) -> list[Frame]:
    frames: list[Frame] = []
    names = (
        "phydnn:frame_number", "core:sample_start", "core:sample_count", "phydnn:samples_on_air",
    )  # fmt: skip
    for index, annotation in enumerate(annotations):
        if not isinstance(annotation, dict):
            raise InputError(f"{meta} is no SigMF: annotation {index} is no object")
        if names[0] not in annotation:
            continue  # of another hand, about something else
        for name in names:
            if not _is(annotation.get(name), int) or not 0 <= annotation[name] < 1 << 62:
                raise InputError(f"{meta}: {name} of annotation {index} must be 0 or more")
        frame = Frame(*(annotation[name] for name in names))
        if frame.number >= made.frames:
            raise InputError(
                f"{meta}: annotation {index} is of frame {frame.number}, but there were only "
                f"{made.frames}"
            )
        if not frame.count or frame.start + frame.count > samples:
            raise InputError(
                f"{meta}: annotation {index} is out of range: it ends at sample "
                f"{frame.start + frame.count} of {samples}"
            )
        if frames and (frame.number <= frames[-1].number or frame.start <= frames[-1].start):
            raise InputError(f"{meta}: annotation {index} is out of order")
        frames.append(frame)
    if not frames:
        raise InputError(f"{meta} annotates no frame: only recordings made with --record replay")
    return frames


def _data_length(data: Path) -> int:
    """Samples of a file."""
    try:
        status = data.stat()
    except (OSError, ValueError) as error:
        raise InputError(f"{data}, the samples of the recording, cannot be read") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{data}, the samples of the recording, is no file")
    if status.st_size % SAMPLE_BYTES:
        raise InputError(f"{data} is cut short: it ends in the middle of a sample")
    return status.st_size // SAMPLE_BYTES


def _sha512(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha512").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
