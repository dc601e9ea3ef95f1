# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Energy of a run: joules that say whether they were measured or modelled, and of what.

::

    meter = energy.open("auto")
    meter.measure_idle(10)
    with meter:
        classify(images)
        meter.account("head", macs=1_000_000)
        meter.account("radio", tx_s=0.004)
    results.write_json(path, meter.energy.record())

:func:`open` takes ``rapl`` (Linux powercap: CPU packages and their DRAM), ``nvml`` or ``nvml:N``
(NVIDIA GPUs), ``jetson`` (the INA3221 of a Jetson, by sysfs or tegrastats), ``csv:FILE`` (what an
external meter writes), ``model`` (work times constants) or ``auto``: the first of rapl, nvml and
jetson that works, else the model, with the reasons in the record. A meter that cannot measure
here says so and gives no number.

Counters have steps: RAPL's about 1 ms, NVML's and the INA3221's up to 100 ms, and NVML's power is
an average of up to 1 s. Repeat what takes less than a few of them.
"""

from __future__ import annotations

import abc
import contextlib
import csv
import importlib
import io
import math
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from phydnn.errors import InputError, RunError

SYSFS = Path("/sys")
TEGRASTATS = ("tegrastats", "--interval", "100")
SILENCE_S = 5.0  # what tegrastats told longer ago is stale
MAX_BYTES = 1 << 28
MAX_GAP_S = 10.0
"""An external meter's readings may be this far apart; beyond, what was drawn is anyone's guess."""

Clock = Callable[[], float]
Floats = NDArray[np.float64]


class UnavailableError(InputError):
    """The meter that was asked for cannot measure on this machine."""


@dataclass(frozen=True)
class Energy:
    """What a meter saw between start and stop.

    Attributes:
        joules: all that was drawn in ``scope``, the idle baseline included.
        seconds: between start and stop; for a model, too, the time that the host took.
        method: "measured" or "modelled".
        scope: what the joules are of: "CPU package", "GPU", "model: head + radio".
        source: the backend.
        idle_watts: of the same scope, measured before; None where it was not.
        parts: joules by counter, rail or accounted part; a Jetson's rails may overlap.
        readings: how many the joules come from; 0 for a model.
        note: what else a reader must know.
        constants: of the model, with units and sources.
    """

    joules: float
    seconds: float
    method: str
    scope: str
    source: str
    idle_watts: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    readings: int = 0
    note: str = ""
    constants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def above_idle(self) -> float | None:
        """Joules beyond the idle baseline; None where that was not measured."""
        if self.idle_watts is None:
            return None
        return self.joules - self.idle_watts * self.seconds

    def record(self) -> dict[str, dict[str, Any]]:
        """The result key ``energy_j``: an object whose ``total`` and ``above_idle`` are joules."""
        record = {
            "total": self.joules,
            "above_idle": self.above_idle,
            "idle_w": self.idle_watts,
            "seconds": self.seconds,
            "method": self.method,
            "scope": self.scope,
            "source": self.source,
            "readings": self.readings,
            "parts": dict(self.parts),
        }
        for name in ("note", "constants"):
            if value := getattr(self, name):
                record[name] = value
        return {"energy_j": record}


class Meter(abc.ABC):
    """Joules of what runs between :meth:`start` and :meth:`stop`, or inside a ``with``.

    Attributes:
        source: the backend.
        method: "measured" or "modelled".
        scope: what is metered.
        note: comes with each result.
        idle_watts: the baseline, once :meth:`measure_idle` ran.

    Args:
        clock: seconds; for tests.
    """

    source: str
    method = "measured"
    scope = ""
    note = ""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self.idle_watts: float | None = None
        self._clock = clock
        self._began: float | None = None
        self._energy: Energy | None = None

    @property
    def energy(self) -> Energy:
        """Of the last run.

        Raises:
            RunError: none has ended.
        """
        if self._energy is None:
            raise RunError("no metered run has ended yet: there is no energy to tell")
        return self._energy

    def start(self) -> None:
        """Begins a run.

        Raises:
            RunError: one is under way, or the meter fell silent.
        """
        if self._began is not None:
            raise RunError(f"the {self.source} meter is running already")
        self._energy = None
        self._begin()
        self._began = self._clock()

    def stop(self) -> Energy:
        """Ends the run.

        Raises:
            RunError: none is under way, or the meter failed or saw nothing during it.
            InputError: an external meter's file is broken or does not cover the run.
        """
        if self._began is None:
            raise RunError(f"the {self.source} meter is not running")
        began, self._began = self._began, None
        ended = self._clock()
        joules, parts, readings = self._end(began, ended)
        self._energy = Energy(
            joules,
            ended - began,
            self.method,
            self.scope,
            self.source,
            self.idle_watts,
            parts,
            readings,
            self.note,
            self._constants(),
        )
        return self._energy

    def measure_idle(self, seconds: float = 10.0) -> None:
        """Meters this process doing nothing; results then state it and what was drawn above it.

        Raises:
            InputError, RunError: as :meth:`stop`.
        """
        self.idle_watts = None
        self.start()
        time.sleep(seconds)
        idle = self.stop()
        self.idle_watts = idle.joules / idle.seconds

    def account(  # noqa: B027 - a meter that measures has no use for it
        self,
        part: str,
        *,
        where: str = "device",
        macs: float = 0,
        tx_s: float = 0,
        rx_s: float = 0,
        idle_s: float = 0,
    ) -> None:
        """Tells what the run did, for a model to charge; a meter that measures ignores it.

        Args:
            part: what did it: "head", "radio".
            where: whose MACs: "device" or "edge".
            macs: multiply-accumulates, as :func:`phydnn.complexity.macs` counts.
            tx_s: seconds that a radio transmitted,
            rx_s: received,
            idle_s: or was on and did neither.
        """

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The run's own failure is what the user must hear of, not the meter's.
        with contextlib.suppress(InputError, RunError) if error else contextlib.nullcontext():
            self.stop()

    @abc.abstractmethod
    def _begin(self) -> None: ...

    @abc.abstractmethod
    def _end(self, began: float, ended: float) -> tuple[float, dict[str, float], int]:
        """Joules, joules by part, and how many readings they come from."""

    def _constants(self) -> dict[str, dict[str, Any]]:
        return {}


class _Polled(Meter):
    """A meter that is read again and again by a thread, so that no wrap or change is missed."""

    interval_s: float

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        super().__init__(clock)
        self._counted: frozenset[str] = frozenset()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread()
        self._failure: RunError | None = None
        self._when, self._last = 0.0, dict[str, float]()
        self._joules, self._readings = dict[str, float](), 0

    @abc.abstractmethod
    def _read(self) -> dict[str, float]:
        """What each part shows now.

        Raises:
            RunError: it cannot be read.
        """

    @abc.abstractmethod
    def _gain(self, part: str, before: float, now: float, seconds: float) -> float:
        """Joules between two readings of a part."""

    def poll(self) -> None:
        """Takes a reading; a thread does it each ``interval_s``.

        Raises:
            RunError: the meter cannot be read.
        """
        with self._lock:
            when, reading = self._clock(), self._read()
            if reading.keys() != self._last.keys():
                raise RunError(f"the {self.source} meter no longer shows what it did at the start")
            for part, now in reading.items():
                gain = self._gain(part, self._last[part], now, when - self._when)
                self._joules[part] += gain
            self._when, self._last = when, reading
            self._readings += 1

    def _begin(self) -> None:
        self._when, self._last = self._clock(), self._read()
        self._joules, self._readings = dict.fromkeys(self._last, 0.0), 1
        self._over, self._failure = threading.Event(), None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _end(self, began: float, ended: float) -> tuple[float, dict[str, float], int]:
        self._over.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        self.poll()
        joules = math.fsum(self._joules[part] for part in self._counted)
        if joules <= 0:
            raise RunError(
                f"the {self.source} meter saw no energy in {ended - began:.3g} s: "
                "let the run take longer, or choose another meter if it never does"
            )
        return joules, dict(self._joules), self._readings

    def _watch(self) -> None:
        while not self._over.wait(self.interval_s):
            try:
                self.poll()
            except RunError as error:
                self._failure = error
                return


class Rapl(_Polled):
    """Linux powercap: the energy counters of Intel's and AMD's processors.

    Packages count, and DRAM where it has a counter of its own; cores are part of their package,
    and "psys" would count packages twice. Counters wrap at ``max_energy_range_uj``: after minutes
    at full load, which is why a thread reads them each 5 s.

    Source: Documentation/power/powercap/powercap.rst of Linux.

    Args:
        root: of sysfs; for tests.
        clock: seconds; for tests.

    Raises:
        UnavailableError: there are no counters, or they may not be read.
    """

    source = "rapl"
    interval_s = 5.0

    def __init__(self, root: Path = SYSFS, clock: Clock = time.perf_counter) -> None:
        super().__init__(clock)
        base = root / "class" / "powercap"
        self._zones: dict[str, tuple[Path, float]] = {}
        packages = 0
        try:
            # intel-rapl-mmio shows the same packages once more, hence the colon.
            for zone in sorted(base.glob("intel-rapl:*")):
                name = (zone / "name").read_text().strip()
                _, package, *inner = zone.name.split(":")
                if name.startswith("package") and not inner:
                    packages += 1
                elif name == "dram":
                    name = f"dram-{package}"
                else:
                    continue
                wrap = float((zone / "max_energy_range_uj").read_text())
                self._zones[name] = zone / "energy_uj", wrap
        except (OSError, ValueError) as error:
            raise UnavailableError(f"RAPL's counters in {base} cannot be read: {error}") from error
        if packages == 0:
            raise UnavailableError(
                f"there are no RAPL counters in {base}: they need a bare Intel or AMD machine "
                "(virtual ones rarely have them) and Linux's module intel_rapl_msr"
            )
        self._counted = frozenset(self._zones)
        self.scope = "CPU package" if packages == 1 else f"{packages} CPU packages"
        if len(self._zones) > packages:
            self.scope += " and DRAM"
        try:
            self._read()
        except RunError as error:
            raise UnavailableError(str(error)) from error

    def _read(self) -> dict[str, float]:
        reading = {}
        for name, (path, _) in self._zones.items():
            try:
                reading[name] = float(path.read_text())
            except PermissionError as error:
                everyone = path.parents[1] / "intel-rapl:*" / path.name
                raise RunError(
                    f"{path} may only be read by root: "
                    f"run as root, or let everyone read it: sudo chmod a+r {everyone}"
                ) from error
            except (OSError, ValueError) as error:
                raise RunError(f"{path} cannot be read: {error}") from error
        return reading

    def _gain(self, part: str, before: float, now: float, seconds: float) -> float:
        wrap = self._zones[part][1]
        return 1e-6 * (now - before if now >= before else now - before + wrap)


class Nvml(_Polled):
    """NVIDIA GPUs by the package nvidia-ml-py: the boards' energy counters.

    GPUs before Volta have no such counter; their power is sampled then, and the note says so.

    Args:
        index: of one GPU, as nvidia-smi counts; None for all of them.
        clock: seconds; for tests.

    Raises:
        UnavailableError: there is no such package, driver or GPU.
    """

    source = "nvml"
    interval_s = 0.1

    def __init__(self, index: int | None = None, clock: Clock = time.perf_counter) -> None:
        super().__init__(clock)
        try:
            self._nvml: Any = importlib.import_module("pynvml")
        except ImportError as error:
            raise UnavailableError("NVML needs a package: pip install nvidia-ml-py") from error
        nvml = self._nvml
        try:
            nvml.nvmlInit()
            count = nvml.nvmlDeviceGetCount()
            chosen = range(count) if index is None else range(index, index + 1)
            if not chosen or chosen[-1] >= count:
                raise UnavailableError(
                    f"NVML sees {count} GPUs here, so none is number {index or 0}"
                )
            self._gpus = {f"GPU {i}": nvml.nvmlDeviceGetHandleByIndex(i) for i in chosen}
        except nvml.NVMLError as error:
            raise UnavailableError(f"NVML cannot be used here: {error}") from error
        self._counted = frozenset(self._gpus)
        self.scope = "GPU" if len(self._gpus) == 1 else f"{len(self._gpus)} GPUs"
        self._counts = True
        try:
            self._read()
        except RunError:
            self._counts = False
            self.note = f"the GPU has no energy counter: its power, each {self.interval_s} s"
            try:
                self._read()
            except RunError as error:
                raise UnavailableError(str(error)) from error

    def _read(self) -> dict[str, float]:
        nvml = self._nvml
        read = nvml.nvmlDeviceGetTotalEnergyConsumption  # mJ
        if not self._counts:
            read = nvml.nvmlDeviceGetPowerUsage  # mW
        try:
            return {name: float(read(gpu)) for name, gpu in self._gpus.items()}
        except nvml.NVMLError as error:
            raise RunError(f"NVML cannot tell the GPU's energy: {error}") from error

    def _gain(self, part: str, before: float, now: float, seconds: float) -> float:
        return 1e-3 * (now - before if self._counts else (now + before) / 2 * seconds)


class Jetson(_Polled):
    """A Jetson's power monitor, an INA3221: its sysfs files, or tegrastats where there are none.

    The board's input counts where a rail shows it; else (AGX modules) all rails that do not feed
    one another, and the scope names them.

    Sources: Linux's Documentation/hwmon/ina3221.rst; NVIDIA's Jetson Linux Developer Guide,
    "Tegrastats Utility" and the module's "Power and Thermal".

    Args:
        root: of sysfs; for tests.
        command: that writes what tegrastats does.
        clock: seconds; for tests.

    Raises:
        UnavailableError: this is no Jetson.
    """

    source = "jetson"
    interval_s = 0.1
    inputs = ("VDD_IN", "POM_5V_IN")
    nested = ("VDDQ_VDD2_1V8AO",)  # fed by VIN_SYS_5V0, on the AGX Orin

    def __init__(
        self,
        root: Path = SYSFS,
        command: Sequence[str] = TEGRASTATS,
        clock: Clock = time.perf_counter,
    ) -> None:
        super().__init__(clock)
        self._files = _ina3221(root)
        self._command = command
        self._program: _Tegrastats | None = None
        self._open()
        try:
            rails = self._read().keys()
        except RunError as error:
            raise UnavailableError(str(error)) from error
        finally:
            self._close()
        whole = [rail for rail in self.inputs if rail in rails][:1]
        self._counted = frozenset(whole or rails - set(self.nested))
        self.scope = (
            f"board, at {whole[0]}" if whole else "rails " + " + ".join(sorted(self._counted))
        )

    def _begin(self) -> None:
        self._open()
        try:
            super()._begin()
        except RunError:
            self._close()
            raise

    def _end(self, began: float, ended: float) -> tuple[float, dict[str, float], int]:
        try:
            return super()._end(began, ended)
        finally:
            self._close()

    def _open(self) -> None:
        if not self._files:
            self._program = _Tegrastats(self._command)

    def _close(self) -> None:
        if self._program is not None:
            self._program.close()
            self._program = None

    def _read(self) -> dict[str, float]:
        if self._program is not None:
            return self._program.rails()
        reading = {}
        for rail, paths in self._files.items():
            try:
                values = [float(path.read_text()) for path in paths]
            except (OSError, ValueError) as error:
                raise RunError(f"rail {rail} cannot be read: {error}") from error
            reading[rail] = math.prod(1e-3 * value for value in values)
        return reading

    def _gain(self, part: str, before: float, now: float, seconds: float) -> float:
        return (before + now) / 2 * seconds


class _Tegrastats:
    """tegrastats while it runs, and the last line that it wrote.

    Raises:
        UnavailableError: it cannot be run.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._name = command[0]
        self._told, self._line_came = (0.0, dict[str, float]()), threading.Event()
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise UnavailableError(
                f"this is no Jetson: it has no INA3221 in sysfs, and {self._name} "
                f"cannot be run ({error.strerror})"
            ) from error
        threading.Thread(target=self._listen, daemon=True).start()
        self._line_came.wait(SILENCE_S)

    def rails(self) -> dict[str, float]:
        """Watts by rail, as last told.

        Raises:
            RunError: nothing was told, or not of late.
        """
        when, rails = self._told
        if not rails:
            raise RunError(f"{self._name} tells no power here")
        if self.process.poll() is not None or time.monotonic() - when > SILENCE_S:
            raise RunError(f"{self._name} fell silent")
        return rails

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                if rails := parse_tegrastats(line):
                    self._told = time.monotonic(), rails
                    self._line_came.set()
        self._line_came.set()


