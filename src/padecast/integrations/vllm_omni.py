"""vLLM-Omni: a cache backend of the name ``padecast``, through its entry point for plug-ins::

    vllm serve MODEL --omni --cache-backend padecast --cache-config '{"method": "tc-pade:every=3"}'

vLLM-Omni chooses backends in one function, which has no list to add to: that function is replaced, in the modules that
hold it, by one that knows one name more. Every other name goes to the function that was there.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from padecast import targets
from padecast._errors import InvalidOption, PadecastWarning, UnsupportedModel, quote
from padecast.handles.accelerate import accelerate
from padecast.handles.handle import Handle
from padecast.integrations.serving import check_ranks, explain_release, read_method
from padecast.methods import Method

NAME, RELEASE, DEFAULT = "padecast", "0.30.0", "tc-pade:every=3"
SELECTOR, FUNCTION = "vllm_omni.diffusion.cache.selector", "get_cache_backend"
HOLDERS = (SELECTOR, "vllm_omni.diffusion.worker.diffusion_model_runner")
"""Modules that hold the function by its name."""
MODELS = ("transformer", "transformer_2")
DEFAULT_STEPS = "default_num_inference_steps"
"""The attribute of a pipeline that vLLM-Omni reads where a request does not say its steps."""
OPTIONS = ("method", "dtype", "offload")
ALIKE = ("FluxTransformer2DModel", "QwenImageTransformer2DModel", "WanTransformer3DModel")
"""Classes of vLLM-Omni's whose blocks take and return what those of diffusers' classes of the same names do."""


class Acceleration:
    """What accelerates the transformers of a pipeline, from one request to the next.

    Args:
        options: ``method``, ``dtype`` (``"bfloat16"``) and ``offload``, as :func:`padecast.accelerate` takes them.

    Raises:
        UnknownName: If there is no such method.
        InvalidOption: If an option is unknown or of the wrong kind.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        unknown = sorted(options.keys() - set(OPTIONS))
        if unknown:
            raise InvalidOption(
                f"cache-config has no option {', '.join(unknown)} for {NAME!r}: it knows {', '.join(OPTIONS)}.\n"
                f'Write --cache-config \'{{"method": "{DEFAULT}"}}\''
            )
        self.method: Method = read_method(options.get("method", DEFAULT))
        dtype = options.get("dtype")
        self._storage = {
            "dtype": None if dtype is None else read_dtype(dtype),
            "offload": options.get("offload", False),
        }
        self.handles: list[Handle] = []
        self._steps = 0

    def check(self, pipeline: Any) -> None:
        """Raise unless the method can serve a pipeline: before the first request, rather than at it.

        Raises:
            UnsupportedModel: If there is no transformer, or its class is not described.
            UnknownName: If it has no such span.
            InvalidOption: If several processes would have to decide alike and cannot.
        """
        check_ranks(self.method)
        self._attach(pipeline, self.method.policy.length or 2)
        self.close()

    def begin(self, pipeline: Any, steps: int) -> None:
        """Begin a request of so many steps; one that the method cannot serve is computed, with a warning."""
        models = find_models(pipeline)
        if steps == self._steps and [handle.pipe for handle in self.handles] == models:
            for handle in self.handles:
                handle.reset()
            return
        self.close()
        if steps < 1:
            warn(
                f"a request does not say how many steps it has, nor does {type(pipeline).__name__}: "
                "it is computed whole.\nSay it in the request: num_inference_steps=20"
            )
        elif self.method.policy.length not in (None, steps):
            # No error, since vLLM-Omni warms up with a request of 2 steps, and does not start if that fails.
            warn(
                f"a request of {steps} steps is computed whole: the plan has {self.method.policy.length}.\n"
                f'Ask for num_inference_steps={self.method.policy.length}, or start with a rule such as "{DEFAULT}"; '
                "a request of 2 steps is how vLLM-Omni warms up"
            )
        else:
            self._attach(pipeline, steps)

    def close(self) -> None:
        """Switch off; models are as they were."""
        while self.handles:
            self.handles.pop().disable()
        self._steps = 0

    def _attach(self, pipeline: Any, steps: int) -> None:
        self.method.policy.check(steps)
        try:
            for model in find_models(pipeline):
                handle = accelerate(model, self.method, steps=self._count(steps), **self._storage)
                self.handles.append(handle.enable())
        except BaseException:
            self.close()
            raise
        self._steps = steps

    def _count(self, steps: int) -> int | None:
        """Return what a bare model is told: nothing, where its plan says so itself."""
        return None if self.method.policy.length is not None else steps


