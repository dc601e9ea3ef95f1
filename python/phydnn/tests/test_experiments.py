# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Experiments: each point once, the same numbers wherever it runs, one sentence where it fails."""

import copy
import functools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phydnn import datasets, experiments, networks, parallel, pruning, train
from phydnn.bundle import Bundle
from phydnn.cli import main
from phydnn.errors import InputError, RunError
from phydnn.evaluate import sweep
from phydnn.experiments import Settings, inference, report
from phydnn.train.airnet import AirnetConfig

EXPERIMENT = """
import os, random, signal
from pathlib import Path

TITLE = "A trial <b>&</b> its error"
SOURCE = "Nobody, Fig. 0"
VERSION = 1
OPTIONS = {"count": 4, "bad": -1, "scale": 1.0}

def points(settings):
    return [
        {"i": i, "seed": 7, "bad": i == settings.options["bad"], "scale": settings.options["scale"]}
        for i in range(settings.options["count"])
    ]

def measure(point, folder):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "calls").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    if point["bad"] and "KILL" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    if point["bad"]:
        raise ZeroDivisionError("no such thing")
    value = random.Random(f"{point['seed']}/{point['i']}").random()
    return [{"system": "trial", "scheme": "<script>", "i": point["i"], "value": value,
             "accuracy": 0.5, "ci95": [0.4, 0.6], "a0": 0.75, "seed": point["seed"],
             "paper": {"a0": 0.9, "accuracy": 0.8}}]

def draw(figure, rows):
    figure.subplots().plot([row["value"] for row in rows])
"""


@pytest.fixture
def trial(tmp_path: Path) -> experiments.Experiment:
    path = tmp_path / "trial.py"
    path.write_text(EXPERIMENT)
    return experiments.load(str(path))


def ask(tmp_path: Path, **options: Any) -> Settings:
    defaults = {"count": 4, "bad": -1, "scale": 1.0}
    return Settings(folder=tmp_path / "runs" / "trial", options=defaults | options)


def calls(tmp_path: Path) -> list[str]:
    """The processes that measured a point, a line each time."""
    files = sorted((tmp_path / "runs" / "trial").glob("*/calls"))
    return [line for file in files for line in file.read_text().splitlines()]


def without_origin(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in ("command", "git")}


def test_a_finished_point_is_never_measured_again(
    trial: experiments.Experiment, tmp_path: Path
) -> None:
    out = tmp_path / "results" / "trial.json"
    seen: list[tuple[int, int]] = []
    first = experiments.run(trial, ask(tmp_path), out, track=lambda *now: seen.append(now))
    assert [row["i"] for row in first["rows"]] == [0, 1, 2, 3]
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert json.loads(out.read_text()) == first
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert len(calls(tmp_path)) == 4

    more = experiments.run(trial, ask(tmp_path, count=6), out)
    assert len(calls(tmp_path)) == 6
    assert more["rows"][:4] == first["rows"]
    # Other parameters are other points.
    experiments.run(trial, ask(tmp_path, scale=2.0), out)
    assert len(calls(tmp_path)) == 10


def test_the_numbers_do_not_depend_on_the_number_of_workers(
    trial: experiments.Experiment, tmp_path: Path
) -> None:
    results = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        result = experiments.run(trial, ask(folder), folder / "trial.json", workers=workers)
        results.append(without_origin(result))
    assert results[0] == results[1]
    assert set(calls(tmp_path / "1")) == {str(os.getpid())}
    assert str(os.getpid()) not in calls(tmp_path / "2")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    distributed = pytest.importorskip("distributed", reason="needs the extra 'cluster'")
    # The machine may have more to do than to answer.
    monkeypatch.setattr(parallel, "CLUSTER_TIMEOUT_S", 60)
    threads = torch.get_num_threads()
    environment = {name: os.environ.get(name) for name in parallel.THREADS}
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as local:
        yield local.scheduler.address
    # Its worker was in this process, and left it with one thread.
    torch.set_num_threads(threads)
    for name, value in environment.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def test_a_cluster_gives_the_same_numbers(
    trial: experiments.Experiment, tmp_path: Path, digits_bundle: Bundle, cluster: str
) -> None:
    here = experiments.run(trial, ask(tmp_path / "here"), tmp_path / "here.json")
    there = experiments.run(
        trial, ask(tmp_path / "there"), tmp_path / "there.json", cluster=cluster
    )
    assert without_origin(there) == without_origin(here)
    with pytest.raises(RunError, match=r"i=2, seed=7, .* ZeroDivisionError: no such thing"):
        experiments.run(trial, ask(tmp_path / "bad", bad=2), tmp_path / "b.json", cluster=cluster)
    assert len(calls(tmp_path / "bad")) == 4

    images = datasets.load("digits").take(slice(100))
    assert sweep(digits_bundle, images, [0.0, 12.0], cluster=cluster) == sweep(
        digits_bundle, images, [0.0, 12.0]
    )


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp://127.0.0.1:1", "no Dask scheduler answers at tcp://127.0.0.1:1: "),
        ("nonsense", "no Dask scheduler answers at nonsense: missing port number"),
        ("fog://127.0.0.1:1", "unknown address scheme 'fog'"),
    ],
)
def test_a_cluster_that_is_not_there(address: str, reason: str) -> None:
    pytest.importorskip("distributed", reason="needs the extra 'cluster'")
    with pytest.raises(InputError, match=reason):
        list(parallel.each(abs, [1], cluster=address))


