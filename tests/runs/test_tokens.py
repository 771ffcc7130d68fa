"""Modules that are repeated but for chosen tokens: the method toca, in every way that models are run."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline
from tests.representative import representative
from tests.tiny import (
    FAMILIES,
    Family,
    blocks,
    dit,
    dit_pipeline,
    flux,
    flux_pipeline,
    footprint,
    loop,
    quiet,
    sample_dit,
    sample_flux,
    sample_wan,
    wan_pipeline,
)
from torch import Tensor, nn

import padecast
from padecast import InvalidOption, PadecastWarning, Session, UnsupportedModel, accelerate, targets
from padecast.forecasters import Reuse, ToCa
from padecast.forecasters.toca import Renewal
from padecast.policies import Plan
from padecast.targets import HIDDEN, Target

every_family = pytest.mark.parametrize("family", representative(FAMILIES, ["dit", "wan"]), ids=str)
STEPS = 5
HALF = "toca:fraction=0.5,every=3"
LISTS = {"dit": "transformer_blocks", "flux": "transformer_blocks", "wan": "blocks"}
CALLED = {"dit": ["ff"], "flux": ["ff", "ff_context"], "wan": ["ffn", "attn2"]}
"""Modules of the first block that treat every token by itself."""


class Seen:
    """What a module was given and returned at every call, and the module as it was before."""

    def __init__(self, module: nn.Module) -> None:
        self.own, self.calls = module.forward, list[tuple[Tensor, Any, Tensor]]()
        self.hook = module.register_forward_hook(self._note, with_kwargs=True)

    def _note(self, _: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
        self.calls.append((args[0].clone(), (args[1:], kwargs), output.clone()))

    def changed(self, call: int, before: int) -> Tensor:
        """Which tokens differ between two calls' outputs, ``(B, N)``."""
        return (self.calls[call][2] != self.calls[before][2]).any(-1)


# What is computed and what is repeated --------------------------------------------------------------------------------


@every_family
def test_a_fraction_of_one_is_the_untouched_run(family: Family) -> None:
    pipe = family.make()
    untouched = family.sample(pipe, STEPS)
    before = footprint(pipe.transformer)
    with accelerate(pipe, "toca:fraction=1,every=3") as run:
        assert torch.equal(family.sample(pipe, STEPS), untouched)
    assert (run.report.plan, run.report.notes) == ("C..CC", {})
    assert footprint(pipe.transformer) == before and torch.equal(family.sample(pipe, STEPS), untouched)


@every_family
def test_a_fraction_of_zero_repeats_every_module(family: Family) -> None:
    pipe = family.make()
    with accelerate(pipe, "toca:fraction=0,every=3"):
        none = family.sample(pipe, STEPS)
    with accelerate(pipe, "fora:span=modules,every=3"):
        assert torch.equal(family.sample(pipe, STEPS), none)
    with accelerate(pipe, HALF):
        assert not torch.equal(family.sample(pipe, STEPS), none)


