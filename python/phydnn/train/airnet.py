# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Training of networks that are delivered over the air: AirNet, as its journal version has it."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from phydnn import airnet, checkpoint, protection, pruning
from phydnn.datasets import Images
from phydnn.errors import InputError
from phydnn.results import write_json
from phydnn.train.backbone import load_backbone, load_teachers
from phydnn.train.config import FollowConfig, make_config
from phydnn.train.distillation import losses, teach
from phydnn.train.engine import Task, decay_groups, fit, load_splits, shown


@dataclasses.dataclass(frozen=True, kw_only=True)
class AirnetConfig(FollowConfig):
    """Training of a network whose weights cross the air as analog symbols.

    Attributes:
        weights: the unpruned network's checkpoint, which is start and teacher; empty for the
            run's own.
        start: an AirNet's checkpoint, made of the same unpruned network, that both networks start
            from instead: from what it is at the low end.
        bandwidth: channel uses b of one delivery; a use carries two real symbols.
        expansion: real symbols a weight, by the spiral or repetition: the network is pruned
            until all weights times this are at most 2 b, and the noise is as if repeated.
        prune: "joint" removes filters between the first epochs of this training; "separate" at
            once before it, without fine-tuning between; "none" leaves the structure as it is.
        prune_share: of the filters and neurons, removed a step; a step is an epoch of "joint".
        noise: injects the channel's noise in each step; false trains without.
        fading: "awgn", or "rayleigh": one fade a step, known to the client, that varies the
            effective Es/N0 about its mean; what falls below ``outage_db`` counts as that.
        snr_low, snr_high: Es/N0 in dB that the network, or the two of ``boundaries``, serve.
        boundaries: trains two networks, one for each end, and their interpolations between.
        keep_high: leaves the high end as ``start`` was: the low end alone learns, at its Es/N0 and
            at those between. For a start that was trained at the high end.
        sandwich: steps take the low end, the high end and a value drawn between in turn; without
            it every step draws one.
        power: "uniform" gives all layers the same power; "loss", "eigenvalue" or "trace" gives
            each its own, at the same mean, after that sensitivity of the unpruned network; the
            name of a JSON file gives each layer's noise power over N0, for retraining with
            unequal error protection of any kind.
    """

    weights: str = ""
    start: str = ""
    bandwidth: int = 1_200_000
    expansion: int = 1
    prune: str = "joint"
    prune_share: float = 0.1
    noise: bool = True
    fading: str = "awgn"
    outage_db: float = -3.0
    snr_low: float = 0.0
    snr_high: float = 15.0
    boundaries: bool = True
    keep_high: bool = False
    sandwich: bool = True
    power: str = "loss"
    softness: float = 2.0
    distilled: float = 0.5

    @property
    def budget(self) -> int:
        """How many weights the bandwidth carries."""
        return 2 * self.bandwidth // self.expansion


