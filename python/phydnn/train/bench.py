# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""What an adaptation's training step costs over the backbone's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from phydnn import networks
from phydnn.train.backbone import BackboneTask
from phydnn.train.config import BackboneConfig, PhydnnConfig, read_config
from phydnn.train.engine import Task, pick_device, uses_bfloat16
from phydnn.train.phydnn import PhydnnTask, make_phydnn, start_dictionary


def step_seconds(
    quick: bool, track: Callable[[Sequence[Any], str], Iterable[Any]], model: str = "resnet20"
) -> tuple[float, float, int]:
    """Seconds of a step of both trainings of the CIFAR-10 recipe, on the same batch.

    They take turns in one process, and the median of each counts: the machine's other work, and
    its clock, meet both alike. The images are random pixels: no time depends on what they show.

    Returns:
        the backbone's, the adaptation's, and the images in the batch.
    """
    common = ["crop=0"] + (["compile=false", "batch=32"] if quick else [])
    base = read_config(BackboneConfig, "backbone", "cifar10", [*common, f"model={model}"])
    config = read_config(PhydnnConfig, "phydnn", "cifar10", common)
    torch.manual_seed(1)
    images = torch.randint(0, 256, (base.batch, 3, 32, 32), dtype=torch.uint8)
    statistics = [125.0] * 3, [60.0] * 3
    teacher = networks.build(model, 10, *statistics).eval()
    phydnn = make_phydnn(teacher, config, images[:1].numpy())
    start_dictionary(phydnn, images.numpy(), config)
    parts = networks.split(teacher, config.split, images[:1])
    backbone = BackboneTask(networks.build(model, 10, *statistics), base)
    steps = [_step(task, images) for task in (backbone, PhydnnTask(phydnn, parts, config))]
    for _ in range(2):  # to compile, and to warm up
        for step in steps:
            step()
    turns = [[_seconds(step) for step in steps] for _ in track(range(5 if quick else 30), "steps")]
    own, adapted = np.median(turns, axis=0).tolist()
    return own, adapted, len(images)


def _step(task: Task, images: torch.Tensor) -> Callable[[], None]:
    device = pick_device()
    task.to(device).train()
    optimizer = torch.optim.SGD(task.groups(), lr=1e-4, momentum=0.9, nesterov=True)
    task.start_epoch(1, optimizer)
    x = images.to(device).contiguous(memory_format=torch.channels_last)
    y = torch.arange(len(x), device=device) % 10
    generator = torch.Generator().manual_seed(1)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16("auto", device))

    def step() -> None:
        with autocast:
            terms = task(x, y, generator)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def _seconds(step: Callable[[], None]) -> float:
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun
