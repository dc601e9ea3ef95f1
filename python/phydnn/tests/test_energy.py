# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Energy meters on machines that are made up, and the model against arithmetic."""

import json
import math
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phydnn import energy
from phydnn.errors import InputError, RunError
from phydnn.results import write_json


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that stands in for tegrastats may be held up by what else the machine does."""
    monkeypatch.setattr(energy, "SILENCE_S", 60.0)


class Clock:
    """Time that passes when it is told to; ``sleep`` can do something meanwhile."""

    def __init__(self, start: float = 0.0) -> None:
        self.now = start

    def __call__(self) -> float:
        return self.now


def written(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n")
    return path


def zone(root: Path, folder: str, name: str, microjoules: int = 0, wrap: int = 10**9) -> Path:
    """A powercap zone; returns its counter."""
    base = root / "class" / "powercap" / folder
    written(base / "name", name)
    written(base / "max_energy_range_uj", wrap)
    return written(base / "energy_uj", microjoules)


# RAPL


def test_rapl_counts_packages_and_dram_once(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    dram = zone(tmp_path, "intel-rapl:0:1", "dram", 1_000_000)
    others = [
        zone(tmp_path, "intel-rapl:0:0", "core"),
        zone(tmp_path, "intel-rapl:1", "psys"),
        zone(tmp_path, "intel-rapl-mmio:0", "package-0"),
    ]
    clock = Clock(100.0)
    meter = energy.Rapl(tmp_path, clock)
    with meter as same:
        assert same is meter
        written(package, 8_500_000)
        written(dram, 1_250_000)
        for other in others:
            written(other, 77_000_000)
        clock.now = 102.0
    seen = meter.energy
    assert (seen.method, seen.scope, seen.source) == ("measured", "CPU package and DRAM", "rapl")
    assert seen.joules == pytest.approx(3.75)
    assert seen.seconds == 2.0
    assert seen.parts == {"package-0": pytest.approx(3.5), "dram-0": pytest.approx(0.25)}
    assert seen.idle_watts is None
    assert seen.above_idle is None


def test_rapl_of_two_packages(tmp_path: Path) -> None:
    counters = [zone(tmp_path, f"intel-rapl:{i}", f"package-{i}") for i in range(2)]
    meter = energy.Rapl(tmp_path)
    with meter:
        for counter in counters:
            written(counter, 1_000_000)
    assert meter.energy.scope == "2 CPU packages"
    assert meter.energy.joules == pytest.approx(2.0)


def test_rapl_counters_wrap(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 900_000, wrap=1_000_000)
    meter = energy.Rapl(tmp_path)
    with meter:
        for value in (100_000, 950_000, 50_000):  # 0.2 J, 0.85 J and 0.1 J on, through two wraps
            written(counter, value)
            meter.poll()
    assert meter.energy.joules == pytest.approx(1.15)


def test_rapl_is_read_while_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy.Rapl, "interval_s", 0.001)
    counter = zone(tmp_path, "intel-rapl:0", "package-0")
    meter = energy.Rapl(tmp_path)
    meter.start()
    written(counter, 1_000_000)
    deadline = time.monotonic() + 60
    while meter._readings < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert meter.stop().readings >= 6  # the thread's, and the last one


def test_a_counter_that_goes_away_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy.Rapl, "interval_s", 0.001)
    counter = zone(tmp_path, "intel-rapl:0", "package-0")
    meter = energy.Rapl(tmp_path)
    with pytest.raises(RunError, match="energy_uj cannot be read"), meter:
        counter.unlink()
        meter._thread.join(60)
        written(counter, 5_000_000)  # too late: the thread saw it gone
    with pytest.raises(RunError, match="no energy to tell"):
        _ = meter.energy


def test_the_idle_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter, clock = zone(tmp_path, "intel-rapl:0", "package-0"), Clock()
    meter = energy.Rapl(tmp_path, clock)

    def idle(seconds: float) -> None:
        clock.now += seconds
        written(counter, int(4e6 * seconds))  # 4 W

    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", idle)
        meter.measure_idle(5.0)
    assert meter.idle_watts == pytest.approx(4.0)
    with meter:
        clock.now += 2.0
        written(counter, 50_000_000)
    assert meter.energy.joules == pytest.approx(30.0)
    assert meter.energy.above_idle == pytest.approx(30.0 - 2.0 * 4.0)
    assert meter.energy.record()["energy_j"]["idle_w"] == pytest.approx(4.0)


def test_a_counter_that_stands_still_measures_nothing(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 123)
    with pytest.raises(RunError, match="rapl meter saw no energy"), energy.Rapl(tmp_path):
        pass


def test_the_runs_own_failure_comes_first(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 123)
    meter = energy.Rapl(tmp_path)
    with pytest.raises(ZeroDivisionError), meter:
        _ = 1 / 0
    with pytest.raises(RunError, match="not running"):
        meter.stop()


def test_no_rapl(tmp_path: Path) -> None:
    with pytest.raises(energy.UnavailableError, match="no RAPL counters in"):
        energy.Rapl(tmp_path)
    zone(tmp_path, "intel-rapl:0", "psys")
    with pytest.raises(energy.UnavailableError, match="no RAPL counters in"):
        energy.Rapl(tmp_path)
    written(zone(tmp_path, "intel-rapl:1", "package-0").parent / "max_energy_range_uj", "many")
    with pytest.raises(energy.UnavailableError, match="cannot be read"):
        energy.Rapl(tmp_path)


def test_rapl_that_only_root_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0")
    read_text = Path.read_text

    def refusing(self: Path, *args: Any, **kwargs: Any) -> str:
        # Modes do not stop root, as whom tests may run.
        if self == counter:
            raise PermissionError(13, "Permission denied")
        return read_text(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refusing)
    with pytest.raises(energy.UnavailableError, match=r"run as root, or .*sudo chmod a\+r") as told:
        energy.Rapl(tmp_path)
    assert str(tmp_path / "class/powercap/intel-rapl:*/energy_uj") in str(told.value)


# NVML


class FakeNvml(SimpleNamespace):
    """The functions of pynvml that are used, as its documentation describes them."""

    class NVMLError(Exception):
        pass

    def __init__(self, gpus: int = 1, counters: bool = True, power: bool = True) -> None:
        super().__init__(gpus=gpus, counters=counters, power=power, millis=[0] * gpus)

    def nvmlInit(self) -> None:  # noqa: N802
        if self.gpus < 0:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return int(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        if not self.counters:
            raise self.NVMLError("Not Supported")
        return int(self.millis[handle])

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        if not self.power:
            raise self.NVMLError("Not Supported")
        return int(self.millis[handle])


def installed(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml) -> FakeNvml:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return nvml


def test_nvml_counts_millijoules(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = installed(monkeypatch, FakeNvml(gpus=2))
    everything, second = energy.open("nvml"), energy.open("nvml:1")
    with everything, second:
        nvml.millis = [1500, 250]
    assert everything.energy.joules == pytest.approx(1.75)
    assert everything.energy.parts == {"GPU 0": pytest.approx(1.5), "GPU 1": pytest.approx(0.25)}
    assert everything.scope == "2 GPUs"
    assert second.energy.joules == pytest.approx(0.25)
    assert (second.scope, second.note) == ("GPU", "")


def test_nvml_samples_power_where_there_is_no_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml, clock = installed(monkeypatch, FakeNvml(counters=False)), Clock()
    monkeypatch.setattr(energy.Nvml, "interval_s", 60)
    nvml.millis = [100_000]
    meter = energy.Nvml(clock=clock)
    with meter:
        clock.now = 1.0
        nvml.millis = [200_000]
        meter.poll()
        clock.now = 3.0
    assert meter.energy.joules == pytest.approx(150 * 1 + 200 * 2)
    assert "no energy counter" in meter.energy.record()["energy_j"]["note"]


def test_no_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(energy.UnavailableError, match="pip install nvidia-ml-py"):
        energy.open("nvml")
    for nvml, spec, message in (
        (FakeNvml(gpus=-1), "nvml", "cannot be used here: Driver Not Loaded"),
        (FakeNvml(gpus=0), "nvml", "sees 0 GPUs"),
        (FakeNvml(gpus=2), "nvml:2", "sees 2 GPUs here, so none is number 2"),
        (FakeNvml(counters=False, power=False), "nvml", "cannot tell the GPU's energy"),
    ):
        installed(monkeypatch, nvml)
        with pytest.raises(energy.UnavailableError, match=message):
            energy.open(spec)


# Jetson


def test_jetson_by_nvidias_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy.Jetson, "interval_s", 60)
    folder = tmp_path / "bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    for i, (rail, milliwatts) in enumerate((("POM_5V_IN", 2000), ("POM_5V_GPU", 100), ("NC", 9))):
        written(folder / f"rail_name_{i}", rail)
        written(folder / f"in_power{i}_input", milliwatts)
    clock = Clock()
    meter = energy.Jetson(tmp_path, clock=clock)
    with meter:
        written(folder / "in_power0_input", 4000)
        clock.now = 2.0
    seen = meter.energy
    assert (seen.scope, seen.method, seen.readings) == ("board, at POM_5V_IN", "measured", 2)
    assert seen.joules == pytest.approx(6.0)  # 2 W to 4 W in 2 s
    assert seen.parts == {"POM_5V_IN": pytest.approx(6.0), "POM_5V_GPU": pytest.approx(0.2)}


def test_jetson_by_linuxs_driver_without_an_input_rail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy.Jetson, "interval_s", 60)
    rails = {
        "1-0040": ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        "1-0041": ("NC", "VDDQ_VDD2_1V8AO"),
    }
    for chip, names in rails.items():
        folder = tmp_path / f"bus/i2c/drivers/ina3221/{chip}/hwmon/hwmon3"
        for i, name in enumerate(names, 1):
            written(folder / f"in{i}_label", name)
            written(folder / f"in{i}_input", 5000)
            written(folder / f"curr{i}_input", 200)
        written(folder / "in7_label", "sum of shunt voltages")
        written(folder / "in7_input", 11)
    clock = Clock()
    meter = energy.Jetson(tmp_path, clock=clock)
    with meter:
        clock.now = 3.0
    assert meter.energy.scope == "rails VDD_CPU_CV + VDD_GPU_SOC + VIN_SYS_5V0"
    assert meter.energy.joules == pytest.approx(3 * 1.0 * 3)
    assert meter.energy.parts["VDDQ_VDD2_1V8AO"] == pytest.approx(3.0)


def test_a_jetsons_rail_that_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy.Jetson, "interval_s", 60)
    folder = tmp_path / "bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    written(folder / "rail_name_0", "VDD_IN")
    power = written(folder / "in_power0_input", 2000)
    with pytest.raises(RunError, match="rail VDD_IN cannot be read"), energy.Jetson(tmp_path):
        power.unlink()


XAVIER_NX = (
    "RAM 2448/7765MB (lfb 100x4MB) SWAP 0/3882MB (cached 0MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [2%@1190,off,1%@1190] EMC_FREQ 0%@1600 GR3D_FREQ 0%@114 APE 150 PLL@31C "
    "VDD_IN 4872mW/4900mW VDD_CPU_GPU_CV 760mW/765mW VDD_SOC 1393mW/1393mW"
)


@pytest.mark.parametrize(
    ("line", "watts"),
    [
        (XAVIER_NX, {"VDD_IN": 4.872, "VDD_CPU_GPU_CV": 0.76, "VDD_SOC": 1.393}),
        (
            "RAM 1/3956MB CPU@20C POM_5V_IN 2032/2040 POM_5V_GPU 0/0 POM_5V_CPU 284/284\n",
            {"POM_5V_IN": 2.032, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.284},
        ),
        ("GPU 310/310 CPU 620/700 SYS5V 1500/1500", {"GPU": 0.31, "CPU": 0.62, "SYS5V": 1.5}),
        ("RAM 2448/7765MB (lfb 100x4MB) CPU [2%@1190] APE 150", {}),
        ("", {}),
        ("VDD_IN -5mW/1mW VDD_SOC 5mW", {}),
    ],
)
def test_lines_of_tegrastats(line: str, watts: dict[str, float]) -> None:
    assert energy.parse_tegrastats(line) == pytest.approx(watts)


@given(st.text())
def test_any_line_of_tegrastats(line: str) -> None:
    assert all(0 <= watts < 1e6 for watts in energy.parse_tegrastats(line).values())


def program(script: str) -> tuple[str, ...]:
    """Stands in for tegrastats."""
    return sys.executable, "-c", f"import time\n{script}"


TELLS = program(f"print('no power', flush=True)\nprint({XAVIER_NX!r}, flush=True)\ntime.sleep(60)")


def test_jetson_by_tegrastats(tmp_path: Path) -> None:
    clock = Clock()
    meter = energy.Jetson(tmp_path, TELLS, clock)
    with meter:
        assert meter._program is not None
        process = meter._program.process
        assert process.poll() is None
        clock.now = 2.0
    assert meter.energy.scope == "board, at VDD_IN"
    assert meter.energy.joules == pytest.approx(2 * 4.872)
    assert process.poll() is not None  # it does not outlive the run


def test_tegrastats_that_ends_fails_the_run(tmp_path: Path) -> None:
    meter = energy.Jetson(tmp_path, TELLS)
    with pytest.raises(RunError, match="fell silent"), meter:
        assert meter._program is not None
        meter._program.close()


def test_tegrastats_that_stalls_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = energy.Jetson(tmp_path, TELLS)
    with pytest.raises(RunError, match="fell silent"), meter:
        monkeypatch.setattr(energy, "SILENCE_S", 0.0)


def test_tegrastats_that_tells_other_rails_fails_the_run(tmp_path: Path) -> None:
    first, then = (f"print('{rail} 5mW/5mW', flush=True)" for rail in ("VDD_IN", "VDD_SOC"))
    sign = tmp_path / "sign"
    waits = f"import os\nwhile not os.path.exists({str(sign)!r}): time.sleep(0.01)"
    meter = energy.Jetson(tmp_path, program(f"{first}\n{waits}\n{then}\ntime.sleep(60)"))
    with pytest.raises(RunError, match="no longer shows what it did"), meter:
        sign.touch()
        meter._thread.join(60)


def test_no_jetson(tmp_path: Path) -> None:
    with pytest.raises(energy.UnavailableError, match=r"no Jetson: .* cannot be run"):
        energy.Jetson(tmp_path, (str(tmp_path / "tegrastats"),))
    with pytest.raises(energy.UnavailableError, match="tells no power"):
        energy.Jetson(tmp_path, program("print('RAM 1/2MB')"))


# An external meter


def test_an_external_meter(tmp_path: Path) -> None:
    path = tmp_path / "meter.csv"
    path.write_text("timestamp,watts\n100,2\n101,4\n102,4\n103,8\n")
    clock = Clock(100.5)
    meter = energy.ExternalMeter(path, patience_s=0, clock=clock)
    with meter:
        clock.now = 102.5
    # 3 W to 4 W in half a second, 4 W for one, 4 W to 6 W in half of one.
    assert meter.energy.joules == pytest.approx(1.75 + 4.0 + 2.5)
    assert (meter.energy.seconds, meter.energy.readings) == (2.0, 2)
    assert meter.energy.scope == "external meter, meter.csv"


def test_an_external_meter_that_is_still_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "meter.csv"
    path.write_text("100,2\n101,2\n")
    clock = Clock(100.0)
    meter = energy.open(f"csv:{path}")
    assert isinstance(meter, energy.ExternalMeter)
    meter._clock = clock

    def writes(seconds: float) -> None:
        with path.open("a") as file:
            file.write("102,2\n103,2\n104,")

    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", writes)
        with meter:
            clock.now = 103.0
    assert meter.energy.joules == pytest.approx(6.0)


def test_readings_by_any_clock_and_in_any_order() -> None:
    data = (
        "\ufeffVolts, Watts ,Timestamp\r\n"
        "5,1.5,2026-03-01T12:00:02Z\r\n"
        "\r\n"
        '5,"2.5",2026-03-01T13:00:01.5+01:00\r\n'
        "5,3e0,1772366400\r\n"
        "5,9,177236"
    ).encode()
    times, watts = energy.parse_csv(data, "meter.csv")
    assert (times - 1772366400).tolist() == [0.0, 1.5, 2.0]
    assert watts.tolist() == [3.0, 2.5, 1.5]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe1\n", "not UTF-8"),
        (b"time,power\n1,2\n", "line 1: columns 'timestamp' and 'watts' are needed"),
        (b"timestamp,watts\n1\n", "line 2: it has too few columns"),
        (b"1,2\n2,-0.5\n", "line 2: watts '-0.5'"),
        (b"1,2\n2,nan\n", "line 2: watts 'nan'"),
        (b"1,2\n2,\n", "line 2: watts ''"),
        (b"1,2\nnan,2\n", "line 2: timestamp 'nan'"),
        (b"1,2\nnoon,2\n", "line 2: timestamp 'noon'"),
        (b"1772366400000,2\n", "line 1: timestamp '1772366400000'"),  # milliseconds
        (b"2026-03-01T12:00:02,2\n", "line 1: timestamp '2026-03-01T12:00:02' needs a zone"),
        (b'1,2\n2,"3\n', "line 2: "),
        (b"5,2\n1,2\n5,3\n", "two readings at timestamp 5.0"),
    ],
)
def test_files_that_are_no_readings(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        energy.parse_csv(data, "meter.csv")


def test_files_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "MAX_BYTES", 7)
    with pytest.raises(InputError, match="larger than 7 bytes"):
        energy.parse_csv(b"1,2\n2,3\n", "meter.csv")


CELLS = st.one_of(
    st.floats().map(str),
    st.integers().map(str),
    st.datetimes().map(str),
    st.datetimes(timezones=st.timezones()).map(str),
    st.sampled_from(["timestamp", "watts", '"', "", "\0", "1e400", "2026-03-01T12:00Z"]),
    st.text(max_size=5),
)
FILES = st.one_of(
    st.binary(),
    st.lists(st.lists(CELLS, max_size=4).map(",".join)).map(
        lambda rows: ("\n".join(rows) + "\n").encode(errors="replace")
    ),
)


@given(FILES)
def test_any_file_is_read_or_refused(data: bytes) -> None:
    try:
        times, watts = energy.parse_csv(data, "meter.csv")
    except InputError as error:
        assert str(error).startswith("meter.csv")
        return
    assert times.shape == watts.shape
    assert (np.diff(times) > 0).all()
    assert np.isfinite(times).all()
    assert ((watts >= 0) & (watts <= 1e6)).all()


READINGS = st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 100)), min_size=2, max_size=20).map(
    lambda pairs: np.array(pairs)
)


@given(READINGS, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_integrals_add_up_and_stay_in_bounds(readings: Any, a: float, b: float, c: float) -> None:
    times, watts = np.cumsum(readings[:, 0]), readings[:, 1]
    span = times[-1] - times[0]
    start, middle, stop = sorted(min(times[0] + x * span, times[-1]) for x in (a, b, c))
    if not start < middle < stop:
        return
    whole = energy.integrate(times, watts, start, stop)
    halves = [energy.integrate(times, watts, *part) for part in ((start, middle), (middle, stop))]
    assert whole == pytest.approx(sum(halves), rel=1e-9, abs=1e-9)
    low, high = watts.min() * (stop - start), watts.max() * (stop - start)
    assert low - 1e-9 <= whole <= high + 1e-9


def test_runs_that_readings_do_not_cover() -> None:
    times, watts = np.array([10.0, 12.0, 23.0, 24.0]), np.ones(4)
    for start, stop, message in (
        (9.0, 12.0, "from 10.000 to 24.000, but the run was from 9.000 to 12.000"),
        (23.0, 24.5, "set both clocks alike"),
        (11.0, 23.5, "no reading for 11.0 s"),
        (12.0, 12.0, "must stop after it starts"),
    ):
        with pytest.raises(InputError, match=message):
            energy.integrate(times, watts, start, stop)
    assert energy.integrate(times, watts, 10.0, 12.0) == pytest.approx(2.0)
    assert energy.integrate(times, watts, 23.0, 24.0) == pytest.approx(1.0)
    with pytest.raises(InputError, match="no readings"):
        energy.integrate(times[:0], watts[:0], 1.0, 2.0)


def test_a_run_between_two_readings_is_not_measured(tmp_path: Path) -> None:
    path = written(tmp_path / "meter.csv", "100,2\n101,4")
    clock = Clock(100.25)
    meter = energy.ExternalMeter(path, patience_s=0, clock=clock)
    with pytest.raises(InputError, match=r"0 readings within a run of 0\.5 s"), meter:
        clock.now = 100.75


def test_no_external_meter(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(energy.UnavailableError, match="cannot be read"):
            energy.open(f"csv:{path}")


# The model


def test_the_model_by_hand() -> None:
    meter = energy.Model(
        energy.Constants(
            device_j_per_mac=energy.Constant(2e-10, "J/MAC", "a test"),
            edge_j_per_mac=energy.Constant(3e-11, "J/MAC", "a test"),
            radio_tx_w=energy.Constant(2.0, "W", "a test"),
            radio_rx_w=energy.Constant(1.5, "W", "a test"),
            radio_idle_w=energy.Constant(0.5, "W", "a test"),
        )
    )
    meter.measure_idle(60)
    with meter:
        meter.account("head", macs=10_000_000)
        meter.account("radio", tx_s=0.004)
        meter.account("radio", rx_s=0.002, idle_s=0.1)
        meter.account("tail", where="edge", macs=40_000_000)
    seen = meter.energy
    assert seen.parts == {
        "head": pytest.approx(2e-3),
        "radio": pytest.approx(8e-3 + 3e-3 + 50e-3),
        "tail": pytest.approx(1.2e-3),
    }
    assert seen.joules == pytest.approx(64.2e-3)
    assert (seen.method, seen.scope) == ("modelled", "model: head + radio + tail")
    assert (seen.idle_watts, seen.above_idle) == (None, None)
    with meter:
        meter.account("head", macs=1)
    assert meter.energy.scope == "model: head"
    assert meter.energy.joules == pytest.approx(2e-10)


def test_every_constant_says_where_it_is_from() -> None:
    meter = energy.open("model")
    with meter:
        meter.account("head", macs=1)
    constants = meter.energy.record()["energy_j"]["constants"]
    assert len(constants) == 5
    for constant in constants.values():
        assert constant["value"] > 0
        assert constant["unit"] in ("J/MAC", "W")
        assert constant["assumed"] == constant["source"].startswith("assumption")
        assert len(constant["source"]) > 20


def test_work_that_is_none() -> None:
    meter = energy.Model()
    with pytest.raises(RunError, match="start the meter first"):
        meter.account("head", macs=1)
    with pytest.raises(RunError, match="told of no work"), meter:
        pass
    meter.start()
    for work, message in (
        ({"macs": -1}, "macs of 'head' must be 0 or more: got -1"),
        ({"tx_s": math.nan}, "tx_s of 'head'"),
        ({"idle_s": math.inf}, "idle_s of 'head'"),
        ({"where": "cloud"}, "'device' or the 'edge', but 'cloud'"),
    ):
        arguments: dict[str, Any] = work
        with pytest.raises(InputError, match=message):
            meter.account("head", **arguments)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_constants_that_are_none(value: float) -> None:
    with pytest.raises(InputError, match="radio_rx_w must be 0 or more"):
        replace(energy.Constants(), radio_rx_w=energy.Constant(value, "W", "a test"))


# All of them


def test_a_record_is_json(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0")
    meter = energy.open("rapl", root=tmp_path)
    with meter:
        meter.account("head", macs=1)  # nothing to a meter that measures
        written(counter, 2_000_000)
    write_json(tmp_path / "out.json", meter.energy.record())
    record = json.loads((tmp_path / "out.json").read_text())["energy_j"]
    seconds = record.pop("seconds")
    assert 0 < seconds < 60
    assert record == {
        "total": 2.0,
        "above_idle": None,
        "idle_w": None,
        "method": "measured",
        "scope": "CPU package",
        "source": "rapl",
        "readings": 2,
        "parts": {"package-0": 2.0},
    }


def test_runs_do_not_overlap(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0")
    meter = energy.Rapl(tmp_path)
    with pytest.raises(RunError, match="not running"):
        meter.stop()
    with meter:
        with pytest.raises(RunError, match="running already"):
            meter.start()
        written(counter, 1_000_000)
    assert meter.energy.joules == pytest.approx(1.0)


def test_auto_takes_the_first_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = installed(monkeypatch, FakeNvml())
    frozen = zone(tmp_path, "intel-rapl:0", "package-0", 7)

    def work(seconds: float) -> None:
        nvml.millis = [nvml.millis[0] + 1000]

    monkeypatch.setattr(time, "sleep", work)
    meter = energy.open("auto", root=tmp_path)
    assert isinstance(meter, energy.Nvml)  # the processor's counter stands still
    assert meter.idle_watts is None

    monkeypatch.setattr(time, "sleep", lambda seconds: written(frozen, 8_000_000))
    assert isinstance(energy.open("auto", root=tmp_path), energy.Rapl)


def test_auto_models_where_nothing_measures_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    ours = energy.Constants(radio_tx_w=energy.Constant(3.0, "W", "a test"))
    meter = energy.open("auto", ours, root=tmp_path)
    with meter:
        meter.account("radio", tx_s=2.0)
    record = meter.energy.record()["energy_j"]
    assert (record["total"], record["method"]) == (pytest.approx(6.0), "modelled")
    for reason in ("no meter works here", "no RAPL counters", "nvidia-ml-py", "no Jetson"):
        assert reason in record["note"]


@pytest.mark.parametrize(
    "spec", ["", "RAPL", "rapl:0", "nvml:", "nvml:-1", "nvml:x", "csv", "csv:", "model:x", "auto:"]
)
def test_meters_that_are_none(spec: str) -> None:
    with pytest.raises(InputError, match="energy meter must be"):
        energy.open(spec)
