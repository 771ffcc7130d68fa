"""The plug-in in vLLM-Omni's own runner, selector and transformers, on a CPU: `make servers`."""

from __future__ import annotations

import ast
import importlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tests.fuzz.leftovers import traces
from tests.servers import stubs
from torch import Tensor, nn

from padecast import MissingPackage, PadecastWarning
from padecast.integrations import vllm_omni

STEPS, PLAN = 8, "CC.C.C.C"
STUBS = (
    *("aenum", "av", "cache_dit", "cbor2", "cpuinfo", "llguidance", "omegaconf", "openai", "openai_harmony"),
    *("prettytable", "tiktoken", "torchvision", "uvloop", "xgrammar"),
)
"""Packages that are imported on the way, and of which nothing is used here."""
RUNNER, MODELS = vllm_omni.HOLDERS[1], "vllm_omni.diffusion.models"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def say(answer: Any) -> Any:
    """Return a method of a class that answers whatever it is asked."""
    return classmethod(lambda cls, *args, **options: answer)


@pytest.fixture(scope="module")
def system() -> Iterator[Any]:
    """vLLM-Omni as it is when a worker has loaded its plug-ins, in one process and with a CPU for its device."""
    stubs.demand(stubs.OMNI / "vllm")
    with pytest.MonkeyPatch.context() as patch, stubs.importable(stubs.OMNI, stubs.FOLDER, names=STUBS):
        patch.setenv("VLLM_TARGET_DEVICE", "cpu")
        patch.setenv("VLLM_LOGGING_LEVEL", "ERROR")
        patch.setenv("TORCHDYNAMO_DISABLE", "1")
        package: Any = importlib.import_module("vllm_omni")
        platform = type(importlib.import_module("vllm_omni.platforms").current_omni_platform)
        sdpa: Any = importlib.import_module("vllm_omni.diffusion.attention.backends.sdpa")
        backend = f"{sdpa.__name__}.SDPABackend"
        answers = {"get_device_count": 1, "set_device": None, "get_diffusion_attn_backend_cls": backend}
        memory = {"reset_peak_memory_stats": None, "max_memory_reserved": 0, "max_memory_allocated": 0}
        for name, answer in (answers | memory).items():
            patch.setattr(platform, name, say(answer), raising=False)
        patch.setattr(sdpa.SDPAImpl, "forward", sdpa.SDPAImpl.forward_cuda)
        parallel: Any = importlib.import_module("vllm_omni.diffusion.distributed.parallel_state")
        config: Any = importlib.import_module("vllm.config")
        runner: Any = importlib.import_module(RUNNER)
        vllm = config.VllmConfig()
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
        with config.set_current_vllm_config(vllm):
            parallel.init_distributed_environment(1, 0, "env://", 0, "gloo")
            parallel.initialize_model_parallel(backend="gloo")
            before = runner.get_cache_backend
            importlib.import_module("vllm_omni.plugins").load_omni_general_plugins()
            vllm_omni.register()  # as where no entry point of padecast's is installed; else once more
            yield types.SimpleNamespace(package=package, runner=runner, vllm=vllm, original=before)
            parallel.destroy_distributed_env()


# Models ---------------------------------------------------------------------------------------------------------------


def fill(model: Any) -> Any:
    """Give a model weights, as its loader does."""
    numbers = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.08, generator=numbers)
    for layer in model.modules():
        if getattr(layer, "quant_method", None) is not None:
            layer.quant_method.process_weights_after_loading(layer)
    return model.eval()


def flux() -> Any:
    kind: Any = importlib.import_module(f"{MODELS}.flux.flux_transformer").FluxTransformer2DModel
    layers = {"num_layers": 2, "num_single_layers": 3, "attention_head_dim": 16, "num_attention_heads": 2}
    widths = {"in_channels": 16, "joint_attention_dim": 24, "pooled_projection_dim": 12, "axes_dims_rope": (4, 6, 6)}
    return kind(None, guidance_embeds=False, **layers, **widths)