def test_a_cluster_without_its_package_or_beside_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'phydnn\[cluster\]'"):
        list(parallel.each(abs, [1], cluster="tcp://127.0.0.1:1"))
    with pytest.raises(InputError, match="--workers for this machine or --cluster, not both"):
        parallel.each(abs, [1], workers=2, cluster="tcp://127.0.0.1:1")


def test_sweeps_with_worker_processes_give_the_same_numbers(digits_bundle: Bundle) -> None:
    images = datasets.load("digits").take(slice(100))
    advanced: list[None] = []
    rows = sweep(
        digits_bundle, images, [-5.0, 12.0], "rayleigh", 3, workers=2,
        advance=lambda: advanced.append(None),
    )  # fmt: skip
    assert rows == sweep(digits_bundle, images, [-5.0, 12.0], "rayleigh", 3)
    assert len(advanced) == 2
    with pytest.raises(InputError, match="channel must be"):
        sweep(digits_bundle, images, [12.0, 13.0], "fog", workers=2)


def test_work_has_one_thread_and_leaves_the_rest_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    torch.set_num_threads(2)
    [(_, seen)] = parallel.each(lambda _: (torch.get_num_threads(), dict(os.environ)), [0])
    assert seen[0] == 1
    assert all(seen[1][name] == "1" for name in parallel.THREADS)
    assert torch.get_num_threads() == 2
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_point_is_named_and_the_rest_is_kept(
    workers: int,
    trial: experiments.Experiment,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "trial.json"
    with pytest.raises(RunError) as caught:
        experiments.run(trial, ask(tmp_path, bad=1), out, workers)
    assert str(caught.value) == (
        "1 of 4 points of trial failed, first i=1, seed=7, bad=true, scale=1.0: "
        "ZeroDivisionError: no such thing; the finished ones are kept, so run this again"
    )
    assert "failed: i=1" in caplog.text
    assert not out.exists()
    assert len(list(ask(tmp_path).folder.glob("*.json"))) == 3


def test_a_worker_that_dies_fails_its_points_only_by_a_sentence(
    trial: experiments.Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILL", "1")
    with pytest.raises(RunError, match="a worker process died"):
        experiments.run(trial, ask(tmp_path, bad=3), tmp_path / "trial.json", workers=2)


def test_a_killed_run_goes_on(tmp_path: Path, trial: experiments.Experiment) -> None:
    code = (
        "import sys; from pathlib import Path; from phydnn import experiments\n"
        "path, folder = sys.argv[1:]\n"
        "options = {'count': 4, 'bad': 2, 'scale': 1.0}\n"
        "settings = experiments.Settings(folder=Path(folder), options=options)\n"
        "experiments.run(experiments.load(path), settings, Path(folder) / 'out.json')\n"
    )
    arguments = [sys.executable, "-c", code, str(trial.path), str(ask(tmp_path).folder)]
    killed = subprocess.run(arguments, env=os.environ | {"KILL": "1"}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(calls(tmp_path)) == 3
    # The points before it are there; the one that was cut off fails by itself, the last is new.
    with pytest.raises(RunError, match="1 of 4 points"):
        experiments.run(trial, ask(tmp_path, bad=2), tmp_path / "trial.json")
    assert len(calls(tmp_path)) == 5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"experiment": "trial", "version": 1}',
        b'{"experiment": "trial", "version": 2, "point": {}, "rows": [], "git": "x"}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_point_is_measured_again(
    content: bytes,
    trial: experiments.Experiment,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = experiments.run(trial, ask(tmp_path), tmp_path / "trial.json")
    kept = sorted(ask(tmp_path).folder.glob("*.json"))[0]
    kept.write_bytes(content)
    again = experiments.run(trial, ask(tmp_path), tmp_path / "trial.json")
    assert again == first
    assert len(calls(tmp_path)) == 5
    assert f"{kept} is damaged" in caplog.text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("TITLE", "TITLES"), "has no TITLE of type str"),
        (("VERSION = 1", "VERSION = 'one'"), "has no VERSION of type int"),
        (("def draw", "def paint"), "has no function draw"),
        (("VERSION = 1", "VERSION = ="), "cannot be imported: SyntaxError"),
        (("VERSION = 1", "import no_such_module"), "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_an_experiment_that_lacks_something(
    change: tuple[str, str], sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "trial.py"
    path.write_text(EXPERIMENT.replace(*change))
    with pytest.raises(InputError, match=sentence):
        experiments.load(str(path))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("    return [\n        {", "    return []\n    [\n        {", "has nothing to measure"),
        ('{"i": i,', '{"i": 0,', "has a point twice"),
        ('{"i": i,', '{"i": {i},', "is not plain JSON"),
        ('{"i": i,', '{"i": float("nan"),', "is not plain JSON"),
    ],
)
def test_points_that_are_none(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "trial.py"
    path.write_text(EXPERIMENT.replace(old, new))
    with pytest.raises(InputError, match=sentence):
        experiments.run(experiments.load(str(path)), ask(tmp_path), tmp_path / "trial.json")


@pytest.mark.parametrize("rows", ["{}", "[1]", "[{'system': 'trial'}]", "[{'scheme': 's'}]"])
def test_rows_that_are_none(rows: str, tmp_path: Path) -> None:
    path = tmp_path / "trial.py"
    path.write_text(
        EXPERIMENT.replace("    value = random", f"    return {rows}\n    value = random")
    )
    with pytest.raises(RunError, match=r"4 of 4 points of trial failed, first i=0, .*gave"):
        experiments.run(experiments.load(str(path)), ask(tmp_path), tmp_path / "trial.json")


def test_a_points_name_is_that_of_its_parameters(trial: experiments.Experiment) -> None:
    assert experiments.key(trial, {"a": 1, "b": [2]}) == experiments.key(trial, {"b": [2], "a": 1})
    assert experiments.key(trial, {"a": 1}) != experiments.key(trial, {"a": 1.5})
    assert experiments.key(trial, {}) != experiments.key(
        experiments.Experiment(**vars(trial) | {"version": 2}), {}
    )


def test_options(trial: experiments.Experiment) -> None:
    read = functools.partial(experiments.read_options, trial)
    assert read([]) == {"count": 4, "bad": -1, "scale": 1.0}
    assert read(["count=9", "scale=2"]) == {"count": 9, "bad": -1, "scale": 2.0}
    for override, sentence in (
        ("count", "--set count is not key=value"),
        ("n=1", "has no option 'n': bad, count, scale"),
        ("count=two", "must be of type int"),
        ("count=true", "must be of type int"),
    ):
        with pytest.raises(InputError, match=sentence):
            read([override])


@settings(deadline=None)
@given(st.text())
def test_any_option_is_read_or_refused(text: str) -> None:
    experiment = experiments.load("phydnn_fig10")
    try:
        assert isinstance(experiments.read_options(experiment, [text])["bundle"], str)
    except InputError:
        return


def test_the_command(
    tmp_path: Path, trial: experiments.Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, out = tmp_path / "runs", tmp_path / "out.json"
    command = ["experiment", str(trial.path), "--quick", "--runs", str(runs)]
    assert main([*command, "--set", "count=2"]) == 0
    said = capsys.readouterr().out
    assert "50.00% (40.00 to 60.00)" in said
    assert "paper: loss, points: 10.00" in said
    assert json.loads((runs / "trial_quick.json").read_text())["quick"] is True
    assert main([*command, "--set", "bad=0", "--json", str(out)]) == 1
    assert "phydnn: 1 of 4 points of trial failed, first i=0" in capsys.readouterr().err
    assert not out.exists()
    for arguments, sentence in (
        (["experiment"], "phydnn: name an experiment"),
        (["experiment", "phydnn_fig99"], "there is no experiment 'phydnn_fig99'"),
        (["experiment", "phydnn_fig10"], "the full form needs --data cifar10:DIR"),
        ([*command, "--data", "cifar10:x"], "--quick is on the embedded digits"),
        ([*command, "--workers", "0"], "Invalid value for '--workers'"),
        ([*command, "--workers", "2", "--cluster", "tcp://h:1"], "not both"),
        (
            ["experiment", "phydnn_fig10", "--quick", "--json",
             str(experiments.RESULTS / "phydnn_fig10.json")],
            "holds the full form's results",
        ),
    ):  # fmt: skip
        assert main(arguments) == 2, arguments
        assert sentence in capsys.readouterr().err


def test_the_list_names_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "--list"]) == 0
    said = capsys.readouterr().out
    for name in ("table2", "fig10", "table3", "uses", "ablation", "conditions", "constellation"):
        assert f"phydnn_{name} " in said


