"""One branch of a run: what one conditioning remembers, and how it stands at the step begun."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from padecast._errors import FeatureChanged, InvalidOption
from padecast._geometry import Geometry
from padecast._steps import Position
from padecast.forecasters import Forecaster
from padecast.forecasters.extras import Direct, Moments, Replay, State
from padecast.memory.arithmetic import Ready, Rows, Streams, detach, pad
from padecast.memory.memory import Memory
from padecast.policies import Policy
from padecast.policies.base import SupportsStacks, find
from padecast.session.amends import Amends
from padecast.session.decisions import Course
from padecast.session.histories import Histories
from padecast.session.observer import Observer
from padecast.session.patch import Patch, is_finite, unfit


@dataclass
class Run:
    """What all branches of a run share.

    Args:
        policy: When to compute.
        forecaster: With which weights to forecast.
        course: The steps so far.
        histories: What branches remember.
        state: What an extra of the forecaster remembers.
        observers: Who hears of computed steps.
        is_alone: Whether no other process holds a part of the features.
        number: How many steps were begun.
        is_served: Whether some branch was served at the latest of them.
        aside: Bytes that are kept elsewhere for the run.
        peak_bytes: The most that were kept so far.
        replays: Whether the stack is run at forecast steps too.
        direct: What makes forecasts of features, where they are not weights.
        stacks: The policy, where it may have one of several stacks run at a forecast step.
    """

    policy: Policy
    forecaster: Forecaster
    course: Course
    histories: Histories
    state: State
    observers: Sequence[Observer]
    is_alone: bool
    number: int = 0
    is_served: bool = False
    aside: int = 0
    peak_bytes: int = 0
    replays: bool = field(init=False)
    direct: Direct | None = field(init=False)
    stacks: SupportsStacks | None = field(init=False)

    def __post_init__(self) -> None:
        extra = self.forecaster.extra
        self.replays, self.direct = isinstance(extra, Replay), extra if isinstance(extra, Direct) else None
        self.stacks = find(self.policy, SupportsStacks)

    def count_bytes(self) -> None:
        """Note how much is kept now."""
        size = self.histories.nbytes + self.course.nbytes + self.state.nbytes + self.aside
        self.peak_bytes = max(self.peak_bytes, size)


class Branch:
    """What one conditioning of a run remembers, and how it stands at the step begun.

    A step of a branch is :meth:`forecast`; where that returns nothing, the stack is run between :meth:`hold` and
    :meth:`learn`. Whatever cannot be forecast is computed, and the record says why.

    Args:
        name: Under which it is reported.
        run: Which it is a branch of.
        stage: Which evaluation of a step it is. Observers hear of the first alone.
    """

    def __init__(self, name: str, run: Run, stage: int = 0) -> None:
        self.name, self._run, self.stage = name, run, stage
        self._observers: Sequence[Observer] = () if stage else run.observers
        self.served = -1
        """Number of the step at which it was served last; -1 before the first."""
        self._conditions: Hashable = None
        self._is_changed = False
        self._patch: Patch | None = None
        self._prepared: tuple[Geometry, Tensor] | None = None

    @property
    def is_served(self) -> bool:
        """Whether it was served at the step begun."""
        return self.served == self._run.number

    def meet(self, conditions: Hashable) -> None:
        """Say what acts on the branch at the step begun: where that is something else than before, it begins anew."""
        if self.served >= 0 and conditions != self._conditions:
            self._run.histories.drop(self.name)
            self._is_changed = True
        self._conditions = conditions

    @property
    def is_patched(self) -> bool:
        """Whether some of its samples are computed at the step begun, and the others get their forecasts."""
        return self._patch is not None

    def forecast(
        self, inputs: Streams, stack: int | None = None, source: Callable[[], Streams] | None = None
    ) -> Streams | None:
        """Return the output at the step begun, or ``None`` if it must be computed.

        On a CPU, a sample whose forecast is not finite is computed, and the others get their forecasts all the same.

        Args:
            inputs: What the stack is given, ``(B, ...)`` per stream.
            stack: Of several stacks of a model, which this is; the policy may have it run at a forecast step.
            source: Returns what the model is given of every sample, ``(B, ...)`` per tensor, where those are not the
                inputs. A sample that is not finite there is served as it is: computing it would not mend it.
        """
        run = self._run
        record = run.course.records[-1]
        if self.served != run.number:
            self._patch = None  # of an earlier step
        # Delta-DiT runs one half at a forecast step: as planned, with nothing to note and nothing to learn.
        if (
            stack is not None
            and not record.computed
            and self.served != run.number
            and run.stacks is not None
            and not run.stacks.leaves_out(record.at, stack)
        ):
            self._serve()
            return None
        if self.served == run.number:
            return self.decline("ambiguous")
        if record.computed or run.replays:
            return self._recall(inputs) if self._observers and record.computed and inputs else None
        memory = run.histories.memories.get(self.name)
        reason = self._reason_to_compute(memory, inputs)
        if memory is None or reason:
            return self.decline(reason)
        # By its name calibrated offsets of one branch are told from those of another.
        geometry = replace(memory.geometry(), branch=self.name)
        weights, output = forecast(run.forecaster, run.direct, memory, geometry, inputs, record.at)
        patch = None
        # On a GPU the look would be a wait at every forecast step, and what one process sees must not decide for all.
        if run.is_alone and {y.device.type for y in output} == {"cpu"}:
            patch = unfit(output, inputs if source is None else source)
        if patch is not None and not patch.serves_any:
            return self.decline("non-finite")
        # Also where a sample is computed: the others get their forecasts.
        self._note(geometry, weights)
        self.served, run.is_served = run.number, True
        if patch is None:
            return output
        self._patch = patch
        return self.decline("non-finite sample")

    def _recall(self, inputs: Streams) -> Streams | None:
        """Return what an observer knows of a computed step, and learn it."""
        for observer in self._observers:
            output = observer.recall(self.name, self._run.course.records[-1].at, inputs)
            if output is not None:
                return self.learn(inputs, output)
        return None

    @property
    def _memory(self) -> Memory | None:
        return self._run.histories.memories.get(self.name)

    def _reason_to_compute(self, memory: Memory | None, inputs: Streams) -> str:
        """Say why a step that is to be forecast cannot be; one of :data:`padecast.session.record.NOTES`, or nothing."""
        if memory is None or not len(memory):
            return "conditions" if self._is_changed else "no history"
        if not memory.fits(inputs):
            self._run.histories.drop(self.name)
            return "changed"
        # Guidance that comes back after a pause: its history ends before that of the others.
        if memory.latest < self._run.course.latest:
            return "stale"
        # A forecast is made without gradients, and would end that of the input.
        for x in inputs:
            if x.requires_grad:
                return "gradient"
        return ""

    def ready(self) -> Ready | None:
        """Return the forecast at the step begun as far as it goes without the stack's input, for a compiled model.

        Nothing if the step is computed or is better left to :meth:`forecast`. Who uses it says so to :meth:`serve`.
        """
        run, memory = self._run, self._memory
        record = run.course.records[-1]
        if record.computed or self.is_served or run.forecaster.extra is not None:
            return None
        # Then forecast() is asked, which notes why.
        if memory is None or not len(memory) or memory.latest < run.course.latest:
            return None
        geometry = replace(memory.geometry(), branch=self.name)
        with torch.no_grad():
            weights = weigh(run.forecaster, geometry, record.at)
            self._prepared = geometry, weights
            # Nobody looks at the sum inside a graph: what it is made of stands for it. No GPU is waited for.
            parts = [x for x in (weights, geometry.gram) if x is not None and x.device.type == "cpu"]
            if not all(map(is_finite, parts)):
                return None
            return memory.ready(weights)

    def serve(self) -> None:
        """Note that what :meth:`ready` returned became the output."""
        assert self._prepared is not None
        self._note(*self._prepared)
        self._prepared = None
        self._serve()

    def _serve(self) -> None:
        self.served, self._run.is_served = self._run.number, True

    def _note(self, geometry: Geometry, weights: Tensor | None) -> None:
        """Write down what a forecast was made of that became the output."""
        record = self._run.course.records[-1]
        record.geometry[self.name] = geometry
        if weights is not None:
            # A method may weigh fewer than are remembered: a report has one number for each.
            count = len(geometry.index)
            record.weights[self.name] = weights if weights.shape[-1] == count else pad(weights, count)

    def hold(self, inputs: Streams) -> Streams:
        """Return what :meth:`learn` will be given as the stack's input.

        Where its residual will be learnt, that is a copy in the slot of the residual to come, so that nobody keeps the
        input itself alive while the stack runs; otherwise the input.
        """
        # Where nothing is learnt a copy would take the slot of the oldest residual.
        if self.is_served or self._is_replayed:
            return inputs
        with torch.no_grad():
            return self._run.histories.make(self.name, inputs).hold(detach(inputs))

    def learn(self, inputs: Streams, output: Streams, rows: Rows | None = None) -> Streams:
        """Remember a computed residual; returns the output (for the oracle, the input plus its residual).

        Where only some samples are computed, nothing is remembered: histories are of whole steps, and those of the
        others must be what they would have been without them.

        Args:
            inputs: What the stack was given.
            output: What it returned.
            rows: Which rows inner products are taken over. Default all.

        Raises:
            FeatureChanged: If the output has another shape than the input.
        """
        check_shapes(inputs, output)
        run = self._run
        record = run.course.records[-1]
        for observer in self._observers:
            observer.hear(self.name, record.at, inputs, output, rows)
        if self._patch is not None:
            patch, self._patch = self._patch, None
            return patch.on(output)
        # The branch once more, or a half that runs at a forecast step: a history has no more than one residual a step.
        if self.is_served:
            return output
        is_first, replayed = not run.is_served, self._is_replayed
        # The first branch had no forecast: the others compute with it, and policies see a computed step.
        if not record.computed and not replayed and is_first:
            run.course.correct()
        if record.computed and is_first:
            run.course.learn(output, rows)
        self._serve()
        if replayed:
            # Rounded as a forecast is, so that only the weights tell the two apart.
            return tuple(x + (y - x) for x, y in zip(inputs, output, strict=True))
        self._is_changed = False
        memory = run.histories.make(self.name, inputs)
        with torch.no_grad():
            basis = run.direct.basis(record.at) if isinstance(run.direct, Moments) else None
            memory.remember(record.at, detach(inputs), detach(output), basis, rows)
        run.state.learn(self.name)
        record.geometry[self.name] = memory.geometry()
        run.count_bytes()
        return output

    def amend(self, amends: Amends, output: Streams) -> Streams:
        """Return a computed output with what the forecasts before it got wrong paid back; it is remembered as it is."""
        if self._memory is None:
            return output
        weights = amends.weights(self._run.course.records, self.name, self.stage, self._memory.geometry())
        if weights is None:
            return output
        with torch.no_grad():
            return self._memory.add(output, weights)

    def renew(self, inputs: Streams, output: Streams) -> None:
        """Remember another output in place of a forecast, where an extra has improved it."""
        assert self._memory is not None
        with torch.no_grad():
            self._memory.renew(detach(inputs), detach(output))
        self._run.count_bytes()

    @property
    def _is_replayed(self) -> bool:
        return self._run.replays and not self._run.course.records[-1].computed

    def decline(self, note: str) -> Streams | None:
        """Note why it is computed at the step begun; one of :data:`padecast.session.record.NOTES`."""
        self._run.course.records[-1].notes[self.name] = note
        return None

    def lose(self, note: str) -> None:
        """Note why nothing was seen of its stack at the step begun."""
        self._patch = None
        self._run.histories.drop(self.name)  # a slot may hold the input of a residual that never came
        self.decline(note)


def forecast(
    forecaster: Forecaster, direct: Direct | None, memory: Memory, geometry: Geometry, inputs: Streams, at: Position
) -> tuple[Tensor | None, Streams]:
    """Return ``inputs + R(t)``, and the weights that it was made with, if they were weights.

    Args:
        forecaster: With which weights.
        direct: What makes it of features instead, if anything does.
        memory: What the branch remembers.
        geometry: The same without features.
        inputs: What the stack is given.
        at: The step.
    """
    with torch.no_grad():
        if direct is None:
            weights = weigh(forecaster, geometry, at)
            return weights, memory.add(inputs, weights)
        shown = weigh(forecaster, geometry, at) if direct.has_weights else None
        return shown, direct.forecast(memory, geometry, inputs, at)


def weigh(forecaster: Forecaster, geometry: Geometry, at: Position) -> Tensor:
    """Return a forecaster's weights of the newest residuals: it sees as many as its window.

    More is remembered where a policy or a report looks further back, which must not change a forecast.

    Raises:
        InvalidOption: If it returned no weights, or more of them than it was shown residuals.
    """
    seen = geometry if len(geometry) <= forecaster.window else geometry.newest(forecaster.window)
    weights = forecaster.weights(seen, at)
    if not isinstance(weights, Tensor) or weights.ndim not in (1, 2) or weights.shape[-1] > len(seen):
        shape = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise InvalidOption(
            f"{type(forecaster).__name__}.weights returned {shape}, where {len(seen)} residuals are remembered.\n"
            "Return a tensor of shape (K,) or (batch, K) with K = len(geometry), which is at most its window, "
            f"{forecaster.window}."
        )
    return weights


def check_shapes(inputs: Streams, output: Streams) -> None:
    """Raise if a stack's output has another shape than its input.

    Raises:
        FeatureChanged: With both shapes.
    """
    for x, y in zip(inputs, output, strict=True):
        if x.shape != y.shape:
            raise FeatureChanged(
                f"the stack was given {tuple(x.shape)} and returned {tuple(y.shape)}: there is no residual "
                "between them.\nUsual cause: a span that begins or ends where the model concatenates or drops "
                "tokens. Choose another span."
            )


def name_of(branch: str, stage: int) -> str:
    """Return under which name a branch is remembered at a stage of the step.

    Example:
        >>> name_of("cond", 0), name_of("cond", 1), name_of("", 1)
        ('cond', 'cond, stage 1', 'stage 1')
    """
    return ", ".join(filter(None, (branch, f"stage {stage}" if stage else "")))
