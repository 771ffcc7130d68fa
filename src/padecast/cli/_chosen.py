"""Which plan of a calibration a command is asked for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from padecast import accelerate
from padecast._errors import InvalidOption
from padecast.calibration import Calibration
from padecast.cli import plan
from padecast.handles.handle import Handle
from padecast.lab.runner import Entry, Task
from padecast.methods import Method


@dataclass(frozen=True)
class Chosen:
    """A calibration, and the number of computed steps that a wish comes to.

    Args:
        calibration: As it was read.
        file: As it was written.
        computed: Of its plans, which; ``None`` if no wish was given.
    """

    calibration: Calibration
    file: str
    computed: int | None

    @property
    def written(self) -> str:
        """What stands in place of a method's name.

        Example:
            >>> choose("digits:hard", 8, None, None).written
            'calibrated:8'
        """
        return f"calibrated:{self.computed}"

    def on(self, pipe: Any) -> Handle:
        """Accelerate a pipeline by it; a run that it was not made for is an error."""
        return accelerate(pipe, self.calibration, computed=self.computed)

    def method(self, computed: int) -> Method:
        """Return a plan under the name that tables show."""
        return dataclasses.replace(self.calibration.method(computed=computed), name="calibrated")

    def entry(self, nfe: int | None) -> Entry:
        """Enter a plan in a comparison: the one wished for, or the one of so many computed steps."""
        computed = self.computed or nfe
        assert computed is not None
        return Entry.of(self.method(computed), wanted=nfe)

    def check(self, task: Task, computed: int) -> None:
        """Draw one sample by a plan, so that a run that it was not made for is said before anything is measured.

        Raises:
            CalibrationMismatch: Naming what differs.
        """
        with accelerate(task.pipe, self.calibration, computed=computed, measure=False):
            task.call(task.pipe, task.batches()[0][:1], num_inference_steps=task.steps)


def choose(
    file: str | None,
    computed: int | None,
    speedup: float | None,
    decibels: float | None,
    *,
    needs_wish: bool = True,
) -> Chosen | None:
    """Read a calibration and a wish; nothing if no calibration was named.

    Args:
        file: A file, or one that ships with a demo model.
        computed: A wish.
        speedup: Another.
        decibels: Another.
        needs_wish: Whether a calibration without a wish is an error. Default true.

    Raises:
        InvalidOption: If a wish is given without a calibration, more than one is, or no plan fulfils it.
    """
    wishes = {"computed": computed, "speedup": speedup, "decibels": decibels}
    names = [name for name, value in wishes.items() if value is not None]
    if file is None:
        if names:
            raise InvalidOption(
                f"--{names[0]} is a wish that a calibration fulfils, and none was named.\n"
                "Name it: --calibration FILE; or make one: padecast calibrate PIPELINE"
            )
        return None
    calibration, _ = plan.find_calibration(file)
    if not names and not needs_wish:
        return Chosen(calibration, file, None)
    return Chosen(calibration, file, calibration.budget(computed=computed, speedup=speedup, decibels=decibels))
