"""The front door: what it refuses, what it promises, and what a report says."""

from __future__ import annotations

import contextlib
import gc
import pickle
import re
import warnings
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import (
    NFE,
    PLAN,
    STEPS,
    Loop,
    counted,
    dit,
    dit_pipeline,
    flux_pipeline,
    footprint,
    loop,
    sample_flux,
    sample_wan,
    wan,
    wan_pipeline,
)
from torch import Tensor, nn

import padecast
from padecast import (
    AlreadyAccelerated,
    Geometry,
    InvalidOption,
    InvalidPlan,
    PadecastWarning,
    Position,
    UnknownName,
    UnsupportedModel,
    accelerate,
    disable,
    enable,
    forecasters,
    policies,
    targets,
)
from padecast.forecasters import Forecaster, Lagrange, Reuse
from padecast.policies import Always, Interval, Plan

DRAWN: dict[str, Any] = {"policy": Plan(PLAN), "forecaster": Lagrange()}


class TestAllOrNothing:
    def test_a_second_transformer_that_is_not_known(self) -> None:
        pipe = wan_pipeline(boundary_ratio=0.5)
        pipe.transformer_2 = nn.Sequential(nn.Linear(2, 2))
        before = footprint(pipe.transformer)
        with pytest.raises(UnsupportedModel, match="no stack of blocks is known in Sequential"):
            accelerate(pipe, **DRAWN).enable()
        assert footprint(pipe.transformer) == before
        pipe.transformer_2 = wan(seed=1)
        with accelerate(pipe, **DRAWN):  # and the failed attempt does not count as one that is on
            pass

    def test_blocks_that_are_not_as_described(self) -> None:
        pipe = flux_pipeline()
        pipe.transformer.single_transformer_blocks[2] = nn.Linear(2, 2)
        before = footprint(pipe.transformer)
        with pytest.raises(UnsupportedModel, match="blocks of class Linear take input, not 'encoder_hidden_states'"):
            accelerate(pipe, **DRAWN).enable()
        assert footprint(pipe.transformer) == before

    def test_a_model_that_cannot_be_written_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever fails half-way through the blocks."""
        pipe = flux_pipeline()
        before = footprint(pipe.transformer)
        kind = type(pipe.transformer.single_transformer_blocks[0])
        usual = nn.Module.__setattr__

        def refuse(self: nn.Module, name: str, value: Any) -> None:
            if name == "forward" and isinstance(self, kind):
                raise PermissionError
            usual(self, name, value)

        with monkeypatch.context() as patch:
            patch.setattr(kind, "__setattr__", refuse)
            with pytest.raises(PermissionError):
                accelerate(pipe, **DRAWN).enable()
        assert footprint(pipe.transformer) == before

    def test_disabling_comes_before_warning(self) -> None:
        pipe = loop()
        before = footprint(pipe.transformer)
        other = Loop(pipe.transformer, pipe.scheduler)
        handle = accelerate(pipe, **DRAWN).enable()
        with pytest.warns(PadecastWarning, match="calls by another pipeline"):
            other()
        handle._warned = False  # so that there is something to be said again
        with pytest.raises(PadecastWarning):  # warnings are errors in these tests
            handle.disable()
        assert footprint(pipe.transformer) == before
        assert not handle.enabled


class TestOnAndOff:
    def test_twice_on(self) -> None:
        pipe = loop()
        with accelerate(pipe, "fora") as run:
            assert run.enable() is run
            with pytest.raises(
                AlreadyAccelerated, match=r"this Loop is accelerated already, by 'fora'.*\n.*padecast\.disable\(pipe\)"
            ):
                enable(pipe, "tc-pade")
            assert run.enabled
        enable(pipe, "tc-pade").disable()

    @pytest.mark.parametrize("bare_first", [True, False])
    def test_a_pipeline_and_its_own_transformer(self, bare_first: bool) -> None:
        pipe = loop()
        both = [accelerate(pipe.transformer, steps=STEPS), accelerate(pipe)]
        first, second = both if bare_first else both[::-1]
        with first, pytest.raises(AlreadyAccelerated):
            second.enable()
        with second:
            pass

    def test_twice_off(self) -> None:
        pipe = loop()
        untouched = pipe()
        handle = enable(pipe, **DRAWN)
        handle.disable()
        handle.disable()
        disable(pipe)
        assert not handle.enabled
        assert torch.equal(pipe(), untouched)

    def test_off_by_the_pipeline(self) -> None:
        pipe, other = loop(), loop()
        handle, kept = enable(pipe, **DRAWN), enable(other, **DRAWN)
        disable(pipe)
        assert (handle.enabled, kept.enabled) == (False, True)
        kept.disable()

    def test_off_after_an_error_in_the_block(self) -> None:
        pipe = loop()
        before = footprint(pipe.transformer)
        with pytest.raises(ZeroDivisionError), accelerate(pipe, **DRAWN):
            raise ZeroDivisionError
        assert footprint(pipe.transformer) == before

    def test_on_again(self) -> None:
        pipe = loop()
        run = accelerate(pipe, **DRAWN)
        images = []
        for _ in range(2):
            with run:
                images.append(pipe())
        assert torch.equal(*images)
        assert run.report.plan == PLAN

    def test_it_works_without_keeping_the_handle(self) -> None:
        pipe = loop()
        enable(pipe, **DRAWN)
        gc.collect()
        with counted(pipe.transformer) as runs:
            pipe()
        assert runs["transformer_blocks"] == 2 * NFE
        disable(pipe)

    def test_an_accelerated_pipeline_can_be_forgotten(self) -> None:
        pipe = loop()
        enable(pipe, **DRAWN)
        pipe()
        gone = [weakref.ref(pipe), weakref.ref(pipe.transformer)]
        del pipe
        gc.collect()
        assert [reference() for reference in gone] == [None, None]


class Layers(nn.Module):
    """A model that nobody described: a list of blocks, and a timestep."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(3))

    def forward(self, hidden_states: Tensor, timestep: Tensor) -> Tensor:
        for layer in self.layers:
            hidden_states = layer(hidden_states * torch.cos(timestep))
        return hidden_states


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.calls = 0

    def forward(self, hidden_states: Tensor) -> Tensor:
        self.calls += 1
        return hidden_states + self.linear(hidden_states)


