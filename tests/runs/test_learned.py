"""``learned``: the first run is exact and teaches, the next are planned; in every kind of run, and over processes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from tests.lab.tiny import digits
from tests.runs import test_unets as unets
from tests.tiny import (
    dit,
    flux,
    flux_image_to_image,
    flux_pipeline,
    sample_flux,
    sample_wan,
    wan,
    wan_pipeline,
)
from torch import Tensor

import padecast
from padecast import InvalidOption, PadecastWarning, accelerate
from padecast._errors import UnwritableFile
from padecast.handles.learning import library_of
from padecast.lessons import Identity, Lesson, Library
from padecast.lessons.extrapolation import LINE
from padecast.lessons.planner import Planner
from padecast.lessons.teacher import Teacher
from padecast.methods import DAMPED

pytestmark = pytest.mark.filterwarnings("ignore:__array_?.*:DeprecationWarning")  # of diffusers
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}


@pytest.fixture(autouse=True)
def _forget() -> None:
    """Have no test know what another has taught: handles of one process share what is kept in memory."""
    library_of.cache_clear()


def piped(scheduler: Any = None, seed: int = 0) -> Any:
    pipe = digits(seed)
    pipe.scheduler = scheduler or pipe.scheduler
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sample(pipe: Any, steps: int = 10, seed: int = 0, **options: Any) -> Tensor:
    options = {"guidance_scale": 3.0, "generator": torch.Generator().manual_seed(seed), "output_type": "pt", **options}
    images: Tensor = pipe([3, 7], num_inference_steps=steps, **options).images
    return images


def noted(run: Any, text: str) -> bool:
    return any(text in remark for remark in run.report.remarks)


def test_the_first_run_is_exact_and_the_next_are_planned() -> None:
    pipe = piped()
    untouched = sample(pipe)
    with accelerate(pipe, "learned", computed=4, lessons=False) as run:
        assert torch.equal(sample(pipe), untouched)
        assert run.report.plan == "C" * 10 and noted(run, "nothing was known") and noted(run, "taught 2 sample(s)")
        planned = sample(pipe)
        assert run.report.computed == 4 and noted(run, "planned from 1 run(s) with 2 sample(s): 4 of 10 to be computed")
        assert noted(run, "an estimate") and not torch.equal(planned, untouched)
        assert torch.equal(sample(pipe), planned), "nothing is learnt of a run that was planned"
        assert noted(run, "planned from 1 run(s)")
    assert torch.equal(sample(pipe), untouched)


@pytest.mark.parametrize(
    ("options", "computed"),
    [({"computed": 3}, 3), ({"speedup": 2.0}, 5), ({}, 4), ({"decibels": 1e3}, 10), ({"decibels": 1.0}, 1)],
)
def test_what_is_asked_for_is_computed(options: dict[str, Any], computed: int) -> None:
    pipe = piped()
    with accelerate(pipe, "learned", lessons=False, **options) as run:
        for _ in range(2):
            sample(pipe)
    assert run.report.computed == computed


def test_options_may_be_written_into_the_name() -> None:
    pipe = piped()
    with accelerate(pipe, "learned:computed=3,objective=mean", lessons=False) as run:
        for _ in range(2):
            sample(pipe)
    assert run.report.computed == 3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"computed": 3, "speedup": 2.0}, "cannot all be asked for"),
        ({"computed": 0}, "computed=0"),
        ({"lessons": 3}, "lessons=3"),
        ({"lessons": ""}, "lessons=''"),
    ],
)
def test_wrong_wishes_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidOption, match=text):
        accelerate(piped(), "learned", **options)


def test_a_bare_model_and_a_method_that_learns_nothing_are_refused() -> None:
    with pytest.raises(InvalidOption, match="noise levels, on which lessons lie"):
        accelerate(dit(), "learned", steps=10)
    with pytest.raises(InvalidOption, match="lessons=False has no effect with 'fora'"):
        accelerate(piped(), "fora", lessons=False)


@pytest.mark.parametrize("options", [{}, {"computed": 4}, {"lessons": False}])
def test_a_policy_in_place_of_what_learns_is_refused_in_these_words(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match="replaces the policy of 'learned', which is all that learns"):
        accelerate(piped(), "learned", policy="interval:every=3", **options)
    assert accelerate(piped(), "learned", forecaster="reuse", lessons=False).enable().disable() is None


def test_other_step_counts_and_shifts_need_no_new_look() -> None:
    pipe = piped()
    with accelerate(pipe, "learned", computed=4, lessons=False) as run:
        sample(pipe, 12)
        for steps in (8, 20):
            sample(pipe, steps)
            assert run.report.computed == 4 and noted(run, "planned from 1 run(s)")
        sample(pipe, 12, shift=2.0)
        assert run.report.computed == 4


def test_levels_that_nobody_saw_are_looked_at(tmp_path: Path) -> None:
    pipe = piped()
    with accelerate(pipe, "learned", computed=4, lessons=tmp_path) as run:
        sample(pipe, 3)
        sample(pipe, 12)
        assert run.report.computed == 12 and noted(run, "of its noise levels")
        sample(pipe, 12)
        assert run.report.computed == 4 and noted(run, "planned from 1 run(s)"), (
            "of three steps nothing is read for twelve"
        )


def test_a_fast_first_run_is_forecast_and_teaches_all_the_same() -> None:
    pipe = piped()
    with accelerate(pipe, "learned:first=fast", computed=4, lessons=False) as run:
        sample(pipe)
        assert run.report.forecast > 0 and noted(run, "forecast by the uncalibrated rule") and noted(run, "taught")
        sample(pipe)
        assert run.report.computed == 4 and noted(run, "planned from 1 run(s)")


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda: diffusers.FlowMatchHeunDiscreteScheduler(),
        lambda: diffusers.UniPCMultistepScheduler(**FLOW, flow_shift=0.5),
        lambda: diffusers.DPMSolverMultistepScheduler(**FLOW, flow_shift=0.5),
    ],
    ids=["Heun", "UniPC", "DPM++"],
)
def test_other_solvers(scheduler: Callable[[], Any]) -> None:
    pipe = piped(scheduler())
    untouched = sample(pipe)
    with accelerate(pipe, "learned", computed=5, lessons=False) as run:
        assert torch.equal(sample(pipe), untouched)
        sample(pipe)
    assert run.report.computed == 5 and noted(run, "planned from 1 run(s)"), run.report


def test_a_run_that_starts_from_an_image() -> None:
    pipe = flux_image_to_image()
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    options = {"image": image, "strength": 0.6, "true_cfg_scale": 1.0}
    untouched = sample_flux(pipe, 10, **options)
    with accelerate(pipe, "learned", computed=3, lessons=False) as run:
        assert torch.equal(sample_flux(pipe, 10, **options), untouched)
        sample_flux(pipe, 10, **options)
    assert run.report.computed == 3 and run.report.plan.startswith("    C"), run.report


def test_two_models_that_take_turns_share_a_plan() -> None:
    pipe = wan_pipeline(transformer_2=wan(seed=1), boundary_ratio=0.9)
    untouched = sample_wan(pipe, 10)
    with accelerate(pipe, "learned", computed=5, lessons=False) as run:
        assert torch.equal(sample_wan(pipe, 10), untouched)
        sample_wan(pipe, 10)
    assert run.report.computed == 5 and not run.report.notes, "the second begins with a computed step, as planned"


def test_a_u_net() -> None:
    pipe = unets.pipeline()
    untouched = unets.sample(pipe, 10)
    with accelerate(pipe, "learned", computed=4, lessons=False) as run:
        assert torch.equal(unets.sample(pipe, 10), untouched)
        unets.sample(pipe, 10)
    assert run.report.computed == 4


def test_a_second_handle_uses_what_the_first_has_learnt(tmp_path: Path) -> None:
    with accelerate(piped(), "learned", computed=4, lessons=tmp_path) as run:
        sample(run.pipe)
    with accelerate(piped(), "learned", computed=3, lessons=tmp_path) as run:
        sample(run.pipe)
    assert run.report.computed == 3


@pytest.mark.slow  # a process that imports diffusers
def test_a_second_process_uses_what_the_first_has_learnt(tmp_path: Path) -> None:
    with accelerate(piped(), "learned", computed=4, lessons=tmp_path) as run:
        sample(run.pipe)
    script = (
        "import sys, json; sys.path.insert(0, sys.argv[2])\n"
        "from tests.runs.test_learned import piped, sample\nimport padecast\n"
        "pipe = piped()\n"
        "with padecast.accelerate(pipe, 'learned', computed=4, lessons=sys.argv[1]) as run: sample(pipe)\n"
        "print(json.dumps([run.report.computed, list(run.report.remarks)]))"
    )
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path), root]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    computed, remarks = json.loads(done.stdout)
    assert computed == 4 and "planned from 1 run(s)" in remarks[0]


def test_another_model_or_guidance_is_another_lesson() -> None:
    with accelerate(piped(), "learned", computed=4, lessons=False) as run:
        sample(run.pipe)
        sample(run.pipe, guidance_scale=9.0)
        assert run.report.computed == 10 and noted(run, "nothing was known")
    with accelerate(piped(seed=1), "learned", computed=4, lessons=False) as run:
        sample(run.pipe)
        assert run.report.computed == 10


def test_the_lesson_of_a_guidance_near_by_stands_in_and_is_named_until_there_is_another(tmp_path: Path) -> None:
    pipe = piped()
    with accelerate(pipe, "learned", computed=4, lessons=tmp_path) as run:
        sample(pipe, guidance_scale=3.0)
        for scale, computed in ((5.0, 4), (1.0, 10), (6.5, 10), (6.0, 4)):
            sample(pipe, guidance_scale=scale)
            assert run.report.computed == computed, scale
            assert noted(run, f"that lesson is of guidance_scale 3, not {scale:g}") is (scale == 5.0)
        assert noted(run, "guidance_scale 6.5, not 6"), "the nearest"
    with accelerate(pipe, "learned:near=false", computed=4, lessons=tmp_path) as run:
        sample(pipe, guidance_scale=5.0)
        assert run.report.computed == 10 and noted(run, "nothing was known") and noted(run, "taught")
    with accelerate(pipe, "learned", computed=4, lessons=tmp_path) as run:
        sample(pipe, guidance_scale=5.0)
        assert run.report.computed == 4 and not noted(run, "that lesson is of")


def test_a_damaged_lesson_is_named_and_left_alone(tmp_path: Path) -> None:
    pipe = piped()
    with accelerate(pipe, "learned", computed=4, lessons=tmp_path):
        sample(pipe)
    (path,) = tmp_path.glob("*.lesson.json")
    path.write_text("{")
    with accelerate(pipe, "learned", computed=4, lessons=tmp_path) as run:
        with pytest.warns(PadecastWarning, match=path.name):
            sample(pipe)
        assert run.report.computed == 10
        sample(pipe)
        assert run.report.computed == 4, "it is remembered in this process"
    assert path.read_text() == "{"


def test_threads_with_pipelines_of_their_own_share_lessons(tmp_path: Path) -> None:
    pipes = [piped() for _ in range(3)]
    with accelerate(pipes[0], "learned", computed=4, lessons=tmp_path):
        sample(pipes[0])
    computed: list[int] = []

    def serve(pipe: Any) -> None:
        with accelerate(pipe, "learned", computed=4, lessons=tmp_path) as run:
            sample(pipe)
            computed.append(run.report.computed)

    threads = [threading.Thread(target=serve, args=(pipe,)) for pipe in pipes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert computed == [4, 4, 4]


def test_pipelines_that_share_a_model_learn_apart_and_use_the_same() -> None:
    first = piped()
    second = piped()
    second.transformer = first.transformer
    with (
        accelerate(first, "learned", computed=4, lessons=False) as run,
        accelerate(second, "learned", computed=4, lessons=False) as other,
    ):
        sample(first)
        sample(second)
        assert (run.report.computed, other.report.computed) == (10, 4)


def test_what_shows_nothing_is_not_computed_whole_for_ever() -> None:
    pipe = piped(diffusers.DDPMScheduler())  # draws noise: taught all the same
    broken = torch.full((2, 1, 16, 16), torch.nan)
    with accelerate(pipe, "learned", computed=4, lessons=False) as run:
        sample(pipe, latents=broken)
        assert noted(run, "taught nothing")
        sample(pipe)
        assert run.report.forecast > 0 or run.report.computed < 10


def test_an_interrupted_run_teaches_nothing_and_the_next_one_does() -> None:
    pipe = piped()

    def stop(_pipe: Any, step: int, _time: Any, kwargs: Any) -> Any:
        if step == 4:
            raise KeyboardInterrupt
        return kwargs

    with accelerate(pipe, "learned", computed=4, lessons=False) as run:
        with pytest.raises(KeyboardInterrupt):
            sample(pipe, callback_on_step_end=stop)
        sample(pipe)
        assert run.report.computed == 10 and noted(run, "taught 2 sample(s)")
        sample(pipe)
        assert run.report.computed == 4


def test_files_hold_no_image_and_no_prompt(tmp_path: Path) -> None:
    pipe = flux_pipeline()
    with accelerate(pipe, "learned", computed=3, lessons=tmp_path):
        sample_flux(pipe, 8)
    (path,) = tmp_path.glob("*.lesson.json")
    assert path.stat().st_size < 200_000
    (entry,) = Library(tmp_path).list()
    assert entry.lesson is not None and entry.lesson.identity.pipeline == "FluxPipeline"
    assert padecast.__version__


def test_several_runs_may_teach_before_plans_are_followed(tmp_path: Path) -> None:
    pipe, library = piped(), Library(tmp_path)
    untouched = sample(pipe)
    with accelerate(pipe, "learned:runs=3", computed=4, lessons=library) as run:
        for left in (2, 1):
            assert torch.equal(sample(pipe), untouched) and noted(run, f"{left} more run(s) teach")
        sample(pipe)
        assert run.report.computed == 10 and noted(run, "2 of 3 runs have taught: it was computed whole")
        sample(pipe)
        assert run.report.computed == 4 and noted(run, "planned from 3 run(s) with 6 sample(s)")
    with accelerate(pipe, "learned:runs=2", speedup=5, lessons=library) as run:
        sample(pipe)
    assert run.report.computed == 2
    with pytest.raises(InvalidOption, match="runs=0"):
        accelerate(pipe, "learned:runs=0")


def test_handles_that_follow_one_another_search_a_plan_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, library, searches = piped(), Library(False), 0
    search = Planner.plans

    def count(*arguments: Any) -> Any:
        nonlocal searches
        searches += 1
        return search(*arguments)

    monkeypatch.setattr(Planner, "plans", count)
    done = []
    for computed in (4, 4, 4, 5):
        before = searches
        with accelerate(pipe, "learned", computed=computed, lessons=library) as run:
            sample(pipe)
        done.append(searches > before)
    assert done == [False, True, False, True] and run.report.computed == 5


@pytest.mark.parametrize(("options", "acts"), [({}, True), ({"forecaster": "tcpade"}, False)])
def test_lines_are_drawn_where_the_lesson_says_so_and_nobody_chose_otherwise(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], acts: bool
) -> None:
    pipe, images = piped(), {}
    for chosen in (DAMPED, LINE):
        monkeypatch.setattr("padecast.handles.learning.choose_forecaster", lambda *_, chosen=chosen: chosen)
        with accelerate(pipe, "learned", computed=4, lessons=False, **options) as run:
            sample(pipe)
            images[chosen] = sample(pipe)
            assert run.report.computed == 4
            assert noted(run, "its forecasts are lines") is (acts and chosen == LINE)
        library_of.cache_clear()
    assert torch.equal(images[DAMPED], images[LINE]) is not acts


class Loop(diffusers.DiffusionPipeline):
    """A denoising loop that may begin and end anywhere in its schedule."""

    def __init__(self, transformer: Any, scheduler: Any) -> None:
        super().__init__()
        self.register_modules(transformer=transformer, scheduler=scheduler)

    @torch.no_grad()
    def __call__(self, steps: int = 10, start: int = 0, stop: int | None = None) -> Tensor:
        self.scheduler.set_timesteps(steps)
        x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        for t in self.scheduler.timesteps[start:stop]:
            output = self.transformer(x, timestep=t.expand(1), class_labels=torch.tensor([3])).sample
            x = self.scheduler.step(output, t, x).prev_sample
        self.maybe_free_model_hooks()
        return x


def test_calls_of_a_solver_that_have_no_place_do_not_overwrite_what_is_known_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PNDM visits its second timestep twice: neither visit has a place, and both step the scheduler."""
    told: list[tuple[int, Tensor]] = []
    given: list[Tensor] = []
    hear = Teacher.hear_guided

    def note(self: Teacher, at: Any, output: Tensor, computed: bool) -> None:
        told.append((at.index, output.clone()))
        hear(self, at, output, computed)

    monkeypatch.setattr(Teacher, "hear_guided", note)
    pipe = Loop(dit(), diffusers.PNDMScheduler(skip_prk_steps=True))
    pipe.transformer.register_forward_hook(lambda _model, _inputs, output: given.append(output.sample.clone()))
    with accelerate(pipe, "learned", computed=4, lessons=False) as run:
        pipe(8)
        assert len(given) == 9 and [index for index, _ in told] == [0, *range(3, 9)]
        assert all(torch.equal(output, given[index]) for index, output in told)
        assert noted(run, "taught nothing"), "two of its levels were never seen"
        pipe(8)
        assert noted(run, "forecast by the uncalibrated rule")


