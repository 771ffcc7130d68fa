"""A pipeline's acceleration as an object: switched on and off, and asked what it did."""

from __future__ import annotations

import contextlib
import logging
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from padecast._errors import AlreadyAccelerated, ConcurrentRun, InvalidOption
from padecast._intercept import SWITCHING, Intercept, Layer, Switch
from padecast.forecasters import Forecaster
from padecast.handles.attach import attach
from padecast.handles.learning import Learning, Start
from padecast.handles.warnings import Line, warn
from padecast.hooks.attachment import Attachment, Listener
from padecast.hooks.callers import Caller, guidance_scales_of
from padecast.hooks.copies import plain_copies
from padecast.hooks.retrace import Retrace, suit
from padecast.hooks.schedule import Agreement, Clock
from padecast.memory.group import group_of
from padecast.memory.memory import Memory
from padecast.memory.ring import Storage
from padecast.methods import Method
from padecast.policies.published import follows, offers
from padecast.report import FEW, Report, report_of
from padecast.report.display import block
from padecast.session.balance import REMEDY, describe_imbalance
from padecast.session.observer import Observer
from padecast.session.record import NOTES
from padecast.session.session import Session
from padecast.targets.pipelines import attributes_of, is_bare, models_of

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

ENABLED: weakref.WeakSet[Handle] = weakref.WeakSet()  # a handle lives as long as the models that it is attached to
LOG = logging.getLogger("padecast")
Guard = Callable[[Any, int | None], Method | None]
"""Raises unless a method may serve a pipeline, and, given its length, the run that begins; may name another for it."""


