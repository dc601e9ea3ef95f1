# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The command line: one module a command, imported only when its command is called.

``phydnn.cli.NAME`` holds a function ``NAME`` with Typer annotations, or, where a command has
commands of its own, a ``typer.Typer`` called ``app``. The one-line helps stand here, so that
``phydnn --help`` imports no command.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from phydnn import __version__
from phydnn.errors import InputError, RunError

COMMANDS = {
    "demo": "Split inference of handwritten digits over the loopback link at 12 dB.",
    "run": "Run a bundle over a link, both ends in one process.",
    "tx": "Send a data set: the device end of a link, in a process of its own.",
    "rx": "Receive a data set: the edge end of a link, in a process of its own.",
    "deliver": "Send a network over a link, rebuild it at the other end, and run it.",
    "emulate": "Emulate the channels between nodes over ZeroMQ, after a scenario.",
    "sound": "Measure a link's taps, and write them as a scenario.",
    "radio": "Find and calibrate radios, and compute a link's budget.",
    "bench": "Measure the waveform and the throughput: sync, waveform, kernels, link.",
    "train": "Train networks: backbones, and all that goes over the air.",
    "eval": "Simulate a bundle's accuracy over Es/N0 without GNU Radio.",
    "advise": "List where a network can be split, and what each point costs.",
    "airtime": "Say how long a payload over TCP and 802.11a takes, by a model and by ns-3.",
    "export": "Turn a checkpoint into a bundle.",
    "experiment": "Reproduce a figure or a table of a paper.",
    "report": "Set all measured results beside the papers' in one HTML page.",
    "doctor": "Say what is installed, what is wrong, and the command that mends it.",
    "test": "Build, and run every test.",
}


def build_app(command: str | None = None) -> typer.Typer:
    """The command line's app, with only ``command`` imported; the others are there by name."""
    app = typer.Typer(
        name="phydnn",
        help="Neural networks over the air, with GNU Radio.",
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_global_options)
    for name, text in COMMANDS.items():
        if importlib.util.find_spec(f"{__name__}.{name}") is None:
            continue
        if name != command:
            app.command(name, help=text)(_placeholder)
            continue
        module = importlib.import_module(f"{__name__}.{name}")
        if isinstance(commands := getattr(module, "app", None), typer.Typer):
            app.add_typer(commands, name=name, help=text)
        else:
            function: Callable[..., None] = getattr(module, name)
            app.command(name, short_help=text)(function)
    return app


TRAINING_PACKAGES = ("onnx", "onnxscript", "tensorboardX", "torch")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 when all went well; 1 for a failed run; 2 for bad arguments or input. Errors go to stderr
    in one sentence.
    """
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    command = next((word for word in arguments if not word.startswith("-")), None)
    try:
        status = build_app(command)(args=arguments, prog_name="phydnn", standalone_mode=False)
    except typer.TyperException as error:
        if text := error.format_message():
            print(f"phydnn: {text}", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"phydnn: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"phydnn: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        # The training extra is optional; what else is missing is a fault of ours.
        if error.name not in TRAINING_PACKAGES:
            raise
        print(
            f"phydnn: this needs the Python package {error.name}: run ./phydnn setup train, "
            "or pip install 'phydnn[train]'",
            file=sys.stderr,
        )
        return 1
    except (KeyboardInterrupt, typer.Abort):
        print("phydnn: interrupted", file=sys.stderr)
        return 130
    return status if isinstance(status, int) else 0


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"phydnn {__version__}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Neural networks over the air, with GNU Radio."""


def _placeholder() -> None:
    """Stands for a command that was not called."""
