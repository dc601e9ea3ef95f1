# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Training of channel state denoisers on simulated frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from phydnn import checkpoint, csi
from phydnn.channels import ChannelSpec
from phydnn.denoisers import NETWORKS
from phydnn.errors import InputError
from phydnn.train.config import FitConfig
from phydnn.train.engine import BaseTask, fit
from phydnn.waveform import USED

USES = (1, 65536)
"""Channel uses of a frame in training, from 2 to 12 DMRS; as many frames are short as are long."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CsiConfig(FitConfig):
    """Training of a channel state denoiser; its data are simulated (``data`` "simulated").

    Attributes:
        network: one of :data:`phydnn.denoisers.NETWORKS`.
        steps: of an epoch.
        snr_low, snr_high: Es/N0 in dB is drawn uniformly between them for each frame.
        loss: "squared", half the squared error over the noise, as the paper has it up to that
            scale; or "log", the logarithm of each frame's mean squared error, in which a frame of
            one path, which can be told a thousand times better, counts as much as one of many.
    """

    data: str = "simulated"
    network: str = "wiener"
    steps: int = 200
    batch: int = 24
    lr: float = 2e-3
    warmup: float = 0.05
    weight_decay: float = 0.0
    precision: str = "float32"
    snr_low: float = -5.0
    snr_high: float = 25.0
    loss: str = "log"


def draw_paths(rng: np.random.Generator) -> csi.Paths:
    """A channel to train on: what is measured, and others, half of them with Doppler."""
    doppler = 0.0 if rng.random() < 0.5 else float(10 ** rng.uniform(0.7, 2.4))
    kind = rng.choice(["flat", "tdl-a", "tdl-c", "other"], p=[0.25, 0.25, 0.3, 0.2])
    if kind.startswith("tdl"):
        spread = float(10 ** rng.uniform(np.log10(30e-9), np.log10(300e-9)))
        return csi.Paths.of(csi.tdl(str(kind), spread, doppler))
    if kind == "flat":
        k = float(rng.choice([0.0, 2.0, 10.0, 1e9], p=[0.5, 0.3, 0.1, 0.1]))
        return csi.Paths(np.zeros(1), np.ones(1), np.array([k]), doppler)
    count = int(rng.integers(1, 21))
    delays = rng.random(count) ** 1.5 * rng.uniform(1, 40)
    powers = np.exp(-delays / rng.uniform(1, 20)) * rng.exponential(1, count)
    return csi.Paths(delays, powers / powers.sum(), np.zeros(count), doppler)


def tensors(frames: csi.Frames) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The networks' inputs, and the truth in the form of ``ls``."""

    rows = torch.from_numpy(frames.rows).expand(len(frames.n0), -1)
    ls, truth = (torch.from_numpy(csi.as_parts(values)) for values in (frames.ls, frames.truth))
    return ls, torch.from_numpy(frames.n0_estimate), rows, truth


class CsiTask(BaseTask):
    """A denoiser, and frames to train it on, drawn anew each step."""

    def __init__(self, network: nn.Module, config: CsiConfig) -> None:
        super().__init__()
        self.network = network
        self._squared = config.loss == "squared"

    def optimizer(self, config: FitConfig) -> torch.optim.Optimizer:
        groups = [{"params": list(self.network.parameters()), "scale": 1.0}]
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)

    def forward(
        self, ls: Tensor, n0: Tensor, rows: Tensor, truth: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        error = (self.network(ls, n0, rows) - truth).square().sum(3).mean((1, 2)) / n0
        if self._squared:
            return {"squared": 0.5 * error.mean()}
        # Of a frame of few degrees of freedom a lucky draw must not count without bound.
        floor = 2 / (ls.shape[1] * ls.shape[2])
        return {"log": torch.log(error + floor).mean()}

    def batches(
        self, train: Any, config: FitConfig, epoch: int, generator: torch.Generator
    ) -> tuple[int, Iterator[tuple[Tensor, ...]]]:
        assert isinstance(config, CsiConfig)
        rng = np.random.default_rng(int(torch.randint(1 << 62, (1,), generator=generator)))

        def steps() -> Iterator[tuple[Tensor, ...]]:
            for _ in range(config.steps):
                yield tensors(
                    csi.simulate(
                        [draw_paths(rng) for _ in range(config.batch)],
                        rng.uniform(config.snr_low, config.snr_high, config.batch),
                        int(np.exp(rng.uniform(*np.log(np.maximum(USES, USED))))),
                        rng,
                        synchronised=bool(rng.random() < 0.7),
                    )
                )

        return config.steps, steps()

    def validate(self, val: Any, device: torch.device, seed: int) -> dict[str, float]:
        """The squared error over that of LS in dB: the mean over kinds of frames, and each."""
        self.eval()
        ratios: dict[str, list[float]] = {}
        with torch.no_grad():
            for name, frames in val:
                ls, n0, rows, truth = (tensor.to(device) for tensor in tensors(frames))
                refined, rest = self.network(ls, n0, rows) - truth, ls - truth
                ratio = 10 * torch.log10(refined.square().sum() / rest.square().sum())
                ratios.setdefault(f"val_db_{name}", []).append(ratio.item())
        found = {name: sum(values) / len(values) for name, values in ratios.items()}
        return {"val_db": sum(found.values()) / len(found), **found}

    def merit(self, entry: dict[str, Any]) -> tuple[float, ...]:
        return (-entry["val_db"],)


def validation(count: int = 32) -> list[tuple[str, csi.Frames]]:
    """Frames that choose the epoch, and the names of their channels."""
    rng = np.random.default_rng(20_260_000)
    return [
        (
            name,
            csi.simulate([csi.Paths.of(spec)] * count, np.full(count, snr_db), uses, rng),
        )
        for name, spec in {
            "flat": ChannelSpec("rayleigh"),
            "tdl-a_30ns": csi.tdl("tdl-a", 30e-9),
            "tdl-c_300ns": csi.tdl("tdl-c", 300e-9),
            "tdl-c_100ns_100Hz": csi.tdl("tdl-c", 100e-9, 100.0),
        }.items()
        for snr_db in (0.0, 10.0)
        for uses in (1024, 30_000)
    ]


def train_csi(config: CsiConfig, out: Path) -> Path:
    """Trains a denoiser and returns its best checkpoint.

    Raises:
        InputError: there is no such network, or the settings make no training.
    """
    if config.network not in NETWORKS:
        raise InputError(
            f"there is no network '{config.network}': choose {', '.join(sorted(NETWORKS))}"
        )
    if config.snr_low > config.snr_high:
        raise InputError(f"snr_low {config.snr_low:g} is above snr_high {config.snr_high:g}")
    if config.steps < 1:
        raise InputError(f"the setting steps is {config.steps} but must be 1 or more")
    torch.manual_seed(config.seed)
    return fit(CsiTask(NETWORKS[config.network](), config), config, None, validation(), out)


def load_denoiser(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint in evaluation mode, and the checkpoint.

    Raises:
        InputError: no checkpoint of :func:`train_csi`.
    """
    state = checkpoint.load(path)
    try:
        network = NETWORKS[state["config"]["network"]]()
        task = CsiTask(network, CsiConfig())
        task.load_state_dict(state["model"])
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{path} is no checkpoint of a CSI denoiser: {error}") from error
    return network.eval(), state
