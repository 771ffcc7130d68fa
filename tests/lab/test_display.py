"""A comparison where it is looked at: a terminal, a notebook, a paper."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from PIL import Image

from padecast.lab import Comparison, Refusal, Task, compare
from padecast.lab.display import COLUMNS, LATEX, write_row


@pytest.fixture(scope="module")
def compared(task: Task) -> Comparison:
    """Tests leave it as it is."""
    return compare(task, ["fora", "tc-pade"], nfe=[4, 5])


def with_name(compared: Comparison, name: str) -> Comparison:
    """Return it with the last row called something else."""
    last = dataclasses.replace(compared.results[-1], name=name)
    return dataclasses.replace(compared, results=(*compared.results[:-1], last))


def test_printed_it_is_a_table_and_looked_at_a_line(compared: Comparison) -> None:
    lines = str(compared).splitlines()
    assert lines[0] == "tiny: 10 steps, 4 seeds"
    assert lines[1].split() == list(COLUMNS)
    assert [line.split()[0] for line in lines[2:9]] == [result.name for result in compared.results]
    assert {len(line.split()) for line in lines[2:9]} == {len(COLUMNS)}
    assert repr(compared) == "<Comparison 'tiny': 7 rows, 10 steps, 4 seeds>"


def test_numbers_are_those_that_were_measured(compared: Comparison) -> None:
    result = compared.results[2]
    row = dict(zip(COLUMNS, write_row(result), strict=True))
    assert row["method"] == "fora" and float(row["NFE"]) == 4
    assert float(row["PSNR"]) == pytest.approx(result.psnr.mean, abs=0.05)
    assert float(row["worst"]) == pytest.approx(result.psnr.worst, abs=0.05)
    assert row["ideal"] == "2.50x"
    untimed = write_row(dataclasses.replace(result, speedup=float("nan")))
    assert untimed[COLUMNS.index("speedup")] == "–"


def test_markdown_is_one_table_whatever_a_method_is_called(compared: Comparison) -> None:
    rows = [line for line in with_name(compared, "mine|yours").to_markdown().splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(compared.results)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {len(COLUMNS) + 1}
    assert "mine\\|yours" in rows[-1]


def test_latex_is_one_tabular_whatever_a_method_is_called(compared: Comparison) -> None:
    text = with_name(compared, "50%_of {a} & $b$\\").to_latex()
    body = text[text.index(r"\begin{tabular}") : text.index(r"\end{tabular}")]
    rows = [line for line in body.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 1 + len(compared.results)
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(COLUMNS) - 1}
    assert r"50\%\_of \{a\} \& \$b\$\textbackslash{}" in rows[-1]
    assert all(line.startswith("% ") for line in text[: text.index(r"\begin")].splitlines())
    assert set("–‡") < set(LATEX) and not set("–‡") & set(body)


def test_a_notebook_shows_no_markup_of_names(compared: Comparison) -> None:
    page = with_name(compared, "<script>")._repr_html_()
    assert page.count("<tr>") == 1 + len(compared.results) and "<script>" not in page


def test_what_missed_its_number_of_steps_or_was_refused_is_said(compared: Comparison) -> None:
    assert "‡" not in str(compared)
    last = dataclasses.replace(compared.results[-1], wanted=8.0, teaching=2)
    refusal = Refusal("cache-dit", 4.0, "cache-dit is not installed")
    changed = dataclasses.replace(compared, results=(*compared.results[:-1], last), refusals=(refusal,))
    for text in (str(changed), changed.to_markdown(), changed._repr_html_()):
        assert text.count("tc-pade‡") == 1 and "cannot compute as many steps" in text
        assert "cache-dit is left out: cache-dit is not installed" in text and "taught by 2 image(s)" in text
    assert r"tc-pade$^\ddagger$" in changed.to_latex()


def test_it_is_drawn(compared: Comparison, tmp_path: Path) -> None:
    path = compared.plot(str(tmp_path / "curve.png"))
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.width > 500
