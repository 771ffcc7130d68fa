"""The part of the ComfyUI integration that needs no ComfyUI, with small stand-ins of what ComfyUI hands over."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from padecast import InvalidPlan, PadecastWarning
from padecast.integrations import comfy
from padecast.integrations.comfy.conditions import find_conditions
from padecast.policies import Plan

SOURCE = Path(comfy.__file__).parent
SIGMAS = torch.tensor([1.0, 0.9, 0.75, 0.6, 0.4, 0.2, 0.0])


def test_nothing_of_comfyui_is_imported() -> None:
    for path in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"comfy", "comfy_api", "nodes", "folder_paths"}, path


class Executor:
    """What a wrapper calls: the next wrapper, or what all of them are around."""

    def __init__(self, function: Any, wrappers: list[Any], owner: Any = None) -> None:
        self.function, self.wrappers, self.class_obj = function, wrappers, owner

    def __call__(self, *args: Any) -> Any:
        if not self.wrappers:
            return self.function(*args)
        first, *others = self.wrappers
        return first(Executor(self.function, others, self.class_obj), *args)


class Model:
    """A ModelPatcher's wrappers, and a guider that calls a model of two conditionings through them."""

    def __init__(self, wrappers: dict[str, dict[str, list[Any]]] | None = None) -> None:
        self.wrappers: dict[str, dict[str, list[Any]]] = wrappers or {}
        self.calls: list[list[bool]] = []
        self.inner_model = SimpleNamespace(model_sampling=SimpleNamespace(sigma_max=torch.tensor(1.0)))
        self.cfg, self.conds = 3.0, {"positive": [{"uuid": 1}], "negative": [{"uuid": 2}]}

    def clone(self) -> Model:
        return Model({place: {key: [*each] for key, each in keyed.items()} for place, keyed in self.wrappers.items()})

    def add_wrapper_with_key(self, place: str, key: str, wrapper: Any) -> None:
        self.wrappers.setdefault(place, {}).setdefault(key, []).append(wrapper)

    def get_wrappers(self, place: str, key: str) -> list[Any]:
        return self.wrappers.get(place, {}).get(key, [])

    def _through(self, place: str, function: Any, *args: Any, owner: Any = None) -> Any:
        wrappers = [wrapper for each in self.wrappers.get(place, {}).values() for wrapper in each]
        return Executor(function, wrappers, owner)(*args)

    def _calculate(self, model: Any, conds: list[Any], x: Tensor, sigma: Tensor, options: Any) -> list[Tensor]:
        self.calls.append([entries is not None for entries in conds])
        return [
            torch.zeros_like(x) if entries is None else x * (0.5 - 0.1 * place) - sigma.view(-1, 1)
            for place, entries in enumerate(conds)
        ]

    def __call__(self, x: Tensor, sigma: Tensor, model_options: Any = None, seed: int = 0) -> Tensor:
        return self._through("predict_noise", self._guide, x, sigma, model_options, seed)  # type: ignore[no-any-return]

    def _guide(self, x: Tensor, sigma: Tensor, options: Any, seed: int) -> Tensor:
        conds = [self.conds["positive"], self.conds["negative"]]
        cond, uncond = self._through("calc_cond_batch", self._calculate, None, conds, x, sigma, options)
        return uncond + self.cfg * (cond - uncond)  # type: ignore[no-any-return]

    def sample(self, sampler: Any, sigmas: Tensor = SIGMAS) -> Tensor:
        noise = torch.ones(1, 4)

        def run(guider: Any, sigmas: Tensor, extra_args: Any) -> Tensor:
            return sampler.sampler_function(guider, noise, sigmas, extra_args=extra_args)  # type: ignore[no-any-return]

        extra = {"model_options": {"transformer_options": {}}, "seed": 0}
        return self._through("sampler_sample", run, self, sigmas, extra, owner=sampler)  # type: ignore[no-any-return]


def euler(model: Any, x: Tensor, sigmas: Tensor, extra_args: Any = None, callback: Any = None, **_: Any) -> Tensor:
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i] * x.new_ones(len(x)), **extra_args)
        if callback is not None:
            callback({"i": i, "x": x, "denoised": denoised})
        x = x + (x - denoised) / sigmas[i] * (sigmas[i + 1] - sigmas[i])
    return x


