#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Symbol error rates through embedding mapper, channel and demapper against the closed forms."""

import math
import time
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray
from scipy import integrate, stats

from gnuradio import blocks, gr, gr_unittest, phydnn
from phydnn import constellation

SYMBOLS = 200_000  # each point of each curve
SNRS_DB = range(0, 17, 2)
CONSTELLATIONS = {
    "BPSK": constellation.psk(2),
    "QPSK": constellation.psk(4),
    "8-PSK": constellation.psk(8),
    "16-PSK": constellation.psk(16),
    "16-QAM": constellation.qam(16),
    "64-QAM": constellation.qam(64),
}


def psk_error_rate(order: int, snr_db: float) -> float:
    """Symbol error rate of M-PSK in Gaussian noise, exact (Craig's integral, MILCOM 1991)."""
    energy = 10 ** (snr_db / 10) * math.sin(math.pi / order) ** 2
    integral, _ = integrate.quad(
        lambda angle: math.exp(-energy / math.sin(angle) ** 2),
        1e-12,
        math.pi * (order - 1) / order,
        epsabs=1e-14,
    )
    return float(integral / math.pi)


def qam_error_rate(order: int, snr_db: float) -> float:
    """Symbol error rate of square M-QAM in Gaussian noise, exact: two independent rails."""
    distance = math.sqrt(3 * 10 ** (snr_db / 10) / (order - 1))
    rail = 2 * (1 - 1 / math.sqrt(order)) * stats.norm.sf(distance)
    return float(1 - (1 - rail) ** 2)


def error_rate(name: str, snr_db: float) -> float:
    order = len(CONSTELLATIONS[name])
    return qam_error_rate(order, snr_db) if "QAM" in name else psk_error_rate(order, snr_db)


def one_message(block: Any, port_in: str, port_out: str, vector: NDArray[Any]) -> NDArray[Any]:
    """The vector of the PDU that a block makes of one."""
    sink = blocks.message_debug()
    top = gr.top_block()
    top.msg_connect(block, port_out, sink, "store")
    top.start()
    block._post(pmt.intern(port_in), pmt.cons(pmt.make_dict(), pmt.to_pmt(vector)))
    deadline = time.monotonic() + 60
    while sink.num_messages() < 1 and time.monotonic() < deadline:
        time.sleep(0.002)
    top.stop()
    top.wait()
    received: NDArray[Any] = pmt.to_python(pmt.cdr(sink.get_message(0)))
    return received


def through_channel(symbols: NDArray[np.complex64], snr_db: float, seed: int) -> NDArray[Any]:
    """The symbols as the samples of a flowgraph, through white Gaussian noise."""
    source = blocks.vector_source_c(symbols)
    sink = blocks.vector_sink_c(1, len(symbols))
    top = gr.top_block()
    top.connect(source, phydnn.channel(snr_db=snr_db, seed=seed), sink)
    top.run()
    return np.array(sink.data(), np.complex64)


def errors(points: NDArray[np.complex64], snr_db: float, seed: int) -> int:
    """Labels of SYMBOLS random ones that arrive wrong; the embeddings are the labels."""
    dictionary = np.arange(len(points), dtype=np.float32)[:, None]
    sent = np.random.default_rng(seed).integers(0, len(points), SYMBOLS).astype(np.float32)
    mapper = phydnn.embedding_mapper(dictionary, points)
    demapper = phydnn.embedding_demapper(dictionary, points)
    symbols = one_message(mapper, "slices", "symbols", sent)
    received = through_channel(symbols, snr_db, seed)
    return int(np.count_nonzero(one_message(demapper, "symbols", "slices", received) != sent))


class QaSymbolErrorRate(gr_unittest.TestCase):
    def test_closed_forms(self) -> None:
        """Published anchors, and the orders where two formulas meet."""
        self.assertAlmostEqual(psk_error_rate(16, 12), 0.272, delta=1e-3)
        self.assertAlmostEqual(psk_error_rate(4, 4), 0.109, delta=1e-3)
        for snr_db in SNRS_DB:
            amplitude = 10 ** (snr_db / 20)
            self.assertAlmostEqual(
                psk_error_rate(2, snr_db), stats.norm.sf(math.sqrt(2) * amplitude), delta=1e-12
            )
            self.assertAlmostEqual(
                psk_error_rate(4, snr_db), qam_error_rate(4, snr_db), delta=1e-12
            )

    def test_constellations_have_unit_power(self) -> None:
        for points in CONSTELLATIONS.values():
            dictionary = np.arange(len(points), dtype=np.float32)[:, None]
            mapper = phydnn.embedding_mapper(dictionary, points)
            self.assertAlmostEqual(mapper.average_power(), 1, places=6)

    def test_error_rates(self) -> None:
        """Errors counted lie in the 95% interval of the binomial law of the closed form.

        The interval is for all points of all curves together (Bonferroni); the seeds are fixed, and
        the channel replays.
        """
        level = 0.05 / (len(CONSTELLATIONS) * len(SNRS_DB))
        for index, (name, points) in enumerate(CONSTELLATIONS.items()):
            for snr_db in SNRS_DB:
                expected = error_rate(name, snr_db)
                counted = errors(points, snr_db, seed=100 * index + snr_db)
                low, high = stats.binom.interval(1 - level, SYMBOLS, expected)
                with self.subTest(f"{name} at {snr_db} dB"):
                    self.assertLessEqual(low, counted)
                    self.assertLessEqual(counted, high)


if __name__ == "__main__":
    gr_unittest.run(QaSymbolErrorRate)
