"""Offsets on another forecaster's weights: at the right step, on the right branch."""

from __future__ import annotations

import pytest
import torch
from tests.tiny import dit_pipeline, sample_dit
from torch import Tensor

from padecast import Geometry, InvalidOption, Position, Session, accelerate
from padecast.forecasters import Chebyshev, Lagrange, Oracle, Pade, Refined, Reuse, TCPade, Wiener
from padecast.policies import Plan

ROWS = ((0.25, -0.5), (-0.125, 0.75))
LINE = Lagrange(1)


def remembered(branch: str = "", batch: int = 1, gram: Tensor | None = None) -> Geometry:
    return Geometry((4, 2, 0), (4.0, 2.0, 0.0), gram, branch=branch, batch=batch)


def at(index: int) -> Position:
    return Position.at(index, 10)


def plain(index: int) -> Tensor:
    return LINE.weights(remembered(), at(index))


def test_a_step_without_offsets_is_left_as_it_is() -> None:
    refined = Refined(LINE, ((6, ROWS), (8, ROWS)), ("cond", "uncond"))
    for index in (5, 7, 9):
        assert torch.equal(refined.weights(remembered("cond"), at(index)), plain(index))
    assert torch.equal(Refined(LINE).weights(remembered(), at(6)), plain(6))


@pytest.mark.parametrize(("branch", "row"), [("cond", (0.25, -0.5)), ("uncond", (-0.125, 0.75))])
def test_a_branch_that_is_a_call_of_its_own_gets_its_row(branch: str, row: tuple[float, float]) -> None:
    refined = Refined(LINE, ((6, ROWS), (8, (ROWS[1], ROWS[0]))), ("cond", "uncond"))
    added = refined.weights(remembered(branch, batch=4), at(6)) - plain(6)
    assert added.tolist() == [*row, 0.0]
    other = refined.weights(remembered(branch), at(8)) - plain(8)
    assert other.tolist() == [*({"cond": ROWS[1], "uncond": ROWS[0]}[branch]), 0.0]


def test_a_branch_that_was_not_calibrated_gets_no_offsets() -> None:
    added = Refined(LINE, ((6, ROWS),), ("cond", "uncond")).weights(remembered("negative"), at(6)) - plain(6)
    assert added.tolist() == [0.0, 0.0, 0.0]


def test_the_parts_of_a_batch_get_a_row_each() -> None:
    weights = Refined(LINE, ((6, ROWS),)).weights(remembered(batch=4), at(6))
    assert weights.shape == (4, 3)
    added = weights - plain(6)
    assert added.tolist() == [[0.25, -0.5, 0.0]] * 2 + [[-0.125, 0.75, 0.0]] * 2


@pytest.mark.parametrize("batch", [1, 3])
def test_a_batch_that_does_not_split_gets_no_offsets(batch: int) -> None:
    added = Refined(LINE, ((6, ROWS),)).weights(remembered(batch=batch), at(6)) - plain(6)
    assert added.tolist() == [0.0, 0.0, 0.0]


def test_a_single_row_is_for_all() -> None:
    added = Refined(LINE, ((6, ROWS[:1]),)).weights(remembered(batch=4), at(6)) - plain(6)
    assert added.tolist() == [0.25, -0.5, 0.0]


def test_weights_that_differ_by_sample_are_corrected_sample_by_sample() -> None:
    draws = torch.randn(3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    geometry, inner = Geometry.of(draws.cumsum(0), [0, 2, 4]), Pade((1, 1))
    both = Refined(inner, ((6, ROWS),)).weights(geometry, at(6))
    expected = inner.weights(geometry, at(6)) + torch.tensor(
        [[*ROWS[0], 0], [*ROWS[0], 0], [*ROWS[1], 0], [*ROWS[1], 0]]
    )
    torch.testing.assert_close(both, expected)


def test_a_shorter_history_than_the_offsets_were_found_for_gets_none() -> None:
    early = Geometry((0,), (0.0,))
    assert Refined(LINE, ((6, (ROWS[0],)),)).weights(early, at(6)).tolist() == [1.0]


def test_it_remembers_as_many_residuals_as_it_weighs_and_needs_what_its_inner_one_needs() -> None:
    long = Refined(Reuse(), ((3, ((0.1, 0.2, 0.3, 0.4),)),))
    assert long.window == 4 and Refined(Lagrange(2)).window == 3
    assert Refined(Pade()).needs_gram and not Refined(LINE).needs_gram
    assert Refined(Wiener()).needs_stride and not Refined(LINE).needs_stride
    assert Refined(LINE).sums_to_one and not long.sums_to_one


@pytest.mark.parametrize("inner", [Chebyshev(), Oracle(), TCPade(form="published")], ids=repr)
def test_an_inner_forecaster_that_is_not_weights_on_residuals_is_refused(inner: object) -> None:
    with pytest.raises(InvalidOption, match="inner="):
        Refined(inner)  # type: ignore[arg-type]


def test_rows_must_fit_one_another_and_the_branches() -> None:
    with pytest.raises(InvalidOption, match="as many rows at every step"):
        Refined(LINE, ((3, ROWS), (4, ROWS[:1])))
    with pytest.raises(InvalidOption, match="branches="):
        Refined(LINE, ((3, ROWS),), ("cond",))


@pytest.mark.parametrize("reversed_order", [False, True])
def test_a_session_gives_every_named_branch_its_own(reversed_order: bool) -> None:
    names = ("cond", "uncond")
    draws = torch.randn(2, 2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    residuals = dict(zip(names, draws, strict=True))  # (step, sample, channel)
    session = Session(Plan("CC.."), Refined(LINE, ((2, ROWS), (3, (ROWS[1], ROWS[0]))), names), 4)
    x = torch.zeros(3, 5, dtype=torch.float64)
    for index in range(4):
        for name in reversed(names) if reversed_order else names:
            old, new = residuals[name]
            out = session.step(x, index=index, branch=name, compute=lambda: x + residuals[name][index])  # noqa: B023
            if index < 2:
                continue
            ahead = float(index - 1)
            a, b = ROWS[names.index(name) if index == 2 else 1 - names.index(name)]
            torch.testing.assert_close(out, (1 + ahead + a) * new + (-ahead + b) * old)
    assert session.plan == "CC.."


def test_an_accelerated_pipeline_corrects_each_half_of_a_guided_batch() -> None:
    pipe = dit_pipeline()
    blocks = pipe.transformer.transformer_blocks
    entries: list[Tensor] = []
    outputs: list[Tensor] = []
    hooks = [
        blocks[0].register_forward_pre_hook(lambda _module, args: entries.append(args[0].clone())),
        blocks[-1].register_forward_hook(lambda _module, _args, out: outputs.append(out.clone())),
    ]
    with accelerate(pipe, policy=Plan("CC..C"), forecaster=Refined(LINE, ((2, ROWS), (3, ROWS[::-1])))) as run:
        sample_dit(pipe, 5, labels=(3, 7))
    for hook in hooks:
        hook.remove()
    assert run.report.plan == "CC..C" and len(entries) == len(outputs) == 5
    added = [out - entry for entry, out in zip(entries, outputs, strict=True)]
    for index, rows in ((2, ROWS), (3, ROWS[::-1])):
        for half, (a, b) in zip((slice(0, 2), slice(2, 4)), rows, strict=True):
            expected = (index + a) * added[1][half] + (1 - index + b) * added[0][half]
            torch.testing.assert_close(added[index][half], expected, rtol=1e-4, atol=1e-5)
            assert expected.abs().mean() > 1e-2  # far from the tolerance
