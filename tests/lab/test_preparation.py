"""What learns from runs is taught before it is measured, on seeds kept for tuning, and its row says what that cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import padecast
from padecast import methods
from padecast.lab import Comparison, Entry, Result, Task, compare, draw, tune
from padecast.lab.preparation import WAYS, prepare
from padecast.lessons import Library
from padecast.policies import Learned, Magnitude


@pytest.fixture
def watched(task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Task, list[tuple[int, ...]]]:
    """A task, the seeds of its calls as they are drawn, and a folder of lessons that nobody may touch."""
    monkeypatch.setenv("PADECAST_LESSONS", str(tmp_path / "of-the-user"))
    seen: list[tuple[int, ...]] = []

    def call(pipe: Any, seeds: Sequence[int], /, **arguments: Any) -> Tensor:
        seen.append(tuple(seeds))
        return task.call(pipe, seeds, **arguments)

    return dataclasses.replace(task, call=call, development=(7, 8, 9)), seen


def rows(compared: Comparison) -> dict[str, Result]:
    return {result.name: result for result in compared.results}


def test_measured_runs_are_planned_ones_and_the_row_says_what_teaching_cost(
    watched: tuple[Task, list[tuple[int, ...]]], tmp_path: Path
) -> None:
    task, seen = watched
    learned = rows(compare(task, ["learned:computed=4", "fora"]))["learned:computed=4"]
    assert seen[0] == (7,) and not {seed for call in seen[1:] for seed in call} & {7, 8, 9}
    assert learned.nfe == 4 and learned.teaching == 1 and {plan.count("C") for plan in learned.plans} == {4}
    assert learned.to_dict()["teaching"] == 1 and Result.from_dict(learned.to_dict()).teaching == 1
    assert not (tmp_path / "of-the-user").exists(), "the lessons of the user are neither read nor written"


def test_a_row_may_be_taught_by_several_images_and_all_budgets_share_a_lesson(
    watched: tuple[Task, list[tuple[int, ...]]],
) -> None:
    task, seen = watched
    compared = compare(task, ["learned", "learned:runs=3"], nfe=[3, 5])
    taught = [result for result in compared.results if result.teaching]
    assert [(r.written, r.nfe, r.teaching) for r in taught] == [
        ("learned:computed=3", 3, 1),
        ("learned:runs=3,computed=3", 3, 3),
        ("learned:computed=5", 5, 1),
        ("learned:runs=3,computed=5", 5, 3),
    ]
    assert [seeds for seeds in seen if len(seeds) == 1 and seeds[0] > 6] == [
        (7,),
        (9,),  # the second batch of tuning seeds
        *[(7,), (8,), (9,)],
        *[(9,)] * 3,
    ]


def test_a_wish_that_was_written_down_stays(task: Task) -> None:
    assert tune(task.tuning(), Entry.of("learned:speedup=2", wanted=4), 4).written == "learned:speedup=2"
    entry = tune(task.tuning(), Entry.of("learned", wanted=4), 4)
    assert entry.method == padecast.method("learned:computed=4") and entry.wanted == 4
    assert draw(task, entry, (0, 1)).nfe == 4


def test_too_few_seeds_are_said(task: Task) -> None:
    with pytest.raises(padecast.InvalidOption, match=r"runs=5 of 'learned:runs=5' .* 2 are kept .*\n.*--tune-seeds"):
        prepare(task.tuning(), Entry.of("learned:runs=5"))


def test_what_learns_nothing_is_left_out_and_says_why(task: Task) -> None:
    entry = Entry.of("learned:computed=4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("padecast.lessons.collector.Collector.look", lambda *_: None)
        compared = compare(task, [entry.written, "fora"])
    assert [result.name for result in compared.results][-1] == "fora"
    assert [(refusal.name, refusal.why) for refusal in compared.refusals] == [
        ("learned:computed=4", "uncached runs of this pipeline taught it nothing")
    ]


def test_every_policy_that_learns_has_a_way() -> None:
    parts = [part for each in methods.METHODS for part in (each.policy, each.forecaster)]
    assert {getattr(part, "preparation", "") for part in parts} - {""} == {*WAYS}
    assert Learned.preparation in WAYS and not Magnitude(ratios=(1.0, 0.9)).preparation


def test_a_policy_of_ones_own_brings_its_own_way(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass(frozen=True)
    class Asking(padecast.policies.Interval):
        preparation = "asking"

    method = padecast.Method("asking", Asking(), padecast.forecasters.Reuse(), "for this test")
    monkeypatch.setitem(WAYS, "asking", lambda task, entry: dataclasses.replace(entry, teaching=len(task.seeds)))
    assert prepare(task.tuning(), Entry.of(method)).teaching == 2
    assert prepare(task.tuning(), Entry.of("fora")) == Entry.of("fora")


def test_a_library_is_kept_apart_from_others(task: Task) -> None:
    one, other = (prepare(task.tuning(), Entry.of("learned:computed=4")) for _ in range(2))
    assert isinstance(one.lessons, Library) and one.lessons is not other.lessons
    assert [entry.path for entry in one.lessons.list()] == [None]
