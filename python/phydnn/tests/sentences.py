# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Sentences that the tests of text train and measure on."""

LINES = [
    f"{who} {verb} the {what} of the {where}, {when}."
    for who in ("I", "We", "The Commission", "Mr President, you")
    for verb in ("discuss", "welcome", "have not read")
    for what in ("report", "budget", "question")
    for where in ("Council", "European Parliament")
    for when in ("today", "in 1999", "at half past ten")
]
