"""The probe of bfloat16, and what stays in float32."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from demos.training import precision


def test_precision_is_probed() -> None:
    assert precision.faster_in_bfloat16(torch.device("cpu"), repeats=1) in (True, False)


@pytest.mark.parametrize(("seconds", "faster"), [(0.7, True), (0.9, False)])
def test_it_has_to_be_clearly_faster(seconds: float, faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_time", lambda layer, inputs, bfloat16, repeats: seconds if bfloat16 else 1.0)
    assert precision.faster_in_bfloat16(torch.device("cpu")) is faster


def test_attention_is_wide_where_all_else_is_narrow() -> None:
    query, key, value = (torch.randn(1, 2, 8, 16, dtype=torch.bfloat16) for _ in range(3))
    bias = torch.zeros(8, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16), precision.WideWhereFaster():
        attended = F.scaled_dot_product_attention(query, key, value=value, attn_mask=bias)
        normal = F.rms_norm(query, (16,), torch.ones(16))
        assert (query.float() @ key.float().mT).dtype == torch.bfloat16
    assert attended.dtype == normal.dtype == torch.float32
    torch.testing.assert_close(attended, F.scaled_dot_product_attention(query.float(), key.float(), value.float()))
    with torch.autocast("cpu", torch.bfloat16):
        assert F.scaled_dot_product_attention(query, key, value).dtype == torch.bfloat16  # and it ends with the block


def test_a_layer_is_kept_wide_under_autocast_and_left_alone_without() -> None:
    layer, inputs = nn.Linear(16, 4), torch.randn(3, 16)
    expected = layer(inputs)
    precision.keep_wide(layer)
    assert torch.equal(layer(inputs), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(inputs), expected)
