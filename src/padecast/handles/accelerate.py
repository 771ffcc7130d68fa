"""The front door: ``accelerate`` for a block, ``enable`` and ``disable`` for a server."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import torch

from padecast import forecasters, policies
from padecast._errors import InvalidOption, check
from padecast._options import check_option
from padecast.forecasters import Forecaster
from padecast.handles.handle import Handle, handles_on
from padecast.handles.learning import Learning, check_learnable, library_of
from padecast.handles.selection import Planned, Selection, leave_out, read_source
from padecast.handles.warnings import warn
from padecast.lessons import Library
from padecast.memory.ring import Storage
from padecast.methods import DEFAULT, Method, check_part
from padecast.methods import method as named
from padecast.policies import Learned, Plan, Policy
from padecast.report import Report
from padecast.targets.pipelines import is_bare

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

NUMBERS = ("computed", "speedup", "decibels")
"""What a calibration can be wished for."""
Options = ParamSpec("Options")
FAR = 1.4
"""How much faster than wished a calibration's plan may be without a word."""


def accelerate(
    pipe: Any,
    method: str | Method | Planned | Sequence[Planned] | None = None,
    *,
    computed: int | None = None,
    speedup: float | None = None,
    decibels: float | None = None,
    otherwise: str | Method | None = None,
    policy: Policy | str | None = None,
    forecaster: Forecaster | str | None = None,
    span: str | None = None,
    steps: int | None = None,
    measure: bool = True,
    dtype: torch.dtype | None = None,
    offload: bool = False,
    group: ProcessGroup | None = None,
    on_run: Callable[[Report], None] | None = None,
    lessons: bool | str | Path | Library = True,
) -> Handle:
    """Let a pipeline or a transformer forecast some of its steps.

    Args:
        pipe: A diffusers pipeline, or a transformer of a described class.
        method: A registered method, with options if need be: ``"tc-pade:every=3"``. Default ``"adaptive"``. Or a
            :class:`padecast.Calibration`, a list of them, or ``"hub:ORG/NAME"`` for those of a repository, together
            with exactly one of the next three.
        computed: Of a calibration, the plan with so many computed steps.
        speedup: Of a calibration, the plan with the most computed steps that makes the denoiser so much faster.
        decibels: Of a calibration, the plan with the fewest computed steps and at least this PSNR on its samples.
        otherwise: The method of runs that no calibration was made for, which forecasts what the calibrations do. By
            default such a run is an error. It serves runs of calibrations without a plan for the wish too, if any has
            one.
        policy: When to compute, in place of the method's.
        forecaster: With which weights to forecast, in place of the method's.
        span: What of the model is forecast, in place of the method's: ``"output"`` is what it returns, ``"full"`` what
            its blocks add together; FLUX has ``"double"`` and ``"single"`` too. Where both a policy and a forecaster
            are given, ``"full"`` is the default.
        steps: Steps of the schedule, for a bare transformer without a plan. A pipeline's scheduler knows it.
        measure: Whether to measure inner products for the report. Default true.
        dtype: Storage dtype of the history, such as ``torch.bfloat16`` or ``torch.float8_e4m3fn``. Default that of the
            features.
        offload: Whether the history lies in host memory and comes back when it is needed. Default false.
        group: ``torch.distributed`` group whose processes hold parts of the same tokens, or the branches of a step: all
            decide alike then. Found by itself where ``model.enable_parallelism`` splits the tokens. Default none.
        on_run: Called with the report of every run when it ends, as for metrics of a server. The logger ``padecast``
            has a line of level INFO for each. Default nothing.
        lessons: Where a method that learns has its lessons: ``True`` for the user's cache folder (default), a folder,
            ``False`` for this process's memory alone, or a :class:`padecast.lessons.Library`.

    Returns:
        A handle: use it as a context manager, or call ``enable()`` and ``disable()``.

    Raises:
        UnknownName: If the method or an option is unknown; on entering the block or ``enable()``, the span.
        InvalidOption: If an option is of the wrong kind, out of range, or would have no effect; if a bare transformer
            is given without a plan and without ``steps``; if a calibration has no plan that fulfils the wish, or a wish
            is given without one.
        CalibrationMismatch: On entering the block, if a calibration was made for another model; at the first step of a
            run, if none was made for its scheduler, schedule or guidance.
        UnsupportedModel: If no stack of blocks is known in the model.
        AlreadyAccelerated: If the same object is accelerated already.
        HubError: If a repository of calibrations cannot be read; the message is one line that says what would do.

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
    check_option("measure", measure, bool, "Write measure=False, or leave it out")
    check(on_run is None or callable(on_run), "on_run", on_run, "a function of a report")
    check_option("offload", offload, bool, "Write offload=True, or leave it out")
    check_option("span", span, str | None, 'Write span="full", or leave it out')
    wishes = _wishes(computed=computed, speedup=speedup, decibels=decibels)
    selection: Selection | None = None
    if calibrations := _calibrations(method, pipe, wishes):
        _refuse_span(span)
        calibrations = calibrations if otherwise is None else leave_out(calibrations, wishes)
        methods = tuple(
            replace_parts(calibration.method(**wishes), policy, forecaster, None) for calibration in calibrations
        )
        if speedup is not None:
            for each in methods:
                warn_if_faster(each, speedup)
        other = None if otherwise is None else _at_span(resolve(otherwise, "otherwise"), methods[0].span)
        if other is not None and isinstance(other.policy, Learned):
            raise InvalidOption(
                f"otherwise={other.name!r} learns, and a handle with calibrations learns nothing.\n"
                'Take a method that is ready for any run, such as otherwise="tc-pade".'
            )
        selection = Selection(calibrations, methods, other)
        main = selection.every[0]
    else:
        whole = resolve(DEFAULT if method is None else method, "method")
        main = replace_parts(whole, policy, forecaster, span)
        _refuse_to_unlearn(whole, main, policy)
        if isinstance(main.policy, Learned):
            main = replace(main, policy=main.policy.ask(wishes))
            wishes = {}
        _refuse({**wishes, "otherwise": otherwise}, method)
    known = isinstance(lessons, bool | Path | Library) or (isinstance(lessons, str) and lessons.strip() != "")
    check(known, "lessons", lessons, "true, false, a folder, or a library")
    learning: Learning | None = None
    if isinstance(main.policy, Learned):
        check_learnable(pipe)
        learning = Learning(main, lessons if isinstance(lessons, Library) else library_of(lessons))
    elif lessons is not True:
        raise InvalidOption(
            f"lessons={lessons!r} has no effect with {main.name!r}, which learns nothing.\n"
            'Take the method that does: accelerate(pipe, "learned", lessons=...)'
        )
    _check_steps(pipe, steps, main.policy, is_choice=len(calibrations) > 1)
    return Handle(
        pipe,
        main,
        steps=steps,
        measure=measure,
        storage=Storage(dtype, offload),
        group=group,
        on_run=on_run,
        guard=None if selection is None else selection.choose,
        others=learning.every if learning is not None else () if selection is None else selection.every,
        learning=learning,
    )


def _enable_what(make: Callable[Options, Handle]) -> Callable[Options, Handle]:
    """Return a function that takes what another takes to make a handle, and switches the handle on."""

    def enable(*args: Options.args, **options: Options.kwargs) -> Handle:
        """Accelerate from now on, without a block: :func:`accelerate` followed by ``Handle.enable``.

        Args:
            args: A diffusers pipeline or a transformer, and a method, as :func:`accelerate` takes them.
            options: The keywords of :func:`accelerate`, all of them.

        Returns:
            The handle, switched on.

        Example:
            >>> from diffusers import DiTTransformer2DModel
            >>> dit = DiTTransformer2DModel(num_attention_heads=1, attention_head_dim=8, in_channels=1, out_channels=1,
            ...     num_layers=2, sample_size=4, patch_size=2, num_embeds_ada_norm=10)
            >>> handle = enable(dit, "tc-pade", steps=20)
            >>> handle.enabled
            True
            >>> handle.disable()
        """
        return make(*args, **options).enable()

    # The signature is the other's, for editors and for the documentation; name and text are its own.
    enable.__signature__ = inspect.signature(make)  # type: ignore[attr-defined]
    enable.__qualname__, enable.__annotations__ = "enable", make.__annotations__
    return enable


enable = _enable_what(accelerate)


def disable(pipe: Any) -> None:
    """Switch off whatever accelerates a pipeline or a transformer; nothing happens if nothing does.

    Args:
        pipe: What was given to :func:`accelerate` or :func:`enable`.

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
        if handle.pipe is pipe:
            handle.disable()


