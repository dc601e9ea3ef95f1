# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""The two ends of split inference, each as one hierarchical block."""

from __future__ import annotations

import os
from typing import Any

from gnuradio import gr
from phydnn.bundle import Bundle

from .denoiser import csi_denoiser
from .networks import head, loaded, tail
from .phydnn_python import (
    csi_estimator,
    embedding_demapper,
    embedding_mapper,
    equalizer,
    frame_synchronizer,
    frame_transmitter,
)

# Affinity and priority are set on the blocks inside: GNU Radio crashes where they are set on a
# hierarchical block with message ports.


class sender(gr.hier_block2):
    """What the sending ends share: messages in, samples out.

    Args:
        encoder, mapper, transmitter: the blocks inside.
        ports: of the messages into the encoder, and from there into the mapper.
    """

    def __init__(self, encoder: Any, mapper: Any, transmitter: Any, ports: tuple[str, str]) -> None:
        gr.hier_block2.__init__(
            self,
            type(self).__name__,
            gr.io_signature(0, 0, 0),
            gr.io_signature(1, 1, gr.sizeof_gr_complex),
        )
        self.mapper, self.transmitter = mapper, transmitter
        self.message_port_register_hier_in(ports[0])
        for port in ("sent", "symbols"):
            self.message_port_register_hier_out(port)
        self.msg_connect(self, ports[0], encoder, ports[0])
        self.msg_connect(encoder, ports[1], mapper, ports[1])
        self.msg_connect(mapper, "symbols", transmitter, "symbols")
        self.msg_connect(mapper, "symbols", self, "symbols")
        self.msg_connect(transmitter, "sent", self, "sent")
        self.connect(transmitter, self)

    def set_amplitude(self, amplitude: float) -> None:
        """May be called while running."""
        self.transmitter.set_amplitude(amplitude)


class device(sender):
    """The device: images in, samples out.

    Head, embedding mapper and frame transmitter; their documentation says more.

    Message input ``images``: as of :class:`head`. Message outputs: ``sent`` of the transmitter,
    and ``symbols``, the payload of each frame. Stream output: complex samples.

    Args:
        bundle: a :class:`phydnn.bundle.Bundle`, or the path or name of one.
        dimensions: of the waveform, a ``numerology`` or the name of a preset.
        batch_size: images in a frame.
        timeout_s: seconds for which an image may wait for others.
        amplitude: factor on every sample; 1 gives used subcarriers unit power.
        gap: zeros after each frame.
        threads: of ONNX Runtime; 0 for half of the cores.

    Attributes:
        head, mapper, transmitter: the blocks inside.

    Raises:
        BundleError: the bundle is missing, damaged or not what it says.
        ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        dimensions: Any = "wide",
        batch_size: int = 64,
        timeout_s: float = 0.05,
        amplitude: float = 1.0,
        gap: int = 128,
        threads: int = 0,
    ) -> None:
        bundle = loaded(bundle)
        self.head = head(bundle, batch_size, timeout_s, threads)
        super().__init__(
            self.head,
            embedding_mapper(bundle.embeddings, bundle.points, bundle.lookup),
            frame_transmitter(
                dimensions,
                bundle_id=bundle.id,
                precoded=bundle.precoding,
                amplitude=amplitude,
                gap=gap,
            ),
            ("images", "slices"),
        )


class receiver(gr.hier_block2):
    """The part of every receiver: samples in, payloads out.

    Frame synchronizer, CSI estimator, CSI denoiser where one is asked for, and equalizer; their
    documentation says more.

    Stream input: complex samples. Message outputs: ``symbols``, the payload of each frame with
    ``n0``; ``csi``, its channel estimates; ``raw``, its resource grid before the equalizer. Message
    input ``done``: any message says that a frame is over.

    Args:
        bundle_id: frames of other bundles are reported as erasures.
        dimensions, sample_rate, smoothing, max_uses, in_flight: see :class:`edge`.

    Attributes:
        synchronizer, estimator, denoiser, equalizer: the blocks inside; ``denoiser`` may be None.

    Raises:
        BundleError: the denoiser's bundle is missing, damaged or made for another waveform.
        ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        bundle_id: int,
        dimensions: Any = "wide",
        sample_rate: float = 20e6,
        smoothing: str = "window",
        max_uses: int = 262144,
        in_flight: int = 0,
    ) -> None:
        gr.hier_block2.__init__(
            self, "receiver", gr.io_signature(1, 1, gr.sizeof_gr_complex), gr.io_signature(0, 0, 0)
        )
        self.synchronizer = frame_synchronizer(
            dimensions,
            sample_rate=sample_rate,
            bundle_id=bundle_id,
            max_uses=max_uses,
            in_flight=in_flight,
        )
        self.denoiser = None
        if smoothing not in ("none", "window"):
            name, _, network = smoothing.partition(":")
            self.denoiser = csi_denoiser(name, dimensions, network or "wiener")
        self.estimator = csi_estimator(dimensions, "none" if self.denoiser else smoothing)
        self.equalizer = equalizer(dimensions)
        self.message_port_register_hier_in("done")
        for port in ("symbols", "csi", "raw"):
            self.message_port_register_hier_out(port)
        self.connect(self, self.synchronizer)
        self.msg_connect(self, "done", self.synchronizer, "done")
        self.msg_connect(self.synchronizer, "grid", self.estimator, "grid")
        self.msg_connect(self.synchronizer, "grid", self, "raw")
        estimates = self.estimator
        if self.denoiser is not None:
            self.msg_connect(self.estimator, "grid", self.denoiser, "grid")
            estimates = self.denoiser
        self.msg_connect(estimates, "grid", self.equalizer, "grid")
        self.msg_connect(estimates, "csi", self, "csi")
        self.msg_connect(self.equalizer, "symbols", self, "symbols")


