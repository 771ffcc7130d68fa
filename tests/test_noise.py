"""Noise levels are the schedulers' own, whatever their kind."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import diffusers
import pytest
import torch

from padecast._noise import Noise, is_flow, is_random, noise_of

STEPS = 6
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "flow": ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    "flow, Heun": ("FlowMatchHeunDiscreteScheduler", {"shift": 3.0}),
    "flow, LCM": ("FlowMatchLCMScheduler", {}),
    "flow, UniPC": ("UniPCMultistepScheduler", {**FLOW, "flow_shift": 5.0}),
    "flow, DPM++": ("DPMSolverMultistepScheduler", {**FLOW, "flow_shift": 5.0}),
    "flow, DEIS": ("DEISMultistepScheduler", {**FLOW, "flow_shift": 5.0}),
    "flow, singlestep": ("DPMSolverSinglestepScheduler", {**FLOW, "flow_shift": 5.0}),
    "DDIM": ("DDIMScheduler", {}),
    "DDIM, zero SNR": ("DDIMScheduler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}),
    "DDPM": ("DDPMScheduler", {}),
    "CogVideoX": ("CogVideoXDDIMScheduler", {}),
    "CogVideoX, DPM": ("CogVideoXDPMScheduler", {}),
    "TCD": ("TCDScheduler", {}),
    "LCM": ("LCMScheduler", {}),
    "PNDM": ("PNDMScheduler", {}),
    "UniPC": ("UniPCMultistepScheduler", {}),
    "DPM++": ("DPMSolverMultistepScheduler", {}),
    "DPM++, Karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "SA": ("SASolverScheduler", {}),
    "DEIS": ("DEISMultistepScheduler", {}),
    "Euler": ("EulerDiscreteScheduler", {}),
    "Euler, Karras": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "LMS": ("LMSDiscreteScheduler", {}),
    "Heun": ("HeunDiscreteScheduler", {}),
    "EDM": ("EDMEulerScheduler", {}),
    "EDM, DPM++": ("EDMDPMSolverMultistepScheduler", {}),
}


def scheduled(kind: str) -> Any:
    name, config = KINDS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = getattr(diffusers, name)(**config)
        scheduler.set_timesteps(STEPS)
    return scheduler


def ratio_by(scheduler: Any, timestep: torch.Tensor) -> float:
    """Return noise over signal as the scheduler itself adds noise."""
    one, none = torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    if hasattr(scheduler, "scale_noise"):
        signal, noise = (scheduler.scale_noise(x, timestep[None], y) for x, y in ((one, none), (none, one)))
    else:
        signal, noise = (scheduler.add_noise(x, y, timestep[None]) for x, y in ((one, none), (none, one)))
    return float(noise / signal.clamp_min(1e-12))


@pytest.mark.parametrize("kind", KINDS)
def test_amplitudes_are_those_with_which_the_scheduler_adds_noise(kind: str) -> None:
    scheduler = scheduled(kind)
    noise = noise_of(scheduler)
    assert noise is not None and len(noise.sigmas) == len(scheduler.timesteps) + 1
    places = range(len(scheduler.timesteps))
    seen = {float(t): place for place, t in reversed(list(enumerate(scheduler.timesteps)))}  # the first of equal ones
    for place in places:
        if seen[float(scheduler.timesteps[place])] != place:
            continue
        expected = ratio_by(scheduled(kind), scheduler.timesteps[place])
        ratio = noise.sigmas[place] / max(noise.alphas[place], 1e-12)
        assert ratio == pytest.approx(min(expected, ratio if ratio > 1e6 else expected), rel=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_levels_fall_from_noise_to_none(kind: str) -> None:
    noise = noise_of(scheduled(kind))
    assert noise is not None
    levels = noise_of(scheduled(kind), size=262_144).effective()
    assert levels[-1] == 0 and all(0 <= level <= 1 for level in levels)
    assert all(a >= b for a, b in itertools.pairwise(levels))


def test_angles() -> None:
    scheduler = diffusers.IPNDMScheduler()
    scheduler.set_timesteps(STEPS)
    noise = noise_of(scheduler)
    assert noise is not None
    torch.testing.assert_close(torch.tensor(noise.sigmas[:-1]), scheduler.betas[:-1].float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.tensor(noise.alphas[:-1]), scheduler.alphas[:-1].float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "scheduler", [None, object(), diffusers.DDPMWuerstchenScheduler(), diffusers.KarrasVeScheduler()]
)
def test_a_scheduler_that_tells_none(scheduler: Any) -> None:
    assert noise_of(scheduler) is None


def test_one_latent_is_as_noisy_as_another_that_repeats_its_pixels() -> None:
    """The large latent at shift s looks like the small one at shift s / k."""
    small, large = (
        diffusers.FlowMatchEulerDiscreteScheduler(shift=0.25),
        diffusers.FlowMatchEulerDiscreteScheduler(shift=4.0),
    )
    levels = []
    for scheduler, size in ((small, 1024), (large, 262_144)):
        scheduler.set_timesteps(sigmas=[1 - step / STEPS for step in range(STEPS)])
        noise = noise_of(scheduler, size)
        assert noise is not None and is_flow(scheduler)
        levels.append(noise.effective())
    torch.testing.assert_close(torch.tensor(levels[0]), torch.tensor(levels[1]), rtol=1e-4, atol=1e-6)


def test_signal_and_noise_alone() -> None:
    assert Noise((0.0, 1.0), (1.0, 0.0), 1e6).effective() == (1.0, 0.0)


def made(name: str, **config: Any) -> Any:
    """A scheduler with its timesteps set; nothing if it needs more than that, or a package that is not here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scheduler = getattr(diffusers, name)(**config)
            scheduler.set_timesteps(STEPS)
        except Exception:
            return None
    return scheduler if hasattr(scheduler, "timesteps") and len(scheduler.timesteps) > 1 else None


def first_steps(name: str, config: dict[str, Any], seed: int) -> torch.Tensor | None:
    """The latents after two steps, with what torch draws by itself seeded; nothing if its step takes other things."""
    scheduler, x = made(name, **config), torch.full((1, 4, 8, 8), 0.5)
    torch.manual_seed(seed)
    try:
        for t in scheduler.timesteps[:2]:
            x = scheduler.step(0.1 * x, t, x).prev_sample
    except Exception:
        return None
    return x


ALL = sorted(name for name in dir(diffusers) if name.endswith("Scheduler"))
SDE = [("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"})]
SDE += [("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True})]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "config"), [*((name, {}) for name in ALL), *SDE], ids=str)
def test_schedulers_that_draw_noise_are_known(name: str, config: dict[str, Any]) -> None:
    """Each steps twice with other seeds of torch: where the latents differ, it draws."""
    once, again = (None if made(name, **config) is None else first_steps(name, config, seed) for seed in (1, 2))
    if once is None or again is None:
        pytest.skip("its step takes something else")
    draws = not torch.equal(once, again)
    assert is_random(made(name, **config)) or not draws
