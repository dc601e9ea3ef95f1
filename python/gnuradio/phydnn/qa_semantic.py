#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Text over a link: the blocks, both ends and the job, with a code whose answers are known."""

import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray
from qa_pdus import answers, pdu, through  # type: ignore[import-not-found]

from gnuradio import blocks, gr, gr_unittest, phydnn
from gnuradio.phydnn import pdus
from gnuradio.phydnn.link import run_job
from gnuradio.phydnn.semantic import Reading, demapper_of, mapper_of
from phydnn import text
from phydnn.bundle import BundleError
from phydnn.cli import main
from phydnn.decoding import TextCodec
from phydnn.errors import InputError
from phydnn.tests import code_book
from phydnn.text_bundle import frames_of, one_frame, payload_uses

SCRATCH = tempfile.TemporaryDirectory()
BUNDLE = code_book.make(Path(SCRATCH.name) / "book")
ODD = [
    "",
    "an unknown Wörd \N{ROCKET} \N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET} \x01\x1b[31m",
    "very long " * 40,
]
LINES = code_book.LINES[:5] + ODD


def utf8(line: str) -> Any:
    return phydnn.to_vector(np.frombuffer(line.encode(), np.uint8))


def line_of(message: Any) -> str:
    _, values = pdus.parts(message)
    return bytes(values).decode()


def field(message: Any, key: str) -> Any:
    return pdus.get(pdus.parts(message)[0], key)


