# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Recordings: what is written is read again, and what is broken is refused in one sentence."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phydnn import recording
from phydnn.errors import InputError
from phydnn.recording import Frame, Made, Recording
from phydnn.tests.trees import at

MADE = Made(
    "received", "some-bundle", 0x348A93DE, "wide", 16, 40, 3, "digits", "ab" * 32,
    "loopback", "awgn", 12.0, 100.0, -2.0, 0.0, 2**64 - 1,
)  # fmt: skip
FRAMES = (Frame(0, 3, 90, 100), Frame(1, 103, 90, 100), Frame(2, 203, 60, 70))


def write(folder: Path) -> Path:
    """A recording of three frames; the path of its metadata."""
    rng = np.random.default_rng(1)
    part = folder / "part"
    rng.normal(size=600).astype(np.float32).tofile(part)
    recording.store(part, folder / "a", Recording(part, 300, 20e6, MADE, FRAMES), "A <a@b.c>")
    return folder / "a.sigmf-meta"


@pytest.fixture
def meta(tmp_path: Path) -> Path:
    return write(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """For the fuzzers, whose every example overwrites the metadata, and what these were."""
    meta = write(tmp_path_factory.mktemp("shared"))
    return meta, meta.read_text()


def test_round_trip(meta: Path) -> None:
    assert {path.name for path in meta.parent.iterdir()} == {"a.sigmf-meta", "a.sigmf-data"}
    for name in (meta, meta.with_suffix(".sigmf-data"), meta.with_suffix("")):
        read = recording.load(name)
        assert (read.samples, read.sample_rate, read.made) == (300, 20e6, MADE)
        assert read.frames == FRAMES


def test_metadata_are_sigmf(meta: Path) -> None:
    """By the judgement of the format's own package, which also finds the hash to be right."""
    from sigmf.sigmffile import fromfile

    file = fromfile(str(meta))
    file.validate()
    assert file.sample_count == 300
    information = file.get_global_info()
    assert information["core:datatype"] == "cf32_le"
    assert information["core:author"] == "A <a@b.c>"
    assert information["core:hw"].startswith("none")
    assert "some-bundle" in information["core:description"]
    assert file.get_captures()[0]["core:datetime"].endswith("Z")
    first = file.get_annotations()[0]
    assert (first["core:sample_start"], first["core:sample_count"]) == (3, 90)
    assert (first["core:label"], first["core:comment"]) == ("frame 0", "bundle 348a93de")
    data = meta.with_suffix(".sigmf-data").read_bytes()
    assert information["core:sha512"] == hashlib.sha512(data).hexdigest()


def test_annotations_of_others_are_left_alone(meta: Path) -> None:
    tree = json.loads(meta.read_text())
    tree["annotations"].insert(1, {"core:sample_start": 7, "core:label": "a bird"})
    meta.write_text(json.dumps(tree))
    assert recording.load(meta).frames == FRAMES


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (at("global", "core:datatype", value="ci16_le"), "datatype ci16_le"),
        (at("global", "core:datatype", value=5), "global/core:datatype is wrong"),
        (at("global", "core:datatype"), "'core:datatype' is a required property"),
        (at("global", "core:sample_rate"), "core:sample_rate must"),
        (at("global", "core:sample_rate", value=0), "core:sample_rate"),
        (at("global", "core:num_channels", value=2), "several channels"),
        (at("global", "core:dataset", value="b.bin"), "another format"),
        (at("global", "core:trailing_bytes", value=8), "another format"),
        (at("global", "core:extensions", value=[{"name": 1}]), "extensions"),
        (at("global", "core:sha512"), "has no core:sha512"),
        (at("global", "core:sha512", value="0" * 128), "is damaged"),
        (at("global", "phydnn:batch"), "has no phydnn:batch: only recordings made with --record"),
        (at("global", "phydnn:batch", value=0), "phydnn:batch is out of range"),
        (at("global", "phydnn:batch", value="16"), "phydnn:batch must be of type int"),
        (at("global", "phydnn:items", value=True), "phydnn:items must be of type int"),
        (at("global", "phydnn:seed", value=-1), "phydnn:seed is out of range"),
        (at("global", "phydnn:snr_db", value="loud"), "phydnn:snr_db must be of type float"),
        (at("global", "phydnn:snr_db", value=10**400), "phydnn:snr_db must be of type float"),
        (at("global", "phydnn:point", value="between"), "phydnn:point must be sent or received"),
        (at("global"), "'global' is a required property"),
        (at("captures"), "'captures' is a required property"),
        (at("captures", value=[{"core:sample_start": 9}]), "one capture, from sample 0"),
        (at("captures", 0, "core:header_bytes", value=8), "bytes before its samples"),
        (at("annotations"), "'annotations' must be a list"),
        (at("annotations", value=["frame"]), "annotation 0 is no object"),
        (at("annotations", value=[{"core:sample_start": 0}]), "annotates no frame"),
        (at("annotations", 2, "core:sample_start", value=241), "ends at sample 301 of 300"),
        (at("annotations", 2, "core:sample_count", value=2**61), "annotation 2 is out of range"),
        (at("annotations", 2, "core:sample_count", value=10**30), "must be 0 or more"),
        (at("annotations", 2, "core:sample_count", value=0.5), "must be 0 or more"),
        (at("annotations", 0, "core:sample_start", value=-1), "must be 0 or more"),
        (at("annotations", 1, "core:sample_start", value=3), "annotation 1 is out of order"),
        (at("annotations", 1, "phydnn:frame_number", value=0), "annotation 1 is out of order"),
        (at("annotations", 2, "phydnn:frame_number", value=3), "there were only 3"),
        (at("annotations", 1, "phydnn:samples_on_air"), "phydnn:samples_on_air of annotation 1"),
    ],
)
def test_bad_metadata(meta: Path, change: Callable[[Any], None], sentence: str) -> None:
    tree = json.loads(meta.read_text())
    change(tree)
    meta.write_text(json.dumps(tree))
    refuses(meta, sentence)


