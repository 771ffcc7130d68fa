"""docs/plans.md: plans of the rule beside searched ones, from what benchmarks.plans.measure measured and fitted.

python -m benchmarks.plans.page          # writes the page
python -m benchmarks.plans.page --check  # fails if it is not what results/plans.json and plans-demos.json say
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from statistics import fmean

from benchmarks.common import DOCS, Document, publish, read, render

PLAN, DEMOS = "plans.json", "plans-demos.json"


def compose(plans: Document, demos: Document) -> str:
    """Return the page, from what was fitted and from what was measured of the demo models."""
    rows, models = plans["rows"], plans["models"]
    far = max(rows, key=lambda row: min(row["errors"].values()))
    wide = max((row for row in rows if row["searches"] is not None), key=lambda row: row["searches"])
    others = [row for row in rows if row is not wide]
    return render(
        "plans/page.md.jinja",
        plans=plans,
        demos=demos,
        number=sum(len(row["searched"]) for row in rows),
        searches=average_by_search(rows),
        far={"name": name_of(far, models), "error": min(far["errors"].values())},
        wide={"name": name_of(wide, models), "searches": wide["searches"]},
        without={key: fmean(row[key] for row in others if row[key] is not None) for key in ("searches", "error")},
        sources=list_sources(rows),
    )


def average_by_search(rows: list[Document]) -> dict[str, float]:
    """Return the mean error of the rule against the plans of every search."""
    errors: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, error in row["errors"].items():
            errors[row["searches by"][name]].append(error)
    return {name: fmean(values) for name, values in errors.items()}


def list_sources(rows: list[Document]) -> dict[str, list[str]]:
    """Return where the searched plans are published, each source once, and the names of its plans."""
    names: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for name, source in row["sources"].items():
            names[source].append(f"`{name}`")
    return names


def name_of(row: Document, models: Document) -> str:
    """Return model and number of a row in words."""
    return f"{models[row['model']]['title'].partition(',')[0]} with {row['computed']} computed steps"


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the result files say")
    publish({DOCS / "plans.md": compose(read(PLAN), read(DEMOS))}, check=parser.parse_args().check)


if __name__ == "__main__":
    main()
