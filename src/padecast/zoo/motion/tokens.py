"""The tokenizer whose vocabulary is the words of the grammar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .grammar import words

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
SPECIAL = (PAD, END, UNKNOWN)
KNOWN = "PreTrainedTokenizerFast"  # the class, by the name that every version of transformers knows
LENGTH = 512  # what `WanPipeline` pads captions to
FEWEST = 16  # more than any caption of the grammar has


def tokenizer() -> Any:
    """`a red circle </s> <pad> ...`: lower-cased words; whatever is not a letter separates them."""
    known = vocabulary()
    backend = Tokenizer(WordLevel(known, unk_token=UNKNOWN))
    backend.normalizer = Lowercase()
    backend.pre_tokenizer = Split(Regex("[^a-z]+"), "removed")
    backend.post_processor = TemplateProcessing(single=f"$A {END}", special_tokens=[(END, known[END])])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=END,
        unk_token=UNKNOWN,
        pad_token=PAD,
        model_max_length=LENGTH,
        model_input_names=["input_ids", "attention_mask"],
    )


def vocabulary() -> dict[str, int]:
    """Token to number: special tokens first, then the words of the grammar."""
    return {token: number for number, token in enumerate([*SPECIAL, *words()])}


def encode(tokenizer: Any, captions: Sequence[str], length: int = FEWEST) -> tuple[Tensor, Tensor]:
    """Numbers of the tokens of captions and which are no padding, both (B, length) int64."""
    options = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
    encoded = tokenizer(list(captions), **options)
    return encoded.input_ids, encoded.attention_mask
