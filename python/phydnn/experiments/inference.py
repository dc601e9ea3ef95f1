# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Points and rows of PhyDNN: a bundle that ships, simulated; or one trained for the purpose."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phydnn.errors import InputError
from phydnn.experiments import ROOT, Point, Row, Settings

if TYPE_CHECKING:
    from phydnn.bundle import Bundle
    from phydnn.embedding import PhyDNN
    from phydnn.evaluate import Simulation

logger = logging.getLogger(__name__)

MODELS = ROOT / "models"
OPTIONS = {"recipe": "cifar10", "weights": "", "provenance": ""}
"""Of experiments that train: the recipe, a trained backbone's checkpoint, the data in words."""
BUNDLES = {"bundles": ""}
"""Of experiments on bundles: a folder that holds more of them, to stand beside those that ship."""
QUICK = {"backbone": {"epochs": 6}, "phydnn": {"epochs": 3, "limit": 384}}
"""What the quick forms make of the digits' recipe: seconds, and an accuracy far from the full."""
FRAME = 256


def bundles(settings: Settings) -> list[dict[str, Any]]:
    """What bundle.json says of each bundle of the data set that is asked for, with ``path``.

    These are the bundles that ship, and those of the folder that the option ``bundles`` names.

    Raises:
        InputError: that folder holds no bundle, or one whose bundle.json cannot be read.
    """
    kind = (settings.data or "digits").partition(":")[0]
    found = sorted(MODELS.glob("*/bundle.json"))
    if more := str(settings.options.get("bundles", "")):
        own = sorted(Path(more).resolve().glob("*/bundle.json"))
        if not own:
            raise InputError(f"there is no bundle in {more}: name the folder that holds them")
        found = list(dict.fromkeys(found + own))
    chosen = []
    for path in found:
        try:
            meta = json.loads(path.read_text(encoding="utf-8"))
            if meta.get("system") == "phydnn" and meta["dataset"]["name"] == kind:
                chosen.append(meta | {"path": path.parent})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path} is no bundle's: {type(error).__name__}: {error}") from error
    return chosen


def bundle_point(meta: dict[str, Any], data: str, snr_db: float, seed: int = 1) -> Point:
    """A point that simulates a bundle of :func:`bundles` over AWGN."""
    from phydnn.bundle import Bundle

    bundle = Bundle.load(meta["path"])
    point: Point = {
        "bundle": bundle.name,
        "id": bundle.id,
        "data": data,
        "channel": "awgn",
        "snr_db": snr_db,
        "seed": seed,
    }
    if meta["path"].parent != MODELS:
        point["folder"] = str(meta["path"])
    return point


def need_data(settings: Settings) -> str:
    """The data set of a full form.

    Raises:
        InputError: none is given.
    """
    if not settings.data:
        raise InputError("the full form needs --data cifar10:DIR; --quick takes the digits")
    return settings.data


@functools.lru_cache(maxsize=1)
def _simulation(path: Path, data: str) -> tuple[Bundle, Simulation]:
    from phydnn import datasets
    from phydnn.bundle import Bundle
    from phydnn.evaluate import Simulation

    bundle = Bundle.load(path)
    images = datasets.load(data, "test", bundle.input_shape)
    return bundle, Simulation(bundle, images, threads=1)


def of_bundle(point: Point) -> Row:
    """The row of a point of :func:`bundle_point`."""
    bundle, simulation = _simulation(
        Path(point.get("folder", MODELS / point["bundle"])), point["data"]
    )
    found = simulation.run(point["snr_db"], point["channel"], point["seed"])
    meta = bundle.meta
    backbone = meta["metrics"].get("backbone", {})
    return {
        "system": "phydnn",
        "scheme": meta["training"]["mode"],
        "model": meta["split"]["model"],
        "dataset": meta["dataset"]["name"],
        "provenance": meta["dataset"]["provenance"],
        "channel": found["channel"],
        "snr_db": found["snr_db"],
        **air(bundle.uses, len(bundle.points)),
        "accuracy": found["accuracy"],
        "ci95": found["accuracy_ci95"],
        "a0": backbone.get("accuracy") if backbone.get("n") == found["n"] else None,
        **device(meta["split"]),
        "n": found["n"],
        "seed": found["seed"],
        "paper": None,
        "bundle": bundle.name,
    }


def air(uses: int, points: int) -> Row:
    """What an image costs on air: channel uses, points, and the labels' bytes."""
    return {"channel_uses": uses, "points": points, "bytes": uses * math.log2(points) / 8}


def device(costs: dict[str, Any]) -> Row:
    """What an image costs the device, from :func:`phydnn.export.costs` or a bundle's split."""
    if "head_macs" not in costs:
        return {}
    ratio = round(costs["head_macs"] / costs["split_macs"], 3)
    return {
        "macs": costs["head_macs"],
        "params": costs["head_parameters"],
        "macs_over_bare_split": ratio,
    }


