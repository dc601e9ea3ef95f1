# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Torch twin of :mod:`phydnn.finite`: the finite-bits constellation as it is trained."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from phydnn import channel
from phydnn.errors import InputError
from phydnn.finite import DECISIONS, MAX_BITS, FiniteConstellation

RANGES = ("extremes", "deviations")
UNIFORM_REACH = {1: 0.798, 2: 1.494, 3: 2.051, 4: 2.514, 5: 2.916, 6: 3.278, 7: 3.611, 8: 3.922}
"""Outermost level of the best uniform quantiser of a Gaussian in deviations, for 2^m levels
(Max 1960, table II: (2^m - 1)/2 steps)."""


class FiniteBits(nn.Module):
    """A channel encoder's values on the constellation, the channel, and values again.

    Quantisation passes gradients straight through within the range (eq. 24). While the module
    trains, range, mean power and the numbers' frequencies are running means, and each batch is
    sent at mean power 1 exactly; in evaluation all is fixed, as at the two ends of a link.

    Args:
        bits: m of each real dimension, 1 to 8; 0 for full resolution.
        range: what the running range follows: "extremes", a batch's least and largest value as
            the paper says, or "deviations", so many standard deviations about the mean as the best
            uniform quantiser of a Gaussian has. One outlier then moves no level.
        decision: how the receiver reads an amplitude: "none" as it is (the paper), "hard" or
            "soft", as :meth:`phydnn.finite.FiniteConstellation.demap` says.
        momentum: of the running means (the paper's 1 - alpha); the first batches count in full.

    Raises:
        InputError: an option is out of range.
    """

    low: Tensor
    high: Tensor
    power: Tensor
    priors: Tensor
    batches: Tensor
    _sent: Tensor

    def __init__(
        self,
        bits: int,
        range: str = "deviations",
        decision: str = "soft",
        momentum: float = 0.99,
    ) -> None:
        super().__init__()
        if not 0 <= bits <= MAX_BITS or range not in RANGES or decision not in DECISIONS:
            raise InputError(
                f"a finite constellation has 0 to {MAX_BITS} bits, a range of {' or '.join(RANGES)}"
                f" and a decision of {', '.join(DECISIONS)}, not {bits}, '{range}' and '{decision}'"
            )
        if not 0 <= momentum < 1:
            raise InputError(f"momentum must be at least 0 and below 1, not {momentum}")
        self.bits, self.range, self.decision, self.momentum = bits, range, decision, momentum
        for name, start in (("low", -1.0), ("high", 1.0), ("power", 1.0)):
            self.register_buffer(name, torch.tensor(start))
        size = 2**bits
        self.register_buffer("priors", torch.full((size,), 1 / size))
        self.register_buffer("batches", torch.tensor(0))
        self.register_buffer("_sent", torch.tensor(1.0), persistent=False)

    def quantised(self, values: Tensor) -> Tensor:
        """Values [...] as the nearest of the 2^m levels, with the gradient of a clamp."""
        if not self.bits:
            return values
        top = 2**self.bits - 1
        # As FiniteConstellation.labels computes it, so that both round alike.
        labels = ((values.detach() - self.low) * (top / (self.high - self.low))).round()
        levels = self.low + labels.clamp(0, top) * ((self.high - self.low) / top)
        within = torch.minimum(torch.maximum(values, self.low), self.high)
        return within + (levels - within).detach()

    def send(self, values: Tensor) -> Tensor:
        """Values float32 [...,2U] to channel uses, complex64 [...,U], of mean power 1."""
        values = values.float()
        if self.training:
            self._follow(values.detach())
        levels = self.quantised(values)
        power = self.power
        if self.training:
            power = 2 * (levels**2).mean().clamp(min=1e-12)
            self._sent = power.detach()
        sent = levels / power.sqrt()
        return torch.view_as_complex(sent.unflatten(-1, (-1, 2)).contiguous())

    def receive(self, symbols: Tensor, n0: Tensor) -> Tensor:
        """Equalised uses complex64 [...,U] to values, float32 [...,2U].

        Args:
            symbols: as :meth:`send` gives them, after the channel.
            n0: noise variance of each use, a scalar or such that it broadcasts to [...,U].
        """
        # What it was divided by when it was sent.
        power = self._sent if self.training else self.power
        received = torch.view_as_real(symbols).flatten(-2) * power.sqrt()
        if self.decision == "none" or (self.decision == "hard" and not self.bits):
            return received
        if self.decision == "hard":
            # The gradient goes by the decision.
            return received + (self.quantised(received) - received).detach()
        noise = n0.expand(symbols.shape).repeat_interleave(2, -1)
        if not self.bits:
            return received / (1 + noise)
        top = 2**self.bits - 1
        steps = torch.arange(top + 1, dtype=torch.float32, device=symbols.device)
        levels = self.low + steps * ((self.high - self.low) / top)
        # Of -(y - x)^2 / N0 + log p, y^2 is the same for all levels. N0 here is in values^2.
        precision = 1 / (noise * power).clamp(min=1e-12)
        scores = (2 * precision * received)[..., None] * levels
        scores = scores - precision[..., None] * levels**2 + self.priors.log()
        # Not a matrix product, which autocast would take in bfloat16.
        return (torch.softmax(scores, -1) * levels).sum(-1)

    @torch.no_grad()
    def _follow(self, values: Tensor) -> None:
        """Moves range, power and priors towards a batch's; the first batch sets them."""
        if self.range == "extremes" or not self.bits:
            low, high = values.aminmax()
        else:
            deviation, mean = torch.std_mean(values)
            reach = UNIFORM_REACH[self.bits] * deviation
            low, high = mean - reach, mean + reach
        # A range of nothing, as of the all-zero output of a dead encoder, cannot be divided.
        high = torch.maximum(high, low + 1e-6)
        self.batches += 1
        weight = max(1 - self.momentum, 1 / self.batches.item())
        self.low.lerp_(low, weight)
        self.high.lerp_(high, weight)
        levels = self.quantised(values)
        self.power.lerp_(2 * (levels**2).mean().clamp(min=1e-12), weight)
        if self.bits:
            top = 2**self.bits - 1
            labels = ((values - self.low) * (top / (self.high - self.low))).round().clamp(0, top)
            counts = torch.bincount(labels.flatten().long(), minlength=top + 1)
            # A number that no batch has sent may yet be.
            self.priors.lerp_((counts + 0.01) / (counts + 0.01).sum(), weight)

    def forward(
        self, values: Tensor, n0: Tensor, fading: channel.Fading, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Values through the channel, each row of the batch a frame.

        Args:
            values: float32 [B,...,2U].
            n0: noise variance of each row, a scalar or [B,1].
            fading, generator: as of :func:`phydnn.channel.transmit`, with the channel known.

        Returns:
            received values, float32 as ``values``, and the noise variance of each use [B,...,U].
        """
        symbols = self.send(values)
        received, noise = channel.transmit(symbols.flatten(1), n0, fading, generator)
        received, noise = received.view_as(symbols), noise.reshape(symbols.shape)
        return self.receive(received, noise), noise

    def constellation(self) -> FiniteConstellation:
        """What it has learnt, as both ends of a link use it."""
        return FiniteConstellation(
            float(self.low),
            float(self.high),
            self.bits,
            1 / math.sqrt(float(self.power)),
            self.priors.cpu().numpy().copy() if self.bits else None,
        )
