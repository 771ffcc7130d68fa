"""What enters and what leaves a stack of blocks in an uncached run, and how well either is forecast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common import Document
from padecast import targets
from padecast._geometry import Geometry
from padecast._steps import Position
from padecast.forecasters import Forecaster, Lagrange, Reuse, TCPade

GAPS = (1, 2, 3, 4)
FORECASTERS: dict[str, Forecaster] = {"reuse": Reuse(), "linear": Lagrange(1), "tc-pade": TCPade(feedback=0.0)}
STREAM = "hidden_states"


def record(model: nn.Module, draw: Callable[[], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the images of a run, and what entered and left the stack in its main stream.

    Returns:
        Images, and two tensors ``(steps, rows, size)``: rows are samples, with and without their conditioning.
    """
    blocks = targets.find(model).blocks
    first, last = (next(iter(blocks)), list(blocks)[-1])
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def enter(_block: Any, args: Any, kwargs: dict[str, Any]) -> None:
        inputs.append((args[0] if args else kwargs[STREAM]).detach().flatten(1))

    def leave(_block: Any, _args: Any, output: Any) -> None:
        main = output if isinstance(output, Tensor) else output[blocks[last].names.index(STREAM)]
        outputs.append(main.detach().flatten(1))

    hooks = [
        model.get_submodule(first)[0].register_forward_pre_hook(enter, with_kwargs=True),  # type: ignore[index]
        model.get_submodule(last)[-1].register_forward_hook(leave),  # type: ignore[index]
    ]
    try:
        images = draw()
    finally:
        for hook in hooks:
            hook.remove()
    return images, torch.stack(inputs), torch.stack(outputs)


def forecast(inputs: Tensor, outputs: Tensor) -> Document:
    """Return errors of forecasting the residual and the output from three earlier steps, a gap apart and ahead.

    Both are errors of the stack's output over the norm of the true residual: the input of the step is known, to which a
    forecast residual is added; a forecast output stands by itself. Means over rows, a number a step.
    """
    residuals = outputs - inputs
    norms = residuals.norm(dim=2)
    errors = {
        f"{kind}, {name}, {gap}": [
            round(float((miss(forecaster, features, step, gap) / norms[step]).mean()), 5)
            for step in range(3 * gap, len(features))
        ]
        for kind, features in (("residual", residuals), ("output", outputs))
        for name, forecaster in FORECASTERS.items()
        for gap in GAPS
    }
    sizes = {
        f"{name} over residual": (features.norm(dim=2) / norms).mean(1).tolist()
        for name, features in (("input", inputs), ("output", outputs))
    }
    return {"errors": errors, **sizes}


def miss(forecaster: Forecaster, features: Tensor, step: int, gap: int) -> Tensor:
    """Return how far a forecast of a step is from it, a number a row."""
    places = [step - 3 * gap, step - 2 * gap, step - gap]
    known = features[places]
    weights = forecaster.weights(Geometry.of(known, places), Position.at(step, len(features))).to(known)
    newest_first = known.flip(0)[: weights.shape[-1]]
    mixed = torch.einsum("bk,kbd->bd", weights.expand(known.shape[1], -1)[:, : len(newest_first)], newest_first)
    return (mixed - features[step]).norm(dim=1)