def train_point(
    settings: Settings,
    scheme: str,
    phydnn: dict[str, Any],
    model: str = "resnet20",
    snr_db: float = 12.0,
    seed: int = 1,
) -> Point:
    """A point that adapts a backbone by a recipe and simulates what comes of it over AWGN.

    Args:
        settings: quick ones train on the digits for a few epochs.
        scheme: the row's name.
        phydnn: settings of :class:`phydnn.train.PhydnnConfig` in place of the recipe's.
        model: the backbone.
        snr_db: Es/N0 of the simulation.
        seed: of the adaptation and the simulation; the backbone is the same for all.
    """
    options = OPTIONS | settings.options
    quick: dict[str, dict[str, Any]] = QUICK if settings.quick else {"backbone": {}, "phydnn": {}}
    recipe = "digits" if settings.quick else str(options["recipe"])
    point: Point = {
        "scheme": scheme,
        "recipe": recipe,
        "data": "digits" if settings.quick else need_data(settings),
        "provenance": options["provenance"],
        "backbone": {"model": model, **quick["backbone"]},
        "phydnn": {**quick["phydnn"], **phydnn},
        "channel": "awgn",
        "snr_db": snr_db,
        "seed": seed,
    }
    if weights := str(options["weights"]):
        try:
            digest = hashlib.sha256(Path(weights).read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(f"cannot read the backbone {weights}: {error.strerror}") from error
        point |= {"weights": str(Path(weights).resolve()), "weights_sha256": digest}
    return point


def backbone(point: Point, folder: Path) -> Path:
    """The checkpoint of a point's backbone: the one given, or one trained for all that share it.

    Whoever comes first trains it; others on this machine wait until it is there.
    """
    from phydnn import train

    if "weights" in point:
        return Path(point["weights"])
    values = point["backbone"] | {"data": point["data"], "threads": 1}
    config = train.read_config(train.BackboneConfig, "backbone", point["recipe"], overrides(values))
    name = hashlib.sha256(repr(config).encode()).hexdigest()[:16]
    out = folder.parent.parent / "backbones" / name
    out.mkdir(parents=True, exist_ok=True)
    with (out / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return train.train_backbone(config, out)


def overrides(values: dict[str, Any]) -> list[str]:
    """Settings as ``--set`` takes them."""
    return [f"{name}={json.dumps(value)}" for name, value in values.items()]


def adapt(point: Point, folder: Path) -> tuple[PhyDNN, Path]:
    """Trains a point's PhyDNN into its folder, or goes on; returns it and its backbone's file."""
    from phydnn import datasets, train

    weights = backbone(point, folder)
    values = point["phydnn"] | {"data": point["data"], "seed": point["seed"], "threads": 1}
    config = train.read_config(train.PhydnnConfig, "phydnn", point["recipe"], overrides(values))
    best = train.train_phydnn(config, weights, folder)
    image = datasets.load(point["data"], "test").x[:1]
    return train.load_phydnn(best, train.load_backbone(weights), image)[0], weights


def of_training(point: Point, folder: Path) -> list[Row]:
    """The rows of a point of :func:`train_point`: one, or one for each of its ``conditions``.

    A condition is a channel, as :func:`phydnn.channel.named` takes it, and Es/N0 in dB.
    """
    import torch

    from phydnn import channel, datasets, evaluate, train
    from phydnn.export import costs

    phydnn, weights = adapt(point, folder)
    network = train.load_backbone(weights)
    images = datasets.load(point["data"], "test")
    assert images.y is not None
    x, y = torch.from_numpy(images.x), torch.from_numpy(images.y)
    kind = point["data"].partition(":")[0]
    spent = device(costs(phydnn, x[:1]))
    rows: list[Row] = []
    with torch.no_grad():
        labels = torch.cat(
            [phydnn.embedding.labels(phydnn.slices(part)) for part in x.split(FRAME)]
        )
        a0 = evaluate.backbone(network, images)
        for name, snr_db in point.get("conditions", [(point["channel"], point["snr_db"])]):
            fading, n0 = channel.named(name), channel.n0_of(snr_db)
            generator = torch.Generator().manual_seed(point["seed"])
            right = 0
            for sent, classes in zip(labels.split(FRAME), y.split(FRAME), strict=True):
                logits = phydnn.send(sent, n0.expand(len(sent), 1), fading, generator)
                right += int((logits.argmax(1) == classes).sum())
            found = evaluate.score(right, len(y))
            rows.append(
                {
                    "system": "phydnn",
                    "scheme": point["scheme"],
                    "model": point["backbone"]["model"],
                    "dataset": kind,
                    "provenance": point["provenance"] or kind,
                    "channel": name,
                    "snr_db": snr_db,
                    **air(labels.shape[1], len(phydnn.embedding.embeddings)),
                    "accuracy": found["accuracy"],
                    "ci95": found["accuracy_ci95"],
                    "a0": a0["accuracy"],
                    **spent,
                    "n": found["n"],
                    "seed": point["seed"],
                    "paper": None,
                }
            )
    return rows


def read_dictionary(path: Path) -> list[dict[str, Any]]:
    """The dictionary as it trained: what the training left in ``dictionary.jsonl``.

    Returns:
        for each epoch ``epoch``, ``embeddings`` [M][D], ``points`` [M][2] and ``usage`` [M], how
        many slices picked each embedding; where a resumed run wrote an epoch twice, the last.

    Raises:
        InputError: no such file, or a line that is something else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    epochs: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            arrays = {
                name: np.asarray(entry[name], np.float64)
                for name in ("embeddings", "points", "usage")
            }
            size = len(arrays["usage"])
            shapes = [array.shape for array in arrays.values()]
            sound = (
                isinstance(entry["epoch"], int)
                and size >= 2
                and shapes[0][:1] == (size,)
                and len(shapes[0]) == 2
                and shapes[1:] == [(size, 2), (size,)]
                and all(np.isfinite(array).all() for array in arrays.values())
            )
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            raise InputError(f"{path}, line {number}: {type(error).__name__}: {error}") from error
        if not sound:
            raise InputError(
                f"{path}, line {number}: embeddings [M][D], points [M][2] and usage [M] do not fit"
            )
        epochs[entry["epoch"]] = entry
    if not epochs:
        raise InputError(f"{path} holds no epoch")
    return [epochs[epoch] for epoch in sorted(epochs)]
