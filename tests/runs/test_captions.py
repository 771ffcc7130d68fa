"""With a fixed plan an image does not depend on the captions of its batch mates, whatever a forecast looks at."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from tests.runs.family import build, model
from tests.targets.batches import accelerated, levels
from tests.targets.captions import CAPTIONS, Captions, real, words
from tests.targets.case import noise
from torch import Tensor, nn

from padecast import Geometry, Position, Trace, accelerate
from padecast.forecasters import Feedback, Forecaster, Lagrange, Pade, TCPade, ToCa, Wiener
from padecast.policies import FirstBlock, Plan

pytestmark = [
    pytest.mark.filterwarnings("ignore:In CPU autocast"),  # Mochi asks for an autocast that a CPU has not
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers' schedulers
]

padded = pytest.mark.fault("padded rows")
PLAN = "CC.C"
POSITIONS = ("QwenImage21Transformer2DModel",)
"""Classes that place image tokens behind the longest caption of the batch, so that images differ without padecast."""
BOTH = [c for c in CAPTIONS if c.case.model not in POSITIONS]
FEW = ("ZImage", "Lumina2", "OmniGen", "Chroma", "HunyuanVideo15")
JOINT = ("ZImage", "Lumina2", "Ernie", "Krea2", "Ideogram4", "OmniGen", "BriaFibo2", "QwenImage21")
"""Classes whose one stream holds image and caption."""


@cache
def made(name: str) -> nn.Module:
    return next(captions.case.make() for captions in CAPTIONS if str(captions) == name)


def drawn(captions: Captions, who: Sequence[int], forecaster: Forecaster | None = None, span: str = "full") -> Tensor:
    """What becomes of samples 0, with the long caption, and 1, with the short one, at three noise levels."""
    outputs, transformer = [], made(str(captions))
    with contextlib.ExitStack() as stack:
        if forecaster is not None:
            run = stack.enter_context(accelerated(transformer, PLAN, forecaster, span, len(PLAN)))
        for step, level in enumerate(levels(captions.case, 3)):
            lengths = [(captions.long, captions.short)[place] for place in who]
            outputs.append(captions.call(transformer, lengths, [10 * step + place for place in who], level))
        if forecaster is not None:
            assert run.report.plan == PLAN[:3]
    return torch.stack([torch.cat([x.flatten() for x in samples]) for samples in zip(*outputs, strict=True)])


@cache
def uncached(name: str) -> float:
    """Greatest difference of the sample with the short caption, in a batch and alone, without padecast."""
    return apart(next(captions for captions in CAPTIONS if str(captions) == name))


def apart(captions: Captions, forecaster: Forecaster | None = None, span: str = "full") -> float:
    """The same with it."""
    alone = drawn(captions, (1,), forecaster, span)
    return float((drawn(captions, (0, 1), forecaster, span)[1:] - alone).abs().max())


@padded
@pytest.mark.parametrize(
    ("captions", "span"),
    [(c, span) for c in BOTH for span in ("full", "halves")]
    + [pytest.param(c, "modules", marks=() if str(c).startswith(FEW) else pytest.mark.slow) for c in BOTH],
    ids=str,
)
def test_a_sample_is_what_it_is_alone(captions: Captions, span: str) -> None:
    if (span == "full") != str(captions).startswith(JOINT) and span != "modules":
        pytest.skip("one stream holds image and caption" if span == "halves" else "the caption is not remembered")
    assert apart(captions, TCPade(), span) < 1e-5 + 10 * uncached(str(captions))


ELSEWHERE = ("ErnieImage", "BriaFibo2", "Mochi")
"""Refused; puts captions elsewhere in a batch; attends to every sample by itself, which is seen of a single one."""


@padded
@pytest.mark.parametrize(
    "captions",
    [
        pytest.param(c, marks=() if str(c).startswith(FEW) else pytest.mark.slow)
        for c in BOTH
        if not str(c).startswith(ELSEWHERE)
    ],
    ids=str,
)
def test_chosen_tokens_are_those_of_the_sample_alone(captions: Captions) -> None:
    assert apart(captions, ToCa(0.3), "modules") < 1e-5 + 10 * uncached(str(captions))


@padded
@pytest.mark.parametrize("captions", [c for c in BOTH if str(c).startswith(("ZImage", "Ideogram4"))], ids=str)
@pytest.mark.parametrize("span", ["output"])
def test_an_output_that_holds_the_caption_or_is_a_list(captions: Captions, span: str) -> None:
    assert apart(captions, TCPade(), span) < 1e-5 + 10 * uncached(str(captions))


@padded
@pytest.mark.parametrize("captions", BOTH[1:3], ids=str)
@pytest.mark.parametrize(
    "forecaster", [Pade(), Feedback(Pade()), TCPade(form="published"), Lagrange(2), Wiener()], ids=lambda f: str(f)[:16]
)
def test_all_that_weighs_by_data_or_by_time(captions: Captions, forecaster: Forecaster) -> None:
    assert apart(captions, forecaster) < 1e-5 + 10 * uncached(str(captions))


@pytest.mark.parametrize("captions", CAPTIONS, ids=str)
def test_rows_that_fill_up_are_told_from_those_of_a_sample(captions: Captions) -> None:
    """Of every masked stream of the first block as many rows count as the caption, and the image, has."""
    from padecast import targets
    from padecast.hooks.blocks.blocks import Block
    from padecast.targets.parts import lookup

    target, transformer, seen = targets.find(made(str(captions))), made(str(captions)), []
    path = next(iter(target.blocks))
    block = Block(lookup(transformer, path)[0], target.returns(path))
    hook = block.module.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(block.rows(target, args, kwargs)), with_kwargs=True
    )
    lengths = (captions.long, captions.short)
    captions.call(transformer, lengths, (0, 1), 0.5)
    hook.remove()
    counts = [mask.sum(1) for _, mask in seen[0].values() if mask is not None]
    assert counts
    text = sum(count[0] - count[1] for count in counts)
    longer = 32 if "ZImage" in str(captions) else captions.long - captions.short  # it fills up to 32 by itself
    if "BriaFibo2" in str(captions):
        assert text > 0  # as many gist tokens as it makes of a caption
    else:
        assert text in (longer, 2 * longer)  # HunyuanVideo-1.5 is given two captions


@pytest.mark.parametrize("captions", [c for c in CAPTIONS if str(c).startswith(("ErnieImage", "Krea2"))], ids=str)
def test_where_captions_are_alike_nothing_changes(captions: Captions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask that masks nothing gives the same numbers as none, to the last bit."""
    import dataclasses

    from padecast import targets

    with monkeypatch.context() as patch:
        target = targets.find(made(str(captions)))
        patch.setitem(targets.REGISTRY, target.model, dataclasses.replace(target, masks={}))
        expected = drawn(captions, (0,), TCPade())
    assert torch.equal(drawn(captions, (0,), TCPade()), expected)


