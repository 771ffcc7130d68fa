"""Train the reader of digits that judges samples of the demo model::

    python -m demos.digits.train_classifier --out runs/classifier

A stratified fifth of the scans is held out; ``classifier.json`` states the accuracy on it, of the weights as
saved in float16.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from demos.digits.data import Wobble, draw, load_scans, random_frames
from demos.training.reader import descend, write_halved
from padecast import files
from padecast.zoo.classifier import DigitClassifier, load_classifier

WOBBLE = Wobble(turn=12, grow=0.1, slant=0.15, shift=1.0)


def split(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Indices to learn from and to hold out: a fifth of every class, chosen by the seed."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    learn, held = [], []
    for label in range(10):
        members = order[labels[order] == label]
        cut = len(members) // 5
        held.append(members[:cut])
        learn.append(members[cut:])
    return torch.cat(learn), torch.cat(held)


def fit(scans: Tensor, labels: Tensor, *, epochs: int, seed: int, batch: int = 64) -> DigitClassifier:
    """Train on augmented scans with AdamW, one cosine, and smoothed labels.

    Args:
        scans: (N, 1, 8, 8) in [0, 1].
        labels: (N,) int64.
        epochs: passes over the scans.
        seed: of weights, order and augmentation.
        batch: digits per step, default 64.

    Returns:
        The classifier, in evaluation mode.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    classifier = DigitClassifier()
    per_epoch = len(scans) // batch

    def losses() -> Iterator[Tensor]:
        for _ in range(epochs):
            for chosen in torch.randperm(len(scans), generator=generator).split(batch)[:per_epoch]:
                images = draw(scans[chosen], random_frames(len(chosen), WOBBLE, generator))
                images = (images + 0.03 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
                yield F.cross_entropy(classifier(images), labels[chosen], label_smoothing=0.05)

    return descend(classifier, losses(), steps=epochs * per_epoch, rate=2e-3, decay=0.02)


@torch.no_grad()
def accuracy(classifier: DigitClassifier, scans: Tensor, labels: Tensor) -> float:
    """Share of scans, drawn upright, that are read as their label."""
    return float((classifier(draw(scans)).argmax(1) == labels).double().mean())


def write(classifier: DigitClassifier, out: Path) -> Path:
    """Save the weights in float16; returns the file."""
    return write_halved(classifier, out / "classifier.safetensors")


def train(out: Path, *, epochs: int = 40, seed: int = 0) -> dict[str, float | int | str]:
    """Train, save, and measure what was saved.

    Args:
        out: folder for ``classifier.safetensors`` and ``classifier.json``.
        epochs: passes over the scans, default 40.
        seed: default 0.

    Returns:
        The contents of ``classifier.json``.
    """
    scans, labels = load_scans()
    learn, held = split(labels, seed)
    path = write(fit(scans[learn], labels[learn], epochs=epochs, seed=seed), out)
    shipped = load_classifier(path)
    facts: dict[str, float | int | str] = {
        "held_out_accuracy": accuracy(shipped, scans[held], labels[held]),
        "held_out_images": len(held),
        "training_images": len(learn),
        "parameters": sum(weight.numel() for weight in shipped.parameters()),
        "epochs": epochs,
        "seed": seed,
        "torch": torch.__version__,
        "command": f"python -m demos.digits.train_classifier --epochs {epochs} --seed {seed}",
    }
    files.write(out / "classifier.json", json.dumps(facts, indent=2) + "\n")
    return facts


def main(argv: list[str] | None = None) -> None:
    """Command line: ``python -m demos.digits.train_classifier --help``."""
    parser = argparse.ArgumentParser(
        prog="python -m demos.digits.train_classifier", description="train the digit reader"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/classifier"), help="folder to write (%(default)s)")
    parser.add_argument("--epochs", type=int, default=40, help="passes over the scans (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (%(default)s)")
    options = parser.parse_args(argv)
    print(json.dumps(train(options.out, epochs=options.epochs, seed=options.seed), indent=2))


if __name__ == "__main__":
    main()
