"""Trials in the real sampler: what they measure, what they remember, and what they leave behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.calibration.tiny import CASES, STEPS, Case, call_digits, call_dit
from tests.lab.tiny import digits
from tests.tiny import counted, dit_pipeline, footprint
from torch import Tensor

from padecast import InvalidOption, accelerate
from padecast.calibration.psnr import psnr
from padecast.calibration.trials import Bench, Tape
from padecast.forecasters import Lagrange, Refined, Reuse
from padecast.policies import Plan

PLAN = Plan("CC.C..")
LINE = Lagrange(1)
LATE = Refined(LINE, ((4, ((0.3, -0.2),)), (5, ((0.3, -0.2),))))


SPANS = ("full", "output")


def bench_of(case: Case, seeds: tuple[int, ...] = (3,), **options: Any) -> Bench:
    return Bench(case.make(), case.call, seeds, **options)


@pytest.mark.parametrize("span", SPANS)
def test_a_trial_is_what_acceleration_draws(case: Case, span: str) -> None:
    bench = bench_of(case, span=span)
    image = bench.image(PLAN, LINE, (3,), Tape())
    with accelerate(bench.pipe, policy=PLAN, forecaster=LINE, span=span) as run:
        expected = case.call(bench.pipe, 3)
    assert run.report.plan == PLAN.steps
    torch.testing.assert_close(image, expected)  # a report remembers one residual more, which the same product sums
    (score,) = bench.score(PLAN, LINE, (3,), "line")
    assert score == pytest.approx(float(psnr(expected, case.call(bench.pipe, 3))[0]))


@pytest.mark.parametrize("span", SPANS)
def test_playing_a_tape_changes_nothing_and_saves_the_steps_before(case: Case, span: str) -> None:
    bench, tape = bench_of(case, span=span), Tape()
    base = bench.image(PLAN, LINE, (3,), tape)
    with counted(bench.pipe.transformer) as all_steps:
        alone = bench.image(PLAN, LATE, (3,), Tape())
    assert not torch.equal(alone, base)
    with counted(bench.pipe.transformer) as fewer:
        played = bench.image(PLAN, LATE, (3,), tape, until=4)
    assert torch.equal(played, alone)
    calls = 2 if case.name == "wan" else 1
    unknown = 1 if span == "output" else 0  # of the first call's output not even the shape is known
    assert set(all_steps.values()) == {PLAN.nfe * calls} and sum(fewer.values()) == unknown
    with counted(bench.pipe.transformer) as some:
        assert torch.equal(bench.image(PLAN, LATE, (3,), tape, until=3), alone)
    assert set(some.values()) == {calls + unknown}


def test_a_tape_is_not_written_while_it_is_played(case: Case) -> None:
    bench, tape = bench_of(case), Tape()
    base = bench.image(PLAN, LINE, (3,), tape)
    bench.image(PLAN, Refined(LINE, ((2, ((0.5,),)),)), (3,), tape, until=2)
    assert torch.equal(bench.image(PLAN, LINE, (3,), tape, until=4), base)


def test_a_score_is_measured_once() -> None:
    calls: list[Any] = []

    def call(pipe: Any, seed: int) -> Tensor:
        calls.append(seed)
        return call_digits(pipe, seed)

    saved: list[tuple[str, dict[int, float]]] = []
    bench = Bench(digits(), call, (0, 1, 2), saved=lambda key, scores: saved.append((key, scores)))
    first = bench.score(PLAN, LINE, (0, 1), "line")
    assert sorted(calls) == [0, 0, 1, 1]  # uncached and under the plan
    assert bench.score(PLAN, LINE, (1, 0), "line") == first[::-1] and len(calls) == 4
    more = bench.score(PLAN, LINE, (0, 1, 2), "line")
    assert more[:2] == first and sorted(calls[4:]) == [2, 2]
    bench.score(PLAN, Reuse(), (0, 1, 2), "reuse")
    assert sorted(calls[6:]) == [0, 1, 2]  # uncached images are kept
    assert {key: sorted(own) for key, own in bench.scores.items()} == {"line": [0, 1, 2], "reuse": [0, 1, 2]}
    assert [key for key, _ in saved] == ["line"] * 3 + ["reuse"] * 3
    assert {seed: value for key, own in saved if key == "line" for seed, value in own.items()} == bench.scores["line"]


def test_scores_that_are_known_are_not_measured_again() -> None:
    def call(_pipe: Any, _seed: int) -> Tensor:
        raise AssertionError("drawn although it was known")

    bench = Bench(digits(), call, (0, 1), scores={"line": {0: 31.0, 1: 29.0}})
    assert bench.score(PLAN, LINE, (1, 0), "line") == [29.0, 31.0]


@pytest.mark.parametrize("way", ["image", "score"])
def test_everything_is_detached_after_an_error_in_the_call(case: Case, way: str) -> None:
    pipe = case.make()
    pipe.set_progress_bar_config(disable=True, leave=False)
    untouched = case.call(pipe, 3)
    before = footprint(pipe.transformer)

    def call(pipe: Any, seed: int) -> Tensor:
        case.call(pipe, seed)
        assert footprint(pipe.transformer) != before
        raise RuntimeError("no prompt")

    bench = Bench(pipe, call, (3,), references={3: untouched[0]})
    last = {"image": Tape(), "score": "line"}[way]
    with pytest.raises(RuntimeError, match="no prompt"):
        getattr(bench, way)(PLAN, LINE, (3,), last)
    assert footprint(pipe.transformer) == before
    assert pipe._progress_bar_config == {"disable": True, "leave": False}
    assert torch.equal(case.call(pipe, 3), untouched)


def test_a_call_that_returns_pictures_is_told_to_return_tensors() -> None:
    def call(pipe: Any, seed: int) -> Any:
        return pipe([seed], num_inference_steps=2, generator=torch.Generator().manual_seed(seed))

    with pytest.raises(InvalidOption, match=r'(?s)returned list for seed 4.*output_type="pt"'):
        Bench(digits(), call, (4,)).draw((4,))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "floating-point tensor was expected"),
        (None, "returned NoneType"),
        ([torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)], "returned list"),
    ],
    ids=["integers", "nothing", "list"],
)
def test_what_is_no_image_is_refused(given: Any, said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        Bench(None, lambda _pipe, _seed: given, (0,)).draw((0,))


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_must_have_an_image_per_seed(count: int) -> None:
    bench = Bench(None, lambda _pipe, _seeds: torch.zeros(count, 3, 4, 4), (0, 1), batch=2)
    with pytest.raises(InvalidOption, match=f"images={count} is out of range: expected 2, one per seed"):
        bench.draw((0, 1))


@pytest.mark.parametrize(
    "shape", [(3, 4, 5), (1, 3, 4, 5), (1, 4, 5), (1, 7, 3, 4, 5), (7, 3, 4, 5)], ids=lambda shape: str(shape)
)
def test_a_single_image_may_come_with_or_without_a_batch(shape: tuple[int, ...]) -> None:
    image = torch.rand(shape)
    drawn = Bench(None, lambda _pipe, _seed: image, (0,)).draw((0,))
    assert len(drawn) == 1 and torch.equal(drawn.flatten(), image.flatten())
    wrapped = Bench(None, lambda _pipe, _seed: [image], (0,)).draw((0,))
    assert torch.equal(wrapped, drawn)


def test_calls_of_one_seed_get_a_number_and_batches_a_list() -> None:
    given: list[Any] = []

    def call(_pipe: Any, seeds: Any) -> Tensor:
        given.append(seeds)
        return torch.zeros(len(seeds) if isinstance(seeds, list) else 1, 1, 2, 2)

    Bench(None, call, (5, 6, 7)).reference((5, 6, 7))
    Bench(None, call, (5, 6, 7), batch=2).reference((5, 6, 7))
    Bench(None, call, (5,), batch=1).reference((5,))
    assert given == [5, 6, 7, [5, 6], [7], [5]]


def test_batches_measure_what_single_calls_do() -> None:
    single = Bench(dit_pipeline(), call_dit, (1, 2, 3)).score(PLAN, LINE, (1, 2, 3), "line")
    several = Bench(dit_pipeline(), call_dit, (1, 2, 3), batch=2).score(PLAN, LINE, (1, 2, 3), "line")
    assert several == pytest.approx(single, abs=1e-2)


def test_progress_counts_the_steps_that_were_computed() -> None:
    told: list[tuple[str, float]] = []
    bench = bench_of(CASES[2], (0, 1), span="full", progress=lambda what, work: told.append((what, work)))
    bench.score(PLAN, LINE, (0, 1), "line")
    tape = Tape()
    bench.image(PLAN, LINE, (0,), tape)
    bench.image(PLAN, LATE, (0,), tape, until=3)
    half = PLAN.nfe / STEPS
    uncached, trial = ("uncached", 1.0), ("trial", half)
    assert told == [uncached, trial, uncached, trial, trial, ("trial", pytest.approx(1 / STEPS))]
