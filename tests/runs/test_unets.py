"""U-Nets: the deep branch is skipped, the outer blocks and what is added to the skip connections stay."""

from __future__ import annotations

import contextlib
import functools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import diffusers
import pytest
import torch
from diffusers.callbacks import SDCFGCutoffCallback, SDXLCFGCutoffCallback
from tests.representative import representative
from tests.tiny import footprint, quiet, vae
from torch import Tensor, nn

from padecast import accelerate
from padecast.forecasters import Lagrange, Oracle, Reuse
from padecast.policies import Always, Interval, Plan

# diffusers hands torch tensors to numpy in a dozen schedulers; nothing of ours is involved.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context"),
]
PLAN = "CC..C"
STEPS, NFE, DRAWN = len(PLAN), PLAN.count("C"), Plan(PLAN)
SPANS = ("full", "output", "difference")
DEEP = {"down_blocks.1", "down_blocks.2", "mid_block", "up_blocks.0", "up_blocks.1"}
OUTER = {"down_blocks.0", "up_blocks.2"}
LARGE = ("StableDiffusionXL",)  # beginnings of the pipelines whose U-Net is told sizes and a pooled prompt

# Models and pipelines -------------------------------------------------------------------------------------------------


def unet(large: bool = False, attends: tuple[bool, ...] = (True, False, False)) -> diffusers.UNet2DConditionModel:
    """Make one that attends to the prompt at some of its resolutions, the largest first, and in the middle."""
    torch.manual_seed(0)
    told = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
    model = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16, 16),
        down_block_types=["CrossAttnDownBlock2D" if there else "DownBlock2D" for there in attends],
        up_block_types=["CrossAttnUpBlock2D" if there else "UpBlock2D" for there in reversed(attends)],
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=4,
        **({**told, "projection_class_embeddings_input_dim": 56} if large else {}),
    ).eval()
    model.conv_out.weight.data *= 6  # random weights predict little of the noise, and listen little to the prompt
    for name, attention in model.named_modules():
        if name.endswith("attn2"):
            attention.to_out[0].weight.data *= 4
    return model


def controlnet(model: nn.Module) -> diffusers.ControlNetModel:
    torch.manual_seed(4)
    net = diffusers.ControlNetModel.from_unet(model, conditioning_embedding_out_channels=(4, 8)).eval()
    for part in (*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out):
        nn.init.normal_(part.weight, std=0.3)  # they start as zeros, and a control that adds nothing tests nothing
    return net


def t2i_adapter() -> diffusers.T2IAdapter:
    torch.manual_seed(5)
    kind = {"adapter_type": "full_adapter", "downscale_factor": 2}
    return diffusers.T2IAdapter(in_channels=3, channels=[8, 16, 16], num_res_blocks=1, **kind).eval()


def model_of(name: str) -> nn.Module:
    """A U-Net as the pipeline's models have them: XL does not attend at the largest resolution."""
    return unet(True, (False, True, False)) if name.startswith(LARGE) else unet()


def pipeline(name: str = "StableDiffusion", **parts: Any) -> Any:
    large = name.startswith(LARGE)
    absent = dict.fromkeys(("text_encoder", "tokenizer", "feature_extractor"))
    absent.update(dict.fromkeys(("text_encoder_2", "tokenizer_2") if large else ("safety_checker",)))
    rest: dict[str, Any] = {"add_watermarker": False} if large else {"requires_safety_checker": False}
    given = {"unet": model_of(name), "vae": vae(4), "scheduler": scheduler("DDIM"), **absent, **rest, **parts}
    return quiet(getattr(diffusers, f"{name}Pipeline")(**given))


def scheduler(name: str, **options: Any) -> Any:
    fixed = {"DDIM": {"clip_sample": False}, "PNDM": {"skip_prk_steps": True}}.get(name, {})
    kind = {"steps_offset": 1, "prediction_type": "v_prediction"}  # keeps latents small whatever a model predicts
    return getattr(diffusers, f"{name}Scheduler")(**kind, **fixed, **options)