class TestUnknownModels:
    def test_the_remedy_in_the_message_works(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(targets, "REGISTRY", dict(targets.REGISTRY))
        model = Layers()
        with pytest.raises(UnsupportedModel, match="no stack of blocks is known in Layers") as caught:
            enable(model, **DRAWN)
        exec("\n".join(line.strip() for line in str(caught.value).splitlines()[-2:]), {})
        with torch.no_grad(), accelerate(model, **DRAWN) as run:
            for step in range(STEPS):
                model(torch.ones(1, 4), timestep=torch.tensor(float(STEPS - step)))
        assert run.report.plan == PLAN
        assert [layer.calls for layer in model.layers] == [NFE] * 3

    def test_neither_a_model_nor_a_pipeline(self) -> None:
        with pytest.raises(UnsupportedModel, match="dict is neither a transformer nor a pipeline"):
            enable({})

    def test_a_subclass_of_a_known_model(self) -> None:
        base = type(dit())

        class Mine(base):  # type: ignore[misc, valid-type]
            pass

        torch.manual_seed(0)
        mine = Mine(num_attention_heads=1, attention_head_dim=4, in_channels=1, num_layers=1, sample_size=4)
        with accelerate(mine, "tc-pade", steps=4) as run:
            assert run.enabled


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"method": "tcpade"}, "unknown method 'tcpade'; the nearest is 'tc-pade'"),
            ({"policy": "intervall:every=3"}, "unknown policy 'intervall'; the nearest is 'interval'"),
            ({"forecaster": "lagrang"}, "unknown forecaster 'lagrang'; the nearest is 'lagrange'"),
        ],
    )
    def test_unknown_names(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(UnknownName, match=message):
            accelerate(loop(), **options)

    @pytest.mark.parametrize("options", [{"policy": Reuse()}, {"forecaster": Interval()}, {"policy": Interval}])
    def test_parts_of_the_wrong_kind(self, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidOption, match=r"is not a (policy|forecaster)"):
            accelerate(loop(), **options)

    def test_a_pipeline_without_a_scheduler(self) -> None:
        pipe = loop()
        pipe.scheduler = None
        with pytest.raises(InvalidOption, match=r"a Loop without a scheduler does not say how many steps"):
            enable(pipe, "tc-pade")
        with accelerate(pipe, "tc-pade", steps=4):
            pass

    def test_parts_by_name_and_by_value_are_the_same(self) -> None:
        pipe = loop()
        images = []
        for policy, forecaster in (("interval:every=3", "lagrange"), (Interval(every=3), Lagrange())):
            with accelerate(pipe, policy=policy, forecaster=forecaster):
                images.append(pipe())
        assert torch.equal(*images)

    @pytest.mark.parametrize("name", padecast.methods())
    def test_every_method_runs(self, name: str) -> None:
        pipe = loop()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PadecastWarning)  # random weights: some rules forecast nothing
            with accelerate(pipe, name) as run:
                image = pipe(12)
        assert torch.isfinite(image).all()
        assert len(run.report.steps) == 12