def refuses(name: str | Path, sentence: str = "") -> None:
    with pytest.raises(InputError) as caught:
        recording.load(name)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_files(meta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = meta.with_suffix(".sigmf-data")
    text, whole = meta.read_text(), data.read_bytes()
    refuses(meta.parent / "nowhere", "nowhere.sigmf-meta cannot be read")
    refuses("a\0b", "cannot be read")
    refuses("", "names no recording")
    data.write_bytes(whole[:-3])
    refuses(meta, "in the middle of a sample")
    data.write_bytes(whole[:800])
    refuses(meta, "ends at sample 193 of 100")
    data.write_bytes(whole[:-8])
    refuses(meta, "is damaged")
    data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refuses(meta, "is damaged")
    data.unlink()
    refuses(meta, "a.sigmf-data, the samples of the recording, cannot be read")
    data.mkdir()
    refuses(meta, "is no file")
    for broken in (text[:-9], "", "[" * 100_000, '{"a": NaN}', "9" * 5000):
        meta.write_text(broken)
        refuses(meta, "is not JSON")
    meta.write_bytes(b"\xff\xfe{}")
    refuses(meta, "is not JSON")
    for other in ("[]", "{}", "1"):
        meta.write_text(other)
        refuses(meta, "is no SigMF")
    monkeypatch.setattr(recording, "LONGEST_META", 1 << 10)
    meta.write_text(" " * 1025)
    refuses(meta, "longer than")
    meta.unlink()
    meta.mkdir()
    refuses(meta, "it is no file")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FUZZ
@given(random=st.randoms(use_true_random=False), values=st.lists(VALUES, min_size=1, max_size=3))
def test_fuzz_fields(shared: tuple[Path, str], random: Random, values: list[Any]) -> None:
    """Any field with any value: a recording, or one sentence."""
    meta, text = shared
    tree = json.loads(text)
    for value in values:
        place: Any = tree
        while True:
            key = random.choice(list(place) if isinstance(place, dict) else range(len(place)))
            inner = place[key]
            if not (isinstance(inner, (dict, list)) and inner) or random.random() < 0.1:
                break
            place = inner
        place[key] = value
    meta.write_text(json.dumps(tree), "utf-8")
    a_recording_or_a_sentence(meta)


@FUZZ
@given(junk=st.binary(max_size=200))
def test_fuzz_bytes(shared: tuple[Path, str], junk: bytes) -> None:
    meta, _ = shared
    meta.write_bytes(junk)
    a_recording_or_a_sentence(meta)


def a_recording_or_a_sentence(meta: Path) -> None:
    try:
        read = recording.load(meta)
    except InputError as error:
        assert "\n" not in str(error)
        return
    # What is accepted can be played.
    assert read.samples == 300
    assert read.sample_rate > 0
    ends = [0] + [frame.start + frame.count for frame in read.frames]
    assert 0 < max(ends) <= 300
    starts = [(frame.number, frame.start) for frame in read.frames]
    assert starts == sorted(starts)