def _wishes(computed: int | None, speedup: float | None, decibels: float | None) -> dict[str, Any]:
    """Return what was wished of a calibration, once each wish is known to be a number in its range."""
    check_option("computed", computed, int | None, "Write computed=8: so many steps of a run")
    check_option("speedup", speedup, float | None, "Write speedup=2.5: so many times as fast at best")
    check_option("decibels", decibels, float | None, "Write decibels=35: so near to the uncached images")
    for name, value, least in (("computed", computed, 1), ("speedup", speedup, 1), ("decibels", decibels, 0)):
        check(value is None or least <= value < math.inf, name, value, f"{least} or more, and finite")
    return {"computed": computed, "speedup": speedup, "decibels": decibels}


def _calibrations(method: object, pipe: Any, wishes: dict[str, Any]) -> tuple[Planned, ...]:
    """Return the calibrations that were given in place of a method, or their address; none if a method was.

    Raises:
        InvalidOption: If a list holds anything else, or nothing.
    """
    if isinstance(method, str):
        return read_source(method, pipe, wishes)
    if isinstance(method, Planned) and not isinstance(method, Method):
        return (method,)
    if not isinstance(method, list | tuple):
        return ()
    wrong = [item for item in method if not isinstance(item, Planned) or isinstance(item, Method)]
    if wrong or not method:
        raise InvalidOption(
            f"{wrong[0] if wrong else method!r} is no calibration, and a list of methods is one of calibrations.\n"
            'Load them first: [padecast.Calibration.load("20.json"), padecast.Calibration.load("28.json")]'
        )
    return tuple(method)


