"""The one measure of fidelity that calibration and the lab share."""

from __future__ import annotations

from torch import Tensor

CAP = 100.0
"""Largest PSNR in dB: what equal images are given, so that means stay finite."""


def psnr(images: Tensor, reference: Tensor, *, data_range: float = 1.0, cap: float = CAP) -> Tensor:
    r"""Peak signal-to-noise ratio of every sample.

    .. math:: 10 \log_{10} \frac{\text{data\_range}^2}{\text{mean}\,(\text{images} - \text{reference})^2}

    Args:
        images: ``(B, ...)``, floating point.
        reference: Like images.
        data_range: Largest possible difference of two values. Default 1.
        cap: Given to equal images instead of infinity, in dB. Default 100.

    Returns:
        ``(B,)`` float64 on the host, in dB. A sample that is not finite counts as 0 dB.

    Raises:
        TypeError: If the images are integers, whose squared differences wrap around.
        ValueError: If the shapes differ.

    Example:
        >>> import torch
        >>> psnr(torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([[0.6, 0.4], [0.5, 0.5]])).round(decimals=3)
        tensor([ 20., 100.], dtype=torch.float64)
    """
    images, reference = comparable(images, reference)
    error = (images.double() - reference.double()).flatten(1).square().mean(1)
    error = error.nan_to_num(nan=data_range**2, posinf=data_range**2)
    return (10 * (data_range**2 / error).log10()).clamp_max(cap)


def comparable(images: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Return both on the host, if they have the same shape and are floating point."""
    if images.shape != reference.shape:
        raise ValueError(
            f"images of shape {tuple(images.shape)} cannot be compared with a reference of {tuple(reference.shape)}.\n"
            "Usual cause: another number of seeds or another size in one of the two runs."
        )
    for tensor in (images, reference):
        if not tensor.is_floating_point():
            raise TypeError(
                f"images are {tensor.dtype}, but must be floating point: squared differences of integers wrap "
                "around.\nConvert them first: images.float() / 255"
            )
    return images.detach().cpu(), reference.detach().cpu()
