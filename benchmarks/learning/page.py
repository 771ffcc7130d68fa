"""The tables of docs/lessons.md, from results/learning-*.json.

python -m benchmarks.learning.page            # writes them
python -m benchmarks.learning.page --check    # fails if they are not what the result files say
"""

from __future__ import annotations

import argparse
from statistics import fmean
from typing import Any

from benchmarks.common import DOCS, RESULTS, Document, insert, publish, read, render, split
from benchmarks.learning.verdicts import correct, gain, mix

SCRIPT = "benchmarks/learning/page.py"
ROWS = 18
"""Of a world whose every cell was measured: what is half done is not shown."""


def pick(rows: list[Document], count: int) -> Document | None:
    """Return the row of a way whose plan was to have so many computed steps; nothing if it was not measured."""
    return next((row for row in rows if row["key"].endswith(f" {count}")), None)


def summarise(document: Document) -> list[Document]:
    """Return what a lesson of another schedule loses, a row for every pair of schedules."""
    rows = [row for row in document["rows"] if row["part"] == "transfer"]
    pairs: dict[str, list[Document]] = split(rows, "key")
    cases: dict[tuple[Any, ...], list[list[Document]]] = {}
    for group in pairs.values():
        cases.setdefault((*group[0]["from"], *group[0]["to"]), []).append(group)
    summaries = []
    for (steps, shift, after, times), groups in cases.items():
        means = [fmean(group[place]["mean"] for group in groups) for place in range(3)]
        summaries.append(
            {
                "world": document["world"],
                "seeds": groups[0][0]["seeds"],
                "before": f"{steps} steps" + ("" if shift == 1 else f", shift x {shift:g}"),
                "after": f"{after} steps" + ("" if times == 1 else f", shift x {times:g}"),
                **dict(zip(("transferred", "target", "rule"), means, strict=True)),
                "loss": means[1] - means[0],
            }
        )
    return summaries


def measure_loss(rows: list[Document]) -> float:
    """Return how much worse the best second pass is than the first, in dB."""
    return float(rows[0]["mean"] - max(row["mean"] for row in rows[1:]))


def main() -> None:
    """Write the tables, or compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with what is committed")
    documents = [read(path.name) for path in sorted(RESULTS.glob("learning-*.json"))]
    equal = {d["world"]: [row for row in d["rows"] if row["part"] == "equal"] for d in documents}
    equal = {world: rows for world, rows in equal.items() if len(rows) == ROWS}
    ranks = [
        {"world": d["world"], "value": d["correlation"], "count": sum(row["part"] == "rank" for row in d["rows"])}
        for d in documents
        if d["correlation"] is not None
    ]
    transfer = [row for document in documents for row in summarise(document)]
    second = [measure_loss(rows) for rows in split(read("second-pass.json")["rows"], "plan").values()]
    values = {"equal": equal, "ranks": ranks, "transfer": transfer, "second": second}
    text = render("learning/tables.md.jinja", **values, pick=pick, correct=correct(), mix=mix(), gain=gain)
    page = DOCS / "lessons.md"
    publish({page: insert(page, SCRIPT, text)}, check=parser.parse_args().check)


if __name__ == "__main__":
    main()
