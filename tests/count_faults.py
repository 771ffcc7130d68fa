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
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PATIENCE = 180
"""Seconds without an outcome after which a test is taken to hang; collecting takes less."""
RESULT = ROOT / "benchmarks" / "results" / "faults.json"


class Kinds:
    """A pytest plugin that notes outcomes with the kind of fault, a line each as it comes.

    Args:
        file: Where they are noted. Tests that it names are left out.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._kinds = file, dict[str, str]()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        done = {nodeid for nodeid, _, _ in lines(self._file)}
        items[:] = [item for item in items if item.nodeid not in done]
        for item in items:
            if (marker := item.get_closest_marker("fault")) is not None:
                self._kinds[item.nodeid] = marker.args[0]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._note(nodeid, "begun")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed or report.when == "call" or report.skipped:
            self._note(report.nodeid, "failed" if report.failed else report.outcome)

    def _note(self, nodeid: str, outcome: str) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps([nodeid, self._kinds.get(nodeid, "?"), outcome]) + "\n")


def lines(file: Path) -> list[tuple[str, str, str]]:
    """Return what was noted: test, kind and outcome."""
    return [tuple(json.loads(line)) for line in file.read_text().splitlines()]


def count(source: Path, paths: list[str]) -> dict[str, dict[str, int]]:
    """Run the marked tests with the source of a folder, and return their outcomes by kind.

    A test that hangs is ended with its process and stays "begun"; those after it run in another process.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kinds.jsonl"
        file.touch()
        environment = {
            **os.environ,
            "PYTHONPATH": f"{source}{os.pathsep}{ROOT}",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        command = [sys.executable, __file__, "--kinds", str(file), *paths]
        while True:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sys.stderr)
            while process.poll() is None and time.time() - file.stat().st_mtime < PATIENCE:
                time.sleep(1)
            if process.poll() is not None:
                break
            process.kill()
            process.wait()
            file.touch()
        latest = dict[str, tuple[str, str]]()
        for nodeid, kind, outcome in lines(file):
            if latest.get(nodeid, ("", ""))[1] != "failed":
                latest[nodeid] = (kind, outcome)
        counts: dict[str, Counter[str]] = {}
        for kind, outcome in latest.values():
            counts.setdefault(kind, Counter())[outcome] += 1
        return {kind: dict(counter) for kind, counter in counts.items()}


def run_tests(file: Path, paths: list[str]) -> int:
    """Run the marked tests in this process."""
    import pytest

    options = ["-q", "-m", "fault and not cuda", "-k", "not (slow and test_interrupts)"]  # these take minutes each
    options += ["--continue-on-collection-errors", "-p", "no:cacheprovider", "--tb=no"]
    return int(pytest.main([*options, *paths], plugins=[Kinds(file)]))


def passed(outcomes: dict[str, int]) -> int:
    """Return how many tests did not fail; those that are skipped would not have."""
    return outcomes.get("passed", 0) + outcomes.get("skipped", 0)


def table(before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """Return a row for every kind: inputs tried, and how many fail before and after."""
    return [
        {
            "kind": kind,
            "inputs": sum(after[kind].values()),
            "failed_before": sum(after[kind].values()) - passed(before.get(kind, {})),
            "failed_after": sum(after[kind].get(outcome, 0) for outcome in ("failed", "begun")),
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