def parse_tegrastats(line: str) -> dict[str, float]:
    """Watts by rail in a line of tegrastats, such as ``VDD_IN 4872mW/4872mW`` (now/average).

    JetPack 4 leaves the unit out: ``POM_5V_IN 2032/2032``. A line that tells no power gives {}.
    """
    found = re.findall(r"(?<!\S)([A-Z]\w*) (\d{1,9})(?:mW)?/\d+(?:mW)?(?!\S)", line, re.ASCII)
    return {rail: 1e-3 * int(now) for rail, now in found}


def _ina3221(root: Path) -> dict[str, tuple[Path, ...]]:
    """Files whose product is a rail's power: milliwatts, or millivolts and milliamperes."""
    drivers, rails = root / "bus" / "i2c" / "drivers", dict[str, tuple[Path, ...]]()

    def add(label: Path, *files: Path) -> None:
        with contextlib.suppress(OSError):
            name = label.read_text(errors="replace").strip()
            # Boards name channels that lead nowhere NC.
            if name not in ("", "NC") and all(file.exists() for file in files):
                rails[name] = files

    # NVIDIA's driver, up to JetPack 4; then Linux's, whose channels 4 to 7 are shunts and sums.
    for folder in sorted(drivers.glob("ina3221x/*/iio:device*")):
        for i in range(3):
            add(folder / f"rail_name_{i}", folder / f"in_power{i}_input")
    for folder in sorted(drivers.glob("ina3221/*/hwmon/hwmon*")):
        for i in range(1, 4):
            add(folder / f"in{i}_label", folder / f"in{i}_input", folder / f"curr{i}_input")
    return rails


