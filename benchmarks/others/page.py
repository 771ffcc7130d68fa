"""docs/other-caches.md, from a result file.

python -m benchmarks.others.page          # writes the page
python -m benchmarks.others.page --check  # fails if it is not what benchmarks/results/runs-of-others.json says
"""

from __future__ import annotations

import argparse

from benchmarks.common import DOCS, publish, read, render


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the result file says")
    document = read("runs-of-others.json")
    cells = {(finding["scenario"], finding["library"]): finding for finding in document["findings"]}
    text = render("others/page.md.jinja", **document, cells=cells)
    publish({DOCS / "other-caches.md": text}, check=parser.parse_args().check)


if __name__ == "__main__":
    main()
