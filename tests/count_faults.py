"""Counts how many inputs of every kind of fault fail, with the source of an earlier commit and with this one.

    python tests/count_faults.py --before fb22e21

Tests that are marked ``fault("kind")`` are run twice, the first time with ``src`` of the earlier commit on the path.
The table is printed and written to ``benchmarks/results/faults.json``. Tests that cannot even be imported with the
earlier source count as failed there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "faults.json"


class Kinds:
    """A pytest plugin that counts outcomes by the kind of fault."""

    def __init__(self, file: Path) -> None:
        self._file, self._kinds = file, dict[str, str]()
        self._outcomes: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            if (marker := item.get_closest_marker("fault")) is not None:
                self._kinds[item.nodeid] = marker.args[0]

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed or (report.when == "call" and report.nodeid not in self._outcomes):
            self._outcomes[report.nodeid] = "failed" if report.failed else report.outcome

    def pytest_sessionfinish(self) -> None:
        counts: dict[str, Counter[str]] = {}
        for nodeid, outcome in self._outcomes.items():
            counts.setdefault(self._kinds.get(nodeid, "?"), Counter())[outcome] += 1
        self._file.write_text(json.dumps(counts))


def count(source: Path, paths: list[str]) -> dict[str, dict[str, int]]:
    """Run the marked tests with the source of a folder, and return their outcomes by kind."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kinds.json"
        environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, __file__, "--kinds", str(file), *paths]
        subprocess.run(command, cwd=ROOT, env=environment, stdout=sys.stderr, check=False)
        return dict(json.loads(file.read_text()))


def run_tests(file: Path, paths: list[str]) -> int:
    """Run the marked tests in this process."""
    import pytest

    marked = "fault and not cuda and not slow"
    options = ["-q", "-m", marked, "--continue-on-collection-errors", "-p", "no:cacheprovider"]
    return int(pytest.main([*options, "--tb=no", *paths], plugins=[Kinds(file)]))


def table(before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """Return a row for every kind: inputs tried, and how many fail before and after."""
    return [
        {
            "kind": kind,
            "inputs": sum(after[kind].values()),
            "failed_before": sum(after[kind].values()) - before.get(kind, {}).get("passed", 0),
            "failed_after": after[kind].get("failed", 0),
        }
        for kind in sorted(after)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="fb22e21", help="the earlier commit")
    parser.add_argument("--kinds", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", default=["tests"])
    options = parser.parse_args()
    if options.kinds is not None:
        sys.exit(run_tests(options.kinds, options.paths))
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder) / "earlier"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(earlier), options.before], cwd=ROOT, check=True)
        try:
            before = count(earlier / "src", options.paths)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(earlier)], cwd=ROOT, check=True)
    rows = table(before, count(ROOT / "src", options.paths))
    command = f"python tests/count_faults.py --before {options.before}"
    RESULT.write_text(json.dumps({"command": command, "rows": rows}, indent=2) + "\n")
    print("| kind | inputs | failed before | fail now |\n|---|---:|---:|---:|")
    for row in rows:
        print("| {kind} | {inputs} | {failed_before} | {failed_after} |".format(**row))


if __name__ == "__main__":
    main()
