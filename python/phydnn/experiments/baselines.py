# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""PhyDNN beside Split Computing, BottleFit and DT-JSCC: what each sends, and how long it takes.

Each scheme is two ONNX graphs and a payload. Its host time is measured here, its air time is
counted: samples of our waveform, or 802.11a with TCP by :mod:`phydnn.wifi`. docs/baselines.md says
what that leaves out.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import logging
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phydnn import waveform, wifi
from phydnn.errors import InputError, RunError
from phydnn.experiments import ROOT, Point, Row, Settings, inference, plots
from phydnn.results import write_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from phydnn.bundle import Bundle
    from phydnn.datasets import Images

logger = logging.getLogger(__name__)
for _talker in ("onnx_ir", "onnxscript"):
    # Which say at length what they optimised.
    logging.getLogger(_talker).setLevel(logging.WARNING)

OPTIONS: dict[str, Any] = {
    "bundles": "",
    "weights": "",
    "bf1": "",
    "bf2": "",
    "dtjscc": "",
    "snr_db": 12.0,
    "frames": 20,
}
"""``bundles``: names, blanks between; ratios are over the first. ``weights``, ``bf1``, ``bf2``: the
backbone's checkpoint and BottleFit's; ``dtjscc``: a bundle. ``frames``: how many are timed."""
DEFAULT_BUNDLES = {
    "digits": "phydnn-resnet20-digits",
    "cifar10": "phydnn-resnet20-cifar10-1024x4 phydnn-resnet20-cifar10-64x16",
}
QUICK: dict[str, dict[str, Any]] = {
    "backbone": {"epochs": 6},
    "bottlefit": {"matching_epochs": 3, "epochs": 1, "limit": 384},
    "dtjscc": {"epochs": 3, "limit": 384},
}
"""What the quick forms make of the digits' recipe."""
LOS = "rician:10"
NLOS = "tdl:testbed/scenarios/office_nlos_taps.json"
DRAWS = 400
"""Of a fading channel, over which Wi-Fi's packet errors are averaged."""
LEAST = 128
"""Images through the waveform, however few are timed: an accuracy is of them."""
USELESS = 0.9
"""A rate at which more of the full frames are lost is not chosen."""


@dataclass(frozen=True)
class Scheme:
    """One of those that are compared, ready to run.

    Attributes:
        name, system: "SC", "split computing"; "BF-2", "bottlefit"; "DT-JSCC", "dt-jscc"; "PhyDNN
            1024x4", "phydnn".
        head, tail: ONNX graphs: bytes of images to values, values to logits.
        pack: values [B,...] of the head to the payload's bytes.
        unpack: the bytes and the batch to the tail's input.
        payload: bytes an image.
        bundle: of those that ride on the waveform as points; None for those that are bits.
        score: accuracy, ci95 and n with every byte intact, on the whole test split.
        macs, params: on the device; None where a bundle does not say.
    """

    name: str
    system: str
    head: Path
    tail: Path
    pack: Callable[[NDArray[np.float32]], bytes]
    unpack: Callable[[bytes, int], NDArray[np.float32]]
    payload: float
    bundle: Bundle | None
    score: Mapping[str, Any]
    macs: int | None
    params: int | None


def point(settings: Settings) -> Point:
    """What all points of a comparison have in common: which networks, of what data.

    Raises:
        InputError: a file is missing, or no bundle of the data set ships.
    """
    from phydnn.bundle import Bundle

    options = OPTIONS | settings.options
    data = "digits" if settings.quick else inference.need_data(settings)
    kind = data.partition(":")[0]
    names = str(options["bundles"] or DEFAULT_BUNDLES.get(kind, "")).split()
    if not names:
        raise InputError(f"no bundle of '{kind}' ships: name yours with --set bundles=NAME")
    bundles = [Bundle.load(name) for name in names]
    chosen: Point = {
        "bundles": {bundle.name: bundle.id for bundle in bundles},
        "data": data,
        "seed": 1,
    }
    if settings.quick:
        return chosen | {"quick": QUICK}
    for name in ("weights", "bf1", "bf2", "dtjscc"):
        given = str(options[name])
        if not given:
            logger.info("left out: nothing is given for %s, see docs/baselines.md", name)
            continue
        path = Path(given).resolve()
        file = path / "bundle.json" if name == "dtjscc" else path
        try:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(f"cannot read {file} for {name}: {error.strerror}") from error
        chosen[name] = {"path": str(path), "sha256": digest}
    if "weights" not in chosen and ("bf1" in chosen or "bf2" in chosen):
        raise InputError("bf1 and bf2 need the backbone that they were made of: --set weights=FILE")
    return chosen


