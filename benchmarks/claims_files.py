"""What the result files of the claims say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from common import SETTINGS as OF_DIGITS

from padecast import files

SETTINGS = (*OF_DIGITS, "scenes")
Document = dict[str, Any]
Rows = list[dict[str, Any]]
Line = list[tuple[float, float]]


class Measured:
    """The result files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def part(self, name: str) -> Document:
        """Return a part of the claims by setting, less what no batch of was measured."""
        path = self.folder / f"claims-{name}.json"
        if not path.exists():
            return {}
        settings = files.read_json(path)["settings"]
        return {s: found for s, found in settings.items() if found["seeds"]}


def seeds(found: Document) -> str:
    """Say how many test seeds were drawn."""
    counts = {s: len(one["seeds"]) for s, one in found.items()}
    same = len(set(counts.values())) == 1 and len(counts) == len(SETTINGS)
    return f"{next(iter(counts.values()))}" if same else " and ".join(f"{n} ({s})" for s, n in counts.items())


def mean(rows: Rows, name: str, at: float, key: str = "psnr") -> float:
    """Return the mean of one row over its samples, or of its computed steps over batches."""
    (row,) = (r for r in rows if r["name"] == name and r["at"] == at)
    return fmean(row[key])


def names(rows: Rows) -> list[str]:
    """Names of rows, each once."""
    return list(dict.fromkeys(r["name"] for r in rows))


def all_names(found: Document) -> list[str]:
    """Names of the rows of any setting, each once."""
    return list(dict.fromkeys(name for one in found.values() for name in names(one["rows"])))


def lines(rows: Rows, key: str = "psnr", leave: Sequence[str] = ()) -> dict[str, Line]:
    """Return a line per name over what is varied."""
    chosen = [n for n in names(rows) if n not in leave]
    return {n: [(r["at"], fmean(r[key])) for r in rows if r["name"] == n] for n in chosen}


def errors_of(found: Document) -> dict[tuple[str, str, int], float]:
    """Return the mean error by kind, forecaster and gap."""
    by: dict[tuple[str, str, int], float] = {}
    for written in found["batches"][0]["errors"]:
        kind, name, gap = written.split(", ")
        by[kind, name, int(gap)] = fmean(fmean(b["errors"][written]) for b in found["batches"])
    return by


def cosines_of(found: Document) -> dict[str, list[list[float]]]:
    """Return the cosines of all pairs of steps, of inner products summed over samples."""
    by = {}
    for kind in ("residuals", "outputs"):
        gram = torch.tensor([b["grams"][kind] for b in found["batches"]], dtype=torch.float64).sum(0)
        length = gram.diagonal().sqrt()
        by[kind] = (gram / length[:, None] / length[None, :]).tolist()
    return by


def over(matrix: list[list[float]], distance: int) -> float:
    """Return the mean cosine of steps so far apart."""
    return float(torch.tensor(matrix, dtype=torch.float64).diagonal(distance).mean())
