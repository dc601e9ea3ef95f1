# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The channel sounder: what taps a link has.

A Zadoff-Chu sequence, whose spectrum is flat, is sent over and over. What comes back is corrected
for carrier and sample clock offsets, averaged over its periods, and divided by the sequence's
spectrum, which leaves the link's frequency response. The response of taps is a sum of complex
exponentials over frequency: ESPRIT (R. Roy, T. Kailath, "ESPRIT: Estimation of Signal Parameters
via Rotational Invariance Techniques", IEEE Trans. ASSP 37 (7), 1989) finds their delays much finer
than a sample, non-linear least squares polishes them, and the Bayesian information criterion tells
how many there are.

Sample count is the only clock: delays are from the sample sent to the sample received of the same
number, less whole periods. The link must hold still while it is sounded.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phydnn.errors import InputError, RunError

ComplexArray = NDArray[np.complex128]
FloatArray = NDArray[np.float64]

LENGTH = 1024
PERIODS = 256
MAX_SAMPLES = 1 << 26
MAX_TAPS = 8
BAND = 0.8
"""Part of the band that is used: interpolators and converters bend the rest."""
FLOOR_DB = -57.0
"""Of errors beside noise, relative to the response: the emulator's interpolation has these."""
MAX_GAIN = 2.0
"""Largest gain over the largest response: taps that cancel over all of the band are no finding."""
RESOLUTION = 0.25
"""Samples: taps closer than this cannot be told apart without an SNR far beyond what links have."""
SETTLING = 2
"""Periods at the start that are left out: the delay line fills."""
REPLY = 1 << 14
MAX_REPLY = 1 << 24


@dataclass(frozen=True)
class Sounding:
    """A link as measured. L taps, in order of their delays; B frequencies.

    Attributes:
        delays_ns: float64 [L].
        gains: complex128 [L], amplitude of a sample received over that of the sample sent.
        noise: N0, the total variance of the noise of a received sample, 1 at 0 dBFS.
        cfo_hz: the receiver's carrier frequency offset, within half a sample rate over the length.
        sfo_ppm: the receiver's sample clock offset, parts per million.
        residual_db: what the taps leave of the response, over all of it.
        frequencies_hz: float64 [B], of the response.
        response: complex128 [B], as measured.
        snr_db: power received over ``noise``.
    """

    delays_ns: FloatArray
    gains: ComplexArray
    noise: float
    cfo_hz: float
    sfo_ppm: float
    residual_db: float
    frequencies_hz: FloatArray
    response: ComplexArray
    snr_db: float


def sequence(length: int = LENGTH) -> NDArray[np.complex64]:
    """A period: complex64 [length], a Zadoff-Chu sequence of magnitude 1 and even length.

    Raises:
        InputError: the length is odd or out of range.
    """
    if not 64 <= length <= 1 << 16 or length % 2:
        raise InputError(f"the sequence's length must be even, 64 to 65536, not {length}")
    n = np.arange(length, dtype=np.int64)
    # n^2 modulo 2 length: the phase stays exact
    return np.exp(-1j * np.pi * (n * n % (2 * length)) / length).astype(np.complex64)


def samples_needed(length: int = LENGTH, periods: int = PERIODS) -> int:
    """Samples to send and to receive for an estimate.

    Raises:
        InputError: the number of periods is out of range.
    """
    total = length * (periods + SETTLING)
    if periods < 2 or total > MAX_SAMPLES:
        most = MAX_SAMPLES // length - SETTLING
        raise InputError(f"the periods must be 2 to {most} at this length, not {periods}")
    return total


def estimate(
    received: NDArray[np.complex64],
    sample_rate: float,
    length: int = LENGTH,
    amplitude: float = 1.0,
    max_taps: int = MAX_TAPS,
) -> Sounding:
    """The link's taps from what was received while :func:`sequence` was sent.

    Args:
        received: complex64 [n], from sample 0 on; of its whole periods the first two are left out.
        sample_rate: samples per second.
        length: of the sequence.
        amplitude: that it was sent with.
        max_taps: most taps to find.

    Raises:
        InputError: there are less than four periods.
        RunError: nothing of the sequence was received, or samples are not finite.
    """
    periods = len(received) // length - SETTLING
    if periods < 2:
        raise InputError(f"{len(received)} samples are less than four periods of {length}")
    samples = received[SETTLING * length : (SETTLING + periods) * length].astype(np.complex128)
    if not np.isfinite(samples).all():
        raise RunError("samples were received that are not finite numbers")
    if not samples.any():
        raise RunError("nothing but zeros was received")
    samples, turns = _without_offset(samples, length)

    half = int(BAND * length / 2)
    bins = np.arange(-half, half + 1)
    spectrum = np.fft.fft(sequence(length).astype(np.complex128))[bins] * amplitude
    each = np.fft.fft(samples.reshape(periods, length), axis=1)[:, bins] / spectrum
    each, more_turns, drift = _without_drift(each, bins / length)
    response = each.mean(axis=0)
    # White noise of variance N0 has N0 length in each bin of a transform.
    spread = np.abs(each - response) ** 2 * np.abs(spectrum) ** 2
    noise = float(spread.sum() / (periods - 1) / len(bins) / length)
    variance = noise / amplitude**2 / periods  # of the response: |spectrum|^2 = amplitude^2 length
    power = float(np.mean(np.abs(response) ** 2))
    if power < 4 * variance:
        raise RunError("the sequence does not stand out of the noise")
    floor = max(variance, power * 10 ** (FLOOR_DB / 10))
    delays, gains, left = _fit(response, bins, length, max_taps, floor)
    return Sounding(
        delays_ns=delays * 1e9 / sample_rate,
        gains=gains,
        noise=noise,
        cfo_hz=(turns + more_turns) / length * sample_rate,
        sfo_ppm=drift / length * 1e6,
        residual_db=float(10 * np.log10(max(left / power, 1e-30))),
        frequencies_hz=bins / length * sample_rate,
        response=response,
        snr_db=float(10 * np.log10(power * amplitude**2 / max(noise, 1e-30))),
    )


def _without_offset(samples: ComplexArray, length: int) -> tuple[ComplexArray, float]:
    """Samples turned back by the carrier offset since sample 0, and its turns a period."""
    turns = float(np.angle(np.vdot(samples[:-length], samples[length:]))) / (2 * np.pi)
    n = np.arange(SETTLING * length, SETTLING * length + len(samples))
    return samples * np.exp(-2j * np.pi * turns / length * n), turns


def _without_drift(
    each: ComplexArray, frequencies: FloatArray
) -> tuple[ComplexArray, float, float]:
    """Responses [K,B] turned back to sample 0: what is left of the carrier offset, and the clock's.

    Over a period, the phase grows by a constant and in proportion to the frequency (cycles a
    sample). First from one period to the next, without ambiguity; then over half of them, finely.

    Returns:
        The responses; turns a period; samples a period by which the receiver's clock is ahead.
    """
    periods = len(each)
    ahead = np.arange(periods) + SETTLING + 0.5
    turns = drift = 0.0
    for lag in sorted({1, periods // 2}):
        products = np.sum(each[lag:] * each[:-lag].conj(), axis=0)
        weights = np.abs(products)
        middle = float(np.angle(products.sum())) / (2 * np.pi)
        rest = np.angle(products * np.exp(-2j * np.pi * middle)) / (2 * np.pi)
        mean = float(weights @ frequencies / weights.sum())
        slope = float(weights @ ((frequencies - mean) * rest))
        slope /= float(weights @ (frequencies - mean) ** 2)
        offset = middle + float(weights @ rest / weights.sum()) - slope * mean
        growth = (offset + slope * frequencies) / lag
        each = each * np.exp(-2j * np.pi * np.outer(ahead, growth))
        turns += offset / lag
        drift += slope / lag
    return each, turns, drift


def _fit(
    response: ComplexArray, bins: NDArray[np.int_], length: int, max_taps: int, floor: float
) -> tuple[FloatArray, ComplexArray, float]:
    """Delays in samples, gains, and the mean squared error of the best number of taps."""
    count = len(bins)
    rows = min(count // 2, 256)  # enough for the noise; the time goes with its cube
    hankel = np.lib.stride_tricks.sliding_window_view(response, count - rows + 1)[:rows]
    vectors = np.linalg.svd(hankel, full_matrices=False)[0]
    best: tuple[float, FloatArray, ComplexArray, float] | None = None
    worse = 0
    for taps in range(1, max_taps + 1):
        space = vectors[:, :taps]
        shift = np.linalg.lstsq(space[:-1], space[1:], rcond=None)[0]
        start = -np.angle(np.linalg.eigvals(shift)) * length / (2 * np.pi)
        delays, gains, left = _polish(response, bins, length, start)
        # Minus twice the logarithm of the likelihood, and 3 real parameters a tap
        cost = 2 * left * count / floor + 3 * taps * np.log(2 * count)
        sound = np.abs(gains).max() <= MAX_GAIN * np.abs(response).max()
        if best is None or (sound and cost < best[0]):
            best, worse = (cost, delays, gains, left), 0
        elif (worse := worse + 1) == 2:
            break
    assert best is not None
    _, delays, gains, left = best
    delays = (delays + length / 4) % length - length / 4  # a little before sample 0 is noise
    order = np.argsort(delays)
    return delays[order], gains[order], left


def _polish(
    response: ComplexArray, bins: NDArray[np.int_], length: int, start: FloatArray
) -> tuple[FloatArray, ComplexArray, float]:
    """Least squares over the delays, with the best gains for each."""
    from scipy.optimize import least_squares

    def solve(delays: FloatArray) -> tuple[ComplexArray, ComplexArray]:
        waves = np.exp(-2j * np.pi / length * np.outer(bins, delays))
        gains = np.linalg.lstsq(waves, response, rcond=1e-9)[0]
        return gains, response - waves @ gains

    def residual(delays: FloatArray) -> FloatArray:
        left = solve(delays)[1]
        return np.concatenate([left.real, left.imag])

    delays = least_squares(residual, start, method="lm", xtol=1e-9, max_nfev=40 * len(start)).x
    gains, left = solve(delays)
    return delays, gains, float(np.mean(np.abs(left) ** 2))


def exchange(
    transmits: str,
    receives: str,
    samples: int,
    *,
    length: int = LENGTH,
    amplitude: float = 1.0,
    timeout_s: float = 10.0,
) -> NDArray[np.complex64]:
    """Sends the sequence over one ZeroMQ endpoint and receives over another: complex64 [samples].

    Both speak srsRAN's protocol: a request of a byte, a reply of headerless complex64 samples.

    Args:
        transmits: endpoint to bind, whose peer asks for samples.
        receives: endpoint to ask for samples.
        samples: to receive.
        length: of the sequence.
        amplitude: to send it with.
        timeout_s: longest time without a sample.

    Raises:
        InputError: an endpoint is wrong or taken.
        RunError: no sample came for so long, or what came is no samples.
    """
    import zmq

    repeated = np.tile(sequence(length) * np.float32(amplitude), -(-REPLY // length) + 1)
    received = np.empty(samples, np.complex64)
    sent = got = 0
    context = zmq.Context()
    try:
        server, client = context.socket(zmq.REP), context.socket(zmq.REQ)
        for socket in (server, client):
            socket.linger = 0
        server.maxmsgsize = 64
        client.maxmsgsize = MAX_REPLY
        for connect, endpoint in ((server.bind, transmits), (client.connect, receives)):
            try:
                connect(endpoint)
            except zmq.ZMQError as error:
                raise InputError(f"the endpoint {endpoint} cannot be used: {error}") from error
        poller = zmq.Poller()
        poller.register(server, zmq.POLLIN)
        poller.register(client, zmq.POLLIN)
        client.send(b"\xff")
        last = time.monotonic()
        while got < samples:
            ready = dict(poller.poll(100))
            if server in ready:
                server.recv()
                start = sent % length
                server.send(repeated[start : start + REPLY].tobytes())
                sent += REPLY
            if client in ready:
                reply = client.recv()
                if len(reply) % 8:
                    raise RunError(f"{receives} sent {len(reply)} bytes, which is no complex64")
                part = np.frombuffer(reply, np.complex64)[: samples - got]
                received[got : got + len(part)] = part
                got += len(part)
                if len(part):
                    last = time.monotonic()
                client.send(b"\xff")
            elif time.monotonic() - last > timeout_s:
                asked = "was not asked for samples" if not sent else "was asked for samples"
                raise RunError(
                    f"{receives} sent no samples for {timeout_s:g} s, and {transmits} {asked}: is "
                    "the emulator running, with all of its nodes there?"
                )
    finally:
        context.destroy(linger=0)
    return received
