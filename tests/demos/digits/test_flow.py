"""What the demo model learns: where noise levels fall, and the loss."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.embeddings import Timesteps

from demos.digits.flow import draw_sigmas, flow_loss, slow


def test_noise_levels_cover_both_ends() -> None:
    sigmas = draw_sigmas(4096, torch.Generator().manual_seed(0))
    assert sigmas.shape == (4096,) and 0 < sigmas.min() < 0.002 and 0.998 < sigmas.max() < 1
    assert abs(sigmas.mean() - 0.5) < 0.02
    middle = ((sigmas > 0.25) & (sigmas < 0.75)).double().mean()
    assert middle > 0.55  # half of them prefer the middle


def test_loss_vanishes_for_the_true_velocity() -> None:
    images, noise, sigmas = torch.rand(3, 1, 16, 16), torch.randn(3, 1, 16, 16), torch.rand(3)

    def oracle(noisy: torch.Tensor, timestep: torch.Tensor, **_: object) -> tuple[torch.Tensor]:
        level = (timestep / 1000)[:, None, None, None]
        return ((noisy - images) / level,)

    loss = flow_loss(oracle, images, torch.zeros(3, dtype=torch.int64), sigmas, noise)
    torch.testing.assert_close(loss, torch.tensor(0.0), atol=1e-8, rtol=0)  # float32 rounding, squared


@pytest.mark.parametrize("fastest", [1.0, 0.03, 0.0005])
def test_slow_channels_are_those_that_change_little_within_a_timestep(fastest: float) -> None:
    embed = Timesteps(num_channels=256, flip_sin_to_cos=True, downscale_freq_shift=1)
    times = torch.arange(1000, dtype=torch.float32)
    speed = (embed(times + 0.5) - embed(times)).abs().amax(0) / 0.5  # at most the frequency, and near it somewhere
    kept = slow(fastest).bool()
    assert kept.shape == (256,) and kept.any()
    assert speed[kept].max() <= fastest * 1.001
    assert kept.all() or speed[~kept].min() > fastest * 0.5
