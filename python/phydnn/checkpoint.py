# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Training states in one safetensors file, written atomically and read without unpickling."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from phydnn.errors import InputError

_TENSOR = "__tensor__"


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a tree of dicts, lists, tensors and JSON values; the file is the old or the new one.

    Raises:
        InputError: the file cannot be written (a full disk, say); an older one is kept.
    """
    tensors: dict[str, torch.Tensor] = {}

    def pack(node: Any, name: str) -> Any:
        if isinstance(node, torch.Tensor):
            tensors[name] = node.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {_TENSOR: name}
        if isinstance(node, dict):
            return {str(key): pack(item, f"{name}/{key}") for key, item in node.items()}
        if isinstance(node, (list, tuple)):
            return [pack(item, f"{name}/{i}") for i, item in enumerate(node)]
        return node

    tree = json.dumps(pack(state, ""))
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, part, metadata={"tree": tree})
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise InputError(f"cannot write the checkpoint {path}: {error}") from error


def load(path: Path) -> dict[str, Any]:
    """Reads what :func:`save` wrote (keys of dicts come back as strings).

    Raises:
        InputError: the file is missing, damaged or no checkpoint of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tree = json.loads(file.metadata()["tree"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no checkpoint of phydnn: {error}") from error

    def unpack(node: Any) -> Any:
        if isinstance(node, dict):
            if _TENSOR in node:
                return tensors[node[_TENSOR]]
            return {key: unpack(item) for key, item in node.items()}
        return [unpack(item) for item in node] if isinstance(node, list) else node

    state: dict[str, Any] = unpack(tree)
    return state


def optimizer_state(state: dict[str, Any]) -> dict[str, Any]:
    """An optimiser's state dict from a loaded checkpoint, its parameter numbers integers again."""
    return {**state, "state": {int(key): item for key, item in state["state"].items()}}