@pytest.mark.parametrize("name", experiments.available())
def test_each_experiment_has_points_that_are_plain_and_different(name: str, tmp_path: Path) -> None:
    experiment = experiments.load(name)
    for settings_ in (
        Settings(quick=True, folder=tmp_path, options=experiment.options),
        Settings(data="cifar10:x", train=True, folder=tmp_path, options=experiment.options),
    ):
        points = experiment.points(settings_)
        assert len({experiments.key(experiment, point) for point in points}) == len(points)
        assert json.loads(json.dumps(points)) == points
        assert points or not settings_.quick


@pytest.mark.parametrize("name", ["airnet_fig6a", "airnet_fig8a", "airnet_fig8b"])
def test_short_trainings_are_not_all_pruning(name: str, tmp_path: Path) -> None:
    experiment = experiments.load(name)
    asked = Settings(data="cifar10:x", folder=tmp_path, options=experiment.options)
    network = networks.build("vgg16@0.5", 10, [125.0] * 3, [60.0] * 3)
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    given = {json.dumps(point["airnet"] | {"data": "x"}) for point in experiment.points(asked)}
    for values in given:
        config = train.read_config(
            AirnetConfig, "airnet", "airnet", inference.overrides(json.loads(values))
        )
        if config.prune == "joint":
            small, steps = copy.deepcopy(network), 1
            while not pruning.prune(small, image, config.budget, config.prune_share):
                steps += 1
            assert pruning.count(small) <= config.budget
            assert config.epochs >= steps + 2, (config.bandwidth, steps)