def _at_span(method: Method, span: str) -> Method:
    """Return a method at the span of calibrations: one handle has one.

    The output is as good as the whole stack to a method that forecasts either; other spans are what a method is.
    """
    return replace(method, span=span) if method.span in ("output", "full") else method


def resolve(method: object, role: str) -> Method:
    """Return a method by its name, or as it is.

    Raises:
        InvalidOption: If it is neither.
    """
    if isinstance(method, Method):
        return method
    if not isinstance(method, str):
        raise InvalidOption(
            f"{role}={method!r} is a {type(method).__name__}, and no method.\n"
            "Usual cause: a number of steps, which is an option of a method or a wish of a calibration. Write "
            'accelerate(pipe, "tc-pade:every=3"), or accelerate(pipe, calibration, computed=8)'
        )
    return named(method)


def _refuse_span(span: str | None) -> None:
    if span is not None:
        raise InvalidOption(
            f"span={span!r} cannot be given with a calibration, whose plans belong to the span it was made for.\n"
            "Calibrate that span: padecast.calibrate(pipe, call, span=...)"
        )


def _refuse_to_unlearn(method: Method, main: Method, policy: Policy | str | None) -> None:
    """Raise if a policy was put in place of what learns: lessons would be neither made nor followed."""
    if isinstance(method.policy, Learned) and not isinstance(main.policy, Learned):
        raise InvalidOption(
            f"policy={policy!r} replaces the policy of {method.name!r}, which is all that learns: nothing would be "
            "learnt, and no lesson followed.\n"
            f"Leave policy= out, or take a method that learns nothing: accelerate(pipe, policy={policy!r})"
        )


