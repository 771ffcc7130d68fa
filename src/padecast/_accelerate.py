"""The front door: ``accelerate`` for a block, ``enable`` and ``disable`` for a server."""

from __future__ import annotations

import contextlib
import warnings
import weakref
from typing import Any

import torch
from torch import nn

from padecast import forecasters, policies, targets
from padecast._attach import Attachment
from padecast._clock import Clock
from padecast._errors import AlreadyAccelerated, ConcurrentRun, InvalidOption, PadecastWarning, UnsupportedModel
from padecast._session import NOTES, Session
from padecast.forecasters import Forecaster
from padecast.methods import DEFAULT, Method
from padecast.methods import method as named
from padecast.policies import Always, Policy
from padecast.report import Report, report_of

_ENABLED: weakref.WeakSet[Handle] = weakref.WeakSet()  # a handle lives as long as the models that it is attached to
MODELS = ("transformer", "transformer_2")


class Handle:
    """An accelerated pipeline or transformer: switch it on and off, read what it did.

    Made by :func:`accelerate` and :func:`enable`. As a context manager it is on inside the block. Configurations are
    frozen dataclasses and pickle; a handle belongs to its process.

    Example:
        >>> from diffusers import DiTTransformer2DModel
        >>> dit = DiTTransformer2DModel(num_attention_heads=1, attention_head_dim=8, in_channels=1, out_channels=1,
        ...     num_layers=2, sample_size=4, patch_size=2, num_embeds_ada_norm=10)
        >>> handle = accelerate(dit, "fora", steps=20)
        >>> with handle:
        ...     handle.enabled
        True
        >>> handle.enabled
        False
    """

    def __init__(self, target: Any, method: Method, *, steps: int | None, measure: bool, dtype: torch.dtype | None):
        self.target, self.method = target, method
        self._steps, self._measure, self._dtype = steps, measure, dtype
        self._attachments: list[Attachment] = []
        self._warned = False
        self._last = Report((), "", 0, (), method.name)

    @property
    def enabled(self) -> bool:
        """Whether it is attached now."""
        return bool(self._attachments)

    def enable(self) -> Handle:
        """Attach, all or nothing.

        Raises:
            UnsupportedModel: If no stack of blocks is known in the model.
            AlreadyAccelerated: If the same pipeline or transformer is accelerated already.
        """
        if self.enabled:
            return self
        self._check_free()
        with contextlib.ExitStack() as undo:
            attachments = []
            for model in models_of(self.target):
                attachment = self._attach(model)
                undo.callback(attachment.remove)
                attachments.append(attachment)
            undo.pop_all()
        self._attachments = attachments
        _ENABLED.add(self)
        return self

    def disable(self) -> None:
        """Detach and free the history; the models are as they were. The report stays readable.

        Raises:
            ConcurrentRun: If another thread is sampling at this moment; nothing is detached then.
        """
        if any(attachment.is_busy() for attachment in self._attachments):
            raise ConcurrentRun(
                "another thread is inside the model that was to be switched off.\n"
                "Wait until its call has returned: guard the pipeline and its handle with one lock."
            )
        attachments, self._attachments = self._attachments, []
        for attachment in attachments:
            attachment.remove()
        _ENABLED.discard(self)
        if attachments:
            sessions = _sessions(attachments)
            self._last = report_of(sessions, self.method.name)
            self._warn_if_idle(sessions)

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
        return report_of(_sessions(self._attachments), self.method.name) if self.enabled else self._last

    def __enter__(self) -> Handle:
        return self.enable()

    def __exit__(self, *error: object) -> None:
        self.disable()

    def _check_free(self) -> None:
        models = set(models_of(self.target))
        for other in _ENABLED:
            bare = isinstance(self.target, nn.Module) or isinstance(other.target, nn.Module)
            if other.target is self.target or (bare and models & set(models_of(other.target))):
                raise AlreadyAccelerated(
                    f"this {type(self.target).__name__} is accelerated already, by {other.method.name!r}.\n"
                    "Usual cause: a cell or a request handler that ran twice. Switch the first one off: "
                    "handle.disable()"
                )

    def _attach(self, model: nn.Module) -> Attachment:
        pipeline = None if isinstance(self.target, nn.Module) else self.target
        if getattr(pipeline, "scheduler", None) is None and self._length() is None:
            raise InvalidOption(
                f"a {type(self.target).__name__} without a scheduler does not say how many steps a run has.\n"
                "Say it, accelerate(..., steps=20), give a plan, or accelerate the pipeline instead of its transformer."
            )
        strides = self.method.policy.needs_stride or self.method.forecaster.needs_stride
        clock = Clock(pipeline, model, self._length(), strides)
        return Attachment(model, targets.find(model), self.method.span, clock, self._session)

    def _session(self, total: int) -> Session:
        self._warn_if_idle(_sessions(self._attachments))
        for attachment in self._attachments:
            if attachment.clock.is_outdated:  # a model that the run before used, and this one may not
                attachment.session = None
        return Session(self.method.policy, self.method.forecaster, total, measure=self._measure, dtype=self._dtype)

    def _length(self) -> int | None:
        """Steps of a bare transformer's schedule: as told, or as many as the plan has."""
        plan = getattr(self.method.policy, "steps", None)
        return self._steps or (len(plan) if isinstance(plan, str) else None)

    def _warn_if_idle(self, sessions: list[Session]) -> None:
        """Say so, once, when a whole run was computed although forecasts were asked for."""
        asked = not isinstance(self.method.policy, Always) and not self._warned
        if asked and any(s.reached_end for s in sessions) and not any("." in s.plan for s in sessions):
            self._warned = True
            warnings.warn(_idle(self.method, report_of(sessions, "")), PadecastWarning, stacklevel=2)


