# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Makes the scenarios of this folder, each from what its function states.

    python testbed/scenarios/generate.py [FOLDER]

The same files come out each time.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phydnn.scenario import Node, Scenario, save

LIGHT = 299_792_458.0  # m/s
CARRIER_HZ = 2.4e9
THERMAL_DBM_HZ = -174.0  # k T at 290 K
NOISE_FIGURE_DB = 7.0  # of a USRP B210's receiver, as its vendor gives it: below 8 dB
DEVICE, EDGE = "tcp://127.0.0.1:5550", "tcp://127.0.0.1:5551"

# Colosseum's channel sounding scenarios, "Channel Sounding Scenarios" in its user documentation:
# delays in ns and complex gains of each pair of five nodes, the same in both directions.
Table = dict[tuple[int, int], tuple[list[float], list[complex]]]
SOUNDING: dict[int, Table] = {
    90001: {
        (1, 2): ([0, 256], [1, 1]),
        (1, 3): ([0, 256], [1, 1j]),
        (1, 4): ([0, 256], [1, -1]),
        (1, 5): ([0, 256], [1, 0.01]),
        (2, 3): ([0, 500], [1, 1]),
        (2, 4): ([0, 500], [1, 1j]),
        (2, 5): ([0, 500], [1, -1]),
        (3, 4): ([0, 1], [1, 1]),
        (3, 5): ([0, 1], [1, -1]),
        (4, 5): ([0, 128, 200, 400], [0.5 + 0.5j, 0.1, -0.01 + 0.1j, -0.5j]),
    },
    90002: {
        (1, 2): ([0, 128], [1, 1]),
        (1, 3): ([0, 128, 256], [1, 1, 1]),
        (1, 4): ([0, 128], [1, 0.5]),
        (1, 5): ([0, 128], [1, -0.5]),
        (2, 3): ([0, 100, 200, 300], [1, 1, 1, 1]),
        (2, 4): ([0, 256], [1, 1 + 1j]),
        (2, 5): ([0, 150], [1, 0.4 + 0.4j]),
        (3, 4): ([0, 150, 300], [0.8 + 0.5j, 0.4 + 0.2j, 0.3 - 0.1j]),
        (3, 5): ([150, 300], [1, 0.5]),
        (4, 5): ([0, 128, 256, 512], [1, 0.8, 0.6, 0.4]),
    },
    90003: {
        (1, 2): ([0, 185, 426], [1, 1, 1]),
        (1, 3): ([0, 211, 582, 900], [1, 0.4, 0.7, 0.9]),
        (1, 4): ([0, 128, 200, 400], [0.7079, 0.1, 0.1778, 0.3981]),
        (1, 5): ([0, 128, 200, 400], [0.6645, 0.0891, 0.0178, 0.1778]),
        (2, 3): (
            [120, 540, 570, 880],
            [
                -2.644206750692318e-04 - 1.412260154503784e-04j,
                -4.268363147882066e-05 - 3.938027770581668e-05j,
                5.442117323698082e-06 + 2.082972343014769e-04j,
                7.924659274078076e-06 - 3.426350880829577e-06j,
            ],
        ),
        (2, 4): (
            [80, 140, 200, 260],
            [
                -0.000425856538648683 - 0.000233637915879671j,
                -4.15329049906667e-06 + 0.000214255242998177j,
                -3.55942480332183e-05 - 4.66396609971528e-05j,
                1.72968112739254e-06 - 1.18230107301641e-05j,
            ],
        ),
        (2, 5): ([0, 128, 200, 400], [0.6645, 0.1585, 0.0178, 0.0891]),
        (3, 4): ([0, 128, 200, 350], [0.6645, 0.1585, 0.3548, 0.0398]),
        (3, 5): ([0, 110, 240, 300], [1, 0.8, 0.6, 0.5]),
        (4, 5): ([0, 128, 200, 400], [0.6645, 0.1585, 0.3548, 0.0282]),
    },
    90004: {
        pair: ([0], [10 ** (-number / 4)])  # 0, -5, ... -45 dB
        for number, pair in enumerate((i, j) for i in range(1, 5) for j in range(i + 1, 6))
    },
}


def sounding(number: int) -> Scenario:
    """A channel sounding scenario, at unit levels and without noise.

    A gain above 0 dB, which the documentation has in 90002, is made of gains below and a boost.
    """
    table = SOUNDING[number]
    boost_db = max(0.0, 20 * math.log10(max(abs(g) for _, gains in table.values() for g in gains)))
    taps = max(len(delays) for delays, _ in table.values())
    delays = np.zeros((1, 5, 5, taps))
    gains = np.zeros(delays.shape, np.complex128)
    for (i, j), (link_delays, link_gains) in table.items():
        for pair in ((i - 1, j - 1), (j - 1, i - 1)):
            delays[0][pair][: len(link_delays)] = link_delays
            gains[0][pair][: len(link_gains)] = link_gains
    return Scenario(
        name=f"colosseum_{number}",
        nodes=tuple(Node(f"node{i + 1}") for i in range(5)),
        delays_ns=delays,
        gains=gains / 10 ** (boost_db / 20),
        boost_db=boost_db,
        centre_frequency_hz=1e9,
        description=f"Colosseum's channel sounding scenario {number}, taps as its user "
        "documentation tabulates them. 0 dBm at 0 dBFS at both ends, no noise.",
    )


