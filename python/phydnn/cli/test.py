# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn test``: every test of the checkout, and one line that totals them."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from phydnn.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build"
# One command of the documentation; the longest of them sets up nothing, since `test` has.
COMMAND_TIMEOUT_S = 600


@dataclass
class Tally:
    """What a part of the tests came to.

    Attributes:
        passed: how many tests passed.
        failed: the name of each test that failed.
        skipped: how many were skipped.
    """

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: int = 0

    def add(self, name: str, succeeded: bool) -> None:
        if succeeded:
            self.passed += 1
        else:
            self.failed.append(name)


def test(
    only: Annotated[
        str,
        typer.Option(
            "--only",
            metavar="PART,...",
            help="Run these parts: blocks, library, flowgraphs, style, docs.",
        ),
    ] = "",
) -> None:
    """Build, and run every test of the checkout.

    blocks: the C++ tests and the blocks' QA, by ctest. library: the tests of `import phydnn`, by
    pytest. flowgraphs: each .grc compiles. style: ruff, mypy and clang-format. docs: each command
    of README.md and docs/ in a console block runs.
    """
    names = [name.strip() for name in only.split(",") if name.strip()] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        raise InputError(f"--only: there is no part '{unknown[0]}', choose from {', '.join(PARTS)}")
    if not (ROOT / ".git").exists():
        raise InputError("phydnn test needs a git checkout: clone one and run ./phydnn test there")
    total = Tally()
    for name in names:
        print(f"\n== {name}", flush=True)
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="phydnn-test-") as scratch:
            tally = PARTS[name](Path(scratch))
        seconds = time.monotonic() - started
        print(f"== {name}: {_counts(tally)} in {seconds:.0f} s", flush=True)
        total.passed += tally.passed
        total.failed += [f"{name}: {test}" for test in tally.failed]
        total.skipped += tally.skipped
    print()
    for failure in total.failed:
        print(f"FAILED {failure}")
    print(_counts(total))
    raise typer.Exit(1 if total.failed or not total.passed else 0)


def _counts(tally: Tally) -> str:
    skipped = f", {tally.skipped} skipped" if tally.skipped else ""
    return f"{tally.passed} passed, {len(tally.failed)} failed{skipped}"


def _blocks(scratch: Path) -> Tally:
    tally = Tally()
    tally.add(
        "build", _run("cmake", "--build", str(BUILD), "--parallel", str(os.cpu_count() or 1)) == 0
    )
    report = scratch / "ctest.xml"
    _run(
        *_on_a_screen(),
        "ctest",
        "--test-dir",
        str(BUILD),
        "--output-on-failure",
        "--no-tests=error",
        "--parallel",
        str(os.cpu_count() or 1),
        "--timeout",
        "900",
        "--output-junit",
        str(report),
    )
    return _add_junit(tally, report)


def _library(scratch: Path) -> Tally:
    report = scratch / "pytest.xml"
    _run(sys.executable, "-m", "pytest", "-q", "--durations=5", f"--junitxml={report}")
    return _add_junit(Tally(), report)


def _flowgraphs(scratch: Path) -> Tally:
    tally = Tally()
    # Debian's grcc names /usr/bin/python3, which knows nothing of this environment.
    grcc = shutil.which("grcc") or "grcc"
    for flowgraph in sorted((ROOT / "testbed/flowgraphs").glob("*.grc")):
        folder = scratch / flowgraph.stem
        folder.mkdir()
        made = _run(sys.executable, grcc, "-o", str(folder), str(flowgraph), quiet=True) == 0
        scripts = [str(script) for script in folder.glob("*.py")]
        compiles = bool(scripts) and _run(sys.executable, "-m", "py_compile", *scripts) == 0
        tally.add(flowgraph.name, made and compiles)
        print(f"{'ok' if made and compiles else 'FAILED'}  {flowgraph.name}")
    return tally