@contextlib.contextmanager
def _made(folder: Path, identity: Any) -> Iterator[tuple[Path, bool]]:
    """A folder for what is made once, whoever comes first, and whether it is there already."""
    text = json.dumps(identity, sort_keys=True)
    out = folder.parent.parent / "baselines" / hashlib.sha256(text.encode()).hexdigest()[:16]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield out, (out / "made.json").exists()


def prepare(point: Point, folder: Path) -> list[Scheme]:
    """The schemes of a point of :func:`point`, trained and exported where that is still to do."""
    from phydnn import datasets
    from phydnn.bundle import Bundle, find

    images = datasets.load(point["data"], "test")
    schemes: list[Scheme] = []
    quick = "quick" in point
    if quick:
        weights = inference.backbone(
            {"recipe": "digits", "data": "digits", "backbone": point["quick"]["backbone"]}, folder
        )
    elif "weights" in point:
        weights = Path(point["weights"]["path"])
    if quick or "weights" in point:
        first = Bundle.load(find(next(iter(point["bundles"]))))
        schemes.append(_split_computing(point, folder, weights, first, images))
        for kernels in (2, 1):
            if quick or f"bf{kernels}" in point:
                schemes.append(_bottlefit(point, folder, weights, kernels, images))
    if quick:
        schemes.append(_of_bundle(Bundle.load(_quick_dtjscc(point, folder)), "DT-JSCC", images))
    elif "dtjscc" in point:
        schemes.append(_of_bundle(Bundle.load(point["dtjscc"]["path"]), "DT-JSCC", images))
    for name in point["bundles"]:
        bundle = Bundle.load(name)
        title = f"PhyDNN {bundle.uses}x{len(bundle.points)}"
        schemes.append(_of_bundle(bundle, title, images))
    return schemes


def _identity(point: Point, *names: str) -> Any:
    return [point["data"], point.get("quick"), *(point.get(name) for name in names)]


def _graphs(
    point: Point,
    folder: Path,
    identity: Any,
    parts: Callable[[Path], tuple[Any, Any]],
    images: Images,
    pack: Callable[[NDArray[np.float32]], bytes],
    unpack: Callable[[bytes, tuple[int, ...]], NDArray[np.float32]],
    name: str,
    system: str,
) -> Scheme:
    """A scheme of two torch modules: exported, counted and scored, once."""
    import torch

    from phydnn import complexity
    from phydnn.bundle import open_session
    from phydnn.export import write_graph

    with _made(folder, identity) as (out, there):
        head_path, tail_path = out / "head.onnx", out / "tail.onnx"
        if not there:
            head, tail = parts(out)
            example = torch.from_numpy(images.x[:2])
            with torch.no_grad():
                values = head.eval()(example).float()
                write_graph(head, example, "images", "values", head_path)
                write_graph(tail.eval(), values, "values", "logits", tail_path)
            shape = list(values.shape[1:])
            payload = len(pack(values.numpy())) / len(values)
            session_head, session_tail = open_session(head_path, 1), open_session(tail_path, 1)

            def classify(x: NDArray[Any]) -> NDArray[Any]:
                sent = pack(session_head.run(None, {"images": x})[0])
                given = unpack(sent, (len(x), *shape))
                return np.asarray(session_tail.run(None, {"values": given})[0])

            from phydnn.evaluate import classified

            assert images.y is not None
            found = {
                "shape": shape,
                "payload": payload,
                "score": classified(classify, images.x, images.y),
                "macs": complexity.macs(head, example[:1]),
                "params": complexity.parameters(head),
            }
            write_json(out / "made.json", found)
        made = json.loads((out / "made.json").read_text(encoding="utf-8"))
    return Scheme(
        name,
        system,
        head_path,
        tail_path,
        pack,
        lambda data, count: unpack(data, (count, *made["shape"])),
        made["payload"],
        None,
        made["score"],
        made["macs"],
        made["params"],
    )


