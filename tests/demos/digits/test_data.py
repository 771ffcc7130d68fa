"""The drawn digits: range, margin, and how far augmentation moves them."""

from __future__ import annotations

import torch

from demos.digits.data import SIZE, Wobble, draw, load_scans, random_frames


def test_scans() -> None:
    scans, labels = load_scans()
    assert scans.shape == (1797, 1, 8, 8) and labels.shape == (1797,)
    assert scans.min() == 0 and scans.max() == 1
    assert labels.unique().tolist() == list(range(10))


def test_drawn_digits_are_dark_around_bright_strokes() -> None:
    scans, _ = load_scans()
    images = draw(scans)
    assert images.shape == (1797, 1, SIZE, SIZE)
    assert images.min() == 0 and images.max() <= 1
    assert images.quantile(0.5) == 0
    assert images.amax(dim=(1, 2, 3)).min() > 0.9


def test_without_wobble_a_random_frame_is_the_upright_one() -> None:
    scans, _ = load_scans()
    still = random_frames(4, Wobble(turn=0, grow=0, slant=0, shift=0), torch.Generator().manual_seed(0))
    torch.testing.assert_close(draw(scans[:4], still), draw(scans[:4]))


def test_wobble_moves_digits_a_little_and_by_seed() -> None:
    scans, _ = load_scans()
    frames = [random_frames(64, Wobble(), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(frames[0], frames[1]) and not torch.equal(frames[0], frames[2])
    difference = (draw(scans[:64], frames[0]) - draw(scans[:64])).abs().mean()
    assert 0.005 < difference < 0.15