# What a policy sees ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Looking(FirstBlock):
    """Computes, and notes what it was shown."""

    ways: Any = field(default_factory=deque)  # an option that is a list would be kept as a tuple

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        assert at.seen is not None
        self.ways.append(at.seen.way)
        return True


@padded
@pytest.mark.parametrize("captions", [c for c in BOTH if str(c).startswith(JOINT)], ids=str)
def test_what_the_first_block_shows_is_not_diluted(captions: Captions) -> None:
    """Beside a mate of the same length, or with rows that only fill up: a policy sees the same of two like samples."""

    def seen(lengths: Sequence[int]) -> list[float]:
        transformer, policy = made(str(captions)), Looking()
        with accelerated(transformer, policy, Lagrange(), "rest", len(PLAN)):
            for step, level in enumerate(levels(captions.case, 3)):
                captions.call(transformer, lengths, [10 * step] * len(lengths), level)
        return list(policy.ways)

    short, long = seen((captions.short,)), seen((captions.long,))
    both = seen((captions.long, captions.short))
    rows = {"ZImage": (96, 64)}.get(str(captions)[:6])
    if rows is None:
        more = 17 if str(captions).startswith("OmniGen") else 16  # image tokens, and one for the time
        rows = (captions.long + more, captions.short + more)
    if str(captions).startswith("BriaFibo2"):
        pytest.skip("how many gist tokens stand for a caption is its own affair")
    expected = [(rows[0] * a + rows[1] * b) / sum(rows) for a, b in zip(long, short, strict=True)]
    assert both == pytest.approx(expected, rel=1e-4)


# Pipelines ------------------------------------------------------------------------------------------------------------


