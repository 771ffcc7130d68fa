"""What forecasts got wrong is paid back by the computed step behind them, in samplers whose steps are taken once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests import samplers
from torch import Tensor

from padecast import Grid, InvalidOption, Session, rehearse
from padecast.forecasters import Feedback, Forecaster, Lagrange, Reuse, TCPade
from padecast.policies import Plan

SIGMAS = torch.linspace(1, 0, 13, dtype=torch.float64)
PLAN = "CCC..C...C.C"
Sampler = Callable[..., Tensor]


def adams(model: Any, x: Tensor, sigmas: Tensor, extra_args: Any = None, callback: Any = None, **_: Any) -> Tensor:
    """Adams and Bashforth's method of two steps: every output is used by the step after it too."""
    before = None
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i] * x.new_ones(len(x)), **(extra_args or {}))
        slope = (x - denoised) / sigmas[i]
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
        mean = slope if before is None else 1.5 * slope - 0.5 * before
        x, before = x + mean * (sigmas[i + 1] - sigmas[i]), slope
    return x


def renewing(model: Any, x: Tensor, sigmas: Tensor, extra_args: Any = None, callback: Any = None, **_: Any) -> Tensor:
    """As LCM's: all noise is drawn anew at every step."""
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i] * x.new_ones(len(x)), **(extra_args or {}))
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
        x = (1 - sigmas[i + 1]) * denoised + sigmas[i + 1] * torch.randn_like(x)
    return x


def bend(x: Tensor, sigma: Tensor) -> Tensor:
    """The clean image of a model whose velocity bends on the way, and hardly asks where the latents are."""
    level = sigma.view(-1, 1)
    velocity = torch.sin(4 * level + torch.arange(x.shape[-1]) / 2) + 0.2 * torch.cos(x)
    return x - level * velocity


def run(sampler: Sampler, session: Session | None, batch: int = 2, seed: int = 0) -> tuple[Tensor, list[Tensor]]:
    """Sample, and return the latents at every call of the model besides."""
    states: list[Tensor] = []

    def model(x: Tensor, sigma: Tensor, **_: Any) -> Tensor:
        states.append(x)
        level = sigma[0]
        if session is None:
            return bend(x, sigma)
        velocity = session.step(None, like=x, sigma=level, compute=lambda: (x - bend(x, sigma)) / level)
        return x - level * velocity

    torch.manual_seed(seed)
    x = torch.stack([torch.randn(5, dtype=torch.float64) for _ in range(batch)])
    return sampler(model, x, SIGMAS), states


def session_of(sampler: Sampler, amend: bool, forecaster: Forecaster | None = None, plan: str = PLAN) -> Session:
    grid = rehearse(sampler, SIGMAS).grid()
    return Session(Plan(plan), TCPade() if forecaster is None else forecaster, grid=grid, amend=amend)


def error_of(sampler: Sampler, amend: bool, forecaster: Forecaster | None = None, plan: str = PLAN) -> float:
    truth = run(sampler, None)[0]
    return float((run(sampler, session_of(sampler, amend, forecaster, plan))[0] - truth).norm())


# What outputs do -----------------------------------------------------------------------------------------------------


def test_an_output_of_eulers_does_its_stride() -> None:
    assert rehearse(samplers.euler, SIGMAS).effects == pytest.approx((-1 / 12,) * 12)


def test_of_several_evaluations_each_does_its_part() -> None:
    heun = rehearse(samplers.heun, SIGMAS).effects
    assert heun == pytest.approx((*((-1 / 24,) * 22), -1 / 12), abs=1e-5)
    assert rehearse(samplers.midpoint, SIGMAS).effects == pytest.approx((0.0, -1 / 12) * 12, abs=1e-6)


def test_what_later_steps_do_with_an_output_counts() -> None:
    effects = rehearse(adams, SIGMAS).effects
    assert effects == pytest.approx((-0.5 / 12, *((-1 / 12,) * 10), -1.5 / 12))
    assert sum(effects) == pytest.approx(-1)


def test_noise_that_takes_the_place_of_the_latents_takes_the_errors_with_it() -> None:
    assert rehearse(samplers.ancestral, SIGMAS).effects == pytest.approx((-1 / 12,) * 12)
    assert rehearse(renewing, SIGMAS).effects[:-1] == pytest.approx((0.0,) * 11, abs=1e-12)


def test_what_is_no_plain_arithmetic_has_no_effects() -> None:
    def clamped(model: Any, x: Tensor, sigmas: Tensor, **told: Any) -> Tensor:
        return samplers.euler(model, x, sigmas, **told).clamp(-0.05, 0.05)

    def narrow(model: Any, x: Tensor, sigmas: Tensor, **told: Any) -> Tensor:
        if x.dtype == torch.float64:
            raise TypeError("float32 alone")
        return samplers.euler(model, x, sigmas, **told)

    for sampler in (clamped, narrow):
        rehearsal = rehearse(sampler, SIGMAS.float())
        assert rehearsal.is_known and rehearsal.effects == ()


def test_effects_belong_to_velocities_and_to_evaluations() -> None:
    rehearsal = rehearse(samplers.euler, SIGMAS)
    assert rehearsal.grid().effects == rehearsal.effects and rehearsal.grid(output="image").effects == ()
    with pytest.raises(InvalidOption, match=r"effects=.*12 finite numbers, one for each evaluation"):
        Grid(SIGMAS, evaluations=rehearsal.evaluations, effects=[1.0])


# What is paid back ---------------------------------------------------------------------------------------------------


