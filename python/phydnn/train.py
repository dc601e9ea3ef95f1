# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Training of backbones and of PhyDNNs: resumable, seeded, chosen on a validation split.

A run writes ``last.safetensors`` (weights, optimiser, history) after each epoch and
``best.safetensors`` for the epoch of the least validation loss. Random numbers are drawn
anew from (seed, epoch), so a killed run that is resumed ends where it would have ended.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import time
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional

from phydnn import channel, checkpoint, constellation, datasets, networks
from phydnn.datasets import Images
from phydnn.embedding import Embedding, PhyDNN, kmeans, to_slices
from phydnn.errors import InputError, RunError
from phydnn.results import provenance

logger = logging.getLogger(__name__)

RECIPES = Path(__file__).parent / "recipes"
RESUMABLE_KEYS = frozenset({"data", "weights", "compile", "threads", "epochs"})
"""Settings that a resumed run may change: where and how fast it computes, and for how long."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitConfig:
    """What every training has in common.

    Attributes:
        data: the data set, as :func:`phydnn.datasets.load` takes it.
        seed: of the weights, the order, the augmentation and the channel.
        epochs, batch: length of the run, images a step.
        lr: peak of the one-cycle learning rate; ``warmup``: the share of steps that climb to it.
        momentum, weight_decay: of SGD (Nesterov).
        crop: random shift in pixels either way; flip: random mirror images.
        bfloat16: compute in bfloat16 where the processor is faster that way.
        compile: fuse the network with torch.compile first.
        threads: of torch; 0 for its default.
    """

    data: str
    seed: int = 1
    epochs: int = 30
    batch: int = 128
    lr: float = 0.2
    warmup: float = 0.25
    momentum: float = 0.9
    weight_decay: float = 5e-4
    crop: int = 4
    flip: bool = True
    bfloat16: bool = False
    compile: bool = False
    threads: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackboneConfig(FitConfig):
    """Training of an uncompressed network; ``model`` is a key of networks.BLOCKS."""

    model: str = "resnet20"
    label_smoothing: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhydnnConfig(FitConfig):
    """Adaptation of a trained network to the physical layer.

    Attributes:
        weights: the backbone's checkpoint; empty for the run's own.
        split: the submodule to cut after.
        size: embeddings M in the dictionary, and points of ``constellation`` ("psk" or "qam").
        lookup, decision, relaxation, temperature, draws: see :class:`phydnn.embedding.Embedding`.
        channel: as :func:`phydnn.channel.named` takes it; fades are drawn for each image.
        snr_low, snr_high: Es/N0 in dB is drawn uniformly between them for each image.
        beta: the rate term's weight at the end; it climbs linearly from a tenth of that.
        binding: the binding term's weight.
        distillation: the share of the loss that follows the uncompressed network's logits
            softened by ``softness`` instead of the class.
        frozen_epochs: how long only the dictionary learns.
        backbone_scale: the network's learning rate over the dictionary's, after that.
    """

    weights: str = ""
    split: str = "layer1"
    size: int = 16
    constellation: str = "psk"
    lookup: str = "distance"
    decision: str = "soft"
    relaxation: str = "straight-through"
    temperature: float = 1.0
    draws: int = 1
    channel: str = "awgn"
    snr_low: float = 4.0
    snr_high: float = 16.0
    beta: float = 0.0
    binding: float = 0.25
    distillation: float = 0.9
    softness: float = 4.0
    frozen_epochs: int = 1
    backbone_scale: float = 1.0


Config = TypeVar("Config", bound=FitConfig)


def read_config(kind: type[Config], table: str, recipe: str, overrides: Sequence[str]) -> Config:
    """Reads one table of a TOML recipe and applies ``key=value`` overrides.

    Args:
        kind: the config's class, whose fields are the keys allowed.
        table: the recipe's table, "backbone" or "phydnn".
        recipe: a file, or the name of a recipe that ships (such as "digits").
        overrides: values are TOML; one that is not is taken as a string.

    Raises:
        InputError: no such recipe, key, or a value of the wrong type.
    """
    path = Path(recipe)
    if not path.is_file():
        path = RECIPES / f"{recipe}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        names = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise InputError(f"there is no recipe '{recipe}': give a TOML file or {names}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    values = dict(content.get(table, {}))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"--set {override} is not key=value")
        try:
            values[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key] = text
    return make_config(kind, values)


def make_config(kind: type[Config], values: dict[str, Any]) -> Config:
    """Builds a config from plain values, checking names and types."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - set(fields)):
        raise InputError(
            f"there is no setting '{unknown[0]}': choose one of {', '.join(sorted(fields))}"
        )
    checked: dict[str, Any] = {}
    for name, value in values.items():
        wanted = {"str": str, "int": int, "float": float, "bool": bool}[str(fields[name].type)]
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise InputError(
                f"the setting {name} is {value!r} but must be of type {wanted.__name__}"
            )
        checked[name] = value
    if "data" not in checked:
        raise InputError("the setting data is missing: name the data set")
    config = kind(**checked)
    for name in ("epochs", "batch"):
        if getattr(config, name) < 1:
            raise InputError(f"the setting {name} is {getattr(config, name)} but must be 1 or more")
    return config


