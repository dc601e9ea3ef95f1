# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Images per second through everything in one process, and what the CSI denoisers keep up with."""

from __future__ import annotations

import time

import numpy as np
import pmt

from gnuradio import blocks, gr
from gnuradio.phydnn import csi_denoiser, pdus, to_vector
from gnuradio.phydnn.bench import Figure, Report, Track
from gnuradio.phydnn.link import run_link
from phydnn import csi
from phydnn.bundle import Bundle, find, open_session
from phydnn.datasets import Images
from phydnn.errors import InputError, RunError
from phydnn.waveform import frame_samples

BUNDLES = ("phydnn-resnet20-cifar10-1024x16", "phydnn-resnet20-digits")
BATCH = 64
DENOISERS = "csi-adnet"


def measure(quick: bool, track: Track) -> Report:
    """Throughput of the shipped bundles; an installation may leave out the large one.

    The figures of the first bundle carry the plain names, those of the second its data set's.
    Link and graphs take turns in the same process, and the median of each counts. The images are
    random pixels: no time depends on what they show.

    Raises:
        InputError: neither bundle is there, or one is damaged.
    """
    bundles = [Bundle.load(name) for name in BUNDLES if is_there(name)]
    if not bundles:
        raise InputError(f"bench link needs a bundle: there is no {' and no '.join(BUNDLES)}")
    report = Report()
    for bundle in bundles:
        ending = "" if bundle is bundles[0] else f"_{bundle.meta['dataset']['name']}"
        # As long for small images as for large ones.
        count = BATCH * max(1, round((20_000 if quick else 100_000) / BATCH / bundle.uses**0.5))
        turns = [
            (graphs_alone(bundle, count), whole_link(bundle, count))
            for _ in track(range(3 if quick else 7), f"link, {bundle.name}")
        ]
        alone, linked = np.median(turns, axis=0).tolist()
        note = f"{bundle.name}, batch {BATCH}, {len(turns)} times {count} images, AWGN 12 dB"
        report.figures += [
            Figure(f"link_images_per_s{ending}", linked, "images/s", note=note),
            Figure(f"onnx_images_per_s{ending}", alone, "images/s", note="all cores, no radio"),
            Figure(f"link_over_onnx{ending}", linked / alone, "", 0.6, note="their ratio"),
        ]
        report.curves[f"link{ending}"] = {
            "head and tail alone": alone,
            "with the radio": linked,
        }
    if is_there(DENOISERS):
        for name, network, uses, bar in (
            ("denoiser", "wiener", 65536, 5.0),
            ("denoiser_short_frames", "wiener", 1024, None),
            ("denoiser_adnet", "adnet", 65536, None),
        ):
            found = [
                denoised(network, uses, 10 if quick else 40)
                for _ in track(range(3), f"denoiser, {network}")
            ]
            note = f"{network}, frames of {uses} uses, processor time, one thread"
            rate = float(np.median(found)) / 1e6
            report.figures.append(Figure(f"{name}_msps_per_core", rate, "MS/s", bar, note=note))
    return report


def denoised(network: str, uses: int, count: int) -> float:
    """Received samples for each second of processor time that the block csi_denoiser takes.

    Raises:
        RunError: it refined fewer frames than it was given.
    """
    paths = csi.Paths.of(csi.tdl("tdl-c", 1e-7))
    frames = csi.simulate([paths], np.array([8.0]), uses, np.random.default_rng(1))
    metadata = pdus.put(
        pmt.make_dict(),
        uses=uses,
        csi=to_vector(frames.ls[0]),
        csi_n0=float(frames.n0_estimate[0]),
        snr_db=8.0,
    )
    message = pmt.cons(metadata, to_vector(np.zeros(uses, np.complex64)))
    block, top = csi_denoiser(DENOISERS, network=network), gr.top_block()
    top.msg_connect((block, "csi"), (blocks.message_debug(), "store"))
    top.start()
    port, post = pmt.intern("grid"), block.to_basic_block()._post
    try:
        post(port, message)  # warms up
        _until(block, 1)
        started = time.process_time()
        for _ in range(count):
            post(port, message)
        _until(block, count + 1)
        seconds = time.process_time() - started
    finally:
        top.stop()
        top.wait()
    return count * frame_samples(uses) / seconds


def _until(block: csi_denoiser, frames: int) -> None:
    deadline = time.monotonic() + 60
    while block.frames() < frames:
        if time.monotonic() > deadline or block.dropped():
            raise RunError("the denoiser refined fewer frames than it was given")
        time.sleep(1e-3)


def is_there(name: str) -> bool:
    try:
        find(name)
    except InputError:
        return False
    return True


def images_for(bundle: Bundle, count: int) -> Images:
    """Random pixels without labels, uint8 [count, C, H, W]."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, *bundle.input_shape), dtype=np.uint8)
    return Images(pixels, None, bundle.classes, "random pixels")


def whole_link(bundle: Bundle, count: int) -> float:
    """Images per second of head, modem, channel and tail, from the first image to the last class.

    Raises:
        RunError: a frame was lost.
    """
    result = run_link(bundle, images_for(bundle, count), batch=BATCH, snr_db=12.0)
    if result.record["frames_lost"]:
        raise RunError("the link lost frames at 12 dB: its rate means nothing")
    return count / result.seconds


def graphs_alone(bundle: Bundle, count: int) -> float:
    """Images per second of head and tail, one after the other, ONNX Runtime using all cores."""
    head, tail = open_session(bundle.head_path), open_session(bundle.tail_path)
    images = images_for(bundle, count).x
    feed, latent = head.get_inputs()[0].name, tail.get_inputs()[0].name
    tail.run(None, {latent: head.run(None, {feed: images[:BATCH]})[0]})  # warms up
    started = time.monotonic()
    for first in range(0, count, BATCH):
        slices = head.run(None, {feed: images[first : first + BATCH]})[0]
        tail.run(None, {latent: slices})
    return count / (time.monotonic() - started)
