# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""From a run of ``train airnet`` to a bundle of networks to deliver."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from phydnn import airnet, checkpoint, datasets, delivery, protection, pruning, train
from phydnn.bundle import GOLDEN_BATCH
from phydnn.errors import InputError
from phydnn.export import to_onnx
from phydnn.train.airnet import load_airnet, noise_of, read_noise


def client_graph(client: nn.Module, image: Tensor) -> bytes:
    """A network of :func:`phydnn.airnet.deploy` as ONNX, its tensors by their names in torch.

    Nothing is folded: what a layer makes of its inputs' means follows its weights, noise and all.

    Args:
        client: the network.
        image: uint8 [B,C,H,W], any.
    """
    free = {"images": {0: "batch"}}
    model = to_onnx(client, {"images": image}, ["logits"], free, fold=False)
    return bytes(model.SerializeToString())


def export_airnet(
    run: Path,
    out: Path,
    data: str = "",
    provenance: str = "",
    note: str = "",
    deliveries: int = 20,
) -> delivery.AirBundle:
    """Writes the bundle of a run, validated, and scored by simulation on the test split.

    Args:
        run: the run's folder, holding backbone/ and airnet/.
        out: the bundle's folder, which must not be there; its last part becomes the name.
        data: the data set; empty for what it was trained on.
        provenance: a sentence for the model card on what the data is.
        note: what else the model card should say about the training.
        deliveries: simulated at each Es/N0.

    Raises:
        InputError: the run is incomplete.
    """
    sources = [run / part / "best.safetensors" for part in ("backbone", "airnet")]
    for source in sources:
        if not source.is_file():
            raise InputError(f"{source} is missing: run phydnn train airnet first")
    backbone = train.load_backbone(sources[0])
    low, high, config = load_airnet(sources[1], backbone)
    images = train.shown(datasets.load(data or config.data, "train"), config)
    test = datasets.load(data or config.data, "test")
    counts = {name: weight.numel() for name, weight in pruning.weights(low).items()}
    kept = run / "airnet" / "sensitivity.json"
    sensitivity = read_noise(kept, low) if kept.is_file() else None
    noise = {} if sensitivity is None else noise_of(low, sensitivity)
    power = dict.fromkeys(counts, 1.0)
    if sensitivity is not None:
        power = protection.allocate_power(sensitivity, counts)
    generator = torch.Generator().manual_seed(config.seed)
    served = airnet.serve(low, high, (config.snr_low, config.snr_high), images, noise, generator)
    knots = served.knots
    example = torch.from_numpy(test.x[:2])
    graphs = [client_graph(client, example) for client in served.clients]
    reference, simulated = airnet.right(backbone, test), []
    for snr_db in sorted({*knots, *((a + b) / 2 for a, b in itertools.pairwise(knots))}):
        send = airnet.Plain(10 ** (-snr_db / 10), generator, noise)
        found = airnet.measure(served.at(snr_db), test, send, deliveries, reference)
        simulated.append({"channel": "awgn", "snr_db": snr_db, **found})
    a0 = float(reference.mean())
    kind = (data or config.data).partition(":")[0]
    side = airnet.side_bytes(served.clients[0])
    made = checkpoint.load(sources[1])["provenance"]
    meta: dict[str, Any] = {
        "version": "1",
        "task": "classification",
        "dataset": {"name": kind, "provenance": provenance or kind},
        "classes": list(test.classes),
        "input": {"shape": list(test.x.shape[1:]), "dtype": "uint8"},
        "network": {
            "model": checkpoint.load(sources[0])["config"]["model"],
            "weights": sum(counts.values()),
            "unpruned_weights": pruning.count(backbone),
            "channel_uses": airnet.uses(low),
        },
        "training": {
            "channel": config.fading,
            "snr_db": [config.snr_low, config.snr_high],
            "seed": config.seed,
            "mode": "corrected",
            "note": note,
            **made,
        },
        "metrics": {"backbone": {"accuracy": a0, "n": len(test)}, "simulated": simulated},
    }
    allocations = []
    for snr_db, client in zip(knots, served.clients, strict=True):
        ratios = {name: layer.ratio for name, layer in airnet.layers_of(client).items()}
        plain = {"expansion": 0, "repeats": 1}
        layers = [plain | {"amplitude": power[n] ** 0.5, "ratio": ratios[n]} for n in counts]
        allocations.append({"snr_db": snr_db, "layers": layers})
    names = [name.replace(".weight", ".layer.weight") for name in counts]
    golden = test.x[:GOLDEN_BATCH]
    card = _card(out.name, meta, side)
    return delivery.write_bundle(out, meta, graphs, names, knots, allocations, golden, card)


def _card(name: str, meta: dict[str, Any], side: int) -> str:
    network, metrics = meta["network"], meta["metrics"]
    lines = [
        f"- {row['channel']}, {row['snr_db']:g} dB: {100 * row['accuracy']:.2f}% "
        f"({100 * row['ci95'][0]:.2f} to {100 * row['ci95'][1]:.2f})"
        for row in metrics["simulated"]
    ]
    return (
        f"""# {name}

Networks to deliver over the air (AirNet): {network["model"]}, trained on
{meta["dataset"]["provenance"]}, pruned from {network["unpruned_weights"]:,} to
{network["weights"]:,} weights. A delivery takes {network["channel_uses"]:,} channel uses for the
weights, two a use, and about {side:,} bytes of protected side information before its code.

Unpruned and without noise it classifies {100 * metrics["backbone"]["accuracy"]:.2f}% of
{metrics["backbone"]["n"]:,} test images. Delivered, in simulation, its mean over
{metrics["simulated"][0]["deliveries"]} deliveries (95% interval):

{chr(10).join(lines)}

{meta["training"]["note"]}
""".rstrip()
        + "\n"
    )
