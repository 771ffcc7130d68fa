"""Writes docs/claims.md: what became of the papers' statements on the demo model, with pictures.

    python benchmarks/claims_page.py            # --results DIR, --docs DIR for others than the project's own

from benchmarks/results/claims-*.json (``benchmarks/claims.py``), digits-hard.json and digits-easy.json
(``benchmarks/methods.py``), and from nothing else. Every verdict is computed by the rule that the page states.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from common import RESULTS, TEST

from padecast.lab._canvas import INK, figure_of, plain, styles_of, write
from padecast.lab._canvas import title as write_title

DOCS = Path(__file__).parent.parent / "docs"
SETTINGS = ("hard", "easy")
NFE = (6, 8, 10)
DECIBELS, RELATIVE, COSINE, READ = 0.5, 0.05, 0.01, 0.05
MOST, FEW = 0.9, 0.1
IDENTICAL = 99.0
RULE = f"""A statement, or one reading of it, is a list of comparisons, made in both settings. A comparison **holds** or
**fails** where the difference is beyond a margin: {DECIBELS:g} dB of mean PSNR, {RELATIVE:.0%} of an error,
{COSINE:g} of a cosine, {100 * READ:g} points of digits read, any computed step; inside the margin it is a **tie** and
counts for neither. A reading is *supported* where at least {MOST:.0%} of what is no tie holds, *refuted* where at most
{FEW:.0%} does, else *mixed*, also where all are ties. A statement is supported or refuted if all its readings are, else
mixed; readings in brackets stand beside it and do not count. A verdict on fewer than {len(TEST)} seeds, or on one
setting alone, is marked provisional."""
Document = dict[str, Any]
Rows = list[dict[str, Any]]
Line = list[tuple[float, float]]


# Verdicts -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """One comparison: by how much it speaks for the statement, and what counts as a tie."""

    what: str
    gain: float
    margin: float = DECIBELS

    @property
    def side(self) -> int:
        """1 where it holds, -1 where it fails, 0 for a tie."""
        return (self.gain > self.margin) - (self.gain < -self.margin)


def counted(compared: Sequence[Compared]) -> str:
    """Say how many hold, fail and are ties."""
    sides = [c.side for c in compared]
    return f"{sides.count(1)} hold, {sides.count(-1)} fail, {sides.count(0)} tie"


@dataclass(frozen=True)
class Reading:
    """One reading of a statement."""

    text: str
    compared: Sequence[Compared]
    counts: bool = True

    @property
    def verdict(self) -> str:
        """What the comparisons say, by the rule.

        >>> Reading("", [Compared("", 1.0), Compared("", 0.2), Compared("", 3.0)]).verdict
        'supported'
        """
        sides = [c.side for c in self.compared if c.side]
        share = sides.count(1) / len(sides) if sides else 0.5
        return "supported" if share >= MOST else "refuted" if share <= FEW else "mixed"

    @property
    def told(self) -> str:
        """How many hold, fail and are ties."""
        return counted(self.compared)


@dataclass(frozen=True)
class Statement:
    """One statement, its readings, and the text under it; nothing was measured if there are no readings."""

    title: str
    about: str
    readings: Sequence[Reading] = ()
    body: Sequence[str] = field(default=())
    seeds: str = ""

    @property
    def verdict(self) -> str:
        """What the readings say together."""
        found = {r.verdict for r in self.readings if r.counts}
        return "not measured yet" if not found else found.pop() if len(found) == 1 else "mixed"

    @property
    def stated(self) -> str:
        """The verdict, and whether more seeds are to come."""
        final = not self.readings or self.seeds == str(len(TEST))
        return f"**{self.verdict}**" if final else f"**{self.verdict}**, provisional"

    @property
    def told(self) -> str:
        """How many comparisons of the readings that count hold, fail and are ties."""
        compared = [c for r in self.readings if r.counts for c in r.compared]
        return counted(compared) if compared else ""


# What the files say ---------------------------------------------------------------------------------------------------


class Measured:
    """The result files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def part(self, name: str) -> Document:
        """Return a part of the claims by setting, less what no batch of was measured."""
        path = self.folder / f"claims-{name}.json"
        if not path.exists():
            return {}
        settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
        return {s: found for s, found in settings.items() if found["seeds"]}

    def digits(self) -> Document:
        """Return seeds and rows of benchmarks/methods.py by setting."""
        paths = {s: self.folder / f"digits-{s}.json" for s in SETTINGS}
        found = {s: json.loads(p.read_text(encoding="utf-8")) for s, p in paths.items() if p.exists()}
        return {s: {"seeds": one["settings"]["seeds"], "rows": one["results"]} for s, one in found.items()}


