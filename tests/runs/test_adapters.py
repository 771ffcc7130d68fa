"""Adapters change what the blocks add: they come, change and go while acceleration is on and in between."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch
from diffusers import FluxPipeline
from diffusers.callbacks import IPAdapterScaleCutoffCallback, SD3CFGCutoffCallback
from tests.representative import representative
from tests.tiny import (
    PLAN,
    STEPS,
    counted,
    flux_pipeline,
    flux_prompt,
    footprint,
    loop,
    no_text,
    quiet,
    sample_flux,
    sample_wan,
    vae,
    wan_pipeline,
)
from torch import Tensor, nn

from padecast import accelerate
from padecast.forecasters import Lagrange, Oracle, Pade, Reuse
from padecast.policies import Always, Plan

DRAWN, NFE = Plan(PLAN), PLAN.count("C")
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def assert_right(
    draw: Callable[[], Tensor], pipe: Any, plan: str = PLAN, branches: int = 2, settled: bool = True, **options: Any
) -> None:
    """Assert that exact runs are exact, that a plan saves what it says, and that nothing is left behind.

    ``settled`` says whether the model holds after a run what it held before, also without acceleration.
    """
    model = pipe.transformer
    untouched, before = draw(), footprint(model)
    with accelerate(pipe, policy=Always(), forecaster=Reuse(), **options) as run:
        assert torch.equal(draw(), untouched)
    assert (run.report.plan, run.report.forecast) == ("C" * len(plan), 0)
    with accelerate(pipe, policy=Plan(plan), forecaster=Oracle(), **options) as run:
        torch.testing.assert_close(draw(), untouched, **CLOSE)
    assert run.report.plan == plan
    with accelerate(pipe, policy=Plan(plan), forecaster=Lagrange(), **options) as run, counted(model) as runs:
        forecast = draw()
    assert (run.report.plan, run.report.notes, run.report.unplaced) == (plan, {}, 0)
    assert set(runs.values()) == {branches * plan.count("C")}
    assert not torch.allclose(forecast, untouched, atol=1e-3)
    assert footprint(model) == before or not settled
    assert not any("forward" in vars(module) for module in model.modules())
    assert torch.equal(draw(), untouched)


# LoRA -----------------------------------------------------------------------------------------------------------------


def lora(model: nn.Module, seed: int, rank: int = 2) -> dict[str, Tensor]:
    """Draw a LoRA for some of a model's linear layers, inside and outside of its blocks."""
    draw = torch.Generator().manual_seed(seed)
    weights = {}
    for name, layer in model.named_modules():
        if not re.fullmatch(r"x_embedder|condition_embedder\.time_proj|.*\.to_[qv]", name):
            continue
        low, high = (rank, layer.in_features), (layer.out_features, rank)
        for part, shape in (("lora_A", low), ("lora_B", high)):
            weights[f"transformer.{name}.{part}.weight"] = 0.3 * torch.randn(*shape, generator=draw)
    return weights


def load(name: str, seed: int) -> Callable[[Any], None]:
    drawn = {type(pipe).__name__: lora(pipe.transformer, seed) for pipe in (flux_pipeline(), wan_pipeline())}
    return lambda pipe: pipe.load_lora_weights(dict(drawn[type(pipe).__name__]), adapter_name=name)


OPERATIONS: dict[str, Callable[[Any], None]] = {
    "load": load("one", 1),
    "weigh": lambda pipe: pipe.set_adapters("one", 0.5),
    "load another": load("two", 2),
    "both": lambda pipe: pipe.set_adapters(["one", "two"], [0.7, -0.4]),
    "off": lambda pipe: pipe.disable_lora(),
    "on": lambda pipe: pipe.enable_lora(),
    "delete": lambda pipe: pipe.delete_adapters("two"),
    "fuse": lambda pipe: pipe.fuse_lora(),
    "unfuse": lambda pipe: pipe.unfuse_lora(),
    "unload": lambda pipe: pipe.unload_lora_weights(),
}
UNSEEN = {"unfuse", "fuse"}
"""What changes where the weights are, and not the image (but for rounding, see below)."""