class ExternalMeter(Meter):
    """A CSV file that an external power meter's program writes while we run.

    Columns ``timestamp`` (seconds since 1970, or ISO 8601 with its zone) and ``watts``, in any
    order if a header names them. Power is interpolated between readings and integrated from start
    to stop by this machine's clock: the meter's clock must agree with it. At stop, it may take
    ``patience_s`` until the file has caught up.

    Args:
        path: of the file; it must be there, if without readings.
        patience_s: how long to wait for the last reading.
        clock: seconds since 1970; for tests.

    Raises:
        UnavailableError: the file cannot be read.
        InputError: it is broken.
    """

    source = "csv"

    def __init__(self, path: Path, patience_s: float = 5.0, clock: Clock = time.time) -> None:
        super().__init__(clock)
        self._path, self._patience_s = path, patience_s
        self.scope = f"external meter, {path.name}"
        self._load()

    def _load(self) -> tuple[Floats, Floats]:
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise UnavailableError(f"{self._path} cannot be read: {error.strerror}") from error
        return parse_csv(data, str(self._path))

    def _begin(self) -> None:
        pass

    def _end(self, began: float, ended: float) -> tuple[float, dict[str, float], int]:
        deadline = time.monotonic() + self._patience_s
        times, watts = self._load()
        while (len(times) == 0 or times[-1] < ended) and time.monotonic() < deadline:
            time.sleep(0.2)
            times, watts = self._load()
        joules = integrate(times, watts, began, ended, str(self._path))
        inside = int(np.count_nonzero((times >= began) & (times <= ended)))
        if inside < 2:
            raise InputError(
                f"{self._path} has {inside} readings within a run of {ended - began:.3g} s: "
                "let the run take longer, or the meter read more often"
            )
        return joules, {}, inside


