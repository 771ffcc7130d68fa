"""Demo worlds: matched settings, and the same told with the latents and noise levels of real models."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from padecast import UnknownName, accelerate, zoo
from padecast.zoo.enlarged import enlarge, mean, repeat, smaller
from padecast.zoo.worlds import FLUX_SHIFT, WORLDS

CAPTION = "a large red circle left of a small blue square"
CLIP = "a large red star moving left"


def quiet(name: str) -> Any:
    pipe = zoo.load(name)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def images(output: Any) -> Tensor:
    return torch.as_tensor(output.images if hasattr(output, "images") else output.frames)


def pair(model: str, shape: tuple[int, ...], times: int) -> tuple[Tensor, Tensor]:
    """Noise for the enlarged model, and the small model's that is the same: its mean, as noisy as it should be."""
    large = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return large, mean(large, times) * times


def set_even(set_timesteps: Any, steps: int, device: Any = None) -> None:
    """Set levels that are even before they are shifted; by itself this scheduler shifts the last one twice."""
    set_timesteps(sigmas=[1 - step / steps for step in range(steps)], device=device)


def test_digits_as_flux_are_digits_at_a_smaller_shift() -> None:
    world = WORLDS["digits:as-flux"]
    large, small = pair("digits", (1, 1, 16 * world.times, 16 * world.times), world.times)
    assert large.numel() == 262_144
    drawn = images(quiet("digits:as-flux")([3], num_inference_steps=4, latents=large, output_type="pt"))
    shift = FLUX_SHIFT / world.times
    same = images(quiet("digits:matched")([3], num_inference_steps=4, latents=small, shift=shift, output_type="pt"))
    torch.testing.assert_close(drawn, same, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_scenes_as_flux_are_scenes_at_a_smaller_shift() -> None:
    world, options = WORLDS["scenes:as-flux"], {"num_inference_steps": 6, "max_sequence_length": 32}
    large, small = pair("scenes", (1, 4, 16 * world.times, 16 * world.times), world.times)
    assert large.numel() == 262_144
    told, matched = quiet("scenes:as-flux"), quiet("scenes:matched")
    config = matched.scheduler.config
    matched.scheduler = type(matched.scheduler).from_config(config, shift=FLUX_SHIFT / world.times)
    drawn = [
        images(pipe(CAPTION, latents=pipe._pack_latents(x, 1, 4, *x.shape[2:]), output_type="pt", **options))
        for pipe, x in ((told, large), (matched, small))
    ]
    torch.testing.assert_close(*drawn, rtol=1e-3, atol=1e-3)
    assert drawn[0].shape == (1, 3, 64, 64)


@pytest.mark.slow
def test_motion_as_wan_is_motion_at_a_smaller_shift() -> None:
    """Under Euler. UniPC clips the first level of either a millionth below one, which is another level for each."""
    world, options = WORLDS["motion:as-wan"], {"num_inference_steps": 4, "max_sequence_length": 32}
    large, small = pair("motion", (1, 16, 5, 8 * world.times, 8 * world.times), world.times)
    drawn = []
    for name, noise, shift in (("as-wan", large, world.shift), ("matched", small, world.shift / world.times)):
        pipe = quiet(f"motion:{name}")
        pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
        pipe.scheduler.set_timesteps = partial(set_even, pipe.scheduler.set_timesteps)
        drawn.append(images(pipe(CLIP, latents=noise, output_type="pt", **options)))
    torch.testing.assert_close(*drawn, rtol=1e-3, atol=1e-3)


def test_the_library_is_told_the_large_latents() -> None:
    pipe = quiet("digits:as-flux")
    with accelerate(pipe, "tc-pade:every=3") as run:
        pipe([3], num_inference_steps=6, generator=torch.Generator().manual_seed(0))
        (attachment,) = run._attachments
        assert attachment.session is not None
        at = attachment.session.records[0].at
        assert at.noise is not None and at.noise.size == 262_144
        assert at.noise.sigmas[1] == pytest.approx(FLUX_SHIFT * (5 / 6) / (1 + (FLUX_SHIFT - 1) * 5 / 6), rel=1e-3)


@pytest.mark.parametrize("name", ["digits:matched", "scenes:matched", "motion:matched"])
def test_a_matched_setting_is_the_default_of_its_pipeline(name: str) -> None:
    import inspect

    pipe, world = zoo.load(name), WORLDS[name]
    defaults = inspect.signature(pipe.__call__).parameters
    assert defaults["guidance_scale"].default == world.guidance
    config = pipe.scheduler.config
    assert world.shift in (
        config.get("shift"),
        config.get("flow_shift"),
        getattr(defaults.get("shift"), "default", None),
    )


def test_a_world_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="the nearest is 'scenes:as-flux'"):
        zoo.load("scenes:asflux")


@pytest.mark.parametrize("times", [2, 5])
def test_pixels_are_repeated_and_averaged(times: int) -> None:
    x = torch.randn(2, 3, 4, 6)
    assert repeat(x, times).shape == (2, 3, 4 * times, 6 * times)
    torch.testing.assert_close(mean(repeat(x, times), times), x)


def test_levels_of_the_small_model_are_those_of_a_smaller_shift() -> None:
    places = torch.linspace(0.05, 1, 20, dtype=torch.float64)
    large, small = (s * places / (1 + (s - 1) * places) for s in (3.2, 0.2))
    torch.testing.assert_close(smaller(large, 16), small)


def test_an_enlarged_transformer_has_the_same_weights() -> None:
    part = zoo.load("digits").transformer
    large = enlarge(part, 4)
    assert isinstance(large, type(part)) and large.config.sample_size == 4 * part.config.sample_size
    assert all(torch.equal(a, b) for a, b in zip(part.parameters(), large.parameters(), strict=True))
