"""What padecast itself costs: a forecast step, inner products, efficiency next to other caches, memory.

    python -m benchmarks.cost.measure [--part forecast|products|memory|cuda|digits|flux|wan] [--quick]
    python benchmarks/overhead.py --part cuda      # the same script

Run it from the repository root on a machine that does nothing else; it downloads nothing. The CPU takes a quarter of
an hour. On a CUDA device the parts use it, and ``cuda`` adds FLUX.1-dev, Wan2.1-1.3B and DiT-XL/2 at full size with
random weights (40 GB); without one its rows are null. Writes benchmarks/results/overhead.json; ``--part`` (several
times, if wanted) replaces those parts in it, ``--quick`` tries everything out on less and writes nothing.

Every figure is a ratio of medians of runs that alternate in one process (A B A B ...); benchmarks/README.md says what
the parts measure.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console

from benchmarks.common import RESULTS, provenance, read, write
from benchmarks.cost.cuda import measure_cuda
from benchmarks.cost.efficiency import measure_digits, measure_flux, measure_wan
from benchmarks.cost.memory import measure_memory
from benchmarks.cost.steps import measure_forecasts, measure_products

FILE = "overhead.json"
Row = dict[str, Any]


PARTS: dict[str, Callable[[bool], Iterable[Row]]] = {
    "forecast": measure_forecasts,
    "products": measure_products,
    "memory": measure_memory,
    "cuda": measure_cuda,
    "digits": measure_digits,
    "flux": measure_flux,
    "wan": measure_wan,
}


def main() -> None:
    """Measure, write after every row, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="this part alone; may be given again")
    parser.add_argument("--quick", action="store_true", help="try it out on less; nothing is written")
    parser.add_argument("--busy", action="store_true", help="record that the machine was doing something else")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    for part in options.part or PARTS:
        rows: list[Row] = []
        for row in PARTS[part](options.quick):
            rows.append(row)
            if not options.quick:
                keep(part, rows, options.busy)
        Console().print(part, rows)


def keep(part: str, rows: list[Row], busy: bool) -> None:
    """Write what there is of a part, beside the other parts."""
    document = read(FILE) if (RESULTS / FILE).exists() else {"parts": {}}
    document["parts"][part] = {"provenance": {**provenance(), "machine_busy": busy}, "rows": rows}
    write(FILE, document)


if __name__ == "__main__":
    main()
