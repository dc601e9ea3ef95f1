# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""From a run of ``train deepsc`` to a bundle."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from phydnn import channel, checkpoint, compression, text
from phydnn.bundle import GOLDEN_BATCH, sha256
from phydnn.errors import InputError
from phydnn.evaluate_text import sweep
from phydnn.export import OPSET, finish, replacing, to_onnx
from phydnn.semantic import Receiver, Transceiver, Transmitter
from phydnn.text import Vocabulary
from phydnn.text_bundle import WRITTEN, TextBundle
from phydnn.train.deepsc import DeepscTask, load_deepsc

SNR_DB = (0.0, 6.0, 12.0, 18.0)
CHANNEL = "rician:2"
SCORED = 1000
"""Sentences of the test split that an exported bundle is scored on."""
FOLDERS = re.compile(r"(?<![\w.~])/(?:[^\s/]+/)+")
"""Of absolute paths: a bundle names the files that it was made from, not where they lay."""
STORED_SIZE = 1024
"""Weights from which a matrix is stored as integers."""


class _Encoder(nn.Module):
    def __init__(self, transmitter: Transmitter) -> None:
        super().__init__()
        self.transmitter = transmitter

    def forward(self, tokens: Tensor) -> Tensor:
        values: Tensor = self.transmitter(tokens)
        return values


class _Memory(nn.Module):
    def __init__(self, receiver: Receiver) -> None:
        super().__init__()
        self.receiver = receiver

    def forward(self, values: Tensor, n0: Tensor) -> tuple[Tensor, Tensor]:
        aligned, received = self.receiver.listen(values, n0)
        return aligned, torch.stack([torch.stack(pair, 1) for pair in received], 1)


class _Step(nn.Module):
    def __init__(self, receiver: Receiver) -> None:
        super().__init__()
        self.receiver = receiver

    def forward(
        self, token: Tensor, aligned: Tensor, received: Tensor, cache: Tensor
    ) -> tuple[Tensor, Tensor]:
        # Not a slice, whose bounds the exporter would hold against each other.
        places = cache.shape[4] + torch.arange(token.shape[1])
        pairs = [(pair[:, 0], pair[:, 1]) for pair in received.unbind(1)]
        past = [(pair[:, 0], pair[:, 1]) for pair in cache.unbind(1)]
        x, kept = self.receiver.write(token, aligned.index_select(1, places), pairs, past)
        return self.receiver.predict(x), torch.stack([torch.stack(pair, 1) for pair in kept], 1)


def export_text(
    run: Path, out: Path, data: str = "", provenance: str = "", note: str = ""
) -> TextBundle:
    """Writes the bundle of a run that :func:`phydnn.train.deepsc.train_deepsc` made.

    Weights of a run with ``weight_bits`` are rounded to them, and stored in the graphs as
    integers where those have 8 bits or fewer. The bundle is validated, and scored on sentences of
    the test split. The folder is swapped in when it is complete.

    Args:
        run: the run's folder, holding deepsc/best.safetensors.
        out: the bundle's folder; its last part becomes the bundle's name.
        data: the text to score it on; empty for what it was trained on.
        provenance: a sentence for the model card on what the text is.
        note: what else the model card should say about the training.

    Raises:
        InputError: the run is incomplete.
        RunError: ONNX Runtime does not answer as torch does.
    """
    source = run / "deepsc" / "best.safetensors"
    if not source.is_file():
        raise InputError(f"{source} is missing: train it first")
    task, vocabulary = load_deepsc(source)
    lines = text.load(data or task.config.data, "test")[:SCORED]
    kind = task.config.data.partition(":")[0]
    return export_task(
        task,
        vocabulary,
        out,
        lines,
        {"name": kind, "provenance": provenance or kind},
        {"note": note, **checkpoint.load(source)["provenance"]},
        SNR_DB,
    )


