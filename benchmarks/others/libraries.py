"""The caches that are compared, and how each is switched on through its public calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import diffusers
import torch
from torch import nn

import padecast
from others.pipelines import STEPS

Off = Callable[[], None]


@dataclass(frozen=True)
class Library:
    """A cache and how it is switched on, through its public calls alone.

    Args:
        name: As in the table.
        settings: How it was switched on, in words.
        on: Switches it on for a pipeline and a grid of so many places; returns what switches it off.
        always: The same with every step computed.
        remedies: By scenario, what the library offers where the plain call fails: a sentence and changed fields.
        outer: Whether the caller opens a cache context around every run.
        tidy: Whether the caller calls ``maybe_free_model_hooks`` after an interrupted run.
        also: Another threshold, for the scenario in which one may by luck not be crossed: in words, and its switch.
    """

    name: str
    settings: str
    on: Callable[[Any, int], Off]
    always: Callable[[Any, int], Off]
    remedies: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    outer: bool = False
    tidy: bool = False
    also: tuple[str, Callable[[Any, int], Off]] | None = None


def even(total: int) -> str:
    return ("CC" + ".C" * total)[:total]


def plan_on(pipe: Any, total: int) -> Off:
    return padecast.enable(pipe, policy=f"plan:steps={even(total)}", forecaster="lagrange").disable


def plan_always(pipe: Any, total: int) -> Off:
    return padecast.enable(pipe, policy=f"plan:steps={'C' * total}", forecaster="lagrange").disable


def ours(method: str) -> Library:
    return Library(
        f"padecast, {method.partition(':')[0]}",
        f"padecast.enable(pipe, {method!r})",
        lambda pipe, total: padecast.enable(pipe, method).disable,
        lambda pipe, total: padecast.enable(pipe, "none").disable,
    )


Configure = Callable[[Any, bool, Callable[[], float]], Any]


def timestep_of(model: nn.Module) -> tuple[Callable[[], float], Off]:
    """Read the timestep that a model is called with: not every pipeline has the property of the documented example."""
    told = [0.0]

    def tell(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        value = float(kwargs["timestep"].flatten()[0])
        told[0] = 1000 * value if isinstance(model, diffusers.FluxTransformer2DModel) else value

    hook = model.register_forward_pre_hook(tell, with_kwargs=True)
    return lambda: told[0], hook.remove


def theirs(name: str, settings: str, configure: Configure, remedies: dict[str, Any]) -> Library:
    """One of diffusers' own caches, from what builds its configuration for a pipeline."""

    def switch(always: bool) -> Callable[[Any, int], Off]:
        def on(pipe: Any, total: int) -> Off:
            timestep, forget = timestep_of(pipe.transformer)
            pipe.transformer.enable_cache(configure(pipe, always, timestep))

            def off() -> None:
                pipe.transformer.disable_cache()
                forget()

            return off

        return on

    text = f"pipe.transformer.enable_cache({settings})"
    return Library(name, text, switch(False), switch(True), remedies)


def first_block(pipe: Any, always: bool, timestep: Any) -> Any:
    return diffusers.FirstBlockCacheConfig(threshold=-1.0 if always else 0.4)


def taylorseer(pipe: Any, always: bool, timestep: Any, **changes: Any) -> Any:
    warmup = 10**6 if always else 2
    return diffusers.TaylorSeerCacheConfig(
        cache_interval=3, disable_cache_before_step=warmup, taylor_factors_dtype=torch.float32, **changes
    )


def taylorseer_named(pipe: Any, always: bool, timestep: Any) -> Any:
    return taylorseer(pipe, always, timestep, cache_identifiers=[r"blocks\.\d+\.attn[12]"])


def magcache(pipe: Any, always: bool, timestep: Any) -> Any:
    return diffusers.MagCacheConfig(
        mag_ratios=[1.0] * STEPS, num_inference_steps=STEPS, max_skip_steps=2, threshold=-1.0 if always else 0.06
    )