def seeds(found: Document) -> str:
    """Say how many test seeds were drawn."""
    counts = {s: len(one["seeds"]) for s, one in found.items()}
    same = len(set(counts.values())) == 1 and len(counts) == len(SETTINGS)
    return f"{next(iter(counts.values()))}" if same else " and ".join(f"{n} ({s})" for s, n in counts.items())


def mean(rows: Rows, name: str, at: float, key: str = "psnr") -> float:
    """Return the mean of one row over its samples, or of its computed steps over batches."""
    (row,) = (r for r in rows if r["name"] == name and r["at"] == at)
    return fmean(row[key])


def names(rows: Rows) -> list[str]:
    """Names of rows, each once."""
    return list(dict.fromkeys(r["name"] for r in rows))


def lines(rows: Rows, key: str = "psnr", leave: Sequence[str] = ()) -> dict[str, Line]:
    """Return a line per name over what is varied."""
    chosen = [n for n in names(rows) if n not in leave]
    return {n: [(r["at"], fmean(r[key])) for r in rows if r["name"] == n] for n in chosen}


def decibels(rows: Rows, name: str, wanted: int) -> float:
    """Return the mean PSNR of a row of benchmarks/methods.py."""
    (row,) = (r for r in rows if r["name"] == name and r["wanted"] == wanted)
    return float(row["psnr"]["mean"])


# The statements -------------------------------------------------------------------------------------------------------


def predictable(measured: Measured, images: Path) -> Statement:
    """Residuals against raw features."""
    title = "Residuals are more predictable than raw features"
    about = (
        "Recorded uncached runs: from the features of steps t-3g, t-2g and t-g, those of step t are forecast, once "
        "the residual of the whole stack and once its raw output. Both errors are in one unit: the norm of the error "
        "of the stack's output over the norm of the true residual of step t (a forecast residual is added to the "
        "stack's input at t, which is known; a forecast output stands by itself). Means over all t >= 3g, samples "
        "and conditionings. tc-pade here is without error feedback, which has nothing to pay back in a recorded run."
    )
    found = measured.part("predict")
    if not found:
        return Statement(title, about)
    errors = {s: errors_of(one) for s, one in found.items()}
    readings = [
        Reading(
            f"forecast by {name}",
            [
                Compared(
                    f"{s}, {gap} ahead",
                    1 - by["residual", name, gap] / by["output", name, gap],
                    RELATIVE,
                )
                for s, by in errors.items()
                for gap in (1, 2, 3, 4)
            ],
        )
        for name in ("reuse", "linear", "tc-pade")
    ]
    cosines = {s: cosines_of(one) for s, one in found.items()}
    readings.append(
        Reading(
            "cosines of features 1 to 4 steps apart are higher",
            [
                Compared(f"{s}, {gap} apart", over(by["residuals"], gap) - over(by["outputs"], gap), COSINE)
                for s, by in cosines.items()
                for gap in (1, 2, 3, 4)
            ],
            counts=False,
        )
    )
    panels(
        images / "claims-predict.png",
        "Error of the stack's output, over the norm of its residual",
        [
            Panel(
                s,
                {
                    f"{kind}, {name}": [(gap, by[kind, name, gap]) for gap in (1, 2, 3, 4)]
                    for name in ("reuse", "linear", "tc-pade")
                    for kind in ("residual", "output")
                },
                "steps between the known ones, and ahead",
                "relative error",
            )
            for s, by in errors.items()
        ],
        dashed=("output",),
    )
    body = ["![Error over the gap](images/claims-predict.png)", ""]
    panels(
        images / "claims-cosines.png",
        "Cosine of features of different steps, mean over pairs",
        [
            Panel(
                s,
                {
                    name: [(d, over(by[kind], d)) for d in range(1, len(by[kind]))]
                    for name, kind in (("residual", "residuals"), ("output", "outputs"))
                },
                "steps between them",
                "cosine",
            )
            for s, by in cosines.items()
        ],
    )
    body += ["![Cosines over step distance](images/claims-cosines.png)", ""]
    told = [
        f"{s}: input {fmean(fmean(b['input over residual']) for b in one['batches']):.2f}, "
        f"output {fmean(fmean(b['output over residual']) for b in one['batches']):.2f} times the residual's norm"
        for s, one in found.items()
    ]
    body += [
        f"{'; '.join(told)}. With weights that do not depend on the features, the two forecasts differ by the error of "
        "forecasting the stack's input with the same weights. Cosines are of features that each carry their own norm, "
        "so they do not say which forecast leaves less error.",
        "",
    ]
    rows = [
        [f"{kind} by {name}", *(f"{by[kind, name, gap]:.3f}" for by in errors.values() for gap in (1, 2, 3, 4))]
        for name in ("reuse", "linear", "tc-pade")
        for kind in ("residual", "output")
    ]
    body += table(["forecast", *(f"{s}, {gap}" for s in errors for gap in (1, 2, 3, 4))], rows)
    return Statement(title, about, readings, body, seeds(found))