def prompts(pipe: Any, count: int = 1) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(2)
    names = ["prompt_embeds", "negative_prompt_embeds"]
    if type(pipe).__name__.startswith(LARGE):
        names += ["pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    return {name: torch.randn((count, 8) if "pooled" in name else (count, 5, 8), generator=draw) for name in names}


def sample(pipe: Any, steps: int = STEPS, seed: int = 3, size: int = 16, count: int = 1, **options: Any) -> Tensor:
    options = {"generator": torch.Generator().manual_seed(seed), "guidance_scale": 3.0, **options}
    if "image" not in options:
        options = {"height": size, "width": size, **options}
    return pipe(num_inference_steps=steps, output_type="latent", **{**prompts(pipe, count), **options}).images


def picture(size: int = 16) -> Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(6))


# What must hold everywhere --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def counted(model: nn.Module) -> Iterator[Counter[str]]:
    """Count how often each block really ran, by the first part inside it."""
    runs: Counter[str] = Counter()
    hooks = []
    for name in sorted(DEEP | OUTER):

        def count(*_: Any, name: str = name) -> None:
            runs[name] += 1

        hooks.append(model.get_submodule(name).resnets[0].register_forward_hook(count))
    try:
        yield runs
    finally:
        for hook in hooks:
            hook.remove()


def visits(span: str, every_step: int, computed: int) -> dict[str, int]:
    return {**dict.fromkeys(DEEP, computed), **dict.fromkeys(OUTER, every_step if span == "full" else computed)}


def assert_right(
    draw: Callable[[], Tensor], pipe: Any, span: str = "full", plan: str = PLAN, seen: str = "", **more: int
) -> None:
    """Assert that exact runs are exact, that a plan saves what it says, and that nothing is left behind.

    ``seen`` is the plan as reported, where the run does not visit the whole grid, and ``unplaced`` says how many calls
    are computed besides.
    """
    before, untouched, extra = footprint(pipe.unet), draw(), more.get("unplaced", 0)
    seen = seen or plan
    with accelerate(pipe, policy=Always(), forecaster=Reuse(), span=span) as run, counted(pipe.unet) as runs:
        assert torch.equal(draw(), untouched)
    every_step = run.report.computed + extra
    assert (run.report.plan, run.report.forecast) == (re.sub(r"\S", "C", seen), 0)
    assert runs == visits(span, every_step, every_step)
    with accelerate(pipe, policy=Plan(plan), forecaster=Oracle(), span=span) as run:
        torch.testing.assert_close(draw(), untouched, rtol=1e-4, atol=1e-4)
    assert run.report.plan == seen
    with accelerate(pipe, policy=Plan(plan), forecaster=Lagrange(), span=span) as run, counted(pipe.unet) as runs:
        forecast = draw()
    assert (run.report.plan, run.report.unplaced) == (seen, extra)
    assert runs == visits(span, every_step, seen.count("C") + extra)
    assert not torch.allclose(forecast, untouched, atol=1e-3)
    assert footprint(pipe.unet) == before
    assert torch.equal(draw(), untouched)


@pytest.mark.parametrize(
    ("name", "span"), [*(("StableDiffusion", span) for span in SPANS), ("StableDiffusionXL", "full")]
)
def test_spans(name: str, span: str) -> None:
    pipe = pipeline(name)
    assert_right(lambda: sample(pipe), pipe, span)


def test_without_guidance() -> None:
    pipe = pipeline()
    assert (sample(pipe) - sample(pipe, guidance_scale=1.0)).abs().max() > 0.1
    assert_right(lambda: sample(pipe, guidance_scale=1.0), pipe)


