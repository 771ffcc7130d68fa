"""What benchmarks/overhead.py measures on: models with random weights, and the caches that are put on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from common import SETTINGS
from torch import Tensor, nn

import padecast
from padecast import lab, zoo
from padecast.methods import Method, method
from padecast.policies import Interval

Off = Callable[[], None]
CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")


@dataclass
class Case:
    """A model, how it is run for some steps, and on what.

    Args:
        name: As in the tables.
        pipe: A pipeline, or what has a ``transformer``.
        run: Samples with so many steps.
        target: What padecast is put on: the pipeline, or the bare model.
        steps: Sampler steps.
        about: Sizes, in words.
    """

    name: str
    pipe: Any
    run: Callable[[int], Any]
    steps: int
    about: str
    target: Any = None

    def __call__(self) -> Any:
        with torch.no_grad():
            return self.run(self.steps)

    @property
    def model(self) -> nn.Module:
        return self.pipe.transformer  # type: ignore[no-any-return]

    @property
    def blocks(self) -> list[nn.Module]:
        names = ("transformer_blocks", "single_transformer_blocks", "blocks")
        return [block for name in names for block in getattr(self.model, name, ())]


@dataclass
class Way:
    """A cache: its name, its settings in words, and what switches it on and returns what switches it off."""

    name: str
    settings: str
    on: Callable[[Case], Off]
    notes: list[str] = field(default_factory=list)


# Models ---------------------------------------------------------------------------------------------------------------


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(DEVICE, dtype)


def made(kind: Any, dtype: torch.dtype, **sizes: Any) -> Any:
    """Make a model with random weights where it is to lie, in the dtype it is to have."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with DEVICE:
            model = kind(**sizes)
    finally:
        torch.set_default_dtype(before)
    return nn.Module.to(model, dtype).eval()  # diffusers' own `to` warns


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def digits(batch: int = 16, steps: int = 20) -> Case:
    pipe = quiet(zoo.load("digits").to(DEVICE))
    call, seeds = lab.Sampling(**SETTINGS["hard"]), tuple(range(20_000, 20_000 + batch))
    return Case("digits", pipe, lambda n: call(pipe, seeds, num_inference_steps=n), steps, f"batch {batch}, hard", pipe)