@pytest.mark.parametrize("name", ["phydnn_ablation", "phydnn_conditions"])
def test_no_two_rows_are_the_same_training(name: str, tmp_path: Path) -> None:
    experiment = experiments.load(name)
    asked = Settings(data="cifar10:x", folder=tmp_path, options=experiment.options)
    given = [
        inference.overrides(point["phydnn"] | {"seed": point["seed"]})
        for point in experiment.points(asked)
    ]
    configs = [train.read_config(train.PhydnnConfig, "phydnn", "cifar10", each) for each in given]
    assert len({repr(config) for config in configs}) == len(given)


def test_training_points_share_their_backbone_and_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        inference, "QUICK", {"backbone": {"epochs": 1}, "phydnn": {"epochs": 1, "limit": 128}}
    )
    experiment = experiments.load("phydnn_table2")
    asked = Settings(quick=True, folder=tmp_path / "phydnn_table2", options=experiment.options)
    result = experiments.run(experiment, asked, tmp_path / "table2.json")
    assert [(row["points"], row["channel_uses"], row["bytes"]) for row in result["rows"]] == [
        (16, 64, 32.0), (8, 64, 24.0), (4, 64, 16.0),
    ]  # fmt: skip
    assert len({row["a0"] for row in result["rows"]}) == 1
    assert len(list((tmp_path / "backbones").iterdir())) == 1
    # A point whose rows were lost is not trained again, only scored.
    trained = {path: path.stat().st_mtime_ns for path in asked.folder.glob("*/last.safetensors")}
    assert len(trained) == 3
    for path in asked.folder.glob("*.json"):
        path.unlink()
    again = experiments.run(experiment, asked, tmp_path / "table2.json")
    assert again == result
    assert trained == {path: path.stat().st_mtime_ns for path in trained}
    # Of many conditions, each row is what it is alone.
    point = experiment.points(asked)[0]
    conditions = {"conditions": [["rayleigh", 4.0], [point["channel"], point["snr_db"]]]}
    folder = asked.folder / experiments.key(experiment, point)
    faded, own = inference.of_training(point | conditions, folder)
    assert own | {"paper": None} == result["rows"][0] | {"paper": None}
    assert (faded["channel"], faded["snr_db"]) == ("rayleigh", 4.0)
    assert faded["accuracy"] != own["accuracy"]


