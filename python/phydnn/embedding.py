# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The PhyDNN: a network cut in two, with a dictionary of embeddings and a channel in the cut.

After Abdi et al., "PhyDNNs: Bringing Deep Neural Networks to the Physical Layer". The head's
latent is cut into slices, each slice is replaced by a label drawn from p(z|x) over a dictionary,
the label rides on a constellation point, and the receiver looks the point up again.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from phydnn import channel, constellation
from phydnn.bottleneck import Bottleneck
from phydnn.errors import InputError

LOOKUPS = ("distance", "inner_product")
DECISIONS = ("hard", "soft")
QUANTIZERS = ("straight-through", "gumbel", "ema", "fsq")
SLICINGS = ("channel", "row")
EMA_DECAY = 0.99
"""Of the running means that are an EMA dictionary (van den Oord et al. 2017, appendix A.1)."""


def to_slices(latent: Tensor, slicing: str = "channel") -> Tensor:
    """Slices across channels: a feature map [B,D,H,W] to [B,H*W,D], a vector [B,D] to [B,1,D].

    Tokens [B,S,D] are slices already. With ``slicing`` "row" a map is cut into as many runs of D
    neighbours along its rows instead, as the authors' public code does.
    """
    if latent.ndim == 4 and slicing == "row":
        return latent.flatten(1).unflatten(1, (-1, latent.shape[1]))
    if latent.ndim == 4:
        return latent.flatten(2).transpose(1, 2)
    if latent.ndim == 2:
        return latent[:, None]
    if latent.ndim == 3:
        return latent
    raise InputError(
        f"the latent has {latent.ndim} axes: split where it is a map, tokens or a vector"
    )


def from_slices(slices: Tensor, shape: torch.Size, slicing: str = "channel") -> Tensor:
    """The inverse of :func:`to_slices` for latents of ``shape`` (whose batch axis is ignored)."""
    if len(shape) == 4 and slicing == "row":
        return slices.flatten(1).unflatten(1, shape[1:])
    if len(shape) == 4:
        return slices.transpose(1, 2).unflatten(2, shape[2:])
    return slices[:, 0] if len(shape) == 2 else slices


def kmeans(slices: NDArray[np.float32], size: int, seed: int) -> NDArray[np.float32]:
    """A dictionary's start: the centres of k-means over slices [N,D], float32 [size,D].

    Raises:
        InputError: there are fewer distinct slices than embeddings.
    """
    from sklearn.cluster import KMeans

    if len(np.unique(slices, axis=0)) < size:
        raise InputError(f"the head's slices take fewer than {size} values: lower the size")
    found = KMeans(size, n_init=2, random_state=seed).fit(slices)
    return np.asarray(found.cluster_centers_, np.float32)


