# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""For the type checker alone: what the compiled bindings hold is not known to it."""

from typing import Any

def __getattr__(name: str) -> Any: ...