def parse_csv(data: bytes, name: str) -> tuple[Floats, Floats]:
    """Reads an external meter's file; :class:`ExternalMeter` describes it.

    Rows are sorted by time. A last line without its newline is still being written, and left out.

    Args:
        data: the file.
        name: what errors call it.

    Returns:
        timestamps [n] in seconds, strictly rising, and watts [n].

    Raises:
        InputError: the file is too large, not UTF-8 or not CSV, a column is missing, or a value is
            not a time or a power, or two readings have the same time.
    """
    if len(data) > MAX_BYTES:
        raise InputError(f"{name} is larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text: {error}") from error
    whole = text[: text.rfind("\n") + 1]
    rows = csv.reader(io.StringIO(whole, newline=""), strict=True)
    columns, readings, first = (0, 1), list[tuple[float, float]](), True
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            top, first = first, False
            if top and _timestamp(cells[0]) is None:
                names = [cell.lower() for cell in cells]
                if "timestamp" not in names or "watts" not in names:
                    raise InputError("columns 'timestamp' and 'watts' are needed")
                columns = names.index("timestamp"), names.index("watts")
                continue
            if len(cells) <= max(columns):
                raise InputError("it has too few columns")
            when, power = (cells[column] for column in columns)
            readings.append((_seconds(when), _watts(power)))
    except (InputError, csv.Error) as error:
        raise InputError(f"{name}, line {rows.line_num}: {error}") from None
    table = np.array(sorted(readings), np.float64).reshape(-1, 2)
    same = np.flatnonzero(np.diff(table[:, 0]) <= 0)
    if len(same):
        raise InputError(
            f"{name} has two readings at timestamp {table[same[0], 0]:.6f}: "
            "its times must be as fine as its readings"
        )
    return table[:, 0], table[:, 1]


