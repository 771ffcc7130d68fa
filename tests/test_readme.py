"""The README shows what the result files say, and its commands and names exist."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

import padecast

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


SCRIPTS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "benchmarks").rglob("*.py")
    if '"--check"' in path.read_text(encoding="utf-8")
)


def test_every_page_has_a_script() -> None:
    assert len(SCRIPTS) >= 9
    for page in (ROOT / "docs").glob("*.md"):
        for script in re.findall(r"<!-- (?:written by|table:) (\S+)", page.read_text(encoding="utf-8")):
            module = script.removesuffix(":").removesuffix(".py").replace("/", ".")
            assert module in (*SCRIPTS, "tools.api"), page.name


@pytest.mark.parametrize("script", SCRIPTS)
def test_tables_are_what_the_result_files_say(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [script, "--check"])
    monkeypatch.delitem(sys.modules, script, raising=False)  # another test may have imported it
    said: int | str | None = None
    try:
        runpy.run_module(script, run_name="__main__")
    except SystemExit as end:
        said = end.code
    assert not said, said


def test_every_method_that_it_names_is_registered() -> None:
    named = set(re.findall(r"^\| `([\w-]+)`", TEXT, flags=re.MULTILINE))
    assert named and named <= set(padecast.methods())


def test_every_make_target_that_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([\w-]+)", TEXT, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_every_command_that_it_names_exists() -> None:
    from typer.main import get_command

    from padecast.cli import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert set(re.findall(r"`padecast (\w+)", TEXT)) <= known


def test_the_code_blocks_run_one_after_the_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len(blocks) == TEXT.count("```python") >= 3
    monkeypatch.setenv("PADECAST_LESSONS", str(tmp_path))
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert "20 steps" in capsys.readouterr().out  # the report of the first
    assert names["run"].report.computed == 8  # of the second, after its first image
    assert not names["handle"].enabled


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 150
