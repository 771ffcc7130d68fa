"""Everything at equal numbers of computed steps: result files from finished cells, and the page from result files.

    padecast lab run benchmarks/experiments/digits.toml --out runs/comparison-digits
    python benchmarks/comparison.py digits runs/comparison-digits     # also writes results/comparison-digits.json
    python benchmarks/comparison.py scenes runs/comparison-scenes runs/comparison-scenes-50   # all settings at once
    python benchmarks/comparison.py scenes runs/comparison-scenes-50 --keep    # what is not in the folders stays
    python benchmarks/comparison.py                                   # docs/comparison.md alone, from all such files

A result file holds what tables are drawn from: settings, provenance, and all figures of every cell but its times.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from common import RESULTS
from comparison_verdicts import Document, Row, beside, budgets, lacking, missed, ranked, together, verdicts

from padecast import files
from padecast.lab.chapters import Chapter, chapters
from padecast.lab.html import is_partial, shorten
from padecast.lab.shelf import Shelf
from padecast.report import finite

DOCS = Path(__file__).parent.parent / "docs"
MODELS = ("digits", "scenes", "motion")
KEPT = ("name", "written", "wanted", "nfe", "plans", "psnr", "ssim", "flops_share", "scores", "history_bytes")
"""What is kept of a result; times, errors along the way and images are not."""


# Result files ---------------------------------------------------------------------------------------------------------


def compact(found: Iterable[Chapter]) -> Document:
    """Return what tables are drawn from, of all settings of one model."""
    settings = {}
    provenances: Counter[str] = Counter()
    for chapter in found:
        provenances.update(json.dumps(_place(p), sort_keys=True) for p in chapter.provenances)
        settings[chapter.title] = {
            "settings": chapter.settings,
            "uncached": chapter.cells[0]["uncached"]["scores"],
            "rows": [_compact(cell["result"]) for cell in chapter.cells],
            "refusals": [{"name": r.name, "wanted": r.wanted, "why": r.why} for r in chapter.refusals],
        }
    places = [{"cells": count, **json.loads(text)} for text, count in provenances.most_common()]
    return {"kind": "padecast comparison of everything", "provenance": places, "chapters": settings}


def _compact(result: Row) -> Row:
    kept = {name: result[name] for name in KEPT}
    rounded: Row = json.loads(json.dumps(kept), parse_float=lambda text: float(f"{float(text):.6g}"))
    return {**rounded, "plans": dict(Counter(result["plans"]).most_common())}


def kept(before: Document, new: Document) -> Document:
    """Return a result file with the cells of a new one in it, in place of those of the same name and number of steps.

    Raises:
        SystemExit: A setting was sampled otherwise than before, or by another model, so that its cells do not go with
            the new ones.
    """
    found, replaced = dict(before["chapters"]), int(before.get("replaced", 0))
    for title, chapter in new["chapters"].items():
        old = found.get(title, {**chapter, "rows": [], "refusals": []})
        if (old["settings"], old["uncached"]) != (chapter["settings"], chapter["uncached"]):
            raise SystemExit(f"{title} was sampled otherwise than in the result file: measure all of it again.")
        fresh = {_key(row): row for kind in ("rows", "refusals") for row in chapter[kind]}
        staying = {kind: [row for row in old[kind] if _key(row) not in fresh] for kind in ("rows", "refusals")}
        replaced += sum(fresh.get(_key(row), row) != row for kind in staying for row in old[kind])
        found[title] = {**chapter, **{kind: [*staying[kind], *chapter[kind]] for kind in staying}}
    places = [*before["provenance"], *(place for place in new["provenance"] if place not in before["provenance"])]
    return {**before, "provenance": places, "replaced": replaced, "chapters": found}


def _key(row: Row) -> tuple[str, int]:
    return row["name"], row["wanted"]


def _place(provenance: Document) -> Document:
    return {**provenance, "date": provenance["date"][:10]}


# Tables ---------------------------------------------------------------------------------------------------------------


INTRODUCTION = """# Everything at equal numbers of computed steps

<!-- written by benchmarks/comparison.py from benchmarks/results/comparison-*.json -->