def errors_of(found: Document) -> dict[tuple[str, str, int], float]:
    """Return the mean error by kind, forecaster and gap."""
    by: dict[tuple[str, str, int], float] = {}
    for written in found["batches"][0]["errors"]:
        kind, name, gap = written.split(", ")
        by[kind, name, int(gap)] = fmean(fmean(b["errors"][written]) for b in found["batches"])
    return by


def cosines_of(found: Document) -> dict[str, list[list[float]]]:
    """Return the cosines of all pairs of steps, of inner products summed over samples."""
    by = {}
    for kind in ("residuals", "outputs"):
        gram = torch.tensor([b["grams"][kind] for b in found["batches"]], dtype=torch.float64).sum(0)
        length = gram.diagonal().sqrt()
        by[kind] = (gram / length[:, None] / length[None, :]).tolist()
    return by


def over(matrix: list[list[float]], distance: int) -> float:
    """Return the mean cosine of steps so far apart."""
    return float(torch.tensor(matrix, dtype=torch.float64).diagonal(distance).mean())


def rational(measured: Measured, _images: Path) -> Statement:
    """Padé against Taylor on equal plans."""
    found = measured.digits()
    taylor = ("taylorseer order 1", "taylorseer order 2")

    def against(one: str, others: Sequence[str], text: str, counts: bool = True) -> Reading:
        compared = [
            Compared(f"{s}, {n}: {other}", decibels(by["rows"], one, n) - decibels(by["rows"], other, n))
            for s, by in found.items()
            for n in NFE
            for other in others
        ]
        return Reading(text, compared, counts)

    readings = [
        against("tc-pade as printed", taylor, "TC-Padé's predictor as printed"),
        against("Padé [1/1]", taylor, "vector Padé [1/1]"),
        against("Padé damped, no feedback", taylor, "the same, damped"),
        against("tc-pade", taylor, "tc-pade: damped, with error feedback"),
        against("tc-pade", ("linear with feedback",), "tc-pade against linear with the same feedback", counts=False),
    ]
    kept = [*taylor, "linear with feedback", "tc-pade as printed", "Padé [1/1]", "Padé damped, no feedback", "tc-pade"]
    kept = ["fewer-steps", "reuse", *kept]
    rows = [[name, *(f"{decibels(by['rows'], name, n):.1f}" for by in found.values() for n in NFE)] for name in kept]
    return Statement(
        "Rational beats Taylor at 20 steps",
        "The same computed steps for all: every 4th (6 computed), 3 warm-up steps and then every 4th (8) or 3rd "
        "(10), and the last. `digits-hard.json` and `digits-easy.json` (`python benchmarks/methods.py`). "
        "Published, FLUX.1-dev, 20 steps: TC-Padé fast 21.96 dB at 2.88x, TaylorSeer (N = 5, order 2) 17.46 dB at "
        "2.31x.",
        readings if found else (),
        table(["PSNR, dB", *(f"{s}, {n}" for s in found for n in NFE)], rows) if found else (),
        seeds(found) if found else "",
    )


