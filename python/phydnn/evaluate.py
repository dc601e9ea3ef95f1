# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Monte-Carlo simulation of a bundle, symbol by symbol, without GNU Radio."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from phydnn import channel, networks, parallel
from phydnn.bundle import Bundle, open_session
from phydnn.datasets import Images
from phydnn.errors import InputError
from phydnn.results import wilson_interval

FRAME = 64
"""Images in a frame, which share a fade; the link's default batch."""


def batches(count: int) -> list[slice]:
    """Slices of FRAME images that cover ``count``."""
    return [slice(start, start + FRAME) for start in range(0, count, FRAME)]


def classified(
    classify: Callable[[NDArray[Any]], NDArray[Any]], x: NDArray[np.uint8], y: NDArray[np.int64]
) -> dict[str, Any]:
    """Accuracy of any classifier: ``classify`` turns a batch of images into logits [B,K]."""
    right = sum(int((classify(x[part]).argmax(1) == y[part]).sum()) for part in batches(len(x)))
    return score(right, len(x))


def backbone(network: torch.nn.Module, images: Images) -> dict[str, Any]:
    """Accuracy of an uncompressed network, in evaluation mode, on labelled images.

    Raises:
        InputError: images without labels, or that the network does not take.
    """
    if images.y is None or len(images) == 0:
        raise InputError(f"'{images.name}' has no labelled images to score")
    networks.check_logits(network, torch.from_numpy(images.x[:2]), len(images.classes))

    def classify(x: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return np.asarray(network(torch.from_numpy(x)).numpy())

    return classified(classify, images.x, images.y)


def score(right: int, count: int) -> dict[str, Any]:
    """The result keys of ``right`` out of ``count``: accuracy, its 95% interval and n."""
    return {
        "accuracy": right / count,
        "accuracy_ci95": list(wilson_interval(right, count)),
        "n": count,
    }


class Simulation:
    """A bundle's images on their way: the head runs once, each Es/N0 then costs a tail.

    It can be pickled: the labels that the head gave go with it, and the tail is opened anew.

    Args:
        bundle: what runs.
        images: labelled images of the bundle's input shape and classes.
        threads: of ONNX Runtime in the head; 0 for one a core. The tail has one, so that
            numbers do not depend on how many run at a time.

    Raises:
        InputError: images without labels, of another shape, or of other classes.
    """

    def __init__(self, bundle: Bundle, images: Images, threads: int = 0) -> None:
        if images.y is None or len(images) == 0:
            raise InputError(f"'{images.name}' has no labelled images to score")
        if images.x.shape[1:] != bundle.input_shape:
            raise InputError(
                f"'{images.name}' has images of {images.x.shape[1:]} "
                f"but bundle {bundle.name} takes {bundle.input_shape}"
            )
        if len(images.classes) != len(bundle.classes):
            raise InputError(
                f"'{images.name}' has {len(images.classes)} classes "
                f"but bundle {bundle.name} has {len(bundle.classes)}"
            )
        self.bundle, self._y = bundle, images.y
        self._tail = open_session(bundle.tail_path, threads=1)
        head = open_session(bundle.head_path, threads)
        self._labels = np.concatenate(
            [
                bundle.labels(head.run(None, {"images": images.x[part]})[0])
                for part in batches(len(images))
            ]
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_tail"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._tail = open_session(self.bundle.tail_path, threads=1)

    def run(
        self, snr_db: float, spec: str = "awgn", seed: int = 1, decision: str | None = None
    ) -> dict[str, Any]:
        """Sends all images once.

        Args:
            snr_db: Es/N0 in dB.
            spec: the channel, as :func:`phydnn.channel.named` takes it.
            seed: of the fades and the noise.
            decision: "hard" or "soft"; None for the bundle's own.

        Returns:
            accuracy, accuracy_ci95, n, seed, snr_db, channel, channel_uses (of all images) and
            decision.
        """
        bundle, decision = self.bundle, decision or self.bundle.decision
        if decision not in ("hard", "soft"):
            raise InputError(f"there is no decision '{decision}': choose hard or soft")
        fading, generator = channel.named(spec), torch.Generator().manual_seed(seed)
        points = torch.from_numpy(bundle.points)
        embeddings = torch.from_numpy(bundle.embeddings)
        n0 = channel.n0_of(snr_db)
        right = 0
        for part in batches(len(self._y)):
            labels = torch.from_numpy(self._labels[part]).long()
            # One row, and so one fade, a frame.
            symbols, noise = channel.transmit(points[labels].reshape(1, -1), n0, fading, generator)
            if decision == "hard":
                slices = embeddings[channel.hard_labels(symbols, points)]
            else:
                slices = channel.posteriors(symbols, points, noise) @ embeddings
            received = slices.reshape(*labels.shape, bundle.dim).numpy()
            logits = self._tail.run(None, {"slices": received})[0]
            right += int((logits.argmax(1) == self._y[part]).sum())
        return {
            **score(right, len(self._y)),
            "seed": seed,
            "snr_db": snr_db,
            "channel": spec,
            "channel_uses": self._labels.size,
            "decision": decision,
        }


def sweep(
    bundle: Bundle,
    images: Images,
    snr_db: Sequence[float],
    spec: str = "awgn",
    seed: int = 1,
    decision: str | None = None,
    workers: int = 1,
    cluster: str = "",
    advance: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """:meth:`Simulation.run` at each Es/N0 of ``snr_db``, each with the same seed.

    The numbers are the same whatever the number of workers.

    Args:
        workers, cluster: see :func:`phydnn.parallel.each`.
        advance: called after each Es/N0.
    """
    work = functools.partial(
        Simulation(bundle, images).run, spec=spec, seed=seed, decision=decision
    )
    rows: dict[int, dict[str, Any]] = {}
    for index, row in parallel.each(work, snr_db, workers, cluster):
        if isinstance(row, parallel.Failure):
            raise row.error
        rows[index] = row
        advance()
    return [rows[index] for index in range(len(snr_db))]
