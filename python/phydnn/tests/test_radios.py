# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Radio profiles: what ships, what is refused, and the link budget."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phydnn import radios
from phydnn.cli import main
from phydnn.cli.radio import _steps
from phydnn.errors import InputError

SHIPPED = sorted((Path(__file__).parents[3] / "testbed" / "radios").glob("*.toml"))
TREE = tomllib.loads(radios.find("b210").read_text())


def refused(sentence: str, **changes: Any) -> None:
    tree = {key: value for key, value in (TREE | changes).items() if value is not None}
    with pytest.raises(InputError, match=sentence) as error:
        radios.parse("b210", "b210.toml", tree)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_ships(path: Path) -> None:
    radio = radios.load(path.stem)
    assert radio == radios.load(path)
    assert set(tomllib.loads(path.read_text())["limits"]) == set(radios._LIMITS)


def test_b210() -> None:
    radio = radios.load("b210")
    assert (radio.sample_rate, radio.master_clock_rate, radio.wire_format) == (20e6, 40e6, "sc16")
    assert radio.device_args() == (
        "type=b200,master_clock_rate=40000000,num_send_frames=512,num_recv_frames=512"
    )


def test_overrides() -> None:
    radio = radios.load(
        "b210", ["tx_gain=61.5", "args=type=b200,num_recv_frames=8", 'rx_antenna="TX/RX"']
    )
    assert (radio.tx_gain, radio.rx_antenna) == (61.5, "TX/RX")
    assert radio.device_args().count("num_recv_frames") == 1
    for override, sentence in (
        ("tx_gain", "KEY=VALUE"),
        ("power=3", "there is no 'power'"),
        ("tx_gain=loud", "tx_gain must be a number, not 'loud'"),
        ("sample_rate=3e7", "sample_rate 3e\\+07 is impossible"),
    ):
        with pytest.raises(InputError, match=sentence):
            radios.load("b210", [override])


def test_what_is_refused(tmp_path: Path) -> None:
    refused("there is no 'powr'", powr=3)
    refused("lacks args", args=None)
    refused("sample_rate must be a number", sample_rate="20e6")
    refused("sample_rate must be above 0", sample_rate=0)
    refused("sample_rate must be a finite number", sample_rate=math.nan)
    refused("is impossible", sample_rate=61.44e6)
    refused("is impossible", sample_rate=1.0)
    refused("out of this radio's range, 5e\\+06", master_clock_rate=80e6)
    refused("frequency 1e\\+10 is out", frequency=10e9)
    refused("tx_gain 90 is out", tx_gain=90)
    refused("wire_format 'sc32'", wire_format="sc32")
    refused("clock_source 'sun'", clock_source="sun")
    refused("whole number", num_send_frames=1.5)
    refused("num_recv_frames must be from 0", num_recv_frames=-1)
    refused("amplitude", amplitude=1.5)
    refused("bandwidth", bandwidth=-1)
    refused("pace", pace=-1)
    refused("lo_offset", lo_offset=21e6)
    refused("limits must be a table", limits=3)
    refused("limits: there is no 'gain'", limits={"gain": [0, 1]})
    refused("lowest and a highest", limits={"frequency": [2, 1]})
    refused("lowest and a highest", limits={"frequency": [math.nan, 1]})
    for name, data, sentence in (
        ("a.toml", b"x = ", "is no TOML"),
        ("b.toml", b"\xff", "is no TOML"),
        ("c.toml", b"#" * (radios.LONGEST_PROFILE + 1), "longer than"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=sentence):
            radios.load(tmp_path / name)
    for missing in ("x310", "nul\0", "a" * 5000):
        with pytest.raises(InputError, match="there is no radio"):
            radios.load(missing)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda leaf: (
        st.lists(leaf, max_size=3) | st.dictionaries(st.text(max_size=5), leaf, max_size=3)
    ),
    max_leaves=4,
)
KEYS = st.sampled_from([*TREE, "nonsense"])


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.lists(st.text(max_size=30), max_size=2))
def test_any_profile(changes: dict[str, Any], overrides: list[str]) -> None:
    """Is a radio that can be set, or one sentence."""
    try:
        radio = radios.parse("any", "any.toml", TREE | changes, overrides)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        ratio = radio.master_clock_rate / radio.sample_rate
        assert math.isclose(ratio, round(ratio))
        assert "\n" not in radio.device_args()


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_file(data: bytes) -> None:
    try:
        tree = tomllib.loads(data.decode())
    except ValueError:
        return
    with pytest.raises(InputError):  # what is so short lacks something
        radios.parse("any", "any.toml", tree)


