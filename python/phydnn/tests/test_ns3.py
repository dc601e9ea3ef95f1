# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The two tiers of 802.11a and TCP against each other: the model, and ns-3."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phydnn import ns3
from phydnn.cli import main
from phydnn.errors import InputError, RunError
from phydnn.wifi import RATES, Wifi, packet_error_rate

needs_ns3 = pytest.mark.skipif(bool(ns3.missing()), reason=ns3.missing() or "ns-3 is there")


def mean(values: Any) -> float:
    return float(np.mean(list(values)))


@needs_ns3
@pytest.mark.parametrize("rate", RATES)
def test_the_error_model_is_ns3s_own(rate: int) -> None:
    for mpdu in (40, 1536):
        table = ns3.error_rates(mpdu, rate)
        assert [snr_db for snr_db, _ in table] == [half / 2 for half in range(-10, 71)]
        ours = [float(packet_error_rate(snr_db, rate, mpdu)) for snr_db, _ in table]
        assert ours == pytest.approx([rate for _, rate in table], abs=1e-6)


@needs_ns3
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("payload", [1, 300, 5000, 65536])
def test_both_tiers_agree_where_no_frame_is_lost(rate: int, payload: int) -> None:
    sent = Wifi(rate).transfer(payload)
    runs = ns3.deliver(payload, rate, repeats=20)
    assert len(runs) == 20
    assert sent.delivered == pytest.approx(mean(r.seconds for r in runs), rel=ns3.TOLERANCE)
    assert sent.bytes_on_air == pytest.approx(mean(r.bytes_on_air for r in runs), rel=ns3.TOLERANCE)


@needs_ns3
@pytest.mark.parametrize(
    ("rate", "snr_db"), [(6, 4.15), (12, 7.2), (24, 13.5), (48, 21.35), (54, 22.85)]
)
def test_both_tiers_agree_where_one_frame_in_ten_is_lost(rate: int, snr_db: float) -> None:
    chance = partial(packet_error_rate, snr_db, rate)
    assert 0.04 < chance(1536) < 0.12
    sent = Wifi(rate, packet_error_rate=chance).transfer(65536)
    runs = ns3.deliver(65536, rate, snr_db, repeats=40)
    assert sent.delivered == pytest.approx(mean(r.seconds for r in runs), rel=ns3.TOLERANCE)
    assert sent.delivered > 1.02 * Wifi(rate).transfer(65536).delivered


@needs_ns3
def test_ns3_replays_by_its_seed_and_has_another_error_model() -> None:
    first = ns3.deliver(20000, 24, 13.5, repeats=5, seed=3)
    assert ns3.deliver(20000, 24, 13.5, repeats=5, seed=3) == first
    assert ns3.deliver(20000, 24, 13.5, repeats=5, seed=4) != first
    # YANS is the more optimistic one.
    yans, nist = (dict(ns3.error_rates(1536, 24, model))[11.0] for model in ("yans", "nist"))
    assert yans < 0.5 < nist


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rate": 11}, "no rate of 11 Mb/s: choose 6, 9, "),
        ({"payload": 0}, "payload must be 1 to"),
        ({"payload": 1 << 31}, "payload must be 1 to"),
        ({"snr_db": float("nan")}, "snr_db must be -20 to 200"),
        ({"repeats": 100_000}, "repeats must be 1 to 10000"),
        ({"mtu": 60}, "mtu must be 200 to 2296"),
        ({"model": "optimist"}, "choose nist or yans"),
    ],
)
def test_what_ns3_is_not_asked(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ns3.deliver(**({"payload": 100} | change))


@needs_ns3
def test_nothing_arrives_at_a_hopeless_snr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ns3, "TIMEOUT_S", 60)
    with pytest.raises(RunError, match="ns-3 failed: only part of the payload arrived"):
        ns3.deliver(100, 54, 0.0, repeats=1)


def test_without_ns3_the_command_names_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ns3, "HEADERS", tmp_path)
    assert main(["airtime", "100", "--ns3"]) == 1
    assert "ns-3 is not installed: apt-get install libns3-dev" in capsys.readouterr().err


@needs_ns3
def test_a_program_that_does_not_compile_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "wifi_tcp.cc"
    broken.write_text("int main() { return nothing; }")
    monkeypatch.setattr(ns3, "SOURCE", broken)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(RunError, match=r"does not compile: .*nothing"):
        ns3.program()
    assert not list((tmp_path / "phydnn").iterdir())


def test_the_command_accounts_for_each_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "airtime.json"
    assert main(["airtime", "65536", "--snr", "12", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    # 12 dB carry 16-QAM only with next to every long frame lost, and 64-QAM never.
    assert [row["rate_mbps"] for row in rows] == [6, 9, 12, 18]
    for row in rows:
        assert sum(row["bytes_by_part"].values()) == pytest.approx(row["bytes_on_air"])
        assert sum(row["seconds_by_part"].values()) == pytest.approx(row["seconds"])
        assert row["delivered_s"] < row["seconds"]
    assert main(["airtime", "65536", "--snr", "12", "--rate", "54"]) == 2
    assert main(["airtime", "100", "--snr", "-20"]) == 2
    assert main(["airtime", "0"]) == 2
    capsys.readouterr()
    assert main(["airtime", "300", "--rate", "54"]) == 0
    assert "tcp acks" in capsys.readouterr().out


@needs_ns3
def test_the_command_compares(tmp_path: Path) -> None:
    out = tmp_path / "airtime.json"
    assert main(["airtime", "5000", "--rate", "24", "--ns3", "--json", str(out)]) == 0
    found = json.loads(out.read_text())["rows"][0]["ns3"]
    assert found["model_over_ns3"] == pytest.approx(1, abs=ns3.TOLERANCE)
