# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The finite-bits constellation and its torch twin, against definitions and closed forms."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from phydnn import channel
from phydnn.errors import InputError
from phydnn.finite import FiniteConstellation
from phydnn.train.finite import UNIFORM_REACH, FiniteBits


def gaussian(bits: int) -> FiniteConstellation:
    """The best uniform quantiser of Gaussian values, with their probabilities."""
    reach = UNIFORM_REACH[bits]
    empty = FiniteConstellation(-reach, reach, bits, 1.0)
    edges = (empty.values[1:] + empty.values[:-1]) / 2
    priors = np.diff(norm.cdf(np.concatenate([[-np.inf], edges, [np.inf]])))
    power = 2 * (priors * empty.values.astype(np.float64) ** 2).sum()
    return FiniteConstellation(-reach, reach, bits, 1 / math.sqrt(power), priors.astype(np.float32))


def trained(bits: int, **options: Any) -> FiniteBits:
    module = FiniteBits(bits, **options)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        module.send(3 * torch.randn((64, 16), generator=generator))
    return module.eval()


# Max, "Quantizing for minimum distortion" (1960), table II; 256 levels: by integration.
@pytest.mark.parametrize("bits,distortion", [(1, 0.3634), (2, 0.1188), (4, 0.01154), (8, 8.769e-5)])
def test_distortion_of_gaussian_values_is_that_of_the_best_uniform_quantiser(
    bits: int, distortion: float
) -> None:
    values = np.random.default_rng(2).standard_normal(200_000).astype(np.float32)
    code = gaussian(bits)
    errors = (values - code.values[code.labels(values)]) ** 2
    spread = 4 * errors.std() / math.sqrt(len(values))
    assert errors.mean() == pytest.approx(distortion, abs=spread + 0.02 * distortion)
    assert np.mean(np.abs(code.map(values)) ** 2) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_soft_decision_is_the_posterior_mean(bits: int) -> None:
    """Against Bayes' rule written out, level by level."""
    code = gaussian(bits)
    assert code.priors is not None
    symbols = np.array([0.3 - 0.7j, -2.1 + 0.05j, 0j], np.complex64)
    for n0 in (0.01, 0.25, 4.0):
        got = code.demap(symbols, n0)
        for value, y in zip(got, symbols.view(np.float32), strict=True):
            joint = [
                float(p) * math.exp(-((float(y) - float(a)) ** 2) / n0)
                for p, a in zip(code.priors, code.amplitudes, strict=True)
            ]
            mean = sum(j * float(v) for j, v in zip(joint, code.values, strict=True)) / sum(joint)
            assert value == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("n0", [0.03, 0.3, 3.0])
def test_soft_decision_leaves_the_least_error(n0: float) -> None:
    random = np.random.default_rng(3)
    code = gaussian(4)
    values = random.standard_normal((20_000, 2)).astype(np.float32)
    noise = random.standard_normal((20_000, 2)) @ [1, 1j] * math.sqrt(n0 / 2)
    received = code.map(values)[:, 0] + noise.astype(np.complex64)
    errors = {
        decision: np.mean((code.demap(received[:, None], n0, decision) - values) ** 2)
        for decision in ("none", "hard", "soft")
    }
    assert errors["soft"] < min(errors["none"], errors["hard"])
    # With a level every 0.3 deviations it comes near the Gaussian values' own 1 - 1/(1 + N0).
    assert errors["soft"] == pytest.approx(n0 / (1 + n0) + 0.0115, rel=0.12)


def test_full_resolution() -> None:
    code = FiniteConstellation(-1, 1, 0, 0.5)
    values = np.array([0.25, -9.0], np.float32)
    assert code.map(values) == pytest.approx([0.125 - 4.5j])
    assert code.demap(code.map(values), 0.5, "hard") == pytest.approx(values)
    assert code.demap(code.map(values), 0.5, "soft") == pytest.approx(values / 1.5)
    # Posterior mean of a Gaussian of variance 1/2 in noise of variance N0/2, integrated.
    y, n0 = 0.7, 0.4
    joint = [
        quad(lambda x, k=k: x**k * math.exp(-(x**2) - (y - x) ** 2 / n0), -9, 9)[0] for k in (0, 1)
    ]
    got = FiniteConstellation(-1, 1, 0, 1.0).demap([y + 0j], n0)
    assert got[0] == pytest.approx(joint[1] / joint[0], rel=1e-6)


