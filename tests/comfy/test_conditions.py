"""What may act on a prediction: several prompts, areas, ControlNets, guidance of other kinds, windows, LoRAs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.comfy import engine
from tests.comfy.models import FLUX, STEPS, WAN, Run, condition, count_calls, draw_noise, error, sample
from tests.representative import representative
from torch import Tensor

from padecast import PadecastWarning, Report
from padecast.forecasters import Lagrange
from padecast.integrations import comfy as ours
from padecast.policies import Plan

PLAN, ALL = "CC.C.C.C", "C" * STEPS


def attach(model: Any, plan: str = PLAN) -> Any:
    return ours.attach(model, policy=Plan(plan), forecaster=Lagrange(1))


def report_of(model: Any) -> Report:
    report = ours.report_of(model)
    assert report is not None
    return report


def join(*parts: list[list[Any]]) -> list[list[Any]]:
    return [entry for part in parts for entry in part]


AREAS = join(condition(FLUX, 1), condition(FLUX, 5, area=(8, 4, 0, 4), strength=0.7))
PROMPTS = join(condition(FLUX, 1), condition(FLUX, 5))


@pytest.mark.parametrize("positive", [AREAS, PROMPTS], ids=["area", "two prompts"])
def test_14_prompts_that_are_composed_share_a_decision(flux: Any, positive: list[list[Any]]) -> None:
    run = Run(FLUX, positive=positive)
    plain = sample(flux, run)
    assert torch.equal(sample(attach(flux, ALL), run), plain)
    model = attach(flux)
    result = sample(model, run)
    assert report_of(model).branches == ("cond", "uncond") and report_of(model).plan == PLAN
    assert 0 < error(result, plain) < 0.5


def test_15_a_prompt_that_changes_is_computed_there(flux: Any) -> None:
    positive = join(condition(FLUX, 1, start_percent=0.0, end_percent=0.45), condition(FLUX, 5, start_percent=0.45))
    run = Run(FLUX, positive=positive)
    assert torch.equal(sample(attach(flux, ALL), run), sample(flux, run))
    model = attach(flux, "CCC.....")
    result = sample(model, run)
    assert error(result, sample(flux, run)) < 0.6
    changed = [where for where, why in report_of(model).notes.items() if "what acts on this branch changed" in why]
    assert changed == ["step 4, cond"] and report_of(model).plan == "CCC.C..."


def make_control(comfy: Any, seed: int = 3) -> Any:
    """Return a ControlNet of ComfyUI's own kind, whose network is a fixed picture of features."""

    class Control(comfy.controlnet.ControlBase):  # type: ignore[misc]
        calls = 0

        def get_control(self, x: Tensor, t: Tensor, cond: Any, count: int, options: Any) -> Any:
            before = self.previous_controlnet
            previous = None if before is None else before.get_control(x, t, cond, count, options)
            start, end = self.timestep_range
            if t[0] > start or t[0] < end:
                return previous
            type(self).calls += 1
            draw = torch.Generator().manual_seed(seed)
            features = [torch.randn(1, 16, 32, generator=draw).repeat(len(x), 1, 1) * 2]
            return self.control_merge({"input": features, "output": []}, previous, x.dtype)

        def copy(self) -> Any:
            return self

        def get_models(self) -> list[Any]:
            return []

    return Control()


def hold(control: Any, seed: int, start: float = 0.0, end: float = 1.0) -> list[list[Any]]:
    """Return conditioning with a ControlNet."""
    control.set_cond_hint(torch.zeros(1, 3, 64, 64), 1.0, (start, end))
    return condition(FLUX, seed, control=control, control_apply_to_uncond=False)


def test_15_a_controlnet_that_ends_is_not_forecast_across_its_end(comfy: Any, flux: Any) -> None:
    run = Run(FLUX, positive=hold(make_control(comfy), 1, end=0.45))
    plain = sample(flux, run)
    assert torch.equal(sample(attach(flux, ALL), run), plain)
    model = attach(flux, "CCC.....")
    sample(model, run)
    changed = [where for where, why in report_of(model).notes.items() if "what acts on this branch changed" in why]
    assert changed == ["step 4, cond"]


