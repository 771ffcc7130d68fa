"""Write the README's table from the result files.

python benchmarks/readme.py          rewrites the table in README.md
python benchmarks/readme.py --check  exits 1 if it is not what the result files say
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
OPEN, CLOSE = "<!-- table: benchmarks/readme.py -->\n", "<!-- end -->"
ROWS = ("fewer-steps", "reuse", "taylorseer order 1", "taylorseer order 2", "spectrum", "tc-pade", "adaptive")
NAMES = {
    "reuse": "reuse (FORA's rule)",
    "taylorseer order 1": "TaylorSeer, order 1",
    "taylorseer order 2": "TaylorSeer, order 2",
    "spectrum": "Spectrum (half blended)",
    "tc-pade": "**tc-pade**",
    "adaptive": "**adaptive**",
}


def table(documents: dict[str, dict[str, Any]]) -> str:
    """Return the table: PSNR by method, setting and computed steps."""
    seeds = {len(d["settings"]["seeds"]) for d in documents.values()}
    heads = [f"{setting}, {nfe}" for setting in documents for nfe in (6, 8, 10)]
    lines = [
        f"PSNR in dB, mean over {seeds.pop()} samples, of digits drawn in 20 steps with 6, 8 and 10 of them computed,",
        "against the uncached run; hard is guidance 5, shift 3, easy guidance 3, shift 1. Forecasters stand on the",
        "usual plans (every 4th step; 3 warm-up steps, then every 4th or every 3rd), `adaptive` chooses its own, and",
        "`calibrated` is the calibration that ships with the demo model, made on 48 other samples.",
        "",
        "| method | " + " | ".join(heads) + " |",
        "|---|" + "---|" * len(heads),
    ]
    for name in ROWS:
        cells = [_cell(document, name, nfe) for document in documents.values() for nfe in (6, 8, 10)]
        lines.append(f"| {NAMES.get(name, name)} | " + " | ".join(cells) + " |")
    curve = json.loads((RESULTS / "calibrated-curve.json").read_text(encoding="utf-8"))
    cells = [_cell(curve[setting], f"calibrated:{nfe}", nfe) for setting in documents for nfe in (6, 8, 10)]
    lines.append("| **calibrated** | " + " | ".join(cells) + " |")
    even = ", ".join(f"{_cell(document, 'tc-pade:every=3', 8)} ({setting})" for setting, document in documents.items())
    lines += [
        "",
        f"Without warm-up, `tc-pade:every=3` computes 8 steps too and reaches {even}.",
        "",
        "From `digits-hard.json`, `digits-easy.json` and `calibrated-curve.json` in `benchmarks/results/`, made by",
        "`make bench`.",
    ]
    return "\n".join(lines) + "\n"


def _cell(document: dict[str, Any], name: str, nfe: int) -> str:
    (row,) = (r for r in document["results"] if r["name"] == name and r["wanted"] == nfe)
    own = "" if abs(row["nfe"] - nfe) < 0.005 else f" ({row['nfe']:.2f} computed)"
    return f"{row['psnr']['mean']:.1f}{own}"


def main() -> None:
    """Rewrite or check the README."""
    documents = {s: json.loads((RESULTS / f"digits-{s}.json").read_text(encoding="utf-8")) for s in ("hard", "easy")}
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(OPEN)
    written = before + OPEN + table(documents) + CLOSE + rest.partition(CLOSE)[2]
    if "--check" in sys.argv:
        sys.exit(
            0 if written == text else "README.md does not show what the result files say: run benchmarks/readme.py"
        )
    path.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
