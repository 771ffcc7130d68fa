"""The plug-ins of SGLang and vLLM-Omni, with small stand-ins for what they hook on."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.fuzz.leftovers import traces
from tests.tiny import dit
from torch import Tensor, nn

import padecast
from padecast import InvalidOption, InvalidPlan, MissingPackage, PadecastWarning, UnknownName, UnsupportedModel, targets
from padecast.integrations import sglang, vllm_omni

STEPS, PLAN = 8, "plan:steps=CC.C.C.C"

# SGLang ---------------------------------------------------------------------------------------------------------------

PLUGINS = """
from enum import Enum


class HookType(Enum):
    AROUND = "around"


class HookRegistry:
    hooks = []

    @classmethod
    def register(cls, target, hook, type):
        cls.hooks.append((target, hook, type))
"""
STAGE = '''
class DenoisingStage:
    """A loop as SGLang's: two branches a step, combined, and Euler steps."""

    def _run_denoising_loop(self, ctx, batch, server_args, *, collect_trajectory=True):
        for index in range(len(ctx.timesteps)):
            batch.latents = batch.latents + self._predict_noise_with_cfg(
                current_model=self.model, latents=batch.latents, batch=batch, timestep_index=index
            )
        return batch.latents

    def _predict_noise_with_cfg(self, current_model, latents, batch, timestep_index):
        one, two = (current_model(latents, timestep_index, branch) for branch in (1.0, 2.0))
        return one + 3 * (two - one)
