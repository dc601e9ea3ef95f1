# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Knowledge distillation: a network follows the softened answers of others (Hinton et al. 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def soften(logits: Sequence[Tensor], softness: float) -> Tensor:
    """Softened log-probabilities float32 [B,K] of several networks' logits: of their mean."""
    each = torch.stack([functional.log_softmax(one.float() / softness, 1) for one in logits])
    return each.logsumexp(0) - math.log(len(each))


def teach(teachers: Sequence[nn.Module], x: Tensor, softness: float) -> Tensor | None:
    """What :func:`soften` gives of networks for images uint8 [F,C,H,W]; None without either."""
    if not teachers or not len(x):
        return None
    with torch.no_grad():
        return soften([teacher(x) for teacher in teachers], softness)


def losses(
    logits: Tensor,
    labels: Tensor,
    taught: Tensor | None,
    share: float,
    softness: float,
    label_smoothing: float = 0.0,
) -> dict[str, Tensor]:
    """The loss's terms, weighted: cross-entropy, and the divergence from softened answers.

    The divergence is multiplied by softness squared, so that its gradients are as large as the
    cross-entropy's. Images that are not taught learn from their labels alone.

    Args:
        logits: float32 [D*B,K], of D draws of the noise, one after the other.
        labels: int64 [B].
        taught: what :func:`soften` gave for the first images, [F,K] with F <= B; None for none.
        share: of the loss that follows them, for these images.
        softness: of the answers.
        label_smoothing: of the cross-entropy.
    """
    draws, count = len(logits) // len(labels), 0 if taught is None else len(taught)
    hard = functional.cross_entropy(
        logits, labels.repeat(draws), reduction="none", label_smoothing=label_smoothing
    ).unflatten(0, (draws, len(labels)))
    weight = torch.ones(len(labels), device=logits.device)
    weight[:count] -= share
    terms = {"cross-entropy": (weight * hard).mean()}
    if taught is not None:
        answers = logits.unflatten(0, (draws, len(labels)))[:, :count] / softness
        answers = functional.log_softmax(answers, -1)
        divergence = functional.kl_div(
            answers, taught.expand_as(answers), reduction="sum", log_target=True
        )
        terms["distillation"] = share * softness**2 * divergence / len(logits)
    return terms
