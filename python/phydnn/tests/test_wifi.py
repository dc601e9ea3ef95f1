# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The airtime of 802.11a with TCP, against arithmetic done by hand from the standard's tables."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phydnn.errors import InputError
from phydnn.wifi import RATES, Wifi, data_symbols, pad_bits, ppdu_us

PAYLOADS = st.integers(1, 10**7)
SOME_RATES = st.sampled_from(RATES)


@pytest.mark.parametrize(
    ("psdu", "rate", "micros"),
    [
        (1536, 54, 248),  # 1,500 bytes of IP: 16 + 12288 + 6 bits in 57 symbols of 216
        (1536, 48, 280),  # 65 symbols of 192, the last one with 170 pad bits
        (1536, 24, 536),  # 129 symbols of 96
        (1536, 6, 2072),  # 513 symbols of 24
        (14, 24, 28),  # ACK frames: 134 bits in 2 symbols of 96,
        (14, 12, 32),  # 3 of 48,
        (14, 6, 44),  # 6 of 24
        (100, 36, 44),  # 822 bits in 6 symbols of 144
        (1, 54, 24),
        (4095, 6, 5484),  # 32,782 bits in 1,366 symbols of 24
    ],
)
def test_ppdu_durations(psdu: int, rate: int, micros: int) -> None:
    assert ppdu_us(psdu, rate) == micros


@given(st.integers(1, 4095), SOME_RATES)
def test_symbols_hold_the_bits_and_not_one_symbol_more(psdu: int, rate: int) -> None:
    assert 0 <= pad_bits(psdu, rate) < 4 * rate
    assert 16 + 8 * psdu + 6 + pad_bits(psdu, rate) == 4 * rate * data_symbols(psdu, rate)


@pytest.mark.parametrize(
    ("rate", "control", "ack_us"),
    [(6, 6, 44), (9, 6, 44), (18, 12, 32), (36, 24, 28), (54, 24, 28)],
)
def test_acks_go_at_the_highest_basic_rate_not_above(rate: int, control: int, ack_us: int) -> None:
    link = Wifi(rate)
    assert link.control_rate == control
    assert link.transfer(1).seconds_by_part["mac_acks"] == pytest.approx(ack_us * 1e-6)
    assert Wifi(rate, basic_rates=(6,)).control_rate == 6


def test_one_full_segment_by_hand() -> None:
    sent = Wifi(54, tcp_options=0).transfer(1460)
    # DIFS 34, 7.5 slots of 9, PPDU 248, SIFS 16, ACK frame 28; TCP's ACK has 76 bytes, 630 bits in
    # 3 symbols, and so a PPDU of 32 in place of the 248.
    assert sent.seconds == pytest.approx((393.5 + 177.5) * 1e-6, rel=1e-12)
    assert sent.seconds_by_part["tcp_acks"] == pytest.approx(177.5e-6)
    assert sent.seconds_by_part["payload"] == pytest.approx(1460 * 8 / 54e6)
    assert sent.bytes_by_part == {
        "payload": 1460,
        "tcp": 20,
        "ip": 20,
        "llc": 8,
        "mac": 24,
        "fcs": 4,
        "mac_acks": 14,
        "tcp_acks": 90,
        "retries": 0,
    }
    assert sent.bytes_on_air == 1640
    assert sent.frames == {"data": 1, "tcp_acks": 1, "handshake": 0, "mac_acks": 2, "retries": 0}


def test_saturation_throughput_of_tcp_with_and_without_delayed_acks() -> None:
    # Two segments of 1,460 bytes take 2 x 393.5 us and one TCP ACK of 177.5 us, or two of them.
    delayed = Wifi(54, tcp_options=0).transfer(2 * 1460 * 1000)
    prompt = Wifi(54, tcp_options=0, segments_per_ack=1).transfer(2 * 1460 * 1000)
    assert delayed.throughput == pytest.approx(2 * 1460 * 8 / 964.5e-6)
    assert prompt.throughput == pytest.approx(2 * 1460 * 8 / 1142e-6)


