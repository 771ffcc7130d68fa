"""The table of described model classes, with what the tests of each say and how many lines describe it.

    python benchmarks/models.py

Runs tests/targets/test_models.py, which makes a tiny instance of every class with random weights and asks that all
computed is bit-identical, that the oracle and a repeated residual are right within rounding, that a plan runs every
block as often as it says, and that nothing is left behind. Writes benchmarks/results/models.json and docs/models.md.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import diffusers
from common import write

from padecast import files, targets
from padecast.calibration.provenance import Provenance
from padecast.targets import diffusers as described

TESTS = Path(__file__).parent.parent / "tests" / "targets" / "test_models.py"
PAGE = Path(__file__).parent.parent / "docs" / "models.md"


def outcomes() -> tuple[dict[str, dict[str, int]], int]:
    """Run the tests, and return what became of those of every class, and pytest's exit code."""
    found: dict[str, dict[str, int]] = {model: {"passed": 0, "failed": 0} for model in targets.REGISTRY}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", str(TESTS)]
        code = subprocess.run(command, cwd=TESTS.parents[2], check=False).returncode
        for case in ElementTree.parse(report).iter("testcase"):
            name = case.get("name", "").partition("[")[2]
            model = next((model for model in sorted(found, key=len, reverse=True) if model in name), None)
            if model is not None:
                found[model]["failed" if len(case) else "passed"] += 1
    return found, code


def lines() -> dict[str, int]:
    """Return how many lines the description of every class takes."""
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(inspect.getsource(described))):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.args[0].value
            if name in targets.REGISTRY and node.end_lineno is not None:
                found[name] = node.end_lineno - node.lineno + 1
    return found


def page(rows: list[dict[str, Any]], release: str) -> str:
    """Write the table for the documentation."""
    head = [
        "# Models",
        "",
        "<!-- written by benchmarks/models.py -->",
        "",
        f"{len(rows)} classes of diffusers {release} are described, each in the number of lines given, and tested "
        "with tiny random weights: computing every step is bit-identical to the untouched model; the oracle and a "
        "repeated residual are right within rounding; a plan runs every block as often as it says; nothing is left "
        'behind. Of any other model, `span="output"` or `span="difference"` forecasts what it returns. Which model '
        "classes were run with trained weights, `tested on` says; no checkpoint of a published model was.",
        "",
        "| class | spans | pipelines | tested on | tests | lines |",
        "|---|---|---|---|---|---|",
    ]
    body = [
        f"| {row['model']} | {', '.join(row['spans'])} | {', '.join(row['pipelines'])} | {row['tested']} "
        f"| {row['outcome']['passed']} passed, {row['outcome']['failed']} failed | {row['lines']} |"
        for row in rows
    ]
    return "\n".join([*head, *body, ""])


def main() -> int:
    """Run the tests and write the table."""
    (tested, code), counted = outcomes(), lines()
    rows = [
        {
            "model": target.model,
            "spans": list(target.spans),
            "pipelines": list(target.pipelines),
            "tested": target.tested,
            "outcome": tested[target.model],
            "lines": counted[target.model],
        }
        for target in targets.REGISTRY.values()
    ]
    write("models.json", {"models": rows, "provenance": dataclasses.asdict(Provenance.of())})
    files.write(PAGE, page(rows, diffusers.__version__))
    return code


if __name__ == "__main__":
    sys.exit(main())