def test_a_solver_that_evaluates_twice_at_a_level_is_remembered_in_a_file(tmp_path: Path) -> None:
    pipe = piped(diffusers.FlowMatchHeunDiscreteScheduler())
    for computed in (19, 5):
        library_of.cache_clear()
        with accelerate(pipe, "learned", computed=5, lessons=tmp_path) as run:
            sample(pipe)
        assert run.report.computed == computed


def test_what_could_not_be_written_once_does_not_hide_what_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Lesson, path: Any) -> Path:
        raise UnwritableFile("the disk is full")

    pipe = piped()
    with accelerate(pipe, "learned", computed=4, lessons=tmp_path) as run:
        with monkeypatch.context() as patch:
            patch.setattr(Lesson, "save", refuse)
            with pytest.warns(PadecastWarning, match="disk is full"):
                sample(pipe, 3)
        assert noted(run, "kept in memory")
        sample(pipe, 12)
        sample(pipe, 12)
        assert run.report.computed == 4
    (entry,) = Library(tmp_path).list()
    assert entry.lesson is not None and entry.lesson.runs == 2, "what was kept in memory was written with the next"


def test_a_run_that_ends_before_its_schedule_teaches_what_it_saw(tmp_path: Path) -> None:
    pipe = Loop(dit(), diffusers.DDIMScheduler())
    with accelerate(pipe, "learned", computed=4, lessons=tmp_path) as run:
        pipe(12, stop=8)
        assert noted(run, "taught 1 sample(s) of 8 steps")
        (entry,) = Library(tmp_path).list()
        assert entry.lesson is not None and not entry.fact, "what was written can be read"
        pipe(12)
        assert noted(run, "of its noise levels"), "the end was never seen"


