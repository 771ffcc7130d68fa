"""Train the network whose features are those of FID-scenes::

    python -m demos.scenes.train_watcher --out runs/watcher

It learns from rendered scenes to say of every token which object is there; ``watcher.json`` states how often that is
right on captions that training never saw, of the weights as saved in float16.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

from demos.scenes.labels import shown, wrongness
from demos.scenes.layout import arrange
from demos.scenes.render import render
from demos.training.reader import descend, write_halved
from padecast import files
from padecast.zoo.scenes.grammar import draw
from padecast.zoo.scenes.watcher import SHOWN, SceneWatcher, load_watcher

QUESTIONS = ("shape", "colour", "size", "texture", "column", "row", "ground", "style")
HELD_OUT = 256  # pictures that the shares are measured on


def examples(count: int, generator: torch.Generator, *, held_out: bool = False) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, 64, 64) in [0, 1], and what their tokens show (B, 64, 8)."""
    scenes = [draw(generator, held_out=held_out) for _ in range(count)]
    arranged = arrange(scenes, generator)
    return render(arranged), shown(scenes, arranged)


def right(logits: Tensor, shown: Tensor) -> Tensor:
    """Share of tokens that are told right, for each question, (8,)."""
    answers = [some.argmax(-1) for some in logits.split(list(SHOWN), -1)]
    return torch.stack(
        [(answer == fact).double().mean() for answer, fact in zip(answers, shown.unbind(-1), strict=True)]
    )


def smoothed(images: Tensor, strength: Tensor) -> Tensor:
    """Pictures as a little autoencoder might leave them: partly blurred.

    Args:
        images: (B, 3, 64, 64).
        strength: (B,) in [0, 1], the share of the blurred picture.
    """
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return torch.lerp(images, blurred, strength[:, None, None, None])


def fit(*, steps: int, seed: int, batch: int = 32, quiet: bool = False) -> SceneWatcher:
    """Train on endless scenes, some of them blurred or noisy, with AdamW and one cosine.

    Args:
        steps: of the optimizer.
        seed: of weights and pictures.
        batch: pictures per step, default 32.
        quiet: without progress bar.

    Returns:
        The network, in evaluation mode.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    watcher = SceneWatcher()

    def losses() -> Iterator[Tensor]:
        for _ in track(range(steps), "watcher", disable=quiet):
            images, facts = examples(batch, generator)
            images = smoothed(images, torch.rand(batch, generator=generator))
            noise = 0.05 * torch.rand(batch, 1, 1, 1, generator=generator)
            images = (images + noise * torch.randn(images.shape, generator=generator)).clamp(0, 1)
            yield wrongness(watcher(images), facts, SHOWN)

    return descend(watcher, losses(), steps=steps, rate=3e-3, decay=0.01)


def train(out: Path, *, steps: int = 2000, seed: int = 0, quiet: bool = False) -> dict[str, object]:
    """Train, save in float16, and measure what was saved.

    Args:
        out: folder for ``watcher.safetensors`` and ``watcher.json``.
        steps: of the optimizer, default 2000.
        seed: default 0.
        quiet: without progress bar.

    Returns:
        The contents of ``watcher.json``.
    """
    path = write_halved(fit(steps=steps, seed=seed, quiet=quiet), out / "watcher.safetensors")
    shipped = load_watcher(path)
    images, facts = examples(HELD_OUT, torch.Generator().manual_seed(seed + 1), held_out=True)
    shares = right(shipped(images), facts).tolist()
    stated: dict[str, object] = {
        "tokens_right_on_unseen_captions": dict(zip(QUESTIONS, (round(share, 4) for share in shares), strict=True)),
        "pictures": HELD_OUT,
        "parameters": sum(weight.numel() for weight in shipped.parameters()),
        "steps": steps,
        "seed": seed,
        "torch": torch.__version__,
        "command": f"python -m demos.scenes.train_watcher --steps {steps} --seed {seed}",
    }
    files.write(out / "watcher.json", json.dumps(stated, indent=2) + "\n")
    return stated


def main(argv: list[str] | None = None) -> None:
    """Command line: ``python -m demos.scenes.train_watcher --help``."""
    parser = argparse.ArgumentParser(
        prog="python -m demos.scenes.train_watcher", description="train the network of FID-scenes"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/watcher"), help="folder to write (%(default)s)")
    parser.add_argument("--steps", type=int, default=2000, help="optimizer steps (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (%(default)s)")
    options = parser.parse_args(argv)
    print(json.dumps(train(options.out, steps=options.steps, seed=options.seed), indent=2))


if __name__ == "__main__":
    main()
