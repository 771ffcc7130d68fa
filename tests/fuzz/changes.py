"""What may become of the weights between two runs, done alike to the models under test and to fresh ones."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from tests.fuzz.kinds import Kind
from torch import nn

ADAPTER = "one"
Change = tuple[str, Any]


def change(models: dict[str, nn.Module], *step: Any) -> None:
    """Change models in place: ``adapt`` (a LoRA), ``scale``, ``unload``, ``cast``."""
    what, value = step
    for model in models.values():
        {"adapt": adapt, "scale": scale, "unload": unload, "cast": cast}[what](model, value)


def adapt(model: Any, seed: int) -> None:
    import peft

    torch.manual_seed(seed)
    config = peft.LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
    if hasattr(model, "add_adapter"):
        model.add_adapter(config, adapter_name=ADAPTER)
    else:
        peft.inject_adapter_in_model(config, model, adapter_name=ADAPTER)


def scale(model: Any, factor: float) -> None:
    from diffusers.utils.peft_utils import set_weights_and_activate_adapters

    set_weights_and_activate_adapters(model, [ADAPTER], [factor])


def unload(model: Any, _: None) -> None:
    from diffusers.utils.peft_utils import recurse_remove_peft_layers

    if hasattr(model, "unload_lora"):
        model.unload_lora()
    else:
        recurse_remove_peft_layers(model)
        del model.peft_config


def cast(model: Any, dtype: str) -> None:
    model.to(getattr(torch, dtype))


def followed(changes: tuple[Change, ...], step: Change) -> tuple[Change, ...]:
    """Return what has become of the weights after one more change; unloading undoes what a LoRA did."""
    if step[0] == "replace":
        return (step,)
    if step[0] == "unload":
        return tuple(done for done in changes if done[0] not in ("adapt", "scale"))
    if changes and changes[-1][0] == step[0] == "scale":
        return (*changes[:-1], step)
    return (*changes, step)


def is_adapted(changes: tuple[Change, ...]) -> bool:
    return any(what == "adapt" for what, _ in changes)


@functools.cache
def master(kind: Kind, seed: int) -> dict[str, nn.Module]:
    return kind.models(seed)


def pristine(kind: Kind, seed: int = 0) -> dict[str, nn.Module]:
    """Return copies of models that nothing was ever done to."""
    return copy.deepcopy(master(kind, seed))


def changed(kind: Kind, changes: tuple[Change, ...]) -> dict[str, nn.Module]:
    """Build models that have gone through changes."""
    seed = next((seed for what, seed in changes if what == "replace"), 0)
    models = pristine(kind, seed)
    for step in changes:
        if step[0] != "replace":
            change(models, *step)
    return models
