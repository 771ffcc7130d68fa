"""Reports and notes say what was done, and nothing that was asked for is silently off."""

from __future__ import annotations

import copy
import gc
import sys
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    UniPCMultistepScheduler,
    WanPipeline,
)
from tests.tiny import (
    PLAN,
    STEPS,
    Loop,
    counted,
    dit,
    flux_image_to_image,
    flux_pipeline,
    loop,
    quiet,
    sample_flux,
    wan,
)
from torch import Tensor

import padecast
from padecast import Handle, PadecastWarning, accelerate
from padecast.forecasters import Lagrange, Reuse
from padecast.policies import Cap, Ends, Interval, Plan

DRAWN: dict[str, Any] = {"policy": Plan(PLAN), "forecaster": Lagrange()}


class Several(Loop):
    """Evaluates the model several times a step, at timesteps between, and steps its scheduler once."""

    @torch.no_grad()
    def midpoint(self, evaluations: int = 2, steps: int = STEPS) -> Tensor:
        self.scheduler.set_timesteps(steps)
        x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        following = [*self.scheduler.timesteps[1:].tolist(), -40.0]
        for t, after in zip(self.scheduler.timesteps, following, strict=True):
            for number in range(evaluations):
                between = t + (after - t) * number / evaluations
                guess = self.transformer(x, timestep=between.expand(1), class_labels=torch.tensor([3])).sample
            x = self.scheduler.step(guess, t, x).prev_sample
        return x

    @torch.no_grad()
    def diffuse_apart(self, frames: int = 4) -> Tensor:
        """Asynchronous diffusion forcing: every frame has a noise level of its own."""
        self.scheduler.set_timesteps(STEPS)
        x, times = torch.ones(frames, 4, 8, 8), self.scheduler.timesteps
        for step in range(STEPS + frames - 1):
            places = (step - torch.arange(frames)).clamp(0, STEPS - 1)
            x = x - 0.1 * self.transformer(x, times[places], torch.full((frames,), 3)).sample
        return x