def test_16_a_controlnet_runs_at_computed_steps_alone(comfy: Any, flux: Any) -> None:
    control = make_control(comfy)
    run = Run(FLUX, positive=hold(control, 1))
    plain = sample(flux, run)
    assert type(control).calls == STEPS and error(plain, sample(flux, Run(FLUX))) > 0.05
    type(control).calls = 0
    model = attach(flux)
    result = sample(model, run)
    assert type(control).calls == 5 and not report_of(model).notes
    # Added once: what is forecast is the prediction that has it.
    assert error(result, plain) < 2 * error(sample(attach(flux), Run(FLUX)), sample(flux, Run(FLUX)))


def add_slg(model: Any) -> Any:
    node = engine.nodes("nodes_slg").SkipLayerGuidanceDiT
    return node.execute(model, 2.0, 0.0, 1.0, double_layers="", single_layers="1").args[0]  # the last block


def add_pag(model: Any) -> Any:
    return engine.nodes("nodes_pag").PerturbedAttentionGuidance.execute(model, 2.0).args[0]


@pytest.mark.parametrize("add", [add_slg, add_pag])
@pytest.mark.parametrize("first", ["node", "padecast"])
def test_17_further_guidance_is_a_branch_of_its_own(flux: Any, add: Callable[[Any], Any], first: str) -> None:
    def both(plan: str) -> Any:
        return attach(add(flux), plan) if first == "node" else add(attach(flux, plan))

    plain = sample(add(flux), Run(FLUX))
    assert torch.equal(sample(both(ALL), Run(FLUX)), plain)
    model = both(PLAN)
    calls = count_calls(model)
    result = sample(model, Run(FLUX))
    assert calls.count == 10 and error(result, plain) < 0.5  # of 16
    assert report_of(model).branches == ("cond", "uncond", "call 2, cond")
    assert not report_of(model).notes


@pytest.mark.parametrize("sampler", ["euler_cfg_pp", "dpmpp_2m_cfg_pp", "res_multistep_cfg_pp"])
def test_18_samplers_of_cfg_pp_see_both_predictions(flux: Any, sampler: str) -> None:
    run = Run(FLUX, sampler, cfg=1.5)
    plain = sample(flux, run)
    assert torch.equal(sample(attach(flux, ALL), run), plain)
    euler = Run(FLUX, cfg=1.5)
    usual = error(sample(attach(flux), euler), sample(flux, euler))
    # These take longer strides; a stale prediction would be several times as far off.
    assert error(sample(attach(flux), run), plain) < 3 * usual


def add_windows(model: Any, schedule: str) -> Any:
    node = engine.nodes("nodes_context_windows").ContextWindowsManualNode
    return node.execute(model, 4, 2, schedule, 1, schedule == "looped_uniform", "pyramid", 2, False).args[0]


LONG = Run(WAN, noise=draw_noise(WAN, shape=(16, 10, 8, 8)))


@pytest.mark.parametrize(
    "schedule", representative(["standard_static", "standard_uniform", "looped_uniform"], ["standard_uniform"])
)
def test_19_what_windows_compose_is_forecast_as_a_whole(build: Any, schedule: str) -> None:
    wan = build("wan")
    plain = sample(add_windows(wan, schedule), LONG)
    assert torch.equal(sample(attach(add_windows(wan, schedule), ALL), LONG), plain)
    model = add_windows(attach(wan), schedule)
    calls = count_calls(model)
    result = sample(model, LONG)
    static = error(
        sample(attach(add_windows(wan, "standard_static")), LONG), sample(add_windows(wan, "standard_static"), LONG)
    )
    assert report_of(model).branches == ("guided",) and report_of(model).plan == PLAN
    assert calls.count < 0.7 * STEPS * 5 and error(result, plain) < 2 * static


def test_19_windows_with_cfg_pp_are_computed_and_said(build: Any) -> None:
    run = replace(LONG, sampler="euler_cfg_pp")
    model = attach(add_windows(build("wan"), "standard_uniform"))
    with pytest.warns(PadecastWarning, match="this sampler looks into guidance") as caught:
        result = sample(model, run)
    assert len(caught) == 1 and torch.equal(result, sample(add_windows(build("wan"), "standard_uniform"), run))
    assert "looks into guidance" in report_of(model).remarks[0]


