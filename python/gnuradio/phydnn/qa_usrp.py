#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Radios: the accounts of what UHD reports, and gr-uhd for real where UHD's simulator is there.

The simulator is a command, ``usrp-sim [--rate HZ] -- COMMAND``, which runs COMMAND beside a device
at 127.0.0.1; it is taken from PHYDNN_USRP_SIM or found on PATH. A machine that is busy otherwise
keeps up with no more than PHYDNN_USRP_SIM_RATE, 220e3 or more instead of 2e6 samples a second.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pmt

from gnuradio import blocks, gr, gr_unittest
from gnuradio.phydnn import numerology, pdus, usrp
from gnuradio.phydnn.link import run_link
from phydnn import radios
from phydnn.bundle import Bundle
from phydnn.datasets import load
from phydnn.errors import RunError

NAME = "phydnn-resnet20-digits"
BUNDLE = Bundle.load(NAME)
DIGITS = load("digits", "test", BUNDLE.input_shape)
SIMULATOR = os.environ.get("PHYDNN_USRP_SIM") or shutil.which("usrp-sim")
RATE = float(os.environ.get("PHYDNN_USRP_SIM_RATE", 2e6))
BURSTS = 200
ATTEMPTS = 4


class qa_reports(gr_unittest.TestCase):
    """What UHD says is counted, whichever way it says it."""

    def test_asynchronous_messages(self) -> None:
        events = usrp.events()
        codes = ("burst_ack", "underflow", "underflow_in_packet", "seq_error", "time_error", "new")
        for code in codes:
            # As usrp_sink makes them.
            names = pmt.list1(pmt.intern(code))
            what = pmt.dict_add(pmt.make_dict(), pmt.intern("event_code"), names)
            events._on_event(pmt.cons(pmt.intern("uhd_async_msg"), what))
        events._on_event(pmt.intern("garbage"))
        self.assertEqual(
            events.counts,
            {"underruns": 2, "sequence_errors": 1, "late_commands": 1, "bursts_acknowledged": 1},
        )

    def test_gaps_in_time(self) -> None:
        """Also across a second's end, after days."""
        rate, days = 20e6, 10**6
        times = [(0, days, 0.9), (1_000_000, days, 0.95), (3_000_000, days + 1, 0.05 + 7 / rate)]
        tags = [
            gr.tag_utils.python_to_tag(
                (
                    offset,
                    pmt.intern("rx_time"),
                    pmt.make_tuple(pmt.from_uint64(whole), pmt.from_double(part)),
                    pmt.PMT_F,
                )
            )
            for offset, whole, part in times
        ]
        top, gaps = gr.top_block(), usrp.gaps(rate)
        top.connect(blocks.vector_source_c([0] * 3_000_001, tags=tags), gaps)
        top.run()
        self.assertEqual(gaps.counts(), {"overruns": 2, "samples_lost": 7})

    def test_letters(self) -> None:
        """Those that UHD writes to the terminal, which sees them all the same."""
        script = (
            "import os, time\n"
            "from gnuradio.phydnn import usrp\n"
            "with usrp.letters() as letters:\n"
            "    for words in (b'U', b'UU', b'O', b'an Ordinary Line\\n', b'L\\nD'):\n"
            "        os.write(2, words); time.sleep(0.1)\n"
            "print(letters.counts)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        self.assertEqual(done.stderr, "UUUOan Ordinary Line\nL\nD")
        self.assertEqual(done.stdout, "{'U': 3, 'O': 1, 'L': 1, 'D': 1, 'S': 0}\n")

    def test_timer(self) -> None:
        """Each burst's time is that of a sample, a whole number of them after the last."""

        timer = usrp.timer(lambda: 12.3456789, RATE, 0.0500001)
        debug, top = blocks.message_debug(), gr.top_block()
        top.msg_connect(timer, "images", debug, "store")
        top.start()
        for number in range(30):
            metadata = pdus.put(pmt.make_dict(), frame_number=number)
            timer._on_images(pmt.cons(metadata, pmt.init_u8vector(1, [0])))
        deadline = time.monotonic() + 10
        while debug.num_messages() < 30 and time.monotonic() < deadline:
            time.sleep(0.01)
        top.stop()
        top.wait()
        samples = []
        for i in range(debug.num_messages()):
            metadata, _ = pdus.parts(debug.get_message(i))
            when = pmt.dict_ref(metadata, pmt.intern("tx_time"), pmt.PMT_NIL)
            whole, part = (pmt.tuple_ref(when, j) for j in (0, 1))
            samples.append(pmt.to_uint64(whole) * RATE + pmt.to_double(part) * RATE)
        self.assertEqual(len(samples), 30)
        np.testing.assert_allclose(samples, np.round(samples), atol=1e-4)
        np.testing.assert_array_equal(np.diff(np.round(samples)), round(0.05 * RATE))
        self.assertAlmostEqual(samples[0] / RATE, 12.3456789 + usrp.LEAD_S, places=5)

    def test_no_device(self) -> None:
        """One sentence, with what uhd_find_devices would show."""
        radio = radios.load("b210", ["args=type=b200,serial=none"])
        for ends in (("tx",), ("rx",)):
            with self.assertRaisesRegex(RunError, "uhd_find_devices") as caught:
                run_link(BUNDLE, DIGITS, ends=ends, link="usrp", radio=radio)
            self.assertNotIn("\n", str(caught.exception))

    def test_a_flowgraph_that_does_not_start(self) -> None:
        """Where a block of several cannot be started, GNU Radio's start() waits for ever."""
        never = threading.Event()
        self.addCleanup(never.set)
        with self.assertRaisesRegex(RunError, "could not be started within 0.2 s"):
            usrp.start(SimpleNamespace(start=never.wait), 0.2)


@unittest.skipUnless(SIMULATOR, "UHD's simulator is not there: set PHYDNN_USRP_SIM to usrp-sim")
class qa_simulator(gr_unittest.TestCase):
    """gr-uhd, from device to edge through a simulated USRP that receives what it transmits."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def phydnn(self, *arguments: object) -> dict[str, Any]:
        """The results of a command beside the simulator; a trial that does not count is repeated.

        On a machine that is too slow for it the simulator breaks, loses samples, which voids a
        trial as it does with a radio, or tears bursts apart, which a radio would report as
        underruns. But where a trial lost most of its frames, something else is wrong.
        """
        assert SIMULATOR is not None
        out = self.folder / "out.json"
        simulated = ("timeout", "180", SIMULATOR, "--rate", f"{RATE:.0f}", "--", sys.executable)
        words = (*simulated, "-m", "phydnn", *map(str, arguments), "--json", str(out))
        faults = []
        for _ in range(ATTEMPTS):
            out.unlink(missing_ok=True)
            done = subprocess.run(words, capture_output=True, text=True)
            if not out.exists():
                faults.append(f"exit status {done.returncode}")
                continue
            record = json.loads(out.read_text())
            if record["void"]:
                faults.append(f"void, {record['faults']}")
            elif record["samples_received"] < 0.9 * RATE * record["seconds"]:
                faults.append("slower than its clock")
            elif 0 < record["frames_lost"] <= BURSTS // 2:
                faults.append(f"{record['frames_lost']} frames torn apart")
            else:
                return record
        raise unittest.SkipTest(
            f"the simulator did not keep up, {ATTEMPTS} times: {'; '.join(faults)}"
        )

    def run_link(self, *arguments: object) -> dict[str, Any]:
        return self.phydnn(
            "run", "--bundle", NAME, "--data", "digits", "--link", "usrp", "--radio", "e320-sim",
            "--radio-set", f"sample_rate={RATE}", "--radio-set", f"master_clock_rate={RATE}",
            "--batch", 1, "--limit", BURSTS, "--record", self.folder / "r", *arguments,
        )  # fmt: skip

    def check(self, record: dict[str, Any]) -> np.ndarray[Any, Any]:
        """All bursts decoded, with the classes that they have without a radio; their starts."""
        images = DIGITS.take(slice(BURSTS))
        self.assertEqual((record["frames_sent"], record["frames_lost"]), (BURSTS, 0))
        self.assertEqual(record["erasures"], {})
        played = run_link(BUNDLE, images, link="file", replay=self.folder / "r")
        exact = run_link(BUNDLE, images, batch=1, snr_db=100)
        self.assertEqual(played.outcome.tolist(), exact.outcome.tolist())
        self.assertEqual(record["accuracy"], exact.record["accuracy"])
        tree = json.loads((self.folder / "r.sigmf-meta").read_text())
        return np.array([note["core:sample_start"] for note in tree["annotations"]])

    def test_bursts(self) -> None:
        """Each one ends at its sample: behind it there is nothing until the next one."""
        starts = self.check(self.run_link())
        samples = np.fromfile(self.folder / "r.sigmf-data", np.complex64)
        length = numerology("wide").frame_samples(BUNDLE.uses)
        for start in starts:
            self.assertGreater(np.abs(samples[start + length - 8 : start + length]).max(), 0)
            np.testing.assert_array_equal(samples[start + length : start + length + 128], 0)

    def test_timed_bursts(self) -> None:
        """Each one lands at its sample."""
        period = 0.02
        starts = self.check(self.run_link("--period", period))
        np.testing.assert_array_equal(np.diff(starts), round(period * RATE))


if __name__ == "__main__":
    gr_unittest.run(qa_reports)
