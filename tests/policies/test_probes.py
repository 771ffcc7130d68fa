"""Policies that look at features before they decide: what they see, in a session and in a model."""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from tests.representative import representative
from tests.tiny import dit_pipeline, flux_pipeline, footprint, sample_dit, sample_flux, sample_wan, wan_pipeline
from torch import Tensor, nn

from padecast import InvalidOption, PadecastWarning, Session, UnknownName, UnsupportedModel, accelerate, targets
from padecast.forecasters import Lagrange, Oracle, Reuse
from padecast.policies import Accumulated, Cap, FirstBlock, Magnitude, Policy, Rate, plan_of
from padecast.policies.accumulated import FLUX, WAN_LARGE, WAN_SMALL

STEPS = 10
SAMPLED = {
    "dit": (dit_pipeline, sample_dit),
    "flux": (flux_pipeline, sample_flux),
    "wan": (wan_pipeline, sample_wan),
}
every_model = pytest.mark.parametrize("model", SAMPLED)


def plan(policy: Policy, probes: list[float], outputs: list[float] | None = None) -> str:
    """The plan in a session that is shown these numbers."""
    session = Session(policy, Reuse(), len(probes))
    for index, value in enumerate(probes):
        given = torch.tensor([0.0]) if outputs is None else torch.tensor([value])
        returned = torch.tensor([value]) if outputs is None else torch.tensor([outputs[index]])
        probe = torch.tensor([value]) if outputs is None else None
        session.step(given, index=index, compute=lambda returned=returned: returned, probe=probe)
    return session.plan


class TestAccumulated:
    def test_relative_changes_from_step_to_step_add_up(self) -> None:
        """By a tenth a step: the third change reaches 0.25, whatever was computed in between."""
        growing = [1.1**i for i in range(STEPS)]
        assert plan(Accumulated(0.25, last=False), growing) == "C..C..C..C"

    def test_the_sum_begins_anew_at_a_computed_step(self) -> None:
        assert plan(Accumulated(0.25, last=False), [1.0, 1.2, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4]) == "C.C....."

    def test_changes_are_rescaled_by_the_polynomial_highest_power_first(self) -> None:
        growing = [1.1**i for i in range(STEPS)]
        assert plan(Accumulated(0.25, (2.0, 0.1), last=False), growing) == plan(
            Accumulated(0.25, last=False), [1.3**i for i in range(STEPS)]
        )

    def test_published_coefficients(self) -> None:
        assert [len(c) for c in (FLUX, WAN_SMALL, WAN_LARGE)] == [5, 5, 5]
        by_hand = 0.0498651651 - 0.283781631 + 0.558554382 - 0.382021401 + 0.264230861
        assert Accumulated(coefficients=FLUX)._rescale(0.1) == pytest.approx(by_hand)

    def test_a_standstill_is_never_computed_but_at_the_end(self) -> None:
        assert plan(Accumulated(), [1.0] * 6) == "C....C"


class TestFirstBlock:
    def test_changes_count_from_the_latest_computed_step(self) -> None:
        """In steps of a twentieth: after the third the distance from the computed one exceeds a tenth."""
        assert plan(FirstBlock(0.1), [1.0, 1.05, 1.1 - 1e-3, 1.15, 1.2, 1.25]) == "C..C.."

    def test_a_change_that_comes_back_is_none(self) -> None:
        assert plan(FirstBlock(0.1), [1.0, 1.09, 1.0, 0.91, 1.0]) == "C...."


class TestRate:
    def test_the_rate_of_the_latest_computed_steps_predicts_the_change(self) -> None:
        """The output moves half as much as the input; three steps of 0.1 are 0.14, then 0.125 of the output."""
        x = [0.1 * i for i in range(STEPS)]
        v = [1 + 0.5 * value for value in x]
        assert plan(Rate(0.12, last=False), x, v) == "CC..C..C.."

    def test_an_output_that_stands_still_is_not_computed(self) -> None:
        assert plan(Rate(0.01, last=False), [0.1 * i for i in range(6)], [1.0] * 6) == "CC...."

    def test_a_faster_change_is_computed_sooner(self) -> None:
        slow, fast = ([1 + rate * 0.1 * i for i in range(STEPS)] for rate in (0.2, 2.0))
        x = [0.1 * i for i in range(STEPS)]
        assert plan(Rate(0.1), x, slow).count("C") < plan(Rate(0.1), x, fast).count("C")


