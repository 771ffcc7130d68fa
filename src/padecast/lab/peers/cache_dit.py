"""cache-dit's DBCache, alone and with its calibrators."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from padecast._errors import UnsupportedModel
from padecast.lab._extras import need
from padecast.lab.peers.base import Peer, register
from padecast.policies.knob import Knob
from padecast.targets.pipelines import models_of


@register("cache-dit")
@dataclass(frozen=True)
class DBCache(Peer):
    """Run the first blocks; repeat what the others added while the first blocks' residual changes little.

    Args:
        threshold: ``residual_diff_threshold``. Default 0.08, cache-dit's own.
        warmup: ``max_warmup_steps``, computed in any case. Default 8, cache-dit's own.
        first: ``Fn_compute_blocks``, which run at every step. Default 1; cache-dit's own is 8, of dozens of blocks.
        separate: Whether the branches of a step are calls of their own; found out by a run.
        longest: ``max_continuous_cached_steps``. Default: any number.
        plan: Which steps are computed, ``C`` or a dot each, in place of a threshold.
    """

    threshold: float = 0.08
    warmup: int = 8
    first: int = 1
    separate: bool | None = None
    longest: int | None = None
    plan: str = ""
    knob: ClassVar[Knob | None] = Knob("threshold", 1e-4, 10.0, rising=False, logarithmic=True)

    def enable(self, pipe: Any, steps: int) -> None:
        """Switch it on for the pipeline, or for its transformer where cache-dit knows that class alone.

        With 0 steps it is not told how many a run has.
        """
        library = need("cache_dit", "running cache-dit", extra="peers")
        configuration = library.DBCacheConfig(
            Fn_compute_blocks=self.first,
            Bn_compute_blocks=0,
            residual_diff_threshold=self.threshold,
            max_warmup_steps=self.warmup,
            num_inference_steps=steps or None,
            enable_separate_cfg=self.separate,
            **self._limits(),
        )
        library.enable_cache(
            _pick(library, pipe), cache_config=configuration, calibrator_config=self.calibrator(library)
        )

    def _limits(self) -> dict[str, Any]:
        """Return what is said besides the threshold of which steps are computed."""
        limits: dict[str, Any] = {} if self.longest is None else {"max_continuous_cached_steps": self.longest}
        if self.plan:
            limits |= {"steps_computation_policy": "static"}
            limits |= {"steps_computation_mask": [int(letter == "C") for letter in self.plan]}
        return limits

    def disable(self, pipe: Any) -> None:
        """Switch it off."""
        library = need("cache_dit", "running cache-dit", extra="peers")
        library.disable_cache(_pick(library, pipe))

    def calibrator(self, library: Any) -> Any:
        """Return the configuration of what forecasts instead of repeating; ``None`` if nothing does."""
        return None

    def prepared(self, pipe: Any, steps: int, run: Callable[[], int]) -> Peer:
        """Return it told how often the model is called in a step, as cache-dit asks."""
        need("cache_dit", "running cache-dit", extra="peers")
        if self.separate is not None:
            return self
        return dataclasses.replace(self, separate=run() > 1)

    def rooms(self, steps: int, computed: int) -> Iterable[dict[str, Any]]:
        """Warm-ups of at most half of the computed steps, the longest first."""
        longest = max(min(self.warmup, computed // 2), 1)
        return [{"warmup": warmup} for warmup in range(longest, max(longest - 3, 0), -1)]


@register("cache-dit.taylorseer")
@dataclass(frozen=True)
class DBTaylorSeer(DBCache):
    """DBCache whose residual is forecast by finite differences.

    Args:
        order: ``taylorseer_order``. Default 1.
    """

    order: int = 1

    def calibrator(self, library: Any) -> Any:
        """Return a ``TaylorSeerCalibratorConfig``."""
        return library.TaylorSeerCalibratorConfig(taylorseer_order=self.order)


@register("cache-dit.foca")
@dataclass(frozen=True)
class DBFoCa(DBCache):
    """DBCache whose residual is forecast by FoCa's predictor and corrector."""

    def calibrator(self, library: Any) -> Any:
        """Return a ``FoCaCalibratorConfig``."""
        return library.FoCaCalibratorConfig()


@register("cache-dit.dmd")
@dataclass(frozen=True)
class DBDMD(DBCache):
    """DBCache whose residual is forecast by dynamic mode decomposition.

    Args:
        history: ``dmd_history``, residuals that are kept. Default 6.
    """

    history: int = 6

    def calibrator(self, library: Any) -> Any:
        """Return a ``DMDCalibratorConfig``."""
        return library.DMDCalibratorConfig(dmd_history=self.history)


def _pick(library: Any, pipe: Any) -> Any:
    """Return the pipeline, or its transformer, whichever cache-dit has an adapter for."""
    for candidate in (pipe, *models_of(pipe)[:1]):
        if library.BlockAdapterRegister.is_supported(candidate):
            return candidate
    raise UnsupportedModel(
        f"cache-dit {library.__version__} has no adapter for {type(pipe).__name__} with a "
        f"{type(models_of(pipe)[0]).__name__}."
    )
