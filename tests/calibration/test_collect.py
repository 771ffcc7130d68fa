"""What is kept of an uncached run is what its blocks added, and the run is none the wiser."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.calibration.tiny import CASES, STEPS, Case
from tests.lab.tiny import digits
from tests.tiny import LISTS, blocks, dit, dit_pipeline, footprint, loop, sample_dit, sample_wan, wan_pipeline
from torch import Tensor

from padecast import InvalidOption, UnsupportedModel
from padecast.calibration import Statistic
from padecast.calibration.collect import Keeper, watching

Seen = tuple[list[Tensor], list[Tensor]]


def by_hand(pipe: Any, draw: Callable[[], Any]) -> Seen:
    """What the blocks added in every call, and what the scheduler was given at every step, by hooks of our own."""
    stack = [block for name in LISTS for block in blocks(pipe.transformer).get(name, [])]
    entries: list[Tensor] = []
    added: list[Tensor] = []
    given: list[Tensor] = []
    step = pipe.scheduler.step

    def leave(_module: Any, _args: Any, output: Tensor) -> None:
        added.append((output - entries.pop()).flatten(1).double())

    def watched(output: Tensor, *args: Any, **kwargs: Any) -> Any:
        given.append(output.flatten(1).double())
        return step(output, *args, **kwargs)

    hooks = [
        stack[0].register_forward_pre_hook(lambda _module, args: entries.append(args[0].clone())),
        stack[-1].register_forward_hook(leave),
    ]
    pipe.scheduler.step = watched
    draw()
    del pipe.scheduler.step
    for hook in hooks:
        hook.remove()
    return added, given


def gram(rows: list[Tensor]) -> Tensor:
    """Sum over samples of inner products divided by the number of elements; rows are ``(B, n)``."""
    wide = torch.stack(rows, dim=1)
    return torch.einsum("bin,bjn->ij", wide, wide) / wide.shape[2]


def watch(pipe: Any, draw: Callable[[], Any], samples: int = 1, **options: Any) -> tuple[Statistic, Keeper]:
    with watching(pipe, **options) as keeper:
        draw()
    return keeper.statistic(samples), keeper


def assert_close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_calls_of_their_own_are_branches_side_by_side() -> None:
    pipe = wan_pipeline()
    added, given = by_hand(pipe, lambda: sample_wan(pipe, STEPS, guidance_scale=4.0))
    statistic, _ = watch(pipe, lambda: sample_wan(pipe, STEPS, guidance_scale=4.0), span="full")
    cond, uncond = added[0::2], added[1::2]
    assert statistic.branches == ("cond", "uncond") and (statistic.steps, statistic.samples) == (STEPS, 1)
    assert_close(statistic.joint, gram([*cond, *uncond]))
    assert_close(statistic.joint[STEPS:, STEPS:], gram(uncond))
    assert_close(statistic.gram("guided residual"), gram([4 * c - 3 * u for c, u in zip(cond, uncond, strict=True)]))
    assert_close(statistic.gram("guided output"), gram(given))
    torch.testing.assert_close(statistic.shares, torch.tensor([4.0, -3.0]).double(), rtol=1e-3, atol=1e-3)


def test_parts_of_a_batch_are_branches_side_by_side() -> None:
    pipe, seeds = digits(), (3, 7)

    def draw() -> Any:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return pipe(list(seeds), STEPS, guidance_scale=4.0, shift=2.0, generator=generators, output_type="pt")

    pipe.set_progress_bar_config(disable=True)
    added, given = by_hand(pipe, draw)
    statistic, _ = watch(pipe, draw, samples=2, span="full")
    cond, uncond = [r[:2] for r in added], [r[2:] for r in added]
    assert statistic.branches == ("call 1 part 1", "call 1 part 2") and statistic.samples == 2
    assert_close(statistic.joint, gram([*cond, *uncond]))
    assert_close(statistic.gram(), (gram(cond) + gram(uncond)) / 4)
    assert_close(
        statistic.gram("guided residual"), gram([4 * c - 3 * u for c, u in zip(cond, uncond, strict=True)]) / 2
    )
    assert_close(statistic.gram("guided output"), gram(given) / 2)
    torch.testing.assert_close(statistic.shares / 2, torch.tensor([4.0, -3.0]).double(), rtol=1e-3, atol=1e-3)


def test_a_dit_pipeline_has_both_conditionings_in_its_batch() -> None:
    pipe = dit_pipeline()
    added, _ = by_hand(pipe, lambda: sample_dit(pipe, STEPS))
    statistic, _ = watch(pipe, lambda: sample_dit(pipe, STEPS), samples=2, span="full")
    assert_close(statistic.joint, gram([*(r[:2] for r in added), *(r[2:] for r in added)]))


@pytest.mark.parametrize("channels", [4, 8])  # 8: with a learned variance, which the scheduler is not given
def test_the_guidance_of_a_dit_pipeline_is_seen(channels: int) -> None:
    pipe = dit_pipeline(transformer=dit(out_channels=channels))
    statistic, _ = watch(pipe, lambda: sample_dit(pipe, STEPS, guidance_scale=3.0), samples=2)
    torch.testing.assert_close(statistic.shares / 2, torch.tensor([3.0, -2.0]).double(), rtol=1e-3, atol=1e-3)


def test_without_guidance_there_is_one_branch() -> None:
    pipe = digits()
    pipe.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(0)
    statistic, _ = watch(pipe, lambda: pipe([3], STEPS, guidance_scale=1.0, generator=noise, output_type="pt"))
    assert statistic.branches == ("call 1",) and statistic.kinds == ("residual", "guided output")
    torch.testing.assert_close(statistic.shares, torch.ones(1).double())


def test_strides_are_shares_of_the_noise_levels() -> None:
    pipe = wan_pipeline()
    _, keeper = watch(pipe, lambda: sample_wan(pipe, STEPS))
    sigmas = pipe.scheduler.sigmas.double()
    expected = (sigmas[:-1] - sigmas[1:]).abs() / (sigmas[:-1] - sigmas[1:]).abs().sum()
    torch.testing.assert_close(torch.tensor(keeper.strides).double(), expected, rtol=1e-5, atol=1e-6)


def test_a_watched_run_is_bit_identical_and_leaves_nothing_behind(case: Case) -> None:
    pipe = case.make()
    pipe.set_progress_bar_config(disable=True)
    untouched = case.call(pipe, 3)
    before, scheduler = footprint(pipe.transformer), set(vars(pipe.scheduler))
    with watching(pipe) as keeper:
        assert footprint(pipe.transformer) != before and "step" in vars(pipe.scheduler)
        assert torch.equal(case.call(pipe, 3), untouched)
    assert keeper.statistic(1).branches == case.branches
    assert footprint(pipe.transformer) == before and set(vars(pipe.scheduler)) == scheduler
    assert torch.equal(case.call(pipe, 3), untouched)


def test_nothing_is_left_behind_after_an_error(case: Case) -> None:
    pipe = case.make()
    pipe.set_progress_bar_config(disable=True)
    untouched = case.call(pipe, 3)
    before, scheduler, broken = footprint(pipe.transformer), set(vars(pipe.scheduler)), [0]

    def fail(_module: Any, _args: Any, _output: Any) -> None:
        broken[0] += 1
        if broken[0] == 4:
            raise RuntimeError("out of memory")

    hook = pipe.transformer.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"), watching(pipe):
        case.call(pipe, 3)
    hook.remove()
    assert footprint(pipe.transformer) == before and set(vars(pipe.scheduler)) == scheduler
    assert torch.equal(case.call(pipe, 3), untouched)


@pytest.mark.parametrize("span", ["nothing", "blokcs"])
def test_an_unknown_span_leaves_nothing_behind(span: str) -> None:
    pipe = wan_pipeline()
    before = footprint(pipe.transformer)
    with pytest.raises(KeyError, match="span"), watching(pipe, span):
        pass
    assert footprint(pipe.transformer) == before and "step" not in vars(pipe.scheduler)


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"start": 3}, "'call 1': '5 of 8'"),  # as image-to-image with a strength below 1
        ({"guided": lambda i: i < 4}, "'call 2': '4 of 8'"),
    ],
)
def test_a_run_that_does_not_visit_every_step_alike_is_refused(options: dict[str, Any], seen: str) -> None:
    pipe = loop()
    with watching(pipe) as keeper:
        pipe(**options)
    with pytest.raises(InvalidOption, match=seen):
        keeper.statistic(1)


def test_a_call_that_never_runs_the_model_is_refused() -> None:
    with watching(wan_pipeline()) as keeper:
        pass
    with pytest.raises(InvalidOption, match="none of any"):
        keeper.statistic(1)


def test_a_model_alone_and_one_that_has_a_second_transformer_are_refused() -> None:
    with pytest.raises(InvalidOption, match="without a scheduler"), watching(dit()):
        pass
    pipe = wan_pipeline()
    pipe.transformer_2 = copy.deepcopy(pipe.transformer)
    with pytest.raises(UnsupportedModel, match="2 transformers"), watching(pipe):
        pass


def test_the_latest_run_is_kept() -> None:
    pipe = wan_pipeline()
    alone, _ = watch(pipe, lambda: sample_wan(pipe, STEPS, seed=1))
    both, keeper = watch(pipe, lambda: (sample_wan(pipe, STEPS + 2, seed=0), sample_wan(pipe, STEPS, seed=1)))
    assert torch.equal(both.joint, alone.joint) and torch.equal(both.output, alone.output)
    assert keeper.total == STEPS


def test_projected_features_say_nearly_the_same_as_exact_ones() -> None:
    pipe, size = wan_pipeline(), 1021

    def draw() -> Any:
        return sample_wan(pipe, STEPS, size=128)

    exact, whole = watch(pipe, draw, size=0)
    folded, keeper = watch(pipe, draw, size=size)
    assert (whole.size, keeper.size) == (0, size) and keeper.numel == whole.numel > size
    assert folded.branches == exact.branches
    for one, other in ((folded.joint, exact.joint), (folded.output, exact.output)):
        scale = other.diagonal().sqrt()
        assert ((one - other).abs() / torch.outer(scale, scale)).max() < 5 * (2 / size) ** 0.5
        assert not torch.equal(one, other)
    assert torch.equal(folded.shares, exact.shares)


def test_a_projection_larger_than_the_features_is_none() -> None:
    pipe = wan_pipeline()
    exact, _ = watch(pipe, lambda: sample_wan(pipe, STEPS), size=0)
    same, keeper = watch(pipe, lambda: sample_wan(pipe, STEPS), size=10_000)
    assert keeper.size == 0 and torch.equal(same.joint, exact.joint)


BOUNDED = CASES


@pytest.mark.parametrize("case", BOUNDED, ids=str)
@pytest.mark.parametrize("size", [31, 97])
def test_what_is_kept_of_a_run_is_bounded(case: Case, size: int) -> None:
    pipe = case.make()
    pipe.set_progress_bar_config(disable=True)
    _, keeper = watch(pipe, lambda: case.call(pipe, 3), size=size)
    most = STEPS * (len(case.branches) + 1) * size * 4
    assert most / 2 < keeper.bytes <= most


def test_features_are_projected_where_they_would_take_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    from padecast.calibration import collect

    pipe = wan_pipeline()
    _, exact = watch(pipe, lambda: sample_wan(pipe, STEPS))
    assert exact.size == 0
    monkeypatch.setattr(collect, "EXACT_BYTES", 4 * exact.numel * STEPS - 1)
    monkeypatch.setattr(collect, "SIZE", 61)
    _, folded = watch(pipe, lambda: sample_wan(pipe, STEPS))
    assert folded.size == 61 and folded.bytes < exact.bytes
    monkeypatch.setattr(collect, "EXACT_BYTES", 4 * exact.numel * STEPS)
    _, again = watch(pipe, lambda: sample_wan(pipe, STEPS))
    assert again.size == 0