def integrate(
    times: Floats, watts: Floats, start: float, stop: float, name: str = "the meter"
) -> float:
    """Joules from ``start`` to ``stop`` of power that is linear between readings.

    Args:
        times: [n] in seconds, strictly rising.
        watts: [n].
        start, stop: in seconds, within ``times``.
        name: what errors call the readings.

    Raises:
        InputError: stop is not after start, readings do not cover the run, or a gap is longer than
            :data:`MAX_GAP_S`.
    """
    if not start < stop:
        raise InputError(f"a run must stop after it starts: got {start:.3f} to {stop:.3f}")
    if len(times) == 0:
        raise InputError(f"{name} has no readings: is the meter recording?")
    if not times[0] <= start <= stop <= times[-1]:
        raise InputError(
            f"{name} has readings from {times[0]:.3f} to {times[-1]:.3f}, but the run was from "
            f"{start:.3f} to {stop:.3f}: record all of it, and set both clocks alike"
        )
    first, last = np.searchsorted(times, start, "right"), np.searchsorted(times, stop, "left")
    gaps = np.diff(times[first - 1 : last + 1])
    if gaps.max() > MAX_GAP_S:
        raise InputError(
            f"{name} has no reading for {gaps.max():.1f} s of the run: at most {MAX_GAP_S:g} s "
            "may pass between two"
        )
    t = np.concatenate([[start], times[first:last], [stop]])
    w = np.concatenate(
        [[np.interp(start, times, watts)], watts[first:last], [np.interp(stop, times, watts)]]
    )
    return float(np.dot(np.diff(t), (w[1:] + w[:-1]) / 2))


