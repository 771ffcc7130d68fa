"""What padecast itself costs: a forecast step, inner products, efficiency next to other caches, memory.

    python benchmarks/overhead.py [--part forecast|products|memory|cuda|digits|flux|wan] [--quick]

Run it from the repository root on a machine that does nothing else; it downloads nothing. The CPU takes a quarter of
an hour. On a CUDA device the parts use it, and ``cuda`` adds FLUX.1-dev, Wan2.1-1.3B and DiT-XL/2 at full size with
random weights (40 GB); without one its rows are null. Writes benchmarks/results/overhead.json; ``--part`` (several
times, if wanted) replaces those parts in it, ``--quick`` tries everything out on less and writes nothing.

Every figure is a ratio of medians of runs that alternate in one process (A B A B ...). In part:

    forecast    Memory.add, and the whole of Session.forecast, over the floor: reading the input and K residuals and
                writing the output, K + 2 times the residual's bytes, at the rate at which torch copies the same
                tensors back and forth. ``over_floor_allocating`` adds to the floor what a fresh output costs (clone
                over copy), which a CPU pays in page faults and a GPU's caching allocator does not.
    products    Memory.remember with and without inner products, over one computed step of the model.
    memory      Peak of allocated bytes over the uncached run, next to what the report declares. On a CPU it is the
                highest sum of the allocations that torch's profiler saw, in a short run.
    cuda        Efficiency and memory on models of full size, and whether a run waits for the GPU inside the model.
    digits, flux, wan
                Efficiency: (uncached denoiser seconds / accelerated denoiser seconds) / (steps / NFE). The NFE is
                counted: calls in which the last block's attention ran. The bound is the same run with nothing at all
                in place of the blocks left out: what lies outside the blocks keeps it under 1.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from common import RESULTS, write
from cost.cuda import cuda_rows
from cost.efficiency import digits_rows, flux_rows, short, wan_rows
from cost.memory import memory_rows
from cost.steps import forecast_rows, product_rows
from rich.console import Console
from rich.table import Table

from padecast import files
from padecast.calibration.provenance import Provenance

Row = dict[str, Any]


def shown(part: str, rows: list[Row]) -> Table:
    hidden = {"settings", "notes", "all_seconds", "about", "how"}
    table = Table(title=part)
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in hidden]
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(column)) for column in columns))
    return table


def cell(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(f"{row['way']}: {short(row)}" for row in value)
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


PARTS: dict[str, Callable[[bool], Iterable[Row]]] = {
    "forecast": forecast_rows,
    "products": product_rows,
    "memory": memory_rows,
    "cuda": cuda_rows,
    "digits": digits_rows,
    "flux": flux_rows,
    "wan": wan_rows,
}


def main() -> None:
    """Measure, write after every part, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="this part alone; may be given again")
    parser.add_argument("--quick", action="store_true", help="try it out on less; nothing is written")
    parser.add_argument("--busy", action="store_true", help="record that the machine was doing something else")
    chosen = parser.parse_args()
    logging.disable(logging.INFO)
    for part in chosen.part or PARTS:
        rows: list[Row] = []
        for row in PARTS[part](chosen.quick):
            rows.append(row)
            if not chosen.quick:
                keep(part, rows, chosen.busy)
        Console(width=190).print(shown(part, rows))


def keep(part: str, rows: list[Row], busy: bool) -> None:
    """Write what there is of a part, beside the other parts."""
    path = RESULTS / "overhead.json"
    document = files.read_json(path) if path.exists() else {"parts": {}}
    document["parts"][part] = {"provenance": {**asdict(Provenance.of()), "machine_busy": busy}, "rows": rows}
    write(path.name, document)


if __name__ == "__main__":
    main()
