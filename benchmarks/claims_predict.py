"""The first statement: residuals against raw features, on recorded runs."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from claims_drawn import Panel, panels, table
from claims_files import Document, Measured, cosines_of, errors_of, over, seeds
from claims_verdicts import COSINE, RELATIVE, Compared, Reading, Statement

GAPS = (1, 2, 3, 4)
FORECASTERS = ("reuse", "linear", "tc-pade")
TITLE = "Residuals are more predictable than raw features"
ABOUT = (
    "Recorded uncached runs: from the features of steps t-3g, t-2g and t-g, those of step t are forecast, once "
    "the residual of the whole stack and once its raw output. Both errors are in one unit: the norm of the error "
    "of the stack's output over the norm of the true residual of step t (a forecast residual is added to the "
    "stack's input at t, which is known; a forecast output stands by itself). Means over all t >= 3g, samples "
    "and conditionings. tc-pade here is without error feedback, which has nothing to pay back in a recorded run."
)
Errors = dict[str, dict[tuple[str, str, int], float]]
Cosines = dict[str, dict[str, list[list[float]]]]


def predictable(measured: Measured, images: Path) -> Statement:
    """Residuals against raw features."""
    found = measured.part("predict")
    if not found:
        return Statement(TITLE, ABOUT)
    errors: Errors = {s: errors_of(one) for s, one in found.items()}
    cosines: Cosines = {s: cosines_of(one) for s, one in found.items()}
    _draw_errors(errors, images / "claims-predict.png")
    _draw_cosines(cosines, images / "claims-cosines.png")
    return Statement(TITLE, ABOUT, _readings(errors, cosines), _body(found, errors), seeds(found))


def _readings(errors: Errors, cosines: Cosines) -> list[Reading]:
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
                for gap in GAPS
            ],
        )
        for name in FORECASTERS
    ]
    readings.append(
        Reading(
            "cosines of features 1 to 4 steps apart are higher",
            [
                Compared(f"{s}, {gap} apart", over(by["residuals"], gap) - over(by["outputs"], gap), COSINE)
                for s, by in cosines.items()
                for gap in GAPS
            ],
            counts=False,
        )
    )
    return readings


def _draw_errors(errors: Errors, path: Path) -> None:
    panels(
        path,
        "Error of the stack's output, over the norm of its residual",
        [
            Panel(
                s,
                {
                    f"{kind}, {name}": [(gap, by[kind, name, gap]) for gap in GAPS]
                    for name in FORECASTERS
                    for kind in ("residual", "output")
                },
                "steps between the known ones, and ahead",
                "relative error",
            )
            for s, by in errors.items()
        ],
        dashed=("output",),
    )


def _draw_cosines(cosines: Cosines, path: Path) -> None:
    panels(
        path,
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


def _body(found: Document, errors: Errors) -> list[str]:
    body = ["![Error over the gap](images/claims-predict.png)", ""]
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
        [f"{kind} by {name}", *(f"{by[kind, name, gap]:.3f}" for by in errors.values() for gap in GAPS)]
        for name in FORECASTERS
        for kind in ("residual", "output")
    ]
    return body + table(["forecast", *(f"{s}, {gap}" for s in errors for gap in GAPS)], rows)