@pytest.mark.parametrize("span", ["full", "difference"])
def test_half_precision(span: str) -> None:
    pipe = pipeline()
    pipe.to(dtype=torch.bfloat16)
    given = {name: value.bfloat16() for name, value in prompts(pipe).items()}
    untouched = sample(pipe, **given)
    with accelerate(pipe, policy=Always(), forecaster=Reuse(), span=span):
        assert torch.equal(sample(pipe, **given), untouched)
    with accelerate(pipe, policy=DRAWN, forecaster=Lagrange(), span=span) as run:
        assert sample(pipe, **given).dtype == torch.bfloat16
    assert (run.report.plan, run.report.notes) == (PLAN, {})


class TestSchedulers:
    @pytest.mark.parametrize(
        "name", representative(["EulerDiscrete", "DPMSolverMultistep", "LCM"], ["DPMSolverMultistep"])
    )
    def test_one_evaluation_a_step(self, name: str) -> None:
        pipe = pipeline(scheduler=scheduler(name))
        assert_right(lambda: sample(pipe), pipe)

    @pytest.mark.parametrize("name", representative(["HeunDiscrete", "KDPM2Discrete"], ["HeunDiscrete"]))
    def test_two_evaluations_a_step(self, name: str) -> None:
        pipe = pipeline(scheduler=scheduler(name))
        assert_right(lambda: sample(pipe, 4), pipe, plan="CC..C..")

    def test_a_stochastic_solver(self) -> None:
        pipe = pipeline(
            "StableDiffusionXL", scheduler=scheduler("DPMSolverMultistep", algorithm_type="sde-dpmsolver++")
        )
        assert_right(lambda: sample(pipe), pipe)

    def test_timesteps_that_repeat_are_computed(self) -> None:
        """PNDM visits its second timestep twice and keeps no step index."""
        pipe = pipeline(scheduler=scheduler("PNDM"))
        assert_right(lambda: sample(pipe), pipe, plan="CC..C.", seen="C  .C.", unplaced=2)


class TestFromTheMiddle:
    @pytest.mark.parametrize(
        ("kind", "strength", "seen"),
        [
            pytest.param("DDIM", 0.6, "  C.C", marks=pytest.mark.slow),
            ("DDIM", 0.8, " C..C"),
            ("DPMSolverMultistep", 0.6, "  C.C"),
        ],
    )
    def test_strength(self, kind: str, strength: float, seen: str) -> None:
        pipe = pipeline("StableDiffusionImg2Img", scheduler=scheduler(kind))
        assert_right(lambda: sample(pipe, image=picture(), strength=strength), pipe, seen=seen)

    def test_strength_of_the_large_one(self) -> None:
        pipe = pipeline("StableDiffusionXLImg2Img")
        assert_right(lambda: sample(pipe, image=picture(), strength=0.6), pipe, seen="  C.C")

    def test_a_run_that_stops_early_and_one_that_goes_on(self) -> None:
        """The first half of a schedule on one pipeline, the second half on another that shares its U-Net."""
        base = pipeline("StableDiffusionXL", scheduler=scheduler("EulerDiscrete"))
        refiner = pipeline(
            "StableDiffusionXLImg2Img", unet=base.unet, vae=base.vae, scheduler=scheduler("EulerDiscrete")
        )
        assert_right(lambda: sample(base, denoising_end=0.6), base, seen=PLAN[:3])
        middle = sample(base, denoising_end=0.4)
        assert_right(lambda: sample(refiner, image=middle, denoising_start=0.4), refiner, seen="  C.C")


# What is added to the skip connections -------------------------------------------------------------------------------


def controlled(name: str = "StableDiffusionControlNet") -> Any:
    model = model_of(name)
    return pipeline(name, unet=model, controlnet=controlnet(model))