def flux(name: str, size: int, steps: int, text: int, dtype: torch.dtype = torch.float32, **sizes: Any) -> Case:
    model = made(diffusers.FluxTransformer2DModel, dtype, **sizes)
    parts = dict.fromkeys(("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipe = quiet(diffusers.FluxPipeline(transformer=model, scheduler=scheduler, **parts))
    config = model.config
    embeds = {
        "prompt_embeds": random(1, text, config.joint_attention_dim, dtype=dtype),
        "pooled_prompt_embeds": random(1, config.pooled_projection_dim, dtype=dtype),
    }

    def run(n: int) -> Any:
        generator = torch.Generator().manual_seed(3)
        fixed = {"height": size, "width": size, "output_type": "latent", "generator": generator}
        return pipe(num_inference_steps=n, **embeds, **fixed)

    blocks = f"{config.num_layers} + {config.num_single_layers} blocks"
    width = config.num_attention_heads * config.attention_head_dim
    about = f"{blocks} of width {width}, {(size // 16) ** 2} + {text} tokens, {str(dtype)[6:]}"
    return Case(name, pipe, run, steps, about, pipe)


def wan(
    name: str, size: tuple[int, int, int], steps: int, text: int, dtype: torch.dtype = torch.float32, **sizes: Any
) -> Case:
    model = made(diffusers.WanTransformer3DModel, dtype, **sizes)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    parts = dict.fromkeys(("vae", "text_encoder", "tokenizer"))
    pipe = quiet(diffusers.WanPipeline(transformer=model, scheduler=scheduler, **parts))
    embeds = random(1, text, model.config.text_dim, dtype=dtype)
    height, width, frames = size

    def run(n: int) -> Any:
        fixed = {"height": height, "width": width, "num_frames": frames, "output_type": "latent"}
        generator = torch.Generator().manual_seed(3)
        return pipe(prompt_embeds=embeds, guidance_scale=1.0, num_inference_steps=n, generator=generator, **fixed)

    about = f"{model.config.num_layers} blocks, {height} x {width} x {frames}, {str(dtype)[6:]}, one branch"
    return Case(name, pipe, run, steps, about, pipe)


def dit_xl(steps: int, batch: int = 2, dtype: torch.dtype = torch.float32) -> Case:
    """DiT-XL/2 at 256 x 256, called in a loop without a scheduler; its defaults are nearly the class's."""
    sizes: dict[str, Any] = {"num_attention_heads": 16, "attention_head_dim": 72, "in_channels": 4, "out_channels": 8}
    sizes |= {"num_layers": 28, "sample_size": 32, "patch_size": 2, "num_embeds_ada_norm": 1000}
    model = made(diffusers.DiTTransformer2DModel, dtype, **sizes)
    x, labels = random(batch, 4, 32, 32, dtype=dtype), torch.zeros(batch, dtype=torch.long, device=DEVICE)

    def run(n: int) -> Any:
        for t in torch.linspace(999, 0, n).long().tolist():
            timestep = torch.full((batch,), t, device=DEVICE)
            out = model(x, timestep=timestep, class_labels=labels).sample
        return out

    about = f"batch {batch}, 256 tokens, {str(dtype)[6:]}, model called in a loop"
    return Case("DiT-XL/2", SimpleNamespace(transformer=model), run, steps, about, model)


def middle_flux(quick: bool) -> Case:
    sizes: dict[str, Any] = {"num_layers": 3, "num_single_layers": 6, "attention_head_dim": 64}
    sizes |= {"num_attention_heads": 8, "in_channels": 64, "joint_attention_dim": 256, "pooled_projection_dim": 128}
    sizes |= {"axes_dims_rope": (8, 28, 28)}
    sizes |= {"num_layers": 1, "num_single_layers": 2, "num_attention_heads": 2} if quick else {}
    return flux("FLUX, mid-size", 128 if quick else 256, 20, 64, **sizes)


def middle_wan(quick: bool) -> Case:
    heads = 2 if quick else 8
    sizes: dict[str, Any] = {"num_attention_heads": heads, "attention_head_dim": 64, "text_dim": 256}
    sizes |= {"in_channels": 16, "out_channels": 16, "freq_dim": 256, "ffn_dim": 4 * 64 * heads, "num_layers": 6}
    return wan("Wan, mid-size", (64, 64, 5) if quick else (128, 128, 9), 20, 64, **sizes)


def flux_dev(steps: int) -> Case:
    return flux(f"FLUX.1-dev, {steps} steps", 1024, steps, 512, torch.bfloat16, guidance_embeds=True)


def wan_small(steps: int) -> Case:
    sizes: dict[str, Any] = {"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 30}
    return wan("Wan2.1-1.3B", (480, 832, 81), steps, 512, torch.bfloat16, **sizes)


# Counting -------------------------------------------------------------------------------------------------------------


class Watch:
    """Which calls of a model ran the attention of its last block: ``C`` for those, a dot for the others."""

    def __init__(self, case: Case) -> None:
        last = next(part for name, part in case.blocks[-1].named_modules() if name.endswith("to_q"))
        self.ran: list[bool] = []
        self._hooks = [case.model.register_forward_pre_hook(lambda *_: self.ran.append(False))]
        self._hooks.append(last.register_forward_hook(self._count))

    def _count(self, *_: Any) -> None:
        self.ran[-1] = True

    @property
    def plan(self) -> str:
        return "".join("C" if ran else "." for ran in self.ran)

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()


def planned(case: Case, way: Way) -> str:
    """Run a case once with a cache, and return what was computed."""
    off, watch = way.on(case), Watch(case)
    try:
        case()
    finally:
        watch.remove()
        off()
    return watch.plan


# Caches ---------------------------------------------------------------------------------------------------------------


def ours(chosen: Method, name: str = "", measure: bool = False) -> Way:
    def on(case: Case) -> Off:
        return padecast.enable(case.target, chosen, steps=case.steps, measure=measure).disable

    return Way(f"padecast, {name or chosen.name}", f"{chosen.policy}, {chosen.forecaster}", on)


def even(name: str, every: int, warmup: int = 0, measure: bool = False) -> Way:
    """A method on an even plan; ``measure`` is on by default in padecast, for the report."""
    policy, shown = Interval(every=every, warmup=warmup), f"{name}, report measured" if measure else name
    return ours(Method(name, policy, method(name).forecaster, ""), shown, measure)


def nothing(plan: str) -> Way:
    """The bound: blocks hand their input on at the steps that the plan leaves out, and nothing is kept or added."""

    def on(case: Case) -> Off:
        calls = [-1]

        def enter(*_: Any) -> None:
            calls[0] = (calls[0] + 1) % len(plan)

        hook = case.model.register_forward_pre_hook(enter)
        for block in case.blocks:
            block.forward = _handing_on(block.forward, lambda: plan[calls[0]] == "C")

        def off() -> None:
            hook.remove()
            for block in case.blocks:
                del block.forward

        return off

    return Way("nothing at all (bound)", f"identity instead of blocks at the dots of {plan}", on)


def _handing_on(forward: Callable[..., Any], computes: Callable[[], bool]) -> Callable[..., Any]:
    def around(*args: Any, **kwargs: Any) -> Any:
        if computes():
            return forward(*args, **kwargs)
        given = args[0] if args else kwargs["hidden_states"]
        text = kwargs.get("encoder_hidden_states")
        return given if text is None else (text, given)

    return around


def theirs(name: str, config: Any, note: str = "") -> Way:
    def on(case: Case) -> Off:
        case.model.enable_cache(config)
        return case.model.disable_cache

    return Way(name, f"{config}", on, [note] if note else [])


def spans(total: int, nfe: int, count: Callable[[int, int], int]) -> tuple[int, int]:
    """Return the warm-up and the longest skip with which a rule comes nearest to a number of computed steps."""
    return min(product(range(1, total // 2), range(1, 8)), key=lambda p: (abs(count(*p) - nfe), abs(p[0] - 3)))


def magcache(total: int, nfe: int) -> Way:
    first, skipped = spans(total, nfe, lambda r, m: r + (total - r) // (m + 1))
    config = diffusers.MagCacheConfig(
        mag_ratios=[1.0] * total, num_inference_steps=total, max_skip_steps=skipped, retention_ratio=first / total
    )
    return theirs("MagCache", config, "ratios of 1, so that its interval decides")


def taylorseer(case: Case, nfe: int, lite: bool) -> Way:
    def count(first: int, skipped: int) -> int:
        return sum(s < first or (s - first - 1) % (skipped + 1) == 0 for s in range(case.steps))

    first, skipped = spans(case.steps, nfe, count)
    named = {"cache_identifiers": [r"blocks\.\d+\.attn[12]"]} if hasattr(case.model, "blocks") else {}
    dtype = case.model.dtype
    config = diffusers.TaylorSeerCacheConfig(
        cache_interval=skipped + 1,
        disable_cache_before_step=first,
        taylor_factors_dtype=dtype,
        **({"use_lite_mode": True} if lite else named),
    )
    note = "" if lite else "forecasts every attention; feed-forward parts run at every step"
    return theirs("TaylorSeer, lite" if lite else "TaylorSeer", config, note)


def seacache(total: int, nfe: int) -> Way:
    def plan(first: int, skipped: int) -> int:
        row, computed = 0, 0
        for step in range(total):
            row = 0 if step < first or step == total - 1 or row == skipped else row + 1
            computed += row == 0
        return computed

    first, skipped = spans(total, nfe, plan)
    config = diffusers.SeaCacheConfig(threshold=1e9, retention_steps=first, max_consecutive_cached=skipped)
    return theirs("SeaCache", config, "a threshold never reached, so that its interval decides")


def cache_dit(plan: str) -> Way:
    def on(case: Case) -> Off:
        import cache_dit as library

        config = library.DBCacheConfig(
            Fn_compute_blocks=1,
            Bn_compute_blocks=0,
            steps_computation_mask=[int(c == "C") for c in plan],
            steps_computation_policy="static",
            num_inference_steps=len(plan),
            enable_separate_cfg=False,
        )
        library.enable_cache(case.pipe, cache_config=config)
        return lambda: library.disable_cache(case.pipe)

    settings = f"DBCacheConfig(Fn_compute_blocks=1, steps_computation_mask={plan}, static, enable_separate_cfg=False)"
    return Way("cache-dit", settings, on, ["its first block runs at every step"])


def first_block(case: Case, nfe: int, tries: int = 6) -> Way:
    """FirstBlockCache with the threshold that computes so many steps, found on what its first block does uncached."""
    residuals: list[Tensor] = []
    head = case.blocks[0]
    with hooked(head, residuals):
        case()
    low, high = 0.0, 8.0
    best: tuple[int, float] | None = None
    threshold = simulated(residuals, nfe)
    for _ in range(tries):
        found = planned(case, theirs("", diffusers.FirstBlockCacheConfig(threshold=threshold))).count("C")
        if best is None or abs(found - nfe) < best[0]:
            best = (abs(found - nfe), threshold)
        if found == nfe:
            break
        low, high = (threshold, high) if found > nfe else (low, threshold)
        threshold = min((low + high) / 2, 1.1 * low) if low else 0.9 * high
    assert best is not None
    config = diffusers.FirstBlockCacheConfig(threshold=best[1])
    return theirs("FirstBlockCache", config, "its first block runs at every step")


@contextmanager
def hooked(head: nn.Module, residuals: list[Tensor]) -> Iterator[None]:
    def keep(_: Any, args: Any, kwargs: Any, output: Any) -> None:
        entry = kwargs.get("hidden_states", args[0] if args else None)
        residuals.append((output[1] if isinstance(output, tuple) else output) - entry)

    hook = head.register_forward_hook(keep, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def simulated(residuals: list[Tensor], nfe: int) -> float:
    """Return a threshold that computes so many steps of a recorded run."""

    def computes(threshold: float) -> int:
        kept, count = residuals[0], 1
        for residual in residuals[1:]:
            if float((residual - kept).abs().mean() / kept.abs().mean()) > threshold:
                kept, count = residual, count + 1
        return count

    low, high = 1e-6, 8.0
    for _ in range(30):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if computes(middle) > nfe else (low, middle)
    return high