class Embedding(nn.Module):
    """The dictionary, the channel and the lookup between head and tail.

    Args:
        embeddings: the dictionary's start, float32 [M,D].
        points: complex64 [M]; ``points[j]`` carries embedding j.
        lookup: how a slice picks its embedding: "distance" or "inner_product".
        decision: how the receiver looks a symbol up: "hard" takes the nearest point's embedding,
            "soft" the mean of all weighted by their posteriors given N0, which tells the tail how
            far to trust what it reads: one bundle then serves a range of Es/N0.
        quantizer: how the pick is trained. "straight-through" sends the nearest embedding and
            passes gradients by it; "ema" does so too, its dictionary following running means of
            the slices that picked it; "gumbel" draws from p(z|x) with straight-through
            Gumbel-softmax; "fsq" has a fixed grid of :func:`grid` for a dictionary and bounds the
            slices to it (Mentzer et al. 2023).
        temperature: of p(z|x) and of the Gumbel-softmax; the lower, the surer the pick.
        draws: of the Gumbel-softmax for each slice (N_mc), as so many copies of the batch.
        learned_points: whether the constellation learns as well; its mean power stays 1.
        own_points: whether the dictionary, which must be of D = 2, is the constellation itself:
            a point is its embedding, moved and scaled to mean 0 and mean power 1. What noise
            does to a symbol is then small in the slice too.

    Raises:
        InputError: an option is out of range.
    """

    points: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        embeddings: Tensor,
        points: NDArray[np.complex64],
        lookup: str = "distance",
        decision: str = "soft",
        quantizer: str = "straight-through",
        temperature: float = 1.0,
        draws: int = 1,
        learned_points: bool = False,
        own_points: bool = False,
    ) -> None:
        super().__init__()
        for value, allowed in (
            (lookup, LOOKUPS),
            (decision, DECISIONS),
            (quantizer, QUANTIZERS),
        ):
            if value not in allowed:
                raise InputError(f"'{value}' is unknown: choose {' or '.join(allowed)}")
        if not temperature > 0 or draws < 1:
            raise InputError(f"temperature {temperature} and draws {draws} must be above 0")
        if own_points and embeddings.shape[1] != 2:
            raise InputError(
                f"slices of {embeddings.shape[1]} values are no points of a constellation: set "
                "dim=2, or another constellation"
            )
        if quantizer == "fsq":
            embeddings = grid(*embeddings.shape)
        self.embeddings = nn.Parameter(
            embeddings.clone(), requires_grad=quantizer not in ("ema", "fsq")
        )
        start = torch.view_as_real(torch.from_numpy(points).clone())
        if learned_points:
            self.points = nn.Parameter(start)
        else:
            self.register_buffer("points", start)
        if quantizer == "ema":
            self.register_buffer("counts", torch.ones(len(embeddings)))
            self.register_buffer("sums", embeddings.clone())
        self.lookup = lookup
        self.decision = decision
        self.quantizer = quantizer
        self.temperature = temperature
        self.draws = draws
        self.own_points = own_points

    def scores(self, slices: Tensor) -> Tensor:
        """The logits of p(z|x) (eq. 2), float32 [B,S,M]: highest for the embedding picked.

        The inner product, or minus half the squared distance; either over the square root of D
        and the temperature.
        """
        weights = self.embeddings / (self.temperature * math.sqrt(slices.shape[-1]))
        if self.lookup == "inner_product":
            return slices @ weights.T
        # |s|^2 is the same for all embeddings, so it changes neither softmax nor argmax.
        return functional.linear(slices, weights, -0.5 * (weights * self.embeddings).sum(1))

    def labels(self, slices: Tensor) -> Tensor:
        """The embedding that each slice picks, int64 [B,S]."""
        return self.scores(slices).argmax(-1)

    def constellation(self) -> Tensor:
        """The points, complex64 [M], of mean power 1."""
        points = self.points
        if self.own_points:
            points = self.embeddings.detach() - self.embeddings.detach().mean(0)
        if self.own_points or isinstance(points, nn.Parameter):
            points = points / (points**2).sum(1).mean().sqrt()
        return torch.view_as_complex(points)

    def bound(self, slices: Tensor) -> Tensor:
        """What the head's slices go through first.

        A gradient that passes by the quantiser drives slices ever further out, so it stops a
        little beyond the outermost embeddings: by FSQ's tanh, or else by a plain limit. Gumbel's
        gradient goes through the pick, and needs none.
        """
        if self.quantizer == "gumbel":
            return slices
        low, high = self.embeddings.detach().aminmax(dim=0)
        if self.quantizer == "fsq":
            limit = 1.2 * high
            return limit * torch.tanh(slices / limit)
        margin = 0.2 * (high - low)
        return slices.clamp(low - margin, high + margin)

    def receive(self, symbols: Tensor, n0: Tensor) -> Tensor:
        """Slices [B,S,D] looked up for equalised symbols [B,S] with noise variance n0 [B,S]."""
        # Through a hard decision no gradient reaches the symbols, so Gumbel trains a soft one.
        if self.decision == "hard" and not (self.training and self.quantizer == "gumbel"):
            return self.embeddings[channel.hard_labels(symbols, self.constellation())]
        return channel.posteriors(symbols, self.constellation(), n0) @ self.embeddings

    def forward(
        self, slices: Tensor, n0: Tensor, fading: channel.Fading, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Training: slices through the dictionary and the channel, with gradients.

        Args:
            slices: float32 [B,S,D].
            n0: noise variance of each image, [B,1].
            fading: drawn for each image, so that a batch sees many fades.
            generator: of the draws, the fades and the noise.

        Returns:
            received slices [draws*B,S,D], draw by draw; the binding loss (eq. 9): the mean
            squared distance of slices to their embeddings, which moves both; and how many
            slices picked each embedding, int64 [M], in all processes together.
        """
        scores = self.scores(slices)
        labels = scores.argmax(-1)
        binding = functional.mse_loss(slices, self.embeddings[labels])
        usage = torch.bincount(labels.flatten(), minlength=len(self.embeddings))
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(usage)
        if self.quantizer == "gumbel":
            uniform = torch.rand((self.draws, *scores.shape), generator=generator)
            noise = -torch.log(-torch.log(uniform.clamp(1e-9, 1 - 1e-7))).to(scores.device)
            soft = torch.softmax(scores + noise, -1)
            chosen = functional.one_hot(soft.argmax(-1), soft.shape[-1]) + soft - soft.detach()
            points = torch.view_as_real(self.constellation())
            symbols = torch.view_as_complex((chosen @ points).flatten(0, 1).contiguous())
            n0 = n0.repeat(self.draws, 1)
        else:
            symbols = self.constellation()[labels]
        received = self.receive(*channel.transmit(symbols, n0, fading, generator))
        if self.quantizer != "gumbel":
            received = received + slices - slices.detach()
        if self.quantizer == "ema" and self.training:
            self._follow(slices.detach(), labels, usage)
        return received, binding, usage

    @torch.no_grad()
    def _follow(self, slices: Tensor, labels: Tensor, usage: Tensor) -> None:
        """Moves the EMA dictionary towards the means of the slices that picked each embedding."""
        counts, flat = usage.float(), slices.flatten(0, 1)
        sums = torch.zeros_like(self.sums).index_add_(0, labels.flatten(), flat)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        self.counts.lerp_(counts, 1 - EMA_DECAY)
        self.sums.lerp_(sums, 1 - EMA_DECAY)
        self.embeddings.copy_(self.sums / self.counts.clamp(min=1e-3)[:, None])

    def start(self, embeddings: Tensor) -> None:
        """Sets the dictionary; an FSQ dictionary stays what it is."""
        if self.quantizer != "fsq":
            self.embeddings.data.copy_(embeddings)
        if self.quantizer == "ema":
            self.sums.copy_(embeddings)
            self.counts.fill_(1)

    def rate(self, slices: Tensor) -> Tensor:
        """The VIB's bound on the rate, E[KL(p(z|x) || uniform)] in nats a slice (eq. 6 and 7).

        Unlike the authors' code it has a gradient, through p(z|x).
        """
        log_p = torch.log_softmax(self.scores(slices), -1)
        return math.log(log_p.shape[-1]) + (log_p.exp() * log_p).sum(-1).mean()

    def relabel(self, seed: int) -> None:
        """Moves the embeddings among the points so that near ones sit on near points."""
        if self.own_points:
            return
        points = self.constellation().detach().cpu().numpy()
        order = constellation.label_by_distance(self.embeddings.detach().cpu(), points, seed)
        self.points.data.copy_(self.points.data[torch.from_numpy(order).to(self.points.device)])

    def keep(self, kept: Tensor, points: NDArray[np.complex64]) -> None:
        """Shrinks the dictionary to the embeddings of index ``kept`` [N] on ``points`` [N].

        The parameters stay the same objects, so an optimiser goes on with them once its own
        state has been cut in the same way.
        """
        self.embeddings.data = self.embeddings.data[kept].clone()
        self.embeddings.grad = None
        device = self.points.device
        self.points.data = torch.view_as_real(torch.from_numpy(points).clone()).to(device)
        self.points.grad = None
        if self.quantizer == "ema":
            self.counts, self.sums = self.counts[kept], self.sums[kept]


def grid(size: int, dim: int) -> Tensor:
    """FSQ's dictionary: all of so many evenly spaced levels in each dimension, float32 [size,dim].

    Its levels are those of the best uniform quantiser of a Gaussian of variance 1, roughly.

    Raises:
        InputError: ``size`` is no power of a whole number to ``dim``.
    """
    levels = round(size ** (1 / dim))
    if levels < 2 or levels**dim != size:
        raise InputError(f"an FSQ dictionary of {size} does not fill {dim} dimensions: change size")
    step = 5.6 / (levels + 1.5)
    values = step * (torch.arange(levels) - (levels - 1) / 2)
    return torch.cartesian_prod(*[values] * dim).reshape(size, dim)


class PhyDNN(nn.Module):
    """head -> slices -> embedding and channel -> slices -> tail.

    Args:
        head, tail: as :func:`phydnn.networks.split` gives them.
        embedding: what lies between.
        shape: of the head's latent for any batch.
        bottleneck: between the latent and the slices, on both sides; or None.
        slicing: of the latent where there is no bottleneck, "channel" or "row".
    """

    def __init__(
        self,
        head: nn.Module,
        tail: nn.Module,
        embedding: Embedding,
        shape: torch.Size,
        bottleneck: Bottleneck | None = None,
        slicing: str = "channel",
    ) -> None:
        super().__init__()
        self.head, self.tail, self.embedding, self.shape = head, tail, embedding, shape
        self.bottleneck, self.slicing = bottleneck, slicing

    def slices(self, images: Tensor) -> Tensor:
        """uint8 [B,C,H,W] to float32 [B,S,D]."""
        return self.cut(self.head(images))

    def cut(self, latent: Tensor) -> Tensor:
        """The head's latent to slices float32 [B,S,D]."""
        latent = latent.float()
        if self.bottleneck is None:
            slices = to_slices(latent, self.slicing)
        else:
            slices = self.bottleneck.encode(latent)
        return self.embedding.bound(slices)

    def classify(self, slices: Tensor) -> Tensor:
        """float32 [B,S,D] to logits float32 [B,K]."""
        if self.bottleneck is None:
            latent = from_slices(slices, self.shape, self.slicing)
        else:
            latent = self.bottleneck.decode(slices)
        logits: Tensor = self.tail(latent).float()
        return logits

    def forward(
        self, images: Tensor, n0: Tensor, fading: channel.Fading, generator: torch.Generator
    ) -> Tensor:
        """The link as it runs: logits of images sent at noise variance ``n0`` ([B,1])."""
        return self.send(self.embedding.labels(self.slices(images)), n0, fading, generator)

    def send(
        self, labels: Tensor, n0: Tensor, fading: channel.Fading, generator: torch.Generator
    ) -> Tensor:
        """Labels [B,S] of images that are sent at noise variance ``n0`` ([B,1]), to logits."""
        symbols = self.embedding.constellation()[labels]
        received = channel.transmit(symbols, n0, fading, generator)
        return self.classify(self.embedding.receive(*received))