@given(
    st.integers(1, 8),
    st.floats(-100, 100, width=32),
    st.floats(0.0078125, 100, width=32),
    st.lists(st.floats(-(2.0**126), 2.0**126, width=32), min_size=2, max_size=8).filter(
        lambda v: len(v) % 2 == 0
    ),
)
def test_any_values_find_their_nearest_level(
    bits: int, low: float, width: float, values: list[float]
) -> None:
    code = FiniteConstellation(low, low + width, bits, 0.7)
    labels = code.labels(values)
    assert labels.min() >= 0 and labels.max() < code.size
    clamped = np.clip(np.asarray(values, np.float32), np.float32(low), np.float32(low + width))
    step = width / (code.size - 1)
    far = np.abs(code.values[labels] - clamped)
    assert (far <= step / 2 + 1e-5 * (abs(low) + width)).all()
    noiseless = code.demap(code.map(values), 1e-12, "hard")
    assert np.array_equal(noiseless, code.values[labels])


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("decision", ["none", "hard", "soft"])
def test_twin(bits: int, decision: str) -> None:
    module = trained(bits, decision=decision)
    code = module.constellation()
    generator = torch.Generator().manual_seed(4)
    values = 3 * torch.randn((50, 16), generator=generator)
    sent = module.send(values)
    # A level that differed would differ by more than half a step.
    assert sent.numpy() == pytest.approx(code.map(values.numpy()), abs=2e-6)
    n0 = torch.rand((50, 8), generator=generator)
    received, noise = channel.transmit(sent, torch.tensor(0.2), channel.named("awgn"), generator)
    assert module.receive(received, n0).numpy() == pytest.approx(
        code.demap(received.numpy(), n0.numpy(), decision), abs=1e-4
    )
    assert noise.shape == (50, 8)


def test_running_range_and_power() -> None:
    paper = trained(4, range="extremes")
    generator = torch.Generator().manual_seed(1)
    batches = [3 * torch.randn((64, 16), generator=generator) for _ in range(20)]
    # The first batches count in full, so that here the running means are plain ones.
    assert float(paper.low) == pytest.approx(np.mean([b.min() for b in batches]), rel=1e-4)
    assert float(paper.high) == pytest.approx(np.mean([b.max() for b in batches]), rel=1e-4)
    ours = trained(4)
    assert float(ours.high) == pytest.approx(3 * UNIFORM_REACH[4], rel=0.03)
    for module in (paper, ours, trained(0)):
        sent = module.send(3 * torch.randn((2000, 16), generator=generator))
        assert float((sent.abs() ** 2).mean()) == pytest.approx(1, abs=0.03)
        module.train()
        sent = module.send(7 * torch.randn((64, 16), generator=generator))
        assert float((sent.abs() ** 2).mean()) == pytest.approx(1, abs=1e-5)
    priors = ours.constellation().priors
    assert priors is not None and priors.sum() == pytest.approx(1, abs=1e-5)
    assert priors == pytest.approx(gaussian(4).priors, abs=0.01)


@pytest.mark.parametrize("bits,decision", [(0, "soft"), (2, "none"), (2, "hard"), (4, "soft")])
def test_gradients_pass(bits: int, decision: str) -> None:
    """A linear code trained through the constellation comes to use it."""
    generator = torch.Generator().manual_seed(5)
    module = FiniteBits(bits, decision=decision, momentum=0.9)
    encode, decode = torch.nn.Linear(4, 8), torch.nn.Linear(8, 4)
    for layer in (encode, decode):
        torch.nn.init.normal_(layer.weight, std=0.3, generator=generator)
    optimiser = torch.optim.Adam([*encode.parameters(), *decode.parameters()], 0.03)
    losses = []
    for _ in range(60):
        x = torch.randn((64, 4), generator=generator)
        received, _ = module(encode(x), torch.tensor(0.1), channel.named("rician:2"), generator)
        loss = ((decode(received) - x) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < 0.5 * losses[0]
    assert encode.weight.grad is not None and bool(encode.weight.grad.abs().sum() > 0)


def test_written_and_read() -> None:
    code = trained(4).constellation()
    again = FiniteConstellation.read(json.loads(json.dumps(code.written())))
    assert again == code and np.array_equal(again.amplitudes, code.amplitudes)
    assert code.priors is not None and np.array_equal(again.priors, code.priors)  # type: ignore[arg-type]
    for broken in (
        {},
        {"low": 0, "high": 1, "bits": 9, "gain": 1},
        {"low": 1, "high": 1, "bits": 4, "gain": 1},
        {"low": 0, "high": 1, "bits": 4, "gain": 0},
        {"low": 0, "high": math.nan, "bits": 4, "gain": 1},
        {"low": 0, "high": 1, "bits": 1, "gain": 1, "priors": [1]},
        {"low": 0, "high": 1, "bits": 1, "gain": 1, "priors": [0, 0]},
        {"low": 0, "high": 1, "bits": 1, "gain": 1, "priors": [1, -1]},
        {"low": "a", "high": 1, "bits": 1, "gain": 1},
    ):
        with pytest.raises(InputError):
            FiniteConstellation.read(broken)


def test_bad_input() -> None:
    code = gaussian(4)
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match="finite"):
            code.map([0, bad])
    with pytest.raises(InputError, match="no decision"):
        code.demap([0j], 1, "softly")
    with pytest.raises(InputError, match="no labels"):
        FiniteConstellation(-1, 1, 0, 1).labels([0])
    with pytest.raises(InputError, match="bits"):
        FiniteBits(9)
    with pytest.raises(InputError, match="momentum"):
        FiniteBits(4, momentum=1)
