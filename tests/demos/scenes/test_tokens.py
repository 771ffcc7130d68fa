"""Tokenizers: one token a word, and where each encoder finds the caption's end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from demos.scenes.build import clip_encoder
from demos.scenes.tokens import CLIP_LENGTH, T5_LENGTH, clip_tokenizer, encode, t5_tokenizer, vocabulary
from padecast.zoo.scenes.grammar import Scene

CAPTION = "a large red circle left of a small blue square"


@pytest.mark.parametrize(("tokenizer", "marks"), [(clip_tokenizer(), 2), (t5_tokenizer(), 1)], ids=["clip", "t5"])
def test_captions_fit_and_come_back(tokenizer: Any, marks: int, scenes: list[Scene]) -> None:
    longest = max(len(tokenizer(scene.caption).input_ids) for scene in scenes)
    assert longest <= 24 < CLIP_LENGTH  # the fewest tokens in training are 24
    for scene in scenes[:32]:
        numbers = tokenizer(scene.caption).input_ids
        assert len(numbers) == len(scene.caption.split()) + marks
        assert tokenizer.unk_token_id not in numbers
        assert tokenizer.decode(numbers, skip_special_tokens=True) == scene.caption


@pytest.mark.parametrize("tokenizer", [clip_tokenizer(), t5_tokenizer()], ids=["clip", "t5"])
def test_an_unknown_word_is_one_unknown_token(tokenizer: Any) -> None:
    known, unknown = (tokenizer(f"A {word} circle.").input_ids for word in ("RED", "crimson"))
    assert len(known) == len(unknown)
    assert [tokenizer.unk_token_id] == [new for new, old in zip(unknown, known, strict=True) if new != old]


@pytest.mark.parametrize("tokenizer", [clip_tokenizer(), t5_tokenizer()], ids=["clip", "t5"])
def test_saved_tokenizers_load(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert again.model_max_length == tokenizer.model_max_length
    assert torch.equal(encode(again, [CAPTION, ""]), encode(tokenizer, [CAPTION, ""]))


def test_lengths() -> None:
    assert encode(clip_tokenizer(), [CAPTION, ""]).shape == (2, CLIP_LENGTH)
    assert encode(t5_tokenizer(), [CAPTION]).shape == (1, T5_LENGTH)
    assert encode(t5_tokenizer(), [CAPTION], 24).shape == (1, 24)
    assert len(set(vocabulary().values())) == len(vocabulary())


def test_the_pooled_encoder_reads_at_the_end_of_the_caption() -> None:
    encoder = clip_encoder().eval()
    numbers = encode(clip_tokenizer(), [CAPTION])
    end = len(clip_tokenizer()(CAPTION).input_ids) - 1
    with torch.no_grad():
        output = encoder(numbers)
        padded_otherwise = encoder(numbers.where(torch.arange(CLIP_LENGTH) <= end, 7))
    torch.testing.assert_close(output.pooler_output, output.last_hidden_state[:, end])
    torch.testing.assert_close(padded_otherwise.pooler_output, output.pooler_output)
