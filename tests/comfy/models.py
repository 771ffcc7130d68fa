"""Tiny models of random weights in ComfyUI's own classes, with conditioning, and runs of its own samplers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from tests.comfy import engine
from torch import Tensor

Conditioning = list[list[Any]]
STEPS, TEXT = 8, 5


@dataclass(frozen=True)
class Kind:
    """A class of models.

    Args:
        config: Its name among ComfyUI's configurations.
        options: Of the denoiser.
        shape: Of one sample's latents.
        text: Width of the conditioning.
        pooled: Width of the pooled conditioning; 0 where there is none.
    """

    config: str
    options: dict[str, Any]
    shape: tuple[int, ...]
    text: int
    pooled: int = 0


FLUX = Kind(
    "Flux",
    {
        "image_model": "flux",
        "in_channels": 16,
        "out_channels": 16,
        "patch_size": 2,
        "vec_in_dim": 12,
        "context_in_dim": 20,
        "hidden_size": 32,
        "mlp_ratio": 2.0,
        "num_heads": 2,
        "depth": 1,
        "depth_single_blocks": 2,
        "axes_dim": [4, 6, 6],
        "theta": 10000,
        "qkv_bias": True,
        "guidance_embed": True,
        "txt_ids_dims": [],
    },
    (16, 8, 8),
    20,
    12,
)
WAN = Kind(
    "WAN21_T2V",
    {
        "image_model": "wan2.1",
        "model_type": "t2v",
        "text_len": 16,
        "dim": 24,
        "ffn_dim": 48,
        "freq_dim": 16,
        "text_dim": 20,
        "num_heads": 2,
        "num_layers": 2,
    },
    (16, 3, 8, 8),
    20,
)
QWEN = Kind(
    "QwenImage",
    {
        "image_model": "qwen_image",
        "in_channels": 64,
        "num_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 20,
        "axes_dims_rope": (4, 6, 6),
    },
    (16, 1, 8, 8),
    20,
)
SD3 = Kind(
    "SD3",
    {
        "input_size": None,
        "patch_size": 2,
        "in_channels": 16,
        "depth": 2,
        "adm_in_channels": 12,
        "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 20, "out_features": 128}},
        "num_patches": 256,
        "pos_embed_max_size": 16,
        "pos_embed_scaling_factor": None,
        "context_size": 20,
    },
    (16, 8, 8),
    20,
    12,
)
KINDS = {"flux": FLUX, "wan": WAN, "qwen": QWEN, "sd3": SD3}


def build(kind: Kind, seed: int = 0) -> Any:
    """Return a ModelPatcher of a tiny random model whose outputs are as large as its inputs."""
    comfy = engine.load()
    config = getattr(comfy.supported_models, kind.config)({**kind.options, "dtype": torch.float32})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = config.get_model({}, device=torch.device("cpu"))
        for name, weight in model.diffusion_model.named_parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
            elif "bias" in name:
                torch.nn.init.normal_(weight, std=0.1)
            else:
                torch.nn.init.normal_(weight, mean=1.0, std=0.1)
        for name, tensor in model.diffusion_model.named_buffers():
            if name == "pos_embed":  # left as it lay in memory, for a checkpoint to fill
                torch.nn.init.normal_(tensor)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def condition(kind: Kind, seed: int, length: int = TEXT, **options: Any) -> Conditioning:
    """Return what a prompt becomes."""
    draw = torch.Generator().manual_seed(seed)
    if kind.pooled:
        options["pooled_output"] = torch.randn(1, kind.pooled, generator=draw)
    return [[torch.randn(1, length, kind.text, generator=draw), options]]


def draw_noise(kind: Kind, seed: int = 0, batch: int = 1, shape: tuple[int, ...] = ()) -> Tensor:
    """Return noise of a run's latents."""
    draw = torch.Generator().manual_seed(seed)
    return torch.cat([torch.randn(1, *(shape or kind.shape), generator=draw) for _ in range(batch)])


@dataclass
class Calls:
    """Counts calls of a model's denoiser, and may do something at each."""

    count: int = 0
    batches: list[int] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)


def count_calls(model: Any) -> Calls:
    """Count what reaches the denoiser of a ModelPatcher, through its own APPLY_MODEL wrappers."""
    calls = Calls()

    def wrapper(executor: Any, x: Tensor, t: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        calls.count += 1
        calls.batches.append(len(x))
        calls.levels.append(float(t.flatten()[0]))
        return executor(x, t, *args, **kwargs)

    model.add_wrapper_with_key("apply_model", "count", wrapper)
    return calls


@dataclass(frozen=True)
class Run:
    """What a run is given, beside the model.

    Args:
        kind: Of the model.
        sampler: By ComfyUI's name.
        scheduler: By ComfyUI's name.
        steps: Of the sampler.
        cfg: Guidance scale.
        positive: Conditioning.
        negative: Conditioning.
        noise: Latents to start from.
        latent: Latents that are changed; zeros unless given.
        options: Further arguments of ``KSampler.sample``.
    """

    kind: Kind
    sampler: str = "euler"
    scheduler: str = "simple"
    steps: int = STEPS
    cfg: float = 4.0
    denoise: float | None = None
    positive: Conditioning | None = None
    negative: Conditioning | None = None
    noise: Tensor | None = None
    latent: Tensor | None = None
    seed: int = 3
    options: dict[str, Any] = field(default_factory=dict)


def sample(model: Any, run: Run, callback: Callable[..., Any] | None = None) -> Tensor:
    """Return the latents of a run of ComfyUI's KSampler."""
    comfy, cpu = engine.load(), torch.device("cpu")
    options = model.model_options
    make = comfy.samplers.KSampler
    sampler = make(model, run.steps, cpu, run.sampler, run.scheduler, run.denoise, model_options=options)
    positive = condition(run.kind, 1) if run.positive is None else run.positive
    negative = condition(run.kind, 2) if run.negative is None else run.negative
    noise = draw_noise(run.kind) if run.noise is None else run.noise
    latent = torch.zeros_like(noise) if run.latent is None else run.latent
    torch.manual_seed(run.seed)  # of samplers that draw noise of their own
    with torch.no_grad():
        settings = {"latent_image": latent, "callback": callback, "disable_pbar": True, "seed": run.seed}
        result: Tensor = sampler.sample(noise, positive, negative, run.cfg, **settings, **run.options)
    return result


def error(result: Tensor, reference: Tensor) -> float:
    """Return the relative error of latents."""
    return float((result - reference).norm() / reference.norm())
