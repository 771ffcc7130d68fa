"""The three recipes of CONTRIBUTING.md do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import padecast
from padecast import Geometry, Position, policies, targets

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FORECASTER, POLICY = "src/padecast/forecasters/halfway.py", "src/padecast/policies/alternate.py"


def code(title: str) -> str:
    """The code block of a title."""
    (found,) = re.findall(rf'```python title="{re.escape(title)}"\n(.*?)```', TEXT, flags=re.DOTALL)
    return str(found)


def recipe(title: str) -> dict[str, Any]:
    """Run the code block of one recipe and return its names."""
    names: dict[str, Any] = {"__name__": f"recipe_{Path(title).stem}"}
    exec(compile(code(title), f"CONTRIBUTING.md, {title}", "exec", dont_inherit=True), names)
    return names


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with both recipes put where they say."""
    copy = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("weights", "calibrations", "__pycache__")
    shutil.copytree(ROOT / "src" / "padecast", copy / "src" / "padecast", ignore=ignored)
    shutil.copytree(ROOT / "tests", copy / "tests", ignore=ignored)
    for title in (FORECASTER, POLICY):
        (copy / title).write_text(code(title), encoding="utf-8")
        enrolled(copy, str(Path(title).parent / "__init__.py"))
    (row,) = re.findall(r'`("alternate": "[C.]+")`', TEXT)
    plans = copy / "tests" / "policies" / "test_plans.py"
    plans.write_text(plans.read_text(encoding="utf-8").replace("TABLE = {\n", f"TABLE = {{\n    {row},\n", 1))
    return copy


def enrolled(copy: Path, face: str) -> None:
    """Put the three lines of a recipe into the face of its package."""
    imported, *others = [line.split("  #")[0] for line in code(face).splitlines() if line.strip()]
    registered, exported = others
    text = (copy / face).read_text(encoding="utf-8")
    first = re.search(r"^from padecast\.(?:forecasters|policies)\.", text, flags=re.MULTILINE)
    assert first is not None
    text = f"{text[: first.start()]}{imported}\n{text[first.start() :]}"
    text = re.sub(r'(\n    \{\n)(        ")', rf"\1        {registered}\n\2", text, count=1)
    text = re.sub(r"(__all__ = \[\n)", rf"\1    {exported}\n", text, count=1)
    (copy / face).write_text(text, encoding="utf-8")


def python(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the copy in place of the package."""
    environment = {**os.environ, "PYTHONPATH": str(package / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.fault("recipes")
def test_both_recipes_pass_the_tests_of_the_package_when_they_are_put_where_they_say(package: Path) -> None:
    files = ("tests/forecasters/test_contract.py", "tests/policies/test_contract.py", "tests/policies/test_plans.py")
    more = ("tests/test_surface.py", "tests/test_layers.py", FORECASTER, POLICY)
    chosen = "halfway or Halfway or alternate or Alternate or variants or the_table"
    config = ("-c", "/dev/null", "--rootdir", ".", "--import-mode=importlib", "--doctest-modules")
    quiet = ("-q", "-p", "no:cacheprovider", "-k", chosen)
    done = python(package, "-m", "pytest", *config, *quiet, *files, *more)
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0 and passed is not None and int(passed[1]) > 30, done.stdout[-3000:]


LINES = """
import padecast.forecasters.halfway
import padecast
from padecast import forecasters, policies
assert forecasters.Halfway() == forecasters.REGISTRY.make("halfway")
alternate = policies.REGISTRY.make("alternate")
assert policies.plan_of(alternate, 8) == policies.plan_of(policies.Alternate(), 8) == "C.C.C.CC"
padecast.Session(padecast.policies.Alternate(), padecast.forecasters.Halfway(), 4)
padecast.Method("mine", policies.Alternate(), forecasters.Halfway(), "mine")
"""


@pytest.mark.fault("recipes")
def test_parts_of_the_recipes_are_found_under_their_names(package: Path) -> None:
    done = python(package, "-c", LINES)
    assert done.returncode == 0, done.stderr


@pytest.mark.fault("recipes")
@pytest.mark.parametrize("name", [*padecast.forecasters.REGISTRY, *padecast.policies.REGISTRY])
def test_every_part_is_a_member_of_the_page_that_the_recipe_names(name: str) -> None:
    registry = padecast.forecasters.REGISTRY if name in padecast.forecasters.REGISTRY else padecast.policies.REGISTRY
    members = re.findall(r"members: \[(.*?)\]", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"))
    assert any(registry[name].__name__ in listed.split(", ") for listed in members)


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


def test_the_forecaster_is_half_of_linear_extrapolation() -> None:
    forecaster = recipe(FORECASTER)["Halfway"]()
    weights = forecaster.weights(Geometry((4, 0), (4.0, 0.0)), Position.at(6, 20))
    assert weights.tolist() == [1.25, -0.25]
    assert forecaster.weights(Geometry((0,), (0.0,)), Position.at(1, 20)).tolist() == [1.0]


def test_the_policy_computes_every_other_step_and_the_last() -> None:
    assert policies.plan_of(recipe(POLICY)["Alternate"](), 8) == "C.C.C.CC"


def test_the_described_model_skips_its_blocks() -> None:
    try:
        recipe("model")
        model, Layer.calls = MyTransformer(), 0
        with torch.no_grad(), padecast.accelerate(model, policy="plan:steps=CC.", forecaster="reuse"):
            outputs = [model(torch.zeros(1, 4, 2), torch.tensor([t])) for t in (3.0, 2.0, 1.0)]
        assert Layer.calls == 2 * 3
        assert all(torch.equal(output, torch.full((1, 4, 2), 3.0)) for output in outputs)
    finally:
        targets.REGISTRY.pop("MyTransformer", None)


PATHS = set(re.findall(r"`((?:src|tests|benchmarks)/[\w./]+)`", TEXT)) - {FORECASTER, POLICY}


@pytest.mark.parametrize("path", sorted(PATHS))
def test_every_path_that_it_names_exists(path: str) -> None:
    assert (ROOT / path).exists()
