"""The same kinds of run with padecast and with other caches, on tiny pipelines with random weights.

    python benchmarks/runs_of_others.py [--only WORDS]

Run it from the repository root; it downloads nothing and takes some minutes on one core. The other caches are those
that ship with diffusers, and cache-dit where it is installed (``pip install cache-dit``). Only their public calls are
used. Writes benchmarks/results/runs-of-others.json; ``--only`` takes a part of a scenario's or a library's name, and
writes nothing.

Every scenario states what the right answer is, and a verdict is one of

    right                   the stated answer, and some blocks were skipped
    wrong image             not the stated answer; with the largest absolute difference
    exception               with its type and first line
    computes everything     the stated answer, but nothing was skipped
    left behind             the stated answer, but attributes stay on the modules or classes
    by design               differs, and is meant to
    not installed

Three kinds of right answer are used. Images of two runs that should not know of each other are compared bit by bit.
Steady runs give the model the same input at every step (the latents are put back after each step, and the timestep's
embedding is a constant): whatever is skipped, every output then has to be that of the uncached model, up to rounding.
And with every step computed, the image has to be that of the uncached pipeline, bit by bit.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import inspect
import logging
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import diffusers
import torch
from common import write
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

import padecast
from padecast._provenance import Provenance

STEPS = 8
ROUNDING = 1e-4
"""Of steady runs: a larger share of the largest value than this is not rounding."""

# Pipelines ------------------------------------------------------------------------------------------------------------

FLUX = {
    "num_layers": 2,
    "num_single_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "in_channels": 4,
    "joint_attention_dim": 8,
    "pooled_projection_dim": 8,
    "axes_dims_rope": (4, 4, 8),
}
WAN = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 8,
    "freq_dim": 16,
    "ffn_dim": 32,
    "num_layers": 3,
    "rope_max_seq_len": 32,
}


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def autoencoder() -> nn.Module:
    torch.manual_seed(1)
    return diffusers.AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=1,
        norm_num_groups=2,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.1,
        scaling_factor=0.5,
    ).eval()


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def flux(kind: Any = None, **parts: Any) -> Any:
    torch.manual_seed(0)
    fixed = {
        "transformer": diffusers.FluxTransformer2DModel(**FLUX).eval(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
        "vae": autoencoder(),
        **dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")),
    }
    return quiet((kind or diffusers.FluxPipeline)(**{**fixed, **parts}))


def image_to_image(**parts: Any) -> Any:
    return flux(diffusers.FluxImg2ImgPipeline, **parts)


def controlled() -> Any:
    torch.manual_seed(4)
    net = diffusers.FluxControlNetModel(**FLUX).eval()
    for projection in (*net.controlnet_blocks, *net.controlnet_single_blocks):
        nn.init.normal_(projection.weight)  # they start as zeros, and a control that adds nothing tests nothing
    return flux(diffusers.FluxControlNetPipeline, controlnet=net)


def wan(scheduler: Any = None) -> Any:
    torch.manual_seed(0)
    model = diffusers.WanTransformer3DModel(**WAN).eval()
    scheduler = scheduler or diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    parts = dict.fromkeys(("vae", "text_encoder", "tokenizer"))
    return quiet(diffusers.WanPipeline(transformer=model, scheduler=scheduler, **parts))


def wan_heun() -> Any:
    return wan(diffusers.FlowMatchHeunDiscreteScheduler())


def prompts(count: int, mate: int = 7, first: int = 0, strength: float = 1.0) -> dict[str, Tensor]:
    """Embeddings of one prompt, and of another one in the batch: which prompts, and how large the other's are."""
    shapes = {"prompt_embeds": (5, 8), "negative_prompt_embeds": (5, 8)}
    shapes |= {"pooled_prompt_embeds": (8,), "negative_pooled_prompt_embeds": (8,)}
    which = [(first, 1.0), *[(mate, strength)] * (count - 1)]
    return {
        name: torch.cat([size * random(1, *shape, seed=2 + 1000 * i + own) for own, size in which])
        for i, (name, shape) in enumerate(shapes.items())
    }


def draw(pipe: Any, seed: int = 3, size: int = 16, count: int = 1, guided: bool = False, **options: Any) -> Tensor:
    """Run a pipeline of any of the kinds above."""
    fixed: dict[str, Any] = {"num_inference_steps": STEPS, "output_type": "latent", **prompts(count)}
    fixed["generator"] = [torch.Generator().manual_seed(seed + j) for j in range(count)]
    if isinstance(pipe, diffusers.WanPipeline):
        fixed = {name: value for name, value in fixed.items() if "pooled" not in name}
        fixed |= {"height": 2 * size, "width": 2 * size, "num_frames": 5, "guidance_scale": 5.0 if guided else 1.0}
        return pipe(**{**fixed, **options}).frames
    fixed |= {"height": size, "width": size, "true_cfg_scale": 3.0 if guided else 1.0}
    picture = random(count, 3, size, size, seed=6).sigmoid()
    if isinstance(pipe, diffusers.FluxImg2ImgPipeline):
        fixed |= {"image": picture, "strength": 0.6}
    if isinstance(pipe, diffusers.FluxControlNetPipeline):
        fixed |= {"control_image": picture}
    return pipe(**{**fixed, **options}).images


