"""Several stacks of a model, each forecast by itself: halves and modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.representative import representative
from tests.tiny import (
    blocks,
    counted,
    dit_pipeline,
    flux_pipeline,
    footprint,
    sample_dit,
    sample_flux,
    sample_wan,
    wan_pipeline,
)

from padecast import UnsupportedModel, accelerate, targets
from padecast.forecasters import Lagrange, Oracle, Reuse
from padecast.hooks.blocks.spans import halves, stacks_of
from padecast.policies import Always, Delta, Plan

PLAN = "CC.C..C."
SAMPLED = {"dit": (dit_pipeline, sample_dit), "flux": (flux_pipeline, sample_flux), "wan": (wan_pipeline, sample_wan)}
every_model = pytest.mark.parametrize("model", SAMPLED)
every_span = pytest.mark.parametrize("span", ["halves", "modules"])


@every_model
@every_span
def test_all_computed_is_exact_and_replayed_is_right(model: str, span: str) -> None:
    make, sample = SAMPLED[model]
    pipe = make()
    untouched = sample(pipe, len(PLAN))
    before = footprint(pipe.transformer)
    with accelerate(pipe, policy=Always(), forecaster=Reuse(), span=span):
        assert torch.equal(sample(pipe, len(PLAN)), untouched)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Oracle(), span=span) as run:
        torch.testing.assert_close(sample(pipe, len(PLAN)), untouched, rtol=1e-4, atol=1e-4)
    assert (run.report.plan, run.report.notes) == (PLAN, {})
    assert footprint(pipe.transformer) == before
    assert torch.equal(sample(pipe, len(PLAN)), untouched)


@every_model
def test_modules_run_at_computed_steps_alone_and_the_rest_of_a_block_always(model: str) -> None:
    make, sample = SAMPLED[model]
    pipe = make()
    calls: dict[str, int] = {}

    def count(name: str) -> Any:
        return lambda *_: calls.update({name: calls.get(name, 0) + 1})

    first = next(iter(blocks(pipe.transformer).values()))[0]
    attention = first.attn if hasattr(first, "attn") else first.attn1
    hooks = [attention.to_q.register_forward_hook(count("to_q")), first.norm1.register_forward_hook(count("norm1"))]
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange(), span="modules") as run:
        sample(pipe, len(PLAN))
    for hook in hooks:
        hook.remove()
    assert (run.report.plan, run.report.notes) == (PLAN, {})
    assert calls["to_q"] * len(PLAN) == calls["norm1"] * PLAN.count("C")


def test_modules_are_forecast_by_their_own_outputs() -> None:
    """Two steps apart, repeated: the attention's output at a forecast step is that of the computed one."""
    pipe, outputs = dit_pipeline(), []
    with accelerate(pipe, policy=Plan("C.C."), forecaster=Reuse(), span="modules"):
        hook = pipe.transformer.transformer_blocks[1].attn1.register_forward_hook(
            lambda _m, _a, y: outputs.append(y.clone())
        )
        sample_dit(pipe, 4)
    hook.remove()
    assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[2], outputs[3])
    assert not torch.equal(outputs[1], outputs[2])


def test_the_back_half_is_left_out_early_and_the_front_half_late() -> None:
    pipe = flux_pipeline()
    with (
        accelerate(pipe, policy=Delta(every=2, last=False), forecaster=Reuse(), span="halves") as run,
        counted(pipe.transformer) as runs,
    ):
        sample_flux(pipe, 8, true_cfg_scale=1.0)
    assert run.report.plan == "C.C.C.C."
    front, back = halves(pipe.transformer, targets.find(pipe.transformer).lists("full"))
    assert (front, back) == (["transformer_blocks"], ["single_transformer_blocks"])
    assert runs == {"transformer_blocks": 4 + 2, "single_transformer_blocks": 4 + 2}


def test_delta_dit_with_one_stack_leaves_all_of_it_out() -> None:
    pipe = dit_pipeline()
    with accelerate(pipe, "delta-dit:span=full") as run:
        sample_dit(pipe, 6)
    assert run.report.plan == "C.C.CC"


def test_halves_of_an_odd_number_of_blocks() -> None:
    pipe = flux_pipeline()
    assert halves(pipe.transformer, ("single_transformer_blocks",)) == (
        ["single_transformer_blocks[:1]"],
        ["single_transformer_blocks[1:]"],
    )
    with pytest.raises(UnsupportedModel, match="cannot be cut in two"):
        halves(pipe.transformer, ("transformer_blocks[:1]",))


@every_model
def test_modules_found(model: str) -> None:
    pipe = SAMPLED[model][0]()
    found = stacks_of(pipe.transformer, targets.find(pipe.transformer), "modules")
    count = sum(len(part) for part in blocks(pipe.transformer).values())
    assert len(found) >= 2 * count


@pytest.mark.parametrize("method", ["fora:span=modules", "taylorseer:span=modules", "delta-dit", "toca"])
@pytest.mark.parametrize("model", representative(SAMPLED, ["dit", "wan"]))
def test_methods(model: str, method: str) -> None:
    make, sample = SAMPLED[model]
    pipe = make()
    untouched = sample(pipe, 12)
    with accelerate(pipe, method) as run:
        images = sample(pipe, 12)
    assert run.report.forecast > 0 and images.isfinite().all()
    assert not torch.equal(images, untouched)
