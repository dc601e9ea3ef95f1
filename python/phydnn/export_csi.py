# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""From runs of ``train csi`` to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from phydnn import csi
from phydnn.bundle import GOLDEN_BATCH, open_session, sha256
from phydnn.csi import GRAPHS, CsiBundle
from phydnn.denoisers import ADNet, Wiener
from phydnn.errors import InputError
from phydnn.export import OPSET, finish, replacing, to_onnx
from phydnn.train.csi import load_denoiser, tensors, validation

BYPASS_DB = 35.0
"""Es/N0 above which least squares will do: 10 dB beyond the trainings' range."""
SCORED = 200
"""Frames of each kind that an exported bundle is scored on."""


class _Image(nn.Module):
    """ADNet without the input that it does not look at."""

    def __init__(self, adnet: ADNet) -> None:
        super().__init__()
        self.adnet = adnet

    def forward(self, ls: Tensor, n0: Tensor) -> Tensor:
        refined: Tensor = self.adnet(ls, n0, n0)
        return refined


def export_csi(run: Path, out: Path, note: str = "") -> CsiBundle:
    """Writes the bundle of the denoisers that ``train csi`` left in a folder, and validates it.

    The folder is swapped in when it is complete.

    Args:
        run: the runs' folder, holding wiener/best.safetensors and adnet/best.safetensors.
        out: the bundle's folder; its last part becomes the bundle's name.
        note: what else the model card should say about the training.

    Raises:
        InputError: the run is incomplete.
        RunError: ONNX Runtime does not answer as torch does.
    """
    sources = {name: run / name / "best.safetensors" for name in GRAPHS}
    for name, path in sources.items():
        if not path.is_file():
            raise InputError(f"{path} is missing: train it with --set network={name}")
    wiener, state = load_denoiser(sources["wiener"])
    adnet, other = load_denoiser(sources["adnet"])
    if not (isinstance(wiener, Wiener) and isinstance(adnet, ADNet)):
        raise InputError(f"{run} holds other networks than its folders' names say")

    rng = np.random.default_rng(4)
    paths = [csi.Paths.of(csi.tdl("tdl-c", spread)) for spread in (30e-9, 1e-7, 2e-7, 3e-7)]
    frames = csi.simulate(paths[:GOLDEN_BATCH], np.array([0.0, 5.0, 10.0, 15.0]), 10_000, rng)
    ls, n0, rows, _ = tensors(frames)
    free = {0: "batch", 1: "pilots"}
    axes = {"ls": free, "n0": {0: "batch"}, "rows": free}
    with torch.no_grad():
        answers = wiener.statistics(ls, n0, rows)
        names = ["offset", "turn", "profile", "spectrum"]
        golden = {"ls": ls, "n0": n0, "rows": rows, **dict(zip(names, answers, strict=True))}
        golden["wiener"], golden["refined"] = wiener(ls, n0, rows), adnet(ls, n0, rows)
        given = {"ls": ls, "n0": n0, "rows": rows.contiguous()}
        graphs = {"wiener": to_onnx(wiener.statistics, given, names, axes)}
        del given["rows"]
        graphs["adnet"] = to_onnx(
            _Image(adnet), given, ["refined"], {name: axes[name] for name in given}
        )

    with replacing(out) as part:
        for name, proto in graphs.items():
            (part / GRAPHS[name]).write_bytes(proto.SerializeToString())
        arrays = {name: tensor.contiguous().numpy() for name, tensor in golden.items()}
        np.savez_compressed(part / "golden.npz", **arrays)
        config = state["config"]
        meta: dict[str, Any] = {
            "schema": 1,
            "name": out.name,
            "version": "1",
            "system": CsiBundle.SYSTEM,
            "task": "channel estimation",
            "dataset": {"name": "simulated", "provenance": "simulated channels, drawn anew"},
            "waveform": csi.WAVEFORM,
            "bypass_db": BYPASS_DB,
            "training": {
                "channel": "flat Rayleigh and Rician, TDL-A and TDL-C at 30 to 300 ns, others",
                "snr_db": [config["snr_low"], config["snr_high"]],
                "seed": config["seed"],
                "mode": "corrected",
                "frames": {
                    name: c["epochs"] * c["steps"] * c["batch"]
                    for name, c in (("wiener", config), ("adnet", other["config"]))
                },
                "note": note,
                **state["provenance"],
            },
            "opset": OPSET,
            "files": {path.name: sha256(path) for path in sorted(part.iterdir())},
            "metrics": {},
        }
        finish(CsiBundle, part, meta, lambda made: {"simulated": score(made)}, _model_card)
    return CsiBundle.load(out)


def score(bundle: CsiBundle) -> list[dict[str, Any]]:
    """Mean squared errors in dB of LS, the DFT window and both networks, on simulated frames."""
    sessions = {name: open_session(bundle.graph_path(name), threads=1) for name in GRAPHS}
    found = []
    for channel, frames in validation(SCORED // 8):
        estimates = {"ls": frames.ls, "window": csi.window(frames.ls)}
        for name, session in sessions.items():
            estimates[name] = np.stack(
                [
                    csi.refine(session, ls, float(n0), frames.rows)
                    for ls, n0 in zip(frames.ls, frames.n0_estimate, strict=True)
                ]
            )
        found.append(
            {
                "channel": channel,
                "snr_db": round(float(-10 * np.log10(frames.n0[0])), 1) + 0.0,
                "pilots": len(frames.rows),
                "n": len(frames.ls),
                "mse_db": {
                    name: round(10 * float(np.log10(csi.mse(values, frames.truth).mean())), 2)
                    for name, values in estimates.items()
                },
            }
        )
    return found


def _model_card(meta: dict[str, Any]) -> str:
    """The bundle's README.md."""
    training = meta["training"]
    low, high = training["snr_db"]
    rows = "\n".join(
        f"| {row['channel']} | {row['pilots']} | {row['snr_db']:g} | "
        + " | ".join(f"{row['mse_db'][name]:.1f}" for name in ("ls", "window", "adnet", "wiener"))
        + " |"
        for row in meta["metrics"]["simulated"]
    )
    frames = training["frames"]
    return f"""# {meta["name"]}

Denoisers of channel estimates for the block `csi_denoiser`: an ADNet after Tian et al. ("Attention-
guided CNN for image denoising", Neural Networks 124, 2020), as Xie and Qin put one behind a
least-squares estimator in L-DeepSC, and a fast one that reads a frame's statistics for a Wiener
filter.

| | |
| --- | --- |
| waveform | {meta["waveform"]["fft"]} bins, {meta["waveform"]["used"]} of them used |
| channels | {training["channel"]} |
| Es/N0 in training | {low:g} to {high:g} dB |
| frames in training | {frames["wiener"]:,} (fast), {frames["adnet"]:,} (ADNet) |
| bypassed above | {meta["bypass_db"]:g} dB, estimated |
| seed | {training["seed"]} |

{training["note"]}

Mean squared error in dB, the channels' mean power being 1, on frames of so many DMRS:

| channel | DMRS | Es/N0 (dB) | LS | DFT window | ADNet | fast |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

`phydnn experiment ldeepsc_fig7` measures more of it. The channels are simulated: paths later than
{csi.TAPS - csi.MARGIN} samples are not seen, and interference between symbols was not trained on.
"""
