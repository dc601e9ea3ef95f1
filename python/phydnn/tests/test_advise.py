# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The split advisor: its figures against closed forms, its suggestions, and its command."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from phydnn import advise, complexity, networks, train
from phydnn.cli import main
from phydnn.errors import InputError

RESNET = "resnet20"
IMAGE = (3, 32, 32)


def resnet() -> nn.Module:
    return networks.build(RESNET, 10, [125.0] * 3, [60.0] * 3).eval()


def test_points_of_a_resnet() -> None:
    network = resnet()
    points = {p.point: p for p in advise.survey(network, IMAGE)}
    assert list(points) == [
        *("conv1", "bn1", "layer1.0", "layer1.1", "layer1"),
        *("layer2.0", "layer2.1", "layer2", "layer3.0", "layer3.1", "layer3"),
    ]
    x = torch.zeros(1, *IMAGE, dtype=torch.uint8)
    whole = complexity.macs(network, x), complexity.parameters(network)
    before = 0.0
    for name, p in points.items():
        head, _ = networks.split(network, name)
        assert p.macs == complexity.macs(head, x)
        assert p.parameters == complexity.parameters(head)
        assert p.macs_share == pytest.approx(p.macs / whole[0])
        assert p.parameters_share == pytest.approx(p.parameters / whole[1])
        assert p.latent == head(x).shape[1:]
        # Latency adds up, and what runs later is later.
        assert p.head_ms > before and p.tail_ms > 0
        assert p.total_ms == pytest.approx(p.head_ms + p.air_ms + p.tail_ms)
        before = p.head_ms
    layer1 = points["layer1"]
    assert layer1.macs == 1024 * 9 * (3 * 16 + 6 * 16 * 16)
    assert (layer1.latent, layer1.values, layer1.uses) == ((16, 32, 32), 16384, 1024)
    # 1,024 uses at 0.7277 a sample and 20 MS/s: 70 microseconds.
    assert layer1.air_ms == pytest.approx(0.07036, rel=1e-3)
    # The first of each size, but behind its normalisation, which is as good as free.
    assert [p.point for p in points.values() if p.suggested] == ["bn1", "layer2.0", "layer3.0"]


def test_predicted_latency() -> None:
    network = resnet()
    points = advise.survey(
        network, IMAGE, batch=8, efficiency=0.5, sample_rate=1e6, device_gmacs=2, edge_gmacs=50
    )
    total = complexity.macs(network, torch.zeros(1, *IMAGE, dtype=torch.uint8))
    for p in points:
        assert p.head_ms == pytest.approx(8 * p.macs / 2e6)
        assert p.tail_ms == pytest.approx(8 * (total - p.macs) / 50e6)
        assert p.air_ms == pytest.approx(8 * p.uses / 0.5 / 1e3)


