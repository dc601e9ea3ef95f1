# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The errors that a user can mend.

Their message is one clear sentence that names what to change. The command line prints it to
stderr without a traceback; any other exception is a bug and keeps its traceback.
"""


class InputError(ValueError):
    """A bad argument or bad input: an option out of range, a broken file. Exit status 2."""


class RunError(RuntimeError):
    """A run that began and failed: no frame arrived, a device was lost. Exit status 1."""
