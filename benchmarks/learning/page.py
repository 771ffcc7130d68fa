"""The tables of docs/lessons.md, from results/learning-*.json.

python -m benchmarks.learning.page            # writes them
python -m benchmarks.learning.page --check    # fails if they are not what the result files say
"""

from __future__ import annotations

import argparse
from statistics import fmean
from typing import Any

from benchmarks.common import DOCS, RESULTS, Document, insert, publish, read, render, split
from benchmarks.learning.gains import summarize
from benchmarks.learning.verdicts import correct, gain, mix
from benchmarks.learning.worth import OTHER, WAYS, list_cells, pair, read_worlds
from padecast.lessons.cost import GAIN_POWER
from padecast.lessons.planner import COHERENT, OFFSET

SCRIPT, IDENTITY = "benchmarks/learning/page.py", "benchmarks/learning/page.py: identity"


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


def pick(fit: Document, gains: str, coherence: float) -> list[Document]:
    """Return the rows of all worlds with these constants of the planner."""
    return [row for row in fit["rows"] if (row["gains"], row["coherence"]) == (gains, coherence)]


def measure_loss(rows: list[Document]) -> float:
    """Return how much worse the best second pass is than the first, in dB."""
    return float(rows[0]["mean"] - max(row["mean"] for row in rows[1:]))


def count_alike(row: Document) -> int:
    """Return for how many budgets both lessons have one plan."""
    return sum(other == own for other, own in row["plans"])


def describe_identity() -> str:
    """Return the table of what makes another lesson."""
    rows = read("lesson-identity.json")["rows"]
    worlds = {
        world: [row for row in rows if row["key"][0] == world] for world in dict.fromkeys(r["key"][0] for r in rows)
    }
    chance = [row["loss"] for row in rows if row["key"][1] == "nothing"]
    return render("learning/identity.md.jinja", worlds=worlds, alike=count_alike, least=min(chance), most=max(chance))


def arrange_laws(rows: list[Document]) -> Document:
    """Return the mean PSNR of every formula, by world and objective."""
    rows = [row for row in rows if "law" in row]
    worlds, laws = (list(dict.fromkeys(row[name] for row in rows)) for name in ("world", "law"))
    cells = [(world, objective) for world in worlds for objective in ("low", "mean")]

    def average(law: str, world: str, objective: str) -> float:
        return fmean(r["mean"] for r in rows if (r["law"], r["world"], r["objective"]) == (law, world, objective))

    return {"worlds": worlds, "rows": {law: [average(law, *cell) for cell in cells] for law in laws}}


def main() -> None:
    """Write the tables, or compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with what is committed")
    documents = [read(path.name) for path in sorted(RESULTS.glob("learning-*.json"))]
    ranks = [
        {"world": d["world"], "value": d["correlation"], "count": sum(row["part"] == "rank" for row in d["rows"])}
        for d in documents
        if d["correlation"] is not None
    ]
    transfer = [row for document in documents for row in summarise(document)]
    second = [measure_loss(rows) for rows in split(read("second-pass.json")["rows"], "plan").values()]
    worlds, fit = read_worlds(), read("planner-fit.json")
    text = render(
        "learning/tables.md.jinja",
        worlds=worlds,
        list_cells=list_cells,
        ways=WAYS,
        other=OTHER,
        pairs=list(pair(worlds)),
        fit=fit,
        chosen=pick(fit, f"power {GAIN_POWER:g}", COHERENT),
        flat=pick(fit, "power 0", COHERENT),
        law=pick(fit, "flux", COHERENT),
        ranks=ranks,
        transfer=transfer,
        second=second,
        correct=correct(),
        mix=mix(),
        gain=gain,
        risk=read("trial-risk.json"),
        laws=arrange_laws(read("planner-laws.json")["rows"]),
        gains=summarize(read("lesson-gains.json")["rows"]),
        collecting=read("collecting.json"),
        constant=OFFSET,
        planning=read("planning.json"),
    )
    page, check = DOCS / "lessons.md", parser.parse_args().check
    parts = {SCRIPT: text, IDENTITY: describe_identity()}
    for script, part in parts.items():
        publish({page: insert(page, script, part)}, check=check)


if __name__ == "__main__":
    main()
