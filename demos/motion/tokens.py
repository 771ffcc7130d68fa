"""The tokenizer whose vocabulary is the words of the grammar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from demos.words import END, PAD, UNKNOWN, numbered, word_tokenizer
from padecast.zoo.motion.grammar import words

SPECIAL = (PAD, END, UNKNOWN)
LENGTH = 512  # what ``WanPipeline`` pads captions to
FEWEST = 16  # more than any caption of the grammar has


def tokenizer() -> Any:
    """``a red circle </s> <pad> ...``: lower-cased words; whatever is not a letter separates them."""
    return word_tokenizer(vocabulary(), LENGTH)


def vocabulary() -> dict[str, int]:
    """Token to number: special tokens first, then the words of the grammar."""
    return numbered([*SPECIAL, *words()])


def encode(tokenizer: Any, captions: Sequence[str], length: int = FEWEST) -> tuple[Tensor, Tensor]:
    """Numbers of the tokens of captions and which are no padding, both (B, length) int64."""
    options = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
    encoded = tokenizer(list(captions), **options)
    return encoded.input_ids, encoded.attention_mask
