# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The command line: exit statuses, errors in one sentence, doctor, the launcher."""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rich.markup
import typer
from packaging.requirements import Requirement

import phydnn
from phydnn import cli, doctor
from phydnn.cli import COMMANDS, main
from phydnn.cli.test import console_commands
from phydnn.errors import InputError, RunError

ROOT = Path(__file__).resolve().parents[3]
LAUNCHER = ROOT / "phydnn"


def test_help_lists_each_command_and_imports_none() -> None:
    code = (
        "import sys; from phydnn.cli import main; main(['--help'])\n"
        "print([name for name in sys.modules if name.startswith('phydnn.cli.')])\n"
        "print([name for name in ('torch', 'onnxruntime', 'gnuradio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in COMMANDS:
        assert f" {name} " in done.stdout
    assert done.stdout.splitlines()[-2:] == ["[]", "[]"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_all_of_its_text(name: str) -> None:
    """What looks like rich's markup would be left out."""

    def texts(command: Any) -> Iterator[str]:
        for parameter in command.params:
            yield getattr(parameter, "help", None) or ""
        for inner in getattr(command, "commands", {}).values():
            yield from texts(inner)

    command = typer.main.get_command(cli.build_app(name))
    for text in texts(command.commands[name]):  # type: ignore[attr-defined]
        assert rich.markup.render(text).plain == text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"phydnn {phydnn.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["doctor", "--nonsense"], "No such option: --nonsense"),
        (["test", "--only", "blocks,nonsense"], "--only: there is no part 'nonsense'"),
    ],
)
def test_bad_arguments_end_in_one_sentence_and_status_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith(f"phydnn: {sentence}")
    assert written.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [(InputError("choose --batch from 1"), 2), (RunError("no frame arrived"), 1)],
)
def test_a_users_errors_have_no_traceback(
    error: Exception,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(json_path: Path | None = None) -> int:
        raise error

    monkeypatch.setattr(doctor, "run", fail)
    assert main(["doctor"]) == status
    assert capsys.readouterr().err == f"phydnn: {error}\n"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(json_path: Path | None = None) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(doctor, "run", fail)
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


def test_a_command_whose_module_is_missing_does_not_break_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli, "COMMANDS", {"absent": "Not there.", "doctor": "There."})
    assert main(["--help"]) == 0
    assert main(["absent"]) == 2


def test_doctor_tells_what_is_wrong_and_what_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [
        doctor.Check("GNU Radio", "ok", "3.10.5.1"),
        doctor.Check("torch", "absent", "needed to train only", "./phydnn setup train"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda: found)
    assert main(["doctor"]) == 0

    found.append(doctor.Check("numpy", "wrong", "2.0.0", "pip install 'numpy<2'"))
    assert main(["doctor", "--json", str(tmp_path / "doctor.json")]) == 1
    said = capsys.readouterr().out
    assert "WRONG  numpy      2.0.0" in said
    assert "To mend:\n  pip install 'numpy<2'" in said
    written = json.loads((tmp_path / "doctor.json").read_text())
    assert written["healthy"] is False
    assert written["checks"][2]["mend"] == "pip install 'numpy<2'"


def test_doctor_tells_blocks_built_for_another_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "ImportError: A module that was compiled using NumPy 1.x cannot be run in NumPy 2.1.0"
    monkeypatch.setattr(doctor, "_python", lambda code: (False, message))
    check = doctor._blocks()
    assert check.status == "wrong"
    assert check.detail == message
    assert check.mend == "rm -r build && ./phydnn setup"


def test_doctor_answers_without_any_package(tmp_path: Path) -> None:
    # -S: no site-packages, as on a machine where nothing is installed yet.
    done = subprocess.run(
        ["/usr/bin/python3", "-S", "-m", "phydnn.doctor", "--json", str(tmp_path / "doctor.json")],
        env={"PYTHONPATH": str(ROOT / "python"), "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "To mend:\n  ./phydnn setup\n" in done.stdout
    assert not json.loads((tmp_path / "doctor.json").read_text())["healthy"]


def test_launcher_lists_the_same_commands_and_refuses_others() -> None:
    told = subprocess.run([LAUNCHER], capture_output=True, text=True, check=True).stdout
    for name, text in COMMANDS.items():
        assert f"  {name:<10} {text}\n" in told
    refused = subprocess.run([LAUNCHER, "nonsense"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr == "phydnn: there is no command 'nonsense'; ./phydnn --help lists them\n"


def test_launcher_names_the_packages_where_it_cannot_install_them() -> None:
    # A Debian without GNU Radio, without root and without sudo, by what is on PATH.
    nobody = 65534
    commands = "python/phydnn/cli/__init__.py"
    with tempfile.TemporaryDirectory() as name:
        checkout = Path(name)
        tools = checkout / "bin"
        tools.mkdir()
        for tool in ("bash", "dirname", "readlink", "mkdir", "flock", "grep"):
            (tools / tool).symlink_to(f"/usr/bin/{tool}")
        query = tools / "dpkg-query"
        query.write_text("#!/usr/bin/bash\n[[ ${!#} == gnuradio* ]] || echo installed\n")
        query.chmod(0o755)
        (checkout / commands).parent.mkdir(parents=True)
        for file in ("phydnn", commands):
            (checkout / file).write_bytes((ROOT / file).read_bytes())
        if os.geteuid() == 0:
            for path in (checkout, *checkout.rglob("*")):
                os.chown(path, nobody, nobody, follow_symlinks=False)
        done = subprocess.run(
            ["/usr/bin/bash", str(checkout / "phydnn"), "demo"],
            env={"PATH": str(tools)},
            capture_output=True,
            text=True,
            check=False,
            user=nobody if os.geteuid() == 0 else None,
        )
    assert done.returncode == 1
    assert done.stderr == (
        "phydnn: needs system packages; run: "
        "sudo apt-get install --no-install-recommends gnuradio gnuradio-dev\n"
    )


def test_each_dependency_is_pinned_within_its_bounds_and_known_to_doctor() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in (Requirement(text) for group in groups for text in group):
        assert pins[requirement.name] in requirement.specifier, requirement.name
    core = sorted(Requirement(text).name for text in project["dependencies"])
    assert core == sorted(doctor.CORE_PACKAGES)


def test_console_commands_are_those_of_console_blocks() -> None:
    page = (
        "```console\n$ ./phydnn demo\na line of output\n$ ./phydnn run \\\n    --seed 1\n```\n"
        "```sh\n./phydnn run --link usrp\n```\n$ not in a block\n"
    )
    assert console_commands(page) == ["./phydnn demo", "./phydnn run --seed 1"]


def test_without_the_training_extra() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from phydnn.cli import main\n"
        "sys.exit(main(['train', 'backbone', '--config', 'digits']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "phydnn: this needs the Python package torch: run ./phydnn setup train, "
        "or pip install 'phydnn[train]'\n"
    )
