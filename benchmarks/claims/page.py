"""docs/claims.md: what became of the papers' statements at smooth settings and in matched ones, from result files.

python -m benchmarks.claims.page          # writes the page, and docs/images/claims-*.png
python -m benchmarks.claims.page --check  # fails if it is not what benchmarks/results/claims-*.json say
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks.claims import pictures
from benchmarks.claims.features import FORECASTERS, GAPS
from benchmarks.claims.readings import FIFTY, STATEMENTS, SWEEP, TAYLOR, Part, Statement
from benchmarks.claims.rows import ENDS, EVERY, FIRST, LENGTHS, PUBLISHED, SEEDS
from benchmarks.claims.verdicts import Reading
from benchmarks.common import DOCS, RESULTS, Document, publish, read, render, table

COLUMNS = {"smooth": "smooth", "matched": "matched, their plans", "dense": "matched, dense plans"}


def summarize(statements: Sequence[Statement]) -> str:
    """Return the table of verdicts."""
    rows = []
    for number, statement in enumerate(statements, 1):
        verdicts = [statement.verdict(where) for where in COLUMNS]
        cells = [f"**{verdict.text}**, {verdict.short}" if verdict else "" for verdict in verdicts]
        link = f"[{number}. {statement.title}](#{anchor(number, statement.title)})"
        rows.append([link, *cells, statement.seeds])
    return table(["statement", *COLUMNS.values(), "seeds"], rows)


def anchor(number: int, title: str) -> str:
    """Return how a heading is linked to.

    >>> anchor(6, "Spectrum beats TaylorSeer at 3.5x")
    '6-spectrum-beats-taylorseer-at-35x'
    """
    letters = f"{number} {title}".lower().replace(" θ ", "  ")
    return "-".join("".join(c for c in letters if c.isalnum() or c == " ").split())


def tell(statement: Statement) -> str:
    """Return what became of a verdict, in a sentence.

    The first place is that of smooth settings; a verdict that is the same everywhere is told once.
    """
    verdicts = {where: verdict.text for where in COLUMNS if (verdict := statement.verdict(where))}
    if len(verdicts) > 1 and len({*verdicts.values()}) == 1:
        return f"{verdicts['smooth'].capitalize()} before, and {verdicts['smooth']} now."
    places = {"smooth": "at smooth settings", "matched": "in matched ones", "dense": "there on dense plans"}
    return ", ".join(f"{text} {places[where]}" for where, text in verdicts.items()).capitalize() + "."


def value(parts: dict[str, Part], where: str, setting: str, name: str, at: float) -> str:
    """Return a mean in dB for a sentence."""
    return cell(parts.get(where), setting, name, at, "psnr") or "(not measured)"


def detail(statement: Statement) -> str:
    """Return the table of a statement's readings; those in brackets do not count."""
    readings = {where: {reading.text: reading for reading in rows} for where, rows in statement.readings.items()}
    texts = {text: reading.counts for rows in readings.values() for text, reading in rows.items()}
    rows = []
    for text, counts in texts.items():
        cells = [judge(readings[where].get(text)) for where in readings]
        rows.append([text if counts else f"({text})", *cells])
    return table(["reading", *(COLUMNS[where] for where in readings)], rows)


def judge(reading: Reading | None) -> str:
    """Return the verdict of a reading and its count, if it has any comparison."""
    return f"{reading.verdict}, {reading.short}" if reading and reading.sides else ""


def figures(parts: dict[str, Part], at: Sequence[float], key: str = "psnr", but: Sequence[str] = ()) -> str:
    """Return the means of the rows of matched settings: in dB, or shares of samples."""
    settings = [*parts["matched"].settings] if "matched" in parts else []
    rows = []
    for where in ("matched", "dense"):
        part = parts.get(where)
        for name in [] if part is None else part.names():
            cells = [cell(part, setting, name, place, key) for setting in settings for place in at]
            if name not in but:
                rows.append([f"{name}, dense" if where == "dense" else name, *cells])
    head = [f"{setting.partition(':')[0]}, {place:g}" for setting in settings for place in at]
    return table(["PSNR, dB" if key == "psnr" else "show what was asked", *head], rows)


def cell(part: Part | None, setting: str, name: str, at: float, key: str) -> str:
    """Return a mean as it is printed, or nothing if that is not measured."""
    if part is None or part.find(setting, name, at) is None:
        return ""
    value = part.mean(setting, name, at, key)
    return f"{value:.0%}" if key == "read" else f"{value:.2f}" if key == "computed" else f"{value:.1f}"


def errors(parts: dict[str, Part]) -> str:
    """Return the errors of forecast features in matched settings."""
    part = parts["matched"]
    rows = [
        [
            f"{kind} by {name}",
            *(f"{part.error(setting, kind, name, gap):.3f}" for setting in part.settings for gap in GAPS),
        ]
        for name in FORECASTERS
        for kind in ("residual", "output")
    ]
    head = [f"{setting.partition(':')[0]}, {gap}" for setting in part.settings for gap in GAPS]
    return table(["relative error, steps ahead", *head], rows)


def thresholds(parts: dict[str, Part]) -> str:
    """Return computed steps and PSNR over the threshold in matched settings."""
    if "matched" not in parts:
        return ""
    part = parts["matched"]
    at = [row["at"] for row in part.rows(next(iter(part.settings)))]
    rows = []
    for setting in part.settings:
        for key, text in (("computed", "computed"), ("psnr", "PSNR")):
            rows.append([f"{setting}: {text}", *(cell(part, setting, "tc-pade-fast", place, key) for place in at)])
    return table(["θ", *(f"{place:g}" for place in at)], rows)


def compose() -> str:
    """Return the page."""
    values: dict[str, Any] = {"taylor": TAYLOR[0], "fifty": FIFTY, "lengths": LENGTHS, "every": EVERY, "ends": ENDS}
    helpers = {
        "summarize": summarize,
        "detail": detail,
        "figures": figures,
        "errors": errors,
        "thresholds": thresholds,
        "tell": tell,
        "value": value,
    }
    origins: dict[str, Document] = {
        part: read(f"claims-matched-{part}.json")
        for part in SEEDS
        if (RESULTS / f"claims-matched-{part}.json").is_file()
    }
    return render(
        "claims/page.md.jinja",
        statements=STATEMENTS,
        parts={statement.part: statement.parts for statement in STATEMENTS},
        intervals=SWEEP.parts,
        origins=origins,
        goals=SEEDS,
        sweep=SWEEP.seeds,
        first=FIRST,
        nfe=tuple(PUBLISHED),
        **helpers,
        **values,
    )


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the result files say")
    check = parser.parse_args().check
    publish({DOCS / "claims.md": compose()}, check=check)
    if not check:
        pictures.draw(DOCS / "images")


if __name__ == "__main__":
    main()
