# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Results: what is written is whole, says where it came from, and how sure it is."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from phydnn import results
from phydnn.errors import InputError
from phydnn.results import provenance, wilson_interval, write_json


def test_write_json_takes_numpy_and_writes_null_for_what_json_cannot_say(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    write_json(
        path,
        {
            "accuracy": np.float32(0.5),
            "n": np.int64(360),
            "ci95": (np.float64(0.25), 0.75),
            "evm_db": float("-inf"),
            "points": np.array([[1, 2], [3, 4]]),
            "met": np.True_,
            "where": tmp_path,
        },
    )
    assert json.loads(path.read_text()) == {
        "accuracy": 0.5,
        "n": 360,
        "ci95": [0.25, 0.75],
        "evm_db": None,
        "points": [[1, 2], [3, 4]],
        "met": True,
        "where": str(tmp_path),
    }


def test_write_json_leaves_the_old_file_when_the_new_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"n": 1})

    with pytest.raises(TypeError):
        write_json(path, {"n": object()})
    assert json.loads(path.read_text()) == {"n": 1}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_json(path, {"n": 2})
    assert json.loads(path.read_text()) == {"n": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_write_json_names_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "file" / "result.json"))):
        write_json(tmp_path / "file" / "result.json", {})


def test_provenance_names_the_command_and_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.argv", ["/some/where/phydnn/__main__.py", "run", "--data", "images:a b"]
    )
    made_by = provenance()
    assert made_by["command"] == "phydnn run --data 'images:a b'"
    head = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made_by["git"].removesuffix("-dirty") == (head.stdout.strip() or "unknown")


def test_provenance_does_not_claim_the_commit_of_a_checkout_it_is_not_part_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "other"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    monkeypatch.setattr(results, "_SOURCE", tmp_path)
    assert provenance()["git"] == "unknown"


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_scipys(counts: tuple[int, int]) -> None:
    successes, trials = counts
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(successes, trials)
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)
    assert 0.0 <= low <= successes / trials <= high <= 1.0


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 3), (4, 3)])
def test_wilson_interval_refuses_counts_that_do_not_fit(successes: int, trials: int) -> None:
    with pytest.raises(InputError, match=f"got {successes} of {trials}"):
        wilson_interval(successes, trials)