def accelerate(
    target: Any,
    method: str | Method | None = None,
    *,
    policy: Policy | str | None = None,
    forecaster: Forecaster | str | None = None,
    span: str | None = None,
    steps: int | None = None,
    measure: bool = True,
    dtype: torch.dtype | None = None,
) -> Handle:
    """Let a pipeline or a transformer forecast some of its steps.

    Args:
        target: A diffusers pipeline, or a transformer of a described class.
        method: A registered method, with options if need be: ``"tc-pade:every=3"``. Default ``"adaptive"``.
        policy: When to compute, in place of the method's.
        forecaster: With which weights to forecast, in place of the method's.
        span: Which block lists of the model, in place of the method's; ``"full"``, and for FLUX ``"double"`` and
            ``"single"``.
        steps: Steps of the schedule, for a bare transformer without a plan. A pipeline's scheduler knows it.
        measure: Whether to measure inner products for the report. Default true.
        dtype: Storage dtype of the history. Default that of the features.

    Returns:
        A handle: use it as a context manager, or call ``enable()`` and ``disable()``.

    Raises:
        UnknownName: If the method or an option is unknown; on entering the block or ``enable()``, the span.
        InvalidOption: If a bare transformer is given without a plan and without ``steps``.
        UnsupportedModel: If no stack of blocks is known in the model.
        AlreadyAccelerated: If the same object is accelerated already.

    Example:
        >>> import torch
        >>> from diffusers import DiTTransformer2DModel
        >>> dit = DiTTransformer2DModel(num_attention_heads=1, attention_head_dim=8, in_channels=1, out_channels=1,
        ...     num_layers=2, sample_size=4, patch_size=2, num_embeds_ada_norm=10).eval()
        >>> with torch.no_grad(), accelerate(dit, policy="plan:steps=CC.C", forecaster="lagrange") as run:
        ...     for t in (900, 600, 300, 100):
        ...         _ = dit(torch.ones(1, 1, 4, 4), timestep=torch.tensor([t]), class_labels=torch.tensor([3]))
        >>> run.report.plan
        'CC.C'
    """
    chosen = method if isinstance(method, Method) else named(method or DEFAULT)
    return Handle(target, _replaced(chosen, policy, forecaster, span), steps=steps, measure=measure, dtype=dtype)


