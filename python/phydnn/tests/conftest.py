# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""What the tests share: the shipped digits bundle, and a short training run."""

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from phydnn.bundle import Bundle, find

TINY = ["epochs=2", "threads=1"]
"""Settings that make a recipe end in seconds."""

# The same examples on each run and no limit to their time, as Hypothesis has it for continuous
# integration: what fails has been broken by a change. CONTRIBUTING.md says how to look for more.
settings.load_profile("ci")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws does not depend on the tests before it."""
    torch.manual_seed(1)


@pytest.fixture
def digits_folder(tmp_path: Path) -> Path:
    """A copy of the shipped digits bundle, to be damaged."""
    shipped = find("phydnn-resnet20-digits")
    return Path(shutil.copytree(shipped, tmp_path / shipped.name))


@pytest.fixture(scope="session")
def digits_bundle() -> Bundle:
    return Bundle.load("phydnn-resnet20-digits")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder: a backbone and its PhyDNN after two epochs each on the digits."""
    from phydnn import train

    out = tmp_path_factory.mktemp("runs") / "digits"
    base = train.read_config(train.BackboneConfig, "backbone", "digits", TINY)
    weights = train.train_backbone(base, out / "backbone")
    config = train.read_config(train.PhydnnConfig, "phydnn", "digits", [*TINY, "frozen_epochs=1"])
    train.train_phydnn(config, weights, out / "phydnn")
    return out
