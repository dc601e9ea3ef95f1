# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Scenarios: every form reads what it wrote, levels are what was named, bad files are refused."""

import dataclasses
import importlib.util
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import signal
from scipy.io import savemat

from phydnn import scenario as scenarios
from phydnn.errors import InputError
from phydnn.scenario import Node, Scenario
from phydnn.tests.trees import at

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
HERE = Path(__file__).resolve().parents[3] / "testbed" / "scenarios"


def some(times: int = 3, nodes: int = 2, taps: int = 3, seed: int = 1) -> Scenario:
    """A scenario in which every field differs from its default."""
    rng = np.random.default_rng(seed)
    shape = (times, nodes, nodes, taps)
    gains = rng.uniform(-0.7, 0.7, shape) + 1j * rng.uniform(-0.7, 0.7, shape)
    gains[:, range(nodes), range(nodes)] = 0
    delays = rng.uniform(0, 1000, shape)
    delays[gains == 0] = 0
    return Scenario(
        "some-1",
        tuple(
            Node(f"n{i}", 10.5, -20.25, 3.5, True, 120.0, -1.5, 2.0, "tcp://*:1", None)
            for i in range(nodes)
        ),
        delays,
        gains,
        np.arange(times) * 0.25,
        10e6,
        5.8e9,
        30.0,
        2.5,
        -170.0,
        2000.0,
        taps <= 4,
        rng.uniform(0, 100, (nodes, nodes)) * (1 - np.eye(nodes)),
        rng.uniform(0, 100, (times, nodes, 3)),
        "for tests: ä",
    )


def same(a: Scenario, b: Scenario) -> None:
    for field in dataclasses.fields(Scenario):
        mine, other = getattr(a, field.name), getattr(b, field.name)
        if field.name in scenarios.ARRAYS:
            np.testing.assert_array_equal(mine, other, field.name)
        else:
            assert mine == other, field.name


@pytest.mark.parametrize("suffix", [".json", ".h5"])
@pytest.mark.parametrize("times", [1, 3])
def test_forms_of_our_own_keep_everything(tmp_path: Path, suffix: str, times: int) -> None:
    first = some(times)
    scenarios.save(first, tmp_path / f"a{suffix}")
    same(scenarios.load(str(tmp_path / f"a{suffix}")), first)


def test_levels() -> None:
    """Counted by hand: 10 dBm - 60 dB + 5 dB - 3 dB is -48 dBm, 18 dB under full scale."""
    delays = np.zeros((1, 2, 2, 1))
    gains = np.zeros(delays.shape, complex)
    gains[0, 0, 1] = 10 ** (-3 / 20) * 1j
    nodes = (Node("a", 10), Node("b", 0, -30, 6))
    one = Scenario("x", nodes, delays, gains, base_loss_db=60, boost_db=5,
                   noise_density_dbm_hz=-174)  # fmt: skip
    arguments = one.emulator_arguments()
    assert arguments["gains"].dtype == np.complex64
    through = arguments["gains"][0, 0, 1, 0] * arguments["scale"][0, 1]
    assert through == pytest.approx(1j * 10 ** (-18 / 20), rel=1e-6)
    # -174 dBm/Hz + 73.01 dB (20 MHz) + 6 dB = -94.99 dBm, 64.99 dB under full scale
    assert 10 * np.log10(arguments["nodes"][1]["noise"]) == pytest.approx(-64.9897, abs=1e-4)
    row = next(scenarios.rows(one))
    assert row["received_dbm"] == pytest.approx(-48)
    assert row["received_dbfs"] == pytest.approx(-18)
    assert row["snr_db"] == pytest.approx(46.9897, abs=1e-4)
    assert next(scenarios.rows(one.with_snr(7)))["snr_db"] == pytest.approx(7)
    assert one.with_snr(7).noise_density_dbm_hz == pytest.approx(-174 + 46.9897 - 7, abs=1e-4)
    assert one.with_snr(7, (0, 1)).noise_density_dbm_hz == one.with_snr(7).noise_density_dbm_hz
    with pytest.raises(InputError, match="has no such link at time 0"):
        one.with_snr(7, (1, 0))
    silent = dataclasses.replace(one, noise_density_dbm_hz=None)
    assert silent.snr_db()[0, 1] == np.inf and not silent.noise().any()
    with pytest.raises(InputError, match="has no such link at time 0"):
        dataclasses.replace(one, gains=np.zeros_like(gains)).with_snr(3)
    with pytest.raises(InputError, match="finite number of dB"):
        one.with_snr(float("nan"))


def test_taps_add_up_over_the_band() -> None:
    """By the response itself; two alike taps a nanosecond apart are one of twice the amplitude."""
    for delays, gains in (([0, 1], [0.5, 0.5]), ([3, 14, 260], [1, -0.5j, 0.25 + 0.5j])):
        one = some(1, taps=len(delays)).link_taps(
            {"delays_ns": delays, "gains": [[complex(g).real, complex(g).imag] for g in gains]}
        )
        frequencies = np.linspace(-5e6, 5e6, 20001)
        response = np.exp(-2j * np.pi * np.outer(frequencies, one[0])) @ one[1]
        both = np.zeros((1, 2, 2, len(delays)))
        taps = both.astype(complex)
        both[0, 0, 1], taps[0, 0, 1] = delays, gains
        alone = Scenario("x", (Node("a"), Node("b")), both, taps, sample_rate_hz=10e6)
        assert alone.powers()[0, 0, 1] == pytest.approx(np.mean(np.abs(response) ** 2), rel=1e-3)
        assert not alone.powers()[0, 1].any()


def test_page_of_the_emulator() -> None:
    """Its example is a scenario, with the levels that it counts."""
    page = (HERE.parents[1] / "docs" / "emulator.md").read_text()
    example = scenarios.parse(page.split("```json\n")[1].split("```")[0])
    row = next(scenarios.rows(example))
    assert round(row["snr_db"]) == 35
    assert row["gains_db"] == pytest.approx([0, -6])
    assert round(row["received_dbfs"] - 10 * np.log10(1 + 10**-0.6)) == -20
    for path in scenarios.shipped():
        stem = path.stem.replace("colosseum_", "")
        assert stem in page or f"_{stem}" in page


def test_taps_of_a_link() -> None:
    delays, gains = some().link_taps({"delays_ns": [0, 50], "gains_db": [0, -20]})
    np.testing.assert_allclose(delays, [0, 5e-8])
    np.testing.assert_allclose(gains, [1, 0.1])
    for fields, sentence in (
        ({"delays_ns": [0]}, "either 'gains_db' or 'gains'"),
        ({"delays_ns": [0], "gains": [[1, 0]], "gains_db": [0]}, "either 'gains_db' or 'gains'"),
        ({"delays_ns": [[0], [1]], "gains_db": [0]}, "of one time"),
        ({"delays_ns": [3000], "gains_db": [0]}, "outside of the delay line"),
        ({"delays_ns": [0], "gains": [[1, 1]]}, "a gain above 0 dB"),
        ({"delays_ns": [0] * 5, "gains_db": [0] * 5}, "allows 4 taps"),
        ({"delays_ns": [0] * 65, "gains_db": [0] * 65}, "1 to 64 are allowed"),
        ({"delays_ns": "x", "gains_db": [0]}, "must be a list of numbers"),
    ):
        with pytest.raises(InputError, match=sentence):
            some().link_taps(fields)


def test_endpoints() -> None:
    nodes = (Node("a"), Node("b", transmits="", receives="tcp://127.0.0.1:9"), Node("c"))
    three = Scenario("x", nodes, np.zeros((1, 3, 3, 1)), np.zeros((1, 3, 3, 1), complex))
    here = "tcp://127.0.0.1:"
    assert three.endpoints() == [
        (f"{here}5550", f"{here}5551"),
        ("", f"{here}9"),
        (f"{here}5554", f"{here}5555"),
    ]
    assert three.endpoints(9000)[2] == (f"{here}9004", f"{here}9005")
    with pytest.raises(InputError, match="do not suffice"):
        three.endpoints(65535)
    with pytest.raises(InputError, match="used twice"):
        dataclasses.replace(
            three, nodes=(*nodes[:2], Node("c", transmits=f"{here}5550"))
        ).endpoints()


# What ships


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", HERE / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_shipped_are_as_generated(generate: ModuleType) -> None:
    made = generate.scenarios()
    assert sorted(made) == [path.name for path in sorted(scenarios.shipped())]
    for name, scenario in made.items():
        same(scenarios.load(Path(name).stem), scenario)


