# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Measured results: where they came from, how sure they are, and how they reach the disk."""

import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phydnn.errors import InputError

_SOURCE = Path(__file__).resolve().parent


def write_json(path: str | os.PathLike[str], obj: Mapping[str, Any]) -> None:
    """Write ``obj`` as indented JSON, so that a reader sees the old file or the whole new one.

    NumPy scalars and arrays are written as numbers and lists; a float that is not finite is
    written as ``null``, since JSON has no word for it. Missing parent folders are made.

    Raises:
        InputError: the path cannot be written.
        TypeError: ``obj`` holds something that is not JSON.
    """
    text = json.dumps(_plain(obj), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, so that a reader sees the old one or the whole new one.

    Raises:
        InputError: the path cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except OSError as error:
        os.unlink(name)
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error


def provenance() -> dict[str, str]:
    """What made a result: ``{"command", "git"}``.

    ``command`` is the command line as a shell would take it. ``git`` is the commit of the
    checkout that this library runs from, with ``-dirty`` after it where tracked files differ,
    or ``unknown`` where the library was installed without its checkout.
    """
    program = Path(sys.argv[0]).name
    command = ["phydnn" if program == "__main__.py" else program, *sys.argv[1:]]
    return {"command": shlex.join(command), "git": _git_commit()}


def wilson_interval(
    successes: int, trials: int, z: float = 1.959963984540054
) -> tuple[float, float]:
    """Wilson score interval of a binomial proportion, 95 % by default.

    Unlike the normal approximation it stays inside [0, 1] and is sound for no success, or
    nothing but successes. E. B. Wilson, "Probable inference, the law of succession, and
    statistical inference", JASA 22 (1927).

    Args:
        successes: how many trials succeeded, 0 to ``trials``.
        trials: how many there were, at least 1.
        z: the normal quantile of the wanted confidence.

    Raises:
        InputError: the counts do not fit together.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise InputError(
            f"need 0 <= successes <= trials and trials >= 1: got {successes} of {trials}"
        )
    p = successes / trials
    spread = z * z / trials
    centre = (p + spread / 2) / (1 + spread)
    half = z * math.sqrt(p * (1 - p) / trials + spread / (4 * trials)) / (1 + spread)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def _plain(value: Any) -> Any:
    """``value`` in the types of the json module."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars; numpy itself may be missing here
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def _git_commit() -> str:
    git = ["git", "-C", str(_SOURCE)]
    try:
        commit = subprocess.run(
            [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        # A library installed inside some other project's checkout must not claim its commit.
        tracked = subprocess.run(
            [*git, "ls-files", "--error-unmatch", Path(__file__).name],
            capture_output=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit.stdout.strip() if tracked.returncode == 0 else "unknown"
