# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The training loop: resumable, seeded, chosen on a validation split, on one process or many.

A run writes ``last.safetensors`` (weights, optimiser, history) after each epoch,
``best.safetensors`` for the epoch that is most accurate on the split that chooses, and event
files of TensorBoard in ``tensorboard/``. Random numbers are drawn anew from (seed, epoch), so a
killed run that is resumed ends where it would have ended.

Under torchrun each process takes its share of every batch; the first one validates and writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from phydnn import checkpoint, datasets
from phydnn.datasets import Images
from phydnn.errors import InputError, RunError
from phydnn.results import provenance
from phydnn.train.config import RESUMABLE_KEYS, FitConfig, FollowConfig

logger = logging.getLogger(__name__)


class BaseTask(ABC, nn.Module):
    """What is trained: a module that knows its data and its loss.

    Its state dict is what checkpoints hold.

    Attributes:
        first_candidate: the first epoch, from 0, that may be chosen as the best.
        teachers: networks that the task looks at and never changes: they follow it to its device
            and memory format, and are not in checkpoints. See :meth:`look_at`.
    """

    first_candidate = 0
    teachers: tuple[nn.Module, ...] = ()

    @abstractmethod
    def optimizer(self, config: FitConfig) -> torch.optim.Optimizer:
        """The optimiser; its groups have a factor ``scale`` on the learning rate."""

    @abstractmethod
    def forward(self, *batch: Any) -> dict[str, Tensor]:
        """The loss's terms, weighted, by name: of a batch's tensors and a generator of noise."""

    @abstractmethod
    def batches(
        self, train: Any, config: FitConfig, epoch: int, generator: torch.Generator
    ) -> tuple[int, Iterator[tuple[Tensor, ...]]]:
        """How many steps an epoch has, and the tensors of each, whose first axis is the batch."""

    @abstractmethod
    def validate(self, val: Any, device: torch.device, seed: int) -> dict[str, float]:
        """What an epoch is chosen by, by name."""

    @abstractmethod
    def merit(self, entry: dict[str, Any]) -> tuple[float, ...]:
        """How good an epoch is, of what :meth:`validate` gave: the larger the better."""

    def rate(self, config: FitConfig, progress: float) -> float:
        """The learning rate's share of its peak when ``progress`` of the run's steps are done."""
        return one_cycle(progress, config.warmup)

    def start_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        """Called before each epoch, the first being 0, with the task in training mode."""

    def end_epoch(self, epoch: int, out: Path) -> dict[str, Any]:
        """Called after each epoch on the process that writes: what else the history should keep."""
        return {}

    def look_at(self, *networks: nn.Module) -> None:
        """Takes networks as teachers, in evaluation mode and frozen."""
        # A tuple's modules are not in checkpoints.
        self.teachers = tuple(network.eval().requires_grad_(False) for network in networks)

    def _apply(self, fn: Any, recurse: bool = True) -> BaseTask:
        for teacher in self.teachers:
            teacher._apply(fn, recurse)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


class Task(BaseTask):
    """What is trained on labelled images, by SGD with Nesterov's momentum."""

    @abstractmethod
    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups for SGD, each with a factor ``scale`` on the learning rate."""

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The loss's terms, weighted, by name: x uint8 [B,C,H,W], y int64 [B]."""

    @abstractmethod
    def logits(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """What validation scores: float32 [B,K]."""

    def optimizer(self, config: FitConfig) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            self.groups(),
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.momentum > 0,
        )

    def batches(
        self, train: Images, config: FitConfig, epoch: int, generator: torch.Generator
    ) -> tuple[int, Iterator[tuple[Tensor, ...]]]:
        side = config.small_side if epoch < config.small_share * config.epochs else 0
        return max(1, len(train) // config.batch), batches(train, config, generator, side)

    def validate(self, val: Images, device: torch.device, seed: int) -> dict[str, float]:
        score, loss = validate(self, val, device, seed)
        return {"val_accuracy": score, "val_loss": loss}

    def merit(self, entry: dict[str, Any]) -> tuple[float, ...]:
        """Accuracy, and of equals the least loss.

        The loss alone would stop early: it rises with the network's confidence while it still
        learns.
        """
        return entry["val_accuracy"], -entry["val_loss"]


def decay_groups(
    module: nn.Module, scale: float = 1.0, bias_scale: float = 1.0
) -> list[dict[str, Any]]:
    """Parameters with weight decay, and those without: biases and scales of normalisation.

    ``scale`` is a factor on the learning rate of all, ``bias_scale`` a further one of the latter.
    """
    parameters = list(module.parameters())
    biases = [p for p in parameters if p.ndim <= 1]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "scale": scale},
        {"params": biases, "scale": scale * bias_scale, "weight_decay": 0.0},
    ]


