"""Tables and claims, drawn from result files and from nothing else.

    python benchmarks/tables.py

reads benchmarks/results/digits-hard.json and digits-easy.json.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from padecast import files

RESULTS = Path(__file__).parent / "results"
Document = dict[str, Any]
EVEN = "tc-pade:every=3"
PUBLISHED = ("reuse", "taylorseer order 1", "taylorseer order 2", "spectrum")


def show(document: Document) -> None:
    """Print one setting: what was put on the usual plans, then the methods as they are registered."""
    results = document["results"]
    for wanted in (6, 8, 10, None):
        rows = [r for r in results if r["wanted"] == wanted and r["name"] != "uncached"]
        title = f"{document['settings']['name']}, " + (
            f"{wanted} computed steps" if wanted else "methods as registered"
        )
        table = Table(
            "method", "NFE", "PSNR mean", "5th pct", "worst", "SSIM", "denoiser", "ideal", "plan", title=title
        )
        for r in sorted(rows, key=lambda r: -r["psnr"]["mean"]):
            psnr = [f"{r['psnr'][k]:.1f}" for k in ("mean", "p5", "worst")]
            speed = [f"{r['denoiser_speedup']:.2f}x", f"{r['ideal']:.2f}x"]
            table.add_row(r["name"], f"{r['nfe']:.2f}", *psnr, f"{r['ssim']['mean']:.3f}", *speed, r["plans"][0])
        Console(width=150).print(table)


def decibels(document: Document, name: str, wanted: int | None) -> float:
    """Return the mean PSNR of one row."""
    (row,) = (r for r in document["results"] if r["name"] == name and r["wanted"] == wanted)
    return float(row["psnr"]["mean"])


def computed(document: Document, name: str, wanted: int | None = None) -> float:
    """Return the computed steps of one row."""
    (row,) = (r for r in document["results"] if r["name"] == name and r["wanted"] == wanted)
    return float(row["nfe"])


def claims(measured: dict[str, Document]) -> bool:
    """Print what the project claims of these tables, and whether the figures bear it out."""
    held = [*_of_tc_pade(measured), *_of_adaptive(measured), *_of_thresholds(measured)]
    for setting, document in measured.items():
        even, own = (decibels(document, name, 8) for name in (EVEN, "adaptive"))
        print(f"{setting}, 8 computed: {EVEN}, without warm-up, {even:.2f} dB; adaptive {own:.2f} dB")
    for text, holds in held:
        print(f"{'holds' if holds else 'DOES NOT HOLD'}: {text}")
    return all(holds for _, holds in held)


def _of_tc_pade(measured: dict[str, Document]) -> list[tuple[str, bool]]:
    def mean(name: str) -> float:
        return sum(decibels(d, name, 6) for d in measured.values()) / len(measured)

    lead = mean("tc-pade") - max(map(mean, PUBLISHED))
    behind = {s: max(decibels(d, n, 6) for n in PUBLISHED) - decibels(d, "tc-pade", 6) for s, d in measured.items()}
    found = [
        (f"tc-pade on every 4th step leads the best of {', '.join(PUBLISHED)} by {lead:.2f} dB (0.5)", lead >= 0.5)
    ]
    return found + [
        (f"{s}: it is {gap:+.2f} dB behind the best of them (0.5 at most)", gap <= 0.5) for s, gap in behind.items()
    ]


def _of_adaptive(measured: dict[str, Document]) -> list[tuple[str, bool]]:
    found = []
    for setting, document in measured.items():
        for nfe, needed in ((6, -1.0), (8, 4.0), (10, 4.0)):
            others = {
                f"{r['name']}, {r['written']}": r["psnr"]["mean"]
                for r in document["results"]
                if (r["wanted"] == nfe or abs(r["nfe"] - nfe) <= 0.25)
                and not r["name"].startswith(("adaptive", "fewer-steps"))
                and ":" not in r["name"]
            }
            best = max(others, key=others.__getitem__)
            lead = decibels(document, "adaptive", nfe) - others[best]
            same = computed(document, "adaptive", nfe) <= nfe
            text = (
                f"{setting}, {nfe} computed: adaptive {lead:+.2f} dB over the best other ({best}; {needed:+.0f} needed)"
            )
            found.append((text, lead >= needed and same))
    return found


def _of_thresholds(measured: dict[str, Document]) -> list[tuple[str, bool]]:
    found = []
    for setting, document in measured.items():
        steps = [computed(document, f"tc-pade-{name}") for name in ("fast", "slow", "careful")]
        text = f"{setting}: tc-pade-fast, -slow, -careful compute {', '.join(f'{n:.2f}' for n in steps)} steps"
        found.append((text, steps[0] < steps[1] < steps[2]))
    return found


def main() -> None:
    """Print the tables and claims of the committed result files."""
    measured = {s: files.read_json(RESULTS / f"digits-{s}.json") for s in ("hard", "easy")}
    for document in measured.values():
        show(document)
    sys.exit(0 if claims(measured) else 1)


if __name__ == "__main__":
    main()
