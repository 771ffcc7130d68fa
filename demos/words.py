"""Single words: each word of a grammar is one token, any other the unknown token; and their encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

PAD, END, UNKNOWN, START = "<pad>", "</s>", "<unk>", "<s>"


def numbered(tokens: Iterable[str]) -> dict[str, int]:
    """Token to number, in their order."""
    return {token: number for number, token in enumerate(tokens)}


def word_tokenizer(known: Mapping[str, int], length: int, *, start: bool = False) -> Any:
    """A tokenizer of lower-cased words: ``a red circle </s> <pad> ...``; whatever is not a letter separates them.

    Args:
        known: token to number; "<pad>", "</s>", "<unk>" and with ``start`` also "<s>" are among them.
        length: the most tokens of a caption.
        start: whether captions begin with "<s>", default False.

    Returns:
        A ``PreTrainedTokenizerFast``.
    """
    marks = {"bos_token": START, "eos_token": END} if start else {"eos_token": END}
    backend = Tokenizer(WordLevel(dict(known), unk_token=UNKNOWN))
    backend.normalizer = Lowercase()
    backend.pre_tokenizer = Split(Regex("[^a-z]+"), "removed")
    backend.post_processor = TemplateProcessing(
        single=f"{START} $A {END}" if start else f"$A {END}",
        special_tokens=[(mark, known[mark]) for mark in marks.values()],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token=UNKNOWN,
        pad_token=PAD,
        model_max_length=length,
        model_input_names=["input_ids", "attention_mask"],
        **marks,
    )


def word_encoder(config: type[Any], model: type[Any], known: Mapping[str, int], width: int) -> Any:
    """An untrained encoder of the T5 family: a caption to one vector per token, (B, N, width).

    Args:
        config: class of its configuration.
        model: its class.
        known: token to number; "<pad>" and "</s>" are among them.
        width: of the vectors.
    """
    return model(
        config(
            vocab_size=len(known),
            d_model=width,
            d_kv=32,
            num_heads=4,
            d_ff=2 * width,
            num_layers=2,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
            pad_token_id=known[PAD],
            eos_token_id=known[END],
        )
    )
