"""What users may rely on: exactly these names, each of them documented with an example that runs."""

from __future__ import annotations

import builtins
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import padecast
from padecast import _errors, forecasters, lessons, policies, targets, zoo

PUBLIC = {
    "AlreadyAccelerated",
    "Calibration",
    "CalibrationMismatch",
    "ConcurrentRun",
    "DamagedFile",
    "FeatureChanged",
    "Geometry",
    "Grid",
    "Handle",
    "HubError",
    "InvalidOption",
    "InvalidPlan",
    "Method",
    "MissingFile",
    "MissingPackage",
    "MissingWeights",
    "PadecastError",
    "PadecastWarning",
    "Position",
    "Rehearsal",
    "Report",
    "Session",
    "Trace",
    "UnknownName",
    "UnsupportedModel",
    "UnwritableFile",
    "accelerate",
    "calibrate",
    "cite",
    "disable",
    "enable",
    "forecasters",
    "lessons",
    "measure_gains",
    "method",
    "methods",
    "policies",
    "rehearse",
    "targets",
}
MODULES = (padecast, forecasters, lessons, policies, targets, zoo)
NAMED = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in MODULES
    for name in module.__all__
    if callable(getattr(module, name))
}
ERRORS = {name: part for name, part in NAMED.items() if isinstance(part, type) and issubclass(part, BaseException)}
DOCUMENTED = {name: part for name, part in NAMED.items() if name not in ERRORS}
MADE_FOR_USERS = {"padecast.Handle"}  # got from accelerate, never constructed: its parameters are not documented

# Registry lines without a source to name, and why.
ELEMENTARY = {
    "blend": "arithmetic on the weights of two others",
    "oracle": "the true residual, for tests and plots",
    "always": "the untouched model",
    "plan": "the user's own",
    "ends": "overrules another policy at the ends",
    "cap": "overrules another policy in between",
    "window": "overrules another policy outside a part of the run",
    "anchors": "overrules another policy at the user's own steps",
}

every_part = pytest.mark.parametrize(("name", "part"), DOCUMENTED.items(), ids=list(DOCUMENTED))
every_line = pytest.mark.parametrize(
    ("name", "part"),
    [(name, part) for registry in (forecasters.REGISTRY, policies.REGISTRY) for name, part in registry.items()],
)


def doc(part: Any) -> str:
    assert part.__doc__, f"{part.__name__} has no docstring of its own"
    return inspect.cleandoc(part.__doc__)


def section(text: str, title: str) -> str:
    """The indented lines under a title of a docstring."""
    found = re.search(rf"^{title}:\n((?:[ ]+.*\n?|\n)+)", text + "\n", flags=re.MULTILINE)
    return found.group(1) if found else ""


def parameters(part: Callable[..., Any]) -> list[str]:
    if dataclasses.is_dataclass(part):
        return [field.name for field in dataclasses.fields(part) if field.init]
    return [name for name in inspect.signature(part).parameters if name != "self"]


def test_the_public_names_are_exactly_these() -> None:
    assert set(padecast.__all__) == PUBLIC and padecast.__all__ == sorted(PUBLIC)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_what_is_exported_is_there_and_what_is_not_is_private_or_a_module(module: ModuleType) -> None:
    assert len(module.__all__) == len(set(module.__all__))
    exported = {name: getattr(module, name) for name in module.__all__}
    others = {name for name in vars(module) if not name.startswith("_")} - set(exported)
    if module is padecast:
        assert {name for name in others if not inspect.ismodule(getattr(module, name))} == set()
    assert all(not name.startswith("_") for name in exported)


def test_a_star_import_brings_the_public_names() -> None:
    namespace: dict[str, Any] = {}
    exec("from padecast import *", namespace)
    assert set(namespace) - {"__builtins__"} == PUBLIC