def test_sounding_table() -> None:
    """Scenario 90001's last row, and that a pair is alike in both directions."""
    table = scenarios.load("colosseum_90001")
    i, j = table.index("node4"), table.index("node5")
    np.testing.assert_array_equal(table.delays_ns[0, i, j], [0, 128, 200, 400])
    np.testing.assert_array_equal(table.gains[0, i, j], [0.5 + 0.5j, 0.1, -0.01 + 0.1j, -0.5j])
    np.testing.assert_array_equal(table.gains, table.gains.transpose(0, 2, 1, 3))
    boosted = scenarios.load("colosseum_90002")
    arguments = boosted.emulator_arguments()
    exact = arguments["gains"][0, 1, 3, 1] * arguments["scale"][1, 3]
    assert exact == pytest.approx(1 + 1j, rel=1e-6)


# Bad input: our own form


def some_link() -> Any:
    return json.loads(scenarios._to_json(some()))["links"][0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (at("base_loss_db"), "'base_loss_db' is a required property"),
        (at("links"), "'links' is a required property"),
        (at("schema", value=2), "schema: 1 was expected"),
        (at("colour", value=2), "'colour' was unexpected"),
        (at("name", value="../a"), "name: it must be letters"),
        (at("base_loss_db", value=-1), "base_loss_db: -1 is less than the minimum of 0"),
        (at("sample_rate_hz", value="fast"), "sample_rate_hz: 'fast' is not of type 'number'"),
        (at("sample_rate_hz", value=0), "sample_rate_hz: 0 is less than the minimum"),
        (at("base_loss_db", value=float("nan")), "holds NaN"),
        (at("base_loss_db", value=float("inf")), "holds Infinity"),
        (at("nodes", value=[]), "nodes"),
        (at("nodes", 0, "full_scale_dbm"), "nodes/0: 'full_scale_dbm' is a required property"),
        (at("nodes", 1, "name", value="n0"), "two nodes are called 'n0'"),
        (at("nodes", 0, "coordinates_m", value=[1, 2]), "must be .x, y, z."),
        (at("nodes", 0, "coordinates_m"), "is missing, but other nodes have theirs"),
        (at("nodes", value=[{"name": "n"}] * 65), "nodes: it is too long: 64 are allowed"),
        (at("times_s", value=[0, 2, 1]), "'times_s' must start at 0 and rise"),
        (at("times_s", value=[0, 1, 1]), "'times_s' must start at 0 and rise"),
        (at("times_s", value=[1, 2, 3]), "'times_s' must start at 0 and rise"),
        (at("times_s", value=[0, 1]), "links/0: it has taps at 3 times, not 2"),
        (at("times_s", value=["0", 1, 2]), "times_s: it must be a list of numbers"),
        (at("links", 0, "transmitter", value="x"), "links/0/transmitter: there is no node 'x'"),
        (at("links", 1, value=some_link()), "links/1: links/0 already is from and to these"),
        (at("links", 0, "delays_ns"), "'delays_ns' is a required property"),
        (at("links", 0, "delays_ns", value=[0, 1]), "it has 2 delays but 3 gains"),
        (at("links", 0, "delays_ns", value=[0, 1, 2001]), "outside of the delay line"),
        (at("links", 0, "delays_ns", value=[0, -1, 1]), "outside of the delay line"),
        (at("links", 0, "delays_ns", value=[[0, 1, 2], [1]]), "delays_ns: it must be a list"),
        (at("links", 0, "delays_ns", value=[0, True, None]), "delays_ns: it must be a list"),
        (at("links", 0, "delays_ns", value=[0, 1, 10**400]), "delays_ns: it must be a list"),
        (at("links", 0, "gains"), "either 'gains_db' or 'gains'"),
        (at("links", 0, "gains_db", value=[0, 0, 0]), "either 'gains_db' or 'gains'"),
        (at("links", 0, "phases_deg", value=[0]), "'phases_deg' goes with 'gains_db'"),
        (at("links", 0, "gains", value=[[1, 0]] * 2), "it has 3 delays but 2 gains"),
        (at("links", 0, "gains", value=[[1, 0, 0]] * 3), "must be a pair"),
        (at("links", 0, "gains", value=[[1, 0.1]] * 3), "tap 1 from 'n0' to 'n1' has a gain above"),
        (at("links", 0, "doppler_hz", value=-1), "links/0/doppler_hz: -1 is less than"),
        (at("links", value=[{}] * 4097), "links: it is too long"),
        (at("line_ns", value=6000), "'mchem' needs 'line_ns' of 5120"),
    ],
)
def test_wrong_json(change: Callable[[Any], None], sentence: str) -> None:
    tree = json.loads(scenarios._to_json(some()))
    change(tree)
    with pytest.raises(InputError, match=sentence) as caught:
        scenarios.parse(json.dumps(tree))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_gains_in_db() -> None:
    tree = json.loads(scenarios._to_json(some(1)))
    link = tree["links"][0]
    del link["gains"]
    link |= {"gains_db": [0, -20, -6], "phases_deg": [0, 90, 180]}
    gains = scenarios.parse(json.dumps(tree)).gains[0, 0, 1]
    np.testing.assert_allclose(gains, [1, 0.1j, -(10**-0.3)], atol=1e-12)
    link["gains_db"] = [0, 0.1, 0]
    with pytest.raises(InputError, match=r"links/0/gains_db: a gain is above 0 dB.*boost_db"):
        scenarios.parse(json.dumps(tree))
    link |= {"gains_db": [0, 0, 0], "phases_deg": [0, 0]}
    with pytest.raises(InputError, match="'phases_deg' must be of the size"):
        scenarios.parse(json.dumps(tree))


