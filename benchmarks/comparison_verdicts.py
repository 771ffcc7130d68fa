"""What the figures at equal numbers of computed steps say in sentences, where padecast is behind too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from padecast.lab.html import is_partial

CLOSE = 0.5
"""Computed steps that a method may miss the wanted number by and still be compared at it."""
OURS = ("adaptive", "tc-pade", "tc-pade-fast", "linear", "calibrated")
"""Not published by others, or the method of the paper that padecast began with in its repaired form."""
Document = dict[str, Any]
Row = dict[str, Any]


def verdicts(document: Document) -> list[str]:
    """Say in sentences what the figures say, where padecast is behind too."""
    found = list(cells(document))
    return [
        *_of_calibrated(found),
        *_of_uncalibrated(found, "tc-pade"),
        *_of_uncalibrated(found, "adaptive"),
        *_of_worst(found),
    ]


def together(documents: Iterable[Document]) -> list[str]:
    """Say where the uncalibrated methods stand over the cells of all models."""
    found = [cell for document in documents for cell in cells(document)]
    return [*_of_uncalibrated(found, "tc-pade"), *_of_uncalibrated(found, "adaptive")]


@dataclass(frozen=True)
class Figure:
    """What rows are judged by, how that is written, and whether more (1) or less (-1) of it is better."""

    of: Callable[[Row], float]
    written: str
    sign: int = 1


def beside(documents: Iterable[Document]) -> list[str]:
    """Return a table of calibrated beside the best that is not padecast's own, in every figure by itself."""
    head = ["cell", "PSNR, dB", "SSIM", "shows what was asked", "FID", "uncached shows"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for place, rows in (cell for document in documents for cell in cells(document)):
        own = next((row for row in rows if row["name"] == "calibrated"), None)
        theirs = [row for row in rows if not is_partial(row["name"]) and row["name"].partition(":")[0] not in OURS]
        if own and theirs:
            uncached = next((f"{v:.3f}" for name, v in own["uncached"].items() if not name.startswith("FID")), "")
            told = [_lead_of(own, theirs, figure) if figure else "" for figure in _judged_by(own)]
            lines.append(f"| {' | '.join([place, *told, uncached])} |")
    return lines


def _judged_by(own: Row) -> list[Figure | None]:
    """Return PSNR, SSIM, the score and the FID; none for what was not measured."""
    fid = next((name for name in own["scores"] if name.startswith("FID")), None)
    shown = next((name for name in own["scores"] if name != fid), None)
    return [
        Figure(lambda row: float(row["psnr"]["mean"]), ".2f"),
        Figure(lambda row: float(row["ssim"]["mean"]), ".4f"),
        Figure(lambda row: float(row["scores"][shown]), ".3f") if shown else None,
        Figure(lambda row: float(row["scores"][fid]), ".3f", -1) if fid else None,
    ]


def _lead_of(own: Row, theirs: list[Row], figure: Figure) -> str:
    """Write a figure, and by how much the best other one is behind; where that one is ahead, it is bold."""
    best = max(theirs, key=lambda row: figure.sign * figure.of(row))
    level = [row["name"] for row in theirs if figure.of(row) == figure.of(best)]
    lead = figure.sign * (figure.of(own) - figure.of(best))
    told = format(lead, f"+{figure.written}") if lead else "level"
    whose = best["name"] if len(level) == 1 else f"{best['name']} and {len(level) - 1} more"
    joint = "on" if lead else "with"
    return f"{figure.of(own):{figure.written}}, {told if lead >= 0 else f'**{told}**'} {joint} {whose}"


def cells(document: Document) -> Iterable[tuple[str, list[Row]]]:
    """Yield every finished setting and number of computed steps, and what reached it, the most faithful first."""
    for title, chapter in document["chapters"].items():
        for wanted in budgets(chapter):
            if not lacking(chapter, wanted):
                known = {"steps": chapter["settings"]["steps"], "uncached": chapter["uncached"]}
                rows = [{**row, **known} for row in ranked(chapter, wanted) if not missed(row)]
                yield f"{title}, {wanted}", rows


def lacking(chapter: Document, wanted: int) -> list[str]:
    """Return what was measured in this setting, but not at this number of computed steps."""
    entered = [*chapter["rows"], *chapter["refusals"]]
    return sorted({row["name"] for row in entered} - {row["name"] for row in entered if row["wanted"] == wanted})


def budgets(chapter: Document) -> list[int]:
    return sorted({int(row["wanted"]) for row in chapter["rows"]})


def ranked(chapter: Document, wanted: int) -> list[Row]:
    rows = [row for row in chapter["rows"] if row["wanted"] == wanted]
    return sorted(rows, key=lambda row: -row["psnr"]["mean"])


def missed(row: Row) -> bool:
    """Whether a row computed another number of steps than it was to."""
    return bool(abs(row["nfe"] - row["wanted"]) > CLOSE)


def decibels(rows: list[Row], name: str) -> float | None:
    """Return the mean PSNR of a row, if it is there."""
    return next((row["psnr"]["mean"] for row in rows if row["name"] == name), None)


def _of_calibrated(found: list[tuple[str, list[Row]]]) -> list[str]:
    """Compare calibrated with the best of everyone else, and of those that are not padecast's own."""
    lines = []
    for place, rows in found:
        own = decibels(rows, "calibrated")
        others = [row for row in rows if row["name"] != "calibrated"]
        whole = [row for row in others if not is_partial(row["name"])]
        if own is None or not whole:
            continue
        theirs = next((row for row in whole if row["name"].partition(":")[0] not in OURS), None)
        told = f"- {place} computed: calibrated {_lead(own, whole[0])}, the best of all others"
        if theirs is not None and theirs is not whole[0]:
            told += f"; {_lead(own, theirs)}, the best that is not padecast's own"
        lines.append(f"{told}.")
        lines += [_ahead(row, own) for row in others if is_partial(row["name"]) and row["psnr"]["mean"] > own]
    return lines


def _lead(own: float, other: Row) -> str:
    lead = own - other["psnr"]["mean"]
    steps = f" ({other['nfe']:.2f} computed)" if abs(other["nfe"] - other["wanted"]) >= 0.05 else ""
    more = (other["flops_share"] or 0) - other["nfe"] / other["steps"]
    share = f" (with {other['flops_share']:.0%} of the operations)".replace("%", " %") if more >= 0.02 else ""
    whose = f"{other['name']}{steps}{share}"
    return f"{lead:+.2f} dB over {whose}" if lead >= 0 else f"**{-lead:.2f} dB behind {whose}**"


def _ahead(row: Row, own: float) -> str:
    share = f"{row['flops_share']:.0%}".replace("%", " %")
    return (
        f"    - {row['name']}†, with {share} of the operations, is **{row['psnr']['mean'] - own:.2f} dB ahead** of it."
    )


def _of_uncalibrated(found: list[tuple[str, list[Row]]], name: str) -> list[str]:
    """Compare the mean over cells with that of every published method's best variant, over cells that both reached."""
    own = [decibels(rows, name) for _, rows in found]
    theirs = [_variants(rows) for _, rows in found]
    leads: dict[str, tuple[float, int]] = {}
    for other in dict.fromkeys(other for best in theirs for other in best):
        gaps = [a - best[other] for a, best in zip(own, theirs, strict=True) if a is not None and other in best]
        if gaps:
            leads[other] = fmean(gaps), len(gaps)
    if not leads:
        return []
    told = [
        f"{other}{'†' if is_partial(other) else ''} {lead:+.1f}" + (f" ({_cells(count)})" if count < len(found) else "")
        for other, (lead, count) in sorted(leads.items(), key=lambda item: item[1][0])
    ]
    behind = [other for other, (lead, _) in leads.items() if lead < 0]
    verdict = f"**behind {', '.join(behind)}**" if behind else "behind none"
    others = "less that of fewer steps and of each published method"
    what = f"{name}, uncalibrated, its mean PSNR over {_cells(len(found))} {others}"
    return [f"- {what}, the best of its variants in every cell: {', '.join(told)} dB; {verdict}."]


def _cells(count: int) -> str:
    return f"{count} cell{'s' if count != 1 else ''}"


def _variants(rows: list[Row]) -> dict[str, float]:
    """Return published methods without their options, and the mean PSNR of the best of each."""
    best: dict[str, float] = {}
    for row in rows:
        plain = row["name"].partition(":")[0]
        if plain not in OURS:
            best[plain] = max(best.get(plain, 0.0), row["psnr"]["mean"])
    return best


def _of_worst(found: list[tuple[str, list[Row]]]) -> list[str]:
    """Say where calibrated has not also the best 5th percentile, worst sample and FID."""
    lines = []
    for place, rows in found:
        whole = [row for row in rows if not is_partial(row["name"])]
        own = next((row for row in whole if row["name"] == "calibrated"), None)
        for kind, of in _kinds(own).items() if own else ():
            best, digits = max(whole, key=of), 3 if kind.startswith("FID") else 2
            if own and of(best) > of(own):
                figures = f"{abs(of(best)):.{digits}f} against {abs(of(own)):.{digits}f}"
                lines.append(f"- {place} computed: {best['name']} has the better {kind}, {figures} of calibrated.")
    return lines


def _kinds(row: Row) -> dict[str, Callable[[Row], float]]:
    """Figures besides the mean, of which more is better."""
    kinds: dict[str, Callable[[Row], float]] = {
        "5th percentile of PSNR": lambda row: float(row["psnr"]["p5"]),
        "worst sample's PSNR": lambda row: float(row["psnr"]["worst"]),
    }
    for name in row["scores"]:
        if name.startswith("FID"):
            kinds[name] = lambda row, name=name: -float(row["scores"][name])  # type: ignore[misc]
    return kinds
