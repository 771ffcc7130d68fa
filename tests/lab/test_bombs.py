"""Seeds, numbers and experiment files that would take all memory or all time: refused before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.files.meter import at_most
from typer.testing import CliRunner

from padecast import InvalidOption, PadecastError, forecasters, policies
from padecast.cli import app
from padecast.lab._numbers import numbers
from padecast.lab.cells import cells
from padecast.lab.experiment import read


@pytest.mark.fault("ranges of seeds")
@pytest.mark.parametrize(
    "written",
    [
        ["0-99999999999"],
        ["9" * 5000],
        ["0-" + "9" * 5000],
        ["1-1000000000"],
        ["0-100000"],
        ["0-60000", "60001-120000"],
        ["0-60000,60001-120000"],
        ["20261129101500-20261129101600000"],
        ["0-9223372036854775807"],
        ["٣-٥"],
        ["²"],
        ["1-²"],
        ["9" * 20],
        ["0-3," * 40_000 + "9999999999"],
    ],
    ids=range(14),
)
def test_seeds_past_all_bounds_are_refused_before_they_are_made(written: list[str]) -> None:
    with at_most(100), pytest.raises(InvalidOption, match="seeds") as raised:
        numbers(written, "seeds")
    assert len(str(raised.value)) < 2000


@pytest.mark.parametrize(("written", "count"), [(["0-99999"], 100_000), (["0-3", "9"], 5), (["18446744073709"], 1)])
def test_seeds_within_the_bounds_are_made(written: list[str], count: int) -> None:
    assert len(numbers(written, "seeds")) == count


@pytest.mark.fault("ranges of seeds")
@pytest.mark.parametrize("option", ["--seeds", "--nfe", "--tune-seeds", "--class"])
def test_the_command_line_refuses_them_too(option: str) -> None:
    with at_most(100):
        done = CliRunner().invoke(app, ["compare", "digits", option, "0-99999999999"])
    assert done.exit_code == 2 and "more than 100000 numbers" in done.stderr


GOOD = """
methods = ["METHOD"]
nfe = [2]
seeds = SEEDS
[[pipelines]]
name = "a"
source = "SOURCE"
[[settings]]
name = "b"
steps = STEPS
EXTRA
"""
USUAL = {"METHOD": "fora:every=3", "SEEDS": '"0-3"', "SOURCE": "nobody/nothing", "STEPS": "20", "EXTRA": ""}


def experiment(**changes: str) -> str:
    text = GOOD
    for name, value in {**USUAL, **changes}.items():
        text = text.replace(name, value)
    return text


BOMBS: dict[str, tuple[str, str]] = {
    "lists in lists": ("a = " + "[" * 50_000, "nested"),
    "tables in tables": ("a = " + "{a = " * 50_000, "nested"),
    "lists in a list of strings": ('a = ["""x"""", ' + "[" * 50_000 + '"]', "nested|TOML"),
    "a key of 50000 parts": ("a." * 50_000 + "a = 1", "16 parts"),
    "a table of 50000 parts": ("[" + "a." * 50_000 + "a]", "16 parts"),
    "a key of quoted parts": ('"a".' * 50_000 + "a = 1", "16 parts"),
    "a number of 5000 digits": ("a = " + "9" * 5000, "digits"),
    "a hexadecimal number of 5000 digits": (experiment(SEEDS="[0x" + "f" * 5000 + "]"), "whole number|digits"),
    "a signed option": (experiment(METHOD="fora:every=" + "-" * 30_000 + "1"), "methods"),
    "an option of parentheses": (experiment(METHOD="ends:policy=" + "(ends:policy=" * 3000), "methods"),
    "an option of brackets": (experiment(METHOD="stability:order=" + "(" * 3000 + ")" * 3000), "methods"),
    "an option of a million letters": (experiment(METHOD="fora:every=" + "x" * 10**5), "methods"),
    "a home that is not there": (experiment(SOURCE="~nobody_at_all/x"), "home"),
    "a calibration in no home": ('calibrations = ["~nobody_at_all/c.json"]' + experiment(), "home"),
    "a source of 5000 letters": (experiment(SOURCE="x" * 5000), "no path"),
    "a source with a NUL": (experiment(SOURCE="a\\u0000b"), "no path"),
    "a seed that is infinite": (experiment(SEEDS="[inf]"), "seeds"),
    "a guidance that is NaN": (experiment(EXTRA="guidance = nan"), "guidance"),
    "a shift of minus infinity": (experiment(EXTRA="shift = -inf"), "shift"),
    "an argument that is a date": (experiment(EXTRA="arguments = {when = 1979-05-27}"), "when"),
    "1e9 steps": (experiment(STEPS="1000000000"), "steps"),
    "1e9 repetitions": ("repeats = 1000000000" + experiment(), "repeats"),
    "1e9 seeds in a call": ("batch = 1000000000" + experiment(), "batch"),
    "seeds without end": (experiment(SEEDS='"0-99999999999"'), "seeds"),
    "a sweep of 1e8 cells": (
        experiment(
            EXTRA='[[sweeps]]\noption = "every"\nmethods = ['
            + '"fora",' * 10_000
            + "]\nvalues = ["
            + "2," * 10_000
            + "]"
        ),
        "cells",
    ),
    "a million keys": ("\n".join(f"k{i} = 1" for i in range(250_000)), "keys|values|MiB"),
    "three MiB": ("#" * (3 * 2**20), "MiB"),
    "a byte order mark": ("\ufeff" + experiment(), "byte order mark"),
}


@pytest.mark.fault("experiment files")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_in_an_experiment_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    text, said = BOMBS[name]
    path = tmp_path / "e.toml"
    path.write_text(text)
    with at_most(200), pytest.raises(PadecastError, match=rf"(?s)e\.toml.*({said})") as raised:
        cells(read(path))
    assert len(str(raised.value)) < 5000


def test_an_experiment_within_the_bounds_is_read(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text(experiment())
    assert [cell.chosen for cell in cells(read(path))] == ["fewer-steps", "fora:every=3"]


@pytest.mark.parametrize("source", ["/", ".", "..", "/proc", "~", "~/", "~/.", "./..", ""])
def test_a_folder_that_is_no_pipeline_is_not_read_through(source: str, tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text(experiment(SOURCE=source))
    with at_most(100):
        assert len(cells(read(path))) == 2


VALUES = ("1000000000", "(" + "1," * 1000 + ")")


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_no_option_of_any_part_takes_memory_where_it_is_made(value: str) -> None:
    for registry in (forecasters.REGISTRY, policies.REGISTRY):
        for name, make in registry.items():
            for option in getattr(make, "__dataclass_fields__", {}):
                with at_most(100):
                    try:
                        registry.make(f"{name}:{option}={value}")
                    except PadecastError:
                        continue