class AirnetTask(Task):
    """Trains one network, or two at the ends of a range of Es/N0, under the channel's noise.

    Attributes:
        low, high: the networks at ``snr_low`` and ``snr_high``; one and the same without
            ``boundaries``. Until it is pruned only the low one learns, which both then start from.
    """

    def __init__(
        self,
        network: nn.Module,
        teachers: Sequence[nn.Module],
        image: Tensor,
        config: AirnetConfig,
        sensitivity: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.low = network
        self.high = copy.deepcopy(network) if config.boundaries else network
        self.look_at(*teachers)
        self._image, self._config = image, config
        self._sensitivity = sensitivity
        self._noise: dict[str, float] = {}
        if sensitivity is None and config.power != "uniform":
            self._noise = read_noise(Path(config.power), network)
        self._turn = 0
        self._run = self._eager
        self._ready = False
        if config.prune == "joint":
            self.first_candidate = _steps(network, image, config)
        for module in [*self.low.modules(), *self.high.modules()]:
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.momentum = 0.0  # Not to average over draws of the noise; see logits().
        if config.compile:
            for teacher in self.teachers:
                teacher.compile()

    def groups(self) -> list[dict[str, Any]]:
        both = [self.low, *([self.high] if self._config.boundaries else [])]
        return [group for network in both for group in decay_groups(network)]

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Loads a state of a pruned network, too, taking on its shapes."""
        pruning.reshape(self.low, state_dict, "low.")
        pruning.reshape(self.high, state_dict, "high.")
        return super().load_state_dict(state_dict, *args, **kwargs)

    def start_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        config = self._config
        self._turn = 0  # Counted anew, for a run that goes on begins with an epoch.
        if pruning.count(self.low) > config.budget:
            pruning.prune(self.low, self._image, config.budget, config.prune_share, optimizer)
        fits = pruning.count(self.low) <= config.budget
        if fits and pruning.count(self.high) > config.budget:
            pruning.reshape(self.high, self.low.state_dict())
            self.high.load_state_dict(self.low.state_dict())
        if config.boundaries:
            self.high.requires_grad_(fits and not config.keep_high)
        if self._sensitivity is not None:
            self._noise = noise_of(self.low, self._sensitivity)
        self._ready = fits
        if fits and config.compile and self._run == self._eager:
            self._run = torch.compile(self._eager, dynamic=False)

    def _eager(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        logits: Tensor = functional_call(self.low, dict(parameters), (x,))
        return logits

    def _draw(self, generator: torch.Generator) -> float:
        """Es/N0 in dB before fading, and with it the place between the boundaries."""
        config = self._config
        share = float(torch.rand((), generator=generator))
        if config.sandwich:
            # At a high end that is kept there is nothing to learn, but what to look at.
            turns = (0.0, share) if self.training and config.keep_high else (0.0, 1.0, share)
            self._turn = (self._turn + 1) % len(turns)
            share = turns[self._turn]
        return config.snr_low + share * (config.snr_high - config.snr_low)

    def _delivered(self, snr_db: float, generator: torch.Generator) -> dict[str, Tensor]:
        """The parameters that a client has after one delivery at this Es/N0."""
        config = self._config
        reach = config.snr_high - config.snr_low
        if config.boundaries and self._ready:
            alpha = (snr_db - config.snr_low) / reach if reach else 0.0
            parameters = airnet.interpolate(self.low, self.high, alpha)
        else:
            parameters = dict(self.low.named_parameters())
        if not config.noise:
            return parameters
        if config.fading == "rayleigh":
            fade = -math.log(max(1e-9, float(torch.rand((), generator=generator))))
            snr_db = max(config.outage_db, snr_db + 10 * math.log10(fade))
        n0 = 10 ** (-snr_db / 10) / config.expansion
        sent = {name: parameters[name] for name in pruning.weights(self.low)}
        return parameters | airnet.inject(sent, n0, generator, self._noise)

    def forward(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        config = self._config
        logits = self._run(self._delivered(self._draw(generator), generator), x).float()
        taught = teach(self.teachers, x[: config.taught(len(x))], config.softness)
        return losses(logits, y, taught, config.distillation, config.softness)

    def validate(self, val: Images, device: torch.device, seed: int) -> dict[str, float]:
        return super().validate(shown(val, self._config), device, seed)

    def logits(self, x: Tensor, generator: torch.Generator) -> Tensor:
        # Normalised by the batch, since no average fits every draw of the noise: what is sent is
        # measured when the training has ended.
        self.low.train()
        return self._eager(self._delivered(self._draw(generator), generator), x).float()


def _steps(network: nn.Module, image: Tensor, config: AirnetConfig) -> int:
    """The epoch, from 0, in which joint pruning reaches the budget."""
    trial, epoch = copy.deepcopy(network), 0
    while pruning.count(trial) > config.budget and not pruning.prune(
        trial, image, config.budget, config.prune_share
    ):
        epoch += 1
    return epoch


def noise_of(network: nn.Module, sensitivity: Mapping[str, float]) -> dict[str, float]:
    """Each layer's noise power over N0 where power is allocated after its sensitivity."""
    counts = {name: weight.numel() for name, weight in pruning.weights(network).items()}
    power = protection.allocate_power(sensitivity, counts)
    return {name: 1 / value for name, value in power.items()}


def read_noise(path: Path, network: nn.Module) -> dict[str, float]:
    """A positive number a layer from a JSON object.

    Raises:
        InputError: no such file, a layer that the network lacks, or no positive number.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        noise = {str(name): float(value) for name, value in content.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path} holds no number for each layer: {error}") from error
    known = pruning.weights(network)
    for name, value in noise.items():
        if name not in known:
            raise InputError(f"{path} names '{name}', but the network has {', '.join(known)}")
        if not 0 < value < math.inf:
            raise InputError(f"{path} gives {name} the number {value:g}: it must be positive")
    return noise


def train_airnet(config: AirnetConfig, weights: Path, out: Path) -> Path:
    """Prunes a trained network to a bandwidth, trains it for the channel, and returns the best.

    Args:
        config: the settings.
        weights: the unpruned network's checkpoint, of :func:`phydnn.train.train_backbone`.
        out: the run's folder.

    Raises:
        InputError: a layer that the pruner does not know, weights of zero or no numbers, or a
            bandwidth too small for any network; or as :func:`phydnn.train.engine.fit`.
    """
    _check(config)
    train, val = load_splits(config)
    network, teacher = load_backbone(weights), load_backbone(weights)
    image = torch.from_numpy(train.x[:1])
    torch.manual_seed(config.seed)
    pruning.check_weights(network)
    if config.start:
        network = load_airnet(Path(config.start), network)[0]
    if config.prune == "none" and pruning.count(network) > config.budget:
        raise InputError(
            f"{pruning.count(network)} weights do not fit {config.bandwidth} channel uses with an "
            f"expansion of {config.expansion}: set prune to joint, or a larger bandwidth"
        )
    if config.prune == "separate":
        while pruning.count(network) > config.budget:
            pruning.prune(network, image, config.budget, config.prune_share)
    sensitivity = None
    if config.power in protection.MEASURES:
        kept = out / "sensitivity.json"  # Not measured again when a run goes on.
        if not kept.is_file():
            seen = shown(train, config)
            found = protection.sensitivities(teacher, seen, config.power, seed=config.seed)
            write_json(kept, found)
        sensitivity = read_noise(kept, network)
    teachers = [teacher, *load_teachers(config.teachers, train)]
    task = AirnetTask(network, teachers, image, config, sensitivity)
    if task.first_candidate >= config.epochs:
        raise InputError(
            f"pruning takes {task.first_candidate + 1} steps of {config.prune_share:g}, an epoch "
            f"each, but there are {config.epochs} epochs: set more, or a larger prune_share"
        )
    return fit(task, config, train, val, out)


def _check(config: AirnetConfig) -> None:
    if config.bandwidth < 1 or config.expansion < 1:
        raise InputError(
            f"a bandwidth of {config.bandwidth} uses and an expansion of {config.expansion} "
            "carry nothing: both must be 1 or more"
        )
    if not 0 < config.prune_share <= 0.4:
        raise InputError(f"prune_share is {config.prune_share:g} but must be above 0, at most 0.4")
    if config.keep_high and not (config.start and config.boundaries):
        raise InputError("keep_high keeps what start names, as one of two boundaries: give start")
    if config.snr_low > config.snr_high:
        raise InputError(f"snr_low {config.snr_low:g} is above snr_high {config.snr_high:g}")


def load_airnet(path: Path, backbone: nn.Module) -> tuple[nn.Module, nn.Module, AirnetConfig]:
    """The boundary networks of a checkpoint that :func:`train_airnet` wrote, in evaluation mode.

    Args:
        path: the checkpoint.
        backbone: the unpruned network, for its architecture.

    Returns:
        the network for the low end, the one for the high end (the same, if there is one), and
        the settings.

    Raises:
        InputError: no checkpoint, or its weights do not fit.
    """
    state = checkpoint.load(path)
    networks = []
    if not any(name.startswith("low.") for name in state.get("model", {})):
        raise InputError(f"{path} is no AirNet's checkpoint: train one with phydnn train airnet")
    try:
        config = make_config(AirnetConfig, state["config"])
        for prefix in ("low.", "high.") if config.boundaries else ("low.",):
            network = copy.deepcopy(backbone)
            pruning.reshape(network, state["model"], prefix)
            network.load_state_dict(
                {
                    name.removeprefix(prefix): tensor
                    for name, tensor in state["model"].items()
                    if name.startswith(prefix)
                }
            )
            networks.append(network.eval())
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{path} is no AirNet's checkpoint: {error}") from error
    return networks[0], networks[-1], config
