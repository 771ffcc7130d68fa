"""What the same run gives in a world where nothing happened before, and in a process where nothing did."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tests.fuzz.calls import kept
from tests.fuzz.changes import Change, changed
from tests.fuzz.kinds import KINDS, Kind, Run
from tests.fuzz.outcome import Outcome, observe
from tests.fuzz.setups import EXACT, SETUPS
from torch import Tensor

from padecast import Handle, accelerate

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Question:
    """All that a run depends on.

    Args:
        kind: Of pipeline, by name.
        role: Which pipeline around the models.
        changes: What became of the weights.
        scheduler: By name.
        run: What the run is told.
        setup: What is switched on, by name; nothing for ``""``.
    """

    kind: str
    role: str
    changes: tuple[Change, ...]
    scheduler: str
    run: Run
    setup: str = ""

    @classmethod
    def read(cls, plain: dict[str, Any]) -> Question:
        """Return what ``asdict`` made plain and JSON made lists of."""
        changes = tuple((what, value) for what, value in plain["changes"])
        return cls(**{**plain, "changes": changes, "run": Run(**plain["run"])})


ANSWERS: dict[Question, Outcome] = {}
"""What was asked before, and what the answer was."""


def expected(question: Question) -> Outcome:
    """Return what comes of a run in a fresh world, and make sure of what can be known of it alone."""
    if question not in ANSWERS:
        ANSWERS[question] = answer(question)
        if question.setup:
            check(question, ANSWERS[question])
    return ANSWERS[question]


def answer(question: Question) -> Outcome:
    """Build a fresh world and run once."""
    kind = KIND[question.kind]
    models = changed(kind, question.changes)
    pipe = kind.pipelines[question.role](scheduler=kind.schedulers[question.scheduler](), **models)
    if not question.setup:
        return observe(lambda: kind.draw(pipe, question.run), models)
    try:
        handle = switch(kind, pipe, question.setup).enable()
    except Exception as error:
        return Outcome(error=f"{type(error).__name__} on switching on")
    try:
        return observe(lambda: kind.draw(pipe, question.run), models, handle)
    finally:
        handle.disable()


def switch(kind: Kind, pipe: Any, setup: str) -> Handle:
    """Make the handle of a setup."""
    length = {"steps": kind.length} if kind.length else {}
    return accelerate(kind.target(pipe), **SETUPS[setup], **length)


def check(question: Question, outcome: Outcome) -> None:
    """Assert what holds of any run: what computes everything is untouched, and the report counts every call."""
    if outcome.error:
        return
    untouched = expected(Question(**{**vars(question), "setup": ""}))
    assert outcome.calls == untouched.calls, (question, outcome.calls, untouched.calls)
    assert question.setup not in EXACT or "." not in outcome.plan, (question, outcome.plan)
    if "." not in outcome.plan or question.run.trained:
        assert not (difference := outcome.looks_unlike(untouched)), (question, difference)
    steps = len(outcome.plan.replace(" ", ""))
    branches = KIND[question.kind].calls if question.run.guided else 1
    counted = outcome.calls - outcome.unplaced
    # where timesteps repeat, one call of a step may have a place and another none
    assert counted == steps * branches or (outcome.unplaced and steps <= counted < steps * branches), (
        question,
        outcome,
    )


def tensors() -> list[Tensor]:
    """Return the tensors that are kept to compare with."""
    images = [answer.image for answer in ANSWERS.values() if answer.image is not None]
    return [*images, *kept()]


KIND = {kind.name: kind for kind in KINDS}


# Another process ------------------------------------------------------------------------------------------------------


def ask(questions: Sequence[Question]) -> list[str]:
    """Answer questions in a new process, one after the other; returns digests."""
    told = json.dumps([asdict(question) for question in questions])
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz.fresh"]
    done = subprocess.run(command, input=told, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    digests: list[str] = json.loads(done.stdout.splitlines()[-1])
    return digests


def main() -> None:
    torch.set_num_threads(1)
    print(json.dumps([answer(Question.read(plain)).digest for plain in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()
