"""What is installed, pinned and promised outside the source agrees with the source."""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import padecast

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
TARGETS = {"help", "demo", "test", "check", "slow", "fuzz", "docs", "ray", "quantized", "format", "bench", "comparison"}
TARGETS |= {"claims", "calibrations", "train-digits", "train-scenes", "train-motion"}


def settings() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def project() -> dict[str, Any]:
    return settings()["project"]


def distribution(requirement: str) -> str:
    """The distribution a requirement or pin names: `Pillow>=10; …` -> `pillow`."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def prose() -> list[Path]:
    """Everything that may tell a reader what to install."""
    nested = [
        path for folder in ("docs", "examples", "benchmarks", "demos", "src") for path in (ROOT / folder).rglob("*")
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
        (extra.strip(), str(path.relative_to(ROOT)))
        for path in prose()
        for group in re.findall(r"padecast\[([a-z, -]+)\]", path.read_text(encoding="utf-8"))
        for extra in group.split(",")
    }
    extras = set(project()["optional-dependencies"])
    assert {(extra, path) for extra, path in mentioned if extra not in extras} == set()


def test_the_wheel_holds_the_package_alone() -> None:
    assert settings()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/padecast"]


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
