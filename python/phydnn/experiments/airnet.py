# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Points and rows of AirNet: networks that are trained, delivered over a simulated channel, run."""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phydnn.errors import InputError
from phydnn.experiments import RESULTS, Point, Row, Settings, inference, plots
from phydnn.results import wilson_interval

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import nn

    from phydnn.airnet import Plain, Served
    from phydnn.datasets import Images
    from phydnn.train.airnet import AirnetConfig

SOURCE = (
    "M. Jankowski, D. Gündüz and K. Mikolajczyk, AirNet: Neural Network Transmission over the Air, "
    "journal version (arXiv 2105.11166), {}. Its curves were not at hand: rows hold the paper's "
    "number only where its text gives one"
)
OPTIONS = {"recipe": "airnet", "run": "", "provenance": "", "deliveries": 20, "images": 0}
"""The recipe; the folder of a finished ``phydnn train airnet``, to be measured instead of trained;
the data in words; deliveries of a point; test images, the first so many, or 0 for all."""
QUICK: dict[str, dict[str, Any]] = {
    "backbone": {"epochs": 8},
    "airnet": {"epochs": 7, "bandwidth": 40_000, "prune_share": 0.2},
}
SNRS = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0)
PAPER_A0 = {("awgn", 15.0): {"loss_points": 0.0}}
"""What the journal's text says: at 15 dB the noiseless accuracy is recovered."""
CHANCE_FADES = 4001
FEW = 4000


def point(
    settings: Settings,
    scheme: str,
    snr_db: float,
    channel: str = "awgn",
    seed: int = 1,
    airnet: Mapping[str, Any] | None = None,
    model: str = "",
    backbone: Mapping[str, Any] | None = None,
) -> Point:
    """A point: a network, trained once for all that share it, and a way to deliver it.

    Args:
        settings: quick ones train on the digits in seconds.
        scheme: the row's name, and what :func:`measure` does.
        snr_db: Es/N0, over Rayleigh fading its mean.
        channel: "awgn" or "rayleigh", one fade a delivery.
        seed: of the noise.
        airnet: settings of :class:`phydnn.train.airnet.AirnetConfig` in place of the recipe's,
            with which the network is trained for the purpose.
        model: the backbone, in place of the recipe's.
        backbone: more settings of :class:`phydnn.train.config.BackboneConfig` in place of the
            recipe's.
    """
    options = OPTIONS | settings.options
    quick = QUICK if settings.quick else {"backbone": {}, "airnet": {}}
    own = ({"model": model} if model else {}) | dict(backbone or {})
    made: Point = {
        "scheme": scheme,
        "recipe": "airnet-digits" if settings.quick else str(options["recipe"]),
        "data": "digits" if settings.quick else inference.need_data(settings),
        "provenance": options["provenance"],
        "backbone": quick["backbone"] | own,
        "airnet": quick["airnet"] | dict(airnet or {}),
        "channel": channel,
        "snr_db": snr_db,
        "seed": seed,
        "deliveries": 6 if settings.quick else options["deliveries"],
        "images": 0 if settings.quick else options["images"],
    }
    # A backbone with settings of its own is not the run's.
    if run := "" if settings.quick or own else str(options["run"]):
        weights = Path(run).resolve() / "backbone" / "best.safetensors"
        ready = Path(run).resolve() / "airnet" / "best.safetensors"
        made |= {"weights": str(weights), "weights_sha256": _digest(weights)}
        if not airnet:
            made |= {"run": str(ready.parent), "run_sha256": _digest(ready)}
    return made


