"""Cells at equal numbers of computed steps, ordered and written for tables."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.common import Document
from padecast.lab.html import is_partial, shorten

CLOSE = 0.5
"""Computed steps that a method may miss the wanted number by and still be compared at it."""


def budgets(chapter: Document) -> list[int]:
    """Return the numbers of computed steps of a setting."""
    return sorted({int(row["wanted"]) for row in chapter["rows"]})


def rank(chapter: Document, nfe: int) -> list[Document]:
    """Return the rows at a number of computed steps, the most faithful first."""
    rows = [row for row in chapter["rows"] if row["wanted"] == nfe]
    return sorted(rows, key=lambda row: -row["psnr"]["mean"])


def misses(row: Document) -> bool:
    """Whether a row computed another number of steps than it was to."""
    return bool(abs(row["nfe"] - row["wanted"]) > CLOSE)


def mark(row: Document) -> str:
    """Write a row's name: ours in bold; † skips a part of the blocks only, ‡ missed the number of steps."""
    name = f"**{row['name']}**" if row["name"] in ("calibrated", "adaptive", "tc-pade") else row["name"]
    return name + ("†" if is_partial(row["name"]) else "") + ("‡" if misses(row) else "")


def write_options(row: Document) -> str:
    """Write what a row was tuned to."""
    return shorten(row["written"]).removeprefix(row["name"]).lstrip(":,")


def percent(share: float) -> str:
    """Write a share: ``25 %``."""
    return f"{share:.0%}".replace("%", " %")


def write_range(seeds: list[int]) -> str:
    """Write seeds, those that follow one another by the first and the last."""
    whole = seeds == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]}-{seeds[-1]}" if whole else ", ".join(map(str, seeds))


def list_options(sampling: Document) -> Iterator[tuple[str, str]]:
    """Yield what sampling was told besides prompts."""
    yield from ((name, value) for name, value in sampling.items() if value not in (None, [], {}) and name != "prompts")


HELPERS = {
    helper.__name__: helper for helper in (budgets, rank, mark, write_options, percent, write_range, list_options)
}
"""What the templates of comparison/cells.md.jinja ask for."""
