# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 the gr-phydnn authors
"""Results beside the papers' numbers: as a table, and as one self-contained HTML page."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from phydnn import experiments
from phydnn.errors import InputError
from phydnn.results import write_bytes

logger = logging.getLogger(__name__)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 3rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.87rem; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #d8dee4; text-align: right;
  white-space: nowrap; font-variant-numeric: tabular-nums; }
th { border-bottom: 2px solid #8c959f; } th:first-child, td:first-child { text-align: left; }
.paper { background: #f3f6fa; }
dl { font-size: 0.87rem; display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; }
dt { color: #59636e; } dd { margin: 0; overflow-wrap: anywhere; }
"""


def _percent(value: float) -> str:
    return f"{100 * value:.2f}%"


def _accuracy(row: dict[str, Any]) -> str:
    if row.get("accuracy") is None or row.get("ci95") is None:
        return ""
    low, high = (100 * bound for bound in row["ci95"])
    return f"{_percent(row['accuracy'])} ({low:.2f} to {high:.2f})"


def _loss(row: dict[str, Any]) -> str:
    if row.get("a0") is None or row.get("accuracy") is None:
        return ""
    return f"{100 * (row['a0'] - row['accuracy']):.2f}"


def _count(value: float) -> str:
    """A large number in the words of the papers: 42.9 M, 42.5 k."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:g}"


def _plain(value: Any) -> str:
    """Four digits of a float, and all before the point."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{float(f'{value:.4g}'):,g}"


COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "system": ("system", str),
    "scheme": ("scheme", str),
    "model": ("network", str),
    "dataset": ("data", str),
    "channel": ("channel", str),
    "snr_db": ("Es/N0, dB", lambda value: f"{value:g}"),
    "channel_uses": ("uses", lambda value: f"{value:,}"),
    "points": ("points", str),
    "bytes": ("bytes", lambda value: f"{value:,g}"),
    "a0": ("A0", _percent),
    "accuracy": ("accuracy", _percent),
    "loss": ("loss, points", str),
    "bleu": ("BLEU-1 to -4", lambda values: " ".join(f"{value:.4f}" for value in values)),
    "mse": ("mean squared error", lambda value: f"{value:.4g}"),
    "macs": ("MACs", _count),
    "params": ("parameters", _count),
}
"""Keys of a row that have a column of their own, in order: its heading, and how a value reads."""
HIDDEN = {"ci95", "loss_points", "paper"}


def table(
    rows: list[dict[str, Any]],
) -> tuple[dict[str, str], list[str], list[list[str]]]:
    """What the rows have in common, and headings and cells of what differs.

    A column of ours is followed by the paper's; then comes whatever else the rows hold, but for
    lists. A column that would be empty is left out.
    """

    def scalar(value: Any) -> bool:
        return value is not None and not isinstance(value, (dict, list))

    def shown(row: dict[str, Any], name: str) -> str:
        value = row.get(name)
        return COLUMNS[name][1](value) if (value and name == "bleu") or scalar(value) else ""

    columns: list[tuple[str, list[str]]] = []

    common: dict[str, str] = {}

    def add(heading: str, cells: list[str]) -> None:
        if len(cells) > 1 and cells[0] and len(set(cells)) == 1:
            common[heading] = cells[0]
        elif any(cells):
            columns.append((heading, cells))

    papers = [row.get("paper") or {} for row in rows]
    for name, (heading, _) in COLUMNS.items():
        if name == "loss":
            add(heading, [_loss(row) for row in rows])
            add(f"paper: {heading}", [_loss(paper) for paper in papers])
            continue
        if name == "accuracy":
            add(f"{heading} (95% interval)", [_accuracy(row) for row in rows])
        else:
            add(heading, [shown(row, name) for row in rows])
        add(f"paper: {heading}", [shown(paper, name) for paper in papers])
    for prefix, entries in (("", rows), ("paper: ", papers)):
        names = dict.fromkeys(name for entry in entries for name in entry)
        for name in names:
            if name not in COLUMNS and name not in HIDDEN:
                cells = [_plain(e[name]) if scalar(e.get(name)) else "" for e in entries]
                add(prefix + name.replace("_", " "), cells)
    headings = [heading for heading, _ in columns]
    lines = [list(line) for line in zip(*(cells for _, cells in columns), strict=True)]
    return common, headings, lines


