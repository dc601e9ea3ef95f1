# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""For the type checker alone: GNU Radio has no stubs, so what comes from it may be anything."""

from typing import Any

def __getattr__(name: str) -> Any: ...
