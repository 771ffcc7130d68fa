"""Identities: the same pipeline has the same key, and what the model computes with another has another."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from padecast import zoo
from padecast.lessons import Identity
from padecast.lessons.identity import hash_weights, quantization_of, scales_of


class Layer(nn.Linear):
    """As peft's layers say what acts in them."""

    def __init__(self, scale: float) -> None:
        super().__init__(4, 4)
        self.scaling, self.active_adapters = {"style": scale, "idle": 9.0}, ["style"]


def model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(*(nn.Linear(8, 8) for _ in range(20)))


def test_the_same_pipeline_has_the_same_key() -> None:
    first, second = (Identity.of(zoo.load("digits")) for _ in range(2))
    assert first == second and first.key == second.key and len(first.key) == 20
    assert first.pipeline == "DigitsPipeline" and first.span == "output" and first.key[:6] in str(first)


def test_every_part_makes_another_key() -> None:
    base = Identity("DiT")
    changes = [
        *(Identity("DiT", **{name: "x"}) for name in ("config", "weights", "quantization", "pipeline", "prediction")),
        Identity("UViT"),
        Identity("DiT", guidance=0.0),
        Identity("DiT", span="full"),
        Identity("DiT", adapters=(("style", 1.0),)),
    ]
    assert len({base.key, *(change.key for change in changes)}) == 1 + len(changes)


def test_another_checkpoint_has_other_weights() -> None:
    assert hash_weights(model()) == hash_weights(model()) != hash_weights(model(1))


def test_weights_of_adapters_count_wherever_they_are() -> None:
    def adapted(value: float) -> nn.Sequential:
        layers = model()
        layers[7].lora_A = nn.Parameter(torch.full((2, 2), value))
        return layers

    assert hash_weights(adapted(1.0)) == hash_weights(adapted(1.0)) != hash_weights(adapted(2.0))


def test_weights_that_are_not_here_count_by_name() -> None:
    assert hash_weights(model().to("meta")) == hash_weights(model(1).to("meta"))


def test_scales_are_those_of_adapters_that_act() -> None:
    assert scales_of(nn.Sequential(Layer(0.5), Layer(0.8))) == (("style", 0.8),)
    layer = Layer(0.5)
    layer.disable_adapters = True
    assert scales_of(layer) == () == scales_of(model())


def test_quantization_is_named() -> None:
    layers = model()
    assert quantization_of(layers) == ""
    layers.config = SimpleNamespace(quantization_config={"quant_method": "bitsandbytes"})  # type: ignore[assignment]
    assert quantization_of(layers) == "bitsandbytes"
