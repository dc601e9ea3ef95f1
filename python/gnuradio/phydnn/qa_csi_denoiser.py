#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The CSI denoiser: its twins of the kernels, what it refines, what it lets by, and the link."""

import time
from typing import Any

import numpy as np
import pmt
from hypothesis import given, settings
from hypothesis import strategies as st

from gnuradio import blocks, gr, gr_unittest
from gnuradio.phydnn import csi_denoiser, kernels, numerology, pdus, to_vector
from gnuradio.phydnn.link import run_link
from phydnn import csi, datasets
from phydnn.bundle import BundleError, open_session
from phydnn.errors import InputError
from phydnn.waveform import USED

BUNDLE = csi.CsiBundle.load("csi-adnet")
USES = 9000


def frames(snr_db: float = 5.0, uses: int = USES) -> csi.Frames:
    paths = csi.Paths.of(csi.tdl("tdl-c", 1e-7))
    return csi.simulate([paths], np.array([snr_db]), uses, np.random.default_rng(3))


def pdu(found: csi.Frames, **more: Any) -> Any:
    fields = {
        "uses": USES,
        "frame_number": 3,
        "sample_index": 7,
        "cfo": 1.5,
        "snr_db": 5.0,
        "csi": to_vector(found.ls[0]),
        "csi_n0": float(found.n0_estimate[0]),
        "images": 2,
    }
    metadata = pdus.put(pmt.make_dict(), **(fields | more))
    return pmt.cons(metadata, to_vector(np.arange(4).astype(np.complex64)))


