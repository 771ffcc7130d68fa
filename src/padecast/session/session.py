"""One run: asks the policy once per step, and keeps what every branch remembers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from padecast._errors import check
from padecast._steps import Position, Trace, normalise
from padecast.forecasters import Forecaster
from padecast.forecasters.extras import Moments, Replay, State
from padecast.memory.arithmetic import Ready, Rows, Streams, detach
from padecast.memory.memory import Memory
from padecast.memory.ring import Storage
from padecast.policies import Policy
from padecast.policies.base import SupportsStacks, find
from padecast.session.branches import Branches, check_shapes
from padecast.session.decisions import Course, check_place, check_shown
from padecast.session.forecast import Forecast, Patch, forecast, prepare, unfit


class Session:
    """One run of a sampler, with one or more branches; needs no diffusers.

    The policy is asked once per step; all branches of the step follow. Every branch remembers its own residuals. A step
    index that goes back starts a new run. Whatever cannot be forecast is computed, and the record says why.

    Args:
        policy: When to compute.
        forecaster: With which weights to forecast.
        total: Steps of the schedule, at least 1.
        measure: Whether to keep inner products for the report, for which three residuals at least are remembered
            (policies and forecasters that need them get them anyway). Default true.
        dtype: Storage dtype of the history; that of the features unless given.
        offload: Whether the history lies in host memory and comes back when it is needed. Default false.
        spare: Histories of an earlier run, whose memory is used again; this one's go there when it is over.
        group: Processes that hold the other parts of the same features: inner products are summed over them, so that
            all decide alike. They are then measured only if the policy or the forecaster needs them. Default none.
        strides: ``|sigma_i - sigma_{i+1}|`` of every step, for error feedback, the tolerance and spaced steps;
            equal unless given.

    Raises:
        InvalidPlan: If the policy is a plan of another length.
        InvalidOption: If there are not as many strides as steps.

    Example:
        >>> from padecast import forecasters, policies
        >>> session = Session(policies.Plan("CC.C."), forecasters.Lagrange(), total=5)
        >>> def stack(x, t):
        ...     return x + t * torch.ones_like(x)
        >>> x = torch.zeros(1, 4)
        >>> [session.step(x, index=t, compute=lambda t=t: stack(x, t))[0, 0].item() for t in range(5)]
        [0.0, 1.0, 2.0, 3.0, 4.0]
        >>> session.plan
        'CC.C.'
    """

    def __init__(
        self,
        policy: Policy,
        forecaster: Forecaster,
        total: int,
        *,
        measure: bool = True,
        dtype: torch.dtype | None = None,
        offload: bool = False,
        spare: list[Memory] | None = None,
        group: Any = None,
        strides: Sequence[float] | None = None,
    ) -> None:
        check(isinstance(policy, Policy), "policy", policy, "a policy, such as policies.Interval(every=3)")
        check(isinstance(forecaster, Forecaster), "forecaster", forecaster, "a forecaster, such as forecasters.Pade()")
        check(total >= 1, "total", total, "1 step or more")
        policy.check(total)
        self.policy, self.forecaster, self.total = policy, forecaster, total
        self._halves: SupportsStacks | None = find(policy, SupportsStacks)
        # Over a group every product is a message between processes: too dear for a report.
        measure = (measure and group is None) or policy.needs_gram or forecaster.needs_gram
        self._group = group
        self._strides = None if strides is None else normalise(strides)
        if strides is not None:
            check(len(strides) == total, "strides", len(strides), f"{total} values, one a step")
            check(self._strides is not None, "strides", list(strides), "finite values of 0 or more, not all 0")
        window = max(forecaster.window, policy.looks_back, 3 if measure else 1)
        spare = [] if spare is None else spare
        extra = forecaster.extra
        self.replays, self._moments = isinstance(extra, Replay), extra if isinstance(extra, Moments) else None
        moments = 0 if self._moments is None else self._moments.moments
        self._memories = Branches(window, moments, measure, Storage(dtype, offload), spare, group)
        self.state = State() if extra is None else extra.begin(alone=group is None)
        self.peak_bytes = self._aside = 0
        self.begins_late = False  # in the middle of a schedule, as what fell behind another run does
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next step is the first of a run."""
        self._memories.release()
        self.state.clear()
        self._served: dict[str, bool] = {}
        self._before: set[str] = set()
        self._course = Course(self.policy, self._group)
        self.records = self._course.records
        self._prepared: dict[str, Forecast] = {}
        self._patches: dict[str, Patch] = {}
        self.unplaced = 0  # calls of a model whose place in the schedule was not known, and which were computed

    def forget(self) -> None:
        """Let go of the remembered residuals, and keep the records: the run is over."""
        self._course.release()
        self._memories.release()
        self.state.clear()

    def step(
        self,
        x: Tensor,
        *,
        index: int,
        compute: Callable[[], Tensor],
        time: float | None = None,
        branch: str = "",
        probe: Tensor | None = None,
    ) -> Tensor:
        """Return the stack's output at one step: computed, or ``x`` plus the forecast residual.

        Args:
            x: The stack's current input, ``(B, ...)``.
            index: Step index; going back starts a new run, and so does the run's only step when it comes again.
            compute: Runs the stack on ``x``. Called only if the step is computed.
            time: Abscissa of forecasts; the step index unless given.
            branch: Which conditioning this is, where a step has several.
            probe: What the policy decides by (``policy.probe``), where that is not ``x``.

        Raises:
            InvalidOption: If ``time`` is not finite, or another step had it; if the policy decides by something else
                than ``x``, and ``probe`` is not given.
            FeatureChanged: If the stack's output has another shape than its input.
            IndexError: If ``index`` lies outside the schedule.
        """
        check_place(index, self.total)
        if self._begins_again(index, branch):
            self.reset()
        at = Position.at(index, self.total, time, strides=self._strides)
        # No polynomial goes through two residuals at one abscissa.
        taken = [step.at.index for step in self.trace if step.at.time == at.time and step.at.index != index]
        check(not taken and math.isfinite(at.time), "time", at.time, f"a number unlike that of step {taken or index}")
        if probe is None:
            check_shown(self.policy)
        self.begin(at)
        self.observe((x if probe is None else probe,))
        forecast = self.forecast(branch, (x,))
        if forecast is not None:
            return forecast[0]
        return self.learn(branch, (x,), (compute(),))[0]

    def _begins_again(self, index: int, branch: str) -> bool:
        """Whether a step goes back, or is the run's only step once more."""
        again = self._course.is_at(index) and len(self.trace) == 1 and branch in self._served
        return again or self._course.is_past(index)

    # A caller that cannot hand over ``compute`` (a hooked model) uses the three parts of a step.

    def begin(self, at: Position) -> bool:
        """Decide whether a step is computed; the same answer for every branch of the step.

        A policy with a probe decides when it is shown what it wants to see, by :meth:`observe`; until then it computes.
        """
        if self._course.is_at(at.index):
            return self.records[-1].computed
        computed = self._course.begin(at, self._memories.geometry(self.trace.computed))
        self._before, self._served, self._patches = set(self._served), {}, {}
        return computed

    @property
    def waits_to_see(self) -> bool:
        """Whether the policy wants to be shown something of the step begun, and was not yet."""
        return self._course.waits_to_see

    def observe(self, features: Streams, rows: Rows | None = None) -> None:
        """Show a policy what its probe sees of the step begun, and let it decide; only a step's first call counts."""
        self._course.observe(features, rows)
        self._count_bytes()

    def forecast(
        self, branch: str, entry: Streams, part: int | None = None, source: Callable[[], Streams] | None = None
    ) -> Streams | None:
        """Return the forecast output of a branch at the step begun, or ``None`` if it must be computed.

        On a CPU, a sample whose forecast is not finite is computed, and the others get their forecasts all the same.

        Args:
            branch: Which conditioning this is.
            entry: What the stack is given, ``(B, ...)`` per stream.
            part: Of several stacks of a model, which this is; the policy may have it run at a forecast step.
            source: Returns what the model is given of every sample, ``(B, ...)`` per tensor, where that is not the
                entry. A sample that is not finite there is served as it is: computing it would not mend it.
        """
        record, memory = self.records[-1], self._memories.get(branch)
        halves = None if part is None or record.computed else self._halves
        runs = halves is not None and part is not None and not halves.leaves_out(record.at, part)
        # Delta-DiT runs one half at a forecast step: as planned, with nothing to note and nothing to learn.
        if runs and branch not in self._served:
            self._served[branch] = True
            return None
        if branch in self._served:
            return self.decline(branch, "ambiguous")
        if record.computed or self.replays:
            return None
        if memory is None or not len(memory):
            return self.decline(branch, "no history")
        if not memory.fits(entry):
            self._memories.drop(branch)
            return self.decline(branch, "changed")
        # Guidance that comes back after a pause: its history ends before that of the others.
        if memory.latest < self.trace.computed[-1]:
            return self.decline(branch, "stale")
        # A forecast is made without gradients, and would end that of the input.
        if any(x.requires_grad for x in entry):
            return self.decline(branch, "gradient")
        recipe, output = forecast(self.forecaster, memory, entry, record.at, branch)
        alone = self._group is None  # what one process sees alone must not decide for it alone
        patch = None
        # On a GPU the look would be a wait at every forecast step.
        if alone and all(y.device.type == "cpu" for y in output):
            patch = unfit(output, entry if source is None else source())
        if patch is not None and not patch.serves_any:
            return self.decline(branch, "non-finite")
        # Also where a sample is computed: the others get their forecasts.
        recipe.note(record)
        self._served[branch] = False
        if patch is None:
            return output
        self._patches[branch] = patch
        return self.decline(branch, "non-finite sample")

    def patches(self, branch: str) -> bool:
        """Whether some samples of a branch are computed at the step begun, and the others get their forecasts."""
        return branch in self._patches

    def ready(self, branch: str) -> Ready | None:
        """Return the forecast of a branch at the step begun as far as it goes without the stack's input.

        Nothing if the step is computed or is better left to :meth:`forecast`. Who uses it says so to :meth:`serve`.
        """
        record, memory = self.records[-1], self._memories.get(branch)
        if record.computed or branch in self._served or self.forecaster.extra is not None:
            return None
        # Then forecast() is asked, which notes why.
        if memory is None or not len(memory) or memory.latest < self.trace.computed[-1]:
            return None
        self._prepared[branch], ready = prepare(self.forecaster, memory, record.at, branch)
        return ready

    def serve(self, branch: str) -> None:
        """Note that what :meth:`ready` returned became the branch's output."""
        self._prepared.pop(branch).note(self.records[-1])
        self._served[branch] = False

    def hold(self, branch: str, entry: Streams) -> Streams:
        """Return what :meth:`learn` will be given as the stack's input.

        Where its residual will be learnt, that is a copy in the slot of the residual to come, so that nobody keeps the
        input itself alive while the stack runs; otherwise the input.
        """
        # Where nothing is learnt a copy would take the slot of the oldest residual.
        replayed = self.replays and not self.records[-1].computed
        if branch in self._served or replayed:
            return entry
        with torch.no_grad():
            return self._memories.fitting(branch, entry).hold(detach(entry))

    def learn(self, branch: str, entry: Streams, output: Streams, rows: Rows | None = None) -> Streams:
        """Remember a computed residual; returns the output (for the oracle, the input plus its residual).

        Where only some samples are computed, nothing is remembered: histories are of whole steps, and those of the
        others must be what they would have been without them.

        Args:
            branch: Which conditioning this is.
            entry: What the stack was given.
            output: What it returned.
            rows: Which rows inner products are taken over. Default all.
        """
        check_shapes(entry, output)
        record = self.records[-1]
        if branch in self._patches:
            return self._patches.pop(branch).on(output)
        # The branch once more, or a half that runs at a forecast step: a history has no more than one residual a step.
        if branch in self._served:
            return output
        # The first branch had no forecast: the others compute with it, and policies see a computed step.
        if not record.computed and not self.replays and not self._served:
            self._course.correct()
        if record.computed and not self._served:
            self._course.learn(output, rows)
        self._served[branch] = True
        if self.replays and not record.computed:
            # Rounded as a forecast is, so that only the weights tell the two apart.
            return tuple(x + (y - x) for x, y in zip(entry, output, strict=True))
        memory = self._memories.fitting(branch, entry)
        with torch.no_grad():
            basis = None if self._moments is None else self._moments.basis(record.at)
            memory.remember(record.at, detach(entry), detach(output), basis, rows)
        self.state.learn(branch)
        record.geometry[branch] = memory.geometry()
        self._count_bytes()
        return output

    def renew(self, branch: str, entry: Streams, output: Streams) -> None:
        """Remember another output in place of a branch's forecast, where an extra has improved it."""
        with torch.no_grad():
            self._memories[branch].renew(detach(entry), detach(output))
        self._count_bytes()

    def set_aside(self, size: int) -> None:
        """Count bytes that are kept elsewhere for this run, until another number is said."""
        self._aside = size
        self._count_bytes()

    def _count_bytes(self) -> None:
        size = self._memories.nbytes + self._course.nbytes + self.state.nbytes + self._aside
        self.peak_bytes = max(self.peak_bytes, size)

    def decline(self, branch: str, note: str) -> Streams | None:
        """Note why a branch is computed at the step begun; one of :data:`padecast.session.record.NOTES`."""
        self.records[-1].notes[branch] = note
        return None

    def lose(self, branch: str, note: str) -> None:
        """Note why nothing was seen of a branch's stack at the step begun."""
        self._memories.drop(branch)  # a slot may hold the input of a residual that never came
        self._patches.pop(branch, None)
        self.decline(branch, note)

    def insist(self, note: str, branches: Sequence[str]) -> None:
        """Note that calls of the step begun run the model whatever was decided, and why.

        If the first call of a step does, the step counts as computed.
        """
        record = self.records[-1]
        if record.computed:
            return
        for branch in branches:
            self.decline(branch, note)
        if not self._served:
            self._course.correct()

    @property
    def trace(self) -> Trace:
        """What was done so far, as policies see it."""
        return self._course.trace

    @property
    def reached_end(self) -> bool:
        """Whether the last step of the schedule was begun, or calls came that have no place in it."""
        return self.unplaced > 0 or (bool(self.records) and self.records[-1].at.is_last)

    @property
    def complete(self) -> bool:
        """Whether the last step was served on every branch that the step before it had."""
        if not self.trace.steps or not self.trace.steps[-1].at.is_last:
            return False
        # Guidance that ended earlier than at the step before is not waited for.
        return bool(self._served) and self._before <= set(self._served)

    @property
    def plan(self) -> str:
        """What was done so far: ``C`` computed, ``.`` forecast, a space for steps of the grid not visited."""
        return self._course.plan(self.total)