def listed(who: Sequence[int], width: int) -> dict[str, Any]:
    told = [noise((5, 40)[place], width, seed=place) for place in who]
    return {"prompt_embeds": told, "negative_prompt_embeds": [noise((4, 7)[place], width, seed=9) for place in who]}


def masked(who: Sequence[int], width: tuple[int, ...], names: tuple[str, str], kind: torch.dtype) -> dict[str, Any]:
    lengths, empty = [(4, 9)[place] for place in who], [(3, 5)[place] for place in who]
    most = max(lengths)
    return {
        "prompt_embeds": words(lengths, *width),
        "negative_prompt_embeds": words(empty, *width, most=most),
        names[0]: real(lengths).to(kind),
        names[1]: real(empty, most=most).to(kind),
    }


ATTENTION = ("prompt_attention_mask", "negative_prompt_attention_mask")
EMBEDS = ("prompt_embeds_mask", "negative_prompt_embeds_mask")
Told = Callable[[Sequence[int]], dict[str, Any]]
PIPELINES: dict[str, tuple[str, str, Told, int, tuple[int, ...]]] = {
    "ZImagePipeline": ("ZImageTransformer2DModel", "full", lambda who: listed(who, 12), 64, (4, 8, 8)),
    "ErnieImagePipeline": (
        *("ErnieImageTransformer2DModel", "full"),
        *(lambda who: listed(who, 12) | {"use_pe": False}, 64, (8, 4, 4)),
    ),
    "Lumina2Pipeline": (
        *("Lumina2Transformer2DModel", "full"),
        *(lambda who: masked(who, (12,), ATTENTION, torch.long), 64, (4, 8, 8)),
    ),
    "Krea2Pipeline": (
        *("Krea2Transformer2DModel", "full"),
        *(lambda who: masked(who, (3, 16), EMBEDS, torch.bool), 64, (16, 8)),
    ),
    "QwenImagePipeline": (
        *("QwenImageTransformer2DModel", "halves"),
        *(lambda who: masked(who, (12,), EMBEDS, torch.long), 64, (16, 16)),
    ),
    "ChromaPipeline": (
        *("ChromaTransformer2DModel", "full"),
        *(lambda who: masked(who, (12,), ATTENTION, torch.bool), 64, (16, 8)),
    ),
}


SLOW = ("Krea2Pipeline", "ChromaPipeline")


@padded
@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.slow) if k in SLOW else k for k in PIPELINES])
def test_a_batch_of_unequal_captions_in_a_pipeline(kind: str) -> None:
    name, span, told, side, shape = PIPELINES[kind]
    pipe = build(kind, model(name))
    start = noise(2, *shape, seed=5)

    def draw(*who: int) -> Tensor:
        options = {"num_inference_steps": 6, "output_type": "latent", "height": side, "width": side}
        drawn = pipe(**told(who), **options, latents=start[list(who)].clone(), return_dict=False)
        return drawn if isinstance(drawn, Tensor) else drawn[0]

    def difference() -> float:
        return float((draw(0, 1) - torch.cat([draw(0), draw(1)])).abs().max())

    untouched = difference()
    with accelerate(pipe, policy=Plan("CCC.C."), forecaster=TCPade(), span=span) as run:
        assert difference() < 2e-5 + 10 * untouched
    assert run.report.plan == "CCC.C." and not run.report.notes


@padded
def test_a_list_of_images_of_unequal_sizes() -> None:
    """A model that returns a list: every image weighs by itself, also beside a larger one."""
    captions = CAPTIONS[0]
    transformer, case = made(str(captions)), captions.case

    def draw(*who: int) -> list[Tensor]:
        images = []
        with accelerated(transformer, PLAN, TCPade(), "output", len(PLAN)), torch.no_grad():
            for step, level in enumerate(levels(case, 3)):
                latents = [noise(4, 1, (8, 12)[place], 8, seed=10 * step + place) for place in who]
                told = {"cap_feats": [noise(5, 12, seed=place) for place in who]}
                time = case.timestep(level).expand(len(who))
                images.append(transformer(**told, x=latents, t=time, return_dict=False)[0])
        return [torch.stack(steps) for steps in zip(*images, strict=True)]

    for together, alone in zip(draw(0, 1), (draw(0)[0], draw(1)[0]), strict=True):
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
