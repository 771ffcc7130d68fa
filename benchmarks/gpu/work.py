"""Measures what is left of one part, item by item; started by benchmarks.gpu.measure, in a process of its own."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import logging
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from rich.console import Console

from benchmarks.cost.models import DEVICE
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.store import Document, list_left, read_part, write_part
from padecast.calibration.provenance import Provenance, device_name

SAY = Console(stderr=True)


def main() -> None:
    """Measure until all is done, or the time is over."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, required=True, help="folder of the result files")
    parser.add_argument("--until", type=float, required=True, help="when to begin no further item, as time.time() says")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    measure_part(options.part, options.out, options.until, tiny=options.tiny)


def measure_part(name: str, folder: Path, until: float, *, tiny: bool) -> None:
    """Measure the items of a part that are left, and write each at once.

    Args:
        name: Of the part.
        folder: Of the result files.
        until: When to begin no further item.
        tiny: Whether sizes are tiny.
    """
    document, items = read_part(folder, name), PARTS[name].items(tiny)
    parent, left = os.getppid(), list_left(document, items, device_name(DEVICE))
    document |= {"about": PARTS[name].about, "tiny": tiny, "provenance": describe_place(name, tiny)}
    for place, item in enumerate(left):
        if time.time() > until or os.getppid() != parent:  # or nobody waits for it any more
            break
        document["items"][item] = {**_mark(document), "error": "it was begun, and the process ended"}
        write_part(folder, document)
        document["items"][item] = _mark(document) | try_item(items[item])
        write_part(folder, document)
        _tell(name, item, document["items"][item], len(left) - place - 1)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def try_item(run: Any) -> Document:
    """Return what an item measures and how long it took, or what went wrong."""
    started = time.perf_counter()
    try:
        found = {"result": run()}
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        found = {"error": f"{type(error).__name__}: {lines[0][:300]}"}
    return {**found, "seconds": time.perf_counter() - started}


def describe_place(name: str, tiny: bool) -> Document:
    """Return where a part is measured, with the command that begins it again."""
    place = dataclasses.asdict(Provenance.of(SimpleNamespace(device=DEVICE)))
    options = " --device cpu" * (DEVICE.type == "cpu") + " --tiny" * tiny
    return {**place, "command": f"python -m benchmarks.gpu.measure --part {name}{options}"}


def _mark(document: Document) -> Document:
    return {key: document["provenance"][key] for key in ("device", "commit", "date")}


def _tell(name: str, item: str, found: Document, left: int) -> None:
    said = found.get("error", "done")
    SAY.print(f"  {name}: {item}: {said}, {found['seconds']:.1f} s; {left} left", markup=False, highlight=False)


if __name__ == "__main__":
    main()
