# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""From a training run to a bundle: graphs, arrays, golden answers, metrics and a model card."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from phydnn import checkpoint, complexity, datasets, evaluate, networks, train
from phydnn.bundle import GOLDEN_BATCH, BaseBundle, Bundle, sha256
from phydnn.datasets import Images
from phydnn.embedding import PhyDNN
from phydnn.errors import InputError, RunError

OPSET = 18
IR_VERSION = 8
"""Of ONNX files, the one that came with this opset."""
SNR_DB = (4.0, 8.0, 12.0, 16.0, 20.0)
"""Es/N0 at which an exported bundle's metrics are simulated."""

Kind = TypeVar("Kind", bound=BaseBundle)


class _Head(nn.Module):
    def __init__(self, phydnn: PhyDNN) -> None:
        super().__init__()
        self.phydnn = phydnn

    def forward(self, images: Tensor) -> Tensor:
        return self.phydnn.slices(images)


class _Tail(nn.Module):
    def __init__(self, phydnn: PhyDNN) -> None:
        super().__init__()
        self.phydnn = phydnn

    def forward(self, slices: Tensor) -> Tensor:
        return self.phydnn.classify(slices)


# Exporting needs no torchvision, and says nothing about it.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
logging.getLogger("onnx_ir").setLevel(logging.WARNING)


def write_graph(module: nn.Module, example: Tensor, given: str, wanted: str, path: Path) -> None:
    """Writes a module of one input as ONNX with a free batch axis and its weights inside."""
    proto = to_onnx(module, {given: example}, [wanted], {given: {0: "batch"}})
    path.write_bytes(proto.SerializeToString())


