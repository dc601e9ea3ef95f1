# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Where to split a network: what each point costs the device, the air and the edge.

The network is traced once and run node by node, so that even a deep one with a hundred points
takes a second or two. What a split does to accuracy only training tells.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from phydnn import checkpoint, complexity, networks
from phydnn.embedding import to_slices
from phydnn.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EFFICIENCY = 0.7277
"""Payload channel uses a sample, everything on air counted: ``phydnn bench waveform`` measures it
over 65,536 uses."""
SAMPLE_RATE = 20e6
"""In samples per second."""
RUNS = 15
"""That latencies are taken from, after one to warm up."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """A point to split at.

    Attributes:
        point: the submodule's name.
        latent: the shape of one image's latent.
        values: how many numbers that is.
        uses: channel uses an image without a bottleneck, one for each slice across channels.
        macs: the head's multiply-accumulates for an image; ``macs_share`` of the network's.
        parameters: the head's; ``parameters_share`` of the network's.
        head_ms, air_ms, tail_ms, total_ms: latency of a batch.
        suggested: no other point costs the device less for as small a latent.
    """

    point: str
    latent: tuple[int, ...]
    values: int
    uses: int
    macs: int
    macs_share: float
    parameters: int
    parameters_share: float
    head_ms: float
    air_ms: float
    tail_ms: float
    total_ms: float
    suggested: bool = False


class _Meter(fx.Interpreter):
    """Runs a traced network, and reads a meter after each node."""

    def __init__(self, module: fx.GraphModule, read: Callable[[Any], Any]) -> None:
        super().__init__(module)
        self._read = read
        self.readings: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.readings[n] = self._read(value)
        return value


def survey(
    network: nn.Module,
    shape: tuple[int, int, int],
    *,
    batch: int = 1,
    efficiency: float = EFFICIENCY,
    sample_rate: float = SAMPLE_RATE,
    device_gmacs: float = 0.0,
    edge_gmacs: float = 0.0,
) -> list[Point]:
    """Every point at which a network can be split with something to learn on either side.

    Args:
        network: as :func:`phydnn.networks.build` gives it, in evaluation mode.
        shape: (C, H, W) of an image.
        batch: images a batch, for the latencies.
        efficiency: payload channel uses a sample.
        sample_rate: in samples per second.
        device_gmacs, edge_gmacs: the device's and the edge's speed in 1e9 multiply-accumulates
            per second, which latencies are then predicted from; 0 to measure with torch here.

    Returns:
        the points, in the order that they run.

    Raises:
        InputError: the network cannot be traced, does not take such images, or has no point.
    """
    for name, value, least in (
        ("batch", batch, 1),
        ("efficiency", efficiency, 1e-3),
        ("sample rate", sample_rate, 1.0),
        ("device's GMAC/s", device_gmacs, 0.0),
        ("edge's GMAC/s", edge_gmacs, 0.0),
    ):
        if not least <= value < float("inf"):
            raise InputError(f"the {name} is {value:g} but must be {least:g} or more")
    # Two images, to tell a latent's batch axis from the others.
    images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    networks.check_logits(network, images)
    traced, cuts = networks.cuts(network)
    with complexity.counting() as count:
        counted = _Meter(traced, lambda value: (count.get_total_flops(), value))
        counted.run(images)
    total = count.get_total_flops()
    clock = _clock(traced, images[:1].repeat(batch, 1, 1, 1))
    end = max(clock.values())
    held = _parameters(traced)
    everything = set().union(*held.values())
    before: set[nn.Parameter] = set()
    heads = {}
    for node in traced.graph.nodes:
        before = before | held[node]
        heads[node] = before

    points = []
    for name, node in cuts.items():
        flops, latent = counted.readings[node]
        head = sum(parameter.numel() for parameter in heads[node])
        tail = sum(parameter.numel() for parameter in everything - heads[node])
        if not (head and tail and isinstance(latent, Tensor) and latent.is_floating_point()):
            continue
        if latent.ndim not in (2, 3, 4) or len(latent) != len(images):
            continue
        uses = to_slices(latent).shape[1]
        head_ms, tail_ms = 1e3 * clock[node], 1e3 * (end - clock[node])
        if device_gmacs:
            head_ms = batch * flops / 4e6 / device_gmacs
        if edge_gmacs:
            tail_ms = batch * (total - flops) / 4e6 / edge_gmacs
        air_ms = 1e3 * batch * uses / efficiency / sample_rate
        points.append(
            Point(
                point=name,
                latent=tuple(latent.shape[1:]),
                values=latent[0].numel(),
                uses=uses,
                # Two operations make a multiply-accumulate, and there were two images.
                macs=flops // 4,
                macs_share=flops / max(1, total),
                parameters=head,
                parameters_share=head / (head + tail),
                head_ms=head_ms,
                air_ms=air_ms,
                tail_ms=tail_ms,
                total_ms=head_ms + air_ms + tail_ms,
            )
        )
    if not points:
        raise InputError("the network has no point to split at: a shortcut goes round each")
    return _suggest(points)


def _clock(traced: fx.GraphModule, images: Tensor) -> dict[fx.Node, float]:
    """Seconds from the start until each node is done.

    The sum of each node's median over RUNS, so that what else the processor does now and then
    does not count.
    """
    runs = []
    with torch.no_grad():
        for _ in range(RUNS + 1):
            meter = _Meter(traced, lambda _: time.perf_counter())
            begun = time.perf_counter()
            meter.run(images)
            runs.append(np.diff([begun, *meter.readings.values()]))
    times = np.median(runs[1:], axis=0).cumsum()
    return dict(zip(meter.readings, times.tolist(), strict=True))


def _parameters(traced: fx.GraphModule) -> dict[fx.Node, set[nn.Parameter]]:
    """The parameters that each node uses."""
    held: dict[fx.Node, set[nn.Parameter]] = {}
    for node in traced.graph.nodes:
        held[node] = set()
        if node.op == "call_module":
            held[node].update(traced.get_submodule(str(node.target)).parameters())
        elif node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            value = getattr(traced.get_submodule(owner), name)
            if isinstance(value, nn.Parameter):
                held[node].add(value)
    return held


def _suggest(points: list[Point]) -> list[Point]:
    """Marks the Pareto front of head MACs against the latent's size; of equals, the last to run."""

    def beaten(i: int) -> bool:
        cost = points[i].macs, points[i].values
        return any(
            (other.macs, other.values) != cost or j > i
            for j, other in enumerate(points)
            if other.macs <= cost[0] and other.values <= cost[1] and j != i
        )

    return [dataclasses.replace(p, suggested=not beaten(i)) for i, p in enumerate(points)]


