"""One stage of training: steps, weight average, and a state that is stopped and continued exactly."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .muon import Muon
from .recipe import STAGES, Recipe

OUTER = ("shared", "table", "relative", "gamma", "conv_in", "conv_out", "quant_conv", "patch_embedding", "proj_out")


class Stage(ABC):
    """Trains some of the components; the others stay as they are.

    Args:
        parts: all components; those named in `trained` are trained in place.
        recipe: how.
        device: where; default CUDA if there is one, else the CPU.
    """

    name: ClassVar[str]
    trained: ClassVar[tuple[str, ...]]

    def __init__(self, parts: nn.ModuleDict, recipe: Recipe, device: str | None = None) -> None:
        self.recipe = recipe
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.parts = parts.to(self.device).requires_grad_(False).eval()
        self.model = nn.ModuleDict({name: parts[name] for name in self.trained}).requires_grad_(True).train()
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        torch.manual_seed(recipe.seed)
        self.heads = self.throwaway().to(self.device)
        matrices = {name: weight for name, weight in self.model.named_parameters() if self.hidden(name, weight)}
        others = [weight for name, weight in self.model.named_parameters() if name not in matrices]
        adam = torch.optim.AdamW([*others, *self.heads.parameters()], betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.optimizers = (Muon(matrices.values()), adam)
        # Every draw is made on the CPU, so that a seed means the same on every device.
        self.generator = torch.Generator().manual_seed(recipe.seed * len(STAGES) + STAGES.index(self.name))
        self.clock = time.thread_time if self.device.type == "cpu" else time.perf_counter
        self.done, self.seconds = 0, 0.0

    @property
    def batch_size(self) -> int:
        """Clips per step."""
        return self.recipe.batches[STAGES.index(self.name)]

    @abstractmethod
    def loss(self) -> Tensor:
        """The loss of a fresh batch, a scalar."""

    def hidden(self, name: str, weight: Tensor) -> bool:
        """Whether a weight maps features to features, and is orthogonalised: neither table, input nor output."""
        return weight.ndim > 1 and not any(part in name for part in OUTER)

    def throwaway(self) -> nn.ModuleDict:
        """Heads that help the training and are no part of the pipeline."""
        return nn.ModuleDict()

    def memory(self) -> dict[str, Any]:
        """What else the next step depends on, for `save`."""
        return {}

    def recall(self, memory: dict[str, Any]) -> None:  # noqa: B027, nothing to recall is the rule
        """Take over what `memory` returned, in `load`."""

    @property
    def progress(self) -> float:
        """Share of the stage that is done, from 0 to 1."""
        return self.recipe.progress(self.name, self.done, self.seconds)

    def step(self) -> float:
        """One optimizer step; returns its loss."""
        start = self.clock()
        rate = self.recipe.rate(self.name, self.done, self.progress)
        loss = self.loss()
        self.model.zero_grad()
        self.heads.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*self.model.parameters(), *self.heads.parameters()], self.recipe.clip)
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
        self.done += 1
        self._follow()
        value = float(loss.detach())  # waits for the device
        self.seconds += self.clock() - start
        return value

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the model; young averages move faster."""
        decay = min(self.recipe.ema, (1 + self.done) / (10 + self.done))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def averaged(self) -> nn.ModuleDict:
        """All components, those of this stage as their average."""
        return nn.ModuleDict({**self.parts, **self.average})

    def save(self, path: Path) -> None:
        """Write all of the stage's state; replaces `path` only once the new file is complete."""
        state = {
            "done": self.done,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generator": self.generator.get_state(),
            "memory": self.memory(),
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
        for name in ("model", "average", "heads"):
            getattr(self, name).load_state_dict(state[name])
        for optimizer, held in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(held)
        self.generator.set_state(state["generator"])
        self.recall(state["memory"])
        self.done, self.seconds = state["done"], state["seconds"]


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
