"""Which of several calibrations serves a run, and what does where none was made for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from padecast._errors import CalibrationMismatch, InvalidOption
from padecast.methods import Method


@runtime_checkable
class Planned(Protocol):
    """What :func:`padecast.accelerate` asks of a calibration."""

    def method(
        self, *, computed: int | None = None, speedup: float | None = None, decibels: float | None = None
    ) -> Method:
        """Return the method that fulfils a wish."""

    def check(self, pipe: Any, total: int | None) -> None:
        """Raise unless it was made for a pipeline and a run of so many steps."""


SOURCES: dict[str, Callable[[str], Sequence[Planned]]] = {}
"""What reads calibrations from elsewhere, by what an address begins with; calibrations say theirs when imported."""


def read_source(text: str, pipe: Any, wishes: dict[str, Any]) -> tuple[Planned, ...]:
    """Return the calibrations of an address that were made for a pipeline's model and fulfil a wish.

    Args:
        text: Such as ``hub:ORG/NAME``.
        pipe: The pipeline.
        wishes: What :meth:`Planned.method` is asked for.

    Returns:
        None if no source reads such an address.

    Raises:
        CalibrationMismatch: If all of them were made for other models.
        InvalidOption: If none has a plan that fulfils the wish.
    """
    read = SOURCES.get(text.partition(":")[0])
    if read is None:
        return ()
    error: CalibrationMismatch | InvalidOption | None = None
    fitting: list[Planned] = []
    for calibration in read(text):
        try:
            calibration.check(pipe, None)
            calibration.method(**wishes)
        except CalibrationMismatch as mismatch:
            error = error or mismatch
        except InvalidOption as refusal:
            error = refusal  # of this model, which says more than that another is another
        else:
            fitting.append(calibration)
    if error is not None and not fitting:
        raise error
    return tuple(fitting)


def leave_out(calibrations: Sequence[Planned], wishes: dict[str, Any]) -> tuple[Planned, ...]:
    """Return the calibrations that have a plan for a wish; what serves other runs serves those of the rest too.

    Args:
        calibrations: At least one.
        wishes: What :meth:`Planned.method` is asked for.

    Raises:
        InvalidOption: If none has such a plan.
    """
    refusals: list[InvalidOption] = []
    left: list[Planned] = []
    for calibration in calibrations:
        try:
            calibration.method(**wishes)
        except InvalidOption as error:
            refusals.append(error)
        else:
            left.append(calibration)
    if not left:
        raise refusals[0]
    return tuple(left)


@dataclass(frozen=True)
class Selection:
    """Calibrations of one model, of which every run takes the one that was made for it.

    Args:
        calibrations: In the order in which they are asked.
        methods: What each of them does.
        otherwise: What serves a run that none was made for; without it such a run is an error.
    """

    calibrations: tuple[Planned, ...]
    methods: tuple[Method, ...]
    otherwise: Method | None = None

    def __post_init__(self) -> None:
        spans = {method.name: method.span for method in self.every}
        if len(set(spans.values())) > 1:
            raise InvalidOption(
                f"methods of one handle forecast one part of the model, and these differ: {spans}.\n"
                "Usual cause: otherwise= with a span of its own, such as toca's. Take another, e.g. "
                'otherwise="tc-pade"'
            )

    @property
    def every(self) -> tuple[Method, ...]:
        """All methods, the one for runs that no calibration was made for first."""
        return self.methods if self.otherwise is None else (self.otherwise, *self.methods)

    def choose(self, pipe: Any, total: int | None) -> Method | None:
        """Return the method of the run that begins; before one, only check the model.

        Args:
            pipe: The pipeline.
            total: Steps of the run; ``None`` before one.

        Raises:
            CalibrationMismatch: If no calibration was made for the run and nothing else may serve it; the message has
                the lengths that were calibrated.
        """
        refusals: list[CalibrationMismatch] = []
        for calibration, method in zip(self.calibrations, self.methods, strict=True):
            try:
                calibration.check(pipe, total)
            except CalibrationMismatch as error:
                if total is None:
                    raise
                refusals.append(error)
            else:
                if total is not None:
                    return method
        if total is None or self.otherwise is not None:
            return self.otherwise
        if len(refusals) == 1:
            remedy = 'accelerate(pipe, calibration, ..., otherwise="tc-pade")'
            raise CalibrationMismatch(f"{refusals[0]}\n(d) say what serves other runs:  {remedy}")
        raise CalibrationMismatch(_explain_refusals(total, [method.policy.length for method in self.methods], refusals))


def _explain_refusals(total: int, lengths: Sequence[int | None], refusals: Sequence[CalibrationMismatch]) -> str:
    choices = ", ".join(str(length) for length in sorted({length for length in lengths if length is not None}))
    same = [str(error) for error, length in zip(refusals, lengths, strict=True) if length == total]
    differing = "\n".join(line for line in "\n".join(same).splitlines() if line.startswith("  "))
    return (
        f"none of {len(refusals)} calibrations was made for this run of {total} steps; they are for {choices} steps.\n"
        + (f"{differing}\n" if differing else "")
        + f"Run one of those lengths, calibrate {total} steps too, or say what serves other runs:\n"
        '    padecast.accelerate(pipe, calibrations, speedup=2.5, otherwise="tc-pade")'
    )
