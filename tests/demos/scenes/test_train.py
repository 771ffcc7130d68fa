"""Training of the scenes model: each stage resumes exactly, lowers its loss, and leaves a usable pipeline."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.demos.stages import weights
from tests.representative import representative
from torch import nn

from demos.scenes import build as components
from demos.scenes import gallery, stages
from demos.scenes import train as training
from demos.scenes.build import GUIDANCE_FASTEST, TIME_FASTEST, build, slow
from demos.scenes.recipe import STAGES, Recipe
from demos.scenes.stages import (
    Autoencoder,
    Captions,
    Flow,
    Guidance,
    draw_length,
    fix_scale,
    normalised,
    pictures,
)
from demos.scenes.train import KINDS, main
from demos.training.run import train
from demos.training.stage import Stage
from padecast._errors import InvalidOption
from padecast.zoo.scenes import pipeline

TINY = Recipe(steps=2, batches=(2, 2, 2, 2), warmup=2, gallery=64, layers=(1, 1), heads=1, bfloat16=False)


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    """A narrow autoencoder, a gallery of eight pictures, and the scale of latents measured on four, to save time."""
    narrow = partial(components.autoencoder, (8, 8, 8))
    few = lambda encode, seed, size, reuse: gallery.Gallery(encode, seed, 8, reuse)  # noqa: E731
    quick = replace(training.SCENES, settle={"vae": partial(fix_scale, count=4)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components, "autoencoder", narrow)
        patch.setattr(training, "SCENES", quick)
        patch.setattr(gallery, "BLOCK", 8)
        patch.setattr(stages, "Gallery", few)
        yield


@pytest.fixture(scope="module")
def built(_small: None) -> nn.ModuleDict:
    return build(0, TINY.layers, TINY.heads)


def begin(kind: type[Stage[Recipe]], built: nn.ModuleDict, **changes: Any) -> Any:
    return kind(copy.deepcopy(built), replace(TINY, **changes), "cpu")


def measured(stage: Stage[Recipe]) -> float:
    """The loss of the same pictures, noise and levels each time."""
    stage.generator.manual_seed(5)
    with torch.no_grad():
        return float(stage.loss())


@pytest.mark.slow
@pytest.mark.parametrize("name", representative(STAGES, ["vae", "text"]))
def test_a_resumed_stage_equals_an_uninterrupted_one(name: str, built: nn.ModuleDict, tmp_path: Path) -> None:
    straight, resumed = (begin(KINDS[name], built) for _ in range(2))
    straight.step()
    straight.save(tmp_path / "state.safetensors")
    resumed.load(tmp_path / "state.safetensors")
    straight.step(), resumed.step()
    assert straight.done == resumed.done == 2
    for key, weight in weights(straight).items():
        assert torch.equal(weight, weights(resumed)[key]), key
    assert torch.equal(straight.generator.get_state(), resumed.generator.get_state())


@pytest.mark.slow
def test_stages_build_on_one_another(tmp_path: Path) -> None:
    once = replace(TINY, steps=1)
    straight = train(training.SCENES, once, tmp_path / "straight", quiet=True)
    (tmp_path / "parts").mkdir()
    for done in ("vae", "text"):
        shutil.copy(tmp_path / "straight" / f"{done}.safetensors", tmp_path / "parts")
    resumed = train(training.SCENES, once, tmp_path / "parts", resume=True, quiet=True)
    for name, weight in straight.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    shipped = pipeline.load(tmp_path / "parts" / "pipeline")
    assert shipped.vae.config.scaling_factor == straight["vae"].config.scaling_factor != 1
    for name, weight in straight["transformer"].state_dict().items():
        assert torch.equal(shipped.transformer.state_dict()[name], weight.half().float()), name


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        pytest.param(Autoencoder, 6, marks=pytest.mark.slow),
        (Captions, 8),
        pytest.param(Flow, 10, marks=pytest.mark.slow),
    ],
)
def test_training_lowers_the_loss(kind: type[Stage[Recipe]], count: int, built: nn.ModuleDict) -> None:
    stage = begin(kind, built, steps=count, batches=(2, 8, 4, 4), rates=(2e-3, 5e-3, 5e-3, 3e-3), warmup=2)
    before = measured(stage)
    for _ in range(count):
        stage.step()
    assert measured(stage) < 0.85 * before


@pytest.mark.slow
def test_distillation_begins_as_the_teacher_and_aims_at_the_guided_velocity(built: nn.ModuleDict) -> None:
    for weight in (parts := copy.deepcopy(built))["transformer"].parameters():
        if weight.eq(0).all():
            nn.init.normal_(weight, std=0.1)
    assert begin(Guidance, parts, guidance=(1.0, 1.0)).loss() < 1e-10
    stage = begin(Guidance, parts, guidance=(6.0, 6.0), steps=8, warmup=1)
    before = measured(stage)
    for _ in range(8):
        stage.step()
    assert before > 1e-4 and measured(stage) < 0.9 * before


def test_fast_channels_stay_disconnected(built: nn.ModuleDict) -> None:
    stage = begin(Flow, built)
    stage.step(), stage.step()
    embed: Any = stage.average["transformer"]
    for layer, fastest in (("timestep_embedder", TIME_FASTEST), ("guidance_embedder", GUIDANCE_FASTEST)):
        weight = getattr(embed.time_text_embed, layer).linear_1.weight
        fast = slow(fastest) == 0
        assert weight[:, fast].eq(0).all() and weight[:, ~fast].ne(0).any()


@pytest.mark.slow
def test_the_residual_stream_is_float32_in_bfloat16(built: nn.ModuleDict) -> None:
    stage = begin(Flow, built, bfloat16=True)
    seen: list[torch.dtype] = []
    model: Any = stage.model["transformer"]
    note = lambda module, args, kwargs: seen.append(kwargs["hidden_states"].dtype)  # noqa: E731
    model.transformer_blocks[0].register_forward_pre_hook(note, with_kwargs=True)
    model.single_transformer_blocks[0].register_forward_pre_hook(note, with_kwargs=True)
    assert torch.tensor(stage.step()).isfinite()
    assert seen == [torch.float32] * 2
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_latents_are_normalised(built: nn.ModuleDict) -> None:
    vae: Any = copy.deepcopy(built["vae"]).eval()
    fix_scale(vae, count=32)
    images, _ = pictures(32, torch.Generator().manual_seed(0), torch.device("cpu"))
    latents = normalised(vae, images)
    assert latents.shape == (32, 4, 16, 16)
    assert abs(float(latents.mean())) < 1e-3 and float(latents.std()) == pytest.approx(1, abs=1e-3)


def test_captions_are_padded_to_few_tokens_mostly_and_to_all_sometimes() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([draw_length(generator) for _ in range(2000)])
    assert lengths.min() == 20 and lengths.max() == 512
    assert 0.83 < (lengths <= 24).double().mean() < 0.89
    assert 0.02 < (lengths == 512).double().mean() < 0.04


def test_options() -> None:
    with pytest.raises(InvalidOption, match="gallery"):
        Recipe(gallery=100)
    recipe = Recipe(minutes=10, shares=(0.1, 0.1, 0.7, 0.1))
    assert recipe.progress("flow", 10**9, 600 * 0.7 / 2) == pytest.approx(0.5)


def test_muon_takes_the_matrices_of_blocks_and_layers(built: nn.ModuleDict) -> None:
    flow = begin(Flow, built)
    names = {id(weight): name for name, weight in flow.model.named_parameters()}
    taken = {names[id(weight)] for weight in flow.optimizers[1].param_groups[0]["params"]}
    assert "transformer.transformer_blocks.0.attn.to_q.weight" in taken
    assert not any(part in name for name in taken for part in ("embed", "bias", "norm_out", "proj_out.weight.", "head"))
    assert "transformer.proj_out.weight" not in taken and "transformer.x_embedder.weight" not in taken


@dataclass(frozen=True)
class Small(Recipe):
    batches: tuple[int, ...] = TINY.batches
    bfloat16: bool | None = False


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "Recipe", Small)
    arguments = ["--steps", "1", "--blocks", "1", "1", "--heads", "1", "--stage", "vae", "--out", str(tmp_path)]
    arguments += ["--threads", str(torch.get_num_threads())]
    main(arguments)
    main([*arguments, "--resume"])
    assert (tmp_path / "vae.safetensors").is_file() and (tmp_path / "pipeline" / "model_index.json").is_file()
