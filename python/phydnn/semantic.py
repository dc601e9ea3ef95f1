# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The semantic transceiver of Xie and Qin, "A Lite Distributed Semantic Communication System for
Internet of Things" (L-DeepSC): a sentence's tokens to channel symbols, and back.

Shapes: B sentences of T tokens each, U channel uses a token (8, Table I of the paper), V tokens in
the vocabulary. A sentence that is shorter than its batch is filled up with the token
:data:`phydnn.text.END`, which is a token like any other: there are no masks, neither here nor on
air. The receiver knows T from how much it received.

Two modes. "as-published" is the paper's: normalisation after each sublayer, a decoder that meets
what was received by attention alone and knows nothing of the noise, a prediction layer of its own.
"corrected" trains in an hour on two cores: normalisation before each sublayer, one matrix for
embedding and prediction, the received features of token t added to the decoder's input at t, and
features that are weighted by what the receiver knows of the noise.
"""

from __future__ import annotations

import dataclasses
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from phydnn.channel import Fading, complex_normal
from phydnn.text import END

MODES = ("corrected", "as-published")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """What a transceiver's weights fit.

    Attributes:
        vocabulary: tokens, V.
        mode: one of MODES.
        layers, heads, width: of encoder and decoder each.
        hidden: of the feed-forward sublayers.
        code: of the dense layers beside the channel (Table I: 256).
        uses: channel uses a token, U.
        positions: tokens of the longest sentence.
    """

    vocabulary: int
    mode: str = "corrected"
    layers: int = 4
    heads: int = 8
    width: int = 128
    hidden: int = 512
    code: int = 256
    uses: int = 8
    positions: int = 64


class Attention(nn.Module):
    """Multi-head attention, its keys and values made apart so that a decoder can keep them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.memory = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of x [B,T,width]: two of [B,heads,T,width/heads]."""
        parts = self.memory(x).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return parts[0], parts[1]

    def forward(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        causal: bool = False,
        seen: Tensor | None = None,
    ) -> Tensor:
        """Attends from x [B,S,width] to keys and values [B,heads,T,width/heads].

        ``causal`` hides what comes later, S and T being the same; ``seen``, bool [S,T], says which.
        """
        queries = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(queries, keys, values, seen, 0.0, causal)
        return cast(Tensor, self.out(mixed.transpose(1, 2).flatten(2)))


class Layer(nn.Module):
    """An encoder's layer, or with ``crossed`` a decoder's."""

    def __init__(self, shape: Shape, crossed: bool) -> None:
        super().__init__()
        width = shape.width
        self.before = shape.mode == "corrected"
        self.own = Attention(width, shape.heads)
        self.own_norm = nn.LayerNorm(width)
        self.cross = Attention(width, shape.heads) if crossed else None
        self.cross_norm = nn.LayerNorm(width) if crossed else None
        self.wide = nn.Linear(width, shape.hidden)
        self.narrow = nn.Linear(shape.hidden, width)
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        x: Tensor,
        received: tuple[Tensor, Tensor] | None = None,
        past: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Encodes x [B,T,width]; with ``received`` (keys and values) decodes it.

        With ``past``, the keys and values of the tokens so far, x is what comes next [B,S,width].
        Returns the result and the own keys and values, the past's in front.
        """
        inner = self.own_norm(x) if self.before else x
        keys, values = self.own.keys_values(inner)
        if past is None:
            x = x + self.own(inner, keys, values, causal=received is not None)
        else:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
            count, before = x.shape[1], past[0].shape[2]
            seen = torch.arange(before + count) <= before + torch.arange(count)[:, None]
            x = x + self.own(inner, keys, values, seen=seen.to(x.device))
        x = x if self.before else self.own_norm(x)
        if self.cross is not None and self.cross_norm is not None and received is not None:
            x = x + self.cross(self.cross_norm(x) if self.before else x, *received)
            x = x if self.before else self.cross_norm(x)
        x = x + self.narrow(torch.relu(self.wide(self.norm(x) if self.before else x)))
        return x if self.before else self.norm(x), (keys, values)


def sinusoids(positions: int, width: int) -> Tensor:
    """The Transformer's position encoding, float32 [positions,width]."""
    angle = torch.arange(positions)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