# What diffusers says of a second adapter, which is what is meant.
@pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute in the model")
@pytest.mark.parametrize(
    ("name", "when"),
    [
        pytest.param("flux", "while on", marks=pytest.mark.slow),
        pytest.param("flux", "in between", marks=pytest.mark.slow),
        ("wan", "while on"),
    ],
)
def test_lora(name: str, when: str) -> None:
    pytest.importorskip("peft")
    make, short = {"flux": flux_pipeline, "wan": wan_pipeline}[name], "CC.C"

    def sample(pipe: Any) -> Tensor:
        if name == "flux":
            return sample_flux(pipe, len(short), true_cfg_scale=1.0)
        return sample_wan(pipe, len(short), guidance_scale=1.0)

    plain, exact, oracle, planned = (make() for _ in range(4))
    handles = [
        accelerate(exact, policy=Always(), forecaster=Reuse()),
        accelerate(oracle, policy=Plan(short), forecaster=Oracle()),
        accelerate(planned, policy=Plan(short), forecaster=Lagrange()),
    ]
    images = [sample(plain)]
    for handle in handles:
        handle.enable()
        sample(handle.pipe)
    for what, operation in OPERATIONS.items():
        operation(plain)
        for handle in handles:
            if when == "in between":
                handle.disable()
            operation(handle.pipe)
            handle.enable()
        untouched = sample(plain)
        assert torch.equal(sample(exact), untouched), what
        torch.testing.assert_close(sample(oracle), untouched, **CLOSE)
        with counted(planned.transformer) as runs:
            forecast = sample(planned)
        assert set(runs.values()) == {short.count("C")}
        assert handles[-1].report.plan == short
        with accelerate(plain, policy=Plan(short), forecaster=Lagrange()):
            assert torch.equal(sample(plain), forecast), what
        change = (untouched - images[-1]).abs().max()
        assert change < 1e-3 if what in UNSEEN else change > 1e-2, what
        images.append(untouched)
    for handle in handles:
        handle.disable()
        assert torch.equal(sample(handle.pipe), images[-1])
    torch.testing.assert_close(images[-1], images[0], **CLOSE)  # fusing and undoing it rounds the weights


def test_a_lora_that_is_unloaded_leaves_the_pipeline_as_it_was() -> None:
    pytest.importorskip("peft")
    pipe = flux_pipeline()
    untouched = sample_flux(pipe)
    handle = accelerate(pipe, policy=DRAWN, forecaster=Lagrange()).enable()
    expected = sample_flux(pipe)
    OPERATIONS["load"](pipe)
    assert not torch.equal(sample_flux(pipe), expected)
    pipe.unload_lora_weights()
    assert torch.equal(sample_flux(pipe), expected)
    handle.disable()
    assert torch.equal(sample_flux(pipe), untouched)
    assert not any("forward" in vars(block) for block in pipe.transformer.transformer_blocks)


def test_the_scale_of_a_call() -> None:
    """It is set and taken back within every call of the transformer."""
    pytest.importorskip("peft")
    pipe = flux_pipeline()
    OPERATIONS["load"](pipe)
    assert (sample_flux(pipe, joint_attention_kwargs={"scale": 0.3}) - sample_flux(pipe)).abs().max() > 0.1
    assert_right(lambda: sample_flux(pipe, joint_attention_kwargs={"scale": 0.3}), pipe)


