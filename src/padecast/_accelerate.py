"""The front door: ``accelerate`` for a block, ``enable`` and ``disable`` for a server."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch

from padecast import forecasters, policies
from padecast._errors import InvalidOption
from padecast._handle import Handle, handles_on
from padecast._ring import Storage
from padecast.forecasters import Forecaster
from padecast.methods import DEFAULT, Method
from padecast.methods import method as named
from padecast.policies import Policy


@runtime_checkable
class Planned(Protocol):
    """What :func:`accelerate` asks of a calibration."""

    def method(
        self, *, computed: int | None = None, speedup: float | None = None, decibels: float | None = None
    ) -> Method:
        """Return the method that fulfils a wish."""

    def check(self, pipe: Any, total: int | None) -> None:
        """Raise unless it was made for a pipeline and a run of so many steps."""


def accelerate(
    target: Any,
    method: str | Method | Planned | None = None,
    *,
    computed: int | None = None,
    speedup: float | None = None,
    decibels: float | None = None,
    policy: Policy | str | None = None,
    forecaster: Forecaster | str | None = None,
    span: str | None = None,
    steps: int | None = None,
    measure: bool = True,
    dtype: torch.dtype | None = None,
    offload: bool = False,
    group: Any = None,
) -> Handle:
    """Let a pipeline or a transformer forecast some of its steps.

    Args:
        target: A diffusers pipeline, or a transformer of a described class.
        method: A registered method, with options if need be: ``"tc-pade:every=3"``. Default ``"adaptive"``. Or a
            :class:`padecast.Calibration`, together with exactly one of the next three.
        computed: Of a calibration, the plan with so many computed steps.
        speedup: Of a calibration, the plan with the most computed steps that makes the denoiser so much faster.
        decibels: Of a calibration, the plan with the fewest computed steps and at least this PSNR on its samples.
        policy: When to compute, in place of the method's.
        forecaster: With which weights to forecast, in place of the method's.
        span: Which block lists of the model, in place of the method's; ``"full"``, and for FLUX ``"double"`` and
            ``"single"``.
        steps: Steps of the schedule, for a bare transformer without a plan. A pipeline's scheduler knows it.
        measure: Whether to measure inner products for the report. Default true.
        dtype: Storage dtype of the history, such as ``torch.bfloat16`` or ``torch.float8_e4m3fn``. Default that of the
            features.
        offload: Whether the history lies in host memory and comes back when it is needed. Default false.
        group: ``torch.distributed`` group whose processes hold parts of the same tokens, or the branches of a step: all
            decide alike then. Found by itself where ``model.enable_parallelism`` splits the tokens. Default none.

    Returns:
        A handle: use it as a context manager, or call ``enable()`` and ``disable()``.

    Raises:
        UnknownName: If the method or an option is unknown; on entering the block or ``enable()``, the span.
        InvalidOption: If a bare transformer is given without a plan and without ``steps``; if a calibration has no
            plan that fulfils the wish, or a wish is given without one.
        CalibrationMismatch: On entering the block, if a calibration was made for another model; at the first step of a
            run, if it was made for another scheduler, schedule or guidance.
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
    wishes = {"computed": computed, "speedup": speedup, "decibels": decibels}
    guard = None
    if isinstance(method, Planned) and not isinstance(method, Method):
        if span is not None:
            raise InvalidOption(
                f"span={span!r} cannot be given with a calibration, whose plans belong to the span it was made for.\n"
                "Calibrate that span: padecast.calibrate(pipe, call, span=...)"
            )
        chosen, guard = method.method(computed=computed, speedup=speedup, decibels=decibels), method.check
    else:
        _refuse(wishes, method)
        chosen = method if isinstance(method, Method) else named(method or DEFAULT)
    replaced = _replaced(chosen, policy, forecaster, span)
    return Handle(
        target, replaced, steps=steps, measure=measure, storage=Storage(dtype, offload), group=group, guard=guard
    )


def enable(target: Any, method: str | Method | Planned | None = None, **options: Any) -> Handle:
    """Accelerate from now on, without a block: :func:`accelerate` followed by ``Handle.enable``.

    Args:
        target: A diffusers pipeline, or a transformer of a described class.
        method: A registered method, with options if need be, or a calibration. Default ``"adaptive"``.
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
    for handle in handles_on():
        if handle.target is target:
            handle.disable()


def _refuse(wishes: dict[str, float | None], method: str | Method | None) -> None:
    given = [f"{name}={value:g}" for name, value in wishes.items() if value is not None]
    if given:
        raise InvalidOption(
            f"{', '.join(given)} needs a calibration, and {method or DEFAULT!r} is none.\n"
            "Usual cause: the calibration's name instead of the calibration. Load it first: "
            'padecast.Calibration.load("FILE.json")'
        )


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
