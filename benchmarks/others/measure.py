"""The same kinds of run with padecast and with other caches, on tiny pipelines with random weights.

    python -m benchmarks.others.measure [--only WORDS]

It downloads nothing and takes some minutes on one core. The other caches are those that ship with diffusers, and
cache-dit where it is installed (``pip install "padecast[peers]"``). Writes benchmarks/results/runs-of-others.json. The
kinds of run, right answers and verdicts are in scenarios.toml, the caches in libraries.toml.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
from dataclasses import asdict, replace

import torch
from rich.console import Console
from rich.progress import track

from benchmarks.common import Document, provenance, write
from benchmarks.others.libraries import LIBRARIES, Library
from benchmarks.others.pipelines import flux, flux_controlnet, image_to_image, wan, wan_heun
from benchmarks.others.rig import Finding, tell_failure
from benchmarks.others.scenarios import LOOKS, NOTES, WORDS


def look(scenario: str, library: Library) -> Finding:
    """Run a scenario with a library; an error is a finding too."""
    try:
        return LOOKS[scenario](library)
    except Exception as error:
        return tell_failure(error)


def measure(place: tuple[str, int]) -> Document:
    """Run a scenario with a library; what the library asks for in addition is tried where the plain call fails."""
    torch.set_num_threads(1)
    scenario, library = place[0], LIBRARIES[place[1]]
    if library.name == "cache-dit" and not provenance()["versions"]["cache-dit"]:
        return {"scenario": scenario, "library": library.name, **asdict(Finding("not installed", ""))}
    finding = look(scenario, library)
    document = {"scenario": scenario, "library": library.name, **asdict(finding)}
    if scenario in library.remedies and finding.verdict not in ("right", "by design"):
        text, changes = library.remedies[scenario]
        document["remedy"] = {"what": text, **asdict(look(scenario, replace(library, **changes)))}
    return {**document, "note": NOTES.get((scenario, library.name))}


def measure_all(words: str) -> list[Document]:
    """Run each in a process of its own, one after the other: some caches change classes."""
    every = [(scenario, i) for scenario in LOOKS for i in range(len(LIBRARIES))]
    places = [(scenario, i) for scenario, i in every if words in scenario or words in LIBRARIES[i].name]
    for make in (flux, image_to_image, flux_controlnet, wan, wan_heun):
        make()  # what diffusers imports only now, the processes have from the start
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        return list(track(pool.imap(measure, places), "runs", total=len(places), console=Console(stderr=True)))


def describe(findings: list[Document]) -> Document:
    """Return the result file."""
    place = provenance()
    return {
        "provenance": place,
        "cache_dit": place["versions"]["cache-dit"],
        "verdicts": WORDS["verdicts"],
        "libraries": {library.name: library.settings for library in LIBRARIES},
        "scenarios": WORDS["scenarios"],
        "findings": findings,
    }


def main() -> None:
    """Run, write and print; docs/other-caches.md has the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="part of a scenario's or a library's name; nothing is written")
    only = parser.parse_args().only
    torch.set_num_threads(1)  # a process that ran threads cannot be forked safely
    logging.getLogger("diffusers").setLevel(logging.WARNING)
    findings = measure_all(only)
    if not only:
        write("runs-of-others.json", describe(findings))
    for finding in findings:
        Console(width=190).print(finding)


if __name__ == "__main__":
    main()
