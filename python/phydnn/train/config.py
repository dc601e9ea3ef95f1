# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The settings of trainings: what a recipe's tables may hold, and how they are read."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from phydnn.embedding import DECISIONS, LOOKUPS, QUANTIZERS, SLICINGS
from phydnn.errors import InputError

RECIPES = Path(__file__).parents[1] / "recipes"
CHOICES = {
    "precision": ("auto", "float32", "bfloat16"),
    "padding": ("zeros", "reflect"),
    "select": ("validation", "test"),
    "mode": ("corrected", "as-published"),
    "lookup": LOOKUPS,
    "decision": DECISIONS,
    "quantizer": QUANTIZERS,
    "slicing": SLICINGS,
    "labelling": ("distance", "none"),
    "loss": ("log", "squared"),
    "pruning": ("kept", "rebuilt"),
    "prune": ("joint", "separate", "none"),
    "fading": ("awgn", "rayleigh"),
    "constellation": ("psk", "qam", "learned", "dictionary"),
}
"""What the settings of a few words may be."""

MODES: dict[str, dict[str, Any]] = {
    "corrected": {},
    "as-published": {
        "uses": 0,
        "lookup": "inner_product",
        "quantizer": "gumbel",
        "temperature": 0.5,
        "decision": "hard",
        "constellation": "psk",
        "snr_low": 12.0,
        "snr_high": 12.0,
        "distillation": 0.0,
        "beta": 1e-3,
        "binding": 0.25,
        "frozen_epochs": 1,
        "frozen_head": False,
        "backbone_scale": 0.1,
    },
}
"""What a mode sets where a recipe or an override does not."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitConfig:
    """What every training has in common.

    Attributes:
        data: the data set, as :func:`phydnn.datasets.load` takes it.
        seed: of the weights, the order, the augmentation and the channel.
        epochs, batch: length of the run, images a step (of all processes together).
        lr: peak of the one-cycle learning rate; ``warmup``: the share of steps that climb to it.
        momentum, weight_decay: of SGD (Nesterov).
        crop: random shift in pixels either way; flip: random mirror images.
        padding: what a shift brings in: "zeros", black as of torchvision's RandomCrop, which the
            network will meet in no picture; or the picture's own edge, to "reflect".
        small_side: images are cut to random squares of this side for the first ``small_share`` of
            the epochs, which costs less time; 0 never cuts.
        precision: "bfloat16" computes in that type, "auto" where the machine has units for it.
        compile: fuse the network with torch.compile first.
        threads: of torch; 0 for its default.
        select: the split that chooses the best epoch; "test" is there to measure what it flatters.
        limit: images to train on, the first so many; 0 for all.
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
    padding: str = "zeros"
    small_side: int = 0
    small_share: float = 0.4
    precision: str = "auto"
    compile: bool = False
    threads: int = 0
    select: str = "validation"
    limit: int = 0


