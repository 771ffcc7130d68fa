"""Figures of the code as a reader meets it: files, words, comments, and the way of one forecast step.

    python tools/figures.py                 # of src/padecast
    python tools/figures.py --words         # every private word and participle, with its line
    python tools/figures.py --step          # calls, changes of file and of room, and time of one forecast step
    python tools/figures.py --against OTHER # the same with the sources of another checkout, and with these

The words are those that docs/style.md refuses as names; tests/test_words.py holds the counts.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "padecast"
PROJECTS = {"padecast": ROOT, "padecast-lab": ROOT / "packages" / "lab"}
"""The distributions, and where each is described."""
PRIVATE = frozenset(
    "own told said found made kept given here there wanted one asked known chosen several".split()  # noqa: SIM905
)
"""Pronouns and participles that say nothing of what a local variable holds."""
IRREGULAR = frozenset(
    [
        "told",
        "said",
        "found",
        "made",
        "kept",
        "given",
        "known",
        "chosen",
        "drawn",
        "written",
        "shown",
        "spoken",
        "taken",
        "begun",
        "seen",
        "done",
        "sent",
        "left",
        "held",
        "built",
        "gone",
        "spent",
        "thrown",
        "hidden",
        "met",
        "lent",
        "bound",
        "broken",
        "worn",
        "sworn",
        "paid",
        "laid",
    ]
)
"""Past participles that do not end in -ed; those that are verbs as well (run, read, put, split) are left out."""
VERBS = frozenset(["need", "feed", "seed", "embed", "exceed", "proceed", "speed", "shed", "wed"])
Place = tuple[Path, int, str]


def sources(folder: Path = SOURCE, without: tuple[str, ...] = ()) -> list[Path]:
    """Return the files of a package, but for those of some of its rooms."""
    return [path for path in sorted(folder.rglob("*.py")) if path.relative_to(folder).parts[0] not in without]


def list_wheel(project: Path) -> dict[str, Path]:
    """Return what the wheel of a distribution holds of the source: names in the wheel, and the files.

    Read from its pyproject.toml, where a path that is left out or included is a file or a folder, without patterns.
    """
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    wheel = tomllib.loads(text)["tool"]["hatch"]["build"]["targets"]["wheel"]
    places = {Path(package).name: package for package in wheel.get("packages", ())}
    places |= {name: place for place, name in wheel.get("force-include", {}).items()}
    absent = [(project / path.lstrip("/")).resolve() for path in wheel.get("exclude", ())]
    held: dict[str, Path] = {}
    for name, place in places.items():
        start = (project / place).resolve()
        for path in [start] if start.is_file() else sorted(start.rglob("*")):
            is_cache = "__pycache__" in path.parts or path.suffix == ".pyc"
            if path.is_file() and not is_cache and not {path, *path.parents}.intersection(absent):
                held[(Path(name) / path.relative_to(start)).as_posix()] = path
    return held


def wheel_figures(project: Path) -> dict[str, int]:
    """Return lines of Python, and bytes without the weights and calibrations of demo models, unpacked."""
    held = list_wheel(project)
    data = ("padecast/zoo/weights/", "padecast/zoo/calibrations/")
    return {
        "lines": lines([path for path in held.values() if path.suffix == ".py"]),
        "bytes": sum(path.stat().st_size for name, path in held.items() if not name.startswith(data)),
    }


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Give all functions of a module."""
    yield from (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def is_value(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function is read as a value: a property."""
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in function.decorator_list}
    return bool(names & {"property", "cached_property", "setter"})


def is_participle(name: str) -> bool:
    """Whether a function's name begins with a past participle.

    Example:
        >>> [is_participle(name) for name in ("fitted", "_told", "read", "needs", "feed", "asked_by_sigmas")]
        [True, True, False, False, False, True]
    """
    word = name.strip("_").partition("_")[0]
    return word in IRREGULAR or (word.endswith("ed") and word not in VERBS)


def locals_of(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Give the names of a module's parameters and of what its functions assign to, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


def words(paths: list[Path]) -> tuple[list[Place], list[Place], int]:
    """Return locals of private words, functions named by a participle, and the number of functions."""
    private, participles, count = list[Place](), list[Place](), 0
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        private += [(path, line, name) for name, line in locals_of(tree) if name.strip("_") in PRIVATE]
        for function in functions(tree):
            if not is_value(function):
                count += 1
                if is_participle(function.name):
                    participles.append((path, function.lineno, function.name))
    return private, participles, count


def lines(paths: list[Path]) -> int:
    """Return how many lines files have."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def comments(path: Path) -> tuple[int, int]:
    """Return lines with a comment, and lines of code."""
    text = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    documented = {
        number
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    code = [line for number, line in enumerate(text, 1) if line and number not in documented]
    return sum("# " in line for line in code), sum(not line.startswith("#") for line in code)


HARD = (
    *("hooks/schedule.py", "hooks/counting.py", "hooks/attachment.py", "hooks/passage.py", "hooks/tracks.py"),
    *("hooks/threads.py", "session/session.py", "session/branch.py", "calibration/planner.py"),
)
"""Where the code is subtle."""


def figures() -> dict[str, Any]:
    """Return the figures."""
    paths = sources()
    plain = sources(without=("zoo",))
    private, participles, count = words(plain)
    length = [len(path.read_text(encoding="utf-8").splitlines()) for path in paths]
    found: dict[str, Any] = {
        "files": len(paths),
        "lines": sum(length),
        "files at the root": len(list(SOURCE.glob("*.py"))),
        "rooms": len([path for path in SOURCE.iterdir() if path.is_dir() and (path / "__init__.py").is_file()]),
        "file, median": statistics.median(length),
        "file, longest": max(length),
        "private words per 1,000 lines, without zoo": round(1000 * len(private) / lines(plain), 2),
        "functions named by a participle, without zoo": f"{len(participles)} of {count}",
        "benchmarks, lines": lines(sources(ROOT / "benchmarks")),
    }
    for name, project in PROJECTS.items():
        measured = wheel_figures(project)
        found[f"wheel {name}, lines of Python"] = measured["lines"]
        found[f"wheel {name}, bytes without weights"] = measured["bytes"]
    for name in HARD:
        if (SOURCE / name).is_file():
            with_comment, code = comments(SOURCE / name)
            found[f"comments, {name}"] = f"{with_comment / code:.1%}"
    return found


def run_steps(model: Any, span: str, plan: str, trace: Any = None, look: int = -1) -> list[float]:
    """Run a model under a plan, and return the seconds of its forecast steps.

    Args:
        model: A DiT.
        span: What of it is forecast.
        plan: Which steps are computed.
        trace: What hears of every call of a function, at one step.
        look: Which step that is.
    """
    import torch

    import padecast

    seconds, x, label = [], torch.randn(1, 1, 4, 4), torch.tensor([1])
    method: dict[str, Any] = {"policy": f"plan:steps={plan}", "forecaster": "lagrange", "span": span}
    with torch.no_grad(), padecast.accelerate(model, **method, steps=len(plan)):
        for index, letter in enumerate(plan):
            timestep = torch.tensor([900 - 40 * index])
            sys.setprofile(trace if index == look else None)
            start = time.perf_counter()
            model(x, timestep=timestep, class_labels=label)
            if letter == ".":
                seconds.append(time.perf_counter() - start)
            sys.setprofile(None)
    return seconds


def step() -> dict[str, Any]:
    """Trace one forecast step of a one-block model under a fixed plan, at the level of blocks and of the output.

    The step is the fourth of five: the last of a run ends the run as well. Its time is the median over many runs.
    """
    import torch
    from diffusers import DiTTransformer2DModel

    import padecast

    torch.set_num_threads(1)
    source = Path(padecast.__file__).parent
    found: dict[str, Any] = {}
    for span in ("full", "output"):
        model = DiTTransformer2DModel(
            num_attention_heads=1, attention_head_dim=8, in_channels=1, out_channels=1, num_layers=1, sample_size=4,
            patch_size=2, num_embeds_ada_norm=10,
        ).eval()  # fmt: skip
        visits: list[str] = []

        def trace(frame: Any, event: str, _argument: Any, visits: list[str] = visits) -> None:
            if event == "call" and frame.f_code.co_filename.startswith(str(source)):
                visits.append(frame.f_code.co_filename)

        run_steps(model, span, "CCC.C", trace, look=3)
        rooms = [str(Path(visit).relative_to(source).parent) for visit in visits]
        times = [second for _ in range(RUNS) for second in run_steps(model, span, "CCC" + "." * 16 + "C")]
        found[span] = {
            "calls": len(visits),
            "files": len(set(visits)),
            "changes of file": sum(a != b for a, b in pairwise(visits)),
            "changes of room": sum(a != b for a, b in pairwise(rooms)),
            "microseconds": round(1e6 * statistics.median(times)),
        }
    return found


RUNS = 20
"""Runs over which a step is timed."""


def compare(before: Path, rounds: int = 5) -> dict[str, Any]:
    """Trace and time a step with the sources of another checkout and with these, in turns.

    Args:
        before: The other checkout.
        rounds: How often each is measured; the median counts. Default 5.
    """
    measured: dict[str, list[dict[str, Any]]] = {"before": [], "now": []}
    for _ in range(rounds):
        for name, root in (("before", before), ("now", ROOT)):
            environment = {**os.environ, "PYTHONPATH": str(root / "src")}
            command = [sys.executable, str(Path(__file__)), "--step", "--json"]
            output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            measured[name].append(json.loads(output))
    return {
        name: {
            span: {key: statistics.median(each[span][key] for each in list_) for key in list_[0][span]}
            for span in list_[0]
        }
        for name, list_ in measured.items()
    }


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--words", action="store_true", help="list every private word and participle")
    parser.add_argument("--step", action="store_true", help="trace and time one forecast step")
    parser.add_argument("--against", type=Path, help="the same with the sources of another checkout, in turns")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.words:
        private, participles, _ = words(sources(without=("zoo",)))
        for path, line, name in [*participles, *private]:
            print(f"{path.relative_to(ROOT)}:{line}: {name}")
        counts = Counter(path.relative_to(SOURCE).parts[0] for path, _, _ in private)
        print(*(f"{count} in {room}" for room, count in counts.most_common()), sep=", ")
        return
    found = compare(options.against) if options.against else step() if options.step else figures()
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
