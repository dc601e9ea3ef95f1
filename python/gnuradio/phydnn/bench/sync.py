# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Detection, false alarms, carrier offset, header, and that the scheduler changes nothing."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pmt
from scipy import stats

from gnuradio import blocks, gr, phydnn
from gnuradio.phydnn import kernels
from gnuradio.phydnn.bench import (
    CFO_HZ,
    RATE,
    Figure,
    Noise,
    Report,
    Samples,
    Track,
    psk,
    rotate,
)
from phydnn.results import wilson_interval

FIVE_TAPS = 10 ** (-np.arange(0, 33, 8) / 64)
"""Amplitudes of five taps at 0, 8, 16, 24, 32 samples: power falling by 10 dB."""


def measure(quick: bool, track: Track) -> Report:
    """Every figure of the synchronizer; the full form has the counts that the bars need."""
    report = Report()
    report.add(detection(400, 50, track) if quick else detection(4000, 1000, track))
    report.add(false_alarms(60_000_000 if quick else 400_000_000, track))
    report.add(carrier_offset(800 if quick else 2000, track))
    report.add(header_loss(1000 if quick else 10_000, track))
    report.add(determinism(20, track))
    return report


def detected(es_n0_db: float, trials: range, taps: Samples | None = None) -> int:
    """In how many trials the whole synchronizer finds a preamble in noise at its place.

    A trial is a frame at a random position in noise, with a carrier offset uniform in +-10 kHz,
    for a synchronizer of its own with default parameters. The noise has the wanted Es/N0 up to
    the end of the preamble's last echo; behind it Es/N0 is 30 dB, so that the header can say
    whether the frame was found: one that is not delivered whole, with its number and with its
    first sample to within a cyclic prefix, counts as missed.

    Args:
        es_n0_db: Es/N0 of the preamble.
        trials: their numbers, which seed them.
        taps: complex [n] taps of unit power, redrawn in phase each trial; None: one tap.
    """
    n = phydnn.numerology("wide")
    transmitter = kernels.transmitter(n)
    found = 0
    for trial in trials:
        rng = np.random.default_rng([1, trial])
        before = int(rng.integers(1000, 4000))
        header = kernels.frame_header(1, trial)
        frame = transmitter.frame(header, psk(1, rng))
        if taps is not None:
            drawn = taps * np.exp(2j * np.pi * rng.random(len(taps)))
            frame = np.convolve(frame, drawn).astype(np.complex64)
        x = np.zeros(before + len(frame) + 4096, np.complex64)
        x[before : before + len(frame)] = rotate(frame, rng.uniform(-CFO_HZ, CFO_HZ))
        noise = Noise(link=trial)
        noisy = before + n.preamble_samples + n.cp_length
        x[:noisy] += noise(noisy, es_n0_db)
        x[noisy:] += noise(len(x) - noisy, 30)
        for frame in kernels.synchronizer(n).process(x):
            if frame.reason == "" and frame.header.frame_number == trial:
                found += abs(frame.sample_index - before) <= n.cp_length
    return found


def detection(trials: int, curve_trials: int, track: Track) -> Report:
    """P_d at -6 dB, over one tap and over five, and its curve over Es/N0."""
    parts = np.array_split(np.arange(trials), 20)
    report = Report()
    taps = np.zeros(33, np.complex64)
    taps[::8] = FIVE_TAPS / np.linalg.norm(FIVE_TAPS)
    for name, profile in (("", None), ("_multipath", taps)):
        steps = track(parts, f"detection{name.replace('_', ', ')}")
        found = sum(detected(-6, range(p[0], p[-1] + 1), profile) for p in steps)
        report.figures.append(
            Figure(
                f"detection_probability_minus6db{name}",
                found / trials,
                "",
                0.99,
                interval=wilson_interval(found, trials),
                note=f"{trials} frames, CFO within 10 kHz"
                + (", five taps over 1.6 us" if name else ""),
            )
        )
    es_n0_db = list(range(-20, -3))
    counts = [detected(snr, range(curve_trials)) for snr in track(es_n0_db, "detection curve")]
    report.curves["detection"] = {
        "es_n0_db": es_n0_db,
        "probability": [count / curve_trials for count in counts],
        "interval95": [wilson_interval(count, curve_trials) for count in counts],
        "trials": curve_trials,
    }
    return report


