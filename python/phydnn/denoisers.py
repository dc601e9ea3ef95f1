# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The networks that refine a frame's least-squares channel estimates.

Both take ``ls`` float32 [B, DMRS, subcarriers, 2] (real and imaginary parts), ``n0`` float32 [B],
the noise variance, and ``rows`` float32 [B, DMRS], the DMRS's places in the resource grid in
symbols; they return the refined estimates in the form of ``ls``. The number of DMRS is free.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from phydnn import csi
from phydnn.waveform import FFT, PILOT_SPACING, USED

FINE = 4
"""Points a sample on the grid of delays."""
SHIFTS = 128
"""Points on the grid of Doppler shifts, which spans what one DMRS in PILOT_SPACING + 1 can tell."""
STEPS = 16
"""Of conjugate gradients."""


def _parts(matrix: NDArray[np.complex128]) -> Tensor:
    """A complex matrix [A, B] as a real one [2A, 2B] for rows that interleave real and imaginary:
    the real form of ``row @ matrix``."""
    real = np.empty((matrix.shape[0], 2, matrix.shape[1], 2), np.float32)
    real[:, 0, :, 0] = real[:, 1, :, 1] = matrix.real
    real[:, 0, :, 1] = matrix.imag
    real[:, 1, :, 0] = -matrix.imag
    return torch.from_numpy(real.reshape(2 * matrix.shape[0], -1))


def _delays(fine: int) -> NDArray[np.float64]:
    return np.arange(fine * csi.TAPS) / fine - csi.MARGIN