class Transmitter(nn.Module):
    """Semantic encoder and channel encoder."""

    places: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        nn.init.normal_(self.embedding.weight, std=shape.width**-0.5)
        self.register_buffer("places", sinusoids(shape.positions, shape.width), persistent=False)
        self.layers = nn.ModuleList(Layer(shape, crossed=False) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.code = nn.Sequential(
            nn.Linear(shape.width, shape.code), nn.ReLU(), nn.Linear(shape.code, 2 * shape.uses)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [B,T] to values float32 [B,T,2U]: real, imaginary, real, …

        Each token's U symbols have an average power of 1.
        """
        scale = math.sqrt(self.shape.width)
        x = self.embedding(tokens) * scale + self.places[: tokens.shape[1]]
        for layer in self.layers:
            x, _ = layer(x)
        values = self.code(self.norm(x))
        return functional.normalize(values.float(), dim=-1) * math.sqrt(self.shape.uses)


class Receiver(nn.Module):
    """Channel decoder and semantic decoder."""

    places: Tensor

    def __init__(self, shape: Shape, embedding: nn.Embedding) -> None:
        super().__init__()
        self.shape = shape
        self.corrected = shape.mode == "corrected"
        features = (3 if self.corrected else 2) * shape.uses
        self.embedding = embedding if self.corrected else nn.Embedding(*embedding.weight.shape)
        self.register_buffer("places", sinusoids(shape.positions, shape.width), persistent=False)
        self.code = nn.Sequential(
            nn.Linear(features, shape.code), nn.ReLU(), nn.Linear(shape.code, shape.width)
        )
        self.code_norm = nn.LayerNorm(shape.width)
        self.layers = nn.ModuleList(Layer(shape, crossed=True) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.predict = nn.Linear(shape.width, shape.vocabulary)
        if self.corrected:
            self.predict.weight = self.embedding.weight
        nn.init.zeros_(self.predict.bias)

    def listen(self, values: Tensor, n0: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """What the decoder needs of what was received, once a sentence.

        Args:
            values: equalised symbols, float32 [B,T,2U]: real, imaginary, real, …
            n0: noise variance of each symbol, float32 [B,T,U].

        Returns:
            what is added to the decoder's input at each token [B,T,width], and each layer's keys
            and values of the received features, [B,heads,T,width/heads].
        """
        if self.corrected:
            # The MMSE estimate of a symbol of unit power, and how much of it is signal.
            trust = 1 / (1 + n0)
            values = torch.cat([values * trust.repeat_interleave(2, -1), trust], -1)
        memory = self.code_norm(self.code(values))
        places = self.places[: values.shape[1]]
        aligned = memory + places if self.corrected else places.expand_as(memory)
        received = [
            cast(Attention, layer.cross).keys_values(memory + places) for layer in self.layers
        ]
        return aligned, received

    def write(
        self,
        previous: Tensor,
        aligned: Tensor,
        received: list[tuple[Tensor, Tensor]],
        past: list[tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Predicts tokens from those before them.

        Args:
            previous: the tokens one place earlier, int64 [B,T]; with ``past`` the next S of them.
            aligned, received: of :meth:`listen`; ``aligned`` at the places of ``previous``.
            past: each layer's own keys and values so far.

        Returns:
            features [B,T,width] for the prediction layer, and the keys and values with the new.
        """
        x = self.embedding(previous) * math.sqrt(self.shape.width) + aligned
        kept = []
        for index, layer in enumerate(self.layers):
            x, own = layer(x, received[index], None if past is None else past[index])
            kept.append(own)
        return self.norm(x), kept


class Transceiver(nn.Module):
    """Both ends."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.transmitter = Transmitter(shape)
        self.receiver = Receiver(shape, self.transmitter.embedding)

    @torch.no_grad()
    def greedy(self, values: Tensor, n0: Tensor) -> Tensor:
        """The likeliest token at each place, given those written before: int64 [B,T]."""
        aligned, received = self.receiver.listen(values, n0)
        token = torch.full_like(aligned[:, :1, 0], END, dtype=torch.int64)
        past, written = None, []
        for place in range(values.shape[1]):
            x, past = self.receiver.write(token, aligned[:, place : place + 1], received, past)
            token = self.receiver.predict(x).argmax(-1)
            written.append(token)
        return torch.cat(written, 1)


def convey(
    symbols: Tensor, n0: Tensor, error: Tensor | None, fading: Fading, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Sends sentences through fades of their own, and equalises them by an estimate.

    Args:
        symbols: complex64 [B,T,U].
        n0: noise variance of each sentence, float32 [B,1].
        error: variance of the channel estimate's error over N0, float32 [B,1]: 0 is a channel
            that is known, 1 is LS from one pilot; None leaves what was received as it is (no CSI).
        fading: the channel.
        generator: of all that is drawn, on the CPU.

    Returns:
        equalised symbols complex64 [B,T,U], and their noise variance float32 [B,T,U].
    """
    count, device = len(symbols), symbols.device
    sent = symbols.flatten(1)
    h = fading(count, sent.shape[1], generator).to(device)
    received = h * sent + n0.sqrt() * complex_normal(sent.shape, generator).to(device)
    if error is None:
        return received.view_as(symbols), n0[:, :, None].expand(symbols.shape)
    estimate = h + (error * n0).sqrt() * complex_normal(h.shape, generator).to(device)
    # What is multiplied by the estimate's error is as good as noise: symbols have power 1.
    noise = (1 + error) * n0 / estimate.abs() ** 2
    return (received / estimate).view_as(symbols), noise.expand_as(sent).view(symbols.shape)
