"""Train the demo digits model: a small class-conditional DiT with rectified flow, on a laptop CPU::

    python -m demos.digits.train --out runs/digits
    python -m demos.digits.train --out runs/digits --resume

``OUT/state.safetensors`` holds all that a resumed run needs; ``OUT/pipeline`` is what
``DigitsPipeline.from_pretrained`` loads, in float16.
"""

from __future__ import annotations

import argparse
import copy
import math
from pathlib import Path
from typing import Any

import torch
from diffusers import DiTTransformer2DModel, FlowMatchEulerDiscreteScheduler
from rich.progress import MofNCompleteColumn, Progress
from torch import Tensor

from demos.digits.data import draw, load_scans, random_frames
from demos.digits.flow import NO_LABEL, Recipe, build, draw_sigmas, flow_loss, hush, prepare
from demos.training.average import begun, follow
from demos.training.recipe import decayed
from demos.training.state import Parts, read_state, take_over, write_state
from padecast import files
from padecast.zoo.digits import DigitsPipeline

MISSING = """Usually the run had another --out, or stopped before its first checkpoint. Either
(a) give the folder of the run to continue:   --out DIR --resume
(b) start it anew:                            leave out --resume"""


class Training:
    """One training run: ``step()`` advances it, ``save`` and ``load`` stop and continue it exactly.

    Args:
        recipe: what to train.
        device: where; default CUDA if there is one, else the CPU.
    """

    def __init__(self, recipe: Recipe, device: str | None = None) -> None:
        self.recipe = recipe
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = build(recipe).to(self.device)
        self.average = begun(self.model)
        prepare(self.model, recipe.fastest)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.rate, betas=(0.9, 0.99), weight_decay=0.01
        )
        self.generator = torch.Generator(self.device).manual_seed(recipe.seed)
        scans, labels = load_scans()
        self.scans, self.labels = scans.to(self.device), labels.to(self.device)
        self.done = 0

    def rate(self) -> float:
        """The learning rate of the next step: linear warm-up, then half a cosine down to 1 % of the peak."""
        recipe = self.recipe
        if self.done < recipe.warmup:
            return recipe.rate * (self.done + 1) / recipe.warmup
        progress = (self.done - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
        return recipe.rate * decayed(progress)

    def batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images (B, 1, 16, 16) in [-1, 1], labels (B,) with some dropped, noise levels (B,), and noise."""
        count, generator = self.recipe.batch, self.generator
        chosen = torch.randint(len(self.scans), (count,), generator=generator, device=self.device)
        images = draw(self.scans[chosen], random_frames(count, self.recipe.wobble, generator)) * 2 - 1
        dropped = torch.rand(count, generator=generator, device=self.device) < self.recipe.drop
        noise = torch.randn(images.shape, generator=generator, device=self.device)
        return (
            images,
            self.labels[chosen].masked_fill(dropped, NO_LABEL),
            draw_sigmas(count, generator),
            noise,
        )

    def step(self) -> float:
        """One optimizer step; returns its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        images, labels, sigmas, noise = self.batch()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            loss = flow_loss(self.model, images, labels, sigmas, noise)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.done += 1
        follow(self.average, self.model, self.done, self.recipe.ema)
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Write all of the run's state; replaces ``path`` only once the new file is complete."""
        write_state(path, self._state, done=self.done)

    def load(self, path: Path) -> None:
        """Continue from a saved state.

        Raises:
            FileNotFoundError: there is none at ``path``.
        """
        state = read_state(path, missing=MISSING, device=self.device)
        take_over(state, self._state)
        self.done = state["done"]

    @property
    def _state(self) -> Parts:
        return Parts({"model": self.model, "average": self.average}, [self.optimizer], self.generator)

    def start(self, folder: Path) -> None:
        """Begin from the weights of a pipeline folder, instead of untrained ones."""
        weights = DiTTransformer2DModel.from_pretrained(
            folder / "transformer", low_cpu_mem_usage=False, use_safetensors=True
        )
        hush(weights, self.recipe.fastest)
        self.model.load_state_dict(weights.state_dict())
        self.average.load_state_dict(weights.state_dict())

    def export(self, folder: Path) -> None:
        """Write the averaged model as a float16 pipeline folder for ``DigitsPipeline.from_pretrained``."""
        model = copy.deepcopy(self.average)
        torch.nn.Module.to(model, "cpu", torch.float16)  # diffusers' own ``to`` warns of lists that are empty here
        with files.staged(folder) as staged:
            DigitsPipeline(model, FlowMatchEulerDiscreteScheduler()).save_pretrained(staged)


def train(
    recipe: Recipe, out: Path, *, resume: bool = False, start: Path | None = None, every: int = 250, quiet: bool = False
) -> Training:
    """Run or continue a training to its end, checkpointing on the way.

    Args:
        recipe: what to train.
        out: folder for ``state.safetensors`` and ``pipeline/``.
        resume: continue from ``out/state.safetensors``.
        start: a pipeline folder whose weights a new run begins with; default: untrained ones.
        every: steps between checkpoints, default 250.
        quiet: without progress bar.

    Returns:
        The finished training.
    """
    training = Training(recipe)
    if start is not None:
        training.start(start)
    if resume:
        training.load(out / "state.safetensors")
    recent = math.nan
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), disable=quiet) as bar:
        task = bar.add_task("digits", total=recipe.steps, completed=training.done)
        while training.done < recipe.steps:
            loss = training.step()
            recent = loss if math.isnan(recent) else 0.98 * recent + 0.02 * loss
            bar.update(task, completed=training.done, description=f"loss {recent:.4f}")
            if training.done % every == 0 or training.done == recipe.steps:
                training.save(out / "state.safetensors")
                training.export(out / "pipeline")
                bar.console.print(f"step {training.done}, loss {recent:.4f}: saved in {out}")
    return training


