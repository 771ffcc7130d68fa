"""Weights that are stored narrow: quantized by torchao, or cast layer by layer when they are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from tests.representative import representative
from tests.tiny import NFE, PLAN, STEPS, counted, flux, flux_pipeline, flux_prompt, footprint, sample_flux
from torch import Tensor, nn

from padecast import accelerate
from padecast.forecasters import Lagrange, Oracle, Reuse
from padecast.policies import Always, Plan

DRAWN = Plan(PLAN)
FLOAT8 = torch.float8_e4m3fn


def sample(pipe: Any, **options: Any) -> Tensor:
    prompts = {name: value.to(pipe.transformer.dtype) for name, value in flux_prompt().items()}
    return sample_flux(pipe, **{**prompts, **options})


def assert_right(pipe: Any, span: str = "full", exact: bool = True) -> None:
    """Assert that exact runs are exact, that a plan saves what it says, and that nothing is left behind."""
    untouched, before = sample(pipe), footprint(pipe.transformer)
    with accelerate(pipe, policy=Always(), forecaster=Reuse(), span=span) as run:
        assert torch.equal(sample(pipe), untouched)
    assert (run.report.computed, run.report.forecast) == (STEPS, 0)
    rounding = {"rtol": 1e-4, "atol": 1e-4} if exact else {"rtol": 0.1, "atol": 0.1}
    with accelerate(pipe, policy=DRAWN, forecaster=Oracle(), span=span) as run:
        torch.testing.assert_close(sample(pipe), untouched, **rounding)
    assert run.report.plan == PLAN
    with accelerate(pipe, policy=DRAWN, forecaster=Lagrange(), span=span) as run, counted(pipe.transformer) as runs:
        forecast = sample(pipe)
        assert torch.equal(sample(pipe), forecast)
    assert (run.report.plan, run.report.notes) == (PLAN, {})
    assert run.report.history_bytes > 0
    assert runs["single_transformer_blocks"] == 2 * 2 * (STEPS if span == "double" else NFE)
    assert not torch.allclose(forecast, untouched, atol=1e-2)
    assert footprint(pipe.transformer) == before
    assert torch.equal(sample(pipe), untouched)


def error_of(pipe: Any) -> float:
    """How much the stored weights change an image."""
    return float((sample(pipe).float() - sample_flux(flux_pipeline())).abs().max())


class TestTorchAO:
    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("torchao")

    def quantized(self) -> nn.Module:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        model = flux()
        quantize_(model, Int8WeightOnlyConfig())
        return model

    @pytest.mark.parametrize("span", ["full", "double", "single"])
    def test_int8_weights(self, span: str) -> None:
        pipe = flux_pipeline(transformer=self.quantized())
        assert 1e-4 < error_of(pipe) < 0.1
        assert_right(pipe, span)

    def test_as_diffusers_loads_them(self, tmp_path: Path) -> None:
        from diffusers import TorchAoConfig
        from torchao.quantization import Int8WeightOnlyConfig

        flux().save_pretrained(tmp_path)
        config = TorchAoConfig(Int8WeightOnlyConfig())
        model = FluxTransformer2DModel.from_pretrained(
            tmp_path, torch_dtype=torch.bfloat16, quantization_config=config
        ).eval()
        pipe = flux_pipeline(transformer=model)
        assert model.is_quantized
        assert_right(pipe, exact=False)

    def test_quantizing_while_on(self) -> None:
        """The weights are exchanged in place: the next run is that of a model that was quantized before."""
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        pipe, fresh = flux_pipeline(), flux_pipeline(transformer=self.quantized())
        untouched = sample(fresh)
        with accelerate(fresh, policy=DRAWN, forecaster=Lagrange()):
            expected = sample(fresh)
        handle = accelerate(pipe, policy=DRAWN, forecaster=Lagrange()).enable()
        assert not torch.equal(sample(pipe), expected)
        quantize_(pipe.transformer, Int8WeightOnlyConfig())
        assert torch.equal(sample(pipe), expected)
        handle.disable()
        assert torch.equal(sample(pipe), untouched)


class TestLayerwiseCasting:
    """diffusers' hooks widen a layer's weights before it runs, and narrow them after."""

    def cast(self, pipe: Any, compute: torch.dtype = torch.float32) -> Any:
        pipe.transformer.enable_layerwise_casting(storage_dtype=FLOAT8, compute_dtype=compute)
        return pipe

    def narrow(self, pipe: Any) -> bool:
        """Whether every block's weights are stored narrow at this moment."""
        return all(block.attn.to_q.weight.dtype == FLOAT8 for block in pipe.transformer.transformer_blocks)

    @pytest.mark.slow
    @pytest.mark.parametrize("span", representative(["full", "double", "single"], ["double"]))
    def test_float8_storage(self, span: str) -> None:
        pipe = self.cast(flux_pipeline())
        assert self.narrow(pipe)
        assert 1e-3 < float((sample_flux(pipe) - sample_flux(flux_pipeline())).abs().max()) < 2.0
        assert_right(pipe, span)
        assert self.narrow(pipe)

    @pytest.mark.slow
    def test_and_bfloat16_computing(self) -> None:
        pipe = flux_pipeline()
        pipe.to(dtype=torch.bfloat16)
        assert_right(self.cast(pipe, torch.bfloat16), exact=False)

    @pytest.mark.parametrize("order", ["before", "after"])
    def test_switched_on_before_and_after_us(self, order: str) -> None:
        pipe, fresh = flux_pipeline(), self.cast(flux_pipeline())
        untouched = sample(fresh)
        with accelerate(fresh, policy=DRAWN, forecaster=Lagrange()):
            expected = sample(fresh)
        if order == "before":
            self.cast(pipe)
        handle = accelerate(pipe, policy=DRAWN, forecaster=Lagrange()).enable()
        if order == "after":
            assert not torch.equal(sample(pipe), expected)
            self.cast(pipe)
        assert torch.equal(sample(pipe), expected)
        assert handle.report.plan == PLAN
        handle.disable()
        assert self.narrow(pipe)
        assert torch.equal(sample(pipe), untouched)


def test_a_history_that_is_stored_narrow_beside_narrow_weights() -> None:
    pipe, bytes_of = TestLayerwiseCasting().cast(flux_pipeline()), {}
    images: dict[Any, Tensor] = {}
    for dtype in (None, torch.bfloat16):
        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange(), dtype=dtype) as run:
            images[dtype] = sample(pipe)
        bytes_of[dtype] = run.report.history_bytes
    assert bytes_of[None] == 2 * bytes_of[torch.bfloat16]
    torch.testing.assert_close(*images.values(), rtol=0.05, atol=0.05)