class TestPlansOfAnotherLength:
    def test_the_run_stops_and_the_next_one_is_exact(self) -> None:
        pipe = loop()
        with accelerate(pipe, **DRAWN) as run:
            expected = pipe()
            with pytest.raises(InvalidPlan, match=r"this run has 12 steps, the plan 'CC..C..C' has 8"):
                pipe(12)
            assert torch.equal(pipe(), expected)
        assert run.report.plan == PLAN


@dataclass(frozen=True)
class Exploding(Forecaster):
    """A forecaster that goes wrong."""

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        return torch.full((len(geometry),), float("inf"), dtype=torch.float64)


class TestFailOpen:
    def test_a_forecast_that_is_not_finite_is_computed(self) -> None:
        pipe = loop()
        untouched = pipe()
        with (
            pytest.warns(PadecastWarning, match="the forecast was not finite"),
            accelerate(pipe, policy=Plan(PLAN), forecaster=Exploding()) as run,
        ):
            assert torch.equal(pipe(), untouched)
        assert run.report.plan == "C" * STEPS
        assert run.report.notes["step 2, call 1"] == "computed because the forecast was not finite"
        assert str(run.report).count("not finite") == STEPS - NFE

    def test_gradients_are_never_forecast(self) -> None:
        model, plan = dit(), Plan("C..")
        with accelerate(model, policy=plan, forecaster=Reuse()) as run:
            for time in (900, 600, 300):
                x = torch.ones(1, 4, 8, 8, requires_grad=time == 600)
                with torch.set_grad_enabled(time == 600):
                    y = model(x, timestep=torch.tensor([time]), class_labels=torch.tensor([3])).sample
                if time == 600:
                    y.sum().backward()
                    assert x.grad is not None
                    assert x.grad.abs().sum() > 0
        assert run.report.plan == "CC."
        assert "gradients were asked for" in str(run.report)


