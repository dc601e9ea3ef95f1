# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Damage to what JSON holds."""

from collections.abc import Callable
from typing import Any


def at(*path: Any, value: Any = None) -> Callable[[Any], None]:
    """Sets what lies at a path of a tree, or removes it where the value is None."""

    def change(tree: Any) -> None:
        for key in path[:-1]:
            tree = tree[key]
        if value is None:
            del tree[path[-1]]
        else:
            tree[path[-1]] = value

    return change