def full(measured: Measured, images: Path) -> Statement:
    """The whole stack against parts of it."""
    title = "A residual of the full span beats those of partial spans"
    about = (
        "tc-pade on the plans above. *Halves* and *modules* (every attention and feed-forward network) are each "
        "forecast by themselves, and run as few blocks as the whole stack. Three spans run blocks at forecast steps "
        "too: all but the first block 1 of 8, front or back half 4 of 8, so that they cost more at equal numbers of "
        "computed steps. Published, FLUX.1-dev: full 2.88x, Aesthetic 5.76, ImageReward 0.918; single-stream blocks "
        "1.94x, 5.69, 0.872; double-stream blocks 1.36x, 5.10, 0.792."
    )
    found = measured.part("spans")
    if not found:
        return Statement(title, about)
    whole, *partial = names(next(iter(found.values()))["rows"])
    readings = [
        Reading(
            f"against {name}",
            [
                Compared(f"{s}, {n}", mean(one["rows"], whole, n) - mean(one["rows"], name, n))
                for s, one in found.items()
                for n in NFE
            ],
        )
        for name in partial
    ]
    panels(
        images / "claims-spans.png",
        "tc-pade: fidelity by what is forecast",
        [Panel(s, lines(one["rows"]), "computed steps (NFE)", "PSNR, mean, dB") for s, one in found.items()],
    )
    body = ["![Fidelity by span](images/claims-spans.png)", "", *figures(found, NFE)]
    return Statement(title, about, readings, body, seeds(found))


def monotone(measured: Measured, images: Path) -> Statement:
    """The stability threshold."""
    title = "The threshold θ trades speed for fidelity monotonically"
    about = (
        "tc-pade-fast (intervals of 4) with thresholds from 0 up, 8 seeds a call; a decision is shared by a "
        "call. Neighbouring thresholds are compared; where both make the same plans, there is nothing to compare. "
        "Published, FLUX.1-dev: 2.88x at 0.7, 2.20x at 1.0, 1.63x at 1.3."
    )
    found = measured.part("threshold")
    if not found:
        return Statement(title, about)
    steps, faithful = [], []
    for s, one in found.items():
        rows = one["rows"]
        for low, high in itertools.pairwise(rows):
            what = f"{s}, {low['at']:g} to {high['at']:g}"
            steps.append(Compared(what, fmean(high["computed"]) - fmean(low["computed"]), 0.0))
            if low["plans"] != high["plans"]:
                faithful.append(Compared(what, fmean(high["psnr"]) - fmean(low["psnr"])))
    readings = [Reading("a higher θ computes more steps", steps), Reading("a higher θ is more faithful", faithful)]
    computed = {s: lines(one["rows"], "computed")["tc-pade-fast"] for s, one in found.items()}
    psnr = {s: identical_left_out(lines(one["rows"])["tc-pade-fast"]) for s, one in found.items()}
    panels(
        images / "claims-threshold.png",
        "tc-pade-fast over its threshold",
        [
            Panel("speed", computed, "threshold θ", "computed steps (NFE)"),
            Panel("fidelity", psnr, "threshold θ", "PSNR, mean, dB"),
        ],
    )
    at = [r["at"] for r in next(iter(found.values()))["rows"]]
    rows = []
    for s, one in found.items():
        rows.append([f"{s}: computed", *(f"{fmean(r['computed']):.2f}" for r in one["rows"])])
        rows.append([f"{s}: PSNR", *(f"{fmean(r['psnr']):.1f}" for r in one["rows"])])
    body = ["![Threshold](images/claims-threshold.png)", "", *table(["θ", *(f"{a:g}" for a in at)], rows)]
    return Statement(title, about, readings, body, seeds(found))


