"""The table of described model classes, with what the tests of each say and how many lines describe it.

    python -m benchmarks.models.classes          # runs tests/targets/test_models.py: some minutes
    python -m benchmarks.models.classes --new    # of classes that the result file has not; it keeps the others' rows
    python -m benchmarks.models.classes --check  # fails if docs/models.md is not what the result file says

The tests make a tiny instance of every class with random weights and ask that all computed is bit-identical, that the
oracle and a repeated residual are right within rounding, that a plan runs every block as often as it says, and that
nothing is left behind. Of every other class of diffusers that denoises the page says why it is not described
(benchmarks/models/undescribed.py). Writes benchmarks/results/models.json and docs/models.md.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.common import DOCS, ROOT, Document, provenance, publish, read, render, write
from benchmarks.models.undescribed import REASONS
from padecast import targets
from padecast.targets import diffusers as descriptions

TESTS = ROOT / "tests" / "targets" / "test_models.py"


def run_tests(models: Sequence[str]) -> tuple[dict[str, dict[str, int]], int]:
    """Run the tests of some classes, and return what became of those of each, and pytest's exit code."""
    outcomes: dict[str, dict[str, int]] = {model: {"passed": 0, "failed": 0} for model in models}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "-k", " or ".join(models), str(TESTS)]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        for case in ElementTree.parse(report).iter("testcase"):
            name = case.get("name", "").partition("[")[2]
            model = next((model for model in sorted(outcomes, key=len, reverse=True) if model in name), None)
            if model is not None:
                outcomes[model]["failed" if len(case) else "passed"] += 1
    return outcomes, code


def count_lines() -> dict[str, int]:
    """Return how many lines the description of every class takes."""
    counts: dict[str, int] = {}
    for node in ast.walk(ast.parse(inspect.getsource(descriptions))):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.args[0].value
            if name in targets.REGISTRY and node.end_lineno is not None:
                counts[name] = node.end_lineno - node.lineno + 1
    return counts


def measure(earlier: Document) -> tuple[Document, int]:
    """Return the result file, and pytest's exit code.

    Args:
        earlier: A result file whose outcomes are kept; empty for none. Rows that are added say where they come from.
    """
    rows_before = {row["model"]: row for row in earlier.get("models", ())}
    (outcomes, code), counts = run_tests([name for name in targets.REGISTRY if name not in rows_before]), count_lines()
    rows = [
        {
            "model": target.model,
            "spans": list(target.spans),
            "pipelines": list(target.pipelines),
            "tested": target.tested,
            "outcome": rows_before[target.model]["outcome"] if target.model in rows_before else outcomes[target.model],
            "lines": counts[target.model],
            **({"provenance": provenance()} if earlier and target.model not in rows_before else {}),
        }
        for target in targets.REGISTRY.values()
    ]
    for row in rows:
        if "provenance" in rows_before.get(row["model"], {}):
            row["provenance"] = rows_before[row["model"]]["provenance"]
    return {"models": rows, "provenance": earlier.get("provenance") or provenance()}, code


def main() -> int:
    """Run the tests unless the page is only to be checked, and write or check it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--page", action="store_true", help="write the page from the result file that is there")
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the result file says")
    parser.add_argument("--new", action="store_true", help="run the tests of classes that the result file has not")
    options, code = parser.parse_args(), 0
    if not options.page and not options.check:
        document, code = measure(read("models.json") if options.new else {})
        write("models.json", document)
    reasons = {name: reason for name, reason in REASONS.items() if name not in targets.REGISTRY}
    page = render("models/classes.md.jinja", **read("models.json"), reasons=reasons)
    publish({DOCS / "models.md": page}, check=options.check)
    return code


if __name__ == "__main__":
    sys.exit(main())
