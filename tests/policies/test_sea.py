"""SeaCache's rule: what its filter keeps, on which grid, and what it decides by that."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from tests.tiny import dit_pipeline, flux_pipeline, sample_dit, sample_flux, sample_wan, wan_pipeline
from torch import Tensor

from padecast import PadecastWarning, Session, accelerate
from padecast._noise import Noise
from padecast._steps import Position
from padecast.forecasters import Reuse
from padecast.hooks.latents import on_grid
from padecast.policies import Cap, Ends, Sea
from padecast.policies.base import SupportsFilter, find
from padecast.policies.sea import LEAST, denoise, gains

STEPS = 10
SAMPLED = {
    "dit": (dit_pipeline, sample_dit),
    "flux": (flux_pipeline, sample_flux),
    "wan": (wan_pipeline, sample_wan),
}
every_model = pytest.mark.parametrize("model", SAMPLED)


def wave(frequency: int, size: int = 16) -> Tensor:
    """A picture that swings so many times from left to right."""
    along = torch.cos(2 * math.pi * frequency * torch.arange(size) / size)
    return along.expand(1, 1, size, size)


def strength(x: Tensor) -> float:
    return float(x.abs().mean())


def moved(before: Tensor, after: Tensor, sigma: float, exponent: float = 2.0) -> float:
    one, other = (denoise(x, 1 - sigma, sigma, exponent) for x in (before, after))
    return strength(other - one) / strength(one)


class TestFilter:
    def test_without_noise_it_changes_nothing(self) -> None:
        x = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(denoise(x, 1.0, 0.0, 2.0), x)

    def test_gains_have_mean_one_and_follow_the_best_linear_estimate(self) -> None:
        """At 1/8 cycles, power 64, against that at none: alpha S / (alpha^2 S + sigma^2)."""
        gain = gains(8, 0.6, 0.8, 2.0, like=torch.zeros(1, dtype=torch.float64))
        assert gain.mean().item() == pytest.approx(1)
        best = [0.6 * power / (0.36 * power + 0.64) for power in (64.0, 16.0, 64 / 9, 4.0)]
        assert (gain[1:5] / gain[0]).tolist() == pytest.approx([0.6 * value for value in best])
        assert gain[5:].tolist() == gain[1:4].flip(0).tolist()

    @pytest.mark.parametrize(("sigma", "exponent"), [(0.2, 2.0), (0.9, 2.0), (0.5, 3.0)])
    def test_the_higher_a_frequency_the_less_is_left(self, sigma: float, exponent: float) -> None:
        """With the exponent's sign turned round, the opposite is true."""
        kept = [strength(denoise(wave(f), 1 - sigma, sigma, exponent)) / strength(wave(f)) for f in (0, 1, 3, 5, 8)]
        assert all(low > high for low, high in pairwise(kept))

    def test_the_more_noise_the_less_is_left_of_high_frequencies(self) -> None:
        levels = (0.0, 0.3, 0.6, 0.9, 0.99)
        high, low = ([strength(denoise(wave(f), 1 - sigma, sigma, 2.0)) for sigma in levels] for f in (6, 0))
        kept = [one / other for one, other in zip(high, low, strict=True)]
        assert all(little > much for little, much in pairwise(kept))

    def test_frequencies_are_in_cycles_from_one_number_to_the_next(self) -> None:
        """A wave of the same length is the same one in a larger picture; as often from end to end, a lower one."""
        kept = [
            gains(size, 0.3, 0.7, 2.0)[f] / gains(size, 0.3, 0.7, 2.0)[0] for size, f in ((16, 4), (32, 4), (32, 8))
        ]
        assert kept[0] == pytest.approx(kept[2].item()) and kept[1] > kept[0]

    def test_height_and_width_are_filtered_alike_and_nothing_else(self) -> None:
        x = torch.randn(2, 3, 4, 5, 7, generator=torch.Generator().manual_seed(1))
        turned = denoise(x.transpose(-1, -2), 0.4, 0.6, 2.0).transpose(-1, -2)
        torch.testing.assert_close(denoise(x, 0.4, 0.6, 2.0), turned)
        torch.testing.assert_close(denoise(x, 0.4, 0.6, 2.0)[1, 2, 3], denoise(x[1, 2, 3], 0.4, 0.6, 2.0))

    def test_noise_hardly_moves_what_is_compared_where_there_is_much_of_it(self) -> None:
        base, noise = 1 + wave(1), torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(2))
        coarse = wave(1).transpose(-1, -2)
        noise, coarse = (0.3 * x / strength(x) for x in (noise - noise.mean(), coarse))
        assert moved(base, base + noise, 0.9) < 0.5 * moved(base, base + coarse, 0.9)
        assert moved(base, base + noise, 0.0) == pytest.approx(moved(base, base + coarse, 0.0), rel=1e-4)

    def test_of_pure_noise_the_mean_is_left(self) -> None:
        x = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(3))
        mean = 64 * x.mean((-1, -2), keepdim=True).expand_as(x)  # 64 gains, whose mean is one
        torch.testing.assert_close(denoise(x, 0.0, 1.0, 2.0), mean, rtol=1e-3, atol=1e-3)
        assert LEAST < 1e-3

    def test_half_precision_is_filtered_in_single(self) -> None:
        assert denoise(torch.ones(1, 1, 4, 4, dtype=torch.bfloat16), 0.5, 0.5, 2.0).dtype is torch.float32

    def test_what_has_no_height_and_width_or_no_known_noise_counts_as_it_is(self) -> None:
        noise = Noise((0.5, 1.0), (0.5, 0.0))
        tokens, picture = torch.randn(1, 6, 4), torch.randn(1, 2, 4, 4)
        kept, filtered = Sea().filter((tokens, picture), Position.at(0, 1, noise=noise))
        assert kept is tokens and torch.equal(filtered, denoise(picture, 0.5, 0.5, 2.0))
        assert Sea().filter((picture,), Position.at(0, 1))[0] is picture

    def test_a_wrapped_policy_filters_too(self) -> None:
        at, picture = Position.at(0, 1, noise=Noise((0.5, 1.0), (0.5, 0.0))), torch.randn(1, 2, 4, 4)
        wrapped = find(Ends(Cap(Sea())), SupportsFilter)
        assert torch.equal(wrapped.filter((picture,), at)[0], Sea().filter((picture,), at)[0])
        assert Cap(Sea()).probe == "spectrum" and Cap(Sea()).needs_stride