def awgn() -> Scenario:
    """A wire with noise: one tap of 0 dB without delay, Es/N0 12 dB."""
    return Scenario(
        name="two_nodes",
        nodes=(
            Node("device", transmits=DEVICE, receives=""),
            Node("edge", transmits="", receives=EDGE),
        ),
        delays_ns=np.zeros((1, 2, 2, 1)),
        gains=np.array([[[[0], [1]], [[0], [0]]]], np.complex128),
        centre_frequency_hz=CARRIER_HZ,
        noise_density_dbm_hz=-12 - 10 * math.log10(20e6),
        description="Device to edge, one tap of 0 dB without delay. 0 dBm at 0 dBFS at both ends "
        "and white noise of -12 dBm in 20 MHz: Es/N0 is 12 dB.",
    )


def matrix(loss_db: float) -> Scenario:
    """Four nodes, all paths alike, as Colosseum's fixed path loss scenarios 51005 to 51030."""
    gains = np.where(np.eye(4), 0, 10 ** (-loss_db / 20)).astype(np.complex128)
    return Scenario(
        name=f"all_paths_{loss_db:g}db",
        nodes=tuple(Node(f"node{i + 1}", noise_figure_db=NOISE_FIGURE_DB) for i in range(4)),
        delays_ns=np.zeros((1, 4, 4, 1)),
        gains=gains[None, :, :, None],
        centre_frequency_hz=1e9,
        noise_density_dbm_hz=THERMAL_DBM_HZ,
        description=f"Four nodes, {loss_db:g} dB on every path, one tap without delay, after "
        "Colosseum's fixed path loss scenarios 51005 to 51030 (20 nodes there). 0 dBm at 0 dBFS "
        "at both ends; thermal noise of 290 K and a noise figure of 7 dB.",
    )


# A street: 20 m wide between two walls, a facade across its end 80 m behind the edge, in metres.
STREET_M, FACADE_M = 20.0, 80.0
DEVICE_M, EDGE_M = np.array([0.0, 4.0]), np.array([60.0, 13.0])
REFLECTION = -0.5  # of walls and the facade: 6 dB and half a turn, as of plastered brick


def urban(loss_db: int) -> Scenario:
    """Device and edge in a street: the direct path, both walls and a facade behind the edge.

    The geometry sets delays and gains relative to the direct path; ``base_loss_db`` the level.
    """
    images = (
        (EDGE_M, 1.0),
        (EDGE_M * [1, -1], REFLECTION),  # the wall at 0 m
        (np.array([EDGE_M[0], 2 * STREET_M - EDGE_M[1]]), REFLECTION),  # the wall at 20 m
        (np.array([EDGE_M[0] + 2 * FACADE_M, EDGE_M[1]]), REFLECTION),
    )
    paths = np.array([np.linalg.norm(image - DEVICE_M) for image, _ in images])
    excess = paths - paths[0]
    reflections = np.array([reflection for _, reflection in images])
    turns = excess * CARRIER_HZ / LIGHT
    taps = reflections * paths[0] / paths * np.exp(-2j * np.pi * turns)
    gains = np.zeros((1, 2, 2, len(paths)), np.complex128)
    gains[0, 0, 1] = gains[0, 1, 0] = taps
    delays = np.zeros(gains.shape)
    delays[0, 0, 1] = delays[0, 1, 0] = excess / LIGHT * 1e9
    # Converters are full 20 dB above the direct path: room for echoes and the signal's peaks.
    radio = Node("", 0.0, 20.0 - loss_db, NOISE_FIGURE_DB, quantise=True)
    return Scenario(
        name=f"urban_{loss_db}db",
        nodes=(
            replace(radio, name="device", transmits=DEVICE, receives=""),
            replace(radio, name="edge", transmits="", receives=EDGE),
        ),
        delays_ns=delays,
        gains=gains,
        base_loss_db=float(loss_db),
        noise_density_dbm_hz=THERMAL_DBM_HZ,
        coordinates_m=np.array([[[*DEVICE_M, 1.5], [*EDGE_M, 1.5]]]),
        centre_frequency_hz=CARRIER_HZ,
        description=f"Made here: no published scenario is the paper's 'urban, {loss_db} dB'. "
        f"Device and edge 60.7 m apart in a street of 20 m, by images in the plane: direct path, "
        f"both walls, a facade 80 m behind the edge, reflections of 6 dB. Delays and gains are "
        f"relative to the direct path, whose loss is base_loss_db = {loss_db} dB. 0 dBm at "
        "0 dBFS; thermal noise of 290 K and a noise figure of 7 dB; the receivers' converters "
        "are full 20 dB above the direct path.",
    )


