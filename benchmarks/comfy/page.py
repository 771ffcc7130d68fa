"""The figures of docs/comfyui.md, from results/comfy*.json.

python -m benchmarks.comfy.page            # writes them
python -m benchmarks.comfy.page --check    # fails if they are not what the result files say
"""

from __future__ import annotations

import argparse
from statistics import fmean
from typing import Any

from benchmarks.common import DOCS, RESULTS, Document, insert, publish, read, render, split

SCRIPT, PAGE = "benchmarks/comfy/page.py", DOCS / "comfyui.md"
FILES = {"": "comfy.json", "quality": "comfy-quality.json", "cost": "comfy-cost.json", "first": "comfy-first.json"}
WAYS = ("repetition", "lines", "tc-pade", "adaptive")
THEIRS = ("EasyCache", "LazyCache")
OURS = ("adaptive", "learned", "learned of 4 runs", "calibrated")


def compose(documents: dict[str, Document]) -> str:
    """Return what is measured; parts whose result file is not there are left out."""
    values: dict[str, Any] = {name: documents.get(name) for name in FILES if name}
    values |= tabulate(documents[""]) | compare(documents.get("quality"))
    return render("comfy/page.md.jinja", **values)


def tabulate(document: Document) -> dict[str, Any]:
    """Return rows of what to forecast; a sampler is shown once both predictions were measured in all ways."""
    worlds: dict[str, list[Document]] = {}
    gaps = []
    for model, rows in split(document["rows"], "model").items():
        for sampler, measured in split(rows, "sampler").items():
            parts = split(measured, "prediction")
            if len(measured) < 2 * len(WAYS):
                continue
            for prediction, cells in parts.items():
                entry = {"name": sampler, "prediction": prediction, "rows": cells}
                worlds.setdefault(model, []).append(entry)
            pairs = zip(parts["velocity"], parts["image"], strict=True)
            gaps += [image["mean"] - velocity["mean"] for velocity, image in pairs if velocity["way"] != "adaptive"]
    plan = document["rows"][0]["computed"]
    return {"document": document, "worlds": worlds, "plan": f"{plan:g}", "gap": fmean(gaps), "count": len(gaps)}


def compare(document: Document | None) -> dict[str, Any]:
    """Return the table of ways by world, and what it says."""
    if document is None:
        return {}
    worlds = split(document["rows"], "world")
    lines: dict[str, dict[str, str]] = {}
    for world, rows in worlds.items():
        for row in rows:
            cell = f"{row['computed']:.1f}, {row['mean']:.1f} ({row['worst']:.1f})"
            lines.setdefault(row["way"], {})[world] = cell
    return {"names": list(worlds), "lines": lines, "verdicts": judge(worlds)}


def judge(worlds: dict[str, list[Document]]) -> list[str]:
    """Say of every way of ours in how many worlds it is nearer than both caches with no more computed steps."""
    sentences = []
    for ours in OURS:
        ahead, behind = [], []
        for world, rows in worlds.items():
            theirs = [row for row in rows if row["way"].startswith(THEIRS)]
            mine = [row for row in rows if row["way"].partition(",")[0] == ours and not row["way"].endswith("back")]
            if not mine:
                continue
            beaten = [
                any(row["computed"] <= other["computed"] and row["mean"] > other["mean"] for row in mine)
                for other in theirs
            ]
            (ahead if all(beaten) else behind).append(world)
        text = f"`{ours}` is nearer than every row of EasyCache and LazyCache, with no more computed steps, in"
        sentences.append(
            f"{text} {len(ahead)} of {len(ahead) + len(behind)} worlds"
            + (f" (not {', '.join(behind)})." if behind else ".")
        )
    return sentences


def main() -> None:
    """Write the figures, or compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with what is committed")
    documents = {name: read(file) for name, file in FILES.items() if (RESULTS / file).is_file()}
    publish({PAGE: insert(PAGE, SCRIPT, compose(documents))}, check=parser.parse_args().check)


if __name__ == "__main__":
    main()
