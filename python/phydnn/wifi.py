# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""How long a payload over TCP and 802.11a is on the air: a closed-form model, each byte accounted.

One station sends to its neighbour on a 20 MHz channel that both have to themselves. Clauses are
those of IEEE Std 802.11-2020, the OFDM PHY's being clause 17 and the DCF's 10.3.

- A payload is cut into TCP segments (RFC 9293) of ``mtu`` - 40 - ``tcp_options`` bytes. Each gets
  a TCP header of 20 bytes and options, an IPv4 header of 20 (RFC 791), an LLC and SNAP header of 8
  (RFC 1042), a MAC header of 24 (9.3.2.1) and an FCS of 4.
- Each frame waits for DIFS and the mean backoff of a saturated station, is sent, and is answered
  after SIFS by an ACK frame of 14 bytes at the highest basic rate not above its own (10.6.6.5.2).
- The peer answers with a TCP segment without payload for every ``segments_per_ack`` segments (RFC
  1122, 4.2.3.2: at least every second), and one for what is left over. It contends as any other.

Left out, so that ns-3 has something to tell (:mod:`phydnn.ns3`): collisions between data and TCP's
answers, backoffs that run at the same time, waiting for a timer (TCP's retransmission, the delayed
answer), the congestion window, processing, beacons. Time here is time in which the medium is taken
or counted down, and nothing else.

:func:`packet_error_rate` is the error model of NIST, ns-3's default for OFDM: G. Pei, T. Henderson,
"Validation of OFDM error rate model in ns-3", 2010, with the weight spectra of the standard's
punctured code by P. Frenger, P. Orten, T. Ottosson, IEEE Communications Letters 3 (1999).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from phydnn.errors import InputError

RATES = (6, 9, 12, 18, 24, 36, 48, 54)
"""Data rates in Mb/s of 20 MHz channels (Table 17-4). A symbol carries 4 times as many bits."""

SYMBOL_US = 4  # TSYM, Table 17-5
PREAMBLE_US = 16  # TPREAMBLE = TSHORT + TLONG, Table 17-5
SIGNAL_US = 4  # TSIGNAL, Table 17-5
SERVICE_BITS, TAIL_BITS = 16, 6  # 17.3.5.2 and 17.3.5.3
SLOT_US, SIFS_US = 9, 16  # Table 17-21
DIFS_US = SIFS_US + 2 * SLOT_US  # 10.3.2.3.5
CW_MIN, CW_MAX = 15, 1023  # Table 17-21
RX_START_US = 20  # aRxPHYStartDelay, Table 17-21
ACK_TIMEOUT_US = SIFS_US + SLOT_US + RX_START_US  # 10.3.2, acknowledgment procedure
MAC_HEADER, FCS, ACK_FRAME = 24, 4, 14  # 9.3.2.1 and 9.3.1.4: three addresses, no QoS
LLC_SNAP = 8  # RFC 1042
IP_HEADER, TCP_HEADER = 20, 20  # RFC 791 and RFC 9293, without options
MAX_MSDU = 2304  # 9.2.4.7.1
MAX_PSDU = 4095  # 17.3.4.3: LENGTH has 12 bits
MAX_PAYLOAD = 1 << 40

MODULATIONS = {
    6: (1, "1/2"),
    9: (1, "3/4"),
    12: (2, "1/2"),
    18: (2, "3/4"),
    24: (4, "1/2"),
    36: (4, "3/4"),
    48: (6, "2/3"),
    54: (6, "3/4"),
}
"""Of each rate: coded bits a subcarrier, of BPSK, QPSK, 16-QAM or 64-QAM, and the code's rate."""
_SPECTRA = {  # input bits a branch of the trellis, free distance, its step, bit weights from there
    "1/2": (1, 10, 2, (36, 211, 1404, 11633, 77433, 502690, 3322763, 21292910, 134365911)),
    "2/3": (2, 6, 1, (3, 70, 285, 1276, 6160, 27128, 117019, 498860, 2103891, 8784123)),
    "3/4": (3, 5, 1, (42, 201, 1492, 10469, 62935, 379644, 2253373, 13073811, 75152755, 428005675)),
}

ErrorRate = float | Callable[[int], SupportsFloat]


