"""docs/gpu.md, from the result files of a CUDA device, as far as there are any.

python -m benchmarks.gpu.page          # writes the page
python -m benchmarks.gpu.page --check  # fails if it is not what benchmarks/results/gpu/ says
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.common import DOCS, RESULTS, publish, render
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.store import Document, read_part
from benchmarks.gpu.wheels import MOST

MODELS = ("dit", "flux", "wan")


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the result files say")
    check = parser.parse_args().check
    publish({DOCS / "gpu.md": write_page(RESULTS / "gpu")}, check=check)


def write_page(folder: Path) -> str:
    """Return the page of a folder of result files."""
    parts = {name: read_part(folder, name) for name in PARTS}
    devices = sorted({item["device"] for part in parts.values() for item in part["items"].values()})
    rows = [[name, part.about, f"{part.seconds / 60:g}", describe_state(parts[name])] for name, part in PARTS.items()]
    speeds = {name: list_speeds(parts[name]) for name in MODELS}
    minutes = sum(part.seconds for part in PARTS.values()) / 60
    values: dict[str, Any] = {"rows": rows, "devices": devices, "speeds": speeds, "minutes": minutes, "most": MOST}
    waits = list_results(parts["waits"])
    return render("gpu/page.md.jinja", waits=waits, compiled=list_results(parts["compiled"]), **values)


def describe_state(document: Document) -> str:
    """Say how much of a part there is."""
    items = document["items"].values()
    failed = sum("error" in item for item in items)
    if not items:
        return "not yet run"
    return f"{len(items) - failed} measured" + (f", {failed} failed or cut off" if failed else "")


def list_results(document: Document) -> dict[str, Any]:
    """Return what was measured of a part, by item."""
    return {name: item["result"] for name, item in document["items"].items() if "result" in item}


def list_speeds(document: Document) -> list[Document]:
    """Return the rows of a part that are speeds."""
    rows = list_results(document).values()
    return [row for row in rows if isinstance(row, dict) and ("efficiency" in row or ("way" in row and "error" in row))]


if __name__ == "__main__":
    main()
