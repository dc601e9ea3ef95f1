# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""What a network costs to run: multiply-accumulates by torch's own counter, and parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


@contextlib.contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Counts the floating-point operations of what runs inside; two make one MAC.

    Attention is kept from the fused kernels, in which torch's counter sees nothing.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as count:
            yield count
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def macs(module: nn.Module, example: Tensor) -> int:
    """Multiply-accumulates of one pass: half of what torch's FlopCounterMode counts.

    Convolutions, matrix products and attention count; element-wise operations, normalisation and
    pooling do not, as is usual.

    Args:
        module: takes one tensor; it runs in evaluation mode and is left in its own.
        example: its input. The count is of the whole batch, so give a batch of 1 for one image.
    """
    modes = {part: part.training for part in module.modules()}
    try:
        with counting() as count:
            module.eval()(example)
    finally:
        for part, mode in modes.items():
            part.training = mode
    return count.get_total_flops() // 2


def parameters(module: nn.Module) -> int:
    """How many parameters a module has, shared ones once; buffers do not count."""
    return sum(parameter.numel() for parameter in module.parameters())