@dataclass(frozen=True)
class Transfer:
    """A payload's way over the air. Seconds and bytes are expected values.

    Attributes:
        payload: bytes that TCP delivers.
        seconds_by_part: of air; they sum to :attr:`seconds`. Data frames are told apart bit by
            bit: ``payload``, ``tcp``, ``ip``, ``llc``, ``mac``, ``fcs``, ``service_tail``, ``pad``,
            ``preamble`` and ``signal``; around them are ``difs``, ``backoff``, ``sifs`` and
            ``mac_acks``. ``tcp_acks`` and ``handshake`` are whole exchanges, from DIFS to ACK
            frame. ``retries`` is all that frame errors add.
        bytes_by_part: bytes of PSDUs, in the same way; they sum to :attr:`bytes_on_air`.
        frames: ``data``, ``tcp_acks``, ``handshake`` and ``mac_acks``, as without errors, and
            ``retries``: the expected number of data, TCP ACK and handshake frames sent again.
        delivered: seconds until the last byte is there, where the medium was idle before: without
            the first backoff, and without what follows the last data frame (its ACK frame, and
            TCP's last answer).
    """

    payload: int
    seconds_by_part: dict[str, float]
    bytes_by_part: dict[str, float]
    frames: dict[str, float]
    delivered: float

    @property
    def seconds(self) -> float:
        """Expected time on air."""
        return math.fsum(self.seconds_by_part.values())

    @property
    def bytes_on_air(self) -> float:
        """Expected bytes of all PSDUs, those of ACK frames and of repeated frames too."""
        return math.fsum(self.bytes_by_part.values())

    @property
    def throughput(self) -> float:
        """Payload bits per second of air."""
        return 8 * self.payload / self.seconds


