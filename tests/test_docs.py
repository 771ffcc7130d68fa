"""The documentation: every page is in the site, and what its examples say runs."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib.util
import io
import re
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

import padecast

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r'^```python( title="needs the weights")?\n(.*?)^```', flags=re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[tuple[bool, str]]:
    """The Python examples of a page, and whether each can run here."""
    return [(not needs, code) for needs, code in FENCE.findall(page.read_text(encoding="utf-8"))]


def leaves(tree: Any) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    return [leaf for child in (tree.values() if isinstance(tree, dict) else tree) for leaf in leaves(child)]


def test_every_page_is_in_the_site_once() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert sorted(leaves(yaml.safe_load(text)["nav"])) == [page.name for page in PAGES]


def anchors(text: str) -> set[str]:
    """The anchors of a page, as GitHub makes them, and as the site does, which leaves out foreign letters."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    titles += [title.encode("ascii", "ignore").decode() for title in titles]
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_parse(page: Path) -> None:
    for _, code in blocks(page):
        assert ast.parse(code, page.name).body, "an example without a statement"
    fences = page.read_text(encoding="utf-8").count("```python")
    assert len(blocks(page)) == fences, "an example that this test does not see"


@pytest.fixture(params=["tiny", pytest.param("bundled", marks=pytest.mark.slow)])
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pages load under the name of digits: random weights of its class, or the bundled ones."""
    if request.param == "tiny":
        from tests.lab.tiny import digits

        monkeypatch.setattr(padecast.zoo, "load", lambda name: {"digits": digits}[name]())


SAID = {
    "getting-started.md": (5, ["forecast"]),
    "choosing.md": (1, ["20 steps, 8 computed"]),
    "experiment-files.md": (1, ["20"]),
}
"""Pages whose examples run as they stand: at least how many, and what they print."""


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("name", SAID)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADECAST_LESSONS", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names: dict[str, Any] = {}
    runs = [code for here, code in blocks(ROOT / "docs" / name) if here]
    least, words = SAID[name]
    said = io.StringIO()
    for code in runs:
        with contextlib.redirect_stdout(said):
            exec(compile(code, name, "exec", dont_inherit=True), names)
    assert len(runs) >= least and all(word in said.getvalue() for word in words)


def test_a_forecaster_of_ones_own_is_compared_and_gets_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes before is examples/own_forecaster.py, which tests/test_examples.py runs."""
    monkeypatch.chdir(tmp_path)
    *_, naming = (code for _, code in blocks(ROOT / "docs" / "own-forecaster.md"))
    code = [code for _, code in blocks(ROOT / "docs" / "own-forecaster.md")][:2]
    names: dict[str, Any] = {}
    try:
        for block in (*code, naming):
            exec(compile(block, "own-forecaster.md", "exec", dont_inherit=True), names)
        assert padecast.method("mine:share=0.3").forecaster == names["Halfway"](share=0.3)
        assert padecast.forecasters.REGISTRY.make("halfway") == names["Halfway"]()
    finally:
        padecast.forecasters.REGISTRY.remove("halfway")
        padecast.methods.REGISTRY.pop("mine", None)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("model")
def test_the_page_of_lessons_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADECAST_LESSONS", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names: dict[str, Any] = {}
    runs = [code for here, code in blocks(ROOT / "docs" / "lessons.md") if here]
    words = io.StringIO()
    for code in runs:
        with contextlib.redirect_stdout(words):
            exec(compile(code, "lessons.md", "exec", dont_inherit=True), names)
    assert len(runs) >= 3 and len(list(tmp_path.glob("*.lesson.json"))) == 1
    for note in ("nothing was known", "this run taught 1 sample(s)", "planned from 1 run(s)", "<Lesson of DiT"):
        assert note in words.getvalue(), note


def test_the_page_of_sampler_loops_runs() -> None:
    names: dict[str, Any] = {}
    runs = [code for here, code in blocks(ROOT / "docs" / "sampler-loops.md") if here]
    words = io.StringIO()
    for code in runs:
        with contextlib.redirect_stdout(words):
            exec(compile(code, "sampler-loops.md", "exec", dont_inherit=True), names)
    assert len(runs) == 8
    for line in ("40 evaluations in 20 steps\n", "39 evaluations of the sampler, 17 computed", "1 run, 2 samples"):
        assert line in words.getvalue(), line


