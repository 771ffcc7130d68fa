"""What the figures at equal numbers of computed steps say in sentences, where padecast is behind too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import fmean

from benchmarks.common import Document, align, table
from benchmarks.comparison.tables import budgets, misses, percent, rank
from padecast.lab.html import is_partial

OURS = ("adaptive", "tc-pade", "tc-pade-fast", "linear", "calibrated")
"""Not published by others, or the method of the paper that padecast began with in its repaired form."""
Row = Document
Cell = tuple[str, list[Row]]


def judge(document: Document) -> str:
    """Say in sentences what the figures of a model say."""
    cells = list(finish(document))
    lines = [*_of_calibrated(cells), *_of_uncalibrated(cells, "tc-pade"), *_of_uncalibrated(cells, "adaptive")]
    return "\n".join([*lines, *_of_worst(cells)])


def place_together(documents: Iterable[Document]) -> str:
    """Return a line per published method: how far the uncalibrated ones are ahead, over the cells of all models."""
    cells = [cell for document in documents for cell in finish(document)]
    leads = {name: _lead_over(cells, name) for name in ("tc-pade", "adaptive")}
    others = {other: lead for lead_over in leads.values() for other, lead in lead_over.items()}
    rows = [
        [other + "†" * is_partial(other), *(_write_lead(lead_over.get(other)) for lead_over in leads.values())]
        for other in sorted(others, key=others.__getitem__)
    ]
    return table(["published method, the best of its variants in every cell", *leads], rows, align(len(leads)))


def _write_lead(lead: tuple[float, int] | None) -> str:
    return "" if lead is None else f"{lead[0]:+.1f} dB, {_cells(lead[1])}"


def finish(document: Document) -> Iterator[Cell]:
    """Yield every finished setting and number of computed steps, and what reached it, the most faithful first."""
    for title, chapter in document["chapters"].items():
        for nfe in budgets(chapter):
            if not lacking(chapter, nfe):
                setting = {"steps": chapter["settings"]["steps"], "uncached": chapter["uncached"]}
                yield f"{title}, {nfe}", [{**row, **setting} for row in rank(chapter, nfe) if not misses(row)]


def lacking(chapter: Document, nfe: int) -> list[str]:
    """Return what was measured in this setting, but not at this number of computed steps."""
    entries = [*chapter["rows"], *chapter["refusals"]]
    return sorted({row["name"] for row in entries} - {row["name"] for row in entries if row["wanted"] == nfe})


def find(rows: list[Row], name: str) -> Row | None:
    """Return a row by its name, if it is there."""
    return next((row for row in rows if row["name"] == name), None)


def plain(row: Row) -> str:
    """Return a method's name without its options."""
    return str(row["name"].partition(":")[0])


@dataclass(frozen=True)
class Figure:
    """What rows are judged by, how that is written, and whether more (1) or less (-1) of it is better."""

    of: Callable[[Row], float]
    form: str
    sign: int = 1

    def best(self, rows: list[Row]) -> Row:
        """Return the best row in this figure."""
        return max(rows, key=lambda row: self.sign * self.of(row))


MEAN = Figure(lambda row: float(row["psnr"]["mean"]), ".2f")
STRUCTURE = Figure(lambda row: float(row["ssim"]["mean"]), ".4f")


def figure_of(score: str | None) -> Figure | None:
    """Return the figure of a score, of which less is better if it is an FID."""
    sign = -1 if score and score.startswith("FID") else 1
    return Figure(lambda row: float(row["scores"][score]), ".3f", sign) if score else None


def measure_leads(documents: Iterable[Document]) -> str:
    """Return a table of calibrated beside the best that is not padecast's own, in every figure by itself."""
    rows = []
    for place, cell in (cell for document in documents for cell in finish(document)):
        calibrated = find(cell, "calibrated")
        theirs = [row for row in cell if not is_partial(row["name"]) and plain(row) not in OURS]
        if calibrated and theirs:
            uncached = next(
                (f"{v:.3f}" for name, v in calibrated["uncached"].items() if not name.startswith("FID")), ""
            )
            leads = [_lead_of(calibrated, theirs, figure) if figure else "" for figure in _figures(calibrated)]
            rows.append([place, *leads, uncached])
    head = ["cell", "PSNR, dB", "SSIM", "shows what was asked", "FID", "uncached shows"]
    return table(head, rows, f"| --- |{' ---: |' * (len(head) - 1)}")


def _figures(row: Row) -> list[Figure | None]:
    """Return PSNR, SSIM, the score and the FID; none for what was not measured."""
    fid = next((name for name in row["scores"] if name.startswith("FID")), None)
    score = next((name for name in row["scores"] if name != fid), None)
    return [MEAN, STRUCTURE, figure_of(score), figure_of(fid)]


