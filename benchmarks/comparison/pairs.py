"""Ours beside the best that is not ours, seed by seed, at equal numbers of computed steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import fmean

from benchmarks.common import Document, align, table
from benchmarks.comparison.tables import budgets, misses, rank
from padecast.lab import Difference, Spread
from padecast.lab.html import is_partial

KINDS = {
    "uncalibrated": ("adaptive", "tc-pade"),
    "learned": ("learned",),
    "calibrated": ("calibrated",),
}
"""What is compared, and the methods of each kind: the best variant in every cell counts, as it does of the others."""
JUDGED = {"the default, `adaptive`, alone": ("adaptive",), **KINDS}
"""What the first lines of the page speak of."""
NEITHER = ("tc-pade-fast", "linear")
"""The published method in its repaired form, and even lines: in the tables, on neither side."""
OURS = tuple(name for names in KINDS.values() for name in names)


@dataclass(frozen=True)
class Pair:
    """The best of ours of a kind beside the best that is not ours, in one cell.

    Args:
        cell: World and number of computed steps.
        kind: See :data:`KINDS`.
        ours: The row of ours.
        other: The row of the other.
    """

    cell: str
    kind: str
    ours: Document
    other: Document

    @property
    def difference(self) -> Difference:
        """Of PSNR, over the same seeds."""
        difference = Difference.of(_spread(self.ours["psnr"]), _spread(self.other["psnr"]))
        if difference is not None:
            return difference
        return Difference(self.ours["psnr"]["mean"] - self.other["psnr"]["mean"], float("nan"), float("nan"))


def _spread(values: Document) -> Spread:
    return Spread(values["mean"], values["p5"], values["worst"], tuple(values.get("each", ())))


def family(row: Document) -> str:
    """Return a method's name without options; of calibrations without their effort."""
    name: str = row["name"].partition(":")[0]
    return name.partition(" ")[0]


def pair(documents: dict[str, Document], kinds: dict[str, tuple[str, ...]] = KINDS) -> Iterator[Pair]:
    """Yield every cell of some worlds, kind by kind, where both sides reached the number of computed steps."""
    for title, document in documents.items():
        for chapter in document["chapters"].values():
            for nfe in budgets(chapter):
                rows = [row for row in rank(chapter, nfe) if not misses(row)]
                others = [r for r in rows if family(r) not in (*OURS, *NEITHER) and not is_partial(r["name"])]
                for kind, names in kinds.items():
                    ours = [row for row in rows if family(row) in names]
                    if ours and others:
                        yield Pair(f"{title}, {nfe}", kind, ours[0], others[0])


def tabulate_pairs(documents: dict[str, Document]) -> str:
    """Return a line per cell: of every kind its lead in dB with the standard error, and the share of seeds ahead."""
    lines: dict[str, dict[str, Pair]] = {}
    for one in pair(documents):
        lines.setdefault(one.cell, {})[one.kind] = one
    rows = []
    for cell, kinds in lines.items():
        other = next(iter(kinds.values())).other
        theirs = f"{other['psnr']['mean']:.1f}<br>{other['name']}"
        rows.append([cell, theirs, *(_write(kinds[kind]) if kind in kinds else "" for kind in KINDS)])
    return table(["cell", "best that is not ours, dB", *KINDS], rows, align(1 + len(KINDS)))


def _write(one: Pair) -> str:
    lead = one.difference
    spread = "" if lead.error != lead.error else f" ± {lead.error:.1f} ({lead.ahead:.0%})".replace("%", " %")
    mean = f"{lead.mean:+.1f}" if lead.mean >= 0 else f"**{lead.mean:+.1f}**"
    return f"{mean}{spread}<br>{one.ours['name']}"


def judge_pairs(documents: dict[str, Document]) -> str:
    """Say of every kind in a sentence how far it is ahead in the mean over cells, and where it is behind."""
    pairs = list(pair(documents, JUDGED))
    return "\n".join(
        f"- {_judge(kind, mine)}" for kind in JUDGED if (mine := [one for one in pairs if one.kind == kind])
    )


def _judge(kind: str, pairs: list[Pair]) -> str:
    leads = [one.difference.mean for one in pairs]
    behind = [one for one in pairs if one.difference.mean < 0]
    lines = [
        f"**{kind}**: {fmean(leads):+.1f} dB in the mean over {len(pairs)} cells, against the best other of each cell."
    ]
    if not behind:
        least = min(pairs, key=lambda one: one.difference.mean)
        lines.append(f"Behind in none. At the least {least.difference.mean:+.1f} dB: {least.cell}.")
    lines += [f"**Behind** {one.other['name']} by {-one.difference.mean:.1f} dB: {one.cell}." for one in behind]
    return "\n    - ".join(lines)


def compare_figures(documents: dict[str, Document]) -> str:
    """Return every kind's mean lead over cells in SSIM, worst sample, 5th percentile and FID, each against its best."""
    cells = [
        ([row for row in rank(chapter, nfe) if not misses(row)])
        for document in documents.values()
        for chapter in document["chapters"].values()
        for nfe in budgets(chapter)
    ]
    rows = []
    for kind, names in JUDGED.items():
        leads: dict[str, list[float]] = {}
        for cell in cells:
            ours = [row for row in cell if family(row) in names]
            others = [r for r in cell if family(r) not in (*OURS, *NEITHER) and not is_partial(r["name"])]
            for figure, lead in _leads(ours, others):
                leads.setdefault(figure, []).append(lead)
        if leads:
            digits = {"SSIM": 4, "FID": 3}
            rows.append(
                [kind, *(f"{fmean(leads[name]):+.{digits.get(name, 1)}f}" for name in FIGURES if name in leads)]
            )
    return table(["kind", *FIGURES], rows, align(len(FIGURES)))


FIGURES = ("PSNR", "5th percentile", "worst sample", "SSIM", "FID")


def _leads(ours: list[Document], others: list[Document]) -> Iterable[tuple[str, float]]:
    if not ours or not others:
        return
    values = {
        "PSNR": lambda row: row["psnr"]["mean"],
        "5th percentile": lambda row: row["psnr"]["p5"],
        "worst sample": lambda row: row["psnr"]["worst"],
        "SSIM": lambda row: row["ssim"]["mean"],
    }
    for name, of in values.items():
        yield name, max(map(of, ours)) - max(map(of, others))
    distances = [name for name in ours[0]["scores"] if name.startswith("FID")]
    if distances:
        yield "FID", min(r["scores"][distances[0]] for r in others) - min(r["scores"][distances[0]] for r in ours)