class _Rows(nn.Module):
    """Convolutions along one axis [B, channels, points], each with a wider reach than the last."""

    def __init__(self, given: int, width: int, reach: int, depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(depth):
            dilation = 2**i
            layers += [
                nn.Conv1d(
                    given if i == 0 else width,
                    width,
                    reach,
                    padding=dilation * (reach // 2),
                    dilation=dilation,
                ),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers, nn.Conv1d(width, 1, 1))
        last = self.body[-1]
        assert isinstance(last, nn.Conv1d)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y[:, 0]


class Wiener(nn.Module):
    """The fast denoiser: two small CNNs read a frame's statistics, a Wiener filter applies them.

    The frame's estimates are turned so that its strongest path and its mean Doppler shift stand on
    the grids. The first CNN reads the Doppler spectrum off the periodogram over the DMRS, the
    second the power delay profile off the periodograms over delay. With R, the covariance that the
    two make, and noise of variance 1, the estimate of least error is y - z where (R + 1) z = y; a
    fixed number of conjugate gradient steps solves that. The CNNs are trained through them.
    """

    to_basis: Tensor
    from_basis: Tensor
    grid: Tensor
    turns: Tensor
    points: Tensor

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        f0, f = csi.steering(_delays(1)), csi.steering(_delays(FINE))
        # An orthonormal basis of all responses with such delays. The subcarriers are symmetric
        # about the carrier, so that it has real products with every steering vector.
        gram = (f0.conj().T @ f0).real
        strength, directions = np.linalg.eigh(gram)
        kept = strength > 1e-3 * strength.max()
        q = f0 @ (directions[:, kept] / np.sqrt(strength[kept]))
        b = (q.conj().T @ f).real / math.sqrt(USED)
        k = csi.subcarriers()
        points = np.arange(SHIFTS) / SHIFTS - 0.5
        for name, value in {
            "to_basis": _parts(q.conj()),
            "from_basis": _parts(q.T),
            "grid": torch.from_numpy(b.astype(np.float32)),
            "turns": torch.from_numpy((2 * np.pi / FFT * k).astype(np.float32)),
            "points": torch.from_numpy(
                (2 * np.pi / (PILOT_SPACING + 1) * points).astype(np.float32)
            ),
        }.items():
            self.register_buffer(name, value, persistent=False)
        self.profile = _Rows(4, width, 5, 6)
        self.spectrum = _Rows(3, width // 2, 5, 5)
        # Shares of the two periodograms in the profile before the CNN's correction.
        self.shares = nn.Parameter(torch.tensor([0.0, 1.0]))

    def forward(self, ls: Tensor, n0: Tensor, rows: Tensor) -> Tensor:
        batch, pilots = ls.shape[0], ls.shape[1]
        scale = n0.clamp_min(1e-12).sqrt()[:, None, None, None]
        y = ls / scale

        # The strongest path onto the grid of delays, by a parabola through its periodogram.
        seen = self._project(y)
        power = self._periodogram(seen).mean(1)
        offset = self._peak(power) / FINE
        turn = offset[:, None] * self.turns
        y = _rotate(y, turn[:, None])
        seen = self._project(y)
        taps = self._project_grid(seen)  # [B, P, G, 2]
        power = taps.square().sum(3).mean(1)

        # The mean Doppler shift likewise, from delays that hold more than noise.
        weight = (power - 1).clamp_min(0) / (power + 1)
        shifted = self._over_rows(taps, rows)  # [B, Q, G]
        doppler = (shifted * weight[:, None]).sum(2) / (weight.sum(1, keepdim=True) + 1e-3)
        step = float(self.points[1] - self.points[0])
        centre = self.points[doppler.argmax(1)] + step * self._peak(doppler)
        angle = -centre[:, None] * rows
        seen = _rotate(seen, angle[:, :, None])
        taps = _rotate(taps, angle[:, :, None])
        shifted = self._over_rows(taps, rows)
        doppler = (shifted * weight[:, None]).sum(2) / (weight.sum(1, keepdim=True) + 1e-3)

        # Doppler spectrum, and what its weights gather of each delay's power.
        count = torch.log(rows.shape[1] * torch.ones_like(n0))[:, None]
        total = torch.log(power.sum(1, keepdim=True))
        features = [torch.log(doppler + 0.1), count.expand_as(doppler), total.expand_as(doppler)]
        raw = self.spectrum(torch.stack(features, 1)) + 2 * features[0]
        spectrum = torch.softmax(raw, 1)
        gathered = (shifted * spectrum[:, :, None]).sum(1)

        # Power delay profile.
        first, second = torch.log(power + 0.1), torch.log(gathered + 0.1)
        features = [first, second, count.expand_as(first), total.expand_as(first)]
        raw = self.profile(torch.stack(features, 1))
        raw = raw + self.shares[0] * first + self.shares[1] * second
        profile = torch.exp(raw.clamp(-12, 14))

        # R over delay, real [B, D, D]; over the DMRS, complex, as a real [B, 2P, 2P].
        over_delay = (self.grid * profile[:, None]) @ self.grid.T
        difference = (rows[:, :, None] - rows[:, None])[:, :, :, None] * self.points
        cosine = (torch.cos(difference) * spectrum[:, None, None]).sum(3)
        sine = (torch.sin(difference) * spectrum[:, None, None]).sum(3)
        over_rows = torch.cat([torch.cat([cosine, -sine], 2), torch.cat([sine, cosine], 2)], 1)

        # Conjugate gradients for (R + 1) z = y.
        v = seen.permute(0, 3, 1, 2).reshape(batch, 2 * pilots, -1)
        z = torch.zeros_like(v)
        residual = direction = v
        norm = residual.square().sum((1, 2), keepdim=True)
        for _ in range(STEPS):
            applied = over_rows @ direction @ over_delay + direction
            alpha = norm / ((direction * applied).sum((1, 2), keepdim=True) + 1e-9)
            z = z + alpha * direction
            residual = residual - alpha * applied
            following = residual.square().sum((1, 2), keepdim=True)
            direction = residual + (following / (norm + 1e-9)) * direction
            norm = following
        refined = (v - z).reshape(batch, 2, pilots, -1).permute(0, 2, 3, 1)

        refined = _rotate(refined, -angle[:, :, None])
        back = refined.reshape(batch, pilots, -1) @ self.from_basis
        return _rotate(back.reshape(ls.shape), -turn[:, None]) * scale

    def _project(self, y: Tensor) -> Tensor:
        """[B, P, subcarriers, 2] to the basis, [B, P, D, 2]."""
        batch, pilots = y.shape[0], y.shape[1]
        return (y.reshape(batch, pilots, -1) @ self.to_basis).reshape(batch, pilots, -1, 2)

    def _project_grid(self, seen: Tensor) -> Tensor:
        """The basis to the fine delays, [B, P, G, 2]; noise has variance 1 on each."""
        return (seen.transpose(2, 3) @ self.grid).transpose(2, 3)

    def _periodogram(self, seen: Tensor) -> Tensor:
        return self._project_grid(seen).square().sum(3)

    def _over_rows(self, taps: Tensor, rows: Tensor) -> Tensor:
        """The power at each Doppler shift and delay, [B, Q, G]; that of noise is 1."""
        angle = -self.points[:, None] * rows[:, None]  # [B, Q, P]
        cosine, sine = torch.cos(angle), torch.sin(angle)
        real, imaginary = taps[..., 0], taps[..., 1]
        re = cosine @ real - sine @ imaginary
        im = cosine @ imaginary + sine @ real
        return (re.square() + im.square()) / rows.shape[1]

    @staticmethod
    def _peak(power: Tensor) -> Tensor:
        """How far the largest of [B, N] lies beside its point, in points, -0.5 to 0.5."""
        at = power.argmax(1, keepdim=True).clamp(1, power.shape[1] - 2)
        left, middle, right = (
            torch.log(power.gather(1, at + shift) + 1e-6)[:, 0] for shift in (-1, 0, 1)
        )
        curve = (2 * middle - left - right).clamp_min(1e-6)
        return (0.5 * (right - left) / curve).clamp(-0.5, 0.5)


def _rotate(values: Tensor, angle: Tensor) -> Tensor:
    """Complex values [..., 2] times exp(j angle [...])."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    real, imaginary = values[..., 0], values[..., 1]
    return torch.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine], -1)


class ADNet(nn.Module):
    """The attention-guided denoising CNN of Tian et al. (Neural Networks 124, 2020), for channels.

    Seventeen convolutions of 3 x 3: twelve of the sparse block, of which the second, fifth, ninth
    and twelfth are dilated; four of the feature enhancement block, which ends by laying the image
    beside what was found; the attention block, 1 x 1, whose weights multiply that. The
    reconstruction takes the result from the image: it is the noise.

    The image has two planes, real and imaginary parts in units of the noise. Its rows are the DMRS.
    Its columns are the subcarriers (``domain`` "grid"), or the taps that the estimates have at
    delays around the prefix ("delay"): there a channel is a few bright columns, which convolutions
    can tell from noise, where over the subcarriers it is a wave that only the whole band tells.
    """

    DILATED = (2, 5, 9, 12)
    to_image: Tensor
    to_grid: Tensor

    def __init__(self, domain: str = "delay", width: int = 64) -> None:
        super().__init__()
        self.domain = domain
        if domain == "delay":
            f = csi.steering(_delays(1))
            gram = f.conj().T @ f + 1e-4 * USED * np.eye(csi.TAPS)
            fit = np.linalg.solve(gram, f.conj().T).T * math.sqrt(USED)
            self.register_buffer("to_image", _parts(fit), persistent=False)
            self.register_buffer("to_grid", _parts(f.T / math.sqrt(USED)), persistent=False)

        def block(given: int, dilation: int = 1) -> list[nn.Module]:
            return [
                nn.Conv2d(given, width, 3, padding=dilation, dilation=dilation, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]

        sparse = [
            layer
            for i in range(1, 13)
            for layer in block(2 if i == 1 else width, 2 if i in self.DILATED else 1)
        ]
        enhancement = [layer for _ in range(3) for layer in block(width)]
        self.body = nn.Sequential(*sparse, *enhancement, nn.Conv2d(width, 2, 3, padding=1))
        self.attention = nn.Conv2d(4, 2, 1)

    def forward(self, ls: Tensor, n0: Tensor, rows: Tensor) -> Tensor:
        scale = n0.clamp_min(1e-12).sqrt()[:, None, None, None]
        batch, pilots = ls.shape[0], ls.shape[1]
        values = ls / scale
        if self.domain == "delay":
            values = values.reshape(batch, pilots, -1) @ self.to_image
        image = values.reshape(batch, pilots, -1, 2).permute(0, 3, 1, 2)
        found = self.body(image)
        weights = self.attention(torch.tanh(torch.cat([image, found], 1)))
        refined = (image - weights * found).permute(0, 2, 3, 1)
        if self.domain == "delay":
            refined = refined.reshape(batch, pilots, -1) @ self.to_grid
        return refined.reshape(ls.shape) * scale


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "wiener": Wiener,
    "adnet": ADNet,
    "adnet-grid": lambda: ADNet("grid"),
}
"""The networks by their names in recipes."""
