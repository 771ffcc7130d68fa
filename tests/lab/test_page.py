"""What a page of finished cells says of its rows."""

from __future__ import annotations

import io
import json
import re
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from padecast.lab import html, trends
from padecast.lab.results import Result

FILES = Path(__file__).parent / "files"
pytest.importorskip("jinja2")


def measured(name: str, psnr: float, nfe: float = 4.0, written: str = "") -> dict[str, Any]:
    document = deepcopy(json.loads((FILES / "measured.json").read_text(encoding="utf-8")))
    document["cell"]["chosen"] = document["result"]["name"] = name
    document["result"] |= {"written": written or name, "nfe": nfe, "psnr": {"mean": psnr, "p5": psnr, "worst": psnr}}
    return document


def rows(text: str) -> dict[str, str]:
    """The rows of methods by name, with their tags."""
    return {match[1]: match[0] for match in re.finditer(r"<tr[^>]*><td>([^<]*)<.*?</tr>", text, re.DOTALL)}


def test_the_most_faithful_row_is_marked_and_no_other() -> None:
    shown = rows(html.page([measured("fora", 30.0), measured("linear", 40.0)]))
    assert 'class="best"' in shown["linear"] and 'class="best"' not in shown["fora"]


@pytest.mark.parametrize(("name", "nfe"), [("linear", 5.0), ("delta-dit", 4.0)])
def test_a_row_that_computed_more_than_its_steps_is_not_the_best(name: str, nfe: float) -> None:
    shown = rows(html.page([measured("fora", 30.0), measured("tc-pade", 35.0), measured(name, 40.0, nfe)]))
    assert 'class="best"' in shown["tc-pade"] and 'class="best"' not in shown[name]


def test_a_row_says_once_how_it_was_run() -> None:
    written = "cache-dit:threshold=0.1,warmup=1,separate=false"
    shown = rows(html.page([measured("cache-dit:warmup=1", 30.0, written=written)]))
    assert "<small>threshold=0.1,separate=false</small>" in shown["cache-dit:warmup=1"]


def test_a_page_without_a_title_has_that_of_what_was_sampled() -> None:
    document = measured("fora", 30.0)
    assert f"<title>{document['settings']['name']}</title>" in html.page([document])
    assert "<title>mine</title>" in html.page([document], "mine")


def test_a_reading_of_a_paper_is_said_to_be_one() -> None:
    note = "The authors' own code was not run."
    assert note in html.page([measured("tc-pade-published:every=3", 30.0)])
    assert note not in html.page([measured("tc-pade", 30.0)])


# The picture of fidelity --------------------------------------------------------------------------------------------


def result(name: str, psnr: float, nfe: float) -> Result:
    document = {**measured(name, psnr, nfe)["result"], "wanted": nfe}
    return Result.from_dict(document)


def draw(results: list[Result], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The axis of the picture."""
    figures: list[Any] = []
    monkeypatch.setattr(trends, "write", lambda figure, path: figures.append(figure) or path)
    trends.tradeoff(results, io.BytesIO())
    figures[0].canvas.draw()
    (axis,) = figures[0].axes
    return axis


def test_the_best_of_every_number_of_steps_are_named_and_the_others_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a", "b", "c", "d", "e", "f", "g", "h"]
    results = [result(name, 30.0 - place, 4.0) for place, name in enumerate(names)]
    results += [result("h", 50.0, 6.0), result("a", 40.0, 6.0), result("fewer-steps", 1.0, 4.0)]
    shown = trends.choose_lines(results)
    assert shown == ["a", "h", "b", "c", "d", "e", "fewer-steps"]
    axis = draw(results, monkeypatch)
    assert {text.get_text() for text in axis.texts} == set(shown)
    assert sum(line.get_color() == trends.QUIET for line in axis.lines) == 2


def test_names_at_the_ends_of_lines_do_not_touch(monkeypatch: pytest.MonkeyPatch) -> None:
    axis = draw([result(name, 30.0 + place / 100, 4.0) for place, name in enumerate("abcdef")], monkeypatch)
    heights = sorted((box.y0, box.y1) for box in (text.get_window_extent() for text in axis.texts))
    assert len(heights) == 6 and all(below[1] <= above[0] for below, above in pairwise(heights))


def test_ticks_are_whole_numbers_where_all_computed_as_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    axis = draw([result("a", 30.0, 6.0), result("b", 31.0, 6.0)], monkeypatch)
    low, high = axis.get_xlim()
    assert [tick for tick in axis.get_xticks() if low < tick < high] == [6.0]