class TestControlNet:
    def test_exact(self) -> None:
        pipe = controlled()
        plain, untouched = (
            sample(pipe, image=picture(), controlnet_conditioning_scale=0.0),
            sample(pipe, image=picture()),
        )
        assert (plain - untouched).abs().max() > 0.1
        assert_right(lambda: sample(pipe, image=picture()), pipe)

    def test_exact_with_the_large_one(self) -> None:
        pipe = controlled("StableDiffusionXLControlNet")
        assert_right(lambda: sample(pipe, image=picture()), pipe)

    def test_a_control_of_one_branch_in_some_steps(self) -> None:
        pipe = controlled()
        interval = {"control_guidance_start": 0.2, "control_guidance_end": 0.7}
        assert_right(lambda: sample(pipe, image=picture(), guess_mode=True, **interval), pipe)

    def test_only_the_unet_is_saved(self) -> None:
        pipe = controlled()
        calls: Counter[str] = Counter()
        hook = pipe.controlnet.register_forward_hook(lambda *_: calls.update(["controlnet"]))
        before = footprint(pipe.controlnet)
        with accelerate(pipe, policy=DRAWN, forecaster=Reuse()), counted(pipe.unet) as runs:
            assert footprint(pipe.controlnet) == before
            sample(pipe, image=picture())
        hook.remove()
        assert calls["controlnet"] == STEPS
        assert runs == visits("full", STEPS, NFE)


def repeated(span: str, added: Callable[[], dict[str, Any]]) -> tuple[Tensor, list[Tensor]]:
    """Return what a U-Net returns at standing inputs, and what it returns where one step is computed of four."""
    model, draw = unet(attends=(True, True, False)), torch.Generator().manual_seed(10)
    x, text = torch.randn(1, 4, 8, 8, generator=draw), torch.randn(1, 5, 8, generator=draw)
    nn.init.zeros_(model.time_embedding.linear_2.weight)  # the timestep, which tells the steps apart, changes nothing

    def call(t: int) -> Tensor:
        with torch.no_grad():
            return model(x, torch.tensor(t), text, **added()).sample

    untouched = call(900)
    with accelerate(model, policy=Plan("C..."), forecaster=Reuse(), span=span) as run:
        outputs = [call(t) for t in (900, 600, 300, 100)]
    assert run.report.plan == "C..."
    return untouched, outputs


def drawn(shapes: list[tuple[int, int]], factor: float) -> list[Tensor]:
    draw = torch.Generator().manual_seed(9)
    return [factor * torch.randn(1, width, size, size, generator=draw) for width, size in shapes]


def residuals(factor: float = 1.0) -> dict[str, Any]:
    """A control net's: one for every skip connection, and one for the middle."""
    *down, middle = drawn([(8, 8), (8, 8), (8, 4), (16, 4), (16, 2), (16, 2), (16, 2)], factor)
    return {"down_block_additional_residuals": tuple(down), "mid_block_additional_residual": middle}


def features(factor: float = 1.0) -> dict[str, Any]:
    """A T2I adapter's: one for every down block, in a list that the U-Net empties."""
    return {"down_intrablock_additional_residuals": drawn([(8, 8), (16, 4), (16, 2)], factor)}


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("added", [residuals, features, dict])
def test_what_is_added_is_added_once(added: Callable[[], dict[str, Any]], span: str) -> None:
    untouched, outputs = repeated(span, added)
    for output in outputs:
        torch.testing.assert_close(output, untouched)


@pytest.mark.parametrize("added", [residuals, features])
def test_what_is_added_matters(added: Callable[..., dict[str, Any]]) -> None:
    """Otherwise the test above could not fail."""
    once, twice, never = (repeated("output", lambda times=times: added(times))[0] for times in (1.0, 2.0, 0.0))
    assert min((once - never).abs().max(), (twice - once).abs().max()) > 0.1


def test_the_pipeline_of_the_adapter() -> None:
    pipe = pipeline("StableDiffusionAdapter", adapter=t2i_adapter(), unet=unet(attends=(True, True, False)))
    picture_of = {"image": picture(), "height": 16, "width": 16}
    assert (sample(pipe, **picture_of, adapter_conditioning_scale=0.0) - sample(pipe, **picture_of)).abs().max() > 0.1
    assert_right(lambda: sample(pipe, **picture_of), pipe)


# Changes --------------------------------------------------------------------------------------------------------------