def test_the_page_of_servers_runs() -> None:
    names: dict[str, Any] = {}
    runs = [code for here, code in blocks(ROOT / "docs" / "server.md") if here]
    with contextlib.redirect_stdout(io.StringIO()):
        for code in runs:
            exec(compile(code, "server.md", "exec", dont_inherit=True), names)
    assert len(runs) == 3 and len(names["reports"]) == 5


def test_methods_that_are_named_exist() -> None:
    text = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
    named = {
        name for row in re.findall(r"^\| `([^|]+) \|", text, flags=re.MULTILINE) for name in re.findall(r"[\w-]+", row)
    }
    known = set(padecast.methods())
    assert {name if name in known else f"tc-pade{name}" for name in named} <= known
    assert {"teacache", "easycache", "hicache", "toca"} <= named


@pytest.mark.fault("recipes")
@pytest.mark.parametrize(
    ("arguments", "branches", "images"),
    [
        (arguments, branches, int(images))
        for arguments, *row in re.findall(
            r"^\| (?:`(--[^`]*)` )?\| (\d+) \| (\d+) \|$",
            (ROOT / "docs" / "calibrating.md").read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        )
        for branches, images in enumerate(row, 1)
    ]
    or [("", 0, 0)],
)
def test_what_a_calibration_is_said_to_cost_is_what_a_dry_run_says(arguments: str, branches: int, images: int) -> None:
    from padecast.calibration import price
    from padecast.cli._options import numbers

    words = arguments.split()
    given = dict(zip(words[::2], words[1::2], strict=True))
    budgets = numbers([given.get("--budgets", "6,8,10")], "budgets")
    seeds = numbers([given.get("--seeds", "0-15")], "seeds")
    assert round(price(given.get("--effort", "quick"), budgets, seeds, 20, branches)) == images > 0


@pytest.mark.fault("recipes")
def test_no_page_says_that_a_calibration_takes_minutes() -> None:
    for page in (ROOT / "README.md", *PAGES):
        assert not re.search(r"(some|a few) minutes", page.read_text(encoding="utf-8")), page.name


# Pages that are checked against the code -----------------------------------------------------------------------------


