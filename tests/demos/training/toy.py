"""A model of two linear components, trained in two stages within milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from demos.training.recipe import Recipe as Shared
from demos.training.run import Trainee
from demos.training.stage import Stage


@dataclass(frozen=True)
class Recipe(Shared):
    stages: ClassVar[tuple[str, ...]] = ("body", "tail")

    minutes: float = 10.0
    steps: int | None = 3
    shares: tuple[float, ...] = (0.25, 0.75)
    batches: tuple[int, ...] = (8, 4)
    rates: tuple[float, ...] = (1e-2, 2e-2)
    warmup: int = 2
    ema: float = 0.9
    clip: float = 1.0
    seed: int = 0
    bfloat16: bool | None = False


class Body(Stage[Recipe]):
    """Learns to tell a head the sum of its inputs, and counts its batches."""

    name: ClassVar[str] = "body"
    trained: ClassVar[tuple[str, ...]] = ("body",)
    hidden: ClassVar[str | None] = r"body\.1\."

    def __init__(self, parts: nn.ModuleDict, recipe: Recipe, device: str | None = None) -> None:
        super().__init__(parts, recipe, device)
        self.counted = 0

    def throwaway(self) -> nn.ModuleDict:
        return nn.ModuleDict({"guess": nn.Linear(6, 1)})

    def memory(self) -> dict[str, Any]:
        return {"counted": self.counted}

    def recall(self, memory: dict[str, Any]) -> None:
        self.counted = memory["counted"]

    def loss(self) -> Tensor:
        self.counted += 1
        inputs = torch.randn(self.batch_size, 4, generator=self.generator) / (1 + self.counted % 2)
        loss: Tensor = (self.heads["guess"](self.model["body"](inputs)) - inputs.sum(1, keepdim=True)).square().mean()
        return loss


class Tail(Stage[Recipe]):
    """Learns to say three, whatever the body says."""

    name: ClassVar[str] = "tail"
    trained: ClassVar[tuple[str, ...]] = ("tail",)

    def loss(self) -> Tensor:
        inputs = torch.randn(self.batch_size, 4, generator=self.generator)
        loss: Tensor = (self.model["tail"](self.parts["body"](inputs)) - 3).square().mean()
        return loss


def build(recipe: Recipe) -> nn.ModuleDict:
    torch.manual_seed(recipe.seed)
    body = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6))
    return nn.ModuleDict({"body": body, "tail": nn.Linear(6, 4)})


@dataclass
class Notes:
    """What a training exported and settled."""

    exported: list[dict[str, Tensor]] = field(default_factory=list)
    settled: list[nn.Module] = field(default_factory=list)

    def trainee(self) -> Trainee[Recipe]:
        def export(parts: nn.ModuleDict, folder: Path) -> None:
            self.exported.append({name: weight.clone() for name, weight in parts.state_dict().items()})

        return Trainee({"body": Body, "tail": Tail}, build, export, {"body": self.settled.append})
