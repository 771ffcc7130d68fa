"""From a pipeline and a call to a calibration, also when it is interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.calibration.tiny import FITTING, QUICK, STEPS, Case, call_digits, call_dit, call_many
from tests.lab.tiny import digits
from tests.representative import representative
from tests.tiny import dit_pipeline, footprint
from torch import Tensor

import padecast
from padecast import Calibration, CalibrationMismatch, InvalidOption, accelerate, calibrate
from padecast.calibration import Effort, Statistic
from padecast.calibration.choice import split
from padecast.calibration.journal import Journal
from padecast.calibration.psnr import psnr

pytestmark = pytest.mark.usefixtures("sparing")


class Calls:
    """Draws one seed, counts, and is interrupted at some call."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.count = at, 0

    def __call__(self, pipe: Any, seed: int) -> Tensor:
        self.count += 1
        if self.count == self.at:
            raise KeyboardInterrupt
        return call_digits(pipe, seed)


def made_with(call: Any, **options: Any) -> Calibration:
    return calibrate(digits(), call, **{"budgets": [3], "seeds": range(3), "effort": FITTING, **options})


def said(calibration: Calibration) -> dict[str, Any]:
    return {name: value for name, value in calibration.to_dict().items() if name != "provenance"}


def test_a_calibration_measures_what_acceleration_gives(case: Case) -> None:
    pipe = case.make()
    pipe.set_progress_bar_config(disable=True)
    case.call(pipe, 0)
    before = footprint(pipe.transformer)
    budgets = (2, 4) if case.name == "digits" else (2,)
    made = calibrate(pipe, case.call, budgets, range(3), effort=FITTING)
    assert footprint(pipe.transformer) == before and "step" not in vars(pipe.scheduler)
    assert made.steps == STEPS and made.budgets == budgets and made.statistic.branches == case.branches
    assert made.name == type(pipe).__name__ and made.dtype == "float32" and made.seeds == (0, 1, 2)
    assert made.held_out == split(range(3))[1] and len(made.held_out) == 1
    for budget in made.budgets:
        psnrs = {}
        for seed in made.seeds:
            uncached = case.call(pipe, seed)
            with accelerate(pipe, made, computed=budget) as run:
                psnrs[seed] = float(psnr(case.call(pipe, seed)[:1], uncached[:1])[0])
            assert run.report.computed == budget
        assert made.choices[budget].best.psnr == pytest.approx(psnrs, abs=1e-4)
        assert made.choices[budget].held_out == pytest.approx(psnrs[made.held_out[0]], abs=1e-4)


@pytest.mark.slow
def test_batches_of_seeds_are_calibrated_like_single_ones() -> None:
    options: dict[str, Any] = {"budgets": [3], "seeds": range(3), "effort": QUICK}
    single = calibrate(dit_pipeline(), call_dit, **options)
    several = calibrate(dit_pipeline(), call_dit, batch=2, **options)
    assert several.statistic.branches == single.statistic.branches and several.statistic.samples == 3
    torch.testing.assert_close(several.statistic.gram(), single.statistic.gram(), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_sketch_is_noted() -> None:
    small: dict[str, Any] = {"budgets": [3], "seeds": range(2), "effort": QUICK}
    assert made_with(call_digits, sketch=101, **small).sketch == {"size": 101, "seed": 0}
    assert made_with(call_digits, **small).sketch == {"size": 0, "seed": 0}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"budgets": []}, "budgets="),
        ({"budgets": [0, 3]}, "budgets="),
        ({"budgets": [3, STEPS + 1]}, "expected 1 to 6"),
        ({"seeds": []}, "seeds="),
        ({"seeds": [1, 1]}, "seeds="),
        ({"batch": 0}, "batch=0"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption, match=named):
        made_with(call_digits, **options)


def test_a_call_that_changes_the_schedule_with_the_seed_is_refused() -> None:
    with pytest.raises(InvalidOption, match="grid differs between seeds 0 and 1"):
        made_with(lambda pipe, seed: call_digits(pipe, seed, shift=2.0 + seed))


def test_every_budget_may_be_all_steps() -> None:
    made = made_with(call_digits, budgets=[1, STEPS], effort=FITTING)
    assert made.choices[STEPS].best.candidate.plan == "C" * STEPS
    assert made.choices[STEPS].best.mean == 100.0 and made.choices[STEPS].best.candidate.offsets == ()


# Interrupted ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole() -> tuple[dict[str, Any], int]:
    """An uninterrupted calibration, and how many calls it took."""
    call = Calls()
    return said(made_with(call)), call.count


@pytest.mark.slow
def test_the_same_call_gives_the_same_calibration(whole: tuple[dict[str, Any], int]) -> None:
    assert said(made_with(call_digits)) == whole[0]


