"""Whether a calibration serves a run that has no pipeline, and calibrations' statistics from such a run."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests import samplers
from torch import Tensor, nn

from padecast import Calibration, Grid, InvalidOption, Session, forecasters, rehearse, zoo
from padecast.calibration import Keeper, Objective, propose
from padecast.forecasters import Reuse, Wiener
from padecast.policies import Always, Plan


def shift(times: Tensor, mu: float = 1.15) -> Tensor:
    """Noise levels of FLUX at 1024 x 1024 pixels: e^mu / (e^mu + 1/t - 1)."""
    return math.exp(mu) / (math.exp(mu) + 1 / times - 1)


@pytest.fixture(scope="module")
def flux() -> Calibration:
    """A calibration of FLUX as diffusers samples it in 20 steps, with the plans of another model."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / 20, 20).tolist(), mu=1.15)
    scenes = zoo.calibration("scenes", "20")
    return replace(scenes, schedule=replace(scenes.schedule, sigmas=tuple(scheduler.sigmas.tolist())))


def at(times: Tensor) -> list[float]:
    return [*shift(times.double()).tolist(), 0.0]


def test_the_simple_schedule_of_another_program_is_that_of_diffusers(flux: Calibration) -> None:
    table = torch.arange(1, 10_001) / 10_000
    simple = at(torch.stack([table[-(1 + step * 500)] for step in range(20)]))
    fit = flux.fits(simple, guidance=3.5)
    assert fit and fit.largest is not None and fit.largest < 1e-6 and "made for such runs" in str(fit)
    assert flux.fits(torch.tensor(simple)) and flux.fits(Grid(simple))


def test_another_schedule_is_refused_with_the_largest_difference(flux: Calibration) -> None:
    normal = at(torch.linspace(1, 1e-4, 20))
    fit = flux.fits(normal)
    assert not fit and fit.largest == pytest.approx(0.1422, abs=2e-4)
    assert str(fit).startswith("noise levels: 0.142 apart at place 19, where this run has 0.0003")
    assert str(fit).endswith("and the calibration 0.1425; 0.003 is allowed")


def test_the_end_of_a_schedule_may_be_written_in_two_ways_but_no_other_shift_passes(flux: Calibration) -> None:
    """ComfyUI's table has 1,000 levels, diffusers' UniPC begins below 1: Wan's last levels lie 0.0024 apart."""
    levels = torch.tensor(flux.schedule.sigmas)
    assert flux.fits((levels - 0.0024).clamp(min=0.0))
    times = levels / (3.16 - 2.16 * levels)  # of the shift of 3.16 by which they were made
    for other in (3.0, 3.3):
        assert not flux.fits(other * times / (1 + (other - 1) * times))


def test_noise_over_signal_is_compared_as_shares_of_noise(flux: Calibration) -> None:
    ratios = [*torch.logspace(1.16, -1.5, 20).tolist(), 0.0]
    karras = replace(flux, schedule=replace(flux.schedule, sigmas=tuple(ratios)))
    assert karras.fits([1.004 * ratio for ratio in ratios])
    assert karras.fits([ratios[0] + 0.3, *ratios[1:]]), "of 14.5 it is 0.1 % of what there is to see"
    fit = karras.fits([*ratios[:-2], 2 * ratios[-2], 0.0])
    assert not fit and str(fit).endswith("0.003 is allowed, as shares of noise")


def test_all_that_differs_is_said_together(flux: Calibration) -> None:
    fit = flux.fits([1.0, 0.5, 0.0], guidance=5.0, branches=("cond", "uncond"), model=nn.Linear(2, 2))
    text = str(fit)
    for fact in (
        "steps: this run has 2, the calibration 20",
        "guidance: this run has 5, the calibration 3.5",
        "branches: this run has cond, uncond, the calibration cond",
        "model: this run has Linear, the calibration FluxTransformer2DModel",
    ):
        assert fact in text.splitlines()
    assert not fit and fit.largest is None and len(fit.differences) == 5
    assert flux.fits(flux.schedule.sigmas, guidance=3.5 * (1 + 5e-4))


def test_a_schedule_without_noise_levels_serves_no_loop(flux: Calibration) -> None:
    bare = replace(flux, schedule=replace(flux.schedule, sigmas=(), scheduler="DDIMScheduler"))
    assert str(bare.fits([1.0, 0.0])) == "noise levels: the calibration has none, since its DDIMScheduler tells none"


