"""How lessons look where they are printed, and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from padecast import files

if TYPE_CHECKING:
    from padecast.lessons.lesson import Lesson
    from padecast.lessons.look import Look


def count(number: int, noun: str) -> str:
    """Write a number of things.

    Example:
        >>> count(1, "run"), count(2, "run")
        ('1 run', '2 runs')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def summarize(lesson: Lesson) -> str:
    """Return what a lesson is made of, on one line.

    Example:
        >>> from padecast.lessons import Identity, Lesson
        >>> from padecast.lessons.analytic import make_look
        >>> summarize(Lesson(Identity("DiT"), (make_look(20), make_look(8))))
        '2 runs, 4 samples, at 20 and 8 steps'
    """
    if not lesson.looks:
        return "nothing learnt yet"
    steps = " and ".join(str(look.steps) for look in lesson.looks)
    return f"{count(lesson.runs, 'run')}, {count(lesson.samples, 'sample')}, at {steps} steps"


def range_of(look: Look) -> str:
    """Return the noise levels that a look saw, from the first step to the last.

    Example:
        >>> from padecast.lessons.analytic import make_look
        >>> range_of(make_look(20))
        '1 to 0.00816'
    """
    return f"{max(look.levels):.3g} to {min(look.levels):.3g}"


def name(lesson: Lesson) -> str:
    """Return whose a lesson is, with nothing that a terminal would obey."""
    return files.line(str(lesson.identity), 400)


def lines(lesson: Lesson) -> list[str]:
    """Return what a lesson is made of: a line for every grid, and one for measured gains."""
    texts = [
        f"{look.steps} steps, noise levels {range_of(look)}: {count(look.runs, 'run')}, "
        f"{count(look.samples, 'sample')}, of {files.line(', '.join(look.grams), 200)}"
        for look in lesson.looks
    ]
    return texts if lesson.gains is None else [*texts, str(lesson.gains)]


def block(title: str, texts: Iterable[str]) -> str:
    """Return a title and lines of text as HTML that needs nothing else.

    Example:
        >>> block("a <b>", ["1 run"])
        '<div><b>a &lt;b&gt;</b><br>1 run</div>'
    """
    return f"<div>{'<br>'.join([f'<b>{html.escape(title)}</b>', *map(html.escape, texts)])}</div>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as HTML that needs nothing else.

    Example:
        >>> table(["key"], [["<1>"]])
        '<table><tr><th>key</th></tr><tr><td>&lt;1&gt;</td></tr></table>'
    """
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