@pytest.mark.parametrize("share", representative([0.02, 0.2, 0.9], ["0.02", "0.9"]))
def test_an_interrupted_calibration_goes_on(whole: tuple[dict[str, Any], int], tmp_path: Path, share: float) -> None:
    expected, calls = whole
    journal, first, second = tmp_path / "kept.jsonl", Calls(at=max(2, int(share * calls))), Calls()
    with pytest.raises(KeyboardInterrupt):
        made_with(first, resume=journal)
    assert journal.stat().st_size
    assert said(made_with(second, resume=journal)) == expected
    if share > 0.4:
        assert second.count < calls
    if share > 0.8:
        assert second.count < 0.7 * calls


@pytest.mark.slow
@pytest.mark.parametrize("share", representative([0.5, 0.9], ["0.5"]))
def test_it_goes_on_with_fewer_calls(whole: tuple[dict[str, Any], int], tmp_path: Path, share: float) -> None:
    journal, second = tmp_path / "kept.jsonl", Calls()
    with pytest.raises(KeyboardInterrupt):
        made_with(Calls(at=int(share * whole[1])), resume=journal)
    made = made_with(second, resume=journal)
    assert second.count < 0.7 * whole[1]
    assert list(made.to_dict()["plans"]) == list(whole[0]["plans"])
    torch.testing.assert_close(made.statistic.joint, Statistic.from_dict(whole[0]["statistic"]).joint)


def test_what_is_finished_is_not_measured_again(tmp_path: Path) -> None:
    journal, once, again = tmp_path / "kept.jsonl", Calls(), Calls()
    made_with(once, resume=journal)
    assert journal.exists()  # whoever saves the calibration may then delete it
    made_with(again, resume=journal)
    assert again.count < 0.3 * once.count


