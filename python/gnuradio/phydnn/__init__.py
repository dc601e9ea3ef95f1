# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Neural networks over the air: the GNU Radio blocks of gr-phydnn.

The C++ blocks come from the compiled module ``phydnn_python``; ``kernels`` holds the same signal
processing as plain classes on NumPy arrays. The blocks that run ONNX graphs are written in Python.
"""

import numpy as _numpy

if int(_numpy.__version__.split(".")[0]) >= 2:
    raise ImportError(
        f"GNU Radio 3.10 needs numpy < 2 in the same process, but numpy {_numpy.__version__} is "
        "installed: run 'python3 -m pip install \"numpy<2\"' in this environment."
    )

from .delivery import network_sink, network_source  # noqa: F401
from .denoiser import csi_denoiser  # noqa: F401
from .ends import device, edge  # noqa: F401
from .networks import head, tail  # noqa: F401
from .phydnn_python import *  # noqa: F403
from .semantic import (  # noqa: F401
    semantic_decoder,
    semantic_encoder,
    text_receiver,
    text_source,
    text_transmitter,
)
from .sources import image_source  # noqa: F401
