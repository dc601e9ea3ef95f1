# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Sentences: where they come from, the tokens that they are made of, and how alike two are.

Tokens are whole words and punctuation marks as far as the vocabulary has them, and pieces of
words, single characters or bytes where it does not (byte-pair encoding with byte fallback, by
SentencePiece). So no text is beyond a vocabulary: a word that it has never seen costs more tokens,
and tokens that arrive unharmed spell the text that was sent, character by character.
"""

from __future__ import annotations

import functools
import gzip
import io
import lzma
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from phydnn.errors import InputError

Split = Literal["train", "val", "test"]

GAP, END = 0, 1
"""Tokens of every vocabulary: what stands for a loss, and what fills a sentence up."""
GAP_TEXT = "\N{REPLACEMENT CHARACTER}"
"""What a reader sees of a loss."""
BLANK = "\u2581"
"""How SentencePiece writes a space."""
MAX_VOCABULARY_BYTES = 16 << 20
MAX_TEXT_BYTES = 1 << 30
"""Of a text file, unpacked."""
MAX_VALIDATION = 2000
SPLIT_SEED = 2026
WORDS = 4, 30
"""Of a sentence in the paper's selection from Europarl."""


class Vocabulary:
    """Text to token numbers and back.

    Args:
        model: a SentencePiece model with byte fallback, as :meth:`train` makes it.

    Raises:
        InputError: it is none, or not one that can spell every text.
    """

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self.model = model
        self._pieces = sentencepiece.SentencePieceProcessor()
        try:
            self._pieces.LoadFromSerializedProto(model)
        except (RuntimeError, TypeError) as error:
            raise InputError(f"this is no vocabulary: {error}") from error
        pieces = self._pieces
        self._bytes = [pieces.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)]
        if pieces.unk_id() != GAP or pieces.eos_id() != END or GAP in self._bytes:
            raise InputError(
                "this vocabulary cannot spell every text: make it with Vocabulary.train"
            )

    @classmethod
    def train(cls, lines: Iterable[str], size: int) -> Vocabulary:
        """The byte-pair vocabulary of ``size`` tokens for these lines.

        Raises:
            InputError: the lines are too few for so many tokens.
        """
        import sentencepiece

        written = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.Train(
                sentence_iterator=(" " + line for line in lines),
                model_writer=written,
                model_type="bpe",
                vocab_size=size,
                byte_fallback=True,
                split_digits=True,
                character_coverage=0.99995,
                # Text is to arrive as it was sent: nothing is normalised.
                normalization_rule_name="identity",
                remove_extra_whitespaces=False,
                add_dummy_prefix=False,
                unk_id=GAP,
                eos_id=END,
                bos_id=-1,
                pad_id=-1,
                num_threads=1,
                minloglevel=3,
            )
        except (RuntimeError, OSError) as error:
            raise InputError(f"no vocabulary of {size} tokens from this text: {error}") from error
        return cls(written.getvalue())

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Reads a vocabulary's file. Raises InputError where it is none."""
        return cls(_read(path, MAX_VOCABULARY_BYTES))

    def __len__(self) -> int:
        return int(self._pieces.get_piece_size())

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, any text; none of the empty one.

        Raises:
            InputError: it holds half of a surrogate pair, which is no character.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"a text holds half of a surrogate pair: {error}") from error
        if not text:
            return []
        # SentencePiece would take its own sign of a space for one.
        first, *rest = f" {text}".split(BLANK)
        tokens = list(self._pieces.encode(first))
        for part in rest:
            tokens += [self._bytes[byte] for byte in BLANK.encode()]
            tokens += self._pieces.encode(part)
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; END is silent, and GAP and bytes of no character are marked.

        Raises:
            InputError: a number is no token of this vocabulary.
        """
        parts: list[str] = []
        run: list[int] = []
        size = len(self)
        for token in map(int, tokens):
            if not 0 <= token < size:
                raise InputError(f"{token} is no token of a vocabulary of {size}")
            if token == GAP:
                parts += [self._pieces.decode(run), GAP_TEXT]
                run = []
            elif token != END:
                run.append(token)
        parts.append(self._pieces.decode(run))
        return "".join(parts).removeprefix(" ")

    def starts_word(self) -> NDArray[np.bool_]:
        """Whether each token begins with a space, bool [V]."""
        return np.array([self._pieces.id_to_piece(i).startswith(BLANK) for i in range(len(self))])


def pieces(tokens: Sequence[int], limit: int, starts_word: NDArray[np.bool_]) -> list[list[int]]:
    """Cuts a long sentence into parts of at most ``limit`` tokens, between words where it can.

    An empty sentence is one part, of END alone, so that it arrives as what it is.
    """
    parts = []
    rest = list(tokens) or [END]
    while len(rest) > limit:
        # Not so early that many words in pieces would be many parts.
        cut = next((i for i in range(limit, limit // 2, -1) if starts_word[rest[i]]), limit)
        parts.append(rest[:cut])
        rest = rest[cut:]
    return [*parts, rest]


def fill(sentences: Sequence[Sequence[int]], length: int = 0) -> NDArray[np.int64]:
    """Sentences as one array int64 [B,T], filled up with END to ``length`` or the longest."""
    longest = max([length, *map(len, sentences)])
    filled = np.full((len(sentences), longest), END, np.int64)
    for row, sentence in zip(filled, sentences, strict=True):
        row[: len(sentence)] = sentence
    return filled


def load(spec: str, split: Split = "test") -> list[str]:
    """Loads one split of a text.

    ``text:FILE`` has one sentence a line in UTF-8, packed with xz or gzip if it is named so; all
    of it is the test split, and up to 2,000 lines of it, drawn with a fixed seed, are what "val"
    has and "train" lacks. ``europarl:DIR`` reads the corpus as it is distributed
    (DIR/txt/en/ep-00-01-17.txt, …): without its markup, sentences of 4 to 30 words, every
    twentieth sitting for test.

    Raises:
        InputError: there is no such text, it is not UTF-8, or a split of it is empty.
    """
    kind, _, argument = spec.partition(":")
    if kind not in ("text", "europarl") or not argument:
        raise InputError(f"there is no text '{spec}': give text:FILE or europarl:DIR")
    if split not in ("train", "val", "test"):
        raise InputError(f"there is no split '{split}': choose train, val or test")
    if kind == "text":
        lines = _lines(Path(argument).expanduser())
    else:
        lines = _europarl(Path(argument).expanduser(), split == "test")
    if split != "test":
        order = np.random.RandomState(SPLIT_SEED).permutation(len(lines))
        count = min(MAX_VALIDATION, len(lines) // 10)
        chosen = np.sort(order[:count] if split == "val" else order[count:])
        lines = [lines[i] for i in chosen]
    if not lines:
        raise InputError(f"'{spec}' has no sentences to {split} with")
    return lines


def _europarl(folder: Path, test: bool) -> list[str]:
    for place in (folder / "txt" / "en", folder / "en", folder):
        if sittings := sorted(place.glob("ep-*.txt*")):
            break
    else:
        raise InputError(f"{folder} holds no txt/en/ep-*.txt: unpack Europarl there")
    lines = []
    for index, sitting in enumerate(sittings):
        if (index % 20 == 19) == test:
            lines += [
                line
                for line in map(str.strip, _lines(sitting))
                if not line.startswith("<") and WORDS[0] <= len(line.split()) <= WORDS[1]
            ]
    return lines


def _lines(path: Path) -> list[str]:
    try:
        text = _read(path, MAX_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path} is not UTF-8 in line {line}: convert it first") from error
    # Not splitlines(), which cuts at eleven characters more that may be part of a sentence.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def _read(path: Path, limit: int) -> bytes:
    """A file's content, unpacked by its name; refuses more than ``limit`` bytes."""
    openers: dict[str, Any] = {".xz": lzma.open, ".gz": gzip.open}
    try:
        file: IO[bytes]
        with openers.get(path.suffix, open)(path, "rb") as file:
            content = file.read(limit + 1)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if len(content) > limit:
        raise InputError(f"{path} holds more than {limit >> 20} MiB: cut it")
    return content