def test_a_scheduler_without_a_begin_index_is_asked_by_its_first_step(tmp_path: Path) -> None:
    pipe = Loop(dit(), diffusers.DDIMScheduler())
    with accelerate(pipe, "learned", computed=3, lessons=tmp_path) as run:
        pipe(10, start=5)
        assert noted(run, "taught 1 sample(s) of 5 steps")
        pipe(10, start=5)
    assert run.report.computed == 3 and noted(run, "3 of 5 to be computed")


def test_calibrations_with_a_method_that_learns_are_refused() -> None:
    calibration = padecast.zoo.calibration("digits", "hard")
    with pytest.raises(InvalidOption, match="otherwise='learned' learns"):
        accelerate(piped(), calibration, computed=8, otherwise="learned")


def test_every_scale_that_a_pipeline_is_called_with_makes_another_lesson() -> None:
    pipe = flux_pipeline()
    with accelerate(pipe, "learned", computed=3, lessons=False) as run:
        for scale in (1.0, 6.0):
            sample_flux(pipe, 8, true_cfg_scale=scale)
            assert run.report.computed == 8 and noted(run, "nothing was known")


def test_weights_that_an_adapter_was_fused_into_are_others() -> None:
    model = flux(num_layers=3, num_single_layers=5)
    pipe = flux_pipeline(transformer=model)
    key = Identity.of(pipe).key
    assert Identity.of(pipe).key == key
    with torch.no_grad():
        model.transformer_blocks[1].attn.to_q.weight.add_(0.01)
    other = Identity.of(pipe).key
    model.transformer_blocks[2].attn.to_v.weight.data += 0.01  # as adapters are fused: no version is counted
    assert len({key, other, Identity.of(pipe).key}) == 3


