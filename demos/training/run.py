"""Stages run to their end, with checkpoints on the way, each building on those before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from rich.progress import Progress, TextColumn
from torch import nn

from demos.training.recipe import Recipe
from demos.training.stage import R, Stage, missing
from demos.training.state import read_state

Export = Callable[[nn.ModuleDict, Path], None]


@dataclass(frozen=True)
class Trainee(Generic[R]):
    """A model as training sees it.

    Args:
        kinds: what each stage is, by its name.
        build: the untrained components, from the recipe.
        export: writes the components as a pipeline folder.
        settle: what else follows from the weights of a component once they are learned, by the component's name.
    """

    kinds: Mapping[str, type[Stage[R]]]
    build: Callable[[R], nn.ModuleDict]
    export: Export
    settle: Mapping[str, Callable[[Any], None]] = field(default_factory=dict)


def train(
    trainee: Trainee[R],
    recipe: R,
    out: Path,
    *,
    stages: Sequence[str] | None = None,
    resume: bool = False,
    every: int = 200,
    quiet: bool = False,
) -> nn.ModuleDict:
    """Run or continue the chosen stages to their end, checkpointing on the way.

    Args:
        trainee: what to train.
        recipe: how.
        out: folder for the stages' states and ``pipeline/``.
        stages: names of those to train, in order; what earlier ones learned is read from ``out``. Default: all.
        resume: continue a stage from its state in ``out``, where there is one.
        every: steps between checkpoints, default 200.
        quiet: without progress bar.

    Returns:
        The averaged components.

    Raises:
        FileNotFoundError: an earlier stage was not trained in ``out``, or there is nothing to resume.
    """
    chosen = recipe.stages if stages is None else stages
    if resume and not any((out / f"{name}.safetensors").is_file() for name in chosen):
        read_state(out / f"{chosen[0]}.safetensors", missing=missing(recipe))
    parts = trainee.build(recipe)
    for name in recipe.stages[: recipe.number(chosen[-1]) + 1]:
        path = out / f"{name}.safetensors"
        if name in chosen:
            stage = trainee.kinds[name](parts, recipe)
            if resume and path.is_file():
                stage.load(path)
            if stage.progress < 1:
                run(stage, out, trainee.export, every=every, quiet=quiet)
        adopt(trainee, recipe, parts, path)
    trainee.export(parts, out / "pipeline")
    return parts


def run(stage: Stage[Any], out: Path, export: Export, *, every: int = 200, quiet: bool = False) -> None:
    """Train one stage to its end; ``out`` receives its state and the pipeline as it is.

    Args:
        stage: to train.
        out: folder for the stage's state and ``pipeline/``.
        export: writes the pipeline.
        every: steps between checkpoints, default 200.
        quiet: without progress bar.
    """
    recent = math.nan
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[done]} steps"))
    with Progress(*columns, disable=quiet) as bar:
        task = bar.add_task(stage.name, total=1.0, done=stage.done)
        while stage.progress < 1:
            loss = stage.step()
            recent = loss if math.isnan(recent) else 0.98 * recent + 0.02 * loss
            said = f"{stage.name}: loss {recent:.4f}"
            bar.update(task, completed=stage.progress, done=stage.done, description=said)
            if stage.done % every and stage.progress < 1:
                continue
            stage.save(out / f"{stage.name}.safetensors")
            bar.console.print(f"{said} after {stage.done} steps, {stage.seconds / 60:.1f} minutes: saved in {out}")
            if stage.progress < 1:
                export(stage.averaged(), out / "pipeline")


def adopt(trainee: Trainee[R], recipe: Recipe, parts: nn.ModuleDict, path: Path) -> None:
    """Take over what a stage learned: the average of its weights, and what follows from it."""
    learned = read_state(path, missing=missing(recipe))["average"]
    names = {name.partition(".")[0] for name in learned}
    nn.ModuleDict({name: parts[name] for name in names}).load_state_dict(learned)
    for name in names & set(trainee.settle):
        trainee.settle[name](parts[name].eval())