'''


class Model:
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls, self.cast = 0, torch.float32
        self.between: Callable[[int], Any] = lambda index: None

    def __call__(self, latents: Tensor, index: int, branch: float) -> Tensor:
        self.calls += 1
        self.between(index)
        return (0.1 * branch * torch.sin(latents + index / 8)).to(self.cast)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of SGLang's name with the two modules that matter."""
    for name, text in (
        ("sglang.multimodal_gen.runtime.platforms.plugins", PLUGINS),
        (sglang.MODULE, STAGE),
    ):
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for folder in (tmp_path / "sglang").rglob("*"):
        if folder.is_dir():
            (folder / "__init__.py").touch()
    (tmp_path / "sglang" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(sglang.VARIABLE, PLAN)
    yield tmp_path / "sglang"
    for name in [name for name in sys.modules if name.partition(".")[0] == "sglang"]:
        del sys.modules[name]


def hooks() -> list[Any]:
    registry: Any = importlib.import_module("sglang.multimodal_gen.runtime.platforms.plugins").HookRegistry
    return registry.hooks


@pytest.fixture
def stage(package: Path) -> Any:
    """A stage with the plug-in's hooks around its methods, as SGLang's registry puts them."""
    sglang.register()
    sglang.register()
    assert [target.rpartition(".")[2] for target, _, _ in hooks()] == [sglang.LOOP, sglang.PREDICTION]
    kind: Any = importlib.import_module(sglang.MODULE).DenoisingStage

    def wrap(original: Any, hook: Any) -> Any:
        return lambda *args, **options: hook(original, *args, **options)

    for target, hook, _ in hooks():
        name = target.rpartition(".")[2]
        setattr(kind, name, wrap(getattr(kind, name), hook))
    made = kind()
    made.model = Model()
    return made


def context(steps: int = STEPS, **changes: Any) -> Any:
    scheduler = types.SimpleNamespace(order=1)
    return types.SimpleNamespace(**{"timesteps": range(steps), "is_warmup": False, "scheduler": scheduler, **changes})


def draw(stage: Any, seed: int = 0, steps: int = STEPS, **changes: Any) -> Tensor:
    batch = types.SimpleNamespace(latents=torch.randn(1, 4, generator=torch.Generator().manual_seed(seed)))
    images: Tensor = stage._run_denoising_loop(context(steps, **changes), batch, None)
    assert sglang.RUNS == {}
    return images


class TestSGLang:
    def test_whole_guided_steps_are_left_out_request_after_request(self, stage: Any) -> None:
        first = draw(stage)
        assert stage.model.calls == 10
        assert torch.equal(draw(stage), first) and stage.model.calls == 20

    def test_all_computed_is_what_it_is_without(self, stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = draw(stage, is_warmup=True)
        assert stage.model.calls == 16
        run = sglang.run_loop

        def compute(method: Any, *rest: Any) -> Any:
            return run(sglang.read_output_method("plan:steps=" + "C" * STEPS), *rest)

        monkeypatch.setattr(sglang, "run_loop", compute)
        assert torch.equal(draw(stage), plain)

    def test_requests_that_come_between_keep_apart(self, stage: Any) -> None:
        alone = [draw(stage, seed) for seed in (0, 1)]
        inner: list[Tensor] = []

        def interleave(index: int) -> None:
            if index == 3 and not inner:
                stage.model.between = lambda index: None
                batch = types.SimpleNamespace(latents=torch.randn(1, 4, generator=torch.Generator().manual_seed(1)))
                inner.append(stage._run_denoising_loop(context(), batch, None))

        stage.model.between = interleave
        assert torch.equal(draw(stage, 0), alone[0]) and torch.equal(inner[0], alone[1])

    def test_a_request_that_fails_leaves_nothing(self, stage: Any) -> None:
        first = draw(stage)

        def fail(index: int) -> None:
            if index == 3:
                raise MemoryError

        stage.model.between = fail
        with pytest.raises(MemoryError):
            draw(stage)
        assert sglang.RUNS == {}
        stage.model.between = lambda index: None
        assert torch.equal(draw(stage), first)

    def test_outputs_of_another_dtype_than_latents_are_forecast(self, stage: Any) -> None:
        stage.model.cast = torch.bfloat16
        draw(stage)
        assert stage.model.calls == 10

    def test_a_stage_that_asks_twice_a_step_has_two_histories(self, stage: Any) -> None:
        predict = stage._predict_noise_with_cfg

        def negate(x: Tensor, index: int, batch: Any) -> Tensor:
            return -stage.model(x, index, batch)

        def twice(**options: Any) -> Tensor:
            return predict(**options) - predict(**{**options, "current_model": negate})

        stage._predict_noise_with_cfg = twice
        first = draw(stage)
        assert stage.model.calls == 20 and torch.equal(draw(stage), first)

    @pytest.mark.parametrize("changes", [{"is_warmup": True}, {"scheduler": types.SimpleNamespace(order=2)}])
    def test_a_warm_up_and_solvers_of_higher_order_are_computed(self, stage: Any, changes: dict[str, Any]) -> None:
        draw(stage, **changes)
        assert stage.model.calls == 16

    def test_outputs_that_change_in_the_middle_are_computed_from_there(self, stage: Any) -> None:
        def grow(index: int) -> None:
            stage.model.cast = torch.float64 if index >= 3 else torch.float32

        stage.model.between = grow
        draw(stage)
        assert stage.model.calls == 14

    def test_a_plan_of_another_length_is_an_error_that_names_both(self, stage: Any) -> None:
        with pytest.raises(InvalidPlan, match=r"8.*6|6.*8"):
            draw(stage, steps=6)

    @pytest.mark.usefixtures("package")
    def test_nothing_is_hooked_on_unless_it_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(sglang.VARIABLE)
        sglang.register()
        assert hooks() == []

    @pytest.mark.usefixtures("package")
    @pytest.mark.parametrize(
        ("text", "error", "words"),
        [
            ("nonsense", UnknownName, "nonsense"),
            ("learned", InvalidOption, "learns"),
            ("teacache", InvalidOption, "inside a model"),
            ("toca", InvalidOption, "inside a model"),
        ],
    )
    def test_a_method_that_cannot_serve_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, text: str, error: type[Exception], words: str
    ) -> None:
        monkeypatch.setenv(sglang.VARIABLE, text)
        with pytest.raises(error, match=words):
            sglang.register()
        assert hooks() == []

    @pytest.mark.parametrize(
        ("before", "after", "words"),
        [
            ("_predict_noise_with_cfg", "_predict", "no DenoisingStage._predict_noise_with_cfg"),
            ("_run_denoising_loop", "_loop", "no DenoisingStage._run_denoising_loop"),
            ("timestep_index", "place", "takes no timestep_index"),
            ("class DenoisingStage", "class Other", "no DenoisingStage"),
        ],
    )
    def test_a_release_without_what_is_hooked_on_is_refused(
        self, package: Path, before: str, after: str, words: str
    ) -> None:
        path = package.parent.joinpath(*sglang.MODULE.split(".")).with_suffix(".py")
        path.write_text(STAGE.replace(before, after))
        with pytest.raises(MissingPackage, match=words):
            sglang.register()
        assert hooks() == []

    def test_a_release_without_the_module_is_refused(self, package: Path) -> None:
        package.parent.joinpath(*sglang.MODULE.split(".")).with_suffix(".py").unlink()
        with pytest.raises(MissingPackage, match="there is no module"):
            sglang.register()


# vLLM-Omni ------------------------------------------------------------------------------------------------------------

SELECTOR = """
class CacheDiT:
    pass


def get_cache_backend(cache_backend, cache_config):
    if cache_backend == "cache_dit":
        return CacheDiT()
    raise ValueError(f"Unsupported cache backend: {cache_backend}")
"""
BASE = """
from abc import ABC, abstractmethod


class CacheBackend(ABC):
    def __init__(self, config):
        self.config, self.enabled = config, False

    @abstractmethod
    def enable(self, pipeline): ...

    @abstractmethod
    def refresh(self, pipeline, num_inference_steps, verbose=True): ...
"""


@pytest.fixture
def omni(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Modules of vLLM-Omni's names: the selector, the base class, and a module that holds the selector's function."""
    texts = {vllm_omni.SELECTOR: SELECTOR, "vllm_omni.diffusion.cache.base": BASE, vllm_omni.HOLDERS[1]: ""}
    modules: dict[str, Any] = {name: types.ModuleType(name) for name in texts}
    for name, text in texts.items():
        exec(text, vars(modules[name]))
        monkeypatch.setitem(sys.modules, name, modules[name])
    modules[vllm_omni.HOLDERS[1]].get_cache_backend = modules[vllm_omni.SELECTOR].get_cache_backend
    monkeypatch.setattr(targets, "REGISTRY", dict(targets.REGISTRY))
    return modules


class Pipeline(nn.Module):
    """A loop over a transformer, as a pipeline of vLLM-Omni: a module, whose model is called by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = dit()

    @torch.no_grad()
    def forward(self, steps: int = STEPS, seed: int = 0, size: int = 8) -> Tensor:
        x = torch.randn(1, 4, size, size, generator=torch.Generator().manual_seed(seed))
        for time in torch.linspace(980, 20, steps).tolist():
            labels = torch.tensor([3])
            x = x - 0.1 * self.transformer(x, timestep=torch.tensor([time]), class_labels=labels).sample
        return x


def backend(omni: dict[str, Any], **options: Any) -> Any:
    vllm_omni.register()
    return omni[vllm_omni.HOLDERS[1]].get_cache_backend("padecast", options)


class TestVLLMOmni:
    def test_requests_of_other_steps_follow_one_another(self, omni: dict[str, Any]) -> None:
        pipeline, cache = Pipeline(), backend(omni, method="fora:every=2")
        plain = pipeline()
        cache.enable(pipeline)
        assert cache.enabled and torch.equal(pipeline(), plain)  # no request has begun
        images = {}
        for steps in (8, 8, 5, 8):
            cache.refresh(pipeline, steps)
            image = pipeline(steps)
            (handle,) = cache.acceleration.handles
            assert len(handle.report.plan) == steps and handle.report.forecast == steps // 2 - (steps == 8)
            assert torch.equal(images.setdefault(steps, image), image)
        cache.acceleration.close()
        assert traces(pipeline.transformer) == [] and torch.equal(pipeline(), plain)

    def test_all_computed_is_what_it_is_without(self, omni: dict[str, Any]) -> None:
        pipeline, cache = Pipeline(), backend(omni, method="plan:steps=CCCCCCCC", dtype="bfloat16", offload=True)
        plain = pipeline()
        cache.enable(pipeline)
        cache.refresh(pipeline, STEPS)
        assert torch.equal(pipeline(), plain)
        cache.acceleration.close()

    def test_a_request_that_was_broken_off_says_nothing_of_the_next(self, omni: dict[str, Any]) -> None:
        pipeline, cache = Pipeline(), backend(omni)
        cache.enable(pipeline)
        cache.refresh(pipeline, STEPS)
        first = pipeline()
        for stop in range(1, STEPS):
            cache.refresh(pipeline, STEPS)
            left = iter(range(stop))

            def fail(*_: Any, left: Any = left) -> None:
                if next(left, None) is None:
                    raise MemoryError

            hook = pipeline.transformer.register_forward_pre_hook(fail)
            with pytest.raises(MemoryError):
                pipeline()
            hook.remove()
            cache.refresh(pipeline, STEPS)
            assert torch.equal(pipeline(), first)
        cache.acceleration.close()

    def test_loading_twice_is_as_loading_once(self, omni: dict[str, Any]) -> None:
        vllm_omni.register()
        chosen = [omni[name].get_cache_backend for name in vllm_omni.HOLDERS]
        vllm_omni.register()
        assert [omni[name].get_cache_backend for name in vllm_omni.HOLDERS] == chosen
        assert chosen[0] is chosen[1]

    def test_other_backends_are_chosen_as_before(self, omni: dict[str, Any]) -> None:
        vllm_omni.register()
        for name in vllm_omni.HOLDERS:
            assert type(omni[name].get_cache_backend("cache_dit", {})).__name__ == "CacheDiT"
            with pytest.raises(ValueError, match="Unsupported cache backend: nonsense"):
                omni[name].get_cache_backend("nonsense", {})

    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"methods": "fora"}, InvalidOption, "no option methods"),
            ({"method": "nonsense"}, UnknownName, "nonsense"),
            ({"method": 3}, InvalidOption, "no name of a method"),
            ({"method": "learned"}, InvalidOption, "learns"),
            ({"dtype": "float1"}, InvalidOption, "no dtype"),
        ],
    )
    def test_what_it_cannot_be_told_is_refused_at_the_start(
        self, omni: dict[str, Any], options: dict[str, Any], error: type[Exception], words: str
    ) -> None:
        with pytest.raises(error, match=words):
            backend(omni, **options)

    def test_a_pipeline_without_a_transformer_is_refused_at_the_start(self, omni: dict[str, Any]) -> None:
        with pytest.raises(UnsupportedModel, match="no transformer"):
            backend(omni).enable(nn.Module())

    def test_a_request_that_does_not_say_its_steps_is_computed_with_a_warning(self, omni: dict[str, Any]) -> None:
        pipeline, cache = Pipeline(), backend(omni)
        plain = pipeline()
        cache.enable(pipeline)
        with pytest.warns(PadecastWarning, match="num_inference_steps"):
            cache.refresh(pipeline, 0)
        assert torch.equal(pipeline(), plain)

    @pytest.mark.parametrize("steps", [None, 30])
    def test_vllm_omni_tells_of_requests_that_leave_out_their_steps(
        self, omni: dict[str, Any], steps: int | None
    ) -> None:
        pipeline = Pipeline()
        setattr(pipeline, vllm_omni.DEFAULT_STEPS, steps)
        backend(omni).enable(pipeline)
        assert getattr(pipeline, vllm_omni.DEFAULT_STEPS) == (steps or 0)

    def test_a_request_of_another_length_than_the_plan_is_computed_with_a_warning(self, omni: dict[str, Any]) -> None:
        pipeline, cache = Pipeline(), backend(omni, method=PLAN)
        plain = pipeline(2)
        cache.enable(pipeline)
        cache.refresh(pipeline, STEPS)
        pipeline()
        with pytest.warns(PadecastWarning, match="2 steps is computed whole: the plan has 8"):
            cache.refresh(pipeline, 2)
        assert torch.equal(pipeline(2), plain)

    def test_classes_of_its_own_that_are_alike_are_described(self, omni: dict[str, Any]) -> None:
        vllm_omni.register()
        for name in vllm_omni.ALIKE:
            kind = type(name, (nn.Module,), {"__module__": "vllm_omni.models", "forward": Pipeline.forward})
            assert targets.find(kind()).library == "vllm_omni"
            assert targets.REGISTRY[name].library == "diffusers"

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            (vllm_omni.SELECTOR, "", "has no get_cache_backend"),
            (vllm_omni.SELECTOR, "def get_cache_backend(config): ...", "has no get_cache_backend"),
            ("vllm_omni.diffusion.cache.base", "class CacheBackend: ...", "not made of enable and refresh"),
        ],
    )
    def test_a_release_without_what_is_replaced_is_refused(
        self, omni: dict[str, Any], name: str, text: str, words: str
    ) -> None:
        for attribute in ("get_cache_backend", "CacheBackend"):
            vars(omni[name]).pop(attribute, None)
        exec(text, vars(omni[name]))
        with pytest.raises(MissingPackage, match=words):
            vllm_omni.register()
        assert not hasattr(omni[vllm_omni.HOLDERS[1]].get_cache_backend, "padecast")


# Both -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [sglang, vllm_omni])
def test_the_entry_point_leads_to_the_plug_in(module: Any) -> None:
    groups = {sglang: "sglang.multimodal_gen.plugins", vllm_omni: "vllm_omni.general_plugins"}
    points = importlib.metadata.entry_points(group=groups[module], name="padecast")
    if not points:
        pytest.skip("padecast was installed before it had this entry point: pip install -e . once more")
    assert [point.load() for point in points] == [module.register]


def test_processes_that_see_parts_of_an_image_need_steps_known_before(monkeypatch: pytest.MonkeyPatch) -> None:
    from padecast.integrations import serving

    monkeypatch.setattr(serving.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(serving.dist, "get_world_size", lambda: 2)
    serving.check_ranks(padecast.method("tc-pade:every=3"))
    with pytest.raises(InvalidOption, match="2 processes"):
        serving.check_ranks(padecast.method("adaptive"))