class qa_csi_denoiser(gr_unittest.TestCase):
    def through(self, block: Any, messages: list[Any], port: str = "grid") -> list[Any]:
        """What leaves a port for these messages, one each."""
        top, debug = gr.top_block(), blocks.message_debug()
        top.msg_connect((block, port), (debug, "store"))
        top.start()
        for message in messages:
            block.to_basic_block()._post(pmt.intern("grid"), message)
        deadline = time.monotonic() + 60
        while debug.num_messages() < len(messages) and time.monotonic() < deadline:
            time.sleep(0.005)
        top.stop()
        top.wait()
        self.assertEqual(debug.num_messages(), len(messages))
        return [debug.get_message(i) for i in range(len(messages))]

    def test_rows_are_the_numerology_s(self) -> None:
        rng = np.random.default_rng(1)
        for uses in (1, 448, 449, 6272, 6273, 65536):
            n = numerology("wide")
            rows = csi.pilot_rows(uses)
            self.assertEqual(len(rows), n.pilot_symbols(uses))
            self.assertEqual(rows[-1], n.grid_symbols(uses) - 1)
            # Where the rows are wrong the kernel does not find the pilots that are put there.
            ls = rng.standard_normal((len(rows), USED)).astype(np.complex64)
            grid = np.zeros((n.grid_symbols(uses), USED), np.complex64)
            ones = kernels.csi_estimator().estimate(np.ones_like(grid), uses, "none")[0]
            grid[rows] = ls / ones.conj() * np.abs(ones) ** 2
            found = kernels.csi_estimator().estimate(grid, uses, "none")[0]
            np.testing.assert_allclose(np.abs(found), np.abs(ls), atol=1e-5)

    def test_twins_of_the_estimator(self) -> None:
        rng = np.random.default_rng(2)
        n = numerology("wide")
        shape = (n.grid_symbols(USES), USED, 2)
        grid = rng.standard_normal(shape).astype(np.float32).view(np.complex64)[..., 0]
        ls, window, n0, _ = kernels.csi_estimator().estimate(grid, USES, "window")
        np.testing.assert_allclose(csi.window(ls), window, atol=5e-4)
        np.testing.assert_allclose(csi.estimate_n0(ls[None]), [n0], rtol=1e-4)

    def test_refines(self) -> None:
        found = frames()
        for network in csi.GRAPHS:
            session = open_session(BUNDLE.graph_path(network), threads=1)
            n0 = float(found.n0_estimate[0])
            expected = csi.refine(session, found.ls[0], n0, found.rows)
            block = csi_denoiser(BUNDLE, network=network)
            (got,) = self.through(block, [pdu(found)])
            metadata, values = pdus.parts(got)
            np.testing.assert_array_equal(values, np.arange(4))
            np.testing.assert_allclose(pdus.get(metadata, "csi"), expected.ravel(), atol=1e-5)
            self.assertEqual((pdus.get(metadata, "images"), pdus.get(metadata, "uses")), (2, USES))
            self.assertGreater(pdus.get(metadata, "denoise_s"), 0)
            self.assertEqual((block.frames(), block.bypassed(), block.dropped()), (1, 0, 0))
            better = csi.mse(found.ls, found.truth) / csi.mse(expected[None], found.truth)
            self.assertGreater(10 * np.log10(better[0]), 8)
            (message,) = self.through(csi_denoiser(BUNDLE, network=network), [pdu(found)], "csi")
            np.testing.assert_array_equal(pdus.get(message, "ls"), found.ls.ravel())
            np.testing.assert_allclose(pdus.get(message, "refined"), expected.ravel(), atol=1e-5)
            told = {key: pdus.get(message, key) for key in ("frame_number", "sample_index", "cfo")}
            self.assertEqual(told, {"frame_number": 3, "sample_index": 7, "cfo": 1.5})
            self.assertEqual(pdus.get(message, "pilots"), len(found.rows))

    def test_bypass(self) -> None:
        found = frames()
        block = csi_denoiser(BUNDLE)
        block.set_bypass_db(4.0)
        for own, snr_db in ((4.0, 4.5), (None, BUNDLE.bypass_db + 1)):
            block = csi_denoiser(BUNDLE, bypass_db=own)
            (got,) = self.through(block, [pdu(found, snr_db=snr_db)])
            refined = pdus.get(pdus.parts(got)[0], "csi")
            np.testing.assert_array_equal(refined, found.ls.ravel())
            self.assertEqual(block.bypassed(), 1)

    def test_erasures_pass(self) -> None:
        block = csi_denoiser(BUNDLE)
        erased = pmt.cons(
            pdus.put(pmt.make_dict(), erased=True, reason="cut", frame_number=4, anything=5),
            pmt.make_c32vector(0, 0),
        )
        (got,) = self.through(block, [erased])
        self.assertTrue(pmt.equal(got, erased))
        self.assertEqual(block.dropped(), 0)

    def test_bad_estimates_become_erasures(self) -> None:
        found = frames()
        poisoned = found.ls[0].copy()
        poisoned[1, 5] = np.nan
        bad = [
            pdu(found, csi=to_vector(poisoned)),
            pdu(found, csi=to_vector(found.ls[0, 1:])),
            pdu(found, csi=pmt.from_long(3)),
            pdu(found, uses=-1),
            pdu(found, uses="many"),
            pdu(found, csi_n0=0.0),
            pdu(found, csi_n0=float("nan")),
            pdu(found, csi_n0="low"),
            pdu(found, snr_db="high"),
            pmt.cons(pmt.make_dict(), pmt.make_c32vector(3, 0)),
            pmt.intern("no PDU"),
        ]
        block = csi_denoiser(BUNDLE)
        gr.logging().set_default_level(gr.log_levels.error)
        for got in self.through(block, bad):
            metadata, values = pdus.parts(got)
            self.assertTrue(pdus.erased(metadata))
            self.assertEqual((pdus.get(metadata, "reason"), len(values)), ("payload", 0))
        self.assertEqual(block.dropped(), len(bad))

    @settings(max_examples=40, deadline=None)
    @given(
        st.integers(-(1 << 40), 1 << 40),
        st.floats(width=32),
        st.floats(width=32),
        st.sampled_from([0.0, 1e-30, 1e30, float("inf")]),
    )
    def test_any_numbers_give_a_frame_or_an_erasure(
        self, uses: int, n0: float, snr_db: float, scale: float
    ) -> None:
        found = frames()
        with np.errstate(all="ignore"):
            ls = (found.ls[0] * np.float32(scale)).astype(np.complex64)
        block = csi_denoiser(BUNDLE)
        got: list[Any] = []
        block._publish = lambda metadata, vector: got.append(metadata)
        block._log = gr.logger("quiet")
        block._log.set_level("error")
        message = pdu(found, uses=uses, csi_n0=n0, snr_db=snr_db, csi=to_vector(ls))
        block._take(*pdus.parts(message))
        message = pdu(found, csi_n0=n0, snr_db=snr_db, csi=to_vector(ls))
        block._take(*pdus.parts(message))
        for metadata in got:
            refined = pdus.get(metadata, "csi")
            self.assertTrue(pdus.erased(metadata) or np.isfinite(refined).all())
        self.assertEqual(len(got), 2)

    def test_arguments(self) -> None:
        with self.assertRaisesRegex(InputError, "no network 'unet': choose wiener or adnet"):
            csi_denoiser(BUNDLE, network="unet")
        with self.assertRaisesRegex(BundleError, "use the waveform 'wide'"):
            csi_denoiser(BUNDLE, "short")
        with self.assertRaisesRegex(BundleError, "there is no bundle 'none'"):
            csi_denoiser("none")
        with self.assertRaisesRegex(BundleError, "system: it is 'phydnn', but 'csi' is wanted"):
            csi_denoiser("phydnn-resnet20-digits")

    def test_on_the_link(self) -> None:
        images = datasets.load("digits", "test").take(slice(128))
        found = {}
        for estimates in ("ls", "window", "csi-adnet"):
            record = run_link("phydnn-resnet20-digits", images, snr_db=6.0, csi=estimates).record
            self.assertEqual((record["frames_lost"], record["csi"]), (0, estimates))
            found[estimates] = 10 * np.log10(record["csi_mse"])
        self.assertLess(found["window"], found["ls"] - 8)
        self.assertLess(found["csi-adnet"], found["window"] - 3)


if __name__ == "__main__":
    gr_unittest.run(qa_csi_denoiser)