def _timestamp(cell: str) -> float | None:
    """Seconds since 1970, of any size; None where the cell is no time."""
    with contextlib.suppress(ValueError):
        return float(cell)
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        return None
    if moment.tzinfo is None:
        raise InputError(f"timestamp '{cell}' needs a zone: end it with Z or +01:00")
    return moment.timestamp()


def _seconds(cell: str) -> float:
    seconds = _timestamp(cell)
    if seconds is None or not 0 <= seconds <= 1e11:
        raise InputError(f"timestamp '{cell}' is neither seconds since 1970 nor ISO 8601")
    return seconds


def _watts(cell: str) -> float:
    try:
        watts = float(cell)
    except ValueError:
        watts = math.nan
    if not 0 <= watts <= 1e6:
        raise InputError(f"watts '{cell}' are not a number from 0 to 1e6")
    return watts


@dataclass(frozen=True)
class Constant:
    """A number of the model: its value, unit and source, and whether it is only assumed."""

    value: float
    unit: str
    source: str
    assumed: bool = False


@dataclass(frozen=True)
class Constants:
    """What the model multiplies work with. Replace what is known better, source and all.

    Energies per MAC are data sheets' power over their peak rate: networks seldom reach it, so
    computing costs at least this. The radio's are assumptions; one radio carries every system that
    is compared, so they scale air time and favour none.

    Raises:
        InputError: a value is negative or not finite.
    """

    device_j_per_mac: Constant = Constant(
        10 / 236e9,
        "J/MAC",
        "NVIDIA Jetson Nano data sheet: 10 W at 472 GFLOPS in FP16, two to a MAC; a lower bound",
    )
    edge_j_per_mac: Constant = Constant(
        400 / 9.75e12,
        "J/MAC",
        "NVIDIA A100 SXM data sheet: 400 W at 19.5 TFLOPS in FP32, two to a MAC; a lower bound",
    )
    radio_tx_w: Constant = Constant(
        1.28, "W", "assumption: the order of a one-antenna Wi-Fi card that transmits", True
    )
    radio_rx_w: Constant = Constant(
        0.94, "W", "assumption: the order of a one-antenna Wi-Fi card that receives", True
    )
    radio_idle_w: Constant = Constant(
        0.82, "W", "assumption: the order of a one-antenna Wi-Fi card that listens", True
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name).value
            if not 0 <= value < math.inf:
                raise InputError(f"the energy model's {each.name} must be 0 or more: got {value}")


