"""Caches of other libraries: switched on, counted, tuned, and taken off without a trace."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from diffusers import DiTTransformer2DModel
from tests import tiny
from tests.representative import representative
from torch import Tensor, nn

import padecast
from padecast.lab import UNCACHED, Entry, Task, compare, draw, peers, tune
from padecast.lab.flops import Operations, flops_share
from padecast.lab.peer_tuning import prepare_peer

SHIPPED = {
    "diffusers.first-block": "threshold=0.5",
    "diffusers.taylorseer": "every=3,warmup=2",
    "diffusers.taylorseer-lite": "every=3,warmup=2",
    "diffusers.magcache": "threshold=1.0",
    "diffusers.pab": "every=3,low=-1,high=1001",
    "diffusers.fastercache": "every=3,high=990",
    "diffusers.seacache": "threshold=50",
}
CACHE_DIT = {name: "threshold=5,warmup=2" for name in peers.REGISTRY if name.startswith("cache-dit")}
OPTIONS = {**SHIPPED, **CACHE_DIT}
"""Under which a peer leaves something out of eight steps of random weights; one that is not here does by default."""
FAMILIES = {"flux": (tiny.flux_pipeline, tiny.sample_flux), "wan": (tiny.wan_pipeline, tiny.sample_wan)}


def task_of(family: str) -> Task:
    make, sample = FAMILIES[family]

    def call(pipe: Any, seeds: Sequence[int], /, **arguments: Any) -> Tensor:
        return sample(pipe, seed=seeds[0], **arguments)

    return Task(make(), call, steps=tiny.STEPS, seeds=(3,), batch=1, name=family)


def traces(pipe: Any) -> dict[str, Any]:
    """What is on the pipeline, its model and their classes."""
    models = tiny.footprint(pipe.transformer)
    classes = {cls: dict(vars(cls)) for cls in (type(pipe), *{type(m) for m in pipe.transformer.modules()})}
    return {"pipe": set(vars(pipe)), "models": models, "classes": classes}


@contextlib.contextmanager
def keys(model: nn.Module) -> Iterator[list[int]]:
    """Count how often the last block's keys are computed."""
    last = [part for name, part in model.named_modules() if name.endswith(("attn.to_k", "attn1.to_k"))][-1]
    runs: list[int] = []
    hook = last.register_forward_hook(lambda *_: runs.append(1))
    try:
        yield runs
    finally:
        hook.remove()


def check_peer(task: Task, written: str) -> None:
    before = draw(task, UNCACHED, [3]).images
    left = traces(task.pipe)
    entry = prepare_peer(task.tuning(), Entry.of(written))
    assert entry.refusal == ""
    with keys(task.pipe.transformer) as runs:
        drawn = draw(task, entry, [3])
    assert drawn.plan.count("C") + drawn.plan.count("c") / 2 == drawn.nfe == len(runs) / 2 < tiny.STEPS
    assert not torch.equal(drawn.images, before)
    assert traces(task.pipe) == left
    assert torch.equal(draw(task, UNCACHED, [3]).images, before)


@pytest.mark.parametrize("family", representative(FAMILIES, ["wan"]))
@pytest.mark.parametrize("name", [name for name in peers.REGISTRY if name not in CACHE_DIT])
def test_a_cache_of_diffusers_is_counted_and_leaves_no_trace(name: str, family: str) -> None:
    if (name, family) == ("diffusers.seacache", "flux"):
        return
    check_peer(task_of(family), f"{name}:{OPTIONS.get(name, '')}".rstrip(":"))


@pytest.mark.parametrize("name", CACHE_DIT)
def test_cache_dit_is_counted_and_leaves_no_trace(name: str) -> None:
    pytest.importorskip("cache_dit")
    check_peer(task_of("flux"), f"{name}:{CACHE_DIT[name]}")


def test_without_cache_dit_the_row_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cache_dit", None)
    entry = tune(task_of("flux").tuning(), Entry.of("cache-dit"), 4)
    assert "cache-dit" in entry.refusal and "not installed" in entry.refusal


def test_every_peer_is_entered_by_its_name() -> None:
    assert set(OPTIONS) <= set(peers.REGISTRY) and all(map(peers.is_foreign, peers.REGISTRY))
    assert Entry.of("diffusers.pab:every=4").method == peers.REGISTRY.make("diffusers.pab:every=4")
    with pytest.raises(padecast.UnknownName, match="'threshold'"):
        Entry.of("diffusers.first-block:treshold=1")


# Models that a peer does not fit -------------------------------------------------------------------------------------


def test_a_peer_that_does_not_fit_is_a_row_and_no_crash(task: Task) -> None:
    compared = compare(task, ["diffusers.seacache", "fora"], nfe=[4])
    assert [r.name for r in compared.results] == ["uncached", "fewer-steps", "fora"]
    (refusal,) = compared.refusals
    assert refusal.name == "diffusers.seacache" and "DiTTransformer2DModel" in refusal.why and "\n" not in refusal.why
    assert compared.to_dict()["refusals"][0]["wanted"] == 4


