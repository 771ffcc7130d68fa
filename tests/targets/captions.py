"""Captions of unequal length in one batch, for every class whose blocks are told which rows only fill it up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tests.targets import cases_first, cases_image, cases_more, cases_video
from tests.targets.case import Case, noise
from torch import Tensor, nn
from torch.nn.functional import pad

SIDE = 4
TOKENS = SIDE * SIDE


@dataclass(frozen=True)
class Captions:
    """A class, and how it is given captions.

    Args:
        case: The tiny model.
        inputs: ``inputs(lengths)`` gives what it is told of captions of such lengths, in one batch.
        short: Tokens of the short caption.
        long: Tokens of the long one.
        rows: How many rows at the end of an output are the image; all unless given.
        joint: Whether the latent has rows for the text too, in front.
    """

    case: Case
    inputs: Callable[[Sequence[int]], dict[str, Any]]
    short: int = 3
    long: int = 9
    rows: int = 0
    joint: bool = False

    def __str__(self) -> str:
        return str(self.case)

    def call(self, model: nn.Module, lengths: Sequence[int], seeds: Sequence[int], t: float) -> list[Tensor]:
        """Call the model for a sample of every caption, and return what becomes of each."""
        drawn = [self.case.latent(seed) for seed in seeds]
        if self.joint:
            drawn = [pad(x[:, -self.rows :], (0, 0, max(lengths), 0)) for x in drawn]
        latent = [x for one in drawn for x in one] if isinstance(drawn[0], list) else torch.cat(drawn)
        time = self.case.timestep(t).expand(len(seeds), *[-1] * (self.case.timestep(t).ndim - 1))
        given = {self.case.latent_name: latent, self.case.timestep_name: time, **self.inputs(lengths)}
        with torch.no_grad():
            output = model(**given, return_dict=False)[0]
        return [x[-self.rows :] if self.rows else x for x in output]


def words(lengths: Sequence[int], *width: int, left: bool = False, most: int = 0) -> Tensor:
    """Draw a caption of every length, each by its own seed, filled up with anything."""
    most, rows = most or max(lengths), []
    for length in lengths:
        own, rest = noise(length, *width, seed=length), 4 * noise(most - length, *width, seed=99)
        rows.append(torch.cat([rest, own] if left else [own, rest]))
    return torch.stack(rows)


def real(lengths: Sequence[int], left: bool = False, most: int = 0) -> Tensor:
    """Mask what is filled up, ``(B, N)``."""
    mask = torch.arange(most or max(lengths)) < torch.tensor(lengths)[:, None]
    return mask.flip(1) if left else mask


def repeated(inputs: dict[str, Any], count: int) -> dict[str, Any]:
    """Give every sample the same of what does not depend on its caption."""
    return {name: x.expand(count, *x.shape[1:]) if len(x) == 1 else x for name, x in inputs.items()}


def masked(case: Case, width: int, kind: torch.dtype = torch.long, **others: Any) -> Captions:
    """Captions and a mask of them, as most classes take them."""

    def inputs(lengths: Sequence[int]) -> dict[str, Any]:
        told = {"encoder_hidden_states": words(lengths, width), "encoder_attention_mask": real(lengths).to(kind)}
        return told | repeated(others, len(lengths))

    return Captions(case, inputs)


def find(model: str, variant: str = "") -> Case:
    """Return a case by its class."""
    listed = (cases_first, cases_image, cases_more, cases_video)
    return next(case for cases in listed for case in cases.CASES if (case.model, case.variant) == (model, variant))


def z_image(lengths: Sequence[int]) -> dict[str, Any]:
    return {"cap_feats": [noise(length, 12, seed=length) for length in lengths]}


def chroma(lengths: Sequence[int]) -> dict[str, Any]:
    most = max(lengths)
    return {
        "encoder_hidden_states": words(lengths, 12),
        "img_ids": cases_image.ids(SIDE, SIDE, 3),
        "txt_ids": torch.zeros(most, 3),
        "attention_mask": torch.cat([real(lengths), torch.ones(len(lengths), TOKENS, dtype=torch.bool)], dim=1),
    }


def bria_fibo(lengths: Sequence[int]) -> dict[str, Any]:
    told = chroma(lengths)
    mask = told.pop("attention_mask")[:, None, None]
    layers = [torch.stack([x * (1 + layer) for x in words(lengths, 10)]) for layer in range(4)]
    return told | {"text_encoder_layers": layers, "joint_attention_kwargs": {"attention_mask": mask}}


def bria_fibo2(lengths: Sequence[int]) -> dict[str, Any]:
    bundles = torch.stack([words(lengths, 12), words(lengths, 12)], dim=1)
    return {"encoder_hidden_states": bundles, "encoder_attention_mask": real(lengths)}


def krea(lengths: Sequence[int]) -> dict[str, Any]:
    return {
        "encoder_hidden_states": words(lengths, 3, 16),
        "position_ids": torch.cat([torch.zeros(max(lengths), 3), cases_more.ids(SIDE, SIDE)]),
        "encoder_attention_mask": real(lengths),
    }


def ernie(lengths: Sequence[int]) -> dict[str, Any]:
    return {"text_bth": words(lengths, 12), "text_lens": torch.tensor(lengths)}


def ideogram(lengths: Sequence[int]) -> dict[str, Any]:
    text = real(lengths, left=True)
    counted = (text.cumsum(1) - 1).clamp_min(0)[..., None].expand(-1, -1, 3)
    image = (65536 + cases_more.ids(SIDE, SIDE).long()).expand(len(lengths), -1, -1)
    told = torch.cat([words(lengths, 12, left=True), torch.zeros(len(lengths), TOKENS, 12)], dim=1)
    ones = torch.ones(len(lengths), TOKENS, dtype=torch.long)
    return {
        "encoder_hidden_states": told,
        "position_ids": torch.cat([counted, image], dim=1),
        "segment_ids": torch.cat([torch.where(text, 1, -1), ones], dim=1),
        "indicator": torch.cat([3 * text.long(), 2 * ones], dim=1),
    }


def omnigen(lengths: Sequence[int]) -> dict[str, Any]:
    most, count = max(lengths), max(lengths) + 1 + TOKENS
    masks, positions, names = [], [], []
    for length in lengths:
        missing = most - length
        mask = torch.ones(count, count)
        mask[: most + 1] = mask[: most + 1].tril()
        mask[:, :missing] = 0
        masks.append(mask)
        positions.append(torch.cat([torch.zeros(missing), torch.arange(count - missing)]).long())
        names.append(torch.cat([torch.zeros(missing), torch.arange(1, length + 1)]).long())
    return {
        "input_ids": torch.stack(names),
        "input_img_latents": [],
        "input_image_sizes": {},
        "attention_mask": torch.stack(masks),
        "position_ids": torch.stack(positions),
    }


def qwen21(lengths: Sequence[int]) -> dict[str, Any]:
    slots = [False] * max(lengths) + [True] * (TOKENS // 4)
    return {
        "encoder_hidden_states": words(lengths, 12),
        "encoder_hidden_states_mask": real(lengths),
        "img_shapes": [[(1, SIDE, SIDE)]] * len(lengths),
        "img_mask": torch.tensor([slots] * len(lengths)),
    }


def qwen(lengths: Sequence[int]) -> dict[str, Any]:
    return {
        "encoder_hidden_states": words(lengths, 12),
        "encoder_hidden_states_mask": real(lengths),
        "img_shapes": [[(1, SIDE, SIDE)]] * len(lengths),
    }


def hunyuan15(lengths: Sequence[int]) -> dict[str, Any]:
    told = {
        "encoder_hidden_states": words(lengths, 16),
        "encoder_attention_mask": real(lengths).long(),
        "encoder_hidden_states_2": words([length - 1 for length in lengths], 8),
        "encoder_attention_mask_2": real([length - 1 for length in lengths]).long(),
    }
    return told | {"image_embeds": noise(1, 2, 8, seed=102).expand(len(lengths), -1, -1)}


def framepack(lengths: Sequence[int]) -> dict[str, Any]:
    case = find("HunyuanVideoFramepackTransformer3DModel")
    told = {"encoder_hidden_states": words(lengths, 16), "encoder_attention_mask": real(lengths).long()}
    indices = {name: x for name, x in case.inputs().items() if name.startswith("indices")}
    return repeated(case.inputs(), len(lengths)) | indices | told


CAPTIONS = (
    Captions(find("ZImageTransformer2DModel"), z_image, long=40),
    Captions(find("Lumina2Transformer2DModel"), masked(find("Lumina2Transformer2DModel"), 12).inputs),
    Captions(find("ErnieImageTransformer2DModel"), ernie),
    Captions(find("Krea2Transformer2DModel"), krea),
    Captions(find("Ideogram4Transformer2DModel"), ideogram, rows=TOKENS, joint=True),
    Captions(find("OmniGenTransformer2DModel"), omnigen),
    Captions(find("ChromaTransformer2DModel"), chroma),
    Captions(find("BriaFiboTransformer2DModel"), bria_fibo),
    Captions(find("BriaFibo2Transformer2DModel"), bria_fibo2),
    Captions(find("QwenImage21Transformer2DModel"), qwen21, rows=TOKENS),
    Captions(find("QwenImageTransformer2DModel"), qwen),
    masked(find("HunyuanImageTransformer2DModel"), 12),
    masked(
        find("HunyuanVideoTransformer3DModel"),
        16,
        pooled_projections=noise(1, 8, seed=101),
        guidance=torch.tensor([6000.0]),
    ),
    Captions(find("HunyuanVideo15Transformer3DModel"), hunyuan15),
    Captions(find("HunyuanVideoFramepackTransformer3DModel"), framepack),
    masked(find("MotifVideoTransformer3DModel"), 16),
    masked(find("MochiTransformer3DModel"), 16, torch.bool),
)
