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
from phydnn.errors import InputError

LOOKUPS = ("distance", "inner_product")
DECISIONS = ("hard", "soft")
RELAXATIONS = ("straight-through", "gumbel")


def to_slices(latent: Tensor) -> Tensor:
    """Slices across channels: a feature map [B,D,H,W] to [B,H*W,D], a vector [B,D] to [B,1,D].

    Tokens [B,S,D] are slices already.
    """
    if latent.ndim == 4:
        return latent.flatten(2).transpose(1, 2)
    if latent.ndim == 2:
        return latent[:, None]
    if latent.ndim == 3:
        return latent
    raise InputError(
        f"the latent has {latent.ndim} axes: split where it is a map, tokens or a vector"
    )


def from_slices(slices: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of :func:`to_slices` for latents of ``shape`` (whose batch axis is ignored)."""
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
            "soft" the mean of all weighted by their posteriors given N0.
        relaxation: in training, "straight-through" sends the picked label and passes gradients
            by it; "gumbel" draws from p(z|x) with straight-through Gumbel-softmax.
        temperature: of p(z|x); the lower, the surer the pick.
        draws: of the Gumbel-softmax for each slice (N_mc), as so many copies of the batch.

    Raises:
        InputError: an option is out of range.
    """

    points: Tensor

    def __init__(
        self,
        embeddings: Tensor,
        points: NDArray[np.complex64],
        lookup: str = "distance",
        decision: str = "soft",
        relaxation: str = "straight-through",
        temperature: float = 1.0,
        draws: int = 1,
    ) -> None:
        super().__init__()
        for value, allowed in (
            (lookup, LOOKUPS),
            (decision, DECISIONS),
            (relaxation, RELAXATIONS),
        ):
            if value not in allowed:
                raise InputError(f"'{value}' is unknown: choose {' or '.join(allowed)}")
        if not temperature > 0 or draws < 1:
            raise InputError(f"temperature {temperature} and draws {draws} must be above 0")
        self.embeddings = nn.Parameter(embeddings.clone())
        self.register_buffer("points", torch.view_as_real(torch.from_numpy(points).clone()))
        self.lookup = lookup
        self.decision = decision
        self.relaxation = relaxation
        self.temperature = temperature
        self.draws = draws

    def scores(self, slices: Tensor) -> Tensor:
        """The logits of p(z|x) (eq. 2), float32 [B,S,M]: highest for the embedding picked.

        The inner product, or minus half the squared distance; either divided by D, so that one
        temperature does for any width.
        """
        products = slices @ self.embeddings.T
        if self.lookup == "distance":
            # |s|^2 is the same for all embeddings, so it changes neither softmax nor argmax.
            products = products - 0.5 * (self.embeddings**2).sum(1)
        return products / (self.temperature * slices.shape[-1])

    def labels(self, slices: Tensor) -> Tensor:
        """The embedding that each slice picks, int64 [B,S]."""
        return self.scores(slices).argmax(-1)

    def constellation(self) -> Tensor:
        """The points, complex64 [M]."""
        return torch.view_as_complex(self.points)

    def receive(self, symbols: Tensor, n0: Tensor) -> Tensor:
        """Slices [B,S,D] looked up for equalised symbols [B,S] with noise variance n0 [B,S]."""
        # Through a hard decision no gradient reaches the symbols, so Gumbel trains a soft one.
        if self.decision == "hard" and not (self.training and self.relaxation == "gumbel"):
            return self.embeddings[channel.hard_labels(symbols, self.constellation())]
        return channel.posteriors(symbols, self.constellation(), n0) @ self.embeddings

    def forward(
        self, slices: Tensor, n0: Tensor, fading: channel.Fading, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Training: slices through the dictionary and the channel, with gradients.

        Args:
            slices: float32 [B,S,D].
            n0: noise variance of each image, [B,1].
            fading: drawn for each image, so that a batch sees many fades.
            generator: of the draws, the fades and the noise.

        Returns:
            received slices [draws*B,S,D], draw by draw, and the binding loss (eq. 9): the mean
            squared distance of slices to their embeddings, which moves both.
        """
        scores = self.scores(slices)
        binding = functional.mse_loss(slices, self.embeddings[scores.argmax(-1)])
        if self.relaxation == "gumbel":
            uniform = torch.rand((self.draws, *scores.shape), generator=generator)
            noise = -torch.log(-torch.log(uniform.clamp(1e-9, 1 - 1e-7))).to(scores.device)
            soft = torch.softmax(scores + noise, -1)
            chosen = functional.one_hot(soft.argmax(-1), soft.shape[-1]) + soft - soft.detach()
            symbols = torch.view_as_complex((chosen @ self.points).flatten(0, 1).contiguous())
            n0 = n0.repeat(self.draws, 1)
        else:
            symbols = self.constellation()[scores.argmax(-1)]
        received = self.receive(*channel.transmit(symbols, n0, fading, generator))
        if self.relaxation == "straight-through":
            received = received + slices - slices.detach()
        return received, binding

    def rate(self, slices: Tensor) -> Tensor:
        """The VIB's bound on the rate, E[KL(p(z|x) || uniform)] in nats a slice (eq. 6 and 7).

        Unlike the authors' code it has a gradient, through p(z|x).
        """
        log_p = torch.log_softmax(self.scores(slices), -1)
        return math.log(log_p.shape[-1]) + (log_p.exp() * log_p).sum(-1).mean()

    def relabel(self, seed: int) -> None:
        """Moves the embeddings among the points so that near ones sit on near points."""
        points = self.constellation().cpu().numpy()
        order = constellation.label_by_distance(self.embeddings.detach().cpu(), points, seed)
        self.points.copy_(self.points[torch.from_numpy(order).to(self.points.device)])


class PhyDNN(nn.Module):
    """head -> slices -> embedding and channel -> slices -> tail.

    Args:
        head, tail: as :func:`phydnn.networks.split` gives them.
        embedding: what lies between.
        shape: of the head's latent for any batch.
    """

    def __init__(
        self, head: nn.Module, tail: nn.Module, embedding: Embedding, shape: torch.Size
    ) -> None:
        super().__init__()
        self.head, self.tail, self.embedding, self.shape = head, tail, embedding, shape

    def slices(self, images: Tensor) -> Tensor:
        """uint8 [B,C,H,W] to float32 [B,S,D]."""
        return to_slices(self.head(images)).float()

    def classify(self, slices: Tensor) -> Tensor:
        """float32 [B,S,D] to logits float32 [B,K]."""
        logits: Tensor = self.tail(from_slices(slices, self.shape)).float()
        return logits

    def forward(
        self, images: Tensor, n0: Tensor, fading: channel.Fading, generator: torch.Generator
    ) -> Tensor:
        """The link as it runs: logits of images sent at noise variance ``n0`` ([B,1])."""
        labels = self.embedding.labels(self.slices(images))
        symbols = self.embedding.constellation()[labels]
        received = channel.transmit(symbols, n0, fading, generator)
        return self.classify(self.embedding.receive(*received))
