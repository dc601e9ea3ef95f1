# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``python3 -m phydnn``: the command line."""

import sys

from phydnn.cli import main

sys.exit(main())