def _split_computing(
    point: Point, folder: Path, weights: Path, bundle: Bundle, images: Images
) -> Scheme:
    from phydnn import baselines, networks, train

    where = bundle.meta["split"]["point"]

    def parts(out: Path) -> tuple[Any, Any]:
        return networks.split(train.load_backbone(weights), where)

    identity = ["split computing", where, *_identity(point, "weights")]
    pack, unpack = baselines.raw_bytes, baselines.raw_values
    return _graphs(point, folder, identity, parts, images, pack, unpack, "SC", "split computing")


def _bottlefit(point: Point, folder: Path, weights: Path, kernels: int, images: Images) -> Scheme:
    from phydnn import baselines, train
    from phydnn.train.baselines import BottlefitConfig, load_bottlefit, train_bottlefit

    def parts(out: Path) -> tuple[Any, Any]:
        network = train.load_backbone(weights)
        if "quick" in point:
            values = point["quick"]["bottlefit"] | {"kernels": kernels, "threads": 1}
            config = train.read_config(
                BottlefitConfig, "bottlefit", "digits", inference.overrides(values)
            )
            path = train_bottlefit(config, weights, out)
        else:
            path = Path(point[f"bf{kernels}"]["path"])
        bottlefit = load_bottlefit(path, network)
        return bottlefit.encoder, bottlefit.edge

    identity = ["bottlefit", kernels, *_identity(point, "weights", f"bf{kernels}")]
    pack, unpack = baselines.affine_bytes, baselines.affine_values
    return _graphs(
        point, folder, identity, parts, images, pack, unpack, f"BF-{kernels}", "bottlefit"
    )


def _quick_dtjscc(point: Point, folder: Path) -> Path:
    """DT-JSCC after a few epochs on the digits, as a bundle."""
    from phydnn import train
    from phydnn.export import export
    from phydnn.train.baselines import train_dtjscc

    with _made(folder, ["dt-jscc", *_identity(point)]) as (out, there):
        if not there:
            values = point["quick"]["dtjscc"] | {"threads": 1}
            config = train.read_config(
                train.PhydnnConfig, "dtjscc", "digits", inference.overrides(values)
            )
            train_dtjscc(config, "phydnn.baselines:dtjscc_digits", out)
            export(out, out / "dtjscc")
            write_json(out / "made.json", {})
    return out / "dtjscc"


def _of_bundle(bundle: Bundle, name: str, images: Images) -> Scheme:
    from phydnn import baselines

    size = len(bundle.points)

    def pack(slices: NDArray[np.float32]) -> bytes:
        return baselines.label_bytes(bundle.labels(slices), size)

    def unpack(data: bytes, count: int) -> NDArray[np.float32]:
        labels = baselines.label_values(data, (count, bundle.uses), size)
        return bundle.embeddings[labels]

    # What the embeddings without noise score is what the best of Es/N0 does, near enough.
    best = max(bundle.meta["metrics"]["simulated"], key=lambda found: found["snr_db"])
    split = bundle.meta["split"]
    return Scheme(
        name,
        "phydnn" if name.startswith("PhyDNN") else "dt-jscc",
        bundle.head_path,
        bundle.tail_path,
        pack,
        unpack,
        len(pack(bundle.golden()["slices"])) / len(bundle.golden()["slices"]),
        bundle,
        best,
        split.get("head_macs"),
        split.get("head_parameters"),
    )


@contextlib.contextmanager
def channel_file(spec: str) -> Iterator[str]:
    """A channel as ``--channel`` takes it, of what rows have: "tdl:" with a file of the checkout,
    wherever the command runs, or with the JSON itself."""
    model, _, rest = spec.partition(":")
    if model != "tdl":
        yield spec
    elif not rest.startswith("{"):
        yield f"tdl:{ROOT / rest}"
    else:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(rest)
            file.flush()
            yield f"tdl:{file.name}"


