# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Pictures of scenarios and of what the sounder finds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phydnn.experiments.plots import COLOURS, GREY, picture
from phydnn.scenario import Scenario
from phydnn.sounder import Sounding

PROFILES = 6
FLOOR_DB = -120.0


def draw_scenario(scenario: Scenario) -> bytes:
    """Power delay profiles of the strongest links at time 0, and the gains of all links: a PNG."""

    def draw(figure: Any, rows: list[dict[str, Any]]) -> None:
        figure.set_size_inches(8.4, 3.9)
        figure.suptitle(scenario.name, fontweight="bold")
        profile, matrix = figure.subplots(1, 2, width_ratios=(1.15, 1))
        _profiles(profile, scenario)
        if len(scenario.times_s) > 1:
            _over_time(matrix, scenario)
        else:
            _matrix(figure, matrix, scenario)

    return picture(draw, [])


def _powers_db(scenario: Scenario) -> NDArray[np.float64]:
    """Float64 [T,N,N]: dB from samples sent to samples received, of all taps."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(scenario.powers()) + scenario.link_db()


def _strongest(scenario: Scenario) -> list[tuple[int, int]]:
    powers = _powers_db(scenario).max(axis=0)
    links = [(i, j) for i, j in scenario.links() if i < j or not scenario.gains[:, j, i].any()]
    return sorted(links, key=lambda link: -powers[link])[:PROFILES]


def _name(scenario: Scenario, i: int, j: int) -> str:
    return f"{scenario.nodes[i].name} \N{RIGHTWARDS ARROW} {scenario.nodes[j].name}"


def _profiles(axis: Any, scenario: Scenario) -> None:
    level = scenario.link_db()
    lowest = 0.0
    for number, (i, j) in enumerate(_strongest(scenario)):
        gains = scenario.gains[0, i, j]
        used = gains != 0
        if not used.any():
            continue
        decibels = 20 * np.log10(np.abs(gains[used])) + level[i, j]
        lowest = min(lowest, float(decibels.min()))
        colour = COLOURS[number % len(COLOURS)]
        axis.vlines(scenario.delays_ns[0, i, j][used], -400, decibels, colour, linewidth=1.2)
        axis.plot(scenario.delays_ns[0, i, j][used], decibels, "o", color=colour,
                  label=_name(scenario, i, j))  # fmt: skip
    axis.set(
        xlabel="delay (ns)",
        ylabel="gain, dBFS to dBFS (dB)",
        title="Taps at time 0",
        ylim=(max(lowest, FLOOR_DB) - 10, None),
    )
    if axis.get_legend_handles_labels()[0]:
        axis.legend()


def _matrix(figure: Any, axis: Any, scenario: Scenario) -> None:
    powers = _powers_db(scenario)[0]
    image = axis.imshow(np.where(np.isfinite(powers), powers, np.nan), cmap="viridis")
    figure.colorbar(image, ax=axis, label="gain (dB)", shrink=0.8)
    names = [node.name for node in scenario.nodes]
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axis.set_yticks(range(len(names)), names)
    axis.grid(False)
    axis.set(xlabel="receiver", ylabel="transmitter", title="All links")


def _over_time(axis: Any, scenario: Scenario) -> None:
    powers = _powers_db(scenario)
    for i, j in scenario.links():
        axis.plot(scenario.times_s, powers[:, i, j], color=GREY, linewidth=0.4, alpha=0.5)
    for number, (i, j) in enumerate(_strongest(scenario)):
        axis.plot(scenario.times_s, powers[:, i, j], color=COLOURS[number % len(COLOURS)])
    axis.set(xlabel="time (s)", ylabel="gain (dB)", title="All links over time")


def draw_sounding(
    sounding: Sounding,
    title: str,
    exact: tuple[NDArray[np.float64], NDArray[np.complex128]] | None = None,
) -> bytes:
    """The measured response and the taps found, a PNG.

    Args:
        sounding: as measured.
        title: one line.
        exact: delays (ns) and gains that the link has, to be shown beside.
    """

    def draw(figure: Any, rows: list[dict[str, Any]]) -> None:
        figure.set_size_inches(8.4, 3.9)
        figure.suptitle(title, fontweight="bold")
        response, taps = figure.subplots(1, 2)
        megahertz = sounding.frequencies_hz / 1e6
        found = np.exp(-2e-9j * np.pi * np.outer(sounding.frequencies_hz, sounding.delays_ns))
        for values, colour, label in (
            (sounding.response, GREY, "measured"),
            (found @ sounding.gains, COLOURS[0], "of the taps found"),
        ):
            decibels = 20 * np.log10(np.maximum(np.abs(values), 1e-9))
            response.plot(megahertz, decibels, color=colour, label=label)
        response.set(xlabel="frequency (MHz)", ylabel="response (dB)")
        response.legend()
        both = [(sounding.delays_ns, sounding.gains, COLOURS[0], "o", "found")]
        if exact is not None:
            both.append((*exact, COLOURS[1], "x", "of the scenario"))
        lowest = 0.0
        for delays, gains, colour, marker, label in both:
            decibels = 20 * np.log10(np.maximum(np.abs(gains), 1e-9))
            lowest = min(lowest, float(decibels.min(initial=0.0)))
            taps.plot(delays, decibels, marker, color=colour, label=label)
            taps.vlines(delays, -400, decibels, colour, linewidth=0.8)
        taps.set(xlabel="delay (ns)", ylabel="gain (dB)", ylim=(lowest - 10, None))
        taps.legend()

    return picture(draw, [])
