"""Puts padecast on a model of ComfyUI, through the wrappers that ComfyUI offers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from padecast._errors import InvalidOption, InvalidPlan, PadecastError, check
from padecast._options import check_option
from padecast.calibration.calibration import Calibration
from padecast.forecasters import Forecaster
from padecast.handles.accelerate import replace_parts, resolve, warn_if_faster
from padecast.handles.learning import library_of
from padecast.handles.warnings import warn
from padecast.integrations.comfy.run import Run
from padecast.integrations.comfy.settings import Settings, rehearse_sampler
from padecast.lessons import Library
from padecast.methods import DEFAULT, Method
from padecast.policies import Learned, Policy
from padecast.report import Report
from padecast.report import report_of as draw_up

KEY = "padecast"
"""Under which wrappers are added, and a run is found."""
WRAPPERS = {"sampler_sample": "sample", "predict_noise": "predict", "calc_cond_batch": "calculate"}
"""ComfyUI's names of the places, and which method stands there."""
CACHES = ("easycache",)
"""Under which names other caches keep themselves in a model's ``transformer_options``."""
LOG = logging.getLogger("padecast")


def attach(
    model: Any,
    method: str | Method | Calibration | None = None,
    *,
    computed: int | None = None,
    speedup: float | None = None,
    decibels: float | None = None,
    policy: Policy | str | None = None,
    forecaster: Forecaster | str | None = None,
    start: float = 0.0,
    end: float = 1.0,
    most: int | None = None,
    amend: bool = True,
    prediction: str = "velocity",
    dtype: torch.dtype | None = None,
    offload: bool = False,
    on_run: Callable[[Report], None] | None = None,
    lessons: bool | str | Path | Library = True,
) -> Any:
    """Return a clone of a model of ComfyUI that forecasts some of its steps; the model itself stays as it is.

    Only settings are kept in it. What a run remembers is made when its sampler begins, and gone when it ends, also
    where it is interrupted. All computed is bit-identical to the model itself.

    Args:
        model: A ``ModelPatcher``, as nodes hand it on.
        method: A registered method, with options if need be: ``"tc-pade:every=3"``. Default ``"adaptive"``. Or a
            :class:`padecast.Calibration`, with one of the next three.
        computed: Of a calibration or ``"learned"``, the plan with so many computed steps.
        speedup: Of these, the plan with the most computed steps that makes the denoiser so much faster.
        decibels: Of these, the plan with the fewest computed steps and at least this PSNR, as calibrated or expected.
        policy: When to compute, in place of the method's: ``"plan:steps=CC.C.C"`` has a letter for every step.
        forecaster: With which weights to forecast, in place of the method's.
        start: Share of the run before which all is computed, 0 to 1. Default 0.
        end: Share of the run from which on all is computed. Default 1.
        most: Forecasts in a row, 1 or more. Default as the method says.
        amend: Whether a computed step pays back what the forecasts before it got wrong, of a sampler whose arithmetic
            is known; see :class:`padecast.session.amends.Amends`. Default true.
        prediction: What is forecast: the model's ``"velocity"`` (default), or the clean ``"image"``.
        dtype: Storage dtype of the history. Default that of the latents.
        offload: Whether the history lies in host memory. Default false.
        on_run: Called with the report of every run when it ends. Default nothing.
        lessons: Where ``"learned"`` has its lessons: ``True`` for the user's cache folder (default), a folder,
            ``False`` for this process's memory alone, or a :class:`padecast.lessons.Library`.

    Returns:
        The clone. Its runs may raise :class:`padecast.InvalidPlan`, where a plan has another length than the run, and
        :class:`padecast.CalibrationMismatch`, where a calibration was made for other noise levels or guidance.

    Raises:
        UnknownName: If the method or an option is unknown.
        InvalidOption: If an option is out of range; if the model is none of ComfyUI's; if the method needs to see the
            inside of a model.
    """
    if not callable(getattr(model, "add_wrapper_with_key", None)):
        raise InvalidOption(
            f"a {type(model).__name__} is no model of ComfyUI: it has no add_wrapper_with_key.\n"
            "Give what a node gets as MODEL, of ComfyUI 0.3.64 or later; of diffusers, padecast.accelerate(pipe)."
        )
    check_option("offload", offload, bool, "Write offload=True, or leave it out")
    check_option("amend", amend, bool, "Write amend=False, or leave it out")
    check(on_run is None or callable(on_run), "on_run", on_run, "a function of a report")
    wishes = {"computed": computed, "speedup": speedup, "decibels": decibels}
    entrant = replace_parts(_choose(method, wishes), policy, forecaster, None)
    calibration = method if isinstance(method, Calibration) else None
    library: Library | None = None
    if isinstance(entrant.policy, Learned):
        # A sampler's steps cannot be taken again, as those of a pipeline's scheduler can.
        entrant = replace(entrant, policy=entrant.policy.ask(wishes), retrace=False)
        library = lessons if isinstance(lessons, Library) else library_of(lessons)
    settings = Settings(entrant, calibration, prediction, dtype, offload, library, start, end, most, amend)
    clone, attachment = model.clone(), Attachment(settings, on_run)
    for place, name in WRAPPERS.items():
        clone.add_wrapper_with_key(place, KEY, getattr(attachment, name))
    return clone


