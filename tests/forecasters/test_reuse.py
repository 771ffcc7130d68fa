from __future__ import annotations

import torch

from padecast import Geometry, Position, Session, policies
from padecast.forecasters import Reuse


def test_the_newest_residual_is_repeated_whatever_the_others_are() -> None:
    geometry = Geometry((9, 4, 0), (9.0, 4.0, 0.0))
    assert Reuse().weights(geometry, Position.at(15, 20)).tolist() == [1, 0, 0]


def test_a_constant_residual_is_forecast_without_a_rounding_error() -> None:
    shift = torch.full((2, 3), 0.5)
    session = Session(policies.Plan("C...."), Reuse(), total=5)
    for index in range(5):
        x = torch.full((2, 3), float(index))
        assert torch.equal(session.step(x, index=index, compute=lambda x=x: x + shift), x + shift)
    assert session.plan == "C...."