class TestMagnitude:
    def test_errors_of_the_accumulated_magnitude_add_up(self) -> None:
        """|1 - 0.98| + |1 - 0.98^2| is 0.0596, and the third brings it to 0.118."""
        policy = Magnitude((1.0, *[0.98] * 9), threshold=0.06, limit=9, retention=0.0, last=False)
        assert plan_of(policy, STEPS) == "C..C..C..C"

    def test_a_magnitude_that_comes_back_costs_less(self) -> None:
        back = Magnitude((1.0, 0.95, 1 / 0.95, 0.95, 1 / 0.95), threshold=0.06, limit=9, retention=0.0, last=False)
        assert plan_of(back, 5) == "C..C."

    def test_ratios_of_another_number_of_steps_are_interpolated(self) -> None:
        policy = Magnitude((1.0, 0.9, 0.8))
        assert [policy.ratio(i, 5) for i in range(5)] == pytest.approx([1.0, 0.95, 0.9, 0.85, 0.8])

    def test_no_more_than_the_limit_in_a_row_and_the_first_share_computed(self) -> None:
        assert plan_of(Magnitude(limit=2, retention=0.3), 10) == "CCC..C..CC"


def test_a_session_that_does_not_see_what_the_policy_wants_says_so() -> None:
    with pytest.raises(InvalidOption, match=r"Accumulated decides by the first block's.*\n.*probe=features"):
        Session(Accumulated(), Reuse(), 4).step(torch.zeros(1), index=0, compute=lambda: torch.zeros(1))


def test_a_wrapped_policy_sees_too() -> None:
    assert Cap(Accumulated(), limit=2).probe == "modulated"
    assert plan(Cap(Accumulated(), limit=2), [1.0] * 7) == "C..C..C"


# In models ------------------------------------------------------------------------------------------------------------


class Seeing:
    """What a model's part gives at every call, looks among them, seen from outside."""

    def __init__(self, module: nn.Module) -> None:
        self.outputs: list[Tensor] = []
        self._forward, module.forward = module.forward, self._call

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        output = self._forward(*args, **kwargs)
        self.outputs.append((output[0] if isinstance(output, tuple) else output).clone())
        return output


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().mean() / other.abs().mean())


@every_model
@pytest.mark.parametrize("method", ["teacache:threshold=1e9", "first-block:threshold=1e9", "easycache:threshold=1e9"])
def test_a_threshold_out_of_reach_computes_the_ends_alone(model: str, method: str) -> None:
    make, sample = SAMPLED[model]
    pipe = make()
    with accelerate(pipe, method) as run:
        sample(pipe, STEPS)
    ends = {"teacache": "C........C", "first-block": "C.........", "easycache": "CC.......C"}
    assert run.report.plan == ends[method.split(":")[0]]


@pytest.mark.parametrize("model", representative(SAMPLED, ["dit", "wan"]))
@pytest.mark.parametrize(
    "method", ["teacache:threshold=1e-9", "first-block:threshold=1e-9", "easycache:threshold=1e-9"]
)
def test_a_threshold_of_nearly_nothing_computes_all_and_changes_nothing(model: str, method: str) -> None:
    make, sample = SAMPLED[model]
    pipe = make()
    untouched = sample(pipe, STEPS)
    with pytest.warns(PadecastWarning, match="forecast none"), accelerate(pipe, method) as run:
        assert torch.equal(sample(pipe, STEPS), untouched)
    assert run.report.plan == "C" * STEPS
    assert torch.equal(sample(pipe, STEPS), untouched)


def test_the_modulated_input_is_seen_at_forecast_steps_too() -> None:
    """What a policy was told is what the first block's normalisation returns for the latents of that step."""
    pipe = flux_pipeline()
    seeing = Seeing(pipe.transformer.transformer_blocks[0].norm1)
    with accelerate(pipe, policy=Accumulated(1e9), forecaster=Reuse()) as run:
        sample_flux(pipe, STEPS, true_cfg_scale=1.0)
        trace = run._attachments[0].session.trace
    told = [step.at.seen.moved for step in trace][1:]
    seen = [seeing.outputs[0]]
    for output in seeing.outputs[1:]:  # at a computed step it runs twice: to look, and to compute
        if not torch.equal(output, seen[-1]):
            seen.append(output)
    assert len(seen) == STEPS
    assert told == pytest.approx([relative(b, a) for a, b in pairwise(seen)], rel=1e-5)


def test_the_first_blocks_residual_is_seen_and_its_output_kept() -> None:
    pipe = flux_pipeline()
    residuals: list[Tensor] = []

    def note(_: Any, _args: Any, kwargs: dict[str, Any], output: Any) -> None:
        residuals.append(output[1] - kwargs["hidden_states"])

    with accelerate(pipe, policy=FirstBlock(1e9), forecaster=Reuse(), span="rest") as run:
        pipe.transformer.transformer_blocks[0].register_forward_hook(note, with_kwargs=True)
        sample_flux(pipe, STEPS, true_cfg_scale=1.0)
        trace = run._attachments[0].session.trace
    assert len(residuals) == STEPS  # it runs at every step
    told = [step.at.seen.apart for step in trace][1:]
    assert told == pytest.approx([relative(r, residuals[0]) for r in residuals[1:]], rel=1e-4)