def few(settings: Settings, scheme: str, snr_db: float, channel: str = "awgn") -> Point:
    """A :func:`point` of a digital baseline, on FEW images at most: its coder takes the time."""
    made = point(settings, scheme, snr_db, channel)
    if not settings.quick:
        made["images"] = min(FEW, made["images"] or FEW)
    return made


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; phydnn train airnet") from error


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A point's networks.

    Attributes:
        backbone: the unpruned network; ``reference``: which images of ``test`` it gets right.
        low, high: the boundary networks; the same where there is one.
        sensitivity: of each layer, where power is allocated.
        train: images as the training showed them.
    """

    backbone: nn.Module
    low: nn.Module
    high: nn.Module
    config: AirnetConfig
    sensitivity: dict[str, float] | None
    train: Images
    test: Images
    reference: NDArray[np.bool_]

    def at(self, snr_db: float) -> nn.Module:
        """The network for an Es/N0, and at the ends beyond."""
        from phydnn import airnet

        reach = self.config.snr_high - self.config.snr_low
        alpha = (snr_db - self.config.snr_low) / reach if reach else 0.0
        return airnet.boundary(self.low, self.high, min(1.0, max(0.0, alpha)))

    def noise(self) -> dict[str, float]:
        """Each layer's noise power over N0, as it was trained for."""
        from phydnn.train.airnet import noise_of

        return {} if self.sensitivity is None else noise_of(self.low, self.sensitivity)


@functools.lru_cache(maxsize=6)
def served(networks: Trained, which: str = "", uniform: bool = False) -> Served:
    """The networks with their side information, as a bundle has them.

    Args:
        networks: of a point.
        which: "low end only" or "high end only", whatever the Es/N0; else the interpolation.
        uniform: gives all layers the same power.
    """
    import torch

    from phydnn import airnet

    config = networks.config
    low, high = networks.low, networks.high
    if which == "low end only":
        high = low
    if which == "high end only":
        low = high
    generator = torch.Generator().manual_seed(config.seed)
    noise = {} if uniform else networks.noise()
    ends = (config.snr_low, config.snr_high)
    return airnet.serve(low, high, ends, networks.train, noise, generator)


@functools.lru_cache(maxsize=16)
def sensitivity(networks: Trained, snr_db: float, measure: str) -> dict[str, float]:
    """Each layer's, of the network for an Es/N0; :func:`phydnn.protection.sensitivities`."""
    from phydnn import protection

    n0 = min(10 ** (-snr_db / 10), 0.1)
    return protection.sensitivities(networks.at(snr_db), networks.train, measure, n0=n0)


