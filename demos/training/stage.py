"""One stage of training: steps, weight average, and a state that is stopped and continued exactly."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from demos.training.average import begun, follow
from demos.training.muon import Muon
from demos.training.precision import WideWhereFaster, faster_in_bfloat16
from demos.training.recipe import Recipe
from demos.training.state import Parts, read_state, take_over, write_state

R = TypeVar("R", bound=Recipe)


class Stage(ABC, Generic[R]):
    """Trains some of the components; the others stay as they are.

    Args:
        parts: all components; those named in ``trained`` are trained in place.
        recipe: how.
        device: where; default CUDA if there is one, else the CPU.
    """

    name: ClassVar[str]
    trained: ClassVar[tuple[str, ...]]
    hidden: ClassVar[str | None] = None  # Muon trains the matrices whose names this expression finds, AdamW the others

    def __init__(self, parts: nn.ModuleDict, recipe: R, device: str | None = None) -> None:
        self.recipe = recipe
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.parts = parts.to(self.device).requires_grad_(False).eval()
        self.model = nn.ModuleDict({name: parts[name] for name in self.trained}).requires_grad_(True).train()
        self.average = begun(self.model)
        torch.manual_seed(recipe.seed)  # so that heads do not depend on what was trained before
        self.heads = self.throwaway().to(self.device)
        self.optimizers = optimizers(self.model, self.heads, self.hidden)
        # Every draw is made on the CPU, so that a seed means the same on every device.
        self.generator = torch.Generator().manual_seed(recipe.seed * len(recipe.stages) + recipe.number(self.name))
        self.bfloat16 = faster_in_bfloat16(self.device) if recipe.bfloat16 is None else recipe.bfloat16
        self.clock = time.thread_time if self.device.type == "cpu" else time.perf_counter
        self.done, self.seconds = 0, 0.0

    @property
    def batch_size(self) -> int:
        """Samples per step."""
        return self.recipe.batches[self.recipe.number(self.name)]

    @abstractmethod
    def loss(self) -> Tensor:
        """The loss of a fresh batch, a scalar."""

    def throwaway(self) -> nn.ModuleDict:
        """Heads that are trained with the stage and are no part of the pipeline; none by default."""
        return nn.ModuleDict()

    def memory(self) -> dict[str, Any]:
        """What else the next step depends on, for ``save``."""
        return {}

    def recall(self, memory: dict[str, Any]) -> None:
        """Take over what ``memory`` returned, in ``load``."""

    @property
    def progress(self) -> float:
        """Share of the stage that is done, from 0 to 1."""
        return self.recipe.progress(self.name, self.done, self.seconds)

    def step(self) -> float:
        """One optimizer step; returns its loss."""
        start = self.clock()
        rate = self.recipe.rate(self.name, self.done, self.progress)
        narrow = torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)
        wide = WideWhereFaster() if self.bfloat16 and self.device.type == "cpu" else nullcontext()
        with narrow, wide:
            loss = self.loss()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*self.model.parameters(), *self.heads.parameters()], self.recipe.clip)
        with narrow:  # for the products of Muon's steps
            for optimizer in self.optimizers:
                optimizer.param_groups[0]["lr"] = rate
                optimizer.step()
        self.done += 1
        follow(self.average, self.model, self.done, self.recipe.ema)
        value = float(loss.detach())  # waits for the device
        self.seconds += self.clock() - start
        return value

    def averaged(self) -> nn.ModuleDict:
        """All components, those of this stage as their average."""
        return nn.ModuleDict({**self.parts, **self.average})

    def save(self, path: Path) -> None:
        """Write all of the stage's state; replaces ``path`` only once the new file is complete."""
        counted = {"done": self.done, "seconds": self.seconds, "bfloat16": self.bfloat16}
        write_state(path, self._state, **counted, memory=self.memory())

    def load(self, path: Path) -> None:
        """Continue from a saved state.

        Raises:
            FileNotFoundError: there is none at ``path``.
        """
        state = read_state(path, missing=missing(self.recipe))
        take_over(state, self._state)
        self.recall(state["memory"])
        self.done, self.seconds, self.bfloat16 = state["done"], state["seconds"], state["bfloat16"]

    @property
    def _state(self) -> Parts:
        modules = {"model": self.model, "average": self.average, "heads": self.heads}
        return Parts(modules, self.optimizers, self.generator)


def optimizers(model: nn.Module, heads: nn.Module, hidden: str | None) -> list[torch.optim.Optimizer]:
    """AdamW for all weights, or Muon for the hidden matrices of the model and AdamW for the others.

    Args:
        model: what is trained.
        heads: what is trained with it.
        hidden: expression that finds the names of weights which map features to features; None: there are none.
    """
    matrices: list[nn.Parameter] = []
    others = list(heads.parameters())
    for name, weight in model.named_parameters():
        chosen = hidden is not None and weight.ndim > 1 and re.search(hidden, name)
        (matrices if chosen else others).append(weight)
    adam = torch.optim.AdamW(others, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    return [adam, Muon(matrices)] if matrices else [adam]


def missing(recipe: Recipe) -> str:
    """Why there may be no state of a stage, and what to do."""
    return (
        f"A stage builds on those before it: {', then '.join(recipe.stages)}. Either\n"
        "(a) give the folder of the run to continue:   --out DIR\n"
        "(b) train from the beginning:                 --stage all"
    )