def tool(name: str) -> Any:
    """A script of tools/."""
    spec = importlib.util.spec_from_file_location(f"{name}_tool", ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_keys_of_an_experiment_are_those_of_its_classes() -> None:
    keys = tool("keys")
    page = (ROOT / "docs" / "experiment-files.md").read_text(encoding="utf-8")
    assert keys.write() == page, "make format"
    for kind in keys.TABLES.values():
        for part in dataclasses.fields(kind):
            assert f"| `{part.name}` | " in page
            assert keys.describe(kind)[part.name], "an option that its docstring does not name"


def test_the_experiment_that_is_shown_can_be_read(tmp_path: Path) -> None:
    from padecast.lab.experiment import read

    page = (ROOT / "docs" / "experiment-files.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```toml\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    path = tmp_path / "experiment.toml"
    path.write_text(text, encoding="utf-8")
    shown = read(path)
    assert shown.nfe == (6, 8) and shown.settings[0].shift == 0.2 and shown.sweeps[0].option == "every"


def commands() -> dict[str, Any]:
    """Every command of the command line by what is typed, groups left out."""
    from typer.main import get_command

    from padecast.cli import app

    listed: dict[str, Any] = {}
    pending = [("padecast", get_command(app))]
    while pending:
        name, command = pending.pop()
        children = getattr(command, "commands", None)
        if children is None:
            listed[name] = command
        else:
            pending += [(f"{name} {child}", inner) for child, inner in children.items()]
    return listed


COMMANDS = {
    name: text
    for name, text in re.findall(
        r"^## (padecast [^\n]+)\n(.*?)(?=^## )",
        (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )
}


def test_every_command_has_an_example() -> None:
    assert set(COMMANDS) == set(commands())


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_example_of_a_command_can_be_typed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words are parsed as the command line does, and nothing is run."""
    monkeypatch.chdir(tmp_path)
    command = commands()[name]
    (example,) = re.findall(r"^```\n(.*?)\n^```", COMMANDS[name], flags=re.DOTALL | re.MULTILINE)
    assert example.startswith(name)
    command.make_context(name, shlex.split(example.removeprefix(name)))
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    named = {
        option
        for row in re.findall(r"^\| (`--[^|]+) \|", COMMANDS[name], flags=re.MULTILINE)
        for option in re.findall(r"--[\w-]+", row)
    }
    assert named <= known


def test_the_drawing_is_what_its_script_draws() -> None:
    pictures = tool("pictures")
    assert pictures.PICTURE.read_text(encoding="utf-8") == pictures.draw(), "make format"
    assert pictures.plan().count("C") == pictures.COMPUTED and len(pictures.plan()) == pictures.STEPS
    assert pictures.plan().startswith("CCCC."), "the text says that the first four steps are computed"


# Prose ---------------------------------------------------------------------------------------------------------------

PROSE = tool("prose")
PLAIN = (
    "index.md",
    "getting-started.md",
    "choosing.md",
    "own-forecaster.md",
    "experiment-files.md",
    "command-line.md",
    "how-it-works.md",
    "glossary.md",
    "faq.md",
)
"""Pages for strangers."""


@pytest.mark.parametrize("page", [ROOT / "README.md", *(ROOT / "docs" / name for name in PLAIN)], ids=lambda p: p.name)
def test_pages_for_strangers_are_short_and_plain(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    figures = PROSE.measure(text)
    assert figures["median"] <= 14 and figures["p90"] <= 25, figures
    assert not PROSE.list_crowded(text)
    assert page.name == "README.md" or len(text.split()) <= 1300


def test_all_pages_together_are_plain() -> None:
    texts = [page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *PAGES)]
    figures = PROSE.measure("\n\n".join(texts))
    assert figures["sentences"] > 1000, "a measure that sees no pages"
    assert figures["median"] <= 13 and figures["p90"] <= 24, figures


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_paragraph_has_more_than_three_numbers(page: Path) -> None:
    assert not PROSE.list_crowded(page.read_text(encoding="utf-8")), "python tools/prose.py --crowded"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It gains 1, 2 or 3 dB.\n", 0),
        ("It gains 1, 2, 3 or 4 dB.\n", 1),
        ("- It gains 1 or 2 dB.\n- It loses 3 or 4.\n", 0),
        ("| 1 | 2 | 3 | 4 |\n", 0),
        ("```\n1 2 3 4.\n```\n", 0),
        ("<!-- table: a.py -->\nIt is 1, 2, 3 or 4.\n<!-- end of the table -->\n", 0),
        ("**FLUX** (3 + 6 blocks, 256 + 64 tokens)\n", 0),
    ],
)
def test_the_measure_finds_crowded_paragraphs(text: str, count: int) -> None:
    assert len(PROSE.list_crowded(text)) == count


def test_the_comparison_is_read_in_a_hundred_and_fifty_lines() -> None:
    """What is unfolded: prose, headings and the tables of the first screens."""
    text = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    open_ = re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL)
    assert text.count("<details") == text.count("</details>") > 10
    assert len([line for line in open_.splitlines() if line.strip()]) <= 150
    assert "tc-pade-published" in open_, "a name that tables show, said to be a reading of the paper"


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("# A title of words\n\nOne two. Three four\nfive!\n", [2, 3]),
        ("- a point\n- another one\n", [2, 2]),
        ("| a | table |\n\n```\ncode here\n```\n\nThe `code` of [a link](b.md).\n", [5]),
        ("<!-- table: a.py -->\nWritten by a script.\n<!-- end -->\nIt is 2.5 times.\n", [4]),
    ],
)
def test_the_measure_counts_words_of_sentences(text: str, lengths: list[int]) -> None:
    assert [PROSE.count_words(s) for part in PROSE.paragraphs(text) for s in PROSE.sentences(part)] == lengths


def test_every_term_of_the_glossary_is_linked_where_it_is_used() -> None:
    linked = {
        anchor
        for page in (ROOT / "README.md", *PAGES)
        for anchor in re.findall(r"glossary\.md#([\w-]+)", page.read_text(encoding="utf-8"))
    }
    terms = anchors((ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")) - {"glossary"}
    assert terms == linked and 12 <= len(terms) <= 40


# The page of the API -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def api() -> Any:
    """The tool that writes the page."""
    return tool("api")


@pytest.mark.fault("api page")
def test_the_page_of_the_api_is_what_the_package_exports(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.write() == (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), "make format"
    for module in (padecast.forecasters, padecast.lessons, padecast.policies, padecast.targets):
        constants = {name for name in module.__all__ if name.isupper() and not isinstance(getattr(module, name), type)}
        assert set(api.parts(module)) == {*module.__all__} - constants
    monkeypatch.setattr(padecast.policies, "__all__", [*padecast.policies.__all__, "find"])
    monkeypatch.setattr(padecast.policies, "find", padecast.policies.base.find, raising=False)
    assert "find" in api.write() and api.write() != (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_no_entry_is_a_module_all_of_which_would_be_shown() -> None:
    """``padecast.methods`` is a function, and a module besides: the documentation tool takes it for the module."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^::: (\S+)\n((?:    .*\n)*)", text, flags=re.MULTILINE))
    modules = {path for path in entries if importlib.util.find_spec(path) is not None}
    assert modules == {f"padecast.{name}" for name in ("forecasters", "lessons", "policies", "targets")}
    assert all("members: [" in entries[path] for path in modules)
    assert "heading: padecast.methods\n" in entries["padecast.methods.methods"]


@pytest.mark.fault("api page")
def test_what_is_promised_of_a_class_is_there(api: Any) -> None:
    for name, members in api.PROMISED.items():
        assert all(hasattr(getattr(padecast, name), member) for member in members)


@pytest.fixture(scope="module")
def hook() -> Any:
    """What rewrites docstrings for the site, without the documentation tool."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "griffe", types.SimpleNamespace(Extension=object, Object=object))
        spec = importlib.util.spec_from_file_location("examples_hook", ROOT / "docs" / "hooks" / "examples.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def documented() -> dict[str, str]:
    """The docstrings that the page of the API shows."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = re.findall(r"^::: padecast\.(\w+)", text, flags=re.MULTILINE)
    listed = [name for row in re.findall(r"members: \[(.*?)\]", text) for name in row.split(", ")]
    found: dict[str, str] = {}
    for name in (*names, *listed):
        for module in (padecast, padecast.forecasters, padecast.lessons, padecast.policies, padecast.targets):
            part = getattr(module, name, None)
            if part is not None and getattr(part, "__doc__", None):
                members = vars(part).values() if isinstance(part, type) else ()
                found[name] = "\n".join(str(one.__doc__ or "") for one in (part, *members) if hasattr(one, "__doc__"))
    return found


@pytest.mark.fault("api page")
@pytest.mark.parametrize("name", sorted(documented()))
def test_a_page_shows_names_and_formulas_without_the_marks_of_another_tool(hook: Any, name: str) -> None:
    text = hook.markdown(documented()[name])
    assert not re.search(r":\w+:`|\.\. math::", text)


@pytest.mark.fault("api page")
@pytest.mark.parametrize(
    ("docstring", "shown"),
    [
        ("See :meth:`Forecaster.weights`.", None),
        ("Return whether it is; see :meth:`Policy.leaves_out`.", "Return whether it is; see `Policy.leaves_out`."),
        ("See :class:`~padecast.report.Report`.", None),
        ("Of :class:`~padecast.report.Report`.", "Of `Report`."),
        ("Half of :math:`x^2`.", "Half of `x^2`."),
        ("A.\n\n.. math:: x = y\n\nB.", "A.\n\n```tex\nx = y\n```\n\nB."),
        ("A.\n\n.. math::\n    x = \\\\\n    y\n\nB.", "A.\n\n```tex\nx = \\\\\ny\n```\n\nB."),
        ("A.\n\nExample:\n    >>> 1\n    1", "A.\n\nExamples:\n    >>> 1\n    1"),
    ],
)
def test_docstrings_are_rewritten_for_the_page(hook: Any, docstring: str, shown: str | None) -> None:
    part = types.SimpleNamespace(docstring=types.SimpleNamespace(value=docstring))
    hook.Examples().on_object(obj=part)
    assert (part.docstring and part.docstring.value) == shown


@pytest.mark.fault("api page")
@pytest.mark.parametrize("name", ["renew", "decline", "hold", "serve", "ready", "learn", "begin", "observe", "forget"])
def test_inner_methods_of_a_session_are_on_no_page(name: str) -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    members = re.findall(r"::: padecast\.Session\n.*\n\s+members: \[(.*?)\]", text)
    assert members and name not in members[0].split(", ") and "step" in members[0].split(", ")
