# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Text as bits: source codes, channel codes and QAM, against closed forms."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, norm

from phydnn.errors import InputError
from phydnn.results import wilson_interval
from phydnn.tests.code_book import LINES
from phydnn.text import GAP_TEXT, Vocabulary
from phydnn.text_baselines import (
    LDPC_K,
    DigitalText,
    Huffman,
    demap_bits,
    ldpc_decode,
    ldpc_encode,
    map_bits,
)

BYTES = Huffman(LINES)


def qam_bit_errors(order: int, snr: float) -> float:
    """Bit error rate of Gray-labelled square QAM (Cho and Yoon 2002, eq. 14 and 16)."""
    side = math.isqrt(order)
    wide = side.bit_length() - 1
    total = 0.0
    for k in range(1, wide + 1):
        for i in range(side - (side >> k)):
            step = i * 2 ** (k - 1) / side
            sign = (-1) ** math.floor(step)
            weight = sign * (2 ** (k - 1) - math.floor(step + 0.5))
            argument = (2 * i + 1) * math.sqrt(3 * snr / (order - 1))
            total += 2 / side * weight * float(norm.sf(argument))
    return total / wide


def noisy(symbols: NDArray[np.complex64], n0: float, seed: int = 1) -> NDArray[np.complex128]:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(symbols.shape) + 1j * rng.standard_normal(symbols.shape)
    return symbols + math.sqrt(n0 / 2) * noise


@pytest.mark.parametrize("snr_db", [4.0, 10.0, 16.0])
@pytest.mark.parametrize("order", [4, 16, 64, 256])
def test_uncoded_bit_error_rate(order: int, snr_db: float) -> None:
    assert qam_bit_errors(4, 4.0) == pytest.approx(float(norm.sf(2)))
    bits = np.random.default_rng(order).integers(0, 2, 240_000)
    symbols = map_bits(bits, order)
    assert np.mean(np.abs(symbols) ** 2) == pytest.approx(1, abs=0.01)
    n0 = 10 ** (-snr_db / 10)
    errors = int(((demap_bits(noisy(symbols, n0), n0, order) < 0) != bits).sum())
    # 99.9 %, and bits of one symbol do not err alone.
    low, high = wilson_interval(errors, len(bits), 4.5)
    assert low <= qam_bit_errors(order, 10 ** (snr_db / 10)) <= high


def test_ratios_are_those_of_the_definition() -> None:
    received, n0 = np.array([0.3 - 0.8j]), 0.2
    ratios = demap_bits(received, n0, 16)
    labels = (np.arange(16)[:, None] >> np.arange(4)[::-1]) & 1
    points = map_bits(labels, 16)[:, 0].astype(np.complex128)
    likelihood = np.exp(-(np.abs(received - points) ** 2) / n0)
    for bit in range(4):
        zero, one = (likelihood[labels[:, bit] == value].sum() for value in (0, 1))
        assert ratios[bit] == pytest.approx(math.log(zero / one), rel=1e-5)


