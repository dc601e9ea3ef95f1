# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""What L-DeepSC is compared with: text as bits, by a Huffman code, a channel code and QAM.

A sentence has so many channel uses, whatever carries it. Huffman's code, of bytes or of a
vocabulary's tokens, makes it as short as it can; what is left of the coded bits goes to the channel
code, whose rate is thus that sentence's own:

- Reed-Solomon over GF(256), decided hard, by ``reedsolo``;
- the rate-1/2 LDPC code of IEEE 802.11n (n = 648), its bits shortened, punctured and repeated as
  the standard does, and decoded from exact log-likelihood ratios by normalised min-sum.

The receiver is told how many bytes a sentence has, as a header would tell it, and those bits are
not counted: an advantage over a real one.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phydnn.constellation import SQUARES, gray
from phydnn.errors import InputError
from phydnn.text import Vocabulary

CODES = ("none", "rs", "ldpc")
LONGEST_RS = 255
"""Bytes of a Reed-Solomon word."""
SURE = 1e4
"""The log-likelihood ratio of what is known."""


class Huffman:
    """Text to as few bits as a symbol at a time takes, and back.

    Args:
        lines: text whose frequencies the code is made for. What it lacks can be sent all the same.
        vocabulary: the code is of its tokens; None for one of UTF-8's bytes.
    """

    def __init__(self, lines: Iterable[str], vocabulary: Vocabulary | None = None) -> None:
        from dahuffman import HuffmanCodec

        self._vocabulary = vocabulary
        size = 256 if vocabulary is None else len(vocabulary)
        counts = Counter(dict.fromkeys(range(size), 1))
        sentences = 0
        for line in lines:
            counts.update(self._symbols(line))
            sentences += 1
        self._codec = HuffmanCodec.from_frequencies({**counts, _END: max(1, sentences)}, eof=_END)

    def _symbols(self, line: str) -> list[int]:
        if self._vocabulary is None:
            return list(line.encode())
        return self._vocabulary.encode(line)

    def encode(self, line: str) -> bytes:
        """A line and the sign of its end, filled up to whole bytes."""
        return bytes(self._codec.encode([*self._symbols(line), _END]))

    def decode(self, data: bytes) -> str:
        """The line of any bytes, up to the sign of the end or to where they end."""
        symbols = [symbol for symbol in self._codec.decode(data) if symbol != _END]
        if self._vocabulary is None:
            return bytes(symbols).decode(errors="replace")
        return self._vocabulary.decode(symbols)


_END = -1
"""The Huffman code's sign of the end."""