def warn(text: str) -> None:
    """Warn whoever runs the server."""
    warnings.warn(text, PadecastWarning, stacklevel=3)


def find_models(pipeline: Any) -> list[nn.Module]:
    """Return the transformers of a pipeline of vLLM-Omni.

    Raises:
        UnsupportedModel: If it has none.
    """
    parts = [getattr(pipeline, name, None) for name in MODELS]
    models = [part for part in parts if isinstance(part, nn.Module)]
    if not models:
        raise UnsupportedModel(
            f"a {type(pipeline).__name__} has no {' and no '.join(MODELS)}, which is what would be accelerated.\n"
            "Start it without --cache-backend padecast"
        )
    return models


def read_dtype(name: object) -> torch.dtype:
    """Return a dtype by its name.

    Raises:
        InvalidOption: If there is none.
    """
    dtype = getattr(torch, name, None) if isinstance(name, str) else None
    if not isinstance(dtype, torch.dtype):
        raise InvalidOption(f'dtype={quote(name)} is no dtype of torch.\nWrite "bfloat16" or "float8_e4m3fn"')
    return dtype


def register() -> None:
    """Let vLLM-Omni know the backend; twice is as once. What it calls at its entry point, in every process.

    Raises:
        MissingPackage: If the function that chooses backends is not as the plug-in knows it.
    """
    selector = importlib.import_module(SELECTOR)
    original = getattr(selector, FUNCTION, None)
    if getattr(original, NAME, False):
        return
    base = getattr(importlib.import_module("vllm_omni.diffusion.cache.base"), "CacheBackend", None)
    if not callable(original) or list(inspect.signature(original).parameters) != ["cache_backend", "cache_config"]:
        raise explain_release("vllm-omni", RELEASE, f"{SELECTOR} has no {FUNCTION}(cache_backend, cache_config)")
    if not {"enable", "refresh"} <= set(getattr(base, "__abstractmethods__", ())):
        raise explain_release("vllm-omni", RELEASE, "its CacheBackend is not made of enable and refresh")
    for model in ALIKE:
        targets.register(dataclasses.replace(targets.REGISTRY[model], library="vllm_omni", pipelines=()))
    choose = make_choice(original, make_backend(base))
    for name in HOLDERS:
        module = sys.modules.get(name)  # one that is not imported yet will take the function from the selector
        if module is not None and getattr(module, FUNCTION, None) is original:
            setattr(module, FUNCTION, choose)


def make_choice(original: Callable[[Any, Any], Any], backend: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a function that chooses a backend, and knows ours too."""

    @functools.wraps(original)
    def choose(cache_backend: Any, cache_config: Any) -> Any:
        return backend(cache_config) if cache_backend == NAME else original(cache_backend, cache_config)

    setattr(choose, NAME, True)
    return choose


def make_backend(base: Any) -> Callable[[Any], Any]:
    """Return a class of vLLM-Omni's that hands on to an :class:`Acceleration`."""

    class PadecastBackend(base):
        """Forecasts some steps of a pipeline's transformers."""

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.acceleration = Acceleration(read_options(config))

        def enable(self, pipeline: Any) -> None:
            """Check that the pipeline can be served; nothing is put on it before a request says its steps."""
            self.acceleration.check(pipeline)
            if getattr(pipeline, DEFAULT_STEPS, None) is None:
                # Else vLLM-Omni does not tell of requests that leave out their steps, and the one before would go on.
                setattr(pipeline, DEFAULT_STEPS, 0)
            self.enabled = True

        def refresh(self, pipeline: Any, num_inference_steps: int, verbose: bool = True) -> None:
            """Begin a request."""
            self.acceleration.begin(pipeline, num_inference_steps or 0)

    return PadecastBackend


def read_options(config: Any) -> dict[str, Any]:
    """Return what ``--cache-config`` said: a dictionary, or what vLLM-Omni keeps besides its own options."""
    if isinstance(config, Mapping):
        return dict(config)
    return dict(getattr(config, "_extra_params", None) or {})
