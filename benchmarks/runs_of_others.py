"""The same kinds of run with padecast and with other caches, on tiny pipelines with random weights.

    python benchmarks/runs_of_others.py [--only WORDS]

Run it from the repository root; it downloads nothing and takes some minutes on one core. The other caches are those
that ship with diffusers, and cache-dit where it is installed (``pip install "padecast[peers]"``). Only their public
calls are used. Writes benchmarks/results/runs-of-others.json; ``--only`` takes a part of a scenario's or a library's
name, and writes nothing.

Every scenario states what the right answer is, and a verdict is one of

    right                   the stated answer, and some blocks were skipped
    wrong image             not the stated answer; with the largest absolute difference
    exception               with its type and first line
    computes everything     the stated answer, but nothing was skipped
    left behind             the stated answer, but attributes stay on the modules or classes
    by design               differs, and is meant to
    not installed

Three kinds of right answer are used. Images of two runs that should not know of each other are compared bit by bit.
Steady runs give the model the same input at every step (the latents are put back after each step, and the timestep's
embedding is a constant): whatever is skipped, every output then has to be that of the uncached model, up to rounding.
And with every step computed, the image has to be that of the uncached pipeline, bit by bit.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import inspect
import logging
import multiprocessing
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import torch
from common import write
from others.libraries import LIBRARIES, Library
from others.looking import Finding, failed
from others.pipelines import controlled, flux, image_to_image, wan, wan_heun
from others.scenarios import NOTES, SCENARIOS
from rich.console import Console
from rich.progress import track
from rich.table import Table

from padecast.calibration.provenance import Provenance


class Warned(logging.Handler):
    """Keeps the first lines of what a library warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("diffusers.hooks"):
            self.lines[record.getMessage().splitlines()[0]] = None


@contextlib.contextmanager
def warned() -> Iterator[Warned]:
    handler, logger = Warned(), logging.getLogger("diffusers")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


def looked(scenario: str, library: Library) -> Finding:
    try:
        return SCENARIOS[scenario].look(library)
    except Exception as error:
        return failed(error)


def cell(place: tuple[str, int]) -> dict[str, Any]:
    """Run a scenario with a library; what the library asks for in addition is tried where the plain call fails."""
    torch.set_num_threads(1)
    scenario, library = place[0], LIBRARIES[place[1]]
    if library.name == "cache-dit" and not version("cache-dit"):
        return {"scenario": scenario, "library": library.name, **asdict(Finding("not installed", ""))}
    with warned() as heard:
        found = looked(scenario, library)
    document = {"scenario": scenario, "library": library.name, **asdict(found), "warned": list(heard.lines)}
    if scenario in library.remedies and found.verdict not in ("right", "by design"):
        text, changes = library.remedies[scenario]
        document["remedy"] = {"what": text, **asdict(looked(scenario, replace(library, **changes)))}
    return {**document, "note": NOTES.get((scenario, library.name))}


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def places(words: str) -> list[tuple[str, int]]:
    every = [(scenario, i) for scenario in SCENARIOS for i in range(len(LIBRARIES))]
    return [(s, i) for s, i in every if words in s or words in LIBRARIES[i].name]


def results(wanted: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """Run each in a process of its own, one after the other: some caches change classes."""
    for make in (flux, image_to_image, controlled, wan, wan_heun):
        make()  # what diffusers imports only now, the processes have from the start
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        return list(track(pool.imap(cell, wanted), "runs", total=len(wanted), console=Console(stderr=True)))


def short(found: dict[str, Any]) -> str:
    wrong = found["verdict"] in ("wrong image", "by design") and found["difference"] is not None
    text = f"{found['verdict']} {found['difference']:.2g}" if wrong else str(found["verdict"])
    return f"{text}\n→ {short(found['remedy'])}" if "remedy" in found else text


def table(findings: list[dict[str, Any]]) -> Table:
    shown = Table(title="Runs of others (→ with what the library offers in addition)", show_lines=True)
    columns = list(dict.fromkeys(f["library"] for f in findings))
    for heading in ("", *columns):
        shown.add_column(heading, overflow="fold")
    for scenario in dict.fromkeys(f["scenario"] for f in findings):
        row = {f["library"]: short(f) for f in findings if f["scenario"] == scenario}
        shown.add_row(scenario, *(row.get(name, "") for name in columns))
    return shown


def document(findings: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "provenance": asdict(Provenance.of()),
        "cache_dit": version("cache-dit"),
        "verdicts": inspect.getdoc(sys.modules[__name__]),
        "libraries": {library.name: library.settings for library in LIBRARIES},
        "scenarios": {name: {"title": s.title, "right": s.right} for name, s in SCENARIOS.items()},
        "findings": findings,
    }


def main() -> None:
    """Run, write, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="part of a scenario's or a library's name; nothing is written")
    only = parser.parse_args().only
    torch.set_num_threads(1)  # a process that ran threads cannot be forked safely
    logging.getLogger("diffusers").setLevel(logging.WARNING)
    findings = results(places(only))
    if not only:
        write("runs-of-others.json", document(findings))
    Console(width=max(Console().width, 190)).print(table(findings))
    if only:
        for found in findings:
            Console(width=190).print(found)


if __name__ == "__main__":
    main()
