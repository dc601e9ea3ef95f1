# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Measures what Es/N0 5G's LDPC codes need with QAM: the real codes of AirNet's digital baseline.

It needs Sionna, which needs another numpy than GNU Radio does, so an environment of its own:

    python3 -m venv ldpc && ldpc/bin/pip install sionna-no-rt && ldpc/bin/python testbed/ldpc.py

It writes testbed/results/airnet_ldpc.json: for each code the least Es/N0, in steps of half a
decibel, at which none of BLOCKS was lost, and MARGIN_DB on top of it. Codes that are there already
are not measured again.
"""

import json
import math
from pathlib import Path

import torch
from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
from sionna.phy.mapping import Demapper, Mapper

OUT = Path(__file__).parent / "results" / "airnet_ldpc.json"
CODES = (
    (2, 1 / 5),
    (2, 1 / 3),
    (2, 1 / 2),
    (2, 3 / 4),
    (4, 1 / 2),
    (4, 3 / 4),
    (6, 2 / 3),
    (6, 5 / 6),
    (8, 3 / 4),
)
"""Bits a symbol, and rate."""
CODED_BITS = 6000
BLOCKS, BATCH = 160, 40
MARGIN_DB = 0.5
"""160 blocks without an error say that at most 1.9% are lost (95%); half a decibel on, the
waterfall of such codes has fallen by two orders of magnitude."""


def clean(bits: int, rate: float, snr_db: float) -> bool:
    """Whether all of BLOCKS arrive."""
    n = CODED_BITS // bits * bits
    encoder = LDPC5GEncoder(round(n * rate), n, num_bits_per_symbol=bits)
    decoder = LDPC5GDecoder(encoder, num_iter=20)
    mapper, demapper = Mapper("qam", bits), Demapper("app", "qam", bits)
    n0 = 10 ** (-snr_db / 10)
    for _ in range(BLOCKS // BATCH):
        data = torch.randint(0, 2, (BATCH, encoder.k)).float()
        symbols = mapper(encoder(data))
        noise = torch.randn_like(symbols) * math.sqrt(n0)
        if bool((decoder(demapper(symbols + noise, n0)) != data).any()):
            return False
    return True


def main() -> None:
    found = json.loads(OUT.read_text())["codes"] if OUT.exists() else []
    known = {(code["qam"], code["rate"]) for code in found}
    for bits, rate in CODES:
        if (2**bits, round(rate, 4)) in known:
            continue
        torch.manual_seed(1)
        efficiency = bits * rate
        # No code does better than capacity.
        snr_db = math.ceil(20 * math.log10(2**efficiency - 1)) / 2
        while not clean(bits, rate, snr_db):
            snr_db += 0.5
        entry = {"qam": 2**bits, "rate": round(rate, 4), "bits": round(efficiency, 4)}
        found.append(entry | {"snr_db": snr_db + MARGIN_DB})
        about = {"coded_bits": CODED_BITS, "blocks": BLOCKS, "margin_db": MARGIN_DB}
        OUT.write_text(json.dumps({"codes": found, **about}, indent=2) + "\n")


if __name__ == "__main__":
    main()