@pytest.mark.fault("untrue words")
class TestReports:
    @pytest.mark.parametrize("scheduler", [FlowMatchEulerDiscreteScheduler, DDIMScheduler])
    @pytest.mark.parametrize("evaluations", [2, 3])
    def test_every_evaluation_is_counted(self, evaluations: int, scheduler: Any) -> None:
        pipe = Several(dit(), scheduler())
        with accelerate(pipe, **DRAWN) as run, counted(pipe.transformer) as runs:
            pipe.midpoint(evaluations)
        assert run.report.computed + run.report.unplaced == runs["transformer_blocks"]
        assert run.report.forecast + runs["transformer_blocks"] == evaluations * STEPS

    def test_frames_at_noise_levels_of_their_own_have_no_single_place(self) -> None:
        pipe = Several(dit(), FlowMatchEulerDiscreteScheduler())
        exact = pipe.diffuse_apart()
        run = accelerate(pipe, **DRAWN).enable()
        with pytest.warns(PadecastWarning, match=f"computed all of its {STEPS + 3} evaluations"):
            assert torch.equal(pipe.diffuse_apart(), exact)
        report = run.report
        run.disable()
        assert report.unplaced + report.computed == STEPS + 3
        assert "their place in the schedule is unknown" in str(report)

    @pytest.mark.parametrize("plan", ["C.C...C.", "CC...C..", "C......."])
    def test_a_second_expert_begins_with_nothing_remembered(self, plan: str) -> None:
        solver = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
        rest = dict.fromkeys(("vae", "text_encoder", "tokenizer"))
        pipe = quiet(
            WanPipeline(transformer=wan(0), transformer_2=wan(1), scheduler=solver, boundary_ratio=0.8, **rest)
        )
        words = {name: torch.randn(1, 6, 8) for name in ("prompt_embeds", "negative_prompt_embeds")}
        with accelerate(pipe, policy=Plan(plan), forecaster=Lagrange()) as run:
            pipe(**words, height=32, width=32, num_frames=5, num_inference_steps=len(plan), output_type="latent")
        report = run.report
        assert report.plan == plan or "begins here with nothing remembered" in str(report)

    @pytest.mark.parametrize(("strength", "noted"), [(1.0, False), (0.5, True), (0.25, True)])
    def test_a_run_from_the_middle_says_so_where_the_plan_says_otherwise(self, strength: float, noted: bool) -> None:
        pipe, picture = flux_image_to_image(), torch.rand(1, 3, 16, 16)
        with accelerate(pipe, policy=Plan("CC......"), forecaster=Reuse()) as run:
            sample_flux(pipe, image=picture, strength=strength)
        assert bool(run.report.notes) == noted

    @pytest.mark.parametrize("layers", [[0], [3], [0, 3]], ids=str)
    def test_layers_that_guidance_leaves_out_are_nobodys_fault(self, layers: list[int]) -> None:
        torch.manual_seed(0)
        shape = {"sample_size": 8, "patch_size": 2, "in_channels": 4, "out_channels": 4, "num_layers": 4}
        widths = {"attention_head_dim": 8, "num_attention_heads": 2, "joint_attention_dim": 8}
        sizes = {"caption_projection_dim": 16, "pooled_projection_dim": 8, "pos_embed_max_size": 8}
        model = SD3Transformer2DModel(**shape, **widths, **sizes).eval()
        pipe = quiet(StableDiffusion3Pipeline(model, FlowMatchEulerDiscreteScheduler(), *[None] * 7))
        words = {name: torch.randn(1, 5, 8) for name in ("prompt_embeds", "negative_prompt_embeds")}
        pooled = {name: torch.randn(1, 8) for name in ("pooled_prompt_embeds", "negative_pooled_prompt_embeds")}
        skip = {"skip_guidance_layers": layers, "skip_layer_guidance_start": -0.1, "skip_layer_guidance_stop": 1.1}
        with accelerate(pipe, **DRAWN) as run:
            pipe(**words, **pooled, **skip, height=64, width=64, num_inference_steps=STEPS, output_type="latent")
        assert "another library" not in str(run.report)
        assert "the model left out its first or last block" in str(run.report)
        assert run.report.plan == PLAN

    @pytest.mark.parametrize(
        "policy",
        [Plan("C" * STEPS), Interval(every=1), Ends(Plan("C" * STEPS)), Cap(Interval(every=1))],
        ids=["plan", "interval", "ends", "cap"],
    )
    def test_a_plan_that_computes_everything_is_no_failure(self, policy: Any) -> None:
        pipe = loop()
        exact = pipe()
        with accelerate(pipe, policy=policy, forecaster=Reuse()):  # warnings are errors in these tests
            assert torch.equal(pipe(), exact)

    @pytest.mark.parametrize("workers", [1, 2, 3])
    def test_steps_of_one_run_may_come_from_several_threads(self, workers: int) -> None:
        class Previews(Loop):
            def previews(self) -> Any:
                self.scheduler.set_timesteps(STEPS)
                x = torch.ones(1, 4, 8, 8)
                for t in self.scheduler.timesteps:
                    with torch.no_grad():
                        guess = self.transformer(x, timestep=t.expand(1), class_labels=torch.tensor([3])).sample
                    x = self.scheduler.step(guess, t, x).prev_sample
                    yield x

        pipe, pools = (
            Previews(dit(), FlowMatchEulerDiscreteScheduler()),
            [ThreadPoolExecutor(1) for _ in range(workers)],
        )
        with accelerate(pipe, **DRAWN):
            expected = list(pipe.previews())[-1]
        with accelerate(pipe, **DRAWN) as run:
            for _ in range(2):
                previews = pipe.previews()
                images = [pools[step % workers].submit(next, previews).result(60) for step in range(STEPS)]
                assert torch.equal(images[-1], expected)
                assert run.report.plan == PLAN
        for pool in pools:
            pool.shutdown()


