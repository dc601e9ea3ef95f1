# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Muon for convolutions: momentum whose matrix is made orthogonal (Jordan et al. 2024)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NARROWEST = 64
"""Weights of fewer inputs a filter are left to SGD: first layers, depthwise filters."""

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of Newton and Schulz's iteration, for singular values that come near 1 in five steps."""


class Muon(torch.optim.Optimizer):
    """SGD with Nesterov's momentum, and for wide convolutions an orthogonal step of a given length.

    A step turns a layer's filters by about ``muon`` radians, whatever the gradient's size, and
    leaves their norm as it was, which a normalisation behind them does not see anyway.
    torch.optim.Muon takes matrices alone.

    Args:
        groups: as of :class:`torch.optim.SGD`, each with a factor ``scale`` on the learning rate,
            which whoever steps writes to ``lr``.
        lr: of SGD.
        muon: the convolutions' learning rate.
        momentum, weight_decay: of SGD; Muon shares the momentum.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        muon: float,
        momentum: float,
        weight_decay: float,
    ) -> None:
        parts = []
        for group in groups:
            learns = [p for p in group["params"] if p.requires_grad]
            scale = group.get("scale", 1.0)
            for orthogonal, factor in ((False, scale), (True, scale * muon / lr)):
                mine = [p for p in learns if _is_wide(p) == orthogonal]
                parts.append(group | {"params": mine, "scale": factor, "orthogonal": orthogonal})
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__([part for part in parts if part["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Changes all weights that have a gradient."""
        for group in self.param_groups:
            momentum = group["momentum"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                buffer = state["momentum_buffer"]
                orthogonal = group["orthogonal"]
                gradient = p.grad if orthogonal else p.grad + group["weight_decay"] * p
                buffer.mul_(momentum).add_(gradient)
                step = gradient + momentum * buffer
                if orthogonal:
                    norm = p.norm()
                    length = group["lr"] * norm / min(len(p), p[0].numel()) ** 0.5
                    p.sub_(length * orthogonalise(step.flatten(1)).reshape(p.shape))
                    p.mul_(norm / p.norm().clamp_min(1e-12))
                else:
                    p.sub_(group["lr"] * step)


def _is_wide(p: Tensor) -> bool:
    return p.ndim == 4 and p[0].numel() >= NARROWEST


def orthogonalise(matrix: Tensor) -> Tensor:
    """The matrix with its singular values near 1 by Newton and Schulz's iteration.

    They come to 0.7 to 1.2, those of less than a hundredth of the largest to less.

    Args:
        matrix: float32 [R,C].
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp_min(1e-12)
    a, b, c = COEFFICIENTS
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
