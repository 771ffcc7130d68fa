"""The probe of bfloat16."""

from __future__ import annotations

import pytest
import torch

from padecast.zoo.training import precision


def test_precision_is_probed() -> None:
    assert precision.faster_in_bfloat16(torch.device("cpu"), repeats=1) in (True, False)


@pytest.mark.parametrize(("seconds", "faster"), [(0.7, True), (0.9, False)])
def test_it_has_to_be_clearly_faster(seconds: float, faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_time", lambda layer, inputs, bfloat16, repeats: seconds if bfloat16 else 1.0)
    assert precision.faster_in_bfloat16(torch.device("cpu")) is faster
