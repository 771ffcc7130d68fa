"""Train the motion model: a Wan transformer with autoencoder and text encoder, all tiny, from random weights::

    python -m padecast.zoo.motion.train --out runs/motion
    python -m padecast.zoo.motion.train --out runs/motion --resume
    python -m padecast.zoo.motion.train --out runs/motion --stage flow

Three stages follow one another: the autoencoder; the text encoder alone; and the flow, together with the text encoder.
`OUT/vae.pt`, `text.pt` and `flow.pt` hold all that a resumed run needs; `OUT/pipeline` is what
`WanPipeline.from_pretrained` loads, in float16.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from rich.progress import Progress, TextColumn
from torch import nn

from .build import build
from .clips import fix_scale
from .pipeline import export
from .recipe import STAGES, Recipe
from .stage import Stage, read_state
from .stages import Autoencoder, Flow, Words

KINDS: dict[str, type[Stage]] = {kind.name: kind for kind in (Autoencoder, Words, Flow)}


def train(
    recipe: Recipe,
    out: Path,
    *,
    stages: tuple[str, ...] = STAGES,
    resume: bool = False,
    every: int = 200,
    quiet: bool = False,
) -> nn.ModuleDict:
    """Run or continue the chosen stages to their end, checkpointing on the way.

    Args:
        recipe: what to train.
        out: folder for the stages' states and `pipeline/`.
        stages: which of "vae", "text" and "flow"; what an earlier one learned is read from `out`.
        resume: continue a stage from its state in `out`, where there is one.
        every: steps between checkpoints, default 200.
        quiet: without progress bar.

    Returns:
        The averaged components.

    Raises:
        FileNotFoundError: an earlier stage was not trained in `out`, or there is nothing to resume.
    """
    if resume and not any((out / f"{name}.pt").is_file() for name in stages):
        read_state(out / f"{stages[0]}.pt")
    parts = build(recipe.seed, recipe.layers, recipe.heads)
    for name in STAGES[: STAGES.index(stages[-1]) + 1]:
        path = out / f"{name}.pt"
        if name in stages:
            stage = KINDS[name](parts, recipe)
            if resume and path.is_file():
                stage.load(path)
            if stage.progress < 1:
                run(stage, out, every, quiet)
        adopt(parts, path)
    export(parts, out / "pipeline")
    return parts


def run(stage: Stage, out: Path, every: int, quiet: bool) -> None:
    """Train one stage to its end; `out` receives its state and the pipeline as it is."""
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
            stage.save(out / f"{stage.name}.pt")
            bar.console.print(f"{said} after {stage.done} steps, {stage.seconds / 60:.1f} minutes: saved in {out}")
            if stage.progress < 1:
                export(stage.averaged(), out / "pipeline")


def adopt(parts: nn.ModuleDict, path: Path) -> None:
    """Take over what a stage learned: the average of its weights, and the scale of the latents with the autoencoder."""
    state = read_state(path)["average"]
    names = {name.partition(".")[0] for name in state}
    nn.ModuleDict({name: parts[name] for name in names}).load_state_dict(state)
    if "vae" in names:
        fix_scale(parts["vae"].eval())


def read_options(argv: list[str] | None) -> argparse.Namespace:
    """The command line, with the recipe's defaults."""
    parser = argparse.ArgumentParser(prog="python -m padecast.zoo.motion.train", description="train the motion model")
    parser.add_argument("--out", type=Path, default=Path("runs/motion"), help="folder for states and pipeline")
    parser.add_argument("--stage", choices=(*STAGES, "all"), default="all", help="what to train (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="continue from the states in OUT")
    parser.add_argument(
        "--minutes", type=float, default=Recipe.minutes, help="time of all three stages together (%(default)s)"
    )
    parser.add_argument("--steps", type=int, help="optimizer steps of each stage, instead of a time")
    parser.add_argument("--seed", type=int, default=Recipe.seed, help="seed of weights and draws (%(default)s)")
    parser.add_argument("--every", type=int, default=200, help="steps between checkpoints (%(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads (%(default)s)")
    parser.add_argument("--layers", type=int, default=Recipe.layers, help="blocks of the transformer (%(default)s)")
    parser.add_argument("--heads", type=int, default=Recipe.heads, help="attention heads of 32 (%(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Command line: `python -m padecast.zoo.motion.train --help`."""
    options = read_options(argv)
    torch.set_num_threads(options.threads)
    names = ("minutes", "steps", "seed", "layers", "heads")
    recipe = Recipe(**{name: getattr(options, name) for name in names})
    stages = STAGES if options.stage == "all" else (options.stage,)
    train(recipe, options.out, stages=stages, resume=options.resume, every=options.every)


if __name__ == "__main__":
    torch.set_flush_denormal(True)  # an untrained block's gradients are denormal, and slow
    main()
