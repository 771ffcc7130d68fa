"""What came of a run: its image or its error, and what the report says of it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from padecast import Handle, PadecastWarning


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Args:
        image: What was drawn; ``None`` after an error.
        error: The class of the error.
        plan: What the report says was computed, ``""`` where nothing is on.
        unplaced: Calls that it says have no place.
        branches: The conditionings that it names.
        notes: What it says did not go as decided.
        calls: How often the models were called.
        warned: Whether padecast said that the run was not what was meant.
        remembered: Bytes of the history that the run took.
    """

    image: Tensor | None = None
    error: str = ""
    plan: str = ""
    unplaced: int = 0
    branches: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    calls: int = 0
    warned: bool = False
    remembered: int = 0

    def differs(self, other: Outcome) -> str:
        """Say how it differs from what it should be, ``""`` if it does not. Warnings come once a handle."""
        for name in ("error", "plan", "unplaced", "branches", "notes", "calls"):
            one, two = getattr(self, name), getattr(other, name)
            if one != two:
                return f"{name} is {one!r}, and should be {two!r}"
        return self.looks_unlike(other)

    def looks_unlike(self, other: Outcome) -> str:
        """Say how its image or error differs from another's, ``""`` if it does not."""
        if self.error != other.error:
            return f"error is {self.error!r}, and should be {other.error!r}"
        if self.image is None or other.image is None or torch.equal(self.image, other.image):
            return ""
        if self.image.shape != other.image.shape:
            return f"the image is {tuple(self.image.shape)}, and should be {tuple(other.image.shape)}"
        return f"the image is off by {(self.image - other.image).abs().max():.3g}"

    @property
    def digest(self) -> str:
        """Everything in a few letters."""
        pixels = b"" if self.image is None else self.image.contiguous().view(torch.uint8).numpy().tobytes()
        said = (self.error, self.plan, self.unplaced, self.branches, self.notes, self.calls)
        return sha256(pixels + repr(said).encode()).hexdigest()[:16]


def observe(draw: Callable[[], Tensor], models: dict[str, nn.Module], handle: Handle | None = None) -> Outcome:
    """Draw, and return what came of it. Errors become outcomes, interrupts do not."""
    with counted(models) as calls, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            image = draw()
        except Exception as error:
            return Outcome(error=type(error).__name__)
        report = None if handle is None else handle.report
    warned = any(issubclass(warning.category, PadecastWarning) for warning in heard)
    if report is None:
        return Outcome(image, calls=calls[0], warned=warned)
    told = (report.plan, report.unplaced, report.branches, tuple(report.notes.items()))
    return Outcome(image, "", *told, calls[0], warned, report.history_bytes)


@contextlib.contextmanager
def counted(models: dict[str, nn.Module]) -> Iterator[list[int]]:
    """Count calls of models."""
    calls = [0]

    def count(*_: Any) -> None:
        calls[0] += 1

    hooks = [model.register_forward_pre_hook(count) for model in models.values()]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()