def of_scenario(name: str) -> Row:
    """The first link of a scenario that ships, at time 0.

    Returns:
        ``channel``; ``snr_db``, its Es/N0 over the band; and ``reference_db``, Es/N0 as channels
        are told it, which is over the sum of the taps' powers, whatever the taps make of the band.
    """
    from phydnn import scenario

    found = scenario.load(str(ROOT / "testbed" / "scenarios" / f"{name}.json"))
    transmitter, receiver = found.links()[0]
    gains = found.gains[0, transmitter, receiver]
    there = gains != 0
    taps = {
        "delays_s": (1e-9 * found.delays_ns[0, transmitter, receiver][there]).tolist(),
        "gains": [[gain.real, gain.imag] for gain in gains[there]],
    }
    snr_db = float(found.snr_db()[transmitter, receiver])
    spec = f"tdl:{json.dumps(taps)}"
    band_db = 10 * float(np.log10(np.mean(np.abs(response(spec, 1)[0]) ** 2)))
    return {"channel": spec, "snr_db": snr_db, "reference_db": snr_db - band_db}


def response(spec: str, seed: int) -> NDArray[np.complex64]:
    """DRAWS of a channel's response, complex64 [DRAWS, used subcarriers, or 1 where it is flat]."""
    import torch

    from phydnn import channel

    generator = torch.Generator().manual_seed(seed)
    with channel_file(spec) as named:
        drawn = channel.named(named)(DRAWS, channel.SUBCARRIERS, generator)
    return drawn.numpy().astype(np.complex64)


def over_wifi(
    payload: int, loss: Callable[[int, int], float] | None
) -> tuple[wifi.Wifi, wifi.Transfer]:
    """A payload by the rate of 802.11a that delivers it soonest; 54 Mb/s where nothing is lost.

    Raises:
        InputError: no rate gets through.
    """
    if loss is None:
        link = wifi.Wifi(54)
        return link, link.transfer(payload)
    found = []
    for rate in wifi.RATES:
        if loss(1536, rate) <= USELESS:
            link = wifi.Wifi(rate, packet_error_rate=functools.partial(_loss_at, loss, rate))
            found.append((link, link.transfer(payload)))
    if not found:
        raise InputError("no rate of 802.11a gets through: raise snr_db")
    return min(found, key=lambda each: each[1].delivered)


def _loss_at(loss: Callable[[int, int], float], rate: int, mpdu: int) -> float:
    return loss(mpdu, rate)


class Loopback:
    """A TCP connection to this machine itself: what the stack costs the host, both ways."""

    def __enter__(self) -> Loopback:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._near = socket.create_connection(server.getsockname())
            self._far, _ = server.accept()
        self._near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def __exit__(self, *_: object) -> None:
        self._near.close()
        self._far.close()

    def carry(self, data: bytes) -> bytes:
        """Sends bytes and gives back what came out."""
        buffer, arrived = bytearray(len(data)), 0
        sender = threading.Thread(target=self._near.sendall, args=(data,))
        sender.start()
        view = memoryview(buffer)
        while arrived < len(data):
            arrived += self._far.recv_into(view[arrived:])
        sender.join()
        return bytes(buffer)


def time_bits(
    schemes: list[Scheme], x: NDArray[np.uint8], rounds: int
) -> dict[str, dict[str, float]]:
    """Median milliseconds of each stage of a batch if it goes as bits, scheme by scheme in turn.

    Stages: ``head``, ``map`` (values to bytes), ``stack`` (the bytes through TCP on this machine),
    ``receive`` (bytes to values) and ``tail``. One thread runs each graph, as the blocks have it.
    """
    from phydnn.bundle import open_session

    sessions = {
        scheme.name: (open_session(scheme.head, 1), open_session(scheme.tail, 1))
        for scheme in schemes
    }
    taken: dict[str, list[list[float]]] = {scheme.name: [] for scheme in schemes}
    with Loopback() as loopback:
        for turn in range(rounds + 1):
            for scheme in schemes:
                head, tail = sessions[scheme.name]
                (given,) = (node.name for node in tail.get_inputs())
                marks = [time.perf_counter()]
                values = head.run(None, {"images": x})[0]
                marks.append(time.perf_counter())
                data = scheme.pack(values)
                marks.append(time.perf_counter())
                data = loopback.carry(data)
                marks.append(time.perf_counter())
                received = scheme.unpack(data, len(x))
                marks.append(time.perf_counter())
                tail.run(None, {given: received})
                marks.append(time.perf_counter())
                if turn:  # the first warms up
                    taken[scheme.name].append(np.diff(marks).tolist())
    stages = ("head", "map", "stack", "receive", "tail")
    return {
        name: dict(zip(stages, 1e3 * np.median(rows, 0), strict=True))
        for name, rows in taken.items()
    }


