"""Every sampler of ComfyUI: what is computed, what is forecast, and what is known before a run."""

from __future__ import annotations

import time
import warnings
from typing import Any

import pytest
import torch
from tests.comfy.models import FLUX, STEPS, Run, count_calls, error, sample
from tests.representative import representative

from padecast import PadecastWarning, Rehearsal
from padecast.forecasters import Lagrange, Reuse, TCPade
from padecast.integrations import comfy as ours
from padecast.integrations.comfy.settings import rehearse_sampler
from padecast.policies import Plan

SAMPLERS = [
    "euler",
    "euler_cfg_pp",
    "euler_ancestral",
    "euler_ancestral_cfg_pp",
    "heun",
    "heunpp2",
    "exp_heun_2_x0",
    "exp_heun_2_x0_sde",
    "dpm_2",
    "dpm_2_ancestral",
    "lms",
    "dpm_fast",
    "dpm_adaptive",
    "dpmpp_2s_ancestral",
    "dpmpp_2s_ancestral_cfg_pp",
    "dpmpp_sde",
    "dpmpp_sde_gpu",
    "dpmpp_2m",
    "dpmpp_2m_cfg_pp",
    "dpmpp_2m_sde",
    "dpmpp_2m_sde_gpu",
    "dpmpp_2m_sde_heun",
    "dpmpp_2m_sde_heun_gpu",
    "dpmpp_3m_sde",
    "dpmpp_3m_sde_gpu",
    "ddpm",
    "lcm",
    "ipndm",
    "ipndm_v",
    "deis",
    "res_multistep",
    "res_multistep_cfg_pp",
    "res_multistep_ancestral",
    "res_multistep_ancestral_cfg_pp",
    "gradient_estimation",
    "gradient_estimation_cfg_pp",
    "er_sde",
    "seeds_2",
    "seeds_3",
    "sa_solver",
    "sa_solver_pece",
    "ddim",
    "uni_pc",
    "uni_pc_bh2",
]
FAST = (
    *("euler", "euler_cfg_pp", "euler_ancestral", "heun", "exp_heun_2_x0_sde", "dpm_2_ancestral", "lms", "dpm_fast"),
    *("dpmpp_2s_ancestral_cfg_pp", "dpmpp_sde", "dpmpp_2m", "dpmpp_2m_sde_heun", "dpmpp_3m_sde", "lcm", "deis"),
    *("res_multistep", "gradient_estimation_cfg_pp", "er_sde", "seeds_3", "sa_solver_pece", "uni_pc"),
)
"""One of every way to evaluate, to draw noise and to look into guidance; the others differ in their coefficients."""
every_sampler = pytest.mark.parametrize(
    "sampler", representative([name for name in SAMPLERS if name != "dpm_adaptive"], FAST)
)
PLAN = "CC.C.C.C"
# ComfyUI's own: sigmas are copied by torch.tensor in dpm_fast and dpm_adaptive, and deis hands tensors to numpy.
pytestmark = [
    pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]


def attach(model: Any, plan: str = PLAN) -> Any:
    return ours.attach(model, policy=Plan(plan), forecaster=Lagrange(1))


def steps_of(sampler: str) -> int:
    """Steps of a sampler that is told to make eight."""
    return 3 if sampler == "dpm_fast" else STEPS  # which makes up to three evaluations a step


def test_the_list_is_that_of_the_engine(comfy: Any) -> None:
    assert comfy.samplers.SAMPLER_NAMES == SAMPLERS and len(SAMPLERS) == 44


@every_sampler
def test_01_all_computed_is_bit_identical_with_every_sampler(flux: Any, sampler: str) -> None:
    run, model = Run(FLUX, sampler), attach(flux, "C" * steps_of(sampler))
    assert torch.equal(sample(model, run), sample(flux, run))
    report = ours.report_of(model)
    assert report is not None and report.plan == "C" * steps_of(sampler) and not report.remarks


@pytest.mark.parametrize("name", ["flux", "wan", "qwen"])
@pytest.mark.parametrize("sampler", ["euler", "res_multistep", "uni_pc", "dpmpp_2m"])
def test_02_a_plan_leaves_calls_out(build: Any, name: str, sampler: str) -> None:
    from tests.comfy.models import KINDS

    model = attach(build(name))
    calls, run = count_calls(model), Run(KINDS[name], sampler)
    result, plain = sample(model, run), sample(build(name), run)
    report = ours.report_of(model)
    assert calls.count == 5 and set(calls.batches) == {2}
    assert report is not None and report.plan == PLAN and report.branches == ("cond", "uncond")
    assert 0 < error(result, plain) < 0.5


@pytest.mark.parametrize("sampler", ["heun", "dpm_2", "dpmpp_sde"])
def test_03_all_evaluations_of_a_step_are_computed_or_none(flux: Any, sampler: str) -> None:
    model = attach(flux)
    calls, run = count_calls(model), Run(FLUX, sampler)
    result = sample(model, run)
    report = ours.report_of(model)
    assert calls.count == 9 and report is not None and report.plan == PLAN
    assert "15 evaluations of the sampler, 9 computed" in str(report)
    assert result.isfinite().all()


@pytest.mark.parametrize(("sampler", "draws"), [("euler", False), ("euler_ancestral", True), ("dpmpp_sde", True)])
def test_steps_of_samplers_that_draw_noise_are_repeated(flux: Any, sampler: str, draws: bool) -> None:
    run = Run(FLUX, sampler)
    damped, repeated = (
        sample(ours.attach(flux, policy=Plan(PLAN), forecaster=forecaster), run) for forecaster in (TCPade(), Reuse())
    )
    assert torch.equal(damped, repeated) == draws


