"""Finished cells sorted into chapters of a report: one per pipeline and setting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch

from padecast._provenance import Provenance
from padecast.lab.peers import is_foreign
from padecast.lab.pixels import decoded
from padecast.lab.results import Comparison, Refusal, Result


@dataclass
class Chapter:
    """What was measured of one pipeline in one setting.

    Args:
        settings: What was sampled.
        cells: Finished cells that measured a method.
        sweeps: Finished cells that turned an option.
        portraits: What was recorded step by step.
        refusals: Peers that could not be put on.
    """

    settings: dict[str, Any]
    cells: list[dict[str, Any]] = field(default_factory=list)
    sweeps: list[dict[str, Any]] = field(default_factory=list)
    portraits: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    provenances: list[dict[str, Any]] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Pipeline and setting."""
        return str(self.settings["name"])

    @property
    def budgets(self) -> list[int | None]:
        """Numbers of computed steps that methods were tuned to; ``None`` for those that ran as written."""
        wanted: set[Any] = {cell["cell"]["wanted"] for cell in self.cells} | {r.wanted for r in self.refusals}
        return sorted(wanted, key=lambda nfe: (nfe is None, nfe or 0))

    @property
    def results(self) -> list[Result]:
        """All that was measured but the uncached run."""
        return [Result.from_dict(cell["result"]) for cell in self.cells]

    @property
    def names(self) -> list[str]:
        """Methods, each once: fewer steps, padecast's own, then other libraries'."""
        found = dict.fromkeys(result.name for result in self.results)
        return sorted(found, key=lambda name: (name != "fewer-steps", is_foreign(name)))

    def comparison(self, wanted: int | None) -> Comparison | None:
        """Return the uncached run and what was tuned to so many computed steps, the most faithful first."""
        cells = [cell for cell in self.cells if cell["cell"]["wanted"] == wanted]
        if not cells:
            return None
        cells.sort(key=lambda cell: (cell["result"]["name"] != "fewer-steps", -cell["result"]["psnr"]["mean"]))
        results = [Result.from_dict(cells[0]["uncached"]), *(Result.from_dict(cell["result"]) for cell in cells)]
        pictures = [cells[0]["images"]["uncached"], *(cell["images"]["result"] for cell in cells)]
        images = tuple(torch.stack([decoded(text) for text in row]) for row in pictures)
        refusals = tuple(refusal for refusal in self.refusals if refusal.wanted == wanted)
        return Comparison(self.settings, tuple(results), Provenance(**cells[0]["provenance"]), images, refusals)

    def swept(self) -> dict[str, dict[str, list[tuple[str, Result]]]]:
        """Return what sweeps measured: by option and method, the values and what came of them."""
        found: dict[str, dict[str, list[tuple[str, Result]]]] = {}
        for cell in self.sweeps:
            option = cell["cell"]["option"]
            method, _, value = cell["cell"]["chosen"].rpartition(f"{option}=")
            lines = found.setdefault(option, {})
            lines.setdefault(method.rstrip(":,"), []).append((value, Result.from_dict(cell["result"])))
        return found


def chapters(documents: Iterable[dict[str, Any]]) -> list[Chapter]:
    """Sort finished cells into chapters, in the order of their titles.

    Args:
        documents: As :func:`padecast.lab.cells.run` returned them.
    """
    found: dict[str, Chapter] = {}
    for document in documents:
        chapter = found.setdefault(document["settings"]["name"], Chapter(document["settings"]))
        chapter.provenances.append(document["provenance"])
        if document["cell"]["kind"] == "measure":
            chapter.settings = document["settings"]
        _sort_in(chapter, document)
    return [found[title] for title in sorted(found)]


def _sort_in(chapter: Chapter, document: dict[str, Any]) -> None:
    kind = document["cell"]["kind"]
    if "refusal" in document:
        refusal = Refusal(**document["refusal"])
        if kind == "measure":
            chapter.refusals.append(refusal)
    elif kind == "portrait":
        chapter.portraits.append(document["portrait"])
    else:
        (chapter.sweeps if kind == "sweep" else chapter.cells).append(document)