@pytest.mark.parametrize(("family", "name"), [(f, n) for f in FAMILIES for n in CALLED[f.name]], ids=str)
def test_chosen_tokens_are_what_the_module_computes_and_the_others_what_it_returned_before(
    family: Family, name: str
) -> None:
    pipe = family.make()
    seen = Seen(getattr(blocks(pipe.transformer)[LISTS[family.name]][0], name))
    with accelerate(pipe, policy=Plan("C..C."), forecaster=ToCa(0.4), span="modules"):
        family.sample(pipe, STEPS)
    seen.hook.remove()
    for step in (1, 2, 4):
        at, before = step * family.branches, (step - 1) * family.branches
        x, (args, kwargs), output = seen.calls[at]
        with torch.no_grad():
            computed = seen.own(x, *args, **kwargs)
        chosen, own = seen.changed(at, before), torch.isclose(output, computed, rtol=1e-5, atol=1e-6).all(-1)
        assert chosen.sum(1).tolist() == [-(-2 * x.shape[1] // 5)] * len(x)  # and what they become is remembered
        assert own[chosen].all() and not own.all()


def test_a_feed_forward_network_is_run_on_the_chosen_tokens_alone() -> None:
    pipe, tokens = dit_pipeline(), []
    inner = pipe.transformer.transformer_blocks[1].ff.net[2]
    hook = inner.register_forward_hook(lambda _m, args, _y: tokens.append(args[0].shape[1]))
    with accelerate(pipe, "toca:fraction=0.25,every=3"):
        sample_dit(pipe, STEPS)
    hook.remove()
    assert tokens == [16, 4, 4, 16, 16]


def test_more_tokens_bring_the_image_nearer() -> None:
    pipe = wan_pipeline()
    untouched, errors = sample_wan(pipe, 6), []
    for fraction in (0, 0.4, 0.8):
        with accelerate(pipe, f"toca:fraction={fraction},every=3"):
            errors.append(float((sample_wan(pipe, 6) - untouched).abs().mean()))
    assert errors[0] > errors[1] > errors[2]


# Ages -----------------------------------------------------------------------------------------------------------------


class Youngest(ToCa):
    """A rule that must not be: it computes what was computed just now."""

    def choose(self, tokens: Any) -> Tensor:
        return (-tokens.age).argsort(stable=True, dim=1, descending=True)[:, :1]


def ages(rule: ToCa, steps: int) -> list[list[float]]:
    renewal, found = Renewal(rule, alone=True), []
    for _ in range(steps):
        renewal.choose("a", ("", 0), torch.zeros(1, 3, 2), (3,))
        found.append(renewal._ages["a"][0].tolist())
    return found


def test_tokens_age_until_they_are_chosen() -> None:
    one = ToCa(0.3, spread=0)
    first, second, third, fourth = ages(one, 4)
    assert sorted(first) == [0, 1, 1] and sorted(second) == [0, 1, 2] and sorted(third) == [0, 1, 2]
    assert fourth.index(0) == first.index(0)  # it is its turn again
    assert ages(Youngest(0.3), 3)[-1] == [0, 3, 3], "the test above would notice a wrong sign"


def test_what_is_computed_whole_is_young_again_and_modules_age_apart() -> None:
    renewal, x = Renewal(ToCa(0.3), alone=True), torch.zeros(1, 3, 2)
    for key in ("a", "b", "a"):
        renewal.choose(key, ("", 0), x, (3,))
    assert max(renewal._ages["a"][0]) == 2 and max(renewal._ages["b"][0]) == 1
    renewal.learn("a")
    renewal.choose("a", ("", 0), x, (3,))
    assert max(renewal._ages["a"][0]) == 1
    assert renewal.nbytes == 2 * 3 * 4
    renewal.clear()
    assert renewal.nbytes == 0


def test_what_was_seen_of_streams_of_another_size_does_not_count() -> None:
    renewal = Renewal(ToCa(0.3, spread=0, staleness=0), alone=True)
    renewal.note(("cond", 1), {3: torch.tensor([[0.0, 0.0, 9.0]])}, {3: torch.zeros(2, 3)})
    wide, x = torch.zeros(2, 3, 2), torch.zeros(1, 3, 2)
    assert renewal.choose("a", ("cond", 1), x, (3,)).tolist() == [[2]]
    others = [renewal.choose(key, block, like, (3,)) for key, block, like in [
        ("b", ("uncond", 1), x), ("c", ("cond", 2), x), ("d", ("cond", 1), wide)]]  # fmt: skip
    assert all(2 not in tokens for tokens in others)


# What attentions show -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "influence", "control"),
    [(FAMILIES[0], [16], []), (FAMILIES[1], [5, 16, 21], []), (FAMILIES[2], [8], [8])],
    ids=str,  # of lists: how a set is written may differ between the processes of a test run
)
def test_attentions_of_every_block_and_branch_are_seen(
    family: Family, influence: list[int], control: list[int]
) -> None:
    pipe = family.make()
    with accelerate(pipe, HALF) as run:
        session = run._attachments[0]._make_session(3)
        run._attachments[0]._make_session = lambda _: session
        seen: list[set[tuple[str, int, int]]] = []
        session.close = lambda: seen.extend(map(set, (session.state._influence, session.state._control)))  # type: ignore[method-assign]
        family.sample(pipe, 3)
    count = sum(len(listed) for name, listed in pipe.transformer.named_children() if name.endswith("blocks"))
    assert len({key[:2] for kind in seen for key in kind}) == family.branches * count
    assert [{size for _, _, size in kind} for kind in seen[:2]] == [set(influence), set(control)]


def test_the_tokens_that_others_look_at_are_those_computed() -> None:
    """Without the other terms: the highest column sums of the block's attention at the computed step."""
    pipe, maps = dit_pipeline(), []
    block = pipe.transformer.transformer_blocks[0]
    parts: dict[str, Tensor] = {}
    hooks = [
        getattr(block.attn1, name).register_forward_hook(lambda _m, _a, y, name=name: parts.update({name: y}))
        for name in ("to_q", "to_k")
    ]
    hooks.append(block.attn1.register_forward_hook(lambda *_: maps.append(dict(parts))))
    seen = Seen(block.ff)
    with accelerate(pipe, policy=Plan("C."), forecaster=ToCa(0.25, staleness=0, spread=0), span="modules"):
        sample_dit(pipe, 2)
    for hook in (*hooks, seen.hook):
        hook.remove()
    query, key = (maps[0][name].unflatten(-1, (2, 8)).transpose(1, 2) for name in ("to_q", "to_k"))
    sums = (query @ key.transpose(-1, -2) / 8**0.5).softmax(-1).mean(1).sum(1)
    expected = torch.zeros(sums.shape, dtype=torch.bool).scatter(1, sums.topk(4).indices, True)
    assert torch.equal(seen.changed(1, 0), expected)


# Runs -----------------------------------------------------------------------------------------------------------------


@every_family
def test_the_next_run_is_that_of_a_fresh_pipeline_whatever_came_before(family: Family) -> None:
    pipe, left = family.make(), iter(range(0))

    def fail(*_: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with accelerate(pipe, HALF) as run:
        expected = family.sample(pipe, STEPS)
        left = iter(range(2 * family.branches))
        hook = blocks(pipe.transformer)[LISTS[family.name]][1].register_forward_pre_hook(fail)
        with pytest.raises(KeyboardInterrupt):
            family.sample(pipe, STEPS)
        hook.remove()
        assert torch.equal(family.sample(pipe, STEPS), expected)
    assert run.report.notes == {}


def test_an_image_does_not_depend_on_its_batch_mates() -> None:
    pipe, labels = dit_pipeline(), (3, 7, 900)
    with accelerate(pipe, HALF):
        together = sample_dit(pipe, STEPS, labels=labels)
        alone = torch.cat([sample_dit(pipe, STEPS, labels=(label,)) for label in labels])
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-5)  # as in test_batches


def test_branches_choose_for_themselves() -> None:
    """Two calls a step, with and without names: every branch gets what it gets alone."""
    model, draw = flux(), torch.Generator().manual_seed(1)
    text = {name: torch.randn(1, 5, 8, generator=draw) for name in ("cond", "uncond")}
    walk = torch.randn(STEPS, 1, 9, 4, generator=draw)
    rest = {"pooled_projections": torch.ones(1, 8), "img_ids": torch.zeros(9, 3), "txt_ids": torch.zeros(5, 3)}

    def run(*names: str, named: bool) -> dict[str, list[Tensor]]:
        got: dict[str, list[Tensor]] = {name: [] for name in names}
        with torch.no_grad(), accelerate(model, HALF, steps=STEPS):
            for step, time in enumerate(torch.linspace(1, 0.1, STEPS)):
                for name in names:
                    with model.cache_context(name) if named else torch.no_grad():
                        y = model(walk[step], text[name], timestep=time.expand(1), **rest).sample
                    got[name].append(y)
        return got

    for named in (True, False):
        together = run("cond", "uncond", named=named)
        for name in text:
            alone = run(name, named=named)[name]
            assert all(torch.equal(a, b) for a, b in zip(together[name], alone, strict=True))


def test_pipelines_that_share_weights_run_at_once() -> None:
    one = flux_pipeline()
    pipes = [one, quiet(FluxPipeline.from_pipe(one, scheduler=copy.deepcopy(one.scheduler)))]
    barrier, together = threading.Barrier(2), False
    runs = ({"steps": 3, "true_cfg_scale": 3.0}, {"steps": 6, "true_cfg_scale": 1.0})

    def meet(*_: Any) -> None:
        if together:
            barrier.wait(60)

    handles = [accelerate(pipe, "toca:fraction=0.5,every=2").enable() for pipe in pipes]
    alone = [sample_flux(pipe, **run) for pipe, run in zip(pipes, runs, strict=True)]
    hook, together = one.transformer.register_forward_pre_hook(meet), True
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(sample_flux, pipe, **run) for pipe, run in zip(pipes, runs, strict=True)]
        images = [future.result(60) for future in futures]
    hook.remove()
    assert all(torch.equal(image, own) for image, own in zip(images, alone, strict=True))
    for handle in handles:
        handle.disable()


