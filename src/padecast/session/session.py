"""One run: asks the policy once per step, and keeps what every branch remembers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from padecast._errors import InvalidOption, PadecastWarning, check
from padecast._noise import Noise
from padecast._steps import Position, Trace, normalise
from padecast.forecasters import Forecaster
from padecast.forecasters.base import check_plain
from padecast.forecasters.extras import Moments, State
from padecast.memory.arithmetic import Rows, Streams, make_origin
from padecast.memory.memory import Memory
from padecast.memory.ring import Storage
from padecast.policies import Policy
from padecast.session.amends import Amends, effects_of, without_feedback
from padecast.session.balance import REMEDY, describe_imbalance
from padecast.session.branch import Branch, Run, name_of
from padecast.session.decisions import Course, check_place, check_shown
from padecast.session.grid import Evaluation, Grid, count_steps, read_level, tolerance_of
from padecast.session.histories import Histories
from padecast.session.observer import Observer
from padecast.session.route import Route
from padecast.session.stopwatch import stopwatch

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Session:
    """One run of a sampler, with one or more branches; needs no diffusers.

    The policy is asked once per step; all branches of the step follow. Every branch remembers its own residuals. A step
    index that goes back starts a new run. Whatever cannot be forecast is computed, and the record says why.

    Args:
        policy: When to compute.
        forecaster: With which weights to forecast.
        total: Steps of the schedule, at least 1; as many as the grid has, where that is given.
        measure: Whether to keep inner products for the report, for which three residuals at least are remembered
            (policies and forecasters that need them get them anyway). Default true.
        dtype: Storage dtype of the history; that of the features unless given.
        offload: Whether the history lies in host memory and comes back when it is needed. Default false.
        spare: Histories of an earlier run, whose memory is used again; this one's go there when it is over.
        group: Processes that hold the other parts of the same features: inner products are summed over them, so that
            all decide alike. They are then measured only if the policy or the forecaster needs them. Default none.
        strides: ``|sigma_i - sigma_{i+1}|`` of every step, for error feedback; those of the grid, or equal, unless
            given.
        observers: Who hears of computed steps, see :class:`~padecast.session.observer.Observer`. Default nobody.
        grid: The noise levels of the run, by which calls can be placed, and by which policies such as that of
            ``adaptive`` decide; see :class:`padecast.Grid`. Default unknown.
        amend: Whether a computed output that ends a stretch of forecasts is returned with what these got wrong paid
            back, see :class:`padecast.session.amends.Amends`; forecasts pay nothing back then. Outputs must be forecast
            themselves (``x=None``), and be velocities. What they do to the latents is what a rehearsal has measured,
            the grid's ``effects``; without one the sampler is taken for Euler's. Default false.

    Raises:
        InvalidPlan: If the policy is a plan of another length.
        InvalidOption: If there are not as many strides as steps, or ``total`` is not the number of the grid's steps.

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
        total: int | None = None,
        *,
        measure: bool = True,
        dtype: torch.dtype | None = None,
        offload: bool = False,
        spare: list[Memory] | None = None,
        group: ProcessGroup | None = None,
        strides: Sequence[float] | None = None,
        observers: Sequence[Observer] = (),
        grid: Grid | None = None,
        amend: bool = False,
    ) -> None:
        check(isinstance(policy, Policy), "policy", policy, "a policy, such as policies.Interval(every=3)")
        check(isinstance(forecaster, Forecaster), "forecaster", forecaster, "a forecaster, such as forecasters.Pade()")
        total = count_steps(total, grid)
        policy.check(total)
        self.policy, self.forecaster, self.total = policy, forecaster, total
        # Over a group every product is a message between processes: too dear for a report.
        measure = (measure and group is None) or policy.needs_gram or forecaster.needs_gram
        self._group = group
        self._strides = None if strides is None else normalise(strides)
        if strides is not None:
            check(len(strides) == total, "strides", len(strides), f"{total} values, one a step")
            check(self._strides is not None, "strides", list(strides), "finite values of 0 or more, not all 0")
        elif grid is not None:
            self._strides = normalise(grid.strides)
        self.grid, self._route = grid, None if grid is None else Route(grid)
        self._amends = Amends(effects_of(grid, self._strides, total), total) if amend else None
        if amend:
            check_plain("forecaster", forecaster)
            is_velocity = grid is None or grid.output == "velocity"
            check(is_velocity, "amend", amend, "false, or a grid of velocities: of other outputs it is not known")
            self.forecaster = forecaster = without_feedback(forecaster)
        # What the forecasts of a stretch were made of is still there when the step behind it is.
        window = max(forecaster.window + (self._amends is not None), policy.looks_back, 3 if measure else 1)
        spare = [] if spare is None else spare
        extra = forecaster.extra
        moments = extra.moments if isinstance(extra, Moments) else 0
        histories = Histories(window, moments, measure, Storage(dtype, offload), spare, group)
        self.state = State() if extra is None else extra.begin(alone=group is None)
        self._course = Course(policy, group)
        self._run = Run(policy, forecaster, self._course, histories, self.state, tuple(observers), group is None)
        self._is_warned = False  # of the weights of its forecaster
        self.begins_late = False  # in the middle of a schedule, as what fell behind another run does
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next step is the first of a run."""
        # Branches of before that somebody still holds would speak of another run: new ones are made.
        self._run.histories.close()
        self.state.clear()
        self._course = self._run.course = Course(self.policy, self._group)
        self._run.is_served = False
        self._branches: dict[str, Branch] = {}
        self.records = self._course.records
        self.unplaced = 0  # calls of a model whose place in the schedule was not known, and which were computed
        self._noise: Noise | None = None
        self._stage = 0
        self.remarks: tuple[str, ...] = ()  # what is to be said of the run besides its steps
        if self._route is not None:
            self._route.reset()

    def close(self) -> None:
        """Let go of the remembered residuals, and keep the records: the run is over."""
        self._course.release()
        self._run.histories.close()
        self.state.clear()

    def step(
        self,
        x: Tensor | None,
        *,
        compute: Callable[[], Tensor],
        index: int | None = None,
        sigma: float | Tensor | None = None,
        stage: int = 0,
        time: float | None = None,
        branch: str = "",
        probe: Tensor | None = None,
        like: Tensor | None = None,
        conditions: Hashable = None,
    ) -> Tensor:
        """Return the stack's output at one step: computed, or ``x`` plus the forecast residual.

        Args:
            x: The stack's current input, ``(B, ...)``; ``None`` to forecast the output itself, where it is no change
                of an input, as a model's prediction is none.
            compute: Runs the stack on ``x``. Called only if the step is computed.
            index: Step index; going back starts a new run, and so does the run's only step when it comes again.
            sigma: In its place, the noise level, which is found in the grid. If it is not the one that comes next, the
                rest of the run is computed, with a warning and a remark in the report.
            stage: Which of several evaluations of a step, from 0, as of Heun's method. They remember apart, and follow
                what was decided at the first. Where the sampler was rehearsed, ``sigma`` alone tells it.
            time: Abscissa of forecasts; the step index unless given.
            branch: Which conditioning this is, where a step has several.
            probe: What the policy decides by (``policy.probe``), where that is not ``x``, or ``like``.
            like: Without ``x``: a tensor of the output's shape, dtype and device, such as the latents.
            conditions: What acts on the branch here, such as the name of its prompt. Where that changes, what the
                branch remembers is forgotten, and it is computed. Default always the same.

        Raises:
            InvalidOption: If ``time`` is not finite, or another step had it; if the policy decides by something else
                than ``x``, and ``probe`` is not given; if not one of ``index`` and ``sigma`` is given, or of ``x`` and
                ``like``; or if ``stage`` comes before the first evaluation of a step.
            FeatureChanged: If the stack's output has another shape than its input.
            IndexError: If ``index`` lies outside the schedule.
        """
        shown = x if x is not None else like
        fits = shown is not None and (x is None or like is None)
        check(fits, "like", like, "a tensor if x is None, and else nothing")
        assert shown is not None
        check(x is None or self._amends is None, "x", "a tensor", "None where amend=True: outputs are forecast then")
        call = self._locate(index, sigma, stage, branch)
        if call is None:
            return compute()
        part, at = self.branch(branch, call.stage), self._position(call.step, time, shown)
        if probe is None:
            check_shown(self.policy)
        self.begin(at)
        self.observe((shown if probe is None else probe,))
        record, inputs = self.records[-1], (x if x is not None else make_origin(shown),)
        self._stage, stop = call.stage, stopwatch(shown.device)
        part.meet(conditions)
        forecast = part.forecast(inputs)
        output = part.learn(inputs, (compute(),)) if forecast is None else forecast
        if self._amends is not None and forecast is None and part.name not in record.notes:
            output = part.amend(self._amends, output)
        record.seconds.append(stop())
        record.stages[call.stage] = record.stages.get(call.stage, False) or forecast is None
        may_warn = at.is_last and not self._is_warned
        if may_warn and (fact := describe_imbalance(self.forecaster, self.records, on_host=True)):
            self._is_warned = True
            warnings.warn(f"{fact}.\n{REMEDY}", PadecastWarning, stacklevel=2)
        return output[0]

    def _locate(self, index: int | None, sigma: float | Tensor | None, stage: int, branch: str) -> Evaluation | None:
        """Return which evaluation of the run a call is, and begin another run if it is one; ``None`` if unforeseen."""
        check((index is None) != (sigma is None), "index", index, "a step index, or a noise level sigma=, and not both")
        check(stage >= 0, "stage", stage, "0 or more")
        call = Evaluation(math.nan, index, stage) if index is not None else self._find(sigma, stage, branch)
        if call is not None:
            check_place(call.step, self.total)
            if self._begins_again(call, branch):
                self.reset()
                return self._locate(index, sigma, stage, branch)
        return call

    def _find(self, sigma: float | Tensor | None, stage: int, branch: str) -> Evaluation | None:
        """Return which evaluation lies at a noise level, and say so if none does."""
        if self._route is None or sigma is None:
            raise InvalidOption(
                f"sigma={sigma} has no place: this session knows no noise levels.\n"
                "Give it those of the run: Session(policy, forecaster, grid=padecast.Grid(sigmas))"
            )
        level = read_level(sigma)
        if self._route.begins_anew(level):
            self.reset()
        if stage and not self._route.is_lost:
            rehearsed = "0: this sampler was rehearsed, and its stages are known by their noise levels"
            check(not self._route.knows_stages, "stage", stage, rehearsed)
            check(bool(self.records), "stage", stage, "0 at the first evaluation of a run")
            return Evaluation(level, self.records[-1].at.index, stage)
        call = self._route.place(level, lambda call: self._has_served(call, branch), tolerance_of(sigma))
        if call is None:
            self.unplaced += 1
            self._warn(level)
        return call

    def _warn(self, level: float) -> None:
        """Warn of the first call of a run that was not foreseen."""
        if not self.remarks:
            since = f"after step {self.records[-1].at.index} of {self.total}" if self.records else "at the start"
            self.remarks = (f"a call at the noise level {level:.6g} was not foreseen {since}: the rest was computed",)
            cause = "Usual cause: a sampler whose steps depend on what it is given, or other levels than the grid's."
            warnings.warn(f"{self.remarks[0]}.\n{cause}", PadecastWarning, stacklevel=5)

    def _has_served(self, call: Evaluation, branch: str) -> bool:
        return self._course.is_at(call.step) and self.branch(branch, call.stage).is_served

    def _position(self, index: int, time: float | None, features: Tensor) -> Position:
        """Return where a step lies; the noise levels of a run are those of latents as large as its first features."""
        if self.grid is not None and self._noise is None:
            self._noise = self.grid.noise(features.numel() / max(len(features), 1))
        at = Position.at(index, self.total, time, strides=self._strides, noise=self._noise)
        # No polynomial goes through two residuals at one abscissa.
        taken = [step.at.index for step in self.trace if step.at.time == at.time and step.at.index != index]
        check(not taken and math.isfinite(at.time), "time", at.time, f"a number unlike that of step {taken or index}")
        return at

    def guide(self, output: Tensor) -> Tensor:
        """Tell observers what the sampler is given at the step begun, after guidance, and return it.

        Only lessons and calibrations need it, and only where a step has several branches. Of a step with several
        evaluations the first is told.
        """
        if self.records and not self._stage and not self.remarks:
            record = self.records[-1]
            for observer in self._run.observers:
                observer.hear_guided(record.at, output, record.computed)
        return output

    def _begins_again(self, call: Evaluation, branch: str) -> bool:
        """Whether a step goes back, or is the run's only step once more."""
        again = len(self.trace) == 1 and self._has_served(call, branch)
        return again or self._course.is_past(call.step)

    # A caller that cannot hand over ``compute`` (a hooked model) begins a step here, and goes on with its branches.

    def begin(self, at: Position) -> bool:
        """Decide whether a step is computed; the same answer for every branch of the step.

        A policy with a probe decides when it is shown what it wants to see, by :meth:`observe`; until then it computes.
        """
        # Another branch of the step begun, or another evaluation at it: what was decided holds.
        if self.records and self.records[-1].at.index == at.index:
            return self.records[-1].computed
        computed = self._course.begin(at, self._run.histories.join(self._course.latest))
        self._run.number += 1
        self._run.is_served = False
        return computed

    def branch(self, name: str, stage: int = 0) -> Branch:
        """Return a branch by its name, at a stage of the step; a new one if there was none."""
        key = name_of(name, stage)
        branch = self._branches.get(key)
        if branch is None:
            branch = self._branches[key] = Branch(key, self._run, stage)
        return branch

    @property
    def replays(self) -> bool:
        """Whether the stack is run at forecast steps too, as for the oracle."""
        return self._run.replays

    @property
    def waits_to_see(self) -> bool:
        """Whether the policy wants to be shown something of the step begun, and was not yet."""
        return self._course.waits_to_see

    def observe(self, features: Streams, rows: Rows | None = None) -> None:
        """Show a policy what its probe sees of the step begun, and let it decide; only a step's first call counts."""
        self._course.observe(features, rows)
        self._run.count_bytes()

    def set_aside(self, size: int) -> None:
        """Count bytes that are kept elsewhere for this run, until another number is said."""
        self._run.aside = size
        self._run.count_bytes()

    @property
    def peak_bytes(self) -> int:
        """The most bytes that were kept at a time."""
        return self._run.peak_bytes

    def insist(self, note: str, branches: Sequence[str]) -> None:
        """Note that calls of the step begun run the model whatever was decided, and why.

        If the first call of a step does, the step counts as computed.
        """
        record = self.records[-1]
        if record.computed:
            return
        record.notes.update(dict.fromkeys(branches, note))
        if not self._run.is_served:
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
        if not self._run.is_served or self.records[-1].at.index < self.total - 1:
            return False
        # Guidance that ended earlier than at the step before is not waited for, and the last step may have one stage.
        firsts = [branch for branch in self._branches.values() if not branch.stage]
        return not any(branch.served == self._run.number - 1 for branch in firsts)

    @property
    def stage_names(self) -> frozenset[str]:
        """Under which names evaluations after the first of a step are remembered."""
        return frozenset(name for name, branch in self._branches.items() if branch.stage)

    @property
    def plan(self) -> str:
        """What was done so far: ``C`` computed, ``.`` forecast, a space for steps of the grid not visited."""
        return self._course.plan(self.total)
