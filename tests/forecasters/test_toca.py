"""ToCa's choice of tokens: every term of the score with its sign, and the spread over the grid."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from padecast import InvalidOption, UnknownName, method
from padecast.forecasters import ToCa
from padecast.forecasters.toca import Tokens, cells_of, grid_of, highest_of

RISING = torch.arange(16.0)[None]


def chosen(rule: ToCa, age: Tensor | None = None, grid: tuple[int, ...] = (4, 4), **known: Tensor) -> set[int]:
    age = torch.zeros(1, 16) if age is None else age
    return set(rule.choose(Tokens(age, grid, **known))[0].tolist())


class TestScores:
    """Each term alone, on scores that rise from the first token to the last: the last four are to be chosen."""

    ALONE = ToCa(0.25, influence=0, control=0, staleness=0, spread=0)
    LAST = frozenset({12, 13, 14, 15})

    def test_tokens_that_others_look_at_are_computed(self) -> None:
        assert chosen(ToCa(0.25, spread=0), influence=RISING) == self.LAST

    def test_tokens_that_look_at_all_of_the_text_are_computed(self) -> None:
        assert chosen(ToCa(0.25, spread=0), control=RISING / 16) == self.LAST

    def test_tokens_that_were_not_computed_for_long_are_computed(self) -> None:
        assert chosen(ToCa(0.25, spread=0), age=RISING) == self.LAST

    def test_weights_weigh(self) -> None:
        falling = RISING.flip(1)
        assert chosen(ToCa(0.25, spread=0, influence=2), influence=RISING, control=falling) == self.LAST
        assert chosen(ToCa(0.25, spread=0, control=2), influence=RISING, control=falling) == {0, 1, 2, 3}
        assert chosen(ToCa(0.25, spread=0, staleness=2), age=falling, influence=RISING) == {0, 1, 2, 3}

    def test_without_weights_the_choice_does_not_follow_the_scores(self) -> None:
        unknown = chosen(self.ALONE)
        assert chosen(self.ALONE, age=RISING, influence=RISING, control=RISING) == unknown != self.LAST


class TestSpread:
    def test_every_cell_has_its_highest_before_a_second_of_any(self) -> None:
        """The four highest scores lie in one cell; with the bonus every cell of 2 x 2 gets one."""
        influence = torch.zeros(1, 16)
        influence[0, [0, 1, 4, 5]] = torch.tensor([0.9, 0.8, 0.7, 0.6])
        cells = cells_of((4, 4), 2)
        assert chosen(ToCa(0.25, spread=0, cell=2), influence=influence) == {0, 1, 4, 5}
        spread = chosen(ToCa(0.25, spread=1, cell=2), influence=influence)
        assert {int(cells[token]) for token in spread} == {0, 1, 2, 3} and 0 in spread

    def test_it_is_a_bonus_and_no_rule(self) -> None:
        influence = torch.zeros(1, 16)
        influence[0, [0, 1, 4, 5]] = 5.0
        assert chosen(ToCa(0.25, spread=1, cell=2), influence=influence) == {0, 1, 4, 5}

    def test_equal_scores_go_to_tokens_spread_evenly(self) -> None:
        tokens = torch.tensor(sorted(chosen(ToCa(0.25, spread=0), torch.zeros(1, 64), (8, 8))))
        gaps = tokens.diff()
        assert len(tokens) == 16 and gaps.max() <= 8 and gaps.min() >= 2

    def test_over_some_steps_every_token_has_its_turn(self) -> None:
        age, seen = torch.zeros(1, 16), set()
        for _ in range(8):
            tokens = ToCa(0.25, cell=2).choose(Tokens(age, (4, 4), influence=RISING / 60))
            age = (age + 1).scatter(1, tokens, 0.0)
            seen |= set(tokens[0].tolist())
        assert seen == set(range(16))

    @pytest.mark.parametrize(
        ("grid", "side", "cells"),
        [
            ((4, 4), 2, [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]),
            ((3, 2), 2, [0, 0, 0, 0, 1, 1]),
            ((2, 1, 3), 2, [0, 0, 1, 2, 2, 3]),
            ((7,), 2, [0, 0, 0, 0, 1, 1, 1]),
        ],
    )
    def test_cells(self, grid: tuple[int, ...], side: int, cells: list[int]) -> None:
        assert cells_of(grid, side).tolist() == cells

    def test_one_token_of_a_cell_is_its_highest_whatever_the_others(self) -> None:
        scores = torch.tensor([[1.0, 1.0, 1.0, 2.0], [4.0, 3.0, 2.0, 1.0]])
        assert highest_of(scores, torch.tensor([0, 0, 1, 1])).tolist() == [[1, 0, 0, 1], [1, 0, 1, 0]]

    @pytest.mark.parametrize(
        ("count", "latents", "grid"),
        [
            (64, (2, 4, 16, 16), (8, 8)),
            (32, (1, 4, 16, 8), (8, 4)),
            (60, (1, 16, 5, 6, 8), (5, 3, 4)),
            (4096, (1, 4096, 64), (64, 64)),
            (3072, (1, 3072, 64), (3072,)),
            (7, (), (7,)),
        ],
    )
    def test_the_grid(self, count: int, latents: tuple[int, ...], grid: tuple[int, ...]) -> None:
        assert grid_of(count, latents) == grid


def test_samples_choose_for_themselves() -> None:
    both = torch.cat([RISING, RISING.flip(1)])
    tokens = ToCa(0.25, spread=0).choose(Tokens(torch.zeros(2, 16), (4, 4), influence=both))
    assert tokens.tolist() == [[12, 13, 14, 15], [0, 1, 2, 3]]


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.01, 1), (0.25, 4), (0.3, 5), (1.0, 16)])
def test_the_fraction_is_rounded_up(fraction: float, count: int) -> None:
    assert len(chosen(ToCa(fraction), influence=RISING)) == count


@pytest.mark.parametrize(
    "options", ["fraction=1.1", "fraction=-0.1", "cell=0", "spread=-1", "staleness=1e999", "influence=-1", "control=-1"]
)
def test_options_out_of_range(options: str) -> None:
    with pytest.raises(InvalidOption, match="is out of range"):
        method(f"toca:{options}")


def test_an_unknown_option() -> None:
    with pytest.raises(UnknownName, match="the nearest is 'fraction'"):
        method("toca:fractoin=0.2")