def test_saturation_throughput_of_the_mac_alone() -> None:
    # Without TCP's answers: 1,500 bytes each 393.5 us at 54 Mb/s, and 34 + 67.5 + 2072 + 16 + 44
    # us at 6 Mb/s: 30.5 and 5.37 Mb/s above LLC.
    for rate, cycle_us in ((54, 393.5), (6, 2233.5)):
        parts = Wifi(rate, tcp_options=0).transfer(1460).seconds_by_part
        assert 1e6 * (math.fsum(parts.values()) - parts["tcp_acks"]) == pytest.approx(cycle_us)


def test_a_short_last_segment_and_the_ack_that_is_left_over() -> None:
    sent = Wifi(24).transfer(2 * 1448 + 100)
    assert (sent.frames["data"], sent.frames["tcp_acks"]) == (3, 2)
    assert sent.bytes_by_part["payload"] == 2996
    # Twice 1,536 bytes at 24 Mb/s, and 188 bytes: 1,526 bits in 16 symbols. Two TCP ACKs of 88
    # bytes: 726 bits in 8 symbols.
    around = 34 + 67.5 + 16 + 28
    expected = 2 * 536 + 84 + 2 * 52 + 5 * around
    assert 1e6 * sent.seconds == pytest.approx(expected)


def test_the_handshake() -> None:
    without, sent = Wifi(54).transfer(1000), Wifi(54, handshake=True).transfer(1000)
    # SYN and SYN-ACK of 96 bytes (790 bits: 4 symbols), ACK of 88 (726 bits: 4 symbols).
    assert 1e6 * (sent.seconds - without.seconds) == pytest.approx(3 * (145.5 + 36))
    assert sent.bytes_by_part["handshake"] == 2 * 96 + 88 + 3 * 14
    assert sent.frames["mac_acks"] == without.frames["mac_acks"] + 3


def test_one_repetition_at_most_by_hand() -> None:
    link = Wifi(54, tcp_options=0, packet_error_rate=0.5, attempts=2)
    sent = link.transfer(1460)
    # First attempt 34 + 67.5 + 248; the second's mean backoff is 15.5 slots. Each fails half of
    # the time and then ends with 45 us; 3/4 of all MSDUs arrive and take 16 + 28 more.
    once = (34 + 67.5 + 248 + 22.5) + 0.5 * (34 + 139.5 + 248 + 22.5) + 0.75 * 44
    ack = (34 + 67.5 + 32 + 22.5) + 0.5 * (34 + 139.5 + 32 + 22.5) + 0.75 * 44
    assert 1e6 * sent.seconds == pytest.approx(once / 0.75 + ack)
    # Data: 1 / (1 - p) = 2 frames until one arrives. TCP's ACK: 1.5 frames, arrived or not.
    assert sent.frames["retries"] == pytest.approx(1 + 0.5)
    assert sent.bytes_by_part["retries"] == pytest.approx(1536 + 0.5 * 76 - 0.25 * 14)


def test_the_window_stops_growing() -> None:
    p = 0.9
    spread = [Wifi(54, packet_error_rate=p, attempts=n).transfer(1).seconds for n in (7, 8, 9)]
    frame, ack = ppdu_us(89, 54), ppdu_us(88, 54)

    def service(bytes_us: int, attempts: int, repeats: bool) -> float:
        windows = [15, 31, 63, 127, 255, 511, 1023, 1023, 1023][:attempts]
        time = sum(p**i * (34 + 4.5 * w + bytes_us + p * 45) for i, w in enumerate(windows))
        arrives = 1 - p**attempts
        return (time + arrives * 44) / (arrives if repeats else 1)

    for attempts, seconds in zip((7, 8, 9), spread, strict=True):
        expected = service(frame, attempts, True) + service(ack, attempts, False)
        assert 1e6 * seconds == pytest.approx(expected)


def test_error_rates_by_length() -> None:
    """A bit error rate, as a table against Es/N0 would give it."""
    link = Wifi(54, packet_error_rate=lambda mpdu: 1 - (1 - 1e-5) ** (8 * mpdu))
    one = Wifi(54, packet_error_rate=1 - (1 - 1e-5) ** (8 * 1536))
    assert link.transfer(1448).seconds < one.transfer(1448).seconds
    assert link.transfer(1448).frames["retries"] == pytest.approx(
        sum(1 / (1 - 1e-5) ** (8 * mpdu) - 1 for mpdu in (1536, 88)), rel=1e-6
    )


