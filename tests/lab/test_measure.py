"""Comparisons: in turn, on the same seeds, with fewer steps in every table."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

import padecast
from padecast.calibration.provenance import Provenance
from padecast.lab import Comparison, Entry, Sampling, Task, calls, compare, entered, measure
from padecast.lab.metrics import CAP
from padecast.lab.results import Result
from padecast.lab.scores import scores_of
from padecast.report import finite
from padecast.zoo.digits import DigitsPipeline


def strictly(text: str) -> Any:
    """Read JSON that has no NaN and no Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def compared(pipe: DigitsPipeline) -> Comparison:
    task = Task(pipe, Sampling(), steps=8, seeds=range(5), batch=2, name="tiny")
    return compare(task, ["fora", "tc-pade", "none"], nfe=[4])


def test_the_uncached_run_is_first_and_fewer_steps_are_always_there(compared: Comparison) -> None:
    assert [result.name for result in compared.results] == ["uncached", "fewer-steps", "fora", "tc-pade", "none"]
    uncached, fewer, *_ = compared.results
    assert (uncached.nfe, uncached.speedup, uncached.psnr.worst) == (8, 1.0, CAP)
    assert (fewer.nfe, fewer.written, fewer.ideal) == (4, "4 steps", 2.0)


def test_every_method_has_the_wanted_number_of_computed_steps(compared: Comparison) -> None:
    fora, tc_pade = compared.results[2:4]
    assert (fora.nfe, tc_pade.nfe) == (4, 4)
    assert len(fora.plans) == len(tc_pade.plans) == 3
    assert {plan.count("C") for plan in (*fora.plans, *tc_pade.plans)} == {4}
    assert fora.efficiency == pytest.approx(fora.speedup / 2)


def test_a_method_that_computes_everything_is_the_reference(compared: Comparison) -> None:
    none = compared.results[-1]
    assert (none.nfe, none.psnr.worst, none.ssim.worst) == (8, CAP, pytest.approx(1.0))
    assert none.errors == (0.0,) * 8


def test_errors_are_zero_until_the_first_forecast(compared: Comparison) -> None:
    fora, fewer = compared.results[2], compared.results[1]
    first = fora.plans[0].index(".")
    assert len(fora.errors) == 8 and max(fora.errors[:first]) == 0.0 and min(fora.errors[first:]) > 0.0
    assert len(fewer.errors) == 1


def test_only_full_batches_are_timed(compared: Comparison) -> None:
    assert {result.calls_timed for result in compared.results} == {2}
    assert all(r.seconds_range[0] <= r.seconds <= r.seconds_range[1] for r in compared.results)


def test_images_are_kept_for_pictures(compared: Comparison) -> None:
    assert [tuple(images.shape) for images in compared.images] == [(5, 1, 16, 16)] * 5


def test_a_comparison_is_json_with_its_provenance(compared: Comparison) -> None:
    read = strictly(compared.to_json())
    assert read["kind"] == "padecast comparison" and read["schema"] == 1
    assert read["settings"]["seeds"] == [0, 1, 2, 3, 4]
    assert not set(read["settings"]["seeds"]) & set(read["settings"]["development"])
    assert read["settings"]["sampling"]["guidance"] is None
    assert read["results"][0]["psnr"] == {"mean": CAP, "p5": CAP, "worst": CAP, "each": [CAP] * 5}
    assert set(read["provenance"]) == set(Provenance.__dataclass_fields__)
    assert {"padecast", "torch", "diffusers", "python"} <= set(read["provenance"]["versions"])


def test_one_budget_can_be_taken_out(compared: Comparison) -> None:
    assert [r.name for r in compared.at(4).results] == ["uncached", "fewer-steps", "fora", "tc-pade", "none"]
    assert [r.name for r in compared.at(5).results] == ["uncached"] and len(compared.at(5).images) == 1


def test_methods_as_written_are_measured_with_as_many_fewer_steps(task: Task) -> None:
    results = compare(task, ["fora:every=5", "linear:every=3"]).results
    assert [(r.name, r.nfe) for r in results[1:3]] == [("fewer-steps", 3), ("fewer-steps", 4)]
    assert [(r.name, r.nfe) for r in results[3:]] == [("fora:every=5", 3), ("linear:every=3", 4)]


def test_calls_alternate(task: Task) -> None:
    seen: list[str] = []
    entries = [Entry.of("fora"), Entry.fewer(3)]
    measure(task, entries, repeats=2, progress=seen.append)
    assert seen == ["uncached", "fora", "fewer-steps"] * 4
    assert len(seen) == calls(task, 2, repeats=2)


def test_paired_calls_have_an_uncached_one_before_each(task: Task) -> None:
    seen: list[str] = []
    measure(task, [Entry.of("fora"), Entry.fewer(3)], paired=True, progress=seen.append)
    assert seen == ["uncached", "fora", "uncached", "fewer-steps"] * 2
    assert len(seen) == calls(task, 2, paired=True)


def test_a_budget_outside_the_schedule_is_an_error(task: Task) -> None:
    with pytest.raises(padecast.InvalidOption, match="nfe=11"):
        entered(task, ["fora"], [11])


def test_an_unknown_method_is_named_before_anything_runs(task: Task) -> None:
    with pytest.raises(padecast.UnknownName, match="'tc-pade'"):
        compare(task, ["tcpade"], nfe=[4])


# Without times --------------------------------------------------------------------------------------------------------


def test_without_times_nothing_is_drawn_twice_and_the_figures_are_the_same(task: Task) -> None:
    seen: list[str] = []
    short = dataclasses.replace(task, steps=5, scores=scores_of(task.pipe))
    whole = dataclasses.replace(short, memory={})
    timed = measure(short, [Entry.of("fora")], flops=True)
    for _ in range(2):
        untimed = measure(whole, [Entry.of("fora")], flops=True, timed=False, progress=seen.append)
        for one, two in zip(untimed.results, timed.results, strict=True):
            assert (one.psnr, one.ssim, one.scores, one.errors) == (two.psnr, two.ssim, two.scores, two.errors)
        assert untimed.results[1].flops_share == timed.results[1].flops_share
    assert whole.memory is not None and [key[0] for key in whole.memory if isinstance(key, tuple)] == ["uncached"] * 2
    assert seen == ["uncached", "fora"] * 4


def test_timed_once_the_uncached_run_is_drawn_once_for_all_and_the_figures_are_the_same(task: Task) -> None:
    seen: list[str] = []
    short = dataclasses.replace(task, steps=5)
    whole = dataclasses.replace(short, memory={})
    usual = measure(short, [Entry.of("fora")])
    for _ in range(2):
        once = measure(whole, [Entry.of("fora")], timed="once")
        assert [r.psnr for r in once.results] == [r.psnr for r in usual.results]
        assert all(r.calls_timed and r.seconds > 0 and r.speedup > 0 for r in once.results)
        seen.append(str(once.results[0].seconds_range))
    assert seen[0] == seen[1]  # the very same calls
    with pytest.raises(padecast.InvalidOption, match="timed='twice'"):
        measure(task, [Entry.of("fora")], timed="twice")


def test_a_result_without_times_says_so_in_json_and_back(task: Task) -> None:
    result = measure(task, [Entry.of("fora")], timed=False).results[1]
    plain = strictly(json.dumps(finite(result.to_dict())))
    assert plain["calls_timed"] == 0 and plain["speedup"] is None and plain["seconds_range"] == [None, None]
    again = Result.from_dict(plain)
    assert math.isnan(again.speedup) and again.psnr == result.psnr and again.plans == result.plans