def load(
    model: str, weights: Path | None, shape: tuple[int, int, int] | None
) -> tuple[nn.Module, str]:
    """The network to survey, in evaluation mode, and its name.

    Args:
        model: as :func:`phydnn.networks.build` takes it; empty for what ``weights`` holds.
        weights: with ``model``, as :func:`phydnn.networks.read_weights` takes it, or None;
            without, a backbone's checkpoint or the folder of a run.
        shape: (C, H, W) of an image; needed with ``model``.

    Raises:
        InputError: neither is given, or they do not fit.
    """
    if model:
        if shape is None:
            raise InputError("give --data, or the images' --shape C,H,W")
        # What the network costs does not depend on the normalisation.
        network = networks.build(model, 10, [127.5] * shape[0], [127.5] * shape[0])
        if weights is not None:
            networks.load_foreign(network, networks.read_weights(weights))
        return network.eval(), model
    if weights is None:
        raise InputError("give the network: --model NAME, or --weights with a checkpoint")
    path = weights / "backbone" / "best.safetensors" if weights.is_dir() else weights
    state = checkpoint.load(path)
    try:
        return networks.from_checkpoint(state), str(state["config"]["model"])
    except KeyError as error:
        raise InputError(f"{path} is no backbone's checkpoint: {error}") from error


def draw(figure: Figure, rows: list[dict[str, Any]]) -> None:
    """Latent size against the head's MACs.

    Args:
        figure: to be filled.
        rows: :class:`Point` as dicts, each with ``image_values`` and ``model`` beside.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from phydnn.experiments import plots

    axis = figure.subplots()
    axis.set_title(f"Points to split {rows[0]['model']} at")
    axis.set_xlabel("multiply-accumulates of the head, millions an image")
    axis.set_ylabel("values in the latent of an image")
    axis.set_yscale("log")
    groups = sorted(plots.group(rows, "uses").items(), reverse=True)
    for i, (uses, group) in enumerate(groups):
        look: dict[str, Any] = {
            "color": plots.COLOURS[i % len(plots.COLOURS)],
            "marker": plots.MARKERS[i % len(plots.MARKERS)],
        }
        axis.plot(
            [row["macs"] / 1e6 for row in group],
            [row["values"] for row in group],
            linestyle="",
            label=f"{uses:,} channel use{'s' if uses > 1 else ''}",
            **look,
        )
        for row in group:
            if row["suggested"]:
                place = (row["macs"] / 1e6, row["values"])
                axis.plot(*place, markersize=10, fillstyle="none", **look)
                axis.annotate(
                    row["point"], place, xytext=(0, 8), textcoords="offset points", ha="center"
                )
    size = rows[0]["image_values"]
    axis.axhline(size, color=plots.GREY, linewidth=0.8, linestyle="--")
    axis.annotate(
        "the image itself",
        (0.99, size),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        color=plots.GREY,
        fontsize=8,
    )
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.margins(x=0.08, y=0.15)
    axis.plot([], [], "o", color=plots.GREY, markersize=10, fillstyle="none", label="suggested")
    axis.legend(loc="best")
