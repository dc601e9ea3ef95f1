# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""AirNet: pruning, deliveries, unequal protection, training, and weights as bytes."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from phydnn import (
    airnet,
    checkpoint,
    datasets,
    networks,
    protection,
    pruning,
    spiral,
    train,
    weight_codec,
)
from phydnn.cli import main
from phydnn.datasets import Images
from phydnn.errors import InputError
from phydnn.experiments import Settings
from phydnn.experiments import airnet as experiment
from phydnn.train.airnet import AirnetConfig, AirnetTask, load_airnet, read_noise, train_airnet

# In float32, so that all processors train the same network.
SMALL = ["model=vgg16@0.0625", "epochs=3", "threads=1", "limit=512", "precision=float32"]


def build(name: str, channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return networks.build(name, 10, [120.0] * channels, [60.0] * channels).eval()


def pixels(count: int, side: int = 32, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (count, channels, side, side)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def digits() -> Images:
    return datasets.load("digits", "train").take(slice(512))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sixteenth of Small-VGG16's width after three epochs on the digits."""
    config = train.read_config(train.BackboneConfig, "backbone", "airnet-digits", SMALL)
    return train.train_backbone(config, tmp_path_factory.mktemp("air") / "backbone")


def settings_of(**values: Any) -> AirnetConfig:
    chosen = {"data": "digits", "epochs": 2, "batch": 64, "threads": 1, "limit": 192, "crop": 1}
    chosen |= {"bandwidth": 20_000, "prune_share": 0.2, "flip": False}
    return train.make_config(AirnetConfig, chosen | values)


# --- networks and pruning ------------------------------------------------------------------------


def test_small_vgg_has_the_published_layers() -> None:
    convolutions = [m for m in build("vgg16").modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert pruning.count(build("vgg16")) == 14_710_464 + 512 * 512 + 512 * 10
    for name, layers in (("vgg16@0.25", 2), ("vgg16-3@0.25", 3)):
        linear = [m for m in build(name).modules() if isinstance(m, nn.Linear)]
        assert len(linear) == layers
    residual = [m for m in build("resnet34@0.1").modules() if isinstance(m, nn.Conv2d)]
    assert sum(m.kernel_size == (3, 3) for m in residual) == 33  # And the last layer: 34.


@pytest.mark.parametrize("name", ["vgg16@0.25", "resnet34@0.1", "mobilenetv2@0.25"])
def test_pruning_ends_within_the_budget_and_the_network_runs(name: str) -> None:
    network, image = build(name), pixels(1)
    budget = int(0.6 * pruning.count(network))
    steps = 1
    while not pruning.prune(network, image, budget, 0.1):
        steps += 1
    assert 0.97 * budget < pruning.count(network) <= budget
    assert steps >= 2
    assert network(pixels(2)).shape == (2, 10)
    # Its shapes are all that another of its kind needs to take its state.
    other = build(name)
    pruning.reshape(other, network.state_dict())
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(pixels(2)), network(pixels(2)))
    assert pruning.structure(other) == pruning.structure(network)


@pytest.mark.parametrize("name", ["vgg16@0.25", "resnet34@0.1"])
def test_filters_that_do_nothing_go_first_and_nothing_changes(name: str) -> None:
    network = build(name)
    layer, normalisation, following = {
        "vgg16@0.25": ("features.24", "features.25", "features.27"),
        "resnet34@0.1": ("blocks.8.conv1", "blocks.8.bn1", "blocks.8.conv2"),
    }[name]
    idle = [1, 4, 7]
    with torch.no_grad():
        network.get_parameter(f"{layer}.weight")[idle] *= 1e-6
        network.get_parameter(f"{normalisation}.weight")[idle] = 0.0
        network.get_parameter(f"{normalisation}.bias")[idle] = 0.0
    expected = network(pixels(2))
    without = copy.deepcopy(network)
    shapes = pruning.structure(network)
    outputs, inputs, *_ = shapes[f"{layer}.weight"]
    budget = pruning.count(network)
    budget -= len(idle) * 9 * (inputs + shapes[f"{following}.weight"][0])
    assert pruning.prune(without, pixels(1), budget, 0.1)
    assert pruning.structure(without)[f"{layer}.weight"][0] == outputs - len(idle)
    torch.testing.assert_close(without(pixels(2)), expected)


def test_pruning_takes_the_momentum_along() -> None:
    network = build("vgg16@0.125").train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    functional.cross_entropy(network(pixels(4)), torch.arange(4)).backward()
    optimizer.step()
    pruning.prune(network, pixels(1), 100_000, 0.2, optimizer)
    assert network.training
    for parameter in network.parameters():
        assert optimizer.state[parameter]["momentum_buffer"].shape == parameter.shape
    functional.cross_entropy(network(pixels(4)), torch.arange(4)).backward()
    optimizer.step()


class Shuffled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.shuffle = nn.PixelShuffle(2)
        self.fc = nn.Linear(2, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.shuffle(self.conv(x.float())).mean((2, 3)))


def test_layers_that_the_pruner_does_not_know_are_named() -> None:
    with pytest.raises(InputError, match=r"does not know what '(float|shuffle \(PixelShuffle\))'"):
        pruning.prune(Shuffled(), pixels(1), 10)
    grouped = nn.Sequential(networks.Normalize([0.0] * 3, [1.0] * 3), nn.Conv2d(3, 8, 3))
    grouped.append(nn.Conv2d(8, 8, 3, groups=2))
    with pytest.raises(InputError, match=r"does not know what '2 \(Conv2d\)'"):
        pruning.prune(grouped, pixels(1), 10)
    # The CIFAR ResNets' shortcuts pad with channels of zeros.
    with pytest.raises(InputError, match=r"the pruner does not know what '(getitem|pad)'"):
        pruning.prune(build("resnet20"), pixels(1), 10)


def test_weights_that_are_no_numbers_or_zero_are_refused() -> None:
    network = build("vgg16@0.125")
    with torch.no_grad():
        network.get_parameter("fc.weight")[0, 0] = math.nan
    with pytest.raises(InputError, match=r"fc\.weight holds weights that are no numbers"):
        pruning.prune(network, pixels(1), 10_000)
    with torch.no_grad():
        network.get_parameter("fc.weight").zero_()
    with pytest.raises(InputError, match=r"all weights of fc\.weight are zero"):
        pruning.prune(network, pixels(1), 10_000)


def test_a_budget_below_the_smallest_network_is_refused() -> None:
    network = build("vgg16@0.125")
    before = pruning.structure(network)
    with pytest.raises(InputError, match=r"a budget of 300 weights is too small .* form has \d+"):
        pruning.prune(network, pixels(1), 300)
    assert pruning.structure(network) == before


# --- deliveries ----------------------------------------------------------------------------------


def test_noise_has_the_power_that_it_should() -> None:
    weights = {"a": 3 * torch.randn(200_000), "b": torch.randn(100_000, requires_grad=True)}
    found = airnet.inject(weights, 0.1, torch.Generator().manual_seed(1), {"b": 0.25})
    for name, power in (("a", 0.1), ("b", 0.025)):
        noise = (found[name] - weights[name]).detach()
        relative = float(noise.square().mean() / weights[name].detach().square().mean())
        assert relative == pytest.approx(power, rel=0.02)
    found["b"].sum().backward()
    assert weights["b"].grad is not None


def test_a_delivered_layer_takes_back_what_noise_does_to_the_mean() -> None:
    """For inputs at their means, what a layer gives does not depend on its weights."""
    torch.manual_seed(1)
    layer = nn.Conv2d(4, 6, 3)
    delivered = airnet.Delivered(layer, torch.ones(3, 3))
    delivered.means.copy_(torch.rand(4))
    delivered.shift.copy_(torch.rand(6))
    x = delivered.means[None, :, None, None].expand(2, 4, 8, 8)
    for _ in range(2):
        expected = delivered.shift[None, :, None, None].expand(2, 6, 6, 6)
        torch.testing.assert_close(delivered(x), expected, atol=1e-5, rtol=0)
        with torch.no_grad():
            delivered.layer.weight.normal_()


def test_without_noise_the_client_runs_the_network_that_was_trained(
    backbone: Path, digits: Images
) -> None:
    network = train.load_backbone(backbone)
    few = digits.take(slice(256))
    client = airnet.deploy(network, few, lambda weights: weights, draws=1)
    x = torch.from_numpy(few.x)
    with torch.no_grad(), airnet.by_the_batch(network):
        expected = network.train()(x)
    torch.testing.assert_close(client(x), expected, atol=2e-3, rtol=1e-3)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in client.modules())
    sent = airnet.weights_of(client)
    assert sent.keys() == pruning.weights(network).keys()
    channels = sum(w.shape[1] + w.shape[0] for w in sent.values())
    normalised = sum(len(w) for name, w in sent.items() if name != "fc.weight")
    assert airnet.side_bytes(client) == 2 * (channels + normalised + 5 * len(sent))


def test_side_information_is_of_images_as_the_training_showed_them(digits: Images) -> None:
    """So the client runs the network of the running averages, which plain images miss."""
    config = settings_of(crop=3)
    network = build("vgg16@0.0625", 1)
    norms = [m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for norm in norms:
        norm.momentum = None  # The mean over all batches.
    generator = torch.Generator().manual_seed(3)
    x = torch.from_numpy(digits.x)
    with torch.no_grad():
        for _ in range(8):
            network.train()(train.augment(x, config, generator))
        expected = network.eval()(x)
        off = {
            kind: float((airnet.deploy(network, images, lambda w: w, 2)(x) - expected).std())
            for kind, images in (("shown", train.shown(digits, config)), ("plain", digits))
        }
    assert off["shown"] < 0.5 * off["plain"]
    assert torch.equal(torch.from_numpy(train.shown(digits, settings_of(crop=0)).x), x)


def test_the_client_makes_up_for_noise(backbone: Path, digits: Images) -> None:
    """With the correction it is nearer to the clean logits than with the averages alone."""
    network = train.load_backbone(backbone)
    client = airnet.deploy(network, digits, lambda weights: weights, draws=2)
    generator = torch.Generator().manual_seed(1)

    def send(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        name = "features.7.weight"
        return weights | airnet.inject({name: weights[name]}, 0.1, generator)

    x = torch.from_numpy(digits.x[:128])
    with torch.no_grad():
        clean = client(x)
        errors = {"corrected": 0.0, "averaged": 0.0}
        for _ in range(6):
            arrived = airnet.receive(client, send)
            errors["corrected"] += float((arrived(x) - clean).square().mean())
            for name, module in arrived.named_modules():
                if isinstance(module, airnet.Delivered):
                    sent = client.get_submodule(name)
                    assert isinstance(sent, airnet.Delivered)
                    _average(module, sent)
            errors["averaged"] += float((arrived(x) - clean).square().mean())
    assert errors["corrected"] < 0.7 * errors["averaged"]


def _average(module: airnet.Delivered, sent: airnet.Delivered) -> None:
    """Takes the correction out: the shift is that of the weights as they were sent."""
    means, weight, cover = sent.means, sent.layer.weight, sent.cover
    if isinstance(sent.layer, nn.Linear):
        off = weight @ means
    else:
        off = functional.conv2d(means[None, :, None, None] * cover, weight).flatten()
    module.shift.sub_(module.scale * off)
    module.means.zero_()


def test_a_client_keeps_a_layers_variance_in_other_noise_than_expected(
    backbone: Path, digits: Images
) -> None:
    generator = torch.Generator().manual_seed(1)
    expected = airnet.Plain(0.1, generator)
    client = airnet.deploy(train.load_backbone(backbone), digits, expected, draws=8)
    x = torch.from_numpy(digits.x)

    def variance(send: airnet.Plain) -> float:
        found = []
        for _ in range(40):
            arrived = airnet.receive(client, send)
            first, normalize = (arrived.get_submodule(n) for n in ("features.0", "normalize"))
            found.append(float(first(normalize(x)).var((0, 2, 3)).mean()))
        return float(np.mean(found))

    usual = variance(expected)
    for n0 in (0.01, 0.5):
        assert variance(airnet.Plain(n0, generator)) == pytest.approx(usual, rel=0.12)


def test_measured_accuracy_without_noise_is_the_clients(backbone: Path, digits: Images) -> None:
    client = airnet.deploy(train.load_backbone(backbone), digits, lambda w: w, draws=1)
    found = airnet.measure(client, digits, lambda weights: weights, deliveries=8)
    assert found["accuracy"] == pytest.approx(airnet.accuracy(client, digits))
    assert found["sdr_db"] is None
    assert found["ci95"][0] < found["accuracy"] < found["ci95"][1]
    send = airnet.Plain(0.1, torch.Generator().manual_seed(1), shrink=False)
    assert airnet.measure(client, digits, send, 2)["sdr_db"] == pytest.approx(10, abs=0.1)
    shrunk = airnet.measure(client, digits, airnet.Plain(0.1, torch.Generator()), 2)
    assert shrunk["sdr_db"] == pytest.approx(10 * math.log10(11), abs=0.1)


def test_a_loss_is_that_on_the_same_images() -> None:
    reference = np.random.default_rng(1).random(120) < 0.8
    shares = [reference[part::4].copy() for part in range(4)]
    same = airnet.over_deliveries(shares, reference)
    assert same["accuracy"] == pytest.approx(reference.mean())
    assert (same["loss_points"], same["loss_points_ci95"]) == (0.0, [0.0, 0.0])
    for share in shares:
        share[np.flatnonzero(share)[0]] = False
    fewer = airnet.over_deliveries(shares, reference)
    # Each lost one of 30: that is sure, though the accuracy is not.
    assert fewer["loss_points"] == pytest.approx(100 / 30)
    low, high = fewer["loss_points_ci95"]
    assert high - low < 1e-9 < fewer["ci95"][1] - fewer["ci95"][0]


def test_a_layer_that_came_as_zeros_is_run(backbone: Path, digits: Images) -> None:
    """A coarse quantiser may leave nothing of a layer."""

    def send(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return weights | {"features.7.weight": torch.zeros_like(weights["features.7.weight"])}

    client = airnet.deploy(train.load_backbone(backbone), digits, send, draws=1)
    logits = airnet.receive(client, send)(torch.from_numpy(digits.x[:8]))
    assert torch.isfinite(logits).all()
    assert math.isfinite(airnet.layers_of(client)["features.7.weight"].ratio)


def test_side_information_is_interpolated_between_knots(backbone: Path, digits: Images) -> None:
    low, high = train.load_backbone(backbone), train.load_backbone(backbone)
    with torch.no_grad():
        high.get_parameter("fc.weight").mul_(1.5)
    generator = torch.Generator().manual_seed(1)
    noise = {"features.0.weight": 0.1}
    served = airnet.serve(low, high, (0.0, 4.5), digits, noise, generator, draws=1)
    assert served.knots == (0.0, 2.25, 4.5)
    one, other = (client.state_dict() for client in served.clients[:2])
    for name, tensor in served.at(0.75).state_dict().items():
        torch.testing.assert_close(tensor, one[name] + (other[name] - one[name]) / 3)
    beyond = served.at(20.0)
    assert beyond.state_dict().keys() == one.keys()
    for client, snr_db in ((served.at(0.75), 0.75), (beyond, 4.5)):
        layers = airnet.layers_of(client)
        assert layers["features.0.weight"].tau == pytest.approx(0.1 * 10 ** (-snr_db / 10))
        assert layers["fc.weight"].tau == pytest.approx(10 ** (-snr_db / 10))
    torch.testing.assert_close(
        airnet.weights_of(beyond)["fc.weight"], high.get_parameter("fc.weight").detach()
    )


def test_fades_are_exponential_and_one_from_each_part() -> None:
    fades = experiment.Faded(20.0, 500, torch.Generator().manual_seed(1), {}).fades
    powers = 10 ** (np.array(fades) / 10 - 2)
    parts = np.sort(np.floor((1 - np.exp(-powers)) * 500 + 1e-6))
    np.testing.assert_array_equal(parts, np.arange(500))
    assert powers.mean() == pytest.approx(1, abs=0.02)
    assert np.any(np.diff(powers) < 0)


def test_codes_reach_the_distortion_that_they_promise(backbone: Path, digits: Images) -> None:
    client = airnet.deploy(train.load_backbone(backbone), digits, lambda w: w, draws=1)
    gaussian = airnet.weights_of(client)
    generator = torch.Generator().manual_seed(1)
    gaussian = {name: torch.randn(w.shape, generator=generator) for name, w in gaussian.items()}
    for code in (spiral.code_for(15, repeats=2), spiral.code_for(15, expansion=1)):
        codes = dict.fromkeys(gaussian, code)
        send = airnet.Coded(codes, 10**-1.5, np.random.default_rng(1))
        received = send(gaussian)
        wrong = sum(float((received[n] - w).square().sum()) for n, w in gaussian.items())
        power = sum(float(w.square().sum()) for w in gaussian.values())
        assert wrong / power == pytest.approx(code.distortion(15), rel=0.15)


def test_interpolation_is_linear_and_exact_at_the_ends() -> None:
    low, high = build("vgg16@0.125"), build("vgg16@0.125")
    with torch.no_grad():
        for parameter in high.parameters():
            parameter.add_(1.0)
    for alpha in (0.0, 0.25, 1.0):
        between = airnet.boundary(low, high, alpha)
        for name, parameter in between.named_parameters():
            torch.testing.assert_close(parameter, low.get_parameter(name) + alpha)
    assert airnet.uses(low) == -(-pruning.count(low) // 2)
    assert airnet.uses(low, 2) == pruning.count(low)


# --- unequal error protection --------------------------------------------------------------------


def test_the_hessian_measures_are_those_of_the_whole_matrix() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False)).eval()
    x = torch.randint(0, 5, (64, 1, 2, 2)).float()
    images = Images(x.numpy(), torch.randint(0, 3, (64,)).numpy(), ("a", "b", "c"), "toy")
    weight = network.get_parameter("1.weight").detach()

    def loss(flat: Tensor) -> Tensor:
        logits = x.flatten(1) @ flat.view_as(weight).T
        return functional.cross_entropy(logits, torch.from_numpy(np.asarray(images.y)))

    hessian = torch.autograd.functional.hessian(loss, weight.flatten())
    hessian = hessian * weight.square().mean()
    trace = protection.sensitivities(network, images, "trace", draws=400)["1.weight"]
    assert trace == pytest.approx(float(hessian.trace()) / 2, rel=0.1)
    value = protection.sensitivities(network, images, "eigenvalue", draws=60)["1.weight"]
    assert value == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-3)
    # For little noise the rise of the loss is half the trace times the noise's power.
    rise = protection.sensitivities(network, images, "loss", n0=1e-2, draws=3000)["1.weight"]
    assert rise == pytest.approx(float(hessian.trace()) / 2, rel=0.2)


def test_sensitivities_rank_a_trained_networks_layers(backbone: Path, digits: Images) -> None:
    network = train.load_backbone(backbone)
    found = {m: protection.sensitivities(network, digits, m) for m in protection.MEASURES}
    for measure in protection.MEASURES:
        assert found[measure].keys() == pruning.weights(network).keys()
        assert min(found[measure].values()) > 0
    assert protection.rank_agreement(found["loss"], found["trace"]) > 0.5
    assert protection.rank_agreement(found["loss"], found["loss"]) == pytest.approx(1)
    with pytest.raises(InputError, match="no sensitivity 'guess'"):
        protection.sensitivities(network, digits, "guess")


LAYERS = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.tuples(st.floats(1e-3, 10), st.integers(1, 1000)),
    min_size=1,
)


@given(LAYERS, st.lists(st.integers(1, 8), min_size=3, max_size=3))
def test_allocated_power_has_a_mean_of_one_and_is_the_best(
    layers: dict[str, tuple[float, int]], several: list[int]
) -> None:
    sensitivity = {name: h for name, (h, _) in layers.items()}
    counts = {name: v for name, (_, v) in layers.items()}
    copies = {name: several[i % 3] for i, name in enumerate(counts)}
    power = protection.allocate_power(sensitivity, counts, limit=1e9, copies=copies)
    total = sum(copies[n] * counts[n] for n in counts)
    assert sum(power[n] * copies[n] * counts[n] for n in counts) == pytest.approx(total)
    harm = sum(sensitivity[n] / copies[n] / power[n] for n in counts)
    # Cauchy and Schwarz: the least that any allocation reaches.
    least = sum(math.sqrt(sensitivity[n] * counts[n]) for n in counts) ** 2 / total
    assert harm == pytest.approx(least, rel=1e-6)
    held = protection.allocate_power(sensitivity, counts, limit=2)
    assert max(held.values()) <= 2 * (1 + 1e-9)
    once = protection.allocate_power(sensitivity, counts, copies=dict.fromkeys(counts, 1))
    assert once == protection.allocate_power(sensitivity, counts)


@given(LAYERS, st.floats(1, 4))
def test_expansion_stays_in_the_budget_and_leaves_no_step_that_fits(
    layers: dict[str, tuple[float, int]], spare: float
) -> None:
    sensitivity = {name: h for name, (h, _) in layers.items()}
    counts = {name: v for name, (_, v) in layers.items()}
    costs, noise = (1, 2, 4), (1.0, 0.5, 0.1)
    budget = int(spare * sum(counts.values()))
    levels = protection.expand(sensitivity, counts, budget, costs, noise)
    left = budget - sum(costs[levels[n]] * counts[n] for n in counts)
    assert left >= 0
    for name, level in levels.items():
        if level + 1 < len(costs):
            assert (costs[level + 1] - costs[level]) * counts[name] > left
    with pytest.raises(InputError, match="do not fit"):
        protection.expand(sensitivity, counts, sum(counts.values()) - 1, costs, noise)


def test_expansion_serves_the_most_sensitive_weight_first() -> None:
    sensitivity, counts = {"a": 1.0, "b": 1.0, "c": 5.0}, {"a": 10, "b": 100, "c": 100}
    levels = protection.expand(sensitivity, counts, 320, (1, 2), (1.0, 0.5))
    assert levels == {"a": 1, "b": 0, "c": 1}
    levels = protection.expand(sensitivity, counts, 225, (1, 2), (1.0, 0.5))
    assert levels == {"a": 1, "b": 0, "c": 0}


# --- training ------------------------------------------------------------------------------------


def test_a_run_that_is_cut_off_ends_where_it_would_have_ended(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings_of(epochs=3)
    whole = train_airnet(config, backbone, tmp_path / "whole")
    low, high, read = load_airnet(whole, train.load_backbone(backbone))
    assert read == config
    assert pruning.count(low) <= 2 * config.bandwidth < pruning.count(train.load_backbone(backbone))
    assert pruning.structure(low) == pruning.structure(high)
    ends = zip(low.parameters(), high.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in ends)
    sensitivity = read_noise(tmp_path / "whole" / "sensitivity.json", low)
    assert sensitivity.keys() == pruning.weights(low).keys()

    def cut(self: AirnetTask, epoch: int, out: Path) -> dict[str, Any]:
        if epoch == 2:
            raise KeyboardInterrupt
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(AirnetTask, "end_epoch", cut)
        with pytest.raises(KeyboardInterrupt):
            train_airnet(config, backbone, tmp_path / "cut")
    train_airnet(config, backbone, tmp_path / "cut")
    states = [checkpoint.load(tmp_path / name / "last.safetensors") for name in ("whole", "cut")]
    for name, tensor in states[0]["model"].items():
        assert torch.equal(tensor, states[1]["model"][name]), name


def test_a_single_network_without_noise_or_teacher(backbone: Path, tmp_path: Path) -> None:
    config = settings_of(
        epochs=1, boundaries=False, noise=False, distillation=0.0, prune="separate",
        power="uniform", fading="rayleigh",
    )  # fmt: skip
    low, high, _ = load_airnet(
        train_airnet(config, backbone, tmp_path), train.load_backbone(backbone)
    )
    assert low is high
    assert pruning.count(low) <= config.budget
    assert not (tmp_path / "sensitivity.json").exists()


def test_teachers_go_where_the_task_goes_and_stay_out_of_checkpoints(backbone: Path) -> None:
    network, *teachers = (train.load_backbone(backbone) for _ in range(3))
    task = AirnetTask(network, teachers, pixels(1), settings_of(prune="none", power="uniform"))
    task.double()
    for teacher in teachers:
        assert not teacher.training
        assert all(p.dtype == torch.double and not p.requires_grad for p in teacher.parameters())
    assert {name.partition(".")[0] for name in task.state_dict()} == {"low", "high"}


def test_both_ends_start_from_another_runs_network(backbone: Path, tmp_path: Path) -> None:
    unpruned = train.load_backbone(backbone)
    alone = settings_of(epochs=1, boundaries=False, prune="separate", snr_low=15, power="uniform")
    start = train_airnet(alone, backbone, tmp_path / "alone")
    config = settings_of(epochs=1, start=str(start), prune="none", lr=1e-12, power="uniform")
    low, high, _ = load_airnet(train_airnet(config, backbone, tmp_path / "both"), unpruned)
    assert low is not high
    for network in (low, high):
        for name, weight in pruning.weights(load_airnet(start, unpruned)[0]).items():
            torch.testing.assert_close(pruning.weights(network)[name], weight)
    config = settings_of(epochs=1, start=str(start), keep_high=True, lr=0.01, power="uniform")
    low, high, _ = load_airnet(train_airnet(config, backbone, tmp_path / "kept"), unpruned)
    for name, weight in pruning.weights(load_airnet(start, unpruned)[0]).items():
        assert torch.equal(pruning.weights(high)[name], weight), name
        assert not torch.equal(pruning.weights(low)[name], weight), name
    with pytest.raises(InputError, match="is no AirNet's checkpoint"):
        train_airnet(settings_of(start=str(backbone)), backbone, tmp_path / "no")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bandwidth": 100}, "a budget of 200 weights is too small for this network"),
        ({"bandwidth": 0}, "a bandwidth of 0 uses and an expansion of 1 carry nothing"),
        ({"prune": "none"}, r"\d+ weights do not fit 20000 channel uses .* set prune to joint"),
        ({"epochs": 1, "prune_share": 0.02}, r"pruning takes \d+ steps of 0.02, an epoch each"),
        ({"prune_share": 0.9}, "prune_share is 0.9 but"),
        ({"keep_high": True}, "keep_high keeps what start names"),
        ({"snr_low": 20.0}, "snr_low 20 is above snr_high 15"),
        ({"power": "nothing.json"}, "nothing.json holds no number for each layer"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    backbone: Path, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train_airnet(settings_of(**values), backbone, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"fc.weight": 0}', "gives fc.weight the number 0: it must be positive"),
        ('{"other": 1}', "names 'other', but the network has features.0.weight"),
        ("[1]", "holds no number for each layer"),
        ('{"fc.weight": "x"}', "holds no number for each layer"),
        ('{"fc.weight": NaN}', "must be positive"),
    ],
)
def test_noise_a_layer_is_checked(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "noise.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_noise(path, build("vgg16@0.0625"))


def test_another_structure_does_not_load(backbone: Path, tmp_path: Path) -> None:
    best = train_airnet(settings_of(epochs=2, boundaries=False), backbone, tmp_path)
    with pytest.raises(InputError, match="the pruned network does not fit: it has another"):
        load_airnet(best, networks.build("vgg16@0.03", 10, [120.0], [60.0]))
    with pytest.raises(InputError, match=r"is no AirNet's checkpoint|does not fit"):
        load_airnet(backbone, train.load_backbone(backbone))


def test_the_command_line_ends_in_one_sentence(
    backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "airnet", "--config", "airnet-digits", "--weights", str(backbone)]
    assert main([*words, "--out", str(tmp_path), "--bandwidth", "100"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("phydnn: a budget of 200 weights is too small")
    assert error.count("\n") == 1


# --- weights as bytes ----------------------------------------------------------------------------

ARRAYS = st.dictionaries(
    st.sampled_from("abc"),
    npst.arrays(
        np.float32,
        npst.array_shapes(min_dims=1, max_dims=4, max_side=6),
        elements=st.floats(-100, 100, width=32),
    ),
    min_size=1,
)


@given(ARRAYS, st.floats(0.25, 100))
def test_quantised_weights_come_back_within_a_step(
    weights: dict[str, NDArray[np.float32]], step: float
) -> None:
    steps = dict.fromkeys(weights, step)
    shapes = {name: weight.shape for name, weight in weights.items()}
    found = weight_codec.dequantise(weight_codec.quantise(weights, steps), shapes)
    for name, weight in weights.items():
        assert found[name].shape == weight.shape
        assert np.abs(found[name] - weight).max() <= weight_codec.DEADZONE * step * 1.001 + 1e-4


@given(ARRAYS, st.floats(0.25, 100))
def test_successively_pruned_weights_come_back_within_the_threshold(
    weights: dict[str, NDArray[np.float32]], threshold: float
) -> None:
    shapes = {name: weight.shape for name, weight in weights.items()}
    stream = weight_codec.prune_successively(weights, dict.fromkeys(weights, threshold))
    found = weight_codec.restore_pruned(stream, shapes)
    for name, weight in weights.items():
        first = float(np.abs(weight).max())
        # A sweep takes its threshold off once; what is left is under the ones that follow.
        reach = max(threshold / weight_codec.RATIO, (1 - weight_codec.RATIO) * first)
        assert np.abs(found[name] - weight).max() <= max(reach, threshold) * 1.01 + 1e-4


def test_the_coder_comes_near_the_entropy_and_the_rate_distortion_bound() -> None:
    rng = np.random.default_rng(1)
    weights = {"w": rng.normal(size=40_000).astype(np.float32)}
    stream = weight_codec.fit(weights, {"w": 1.0}, 15_000)
    assert 14_700 < len(stream) <= 15_000
    found = weight_codec.dequantise(stream, {"w": (40_000,)})["w"]
    counts = np.unique(found, return_counts=True)[1] / len(found)
    entropy = float(-(counts * np.log2(counts)).sum()) * len(found) / 8
    assert len(stream) < 1.01 * entropy + 200
    sdr = 10 * math.log10(1 / float(np.square(found - weights["w"]).mean()))
    bound = 6.02 * 8 * len(stream) / len(found)
    assert bound - 2 < sdr < bound
    successive = weight_codec.fit(weights, {"w": 1.0}, 15_000, weight_codec.prune_successively)
    assert len(successive) <= 15_000


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 10_000), st.sampled_from(["cut", "flip", "noise"]))
def test_a_damaged_stream_is_refused_or_read_as_other_weights(
    noise: bytes, at: int, how: str
) -> None:
    weights = {"a": np.linspace(-1, 1, 60, dtype=np.float32), "b": np.ones(3, np.float32)}
    shapes = {name: weight.shape for name, weight in weights.items()}
    pairs: list[tuple[Callable[..., bytes], Callable[..., dict[str, Any]]]] = [
        (weight_codec.quantise, weight_codec.dequantise),
        (weight_codec.prune_successively, weight_codec.restore_pruned),
    ]
    for code, restore in pairs:
        stream = code(weights, dict.fromkeys(weights, 0.1))
        damaged = bytearray(stream)
        if how == "cut":
            damaged = damaged[: at % len(stream)]
        elif how == "flip":
            damaged[at % len(stream)] ^= 1 << at % 8
        else:
            damaged = bytearray(noise)
        try:
            found = restore(bytes(damaged), shapes)
        except InputError:
            continue
        assert {name: array.shape for name, array in found.items()} == shapes


def test_weights_that_cannot_be_coded_are_refused() -> None:
    bad = {"w": np.array([1.0, math.nan], np.float32)}
    with pytest.raises(InputError, match="w holds weights that are no numbers"):
        weight_codec.quantise(bad, {"w": 1.0})
    wide = {"w": np.array([0.0, 1.0], np.float32)}
    with pytest.raises(InputError, match=r"the step 0.0001 gives w 10001 levels"):
        weight_codec.quantise(wide, {"w": 1e-4})
    with pytest.raises(InputError, match="3 bytes are too few for any network of 1 layers"):
        weight_codec.fit(wide, {"w": 1.0}, 3)


# --- experiments ---------------------------------------------------------------------------------


def test_capacity_is_shannons_and_the_real_code_is_below_it() -> None:
    sizes = [experiment.capacity_bytes(1_200_000, snr) for snr in (0, 5, 10, 20)]
    assert [round(size / 1000) for size in sizes] == [150, 309, 519, 999]
    for snr in np.arange(-5, 25, 2.5).tolist():
        assert experiment.coded_bytes(10_000, snr) <= experiment.capacity_bytes(10_000, snr)
    assert experiment.coded_bytes(10_000, -20) == 0


def test_a_run_is_measured_over_each_kind_of_channel(tmp_path: Path) -> None:
    chosen = Settings(quick=True, folder=tmp_path)
    tiny = {"epochs": 2, "limit": 256, "bandwidth": 20_000}
    common = {"backbone": {"model": "vgg16@0.0625", "epochs": 2, "limit": 256}, "deliveries": 2}
    rows = {}
    for scheme, channel in (
        ("AirNet", "awgn"),
        ("uniform power", "awgn"),
        ("AirNet", "rayleigh"),
        ("AirNet, CSI at both ends", "rayleigh"),
    ):
        point = experiment.point(chosen, scheme, 15.0, channel, airnet=tiny) | common
        rows[scheme, channel] = experiment.of_delivery(point, tmp_path / "airnet_test" / "key")
    # Trained once for all.
    assert len(list((tmp_path / "airnets").iterdir())) == 1
    for row in rows.values():
        assert row["channel_uses"] <= 20_000 and row["n"] == 360
        assert row["ci95"][0] <= row["accuracy"] <= row["ci95"][1]
        assert row["loss_points"] == pytest.approx(100 * (row["a0"] - row["accuracy"]))
        assert json.loads(json.dumps(row)) == row
    point = experiment.point(chosen, "AirNet's network, quantised, capacity", 15.0, airnet=tiny)
    (digital,) = experiment.of_digital(point | common, tmp_path / "airnet_test" / "key")
    assert digital["bytes"] <= digital["bytes_carried"]
    (nothing,) = experiment.of_digital(
        point | common | {"snr_db": -30.0}, tmp_path / "airnet_test" / "key"
    )
    assert nothing["accuracy"] == pytest.approx(0.1)
    point = experiment.point(chosen, "spiral 1:2", 15.0, airnet=tiny) | common
    coded = experiment.of_code(point, tmp_path / "airnet_test" / "key")
    assert coded["channel_uses"] == pytest.approx(
        2 * rows["AirNet", "awgn"]["channel_uses"], rel=1e-3
    )