def run_link(bundle: Bundle, images: Images, channel: str, **options: Any) -> dict[str, Any]:
    """The record of a run through the whole waveform.

    Args:
        bundle, images, options: as ``gnuradio.phydnn.link.run_link`` takes them.
        channel: as :func:`channel_file` takes it.

    Raises:
        RunError: the blocks are not installed.
    """
    try:
        from gnuradio import gr
        from gnuradio.phydnn.link import run_link as run
    except ImportError as error:
        raise RunError(
            f"the GNU Radio blocks cannot be imported ({error}): run ./phydnn doctor"
        ) from error
    gr.logging().set_default_level(gr.log_levels.error)
    with channel_file(channel) as named:
        record: dict[str, Any] = run(bundle, images, channel=named, **options).record
    return record


def run_emulated(
    bundle: Bundle, images: Images, scenario: str, batch: int, seed: int
) -> dict[str, Any]:
    """Images through the emulator itself, without its sockets: the scenario's first link.

    Returns:
        accuracy, accuracy_ci95 and n, images of lost frames counting as wrong, and frames_lost.

    Raises:
        RunError: the blocks are not installed, or have no emulator.
    """
    from phydnn import scenario as scenarios
    from phydnn.bundle import open_session
    from phydnn.cli.emulate import build
    from phydnn.evaluate import score

    found = scenarios.load(str(ROOT / "testbed" / "scenarios" / f"{scenario}.json"))
    emulator = build(found, seed=seed)
    import pmt

    from gnuradio import blocks, gr, phydnn
    from gnuradio.phydnn import pdus

    assert images.y is not None
    head = open_session(bundle.head_path, 1)
    transmitter = phydnn.frame_transmitter(bundle_id=bundle.id, precoded=bundle.precoding)
    sink, top = blocks.vector_sink_c(), gr.top_block()
    top.connect(transmitter, sink)
    post = transmitter.to_basic_block()._post
    starts = range(0, len(images), batch)
    for number, start in enumerate(starts):
        slices = head.run(None, {"images": images.x[start : start + batch]})[0]
        symbols = bundle.points[bundle.labels(slices)].ravel()
        about_frame = pdus.put(pmt.make_dict(), frame_number=number)
        post(pmt.intern("symbols"), pmt.cons(about_frame, phydnn.to_vector(symbols)))
    post(pmt.intern("system"), pmt.cons(pmt.intern("done"), pmt.from_long(1)))
    top.run()
    sent = np.array(sink.data(), np.complex64)

    transmitter_node, receiver_node = found.links()[0]
    quiet = np.zeros(waveform.PREAMBLE, np.complex64)  # so that the last frame is seen whole
    given: list[NDArray[np.complex64] | None] = [None] * len(found.nodes)
    given[transmitter_node] = np.concatenate([sent, quiet])
    received = emulator.run(given)[receiver_node]

    source, sorter, top = blocks.vector_source_c(received), blocks.message_debug(), gr.top_block()
    edge = phydnn.edge(bundle, sample_rate=found.sample_rate_hz, max_uses=batch * bundle.uses)
    top.connect(source, edge)
    # The tail has a thread of its own, which would outlive a flowgraph whose samples have ended.
    top.msg_connect(edge.demapper, "slices", sorter, "store")
    top.run()
    tail = open_session(bundle.tail_path, 1)
    predicted = np.full(len(images), -1, np.int64)
    for i in range(sorter.num_messages()):
        metadata, slices = pdus.parts(sorter.get_message(i))
        start = batch * pdus.get(metadata, "frame_number", len(starts))
        if slices is not None and len(slices) and start < len(images):
            values = slices.reshape(-1, bundle.uses, bundle.dim)
            logits = tail.run(None, {"slices": values})[0]
            predicted[start : start + len(values)] = logits.argmax(1)
    lost = sum(bool((predicted[start : start + batch] < 0).all()) for start in starts)
    right = int((predicted == images.y).sum())
    return {**score(right, len(images)), "frames_lost": lost / len(starts)}


