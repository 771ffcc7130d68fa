"""One stage of training: steps, weight average, and a state that is stopped and continued exactly."""

from __future__ import annotations

import copy
import re
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..muon import Muon
from .recipe import STAGES, Recipe, faster_in_bfloat16


class Stage(ABC):
    """Trains some of the components; the others stay as they are.

    Args:
        parts: all components; those named in `trained` are trained in place.
        recipe: how.
        device: where; default CUDA if there is one, else the CPU.
    """

    name: ClassVar[str]
    trained: ClassVar[tuple[str, ...]]
    orthogonal: ClassVar[bool] = False  # whether the matrices of blocks and layers are trained by Muon

    def __init__(self, parts: nn.ModuleDict, recipe: Recipe, device: str | None = None) -> None:
        self.recipe = recipe
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.parts = parts.to(self.device).requires_grad_(False).eval()
        trained = {name: parts[name] for name in self.trained}
        self.model = nn.ModuleDict({**trained, **self.heads()}).to(self.device).requires_grad_(True).train()
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.optimizers = optimizers(self.model, self.orthogonal)
        # Every draw is made on the CPU, so that a seed means the same on every device.
        self.generator = torch.Generator().manual_seed(recipe.seed * len(STAGES) + STAGES.index(self.name))
        self.bfloat16 = faster_in_bfloat16(self.device) if recipe.bfloat16 is None else recipe.bfloat16
        self.done, self.seconds = 0, 0.0

    def heads(self) -> dict[str, nn.Module]:
        """Layers that are trained with the stage and thrown away after it, by name; none by default."""
        return {}

    @property
    def batch_size(self) -> int:
        """Pictures per step."""
        return self.recipe.batches[STAGES.index(self.name)]

    @abstractmethod
    def loss(self) -> Tensor:
        """The loss of a fresh batch, a scalar."""

    @property
    def progress(self) -> float:
        """Share of the stage that is done, from 0 to 1."""
        return self.recipe.progress(self.name, self.done, self.seconds)

    def step(self) -> float:
        """One optimizer step; returns its loss."""
        start = time.perf_counter()
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = self.recipe.rate(self.name, self.done, self.progress)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            loss = self.loss()
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        self.done += 1
        self._follow()
        value = float(loss.detach())  # waits for the device
        self.seconds += time.perf_counter() - start
        return value

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the model; young averages move faster."""
        decay = min(self.recipe.ema, (1 + self.done) / (10 + self.done))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def averaged(self) -> nn.ModuleDict:
        """All components, those of this stage as their average."""
        return nn.ModuleDict({**self.parts, **{name: self.average[name] for name in self.trained}})

    def save(self, path: Path) -> None:
        """Write all of the stage's state; replaces `path` only once the new file is complete."""
        state = {
            "done": self.done,
            "seconds": self.seconds,
            "bfloat16": self.bfloat16,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generator": self.generator.get_state(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Continue from a saved state.

        Raises:
            FileNotFoundError: there is none at `path`.
        """
        state = read_state(path)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.generator.set_state(state["generator"])
        self.done, self.seconds, self.bfloat16 = state["done"], state["seconds"], state["bfloat16"]


def optimizers(model: nn.Module, orthogonal: bool) -> list[torch.optim.Optimizer]:
    """AdamW for all weights, or Muon for the matrices of blocks and layers and AdamW for the others."""
    named = dict(model.named_parameters())
    hidden = {name for name, weight in named.items() if orthogonal and weight.ndim > 1 and _HIDDEN.search(name)}
    others = [weight for name, weight in named.items() if name not in hidden]
    made: list[torch.optim.Optimizer] = [torch.optim.AdamW(others, betas=(0.9, 0.99), weight_decay=0.01)]
    return made + ([Muon([named[name] for name in sorted(hidden)])] if hidden else [])


_HIDDEN = re.compile(r"(blocks?|layers?)\.\d+\..*(?<!relative_attention_bias\.)weight$")


def read_state(path: Path) -> dict[str, Any]:
    """The saved state of a stage.

    Raises:
        FileNotFoundError: there is none at `path`.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no training state at {path}.\n"
            f"A stage builds on those before it: {', then '.join(STAGES)}. Either\n"
            "(a) give the folder of the run to continue:   --out DIR\n"
            "(b) train from the beginning:                 --stage all"
        )
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def prepare(transformer: Any) -> None:
    """Make a FLUX transformer compute in float32, also under autocast, what has to be precise.

    The two layers that begin the residual streams, so that these are float32; and the normalisation of queries and
    keys, whose float32 weights have no fast kernel for bfloat16 inputs.
    """
    for layer in (transformer.x_embedder, transformer.context_embedder):
        layer.register_forward_hook(_again)
    for module in transformer.modules():
        if isinstance(module, nn.RMSNorm):
            module.register_forward_pre_hook(lambda _, args: (args[0].float(),))


def _again(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A layer's output in float32."""
    if output.dtype == torch.float32:
        return output
    with torch.autocast(output.device.type, enabled=False):
        result: Tensor = layer.forward(*(value.float() for value in args))
    return result
