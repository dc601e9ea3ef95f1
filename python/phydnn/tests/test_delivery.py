# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Delivery without a radio: bundles, what crosses, and what a client makes of it."""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from phydnn.bundle import BundleError
from phydnn.bundle import load as load_bundle
from phydnn.datasets import load
from phydnn.delivery import (
    BLOCK_BYTES,
    BLOCK_USES,
    AirBundle,
    Client,
    Network,
    Shipment,
    Ticket,
    copies_for,
    fill,
    pack_side,
    protect,
    strip,
    unpack_side,
    unprotect,
)
from phydnn.errors import InputError, RunError
from phydnn.tests.delivered import META, WEIGHTS, bundle, model, trained

DIGITS = load("digits", "test")


@pytest.fixture(scope="module")
def air(tmp_path_factory: pytest.TempPathFactory) -> AirBundle:
    return bundle(tmp_path_factory.mktemp("models") / "airnet-digits", seeds=(1, 1))


def noisy(symbols: NDArray[Any], snr_db: float, seed: int = 0) -> NDArray[Any]:
    noise = np.random.default_rng(seed).standard_normal((symbols.size, 2)).view(complex)
    noise = noise.reshape(symbols.shape) * math.sqrt(10 ** (-snr_db / 10) / 2)
    return (symbols + noise).astype(np.complex64)


def delivered(shipment: Shipment, snr_db: float, lost: Collection[int] = ()) -> Client:
    client = Client(shipment.ticket)
    for number, frame in enumerate(shipment.frames):
        if number not in lost:
            received = noisy(frame, snr_db, seed=number)
            assert client.take(number, received, 10 ** (-snr_db / 10))
    return client


def accuracy(network: bytes) -> float:
    return float(np.mean(Network(network, 1).classes(DIGITS.x) == DIGITS.y))


@pytest.fixture(scope="module")
def shipped() -> AirBundle:
    """A network of fourteen layers that are normalised, trained for 0 to 15 dB."""
    return AirBundle.load("airnet-vgg16-digits")


def test_a_graph_and_its_tensors_come_apart_and_together() -> None:
    whole = model(trained())
    skeleton, tensors = strip(whole)
    assert len(skeleton) < 1000
    assert set(tensors) == {*WEIGHTS, "hidden.bias", "out.bias", "normalise"}
    again = Network(fill(skeleton, tensors)).logits(DIGITS.x[:9])
    np.testing.assert_array_equal(again, Network(whole).logits(DIGITS.x[:9]))
    del tensors["out.bias"]
    with pytest.raises(InputError, match=r"'out.bias' has no values"):
        fill(skeleton, tensors)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_broken_graphs_are_refused_in_a_sentence(junk: bytes, at: int, value: int) -> None:
    whole = bytearray(model(trained()))
    whole[at] = value
    for data in (junk, bytes(whole)):
        try:
            skeleton, tensors = strip(data)
            Network(fill(skeleton, tensors))
        except InputError as error:
            assert str(error)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_broken_side_information_is_refused(junk: bytes) -> None:
    for data in (junk, zlib.compress(b"AIR1" + junk)):
        with pytest.raises(InputError):
            unpack_side(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tau": math.nan}, "a layer's noise is no number"),
        ({"tau": -1.0}, "a layer's noise is no number"),
        ({"ratio": math.inf}, "a layer's noise is no number"),
        ({"scale": 0.0}, "a layer's scale is no positive number"),
    ],
)
def test_side_information_of_no_sense_is_refused(
    air: AirBundle, change: dict[str, Any], message: str
) -> None:
    first, *others = Shipment(air, 15.0).layers
    data = pack_side(air.skeleton, [dataclasses.replace(first, **change), *others], {})
    with pytest.raises(InputError, match=message):
        unpack_side(data)