def export_task(
    task: DeepscTask,
    vocabulary: Vocabulary,
    out: Path,
    lines: Sequence[str],
    dataset: Mapping[str, str],
    made: Mapping[str, str],
    scored: Sequence[float] = (),
) -> TextBundle:
    """As :func:`export_text`, of a task at hand.

    Args:
        task, vocabulary: what to export. The task's weights are left rounded.
        out: the bundle's folder.
        lines: the first four are the golden sentences, and all are sent at each Es/N0 of
            ``scored``.
        dataset: ``name`` and ``provenance`` of the text.
        made: ``note``, ``command`` and ``git`` of the training.
        scored: Es/N0 in dB.

    Raises:
        RunError: ONNX Runtime does not answer as torch does.
    """
    config = task.config
    net = rounded(task)
    graphs, golden = _graphs(net, task, vocabulary, lines)
    with replacing(out) as part:
        for name, proto in graphs.items():
            if config.weight_bits and config.weight_bits <= 8:
                store_integers(proto, config.weight_bits)
            (part / name).write_bytes(proto.SerializeToString())
        (part / "vocabulary.model").write_bytes(vocabulary.model)
        np.savez_compressed(part / "golden.npz", **golden)
        meta: dict[str, Any] = {
            "schema": 1,
            "name": out.name,
            "version": "1",
            "system": TextBundle.SYSTEM,
            "task": "text",
            "dataset": dict(dataset),
            "vocabulary": {"size": len(vocabulary)},
            "shape": {
                name: value
                for name, value in dataclasses.asdict(net.shape).items()
                if name != "vocabulary"
            },
            "constellation": task.finite.constellation().written(),
            "decision": task.finite.decision,
            "precoding": False,
            "training": {
                "channel": config.channels,
                "snr_db": [config.snr_low, config.snr_high],
                "csi": config.csi,
                "seed": config.seed,
                "mode": config.mode,
                "epochs": config.epochs,
                "sentences": config.sentences,
                **made,
                "command": FOLDERS.sub("", made["command"]),
            },
            "compression": _compression(task, net, part.parent / "weights"),
            "opset": OPSET,
            "files": {path.name: sha256(path) for path in sorted(part.iterdir())},
            "metrics": {},
        }

        def metrics(bundle: TextBundle) -> dict[str, Any]:
            return {"simulated": sweep(bundle, lines, scored, CHANNEL, csi="refined")}

        finish(TextBundle, part, meta, metrics, _model_card)
    return TextBundle.load(out)


def rounded(task: DeepscTask) -> Transceiver:
    """The task's transceiver as it is stored: weights of the run's bits, activations as they are.

    Raises:
        InputError: the bits are out of range.
    """
    net = Transceiver(task.net.shape)
    task.settle()
    net.load_state_dict(task.net.state_dict())
    return net.eval()


def _compression(task: DeepscTask, net: Transceiver, scratch: Path) -> dict[str, Any]:
    """Ratios and real bytes of the network's weights."""
    arrays = {name: p.detach().numpy() for name, p in net.named_parameters()}
    bits = task.config.weight_bits or 32
    matrices = [p for p in net.parameters() if p.ndim > 1]
    return {
        "sparsity": task.config.sparsity,
        "weight_bits": bits,
        "psi": compression.psi(matrices, bits),
        "bytes": compression.write(scratch, arrays, bits),
        "bytes_uncompressed": 4 * sum(array.size for array in arrays.values()),
    }


