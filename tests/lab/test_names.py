"""Names of files are shown as text: in pictures, on pages, on terminals, and in names of files."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import warnings
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.figure
import matplotlib.font_manager
import matplotlib.text
import pytest
import torch
from tests.representative import representative
from typer.testing import CliRunner

from padecast import zoo
from padecast.cli import app
from padecast.cli._files import as_json
from padecast.cli._options import slug
from padecast.cli._shell import progress, stdout
from padecast.lab import Provenance, _canvas, figures, html, portraits, trends
from padecast.lab.cells import Cell
from padecast.lab.curve import curve
from padecast.lab.experiment import Setting, Source
from padecast.lab.portraits import trajectories
from padecast.lab.results import Comparison, Result
from padecast.lab.shelf import Shelf
from padecast.report import finite


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of few pixels, which are drawn fast."""
    monkeypatch.setattr(_canvas, "DPI", 30)


FILES = Path(__file__).parent / "files"
NAMES = {
    "a formula": "shift $3^$ and guidance $5$",
    "prices": "from $5 to $10",
    "one dollar": "$",
    "dollars": "$$$",
    "a command of TeX": r"$\undefined{x}$",
    "an open brace": "${",
    "a backslash before a dollar": r"a\$b^$c",
    "two lines": "two\nlines\r\nand $more^$",
    "Chinese": "快速方法",
    "an emoji": "fast 🚀",
    "half a letter": "a\ud800b",
    "colours of a terminal": "\x1b[31mred\x1b[0m",
    "letters turned around": "abc\u202edef",
    "nothing": "",
    "an underscore": "_hidden",
    "four hundred letters": "x" * 400,
    "a bell and a NUL": "a\x07\0b",
    "a tab": "a\tb",
    "markup": "[red]danger[/red] [/]",
}


def result(**changes: Any) -> Result:
    document = json.loads((FILES / "measured.json").read_text())["result"]
    return dataclasses.replace(Result.from_dict(document), **changes)


def draw_curve(name: str) -> Any:
    return curve(dataclasses.replace(zoo.calibration("scenes", "50"), name=name), io.BytesIO())


def draw_tradeoff(name: str) -> Any:
    return trends.tradeoff([result(name=name), result()], io.BytesIO(), title=name)


def draw_sweep(name: str) -> Any:
    return trends.sweep({name: [(name, result())], "b": [("2", result(nfe=2.0))]}, name or "option", io.BytesIO())


def comparison(name: str) -> Comparison:
    results = (result(name="uncached"), result(name=name), result(name="fewer-steps", written=name))
    return Comparison({"name": name, "steps": 6}, results, Provenance.of(), (torch.rand(2, 1, 8, 8),) * 3)


def draw_steps(name: str) -> Any:
    return figures.steps([comparison(name)], io.BytesIO(), title=name)


def draw_grid(name: str) -> Any:
    return figures.grid(comparison(name), io.BytesIO(), title=name)


def draw_trajectories(name: str) -> Any:
    path = torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(0)).tolist()
    recorded = [{"name": "uncached", "seeds": [0, 1], "path": path}, {"name": name, "seeds": [0, 1], "path": path}]
    return trajectories(recorded, io.BytesIO())


DRAWN: dict[str, Callable[[str], Any]] = {
    "curve": draw_curve,
    "trade-off": draw_tradeoff,
    "sweep": draw_sweep,
    "steps": draw_steps,
    "grid": draw_grid,
    "trajectories": draw_trajectories,
}


class Written(Exception):
    """A picture would be written now; its texts are known."""