class TestGrid:
    IDS = torch.tensor([[0, row, column] for row in range(2, 4) for column in range(3)])
    TOKENS = torch.arange(12.0).reshape(1, 6, 2)

    @pytest.mark.parametrize("given", [{"img_ids": IDS}, {"img_ids": IDS[None]}, {"img_shapes": [[(1, 2, 3)]]}])
    def test_tokens_lie_where_the_model_is_told(self, given: dict[str, Any]) -> None:
        (picture,) = on_grid((self.TOKENS,), given)
        assert picture.reshape(1, 2, 2, 3)[0, 1, 1].tolist() == [7.0, 9.0, 11.0]

    def test_tokens_of_clips(self) -> None:
        (clip,) = on_grid((self.TOKENS,), {"num_frames": 3, "height": 1, "width": 2})
        assert clip.shape == (1, 2, 3, 1, 2) and clip[0, 0, 2, 0].tolist() == [8.0, 10.0]

    @pytest.mark.parametrize("given", [{}, {"img_ids": IDS[:3]}, {"height": 5, "width": 2}, {"height": 6}])
    def test_where_it_is_not_told_or_there_are_more_tokens_they_stay(self, given: dict[str, Any]) -> None:
        assert on_grid((self.TOKENS,), given)[0] is self.TOKENS

    def test_what_has_height_and_width_stays(self) -> None:
        picture = torch.zeros(1, 2, 2, 3)
        assert on_grid((picture,), {"img_ids": self.IDS})[0] is picture


def plan(policy: Sea, values: list[float]) -> str:
    """The plan in a session that is shown these numbers."""
    session = Session(policy, Reuse(), len(values))
    for index, value in enumerate(values):
        session.step(torch.tensor([value]), index=index, compute=lambda: torch.zeros(1))
    return session.plan


def test_relative_changes_from_step_to_step_add_up_and_begin_anew() -> None:
    assert plan(Sea(0.25, last=False), [1.1**i for i in range(STEPS)]) == "C..C..C..C"
    assert plan(Sea(), [1.0] * 6) == "C....C"


def test_what_is_not_finite_is_computed() -> None:
    assert plan(Sea(last=False), [1.0, float("nan"), 1.0, 1.0])[1] == "C"


# In models ------------------------------------------------------------------------------------------------------------


@every_model
@pytest.mark.parametrize("method", ["seacache", "seacache-linear"])
def test_a_threshold_out_of_reach_computes_the_ends_alone(model: str, method: str) -> None:
    make, sample = SAMPLED[model]
    pipe = make()
    with accelerate(pipe, f"{method}:threshold=1e9") as run:
        sample(pipe, STEPS)
    assert run.report.plan == "C........C"


@every_model
def test_a_threshold_of_nearly_nothing_computes_all_and_changes_nothing(model: str) -> None:
    make, sample = SAMPLED[model]
    pipe = make()
    untouched = sample(pipe, STEPS)
    with pytest.warns(PadecastWarning, match="forecast none"), accelerate(pipe, "seacache:threshold=1e-9") as run:
        assert torch.equal(sample(pipe, STEPS), untouched)
    assert run.report.plan == "C" * STEPS
    assert torch.equal(sample(pipe, STEPS), untouched)


@pytest.mark.parametrize("model", ["dit", "flux"])
def test_a_model_shows_its_latents_filtered_by_the_noise_of_every_step(model: str) -> None:
    make, sample = SAMPLED[model]
    pipe, given = make(), []

    def note(_module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        x = args[0] if args else kwargs["hidden_states"]
        given.append(x.transpose(1, 2).unflatten(2, (2, 8)) if model == "flux" else x)

    options = {"true_cfg_scale": 1.0, "height": 8, "width": 32} if model == "flux" else {}
    pipe.transformer.register_forward_pre_hook(note, with_kwargs=True)
    with accelerate(pipe, policy=Sea(1e9), forecaster=Reuse()) as run:
        sample(pipe, STEPS, **options)
        trace = run._attachments[0].session.trace
    assert len(given) == STEPS
    noise = trace.steps[0].at.noise
    levels = list(zip(noise.alphas, noise.sigmas, strict=True))[:STEPS]
    assert [alpha for alpha, _ in levels] == sorted(alpha for alpha, _ in levels)
    seen = [denoise(x, alpha, sigma, 2.0) for x, (alpha, sigma) in zip(given, levels, strict=True)]
    expected = [strength(now - before) / strength(before) for before, now in pairwise(seen)]
    assert [step.at.seen.moved for step in trace][1:] == pytest.approx(expected, rel=1e-3)
