"""The options that the trainings' command lines share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from demos.training import run
from demos.training.recipe import Recipe
from demos.training.run import Trainee


def parser(model: str, recipe: Recipe) -> argparse.ArgumentParser:
    """A command line with the options of every training in stages.

    Args:
        model: its name, which is that of its module and of the default folder.
        recipe: whose values are the options' defaults.
    """
    line = argparse.ArgumentParser(prog=f"python -m demos.{model}.train", description=f"train the {model} model")
    line.add_argument("--out", type=Path, default=Path("runs") / model, help="folder for states and pipeline")
    line.add_argument("--stage", choices=(*recipe.stages, "all"), default="all", help="what to train (%(default)s)")
    line.add_argument("--resume", action="store_true", help="continue from the states in OUT")
    line.add_argument("--minutes", type=float, default=recipe.minutes, help="time of all stages together (%(default)s)")
    line.add_argument("--steps", type=int, help="optimizer steps of each stage, instead of a time")
    line.add_argument("--seed", type=int, default=recipe.seed, help="seed of weights and draws (%(default)s)")
    line.add_argument("--every", type=int, default=200, help="steps between checkpoints (%(default)s)")
    line.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads (%(default)s)")
    return line


def asked(options: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    """What ``train`` is to be called with besides recipe and folder."""
    stages = recipe.stages if options.stage == "all" else (options.stage,)
    return {"stages": stages, "resume": options.resume, "every": options.every}


def start(trainee: Trainee[Any], recipe: Recipe, options: argparse.Namespace) -> None:
    """Train as the command line asks."""
    torch.set_num_threads(options.threads)
    run.train(trainee, recipe, options.out, **asked(options, recipe))
