#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The library's arithmetic of our waveform, against the transmitter."""

import numpy as np
import pmt

from gnuradio import blocks, gr, gr_unittest, phydnn
from phydnn import datasets, waveform
from phydnn.bundle import Bundle
from phydnn.experiments import baselines


class qa_baselines(gr_unittest.TestCase):
    def test_frames_have_the_samples_that_the_library_counts(self) -> None:
        dimensions = phydnn.numerology("wide")
        for uses in (1, 447, 448, 449, 448 * 14, 448 * 14 + 1, 16384, 65535, 65536):
            counted = waveform.frame_samples(uses) - waveform.GAP
            self.assertEqual(counted, dimensions.frame_samples(uses))

    def test_the_emulator_and_the_channel_block_make_the_same_of_a_scenario(self) -> None:
        bundle, images = Bundle.load("phydnn-resnet20-digits"), datasets.load("digits")
        images = images.take(slice(130))  # two whole frames, and one of two images
        emulated = baselines.run_emulated(bundle, images, "urban_80db", 64, 1)
        there = baselines.of_scenario("urban_80db")
        record = baselines.run_link(
            bundle, images, there["channel"], snr_db=there["reference_db"], batch=64, seed=1
        )
        self.assertEqual(emulated["n"], 130)
        self.assertEqual((emulated["frames_lost"], record["frames_lost"]), (0, 0))
        self.assertAlmostEqual(emulated["accuracy"], record["accuracy"], delta=0.02)
        self.assertAlmostEqual(record["snr_db_estimated"], there["snr_db"], delta=0.7)

    def test_the_transmitter_sends_so_many_and_its_gap(self) -> None:
        top = gr.top_block()
        transmitter, sink = phydnn.frame_transmitter(), blocks.vector_sink_c()
        top.connect(transmitter, sink)
        uses = 1000
        symbols = pmt.init_c32vector(uses, np.ones(uses, np.complex64).tolist())
        transmitter.to_basic_block()._post(
            pmt.intern("symbols"), pmt.cons(pmt.make_dict(), symbols)
        )
        done = pmt.cons(pmt.intern("done"), pmt.from_long(1))
        transmitter.to_basic_block()._post(pmt.intern("system"), done)
        top.run()
        self.assertEqual(len(sink.data()), waveform.carry_symbols(uses).samples)


if __name__ == "__main__":
    gr_unittest.run(qa_baselines)
