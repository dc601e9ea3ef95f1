# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""What is installed, what is wrong, and the command that mends it.

Looks and changes nothing. Written on the standard library alone, and each import is tried in a
process of its own: it must answer where nothing is installed yet, or what is installed crashes.
"""

import argparse
import importlib.metadata
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from phydnn.results import write_json

ROOT = Path(__file__).resolve().parents[2]
SETUP = "./phydnn setup"
APT = "sudo apt-get install --no-install-recommends"

# What the blocks and the library import whenever they run.
CORE_PACKAGES = (
    "h5py",
    "jsonschema",
    "matplotlib",
    "nltk",
    "numpy",
    "onnxruntime",
    "pillow",
    "pyzmq",
    "rich",
    "sacrebleu",
    "safetensors",
    "scikit-learn",
    "scipy",
    "sentencepiece",
    "sigmf",
    "typer",
)

# UHD's advice for radios on the network: the kernel clips its buffers to these limits.
SOCKET_BUFFER_BYTES = {"net/core/rmem_max": 50_000_000, "net/core/wmem_max": 2_500_000}


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: what was looked at.
        status: ``ok``; ``absent`` for something optional that is not there; ``wrong``.
        detail: what was found.
        mend: the command that mends it, empty where there is nothing to mend.
    """

    name: str
    status: Literal["ok", "absent", "wrong"]
    detail: str
    mend: str = ""


def examine() -> list[Check]:
    """Look at everything, in the order in which one thing needs another."""
    looks: tuple[Callable[[], Check], ...] = (
        _processor,
        _interpreter,
        _environment,
        _gnuradio,
        _pybind11,
        _numpy,
        _packages,
        _blocks,
        _companion,
        _bundles,
        _torch,
        _test_tools,
        _uhd,
        _socket_buffers,
        _real_time,
    )
    return [look() for look in looks]


def report(checks: Sequence[Check], colour: bool = False) -> str:
    """The checks as a table in plain text, the mending commands under it."""
    marks = {"ok": ("ok", "32"), "absent": ("-", "33"), "wrong": ("WRONG", "31")}
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        word, code = marks[check.status]
        mark = f"\033[{code}m{word:<5}\033[0m" if colour else f"{word:<5}"
        lines.append(f"{mark}  {check.name:<{width}}  {check.detail}")
    for title, status in (("To mend", "wrong"), ("Optional", "absent")):
        mends = dict.fromkeys(c.mend for c in checks if c.status == status and c.mend)
        if mends:
            lines += ["", f"{title}:", *(f"  {mend}" for mend in mends)]
    return "\n".join(lines)


def run(json_path: Path | None = None) -> int:
    """Print the report and return the exit status: 1 where something needed is wrong.

    Args:
        json_path: also write ``{"healthy", "checks": [{"name", "status", "detail", "mend"}]}``.
    """
    checks = examine()
    healthy = all(check.status != "wrong" for check in checks)
    if json_path is not None:
        write_json(json_path, {"healthy": healthy, "checks": [asdict(check) for check in checks]})
    print(report(checks, colour=sys.stdout.isatty()))
    return 0 if healthy else 1


