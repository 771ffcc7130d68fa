"""One stage: it resumes exactly, trains what it should, throws heads away, and counts its own time only."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.demos.training.toy import Body, Recipe, Tail, build
from torch import Tensor, nn

from demos.training import muon
from demos.training.muon import Muon
from demos.training.stage import Stage


def begin(kind: type[Stage[Recipe]] = Body, **changes: Any) -> Any:
    recipe = replace(Recipe(), **changes)
    return kind(build(recipe), recipe, "cpu")


def weights(stage: Stage[Recipe]) -> dict[str, Tensor]:
    groups = {"model": stage.model, "average": stage.average, "heads": stage.heads}
    return {
        f"{group}.{key}": value.clone() for group, part in groups.items() for key, value in part.state_dict().items()
    }


@pytest.mark.parametrize("kind", [Body, Tail])
def test_a_resumed_stage_equals_an_uninterrupted_one(kind: type[Stage[Recipe]], tmp_path: Path) -> None:
    straight, first = begin(kind), begin(kind)
    for _ in range(4):
        straight.step()
    first.step(), first.step()
    first.save(tmp_path / "state.safetensors")
    resumed = begin(kind)
    resumed.load(tmp_path / "state.safetensors")
    assert (resumed.done, resumed.seconds) == (2, first.seconds)
    resumed.step(), resumed.step()
    for key, weight in weights(straight).items():
        assert torch.equal(weight, weights(resumed)[key]), key
    assert torch.equal(straight.generator.get_state(), resumed.generator.get_state())
    assert straight.memory() == resumed.memory()


def test_loading_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"(?s)no training state.*before it: body, then tail"):
        begin().load(tmp_path / "state.safetensors")


def test_only_what_is_trained_changes() -> None:
    stage = begin(Tail)
    before = {name: weight.clone() for name, weight in stage.parts.state_dict().items()}
    stage.step()
    changed = {name for name, weight in stage.parts.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {"tail.weight", "tail.bias"}


def test_the_average_follows_and_holds_no_heads() -> None:
    stage = begin()
    before = weights(stage)
    stage.step()
    after, decay = weights(stage), 2 / 11
    assert {name for name in before if name.startswith("heads")} == {"heads.guess.weight", "heads.guess.bias"}
    assert not torch.equal(before["heads.guess.weight"], after["heads.guess.weight"])
    for name in (name for name in before if name.startswith("average")):
        now = after[name.replace("average", "model", 1)]
        torch.testing.assert_close(after[name], decay * before[name] + (1 - decay) * now)
        assert torch.equal(stage.averaged().state_dict()[name.partition(".")[2]], after[name])
    assert set(stage.averaged()) == {"body", "tail"}


def test_muon_takes_the_hidden_matrices() -> None:
    adam, second = begin().optimizers
    assert isinstance(adam, torch.optim.AdamW) and isinstance(second, Muon)
    stage = begin()
    hidden = [weight for optimizer in stage.optimizers[1:] for weight in optimizer.param_groups[0]["params"]]
    assert [id(weight) for weight in hidden] == [id(stage.model["body"][1].weight)]  # not its bias
    assert len(stage.optimizers[0].param_groups[0]["params"]) == 5 + 2  # and the heads
    assert len(begin(Tail).optimizers) == 1


def test_all_optimizers_take_the_rate_and_gradients_are_clipped() -> None:
    stage = begin(clip=1e-3)
    stage.step()
    rate = stage.recipe.rate("body", 0, 0.0)
    assert [optimizer.param_groups[0]["lr"] for optimizer in stage.optimizers] == [rate, rate]
    gradients = [weight.grad for part in (stage.model, stage.heads) for weight in part.parameters()]
    assert float(torch.cat([gradient.flatten() for gradient in gradients]).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_heads_do_not_depend_on_what_was_drawn_before() -> None:
    recipe = Recipe()
    first, second = build(recipe), build(recipe)
    torch.manual_seed(1)
    one = Body(first, recipe, "cpu")
    torch.manual_seed(2)
    assert torch.equal(one.heads["guess"].weight, Body(second, recipe, "cpu").heads["guess"].weight)  # type: ignore[union-attr, arg-type]


def test_training_lowers_the_loss() -> None:
    stage = begin(Tail, steps=60, rates=(1e-2, 1e-1))
    losses = [stage.step() for _ in range(60)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_time_of_other_work_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = begin(Tail)
    learn = stage.loss

    def loss() -> Tensor:
        time.sleep(0.2)  # as if the machine were busy
        return learn()  # type: ignore[no-any-return]

    monkeypatch.setattr(stage, "loss", loss)
    stage.step()
    assert 0 < stage.seconds < 0.2


@pytest.mark.parametrize("narrow", [True, False])
def test_in_bfloat16_attention_is_wide_and_products_of_updates_are_narrow(
    narrow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = begin(bfloat16=narrow)
    seen: dict[str, torch.dtype] = {}
    learn, update = stage.loss, muon.orthogonal

    def loss() -> Tensor:
        query = torch.randn(1, 1, 4, 8)
        seen["attention"] = F.scaled_dot_product_attention(query, query, query).dtype
        return learn()  # type: ignore[no-any-return]

    def orthogonal(matrices: Tensor) -> Tensor:
        seen["product"] = (matrices @ matrices.mT).dtype
        return update(matrices)

    monkeypatch.setattr(stage, "loss", loss)
    monkeypatch.setattr(muon, "orthogonal", orthogonal)
    stage.step()
    assert seen == {"attention": torch.float32, "product": torch.bfloat16 if narrow else torch.float32}


def test_bfloat16_is_used_where_it_is_faster_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demos.training.stage.faster_in_bfloat16", lambda device: True)
    stage = begin(bfloat16=None)
    seen: list[torch.dtype] = []
    stage.model["body"].register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    stage.step()
    assert seen == [torch.bfloat16] and {weight.dtype for weight in stage.model.parameters()} == {torch.float32}
    stage.save(tmp_path / "state.safetensors")
    monkeypatch.setattr("demos.training.stage.faster_in_bfloat16", lambda device: False)
    again = begin(bfloat16=None)
    assert not again.bfloat16
    again.load(tmp_path / "state.safetensors")
    assert again.bfloat16


def test_stages_draw_differently() -> None:
    states = [begin(kind, seed=seed).generator.initial_seed() for kind in (Body, Tail) for seed in (0, 1)]
    assert len(set(states)) == 4


def test_components_rest_but_for_those_trained() -> None:
    stage = begin(Tail)
    assert not stage.parts["body"].training and stage.parts["tail"].training
    assert not any(weight.requires_grad for weight in stage.parts["body"].parameters())
    assert isinstance(stage.heads, nn.ModuleDict) and not stage.heads