SIDE_M, SECONDS, STEP_S = 200.0, 10.0, 0.5
STATIONS_M = np.array([[50.0, 50.0], [150.0, 150.0]])
EXPONENT, ECHO_DB = 3.0, -8.0


def ten_nodes() -> Scenario:
    """Two stations and eight walkers or vehicles on a square of 200 m for 10 seconds.

    A mover starts anywhere and goes straight at 1 to 14 m/s, back from the square's edge. The
    first tap is the direct path: free space up to 1 m, exponent 3 from there. The second is
    8 dB weaker and went 10 to 60 m further. Phases are drawn once: what waves add up to is in the
    Doppler of each link, the relative speed at the start over the wavelength.
    """
    rng = np.random.default_rng(10)
    movers = 8
    start = rng.uniform(0, SIDE_M, (movers, 2))
    speed = rng.uniform(1, 14, movers)
    direction = rng.uniform(0, 2 * np.pi, movers)
    velocity = speed[:, None] * np.stack([np.cos(direction), np.sin(direction)], axis=1)
    times = np.arange(0, SECONDS + STEP_S / 2, STEP_S)
    moved = start + velocity * times[:, None, None]
    bounced = SIDE_M - np.abs(moved % (2 * SIDE_M) - SIDE_M)
    stations = np.broadcast_to(STATIONS_M, (len(times), 2, 2))
    place = np.concatenate([stations, bounced], axis=1)
    height = np.broadcast_to(
        np.array([10.0, 10.0] + [1.5] * movers)[:, None], (*place.shape[:2], 1)
    )
    place = np.concatenate([place, height], axis=2)

    between = place[:, :, None] - place[:, None]
    distance = np.maximum(np.linalg.norm(between, axis=3), 1.0)
    further = _symmetric(rng.uniform(10, 60, (10, 10)))
    phases = np.stack([_symmetric(rng.uniform(0, 2 * np.pi, (10, 10))) for _ in range(2)], axis=2)
    decibels = -10 * EXPONENT * np.log10(distance)
    direct, echo = (10 ** (db / 20) for db in (decibels, decibels + ECHO_DB))
    gains = np.stack([direct, echo], axis=3) * np.exp(1j * phases)
    gains[:, np.eye(10, dtype=bool)] = 0
    delays = np.stack([distance, distance + further], axis=3) / LIGHT * 1e9
    delays[:, np.eye(10, dtype=bool)] = 0
    velocities = np.concatenate([np.zeros((2, 2)), velocity])
    relative = np.linalg.norm(velocities[:, None] - velocities[None], axis=2)
    free_space_db = 20 * math.log10(4 * np.pi * CARRIER_HZ / LIGHT)
    names = ["station1", "station2"] + [f"mover{i + 1}" for i in range(movers)]
    return Scenario(
        name="ten_nodes",
        nodes=tuple(Node(name, 20.0, -30.0, NOISE_FIGURE_DB) for name in names),
        delays_ns=np.round(delays, 3),
        gains=gains.astype(np.complex64).astype(np.complex128),
        times_s=times,
        base_loss_db=round(free_space_db, 3),
        noise_density_dbm_hz=THERMAL_DBM_HZ,
        doppler_hz=np.round(relative * CARRIER_HZ / LIGHT, 3),
        coordinates_m=np.round(place, 3),
        centre_frequency_hz=CARRIER_HZ,
        description="Two stations and eight movers at 1 to 14 m/s on a square of 200 m for 10 s, "
        "in steps of 0.5 s: path loss of exponent 3 from 1 m on (free space to there is "
        "base_loss_db), a second path 8 dB weaker and 10 to 60 m longer, Clarke's fading at the "
        "Doppler of the links' relative speeds. 20 dBm at 0 dBFS, -30 dBm full scale; thermal "
        "noise of 290 K and a noise figure of 7 dB.",
    )


def _symmetric(array: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.triu(array, 1) + np.triu(array, 1).T


def scenarios() -> dict[str, Scenario]:
    """All of them, by the name of their file."""
    files = {f"colosseum_{number}.json": sounding(number) for number in SOUNDING}
    files |= {"two_nodes.json": awgn(), "all_paths_10db.json": matrix(10)}
    files |= {"all_paths_30db.json": matrix(30)}
    files |= {f"urban_{loss}db.json": urban(loss) for loss in (40, 80)}
    return files | {"ten_nodes.h5": ten_nodes()}


def main(folder: Path) -> None:
    """Writes all of them to ``folder``."""
    for name, scenario in scenarios().items():
        save(scenario, folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
