"""docs/costs.md, from result files.

python -m benchmarks.cost.page          # writes the page
python -m benchmarks.cost.page --check  # fails if it is not what results/overhead.json and history.json say
"""

from __future__ import annotations

import argparse

from benchmarks.common import DOCS, publish, read, render

FORECASTS = ("Memory.add, weights (K,)", "Session.forecast")
"""Runs of the part that stand on the page."""


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the result files say")
    parts, history = read("overhead.json")["parts"], read("history.json")
    text = render("cost/page.md.jinja", parts=parts, history=history, forecasts=FORECASTS)
    publish({DOCS / "costs.md": text}, check=parser.parse_args().check)


if __name__ == "__main__":
    main()
