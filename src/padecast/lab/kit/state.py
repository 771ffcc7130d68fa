"""What an interrupted measurement goes on from: what was asked for, how many seeds fit, what one look has shown."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from padecast import __version__, files
from padecast._errors import DamagedFile, InvalidOption
from padecast.lab.kit.pieces import Order, request
from padecast.lab.shelf import Shelf

KIND = "padecast measurement under way"
FILE = "measurement.json"


@dataclass
class State:
    """A measurement under way.

    Args:
        order: What is measured, and where it is kept.
        asked: The same as plain data, and by which padecast: what a folder is for.
        seeds: How many of the seeds are measured; 0 until it is known.
        change: Of the output from step to step, once an uncached run was looked at.
        seconds: That it took so far.
    """

    order: Order
    asked: dict[str, Any]
    seeds: int = 0
    change: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def shelf(self) -> Shelf:
        """Where finished cells are."""
        return Shelf(self.order.folder / "cells")

    @property
    def path(self) -> Path:
        """Its file."""
        return self.order.folder / FILE

    def save(self) -> None:
        """Write it, whole or not at all.

        Raises:
            UnwritableFile: If it cannot be written; the message says why.
        """
        plain = {"kind": KIND, "asked": self.asked, "seeds": self.seeds, "change": self.change, "seconds": self.seconds}
        files.write(self.path, json.dumps(plain, indent=1) + "\n")


def open_state(order: Order, options: dict[str, Any], *, overwrite: bool = False) -> State:
    """Return the state of the folder of an order, or a new one.

    Args:
        order: What is measured, and where.
        options: What else tells one measurement from another, such as how weights are kept.
        overwrite: Whether another measurement in the folder is removed, as soon as this one is saved.

    Raises:
        InvalidOption: If the folder has another measurement; the message names what differs.
    """
    new = State(order, {**request(order), **options, "padecast": __version__})
    try:
        content = files.read_json(new.path) if new.path.is_file() else None
    except DamagedFile:
        content = {}
    if content is None:
        return new
    before = content.get("asked") if isinstance(content, dict) and content.get("kind") == KIND else None
    if before == new.asked and not overwrite:
        return State(
            order, new.asked, *(content.get(name, getattr(new, name)) for name in ("seeds", "change", "seconds"))
        )
    if overwrite:
        return new
    names = [name for name, value in new.asked.items() if not isinstance(before, dict) or before.get(name) != value]
    raise InvalidOption(
        f"{order.folder} has another measurement, of other {', '.join(names) or 'contents'}.\n"
        "Usual cause: other options than before. Give those to go on, or another --out; --overwrite begins anew."
    )


def clear(order: Order) -> None:
    """Remove what an earlier measurement left in a folder, and nothing else."""
    for path in (order.folder / "cells").glob("*.json"):
        path.unlink()
    for path in (order.calibration, order.calibration.with_suffix(".part.jsonl"), order.folder / FILE):
        path.unlink(missing_ok=True)
    shutil.rmtree(order.lessons, ignore_errors=True)
