"""Tokenizers whose vocabulary is the words of the grammar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from demos.words import END, PAD, START, UNKNOWN, numbered, word_tokenizer
from padecast.zoo.scenes.grammar import words

CLIP_LENGTH = 32
T5_LENGTH = 512
# CLIPTextModel pools where it finds the end token, unless that is number 2: then where the largest number is, a
# remnant of early CLIP configurations. So the end token is number 1.
SPECIAL = (PAD, END, UNKNOWN, START)


def clip_tokenizer() -> Any:
    """The tokenizer for the pooled encoder: ``<s> a red circle </s> <pad> ...``, 32 tokens at most."""
    return word_tokenizer(vocabulary(), CLIP_LENGTH, start=True)


def t5_tokenizer() -> Any:
    """The tokenizer for the encoder of single words: ``a red circle </s> <pad> ...``, 512 tokens at most."""
    return word_tokenizer(vocabulary(), T5_LENGTH)


def vocabulary() -> dict[str, int]:
    """Token to number: special tokens first, then the words of the grammar."""
    return numbered([*SPECIAL, *words()])


def encode(tokenizer: Any, captions: Sequence[str], length: int | None = None) -> Tensor:
    """Numbers of the tokens of captions, as ``FluxPipeline`` computes them.

    Args:
        tokenizer: one of the two.
        captions: B of them.
        length: tokens each, padded or cut; default: the tokenizer's maximum.

    Returns:
        (B, length) int64.
    """
    encoded = tokenizer(list(captions), padding="max_length", max_length=length, truncation=True)
    return torch.tensor(encoded.input_ids)
