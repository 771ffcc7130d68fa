"""A small network that says what every token of a picture shows; its features are those of FID-scenes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from padecast import files
from padecast.zoo.scenes.grammar import COLOURS, GROUNDS, SHAPES, SIZES, STYLES, TEXTURES

WEIGHTS = Path(__file__).parents[1] / "weights" / "scenes" / "watcher.safetensors"
FEATURES = 64
ACROSS = 4  # tokens along the side of the square in which an object lies, whose centre is a corner of tokens
SHOWN = (
    *(len(known) + 1 for known in (SHAPES, COLOURS, SIZES, TEXTURES)),
    ACROSS + 1,
    ACROSS + 1,
    len(GROUNDS),
    len(STYLES),
)
"""How many answers there are to what a token shows: of an object "none" and its shape, colour, size, texture, and which
column and row of the object it is; of the background colour and style."""


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
            (B, 64, 44), tokens row by row; ``SHOWN`` says which answers belong together.
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
            stated in ``watcher.json`` next to them.
        device: default the CPU.

    Returns:
        The network, without gradients.

    Raises:
        MissingFile: there is no file at ``path``.
        DamagedFile: it holds other weights, or none.
    """
    watcher = SceneWatcher()
    files.load_weights(watcher, path)
    return watcher.to(device).requires_grad_(False).eval()