def texts_of(figure: Any) -> list[Any]:
    return [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


FEW = ("a formula", "dollars", "two lines", "Chinese", "half a letter", "an underscore", "four hundred letters")


@pytest.mark.fault("names in pictures")
@pytest.mark.parametrize(
    ("picture", "name"),
    [(picture, name) for picture in DRAWN for name in (NAMES if picture == "trade-off" else FEW[:2])]
    + [
        pytest.param(picture, name, marks=pytest.mark.slow)
        for picture in DRAWN
        for name in FEW[2:]
        if picture != "trade-off"
    ],
)
def test_a_picture_shows_any_name_as_text(picture: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is drawn: no text is a formula, and all of it is on one line in letters of the font."""
    drawn: list[Any] = []

    def written(figure: Any, *_: Any, **__: Any) -> None:
        drawn.append(figure)
        raise Written

    letters = matplotlib.font_manager.get_font(matplotlib.font_manager.findfont("DejaVu Sans")).get_charmap()
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", written)
    with contextlib.suppress(Written):
        DRAWN[picture](NAMES[name])
    for text in texts_of(drawn[0]):
        shown, formula = text._preprocess_math(text.get_text())
        assert formula is False and "\n" not in shown
        assert all(ord(letter) in letters for letter in shown), shown
        assert len(shown) <= 160
    assert max(drawn[0].get_size_inches()) < 30


@pytest.mark.fault("names in pictures")
@pytest.mark.parametrize("picture", DRAWN)
def test_a_picture_of_any_names_is_drawn_without_a_warning(picture: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of letters that the font lacks, and of names that a legend leaves out
        file = DRAWN[picture]("_$x^$ and 快\n\\undefined{")
    assert file.getvalue().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("tc-pade:every=3", "tc-pade:every=3"),
        ("größer", "größer"),
        ("from $5 to $10", r"from \$5 to \$10"),
        ("快", r"\u5feb"),
        ("a\nb", r"a\nb"),
        ("_x", " _x"),
        ("x" * 99, "x" * 59 + "…"),
    ],
)
def test_a_label_is_what_was_written_as_far_as_letters_go(name: str, shown: str) -> None:
    from padecast.lab._canvas import label

    assert label(name) == shown


# Pages ---------------------------------------------------------------------------------------------------------------

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "<!--",
    "]]>",
    "\u202egnirts",
    "a\x1b[31m\x9b\0b",
    "../../etc/passwd",
    "&lt;b&gt;",
    "\u2028\u2029",
)
FIELDS: dict[str, Callable[[dict[str, Any], str], Any]] = {
    "method": lambda d, name: d["result"].update(name=name, written=name),
    "setting": lambda d, name: d["settings"].update(name=name),
    "prompt": lambda d, name: d["settings"]["sampling"].update(prompts=[name]),
    "plan": lambda d, name: d["result"].update(plans=[name]),
    "score": lambda d, name: d["result"].update(scores={name: 1.0}),
    "command": lambda d, name: d["provenance"].update(command=name, versions={name: name}),
}


class Reader(HTMLParser):
    """Keeps tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(change: Callable[[dict[str, Any]], Any], monkeypatch: pytest.MonkeyPatch, title: str = "t") -> str:
    """A page without its pictures, which have tests of their own."""
    monkeypatch.setattr(html, "_pictures", lambda *_: [])
    document = json.loads((FILES / "measured.json").read_text())
    change(document)
    return html.page([document], title)


PLAIN: dict[str, Reader] = {}


def plain_page(field: str, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """The page of a plain name in a field, read once."""
    if field not in PLAIN:
        PLAIN[field] = Reader()
        PLAIN[field].feed(page_of(lambda d: FIELDS.get(field, lambda *_: None)(d, "name"), monkeypatch, "name"))
    return PLAIN[field]


@pytest.mark.fault("names on pages")
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("field", representative([*FIELDS, "title"], ["method", "prompt", "command", "title"]))
def test_a_page_shows_any_name_as_text(field: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, hostile = plain_page(field, monkeypatch), Reader()
    text = page_of(lambda d: FIELDS.get(field, lambda *_: None)(d, name), monkeypatch, name)
    hostile.feed(text)
    assert hostile.tags == usual.tags
    assert [key for key, _ in hostile.attributes] == [key for key, _ in usual.attributes]
    assert not any(str(value).startswith("javascript") for _, value in hostile.attributes)
    assert not re.search("[\0\x1b\x9b\u202e\u2028\u2029]", text)
    if name.isprintable():
        assert name in "".join(hostile.text)


# Terminals -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("names on terminals")
@pytest.mark.parametrize(
    "name",
    [
        "a formula",
        "two lines",
        "Chinese",
        "colours of a terminal",
        "letters turned around",
        "a bell and a NUL",
        "markup",
    ],
)
@pytest.mark.parametrize("command", ["plan", "plan as JSON", "list", "report", "error"])
def test_a_terminal_is_told_names_as_text(command: str, name: str, tmp_path: Path) -> None:
    written = NAMES[name]
    if command.startswith("plan"):
        document = {**zoo.calibration("scenes", "50").to_dict(), "name": written}
        (tmp_path / "c.json").write_text(json.dumps(document))
        arguments = ["plan", str(tmp_path / "c.json"), *(["--json"] if command.endswith("JSON") else [])]
    elif command == "list":
        quoted = json.dumps(written)
        (tmp_path / "e.toml").write_text(
            f'methods = ["fora"]\nseeds = "0-1"\n[[pipelines]]\nname = {quoted}\nsource = "digits"\n[[settings]]\n'
            f"name = {quoted}\n"
        )
        arguments = ["lab", "run", str(tmp_path / "e.toml"), "--list", "--out", str(tmp_path / "out")]
    elif command == "report":
        arguments = ["report", str(tmp_path / written.replace("\0", "").replace("/", "|"))]
    else:
        tables = "[[pipelines]]\nname = 'a'\nsource = 'b'\n[[settings]]\nname = 'c'\n"
        (tmp_path / "e.toml").write_text(f"methods = [{json.dumps(written)}]\n{tables}")
        arguments = ["lab", "run", str(tmp_path / "e.toml")]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert not re.search("[\0\x07\x1b\x9b\u202e]", done.stdout + done.stderr)
    if name == "markup":
        assert "[red]danger" in (done.stdout + done.stderr).replace("\\n", "").replace("\n", " ")


@pytest.mark.fault("names on terminals")
@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", "[link=http://a]x[/link]", "\x1b]0;title\x07", "a\u202eb"])
def test_tables_and_progress_take_names_as_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from padecast.cli._tables import new_table, show

    table = new_table("method", title=name)
    table.add_row(name)
    stdout().print(table)
    stdout().print(name)
    results = (result(name="uncached"), result(name=name, written=name))
    settings = {"name": name, "batch": 1, "seeds": [0], "steps": 6}
    show(Comparison(settings, results, Provenance.of()), stdout())
    with progress(name, 1) as tick:
        tick(name)
    told = capsys.readouterr()
    assert not re.search("[\x07\x1b\u202e]", told.out + told.err)
    assert name.startswith("\x1b") or name == "a\u202eb" or told.out.count(name) >= 3


@pytest.mark.fault("names on terminals")
@pytest.mark.parametrize("name", ["a\x1b[31m", "\u202eb", "c\x9bd", "e\x7f", "f\u2066g", "h\ufeff"])
def test_a_calibration_prints_and_says_as_json_what_is_safe(name: str) -> None:
    loaded = dataclasses.replace(zoo.calibration("scenes", "50"), name=name)
    for text in (str(loaded), as_json({"name": name})):
        assert not re.search("[\x1b\x7f\x9b\u202e\u2066\ufeff]", text)
    assert json.loads(as_json({"name": name})) == {"name": name}


# Names of files ------------------------------------------------------------------------------------------------------


@pytest.mark.fault("names of files")
@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..",
        "a/b\\c",
        "a\0b",
        "CON",
        "x" * 300,
        "größer 快速",
        "teacache:ratios=(" + ",".join(["1.0378"] * 50) + ")",
        "a\nb",
        ".hidden",
        "~",
    ],
)
def test_a_file_is_named_within_its_folder_and_with_room(name: str) -> None:
    cell = Cell("measure", Source(name, name), Setting(name), name, None, (0,))
    for file in (cell.file, f"seed-0000-{slug(name)}.png", f"report-{slug(name)}.json"):
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", file) and len(file) < 150 and ".." not in file
    assert slug(name + "a") != slug(name + "b")


# Portraits that are not finite ----------------------------------------------------------------------------------------

LOST: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "the last step": lambda _, bad: bad[-1].fill_(torch.nan),
    "the first step": lambda _, bad: bad[0].fill_(torch.nan),
    "all of it": lambda _, bad: bad.fill_(torch.nan),
    "one number": lambda _, bad: bad[2, 1, 3].fill_(torch.inf),
    "one seed": lambda _, bad: bad[1:, 0].fill_(torch.nan),
    "minus infinity": lambda _, bad: bad[3].fill_(-torch.inf),
    "the uncached run at last": lambda good, _: good[-1].fill_(torch.nan),
    "the uncached run but for a step": lambda good, _: good[1:].fill_(torch.nan),
    "the uncached run from the first": lambda good, _: good.fill_(torch.nan),
    "both": lambda good, bad: (good[-2:].fill_(torch.nan), bad[2:].fill_(torch.nan)),
}


@pytest.mark.fault("portraits that are not finite")
@pytest.mark.parametrize("name", LOST)
def test_a_run_that_diverges_leaves_its_trajectory_where_it_was(name: str) -> None:
    good, bad = (torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(k)) for k in range(2))
    LOST[name](good, bad)
    paths = {"uncached": good.tolist(), "taylorseer": bad.tolist()}
    recorded = finite([{"name": name, "seeds": [0, 1], "path": path} for name, path in paths.items()])
    file = trajectories(recorded, io.BytesIO())
    assert file.getvalue().startswith(b"\x89PNG")


@pytest.mark.fault("portraits that are not finite")
@pytest.mark.parametrize("place", [(0, 1), (0, 0), (2, 3)])
def test_cosines_that_are_not_finite_are_drawn_as_none(place: tuple[int, int]) -> None:
    cosines: dict[str, Any] = {name: torch.eye(4).tolist() for name in ("residuals", "outputs")}
    cosines["residuals"][place[0]][place[1]] = None
    assert portraits.similarity(cosines, io.BytesIO()).getvalue().startswith(b"\x89PNG")


def test_the_legend_says_where_a_run_was_lost() -> None:
    path = torch.ones(5, 2, 8)
    path[3] = torch.nan
    assert portraits._lost(portraits.finite_until(finite(path.tolist()))) == " (not finite after step 3)"
    assert portraits._lost(portraits.finite_until(torch.ones(5, 2, 8).tolist())) == ""


def test_the_shelf_of_these_tests_is_whole() -> None:
    assert len(list(Shelf(FILES).documents())) == 5