def test_budget() -> None:
    """By hand: 4 pi 10 m / 12.24 cm is 60.2 dB; kTB of 17.5 MHz is -101.5 dBm."""
    link = radios.budget(tx_dbm=0, distance_m=10, frequency=2.45e9, bandwidth=17.5e6)
    assert link.path_loss_db == pytest.approx(60.22, abs=0.02)
    assert link.noise_dbm == pytest.approx(-173.975 + 72.43 + 8, abs=0.01)
    assert link.snr_db == pytest.approx(33.3, abs=0.1)
    assert link.safe
    assert link.linear
    cable = radios.budget(
        tx_dbm=20, distance_m=0, frequency=2.45e9, bandwidth=17.5e6, extra_loss_db=30
    )
    assert (cable.received_dbm, cable.safe) == (-10, False)
    for bad in ({"distance_m": -1.0}, {"distance_m": math.nan}, {"extra_loss_db": -3.0}):
        with pytest.raises(InputError, match="give"):
            radios.budget(
                **{"tx_dbm": 0.0, "distance_m": 1.0, "frequency": 1e9, "bandwidth": 1e6} | bad
            )


@pytest.mark.parametrize("frequency", [123_456.7, -61_003.3, 250_000.0])
@pytest.mark.parametrize("snr_db", [20, 60])
def test_measure_tone(frequency: float, snr_db: float) -> None:
    """Frequency, power and noise, with a spur and a leaking local oscillator beside them."""
    rate, n, rng = 1e6, 1 << 16, np.random.default_rng(1)
    time = np.arange(n)
    noise = 10 ** ((-20 - snr_db) / 20) * rng.normal(size=(n, 2)) @ (1, 1j) / math.sqrt(2)
    tone = 0.1 * np.exp(2j * np.pi * frequency / rate * time + 0.7j)
    spur = 0.001 * np.exp(-2j * np.pi * 0.3 * time)
    found = radios.measure_tone(tone + noise + spur + 0.02, rate)
    assert found.frequency == pytest.approx(frequency, abs=0.5)
    assert found.power_dbfs == pytest.approx(-20, abs=0.1)
    assert found.noise_dbfs_hz == pytest.approx(-20 - snr_db - 60, abs=0.3)
    assert found.snr_db(rate) == pytest.approx(snr_db, abs=0.4)
    assert found.clipped == 0
    clipping = radios.measure_tone(np.clip(20 * tone.real, -1, 1) + 0j, rate)
    assert clipping.clipped > 0.5
    for bad in (tone[:1000], np.append(tone, np.nan)):
        with pytest.raises(InputError, match="1024"):
            radios.measure_tone(bad, rate)


def test_suggested_gains() -> None:
    def tone(power: float, noise: float = -120.0, clipped: float = 0.0) -> radios.Tone:
        return radios.Tone(0.0, power, noise, clipped)

    gains = [0, 10, 20, 30, 40]
    faint = [tone(-90), tone(-60), tone(-50), tone(-40), tone(-33)]
    assert radios.highest_linear_gain(gains, faint) == 30
    clips = [tone(-60), tone(-50), tone(-40), tone(-30, clipped=0.01), tone(-20)]
    assert radios.highest_linear_gain(gains, clips) == 20
    with pytest.raises(InputError, match="no tone"):
        radios.highest_linear_gain(gains, [tone(-90)] * 5)
    rising = [tone(0, noise) for noise in (-140, -139.5, -138, -130, -120)]
    assert radios.lowest_useful_gain(gains, rising) == 30
    assert radios.lowest_useful_gain(gains, [tone(0, -140)] * 4 + [tone(0, -140, 0.1)]) == 30
    with pytest.raises(InputError, match="add attenuation"):
        radios.lowest_useful_gain(gains, [tone(0, clipped=0.1)] * 5)


def test_budget_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "budget.json"
    command = ["radio", "budget", "--distance", "10", "--json", str(out)]
    assert main(command) == 0
    assert json.loads(out.read_text())["received_dbm"] == pytest.approx(-60.2, abs=0.1)
    assert main(["radio", "budget", "--distance", "0", "--tx-dbm", "20", "--extra-loss", "20"]) == 0
    assert "is damaged" in capsys.readouterr().out
    assert main([*command, "--noise-figure", "-1"]) == 2
    assert capsys.readouterr().err == "phydnn: noise_figure_db is -1: give 0 to 60\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--only", "up"], "choose tx or rx"),
        (["--radio", "x310"], "there is no radio"),
        (["--offset", "11e6"], "outside the band"),
    ],
)
def test_calibration_refuses(
    options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["radio", "calibrate", *options]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_steps_of_a_sweep() -> None:
    assert _steps(0, 12, 5) == [0, 5, 10, 12]
    assert _steps(3, 3, 5) == [3]
    for low, high in ((5, 3), (-1, 3), (0, 121)):
        with pytest.raises(InputError, match="a sweep from"):
            _steps(low, high, 5)
