"""The small matrix that a planner needs to know."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from padecast import InvalidOption
from padecast.calibration import Statistic
from padecast.calibration.statistic import DIGITS, gram_sum, measure, mixture

STEPS, SAMPLES, SIZE = 4, 3, 11


def features(seed: int) -> list[Tensor]:
    return list(torch.randn(STEPS, SAMPLES, SIZE, generator=torch.Generator().manual_seed(seed)))


def example(shares: tuple[float, ...] = (3.0, -2.0)) -> Statistic:
    residuals = {"cond": features(0), "uncond": features(1)}
    return measure(residuals, features(2), SIZE, torch.tensor(shares))


def mean_gram(rows: list[Tensor]) -> Tensor:
    """``mean over samples of <row_i, row_j> / numel``, number by number."""
    matrix = torch.zeros(STEPS, STEPS, dtype=torch.float64)
    for i in range(STEPS):
        for j in range(STEPS):
            for b in range(SAMPLES):
                matrix[i, j] += (rows[i][b].double() * rows[j][b].double()).sum() / SIZE / SAMPLES
    return matrix


def test_the_pooled_matrix_is_the_mean_over_samples_and_branches() -> None:
    expected = (mean_gram(features(0)) + mean_gram(features(1))) / 2
    torch.testing.assert_close(example().gram(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(example().joint[STEPS:, STEPS:] / SAMPLES, mean_gram(features(1)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("guidance", [1.5, 3.0, 7.5])
def test_the_guided_matrix_is_that_of_the_mixture(guidance: float) -> None:
    mixed = [guidance * c + (1 - guidance) * u for c, u in zip(features(0), features(1), strict=True)]
    statistic = example((guidance, 1 - guidance))
    torch.testing.assert_close(statistic.gram("guided residual"), mean_gram(mixed), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(statistic.gram("guided output"), mean_gram(features(2)), rtol=1e-5, atol=1e-6)


def test_an_unknown_matrix_is_refused() -> None:
    with pytest.raises(InvalidOption, match="kind='latent'"):
        example().gram("latent")


def test_only_matrices_that_say_something_are_named() -> None:
    assert example().kinds == ("residual", "guided residual", "guided output")
    nothing_seen = measure({"a": features(0), "b": features(1)}, [], SIZE, torch.zeros(2))
    assert nothing_seen.kinds == ("residual",)
    single = measure({"call 1": features(0)}, features(2), SIZE, torch.ones(1))
    assert single.kinds == ("residual", "guided output")


def test_calls_add_up_to_what_one_call_of_all_samples_gives() -> None:
    residuals = {"cond": features(0), "uncond": features(1)}
    parts = []
    for part in (slice(0, 1), slice(1, 3)):
        own = {branch: [step[part] for step in steps] for branch, steps in residuals.items()}
        parts.append(measure(own, [step[part] for step in features(2)], SIZE, torch.tensor([3.0, -2.0])))
    total = parts[0] + parts[1]
    assert total.samples == SAMPLES
    for kind in total.kinds:
        torch.testing.assert_close(total.gram(kind), example().gram(kind))


def test_runs_that_differ_are_not_taken_together() -> None:
    with pytest.raises(InvalidOption, match="cannot be taken together"):
        example() + measure({"cond": features(0)}, features(2), SIZE, torch.ones(1))
    shorter = measure({"cond": features(0)[:2], "uncond": features(1)[:2]}, [], SIZE, torch.zeros(2))
    with pytest.raises(InvalidOption, match=r"runs of 4 steps .* and of 2 steps"):
        example() + shorter


def test_it_survives_being_written() -> None:
    written = example().to_dict()
    again = Statistic.from_dict(written)
    assert again.to_dict() == written
    assert again.branches == ("cond", "uncond") and again.samples == SAMPLES
    for kind in again.kinds:
        torch.testing.assert_close(again.gram(kind), example().gram(kind), rtol=1e-6, atol=1e-6)


def test_long_features_are_summed_as_exactly_as_short_ones() -> None:
    rows = torch.randn(2, 3, 150_000, generator=torch.Generator().manual_seed(0)) + 100
    expected = torch.einsum("bin,bjn->ij", rows.double(), rows.double())
    torch.testing.assert_close(gram_sum(rows), expected, rtol=1e-12, atol=0)


def test_small_differences_survive_a_journal() -> None:
    base = torch.randn(1, 1, 5000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    near = base + 1e-4 * torch.randn(1, 1, 5000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pair = measure({"cond": [base[0], near[0]]}, [], 5000, torch.zeros(1))
    again = Statistic.from_dict(pair.to_dict(DIGITS)).gram()
    left = float(again[0, 0] - 2 * again[0, 1] + again[1, 1])
    assert left == pytest.approx(float((near - base).square().mean()), rel=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 3.5, 10.0])
def test_shares_are_read_off_the_mixture(guidance: float) -> None:
    cond, uncond = features(0)[0], features(1)[0]
    shares = mixture([cond, uncond], uncond + guidance * (cond - uncond))
    torch.testing.assert_close(shares, torch.tensor([guidance, 1 - guidance]).double(), rtol=1e-5, atol=1e-5)


def test_parts_that_are_alike_share_evenly() -> None:
    cond = features(0)[0]
    torch.testing.assert_close(mixture([cond, cond], cond), torch.tensor([0.5, 0.5]).double())
