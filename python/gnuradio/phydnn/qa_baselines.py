#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The library's arithmetic of our waveform, against the transmitter."""

import numpy as np
import pmt

from gnuradio import blocks, gr, gr_unittest, phydnn
from phydnn import waveform


class qa_baselines(gr_unittest.TestCase):
    def test_frames_have_the_samples_that_the_library_counts(self) -> None:
        dimensions = phydnn.numerology("wide")
        for uses in (1, 447, 448, 449, 448 * 14, 448 * 14 + 1, 16384, 65535, 65536):
            counted = waveform.frame_samples(uses) - waveform.GAP
            self.assertEqual(counted, dimensions.frame_samples(uses))

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