This page is of the demo models at their usual settings, which are far smoother than real models, and of adaptive and
tc-pade as they were before [worlds like real models](worlds.md): on blocks, with errors weighed by the sampler's
strides. They forecast the model's output since, and that page has them as they ship.

All methods, and all caches of diffusers and cache-dit that can be put on the model, with thresholds, intervals and
growths tuned to the same number of computed steps (NFE) on seeds that are not measured. PSNR in dB and SSIM are against
the uncached images of the same seeds; p5 is the 5th percentile. FID is the Fréchet distance between the features of a
method's images and those of the uncached images of the same seeds, in the feature space that its name says: less is
better, the uncached run has 0, and with so few samples it is biased upwards for all alike. FLOPs are the denoiser's
operations over those of the uncached run, which is no speedup. Times were not taken: the machine was not quiet. `python
benchmarks/comparison.py` writes this page from the result files, verdicts included.

† leaves out a part of the blocks only (attention alone, or half of them), and computes the rest at every step: its NFE
says little of its cost, its FLOPs do. ‡ could not be tuned to within half a step of the wanted number, and is left out
of the verdicts. Rows are sorted by mean PSNR.

Two methods were changed after looks at earlier tables of this page, of the scenes model, and some of the motion model,
before these were trained anew. tc-pade stood on every N-th step, which leaves out the last of 20 at 10 computed, and
was behind cache-dit with TaylorSeer on digits; then on steps that were spaced by noise levels, as `tc-pade:noise=1`
still spaces them, and was behind plain lines on scenes; then on even steps, a little closer at the end alone, and was 5
dB behind lines on motion. Now the steps are a little closer at both ends, the last step among them. Its forecaster,
which adaptive shares, was behind plain repetition on motion, where early residuals slow down and lines overshoot: now
it has hindsight, and damps more where the line before would have been worse than repetition; `hindsight=false` is how
it was, and 0.3 to 0.5 dB better on scenes at 8 and 10. adaptive was behind many on scenes, because its first stretch
was too long where captions decide early what goes where: `prior=1.5,doubt=1.5` has the longer one. It also computed the
last step in any case, which cost a step that was worth more elsewhere with 6 computed. The numbers of all these rules
were chosen on seeds 1000 to 1023, hindsight on 1000 to 1015. All other rules of every N-th step (linear, fora, toca,
delta-dit; taylorseer, hicache and foca without warm-up) still reach 10 of 20 only by leaving out the last step, or with
a warm-up, and are then often worse than at 8: the best of their variants counts.
"""

BESIDE = """Calibrated, and how far it is ahead of the best that is not padecast's own, in every figure by itself;
bold is behind, † and ‡ are left out. A classifier or geometry tells what shows what was asked.
Calibrations are chosen by mean PSNR; SSIM and FID weigh more a few samples that are lost."""


def page(documents: dict[str, Document]) -> str:
    """Return the page of all models that were measured."""
    lines = [INTRODUCTION]
    if len(documents) > 1:
        lines += ["## All models together", "", *together(documents.values()), ""]
        lines += [BESIDE, "", *beside(documents.values()), ""]
    for model, document in documents.items():
        lines += [f"## {model.capitalize()}", "", *_about(document), "", "### Verdicts", "", *verdicts(document), ""]
        for title, chapter in document["chapters"].items():
            for wanted in budgets(chapter):
                lines += [f"### {title}: {wanted} of {chapter['settings']['steps']} steps computed", ""]
                lines += [*table(chapter, wanted), ""]
                if missing := lacking(chapter, wanted):
                    lines += [f"**Not finished**, and left out of the verdicts: {', '.join(missing)} are missing.", ""]
    return "\n".join(lines)


def table(chapter: Document, wanted: int) -> list[str]:
    """Return the table of one setting and number of computed steps."""
    scores = list(chapter["uncached"])
    head = ["method", "NFE", "PSNR", "p5", "worst", "SSIM", *scores, "FLOPs", "tuned to"]
    aligned = ["---", *["---:"] * (len(head) - 2), "---"]
    uncached = [_three(value) for value in chapter["uncached"].values()]
    own = ["uncached", str(chapter["settings"]["steps"]), "", "", "", "", *uncached, "100 %", ""]
    rows = [own, *(_written(row, scores) for row in ranked(chapter, wanted))]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, aligned, *rows)]
    refused = [r for r in chapter["refusals"] if r["wanted"] == wanted]
    return [*lines, *([""] if refused else []), *(f"- {r['name']}: {r['why']}" for r in refused)]


def _written(row: Row, scores: list[str]) -> list[str]:
    mark = ("†" if is_partial(row["name"]) else "") + ("‡" if missed(row) else "")
    name = f"**{row['name']}**" if row["name"] in ("calibrated", "adaptive", "tc-pade") else row["name"]
    psnr = [f"{row['psnr'][key]:.2f}" for key in ("mean", "p5", "worst")]
    told = shorten(row["written"]).removeprefix(row["name"]).lstrip(":,")
    return [
        f"{name}{mark}",
        f"{row['nfe']:.2f}".rstrip("0").rstrip("."),
        *psnr,
        f"{row['ssim']['mean']:.4f}",
        *(_three(row["scores"].get(score)) for score in scores),
        "" if row["flops_share"] is None else f"{row['flops_share']:.0%}".replace("%", " %"),
        f"`{told}`" if told else "",
    ]


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _about(document: Document) -> list[str]:
    lines = []
    for title, chapter in document["chapters"].items():
        s = chapter["settings"]
        asked = {k: v for k, v in s["sampling"].items() if v not in (None, [], {}) and k != "prompts"}
        told = ", ".join(f"{name} {value}" for name, value in asked.items())
        lines.append(
            f"- {title}: {s['model']}, {s['scheduler']}, {told}; seeds {_range(s['seeds'])} measured, "
            f"{_range(s['development'])} tuned on, in calls of {s['batch']}."
        )
    for place in document["provenance"]:
        versions = ", ".join(f"{name} {version}" for name, version in place["versions"].items() if version)
        commit = (place["commit"] or "unknown")[:12] + ("+" if (place["commit"] or "").endswith("+") else "")
        lines.append(
            f"- {place['cells']} cells: `{place['command']}`, commit {commit}, {place['device']}, "
            f"{place['threads']} thread, {place['date']}; {versions}."
        )
    if document.get("replaced"):
        lines.append(f"- {document['replaced']} of these cells were measured again by a later of these runs.")
    return lines


def _range(seeds: list[int]) -> str:
    whole = seeds == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]}-{seeds[-1]}" if whole else ", ".join(map(str, seeds))


def _lost(path: Path, document: Document) -> list[str]:
    """Return the settings that a result file has and a new one would not."""
    before = files.read_json(path)["chapters"] if path.is_file() else {}
    return [title for title in before if title not in document["chapters"]]


def main() -> None:
    """Write a result file if finished cells are given, and the page in any case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", nargs="?", choices=MODELS)
    parser.add_argument("cells", nargs="*", type=Path, help="folders of finished cells")
    parser.add_argument("--keep", action="store_true", help="keep what the result file has besides these cells")
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the result files say")
    options = parser.parse_args()
    if options.model and options.cells and not options.check:
        path = RESULTS / f"comparison-{options.model}.json"
        document = finite(
            compact(chapters(document for folder in options.cells for document in Shelf(folder).documents()))
        )
        if options.keep and path.is_file():
            document = kept(files.read_json(path), document)
        elif lost := _lost(path, document):
            raise SystemExit(
                f"{path.name} has figures of {', '.join(lost)}, and these folders have no cells of it.\n"
                "(a) keep them: --keep; (b) give their folder too; or (c) delete the file, if they are to go."
            )
        files.write(path, json.dumps(document, separators=(",", ":")).replace('},{"name"', '},\n{"name"') + "\n")
        print(f"written: benchmarks/results/{path.name}", file=sys.stderr)
    paths = {model: RESULTS / f"comparison-{model}.json" for model in MODELS}
    documents = {model: files.read_json(path) for model, path in paths.items() if path.is_file()}
    own = DOCS / "comparison.md"
    if options.check:
        if own.read_text(encoding="utf-8") != page(documents):
            raise SystemExit("docs/comparison.md is not what the result files say: python benchmarks/comparison.py")
        return
    files.write(own, page(documents))
    print("written: docs/comparison.md", file=sys.stderr)


if __name__ == "__main__":
    main()
