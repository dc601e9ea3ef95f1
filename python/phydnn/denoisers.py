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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from phydnn import csi
from phydnn.waveform import USED


def _parts(matrix: NDArray[np.complex128]) -> Tensor:
    """A complex matrix [A, B] as a real one [2A, 2B] for rows that interleave real and imaginary:
    the real form of ``row @ matrix``."""
    real = np.empty((matrix.shape[0], 2, matrix.shape[1], 2), np.float32)
    real[:, 0, :, 0] = real[:, 1, :, 1] = matrix.real
    real[:, 0, :, 1] = matrix.imag
    real[:, 1, :, 0] = -matrix.imag
    return torch.from_numpy(real.reshape(2 * matrix.shape[0], -1))


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


class Statistics(nn.Module):
    """Reads a frame's statistics off its least-squares estimates.

    The estimates are turned so that their strongest path and their mean Doppler shift stand on the
    grids of :mod:`phydnn.csi`. One CNN then reads the Doppler spectrum off the periodogram over the
    DMRS, another the power delay profile off periodograms over delay, plain and tapered, with the
    powers of the DMRS added up and with those gathered that the spectrum names.

    Takes ``ls``, ``n0`` and ``rows``; returns ``offset`` [B] in samples and ``turn`` [B] in radians
    a symbol, which are taken off the estimates, ``profile`` [B, csi.TAPS x csi.FINE] over the noise
    and ``spectrum`` [B, csi.SHIFTS] of sum 1.
    """

    to_basis: Tensor
    grid: Tensor
    tapered: Tensor
    phases: Tensor
    shifts: Tensor

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        basis, grid, tapered = csi.basis()
        for name, value in {
            "to_basis": _parts(basis.conj()),
            "grid": torch.from_numpy(grid),
            "tapered": torch.from_numpy(tapered),
            "phases": torch.from_numpy(csi.subcarrier_phases()),
            "shifts": torch.from_numpy(csi.shift_grid()),
        }.items():
            self.register_buffer(name, value, persistent=False)
        self.profile = _Rows(6, width, 5, 6)
        self.spectrum = _Rows(3, width // 2, 5, 5)
        # Shares of the periodograms in the profile before the CNN's correction.
        self.shares = nn.Parameter(torch.tensor([0.0, 0.5, 0.0, 0.5]))

    def forward(
        self, ls: Tensor, n0: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        y = ls / n0.clamp_min(1e-12).sqrt()[:, None, None, None]

        # The strongest path onto the grid of delays, by a parabola through its periodogram.
        offset = _peak(_power(self._project(y) @ self.grid)) / csi.FINE
        y = rotate(y, (offset[:, None] * self.phases)[:, None])
        seen = self._project(y)
        plain, tapered = seen @ self.grid, seen @ self.tapered  # noise has variance 1 on each
        power = _power(plain)

        # The mean Doppler shift likewise, from delays that hold more than noise.
        weight = (power - 1).clamp_min(0) / (power + 1)
        turn = torch.zeros_like(n0)
        doppler = _weighed(self._over_rows(plain, rows, turn), weight)
        step = float(self.shifts[1] - self.shifts[0])
        turn = self.shifts[doppler.argmax(1)] + step * _peak(doppler)
        shifted = self._over_rows(plain, rows, turn)
        doppler = _weighed(shifted, weight)

        count = torch.log(rows.shape[1] * torch.ones_like(n0))[:, None]
        total = torch.log(power.sum(1, keepdim=True).clamp_min(1e-3))
        known = torch.log(doppler + 0.1)
        features = [known, count.expand_as(known), total.expand_as(known)]
        spectrum = torch.softmax(self.spectrum(torch.stack(features, 1)) + 2 * known, 1)

        kinds = [power, _gathered(shifted, spectrum), _power(tapered)]
        kinds.append(_gathered(self._over_rows(tapered, rows, turn), spectrum))
        known = torch.log(torch.stack(kinds, 1) + 0.1)
        rest = torch.stack([count, total], 1).expand(-1, -1, known.shape[2])
        raw = self.profile(torch.cat([known, rest], 1))
        raw = raw + (self.shares[:, None] * known).sum(1)
        return offset, turn, torch.exp(raw.clamp(-12, 14)), spectrum

    def _project(self, y: Tensor) -> Tensor:
        """[B, P, subcarriers, 2] to the basis, real and imaginary parts apart, [B, P, 2, D]."""
        batch, pilots = y.shape[0], y.shape[1]
        seen = (y.reshape(batch, pilots, -1) @ self.to_basis).reshape(batch, pilots, -1, 2)
        return seen.transpose(2, 3)

    def _over_rows(self, taps: Tensor, rows: Tensor, turn: Tensor) -> Tensor:
        """Power [B, Q, G] of taps [B, P, 2, G] at shifts beside ``turn``; that of noise is 1."""
        angle = -(self.shifts + turn[:, None])[:, :, None] * rows[:, None]
        cosine, sine = torch.cos(angle), torch.sin(angle)
        real, imaginary = taps[:, :, 0], taps[:, :, 1]
        re = cosine @ real - sine @ imaginary
        im = cosine @ imaginary + sine @ real
        return (re.square() + im.square()) / rows.shape[1]


def _power(taps: Tensor) -> Tensor:
    """Mean power over the DMRS [B, G] of taps [B, P, 2, G]."""
    return taps.square().sum(2).mean(1)


def _weighed(shifted: Tensor, weight: Tensor) -> Tensor:
    """Mean power at each Doppler shift [B, Q] of [B, Q, G] by the weights [B, G] of the delays."""
    return (shifted * weight[:, None]).sum(2) / (weight.sum(1, keepdim=True) + 1e-3)


def _gathered(shifted: Tensor, spectrum: Tensor) -> Tensor:
    """Power at each delay [B, G] of [B, Q, G] by the shares [B, Q] of the Doppler shifts."""
    return (shifted * spectrum[:, :, None]).sum(1)


def _peak(power: Tensor) -> Tensor:
    """How far the largest of [B, N] lies beside its point, in points, -0.5 to 0.5."""
    at = power.argmax(1, keepdim=True).clamp(1, power.shape[1] - 2)
    left, middle, right = (
        torch.log(power.gather(1, at + shift) + 1e-6)[:, 0] for shift in (-1, 0, 1)
    )
    curve = (2 * middle - left - right).clamp_min(1e-6)
    return (0.5 * (right - left) / curve).clamp(-0.5, 0.5)


def rotate(values: Tensor, angle: Tensor) -> Tensor:
    """Complex values [..., 2] times exp(j angle [...])."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    real, imaginary = values[..., 0], values[..., 1]
    return torch.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine], -1)


class _Noise(torch.autograd.Function):
    """z of z + T z D = y: what of y is noise, for covariances T over the rows and D over delay.

    y complex [B, P, N]; T complex Hermitian [B, P, P]; D real symmetric [B, N, N]. By eigenvectors
    forward, and by the same ones backward, since the equation is its own adjoint: so eigenvalues
    that coincide do no harm to the gradients.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, over_rows: Tensor, over_delay: Tensor) -> Tensor:
        a, u = torch.linalg.eigh(over_rows)
        b, v = torch.linalg.eigh(over_delay)
        share = 1 / (1 + a.clamp_min(0)[:, :, None] * b.clamp_min(0)[:, None])
        v = v.to(y.dtype)
        z: Tensor = u @ (share * (u.mH @ y @ v)) @ v.mT
        ctx.save_for_backward(z, over_rows, over_delay, u, v, share)
        return z

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, over_rows, over_delay, u, v, share = ctx.saved_tensors
        w = u @ (share * (u.mH @ grads[0] @ v)) @ v.mT
        real = over_delay.to(z.dtype)
        return w, -w @ (z @ real).mH, -((over_rows @ z).mH @ w).real


class Wiener(nn.Module):
    """The fast denoiser: :class:`Statistics`, and the Wiener filter that they make.

    The filter is :func:`phydnn.csi.wiener`, here in torch: the CNNs are trained through it.
    """

    to_basis: Tensor
    from_basis: Tensor
    grid: Tensor
    phases: Tensor
    shifts: Tensor

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.statistics = Statistics(width)
        basis, grid, _ = csi.basis()
        for name, value in {
            "to_basis": torch.from_numpy(basis.conj().astype(np.complex64)),
            "from_basis": torch.from_numpy(basis.T.astype(np.complex64)),
            "grid": torch.from_numpy(grid),
            "phases": torch.from_numpy(csi.subcarrier_phases()),
            "shifts": torch.from_numpy(csi.shift_grid()),
        }.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, ls: Tensor, n0: Tensor, rows: Tensor) -> Tensor:
        offset, turn, profile, spectrum = self.statistics(ls, n0, rows)
        scale = n0.clamp_min(1e-12).sqrt()[:, None, None]
        angle = (offset[:, None] * self.phases)[:, None] - (turn[:, None] * rows)[:, :, None]
        turned = torch.polar(torch.ones_like(angle), angle)
        y = (torch.view_as_complex(ls.contiguous()) * turned / scale) @ self.to_basis
        over_delay = (self.grid * profile[:, None]) @ self.grid.T
        waves = rows[:, :, None] * self.shifts
        waves = torch.polar(torch.ones_like(waves), waves)
        over_rows = (waves * spectrum[:, None]) @ waves.mH
        noise: Tensor = _Noise.apply(y, over_rows, over_delay)  # type: ignore[no-untyped-call]
        refined = (y - noise) @ self.from_basis
        return torch.view_as_real(refined * turned.conj() * scale)


class ADNet(nn.Module):
    """The attention-guided denoising CNN of Tian et al. (Neural Networks 124, 2020), for channels.

    Seventeen convolutions of 3 x 3: twelve of the sparse block, of which the second, fifth, ninth
    and twelfth are dilated; four of the feature enhancement block, which ends by laying the image
    beside what was found; the attention block, 1 x 1, whose weights multiply that. The
    reconstruction takes the result from the image: it is the noise.

    The image has two planes, real and imaginary parts over four times the noise. Its rows are the
    DMRS.
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
            f = csi.steering(csi.delay_grid(1))
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
        # At first what is found is 1 and its weights are tanh of the image: a soft threshold, which
        # leaves the bright and takes the dim, from where it learns faster.
        last = self.body[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        assert self.attention.bias is not None
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.fill_(1)
            self.attention.weight.mul_(0.1)
            self.attention.weight[:, :2, 0, 0] += torch.eye(2)
            self.attention.bias.zero_()

    def forward(self, ls: Tensor, n0: Tensor, rows: Tensor) -> Tensor:
        scale = 4 * n0.clamp_min(1e-12).sqrt()[:, None, None, None]
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