def _lead_of(calibrated: Row, theirs: list[Row], figure: Figure) -> str:
    """Write a figure, and by how much the best other one is behind; where that one is ahead, it is bold."""
    best = figure.best(theirs)
    level = [row["name"] for row in theirs if figure.of(row) == figure.of(best)]
    lead = figure.sign * (figure.of(calibrated) - figure.of(best))
    words = format(lead, f"+{figure.form}") if lead else "level"
    whose = best["name"] if len(level) == 1 else f"{best['name']} and {len(level) - 1} more"
    joint = "on" if lead else "with"
    return f"{figure.of(calibrated):{figure.form}}, {words if lead >= 0 else f'**{words}**'} {joint} {whose}"


def _of_calibrated(cells: list[Cell]) -> Iterator[str]:
    """Compare calibrated with the best of everyone else, and of those that are not padecast's own."""
    for place, rows in cells:
        calibrated = find(rows, "calibrated")
        others = [row for row in rows if row["name"] != "calibrated"]
        whole = [row for row in others if not is_partial(row["name"])]
        if calibrated is None or not whole:
            continue
        psnr = MEAN.of(calibrated)
        theirs = next((row for row in whole if plain(row) not in OURS), None)
        line = f"- {place} computed: calibrated {_lead(psnr, whole[0])}, the best of all others"
        if theirs is not None and theirs is not whole[0]:
            line += f"; {_lead(psnr, theirs)}, the best that is not padecast's own"
        yield f"{line}."
        for row in others:
            if is_partial(row["name"]) and (ahead := MEAN.of(row) - psnr) > 0:
                share = percent(row["flops_share"])
                yield f"    - {row['name']}†, with {share} of the operations, is **{ahead:.2f} dB ahead** of it."


def _lead(psnr: float, other: Row) -> str:
    lead = psnr - other["psnr"]["mean"]
    steps = f" ({other['nfe']:.2f} computed)" if abs(other["nfe"] - other["wanted"]) >= 0.05 else ""
    more = (other["flops_share"] or 0) - other["nfe"] / other["steps"]
    share = f" (with {percent(other['flops_share'])} of the operations)" if more >= 0.02 else ""
    whose = f"{other['name']}{steps}{share}"
    return f"{lead:+.2f} dB over {whose}" if lead >= 0 else f"**{-lead:.2f} dB behind {whose}**"


def _of_uncalibrated(cells: list[Cell], name: str) -> Iterator[str]:
    """Compare the mean over cells with that of every published method's best variant, in a sentence."""
    leads = _lead_over(cells, name)
    if not leads:
        return
    words = [
        f"{other}{'†' if is_partial(other) else ''} {lead:+.1f}" + (f" ({_cells(count)})" if count < len(cells) else "")
        for other, (lead, count) in sorted(leads.items(), key=lambda item: item[1][0])
    ]
    behind = [other for other, (lead, _) in leads.items() if lead < 0]
    verdict = f"**behind {', '.join(behind)}**" if behind else "behind none"
    others = "less that of fewer steps and of each published method"
    what = f"{name}, uncalibrated, its mean PSNR over {_cells(len(cells))} {others}"
    yield f"- {what}, the best of its variants in every cell: {', '.join(words)} dB; {verdict}."


def _lead_over(cells: list[Cell], name: str) -> dict[str, tuple[float, int]]:
    """Return by published method our mean lead over its best variant, and over how many cells that both reached."""
    pairs = [(MEAN.of(row), _variants(rows)) for _, rows in cells if (row := find(rows, name))]
    leads: dict[str, tuple[float, int]] = {}
    for other in dict.fromkeys(other for _, rows in cells for other in _variants(rows)):
        if gaps := [psnr - best[other] for psnr, best in pairs if other in best]:
            leads[other] = fmean(gaps), len(gaps)
    return leads


def _cells(count: int) -> str:
    return f"{count} cell{'s' if count != 1 else ''}"


def _variants(rows: list[Row]) -> dict[str, float]:
    """Return published methods without their options, and the mean PSNR of the best of each."""
    best: dict[str, float] = {}
    for row in rows:
        if plain(row) not in OURS:
            best[plain(row)] = max(best.get(plain(row), 0.0), row["psnr"]["mean"])
    return best


def _of_worst(cells: list[Cell]) -> Iterator[str]:
    """Say where calibrated has not also the best 5th percentile, worst sample and FID."""
    tails = {
        "5th percentile of PSNR": Figure(lambda row: float(row["psnr"]["p5"]), ".2f"),
        "worst sample's PSNR": Figure(lambda row: float(row["psnr"]["worst"]), ".2f"),
    }
    for place, rows in cells:
        if calibrated := find(rows, "calibrated"):
            distances = {name: figure_of(name) for name in calibrated["scores"] if name.startswith("FID")}
            for kind, figure in (tails | distances).items():
                best = figure.best([row for row in rows if not is_partial(row["name"])])
                if figure.sign * (figure.of(best) - figure.of(calibrated)) > 0:
                    figures = f"{figure.of(best):{figure.form}} against {figure.of(calibrated):{figure.form}}"
                    yield f"- {place} computed: {best['name']} has the better {kind}, {figures} of calibrated."