class Handle(Listener):
    """An accelerated pipeline or transformer: switch it on and off, read what it did.

    Made by :func:`accelerate` and :func:`enable`. As a context manager it is on inside the block. Configurations are
    frozen dataclasses and pickle; a handle belongs to its process.

    Example:
        >>> from diffusers import DiTTransformer2DModel
        >>> from padecast import accelerate
        >>> dit = DiTTransformer2DModel(num_attention_heads=1, attention_head_dim=8, in_channels=1, out_channels=1,
        ...     num_layers=2, sample_size=4, patch_size=2, num_embeds_ada_norm=10)
        >>> handle = accelerate(dit, "fora", steps=20)
        >>> with handle:
        ...     handle.enabled
        True
        >>> handle.enabled
        False
    """

    def __init__(
        self,
        pipe: Any,
        method: Method,
        *,
        steps: int | None,
        measure: bool,
        storage: Storage,
        group: ProcessGroup | None = None,
        guard: Guard | None = None,
        others: Sequence[Method] = (),
        learning: Learning | None = None,
        on_run: Callable[[Report], None] | None = None,
    ) -> None:
        self.pipe, self.method, self._guard, self._learning = pipe, method, guard, learning
        self._serving, self._every = method, (method, *others)  # what serves this run, of all that may serve one
        self.hears_calls = any(each.retrace for each in self._every)
        self._steps, self._measure, self._storage, self._group = steps, measure, storage, group
        self._attachments: list[Attachment] = []
        self._pipeline = None if is_bare(pipe) else pipe
        self._switch = Switch()
        self._layers: list[Layer] = []  # on the pipeline, which tells by its last act that a run is over
        self._retrace: Retrace | None = None
        self._line: Line | None = Line.of_caller()  # where it was made; nothing once it was switched on
        self._warned = self._ran = self._is_unbalanced = False
        self._strangers = self._copies = 0  # calls of other pipelines since it was switched on; copies of this one
        self._on_run, self._runs_on = on_run, False  # whether a run has begun whose end was not told
        self._last = Report((), "", 0, (), method.name)

    @property
    def enabled(self) -> bool:
        """Whether it is attached now."""
        return self._switch.on

    def enable(self) -> Handle:
        """Attach, all or nothing.

        Raises:
            UnsupportedModel: If no stack of blocks is known in the model.
            AlreadyAccelerated: If the same pipeline or transformer is accelerated already.
            CalibrationMismatch: If a calibration was made for another model.
        """
        self._line = None
        with SWITCHING:
            if not self.enabled:
                self._check_free()
                if self._guard is not None:
                    self._guard(self.pipe, None)
                self._attach_all()
        return self

    def disable(self) -> None:
        """Detach and free the history; the models are as they were. The report stays readable.

        Raises:
            ConcurrentRun: If another thread is sampling at this moment, or this one is inside the model; nothing is
                detached then.
        """
        with SWITCHING:
            sessions, was_on = _sessions(self._attachments), self.enabled
            try:
                self._switch_off()
                self._take_off()
            except BaseException:  # an interrupt waits until all is off, if anything is
                if not self.enabled:
                    self._take_off()
                raise
        if was_on:
            self._warn_of_run(sessions)
            self._warn_if_unused()

    def reset(self) -> None:
        """Drop the run in progress; the next call begins a new one.

        Never needed with a pipeline. A bare transformer whose run was abandoned between its first and its second step
        cannot always tell that the next call belongs to another run.
        """
        for attachment in self._attachments:
            attachment.reset()

    @property
    def report(self) -> Report:
        """What the latest run did."""
        self._warn_if_off()
        if self.enabled and self._is_replaced():
            warn(_describe_replacement(self.pipe), self._pipeline)
        return self._fetch_report()

    def _fetch_report(self) -> Report:
        return self._draw_up() if self.enabled else self._last

    def _draw_up(self) -> Report:
        sessions = _sessions(self._attachments)
        remarks = self._remarks(sessions) + (() if self._learning is None else self._learning.remarks)
        return report_of(sessions, self._serving.name, self._offers(), remarks)

    def _remarks(self, sessions: list[Session]) -> tuple[str, ...]:
        """Say what our own methods could not know of a run, and where they had to do with less."""
        begun = [session for session in sessions if session.records]
        if not self._serving.retrace or not begun:
            return ()
        name = type(getattr(self._pipeline, "scheduler", None)).__name__
        remarks = []
        if all(session.records[0].at.noise is None for session in begun):
            teller = "there is no scheduler" if name == "NoneType" else f"{name} tells no noise levels"
            remarks.append(f"steps count by their index: {teller}")
        suited = any(type(session.forecaster) is not type(self._serving.forecaster) for session in begun)
        if suited and not self._serving.policy.computes_all:
            remarks.append(
                f"forecast steps repeat: {name} draws noise, or mixes the outputs of several steps by itself"
            )
        return tuple(remarks)

    def _offers(self) -> tuple[str, ...]:
        """Name published plans for a run of all steps that ended, unless it followed one."""
        if follows(self._serving.policy):
            return ()
        pairs = [(type(attachment.model).__name__, attachment.session) for attachment in self._attachments]
        whole = [(model, run.total) for model, run in pairs if run is not None and len(run.records) == run.total]
        return tuple(dict.fromkeys(name for model, total in whole for name in offers(model, total)))

    def __repr__(self) -> str:
        state = "on" if self.enabled else "off"
        return f"<Handle: {self.method.name} on {type(self.pipe).__name__}, {state}; {self._fetch_report()!r}>"

    def _repr_html_(self) -> str:
        state, report = "on" if self.enabled else "off", self._fetch_report()
        title = f"{self.method.name} on {type(self.pipe).__name__}, {state}"
        return block(title, report.plan, str(report).splitlines())

    def __del__(self) -> None:
        if not sys.is_finalizing() and getattr(self, "_line", None) is not None:
            self._warn_if_off()

    def __enter__(self) -> Handle:
        try:
            return self.enable()
        except BaseException:
            self.disable()
            raise

    def __exit__(self, *error: object) -> None:
        try:
            self.disable()
        except Exception:
            raise
        except BaseException:  # an interrupt: the block is over all the same
            with contextlib.suppress(ConcurrentRun):
                self.disable()
            raise

    def _check_free(self) -> None:
        models = set(models_of(self.pipe))
        for other in handles_on():
            bare = is_bare(self.pipe) or is_bare(other.pipe)
            if other.pipe is self.pipe or (bare and models & set(models_of(other.pipe))):
                raise _already(self.pipe, other)

    def _attach_all(self) -> None:
        """Put layers on all models, and only then let them act."""
        self._switch = Switch()
        try:
            agreement = Agreement()
            self._attachments = [self._attach(model, agreement) for model in models_of(self.pipe)]
            if self._pipeline is not None:
                self._layers = [*plain_copies([self._pipeline], self._count_copy)]
                if any(method.retrace for method in self._every):
                    self._retrace = Retrace(self._pipeline, self._switch)
                    self._layers.append(self._retrace)
            if hasattr(self._pipeline, "maybe_free_model_hooks"):
                self._layers.append(Intercept(self._pipeline, "maybe_free_model_hooks", self._end))
            self._strangers, self._ran, self._copies = 0, False, 0
            if self._learning is not None:
                self._learning.remarks = ()
            ENABLED.add(self)
            for attachment in self._attachments:
                attachment.install()
            for layer in self._layers:
                layer.install()
            self._switch.on = True
        except BaseException:
            self._switch.on = False
            self._take_off()
            raise

    def _switch_off(self) -> None:
        """Keep the report, and have the layers act no more."""
        if not self.enabled:
            return
        with self._switch.lock:  # no call begins or ends meanwhile
            if any(attachment.is_entered() for attachment in self._attachments):
                raise ConcurrentRun(
                    "the model is in the middle of a call, of which a part was forecast perhaps.\n"
                    "Usual cause: a hook on one of its blocks that switches it off. Do that between calls."
                )
            if any(attachment.is_busy() for attachment in self._attachments):
                raise ConcurrentRun(
                    "another thread is inside the model that was to be switched off.\n"
                    "Wait until its call has returned: guard the pipeline and its handle with one lock."
                )
            self._last = self._draw_up()
            self._switch.on = False

    def _take_off(self) -> None:
        """Remove all layers, also what is left of them by an interrupt; until then they do nothing."""
        for layer in reversed(self._layers):
            layer.remove()
        for attachment in self._attachments:
            attachment.remove()
        self._attachments, self._layers, self._retrace = [], [], None
        if self._learning is not None:
            self._learning.teacher = None
        ENABLED.discard(self)

    def _attach(self, model: nn.Module, agreement: Agreement) -> Attachment:
        pipeline = None if is_bare(self.pipe) else self.pipe
        if getattr(pipeline, "scheduler", None) is None and self._length() is None:
            raise InvalidOption(
                f"a {type(self.pipe).__name__} without a scheduler does not say how many steps a run has.\n"
                "Say it, accelerate(..., steps=20), give a plan, or accelerate the pipeline instead of its transformer."
            )
        strides = any(
            method.policy.needs_stride or method.forecaster.needs_stride or method.retrace for method in self._every
        )
        clock = Clock(pipeline, self._length(), strides, agreement)
        spare = list[Memory]()

        def session(total: int) -> Session:
            return self._session(total, clock, spare, self._group or group_of(model))

        probe, extra = self.method.policy.probe, self.method.forecaster.extra
        return attach(model, self.method.span, clock, session, self, probe, extra, self._switch)

    def _session(self, total: int, clock: Clock, spare: list[Memory], group: Any) -> Session:
        self._ran = self._runs_on = True
        self._warn_of_run(_sessions(self._attachments))
        if self._guard is not None:
            self._serving = self._guard(self.pipe, total) or self.method
        observers = [] if self._learning is None else self._learn(self._learning, total, clock, group is not None)
        for attachment in self._attachments:
            if attachment.clock.is_outdated:  # a model that the run before used, and this one may not
                attachment.session = None
        return Session(
            self._serving.policy,
            self._forecaster(),
            total,
            # Of a run that is computed whole to teach there is nothing to weigh.
            measure=self._measure and not (observers and self._serving.policy.computes_all),
            dtype=self._storage.dtype,
            offload=self._storage.offload,
            spare=spare,
            group=group,
            observers=observers,
        )

    def _learn(self, learning: Learning, total: int, clock: Clock, is_shared: bool) -> list[Observer]:
        """Have a run served by what is known of it, and listened to where nothing is."""
        others = [attachment for attachment in self._attachments if attachment.clock is not clock]
        if any(other.session is not None and not other.clock.is_outdated for other in others):
            return learning.observers  # another model of the same run
        start = Start(total, clock.noise, clock.timesteps, clock.begin_index, is_shared, guidance_scales_of(self.pipe))
        self._serving = learning.choose(self.pipe, start)
        if self._retrace is not None:
            self._retrace.hear = None if learning.teacher is None else self._hear_guided
        return learning.observers

    def _hear_guided(self, session: Session, output: Tensor) -> None:
        """Pass on what the sampler is given to who learns of it; at the last step that is when the run is over."""
        teacher = None if self._learning is None else self._learning.teacher
        # A run that lost its place to another thread's says nothing of that one.
        if teacher is not None and teacher.is_open and session in _sessions(self._attachments):
            record = session.records[-1]
            teacher.hear_guided(record.at, output, record.computed)
            if not teacher.is_open:
                self._tell()

    def _forecaster(self) -> Forecaster:
        """Return what forecasts the run that begins, as it goes with the scheduler."""
        if self._retrace is not None:
            self._retrace.acts = self._serving.retrace
        if self._retrace is None or self._pipeline is None or not self._serving.retrace:
            return self._serving.forecaster
        return suit(self._serving.forecaster, self._pipeline.scheduler, self._retrace.renew())

    def _length(self) -> int | None:
        """Steps of a bare transformer's schedule: as told, or the only ones that its policy serves."""
        return self._steps or self.method.policy.length

    # What is said at the end of a run ---------------------------------------------------------------------------

    def note(self, session: Session) -> None:
        """Hear that a call of a model is done; see :class:`Listener`."""
        if self._retrace is not None:
            self._retrace.note(session)

    def finish(self) -> None:
        """Hear that the last step of a run is done; see :class:`Listener`."""
        teacher = None if self._learning is None else self._learning.teacher
        if teacher is not None:
            teacher.end()
        self._warn_of_run(_sessions(self._attachments))
        if teacher is None or not teacher.is_open:  # else the sampler's last word is awaited
            self._tell()

    def fail(self, grid: Any) -> None:
        """Hear that a run could not be begun, or gone on with; see :class:`Listener`."""
        for attachment in self._attachments:  # no other of its models begins one on that schedule either
            attachment.clock.spend(grid)

    def _end(self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Hear that the pipeline is done with a run, as diffusers' pipelines say by their last act."""
        result = method(*args, **kwargs)
        if self._learning is not None and self._learning.teacher is not None:
            self._learning.teacher.close()  # of a run that ended before its schedule did
        if self._is_replaced():
            warn(_describe_replacement(self.pipe), self._pipeline)
        self._warn_of_run(_sessions(self._attachments))
        self._tell()
        return result

    def _tell(self) -> None:
        """Log what a run did, once, and hand its report to whoever wants it; nothing is read if nobody does."""
        begun, self._runs_on = self._runs_on, False
        if not begun or not (self._on_run or LOG.isEnabledFor(logging.INFO)):
            return
        report = self._draw_up()
        total = len(report.steps) + report.unplaced
        LOG.info("%d of %d computed, %.1fx, %s", total - report.forecast, total, report.speedup, report.method)
        if self._on_run is not None:
            self._on_run(report)

    def leave_alone(self, caller: Caller, timestep: Any) -> None:
        """Hear of a call that another pipeline makes; see :class:`Listener`."""
        if any(other.pipe is caller.pipeline for other in _look_at_enabled()):
            return  # which is accelerated by itself
        self._strangers += 1
        scheduler = caller.pipeline.scheduler
        length, place = len(getattr(scheduler, "timesteps", ())), getattr(scheduler, "step_index", None)
        if self._strangers >= length if place is None else place >= length - 1:
            self._warn_if_unused(is_copy=self._copies > 0 and _is_like(caller.pipeline, self._pipeline))

    def _count_copy(self) -> None:
        self._copies += 1

    def _is_replaced(self) -> bool:
        """Whether a pipeline has other models than when it was switched on."""
        before = {attachment.model for attachment in self._attachments}
        return self._pipeline is not None and bool(before) and not before & set(models_of(self._pipeline))

    def _warn_of_run(self, sessions: list[Session]) -> None:
        """Say, once each, that a run forecast nothing, and that weights do not sum to what their forecaster says."""
        self._warn_if_idle(sessions)
        for session in [] if self._is_unbalanced else sessions:
            if fact := describe_imbalance(session.forecaster, session.records, on_host=True):
                self._is_unbalanced = True
                warn(f"{fact}.\n{REMEDY}", self._pipeline)
                break

    def _warn_if_idle(self, sessions: list[Session]) -> None:
        """Say so, once, when a whole run was computed although forecasts were asked for."""
        may_warn = not self._serving.policy.computes_all and not self._warned
        sessions = [session for session in sessions if not session.begins_late]
        if may_warn and any(s.reached_end for s in sessions) and not any("." in s.plan for s in sessions):
            self._warned = True
            warn(_idle(self._serving, report_of(sessions, "")), self._pipeline)

    def _warn_if_unused(self, is_copy: bool = False) -> None:
        """Say so, once, when only other pipelines have sampled with the models, or a copy has."""
        if self._strangers and (is_copy or not self._ran) and not self._warned:
            self._warned = True
            idle = "" if self._ran else ", which has not run yet"
            warn(
                f"{self._strangers} calls by another pipeline that shares the models of this "
                f"{type(self.pipe).__name__} were left alone: it is not the one that is accelerated{idle}.\n"
                "Usual cause: a copy of the pipeline for every request. Accelerate the copy: "
                "with padecast.accelerate(request): request(...)"
            )

    def _warn_if_off(self) -> None:
        """Say so, once, when it was made and never switched on."""
        line, self._line = self._line, None
        if line is not None:
            line.warn(
                "this handle was never switched on, so nothing was accelerated.\n"
                "Write `with padecast.accelerate(pipe) as run:` around the calls, or `padecast.enable(pipe)` for good."
            )


def _is_like(pipeline: Any, original: Any) -> bool:
    """Whether a pipeline may be another's copy with a scheduler of its own: it has its class and all of its models."""
    if type(pipeline) is not type(original):
        return False
    models = {name: part for name, part in attributes_of(original).items() if isinstance(part, nn.Module)}
    held = attributes_of(pipeline)
    return all(held.get(name) is part for name, part in models.items())


def _look_at_enabled() -> list[Handle]:
    """Return the handles that are on at some moment, however many threads switch meanwhile.

    A call of a model must not wait for who switches: that one may wait for the call.
    """
    while True:
        try:
            return list(ENABLED)
        except RuntimeError:  # the set has changed while it was copied
            continue


def handles_on() -> list[Handle]:
    """Return the handles that are on; what interrupts left of others is taken off."""
    with SWITCHING:
        handles = list(ENABLED)
        for handle in handles:
            if not handle.enabled:
                handle.disable()
        return [handle for handle in handles if handle.enabled]


def check_unused(pipe: Any) -> None:
    """Raise if anything accelerates a pipeline's models now; what is measured of them has to be theirs alone.

    Raises:
        AlreadyAccelerated: Naming the method.
    """
    models = set(models_of(pipe))
    for other in handles_on():
        if models & set(models_of(other.pipe)):
            raise _already(pipe, other)


def _already(pipe: Any, other: Handle) -> AlreadyAccelerated:
    model, is_same = is_bare(other.pipe), other.pipe is pipe
    first = ("model" if is_same else "pipe.transformer") if model else "pipe"
    return AlreadyAccelerated(
        f"this {type(pipe).__name__} is accelerated already, by {other.method.name!r}.\n"
        "Usual cause: a cell or a request handler that ran twice. "
        f"Switch the first one off: padecast.disable({first})\n"
        "Requests that come at once take a lock around the block and the call, or a pipeline each."
    )


def _describe_replacement(pipe: Any) -> str:
    name = type(models_of(pipe)[0]).__name__
    return (
        f"the {name} of this {type(pipe).__name__} is another one than when it was switched on; it runs untouched, "
        "and reports are of runs before.\nUsual cause: pipe.transformer = other. Switch off and on again: "
        "padecast.disable(pipe); padecast.enable(pipe, ...)"
    )


def _sessions(attachments: list[Attachment]) -> list[Session]:
    return [attachment.session for attachment in attachments if attachment.session is not None]


def _idle(method: Method, report: Report) -> str:
    reasons = sorted({why for step in report.steps for why in step.notes.values()})
    cause = (
        "; ".join(NOTES[why] for why in reasons)
        or ("the place of its calls in the schedule is unknown" if report.unplaced else "")
        or "too few steps, or a threshold that this model never reaches"
    )
    computed, unplaced = report.computed, report.unplaced
    count = f"{computed + unplaced} evaluations" if unplaced else f"{computed} steps"
    remedy = (
        f"A run of {len(report.steps)} steps has none to spare: leave padecast off."
        if 0 < len(report.steps) <= FEW and not reasons
        else 'Forecast more, e.g. accelerate(pipe, "tc-pade:every=3"), or look at print(run.report).'
    )
    return f"the last run computed all of its {count}: {method.name!r} forecast none.\nUsual cause: {cause}.\n{remedy}"
