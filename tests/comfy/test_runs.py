"""One run after another on one model: what a run leaves behind, and what it does not."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.comfy import engine
from tests.comfy.models import FLUX, KINDS, STEPS, WAN, Run, condition, count_calls, draw_noise, error, sample
from torch import Tensor

from padecast import InvalidOption, InvalidPlan, PadecastWarning, Report
from padecast.forecasters import Lagrange
from padecast.integrations import comfy as ours
from padecast.lessons import Library
from padecast.memory.memory import Memory
from padecast.policies import Plan

PLAN = "CC.C.C.C"
LINE = Lagrange(1)


def attach(model: Any, plan: str = PLAN, **options: Any) -> Any:
    return ours.attach(model, policy=Plan(plan), forecaster=LINE, **options)


def report_of(model: Any) -> Report:
    report = ours.report_of(model)
    assert report is not None
    return report


def count_histories() -> int:
    gc.collect()
    return sum(type(each) is Memory and each.nbytes > 0 for each in gc.get_objects())


def test_07_one_model_serves_many_prompts(flux: Any) -> None:
    model = attach(flux)
    first = Run(FLUX)
    second = Run(FLUX, positive=condition(FLUX, 7), noise=draw_noise(FLUX, 5), seed=9)
    for run in (first, second, first):
        assert torch.equal(sample(model, run), sample(attach(flux), run))


@pytest.mark.parametrize("step", range(STEPS))
def test_08_a_run_after_an_interrupted_one_is_a_fresh_one(comfy: Any, flux: Any, step: int) -> None:
    model = attach(flux)
    looks = step == 4  # through all objects there are, which takes a while
    kept = count_histories() if looks else 0

    def interrupt(place: int, *_: Any) -> None:
        if place == step:
            raise comfy.model_management.InterruptProcessingException

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(model, Run(FLUX), interrupt)
    assert not looks or count_histories() == kept
    assert report_of(model).plan == PLAN[: step + 1]
    assert torch.equal(sample(model, Run(FLUX)), sample(attach(flux), Run(FLUX)))


def test_09_sizes_batches_and_lengths_may_change_from_run_to_run(flux: Any) -> None:
    model = ours.attach(flux, "tc-pade:every=3")
    sizes = Run(FLUX, noise=draw_noise(FLUX, shape=(16, 8, 12))), Run(FLUX, noise=draw_noise(FLUX, batch=2))
    for run in (Run(FLUX), *sizes, Run(FLUX, steps=12), Run(FLUX)):
        assert torch.equal(sample(model, run), sample(ours.attach(flux, "tc-pade:every=3"), run))
        assert len(report_of(model).plan) == run.steps


def test_09_a_plan_of_another_length_names_both(flux: Any) -> None:
    with pytest.raises(InvalidPlan, match="this run has 12 steps, the plan 8"):
        sample(attach(flux), Run(FLUX, steps=12))


@pytest.mark.parametrize("name", ["flux", "wan"])
def test_10_images_of_a_batch_are_as_alone(build: Any, name: str) -> None:
    kind = KINDS[name]
    noises = draw_noise(kind, 1), draw_noise(kind, 2)
    both = sample(attach(build(name)), Run(kind, noise=torch.cat(noises)))
    for image, noise in zip(both, noises, strict=True):
        alone = sample(attach(build(name)), Run(kind, noise=noise))
        assert error(image[None], alone) < 1e-4


def test_11_an_image_is_changed_by_a_part_of_the_schedule(flux: Any) -> None:
    run = Run(FLUX, denoise=0.5, latent=draw_noise(FLUX, 4))
    assert torch.equal(sample(attach(flux, "C" * STEPS), run), sample(flux, run))
    model = attach(flux)
    calls = count_calls(model)
    assert error(sample(model, run), sample(flux, run)) < 0.5 and calls.count == 5


def test_11_two_models_share_a_schedule(flux: Any, build: Any) -> None:
    """As KSamplerAdvanced does for the two experts of Wan 2.2: every run has the part that it is given."""
    early, late = Run(FLUX, options={"last_step": 4}), Run(FLUX, options={"start_step": 4})

    def draw(first: Any, second: Any) -> Tensor:
        middle = sample(first, early)
        return sample(second, replace(late, latent=middle, noise=torch.zeros_like(middle)))

    plain = draw(flux, flux)
    assert torch.equal(draw(attach(flux, "CCCC"), attach(flux, "CCCC")), plain)
    models = attach(flux, "CC.C"), attach(flux, "CCC.")
    assert 0 < error(draw(*models), plain) < 0.5
    assert [report_of(model).plan for model in models] == ["CC.C", "CCC."]


def test_12_what_a_mask_leaves_out_stays_as_given(flux: Any) -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    latent = draw_noise(FLUX, 4)
    run = Run(FLUX, latent=latent, options={"denoise_mask": mask})
    assert torch.equal(sample(attach(flux, "C" * STEPS), run), sample(flux, run))
    result = sample(attach(flux), run)
    torch.testing.assert_close(result[..., 4:], latent[..., 4:], rtol=1e-4, atol=1e-4)
    assert error(result[..., :4], latent[..., :4]) > 0.1


def test_13_without_guidance_there_is_one_branch(flux: Any) -> None:
    run, model = Run(FLUX, cfg=1.0), attach(flux)
    assert torch.equal(sample(attach(flux, "C" * STEPS), run), sample(flux, run))
    calls = count_calls(model)
    sample(model, run)
    assert set(calls.batches) == {1} and calls.count == 5 and report_of(model).branches == ("cond",)


def _let_memory_be(comfy: Any, monkeypatch: pytest.MonkeyPatch, free: Callable[[], float]) -> None:
    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "get_free_memory", lambda self, device: free())


@pytest.mark.parametrize("way", ["another length", "no memory", "memory now and then"])
def test_13_conditionings_may_be_batched_or_apart(
    comfy: Any, flux: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    run = Run(FLUX)
    together = sample(attach(flux), run)
    asked = iter(range(10_000))
    if way == "another length":
        run = Run(FLUX, negative=condition(FLUX, 2, length=7))
        together = sample(attach(flux), run)
    else:
        often = 3 if way == "memory now and then" else 1
        _let_memory_be(comfy, monkeypatch, lambda: 1e12 * (next(asked) % often))
    model = attach(flux)
    calls = count_calls(model)
    result = sample(model, run)
    assert 1 in calls.batches and (2 in calls.batches) == (way == "memory now and then")
    assert error(result, together) < 1e-4 and not report_of(model).notes
    if way != "memory now and then":  # which would be asked in another order
        assert torch.equal(sample(attach(flux, "C" * STEPS), run), sample(flux, run))


def test_23_a_clone_does_the_same_and_the_model_is_left_alone(flux: Any) -> None:
    weights = {name: weight.clone() for name, weight in flux.model.state_dict().items()}
    before = {**vars(flux)}, {**flux.model_options}, {**vars(flux.model)}
    model = attach(flux)
    result = sample(model, Run(FLUX))
    clone = model.clone()
    assert torch.equal(sample(clone, Run(FLUX)), result) and report_of(clone).plan == PLAN
    assert not flux.wrappers.get("calc_cond_batch") and "padecast" not in flux.model_options
    assert before[1] == flux.model_options and before[0].keys() == vars(flux).keys()
    assert before[2].keys() == vars(flux.model).keys()
    assert all(torch.equal(weight, flux.model.state_dict()[name]) for name, weight in weights.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_25_nothing_that_is_handed_over_is_changed(build: Any, dtype: torch.dtype) -> None:
    """For flow models in float32 what the model is given is the sampler's own latents."""
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(executor: Any, *args: Any, **kwargs: Any) -> Any:
        tensors = [value for value in args if isinstance(value, Tensor)]
        seen.extend((tensor, tensor.clone()) for tensor in tensors)
        result = executor(*args, **kwargs)
        returned = result if isinstance(result, list) else [result]
        seen.extend((tensor, tensor.clone()) for tensor in returned)
        return result

    model = build("wan").clone()
    model.set_model_compute_dtype(dtype)
    for place in ("predict_noise", "calc_cond_batch", "apply_model"):
        model.add_wrapper_with_key(place, "before", keep)
    model = attach(model)
    for place in ("predict_noise", "calc_cond_batch", "apply_model"):
        model.add_wrapper_with_key(place, "after", keep)
    sample(model, Run(WAN))
    assert len(seen) > 50 and all(torch.equal(tensor, copy) for tensor, copy in seen)


