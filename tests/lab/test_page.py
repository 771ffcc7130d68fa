"""What a page of finished cells says of its rows."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from padecast.lab import html

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