def test_a_warm_up_of_two_steps_is_no_lesson_for_twenty() -> None:
    pipe = piped()
    with accelerate(pipe, "learned", computed=4, lessons=False) as run:
        sample(pipe, 2)
        sample(pipe, 20)
        assert run.report.computed == 20


def test_a_run_of_few_steps_has_a_lesson_of_its_own() -> None:
    """A sampler of so coarse steps takes another path: 2 dB are lost by the lesson of 20."""
    pipe = piped()
    with accelerate(pipe, "learned", computed=4, lessons=False) as run:
        for steps, computed in ((20, 20), (8, 8), (8, 4), (20, 4), (10, 4)):
            sample(pipe, steps)
            assert run.report.computed == computed
            if steps == computed == 8:
                assert noted(run, "is of 20 steps, which says little of 8: it was computed whole")


def test_a_callback_is_told_what_the_run_taught_and_nothing_of_it_is_kept() -> None:
    reports: list[Any] = []
    pipe = piped()
    with accelerate(pipe, "learned", computed=4, lessons=False, on_run=reports.append) as run:
        for _ in range(2):
            sample(pipe)
        assert run._learning is not None and run._learning.teacher is None
    assert len(reports) == 2 and any("taught" in remark for remark in reports[0].remarks)
    with run:
        assert run.report.remarks == ()


def test_a_step_more_after_a_surprise_and_the_plan_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = piped()
    with accelerate(pipe, "learned", computed=4, lessons=False) as run:
        sample(pipe)
        planned = sample(pipe)
        plan = run.report.plan
    library_of.cache_clear()
    with accelerate(pipe, "learned:watchful=true", computed=4, lessons=False) as run:
        sample(pipe)
        for seed in range(3):
            assert torch.equal(sample(pipe), planned) and noted(run, f"{3 - seed} more run(s) tell first what is usual")
            assert run.report.plan == plan
        assert torch.equal(sample(pipe), planned) and noted(run, "3 run(s) tell what that is")
        monkeypatch.setattr("padecast.policies.watchful.LIMIT", -100.0)
        assert not torch.equal(sample(pipe), planned) and run.report.computed == 5
