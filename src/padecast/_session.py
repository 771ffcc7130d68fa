"""One run: asks the policy once per step, and keeps what every branch remembers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from padecast._errors import FeatureChanged, InvalidOption, check
from padecast._history import Geometry, Position, Trace, normalised
from padecast._memory import Memory
from padecast._mix import Ready, Streams
from padecast._record import Record
from padecast._ring import Storage
from padecast._watch import Watch
from padecast.forecasters import Forecaster
from padecast.forecasters.base import fitted
from padecast.policies import Policy
from padecast.policies.base import PROBES


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
        strides: ``|sigma_i - sigma_{i+1}|`` of every step, for error feedback and the tolerance; equal unless given.

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
        check(total >= 1, "total", total, "1 step or more")
        policy.check(total)
        self.policy, self.forecaster, self.total = policy, forecaster, total
        self._measure = (measure and group is None) or policy.needs_gram or forecaster.needs_gram
        self._storage, self._spare, self._group = Storage(dtype, offload), [] if spare is None else spare, group
        self._strides = None if strides is None else normalised(strides)
        if strides is not None:
            check(len(strides) == total, "strides", len(strides), f"{total} values, one a step")
            check(self._strides is not None, "strides", list(strides), "finite values of 0 or more, not all 0")
        self._memories: dict[str, Memory] = {}
        self.peak_bytes = 0
        self._watch: Watch | None = None
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next step is the first of a run."""
        self.forget()
        self._served: dict[str, bool] = {}
        self._before: set[str] = set()
        self._trace = Trace()
        self.records: list[Record] = []
        self._watch = Watch(self._group) if self.policy.probe else None
        self._prepared: dict[str, tuple[Geometry, Tensor]] = {}
        self._undecided: Geometry | None = None
        self.unplaced = 0  # calls of a model whose place in the schedule was not known, and which were computed

    def forget(self) -> None:
        """Let go of the remembered residuals, and keep the records: the run is over."""
        self._watch = None if self._watch is None else Watch(self._group)
        kept, self._memories = list(self._memories.values()), {}
        if kept:
            self._spare[:] = kept

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
        if not 0 <= index < self.total:
            raise IndexError(
                f"step index {index} lies outside a run of {self.total} steps (0 to {self.total - 1}).\n"
                f"Make the session as long as the run: Session(policy, forecaster, total={index + 1})"
            )
        if self._begins_again(index, branch):
            self.reset()
        at = Position.at(index, self.total, time, strides=self._strides)
        taken = [step.at.index for step in self._trace if step.at.time == at.time and step.at.index != index]
        check(not taken and math.isfinite(at.time), "time", at.time, f"a number unlike that of step {taken or index}")
        wanted = self.policy.probe
        if probe is None and wanted not in ("", "latents"):
            raise InvalidOption(
                f"{type(self.policy).__name__} decides by {PROBES[wanted]}, which a session does not see by itself.\n"
                "Give it: session.step(x, index=i, compute=..., probe=features)"
            )
        self.begin(at)
        self.observe((x if probe is None else probe,))
        forecast = self.forecast(branch, (x,))
        if forecast is not None:
            return forecast[0]
        return self.learn(branch, (x,), (compute(),))[0]

    def _begins_again(self, index: int, branch: str) -> bool:
        """Whether a step goes back, or is the run's only step once more."""
        if not self._trace.steps or index > self._trace.steps[-1].at.index:
            return False
        return index < self._trace.steps[-1].at.index or (len(self._trace) == 1 and branch in self._served)

    # A caller that cannot hand over ``compute`` (a hooked model) uses the three parts of a step.

    def begin(self, at: Position) -> bool:
        """Decide whether a step is computed; the same answer for every branch of the step.

        A policy with a probe decides when it is shown what it wants to see, by :meth:`observe`; until then it computes.
        """
        if self._trace.steps and self._trace.steps[-1].at.index == at.index:
            return self._trace.steps[-1].computed
        geometry = self._shared_geometry()
        self._undecided = geometry if self._watch is not None else None
        computed = geometry is None or self._watch is not None or self.policy.computes(at, self._trace, geometry)
        self._trace = self._trace.then(at, computed)
        self._before, self._served = set(self._served), {}
        self.records.append(Record(at, computed))
        return computed

    @property
    def waits_to_see(self) -> bool:
        """Whether the policy wants to be shown something of the step begun, and was not yet."""
        return self._watch is not None and self.records[-1].at.seen is None

    def observe(self, features: Streams) -> None:
        """Show a policy what its probe sees of the step begun, and let it decide; only a step's first call counts."""
        record = self.records[-1]
        if self._watch is None or not self.waits_to_see:
            return
        record.at = replace(record.at, seen=self._watch.see(features))
        self._count_bytes()
        if self._undecided is not None:
            record.computed = self.policy.computes(record.at, self._trace.before, self._undecided)
            self._undecided = None
        self._trace = self._trace.before.then(record.at, record.computed)

    def forecast(self, branch: str, entry: Streams, part: int | None = None) -> Streams | None:
        """Return the forecast output of a branch at the step begun, or ``None`` if it must be computed.

        Of several stacks of a model, ``part`` says which this is; the policy may have it run at a forecast step.
        """
        record, memory = self.records[-1], self._memories.get(branch)
        runs = part is not None and not record.computed and not self.policy.leaves_out(record.at, part)
        if runs and branch not in self._served:
            self._served[branch] = True
            return None
        if branch in self._served:
            return self.decline(branch, "ambiguous")
        if record.computed or self.forecaster.replays:
            return None
        if memory is None or not len(memory):
            return self.decline(branch, "no history")
        if not memory.fits(entry):
            del self._memories[branch]
            return self.decline(branch, "changed")
        if memory.latest < self._trace.computed[-1]:
            return self.decline(branch, "stale")
        if any(x.requires_grad for x in entry):
            return self.decline(branch, "gradient")
        output = self._forecast(branch, memory, entry, record)
        if output is not None:
            self._served[branch] = False
        return output

    def ready(self, branch: str) -> Ready | None:
        """Return the forecast of a branch at the step begun as far as it goes without the stack's input.

        Nothing if the step is computed or is better left to :meth:`forecast`. Who uses it says so to :meth:`serve`.
        """
        record, memory = self.records[-1], self._memories.get(branch)
        plain = self.forecaster.is_weights and not self.forecaster.moments and not self.forecaster.replays
        if record.computed or branch in self._served or not plain:
            return None
        if memory is None or not len(memory) or memory.latest < self._trace.computed[-1]:
            return None
        with torch.no_grad():
            geometry = replace(memory.geometry(), branch=branch)
            weights = self.forecaster.weights(geometry, record.at)
            self._prepared[branch] = geometry, weights
            sure = weights.device.type != "cpu" or bool(weights.isfinite().all())
            return memory.ready(fitted(weights, memory.kept)) if sure else None

    def serve(self, branch: str) -> None:
        """Note that what :meth:`ready` returned became the branch's output."""
        record = self.records[-1]
        geometry, weights = self._prepared.pop(branch)
        record.geometry[branch], record.weights[branch] = geometry, fitted(weights, len(geometry))
        self._served[branch] = False

    def hold(self, branch: str, entry: Streams) -> Streams:
        """Return what :meth:`learn` will be given as the stack's input.

        Where its residual will be learnt, that is a copy in the slot of the residual to come, so that nobody keeps the
        input itself alive while the stack runs; otherwise the input.
        """
        replayed = self.forecaster.replays and not self.records[-1].computed
        if branch in self._served or replayed:
            return entry
        with torch.no_grad():
            return self._memory(branch, entry).hold(_detached(entry))

    def learn(self, branch: str, entry: Streams, output: Streams) -> Streams:
        """Remember a computed residual; returns the output (for the oracle, the input plus its residual)."""
        for x, y in zip(entry, output, strict=True):
            if x.shape != y.shape:
                raise FeatureChanged(
                    f"the stack was given {tuple(x.shape)} and returned {tuple(y.shape)}: there is no residual "
                    "between them.\nUsual cause: a span that begins or ends where the model concatenates or drops "
                    "tokens. Choose another span."
                )
        record = self.records[-1]
        if branch in self._served:
            return output
        if not record.computed and not self.forecaster.replays and not self._served:
            record.computed, self._trace = True, self._trace.corrected()
        if self._watch is not None and record.computed and not self._served and record.at.seen is not None:
            self._watch.keep()
            if self.policy.probe == "latents":
                record.at = replace(record.at, seen=self._watch.learn(record.at.seen, output))
                self._trace = self._trace.before.then(record.at, record.computed)
        self._served[branch] = True
        if self.forecaster.replays and not record.computed:
            return tuple(x + (y - x) for x, y in zip(entry, output, strict=True))
        memory = self._memory(branch, entry)
        with torch.no_grad():
            basis = self.forecaster.basis(record.at)
            memory.remember(record.at, _detached(entry), _detached(output), basis)
        record.geometry[branch] = memory.geometry()
        self._count_bytes()
        return output

    def _memory(self, branch: str, entry: Streams) -> Memory:
        """Return the history of a branch, an empty one if it has none of such features."""
        memory = self._memories.get(branch)
        if memory is None or not memory.fits(entry):
            memory = self._memories[branch] = self._empty_memory(entry)
        return memory

    def _empty_memory(self, entry: Streams) -> Memory:
        """Return an empty history for features, with the slots of an earlier run's if they fit."""
        window = max(self.forecaster.window, self.policy.looks_back, 3 if self._measure else 1)
        for place, memory in enumerate(self._spare):
            same = (memory.window, memory.moments, memory.measure, memory.storage) == (
                window,
                self.forecaster.moments,
                self._measure,
                self._storage,
            )
            if same and memory.group is self._group and memory.fits(entry):
                memory.clear()
                return self._spare.pop(place)
        self._spare.clear()  # features of another kind: those of before are not kept beside them
        return Memory(window, self.forecaster.moments, self._measure, self._storage, self._group)

    def _count_bytes(self) -> None:
        watched = 0 if self._watch is None else self._watch.nbytes
        self.peak_bytes = max(self.peak_bytes, watched + sum(m.nbytes for m in self._memories.values()))

    def decline(self, branch: str, note: str) -> Streams | None:
        """Note why a branch is computed at the step begun; one of :data:`padecast._record.NOTES`."""
        self.records[-1].notes[branch] = note
        if note == "bypassed":
            self._memories.pop(branch, None)  # a slot may hold the input of a residual that never came
        return None

    @property
    def reached_end(self) -> bool:
        """Whether the last step of the schedule was begun, or calls came that have no place in it."""
        return self.unplaced > 0 or (bool(self.records) and self.records[-1].at.is_last)

    @property
    def complete(self) -> bool:
        """Whether the last step was served on every branch that the step before it had."""
        if not self._trace.steps or not self._trace.steps[-1].at.is_last:
            return False
        return bool(self._served) and self._before <= set(self._served)

    @property
    def plan(self) -> str:
        """What was done so far: ``C`` computed, ``.`` forecast, a space for steps of the grid not visited."""
        letters = [" "] * self.total
        for step in self._trace:
            letters[step.at.index] = "C" if step.computed else "."
        return "".join(letters).rstrip()

    def _shared_geometry(self) -> Geometry | None:
        """Return what the branches of the latest computed step remember, or ``None`` if nothing is remembered."""
        memories = [memory for memory in self._memories.values() if len(memory)]
        if not memories:
            return None
        current = [memory for memory in memories if memory.latest == self._trace.computed[-1]] or memories
        known = sorted((memory.geometry() for memory in current), key=lambda geometry: geometry.index, reverse=True)
        joined = known[0].joined(known[1:])
        return joined if joined.gram is None else joined.newest(joined.gram.shape[-1])

    def _forecast(self, branch: str, memory: Memory, entry: Streams, record: Record) -> Streams | None:
        geometry = replace(memory.geometry(), branch=branch)
        with torch.no_grad():
            weights = self.forecaster.weights(geometry, record.at) if self.forecaster.is_weights else None
            output = self.forecaster.forecast(memory, geometry, entry, record.at, weights)
        alone = self._group is None  # what one process sees alone must not decide for it alone
        if alone and any(y.device.type == "cpu" and not _is_finite(y) for y in output):
            return self.decline(branch, "non-finite")
        record.geometry[branch] = geometry
        if weights is not None:
            record.weights[branch] = fitted(weights, len(geometry))
        return output


def _detached(streams: Streams) -> Streams:
    return tuple(x.detach() for x in streams)


def _is_finite(features: Tensor) -> bool:
    """Whether nothing is infinite or not a number, from the extremes, in which either shows."""
    return not features.numel() or all(bool(extreme.isfinite()) for extreme in torch.aminmax(features))
