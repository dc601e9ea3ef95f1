#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Device and edge: the golden images through the whole waveform, and frames that go missing."""

import time
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from gnuradio import blocks, gr, gr_unittest, pdu
from gnuradio.phydnn import device, edge, frame_transmitter, pdus, to_vector
from phydnn.bundle import Bundle

BUNDLE = Bundle.load("phydnn-resnet20-digits")
GOLDEN = BUNDLE.golden()
CLASSES = GOLDEN["logits"].argmax(1)
LIMIT = 60.0  # seconds that anything may take


def samples_of(numbers: list[int]) -> NDArray[np.complex64]:
    """The samples of frames with these numbers, each with the golden images: [frames, samples]."""
    top, sender = gr.top_block(), device(BUNDLE)
    sink, sent = blocks.vector_sink_c(), blocks.message_debug()
    top.connect(sender, sink)
    top.msg_connect(sender, "sent", sent, "store")
    top.start()
    for number in numbers:
        metadata = pdus.put(pmt.make_dict(), frame_number=number)
        message = pmt.cons(metadata, to_vector(GOLDEN["images"]))
        sender.head.to_basic_block()._post(pmt.intern("images"), message)
    samples = samples_sent(sent, len(numbers), sink)
    top.stop()
    top.wait()
    return samples.reshape(len(numbers), -1)


def samples_sent(sent: Any, frames: int, sink: Any) -> NDArray[np.complex64]:
    """The samples of so many frames that a transmitter told of, once the sink has them."""
    wait_for(sent, frames)
    count = sum(pdus.get(sent.get_message(i), "samples") for i in range(frames))
    deadline = time.monotonic() + LIMIT
    while len(sink.data()) < count and time.monotonic() < deadline:
        time.sleep(0.005)
    return np.array(sink.data(), np.complex64)


def wait_for(debug: Any, count: int) -> None:
    """Until so many messages are there, and a moment longer, in which no more should come."""
    deadline = time.monotonic() + LIMIT
    while debug.num_messages() < count and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)