def to_onnx(
    module: nn.Module,
    examples: Mapping[str, Tensor],
    wanted: Sequence[str],
    free: Mapping[str, Mapping[int, str]],
    fold: bool = True,
) -> Any:
    """A module as an ONNX model, its weights inside.

    Args:
        module: takes the examples in order.
        examples: its inputs by name.
        wanted: names of its outputs.
        free: of each input, the axes that may have any length, named; those of one name agree.
        fold: whether the exporter may compute ahead what follows from the module's tensors.
    """
    dims = {name: torch.export.Dim(name) for axes in free.values() for name in axes.values()}
    program = torch.onnx.export(
        module.eval(),
        tuple(examples.values()),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(examples),
        output_names=list(wanted),
        dynamic_shapes=tuple(
            {axis: dims[name] for axis, name in free[given].items()} for given in examples
        ),
        optimize=fold,
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    # The exporter notes this machine's source paths on every node, and an IR version that older
    # runtimes refuse only for the sake of those notes.
    graph = proto.graph
    for item in (proto, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        del item.metadata_props[:]
    proto.ir_version = IR_VERSION
    return proto


def export(
    run: Path,
    out: Path,
    data: str = "",
    provenance_of_data: str = "",
    weights: Path | None = None,
    note: str = "",
) -> Bundle:
    """Writes the bundle of a run that :func:`phydnn.train.train_phydnn` made, and validates it.

    The uncompressed network and the bundle are both scored on the test split. The folder is
    swapped in when it is complete, so that a failed export leaves an older bundle as it was.

    Args:
        run: the run's folder, holding phydnn/best.safetensors and backbone/best.safetensors.
        out: the bundle's folder; its last part becomes the bundle's name.
        data: the data set, if it has moved since training.
        provenance_of_data: a sentence for the model card; empty for the data set's name.
        weights: the backbone's checkpoint, if it is not the run's own.
        note: what else the model card should say about the training.

    Raises:
        InputError: the run is incomplete.
        RunError: ONNX Runtime does not answer as torch does.
    """
    weights = weights or run / "backbone" / "best.safetensors"
    source = run / "phydnn" / "best.safetensors"
    for path in (source, weights):
        if not path.is_file():
            raise InputError(f"{path} is missing: train it first")
    backbone = train.load_backbone(weights)
    base = checkpoint.load(weights)
    state = checkpoint.load(source)
    stored = state["config"]
    images = datasets.load(data or stored["data"], "test")
    if images.y is None:
        raise InputError(f"'{images.name}' has no labels to score the bundle on")
    phydnn, config = train.load_phydnn(source, backbone, images.x[:1])
    embedding = phydnn.embedding

    with replacing(out) as part:
        example = torch.from_numpy(images.x[:2])
        with torch.no_grad():
            write_graph(_Head(phydnn), example, "images", "slices", part / "head.onnx")
            slices = phydnn.slices(example)
            write_graph(_Tail(phydnn), slices, "slices", "logits", part / "tail.onnx")
        arrays = {
            "embeddings": embedding.embeddings.detach().numpy(),
            "points": torch.view_as_real(embedding.constellation()).detach().numpy(),
        }
        save_file(arrays, part / "arrays.safetensors")
        cost = costs(phydnn, torch.from_numpy(images.x[:1]))
        golden = _golden(phydnn, images)
        np.savez_compressed(part / "golden.npz", **golden)
        count, dim = golden["slices"].shape[1:]
        kind = config.data.partition(":")[0]
        meta: dict[str, Any] = {
            "schema": 1,
            "name": out.name,
            "version": "1",
            "system": "phydnn",
            "task": "classification",
            "dataset": {"name": kind, "provenance": provenance_of_data or kind},
            "classes": list(images.classes),
            "split": {"model": base["config"]["model"], "point": config.split, **cost},
            "input": {"shape": list(images.x.shape[1:]), "dtype": "uint8"},
            "slices": {"count": count, "dim": dim},
            "dictionary": {
                "size": len(embedding.embeddings),
                "lookup": config.lookup,
                "decision": config.decision,
            },
            "constellation": {
                "name": f"{len(embedding.embeddings)}-{config.constellation.upper()}"
            },
            # A constellation of constant power is worth keeping so on air.
            "precoding": config.constellation == "psk",
            "training": {
                "channel": config.channel,
                "snr_db": [config.snr_low, config.snr_high],
                "seed": config.seed,
                "mode": config.mode,
                "quantizer": config.quantizer,
                "epochs": config.epochs,
                "backbone_epochs": int(base["config"]["epochs"]),
                "note": note,
                **state["provenance"],
            },
            "opset": OPSET,
            "files": {
                name: sha256(part / name)
                for name in ("head.onnx", "tail.onnx", "arrays.safetensors", "golden.npz")
            },
            "metrics": {},
        }

        def metrics(bundle: Bundle) -> dict[str, Any]:
            return {
                "backbone": evaluate.backbone(backbone, images),
                "simulated": evaluate.sweep(bundle, images, SNR_DB),
            }

        finish(Bundle, part, meta, metrics, _model_card)
    return Bundle.load(out)


def export_backbone(
    weights: Path, out: Path, data: str = "", note: str = ""
) -> tuple[Path, dict[str, Any]]:
    """Writes a backbone's checkpoint for others to start from: small, and scored.

    Convolutions and matrices are rounded to float16; ``train.load_backbone`` and so ``--weights``
    take the file as they take any checkpoint. The optimiser and the path of the data stay out.

    Args:
        weights: the checkpoint, as ``train.train_backbone`` wrote it.
        out: the file to write.
        data: the data set, if it has moved since training.
        note: what else should be known about the training.

    Returns:
        ``out``, and accuracy, accuracy_ci95 and n on the test split, after rounding.

    Raises:
        InputError: no checkpoint of a backbone, the data cannot be scored, or ``out`` cannot be
            written.
    """
    train.load_backbone(weights)
    state = checkpoint.load(weights)
    kind = state["config"]["data"].partition(":")[0]
    rounded = {
        name: tensor.half() if name.endswith("weight") and tensor.ndim > 1 else tensor
        for name, tensor in state["model"].items()
    }
    kept = {
        "config": state["config"] | {"data": kind, "start": ""},
        "provenance": state["provenance"],
        "history": state["history"],
        "note": note,
        "model": rounded,
    }
    images = datasets.load(data or state["config"]["data"], "test")
    kept["metrics"] = evaluate.backbone(networks.from_checkpoint(kept), images)
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(out, kept)
    return out, kept["metrics"]


class _Device(nn.Module):
    def __init__(self, phydnn: PhyDNN) -> None:
        super().__init__()
        self.phydnn = phydnn

    def forward(self, images: Tensor) -> Tensor:
        return self.phydnn.embedding.labels(self.phydnn.slices(images))


def costs(phydnn: PhyDNN, image: Tensor) -> dict[str, int]:
    """What the device computes for one image, uint8 [1,C,H,W], and what the bare split would.

    MACs are torch's flop counter's (:func:`phydnn.complexity.macs`). The device's include the
    bottleneck and the search in the dictionary; both ends hold the dictionary.
    """
    bare = complexity.parameters(phydnn.head)
    coder = phydnn.embedding.embeddings.numel()
    if phydnn.bottleneck is not None:
        coder += sum(parameter.numel() for parameter in phydnn.bottleneck.encoder())
    return {
        "head_macs": complexity.macs(_Device(phydnn), image),
        "head_parameters": bare + coder,
        "split_macs": complexity.macs(phydnn.head, image),
        "split_parameters": bare,
    }


def _golden(phydnn: PhyDNN, images: Images) -> dict[str, np.ndarray[Any, Any]]:
    """The stages' answers by torch; Bundle.load then holds ONNX Runtime against them."""
    x = torch.from_numpy(images.x[:GOLDEN_BATCH])
    with torch.no_grad():
        slices = phydnn.slices(x)
        labels = phydnn.embedding.labels(slices)
        received = phydnn.embedding.embeddings[labels]
        logits = phydnn.classify(received)
    return {
        "images": x.numpy(),
        "slices": slices.contiguous().numpy(),
        "labels": labels.numpy().astype(np.int32),
        "symbols": phydnn.embedding.constellation()[labels].detach().numpy(),
        "received": received.numpy(),
        "logits": logits.numpy(),
    }


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A new folder for a bundle, which takes the place of ``out`` when all has gone well."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        part = Path(scratch) / out.name
        part.mkdir()
        yield part
        for path in part.iterdir():
            path.chmod(0o644)
        if out.exists():
            shutil.rmtree(out)
        os.replace(part, out)


def finish(
    kind: type[Kind],
    part: Path,
    meta: dict[str, Any],
    metrics: Callable[[Kind], dict[str, Any]],
    card: Callable[[dict[str, Any]], str],
) -> None:
    """Writes what a bundle says of itself: bundle.json, with its own metrics, and README.md.

    Args:
        kind: what the bundle is to be loaded as.
        part: its folder, with all the files that ``meta`` names.
        meta: bundle.json, its ``metrics`` empty.
        metrics: what they are, of the loaded bundle.
        card: README.md of the whole ``meta``.

    Raises:
        RunError: the bundle does not hold.
    """

    def write() -> None:
        text = json.dumps(meta, indent=2, ensure_ascii=False) + "\n"
        (part / "bundle.json").write_text(text, encoding="utf-8")

    write()
    try:
        bundle = kind.load(part)
    except InputError as error:
        raise RunError(f"the exported bundle does not hold: {error}") from error
    meta["metrics"] = metrics(bundle)
    write()
    (part / "README.md").write_text(card(meta), encoding="utf-8")


def _model_card(meta: dict[str, Any]) -> str:
    """The bundle's README.md."""

    def percent(entry: dict[str, Any]) -> str:
        low, high = (100 * bound for bound in entry["accuracy_ci95"])
        return f"{100 * entry['accuracy']:.2f} % ({low:.2f} to {high:.2f})"

    def cost(part: str) -> str:
        macs, parameters = (meta["split"][f"{part}_{kind}"] for kind in ("macs", "parameters"))
        return f"{macs / 1e6:.2f} M MACs, {parameters:,} parameters"

    training, metrics, split = meta["training"], meta["metrics"], meta["split"]
    dictionary, slices = meta["dictionary"], meta["slices"]
    shape = "x".join(map(str, meta["input"]["shape"]))
    low, high = training["snr_db"]
    rows = "\n".join(
        f"| PhyDNN, {m['channel'].upper()} {m['snr_db']:g} dB, simulated | {percent(m)} |"
        for m in metrics["simulated"]
    )
    return f"""# {meta["name"]}

A PhyDNN after Abdi et al., "PhyDNNs: Bringing Deep Neural Networks to the Physical Layer".

| | |
| --- | --- |
| network | {split["model"]}, split after `{split["point"]}` |
| on the device | {cost("head")} |
| the bare split | {cost("split")} |
| input | {shape}, bytes 0 to 255 |
| classes | {len(meta["classes"])} |
| channel uses an image | {slices["count"]}, one for each slice of {slices["dim"]} values |
| dictionary | {dictionary["size"]} embeddings, looked up by {dictionary["lookup"]} |
| constellation | {meta["constellation"]["name"]} |
| receiver | {dictionary["decision"]} lookup |
| data | {meta["dataset"]["provenance"]} |
| training channel | {training["channel"].upper()}, Es/N0 {low:g} to {high:g} dB |
| seed | {training["seed"]} |
| mode | {training["mode"]}, {training["quantizer"]} |

The uncompressed network is trained for {training["backbone_epochs"]} epochs, or brought along where
that is 0; the PhyDNN is then trained through the channel for
{training["epochs"]}. Epochs are chosen on a validation split held out of the training set.
{training["note"]}

| on the same {metrics["backbone"]["n"]} test images | accuracy (95 % interval) |
| --- | --- |
| uncompressed network | {percent(metrics["backbone"])} |
{rows}

`phydnn eval --bundle {meta["name"]} --data DATA --snr 4 8 12 16 20` measures it again. The model is
made for research on split inference over the air; it says nothing about pictures unlike those it
was trained on.
"""
