"""Several samples in one call of any class."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from tests.targets.case import Case
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from padecast import Handle, PadecastWarning, accelerate
from padecast.forecasters import Forecaster
from padecast.policies import Plan, Policy

SINGLE = ("Cosmos3OmniTransformer", "AnyFlowFARTransformer3DModel", "WanAnimate2Transformer3DModel")
"""Classes that take one sample alone, or whose cases bring caches of keys and values of one."""


def many(value: Any, count: int, name: str = "") -> Any:
    """Give every sample the same of what a case gives one."""
    if name in ("img_shapes", "cap_feats", "shape_list"):
        return value * count
    if isinstance(value, Tensor) and name == "encoder_hidden_states_llama3":
        return value.repeat_interleave(count, 1)
    if isinstance(value, Tensor):
        return value.repeat_interleave(count, 0) if value.ndim and len(value) == 1 else value
    if isinstance(value, list | tuple) and all(isinstance(x, Tensor) for x in value):
        return type(value)(many(x, count) for x in value)
    return {key: many(x, count, key) for key, x in value.items()} if isinstance(value, dict) else value


def latents(case: Case, seeds: Sequence[int]) -> Any:
    """Draw a latent of every seed, in one batch."""
    drawn = [case.latent(seed) for seed in seeds]
    return [x for one in drawn for x in one] if isinstance(drawn[0], list) else torch.cat(drawn)


def levels(case: Case, count: int) -> list[float]:
    """Noise levels at which the model's timestep falls, as that of a bare model must."""
    falling = [0.9 - 0.8 * place / count for place in range(count)]
    first, last = (float(torch.as_tensor(case.timestep(level)).max()) for level in (falling[0], falling[-1]))
    return falling if first > last else falling[::-1]


def call(
    case: Case, model: nn.Module, latent: Any, level: float, change: Callable[[str, Any], Any] = lambda _, x: x
) -> list[Tensor]:
    """Call a model for a batch of latents, and return all that becomes of every sample in a row of numbers."""
    count = len(latent)
    inputs = {name: change(name, many(value, count, name)) for name, value in case.inputs().items()}
    given = {case.latent_name: latent, case.timestep_name: many(case.timestep(level), count), **inputs}
    with torch.no_grad():
        leaves = [x for x in tree_leaves(model(**given)) if isinstance(x, Tensor)]
    if isinstance(latent, list):
        return [x.flatten() for x in leaves]
    return [torch.cat([x[place].flatten() for x in leaves]) for place in range(count)]


def broken(latent: Any, place: int, value: float) -> Any:
    """Spoil one sample of a batch."""
    spoilt = tree_map(torch.clone, latent)
    spoilt[place].flatten()[0:1].fill_(value)
    return spoilt


@contextlib.contextmanager
def accelerated(
    model: nn.Module, policy: str | Policy, forecaster: Forecaster, span: str, steps: int
) -> Iterator[Handle]:
    """Accelerate a model that is called by hand; what a report notes is for the test to look at."""
    policy = Plan(policy) if isinstance(policy, str) else policy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PadecastWarning)
        with accelerate(model, policy=policy, forecaster=forecaster, span=span, steps=steps) as run:
            yield run