def test_ldpc_words_meet_their_checks_and_gain_what_is_known() -> None:
    """The code of 802.11n has about one word in forty wrong at Eb/N0 = 2 dB, one in ten at 1.5."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (150, LDPC_K), dtype=np.uint8)
    words = ldpc_encode(bits)
    assert np.array_equal(words[:, :LDPC_K], bits)
    lost = {}
    for ebn0_db in (0.0, 2.0):
        variance = 10 ** (-ebn0_db / 10)  # of BPSK at rate 1/2
        received = 1 - 2.0 * words + math.sqrt(variance) * rng.standard_normal(words.shape)
        wrong = (ldpc_decode(2 * received / variance) != bits).any(1)
        lost[ebn0_db] = wilson_interval(int(wrong.sum()), len(wrong), 3.29)
    assert lost[0.0][0] > 0.8
    assert lost[2.0][0] < 0.025 < lost[2.0][1] < 0.2
    # Uncoded, not one word in 10^4 would come through at 2 dB.
    assert (1 - norm.sf(math.sqrt(2 * 10**0.2))) ** LDPC_K < 1e-4
    # What is heard without noise is what was sent, whichever third of it is missing.
    ratios = np.where(words, -9.0, 9.0)
    ratios[:, 5::6] = 0
    assert np.array_equal(ldpc_decode(ratios), bits)


def test_reed_solomon_corrects_half_its_parity_and_no_more() -> None:
    link = DigitalText(BYTES, "rs", 256)
    line = "we shall vote on the amendments"
    uses = 60
    symbols, (size,) = link.send([line], uses)
    able = (uses - size) // 2
    for errors, arrives in ((able, True), (able + 1, False)):
        wrong = symbols.copy()
        wrong[0, :errors] *= -1
        (read,) = link.receive(wrong, 0.01, [size])
        assert (read == line) is arrives
    # Words lost in noise, against the binomial law of bytes, each a use of 256-QAM.
    n0 = 10**-2.1
    sent, sizes = link.send([line] * 150, uses)
    lines = link.receive(noisy(sent, n0), n0, sizes)
    rail = 2 * (1 - 1 / 16) * norm.sf(math.sqrt(3 / n0 / 255))
    expected = binom.sf(able, uses, 1 - (1 - rail) ** 2)
    low, high = wilson_interval(sum(r != line for r in lines), 150, 3.29)
    assert 0.02 < expected < 0.98 and low <= expected <= high


@given(st.text(max_size=80))
def test_any_line_survives_the_source_code(line: str) -> None:
    assert BYTES.decode(BYTES.encode(line)) == line


def test_source_codes_come_near_the_entropy() -> None:
    vocabulary = Vocabulary.train(LINES, 400)
    for source, split in (
        (BYTES, lambda line: list(line.encode())),
        (Huffman(LINES, vocabulary), vocabulary.encode),
    ):
        symbols = [symbol for line in LINES for symbol in split(line)]
        counts = np.array(list(Counter(symbols).values()))
        entropy = float(-(counts * np.log2(counts / counts.sum())).sum())
        bits = sum(8 * len(source.encode(line)) for line in LINES)
        assert all(source.decode(source.encode(line)) == line for line in LINES)
        # A sign of the end, whole bytes, and symbols that are there for other text.
        assert entropy < bits < 1.1 * entropy + 16 * len(LINES)


@pytest.mark.parametrize("code", ["none", "rs", "ldpc"])
@pytest.mark.parametrize("order", [4, 64])
def test_without_noise_everything_arrives(code: str, order: int) -> None:
    link = DigitalText(BYTES, code, order)
    lines = ["", *LINES[:5], "\N{ROCKET} \N{HEBREW LETTER ALEF}\x00 and so on, " * 12]
    symbols, sizes = link.send(lines, 1200)
    assert symbols.shape == (7, 1200)
    assert link.receive(symbols, 0.01, sizes) == lines
    long, sizes = link.send(lines[:2], 9000 // link.bits)
    assert link.receive(long, 0.01, sizes) == lines[:2]
    # What does not fit loses its end, and garbage is read as something.
    symbols, sizes = link.send(lines, 30)
    read = link.receive(symbols, 0.01, sizes)
    assert read[0] == "" and len(read[6]) < len(lines[6])
    assert lines[6].startswith(read[6].rstrip(GAP_TEXT))
    assert len(link.receive(noisy(symbols, 10.0), 10.0, sizes)) == 7


def test_better_codes_lose_less() -> None:
    lost = {}
    for code in ("none", "rs", "ldpc"):
        link = DigitalText(BYTES, code)
        symbols, sizes = link.send(LINES, 110)
        read = link.receive(noisy(symbols, 10**-1.3), 10**-1.3, sizes)
        lost[code] = sum(a != b for a, b in zip(read, LINES, strict=True))
    assert lost["ldpc"] < 0.1 * len(LINES) < 0.9 * len(LINES) < lost["none"]
    assert lost["ldpc"] < lost["rs"] <= lost["none"]


def test_refusals() -> None:
    for code, order in (("turbo", 64), ("ldpc", 32)):
        with pytest.raises(InputError, match="there is no code"):
            DigitalText(BYTES, code, order)