def observe(model: Any, run: Run) -> tuple[list[tuple[float, str]], Rehearsal, float]:
    """Return what a run did in order, evaluations and callbacks, its rehearsal and the seconds that took."""
    events: list[tuple[float, str]] = []
    found: list[Any] = []

    def around(executor: Any, guider: Any, sigmas: Any, *args: Any, **kwargs: Any) -> Any:
        before, begin = torch.get_rng_state(), time.perf_counter()
        found[:] = [rehearse_sampler(executor.class_obj, guider, sigmas), time.perf_counter() - begin]
        assert torch.equal(before, torch.get_rng_state())
        return executor(guider, sigmas, *args, **kwargs)

    def evaluate(executor: Any, x: Any, timestep: Any, *args: Any, **kwargs: Any) -> Any:
        events.append((float(timestep[0]), "evaluation"))
        return executor(x, timestep, *args, **kwargs)

    clone = model.clone()
    clone.add_wrapper_with_key("sampler_sample", "observe", around)
    clone.add_wrapper_with_key("predict_noise", "observe", evaluate)
    sample(clone, run, callback=lambda *_: events.append((events[-1][0], "callback")))
    return events, *found


@every_sampler
def test_04_a_rehearsal_tells_all_evaluations(flux: Any, sampler: str) -> None:
    events, rehearsal, seconds = observe(flux, Run(FLUX, sampler))
    levels = [sigma for sigma, what in events if what == "evaluation"]
    assert rehearsal.is_known and [call.sigma for call in rehearsal.evaluations] == pytest.approx(levels, rel=1e-4)
    assert rehearsal.steps == sum(what == "callback" for _, what in events)
    assert seconds < 0.5  # a few hundredths, beside other work


def test_05_a_sampler_that_adapts_is_computed_and_said(flux: Any) -> None:
    model = ours.attach(flux, "adaptive")
    run = Run(FLUX, "dpm_adaptive")
    with pytest.warns(PadecastWarning, match="dpm_adaptive_function chooses its noise levels by what it is given") as w:
        result = sample(model, run)
    assert sum(issubclass(warning.category, PadecastWarning) for warning in w) == 1
    assert torch.equal(result, sample(flux, run))


def sample_custom(comfy: Any, model: Any, sampler: Any, steps: int = STEPS) -> torch.Tensor:
    """Return the latents of a run of a sampler of one's own."""
    from tests.comfy.models import condition, draw_noise

    noise, cpu = draw_noise(FLUX), torch.device("cpu")
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", steps)
    positive, negative = condition(FLUX, 1), condition(FLUX, 2)
    with torch.no_grad():
        result: torch.Tensor = comfy.samplers.sample(
            model, noise, positive, negative, 4.0, cpu, sampler, sigmas, {}, torch.zeros_like(noise), disable_pbar=True
        )
    return result


def branching(model: Any, x: Any, sigmas: Any, extra_args: Any = None, callback: Any = None, **_: Any) -> Any:
    """Evaluates a level more after its fifth step, if latents are as large as those of a real run alone."""
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i] * x.new_ones(len(x)), **extra_args)
        callback({"i": i, "x": x, "sigma": sigmas[i], "denoised": denoised})
        if i == 4 and x.numel() > 100:
            denoised = model(x, (sigmas[i] + sigmas[i + 1]) / 2 * x.new_ones(len(x)), **extra_args)
        x = x + (x - denoised) / sigmas[i] * (sigmas[i + 1] - sigmas[i])
    return x


def test_05_the_rest_of_a_run_is_computed_after_an_unforeseen_evaluation(comfy: Any, flux: Any) -> None:
    model = attach(flux)
    calls = count_calls(model)
    with pytest.warns(PadecastWarning, match="a call at the noise level 0.7.* was not foreseen after step 4 of 8"):
        result = sample_custom(comfy, model, comfy.samplers.KSAMPLER(branching))
    report = ours.report_of(model)
    assert calls.count == 3 + 1 + 3 and result.isfinite().all()  # steps 0, 1 and 3, the surprise, and all after it
    assert report is not None and report.unplaced and "not foreseen" in str(report)


def failing(model: Any, x: Any, sigmas: Any, **options: Any) -> Any:
    """Works in a run alone."""
    if x.numel() < 100:
        raise ValueError("latents of nothing")
    return branching(model, x, sigmas, **options)


def test_06_a_sampler_that_cannot_be_rehearsed_is_computed(comfy: Any, flux: Any) -> None:
    class Own(comfy.samplers.Sampler):  # type: ignore[misc]
        def sample(self, wrap: Any, sigmas: Any, extra: Any, callback: Any, noise: Any, *args: Any, **_: Any) -> Any:
            return wrap(noise, sigmas[:1], model_options=extra["model_options"], seed=0)

    for sampler, fact in ((Own(), "Own has no sampler_function"), (comfy.samplers.KSAMPLER(failing), "of nothing")):
        plain = sample_custom(comfy, flux, sampler)
        model = attach(flux)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert torch.equal(sample_custom(comfy, model, sampler), plain)
        assert len(caught) == 1 and fact in str(caught[0].message)
        report = ours.report_of(model)
        assert report is not None and fact in report.remarks[0]
