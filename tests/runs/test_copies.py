"""Nothing of ours is copied, pickled, saved or replicated with a model: what comes out is as if nothing had been on."""

from __future__ import annotations

import copy
import gc
import io
import multiprocessing
import pickle
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiTTransformer2DModel
from tests.interrupts import OURS
from tests.tiny import dit, flux_pipeline, footprint, loop, sample_flux
from tests.toy import METHODS, Pipe, Toy, described
from torch import nn

from padecast import accelerate

pytestmark = [pytest.mark.fault("copies"), pytest.mark.usefixtures("toy")]


@pytest.fixture(scope="module", autouse=True)
def toy() -> Iterator[None]:
    with described():
        yield


def saved(thing: Any) -> Any:
    file = io.BytesIO()
    torch.save(thing, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=False)


def with_joblib(thing: Any) -> Any:
    joblib, file = pytest.importorskip("joblib"), io.BytesIO()
    joblib.dump(thing, file)
    return joblib.load(io.BytesIO(file.getvalue()))


def replicated(model: nn.Module) -> Any:
    """What DataParallel does for every device, as far as it goes without one: modules first, then what they hold."""
    modules = list(model.modules())
    replicas = {id(module): module._replicate_for_data_parallel() for module in modules}
    for module in modules:
        replica = replicas[id(module)]
        for name, child in module._modules.items():
            replica._modules[name] = None if child is None else replicas[id(child)]
        for name, parameter in module._parameters.items():
            setattr(replica, name, None if parameter is None else parameter.detach().clone())
    return replicas[id(model)]


WAYS: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "pickle as of old": lambda thing: pickle.loads(pickle.dumps(thing, protocol=0)),
    "pickle in Python": lambda thing: pickle.loads(pickle._dumps(thing)),  # type: ignore[attr-defined]
    "torch.save": saved,
    "joblib": with_joblib,
}


def names(model: nn.Module) -> dict[str, set[str]]:
    return {name: set(holds) for name, holds in footprint(model).items()}


def hooks(model: nn.Module) -> int:
    kinds = [name for name in vars(model) if name.startswith(("_forward_hooks", "_forward_pre_hooks"))]
    return sum(len(vars(module)[kind]) for module in model.modules() for kind in kinds)


class TestModels:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("kind", ["blocks", "probe of a module", "probe of a block", "modules", "whole model"])
    def test_a_copy_is_plain_and_the_original_goes_on(self, kind: str, way: str) -> None:
        model = Toy()
        pipe = Pipe(model)
        untouched, clean = pipe(), names(WAYS[way](model))
        with accelerate(pipe, METHODS[kind]) as run:
            forecast = pipe()
            copied = WAYS[way](model)
            assert names(copied) == clean and hooks(copied) == 0
            assert torch.equal(Pipe(copied)(), untouched)
            assert torch.equal(pipe(), forecast) and "." in run.report.plan
            with accelerate(Pipe(copied), METHODS[kind]):
                pass
        assert torch.equal(pipe(), untouched)

    @pytest.mark.parametrize("kind", ["blocks", "probe of a module", "probe of a block", "modules", "whole model"])
    def test_a_copy_lets_the_original_go(self, kind: str) -> None:
        model = Toy()
        with accelerate(Pipe(model), METHODS[kind]):
            copied = copy.deepcopy(model)
        original = weakref.ref(model)
        del model
        gc.collect()
        assert original() is None
        assert len(list(copied.modules()))

    @pytest.mark.parametrize("kind", ["blocks", "probe of a module", "probe of a block", "whole model"])
    def test_a_shallow_copy_is_plain(self, kind: str) -> None:
        model = Toy()
        pipe = Pipe(model)
        untouched, clean = pipe(), set(vars(copy.copy(model)))
        with accelerate(pipe, METHODS[kind]):
            forecast = pipe()
            copied = copy.copy(model)
            assert set(vars(copied)) == clean and not copied._forward_hooks and not copied._forward_pre_hooks
            assert torch.equal(Pipe(copied)(), untouched)
            assert torch.equal(pipe(), forecast)

    @pytest.mark.parametrize("way", WAYS)
    def test_a_block_alone(self, way: str) -> None:
        model, make = Toy(), WAYS[way]
        clean = names(make(model.blocks[0]))
        x = torch.ones(1, 3, 4)
        expected = model.blocks[0](x, x)
        for kind in ("blocks", "probe of a module", "probe of a block", "modules"):
            with accelerate(Pipe(model), METHODS[kind]):
                copied = make(model.blocks[0])
                assert names(copied) == clean and hooks(copied) == 0
                assert torch.equal(copied(x, x), expected)

    @pytest.mark.parametrize("kind", ["blocks", "probe of a module", "probe of a block", "whole model", "modules"])
    def test_a_replica_has_weights_of_its_own(self, kind: str) -> None:
        model = Toy()
        untouched = Pipe(model)()
        with accelerate(Pipe(model), METHODS[kind]):
            replica = replicated(model)
            assert torch.equal(Pipe(replica)(), untouched)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.zero_()
            assert torch.equal(Pipe(replica)(), untouched)

    def test_what_others_put_there_is_copied(self) -> None:
        model, heard = Toy(), list[str]()
        model.register_forward_hook(lambda *_: heard.append("hook"))
        model.blocks[0].note = "kept"
        with accelerate(Pipe(model), "linear:every=2"):
            copied = copy.deepcopy(model)
        assert hooks(copied) == 1 and copied.blocks[0].note == "kept"
        Pipe(copied)()
        assert heard

    def test_a_state_of_a_models_own(self) -> None:
        class Keeping(Toy):
            def __getstate__(self) -> Any:
                return {**self.__dict__, "made": "by itself"}

        model = Keeping()
        for kind in ("blocks", "probe of a module"):
            with accelerate(Pipe(model), METHODS[kind]):
                copied = copy.deepcopy(model)
            assert copied.made == "by itself" and hooks(copied) == 0
            assert "forward" not in vars(copied.blocks[0])

    def test_two_methods_on_one_model(self) -> None:
        model = Toy()
        one, two = Pipe(model), Pipe(model)
        untouched, clean = one(), names(copy.deepcopy(model))
        with accelerate(one, METHODS["probe of a block"]), accelerate(two, METHODS["blocks"]):
            copied = copy.deepcopy(model)
        assert names(copied) == clean and hooks(copied) == 0
        assert torch.equal(Pipe(copied)(), untouched)

    @pytest.mark.parametrize("way", WAYS)
    def test_nothing_of_ours_is_needed_to_read_a_pickle(self, way: str) -> None:
        with accelerate(Pipe(model := Toy()), METHODS["probe of a block"]):
            assert all(type(value).__module__.partition(".")[0] != "padecast" for value in parts(WAYS[way](model)))
            assert b"padecast" not in pickle.dumps(model)
        assert Path(OURS).name == "padecast"


