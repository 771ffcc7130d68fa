"""Finished cells sorted into chapters of a report: one per pipeline and setting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from padecast._errors import InvalidOption
from padecast.calibration.provenance import Provenance
from padecast.files import line
from padecast.lab.peers import is_foreign
from padecast.lab.pixels import decode
from padecast.lab.results import Comparison, Refusal, Result

LARGE, SHOWN = 256, 32
"""Pixels of the longer side of images in pictures, and how many are taken at most."""


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
        budgets: set[Any] = {cell["cell"]["wanted"] for cell in self.cells} | {r.wanted for r in self.refusals}
        return sorted(budgets, key=lambda nfe: (nfe is None, nfe or 0))

    @property
    def results(self) -> list[Result]:
        """All that was measured but the uncached run."""
        return [Result.from_dict(cell["result"]) for cell in self.cells]

    @property
    def names(self) -> list[str]:
        """Methods, each once: fewer steps, padecast's own, then other libraries'."""
        names = dict.fromkeys(result.name for result in self.results)
        return sorted(names, key=lambda name: (name != "fewer-steps", is_foreign(name)))

    def comparison(self, nfe: int | None) -> Comparison | None:
        """Return the uncached run and what was tuned to so many computed steps, the most faithful first."""
        cells = [cell for cell in self.cells if cell["cell"]["wanted"] == nfe]
        if not cells:
            return None
        cells.sort(key=lambda cell: (cell["result"]["name"] != "fewer-steps", -cell["result"]["psnr"]["mean"]))
        results = [Result.from_dict(cells[0]["uncached"]), *(Result.from_dict(cell["result"]) for cell in cells)]
        refusals = tuple(refusal for refusal in self.refusals if refusal.wanted == nfe)
        names = {item.name for item in fields(Provenance)}
        provenance = Provenance(**{name: value for name, value in cells[0]["provenance"].items() if name in names})
        return Comparison(self.settings, tuple(results), provenance, self._images(cells), refusals)

    @property
    def shown(self) -> int:
        """Samples whose images all cells have."""
        return min(len(images) for cell in self.cells for images in cell["images"].values())

    def _images(self, cells: list[dict[str, Any]]) -> tuple[Tensor, ...]:
        """Return the images of the uncached run and of cells, small enough for a page."""
        rows = [(cells[0], "uncached"), *((cell, "result") for cell in cells)]
        stacks: list[Tensor] = []
        for cell, name in rows:
            stacks.append(torch.stack([decode(text, LARGE) for text in cell["images"][name][: min(self.shown, SHOWN)]]))
            if stacks[-1].shape != stacks[0].shape:
                shape, other = (tuple(images.shape[1:]) for images in (stacks[-1], stacks[0]))
                raise InvalidOption(
                    f"images of {_file(cell)} have shape {shape}, and those of {_file(cells[0])} have {other}.\n"
                    "Usual cause: an earlier experiment in the same folder, of another size. Remove its cells."
                )
        return tuple(stacks)

    def swept(self) -> dict[str, dict[str, list[tuple[str, Result]]]]:
        """Return what sweeps measured: by option and method, the values and what came of them."""
        sweeps: dict[str, dict[str, list[tuple[str, Result]]]] = {}
        for cell in self.sweeps:
            option = cell["cell"]["option"]
            method, _, value = cell["cell"]["chosen"].rpartition(f"{option}=")
            lines = sweeps.setdefault(option, {})
            lines.setdefault(method.rstrip(":,"), []).append((value, Result.from_dict(cell["result"])))
        return sweeps


def chapters(documents: Iterable[dict[str, Any]]) -> list[Chapter]:
    """Sort finished cells into chapters, in the order of their titles.

    Args:
        documents: As :func:`padecast.lab.cells.run` returned them.
    """
    book: dict[str, Chapter] = {}
    for document in documents:
        chapter = book.setdefault(document["settings"]["name"], Chapter(document["settings"]))
        chapter.provenances.append(document["provenance"])
        if document["cell"]["kind"] == "measure":
            chapter.settings = document["settings"]
        _sort_in(chapter, document)
    return [book[title] for title in sorted(book)]


def _sort_in(chapter: Chapter, document: dict[str, Any]) -> None:
    kind = document["cell"]["kind"]
    if "refusal" in document:
        refusal = Refusal(*(document["refusal"][name] for name in ("name", "wanted", "why")))
        if kind == "measure":
            chapter.refusals.append(refusal)
    elif kind == "portrait":
        _check_alike(chapter, document)
        chapter.portraits.append({**document["portrait"], "file": _file(document)})
    else:
        (chapter.sweeps if kind == "sweep" else chapter.cells).append(document)


def _check_alike(chapter: Chapter, document: dict[str, Any]) -> None:
    """Raise unless a portrait is of the same seeds and of latents of the same size as those before."""
    for before in chapter.portraits[:1]:
        shapes = [
            (len(portrait["path"][0]), len(portrait["path"][0][0])) for portrait in (document["portrait"], before)
        ]
        if shapes[0] != shapes[1]:
            raise InvalidOption(
                f"the portrait of {_file(document)} has {shapes[0][0]} seeds and {shapes[0][1]} numbers of each, and "
                f"that of {before['file']} {shapes[1][0]} and {shapes[1][1]}.\n"
                "Usual cause: an earlier experiment in the same folder, of other seeds. Remove its cells."
            )


def _file(cell: dict[str, Any]) -> str:
    return line(cell.get("file") or cell["cell"]["chosen"], 400)
