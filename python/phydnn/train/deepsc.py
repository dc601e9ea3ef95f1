# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Training of the semantic transceiver over fading channels, whole or compressed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from phydnn import channel, checkpoint, text
from phydnn.compression import Quantiser, largest, quantised
from phydnn.errors import InputError
from phydnn.results import write_bytes
from phydnn.semantic import Shape, Transceiver, convey
from phydnn.text import END, Vocabulary
from phydnn.train.config import FitConfig, make_config
from phydnn.train.engine import BaseTask, decay_groups, fit, one_cycle
from phydnn.train.finite import FiniteBits

CSI = ("perfect", "ls", "refined", "mixed", "none")
REFINED = 0.1
"""Variance of the refined estimate's error over that of LS, unless it was measured."""
VOCABULARY_LINES = 120_000
"""From how many lines a vocabulary is made."""
BUCKET = 4
"""Sentences are filled up to a multiple of so many tokens, so that batches have few lengths."""
GROWTH = 0.6
"""The share of a run in which its sparsity grows."""
VALIDATED = 500
"""Sentences that choose the epoch."""
VALIDATION_SNRS = (0.0, 6.0, 12.0, 18.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepscConfig(FitConfig):
    """Training of a semantic transceiver.

    Attributes:
        batch: tokens a step.
        mode: "corrected", or "as-published", which sets MODES.
        sentences: an epoch's, drawn anew for each.
        vocabulary: its size; it is made from the training text, unless ``start`` has one.
        layers, heads, width, hidden: of encoder and decoder each.
        start: a checkpoint to start from.
        channels: by comma, one drawn for each step; each sentence has its own fade.
        csi: "perfect"; "ls", an error as large as the noise; "refined", a tenth of that; "none";
            "mixed" draws from perfect to LS for each sentence.
        snr_low, snr_high: Es/N0 in dB is drawn uniformly between them for each sentence;
            ``curriculum``: the share of the run in which the low end comes down from the high.
        bits: of the constellation, in each real dimension; 0 for full resolution.
        corrupted: the share of the decoder's previous tokens that are replaced in training, so
            that it trusts what it has received and recovers from its own errors.
        drawn: the share of a sentence's tokens that are drawn anew from the whole vocabulary, so
            that rare ones are learned as well; of 1,000 sentences few tokens come up at all.
        negatives: tokens that the prediction is trained against, beside those of the step; 0 for
            the whole vocabulary. Each weighs as much more as it is drawn seldom.
        schedule: "one-cycle", or "inverse-root", the Transformer's and the paper's.
        sparsity: the share of weights to set to zero for good (Algorithm 1 of the paper).
        gradual: removes them epoch by epoch until GROWTH of the run is over, most of them early;
            otherwise all at its begin, as the paper does.
        weight_bits: of each weight and activation, quantised while training (Algorithm 2);
            0 for none.
    """

    mode: str = "corrected"
    epochs: int = 44
    batch: int = 2000
    lr: float = 2e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    sentences: int = 30_000
    vocabulary: int = 16_000
    layers: int = 4
    heads: int = 8
    width: int = 128
    hidden: int = 512
    start: str = ""
    channels: str = "rician:2,rayleigh,awgn"
    csi: str = "mixed"
    snr_low: float = 0.0
    snr_high: float = 20.0
    curriculum: float = 0.2
    bits: int = 4
    corrupted: float = 0.2
    drawn: float = 0.0
    negatives: int = 1000
    schedule: str = "one-cycle"
    sparsity: float = 0.0
    gradual: bool = True
    weight_bits: int = 0

    MODES: ClassVar[dict[str, dict[str, Any]]] = {
        "corrected": {},
        "as-published": {
            "schedule": "inverse-root",
            "corrupted": 0.0,
            "drawn": 0.0,
            "curriculum": 0.0,
            "negatives": 0,
            "gradual": False,
            "weight_decay": 0.0,
        },
    }


@dataclasses.dataclass(frozen=True)
class Sentences:
    """Tokens of many sentences, end to end: sentence i is tokens[starts[i]:starts[i+1]]."""

    tokens: NDArray[np.int32]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, lines: list[str], vocabulary: Vocabulary, longest: int) -> Sentences:
        """The sentences that are not empty and have at most ``longest`` tokens."""
        coded = [t for t in map(vocabulary.encode, lines) if 0 < len(t) <= longest]
        starts = np.cumsum([0, *map(len, coded)], dtype=np.int64)
        return cls(np.fromiter((t for s in coded for t in s), np.int32, int(starts[-1])), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def batches(self, size: int, count: int, rng: np.random.RandomState) -> Iterator[Tensor]:
        """Some ``count`` sentences in batches int64 [B,T] of about ``size`` tokens, all shuffled.

        Those of like length share a batch, filled up with END to a multiple of BUCKET.
        """
        lengths = np.diff(self.starts)
        chosen = rng.permutation(len(self))[:count]
        # A stable sort of shuffled sentences: of one length, in random order.
        chosen = chosen[np.argsort(lengths[chosen], kind="stable")]
        wide = -(-lengths[chosen] // BUCKET) * BUCKET
        groups, begun = [], 0
        for at in range(1, len(chosen) + 1):
            if at == len(chosen) or (at + 1 - begun) * wide[at] > size:
                groups.append((begun, at))
                begun = at
        for index in rng.permutation(len(groups)):
            rows = chosen[slice(*groups[index])]
            sentences = [self.tokens[self.starts[r] : self.starts[r + 1]].tolist() for r in rows]
            yield torch.from_numpy(text.fill(sentences, int(wide[groups[index][1] - 1])))


class DeepscTask(BaseTask):
    """The transceiver, its constellation, and their loss, whole or compressed.

    Args:
        config: says what to make.
        frequencies: share of each token in the training text, float32 [V], none 0.
    """

    frequencies: Tensor

    def __init__(self, config: DeepscConfig, frequencies: Tensor) -> None:
        super().__init__()
        self.config = config
        self.net = Transceiver(
            Shape(
                vocabulary=len(frequencies),
                mode=config.mode,
                layers=config.layers,
                heads=config.heads,
                width=config.width,
                hidden=config.hidden,
            )
        )
        self.finite = FiniteBits(config.bits, decision="none")
        self.register_buffer("frequencies", frequencies)
        self._fadings = [channel.named(spec) for spec in config.channels.split(",")]
        self._whole: list[Tensor] = []
        self._full = max(1, round(GROWTH * config.epochs)) if config.gradual else 1
        if config.sparsity:
            self.first_candidate = self._full - 1
            for index, weight in enumerate(self.weights()):
                self.register_buffer(f"mask{index}", torch.ones_like(weight, dtype=torch.bool))
        if config.weight_bits:
            layers = [layer for layer in self.net.modules() if isinstance(layer, nn.Linear)]
            ranges = [Quantiser(config.weight_bits) for _ in layers]
            self.ranges = nn.ModuleList(ranges)
            for layer, quantiser in zip(layers, ranges, strict=True):
                layer.register_forward_hook(quantiser.hook)
        if config.compile:
            self.net.transmitter.compile(dynamic=True)

    def weights(self) -> list[nn.Parameter]:
        """What compression compresses: all matrices."""
        return [weight for weight in self.net.parameters() if weight.ndim > 1]

    def _masks(self) -> list[Tensor]:
        return [self.get_buffer(f"mask{index}") for index in range(len(self.weights()))]

    @torch.no_grad()
    def sparsify(self, share: float) -> None:
        """Zeroes this share of the network's weights, the smallest, for good (eq. 12-13)."""
        for mask, kept in zip(self._masks(), largest(self.weights(), share), strict=True):
            mask.copy_(kept)
        self._cut()

    def start_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        if self.config.sparsity:
            left = max(0.0, 1 - (epoch + 1) / self._full)
            # Zhu and Gupta, "To prune, or not to prune": what is gone stays the smallest.
            self.sparsify(self.config.sparsity * (1 - left**3))

    @torch.no_grad()
    def _cut(self, *_: Any) -> None:
        for weight, mask in zip(self.weights(), self._masks(), strict=True):
            weight.mul_(mask)

    @torch.no_grad()
    def _quantise(self) -> None:
        """Lets the step see the weights as they will be stored; :meth:`_restore` takes it back.

        So the gradient passes the rounding straight through (Algorithm 2).
        """
        self._whole = [weight.detach().clone() for weight in self.weights()]
        for weight in self.weights():
            weight.copy_(quantised(weight, self.config.weight_bits))

    @torch.no_grad()
    def _restore(self, *_: Any) -> None:
        for weight, whole in zip(self.weights(), self._whole, strict=bool(self._whole)):
            weight.copy_(whole)
        self._whole = []

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Tensor], generator: torch.Generator) -> None:
        """Sets the ranges of constellation and activations from tokens int64 [B,T] of sentences.

        What Algorithm 2 does without training. The task is left in evaluation mode.
        """
        self.train()
        for tokens in batches:
            self(tokens, torch.full((len(tokens), 1), self.config.snr_low), generator)
            self._restore()
        self.eval()

    @torch.no_grad()
    def settle(self) -> None:
        """Leaves the weights rounded to what is stored of them."""
        if self.config.weight_bits:
            self._quantise()
            self._whole = []

    def optimizer(self, config: FitConfig) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(
            decay_groups(self),
            lr=config.lr,
            betas=(0.9, 0.98),
            weight_decay=config.weight_decay,
            fused=True,
        )
        optimizer.register_step_pre_hook(self._restore)
        optimizer.register_step_pre_hook(self._clip)
        if self.config.sparsity:
            optimizer.register_step_post_hook(self._cut)
        return optimizer

    def _clip(self, *_: Any) -> None:
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)

    def rate(self, config: FitConfig, progress: float) -> float:
        if self.config.schedule == "one-cycle":
            return one_cycle(progress, config.warmup)
        # Vaswani et al.: width^-1/2 min(s^-1/2, s w^-3/2), its peak scaled to 1.
        done, climb = progress + 1e-4, config.warmup + 1e-4
        return float(min(done / climb, (climb / done) ** 0.5))

    def batches(
        self, train: Sentences, config: FitConfig, epoch: int, generator: torch.Generator
    ) -> tuple[int, Iterator[tuple[Tensor, ...]]]:
        rng = np.random.RandomState(int(torch.randint(2**31, (), generator=generator)))
        groups = list(train.batches(config.batch, self.config.sentences, rng))
        share = self.config.curriculum
        down = min(1.0, epoch / (share * config.epochs)) if share else 1.0
        low = self.config.snr_high + (self.config.snr_low - self.config.snr_high) * down
        return len(groups), ((tokens, torch.full((len(tokens), 1), low)) for tokens in groups)

    def received(
        self, tokens: Tensor, snr_db: Tensor, fading: channel.Fading, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Values [B,T,2U] and their noise variance [B,T,U] after the channel, as CSI has it."""
        n0 = channel.n0_of(snr_db)
        error = {"perfect": 0.0, "ls": 1.0, "refined": REFINED}.get(self.config.csi)
        errors = None if error is None else torch.full_like(n0, error)
        if self.config.csi == "mixed":
            drawn = torch.rand(n0.shape, generator=generator)
            errors = torch.where(drawn < 0.3, 0.0, 10 ** (1.5 * (drawn - 1) / 0.7))
        device = tokens.device
        n0, errors = n0.to(device), None if errors is None else errors.to(device)
        symbols = self.finite.send(self.net.transmitter(tokens))
        symbols, noise = convey(symbols, n0, errors, fading, generator)
        return self.finite.receive(symbols, noise), noise

    def forward(self, tokens: Tensor, low: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Mean cross-entropy of tokens int64 [B,T]; ``low`` [B,1]: the least Es/N0 in dB."""
        config, shape, device = self.config, tokens.shape, tokens.device
        if self.training and config.weight_bits:
            self._quantise()
        if config.drawn:
            other = torch.randint(len(self.frequencies), shape, generator=generator)
            here = (torch.rand(shape, generator=generator) < config.drawn).to(device)
            tokens = torch.where(here & (tokens != END), other.to(device), tokens)
        which = int(torch.randint(len(self._fadings), (), generator=generator))
        low = low.cpu()
        snr = low + (config.snr_high - low) * torch.rand(low.shape, generator=generator)
        values, noise = self.received(tokens, snr, self._fadings[which], generator)
        aligned, received = self.net.receiver.listen(values, noise)
        previous = functional.pad(tokens[:, :-1], (1, 0), value=END)
        if config.corrupted:
            bad = torch.rand(shape, generator=generator) < config.corrupted
            other = torch.randint(tokens.numel(), shape, generator=generator)
            previous = torch.where(bad.to(device), tokens.flatten()[other.to(device)], previous)
        features, _ = self.net.receiver.write(previous, aligned, received)
        features, wanted = features.flatten(0, 1), tokens.flatten()
        predict = self.net.receiver.predict
        if config.negatives:
            weight, bias, wanted = self._candidates(wanted, generator)
            logits = functional.linear(features, weight, bias)
        else:
            logits = predict(features)
        return {"cross-entropy": functional.cross_entropy(logits.float(), wanted)}

    def _candidates(
        self, wanted: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Prediction weights and bias of this step's tokens and of some drawn uniformly.

        A sampled softmax: the logarithm of a token's chance to be here is taken off its bias, so
        that the whole softmax is right in evaluation.
        """
        predict, size, count = self.net.receiver.predict, len(self.frequencies), len(wanted)
        drawn = torch.randint(size, (self.config.negatives,), generator=generator)
        chosen = torch.unique(torch.cat([wanted, drawn.to(wanted.device)]))
        share = self.config.drawn
        chance = (1 - share) * self.frequencies[chosen] + share / size
        absent = (1 - chance) ** count * (1 - 1 / size) ** len(drawn)
        places = torch.empty(size, dtype=torch.int64, device=wanted.device)
        places[chosen] = torch.arange(len(chosen), device=wanted.device)
        bias = predict.bias[chosen] - torch.log1p(-absent)
        return predict.weight[chosen], bias, places[wanted]

    @torch.no_grad()
    def validate(self, val: list[Tensor], device: torch.device, seed: int) -> dict[str, float]:
        """Share of tokens that greedy decoding gets right over the first channel, by Es/N0."""
        self.eval()
        self._restore()
        generator = torch.Generator().manual_seed(seed)
        total = sum(batch.numel() for batch in val)
        scores = {}
        for snr_db in VALIDATION_SNRS:
            right = 0
            for tokens in val:
                snr = torch.full((len(tokens), 1), snr_db)
                values, noise = self.received(tokens.to(device), snr, self._fadings[0], generator)
                right += int((self.net.greedy(values, noise).cpu() == tokens).sum())
            scores[f"accuracy_{snr_db:g}db"] = right / total
        return {"val_accuracy": sum(scores.values()) / len(scores), **scores}

    def merit(self, entry: dict[str, Any]) -> tuple[float, ...]:
        return (entry["val_accuracy"],)


def train_deepsc(config: DeepscConfig, out: Path) -> Path:
    """Trains a transceiver, or goes on with a run that was cut off, and returns its checkpoint.

    Raises:
        InputError: a setting or the data is wrong, or ``out`` holds a run with other settings.
        RunError: the loss is no longer a number; the last good checkpoint is kept.
    """
    if config.csi not in CSI or config.schedule not in ("one-cycle", "inverse-root"):
        raise InputError(
            f"csi is '{config.csi}' and schedule '{config.schedule}', but they must be of "
            f"{', '.join(CSI)} and of one-cycle, inverse-root"
        )
    if not (0 <= config.drawn <= 1 and 0 <= config.corrupted <= 1):
        raise InputError(
            f"drawn and corrupted are {config.drawn} and {config.corrupted}, but shares go from 0 "
            "to 1"
        )
    lines = text.load(config.data, "train")
    lines = lines[: config.limit] if config.limit else lines
    vocabulary = _vocabulary(config, lines, out)
    torch.manual_seed(config.seed)
    task = DeepscTask(config, torch.ones(len(vocabulary)) / len(vocabulary))
    longest = task.net.shape.positions
    sentences = Sentences.of(lines, vocabulary, longest)
    held_out = Sentences.of(text.load(config.data, "val")[:VALIDATED], vocabulary, longest)
    if not len(sentences) or not len(held_out):
        raise InputError(f"'{config.data}' has no sentences of 1 to {longest} tokens to train on")
    counts = np.bincount(sentences.tokens, minlength=len(vocabulary)) + 1.0
    task.frequencies.copy_(torch.from_numpy(counts / counts.sum()))
    if config.start:
        # What compression adds has no values yet.
        task.load_state_dict(checkpoint.load(Path(config.start))["model"], strict=False)
    val = list(held_out.batches(4000, len(held_out), np.random.RandomState(config.seed)))
    return fit(task, config, sentences, val, out)


def _vocabulary(config: DeepscConfig, lines: list[str], out: Path) -> Vocabulary:
    """The run's own, that of the run it starts from, or a new one."""
    file = out / "vocabulary.model"
    if file.is_file():
        return Vocabulary.load(file)
    if config.start:
        vocabulary = Vocabulary.load(Path(config.start).parent / file.name)
    else:
        order = np.random.RandomState(config.seed).permutation(len(lines))[:VOCABULARY_LINES]
        vocabulary = Vocabulary.train((lines[i] for i in order), config.vocabulary)
    write_bytes(file, vocabulary.model)
    return vocabulary


def load_deepsc(path: Path) -> tuple[DeepscTask, Vocabulary]:
    """The transceiver of a checkpoint that :func:`train_deepsc` wrote, in evaluation mode.

    Raises:
        InputError: no checkpoint, its weights do not fit, or its vocabulary is another's.
    """
    state = checkpoint.load(path)
    vocabulary = Vocabulary.load(path.parent / "vocabulary.model")
    try:
        config = make_config(DeepscConfig, state["config"])
        frequencies = state["model"]["frequencies"]
        if len(frequencies) != len(vocabulary):
            raise InputError(
                f"{path} was trained with {len(frequencies)} tokens but vocabulary.model beside "
                f"it has {len(vocabulary)}: put the run's own there"
            )
        task = DeepscTask(config, frequencies)
        task.load_state_dict(state["model"])
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{path} is no checkpoint of train deepsc: {error}") from error
    return task.eval(), vocabulary