def parts(model: nn.Module) -> Iterator[Any]:
    for module in model.modules():
        for value in vars(module).values():
            yield from value.values() if isinstance(value, dict) else (value,)


class TestPipelines:
    @pytest.mark.parametrize("way", ["deepcopy", "pickle", "torch.save", "joblib"])
    @pytest.mark.parametrize("method", ["linear:every=2", "teacache:threshold=9"])
    def test_a_copied_pipeline_is_plain(self, method: str, way: str) -> None:
        pipe = loop()
        untouched = pipe(4)
        clean = set(vars(WAYS[way](pipe)))
        with accelerate(pipe, method):
            forecast = pipe(4)
            copied = WAYS[way](pipe)
            assert set(vars(copied)) == clean and hooks(copied.transformer) == 0
            assert torch.equal(pipe(4), forecast)
        assert not torch.equal(forecast, untouched)
        assert torch.equal(copied(4), untouched)
        with accelerate(copied, method):
            assert torch.equal(copied(4), forecast)

    def test_its_parts_in_another_pipeline(self) -> None:
        pipe = flux_pipeline()
        untouched = sample_flux(pipe, 4)
        with accelerate(pipe, "linear:every=2"):
            forecast = sample_flux(pipe, 4)
            for other in (type(pipe)(**pipe.components), type(pipe).from_pipe(pipe), copy.copy(pipe)):
                assert "maybe_free_model_hooks" not in vars(other) and "__getstate__" not in vars(other)
                assert other.transformer is pipe.transformer
            assert torch.equal(sample_flux(pipe, 4), forecast)
        assert torch.equal(sample_flux(pipe, 4), untouched)


class TestWeights:
    """What only reads or moves weights works as ever."""

    @pytest.mark.parametrize("method", ["linear:every=2", "teacache:threshold=9", "first-block:threshold=9"])
    def test_saving_and_loading(self, method: str, tmp_path: Path) -> None:
        model = dit()
        state = {name: value.clone() for name, value in model.state_dict().items()}
        with accelerate(model, method, steps=4):
            assert state.keys() == model.state_dict().keys()
            model.save_pretrained(tmp_path)
            model.load_state_dict(state)
            loaded = DiTTransformer2DModel.from_pretrained(tmp_path)
        assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
        assert hooks(loaded) == 0

    @pytest.mark.parametrize("method", ["linear:every=2", "first-block:threshold=9"])
    def test_moving(self, method: str) -> None:
        pipe = loop()
        untouched = pipe()
        with accelerate(pipe, method):
            forecast = pipe()
            pipe.transformer.double().float().share_memory()
            assert torch.equal(pipe(), forecast)
            moving = [value.mul(0.9) for value in pipe.transformer.parameters()]  # as an average of weights does
            assert len(moving) == len(list(pipe.transformer.parameters()))
        assert torch.equal(pipe(), untouched)


def sample_of(pipe: Any, answers: Any) -> None:
    answers.put(pipe().numpy())


@pytest.mark.slow
def test_a_pipeline_in_a_process_that_is_spawned() -> None:
    pipe, context = loop(), multiprocessing.get_context("spawn")
    untouched = pipe()
    with accelerate(pipe, "teacache:threshold=9"):
        answers = context.Queue()
        worker = context.Process(target=sample_of, args=(pipe, answers))
        worker.start()
        assert torch.equal(torch.from_numpy(answers.get(timeout=300)), untouched)
        worker.join()