@pytest.mark.fault("silent no-ops")
class TestNothingIsSilentlyOff:
    def test_a_handle_that_is_thrown_away(self) -> None:
        pipe = loop()
        with pytest.warns(PadecastWarning, match="never switched on") as caught:
            accelerate(pipe, "fora")
        assert Path(caught[0].filename) == Path(__file__)

    def test_a_handle_that_is_asked_before_it_is_on(self) -> None:
        run = accelerate(loop(), "fora")
        with pytest.warns(PadecastWarning, match=r"with padecast\.accelerate"):
            assert run.report.computed == 0

    @pytest.mark.parametrize("way", ["with", "enable", "an error"])
    def test_a_handle_that_was_on_says_nothing(self, way: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run = (
                accelerate(loop(), "fora") if way != "an error" else accelerate(torch.nn.Linear(2, 2), "fora", steps=4)
            )
            if way == "with":
                with run:
                    pass
            elif way == "enable":
                run.enable().disable()
            else:
                with pytest.raises(padecast.PadecastError):
                    run.enable()
            del run
            gc.collect()

    @pytest.mark.parametrize("steps", [1, 2])
    def test_a_run_that_forecasts_nothing_says_so_when_it_ends(self, steps: int) -> None:
        pipe = flux_pipeline()
        handle = padecast.enable(pipe, "tc-pade:every=3")
        with pytest.warns(PadecastWarning, match=f"computed all of its {steps} steps") as caught:
            sample_flux(pipe, steps=steps)
        assert len(caught) == 1
        handle.disable()

    @pytest.mark.parametrize("way", ["copy", "another", "another class"])
    @pytest.mark.parametrize("scheduler", [FlowMatchEulerDiscreteScheduler, DDIMScheduler])
    def test_a_pipeline_beside_the_accelerated_one(self, way: str, scheduler: Any) -> None:
        pipe = loop(scheduler())
        other = copy.copy(pipe)
        if way == "another":
            other = Loop(pipe.transformer, pipe.scheduler)
        elif way == "another class":
            other = Several(pipe.transformer, pipe.scheduler)
        other.scheduler = copy.deepcopy(pipe.scheduler)
        exact = other()
        handle = padecast.enable(pipe, "fora")
        with pytest.warns(PadecastWarning, match="calls by another pipeline.*were left alone"):
            assert torch.equal(other(), exact)
        handle.disable()

    @pytest.mark.parametrize("make", [loop, flux_pipeline], ids=["own loop", "diffusers"])
    def test_a_transformer_that_was_replaced(self, make: Any) -> None:
        pipe = make()
        sample = sample_flux if make is flux_pipeline else (lambda pipe: pipe())
        handle = padecast.enable(pipe, "fora")
        sample(pipe)
        pipe.transformer = copy.deepcopy(pipe.transformer)
        with pytest.warns(PadecastWarning, match="is another one than when it was switched on"):
            sample(pipe) if make is flux_pipeline else (sample(pipe), handle.report)
        handle.disable()

    def test_a_part_of_a_combined_pipeline(self) -> None:
        class Combined(Loop):
            def __init__(self, transformer: Any, scheduler: Any) -> None:
                super().__init__(transformer, scheduler)
                self.decoder_pipe = Loop(transformer, scheduler)

            def __call__(self) -> Tensor:
                return self.decoder_pipe()

        pipe = Combined(dit(), FlowMatchEulerDiscreteScheduler())
        with accelerate(pipe, **DRAWN) as run:
            pipe()
        assert run.report.plan == PLAN

    def test_a_model_whose_forward_is_called_directly(self) -> None:
        class Direct(Loop):
            @torch.no_grad()
            def __call__(self) -> Tensor:
                self.scheduler.set_timesteps(STEPS)
                x = torch.ones(1, 4, 8, 8)
                for t in self.scheduler.timesteps:
                    guess = self.transformer.forward(x, timestep=t.expand(1), class_labels=torch.tensor([3])).sample
                    x = self.scheduler.step(guess, t, x).prev_sample
                return x

        pipe = Direct(dit(), FlowMatchEulerDiscreteScheduler())
        with accelerate(pipe, **DRAWN) as run:
            pipe()
        assert run.report.plan == PLAN

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
    @pytest.mark.parametrize("calls", [1, 4])
    def test_a_model_whose_forward_is_called_directly_after_a_usual_call_failed(
        self, error: type[BaseException], calls: int
    ) -> None:
        model, left = dit(), iter(range(calls))

        def fail(*_: Any) -> None:
            if next(left, None) is None:
                raise error

        def sample(call: Any) -> Tensor:
            x = torch.ones(1, 4, 8, 8)
            with torch.no_grad():
                for t in torch.linspace(980, 20, STEPS):
                    x = x - 0.1 * call(x, timestep=t.expand(1), class_labels=torch.tensor([3])).sample
            return x

        with accelerate(model, **DRAWN) as run:
            expected = sample(model)
            hook = model.transformer_blocks[1].register_forward_pre_hook(fail)
            with pytest.raises(error):
                sample(model)
            hook.remove()
            assert torch.equal(sample(model.forward), expected)
            assert run.report.plan == PLAN


class TestEndsOfRuns:
    @pytest.mark.parametrize("make", [loop, flux_pipeline], ids=["own loop", "diffusers"])
    def test_every_run_is_logged_and_reported_once(self, make: Any, caplog: pytest.LogCaptureFixture) -> None:
        pipe, reports = make(), []
        sample = sample_flux if make is flux_pipeline else (lambda pipe: pipe())
        with caplog.at_level("INFO", logger="padecast"), accelerate(pipe, **DRAWN, on_run=reports.append):
            for _ in range(2):
                sample(pipe)
        assert [report.plan for report in reports] == [PLAN, PLAN]
        assert [record.message.split(",")[0] for record in caplog.records] == [f"4 of {STEPS} computed"] * 2

    def test_nothing_but_a_function_hears_of_runs(self) -> None:
        with pytest.raises(padecast.InvalidOption, match="on_run"):
            accelerate(loop(), "fora", on_run=3)  # type: ignore[arg-type]


@pytest.mark.fault("left behind")
@pytest.mark.parametrize("by_hand", [True, False])
def test_what_a_caller_deletes_is_gone(by_hand: bool) -> None:
    """A function that draws with one model, deletes it and loads the next one does not hold both."""
    pipe = loop(DDIMScheduler())
    gone = weakref.ref(pipe.transformer)
    handle: Handle | None = accelerate(pipe, "fora").enable()
    if by_hand:
        pipe.scheduler.set_timesteps(4)
        for t in pipe.scheduler.timesteps:
            with torch.no_grad():
                pipe.transformer(torch.ones(1, 4, 8, 8), timestep=t.expand(1), class_labels=torch.tensor([3]))
    else:
        pipe(4)
    assert handle is not None
    handle.disable()
    del pipe, handle
    gc.collect()
    assert gone() is None


class TestWhoCalls:
    @pytest.mark.fault("untrue words")
    @pytest.mark.parametrize("step", range(STEPS - 1))
    def test_a_callback_that_evaluates_the_model_elsewhere_is_no_call_of_the_run(self, step: int) -> None:
        pipe = loop()
        elsewhere = torch.tensor([437.0])

        def evaluate(i: int) -> None:
            if i == step:
                with torch.no_grad():
                    pipe.transformer(torch.ones(1, 4, 8, 8), timestep=elsewhere, class_labels=torch.tensor([7]))

        with accelerate(pipe, **DRAWN) as run:
            expected, branches = pipe(), run.report.branches
            assert torch.equal(pipe(between=evaluate), expected)
            assert run.report.branches == branches
            assert run.report.unplaced == 1

    @pytest.mark.parametrize(("scheduler", "more"), [(DDIMScheduler, 0), (FlowMatchEulerDiscreteScheduler, 1)])
    def test_a_callback_that_evaluates_the_coming_step_is_a_branch_of_it(self, scheduler: Any, more: int) -> None:
        """Where the scheduler keeps a step index; else it is left alone."""
        pipe = loop(scheduler())

        def evaluate(i: int) -> None:
            with torch.no_grad():
                for t in pipe.scheduler.timesteps[i + 1 : i + 2]:
                    pipe.transformer(torch.ones(1, 4, 8, 8), timestep=t.expand(1), class_labels=torch.tensor([7]))

        with accelerate(pipe, **DRAWN) as run:
            expected, branches = pipe(), run.report.branches
            assert torch.equal(pipe(between=evaluate), expected)
            assert len(run.report.branches) == len(branches) + more
            assert run.report.plan == PLAN

    @pytest.mark.fault("other loops")
    @pytest.mark.parametrize("calls", [1, 2, 5])
    def test_after_a_run_that_failed_a_call_by_hand_is_none_of_it(self, calls: int) -> None:
        pipe, left = loop(), iter(range(calls))

        def fail(*_: Any) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        def by_hand(t: Tensor) -> Tensor:
            with torch.no_grad():
                output: Tensor = pipe.transformer(
                    torch.ones(1, 4, 8, 8), timestep=t.expand(1), class_labels=torch.tensor([3])
                ).sample
            return output

        pipe()
        untouched = [by_hand(t) for t in pipe.scheduler.timesteps]
        with accelerate(pipe, **DRAWN):
            hook = pipe.transformer.transformer_blocks[1].register_forward_pre_hook(fail)
            with pytest.raises(KeyboardInterrupt):
                pipe()
            hook.remove()
            assert all(map(torch.equal, [by_hand(t) for t in pipe.scheduler.timesteps], untouched))

    @pytest.mark.fault("silent no-ops")
    @pytest.mark.parametrize("runs", [0, 1, 3])
    def test_a_copy_of_the_pipeline_is_said_however_often_the_original_has_run(self, runs: int) -> None:
        pipe = loop()
        with accelerate(pipe, **DRAWN):
            for _ in range(runs):
                pipe()
            request = copy.copy(pipe)
            request.scheduler = copy.deepcopy(pipe.scheduler)
            with pytest.warns(PadecastWarning, match="left alone"):
                request()

    def test_another_pipeline_beside_one_that_runs_is_as_it_should_be(self) -> None:
        pipe = loop()
        other = loop(transformer=pipe.transformer)
        untouched = other()
        with accelerate(pipe, **DRAWN) as run:
            pipe()
            assert torch.equal(other(), untouched)  # and no warning, which would be an error here
            assert run.report.plan == PLAN

    @pytest.mark.skipif(sys.gettrace() is not None, reason="under a debugger or coverage variables are left alone")
    @pytest.mark.fault("growth")
    def test_what_a_method_deletes_is_freed_while_it_samples(self) -> None:
        pipe = loop()

        class Service:
            def draw(self) -> Any:
                large = torch.ones(8)
                gone = weakref.ref(large)
                with accelerate(pipe, **DRAWN):
                    pipe()
                del large
                return gone()

            def draw_with_locals(self) -> dict[str, Any]:
                large = torch.ones(8)
                variables = locals()
                with accelerate(pipe, **DRAWN):
                    pipe()
                assert large is variables["large"]
                return variables

        assert Service().draw() is None
        assert set(Service().draw_with_locals()) >= {"self", "large"}

    def test_a_debugger_keeps_the_variables_of_the_frames_that_it_looks_at(self) -> None:
        pipe = loop()

        class Service:
            def draw(self) -> tuple[Any, int]:
                answer = 42
                pipe()
                return self, answer

        def look(frame: Any, _event: str, _argument: Any) -> Any:
            assert frame.f_locals is not None
            return look

        service, before = Service(), sys.gettrace()
        sys.settrace(look)
        try:
            with accelerate(pipe, **DRAWN):
                assert service.draw() == (service, 42)
        finally:
            sys.settrace(before)

    @pytest.mark.fault("other loops")
    @pytest.mark.parametrize("scheduler", [DDIMScheduler, FlowMatchEulerDiscreteScheduler])
    @pytest.mark.parametrize("step", [0, 3, 6])
    def test_a_loop_in_a_callback_is_none_of_the_run(self, scheduler: Any, step: int) -> None:
        pipe, inner = loop(scheduler()), scheduler()
        inner.set_timesteps(STEPS - 3)
        preview: list[Tensor] = []

        def draw(i: int) -> None:
            x = torch.ones(1, 4, 8, 8)
            with torch.no_grad():
                for t in inner.timesteps[1:] if i == step else []:
                    x = x - 0.1 * pipe.transformer(x, timestep=t.expand(1), class_labels=torch.tensor([7])).sample
            preview.append(x)

        untouched = pipe(between=draw)
        alone, preview[:] = preview[step], []
        assert untouched is not None
        with accelerate(pipe, **DRAWN) as run:
            expected = pipe()
            assert torch.equal(pipe(between=draw), expected)
            assert run.report.plan == PLAN
        assert torch.equal(preview[step], alone)

    @pytest.mark.parametrize("fraction", [1.0, 0.7])
    def test_requests_one_after_another_in_threads_get_no_error(self, fraction: float) -> None:
        """By hand through a helper, whose frames' identities come again; some are given up between two steps."""
        pipe = loop()

        def predict(x: Tensor, t: Tensor) -> Tensor:
            output: Tensor = pipe.transformer(x, timestep=t.expand(1), class_labels=torch.tensor([3])).sample
            return output

        def serve(steps: int) -> None:
            pipe.scheduler.set_timesteps(STEPS)
            x = torch.ones(1, 4, 8, 8)
            with torch.no_grad():
                for t in pipe.scheduler.timesteps[:steps]:
                    x = pipe.scheduler.step(predict(x, t), t, x).prev_sample

        with accelerate(pipe, **DRAWN) as run, ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
            for number in range(12):
                steps = STEPS if number % 3 else int(fraction * STEPS) - 1
                (one, two)[number % 2].submit(serve, steps).result(60)
                assert steps < STEPS or run.report.plan == PLAN
