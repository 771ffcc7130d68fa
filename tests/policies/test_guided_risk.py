"""RA-CFGCache's rule against its identity: what guidance makes of the errors of two branches."""

from __future__ import annotations

import pytest
import torch

from padecast import Geometry, InvalidOption, Position, Trace
from padecast.policies import GuidedRisk, plan_of

TOTAL = 10


def alignment(value: float) -> tuple[tuple[float, ...], ...]:
    return ((value,) * TOTAL,) * TOTAL


def ratios(first: float, second: float) -> tuple[tuple[float, ...], ...]:
    """Branches that shrink by so much at step 1, and then stand."""
    return tuple((1.0, factor, *(1.0,) * (TOTAL - 2)) for factor in (first, second))


@pytest.mark.parametrize("scale", [1.0, 3.5, 9.0])
@pytest.mark.parametrize("angle", [0.0, 0.7, 1.5707963267948966, 3.141592653589793])
def test_the_risk_is_the_length_of_the_guided_error(scale: float, angle: float) -> None:
    errors = 0.3, 0.2
    first = torch.tensor([errors[0], 0.0], dtype=torch.float64)
    second = errors[1] * torch.tensor([angle, 0.0], dtype=torch.float64).cos()
    second[1] = errors[1] * torch.tensor(angle, dtype=torch.float64).sin()
    guided = (1 - scale) * first + scale * second
    rule = GuidedRisk(
        scale=scale,
        ratios=ratios(1 - errors[0], 1 + errors[1]),
        alignment=alignment(float(torch.tensor(angle, dtype=torch.float64).cos())),
    )
    assert rule.risk(0, Position.at(1, TOTAL)) == pytest.approx(float(guided.norm()), abs=1e-9)


def test_errors_that_point_the_same_way_cancel_and_opposite_ones_add_up() -> None:
    same, none, opposite = (
        GuidedRisk(scale=5.0, alignment=alignment(rho)).risk(0, Position.at(3, TOTAL)) for rho in (1.0, 0.0, -1.0)
    )
    assert same == pytest.approx(0.3) and opposite == pytest.approx(9 * 0.3)
    assert same < none < opposite


def test_ratios_multiply_from_the_computed_step_on() -> None:
    rule = GuidedRisk(ratios=((1.0, *(0.9,) * 9), (1.0, *(0.9,) * 9)))
    assert rule.risk(2, Position.at(4, TOTAL)) == pytest.approx(1 - 0.9**2)
    assert rule.risk(4, Position.at(4, TOTAL)) == 0


def test_the_gain_is_largest_at_the_first_step_and_its_floor_at_the_end() -> None:
    rule = GuidedRisk(gain=(2.0, 2.0, 0.5))
    gains = [rule.gain_at(Position.at(step, TOTAL)) for step in range(TOTAL)]
    assert gains == pytest.approx([2 * (1 - step / TOTAL) ** 2 + 0.5 for step in range(TOTAL)])
    assert gains == sorted(gains, reverse=True)


def test_risks_add_up_until_they_would_exceed_the_threshold() -> None:
    rule = GuidedRisk(threshold=0.3)  # 0.1 + 0.2 is not above it, and 0.1 + 0.2 + 0.3 is
    trace = Trace().then(Position.at(0, TOTAL), True).then(Position.at(1, TOTAL), False)
    geometry = Geometry((0,), (0.0,))
    assert not GuidedRisk(threshold=0.3 + 1e-9).computes(Position.at(2, TOTAL), trace, geometry)
    assert rule.computes(Position.at(3, TOTAL), trace.then(Position.at(2, TOTAL), False), geometry)


@pytest.mark.parametrize("computed", range(1, TOTAL + 1))
def test_its_rooms_reach_every_number_of_computed_steps(computed: int) -> None:
    rule = GuidedRisk(gain=(1.0, 1.3, 0.2))
    counts = {plan_of(GuidedRisk(gain=rule.gain, **room), TOTAL).count("C") for room in rule.rooms(TOTAL, computed, ())}
    assert min(abs(count - computed) for count in counts) <= 1


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"threshold": 0.0}, "threshold"),
        ({"scale": float("nan")}, "scale"),
        ({"gain": (1.0, 1.0, float("inf"))}, "gain"),
        ({"ratios": ((1.0, 0.9),)}, "ratios"),
        ({"ratios": ((1.0, 0.9), (1.0,))}, "ratios"),
        ({"alignment": ((1.0, 0.9),)}, "alignment"),
        ({"ratios": ((1.0,), (1.0,)), "alignment": alignment(1.0)}, "alignment"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidOption, match=word):
        GuidedRisk(**options)  # type: ignore[arg-type]


def test_a_run_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidOption, match="steps of the run"):
        plan_of(GuidedRisk(ratios=ratios(0.9, 0.9)), TOTAL + 1)