@dataclass(frozen=True)
class Wifi:
    """An 802.11a link with TCP above it.

    Attributes:
        rate: of frames other than ACK frames, in Mb/s; one of :data:`RATES`.
        basic_rates: the BSS basic rate set; the mandatory rates, unless told otherwise.
        mtu: bytes of an IP packet at most.
        tcp_options: bytes in each segment's header: 12 for timestamps (RFC 7323, Appendix A), 0
            without.
        syn_options: bytes in the handshake's first two: 20 for maximum segment size, selective
            acknowledgement, timestamps and window scale.
        segments_per_ack: of TCP: 2 delays acknowledgements, 1 does not.
        handshake: count SYN, SYN-ACK and ACK. Closing the connection is never counted.
        packet_error_rate: chance that a frame and its ACK frame are not both received, 0 to below
            1, or a function that gives it for an MPDU's bytes. Errors are independent.
        attempts: a frame is dropped after so many (dot11ShortRetryLimit, default 7). TCP then
            sends a segment again until it arrives; its ACKs it does not, since later ones
            acknowledge more.

    Raises:
        InputError: a value is out of range.
    """

    rate: int = 54
    basic_rates: tuple[int, ...] = (6, 12, 24)
    mtu: int = 1500
    tcp_options: int = 12
    syn_options: int = 20
    segments_per_ack: int = 2
    handshake: bool = False
    packet_error_rate: ErrorRate = 0.0
    attempts: int = 7

    def __post_init__(self) -> None:
        for rate in (self.rate, *self.basic_rates):
            if rate not in RATES:
                known = ", ".join(map(str, RATES))
                raise InputError(f"802.11a has no rate of {rate} Mb/s: choose among {known}")
        if min(self.basic_rates, default=math.inf) > self.rate:
            raise InputError(f"no basic rate is at most {self.rate} Mb/s: add 6 to the basic rates")
        for name in ("tcp_options", "syn_options"):
            value = getattr(self, name)
            if value not in range(0, 41, 4):
                raise InputError(f"{name} must be a multiple of 4 from 0 to 40: got {value}")
        least = IP_HEADER + TCP_HEADER + max(self.tcp_options, self.syn_options) + 1
        for name, low, high in (
            ("mtu", least, MAX_MSDU - LLC_SNAP),
            ("segments_per_ack", 1, 1000),
            ("attempts", 1, 255),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise InputError(f"{name} must be a whole number, {low} to {high}: got {value}")
        if not callable(self.packet_error_rate):
            _check_error_rate(self.packet_error_rate)

    @property
    def mss(self) -> int:
        """Payload bytes of a full segment (RFC 6691: options come out of it)."""
        return self.mtu - IP_HEADER - TCP_HEADER - self.tcp_options

    @property
    def control_rate(self) -> int:
        """Rate of ACK frames in Mb/s: the highest basic one not above ``rate`` (10.6.6.5.2)."""
        return max(rate for rate in self.basic_rates if rate <= self.rate)

    def transfer(self, payload: int) -> Transfer:
        """The expected way of ``payload`` bytes, 1 to 2**40, over an open connection.

        Raises:
            InputError: no payload, too much, or ``packet_error_rate`` gave what is no chance.
        """
        if not isinstance(payload, int) or not 1 <= payload <= MAX_PAYLOAD:
            raise InputError(f"payload must be 1 to {MAX_PAYLOAD} whole bytes: got {payload}")
        full, rest = divmod(payload, self.mss)
        segments = full + (rest > 0)
        acks = math.ceil(segments / self.segments_per_ack)
        sizes = [(full, self.mss), (int(rest > 0), rest)]
        overhead = {
            "tcp": TCP_HEADER + self.tcp_options,
            "ip": IP_HEADER,
            "llc": LLC_SNAP,
            "mac": MAC_HEADER,
            "fcs": FCS,
        }
        headers = sum(overhead.values())

        # Each bit of the DATA field takes 1/rate: that is exact, pad bits included.
        bits = {name: 8 * segments * size for name, size in overhead.items()}
        bits["service_tail"] = segments * (SERVICE_BITS + TAIL_BITS)
        bits["pad"] = sum(count * pad_bits(headers + size, self.rate) for count, size in sizes)
        micros = {
            name: count / self.rate for name, count in ({"payload": 8 * payload} | bits).items()
        }
        ack_us = ppdu_us(ACK_FRAME, self.control_rate)
        micros |= {
            "preamble": segments * PREAMBLE_US,
            "signal": segments * SIGNAL_US,
            "difs": segments * DIFS_US,
            "backoff": segments * SLOT_US * CW_MIN / 2,
            "sifs": segments * SIFS_US,
            "mac_acks": segments * ack_us,
        }
        sent = {"payload": payload} | {name: segments * size for name, size in overhead.items()}
        sent["mac_acks"] = segments * ACK_FRAME

        # What is sent beside data: (part, MPDU bytes, whether TCP repeats it), and how many.
        pure = headers
        syn = headers - self.tcp_options + self.syn_options
        others = [("tcp_acks", pure, False, acks)]
        if self.handshake:
            others += [("handshake", syn, True, 2), ("handshake", pure, True, 1)]
        for part, mpdu, repeats, count in others:
            micros[part] = micros.get(part, 0) + count * self._exchange(mpdu, 0.0, repeats)[0]
            sent[part] = sent.get(part, 0) + count * (mpdu + ACK_FRAME)

        more_us = more_bytes = more_frames = 0.0
        data = [("data", headers + size, True, count) for count, size in sizes if count]
        for _, mpdu, repeats, count in data + others:
            time, tries, acked = self._exchange(mpdu, self._chance(mpdu), repeats)
            more_us += count * (time - self._exchange(mpdu, 0.0, repeats)[0])
            more_frames += count * (tries - 1)
            more_bytes += count * ((tries - 1) * mpdu + (acked - 1) * ACK_FRAME)
        shaken = 3 if self.handshake else 0
        micros["retries"] = more_us
        around = SLOT_US * CW_MIN / 2 + SIFS_US + ack_us + self._exchange(pure, 0.0, False)[0]
        return Transfer(
            payload,
            {name: 1e-6 * time for name, time in micros.items()},
            sent | {"retries": more_bytes},
            {
                "data": segments,
                "tcp_acks": acks,
                "handshake": shaken,
                "mac_acks": segments + acks + shaken,
                "retries": more_frames,
            },
            1e-6 * (math.fsum(micros.values()) - around),
        )

    def _chance(self, mpdu: int) -> float:
        chance = self.packet_error_rate
        return _check_error_rate(float(chance(mpdu))) if callable(chance) else chance

    def _exchange(self, mpdu: int, p: float, repeats: bool) -> tuple[float, float, float]:
        """Microseconds, frames and ACK frames that an MPDU is expected to take.

        The contention window doubles at each failure (10.3.3). A failed attempt ends with the ACK
        timeout. A frame that is dropped is sent by TCP from the start, as often as it takes, if it
        ``repeats``, and is forgotten otherwise.
        """
        time = tries = 0.0
        frame = ppdu_us(mpdu, self.rate)
        for attempt in range(self.attempts):
            reached = p**attempt
            window = min((CW_MIN + 1 << attempt) - 1, CW_MAX)
            time += reached * (DIFS_US + SLOT_US * window / 2 + frame + p * ACK_TIMEOUT_US)
            tries += reached
        arrives = (1 - p) * tries
        time += arrives * (SIFS_US + ppdu_us(ACK_FRAME, self.control_rate))
        rounds = 1 / arrives if repeats else 1.0
        return rounds * time, rounds * tries, rounds * arrives


def data_symbols(psdu: int, rate: int) -> int:
    """OFDM symbols of the DATA field: NSYM (17.3.5.4).

    Args:
        psdu: bytes, 1 to 4095.
        rate: in Mb/s, one of :data:`RATES`.

    Raises:
        InputError: no such rate, or a PSDU that LENGTH cannot tell.
    """
    if rate not in RATES:
        known = ", ".join(map(str, RATES))
        raise InputError(f"802.11a has no rate of {rate} Mb/s: choose among {known}")
    if not 1 <= psdu <= MAX_PSDU:
        raise InputError(f"a PSDU has 1 to {MAX_PSDU} bytes: got {psdu}")
    return -(-(SERVICE_BITS + 8 * psdu + TAIL_BITS) // (SYMBOL_US * rate))


def pad_bits(psdu: int, rate: int) -> int:
    """Bits that fill the last symbol: NPAD (17.3.5.4). As :func:`data_symbols`."""
    carried = data_symbols(psdu, rate) * SYMBOL_US * rate
    return carried - SERVICE_BITS - 8 * psdu - TAIL_BITS


def ppdu_us(psdu: int, rate: int) -> int:
    """Microseconds of a PPDU: TXTIME (17.4.3). As :func:`data_symbols`."""
    return PREAMBLE_US + SIGNAL_US + SYMBOL_US * data_symbols(psdu, rate)


def packet_error_rate(snr_db: ArrayLike, rate: int, mpdu: int) -> NDArray[np.float64]:
    """Chance that an MPDU is not received, by NIST's model: see the module's documentation.

    Args:
        snr_db: Es/N0 in dB, [..., K]: of K subcarriers that share the coded bits evenly, as the
            interleaver has it. What is averaged over them is the Bhattacharyya parameter of their
            bits, as for a decoder that knows how far to trust each. A single number is of all.
        rate: in Mb/s, one of :data:`RATES`.
        mpdu: bytes, 1 to 4095; SERVICE and tail bits count as well.

    Returns:
        float64 [...], 0 to 1.

    Raises:
        InputError: no such rate or MPDU.
    """
    data_symbols(mpdu, rate)
    bits, code = MODULATIONS[rate]
    snr = 10 ** (np.atleast_1d(np.asarray(snr_db, np.float64)) / 10)
    # Bit errors of Gray-coded points, after the nearest neighbours.
    scale, share = {1: (1.0, 1.0), 2: (0.5, 1.0), 4: (0.1, 0.75), 6: (1 / 42, 7 / 12)}[bits]
    bit_errors = share * 0.5 * special.erfc(np.sqrt(scale * snr))
    inputs, distance, step, weights = _SPECTRA[code]
    d = np.sqrt(4 * bit_errors * (1 - bit_errors)).mean(-1)
    bound = sum(weight * d ** (distance + step * i) for i, weight in enumerate(weights))
    event = np.minimum(bound / (2 * inputs), 1.0)
    coded = SERVICE_BITS + 8 * mpdu + TAIL_BITS
    return np.asarray(-np.expm1(coded * np.log1p(-np.minimum(event, 1 - 1e-16))))


def _check_error_rate(chance: float) -> float:
    if not 0 <= chance < 1:
        raise InputError(f"packet_error_rate must be from 0 to below 1: got {chance}")
    return chance
