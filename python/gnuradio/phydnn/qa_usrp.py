#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Radios: the accounts of what UHD reports, and gr-uhd for real where UHD's simulator is there.

The simulator is a command, ``usrp-sim [--rate HZ] -- COMMAND``, which runs COMMAND beside a device
at 127.0.0.1; it is taken from PHYDNN_USRP_SIM or found on PATH.
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
RATE = 2e6
BURSTS = 200
ATTEMPTS = 4
CUT_OFF = """
"$@" & sender=$!
until [ "$(du -sb "$FOLDER" | cut -f1)" -gt 6000000 ]; do kill -0 $sender || exit 9; sleep 0.1; done
kill -9 $(pgrep -f "$work/sim.ini")
wait $sender
"""
"""Runs a command that records to FOLDER, and kills the simulator after the first few bursts."""


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
            "import array, fcntl, os, termios, time\n"
            "from gnuradio.phydnn import usrp\n"
            "waiting = array.array('i', [0])\n"
            "with usrp.letters() as letters:\n"
            "    for words in (b'U', b'UU', b'O', b'an Ordinary Line\\n', b'L\\nD'):\n"
            "        os.write(2, words); waiting[0] = 1\n"
            "        while waiting[0]:  # until it has been read\n"
            "            time.sleep(0.001); fcntl.ioctl(2, termios.FIONREAD, waiting)\n"
            "print(letters.counts)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        self.assertEqual(done.stderr, "UUUOan Ordinary Line\nL\nD")
        self.assertEqual(done.stdout, "{'U': 3, 'O': 1, 'L': 1, 'D': 1, 'S': 0}\n")

    def test_timer(self) -> None:
        """Each burst's time is that of a sample, a whole number of them after the last."""

        timer = usrp.timer(lambda: 12.3456789, RATE, 0.0500001)
        debug, top = blocks.message_debug(), gr.top_block()
        top.msg_connect(timer, "symbols", debug, "store")
        top.start()
        for number in range(30):
            metadata = pdus.put(pmt.make_dict(), frame_number=number)
            timer._on_symbols(pmt.cons(metadata, pmt.init_c32vector(1, [0])))
        deadline = time.monotonic() + 60
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

    def phydnn(
        self, *arguments: object, before: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command beside the simulator."""
        assert SIMULATOR is not None
        simulated = ("timeout", "180", SIMULATOR, "--rate", f"{RATE:.0f}", "--", *before)
        return subprocess.run(
            (*simulated, sys.executable, "-m", "phydnn", *map(str, arguments)),
            capture_output=True,
            text=True,
            env=os.environ | {"FOLDER": str(self.folder)},
        )

    def attempts(self, *arguments: object) -> dict[str, Any]:
        """The results of a trial that counts.

        One does not where the simulator breaks, loses samples, which voids it as with a radio, or
        tears a burst apart, which a radio would report as an underrun: before the first few are on
        their way, nothing but this machine's speed keeps it from that.
        """
        out, faults = self.folder / "out.json", []
        for _ in range(ATTEMPTS):
            out.unlink(missing_ok=True)
            done = self.phydnn(*arguments, "--json", out)
            if not out.exists():
                faults.append(f"exit status {done.returncode}: {done.stderr[-500:]}")
                continue
            record: dict[str, Any] = json.loads(out.read_text())
            if record["void"]:
                faults.append(f"void, {record['faults']}")
            elif record["frames_lost"]:
                faults.append(f"{record['frames_lost']} frames lost, {record['erasures']}")
            else:
                return record
        raise self.failureException("; ".join(faults))

    def link(self, *arguments: object) -> tuple[object, ...]:
        return (
            "run", "--bundle", NAME, "--data", "digits", "--link", "usrp", "--radio", "e320-sim",
            "--batch", 1, "--limit", BURSTS, "--record", self.folder / "r", "--silence", 5,
            *arguments,
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
        # The sender has to be well ahead of the simulated air.
        starts = self.check(self.attempts(*self.link("--radio-set", "pace=50e3")))
        samples = np.fromfile(self.folder / "r.sigmf-data", np.complex64)
        length = numerology("wide").frame_samples(BUNDLE.uses)
        for start in starts:
            self.assertGreater(np.abs(samples[start + length - 8 : start + length]).max(), 0)
            np.testing.assert_array_equal(samples[start + length : start + length + 128], 0)

    def test_timed_bursts(self) -> None:
        """Each one lands at its sample."""
        period = 0.004
        trial = self.link("--radio-set", "pace=200e3", "--period", period)
        starts = self.check(self.attempts(*trial))
        np.testing.assert_array_equal(np.diff(starts), round(period * RATE))

    def test_device_loss(self) -> None:
        """A radio that is gone in mid-stream: one sentence, no recording; the next run is clean."""
        done = self.phydnn(*self.link(), before=("bash", "-c", CUT_OFF, "cut-off"))
        self.assertEqual(done.returncode, 1, done.stderr)
        said = [line for line in done.stderr.splitlines() if line.startswith("phydnn:")]
        self.assertEqual(len(said), 1, done.stderr)
        self.assertIn("radio e320-sim has stood still for 5 s: is it still connected?", said[0])
        self.assertEqual(list(self.folder.iterdir()), [])
        record = self.attempts(*self.link("--limit", 5))
        self.assertEqual((record["frames_sent"], record["frames_lost"]), (5, 0))

    def test_calibrate(self) -> None:
        """The tone comes back as it was sent: the simulator has no gains, no noise, one clock."""
        out = self.folder / "calibration.json"
        gains = ("--tx-high", 10, "--rx-high", 10, "--step", 5)
        done = self.phydnn("radio", "calibrate", "--radio", "e320-sim", *gains, "--json", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        record = json.loads(out.read_text())
        for name in ("rx_sweep", "tx_sweep"):
            self.assertEqual([row["gain_db"] for row in record[name]], [0, 5, 10])
            for row in record[name]:
                self.assertAlmostEqual(row["power_dbfs"], 20 * np.log10(0.8), delta=0.01)
                self.assertLess(row["noise_dbfs_hz"], -150)
                self.assertEqual(row["clipped"], 0)
        self.assertLess(abs(record["cfo_hz"]), 1e-3)
        # Since the tone follows no gain, the first is the highest that is not compressed.
        self.assertEqual(record["tx_gain_db"], 0)


if __name__ == "__main__":
    gr_unittest.run(qa_reports)
