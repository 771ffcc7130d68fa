"""Fidelity measures against formulas worked out by hand and against torchmetrics."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

import padecast
from padecast.lab import Spread, fid_digits, frechet, psnr, relative_errors, ssim
from padecast.lab.metrics import CAP, Difference, kernel_sigma


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_psnr_is_the_formula_per_sample() -> None:
    reference = torch.zeros(2, 1, 2, 2)
    images = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0, 0.5]).reshape(2, 1, 2, 2)
    by_hand = [10 * math.log10(1 / 0.01), 10 * math.log10(1 / (0.25 / 4))]
    assert psnr(images, reference).tolist() == pytest.approx(by_hand, abs=1e-5)


def test_psnr_depends_on_the_data_range() -> None:
    images, reference = noise(3, 1, 4, 4), noise(3, 1, 4, 4, seed=1)
    higher = psnr(2 * images - 1, 2 * reference - 1, data_range=2.0)
    torch.testing.assert_close(higher, psnr(images, reference), rtol=1e-5, atol=0)


def test_equal_images_reach_the_cap_and_means_stay_finite() -> None:
    images = noise(2, 1, 4, 4)
    assert psnr(images, images).tolist() == [CAP, CAP]
    assert psnr(images, images, cap=60.0).tolist() == [60.0, 60.0]
    assert psnr(images + 1e-9, images).max() <= CAP


def test_a_large_difference_reads_low_and_does_not_wrap_around() -> None:
    black, grey = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 16 / 255)
    white = torch.ones(1, 1, 4, 4)
    # In uint8 16² wraps to 0 and 255² to 1: both would read as near perfect.
    assert psnr(grey, black).item() == pytest.approx(20 * math.log10(255 / 16), abs=1e-4)
    assert psnr(white, black).item() == 0.0


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_integers_are_refused(measure: object) -> None:
    bytes_ = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    with pytest.raises(TypeError, match="wrap around"):
        measure(bytes_, bytes_)  # type: ignore[operator]


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_other_shapes_are_refused(measure: object) -> None:
    with pytest.raises(ValueError, match=r"\(2, 1, 16, 16\)"):
        measure(torch.zeros(2, 1, 16, 16), torch.zeros(1, 1, 16, 16))  # type: ignore[operator]


def test_a_sample_that_is_not_finite_counts_as_the_worst() -> None:
    images = noise(2, 1, 16, 16)
    broken = images.clone()
    broken[1, 0, 0, 0] = float("nan")
    assert psnr(broken, images).tolist() == [CAP, 0.0]
    assert ssim(broken, images).tolist() == pytest.approx([1.0, 0.0])


def test_half_precision_is_measured_in_full() -> None:
    images, reference = noise(1, 1, 4, 4).bfloat16(), noise(1, 1, 4, 4, seed=1).bfloat16()
    torch.testing.assert_close(psnr(images, reference), psnr(images.double(), reference.double()))


@pytest.mark.parametrize(("size", "sigma"), [(64, 1.5), (30, 1.5), (16, 0.8), (8, 0.4)])
def test_ssim_is_that_of_torchmetrics(size: int, sigma: float) -> None:
    images, reference = noise(3, 3, size, size), noise(3, 3, size, size, seed=1)
    mixed = 0.7 * reference + 0.3 * images
    theirs = structural_similarity_index_measure(mixed, reference, data_range=1.0, sigma=sigma, reduction="none")
    assert kernel_sigma((size, size)) == sigma
    torch.testing.assert_close(ssim(mixed, reference), theirs.double())


def test_ssim_of_a_clip_is_the_mean_over_its_frames() -> None:
    clip, reference = noise(2, 3, 1, 16, 16), noise(2, 3, 1, 16, 16, seed=1)
    frames = torch.stack([ssim(clip[:, k], reference[:, k]) for k in range(3)])
    torch.testing.assert_close(ssim(clip, reference), frames.mean(0))


def test_ssim_needs_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchmetrics"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(padecast.MissingPackage, match="pip install padecast-lab"):
        ssim(noise(1, 1, 16, 16), noise(1, 1, 16, 16))


def test_a_spread_shows_the_worst_samples() -> None:
    assert Spread.of(torch.arange(101.0)) == Spread(mean=50.0, p5=5.0, worst=0.0)


def test_frechet_in_one_dimension_is_the_difference_of_means_and_deviations() -> None:
    one, two = 2 * noise(500, 1).double() + 1, noise(400, 1, seed=1).double()
    by_hand = (one.mean() - two.mean()) ** 2 + (one.std() - two.std()) ** 2
    assert frechet(one, two) == pytest.approx(float(by_hand), rel=1e-9)


def test_frechet_of_the_same_features_is_zero_and_symmetric() -> None:
    one, two = noise(20, 30), noise(25, 30, seed=1)  # fewer samples than dimensions: singular covariances
    assert frechet(one, one) == pytest.approx(0.0, abs=1e-6)
    assert frechet(one, two) == pytest.approx(frechet(two, one), rel=1e-6)


def test_frechet_needs_two_samples() -> None:
    with pytest.raises(ValueError, match="two samples"):
        frechet(noise(1, 3), noise(5, 3))


def test_fid_digits_tells_noise_from_itself() -> None:
    images = noise(6, 1, 16, 16)
    assert fid_digits(images, images) == pytest.approx(0.0, abs=1e-3)
    assert fid_digits(images, torch.zeros(6, 1, 16, 16)) > 1.0


def test_relative_errors_are_norms_per_sample_and_step() -> None:
    reference = [torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])]
    path = [torch.tensor([[3.0, 4.5], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 2.0]])]
    assert relative_errors(path, reference).tolist() == [[0.1, 0.0], [0.0, 2.0]]
    assert relative_errors([], []).shape == (0, 0)


def test_difference_of_pairs() -> None:
    """Samples differ by far more than the methods: paired, a small lead is seen for what it is."""
    base = torch.linspace(20, 60, 64)
    gap = torch.tensor([1.0, 1.2] * 32)
    difference = Difference.of(Spread.of(base + gap), Spread.of(base))
    assert difference is not None
    assert difference.mean == pytest.approx(1.1, abs=1e-4)
    assert difference.error == pytest.approx(gap.double().std().item() / 8, rel=1e-2)
    assert difference.ahead == 1.0
    assert Difference.of(Spread(1.0, 1.0, 1.0), Spread.of([1.0])) is None
    with pytest.raises(ValueError, match="64 samples cannot be paired with 2"):
        Difference.of(Spread.of(base), Spread.of([1.0, 2.0]))
