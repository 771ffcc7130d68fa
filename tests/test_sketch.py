"""A projection that keeps inner products, also of features with a few heavy channels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import padecast.memory.sketch
from padecast.memory.sketch import SIZE, sketch


def heavy(tokens: int, channels: int = 64, seed: int = 0) -> Tensor:
    """Two features that have something in common, with most of their energy in three channels: ``(2, n)``."""
    draw = torch.randn(3, tokens, channels, generator=torch.Generator().manual_seed(seed))
    draw[:, :, [3, 17, 40]] *= 50
    return torch.stack([draw[0] + draw[2], draw[1] + draw[2]]).flatten(1)


def test_inner_products_are_kept_to_a_few_per_cent_where_few_channels_are_heavy() -> None:
    features = heavy(tokens=4096)
    exact = features.double() @ features.double().T
    folded = sketch(features).double()
    error = (folded @ folded.T - exact).abs() / exact.diagonal().mean()
    assert error.max() < 0.03
    assert exact[0, 1] > 0.3 * exact[0, 0]  # far from zero, so that the bound says something


def test_inner_products_are_right_in_the_mean_over_seeds() -> None:
    features = heavy(tokens=64)
    exact = float(features[0] @ features[1])
    products = torch.stack([sketch(features, 509, seed).prod(0).sum() for seed in range(200)]).double()
    error, spread = float(products.mean()) - exact, float(products.std()) / 200**0.5
    assert abs(error) < 4 * spread < 0.1 * exact


def test_signs_of_neighbouring_places_have_nothing_in_common() -> None:
    ones = torch.ones(1, 4 * SIZE)
    folded = sketch(ones)  # sums of four signs: 0 or +-2 or +-4 with the binomial's frequencies
    counts = torch.stack([(folded == value).float().mean() for value in (-4, -2, 0, 2, 4)])
    torch.testing.assert_close(counts, torch.tensor([1, 4, 6, 4, 1]) / 16, rtol=0, atol=0.02)
    first = sketch(torch.eye(1, 2 * SIZE) * 0 + 1)[0]
    assert abs(float((first[:-1] * first[1:]).mean())) < 0.05


def test_what_is_small_is_left_as_it_is() -> None:
    features = heavy(tokens=8)
    assert torch.equal(sketch(features, size=512), features)
    assert not torch.equal(sketch(features, size=511)[:, :511], features[:, :511])
    assert sketch(features.bfloat16(), size=512).dtype == torch.float32


@pytest.mark.parametrize("size", [1, 7, 100, 509])
def test_its_size_is_bounded(size: int) -> None:
    assert sketch(heavy(tokens=16), size).shape == (2, size)


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    features = heavy(tokens=64)
    assert torch.equal(sketch(features, 509), sketch(features, 509))
    assert not torch.equal(sketch(features, 509), sketch(features, 509, seed=1))


def test_a_sample_does_not_depend_on_its_batch_mates_nor_on_what_follows() -> None:
    features = heavy(tokens=64)
    folded = sketch(features, 509)
    for b in range(2):
        assert torch.equal(sketch(features[b : b + 1], 509), folded[b : b + 1])
    longer = torch.cat([features, torch.zeros(2, 1000)], dim=1)
    assert torch.equal(sketch(longer, 509), folded)  # signs belong to places


def test_it_is_linear_and_places_do_not_cancel() -> None:
    one, other = heavy(tokens=64)[:1], heavy(tokens=64, seed=1)[:1]
    both = sketch(one + 2 * other, 509)
    torch.testing.assert_close(both, sketch(one, 509) + 2 * sketch(other, 509), rtol=1e-4, atol=1e-2)
    single = torch.zeros(1, 4096)
    single[0, 3000] = 7.0
    assert sketch(single, 509).abs().sum() == 7.0


def test_half_precision_features_are_folded_in_full_precision() -> None:
    features = heavy(tokens=64).bfloat16()
    assert torch.equal(sketch(features, 509), sketch(features.float(), 509))


@pytest.mark.parametrize("block", [509, 1018, 4096, 2**22])
def test_as_many_at_a_time_as_on_a_gpu_say_the_same(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features = heavy(tokens=64)  # eight times the size, and some
    whole = sketch(features, 509)
    monkeypatch.setattr(padecast.memory.sketch, "BLOCK", block)
    torch.testing.assert_close(sketch(features, 509), whole, rtol=1e-5, atol=1e-3)