def test_26_the_report_has_counts_bytes_and_times(flux: Any) -> None:
    reports: list[Report] = []
    model = attach(flux, on_run=reports.append)
    sample(model, Run(FLUX))
    (report,) = reports
    assert report == report_of(model) and (report.computed, report.forecast) == (5, 3)
    # Three residuals, which the report's inner products want, of two branches.
    assert report.history_bytes == 3 * 2 * 16 * 8 * 8 * 4
    assert 0 < report.seconds_forecast < report.seconds_computed


def test_26_a_run_that_forecast_nothing_says_so(flux: Any) -> None:
    model = ours.attach(flux, "adaptive")
    with pytest.warns(PadecastWarning, match="nothing was forecast in a run of 2 steps with 'adaptive'"):
        sample(model, Run(FLUX, steps=2))


def test_27_a_history_may_lie_on_the_host_or_be_rounded(flux: Any) -> None:
    usual = sample(attach(flux), Run(FLUX))
    assert torch.equal(sample(attach(flux, offload=True), Run(FLUX)), usual)
    model = attach(flux, dtype=torch.bfloat16)
    kept = count_histories()
    assert 0 < error(sample(model, Run(FLUX)), usual) < 0.05
    assert report_of(model).history_bytes == 3 * 2 * 16 * 8 * 8 * 2
    assert count_histories() == kept


