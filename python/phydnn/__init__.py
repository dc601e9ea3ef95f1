# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Neural networks over the air: training, bundles, experiments and the command line.

This library never imports GNU Radio, so that it trains on a machine that has none; the blocks
are ``from gnuradio import phydnn``.
"""

__version__ = "0.1.0"