@torch.no_grad()
def _graphs(
    net: Transceiver, task: DeepscTask, vocabulary: Vocabulary, lines: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The three graphs, and torch's answers that they must give."""
    first = (list(lines) * GOLDEN_BATCH)[:GOLDEN_BATCH]
    sentences = [vocabulary.encode(line)[:16] for line in first]
    tokens = torch.from_numpy(text.fill(sentences, 16))
    generator = torch.Generator().manual_seed(1)
    values = net.transmitter(tokens)
    symbols = task.finite.send(values)
    n0 = torch.full(symbols.shape, float(channel.n0_of(12.0)))
    symbols = symbols + n0.sqrt() * channel.complex_normal(symbols.shape, generator)
    received_values = task.finite.receive(symbols, n0)
    memory, step = _Memory(net.receiver), _Step(net.receiver)
    aligned, received = memory(received_values, n0)
    shape = net.shape
    cache = torch.zeros(len(tokens), shape.layers, 2, shape.heads, 0, shape.width // shape.heads)
    token = torch.full((len(tokens), WRITTEN), text.END)
    logits, cache = step(token, aligned, received, cache)
    token = logits.argmax(2)[:, -2:]
    logits, cache_next = step(token, aligned, received, cache)
    words = {0: "batch", 1: "tokens"}
    graphs = {
        "semantic_encoder.onnx": to_onnx(
            _Encoder(net.transmitter), {"tokens": tokens}, ["values"], {"tokens": words}
        ),
        "semantic_memory.onnx": to_onnx(
            memory,
            {"values": received_values, "n0": n0},
            ["aligned", "received"],
            {"values": words, "n0": words},
        ),
        "semantic_step.onnx": to_onnx(
            step,
            {"token": token, "aligned": aligned, "received": received, "cache": cache},
            ["logits", "cache_next"],
            {
                "token": {0: "batch", 1: "next"},
                "aligned": words,
                "received": {0: "batch", 4: "tokens"},
                "cache": {0: "batch", 4: "written"},
            },
        ),
    }
    golden = {
        "tokens": tokens,
        "values": values,
        "received_values": received_values,
        "n0": n0,
        "aligned": aligned,
        "received": received,
        "token": token,
        "cache": cache,
        "logits": logits,
        "cache_next": cache_next,
    }
    return graphs, {name: array.contiguous().numpy() for name, array in golden.items()}


def store_integers(proto: Any, bits: int) -> None:
    """Replaces a graph's large matrices, already rounded to ``bits`` <= 8, by int8 and a scale.

    ONNX Runtime multiplies them out once, when it loads the graph: it computes as before.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph, top = proto.graph, 2 ** (bits - 1) - 1
    nodes = []
    for initializer in list(graph.initializer):
        array = numpy_helper.to_array(initializer)
        if array.dtype != np.float32 or array.ndim < 2 or array.size < STORED_SIZE:
            continue
        scale = np.float32(np.abs(array).max() / top)
        numbers = np.rint(array / scale)
        if not np.allclose(numbers * scale, array, atol=1e-3 * float(scale)):
            # Position encodings, say, are no weights.
            continue
        name = initializer.name
        graph.initializer.remove(initializer)
        graph.initializer.extend(
            [
                numpy_helper.from_array(numbers.astype(np.int8), f"{name}_int8"),
                numpy_helper.from_array(np.array(scale), f"{name}_scale"),
            ]
        )
        nodes += [
            helper.make_node("Cast", [f"{name}_int8"], [f"{name}_cast"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name]),
        ]
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])


def _model_card(meta: dict[str, Any]) -> str:
    """The bundle's README.md."""
    training, shape, compressed = meta["training"], meta["shape"], meta["compression"]
    rows = "\n".join(
        f"| {m['snr_db']:g} dB | " + " | ".join(f"{value:.4f}" for value in m["bleu"]) + " |"
        for m in meta["metrics"]["simulated"]
    )
    low, high = training["snr_db"]
    return f"""# {meta["name"]}

A semantic transceiver for sentences after Xie and Qin, "A Lite Distributed Semantic Communication
System for Internet of Things".

| | |
| --- | --- |
| encoder, decoder | {shape["layers"]} layers, {shape["heads"]} heads, width {shape["width"]} each |
| channel uses a token | {shape["uses"]} |
| tokens | {meta["vocabulary"]["size"]}, bytes where a word has none |
| longest sentence | {shape["positions"]} tokens; what is longer goes in parts |
| constellation | {meta["constellation"]["bits"]} bits in each real dimension |
| weights | {compressed["weight_bits"]} bits, {100 * compressed["sparsity"]:g} % are zero |
| their file, coded | {compressed["bytes"]:,} bytes of {compressed["bytes_uncompressed"]:,} |
| ratio psi of the paper | {compressed["psi"]:.1f} |
| text | {meta["dataset"]["provenance"]} |
| trained over | {training["channel"]}, Es/N0 {low:g} to {high:g} dB, CSI {training["csi"]} |
| seed | {training["seed"]} |
| mode | {training["mode"]} |

Trained for {training["epochs"]} epochs of {training["sentences"]} sentences. {training["note"]}

| {CHANNEL}, refined CSI, simulated | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 |
| --- | --- | --- | --- | --- |
{rows}

BLEU is NLTK's, averaged over the first {SCORED:,} sentences of the test text. To measure it again:
`phydnn eval --bundle {meta["name"]} --data text:FILE --channel {CHANNEL} --csi refined --snr 12`.
The model has read one kind of English: what is unlike it arrives with more errors, and a sentence
that was changed on its way may read as if it were right.
"""
