"""The recipes of CONTRIBUTING.md do what they say, followed word for word in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import padecast
from padecast import targets

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = {
    title.lower(): dict(re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', text, flags=re.DOTALL))
    for title, text in re.findall(r"^### Add an? (\w+)\n(.*?)(?=^##)", TEXT, flags=re.MULTILINE | re.DOTALL)
}
"""The blocks of every recipe, by what they are of."""
PLACES = {name: {path: code for path, code in blocks.items() if "/" in path} for name, blocks in RECIPES.items()}
NEW = {path for blocks in PLACES.values() for path in blocks if not (ROOT / path).exists()}


def follow(copy: Path) -> None:
    """Do what the recipes say: write a new file, or put what follows a block's first line below that line."""
    for path, code in (block for blocks in PLACES.values() for block in blocks.items()):
        if path in NEW:
            (copy / path).write_text(code, encoding="utf-8")
            continue
        first, _, rest = code.partition("\n")
        text = (copy / path).read_text(encoding="utf-8")
        assert text.count(f"{first}\n") == 1, f"{path} does not have the line {first!r} once"
        (copy / path).write_text(text.replace(f"{first}\n", f"{first}\n{rest}"), encoding="utf-8")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which every recipe was followed."""
    copy = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("weights", "__pycache__", "results", "images")
    for folder in ("src", "tests", "tools", "docs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "mkdocs.yml"):
        shutil.copy(ROOT / name, copy / name)
    follow(copy)
    return copy


def python(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the copy in place of the package."""
    environment = {**os.environ, "PYTHONPATH": f"{package / 'src'}{os.pathsep}{package}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, check=False)


SCRIPT = """
import runpy, sys
import pytest
import torch
runpy.run_path("tools/api.py")["main"]()
import padecast
from padecast import forecasters, policies
from padecast.lab import Entry
from padecast.lab.peers import REGISTRY
from padecast.lab.pretrained import metrics_of
assert padecast.__file__.startswith(sys.argv[1])
assert forecasters.Halfway() == forecasters.REGISTRY.make("halfway") and "Halfway" in forecasters.__all__
alternate = policies.REGISTRY.make("alternate")
assert policies.plan_of(alternate, 8) == policies.plan_of(policies.Alternate(), 8) == "C.C.C.CC"
assert list(forecasters.REGISTRY)[-1] == "halfway" and list(policies.REGISTRY)[-1] == "alternate"
padecast.Session(padecast.policies.Alternate(), padecast.forecasters.Halfway(), 4)
assert "Straight on" in padecast.cite("every-third:every=4")
assert padecast.targets.REGISTRY["PriorTransformer"] is not None
assert Entry.of("diffusers.repeated:every=2").method == REGISTRY.make("diffusers.repeated:every=2")
(brightness,) = metrics_of(["brightness"]).values()
rows = brightness.rows(torch.full((2, 1, 4, 4), 0.25), torch.zeros(2, 1, 4, 4), [3, 7])
assert brightness.value(rows, rows) == 0.25
sys.exit(pytest.main(sys.argv[2:]))
"""
OPTIONS = ("-c", "pyproject.toml", "--rootdir", ".", "-p", "no:cacheprovider", "-o", "addopts=", "-q", "-rA")
OPTIONS += ("--import-mode=importlib", "--doctest-modules", "-W", "ignore")
FILES = {
    "forecaster": (
        "tests/forecasters/test_contract.py",
        "tests/test_surface.py",
        "src/padecast/forecasters/halfway.py",
    ),
    "policy": ("tests/policies/test_contract.py", "tests/policies/test_plans.py", "src/padecast/policies/alternate.py"),
    "method": ("tests/test_methods.py",),
    "model": ("tests/targets/test_targets.py", "tests/targets/test_models.py"),
    "rival": ("tests/lab/test_peers.py",),
    "metric": ("tests/lab/test_pretrained.py",),
}
NAMES = {
    "forecaster": (r"\bhalfway|Halfway", 20),
    "policy": (r"\balternate|Alternate", 12),
    "method": ("every-third", 3),
    "model": ("PriorTransformer", 8),
    "rival": (r"diffusers\.repeated", 1),
    "metric": ("metric", 0),
}
"""What the tests of a recipe are known by, and how many there are at least."""


LIGHT = [name for name in FILES if name not in ("model", "rival")]
"""Recipes whose tests do without diffusers, which takes longer to import than they take to run."""


@pytest.mark.fault("recipes")
@pytest.mark.parametrize("recipes", [LIGHT, pytest.param([*FILES], marks=pytest.mark.slow)], ids=["light", "all"])
def test_a_recipe_passes_the_tests_of_the_package_where_it_says(package: Path, recipes: list[str]) -> None:
    files = dict.fromkeys(file for name in recipes for file in FILES[name])
    names = "halfway or Halfway or alternate or Alternate or every-third or PriorTransformer or diffusers.repeated"
    whole = (
        "described_class_has or test_the_page_of_the_api or has_a_plan_in or nothing_is_cited or forecasters.halfway"
    )
    chosen = f"({names} or {whole}) and not (repeated and flux)"
    done = python(package, "-c", SCRIPT, str(package), *OPTIONS, "-k", chosen, *files, "tests/test_docs.py")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = [line for line in done.stdout.splitlines() if line.startswith("PASSED")]
    counts = Counter(name for line in passed for name, (pattern, _) in NAMES.items() if re.search(pattern, line))
    assert {name for name in recipes if counts[name] < NAMES[name][1]} == set(), counts
    assert any("test_the_page_of_the_api" in line for line in passed)


@pytest.mark.slow
@pytest.mark.fault("recipes")
def test_the_recipes_pass_all_tests_of_their_kind_and_the_linters(package: Path) -> None:
    files = dict.fromkeys(file for files in FILES.values() for file in files)
    more = ("tests/test_options.py", "tests/test_registry.py", "tests/test_layers.py", "tests/test_words.py")
    done = python(package, "-c", SCRIPT, str(package), *OPTIONS, "-m", "not slow", *files, *more)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    paths = [path for blocks in PLACES.values() for path in blocks if path.endswith(".py")]
    for command in (["ruff", "check", *paths], ["ruff", "format", "--check", *paths], ["mypy", "--strict", *paths]):
        done = python(package, "-m", *command)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_recipe_is_at_most_two_places() -> None:
    assert set(RECIPES) == set(NAMES) == {"forecaster", "policy", "method", "model", "rival", "metric"}
    assert all(1 <= len(blocks) <= 2 for blocks in PLACES.values())


class MyTransformer(nn.Module):
    """What the model recipe describes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(3))

    def forward(self, hidden_states: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        return hidden_states


class Layer(nn.Module):
    """A block whose calls are counted."""

    calls = 0

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        Layer.calls += 1
        return hidden_states + 1


def test_the_described_model_skips_its_blocks() -> None:
    names: dict[str, Any] = {}
    try:
        exec(compile(RECIPES["model"]["model"], "CONTRIBUTING.md", "exec", dont_inherit=True), names)
        model, Layer.calls = MyTransformer(), 0
        with torch.no_grad(), padecast.accelerate(model, policy="plan:steps=CC.", forecaster="reuse"):
            outputs = [model(torch.zeros(1, 4, 2), torch.tensor([t])) for t in (3.0, 2.0, 1.0)]
        assert Layer.calls == 2 * 3
        assert all(torch.equal(output, torch.full((1, 4, 2), 3.0)) for output in outputs)
    finally:
        targets.REGISTRY.pop("MyTransformer", None)


PATHS = set(re.findall(r"`((?:src|tests|benchmarks)/[\w./]+)`", TEXT)) | {*PLACES["method"], *PLACES["model"]}


@pytest.mark.parametrize("path", sorted(PATHS - NEW))
def test_every_path_that_it_names_exists(path: str) -> None:
    assert (ROOT / path).exists()