@functools.cache
def _tokenizer() -> Any:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    return Tokenizer13a()  # type: ignore[no-untyped-call]


def bleu(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, Any]:
    """BLEU-1 to BLEU-4 (cumulative) of received sentences, by both common definitions.

    Both see the tokens of sacreBLEU's "13a", in their own case. ``bleu`` is NLTK's
    ``sentence_bleu``, averaged over the sentences as the DeepSC papers do; a sentence shorter than
    n words is scored by what n-grams it has. ``bleu_ci95`` is its 95% interval, from the spread
    over the sentences. ``bleu_sacre`` is sacreBLEU's, which counts over the whole corpus, in
    0..1. An empty sentence that arrives empty scores 1.

    Returns:
        ``bleu`` [4], ``bleu_ci95`` [4][2], ``bleu_sacre`` [4], ``n``.

    Raises:
        InputError: there are no sentences, or not as many of one as of the other.
    """
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from sacrebleu.metrics.bleu import BLEU

    if not references or len(references) != len(hypotheses):
        raise InputError(f"{len(references)} sentences do not match {len(hypotheses)} received")
    smoothing = SmoothingFunction().method1
    cut = _tokenizer()
    scores = np.zeros((len(references), 4))
    for row, reference, hypothesis in zip(scores, references, hypotheses, strict=True):
        wanted, found = cut(reference).split(), cut(hypothesis).split()
        if not wanted or not found:
            row[:] = float(wanted == found)
            continue
        longest = [min(n, len(wanted)) for n in (1, 2, 3, 4)]
        weights = [(1 / n,) * n for n in longest]
        row[:] = sentence_bleu([wanted], found, weights, smoothing)
    mean = scores.mean(0)
    spread = 1.96 * scores.std(0) / len(scores) ** 0.5
    sacre = [
        BLEU(max_ngram_order=n, tokenize="13a").corpus_score(hypotheses, [references]).score / 100
        for n in (1, 2, 3, 4)
    ]
    return {
        "bleu": mean.tolist(),
        "bleu_ci95": [
            [max(0.0, m - s), min(1.0, m + s)] for m, s in zip(mean, spread, strict=True)
        ],
        "bleu_sacre": sacre,
        "n": len(scores),
    }