def changes() -> list[dict[str, Any]]:
    """Runs in turn, each of which differs from the one before in what it takes: the first again now and then."""
    first: dict[str, Any] = {}
    unguided = {"guidance_scale": 1.0}
    return [
        *(first, {"size": 24}, first),
        *({"latents": torch.ones(1, 4, 10, 7)}, {"latents": torch.ones(1, 4, 7, 9)}, first),
        *({"count": 3}, {"num_images_per_prompt": 2}, unguided, first),
        *({**unguided, "count": 2}, first),  # tensors of one shape: two prompts, and one prompt with its guidance
        *({"steps": 7}, {"steps": 4}, first),
    ]


@pytest.mark.parametrize("span", representative(["full", "difference"], ["full"]))
def test_changes_between_runs_need_nothing(span: str) -> None:
    pipe = pipeline()
    options: dict[str, Any] = {"policy": Interval(every=3), "forecaster": Lagrange(), "span": span}
    with accelerate(pipe, **options):
        in_turn = [sample(pipe, **setting) for setting in changes()]
    known: dict[str, Tensor] = {}
    for setting, got in zip(changes(), in_turn, strict=True):
        if repr(setting) not in known:
            with accelerate(pipe, **options) as run:
                known[repr(setting)] = sample(pipe, **setting)
            assert run.report.forecast > 0
            assert run.report.notes == {}
        assert torch.equal(got, known[repr(setting)])


@pytest.mark.parametrize("span", representative(["full", "difference"], ["full"]))
@pytest.mark.parametrize("size", [(10, 7)], ids=str)
def test_a_size_that_the_strides_do_not_divide(size: tuple[int, int], span: str) -> None:
    pipe = pipeline()
    start = torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(7))
    assert_right(lambda: sample(pipe, latents=start), pipe, span)


@pytest.mark.parametrize("span", representative(["full", "difference"], ["full"]))
def test_an_image_is_independent_of_its_batch_mates(span: str) -> None:
    pipe, seeds = pipeline(), (1, 2, 3)
    with accelerate(pipe, policy=DRAWN, forecaster=Lagrange(), span=span):
        together = sample(pipe, num_images_per_prompt=3, generator=[torch.Generator().manual_seed(s) for s in seeds])
        alone = torch.cat([sample(pipe, seed=seed) for seed in seeds])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.1


CUTOFFS = {"StableDiffusion": SDCFGCutoffCallback, "StableDiffusionXL": SDXLCFGCutoffCallback}


