"""Images as text, so that a result or a page can hold them, and back."""

from __future__ import annotations

import base64
import io

import torch
from torch import Tensor

from padecast.lab._extras import need


def encoded(image: Tensor) -> str:
    """Return an image ``(C, H, W)`` in [0, 1], or the middle of a clip ``(frames, C, H, W)``, as a PNG in base 64.

    Eight bits a channel: for looking at. Figures are taken of the images themselves.

    Example:
        >>> decoded(encoded(torch.tensor([[[0.0, 1.0]]]))).tolist()
        [[[0.0, 1.0]]]
    """
    pillow = need("PIL.Image", "writing images")
    still = image[len(image) // 2] if image.ndim == 4 else image
    pixels = (still.detach().float().cpu().nan_to_num(0.0).clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    array = pixels[..., 0].numpy() if pixels.shape[-1] == 1 else pixels[..., :3].numpy()
    with io.BytesIO() as file:
        pillow.fromarray(array).save(file, format="PNG", optimize=True)
        return base64.b64encode(file.getvalue()).decode("ascii")


def decoded(text: str) -> Tensor:
    """Return what :func:`encoded` wrote, ``(C, H, W)`` in [0, 1].

    Raises:
        ValueError: If it is no PNG in base 64.
    """
    pillow, numpy = need("PIL.Image", "reading images"), need("numpy", "reading images")
    with pillow.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"]) as picture:
        array = torch.from_numpy(numpy.array(picture)).float() / 255
    return array[None] if array.ndim == 2 else array.permute(2, 0, 1)
