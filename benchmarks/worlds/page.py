"""docs/worlds.md, and the result files of worlds like real models from finished cells.

padecast lab run benchmarks/experiments/scenes-as-flux.toml --out runs/scenes-as-flux
python -m benchmarks.worlds.page scenes-as-flux runs/scenes-as-flux  # also writes results/worlds-scenes-as-flux.json
python -m benchmarks.worlds.page scenes-as-flux runs/more --keep      # and keeps the cells that it has besides
python -m benchmarks.worlds.page                                     # the page from the result files alone
python -m benchmarks.worlds.page --check                             # fails if it is not what these say
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from benchmarks.common import DOCS, RESULTS, Document, publish, read, render
from benchmarks.comparison.cells import compact, merge, save
from benchmarks.comparison.tables import HELPERS
from benchmarks.worlds.titles import WORLDS


def cross(
    rows: Iterable[Document], down: str, across: tuple[str, ...]
) -> tuple[list[str], dict[str, dict[str, Document]]]:
    """Return the heads that other keys make together, and rows by a key and a head."""
    rows = list(rows)
    heads = [", ".join(str(row[key]) for key in across) for row in rows]
    lines: dict[str, dict[str, Document]] = {}
    for head, row in zip(heads, rows, strict=True):
        lines.setdefault(row[down], {})[head] = row
    return list(dict.fromkeys(heads)), lines


def measure_gains(document: Document) -> dict[str, list[list[float]]]:
    """Return how far variants of forecasters are above repetition, over three kinds of abscissae, in every cell."""
    rows = {(row["forecaster"], row["over"]): row for row in document["rows"] if row["plan"] == "dense"}
    cells = [name for name in document["rows"][0] if "," in name]
    base = {cell: rows["repetition", "steps"][cell][0] for cell in cells}
    return {
        name: [[rows[name, over][cell][0] - base[cell] for cell in cells] for over in ("steps", "levels", "roots")]
        for name in dict.fromkeys(name for name, _ in rows)
    }


def compose() -> str:
    """Return the page."""
    variants = read("variants.json")
    return render(
        "worlds/page.md.jinja",
        variants=variants,
        gains=measure_gains(variants),
        **{part: read(f"world-{part}.json") for part in ("lines", "levels", "solvers", "matches")},
        cross=cross,
        **HELPERS,
        damped=[
            f"TC-Padé, damping {damping}, feedback {feedback}"
            for feedback in ("0", "1", "1.5")
            for damping in (0, 2, 8, 32)
        ],
    )


def main() -> None:
    """Write a result file if finished cells are given, and the page in any case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("world", nargs="?", choices=tuple(WORLDS))
    parser.add_argument("cells", nargs="*", type=Path, help="folders of finished cells")
    parser.add_argument("--keep", action="store_true", help="keep what the result file has besides these cells")
    parser.add_argument("--check", action="store_true", help="fail if they are not what the result files say")
    options = parser.parse_args()
    if options.world and options.cells and not options.check:
        name, document = f"worlds-{options.world}.json", compact(options.cells)
        save(RESULTS / name, merge(read(name), document) if options.keep else document)
    publish({DOCS / "worlds.md": compose()}, check=options.check)


if __name__ == "__main__":
    main()
