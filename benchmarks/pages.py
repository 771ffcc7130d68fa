"""Writes the pages of the documentation that are tables of result files.

    python benchmarks/pages.py

docs/other-caches.md from benchmarks/results/runs-of-others.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common import RESULTS

DOCS = Path(__file__).parent.parent / "docs"


def main() -> None:
    """Write every page."""
    found = json.loads((RESULTS / "runs-of-others.json").read_text(encoding="utf-8"))
    (DOCS / "other-caches.md").write_text(other_caches(found), encoding="utf-8")
    print("written: docs/other-caches.md")


def other_caches(found: dict[str, Any]) -> str:
    """Write what every library did in every kind of run."""
    libraries = list(found["libraries"])
    versions = found["provenance"]["versions"]
    cells = {(f["scenario"], f["library"]): f for f in found["findings"]}
    lines = [
        "# The same runs with other caches",
        "",
        "<!-- written by benchmarks/pages.py from benchmarks/results/runs-of-others.json -->",
        "",
        f"`python benchmarks/runs_of_others.py`; diffusers {versions['diffusers']}, cache-dit {found['cache_dit']}, "
        "tiny pipelines with random weights, eight steps. A number is the largest difference of a wrong image from "
        "the right one (values reach about 2); an arrow leads to what a further call or option of that library "
        "gives. *By design* means that a threshold looks at the whole batch, as its authors say.",
        "",
        f"| kind of run | {' | '.join(libraries)} |",
        f"|---|{'---|' * len(libraries)}",
    ]
    for name, scenario in found["scenarios"].items():
        row = [cell(cells.get((name, library))) for library in libraries]
        lines.append(f"| {scenario['title']} | {' | '.join(row)} |")
    lines += ["", "## What the right answer is", ""]
    lines += [f"- **{s['title']}**: {s['right']}." for s in found["scenarios"].values()]
    lines += ["", "## What was measured where it was not right", ""]
    for f in found["findings"]:
        if f["verdict"] != "right":
            remedy = f.get("remedy")
            more = f" With {remedy['what']}: {remedy['verdict']}." if remedy else ""
            note = f" ({f['note']})" if f["note"] else ""
            lines.append(f"- {f['library']}, {f['scenario']}: {f['verdict']}: {f['measured']}{note}.{more}")
    lines += ["", "## How each was switched on", ""]
    lines += [f"- {name}: `{how}`" for name, how in found["libraries"].items()]
    return "\n".join([*lines, ""])


def cell(f: dict[str, Any] | None) -> str:
    """Write a verdict in a word or a number."""
    if f is None:
        return ""
    told = f"{f['difference']:.2g}" if f["verdict"] == "wrong image" else f["verdict"]
    return f"{told} → {cell({**f['remedy'], 'remedy': None})}" if f.get("remedy") else told


if __name__ == "__main__":
    main()
