"""The other statements: what is compared, and what stands under each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from claims_drawn import SHOWN, Panel, figures, panels, table
from claims_files import Document, Line, Measured, all_names, lines, mean, names, seeds
from claims_predict import predictable
from claims_verdicts import READ, Compared, Reading, Statement

NFE = (6, 8, 10)
IDENTICAL = 99.0


def rational(measured: Measured, _images: Path) -> Statement:
    """Padé against Taylor on equal plans."""
    found = measured.part("rational")
    taylor = ("taylorseer order 1", "taylorseer order 2")

    def against(one: str, others: Sequence[str], text: str, counts: bool = True) -> Reading:
        compared = [
            Compared(f"{s}, {n}: {other}", mean(by["rows"], one, n) - mean(by["rows"], other, n))
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
    return Statement(
        "Rational beats Taylor at 20 steps",
        "The same computed steps for all but fewer-steps: every 4th (6 computed), 3 warm-up steps and then every "
        "4th (8) or 3rd (10), and the last. "
        "Published, FLUX.1-dev, 20 steps: TC-Padé fast 21.96 dB at 2.88x, TaylorSeer (N = 5, order 2) 17.46 dB at "
        "2.31x.",
        readings if found else (),
        figures(found, NFE) if found else (),
        seeds(found) if found else "",
    )


def full(measured: Measured, images: Path) -> Statement:
    """The whole stack against parts of it."""
    title = "A residual of the full span beats those of partial spans"
    about = (
        "tc-pade on the plans above. *Halves* and *modules* (every attention and feed-forward network) are each "
        "forecast by themselves, and run as few blocks as the whole stack. The others run blocks at forecast steps "
        "too: all but the first block 1 of 8 (digits) or of 6 (scenes), half a stack 4 of 8, single-stream blocks "
        "alone 2 of 6 and double-stream ones 4 of 6, so that they cost more at equal numbers of computed steps. "
        "Published, FLUX.1-dev: full 2.88x, Aesthetic 5.76, ImageReward 0.918; single-stream blocks 1.94x, 5.69, "
        "0.872; double-stream blocks 1.36x, 5.10, 0.792."
    )
    found = measured.part("spans")
    if not found:
        return Statement(title, about)
    whole, *partial = all_names(found)
    readings = [
        Reading(
            f"against {name}",
            [
                Compared(f"{s}, {n}", mean(one["rows"], whole, n) - mean(one["rows"], name, n))
                for s, one in found.items()
                if name in names(one["rows"])
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
        "Identical samples count as 100 dB. "
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


ORDERS = ("taylorseer order 1", "taylorseer order 2")


def collapse(measured: Measured, images: Path) -> Statement:
    """TaylorSeer at few steps."""
    title = "TaylorSeer collapses at low step counts"
    about = (
        "TaylorSeer with its published warm-up of 3 and every 4th step, in runs of 10 to 50 steps; the warm-up makes "
        "its share of computed steps larger in short runs. tc-pade and fora spread as many computed steps evenly; "
        "fewer-steps is the sampler with as many steps. Every PSNR is against the uncached run of the same length. "
        "*Collapses* means: it is worse than fewer-steps at 20 steps and fewer, and better at 30 and 50; of samples "
        "that show what was asked (the classifier reads the digit, geometry the caption): fewer than of the uncached "
        "run at 20 steps and fewer. Published, FLUX.1-dev, 20 "
        "steps: TaylorSeer (N = 5, order 2) 17.46 dB at 2.31x, TC-Padé slow 24.67 dB at 2.20x."
    )
    found = measured.part("steps")
    if not found:
        return Statement(title, about)
    lengths = sorted({r["at"] for r in next(iter(found.values()))["rows"]})
    readings = _of_lengths(found, lengths)
    panels(
        images / "claims-steps.png",
        "Runs of 10 to 50 steps",
        [
            *(
                Panel(s, lines(one["rows"], leave=("uncached",)), "steps of the run", "PSNR, mean, dB")
                for s, one in found.items()
            ),
            *(Panel(s, lines(one["rows"], "read"), "steps of the run", SHOWN) for s, one in found.items()),
        ],
    )
    first = next(iter(found.values()))["rows"]
    share = ", ".join(f"{mean(first, ORDERS[0], n, 'computed'):g} of {n:g}" for n in lengths)
    body = ["![Runs of 10 to 50 steps](images/claims-steps.png)", "", f"Computed steps: {share}.", ""]
    body += figures(found, lengths, leave=("uncached",))
    body += ["Samples that show what was asked:", "", *figures(found, lengths, key="read", digits="{:.1%}")]
    return Statement(title, about, readings, body, seeds(found))


def _of_lengths(found: Document, lengths: Sequence[float]) -> list[Reading]:
    """Compare with fewer steps and with the uncached run at every length."""

    def over_fewer(name: str) -> Iterator[tuple[str, float, float]]:
        for s, one in found.items():
            for n in lengths:
                yield f"{s}, {n} steps", n, mean(one["rows"], name, n) - mean(one["rows"], "fewer-steps", n)

    readings = [
        Reading(f"{name}: PSNR", [Compared(what, gain if n > 20 else -gain) for what, n, gain in over_fewer(name)])
        for name in ORDERS
    ]
    readings += [
        Reading(
            f"{name}: samples that show what was asked",
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
        for name in ORDERS
    ]
    readings += [
        Reading(
            f"{name} is better than fewer-steps at every length",
            [Compared(what, gain) for what, _, gain in over_fewer(name)],
            counts=False,
        )
        for name in ("tc-pade, even", "fora, even")
    ]
    return readings


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
