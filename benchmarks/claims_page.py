"""Writes docs/claims.md: what became of the papers' statements on two demo models, with pictures.

    python benchmarks/claims_page.py            # --results DIR, --docs DIR for others than the project's own

from benchmarks/results/claims-*.json (``benchmarks/claims.py``), and from nothing else. Every verdict is computed by
the rule that the page states.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from claims_drawn import table
from claims_files import Measured
from claims_statements import STATEMENTS, sweep
from claims_verdicts import RULE, Reading
from common import RESULTS

from padecast import files

DOCS = Path(__file__).parent.parent / "docs"


def page(measured: Measured, images: Path) -> str:
    """Write the page."""
    found = [make(measured, images) for make in STATEMENTS]
    text = [
        "# Statements of the papers, tested",
        "",
        "<!-- written by benchmarks/claims_page.py from benchmarks/results/claims-*.json -->",
        "",
        "Six statements of [TC-Padé](https://arxiv.org/abs/2603.02943) and "
        "[Spectrum](https://arxiv.org/abs/2603.01623), put to the test on two small trained models: digits, a "
        "DiT, in two settings, hard (guidance 5, shift 3) and easy (guidance 3, shift 1), and scenes, a FLUX pipeline "
        "(guidance 3.5, shift 3, captions of combinations that its training never saw, those of the "
        "[comparison](comparison.md)). Test seeds from 20000 on, "
        "20 steps unless said otherwise, PSNR against the uncached run of the same seeds. `python "
        "benchmarks/claims.py` measures, `python benchmarks/claims_page.py` writes this page. tc-pade here is its "
        "forecaster on the plans that are named; the method of that name spaces its steps. They are statements "
        "about large models: what is refuted here may hold there, and the other way round. Figures of the papers are "
        "marked *published*.",
        "",
        *table(
            ["statement", "here", "comparisons", "seeds"],
            [[f"[{n}. {s.title}](#{n}-{anchor(s.title)})", s.stated, s.told, s.seeds] for n, s in enumerate(found, 1)],
        ),
        RULE,
        "",
    ]
    for number, statement in enumerate(found, 1):
        text += [f"## {number}. {statement.title}", "", statement.about, ""]
        readings = [[*told(r)] for r in statement.readings]
        text += table(["reading", "here", "comparisons"], readings) if readings else ["Not measured yet.", ""]
        text += statement.body
    return "\n".join([*text, "## Intervals", "", *sweep(measured, images)])


def told(reading: Reading) -> tuple[str, str, str]:
    """Write a reading's row; what does not count stands in brackets."""
    verdict = f"**{reading.verdict}**" if reading.counts else f"({reading.verdict})"
    return (reading.text if reading.counts else f"({reading.text})"), verdict, reading.told


def anchor(title: str) -> str:
    """Return the link of a heading, as Python-Markdown makes it.

    >>> anchor("The threshold θ trades 3.5x")
    'the-threshold-trades-35x'
    """
    kept = "".join(c for c in title.lower().replace("é", "e") if c.isascii() and (c.isalnum() or c in " -"))
    return "-".join(kept.split())


def main() -> None:
    """Write the page and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result files are")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where to write claims.md and images/")
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the result files say")
    options = parser.parse_args()
    path = options.docs / "claims.md"
    if options.check:
        with tempfile.TemporaryDirectory() as images:
            stale = path.read_text(encoding="utf-8") != page(Measured(options.results), Path(images))
        raise SystemExit(f"{path} is not what the result files say" if stale else 0)
    files.write(path, page(Measured(options.results), options.docs / "images"))
    print(f"written: {path}")


if __name__ == "__main__":
    main()
