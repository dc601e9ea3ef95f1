# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""NumPy references of the kernels, written from the definitions: clear rather than fast."""