class TestGuidanceSwitchedOffInTheMiddle:
    """The batch halves: what is remembered does not fit any more."""

    def after(self, step: int, name: str) -> dict[str, Any]:
        cutoff = CUTOFFS[name](cutoff_step_ratio=None, cutoff_step_index=step)
        return {"callback_on_step_end": cutoff, "callback_on_step_end_tensor_inputs": cutoff.tensor_inputs}

    @pytest.mark.parametrize("name", representative(CUTOFFS, ["StableDiffusion"]))
    def test_before_a_computed_step(self, name: str) -> None:
        pipe = pipeline(name)
        assert (sample(pipe, **self.after(0, name)) - sample(pipe)).abs().max() > 0.1
        assert_right(lambda: sample(pipe, **self.after(0, name)), pipe)

    @pytest.mark.parametrize(
        ("name", "span"),
        [("StableDiffusion", "full"), ("StableDiffusion", "difference"), ("StableDiffusionXL", "full")],
    )
    def test_before_a_forecast_step(self, name: str, span: str) -> None:
        """The step is computed, and the report says why."""
        pipe = pipeline(name)
        untouched = sample(pipe, **self.after(1, name))
        with accelerate(pipe, policy=Always(), forecaster=Reuse(), span=span):
            assert torch.equal(sample(pipe, **self.after(1, name)), untouched)
        with accelerate(pipe, policy=DRAWN, forecaster=Oracle(), span=span):
            torch.testing.assert_close(sample(pipe, **self.after(1, name)), untouched, rtol=1e-4, atol=1e-4)
        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange(), span=span) as run, counted(pipe.unet) as runs:
            sample(pipe, **self.after(1, name))
        assert run.report.plan == "CCC.C"
        assert runs == visits(span, STEPS, 4)
        reason = "computed because nothing was remembered for this branch"
        assert run.report.notes == {"step 2, call 2": reason}

    @pytest.mark.parametrize("span", ["full", "difference"])
    def test_and_on_again(self, span: str) -> None:
        pipe = pipeline()

        def switch(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if step == 0:
                pipe._guidance_scale = 0.0
                return {"prompt_embeds": tensors["prompt_embeds"][-1:]}
            if step == 2:
                pipe._guidance_scale = 3.0
                both = prompts(pipe)
                return {"prompt_embeds": torch.cat([both["negative_prompt_embeds"], both["prompt_embeds"]])}
            return {}

        interval = {"callback_on_step_end": switch, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
        untouched = sample(pipe, **interval)
        with accelerate(pipe, policy=Always(), forecaster=Reuse(), span=span):
            assert torch.equal(sample(pipe, **interval), untouched)
        with accelerate(pipe, policy=DRAWN, forecaster=Oracle(), span=span):
            torch.testing.assert_close(sample(pipe, **interval), untouched, rtol=1e-4, atol=1e-4)
        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange(), span=span) as run, counted(pipe.unet) as runs:
            sample(pipe, **interval)
        assert run.report.plan == "CC.CC"  # the guided step 3 must not use what the unguided steps left
        assert runs == visits(span, STEPS, 4)


# Errors ---------------------------------------------------------------------------------------------------------------


class Stop(Exception):
    pass


def stopper(calls: int) -> Callable[..., Any]:
    left = iter(range(calls))

    def stop(*_: Any, **__: Any) -> Any:
        if next(left, None) is None:
            raise Stop
        return None

    return stop


@contextlib.contextmanager
def failing(pipe: Any, place: str, calls: int) -> Iterator[dict[str, Any]]:
    """Let a part of the U-Net, or the pipeline's callback, fail after so many calls."""
    stop = stopper(calls)
    if place == "callback":
        yield {"callback_on_step_end": lambda *_: stop() or {}}
        return
    hook = pipe.unet.get_submodule(place).register_forward_pre_hook(stop)
    try:
        yield {}
    finally:
        hook.remove()


@functools.cache
def of_a_fresh_pipeline(span: str) -> tuple[Tensor, Tensor]:
    """Return an image without and with acceleration."""
    pipe = pipeline()
    with accelerate(pipe, policy=DRAWN, forecaster=Lagrange(), span=span):
        accelerated = sample(pipe)
    return sample(pipe), accelerated


@pytest.mark.parametrize(
    ("place", "span"),
    [
        *((place, "full") for place in ("callback", "conv_in", "up_blocks.2.resnets.0")),
        *(pytest.param(place, "full", marks=pytest.mark.slow) for place in ("down_blocks.2", "up_blocks.1")),
        *(pytest.param(place, "difference", marks=pytest.mark.slow) for place in ("callback", "conv_in")),
    ],
)
def test_after_an_error_the_next_run_is_that_of_a_fresh_pipeline(place: str, span: str) -> None:
    pipe = pipeline()
    before, (untouched, expected) = footprint(pipe.unet), of_a_fresh_pipeline(span)
    with accelerate(pipe, policy=DRAWN, forecaster=Lagrange(), span=span) as run:
        for calls in (1, 2):
            with failing(pipe, place, calls) as given, pytest.raises(Stop):
                sample(pipe, **given)
            assert torch.equal(sample(pipe), expected)
            assert run.report.plan == PLAN
        with failing(pipe, place, 1) as given, pytest.raises(Stop):
            sample(pipe, **given)
    assert footprint(pipe.unet) == before
    assert torch.equal(sample(pipe), untouched)