class Task(ABC, nn.Module):
    """What is trained: a module that knows its loss. Its state dict is what checkpoints hold."""

    @abstractmethod
    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups for SGD, each with a factor ``scale`` on the learning rate."""

    @abstractmethod
    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The loss's terms, weighted, by name: x uint8 [B,C,H,W], y int64 [B]."""

    @abstractmethod
    def logits(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """What validation scores: float32 [B,K]."""

    def start_epoch(self, epoch: int) -> None:
        """Called before each epoch, the first being 0, with the task in training mode."""


class BackboneTask(Task):
    """Cross-entropy training of an uncompressed network."""

    def __init__(self, network: nn.Module, config: BackboneConfig) -> None:
        super().__init__()
        self.network = network
        self._smoothing = config.label_smoothing
        if config.compile:
            network.compile()

    def groups(self) -> list[dict[str, Any]]:
        return decay_groups(self.network)

    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        logits = self.network(x).float()
        return {
            "cross-entropy": functional.cross_entropy(logits, y, label_smoothing=self._smoothing)
        }

    def logits(self, x: Tensor, generator: torch.Generator) -> Tensor:
        logits: Tensor = self.network(x).float()
        return logits


class PhydnnTask(Task):
    """Trains head, dictionary and tail through the channel, following the uncompressed network."""

    def __init__(self, phydnn: PhyDNN, teacher: nn.Module, config: PhydnnConfig) -> None:
        super().__init__()
        self.phydnn = phydnn
        # In a tuple, so that checkpoints do not hold the teacher as well.
        self._teacher = (teacher.eval().requires_grad_(False),)
        self._config = config
        self._fading = channel.named(config.channel)
        self._beta = 0.0
        if config.compile:
            for part in (phydnn.head, phydnn.tail, teacher):
                part.compile()

    def groups(self) -> list[dict[str, Any]]:
        # Weight decay would pull the dictionary off the slices that it stands for.
        return [
            {"params": [self.phydnn.embedding.embeddings], "scale": 1.0, "weight_decay": 0.0},
            *decay_groups(self.phydnn.head, self._config.backbone_scale),
            *decay_groups(self.phydnn.tail, self._config.backbone_scale),
        ]

    def start_epoch(self, epoch: int) -> None:
        config = self._config
        frozen = epoch < config.frozen_epochs
        for part in (self.phydnn.head, self.phydnn.tail):
            part.requires_grad_(not frozen)
            part.train(not frozen)
        self._beta = config.beta * (0.1 + 0.9 * epoch / max(1, config.epochs - 1))

    def _draw_n0(self, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
        low, high = self._config.snr_low, self._config.snr_high
        snr_db = low + (high - low) * torch.rand(count, 1, generator=generator)
        return channel.n0_of(snr_db).to(device)

    def losses(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        config = self._config
        slices = self.phydnn.slices(x)
        n0 = self._draw_n0(len(x), generator, x.device)
        received, binding = self.phydnn.embedding(slices, n0, self._fading, generator)
        logits = self.phydnn.classify(received)
        draws = len(logits) // len(x)
        loss = functional.cross_entropy(logits, y.repeat(draws))
        losses = {
            "cross-entropy": (1 - config.distillation) * loss,
            "binding": config.binding * binding,
        }
        if self._beta:
            losses["rate"] = self._beta * self.phydnn.embedding.rate(slices)
        if config.distillation:
            with torch.no_grad():
                target = self._teacher[0](x).float() / config.softness
            losses["distillation"] = (
                config.distillation
                * config.softness**2
                * functional.kl_div(
                    functional.log_softmax(logits / config.softness, 1),
                    functional.log_softmax(target, 1).repeat(draws, 1),
                    reduction="batchmean",
                    log_target=True,
                )
            )
        return losses

    def logits(self, x: Tensor, generator: torch.Generator) -> Tensor:
        n0 = self._draw_n0(len(x), generator, x.device)
        logits: Tensor = self.phydnn(x, n0, self._fading, generator)
        return logits

    def _apply(self, fn: Any, recurse: bool = True) -> PhydnnTask:
        # Follows the task to its device and memory format.
        self._teacher[0]._apply(fn, recurse)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


def decay_groups(module: nn.Module, scale: float = 1.0) -> list[dict[str, Any]]:
    """Parameters with weight decay, and those without: biases and scales of normalisation."""
    parameters = list(module.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "scale": scale},
        {"params": [p for p in parameters if p.ndim <= 1], "scale": scale, "weight_decay": 0.0},
    ]


def one_cycle(progress: float, warmup: float) -> float:
    """The learning rate's share of its peak: a linear climb, then a cosine to zero.

    ``progress`` is the share of steps done. It depends on nothing else, so a resumed run needs
    no scheduler state.
    """
    if progress < warmup:
        return (progress + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def augment(x: Tensor, crop: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Randomly shifts (by up to ``crop`` pixels, zeros coming in) and mirrors uint8 [B,C,H,W].

    One gather for the whole batch; the result lies in channels_last order.
    """
    count, _, height, width = x.shape
    padded = functional.pad(x, (crop, crop, crop, crop))
    offsets = torch.randint(0, 2 * crop + 1, (2, count, 1), generator=generator)
    rows = offsets[0] + torch.arange(height)
    columns = torch.arange(width).expand(count, -1)
    if flip:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, width - 1 - columns, columns)
    columns = columns + offsets[1]
    images = torch.arange(count)[:, None, None]
    return padded[images, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def batches(
    images: Images, config: FitConfig, generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch's shuffled, augmented batches of equal size; what is left over sits it out."""
    assert images.y is not None
    x, y = torch.from_numpy(images.x), torch.from_numpy(images.y)
    order = torch.randperm(len(x), generator=generator)
    for index in order.split(config.batch):
        if len(index) == config.batch or len(order) < config.batch:
            batch = augment(x[index], config.crop, config.flip, generator)
            yield batch.to(device), y[index].to(device)


def validate(task: Task, images: Images, device: torch.device, seed: int) -> tuple[float, float]:
    """Accuracy and mean cross-entropy of ``task.logits`` over ``images``."""
    assert images.y is not None
    generator = torch.Generator().manual_seed(seed)
    task.eval()
    right, loss = 0, 0.0
    # Scoring is too short to be worth compiling for its own batch sizes.
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        for start in range(0, len(images), 256):
            x = torch.from_numpy(images.x[start : start + 256]).to(device)
            y = torch.from_numpy(images.y[start : start + 256]).to(device)
            logits = task.logits(x, generator)
            right += int((logits.argmax(1) == y).sum())
            loss += functional.cross_entropy(logits, y, reduction="sum").item()
    return right / len(images), loss / len(images)


def pick_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(task: Task, config: FitConfig, train: Images, val: Images, out: Path) -> Path:
    """Trains ``task``, or goes on with a run that was cut off, and returns the best checkpoint.

    Args:
        task: what to train; it is left with the weights of the last epoch.
        train, val: labelled images; ``val`` chooses the epoch.
        out: the run's folder.

    Raises:
        InputError: images without labels, or ``out`` holds a run with other settings.
        RunError: a loss is no longer a number; the checkpoints of earlier epochs are kept.
    """
    if train.y is None or val.y is None:
        raise InputError(f"'{train.name}' has no labels to train on")
    if config.threads:
        torch.set_num_threads(config.threads)
    device = pick_device()
    task.to(device)
    for parameter in task.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        task.groups(),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )
    last, best = out / "last.safetensors", out / "best.safetensors"
    history: list[dict[str, float]] = []
    if last.is_file():
        state = checkpoint.load(last)
        check_same_settings(state["config"], config, last)
        task.load_state_dict(state["model"])
        optimizer.load_state_dict(checkpoint.optimizer_state(state["optimizer"]))
        history = state["history"]
        logger.info("resuming %s after epoch %d of %d", out, len(history), config.epochs)
    steps = max(1, len(train) // config.batch)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16)
    for epoch in range(len(history), config.epochs):
        begun = time.monotonic()
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
        task.train()
        task.start_epoch(epoch)
        sums: dict[str, float] = {}
        with Progress(transient=True) as progress:
            bar = progress.add_task(f"epoch {epoch + 1}/{config.epochs}", total=steps)
            for step, (x, y) in enumerate(batches(train, config, generator, device)):
                share = one_cycle((epoch + step / steps) / config.epochs, config.warmup)
                for group in optimizer.param_groups:
                    group["lr"] = config.lr * group["scale"] * share
                with autocast:
                    terms = task.losses(x, y, generator)
                for name, term in terms.items():
                    value = term.item()
                    if not math.isfinite(value):
                        raise RunError(
                            f"the {name} loss became {value} in epoch {epoch + 1}: "
                            f"lower lr and begin anew, or go on from {last}"
                        )
                    sums[name] = sums.get(name, 0.0) + value / steps
                optimizer.zero_grad()
                torch.stack(list(terms.values())).sum().backward()
                optimizer.step()
                progress.advance(bar)
        score, val_loss = validate(task, val, device, config.seed)
        seconds = time.monotonic() - begun
        history.append({"val_accuracy": score, "val_loss": val_loss, "seconds": seconds, **sums})
        state = {
            "config": dataclasses.asdict(config),
            "provenance": provenance(),
            "model": task.state_dict(),
            "optimizer": optimizer.state_dict(),
            "history": history,
        }
        # Not the accuracy: on a small validation split an early epoch may be lucky.
        if val_loss <= min(entry["val_loss"] for entry in history):
            checkpoint.save(best, {k: v for k, v in state.items() if k != "optimizer"})
        checkpoint.save(last, state)
        logger.info(
            "epoch %d/%d: %s, validation accuracy %.4f, loss %.4f, %.0f s",
            epoch + 1,
            config.epochs,
            ", ".join(f"{name} {value:.4f}" for name, value in sums.items()),
            score,
            val_loss,
            seconds,
        )
    return best


def check_same_settings(stored: dict[str, Any], config: FitConfig, path: Path) -> None:
    """Refuses to go on with a run whose settings differ in more than RESUMABLE_KEYS."""
    for name, value in dataclasses.asdict(config).items():
        if name not in RESUMABLE_KEYS and stored.get(name) != value:
            raise InputError(
                f"{path} was trained with {name}={stored.get(name)}, not {value}: "
                "keep the setting or give another --out"
            )


def pixel_statistics(images: Images) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel's pixels, on the scale 0..255."""
    x = images.x.transpose(1, 0, 2, 3).reshape(images.x.shape[1], -1).astype(np.float64)
    return x.mean(1).tolist(), np.maximum(x.std(1), 1.0).tolist()


def train_backbone(config: BackboneConfig, out: Path) -> Path:
    """Trains an uncompressed network and returns its best checkpoint."""
    train, val = datasets.load(config.data, "train"), datasets.load(config.data, "val")
    torch.manual_seed(config.seed)
    network = networks.build(config.model, len(train.classes), *pixel_statistics(train))
    return fit(BackboneTask(network, config), config, train, val, out)


def load_backbone(path: Path) -> nn.Module:
    """The network of a checkpoint that :func:`train_backbone` wrote, in evaluation mode.

    Raises:
        InputError: no checkpoint, or its weights do not fit its network.
    """
    state = checkpoint.load(path)
    try:
        weights = {
            name.removeprefix("network."): tensor
            for name, tensor in state["model"].items()
            if name.startswith("network.")
        }
        mean, std = weights["normalize.mean"].flatten(), weights["normalize.std"].flatten()
        network = networks.build(
            state["config"]["model"], len(weights["fc.bias"]), mean.tolist(), std.tolist()
        )
        network.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{path} is no backbone's checkpoint: {error}") from error
    return network.eval()


def train_phydnn(config: PhydnnConfig, weights: Path, out: Path) -> Path:
    """Adapts the backbone of checkpoint ``weights`` and returns the best checkpoint.

    The run starts from the intact network with a k-means dictionary of its slices, labelled by
    distance.
    """
    train, val = datasets.load(config.data, "train"), datasets.load(config.data, "val")
    teacher = load_backbone(weights)
    torch.manual_seed(config.seed)
    phydnn = make_phydnn(teacher, config, train.x[:1])
    order = np.random.RandomState(config.seed).permutation(len(train))[:512]
    with torch.no_grad():
        slices = phydnn.slices(torch.from_numpy(train.x[order])).flatten(0, 1).numpy()
    order = np.random.RandomState(config.seed).permutation(len(slices))[:32768]
    centres = kmeans(slices[order], config.size, config.seed)
    phydnn.embedding.embeddings.data.copy_(torch.from_numpy(centres))
    phydnn.embedding.relabel(config.seed)
    return fit(PhydnnTask(phydnn, teacher, config), config, train, val, out)


def make_phydnn(backbone: nn.Module, config: PhydnnConfig, image: NDArray[np.uint8]) -> PhyDNN:
    """A PhyDNN around a copy of the backbone, its dictionary still zero.

    Args:
        backbone: the trained network.
        config: says where to cut it and what to put there.
        image: uint8 [1,C,H,W], any, from which the latent's shape is read.
    """
    head, tail = networks.split(copy.deepcopy(backbone), config.split)
    with torch.no_grad():
        latent = head(torch.from_numpy(image))
    if not isinstance(latent, Tensor):
        raise InputError(f"'{config.split}' gives no tensor: split where it does")
    embedding = Embedding(
        torch.zeros(config.size, to_slices(latent).shape[-1]),
        constellation.named(config.constellation, config.size),
        config.lookup,
        config.decision,
        config.relaxation,
        config.temperature,
        config.draws,
    )
    return PhyDNN(head, tail, embedding, latent.shape).eval()


def load_phydnn(
    path: Path, backbone: nn.Module, image: NDArray[np.uint8]
) -> tuple[PhyDNN, PhydnnConfig]:
    """The PhyDNN of a checkpoint that :func:`train_phydnn` wrote, in evaluation mode.

    Args:
        path: the checkpoint.
        backbone: the network that it was adapted from, for its architecture.
        image: uint8 [1,C,H,W], any.

    Raises:
        InputError: no checkpoint, or its weights do not fit.
    """
    state = checkpoint.load(path)
    try:
        config = make_config(PhydnnConfig, state["config"])
        phydnn = make_phydnn(backbone, config, image)
        phydnn.load_state_dict({k.removeprefix("phydnn."): v for k, v in state["model"].items()})
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{path} is no PhyDNN's checkpoint: {error}") from error
    return phydnn.eval(), config