def test_a_peer_that_stops_in_the_middle_is_a_row_and_leaves_no_trace(task: Task) -> None:
    left = traces(task.pipe)
    (refusal,) = compare(task, ["diffusers.fastercache:high=2000"]).refusals
    assert "FasterCache stopped on DigitsPipeline with TypeError" in refusal.why
    assert traces(task.pipe)["models"] == left["models"] and traces(task.pipe)["classes"] == left["classes"]


def test_branches_that_nobody_names_are_refused() -> None:
    def call(pipe: Any, seeds: Sequence[int], /, **arguments: Any) -> Tensor:
        return pipe(steps=arguments["num_inference_steps"], seed=seeds[0])

    task = Task(tiny.loop(), call, steps=6, seeds=(0,), batch=1)
    with pytest.raises(padecast.UnsupportedModel, match="opens no cache context"):
        draw(task, Entry.of("diffusers.first-block"), [0])


def test_a_model_that_is_not_cacheable_is_made_so_for_a_while(task: Task) -> None:
    drawn = draw(task, Entry.of("diffusers.first-block:threshold=1.0"), [0, 1])
    assert 1 <= drawn.nfe < 10 and len(drawn.path) == 10
    assert type(task.pipe.transformer) is DiTTransformer2DModel


def test_what_padecast_accelerates_is_left_to_it(task: Task) -> None:
    with padecast.accelerate(task.pipe, "fora"), pytest.raises(padecast.AlreadyAccelerated):
        draw(task, Entry.of("diffusers.first-block"), [0])


# Tuning --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["diffusers.taylorseer", "diffusers.magcache"])
def test_rules_by_step_reach_the_wanted_number(task: Task, name: str) -> None:
    entry = tune(task.tuning(), Entry.of(name), 4)
    assert entry.written.startswith(f"{name}:") and entry.name == name
    assert draw(task, entry, [0, 1]).nfe == 4


def test_a_threshold_comes_close_and_is_written_down(task: Task) -> None:
    entry = tune(task.tuning(), Entry.of("diffusers.first-block"), 5)
    assert "threshold=" in entry.written
    assert Entry.of(entry.written).method == entry.method
    assert abs(draw(task.tuning(), entry, task.tuning().batches()[0]).nfe - 5) <= 1


def test_what_was_written_down_is_not_turned(task: Task) -> None:
    entry = tune(task.tuning(), Entry.of("diffusers.pab:every=3,low=-1,high=1001"), 9)
    assert entry.method == peers.REGISTRY.make("diffusers.pab:every=3,low=-1,high=1001")


# Operations ----------------------------------------------------------------------------------------------------------


def test_operations_are_a_share_of_the_uncached_run(task: Task) -> None:
    assert flops_share(task, UNCACHED) == flops_share(task, Entry.of("none")) == 1.0
    whole = flops_share(task, Entry.of("fora:every=3"))
    part = flops_share(task, Entry.of("diffusers.pab:every=3,low=-1,high=1001"))
    assert 0.4 < whole < part < 1.0


def test_attention_is_counted_on_the_host(task: Task) -> None:
    query = torch.zeros(2, 3, 5, 7)
    with Operations() as operations:
        nn.functional.scaled_dot_product_attention(query, query, query)
    assert operations.total == 2 * 2 * (2 * 3) * 5 * 5 * 7


def test_what_reads_the_timestep_goes_when_a_cache_is_switched_off() -> None:
    pipe = tiny.flux_pipeline()
    peer = peers.REGISTRY.make("diffusers.pab:every=2")
    peer.enable(pipe, tiny.STEPS)
    assert len(pipe.transformer._forward_pre_hooks) == 1
    peer.disable(pipe)
    assert not pipe.transformer._forward_pre_hooks


def test_taylorseer_is_told_names_unless_its_own_pattern_is_wanted() -> None:
    pipe = tiny.wan_pipeline()
    for written, count in (("diffusers.taylorseer", True), ("diffusers.taylorseer:named=false", False)):
        peer = peers.REGISTRY.make(written)
        peer.enable(pipe, tiny.STEPS)
        hooked = [
            part for part in pipe.transformer.modules() if "taylorseer" in str(getattr(part, "_diffusers_hook", ""))
        ]
        assert bool(hooked) == count
        peer.disable(pipe)


def test_seacache_computes_as_many_steps_first_as_it_is_told() -> None:
    peer = peers.REGISTRY.make("diffusers.seacache:threshold=50,longest=3,warmup=2")
    pipe = tiny.wan_pipeline()
    configuration = peer.configuration(pipe, pipe.transformer, tiny.STEPS)  # type: ignore[attr-defined]
    assert (configuration.retention_steps, configuration.max_consecutive_cached) == (2, 3)