IMPORTS = """
import sys, padecast
assert not {'torch', 'numpy', 'padecast.lab', 'padecast.zoo', 'typer'} & set(sys.modules), "the package alone"
from padecast.cli import app
try:
    app(['--help'])
except SystemExit:
    pass
assert not {'torch', 'numpy'} & set(sys.modules), "help"
absent = dict.fromkeys(("diffusers", "transformers", "padecast.zoo", "padecast.lab"))
sys.modules |= absent
from padecast.integrations import comfy
assert comfy.attach, "which needs neither diffusers nor a demo model"
for name in absent:
    del sys.modules[name]
assert padecast.zoo.load and 'diffusers' not in sys.modules, "the zoo"
try:
    app(['methods'])
except SystemExit:
    pass
heavy = {'diffusers', 'transformers', 'matplotlib', 'torchmetrics', 'sklearn', 'PIL'} & set(sys.modules)
assert not heavy, heavy
assert padecast.lab.Task and not hasattr(padecast, 'nonesuch')
"""
"""In one process: each would take seconds to import torch."""


def test_lab_zoo_and_what_is_heavy_are_imported_when_they_are_needed() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_functions_are_not_hidden_by_the_modules_that_hold_them() -> None:
    importlib.import_module("padecast.methods")
    assert inspect.isfunction(padecast.methods) and inspect.isfunction(padecast.method)


@pytest.mark.fault("hidden modules")
@pytest.mark.parametrize("name", ["REGISTRY", "DEFAULT", "METHODS", "Method", "method", "methods"])
def test_what_a_hidden_module_holds_is_found_at_the_function_that_hides_it(name: str) -> None:
    module = importlib.import_module("padecast.methods")
    from padecast import methods

    assert getattr(methods, name) is getattr(module, name) and module is not methods


@pytest.mark.fault("hidden modules")
@pytest.mark.parametrize(
    "line",
    [
        "from padecast import methods; assert methods.REGISTRY and 'fora' in methods()",
        "import padecast; import padecast.methods; assert 'fora' in padecast.methods()",
        "from padecast.methods import REGISTRY; import padecast; assert padecast.methods() == REGISTRY",
        "import padecast.calibration as c; assert callable(c.calibrate) and not hasattr(c.calibrate, '__path__')",
        "import inspect, padecast; assert inspect.isfunction(padecast.calibrate)",
        "import padecast.calibration, inspect; assert inspect.isfunction(padecast.calibration.calibrate)",
        "from importlib import import_module as m; assert m('padecast.calibration._calibrate').calibrate",
    ],
)
def test_names_of_functions_and_modules_are_told_apart(line: str) -> None:
    exec(line, {})


@pytest.mark.fault("keywords of enable")
def test_enable_takes_the_keywords_of_accelerate() -> None:
    one, other = (inspect.signature(part, eval_str=False) for part in (padecast.accelerate, padecast.enable))
    assert one.parameters == other.parameters and one.return_annotation == other.return_annotation


@pytest.mark.fault("keywords of enable")
@pytest.mark.parametrize("wrong", ["offlod=True", "step=20", "polcy='always'", "computd=8", "Method='fora'", "nfe=8"])
def test_a_keyword_that_is_misspelt_is_refused_by_both(wrong: str) -> None:
    for name in ("accelerate", "enable"):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            eval(f"padecast.{name}(None, {wrong})")


@pytest.mark.slow
@pytest.mark.fault("keywords of enable")
def test_a_type_checker_finds_a_misspelt_keyword_of_either(tmp_path: Path) -> None:
    script = tmp_path / "user.py"
    script.write_text("import padecast\npadecast.accelerate(None, offlod=True)\npadecast.enable(None, offlod=True)\n")
    done = subprocess.run([sys.executable, "-m", "mypy", str(script)], capture_output=True, text=True, check=False)
    assert [line for line in (2, 3) if f"user.py:{line}: error" in done.stdout] == [2, 3], done.stdout