KEY = "diffusion_model.single_blocks.0.linear2.weight"


def _difference(model: Any) -> Tensor:
    shape = model.model.state_dict()[KEY].shape
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.2


@pytest.mark.parametrize("first", ["lora", "padecast"])
def test_22_a_lora_may_come_before_or_after(flux: Any, first: str) -> None:
    def add(model: Any) -> Any:
        clone = model.clone()
        clone.add_patches({KEY: ("diff", (_difference(flux),))}, 0.5)
        return clone

    plain = sample(add(flux), Run(FLUX))
    assert error(plain, sample(flux, Run(FLUX))) > 0.05
    for plan in (ALL, PLAN):
        model = attach(add(flux), plan) if first == "lora" else add(attach(flux, plan))
        result = sample(model, Run(FLUX))
        assert torch.equal(result, plain) if plan == ALL else 0 < error(result, plain) < 0.5


def test_22_a_scheduled_lora_begins_anew_at_its_keyframes(comfy: Any, flux: Any) -> None:
    def prompt() -> list[list[Any]]:
        weights = {KEY: ("diff", (_difference(flux),))}
        hooks = comfy.hooks.create_hook_lora(weights, 1.0, 1.0)
        frames = comfy.hooks.HookKeyframeGroup()
        for strength, start in ((1.0, 0.0), (0.2, 0.45)):
            frames.add(comfy.hooks.HookKeyframe(strength, start))
        for hook in hooks.hooks:
            hook.need_weight_init = False
        hooks.set_keyframes_on_hooks(frames)
        return condition(FLUX, 1, hooks=hooks)

    run = Run(FLUX, positive=prompt())
    plain = sample(flux, run)
    assert error(plain, sample(flux, Run(FLUX))) > 0.05
    assert torch.equal(sample(attach(flux, ALL), replace(run, positive=prompt())), plain)
    model = attach(flux, "CCC.....")
    sample(model, replace(run, positive=prompt()))
    changed = [where for where, why in report_of(model).notes.items() if "what acts on this branch changed" in why]
    assert changed == ["step 4, cond"]


def add_cache(model: Any, name: str) -> Any:
    node = getattr(engine.nodes("nodes_easycache"), f"{name}Node")
    return node.execute(model, 0.2, 0.15, 0.95, False).args[0]


@pytest.mark.parametrize("name", ["EasyCache", "LazyCache"])
@pytest.mark.parametrize("first", ["cache", "padecast"])
def test_24_another_cache_is_left_to_itself(flux: Any, name: str, first: str) -> None:
    model = attach(add_cache(flux, name)) if first == "cache" else add_cache(attach(flux), name)
    with pytest.warns(PadecastWarning, match=f"does nothing in this run: {name} is on this model") as caught:
        result = sample(model, Run(FLUX))
    assert len(caught) == 1 and torch.equal(result, sample(add_cache(flux, name), Run(FLUX)))


def test_24_the_first_of_two_is_used(flux: Any) -> None:
    model = attach(attach(flux), "CCCCC...")
    with pytest.warns(PadecastWarning, match="another padecast is on this model") as caught:
        result = sample(model, Run(FLUX))
    assert len(caught) == 1 and torch.equal(result, sample(attach(flux), Run(FLUX)))
    assert report_of(model).plan == PLAN


@pytest.mark.slow  # a minute each: models are traced twice
@pytest.mark.parametrize("first", ["compile", "padecast"])
def test_21_a_compiled_model_has_one_graph(flux: Any, first: str) -> None:
    graphs = []

    def backend(module: Any, inputs: Any, **_: Any) -> Any:
        graphs.append(module)
        return module.forward

    def add(model: Any) -> Any:
        return engine.nodes("nodes_torch_compile").TorchCompileModel.execute(model, backend).args[0]

    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = sample(add(flux), Run(FLUX))
        alone, counts = len(graphs), []
        torch._dynamo.reset()
        graphs.clear()
        model = attach(add(flux)) if first == "compile" else add(attach(flux))
        for _ in range(2):
            result = sample(model, Run(FLUX))
            counts.append(len(graphs))
    assert counts == [alone, alone] and error(result, plain) < 0.5
    assert report_of(model).plan == PLAN