def identical_left_out(line: Line) -> Line:
    """Leave out points at which every step is computed, whose PSNR is a convention."""
    return [(x, y) for x, y in line if y < IDENTICAL]


def collapse(measured: Measured, images: Path) -> Statement:
    """TaylorSeer at few steps."""
    title = "TaylorSeer collapses at low step counts"
    about = (
        "TaylorSeer with its published warm-up of 3 and every 4th step, in runs of 10 to 50 steps; the warm-up makes "
        "its share of computed steps larger in short runs. tc-pade and fora spread as many computed steps evenly; "
        "fewer-steps is the sampler with as many steps. Every PSNR is against the uncached run of the same length. "
        "*Collapses* means: it is worse than fewer-steps at 20 steps and fewer, and better at 30 and 50; of digits "
        "read by the classifier: fewer than of the uncached run at 20 steps and fewer. Published, FLUX.1-dev, 20 "
        "steps: TaylorSeer (N = 5, order 2) 17.46 dB at 2.31x, TC-Padé slow 24.67 dB at 2.20x."
    )
    found = measured.part("steps")
    if not found:
        return Statement(title, about)
    lengths = sorted({r["at"] for r in next(iter(found.values()))["rows"]})

    def over_fewer(name: str) -> Iterator[tuple[str, float, float]]:
        for s, one in found.items():
            for n in lengths:
                yield f"{s}, {n} steps", n, mean(one["rows"], name, n) - mean(one["rows"], "fewer-steps", n)

    orders = ("taylorseer order 1", "taylorseer order 2")
    readings = [
        Reading(f"{name}: PSNR", [Compared(what, gain if n > 20 else -gain) for what, n, gain in over_fewer(name)])
        for name in orders
    ]
    readings += [
        Reading(
            f"{name}: digits read",
            [
                Compared(
                    f"{s}, {n} steps",
                    mean(one["rows"], "uncached", n, "read") - mean(one["rows"], name, n, "read"),
                    READ,
                )
                for s, one in found.items()
                for n in lengths
                if n <= 20
            ],
        )
        for name in orders
    ]
    readings += [
        Reading(
            f"{name} is better than fewer-steps at every length",
            [Compared(what, gain) for what, _, gain in over_fewer(name)],
            counts=False,
        )
        for name in ("tc-pade, even", "fora, even")
    ]
    panels(
        images / "claims-steps.png",
        "Runs of 10 to 50 steps",
        [
            *(
                Panel(s, lines(one["rows"], leave=("uncached",)), "steps of the run", "PSNR, mean, dB")
                for s, one in found.items()
            ),
            *(Panel(s, lines(one["rows"], "read"), "steps of the run", "digits read") for s, one in found.items()),
        ],
        columns=len(found),
    )
    first = next(iter(found.values()))["rows"]
    share = ", ".join(f"{mean(first, orders[0], n, 'computed'):g} of {n:g}" for n in lengths)
    body = ["![Runs of 10 to 50 steps](images/claims-steps.png)", "", f"Computed steps: {share}.", ""]
    body += figures(found, lengths, leave=("uncached",))
    body += ["Digits that the classifier reads as asked:", "", *figures(found, lengths, key="read", digits="{:.1%}")]
    return Statement(title, about, readings, body, seeds(found))