def test_27_a_model_that_is_dropped_is_gone(build: Any) -> None:
    model = attach(build("qwen"))
    sample(model, Run(KINDS["qwen"]))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("method", "fact"),
    [
        ("teacache", "decides by what it sees inside a model"),
        ("toca", "forecasts inside a model"),
    ],
)
def test_a_method_that_a_run_cannot_serve_is_refused(flux: Any, method: str, fact: str) -> None:
    with pytest.raises(InvalidOption, match=fact):
        ours.attach(flux, method)


def test_what_is_no_model_of_comfyui_is_refused() -> None:
    with pytest.raises(InvalidOption, match="a Linear is no model of ComfyUI"):
        ours.attach(torch.nn.Linear(1, 1))


def test_forecasts_may_be_kept_to_a_part_of_the_run(flux: Any) -> None:
    model = ours.attach(flux, "fora:every=5", start=0.25, end=0.75, most=2)
    sample(model, Run(FLUX, steps=16))
    plan = report_of(model).plan
    assert set(plan[:4]) == set(plan[12:]) == {"C"} and ".." in plan and "..." not in plan


@pytest.mark.parametrize("name", sorted(KINDS))
def test_20_every_model_leaves_calls_out(build: Any, name: str) -> None:
    """SD3 has no wrapper around its denoiser, where other caches hook on."""
    model = attach(build(name))
    calls = count_calls(model)
    assert sample(model, Run(KINDS[name])).isfinite().all() and calls.count == 5


def test_the_image_may_be_forecast_instead(flux: Any) -> None:
    plain, velocity = sample(flux, Run(FLUX)), sample(attach(flux), Run(FLUX))
    image = sample(attach(flux, prediction="image"), Run(FLUX))
    assert not torch.equal(image, velocity) and error(image, plain) < 0.5
    assert torch.equal(sample(attach(flux, "C" * STEPS, prediction="image"), Run(FLUX)), plain)


def test_a_run_teaches_those_after_it(flux: Any) -> None:
    library = Library(False)
    run = Run(FLUX, steps=16)
    first, second = (ours.attach(flux, "learned", computed=7, lessons=library) for _ in range(2))
    assert torch.equal(sample(first, run), sample(flux, run))
    assert report_of(first).computed == 16 and "this run taught 1 sample(s) of 16 steps" in str(report_of(first))
    assert 0 < error(sample(second, run), sample(flux, run)) < 0.5
    assert report_of(second).computed == 7 and "planned from 1 run(s)" in str(report_of(second))


def test_a_run_of_windows_teaches_too(build: Any) -> None:
    """Where one level is forecast, nothing says what guidance made of it: the end of the run does."""
    library, node = Library(False), engine.nodes("nodes_context_windows").ContextWindowsManualNode
    run = Run(WAN, steps=12, noise=draw_noise(WAN, shape=(16, 6, 8, 8)))
    windowed = node.execute(build("wan"), 4, 2, "standard_uniform", 1, False, "pyramid", 2, False).args[0]
    computed = []
    for _ in range(2):
        model = ours.attach(windowed, "learned", computed=6, lessons=library)
        sample(model, run)
        computed.append(report_of(model).computed)
    assert computed == [12, 6]


def test_a_lesson_is_of_one_guidance_and_one_lora(flux: Any) -> None:
    library = Library(False)
    key = "diffusion_model.single_blocks.0.linear2.weight"
    patched = flux.clone()
    patched.add_patches({key: ("diff", (torch.full((32, 96), 0.1),))}, 0.5)
    stronger = flux.clone()
    stronger.add_patches({key: ("diff", (torch.full((32, 96), 0.1),))}, 0.7)
    runs = [(flux, 4.0), (flux, 20.0), (patched, 4.0), (stronger, 4.0), (flux, 4.0), (patched, 4.0)]
    computed = []
    for model, cfg in runs:
        attached = ours.attach(model, "learned:near=false", computed=7, lessons=library)
        sample(attached, Run(FLUX, steps=16, cfg=cfg))
        computed.append(report_of(attached).computed)
    assert computed == [16, 16, 16, 16, 7, 7]


def test_an_interrupted_run_teaches_nothing(comfy: Any, flux: Any) -> None:
    model = ours.attach(flux, "learned", computed=7, lessons=Library(False))

    def interrupt(place: int, *_: Any) -> None:
        if place == 12:
            raise comfy.model_management.InterruptProcessingException

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(model, Run(FLUX, steps=16), interrupt)
    assert sample(model, Run(FLUX, steps=16)) is not None and report_of(model).computed == 16
