# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The sounder against channels made by Fourier series, which owe nothing to it or the emulator."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

from phydnn import scenario, sounder
from phydnn.errors import InputError, RunError
from phydnn.ports import free_ports
from phydnn.sounder import LENGTH, estimate, exchange, samples_needed, sequence

RATE = 20e6
LIMIT = 60.0  # seconds that anything may take


def sounded(
    delays_ns: Sequence[float],
    gains: Sequence[complex],
    snr_db: float = 30.0,
    cfo_hz: float = 0.0,
    sfo_ppm: float = 0.0,
    seed: int = 1,
    periods: int = 64,
) -> NDArray[np.complex64]:
    """What a receiver gets of the repeated sequence: exact, for periodic signals are their series.

    Its sample n is taken at time n (1 + ppm 1e-6), and turned by the carrier offset.
    """
    total = samples_needed(LENGTH, periods)
    cycles = np.fft.fftfreq(LENGTH)
    response = sum(
        gain * np.exp(-2e-9j * np.pi * cycles * RATE * delay)
        for delay, gain in zip(delays_ns, gains, strict=True)
    )
    series = np.fft.fft(sequence()) * response / LENGTH
    n = np.arange(total)
    if sfo_ppm:
        clean = np.zeros(total, complex)
        for frequency, part in zip(cycles, series, strict=True):
            clean += part * np.exp(2j * np.pi * frequency * (1 + sfo_ppm * 1e-6) * n)
    else:
        clean = np.resize(np.fft.ifft(series) * LENGTH, total)
    clean *= np.exp(2j * np.pi * cfo_hz / RATE * n)
    rng = np.random.default_rng(seed)
    n0 = np.mean(np.abs(clean) ** 2) * 10 ** (-snr_db / 10)
    noise = rng.normal(scale=np.sqrt(n0 / 2), size=(2, total))
    return (clean + noise[0] + 1j * noise[1]).astype(np.complex64)


def test_sequence() -> None:
    period = sequence()
    assert period.dtype == np.complex64
    np.testing.assert_allclose(np.abs(period), 1, rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.fft.fft(period)), np.sqrt(LENGTH), rtol=1e-5)
    for length in (63, 62, 65538):
        with pytest.raises(InputError, match="must be even"):
            sequence(length)


@pytest.mark.parametrize("link", [(1, 5), (4, 5)])
def test_sounding_scenario_at_30_db(link: tuple[int, int]) -> None:
    """Scenario 90001's hardest links: 40 dB between two taps; four taps. Aim: 1 ns and 0.1 dB."""
    table = scenario.load("colosseum_90001")
    i, j = link[0] - 1, link[1] - 1
    used = table.gains[0, i, j] != 0
    delays, gains = table.delays_ns[0, i, j][used], table.gains[0, i, j][used]
    found = estimate(sounded(delays.tolist(), gains.tolist()), RATE)
    assert len(found.delays_ns) == len(delays)
    np.testing.assert_allclose(found.delays_ns, delays, atol=1)
    ratio = found.gains / gains
    assert np.abs(20 * np.log10(np.abs(ratio))).max() < 0.1
    assert np.abs(np.rad2deg(np.angle(ratio))).max() < 2
    assert found.snr_db == pytest.approx(30, abs=0.5)
    assert found.residual_db < -40


def test_offsets_are_found_and_taken_out() -> None:
    """Delays and phases are as at sample 0, though clocks part by 7 ns meanwhile."""
    received = sounded([165.0, 395.0], [1, 0.5j], cfo_hz=-4321.0, sfo_ppm=2.0)
    found = estimate(received, RATE)
    assert found.cfo_hz == pytest.approx(-4321, abs=0.5)
    assert found.sfo_ppm == pytest.approx(2, abs=0.02)
    np.testing.assert_allclose(found.delays_ns, [165, 395], atol=1)
    np.testing.assert_allclose(found.gains, [1, 0.5j], atol=0.01)


def test_taps_that_cancel_are_not_made_up() -> None:
    """1 ns apart, of opposite sign: what is found is as weak as the response, and fits it."""
    found = estimate(sounded([0, 1], [1, -1]), RATE)
    assert np.abs(found.gains).max() < 2 * np.abs(found.response).max()
    alike = estimate(sounded([0, 1], [0.5, 0.5]), RATE)
    np.testing.assert_allclose(alike.delays_ns, [0.5], atol=0.1)
    np.testing.assert_allclose(np.abs(alike.gains), [1], atol=0.01)


def test_amplitude_and_noise() -> None:
    """Sent at -20 dBFS, received at half: the gain is a half, and N0 in the receiver's units."""
    received = sounded([1000.0], [0.05], snr_db=10)
    found = estimate(received, RATE, amplitude=0.1)
    assert abs(found.gains[0]) == pytest.approx(0.5, rel=0.01)
    assert found.noise == pytest.approx(0.05**2 / 10, rel=0.05)
    assert found.snr_db == pytest.approx(10, abs=0.3)


def test_nothing_received() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(2, samples_needed()))
    with pytest.raises(RunError, match="does not stand out of the noise"):
        estimate((noise[0] + 1j * noise[1]).astype(np.complex64), RATE)
    with pytest.raises(RunError, match="nothing but zeros"):
        estimate(np.zeros(samples_needed(), np.complex64), RATE)
    with pytest.raises(RunError, match="not finite"):
        estimate(np.full(samples_needed(), np.nan, np.complex64), RATE)
    with pytest.raises(InputError, match="less than four periods"):
        estimate(np.ones(3 * LENGTH, np.complex64), RATE)
    for periods in (1, 1 << 20):
        with pytest.raises(InputError, match="the periods must be 2 to"):
            samples_needed(LENGTH, periods)


@contextmanager
def peer(transmits: str, receives: str, bad: bytes = b"") -> Iterator[None]:
    """A wire of ten lines that speaks the protocol; or one that answers with something else."""
    ended = threading.Event()

    def run() -> None:
        context = zmq.Context()
        ask, answer = context.socket(zmq.REQ), context.socket(zmq.REP)
        ask.rcvtimeo = answer.rcvtimeo = 100
        ask.connect(transmits)
        answer.bind(receives)
        asked = False
        while not ended.is_set():
            with suppress(zmq.Again):
                if not asked:
                    answer.recv()
                    ask.send(b"\xff")
                    asked = True
                samples = ask.recv()[: 8 * 5000]
                answer.send(bad or samples)
                asked = False
        context.destroy(linger=0)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_exchange() -> None:
    """Replies of any length; what came first is sample 0."""
    transmits, receives = free_ports(2)
    with peer(transmits, receives):
        received = exchange(transmits, receives, 20000, amplitude=0.5, timeout_s=LIMIT)
    kept = np.resize(sequence() * np.float32(0.5), sounder.REPLY)[:5000]
    np.testing.assert_array_equal(received[:5000], kept)
    assert len(received) == 20000


def test_exchange_fails_in_one_sentence() -> None:
    transmits, receives = free_ports(2)
    with pytest.raises(RunError, match=r"sent no samples for 0\.3 s.*was not asked"):
        exchange(transmits, receives, 100, timeout_s=0.3)
    with (
        peer(transmits, receives, bad=b"garbage"),
        pytest.raises(RunError, match="sent 7 bytes, which is no complex64"),
    ):
        exchange(transmits, receives, 100, timeout_s=LIMIT)
    with pytest.raises(InputError, match="nowhere cannot be used"):
        exchange("nowhere", receives, 100)
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, pytest.raises(InputError, match="cannot be used: Address already in use"):
        exchange(f"tcp://127.0.0.1:{taken.getsockname()[1]}", receives, 100)