def test_two_threads_one_after_the_other() -> None:
    pipe = loop()
    with accelerate(pipe, HALF), ThreadPoolExecutor(1) as pool:
        expected = pipe(STEPS)
        assert torch.equal(pool.submit(pipe, STEPS).result(60), expected)


@pytest.mark.parametrize("options", [{"dtype": torch.bfloat16}, {"dtype": torch.float8_e4m3fn}, {"offload": True}])
def test_histories_in_another_place_or_dtype(options: dict[str, Any]) -> None:
    pipe = dit_pipeline()
    with accelerate(pipe, HALF):
        expected = sample_dit(pipe, STEPS)
    with accelerate(pipe, HALF, **options) as run:
        image = sample_dit(pipe, STEPS)
    tolerance = {"bfloat16": 0.02, "float8_e4m3fn": 0.3}.get(str(options.get("dtype")).removeprefix("torch."), 0.0)
    assert float((image - expected).abs().mean()) <= tolerance and run.report.notes == {}


def test_the_report_counts_what_is_remembered_of_tokens() -> None:
    pipe, sizes = dit_pipeline(), []
    for method in ("fora:span=modules,every=3", HALF):
        with accelerate(pipe, method) as run:
            sample_dit(pipe, STEPS)
        sizes.append(run.report.history_bytes)
    assert sizes[1] - sizes[0] == 3 * 4 * 16 * 4 * 2  # 3 blocks, 4 samples, 16 tokens: an age and a column sum each