def test_a_lora_that_is_switched_in_the_middle_of_a_run() -> None:
    pytest.importorskip("peft")
    pipe = flux_pipeline()
    OPERATIONS["load"](pipe)

    def fade(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        pipe.set_adapters("one", 1.0 - step / STEPS)
        return {}

    def faded() -> Tensor:
        pipe.set_adapters("one", 1.0)
        return sample_flux(pipe, callback_on_step_end=fade)

    still = faded()
    pipe.set_adapters("one", 1.0)
    assert (sample_flux(pipe) - still).abs().max() > 1e-2
    assert_right(faded, pipe, settled=False)


def test_an_adapter_of_peft_itself() -> None:
    peft = pytest.importorskip("peft")
    pipe = flux_pipeline()
    untouched = sample_flux(pipe)
    torch.manual_seed(3)
    config = peft.LoraConfig(r=2, target_modules=["to_q", "to_v", "proj_out"], init_lora_weights=False)
    handle = accelerate(pipe, policy=Always(), forecaster=Reuse()).enable()
    pipe.transformer.add_adapter(config)
    adapted = sample_flux(pipe)
    handle.disable()
    assert torch.equal(sample_flux(pipe), adapted)
    assert (adapted - untouched).abs().max() > 0.1
    assert_right(lambda: sample_flux(pipe), pipe)


# IP-Adapter -----------------------------------------------------------------------------------------------------------


def image_prompt(seed: int) -> Tensor:
    return torch.randn(1, 1, 6, generator=torch.Generator().manual_seed(seed))


def ip_weights(blocks: int = 2, text: int = 8, width: int = 32, tokens: int = 4) -> dict[str, dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(20)
    shapes = {
        "proj.weight": (tokens * text, 6),
        "proj.bias": (tokens * text,),
        "norm.weight": (text,),
        "norm.bias": (text,),
    }
    attention = {
        f"{block}.to_{part}_ip.{kind}": (width, text) if kind == "weight" else (width,)
        for block in range(blocks)
        for part in "kv"
        for kind in ("weight", "bias")
    }
    return {
        "image_proj": {name: torch.randn(*shape, generator=draw) for name, shape in shapes.items()},
        "ip_adapter": {name: torch.randn(*shape, generator=draw) for name, shape in attention.items()},
    }


def load_ip_adapter(pipe: Any) -> None:
    pipe.load_ip_adapter(ip_weights(), weight_name="", image_encoder_pretrained_model_name_or_path=None)


PROMPTED = {"ip_adapter_image_embeds": [image_prompt(21)], "negative_ip_adapter_image_embeds": [image_prompt(22)]}


class TestIPAdapter:
    def adapted(self) -> Any:
        pipe = flux_pipeline()
        load_ip_adapter(pipe)
        return pipe

    @pytest.mark.parametrize("span", representative(["full", "double", "single"], ["full"]))
    def test_exact(self, span: str) -> None:
        pipe = self.adapted()
        untouched = sample_flux(pipe, **PROMPTED)
        pipe.set_ip_adapter_scale(0.0)
        assert (untouched - sample_flux(pipe, **PROMPTED)).abs().max() > 0.1
        pipe.set_ip_adapter_scale(1.0)
        if span == "full":
            assert_right(lambda: sample_flux(pipe, **PROMPTED), pipe)
            return
        with accelerate(pipe, policy=Always(), forecaster=Reuse(), span=span):
            assert torch.equal(sample_flux(pipe, **PROMPTED), untouched)
        with accelerate(pipe, policy=DRAWN, forecaster=Oracle(), span=span) as run:
            torch.testing.assert_close(sample_flux(pipe, **PROMPTED), untouched, **CLOSE)
        assert run.report.plan == PLAN

    @pytest.mark.parametrize("span", ["full", "double", "single"])
    def test_what_it_adds_is_added_once(self, span: str) -> None:
        """At standing inputs a repeated residual gives what the model gives."""
        model, draw = self.adapted().transformer, torch.Generator().manual_seed(10)
        x, text = torch.randn(1, 9, 4, generator=draw), torch.randn(1, 5, 8, generator=draw)
        rest = {"img_ids": torch.zeros(9, 3), "txt_ids": torch.zeros(5, 3), "timestep": torch.tensor([0.5])}

        def call(step: int, seed: int = 21) -> Tensor:
            extra = {"joint_attention_kwargs": {"ip_adapter_image_embeds": [image_prompt(seed)]}}
            with torch.no_grad(), model.cache_context("cond", step_index=step, num_inference_steps=4):
                return model(x, text, flux_prompt()["pooled_prompt_embeds"], **rest, **extra).sample

        untouched = call(0)
        assert (untouched - call(0, seed=22)).abs().max() > 0.1
        with accelerate(model, policy=Plan("C..."), forecaster=Reuse(), span=span) as run:
            for step in range(4):
                torch.testing.assert_close(call(step), untouched)
        assert run.report.plan == "C..."

    def test_loaded_weighed_and_unloaded_while_on(self) -> None:
        pipe = flux_pipeline()
        untouched = sample_flux(pipe)
        handle = accelerate(pipe, policy=DRAWN, forecaster=Lagrange()).enable()
        without = sample_flux(pipe)
        load_ip_adapter(pipe)
        images = [without]
        for scale in (1.0, 0.3, 0.6):
            pipe.set_ip_adapter_scale(scale)
            images.append(sample_flux(pipe, **PROMPTED))
            fresh = self.adapted()
            fresh.set_ip_adapter_scale(scale)
            with accelerate(fresh, policy=DRAWN, forecaster=Lagrange()):
                assert torch.equal(sample_flux(fresh, **PROMPTED), images[-1])
            assert (images[-1] - images[-2]).abs().max() > 0.1
        pipe.unload_ip_adapter()
        assert torch.equal(sample_flux(pipe), without)
        handle.disable()
        assert torch.equal(sample_flux(pipe), untouched)

    def test_switched_off_in_the_middle_of_a_run(self) -> None:
        pipe = self.adapted()

        def cut() -> Tensor:
            pipe.set_ip_adapter_scale(1.0)
            cutoff = IPAdapterScaleCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=3)
            return sample_flux(pipe, **PROMPTED, callback_on_step_end=cutoff)

        untouched = cut()
        pipe.set_ip_adapter_scale(1.0)
        assert (sample_flux(pipe, **PROMPTED) - untouched).abs().max() > 1e-2
        assert_right(cut, pipe, settled=False)


# Stable Diffusion 3 ---------------------------------------------------------------------------------------------------


class TestStableDiffusion3:
    """Guidance in one batch, and a further call with fewer layers in some steps."""

    def pipeline(self) -> Any:
        torch.manual_seed(0)
        model = diffusers.SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=4,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=8,
            caption_projection_dim=16,
            pooled_projection_dim=8,
            pos_embed_max_size=8,
        ).eval()
        absent = {**no_text(), "text_encoder_3": None, "tokenizer_3": None}
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
        return quiet(diffusers.StableDiffusion3Pipeline(transformer=model, vae=vae(4), scheduler=scheduler, **absent))

    def sample(self, pipe: Any, **options: Any) -> Tensor:
        fixed = {"height": 16, "width": 16, "num_inference_steps": STEPS, "output_type": "latent"}
        return pipe(**fixed, **flux_prompt(), generator=torch.Generator().manual_seed(3), **options).images

    @pytest.mark.parametrize("span", ["full", "output"])
    def test_exact(self, span: str) -> None:
        pipe = self.pipeline()
        assert_right(lambda: self.sample(pipe), pipe, branches=1, span=span)

    def test_guidance_that_is_cut_off(self) -> None:
        pipe = self.pipeline()

        def sample() -> Tensor:
            cutoff = SD3CFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=3)
            inputs = {"callback_on_step_end_tensor_inputs": cutoff.tensor_inputs}
            return self.sample(pipe, callback_on_step_end=cutoff, **inputs)

        assert (sample() - self.sample(pipe)).abs().max() > 1e-2
        assert_right(sample, pipe, branches=1)

    @pytest.mark.parametrize(
        ("layers", "computed"), [([1, 2], NFE), ([0], STEPS), pytest.param([3], STEPS, marks=pytest.mark.slow)], ids=str
    )
    def test_guidance_by_skipped_layers(self, layers: list[int], computed: int) -> None:
        """A second branch that runs fewer blocks; without the first or the last of them it cannot be forecast."""
        pipe = self.pipeline()

        def sample() -> Tensor:
            interval = {"skip_layer_guidance_start": -0.1, "skip_layer_guidance_stop": 1.1}
            return self.sample(pipe, skip_guidance_layers=layers, **interval)

        untouched, before = sample(), footprint(pipe.transformer)
        assert (untouched - self.sample(pipe)).abs().max() > 1e-2
        with accelerate(pipe, policy=Always(), forecaster=Reuse()):
            assert torch.equal(sample(), untouched)
        with accelerate(pipe, policy=DRAWN, forecaster=Oracle()):
            torch.testing.assert_close(sample(), untouched, **CLOSE)
        kept = next(place for place in range(4) if place not in layers)
        calls = []
        hook = pipe.transformer.transformer_blocks[kept].attn.register_forward_hook(lambda *_: calls.append(1))
        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange()) as run:
            sample()
        hook.remove()
        assert run.report.plan == PLAN
        assert len(calls) == NFE + computed
        assert footprint(pipe.transformer) == before
        assert torch.equal(sample(), untouched)


