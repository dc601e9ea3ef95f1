# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Points and rows of L-DeepSC: a trained transceiver, whole or compressed, simulated on text."""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phydnn.errors import InputError
from phydnn.experiments import Point, Row, Settings, inference, plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from phydnn.text import Vocabulary
    from phydnn.train.deepsc import DeepscTask

SOURCE = (
    "H. Xie and Z. Qin, A Lite Distributed Semantic Communication System for Internet of Things "
    "(arXiv 2007.11095), {}. Its curves were not at hand: rows hold the paper's number only where "
    "its text gives one"
)
OPTIONS: dict[str, Any] = {
    "run": "",
    "blind": "",
    "tuned": "",
    "provenance": "",
    "sentences": 1000,
}
"""The folders of finished ``phydnn train deepsc``, to be measured instead of trained: one, one with
csi=none, and by comma those that were trained on after compression; the text in words; how many
sentences of the test text are sent."""
QUICK = {
    "epochs": 12,
    "sentences": 240,
    "vocabulary": 320,
    "layers": 1,
    "heads": 2,
    "width": 32,
    "hidden": 64,
    "batch": 800,
    "lr": 1e-2,
    "curriculum": 0.0,
    "negatives": 20,
    "snr_low": 6.0,
}
"""What the quick forms train on made-up sentences: seconds, and nothing to do with English."""
TUNED: dict[str, Any] = {"epochs": 5, "lr": 1e-3, "curriculum": 0.0}
"""Fine-tuning after compression, beside the run's own settings."""
SNRS = (0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0)
QUICK_SNRS = (0.0, 12.0)
CALIBRATED = 20
"""Batches that set ranges where nothing is trained."""
PAPER_BLEU = {("rician:2", "refined", 12.0): {"bleu_1": 0.896}}
"""At 12 dB and K = 2."""


def point(
    settings: Settings,
    scheme: str,
    snr_db: float,
    channel: str = "rician:2",
    csi: str = "refined",
    blind: bool = False,
    bits: int = 4,
    sparsity: float = 0.0,
    weight_bits: int = 0,
    tuned: bool = False,
    seed: int = 1,
) -> Point:
    """A point: a trained transceiver, what is made of it, and what it is sent through.

    Args:
        settings: quick ones train a small transceiver, once for all points that share it, and
            full ones without a run a whole one.
        scheme: the row's name.
        snr_db, channel, csi, seed: as of :func:`phydnn.evaluate_text.simulate`.
        blind: take the run that was trained without CSI.
        bits: of the constellation.
        sparsity, weight_bits: of the weights, as of :class:`phydnn.train.deepsc.DeepscConfig`.
        tuned: train on after compression, or take the run that was; otherwise only ranges are set
            anew.

    Raises:
        InputError: the full form lacks a text, or one to train on, or its run cannot be read.
    """
    options = OPTIONS | settings.options
    made: Point = {
        "scheme": scheme,
        "channel": channel,
        "csi": csi,
        "snr_db": snr_db,
        "bits": bits,
        "sparsity": sparsity,
        "weight_bits": weight_bits,
        "tuned": tuned,
        "seed": seed,
        "sentences": 40 if settings.quick else options["sentences"],
    }
    data, csi_trained = settings.data, {"csi": "none"} if blind else {}
    if settings.quick:
        return made | {"train": QUICK | csi_trained, "data": "", "provenance": ""}
    if not data:
        raise InputError("the full form needs --data text:FILE; --quick needs nothing")
    made |= {"data": data, "provenance": options["provenance"]}
    run = options["blind" if blind else "run"]
    if tuned and not settings.train:
        run = _tuned_runs(options["tuned"])[sparsity, weight_bits]
    if run:
        checkpoint = Path(run).resolve() / "deepsc" / "best.safetensors"
        return made | {"checkpoint": str(checkpoint), "sha256": _digest(checkpoint)}
    if data.startswith("text:"):
        raise InputError(
            "a text:FILE is all test text: name a run that was trained on another by --set run=DIR "
            "(and blind=DIR), or give --data europarl:DIR"
        )
    return made | {"train": csi_trained}


