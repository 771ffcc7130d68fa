"""The command line without a run: help, lists, citations, and how wrong commands end."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner
from typer.testing import Result as Invoked

import padecast
from padecast.cli import _tables, app
from padecast.cli._files import refuse_foreign, staged
from padecast.cli._options import names, numbers, slug
from padecast.lab import Comparison, Provenance, Result, Spread

COMMANDS = ("lab", "lessons", "report", "demo", "generate", "compare", "calibrate", "plan", "methods", "models", "cite")
COMMANDS += ("share", "measure")


def run(*arguments: str) -> Invoked:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"padecast {command}" in result.stdout or command in result.stdout
    assert command in run("--help").stdout


def test_every_option_has_a_help_text() -> None:
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_nothing_asked_is_help_and_a_wrong_use() -> None:
    assert "Usage" in run().output and run().exit_code == 2


def test_the_version_is_the_version() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout.strip()) == (0, f"padecast {padecast.__version__}")


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert command.help == command.command.help.partition("\n\n")[0].replace("\n", " "), name


# Lists ---------------------------------------------------------------------------------------------------------------


def test_every_method_is_listed_with_its_parts_and_source() -> None:
    rows = {row["name"]: row for row in json.loads(run("methods", "--json").stdout)}
    assert set(rows) == set(padecast.methods())
    assert rows["tc-pade"]["policy"] == "spaced:every=4.0" and rows["tc-pade"]["sources"] == ["arXiv:2603.02943"]
    assert rows["taylorseer"]["policy"] == "interval:every=4,warmup=3"
    table = run("methods").stdout
    assert "diffusers.first-block" in table and "cache-dit" in table
    assert all(name in table for name in rows) and "arXiv:2603.01623" in table


def test_every_policy_is_listed_with_its_options() -> None:
    rows = {row["name"]: row for row in json.loads(run("methods", "policies", "--json").stdout)}
    assert list(rows) == list(padecast.policies.REGISTRY)
    assert rows["window"]["options"] == {"policy": "interval", "start": "0.0", "end": "1.0"}
    assert rows["anchors"]["what"].startswith("Compute some steps whatever the policy says")
    table = run("methods", "policies").stdout
    assert all(name in table for name in rows) and "padecast methods policies" in run("methods").stdout


def test_the_parts_of_a_method_are_written_as_they_are_read() -> None:
    for row in json.loads(run("methods", "--json").stdout):
        method = padecast.method(row["name"])
        assert padecast.policies.REGISTRY.make(row["policy"]) == method.policy
        assert padecast.forecasters.REGISTRY.make(row["forecaster"]) == method.forecaster


def test_every_model_is_listed_with_its_spans() -> None:
    rows = {row["model"]: row for row in json.loads(run("models", "--json").stdout)}
    assert set(rows) == set(padecast.targets.REGISTRY)
    assert set(rows["FluxTransformer2DModel"]["spans"]) == {"full", "double", "single"}
    assert "single_transformer_blocks" in run("models").stdout


def test_a_method_is_cited_as_the_library_does() -> None:
    assert run("cite", "spectrum").stdout.strip() == padecast.cite("spectrum")


# Wrong commands ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cite", "tcpade"], "the nearest is 'tc-pade'"),
        (["generate", "digits", "--method", "spectrm"], "the nearest is 'spectrum'"),
        (["generate", "digits", "--method", "fora:evry=3"], "the nearest is 'every'"),
        (["generate", "digits", "--method", "fora:every=0"], "every=0 is out of range"),
        (["generate", "digitz"], "the nearest is 'digits'"),
        (["generate", "./nowhere"], "there is no folder './nowhere'"),
        (["generate", "digits", "--seed", "3-1"], "--seed '3-1' cannot be read"),
        (["generate", "digits", "--seed", "1,1"], "each once"),
        (["generate", "digits", "--dtype", "float8"], "unknown dtype 'float8'"),
        (["generate", "digits", "--device", "abacus"], "--device 'abacus'"),
        (["compare", "digits", "--methods", "fora,lineer"], "the nearest is 'linear'"),
        (["compare", "digits", "--nfe", "six"], "--nfe 'six'"),
        (["compare", "digits", "--seed", "0-3", "--tune-seeds", "3"], "seeds 3 are both"),
        (["demo", "--nfe", "20"], "fewer than the 20 steps"),
    ],
)
def test_a_wrong_command_ends_with_2_and_a_message(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr and "Traceback" not in result.output and result.stdout == ""


def test_an_unknown_command_or_option_ends_with_2() -> None:
    assert run("dmeo").exit_code == 2 and run("demo", "--sedes", "3").exit_code == 2


@pytest.mark.parametrize(
    ("written", "read"),
    [(["3"], (3,)), (["0-2"], (0, 1, 2)), (["0-1,5", "9"], (0, 1, 5, 9)), ([" 4 , 6 "], (4, 6))],
)
def test_numbers_and_ranges(written: list[str], read: tuple[int, ...]) -> None:
    assert numbers(written, "seed") == read


def test_methods_are_split_between_options() -> None:
    assert names("tc-pade:order=(2,1),every=3, fora") == ("tc-pade:order=(2,1),every=3", "fora")
    assert names("fora,linear:every=2") == ("fora", "linear:every=2")
    assert slug("linear:every=2") == "linear-every-2"


# Folders -------------------------------------------------------------------------------------------------------------


def test_files_arrive_together_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"

    def interrupted() -> None:
        with staged(out) as folder:
            (folder / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with staged(out) as folder:
        (folder / "whole").write_text("x")
    assert [path.name for path in out.iterdir()] == ["whole"] and list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_folder_is_ours_only_if_it_says_so(tmp_path: Path) -> None:
    refuse_foreign(tmp_path / "new", "demo", overwrite=False)
    refuse_foreign(tmp_path, "demo", overwrite=False)
    for content in ("not json", "[]", '{"kind": "something else"}'):
        (tmp_path / "results.json").write_text(content)
        with pytest.raises(padecast.InvalidOption, match="not empty"):
            refuse_foreign(tmp_path, "demo", overwrite=False)
    refuse_foreign(tmp_path, "demo", overwrite=True)
    (tmp_path / "results.json").write_text('{"kind": "demo"}')
    refuse_foreign(tmp_path, "demo", overwrite=False)
    with pytest.raises(padecast.InvalidOption, match="is a file"):
        refuse_foreign(tmp_path / "results.json", "demo", overwrite=True)


# Tables --------------------------------------------------------------------------------------------------------------


def shown(width: int, seconds_range: tuple[float, float] = (1.0, 1.1)) -> str:
    spread = Spread(31.25, 28.0, 27.5)
    uncached = Result(
        *("uncached", "uncached", None, 10.0, 1.0, ("C" * 10,), Spread(100.0, 100.0, 100.0), Spread(1.0, 1.0, 1.0)),
        *(1.0, 0.9, 1.0, 1.0, 3, seconds_range),
    )
    tuned = dataclasses.replace(
        uncached,
        name="fora",
        written="fora:every=3",
        wanted=4.0,
        nfe=4.0,
        ideal=2.5,
        speedup=2.0,
        plans=("C..C..C..C",),
    )
    settings = {"name": "[b]a task[/b]", "steps": 10, "seeds": [0, 1], "batch": 8}
    compared = Comparison(settings, (uncached, dataclasses.replace(tuned, psnr=spread)), Provenance.of())
    with io.StringIO() as text:
        _tables.show(compared, Console(file=text, width=width))
        return text.getvalue()


def test_a_table_has_what_a_claim_needs() -> None:
    table = shown(120)
    for part in (
        "[b]a task[/b]",
        "C..C..C..C",
        "31.2",
        "28.0",
        "27.5",
        "2.00x",
        "2.50x",
        "80%",
        "fora:every=3",
        "2 seeds",
    ):
        assert part in table
    assert "busy" not in table


def test_a_narrow_table_keeps_its_numbers_and_lists_plans_below() -> None:
    table = shown(80)
    assert max(map(len, table.splitlines())) <= 80
    for part in ("31.2", "27.5", "80%", "C..C..C..C"):
        assert part in table
    assert "…" not in table


def test_a_busy_machine_is_said() -> None:
    assert "took 1 to 1.6 s: the machine was busy" in shown(120, (1.0, 1.6))
