"""A method that learns from the user's own runs: what is known of the run that begins, and what it teaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from padecast._errors import InvalidOption
from padecast._noise import Noise, is_multistep
from padecast.forecasters import Forecaster, TCPade
from padecast.hooks.retrace import suit
from padecast.lessons import Identity, Lesson, Library, Look
from padecast.lessons.extrapolation import LINE, choose_forecaster
from padecast.lessons.file import LONGEST
from padecast.lessons.planner import SPREAD, Planner, Proposal
from padecast.lessons.teacher import Teacher
from padecast.methods import DAMPED, Method
from padecast.methods import method as named
from padecast.policies import Always, Learned, Plan, Spaced
from padecast.policies.watchful import LEAST, Surprises, Watchful
from padecast.session.observer import Observer
from padecast.targets.pipelines import models_of


@dataclass(frozen=True)
class Start:
    """The run that begins.

    Args:
        total: Steps of its schedule.
        noise: Levels of its places; ``None`` where the scheduler tells none.
        timesteps: Of its places.
        begin: The first place that it visits.
        is_shared: Whether several processes run it together.
        scales: Guidance scales of the pipeline's call, by the names of its arguments.
    """

    total: int
    noise: Noise | None = None
    timesteps: tuple[float, ...] = ()
    begin: int = 0
    is_shared: bool = False
    scales: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Sampling:
    """What is sampled, and by what, as far as plans depend on it.

    Args:
        identity: Whose lessons serve it.
        forecaster: Of the method, as it goes with the sampler.
        is_multistep: Whether the sampler extrapolates by itself.
        switches: Places in the schedule at which another model takes over.
    """

    identity: Identity
    forecaster: Forecaster
    is_multistep: bool = False
    switches: tuple[int, ...] = ()


@cache
def library_of(place: bool | str | Path) -> Library:
    """Return the library of a place, the same for all handles of this process, so that they share what they learn."""
    return Library(place)


class Learning:
    """Serves the runs of one handle: exact or fast where nothing is known, by a plan of the lesson afterwards.

    Args:
        method: Whose policy is :class:`padecast.policies.Learned`, and says what is asked for.
        library: Where lessons are.
    """

    def __init__(self, method: Method, library: Library) -> None:
        assert isinstance(method.policy, Learned)
        self.method, self.library = method, library
        self._policy: Learned = method.policy
        self._fast = replace(named("adaptive"), name=method.name)
        self._exact = replace(method, policy=Always())
        self.remarks: tuple[str, ...] = ()
        """What is to be said of the latest run."""
        self.teacher: Teacher | None = None
        """Who listens to the latest run, if anybody does."""
        self._failed: set[str] = set()  # of which models a run taught nothing: another would not either

    @property
    def every(self) -> tuple[Method, ...]:
        """All methods that may serve a run."""
        return (self.method, self._fast)

    @property
    def observers(self) -> list[Observer]:
        """Who is to hear what the latest run computes."""
        return [] if self.teacher is None else [self.teacher]

    def choose(self, pipe: Any, start: Start) -> Method:
        """Return the method of a pipeline's run that begins.

        Args:
            pipe: The pipeline.
            start: What is known of the run.
        """
        return self.serve(lambda: self._read(pipe, start), start, type(pipe.scheduler).__name__)

    def _read(self, pipe: Any, start: Start) -> Sampling:
        return Sampling(
            identify(pipe, self.method.span, start.scales),
            suit(self.method.forecaster, pipe.scheduler, self.method.retrace),
            is_multistep(pipe.scheduler),
            tuple(_switches(pipe, start)),
        )

    def serve(self, read: Callable[[], Sampling], start: Start, name: str) -> Method:
        """Return the method of the run that begins.

        Args:
            read: Says what is sampled; asked only where something can be learnt, since it looks at weights.
            start: What is known of the run.
            name: Of the scheduler, or of what else tells noise levels.
        """
        self.teacher = None
        noise = start.noise
        if start.is_shared:
            self.remarks = ("nothing is learnt of a model that several processes share: each would decide by itself",)
            return self._forecast(start.total)
        if noise is None or len(noise.sigmas) <= start.total or start.total > LONGEST:
            why = f"{name} tells no noise levels" if start.total <= LONGEST else f"it has more than {LONGEST} steps"
            self.remarks = (f"nothing was learnt, and nothing is known: {why}",)
            return self._forecast(start.total)
        sampling = read()
        identity = sampling.identity
        lesson = self.library.get(identity)
        lesson = lesson if lesson is not None and lesson.looks else None  # measured gains alone are no lesson yet
        visited = noise.part(start.begin, start.total)  # some schedulers have a place more than steps
        is_lost = identity.key in self._failed
        if lesson is not None and lesson.covers(visited.levels[:-1], 1 if is_lost else self._policy.runs):
            return self._follow(sampling, lesson, visited, start)
        near = self.library.nearest(identity) if lesson is None and self._policy.near else None
        if near is not None and near.covers(visited.levels[:-1], self._policy.runs):
            method = self._follow(sampling, near, visited, start)
            self.remarks = (*self.remarks, _say_near(identity, near.identity))
            return method
        first = "fast" if is_lost else self._policy.first
        self.remarks = (self._say_first(lesson, visited, first),)
        seed = 0 if lesson is None else lesson.runs
        self.teacher = Teacher(visited, start.timesteps[start.begin :], start.begin, self._teach_as(identity), seed)
        return self._exact if first == "exact" else self._forecast(len(visited.sigmas) - 1)

    def _forecast(self, steps: int) -> Method:
        """Return the uncalibrated rule at what is asked for, as near as it comes, or at its tolerance."""
        budget = self._policy.budget(steps)
        if budget is None or steps < 2:
            return self._fast
        every = max(1.0, (steps - 1) / max(budget - 1, 1))
        return replace(self._fast, policy=Spaced(every=every))

    def _teach_as(self, identity: Identity) -> Callable[[Look | None], None]:
        def teach(look: Look | None) -> None:
            if look is None:
                self._failed.add(identity.key)
                fact = "the run taught nothing: too few steps were seen, or something was not finite"
                self.remarks = (*self.remarks, f"{fact}; runs after it are forecast by the uncalibrated rule")
                return
            lesson = self.library.add(identity, look)
            place = self.library.holds(identity)
            fact = f"this run taught {look.samples} sample(s) of {look.steps} steps, kept in {place}"
            count = lesson.count_runs(look.levels)
            left = self._policy.runs - count
            plan = f"{left} more run(s) teach" if left > 0 else f"runs after it are planned from {count} run(s)"
            self.remarks = (*self.remarks, f"{fact}; {plan}")

        return teach

    def _follow(self, sampling: Sampling, lesson: Lesson, visited: Noise, start: Start) -> Method:
        steps = len(visited.sigmas) - 1
        policy, budget = self._policy, self._policy.budget(steps)

        multistep = sampling.is_multistep

        def search(forecaster: Forecaster) -> Proposal:
            planner = Planner.of(lesson, visited, policy.objective, forecaster=forecaster, multistep=multistep)
            return planner.reach(policy.decibels or 0.0) if budget is None else planner.plans([budget])[budget]

        def find(forecaster: Forecaster) -> Proposal:
            key = (visited, budget, policy.decibels, policy.objective, forecaster, multistep)
            return self.library.plan(lesson, key, lambda: search(forecaster))

        usual = sampling.forecaster
        proposal = find(usual)
        forecaster = self._draw_out(lesson, visited, proposal.steps, usual)
        has_lines = forecaster == LINE != usual
        if has_lines:
            proposal = find(LINE)
        places = {start.begin + step for step in proposal.steps}
        places = _fix(places, [place for place in sampling.switches if place > start.begin])
        plan = Plan("".join("C" if i < start.begin or i in places else "." for i in range(start.total)))
        levels = visited.levels[:-1]
        known = f"{lesson.count_runs(levels)} run(s) with {lesson.count_samples(levels)} sample(s)"
        guess = (
            f", about {proposal.decibels:.0f} dB expected (an estimate, off by up to {SPREAD:.0f} dB between models)"
        )
        expected = guess if self.method.retrace else ""
        self.remarks = (f"planned from {known}: {len(places)} of {steps} to be computed{expected}",)
        if has_lines:
            self.remarks = (*self.remarks, "its forecasts are lines: the lesson's runs were nearer to these")
        if lesson.gains is not None:
            self.remarks = (*self.remarks, f"errors count by {lesson.gains}")
        forecaster = LINE if has_lines else self.method.forecaster
        if policy.watchful and not plan.computes_all:
            plan = self._watch(plan, lesson, start.begin, LINE if has_lines else usual)
        return replace(self.method, policy=plan, forecaster=forecaster)

    def _watch(self, plan: Plan, lesson: Lesson, begin: int, forecaster: Forecaster) -> Watchful:
        """Return the plan with a step more behind every computed one that surprises, as its runs so far tell."""
        surprises = self.library.plan(lesson, (plan, begin, forecaster, "surprises"), Surprises)
        watchful = Watchful(plan.steps, forecaster, surprises)
        left = LEAST - surprises.runs
        known = f"{surprises.runs} run(s) tell what that is"
        when = f"{left} more run(s) tell first what is usual" if left > 0 else known
        fact = f"up to {watchful.most(begin)} more are computed where a step is further from its forecast than is usual"
        self.remarks = (*self.remarks, f"{fact}: {when}")
        return watchful

    def _draw_out(self, lesson: Lesson, visited: Noise, steps: tuple[int, ...], usual: Forecaster) -> Forecaster:
        """Return the forecaster that a run has as usual, or lines where the lesson says that they are nearer."""
        # Without retracing a line's errors stay in the image; another forecaster is one that the user chose.
        if not self.method.retrace or not isinstance(usual, TCPade) or self.method.forecaster != DAMPED:
            return usual

        def choose() -> Forecaster:
            return choose_forecaster(lesson.singles(visited.levels[:-1]), visited, steps, usual)

        return self.library.plan(lesson, (visited, steps, "forecaster"), choose)

    def _say_first(self, lesson: Lesson | None, visited: Noise, first: str) -> str:
        levels = visited.levels[:-1]
        done = "computed whole" if first == "exact" else "forecast by the uncalibrated rule"
        if lesson is None:
            return f"nothing was known of this model in this setting: the run was {done}"
        if lesson.covers(levels):
            return f"{lesson.count_runs(levels)} of {self._policy.runs} runs have taught: it was {done}"
        if lesson.share(levels) == 1:
            counts = " and ".join(str(look.steps) for look in lesson.looks)
            fact = f"is of {counts} steps, which says little of {len(levels)}"
            return f"the lesson of {lesson.runs} run(s) {fact}: it was {done}"
        seen = f"{lesson.share(levels):.0%} of its noise levels"
        return f"the lesson of {lesson.runs} run(s) saw {seen} ({max(levels):.2g} to {min(levels):.2g}): it was {done}"


def _say_near(identity: Identity, other: Identity) -> str:
    ours, theirs = ({"guidance": each.guidance, **dict(each.scales)} for each in (identity, other))
    texts = [f"{name} {theirs[name]:g}, not {ours[name]:g}" for name in ours if ours[name] != theirs[name]]
    texts = texts[1:] if len(texts) > 1 and texts[0].startswith("guidance ") else texts  # the same, by the call's name
    return (
        f"that lesson is of {' and '.join(texts)}: near by, and this setting has none of its own. "
        'Have it teach one with "learned:near=false"'
    )


def _switches(pipe: Any, start: Start) -> list[int]:
    """Return the first place of every further model of a pipeline whose models take turns: each begins anew there."""
    config = getattr(pipe, "config", {})
    ratio = config.get("boundary_ratio") if hasattr(config, "get") else None
    trained = getattr(getattr(pipe, "scheduler", None), "config", {}).get("num_train_timesteps")
    if ratio is None or trained is None or len(models_of(pipe)) < 2:
        return []
    return [index for index, timestep in enumerate(start.timesteps) if timestep < ratio * trained][:1]


def _fix(places: set[int], required: Sequence[int]) -> set[int]:
    """Return computed places with those that have to be, each in place of the nearest that need not be."""
    for place in required:
        if place not in places:
            movable = [other for other in places if other not in required and other != min(places)]
            nearest = min(movable, key=lambda other: abs(other - place), default=None)
            places = (places - {nearest} if nearest is not None else places) | {place}
    return places


def identify(pipe: Any, span: str, scales: tuple[tuple[str, float], ...] = ()) -> Identity:
    """Return whose a lesson of a pipeline is; of one whose models take turns, of all of them together.

    Args:
        pipe: The pipeline.
        span: What of its models is forecast.
        scales: Guidance scales of the call, by name.
    """
    first, *others = [Identity.of(pipe, model, span, scales) for model in models_of(pipe)]
    if not others:
        return first
    both = (first, *others)
    return replace(
        first,
        model="+".join(each.model for each in both),
        config="+".join(each.config for each in both),
        weights="+".join(each.weights for each in both),
        adapters=tuple(pair for each in both for pair in each.adapters),
    )


def check_learnable(pipe: Any) -> None:
    """Raise unless something can be learnt of what is accelerated.

    Raises:
        InvalidOption: If it is a bare model: nothing tells its noise levels.
    """
    if getattr(pipe, "scheduler", None) is None:
        raise InvalidOption(
            f"a {type(pipe).__name__} without a scheduler tells no noise levels, on which lessons lie.\n"
            'Accelerate the whole pipeline, or take a method that learns nothing, such as "adaptive".'
        )
