"""Images as text, so that a result or a page can hold them, and back."""

from __future__ import annotations

import base64
import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from padecast._errors import InvalidOption
from padecast.files import line
from padecast.lab._extras import need

LARGEST, SIDE = 2**24, 2048
"""Pixels of the largest image that is read, and of the longer side of one that is written."""


def encode(image: Tensor) -> str:
    """Return an image ``(C, H, W)`` in [0, 1], or the middle of a clip ``(frames, C, H, W)``, as a PNG in base 64.

    Eight bits a channel, and at most 2048 pixels a side: for looking at. Figures are taken of the images themselves.

    Example:
        >>> decode(encode(torch.tensor([[[0.0, 1.0]]]))).tolist()
        [[[0.0, 1.0]]]
    """
    pillow = need("PIL.Image", "writing images")
    still = image[len(image) // 2] if image.ndim == 4 else image
    factor = -(-max(still.shape[-2:]) // SIDE)
    if factor > 1:
        still = torch.nn.functional.avg_pool2d(still.float(), factor, ceil_mode=True)
    pixels = (still.detach().float().cpu().nan_to_num(0.0).clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    array = pixels[..., 0].numpy() if pixels.shape[-1] == 1 else pixels[..., :3].numpy()
    with io.BytesIO() as file:
        pillow.fromarray(array).save(file, format="PNG", optimize=True)
        return base64.b64encode(file.getvalue()).decode("ascii")


def decode(text: str, most: int | None = None) -> Tensor:
    """Return what :func:`encode` wrote, ``(C, H, W)`` in [0, 1].

    Args:
        text: A PNG in base 64.
        most: Pixels of the longer side; a larger image is made smaller. By default it is returned as it is.

    Raises:
        InvalidOption: If it is no PNG in base 64, or larger than any picture that is drawn here.
    """
    numpy = need("numpy", "reading images")
    with _open(text) as picture:
        if most is not None and max(picture.size) > most:
            picture.thumbnail((most, most))
        array = torch.from_numpy(numpy.array(picture)).float() / 255
    return array[None] if array.ndim == 2 else array.permute(2, 0, 1)


def size_of(text: str) -> tuple[int, int, int]:
    """Return the channels, height and width of what :func:`encode` wrote, which is read to its end.

    Raises:
        InvalidOption: If it is no PNG in base 64, or larger than any picture that is drawn here.
    """
    with _open(text) as picture:
        return len(picture.getbands()), picture.height, picture.width


@contextlib.contextmanager
def _open(text: str) -> Iterator[Any]:
    """Open a PNG of grey or colours in eight bits, whose size is known before it is unpacked."""
    pillow = need("PIL.Image", "reading images")
    try:
        data = base64.b64decode(text, validate=True)
        wide, high = (int.from_bytes(data[place : place + 4], "big") for place in (16, 20))
        if wide * high > LARGEST:
            raise InvalidOption(f"an image of {wide} x {high} pixels, and {LARGEST} pixels are shown")
        with warnings.catch_warnings(), pillow.open(io.BytesIO(data), formats=["PNG"]) as picture:
            warnings.simplefilter("error")  # of sizes that Pillow takes for an attack
            picture.load()
            if picture.mode not in ("L", "RGB"):
                raise InvalidOption(f"an image of mode {picture.mode}, not L or RGB")
            yield picture
    except InvalidOption:
        raise
    except Exception as error:  # Pillow raises whatever a damaged file leads it to
        raise InvalidOption(f"no PNG in base 64: {line(error)}") from error