def test_bundle_holds_what_was_exported(air: AirBundle, tmp_path: Path) -> None:
    assert isinstance(load_bundle(air.path), AirBundle)
    assert air.weights == tuple(WEIGHTS)
    assert accuracy(fill(air.skeleton, air.tensors(7.0))) > 0.9
    other = bundle(tmp_path / "other", seeds=(1, 2))
    middle = other.tensors(10.0)["out.weight"]
    mean = (trained(1)["out.weight"] + trained(2)["out.weight"]) / 2
    np.testing.assert_allclose(middle, mean, atol=1e-3)  # float16 of both
    assert other.allocation(4.0)[0]["repeats"] == 2
    assert other.allocation(6.0)[0]["repeats"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"networks": [model({**trained(), "out.weight": np.zeros((96, 10), np.float32)})]},
            "'out.weight' are all zero",
        ),
        (
            {
                "networks": [
                    model({**trained(), "out.weight": np.full((96, 10), np.nan, np.float32)})
                ]
            },
            "'out.weight' hold NaN",
        ),
        ({"weights": ["conv"]}, "no weights 'conv'"),
        ({"networks": [b"no graph"]}, "no ONNX graph"),
        ({"knots": [0.0, 1.0]}, "each network needs the Es/N0"),
        ({"allocations": [{"snr_db": 0, "layers": []}]}, "0 layers are coded, but 2 cross"),
    ],
)
def test_bad_networks_are_refused_in_a_sentence(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        bundle(tmp_path / "bad", **options)
    assert not (tmp_path / "bad").exists()


def test_weights_are_kept_as_halves_at_no_cost(air: AirBundle) -> None:
    """What float16 rounds off is 66 dB below the weights: on air no noise is that low."""
    for name in WEIGHTS:
        sent = trained()[name]
        error = np.mean((air.tensors(0.0)[name] - sent) ** 2) / np.mean(sent**2)
        assert 10 * math.log10(error) < -66
    protected = {n: v for n, v in air.tensors(0.0).items() if n not in WEIGHTS}
    for name, values in protected.items():
        np.testing.assert_array_equal(values, strip(model(trained()))[1][name])
    size = (air.path / "arrays.safetensors").stat().st_size
    assert size < 2 * 7104 + 2000  # both ends are one network here


def test_weights_that_are_not_between_the_ends_are_refused(tmp_path: Path) -> None:
    networks = [model(trained(seed)) for seed in (1, 2, 1)]
    with pytest.raises(InputError, match=r"'hidden\.weight' for 5 dB are no interpolation"):
        bundle(tmp_path / "bad", networks=networks, knots=[0.0, 5.0, 10.0])


@pytest.mark.parametrize(("design", "snr_db"), [(10.0, 5.0), (10.0, 15.0), (15.0, 10.0)])
def test_other_noise_than_expected_costs_what_the_noise_does(
    shipped: AirBundle, design: float, snr_db: float
) -> None:
    """5 dB off: as good as a delivery made for that Es/N0, but for a few points."""
    aware = accuracy(delivered(Shipment(shipped, snr_db), snr_db).network()[0])
    shipment = Shipment(shipped, design)
    client = delivered(shipment, snr_db)
    assert accuracy(client.network()[0]) > aware - 0.06
    assert max(abs(math.log(g)) for g in client.gains(shipment.layers).values()) > 0.03
    unaware = accuracy(_without_ratios(shipment, snr_db).network()[0])
    assert unaware < aware - 0.1


def _without_ratios(shipment: Shipment, snr_db: float) -> Client:
    """A client that takes every noise for the one that was expected."""

    class Unaware(Client):
        def gains(self, layers: Any, rule: Any = "mmse") -> dict[str, float]:
            return {layer.name: 1.0 for layer in layers}

    client = Unaware(shipment.ticket)
    for number, frame in enumerate(shipment.frames):
        client.take(number, noisy(frame, snr_db, seed=number), 10 ** (-snr_db / 10))
    return client


def test_frames_of_unequal_noise_count_by_their_mean(shipped: AirBundle) -> None:
    """Each frame of its own fade, one of them lost: the network stays usable."""
    shipment = Shipment(shipped, 15.0, frame_uses=4000)
    fades = np.random.default_rng(2).uniform(6, 18, len(shipment.frames))
    client = Client(shipment.ticket)
    for number, (frame, snr_db) in enumerate(zip(shipment.frames, fades, strict=True)):
        if number != len(fades) - 2:
            client.take(number, noisy(frame, snr_db, seed=number), 10 ** (-snr_db / 10))
    network, counts = client.network()
    assert counts["weights_filled"] == 8000
    assert accuracy(network) > 0.8


def test_networks_of_another_structure_are_refused(tmp_path: Path) -> None:
    small = {**trained(), "out.bias": np.zeros((1, 10), np.float32)}
    with pytest.raises(InputError, match="one structure"):
        bundle(
            tmp_path / "bad",
            networks=[model(trained()), model(small)],
            knots=[0.0, 20.0],
        )


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    made = bundle(tmp_path / "one")
    meta = json.loads((made.path / "bundle.json").read_text())
    meta["delivery"]["weights"][0] = "gone"
    (made.path / "bundle.json").write_text(json.dumps(meta))
    with pytest.raises(BundleError, match="no tensor 'gone'"):
        AirBundle.load(made.path)
    assert META["task"] == meta["task"]
    meta["delivery"]["weights"][0] = WEIGHTS[0]
    for key, value, message in (
        ("knots", [5.0, 0.0], "delivery.knots: the Es/N0 do not rise"),
        ("knots", [0.0, 5.0], "the array side/1/.* is missing"),
        ("ends", 2, "the array weights/1/hidden.weight is missing"),
        ("ends", 0, "delivery.ends"),
    ):
        damaged = {**meta, "delivery": {**meta["delivery"], key: value}}
        (made.path / "bundle.json").write_text(json.dumps(damaged))
        with pytest.raises(BundleError, match=message):
            AirBundle.load(made.path)
    (made.path / "bundle.json").write_text(json.dumps(meta))
    AirBundle.load(made.path)
    arrays = (made.path / "arrays.safetensors").read_bytes()
    for damaged_bytes in (arrays[:-9], arrays[:-1] + bytes([arrays[-1] ^ 1]), b""):
        (made.path / "arrays.safetensors").write_bytes(damaged_bytes)
        with pytest.raises(BundleError, match=r"arrays\.safetensors: its sha256 is"):
            AirBundle.load(made.path)


def test_side_information_survives_where_it_should() -> None:
    """At its Es/N0 with all copies no block is lost; 6 dB below that most are."""
    data = np.random.default_rng(0).bytes(30 * BLOCK_BYTES - 7)
    symbols = protect(data)
    assert np.mean(np.abs(symbols) ** 2) == pytest.approx(1, rel=1e-5)
    for snr_db in (-3.0, 0.0, 6.0):
        copies = copies_for(snr_db)
        sent = np.broadcast_to(symbols, (copies, *symbols.shape))
        received = noisy(sent, snr_db)
        n0 = np.full(received.shape, 10 ** (-snr_db / 10))
        blocks = unprotect(received, n0)
        assert b"".join(block or b"" for block in blocks)[: len(data)] == data
    blocks = unprotect(noisy(symbols[None], 0.0), np.ones((1, *symbols.shape)))
    assert sum(block is None for block in blocks) > 15
    assert (copies_for(0.0), copies_for(6.0), copies_for(-60.0)) == (4, 1, 64)


@pytest.mark.parametrize(("snr_db", "least"), [(5.0, 0.85), (15.0, 0.9)])
def test_a_network_is_delivered(air: AirBundle, snr_db: float, least: float) -> None:
    shipment = Shipment(air, snr_db)
    weights = np.concatenate(shipment.frames[shipment.ticket.side_frames :])
    assert np.mean(np.abs(weights) ** 2) == pytest.approx(1, rel=1e-4)
    client = delivered(shipment, snr_db)
    assert not client.missing
    network, counts = client.network()
    assert counts == {
        "weights": 96 * 74,
        "weights_filled": 0,
        "weight_uses": len(weights),
    }
    assert accuracy(network) > least
    for came, sent in zip(client.side()[1], shipment.layers, strict=True):
        assert (came.name, came.shape, came.scale) == (sent.name, sent.shape, sent.scale)
        assert came.code.amplitude == sent.code.amplitude


def test_mmse_is_nearer_than_the_nearest_point(air: AirBundle) -> None:
    shipment = Shipment(air, 3.0)
    client = delivered(shipment, 3.0)
    errors = {}
    for rule in ("mmse", "nearest"):
        _, found = strip(client.network(rule)[0])
        errors[rule] = np.mean((found["hidden.weight"] - trained()["hidden.weight"]) ** 2)
    assert errors["mmse"] < 0.8 * errors["nearest"]


def test_lost_frames_are_filled_and_counted(air: AirBundle) -> None:
    shipment = Shipment(air, 15.0, frame_uses=1000)
    lost = {shipment.ticket.side_frames + 1}
    client = delivered(shipment, 15.0, lost)
    assert client.missing == sorted(lost)
    network, counts = client.network()
    assert counts["weights_filled"] == 2000  # two plain weights a use
    _, found = strip(network)
    assert (found["hidden.weight"] == 0).sum() == 2000
    assert accuracy(network) > 0.4


def test_a_cut_delivery_goes_on(air: AirBundle, tmp_path: Path) -> None:
    shipment = Shipment(air, 15.0, frame_uses=500)
    first = Client(shipment.ticket)
    for number in range(4):
        assert first.take(number, noisy(shipment.frames[number], 15.0), 0.03)
    first.save(tmp_path / "cut.npz")
    second = Client(shipment.ticket)
    second.resume(tmp_path / "cut.npz")
    assert second.missing == list(range(4, len(shipment.frames)))
    for number in second.missing:
        second.take(number, noisy(shipment.frames[number], 15.0), 0.03)
    assert accuracy(second.network()[0]) > 0.9
    other = Client(dataclasses.replace(shipment.ticket, id=5))
    with pytest.raises(InputError, match="is of another delivery"):
        other.resume(tmp_path / "cut.npz")
    for junk in (b"", b"junk", (tmp_path / "cut.npz").read_bytes()[:900]):
        (tmp_path / "junk.npz").write_bytes(junk)
        with pytest.raises(InputError, match="no delivery that was cut off"):
            second.resume(tmp_path / "junk.npz")


def test_without_side_information_there_is_no_network(air: AirBundle) -> None:
    shipment = Shipment(air, 15.0)
    client = delivered(shipment, 15.0, lost={0})
    assert not client.side_complete
    with pytest.raises(RunError, match="blocks of side information did not come through"):
        client.network()


def test_another_structure_is_named(air: AirBundle) -> None:
    """A ticket that announces more weights than there are."""
    shipment = Shipment(air, 15.0)
    ticket = dataclasses.replace(shipment.ticket, uses=(*shipment.ticket.uses, 100))
    client = Client(ticket)
    for number, frame in enumerate(shipment.frames):
        client.take(number, frame, 0.0)
    with pytest.raises(InputError, match="they have another structure"):
        client.network()


def test_what_comes_twice_is_averaged(air: AirBundle) -> None:
    """Two copies at 9 dB are as good as one at 12 dB."""
    shipment = Shipment(air, 12.0)
    twice = delivered(shipment, 9.0)
    for number, frame in enumerate(shipment.frames):
        assert twice.take(number, noisy(frame, 9.0, seed=100 + number), 10**-0.9)
    errors = []
    for client in (twice, delivered(shipment, 12.0), delivered(shipment, 9.0)):
        _, found = strip(client.network()[0])
        errors.append(np.mean((found["hidden.weight"] - trained()["hidden.weight"]) ** 2))
    assert errors[0] == pytest.approx(errors[1], rel=0.1)
    assert errors[0] < 0.6 * errors[2]


def test_unsound_frames_are_not_taken(air: AirBundle) -> None:
    client = Client(Shipment(air, 15.0).ticket)
    good = np.zeros(client.ticket.uses[0], np.complex64)
    assert not client.take(-1, good, 0.1)
    assert not client.take(len(client.ticket.uses), good, 0.1)
    assert not client.take(0, good[1:], 0.1)
    assert not client.take(0, good * np.nan, 0.1)
    assert not client.take(0, good, -0.1)
    assert not client.take(0, good, np.ones(3))
    assert len(client.missing) == len(client.ticket.uses)


def test_tickets_are_checked(air: AirBundle, tmp_path: Path) -> None:
    ticket = Shipment(air, 15.0).ticket
    path = tmp_path / "ticket.json"
    ticket.write(path)
    assert Ticket.read(path) == ticket
    sound = json.loads(path.read_text())
    for field, value in (
        ("id", -1), ("side_bytes", 1 << 40), ("copies", 0), ("uses", []), ("uses", [1 << 30] * 9),
        ("uses", "all"), ("side_bytes", None), ("classes", []), ("input_shape", [3, 8]),
    ):  # fmt: skip
        path.write_text(json.dumps({**sound, field: value}))
        with pytest.raises(InputError, match="is no ticket of a delivery"):
            Ticket.read(path)
    path.write_text("[")
    with pytest.raises(InputError, match="is no ticket"):
        Ticket.read(path)
    with pytest.raises(InputError, match="cannot read the ticket"):
        Ticket.read(tmp_path / "none")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((99.0,), "-20 to 60 dB"), ((5.0, 0), "a frame has 1 to"), ((5.0, 1 << 24), "a frame has")],
)
def test_bad_shipments(air: AirBundle, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Shipment(air, *arguments)


def test_block_sizes() -> None:
    assert BLOCK_USES == 8 * (BLOCK_BYTES + 4) + 6
