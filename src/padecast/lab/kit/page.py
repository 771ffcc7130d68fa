"""The page of a measurement: how like real models it is, what every method gave, and what was not measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO
from typing import Any

from padecast.lab import html
from padecast.lab._canvas import COLOURS, Place, figure_of, plain, write
from padecast.lab._canvas import title as write_title
from padecast.lab.kit import ladder
from padecast.lab.lesson import draw_lesson
from padecast.lab.pixels import decode, encode, size_of
from padecast.lessons import Lesson

SIDE = 384
"""Pixels of the longer side of an image: the page is sent by mail."""
REAL = ("FLUX.1-dev", "Wan2.1-T2V-1.3B")
"""Models whose published figures stand beside."""


def render(shared: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], lesson: Lesson | None = None) -> str:
    """Return the page.

    Args:
        shared: As :func:`padecast.lab.kit.sharing.compose` returned it.
        cells: As :func:`padecast.lab.kit.sharing.show_cell` returned them; of their images small ones are shown.
        lesson: What an uncached run taught.

    Raises:
        MissingPackage: If jinja2 or matplotlib is not installed.
    """
    row, published = shared["ladder"], ladder.read_published()
    figures = []
    if row["change"]:
        caption = "Change of the output from step to step"
        figures.append({"caption": caption, **html.embed(partial(draw_changes, row["change"], published["change"]))})
    if lesson is not None:
        picture = partial(_draw_lesson, lesson)
        figures.append({"caption": "What an uncached run taught", **html.embed(picture)})
    return html.page(
        map(_shrink, cells),
        f"{shared['model']['name']}, measured",
        "measure.html",
        shared=shared,
        verdict=ladder.describe(row),
        busy=describe_busy(shared["price"]),
        models=[shared["model"]["name"], *REAL],
        lines=list_lines(row, published),
        parameters=say_number(shared["model"]["parameters"]),
        spread=row["spread"],
        figures=figures,
    )


def list_lines(row: Mapping[str, Any], published: Mapping[str, Any]) -> list[list[str]]:
    """Return the four lines of the ladder: what each says, what this model has, and what is published of real ones.

    Example:
        >>> row = {"half": 28.2, "above": 34.0, "line": None, "taylor": -6.4, "met": [False, True, None, True]}
        >>> for line in list_lines(row, ladder.read_published()):
        ...     print(line[1:])
        ['28.2 ✗', '18.1', '15.9']
        ['+34.0 ✓', '+4.8 to +9.4', '']
        ['', '+0.6 to +2.0', '+0.6']
        ['-6.4 ✓', '-4.3 to -3.6', '-5.2']
    """
    marks = {True: " ✓", False: " ✗", None: ""}
    values = [
        _range([] if row[key] is None else [row[key]], sign) + marks[met]
        for (key, sign), met in zip(COLUMNS, row["met"], strict=True)
    ]
    columns = [values, *(_read_model(published, model) for model in REAL)]
    return [list(line) for line in zip(ladder.LINES, *columns, strict=True)]


COLUMNS = (("half", ""), ("above", "+"), ("line", "+"), ("taylor", "+"))


def _read_model(published: Mapping[str, Any], model: str) -> list[str]:
    """Return what is published of a model: of several figures the least and the greatest."""
    rows = {
        kind: [row for row in published[kind] if row["model"].partition(",")[0] == model and "true" not in row["model"]]
        for kind in ("half", "reuse", "line", "taylor")
    }
    half = [row["psnr"] for row in rows["half"]]
    above = [few[1] - many[1] for row in rows["reuse"] for few, many in zip(row["searched"], row["fewer"], strict=True)]
    line = [gain for row in rows["line"] for gain in row["gain"]]
    pairs = [pair for row in rows["taylor"] for pair in zip(row["taylorseer"], row["gated"], strict=True)]
    taylor = [below[1] - gated[1] for below, gated in pairs]
    return [_range(half, ""), *(_range(values, "+") for values in (above, line, taylor))]


def _range(values: Iterable[float], sign: str) -> str:
    texts = list(dict.fromkeys(f"{value:{sign}.1f}" for value in sorted(values)))
    return " to ".join([texts[0], texts[-1]] if texts[1:] else texts)


def describe_busy(price: Mapping[str, Any]) -> str:
    """Say that the machine was busy, if an uncached call took another time at the end than at the beginning.

    Example:
        >>> describe_busy({"first": 11.6, "last": 23.2})
        'An uncached call took 11.6 s first and 23.2 s last: the machine was busy, and times are rough.'
        >>> describe_busy({"first": 11.6, "last": 12.0}), describe_busy({"first": 11.6, "last": None})
        ('', '')
    """
    first, last = price.get("first"), price.get("last")
    if not first or not last or max(first, last) < BUSY * min(first, last):
        return ""
    took = f"An uncached call took {first:.3g} s first and {last:.3g} s last"
    return f"{took}: the machine was busy, and times are rough."


BUSY = 1.2
"""Slowest over fastest uncached call, from which times are called rough."""


def say_number(count: int) -> str:
    """Write a large number with three digits.

    Example:
        >>> say_number(6_115_396), say_number(11_901_408_320)
        ('6.12 million', '11.9 billion')
    """
    return f"{count / 1e9:.3g} billion" if count >= 1e9 else f"{count / 1e6:.3g} million"


COLUMNS = (("half", ""), ("above", "+"), ("line", "+"), ("taylor", "+"))


def draw_changes(change: Sequence[float], published: Mapping[str, Any], path: Place) -> Place:
    """Draw by how much the output changes from step to step, beside what is published of a real model.

    Args:
        change: Relative L1 change, from every step to the next.
        published: The same of a real model, with its name.
        path: Where to write the PNG.

    Returns:
        The path.

    Raises:
        MissingPackage: If matplotlib is not installed.
    """
    figure = figure_of((6.4, 3.6))
    axis = figure.add_axes((0.12, 0.15, 0.85, 0.71))
    lines = (
        (change, "this model", COLOURS[0], "-"),
        (published["values"], f"{published['model']}, published", COLOURS[7], "--"),
    )
    for values, name, colour, style in lines:
        places = [(step + 1) / len(values) for step in range(len(values))]
        axis.plot(places, values, style, color=colour, label=name, linewidth=1.6)
    axis.set_yscale("log")
    plain(axis, "share of the run", "relative change")
    axis.legend(frameon=False, fontsize=9)
    write_title(figure, "Change of the output from step to step")
    return write(figure, path)


def _draw_lesson(lesson: Lesson, path: BytesIO) -> BytesIO:
    look = max(lesson.looks, key=lambda look: look.steps)
    return draw_lesson(lesson, look, path, title="What an uncached run taught: how alike its steps are")


def _shrink(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell with small images, in the page's only chapter."""
    cell = {**cell, "settings": {**cell["settings"], "name": "Methods at equal computed steps"}}
    if "images" not in cell:
        return cell
    return {**cell, "images": {name: [_shrink_image(text) for text in texts] for name, texts in cell["images"].items()}}


def _shrink_image(text: str) -> str:
    return encode(decode(text, SIDE)) if max(size_of(text)[1:]) > SIDE else text