def test_reciprocal() -> None:
    tree = json.loads(scenarios._to_json(some(1)))
    del tree["links"][1]
    tree["links"][0]["reciprocal"] = True
    both = scenarios.parse(json.dumps(tree)).gains[0]
    np.testing.assert_array_equal(both[0, 1], both[1, 0])
    assert both[0, 1].any()


def test_huge_dimensions_take_no_memory() -> None:
    """2,000 times of 64 nodes with one link of 64 taps: 12 GB, said before it is taken."""
    tree = json.loads(scenarios._to_json(some(1)))
    tree["mchem"] = False
    tree["nodes"] = [
        {"name": f"n{i}", "transmit_power_dbm": 0, "full_scale_dbm": 0, "noise_figure_db": 0}
        for i in range(64)
    ]
    tree["times_s"] = list(range(2000))
    tree["links"] = [
        {"transmitter": "n0", "receiver": "n1", "delays_ns": [0] * 64, "gains_db": [0] * 64}
    ]
    with pytest.raises(InputError, match=r"make 524288000 values, but 4194304 are allowed"):
        scenarios.parse(json.dumps(tree))
    tree["links"][0] |= {"delays_ns": [0] * 65, "gains_db": [0] * 65}
    with pytest.raises(InputError, match="it has 65 taps a link, but 1 to 64 are allowed"):
        scenarios.parse(json.dumps(tree))


@pytest.mark.parametrize("text", ["", "[", "[]", "1", "null", "[" * 100000, '{"a": 1e400}', "\xff"])
def test_not_a_scenario(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, "latin-1")
    with pytest.raises(InputError, match=r"a\.json"):
        scenarios.load(str(path))


