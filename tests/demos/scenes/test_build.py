"""The pipeline folder: what FluxPipeline makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline
from diffusers.models.embeddings import Timesteps
from torch import nn

from demos.scenes.build import assemble, build, export, forget_guidance, slow, transformer
from demos.scenes.check import sample
from demos.training.folder import LARGEST
from padecast.zoo.scenes import pipeline
from padecast.zoo.scenes.grammar import parse

CAPTION = "a large red circle left of a small blue square"


@pytest.fixture(scope="module")
def parts() -> nn.ModuleDict:
    """Components with random weights, of which the transformer's output depends on everything."""
    parts = build(layers=(1, 1), heads=1).eval()
    for weight in parts["transformer"].parameters():
        if weight.eq(0).all():
            nn.init.normal_(weight, std=0.02)
    return parts


@pytest.fixture(scope="module")
def folder(parts: nn.ModuleDict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    export(parts, folder)
    return folder


def call(pipe: Any, **options: Any) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    return pipe(CAPTION, num_inference_steps=2, generator=generator, output_type="pt", **options).images


def test_a_saved_pipeline_draws_what_it_drew(parts: nn.ModuleDict, folder: Path) -> None:
    images = call(pipeline.load(folder))
    assert images.shape == (1, 3, 64, 64) and images.dtype == torch.float32
    torch.testing.assert_close(images, call(assemble(parts)), atol=5e-3, rtol=0)  # it was saved in float16


def test_flux_pipeline_loads_it_all_in_float32(folder: Path) -> None:
    pipe = FluxPipeline.from_pretrained(folder)
    for name in ("vae", "text_encoder", "text_encoder_2", "transformer"):
        assert {weight.dtype for weight in pipe.components[name].parameters()} == {torch.float32}
    torch.testing.assert_close(call(pipe, height=64, width=64), call(pipeline.load(folder)))


def test_the_folder_names_classes_of_every_transformers_version(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    assert index["tokenizer"] == index["tokenizer_2"] == ["transformers", "PreTrainedTokenizerFast"]


def test_caption_guidance_and_padding_reach_the_transformer(parts: nn.ModuleDict) -> None:
    pipe = assemble(parts)
    images = call(pipe)
    assert not torch.equal(images, call(pipe, guidance_scale=1.5))
    assert not torch.equal(images, call(pipe, max_sequence_length=24))
    scenes = [parse("a red circle"), parse("a blue circle")]
    first, second = sample(pipe, scenes, steps=2, guidance=3.5, length=24, seed=0)
    alone = sample(pipe, scenes[:1], steps=2, guidance=3.5, length=24, seed=0)
    torch.testing.assert_close(first, alone[0])
    assert not torch.equal(first, second)


def test_the_full_model_fits(tmp_path: Path) -> None:
    parts = build()
    weights = sum(weight.numel() for weight in parts.parameters())
    assert 2 * weights < LARGEST - 2**17  # with room for what is not weights


def test_untrained_blocks_are_the_identity() -> None:
    model = transformer((1, 1), 1)
    inputs = torch.randn(1, 64, 32), torch.randn(1, 24, 32), torch.randn(1, 32)
    ids = torch.zeros(88, 3)
    text, image = model.transformer_blocks[0](*inputs, image_rotary_emb=model.pos_embed(ids))
    assert torch.equal(image, inputs[0]) and torch.equal(text, inputs[1])


@pytest.mark.parametrize("fastest", [1.0, 0.03, 0.003])
def test_slow_channels_are_those_that_change_little(fastest: float) -> None:
    embed = Timesteps(num_channels=256, flip_sin_to_cos=True, downscale_freq_shift=0)
    times = torch.arange(1000, dtype=torch.float32)
    speed = (embed(times + 0.5) - embed(times)).abs().amax(0) / 0.5
    kept = slow(fastest).bool()
    assert kept.shape == (256,) and kept.any()
    assert speed[kept].max() <= fastest * 1.001
    assert kept.all() or speed[~kept].min() > fastest * 0.5


def test_forgotten_guidance_is_that_of_one_scale_for_all() -> None:
    model = transformer((1, 1), 1)
    embed = model.time_text_embed
    scales = torch.tensor([1000.0, 3500.0])
    before = embed.guidance_embedder(embed.time_proj(scales))
    forget_guidance(model, 1.0)
    after = embed.guidance_embedder(embed.time_proj(scales))
    assert not torch.allclose(before[0], before[1])
    torch.testing.assert_close(after, before[:1].expand_as(after))
