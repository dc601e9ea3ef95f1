# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Channel specifications: good ones, and each way to be wrong."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phydnn.channels import ChannelSpec, load_tdl, parse_channel
from phydnn.errors import InputError

SCENARIOS = Path(__file__).parents[3] / "testbed" / "scenarios"
TWO_PATHS = {"delays_s": [0, 1e-7], "powers_db": [0, -10]}


def written(folder: Path, fields: Any) -> Path:
    path = folder / "line.json"
    path.write_text(json.dumps(fields))
    return path


def test_named_models() -> None:
    assert parse_channel("awgn") == ChannelSpec("awgn")
    assert parse_channel("rayleigh") == ChannelSpec("rayleigh")
    assert parse_channel("rician:4") == ChannelSpec("rician", k_factors=(4.0,))


@pytest.mark.parametrize(
    "spec",
    ["", "AWGN", "awgn:3", "rician", "rician:", "rician:-1", "rician:nan", "tdl", "tdl:", "rice:3"],
)
def test_wrong_specifications(spec: str) -> None:
    with pytest.raises(InputError, match="channel"):
        parse_channel(spec)


def test_powers_fade_per_frame_and_sum_to_one(tmp_path: Path) -> None:
    spec = parse_channel(f"tdl:{written(tmp_path, TWO_PATHS)}")
    assert (spec.model, spec.fading, spec.delays) == ("tdl", "frame", (0.0, 1e-7))
    assert [abs(gain) ** 2 for gain in spec.gains] == pytest.approx([1 / 1.1, 0.1 / 1.1])


def test_gains_are_static(tmp_path: Path) -> None:
    fields = {"delays_s": [0, 1e-7], "gains": [[0.5, 0], [0, -2]], "normalise": False}
    spec = load_tdl(written(tmp_path, fields))
    assert (spec.fading, spec.gains) == ("static", (0.5, -2j))


def test_doppler(tmp_path: Path) -> None:
    fields = {**TWO_PATHS, "fading": "doppler", "doppler_hz": 50, "k_factors": [3, 0]}
    arguments = load_tdl(written(tmp_path, fields)).arguments()
    assert arguments["fading"] == "doppler"
    assert arguments["doppler_hz"] == 50
    assert arguments["k_factors"] == [3.0, 0.0]


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*_taps.json")), ids=lambda path: path.name)
def test_scenarios_that_ship(path: Path) -> None:
    spec = load_tdl(path)
    assert sum(abs(gain) ** 2 for gain in spec.gains) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"delays_s": [0]}, "delays_s"),
        ({"delays_s": []}, "delays_s"),
        ({"delays_s": [0, -1e-9]}, "delays_s"),
        ({"delays_s": [0, 0.011]}, "delays_s"),
        ({"delays_s": [0, "1"]}, "delays_s"),
        ({"delays_s": [0, True]}, "delays_s"),
        ({"delays_s": 0}, "delays_s"),
        ({"delays_s": [0, 10**400]}, "delays_s"),
        ({"delays_s": [0.0] * 257, "powers_db": [0.0] * 257}, "delays_s"),
        ({"powers_db": [0, math.nan]}, "powers_db"),
        ({"powers_db": [0, math.inf]}, "powers_db"),
        ({"gains": [[1, 0], [1, 0]]}, "either"),
        ({"normalise": 1}, "normalise"),
        ({"fading": "fast"}, "fading"),
        ({"fading": []}, "fading"),
        ({"fading": "doppler"}, "doppler_hz"),
        ({"doppler_hz": 5}, "doppler_hz"),
        ({"doppler_hz": "5", "fading": "doppler"}, "doppler_hz"),
        ({"k_factors": [1]}, "k_factors"),
        ({"k_factors": [1, -1]}, "k_factors"),
        ({"tap": 1}, "tap"),
    ],
)
def test_wrong_fields(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named) as error:
        load_tdl(written(tmp_path, {**TWO_PATHS, **change}))
    assert "line.json" in str(error.value)


@pytest.mark.parametrize("gains", [[[0, 0], [0, 0]], [1, 2], [[1], [2]], [[1, 1e7], [0, 0]], {}])
def test_wrong_gains(tmp_path: Path, gains: Any) -> None:
    with pytest.raises(InputError, match="gains"):
        load_tdl(written(tmp_path, {"delays_s": [0, 1e-7], "gains": gains}))


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[1]", b"null", b"\xff\xfe\x00", b"[" * 100_000, b" " * (1 << 20) + b"{}"]
)
def test_wrong_files(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(text)
    with pytest.raises(InputError, match=r"broken\.json"):
        load_tdl(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        parse_channel(f"tdl:{tmp_path / 'none.json'}")


numbers = st.lists(st.sampled_from([0, 1e-7, 0.02, -3.0, math.nan, True, "1", None]), max_size=2)
values: st.SearchStrategy[Any] = (
    numbers | st.lists(numbers, max_size=2) | st.sampled_from(["doppler", 1, None, {}])
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["delays_s", "powers_db", "gains", "fading"]), values))
def test_any_fields_load_or_are_input_errors(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any]
) -> None:
    path = written(tmp_path_factory.mktemp("fuzz"), fields)
    try:
        spec = load_tdl(path)
    except InputError:
        return
    assert len(spec.gains) == len(spec.delays) > 0