def can_tune(settings: Settings, sparsity: float, weight_bits: int) -> bool:
    """Whether a network of this compression can be had that was trained on after it.

    Raises:
        InputError: a run of the option ``tuned`` cannot be read.
    """
    if settings.quick or settings.train:
        return True
    return (sparsity, weight_bits) in _tuned_runs(settings.options.get("tuned", ""))


@functools.cache
def _tuned_runs(folders: str) -> dict[tuple[float, int], str]:
    """Finished runs, by comma, by sparsity and bits of their weights."""
    from phydnn.train.deepsc import load_deepsc

    runs = {}
    for run in filter(None, folders.split(",")):
        task, _ = load_deepsc(Path(run) / "deepsc" / "best.safetensors")
        runs[task.config.sparsity, task.config.weight_bits] = run
    return runs


@functools.cache
def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read the checkpoint {path}: {error.strerror}") from error


def snrs(settings: Settings) -> Sequence[float]:
    """The grid of Es/N0 in dB."""
    return QUICK_SNRS if settings.quick else SNRS


def made_up() -> list[str]:
    """Sentences of a small grammar, for the quick forms."""
    return [
        f"{who} {verb} the {what} of the {where} {when}."
        for who in ("I", "We", "The Commission", "The rapporteur", "My group")
        for verb in ("welcomed", "opened", "did not read", "discussed")
        for what in ("report", "budget", "question", "proposal")
        for where in ("Council", "European Parliament", "Member States")
        for when in ("today", "in 1999", "last week", "at once")
    ]


def checkpoint_of(point: Point, folder: Path) -> tuple[Path, str]:
    """A point's checkpoint and text; the quick form's is trained once for all who share it."""
    from phydnn import train
    from phydnn.results import write_bytes
    from phydnn.train.deepsc import DeepscConfig, train_deepsc

    if "checkpoint" in point:
        return Path(point["checkpoint"]), point["data"]
    root, data = folder.parent.parent / "transceivers", point["data"]
    if not data:
        data = f"text:{root / 'sentences.txt'}"
        write_bytes(root / "sentences.txt", "\n".join(made_up()).encode())
    values = point["train"] | {"data": data, "threads": 1}
    config = train.read_config(DeepscConfig, "deepsc", "europarl", inference.overrides(values))
    out = root / hashlib.sha256(repr(config).encode()).hexdigest()[:16]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return train_deepsc(config, out / "deepsc"), data


def prepare(point: Point, folder: Path) -> tuple[DeepscTask, Vocabulary, str]:
    """A point's transceiver, compressed and in evaluation mode, its vocabulary and its text."""
    import torch

    from phydnn import checkpoint, text
    from phydnn.train.deepsc import DeepscTask, Sentences, load_deepsc, train_deepsc

    source, data = checkpoint_of(point, folder)
    base, vocabulary = load_deepsc(source)
    changed = {name: point[name] for name in ("bits", "sparsity", "weight_bits")}
    config = dataclasses.replace(base.config, **changed)
    if config == base.config:
        base.settle()
        return base, vocabulary, data
    if point["tuned"]:
        tuned = dataclasses.replace(config, **TUNED, start=str(source), threads=1)
        task, _ = load_deepsc(train_deepsc(tuned, folder / "deepsc"))
        task.settle()
        return task, vocabulary, data
    state = checkpoint.load(source)["model"]
    task = DeepscTask(config, base.frequencies)
    kept = {
        name: tensor
        for name, tensor in state.items()
        if config.bits == base.config.bits or not name.startswith("finite.")
    }
    task.load_state_dict(kept, strict=False)
    if config.sparsity:
        task.sparsify(config.sparsity)
    lines = text.load(base.config.data, "val")
    sentences = Sentences.of(lines, vocabulary, task.net.shape.positions)
    batches = sentences.batches(config.batch, len(sentences), np.random.RandomState(1))
    generator = torch.Generator().manual_seed(1)
    task.calibrate((batch for _, batch in zip(range(CALIBRATED), batches, strict=False)), generator)
    task.settle()
    return task, vocabulary, data