# Several images, guidance, solvers ------------------------------------------------------------------------------------


class Prompted(FluxPipeline):
    """A FLUX pipeline that knows prompts by heart, and repeats them per image as its text encoders' pipeline does."""

    def encode_prompt(self, prompt: Any, num_images_per_prompt: int = 1, **_: Any) -> tuple[Tensor, Tensor, Tensor]:
        prompts = [prompt] if isinstance(prompt, str) else prompt
        draws = [torch.Generator().manual_seed(sum(map(ord, prompt))) for prompt in prompts]
        text = torch.stack([torch.randn(5, 8, generator=draw) for draw in draws])
        pooled = torch.stack([torch.randn(8, generator=draw) for draw in draws])
        repeated = (tensor.repeat_interleave(num_images_per_prompt, 0) for tensor in (text, pooled))
        return *repeated, torch.zeros(5, 3)


@pytest.mark.parametrize(
    "forecaster",
    [pytest.param(Lagrange(), marks=pytest.mark.slow), Pade(guard=20.0)],
    ids=lambda part: type(part).__name__,
)
def test_every_image_of_a_prompt_is_what_it_is_alone(forecaster: Any) -> None:
    pipe, names = flux_pipeline(Prompted), ["a fish", "two birds"]

    def sample(prompts: list[str], count: int, seeds: list[int]) -> Tensor:
        return pipe(
            prompts,
            negative_prompt=["a blur"] * len(prompts),
            true_cfg_scale=3.0,
            num_images_per_prompt=count,
            num_inference_steps=STEPS,
            height=16,
            width=16,
            output_type="latent",
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        ).images

    assert_right(lambda: sample(names, 2, [1, 2, 3, 4]), pipe)
    with accelerate(pipe, policy=DRAWN, forecaster=forecaster) as run:
        together = sample(names, 2, [1, 2, 3, 4])
        assert (run.report.plan, len(together)) == (PLAN, 4)
        for place, image in enumerate(together):
            alone = sample([names[place // 2]], 1, [place + 1])
            torch.testing.assert_close(alone[0], image, rtol=1e-5, atol=2e-5)
            assert run.report.plan == PLAN
    assert min((together[0] - together[1]).abs().max(), (together[0] - together[2]).abs().max()) > 0.1


class TestGuidance:
    """Switched off and on by a callback in the middle of a run."""

    def interval(self, *steps: int) -> Callable[..., dict[str, Any]]:
        """Make a callback that leaves guidance on in these steps only (and in the first)."""

        def switch(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            pipe._guidance_scale = 5.0 if step + 1 in steps else 1.0
            return {}

        return switch

    @pytest.mark.parametrize(
        ("steps", "computed", "notes"),
        [
            ((1, 2, 3), 2, {}),  # off for good
            ((1, 4, 5, 6, 7), 4, {}),  # off while forecasting, and on again
            ((1, 2, 3, 5, 6, 7), 4, {"step 5, uncond": "computed because this branch missed the last computed step"}),
        ],
    )
    def test_in_wan(self, steps: tuple[int, ...], computed: int, notes: dict[str, str]) -> None:
        pipe = wan_pipeline()

        def sample() -> Tensor:
            return sample_wan(pipe, callback_on_step_end=self.interval(*steps))

        untouched = sample()
        assert (untouched - sample_wan(pipe)).abs().max() > 1e-2
        with accelerate(pipe, policy=Always(), forecaster=Reuse()):
            assert torch.equal(sample(), untouched)
        with accelerate(pipe, policy=DRAWN, forecaster=Oracle()):
            torch.testing.assert_close(sample(), untouched, **CLOSE)
        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange()) as run, counted(pipe.transformer) as runs:
            sample()
        assert (run.report.plan, run.report.notes) == (PLAN, notes)
        assert runs["blocks"] == NFE + computed
        assert torch.equal(sample(), untouched)

    def test_with_true_guidance_between_runs(self) -> None:
        pipe = flux_pipeline()
        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange()) as run:
            guided, plain = sample_flux(pipe), sample_flux(pipe, true_cfg_scale=1.0)
            assert run.report.branches == ("cond",)
            assert torch.equal(sample_flux(pipe), guided)
            assert torch.equal(sample_flux(pipe, true_cfg_scale=1.0), plain)
        assert (guided - plain).abs().max() > 0.1


SOLVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Euler ancestral": ("EulerAncestralDiscrete", {}),
    "DPM2 ancestral": ("KDPM2AncestralDiscrete", {}),
    "SDE-DPM++": ("DPMSolverMultistep", {"algorithm_type": "sde-dpmsolver++"}),
    "DPM++ single step": ("DPMSolverSinglestep", {}),
    "stochastic flow": ("FlowMatchEulerDiscrete", {"stochastic_sampling": True}),
    "LCM": ("LCM", {}),
    "SA": ("SASolver", {}),
}


# diffusers hands torch tensors to numpy in a dozen schedulers; nothing of ours is involved.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context")
@pytest.mark.parametrize(
    "solver", representative(SOLVERS, ["Euler ancestral", "DPM2 ancestral", "DPM++ single step", "LCM"])
)
def test_solvers_that_draw_noise_or_evaluate_twice(solver: str) -> None:
    kind, options = SOLVERS[solver]
    pipe = loop(getattr(diffusers, f"{kind}Scheduler")(**options))
    pipe.scheduler.set_timesteps(5)
    places = len(pipe.scheduler.timesteps)

    def sample() -> Tensor:
        torch.manual_seed(0)
        return pipe(5)

    assert_right(sample, pipe, plan=("CC." * places)[:places])
