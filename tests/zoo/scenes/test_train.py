"""Training of the scenes model: each stage resumes exactly, lowers its loss, and leaves a usable pipeline."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from padecast._errors import InvalidOption
from padecast.zoo.scenes import pipeline
from padecast.zoo.scenes.build import GUIDANCE_FASTEST, TIME_FASTEST, build, slow
from padecast.zoo.scenes.recipe import STAGES, Recipe, faster_in_bfloat16
from padecast.zoo.scenes.stage import Stage
from padecast.zoo.scenes.stages import (
    Autoencoder,
    Captions,
    Flow,
    Guidance,
    draw_length,
    fix_scale,
    normalised,
    pictures,
)
from padecast.zoo.scenes.train import KINDS, main, train

TINY = Recipe(steps=2, batches=(2, 2, 2, 2, 2), warmup=2, gallery=64, layers=(1, 1), heads=1, bfloat16=False)


@pytest.fixture(scope="module")
def built() -> nn.ModuleDict:
    return build(0, TINY.layers, TINY.heads)


@pytest.fixture(autouse=True)
def _few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the scale of the latents on few pictures, to save time."""
    monkeypatch.setattr("padecast.zoo.scenes.train.fix_scale", partial(fix_scale, count=4))


def begin(kind: type[Stage], built: nn.ModuleDict, **changes: Any) -> Stage:
    return kind(copy.deepcopy(built), replace(TINY, **changes), "cpu")


def weights(stage: Stage) -> dict[str, torch.Tensor]:
    average = {f"average.{name}": weight for name, weight in stage.average.state_dict().items()}
    return {**stage.model.state_dict(), **average}


@pytest.mark.parametrize("name", STAGES)
def test_a_resumed_stage_equals_an_uninterrupted_one(name: str, built: nn.ModuleDict, tmp_path: Path) -> None:
    straight, first, resumed = (begin(KINDS[name], built) for _ in range(3))
    straight.step(), straight.step(), first.step()
    first.save(tmp_path / "state.pt")
    resumed.load(tmp_path / "state.pt")
    resumed.step()
    assert straight.done == resumed.done == 2
    for key, weight in weights(straight).items():
        assert torch.equal(weight, weights(resumed)[key]), key
    assert torch.equal(straight.generator.get_state(), resumed.generator.get_state())


def test_stages_build_on_one_another(tmp_path: Path) -> None:
    straight = train(TINY, tmp_path / "straight", quiet=True)
    train(TINY, tmp_path / "parts", stages=("vae",), quiet=True)
    resumed = train(TINY, tmp_path / "parts", resume=True, quiet=True)
    for name, weight in straight.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    shipped = pipeline.load(tmp_path / "parts" / "pipeline")
    assert shipped.vae.config.scaling_factor == straight["vae"].config.scaling_factor != 1
    for name, weight in straight["transformer"].state_dict().items():
        assert torch.equal(shipped.transformer.state_dict()[name], weight.half().float()), name


def test_resuming_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no training state"):
        train(TINY, tmp_path, resume=True, quiet=True)
    with pytest.raises(FileNotFoundError, match="builds on those before it"):
        train(TINY, tmp_path, stages=("flow",), quiet=True)


@pytest.mark.parametrize(("kind", "count"), [(Autoencoder, 8), (Captions, 24), (Flow, 16)])
def test_training_lowers_the_loss(kind: type[Stage], count: int, built: nn.ModuleDict) -> None:
    stage = begin(kind, built, steps=count, batches=(2, 2, 8, 4, 4), rates=(2e-3, 2e-3, 5e-3, 5e-3, 3e-3), warmup=2)

    def measured() -> float:
        stage.generator.manual_seed(5)  # the same pictures, noise and levels each time
        with torch.no_grad():
            return float(stage.loss())

    before = measured()
    for _ in range(count):
        stage.step()
    assert measured() < 0.85 * before


def test_distillation_begins_as_the_teacher_and_aims_at_the_guided_velocity(built: nn.ModuleDict) -> None:
    for weight in (parts := copy.deepcopy(built))["transformer"].parameters():
        if weight.eq(0).all():
            nn.init.normal_(weight, std=0.1)
    assert begin(Guidance, parts, guidance=(1.0, 1.0)).loss() < 1e-10
    stage = begin(Guidance, parts, guidance=(6.0, 6.0), steps=8, warmup=1)
    losses = [stage.step() for _ in range(8)]
    assert losses[0] > 1e-4 and losses[-1] < losses[0]


def test_fast_channels_stay_disconnected(built: nn.ModuleDict) -> None:
    stage = begin(Flow, built)
    stage.step(), stage.step()
    embed: Any = stage.average["transformer"]
    for layer, fastest in (("timestep_embedder", TIME_FASTEST), ("guidance_embedder", GUIDANCE_FASTEST)):
        weight = getattr(embed.time_text_embed, layer).linear_1.weight
        fast = slow(fastest) == 0
        assert weight[:, fast].eq(0).all() and weight[:, ~fast].ne(0).any()


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


def test_precision_is_probed() -> None:
    assert faster_in_bfloat16(torch.device("cpu"), repeats=1) in (True, False)


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
    assert 0.87 < (lengths <= 24).double().mean() < 0.93
    assert 0.001 < (lengths == 512).double().mean() < 0.02


def test_the_rate_follows_steps_or_time() -> None:
    steps, minutes = Recipe(steps=100), Recipe(minutes=10)
    assert steps.progress("flow", 50, 1e9) == 0.5
    assert minutes.progress("flow", 10**9, 600 * 0.33) == pytest.approx(0.5)
    rates = [steps.rate("flow", 200, progress / 10) for progress in range(11)]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.02 * rates[0]
    assert steps.rate("flow", 0, 0.0) < 0.02 * steps.rates[3]


@pytest.mark.parametrize(
    "wrong", [{"minutes": 0.0}, {"steps": 0}, {"batches": (0, 1, 1, 1, 1)}, {"rates": (1e-3,)}, {"gallery": 100}]
)
def test_a_wrong_option_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        Recipe(**wrong)


def test_command_line(tmp_path: Path) -> None:
    arguments = ["--steps", "1", "--blocks", "1", "1", "--heads", "1", "--stage", "vae", "--out", str(tmp_path)]
    arguments += ["--threads", str(torch.get_num_threads())]
    main(arguments)
    main([*arguments, "--resume"])
    assert (tmp_path / "vae.pt").is_file() and (tmp_path / "pipeline" / "model_index.json").is_file()
