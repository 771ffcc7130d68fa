"""The tables of docs/comfyui.md, from results/comfy.json.

python -m benchmarks.comfy.page            # writes them
python -m benchmarks.comfy.page --check    # fails if they are not what the result file says
"""

from __future__ import annotations

import argparse
from statistics import fmean

from benchmarks.common import DOCS, Document, insert, publish, read, render, split

SCRIPT, FILE, PAGE = "benchmarks/comfy/page.py", "comfy.json", DOCS / "comfyui.md"
WAYS = ("repetition", "lines", "tc-pade", "adaptive")


def compose(document: Document) -> str:
    """Return the tables; a sampler of a model is shown once both predictions were measured in all ways."""
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
    values = {"document": document, "worlds": worlds, "plan": f"{plan:g}", "gap": fmean(gaps), "count": len(gaps)}
    return render("comfy/page.md.jinja", **values)


def main() -> None:
    """Write the tables, or compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with what is committed")
    publish({PAGE: insert(PAGE, SCRIPT, compose(read(FILE)))}, check=parser.parse_args().check)


if __name__ == "__main__":
    main()