RESUMABLE_KEYS = frozenset({"data", "weights", "compile", "threads", "precision", "epochs"})
"""Settings that a resumed run may change: where and how fast it computes, and for how long."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FollowConfig(FitConfig):
    """Training that follows what other networks answer, besides the labels.

    Attributes:
        distillation: the share of the loss that follows the uncompressed network's logits
            softened by ``softness`` instead of the class, for ``distilled`` of the images; the
            others follow the class alone.
        teachers: checkpoints of more networks to follow, a comma between; the mean of all their
            probabilities counts.
        mixup: up to how much of another image of the batch is blended into each, from 0 to 0.5,
            drawn uniformly. What the other networks make of a blend is what is to be learnt of it
            (Beyer et al. 2022); its class is that of the larger part.
    """

    distillation: float = 0.9
    softness: float = 4.0
    distilled: float = 1.0
    teachers: str = ""
    mixup: float = 0.0

    def taught(self, images: int) -> int:
        """How many images of a batch follow the other networks: its first."""
        return round(self.distilled * images) if self.distillation else 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackboneConfig(FollowConfig):
    """Training of an uncompressed network, which follows others only where ``teachers`` names them.

    Attributes:
        model: as :func:`phydnn.networks.build` takes it.
        start: a checkpoint to start from; one of a shallower network of the family is deepened
            with residual blocks that do nothing yet.
        label_smoothing: of the cross-entropy.
        bias_scale: the learning rate of biases and scales of normalisation over the others'.
        muon: the learning rate of convolutions by :class:`phydnn.train.muon.Muon`, 0.03 say; 0 has
            SGD for all.
    """

    model: str = "resnet20"
    start: str = ""
    label_smoothing: float = 0.0
    bias_scale: float = 1.0
    muon: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhydnnConfig(FollowConfig):
    """Adaptation of a trained network to the physical layer.

    Attributes:
        mode: "corrected" is the best known here; "as-published" sets what the paper does (MODES).
        weights: the backbone's checkpoint; empty for the run's own.
        start: a PhyDNN's checkpoint of the same split, whose head (unless
            it is frozen) and tail to start from instead.
        split: the submodule to cut after.
        uses: channel uses an image, through a bottleneck (:mod:`phydnn.bottleneck`) of slices of
            ``dim`` values and blocks of ``block`` positions a side, followed by ``refine``
            residual blocks; 0 for one use a position (or channel group) of the latent as it is.
        slicing: without a bottleneck, slices are taken across channels, or along a map's "row".
        spread: see :meth:`phydnn.bottleneck.Bottleneck.start`.
        size: embeddings M in the dictionary, and points of ``constellation``: "psk", "qam",
            "learned", which starts from them, or "dictionary": embeddings of ``dim`` 2 are the
            points themselves.
        final_size: the least-used embeddings are removed, epoch by epoch, down to this; 0 for
            ``size``. ``pruning``: "kept" keeps the optimiser's state and the Es/N0; "rebuilt" does
            what the authors' public code does: the dictionary leaves the optimiser, and training
            goes on at ``rebuilt_snr``.
        lookup, quantizer, decision, temperature, draws: see :class:`phydnn.embedding.Embedding`.
        labelling: "distance" puts near embeddings on near points.
        channel: as :func:`phydnn.channel.named` takes it; fades are drawn for each image.
        snr_low, snr_high: Es/N0 in dB is drawn uniformly between them for each image.
        beta: the rate term's weight at the end; it climbs linearly from a tenth of that.
        entropy_gradient: false cuts the rate term's gradient, as the authors' public code does.
        binding: the binding term's weight.
        frozen_epochs: how long only the dictionary and the bottleneck learn.
        frozen_head: leaves the head as it is, which the device may have already: a step then takes
            about as long as one of the uncompressed network, whose head serves both.
        backbone_scale: the network's learning rate over the dictionary's, after that;
            ``bottleneck_scale``: the bottleneck's, whose few numbers act on all positions.
    """

    mode: str = "corrected"
    weights: str = ""
    start: str = ""
    split: str = "layer1"
    uses: int = 0
    dim: int = 2
    block: int = 8
    spread: float = 1.0
    refine: int = 0
    slicing: str = "channel"
    size: int = 16
    final_size: int = 0
    pruning: str = "kept"
    rebuilt_snr: float = 10.0
    constellation: str = "psk"
    lookup: str = "distance"
    decision: str = "soft"
    quantizer: str = "straight-through"
    temperature: float = 1.0
    draws: int = 1
    labelling: str = "distance"
    channel: str = "awgn"
    snr_low: float = 4.0
    snr_high: float = 20.0
    beta: float = 0.0
    entropy_gradient: bool = True
    binding: float = 0.25
    frozen_epochs: int = 1
    frozen_head: bool = False
    backbone_scale: float = 1.0
    bottleneck_scale: float = 0.02


Config = TypeVar("Config", bound=FitConfig)


def read_config(kind: type[Config], table: str, recipe: str, overrides: Sequence[str]) -> Config:
    """Reads one table of a TOML recipe and applies ``key=value`` overrides.

    Args:
        kind: the config's class, whose fields are the keys allowed.
        table: the recipe's table, "backbone" or "phydnn".
        recipe: a file, or the name of a recipe that ships (such as "digits").
        overrides: values are TOML; one that is not is taken as a string.

    Raises:
        InputError: no such recipe, key, or a value of the wrong type or out of range.
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
    chosen: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"--set {override} is not key=value")
        try:
            chosen[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            chosen[key] = text
    # A mode asked for by hand beats the recipe, and is beaten by what else is asked for by hand.
    mode = _modes(kind).get(str(chosen.get("mode")), {})
    return make_config(kind, content.get(table, {}) | mode | chosen)


def _modes(kind: type[FitConfig]) -> dict[str, dict[str, Any]]:
    """What a mode sets in configs of this class: its ``MODES``, or PhyDNN's."""
    modes: dict[str, dict[str, Any]] = getattr(kind, "MODES", MODES)
    return modes


def make_config(kind: type[Config], values: dict[str, Any]) -> Config:
    """Builds a config from plain values, checking names, types and ranges."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - set(fields)):
        raise InputError(
            f"there is no setting '{unknown[0]}': choose one of {', '.join(sorted(fields))}"
        )
    values = _modes(kind).get(str(values.get("mode")), {}) | values
    checked: dict[str, Any] = {}
    for name, value in values.items():
        wanted = {"str": str, "int": int, "float": float, "bool": bool}[str(fields[name].type)]
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise InputError(
                f"the setting {name} is {value!r} but must be of type {wanted.__name__}"
            )
        if name in CHOICES and value not in CHOICES[name]:
            raise InputError(
                f"the setting {name} is '{value}' but must be {' or '.join(CHOICES[name])}"
            )
        checked[name] = value
    if "data" not in checked:
        raise InputError("the setting data is missing: name the data set")
    config = kind(**checked)
    for name in ("epochs", "batch"):
        if getattr(config, name) < 1:
            raise InputError(f"the setting {name} is {getattr(config, name)} but must be 1 or more")
    if isinstance(config, FollowConfig):
        if not 0 <= config.distilled <= 1 or not 0 <= config.distillation <= 1:
            raise InputError("distillation and distilled are shares from 0 to 1")
        if not 0 <= config.mixup <= 0.5:
            raise InputError(f"mixup is {config.mixup:g} but must be from 0 to 0.5")
        if config.softness <= 0:
            raise InputError(f"softness is {config.softness:g} but must be above 0")
        if config.teachers and not config.taught(config.batch):
            raise InputError("teachers are named but distillation or distilled is 0: raise it")
    if isinstance(config, BackboneConfig):
        if config.muon < 0 or config.bias_scale < 0:
            raise InputError("muon and bias_scale are learning rates of 0 or more")
        if config.muon and config.lr <= 0:
            raise InputError("muon needs an lr above 0, by which all but convolutions learns")
    if isinstance(config, PhydnnConfig):
        _check_dictionary(config)
    return config


def _check_dictionary(config: PhydnnConfig) -> None:
    final = config.final_size or config.size
    if not 2 <= final <= config.size <= 256:
        raise InputError(
            f"a dictionary of {config.size} embeddings that shrinks to {final} carries nothing or "
            "does not fit: keep 2 <= final_size <= size <= 256"
        )
    if config.quantizer == "fsq" and final < config.size:
        raise InputError("an FSQ dictionary is a grid that cannot shrink: leave final_size 0")
    if not 1 <= config.spread <= 8:
        raise InputError(f"spread is {config.spread:g} but must be from 1 to 8")
    if config.snr_low > config.snr_high:
        raise InputError(f"snr_low {config.snr_low:g} is above snr_high {config.snr_high:g}")