def build(results: Path, out: Path) -> tuple[Path, int]:
    """Writes OUT/index.html, with every result in a folder, and each one's picture beside it.

    Args:
        results: where experiments left their JSON files; files of other commands are passed over.
        out: the page's folder.

    Returns:
        the page, and how many experiments are on it.

    Raises:
        InputError: no such folder, no results in it, or the page cannot be written.
    """
    if not results.is_dir():
        raise InputError(f"{results} is not a folder: give --results the one of the JSON files")
    sections = []
    for path in sorted(results.glob("*.json")):
        result = _read(path)
        if result is None:
            continue
        png = _picture(result, path)
        if png:
            write_bytes(out / f"{path.stem}.png", png)
        sections.append(_section(result, png))
    if not sections:
        raise InputError(f"{results} holds no experiment's results: run phydnn experiment first")
    page = out / "index.html"
    write_bytes(page, _page("".join(sections)).encode())
    return page, len(sections)


def _read(path: Path) -> dict[str, Any] | None:
    """An experiment's result; None where the file is another command's, or damaged."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("%s is left out: %s", path, error)
        return None
    if not isinstance(result, dict) or "experiment" not in result:
        return None
    rows = result.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        logger.warning("%s is left out: it has no rows", path)
        return None
    return result


def _picture(result: dict[str, Any], path: Path) -> bytes:
    """Drawn anew from the rows; where the experiment is not there, what its run drew."""
    from phydnn.experiments.plots import picture

    beside = path.with_suffix(".png")
    try:
        return picture(experiments.load(str(result["experiment"])).draw, result["rows"])
    except InputError as error:
        logger.info("%s: %s", path.name, error)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        logger.warning("%s: its rows cannot be drawn: %s", path, error)
    return beside.read_bytes() if beside.is_file() else b""


def _section(result: dict[str, Any], png: bytes) -> str:
    rows = result["rows"]
    common, headings, lines = table(rows)
    marks = [' class="paper"' if heading.startswith("paper: ") else "" for heading in headings]
    head = "".join(f"<th{m}>{escape(h)}</th>" for h, m in zip(headings, marks, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{m}>{escape(cell)}</td>" for cell, m in zip(line, marks, strict=True))
        + "</tr>\n"
        for line in lines
    )
    seeds = sorted({str(row["seed"]) for row in rows if row.get("seed") is not None})
    facts = {
        **common,
        "command": result.get("command", "unknown"),
        "commit": result.get("git", "unknown"),
        "measured at": ", ".join(map(str, result.get("measured_at", []))) or "unknown",
        "seed": ", ".join(seeds) or "none: nothing is random",
    }
    name = str(result["experiment"])
    title = str(result.get("title", name)) + (" (quick form)" if result.get("quick") else "")
    image = ""
    if png:
        data = base64.b64encode(png).decode()
        image = f'<figure><img alt="{escape(title)}" src="data:image/png;base64,{data}"></figure>\n'
    listing = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>\n" for k, v in facts.items())
    return (
        f'<section id="{escape(name)}">\n<h2>{escape(title)}</h2>\n'
        f"<p>{escape(str(result.get('source', '')))}</p>\n{image}"
        f'<div class="table"><table>\n<tr>{head}</tr>\n{body}</table></div>\n'
        f"<dl>\n{listing}</dl>\n</section>\n"
    )


def _page(sections: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>gr-phydnn: measured</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        "<h1>gr-phydnn: measured results beside the papers' own</h1>\n"
        "<p>Es/N0 is the energy of a channel use over the total complex noise variance. A0 is the "
        "accuracy of the uncompressed network on the same test images. Uses and bytes are of an "
        "image, MACs and parameters of the head on the device, ms and mJ of a batch unless the "
        "title says otherwise. Intervals are 95% (Wilson). "
        "Shaded columns are the papers' numbers.</p>\n"
        f"{sections}</body>\n</html>\n"
    )
