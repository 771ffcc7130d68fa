"""Pipelines around shared models, to which anything may happen, and which are checked against fresh ones."""

from __future__ import annotations

import contextlib
import copy
import pickle
import warnings
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from tests.fuzz.calls import recorded
from tests.fuzz.changes import Change, change, changed, followed, is_adapted
from tests.fuzz.fresh import Question, expected, switch
from tests.fuzz.kinds import Kind, Run
from tests.fuzz.leftovers import bytes_remembered, traces
from tests.fuzz.outcome import Outcome, observe
from tests.fuzz.setups import EXACT
from tests.fuzz.trouble import PATIENCE, Meeting, Nth, at, interrupted_at_line

import padecast
from padecast import AlreadyAccelerated, Handle, PadecastWarning


@dataclass
class Member:
    """A pipeline, and what is switched on."""

    pipe: Any
    role: str
    scheduler: str
    handle: Handle | None = None
    setup: str = ""


def is_deterministic(member: Member) -> bool:
    """Whether its scheduler draws nothing from the global generator, which other runs may set."""
    return not any(word in member.scheduler for word in ("SDE", "ancestral", "stochastic"))


class World:
    """Pipelines that share models; each is alone with its scheduler, or shares that too.

    Args:
        kind: Of pipeline.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.changes: tuple[Change, ...] = ()
        self.models = changed(kind, ())
        role, scheduler = next(iter(kind.pipelines)), next(iter(kind.schedulers))
        self.members = [Member(self._around(role, kind.schedulers[scheduler]()), role, scheduler)]
        self.most_bytes: dict[int, int] = {}
        self.heard: set[int] = set()  # handles that have said, once, that a run was not what was meant

    def _around(self, role: str, scheduler: Any) -> Any:
        return self.kind.pipelines[role](scheduler=scheduler, **self.models)

    @property
    def on(self) -> list[Member]:
        return [member for member in self.members if member.handle is not None]

    @property
    def has_room(self) -> bool:
        """Whether another pipeline may be made of the same parts."""
        return len(self.members) < 3 and self.kind.length is None

    @property
    def pairs(self) -> list[tuple[Member, Member]]:
        """Pipelines that may run at once: each has a scheduler of its own, which draws from a generator of the run."""
        steady = [member for member in self.members if is_deterministic(member)]
        return [(a, b) for a in steady for b in steady if a.pipe.scheduler is not b.pipe.scheduler]

    @property
    def most_bytes_remembered(self) -> int:
        """What the largest runs of all that is on have taken, together."""
        return sum(self.most_bytes.get(id(member.handle), 0) for member in self.on)

    # Running -----------------------------------------------------------------------------------------------------

    def question(self, member: Member, run: Run) -> Question:
        return Question(self.kind.name, member.role, self.changes, member.scheduler, self._fitting(run), member.setup)

    def _fitting(self, run: Run) -> Run:
        return Run(**{**vars(run), "steps": self.kind.length}) if self.kind.length else run

    def outcome(self, member: Member, run: Run, **options: Any) -> Outcome:
        draw = lambda: self.kind.draw(member.pipe, self._fitting(run), **options)  # noqa: E731
        handle, outcome = member.handle, None
        try:
            outcome = observe(draw, self.models, handle)
            if outcome.warned:
                self.heard |= {id(one.handle) for one in self.on}
            return outcome
        finally:
            if handle is not None:  # a run that failed may have remembered as much as one that did not
                whole = outcome is not None and not outcome.error
                size = outcome.remembered if whole else expected(self.question(member, run)).remembered
                self.most_bytes[id(handle)] = max(size, self.most_bytes.get(id(handle), 0))

    def run(self, member: Member, run: Run, in_a_thread: bool = False) -> None:
        """Run, and compare with a fresh world."""
        if in_a_thread:
            with ThreadPoolExecutor(1) as pool:
                outcome = pool.submit(self.outcome, member, run).result(PATIENCE)
        else:
            outcome = self.outcome(member, run)
        self.compare(member, run, outcome)

    def compare(self, member: Member, run: Run, outcome: Outcome, others: int = 0) -> None:
        """Compare a run with a fresh world's, where so many other calls may count as unplaced."""
        question = self.question(member, run)
        right = expected(question)
        if others and 0 <= outcome.unplaced - right.unplaced <= others:
            outcome = replace(outcome, calls=right.calls, unplaced=right.unplaced)
        difference = outcome.differs(right)
        assert not difference, f"{question}: {difference}"

    # Something happens in a run ----------------------------------------------------------------------------------

    def run_while(self, member: Member, run: Run, place: str, number: int, happen: Callable[[], Any]) -> Outcome:
        """Run, and let something happen at the n-th time that it comes by a place."""
        with at(place, self.models, Nth(number, happen)) as between:
            return self.outcome(member, run, between=between)

    def run_into(self, member: Member, run: Run, place: str, number: int, error: type[BaseException]) -> None:
        """Run into an error; if it is never met, the run is like any other."""

        def fail() -> None:
            raise error

        event = Nth(number, fail)
        with at(place, self.models, event) as between:
            try:
                outcome = self.outcome(member, run, between=between)
            except KeyboardInterrupt:
                outcome = Outcome(error="KeyboardInterrupt")
        if event.happened:
            assert outcome.error == error.__name__, f"{outcome.error} in place of {error.__name__}"
        else:
            self.compare(member, run, outcome)
        self.abandon(member)

    def run_interrupted(self, member: Member, run: Run, line: int, spared: Collection[str] = ()) -> None:
        """Run, and interrupt it at some line of padecast, but for those of some functions."""
        with interrupted_at_line(line, spared):
            self.outcome(member, run)
        self.abandon(member)

    def run_through(self, member: Member, run: Run, number: int, what: str) -> None:
        """Run, and reset or switch off and on in the middle; what is computed throughout does not change."""
        handle, happen = member.handle, {"reset": self.reset, "off": self.off, "off and on": self.off_and_on}[what]
        outcome = self.run_while(member, run, "between", number, lambda: happen(member))
        if handle is not None and not handle.enabled:
            handle.enable()
        untouched = expected(self.question(Member(member.pipe, member.role, member.scheduler), run))
        if member.handle is None or member.setup in EXACT:
            assert not (difference := outcome.looks_unlike(untouched)), difference
        self.abandon(member)

    def abandon(self, member: Member) -> None:
        """Say that a run is over, as has to be done where there is no pipeline to say it."""
        if self.kind.length and member.handle is not None:
            member.handle.reset()

    def run_nested(self, member: Member, run: Run, number: int, mate: Member, inner: Run) -> None:
        """Run a pipeline with a scheduler of its own in the middle of another's run, between two steps."""
        outcomes = list[Outcome]()
        outer = self.run_while(member, run, "between", number, lambda: outcomes.append(self.outcome(mate, inner)))
        for outcome in outcomes:
            self.compare(mate, inner, outcome)
        assert not (difference := outer.looks_unlike(expected(self.question(member, run)))), difference

    def run_beside(self, member: Member, run: Run, place: str, number: int, other: Member, second: Run) -> None:
        """Run in a thread that is held up somewhere, run to the end in another meanwhile, and let it go on."""
        meeting = Meeting()
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self.run_while, member, run, place, number, meeting)
            try:
                while not meeting.arrived.wait(0.005) and not future.done():
                    pass
                during = self.outcome(other, second)
            finally:
                meeting.go_on.set()
            outcomes = ((member, run, future.result(PATIENCE)), (other, second, during))
        for who, what, outcome in outcomes:
            if other is member and outcome.error:
                continue  # they shared a scheduler: an error is what should come, and is better than an image
            difference = outcome.looks_unlike(expected(self.question(who, what)))
            assert not difference, f"{self.question(who, what)}: {difference}"

    # Switching ---------------------------------------------------------------------------------------------------

    def enable(self, member: Member, setup: str) -> None:
        """Switch on; where something is on, that is refused and nothing changes."""
        before, error = [traces(model) for model in self.models.values()], None
        try:
            handle = switch(self.kind, member.pipe, setup).enable()
        except Exception as caught:
            error = caught
        if error is not None:
            assert before == [traces(model) for model in self.models.values()], f"left after {error}"
            if member.handle is not None:
                assert isinstance(error, AlreadyAccelerated), repr(error)
            else:
                question = Question(self.kind.name, member.role, (), member.scheduler, self._fitting(Run()), setup)
                assert expected(question).error == f"{type(error).__name__} on switching on", repr(error)
            return
        assert member.handle is None, "switched on twice"
        member.handle, member.setup = handle, setup

    def disable(self, member: Member, how: str) -> None:
        """Switch off: by the handle, by the function, at a block's end; the handle may be lost before that."""
        handle, member.handle, member.setup = member.handle, None, ""
        assert handle is not None
        if how == "function":
            del handle
            padecast.disable(self.kind.target(member.pipe))
        elif how == "block":
            with handle:
                pass
        else:
            handle.disable()
        self.check_nothing_left()

    def reset(self, member: Member) -> None:
        if member.handle is not None:
            member.handle.reset()

    def off(self, member: Member) -> None:
        if member.handle is not None:
            member.handle.disable()

    def off_and_on(self, member: Member) -> None:
        if member.handle is not None:
            member.handle.disable()
            member.handle.enable()

    def check_nothing_left(self) -> None:
        if not self.on:
            for name, model in self.models.items():
                assert not (left := traces(model)), f"left on the {name}: {left}"

    # Other things ------------------------------------------------------------------------------------------------

    def join(self, role: str, scheduler: str) -> None:
        """Make another pipeline of the first one's parts, with a scheduler of its own or (for ``""``) the same."""
        first = self.members[0]
        made = self.kind.pipelines[role](scheduler=first.pipe.scheduler, **self.models)
        pipe = type(made).from_pipe(first.pipe)
        self.changes = followed(self.changes, ("cast", "float32"))  # it does that to the parts, unless told otherwise
        pipe.set_progress_bar_config(disable=True)
        if scheduler:
            pipe.scheduler = self.kind.schedulers[scheduler]()
        self.members.append(Member(pipe, role, scheduler or first.scheduler))

    def set_scheduler(self, member: Member, scheduler: str) -> None:
        member.pipe.scheduler, member.scheduler = self.kind.schedulers[scheduler](), scheduler

    def change(self, *step: Any) -> None:
        """Change the weights of the models."""
        change(self.models, *step)
        self.changes = followed(self.changes, step)

    @property
    def is_adapted(self) -> bool:
        return is_adapted(self.changes)

    def replace_models(self, run: Run) -> None:
        """Put other models in place of the pipelines'; where something is on a pipeline, it goes over or says so."""
        step = ("replace", 1 - next((seed for what, seed in self.changes if what == "replace"), 0))
        before, self.changes = self.models, followed(self.changes, step)
        self.models = changed(self.kind, self.changes)
        for member in self.members:
            for name, model in self.models.items():
                setattr(member.pipe, name, model)
        for member in self.on:
            self.check_either(member, run, self.outcome(member, run), loud=not self.kind.length)
            self.disable(member, "handle")
        for name, model in before.items():
            assert not (left := traces(model)), f"left on the {name} of before: {left}"

    def check_either(self, member: Member, run: Run, outcome: Outcome, loud: bool) -> None:
        """Assert that a run was forecast as it should be, or left alone, with a warning that says so."""
        if outcome.differs(expected(self.question(member, run))):
            untouched = expected(self.question(Member(member.pipe, member.role, member.scheduler), run))
            assert not (difference := outcome.looks_unlike(untouched)), difference
            said = member.handle is None or id(member.handle) in self.heard
            assert said or outcome.error or not loud, "nothing was forecast, silently"

    def copied_for_a_request(self, member: Member, run: Run, loud: bool) -> None:
        """Run a shallow copy with a scheduler of its own, as servers make for every request."""
        pipe = copy.copy(member.pipe)
        pipe.scheduler = copy.deepcopy(member.pipe.scheduler)
        twin = Member(pipe, member.role, member.scheduler, member.handle, member.setup)
        self.check_either(twin, run, self.outcome(twin, run), loud)

    def copied(self, member: Member, how: str, run: Run) -> None:
        """Copy a pipeline, and run the copy, which nothing is on."""
        pipe = {"deep": copy.deepcopy, "pickled": lambda pipe: pickle.loads(pickle.dumps(pipe))}[how](member.pipe)
        models = self.kind.models_of(pipe)
        for name, model in models.items():
            assert not (left := traces(model)), f"on the copied {name}: {left}"
        twin = Member(pipe, member.role, member.scheduler)
        outcome = observe(lambda: self.kind.draw(pipe, self._fitting(run)), models)
        assert not (difference := outcome.differs(expected(self.question(twin, run)))), f"the copy: {difference}"

    def call(self, how: str, first: bool = True) -> None:
        """Call the models by hand, also where a run may begin."""
        if self.kind.length and any(expected(self.question(member, Run())).error for member in self.on):
            return  # a plan of another length refuses every call
        before = bytes_remembered()
        for call in recorded(self.kind, self.changes):
            if first or not (call.first or any(call.is_at(one.pipe.scheduler.timesteps) for one in self.on)):
                assert not (difference := getattr(call, how)(self.models)), difference
        taken = max(bytes_remembered() - before, 0)  # such a call may be the first of a run
        for member in self.on:
            self.most_bytes[id(member.handle)] = taken + self.most_bytes.get(id(member.handle), 0)
            self.abandon(member)

    def run_and_call(self, member: Member, run: Run, number: int, how: str) -> None:
        """Call the models by hand between two steps of a run, and not at a timestep of it: that would be its call."""
        outcome = self.run_while(member, run, "between", number, lambda: self.call(how, first=False))
        self.compare(member, run, outcome, others=len(recorded(self.kind, self.changes)))

    def switch_interrupted(self, member: Member, setup: str, line: int) -> None:
        """Interrupt switching on or off at some line: it is on then, or off, and nothing between."""
        handle = member.handle or switch(self.kind, member.pipe, setup)
        with contextlib.suppress(Exception), interrupted_at_line(line):
            (handle.disable if handle.enabled else handle.enable)()
        with warnings.catch_warnings(action="ignore", category=PadecastWarning):  # that it was never switched on
            assert handle.report is not None
        member.handle, member.setup = (handle, member.setup or setup) if handle.enabled else (None, "")
        self.check_nothing_left()

    def give_up(self) -> None:
        """Switch everything off, whatever comes of it."""
        for member in self.members:
            with contextlib.suppress(Exception):
                padecast.disable(self.kind.target(member.pipe))

    def close(self, run: Run) -> None:
        """Run what is on, switch everything off, and see that nothing is left and nothing has changed."""
        for member in self.on:
            self.run(member, run)
        bound = self.most_bytes_remembered
        assert bytes_remembered() <= bound, f"{bytes_remembered()} bytes are remembered, runs took {bound}"
        for member in self.on:
            self.disable(member, "handle")
        self.run(self.members[0], Run())