def steadied(pipe: Any) -> Any:
    """Make a pipeline's models blind to the timestep."""
    for name, model in pipe.components.items():
        if name in ("transformer", "controlnet"):
            for path, part in model.named_modules():
                if path.endswith(("timestep_embedder", "time_embedder")):
                    nn.init.zeros_(part.linear_2.weight)
    return pipe


def putting_back(pipe: Any) -> dict[str, Any]:
    """What makes a run steady: the latents it starts from, and puts back after each step."""
    latents = random(1, 4, 2, 4, 4, seed=8) if isinstance(pipe, diffusers.WanPipeline) else random(1, 16, 4, seed=8)
    return {"latents": latents.clone(), "callback_on_step_end": lambda *_: {"latents": latents.clone()}}


# Libraries ------------------------------------------------------------------------------------------------------------

Off = Callable[[], None]


@dataclass(frozen=True)
class Library:
    """A cache and how it is switched on, through its public calls alone.

    Args:
        name: As in the table.
        settings: How it was switched on, in words.
        on: Switches it on for a pipeline and a grid of so many places; returns what switches it off.
        always: The same with every step computed.
        remedies: By scenario, what the library offers where the plain call fails: a sentence and changed fields.
        outer: Whether the caller opens a cache context around every run.
        tidy: Whether the caller calls ``maybe_free_model_hooks`` after an interrupted run.
        also: Another threshold, for the scenario in which one may by luck not be crossed: in words, and its switch.
    """

    name: str
    settings: str
    on: Callable[[Any, int], Off]
    always: Callable[[Any, int], Off]
    remedies: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    outer: bool = False
    tidy: bool = False
    also: tuple[str, Callable[[Any, int], Off]] | None = None


def even(total: int) -> str:
    return ("CC" + ".C" * total)[:total]


def plan_on(pipe: Any, total: int) -> Off:
    return padecast.enable(pipe, policy=f"plan:steps={even(total)}", forecaster="lagrange").disable


def plan_always(pipe: Any, total: int) -> Off:
    return padecast.enable(pipe, policy=f"plan:steps={'C' * total}", forecaster="lagrange").disable


def ours(method: str) -> Library:
    return Library(
        f"padecast, {method.partition(':')[0]}",
        f"padecast.enable(pipe, {method!r})",
        lambda pipe, total: padecast.enable(pipe, method).disable,
        lambda pipe, total: padecast.enable(pipe, "none").disable,
    )


Configure = Callable[[Any, bool, Callable[[], float]], Any]


def timestep_of(model: nn.Module) -> tuple[Callable[[], float], Off]:
    """Read the timestep that a model is called with: not every pipeline has the property of the documented example."""
    told = [0.0]

    def tell(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        value = float(kwargs["timestep"].flatten()[0])
        told[0] = 1000 * value if isinstance(model, diffusers.FluxTransformer2DModel) else value

    hook = model.register_forward_pre_hook(tell, with_kwargs=True)
    return lambda: told[0], hook.remove


def theirs(name: str, settings: str, configure: Configure, remedies: dict[str, Any]) -> Library:
    """One of diffusers' own caches, from what builds its configuration for a pipeline."""

    def switch(always: bool) -> Callable[[Any, int], Off]:
        def on(pipe: Any, total: int) -> Off:
            timestep, forget = timestep_of(pipe.transformer)
            pipe.transformer.enable_cache(configure(pipe, always, timestep))

            def off() -> None:
                pipe.transformer.disable_cache()
                forget()

            return off

        return on

    text = f"pipe.transformer.enable_cache({settings})"
    return Library(name, text, switch(False), switch(True), remedies)


def first_block(pipe: Any, always: bool, timestep: Any) -> Any:
    return diffusers.FirstBlockCacheConfig(threshold=-1.0 if always else 0.4)


def taylorseer(pipe: Any, always: bool, timestep: Any, **changes: Any) -> Any:
    warmup = 10**6 if always else 2
    return diffusers.TaylorSeerCacheConfig(
        cache_interval=3, disable_cache_before_step=warmup, taylor_factors_dtype=torch.float32, **changes
    )


def taylorseer_named(pipe: Any, always: bool, timestep: Any) -> Any:
    return taylorseer(pipe, always, timestep, cache_identifiers=[r"blocks\.\d+\.attn[12]"])


def magcache(pipe: Any, always: bool, timestep: Any) -> Any:
    return diffusers.MagCacheConfig(
        mag_ratios=[1.0] * STEPS, num_inference_steps=STEPS, max_skip_steps=2, threshold=-1.0 if always else 0.06
    )


def fastercache(pipe: Any, always: bool, timestep: Any) -> Any:
    changes = {"spatial_attention_timestep_skip_range": (-2, -1)} if always else {}
    return diffusers.FasterCacheConfig(
        is_guidance_distilled=True,
        tensor_format="BCHW",
        attention_weight_callback=lambda _: 0.5,
        current_timestep_callback=timestep,
        **changes,
    )


def broadcast(pipe: Any, always: bool, timestep: Any) -> Any:
    return diffusers.PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=1 if always else 2, current_timestep_callback=timestep
    )