class NetCodec:
    """A transceiver in torch, as :class:`phydnn.evaluate_text.Codec`; greedy decoding alone."""

    def __init__(self, task: DeepscTask, vocabulary: Vocabulary) -> None:
        self.task, self.vocabulary = task, vocabulary
        self.positions = task.net.shape.positions

    @property
    def bundle(self) -> NetCodec:
        return self

    def encode(self, tokens: NDArray[np.int64]) -> NDArray[np.complex64]:
        import torch

        with torch.no_grad():
            sent = self.task.finite.send(self.task.net.transmitter(torch.from_numpy(tokens)))
        symbols: NDArray[np.complex64] = sent.numpy()
        return symbols

    def greedy(self, symbols: NDArray[np.complex64], n0: NDArray[np.float32]) -> NDArray[np.int64]:
        import torch

        with torch.no_grad():
            noise = torch.from_numpy(np.ascontiguousarray(n0))
            values = self.task.finite.receive(torch.from_numpy(symbols), noise)
            tokens: NDArray[np.int64] = self.task.net.greedy(values, noise).numpy()
        return tokens

    def beam(
        self, symbols: NDArray[np.complex64], n0: NDArray[np.float32], width: int
    ) -> NDArray[np.int64]:
        raise InputError("the simulation in torch decodes greedily: leave the beam at 1")


def of_text(point: Point, folder: Path) -> Row:
    """The row of a point of :func:`point`."""
    from phydnn import compression, text
    from phydnn.evaluate_text import simulate

    task, vocabulary, data = prepare(point, folder)
    lines = text.load(data)[: point["sentences"]]
    codec = NetCodec(task, vocabulary)
    found = simulate(
        codec, lines, point["channel"], point["seed"], point["csi"], 1, point["snr_db"]
    )
    bits = point["weight_bits"] or 32
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: p.detach().numpy() for name, p in task.net.named_parameters()}
    quick = not point["data"]
    return {
        "system": "ldeepsc",
        "scheme": point["scheme"],
        "model": f"{task.net.shape.layers} layers, width {task.net.shape.width}",
        "dataset": "made-up sentences" if quick else data.partition(":")[0],
        "provenance": "" if quick else point["provenance"],
        "mode": task.config.mode,
        "channel": point["channel"],
        "csi": point["csi"],
        "snr_db": point["snr_db"],
        "channel_uses": found["channel_uses"],
        "uses_a_sentence": round(found["channel_uses"] / found["n"], 2),
        "points": 4 ** point["bits"] if point["bits"] else None,
        "constellation_bits": point["bits"],
        "sparsity": point["sparsity"],
        "weight_bits": bits,
        "tuned": point["tuned"],
        "psi": compression.psi(task.weights(), bits),
        "bytes": compression.write(folder / "weights", arrays, bits),
        "bytes_uncompressed": 4 * sum(array.size for array in arrays.values()),
        "bleu": found["bleu"],
        "ci95": found["bleu_ci95"][0],
        "bleu_sacre": found["bleu_sacre"],
        "n": found["n"],
        "seed": point["seed"],
        "paper": None if quick else _paper(point),
    }


def _paper(point: Point) -> Mapping[str, float] | None:
    if point["weight_bits"] or point["sparsity"] or point["bits"] != 4:
        return None
    return PAPER_BLEU.get((point["channel"], point["csi"], point["snr_db"]))


def draw(figure: Figure, rows: list[Row], title: str, key: str = "snr_db") -> None:
    """BLEU-1 and its interval over ``key``, a line a scheme."""
    axis = figure.subplots()
    lines = plots.group(rows, "scheme")
    for (scheme, line), colour, marker in zip(
        lines.items(), plots.COLOURS, plots.MARKERS, strict=False
    ):
        value = np.array([row["bleu"][0] for row in line])
        low, high = np.array([row["ci95"] for row in line]).T
        reach = np.maximum([value - low, high - value], 0)
        place = [row[key] for row in line]
        axis.errorbar(place, value, reach, color=colour, marker=marker, label=scheme)
        for row in line:
            if row["paper"]:
                label = f"the paper, {scheme}"
                axis.plot(
                    row[key],
                    row["paper"]["bleu_1"],
                    "x",
                    color=plots.GREY,
                    ms=8,
                    label=label,
                    zorder=5,
                )
    axis.set(xlabel=plots.ES_N0 if key == "snr_db" else key.replace("_", " "), ylabel="BLEU-1")
    text = rows[0]["provenance"] or rows[0]["dataset"]
    axis.set_title(f"{title}; {rows[0]['n']:,} sentences; {text}", fontsize=9)
    figure.legend(loc="outside lower center", ncols=3)