def test_a_model_that_computes_with_gradients_learns_as_usual() -> None:
    model = dit()
    x, label = torch.ones(1, 4, 8, 8), torch.tensor([3])
    with accelerate(model, HALF, steps=3):
        for time in (900, 600):
            model(x, timestep=torch.tensor([time]), class_labels=label)
        with pytest.warns(PadecastWarning, match="gradients were asked for"):
            y = model(x, timestep=torch.tensor([300]), class_labels=label).sample
    y.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


# What cannot be -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("span", ["full", "rest", "halves", "output"])
def test_another_span_is_refused(span: str) -> None:
    pipe = dit_pipeline()
    before = footprint(pipe.transformer)
    with pytest.raises(InvalidOption, match=rf"span='{span}' has no modules.*\n.*span=\"modules\""):
        accelerate(pipe, f"toca:span={span}").enable()
    assert footprint(pipe.transformer) == before
    with accelerate(pipe, f"toca:fraction=0,every=1,span={span}"):
        sample_dit(pipe, 2)  # that is reuse, which has any span


class Mixer(nn.Module):
    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            self.add_module(name, nn.Identity())

    def forward(self, hidden_states: Tensor) -> Tensor:
        return hidden_states


class Model(nn.Module):
    def __init__(self, *names: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Mixer(*names)])

    def forward(self, hidden_states: Tensor, timestep: Tensor) -> Tensor:
        return self.layers[0](hidden_states)


@pytest.mark.parametrize(
    ("names", "samples", "message"),
    [
        (("mixer",), 0, "no attention and no feed-forward network is known"),
        (("attn",), 0, "no feed-forward network over tokens is known in this Model"),
        (("attn", "ff"), 1, "no feed-forward network over tokens is known in this Model"),
    ],
)
def test_models_whose_modules_are_not_known(
    names: tuple[str, ...], samples: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(targets.REGISTRY, "Model", Target("Model", {"layers": HIDDEN}, samples=samples))
    with pytest.raises(UnsupportedModel, match=message):
        accelerate(Model(*names), "toca", steps=4).enable()


def test_a_session_without_a_model_repeats() -> None:
    session = Session(Plan("C."), ToCa(), 2)
    for step in range(2):
        x = torch.zeros(1, 4, 2)
        out = session.step(x, index=step, compute=lambda x=x, step=step: x + 1 + step)
    assert torch.equal(out, x + 1)


def test_it_is_a_policy_a_forecaster_and_a_span() -> None:
    made = padecast.method("toca:every=5,fraction=0.2")
    assert (made.policy.every, made.forecaster, made.span) == (5, ToCa(0.2), "modules")  # type: ignore[attr-defined]
    assert Reuse().extra is None and ToCa(0.0).extra is None