def call_flux(x: Tensor, time: Tensor, text: float) -> dict[str, Any]:
    ids = {"img_ids": torch.zeros(x.shape[1], 3), "txt_ids": torch.zeros(4, 3)}
    return {
        "encoder_hidden_states": torch.full((1, 4, 24), text),
        "pooled_projections": torch.full((1, 12), text),
        "timestep": time,
        **ids,
    }


def qwen() -> Any:
    kind: Any = importlib.import_module(f"{MODELS}.qwen_image.qwen_image_transformer").QwenImageTransformer2DModel
    config: Any = importlib.import_module("vllm_omni.diffusion.data").OmniDiffusionConfig()
    layers = {"num_layers": 3, "attention_head_dim": 16, "num_attention_heads": 2}
    return kind(config, in_channels=16, out_channels=4, joint_attention_dim=24, axes_dims_rope=(4, 6, 6), **layers)


def call_qwen(x: Tensor, time: Tensor, text: float) -> dict[str, Any]:
    states = torch.full((1, 4, 24), text) * torch.arange(24)
    shapes = {"img_shapes": [[(1, 4, x.shape[1] // 4)]], "txt_seq_lens": [4]}
    return {"encoder_hidden_states": states, "timestep": time, **shapes}


def wan() -> Any:
    kind: Any = importlib.import_module(f"{MODELS}.wan2_2.wan2_2_transformer").WanTransformer3DModel
    widths = {"in_channels": 16, "out_channels": 16, "text_dim": 24, "freq_dim": 16, "ffn_dim": 32}
    return kind(num_attention_heads=2, attention_head_dim=12, num_layers=3, **widths)


def call_wan(x: Tensor, time: Tensor, text: float) -> dict[str, Any]:
    return {"encoder_hidden_states": torch.full((1, 4, 24), text), "timestep": 1000 * time}


def vace() -> Any:
    kind: Any = importlib.import_module(f"{MODELS}.wan2_2.wan2_2_vace_transformer").WanVACETransformer3DModel
    widths = {"in_channels": 16, "out_channels": 16, "text_dim": 24, "freq_dim": 16, "ffn_dim": 32}
    return kind(num_attention_heads=2, attention_head_dim=12, num_layers=3, vace_layers=[0, 2], **widths)


def call_vace(x: Tensor, time: Tensor, text: float) -> dict[str, Any]:
    return {**call_wan(x, time, text), "vace_context": torch.ones_like(x)}


CASES = {
    "flux": (flux, call_flux),
    "qwen": (qwen, call_qwen),
    "wan": (wan, call_wan),
    "wan with vace": (vace, call_vace),  # described as Wan, which it inherits from
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, system: Any) -> str:
    """A class of vLLM-Omni's."""
    return str(request.param)


def serve(system: Any, name: str, cache: str | None = "padecast", **options: Any) -> Any:
    """Return a runner of vLLM-Omni's, with a pipeline over a tiny transformer and with a cache as it chooses it."""
    module: Any = importlib.import_module("vllm_omni.diffusion.distributed.cfg_parallel")
    data: Any = importlib.import_module("vllm_omni.diffusion.data")
    make, call = CASES[name]

    class Pipeline(module.CFGParallelMixin, nn.Module):  # type: ignore[misc, name-defined]
        """Draws by vLLM-Omni's own guided prediction."""

        def __init__(self) -> None:
            super().__init__()
            self.transformer, self.stops_at = fill(make()), -1

        def forward(self, batch: Any) -> Any:
            wish = batch.requests[0].sampling_params
            steps, size = wish.num_inference_steps or 12, (wish.height or 128) // 8
            shape = (1, 16, 1, size, size) if "wan" in name else (1, size, 16)
            x = torch.randn(shape, generator=wish.generator)
            for index, time in enumerate(torch.linspace(1, 1 / steps, steps)):
                if index == self.stops_at:
                    raise MemoryError
                branches = [{"hidden_states": x, **call(x, time[None], text)} for text in (0.5, -0.2)]
                x = x - self.predict_noise_maybe_with_cfg(True, 3.0, *branches, cfg_normalize=False) / steps
            return data.DiffusionOutput(output=x)

    config = data.OmniDiffusionConfig(cache_backend=cache, cache_config=options)
    runner = system.runner.DiffusionModelRunner(system.vllm, config, torch.device("cpu"))
    runner.pipeline = Pipeline()
    # The lines of `load_model` that are about caches, without those that read a checkpoint.
    runner.cache_backend = system.runner.get_cache_backend(config.cache_backend, config.cache_config)
    if runner.cache_backend is not None:
        runner.cache_backend.enable(runner.pipeline)
    return runner


def draw(runner: Any, seed: int = 0, steps: int | None = STEPS, **wishes: Any) -> Tensor:
    """Have a runner execute a request."""
    requests: Any = importlib.import_module("vllm_omni.diffusion.request")
    inputs: Any = importlib.import_module("vllm_omni.inputs.data")
    wish = inputs.OmniDiffusionSamplingParams(seed=seed, num_inference_steps=steps, **wishes)
    request = requests.OmniDiffusionRequest(prompt="a cat", sampling_params=wish, request_id=f"{seed}")
    image: Tensor = runner.execute_model(request).output
    return image


def plans(runner: Any) -> list[str]:
    return [handle.report.plan for handle in runner.cache_backend.acceleration.handles]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[int]]:
    """Counts the calls of the first block of a runner's transformer, of one branch and the other."""

    def count(runner: Any) -> list[int]:
        calls: list[int] = []
        model = runner.pipeline.transformer
        block = getattr(model, "transformer_blocks", None) or model.blocks
        forward = block[0].forward
        monkeypatch.setattr(block[0], "forward", lambda *args, **kwargs: calls.append(1) or forward(*args, **kwargs))
        return calls

    return count


# Tests ----------------------------------------------------------------------------------------------------------------


def test_all_computed_is_what_it_is_without(system: Any, case: str) -> None:
    plain = draw(serve(system, case, None))
    assert torch.equal(draw(serve(system, case, method="plan:steps=" + "C" * STEPS)), plain) and plain.std() > 0.1


@pytest.mark.parametrize("method", [f"plan:steps={PLAN}", "fora:every=2", "taylorseer:every=2"])
def test_forecast_steps_run_no_block(system: Any, case: str, method: str, calls: Callable[[Any], list[int]]) -> None:
    runner = serve(system, case, method=method)
    blocks, plain = calls(runner), draw(serve(system, case, None))
    image, (plan,) = draw(runner), plans(runner)
    assert plan == PLAN or not method.startswith("plan")
    assert len(blocks) == 2 * plan.count("C") < 2 * STEPS
    error = (image - plain).abs().max()
    assert 0 < error < 0.5 * plain.abs().max()


def test_requests_follow_one_another_as_if_each_were_alone(system: Any, case: str) -> None:
    wishes: list[dict[str, Any]] = [{}, {"seed": 1}, {"height": 256}, {"steps": 6}, {"seed": 1, "steps": 6}]
    alone = [draw(serve(system, case, method="fora:every=2"), **wish) for wish in wishes]
    runner = serve(system, case, method="fora:every=2")
    for place in (0, 1, 2, 3, 4, 0, 3, 3, 2, 1):
        assert torch.equal(draw(runner, **wishes[place]), alone[place])
        (plan,) = plans(runner)
        assert len(plan) == wishes[place].get("steps", STEPS) and plan.startswith("C.C.C")


def test_two_requests_that_come_by_turns_keep_apart(system: Any, case: str) -> None:
    runners = [serve(system, case, method=f"plan:steps={PLAN}") for _ in range(2)]
    alone, inner = [draw(runner, seed) for seed, runner in enumerate(runners)], []

    def interleave(*_: Any) -> None:
        places.append(1)
        if len(places) == 7:  # in the middle of the first one's fourth step
            inner.append(draw(runners[1], 1))

    places: list[int] = []
    hook = runners[0].pipeline.transformer.register_forward_pre_hook(interleave)
    assert torch.equal(draw(runners[0], 0), alone[0]) and torch.equal(inner[0], alone[1])
    hook.remove()


def test_a_request_that_breaks_off_says_nothing_of_the_next(system: Any, case: str) -> None:
    runner = serve(system, case)
    first = draw(runner)
    for stop in range(1, STEPS):
        runner.pipeline.stops_at = stop
        with pytest.raises(MemoryError):
            draw(runner, seed=1)
        runner.pipeline.stops_at = -1
        assert torch.equal(draw(runner), first)


def test_the_warm_up_of_two_steps_is_computed_under_a_plan(system: Any, case: str) -> None:
    runner = serve(system, case, method=f"plan:steps={PLAN}")
    with pytest.warns(PadecastWarning, match=r"2 steps is computed whole: the plan has 8"):
        image = draw(runner, steps=2)
    assert torch.equal(image, draw(serve(system, case, None), steps=2))
    draw(runner)
    assert plans(runner) == [PLAN]


def test_a_request_that_leaves_out_its_steps_is_computed(system: Any, case: str) -> None:
    runner, plain = serve(system, case), draw(serve(system, case, None), steps=None)
    draw(runner)
    with pytest.warns(PadecastWarning, match="num_inference_steps"):
        assert torch.equal(draw(runner, steps=None), plain)


def test_models_are_as_they_were_once_it_is_off(system: Any, case: str) -> None:
    runner = serve(system, case)
    draw(runner)
    runner.cache_backend.acceleration.close()
    assert traces(runner.pipeline.transformer) == []
    runner.cache_backend = None
    assert torch.equal(draw(runner), draw(serve(system, case, None)))


def test_step_mode_says_itself_that_it_has_no_caches(system: Any) -> None:
    runner = serve(system, "flux")
    runner._supports_step_mode = lambda: True
    nothing = types.SimpleNamespace(request_ids=[])
    output = types.SimpleNamespace(
        finished_req_ids=(), scheduled_new_reqs=[], scheduled_cached_reqs=nothing, num_scheduled_reqs=0
    )
    with pytest.raises(ValueError, match="Step mode does not support cache_backend"):
        runner.execute_stepwise(output)


def test_other_backends_are_chosen_as_before(system: Any) -> None:
    assert type(system.runner.get_cache_backend("tea_cache", {})).__name__ == "TeaCacheBackend"
    assert system.runner.get_cache_backend(None, {}) is None
    with pytest.raises(ValueError, match="Unsupported cache backend: nonsense"):
        system.runner.get_cache_backend("nonsense", {})


def test_loading_again_changes_nothing(system: Any) -> None:
    selector: Any = importlib.import_module(vllm_omni.SELECTOR)
    chosen = [module.get_cache_backend for module in (selector, system.runner)]
    vllm_omni.register()
    assert [module.get_cache_backend for module in (selector, system.runner)] == chosen
    assert chosen[0] is chosen[1] is not system.original


@pytest.mark.parametrize("gone", ["function", "option", "method"])
def test_a_release_without_what_is_replaced_is_refused(system: Any, monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    selector: Any = importlib.import_module(vllm_omni.SELECTOR)
    base: Any = importlib.import_module("vllm_omni.diffusion.cache.base").CacheBackend
    monkeypatch.setattr(selector, vllm_omni.FUNCTION, system.original)
    if gone == "function":
        monkeypatch.delattr(selector, vllm_omni.FUNCTION)
    elif gone == "option":
        monkeypatch.setattr(selector, vllm_omni.FUNCTION, lambda config: None)
    else:
        monkeypatch.setattr(base, "__abstractmethods__", frozenset({"enable"}))
    with pytest.raises(MissingPackage, match=r"another release of vllm-omni than 0\.30\.0"):
        vllm_omni.register()


def test_nothing_else_of_it_chooses_backends() -> None:
    """A module that took the function by its name before the plug-in is loaded would go on without it."""
    stubs.demand(stubs.OMNI / "vllm")
    holders = set()
    for path in (stubs.OMNI / "vllm_omni").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and vllm_omni.FUNCTION in {alias.name for alias in node.names}:
                holders.add(".".join(path.relative_to(stubs.OMNI).with_suffix("").parts))
    assert holders == {RUNNER}