def spectral(measured: Measured, _images: Path) -> Statement:
    """Spectrum against TaylorSeer."""
    title = "Spectrum beats TaylorSeer at 3.5x and 4.8x of 50 steps"
    about = (
        "14 and 10 computed of 50 steps. Spectrum in its published form, half blended with linear extrapolation, and "
        "pure, on its own growing windows; TaylorSeer with a warm-up of 3 on every 5th and every 8th step; tc-pade "
        "on as many evenly spread steps. Published, FLUX.1, DrawBench: Spectrum 24.32 dB at 3.47x, 22.21 dB at 4.79x."
    )
    found = measured.part("fifty")
    if not found:
        return Statement(title, about)
    budgets = (14, 10)

    def against(one: str, other: str, counts: bool = True) -> Reading:
        compared = [
            Compared(f"{s}, {n}", mean(found[s]["rows"], one, n) - mean(found[s]["rows"], other, n))
            for s in found
            for n in budgets
        ]
        return Reading(f"{one} against {other}", compared, counts)

    readings = [against(one, f"taylorseer order {n}") for one in ("spectrum", "spectrum, pure") for n in (1, 2)]
    readings.append(against("spectrum", "fewer-steps", counts=False))
    readings.append(against("taylorseer order 1", "fewer-steps", counts=False))
    return Statement(title, about, readings, figures(found, budgets), seeds(found))


def sweep(measured: Measured, images: Path) -> list[str]:
    """The interval sweep, which is no statement."""
    found = measured.part("intervals")
    if not found:
        return ["Not measured yet.", ""]
    panels(
        images / "claims-intervals.png",
        "Every N-th step and the last computed of 20",
        [Panel(s, lines(one["rows"]), "interval N", "PSNR, mean, dB") for s, one in found.items()],
    )
    every = sorted({r["at"] for r in next(iter(found.values()))["rows"]})
    told = f"Even plans without a warm-up, 20 steps, {seeds(found)} seeds."
    return [told, "", "![Interval sweep](images/claims-intervals.png)", "", *figures(found, every)]


STATEMENTS = (predictable, rational, full, monotone, collapse, spectral)


# Pictures and tables --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """One panel of a picture: lines by name."""

    title: str
    lines: Mapping[str, Line]
    across: str
    up: str


DASHED = ("fewer-steps", "uncached", "output")
WIDE, HIGH, LEFT, LEGEND = 3.7, 3.3, 0.75, 2.3  # inches