def test_a_line_that_was_cut_off_is_ignored(whole: tuple[dict[str, Any], int], tmp_path: Path) -> None:
    journal = tmp_path / "kept.jsonl"
    with pytest.raises(KeyboardInterrupt):
        made_with(Calls(at=whole[1] // 2), resume=journal)
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
    again = Calls(at=3)
    with pytest.raises(KeyboardInterrupt):
        made_with(again, resume=journal)
    kept = journal.read_text().splitlines()
    assert [json.loads(line) for line in kept][: len(lines) - 1] == [json.loads(line) for line in lines[:-1]]
    assert said(made_with(Calls(), resume=journal))["plans"].keys() == whole[0]["plans"].keys()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seeds": range(4)}, "seeds"),
        ({"budgets": [2]}, "budgets"),
        ({"effort": QUICK}, "effort"),
    ],
)
def test_what_was_kept_of_other_settings_is_refused(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    journal = tmp_path / "kept.jsonl"
    with pytest.raises(KeyboardInterrupt):
        made_with(Calls(at=6), resume=journal)
    before = journal.read_text()
    with pytest.raises(CalibrationMismatch, match=f"keeps another calibration: {named} differ"):
        made_with(call_digits, resume=journal, **options)
    assert journal.read_text() == before


def test_what_was_kept_of_another_model_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "kept.jsonl"
    with pytest.raises(KeyboardInterrupt):
        made_with(Calls(at=6), resume=journal)
    with pytest.raises(CalibrationMismatch, match="model differ"):
        calibrate(dit_pipeline(), call_dit, [3], range(3), effort=FITTING, resume=journal)


@pytest.mark.parametrize(
    "change", representative([{"guidance": 5.0}, {"shift": 3.0}, {"steps": 8}], ["{'shift': 3.0}"]), ids=str
)
def test_what_was_kept_of_another_sampler_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    journal = tmp_path / "kept.jsonl"
    with pytest.raises(KeyboardInterrupt):
        made_with(Calls(at=12), resume=journal)
    with pytest.raises(CalibrationMismatch, match="the first samples are not those"):
        made_with(lambda pipe, seed: call_digits(pipe, seed, **change), resume=journal)


def test_another_file_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n")
    with pytest.raises(CalibrationMismatch, match="keeps another calibration"):
        made_with(call_digits, resume=path)
    assert path.read_text() == "buy milk\n"


def test_without_a_path_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Journal(None, {"seeds": [1]})
    journal.score("C. lagrange", {1: 30.0})
    assert not list(tmp_path.iterdir())


def test_a_journal_reads_what_it_was_told(tmp_path: Path) -> None:
    path, heading = tmp_path / "folder" / "kept.jsonl", {"seeds": [1, 2]}
    first = Journal(path, heading)
    first.score("C. lagrange", {1: 30.0})
    first.score("C. lagrange", {2: 31.0})
    first.fit("C. lagrange refined", ((1, ((0.5, 0.25),)),))
    again = Journal(path, heading)
    assert again.scores == {"C. lagrange": {1: 30.0, 2: 31.0}}
    assert again.fitted == first.fitted == {"C. lagrange refined": ((1, ((0.5, 0.25),)),)}


def test_scouts_are_drawn_as_calls_draw_them(case: Case) -> None:
    effort = Effort(scouts=2, finalists=1, moves=0, refined=0)
    assert calibrate(case.make(), case.call, [3], range(3), effort=effort).budgets == (3,)


@pytest.mark.parametrize("scouts", representative([2, 3], ["3"]))
def test_batches_larger_and_smaller_than_the_number_of_scouts(scouts: int) -> None:
    effort, given = Effort(scouts=scouts, finalists=1, moves=0, refined=0), []

    def call(pipe: Any, seeds: list[int]) -> Tensor:
        given.append(len(seeds))
        return call_many(pipe, seeds)

    assert calibrate(digits(), call, [3], range(5), batch=2, effort=effort).budgets == (3,)
    assert max(given) == 2


def test_a_pipeline_that_is_accelerated_already_is_refused() -> None:
    pipe = digits()
    handle = padecast.enable(pipe, "fora")
    with pytest.raises(padecast.AlreadyAccelerated, match="by 'fora'"):
        calibrate(pipe, call_digits, [3], range(2), effort=QUICK)
    handle.disable()


def test_a_call_that_loops_over_its_seeds_is_refused() -> None:
    def loop(pipe: Any, seeds: list[int]) -> Tensor:
        return torch.cat([call_digits(pipe, seed) for seed in seeds])

    with pytest.raises(InvalidOption, match="made 2 runs of the pipeline"):
        calibrate(digits(), loop, [3], range(4), batch=2, effort=QUICK)


# Within an allowance --------------------------------------------------------------------------------------------------


def test_a_quick_calibration_measures_what_acceleration_gives(case: Case) -> None:
    pipe = case.make()
    pipe.set_progress_bar_config(disable=True)
    case.call(pipe, 0)
    before = footprint(pipe.transformer)
    made = calibrate(pipe, case.call, [3], range(4))
    assert footprint(pipe.transformer) == before and "step" not in vars(pipe.scheduler)
    method, best = made.method(computed=3), made.choices[3].best
    assert method.retrace and method.forecaster == padecast.method("tc-pade").forecaster
    assert (made.effort, made.objective, made.seeds) == ("quick", "mean", (0, 1, 2, 3)) and 4 < made.price <= 15
    for seed, measured in best.psnr.items():
        uncached = case.call(pipe, seed)
        with accelerate(pipe, made, computed=3) as run:
            assert float(psnr(case.call(pipe, seed)[:1], uncached[:1])[0]) == pytest.approx(measured, abs=1e-4)
        assert run.report.computed == 3


def test_a_quick_calibration_takes_the_first_samples_of_many() -> None:
    made = calibrate(digits(), call_digits, [2, 3], range(10, 26))
    assert made.seeds == (10, 11, 12, 13) and made.held_out == split(made.seeds)[1]
    assert made.statistic.samples == 4 and made.curve()[0].held_out == pytest.approx(
        made.choices[2].best.psnr[made.held_out[0]]
    )


def test_an_interrupted_quick_calibration_goes_on(tmp_path: Path) -> None:
    journal, whole, second = tmp_path / "kept.jsonl", Calls(), Calls()
    options: dict[str, Any] = {"effort": "quick", "seeds": range(4)}
    expected = said(made_with(whole, **options))
    with pytest.raises(KeyboardInterrupt):
        made_with(Calls(at=whole.count - 1), resume=journal, **options)
    assert said(made_with(second, resume=journal, **options)) == expected
    assert second.count < whole.count


def test_a_scheduler_that_tells_no_levels_is_planned_by_its_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    from padecast.calibration.trials import Bench

    usual = Bench.__setattr__
    monkeypatch.setattr(
        Bench, "__setattr__", lambda self, name, value: usual(self, name, None if name == "noise" else value)
    )
    assert made_with(call_digits, effort="quick").budgets == (3,)


def test_a_normal_calibration_takes_more_samples_and_tries_more_plans() -> None:
    made = calibrate(digits(), call_digits, [3], range(12), effort="normal")
    assert len(made.seeds) == 12 and len(made.choices[3].ranking) >= 3 and made.price <= 150


@pytest.mark.parametrize("objective", ["low", lambda images, reference: (images - reference).abs().flatten(1).mean(1)])
@pytest.mark.parametrize("effort", ["quick", FITTING], ids=["quick", "fitted"])
def test_another_objective_chooses(objective: Any, effort: Any, tmp_path: Path) -> None:
    journal, again = tmp_path / "kept.jsonl", Calls()
    made = made_with(call_digits, objective=objective, effort=effort, resume=journal)
    assert made.objective == ("low" if objective == "low" else "<lambda>")
    assert Calibration.load(made.save(tmp_path / "c.json")).objective == made.objective
    assert said(made_with(again, objective=objective, effort=effort, resume=journal)) == said(made)
    with pytest.raises(CalibrationMismatch, match="objective differ"):
        made_with(call_digits, effort=effort, resume=journal)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"effort": "heroic"}, "effort='heroic'.*'quick', 'normal', 'thorough'"),
        ({"effort": 3}, "effort=3"),
        ({"objective": "worst"}, "objective='worst'"),
        ({"objective": "lpips"}, r"(?s)needs a network.*load_distance\(.lpips.\)"),
    ],
)
def test_efforts_and_objectives_that_are_none_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption, match=named):
        made_with(call_digits, **options)
