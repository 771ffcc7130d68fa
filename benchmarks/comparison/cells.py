"""Result files from finished cells: settings, provenance, and all figures of every cell but its times.

    padecast lab run benchmarks/experiments/digits.toml --out runs/comparison-digits
    python -m benchmarks.comparison.cells digits runs/comparison-digits     # results/comparison-digits.json
    python -m benchmarks.comparison.cells scenes runs/comparison-scenes-50 --keep    # what is not in the folders stays

Several folders of one model's settings go into one file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.common import RESULTS, Document
from padecast import files
from padecast.lab.chapters import Chapter, chapters
from padecast.lab.shelf import Shelf
from padecast.report import finite

MODELS = ("digits", "scenes", "motion")
FIGURES = ("name", "written", "wanted", "nfe", "plans", "psnr", "ssim", "flops_share", "scores", "history_bytes")
"""What is kept of a result; times, errors along the way and images are not."""


def compact(folders: Iterable[Path]) -> Document:
    """Return what tables are drawn from, of all finished cells in some folders."""
    settings = {}
    provenances: Counter[str] = Counter()
    for chapter in chapters(document for folder in folders for document in Shelf(folder).documents()):
        provenances.update(_write_place(place) for place in chapter.provenances)
        settings[chapter.title] = _shorten(chapter)
    places = [{"cells": count, **json.loads(text)} for text, count in provenances.most_common()]
    return finite({"kind": "padecast comparison of everything", "provenance": places, "chapters": settings})


def _write_place(place: Document) -> str:
    return json.dumps({**place, "date": place["date"][:10]}, sort_keys=True)


def _shorten(chapter: Chapter) -> Document:
    return {
        "settings": chapter.settings,
        "uncached": chapter.cells[0]["uncached"]["scores"],
        "rows": [_round(cell["result"]) for cell in chapter.cells],
        "refusals": [{"name": r.name, "wanted": r.wanted, "why": r.why} for r in chapter.refusals],
    }


def _round(result: Document) -> Document:
    figures = json.dumps({name: result[name] for name in FIGURES})
    rounded = json.loads(figures, parse_float=lambda text: float(f"{float(text):.6g}"))
    for name in ("psnr", "ssim"):  # what is paired: two digits behind the point of decibels are enough
        rounded[name]["each"] = [round(value, 2 if name == "psnr" else 5) for value in rounded[name].get("each", ())]
    rounded["teaching"] = result.get("teaching", 0)
    return {**rounded, "plans": dict(Counter(result["plans"]).most_common())}


def merge(before: Document, new: Document) -> Document:
    """Return a result file with the cells of a new one in it, in place of those of the same name and number of steps.

    Raises:
        SystemExit: A setting was sampled otherwise than before, or by another model, so that its cells do not go with
            the new ones.
    """
    merged, replaced = dict(before["chapters"]), int(before.get("replaced", 0))
    for title, chapter in new["chapters"].items():
        old = merged.get(title, {**chapter, "rows": [], "refusals": []})
        if (old["settings"], old["uncached"]) != (chapter["settings"], chapter["uncached"]):
            raise SystemExit(f"{title} was sampled otherwise than in the result file: measure all of it again.")
        fresh = {_key(row): row for kind in ("rows", "refusals") for row in chapter[kind]}
        staying = {kind: [row for row in old[kind] if _key(row) not in fresh] for kind in ("rows", "refusals")}
        replaced += sum(fresh.get(_key(row), row) != row for kind in staying for row in old[kind])
        merged[title] = {**chapter, **{kind: [*staying[kind], *chapter[kind]] for kind in staying}}
    places = [*before["provenance"], *(place for place in new["provenance"] if place not in before["provenance"])]
    return {**before, "provenance": places, "replaced": replaced, "chapters": merged}


def _key(row: Document) -> tuple[str, int]:
    return row["name"], row["wanted"]


def check_whole(path: Path, document: Document) -> None:
    """Refuse to write a result file without settings that it has.

    Raises:
        SystemExit: With these settings, and what can be done.
    """
    before = files.read_json(path)["chapters"] if path.is_file() else {}
    if lost := [title for title in before if title not in document["chapters"]]:
        raise SystemExit(
            f"{path.name} has figures of {', '.join(lost)}, and these folders have no cells of it.\n"
            "(a) keep them: --keep; (b) give their folder too; or (c) delete the file, if they are to go."
        )


def save(path: Path, document: Document) -> None:
    """Write a result file of cells, a row a line."""
    files.write(path, json.dumps(document, separators=(",", ":")).replace('},{"name"', '},\n{"name"') + "\n")


def main() -> None:
    """Write the result file of a model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("cells", nargs="+", type=Path, help="folders of finished cells")
    parser.add_argument("--keep", action="store_true", help="keep what the result file has besides these cells")
    options = parser.parse_args()
    path, document = RESULTS / f"comparison-{options.model}.json", compact(options.cells)
    if options.keep and path.is_file():
        document = merge(files.read_json(path), document)
    else:
        check_whole(path, document)
    save(path, document)
    print(f"written: benchmarks/results/{path.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
