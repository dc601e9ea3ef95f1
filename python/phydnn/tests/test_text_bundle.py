# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Text bundles are checked when they are loaded, and a payload's length says what a frame holds."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phydnn import text
from phydnn.bundle import BundleError, PhydnnBundle, load, sha256
from phydnn.decoding import TextCodec
from phydnn.errors import InputError
from phydnn.tests import code_book
from phydnn.text_bundle import (
    BUCKET,
    TextBundle,
    frames_of,
    one_frame,
    payload_uses,
    shape_of,
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> TextBundle:
    return code_book.make(tmp_path_factory.mktemp("models") / "book")


@pytest.fixture
def folder(bundle: TextBundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "book"))


def change(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "bundle.json"
    meta = json.loads(path.read_text())
    edit(meta)
    meta["files"] = {name: sha256(folder / name) for name in meta["files"]}
    path.write_text(json.dumps(meta))


def test_it_loads_by_its_system(bundle: TextBundle) -> None:
    assert isinstance(load(bundle.path), TextBundle)
    assert (bundle.uses, bundle.positions, bundle.cache_shape) == (8, 32, (1, 2, 2, 8))
    with pytest.raises(BundleError, match="it is 'ldeepsc', but 'phydnn' is wanted"):
        PhydnnBundle.load(bundle.path)
    assert code_book.make(bundle.path.parent / "other", seed=2).id != bundle.id


@pytest.mark.parametrize(
    "edit,sentence",
    [
        (lambda m: m["vocabulary"].update(size=399), "400 tokens, not 399"),
        (lambda m: m["vocabulary"].update(size=10), "vocabulary.size"),
        (lambda m: m["constellation"].update(bits=9), "constellation"),
        (lambda m: m["constellation"].update(gain=0), "constellation"),
        (lambda m: m["constellation"].update(priors=[1.0]), "constellation"),
        (lambda m: m.pop("constellation"), "constellation"),
        (lambda m: m.update(decision="firm"), "decision"),
        (lambda m: m["shape"].update(heads=3), "heads do not divide"),
        (lambda m: m["shape"].update(positions=132), "tell lengths up to 128"),
        (lambda m: m["shape"].update(uses=4), "golden.npz: values has shape"),
        (lambda m: m["shape"].update(layers=2), "golden.npz: received has shape"),
        (lambda m: m["files"].pop("vocabulary.model"), "vocabulary.model"),
        (lambda m: m["files"].update({"extra.onnx": "0" * 64}), "extra.onnx"),
    ],
)
def test_what_does_not_fit_is_named(
    folder: Path, edit: Callable[[dict[str, Any]], Any], sentence: str
) -> None:
    meta = json.loads((folder / "bundle.json").read_text())
    edit(meta)
    (folder / "bundle.json").write_text(json.dumps(meta))
    with pytest.raises(BundleError, match=sentence):
        TextBundle.load(folder)


def test_graphs_are_held_against_the_golden_answers(folder: Path) -> None:
    with np.load(folder / "golden.npz") as golden:
        arrays = dict(golden)
    arrays["logits"] = arrays["logits"] + 1
    np.savez(folder / "golden.npz", **arrays)
    change(folder, lambda _: None)
    with pytest.raises(BundleError, match=r"semantic_step\.onnx: its logits differ"):
        TextBundle.load(folder)


@given(sentences=st.integers(1, 5000), blocks=st.integers(1, 8))
def test_a_payloads_length_says_what_it_holds(
    bundle: TextBundle, sentences: int, blocks: int
) -> None:
    uses = payload_uses(bundle, sentences, BUCKET * blocks)
    assert shape_of(bundle, uses) == (sentences, BUCKET * blocks)


@given(uses=st.integers(-5, 100_000))
def test_any_length_is_a_shape_or_refused(bundle: TextBundle, uses: int) -> None:
    try:
        sentences, tokens = shape_of(bundle, uses)
    except InputError:
        return
    assert payload_uses(bundle, sentences, tokens) == uses


@given(st.lists(st.text(max_size=60), max_size=12), st.integers(1, 5))
def test_frames_hold_every_line_once(bundle: TextBundle, lines: list[str], batch: int) -> None:
    frames = frames_of(bundle, lines, batch)
    parts: dict[tuple[int, int], list[int]] = {}
    for frame in frames:
        count, length = frame.tokens.shape
        assert count <= batch and length % BUCKET == 0 and length <= bundle.positions
        for tokens, line, part in zip(frame.tokens, frame.lines, frame.parts, strict=True):
            assert (line, part) not in parts
            parts[int(line), int(part)] = tokens.tolist()
    read: list[list[int]] = [[] for _ in lines]
    for (line, _), tokens in sorted(parts.items()):
        read[line] += tokens
    assert [bundle.vocabulary.decode(tokens) for tokens in read] == lines
    assert {line for line, _ in parts} == set(range(len(lines)))


def test_frames(bundle: TextBundle) -> None:
    long = "very long " * 30
    frame = one_frame(bundle, long)
    assert len(frame.tokens) > 1 and frame.parts.tolist() == list(range(len(frame.tokens)))
    assert bundle.vocabulary.decode(frame.tokens.ravel()) == long
    assert one_frame(bundle, "").tokens.tolist() == [[text.END] * BUCKET]
    with pytest.raises(InputError, match="1 or more"):
        frames_of(bundle, ["a"], 0)
    with pytest.raises(InputError, match="surrogate"):
        one_frame(bundle, "\ud800")


def test_the_codec_reads_what_it_sent(bundle: TextBundle) -> None:
    """Guessing ahead, many at once and one alone, and by a beam."""
    codec = TextCodec(bundle)
    for lines, batch in ((code_book.LINES[:5], 8), (code_book.LINES, 64)):
        for frame in frames_of(bundle, lines, batch):
            symbols = codec.encode(frame.tokens)
            assert np.mean(np.abs(symbols) ** 2) == pytest.approx(1, abs=0.1)
            assert np.array_equal(codec.greedy(symbols, 0.01), frame.tokens)
    frame = one_frame(bundle, code_book.LINES[0])
    symbols = codec.encode(frame.tokens)
    assert np.array_equal(codec.beam(symbols, 0.01, 3), frame.tokens)
