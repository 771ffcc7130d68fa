"""Attentions and feed-forward networks of blocks, each forecast by itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from padecast._errors import UnsupportedModel
from padecast.targets import BlockOutput, Target
from padecast.targets.parts import lookup

ATTENTION = re.compile(r"((self_|cross_)?(attn|attention)\d*)$")
FEED_FORWARD = re.compile(r"((\w+_)?(ff|ffn|mlp)(_\w+)?|feed_forward)$")
TEXT = re.compile(r"context|encoder|text|txt")
"""What attentions and feed-forward networks are called in the blocks of diffusers, and those of the text."""


@dataclass(frozen=True)
class Sublayer:
    """One attention or feed-forward network of a block.

    Args:
        part: The module.
        block: In which block it lies, counted through the model.
        attends: Whether it is an attention.
        text: Whether it belongs to the text.
        second: Whether samples lie in the second dimension of what it returns.
        captions: Whether some of its tokens are of captions, whose number says nothing of a grid.
    """

    part: nn.Module
    block: int
    attends: bool
    text: bool
    second: bool
    captions: bool


def sublayers_of(model: nn.Module, target: Target) -> list[Sublayer]:
    """Return the attentions and feed-forward networks of a model's blocks, by the names that they have.

    Raises:
        UnsupportedModel: If there are none.
    """
    blocks = [(block, target.returns(path)) for path in target.lists("full") for block in lookup(model, path)]
    parts = [
        _describe(part, name, number, target, returns)
        for number, (block, returns) in enumerate(blocks)
        for name, part in block.named_children()
        if ATTENTION.match(name) or FEED_FORWARD.match(name)
    ]
    if not parts:
        raise UnsupportedModel(
            f"no attention and no feed-forward network is known in the blocks of this {target.model}.\n"
            'Usual cause: other names than attn, attn1, ff, ffn or mlp. Forecast whole stacks: span="full"'
        )
    return parts


def _describe(part: nn.Module, name: str, block: int, target: Target, returns: BlockOutput) -> Sublayer:
    attends, text = bool(ATTENTION.match(name)), bool(TEXT.search(name))
    captions = bool(target.masks) and (text or len(returns.names) == 1)
    return Sublayer(part, block, attends, text, target.samples == 1 and not attends, captions)
