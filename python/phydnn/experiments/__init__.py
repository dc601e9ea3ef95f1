# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Experiments: a figure or a table of a paper, measured point by point.

An experiment is one Python file, ``testbed/experiments/NAME.py``, with

- ``TITLE``: one line; ``SOURCE``: the paper and its figure or table;
- ``VERSION``: an integer, raised when a change makes old measurements wrong;
- ``OPTIONS``: what ``--set`` may change, with the defaults (may be left out);
- ``points(settings) -> list[dict]``: the grid, each point's parameters as plain JSON. Whatever
  the numbers depend on is among them: seeds, a bundle's id, the data set;
- ``measure(point, folder) -> list[dict]``: the rows of one point, as plain JSON with the keys of
  docs/experiments.md. ``folder`` is the point's own, to leave checkpoints in;
- ``draw(figure, rows)``: fills a matplotlib figure; style in :mod:`phydnn.experiments.plots`.

A point that is finished is kept under the hash of the experiment's name, version and the point's
parameters, and never measured again.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import logging
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phydnn import parallel
from phydnn.errors import InputError, RunError
from phydnn.results import provenance, write_bytes, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "testbed" / "experiments"
RESULTS = ROOT / "testbed" / "results"

Point = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run of an experiment was asked for.

    Attributes:
        quick: the short form.
        data: the data set, as :func:`phydnn.datasets.load` takes it; empty for the default.
        train: train what the full form would otherwise take from shipped bundles.
        folder: where the experiment keeps its points and checkpoints.
        options: the experiment's OPTIONS, overrides applied.
    """

    quick: bool = False
    data: str = ""
    train: bool = False
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """An experiment's file, loaded. The fields are the file's names in small letters."""

    path: Path
    title: str
    source: str
    version: int
    options: dict[str, Any]
    points: Callable[[Settings], list[Point]]
    measure: Callable[[Point, Path], list[Row]]
    draw: Callable[[Figure, list[Row]], None]

    @property
    def name(self) -> str:
        return self.path.stem


def available() -> list[str]:
    """The names of the experiments that ship, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.py"))


def load(name: str) -> Experiment:
    """Loads an experiment that ships by its name, or any by the path of its ``.py`` file.

    Raises:
        InputError: there is none, or its file lacks something.
    """
    path = Path(name) if name.endswith(".py") else FOLDER / f"{name}.py"
    if not path.is_file():
        known = ", ".join(available()) or "none, since this is no checkout"
        raise InputError(f"there is no experiment '{name}': give a .py file or one of {known}")
    return _load(path.resolve())


@functools.cache
def _load(path: Path) -> Experiment:
    spec = importlib.util.spec_from_file_location(f"phydnn_experiment_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    wanted = {"TITLE": str, "SOURCE": str, "VERSION": int, "OPTIONS": dict}
    values = {"OPTIONS": {}, **vars(module)}
    for name, kind in wanted.items():
        if not isinstance(values.get(name), kind):
            raise InputError(f"{path} has no {name} of type {kind.__name__}: add it")
    for name in ("points", "measure", "draw"):
        if not callable(values.get(name)):
            raise InputError(f"{path} has no function {name}: add it")
    return Experiment(
        path,
        *(values[name] for name in wanted),
        *(values[name] for name in ("points", "measure", "draw")),
    )


def read_options(experiment: Experiment, overrides: Sequence[str]) -> dict[str, Any]:
    """The experiment's options with ``key=value`` applied; values are TOML, or else strings.

    Raises:
        InputError: no such option, or a value of another type than the default's.
    """
    options = dict(experiment.options)
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"--set {override} is not key=value")
        if name not in options:
            known = ", ".join(sorted(options)) or "it has none"
            raise InputError(f"{experiment.name} has no option '{name}': {known}")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        kind = type(options[name])
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise InputError(f"the option {name} is {value!r} but must be of type {kind.__name__}")
        options[name] = value
    return options


def key(experiment: Experiment, point: Point) -> str:
    """The name under which a point's rows are kept: 16 hexadecimal digits."""
    identity = [experiment.name, experiment.version, point]
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _keep(path: Path, experiment: Experiment, point: Point, rows: list[Row]) -> None:
    kept = {"experiment": experiment.name, "version": experiment.version, "point": point}
    write_json(path, {**kept, "rows": rows, "git": provenance()["git"]})