def test_names(tmp_path: Path) -> None:
    for name in ("nothing", str(tmp_path), "../two_nodes", "x/two_nodes"):
        with pytest.raises(InputError, match="there is no scenario"):
            scenarios.load(name)
    (tmp_path / "a.txt").write_text("{}")
    with pytest.raises(InputError, match="must end in"):
        scenarios.load(str(tmp_path / "a.txt"))
    with pytest.raises(InputError, match="must end in"):
        scenarios.save(some(), tmp_path / "b.txt")
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate(scenarios.MAX_JSON + 1)
    with pytest.raises(InputError, match="larger than"):
        scenarios.load(str(tmp_path / "big.json"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@FUZZ
@given(st.data())
def test_fuzz_json(data: st.DataObject) -> None:
    """Any value anywhere: a scenario that can be written and read again, or one sentence."""
    tree = json.loads(scenarios._to_json(some(2)))
    for _ in range(data.draw(st.integers(1, 3))):
        node: Any = tree
        key: Any = data.draw(st.sampled_from(list(tree)))
        while isinstance(node[key], (dict, list)) and node[key] and data.draw(st.booleans()):
            node = node[key]
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = data.draw(st.sampled_from(keys))
        node[key] = data.draw(JSON)
    try:
        read = scenarios.parse(json.dumps(tree))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        again = scenarios.parse(scenarios._to_json(read))
        np.testing.assert_array_equal(again.gains, read.gains[..., : again.gains.shape[3]])


@settings(FUZZ, max_examples=12)
@given(st.data())
def test_fuzz_bytes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A few bytes of any form changed, or the end cut off: read, or one sentence; never a crash."""
    suffix = data.draw(st.sampled_from([".json", ".h5", ".mat"]))
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    path = folder / f"a{suffix}"
    scenarios.save(some(2), path)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(raw))) if data.draw(st.booleans()) else len(raw)
    path.write_bytes(raw[:end])
    try:
        scenarios.load(str(path))
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error)


def test_reader_that_crashes_or_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    scenarios.save(some(), path)
    with monkeypatch.context() as patch:
        patch.setattr(scenarios, "READ_SECONDS", 0.001)
        with pytest.raises(InputError, match=r"it is damaged: reading it took over 0\.001 s"):
            scenarios.load(str(path))
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(InputError, match="it is damaged: what reads it crashed"):
        scenarios.load(str(path))


# HDF5


def test_wrong_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"

    def refused(change: Callable[[Any], None], sentence: str) -> None:
        scenarios.save(some(), path)
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises(InputError, match=sentence):
            scenarios._read_hdf5(path)

    def replaced(name: str, **options: Any) -> Callable[[Any], None]:
        def change(file: Any) -> None:
            del file[name]
            file.create_dataset(name, **options)

        return change

    def linked(file: Any) -> None:
        del file["gains"]
        file["gains"] = h5py.ExternalLink("/etc/passwd", "/gains")

    def external(file: Any) -> None:
        del file["delays_ns"]
        file.create_dataset("delays_ns", (3, 2, 2, 3), "f8", external="/dev/zero")

    refused(lambda file: file.attrs.__delitem__("scenario"), "no attribute 'scenario'")
    refused(lambda file: file.attrs.__setitem__("scenario", "{"), "not JSON")
    refused(lambda file: file.attrs.__setitem__("scenario", 5), "no attribute 'scenario'")
    refused(lambda file: file.__delitem__("gains"), "no data set 'gains'")
    refused(linked, "no data set 'gains'")
    refused(external, "'delays_ns' is not a data set in this file")
    refused(replaced("times_s", data=[0.0, 1]), "'delays_ns' has shape")
    refused(replaced("times_s", data=[0.0, np.nan, 2]), "'times_s' holds a value that is not")
    refused(replaced("times_s", data=["a"]), "'times_s' must be of 1 dimensions")
    refused(replaced("gains", data=np.ones((3, 2, 2, 3))), "'gains' must be of 4 dimensions")
    refused(replaced("doppler_hz", data=-np.ones((2, 2))), "'doppler_hz' must be 0 or more")
    huge = {"shape": (100000, 64, 64, 64), "dtype": "c16", "chunks": (1, 1, 1, 1)}
    refused(replaced("gains", **huge), "make 26214400000 values")
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    with pytest.raises(InputError, match="not a sound HDF5 file"):
        scenarios.load(str(path))


# Colosseum's MATLAB files


def test_mat_keeps_taps_times_and_coordinates(tmp_path: Path) -> None:
    first = some()
    scenarios.save(first, tmp_path / "a.mat")
    read = scenarios.load(str(tmp_path / "a.mat"))
    np.testing.assert_allclose(read.delays_ns[..., :3], first.delays_ns, atol=1e-9)
    np.testing.assert_array_equal(read.gains[..., :3], first.gains)
    assert not read.gains[..., 3].any()
    assert read.coordinates_m is not None and first.coordinates_m is not None
    np.testing.assert_array_equal(read.coordinates_m, first.coordinates_m)
    np.testing.assert_allclose(read.times_s, first.times_s, atol=1e-12)
    with pytest.raises(InputError, match="holds 4 taps a link, not 5"):
        scenarios.save(some(taps=5), tmp_path / "b.mat")


def cells(count: int = 2, times: int = 1, **fields: Any) -> Any:
    """A chMatrix as MATLAB saves it: {N x N x T} of structures, or of what is given."""
    tap: Any = {"delay": np.array([1e-9, 2e-7, 0, 0]), "iq": np.array([1, 0.5j, 0, 0])} | fields
    matrix = np.empty((count, count, times), object)
    for index in np.ndindex(matrix.shape):
        matrix[index] = tap
    return matrix


def write_mat(path: Path, **variables: Any) -> str:
    savemat(path, variables)
    return str(path)


def test_mat_as_documented(tmp_path: Path) -> None:
    """Structures, 4 x 2 matrices, cells of two vectors, and path gains in dB."""
    read = scenarios.load(write_mat(tmp_path / "1.mat", chMatrix=cells(times=2), time=[0, 1000]))
    np.testing.assert_allclose(read.delays_ns[1, 0, 1], [1, 200, 0, 0])
    np.testing.assert_array_equal(read.gains[1, 0, 1], [1, 0.5j, 0, 0])
    np.testing.assert_array_equal(read.times_s, [0, 1])
    matrix = cells()
    for index in np.ndindex(matrix.shape):
        matrix[index] = np.array([[1e-9, 1], [2e-7, 0.5j], [0, 0], [0, 0]])
    other = scenarios.load(write_mat(tmp_path / "2.mat", chMatrix=matrix, time=[0.0]))
    np.testing.assert_array_equal(other.gains[0], read.gains[0])
    np.testing.assert_allclose(other.delays_ns[0], read.delays_ns[0])
    pair = np.empty((1, 2), object)
    pair[0, 0], pair[0, 1] = np.array([1e-9, 2e-7, 0, 0]), np.array([1, 0.5j, 0, 0])
    for index in np.ndindex(matrix.shape):
        matrix[index] = pair
    nested = scenarios.load(write_mat(tmp_path / "4.mat", chMatrix=matrix))
    np.testing.assert_array_equal(nested.gains, other.gains)
    static = np.array([[0.0, -6], [-20, -np.inf]])
    third = scenarios.load(write_mat(tmp_path / "3 static.mat", chMatrix=static))
    np.testing.assert_allclose(third.gains[0, ..., 0], [[1, 10**-0.3], [0.1, 0]])
    assert (third.delays_ns == 1).all() and third.name == "3_static"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"x": 1}, "holds no 'chMatrix'"),
        ({"chMatrix": np.zeros((2, 3))}, "must be square"),
        ({"chMatrix": np.zeros((65, 65))}, "it has 65 nodes"),
        ({"chMatrix": np.ones((2, 2))}, "a gain above 0 dB"),
        ({"chMatrix": np.full((2, 2), np.nan)}, "holds NaN"),
        ({"chMatrix": "text"}, "'chMatrix'"),
        ({"chMatrix": cells(times=2)}, "there is no 'time'"),
        ({"chMatrix": cells(times=2), "time": [0]}, "'time' must be 2 numbers"),
        ({"chMatrix": cells(times=2), "time": [5, 5]}, "must start at 0 and rise"),
        ({"chMatrix": cells(iq=np.array([2]), delay=np.array([0]))}, "a gain above 0 dB"),
        ({"chMatrix": cells(delay=np.array([1e-9, 6e-6, 0, 0]))}, "outside of the delay line"),
        ({"chMatrix": cells(delay=np.array([1e-9]))}, r"chMatrix\(1,1,1\) must hold as many"),
        ({"chMatrix": cells(delay=np.array([np.nan] * 4))}, "not a finite number"),
        ({"chMatrix": cells(delay=np.zeros(65), iq=np.zeros(65))}, r"chMatrix\(1,1,1\)"),
        ({"chMatrix": cells(), "coordinates": np.zeros((2, 2))}, "'coordinates' has shape"),
        ({"chMatrix": cells(), "coordinates": "here"}, "'coordinates' must be numbers"),
    ],
)
def test_wrong_mat(tmp_path: Path, variables: Any, sentence: str) -> None:
    write_mat(tmp_path / "a.mat", **variables)
    with pytest.raises(InputError, match=sentence):
        scenarios._read_mat(tmp_path / "a.mat")


def test_mat_bomb_and_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios, "MAX_BINARY", 1 << 20)
    path = tmp_path / "a.mat"
    scenarios.save(some(), path)
    raw = path.read_bytes()
    bomb = zlib.compress(bytes(scenarios.MAX_BINARY + 1), 9)
    path.write_bytes(raw[:128] + struct.pack("<II", 15, len(bomb)) + bomb)
    with pytest.raises(InputError, match="larger than 1048576 bytes when inflated"):
        scenarios._read_mat(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match="save it with -v7"):
        scenarios._read_mat(path)


# CaST's CSV files


def test_cast_as_its_code_makes_them(tmp_path: Path) -> None:
    """Correlates as CaST does: the sequence first, then four periods less one sample."""
    sequence = np.asarray(signal.max_len_seq(8)[0] * 2.0 - 1)
    period = len(sequence)
    truth = {3: 0.5, 10: 0.25j, 40: 0.1}
    response = np.zeros(period, complex)
    for delay, gain in truth.items():
        response[delay] = gain
    received = np.convolve(np.tile(sequence, 8), response)[2 * period + 1 : 6 * period]
    both = [signal.correlate(sequence, part) / period for part in (received.real, received.imag)]
    profile = 20 * np.log10(np.hypot(*both))
    np.savetxt(tmp_path / "all_pdps.csv", np.stack([profile, profile]), delimiter=",")
    (tmp_path / "various.csv").write_text("Period,Resolution save\r\n255,20000\r\n")
    read = scenarios.load(str(tmp_path))
    used = read.gains[1, 0, 1] != 0
    np.testing.assert_allclose(read.delays_ns[1, 0, 1][used], [0, 700, 3700])
    np.testing.assert_allclose(abs(read.gains[1, 0, 1][used]), [0.5, 0.25, 0.1], atol=0.01)
    assert read.times_s[1] == 20000 * 255 / 10e6


def test_cast_round_trip(tmp_path: Path) -> None:
    gains = np.zeros((2, 2, 2, 3), complex)
    gains[:, 0, 1] = [1, -0.5, 0.25j]
    delays = np.zeros(gains.shape)
    delays[:, 0, 1] = [0, 200, 1200]
    nodes = (Node("a"), Node("b"))
    first = Scenario("x", nodes, delays, gains, np.array([0, 255e-7 * 40]), boost_db=3.0)
    scenarios.save(first, tmp_path / "cast", ("a", "b"))
    read = scenarios.load(str(tmp_path / "cast"))
    np.testing.assert_allclose(read.delays_ns[:, 0, 1, :3], delays[:, 0, 1])
    np.testing.assert_allclose(read.gains[:, 0, 1, :3], abs(gains[:, 0, 1]))
    np.testing.assert_allclose(read.times_s, first.times_s)
    assert read.boost_db == pytest.approx(3)
    with pytest.raises(InputError, match="there is no node 'c'"):
        scenarios.save(first, tmp_path / "cast", ("a", "c"))
    far = dataclasses.replace(first, delays_ns=delays * 20, line_ns=1e5)
    with pytest.raises(InputError, match="holds delays up to 12700 ns"):
        scenarios.save(far, tmp_path / "cast")


@pytest.mark.parametrize(
    ("profiles", "various", "sentence"),
    [
        ("", "", "finite numbers"),
        ("1,2\n3", "", "as many numbers each"),
        ("1,nan\n", "", "finite numbers"),
        ("1,x\n", "", "as many numbers each"),
        ("-10,-20,-10\n", "Period\n255,1\n", "a period of 255 does not fit 3 columns"),
        ("-inf,-inf,-inf,-inf\n", "Period\n2,1\n", "shows no path"),
        ("\xff\n", "", "not plain text"),
    ],
)
def test_wrong_cast(tmp_path: Path, profiles: str, various: str, sentence: str) -> None:
    (tmp_path / "all_pdps.csv").write_text(profiles, "latin-1")
    if various:
        (tmp_path / "various.csv").write_text(various)
    with pytest.raises(InputError, match=sentence):
        scenarios.load(str(tmp_path))


@FUZZ
@given(st.text("0123456789.,-+einfa\n \r", max_size=60), st.text("0123456789.,-einf\n", max_size=9))
def test_fuzz_csv(tmp_path_factory: pytest.TempPathFactory, profiles: str, various: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz_csv"
    folder.mkdir(exist_ok=True)
    (folder / "all_pdps.csv").write_text(profiles)
    (folder / "various.csv").write_text(f"Period,Resolution save\n{various}\n")
    try:
        read = scenarios.load(str(folder))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(read.gains).all()