def cache_dit_on(pipe: Any, total: int, **changes: Any) -> Off:
    import cache_dit

    settings = {"Fn_compute_blocks": 1, "max_warmup_steps": 2, "max_continuous_cached_steps": 2}
    settings |= {"residual_diff_threshold": 0.5, **changes}
    cache_dit.enable_cache(pipe, cache_config=cache_dit.DBCacheConfig(**settings))
    return lambda: cache_dit.disable_cache(pipe)


def cache_dit_always(pipe: Any, total: int) -> Off:
    return cache_dit_on(pipe, total, max_warmup_steps=10**6)


def cache_dit_strict(pipe: Any, total: int) -> Off:
    return cache_dit_on(pipe, total, residual_diff_threshold=0.35)


def cache_dit_separate(pipe: Any, total: int) -> Off:
    return cache_dit_on(pipe, total, enable_separate_cfg=True)


TIDY = ("pipe.maybe_free_model_hooks() called after the interruption", {"tidy": True})
OUTER = ("transformer.cache_context(...) opened by the caller around the run", {"outer": True})
SEPARATE = ("enable_separate_cfg=True, as its documentation asks for such models", {"on": cache_dit_separate})
INTERRUPTED = dict.fromkeys(("interrupted", "interrupted, then larger", "interrupted, then a batch"), TIDY)
NO_CONTEXT = {**INTERRUPTED, **dict.fromkeys(("image to image", "unnamed branches", "controls"), OUTER)}

NAMED = (
    "cache_identifiers given, since its default ones name no attention of Wan",
    {"on": theirs("", "", taylorseer_named, {}).on, "always": theirs("", "", taylorseer_named, {}).always},
)

LIBRARIES = (
    Library(
        "padecast, plan",
        f'padecast.enable(pipe, policy="plan:steps={even(STEPS)}", forecaster="lagrange")',
        plan_on,
        plan_always,
    ),
    ours("tc-pade"),
    replace(ours("adaptive:tolerance=0.1"), also=("tolerance=0.03", ours("adaptive:tolerance=0.03").on)),
    theirs("FirstBlockCache", "FirstBlockCacheConfig(threshold=0.4)", first_block, NO_CONTEXT),
    theirs(
        "TaylorSeerCache",
        "TaylorSeerCacheConfig(cache_interval=3, disable_cache_before_step=2, taylor_factors_dtype=torch.float32)",
        taylorseer,
        {**NO_CONTEXT, **dict.fromkeys(("Wan", "Heun"), NAMED)},
    ),
    theirs(
        "MagCache",
        f"MagCacheConfig(mag_ratios=[1.0] * {STEPS}, num_inference_steps={STEPS}, max_skip_steps=2)",
        magcache,
        INTERRUPTED,
    ),
    theirs(
        "FasterCache",
        "FasterCacheConfig(is_guidance_distilled=True, attention_weight_callback=lambda _: 0.5, ...)",
        fastercache,
        INTERRUPTED,
    ),
    theirs(
        "PyramidAttention",
        "PyramidAttentionBroadcastConfig(spatial_attention_block_skip_range=2, ...)",
        broadcast,
        INTERRUPTED,
    ),
    Library(
        "cache-dit",
        "cache_dit.enable_cache(pipe, cache_config=DBCacheConfig(Fn_compute_blocks=1, max_warmup_steps=2, "
        "max_continuous_cached_steps=2, residual_diff_threshold=0.5))",
        cache_dit_on,
        cache_dit_always,
        dict.fromkeys(("named branches", "unnamed branches"), SEPARATE),
        also=("residual_diff_threshold=0.35", cache_dit_strict),
    ),
)

# Looking --------------------------------------------------------------------------------------------------------------