def main(argv: Sequence[str] | None = None) -> int:
    """The command without Typer, for a machine where the launcher has set up nothing yet."""
    parser = argparse.ArgumentParser(
        prog="phydnn doctor", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the report as JSON")
    return run(parser.parse_args(argv).json)


def _output(*command: str, timeout: float = 60) -> tuple[int, str]:
    """Exit status and combined output of a command; status 127 where there is no such program."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        return 127, ""
    except subprocess.TimeoutExpired:
        return 124, f"no answer in {timeout:.0f} s"
    return done.returncode, done.stdout.strip()


def _python(code: str) -> tuple[bool, str]:
    """Run ``code`` in a fresh interpreter of this environment: whether it worked, its last line."""
    # -I: neither the working directory nor PYTHONPATH may lend a module that is not installed.
    status, output = _output(sys.executable, "-I", "-c", code)
    lines = output.splitlines() or [f"the interpreter ended with status {status}"]
    return status == 0, lines[-1]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> Check:
    flags: set[str] = set()
    if found := re.search(r"^flags\s*:(.*)$", _read("/proc/cpuinfo"), re.MULTILINE):
        flags = set(found[1].split())
    simd = [name for name in ("sse4_2", "avx2", "fma", "avx512f") if name in flags]
    cores = len(os.sched_getaffinity(0))
    return Check(
        "processor",
        "ok",
        f"{platform.machine()}, {cores} cores, {' '.join(simd) or 'no SIMD known'}",
    )


def _interpreter() -> Check:
    return Check("python", "ok", f"{sys.executable}, {platform.python_version()}")


def _environment() -> Check:
    if sys.prefix != sys.base_prefix:
        return Check("environment", "ok", sys.prefix)
    if _version("phydnn"):
        return Check("environment", "ok", "the system's own, phydnn is installed there")
    return Check("environment", "wrong", "there is no .venv yet", SETUP)


def _gnuradio() -> Check:
    status, version = _output("gnuradio-config-info", "--version")
    if status:
        return Check("GNU Radio", "wrong", "gnuradio-config-info is not installed", SETUP)
    if not version.startswith("3.10."):
        return Check("GNU Radio", "wrong", f"{version}: needs 3.10", f"{APT} gnuradio gnuradio-dev")
    works, last = _python("from gnuradio import gr")
    if not works:
        return Check("GNU Radio", "wrong", f"{version}, but: {last}", f"rm -r .venv && {SETUP}")
    return Check("GNU Radio", "ok", version)


def _pybind11() -> Check:
    status, wanted = _output("gnuradio-config-info", "--pybind")
    if status:
        return Check("pybind11", "wrong", "unknown until GNU Radio is installed", SETUP)
    for folder in (
        "/usr/local/lib/cmake",
        "/usr/local/share/cmake",
        "/usr/lib/cmake",
        "/usr/share/cmake",
    ):
        text = _read(f"{folder}/pybind11/pybind11ConfigVersion.cmake")
        if found := re.search(r'set\(PACKAGE_VERSION "([\d.]+)', text):
            if found[1] == wanted:
                return Check("pybind11", "ok", f"{wanted}, as GNU Radio was built with")
            return Check(
                "pybind11",
                "wrong",
                f"{found[1]} in {folder}, but GNU Radio was built with {wanted}",
                f"rm -r {folder}/pybind11 && {APT} pybind11-dev"
                if "local" in folder
                else f"{APT} pybind11-dev",
            )
    return Check("pybind11", "wrong", "not installed", f"{APT} pybind11-dev")


def _numpy() -> Check:
    works, last = _python("import numpy; print(numpy.__version__)")
    if not works:
        return Check("numpy", "wrong", last, SETUP)
    if int(last.split(".")[0]) >= 2:
        return Check(
            "numpy",
            "wrong",
            f"{last}: GNU Radio 3.10 needs numpy < 2 in the same process",
            f"{sys.executable} -m pip install 'numpy<2'",
        )
    return Check("numpy", "ok", last)


def _packages() -> Check:
    if missing := [name for name in (*CORE_PACKAGES, "phydnn") if _version(name) is None]:
        return Check("Python packages", "wrong", f"missing: {', '.join(missing)}", SETUP)
    works, last = _python("import onnxruntime; print(*onnxruntime.get_available_providers())")
    if not works:
        return Check("Python packages", "wrong", f"onnxruntime: {last}", f"rm -r .venv && {SETUP}")
    return Check(
        "Python packages", "ok", f"onnxruntime {_version('onnxruntime')} ({last}) and the rest"
    )


def _blocks() -> Check:
    works, last = _python("from gnuradio import phydnn; print(phydnn.__file__)")
    if works:
        return Check("blocks", "ok", last)
    # Stale or foreign binaries are told by these; building them afresh is the cure for each.
    stale = ("unknown base type", "NumPy 1.x", "cannot open shared object", "undefined symbol")
    if any(sign in last for sign in stale):
        return Check("blocks", "wrong", last, f"rm -r build && {SETUP}")
    return Check("blocks", "wrong", last, SETUP)


def _companion() -> Check:
    folders = [Path(sys.prefix) / "share/gnuradio/grc/blocks"]
    folders += [Path(name) for name in os.environ.get("GRC_BLOCKS_PATH", "").split(":") if name]
    for folder in (
        *folders,
        Path("/usr/local/share/gnuradio/grc/blocks"),
        Path("/usr/share/gnuradio/grc/blocks"),
    ):
        if count := len(list(folder.glob("phydnn_*.block.yml"))):
            return Check("GRC blocks", "ok", f"{count} in {folder}; ./phydnn companion opens them")
    return Check("GRC blocks", "wrong", "no phydnn_*.block.yml is installed", SETUP)


def _bundles() -> Check:
    names = sorted(path.parent.name for path in ROOT.glob("models/*/bundle.json"))
    if not names:
        return Check("bundles", "absent", f"none in {ROOT / 'models'}")
    for name in names:
        works, last = _python(
            f"from phydnn.bundle import load; load({str(ROOT / 'models' / name)!r})"
        )
        if not works and "ModuleNotFoundError" in last:
            return Check("bundles", "wrong", f"not checked: {last}", SETUP)
        if not works:
            return Check("bundles", "wrong", f"{name}: {last}", f"git checkout -- models/{name}")
    return Check("bundles", "ok", ", ".join(names))


def _torch() -> Check:
    version = _version("torch")
    if version is None:
        return Check("torch", "absent", "needed to train, eval and export only", f"{SETUP} train")
    works, last = _python(
        "from torch import cuda; print(cuda.get_device_name() if cuda.is_available() else 'no GPU')"
    )
    return Check(
        "torch", "ok" if works else "wrong", f"{version}, {last}", "" if works else f"{SETUP} train"
    )


def _test_tools() -> Check:
    missing = [name for name in ("Xvfb", "clang-format") if shutil.which(name) is None]
    missing += [name for name in ("pytest", "hypothesis", "mypy", "ruff") if _version(name) is None]
    if missing:
        return Check("test tools", "absent", f"missing: {', '.join(missing)}", f"{SETUP} test")
    return Check("test tools", "ok", "Xvfb, clang-format, pytest, hypothesis, mypy, ruff")


def _uhd() -> Check:
    status, version = _output("uhd_config_info", "--version")
    if status:
        return Check("USRP", "absent", "uhd-host is not installed", f"{APT} uhd-host")
    version = version.removeprefix("UHD ").split()[0]
    images = Path(os.environ.get("UHD_IMAGES_DIR", "/usr/share/uhd/images"))
    if not (images / "usrp_b210_fpga.bin").exists():
        return Check(
            "USRP",
            "absent",
            f"UHD {version}, no FPGA images in {images}",
            "sudo uhd_images_downloader -t b2xx",
        )
    status, output = _output("uhd_find_devices", timeout=10)
    devices = re.findall(r"^\s*product: (.*)$", output, re.MULTILINE)
    if status or not devices:
        return Check("USRP", "absent", f"UHD {version}, no device found")
    return Check("USRP", "ok", f"UHD {version}: {', '.join(devices)}")


def _socket_buffers() -> Check:
    low = {
        name.replace("/", "."): wanted
        for name, wanted in SOCKET_BUFFER_BYTES.items()
        if int(_read(f"/proc/sys/{name}") or 0) < wanted
    }
    if not low:
        return Check("socket buffers", "ok", "large enough for a radio on the network")
    return Check(
        "socket buffers",
        "absent",
        f"small for a radio on the network (USB needs none): {', '.join(low)}",
        "sudo sysctl -w " + " ".join(f"{name}={wanted}" for name, wanted in low.items()),
    )


def _real_time() -> Check:
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    if os.geteuid() == 0 or limit > 0 or limit == resource.RLIM_INFINITY:
        return Check("real-time priority", "ok", "allowed")
    return Check(
        "real-time priority",
        "absent",
        "not allowed: a busy machine may drop samples of a radio",
        'echo "$USER - rtprio 99" | sudo tee /etc/security/limits.d/phydnn.conf',
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
