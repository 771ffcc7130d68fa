"""docs/comparison.md with its picture, and README's table, from result files.

python -m benchmarks.comparison.page          # writes both, and docs/images/comparison.png
python -m benchmarks.comparison.page --check  # fails if they are not what the result files say
"""

from __future__ import annotations

import argparse

from benchmarks.common import DOCS, README, RESULTS, Document, insert, publish, read, render
from benchmarks.comparison import readme
from benchmarks.comparison.cells import MODELS
from benchmarks.comparison.pairs import compare_figures, judge_pairs, tabulate_pairs
from benchmarks.comparison.tables import HELPERS
from benchmarks.comparison.verdicts import judge, lacking, measure_leads, place_together
from benchmarks.worlds.titles import FEW, WORLDS

PICTURE = DOCS / "images" / "comparison.png"


def compose(documents: dict[str, Document], worlds: dict[str, Document]) -> str:
    """Return the page of all worlds, and of all models at their usual settings, that were measured."""
    return render(
        "comparison/page.md.jinja",
        documents=documents,
        worlds=worlds,
        paired={title: document for title, document in worlds.items() if title not in FEW},
        judge_pairs=judge_pairs,
        tabulate_pairs=tabulate_pairs,
        compare_figures=compare_figures,
        together=place_together(documents.values()),
        leads=measure_leads(documents.values()),
        judge=judge,
        lacking=lacking,
        **HELPERS,
    )


def main() -> None:
    """Write or check the page and README's table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if they are not what the result files say")
    check = parser.parse_args().check
    names = {model: f"comparison-{model}.json" for model in MODELS}
    documents = {model: read(name) for model, name in names.items() if (RESULTS / name).is_file()}
    places = {title: f"worlds-{world}.json" for world, title in WORLDS.items()}
    worlds = {title: read(name) for title, name in places.items() if (RESULTS / name).is_file()}
    excerpt = insert(README, "benchmarks/comparison/page.py", readme.compose(worlds))
    publish({DOCS / "comparison.md": compose(documents, worlds), README: excerpt}, check=check)
    if not check:
        readme.draw(worlds, PICTURE)


if __name__ == "__main__":
    main()
