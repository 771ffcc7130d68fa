"""The pipeline folder: what WanPipeline makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanPipeline
from torch import Tensor, nn

from demos.motion.build import CHANNELS, assemble, build, export, transformer
from demos.motion.check import sample
from demos.motion.clips import fix_scale, normalised
from demos.motion.tokens import FEWEST, encode, tokenizer
from demos.training.folder import LARGEST
from padecast.zoo.motion.grammar import Clip, parse

CAPTION = "a large red star moving left"


@pytest.fixture(scope="module")
def parts() -> nn.ModuleDict:
    """Components with random weights, of which the transformer's output depends on everything."""
    parts = build(layers=2, heads=1).eval()
    for weight in parts["transformer"].parameters():
        if weight.eq(0).all():
            nn.init.normal_(weight, std=0.1)
    fix_scale(parts["vae"], count=4)
    return parts


@pytest.fixture(scope="module")
def folder(parts: nn.ModuleDict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    export(parts, folder)
    return folder


def call(pipe: Any, **options: Any) -> Tensor:
    pipe.set_progress_bar_config(disable=True)
    size = {"height": 64, "width": 64, "num_frames": 17, "num_inference_steps": 2}
    generator = torch.Generator().manual_seed(0)
    frames: Tensor = pipe(CAPTION, generator=generator, output_type="pt", **size, **options).frames
    return frames


def test_wan_pipeline_draws_from_the_folder_what_the_components_draw(parts: nn.ModuleDict, folder: Path) -> None:
    pipe = WanPipeline.from_pretrained(folder)
    for name in ("vae", "text_encoder", "transformer"):
        assert {weight.dtype for weight in pipe.components[name].parameters()} == {torch.float32}
    frames = call(pipe)
    assert frames.shape == (1, 17, 3, 64, 64)
    torch.testing.assert_close(frames, call(assemble(parts)), atol=0.02, rtol=0)  # it was saved in float16
    assert pipe.vae.config.latents_std == parts["vae"].config.latents_std
    assert json.loads((folder / "model_index.json").read_text())["tokenizer"] == [
        "transformers",
        "PreTrainedTokenizerFast",
    ]


def test_caption_guidance_and_padding_reach_the_transformer(parts: nn.ModuleDict) -> None:
    pipe = assemble(parts)
    options = {"steps": 2, "guidance": 3.0, "length": 32}
    pipe.set_progress_bar_config(disable=True)
    clips = [parse(CAPTION), parse("a small blue ring growing")]
    first, second = sample(pipe, clips, **options)
    torch.testing.assert_close(first, sample(pipe, clips[:1], **options)[0], atol=1e-4, rtol=0)
    assert not torch.equal(first, second)
    for changed in ({"guidance": 1.0}, {"length": 512}, {"seed": 1}):
        assert not torch.allclose(first, sample(pipe, clips[:1], **{**options, **changed})[0], atol=1e-3)


def test_latents_are_normalised(parts: nn.ModuleDict, filmed: Tensor) -> None:
    latents = normalised(parts["vae"], filmed[:8] * 2 - 1)
    assert latents.shape == (8, CHANNELS, 5, 8, 8)
    assert latents.mean((0, 2, 3, 4)).abs().max() < 0.8 and 0.5 < latents.std() < 1.5


def test_the_full_model_fits() -> None:
    weights = sum(weight.numel() for weight in build().parameters())
    assert 2 * weights < LARGEST - 2**17  # with room for what is not weights


def test_untrained_blocks_are_the_identity_and_the_output_zero() -> None:
    model = transformer(1, 1)
    inputs = {"hidden_states": torch.randn(1, CHANNELS, 5, 8, 8), "encoder_hidden_states": torch.randn(1, 16, 128)}
    seen: list[Tensor] = []
    model.blocks[0].register_forward_hook(lambda module, args, output: seen.extend((args[0], output)))
    assert model(**inputs, timestep=torch.tensor([500.0]), return_dict=False)[0].eq(0).all()
    assert torch.equal(*seen)


def test_captions_fit_and_unknown_words_are_unknown(clips: list[Clip]) -> None:
    known = tokenizer()
    numbers, mask = encode(known, [clip.caption for clip in clips])
    assert numbers.shape == (len(clips), FEWEST) and mask.sum(1).max() < FEWEST
    assert known.decode(numbers[0], skip_special_tokens=True) == clips[0].caption
    assert not numbers.eq(known.unk_token_id).any()
    assert encode(known, ["A crimson star."])[0][0, :4].tolist().count(known.unk_token_id) == 1
