# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Training of backbones and of PhyDNNs."""

from phydnn.train.backbone import BackboneTask, grow, import_backbone, load_backbone, train_backbone
from phydnn.train.config import (
    RECIPES,
    BackboneConfig,
    FitConfig,
    PhydnnConfig,
    make_config,
    read_config,
)
from phydnn.train.engine import BaseTask, Task, augment, fit, shown, uses_bfloat16
from phydnn.train.phydnn import PhydnnTask, load_phydnn, make_phydnn, train_phydnn

__all__ = [
    "RECIPES",
    "BackboneConfig",
    "BackboneTask",
    "BaseTask",
    "FitConfig",
    "PhydnnConfig",
    "PhydnnTask",
    "Task",
    "augment",
    "fit",
    "grow",
    "import_backbone",
    "load_backbone",
    "load_phydnn",
    "make_config",
    "make_phydnn",
    "read_config",
    "shown",
    "train_backbone",
    "train_phydnn",
    "uses_bfloat16",
]
