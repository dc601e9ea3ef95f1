# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Training of the baselines: BottleFit in two stages, and DT-JSCC end to end."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from phydnn import checkpoint, networks
from phydnn.baselines import BottleFit, stages
from phydnn.errors import InputError
from phydnn.results import provenance
from phydnn.train.backbone import load_backbone
from phydnn.train.config import FitConfig, PhydnnConfig, make_config
from phydnn.train.distillation import losses, soften
from phydnn.train.engine import Task, decay_groups, fit, load_splits
from phydnn.train.phydnn import PhydnnTask, make_phydnn


@dataclasses.dataclass(frozen=True, kw_only=True)
class BottlefitConfig(FitConfig):
    """BottleFit: a bottleneck of few kernels in a trained ResNet, in two stages.

    Attributes:
        weights: the uncompressed network's checkpoint; empty for the run's own.
        kernels, width: see :class:`phydnn.baselines.BottleFit`.
        matching_epochs: of the first stage, in which head, bottleneck and decoder learn to give
            what the uncompressed network's later stages give, these frozen; ``matching_lr``: its
            peak learning rate. ``epochs`` and ``lr`` are of the second, in which the encoder is
            frozen and the rest learns from labels and from the uncompressed network's answers.
        labels: the labels' share of that loss.
        softness: of those answers.
    """

    weights: str = ""
    kernels: int = 1
    width: int = 64
    matching_epochs: int = 10
    matching_lr: float = 0.05
    labels: float = 0.5
    softness: float = 1.0


class _BottlefitTask(Task):
    """What the two stages have in common: a student, and the teacher beside it."""

    def __init__(self, student: BottleFit, teacher: networks.ResNet, config: BottlefitConfig):
        super().__init__()
        self.student = student
        self.look_at(teacher)
        self._stages = functools.partial(stages, teacher)
        self._config = config
        if config.compile:
            for part in (student.encoder, student.edge):
                part.compile(dynamic=False)

    def logits(self, x: Tensor, generator: torch.Generator) -> Tensor:
        logits: Tensor = self.student(x).float()
        return logits


class MatchingTask(_BottlefitTask):
    """The first stage: generalised head network distillation.

    The published loss sums squared errors; here each is over the teacher's own variance, so that
    one learning rate fits any network.
    """

    def groups(self) -> list[dict[str, Any]]:
        return [*decay_groups(self.student.encoder), *decay_groups(self.student.edge.decoder)]

    def start_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        for part in (self.student.edge.layer3, self.student.edge.fc):
            part.requires_grad_(False)
            part.eval()

    def forward(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        with torch.no_grad():
            wanted = self._stages(x)[:2]
        given = self.student.edge.stages(self.student.encoder(x))[:2]
        return {
            name: functional.mse_loss(mine.float(), theirs.float()) / theirs.float().var()
            for name, mine, theirs in zip(
                ("second_stage", "third_stage"), given, wanted, strict=True
            )
        }


class FinetuneTask(_BottlefitTask):
    """The second stage: knowledge distillation of what the edge runs, the encoder frozen."""

    def groups(self) -> list[dict[str, Any]]:
        return decay_groups(self.student.edge)

    def start_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        self.student.encoder.requires_grad_(False)
        self.student.encoder.eval()

    def forward(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        config = self._config
        with torch.no_grad():
            wanted = soften([self._stages(x)[2]], config.softness)
            sent = self.student.encoder(x)
        logits = self.student.edge(sent).float()
        return losses(logits, y, wanted, 1 - config.labels, config.softness)


def train_bottlefit(config: BottlefitConfig, weights: Path, out: Path) -> Path:
    """Trains BottleFit around the network of checkpoint ``weights``; returns the best checkpoint.

    The stages are runs of their own, OUT/matching and OUT/finetuning; both resume.

    Raises:
        InputError: the data, the weights or a setting do not fit.
    """
    train, val = load_splits(config)
    teacher = load_backbone(weights)
    networks.check_logits(teacher, torch.from_numpy(train.x[:2]), len(train.classes))
    torch.manual_seed(config.seed)
    student = BottleFit(teacher, config.kernels, config.width)
    assert isinstance(teacher, networks.ResNet)
    first = dataclasses.replace(config, epochs=config.matching_epochs, lr=config.matching_lr)
    best = fit(MatchingTask(student, teacher, first), first, train, val, out / "matching")
    student = _student(checkpoint.load(best), teacher)
    return fit(FinetuneTask(student, teacher, config), config, train, val, out / "finetuning")


def load_bottlefit(path: Path, backbone: nn.Module) -> BottleFit:
    """The BottleFit of a checkpoint that :func:`train_bottlefit` wrote, in evaluation mode.

    Args:
        path: the checkpoint.
        backbone: the network that it was made of, for its architecture.

    Raises:
        InputError: no checkpoint, or its weights do not fit.
    """
    state = checkpoint.load(path)
    try:
        return _student(state, backbone).eval()
    except (KeyError, RuntimeError, InputError) as error:
        raise InputError(f"{path} is no BottleFit's checkpoint: {error}") from error


def _student(state: dict[str, Any], backbone: nn.Module) -> BottleFit:
    config = make_config(BottlefitConfig, state["config"])
    student = BottleFit(backbone, config.kernels, config.width)
    student.load_state_dict(
        {
            name.removeprefix("student."): tensor
            for name, tensor in state["model"].items()
            if name.startswith("student.")
        }
    )
    return student


def train_dtjscc(config: PhydnnConfig, model: str, out: Path) -> Path:
    """Trains DT-JSCC from nothing and returns the best checkpoint.

    As published it is cross-entropy minus beta times the entropy of the codewords given the image,
    the codewords drawn by Gumbel-softmax, sent on PSK points through noise and decided for: a
    PhyDNN's training with ``mode=as-published``, no binding and no backbone, for OUT/backbone only
    holds where the weights start. ``phydnn export --run OUT`` makes a bundle of it.

    Args:
        config: its ``split`` must be "encoder".
        model: ``phydnn.baselines:dtjscc_cifar10``, or another builder of a
            :class:`phydnn.baselines.DtJscc`.
        out: the run's folder.

    Raises:
        InputError: the data or a setting do not fit.
    """
    train, val = load_splits(config)
    start = out / "backbone" / "best.safetensors"
    if not start.is_file():
        torch.manual_seed(config.seed)
        mean, std = networks.pixel_statistics(train)
        network = networks.build(model, len(train.classes), mean, std)
        checkpoint.save(
            start,
            {
                "config": {"model": model, "data": config.data, "epochs": 0},
                "provenance": provenance(),
                "model": {f"network.{name}": value for name, value in network.state_dict().items()},
                "history": [],
            },
        )
    backbone = load_backbone(start)
    torch.manual_seed(config.seed)
    jscc = make_phydnn(backbone, config, train.x[:1])
    # Slices are 0 or more: codewords that sum to nothing do not all look alike to them.
    codebook = torch.randn_like(jscc.embedding.embeddings)
    jscc.embedding.start(codebook - codebook.mean(1, keepdim=True))
    parts = networks.split(backbone, config.split)
    return fit(PhydnnTask(jscc, parts, config), config, train, val, out / "phydnn")
