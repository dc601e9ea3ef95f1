#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Device, emulator and edge for an hour: is every sample there, and does memory stay flat?

    .venv/bin/python testbed/soak.py --minutes 60 --out soak

It times a few passes over the data set first, to know how many make up the time. OUT gets what each
process counted, their memory every few seconds (``memory.csv``, ``soak.png``), and the verdict
(``soak.json``). Exit status 1 where a sample or a frame is missing, or memory grew. With
``--processors 0.5`` the three take half a processor between them, and leave the rest to others.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phydnn.results import provenance, write_json

EVERY_S = 2.0
SLICE_S = 0.05
"""How long the three run or pause at a time where they have a share of the processors."""
TIMED_S = 10.0
"""What is timed to know the rate takes so long at least, the edge's wait for the device apart."""
GROWTH = 1.05
"""Most that the last quarter's memory may be of the second quarter's; the first warms up."""
SILENCE_S = 300
"""The edge's patience: on a machine with other work a pause is no end."""
NAMES = ("emulator", "edge", "device")


def main() -> int:
    """Runs the soak; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--bundle", default="phydnn-resnet20-digits")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--scenario", default="two_nodes")
    parser.add_argument("--processors", type=float, default=math.inf, help="to take at most")
    parser.add_argument("--out", type=Path, default=Path("soak"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    passes = 1
    while (seconds := soak(options, passes)[0]["device"]["seconds"]) < TIMED_S:
        passes *= 8
    passes = max(1, math.ceil(60 * options.minutes * passes / seconds))
    counted, memory = soak(options, passes)
    verdict = judge(counted, memory) | {"passes": passes} | provenance()
    draw(memory, options.out / "soak.png")
    write_json(options.out / "soak.json", verdict)
    print(json.dumps(verdict, indent=2))
    return 0 if verdict["samples_equal"] and verdict["memory_flat"] else 1


def soak(
    options: argparse.Namespace, passes: int
) -> tuple[dict[str, Any], dict[str, list[tuple[float, float]]]]:
    """What each process counted, and its memory in MiB over the seconds."""
    what = ("--bundle", options.bundle, "--data", options.data, "--passes", str(passes))
    arguments = {
        "emulator": ("emulate", options.scenario),
        "edge": ("rx", *what, "--silence", str(SILENCE_S)),
        "device": ("tx", *what),
    }
    files = {name: options.out / f"{name}.json" for name in NAMES}
    processes = {}
    try:
        for name in NAMES:
            words = (sys.executable, "-m", "phydnn", *arguments[name], "--json", str(files[name]))
            with (options.out / f"{name}.log").open("w") as log:
                processes[name] = subprocess.Popen(words, stdout=log, stderr=log)
        memory = watch(processes, options.processors, options.out / "memory.csv")
        processes["emulator"].send_signal(signal.SIGTERM)
        for name, process in processes.items():
            if process.wait(timeout=60):
                sys.exit(f"the {name} failed: see {options.out / name}.log")
    finally:
        for process in processes.values():
            process.kill()
    return {name: json.loads(file.read_text()) for name, file in files.items()}, memory


def watch(
    processes: dict[str, subprocess.Popen[bytes]], processors: float, table: Path
) -> dict[str, list[tuple[float, float]]]:
    """Notes each process's memory until both ends have ended, and holds them to their share."""
    memory: dict[str, list[tuple[float, float]]] = {name: [] for name in processes}
    started, noted = time.monotonic(), -EVERY_S
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seconds", *(f"{name}_mib" for name in processes)])
        while any(processes[name].poll() is None for name in ("edge", "device")):
            if processes["emulator"].poll() is not None:
                break
            now = time.monotonic() - started
            if now - noted >= EVERY_S:
                noted = now
                row = [resident(process) for process in processes.values()]
                for name, mib in zip(processes, row, strict=True):
                    if mib is not None:
                        memory[name].append((now, mib))
                cells = ("" if mib is None else f"{mib:.1f}" for mib in row)
                writer.writerow([f"{now:.1f}", *cells])
                file.flush()
            before = sum(map(used, processes.values()))
            time.sleep(SLICE_S)
            taken = sum(map(used, processes.values())) - before
            pause = taken / processors - SLICE_S
            if pause > 0:
                for process in processes.values():
                    process.send_signal(signal.SIGSTOP)
                time.sleep(pause)
                for process in processes.values():
                    process.send_signal(signal.SIGCONT)
    return memory


def used(process: subprocess.Popen[bytes]) -> float:
    """The processor time that a process has had, in seconds; 0 once it has ended."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(process: subprocess.Popen[bytes]) -> float | None:
    """A process's resident memory in MiB; None once it has ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return None
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(sizes[0]) / 1024 if sizes else None


def judge(counted: dict[str, Any], memory: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Whether all that was sent has come, and whether memory stayed flat."""
    device, edge, emulator = (counted[name] for name in ("device", "edge", "emulator"))
    nodes = {node["name"]: node for node in emulator["nodes"]}
    samples = {
        "on_air": device["samples_on_air"],
        "served": device["samples_served"],
        "into_emulator": nodes["device"]["samples_in"],
        "out_of_emulator": nodes["edge"]["samples_out"],
        "received": edge["samples_received"],
    }
    grown = {}
    for name, points in memory.items():
        quarter = len(points) // 4
        if quarter:
            early = statistics.median(mib for _, mib in points[quarter : 2 * quarter])
            late = statistics.median(mib for _, mib in points[-quarter:])
            grown[name] = {"second_quarter_mib": early, "last_quarter_mib": late}
    return {
        "minutes": device["seconds"] / 60,
        "images": edge["n"],
        "images_per_s": edge["n"] / device["seconds"],
        "samples_per_s": samples["received"] / device["seconds"],
        "accuracy": edge.get("accuracy"),
        "frames_sent": device["frames_sent"],
        "frames_lost": edge["frames_lost"],
        "samples": samples,
        "samples_equal": len(set(samples.values())) == 1,
        "memory": grown,
        "memory_flat": all(
            size["last_quarter_mib"] <= GROWTH * size["second_quarter_mib"]
            for size in grown.values()
        ),
    }


def draw(memory: dict[str, list[tuple[float, float]]], picture: Path) -> None:
    """Memory over time."""
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, points in memory.items():
        axes.plot([now / 60 for now, _ in points], [mib for _, mib in points], label=name)
    axes.set(xlabel="minutes", ylabel="resident memory, MiB", ylim=(0, None))
    axes.legend()
    figure.savefig(picture, dpi=150)


if __name__ == "__main__":
    sys.exit(main())