def false_alarms(samples: int, track: Track) -> Report:
    """Detections per sample of noise alone, through the whole synchronizer with its defaults.

    The value is the upper end of the one-sided 95 % interval of a Poisson count: what the
    measurement can vouch for.
    """
    synchronizer, noise = kernels.synchronizer(), Noise(link=0, seed=2)
    chunk = 1 << 20
    for _ in track(range(-(-samples // chunk)), "false alarms"):
        synchronizer.process(noise(chunk, 0))
    counts = synchronizer.counts
    alarms, samples = counts["detections"], counts["samples"]
    bound = float(stats.chi2.ppf(0.95, 2 * (alarms + 1))) / 2 / samples
    note = f"upper 95 % bound: {alarms} in {samples / 1e6:.0f} million samples"
    return Report([Figure("false_alarms_per_sample", bound, "", 1e-7, True, note=note)])


def frames_in_noise(
    es_n0_db: float, count: int, seed: int
) -> tuple[list[float], list[int], Samples]:
    """A stream of short frames in noise: their carrier offsets in Hz, their starts, the samples.

    Frame i has the number i and 448 channel uses; offsets are uniform in +-10 kHz.
    """
    n = phydnn.numerology("wide")
    transmitter, rng = kernels.transmitter(n), np.random.default_rng(seed)
    offsets, starts = rng.uniform(-CFO_HZ, CFO_HZ, count).tolist(), []
    pieces: list[Samples] = []
    position = 0
    for number, offset in enumerate(offsets):
        gap = int(rng.integers(500, 1500))
        header = kernels.frame_header(n.used, number)
        frame = transmitter.frame(header, psk(n.used, rng))
        pieces += [np.zeros(gap, np.complex64), rotate(frame, offset)]
        starts.append(position + gap)
        position += gap + len(frame)
    pieces.append(np.zeros(4096, np.complex64))
    x = np.concatenate(pieces)
    x += Noise(link=1, seed=seed)(len(x), es_n0_db)
    return offsets, starts, x


def carrier_offset(frames: int, track: Track) -> Report:
    """RMS error of the carrier offset over the square root of the Cramer-Rao bound.

    The bound is that of a known tone over the whole preamble, prefix included:
    var(w) >= 6 / (SNR L (L^2 - 1)), with L samples and SNR the power of a sample over N0, here
    Es/N0 times used subcarriers over FFT size. No estimator that has to cope with an unknown
    channel reaches it.
    """
    n = phydnn.numerology("wide")
    length = n.preamble_samples
    es_n0_db = [0, 5, 10, 15, 20, 25, 30]
    errors, bounds = [], []
    for index, snr in enumerate(track(es_n0_db, "carrier offset")):
        squared = []
        for part in range(-(-frames // 200)):
            seed = 100 * index + part + 3000
            offsets, _, x = frames_in_noise(snr, 200, seed)
            for frame in kernels.synchronizer(n).process(x):
                if frame.reason == "":
                    true = 2 * math.pi * offsets[frame.header.frame_number] / RATE
                    squared.append((frame.cfo - true) ** 2)
        ratio = 10 ** (snr / 10) * n.used / n.fft_size
        to_hz = RATE / (2 * math.pi)
        errors.append(math.sqrt(np.mean(squared)) * to_hz)
        bounds.append(math.sqrt(6 / (ratio * length * (length**2 - 1))) * to_hz)
    report = Report(curves={"cfo": {"es_n0_db": es_n0_db, "rms_hz": errors, "bound_hz": bounds}})
    for snr in (10, 15, 20, 30):
        at = es_n0_db.index(snr)
        report.figures.append(
            Figure(
                f"cfo_rms_over_crb_{snr}db",
                errors[at] / bounds[at],
                "",
                1.2,
                True,
                note=f"{-(-frames // 200) * 200} frames, tone bound over {length} samples",
            )
        )
    return report


def header_loss(frames: int, track: Track) -> Report:
    """Share of frames at 0 dB that are not delivered whole with the right header and place."""
    n = phydnn.numerology("wide")
    per_run, arrived = 500, 0
    runs = -(-frames // per_run)
    for run in track(range(runs), "header"):
        _, starts, x = frames_in_noise(0, per_run, 5000 + run)
        for frame in kernels.synchronizer(n).process(x):
            header = frame.header
            if frame.reason == "" and header.frame_number < per_run and header.uses == n.used:
                start = starts[header.frame_number]
                arrived += abs(frame.sample_index - start) <= n.cp_length
    lost = runs * per_run - arrived
    return Report(
        [
            Figure(
                "header_loss_0db",
                lost / (runs * per_run),
                "",
                1e-3,
                True,
                interval=wilson_interval(lost, runs * per_run),
                note=f"{lost} of {runs * per_run} frames, CFO within 10 kHz",
            )
        ]
    )


class chopped_source(gr.sync_block):
    """Puts out samples in pieces of random length."""

    def __init__(self, samples: Samples, seed: int) -> None:
        """Args:
        samples: complex64 [n], put out once.
        seed: of the lengths.
        """
        gr.sync_block.__init__(self, "chopped_source", None, [np.complex64])
        self._samples = samples
        self._rng = np.random.default_rng(seed)
        self._done = 0

    def work(self, input_items: list[Samples], output_items: list[Samples]) -> int:
        left = len(self._samples) - self._done
        if left == 0:
            return -1
        out = output_items[0]
        longest = min(left, len(out))
        # Lengths of all magnitudes, single samples too.
        count = min(longest, int(longest ** self._rng.random()) + 1)
        out[:count] = self._samples[self._done : self._done + count]
        self._done += count
        return count


def received_through_blocks(samples: Samples, seed: int) -> list[str]:
    """Digests of the PDUs of a whole receiver whose input is cut at random."""
    graph = gr.top_block()
    rng = np.random.default_rng(seed)
    source = chopped_source(samples, seed)
    source.set_max_noutput_items(int(rng.integers(1, 8192)))
    synchronizer, estimator = phydnn.frame_synchronizer(), phydnn.csi_estimator()
    equalizer, sink = phydnn.equalizer(), blocks.message_debug()
    graph.connect(source, synchronizer)
    graph.msg_connect(synchronizer, "grid", estimator, "grid")
    graph.msg_connect(estimator, "grid", equalizer, "grid")
    graph.msg_connect(equalizer, "symbols", sink, "store")
    graph.run()
    pdus = [sink.get_message(i) for i in range(sink.num_messages())]
    return [hashlib.sha256(pmt.serialize_str(pdu)).hexdigest() for pdu in pdus]


def determinism(runs: int, track: Track) -> Report:
    """Share of runs whose PDUs equal those of the first, bit for bit, cut at random each time."""
    _, _, x = frames_in_noise(3, 25, 7000)
    digests = [received_through_blocks(x, seed) for seed in track(range(runs), "determinism")]
    same = sum(d == digests[0] and len(d) >= 25 for d in digests)
    note = f"{len(digests[0])} PDUs, input cut in {runs} ways"
    return Report([Figure("determinism", same / runs, "", 1.0, note=note)])