def report_of(model: Any) -> Report | None:
    """Return the report of the latest run of a model that :func:`attach` returned, or of a clone of it.

    Returns:
        The report; ``None`` if nothing is attached, or nothing ran yet.
    """
    attached = model.get_wrappers("sampler_sample", KEY)
    reports = [wrapper.__self__.report for wrapper in attached]
    return next((report for report in reports if report is not None), None)


class Attachment:
    """What is put on a model: settings, the three places where runs come by, and the report of the latest run.

    Args:
        settings: What is done at every run.
        on_run: Called with the report of every run.
    """

    def __init__(self, settings: Settings, on_run: Callable[[Report], None] | None = None) -> None:
        self.settings, self._on_run = settings, on_run
        self.report: Report | None = None

    def sample(
        self, executor: Any, guider: Any, sigmas: Tensor, extra_args: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Stand around a run: begin it, and let it go however it ends."""
        options = extra_args["model_options"]
        noise = kwargs.get("noise", args[1] if len(args) > 1 else torch.zeros(1, 1))  # before it stands the callback
        size = noise.numel() / max(len(noise), 1)
        run = self._begin(executor.class_obj, guider, sigmas, options, size)
        if isinstance(run, str):
            self.report = draw_up([], self.settings.method.name, remarks=(run,))
            warn(f"padecast does nothing in this run: {run}")
            return executor(guider, sigmas, extra_args, *args, **kwargs)
        # Beside the options that models are given: compiled models would look at it.
        extra_args = {**extra_args, "model_options": {**options, KEY: run}}
        try:
            result = executor(guider, sigmas, extra_args, *args, **kwargs)
            run.end()
        finally:
            run.close()
            self.report = draw_up([run.session], self.settings.method.name, remarks=run.remarks)
            LOG.info("%r", self.report)
        self._tell(self.report)
        return result

    def predict(
        self, executor: Any, x: Tensor, timestep: Tensor, model_options: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Stand around an evaluation of the model, guidance included."""
        run = self._find(model_options)
        if run is None:
            return executor(x, timestep, model_options, *args, **kwargs)
        return run.predict(x, timestep, model_options, lambda: executor(x, timestep, model_options, *args, **kwargs))

    def calculate(
        self, executor: Any, model: Any, conds: Sequence[Any], x: Tensor, timestep: Tensor, options: Any
    ) -> Any:
        """Stand around the predictions of all conditionings."""
        run = self._find(options)
        if run is None or run.is_windowed:
            return executor(model, conds, x, timestep, options)
        return run.calculate(conds, x, timestep, lambda left: executor(model, left, x, timestep, options))

    def _find(self, options: Any) -> Run | None:
        run = (options or {}).get(KEY)
        return run if isinstance(run, Run) and run.owner is self else None

    def _begin(self, sampler: Any, guider: Any, sigmas: Tensor, options: dict[str, Any], size: float) -> Run | str:
        """Return the run that begins, or why nothing is forecast in it."""
        if isinstance(options.get(KEY), Run):
            return "another padecast is on this model: the one that was put on first is used"
        present = [name for name in CACHES if name in options.get("transformer_options", {})]
        if present:
            holder = options["transformer_options"][present[0]]
            name = getattr(holder, "name", present[0])
            return f"{name} is on this model: two caches would each forecast what the other forecast"
        rehearsal = rehearse_sampler(sampler, guider, sigmas)
        if not rehearsal.is_known:
            return f"all steps are computed: {rehearsal.fact}"
        try:
            return Run(self, self.settings, rehearsal, guider, options, size)
        except InvalidPlan as error:
            length = self.settings.method.policy.length
            raise InvalidPlan(
                f"this run has {rehearsal.steps} steps, the plan {length}.\n"
                "Usual cause: another number of steps in the sampler, a start in the middle of the schedule, or a "
                "sampler that makes fewer steps. Write a letter for each step of the run, or take a method without a "
                'plan, such as "adaptive".'
            ) from error
        except PadecastError as error:
            return f"all steps are computed: {error}"

    def _tell(self, report: Report) -> None:
        if not report.forecast and not self.settings.method.policy.computes_all and not report.remarks:
            warn(
                f"nothing was forecast in a run of {len(report.steps)} steps with {report.method!r}.\n"
                "Usual cause: too few steps, of which the first are always computed, or a tolerance that is too small "
                "for this model."
            )
        if self._on_run is not None:
            self._on_run(report)


def _choose(method: object, wishes: dict[str, Any]) -> Method:
    """Return the method that is meant.

    Raises:
        InvalidOption: If it is none, or something is wished that only a calibration knows.
    """
    if isinstance(method, Calibration):
        chosen = method.method(**wishes)
        if wishes["speedup"] is not None:
            warn_if_faster(chosen, wishes["speedup"])
        return chosen
    wished = [name for name, value in wishes.items() if value is not None]
    entrant = resolve(DEFAULT if method is None else method, "method")
    fits = not wished or isinstance(entrant.policy, Learned)
    check(fits, "method", entrant.name, f'a calibration or "learned", where {" and ".join(wished)} is wished')
    return entrant