def read_options(argv: list[str] | None) -> argparse.Namespace:
    """The command line, with the recipe's defaults."""
    parser = argparse.ArgumentParser(prog="python -m demos.digits.train", description="train the demo digits model")
    number, decimal = {"type": int}, {"type": float}
    known: list[tuple[str, dict[str, Any], object, str]] = [
        ("--steps", number, Recipe.steps, "optimizer steps of the whole run"),
        ("--batch", number, Recipe.batch, "digits per step"),
        ("--rate", decimal, Recipe.rate, "peak learning rate"),
        ("--fastest", decimal, Recipe.fastest, "highest frequency used of the timestep embedding"),
        ("--layers", number, Recipe.layers, "transformer blocks"),
        ("--heads", number, Recipe.heads, "attention heads of 32 channels"),
        ("--seed", number, Recipe.seed, "seed of weights and draws"),
        ("--out", {"type": Path}, Path("runs/digits"), "folder for state and pipeline"),
        ("--every", number, 250, "steps between checkpoints"),
        ("--threads", number, torch.get_num_threads(), "CPU threads"),
    ]
    for name, kind, default, meaning in known:
        parser.add_argument(name, **kind, default=default, help=f"{meaning} (%(default)s)")
    parser.add_argument("--start", type=Path, help="pipeline folder whose weights a new run begins with")
    parser.add_argument("--resume", action="store_true", help="continue from OUT/state.safetensors")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Command line: ``python -m demos.digits.train --help``."""
    options = read_options(argv)
    torch.set_num_threads(options.threads)
    names = ("steps", "batch", "rate", "fastest", "layers", "heads", "seed")
    recipe = Recipe(**{name: getattr(options, name) for name in names})
    train(recipe, options.out, resume=options.resume, start=options.start, every=options.every)


if __name__ == "__main__":
    torch.set_flush_denormal(True)  # an untrained block's gradients are denormal, and slow
    main()