def _style(_scratch: Path) -> Tally:
    packages = ["python/phydnn", "python/gnuradio/phydnn"]
    tally = Tally()
    for name, sound in {
        "ruff": _run(sys.executable, "-m", "ruff", "check", "--quiet", ".") == 0,
        "mypy": _run(sys.executable, "-m", "mypy", "--no-error-summary", *packages) == 0,
        "clang-format": _formatted(_tracked("*.h", "*.cc")),
        "the launcher's syntax": _run("bash", "-n", "phydnn", ".ci/run") == 0,
        "licence lines": _licensed(_tracked("*.py", "*.h", "*.cc", "*.yml", "*CMakeLists.txt")),
        "the documentation's links": _links_lead_somewhere(),
    }.items():
        tally.add(name, sound)
        print(f"{'ok' if sound else 'FAILED'}  {name}", flush=True)
    return tally


def _docs(scratch: Path) -> Tally:
    """Run each command of the documentation, where its outputs do not fall into the checkout."""
    tally = Tally()
    for entry in ROOT.iterdir():
        (scratch / entry.name).symlink_to(entry)
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    commands = [line for page in pages for line in console_commands(page.read_text("utf-8"))]
    for command in dict.fromkeys(commands):
        if command.split()[:2] == ["./phydnn", "test"]:
            continue  # this very run
        started = time.monotonic()
        succeeded = _run("bash", "-c", command, quiet=True, folder=scratch) == 0
        seconds = time.monotonic() - started
        tally.add(command, succeeded)
        print(f"{'ok' if succeeded else 'FAILED'}  {command}  ({seconds:.0f} s)", flush=True)
    return tally


PARTS: dict[str, Callable[[Path], Tally]] = {
    "blocks": _blocks,
    "library": _library,
    "flowgraphs": _flowgraphs,
    "style": _style,
    "docs": _docs,
}


def console_commands(markdown: str) -> list[str]:
    """The commands of a page: lines that begin with ``$ `` in its blocks marked ``console``.

    A backslash at the end of a line continues it. Commands that need a radio stand in blocks
    marked ``sh`` and are not among them.
    """
    commands = []
    for block in re.findall(r"^```console\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL):
        commands += re.findall(r"^\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE)
    return [" ".join(command.split()) for command in commands]


def _run(*command: str, quiet: bool = False, folder: Path = ROOT) -> int:
    """Run a command and return its exit status; where quiet, print its output only if it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            check=False,
            text=True,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            timeout=COMMAND_TIMEOUT_S if quiet else None,
        )
    except FileNotFoundError:
        print(f"{command[0]} is not installed: run ./phydnn setup test")
        return 127
    except subprocess.TimeoutExpired:
        print(f"no end after {COMMAND_TIMEOUT_S} s: {' '.join(command)}")
        return 124
    if quiet and done.returncode:
        print(done.stdout, end="", flush=True)
    return done.returncode


def _on_a_screen() -> list[str]:
    """What to put before a command so that its windows open: nothing where there is a screen."""
    return [] if os.environ.get("DISPLAY") else ["xvfb-run", "--auto-servernum"]


def _add_junit(tally: Tally, report: Path) -> Tally:
    if not report.exists():
        tally.add("no report was written", False)
        return tally
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is not None:
            tally.skipped += 1
        else:
            broken = case.find("failure") is not None or case.find("error") is not None
            tally.add(f"{case.get('classname')}.{case.get('name')}", not broken)
    return tally


def _tracked(*patterns: str) -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listing.stdout.split("\0") if name and (ROOT / name).exists()]


def _formatted(files: list[str]) -> bool:
    wrong = [
        file for file in files if _run("clang-format", "-n", "-Werror", "-ferror-limit=1", file)
    ]
    if wrong:
        print("this mends it: clang-format -i", *wrong)
    return not wrong


def _licensed(files: list[str]) -> bool:
    line = "SPDX-License-Identifier: GPL-3.0-or-later"
    bare = [file for file in files if line not in (ROOT / file).read_text("utf-8")[:300]]
    for file in bare:
        print(f"{file} does not begin with {line}")
    return not bare


def _links_lead_somewhere() -> bool:
    """Whether each relative link and picture of the documentation is there."""
    sound = True
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                print(f"{page.relative_to(ROOT)}: the link to {target} leads nowhere")
                sound = False
    return sound