def enable(target: Any, method: str | Method | None = None, **options: Any) -> Handle:
    """Accelerate from now on, without a block: :func:`accelerate` followed by ``Handle.enable``.

    Args:
        target: A diffusers pipeline, or a transformer of a described class.
        method: A registered method, with options if need be. Default ``"adaptive"``.
        options: The other arguments of :func:`accelerate`.

    Example:
        >>> from diffusers import DiTTransformer2DModel
        >>> dit = DiTTransformer2DModel(num_attention_heads=1, attention_head_dim=8, in_channels=1, out_channels=1,
        ...     num_layers=2, sample_size=4, patch_size=2, num_embeds_ada_norm=10)
        >>> handle = enable(dit, "tc-pade", steps=20)
        >>> handle.enabled
        True
        >>> handle.disable()
    """
    return accelerate(target, method, **options).enable()


def disable(target: Any) -> None:
    """Switch off whatever accelerates a pipeline or a transformer; nothing happens if nothing does.

    Args:
        target: What was given to :func:`accelerate` or :func:`enable`.

    Example:
        >>> from diffusers import DiTTransformer2DModel
        >>> dit = DiTTransformer2DModel(num_attention_heads=1, attention_head_dim=8, in_channels=1, out_channels=1,
        ...     num_layers=2, sample_size=4, patch_size=2, num_embeds_ada_norm=10)
        >>> handle = enable(dit, "fora", steps=20)
        >>> disable(dit)
        >>> handle.enabled
        False
    """
    for handle in list(_ENABLED):
        if handle.target is target:
            handle.disable()


def _replaced(
    method: Method, policy: Policy | str | None, forecaster: Forecaster | str | None, span: str | None
) -> Method:
    policy = policies.REGISTRY.make(policy) if isinstance(policy, str) else policy
    forecaster = forecasters.REGISTRY.make(forecaster) if isinstance(forecaster, str) else forecaster
    if policy is None and forecaster is None and span is None:
        return method
    for part, role, name in ((policy, Policy, "policy"), (forecaster, Forecaster, "forecaster")):
        if part is not None and not isinstance(part, role):
            raise InvalidOption(
                f"{name}={part!r} is not a {name}.\n"
                f"Give an instance, such as padecast.{_EXAMPLES[name]}, or its name as a string."
            )
    changed = [type(part).__name__.lower() for part in (policy, forecaster) if part is not None]
    return Method(
        name="+".join(changed) or method.name,
        policy=policy or method.policy,
        forecaster=forecaster or method.forecaster,
        summary="chosen by the caller",
        cites=method.cites,
        span=span or method.span,
    )


_EXAMPLES = {"policy": "policies.Interval(every=3)", "forecaster": "forecasters.Pade(order=(1, 1))"}


def models_of(target: Any) -> list[nn.Module]:
    """Return the models of a pipeline whose stack is forecast, or the model itself."""
    if isinstance(target, nn.Module):
        return [getattr(target, "_orig_mod", target)]
    found = [getattr(target, name, None) for name in MODELS]
    models = list(dict.fromkeys(getattr(model, "_orig_mod", model) for model in found if isinstance(model, nn.Module)))
    if not models:
        raise UnsupportedModel(
            f"{type(target).__name__} is neither a transformer nor a pipeline with one "
            f"(no attribute {' or '.join(map(repr, MODELS))}).\n"
            "Give the pipeline itself, or the model that its denoising loop calls."
        )
    return models


def _sessions(attachments: list[Attachment]) -> list[Session]:
    return [attachment.session for attachment in attachments if attachment.session is not None]


def _idle(method: Method, report: Report) -> str:
    reasons = sorted({why for step in report.steps for why in step.notes.values()})
    cause = (
        "; ".join(NOTES[why] for why in reasons)
        or ("the place of its calls in the schedule is unknown" if report.unplaced else "")
        or "too few steps, or a threshold that this model never reaches"
    )
    return (
        f"the last run computed all of its {report.computed or report.unplaced} steps: {method.name!r} forecast none.\n"
        f"Usual cause: {cause}.\n"
        'Forecast more, e.g. accelerate(pipe, "tc-pade:every=3"), or look at print(run.report).'
    )
