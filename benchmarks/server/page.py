"""The table of docs/server.md, from results/server-load.json.

python -m benchmarks.server.page            # writes it
python -m benchmarks.server.page --check    # fails if it is not what the result file says
"""

from __future__ import annotations

import argparse

from benchmarks.common import DOCS, Document, insert, publish, read, render

SCRIPT, FILE, PAGE = "benchmarks/server/page.py", "server-load.json", DOCS / "server.md"
WORDS = {
    "equal": "served, equal to the image drawn alone",
    "fails 500": "model raised in the middle: status 500",
    "leaves": "client left in the middle",
    "refused 422": "could not be served: status 422",
}


def compose(document: Document) -> str:
    """Return the table."""
    rows = [(words, document["outcomes"].get(key, 0)) for key, words in WORDS.items()]
    metrics = document["metrics"]
    steps = {kind: int(metrics[f'padecast_steps_total{{kind="{kind}"}}']) for kind in ("computed", "forecast")}
    memory = [{**look, "size": look["bytes"] / 2**20} for look in document["memory"]]
    objects = [look["objects"] for look in memory]
    left = int(metrics.get('padecast_requests_total{outcome="left"}', 0))
    return render(
        "server/page.md.jinja",
        document=document,
        rows=rows,
        steps=steps,
        left=left,
        first=memory[0],
        most=max(memory, key=lambda look: look["bytes"]),
        spread=max(objects) - min(objects),
    )


def main() -> None:
    """Write the table, or compare it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with what is committed")
    publish({PAGE: insert(PAGE, SCRIPT, compose(read(FILE)))}, check=parser.parse_args().check)


if __name__ == "__main__":
    main()