EULER = SimpleNamespace(sampler_function=euler, extra_options={})


def test_a_plan_leaves_calls_out_of_any_model() -> None:
    plain, model = Model(), comfy.attach(Model(), policy=Plan("CCC.C."), forecaster="lagrange")
    reference = plain.sample(EULER)
    result = model.sample(EULER)
    assert len(model.calls) == 4 and (result - reference).norm() / reference.norm() < 0.2
    report = comfy.report_of(model)
    assert report is not None and report.plan == "CCC.C." and report.branches == ("cond", "uncond")
    whole = comfy.attach(Model(), policy=Plan("CCCCCC"))
    assert torch.equal(whole.sample(EULER), reference)


def test_a_conditioning_whose_prompt_changes_is_computed_alone() -> None:
    model = comfy.attach(Model(), policy=Plan("CCC..."), forecaster="lagrange")
    model.conds["negative"] = [{"uuid": 2, "timestep_end": 0.5}, {"uuid": 3, "timestep_start": 0.5}]
    model.sample(EULER)
    assert model.calls == [[True, True]] * 3 + [[False, True]]
    report = comfy.report_of(model)
    assert report is not None and report.plan == "CCC..."
    assert list(report.notes.values()) == [
        "computed because what acts on this branch changed: a prompt, a ControlNet or a hook"
    ]


def test_where_the_first_conditioning_has_no_forecast_all_are_computed_together() -> None:
    model = comfy.attach(Model(), policy=Plan("CCC..."), forecaster="lagrange")
    model.conds["positive"] = [{"uuid": 1, "timestep_end": 0.5}, {"uuid": 3, "timestep_start": 0.5}]
    model.sample(EULER)
    assert model.calls == [[True, True]] * 4
    report = comfy.report_of(model)
    assert report is not None and report.plan == "CCC.C."


def test_levels_that_rise_are_computed_and_said() -> None:
    model = comfy.attach(Model(), "adaptive")
    rising = SIGMAS.flip(0).clamp_min(0.01)
    with pytest.warns(PadecastWarning, match="all steps are computed: sigmas rise at place 1"):
        result = model.sample(EULER, rising)
    assert torch.equal(result, Model().sample(EULER, rising))


def test_a_plan_of_another_length_is_an_error() -> None:
    with pytest.raises(InvalidPlan, match="this run has 6 steps, the plan 4"):
        comfy.attach(Model(), policy=Plan("CC.C")).sample(EULER)


def test_no_run_no_report() -> None:
    assert comfy.report_of(comfy.attach(Model())) is None and comfy.report_of(Model()) is None


def test_what_acts_is_told_by_levels_as_comfyui_rounds_them() -> None:
    bound = 0.1 + 1e-10  # in single precision the level itself
    level = torch.tensor(0.1).item()
    assert find_conditions([{"uuid": 1, "timestep_start": bound, "timestep_end": bound}], level) == (("1",),)
    assert find_conditions([{"uuid": 1, "timestep_end": 0.2}], level) == ()


def test_controlnets_and_hooks_count_where_they_act() -> None:
    earlier = SimpleNamespace(timestep_range=(1.0, 0.5), strength=0.7, previous_controlnet=None)
    control = SimpleNamespace(timestep_range=None, strength=1.0, previous_controlnet=earlier)
    frames = [SimpleNamespace(strength=strength, start_t=start) for strength, start in ((1.0, 1.0), (0.2, 0.5))]
    hooks = SimpleNamespace(hooks=[SimpleNamespace(hook_keyframe=SimpleNamespace(keyframes=frames))])
    entry = {"uuid": 1, "control": control, "hooks": hooks}
    late, early = find_conditions([entry], 0.3), find_conditions([entry], 0.8)
    assert early == (("1", ("control", 0, 1.0), ("control", 1, 0.7), ("hook", 0, 1, 1.0)),)
    assert late == (("1", ("control", 0, 1.0), ("hook", 0, 2, 0.2)),)
