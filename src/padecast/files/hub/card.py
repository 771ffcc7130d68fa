"""The page of a repository: what the Hub reads of it, and what people do."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from padecast.files.hub.picture import Bar
from padecast.files.text import line

README = "README.md"
TAGS = ("padecast", "diffusion-acceleration")
INTRODUCTION = """\
Files for padecast, with which diffusion transformers compute some of their steps and forecast the others. They hold no
weights, no image and no latent. To use them: `pip install "padecast[diffusers,hub]"`
"""


@dataclass(frozen=True)
class Section:
    """What the page says of one file.

    Args:
        facts: What was measured and on what, by name.
        columns: Heads of the table.
        rows: Its cells.
        title: Of the picture.
        note: What its decibels are.
        bars: Its plans; without any there is no picture.
    """

    facts: Mapping[str, str]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    title: str = ""
    note: str = ""
    bars: Sequence[Bar] = ()


def write_card(
    before: str | None, kind: str, usage: str, sections: Mapping[str, Section], base: str | None, license: str | None
) -> str:
    """Return a page that describes files; of a page that is there, all but the part of this kind of file stays.

    A page that somebody wrote without the marks of this part is returned as it is.

    Args:
        before: The page that is there, if there is one.
        kind: Of the files, such as ``"calibration"``.
        usage: How they are used, in Markdown.
        sections: What is said of them, by the names of files.
        base: Repository of the model that they belong to, if it is known.
        license: Word of the Hub for it, such as ``"apache-2.0"``, if it is known.

    Example:
        >>> page = write_card(None, "lesson", "", {"a.json": Section({"model": "DiT"})}, "org/flux", None)
        >>> page.splitlines()[:3], "- model: DiT" in page
        (['---', 'library_name: padecast', 'tags:'], True)
        >>> write_card("# Mine", "lesson", "", {}, None, None)
        '# Mine'
    """
    first, last = (
        f"<!-- padecast: {kind}s, written anew whenever one is added -->",
        f"<!-- padecast: end of {kind}s -->",
    )
    part = "\n".join([first, "", f"## {kind.capitalize()}s", "", usage, *_sections(sections), last])
    if before is None:
        return "\n".join([*_front(base, license), "", f"# {_title(base)}", "", INTRODUCTION, part, ""])
    if first in before and last in before:
        head, _, rest = before.partition(first)
        return head + part + rest.partition(last)[2]
    return f"{before.rstrip()}\n\n{part}\n" if "library_name: padecast" in before else before


def cell(text: object) -> str:
    """Return text as Markdown shows it, on one line of a table: nothing in it is a mark.

    Example:
        >>> cell("a|b <i>"), cell("C..C"), cell("x_1*")
        ('a&#124;b &lt;i&gt;', 'C..C', 'x&#95;1&#42;')
    """
    escaped = html.escape(line(text, 400), quote=False)
    return "".join(f"&#{ord(letter)};" if letter in "|`*_[]\\~#!" else letter for letter in escaped)


def _front(base: str | None, license: str | None) -> list[str]:
    """What the Hub reads: values are JSON, which is YAML."""
    rows = ["---", "library_name: padecast", "tags:", *(f"- {tag}" for tag in TAGS)]
    if base is not None:
        rows += [f"base_model: {json.dumps(base)}", "base_model_relation: adapter"]
    if license is not None:
        rows.append(f"license: {json.dumps(license)}")
    return [*rows, "---"]


def _title(base: str | None) -> str:
    return "Steps that need not be computed" + (f", of {cell(base)}" if base else "")


def _sections(sections: Mapping[str, Section]) -> list[str]:
    rows: list[str] = []
    for name, section in sections.items():
        rows += [f"### {_code(name)}", ""]
        if section.columns:
            rows += [_row(section.columns), _row(["---"] * len(section.columns))]
            rows += [_row([cell(text) for text in row]) for row in section.rows] + [""]
        if section.bars:
            rows += [f"![Plans and decibels]({quote(picture_of(name))})", ""]
        rows += [f"- {fact}: {cell(text)}" for fact, text in section.facts.items() if text] + [""]
    return rows


def picture_of(name: str) -> str:
    """Return the name of the picture beside a file.

    Example:
        >>> picture_of("flux_20.json"), picture_of("dit.lesson.json")
        ('flux_20.svg', 'dit.lesson.svg')
    """
    return name.removesuffix(".json") + ".svg"


def _code(name: str) -> str:
    """Return a name of a file as code; one with signs of its own as it is shown in tables."""
    return f"`{name}`" if name.isprintable() and "`" not in name else cell(name)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