class Watch:
    """Counts which attentions of a model really ran in each of its calls, and keeps what the calls returned."""

    def __init__(self, model: nn.Module) -> None:
        self.ran: list[int] = []
        self.outputs: list[Tensor] = []
        queries = [part for name, part in model.named_modules() if name.endswith("to_q")]
        self.all = len(queries)
        self._hooks = [query.register_forward_hook(self._count) for query in queries]
        self._hooks += [model.register_forward_pre_hook(self._enter), model.register_forward_hook(self._leave)]

    def _enter(self, *_: Any) -> None:
        self.ran.append(0)

    def _count(self, *_: Any) -> None:
        self.ran[-1] += 1

    def _leave(self, module: Any, args: Any, output: Any) -> None:
        self.outputs.append(output[0].clone())

    @property
    def plan(self) -> str:
        """One letter for each call of the model: C if every attention ran, a dot if fewer did."""
        return "".join("C" if ran == self.all else "." for ran in self.ran)

    @property
    def share(self) -> str:
        """Attentions that ran, of those that the model has in so many calls."""
        return f"{sum(self.ran)} of {self.all * len(self.ran)} attentions ran"

    def clear(self) -> None:
        self.ran, self.outputs = [], []

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()


class Rig:
    """A fresh pipeline, watched, with a library switched on or with none."""

    def __init__(self, library: Library | None, make: Callable[..., Any] = flux, always: bool = False) -> None:
        self.library, self.pipe = library, make()
        self.watch = Watch(self.pipe.transformer)
        self.off: Off = lambda: None
        if library is not None:
            self.on(always)

    def on(self, always: bool = False) -> None:
        assert self.library is not None
        heun = "Heun" in type(self.pipe.scheduler).__name__
        switch = self.library.always if always else self.library.on
        self.off = switch(self.pipe, 2 * STEPS - 1 if heun else STEPS)

    def draw(self, **options: Any) -> Tensor:
        self.watch.clear()
        with self._context():
            return draw(self.pipe, **options)

    def _context(self) -> contextlib.AbstractContextManager[None]:
        outer = self.library is not None and self.library.outer
        return self.pipe.transformer.cache_context("the only one") if outer else contextlib.nullcontext()


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@dataclass
class Finding:
    """What came of a scenario with a library.

    Args:
        verdict: One of those in the module's docstring.
        measured: What was measured, in a sentence.
        difference: The largest absolute difference to the right answer.
        scale: The largest absolute value of the right answer.
        plan: Which calls of the model were computed.
    """

    verdict: str
    measured: str
    difference: float | None = None
    scale: float | None = None
    plan: str | None = None


def judged(difference: float, expected: Tensor, watch: Watch, measured: str, allowed: float = 0.0) -> Finding:
    """Judge a difference; ``allowed`` is a share of the largest value of the right answer."""
    scale = float(expected.abs().max())
    if difference > allowed * scale or difference != difference:
        verdict = "wrong image"
    else:
        verdict = "right" if "." in watch.plan else "computes everything"
    return Finding(verdict, f"{measured}; {watch.share}", difference, scale, watch.plan)


def failed(error: BaseException) -> Finding:
    lines = str(error).strip().splitlines() or [""]
    return Finding("exception", f"{type(error).__name__}: {lines[0][:200]}")


def worst(findings: list[Finding]) -> Finding:
    order = ("exception", "wrong image", "by design", "left behind", "computes everything", "right")
    return min(findings, key=lambda f: (order.index(f.verdict), -(f.difference or 0.0)))


# Scenarios ------------------------------------------------------------------------------------------------------------


def plain(library: Library) -> Finding:
    expected = Rig(None).draw()
    computed = Rig(library, always=True)
    difference = apart(computed.draw(), expected)
    rig = Rig(library)
    lost = apart(rig.draw(), expected)
    text = f"with every step computed differs by {difference:.2g} from uncached, with steps skipped by {lost:.2g}"
    return judged(difference, expected, rig.watch, text)


def stopping(at: int) -> Callable[..., dict[str, Any]]:
    def stop(pipe: Any, step: int, *_: Any) -> dict[str, Any]:
        if step == at:
            raise KeyboardInterrupt
        return {}

    return stop


def next_runs(count: int) -> dict[str, dict[str, Any]]:
    """What is drawn after an interrupted run."""
    same, other = prompts(count), prompts(count, first=9)
    return {
        "another seed": {"seed": 4, **same},
        "another prompt": other,
        "a similar prompt": {name: value + 0.1 * other[name] for name, value in same.items()},
    }


def interrupted(library: Library, at: int, expected: Tensor, second: dict[str, Any]) -> Finding:
    """Interrupt a run after one of its steps; the next one has to be that of a fresh pipeline."""
    rig = Rig(library)
    with contextlib.suppress(KeyboardInterrupt):
        rig.draw(callback_on_step_end=stopping(at))
    if library.tidy:
        rig.pipe.maybe_free_model_hooks()
    try:
        found = judged(apart(rig.draw(**second), expected), expected, rig.watch, "")
    except Exception as error:
        found = failed(error)
    return found


