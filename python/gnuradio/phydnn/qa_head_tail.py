#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Head and tail: what ONNX Runtime answers, batches, erasures and bad payloads."""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pmt

from gnuradio import blocks, gr, gr_unittest
from gnuradio.phydnn import head, image_source, pdus, tail, to_array, to_vector
from phydnn.bundle import Bundle, BundleError, open_session

BUNDLE = Bundle.load("phydnn-resnet20-digits")
GOLDEN = BUNDLE.golden()


def pdu(values: Any, **metadata: Any) -> Any:
    return pmt.cons(pdus.put(pmt.make_dict(), **metadata), to_vector(np.ascontiguousarray(values)))


def wait_for(debug: Any, count: int) -> None:
    """Until so many messages are there, and a moment longer, in which no more should come."""
    deadline = time.monotonic() + 60
    while debug.num_messages() < count and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)


class qa_head_tail(gr_unittest.TestCase):
    def run_block(self, block: Any, ports: tuple[str, str], messages: list[Any], count: int) -> Any:
        """Sends messages and returns the first ``count`` answers as (metadata, values)."""
        top, debug = gr.top_block(), blocks.message_debug()
        top.msg_connect((block, ports[1]), (debug, "store"))
        top.start()
        for message in messages:
            block.to_basic_block()._post(pmt.intern(ports[0]), message)
        wait_for(debug, count)
        top.stop()
        top.wait()
        self.assertEqual(debug.num_messages(), count)
        return [pdus.parts(debug.get_message(i)) for i in range(count)]

    def through_head(self, messages: list[Any], count: int, **options: Any) -> Any:
        self.head = head(BUNDLE, **options)
        return self.run_block(self.head, ("images", "slices"), messages, count)

    def through_tail(self, messages: list[Any], count: int) -> Any:
        self.tail = tail(BUNDLE)
        return self.run_block(self.tail, ("slices", "classes"), messages, count)

    def test_vectors(self) -> None:
        for dtype in (np.uint8, np.int32, np.float32, np.complex64):
            values = np.arange(6).astype(dtype)
            view = to_array(to_vector(values.reshape(2, 3)))
            np.testing.assert_array_equal(view, values)
            self.assertEqual(view.dtype, dtype)
            self.assertFalse(view.flags.writeable)
        self.assertIsNone(to_array(pmt.from_long(1)))
        self.assertEqual(len(to_array(pmt.make_c32vector(0, 0))), 0)
        with self.assertRaises(TypeError):
            to_vector(np.arange(3.0))
        with self.assertRaises(TypeError):
            to_vector(np.zeros((4, 4), np.float32)[:, ::2])

    def test_golden(self) -> None:
        session = open_session(BUNDLE.head_path, 1)
        expected = session.run(None, {"images": GOLDEN["images"]})[0]
        ((metadata, slices),) = self.through_head([pdu(GOLDEN["images"], frame_number=7)], 1)
        np.testing.assert_array_equal(slices, expected.ravel())
        np.testing.assert_allclose(slices, GOLDEN["slices"].ravel(), atol=1e-3)
        self.assertEqual(pdus.get(metadata, "frame_number"), 7)
        self.assertEqual(pdus.get(metadata, "images"), 4)

        session = open_session(BUNDLE.tail_path, 1)
        expected = session.run(None, {"slices": GOLDEN["received"]})[0]
        ((metadata, classes),) = self.through_tail([pdu(GOLDEN["received"], frame_number=7)], 1)
        np.testing.assert_array_equal(classes, expected.argmax(1))
        np.testing.assert_array_equal(pdus.get(metadata, "logits"), expected.ravel())
        np.testing.assert_array_equal(classes, GOLDEN["logits"].argmax(1))
        self.assertEqual(pdus.get(metadata, "frame_number"), 7)

    def test_batches(self) -> None:
        """Images without a number are gathered; the rest leaves when time is up."""
        images = np.concatenate([GOLDEN["images"]] * 3)[:11]
        messages = [pdu(images[:1]), pdu(images[1:4]), pdu(images[4:])]
        answers = self.through_head(messages, 3, batch_size=4, timeout_s=2)
        counts = [pdus.get(metadata, "images") for metadata, _ in answers]
        self.assertEqual(counts, [4, 4, 3])
        self.assertEqual([pdus.get(metadata, "frame_number") for metadata, _ in answers], [0, 1, 2])
        slices = np.concatenate([values for _, values in answers])
        expected = np.concatenate([GOLDEN["slices"]] * 3)[:11]
        np.testing.assert_allclose(slices, expected.ravel(), atol=1e-3)
        self.assertEqual((self.head.frames(), self.head.images()), (3, 11))

    def test_batch_of_one(self) -> None:
        ((_, slices),) = self.through_head([pdu(GOLDEN["images"][:1])], 1, timeout_s=0)
        np.testing.assert_allclose(slices, GOLDEN["slices"][0].ravel(), atol=1e-3)

    def test_numbered_after_gathered(self) -> None:
        """A frame with a number overtakes nothing, and numbers go on from it."""
        image = GOLDEN["images"][:1]
        messages = [pdu(image), pdu(image, frame_number=10), pdu(image)]
        answers = self.through_head(messages, 3, timeout_s=0.1)
        self.assertEqual([pdus.get(meta, "frame_number") for meta, _ in answers], [0, 10, 11])

    def test_bad_images(self) -> None:
        """Each becomes an erased frame in its place."""
        good = GOLDEN["images"]
        bad = [
            pmt.intern("no PDU"),
            pdu(good.ravel()[:-1], frame_number=1),
            pdu(np.zeros(0, np.uint8), frame_number=2),
            pdu(good.astype(np.float32), frame_number=3),
            pmt.cons(pdus.erase(pdus.put(pmt.make_dict(), frame_number=4), "lost"), pmt.PMT_NIL),
        ]
        answers = self.through_head([*bad, pdu(good, frame_number=5)], 6)
        self.assertEqual([pdus.get(meta, "frame_number") for meta, _ in answers], list(range(6)))
        self.assertEqual([pdus.erased(meta) for meta, _ in answers], [True] * 5 + [False])
        self.assertEqual(pdus.get(answers[4][0], "reason"), "lost")
        self.assertEqual(self.head.dropped(), 4)

    def test_bad_slices(self) -> None:
        """Bad slices become erasures, and shift nothing."""
        good = GOLDEN["received"]
        nan, infinite = good.copy(), good.copy()
        nan[1, 2, 3], infinite[0, 0, 0] = np.nan, np.inf
        lost = pdus.put(pdus.erase(pmt.make_dict(), "lost"), frame_number=1)
        messages = [
            pdu(good, frame_number=0),
            pmt.cons(lost, pmt.make_c32vector(0, 0)),
            pdu(nan, frame_number=2),
            pdu(infinite, frame_number=3),
            pdu(good.ravel()[:-1], frame_number=4),
            pdu(np.zeros(0, np.float32), frame_number=5),
            pdu(good, frame_number=6),
        ]
        answers = self.through_tail(messages, 7)
        self.assertEqual([pdus.get(meta, "frame_number") for meta, _ in answers], list(range(7)))
        reasons = [pdus.get(meta, "reason") for meta, _ in answers]
        self.assertEqual(reasons, [None, "lost", *["payload"] * 4, None])
        self.assertTrue(all(len(answers[i][1]) == 0 for i in range(1, 6)))
        np.testing.assert_array_equal(answers[0][1], answers[6][1])
        self.assertEqual(self.tail.dropped(), 4)

    def test_overrun(self) -> None:
        """Of more PDUs than the queue holds, some are erased, none is missing or out of order."""
        count = 3 * pdus.LONGEST_QUEUE
        block = head(BUNDLE)
        run = block._run

        def slowly(values: Any) -> Any:
            time.sleep(0.01)
            return run(values)

        block._run = slowly
        messages = [pdu(GOLDEN["images"], frame_number=i) for i in range(count)]
        answers = self.run_block(block, ("images", "slices"), messages, count)
        self.assertEqual([pdus.get(meta, "frame_number") for meta, _ in answers], [*range(count)])
        erased = sum(pdus.get(meta, "reason") == "overrun" for meta, _ in answers)
        self.assertGreater(erased, 0)
        self.assertLessEqual(erased, count - pdus.LONGEST_QUEUE)
        self.assertEqual(block.dropped(), erased)

    def test_source_waits(self) -> None:
        """No more frames leave than may be under way; each `done` lets one more out."""
        source, debug, top = (
            image_source(BUNDLE, "digits", batch_size=100, in_flight=2),
            blocks.message_debug(),
            gr.top_block(),
        )
        top.msg_connect((source, "images"), (debug, "store"))
        top.start()
        wait_for(debug, 2)
        self.assertEqual(debug.num_messages(), 2)
        for _ in range(5):
            source.to_basic_block()._post(pmt.intern("done"), pmt.PMT_T)
        wait_for(debug, 4)
        top.stop()
        top.wait()
        self.assertEqual(debug.num_messages(), 4)
        frames = [pdus.parts(debug.get_message(i)) for i in range(4)]
        self.assertEqual([pdus.get(metadata, "images") for metadata, _ in frames], [100] * 3 + [60])
        self.assertEqual(
            [pdus.get(metadata, "frame_number") for metadata, _ in frames], [*range(4)]
        )

    def test_source_repeats(self) -> None:
        """Held back at first, then all images twice, and zeros after the last of all."""
        source = image_source(BUNDLE, "digits", batch_size=200, in_flight=0, passes=2, flush=999)
        debug, top = blocks.message_debug(), gr.top_block()
        top.msg_connect((source, "images"), (debug, "store"))
        top.start()
        time.sleep(0.1)
        self.assertEqual(debug.num_messages(), 0)
        for _ in range(6):
            source.to_basic_block()._post(pmt.intern("done"), pmt.PMT_T)
        wait_for(debug, 4)
        top.stop()
        top.wait()
        frames = [pdus.parts(debug.get_message(i)) for i in range(debug.num_messages())]
        self.assertEqual([pdus.get(meta, "images") for meta, _ in frames], [200, 160, 200, 160])
        self.assertEqual([pdus.get(meta, "gap") for meta, _ in frames], [None, None, None, 999])
        np.testing.assert_array_equal(frames[0][1], frames[2][1])

    def test_construction(self) -> None:
        for arguments in ({"batch_size": 0}, {"timeout_s": -1}, {"timeout_s": float("nan")}):
            with self.assertRaises(ValueError):
                head(BUNDLE, **arguments)
        with self.assertRaises(ValueError):
            tail(BUNDLE, threads=-1)
        with self.assertRaises(ValueError):
            image_source(BUNDLE, in_flight=-1)
        with self.assertRaisesRegex(BundleError, "there is no bundle"):
            head("no such bundle")
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copytree(BUNDLE.path, Path(folder) / "copy"))
            with (copy / "tail.onnx").open("ab") as file:
                file.write(b"x")
            with self.assertRaisesRegex(BundleError, r"tail\.onnx.*sha256"):
                tail(copy)


if __name__ == "__main__":
    gr_unittest.run(qa_head_tail)
