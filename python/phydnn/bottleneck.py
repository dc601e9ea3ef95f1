# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""A spatial bottleneck: a latent as few slices, by a block transform that is then trained.

Neighbouring positions of a feature map say nearly the same. As in transform coding (JPEG, say),
the channels are rotated onto their principal axes, blocks of side x side positions onto a cosine
basis, and only the coefficients of the largest variance are kept, each scaled to variance 1. The
receiver turns all that round. Both ends start as this exact, parameter-free code, so that a
trained network works through it at once, and are trained from there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from phydnn.errors import InputError


def cosine_basis(size: int) -> Tensor:
    """The orthonormal DCT-II, float32 [size,size]: rows are frequencies."""
    k = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi * k[:, None] * (2 * k + 1) / (2 * size)) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis.float()


def as_map(latent: Tensor) -> Tensor:
    """A latent as a feature map: tokens [B,S,D] to [B,D,S,1], a vector [B,D] to [B,D,1,1]."""
    if latent.ndim == 3:
        return latent.transpose(1, 2)[..., None]
    return latent[..., None, None] if latent.ndim == 2 else latent


class Bottleneck(nn.Module):
    """The block transform between a head's latent and the slices, and its inverse.

    Args:
        shape: of the latent, its batch axis ignored.
        uses: slices an image, S.
        dim: width of a slice, D.
        side: of a block; an axis shorter than that is one block.
        refine: residual blocks of two 3x3 convolutions after the inverse, which start as nothing.

    Raises:
        InputError: the blocks do not cover the latent, or hold too few coefficients.
    """

    order: Tensor

    def __init__(self, shape: torch.Size, uses: int, dim: int, side: int, refine: int = 0) -> None:
        super().__init__()
        self.latent = shape
        _, channels, height, width = as_map(torch.empty(shape, device="meta")).shape
        self.rows, self.columns = min(side, height), min(side, width)
        if height % self.rows or width % self.columns:
            raise InputError(
                f"blocks of {side} do not cover a latent of {height}x{width}: choose a divisor"
            )
        self.grid = height // self.rows, width // self.columns
        blocks = self.grid[0] * self.grid[1]
        held = channels * self.rows * self.columns
        kept = uses * dim // blocks
        if not 1 <= kept <= held or kept * blocks != uses * dim:
            raise InputError(
                f"{uses} uses of {dim} values are not {blocks} blocks of 1 to {held} coefficients: "
                "change uses, dim or block"
            )
        self.dim = dim
        self.mix = nn.Parameter(torch.eye(channels))
        self.row_basis = nn.Parameter(cosine_basis(self.rows))
        self.column_basis = nn.Parameter(cosine_basis(self.columns))
        self.gain = nn.Parameter(torch.ones(kept))
        self.bias = nn.Parameter(torch.zeros(kept))
        self.unmix = nn.Parameter(torch.eye(channels))
        self.row_inverse = nn.Parameter(cosine_basis(self.rows))
        self.column_inverse = nn.Parameter(cosine_basis(self.columns))
        self.ungain = nn.Parameter(torch.ones(kept))
        self.mean = nn.Parameter(torch.zeros(channels, self.rows, self.columns))
        self.refine = nn.Sequential(*(_Residual(channels) for _ in range(refine)))
        # Which coefficient, of channel, row and column frequency, comes where.
        self.register_buffer("order", torch.arange(kept))

    def encoder(self) -> list[nn.Parameter]:
        """The parameters that :meth:`encode` uses."""
        return [self.mix, self.row_basis, self.column_basis, self.gain, self.bias]

    def coefficients(self, latent: Tensor) -> Tensor:
        """All coefficients [B,blocks,channels*rows*columns] of a latent."""
        x = functional.conv2d(as_map(latent), self.mix[:, :, None, None])
        x = x.unflatten(3, (self.grid[1], self.columns)) @ self.column_basis.T
        x = self.row_basis @ x.flatten(3).unflatten(2, (self.grid[0], self.rows))
        return self._blocks(x.flatten(2, 3)).flatten(2)

    def encode(self, latent: Tensor) -> Tensor:
        """The latent as slices [B,S,D]."""
        if self.training:
            # The same sums in another order: more MACs, which a device does not have, but one
            # matrix product to go back through, and channels last, as convolutions leave them.
            basis = self._chosen(self.mix, self.row_basis, self.column_basis)
            x = as_map(latent).permute(0, 2, 3, 1)
            x = x.unflatten(1, (-1, self.rows)).unflatten(3, (-1, self.columns))
            kept = x.transpose(2, 3).flatten(3).flatten(1, 2) @ basis.T
        else:
            kept = self.coefficients(latent).index_select(2, self.order)
        kept = kept * self.gain + self.bias
        return kept.flatten(1).unflatten(1, (-1, self.dim))

    def decode(self, slices: Tensor) -> Tensor:
        """Slices [B,S,D] as a latent."""
        kept = slices.flatten(1).unflatten(1, (-1, len(self.ungain))) * self.ungain
        basis = self._chosen(self.unmix, self.row_inverse, self.column_inverse)
        x = functional.linear(kept, basis.T, self.mean.permute(1, 2, 0).flatten())
        x = x.unflatten(2, (self.rows, self.columns, -1)).unflatten(1, self.grid)
        x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
        x = self.refine(x)
        if len(self.latent) == 3:
            return x[..., 0].transpose(1, 2)
        return x[..., 0, 0] if len(self.latent) == 2 else x

    def _blocks(self, x: Tensor) -> Tensor:
        """A map [B,C,H,W] as blocks [B,blocks,C,rows,columns]."""
        x = x.unflatten(2, (self.grid[0], self.rows)).unflatten(4, (self.grid[1], self.columns))
        return x.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)

    def _chosen(self, mix: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """The basis of the coefficients that are sent, [kept,rows*columns*channels]."""
        size = self.rows * self.columns
        channel, row, column = (
            self.order // size,
            self.order % size // self.columns,
            self.order % self.columns,
        )
        return torch.einsum("kc,kr,ks->krsc", mix[channel], rows[row], columns[column]).flatten(1)

    @torch.no_grad()
    def start(self, latent: Tensor, spread: float = 1.0) -> None:
        """Sets both ends to the transform code of some latents [N,...], float32.

        With a ``spread`` above 1 the values of a slice are of unlike weight: the strongest
        coefficients come first in their slices, and each further value's deviation is so many
        times smaller. A dictionary spends its embeddings, and a constellation that has their
        shape its power, on what matters more. The mean square of a slice's values stays 1.
        """
        x = as_map(latent)
        flat = x.transpose(0, 1).flatten(1)
        axes = torch.linalg.eigh(torch.cov(flat.double()).view(len(flat), -1))[1].T.flip(0).float()
        self.mix.copy_(axes)
        self.unmix.copy_(axes)
        found = self.coefficients(latent).flatten(0, 1)
        deviation, mean = torch.std_mean(found, 0)
        order = deviation.argsort(descending=True, stable=True)[: len(self.order)]
        weight = spread ** -torch.arange(self.dim, dtype=torch.float32, device=order.device)
        weight /= weight.square().mean().sqrt()
        if spread != 1:
            if len(order) % self.dim:
                raise InputError(
                    f"slices of {self.dim} do not divide a block's {len(order)} coefficients: "
                    "leave spread 1"
                )
            order = order.view(self.dim, -1).T.flatten()
        scale = deviation[order].clamp(min=1e-6) / weight.repeat(len(order) // self.dim)
        self.order.copy_(order)
        self.gain.copy_(1 / scale)
        self.bias.copy_(-mean[order] / scale)
        self.ungain.copy_(scale)
        self.mean.copy_(self._blocks(x).mean((0, 1)))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.conv2.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(functional.relu(self.bn1(self.conv1(x))))
