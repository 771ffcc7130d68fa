"""Caches of diffusers that leave out attentions; but in TaylorSeer's lite mode all else runs at every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

from torch import nn

from padecast._errors import UnsupportedModel
from padecast.lab.peers.base import register
from padecast.lab.peers.cacheable import Cache, Timestep, find_class
from padecast.policies.knob import Knob

EVERYWHERE = {"low": -1, "high": 1001}
"""A range of timesteps that holds every step."""
ATTENTION = r"(transformer_|single_transformer_|temporal_transformer_)?blocks\.\d+\.attn\d?"
"""The attentions of a model by name. The default pattern of diffusers names none where they end in a number."""


@register("diffusers.taylorseer")
@dataclass(frozen=True)
class TaylorSeer(Cache):
    """TaylorSeerCache: forecast the output of every attention by finite differences; all else is computed.

    Args:
        every: ``cache_interval``. Default 5.
        warmup: ``disable_cache_before_step``. Default 3.
        order: ``max_order``. Default 1.
        named: Whether it is told the names of the attentions. Its own pattern finds none of some models, and says
            nothing of it.
    """

    every: int = 5
    warmup: int = 3
    order: int = 1
    named: bool = True
    by_context: ClassVar[bool] = True
    partial: ClassVar[bool] = True

    def configuration(self, pipe: Any, model: nn.Module, steps: int) -> Any:
        """Return a ``TaylorSeerCacheConfig`` that keeps its differences in the model's own dtype."""
        return find_class("TaylorSeerCacheConfig")(
            cache_interval=self.every,
            disable_cache_before_step=self.warmup,
            max_order=self.order,
            taylor_factors_dtype=next(model.parameters()).dtype,
            **self.parts(model),
        )

    def parts(self, model: nn.Module) -> dict[str, Any]:
        """Return which parts of the model are forecast."""
        return {"cache_identifiers": [ATTENTION]} if self.named else {}

    def count(self, steps: int) -> int:
        """Return how many of so many steps are computed: before ``warmup``, and every ``every``-th past it."""
        return sum(s < self.warmup or (s - self.warmup) % self.every == 1 % self.every for s in range(steps))

    def rooms(self, steps: int, computed: int) -> Iterable[dict[str, Any]]:
        """Intervals and warm-ups that should compute so many, the nearest to three warm-up steps first."""
        choices = product(range(1, steps), range(1, steps))
        plans = [dataclasses.replace(self, every=every, warmup=warmup) for every, warmup in choices]
        off = {p: abs(p.count(steps) - computed) for p in plans}
        plans.sort(key=lambda p: (off[p], abs(p.warmup - self.warmup), abs(p.every - self.every)))
        return [{"every": p.every, "warmup": p.warmup} for p in plans[:4]]


@register("diffusers.taylorseer-lite")
@dataclass(frozen=True)
class TaylorSeerLite(TaylorSeer):
    """TaylorSeerCache's lite mode: blocks are skipped, and what the model's ``proj_out`` returns is forecast."""

    partial: ClassVar[bool] = False

    def parts(self, model: nn.Module) -> dict[str, Any]:
        """Return the lite mode, for models in which it finds what it forecasts."""
        if not hasattr(model, "proj_out"):
            raise UnsupportedModel(
                f"TaylorSeerCache's lite mode forecasts a part named proj_out, and {type(model).__name__} has none: "
                "its blocks would return zeros.\nForecast its attentions: diffusers.taylorseer"
            )
        return {"use_lite_mode": True}


@register("diffusers.pab")
@dataclass(frozen=True)
class Broadcast(Cache):
    """Pyramid Attention Broadcast: reuse what every self-attention returned; all else is computed.

    Args:
        every: ``spatial_attention_block_skip_range``. Default 2.
        low: Attention is computed at timesteps up to this one. Default 100.
        high: And from this one on. Default 800.
    """

    every: int = 2
    low: int = 100
    high: int = 800
    knob: ClassVar[Knob | None] = Knob("every", 2, 16, rising=False, whole=True)
    partial: ClassVar[bool] = True

    def configuration(self, pipe: Any, model: nn.Module, steps: int) -> Any:
        """Return a ``PyramidAttentionBroadcastConfig``."""
        return find_class("PyramidAttentionBroadcastConfig")(
            spatial_attention_block_skip_range=self.every,
            spatial_attention_timestep_skip_range=(self.low, self.high),
            current_timestep_callback=Timestep(pipe, model),
        )

    def rooms(self, steps: int, computed: int) -> Iterable[dict[str, Any]]:
        """Its own range of timesteps, and all of them."""
        return [{}, EVERYWHERE]


@register("diffusers.fastercache")
@dataclass(frozen=True)
class FasterCache(Cache):
    """FasterCache's part for attention: extrapolate from the two outputs before; all else is computed.

    Its other part, which leaves out the branch without a prompt, needs both branches in one batch in an order of its
    own, and is not used.

    Args:
        every: ``spatial_attention_block_skip_range``. Default 2.
        high: Attention is computed from this timestep on. Default 681.
        weight: Of the extrapolation. Default 0.5.
    """

    every: int = 2
    high: int = 681
    weight: float = 0.5
    knob: ClassVar[Knob | None] = Knob("every", 2, 16, rising=False, whole=True)
    partial: ClassVar[bool] = True

    def configuration(self, pipe: Any, model: nn.Module, steps: int) -> Any:
        """Return a ``FasterCacheConfig``."""
        return find_class("FasterCacheConfig")(
            spatial_attention_block_skip_range=self.every,
            spatial_attention_timestep_skip_range=(-1, self.high),
            attention_weight_callback=lambda _: self.weight,
            is_guidance_distilled=True,
            tensor_format="BCHW",
            current_timestep_callback=Timestep(pipe, model),
        )

    def rooms(self, steps: int, computed: int) -> Iterable[dict[str, Any]]:
        """Its own range of timesteps, and all but the first."""
        return [{}, {"high": 999}]
