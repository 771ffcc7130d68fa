"""What is installed, pinned and promised outside the source agrees with the source."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import padecast
from padecast import _distribution

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
TARGETS = {"help", "demo", "test", "check", "slow", "fuzz", "docs", "ray", "quantized", "format", "bench", "pages"}
TARGETS |= {
    "comfy",
    "comfy-engine",
    "comfy-server",
    "comfy-versions",
    "load",
    "servers",
    "gpu",
    "gpu-wheels",
    "comparison",
    "claims",
    "calibrations",
    "train-digits",
    "train-scenes",
    "train-motion",
    "release",
}


LAB = ROOT / "packages" / "lab"


def settings(folder: Path = ROOT) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def project(folder: Path = ROOT) -> dict[str, Any]:
    return settings(folder)["project"]


def distribution(requirement: str) -> str:
    """The distribution a requirement or pin names: `Pillow>=10; …` -> `pillow`."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def prose() -> list[Path]:
    """Everything that may tell a reader what to install."""
    nested = [
        path
        for folder in ("docs", "examples", "benchmarks", "demos", "packages", "src")
        for path in (ROOT / folder).rglob("*")
    ]
    return [
        *(path for path in [*ROOT.iterdir(), *nested] if path.suffix in {".md", ".py"}),
        ROOT / "Makefile",
        ROOT / "constraints.txt",
    ]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("CHANGELOG.md", r"^## \[([^\]]+)\]"), ("CITATION.cff", r"^version: (\S+)$")],
)
def test_the_latest_version_elsewhere_is_the_version(name: str, pattern: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    found = [version for version in re.findall(pattern, text, flags=re.MULTILINE) if version != "Unreleased"]
    assert found[0] == padecast.__version__


def test_constraints_pin_exact_versions_and_name_no_index() -> None:
    exact = re.compile(r'[\w.-]+==[\w.]+(; python_version (>=|<) "3\.11")?')
    assert [pin for pin in pins() if not exact.fullmatch(pin)] == []


def test_every_direct_dependency_is_pinned() -> None:
    groups = [project()["dependencies"], *project()["optional-dependencies"].values()]
    wanted = {distribution(requirement) for group in groups for requirement in group}
    assert "torch" in wanted
    assert wanted - {"padecast"} - {distribution(pin) for pin in pins()} == set()


def test_every_extra_that_is_mentioned_exists() -> None:
    mentioned = {
        (name, extra.strip(), str(path.relative_to(ROOT)))
        for path in prose()
        for name, group in re.findall(r"(padecast(?:-lab)?)\[([a-z, -]+)\]", path.read_text(encoding="utf-8"))
        for extra in group.split(",")
    }
    extras = {folder["name"]: set(folder["optional-dependencies"]) for folder in (project(), project(LAB))}
    assert {name for name, _, _ in mentioned} == set(extras)
    assert {mention for mention in mentioned if mention[1] not in extras[mention[0]]} == set()


def test_the_wheel_holds_the_package_alone() -> None:
    assert settings()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/padecast"]


# Two wheels of one source tree ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    """The tool that counts."""
    spec = importlib.util.spec_from_file_location("figures", ROOT / "tools" / "figures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def alone(figures: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the first wheel holds."""
    folder = tmp_path_factory.mktemp("alone")
    for name, path in figures.list_wheel(ROOT).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / name)
    return folder


def run_alone(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_the_library_is_small(figures: ModuleType) -> None:
    measured = figures.wheel_figures(ROOT)
    # What learns came after the bound.
    rooms = {"handles": ("learning.py", "gains.py"), "policies": ("learned.py", "watchful.py")}
    parts = [figures.SOURCE / room / name for room, names in rooms.items() for name in names]
    lessons = figures.lines([*figures.sources(figures.SOURCE / "lessons"), *parts])
    # 500 of them cheap calibrations, 400 rivals, 950 samplers without a pipeline (noise levels, stages), 1,050 the
    # Hub (files of repositories, their pages and pictures, failures in words), 850 ComfyUI, 510 serving systems, 450
    # models, and 280 what samplers pay back whose steps are taken once.
    assert 10_000 < measured["lines"] - lessons <= 21_630
    assert sum(path.stat().st_size for path in figures.list_wheel(ROOT).values()) == measured["bytes"] < 2_000_000


def test_the_wheels_share_no_file_and_leave_none_out(figures: ModuleType) -> None:
    first, second = figures.list_wheel(ROOT), figures.list_wheel(LAB)
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in figures.SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert not first.keys() & second.keys() and first.keys() | second.keys() == source


def test_the_library_knows_what_the_second_wheel_adds(figures: ModuleType) -> None:
    modules = {name.removesuffix(".py").replace("/", ".") for name in figures.list_wheel(LAB) if name.endswith(".py")}
    assert all(any(f"{module}.".startswith(f"{name}.") for name in _distribution.MODULES) for module in modules)
    assert project(LAB)["name"] == _distribution.NAME


def test_both_wheels_are_built_as_they_are_counted(figures: ModuleType, tmp_path: Path) -> None:
    builders = pytest.importorskip("hatchling.builders.wheel", reason="of the extra dev")
    described = {}
    for name, folder in figures.PROJECTS.items():
        (path,) = builders.WheelBuilder(str(folder)).build(directory=str(tmp_path), versions=["standard"])
        with zipfile.ZipFile(path) as wheel:
            metadata = f"{name.replace('-', '_')}-{padecast.__version__}.dist-info"
            held = {entry.filename: entry.file_size for entry in wheel.infolist()}
            described[name] = Parser().parsestr(wheel.read(f"{metadata}/METADATA").decode())
            assert (f"{metadata}/entry_points.txt" in held) == (name == "padecast")
        package = {file: size for file, size in held.items() if not file.startswith(metadata)}
        assert package == {file: path.stat().st_size for file, path in figures.list_wheel(folder).items()}
    assert {text["Version"] for text in described.values()} == {padecast.__version__}
    needs = {
        name: {distribution(line) for line in text.get_all("Requires-Dist") if "extra ==" not in line}
        for name, text in described.items()
    }
    assert needs["padecast"] == {"torch", "numpy", "safetensors", "filelock", "platformdirs"}
    assert {"padecast", "typer", "rich"} < needs["padecast-lab"]


def test_the_second_wheel_asks_for_what_a_checkout_asks_for() -> None:
    first, second = project()["optional-dependencies"], project(LAB)
    of_lab = {*first["cli"], *first["lab"]} - {"padecast[cli]"}
    assert set(second["dependencies"]) == {f"padecast[diffusers]=={padecast.__version__}", *of_lab}
    for name, requirements in second["optional-dependencies"].items():
        assert requirements == [line for line in first[name] if not line.startswith("padecast[")]
    assert second["requires-python"] == project()["requires-python"]


def test_the_licence_is_the_same() -> None:
    assert (LAB / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_library_alone_works_and_says_what_is_not_there(alone: Path) -> None:
    script = """
import importlib, json, runpy, sys
sys.modules |= dict.fromkeys(("typer", "click", "rich", "matplotlib", "PIL", "jinja2", "torchmetrics"))
import torch, padecast
from padecast import *
session = padecast.Session(padecast.policies.Interval(every=3), padecast.forecasters.TCPade(), total=6)
for index in range(6):
    session.step(torch.ones(1, 4), index=index, compute=lambda: torch.ones(1, 4))
said = {"forecast": str(padecast.Report.of(session).plan), "at": padecast.__file__}
def note(name, act):
    try:
        act()
    except (ImportError, SystemExit) as error:
        said[name] = [type(error).__name__, str(error), getattr(error, "name", None)]
for name in ("lab", "zoo"):
    note(f"padecast.{name}", lambda: getattr(padecast, name))
    note(f"from padecast import {name}", lambda: exec(f"from padecast import {name}"))
for name in ("padecast.lab", "padecast.lab.tuning", "padecast.zoo", "padecast.cli", "padecast.integrations.ray"):
    note(f"import {name}", lambda: importlib.import_module(name))
note("python -m padecast", lambda: runpy.run_module("padecast", run_name="__main__"))
from padecast.__main__ import main
note("padecast", main)
print(json.dumps(said))
"""
    done = run_alone(alone, script)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said.pop("forecast") == "C..C.C" and Path(said.pop("at")).is_relative_to(alone)
    assert len(said) == 11
    for text in said.values():
        assert text[1].endswith("comes with another distribution: pip install padecast-lab")
        assert "\n" not in text[1]
    assert said["import padecast.lab.tuning"][::2] == ["MissingPackage", "padecast.lab"]
    assert said["padecast"][0] == said["python -m padecast"][0] == "SystemExit"


def test_a_checkout_without_the_packages_of_the_command_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from padecast.__main__ import main

    for name in [name for name in sys.modules if name.startswith("padecast.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit, match=r"needs the package 'typer'.*\n.*pip install padecast-lab"):
        main()


def test_types_ship() -> None:
    assert files("padecast").joinpath("py.typed").is_file()


def test_the_readme_is_on_the_package_page() -> None:
    assert (project().get("readme") == "README.md") == (ROOT / "README.md").is_file()


def test_make_targets_exist_and_say_what_they_do() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    described = set(re.findall(r"^([a-z-]+):.*## \S", text, flags=re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)
    assert phony is not None
    assert described == set(phony.group(1).split()) == TARGETS