class reader(gr.hier_block2):
    """What the receiving ends share: samples in, messages out.

    Args:
        heard, demapper, decoder: the blocks inside, the first a :class:`receiver`.
        ports: of the messages into the decoder, and from there on.
    """

    def __init__(
        self, heard: receiver, demapper: Any, decoder: Any, ports: tuple[str, str]
    ) -> None:
        gr.hier_block2.__init__(
            self,
            type(self).__name__,
            gr.io_signature(1, 1, gr.sizeof_gr_complex),
            gr.io_signature(0, 0, 0),
        )
        self.receiver, self.demapper = heard, demapper
        self.connect(self, heard)
        self.msg_connect(heard, "symbols", demapper, "symbols")
        self.msg_connect(demapper, ports[0], decoder, ports[0])
        self.msg_connect(decoder, ports[1], heard, "done")
        for port, block in (("csi", heard), ("symbols", heard), (ports[1], decoder)):
            self.message_port_register_hier_out(port)
            self.msg_connect(block, port, self, port)

    def set_decision(self, decision: str) -> None:
        """May be called while running."""
        self.demapper.set_decision(decision)


class edge(reader):
    """The edge: samples in, classes out.

    A :class:`receiver`, embedding demapper and tail; their documentation says more.

    Stream input: complex samples. Message outputs: ``classes`` of the tail; ``csi``, the channel
    estimates of each frame; ``raw``, the resource grid before the equalizer; ``symbols``, the
    payload after it.

    Args:
        bundle: a :class:`phydnn.bundle.Bundle`, or the path or name of one; frames of other
            bundles are reported as erasures.
        dimensions: of the waveform, a ``numerology`` or the name of a preset.
        sample_rate: samples per second.
        decision: "hard" or "soft" lookup; empty for the bundle's own.
        smoothing: of the channel estimate: "none", "window", or the path or name of a bundle of
            CSI denoisers, with ":adnet" behind it for the slow one.
        max_uses: longest payload to accept, in channel uses.
        in_flight: frames that may be under way in it at once, the stream standing still meanwhile;
            0 for any number, as a radio needs it, which does not wait.
        threads: of ONNX Runtime; 0 for half of the cores.

    Attributes:
        receiver, demapper, tail: the blocks inside.

    Raises:
        BundleError: the bundle is missing, damaged or not what it says.
        ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        dimensions: Any = "wide",
        sample_rate: float = 20e6,
        decision: str = "",
        smoothing: str = "window",
        max_uses: int = 262144,
        threads: int = 0,
        in_flight: int = 0,
    ) -> None:
        bundle = loaded(bundle)
        self.tail = tail(bundle, threads)
        super().__init__(
            receiver(bundle.id, dimensions, sample_rate, smoothing, max_uses, in_flight),
            embedding_demapper(bundle.embeddings, bundle.points, decision or bundle.decision),
            self.tail,
            ("slices", "classes"),
        )
        self.message_port_register_hier_out("raw")
        self.msg_connect(self.receiver, "raw", self, "raw")