class QaSemanticBlocks(gr_unittest.TestCase):
    def encoded(self, *messages: Any) -> list[Any]:
        return through(phydnn.semantic_encoder(BUNDLE), "text", "values", *messages)

    def values(self, line: str) -> NDArray[np.float32]:
        (message,) = self.encoded(pdu(utf8(line)))
        return np.array(pdus.parts(message)[1])

    def test_encoder(self) -> None:
        frame = frames_of(BUNDLE, ["the debate is closed"] * 3, 16)[0]
        tokens = phydnn.to_vector(frame.tokens.astype(np.int32))
        out = self.encoded(
            pdu(tokens, frame_number=7, sentences=3, kept=1),
            pdu(utf8("the debate is closed")),
            pmt.intern("the debate is closed"),
            pdu(utf8("")),
        )
        self.assertEqual([field(m, "frame_number") for m in out], [7, 8, 9, 10])
        self.assertEqual([field(m, "sentences") for m in out], [3, 1, 1, 1])
        self.assertEqual(field(out[0], "kept"), 1)
        self.assertGreater(field(out[0], "head_s"), 0)
        lengths = [pmt.length(pmt.cdr(message)) for message in out]
        words = frame.tokens.shape[1]
        expected = [payload_uses(BUNDLE, *shape) for shape in ((3, words), (1, words), (1, 4))]
        self.assertEqual(lengths, [2 * expected[0], 2 * expected[1], 2 * expected[1], 62 + 2])
        # Three sentences are thrice the one, however it was handed over.
        three, one, typed, _ = (np.array(pdus.parts(message)[1]) for message in out)
        sentence = one[: 2 * words * BUNDLE.uses]
        np.testing.assert_array_equal(three[: 3 * len(sentence)], np.tile(sentence, 3))
        np.testing.assert_array_equal(one, typed)

    def test_encoder_refuses(self) -> None:
        tokens = np.zeros(8, np.int32)
        strange = tokens.copy()
        strange[3] = len(BUNDLE.vocabulary)
        vector = phydnn.to_vector
        erasure = pdu(pmt.make_u8vector(0, 0), erased=True, reason="lost", frame_number=3)
        bad = [
            pdu(vector(np.frombuffer(b"\xff\xfe", np.uint8)), frame_number=1),
            pdu(vector(np.zeros(1 << 17, np.uint8)), frame_number=1),
            pdu(vector(tokens), frame_number=1),
            pdu(vector(tokens), frame_number=1, sentences=3),
            pdu(vector(tokens), frame_number=1, sentences=8),
            pdu(vector(tokens), frame_number=1, sentences="two"),
            pdu(vector(strange), frame_number=1, sentences=2),
            pdu(vector(-1 - tokens), frame_number=1, sentences=2),
            pdu(pmt.make_f32vector(8, 0.0), frame_number=1, sentences=2),
            pmt.PMT_NIL,
        ]
        out = self.encoded(*bad, erasure, pdu(vector(tokens), frame_number=4, sentences=2))
        for message in out[:-2]:
            self.assertEqual(field(message, "reason"), "payload")
        self.assertEqual(field(out[-2], "reason"), "lost")
        self.assertEqual([field(m, "frame_number") for m in out[-2:]], [3, 4])
        for message in out[:-1]:
            self.assertTrue(field(message, "erased"))
            self.assertEqual(pmt.length(pmt.cdr(message)), 0)
        self.assertIsNone(field(out[-1], "erased"))

    def test_decoder(self) -> None:
        decoder = phydnn.semantic_decoder(BUNDLE)
        uses = len(self.values(LINES[0])) // 2
        each = phydnn.to_vector(np.full(uses, 0.01, np.float32))
        messages = [
            pdu(phydnn.to_vector(self.values(LINES[0])), n0=each, frame_number=5),
            pdu(phydnn.to_vector(self.values(ODD[1])), n0=0.01, frame_number=6),
        ]
        tokens, lines = answers(decoder, "values", ("tokens", "text"), *messages)
        self.assertEqual([line_of(message) for message in lines], [LINES[0], ODD[1]])
        self.assertEqual([field(message, "frame_number") for message in tokens], [5, 6])
        for message, line in zip(tokens, (LINES[0], ODD[1]), strict=True):
            expected = one_frame(BUNDLE, line).tokens
            np.testing.assert_array_equal(pdus.parts(message)[1], expected.ravel())
            self.assertEqual(field(message, "sentences"), len(expected))
            self.assertGreater(field(message, "tail_s"), 0)

    def test_decoder_marks_gaps(self) -> None:
        """What is truncated or damaged is a gap, whatever its shape, and the next frame is read."""
        values = self.values("the debate is closed")
        vector = phydnn.to_vector
        poisoned = values.copy()
        poisoned[3] = np.nan
        bad = [
            *(pdu(vector(values[: -2 * cut]), n0=0.01) for cut in (2, 3, 17, len(values) // 2)),
            pdu(vector(values[:-1]), n0=0.01),
            pdu(vector(poisoned), n0=0.01),
            pdu(vector(values)),
            pdu(vector(values), n0=-1.0),
            pdu(vector(values), n0="loud"),
            pdu(vector(values), n0=vector(np.ones(3, np.float32))),
            pdu(pmt.make_s32vector(64, 0), n0=0.01),
            pmt.intern("no PDU"),
            pdu(pmt.make_f32vector(0, 0.0), erased=True, reason="cut"),
        ]
        good = pdu(vector(values), n0=0.01)
        decoder = phydnn.semantic_decoder(BUNDLE)
        tokens, lines = answers(decoder, "values", ("tokens", "text"), *bad, good)
        for message, line in zip(tokens[:-1], lines[:-1], strict=True):
            self.assertTrue(field(message, "erased"))
            self.assertEqual(pmt.length(pmt.cdr(message)), 0)
            self.assertEqual(line_of(line), text.GAP_TEXT)
        self.assertEqual([field(m, "reason") for m in tokens[:-1]], ["payload"] * 12 + ["cut"])
        self.assertEqual(line_of(lines[-1]), "the debate is closed")

    def test_source(self) -> None:
        source = phydnn.text_source(BUNDLE, LINES, 2, in_flight=100, passes=2, flush=9)
        frames = frames_of(BUNDLE, LINES, 2)
        sink = blocks.message_debug()
        top = gr.top_block()
        top.msg_connect(source, "text", sink, "store")
        top.start()
        deadline = time.monotonic() + 60
        while sink.num_messages() < 2 * len(frames) and time.monotonic() < deadline:
            time.sleep(0.002)
        top.stop()
        top.wait()
        sent = [sink.get_message(i) for i in range(sink.num_messages())]
        self.assertEqual([field(m, "frame_number") for m in sent], list(range(2 * len(frames))))
        self.assertEqual([field(m, "gap") for m in sent], [None] * (len(sent) - 1) + [9])
        for message, frame in zip(sent, 2 * frames, strict=True):
            np.testing.assert_array_equal(pdus.parts(message)[1], frame.tokens.ravel())
            np.testing.assert_array_equal(field(message, "lines"), frame.lines)
        with self.assertRaisesRegex(InputError, "no lines"):
            phydnn.text_source(BUNDLE, [])
        with self.assertRaisesRegex(InputError, "1 or more"):
            phydnn.text_source(BUNDLE, LINES, 0)
        with self.assertRaisesRegex(ValueError, "in_flight"):
            phydnn.text_source(BUNDLE, LINES, in_flight=-1)

    def test_both_ends(self) -> None:
        """Typed at one end of a channel, read at the other."""
        sender = phydnn.text_transmitter(BUNDLE, gap=4000)
        channel = phydnn.channel(snr_db=30.0)
        receiver = phydnn.text_receiver(BUNDLE)
        sink = blocks.message_debug()
        top = gr.top_block()
        top.connect(sender, channel, receiver)
        top.msg_connect(receiver, "text", sink, "store")
        top.start()
        for line in LINES[:4]:
            sender.encoder._post(pmt.intern("text"), pmt.intern(line))
        deadline = time.monotonic() + 60
        while sink.num_messages() < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        top.stop()
        top.wait()
        read = [line_of(sink.get_message(i)) for i in range(sink.num_messages())]
        self.assertEqual(read, LINES[:4])

    def test_a_frame_cut_in_mid_sentence_is_a_gap(self) -> None:
        transmitter, codec = (
            phydnn.kernels.transmitter(phydnn.numerology("wide")),
            TextCodec(BUNDLE),
        )

        def samples(line: str, number: int) -> NDArray[np.complex64]:
            tokens = one_frame(BUNDLE, line).tokens
            payload = np.zeros(payload_uses(BUNDLE, *tokens.shape), np.complex64)
            payload[: tokens.size * BUNDLE.uses] = codec.encode(tokens).ravel()
            header = phydnn.kernels.frame_header(len(payload), number, BUNDLE.id, 2, False)
            return transmitter.frame(header, payload)

        silence = np.zeros(5000, np.complex64)
        whole = samples(ODD[2] * 4, 0)
        parts = [silence, whole[: len(whole) // 2], silence, samples(LINES[0], 1), *14 * [silence]]
        air = np.concatenate(parts)
        noise = np.random.default_rng(1).standard_normal((len(air), 2)) @ [1, 1j]
        # Over and over, as blocks stop where a stream ends.
        source = blocks.vector_source_c((air + 0.02 * noise).tolist(), True)
        receiver = phydnn.text_receiver(BUNDLE)
        sink = blocks.message_debug()
        top = gr.top_block()
        top.connect(source, receiver)
        top.msg_connect(receiver, "text", sink, "store")
        top.start()
        deadline = time.monotonic() + 60
        while sink.num_messages() < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        top.stop()
        top.wait()
        read = [line_of(sink.get_message(i)) for i in range(2)]
        self.assertEqual(read, [text.GAP_TEXT, LINES[0]])

    def test_bundles_of_other_systems(self) -> None:
        for make in (phydnn.semantic_encoder, phydnn.semantic_decoder, phydnn.text_receiver):
            with self.assertRaisesRegex(BundleError, "'phydnn', but 'ldeepsc' is wanted"):
                make("phydnn-resnet20-digits")


class QaReading(gr_unittest.TestCase):
    """The job."""

    def test_over_the_link(self) -> None:
        for decision in ("none", "hard", "soft"):
            job = Reading(BUNDLE, LINES, "lines", 3, decision)
            result = run_job(job, snr_db=30.0, passes=2)
            self.assertEqual(result.outcome, 2 * LINES)
            record = result.record
            self.assertEqual(record["bleu"], [1.0] * 4)
            self.assertEqual((record["exact"], record["lines"]), (1.0, 2 * len(LINES)))
            self.assertEqual(record["channel_uses"], 2 * int(job.uses.sum()))
            self.assertEqual(record["n"], 2 * job.count)
            self.assertEqual(record["received"], 2 * LINES)

    def test_the_link_is_the_simulation(self) -> None:
        """At 2 dB, where a part of the words is lost, as many arrive as in NumPy's channel."""
        lines = code_book.LINES
        job = Reading(BUNDLE, lines, "lines", 16)
        link = run_job(job, snr_db=2.0).record["bleu"][0]
        codec = TextCodec(BUNDLE)
        rng, n0 = np.random.default_rng(1), 10**-0.2
        read: list[str] = [""] * len(lines)
        for frame in frames_of(BUNDLE, lines, 16):
            symbols = codec.encode(frame.tokens)
            noise = rng.standard_normal(symbols.shape) + 1j * rng.standard_normal(symbols.shape)
            for line, tokens in zip(
                frame.lines, codec.greedy(symbols + np.sqrt(n0 / 2) * noise, n0), strict=True
            ):
                read[line] = BUNDLE.vocabulary.decode(tokens)
        simulated = text.bleu(lines, read)["bleu"][0]
        self.assertTrue(0.3 < simulated < 0.99)
        self.assertAlmostEqual(link, simulated, delta=0.05)

    def test_frames_that_never_arrive_are_gaps(self) -> None:
        job = Reading(BUNDLE, LINES, "lines", 1)
        job.begin(1)
        for number in range(job.frames):
            tokens = frames_of(BUNDLE, LINES, 1)[number].tokens.astype(np.int32).ravel()
            self.assertFalse(job.take(number, None))
            self.assertFalse(job.take(number, tokens[:-4]))
            if number != 1:
                self.assertTrue(job.take(number, tokens))
        lost = [a for a, b in zip(job.outcome(), LINES, strict=True) if a != b]
        self.assertEqual(lost, [text.GAP_TEXT])
        self.assertLess(job.record()["bleu"][0], 1)

    def test_cut(self) -> None:
        job = Reading(BUNDLE, LINES, "lines", 2)
        self.assertEqual(job.cut(job.count, 3).lines, LINES)
        self.assertEqual(job.cut(2, 3).lines, LINES[:2])
        self.assertNotEqual(job.cut(2, 3).fingerprint(), job.fingerprint())

    def test_refusals(self) -> None:
        with self.assertRaisesRegex(InputError, "no lines"):
            Reading(BUNDLE, [])
        with self.assertRaisesRegex(InputError, "no decision"):
            Reading(BUNDLE, LINES, decision="firm")
        with self.assertRaisesRegex(InputError, "1 or more"):
            Reading(BUNDLE, LINES, batch=0)

    def test_mapper_and_demapper_are_the_bundles(self) -> None:
        values = np.linspace(-3, 3, 64, dtype=np.float32)
        message = pdu(phydnn.to_vector(values))
        (sent,) = through(mapper_of(BUNDLE), "values", "symbols", message)
        symbols = np.array(pdus.parts(sent)[1])
        np.testing.assert_array_equal(symbols, BUNDLE.constellation.map(values))
        demapper = demapper_of(BUNDLE)
        self.assertEqual(demapper.decision(), BUNDLE.decision)
        message = pdu(phydnn.to_vector(symbols), n0=0.1)
        (received,) = through(demapper, "symbols", "values", message)
        np.testing.assert_allclose(
            pdus.parts(received)[1], BUNDLE.constellation.demap(symbols, 0.1), atol=1e-5
        )


class QaCommand(gr_unittest.TestCase):
    """``phydnn run`` with a text."""

    def call(self, data: str, *arguments: str) -> tuple[int, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(["run", "--bundle", str(BUNDLE.path), "--data", data, *arguments])
        return status, err.getvalue()

    def test_run(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file, out = Path(folder) / "lines.txt", Path(folder) / "out.json"
            picture = Path(folder) / "out.png"
            file.write_text("\n".join(LINES) + "\n", encoding="utf-8")
            where = ("--json", str(out), "--picture", str(picture))
            status, error = self.call(f"text:{file}", "--snr", "30", "--limit", "6", *where)
            self.assertEqual((status, error), (0, ""))
            record = json.loads(out.read_text())
            self.assertEqual(record["received"], LINES[:6])
            self.assertEqual(record["bleu"], [1.0] * 4)
            self.assertGreater(picture.stat().st_size, 10_000)
            file.write_bytes(b"\xff\xff")
            for data, sentence in (
                (f"text:{file}", "not UTF-8"),
                (f"text:{folder}/none.txt", "cannot read"),
                ("digits", "there is no text 'digits'"),
            ):
                status, error = self.call(data)
                self.assertEqual((status, error.count("\n")), (2, 1), error)
                self.assertIn(sentence, error)


if __name__ == "__main__":
    gr_unittest.run(sys.modules[__name__])
