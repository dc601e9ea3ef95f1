# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Text: vocabulary, loaders, BLEU."""

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phydnn import text
from phydnn.errors import InputError
from phydnn.tests.sentences import LINES
from phydnn.text import END, GAP, GAP_TEXT, Vocabulary


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary.train(LINES, 400)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("")
@example(" two  spaces ")
@example("tab\tand\x00\x07\x1b control")
@example("emoji \U0001f469\u200d\U0001f680, שלום עולם, مرحبا")
@example("\u2581under\u2581 \u2581score\u2581")
@example("</s><unk><0x41> a\u2028b\r")
def test_every_text_survives(vocabulary: Vocabulary, line: str) -> None:
    tokens = vocabulary.encode(line)
    assert GAP not in tokens and END not in tokens
    assert vocabulary.decode([*tokens, END, END]) == line


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 399), max_size=80))
def test_any_tokens_can_be_read(vocabulary: Vocabulary, tokens: list[int]) -> None:
    read = vocabulary.decode(tokens)
    read.encode()
    assert read.count(GAP_TEXT) >= tokens.count(GAP)


def test_words_of_the_training_text_are_whole(vocabulary: Vocabulary) -> None:
    assert len(vocabulary.encode("the European Parliament")) == 3
    assert len(vocabulary.encode("xylophone")) > 3


def test_bad_vocabularies_and_tokens_are_refused(vocabulary: Vocabulary, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="half of a surrogate"):
        vocabulary.encode("a\ud800")
    with pytest.raises(InputError, match="400 is no token of a vocabulary of 400"):
        vocabulary.decode([400])
    with pytest.raises(InputError, match="no vocabulary"):
        Vocabulary(vocabulary.model[:1000])
    with pytest.raises(InputError, match="cannot read"):
        Vocabulary.load(tmp_path / "none.model")
    with pytest.raises(InputError, match="no vocabulary of 100000 tokens"):
        Vocabulary.train(LINES[:3], 100_000)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_vocabulary(data: bytes) -> None:
    with pytest.raises(InputError, match="vocabulary"):
        Vocabulary(data)


@settings(deadline=None)
@given(st.lists(st.integers(2, 399), max_size=200), st.integers(1, 64))
def test_pieces_are_the_sentence(vocabulary: Vocabulary, tokens: list[int], limit: int) -> None:
    starts = vocabulary.starts_word()
    parts = text.pieces(tokens, limit, starts)
    assert [t for part in parts for t in part] == (tokens or [END])
    assert all(0 < len(part) <= limit for part in parts)


def test_a_long_sentence_is_cut_between_words(vocabulary: Vocabulary) -> None:
    tokens = vocabulary.encode(" ".join(LINES[:10]))
    parts = text.pieces(tokens, 32, vocabulary.starts_word())
    assert len(parts) > 2
    assert all(vocabulary.starts_word()[part[0]] for part in parts)


def test_fill() -> None:
    assert text.fill([[5], [6, 7, 8]], 4).tolist() == [[5, 1, 1, 1], [6, 7, 8, 1]]


@pytest.mark.parametrize(("suffix", "opener"), [("", open), (".xz", lzma.open), (".gz", gzip.open)])
def test_text_files(tmp_path: Path, suffix: str, opener: object) -> None:
    path = tmp_path / f"lines.txt{suffix}"
    lines = [*LINES, "", "a\u2028b", "last"]
    with opener(path, "wb") as file:  # type: ignore[operator]
        file.write("\ufeff".encode() + "\r\n".join(lines).encode() + b"\n")
    assert text.load(f"text:{path}") == lines
    train, val = text.load(f"text:{path}", "train"), text.load(f"text:{path}", "val")
    assert len(val) == len(lines) // 10
    assert sorted(train + val) == sorted(lines)


def test_europarl(tmp_path: Path) -> None:
    folder = tmp_path / "txt" / "en"
    folder.mkdir(parents=True)
    for day in range(40):
        (folder / f"ep-00-01-{day:02}.txt").write_text(
            "<CHAPTER ID=1>\nResumption of the session\n<SPEAKER ID=1 NAME='President'>\n<P>\n"
            f"We resume sitting number {day} now.\nToo short.\n{'word ' * 31}\n"
        )
    test = text.load(f"europarl:{tmp_path}", "test")
    assert test == [
        line
        for day in (19, 39)
        for line in ("Resumption of the session", f"We resume sitting number {day} now.")
    ]
    rest = text.load(f"europarl:{tmp_path}", "train") + text.load(f"europarl:{tmp_path}", "val")
    assert len(rest) == 76 and not {test[1], test[3]} & set(rest)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("cifar10:x", "give text:FILE or europarl:DIR"),
        ("text:", "give text:FILE"),
        ("text:{}/none", "cannot read"),
        ("text:{}/latin", "not UTF-8 in line 2"),
        ("text:{}/empty", "no sentences"),
        ("text:{}/torn.xz", "cannot read"),
        ("text:{}", "cannot read"),
        ("europarl:{}", "unpack Europarl there"),
    ],
)
def test_bad_text_is_refused(tmp_path: Path, spec: str, said: str) -> None:
    (tmp_path / "latin").write_bytes(b"good\nb\xe9d\n")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "torn.xz").write_bytes(lzma.compress(b"word " * 1000)[:-20])
    with pytest.raises(InputError, match=said):
        text.load(spec.format(tmp_path))


def test_bleu_by_hand() -> None:
    # 3 of 4 words, 1 of 3 pairs, as long as it was sent.
    scores = text.bleu(["the cat sat down"], ["the cat fell down"])
    assert scores["bleu"][0] == pytest.approx(3 / 4)
    assert scores["bleu"][1] == pytest.approx((3 / 4 * 1 / 3) ** 0.5)
    assert scores["bleu_sacre"][:2] == pytest.approx(scores["bleu"][:2])
    # Two of four words: the brevity penalty exp(1 - 4/2).
    short = text.bleu(["the cat sat down"], ["the cat"])
    assert short["bleu"][0] == pytest.approx(np.exp(-1))


def test_bleu_of_what_arrives_whole_or_not_at_all() -> None:
    lines = ["Thank you.", "", "A sentence of some more words than that."]
    assert text.bleu(lines, lines)["bleu"] == pytest.approx([1] * 4)
    assert text.bleu(lines, ["", "noise", ""])["bleu"] == [0] * 4
    with pytest.raises(InputError, match="3 sentences do not match 2"):
        text.bleu(lines, lines[:2])