class DigitalText:
    """Sentences to channel uses of square QAM with Gray labels, and back.

    Args:
        source: the source code.
        code: "none", "rs" or "ldpc".
        order: of the QAM: 4, 16, 64 or 256.

    Raises:
        InputError: there is no such code, or no such QAM.
    """

    def __init__(self, source: Huffman, code: str, order: int = 64) -> None:
        if code not in CODES or order not in SQUARES:
            raise InputError(
                f"there is no code '{code}' with QAM of {order} points: choose "
                f"{', '.join(CODES)}, and {', '.join(map(str, SQUARES))}"
            )
        self.source, self.code, self.order = source, code, order
        self.bits = order.bit_length() - 1

    def send(self, lines: Sequence[str], uses: int) -> tuple[NDArray[np.complex64], list[int]]:
        """Sentences to channel uses of mean power 1, complex64 [B,uses], and bytes of each.

        A sentence that does not fit loses its end.
        """
        room = uses * self.bits
        coded = np.zeros((len(lines), room), np.uint8)
        sizes = []
        for row, line in zip(coded, lines, strict=True):
            data = self.source.encode(line)[: room // 8]
            sizes.append(len(data))
            sent = self._protect(data, room)
            row[: len(sent)] = sent
        return map_bits(coded, self.order), sizes

    def receive(self, symbols: ArrayLike, n0: ArrayLike, sizes: Sequence[int]) -> list[str]:
        """Lines of equalised channel uses.

        Args:
            symbols: complex [B,uses].
            n0: noise variance of each, a number or [B,uses].
            sizes: as :meth:`send` gives them.
        """
        ratios = demap_bits(symbols, n0, self.order)
        if self.code == "ldpc":
            return [self.source.decode(data) for data in _ldpc_receive(ratios, sizes)]
        hard = (ratios < 0).astype(np.uint8)
        return [
            self.source.decode(self._recover(row, size))
            for row, size in zip(hard, sizes, strict=True)
        ]

    def _protect(self, data: bytes, room: int) -> NDArray[np.uint8]:
        """A sentence's bytes as at most ``room`` coded bits."""
        if self.code == "ldpc":
            return _ldpc_send(data, room)
        if self.code == "rs":
            data = b"".join(
                _rs_codec(whole - size).encode(data[at : at + size])
                for at, size, _, whole in _rs_words(len(data), room // 8)
            )
        return np.unpackbits(np.frombuffer(data, np.uint8))

    def _recover(self, bits: NDArray[np.uint8], size: int) -> bytes:
        """A sentence's bytes from coded bits that were decided."""
        from reedsolo import ReedSolomonError

        data = np.packbits(bits[: len(bits) // 8 * 8]).tobytes()
        if self.code == "none":
            return data[:size]
        parts = []
        for _, kept, start, whole in _rs_words(size, len(data)):
            word = data[start : start + whole]
            try:
                parts.append(bytes(_rs_codec(whole - kept).decode(word)[0]))
            except ReedSolomonError:
                # The code is systematic: what has too many errors is read as it came.
                parts.append(word[:kept])
        return b"".join(parts)


@functools.cache
def _rs_codec(parity: int) -> Any:
    from reedsolo import RSCodec

    return RSCodec(parity)


def _rs_words(size: int, room: int) -> list[tuple[int, int, int, int]]:
    """How ``size`` bytes are shared among Reed-Solomon words in ``room`` bytes, none empty.

    Returns:
        of each word: where its bytes begin, how many; where it begins, its length.
    """
    count = max(1, min(-(-room // LONGEST_RS), size))
    words, begin, start = [], 0, 0
    for i in range(1, count + 1):
        kept = size * i // count - begin
        whole = min(LONGEST_RS, room * i // count - room * (i - 1) // count)
        words.append((begin, kept, start, whole))
        begin, start = begin + kept, start + whole
    return words


def amplitudes(order: int) -> NDArray[np.float64]:
    """The levels of a rail of square QAM of mean power 1 by label: neighbours differ in one bit."""
    side = 1 << ((order.bit_length() - 1) // 2)
    levels = np.empty(side)
    levels[gray(side)] = (2 * np.arange(side) - (side - 1)) * np.sqrt(1.5 / (order - 1))
    return levels


def map_bits(bits: ArrayLike, order: int) -> NDArray[np.complex64]:
    """Bits [...,U log2 M] to QAM, complex64 [...,U]: the first half of a use's bits is its real."""
    levels = amplitudes(order)
    wide = len(levels).bit_length() - 1
    bits = np.asarray(bits, np.int64)
    labels = bits.reshape(*bits.shape[:-1], -1, 2, wide) @ (1 << np.arange(wide)[::-1])
    rails = levels[labels]
    return (rails[..., 0] + 1j * rails[..., 1]).astype(np.complex64)


def demap_bits(symbols: ArrayLike, n0: ArrayLike, order: int) -> NDArray[np.float64]:
    """Exact log-likelihood ratios log p(0)/p(1) of bits, float64 [...,U log2 M].

    Args:
        symbols: complex [...,U].
        n0: noise variance of each (N0/2 per real dimension), a number or [...,U], above 0.
    """
    levels = amplitudes(order)
    wide = len(levels).bit_length() - 1
    symbols = np.asarray(symbols, np.complex128)
    rails = np.stack([symbols.real, symbols.imag], -1)[..., None]
    noise = np.broadcast_to(np.asarray(n0, np.float64), symbols.shape)[..., None, None]
    metric = -((rails - levels) ** 2) / noise
    of_bit = (np.arange(len(levels))[None] >> np.arange(wide)[::-1, None]) & 1
    ratios = [
        np.logaddexp.reduce(metric[..., of_bit[bit] == 0], -1)
        - np.logaddexp.reduce(metric[..., of_bit[bit] == 1], -1)
        for bit in range(wide)
    ]
    return np.stack(ratios, -1).reshape(*symbols.shape[:-1], -1)


# IEEE Std 802.11-2020, table F-1: rate 1/2, n = 648; shifts of blocks of 27 bits, -1 for none. The
# last eleven columns are a double diagonal.
_Z = 27
_INFORMATION = np.array(
    [
        [0, -1, -1, -1, 0, 0, -1, -1, 0, -1, -1, 0],
        [22, 0, -1, -1, 17, -1, 0, 0, 12, -1, -1, -1],
        [6, -1, 0, -1, 10, -1, -1, -1, 24, -1, 0, -1],
        [2, -1, -1, 0, 20, -1, -1, -1, 25, 0, -1, -1],
        [23, -1, -1, -1, 3, -1, -1, -1, 0, -1, 9, 11],
        [24, -1, 23, 1, 17, -1, 3, -1, 10, -1, -1, -1],
        [25, -1, -1, -1, 8, -1, -1, -1, 7, 18, -1, -1],
        [13, 24, -1, -1, 0, -1, 8, -1, 6, -1, -1, -1],
        [7, 20, -1, 16, 22, 10, -1, -1, 23, -1, -1, -1],
        [11, -1, -1, -1, 19, -1, -1, -1, 13, -1, 3, 17],
        [25, -1, 8, -1, 23, 18, -1, 14, 9, -1, -1, -1],
        [3, -1, -1, -1, 16, -1, -1, 2, 25, 5, -1, -1],
    ]
)
_FIRST_PARITY = {0: 1, 6: 0, 11: 1}
"""Rows and shifts of the first block of parity bits."""
_ROWS = len(_INFORMATION)
LDPC_K = _ROWS * _Z
"""Information bits of a word, and as many parity bits."""
ITERATIONS = 20
SCALE = 0.75
"""Of the messages of min-sum, which is too sure of itself."""


def _checks() -> NDArray[np.int64]:
    """Bits of each check of each layer, int64 [rows, Z, most]; 2 LDPC_K where it has fewer."""
    base = np.full((_ROWS, 2 * _ROWS), -1)
    base[:, :_ROWS] = _INFORMATION
    for row, shift in _FIRST_PARITY.items():
        base[row, _ROWS] = shift
    for row in range(_ROWS - 1):
        base[row, _ROWS + 1 + row] = base[row + 1, _ROWS + 1 + row] = 0
    most = int((base >= 0).sum(1).max())
    checks = np.full((_ROWS, _Z, most), 2 * LDPC_K)
    for row, shifts in enumerate(base):
        for place, column in enumerate(np.flatnonzero(shifts >= 0)):
            checks[row, :, place] = column * _Z + (np.arange(_Z) + shifts[column]) % _Z
    return checks


def ldpc_encode(bits: ArrayLike) -> NDArray[np.uint8]:
    """Words of information bits [B,LDPC_K] with their parity bits, uint8 [B,2 LDPC_K]."""
    bits = np.asarray(bits, np.uint8)
    blocks = bits.reshape(len(bits), _ROWS, _Z)
    sums = np.zeros_like(blocks)
    for row, shifts in enumerate(_INFORMATION):
        for column in np.flatnonzero(shifts >= 0):
            sums[:, row] ^= np.roll(blocks[:, column], -shifts[column], 1)
    parity = np.zeros_like(blocks)
    # In the sum of all rows the double diagonal cancels, and two of the first block's three.
    parity[:, 0] = np.bitwise_xor.reduce(sums, 1)
    for row in range(_ROWS - 1):
        parity[:, row + 1] = sums[:, row]
        if row:
            parity[:, row + 1] ^= parity[:, row]
        if row in _FIRST_PARITY:
            parity[:, row + 1] ^= np.roll(parity[:, 0], -_FIRST_PARITY[row], 1)
    return np.concatenate([bits, parity.reshape(len(bits), -1)], 1)


def ldpc_decode(ratios: ArrayLike) -> NDArray[np.uint8]:
    """Information bits, uint8 [B,LDPC_K], of log-likelihood ratios [B,2 LDPC_K].

    Normalised min-sum (Chen and Fossorier 2002), layer by layer.
    """
    layers = _checks()
    channel = np.asarray(ratios, np.float64)
    # A bit more, which is 0 for certain, stands where a check has fewer bits.
    total = np.concatenate([channel, np.full((len(channel), 1), SURE)], 1)
    decided = np.empty((len(channel), LDPC_K), np.uint8)
    messages = np.zeros((len(channel), *layers.shape))
    going = np.arange(len(channel))
    places = np.arange(layers.shape[2])
    for _ in range(ITERATIONS):
        for layer, bits in enumerate(layers):
            incoming = total[:, bits] - messages[:, layer]
            size = np.abs(incoming)
            smallest = size.argmin(-1)[..., None]
            low = np.take_along_axis(size, smallest, -1)
            others = np.where(places == smallest, np.inf, size).min(-1, keepdims=True)
            signs = np.where(incoming < 0, -SCALE, SCALE)
            product = np.sign(signs).prod(-1, keepdims=True)
            messages[:, layer] = product * signs * np.where(places == smallest, others, low)
            total[:, bits] = incoming + messages[:, layer]
            total[:, -1] = SURE
        decided[going] = total[:, :LDPC_K] < 0
        wrong = ((total[:, layers] < 0).sum(-1) % 2).any((1, 2))
        going, total, messages = going[wrong], total[wrong], messages[wrong]
        if not len(going):
            break
    return decided


def _ldpc_shape(size: int, room: int) -> list[tuple[int, NDArray[np.int64]]]:
    """How ``size`` bytes are shared among words that fill ``room`` bits.

    Returns:
        of each word: information bits, and which of the word's bits are sent, in order: all
        information bits, then parity bits spread evenly, and from the start again if there is room.
    """
    count = max(1, -(-8 * size // LDPC_K))
    words = []
    for i in range(count):
        kept = 8 * size * (i + 1) // count - 8 * size * i // count
        sent = room * (i + 1) // count - room * i // count
        parity = min(LDPC_K, max(0, sent - kept))
        order = np.concatenate(
            [np.arange(kept), LDPC_K + np.arange(parity) * LDPC_K // max(1, parity)]
        )
        words.append((kept, np.resize(order, sent)))
    return words


def _ldpc_send(data: bytes, room: int) -> NDArray[np.uint8]:
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    shape = _ldpc_shape(len(data), room)
    words = np.zeros((len(shape), LDPC_K), np.uint8)
    at = 0
    for row, (kept, _) in zip(words, shape, strict=True):
        row[:kept] = bits[at : at + kept]
        at += kept
    coded = ldpc_encode(words)
    return np.concatenate([word[sent] for word, (_, sent) in zip(coded, shape, strict=True)])


def _ldpc_receive(ratios: NDArray[np.float64], sizes: Sequence[int]) -> list[bytes]:
    """The bytes of sentences, of the ratios [B,bits] of their coded bits."""
    shapes = [_ldpc_shape(size, ratios.shape[1]) for size in sizes]
    words = np.zeros((sum(map(len, shapes)), 2 * LDPC_K))
    number = 0
    for row, shape in zip(ratios, shapes, strict=True):
        at = 0
        for kept, sent in shape:
            # What is sent more than once adds up; what shortens the word is known to be 0.
            np.add.at(words[number], sent, row[at : at + len(sent)])
            words[number, kept:LDPC_K] = SURE
            at += len(sent)
            number += 1
    decoded = iter(ldpc_decode(np.clip(words, -SURE, SURE)))
    return [
        np.packbits(np.concatenate([next(decoded)[:kept] for kept, _ in shape])).tobytes()
        for shape in shapes
    ]
