"""A small network that says what every token of a picture shows; its features are those of FID-scenes."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import files
from .labels import SHOWN

WEIGHTS = Path(__file__).parents[1] / "weights" / "scenes" / "watcher.safetensors"
FEATURES = 64


class SceneWatcher(nn.Module):
    """Six convolutions over 64 x 64 pixels, to 8 x 8 tokens; 0.1 M parameters.

    Example:
        >>> SceneWatcher().features(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 64])
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_layer(3, 24, 4, 2),
            *_layer(24, 24, 3, 1),
            *_layer(24, 48, 4, 2),
            *_layer(48, 48, 3, 1),
            *_layer(48, FEATURES, 4, 2),
            *_layer(FEATURES, FEATURES, 3, 1),
        )
        self.tell = nn.Conv2d(FEATURES, sum(SHOWN), 1)

    def features(self, images: Tensor) -> Tensor:
        """The representation in which FID-scenes is measured: the last maps, averaged over the picture.

        Args:
            images: (B, 3, 64, 64) in [0, 1].

        Returns:
            (B, 64), not negative.
        """
        maps: Tensor = self.convolutions(images * 2 - 1)
        return maps.mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """What each token shows, as logits.

        Args:
            images: (B, 3, 64, 64) in [0, 1].

        Returns:
            (B, 64, 44), tokens row by row; `labels.SHOWN` says which answers belong together.
        """
        logits: Tensor = self.tell(self.convolutions(images * 2 - 1))
        return logits.flatten(2).mT


def _layer(channels_in: int, channels_out: int, side: int, stride: int) -> list[nn.Module]:
    """One convolution, normalised and rectified."""
    convolution = nn.Conv2d(channels_in, channels_out, side, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU()]


def load_watcher(path: Path = WEIGHTS, *, device: str | torch.device = "cpu") -> SceneWatcher:
    """The trained network, in float32 and evaluation mode.

    Args:
        path: a safetensors file; default: the shipped weights, whose shares of right answers on unseen captions are
            stated in `watcher.json` next to them.
        device: default the CPU.

    Returns:
        The network, without gradients.

    Raises:
        MissingFile: there is no file at `path`.
        DamagedFile: it holds other weights, or none.
    """
    watcher = SceneWatcher()
    files.load_weights(watcher, path)
    return watcher.to(device).requires_grad_(False).eval()


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
