"""SGLang Diffusion: whole guided steps are forecast, through the registry of hooks that it offers plug-ins.

It is found by its entry point, and does nothing unless ``PADECAST_SGLANG`` names a method::

    PADECAST_SGLANG="tc-pade:every=3" sglang serve --model-path ...
"""

from __future__ import annotations

import ast
import importlib.util
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from padecast import files
from padecast._errors import InvalidOption
from padecast.integrations.serving import check_ranks, explain_release, log_run, read_method
from padecast.methods import Method
from padecast.report import report_of
from padecast.session.session import Session
from padecast.session.stopwatch import stopwatch

VARIABLE, RELEASE = "PADECAST_SGLANG", "0.5.23"
MODULE, STAGE = "sglang.multimodal_gen.runtime.pipelines_core.stages.denoising", "DenoisingStage"
LOOP, PREDICTION = "_run_denoising_loop", "_predict_noise_with_cfg"
NEEDS = {LOOP: {"ctx", "batch"}, PREDICTION: {"current_model", "batch", "timestep_index", "latents"}}
"""What is hooked on, and the names of the arguments that are read."""
SHOWN = ("", "latents", "spectrum")
"""What a policy may decide by: of the model itself nothing is seen here."""
RUNS: dict[int, Run] = {}
"""Runs in progress by the identity of their request, which outlives them."""
REGISTRIES: weakref.WeakSet[Any] = weakref.WeakSet()
Compute = Callable[[], Any]


class Run:
    """One request's denoising loop.

    Args:
        method: When to compute, and with which weights to forecast.
        total: Evaluations of the loop.

    Raises:
        InvalidPlan: If the method is a plan of another length.
    """

    def __init__(self, method: Method, total: int) -> None:
        self.session, self.method = Session(method.policy, method.forecaster, total=total), method
        self._likes: dict[int, Tensor] = {}  # an output of every call of a step: latents may differ in dtype
        self._size: Any = None
        self._index, self._call = -1, 0
        self.is_off = False

    def predict(self, compute: Compute, index: int, latents: Tensor, model: object) -> Any:
        """Return the guided prediction of a step, computed or forecast.

        Args:
            compute: SGLang's own way.
            index: Of the step.
            latents: By which policies decide.
            model: Which predicts; another one in the middle of a run begins anew.
        """
        if self.is_off or (self._size is not None and latents.shape != self._size):
            self.is_off = True
            return compute()
        self._call = self._call + 1 if index == self._index else 0
        self._index = index
        try:
            return self._step(compute, index, latents, model)
        except Unlike as error:
            self.is_off = True
            return error.output

    def _step(self, compute: Compute, index: int, latents: Tensor, model: object) -> Tensor:
        """Compute or forecast; what the first output is like is known once it is there."""
        call, stop = self._call, stopwatch(latents.device)
        is_new = call not in self._likes
        if is_new:
            self._likes[call], self._size = check_output(compute(), None), latents.shape
        like = self._likes[call]
        seconds = stop()
        output = self.session.step(
            None,
            like=like,
            index=index,
            branch=f"call {call + 1}",
            probe=latents,
            compute=lambda: like if is_new else check_output(compute(), like),
            conditions=id(model),
        )
        if is_new:
            self.session.records[-1].seconds[-1] = seconds
        return output


def check_output(output: Any, like: Tensor | None) -> Tensor:
    """Return an output that can be forecast.

    Raises:
        Unlike: If it is several tensors, or of another shape or dtype than those before.
    """
    fits = isinstance(output, Tensor) and (like is None or (output.shape, output.dtype) == (like.shape, like.dtype))
    if not fits:
        raise Unlike(output)
    assert isinstance(output, Tensor)
    return output


class Unlike(Exception):
    """An output of another shape or dtype than those before, as where a stage raises the resolution."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


def register() -> None:
    """Register the hooks, if a method is named; twice is as once. What SGLang calls at its entry point.

    Raises:
        UnknownName: If there is no such method.
        InvalidOption: If it cannot serve here.
        MissingPackage: If SGLang's denoising stage is not as the plug-in knows it.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return
    method = read_output_method(text)
    plugins = importlib.import_module("sglang.multimodal_gen.runtime.platforms.plugins")
    registry: Any = plugins.HookRegistry
    if registry in REGISTRIES:
        return
    check_stage()

    def loop(original: Callable[..., Any], stage: Any, ctx: Any, batch: Any, *args: Any, **options: Any) -> Any:
        return run_loop(method, lambda: original(stage, ctx, batch, *args, **options), ctx, batch)

    registry.register(f"{MODULE}.{STAGE}.{LOOP}", loop, plugins.HookType.AROUND)
    registry.register(f"{MODULE}.{STAGE}.{PREDICTION}", predict, plugins.HookType.AROUND)
    REGISTRIES.add(registry)


def read_output_method(text: str) -> Method:
    """Return the method of a name, if it can forecast what a model returns.

    Raises:
        UnknownName: If there is no such method.
        InvalidOption: If it decides or forecasts inside a model.
    """
    method = read_method(text)
    if method.policy.probe not in SHOWN or method.span not in ("output", "full"):
        raise InvalidOption(
            f"{VARIABLE}={text!r} works inside a model, and SGLang's guided predictions are forecast from outside.\n"
            f'Take another, such as {VARIABLE}="tc-pade:every=3"'
        )
    return method


def run_loop(method: Method, call: Compute, ctx: Any, batch: Any) -> Any:
    """Call a denoising loop, in which predictions are forecast; a warm-up and solvers of higher order are left alone.

    Raises:
        InvalidPlan: If the method is a plan of another length.
        InvalidOption: If several processes would have to decide alike and cannot.
    """
    if ctx.is_warmup or getattr(ctx.scheduler, "order", 1) != 1:
        return call()
    check_ranks(method)
    run = RUNS[id(batch)] = Run(method, len(ctx.timesteps))
    try:
        return call()
    finally:
        del RUNS[id(batch)]
        log_run(report_of([run.session], method.name))
        run.session.close()


def predict(original: Callable[..., Any], stage: Any, *args: Any, **options: Any) -> Any:
    """Forecast a guided prediction, or have it computed; outside of a loop, or called otherwise, it is computed."""
    run = RUNS.get(id(options.get("batch")))
    if run is None or args or not options.keys() >= NEEDS[PREDICTION]:
        return original(stage, *args, **options)
    model, index, latents = (options[name] for name in ("current_model", "timestep_index", "latents"))
    return run.predict(lambda: original(stage, **options), index, latents, model)


def check_stage() -> None:
    """Raise unless SGLang's denoising stage has what is hooked on.

    Its source is read rather than imported: SGLang wants no import of it before its platform is ready.

    Raises:
        MissingPackage: With what is missing.
    """
    root = importlib.util.find_spec("sglang.multimodal_gen")
    places = [] if root is None else list(root.submodule_search_locations or [])
    path = Path(*places[:1], *MODULE.split(".")[2:]).with_suffix(".py")
    if not places or not path.is_file():
        raise explain_release("sglang", RELEASE, f"there is no module {MODULE}")
    tree = ast.parse(files.read_text(path))
    stages = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == STAGE]
    methods = {node.name: node for stage in stages for node in stage.body if isinstance(node, ast.FunctionDef)}
    for name, needs in NEEDS.items():
        if name not in methods:
            raise explain_release("sglang", RELEASE, f"{MODULE} has no {STAGE}.{name}")
        arguments = methods[name].args
        missing = needs - {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        if missing:
            names = ", ".join(sorted(missing))
            raise explain_release("sglang", RELEASE, f"{STAGE}.{name} takes no {names}")