def fastercache(pipe: Any, always: bool, timestep: Any) -> Any:
    changes = {"spatial_attention_timestep_skip_range": (-2, -1)} if always else {}
    return diffusers.FasterCacheConfig(
        is_guidance_distilled=True,
        tensor_format="BCHW",
        attention_weight_callback=lambda _: 0.5,
        current_timestep_callback=timestep,
        **changes,
    )


def broadcast(pipe: Any, always: bool, timestep: Any) -> Any:
    return diffusers.PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=1 if always else 2, current_timestep_callback=timestep
    )


def cache_dit_on(pipe: Any, total: int, **changes: Any) -> Off:
    import cache_dit

    settings = {"Fn_compute_blocks": 1, "max_warmup_steps": 2, "max_continuous_cached_steps": 2}
    settings |= {"residual_diff_threshold": 0.5, **changes}
    cache_dit.enable_cache(pipe, cache_config=cache_dit.DBCacheConfig(**settings))
    return lambda: cache_dit.disable_cache(pipe)


def cache_dit_always(pipe: Any, total: int) -> Off:
    return cache_dit_on(pipe, total, max_warmup_steps=10**6)


def cache_dit_strict(pipe: Any, total: int) -> Off:
    return cache_dit_on(pipe, total, residual_diff_threshold=0.35)


def cache_dit_separate(pipe: Any, total: int) -> Off:
    return cache_dit_on(pipe, total, enable_separate_cfg=True)


TIDY = ("pipe.maybe_free_model_hooks() called after the interruption", {"tidy": True})
OUTER = ("transformer.cache_context(...) opened by the caller around the run", {"outer": True})
SEPARATE = ("enable_separate_cfg=True, as its documentation asks for such models", {"on": cache_dit_separate})
INTERRUPTED = dict.fromkeys(("interrupted", "interrupted, then larger", "interrupted, then a batch"), TIDY)
NO_CONTEXT = {**INTERRUPTED, **dict.fromkeys(("image to image", "unnamed branches", "controls"), OUTER)}

NAMED = (
    "cache_identifiers given, since its default ones name no attention of Wan",
    {"on": theirs("", "", taylorseer_named, {}).on, "always": theirs("", "", taylorseer_named, {}).always},
)

LIBRARIES = (
    Library(
        "padecast, plan",
        f'padecast.enable(pipe, policy="plan:steps={even(STEPS)}", forecaster="lagrange")',
        plan_on,
        plan_always,
    ),
    ours("tc-pade"),
    replace(ours("adaptive:tolerance=0.1"), also=("tolerance=0.03", ours("adaptive:tolerance=0.03").on)),
    theirs("FirstBlockCache", "FirstBlockCacheConfig(threshold=0.4)", first_block, NO_CONTEXT),
    theirs(
        "TaylorSeerCache",
        "TaylorSeerCacheConfig(cache_interval=3, disable_cache_before_step=2, taylor_factors_dtype=torch.float32)",
        taylorseer,
        {**NO_CONTEXT, **dict.fromkeys(("Wan", "Heun"), NAMED)},
    ),
    theirs(
        "MagCache",
        f"MagCacheConfig(mag_ratios=[1.0] * {STEPS}, num_inference_steps={STEPS}, max_skip_steps=2)",
        magcache,
        INTERRUPTED,
    ),
    theirs(
        "FasterCache",
        "FasterCacheConfig(is_guidance_distilled=True, attention_weight_callback=lambda _: 0.5, ...)",
        fastercache,
        INTERRUPTED,
    ),
    theirs(
        "PyramidAttention",
        "PyramidAttentionBroadcastConfig(spatial_attention_block_skip_range=2, ...)",
        broadcast,
        INTERRUPTED,
    ),
    Library(
        "cache-dit",
        "cache_dit.enable_cache(pipe, cache_config=DBCacheConfig(Fn_compute_blocks=1, max_warmup_steps=2, "
        "max_continuous_cached_steps=2, residual_diff_threshold=0.5))",
        cache_dit_on,
        cache_dit_always,
        dict.fromkeys(("named branches", "unnamed branches"), SEPARATE),
        also=("residual_diff_threshold=0.35", cache_dit_strict),
    ),
)
