"""A small reader of digits: tells which digit an image shows, and gives the features for FID-digits."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from padecast import files

WEIGHTS = Path(__file__).parent / "weights" / "digits" / "classifier.safetensors"
FEATURES = 128


class DigitClassifier(nn.Module):
    """Four convolutions and two linear layers, 0.2 M parameters.

    Example:
        >>> reader = load_classifier()
        >>> reader(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 10])
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_layer(1, 32),
            *_layer(32, 32),
            nn.MaxPool2d(2),
            *_layer(32, 64),
            *_layer(64, 64),
            nn.MaxPool2d(2),
        )
        self.squeeze = nn.Linear(64 * 4 * 4, FEATURES)
        self.drop = nn.Dropout(0.3)
        self.read = nn.Linear(FEATURES, 10)

    def features(self, images: Tensor) -> Tensor:
        """The representation in which FID-digits is measured.

        Args:
            images: (B, 1, 16, 16) in [0, 1].

        Returns:
            (B, 128), not negative.
        """
        maps: Tensor = self.convolutions(images * 2 - 1)
        return F.relu(self.squeeze(maps.flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the ten digits.

        Args:
            images: (B, 1, 16, 16) in [0, 1].

        Returns:
            (B, 10).
        """
        logits: Tensor = self.read(self.drop(self.features(images)))
        return logits


def _layer(channels_in: int, channels_out: int) -> list[nn.Module]:
    """One convolution, normalised and rectified."""
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU()]


def load_classifier(path: Path = WEIGHTS, *, device: str | torch.device = "cpu") -> DigitClassifier:
    """The trained classifier, in float32 and evaluation mode.

    Args:
        path: a safetensors file; default: the shipped weights, whose held-out accuracy is stated in
            ``classifier.json`` next to them.
        device: default the CPU.

    Returns:
        The classifier, without gradients.

    Raises:
        MissingFile: there is no file at ``path``.
        DamagedFile: it holds other weights, or none.
    """
    classifier = DigitClassifier()
    files.load_weights(classifier, path)
    return classifier.to(device).requires_grad_(False).eval()
