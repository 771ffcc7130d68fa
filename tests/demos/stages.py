"""What the tests of both trainings look at."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from demos.training.stage import Stage


def weights(stage: Stage[Any]) -> dict[str, Tensor]:
    """All that a stage has learned: its model, their average and the throwaway heads."""
    groups = {"model": stage.model, "average": stage.average, "heads": stage.heads}
    return {f"{group}.{key}": value for group, part in groups.items() for key, value in part.state_dict().items()}