@every_part
def test_a_docstring_begins_with_a_sentence(name: str, part: Any) -> None:
    first = doc(part).split("\n\n")[0]
    assert first[0].isupper() and first.rstrip()[-1] in ".:" and len(first) < 240


@every_part
def test_a_docstring_has_an_example_that_runs(name: str, part: Any) -> None:
    assert ">>>" in section(doc(part), "Example")


@every_part
def test_every_parameter_is_documented(name: str, part: Any) -> None:
    if name == "padecast.enable":  # takes what accelerate takes, which its text says
        assert inspect.signature(part) == inspect.signature(padecast.accelerate) and ":func:`accelerate`" in doc(part)
        return
    described = section(doc(part), "Args")
    wanted = [] if name in MADE_FOR_USERS or inspect.isabstract(part) else parameters(part)
    assert [p for p in wanted if not re.search(rf"^    {p}: \S", described, flags=re.MULTILINE)] == []
    assert set(re.findall(r"^    (\w+): ", described, flags=re.MULTILINE)) <= set(wanted)


@every_part
def test_public_methods_are_documented(name: str, part: Any) -> None:
    if not inspect.isclass(part):
        assert inspect.isfunction(part)
        return
    own = {n: m for n, m in vars(part).items() if not n.startswith("_") and (callable(m) or isinstance(m, property))}
    assert [n for n, member in own.items() if not member.__doc__] == []


@every_line
def test_a_registry_line_is_exported_and_documented(name: str, part: Any) -> None:
    module = forecasters if name in forecasters.REGISTRY else policies
    assert part.__name__ in module.__all__
    text = doc(part)
    assert section(text, "Example")
    if "__post_init__" in vars(part):
        assert re.search(r"InvalidOption|InvalidPlan", section(text, "Raises"))


@every_line
def test_a_registry_line_names_its_source_or_needs_none(name: str, part: Any) -> None:
    source = section(doc(part), "Reference")
    assert bool(source) != (name in ELEMENTARY)
    assert not source or re.search(r"arXiv:\d{4}\.\d{5}|\d{4}|Ours", source)


def test_the_contract_of_a_forecaster_has_six_members() -> None:
    members = {name for name in vars(forecasters.Forecaster) if not name.startswith("_")}
    assert members == {"needs_gram", "needs_stride", "sums_to_one", "window", "extra", "weights"}


def test_every_method_says_what_it_is_and_whom_to_cite() -> None:
    for name, method in padecast.methods().items():
        assert method.name == name and method.summary and method.cites


# Errors --------------------------------------------------------------------------------------------------------------


def test_the_tree_of_errors_is_the_one_that_is_drawn() -> None:
    text = inspect.cleandoc(_errors.__doc__ or "")
    drawn = dict(re.findall(r"^\s+[├└]── (\w+)\s*\((\w+)\)", text, flags=re.MULTILINE))
    there = {
        name: part
        for name, part in vars(_errors).items()
        if isinstance(part, type) and issubclass(part, _errors.PadecastError) and part is not _errors.PadecastError
    }
    assert set(drawn) == set(there)
    for name, base in drawn.items():
        assert there[name].__bases__ == (_errors.PadecastError, getattr(builtins, base))
    assert re.search(r"PadecastWarning\s+\(UserWarning\)", text) and issubclass(padecast.PadecastWarning, UserWarning)


def test_every_error_is_public_and_documented() -> None:
    raised = {part for part in vars(_errors).values() if isinstance(part, type) and issubclass(part, BaseException)}
    assert raised == set(ERRORS.values())
    assert all(doc(part).endswith(".") for part in raised)


@pytest.mark.parametrize("name", [name for name in ERRORS if not name.endswith("Warning")])
def test_an_error_prints_the_message_it_was_given(name: str) -> None:
    message = "the fact.\nThe remedy: 'paste this'"
    assert str(ERRORS[name](message)) == message
    with pytest.raises(padecast.PadecastError):
        raise ERRORS[name](message)
