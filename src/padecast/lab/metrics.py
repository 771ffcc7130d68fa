"""How far images are from their references: per sample, in floating point, with the data range stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from padecast.calibration.psnr import CAP, comparable, psnr
from padecast.lab._extras import need

__all__ = ["CAP", "Difference", "Spread", "fid_digits", "frechet", "kernel_sigma", "psnr", "relative_errors", "ssim"]


@dataclass(frozen=True)
class Spread:
    """A measure over samples, of which more is better: never the mean alone.

    Args:
        mean: Over all samples.
        p5: 5th percentile, interpolated linearly.
        worst: The lowest.
        each: One value per sample, in the order of the seeds; empty in files of before.

    Example:
        >>> Spread.of([20.0, 30.0, 40.0])
        Spread(mean=30.0, p5=21.0, worst=20.0)
    """

    mean: float
    p5: float
    worst: float
    each: tuple[float, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def of(cls, values: Tensor | Sequence[float]) -> Spread:
        """Summarise one value per sample."""
        samples = torch.as_tensor(values, dtype=torch.float64).cpu()
        each = tuple(round(value, 5) for value in samples.tolist())
        return cls(float(samples.mean()), float(samples.quantile(0.05)), float(samples.min()), each)


@dataclass(frozen=True)
class Difference:
    """How far one method is ahead of another on the same samples.

    Samples differ far more than methods do, so that two means say little by themselves.

    Args:
        mean: Of the differences, in the unit of what is compared.
        error: Standard error of that mean: deviation of the differences over the root of their number.
        ahead: Share of the samples on which the first is better.

    Example:
        >>> Difference.of(Spread.of([21.0, 32.0, 40.0]), Spread.of([20.0, 30.0, 40.0]))
        Difference(mean=1.0, error=0.5773502691896258, ahead=0.6666666666666666)
    """

    mean: float
    error: float
    ahead: float

    @classmethod
    def of(cls, first: Spread, second: Spread) -> Difference | None:
        """Pair what was measured on the same seeds; nothing if either does not know its samples.

        Raises:
            ValueError: If they are of different numbers of samples.
        """
        if not first.each or not second.each:
            return None
        if len(first.each) != len(second.each):
            raise ValueError(
                f"{len(first.each)} samples cannot be paired with {len(second.each)}: measure both on the same seeds."
            )
        gaps = torch.tensor(first.each, dtype=torch.float64) - torch.tensor(second.each, dtype=torch.float64)
        error = float(gaps.std() / len(gaps) ** 0.5) if len(gaps) > 1 else 0.0
        return cls(float(gaps.mean()), error, float((gaps > 0).double().mean()))


def check_installed() -> None:
    """Raise if what measures SSIM is not installed, before anything is drawn.

    Raises:
        MissingPackage: With the command that installs it.
    """
    need("torchmetrics", "measuring SSIM")


def ssim(images: Tensor, reference: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Structural similarity of every sample, by torchmetrics, with a kernel that fits small images.

    The Gaussian kernel has the usual deviation of 1.5 pixels (11 x 11), but no more than a twentieth of the shorter
    side: 7 x 7 for images of 16 pixels.

    Args:
        images: ``(B, C, H, W)``, or ``(B, frames, C, H, W)`` whose frames are averaged; floating point.
        reference: Like images.
        data_range: Largest possible difference of two values. Default 1.

    Returns:
        ``(B,)`` float64 on the host, at most 1. A sample that is not finite counts as 0.

    Raises:
        TypeError: If the images are integers.
        ValueError: If the shapes differ.
        MissingPackage: If torchmetrics is not installed.
    """
    torchmetrics = need("torchmetrics.functional.image", "measuring SSIM")
    images, reference = comparable(images, reference)
    frames = [x.float().flatten(0, -4) for x in (images, reference)]
    values: Tensor = torchmetrics.structural_similarity_index_measure(
        *frames, data_range=data_range, sigma=kernel_sigma(images.shape[-2:]), reduction="none"
    )
    return values.double().nan_to_num(nan=0.0).reshape(len(images), -1).mean(1)


def kernel_sigma(size: Sequence[int]) -> float:
    """Deviation in pixels of SSIM's kernel for images of this height and width."""
    return min(1.5, min(size) / 20)


def frechet(features: Tensor, reference: Tensor) -> float:
    r"""Fréchet distance of two samples, taken as Gaussian.

    .. math:: |\mu_1 - \mu_2|^2 + \mathrm{tr}\left(C_1 + C_2 - 2 (C_1^{1/2} C_2 C_1^{1/2})^{1/2}\right)

    Args:
        features: ``(N, D)``, at least two.
        reference: ``(M, D)``, at least two.

    Returns:
        The distance, at least 0. It is biased upwards when N or M is small: compare at equal numbers only.

    Raises:
        ValueError: If either has fewer than two samples.

    Example:
        >>> points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
        >>> round(frechet(points + torch.tensor([3.0, 4.0]), points), 6)
        25.0
    """
    if min(len(features), len(reference)) < 2:
        raise ValueError(
            f"a Fréchet distance needs two samples on either side, here are {len(features)} and {len(reference)}.\n"
            "It compares covariances: take some hundreds of samples."
        )
    left, right = features.cpu().double(), reference.cpu().double()
    first, second = torch.cov(left.T).reshape(2 * (left.shape[1],)), torch.cov(right.T).reshape(2 * (right.shape[1],))
    values, vectors = torch.linalg.eigh(first)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    distance = (left.mean(0) - right.mean(0)).square().sum() + first.trace() + second.trace() - 2 * cross
    return max(float(distance), 0.0)


@torch.no_grad()
def fid_digits(images: Tensor, reference: Tensor) -> float:
    """FID-digits: the Fréchet distance in the feature space of the digit classifier that ships with padecast.

    It is not the FID of the literature, which takes an Inception network trained on photographs.

    Args:
        images: ``(N, 1, 16, 16)`` in [0, 1].
        reference: ``(M, 1, 16, 16)`` in [0, 1].

    Example:
        >>> digits = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> round(fid_digits(digits, digits), 3)
        0.0
    """
    from padecast.zoo.classifier import load_classifier

    reader = load_classifier()
    return frechet(*(reader.features(x.cpu().float()) for x in (images, reference)))


def relative_errors(path: Sequence[Tensor], reference: Sequence[Tensor]) -> Tensor:
    """Relative error ``|x - reference| / |reference|`` of every sample at every step.

    Args:
        path: One tensor ``(B, ...)`` a step.
        reference: As many of the same shapes.

    Returns:
        ``(steps, B)`` float64 on the host.
    """
    rows = []
    for latents, exact in zip(path, reference, strict=True):
        left, right = latents.cpu().double().flatten(1), exact.cpu().double().flatten(1)
        rows.append((left - right).norm(dim=1) / right.norm(dim=1).clamp_min(torch.finfo(torch.float64).tiny))
    return torch.stack(rows) if rows else torch.zeros(0, 0, dtype=torch.float64)
