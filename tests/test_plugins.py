"""What users register of their own is known by name everywhere, from a file that the command line is given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.lab.tiny import digits
from typer.testing import CliRunner

import padecast
from padecast import InvalidOption, MissingFile, MissingPackage, forecasters, methods, policies
from padecast.cli import app
from padecast.forecasters import Forecaster, Reuse
from padecast.lab.experiment import read
from padecast.lab.origins import origin
from padecast.methods import plugins
from padecast.methods.plugins import load_plugin
from padecast.policies import Interval, Policy

SOURCE = """
from dataclasses import dataclass
import torch
from padecast import Method, forecasters, methods, policies
from padecast.policies import Interval

@forecasters.register("mean-of-some")
@dataclass(frozen=True)
class MeanOfSome(forecasters.Forecaster):
    count: int = 2

    @property
    def window(self):
        return self.count

    def weights(self, geometry, at):
        size = min(len(geometry), self.count)
        return torch.cat([torch.full((size,), 1 / size), torch.zeros(len(geometry) - size)]).double()

@policies.register("at-even-steps")
@dataclass(frozen=True)
class AtEvenSteps(policies.Policy):
    def computes(self, at, trace, geometry):
        return at.index % 2 == 0

methods.register(Method("averaging", Interval(every=2), MeanOfSome(3), "means of three"))
"""


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(plugins, "_PLUGINS", {})  # other tests of this process may have run some
    yield
    for registry in (forecasters.REGISTRY, policies.REGISTRY):
        for name in set(registry) - SHIPPED[registry.kind]:
            registry.remove(name)
    for name in set(methods.REGISTRY) - SHIPPED["method"]:
        del methods.REGISTRY[name]
    for name in [name for name in sys.modules if name.startswith("padecast_plugin_")]:
        del sys.modules[name]


SHIPPED = {
    "forecaster": set(forecasters.REGISTRY),
    "policy": set(policies.REGISTRY),
    "method": {method.name for method in methods.METHODS},
}


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def sample(pipe: Any) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    images: torch.Tensor = pipe([3], 6, generator=torch.Generator().manual_seed(1), output_type="pt").images
    return images


def test_what_a_plugin_registers_is_asked_for_by_name_with_options(plugin: Path) -> None:
    module = load_plugin(str(plugin))
    pipe = digits()
    with padecast.accelerate(pipe, policy="at-even-steps", forecaster="mean-of-some:count=1") as run:
        images = sample(pipe)
    with padecast.accelerate(pipe, policy="plan:steps=C.C.C.", forecaster="reuse") as other:
        assert torch.equal(sample(pipe), images)
    assert run.report.plan == other.report.plan
    assert methods.method("averaging:count=2,every=3").forecaster == module.MeanOfSome(2)
    assert load_plugin(str(plugin)) is module, "a plugin runs once"


def test_the_command_line_knows_what_a_plugin_registers(plugin: Path) -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["methods", "averaging", "--plugin", str(plugin), "--json"])
    assert shown.exit_code == 0 and "mean-of-some" in shown.output, shown.output
    assert "--plugin" in runner.invoke(app, ["compare", "--help"]).output
    wrong = runner.invoke(app, ["methods", "--plugin", str(plugin.with_name("mime.py"))])
    assert wrong.exit_code != 0 and "mine.py" in wrong.output


EXPERIMENT = """
methods = ["averaging"]
seeds = [0]
plugins = [{plugin!r}]
[[pipelines]]
name = "digits"
source = "digits"
[[settings]]
name = "few"
steps = 4
"""


def test_an_experiment_names_its_plugins(plugin: Path, tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text(EXPERIMENT.format(plugin=str(plugin)).replace("'", '"'), encoding="utf-8")
    assert read(path).methods == ("averaging",)
    before = origin("digits", "averaging")
    plugin.write_text(SOURCE.replace("1 / size", "0.5"), encoding="utf-8")
    assert origin("digits", "averaging") != before, "a cell is measured again where the plugin has changed"
    assert plugins.list_plugins() == (str(plugin.resolve()),)


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("import nowhere_to_be_found", MissingPackage, "'nowhere_to_be_found'"),
        ("x = 1\n1 / 0", InvalidOption, "stopped with ZeroDivisionError: division by zero\nIn line 2 of mine.py"),
        ("def f(:", InvalidOption, "SyntaxError"),
        ("from padecast import policies\npolicies.register('plan')(int)", InvalidOption, "is no class of a policy"),
    ],
)
def test_a_plugin_that_fails_is_named_and_leaves_nothing(
    plugin: Path, source: str, error: type[Exception], words: str
) -> None:
    plugin.write_text(source, encoding="utf-8")
    with pytest.raises(error) as caught:
        load_plugin(str(plugin))
    assert words in str(caught.value) and "mine.py" in str(caught.value)
    assert not any(name.startswith("padecast_plugin_") for name in sys.modules) and not plugins.list_plugins()
    plugin.write_text(SOURCE, encoding="utf-8")
    load_plugin(str(plugin))


def test_a_plugin_that_is_not_there_is_missed(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"mine\.py"):
        load_plugin(str(tmp_path / "mine.py"))
    with pytest.raises(MissingPackage, match="no_such_module"):
        load_plugin("no_such_module")


@dataclass(frozen=True)
class Mine(Forecaster):
    def weights(self, geometry: Any, at: Any) -> torch.Tensor:
        return torch.ones(1)


class Thawed(Policy):
    def computes(self, at: Any, trace: Any, geometry: Any) -> bool:
        return True


@pytest.mark.parametrize(
    ("register", "words"),
    [
        (lambda: forecasters.register("Mine")(Mine), "'Mine' is no name of a forecaster"),
        (lambda: forecasters.register("a:b")(Mine), "is no name of a forecaster"),
        (lambda: forecasters.register("reuse")(Mine), "the name 'reuse' is that of the forecaster Reuse"),
        (lambda: policies.register("mine")(Mine), "is no class of a policy"),  # type: ignore[type-var]
        (lambda: forecasters.register("mine")(Mine()), "is no class of a forecaster"),  # type: ignore[arg-type]
        (lambda: policies.register("mine")(Thawed), "Thawed is no frozen dataclass"),
        (lambda: methods.register(replace(methods.method("fora"), summary="mine")), "is that of a method that ships"),
        (lambda: methods.register(padecast.Method("a b", Interval(), Reuse(), "")), "is no name of a method"),
        (lambda: methods.register("fora"), "is no method"),
    ],
)
def test_what_cannot_be_registered_is_refused_and_changes_nothing(register: Any, words: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        register()
    assert words in str(caught.value)
    assert set(forecasters.REGISTRY) == SHIPPED["forecaster"] and set(policies.REGISTRY) == SHIPPED["policy"]
    assert set(methods.REGISTRY) == SHIPPED["method"]


def test_a_class_that_is_defined_anew_takes_its_former_place() -> None:
    forecasters.register("mine")(Mine)
    again = type("Mine", (Mine,), {"__module__": Mine.__module__, "__qualname__": Mine.__qualname__})
    forecasters.register("mine")(dataclass(frozen=True)(again))
    assert type(forecasters.REGISTRY.make("mine")) is again
