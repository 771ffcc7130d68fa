"""What a model adds between its blocks is inside the remembered residual, and is added once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.tiny import PLAN, counted, flux, flux_controlnet, flux_prompt, sample_flux
from torch import Tensor

from padecast import accelerate
from padecast.forecasters import Oracle, Reuse
from padecast.policies import Always, Plan

TOKENS, WIDTH = 9, 32


def control(count: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(9)
    return [torch.randn(1, TOKENS, WIDTH, generator=draw) for _ in range(count)]


def call(model: Any, step: int, total: int = 4, **extra: Any) -> Tensor:
    """Call at one step with the same inputs and the same timestep as at every other: the true residual stands still."""
    draw = torch.Generator().manual_seed(10)
    x, text = torch.randn(1, TOKENS, 4, generator=draw), torch.randn(1, 5, 8, generator=draw)
    with torch.no_grad(), model.cache_context("cond", step_index=step, num_inference_steps=total):
        return model(
            x,
            text,
            flux_prompt()["pooled_prompt_embeds"],
            torch.tensor([0.5]),
            img_ids=torch.zeros(TOKENS, 3),
            txt_ids=torch.zeros(5, 3),
            **extra,
        ).sample


EXTRAS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "double": {"controlnet_block_samples": control(2)},
    "single": {"controlnet_single_block_samples": control(3)},
    "both": {"controlnet_block_samples": control(1), "controlnet_single_block_samples": control(3)},
    "repeated": {"controlnet_block_samples": control(2), "controlnet_blocks_repeat": True},
}


class TestAtStandingInputs:
    """Repeating the residual must give what the model gives: neither twice nor without what is added between."""

    @pytest.mark.parametrize("span", ["full", "double", "single"])
    @pytest.mark.parametrize("extra", EXTRAS)
    def test_forecast_equals_computed(self, span: str, extra: str) -> None:
        model, given = flux(), EXTRAS[extra]
        untouched = call(model, 0, **given)
        with accelerate(model, policy=Plan("C..."), forecaster=Reuse(), span=span) as run:
            for step in range(4):
                torch.testing.assert_close(call(model, step, **given), untouched)
        assert run.report.plan == "C..."

    def test_the_controls_matter(self) -> None:
        """Otherwise the test above could not fail."""
        model = flux()
        plain = call(model, 0)
        for given in list(EXTRAS.values())[1:]:
            assert (call(model, 0, **given) - plain).abs().max() > 0.1
        doubled = {"controlnet_single_block_samples": [2 * x for x in control(3)]}
        assert (call(model, 0, **doubled) - call(model, 0, **EXTRAS["single"])).abs().max() > 0.1

    def test_a_span_that_is_not_last_carries_the_text(self) -> None:
        model, seen = flux(), []
        before = [module.register_forward_pre_hook(seer(seen), with_kwargs=True) for module in both_ends(model)]
        with accelerate(model, policy=Plan("C."), forecaster=Reuse(), span="double"), counted(model) as runs:
            for step in range(2):
                call(model, step, total=2)
        assert runs == {"transformer_blocks": 1, "single_transformer_blocks": 2}
        (first_in, first_out), (second_in, second_out) = seen[:2], seen[2:]
        assert torch.equal(first_in, second_in)
        assert (first_out - first_in).abs().max() > 0.1
        torch.testing.assert_close(second_out, first_out)
        for hook in before:
            hook.remove()

    def test_it_remembers_both_streams(self) -> None:
        model, bytes_of = flux(), {}
        for span in ("full", "double"):
            with accelerate(model, policy=Plan("C."), forecaster=Reuse(), span=span, measure=False) as run:
                call(model, 0, total=2)
            bytes_of[span] = run.report.history_bytes
        assert bytes_of == {"full": TOKENS * WIDTH * 4, "double": (TOKENS + 5) * WIDTH * 4}


def both_ends(model: Any) -> tuple[Any, Any]:
    return model.transformer_blocks[0], model.single_transformer_blocks[0]


def seer(seen: list[Tensor]) -> Any:
    def see(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.append(kwargs["encoder_hidden_states"])

    return see


@pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated")  # diffusers' own FLUX ControlNet imports it
class TestControlNetPipeline:
    def sample(self, pipe: Any, scale: float = 1.0) -> Tensor:
        picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(11))
        return sample_flux(pipe, control_image=picture, controlnet_conditioning_scale=scale)

    def test_exact(self) -> None:
        pipe = flux_controlnet()
        untouched = self.sample(pipe)
        assert (untouched - self.sample(pipe, scale=0.0)).abs().max() > 0.1
        with accelerate(pipe, policy=Always(), forecaster=Reuse()):
            assert torch.equal(self.sample(pipe), untouched)
        with accelerate(pipe, policy=Plan(PLAN), forecaster=Oracle()):
            torch.testing.assert_close(self.sample(pipe), untouched)
        assert torch.equal(self.sample(pipe), untouched)

    def test_only_the_transformer_is_saved(self) -> None:
        pipe = flux_controlnet()
        with (
            accelerate(pipe, policy=Plan(PLAN), forecaster=Reuse()) as run,
            counted(pipe.transformer) as runs,
            counted(pipe.controlnet) as control_runs,
        ):
            self.sample(pipe)
        assert run.report.plan == PLAN
        assert set(runs.values()) == {2 * PLAN.count("C")}
        assert set(control_runs.values()) == {len(PLAN)}