@pytest.mark.parametrize(
    ("calibrated", "names", "mapping"),
    [
        (("cond", "uncond"), ("uncond", "cond"), {"uncond": "uncond", "cond": "cond"}),
        (("call 1", "call 2"), ("cond", "uncond"), {"cond": "call 1", "uncond": "call 2"}),
        (("cond", "uncond"), ("call 1", "call 2"), {"call 1": "cond", "call 2": "uncond"}),
        (("call 1 part 1", "call 1 part 2"), ("both",), {"both": "call 1"}),
        (("cond",), ("",), {"": "cond"}),
        (("cond", "uncond"), ("text", "image"), {}),
        (("call 1 part 1", "call 1 part 2"), ("cond", "uncond"), {}),
    ],
)
def test_branches_are_known_by_name_or_by_their_order(
    flux: Calibration, calibrated: tuple[str, ...], names: tuple[str, ...], mapping: dict[str, str]
) -> None:
    fit = replace(flux, statistic=replace(flux.statistic, branches=calibrated)).fits(
        flux.schedule.sigmas, branches=names
    )
    assert fit.branches == mapping and bool(fit) == bool(mapping)


# A statistic of a loop by hand ---------------------------------------------------------------------------------------

SIGMAS = torch.linspace(1, 0, 11)


def run(session: Session, guidance: float = 3.0, batch: int = 1) -> Tensor:
    """Sample two branches by Heun's method."""
    torch.manual_seed(0)
    weights = torch.randn(2, 8, 8, dtype=torch.float64) / 4
    x = torch.randn(batch, 8, dtype=torch.float64)

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        cond, uncond = (
            session.step(
                None,
                like=x,
                sigma=sigma,
                branch=name,
                compute=lambda weight=weight: torch.tanh(x @ weight) * (2 - sigma[0]),
            )
            for name, weight in zip(("cond", "uncond"), weights, strict=True)
        )
        return session.guide(uncond + guidance * (cond - uncond))

    return samplers.heun(model, x, SIGMAS)


def test_a_session_feeds_a_statistic_from_which_plans_and_weights_come() -> None:
    keeper, grid = Keeper(), rehearse(samplers.heun, SIGMAS).grid(output="image")
    exact = run(Session(Always(), Reuse(), grid=grid, observers=[keeper]))
    statistic = keeper.statistic(samples=1)
    assert statistic.branches == ("cond", "uncond") and statistic.steps == 10 and len(statistic.kinds) == 3
    torch.testing.assert_close(statistic.shares, torch.tensor([3.0, -2.0]).double(), rtol=1e-6, atol=1e-6)
    gram = statistic.gram()
    plan = propose(gram.numpy(), grid.strides, [5], Objective(Wiener()))[5]
    weights = Wiener(gram=tuple(map(tuple, gram.tolist())), plan=plan, strides=grid.strides)
    session = Session(Plan(plan), weights, grid=grid)
    planned = (run(session) - exact).norm()
    repeated = (run(Session(Plan("C.C.C.C.C."), Reuse(), grid=grid)) - exact).norm()
    assert session.plan == plan and plan.count("C") == 5 and 0 < planned < 0.5 * repeated


def test_a_keeper_begins_again_with_its_session_and_keeps_samples_apart() -> None:
    keeper, grid = Keeper(), rehearse(samplers.heun, SIGMAS).grid()
    session = Session(Always(), Reuse(), grid=grid, observers=[keeper])
    run(session)
    first = keeper.statistic(samples=1).gram()
    run(session)
    assert keeper.runs == 2 and torch.equal(keeper.statistic(samples=1).gram(), first)
    run(session, batch=3)
    assert keeper.statistic(samples=3).samples == 3


def test_a_run_that_was_forecast_is_no_statistic() -> None:
    keeper = Keeper()
    session = Session(Plan("C.C"), forecasters.Reuse(), 3, observers=[keeper])
    for index in range(3):
        session.step(torch.zeros(1, 2), index=index, compute=lambda: torch.ones(1, 2))
    with pytest.raises(InvalidOption, match="2 of 3"):
        keeper.statistic(samples=1)