def one_cycle(progress: float, warmup: float) -> float:
    """The learning rate's share of its peak: a linear climb, then a cosine to zero.

    ``progress`` is the share of steps done. It depends on nothing else, so a resumed run needs
    no scheduler state.
    """
    if progress < warmup:
        return (progress + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def augment(x: Tensor, config: FitConfig, generator: torch.Generator, side: int = 0) -> Tensor:
    """Randomly shifts and mirrors uint8 [B,C,H,W] by the config's crop, padding and flip.

    With ``side``, windows of side x side pixels are cut instead, from anywhere in the padded
    image. One gather for the whole batch; the result lies in channels_last order.

    Raises:
        InputError: the images are too small to reflect ``crop`` pixels of.
    """
    count, _, height, width = x.shape
    crop = config.crop
    if config.padding == "reflect" and crop >= min(height, width):
        raise InputError(
            f"the setting crop is {crop}, but images of {height}x{width} pixels can be reflected "
            f"by {min(height, width) - 1} at most: lower it or set padding=zeros"
        )
    mode = {"zeros": "constant", "reflect": "reflect"}[config.padding]
    padded = functional.pad(x, (crop, crop, crop, crop), mode)
    rows_out, columns_out = (min(side, height), min(side, width)) if side else (height, width)
    row = torch.randint(0, height + 2 * crop - rows_out + 1, (count, 1), generator=generator)
    column = torch.randint(0, width + 2 * crop - columns_out + 1, (count, 1), generator=generator)
    rows = row + torch.arange(rows_out)
    columns = torch.arange(columns_out).expand(count, -1)
    if config.flip:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns_out - 1 - columns, columns)
    columns = columns + column
    images = torch.arange(count)[:, None, None]
    return padded[images, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def shown(images: Images, config: FitConfig) -> Images:
    """The images as training shows them at full size: each shifted and mirrored once.

    What is measured for a network in place of its running averages is measured on these: zeros that
    shifting brings in, alone, change every layer's mean and variance.
    """
    generator = torch.Generator().manual_seed(config.seed)
    parts = torch.from_numpy(images.x).split(1024)
    x = torch.cat([augment(part, config, generator) for part in parts])
    return dataclasses.replace(images, x=x.contiguous().numpy())


def batches(
    images: Images, config: FitConfig, generator: torch.Generator, side: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch's shuffled, augmented batches of equal size; what is left over sits it out."""
    assert images.y is not None
    x, y = torch.from_numpy(images.x), torch.from_numpy(images.y)
    mixup = config.mixup if isinstance(config, FollowConfig) else 0.0
    order = torch.randperm(len(x), generator=generator)
    for index in order.split(config.batch):
        if len(index) == config.batch or len(order) < config.batch:
            shown = augment(x[index], config, generator, side)
            yield blend(shown, mixup, generator) if mixup else shown, y[index]


def blend(x: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Blends up to the share ``most`` of another image into each of uint8 [B,C,H,W]."""
    share = most * torch.rand(len(x), 1, 1, 1, generator=generator)
    return torch.lerp(x.float(), x.roll(1, 0).float(), share).round().to(torch.uint8)


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


@contextlib.contextmanager
def processes(batch: int) -> Iterator[tuple[int, int]]:
    """This process's rank and how many there are; joins torchrun's group where there is one."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield 0, 1
        return
    if batch % count:
        raise InputError(f"a batch of {batch} does not divide among {count} processes: change it")
    joined = distributed.is_initialized()
    if not joined:
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield distributed.get_rank(), count
    finally:
        if not joined:
            distributed.destroy_process_group()


def pick_device() -> torch.device:
    """The GPU where there is one, under torchrun the one of this process."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16: when told so, or where the processor multiplies it.

    AVX512-BF16 makes a step 1.6 times (ResNet-20) to 1.8 times (VGG-16) as fast.
    """
    if precision == "auto":
        if device.type == "cuda":
            return torch.cuda.is_bf16_supported()
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return precision == "bfloat16"


def load_splits(config: FitConfig) -> tuple[Images, Images]:
    """The images to train on, and those that choose the epoch.

    Raises:
        InputError: the data cannot be loaded, or its labels are missing or out of range.
    """
    train = datasets.load(config.data, "train")
    chooser = datasets.load(config.data, "test" if config.select == "test" else "val")
    for images in (train, chooser):
        if images.y is None:
            raise InputError(f"'{images.name}' has no labels to train on")
        if len(images) and not 0 <= images.y.min() <= images.y.max() < len(images.classes):
            raise InputError(
                f"'{images.name}' has labels from {images.y.min()} to {images.y.max()}, "
                f"but {len(images.classes)} classes"
            )
    return train.take(slice(config.limit)) if config.limit else train, chooser


def fit(task: BaseTask, config: FitConfig, train: Any, val: Any, out: Path) -> Path:
    """Trains ``task``, or goes on with a run that was cut off, and returns the best checkpoint.

    Args:
        task: what to train; it is left with the weights of the last epoch.
        train, val: what the task's ``batches`` and ``validate`` take, labelled images of most;
            ``val`` chooses the epoch.
        out: the run's folder.

    Raises:
        InputError: images without labels, or ``out`` holds a run with other settings.
        RunError: a loss is no longer a number; the checkpoints of earlier epochs are kept.
    """
    if isinstance(train, Images) and (train.y is None or val.y is None):
        raise InputError(f"'{train.name}' has no labels to train on")
    if config.threads:
        torch.set_num_threads(config.threads)
    device = pick_device()
    task.to(device)
    for parameter in task.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    optimizer = task.optimizer(config)
    last, best = out / "last.safetensors", out / "best.safetensors"
    history: list[dict[str, Any]] = []
    if last.is_file():
        state = checkpoint.load(last)
        check_same_settings(state["config"], config, last)
        task.load_state_dict(state["model"])
        optimizer.load_state_dict(checkpoint.optimizer_state(state["optimizer"]))
        history = state["history"]
        logger.info("resuming %s after epoch %d of %d", out, len(history), config.epochs)
    with processes(config.batch) as (rank, count):
        for epoch in range(len(history), config.epochs):
            begun = time.monotonic()
            task.train()
            task.start_epoch(epoch, optimizer)
            sums = _train_epoch(task, config, train, optimizer, epoch, rank, count)
            if rank == 0:
                found = task.validate(val, device, config.seed)
                seconds = time.monotonic() - begun
                entry = {**found, "seconds": seconds, **sums}
                try:
                    history.append(entry | task.end_epoch(epoch, out))
                    _draw(out / "tensorboard", history[-1], epoch)
                except OSError as error:
                    raise RunError(f"cannot write to {out}: {error.strerror or error}") from error
                state = {
                    "config": dataclasses.asdict(config),
                    "provenance": provenance(),
                    "model": task.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "history": history,
                }
                candidates = history[task.first_candidate :] or history[-1:]
                if history[-1] is max(reversed(candidates), key=task.merit):
                    checkpoint.save(best, {k: v for k, v in state.items() if k != "optimizer"})
                checkpoint.save(last, state)
                logger.info(
                    "epoch %d/%d: %s, %.0f s",
                    epoch + 1,
                    config.epochs,
                    ", ".join(f"{name} {value:.4f}" for name, value in (sums | found).items()),
                    seconds,
                )
            if count > 1:
                distributed.barrier()
    return best


def _train_epoch(
    task: BaseTask,
    config: FitConfig,
    train: Any,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    rank: int,
    count: int,
) -> dict[str, float]:
    """One epoch of steps; returns the mean of each term of the loss."""
    device = pick_device()
    order = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    noise = torch.Generator().manual_seed((config.seed * 1_000_003 + epoch) * 4099 + rank + 1)
    autocast = torch.autocast(
        device.type, torch.bfloat16, enabled=uses_bfloat16(config.precision, device)
    )
    # An EMA dictionary alone, with the network frozen, learns without gradients.
    learns = any(parameter.requires_grad for parameter in task.parameters())
    # Made anew each epoch, since what learns, and its shape, change between epochs.
    model = DistributedDataParallel(task) if count > 1 and learns else task
    steps, given = task.batches(train, config, epoch, order)
    sums: dict[str, float] = {}
    with Progress(transient=True, disable=rank > 0) as progress:
        bar = progress.add_task(f"epoch {epoch + 1}/{config.epochs}", total=steps)
        for step, batch in enumerate(given):
            share = task.rate(config, (epoch + step / steps) / config.epochs)
            for group in optimizer.param_groups:
                group["lr"] = config.lr * group["scale"] * share
            mine = [tensor[rank::count].to(device) for tensor in batch]
            with autocast:
                terms = model(*mine, noise)
            for name, term in terms.items():
                value = term.item()
                if not math.isfinite(value):
                    raise RunError(
                        f"the {name} loss became {value} in epoch {epoch + 1}: lower lr and "
                        "begin anew; the last good checkpoint is kept"
                    )
                sums[name] = sums.get(name, 0.0) + value / steps
            if learns:
                optimizer.zero_grad()
                torch.stack(list(terms.values())).sum().backward()
                optimizer.step()
            progress.advance(bar)
    return sums


def _draw(folder: Path, entry: dict[str, Any], epoch: int) -> None:
    """Adds an epoch's numbers to TensorBoard's event files."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for name, value in entry.items():
            if isinstance(value, (int, float)):
                writer.add_scalar(name, value, epoch + 1)
            else:
                writer.add_histogram(name, np.repeat(np.arange(len(value)), value), epoch + 1)


def check_same_settings(stored: dict[str, Any], config: FitConfig, path: Path) -> None:
    """Refuses to go on with a run whose settings differ in more than RESUMABLE_KEYS."""
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        # A checkpoint from before there was a setting was trained as its default is.
        was = stored.get(name, field.default)
        if name not in RESUMABLE_KEYS and was != value:
            raise InputError(
                f"{path} was trained with {name}={was}, not {value}: "
                "keep the setting or give another --out"
            )