class Model(Meter):
    """Energy as a formula: what :meth:`account` is told, times constants. Nothing is measured.

    Joules of a part are MACs x J/MAC, of the device or the edge, plus seconds of transmission,
    reception and idling x the radio's watts in each. There is no idle baseline.
    """

    source = "model"
    method = "modelled"

    def __init__(
        self, constants: Constants | None = None, clock: Clock = time.perf_counter
    ) -> None:
        super().__init__(clock)
        self.constants = constants or Constants()
        self._parts: dict[str, float] = {}

    def measure_idle(self, seconds: float = 10.0) -> None:
        """Does nothing: what idling costs is among the constants."""

    def account(
        self,
        part: str,
        *,
        where: str = "device",
        macs: float = 0,
        tx_s: float = 0,
        rx_s: float = 0,
        idle_s: float = 0,
    ) -> None:
        """Adds work to a part of the run; see :meth:`Meter.account`.

        Raises:
            InputError: work is negative or not finite, or done neither on device nor edge.
            RunError: no run is under way.
        """
        if self._began is None:
            raise RunError("work is accounted to no run: start the meter first")
        if where not in ("device", "edge"):
            raise InputError(f"work is done on the 'device' or the 'edge', but '{where}' is given")
        work = {"macs": macs, "tx_s": tx_s, "rx_s": rx_s, "idle_s": idle_s}
        for name, amount in work.items():
            if not 0 <= amount < math.inf:
                raise InputError(f"{name} of '{part}' must be 0 or more: got {amount}")
        c = self.constants
        per_mac = c.device_j_per_mac if where == "device" else c.edge_j_per_mac
        prices = (per_mac, c.radio_tx_w, c.radio_rx_w, c.radio_idle_w)
        joules = math.fsum(
            amount * price.value for amount, price in zip(work.values(), prices, strict=True)
        )
        self._parts[part] = self._parts.get(part, 0.0) + joules

    def _begin(self) -> None:
        self._parts = {}

    def _end(self, began: float, ended: float) -> tuple[float, dict[str, float], int]:
        if not self._parts:
            raise RunError("the energy model was told of no work: account for the run's parts")
        self.scope = "model: " + " + ".join(self._parts)
        return math.fsum(self._parts.values()), dict(self._parts), 0

    def _constants(self) -> dict[str, dict[str, Any]]:
        return asdict(self.constants)


def open(spec: str, constants: Constants | None = None, root: Path = SYSFS) -> Meter:
    """A meter: "rapl", "nvml", "nvml:N", "jetson", "csv:FILE", "model" or "auto".

    Args:
        spec: which.
        constants: of the model.
        root: of sysfs; for tests.

    Raises:
        UnavailableError: it cannot measure on this machine.
        InputError: there is no such meter.
    """
    kind, colon, argument = spec.partition(":")
    if spec == "auto":
        return _first(constants, root)
    if spec == "rapl":
        return Rapl(root)
    if kind == "nvml" and (not colon or (argument.isascii() and argument.isdigit())):
        return Nvml(int(argument) if colon else None)
    if spec == "jetson":
        return Jetson(root)
    if kind == "csv" and argument:
        return ExternalMeter(Path(argument))
    if spec == "model":
        return Model(constants)
    raise InputError(
        "the energy meter must be 'rapl', 'nvml', 'nvml:N', 'jetson', 'csv:FILE', 'model' or "
        f"'auto', but '{spec}' is given"
    )


def _first(constants: Constants | None, root: Path) -> Meter:
    """The first meter that works, else the model, which says why."""
    reasons = []
    for kind in ("rapl", "nvml", "jetson"):
        try:
            meter = open(kind, root=root)
            # Some virtual machines show counters that stand still.
            meter.measure_idle(0.3)
        except (InputError, RunError) as error:
            reasons.append(f"{kind}: {error}")
        else:
            meter.idle_watts = None
            return meter
    model = Model(constants)
    model.note = f"modelled, since no meter works here ({'; '.join(reasons)})"
    return model
