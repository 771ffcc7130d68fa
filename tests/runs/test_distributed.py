"""Processes that share the tokens of one run decide alike, and forecast what one process would."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.runs.parallel import RULES, by_hand, context_parallel, half, measured, spread, trajectory


def test_split_tokens_get_the_plan_and_the_forecasts_of_whole_ones(tmp_path: Path) -> None:
    plan, outputs = by_hand(*trajectory(), group=None)
    halves = spread(half, tmp_path, True)
    assert 0 < plan.count(".") < len(plan) - 3
    assert [own for own, *_ in halves] == [plan, plan]
    torch.testing.assert_close(torch.cat([own for _, own, _ in halves], dim=2), outputs)
    for *_, gram in halves:
        torch.testing.assert_close(gram, measured(slice(0, 6), None))  # of every sample over its own tokens
    assert not torch.equal(gram[0], gram[1])


@pytest.mark.slow
def test_without_a_group_every_process_decides_by_what_it_sees(tmp_path: Path) -> None:
    (first, *_), (second, *_) = spread(half, tmp_path, False)
    assert first != second, "the halves should have differed, or the test above tests nothing"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flux", "wan"])
def test_context_parallelism_of_diffusers(name: str, tmp_path: Path) -> None:
    seen = spread(context_parallel, tmp_path, name)
    for rank in seen:
        alone, split = rank["untouched"]
        torch.testing.assert_close(split, alone, rtol=1e-4, atol=1e-5)  # attention in another order: diffusers' own
        assert torch.equal(rank["computed"], split) and torch.equal(rank["after"], split)
        for rule in RULES:
            assert rank[f"{rule} split plan"] == rank[f"{rule} alone plan"] and "." in rank[f"{rule} split plan"]
            torch.testing.assert_close(rank[f"{rule} split"], rank[f"{rule} alone"], rtol=1e-4, atol=1e-5)
    assert all(torch.equal(seen[0][f"{rule} split"], seen[1][f"{rule} split"]) for rule in RULES)