class TestNeverASilentNoOp:
    def test_a_run_that_forecast_nothing_is_warned_of_once(self) -> None:
        pipe = loop()
        handle = enable(pipe, policy=Interval(every=2), forecaster=Reuse())
        with pytest.warns(
            PadecastWarning, match=r"computed all of its 2 steps: 'interval\+reuse' forecast none"
        ) as caught:
            pipe(2)
        assert len(caught) == 1
        assert Path(caught[0].filename) == Path(__file__)
        pipe(2)
        handle.disable()

    @pytest.mark.parametrize("policy", ["plan:steps=C.C.", "interval:every=2", "spaced:every=2"])
    def test_a_plan_in_a_run_of_few_steps_says_that_none_is_to_spare(self, policy: str) -> None:
        """As of a distilled model; on one of many steps nothing is said."""
        pipe = loop()
        with accelerate(pipe, policy=policy, forecaster="reuse") as run:
            pipe(4)
        assert run.report.remarks[-1].startswith("a schedule of 4 steps has none to spare, and ")
        with accelerate(pipe, policy="interval:every=2", forecaster="reuse") as run:
            pipe(12)
        assert run.report.forecast and not run.report.remarks

    def test_so_is_one_whose_places_are_unknown(self) -> None:
        """A bare model that is never told another timestep, with another input every time."""
        model = dit()
        handle = enable(model, steps=4)
        for step in range(5):
            with torch.no_grad():
                model(torch.full((1, 4, 8, 8), float(step)), torch.tensor([500]), torch.tensor([3]))
        with pytest.warns(PadecastWarning, match="the place of its calls in the schedule is unknown"):
            handle.disable()

    def test_computing_everything_on_purpose_is_not_warned_of(self) -> None:
        pipe = loop()
        with accelerate(pipe, "none") as run:  # warnings are errors in these tests
            pipe()
        assert run.report.computed > 0 and run.report.forecast == 0

    def test_neither_is_a_run_that_was_left_early(self) -> None:
        pipe = loop()

        def leave(step: int) -> None:
            raise InterruptedError

        with accelerate(pipe, **DRAWN), pytest.raises(InterruptedError):
            pipe(between=leave)

    def test_guidance_that_is_off_at_the_end_hides_nothing(self) -> None:
        pipe = loop()
        with (
            pytest.warns(PadecastWarning, match="computed all of its 2 steps"),
            accelerate(pipe, policy=Interval(every=2), forecaster=Reuse()),
        ):
            pipe(2, guided=lambda step: step == 0)


class TestTwoTransformers:
    """Wan 2.2: one transformer for high noise, another for low noise, in one schedule."""

    def pair(self) -> Any:
        return wan_pipeline(transformer_2=wan(seed=1), boundary_ratio=0.9)

    def test_exact_and_saved(self) -> None:
        pipe = self.pair()
        untouched = sample_wan(pipe)
        with accelerate(pipe, policy=Always(), forecaster=Reuse()):
            assert torch.equal(sample_wan(pipe), untouched)
        with (
            accelerate(pipe, **DRAWN) as run,
            counted(pipe.transformer) as high,
            counted(pipe.transformer_2) as low,
        ):
            sample_wan(pipe)
        assert run.report.plan == "CC.CC..C"  # the second one has nothing to forecast from at its first step
        assert (high["blocks"], low["blocks"]) == (2 * 2, 2 * 3)
        assert torch.equal(sample_wan(pipe), untouched)

    def test_every_report_is_of_one_run(self) -> None:
        pipe = self.pair()
        with accelerate(pipe, policy=Interval(every=2), forecaster=Reuse()) as run:
            sample_wan(pipe)
            pipe.register_to_config(boundary_ratio=0.0)  # only the first one is called
            sample_wan(pipe, 4)
        assert run.report.plan == "C.CC"
        assert len(run.report.steps) == 4

    def test_no_warning_where_one_of_them_forecasts(self) -> None:
        pipe = self.pair()
        with accelerate(pipe, policy=Plan("C....CCC"), forecaster=Reuse()) as run:
            for _ in range(2):
                sample_wan(pipe)
        assert run.report.plan == "C..C.CCC"