class Shared(nn.Module):
    """Tokens, a vector, a tuple, a sequence-first latent, and a layer that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 6, 4, 4)
        self.mix = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True)
        self.recurrent = nn.GRU(6, 6, batch_first=True)
        self.turned = nn.Linear(6, 6)
        self.features = nn.Linear(24, 6)
        self.repeated = nn.Linear(6, 6)
        self.classify = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(self.patch(x).flatten(2).transpose(1, 2))
        x, _ = self.recurrent(x)
        x = self.turned(x.transpose(0, 1)).transpose(0, 1)
        x = self.features(x.flatten(1))
        return self.classify(self.repeated(self.repeated(x)))


def test_points_of_tokens_and_vectors() -> None:
    network = networks.Preprocessed(Shared().eval(), [100.0], [50.0])
    points = advise.survey(network, (1, 8, 8))
    latents = {p.point: (p.latent, p.uses) for p in points}
    # Not the tuple, nor what has its batch elsewhere, nor what leaves the edge nothing.
    assert latents == {
        "patch": ((6, 2, 2), 4),
        "mix": ((4, 6), 4),
        "features": ((6,), 1),
    }
    vector = points[-1]
    # The layer that runs twice is paid twice, its parameters are there once.
    assert vector.macs_share == pytest.approx(vector.macs / (vector.macs + 36 + 36 + 60))
    assert vector.parameters / vector.parameters_share == pytest.approx(
        complexity.parameters(network)
    )


def test_bad_surveys() -> None:
    network = resnet()
    for options, message in (
        ({"batch": 0}, "the batch is 0 but must be 1 or more"),
        ({"efficiency": 0.0}, "the efficiency is 0 but must be"),
        ({"sample_rate": float("nan")}, "the sample rate is nan but"),
        ({"device_gmacs": -1.0}, "the device's GMAC/s is -1"),
        ({"edge_gmacs": float("inf")}, "the edge's GMAC/s is inf"),
    ):
        with pytest.raises(InputError, match=message):
            advise.survey(network, IMAGE, **options)
    with pytest.raises(InputError, match="the network takes images of 3 channels, not 1"):
        advise.survey(network, (1, 32, 32))
    single = networks.Preprocessed(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), [0.0], [1.0])
    with pytest.raises(InputError, match="no point to split at"):
        advise.survey(single, (1, 2, 2))


NETWORK = """
from torch import nn
def net():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 10)
    )
"""


def test_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "advised_network.py").write_text(NETWORK)
    command = ["advise", "--model", "advised_network:net"]
    out = ["--json", "out.json", "--plot", "out.png"]
    assert main([*command, "--data", "digits", *out]) == 0
    printed = capsys.readouterr().out
    assert "Points to split advised_network:net at, for images of 1x8x8" in printed
    result = json.loads((tmp_path / "out.json").read_text())
    assert [(p["point"], p["suggested"]) for p in result["points"]] == [
        ("0", False),
        ("1", False),
        ("2", True),
        ("3", True),
    ]
    assert result["points"][0]["macs"] == 16 * 9 * 4 and result["shape"] == [1, 8, 8]
    assert {"command", "git"} <= set(result) and result["device_gmacs"] is None
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")

    # With weights, and as a run's backbone.
    network = networks.build("advised_network:net", 10, [0.0], [1.0])
    assert isinstance(network, networks.Preprocessed)
    torch.save({"state_dict": network.network.state_dict()}, "w.pt")
    assert main([*command, "--shape", "1,8,8", "--weights", "w.pt"]) == 0
    run = tmp_path / "run"
    path = train.import_backbone("advised_network:net", Path("w.pt"), "digits", run / "backbone")
    for weights in (run, path):
        assert main(["advise", "--weights", str(weights), "--data", "digits"]) == 0
        assert "Points to split advised_network:net" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments,message",
    [
        ([], "give the network: --model NAME"),
        (["--model", RESNET], "give --data, or the images' --shape C,H,W"),
        (["--model", RESNET, "--shape", "3,32"], "--shape 3,32: write C,H,W"),
        (["--model", RESNET, "--shape", "3,32,0"], "--shape 3,32,0: write C,H,W"),
        (["--model", "vgg", "--shape", "3,32,32"], "no network 'vgg'"),
        (["--model", RESNET, "--shape", "3,32,32", "--weights", "none"], "cannot read none"),
        (["--weights", "none"], "none is no checkpoint of phydnn"),
        (["--model", RESNET, "--data", "fog"], "no data set 'fog'"),
        (["--model", RESNET, "--shape", "3,32,32", "--efficiency", "0"], "the efficiency is 0"),
    ],
)
def test_bad_commands(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["advise", *arguments]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("phydnn: ") and message in errors and errors.count("\n") == 1


def test_a_phydnn_is_no_backbone(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tiny_run / "phydnn" / "best.safetensors"
    assert main(["advise", "--weights", str(weights), "--data", "digits"]) == 2
    assert "is no backbone's checkpoint" in capsys.readouterr().err
    assert main(["advise", "--weights", str(tiny_run), "--data", "digits"]) == 0
    assert "layer2.0 *" in capsys.readouterr().out
