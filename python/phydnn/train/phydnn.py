# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Adaptation of a trained network to the physical layer: Algorithm 1 of the PhyDNN paper."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from phydnn import channel, checkpoint, constellation, networks
from phydnn.bottleneck import Bottleneck
from phydnn.embedding import Embedding, PhyDNN, kmeans, to_slices
from phydnn.errors import InputError
from phydnn.train.backbone import load_backbone, load_teachers
from phydnn.train.config import PhydnnConfig, make_config
from phydnn.train.distillation import losses, soften
from phydnn.train.engine import Task, decay_groups, fit, load_splits

logger = logging.getLogger(__name__)

STARTING_IMAGES, STARTING_SLICES = 1024, 32768
"""From how much of the training set the bottleneck and the dictionary start."""


class PhydnnTask(Task):
    """Trains head, dictionary and tail through the channel, following the uncompressed network."""

    usage: Tensor

    def __init__(
        self,
        phydnn: PhyDNN,
        teacher: tuple[nn.Module, nn.Module],
        config: PhydnnConfig,
        others: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.phydnn = phydnn
        self.look_at(*teacher, *others)
        self._config = config
        self._fading = channel.named(config.channel)
        self._beta = 0.0
        self._snr = config.snr_low, config.snr_high
        self.register_buffer("usage", torch.zeros(len(phydnn.embedding.embeddings)))
        sizes = [self._size(epoch) for epoch in range(config.epochs)]
        self.first_candidate = sizes.index(sizes[-1])
        if config.compile:
            for part in (phydnn.head, phydnn.tail, *self.teachers):
                part.compile()

    def groups(self) -> list[dict[str, Any]]:
        phydnn, scale = self.phydnn, self._config.backbone_scale
        code = [] if phydnn.bottleneck is None else list(phydnn.bottleneck.parameters())
        # Weight decay would pull the dictionary off the slices that it stands for.
        return [
            {"params": list(phydnn.embedding.parameters()), "scale": 1.0, "weight_decay": 0.0},
            {"params": code, "scale": self._config.bottleneck_scale, "weight_decay": 0.0},
            *decay_groups(phydnn.head, scale),
            *decay_groups(phydnn.tail, scale),
        ]

    def _size(self, epoch: int) -> int:
        """The dictionary's size in an epoch: ever smaller from the first thawed to half the run."""
        config = self._config
        final = config.final_size or config.size
        begin, end = config.frozen_epochs, max(config.frozen_epochs, config.epochs // 2)
        share = min(1.0, max(0.0, (epoch - begin + 1) / (end - begin + 1)))
        wanted = round(config.size + (final - config.size) * share)
        if config.constellation == "qam":
            return min(size for size in constellation.SQUARES if size >= wanted)
        return wanted

    def start_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        config, embedding = self._config, self.phydnn.embedding
        learns = epoch >= config.frozen_epochs
        self._thaw(self.phydnn.head, learns and not config.frozen_head)
        self._thaw(self.phydnn.tail, learns)
        self._beta = config.beta * (0.1 + 0.9 * epoch / max(1, config.epochs - 1))
        if self._size(epoch) < len(embedding.embeddings):
            self._shrink(self._size(epoch), optimizer)
        if config.pruning == "rebuilt" and self._size(epoch) < config.size:
            embedding.embeddings.requires_grad_(False)
            self._snr = config.rebuilt_snr, config.rebuilt_snr
        self.usage.zero_()

    @staticmethod
    def _thaw(part: nn.Module, learns: bool) -> None:
        part.requires_grad_(learns)
        part.train(learns)

    def _shrink(self, size: int, optimizer: torch.optim.Optimizer) -> None:
        """Removes the least-used embeddings, from the optimiser's state as well."""
        embedding, config = self.phydnn.embedding, self._config
        kept = self.usage.argsort(descending=True, stable=True)[:size].sort().values
        if config.constellation in ("learned", "dictionary"):
            points = constellation.unit_power(embedding.constellation().detach().cpu()[kept.cpu()])
        else:
            points = constellation.named(config.constellation, size)
        embedding.keep(kept, points)
        for parameter in embedding.parameters():
            for name, value in optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor) and value.ndim:
                    optimizer.state[parameter][name] = value[kept]
        self.usage = self.usage[kept]
        if config.labelling == "distance":
            embedding.relabel(config.seed)

    def end_epoch(self, epoch: int, out: Path) -> dict[str, Any]:
        usage = [int(count) for count in self.usage]
        entry = {
            "epoch": epoch + 1,
            "embeddings": self.phydnn.embedding.embeddings.tolist(),
            "points": torch.view_as_real(self.phydnn.embedding.constellation()).tolist(),
            "usage": usage,
        }
        out.mkdir(parents=True, exist_ok=True)
        with (out / "dictionary.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        return {"usage": usage}

    def _draw_n0(self, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
        low, high = self._snr
        snr_db = low + (high - low) * torch.rand(count, 1, generator=generator)
        return channel.n0_of(snr_db).to(device)

    def forward(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        config = self._config
        latent = self.phydnn.head(x)
        slices = self.phydnn.cut(latent)
        n0 = self._draw_n0(len(x), generator, x.device)
        received, binding, usage = self.phydnn.embedding(slices, n0, self._fading, generator)
        self.usage += usage
        logits = self.phydnn.classify(received)
        taught = None
        if count := config.taught(len(x)):
            head, tail, *others = self.teachers
            with torch.no_grad():
                own = latent[:count] if config.frozen_head else head(x[:count])
                answers = [tail(own), *(other(x[:count]) for other in others)]
                taught = soften(answers, config.softness)
        terms = losses(logits, y, taught, config.distillation, config.softness) | {
            "binding": config.binding * binding
        }
        if self._beta:
            rate = self._beta * self.phydnn.embedding.rate(slices)
            terms["rate"] = rate if config.entropy_gradient else rate.detach()
        return terms

    def logits(self, x: Tensor, generator: torch.Generator) -> Tensor:
        n0 = self._draw_n0(len(x), generator, x.device)
        logits: Tensor = self.phydnn(x, n0, self._fading, generator)
        return logits

    def load_state_dict(self, state: Any, strict: bool = True, assign: bool = False) -> Any:
        # A run that is resumed may have shrunk its dictionary.
        _fit_dictionary(self.phydnn.embedding, len(state["usage"]))
        self.usage = self.usage[: len(state["usage"])]
        return super().load_state_dict(state, strict, assign)


def _fit_dictionary(embedding: Embedding, size: int) -> None:
    """Cuts a fresh dictionary to the size that a checkpoint's has."""
    if size < len(embedding.embeddings):
        kept = torch.arange(size)
        points = torch.view_as_complex(embedding.points.detach())
        embedding.keep(kept, constellation.unit_power(points[kept]))


def train_phydnn(config: PhydnnConfig, weights: Path, out: Path) -> Path:
    """Adapts the backbone of checkpoint ``weights`` and returns the best checkpoint.

    The run starts from the intact network, with a bottleneck that is the block transform of its
    latents and a k-means dictionary of the slices, labelled by distance.
    """
    train, val = load_splits(config)
    teacher = load_backbone(weights)
    networks.check_logits(teacher, torch.from_numpy(train.x[:2]), len(train.classes))
    torch.manual_seed(config.seed)
    phydnn = make_phydnn(teacher, config, train.x[:1])
    if not (out / "last.safetensors").is_file():
        if config.start:
            _start_from(phydnn, config, teacher, train.x[:1])
        order = np.random.RandomState(config.seed).permutation(len(train))[:STARTING_IMAGES]
        start_dictionary(phydnn, train.x[order], config)
    parts = networks.split(teacher, config.split, torch.from_numpy(train.x[:1]))
    others = load_teachers(config.teachers, train)
    return fit(PhydnnTask(phydnn, parts, config, others), config, train, val, out)


def _start_from(
    phydnn: PhyDNN, config: PhydnnConfig, teacher: nn.Module, image: NDArray[np.uint8]
) -> None:
    path = Path(config.start)
    other, _ = load_phydnn(path, teacher, image)
    try:
        if not config.frozen_head:
            phydnn.head.load_state_dict(other.head.state_dict())
        phydnn.tail.load_state_dict(other.tail.state_dict())
    except RuntimeError as error:
        raise InputError(f"{path} was split elsewhere, so that nothing starts from it") from error


@torch.no_grad()
def start_dictionary(phydnn: PhyDNN, x: NDArray[np.uint8], config: PhydnnConfig) -> None:
    """Sets bottleneck and dictionary from the head's answers to some images uint8 [N,C,H,W]."""
    phydnn.eval()
    latents = torch.cat([phydnn.head(part).float() for part in torch.from_numpy(x).split(128)])
    if phydnn.bottleneck is not None:
        phydnn.bottleneck.start(latents, config.spread)
        slices = phydnn.bottleneck.encode(latents)
    else:
        slices = to_slices(latents, config.slicing)
    flat = slices.flatten(0, 1).numpy()
    order = np.random.RandomState(config.seed).permutation(len(flat))[:STARTING_SLICES]
    if config.quantizer != "fsq":
        centres = kmeans(flat[order], config.size, config.seed)
        phydnn.embedding.start(torch.from_numpy(centres))
    if config.labelling == "distance":
        phydnn.embedding.relabel(config.seed)


def make_phydnn(backbone: nn.Module, config: PhydnnConfig, image: NDArray[np.uint8]) -> PhyDNN:
    """A PhyDNN around a copy of the backbone, its dictionary still zero.

    Args:
        backbone: the trained network.
        config: says where to cut it and what to put there.
        image: uint8 [1,C,H,W], any, from which the latent's shape is read.
    """
    example = torch.from_numpy(image)
    head, tail = networks.split(copy.deepcopy(backbone), config.split, example)
    with torch.no_grad():
        latent = head(example)
    bottleneck, width = None, to_slices(latent).shape[-1]
    if config.uses:
        width = config.dim
        bottleneck = Bottleneck(latent.shape, config.uses, width, config.block, config.refine)
    embedding = Embedding(
        torch.zeros(config.size, width),
        constellation.named(config.constellation, config.size),
        config.lookup,
        config.decision,
        config.quantizer,
        config.temperature,
        config.draws,
        config.constellation == "learned",
        config.constellation == "dictionary",
    )
    return PhyDNN(head, tail, embedding, latent.shape, bottleneck, config.slicing).eval()


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
        weights = {
            name.removeprefix("phydnn."): tensor
            for name, tensor in state["model"].items()
            if name.startswith("phydnn.")
        }
        _fit_dictionary(phydnn.embedding, len(weights["embedding.embeddings"]))
        phydnn.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{path} is no PhyDNN's checkpoint: {error}") from error
    return phydnn.eval(), config
