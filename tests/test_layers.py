"""Imports run one way: a module imports from its own layer and from those below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import padecast
from padecast import _distribution

ROOT = Path(padecast.__file__).parent
LAYERS = (  # rooms, lowest first; "padecast" is the package's own face
    {"_errors", "_distribution", "files", "_options", "_noise", "_steps", "_geometry", "_registry", "_intercept"},
    {"memory"},
    {"forecasters"},
    {"policies"},
    {"methods"},
    {"session"},
    {"targets"},
    {"hooks", "lessons"},
    {"report"},
    {"handles"},
    {"calibration"},
    {"padecast", "zoo", "lab"},
    {"integrations"},
    {"cli", "__main__"},
)
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in ROOT.rglob("*.py")}


def part(module: str) -> str:
    """The top-level part that a module belongs to."""
    return [*module.split("."), "padecast"][1] if module != "padecast" else module


def statements(node: ast.AST, *, lazily: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports of a module but those for type checkers; those inside functions too if ``lazily``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from statements(ast.Module(child.orelse, type_ignores=[]), lazily=lazily)
        elif lazily or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from statements(child, lazily=lazily)


def imported(source: str, module: str, *, lazily: bool = True) -> set[str]:
    """The modules of padecast that a module imports."""
    package = module if module in MODULES and MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for statement in statements(ast.parse(source), lazily=lazily):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
            continue
        base = statement.module or ""
        if statement.level:
            above = package.split(".")[: len(package.split(".")) - statement.level + 1]
            base = ".".join([*above, *([base] if base else [])])
        for alias in statement.names:
            found.add(f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else origin(base, alias.name))
    return {name for name in found if name.split(".")[0] == "padecast"} - {module}


def origin(base: str, name: str) -> str:
    """Where a name comes from: what the package's face exports counts as the module that defines it."""
    if base != "padecast" or name == "__version__":
        return base if name != "__version__" else ""
    tree = ast.parse(MODULES[base].read_text(encoding="utf-8"))
    checked = [body for node in tree.body if isinstance(node, ast.If) for body in node.body]  # the rest is lazy
    for statement in (*statements(tree, lazily=False), *checked):
        if isinstance(statement, ast.ImportFrom) and name in {alias.asname or alias.name for alias in statement.names}:
            return statement.module or base
    return base


def upward(source: str, module: str) -> list[str]:
    return sorted(name for name in imported(source, module) if HEIGHT[part(name)] > HEIGHT[part(module)])


def test_every_module_has_a_layer() -> None:
    assert {part(module) for module in MODULES} - set(HEIGHT) == set()


def test_imports_run_downwards() -> None:
    against = {module: upward(path.read_text(encoding="utf-8"), module) for module, path in MODULES.items()}
    assert {module: names for module, names in against.items() if names} == {}


def is_added(module: str) -> bool:
    """Whether a module comes with the second distribution."""
    return any(module == name or module.startswith(f"{name}.") for name in _distribution.MODULES)


def additions(source: str, module: str) -> list[str]:
    """What a module of the first distribution imports from the second, also inside functions."""
    return sorted(name for name in imported(source, module) if is_added(name)) * (not is_added(module))


def test_the_library_never_imports_from_the_second_distribution() -> None:
    against = {module: additions(path.read_text(encoding="utf-8"), module) for module, path in MODULES.items()}
    del against["padecast.__main__"]  # which says how to get it
    assert {module: names for module, names in against.items() if names} == {}


@pytest.mark.parametrize(
    ("source", "module", "found"),
    [
        ("def f():\n    from padecast import zoo", "padecast.handles.handle", ["padecast.zoo"]),
        ("from padecast.integrations.ray import Cluster", "padecast.report", ["padecast.integrations.ray"]),
        ("import padecast.lab.tuning", "padecast", ["padecast.lab.tuning"]),
        ("from padecast import zoo", "padecast.lab.runner", []),
        ("import typer", "padecast.report", []),
    ],
)
def test_this_test_sees_what_is_not_installed(source: str, module: str, found: list[str]) -> None:
    assert additions(source, module) == found


def test_the_library_needs_no_package_of_the_second_distribution() -> None:
    brought = {"typer", "click", "rich", "matplotlib", "PIL", "jinja2", "torchmetrics", "ray"}
    library = {module: path for module, path in MODULES.items() if not is_added(module)}
    needed = {module: tops(path.read_text(encoding="utf-8")) & brought for module, path in library.items()}
    assert len(library) > 100 and {module: names for module, names in needed.items() if names} == {}


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        module: imported(path.read_text(encoding="utf-8"), module, lazily=False) - {"padecast"}
        for module, path in MODULES.items()
    }
    circle: list[str] = []
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert not circle, " -> ".join(circle)


def test_nothing_below_the_attachment_knows_a_model_library() -> None:
    for module, path in MODULES.items():
        if HEIGHT[part(module)] < HEIGHT["hooks"]:
            names = [
                alias.name if isinstance(statement, ast.Import) else statement.module
                for statement in statements(ast.parse(path.read_text(encoding="utf-8")), lazily=True)
                for alias in statement.names
            ]
            assert not {str(name).split(".")[0] for name in names} & {"diffusers", "transformers", "numpy"}, module


def tops(source: str) -> set[str]:
    """The packages that a module imports from, also inside functions."""
    return {
        name.split(".")[0]
        for statement in statements(ast.parse(source), lazily=True)
        for name in (
            [alias.name for alias in statement.names]
            if isinstance(statement, ast.Import)
            else [statement.module or ""] * (not statement.level)
        )
    }


def test_nothing_in_the_package_needs_what_lies_beside_it() -> None:
    beside = {"demos", "benchmarks", "tests", "tools"}
    found = {module: tops(path.read_text(encoding="utf-8")) & beside for module, path in MODULES.items()}
    assert {module for module, names in found.items() if names} == set()
    assert tops("def f():\n    from demos.scenes import build\nimport tools.figures") == {"demos", "tools"}


@pytest.mark.parametrize(
    ("source", "module", "found"),
    [
        ("from padecast.session.session import Session", "padecast.policies.base", ["padecast.session.session"]),
        ("from padecast import Session", "padecast.policies.base", ["padecast.session.session"]),
        ("from padecast import policies", "padecast.forecasters.pade", ["padecast.policies"]),
        ("import padecast.cli", "padecast.lab.runner", ["padecast.cli"]),
        ("import padecast", "padecast.report", ["padecast"]),
        ("def f():\n    from padecast import zoo", "padecast.report", ["padecast.zoo"]),
        ("from ..policies import Plan", "padecast.forecasters.pade", ["padecast.policies"]),
        ("from .. import policies", "padecast.forecasters", ["padecast.policies"]),
        ("from .policies import Plan", "padecast._steps", ["padecast.policies"]),
        ("from .lagrange import Lagrange", "padecast.forecasters", []),
        ("from padecast import __version__", "padecast._steps", []),
        ("from padecast.forecasters import Pade", "padecast.policies.tolerance", []),
        ("if TYPE_CHECKING:\n    from padecast.cli import app", "padecast._steps", []),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    from padecast.cli import app", "padecast._steps", ["padecast.cli"]),
        ("import torch\nfrom math import inf", "padecast._steps", []),
    ],
)
def test_this_test_sees_what_it_should(source: str, module: str, found: list[str]) -> None:
    assert upward(source, module) == found
