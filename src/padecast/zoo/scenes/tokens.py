"""Tokenizers whose vocabulary is the words of the grammar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .grammar import words

PAD, END, UNKNOWN, START = "<pad>", "</s>", "<unk>", "<s>"
CLIP_LENGTH = 32
T5_LENGTH = 512
# CLIPTextModel pools where it finds the end token, unless that is number 2: then where the largest number is, a
# remnant of early CLIP configurations. So the end token is number 1.
SPECIAL = (PAD, END, UNKNOWN, START)


def clip_tokenizer() -> Any:
    """The tokenizer for the pooled encoder: `<s> a red circle </s> <pad> ...`, 32 tokens at most."""
    backend = _backend(f"{START} $A {END}", (START, END))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=START,
        eos_token=END,
        unk_token=UNKNOWN,
        pad_token=PAD,
        model_max_length=CLIP_LENGTH,
        model_input_names=["input_ids", "attention_mask"],
    )


def t5_tokenizer() -> Any:
    """The tokenizer for the encoder of single words: `a red circle </s> <pad> ...`, 512 tokens at most."""
    backend = _backend(f"$A {END}", (END,))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=END,
        unk_token=UNKNOWN,
        pad_token=PAD,
        model_max_length=T5_LENGTH,
        model_input_names=["input_ids", "attention_mask"],
    )


def vocabulary() -> dict[str, int]:
    """Token to number: special tokens first, then the words of the grammar."""
    return {token: number for number, token in enumerate([*SPECIAL, *words()])}


def encode(tokenizer: Any, captions: Sequence[str], length: int | None = None) -> Tensor:
    """Numbers of the tokens of captions, as `FluxPipeline` computes them.

    Args:
        tokenizer: one of the two.
        captions: B of them.
        length: tokens each, padded or cut; default: the tokenizer's maximum.

    Returns:
        (B, length) int64.
    """
    encoded = tokenizer(list(captions), padding="max_length", max_length=length, truncation=True)
    return torch.tensor(encoded.input_ids)


def _backend(template: str, marks: Sequence[str]) -> Tokenizer:
    """Lower-cased words, each one token, or the unknown token; whatever is not a letter separates."""
    known = vocabulary()
    backend = Tokenizer(WordLevel(known, unk_token=UNKNOWN))
    backend.normalizer = Lowercase()
    backend.pre_tokenizer = Split(Regex("[^a-z]+"), "removed")
    backend.post_processor = TemplateProcessing(single=template, special_tokens=[(mark, known[mark]) for mark in marks])
    return backend