def after_interruption(library: Library, **changes: Any) -> Finding:
    """Interrupt after every step in turn, and draw another seed or prompt then."""
    findings: list[Finding] = []
    for what, second in next_runs(changes.get("count", 1)).items():
        fresh, second = Rig(library), {**second, **changes}
        expected = fresh.draw(**second)
        for at in range(STEPS - 1):
            found = interrupted(library, at, expected, second)
            text = f"; worst after step {at}, then {what}: {found.measured.strip('; ')}, not plan {fresh.watch.plan}"
            findings.append(replace(found, measured=text))
    found, bad = worst(findings), sum(f.verdict in ("exception", "wrong image") for f in findings)
    if not bad:
        return replace(found, measured=f"right after all {len(findings)} interruptions")
    return replace(found, measured=f"wrong after {bad} of {len(findings)} interruptions{found.measured}")


def steady(library: Library, make: Callable[..., Any], guided: bool = False, **options: Any) -> Finding:
    """Give the model the same input at every step."""
    uncached, rig = (Rig(one, lambda: steadied(make())) for one in (None, library))
    for each in (uncached, rig):
        each.draw(guided=guided, **putting_back(each.pipe), **options)
    right, got = torch.stack(uncached.watch.outputs), torch.stack(rig.watch.outputs)
    branches = 2 if guided else 1
    assert apart(right, right[:branches].repeat(len(right) // branches, *[1] * (right.dim() - 1))) < 1e-6
    text = f"steady run: outputs differ by {apart(got, right):.2g} from the uncached model"
    if branches > 1:
        text += f", whose branches differ by {apart(right[0], right[1]):.2g}"
    return judged(apart(got, right), right, rig.watch, text, ROUNDING)


def repeated(library: Library, make: Callable[..., Any], **options: Any) -> tuple[Finding, Rig]:
    """Draw twice with one pipeline: the second image has to be the first."""
    rig = Rig(library, make)
    first = rig.draw(**options)
    difference = apart(rig.draw(**options), first)
    return judged(difference, first, rig.watch, f"a second run differs by {difference:.2g}"), rig


def exact(library: Library, make: Callable[..., Any], **options: Any) -> Finding:
    """With every step computed, the image has to be the uncached one."""
    expected = Rig(None, make).draw(**options)
    rig = Rig(library, make, always=True)
    difference = apart(rig.draw(**options), expected)
    found = judged(difference, expected, rig.watch, "")
    verdict = "wrong image" if found.verdict == "wrong image" else "right"
    return replace(found, verdict=verdict, measured=f"with every step computed differs by {difference:.2g}", plan=None)


def in_all(library: Library, make: Callable[..., Any], **options: Any) -> Finding:
    """A kind of run: repeatable, exact with every step computed, exact in steady runs."""
    again, rig = repeated(library, make, **options)
    lost = apart(rig.draw(**options), Rig(None, make).draw(**options))
    found = [exact(library, make, **options), steady(library, make, **options), again]
    text = "; ".join([*dict.fromkeys(f.measured for f in found), f"the image differs by {lost:.2g} from uncached"])
    return replace(worst(found), measured=text, plan=again.plan)


def from_the_middle(library: Library) -> Finding:
    plain_run = Rig(library)
    plain_run.draw()
    found = in_all(library, image_to_image)
    ran = len(found.plan or "")
    return replace(
        found,
        measured=f"{found.measured}; its {ran} calls have the plan {found.plan}, in a whole run the same places have "
        f"{plain_run.watch.plan[-ran:]} and the first ones {plain_run.watch.plan[:ran]}",
    )


def of_two_branches(make: Callable[..., Any], **options: Any) -> Callable[[Library], Finding]:
    def scenario(library: Library) -> Finding:
        return in_all(library, make, guided=True, **options)

    return scenario


def beside(pipe: Any, kind: Any) -> Any:
    """Another pipeline with the same transformer and a scheduler of its own."""
    return quiet(kind.from_pipe(pipe, scheduler=diffusers.FlowMatchEulerDiscreteScheduler()))


def visited(library: Library, kind: Any, at: int, other: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Draw with the other pipeline in the middle of a run and after it: the two images, and that of the run."""
    rig, within = Rig(library), []
    guest = beside(rig.pipe, kind)

    def visit(pipe: Any, step: int, *_: Any) -> dict[str, Any]:
        if step == at:
            within.append(draw(guest, **other))
        return {}

    host = rig.draw(callback_on_step_end=visit)
    return within[0], draw(guest, **other), host


def sharing(library: Library, kind: Any) -> Finding:
    """Let another pipeline on the same transformer draw: in the middle of a run of the first, and after it."""
    alone, other = Rig(library), prompts(1, first=9)
    first, untouched = alone.draw(), draw(beside(Rig(None).pipe, kind), **other)
    cached = Rig(library, lambda: beside(flux(), kind)).draw(**other)
    apart_by = [0.0, 0.0, 0.0]
    for at in range(STEPS - 1):
        during, after, host = visited(library, kind, at, other)
        found = (*(min(apart(image, untouched), apart(image, cached)) for image in (during, after)), apart(host, first))
        apart_by = [max(pair) for pair in zip(apart_by, found, strict=True)]
    is_cached = "neither" if apart_by[1] else "uncached" if torch.equal(after, untouched) else "cached too"
    text = f"the other's image differs by {apart_by[0]:.2g} in the middle of a run, by {apart_by[1]:.2g} after it "
    text += f"({is_cached}), that of the run by {apart_by[2]:.2g}"
    return replace(judged(max(apart_by), first, alone.watch, text), plan=None)


def enabled_late(library: Library) -> Finding:
    fresh = Rig(library)
    expected = fresh.draw()
    rig = Rig(None)
    rig.draw()
    rig.library = library
    rig.on()
    difference = apart(rig.draw(), expected)
    text = f"differs by {difference:.2g} from a pipeline that had it on from the start, plan {rig.watch.plan} for "
    return judged(difference, expected, rig.watch, text + fresh.watch.plan)


def holds(model: nn.Module, pipe: Any) -> dict[str, dict[str, Any]]:
    """What every part of a model, its pipeline and their classes hold: names, and which object each is."""

    def contents(thing: Any) -> dict[str, Any]:
        items = dict(vars(thing)).items()
        return {key: tuple(value.items()) if isinstance(value, dict) else id(value) for key, value in items}

    found = {f"transformer.{name}": contents(part) for name, part in model.named_modules()}
    classes = {kind for part in model.modules() for kind in type(part).__mro__} | {*type(pipe).__mro__}
    found |= {f"class {kind.__qualname__}": contents(kind) for kind in classes if kind is not object}
    return {**found, "pipeline": contents(pipe)}


def disabled(library: Library) -> Finding:
    """Compare all that model, pipeline and classes hold after a run without it, and after a run with it and its end."""
    rig = Rig(None)
    rig.watch.remove()
    expected = draw(rig.pipe)
    before = holds(rig.pipe.transformer, rig.pipe)
    rig.library = library
    rig.on()
    draw(rig.pipe)
    rig.off()
    after = holds(rig.pipe.transformer, rig.pipe)
    left = sorted({key for name in before for key in after[name] if after[name][key] != before[name].get(key)})
    gone = sorted({key for name in before for key in before[name] if key not in after[name]})
    where = sum(before[name] != after[name] for name in before)
    difference = apart(draw(rig.pipe), expected)
    text = f"the image differs by {difference:.2g} from before; changed on {where} of {len(before)} modules and classes"
    if left or gone:
        text += f": left {', '.join(left) or 'nothing'}, lost {', '.join(gone) or 'nothing'}"
    verdict = "wrong image" if difference else "left behind" if left or gone else "right"
    return Finding(verdict, text, difference, float(expected.abs().max()))


def mates(library: Library) -> Finding:
    """Draw one sample beside several others; with another threshold too where there is one."""
    found = beside_mates(library)
    if library.also is None:
        return found
    words, on = library.also
    other = beside_mates(replace(library, on=on))
    return replace(worst([found, other]), measured=f"{found.measured}; with {words} {other.measured}")


def beside_mates(library: Library) -> Finding:
    rig, uncached = Rig(library), Rig(None)
    alone, expected = rig.draw(), uncached.draw()
    plans, difference, rounding = {rig.watch.plan}, 0.0, 0.0
    for mate in range(7, 19):
        options = {"count": 2, **prompts(2, mate, strength=float(mate - 6))}
        difference = max(difference, apart(rig.draw(**options)[:1], alone))
        plans.add(rig.watch.plan)
        rounding = max(rounding, apart(uncached.draw(**options)[:1], expected))
    text = f"differs by up to {difference:.2g} from the sample drawn alone, uncached by {rounding:.2g} (rounding); "
    found = judged(difference, alone, rig.watch, text + f"plans {', '.join(sorted(plans))}", ROUNDING)
    return replace(found, verdict="by design" if found.verdict == "wrong image" else found.verdict, plan=None)


@dataclass(frozen=True)
class Scenario:
    """A kind of run.

    Args:
        title: As in the table.
        right: What the right answer is.
        look: Runs it with a library.
    """

    title: str
    right: str
    look: Callable[[Library], Finding]


KIND = (
    "repeatable, uncached bit by bit with every step computed, the uncached outputs in a steady run, something skipped"
)

SHARED = (
    "the run's image as it is without the other pipeline; the other's as it is uncached, or as it is with the cache "
    "switched on for it alone (all of diffusers' caches are documented as the model's)"
)

SCENARIOS = {
    "plain": Scenario(
        "FLUX, text to image", "with every step computed the uncached image, and otherwise something skipped", plain
    ),
    "interrupted": Scenario(
        "Ctrl-C in a callback, then the next run",
        "the image of a fresh pipeline with the same cache, bit by bit, after whichever step it came",
        after_interruption,
    ),
    "interrupted, then larger": Scenario(
        "Ctrl-C, then another size",
        "as above, the next image larger",
        lambda one: after_interruption(one, size=24),
    ),
    "interrupted, then a batch": Scenario(
        "Ctrl-C, then a batch",
        "as above, the next run with two images",
        lambda library: after_interruption(library, count=2),
    ),
    "image to image": Scenario("FLUX image to image, strength 0.6, one branch", KIND, from_the_middle),
    "named branches": Scenario("FLUX, two branches, cache contexts", KIND, of_two_branches(flux)),
    "unnamed branches": Scenario(
        "FLUX image to image, two branches, no cache contexts", KIND, of_two_branches(image_to_image, strength=1.0)
    ),
    "Wan": Scenario("Wan, two branches, cache contexts", KIND, of_two_branches(wan)),
    "Heun": Scenario("Wan, Heun's method, one branch", KIND, lambda library: in_all(library, wan_heun)),
    "shared transformer": Scenario(
        "two FLUX pipelines share a transformer", SHARED, lambda one: sharing(one, diffusers.FluxPipeline)
    ),
    "shared, other class": Scenario(
        "FLUX and FLUX image to image share a transformer",
        SHARED,
        lambda one: sharing(one, diffusers.FluxImg2ImgPipeline),
    ),
    "enabled late": Scenario(
        "switched on after a run", "the image of a pipeline that had it on from the start", enabled_late
    ),
    "controls": Scenario("FLUX ControlNet", KIND, lambda library: in_all(library, controlled)),
    "disabled": Scenario(
        "switched off",
        "the image of before, bit by bit, and nothing added to, changed on or lost from modules, pipeline or classes",
        disabled,
    ),
    "batch mates": Scenario(
        "batch of two",
        "the sample as it is drawn alone, up to rounding; a rule that decides for the batch as a whole is by design",
        mates,
    ),
}

NEEDS = (
    "the error names the call it needs, which this pipeline does not make and its caller can make for one branch only"
)
RESETS = "its state is reset at the end of a run, which an interrupted run does not reach"
BATCHED = "keeps one history per attention, whichever branch runs"
FASTER = f"{BATCHED}; its documentation asks for branches that are concatenated to one batch, which these are not"
LEFT = "empty registries and a forward on the instance stay, which calls the class's own"
BATCH = "decides by a mean over the batch"
COUNTED = "counts calls, not places in the schedule"
AGAIN = "the run in the middle ends with a reset of the state that both share"
TWICE = "the stored residual holds the controls, and the model adds them again between the skipped blocks"
LATE = "expects to run before its timestep range begins, which is an option (-1, 681 by default)"

NOTES: dict[tuple[str, str], str] = {
    **{
        ("interrupted" + more, name): RESETS
        for more in ("", ", then larger", ", then a batch")
        for name in ("FirstBlockCache", "TaylorSeerCache", "MagCache", "FasterCache", "PyramidAttention")
    },
    **{
        (where, name): NEEDS
        for where in ("image to image", "unnamed branches", "controls", "shared, other class")
        for name in ("FirstBlockCache", "TaylorSeerCache")
    },
    **{(where, "PyramidAttention"): BATCHED for where in ("named branches", "unnamed branches", "Wan")},
    **{(where, "FasterCache"): FASTER for where in ("named branches", "unnamed branches", "Wan")},
    **{
        ("disabled", name): LEFT
        for name in ("FirstBlockCache", "TaylorSeerCache", "MagCache", "FasterCache", "PyramidAttention")
    },
    **{("batch mates", name): BATCH for name in ("padecast, adaptive", "FirstBlockCache", "cache-dit")},
    **{("Heun", name): COUNTED for name in ("TaylorSeerCache", "FasterCache", "PyramidAttention", "cache-dit")},
    **{
        ("shared transformer", name): AGAIN
        for name in ("FirstBlockCache", "TaylorSeerCache", "MagCache", "PyramidAttention", "cache-dit")
    },
    ("Heun", "MagCache"): f"{COUNTED}: begins anew in the middle, after num_inference_steps calls",
    (
        "unnamed branches",
        "MagCache",
    ): "takes both branches for one run where no context is open, and begins anew halfway",
    ("shared, other class", "MagCache"): AGAIN,
    ("shared, other class", "PyramidAttention"): AGAIN,
    ("controls", "FirstBlockCache"): f"{NEEDS}; with it, {TWICE}",
    ("controls", "MagCache"): TWICE,
    ("image to image", "FasterCache"): LATE,
    ("shared transformer", "FasterCache"): f"{AGAIN}; it then {LATE}",
    ("shared, other class", "FasterCache"): LATE,
    ("Wan", "TaylorSeerCache"): "its default identifiers match attn, and Wan's are attn1 and attn2: nothing is said",
    ("named branches", "cache-dit"): "takes both branches for one run unless told; told, it tells them by turns",
    ("unnamed branches", "cache-dit"): "takes both branches for one run unless told; told, it tells them by turns",
    ("shared, other class", "cache-dit"): "the other class's call does not open the context in which the blocks cache",
    ("controls", "cache-dit"): "its forward calls all blocks as one, and adds only the first control, after the last "
    "block, with every step computed too",
    ("disabled", "cache-dit"): "its own forward of FLUX stays on the instance, and the order of the submodules changes",
}

# Running --------------------------------------------------------------------------------------------------------------


class Warned(logging.Handler):
    """Keeps the first lines of what a library warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("diffusers.hooks"):
            self.lines[record.getMessage().splitlines()[0]] = None


@contextlib.contextmanager
def warned() -> Iterator[Warned]:
    handler, logger = Warned(), logging.getLogger("diffusers")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


def looked(scenario: str, library: Library) -> Finding:
    try:
        return SCENARIOS[scenario].look(library)
    except Exception as error:
        return failed(error)


def cell(place: tuple[str, int]) -> dict[str, Any]:
    """Run a scenario with a library; what the library asks for in addition is tried where the plain call fails."""
    torch.set_num_threads(1)
    scenario, library = place[0], LIBRARIES[place[1]]
    if library.name == "cache-dit" and not version("cache-dit"):
        return {"scenario": scenario, "library": library.name, **asdict(Finding("not installed", ""))}
    with warned() as heard:
        found = looked(scenario, library)
    document = {"scenario": scenario, "library": library.name, **asdict(found), "warned": list(heard.lines)}
    if scenario in library.remedies and found.verdict not in ("right", "by design"):
        text, changes = library.remedies[scenario]
        document["remedy"] = {"what": text, **asdict(looked(scenario, replace(library, **changes)))}
    return {**document, "note": NOTES.get((scenario, library.name))}


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def places(words: str) -> list[tuple[str, int]]:
    every = [(scenario, i) for scenario in SCENARIOS for i in range(len(LIBRARIES))]
    return [(s, i) for s, i in every if words in s or words in LIBRARIES[i].name]


def results(wanted: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """Run each in a process of its own, one after the other: some caches change classes."""
    for make in (flux, image_to_image, controlled, wan, wan_heun):
        make()  # what diffusers imports only now, the processes have from the start
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        return list(track(pool.imap(cell, wanted), "runs", total=len(wanted), console=Console(stderr=True)))


def short(found: dict[str, Any]) -> str:
    wrong = found["verdict"] in ("wrong image", "by design") and found["difference"] is not None
    text = f"{found['verdict']} {found['difference']:.2g}" if wrong else str(found["verdict"])
    return f"{text}\n→ {short(found['remedy'])}" if "remedy" in found else text


def table(findings: list[dict[str, Any]]) -> Table:
    shown = Table(title="Runs of others (→ with what the library offers in addition)", show_lines=True)
    columns = list(dict.fromkeys(f["library"] for f in findings))
    for heading in ("", *columns):
        shown.add_column(heading, overflow="fold")
    for scenario in dict.fromkeys(f["scenario"] for f in findings):
        row = {f["library"]: short(f) for f in findings if f["scenario"] == scenario}
        shown.add_row(scenario, *(row.get(name, "") for name in columns))
    return shown


def document(findings: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "provenance": asdict(Provenance.of()),
        "cache_dit": version("cache-dit"),
        "verdicts": inspect.getdoc(sys.modules[__name__]),
        "libraries": {library.name: library.settings for library in LIBRARIES},
        "scenarios": {name: {"title": s.title, "right": s.right} for name, s in SCENARIOS.items()},
        "findings": findings,
    }


def main() -> None:
    """Run, write, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="part of a scenario's or a library's name; nothing is written")
    only = parser.parse_args().only
    torch.set_num_threads(1)  # a process that ran threads cannot be forked safely
    logging.getLogger("diffusers").setLevel(logging.WARNING)
    findings = results(places(only))
    if not only:
        write("runs-of-others.json", document(findings))
    Console(width=max(Console().width, 190)).print(table(findings))
    if only:
        for found in findings:
            Console(width=190).print(found)


if __name__ == "__main__":
    main()