def test_a_given_backbone_is_known_by_its_content(tmp_path: Path) -> None:
    weights = tmp_path / "best.safetensors"
    asked = functools.partial(Settings, quick=True, folder=tmp_path)
    with pytest.raises(InputError, match="cannot read the backbone"):
        inference.train_point(asked(options={"weights": str(weights)}), "s", {})
    points = []
    for content in (b"a", b"b"):
        weights.write_bytes(content)
        points.append(inference.train_point(asked(options={"weights": str(weights)}), "s", {}))
    assert points[0]["weights"] == points[1]["weights"]
    assert points[0]["weights_sha256"] != points[1]["weights_sha256"]


def test_bundles_of_ones_own_stand_beside_those_that_ship(tmp_path: Path) -> None:
    experiment = experiments.load("phydnn_fig10")
    asked = functools.partial(Settings, quick=True, folder=tmp_path / "points")
    with pytest.raises(InputError, match="no bundle in"):
        experiment.points(asked(options=experiment.options | {"bundles": str(tmp_path)}))
    own = tmp_path / "mine"
    shutil.copytree(inference.MODELS / "phydnn-resnet20-digits", own / "copy")
    # The copy has the same name, so that what is measured shows from where it was read.
    points = experiment.points(asked(options=experiment.options | {"bundles": str(own)}))
    shipped = experiment.points(asked(options=experiment.options))
    assert points[: len(shipped)] == shipped and len(points) == 2 * len(shipped)
    assert points[len(shipped) :] == [p | {"folder": str(own / "copy")} for p in shipped]
    (row,) = experiment.measure(points[len(shipped)], tmp_path)
    assert [row] == experiment.measure(shipped[0], tmp_path)
    shutil.rmtree(own / "copy")
    inference._simulation.cache_clear()
    with pytest.raises(InputError):
        experiment.measure(points[len(shipped)], tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"1", b'{"system": "phydnn"}', b'{"system": "phydnn", "dataset": 1}', b"\xff"],
)
def test_a_bundle_of_ones_own_that_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "bundle.json").write_bytes(content)
    with pytest.raises(InputError, match=r"mine/bundle\.json is no bundle's"):
        inference.bundles(Settings(quick=True, folder=tmp_path, options={"bundles": str(tmp_path)}))


DICTIONARY = {
    "epoch": 1,
    "embeddings": [[0.0, 0.0], [1.0, 0.0], [0.0, 3.0], [1.0, 3.0]],
    "points": [[-1, 0], [-0.9, 0], [1, 0], [0.9, 0]],
    "usage": [1, 1, 1, 1],
}


def test_the_constellation_is_read_from_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    lines = [DICTIONARY, DICTIONARY | {"epoch": 2, "usage": [2, 2, 0, 0]}]
    # A resumed run writes its last epoch again.
    lines.append(lines[1] | {"usage": [4, 0, 0, 0]})
    path = run / "dictionary.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    experiment = experiments.load("phydnn_constellation")
    options = experiment.options | {"run": str(run)}
    asked = Settings(folder=tmp_path / "runs", options=options)
    result = experiments.run(experiment, asked, tmp_path / "c.json")
    first, second = result["rows"]
    assert (first["usage_entropy_bits"], second["usage_entropy_bits"]) == (2.0, 0.0)
    # Neighbours are 1 apart; of the six pairs two are, two are 3, two are the root of 10.
    assert first["neighbour_distance"] == pytest.approx(1 / np.mean([1, 3, 10**0.5]))
    assert first["shade"] == pytest.approx([0.0, 0.0, 1.0, 1.0]) or first["shade"] == pytest.approx(
        [1.0, 1.0, 0.0, 0.0]
    )
    with pytest.raises(InputError, match="cannot read"):
        experiment.points(Settings(folder=tmp_path, options=options | {"run": str(tmp_path)}))