def repeated(images: Images, count: int) -> Images:
    """As many images, from the first on and round again."""
    return images.take(np.arange(count) % len(images))


def about(scheme: Scheme, point: Point, first: Bundle) -> Row:
    """What a row says of a scheme and its data; ``first`` is the comparison's first bundle."""
    own = scheme.bundle
    points = {} if own is None else {"channel_uses": own.uses, "points": len(own.points)}
    return {
        "system": scheme.system,
        "scheme": scheme.name,
        "model": "its own" if scheme.system == "dt-jscc" else first.meta["split"]["model"],
        "dataset": first.meta["dataset"]["name"],
        "provenance": first.meta["dataset"]["provenance"],
        **points,
        "bytes": scheme.payload,
        "seed": point["seed"],
    }


def compare(point: Point, folder: Path) -> list[Row]:
    """All schemes over all channels, timed on this machine in one go.

    Args:
        point: of :func:`point`, and ``batches`` (images), ``frames`` (how many of them are timed)
            and ``conditions``: for each name a ``channel`` and its ``snr_db``, or a ``scenario``
            of testbed/scenarios, which has both (timed through the channel block, and scored
            through the emulator), and ``ideal`` where Wi-Fi runs at 54 Mb/s and loses nothing.
        folder: the point's.

    Returns:
        a row for each batch, condition and scheme. Bytes are of an image; ``bytes_on_air`` has all
        of them, headers, pilots, acknowledgements and repetitions too. Milliseconds are of a batch:
        ``latency_ms`` has the stages, ``host_ms`` is the sum of those measured, ``air_ms`` is
        counted.
    """
    from phydnn import datasets

    schemes = prepare(point, folder)
    images = datasets.load(point["data"], "test")
    first = next(s.bundle for s in schemes if s.system == "phydnn")
    assert first is not None
    conditions = {
        name: condition | (of_scenario(condition["scenario"]) if "scenario" in condition else {})
        for name, condition in point["conditions"].items()
    }
    rows: list[Row] = []
    for batch in point["batches"]:
        x = repeated(images, batch).x
        sent = repeated(images, max(point["frames"] * batch, LEAST))
        half = max(1, point["frames"] // 2)
        before = time_bits(schemes, x, half)
        links = {
            (name, scheme.name): run_link(
                scheme.bundle,
                sent,
                condition["channel"],
                snr_db=condition.get("reference_db", condition["snr_db"]),
                batch=batch,
                seed=point["seed"],
            )
            for name, condition in conditions.items()
            for scheme in schemes
            if scheme.bundle is not None
        }
        after = time_bits(schemes, x, half)
        for name, condition in conditions.items():
            loss = None
            if not condition.get("ideal"):
                draws = response(condition["channel"], point["seed"])
                reference_db = condition.get("reference_db", condition["snr_db"])
                loss = waveform.mean_loss(draws, reference_db)
            found = []
            for scheme in schemes:
                stages = {
                    stage: (value + after[scheme.name][stage]) / 2
                    for stage, value in before[scheme.name].items()
                }
                if scheme.bundle is None:
                    what = _of_wifi(scheme, batch, stages, loss)
                else:
                    what = _of_link(scheme, stages, links[name, scheme.name])
                    if "scenario" in condition:
                        what |= _emulated(scheme.bundle, sent, condition, batch, point)
                place = {
                    "condition": name,
                    "batch": batch,
                    "channel": condition.get("scenario", condition["channel"]),
                    "snr_db": condition["snr_db"],
                }
                found.append(about(scheme, point, first) | place | what)
            base = next(row for row in found if row["system"] == "phydnn")
            for row in found:
                row["latency_ratio"] = row["total_ms"] / base["total_ms"]
                row["air_ratio"] = row["air_ms"] / base["air_ms"]
                row["bytes_ratio"] = row["bytes_on_air"] / base["bytes_on_air"]
                row["paper"] = None
            rows += found
    return rows


def _of_wifi(
    scheme: Scheme, batch: int, host: dict[str, float], loss: Callable[[int, int], float] | None
) -> Row:
    link, sent = over_wifi(round(scheme.payload * batch), loss)
    return {
        "carrier": "802.11a and TCP",
        "rate_mbps": link.rate,
        "bytes_on_air": sent.bytes_on_air / batch,
        **_latency(host, 1e3 * sent.delivered),
        "accuracy": scheme.score["accuracy"],
        "ci95": scheme.score["accuracy_ci95"],
        "n": scheme.score["n"],
    }


def _of_link(scheme: Scheme, stages: dict[str, float], record: dict[str, Any]) -> Row:
    latency = record.get("latency_ms")
    if latency is None:
        raise RunError(f"no frame of {scheme.name} arrived: raise snr_db")
    # The link has several frames under way, so that its graphs wait for each other: alone, as the
    # others' run, they are timed by themselves.
    host = {
        "head": stages["head"],
        "map": latency["map"]["p50"],
        "receive": latency["receive"]["p50"],
        "tail": stages["tail"],
    }
    return {
        "carrier": "waveform",
        "bytes_on_air": scheme.payload + record["bytes_on_air"] / record["n"],
        **_latency(host, latency["air"]["p50"]),
        "frames_lost": record["frames_lost"] / record["frames_sent"],
        "accuracy": record["accuracy"],
        "ci95": record["accuracy_ci95"],
        "n": record["n"],
    }


def _emulated(bundle: Bundle, images: Images, condition: Row, batch: int, point: Point) -> Row:
    """What the emulator makes of the images that were timed through the channel block."""
    found = run_emulated(bundle, images, condition["scenario"], batch, point["seed"])
    return {
        "carrier": "waveform, emulator",
        "frames_lost": found["frames_lost"],
        "accuracy": found["accuracy"],
        "ci95": found["accuracy_ci95"],
        "n": found["n"],
    }


def _latency(host: dict[str, float], air_ms: float) -> Row:
    whole = sum(host.values())
    return {
        "latency_ms": host | {"air": air_ms, "total": whole + air_ms},
        "host_ms": whole,
        "air_ms": air_ms,
        "total_ms": whole + air_ms,
    }


def bars(
    axis: Axes, rows: list[Row], names: Sequence[str], series: Sequence[tuple[str, str, str]]
) -> None:
    """Horizontal bars on a logarithmic axis, a place a scheme from the top.

    Args:
        axis: to draw in.
        rows: one a scheme.
        names: the schemes' order.
        series: key, colour and label of each bar at a place; those without a value are left out.
    """
    line = {row["scheme"]: row for row in rows}
    height = 0.8 / len(series)
    for i, (key, colour, label) in enumerate(series):
        there = [n for n, name in enumerate(names) if line.get(name, {}).get(key)]
        offset = (i - (len(series) - 1) / 2) * height
        values = [line[names[n]][key] for n in there]
        axis.barh(
            [n + offset for n in there], values, 0.9 * height, color=colour, label=label, log=True
        )
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)