def panels(path: Path, title: str, shown: Sequence[Panel], *, columns: int = 2, dashed: Sequence[str] = ()) -> None:
    """Draw panels side by side with one legend.

    With ``dashed``, names are "kind, line": lines of its kinds are dashed, and a line has one colour in all kinds.
    """
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    bare = {name: name.partition(", ")[2] if dashed else name for panel in shown for name in panel.lines}
    styles = styles_of(list(bare.values()))
    width, height = (LEFT + WIDE) * columns + LEGEND, 0.5 + (HIGH + 0.9) * rows
    figure = figure_of((width, height))
    handles: dict[str, Any] = {}
    for place, panel in enumerate(shown):
        row, column = divmod(place, columns)
        left, bottom = LEFT + (LEFT + WIDE) * column, height - 0.8 - HIGH - (HIGH + 0.9) * row
        axis = figure.add_axes((left / width, bottom / height, WIDE / width, HIGH / height))
        for name, line in panel.lines.items():
            colour, marker = styles[bare[name]]
            broken = name in DASHED or name.partition(", ")[0] in dashed
            look = {"color": colour, "marker": marker, "linestyle": "--" if broken else "-", "label": name}
            if line:
                (handles[name],) = axis.plot(*zip(*sorted(line), strict=True), **look, markersize=5, linewidth=1.4)
        plain(axis, panel.across, panel.up)
        if panel.up == "digits read":
            axis.set_ylim(0, 1.05)
        axis.set_title(panel.title, fontsize=10, color=INK)
        across = sorted({x for line in panel.lines.values() for x, _ in line})
        across = across[:: 1 + len(across) // 12]
        crowded = min(b - a for a, b in itertools.pairwise(across)) < (max(across) - min(across)) / 12
        axis.set_xticks(across, [f"{x:g}" for x in across], rotation=60 if crowded else 0)
    place_of = {"loc": "upper left", "bbox_to_anchor": (1 - (LEGEND - 0.15) / width, 1 - 0.75 / height)}
    figure.legend(handles.values(), handles.keys(), **place_of, fontsize=8.5, frameon=False, labelcolor=INK)
    write_title(figure, title)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(figure, path)


def figures(
    found: Document, at: Sequence[float], *, key: str = "psnr", digits: str = "{:.1f}", leave: Sequence[str] = ()
) -> list[str]:
    """Write a row per name, a column per setting and value."""
    chosen = [n for n in names(next(iter(found.values()))["rows"]) if n not in leave]
    rows = [[n, *(digits.format(mean(one["rows"], n, a, key)) for one in found.values() for a in at)] for n in chosen]
    return table(["PSNR, dB" if key == "psnr" else "", *(f"{s}, {a:g}" for s in found for a in at)], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a Markdown table and the blank line after it."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)] + [""]


# The page -------------------------------------------------------------------------------------------------------------


def page(measured: Measured, images: Path) -> str:
    """Write the page."""
    found = [make(measured, images) for make in STATEMENTS]
    text = [
        "# Statements of the papers, tested",
        "",
        "<!-- written by benchmarks/claims_page.py from benchmarks/results/claims-*.json and digits-*.json -->",
        "",
        "Six statements of [TC-Padé](https://arxiv.org/abs/2603.02943) and "
        "[Spectrum](https://arxiv.org/abs/2603.01623), put to the test on the demo model digits, a small trained "
        "transformer, in two settings: hard (guidance 5, shift 3) and easy (guidance 3, shift 1). Test seeds from "
        "20000 on, 20 steps unless said otherwise, PSNR against the uncached run of the same seeds. `python "
        "benchmarks/claims.py` measures, `python benchmarks/claims_page.py` writes this page. tc-pade here is its "
        "forecaster on the plans that are named; the method of that name spaces its steps. They are statements "
        "about large models: what is refuted here may hold there, and the other way round. Figures of the papers are "
        "marked *published*.",
        "",
        *table(
            ["statement", "here", "comparisons", "seeds"],
            [[f"[{n}. {s.title}](#{n}-{anchor(s.title)})", s.stated, s.told, s.seeds] for n, s in enumerate(found, 1)],
        ),
        RULE,
        "",
    ]
    for number, statement in enumerate(found, 1):
        text += [f"## {number}. {statement.title}", "", statement.about, ""]
        readings = [[*told(r)] for r in statement.readings]
        text += table(["reading", "here", "comparisons"], readings) if readings else ["Not measured yet.", ""]
        text += statement.body
    return "\n".join([*text, "## Intervals", "", *sweep(measured, images)])


def told(reading: Reading) -> tuple[str, str, str]:
    """Write a reading's row; what does not count stands in brackets."""
    verdict = f"**{reading.verdict}**" if reading.counts else f"({reading.verdict})"
    return (reading.text if reading.counts else f"({reading.text})"), verdict, reading.told


def anchor(title: str) -> str:
    """Return the link of a heading, as Python-Markdown makes it.

    >>> anchor("The threshold θ trades 3.5x")
    'the-threshold-trades-35x'
    """
    kept = "".join(c for c in title.lower().replace("é", "e") if c.isascii() and (c.isalnum() or c in " -"))
    return "-".join(kept.split())


def main() -> None:
    """Write the page and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result files are")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where to write claims.md and images/")
    options = parser.parse_args()
    text = page(Measured(options.results), options.docs / "images")
    (options.docs / "claims.md").write_text(text, encoding="utf-8")
    print(f"written: {options.docs / 'claims.md'}")


if __name__ == "__main__":
    main()