class qa_device_edge(gr_unittest.TestCase):
    def receive(self, samples: Any, count: int, **options: Any) -> list[tuple[Any, Any]]:
        top, receiver = gr.top_block(), edge(BUNDLE, **options)
        # Not a vector source: at its end GNU Radio would end the blocks behind it as well.
        source, classes = pdu.pdu_to_stream_c(pdu.EARLY_BURST_APPEND), blocks.message_debug()
        self.heard = {port: blocks.message_debug() for port in ("csi", "raw", "symbols")}
        top.connect(source, receiver)
        top.msg_connect(receiver, "classes", classes, "store")
        for port, debug in self.heard.items():
            top.msg_connect(receiver, port, debug, "store")
        top.start()
        message = pmt.cons(pmt.make_dict(), to_vector(samples.ravel().astype(np.complex64)))
        source.to_basic_block()._post(pmt.intern("pdus"), message)
        wait_for(classes, count)
        for debug in self.heard.values():
            wait_for(debug, 1)
        top.stop()
        top.wait()
        self.assertEqual(classes.num_messages(), count)
        return [pdus.parts(classes.get_message(i)) for i in range(count)]

    def test_golden(self) -> None:
        """Without noise the symbols, and what the tail makes of them, are the golden ones."""
        for decision in ("hard", "soft"):
            ((metadata, classes),) = self.receive(samples_of([3]), 1, decision=decision)
            np.testing.assert_array_equal(classes, CLASSES)
            self.assertEqual(pdus.get(metadata, "frame_number"), 3)
            self.assertEqual(pdus.get(metadata, "bundle_id"), BUNDLE.id)
            if decision == "hard":
                logits = pdus.get(metadata, "logits").reshape(GOLDEN["logits"].shape)
                np.testing.assert_allclose(logits, GOLDEN["logits"], atol=1e-2)
            _, symbols = pdus.parts(self.heard["symbols"].get_message(0))
            np.testing.assert_allclose(symbols, GOLDEN["symbols"].ravel(), atol=0.01)
            csi = self.heard["csi"].get_message(0)
            self.assertGreater(pdus.get(csi, "snr_db"), 30)
            self.assertEqual(self.heard["raw"].num_messages(), 1)

    def test_missing_frames(self) -> None:
        """A frame cut out of the stream is an erasure in its place, and shifts nothing."""
        frames = samples_of([0, 1, 2, 3, 4])
        answers = self.receive(frames[[0, 2, 4]], 5)
        self.assertEqual([pdus.get(meta, "frame_number") for meta, _ in answers], [0, 1, 2, 3, 4])
        reasons = [pdus.get(meta, "reason") for meta, _ in answers]
        self.assertEqual(reasons, [None, "lost", None, "lost", None])
        for i in (0, 2, 4):
            np.testing.assert_array_equal(answers[i][1], CLASSES)

    def test_frame_cut_in_the_middle(self) -> None:
        frames = samples_of([0, 1, 2])
        frames[1, 1500:] = 0
        answers = self.receive(frames, 3)
        self.assertEqual([pdus.get(meta, "frame_number") for meta, _ in answers], [0, 1, 2])
        self.assertTrue(pdus.erased(answers[1][0]))
        for i in (0, 2):
            np.testing.assert_array_equal(answers[i][1], CLASSES)

    def test_start_in_mid_frame(self) -> None:
        samples = samples_of([0, 1]).ravel()
        ((metadata, classes),) = self.receive(samples[2500:], 1)
        self.assertEqual(pdus.get(metadata, "frame_number"), 1)
        np.testing.assert_array_equal(classes, CLASSES)

    def test_not_finite(self) -> None:
        """NaN and infinite samples do no harm to the frames around them."""
        frames = samples_of([0, 1, 2])
        frames[1, 1000:] = np.nan
        frames[1, 2000] = np.inf
        answers = self.receive(frames, 3)
        np.testing.assert_array_equal(answers[0][1], CLASSES)
        np.testing.assert_array_equal(answers[2][1], CLASSES)
        self.assertTrue(pdus.erased(answers[1][0]))

    def test_other_bundle(self) -> None:
        """A frame of another bundle is reported and not decoded."""
        top, sink = gr.top_block(), blocks.vector_sink_c()
        transmitter = frame_transmitter(bundle_id=BUNDLE.id ^ 1, precoded=BUNDLE.precoding)
        sent = blocks.message_debug()
        top.connect(transmitter, sink)
        top.msg_connect(transmitter, "sent", sent, "store")
        top.start()
        metadata = pdus.put(pmt.make_dict(), frame_number=0)
        symbols = to_vector(np.ascontiguousarray(GOLDEN["symbols"].ravel()))
        transmitter.to_basic_block()._post(pmt.intern("symbols"), pmt.cons(metadata, symbols))
        other = samples_sent(sent, 1, sink)
        top.stop()
        top.wait()
        samples = np.concatenate([other, samples_of([1]).ravel()])
        answers = self.receive(samples, 2)
        self.assertEqual(pdus.get(answers[0][0], "reason"), "bundle")
        np.testing.assert_array_equal(answers[1][1], CLASSES)

    def test_payload_of_another_length(self) -> None:
        """A frame that holds no whole images is erased by the tail."""
        top, sink = gr.top_block(), blocks.vector_sink_c()
        transmitter, sent = frame_transmitter(bundle_id=BUNDLE.id), blocks.message_debug()
        top.connect(transmitter, sink)
        top.msg_connect(transmitter, "sent", sent, "store")
        top.start()
        symbols = to_vector(np.ascontiguousarray(GOLDEN["symbols"].ravel()[:-1]))
        metadata = pdus.put(pmt.make_dict(), frame_number=0)
        transmitter.to_basic_block()._post(pmt.intern("symbols"), pmt.cons(metadata, symbols))
        samples = samples_sent(sent, 1, sink)
        top.stop()
        top.wait()
        ((metadata, _),) = self.receive(samples, 1)
        self.assertEqual(pdus.get(metadata, "reason"), "payload")


if __name__ == "__main__":
    gr_unittest.run(qa_device_edge)