def latencies(axis: Axes, rows: list[Row], names: Sequence[str]) -> None:
    """Bars of host and air time, their sum and its ratio beside them; ``rows`` of :func:`compare`.

    Args:
        axis, rows, names: as of :func:`bars`.
    """
    series = [
        ("host_ms", plots.COLOURS[0], "host, measured"),
        ("air_ms", plots.COLOURS[1], "air, counted"),
    ]
    bars(axis, rows, names, series)
    texts = {
        names.index(row["scheme"]): (
            max(row["host_ms"], row["air_ms"]),
            f"{short(row['total_ms'])} ms\n{ratio(row, 'latency_ratio')}",
        )
        for row in rows
    }
    note(axis, texts)


def ratio(row: Row, key: str) -> str:
    """A ratio, and the paper's in brackets."""
    theirs = (row["paper"] or {}).get(key)
    return f"{short(row[key])}x" + ("" if theirs is None else f" ({theirs:,g}x)")


def note(axis: Axes, texts: Mapping[int, tuple[float, str]], room: float = 60) -> None:
    """Writes beside bars: place to (value, text), and makes ``room`` on the right, as a factor."""
    for place, (value, text) in texts.items():
        axis.annotate(
            text, (value, place), (3, 0), textcoords="offset points", va="center", fontsize=6.5
        )
    low, high = axis.get_xlim()
    axis.set_xlim(low, high * room)


def short(value: float) -> str:
    """Three digits, and all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