class TestReport:
    def test_before_any_run(self) -> None:
        run = accelerate(loop(), **DRAWN)
        for on in (False, True):
            if on:
                run.enable()
            with contextlib.nullcontext() if on else pytest.warns(PadecastWarning, match="never switched on"):
                _ = run.report
            assert (run.report.computed, run.report.forecast, run.report.plan) == (0, 0, "")
            assert str(run.report) == "no step was run yet with this attachment"
            assert run.report.to_dict()["steps"] == []
        run.disable()

    def test_after_switching_off_it_stays(self) -> None:
        pipe = loop()
        with accelerate(pipe, **DRAWN) as run:
            pipe()
            inside = run.report
        assert run.report == inside
        assert f"{STEPS} steps, {NFE} computed, {STEPS - NFE} forecast: {PLAN}" in str(run.report)

    @pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float64])
    @pytest.mark.parametrize(
        "forecaster", [Reuse(), Lagrange(), Lagrange(2), forecasters.Chebyshev(degree=3)], ids=repr
    )
    def test_history_bytes_are_those_declared(self, forecaster: Forecaster, dtype: torch.dtype | None) -> None:
        pipe = flux_pipeline()
        with accelerate(pipe, policy=Plan(PLAN), forecaster=forecaster, measure=False, dtype=dtype) as run:
            sample_flux(pipe)
        tokens, width, branches = 16, 32, 2
        size = torch.empty(0, dtype=dtype or torch.float32).element_size()
        window = max(forecaster.window, 1)
        declared = branches * tokens * width * (window * size + getattr(forecaster.extra, "moments", 0) * 4)
        assert run.report.history_bytes == declared

    def test_measuring_wants_three_residuals(self) -> None:
        pipe = flux_pipeline()
        with accelerate(pipe, policy=Plan(PLAN), forecaster=Reuse()) as run:
            sample_flux(pipe)
        assert run.report.history_bytes == 2 * 3 * 16 * 32 * 4

    def test_the_next_run_uses_the_history_of_the_last_one_again_and_switching_off_frees_it(self) -> None:
        pipe = flux_pipeline()
        kept: list[weakref.ref[Tensor]] = []

        def look(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if PLAN[step] == "C":  # it takes long to look, and nothing is stored at other steps
                found = [item for item in gc.get_objects() if type(item) is Tensor and item.shape == (2, 1, 16, 32)]
                kept.extend(weakref.ref(item) for item in found if all(item is not known() for known in kept))
            return tensors

        with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange(), measure=False) as run:
            for _ in range(3):
                sample_flux(pipe, callback_on_step_end=look)
                assert run.report.history_bytes == 2 * 2 * 16 * 32 * 4
            assert len(kept) == 2  # one ring a branch, in all three runs
        gc.collect()
        assert all(reference() is None for reference in kept)


class TestPickles:
    @pytest.mark.parametrize("name", padecast.methods())
    def test_methods(self, name: str) -> None:
        method = padecast.method(name)
        assert pickle.loads(pickle.dumps(method)) == method

    @pytest.mark.parametrize("registry", [policies.REGISTRY, forecasters.REGISTRY], ids=["policies", "forecasters"])
    def test_parts(self, registry: Any) -> None:
        for name in registry:
            part = registry.make(name)
            assert pickle.loads(pickle.dumps(part)) == part

    def test_reports(self) -> None:
        pipe = loop()
        with accelerate(pipe, **DRAWN) as run:
            pipe()
        assert pickle.loads(pickle.dumps(run.report)) == run.report

    def test_a_method_that_travelled_gives_the_same_images(self) -> None:
        pipe = loop()
        method = padecast.method("tc-pade:every=3")
        images = []
        for one in (method, pickle.loads(pickle.dumps(method))):
            with accelerate(pipe, one):
                images.append(pipe())
        assert torch.equal(*images)


def test_messages_have_a_remedy() -> None:
    """Fact, usual cause and remedy: at least two lines each."""
    pipe = loop()
    raised = []
    for wrong in (lambda: enable({}), lambda: enable(pipe.transformer), lambda: enable(nn.Linear(2, 2), steps=3)):
        with pytest.raises(padecast.PadecastError) as caught:
            wrong()
        raised.append(str(caught.value))
    assert all(re.search(r".+\n.+", message) for message in raised)


def test_dit_pipeline_with_pictures() -> None:
    pipe = dit_pipeline()
    with accelerate(pipe, "tc-pade"):
        assert len(pipe([3, 7], num_inference_steps=4).images) == 2


@pytest.mark.fault("notebook")
@pytest.mark.parametrize("method", ["fora", "adaptive", "tc-pade:every=3"])
def test_a_handle_says_what_it_is_and_does(method: str) -> None:
    pipe = loop()
    run = accelerate(pipe, method)
    name = method.partition(":")[0]
    assert repr(run).startswith(f"<Handle: {name} on Loop, off;") and "no step was run yet" in repr(run)
    with run:
        pipe(12)
        assert f"{name} on Loop, on" in repr(run) and "12 steps" in repr(run)
        assert run._repr_html_().count("<span") == 12
    assert "0x" not in repr(run) and len(repr(run)) < 200
