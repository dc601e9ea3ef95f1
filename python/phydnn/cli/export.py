# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""``phydnn export``: turns a training run into a bundle."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Option(help="The run's folder, as phydnn train wrote it.")],
    out: Annotated[
        Path,
        typer.Option(
            help="The bundle's folder; its last part is the name. A file NAME.safetensors takes "
            "the run's backbone alone, for others to start from."
        ),
    ],
    data: Annotated[str, typer.Option(help="The data set, if it has moved.")] = "",
    provenance: Annotated[str, typer.Option(help="What the data is, for the model card.")] = "",
    weights: Annotated[
        Path | None, typer.Option(help="The backbone's checkpoint (default: the run's own).")
    ] = None,
    note: Annotated[str, typer.Option(help="What else the model card should say.")] = "",
) -> None:
    """Turn a checkpoint into a bundle, validated and scored on the test split."""
    if out.suffix == ".safetensors":
        from phydnn.export import export_backbone

        file, found = export_backbone(
            weights or run / "backbone" / "best.safetensors", out, data, note
        )
        low, high = found["accuracy_ci95"]
        print(f"{file}: accuracy {found['accuracy']:.4f} ({low:.4f} to {high:.4f})")
        return

    if (run / "deepsc").is_dir():
        from phydnn.export_text import export_text

        written = export_text(run, out, data, provenance, note)
        print(f"{written.path}: bundle {written.id:08x}")
        for row in written.meta["metrics"]["simulated"]:
            print(f"{row['channel']} {row['snr_db']:g} dB: BLEU-1 {row['bleu'][0]:.4f}")
        return

    if (run / "wiener").is_dir():
        from phydnn.export_csi import export_csi

        denoisers = export_csi(run, out, note)
        print(f"{denoisers.path}: bundle {denoisers.id:08x}")
        for row in denoisers.meta["metrics"]["simulated"]:
            errors = ", ".join(f"{name} {value:.1f}" for name, value in row["mse_db"].items())
            print(f"{row['channel']} {row['snr_db']:g} dB, {row['pilots']} DMRS: {errors} dB")
        return

    if (run / "airnet").is_dir():
        from phydnn.export_airnet import export_airnet

        delivered = export_airnet(run, out, data, provenance, note)
        print(f"{delivered.path}: bundle {delivered.id:08x}")
        for row in delivered.meta["metrics"]["simulated"]:
            print(f"{row['channel']} {row['snr_db']:g} dB: accuracy {row['accuracy']:.4f}")
        return

    from phydnn.export import export as write

    bundle = write(run, out, data, provenance, weights, note)
    print(f"{bundle.path}: bundle {bundle.id:08x}")
    backbone = bundle.meta["metrics"]["backbone"]["accuracy"]
    print(f"uncompressed network: accuracy {backbone:.4f}")
    for row in bundle.meta["metrics"]["simulated"]:
        print(f"{row['channel']} {row['snr_db']:g} dB: accuracy {row['accuracy']:.4f}")
