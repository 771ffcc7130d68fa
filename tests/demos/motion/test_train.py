"""Training of the motion model: each stage resumes exactly, lowers its loss, and leaves a usable pipeline."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.demos.stages import weights
from tests.representative import representative
from torch import nn

from demos.motion import build as components
from demos.motion import train as training
from demos.motion.build import CHANNELS, TIME_FASTEST, build, slow
from demos.motion.clips import fix_scale, shoot, shown
from demos.motion.recipe import STAGES, Recipe
from demos.motion.stages import DEAR, OUTER, Autoencoder, Flow, Words, draw_length, emphasis, padded
from demos.motion.tokens import FEWEST, LENGTH
from demos.motion.train import KINDS, main
from demos.training.run import train
from demos.training.stage import Stage
from padecast._errors import InvalidOption
from padecast.zoo.motion import pipeline
from padecast.zoo.motion.appearance import FRAMES

TINY = Recipe(steps=2, batches=(1, 4, 2), warmup=2, layers=2, heads=1, cache=4, refresh=1, bfloat16=False)


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    """A narrow autoencoder, and the scale of the latents measured on few clips, to save time."""
    narrow = partial(components.autoencoder, 8)
    quick = replace(training.MOTION, settle={"vae": partial(fix_scale, count=2)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components, "autoencoder", narrow)
        patch.setattr(training, "MOTION", quick)
        yield


@pytest.fixture(scope="module")
def built(_small: None) -> nn.ModuleDict:
    return build(0, TINY.layers, TINY.heads)


def begin(kind: type[Stage[Recipe]], built: nn.ModuleDict, **changes: Any) -> Any:
    return kind(copy.deepcopy(built), replace(TINY, **changes), "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", representative(STAGES, ["text", "flow"]))
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
    straight = train(training.MOTION, once, tmp_path / "straight", quiet=True)
    (tmp_path / "parts").mkdir()
    shutil.copy(tmp_path / "straight" / "vae.safetensors", tmp_path / "parts")
    resumed = train(training.MOTION, once, tmp_path / "parts", resume=True, quiet=True)
    for name, weight in straight.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    shipped = pipeline.load(tmp_path / "parts" / "pipeline")
    assert shipped.vae.config.latents_mean == straight["vae"].config.latents_mean != [0.0] * CHANNELS
    for name, weight in straight["transformer"].state_dict().items():
        assert torch.equal(shipped.transformer.state_dict()[name], weight.half().float()), name


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        pytest.param(Autoencoder, 10, marks=pytest.mark.slow),
        (Words, 8),
        pytest.param(Flow, 7, marks=pytest.mark.slow),
    ],
)
def test_training_lowers_the_loss(kind: type[Stage[Recipe]], count: int, built: nn.ModuleDict) -> None:
    changes: dict[str, Any] = {"curriculum": (1.0, 1.0), "rates": (3e-3, 5e-3, 5e-3), "refresh": 100}
    stage = begin(kind, built, steps=count, batches=(1, 16, 4), **changes)

    def measured() -> float:
        stage.generator.manual_seed(5)  # the same clips, noise and levels each time
        with torch.no_grad():
            return float(stage.loss())

    before = measured()
    for _ in range(count):
        stage.step()
    assert measured() < 0.95 * before


def test_fast_channels_stay_disconnected(built: nn.ModuleDict) -> None:
    stage = begin(Flow, built)
    stage.step(), stage.step()
    weight = stage.average["transformer"].condition_embedder.time_embedder.linear_1.weight
    fast = slow(TIME_FASTEST) == 0
    assert weight[:, fast].eq(0).all() and weight[:, ~fast].ne(0).any()


@pytest.mark.slow
def test_the_residual_stream_is_float32_in_bfloat16(built: nn.ModuleDict) -> None:
    stage = begin(Flow, built, bfloat16=True)
    seen: list[torch.dtype] = []
    model: Any = stage.model["transformer"]
    for block in model.blocks:
        block.register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    model.blocks[0].attn1.to_q.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    assert torch.tensor(stage.step()).isfinite()
    assert seen == [torch.float32, torch.bfloat16, torch.float32]
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert stage.takes.latents.dtype == torch.float32


def test_padding_counts_as_if_it_were_there(built: nn.ModuleDict) -> None:
    model: Any = copy.deepcopy(built["transformer"]).eval()
    for block in model.blocks:
        nn.init.normal_(block.attn2.to_out[0].weight, std=0.2)
    nn.init.normal_(model.proj_out.weight, std=0.2)
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(FEWEST) < torch.tensor([[1], [9]])
    text = torch.randn(2, FEWEST, 128, generator=generator) * mask[..., None]
    inputs = {
        "hidden_states": torch.randn(2, CHANNELS, 5, 8, 8, generator=generator),
        "timestep": torch.tensor([700.0] * 2),
    }
    with torch.no_grad():
        longer = torch.cat([text, torch.zeros(2, LENGTH - FEWEST, 128)], 1)
        truly = model(encoder_hidden_states=longer, return_dict=False, **inputs)[0]
        unpadded = model(encoder_hidden_states=text, return_dict=False, **inputs)[0]
        with padded(model, LENGTH, mask.long()):
            as_if = model(encoder_hidden_states=text, return_dict=False, **inputs)[0]
    torch.testing.assert_close(as_if, truly, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(unpadded, truly, atol=1e-3)


def test_tokens_show_the_object_where_it_is() -> None:
    covered = torch.zeros(1, FRAMES, 64, 64)
    covered[0, 0, :16, 16:32] = covered[0, 5:9, 48:, :16] = 1  # tokens 1 of the first and 12 of the third latent frame
    assert shown(covered).nonzero()[:, 1].tolist() == [1, 2 * 16 + 12]


def test_the_cache_is_renewed(built: nn.ModuleDict) -> None:
    generator = torch.Generator().manual_seed(0)
    old, new = (shoot(built["vae"], count, generator) for count in (3, 2))
    both = old.then(new)
    assert both.captions == old.captions[2:] + new.captions
    assert torch.equal(both.latents, torch.cat([old.latents[2:], new.latents]))


def test_draws_of_length() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = [draw_length(generator) for _ in range(300)]
    assert min(lengths) >= FEWEST and max(lengths) == LENGTH and len(set(lengths)) > 50


def test_options() -> None:
    with pytest.raises(InvalidOption, match="cache"):
        Recipe(cache=0)
    assert Recipe(minutes=100, shares=(0.5, 0.2, 0.3)).progress("flow", 1, 60 * 15) == pytest.approx(0.5)


def test_muon_takes_neither_tables_nor_inputs_nor_outputs(built: nn.ModuleDict) -> None:
    for kind in KINDS.values():
        stage = begin(kind, built)
        names = {id(weight): name for name, weight in stage.model.named_parameters()}
        adam, muon = (
            [names.get(id(weight), "head") for weight in some.param_groups[0]["params"]] for some in stage.optimizers
        )
        outer = [name for name in adam if stage.model.get_parameter(name).ndim > 1] if "head" not in adam else []
        assert muon and not any(part in name for name in muon for part in OUTER)
        assert all(any(part in name for part in OUTER) for name in outer)


def test_the_command_line_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr("demos.training.run.train", lambda *args, **options: seen.update(args=args, **options))
    main(["--out", str(tmp_path), "--steps", "3", "--stage", "text", "--threads", str(torch.get_num_threads())])
    assert seen["args"] == (training.MOTION, Recipe(steps=3), tmp_path) and seen["stages"] == ("text",)


def test_tokens_of_the_object_weigh_more_where_the_noise_is_low() -> None:
    shown = torch.zeros(2, 80, dtype=torch.bool)
    shown[:, 2 * 16 + 1 * 4 + 3] = True  # third frame, second row, last column
    weight = emphasis(shown, torch.tensor([True, False]))
    assert weight.shape == (2, 5, 8, 8) and (weight[1] == 1).all()
    assert (weight[0] == DEAR).nonzero().tolist() == [[2, y, x] for y in (2, 3) for x in (6, 7)]