def test_branches_share_the_decision_of_the_first() -> None:
    pipe = wan_pipeline()
    with accelerate(pipe, "first-block:threshold=0.1") as run:
        sample_wan(pipe, STEPS)
    assert len(run.report.branches) == 2 and run.report.notes == {}
    assert 1 < run.report.computed < STEPS


def test_the_oracle_follows_the_plan_of_what_it_is_the_bound_of() -> None:
    plans = []
    for forecaster in (Reuse(), Oracle()):
        session = Session(FirstBlock(0.1), forecaster, STEPS)
        for index in range(STEPS):
            x = torch.full((1,), 1 + 0.05 * index)
            session.step(x, index=index, compute=lambda x=x: 2 * x, probe=x)
        plans.append(session.plan)
    assert plans[0] == plans[1] and 1 < plans[0].count("C") < STEPS


def test_what_is_not_finite_is_computed() -> None:
    for policy in (Accumulated(last=False), FirstBlock(), Rate(last=False)):
        assert plan(policy, [1.0, float("nan"), 1.0, 1.0], [1.0] * 4 if policy.probe == "latents" else None)[1] == "C"


@pytest.mark.parametrize("span", ["full", "double", "halves", "modules", "output"])
def test_a_span_that_holds_the_first_block_is_refused_where_it_decides(span: str) -> None:
    pipe = flux_pipeline()
    before = footprint(pipe.transformer)
    with pytest.raises(InvalidOption, match=r"holds the first block.*\n.*span='rest'"):
        accelerate(pipe, "first-block", span=span).enable()
    assert footprint(pipe.transformer) == before


def test_an_unknown_probe_is_named() -> None:
    @dataclass(frozen=True)
    class Typo(FirstBlock):
        @property
        def probe(self) -> str:
            return "first_block"

    with pytest.raises(UnknownName, match="'first_block'; the nearest is 'first-block'"):
        accelerate(flux_pipeline(), policy=Typo(), forecaster=Reuse(), span="rest").enable()


@pytest.mark.parametrize("span", ["halves", "modules"])
def test_one_look_a_step_however_many_stacks_and_branches(span: str) -> None:
    pipe = flux_pipeline()
    seeing = Seeing(pipe.transformer.transformer_blocks[0].norm1)
    with accelerate(pipe, policy=Accumulated(1e9), forecaster=Reuse(), span=span) as run:
        sample_flux(pipe, STEPS)
    branches = len({branch.partition(",")[0] for branch in run.report.branches})
    looks_and_runs = {"halves": STEPS + branches * run.report.computed, "modules": branches * STEPS}  # it is in no part
    assert branches == 2 and len(seeing.outputs) == looks_and_runs[span]


def test_another_thread_may_run_the_same_modules_for_another_pipeline() -> None:
    """It is not accelerated: what it does is neither seen nor ended."""
    pipe = dit_pipeline()
    other = type(pipe).from_pipe(pipe, scheduler=copy.deepcopy(pipe.scheduler))
    other.set_progress_bar_config(disable=True)
    expected = sample_dit(other, 4)
    drawn: list[Tensor] = []

    def meanwhile(*_: Any) -> None:
        if threading.current_thread() is threading.main_thread() and not drawn:
            thread = threading.Thread(target=lambda: drawn.append(sample_dit(other, 4)))
            thread.start()
            thread.join()

    hook = pipe.transformer.transformer_blocks[0].norm1.register_forward_pre_hook(meanwhile)
    with accelerate(pipe, "teacache:threshold=1e9") as run:
        sample_dit(pipe, STEPS)
    hook.remove()
    assert run.report.plan == "C........C" and torch.equal(drawn[0], expected)


def test_a_model_whose_modulation_nobody_described() -> None:
    pipe = flux_pipeline()
    before = footprint(pipe.transformer)
    described = targets.find(pipe.transformer)
    targets.register(targets.Target("FluxTransformer2DModel", described.blocks, spans=described.spans))
    try:
        with pytest.raises(UnsupportedModel, match="not known which module"):
            accelerate(pipe, "teacache").enable()
        assert footprint(pipe.transformer) == before
    finally:
        targets.register(described)
    untouched = sample_flux(pipe)
    with accelerate(pipe, policy="always", forecaster=Lagrange()):
        assert torch.equal(sample_flux(pipe), untouched)