def warn_if_faster(method: Method, speedup: float) -> None:
    """Say where a calibration has no plan near the speedup that is wished for, and one that loses more is taken."""
    if isinstance(method.policy, Plan) and len(method.policy.steps) > FAR * speedup * method.policy.nfe:
        plan = method.policy
        fastest = len(plan.steps) / plan.nfe
        warn(
            f"speedup={speedup:g} takes {plan.nfe} of {len(plan.steps)} computed steps, which is {fastest:.3g}x: the "
            "calibration has no plan between.\n"
            f"Calibrate more budgets, such as {math.floor(len(plan.steps) / speedup)}, or wish for computed={plan.nfe}."
        )


def _refuse(wishes: dict[str, Any], method: object) -> None:
    options = {name: value for name, value in wishes.items() if value is not None}
    texts = [f"{name}={value:g}" if name in NUMBERS else f"{name}={value!r}" for name, value in options.items()]
    if not texts:
        return
    loaded = f'accelerate(pipe, padecast.Calibration.load("FILE.json"), {texts[0]})'
    if not any(name in NUMBERS for name in options):
        raise InvalidOption(
            f"{', '.join(texts)} needs a calibration, and {method or DEFAULT!r} is none.\nLoad one: {loaded}"
        )
    raise InvalidOption(
        f'{", ".join(texts)} needs a calibration or "learned", and {method or DEFAULT!r} is neither.\n'
        f'Plans of your own runs: accelerate(pipe, "learned", {texts[0]}). Of a calibration: {loaded}.\n'
        'Without either, a fixed number of steps: "tc-pade:every=2.5" computes one in 2.5.'
    )


def _check_steps(pipe: Any, steps: int | None, policy: Policy, *, is_choice: bool) -> None:
    """Raise if the number of steps that was given is none, contradicts a plan, or would not be looked at."""
    bare = is_bare(pipe)
    if steps is None:
        check(not (bare and is_choice), "steps", None, "how many steps a run of the transformer has, such as steps=20")
        return
    check_option("steps", steps, int, "Write steps=20, or leave it out")
    check(steps >= 1, "steps", steps, "1 or more")
    if policy.length not in (None, steps):
        raise InvalidOption(
            f"steps={steps} contradicts the plan, which has {policy.length} steps.\n"
            "Leave steps out: a plan says how many there are."
        )
    if not bare and getattr(getattr(pipe, "scheduler", None), "timesteps", None) is not None:
        raise InvalidOption(
            f"steps={steps} has no effect on a {type(pipe).__name__}, whose scheduler says how many there are.\n"
            f"Leave it out, and say it to the pipeline: pipe(..., num_inference_steps={steps})"
        )


def replace_parts(
    method: Method, policy: Policy | str | None, forecaster: Forecaster | str | None, span: str | None
) -> Method:
    """Return a method with other parts, given as they are or by name, under a name that says so.

    Raises:
        UnknownName: If a part is unknown.
        InvalidOption: If it is none.
    """
    policy = policies.REGISTRY.make(policy) if isinstance(policy, str) else policy
    forecaster = forecasters.REGISTRY.make(forecaster) if isinstance(forecaster, str) else forecaster
    if policy is None and forecaster is None and span is None:
        return method
    for part, kind, role in ((policy, Policy, "policy"), (forecaster, Forecaster, "forecaster")):
        if part is not None:
            check_part(role, part, kind)
    changed = [type(part).__name__.lower() for part in (policy, forecaster) if part is not None]
    return Method(
        name="+".join(changed) or method.name,
        policy=method.policy if policy is None else policy,
        forecaster=method.forecaster if forecaster is None else forecaster,
        summary="chosen by the caller",
        cites=method.cites,
        span=span if span is not None else method.span if len(changed) < 2 else "full",
        retrace=method.retrace and len(changed) < 2,
    )