@given(PAYLOADS, SOME_RATES, st.booleans(), st.sampled_from([0.0, 0.01, 0.3]), st.integers(1, 4))
def test_parts_make_the_whole(
    payload: int, rate: int, handshake: bool, errors: float, per_ack: int
) -> None:
    link = Wifi(rate, handshake=handshake, packet_error_rate=errors, segments_per_ack=per_ack)
    sent = link.transfer(payload)
    assert sent.frames["data"] == math.ceil(payload / 1448)
    assert sent.frames["tcp_acks"] == math.ceil(sent.frames["data"] / per_ack)
    assert sent.bytes_by_part["payload"] == payload
    data_field = ("payload", "tcp", "ip", "llc", "mac", "fcs", "service_tail", "pad")
    symbols = sum(sent.seconds_by_part[part] for part in data_field) / 4e-6
    assert symbols == pytest.approx(round(symbols), rel=1e-9)
    assert all(seconds >= 0 for seconds in sent.seconds_by_part.values())
    assert sent.throughput < rate * 1e6


@given(PAYLOADS, st.integers(1, 5000), SOME_RATES)
def test_more_payload_takes_longer(payload: int, more: int, rate: int) -> None:
    link = Wifi(rate)
    assert link.transfer(payload + more).seconds >= link.transfer(payload).seconds * (1 - 1e-12)
    assert link.transfer(payload + more).bytes_on_air > link.transfer(payload).bytes_on_air


@given(PAYLOADS, st.integers(0, len(RATES) - 2))
def test_a_faster_rate_takes_no_longer(payload: int, index: int) -> None:
    slow, fast = (Wifi(rate).transfer(payload).seconds for rate in RATES[index : index + 2])
    assert fast <= slow * (1 + 1e-12)


@settings(max_examples=50)
@given(PAYLOADS, st.floats(0, 0.95), st.floats(0.001, 0.04))
def test_more_errors_take_longer(payload: int, errors: float, more: float) -> None:
    low, high = (Wifi(packet_error_rate=rate).transfer(payload) for rate in (errors, errors + more))
    assert high.seconds > low.seconds
    assert high.frames["retries"] > low.frames["retries"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 11}, "no rate of 11 Mb/s"),
        ({"rate": 54.5}, "no rate of 54.5 Mb/s"),
        ({"basic_rates": (6, 7)}, "no rate of 7 Mb/s"),
        ({"basic_rates": ()}, "no basic rate is at most 54"),
        ({"rate": 9, "basic_rates": (12, 24)}, "no basic rate is at most 9"),
        ({"mtu": 60}, "mtu must be a whole number, 61 to 2296: got 60"),
        ({"mtu": 2297}, "mtu must be"),
        ({"mtu": 1500.0}, "mtu must be"),
        ({"tcp_options": 10}, "tcp_options must be a multiple of 4 from 0 to 40: got 10"),
        ({"syn_options": 44}, "syn_options must be"),
        ({"segments_per_ack": 0}, "segments_per_ack must be"),
        ({"attempts": 0}, "attempts must be"),
        ({"packet_error_rate": 1.0}, "packet_error_rate must be from 0 to below 1: got 1"),
        ({"packet_error_rate": -0.1}, "packet_error_rate must be"),
        ({"packet_error_rate": math.nan}, "packet_error_rate must be"),
    ],
)
def test_links_that_are_none(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Wifi(**changes)


@pytest.mark.parametrize("payload", [0, -1, 2**40 + 1, 10.5, math.nan])
def test_payloads_that_are_none(payload: Any) -> None:
    with pytest.raises(InputError, match="payload must be 1 to"):
        Wifi().transfer(payload)


def test_error_rates_are_checked_where_they_are_used() -> None:
    with pytest.raises(InputError, match="packet_error_rate"):
        Wifi(packet_error_rate=lambda mpdu: 1.0).transfer(1)


@pytest.mark.parametrize("psdu", [0, -1, 4096])
def test_psdus_that_are_none(psdu: int) -> None:
    with pytest.raises(InputError, match="1 to 4095 bytes"):
        ppdu_us(psdu, 6)


def test_rates_that_are_none() -> None:
    with pytest.raises(InputError, match="no rate of 5 Mb/s"):
        pad_bits(14, 5)
