"""Is a model like FLUX or Wan, or like a toy? Four lines that published figures of real models meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import stdev
from typing import Any

import torch
from torch import Tensor

from padecast import files
from padecast._errors import check
from padecast._intercept import Intercept
from padecast.forecasters import Lagrange, Reuse, Taylor
from padecast.handles.accelerate import accelerate
from padecast.hooks.quiet import quiet
from padecast.lab.results import Result
from padecast.lab.runner import Entry, Task
from padecast.lab.solvers import FEWER
from padecast.lab.tuning import tune
from padecast.lessons import Lesson, Library
from padecast.methods import Method
from padecast.policies import Interval, Plan, Sea, plan_of

PUBLISHED = Path(__file__).parent / "published.json"
REPETITION, LINE, TAYLOR, GATE = "repetition", "line", "taylorseer, every third", "repetition behind a gate"
THIRD = Interval(every=3, warmup=3)
LINES = (
    "half the steps of the plain sampler give less than 20 dB",
    "repetition on a plan that is dense at the start is 4 dB or more above as many plain steps",
    "a line in place of repetition gains 0.5 to 3 dB on that plan",
    "TaylorSeer, every third step, is below repetition behind a gate",
)
"""What published figures of real models have in common (docs/ladder.md)."""


def judge(half: float | None, above: float | None, line: float | None, taylor: float | None) -> list[bool | None]:
    """Return which of the four lines are met; ``None`` where nothing was measured.

    Args:
        half: PSNR of half the steps of the plain sampler, in dB.
        above: How far repetition on a dense plan is above that.
        line: What a line in place of repetition gains.
        taylor: How far TaylorSeer is above repetition behind a gate.

    Example:
        >>> judge(18.1, 5.8, 1.8, -4.2), judge(33.3, 29.2, 1.7, None)
        ([True, True, True, True], [False, True, True, None])
    """
    return [
        None if half is None else half < 20,
        None if above is None else above >= 4,
        None if line is None else 0.5 <= line <= 3,
        None if taylor is None else taylor < 0,
    ]


def dense(computed: int, steps: int) -> str:
    """Return a plan whose gaps grow like those of plans that were searched on real models: steps at squares.

    Args:
        computed: How many steps are computed, the first and the last among them.
        steps: Of the schedule.

    Raises:
        InvalidOption: If more than half of the steps are to be computed.

    Example:
        >>> dense(10, 20)
        'CCCCC.C.C..C...C...C'
    """
    check(1 <= computed <= max(steps // 2, 1), "computed", computed, f"1 to half of the {steps} steps")
    places: list[int] = []
    for k in range(computed):
        place = round(k * k / max(computed - 1, 1) ** 2 * (steps - 1))
        places.append(max(place, places[-1] + 1) if places else place)
    return Plan.at(places, steps).steps


def count_third(steps: int) -> int:
    """Return how many steps TaylorSeer computes at every third step.

    Example:
        >>> count_third(20), count_third(50)
        (10, 20)
    """
    return plan_of(THIRD, steps).count("C")


def enter(way: str, task: Task) -> Entry:
    """Return a rung of the ladder, as the rows of the demo worlds have it: forecasts at the model's output.

    Args:
        way: ``REPETITION``, ``LINE``, ``TAYLOR`` or ``GATE``.
        task: What is sampled; the gate is turned on its tuning seeds.
    """
    steps, half = task.steps, task.steps // 2
    plan, third = Plan(dense(half, steps)), count_third(steps)
    parts = {
        REPETITION: (plan, Reuse(), half),
        LINE: (plan, Lagrange(), half),
        TAYLOR: (THIRD, Taylor(), third),
        GATE: (Sea(), Reuse(), third),
    }
    policy, forecaster, computed = parts[way]
    entry = Entry.of(Method(way, policy, forecaster, "a rung of the ladder", span="output"), wanted=computed)
    return tune(task.tuning(), entry, computed) if way == GATE else entry


# One look at an uncached run ------------------------------------------------------------------------------------------


class Changes:
    """Hears what the sampler is given, and keeps by how much it changes from step to step."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._before: Tensor | None = None

    def step(self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Stand around the scheduler's step."""
        output = args[0] if args else kwargs.get("model_output")
        if isinstance(output, Tensor):
            if self._before is not None:
                apart = (output - self._before).abs().flatten(1).float().sum(1)
                self.values.append(
                    float((apart / self._before.abs().flatten(1).float().sum(1).clamp_min(1e-12)).mean())
                )
            self._before = output.detach().clone()
        return method(*args, **kwargs)


def look(task: Task, seed: int, folder: Path) -> list[float]:
    """Draw one sample uncached, which teaches, and return the relative L1 change of the output from step to step.

    Args:
        task: What is sampled.
        seed: The sample, none of those that are measured.
        folder: Where the lesson goes, see :func:`lesson_in`.
    """
    changes = Changes()
    hook = Intercept(task.pipe.scheduler, "step", changes.step).install()
    try:
        with quiet(task.pipe), accelerate(task.pipe, "learned", measure=False, lessons=folder), torch.no_grad():
            task.call(task.pipe, (seed,), num_inference_steps=task.steps)
    finally:
        hook.remove()
    return [float(f"{change:.4g}") for change in changes.values]


def lesson_in(folder: Path) -> Lesson | None:
    """Return the lesson that :func:`look` left in a folder; nothing where a run taught nothing."""
    return next((entry.lesson for entry in Library(folder).list()), None) if folder.is_dir() else None


# The row --------------------------------------------------------------------------------------------------------------


def summarize(results: Iterable[Result], change: Iterable[float] = ()) -> dict[str, Any]:
    """Return the row of a model, from what was measured of it.

    Args:
        results: Among them the rungs of the ladder, and half the steps; what was not measured is ``None``.
        change: Of the output from step to step.
    """
    rows = {(result.name, result.wanted): result for result in results}
    rungs = {name: next((row for (other, _), row in rows.items() if other == name), None) for name in RUNGS}
    repeated = rungs[REPETITION]
    few = None if repeated is None else rows.get((FEWER, repeated.wanted))
    half = None if few is None else few.psnr.mean
    numbers = {
        "half": half,
        "above": _subtract(repeated, few),
        "line": _subtract(rungs[LINE], repeated),
        "taylor": _subtract(rungs[TAYLOR], rungs[GATE]),
    }
    each = () if repeated is None else repeated.psnr.each
    return {
        **{name: None if value is None else round(value, 2) for name, value in numbers.items()},
        "met": judge(**numbers),
        "computed": {name: row.nfe for name, row in rungs.items() if row is not None},
        "spread": round(stdev(each), 2) if len(each) > 1 else None,
        "change": list(change),
    }


RUNGS = (REPETITION, LINE, TAYLOR, GATE)


def describe(row: Mapping[str, Any]) -> str:
    """Say in a sentence how like real models a row is.

    Example:
        >>> describe({"met": [True, True, None, True]})
        'Like real models: all 3 lines that were measured are met.'
        >>> describe({"met": [False, True, True, True]})
        'In part like real models: 3 of 4 lines are met, and line 1 is not.'
    """
    measured = [met for met in row["met"] if met is not None]
    failed = [str(place) for place, met in enumerate(row["met"], 1) if met is False]
    if not measured:
        return "How like real models it is, was not measured."
    if not failed:
        return f"Like real models: all {len(measured)} lines that were measured are met."
    how = "In part like real models" if 2 * len(failed) <= len(measured) else "Like a toy"
    verb = ("lines {} are not" if failed[1:] else "line {} is not").format(", ".join(failed))
    return f"{how}: {len(measured) - len(failed)} of {len(measured)} lines are met, and {verb}."


def read_published() -> dict[str, Any]:
    """Return what is published of real models, every figure with its source."""
    published: dict[str, Any] = files.read_json(PUBLISHED)
    return published


def _subtract(first: Result | None, second: Result | None) -> float | None:
    return None if first is None or second is None else first.psnr.mean - second.psnr.mean
