# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The block that refines channel estimates with a network."""

from __future__ import annotations

import math
import os
import time
from typing import Any

import numpy as np
import pmt

from phydnn import csi
from phydnn.csi import CsiBundle
from phydnn.waveform import USED

from . import pdus
from .jobs import LONGEST_PAYLOAD
from .networks import _network
from .phydnn_python import numerology, to_vector

STRONGEST = 1e6
"""Power over noise, above any Es/N0 that a receiver sees."""


class csi_denoiser(_network):
    """Refines the channel estimates of each frame, between ``csi_estimator`` and ``equalizer``.

    Message input ``grid``: the PDUs of ``csi_estimator`` with smoothing ``none``, whose metadata
    ``csi`` are least-squares estimates.

    Message output ``grid``: the same PDUs, ``csi`` refined, with ``denoise_s``, the seconds that
    this took. Above ``bypass_db`` of estimated Es/N0 (``snr_db``) the least-squares estimates are
    good as they are, and stay. Erased PDUs pass. A PDU whose estimates do not fit its ``uses``, or
    hold NaN or infinity, leaves as an erasure with reason ``payload``, more than 64 waiting PDUs
    with reason ``overrun``.

    Message output ``csi``: a dict a frame, as that of ``csi_estimator``, ``refined`` being what
    the network made of it.

    Args:
        bundle: a :class:`phydnn.csi.CsiBundle`, or the path or name of one.
        dimensions: of the waveform, a ``numerology`` or the name of a preset.
        network: "wiener", the fast one, or "adnet".
        bypass_db: None for the bundle's own.
        threads: of ONNX Runtime; 0 for half of the cores.

    Raises:
        BundleError: the bundle is missing, damaged or made for another waveform.
        InputError: there is no such network.
        ValueError: a parameter is out of range.
    """

    _unit = "frames"

    def __init__(
        self,
        bundle: CsiBundle | str | os.PathLike[str] = "csi-adnet",
        dimensions: Any = "wide",
        network: str = "wiener",
        bypass_db: float | None = None,
        threads: int = 1,
    ) -> None:
        if not isinstance(bundle, CsiBundle):
            bundle = CsiBundle.load(bundle)
        n = numerology(dimensions) if isinstance(dimensions, str) else dimensions
        bundle.check_waveform(n.fft_size, n.cp_length, n.used, n.pilot_spacing)
        empty = pmt.make_c32vector(0, 0)
        path = bundle.graph_path(network)
        super().__init__("csi_denoiser", path, ("grid", "grid"), empty, threads)
        self._own_bypass_db = bundle.bypass_db
        self.set_bypass_db(bypass_db)
        self._csi = pmt.intern("csi")
        self._bypassed = 0
        self.message_port_register_out(self._csi)

    def bypassed(self) -> int:
        """Frames that were good enough without the network."""
        return self._bypassed

    def set_bypass_db(self, bypass_db: float | None) -> None:
        """May be called while running."""
        self._bypass_db = self._own_bypass_db if bypass_db is None else bypass_db

    def _take(self, metadata: Any, values: Any) -> None:
        vector = self._empty if values is None else to_vector(values)
        if pdus.erased(metadata):
            self._publish(metadata, vector)
            return
        uses, ls = pdus.get(metadata, "uses", 0), pdus.get(metadata, "csi")
        n0, snr_db = pdus.get(metadata, "csi_n0"), pdus.get(metadata, "snr_db")
        known = all(isinstance(value, (int, float)) for value in (n0, snr_db))
        sound = isinstance(uses, int) and 0 < uses <= LONGEST_PAYLOAD
        rows = csi.pilot_rows(uses if sound else 1)
        if (
            not isinstance(ls, np.ndarray)
            or ls.dtype != np.complex64
            or not sound
            or ls.size != len(rows) * USED
            or not known
            or not 0 < n0 < math.inf
            or not np.isfinite(ls).all()
        ):
            self._drop(metadata, "its csi, csi_n0 or snr_db does not follow from its channel uses")
            self._publish(pdus.erase(metadata, "payload"), self._empty)
            return
        ls = ls.reshape(len(rows), USED)
        started, refined = time.perf_counter(), ls
        # Whatever snr_db says, a graph is not fed with what would overflow in it.
        with np.errstate(over="ignore"):
            strong = float(np.mean(np.abs(ls) ** 2)) > STRONGEST * n0
        if snr_db > self._bypass_db or strong:
            self._bypassed += 1
        else:
            refined = csi.refine(self._graph, ls, float(n0), rows.astype(np.float32))
        self._tally(1)
        vectors = {"ls": to_vector(ls), "refined": to_vector(refined)}
        message = pdus.put(pmt.make_dict(), pilots=len(rows), subcarriers=USED, **vectors)
        for key in ("frame_number", "sample_index", "cfo", "snr_db", "csi_n0"):
            name = pmt.intern(key)
            if pmt.dict_has_key(metadata, name):
                message = pmt.dict_add(message, name, pmt.dict_ref(metadata, name, pmt.PMT_NIL))
        self.message_port_pub(self._csi, message)
        seconds = time.perf_counter() - started
        metadata = pdus.put(metadata, csi=vectors["refined"], denoise_s=seconds)
        self._publish(metadata, vector)
