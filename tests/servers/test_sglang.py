"""The plug-in in SGLang Diffusion's own registry and denoising stage, on a CPU: `make servers`."""

from __future__ import annotations

import ast
import importlib
import os
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tests.servers import stubs
from torch import Tensor

from padecast.integrations import sglang

STEPS, PLAN = 8, "plan:steps=CC.C.C.C"
OTHERS = {
    "hunyuan3d/shape",
    "ideogram",
    "joy_echo/denoising",
    "ltx_2/denoising",
    "moss_image",
    "wan_animate_2/denoising",
}
"""Stages that predict or step in their own way, of which the documentation says so."""
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def plugins() -> Iterator[Any]:
    """SGLang's plug-in module, with our hooks applied by its own registry."""
    stubs.demand(stubs.FOLDER / "sglang")
    with pytest.MonkeyPatch.context() as patch, stubs.importable(stubs.FOLDER):
        patch.setenv("TORCHDYNAMO_DISABLE", "1")  # kernels that are compiled on import
        patch.setenv(sglang.VARIABLE, PLAN)
        module: Any = importlib.import_module("sglang.multimodal_gen.runtime.platforms.plugins")
        sglang.register()
        sglang.register()
        importlib.import_module(sglang.MODULE)
        module.HookRegistry.apply_hooks()
        yield module


def test_each_hook_is_applied_once(plugins: Any) -> None:
    targets = {f"{sglang.MODULE}.{sglang.STAGE}.{name}" for name in sglang.NEEDS}
    assert plugins.HookRegistry._patched == targets
    assert [len(plugins.HookRegistry._hooks[target]) for target in targets] == [1, 1]


@pytest.fixture
def draw(plugins: Any) -> Any:
    """Draws a request by SGLang's own guided prediction; returns it, and how often its model was called."""
    kind: Any = importlib.import_module(sglang.MODULE).DenoisingStage
    policy: Any = importlib.import_module("sglang.multimodal_gen.runtime.distributed.cfg_policy").CFGPolicy
    calls: list[float] = []

    class Stage(kind):
        def __init__(self) -> None:
            pass

        def _predict_noise(self, latent_model_input: Tensor, timestep: Tensor, scale: float, **_: Any) -> Tensor:
            calls.append(scale)
            return 0.1 * scale * torch.sin(latent_model_input + timestep)

    config = types.SimpleNamespace(
        get_classifier_free_guidance_scale=lambda batch, scale: scale,
        slice_noise_pred=lambda prediction, latents: prediction,
        postprocess_cfg_noise=lambda batch, prediction, conditional: prediction,
    )
    server = types.SimpleNamespace(pipeline_config=config, enable_cfg_parallel=False)

    def draw(
        seed: int = 0, method: str = PLAN, is_warmup: bool = False, between: Callable[[int], Any] = lambda index: None
    ) -> tuple[Tensor, int]:
        stage, before = Stage(), len(calls)
        batch = types.SimpleNamespace(do_classifier_free_guidance=True, cfg_normalization=0, guidance_rescale=0.0)
        branches = policy().build(batch, {}, {"scale": 1.0}, {"scale": 2.0})
        scheduler = types.SimpleNamespace(order=1)
        times = torch.linspace(1, 0.1, STEPS)
        ctx = types.SimpleNamespace(timesteps=times, is_warmup=is_warmup, scheduler=scheduler)

        def loop() -> Tensor:
            x = torch.randn(1, 4, generator=torch.Generator().manual_seed(seed))
            for index, time in enumerate(times):
                between(index)
                x = x - 0.1 * stage._predict_noise_with_cfg(
                    current_model=stage,
                    latent_model_input=x,
                    timestep=time,
                    batch=batch,
                    timestep_index=index,
                    attn_metadata=None,
                    target_dtype=torch.float32,
                    current_guidance_scale=3.0,
                    cfg_policy=branches,
                    cfg_gate_state=None,
                    server_args=server,
                    guidance=None,
                    latents=x,
                )
            return x

        return sglang.run_loop(sglang.read_output_method(method), loop, ctx, batch), len(calls) - before

    return draw


def test_whole_guided_steps_are_left_out_twice_in_a_row(draw: Any) -> None:
    (first, calls), (second, again) = draw(), draw()
    assert calls == again == 10 and torch.equal(first, second)


def test_all_computed_is_what_it_is_without(draw: Any) -> None:
    (plain, calls), (computed, as_many) = draw(is_warmup=True), draw(method="plan:steps=" + "C" * STEPS)
    assert calls == as_many == 16 and torch.equal(plain, computed)


def test_two_requests_that_come_by_turns_keep_apart(draw: Any) -> None:
    alone, other, inner = draw(0)[0], draw(1)[0], []

    def interleave(index: int) -> None:
        if index == 3:
            inner.append(draw(1)[0])

    assert torch.equal(draw(0, between=interleave)[0], alone) and torch.equal(inner[0], other)


def test_the_stages_that_go_their_own_way_are_those_of_the_documentation() -> None:
    stubs.demand(stubs.FOLDER / "sglang")
    stages = stubs.FOLDER.joinpath(*sglang.MODULE.split(".")[:-1])
    found = set()
    for path in stages.rglob("*.py"):
        names = {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
        if path != stages / "denoising.py" and names & {"_run_denoising_step", sglang.PREDICTION}:
            found.add(os.path.relpath(path.with_suffix(""), stages).replace("model_specific_stages/", ""))
    assert found - {"progressive_resolution/ideogram"} == OTHERS