@pytest.mark.parametrize(
    "change",
    [
        {"usage": [1, 1, 1]},
        {"usage": 4},
        {"points": [[1, 0]] * 3},
        {"points": [[1, 0, 0]] * 4},
        {"embeddings": [0, 1, 2, 3]},
        {"embeddings": [[0], [1], [2], [float("nan")]]},
        {"epoch": "first"},
    ],
)
def test_a_dictionary_that_does_not_fit(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "dictionary.jsonl"
    path.write_text(json.dumps(DICTIONARY) + "\n" + json.dumps(DICTIONARY | change) + "\n")
    with pytest.raises(InputError, match=r"dictionary\.jsonl, line 2: "):
        inference.read_dictionary(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary()
    | st.builds(
        lambda change: json.dumps(DICTIONARY | change).encode(),
        st.dictionaries(st.sampled_from(sorted(DICTIONARY)), json_values),
    )
)
def test_any_dictionary_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dictionary.jsonl"
    path.write_bytes(content)
    try:
        epochs = inference.read_dictionary(path)
    except InputError:
        return
    assert all(len(epoch["usage"]) == len(epoch["points"]) for epoch in epochs)


@pytest.fixture
def results(tmp_path: Path, trial: experiments.Experiment) -> Path:
    folder = tmp_path / "results"
    experiments.run(trial, ask(tmp_path), folder / "trial.json")
    return folder


def test_the_report_is_one_page_with_all_in_it(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "bench_sync.json").write_text('{"figures": []}')
    out = tmp_path / "report"
    assert main(["report", "--results", str(results), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'index.html'}: 1 experiment\n"
    page = (out / "index.html").read_text()
    assert (out / "trial.png").read_bytes().startswith(b"\x89PNG")
    assert page.count('src="data:image/png;base64,') == 1
    assert "http" not in page.replace("http-equiv", "")
    # What comes from the results is text, never markup.
    assert "A trial &lt;b&gt;&amp;&lt;/b&gt; its error" in page
    assert "&lt;script&gt;" in page and "<script" not in page and "<b>" not in page
    assert "<dt>paper: loss, points</dt><dd>10.00</dd>" in page
    assert "<dt>seed</dt><dd>7</dd>" in page
    git = json.loads((results / "trial.json").read_text())["git"]
    assert f"<dt>commit</dt><dd>{git}</dd>" in page


def test_the_report_passes_over_what_is_damaged(
    results: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (results / "a.json").write_text("{")
    (results / "b.json").write_text('{"experiment": "b"}')
    (results / "c.json").write_text("[" * 100_000)
    # An experiment whose file is elsewhere keeps the picture of its run.
    page, count = report.build(results, tmp_path / "report")
    assert count == 1
    assert all(f"{name}.json is left out" in caplog.text for name in "abc")
    # Rows that cannot be drawn still make a table.
    (results / "phydnn_fig10.json").write_text(
        json.dumps({"experiment": "phydnn_fig10", "rows": [{"system": "x", "n": 1}]})
    )
    with caplog.at_level(logging.WARNING):
        page, count = report.build(results, tmp_path / "report")
    assert count == 2
    assert "its rows cannot be drawn" in caplog.text
    assert '<section id="phydnn_fig10">' in page.read_text()


def test_a_report_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no experiment's results"):
        report.build(tmp_path, tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        report.build(tmp_path / "absent", tmp_path)


def test_a_table_sets_ours_beside_the_papers() -> None:
    common, headings, lines = report.table(
        [
            {"system": "phydnn", "scheme": "a", "macs": 42.9e6, "paper": {"macs": 291.65e6}},
            {"system": "phydnn", "scheme": "b", "params": 512, "paper": None, "n": 10},
        ]
    )
    assert common == {"system": "phydnn"}
    assert headings == ["scheme", "MACs", "paper: MACs", "parameters", "n"]
    assert lines == [["a", "42.9 M", "291.6 M", "", ""], ["b", "", "", "512", "10"]]


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(), json_values, max_size=4), min_size=1, max_size=3))
def test_a_table_takes_any_keys(rows: list[dict[str, Any]]) -> None:
    known = set(report.COLUMNS) | {"paper", "ci95"}
    rows = [{k: v for k, v in row.items() if k not in known} for row in rows]
    _, headings, lines = report.table(rows)
    assert all(len(line) == len(headings) for line in lines)