def _kept(path: Path, experiment: Experiment, point: Point) -> dict[str, Any] | None:
    """A point that was finished before; None where there is none that is sound."""
    if not path.exists():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        sound = (kept["experiment"], kept["version"]) == (experiment.name, experiment.version)
        if sound and kept["point"] == point and isinstance(kept["git"], str):
            _check_rows(kept["rows"])
            return dict(kept)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, RunError) as error:
        logger.debug("%s: %s", path, error)
    logger.warning("%s is damaged: its point is measured again", path)
    return None


def _check_rows(rows: Any) -> None:
    if not isinstance(rows, list):
        raise RunError(f"measure() gave {type(rows).__name__}, not a list of rows")
    for row in rows:
        if not isinstance(row, dict) or not all(
            isinstance(row.get(name), str) for name in ("system", "scheme")
        ):
            raise RunError("measure() gave a row without 'system' and 'scheme'")


def _measure(path: Path, folder: Path, point: Point) -> list[Row]:
    """One point, in whatever process: it finds the experiment by its file."""
    experiment = _load(path)
    rows = experiment.measure(point, folder / key(experiment, point))
    _check_rows(rows)
    return rows


def run(
    experiment: Experiment,
    settings: Settings,
    out: Path,
    workers: int = 1,
    cluster: str = "",
    track: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measures what is not yet finished, and writes the result and its picture.

    Args:
        experiment: from :func:`load`.
        settings: what to measure.
        out: the JSON file; the picture goes beside it, with the ending ``.png``.
        workers, cluster: see :func:`phydnn.parallel.each`; the numbers do not depend on them.
        track: called with the number of finished points and of all, whenever it changes.

    Returns:
        what was written: experiment, title, source, quick, rows, measured_at (the commits at
        which the points were measured), command, git.

    Raises:
        InputError: nothing to measure, a point twice, or one that fails for its input.
        RunError: a point failed; the message names it. The others are kept.
    """
    points = experiment.points(settings)
    if not points:
        raise InputError(f"{experiment.name} has nothing to measure: see the lines above")
    try:
        paths = [settings.folder / f"{key(experiment, point)}.json" for point in points]
    except (TypeError, ValueError) as error:
        raise InputError(f"a point of {experiment.name} is not plain JSON: {error}") from error
    if len(set(paths)) < len(paths):
        raise InputError(f"{experiment.name} has a point twice")
    pairs = list(zip(paths, points, strict=True))
    finished = [_kept(path, experiment, point) for path, point in pairs]
    todo = [i for i, kept in enumerate(finished) if kept is None]
    done = len(points) - len(todo)
    track(done, len(points))
    failures: list[tuple[Point, InputError | RunError]] = []
    work = functools.partial(_measure, experiment.path, settings.folder.resolve())
    for position, outcome in parallel.each(work, [points[i] for i in todo], workers, cluster):
        index = todo[position]
        if isinstance(outcome, parallel.Failure):
            failures.append((points[index], outcome.error))
            logger.error("failed: %s: %s", describe(points[index]), outcome.error)
            continue
        _keep(paths[index], experiment, points[index], outcome)
        # Read back, so that a point's rows are the same now and when they come from the file.
        finished[index] = _kept(paths[index], experiment, points[index])
        done += 1
        track(done, len(points))
    if failures:
        point, reason = failures[0]
        raise type(reason)(
            f"{len(failures)} of {len(points)} points of {experiment.name} failed, first "
            f"{describe(point)}: {reason}; the finished ones are kept, so run this again"
        )
    kept = [entry for entry in finished if entry is not None]
    rows: list[Row] = [row for entry in kept for row in entry["rows"]]
    result = {
        "experiment": experiment.name,
        "title": experiment.title,
        "source": experiment.source,
        "quick": settings.quick,
        "rows": rows,
        "measured_at": sorted({entry["git"] for entry in kept}),
        **provenance(),
    }
    from phydnn.experiments.plots import picture

    write_json(out, result)
    write_bytes(out.with_suffix(".png"), picture(experiment.draw, rows))
    return result


def describe(point: Point) -> str:
    """A point in a sentence: its parameters."""
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in point.items())