def trained(point: Point, folder: Path) -> Trained:
    """A point's networks: those of the run that it names, or trained now for all that share them.

    Whoever comes first trains; others on this machine wait until it is there.
    """
    if "run" in point:
        return _load(point["weights"], point["run"], point["data"], point["images"])
    from phydnn import train
    from phydnn.train import airnet

    weights = inference.backbone(point, folder)
    values = point["airnet"] | {"data": point["data"], "threads": 1}
    config = train.read_config(
        airnet.AirnetConfig, "airnet", point["recipe"], inference.overrides(values)
    )
    identity = repr(config) + hashlib.sha256(weights.read_bytes()).hexdigest()
    name = hashlib.sha256(identity.encode()).hexdigest()[:16]
    out = folder.parent.parent / "airnets" / name
    out.mkdir(parents=True, exist_ok=True)
    with (out / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        airnet.train_airnet(config, weights, out)
    return _load(str(weights), str(out), point["data"], point["images"])


@functools.lru_cache(maxsize=2)
def _load(weights: str, run: str, data: str, images: int) -> Trained:
    from phydnn import airnet, datasets, train
    from phydnn.train.airnet import load_airnet, read_noise

    backbone = train.load_backbone(Path(weights))
    low, high, config = load_airnet(Path(run) / "best.safetensors", backbone)
    kept = Path(run) / "sensitivity.json"
    test = datasets.load(data, "test").take(slice(images or None))
    return Trained(
        backbone,
        low,
        high,
        config,
        read_noise(kept, low) if kept.is_file() else None,
        train.shown(datasets.load(data, "train"), config),
        test,
        airnet.right(backbone, test),
    )


def row(point: Point, networks: Trained, client: nn.Module | None, found: Row) -> Row:
    """What every row has, with what was found for this one."""
    from phydnn import airnet, pruning

    kind = point["data"].partition(":")[0]
    shape = {} if client is None else {"bytes": airnet.side_bytes(client)}
    return {
        "system": "airnet",
        "scheme": point["scheme"],
        "model": _model(point),
        "dataset": kind,
        "provenance": point["provenance"] or kind,
        "channel": point["channel"],
        "snr_db": point["snr_db"],
        "channel_uses": airnet.uses(networks.low),
        "weights": pruning.count(networks.low),
        **shape,
        **found,
        "a0": float(networks.reference.mean()),
        "seed": point["seed"],
        "paper": PAPER_A0.get((point["channel"], point["snr_db"])) if kind == "cifar10" else None,
    }


def _model(point: Point) -> str:
    """The backbone's: the run's, or that of the settings it was trained with."""
    from phydnn import checkpoint, train

    if "weights" in point:
        return str(checkpoint.load(Path(point["weights"]))["config"]["model"])
    given = inference.overrides({"data": point["data"]} | point["backbone"])
    return train.read_config(train.BackboneConfig, "backbone", point["recipe"], given).model


class Faded:
    """Deliveries over slow Rayleigh fading: one fade each, which the client knows.

    The fades are drawn one from each of as many parts of equal probability as there are deliveries,
    in random order: a mean over them is nearer to that over all fades than one over free draws.

    Args:
        snr_db: mean Es/N0.
        count: deliveries.
        power: as of :class:`phydnn.airnet.Plain`.

    Attributes:
        fades: the Es/N0 in dB of each delivery; they are taken in turn.
    """

    def __init__(
        self,
        snr_db: float,
        count: int,
        generator: torch.Generator,
        power: Mapping[str, float],
    ) -> None:
        import torch

        drawn = torch.rand(count, generator=generator, dtype=torch.float64)
        shares = (torch.randperm(count, generator=generator) + drawn) / count
        fades = -torch.log1p(-shares.clamp(max=1 - 1e-12))
        self.fades: list[float] = (snr_db + 10 * torch.log10(fades + 1e-12)).tolist()
        self._generator, self._power, self._next = generator, power, 0
        self._last = plain(snr_db, generator, power)

    def __call__(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        fade = self.fades[self._next % len(self.fades)]
        self._next += 1
        self._last = plain(fade, self._generator, self._power)
        return self._last(weights)

    def tau(self, name: str) -> float:
        """Of the last delivery; see :class:`phydnn.airnet.Plain`."""
        return self._last.tau(name)


def plain(snr_db: float, generator: torch.Generator, power: Mapping[str, float]) -> Plain:
    """An uncoded delivery at an Es/N0."""
    from phydnn import airnet

    return airnet.Plain(10 ** (-snr_db / 10), generator, power)


def of_delivery(point: Point, folder: Path) -> Row:
    """AirNet as it was trained, or with its scheme's one change.

    Schemes: "uniform power"; "low end only" and "high end only", whatever the Es/N0; "CSI at both
    ends" over fading; any other name is AirNet as it was trained.
    """
    import torch

    from phydnn import airnet

    networks, scheme = trained(point, folder), point["scheme"]
    generator = torch.Generator().manual_seed(point["seed"])
    snr_db, count = float(point["snr_db"]), point["deliveries"]
    made = served(networks, scheme if scheme.endswith("only") else "", scheme == "uniform power")
    client, send = made.at(snr_db), plain(snr_db, generator, made.noise)
    if point["channel"] == "rayleigh":
        faded = Faded(snr_db, count, generator, made.noise)
        if scheme.endswith("both ends"):
            # Fading that the server knows as well: it sends the network for each fade.
            shares = [
                airnet.right(
                    airnet.receive(made.at(fade), plain(fade, generator, made.noise)),
                    networks.test.take(slice(part, None, count)),
                )
                for part, fade in enumerate(faded.fades)
            ]
            found = airnet.over_deliveries(shares, networks.reference)
            return row(point, networks, client, found)
        # Side information suits the typical fade: a mean over all would be the deep ones'.
        client = made.at(snr_db - 1.6)
        found = airnet.measure(client, networks.test, faded, count, networks.reference)
    else:
        found = airnet.measure(client, networks.test, send, count, networks.reference)
    return row(point, networks, client, found)


def of_code(point: Point, folder: Path) -> Row:
    """The same network by a code that takes more channel uses, at the same power for all layers.

    Schemes: "plain", "repetition 1:2", "spiral 1:2", "spiral 1:2, nearest", and likewise 1:4.
    """
    from phydnn import airnet, pruning, spiral

    networks = trained(point, folder)
    kind, _, rest = point["scheme"].partition(" 1:")
    reals, _, rule = rest.partition(", ")
    snr_db, factor = float(point["snr_db"]), int(reals or 1)
    if kind == "spiral":
        code = spiral.code_for(snr_db, expansion=factor.bit_length() - 1)
    else:
        code = spiral.code_for(snr_db, repeats=factor)
    network = networks.at(snr_db + (10 * math.log10(factor)))
    send = airnet.Coded(
        dict.fromkeys(pruning.weights(network), code),
        10 ** (-snr_db / 10),
        np.random.default_rng(point["seed"]),
        "nearest" if rule else "mmse",
    )
    # A client knows what its decoder leaves on average; few draws say that.
    client = airnet.deploy(network, networks.train, send, draws=4)
    count = point["deliveries"]
    found = airnet.measure(client, networks.test, send, count, networks.reference)
    uses = sum(code.uses(weight.numel()) for weight in airnet.weights_of(client).values())
    return row(point, networks, client, found) | {"channel_uses": uses}


def of_protection(point: Point, folder: Path) -> Row:
    """The network for the low end with unequal error protection, in more bandwidth than it needs.

    Schemes: "uniform", "power" (allocated, as it was trained for or by "loss"), "repetition by
    MEASURE" (Algorithm 2) and "repetition and power" (of the same mean over all symbols); a remark
    may follow after a comma. ``point["spare"]`` is the bandwidth over that of one symbol a weight.
    """
    import torch

    from phydnn import airnet, protection, pruning

    networks, scheme = trained(point, folder), point["scheme"].partition(",")[0]
    network = networks.at(float(point["snr_db"]))
    counts = {name: weight.numel() for name, weight in pruning.weights(network).items()}
    n0 = 10 ** (-float(point["snr_db"]) / 10)
    measure = scheme.partition(" by ")[2]
    copies, power = dict.fromkeys(counts, 1), dict.fromkeys(counts, 1.0)
    if scheme != "uniform":
        # Power goes as the network was trained for it to, where it was.
        known = None if measure else networks.sensitivity
        found = known or sensitivity(networks, float(point["snr_db"]), measure or "loss")
        if scheme.startswith("repetition"):
            budget, most = int(point["spare"] * sum(counts.values())), range(1, 9)
            levels = protection.expand(found, counts, budget, most, [1 / copy for copy in most])
            copies = {name: most[level] for name, level in levels.items()}
        if scheme.endswith("power"):
            power = protection.allocate_power(found, counts, copies=copies)
    noise = {name: 1 / (copies[name] * power[name]) for name in counts}
    uses = -(-sum(copies[name] * count for name, count in counts.items()) // 2)
    generator = torch.Generator().manual_seed(point["seed"])
    send = airnet.Plain(n0, generator, noise)
    client = airnet.deploy(network, networks.train, send, draws=8)
    count = point["deliveries"]
    figures = airnet.measure(client, networks.test, send, count, networks.reference)
    return row(point, networks, client, figures) | {"channel_uses": uses, "spare": point["spare"]}


def of_mismatch(point: Point, folder: Path) -> Row:
    """What was prepared for ``point["expected_db"]`` and meets another Es/N0.

    Schemes: "AirNet", whose side information is for the expected one, and "quantised, capacity",
    which arrives whole down to that and not at all below.
    """
    import torch

    from phydnn import airnet

    networks, expected = trained(point, folder), float(point["expected_db"])
    if point["scheme"] == "AirNet":
        client = served(networks).at(expected)
        generator = torch.Generator().manual_seed(point["seed"])
        send = plain(point["snr_db"], generator, networks.noise())
        count = point["deliveries"]
        found = airnet.measure(client, networks.test, send, count, networks.reference)
    else:
        client, accuracy = None, 1 / len(networks.test.classes)
        if point["snr_db"] >= expected:
            budget = capacity_bytes(airnet.uses(networks.low), expected)
            accuracy = digital(networks, budget, expected, "AirNet's network", "quantised")[0]
        found = _whole(networks, accuracy)
    return row(point, networks, client, found) | {"expected_db": expected}


def capacity_bytes(uses: int, snr_db: float) -> int:
    """What so many channel uses carry at Shannon's capacity."""
    return int(uses * math.log2(1 + 10 ** (snr_db / 10)) / 8)


@functools.cache
def codes() -> list[dict[str, float]]:
    """Measured codes: bits a use and the Es/N0 in dB that each needs, from testbed/ldpc.py."""
    path = RESULTS / "airnet_ldpc.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["codes"]
        return [{"bits": float(code["bits"]), "snr_db": float(code["snr_db"])} for code in found]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no codes: run testbed/ldpc.py ({error})") from error


def coded_bytes(uses: int, snr_db: float) -> int:
    """What so many channel uses carry by the best of :func:`codes`."""
    bits = [code["bits"] for code in codes() if code["snr_db"] <= snr_db]
    return int(uses * max(bits, default=0.0) / 8)


@functools.lru_cache(maxsize=64)
def digital(
    networks: Trained, budget: int, snr_db: float, source: str, coder: str
) -> tuple[float, int, int]:
    """A network as bytes that arrive without error.

    Args:
        networks: of the point.
        budget: bytes, side information included.
        snr_db: for which AirNet would send; "AirNet's network" is the one for it.
        source: "unpruned" or "AirNet's network".
        coder: "quantised" or "SuRP".

    Returns:
        accuracy on the test set, the bytes of the weights, and those of side information; the
        accuracy of a guess, and 0 bytes, where nothing fits.
    """
    import torch

    from phydnn import airnet, protection, pruning, weight_codec

    network = networks.backbone if source == "unpruned" else networks.at(snr_db)
    tensors = {name: w.detach().numpy() for name, w in pruning.weights(network).items()}
    shapes = {name: w.shape for name, w in tensors.items()}
    code, restore = {
        "quantised": (weight_codec.quantise, weight_codec.dequantise),
        "SuRP": (weight_codec.prune_successively, weight_codec.restore_pruned),
    }[coder]
    side = airnet.side_bytes(
        airnet.deploy(network, networks.train, lambda weights: weights, draws=1)
    )
    coarseness = dict.fromkeys(tensors, 1.0)
    if networks.sensitivity is not None:
        counts = {name: w.size for name, w in tensors.items()}
        power = protection.allocate_power(networks.sensitivity, counts)
        coarseness = {name: power[name] ** -0.5 for name in tensors}
    try:
        stream = weight_codec.fit(tensors, coarseness, budget - side, code)
    except InputError:
        return 1 / len(networks.test.classes), 0, side
    restored = {name: torch.from_numpy(w) for name, w in restore(stream, shapes).items()}
    # No noise is left to be averaged over, only what images differ in.
    client = airnet.deploy(network, networks.train, lambda weights: restored, draws=4)
    arrived = airnet.receive(client, lambda weights: restored)
    return airnet.accuracy(arrived, networks.test), len(stream), side


def _whole(networks: Trained, accuracy: float) -> Row:
    """A row's figures where all images are classified by one network."""
    n = len(networks.test)
    return {
        "accuracy": accuracy,
        "ci95": list(wilson_interval(round(accuracy * n), n)),
        "n": n,
        "loss_points": 100 * (float(networks.reference.mean()) - accuracy),
    }


def of_digital(point: Point, folder: Path) -> list[Row]:
    """A digital baseline over AWGN; its scheme is "SOURCE, CODER, capacity or LDPC"."""
    from phydnn import airnet

    networks = trained(point, folder)
    source, coder, carrier = point["scheme"].split(", ")
    uses = airnet.uses(networks.low)
    carry = capacity_bytes if carrier == "capacity" else coded_bytes
    budget = carry(uses, point["snr_db"])
    accuracy, size, side = digital(networks, budget, point["snr_db"], source, coder)
    found = {"bytes": size + side, "bytes_carried": budget, **_whole(networks, accuracy)}
    return [row(point, networks, None, found)]


def of_faded_digital(point: Point, folder: Path) -> list[Row]:
    """A digital baseline over slow Rayleigh fading, at capacity.

    With CSI at the receiver only the server picks one rate, the best in the mean, and fades below
    it are outages, in which the client guesses. With CSI at both ends each fade gets the network
    that fits its capacity.
    """
    from phydnn import airnet

    networks = trained(point, folder)
    source, coder, csi = point["scheme"].split(", ")
    uses = airnet.uses(networks.low)
    guess = 1 / len(networks.test.classes)
    levels = np.arange(-5.0, 30.1, 5.0)
    curve = np.array(
        [
            digital(networks, capacity_bytes(uses, snr), snr, source, coder)[0]
            for snr in levels.tolist()
        ]
    )
    rows = []
    for mean_db in point["snrs_db"]:
        mean = 10 ** (mean_db / 10)
        # Midpoints of equal probability.
        shares = (np.arange(CHANCE_FADES) + 0.5) / CHANCE_FADES
        fades = 10 * np.log10(-mean * np.log1p(-shares))
        if csi == "CSI at both ends":
            accuracy = float(np.interp(fades, levels, curve, left=guess).mean())
        else:
            arrives = np.exp(-(10 ** (levels / 10)) / mean)
            accuracy = float((arrives * curve + (1 - arrives) * guess).max())
        found = _whole(networks, accuracy)
        rows.append(row(point | {"snr_db": mean_db}, networks, None, found))
    return rows


def draw(figure: Figure, rows: Sequence[Row], title: str, key: str = "snr_db") -> None:
    """Accuracy by scheme over Es/N0, or over another key of the rows."""
    axis = figure.subplots()
    for i, (scheme, mine) in enumerate(plots.group(rows, "scheme").items()):
        ordered = sorted(mine, key=lambda entry: float(entry[key]))
        value, reach = plots.percent(ordered)
        axis.errorbar(
            [entry[key] for entry in ordered],
            value,
            yerr=reach,
            marker=plots.MARKERS[(i + i // len(plots.COLOURS)) % len(plots.MARKERS)],
            color=plots.COLOURS[i % len(plots.COLOURS)],
            ls="--" if "," in scheme else "-",
            label=scheme,
        )
    axis.axhline(
        100 * rows[0]["a0"], color=plots.GREY, lw=1, ls=":", label="unpruned, noiseless ($A_0$)"
    )
    axis.set(xlabel=plots.ES_N0 if key == "snr_db" else key, ylabel="accuracy (%)", title=title)
    axis.legend(fontsize=7)


def grid(schemes: Sequence[str], snrs: Sequence[float]) -> Iterator[tuple[str, float]]:
    """Every scheme at every Es/N0."""
    return ((scheme, snr) for scheme in schemes for snr in snrs)
