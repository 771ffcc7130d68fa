"""How a comparison looks as text, in a notebook, in Markdown and in LaTeX: one table, written four ways."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from padecast.files import line
from padecast.lessons.display import count

if TYPE_CHECKING:
    from padecast.lab.results import Comparison, Result

COLUMNS = ("method", "NFE", "PSNR", "p5", "worst", "SSIM", "speedup", "ideal")
NOTHING, MISSED = "–", "‡"
LEGEND = (
    "NFE: computed steps. PSNR in dB (mean, 5th percentile, worst) and SSIM against the uncached images of the same "
    "seeds. Ideal: steps / NFE."
)
LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    NOTHING: "--",
    MISSED: r"$^\ddagger$",
}


def misses(result: Result) -> bool:
    """Return whether a method computed another number of steps than it was to be tuned to."""
    return result.wanted is not None and abs(result.nfe - result.wanted) > 0.5


def write_title(comparison: Comparison) -> str:
    """Return what was compared, on one line."""
    settings = comparison.settings
    name = settings["name"] or settings["pipeline"]
    return f"{line(name)}: {count(settings['steps'], 'step')}, {count(len(settings['seeds']), 'seed')}"


def write_row(result: Result) -> tuple[str, ...]:
    """Return a row: what is not known, or says nothing of the uncached run, is a dash."""
    name = line(result.name) + (MISSED if misses(result) else "")
    if result.name == "uncached":
        return (name, f"{result.nfe:.3g}", *[NOTHING] * (len(COLUMNS) - 2))
    fidelity = [f"{value:.1f}" for value in (result.psnr.mean, result.psnr.p5, result.psnr.worst)]
    times = [f"{value:.2f}x" if math.isfinite(value) else NOTHING for value in (result.speedup, result.ideal)]
    return (name, f"{result.nfe:.3g}", *fidelity, f"{result.ssim.mean:.3f}", *times)


def list_notes(comparison: Comparison) -> list[str]:
    """Return what has to be known to read the table: measures, missed numbers of steps, what was left out."""
    texts = [LEGEND]
    if any(map(misses, comparison.results)):
        texts.append(f"{MISSED} cannot compute as many steps as asked for; this is the nearest.")
    for result in comparison.results:
        if result.teaching:
            texts.append(f"{line(result.name)}: taught by {result.teaching} image(s) of other seeds, drawn before.")
    for refusal in comparison.refusals:
        texts.append(f"{line(refusal.name)} is left out: {line(refusal.why)}")
    return texts


def describe(comparison: Comparison) -> str:
    """Return the table in columns of one width, for a terminal."""
    rows = [COLUMNS, *map(write_row, comparison.results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_align(row, widths)).rstrip() for row in rows]
    return "\n".join([write_title(comparison), *lines, *list_notes(comparison)])


def _align(row: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    """Set names to the left and numbers to the right."""
    pairs = enumerate(zip(row, widths, strict=True))
    return (cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in pairs)


def write_markdown(comparison: Comparison) -> str:
    """Return the table in Markdown, with its notes below."""
    rows = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1)), *map(write_row, comparison.results)]
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([f"**{write_title(comparison)}**", "", *lines, "", " ".join(list_notes(comparison)), ""])


def write_latex(comparison: Comparison) -> str:
    """Return the table as a LaTeX ``tabular`` that needs no package, its notes as comments above it."""
    rows = [" & ".join(map(escape, row)) + r" \\" for row in (COLUMNS, *map(write_row, comparison.results))]
    head = [f"% {note}" for note in (write_title(comparison), *list_notes(comparison))]
    begin = rf"\begin{{tabular}}{{l{'r' * (len(COLUMNS) - 1)}}}"
    return "\n".join([*head, begin, r"\hline", rows[0], r"\hline", *rows[1:], r"\hline", r"\end{tabular}", ""])


def escape(cell: str) -> str:
    r"""Write text so that LaTeX shows it as it is.

    Example:
        >>> print(escape("tc-pade_50%"))
        tc-pade\_50\%
    """
    return "".join(LATEX.get(letter, letter) for letter in cell)


def write_html(comparison: Comparison) -> str:
    """Return the table as HTML that needs nothing else."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in COLUMNS)
    rows = [
        "".join(f"<td>{html.escape(cell)}</td>" for cell in write_row(result)).replace(
            "<td>", "<td style='text-align:left'>", 1
        )
        for result in comparison.results
    ]
    body = "".join(f"<tr>{row}</tr>" for row in (head, *rows))
    below = "<br>".join(map(html.escape, list_notes(comparison)))
    return f"<div><b>{html.escape(write_title(comparison))}</b><table>{body}</table><small>{below}</small></div>"