def test_behind_the_computed_step_the_latents_are_where_interpolated_outputs_lead() -> None:
    plan = "CCC..C......"
    session = session_of(samplers.euler, True, Reuse(), plan)
    states = run(samplers.euler, session)[1]
    velocities = {step: (states[step] - bend(states[step], SIGMAS[step].view(1))) / SIGMAS[step] for step in (1, 2, 5)}
    noise = session.records[5].at.noise
    assert noise is not None and noise.roots is not None
    times = noise.roots
    x, share = states[3], 12 / (12 + 3)

    def basis(node: int, time: float) -> float:
        others = [other for other in velocities if other != node]
        return float(torch.tensor([(time - times[o]) / (times[node] - times[o]) for o in others]).double().prod())

    for step in (3, 4):
        between = sum(basis(node, times[step]) * velocity for node, velocity in velocities.items())
        x = x - (share * between + (1 - share) * velocities[2]) / 12
    torch.testing.assert_close(states[6], x - velocities[5] / 12, rtol=0, atol=1e-6)
    plain = run(samplers.euler, session_of(samplers.euler, False, Reuse(), plan))[1]
    assert torch.equal(plain[5], states[5]) and float((plain[6] - states[6]).norm()) > 1e-3


SAMPLERS = [samplers.euler, samplers.heun, samplers.midpoint, samplers.ancestral, adams]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("plan", [PLAN, "CCCC..C...CC", "CCC.C..C...C"])
def test_most_of_the_error_is_paid(sampler: Sampler, plan: str) -> None:
    assert error_of(sampler, True, plan=plan) < 0.6 * error_of(sampler, False, TCPade(feedback=0.0), plan)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("plan", ["CCCC..C...CC", "CCC.C..C...C"])
def test_where_no_forecast_follows_feedback_pays_less(sampler: Sampler, plan: str) -> None:
    assert error_of(sampler, True, plan=plan) < 0.8 * error_of(sampler, False, plan=plan)


def test_where_noise_is_drawn_anew_nothing_is_paid() -> None:
    results = [run(renewing, session_of(renewing, amend, Reuse()))[0] for amend in (False, True)]
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_all_computed_is_bit_identical(sampler: Sampler) -> None:
    plan = "C" * 12
    assert torch.equal(*(run(sampler, session_of(sampler, amend, plan=plan))[0] for amend in (False, True)))


def test_what_is_remembered_is_what_the_model_said() -> None:
    """Else an error would be paid back again and again."""
    session, said, told = Session(Plan("CC..CC"), Reuse(), total=6, amend=True), list[Tensor](), list[Tensor]()
    for index in range(6):

        def compute(level: int = index) -> Tensor:
            said.append(torch.full((1, 2), float(level**2), dtype=torch.float64))
            return said[-1]

        like = torch.zeros(1, 2, dtype=torch.float64)
        told.append(session.step(None, like=like, index=index, compute=compute))
    assert not torch.equal(told[4], said[2]) and torch.equal(told[5], said[3])
    gram = session.records[-1].geometry[""].gram
    assert gram is not None
    newest = torch.cat(said[:-4:-1])
    torch.testing.assert_close(gram[0, :3, :3], newest @ newest.T / 2)  # over the numbers of a sample


def test_every_sample_pays_for_itself() -> None:
    both = run(samplers.euler, session_of(samplers.euler, True), batch=2)[0]
    alone = run(samplers.euler, session_of(samplers.euler, True), batch=1)[0]
    torch.testing.assert_close(both[:1], alone, rtol=0, atol=1e-12)


def test_forecasts_pay_nothing_back_then() -> None:
    amended, plain = session_of(samplers.euler, True), session_of(samplers.euler, False)
    assert isinstance(amended.forecaster, TCPade) and isinstance(plain.forecaster, TCPade)
    assert (amended.forecaster.feedback, plain.forecaster.feedback) == (0.0, 1.0)
    assert session_of(samplers.euler, True, Feedback(Lagrange())).forecaster == Lagrange()


def test_without_a_rehearsal_the_sampler_is_taken_for_eulers() -> None:
    by_hand = Session(Plan(PLAN), TCPade(), grid=Grid(SIGMAS), amend=True)
    torch.testing.assert_close(
        run(samplers.euler, by_hand)[0], run(samplers.euler, session_of(samplers.euler, True))[0], rtol=0, atol=1e-6
    )


def test_a_branch_that_begins_anew_pays_for_nothing() -> None:
    def sample(amend: bool) -> list[Tensor]:
        session, x, outputs = Session(Plan("CC.CCC"), Lagrange(), total=6, amend=amend), torch.zeros(1, 2), []
        for index in range(6):
            output = torch.full_like(x, float(index**2))
            conditions = "first" if index < 3 else "second"
            outputs.append(session.step(None, like=x, index=index, conditions=conditions, compute=lambda y=output: y))
        return outputs

    assert all(map(torch.equal, sample(True)[3:], sample(False)[3:]))


def test_a_run_that_begins_again_is_a_fresh_one() -> None:
    session = session_of(samplers.euler, True)
    first = run(samplers.euler, session)[0]
    assert torch.equal(run(samplers.euler, session)[0], first)


def test_what_cannot_be_paid_back_is_refused() -> None:
    with pytest.raises(InvalidOption, match="forecaster="):
        Session(Plan(PLAN), TCPade(form="published", damping=8.0), grid=Grid(SIGMAS), amend=True)
    with pytest.raises(InvalidOption, match=r"amend=True(?s:.*)velocities"):
        Session(Plan(PLAN), TCPade(), grid=Grid(SIGMAS, output="image"), amend=True)
    session = Session(Plan(PLAN), TCPade(), grid=Grid(SIGMAS), amend=True)
    x = torch.zeros(1, 2)
    with pytest.raises(InvalidOption, match=r"x=.*None where amend=True"):
        session.step(x, sigma=1.0, compute=lambda: x)
    assert not session.records
